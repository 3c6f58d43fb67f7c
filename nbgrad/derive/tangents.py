"""Copies of programs, with tangents beside the values: what an argument's change does to each value (forward mode).

A tangent is a node, or None where it is 0. Several directions may be carried at once: `nbgrad.derive.reverse` takes one
for each number that a loop reads, seconds derivatives one for the whole program.
"""

from __future__ import annotations

from typing import Any

from nbgrad.derive.expressions import expression
from nbgrad.derive.program import REAL, Branch, Builder, Function, Loop, Node, Program, Region
from nbgrad.derive.rules import FUNCTIONS

__all__ = ["Copy", "inline", "partial", "tangent"]

Tangents = list[dict[Node, Node]]


def partial(b: Builder, node: Node, args: tuple[Node, ...], i: int, value: Node) -> Node | None:
    """The derivative of an operation in its i-th argument, of the ``args`` and its ``value``; None for 0."""
    one, op = b.constant(1), node.op
    if op == "+" or op == "real":
        return one
    if op == "-":
        return one if i == 0 else b.constant(-1)
    if op == "neg":
        return b.constant(-1)
    if op == "*":
        return args[1 - i]
    if op == "/":
        return b.arithmetic("/", one, args[1]) if i == 0 else b.negative(b.arithmetic("/", value, args[1]))
    if op == "%":
        return one if i == 0 else b.negative(b.arithmetic("//", args[0], args[1]))
    if op == "**":
        return rule(b, FUNCTIONS["power"], args, i, value)
    if op == "call":
        return rule(b, node.value, args, i, value)
    return None


def rule(b: Builder, function: Function, args: tuple[Node, ...], i: int, value: Node) -> Node:
    text = function.partials[i]
    if text is None:
        raise TypeError(
            f"{function.name}: its derivative in {function.parameters[i]} is not known: expected a constant there, or "
            "wrt= without the arguments that it is made of"
        )
    return expression(b, text, dict(zip(function.parameters, args, strict=True)) | {"y": value})


def active(region: Region, seeds: set[Node]) -> set[Node]:
    """The real nodes of a region, and within it, that depend on ``seeds``."""
    found = set(seeds)

    def visit(region: Region) -> None:
        order: list[Any] = sorted(
            [*region.nodes, *region.statements], key=lambda x: x.number if isinstance(x, Node) else _place(x)
        )
        for item in order:
            if isinstance(item, Branch):
                for inner in item.regions():
                    visit(inner)
                found.update(phi for phi, a, c in item.phis if a in found or c in found)
            elif isinstance(item, Loop):
                found.update(active_in_loop(item, found))
            elif item.kind == REAL and item.op not in _FLAT and any(a in found for a in item.args):
                found.add(item)

    visit(region)
    return found


def active_in_loop(statement: Loop, seeds: set[Node]) -> set[Node]:
    """The same for a loop: what one turn makes the next one may read."""
    found, before = set(seeds), -1
    while len(found) != before:
        before = len(found)
        found.update(inside for inside, first, after, _ in statement.carried if first in found or after in found)
        found = active(statement.body, found)
    found.update(out for inside, _, _, out in statement.carried if inside in found and out.kind == REAL)
    return found


_FLAT = ("constant", "argument", "index", "carried", "phi", "//")


def _place(statement: Branch | Loop) -> float:
    """Where a statement stands among its region's nodes: before the values that it makes."""
    outs = [phi for phi, *_ in statement.phis] if isinstance(statement, Branch) else [c[3] for c in statement.carried]
    return min((node.number for node in outs), default=0) - 0.5


def items(region: Region) -> list[Any]:
    """A region's nodes and statements in order."""
    made = {phi for s in region.statements if isinstance(s, Branch) for phi, *_ in s.phis}
    made |= {c[3] for s in region.statements if isinstance(s, Loop) for c in s.carried}
    rest = [n for n in region.nodes if n not in made and n.op not in ("index", "carried")]
    return sorted([*rest, *region.statements], key=lambda x: x.number if isinstance(x, Node) else _place(x))


class Copy:
    """Copies regions into ``builder``: ``new`` maps nodes to their copies, ``tangents[d]`` to their tangents in the
    d-th direction.
    """

    def __init__(self, builder: Builder, new: dict[Node, Node], tangents: Tangents) -> None:
        self.b, self.new, self.tangents = builder, new, tangents
        #: the copied region of each region of a branch
        self.regions: dict[Region, Region] = {}

    def of(self, node: Node) -> Node:
        return self.b.constant(node.value) if node.op == "constant" else self.new[node]

    def region(self, region: Region) -> None:
        for item in items(region):
            if isinstance(item, Branch):
                self.branch(item)
            elif isinstance(item, Loop):
                self.loop(item)
            else:
                self.node(item)

    def node(self, node: Node) -> None:
        if node in self.new or node.op == "constant":
            return
        args = tuple(map(self.of, node.args))
        copied = rebuilt(self.b, node, args)
        self.new[node] = copied
        if not copied.name and copied.op not in ("constant", "argument"):
            copied.name = node.name
        for tangents in self.tangents:
            total: Node | None = None
            for i, argument in enumerate(node.args):
                if (t := tangents.get(argument)) is not None:
                    total = self.b.add(total, self.b.times(t, partial(self.b, node, args, i, copied)))
            if total is not None:
                tangents[node] = self.b.real(total)

    def branch(self, statement: Branch) -> None:
        count = len(self.tangents)

        def way(region: Region, k: int) -> Any:
            def run() -> list[Node | None]:
                self.regions[region] = self.b.region
                self.region(region)
                values = [phi[1 + k] for phi in statement.phis]
                return [*map(self.of, values), *(t.get(v) for t in self.tangents for v in values)]

            return run

        names = [phi.name for phi, *_ in statement.phis]
        changes = [_tangent_name(name, d, count) for d in range(count) for name in names]
        after = self.b.branch(
            self.of(statement.condition), way(statement.then, 0), way(statement.other, 1), [*names, *changes]
        )
        for k, (phi, *_) in enumerate(statement.phis):
            self.new[phi] = after[k]  # type: ignore[assignment]
            for d, tangents in enumerate(self.tangents):
                if (t := after[len(names) * (1 + d) + k]) is not None:
                    tangents[phi] = t

    def loop(self, statement: Loop) -> None:
        b = self.b
        moving = [active_in_loop(statement, set(tangents)) for tangents in self.tangents]
        bounds = tuple(map(self.of, statement.bounds))
        copied = Loop(b.fresh("index", statement.index.kind, statement.index.name), bounds, Region(b.region))
        with b.within(copied.body):
            self.new[statement.index] = copied.index
            for inside, *_ in statement.carried:
                self.new[inside] = b.fresh("carried", inside.kind, inside.name)
            for d, tangents in enumerate(self.tangents):
                for inside, *_ in statement.carried:
                    if inside in moving[d] and inside.kind == REAL:
                        tangents[inside] = b.fresh("carried", REAL, _tangent_name(inside.name, d, len(self.tangents)))
            self.region(statement.body)
            after = [self.of(c[2]) for c in statement.carried]
            after_tangents = [
                [b.real(tangents.get(c[2]) or b.constant(0.0)) for c in statement.carried] for tangents in self.tangents
            ]
        firsts = [self.of(first) for _, first, _, _ in statement.carried]
        starts = [
            [b.real(t.get(first) or b.constant(0.0)) for _, first, _, _ in statement.carried] for t in self.tangents
        ]
        for k, (inside, _, _, out) in enumerate(statement.carried):
            self.new[out] = b.fresh("phi", out.kind, out.name)
            copied.carried.append((self.new[inside], firsts[k], after[k], self.new[out]))
        for d, tangents in enumerate(self.tangents):
            for k, (inside, _, _, out) in enumerate(statement.carried):
                if inside in tangents:
                    tangents[out] = b.fresh("phi", REAL, tangents[inside].name)
                    copied.carried.append((tangents[inside], starts[d][k], after_tangents[d][k], tangents[out]))
        b.region.statements.append(copied)


def _tangent_name(name: str, d: int, count: int) -> str:
    return f"{name or 'value'}_t" + (str(d + 1) if count > 1 else "")


def rebuilt(b: Builder, node: Node, args: tuple[Node, ...]) -> Node:
    """The same operation on other nodes."""
    op = node.op
    if op == "call":
        return b.call(node.value, args)
    if op == "real":
        return b.real(args[0])
    if op == "neg":
        return b.negative(args[0])
    if op in ("and", "or", "not"):
        return b.logical(op, *args)
    if node.kind == "bool":
        return b.compare(op, *args)
    return b.arithmetic(op, *args)


def inline(b: Builder, program: Program, values: list[Node]) -> Node:
    """The value of a program at these arguments, as a part of another one."""
    new = {
        argument: b.real(value) if argument.kind == REAL else value
        for argument, value in zip(program.arguments.values(), values, strict=True)
    }
    copy = Copy(b, new, [])
    copy.region(program.builder.top)
    return copy.of(program.value)


def tangent(program: Program, direction: dict[str, str | float]) -> Program:
    """The program with, for each of its results, its tangent: by argument the name of a new argument, or a number, by
    which it changes. Results: (name, value) and (name_t, tangent) of each.
    """
    b = Builder()
    new = {node: b.argument(name, node.kind) for name, node in program.arguments.items()}
    changes: dict[Node, Node] = {}
    for name, by in direction.items():
        changes[program.arguments[name]] = b.argument(by) if isinstance(by, str) else b.constant(float(by))
    copy = Copy(b, new, [changes])
    copy.region(program.builder.top)
    results = []
    for name, node in program.results:
        results.append((name, copy.of(node)))
        results.append((f"{name}_t", changes.get(node) or b.constant(0.0)))
    return Program(program.name, b, results)
