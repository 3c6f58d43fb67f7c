"""From a syntax tree to a program: names get their values, statements become branches and loops."""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.derive import rules
from nbgrad.derive.program import BOOL, INTEGER, REAL, Builder, Function, Node, Region, is_constant
from nbgrad.derive.program import Loop as ForLoop
from nbgrad.derive.syntax import Source

__all__ = ["Program", "counts", "expression", "parse"]

_OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.FloorDiv: "//", ast.Mod: "%",
}  # fmt: skip
_COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_MISSING: Any = object()


class Program:
    """A formula: its arguments by name, its value, and the nodes and statements they are made of."""

    def __init__(self, name: str, builder: Builder, results: list[tuple[str, Node]]) -> None:
        self.name, self.builder, self.results = name, builder, results

    @property
    def arguments(self) -> dict[str, Node]:
        return self.builder.arguments

    @property
    def value(self) -> Node:
        return self.results[0][1]


def parse(source: Source, lookup: Callable[[str], Any], formula_of: Callable[[Any], Program | None]) -> Program:
    """The program of a function. ``lookup``: a name's value outside of the function (NameError: there is none);
    ``formula_of``: the program of another formula that it calls, None for what is none.

    TypeError for names that are no numbers or functions with a rule.
    """
    builder = Builder()
    integers = counts(source.tree)
    names = {name: builder.argument(name, INTEGER if name in integers else REAL) for name in source.arguments}
    reader = _Reader(builder, source, lookup, formula_of)
    value = reader.body(list(source.tree.body), names)
    return Program(source.name, builder, [("value", builder.real(value))])


def expression(builder: Builder, text: str, names: dict[str, Node]) -> Node:
    """A rule's text, of these nodes."""
    tree = ast.parse(text, mode="eval").body
    return _Reader(builder, None, rules.FUNCTIONS.__getitem__, lambda _: None).value(tree, names)


def counts(tree: ast.FunctionDef) -> set[str]:
    """The names within a range's parentheses: integers."""
    arguments, found = {a.arg for a in (*tree.args.posonlyargs, *tree.args.args)}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Call):
            found |= {n.id for a in node.iter.args for n in ast.walk(a) if isinstance(n, ast.Name)}
    return found & arguments


class _Reader:
    def __init__(self, builder: Builder, source: Any, lookup: Callable[[str], Any], formula_of: Callable[[Any], Any]):
        self.builder, self.source, self.lookup, self.formula_of = builder, source, lookup, formula_of

    def refuse(self, node: ast.AST, what: str) -> Any:
        if self.source is None:
            raise TypeError(what)
        self.source.refuse(node, what)

    # Statements. ``names``: what each name stands for at this place; changed in place.

    def body(self, statements: list[ast.stmt], names: dict[str, Any]) -> Any:
        """The value returned, None where no return is met."""
        for k, statement in enumerate(statements):
            if isinstance(statement, ast.Return):
                return self.value(statement.value, names)
            if isinstance(statement, ast.If) and any(isinstance(n, ast.Return) for n in ast.walk(statement)):
                rest = statements[k + 1 :]
                return self.builder.branch(
                    self.condition(statement.test, names),
                    lambda s=statement, r=rest: [self.body([*s.body, *r], dict(names))],
                    lambda s=statement, r=rest: [self.body([*s.orelse, *r], dict(names))],
                    ["value"],
                )[0]
            self.statement(statement, names)
        return None

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
                missing.update(name for name in changed if own.get(name, _MISSING) is _MISSING)
                return [own.get(name, _MISSING) for name in changed]

            return run

        # A name that one way leaves without a value has none after it.
        first: list[Any] = []
        b = self.builder

        def then() -> list[Any]:
            first[:] = way(statement.body)()
            return [b.constant(0.0) if v is _MISSING else v for v in first]

        def other() -> list[Any]:
            return [b.constant(0.0) if v is _MISSING else v for v in way(statement.orelse)()]

        values = b.branch(self.condition(statement.test, names), then, other, changed)
        for name, value in zip(changed, values, strict=True):
            names[name] = _MISSING if name in missing else value

    def loop(self, statement: ast.For, names: dict[str, Any]) -> None:
        b = self.builder
        bounds = tuple(self.value(a, names) for a in statement.iter.args)  # type: ignore[attr-defined]
        for bound, node in zip(bounds, statement.iter.args, strict=True):  # type: ignore[attr-defined]
            if bound.kind != INTEGER:
                self.refuse(node, "expected integers in range(...)")
        if len(bounds) == 3 and not is_constant(bounds[2]):
            self.refuse(statement, "expected a constant as range's step")
        carried = sorted(n for n in _assigned(statement.body) if names.get(n, _MISSING) is not _MISSING)
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
            wider = {n: REAL for n in carried if own[n] is not _MISSING and own[n].kind == REAL and kinds[n] != REAL}
            if not wider:
                break
            kinds |= wider
        loop = ForLoop(index, bounds, body)
        for name in carried:
            if own[name] is _MISSING:
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
                names[name] = _MISSING

    # Expressions

    def condition(self, node: ast.expr, names: dict[str, Any]) -> Node:
        test = self.value(node, names)
        return test if test.kind == BOOL else self.builder.compare("!=", test, self.builder.constant(0))

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
            operand = self.value(node.operand, names)
            if isinstance(node.op, ast.Not):
                return b.logical("not", operand)
            return b.negative(operand) if isinstance(node.op, ast.USub) else operand
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(v, names) for v in node.values]
            return b.logical("and" if isinstance(node.op, ast.And) else "or", *parts)
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
            if names[node.id] is _MISSING:
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
            special = _SPECIAL.get(called) if isinstance(called, type) or callable(called) else None
            if special is None:
                self.refuse(
                    node, f"{said} has no derivative that nbgrad knows: expected a function of math, of NumPy for numbers, of "
                    "nbgrad.elementary, an elementwise kernel or loss of nbgrad.kernels, or a differentiable one"
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
            parameters, defaults = tuple(program.arguments), program.defaults  # type: ignore[attr-defined]
        else:
            parameters, defaults = function.parameters, function.defaults
        if program is None and called not in _ANY and function.name in rules.KERNELS.values():
            pass
        values = self.bound(node, said, parameters, defaults, names)
        if program is not None:
            from nbgrad.derive.tangents import inline

            return inline(self.builder, program, values)
        b = self.builder
        if function.name == "power":
            return b.arithmetic("**", b.real(values[0]), values[1])
        if function.name == "abs" and values[0].kind != REAL:
            return self.choose(b.compare("<", values[0], b.constant(0)), lambda: b.negative(values[0]), lambda: values[0])
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
            name = keyword.arg if keyword.arg in parameters else renamed.get(keyword.arg or "", keyword.arg)
            if name == "reduction" and isinstance(keyword.value, ast.Constant) and keyword.value.value == "none":
                continue
            if name not in parameters:
                self.refuse(node, f"{said}: expected arguments {', '.join(parameters)}, got {keyword.arg}")
            if name in given:
                self.refuse(node, f"{said}: got {name} twice")
            given[name] = self.value(keyword.value, names)  # type: ignore[index]
        missing = [p for p in parameters if p not in given and p not in defaults]
        if missing:
            self.refuse(node, f"{said}: the argument {missing[0]} is missing")
        return [given[p] if p in given else self.builder.constant(defaults[p]) for p in parameters]


_ANY: frozenset[Any] = frozenset()


def _assigned(statements: list[ast.stmt]) -> set[str]:
    return {
        node.id for s in statements for node in ast.walk(s) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


# Functions that are expressions of others. At a tie the first argument is taken, as by Python's own.


def _fold(better: str, nan: bool) -> Callable[..., Node]:
    def fold(reader: _Reader, first: Node, *more: Node) -> Node:
        b = reader.builder
        for other in more:
            a = first
            test = b.compare(better, other, a)
            if nan:
                test = b.logical("or", test, b.compare("!=", other, other))
            first = reader.choose(test, lambda o=other: o, lambda a=a: a)
        return first

    return fold


def _sign(reader: _Reader, x: Node) -> Node:
    b = reader.builder
    zero = b.constant(0.0)
    return reader.choose(
        b.compare(">", x, zero), lambda: b.constant(1.0),
        lambda: reader.choose(b.compare("<", x, zero), lambda: b.constant(-1.0), lambda: zero),
    )  # fmt: skip


def _logaddexp(reader: _Reader, a: Node, c: Node) -> Node:
    b = reader.builder
    rest = b.call(rules.FUNCTIONS["softplus"], (b.arithmetic("-", b.real(c), b.real(a)), b.constant(1.0)))
    return b.arithmetic("+", b.real(a), rest)


_SPECIAL: dict[Any, Callable[..., Node]] = {
    builtins.max: _fold(">", False), builtins.min: _fold("<", False),
    np.maximum: _fold(">", True), np.minimum: _fold("<", True),
    np.fmax: _fold(">", False), np.fmin: _fold("<", False),
    np.where: lambda r, test, a, c: r.choose(test, lambda: a, lambda: c),
    np.sign: _sign,
    np.square: lambda r, x: r.builder.arithmetic("*", x, x),
    np.logaddexp: _logaddexp,
    np.clip: lambda r, x, low, high: _fold("<", False)(r, _fold(">", False)(r, x, low), high),
    builtins.float: lambda r, x: r.builder.real(x),
    math.isnan: lambda r, x: r.builder.compare("!=", x, x),
    np.isnan: lambda r, x: r.builder.compare("!=", x, x),
}  # fmt: skip
