"""Mutants of the derivation: each rule's text, and the code of `nbgrad/derive/` that applies them."""

from __future__ import annotations

import ast
import copy
import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.tools.mutants import Mutant, changes, replaced
from nbgrad.derive import reverse, rules, tangents, unroll

sys.path.append(str(Path(__file__).parents[2] / "tests" / "testing"))
import mutant_derivation  # noqa: E402

__all__ = ["MODULES", "code_mutants", "false_alarms", "mutants", "rule_mutants"]

MODULES = (tangents, reverse, unroll)
_OTHER: dict[type, type] = {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}


def false_alarms() -> list[str]:
    """Where the right code is refused: empty, or verdicts on its mutants mean nothing."""
    found = mutant_derivation.found_by()
    wrong = [name for name, f in rules.FUNCTIONS.items() if mutant_derivation.test_derivation_rules.wrong(f)]
    return [f"nbgrad/derive: right code is refused ({by})" for by in [*filter(None, [found]), *wrong]]


def mutants() -> Iterator[Mutant]:
    """All of them."""
    for mutant in itertools.chain(rule_mutants(), code_mutants()):
        yield (*mutant, mutant_derivation.reason_for)


def rule_mutants() -> Iterator[tuple[str, str, Callable[[], str]]]:
    """Of each partial derivative's text."""
    for name, f in rules.FUNCTIONS.items():
        for i, text in enumerate(f.partials):
            tree = ast.parse(text or "0", mode="eval")
            done = {ast.unparse(tree)}
            for node in ast.walk(tree):
                for change in changes(node):
                    other = ast.unparse(replaced(tree, node, change))
                    if other not in done:
                        done.add(other)
                        said = f"rules.py: in {f.parameters[i]}: {text}  ->  {other}"
                        yield name, said, functools.partial(mutant_derivation.rule_verdict, name, i, other)


def code_mutants() -> Iterator[tuple[str, str, Callable[[], str]]]:
    """Of the functions that apply the rules; beside operators and constants conditions too, negated, true, false."""
    for module in MODULES:
        path = Path(str(module.__file__))
        tree = ast.parse(path.read_text("utf-8"))
        for function in [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]:
            for node in _own(function):
                for change in [*changes(node), *_conditions(node)]:
                    new = ast.unparse(change(copy.deepcopy(node))).split("\n")[0]
                    changed = compile(replaced(tree, node, change), str(path), "exec")
                    line = getattr(node, "lineno", function.lineno)
                    said = f"{path.name}:{line}: {ast.unparse(node).splitlines()[0]}  ->  {new}"
                    yield function.name, said, functools.partial(mutant_derivation.verdict, module, changed)


def _own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function's body; functions within it come by themselves."""
    todo: list[ast.AST] = [*function.body]
    while todo:
        node = todo.pop()
        if not isinstance(node, ast.FunctionDef):
            yield node
            todo += ast.iter_child_nodes(node)


def _conditions(node: ast.AST) -> Iterator[Callable[[ast.AST], ast.AST]]:
    if isinstance(node, ast.If):
        for value in (True, False):
            yield lambda n, value=value: ast.If(ast.Constant(value), n.body, n.orelse)
    if isinstance(node, ast.BoolOp):
        kind = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield lambda n: ast.BoolOp(kind(), n.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda n: n.operand
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _OTHER:
        yield lambda n: ast.Compare(n.left, [_OTHER[type(n.ops[0])](), *n.ops[1:]], n.comparators)
    if isinstance(node, ast.comprehension) and node.ifs:
        yield lambda n: ast.comprehension(n.target, n.iter, [], n.is_async)
