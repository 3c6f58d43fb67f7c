"""Tensor and automatic differentiation: the tape, the rules of the operators, and what is built on them."""
