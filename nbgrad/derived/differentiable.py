"""`differentiable`: a formula of numbers, its derivatives derived from its source, on numbers, arrays and Tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.derive import reverse, write
from nbgrad.derived.arguments import outputs, shape_of
from nbgrad.derived.compiled import Method, make_callable
from nbgrad.derived.direct import EXAMPLES, Direct, direct, grad_form, row
from nbgrad.derived.formula import Formula
from nbgrad.derived.sums import Sum

__all__ = ["Differentiable", "differentiable"]

_ndarray = np.ndarray


class Differentiable(Formula):
    """What `differentiable` makes of a formula: call it; its derivatives are its methods.

    Arguments are numbers and arrays that broadcast; float32 where all arrays are, else float64, and numbers adapt.
    ``value_and_grad``, ``grad_hess``, ``sum`` and ``mean`` (and their ``value_and_grad``) work inside ``@njit``, too,
    there by all real arguments (without ``wrt``, ``weight`` and ``out``), integers among them.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._direct = Direct(self._directly)
        self._of_floats: Callable[..., Any] | None = None
        self.value_and_grad = Method(self, "value_and_grad", self._value_and_grad, self._direct, ("grad", None))
        self.grad_hess = Method(self, "grad_hess", self._grad_hess, self._direct, ("grad_hess", 0))
        self.sum, self.mean = Sum(self, mean=False), Sum(self, mean=True)
        make_callable(self)

    def _directly(self, kind: str, wrt: Any, *types: type) -> Callable[..., Any]:
        """The direct function of a call; of "jvp" ``wrt`` says which tangents there are."""
        names = self.chosen(wrt, [EXAMPLES[t] for t in types[: self._count]])
        derived = self.derived(kind, names)
        targets = [*names] if kind == "backward" else [None] * len(derived.results)
        return direct(derived, types, targets, _FORMS[kind](len(names)))

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """The formula's value: a number, an array of the arguments' joint shape (``out`` if given), or, where an
        argument is a Tensor, a Tensor in the graph, whose backward is the fused one.
        """
        if not kwargs and out is None and len(args) == self._count:
            for value in args:  # what is called most: 0.6 µs
                if type(value) is not float:
                    break
            else:
                if self._of_floats is None:
                    self._of_floats = self.derived("value", ()).of_floats()
                return self._of_floats(*args)
        values = self.bound(args, kwargs)
        if out is None:
            found = self._direct["value", (), *map(type, values)](*values)
            if found is not None:
                return found
            if all(map(_is_number, values)):
                return self.derived("value", ()).numbers(*values)
        if any(map(_is_tensor, values)):
            from nbgrad.derived.tensors import value

            return value(self, values)
        return self.derived("value", ())(values, (None,), None if out is None else [out])[0]

    def _results(
        self, kind: str, wrt: Any, values: tuple[Any, ...], out: Any, targets: Callable[..., Any] | None = None
    ) -> tuple[Any, ...]:
        """What a kind of derivative is, by all of its program's arguments, on whatever way; ``targets``: the results'
        shapes, of the names that are differentiated by.
        """
        names = self.chosen(wrt, values[: self._count])
        derived = self.derived(kind, names)
        outs = outputs(out, len(derived.results), kind == "grad")
        if outs is None and all(map(_is_number, values)):
            results = derived.numbers(*values)
            return results if len(derived.results) > 1 else (results,)
        return tuple(derived(values, targets(names) if targets else (None,) * len(derived.results), outs))

    def _value_and_grad(
        self, *args: Any, wrt: Any = None, out: Any = None, **kwargs: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        """(value, partial derivatives), element by element.

        ``wrt``: names or numbers of the arguments to differentiate by; by default those that are floats in this call.
        ``out``: arrays for the results, in their form; None for one: new memory.
        """
        values = self.bound(args, kwargs)
        names = None if wrt is None else self.chosen(wrt, values[: self._count])
        found = None if out is not None else self._direct["grad", names, *map(type, values)](*values)
        if found is not None:
            return found  # type: ignore[no-any-return]
        value, *grads = self._results("grad", wrt, values, out)
        return value, tuple(grads)

    def backward(
        self, grad_output: Any, *args: Any, wrt: Any = None, out: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """The gradients of Σ grad_output · value, of the arguments' shapes; ``out``: arrays (or None) for them."""
        values = (*self.bound(args, kwargs), grad_output)
        names = None if wrt is None else self.chosen(wrt, values[: self._count])
        found = None if out is not None else self._direct["backward", names, *map(type, values)](*values)
        if found is not None:
            return found  # type: ignore[no-any-return]
        if not self.chosen(wrt, values[:-1]):
            return ()
        index = self._arguments.index
        return self._results(
            "backward", wrt, values, out, lambda names: tuple(shape_of(values[index(n)]) for n in names)
        )

    def jvp(self, args: Any, tangents: Any, *, out: Any = None) -> tuple[Any, Any]:
        """(value, what it changes by when the arguments change by these tangents); a tangent of None is 0. ``out``:
        arrays (or None) for both.
        """
        values = self.bound(tuple(args), {})
        changes = tuple(tangents)
        if len(changes) != len(values):
            raise TypeError(f"tangents: expected {len(values)}, one for each argument, got {len(changes)}")
        names = tuple(n for n, t in zip(self._arguments, changes, strict=True) if t is not None)
        for n in names:
            if self.kinds[n] != "real":
                raise ValueError(f"tangents: expected None for {n}, an integer")
        values += tuple(t for t in changes if t is not None)
        found = None if out is not None else self._direct["jvp", names, *map(type, values)](*values)
        return found or self._results("jvp", names, values, out)  # type: ignore[return-value]

    def _grad_hess(self, *args: Any, wrt: Any = 0, out: Any = None, **kwargs: Any) -> tuple[Any, Any]:
        """(first, second) derivative in one argument (the first by default), element by element: what gradient
        boosting asks of an objective. ``out``: arrays (or None) for both.
        """
        values = self.bound(args, kwargs)
        names = self.chosen(wrt, values)
        if len(names) != 1:
            raise ValueError(f"wrt: expected one argument, got {len(names)}")
        found = None if out is not None else self._direct["grad_hess", names, *map(type, values)](*values)
        return found or self._results("grad_hess", names, values, out)  # type: ignore[return-value]

    @property
    def source(self) -> str:
        """The derived code as Python: the formula, and value and gradient."""
        program = self.program()
        names = tuple(n for n, node in program.arguments.items() if node.kind == "real")
        both = write.text(program, self.__name__), write.text(reverse.gradients(program, names), "value_and_grad")
        return "\n\n".join(both)

    def cfunc(self, signature: Any) -> Any:
        """The formula compiled for C callers: ``formula.cfunc("float64(float64)").ctypes`` is what
        `scipy.LowLevelCallable` takes, ``.address`` what other libraries do.
        """
        from nbgrad.jit.c_function import c_function

        if isinstance(signature, str) and signature.count("(") == 1:
            given = [a for a in signature.partition("(")[2].rstrip(") ").split(",") if a.strip()]
            if len(given) != self._count:
                listed = ", ".join(self._arguments)
                raise TypeError(f"signature: expected {self._count} arguments ({listed}), got {signature!r}")
        function = write.function(self.program(), self.__name__, list(self._arguments))
        return c_function(function, signature)


#: What a call returns, of its results, by the number of arguments that it differentiates by.
_FORMS: dict[str, Callable[[int], str]] = {
    "value": lambda n: "{0}", "grad": grad_form, "backward": row,
    "jvp": lambda n: "({0}, {1})", "grad_hess": lambda n: "({0}, {1})",
}  # fmt: skip


def _is_number(value: Any) -> bool:
    kind = type(value)
    return kind is float or kind is int or kind is bool or isinstance(value, np.generic)


def _is_tensor(value: Any) -> bool:
    return type(value) is not _ndarray and type(value) is not float and hasattr(value, "requires_grad")


def differentiable(function: Callable[..., Any]) -> Differentiable:
    """Derive the derivatives of a formula, compile them, and apply them to arrays.

    The body is a function of numbers: arithmetic, comparisons, ``if``, conditional expressions, assignments, ``for i in
    range(n)`` (n a constant, a local integer, or an argument, which then is an integer), calls of ``math``, of NumPy's
    functions of numbers, of `nbgrad.elementary`, of `nbgrad.kernels`' elementwise functions and losses, of other
    differentiable functions; constants, globals and closures that are numbers (their values at the first call).
    Derivatives are those of nbgrad's table: σ' has its digits in the tails. At a kink the branch that is taken decides:
    ``max(a, b)`` is ``b if b > a else a``.

    Parameters
    ----------
    function : function
        Written with ``def``, its source readable; at least one argument, defaults are numbers.

    Returns
    -------
    Differentiable
        Call it with numbers and arrays that broadcast, as one calls the function.

    Raises
    ------
    TypeError
        For what a formula cannot be made of, naming file, line and construct: the language at once, names at the first
        call.

    Notes
    -----
    Straight code and branches are differentiated in reverse order (Griewank & Walther, Evaluating Derivatives, 2008,
    chapter 3), loops by tangents carried along.

    Examples
    --------
    >>> import numpy as np
    >>> from nbgrad import differentiable, kernels
    >>> @differentiable
    ... def nll(w, b, x, y):
    ...     z = w * x + b
    ...     return kernels.softplus(z) - y * z
    >>> nll.value_and_grad(1.0, 2.0, 0.5, 1.0, wrt=("w", "b"))
    (0.07888973429254964, (-0.03792909001062178, -0.07585818002124356))
    >>> x, y = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.0, 1.0])
    >>> value, (d_w, d_b) = nll.mean.value_and_grad(1.0, 2.0, x, y, wrt=("w", "b"))
    >>> print(round(float(d_b), 4))
    0.2124
    """
    return Differentiable(function)
