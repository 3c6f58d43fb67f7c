"""What finds a mutant of nbgrad's functions of rows: `mutant_checks`, for softmax, logsumexp, the cross-entropies and maxout."""

from __future__ import annotations

import functools
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf
from mutant_checks import F32, F64, Checks, refuse_wide

from nbgrad import kernels
from nbgrad.formulas import rows
from nbgrad.formulas import softmax as softmax_file
from nbgrad.formulas.table import ROW_FUNCTIONS
from nbgrad.testing import check_gradient

ROW_INPUTS = [
    [0.3], [0.5, -1.25, 2.0, 0.75], [22.18, 0.0], [0.0, 22.18, -3.0], [1.5, 1.5, -2.0], [40.0, 3.0, -50.0, 39.0], [-3.0, -2.0, -2.5, -7.0, -2.25],
    [1000.0, 999.0, -1000.0],
]  # fmt: skip
SPECIAL = [
    [np.inf, 0.0], [-np.inf, -np.inf], [-np.inf, 1.0], [np.nan, 1.0], [1.0, np.nan], [np.nan, 2.0, np.nan], [np.inf, np.inf], [np.inf, np.nan],
    [np.nan], [-np.inf], [np.inf], [-np.inf, 0.5, -np.inf, 0.5],
]  # fmt: skip


def _filled(function: Any, *arrays: Any) -> Any:
    refuse_wide(arrays[-1])
    out = np.empty_like(arrays[-1])
    function(*arrays, out)
    return out


def _weights(x: Any) -> list[tuple[Any]]:
    """Class probabilities for a row, a sure first class among them, and both from the end."""
    q = np.array([0.2, 0.7, 0.0, 0.1, 0.5], x.dtype)[: x.size]
    sure = np.eye(1, x.size, dtype=x.dtype)[0]
    return [(w,) for w in (q, q[::-1].copy(), sure, sure[::-1].copy())]


def _row_pairs(space: dict[str, Any]) -> dict[str, tuple[Any, Any, Any]]:
    """For each row function (forward, backward, further arguments of x)."""

    def softmax_of(x: Any) -> Any:
        return _filled(space["softmax"], x)

    def pull_softmax(g: Any, x: Any) -> Any:
        return _filled(space["softmax_backward"], g, softmax_of(x))

    def log_softmax_of(x: Any) -> Any:
        return _filled(space["log_softmax"], x)

    def pull_log_softmax(g: Any, x: Any) -> Any:
        return _filled(space["log_softmax_backward"], g, log_softmax_of(x))

    def pull_logsumexp(g: Any, x: Any) -> Any:
        gradient = g * _filled(space["logsumexp_slopes"], x)
        T, largest = x.dtype.type, space["maximum"](x)
        terms = space["logsumexp_slope_terms"](T, largest, space["other_sum"](x, largest))
        for v, expected in zip(x, gradient, strict=True):
            found = space["logsumexp_backward_entry"](space["shifted_exp"](v, largest)[0], *terms, T(g))
            assert found == expected or (found != found and expected != expected)
        return gradient

    def pull_cross_entropy(g: Any, x: Any, label: Any) -> Any:
        grad = np.empty_like(x)
        value = space["d_cross_entropy"](x, int(label), 1.0, grad)
        assert np.array_equal(value, space["cross_entropy"](x, int(label)), equal_nan=True)
        return g * grad, None

    def pull_soft(g: Any, x: Any, q: Any) -> Any:
        grad = np.empty_like(x)
        space["d_soft_cross_entropy"](x, q, x.dtype.type(1), grad)
        return g * grad, None

    def pull_maxout(g: Any, x: Any) -> Any:
        grad = np.zeros_like(x)
        grad[space["maxout"](x)[1]] = g
        return grad

    def whole(op: Any) -> tuple[Any, Any, Any]:
        """A row function of the table as it is."""
        forward = lambda x: _filled(space[op.name], x)  # noqa: E731
        return forward, lambda g, x: _filled(space[op.backward.__name__], g, forward(x)), lambda x: [()]

    return {name: whole(op) for name, op in ROW_FUNCTIONS.items()} | {
        "softmax": (softmax_of, pull_softmax, lambda x: [()]),
        "log_softmax": (log_softmax_of, pull_log_softmax, lambda x: [()]),
        "logsumexp": (lambda x: space["logsumexp"](x), pull_logsumexp, lambda x: [()]),
        "cross_entropy": (
            lambda x, label: space["cross_entropy"](x, int(label)), pull_cross_entropy, lambda x: [(np.array(j),) for j in range(x.size)],
        ),
        "soft_cross_entropy": (
            lambda x, q: space["soft_cross_entropy"](x, q), pull_soft, _weights,
        ),
        "maxout": (lambda x: space["maxout"](x)[0], pull_maxout, lambda x: [()]),
    }  # fmt: skip


def _definition(name: str, x: list[Any], *more: Any) -> list[Any]:
    """The textbook values, in mpmath's numbers."""
    largest = max(x)  # the others beside it, or a row of one number has 100 digits of rounding in place of 0
    e = [mpmath.exp(v - largest) for v in x]
    logs = [v - largest - mpmath.log(sum(e)) for v in x]
    return {
        "softmax": lambda: [v / sum(e) for v in e],
        "log_softmax": lambda: logs,
        "logsumexp": lambda: [largest + mpmath.log(sum(e))],
        "cross_entropy": lambda: [-logs[int(more[0])]],
        "soft_cross_entropy": lambda: [-sum(mpf(float(q)) * v for q, v in zip(more[0], logs, strict=True))],
        "maxout": lambda: [largest],
    }[name]()


def _terms(name: str, g: Any, x: Any, *more: Any) -> Any:
    """The sizes of the terms that a gradient is the sum of; 0 where nothing cancels, and the result's own size counts."""
    p = kernels.softmax(x)
    if name == "softmax":
        return p * (np.abs(g) + np.sum(np.abs(g) * p))
    if name == "log_softmax":
        return np.abs(g) + p * np.sum(np.abs(g))
    if name == "soft_cross_entropy":
        q = more[0]
        beside = np.where(np.arange(x.size) == np.argmax(x), np.sum(np.delete(q, np.argmax(x))), np.sum(q))
        return p * beside + q * np.where(np.arange(x.size) == np.argmax(x), np.sum(np.delete(p, np.argmax(x))), 1)
    return np.zeros(x.size)


WITHOUT_DEFINITION = ROW_FUNCTIONS.keys() - {"softmax", "log_softmax"}
_TRUTHS: dict[Any, Any] = {}


def _row_truth(name: str, x: Any, g: Any, *more: Any) -> tuple[list[Any], list[Any]]:
    """(values, the gradient of their sum weighted by g): by definition, and by differences of it."""
    key = name, x.dtype, x.tobytes(), *(np.asarray(a).tobytes() for a in more)
    if key not in _TRUTHS:
        exactly, h = [mpf(float(v)) for v in x], mpmath.ldexp(1, -133)

        def weighted(row: list[Any]) -> Any:
            return sum(mpf(float(w)) * v for w, v in zip(np.ravel(g), _definition(name, row, *more), strict=True))

        moved = [[[*exactly[:j], exactly[j] + s * h, *exactly[j + 1 :]] for s in (1, -1)] for j in range(x.size)]
        _TRUTHS[key] = _definition(name, exactly, *more), [(weighted(up) - weighted(down)) / (2 * h) for up, down in moved]
    return _TRUTHS[key]


def _as_before(name: str, forward: Any, backward: Any, x: Any) -> bool:
    """Values and gradients of the function as it stands, to a few ulp: of one whose definition stands nowhere else."""
    known, slope, _ = _row_pairs(ROW_FUNCTIONS[name].forward.__globals__)[name]
    g, eps = np.resize(np.array([1, -0.5, 0.75], x.dtype), x.shape), float(np.finfo(x.dtype).eps)
    return np.allclose(forward(x), known(x), 8 * eps, eps) and np.allclose(backward(g, x), slope(g, x), 8 * eps, eps)


def _by_definition(name: str, forward: Any, backward: Any, x: Any, *more: Any) -> bool:
    """Values and gradients, but for the rounding of x − max, to a few ulp of the result or of its terms."""
    value = np.asarray(forward(x, *more))
    g = np.resize(np.array([1, -0.5, 0.75], x.dtype), value.shape)
    got = backward(g, x, *more)
    got = got[0] if isinstance(got, tuple) else got
    eps, tiny = float(np.finfo(x.dtype).eps), float(np.finfo(x.dtype).tiny)
    with mpmath.workdps(150):
        values, slopes = _row_truth(name, x, g, *more)
        for v, true in zip(np.ravel(value), values, strict=True):
            if not abs(mpf(float(v)) - true) <= 6 * eps * max(1, 0.5 * float(np.abs(x).max())) * abs(true) + tiny:
                return False
        if name == "maxout" and np.sum(x == x.max()) > 1:  # a kink
            return True
        for v, true, terms in zip(got, slopes, _terms(name, g, x, *more), strict=True):
            if not abs(mpf(float(v)) - true) <= eps * (8 + 0.5 * float(np.abs(x).max())) * max(abs(true), terms) + tiny:
                return False
    return True


def _logsumexp_at_infinity(x: Any) -> tuple[Any, Any]:
    """(value, slopes) of a row with infinities or nan: entries that are +inf have equal shares; a row of −inf only has no slope."""
    if np.isnan(x).any() or x.max() == -np.inf:
        return (np.nan if np.isnan(x).any() else -np.inf), np.full_like(x, np.nan)
    shares = (x == np.inf) if x.max() == np.inf else np.exp(x - x.max())
    return x.max() + (0 if x.max() == np.inf else np.log(shares.sum())), shares / shares.sum()


def _find_row(name: str, space: dict[str, Any], touched: set[str]) -> str:
    forward, backward, more = _row_pairs(space)[name]
    for row in ROW_INPUTS:
        for dtype in (F32, F64):
            x = np.array(row, dtype)
            for arguments in more(x):
                check_gradient(
                    forward,
                    backward,
                    x,
                    *arguments,
                    wrt=0,
                    rtol=8 * float(np.finfo(dtype).eps),
                    strict=True,
                    terms=functools.partial(_terms, name) if name == "softmax" else None,
                )
    for row in ROW_INPUTS:
        for dtype in (F32, F64):
            x = np.array(row, dtype)
            if name in WITHOUT_DEFINITION:
                if not _as_before(name, forward, backward, x):
                    return "definition"
            elif not all(_by_definition(name, forward, backward, x, *arguments) for arguments in more(x)):
                return "definition"
    unchanged = _row_pairs({**vars(rows), **vars(softmax_file)})[name]
    for row in SPECIAL:
        x = np.array(row)
        for arguments in more(x):
            a = forward(x, *arguments)
            g = np.ones_like(a)
            c = backward(g, x, *arguments)
            if name == "logsumexp":
                b, d = _logsumexp_at_infinity(x)
            else:
                b, d = unchanged[0](x, *arguments), unchanged[1](g, x, *arguments)
            c, d = (v[0] if isinstance(v, tuple) else v for v in (c, d))
            if not (np.allclose(a, b, 1e-15, 0, equal_nan=True) and np.allclose(c, d, 1e-15, 0, equal_nan=True)):
                return "nan, inf, kinks"
    return ""


ROWS = [
    Checks(frozenset(names), functools.partial(_find_row, names[0]))
    for names in (
        *((op.name, op.backward.__name__) for op in ROW_FUNCTIONS.values()), ("logsumexp", "logsumexp_slopes", "logsumexp_backward_entry"),
        ("cross_entropy", "d_cross_entropy"), ("soft_cross_entropy", "d_soft_cross_entropy"), ("maxout",),
    )
]  # fmt: skip
# Infinite maxima, which are another file's affair in the functions made of it.
ROWS.append(Checks(frozenset({"shifted_exp"}), lambda space, touched: "" if space["shifted_exp"](F64(np.inf), F64(np.inf)) == (1, 1, 0) else "limits"))
