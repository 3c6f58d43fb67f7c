"""`check_objective` and `check_hessp`: functions in the form that scipy.optimize takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.testing.check import check
from nbgrad.testing.report import Call, GradientReport

__all__ = ["check_hessp", "check_objective"]


def _parameters(x: Any) -> Any:
    array = np.asarray(x)
    if array.dtype.kind != "f":
        raise TypeError(f"x: expected an array of floats, got {array.dtype}")
    return array


def check_objective(
    f: Callable[..., Any],
    x: Any,
    *,
    kinks: Any = (),
    rtol: float | None = None,
    rng: Any = None,
    reference: Callable[..., Any] | None = None,
    strict: bool = False,
) -> GradientReport:
    """The gradient of ``f(x) -> (value, gradient)``, as for ``scipy.optimize.minimize(f, x, jac=True)``; other
    arguments are bound with `functools.partial`. ``reference``: the value alone, for mpmath's numbers. The rest:
    `check_gradient`.

    >>> check_objective(lambda x: ((x**2).sum(), 2 * x), np.array([1.0, -2.0]))
    GradientReport: 2 elements, 2 confirmed, 0 at kinks, 0 undecided; worst ... ulps; differences in ...
    """
    if not callable(f):
        raise TypeError(f"f: expected a function, got {type(f).__name__}")
    x = _parameters(x)

    def value(x: Any) -> Any:
        found = f(x)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise TypeError(f"f: expected it to return (value, gradient), got {type(found).__name__}")
        result = np.asarray(found[0])
        if result.size != 1:
            raise ValueError(f"f: expected one number as value, got an array of shape {result.shape}")
        return result.reshape(())

    def gradient(grad_output: Any, x: Any) -> Any:
        found = np.asarray(f(x)[1])
        return found * found.dtype.type(grad_output)

    call = Call("check_objective", {"f": f}, [])
    return _of_numbers(value, gradient, x, call, kinks=kinks, rtol=rtol, rng=rng, reference=reference, strict=strict)


def check_hessp(
    gradient: Callable[..., Any],
    hessp: Callable[..., Any],
    x: Any,
    *,
    kinks: Any = (),
    rtol: float | None = None,
    rng: Any = None,
    reference: Callable[..., Any] | None = None,
    strict: bool = False,
) -> GradientReport:
    """The Hessian-vector product ``hessp(x, v)``, as scipy.optimize takes it, against differences of ``gradient(x)``
    (an array, or (value, gradient)). A Hessian is symmetric: what `check_gradient` expects of a backward function,
    Σ_o v_o ∂gradient_o/∂x, is the product. ``reference``: the gradient for mpmath's numbers. The rest:
    `check_gradient`.

    >>> check_hessp(lambda x: 2 * x, lambda x, v: 2 * v, np.array([1.0, -2.0]))
    GradientReport: 2 elements, 2 confirmed, 0 at kinks, 0 undecided; worst ... ulps; differences in ...
    """
    for name, function in (("gradient", gradient), ("hessp", hessp)):
        if not callable(function):
            raise TypeError(f"{name}: expected a function, got {type(function).__name__}")
    x = _parameters(x)

    def slope(x: Any) -> Any:
        found = gradient(x)
        return np.asarray(found[1] if isinstance(found, tuple) else found)

    def product(grad_output: Any, x: Any) -> Any:
        return hessp(x, grad_output)

    call = Call("check_hessp", {"gradient": gradient, "hessp": hessp}, [])
    return _of_numbers(slope, product, x, call, kinks=kinks, rtol=rtol, rng=rng, reference=reference, strict=strict)


def _of_numbers(forward: Any, backward: Any, x: Any, call: Call, **keywords: Any) -> GradientReport:
    """`check` with a reproducer that has no ``grad_output``, ``wrt``: the call knows none; the seed gives them."""
    call.hidden = ("grad_output", "wrt")
    return check(forward, backward, [x], call, **keywords)
