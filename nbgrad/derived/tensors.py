"""Formulas on Tensors: a node of the graph, whose backward is the fused one."""

from __future__ import annotations

from typing import Any

from nbgrad.autograd.function import Function
from nbgrad.autograd.tensor import Tensor, tensor

__all__ = ["total", "value"]


def _title(formula: Any) -> str:
    return formula.__name__.title().replace("_", "")


def value(formula: Any, values: list[Any]) -> Any:
    """The formula's value as a Tensor."""

    class Formula(Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            ctx.save_for_backward(*(a if isinstance(a, Tensor) else None for a in args))
            ctx.others = [None if isinstance(a, Tensor) else a for a in args]
            return tensor(formula(*(_detached(a) for a in args)))

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:
            saved = [o if t is None else _detached(t) for t, o in zip(ctx.saved_tensors, ctx.others, strict=True)]
            names = [n for n, need in zip(formula._arguments, ctx.needs_input_grad, strict=True) if need]
            grads = dict(zip(names, formula.backward(_detached(grad_outputs[0]), *saved, wrt=names), strict=True))
            return tuple(tensor(grads[n]) if n in grads else None for n in formula._arguments)

    Formula.__name__ = Formula.__qualname__ = _title(formula)
    return Formula.apply(*values)


def total(sums: Any, values: list[Any], weight: Any) -> Any:
    """The sum or mean as a Tensor."""
    formula = sums.formula

    class Total(Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            names = [n for n, need in zip(formula._arguments, ctx.needs_input_grad, strict=True) if need]
            found, grads = sums.value_and_grad(*(_detached(a) for a in args), wrt=names, weight=weight)
            ctx.grads = dict(zip(names, grads, strict=True))
            return tensor(found)

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:
            g = _detached(grad_outputs[0])
            return tuple(tensor(ctx.grads[n] * g) if n in ctx.grads else None for n in formula._arguments)

    Total.__name__ = Total.__qualname__ = _title(formula) + ("Mean" if sums.is_mean else "Sum")
    return Total.apply(*values)


def _detached(value: Any) -> Any:
    return value._data if isinstance(value, Tensor) else value
