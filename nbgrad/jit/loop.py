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
from nbgrad.jit.locks import compiler_lock, lazy
from nbgrad.jit.modes import mode
from nbgrad.jit.options import REDUCTION, SCALAR
from nbgrad.jit.sources import source_hash

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
        self.options = REDUCTION if reduction else SCALAR
        self.threshold = threshold

    def __call__(self, work: int, *args: Any) -> Any:
        if work <= self.threshold:
            return self.serial(*args)
        # One parallel loop of ours at a time: the workqueue layer aborts the process when two threads meet in
        # it. A second caller does not wait, it runs serially (but where two asked at the same moment). And a thread
        # that flushes subnormal numbers computes alone: others would not, and half of an array would be flushed.
        if _serial_only or mode.serial or _parallel.locked() or arithmetic():
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
