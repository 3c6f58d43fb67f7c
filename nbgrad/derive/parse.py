"""From a syntax tree to a program: names get their values, statements become branches and loops."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from nbgrad.derive.expressions import MISSING, Callee, Expressions
from nbgrad.derive.program import INTEGER, REAL, Builder, Node, Program, Region, is_constant
from nbgrad.derive.program import Loop as ForLoop
from nbgrad.derive.syntax import Source

__all__ = ["counts", "parse"]


def parse(source: Source, lookup: Callable[[str], Any], formula_of: Callable[[Any], Callee | None]) -> Program:
    """The program of a function; for ``lookup`` and ``formula_of`` see `Expressions`.

    TypeError for names that are no numbers or functions with a rule.
    """
    builder = Builder()
    integers = counts(source.tree)
    names = {name: builder.argument(name, INTEGER if name in integers else REAL) for name in source.arguments}
    reader = _Reader(builder, source, lookup, formula_of)
    value = reader.body(list(source.tree.body), names)
    return Program(source.name, builder, [("value", builder.real(value))], source.defaults)


def counts(tree: ast.FunctionDef) -> set[str]:
    """The names within a range's parentheses: integers."""
    arguments, found = {a.arg for a in (*tree.args.posonlyargs, *tree.args.args)}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Call):
            found |= {n.id for a in node.iter.args for n in ast.walk(a) if isinstance(n, ast.Name)}
    return found & arguments


class _Reader(Expressions):
    # Statements. ``names``: what each name stands for at this place; changed in place.

    def body(self, statements: list[ast.stmt], names: dict[str, Any]) -> Any:
        """The value returned, None where no return is met."""
        for k, statement in enumerate(statements):
            if isinstance(statement, ast.Return):
                return self.value(statement.value, names)
            if isinstance(statement, ast.If) and any(isinstance(n, ast.Return) for n in ast.walk(statement)):
                rest = statements[k + 1 :]
                return self.ways(statement, rest, names)
            self.statement(statement, names)
        return None

    def ways(self, statement: ast.If, rest: list[ast.stmt], names: dict[str, Any]) -> Any:
        """A branch of which a way returns: each goes on to its end."""
        return self.builder.branch(
            self.condition(statement.test, names),
            lambda: [self.body([*statement.body, *rest], dict(names))],
            lambda: [self.body([*statement.orelse, *rest], dict(names))],
            ["value"],
        )[0]

    def statement(self, statement: ast.stmt, names: dict[str, Any]) -> None:
        if isinstance(statement, ast.Assign):
            value = statement.value
            if isinstance(value, ast.Tuple):
                values = [self.value(v, names) for v in value.elts]
                for target in statement.targets:
                    if not isinstance(target, ast.Tuple):
                        self.refuse(statement, "expected numbers, got a tuple")
                    for name, one in zip(target.elts, values, strict=True):  # type: ignore[attr-defined]
                        self.assign(name.id, one, names)
            else:
                one = self.value(value, names)
                for target in statement.targets:
                    self.assign(target.id, one, names)  # type: ignore[attr-defined]
        elif isinstance(statement, ast.AnnAssign):
            self.assign(statement.target.id, self.value(statement.value, names), names)  # type: ignore[union-attr]
        elif isinstance(statement, ast.AugAssign):
            target = ast.copy_location(ast.Name(statement.target.id, ast.Load()), statement)  # type: ignore[union-attr]
            whole = ast.copy_location(ast.BinOp(target, statement.op, statement.value), statement)
            self.assign(target.id, self.value(whole, names), names)
        elif isinstance(statement, ast.If):
            self.branch(statement, names)
        elif isinstance(statement, ast.For):
            self.loop(statement, names)

    def assign(self, name: str, node: Node, names: dict[str, Any]) -> None:
        if not node.name and node.op not in ("constant", "argument"):
            node.name = name
        names[name] = node

    def branch(self, statement: ast.If, names: dict[str, Any]) -> None:
        changed = sorted(_assigned([*statement.body, *statement.orelse]))
        missing: set[str] = set()

        def way(body: list[ast.stmt]) -> Callable[[], list[Node]]:
            def run() -> list[Node]:
                own = dict(names)
                self.body(body, own)
                missing.update(name for name in changed if own.get(name, MISSING) is MISSING)
                return [own.get(name, MISSING) for name in changed]

            return run

        # A name that one way leaves without a value has none after it.
        first: list[Any] = []
        b = self.builder

        def then() -> list[Any]:
            first[:] = way(statement.body)()
            return [b.constant(0.0) if v is MISSING else v for v in first]

        def other() -> list[Any]:
            return [b.constant(0.0) if v is MISSING else v for v in way(statement.orelse)()]

        values = b.branch(self.condition(statement.test, names), then, other, changed)
        for name, value in zip(changed, values, strict=True):
            names[name] = MISSING if name in missing else value

    def loop(self, statement: ast.For, names: dict[str, Any]) -> None:
        b = self.builder
        bounds = tuple(self.value(a, names) for a in statement.iter.args)  # type: ignore[attr-defined]
        for bound, node in zip(bounds, statement.iter.args, strict=True):  # type: ignore[attr-defined]
            if bound.kind != INTEGER:
                self.refuse(node, "expected integers in range(...)")
        if len(bounds) == 3 and not is_constant(bounds[2]):
            self.refuse(statement, "expected a constant as range's step")
        carried = sorted(n for n in _assigned(statement.body) if names.get(n, MISSING) is not MISSING)
        carried = [n for n in carried if n != statement.target.id]  # type: ignore[attr-defined]
        kinds = {name: names[name].kind for name in carried}
        while True:  # a number that starts as an integer may become a real one
            body = Region(b.region)
            with b.within(body):
                index = b.fresh("index", INTEGER, statement.target.id)  # type: ignore[attr-defined]
                own = dict(names)
                own[statement.target.id] = index  # type: ignore[attr-defined]
                inside = {name: b.fresh("carried", kinds[name], name) for name in carried}
                own |= inside
                self.body(statement.body, own)
            wider = {n: REAL for n in carried if own[n] is not MISSING and own[n].kind == REAL and kinds[n] != REAL}
            if not wider:
                break
            kinds |= wider
        loop = ForLoop(index, bounds, body)
        for name in carried:
            if own[name] is MISSING:
                self.refuse(statement, f"{name} may be without a value after the loop")
        firsts = [b.real(names[n]) if kinds[n] == REAL else names[n] for n in carried]
        with b.within(body):
            after = [b.real(own[n]) if kinds[n] == REAL else own[n] for n in carried]
        for name, first, then in zip(carried, firsts, after, strict=True):
            names[name] = b.fresh("phi", kinds[name], name)
            loop.carried.append((inside[name], first, then, names[name]))
        b.region.statements.append(loop)
        for name in _assigned(statement.body) | {statement.target.id}:  # type: ignore[attr-defined]
            if name not in carried:
                names[name] = MISSING


def _assigned(statements: list[ast.stmt]) -> set[str]:
    names = (node for s in statements for node in ast.walk(s) if isinstance(node, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}
