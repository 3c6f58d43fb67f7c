"""Programs as Python: `text` for people, `function` for the compiler, from the same lines.

A value has a line and a name of its own where the source named it or where it is used more than once; everything else
is written where it is used. What no result is made of is not written.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from nbgrad.derive.program import BOOL, REAL, Branch, Loop, Node, Program, Region
from nbgrad.derive.spelling import CHOICE, OR, Spelling, within
from nbgrad.derive.tangents import items

__all__ = ["function", "text"]


def text(program: Program, name: str) -> str:
    """The program as a person would write it."""
    return _Writer(program, typed=False).definition(name, program.arguments)


def function(program: Program, name: str, order: list[str]) -> Callable[..., Any]:
    """A function of numbers, which all have the type of the first real argument; its arguments in this ``order``. It
    returns one number, or a tuple of as many as the program has results.
    """
    writer = _Writer(program, typed=True)
    source = writer.definition(name, order)
    scope: dict[str, Any] = {"__name__": "nbgrad.derived", "inf": math.inf, "nan": math.nan, **writer.called}
    exec(compile(source, f"<derived {name}>", "exec"), scope)
    return scope[name]


class _Writer(Spelling):
    def __init__(self, program: Program, typed: bool) -> None:
        self.program, self.typed = program, typed
        self.made: dict[Node, tuple[Branch | Loop, int]] = {}
        self._index(program.builder.top)
        self.uses: Counter[Node] = Counter()
        self.live: set[Node] = set()
        for _, node in program.results:
            self.use(node)
        self.names: dict[Node, str] = {n: name for name, n in program.arguments.items()}
        self.called: dict[str, Any] = {}
        self.taken = {*program.arguments, "T", "type", "range", "abs", "inf", "nan"}
        self.written: dict[Node, tuple[str, int]] = {}
        #: the names that values will have which a branch hands on
        self.given: dict[Node, str] = {}
        self._functions: dict[Any, str] = {}

    def _index(self, region: Region) -> None:
        for statement in region.statements:
            if isinstance(statement, Branch):
                self.made |= {phi[0]: (statement, k) for k, phi in enumerate(statement.phis)}
            else:
                for k, (inside, _, _, out) in enumerate(statement.carried):
                    self.made[inside] = self.made[out] = (statement, k)
                self.made[statement.index] = (statement, -1)
            for inner in statement.regions():
                self._index(inner)

    # What is needed, and how often

    def use(self, node: Node) -> None:
        self.uses[node] += 1
        if node in self.live:
            return
        self.live.add(node)
        for argument in node.args:
            self.use(argument)
        if node in self.made:
            statement, k = self.made[node]
            if isinstance(statement, Branch):
                if not any(p[0] in self.live and p[0] is not node for p in statement.phis):
                    self.use(statement.condition)
                self.use(statement.phis[k][1])
                self.use(statement.phis[k][2])
            elif statement not in self.live:  # type: ignore[comparison-overlap]
                self.live.add(statement)  # type: ignore[arg-type]
                for bound in statement.bounds:
                    self.use(bound)
            if isinstance(statement, Loop) and k >= 0:
                inside, first, after, out = statement.carried[k]
                if inside not in self.live or out not in self.live:
                    other = out if node is inside else inside
                    if other not in self.live:
                        self.live.add(other)
                        self.use(first)
                        self.use(after)

    # Names

    def unique(self, wanted: str) -> str:
        name, k = wanted, 1
        while name in self.taken:
            k += 1
            name = f"{wanted}_{k}"
        self.taken.add(name)
        return name

    def function_name(self, node: Node) -> str:
        call = node.value.call
        if call not in self._functions:
            wanted = node.value.name
            name = wanted if wanted == "abs" else self.unique(wanted)
            self._functions[call] = name
            self.called[name] = call
        return self._functions[call]

    # Lines

    def definition(self, name: str, arguments: Any) -> str:
        self.taken.add(name)
        self._functions_first(self.program.builder.top)
        lines = []
        real = next((n for n in self.program.arguments if self.program.arguments[n].kind == REAL), None)
        if self.typed:
            if real is None:
                raise TypeError(f"{self.program.name}: expected at least one argument that is a real number")
            lines.append(f"T = type({real})")
        lines += self.region(self.program.builder.top)
        results = [self.real(node)[0] for _, node in self.program.results]
        lines.append("return " + ", ".join(results))
        return "\n".join([f"def {name}({', '.join(arguments)}):", *("    " + line for line in lines)]) + "\n"

    def _functions_first(self, region: Region) -> None:
        """Functions keep their names; a value that is called like one gets another."""
        for node in region.nodes:
            if node.op == "call" and node in self.live:
                self.function_name(node)
        for statement in region.statements:
            for inner in statement.regions():
                self._functions_first(inner)

    def region(self, region: Region) -> list[str]:
        lines: list[str] = []
        for item in items(region):
            if isinstance(item, Branch):
                lines += self.branch(item)
            elif isinstance(item, Loop):
                lines += self.loop(item)
            elif item in self.live and self.has_line(item):
                expression, _ = self.expression(item)
                self.names[item] = self.given.get(item) or self.unique(item.name or "t")
                lines.append(f"{self.names[item]} = {expression}")
        return lines

    def has_line(self, node: Node) -> bool:
        if node.op in ("constant", "argument") or (node.op in ("neg", "real") and self.simple(node.args[0])):
            return False
        if node.kind == BOOL and all(map(self.simple, node.args)):
            return False
        return self.uses[node] > 1 or (bool(node.name) and not self.handed_on(node))

    def handed_on(self, node: Node) -> bool:
        """Whether its one use is to be another name's value."""
        return node in self._values

    @property
    def _values(self) -> set[Node]:
        found = self.__dict__.get("_handed")
        if found is None:
            found = {n for _, n in self.program.results} if len(self.program.results) == 1 else set()
            for statement, _ in self.made.values():
                if isinstance(statement, Branch):
                    found |= {n for phi in statement.phis for n in phi[1:]}
                else:
                    found |= {n for c in statement.carried for n in c[1:3]}
            self.__dict__["_handed"] = found
        return found

    def simple(self, node: Node) -> bool:
        return node.op in ("constant", "argument", "index", "carried") or node in self.names

    def branch(self, statement: Branch) -> list[str]:
        phis = [phi for phi in statement.phis if phi[0] in self.live]
        inner = [self._any_line(region) for region in statement.regions()]
        if not phis and not any(inner):
            return []
        if len(phis) == 1 and not any(inner):
            node = phis[0][0]
            if self.uses[node] > 1 or (node.name and not self.handed_on(node)):
                choice, _ = self.choice(statement, phis[0])
                self.names[node] = self.given.get(node) or self.unique(node.name or "t")
                return [f"{self.names[node]} = {choice}"]
            self.written[node] = self.choice(statement, phis[0])
            return []
        condition = self.condition(statement.condition)
        for phi, *_ in phis:
            self.names[phi] = self.given.get(phi) or self.unique(phi.name or "t")
        ways = []
        for k, region in enumerate(statement.regions()):
            own = set(region.nodes)
            for one in phis:  # a value made here is given the name that it will have: no second line for that
                if one[1 + k] in own and one[1 + k] not in self.given:
                    self.given[one[1 + k]] = self.names[one[0]]
            lines = self.region(region)
            for one in phis:
                value = self.converted(one[1 + k], one[0].kind)[0]
                if value != self.names[one[0]]:
                    lines.append(f"{self.names[one[0]]} = {value}")
            ways.append(["    " + line for line in lines])
        if not ways[0]:
            return [f"if not ({condition}):", *ways[1]]
        if (
            ways[1]
            and ways[1][0].startswith("    if ")
            and all(line.startswith(("     ", "    if ", "    elif ", "    else:")) for line in ways[1])
            and sum(line.startswith("    if ") for line in ways[1]) == 1
        ):
            return [f"if {condition}:", *ways[0], "el" + ways[1][0][4:], *(line[4:] for line in ways[1][1:])]
        return [f"if {condition}:", *ways[0], *(["else:", *ways[1]] if ways[1] else [])]

    def _any_line(self, region: Region) -> bool:
        """Whether a region needs lines of its own, beside the values that it hands on."""
        for item in items(region):
            if isinstance(item, Branch):
                live = [phi[0] for phi in item.phis if phi[0] in self.live]
                if any(map(self._any_line, item.regions())) or len(live) > 1:
                    return True
                if live and (self.uses[live[0]] > 1 or (live[0].name and not self.handed_on(live[0]))):
                    return True
            elif isinstance(item, Loop):
                if item in self.live:  # type: ignore[comparison-overlap]
                    return True
            elif item in self.live and self.has_line(item):
                return True
        return False

    def choice(self, statement: Branch, phi: tuple[Node, Node, Node]) -> tuple[str, int]:
        for region in statement.regions():
            self.region(region)  # what stands in it is written where it is used
        first = self.converted(phi[1], phi[0].kind)
        second, level = self.converted(phi[2], phi[0].kind)
        return f"{within(first, OR)} if {self.condition(statement.condition)} else {second}", CHOICE

    def loop(self, statement: Loop) -> list[str]:
        if statement not in self.live:  # type: ignore[comparison-overlap]
            return []
        carried = [c for c in statement.carried if c[0] in self.live]
        lines, firsts = [], [self.converted(c[1], c[0].kind)[0] for c in carried]
        bounds = ", ".join(self.expression(bound)[0] for bound in statement.bounds)
        for (inside, _, _, out), first in zip(carried, firsts, strict=True):
            self.names[inside] = self.names[out] = self.unique(inside.name or "t")
            lines.append(f"{self.names[inside]} = {first}")
        self.names[statement.index] = self.unique(statement.index.name or "i")
        body = self.region(statement.body)
        after = [self.converted(c[2], c[0].kind)[0] for c in carried]
        pairs = [(self.names[c[0]], a) for c, a in zip(carried, after, strict=True) if a != self.names[c[0]]]
        if pairs:
            body.append(f"{', '.join(n for n, _ in pairs)} = {', '.join(a for _, a in pairs)}")
        if not body:
            return lines
        return [*lines, f"for {self.names[statement.index]} in range({bounds}):", *("    " + line for line in body)]
