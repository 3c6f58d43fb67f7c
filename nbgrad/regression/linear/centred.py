"""The centred problem of a triangle, and the way back to the units that the data have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.linear.refine import dot
from nbgrad.regression.linear.triangle import Triangle, add_triangles, power_of_2, triangle_of, weighted_rows

__all__ = ["Centred", "centred", "centred_rows"]


@dataclass
class Centred:
    """``R`` and ``Z``: the centred columns of X and Y, weighted, or the triangle that stands for them; ``rest``: the
    lengths of what the triangle leaves of Y below; ``row``: what centring has taken from their first row, or as much in
    length; ``root``: √Σ weight; all in one unit in which squares are in range. ``means``, ``shift`` and ``unit`` bring
    the columns' numbers there: (x − shift)/unit − mean.

    Z's coefficients of R's columns are ``W``: those of the columns as they came are W·unit(y)/unit(x)/x_scale.
    """

    R: NDArray[np.float64]
    Z: NDArray[np.float64]
    rest: NDArray[np.float64]
    row: NDArray[np.float64]
    root: float
    means: NDArray[np.float64]
    shift: NDArray[np.float64]
    unit: NDArray[np.float64]
    fit_intercept: int

    @property
    def features(self) -> int:
        return self.R.shape[1]

    def params(self, W: NDArray[np.float64]) -> NDArray[np.float64]:
        """Columns of [1, X] in the triangle's units: the intercepts first, where there are any."""
        intercept = self.means[self.features :] - self.means[: self.features] @ W
        return np.concatenate([intercept[np.newaxis], W])[not self.fit_intercept :]

    def given(
        self, W: NDArray[np.float64], x_scale: float, more: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(coef (targets, features), intercept (targets,)); ``more`` is added to the params."""
        params = self.params(W)
        both = params, np.zeros_like(params) if more is None else more
        size = np.frexp(self.unit)[1]
        power = size[self.features :] - size[: self.features, np.newaxis]
        parts = [np.ldexp(part[self.fit_intercept :], power) for part in both]
        coef = (parts[0] + parts[1]) / x_scale if x_scale else parts[0]
        intercept = np.zeros(W.shape[1])
        if self.fit_intercept:
            shift, level = np.split(self.shift, [self.features])
            terms = np.array([level, *(part[0] * self.unit[self.features :] for part in both)])
            intercept = dot(terms, np.concatenate([shift, shift]), np.concatenate(parts))
        return np.ascontiguousarray(coef.T), intercept


def centred(blocks: Any, fit_intercept: bool) -> tuple[Centred, Triangle, bool]:
    """Of `Blocks` and its like, by one pass; the triangle; and whether y has one dimension."""
    triangle, flat = blocks.reduce("qr", _triangle, _add, fit_intercept)
    features = len(triangle.shift) - len(triangle.rest)
    unit = np.ldexp(1.0, np.frexp(np.abs(triangle.R).max(initial=0.0))[1] - 1)
    R = triangle.R / unit
    inner, Z = np.split(R[fit_intercept:, fit_intercept:], [features], axis=1)
    means, row = np.zeros(len(triangle.shift)), np.zeros(features)
    if fit_intercept and len(R):
        means = R[0, 1:] / R[0, 0]
        row = R[0, 0] * (means + triangle.shift / triangle.unit)[:features]
    problem = Centred(
        inner, Z, triangle.rest / unit, row, triangle.root / unit, means, triangle.shift, triangle.unit,
        int(fit_intercept),
    )  # fmt: skip
    return problem, triangle, flat


def centred_rows(X: Any, y: Any, weight: Any, fit_intercept: bool) -> Centred:
    """Of an array: its rows themselves."""
    rows, of_rows = zip(*weighted_rows(X, y, weight, "F"), strict=True)
    A = np.asfortranarray(np.concatenate(rows))
    features, root = X.shape[1], np.ones(len(A))
    if weight is not None:
        root = np.sqrt(np.concatenate(of_rows))
        root /= root.max()
    shift = A[root.argmax()].copy() if fit_intercept else np.zeros(A.shape[1])
    unit = power_of_2(np.maximum(A.max(axis=0), -A.min(axis=0)))
    A /= unit
    A -= shift / unit
    share = root**2 / (root @ root)
    means = share @ A if fit_intercept else np.zeros(A.shape[1])
    A -= means
    if weight is not None:
        A *= root[:, np.newaxis]
    total = float(np.linalg.norm(root))
    return Centred(
        A[:, :features], A[:, features:], np.zeros(A.shape[1] - features),
        total * (means + shift / unit)[:features], total, means, shift, unit, int(fit_intercept),
    )  # fmt: skip


def _triangle(i: int, block: tuple[Any, Any, Any], fit_intercept: bool) -> tuple[Triangle, bool]:
    return triangle_of(i, block, fit_intercept), block[1].ndim == 1


def _add(*parts: tuple[Triangle, bool]) -> tuple[Triangle, bool]:
    return add_triangles(*(triangle for triangle, _ in parts)), parts[0][1]
