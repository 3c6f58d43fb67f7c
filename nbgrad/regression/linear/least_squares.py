"""Linear least squares by QR, a block of rows at a time.

The triangle R of [1, X, y] (rows weighted by √weight) holds all that least squares needs. It is built from blocks of
rows, R ← qr([R; block]), so that X is read once and never copied as a whole: uint8, memory-mapped and CSR data of
any length need memory for one block and for R, 8·(n_features + 2)² bytes. Triangles put on top of each other have the
triangle of all their rows: data that lie elsewhere are factored there, and triangles travel (tall-skinny QR). The
column of ones stands first: the reflection that clears it centres the other columns, and R[1:, 1:] is the triangle of
the centred problem.

Normal equations would be half the work, and lose the digits of a squared condition: NIST's Wampler sets have
none left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT64, on_device
from nbgrad.cpu.add_up import add_up
from nbgrad.elementary.division import two_product, two_sum
from nbgrad.jit import Loop
from nbgrad.regression.blocks import Blocks

__all__ = ["least_squares"]

BLOCK_ROWS, BLOCK_WIDTHS = 4096, 4  # a block has at least 4 times as many rows as columns: R adds a quarter to its work
EPS = float(np.finfo(np.float64).eps)
ROUNDING = 16 * EPS  # singular values below that · (√n + n_features) are 0; numpy.linalg.lstsq: EPS·max(n, n_features)
REFINE = 1e-11  # a relative error that is worth a second pass over X


def least_squares(
    X: Any,
    y: NDArray[Any] | None = None,
    *,
    sample_weight: NDArray[Any] | None = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[NDArray[np.float64], float, int]:
    """(coef, intercept, rank) that minimize Σ weight·½(x·coef + intercept − y)² / Σ weight + ½·l2·‖coef‖².

    ``X``: an array or CSR; or `Blocks`, `DaskBlocks` or `Measured` (on a GPU), which hold targets and weights. Where
    that leaves a choice (rank below n_features), ``coef`` is the shortest of the solutions, as `numpy.linalg.lstsq` has
    it. The rank is that of the centred columns, each divided by the length that it had before, so that units of
    measurement do not count.

    Source: Å. Björck, Numerical methods for least squares problems (SIAM, 1996), sections 2.4, 2.7 and 6.2; of blocks:
    J. Demmel, L. Grigori, M. Hoemmen, J. Langou, Communication-optimal parallel and sequential QR and LU
    factorizations, SIAM J. Sci. Comput. 34 (2012) A206.

    >>> import numpy as np
    >>> coef, intercept, rank = least_squares(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0]))
    >>> print(coef.round(12), round(intercept, 12), rank)
    [2.] 1.0 1
    """
    blocks = X if y is None else Blocks([(X, y, sample_weight)])
    triangle, n, total = blocks.reduce("qr", _factor, _stack, (fit_intercept, x_scale))
    features = triangle.shape[1] - fit_intercept - 1
    first, means = (triangle[0, 0], triangle[0, 1:]) if fit_intercept else (1.0, np.zeros(features + 1))
    R, z = triangle[fit_intercept:, fit_intercept:-1], triangle[fit_intercept:, -1]
    # X's rounding is relative to the columns as they came, not to what centring left of them.
    scale = np.linalg.norm(triangle[:, fit_intercept:-1], axis=0)
    scale[scale == 0] = 1
    if l2:
        coef, rank, doubt = *_ridge(R, z, l2 * total), 0.0
    else:
        coef, rank, doubt = _shortest(R, z, scale, ROUNDING * (np.sqrt(n) + features))
    coef = np.append((means[-1] - means[:-1] @ coef) / first, coef) if fit_intercept else coef
    if doubt > REFINE:
        _refine(coef, triangle, blocks, fit_intercept, x_scale)
    return coef[fit_intercept:], float(coef[0]) if fit_intercept else 0.0, rank


def _factor(i: int, block: tuple[Any, Any, Any], argument: tuple[bool, float]) -> tuple[NDArray[Any], int, float]:
    """(the triangle of [1, X·x_scale, y], its number of rows, their Σ weight)"""
    (X, y, weight), (fit_intercept, x_scale) = block, argument
    xp = _library(X)
    triangle = xp.zeros((0, X.shape[1] + fit_intercept + 1), order="F")
    for rows, of_rows in _rows(X, y, weight, fit_intercept, x_scale, "F"):
        if of_rows is not None:
            rows *= np.sqrt(of_rows)[:, None]
        triangle = _triangle(xp.concatenate([triangle, rows]), xp)
    total = len(y) if weight is None else add_up(weight, dtype=FLOAT64) if xp is np else weight.sum(dtype=FLOAT64)
    return _host(triangle, xp), len(y), float(total)


def _library(X: Any) -> Any:
    """Whose functions take X: CuPy for an array on a GPU, else NumPy."""
    if isinstance(X, np.ndarray) or not on_device(X):
        return np
    from nbgrad.cuda.device import module

    return module()


def _host(array: Any, xp: Any) -> Any:
    return array if xp is np else xp.asnumpy(array)


def _rows(
    X: Any, y: NDArray[Any], weight: Any, fit_intercept: bool, x_scale: float, order: Literal["C", "F"]
) -> Iterator[tuple[NDArray[np.float64], Any]]:
    """(rows of [1, X·x_scale, y], their weights or None), some thousand rows at a time."""
    (n, features), xp = X.shape, _library(X)
    step = max(BLOCK_ROWS, BLOCK_WIDTHS * features)
    for start in range(0, n, step):
        some = slice(start, start + step)
        part = X[some]
        part = part.toarray() if hasattr(part, "toarray") else part
        rows = xp.ones((len(part), features + fit_intercept + 1), order=order)
        np.multiply(part, x_scale, out=rows[:, fit_intercept:-1], dtype=FLOAT64)
        rows[:, -1] = y[some]
        yield rows, None if weight is None else weight[some].astype(np.float64)


def _stack(*parts: tuple[NDArray[Any], int, float]) -> tuple[NDArray[Any], int, float]:
    triangles, rows, weights = zip(*parts, strict=True)
    return _triangle(np.concatenate(triangles)), sum(rows), sum(weights)


def _triangle(A: Any, xp: Any = np) -> Any:
    if xp is not np:
        return xp.linalg.qr(A, mode="r")
    from scipy.linalg import qr

    (R,) = qr(A, mode="r", overwrite_a=True, check_finite=False)
    return np.asfortranarray(R[: min(R.shape)] if R.shape[0] > R.shape[1] else R)


def _shortest(
    R: NDArray[Any], z: NDArray[Any], scale: NDArray[Any], tolerance: float
) -> tuple[NDArray[np.float64], int, float]:
    """The shortest w of those that minimize ‖R·w − z‖, the rank of R/scale, and the relative error that w may have."""
    from scipy.linalg import qr, solve_triangular, svd
    from scipy.linalg.lapack import dtrcon

    features, R = R.shape[1], R / scale
    square = R[:features]
    inverse_condition = float(dtrcon(square)[0]) if len(square) == features > 0 else 0.0
    # Columns that centring has left nothing of but rounding errors are well conditioned, too: the smallest singular
    # value counts itself, beside its share of the largest. (The columns' lengths were 1 before.)
    if inverse_condition * min(1.0, float(np.abs(square).sum(axis=0).max(initial=0.0))) > tolerance:
        scaled = solve_triangular(square, z[:features], check_finite=False)
        tangent = np.linalg.norm(z[features:]) / max(float(np.linalg.norm(z[:features])), 1e-300)
        return scaled / scale, features, float(EPS / inverse_condition * (1 + tangent / inverse_condition))
    U, s, Vt = svd(R, full_matrices=False, check_finite=False)
    rank = int((s > tolerance * max(s[0], 1.0)).sum()) if len(s) else 0
    # What the data say about w is rank equations (Vt·scale)·w = c. In the scaled unknowns their shortest solution is
    # Vtᵀ·c, but that is not the shortest w.
    Q, T = qr((Vt[:rank] * scale).T, mode="economic", check_finite=False)
    c = (U[:, :rank].T @ z) / s[:rank]
    return Q @ solve_triangular(T, c, trans="T", check_finite=False), rank, 0.0


def _refine(
    coef: NDArray[np.float64], triangle: NDArray[np.float64], blocks: Any, fit_intercept: bool, x_scale: float
) -> None:
    """Add R⁻¹·R⁻ᵀ·Aᵀ·(y − A·coef) to the coefficients, where A = [1, X] is multiplied in twice the precision.

    Large residuals and a high condition take digits from any solution in float64 (condition²·tangent·eps), because
    rounding X once moves it that far; here X is exact. A second pass over X, for Wampler4 and 5: 7.9 and 5.9 digits
    without, 14 with.
    """
    from scipy.linalg import solve_triangular

    R = triangle[: len(coef), : len(coef)]
    high, low = blocks.reduce("gradient", _block_gradient, _add_gradients, (coef, fit_intercept, x_scale))
    step = solve_triangular(R, high + low, trans="T", check_finite=False)
    coef += solve_triangular(R, step, check_finite=False)


def _block_gradient(i: int, block: tuple[Any, Any, Any], argument: tuple[Any, bool, float]) -> tuple[Any, Any]:
    (X, y, weight), (coef, fit_intercept, x_scale) = block, argument
    high, low = np.zeros_like(coef), np.zeros_like(coef)
    xp = _library(X)
    for rows, of_rows in _rows(X, y, weight, fit_intercept, x_scale, "C"):
        rows = _host(rows, xp)  # from a GPU block by block: the loop is the CPU's
        of_rows = np.ones(len(rows)) if of_rows is None else _host(of_rows, xp)
        _double_precision_gradient.serial(rows, of_rows, coef, high, low)
    return high, low


def _add_gradients(first: tuple[Any, Any], *others: tuple[Any, Any]) -> tuple[Any, Any]:
    high, low = (part.copy() for part in first)
    for other in others:
        _double_precision_sum.serial(*other, high, low)
    return high, low


def _gradient(block, weight, coef, high, low):  # type: ignore[no-untyped-def]
    """Add Aᵀ·weight·(y − A·coef) of the rows [A, y] to high + low, in twice float64's precision."""
    features = coef.size
    for i in range(block.shape[0]):
        r, rest = block[i, features], 0.0
        for j in range(features):
            p, error = two_product(-block[i, j], coef[j])
            r, carry = two_sum(r, p)
            rest += error + carry
        r, rest = two_sum(r, rest)
        r, error = two_product(r, weight[i])
        rest = rest * weight[i] + error
        for j in range(features):
            p, error = two_product(block[i, j], r)
            high[j], carry = two_sum(high[j], p)
            low[j] += error + carry + block[i, j] * rest


def _sum(more_high, more_low, high, low):  # type: ignore[no-untyped-def]
    """Add a sum in twice float64's precision to another: those of blocks cancel each other."""
    for j in range(high.size):
        high[j], carry = two_sum(high[j], more_high[j])
        low[j] += carry + more_low[j]


_double_precision_sum = Loop(_sum, name="least_squares_sum")
_double_precision_gradient = Loop(_gradient, name="least_squares_gradient")


def _ridge(R: NDArray[Any], z: NDArray[Any], strength: float) -> tuple[NDArray[np.float64], int]:
    """w that minimizes ‖R·w − z‖² + strength·‖w‖²: least squares with rows √strength·1 below R."""
    from scipy.linalg import qr, solve_triangular

    rows, features = R.shape
    root = np.sqrt(strength)
    if rows >= features:
        A = np.concatenate([np.column_stack([R, z]), root * np.eye(features, features + 1)])
        T = _triangle(A)
        return solve_triangular(T[:features, :features], T[:features, -1], check_finite=False), features
    # Fewer rows than features: (w, u) is the shortest solution of R·w + √strength·u = z, which needs no matrix of
    # n_features².
    Q, T = qr(np.concatenate([R.T, root * np.eye(rows)]), mode="economic", check_finite=False)
    return (Q @ solve_triangular(T, z, trans="T", check_finite=False))[:features], features
