"""Formulas inside a user's ``@njit`` function: which objects stand for which functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbgrad.derive import write
from nbgrad.derive.unroll import has_loop, unrolled
from nbgrad.jit.attributes import with_attributes
from nbgrad.overloads.formula import Signature, register

__all__ = ["Method", "make_callable"]


class Method:
    """A method of a formula as an object of its own, which Numba can know: `functools.partial` with a name.
    ``direct``: with the arguments' types after ``key`` it has the shortest way of a call (`nbgrad.derived.direct`).
    """

    def __init__(self, owner: Any, name: str, call: Callable[..., Any], direct: Any, key: tuple[Any, ...]) -> None:
        self._direct, self._key = direct, key
        self.__name__, self.__qualname__, self.__doc__ = name, name, call.__doc__
        self.__module__ = owner.__module__
        self.__wrapped__ = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            found = self._direct[*self._key, *map(type, args)](*args)
            if found is not None:
                return found
        return self.__wrapped__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<method {self.__name__}>"


def make_callable(formula: Any) -> None:
    """Register a formula, its derivatives, sum and mean."""
    kinds = formula.kinds
    reals = tuple(n for n in formula._arguments if kinds[n] == "real")
    signature = Signature(
        formula.__name__, formula._arguments, formula._source.defaults, frozenset(formula._arguments) - set(reals)
    )

    def of(kind: str, wrt: tuple[str, ...]) -> tuple[Callable[..., Any], bool]:
        derived = formula.derived(kind, wrt)
        program = unrolled(derived.program)
        return write.function(program, f"{formula.__name__}_{kind}", derived.arguments), not has_loop(program)

    n = len(reals)
    register(formula, signature, lambda: of("value", ()), 1)
    register(formula.value_and_grad, signature, lambda: of("grad", reals), 1 + n, tupled=True)
    register(formula.grad_hess, signature, lambda: of("grad_hess", reals[:1]), 2)
    owners = [formula._arguments.index(name) for name in reals]
    for reduction in (formula.sum, formula.mean):
        mean = reduction.is_mean
        register(reduction, signature, lambda: of("value", ()), 1, total=lambda: [None], mean=mean)
        register(
            reduction.value_and_grad, signature, lambda: of("grad", reals), 1 + n, tupled=True,
            total=lambda: [None, *owners], mean=mean,
        )  # fmt: skip
        with_attributes(reduction, ("value_and_grad",))
    with_attributes(formula, ("value_and_grad", "grad_hess", "sum", "mean"))
