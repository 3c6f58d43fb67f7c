"""Derivatives in reverse order: from the value back to the arguments, each number's adjoint once.

Straight code and branches are gone through backwards, a branch by a second one on the same condition. A loop's numbers
would all have to be kept for that; instead the loop carries along how its numbers change with what it reads (tangents),
and the adjoints pass it by those.
"""

from __future__ import annotations

from nbgrad.derive.program import Branch, Builder, Loop, Node, Program, Region
from nbgrad.derive.tangents import Copy, active, items, partial

__all__ = ["gradients"]


def gradients(program: Program, wrt: tuple[str, ...], seed: str | None = None) -> Program:
    """The program with its value's derivatives in the arguments ``wrt``: results "value", "d_w", ...; times the
    argument ``seed`` where one is named.
    """
    b = Builder()
    new = {node: b.argument(name, node.kind) for name, node in program.arguments.items()}
    seeds = {program.arguments[name] for name in wrt}
    moving = active(program.builder.top, seeds)
    forward = _Forward(b, new, moving)
    forward.region(program.builder.top)
    first = b.argument(seed) if seed else b.constant(1)
    sweep = _Reverse(b, forward, moving)
    sweep.add(program.value, first)
    sweep.region(program.builder.top)
    results = [("value", forward.of(program.value))]
    for name in wrt:
        node = sweep.adjoints.get(program.arguments[name])
        if node:
            _name(node, program.arguments[name])
        results.append((f"d_{name}", b.real(node) if node else b.constant(0.0)))
    return Program(program.name, b, results)


def _name(adjoint: Node, node: Node) -> None:
    """An adjoint is called after its number, where that has a name and it has none."""
    if node.name and not adjoint.name and adjoint.op not in ("constant", "argument"):
        adjoint.name = f"d_{node.name}"


class _Forward(Copy):
    """A copy of the values, in which the outermost loops carry tangents of what they read. ``slopes``: by loop, for
    each number after it, by the node that is read the derivative.
    """

    def __init__(self, b: Builder, new: dict[Node, Node], moving: set[Node]) -> None:
        super().__init__(b, new, [])
        self.moving = moving
        self.slopes: dict[Loop, list[tuple[Node, dict[Node, Node]]]] = {}

    def loop(self, statement: Loop) -> None:
        read = [n for n in _read(statement) if n in self.moving]
        copy = Copy(self.b, self.new, [{n: self.b.constant(1)} for n in read])
        copy.loop(statement)
        self.slopes[statement] = [
            (out, {n: t[out] for n, t in zip(read, copy.tangents, strict=True) if out in t})
            for *_, out in statement.carried
        ]


def _read(statement: Loop) -> list[Node]:
    """The nodes from outside that a loop's body and its first values are made of."""
    inside: set[Node] = {statement.index}
    used: list[Node] = [first for _, first, _, _ in statement.carried]

    def visit(region: Region) -> None:
        inside.update(region.nodes)
        for node in region.nodes:
            used.extend(node.args)
        for s in region.statements:
            if isinstance(s, Branch):
                used.append(s.condition)
                used.extend(n for phi in s.phis for n in phi[1:])
            else:
                used.extend(n for c in s.carried for n in c[1:3])
            for inner in s.regions():
                visit(inner)

    visit(statement.body)
    used.extend(after for _, _, after, _ in statement.carried)
    return sorted({n for n in used if n not in inside}, key=lambda n: n.number)


class _Reverse:
    def __init__(self, b: Builder, forward: _Forward, moving: set[Node]) -> None:
        self.b, self.forward, self.moving = b, forward, moving
        self.adjoints: dict[Node, Node] = {}

    def add(self, node: Node, contribution: Node | None) -> None:
        if contribution is not None and node in self.moving:
            total = self.b.add(self.adjoints.get(node), contribution)
            assert total is not None
            self.adjoints[node] = total

    def region(self, region: Region) -> None:
        for item in reversed(items(region)):
            if isinstance(item, Branch):
                self.branch(item)
            elif isinstance(item, Loop):
                self.loop(item)
            elif item in self.adjoints and item.op != "argument":
                self.node(item)

    def node(self, node: Node) -> None:
        adjoint, of = self.adjoints[node], self.forward.of
        _name(adjoint, node)
        args = tuple(map(of, node.args))
        for i, argument in enumerate(node.args):
            if argument in self.moving:
                self.add(argument, self.b.times(adjoint, partial(self.b, node, args, i, of(node))))

    def loop(self, statement: Loop) -> None:
        for out, slopes in self.forward.slopes[statement]:
            if (adjoint := self.adjoints.get(out)) is not None:
                for node, slope in slopes.items():
                    self.add(node, self.b.times(adjoint, slope))

    def branch(self, statement: Branch) -> None:
        """By ways: what a way adds to the adjoint of a node outside is a value after a second branch."""
        outer = self.adjoints
        inner = set(statement.then.nodes) | set(statement.other.nodes)
        reached: list[Node] = []

        def way(region: Region, k: int) -> list[Node | None]:
            self.adjoints = {}
            for phi in statement.phis:
                if phi[0] in outer:
                    self.add(phi[1 + k], outer[phi[0]])
            self.region(region)
            own, self.adjoints = self.adjoints, outer
            reached.extend(n for n in own if n not in inner and n not in reached)
            return [own.get(n) for n in reached]

        # Which nodes outside are reached is known after both ways have been gone: once for that, into the void.
        ways = (statement.then, 0), (statement.other, 1)
        for region, k in ways:
            with self.b.within(Region(self.b.region, *filter(None, [self.forward.regions.get(region)]))):
                way(region, k)
        reached.sort(key=lambda n: n.number)
        after = self.b.branch(
            self.forward.of(statement.condition),
            lambda: way(*ways[0]), lambda: way(*ways[1]),
            [f"d_{n.name}" if n.name else "" for n in reached],
            around=(self.forward.regions.get(statement.then), self.forward.regions.get(statement.other)),
        )  # fmt: skip
        for node, contribution in zip(reached, after, strict=True):
            self.add(node, contribution)
