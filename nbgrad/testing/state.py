"""Layers that keep state between forward and backward: the hint how to wrap them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["line", "of_call", "wrapping"]


def line(text: str) -> str:
    return f"\n  hint       {text}"


def of_call(function: Callable[..., Any], arguments: Sequence[Any]) -> str:
    """That backward takes grad_output alone, as a layer's does that keeps its arguments."""
    try:
        signature = inspect.signature(function)
        signature.bind(arguments[0])
    except (TypeError, ValueError, IndexError):
        return ""
    try:
        signature.bind(*arguments)
    except TypeError:
        return wrapping("(grad_output)")
    return ""


def wrapping(given: str) -> str:
    return line(
        "backward keeps state between calls, from forward; give the check one that calls forward itself:\n"
        "               def gradient(grad_output, *args):\n"
        "                   forward(*args)\n"
        f"                   return backward{given}"
    )
