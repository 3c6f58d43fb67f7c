"""softmax, log_softmax, logsumexp and maxout on arrays, along any axis. Formulas: `nbgrad.formulas.rows`.

``x``: float32 or float64 of any layout (integers and bools are computed in float64); ``axis`` counts from the
back when negative. Of softmax and its kin it may also be a tuple of axes, which are gone along together, or None: all
of them. ``out``: array of the result's shape and dtype, any layout; it may be an input.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arguments import check_integer, kept_shape, normalize_axes, normalize_axis
from nbgrad.place import place_of
from nbgrad.typing import Axis, F, Floats, Labels, Out

__all__ = [
    "log_softmax", "log_softmax_backward", "logsumexp", "logsumexp_backward", "maxout", "maxout_backward",
    "softmax", "softmax_backward",
]  # fmt: skip


def _forward(name: str, x: Any, axis: Any, out: Any) -> Any:
    with place_of(x=x, out=out) as place:
        x = place.as_float(x, "x")
        axes = normalize_axes(axis, x.ndim)
        out = place.out(out, x.shape, x.dtype)
        return place.result(place.rows(name, x, axes, out), out)


def _backward(name: str, grad_output: Any, y: Any, axis: Any, out: Any) -> Any:
    with place_of(grad_output=grad_output, y=y, out=out) as place:
        (grad_output, y), dtype = place.as_floats({"grad_output": grad_output, "y": y})
        axes = normalize_axes(axis, y.ndim)
        if grad_output.shape != y.shape:
            try:
                grad_output = place.xp.broadcast_to(grad_output, y.shape)
            except ValueError:
                raise ValueError(f"grad_output: expected y's shape {y.shape}, got {grad_output.shape}") from None
        out = place.out(out, y.shape, dtype)
        return place.result(place.rows_backward(name, grad_output, y, axes, out), out)


def softmax(x: Floats[F], *, axis: Axis = -1, out: Out[F] = None) -> NDArray[F]:
    """softmax(x)ᵢ = e^xᵢ / Σⱼ e^xⱼ along ``axis``.

    Jacobian: ∂yᵢ/∂xⱼ = yᵢ(δᵢⱼ − yⱼ). Computed from x − max, so nothing overflows; the relative error is a few
    ulp and half an ulp of x − max. −inf entries (masks) give exactly 0; a row of −inf only, or with +inf or
    nan, gives nan (as PyTorch).

    Source: J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs,
    Neurocomputing (1990) 227.

    >>> import numpy as np
    >>> softmax(np.array([1000.0, 1000.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    return _forward("softmax", x, axis, out)


def softmax_backward(grad_output: Floats[F], y: Floats[F], *, axis: Axis = -1, out: Out[F] = None) -> NDArray[F]:
    """yⱼ(gⱼ − Σₖ gₖyₖ), from the *output* y = softmax(x), which keeps all digits here.

    >>> import numpy as np
    >>> softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array([ 0.25, -0.25])
    """
    return _backward("softmax", grad_output, y, axis, out)


def log_softmax(x: Floats[F], *, axis: Axis = -1, out: Out[F] = None) -> NDArray[F]:
    """ln softmax(x)ᵢ = xᵢ − ln Σⱼ e^xⱼ along ``axis``.

    Jacobian: δᵢⱼ − softmax(x)ⱼ. Computed as (x − max) − log1p(Σ over the others): exact to the last digits
    when one entry dominates.

    Source: as `softmax`; P. Blanchard, D. Higham, N. Higham, Accurately computing the log-sum-exp and softmax
    functions, IMA J. Numer. Anal. 41 (2021) 2311.

    >>> import numpy as np
    >>> log_softmax(np.array([0.0, -50.0]))
    array([-1.92874985e-22, -5.00000000e+01])
    """
    return _forward("log_softmax", x, axis, out)


def log_softmax_backward(grad_output: Floats[F], y: Floats[F], *, axis: Axis = -1, out: Out[F] = None) -> NDArray[F]:
    """gⱼ − e^yⱼ Σₖ gₖ, from the *output* y = log_softmax(x).

    >>> import numpy as np
    >>> log_softmax_backward(np.array([1.0, 0.0]), np.log(np.array([0.5, 0.5])))
    array([ 0.5, -0.5])
    """
    return _backward("log_softmax", grad_output, y, axis, out)


def logsumexp(x: Floats[F], *, axis: Axis = -1, keepdims: bool = False, out: Out[F] = None) -> NDArray[F]:
    """ln Σⱼ e^xⱼ along ``axis``, which disappears from the shape, or with ``keepdims`` has length 1.

    Derivative: softmax(x). −inf for an empty row or one of −inf only; +inf if there is one; nan if there is one.

    Source: as `log_softmax`.

    >>> import numpy as np
    >>> logsumexp(np.array([1000.0, 1000.0]))
    np.float64(1000.6931471805599)
    >>> logsumexp(np.zeros((2, 2)), axis=None, keepdims=True)  # ln 4
    array([[1.38629436]])
    """
    with place_of(x=x, out=out) as place:
        data = place.as_float(x, "x")
        axes = normalize_axes(axis, data.ndim)
        shape = kept_shape(data.shape, axes, keepdims)
        out = place.out(out, shape, data.dtype)
        return place.result(place.logsumexp(data, axes, shape, out), out)


def logsumexp_backward(
    grad_output: Floats[F],
    x: Floats[F],
    *,
    axis: Axis = -1,
    keepdims: bool = False,
    out: Out[F] = None,
) -> NDArray[F]:
    """grad_output · softmax(x), from the *input* x; grad_output has the shape of `logsumexp`'s result.

    Where the maximum is +inf the entries that are have equal shares: [0, 1] for [0, inf] (PyTorch: nan).

    >>> import numpy as np
    >>> logsumexp_backward(2.0, np.array([0.0, 0.0]))
    array([1., 1.])
    """
    with place_of(grad_output=grad_output, x=x, out=out) as place:
        (grads, data), dtype = place.as_floats({"grad_output": grad_output, "x": x})
        axes = normalize_axes(axis, data.ndim)
        shape = kept_shape(data.shape, axes, keepdims)
        if grads.shape != shape:
            try:
                grads = place.xp.broadcast_to(grads, shape)
            except ValueError:
                raise ValueError(f"grad_output: expected shape {shape}, got {grads.shape}") from None
        out = place.out(out, data.shape, dtype)
        return place.result(place.logsumexp_backward(grads, data, axes, out), out)


def _pieces(num_pieces: Any) -> int:
    num_pieces = check_integer(num_pieces, "num_pieces")
    if num_pieces < 1:
        raise ValueError(f"num_pieces: expected at least 1, got {num_pieces}")
    return num_pieces


def maxout(
    x: Floats[F], num_pieces: int, *, axis: int = -1, out: Out[F] = None, index_out: NDArray[np.intp] | None = None
) -> tuple[NDArray[F], NDArray[np.intp]]:
    """(y, index): the largest of each ``num_pieces`` contiguous entries along ``axis``, and which of them it
    was.

    ``y`` has 1/num_pieces of the entries along ``axis``; ``index`` (intp, same shape) counts within the
    group, 0..num_pieces − 1; ties go to the first; nan wins (as PyTorch's max). ``out`` takes y,
    ``index_out`` the index. Derivative: 1 for the entry that won, 0 for the others. ValueError if the length
    is no multiple.

    Source: I. Goodfellow et al., Maxout networks, ICML 2013.

    >>> import numpy as np
    >>> y, index = maxout(np.array([1.0, 3.0, 2.0, 2.0]), 2)
    >>> y, index
    (array([3., 2.]), array([1, 0]))
    """
    num_pieces = _pieces(num_pieces)
    with place_of(x=x, out=out, index_out=index_out) as place:
        data = place.as_float(x, "x")
        axis = normalize_axis(axis, data.ndim)
        if data.shape[axis] % num_pieces:
            raise ValueError(f"num_pieces: expected a divisor of the axis' length {data.shape[axis]}, got {num_pieces}")
        shape = data.shape[:axis] + (data.shape[axis] // num_pieces,) + data.shape[axis + 1 :]
        out = place.out(out, shape, data.dtype)
        index_out = place.out(index_out, shape, np.dtype(np.intp), "index_out")
        if out is not None and index_out is not None and place.overlap(out, index_out):
            raise ValueError("index_out: expected memory of its own, got an array that overlaps out")
        inner = max(1, math.prod(shape[axis + 1 :]))
        y, index = place.maxout(data, num_pieces, inner, shape, out, index_out)
        return place.result(y, out), place.result(index, index_out, "index_out")


def maxout_backward(
    grad_output: Floats[F], index: Labels, num_pieces: int, *, axis: int = -1, out: Out[F] = None
) -> NDArray[F]:
    """The gradient of the input: grad_output at the entries that won, 0 elsewhere. ``index`` as `maxout`
    returned it.

    >>> import numpy as np
    >>> maxout_backward(np.array([5.0, 7.0]), np.array([1, 0]), 2)
    array([0., 5., 7., 0.])
    """
    num_pieces = _pieces(num_pieces)
    with place_of(grad_output=grad_output, index=index, out=out) as place:
        grads, which = place.as_float(grad_output, "grad_output"), place.as_array(index, "index")
        if which.dtype.kind not in "iu":
            raise TypeError(f"index: expected integers, got {which.dtype}")
        if which.shape != grads.shape:
            raise ValueError(f"index: expected grad_output's shape {grads.shape}, got {which.shape}")
        axis = normalize_axis(axis, grads.ndim)
        before, length, after = grads.shape[:axis], grads.shape[axis], grads.shape[axis + 1 :]
        shape = (*before, length * num_pieces, *after)
        out = place.out(out, shape, grads.dtype)
        inner = max(1, math.prod(after))
        return place.result(place.maxout_backward(grads, which, num_pieces, inner, shape, out), out)
