"""A user's function as a syntax tree, and what of Python's language a formula may be made of: checked at decoration,
before a name in it has a value.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

__all__ = ["Source", "read"]


@dataclass(frozen=True)
class Source:
    """Where a formula stands, for errors: its name, file and first line; its definition."""

    name: str
    file: str
    line: int
    tree: ast.FunctionDef
    arguments: tuple[str, ...]
    defaults: dict[str, Any]

    def refuse(self, node: ast.AST, what: str) -> NoReturn:
        line = self.line + getattr(node, "lineno", 1) - 1
        raise TypeError(f"{self.file}:{line}: {self.name}: {what}")


_STATEMENTS = (
    ast.Assign, ast.AugAssign, ast.AnnAssign, ast.If, ast.For, ast.Return, ast.Pass,
)  # fmt: skip
_EXPRESSIONS = (
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.IfExp, ast.Constant, ast.Name, ast.Attribute,
    ast.Tuple, ast.keyword, ast.Load, ast.Store,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.FloorDiv, ast.Mod, ast.USub, ast.UAdd, ast.Not, ast.And, ast.Or,
    ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.BitAnd, ast.BitOr,
)  # fmt: skip
_KINDS = (ast.expr, ast.operator, ast.cmpop, ast.boolop, ast.unaryop)
_WORDS = {
    ast.While: "a while loop", ast.Try: "try", ast.With: "with", ast.Break: "break", ast.Continue: "continue",
    ast.FunctionDef: "a function within it", ast.Lambda: "lambda", ast.ListComp: "a list comprehension",
    ast.List: "a list", ast.Dict: "a dict", ast.Subscript: "an index", ast.Raise: "raise", ast.Assert: "assert",
    ast.JoinedStr: "a string", ast.NamedExpr: ":=", ast.Global: "global", ast.Nonlocal: "nonlocal", ast.Delete: "del",
    ast.Starred: "*", ast.GeneratorExp: "a generator", ast.Import: "import", ast.ImportFrom: "import",
    ast.Yield: "yield", ast.Set: "a set", ast.Slice: "a slice", ast.Await: "await", ast.Is: "is", ast.IsNot: "is not",
    ast.In: "in", ast.NotIn: "not in", ast.Invert: "~", ast.MatMult: "@", ast.LShift: "<<", ast.RShift: ">>",
    ast.BitXor: "^", ast.Match: "match", ast.ClassDef: "a class", ast.SetComp: "a set comprehension",
    ast.Expr: "an expression whose value is dropped", ast.TryStar: "try",
    ast.DictComp: "a dict comprehension", ast.YieldFrom: "yield", ast.AsyncFunctionDef: "a function within it",
}  # fmt: skip
_ALLOWED = "arithmetic, comparisons, if, conditional expressions, assignments, for ... in range(...), calls, return"


def read(function: Callable[..., Any]) -> Source:
    """The function's source, its language checked.

    TypeError for what is no function written in Python with ``def``, and for what a formula cannot be made of, naming
    file, line and construct.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if not inspect.isfunction(function):
        raise TypeError(f"differentiable: expected a function written with def, got {type(function).__name__} {name!r}")
    if name == "<lambda>":
        raise TypeError("differentiable: expected a function written with def, got a lambda: give it a name with def")
    try:
        lines, first = inspect.getsourcelines(function)
        found = [n for n in ast.walk(ast.parse(textwrap.dedent("".join(lines)))) if isinstance(n, ast.FunctionDef)]
    except (OSError, TypeError, SyntaxError):
        found = []
    # what stands there may be another function's: "<string>" is the name of what exec runs and of `python -c`, too
    if not found or found[0].name != function.__code__.co_name:
        raise TypeError(
            f"differentiable: expected a function whose source can be read, got {name!r} from "
            f"{function.__code__.co_filename!r}: write it to a file (or a notebook's cell)"
        )
    tree = found[0]
    arguments = tuple(a.arg for a in (*tree.args.posonlyargs, *tree.args.args))
    defaults = dict(zip(arguments[::-1], (function.__defaults__ or ())[::-1], strict=False))
    source = Source(name, function.__code__.co_filename, first, tree, arguments, defaults)
    if tree.args.vararg or tree.args.kwarg or tree.args.kwonlyargs:
        source.refuse(tree, "expected arguments by position, got *, ** or keyword-only ones")
    if not arguments:
        source.refuse(tree, "expected at least one argument")
    for default in defaults.values():
        if isinstance(default, bool) or not isinstance(default, int | float):
            source.refuse(tree, f"expected defaults that are numbers, got {default!r}")
    if tree.body and isinstance(tree.body[0], ast.Expr) and isinstance(tree.body[0].value, ast.Constant):
        del tree.body[0]  # the docstring
    for statement in tree.body:
        _check(source, statement)
    numbers = {*arguments, *(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in numbers:
            source.refuse(node, f"{ast.unparse(node)}: an attribute of a number is not understood in a formula")
    if not _returns(tree.body):
        source.refuse(tree, "expected a return at the end of every branch")
    return source


def _check(source: Source, node: ast.AST, loop: bool = False) -> None:
    if isinstance(node, ast.stmt) and not isinstance(node, _STATEMENTS):
        source.refuse(node, f"{_said(node)} is not understood in a formula: expected {_ALLOWED}")
    if isinstance(node, _KINDS) and not isinstance(node, _EXPRESSIONS):
        source.refuse(node, f"{_said(node)} is not understood in a formula: expected {_ALLOWED}")
    if isinstance(node, ast.Tuple):  # those that are assigned are met by their assignment
        source.refuse(node, "a tuple is not understood here: expected a number")
    if isinstance(node, ast.Constant) and not isinstance(node.value, int | float):
        source.refuse(node, f"expected numbers, got the constant {node.value!r}")
    if isinstance(node, ast.Return):
        if loop:
            source.refuse(node, "return within a loop is not understood in a formula")
        if node.value is None or isinstance(node.value, ast.Tuple):
            source.refuse(node, "expected one number returned")
    if isinstance(node, ast.For):
        call = node.iter
        ranged = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"
        if not ranged or call.keywords or not 1 <= len(call.args) <= 3:  # type: ignore[attr-defined]
            source.refuse(node, "expected for ... in range(...), got another iterable")
        if not isinstance(node.target, ast.Name):
            source.refuse(node, "expected one name as a loop's index")
        if node.orelse:
            source.refuse(node, "else of a loop is not understood in a formula")
        loop = True
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            if not all(isinstance(n, ast.Name) for n in names):
                source.refuse(node, "expected names to assign to")
            if isinstance(target, ast.Tuple) and not (
                isinstance(node.value, ast.Tuple) and len(node.value.elts) == len(names)
            ):
                source.refuse(node, "expected as many values as names")
            if isinstance(target, ast.Tuple) != isinstance(targets[0], ast.Tuple):
                source.refuse(node, "expected numbers, got a tuple")
        if isinstance(node, ast.AnnAssign):
            if node.value is None:
                source.refuse(node, "expected a value")
            _check(source, node.value, loop)
            return
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
        children = node.value.elts  # type: ignore[attr-defined]
    for child in children:
        if not hasattr(child, "lineno"):  # an operator
            ast.copy_location(child, node)
            child.lineno = node.lineno  # type: ignore[attr-defined]
        _check(source, child, loop)


def _said(node: ast.AST) -> str:
    return next((words for kind, words in _WORDS.items() if isinstance(node, kind)), type(node).__name__)


def _returns(body: list[ast.stmt]) -> bool:
    """Whether every way through these statements ends in a return."""
    last = body[-1] if body else None
    return (
        any(
            isinstance(s, ast.Return) or (isinstance(s, ast.If) and _returns(s.body) and _returns(s.orelse))
            for s in body
        )
        and last is not None
    )
