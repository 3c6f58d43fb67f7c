"""The benchmarks: ``python -m bench`` lists them. Measured side by side with PyTorch and others, in one
process, in turn.
"""
