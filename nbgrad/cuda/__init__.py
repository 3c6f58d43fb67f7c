"""The plug-in for CUDA: plain formulas become kernels on arrays in a GPU's memory.

Loaded when the first such array comes.
"""
