"""The options of compilation, and the decorators that give them. Outside of this room none is handed to Numba for the
CPU.

Scalar functions (`scalar`, `outlined`, `reassociating`, `overload_scalar`) are plain Python functions of numbers or
rows. They stay plain functions; compiled code (nbgrad's loops and a user's ``@njit`` functions alike) may call them.
Their options are fixed here, whatever the caller's are: Numba would hand a caller's ``fastmath`` down to them
otherwise, and ``reassoc`` makes exp wrong by 20 % (it cancels the rounding trick).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba.extending import overload, register_jitable

from nbgrad.jit.parts import PART

# Private to Numba, see `_compile_once`.
try:
    from numba.core.compiler import Flags
    from numba.core.typing.templates import builtin_registry
except ImportError:
    Flags = builtin_registry = None

__all__ = ["REDUCTION", "SCALAR", "array_overload", "outlined", "overload_scalar", "reassociating", "scalar"]

# Division by zero gives inf or nan: Python's ZeroDivisionError would be a branch that keeps a loop from being
# vectorised. No fastmath flag: where a product and a sum are to be fused the formulas say `fma`, so that a
# value does not depend on its place in the array ("contract" leaves that choice to LLVM, which may choose
# otherwise in a loop's remainder). No wrapper for C callers, which Numba compiles unasked: 15 % of the time.
SCALAR: dict[str, Any] = {"error_model": "numpy", "fastmath": False, "no_cfunc_wrapper": True}
# LLVM must not weigh the cost of inlining a scalar function: a call left in a loop keeps it from being
# vectorised. Left to itself it called tanh in float64 and ln(1 + e^-|x|), 7 and 17 times slower.
_INLINE: dict[str, Any] = {**SCALAR, **PART, "forceinline": True}
# Sums may be reordered, which is what lets them be vectorised; nan and inf keep their meaning.
REDUCTION: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz"},
    "no_cfunc_wrapper": True,
}

F = TypeVar("F", bound=Callable[..., Any])


def scalar(function: F) -> F:
    """Make a plain function callable from compiled code; the function itself is returned unchanged."""
    register_jitable(**_INLINE)(function)
    _compile_once(function)
    return function


def outlined(function: F) -> F:
    """`scalar` for functions with loops of their own, which are called, not inlined: LLVM would optimise them anew in
    each caller and in the caller's caller.
    """
    register_jitable(**SCALAR, **PART)(function)
    _compile_once(function)
    return function


def reassociating(function: F) -> F:
    """`scalar` for functions of a whole row, whose sums may be reordered."""
    register_jitable(**REDUCTION)(function)
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

    Numba compiles an overload anew for each caller's flags, also where it has options of its own (numba#9462). A
    version that keeps its implementations otherwise goes on doing so: the same results, in more time.
    """
    templates = getattr(builtin_registry, "functions", None)
    template: Any = templates[-1] if templates else None
    if getattr(template, "key", None) is function and getattr(template, "_impl_cache", None) == {}:
        template._impl_cache = _Implementations()


def array_overload(function: Callable[..., Any]) -> Callable[[F], F]:
    """`numba.extending.overload` for a public function of arrays: what runs when a user's ``@njit`` function
    calls it.
    """
    return overload(function, jit_options=SCALAR, strict=False, prefer_literal=True)
