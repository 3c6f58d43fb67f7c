"""Programs of numbers: expressions whose nodes are values, and statements (branches, loops) that have regions of their
own. What `nbgrad.derive.parse` makes, and every derivation makes another of.

A node is a value: a constant, an argument, an operation on nodes, or what a statement makes (the value after a branch,
a number that a loop carries). Equal operations of one region are one node, and what is known is computed at once:
0·x is dropped from derivatives here, not written and left to a compiler that may not drop it (x may be inf).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Branch", "Builder", "Function", "Loop", "Node", "Program", "Region", "is_constant", "statements",
]  # fmt: skip

REAL, INTEGER, BOOL = "real", "integer", "bool"


@dataclass(frozen=True, eq=False)
class Function:
    """A function of numbers that programs call: what to call it, what it is, its partial derivatives as text."""

    name: str
    call: Callable[..., Any]
    parameters: tuple[str, ...]
    #: by argument: an expression of the parameters and ``y``, the value; None: there is none
    partials: tuple[str | None, ...]
    #: further arguments, constants all
    defaults: dict[str, float] = field(default_factory=dict)
    #: where the first argument makes the value or its slope jump
    kinks: Callable[..., tuple[Any, ...]] | None = None


class Node:
    """A value. ``op``: "constant", "argument", "index" and "carried" (of a loop), "phi" (after a statement), "call", or
    an operator of Python. ``name``: what it is called in the source.
    """

    __slots__ = ("args", "kind", "name", "number", "op", "value")
    _count = 0

    def __init__(self, op: str, args: tuple[Node, ...], kind: str, value: Any = None, name: str = "") -> None:
        self.op, self.args, self.kind, self.value, self.name = op, args, kind, value, name
        Node._count += 1
        self.number = Node._count

    def __repr__(self) -> str:
        return f"<{self.op} {self.value if self.value is not None else ''} {self.name} {list(self.args)}>"


@dataclass(eq=False)
class Branch:
    """``if condition: then, else: other``; each of ``phis`` (node, value in then, value in other) is a value after it.

    ``expression``: written so, as ``a if condition else b``.
    """

    condition: Node
    then: Region
    other: Region
    phis: list[tuple[Node, Node, Node]] = field(default_factory=list)

    def regions(self) -> tuple[Region, ...]:
        return self.then, self.other


@dataclass(eq=False)
class Loop:
    """``for index in range(*bounds): body``; of ``carried`` each is (the number within, at first, at the next turn, the
    number after the loop).
    """

    index: Node
    bounds: tuple[Node, ...]
    body: Region
    carried: list[tuple[Node, Node, Node, Node]] = field(default_factory=list)

    def regions(self) -> tuple[Region, ...]:
        return (self.body,)


class Region:
    """Statements in order, and the nodes that were made in it."""

    def __init__(self, parent: Region | None = None, *more: Region) -> None:
        self.parents = tuple(p for p in (*more, parent) if p is not None)
        self.statements: list[Branch | Loop] = []
        self.nodes: list[Node] = []
        self.table: dict[Any, Node] = {}

    def find(self, key: Any) -> Node | None:
        """A node made here or in a region around this one."""
        found = self.table.get(key)
        for parent in self.parents:
            found = found or parent.find(key)
        return found


def is_constant(node: Node, *values: Any) -> bool:
    """Whether the node is a constant, one of ``values`` where there are any."""
    return node.op == "constant" and (not values or any(node.value == v for v in values))


_COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_ARITHMETIC = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow,
    "//": operator.floordiv, "%": operator.mod,
}  # fmt: skip


class Builder:
    """Makes nodes and statements; ``region`` is where the next ones go."""

    def __init__(self) -> None:
        self.top = self.region = Region()
        self.arguments: dict[str, Node] = {}

    def within(self, region: Region) -> _Within:
        """``with``: what is made goes into this region."""
        return _Within(self, region)

    def make(self, op: str, args: tuple[Node, ...], kind: str, value: Any = None, name: str = "") -> Node:
        key = (op, tuple(a.number for a in args), value if op != "constant" else (type(value), repr(value)))
        if op not in ("phi", "carried", "index") and (found := self.region.find(key)):
            found.name = found.name or name
            return found
        node = Node(op, args, kind, value, name)
        if op not in ("phi", "carried", "index"):
            self.region.table[key] = node
        self.region.nodes.append(node)
        return node

    def argument(self, name: str, kind: str = REAL) -> Node:
        self.arguments[name] = self.make("argument", (), kind, name, name)
        return self.arguments[name]

    def constant(self, value: Any) -> Node:
        kind = BOOL if isinstance(value, bool) else INTEGER if isinstance(value, int) else REAL
        here, self.region = self.region, self.top
        node = self.make("constant", (), kind, value)
        self.region = here
        return node

    def fresh(self, op: str, kind: str, name: str = "") -> Node:
        """A value that a statement makes."""
        return self.make(op, (), kind, None, name)

    # Operations. Numbers are real where one of them is.

    def arithmetic(self, op: str, a: Node, b: Node) -> Node:
        if a.op == b.op == "constant":
            try:
                return self.constant(_ARITHMETIC[op](a.value, b.value))
            except (ArithmeticError, ValueError):
                pass
        if op == "*" and (is_constant(a, 1) or is_constant(b, 1)):
            other = b if is_constant(a, 1) else a
            if other.kind == REAL or a.kind == b.kind == INTEGER:
                return other
        if op == "/" and is_constant(b, 1):
            return self.real(a)
        if op == "**" and is_constant(b, 1, 2, 3) and b.kind != BOOL:
            power = a
            for _ in range(int(b.value) - 1):
                power = self.arithmetic("*", power, a)
            return power if a.kind == REAL or b.kind == INTEGER else self.real(power)
        kind = REAL if op == "/" or op == "**" or REAL in (a.kind, b.kind) else INTEGER
        return self.make(op, (a, b), kind)

    def real(self, a: Node) -> Node:
        """The same number as a real one."""
        if a.kind == REAL:
            return a
        return self.constant(float(a.value)) if is_constant(a) else self.make("real", (a,), REAL)

    def negative(self, a: Node) -> Node:
        if is_constant(a):
            return self.constant(-a.value)
        return a.args[0] if a.op == "neg" else self.make("neg", (a,), INTEGER if a.kind == BOOL else a.kind)

    def compare(self, op: str, a: Node, b: Node) -> Node:
        if a.op == b.op == "constant":
            return self.constant(bool(_COMPARE[op](a.value, b.value)))
        return self.make(op, (a, b), BOOL)

    def logical(self, op: str, *args: Node) -> Node:
        """ "and", "or", "not" of conditions."""
        if op == "not":
            return self.constant(not args[0].value) if is_constant(args[0]) else self.make("not", args, BOOL)
        stops = op == "or"
        kept = [a for a in args if not is_constant(a) or bool(a.value) == stops]
        if not kept:
            return self.constant(not stops)
        if any(is_constant(a) for a in kept):
            return self.constant(stops)
        return kept[0] if len(kept) == 1 else self.make(op, tuple(kept), BOOL)

    def call(self, function: Function, args: tuple[Node, ...]) -> Node:
        return self.make("call", args, REAL, function)

    # The same with what derivatives can leave out: None stands for 0.

    def add(self, a: Node | None, b: Node | None) -> Node | None:
        if a is None or b is None:
            return a or b
        if a is b:
            return self.times(self.constant(2), a)
        if b.op == "neg":
            return self.arithmetic("-", a, b.args[0])
        if a.op == "neg":
            return self.arithmetic("-", b, a.args[0])
        if b.op == "*" and is_constant(b.args[0]) and b.args[0].value < 0:
            return self.arithmetic("-", a, self.arithmetic("*", self.constant(-b.args[0].value), b.args[1]))
        return self.arithmetic("+", a, b)

    def times(self, a: Node | None, b: Node | None) -> Node | None:
        """a·b; 1 and −1, and divisions by numbers, as one writes them."""
        if a is None or b is None or is_constant(a, 0) or is_constant(b, 0):
            return None
        for one, other in ((a, b), (b, a)):
            if is_constant(one, 1):
                return other
            if is_constant(one, -1):
                return self.negative(other)
        if a.op == "neg" or b.op == "neg":
            sign = (a.op == "neg") != (b.op == "neg")
            product = self.times(a.args[0] if a.op == "neg" else a, b.args[0] if b.op == "neg" else b)
            return self.negative(product) if sign and product else product
        if b.op == "/" and is_constant(b.args[0], 1):
            return self.arithmetic("/", a, b.args[1])
        if a.op == "/" and is_constant(a.args[0], 1):
            return self.arithmetic("/", b, a.args[1])
        if is_constant(b) and not is_constant(a):
            a, b = b, a
        return self.arithmetic("*", a, b)

    # Statements

    def branch(
        self, condition: Node, then: Callable[[], list[Node | None]], other: Callable[[], list[Node | None]],
        names: list[str], *, around: tuple[Region | None, Region | None] = (None, None),
    ) -> list[Node | None]:  # fmt: skip
        """The values after a branch: ``then`` and ``other`` make theirs, as many, None for 0. ``around``: regions of an
        earlier branch on the same condition, whose nodes may be used.
        """
        if is_constant(condition):
            return then() if condition.value else other()
        ways = [Region(self.region, *filter(None, [earlier])) for earlier in around]
        statement = Branch(condition, ways[0], ways[1])
        with self.within(statement.then):
            first = then()
        with self.within(statement.other):
            second = other()
        values: list[Node | None] = []
        for a, b, name in zip(first, second, names, strict=True):
            if a is b or (a is not None and b is not None and is_constant(a, b.value) and is_constant(b)):
                values.append(a)
                continue
            a, b = (self.constant(0.0) if x is None else x for x in (a, b))
            kind = REAL if REAL in (a.kind, b.kind) else INTEGER if INTEGER in (a.kind, b.kind) else BOOL
            phi = self.fresh("phi", kind, name)
            statement.phis.append((phi, a, b))
            values.append(phi)
        if statement.phis:
            self.region.statements.append(statement)
        return values


class _Within:
    def __init__(self, builder: Builder, region: Region) -> None:
        self.builder, self.region = builder, region

    def __enter__(self) -> Region:
        self.outer, self.builder.region = self.builder.region, self.region
        return self.region

    def __exit__(self, *error: Any) -> None:
        self.builder.region = self.outer


def statements(region: Region) -> Iterator[Branch | Loop]:
    """Every statement of a region, of the regions within it too."""
    for statement in region.statements:
        yield statement
        for inner in statement.regions():
            yield from statements(inner)


@dataclass(eq=False)
class Program:
    """A formula, or derivatives of one: nodes and statements in ``builder``, and which are the results, by their names;
    numbers that stand for arguments left out.
    """

    name: str
    builder: Builder
    results: list[tuple[str, Node]]
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Node]:
        return self.builder.arguments

    @property
    def value(self) -> Node:
        return self.results[0][1]
