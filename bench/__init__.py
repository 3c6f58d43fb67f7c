"""The benchmarks: ``python -m bench`` lists them. Everything is measured side by side with its peers, in one process,
in turn; see ``bench/README.md``.
"""
