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

from nbgrad.arrays import (
    as_array,
    as_float,
    as_floats,
    check_integer,
    contiguous,
    kept_shape,
    normalize_axes,
    normalize_axis,
    on_device,
    output,
    store,
)
from nbgrad.cpu import maxout as cpu_maxout
from nbgrad.cpu import rows as cpu_rows
from nbgrad.cpu.lanes import FEW
from nbgrad.kernels import device_labels, device_rows

__all__ = [
    "log_softmax", "log_softmax_backward", "logsumexp", "logsumexp_backward", "maxout", "maxout_backward",
    "softmax", "softmax_backward",
]  # fmt: skip


def split(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """(number of rows along ``axis``, their length, distance of their entries)"""
    inner = math.prod(shape[axis + 1 :])
    return math.prod(shape[:axis]) * inner, shape[axis], inner


def fresh_or(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """``out`` where a loop can write to it, else fresh memory."""
    if out is not None and out.flags.carray and out.dtype.isnative:
        return out
    return np.empty(shape, dtype)


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    return contiguous(array).reshape(-1)


def _together(array: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """Several axes as one, the last."""
    moved = np.moveaxis(array, axes, range(-len(axes), 0))
    shape = moved.shape[: array.ndim - len(axes)]
    return moved.reshape(*shape, math.prod(array.shape[a] for a in axes))


def _apart(array: NDArray[Any], shape: tuple[int, ...], axes: tuple[int, ...]) -> NDArray[Any]:
    """`_together` backwards: an array of this shape."""
    ends = [n for a, n in enumerate(shape) if a not in axes] + [shape[a] for a in axes]
    return contiguous(np.moveaxis(array.reshape(ends), range(-len(axes), 0), axes))


def _forward(name: str, x: Any, axis: Any, out: Any) -> Any:
    if on_device(x, out):
        return device_rows.forward(name, x, axis, out)
    x = as_float(x, "x")
    axes = normalize_axes(axis, x.ndim)
    if out is not None:
        output(out, x.shape, x.dtype)
    if len(axes) != 1:
        return store(_apart(_forward(name, _together(x, axes), -1, None), x.shape, axes), out)
    n, length, inner = split(x.shape, axes[0])
    loop, flat = cpu_rows.forward(name, length > FEW), _flat(x)
    y = fresh_or(out, x.shape, x.dtype)
    if not loop(x.size, flat, n, length, inner, y.reshape(-1)):
        y = np.empty(x.shape, x.dtype)
        loop(x.size, flat, n, length, inner, y.reshape(-1))
    return store(y, out)


def _backward(name: str, grad_output: Any, y: Any, axis: Any, out: Any) -> Any:
    if on_device(grad_output, y, out):
        return device_rows.backward(name, grad_output, y, axis, out)
    (grad_output, y), dtype = as_floats({"grad_output": grad_output, "y": y})
    axes = normalize_axes(axis, y.ndim)
    if grad_output.shape != y.shape:
        try:
            grad_output = np.broadcast_to(grad_output, y.shape)
        except ValueError:
            raise ValueError(f"grad_output: expected y's shape {y.shape}, got {grad_output.shape}") from None
    if out is not None:
        output(out, y.shape, dtype)
    if len(axes) != 1:
        g_rows, y_rows = _together(grad_output, axes), _together(y, axes)
        return store(_apart(_backward(name, g_rows, y_rows, -1, None), y.shape, axes), out)
    n, length, inner = split(y.shape, axes[0])
    loop, flat = cpu_rows.backward(name, length > FEW), (_flat(grad_output), _flat(y))
    grad_x = fresh_or(out, y.shape, dtype)
    if not loop(y.size, *flat, n, length, inner, grad_x.reshape(-1)):
        grad_x = np.empty(y.shape, dtype)
        loop(y.size, *flat, n, length, inner, grad_x.reshape(-1))
    return store(grad_x, out)


def softmax(x: Any, *, axis: Any = -1, out: Any = None) -> Any:
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


def softmax_backward(grad_output: Any, y: Any, *, axis: Any = -1, out: Any = None) -> Any:
    """yⱼ(gⱼ − Σₖ gₖyₖ), from the *output* y = softmax(x), which keeps all digits here.

    >>> import numpy as np
    >>> softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array([ 0.25, -0.25])
    """
    return _backward("softmax", grad_output, y, axis, out)


def log_softmax(x: Any, *, axis: Any = -1, out: Any = None) -> Any:
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


def log_softmax_backward(grad_output: Any, y: Any, *, axis: Any = -1, out: Any = None) -> Any:
    """gⱼ − e^yⱼ Σₖ gₖ, from the *output* y = log_softmax(x).

    >>> import numpy as np
    >>> log_softmax_backward(np.array([1.0, 0.0]), np.log(np.array([0.5, 0.5])))
    array([ 0.5, -0.5])
    """
    return _backward("log_softmax", grad_output, y, axis, out)


def logsumexp(x: Any, *, axis: Any = -1, keepdims: bool = False, out: Any = None) -> Any:
    """ln Σⱼ e^xⱼ along ``axis``, which disappears from the shape, or with ``keepdims`` has length 1.

    Derivative: softmax(x). −inf for an empty row or one of −inf only; +inf if there is one; nan if there is one.

    Source: as `log_softmax`.

    >>> import numpy as np
    >>> logsumexp(np.array([1000.0, 1000.0]))
    np.float64(1000.6931471805599)
    >>> logsumexp(np.zeros((2, 2)), axis=None, keepdims=True)  # ln 4
    array([[1.38629436]])
    """
    if on_device(x, out):
        return device_rows.logsumexp(x, axis, keepdims, out)
    x = as_float(x, "x")
    axes = normalize_axes(axis, x.ndim)
    shape = kept_shape(x.shape, axes, keepdims)
    if out is not None:
        output(out, shape, x.dtype)
    if len(axes) == 1:
        n, length, inner = split(x.shape, axes[0])
        flat = _flat(x)
    else:
        flat = _flat(_together(x, axes))
        n, length, inner = math.prod(shape), math.prod(x.shape[a] for a in axes), 1
    loop = cpu_rows.logsumexp(length > FEW)
    y = fresh_or(out, shape, x.dtype)
    if not loop(x.size, flat, n, length, inner, y.reshape(-1)):
        y = np.empty(shape, x.dtype)
        loop(x.size, flat, n, length, inner, y.reshape(-1))
    return store(y, out)


def logsumexp_backward(
    grad_output: Any, x: Any, *, axis: Any = -1, keepdims: bool = False, out: Any = None
) -> Any:
    """grad_output · softmax(x), from the *input* x; grad_output has the shape of `logsumexp`'s result.

    Where the maximum is +inf the entries that are have equal shares: [0, 1] for [0, inf] (PyTorch: nan).

    >>> import numpy as np
    >>> logsumexp_backward(2.0, np.array([0.0, 0.0]))
    array([1., 1.])
    """
    if on_device(grad_output, x, out):
        return device_rows.logsumexp_backward(grad_output, x, axis, keepdims, out)
    (grad_output, x), dtype = as_floats({"grad_output": grad_output, "x": x})
    axes = normalize_axes(axis, x.ndim)
    shape = kept_shape(x.shape, axes, keepdims)
    try:
        grad_output = np.broadcast_to(grad_output, shape).reshape(kept_shape(x.shape, axes, True))
    except ValueError:
        raise ValueError(f"grad_output: expected shape {shape}, got {grad_output.shape}") from None
    if out is not None:
        output(out, x.shape, dtype)
    with np.errstate(all="ignore"):  # the compiled kernels do not warn either
        y = np.asarray(_forward("logsumexp_slopes", x, axis, None))
        return store(np.multiply(y, grad_output, out=y), out)


def _pieces(num_pieces: Any) -> int:
    num_pieces = check_integer(num_pieces, "num_pieces")
    if num_pieces < 1:
        raise ValueError(f"num_pieces: expected at least 1, got {num_pieces}")
    return num_pieces


def maxout(
    x: Any, num_pieces: int, *, axis: int = -1, out: Any = None, index_out: Any = None
) -> tuple[Any, Any]:
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
    if on_device(x, out, index_out):
        return device_labels.maxout(x, num_pieces, axis, out, index_out)
    x = as_float(x, "x")
    axis = normalize_axis(axis, x.ndim)
    if x.shape[axis] % num_pieces:
        raise ValueError(
            f"num_pieces: expected a divisor of the axis' length {x.shape[axis]}, got {num_pieces}"
        )
    shape = x.shape[:axis] + (x.shape[axis] // num_pieces,) + x.shape[axis + 1 :]
    index_type = np.dtype(np.intp)
    if out is not None:
        output(out, shape, x.dtype)
    if index_out is not None:
        output(index_out, shape, index_type, "index_out")
        if out is not None and np.may_share_memory(out, index_out):
            raise ValueError("index_out: expected memory of its own, got an array that overlaps out")
    inner = max(1, math.prod(shape[axis + 1 :]))
    loop, flat = cpu_maxout.maxout(num_pieces), _flat(x)
    y, index = fresh_or(out, shape, x.dtype), fresh_or(index_out, shape, index_type)
    if not loop(x.size, flat, num_pieces, inner, y.reshape(-1), index.reshape(-1)):
        y, index = np.empty(shape, x.dtype), np.empty(shape, index_type)
        loop(x.size, flat, num_pieces, inner, y.reshape(-1), index.reshape(-1))
    return store(y, out), store(index, index_out)


def maxout_backward(grad_output: Any, index: Any, num_pieces: int, *, axis: int = -1, out: Any = None) -> Any:
    """The gradient of the input: grad_output at the entries that won, 0 elsewhere. ``index`` as `maxout`
    returned it.

    >>> import numpy as np
    >>> maxout_backward(np.array([5.0, 7.0]), np.array([1, 0]), 2)
    array([0., 5., 7., 0.])
    """
    num_pieces = _pieces(num_pieces)
    if on_device(grad_output, index, out):
        return device_labels.maxout_backward(grad_output, index, num_pieces, axis, out)
    grad_output = as_float(grad_output, "grad_output")
    index = as_array(index, "index")
    if index.dtype.kind not in "iu":
        raise TypeError(f"index: expected integers, got {index.dtype}")
    if index.shape != grad_output.shape:
        raise ValueError(f"index: expected grad_output's shape {grad_output.shape}, got {index.shape}")
    axis = normalize_axis(axis, grad_output.ndim)
    shape = grad_output.shape[:axis] + (grad_output.shape[axis] * num_pieces,) + grad_output.shape[axis + 1 :]
    if out is not None:
        output(out, shape, grad_output.dtype)
    inner = max(1, math.prod(shape[axis + 1 :]))
    loop = cpu_maxout.maxout_backward(num_pieces)
    arguments = (_flat(grad_output), _flat(index.astype(np.int64, copy=False)), num_pieces, inner)
    grad_x = fresh_or(out, shape, grad_output.dtype)
    bad = loop(grad_x.size, *arguments, grad_x.reshape(-1))
    if bad >= 0:
        raise ValueError(f"index: expected 0..{num_pieces - 1}, got {arguments[1][bad]}")
    if bad != -1:
        grad_x = np.empty(shape, grad_output.dtype)
        loop(grad_x.size, *arguments, grad_x.reshape(-1))
    return store(grad_x, out)
