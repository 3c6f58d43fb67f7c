"""Sums and means of a formula over arrays, with gradients of the arguments' shapes: one pass over memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.derive import reverse, tangents
from nbgrad.derive.program import Program
from nbgrad.derived.arguments import outputs, shape_of
from nbgrad.derived.compiled import Method
from nbgrad.derived.direct import EXAMPLES, Direct, direct, grad_form, row
from nbgrad.derived.evaluate import Derived
from nbgrad.derived.kinds import unique

__all__ = ["Sum"]


class Sum:
    """``formula.sum`` or ``formula.mean``: one number, and gradients of the arguments' shapes, in one pass over memory.

    Sums are made in float64, in blocks of fixed size: the same bits for any number of threads. ``weight``: of each
    element; the mean is then Σ weight · value / Σ weight, as `numpy.average`.
    """

    def __init__(self, formula: Any, mean: bool) -> None:
        self.formula, self.is_mean = formula, mean
        self.__name__ = f"{formula.__name__}.{'mean' if mean else 'sum'}"
        self.__module__ = formula.__module__
        self._derived: dict[Any, Derived] = {}
        self._direct = Direct(self._directly)
        name = f"{self.__name__}.value_and_grad"
        self.value_and_grad = Method(self, name, self._value_and_grad, self._direct, ("grad", None, False))

    def _directed(self, kind: str, names: Any, values: tuple[Any, ...], weight: Any, outs: Any = None) -> Any:
        if weight is None:
            return self._direct[kind, names, False, *map(type, values)](*values, outs=outs)
        return self._direct[kind, names, True, *map(type, values), type(weight)](*values, weight, outs=outs)

    def _directly(self, kind: str, wrt: Any, weighted: bool, *types: type) -> Callable[..., Any]:
        """The direct function of a call."""
        if np.ndarray not in types or (weighted and self.is_mean):
            raise TypeError("one element, and the sum of weights: the general way")
        names = self.formula.chosen(wrt, [EXAMPLES[t] for t in types[: len(self.formula._arguments)]])
        if kind == "hessp":
            return direct(self._program(kind, names, weighted), types, [*names], row(len(names)), self.is_mean)
        form = grad_form(len(names)) if kind == "grad" else "{0}"
        return direct(self._program("sum", names, weighted), types, ["", *names], form, self.is_mean)

    def __repr__(self) -> str:
        return f"<{'mean' if self.is_mean else 'sum'} of {self.formula!r}>"

    def _program(self, kind: str, wrt: tuple[str, ...], weighted: bool) -> Derived:
        key = kind, wrt, weighted
        if key not in self._derived:
            self._derived[key] = Derived(_programs(self.formula.program(), kind, wrt, weighted, self.is_mean))
        return self._derived[key]

    def _run(
        self,
        kind: str,
        names: tuple[str, ...],
        values: tuple[Any, ...],
        extra: tuple[Any, ...],
        weight: Any,
        out: Any = None,
    ) -> tuple[Any, tuple[Any, ...]]:
        """(the value, or None for a Hessian's product; gradients of the arguments' shapes)."""
        arguments = self.formula._arguments
        targets = tuple([shape_of(values[arguments.index(n)]) for n in names])
        everything = [*values, *extra]
        if weight is not None:
            everything.append(weight)
        scale = 1.0
        if self.is_mean:
            shape = np.broadcast_shapes(*map(shape_of, everything))
            # Σ weight over all elements: of an array that broadcasts, as often as its numbers stand there
            total: float = math.prod(shape)
            if weight is not None:
                own = math.prod(shape_of(weight))
                total = float(weight.sum() if hasattr(weight, "sum") else np.sum(weight)) * (total / own if own else 0)
            scale = 1.0 / total if total else math.nan
            everything.append(scale)
        if not any(map(shape_of, everything)):  # one element
            everything[0] = np.reshape(everything[0], 1)
        derived = self._program(kind, names, weight is not None)
        if kind == "hessp":
            return None, tuple(derived(everything, targets, outputs(out, len(names), False)))
        value, *gradients = derived(everything, ((), *targets), outputs(out, 1 + len(names), True), scale)
        return value, tuple(gradients)

    def __call__(self, *args: Any, weight: Any = None, **kwargs: Any) -> Any:
        """One number."""
        values = self.formula.bound(args, kwargs)
        found = self._directed("sum", (), values, weight)
        if found is not None:
            return found
        if any(hasattr(v, "requires_grad") for v in values):
            from nbgrad.derived.tensors import total

            return total(self, values, weight)
        return self._run("sum", (), values, (), weight)[0]

    def _value_and_grad(
        self, *args: Any, wrt: Any = None, weight: Any = None, out: Any = None, **kwargs: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        """(the number, its gradients of the arguments' shapes); ``wrt`` and ``out``, which is (None, (arrays)), as for
        the formula's `value_and_grad`. (New memory for 200 MB of gradients takes as long as they do.)
        """
        values = self.formula.bound(args, kwargs)
        names = None if wrt is None else self.formula.chosen(wrt, values)
        outs = None if out is None else outputs(out, 1 + len(self.formula.chosen(wrt, values)), True)
        found = self._directed("grad", names, values, weight, outs)
        if found is not None:
            return found  # type: ignore[no-any-return]
        return self._run("sum", self.formula.chosen(wrt, values), values, (), weight, out)

    def hessp(
        self, v: Any, *args: Any, wrt: Any = None, weight: Any = None, out: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """The Hessian times ``v``, an array for each of ``wrt``; ``out``: arrays (or None) for the products."""
        values = self.formula.bound(args, kwargs)
        names = self.formula.chosen(wrt, values)
        changes = tuple(v) if isinstance(v, tuple | list) else (v,)
        if len(changes) != len(names):
            raise ValueError(f"v: expected {len(names)} arrays, one for each of {', '.join(names)}, got {len(changes)}")
        found = self._directed("hessp", names, values + changes, weight) if out is None else None
        return found or self._run("hessp", names, values, changes, weight, out)[1]

    def objective(self, args: tuple[Any, ...] = (), shapes: Any = None, **keywords: Any) -> Objective:
        """A function of one flat vector for ``scipy.optimize.minimize(objective, start, jac=True,
        hessp=objective.hessp)``. ``args``: the formula's last arguments; the vector has the first ones, numbers, or
        arrays of these ``shapes``.
        """
        return Objective(self, tuple(args), shapes, keywords)


class Objective:
    """``objective(theta)``: (value, gradient); ``objective.hessp(theta, v)``."""

    def __init__(self, total: Sum, args: tuple[Any, ...], shapes: Any, keywords: dict[str, Any]) -> None:
        formula = total.formula
        count = len(formula._arguments) - len(args)
        if count < 1:
            listed = ", ".join(formula._arguments)
            raise ValueError(f"args: expected fewer than the formula's arguments ({listed}), got {len(args)}")
        if unknown := keywords.keys() - {"weight"}:
            raise TypeError(f"objective: expected args, shapes and weight, got {', '.join(sorted(unknown))}")
        self.total, self.args, self.keywords = total, args, keywords
        self.names = formula._arguments[:count]
        self.shapes = [tuple(s) for s in shapes] if shapes is not None else [()] * count
        if len(self.shapes) != count:
            listed = ", ".join(self.names)
            raise ValueError(f"shapes: expected {count}, one for each of {listed}, got {len(self.shapes)}")
        self.sizes = [int(np.prod(s, dtype=int)) for s in self.shapes]

    def _parts(self, theta: Any, name: str) -> list[Any]:
        flat = np.asarray(theta, float)
        if flat.shape != (sum(self.sizes),):
            raise ValueError(f"{name}: expected a vector of {sum(self.sizes)} numbers, got shape {flat.shape}")
        parts, at = [], 0
        for shape, size in zip(self.shapes, self.sizes, strict=True):
            parts.append(flat[at : at + size].reshape(shape) if shape else float(flat[at]))
            at += size
        return parts

    def _flat(self, parts: tuple[Any, ...]) -> Any:
        return np.concatenate([np.asarray(p, float).reshape(-1) for p in parts])

    def __call__(self, theta: Any) -> tuple[float, Any]:
        parts = self._parts(theta, "theta")
        value, grads = self.total.value_and_grad(*parts, *self.args, wrt=self.names, **self.keywords)
        return float(value), self._flat(grads)

    def hessp(self, theta: Any, v: Any) -> Any:
        parts, change = self._parts(theta, "theta"), self._parts(v, "v")
        return self._flat(self.total.hessp(change, *parts, *self.args, wrt=self.names, **self.keywords))


def _programs(program: Program, kind: str, wrt: tuple[str, ...], weighted: bool, mean: bool) -> Program:
    """Value and gradients, or the Hessian's product, times a weight and a scale: arguments that come last."""

    weight, scale = unique(program, "weight"), unique(program, "scale")
    found = reverse.gradients(program, wrt)
    if kind == "hessp":
        found = tangents.tangent(found, {name: unique(program, f"{name}_t") for name in wrt})
        found.results = found.results[3::2]
    b = found.builder
    factors: list[Any] = []
    if weighted:
        factors.append(b.argument(weight))
    scaled = [*factors]
    if mean:
        scaled.append(b.argument(scale))

    def times(node: Any, factors: list[Any]) -> Any:
        for factor in factors:
            node = b.times(b.real(node), factor) or b.constant(0.0)
        return node

    results = []
    for k, (name, node) in enumerate(found.results):
        results.append((name, times(node, factors if k == 0 and kind != "hessp" else scaled)))
    found.results = results
    return found
