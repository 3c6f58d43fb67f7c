"""Optimisers with PyTorch's update rules: `SGD`, `Adam` and `AdamW`.

The arithmetic is in the parameter's own precision, element by element: the result does not depend on the
number of threads.

>>> import nbgrad
>>> w = nbgrad.tensor([1.0, 2.0], requires_grad=True)
>>> optimizer = SGD([w], lr=0.1)
>>> (w * w).sum().backward()
>>> optimizer.step()
>>> w
tensor([0.8, 1.6], requires_grad=True)
"""

from nbgrad.optim.algorithms import SGD, Adam, AdamW
from nbgrad.optim.optimizer import Optimizer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
