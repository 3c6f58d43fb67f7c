"""Loops: functions of arrays, compiled at their first call, serial and parallel, and kept in the disk cache
(`nbgrad.jit.cache`).

Nothing here happens at import: no compilation, no choice of a threading layer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
import numpy

from nbgrad.jit import cache
from nbgrad.jit.arithmetic import arithmetic
from nbgrad.jit.c_function import prebound
from nbgrad.jit.locks import compiler_lock, lazy
from nbgrad.jit.modes import mode
from nbgrad.jit.options import REDUCTION, SCALAR
from nbgrad.jit.parts import WHOLE
from nbgrad.jit.sources import source_hash
from nbgrad.jit.start import start

__all__ = ["Loop"]

_ARRAY = numpy.empty(0)


def _compile(function: Callable[..., Any], name: str, options: dict[str, Any]) -> Any:
    if numba.config.DISABLE_JIT:
        raise RuntimeError(
            "NUMBA_DISABLE_JIT: expected to be unset or 0, got 1: nbgrad's kernels are machine code and do not run as "
            "Python. Unset it and start Python anew. (nbgrad.formulas and nbgrad.elementary run as Python, on numbers.)"
        )
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
        start()
        numba.typeof(_ARRAY)
        try:
            compiled = numba.njit(cache=True, nogil=True, **options, **WHOLE)(function)
        except RuntimeError:  # no folder for the cache can be written: compile for this process alone
            return numba.njit(nogil=True, **options, **WHOLE)(function)
        cache.attach(compiled)
        return compiled


class _Entries(dict[Any, Callable[..., Any]]):
    """A compiled function for ``arrays`` 1-D arrays of one dtype and a tuple of ``numbers`` floats, by the dtype: past
    Numba's dispatcher, which takes 0.1 µs to ask for the types.
    """

    def __init__(self, compiled: Callable[[], Any], arrays: int, numbers: int) -> None:
        self.compiled, self.arrays, self.numbers = compiled, arrays, numbers

    def __missing__(self, dtype: Any) -> Callable[..., Any]:
        compiled = self.compiled()
        entry, _ = prebound(compiled, [*[numpy.empty(0, dtype)] * self.arrays, *[0.0] * self.numbers])
        return self.setdefault(dtype, (lambda *args: compiled(*args[:-1], *args[-1])) if entry is compiled else entry)


def _alone() -> Any:
    """Whether a loop that would be parallel must be serial.

    One parallel loop of ours at a time: the workqueue layer aborts the process when two threads meet in it. A second
    caller does not wait, it runs serially (but where two asked at the same moment). And a thread that flushes subnormal
    numbers computes alone: others would not, and half of an array would be flushed.
    """
    return _serial_only or mode.serial or _parallel.locked() or arithmetic()


class Loop:
    """A function of arrays, written once with `numba.prange`, compiled serial and parallel, each at its first
    use.

    ``reduction=True`` lets sums be reordered. `serial` and `parallel` are the compiled functions; calling the
    object runs the one or the other: parallel where ``work`` (elements touched) exceeds ``threshold``. ``typed``: of
    how many 1-D arrays of one dtype, and then of how many numbers, `of_dtype` is.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str = "",
        reduction: bool = False,
        threshold: int = 32_768,
        typed: tuple[int, int] = (0, 0),
    ) -> None:
        self.function = function
        self.name = name or function.__name__
        self.options = REDUCTION if reduction else SCALAR
        self.threshold = threshold
        self.serial_of = _Entries(lambda: self.serial, *typed)
        self.parallel_of = _Entries(lambda: self.parallel, *typed)

    def of_dtype(self, dtype: Any, work: int, *args: Any) -> Any:
        """The same for ``typed`` arguments, which are not checked: arrays of ``dtype``, a tuple of numbers."""
        if work <= self.threshold or _alone():
            return self.serial_of[dtype](*args)
        with _parallel: return self.parallel_of[dtype](*args)  # noqa: E701  # fmt: skip

    def __call__(self, work: int, *args: Any) -> Any:
        if work <= self.threshold or _alone():
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
