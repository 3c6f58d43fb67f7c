"""The table's textbook definitions as one would write them with NumPy, numexpr and Numba: a new row of
`nbgrad.formulas.table` is measured against all three without a word here.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["for_numba", "for_numexpr", "for_numpy", "formula"]

#: as it is usually written, without pos_weight: the definition overflows
_USUAL = {"binary_cross_entropy_with_logits": "max(x, 0) - x * target + log1p(exp(-abs(x)))"}
_MATH = {name: getattr(math, name) for name in ("exp", "log", "log1p", "sqrt", "tanh", "erf", "erfc", "pi")}
_VARIABLES = {"x", "target"}


class _Fold(ast.NodeTransformer):
    """Parameters become numbers, and what has no variable one number, as every compiler would do it."""

    def __init__(self, parameters: dict[str, float]) -> None:
        self.values = {**_MATH, **parameters, "abs": abs, "max": max, "min": min}

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and not isinstance(node, ast.Constant):
            names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            if not names & _VARIABLES and not callable(value := self._value(node)):
                return ast.Constant(value)
        return self.generic_visit(node)

    def _value(self, node: ast.expr) -> Any:
        return eval(compile(ast.Expression(node), "<textbook>", "eval"), dict(self.values))


def formula(op: Any) -> ast.Expression | None:
    """The definition of an operator or a loss in x (and target), its parameters put in; None if there is none."""
    text = _USUAL.get(op.name, op.textbook)
    if not text:
        return None
    return ast.fix_missing_locations(_Fold(op.parameters).visit(ast.parse(text, mode="eval")))


class _Where(ast.NodeTransformer):
    """``a if c else b`` for whole arrays: where(c, a, b)."""

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        node = self.generic_visit(node)  # type: ignore[assignment]
        return ast.Call(ast.Name("where", ast.Load()), [node.test, node.body, node.orelse], [])


class _Comparisons(ast.NodeTransformer):
    """max and min as numexpr has them: where(a > b, a, b)."""

    def visit_Call(self, node: ast.Call) -> Any:
        node = self.generic_visit(node)  # type: ignore[assignment]
        if isinstance(node.func, ast.Name) and node.func.id in ("max", "min"):
            a, b = node.args
            test = ast.Compare(a, [ast.Gt() if node.func.id == "max" else ast.Lt()], [b])
            return ast.Call(ast.Name("where", ast.Load()), [test, a, b], [])
        return node


def _code(tree: ast.Expression) -> Any:
    return compile(ast.fix_missing_locations(tree), "<textbook>", "eval")


def for_numpy(tree: ast.Expression, functions: Any = np) -> Callable[..., Any] | None:
    """A function of arrays by NumPy's functions (or jax.numpy's, autograd.numpy's); None where one is missing."""
    names = {"max": "maximum", "min": "minimum", "where": "where"}
    names |= {name: name for name in ("abs", "exp", "log", "log1p", "sqrt", "tanh")}
    space = {name: getattr(functions, theirs) for name, theirs in names.items()}
    code = _code(_Where().visit(tree))
    if not set(code.co_names) - _VARIABLES <= set(space):
        return None
    return lambda x, target=None: eval(code, space, {"x": x, "target": target})


class _Numbers(ast.NodeTransformer):
    """Numbers get the arrays' precision: ``make`` turns a number into an expression. An exponent stays an integer."""

    def __init__(self, make: Callable[[Any], ast.expr]) -> None:
        self.make = make

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant):
            node.left = self.visit(node.left)
            return node
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> Any:
        return self.make(node.value)


def for_numexpr(tree: ast.Expression, dtype: Any) -> tuple[str, dict[str, Any]] | None:
    """An expression of x (and target) for numexpr, and the numbers in it as variables: written as they are they would
    be float64, and so would everything else. None where numexpr lacks a function.
    """
    numbers: dict[str, Any] = {}

    def variable(value: float) -> ast.expr:
        name = f"c{len(numbers)}"
        numbers[name] = np.asarray(value, dtype)
        return ast.Name(name, ast.Load())

    tree = _Numbers(variable).visit(_Comparisons().visit(_Where().visit(tree)))
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    if not called <= {"abs", "exp", "log", "log1p", "sqrt", "tanh", "where"}:
        return None
    return ast.unparse(tree), numbers


def for_numba(tree: ast.Expression) -> Callable[..., Any]:
    """A function of numbers with the functions of `math`: `numba.njit` compiles it. ``T`` is the type of x."""

    def cast(value: float) -> ast.expr:
        return ast.Call(ast.Name("T", ast.Load()), [ast.Constant(value)], [])

    body = ast.unparse(_Numbers(cast).visit(tree))
    space: dict[str, Any] = dict(_MATH)
    exec(f"def function(x, target, T):\n    return {body}\n", space)
    return space["function"]
