"""Mutants of nbgrad's formulas: operators, constants, comparisons, branches and signs of `nbgrad/formulas/`,
changed one at a time; and of the derivation of users' formulas (`nbgrad/derive/`: the rules, and what applies them).

Each mutant is run as plain Python, over compiled elementary functions, and must be found: by nbgrad.testing (the
gradient is not the slope), by the textbook definition (the value is not the function's), or by the bound of 2 units in
the last place. Prints what survives; survivors that change nothing are named with a reason
(`mutant_checks.EQUIVALENT`). Exits with 1 for any other, and, before the first mutant, if a check refuses the functions
as they are.
"""

from __future__ import annotations

import argparse
import ast
import collections
import copy
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nbgrad import formulas
from nbgrad.formulas import rows, softmax

sys.path.append(str(Path(__file__).parents[2] / "tests" / "testing"))
from mutant_checks import ELEMENTWISE, Checks, compile_imports, reason_for  # noqa: E402
from mutant_rows import ROWS  # noqa: E402
from mutant_scores import SCORES  # noqa: E402

__all__ = ["FILES", "Mutant", "add_arguments", "changes", "false_alarms", "mutants", "replaced", "run"]

#: (function, what is changed, what finds it when asked, the reason of one that survives)
Mutant = tuple[str, str, Callable[[], str], Callable[[str, str], str]]

FILES = [
    Path(formulas.__file__).parent / f"{name}.py"
    for name in ("classic", "smooth", "piecewise", "losses", "regression", "log_link", "robust", "targets")
]
OF_ROWS = [Path(module.__file__) for module in (rows, softmax)]
FILES += OF_ROWS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", help="functions whose name has this in it")
    parser.add_argument("--verbose", action="store_true", help="print every mutant")


_OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,), ast.BitAnd: (ast.BitOr,),
    ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.Lt), ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,),
}  # fmt: skip


def changes(node: ast.AST) -> Iterator[Callable[[ast.AST], ast.AST]]:
    """Functions that make the mutated node of a copy of ``node``."""
    if isinstance(node, ast.BinOp):
        for kind in _OPERATORS.get(type(node.op), ()):
            yield lambda n, kind=kind: ast.BinOp(n.left, kind(), n.right)
    if isinstance(node, ast.AugAssign):
        for kind in _OPERATORS.get(type(node.op), ()):
            yield lambda n, kind=kind: ast.AugAssign(n.target, kind(), n.value)
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for kind in _OPERATORS.get(type(op), ()):
                yield lambda n, i=i, kind=kind: ast.Compare(
                    n.left, [*n.ops[:i], kind(), *n.ops[i + 1 :]], n.comparators
                )
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value
        for other in {value + 1, 0 * value} if isinstance(value, int) else {value * 1.001, value + 1}:
            if other != value:
                yield lambda n, other=other: ast.Constant(other)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield lambda n: n.operand
    if isinstance(node, ast.IfExp):
        yield lambda n: n.body
        yield lambda n: n.orelse
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "abs":
        yield lambda n: n.args[0]


def _parsed(path: Path) -> ast.Module:
    """A file's module, its functions without decorators."""
    tree = ast.parse(path.read_text("utf-8"))
    for function in [n for n in tree.body if isinstance(n, ast.FunctionDef)]:
        function.decorator_list = []
    return tree


def mutants(path: Path) -> Iterator[tuple[str, str, ast.Module]]:
    """(function, description, module) for every mutant of a file, without decorators."""
    tree = _parsed(path)
    for function in [n for n in tree.body if isinstance(n, ast.FunctionDef)]:
        body = function.body[1:] if ast.get_docstring(function) else function.body
        places = [n for statement in body for n in ast.walk(statement)]
        for node in places:
            for change in list(changes(node)):
                mutated = replaced(tree, node, change)
                new = ast.unparse(change(copy.deepcopy(node)))
                yield function.name, f"{path.name}:{node.lineno}: {ast.unparse(node)}  ->  {new}", mutated


def replaced(tree: ast.Module, node: ast.AST, change: Callable[[ast.AST], ast.AST]) -> ast.Module:
    class Replace(ast.NodeTransformer):
        def visit(self, n: ast.AST) -> Any:
            return change(copy.deepcopy(n)) if n is node else self.generic_visit(n)

    # the transformer changes lists in place: only the way down to the node is made anew
    copied: dict[int, Any] = {id(node): node}
    fresh = copy.deepcopy(tree, copied)
    return ast.fix_missing_locations(Replace().visit(fresh))


def _namespace(path: Path, module: ast.Module) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": f"nbgrad.formulas.{path.stem}"}
    exec(compile(module, str(path), "exec"), space)
    compile_imports(space)
    return space


def _calls(path: Path) -> dict[str, set[str]]:
    """For each function of a file those that depend on it, itself included."""
    tree = ast.parse(path.read_text("utf-8"))
    direct = {
        f.name: {n.id for n in ast.walk(f) if isinstance(n, ast.Name)}
        for f in tree.body
        if isinstance(f, ast.FunctionDef)
    }
    users = {name: {name} for name in direct}
    for _ in direct:
        for name, used in direct.items():
            for other in used & direct.keys():
                users[other] |= users[name] | {name}
    for name in direct:
        for _ in direct:
            users[name] |= {u for other in list(users[name]) for u in users[other]}
    return users


def false_alarms(path: Path) -> Iterator[str]:
    """Which checks refuse a file's functions as they are: none, or their verdicts on its mutants mean nothing."""
    space, users = _namespace(path, _parsed(path)), _calls(path)
    asked = set()
    for function in dict.fromkeys(function for function, _, _ in mutants(path)):
        for check in _checks(path, users[function]):
            touched = frozenset(users[function] & check.functions)
            if (check.functions, touched) in asked:
                continue
            asked.add((check.functions, touched))
            by = _verdict(check, space, users[function])
            if by:
                names = ", ".join(sorted(touched))
                yield f"{path.name}: right functions are refused ({by}) where these change: {names}"


def run(arguments: argparse.Namespace) -> None:
    from bench.tools import mutants_derivation as derivation

    if refused := [text for path in FILES for text in false_alarms(path)] + derivation.false_alarms():
        print("\n".join(refused))
        sys.exit(1)
    start, killed, survivors, explained = time.perf_counter(), collections.Counter(), [], 0
    for function, text, verdict, reason_of in itertools.chain(_of_formulas(), derivation.mutants()):
        if arguments.only not in function:
            continue
        by = verdict()
        if arguments.verbose:
            print(f"{by or 'SURVIVES'}: {function} {text}", flush=True)
        if by:
            killed[by] += 1
        elif reason := reason_of(function, text.split(": ", 1)[1]):
            explained += 1
            print(f"equivalent: {function} {text}: {reason}", flush=True)
        else:
            survivors.append(f"{function} {text}")
            print(f"SURVIVES: {function} {text}", flush=True)
    total = sum(killed.values()) + explained + len(survivors)
    print(
        f"\n{total} mutants in {time.perf_counter() - start:.0f} s: {sum(killed.values())} killed ({dict(killed)}), ",
        end="",
    )
    print(f"{explained} equivalent, {len(survivors)} survive")
    if survivors:
        sys.exit(1)


def _of_formulas() -> Iterator[Mutant]:
    for path in FILES:
        users = _calls(path)
        for function, text, module in mutants(path):
            touched = users[function]
            yield function, text, lambda p=path, m=module, t=touched: _killed(p, _namespace(p, m), t), reason_for


def _killed(path: Path, space: dict[str, Any], touched: set[str]) -> str:
    """What finds the mutant; "" if nothing does."""
    return next((by for check in _checks(path, touched) if (by := _verdict(check, space, touched))), "")


def _checks(path: Path, touched: set[str]) -> list[Checks]:
    return [check for check in (ROWS if path in OF_ROWS else [*ELEMENTWISE, *SCORES]) if touched & check.functions]


def _verdict(check: Checks, space: dict[str, Any], touched: set[str]) -> str:
    with np.errstate(all="ignore"):
        return check(space, touched)
