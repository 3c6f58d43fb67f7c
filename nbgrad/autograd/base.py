"""`TensorBase`: what makes an object a tensor. Whether it is one is asked as ``isinstance(value, TensorBase)`` by what
lies below `nbgrad.Tensor`, and as ``isinstance(value, Tensor)`` above: the same question, as all tensors are both.
"""

from __future__ import annotations

from typing import Any

__all__ = ["TensorBase"]


class TensorBase:
    """The attributes of a tensor; its methods come with the operators (`nbgrad.autograd.operators`)."""

    __slots__ = ("__weakref__", "_aside", "_data", "_node", "_view_of")
    _aside: Any  # set only where a leaf was taken out of the graph: its node
    _data: Any  # the array; where ndim is 0 it may be a NumPy scalar
    _node: Any  # its node of the graph; None: requires no gradient
    _view_of: tuple[Any, Any, Any] | None  # of a view: the tensor, the rule and what it saved
