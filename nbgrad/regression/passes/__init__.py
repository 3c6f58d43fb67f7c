"""One pass over the data of a model: arrays and sparse ones on the CPU, arrays on a GPU."""
