"""The sections Parameters, Returns and Raises of the kernels' docstrings: what is true of all kernels stands here once,
and `nbgrad.kernels` puts it between a function's own words and its examples.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from nbgrad.formulas.table import OPS, PUBLIC_LOSSES

__all__ = ["documented"]

_FLOATS = "float32 or float64, of any shape and layout; integers and bools are computed in float64."
_AXES = "The axis, counted from the back where it is negative; a tuple of axes, gone along together; None: all of them."
_BROADCASTS = "It broadcasts to the first argument's shape and is computed in its precision."
#: (type, text) of a parameter; one that is none of these is a row's own
_PARAMETERS = {
    "x": ("array_like", _FLOATS),
    "input": ("array_like", _FLOATS + " It decides the precision."),
    "logits": ("array_like", _FLOATS + " It decides the precision."),
    "log_probs": ("array_like", _FLOATS + " It decides the precision."),
    "y": ("array_like", "The function's result, from which the derivative is taken."),
    "index": ("array_like", "Integers, as `maxout` returned them."),
    "grad_output": ("array_like", "The gradient of the result; Python's numbers adapt to the other's precision."),
    "target": ("array_like", _BROADCASTS),
    "weight": ("array_like, optional", "A factor for each element. " + _BROADCASTS),
    "pos_weight": ("array_like, optional", "A factor for the losses of 1. " + _BROADCASTS),
    "axis": ("int, tuple of ints or None", _AXES),
    "keepdims": ("bool", "Whether the axes stay, with length 1."),
    "num_pieces": ("int", "How many neighbours are compared; a divisor of the axis' length."),
    "approximate": ("str", 'Either "none" or "tanh".'),
    "reduction": ("str", '"mean" (of nothing it is nan), "sum" or "none".'),
    "ignore_index": ("int", "A row with this label counts nothing."),
    "label_smoothing": ("float", "In 0..1."),
    "out": ("array, optional", "Takes the result, in its shape and dtype and any layout; it may overlap an input."),
    "index_out": ("array, optional", "Takes the index, as intp."),
    "grad_out": ("array, optional", "Takes the gradient."),
    "dim": ("int, tuple of ints or None, optional", "PyTorch's name of ``axis``."),
    "keepdim": ("bool, optional", "PyTorch's name of ``keepdims``."),
    "p": ("float", "A probability."),
    "training": ("bool", "Whether anything is done."),
    "rng": ("numpy.random.Generator, optional", "Draws the elements."),
    "bias": ("Tensor, optional", "(out,)"),
}
#: where a parameter means something else
_OTHERWISE: dict[tuple[str, str], tuple[str, str]] = {
    ("linear", "weight"): ("Tensor", "(out, in)"),
    **{("maxout", "axis"): ("int", "The axis."), ("maxout_backward", "axis"): ("int", "The axis.")},
    **{
        (name + ending, parameter): value
        for name in ("cross_entropy", "nll_loss")
        for ending in ("", "_value_and_grad")
        for parameter, value in {
            "target": ("array_like", "Class labels, or of `cross_entropy` probabilities: see above."),
            "weight": ("array_like, optional", "A factor for each class, (C,)."),
        }.items()
    },
}
_LOSS = 'A NumPy scalar of the first argument\'s precision; for ``reduction="none"`` an array.'
_SHAPES = "Shapes, axes, choices or numbers do not fit."


def _returns(name: str, parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    if name == "maxout":
        return [("y", "The largest entries."), ("index", "Which they were, intp.")]
    if name.endswith("_value_and_grad"):
        return [("loss", _LOSS), ("gradient", "Of the loss (of the losses' sum) in the first argument.")]
    if "reduction" in parameters:
        return [("loss", _LOSS)]
    if name.endswith("_backward"):
        return [("array", "The gradient of the input; a NumPy scalar where there is no dimension.")]
    return [("array", "In x's precision; a NumPy scalar where there is no dimension.")]


def _parameter(name: str, parameter: inspect.Parameter, is_loss: bool) -> tuple[str, str]:
    row: Any = OPS.get(name.removesuffix("_backward")) or PUBLIC_LOSSES.get(name.removesuffix("_value_and_grad"))
    if (name, parameter.name) in _OTHERWISE:
        kind, text = _OTHERWISE[name, parameter.name]
    elif is_loss and parameter.name == "out":
        kind, text = "array, optional", 'Takes the losses of ``reduction="none"``.'
    else:
        own = f"A real number{' ' + row.ranges[parameter.name] if row and parameter.name in row.ranges else ''}."
        kind, text = _PARAMETERS.get(parameter.name, ("float", own))
    if parameter.default not in (None, inspect.Parameter.empty):
        kind += f", default {parameter.default!r}"
    return f"{parameter.name} : {kind}", text


def documented(function: Callable[..., Any], *returns: tuple[str, str]) -> str:
    """The function's docstring with these sections; ``returns``: what it returns, if that is not as arrays."""
    name, parameters = function.__name__, inspect.signature(function).parameters
    words, mark, examples = inspect.cleandoc(function.__doc__ or "").partition(">>> ")
    sections = {
        "Parameters": [_parameter(name, p, "reduction" in parameters) for p in parameters.values()],
        "Returns": returns or _returns(name, parameters),
        "Raises": [("TypeError", "An argument is no array or number of these kinds."), ("ValueError", _SHAPES)],
    }
    text = words.rstrip()
    for title, entries in sections.items():
        text += f"\n\n{title}\n{'-' * len(title)}\n" + "\n".join(f"{head}\n    {body}" for head, body in entries)
    return f"{text}\n\nExamples\n--------\n{mark}{examples}\n" if examples else text + "\n"
