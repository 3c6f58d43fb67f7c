"""Expressions of a syntax tree as nodes: a formula's, and the rules' own."""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbgrad.derive import rules
from nbgrad.derive.program import BOOL, REAL, Builder, Function, Node
from nbgrad.derive.syntax import Source

__all__ = ["MISSING", "Callee", "Expressions", "expression"]

_OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.FloorDiv: "//", ast.Mod: "%",
}  # fmt: skip
_COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
#: Stands for a name that has no value here, or on one way to here.
MISSING: Any = object()


@dataclass(frozen=True)
class Callee:
    """Another formula that a formula calls: its arguments, and how it becomes a part of the caller."""

    parameters: tuple[str, ...]
    defaults: dict[str, Any]
    inline: Callable[[Builder, list[Node]], Node]


def expression(builder: Builder, text: str, names: dict[str, Node]) -> Node:
    """A rule's text, of these nodes."""
    tree = ast.parse(text, mode="eval").body
    return Expressions(builder, None, rules.FUNCTIONS.__getitem__, lambda _: None).value(tree, names)


class Expressions:
    """``source``: what errors say about the place; ``lookup``: what a name outside of the function is (NameError: not
    known); ``formula_of``: another formula that is called, None for what is none.
    """

    def __init__(
        self, builder: Builder, source: Source | None, lookup: Callable[[str], Any],
        formula_of: Callable[[Any], Callee | None],
    ) -> None:  # fmt: skip
        self.builder, self.source, self.lookup, self.formula_of = builder, source, lookup, formula_of

    def refuse(self, node: ast.AST, what: str) -> Any:
        if self.source is None:
            raise TypeError(what)
        self.source.refuse(node, what)

    def condition(self, node: ast.expr, names: dict[str, Any]) -> Node:
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(v, names) for v in node.values]
            return self.builder.logical("and" if isinstance(node.op, ast.And) else "or", *parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.builder.logical("not", self.condition(node.operand, names))
        return self.true(self.value(node, names))

    def true(self, number: Node) -> Node:
        """Whether Python takes it for true."""
        return number if number.kind == BOOL else self.builder.compare("!=", number, self.builder.constant(0))

    def value(self, node: Any, names: dict[str, Any]) -> Node:
        b = self.builder
        if isinstance(node, ast.Constant):
            return b.constant(node.value)
        if isinstance(node, ast.Name | ast.Attribute):
            return self.number(node, names)
        if isinstance(node, ast.BinOp):
            first, second = self.value(node.left, names), self.value(node.right, names)
            if isinstance(node.op, ast.BitAnd | ast.BitOr):
                if first.kind == second.kind == BOOL:
                    return b.logical("and" if isinstance(node.op, ast.BitAnd) else "or", first, second)
                self.refuse(node, "expected comparisons beside & and |")
            return b.arithmetic(_OPERATORS[type(node.op)], first, second)
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.Not):
                return self.condition(node, names)
            operand = self.value(node.operand, names)
            return b.negative(operand) if isinstance(node.op, ast.USub) else operand
        if isinstance(node, ast.BoolOp):
            *parts, last = [self.value(v, names) for v in node.values]
            if all(p.kind == BOOL for p in (*parts, last)):
                return self.condition(node, names)
            for part in reversed(parts):  # of numbers: the first that decides
                ways = (last, part) if isinstance(node.op, ast.And) else (part, last)
                last = _chosen(self, self.true(part), *ways)
            return last
        if isinstance(node, ast.Compare):
            values = [self.value(v, names) for v in (node.left, *node.comparators)]
            pairs = zip(node.ops, values, values[1:], strict=False)
            return b.logical("and", *(b.compare(_COMPARISONS[type(op)], x, y) for op, x, y in pairs))
        if isinstance(node, ast.IfExp):
            test = self.condition(node.test, names)
            return self.choose(test, lambda: self.value(node.body, names), lambda: self.value(node.orelse, names))
        if isinstance(node, ast.Call):
            return self.call(node, names)
        return self.refuse(node, f"expected a number, got {ast.unparse(node)}")

    def choose(self, test: Node, first: Callable[[], Node], second: Callable[[], Node]) -> Node:
        """a if test else b"""
        return self.builder.branch(test, lambda: [first()], lambda: [second()], [""])[0]  # type: ignore[return-value]

    def number(self, node: Any, names: dict[str, Any]) -> Node:
        if isinstance(node, ast.Name) and node.id in names:
            if names[node.id] is MISSING:
                self.refuse(node, f"{node.id} may be without a value here")
            return names[node.id]
        value = self.outside(node)
        if isinstance(value, np.generic) and value.dtype.kind in "iufb":
            value = value.item()
        if not isinstance(value, int | float):
            self.refuse(node, f"{ast.unparse(node)}: expected a number, got {type(value).__name__}")
        return self.builder.constant(value)

    def outside(self, node: Any) -> Any:
        if isinstance(node, ast.Name):
            try:
                return self.lookup(node.id)
            except (NameError, KeyError):
                return self.refuse(node, f"the name {node.id} is not defined")
        if isinstance(node, ast.Attribute):
            whole = self.outside(node.value)
            try:
                return getattr(whole, node.attr)
            except AttributeError:
                return self.refuse(node, f"{ast.unparse(node)} does not exist")
        return self.refuse(node, f"expected a name, got {ast.unparse(node)}")

    def call(self, node: ast.Call, names: dict[str, Any]) -> Node:
        if isinstance(node.func, ast.Name) and node.func.id in names:
            self.refuse(node, f"{node.func.id}: expected a function, got a number")
        called = self.outside(node.func)
        function = called if isinstance(called, Function) else rules.named(called) or self.kernel(called)
        program = None if function else self.formula_of(called)
        said = ast.unparse(node.func)
        if any(k.arg is None for k in node.keywords):
            self.refuse(node, f"{said}: ** is not understood in a formula")
        if function is None and program is None:
            special = _SPECIAL.get(called) if callable(called) and getattr(called, "__hash__", None) else None
            if special is None:
                return self.refuse(
                    node,
                    f"{said} has no derivative that nbgrad knows: expected a function of math, of NumPy for "
                    "numbers, of nbgrad.elementary, an elementwise kernel or loss of nbgrad.kernels, or another "
                    "differentiable",
                )
            if node.keywords:
                self.refuse(node, f"{said}: expected arguments by position")
            try:
                return special(self, *(self.value(a, names) for a in node.args))
            except TypeError as error:
                if "positional argument" not in str(error):
                    raise
                self.refuse(node, f"{said}: got {len(node.args)} arguments")
        if program is not None:
            return program.inline(self.builder, self.bound(node, said, program.parameters, program.defaults, names))
        assert function is not None
        values = self.bound(node, said, function.parameters, function.defaults, names)
        b = self.builder
        if function.name == "power":
            return b.arithmetic("**", b.real(values[0]), values[1])
        if function.name == "abs" and values[0].kind != REAL:
            below = b.compare("<", values[0], b.constant(0))
            return self.choose(below, lambda: b.negative(values[0]), lambda: values[0])
        return b.call(function, tuple(b.real(v) for v in values))

    def kernel(self, called: Any) -> Function | None:
        """The rule of a public kernel."""
        name = getattr(called, "__name__", "")
        own = getattr(called, "__module__", "") or ""
        return rules.KERNELS.get(name) if own.startswith("nbgrad.") else None

    def bound(
        self, node: ast.Call, said: str, parameters: tuple[str, ...], defaults: dict[str, float], names: dict[str, Any]
    ) -> list[Node]:
        """The call's arguments in the parameters' order."""
        given: dict[str, Node] = {}
        renamed = {"input": "x", "logits": "x"}
        if len(node.args) > len(parameters):
            self.refuse(node, f"{said}: expected {len(parameters)} arguments, got {len(node.args)}")
        for name, argument in zip(parameters, node.args, strict=False):
            given[name] = self.value(argument, names)
        for keyword in node.keywords:
            word = keyword.arg or ""
            name = word if word in parameters else renamed.get(word, word)
            if name == "reduction" and isinstance(keyword.value, ast.Constant) and keyword.value.value == "none":
                continue
            if name not in parameters:
                self.refuse(node, f"{said}: expected arguments {', '.join(parameters)}, got {keyword.arg}")
            if name in given:
                self.refuse(node, f"{said}: got {name} twice")
            given[name] = self.value(keyword.value, names)
        missing = [p for p in parameters if p not in given and p not in defaults]
        if missing:
            self.refuse(node, f"{said}: the argument {missing[0]} is missing")
        return [given[p] if p in given else self.builder.constant(defaults[p]) for p in parameters]


# Functions that are expressions of others. At a tie the first argument is taken, as by Python's own.


def _fold(better: str, nan: bool, missing: bool = False) -> Callable[..., Node]:
    """``nan``: it is handed on wherever it stands; ``missing``: a number is better than nan."""

    def fold(reader: Expressions, first: Node, *more: Node) -> Node:
        b = reader.builder
        for other in more:
            a = first
            test = b.compare(better, other, a)
            if nan:
                test = b.logical("or", test, b.compare("!=", other, other))
            if missing:
                test = b.logical("or", test, b.compare("!=", a, a))
            first = _chosen(reader, test, other, a)
        return first

    return fold


def _chosen(reader: Expressions, test: Node, a: Node, b: Node) -> Node:
    return reader.choose(test, lambda: a, lambda: b)


def _sign(reader: Expressions, x: Node) -> Node:
    b = reader.builder
    zero = b.constant(0.0)
    return reader.choose(
        b.compare(">", x, zero), lambda: b.constant(1.0),
        lambda: reader.choose(b.compare("<", x, zero), lambda: b.constant(-1.0), lambda: b.arithmetic("-", x, x)),
    )  # fmt: skip


_SPECIAL: dict[Any, Callable[..., Node]] = {
    builtins.max: _fold(">", False), builtins.min: _fold("<", False),
    np.maximum: _fold(">", True), np.minimum: _fold("<", True),
    np.fmax: _fold(">", False, missing=True), np.fmin: _fold("<", False, missing=True),
    np.where: lambda r, test, a, c: r.choose(test, lambda: a, lambda: c),
    np.sign: _sign,
    np.square: lambda r, x: r.builder.arithmetic("*", x, x),
    np.clip: lambda r, x, low, high: _fold("<", True)(r, _fold(">", True)(r, x, low), high),
    builtins.float: lambda r, x: r.builder.real(x),
    math.isnan: lambda r, x: r.builder.compare("!=", x, x),
    np.isnan: lambda r, x: r.builder.compare("!=", x, x),
}  # fmt: skip
