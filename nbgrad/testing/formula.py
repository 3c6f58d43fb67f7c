"""`check`: what `nbgrad.differentiable` derived of a formula, held against the formula's own values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.derive.program import Branch, Builder, Loop, Node, Region
from nbgrad.derived.differentiable import Differentiable
from nbgrad.testing.examples.property import gradient_test
from nbgrad.testing.examples.specs import Spec
from nbgrad.testing.report import GradientError, GradientReport

__all__ = ["check"]


def check(formula: Differentiable, *specs: Any, second: bool = True, settings: Any = None) -> GradientReport:
    """Draw arguments and check value, gradient, backward, tangent, sums and second derivatives of a formula.

    Gradients are held against differences of the formula's values (`gradient_test`), second derivatives against those
    of its first ones; the others against these. Where the body compares an argument with a number, that number is a
    kink: either side's slope is right there.

    Parameters
    ----------
    formula : Differentiable
        Made by `nbgrad.differentiable`.
    *specs
        One for each argument: `array` or a hypothesis strategy of arrays and numbers.
    second : bool
        False where the formula's second derivatives are not to be checked (its slope is not smooth enough, say).
    settings : hypothesis.settings, optional
        By default the loaded profile; without a deadline in any case: the first call compiles.

    Returns
    -------
    GradientReport
        Of all checks together.

    Raises
    ------
    GradientError
        Something is wrong; it has the code that repeats it.

    Examples
    --------
    >>> from nbgrad import differentiable
    >>> from nbgrad.testing import array, check
    >>> @differentiable
    ... def cubic(x, a):
    ...     return a * x * x * x if x > 0 else a * x
    >>> check(cubic, array(3, domain=(-5, 5)), array(3, domain=(-5, 5))).confirmed > 0
    True
    """
    if not isinstance(formula, Differentiable):
        raise TypeError(f"formula: expected one made by nbgrad.differentiable, got {type(formula).__name__}")
    names = formula._arguments
    if len(specs) != len(names):
        raise TypeError(f"specs: expected {len(names)}, one for each argument ({', '.join(names)}), got {len(specs)}")
    import hypothesis

    settings = hypothesis.settings(settings or hypothesis.settings(), deadline=None)
    reals = [k for k, name in enumerate(names) if formula.kinds[name] == "real" and _of_floats(specs[k])]
    kinks = _kinks(formula.program().builder)
    specs = tuple(_with_kinks(spec, kinks.get(name, [])) for spec, name in zip(specs, names, strict=True))
    reports = []

    def run(forward: Callable[..., Any], backward: Callable[..., Any], wrt: list[int], title: str) -> None:
        forward.__name__ = f"{formula.__name__}{title}"
        backward.__name__ = f"{formula.__name__}{title}_backward"
        test = gradient_test(forward, backward, *specs, wrt=wrt, settings=settings)
        test()
        reports.append(test.report)  # type: ignore[attr-defined]

    def gradients(g: Any, *args: Any) -> Any:
        found = dict(zip(reals, formula.backward(g, *args, wrt=reals), strict=True))
        return tuple(found.get(k) for k in range(len(names)))

    run(lambda *args: formula(*args), gradients, reals, "")
    _same(formula, specs, reals, settings)
    for k in reals if second else []:
        run(*_second(formula, k, len(names)), [k], f"_d_{names[k]}")
    return sum(reports, GradientReport())


def _of_floats(spec: Any) -> bool:
    """Whether a spec draws floats: by integers and bools (labels) nothing is differentiated."""
    import hypothesis

    quiet = hypothesis.settings(database=None, max_examples=1, phases=[hypothesis.Phase.generate])
    one = hypothesis.find(spec.strategy if isinstance(spec, Spec) else spec, lambda _: True, settings=quiet)
    return np.asarray(one).dtype.kind == "f"


def _with_kinks(spec: Any, kinks: list[float]) -> Any:
    if not isinstance(spec, Spec):
        return Spec(spec, tuple(kinks)) if kinks else spec
    return dataclasses.replace(spec, kinks=(*spec.kinks, *kinks))


def _second(formula: Differentiable, k: int, count: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def first(*args: Any) -> Any:
        return formula.grad_hess(*args, wrt=k)[0]

    def backward(g: Any, *args: Any) -> Any:
        gradient = np.asarray(g) * formula.grad_hess(*args, wrt=k)[1]
        shape = np.shape(args[k])
        lead = gradient.ndim - len(shape)
        axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and gradient.shape[lead + i] != 1))
        reduced = gradient.sum(axis=axes).reshape(shape)
        return tuple(reduced if i == k else None for i in range(count))

    return first, backward


def _same(formula: Differentiable, specs: Any, reals: list[int], settings: Any) -> None:
    """The ways to ask for the same numbers agree: value, partial derivatives, tangents, sums."""
    import hypothesis

    strategies = [spec.strategy if isinstance(spec, Spec) else spec for spec in specs]

    @hypothesis.given(hypothesis.strategies.tuples(*strategies))
    def test(args: tuple[Any, ...]) -> None:
        try:
            np.broadcast_shapes(*map(np.shape, args))
        except ValueError:
            hypothesis.reject()
        with np.errstate(all="ignore"):
            value, partials = formula.value_and_grad(*args, wrt=reals)
            along = formula.jvp(args, [np.ones_like(a) if k in reals else None for k, a in enumerate(args)])
            terms = [np.abs(p) for p in partials]
            whole = np.asarray(value, np.float64)
            total = formula.sum(*args)
        eps = float(np.finfo(np.asarray(value).dtype).eps)
        pairs = {
            "its value": (formula(*args), value, 0.0),
            "jvp's value": (along[0], value, 4 * eps * np.abs(value)),
            "jvp's tangent": (along[1], sum(partials), 64 * eps * sum(terms)),
            "sum": (total, _sum(whole), 8 * eps * _sum(np.abs(whole))),
        }
        for name, (found, expected, slack) in pairs.items():
            with np.errstate(all="ignore"):
                near = np.abs(np.asarray(found, float) - np.asarray(expected, float)) <= slack
                large = ~np.isfinite(np.asarray(slack) * 2 / eps)  # a sum of large numbers may be inf or nan either way
            if not (near | (np.asarray(found) == expected) | np.isnan(expected) | large).all():
                raise GradientError(
                    "wrong",
                    f"{formula.__name__}: {name}: expected {expected!r}, as value_and_grad has it, got {found!r} "
                    f"for {args!r}",
                )

    settings(test)()


def _sum(values: Any) -> float:
    with np.errstate(all="ignore"):
        try:
            return math.fsum(np.ravel(values))
        except (OverflowError, ValueError):
            return float(np.sum(values))


def _kinks(builder: Builder) -> dict[str, list[float]]:
    """The numbers that the body compares each argument with, and the kinks of functions that it is handed to."""
    found: dict[str, list[float]] = {}

    def add(node: Node, places: Any) -> None:
        if node.op == "argument" and node.kind == "real":
            found.setdefault(node.value, []).extend(float(p) for p in places)

    def visit(region: Region) -> None:
        for node in region.nodes:
            if node.kind == "bool" and len(node.args) == 2:
                for a, b in (node.args, node.args[::-1]):
                    if b.op == "constant":
                        add(a, [b.value])
            elif node.op == "call" and node.value.kinks is not None:
                rest = [a.value for a in node.args[1:]]
                if len(node.value.defaults) == len(rest) and all(a.op == "constant" for a in node.args[1:]):
                    add(node.args[0], node.value.kinks(*rest))
            elif node.op == "call" and node.value.name == "abs":
                add(node.args[0], [0.0])
        statements: list[Branch | Loop] = region.statements
        for statement in statements:
            for inner in statement.regions():
                visit(inner)

    visit(builder.top)
    return found
