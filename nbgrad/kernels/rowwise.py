"""softmax, log_softmax, logsumexp and maxout on arrays, along any axis. Formulas: `nbgrad.rows`.

``x``: float32 or float64 of any layout (integers and bools are computed in float64); ``axis`` counts from the
back when negative. ``out``: array of the result's shape and dtype, any layout; it may be an input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad import rows
from nbgrad.arrays import as_array, as_float, as_floats, contiguous, normalize_axis, output, store
from nbgrad.backends import cpu_rows

__all__ = [
    "log_softmax", "log_softmax_backward", "logsumexp", "logsumexp_backward", "maxout", "maxout_backward",
    "softmax", "softmax_backward",
]  # fmt: skip


def _as_rows(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """The array as contiguous rows along ``axis``, shape (rows, length)."""
    length = array.shape[axis]
    moved = contiguous(np.moveaxis(array, axis, -1))
    return moved.reshape(moved.size // length if length else 0, length)


def _from_rows(result: NDArray[Any], shape: tuple[int, ...], axis: int, out: Any) -> Any:
    """Back from rows to ``shape``, in ``out`` or in fresh memory in C order."""
    moved = result.reshape(shape[:axis] + shape[axis + 1 :] + (shape[axis],))
    array = np.moveaxis(moved, -1, axis)
    return store(array if out is not None else np.ascontiguousarray(array), out)


def _result_rows(like: NDArray[Any], out: Any, axis: int, *inputs: NDArray[Any]) -> NDArray[Any]:
    """Rows to write the result to: ``out`` itself where its memory can be used, else fresh memory."""
    last = out is not None and axis == out.ndim - 1 and out.flags.carray and out.dtype.isnative and out.size
    if last and not any(np.may_share_memory(out, a) and a.ctypes.data != out.ctypes.data for a in inputs):
        return out.reshape(like.shape)
    return np.empty_like(like)


def _forward(f: Any, x: Any, axis: int, out: Any) -> Any:
    x = as_float(x, "x")
    axis = normalize_axis(axis, x.ndim)
    if out is not None:
        output(out, x.shape, x.dtype)
    x_rows = _as_rows(x, axis)
    y_rows = _result_rows(x_rows, out, axis, x_rows)
    cpu_rows.forward(f)(x.size, x_rows, y_rows)
    return (
        out
        if out is not None and np.may_share_memory(y_rows, out)
        else _from_rows(y_rows, x.shape, axis, out)
    )


def _backward(df: Any, grad_output: Any, y: Any, axis: int, out: Any, name: str = "y") -> Any:
    (grad_output, y), dtype = as_floats({"grad_output": grad_output, name: y})
    axis = normalize_axis(axis, y.ndim)
    if grad_output.shape != y.shape:
        try:
            grad_output = np.broadcast_to(grad_output, y.shape)
        except ValueError:
            raise ValueError(
                f"grad_output: expected {name}'s shape {y.shape}, got {grad_output.shape}"
            ) from None
    if out is not None:
        output(out, y.shape, dtype)
    g_rows, y_rows = _as_rows(grad_output, axis), _as_rows(y, axis)
    result = _result_rows(y_rows, out, axis, g_rows, y_rows)
    cpu_rows.backward(df)(y.size, g_rows, y_rows, result)
    return (
        out
        if out is not None and np.may_share_memory(result, out)
        else _from_rows(result, y.shape, axis, out)
    )


def softmax(x: Any, *, axis: int = -1, out: Any = None) -> Any:
    """softmax(x)ᵢ = e^xᵢ / Σⱼ e^xⱼ along ``axis``.

    Jacobian: ∂yᵢ/∂xⱼ = yᵢ(δᵢⱼ − yⱼ). Computed from x − max, so nothing overflows, the rounding error of that
    subtraction put back. −inf entries (masks) give exactly 0; a row of −inf only, or with +inf or nan, gives
    nan (as PyTorch).

    Source: J. S. Bridle, Probabilistic interpretation of feedforward classification network outputs,
    Neurocomputing (1990) 227.

    >>> import numpy as np
    >>> softmax(np.array([1000.0, 1000.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    return _forward(rows.softmax, x, axis, out)


def softmax_backward(grad_output: Any, y: Any, *, axis: int = -1, out: Any = None) -> Any:
    """yⱼ(gⱼ − Σₖ gₖyₖ), from the *output* y = softmax(x), which keeps all digits here.

    >>> import numpy as np
    >>> softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array([ 0.25, -0.25])
    """
    return _backward(rows.softmax_backward, grad_output, y, axis, out)


def log_softmax(x: Any, *, axis: int = -1, out: Any = None) -> Any:
    """ln softmax(x)ᵢ = xᵢ − ln Σⱼ e^xⱼ along ``axis``.

    Jacobian: δᵢⱼ − softmax(x)ⱼ. Computed as (x − max) − log1p(Σ over the others): exact to the last digits
    when one entry dominates.

    Source: as `softmax`; P. Blanchard, D. Higham, N. Higham, Accurately computing the log-sum-exp and softmax
    functions, IMA J. Numer. Anal. 41 (2021) 2311.

    >>> import numpy as np
    >>> log_softmax(np.array([0.0, -50.0]))
    array([-1.92874985e-22, -5.00000000e+01])
    """
    return _forward(rows.log_softmax, x, axis, out)


def log_softmax_backward(grad_output: Any, y: Any, *, axis: int = -1, out: Any = None) -> Any:
    """gⱼ − e^yⱼ Σₖ gₖ, from the *output* y = log_softmax(x).

    >>> import numpy as np
    >>> log_softmax_backward(np.array([1.0, 0.0]), np.log(np.array([0.5, 0.5])))
    array([ 0.5, -0.5])
    """
    return _backward(rows.log_softmax_backward, grad_output, y, axis, out)


def logsumexp(x: Any, *, axis: int = -1, out: Any = None) -> Any:
    """ln Σⱼ e^xⱼ along ``axis``, which disappears from the shape.

    Derivative: softmax(x). −inf for an empty row or one of −inf only; +inf if there is one.

    Source: as `log_softmax`.

    >>> import numpy as np
    >>> logsumexp(np.array([1000.0, 1000.0]))
    np.float64(1000.6931471805599)
    """
    x = as_float(x, "x")
    axis = normalize_axis(axis, x.ndim)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    if out is not None:
        output(out, shape, x.dtype)
    x_rows = contiguous(np.moveaxis(x, axis, -1)).reshape(int(np.prod(shape)), x.shape[axis])
    result = np.empty(len(x_rows), x.dtype)
    cpu_rows.reduce(rows.logsumexp)(x.size, x_rows, result)
    return store(result.reshape(shape), out)


def logsumexp_backward(grad_output: Any, x: Any, *, axis: int = -1, out: Any = None) -> Any:
    """grad_output · softmax(x), from the *input* x; grad_output has the shape of `logsumexp`'s result.

    >>> import numpy as np
    >>> logsumexp_backward(2.0, np.array([0.0, 0.0]))
    array([1., 1.])
    """
    (grad_output, x), dtype = as_floats({"grad_output": grad_output, "x": x})
    axis = normalize_axis(axis, x.ndim)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    try:
        grad_output = np.expand_dims(np.broadcast_to(grad_output, shape), axis)
    except ValueError:
        raise ValueError(f"grad_output: expected shape {shape}, got {grad_output.shape}") from None
    if out is not None:
        output(out, x.shape, dtype)
    with np.errstate(all="ignore"):  # the compiled kernels do not warn either
        return store(softmax(x, axis=axis) * grad_output, out)


def _pieces(num_pieces: Any) -> int:
    if isinstance(num_pieces, (bool, np.bool_)) or not isinstance(num_pieces, (int, np.integer)):
        raise TypeError(f"num_pieces: expected an integer, got {type(num_pieces).__name__}")
    if num_pieces < 1:
        raise ValueError(f"num_pieces: expected at least 1, got {num_pieces}")
    return int(num_pieces)


def maxout(x: Any, num_pieces: int, *, axis: int = -1, out: Any = None) -> tuple[Any, Any]:
    """(y, index): the largest of each ``num_pieces`` contiguous entries along ``axis``, and which of them it
    was.

    ``y`` has 1/num_pieces of the entries along ``axis``; ``index`` (intp, same shape) counts within the
    group, 0..num_pieces − 1; ties go to the first; nan wins (as PyTorch's max). Derivative: 1 for the entry
    that won, 0 for the others. ValueError if the length is no multiple.

    Source: I. Goodfellow et al., Maxout networks, ICML 2013.

    >>> import numpy as np
    >>> y, index = maxout(np.array([1.0, 3.0, 2.0, 2.0]), 2)
    >>> y, index
    (array([3., 2.]), array([1, 0]))
    """
    x = as_float(x, "x")
    num_pieces = _pieces(num_pieces)
    axis = normalize_axis(axis, x.ndim)
    if x.shape[axis] % num_pieces:
        raise ValueError(
            f"num_pieces: expected a divisor of the axis' length {x.shape[axis]}, got {num_pieces}"
        )
    shape = x.shape[:axis] + (x.shape[axis] // num_pieces,) + x.shape[axis + 1 :]
    if out is not None:
        output(out, shape, x.dtype)
    groups = contiguous(np.moveaxis(x, axis, -1)).reshape(-1, num_pieces)
    y, index = np.empty(len(groups), x.dtype), np.empty(len(groups), np.intp)
    cpu_rows.maxout()(x.size, groups, y, index)
    length = shape[axis]
    y_rows, index_rows = (a.reshape(a.size // length if length else 0, length) for a in (y, index))
    return _from_rows(y_rows, shape, axis, out), _from_rows(index_rows, shape, axis, None)


def maxout_backward(grad_output: Any, index: Any, num_pieces: int, *, axis: int = -1, out: Any = None) -> Any:
    """The gradient of the input: grad_output at the entries that won, 0 elsewhere. ``index`` as `maxout`
    returned it.

    >>> import numpy as np
    >>> maxout_backward(np.array([5.0, 7.0]), np.array([1, 0]), 2)
    array([0., 5., 7., 0.])
    """
    grad_output = as_float(grad_output, "grad_output")
    num_pieces = _pieces(num_pieces)
    index = as_array(index, "index")
    if index.dtype.kind not in "iu":
        raise TypeError(f"index: expected integers, got {index.dtype}")
    if index.shape != grad_output.shape:
        raise ValueError(f"index: expected grad_output's shape {grad_output.shape}, got {index.shape}")
    axis = normalize_axis(axis, grad_output.ndim)
    flat = contiguous(np.moveaxis(index, axis, -1).astype(np.int64, copy=False)).reshape(-1)
    bad = cpu_rows.first_bad_label().serial(flat, num_pieces, 0)
    if bad >= 0:
        raise ValueError(f"index: expected 0..{num_pieces - 1}, got {flat[bad]}")
    shape = grad_output.shape[:axis] + (grad_output.shape[axis] * num_pieces,) + grad_output.shape[axis + 1 :]
    if out is not None:
        output(out, shape, grad_output.dtype)
    result = np.empty((flat.size, num_pieces), grad_output.dtype)
    cpu_rows.maxout_backward()(
        result.size, contiguous(np.moveaxis(grad_output, axis, -1)).reshape(-1), flat, result
    )
    length = shape[axis]
    return _from_rows(result.reshape(result.size // length if length else 0, length), shape, axis, out)
