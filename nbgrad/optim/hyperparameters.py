"""Hyperparameters: attributes of an optimiser, checked whenever they are set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["Flag", "Number"]


class Number:
    """A hyperparameter as an attribute of its optimiser, which may be set at any time: a number in [0, high)."""

    def __init__(self, high: float = np.inf) -> None:
        self.high = high

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: Any = None) -> Any:
        return self if optimizer is None else vars(optimizer)[self.name]

    def __set__(self, optimizer: Any, value: Any) -> None:
        vars(optimizer)[self.name] = self.check(value)

    def check(self, value: Any) -> Any:
        """The value as a float; TypeError for what is no number, ValueError for one outside."""
        kind = getattr(getattr(value, "dtype", None), "kind", "f")
        if not hasattr(value, "__float__") or np.ndim(value) or kind not in "biuf":
            raise TypeError(f"{self.name}: expected a number, got {type(value).__name__}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not 0 <= number < self.high:
            raise ValueError(f"{self.name}: expected a number in [0, {self.high}), got {value}")
        return number


class Flag(Number):
    """The same for True or False."""

    def check(self, value: Any) -> Any:
        if not isinstance(value, bool) and (getattr(value, "dtype", 0) != np.dtype(bool) or value.ndim):
            raise TypeError(f"{self.name}: expected True or False, got {value!r}")
        return bool(value)
