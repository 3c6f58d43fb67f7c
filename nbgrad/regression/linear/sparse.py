"""Least squares of a large sparse matrix, by products with it: nothing is made dense."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, lsmr

from nbgrad.arrays import FLOAT64

__all__ = ["Standardised", "is_large", "sparse_least_squares"]

#: Features (and rows) up to which the triangle of a sparse matrix is made all the same: some seconds for 100 000 rows.
LARGE = 512
#: Columns of a size beyond 2**±RANGE, whose quotients may leave the range of float64, are divided one by one.
RANGE = 400
#: Numbers of the matrix that are worked on at a time.
PIECE = 1 << 16


def is_large(X: Any) -> bool:
    """Whether X is a sparse matrix whose triangle would take too long."""
    return hasattr(X, "tocsr") and min(X.shape) > LARGE


def _pieces(X: Any) -> Iterator[tuple[Any, slice]]:
    """(a copy of some rows, which)"""
    step = max(1, PIECE * X.shape[0] // max(X.nnz, 1))
    for start in range(0, X.shape[0], step):
        at = slice(start, start + step)
        yield X[at].copy(), at


class Standardised:
    """A CSR matrix whose columns are centred, weighted and divided by their lengths, all of it in the products: the
    matrix stays where it lies.

    ``A`` − ``root``·``mean``ᵀ has columns of length 1, or 0 where they were constant; ``shift`` and ``unit`` bring X's
    numbers there: (x/unit − shift)/length. Of a column without a 0 its first row is subtracted, so that an offset does
    not cost digits. ``Y``: the targets, centred (from ``level``) and weighted.
    """

    def __init__(self, X: Any, y: NDArray[Any], sample_weight: NDArray[Any] | None, fit_intercept: bool) -> None:
        if sample_weight is not None and not sample_weight.all():
            kept = sample_weight > 0
            X, y, sample_weight = X[kept], y[kept], sample_weight[kept]
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        X = X.astype(FLOAT64, copy=False)
        rows, features = self.shape = X.shape
        Y = y.astype(FLOAT64, copy=False).reshape(rows, -1)
        share = np.full(rows, 1 / rows)
        if sample_weight is not None:
            share = sample_weight / sample_weight.max()
            share /= share.sum()
        size, count = np.zeros(features), np.zeros(features, np.int64)
        for part, _ in _pieces(X):
            np.maximum.at(size, part.indices, np.abs(part.data))
            count += np.bincount(part.indices, minlength=features)
        self.unit = np.ldexp(1.0, np.clip(np.frexp(size)[1], -1022, 1022))
        self.shift, self.level = np.zeros(features), np.zeros(Y.shape[1])
        full = (count == rows) & fit_intercept
        if fit_intercept:
            self.level = share @ Y
        self._inner, self._scale = X, 1 / self.unit
        if full.any() or np.abs(np.frexp(size[size > 0])[1]).max(initial=0) > RANGE:
            data, columns = X.data / self.unit[X.indices], X.indices
            first = slice(int(X.indptr[0]), int(X.indptr[1]))  # the first row has all of the full columns
            self.shift[columns[first]] = np.where(full[columns[first]], data[first], 0.0)
            data -= self.shift[columns]
            self._inner, self._scale = type(X)((data, columns, X.indptr), shape=X.shape, copy=False), np.ones(features)
        mean, of_squares = (self._inner.T @ share) * self._scale, np.zeros(features)
        for part, at in _pieces(self._inner):
            part.data *= self._scale[part.indices]
            part.data *= part.data
            of_squares += part.T @ share[at]
        own = of_squares + self.shift * (2 * mean + self.shift)
        mean *= fit_intercept
        square = of_squares - mean**2
        constant = square <= (4 * np.finfo(FLOAT64).eps) ** 2 * own
        self.length = np.sqrt(np.where(constant, 1.0, square))
        self._scale = np.where(constant, 0.0, self._scale / self.length)
        self.root = np.sqrt(share, out=share)
        self.mean = np.where(constant, 0.0, mean / self.length)
        self.Y = (Y - self.level) * self.root[:, np.newaxis]

    @property
    def A(self) -> Any:
        """The matrix with its weights and lengths, but not centred: a copy."""
        inner = self._inner
        data = inner.data * self._scale[inner.indices] * np.repeat(self.root, np.diff(inner.indptr))
        return type(inner)((data, inner.indices, inner.indptr), shape=inner.shape, copy=False)

    def times(self, v: NDArray[Any]) -> NDArray[Any]:
        product = self._inner @ (self._scale * v)
        product -= self.mean @ v
        product *= self.root
        return product

    def back(self, u: NDArray[Any]) -> NDArray[Any]:
        weighted = self.root * u
        return self._scale * (self._inner.T @ weighted) - self.mean * weighted.sum()

    def given(self, v: NDArray[Any], x_scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(coef, intercept) in X's units, of those of the columns, (targets, features)."""
        exact = v / self.length / self.unit  # coef·x_scale
        intercept = self.level - exact @ ((self.mean * self.length + self.shift) * self.unit)
        return exact / x_scale if x_scale else 0 * exact, intercept


def sparse_least_squares(
    X: Any, y: NDArray[Any], *, sample_weight: NDArray[Any] | None, l2: float, fit_intercept: bool, x_scale: float,
    tol: float,
) -> tuple[NDArray[np.float64], Any, bool]:  # fmt: skip
    """(coef, intercept, whether all has converged), as `least_squares` has them, of a CSR matrix; of many solutions the
    one that is shortest where every centred column (with its penalty below) has length 1.

    LSMR, with ``tol`` as its atol and btol.

    Source: D. C.-L. Fong, M. Saunders, LSMR: an iterative algorithm for sparse least-squares problems, SIAM J. Sci.
    Comput. 33 (2011) 2950.
    """
    table = Standardised(X, y, sample_weight, fit_intercept)
    rows, features = table.shape
    # coef·x_scale = v/(length·unit): what a penalty on coef is in v; and the length of columns with the penalty below
    penalty = np.sqrt(l2) / table.length / table.unit / abs(x_scale) if l2 and x_scale else np.zeros(features)
    longer = np.hypot(1, np.minimum(penalty, 1e150))
    penalty = (np.minimum(penalty, 1e150) / longer)[: features if l2 else 0]

    def times(v: NDArray[Any]) -> NDArray[Any]:
        answer = table.times(v.reshape(-1) / longer)
        return np.concatenate([answer, penalty * v.reshape(-1)]) if l2 else answer

    def back(u: NDArray[Any]) -> NDArray[Any]:
        u = u.reshape(-1)
        answer = table.back(u[:rows]) / longer
        return answer + penalty * u[rows:] if l2 else answer

    operator = LinearOperator((rows + len(penalty), features), matvec=times, rmatvec=back, dtype=FLOAT64)
    v, converged = np.zeros((table.Y.shape[1], features)), True
    for t, target in enumerate(table.Y.T if x_scale else ()):
        size = np.abs(target).max() or 1.0
        right = np.concatenate([target / size, np.zeros(len(penalty))])
        found = lsmr(operator, right, atol=tol, btol=tol, conlim=0, maxiter=10 * min(table.shape))
        v[t] = found[0] * size / longer
        converged &= found[1] != 7
    coef, intercept = table.given(v, x_scale)
    return (coef, intercept, converged) if y.ndim == 2 else (coef[0], float(intercept[0]), converged)
