"""What a user's formula is before anybody calls it: its source, its program, its arguments by name, its derivatives."""

from __future__ import annotations

import builtins
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.derive import syntax, tangents
from nbgrad.derive.expressions import Callee
from nbgrad.derive.parse import counts, parse
from nbgrad.derive.program import Program
from nbgrad.derived.evaluate import Derived
from nbgrad.derived.kinds import KINDS

__all__ = ["Formula"]


class Formula:
    """A function of numbers whose source is read; names get their values at the first call."""

    __name__: str
    __wrapped__: Any

    def __init__(self, function: Callable[..., Any]) -> None:
        self._source = syntax.read(function)
        functools.update_wrapper(self, function)  # type: ignore[arg-type]
        self._arguments = self._source.arguments
        self._lock = threading.RLock()
        self._derived: dict[Any, Derived] = {}
        self._program: Program | None = None
        self._count = len(self._arguments)
        self.kinds = dict.fromkeys(self._arguments, "real") | dict.fromkeys(counts(self._source.tree), "integer")

    def __repr__(self) -> str:
        return f"<differentiable {self.__name__}({', '.join(self._arguments)})>"

    def program(self) -> Program:
        """The formula as `nbgrad.derive` understands it; names get their values now, at the first call."""
        if self._program is None:
            with self._lock:
                if self._program is None:
                    if _reading.get(self):
                        raise TypeError(f"{self.__name__}: a formula cannot call itself")
                    _reading[self] = True
                    try:
                        self._program = parse(self._source, self._lookup, _callee)
                    finally:
                        del _reading[self]
        return self._program

    def _lookup(self, name: str) -> Any:
        function: Any = self.__wrapped__
        code = function.__code__
        if name in code.co_freevars:
            try:
                return function.__closure__[code.co_freevars.index(name)].cell_contents
            except ValueError:
                raise NameError(name) from None
        if name in function.__globals__:
            return function.__globals__[name]
        if hasattr(builtins, name):
            return getattr(builtins, name)
        raise NameError(name)

    def derived(self, kind: str, wrt: tuple[str, ...]) -> Derived:
        """One of the formula's derivatives, compiled as calls come."""
        found = self._derived.get((kind, wrt))
        if found is None:
            with self._lock:
                found = self._derived.get((kind, wrt))
                if found is None:
                    found = self._derived[kind, wrt] = Derived(KINDS[kind](self.program(), wrt))
        return found

    def chosen(self, wrt: Any, values: Any) -> tuple[str, ...]:
        """The names of the arguments to differentiate by."""
        if wrt is None:
            pairs = zip(self._arguments, values, strict=True)
            return tuple([name for name, v in pairs if self.kinds[name] == "real" and _is_float(v)])
        names = []
        for one in wrt if isinstance(wrt, tuple | list) else [wrt]:
            if isinstance(one, str) and one in self._arguments:
                names.append(one)
            elif isinstance(one, int) and not isinstance(one, bool) and 0 <= one < len(self._arguments):
                names.append(self._arguments[one])
            else:
                listed = ", ".join(self._arguments)
                raise ValueError(f"wrt: expected names or numbers of arguments ({listed}), got {one!r}")
            if self.kinds[names[-1]] != "real":
                raise ValueError(f"wrt: expected real arguments, got {names[-1]}, an integer")
        return tuple(names)

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments in order."""
        names = self._arguments
        if not kwargs and len(args) == len(names):
            return args
        if len(args) > len(names):
            raise TypeError(f"{self.__name__}: expected {len(names)} arguments ({', '.join(names)}), got {len(args)}")
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names:
                raise TypeError(f"{self.__name__}: expected arguments {', '.join(names)}, got {name}")
            if name in given:
                raise TypeError(f"{self.__name__}: got {name} twice")
            given[name] = value
        values = []
        for name in names:
            if name not in given and name not in self._source.defaults:
                raise TypeError(f"{self.__name__}: the argument {name} is missing")
            values.append(given[name] if name in given else self._source.defaults[name])
        return tuple(values)


_reading: dict[Any, bool] = {}


def _callee(called: Any) -> Callee | None:
    if not isinstance(called, Formula):
        return None
    return Callee(
        called._arguments, called._source.defaults, lambda b, values: tangents.inline(b, called.program(), values)
    )


def _is_float(value: Any) -> bool:
    if type(value) is np.ndarray:
        return value.dtype.kind == "f"  # type: ignore[no-any-return]
    if type(value) is float:
        return True
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return isinstance(value, float | list | tuple) and np.asarray(value).dtype.kind == "f"
    return getattr(dtype, "kind", "f") == "f"
