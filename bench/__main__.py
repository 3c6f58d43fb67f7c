"""``python -m bench NAME``: run one of the benchmarks below."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

SUITES = {
    "accuracy": "worst error of each kernel in units in the last place, beside its peers'",
    "autograd": "eager overhead: the graph of four weights, forward and backward",
    "false-alarms": "right functions that nbgrad.testing must pass",
    "faults": "planted faults: which nbgrad.testing finds, and which its peers",
    "distributed": "Dask: scaling from 1 to 2 workers, the cost of a task, bytes that travel",
    "elementwise": "throughput of each elementwise kernel over array size",
    "minimax": "derive the polynomials of nbgrad.elementary again",
    "mutants": "mutations of every formula and derivative: which the gradient tests find",
    "regression": "loss and gradient of the regression models, Hessian products, whole fits",
    "rows": "softmax, cross-entropy and maxout, forward and backward",
    "startup": "import time, first calls, whole `nbgrad train`",
    "training": "epoch times of softmax regression and the MLP on MNIST-shaped data",
}


def _module(name: str) -> Any:
    return importlib.import_module("bench." + name.replace("-", "_"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="suite", required=True, metavar="NAME")
    for name, text in SUITES.items():
        module = _module(name)
        module.add_arguments(commands.add_parser(name, help=text, description=module.__doc__))
    arguments = parser.parse_args()
    _module(arguments.suite).run(arguments)


if __name__ == "__main__":
    main()
