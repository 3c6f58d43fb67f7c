"""Which implementation stands for which public function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["IMPLEMENTATIONS", "stands_for"]

F = TypeVar("F", bound=Callable[..., Any])

#: By the public functions' names. `nbgrad.kernels` hands them to Numba, so that whoever has a kernel has its overload.
IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {}


def stands_for(name: str) -> Callable[[F], F]:
    """What Numba calls in place of the public function of this name."""

    def register(implementation: F) -> F:
        IMPLEMENTATIONS[name] = implementation
        return implementation

    return register
