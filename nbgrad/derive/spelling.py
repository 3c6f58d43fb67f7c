"""Nodes as Python expressions: each a text and how strongly its last operation binds."""

from __future__ import annotations

import math
from typing import Any

from nbgrad.derive.program import BOOL, INTEGER, REAL, Branch, Loop, Node

__all__ = ["CHOICE", "OR", "Spelling", "within"]

CHOICE, OR, AND, NOT, COMPARE, SUM, PRODUCT, SIGN, POWER, ATOM = range(10)
LEVEL = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT, "**": POWER}


class Spelling:
    """``names``: what nodes are called that have a line; ``written``: what was spelled already; ``made``: the statement
    that a node is a value of. ``typed``: for the compiler, every number in the arguments' precision.
    """

    typed: bool
    names: dict[Node, str]
    written: dict[Node, tuple[str, int]]
    made: dict[Node, tuple[Branch | Loop, int]]

    def choice(self, statement: Branch, phi: tuple[Node, Node, Node]) -> tuple[str, int]:
        raise NotImplementedError

    def function_name(self, node: Node) -> str:
        raise NotImplementedError

    def condition(self, node: Node) -> str:
        return self.expression(node)[0]

    def real(self, node: Node) -> tuple[str, int]:
        return self.converted(node, REAL)

    def converted(self, node: Node, kind: str) -> tuple[str, int]:
        """A node where a number of this kind is expected."""
        if kind != REAL or node.kind == REAL:
            return self.expression(node)
        if node.op == "constant":
            return self.number(float(node.value))
        expression, level = self.expression(node)
        return (f"T({expression})", ATOM) if self.typed else (expression, level)

    def number(self, value: Any) -> tuple[str, int]:
        if isinstance(value, bool | int):
            return repr(value), ATOM if value >= 0 else SIGN
        if self.typed:
            return f"T({value!r})", ATOM
        short = int(value) if math.isfinite(value) and value == int(value) and abs(value) < 1e6 else value
        short = value if math.copysign(1, value) < 0 and value == 0 else short
        return repr(short), SIGN if math.copysign(1, value) < 0 else ATOM

    def expression(self, node: Node) -> tuple[str, int]:
        if node in self.names:
            return self.names[node], ATOM
        if node in self.written:
            return self.written[node]
        op = node.op
        if op == "constant":
            return self.number(node.value)
        if op == "phi":
            statement, k = self.made[node]
            assert isinstance(statement, Branch)
            return self.choice(statement, statement.phis[k])
        if op == "call":
            arguments = [self.real(a)[0] for a in node.args]
            if not self.typed:
                function = node.value
                while arguments and len(arguments) > len(function.parameters) - len(function.defaults):
                    default = function.defaults.get(function.parameters[len(arguments) - 1])
                    if default is None or node.args[len(arguments) - 1].value != default:
                        break
                    arguments.pop()
            return f"{self.function_name(node)}({', '.join(arguments)})", ATOM
        if op == "real":
            inner, level = self.expression(node.args[0])
            return (f"T({inner})", ATOM) if self.typed else (inner, level)
        if op == "neg":
            return f"-{within(self.converted(node.args[0], node.kind), SIGN)}", SIGN
        if op == "not":
            return f"not {within(self.expression(node.args[0]), NOT)}", NOT
        if op in ("and", "or"):
            level = AND if op == "and" else OR
            # & and |: a second comparison is cheaper than a jump, and LLVM vectorises it
            if self.typed:
                symbol = " & " if op == "and" else " | "
                return "(" + symbol.join(f"({self.expression(a)[0]})" for a in node.args) + ")", ATOM
            return f" {op} ".join(within(self.expression(a), level + 1) for a in node.args), level
        kind = REAL if REAL in (node.args[0].kind, node.args[1].kind) else INTEGER
        if op in ("/", "**"):
            kind = REAL
        first, second = (self.converted(a, kind) for a in node.args)
        if node.kind == BOOL:
            return f"{within(first, SUM)} {op} {within(second, SUM)}", COMPARE
        level = LEVEL[op]
        if op == "**":
            return f"{within(first, ATOM)} ** {within(second, SIGN)}", POWER
        # a + (b - c) stays what it is: a sum in another order has other rounding errors, a * (b % c) another value
        return f"{within(first, level)} {op} {within(second, level + 1)}", level


def within(expression: tuple[str, int], least: int) -> str:
    """The text, in parentheses where it binds less strongly."""
    return expression[0] if expression[1] >= least else f"({expression[0]})"
