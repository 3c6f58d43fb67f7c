"""Layers: functions with parameters of their own, as `torch.nn`. Losses are in `nbgrad.functional`,
optimisers in `nbgrad.optim`.

A Module needs no registration: what it is given by its constructor belongs to it. Every leaf tensor among its
attributes is a part of its state, those that require a gradient are its parameters, and the Modules among its
attributes belong to it too. Lists and dicts of Modules are `ModuleList` and `ModuleDict`. Names that begin with
`_` are left out.

>>> import nbgrad
>>> net = Sequential(Linear(4, 8), ReLU(), Linear(8, 3))
>>> net(nbgrad.tensor([[1.0, 2.0, 3.0, 4.0]])).shape
(1, 3)
>>> [name for name, _ in net.named_parameters()]
['0.weight', '0.bias', '2.weight', '2.bias']
"""

from nbgrad.module import Module
from nbgrad.nn import utils
from nbgrad.nn.containers import ModuleDict, ModuleList, Sequential
from nbgrad.nn.layers import (
    ELU,
    GELU,
    Dropout,
    Flatten,
    LeakyReLU,
    Linear,
    LogSoftmax,
    Maxout,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)

__all__ = [
    "ELU", "GELU", "Dropout", "Flatten", "LeakyReLU", "Linear", "LogSoftmax", "Maxout", "Module", "ModuleDict",
    "ModuleList", "ReLU", "Sequential", "Sigmoid", "Softmax", "Tanh", "utils",
]  # fmt: skip
