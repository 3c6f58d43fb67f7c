"""All Numba policy of nbgrad: compile options, threads. No other file hands an option to Numba. (The disk cache:
`nbgrad.jit.cache`.)

Two kinds of compiled functions:

* **scalar** functions (`scalar`, `overload_scalar`): plain Python functions of numbers. They stay plain
  functions; compiled code (nbgrad's loops and a user's ``@njit`` functions alike) may call them. Their
  options are fixed here, whatever the caller's are:
  Numba would hand a caller's ``fastmath`` down to them otherwise, and ``reassoc`` makes exp wrong by 20 % (it
  cancels the rounding trick).
* **loops** (`Loop`): functions of arrays, compiled at their first call, serial and parallel, and kept in the
  disk cache.

Nothing here happens at import: no compilation, no choice of a threading layer. (The sources are hashed, in a
millisecond.)
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import numba
import numpy
from numba.core.compiler import Flags
from numba.core.typing.templates import builtin_registry
from numba.extending import overload, register_jitable

from nbgrad.jit import cache
from nbgrad.jit.arithmetic import arithmetic
from nbgrad.jit.locks import compiler_lock, lazy

__all__ = [
    "Loop", "array_overload", "is_serial", "overload_scalar", "part", "row", "scalar", "serial_loops", "source_hash",
]  # fmt: skip

# Division by zero gives inf or nan: Python's ZeroDivisionError would be a branch that keeps a loop from being
# vectorised. No fastmath flag: where a product and a sum are to be fused the formulas say `fma`, so that a
# value does not depend on its place in the array ("contract" leaves that choice to LLVM, which may choose
# otherwise in a loop's remainder). No wrapper for C callers, which Numba compiles unasked: 15 % of the time.
_SCALAR: dict[str, Any] = {"error_model": "numpy", "fastmath": False, "no_cfunc_wrapper": True}
# LLVM must not weigh the cost of inlining a scalar function: a call left in a loop keeps it from being
# vectorised. Left to itself it called tanh in float64 and ln(1 + e^-|x|), 7 and 17 times slower.
_INLINE: dict[str, Any] = {**_SCALAR, "forceinline": True}
# Sums may be reordered, which is what lets them be vectorised; nan and inf keep their meaning.
_REDUCTION: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz"},
    "no_cfunc_wrapper": True,
}

#: The files and folders whose code ends up in cached machine code: an edit in one of them makes every cached
#: loop a new one.
COMPILED_SOURCES = ("jit", "elementary", "formulas", "cpu", "cuda")

F = TypeVar("F", bound=Callable[..., Any])


def scalar(function: F) -> F:
    """Make a plain function callable from compiled code; the function itself is returned unchanged."""
    register_jitable(**_INLINE)(function)
    _compile_once(function)
    return function


def part(function: F) -> F:
    """`scalar` for functions with loops of their own, which are called, not inlined: LLVM would optimise them anew in
    each caller and in the caller's caller.
    """
    register_jitable(**_SCALAR)(function)
    _compile_once(function)
    return function


def row(function: F) -> F:
    """`scalar` for functions of a whole row, whose sums may be reordered."""
    register_jitable(**_REDUCTION)(function)
    _compile_once(function)
    return function


def overload_scalar(function: Callable[..., Any]) -> Callable[[F], F]:
    """`numba.extending.overload` with the options of scalar functions (the implementation depends on the
    types).
    """

    def register(implementation: F) -> F:
        overload(function, jit_options=_INLINE, strict=False)(implementation)
        _compile_once(function)
        return implementation

    return register


class _Implementations(dict[Any, Any]):
    """Numba's table of an overload's compiled implementations, which it asks by the argument types and by the
    caller's flags. Our functions bring their own flags: the caller's are left out.
    """

    @staticmethod
    def _short(key: Any) -> Any:
        return key[:-1] if isinstance(key, tuple) and key and isinstance(key[-1], Flags) else key

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self._short(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(self._short(key), value)


def _compile_once(function: Callable[..., Any]) -> None:
    """Compile the overload just registered for ``function`` once for each argument types, not once more for
    each kind of caller: a parallel loop is two, its body and Numba's frame around it.
    """
    template = builtin_registry.functions[-1]
    if getattr(template, "key", None) is function and getattr(template, "_impl_cache", None) == {}:
        template._impl_cache = _Implementations()


def array_overload(function: Callable[..., Any]) -> Callable[[F], F]:
    """`numba.extending.overload` for a public function of arrays: what runs when a user's ``@njit`` function
    calls it.
    """
    return overload(function, jit_options=_SCALAR, strict=False, prefer_literal=True)


@functools.cache
def source_hash() -> str:
    """A hash of every source file that is compiled into machine code.

    It becomes a part of each loop's name in the disk cache. Numba itself looks only at the file that defines
    the loop: after an edit of a formula in another file it would run the old machine code.
    """
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for entry in COMPILED_SOURCES:
        path = root / entry
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            if file.exists():
                digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


_ARRAY = numpy.empty(0)


def _compile(function: Callable[..., Any], name: str, options: dict[str, Any]) -> Any:
    # Numba names the cache files after the function: a new source hash means new files, a stale one is never
    # read. A copy, because another thread may be naming and compiling the same function the other way
    # (serial, parallel).
    function = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    function.__qualname__ = f"{name}-{source_hash()}"
    # Under the lock, for the sake of forks (`nbgrad.jit.locks`): what Numba makes and imports when it is first used. It
    # asks for an array's type outside of its lock, and that imports a module.
    with compiler_lock:
        numba.typeof(_ARRAY)
        try:
            compiled = numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # no folder for the cache can be written: compile for this process alone
            return numba.njit(nogil=True, **options)(function)
        cache.attach(compiled)
        return compiled


class Loop:
    """A function of arrays, written once with `numba.prange`, compiled serial and parallel, each at its first
    use.

    ``reduction=True`` lets sums be reordered. `serial` and `parallel` are the compiled functions; calling the
    object runs the one or the other: parallel where ``work`` (elements touched) exceeds ``threshold``.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str = "",
        reduction: bool = False,
        threshold: int = 32_768,
    ) -> None:
        self.function = function
        self.name = name or function.__name__
        self.options = _REDUCTION if reduction else _SCALAR
        self.threshold = threshold

    def __call__(self, work: int, *args: Any) -> Any:
        if work <= self.threshold:
            return self.serial(*args)
        # One parallel loop of ours at a time: the workqueue layer aborts the process when two threads meet in
        # it. A second caller does not wait, it runs serially (but where two asked at the same moment). And a thread
        # that flushes subnormal numbers computes alone: others would not, and half of an array would be flushed.
        if _serial_only or _mode.serial or _parallel.locked() or arithmetic():
            return self.serial(*args)
        # `with`, because Python lets no signal in between taking a lock and guarding it then: after `if acquire():` it
        # does, and kernels would be serial for ever after Ctrl-C. On one line, so that a debugger does not, either.
        with _parallel: return self.parallel(*args)  # noqa: E701  # fmt: skip

    @lazy
    def serial(self) -> Any:
        return _compile(self.function, self.name, self.options)

    @lazy
    def parallel(self) -> Any:
        return _compile(self.function, self.name + "_parallel", {**self.options, "parallel": True})


class _Mode(threading.local):
    serial = 0  # the number of `serial_loops` within which the thread is


class serial_loops(contextlib.ContextDecorator):  # noqa: N801 (used as a function)
    """Within it the loops that this thread calls run serially.

    For code that alternates small loops with BLAS products. The idle threads of NumPy's OpenBLAS go on
    spinning for tens of milliseconds, and a parallel loop that waits for a core meanwhile takes milliseconds
    instead of microseconds: an epoch of the 784-256-256-10 network on MNIST on 2 cores took 14 s with
    parallel loops, 1.1 s with serial ones.
    """

    def __enter__(self) -> None:
        _mode.serial += 1

    def __exit__(self, *exc: object) -> None:
        _mode.serial -= 1


def is_serial() -> bool:
    """Whether this thread is within `serial_loops`."""
    return _mode.serial > 0


_mode = _Mode()
_parallel = threading.Lock()
_serial_only = False


def _after_fork() -> None:
    """In a forked child: GNU OpenMP kills a child that launches a parallel loop after its parent did; stay
    serial there.
    """
    global _parallel, _serial_only
    _parallel = threading.Lock()
    try:
        _serial_only = numba.threading_layer() == "omp"
    except ValueError:  # the parent never launched a parallel loop
        _serial_only = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

source_hash()  # now, not at the first compilation: a file may be edited while the process runs the old code
