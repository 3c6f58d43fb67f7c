"""The centred problem of a triangle, and the way back to the units that the data have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.linear.refine import dot
from nbgrad.regression.linear.triangle import Triangle, add_triangles, triangle_of

__all__ = ["Centred", "centred"]


class Centred:
    """``R`` and ``Z`` of the centred columns of X and Y, in the triangle's units (and a common one, so that squares are
    in range); ``rest``: the lengths of what is left of Y below them; ``row``: what centring has taken from R's first
    row; ``root``: √Σ weight, in the common unit, too.

    Z's coefficients of R's columns are ``W``: those of the columns as they came are W·unit(y)/unit(x)/x_scale.
    """

    def __init__(self, triangle: Triangle) -> None:
        self.triangle, self.fit_intercept = triangle, triangle.fit_intercept
        self.features = features = len(triangle.shift) - len(triangle.rest)
        self.unit = np.ldexp(1.0, np.frexp(np.abs(triangle.R).max(initial=0.0))[1] - 1)
        R = triangle.R / self.unit
        self.R, self.Z = np.split(R[self.fit_intercept :, self.fit_intercept :], [features], axis=1)
        self.rest, self.root = triangle.rest / self.unit, triangle.root / self.unit
        self.means, self.row = np.zeros(len(triangle.shift)), np.zeros(features)
        if self.fit_intercept and len(R):
            self.means = R[0, 1:] / R[0, 0]
            self.row = R[0, 0] * (self.means + triangle.shift / triangle.unit)[:features]

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
        size = np.frexp(self.triangle.unit)[1]
        power = size[self.features :] - size[: self.features, np.newaxis]
        parts = [np.ldexp(part[self.fit_intercept :], power) for part in both]
        coef = (parts[0] + parts[1]) / x_scale if x_scale else parts[0]
        intercept = np.zeros(W.shape[1])
        if self.fit_intercept:
            shift, level = np.split(self.triangle.shift, [self.features])
            terms = np.array([level, *(part[0] * self.triangle.unit[self.features :] for part in both)])
            intercept = dot(terms, np.concatenate([shift, shift]), np.concatenate(parts))
        return np.ascontiguousarray(coef.T), intercept


def centred(blocks: Any, fit_intercept: bool) -> tuple[Centred, bool]:
    """Of `Blocks` and its like, by one pass; and whether y has one dimension."""
    triangle, flat = blocks.reduce("qr", _triangle, _add, fit_intercept)
    return Centred(triangle), flat


def _triangle(i: int, block: tuple[Any, Any, Any], fit_intercept: bool) -> tuple[Triangle, bool]:
    return triangle_of(i, block, fit_intercept), block[1].ndim == 1


def _add(*parts: tuple[Triangle, bool]) -> tuple[Triangle, bool]:
    return add_triangles(*(triangle for triangle, _ in parts)), parts[0][1]
