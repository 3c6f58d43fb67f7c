"""`check_objective` and `check_hessp`: functions in the form that scipy.optimize takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.testing.gradient import Case, functions
from nbgrad.testing.report import Call, GradientReport

__all__ = ["check_hessp", "check_objective", "hessp_case", "objective_case"]


def check_objective(
    f: Callable[..., Any],
    x: Any,
    *,
    args: Any = (),
    jac: Any = True,
    kinks: Any = (),
    rtol: float | None = None,
    rng: Any = None,
    reference: Callable[..., Any] | None = None,
    strict: bool = False,
) -> GradientReport:
    """The gradient of a function for ``scipy.optimize.minimize(f, x, args, jac=jac)``: ``f(x, *args)`` returns (value,
    gradient), or, where ``jac`` is a function, the value alone, and ``jac(x, *args)`` the gradient.

    ``x``: an array of floats, or what NumPy makes one of (integers become float64, as in SciPy). ``reference``: the
    value alone, of mpmath's numbers. The rest: `check_gradient`. The numbers in an error are the function's own.

    Returns
    -------
    GradientReport

    Examples
    --------
    >>> check_objective(lambda x: ((x**2).sum(), 2 * x), np.array([1.0, -2.0]))
    GradientReport: 2 elements, 2 confirmed, 0 at kinks, 0 undecided; worst ... ulps; differences in ...
    >>> from scipy.optimize import rosen, rosen_der
    >>> check_objective(rosen, [1.5, -1.0, 2.0], jac=rosen_der).confirmed
    3
    """
    options = {"kinks": kinks, "rtol": rtol, "rng": rng, "reference": reference, "strict": strict}
    return objective_case(f, x, args=args, jac=jac, **options).check()


def objective_case(f: Callable[..., Any], x: Any, *, args: Any = (), jac: Any = True, **options: Any) -> Case:
    """What `check_objective` checks."""
    functions(f=f)
    if not callable(jac) and jac is not True:
        raise TypeError(f"jac: expected True (f returns value and gradient) or a function, got {jac!r}")
    more = args if isinstance(args, tuple) else (args,)

    def value(x: Any) -> Any:
        found = f(x, *more)
        if jac is True:
            if not isinstance(found, tuple | list) or len(found) != 2:
                raise TypeError(f"f: expected it to return (value, gradient), got {type(found).__name__}")
            found = found[0]
        result = np.asarray(found)
        if result.size != 1:
            raise ValueError(f"f: expected one number as value, got an array of shape {result.shape}")
        return result.reshape(())

    def gradient(grad_output: Any, x: Any) -> Any:
        found = np.asarray(f(x, *more)[1] if jac is True else jac(x, *more))
        return found * found.dtype.type(grad_output)

    keywords = {} if jac is True else {"jac": jac}
    names = ("f", "gradient" if jac is True else "jac")
    call = Call("check_objective", {"f": f}, [], {**keywords, "args": more}, ("grad_output", "wrt"), names=names)
    return Case(value, gradient, [_parameters(x)], call, {"grad_output": 1.0, **options})


def check_hessp(
    gradient: Callable[..., Any],
    hessp: Callable[..., Any],
    x: Any,
    *,
    args: Any = (),
    v: Any = None,
    kinks: Any = (),
    rtol: float | None = None,
    rng: Any = None,
    reference: Callable[..., Any] | None = None,
    strict: bool = False,
) -> GradientReport:
    """The Hessian-vector product ``hessp(x, v, *args)``, as scipy.optimize takes it, against differences of
    ``gradient(x, *args)`` (an array, or (value, gradient)). A Hessian is symmetric: what `check_gradient` expects of a
    backward function, Σ_o v_o ∂gradient_o/∂x, is the product. ``v``: by default drawn from ``rng``. ``reference``: the
    gradient for mpmath's numbers. The rest: `check_gradient`.

    Returns
    -------
    GradientReport

    Examples
    --------
    >>> check_hessp(lambda x: 2 * x, lambda x, v: 2 * v, np.array([1.0, -2.0]))
    GradientReport: 2 elements, 2 confirmed, 0 at kinks, 0 undecided; worst ... ulps; differences in ...
    """
    options = {"kinks": kinks, "rtol": rtol, "rng": rng, "reference": reference, "strict": strict}
    return hessp_case(gradient, hessp, x, args=args, v=v, **options).check()


def hessp_case(
    gradient: Callable[..., Any], hessp: Callable[..., Any], x: Any, *, args: Any = (), v: Any = None, **options: Any
) -> Case:
    """What `check_hessp` checks."""
    given = functions(gradient=gradient, hessp=hessp)
    more = args if isinstance(args, tuple) else (args,)

    def slope(x: Any) -> Any:
        found = gradient(x, *more)
        return np.asarray(found[1] if isinstance(found, tuple) else found)

    def product(grad_output: Any, x: Any) -> Any:
        return hessp(x, grad_output, *more)

    call = Call("check_hessp", given, [], {"args": more}, ("wrt",), names=("gradient", "hessp"), grad_output="v")
    return Case(slope, product, [_parameters(x)], call, {"grad_output": v, **options})


def _parameters(x: Any) -> Any:
    array = np.asarray(x)
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise TypeError(f"x: expected an array of floats, got {array.dtype}")
    return array
