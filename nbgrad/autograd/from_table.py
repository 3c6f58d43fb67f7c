"""The functions on Tensors that follow from rows of the table."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from nbgrad.autograd import rules_kernels as rules
from nbgrad.autograd.combine import as_tensors
from nbgrad.autograd.operators.apply import apply
from nbgrad.autograd.operators.axes import choose_axis
from nbgrad.autograd.tensor import Tensor
from nbgrad.formulas.table import OPS, PUBLIC_LOSSES

__all__ = ["of_elements", "of_rows"]


@functools.cache
def of_elements(name: str) -> Callable[..., Tensor]:
    """The function of a row of the table."""
    rule: Any
    options: dict[str, Any]
    kind: Any
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if name in OPS:
        tensors, rule, options, kind = ["input"], rules.Activation, OPS[name].parameters, either
    else:
        op, rule, kind = PUBLIC_LOSSES[name], rules.Loss, inspect.Parameter.KEYWORD_ONLY
        tensors, options = [op.input, "target"], {**op.parameters, "reduction": "mean"}
    signature = inspect.Signature(
        [inspect.Parameter(tensor, either) for tensor in tensors]
        + [inspect.Parameter(option, kind, default=value) for option, value in options.items()]
    )

    def function(*args: Any, **keywords: Any) -> Tensor:
        given = dict(signature.bind(*args, **keywords).arguments)
        inputs = as_tensors(*(given.pop(tensor) for tensor in tensors))
        return apply(rule(name, **{**options, **given}), inputs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`nbgrad.kernels.{name}` on tensors; differentiable in all of them."
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


@functools.cache
def of_rows(name: str) -> Callable[..., Tensor]:
    def function(input: Any, axis: Any = -1, *, dim: Any = None) -> Tensor:
        return apply(rules.RowFunction(name), as_tensors(input), choose_axis(axis, dim, -1))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`nbgrad.kernels.{name}` on a tensor."
    return function
