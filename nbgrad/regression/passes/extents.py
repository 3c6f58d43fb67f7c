"""How far numbers of the rows reach: margins of classes, columns within classes; additive over blocks of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.passes.second_order import PIECE, Frame, pieces, with_ones

__all__ = ["Extent", "class_extents", "margins"]


@dataclass(frozen=True)
class Extent:
    """The smallest and the largest of each of several numbers of the rows."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __add__(self, other: Extent) -> Extent:
        return Extent(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


def margins(rows: Any, several: NDArray[np.float64], frame: Frame) -> Extent:
    """By how much each row's own class has more than the best of the others, for each of ``several`` parameters
    (classes, columns) of the frame.
    """
    with rows.computing(), np.errstate(all="ignore"):
        xp = rows.xp
        low, high = np.full(len(several), np.inf), np.full(len(several), -np.inf)
        for at, x in pieces(rows, frame, 0, rows.rows):
            label, weight = rows.labels(at), rows.weights(at)
            if rows.sparse and frame.centre is None:
                x = with_ones(x, frame, rows.fit_intercept)
            for i, params in enumerate(several):
                scores = (x @ xp.asarray(params).T).T
                if len(params) == 1:
                    found = xp.where(label > 0, scores[0], -scores[0])
                else:
                    columns, label = xp.arange(scores.shape[1]), label.astype(np.int64)
                    own = scores[label, columns]
                    scores[label, columns] = -np.inf
                    found = own - scores.max(axis=0)
                if weight is not None:
                    found = found[weight > 0]
                if found.size:
                    low[i], high[i] = min(low[i], float(found.min())), max(high[i], float(found.max()))
        return Extent(low, high)


def class_extents(rows: Any, classes: int) -> Extent:
    """The smallest and the largest number of each column among the rows of each class, (classes, columns)."""
    with rows.computing(), np.errstate(all="ignore"):
        xp, shape = rows.xp, (classes, rows.n_features)
        low, high = xp.full(shape, np.inf), xp.full(shape, -np.inf)
        step = max(64, PIECE // max(1, min(rows.n_features, PIECE)))
        for start in range(0, rows.rows, step):
            at = slice(start, min(start + step, rows.rows))
            x, weight, label = rows.numbers(at, dense=not rows.sparse), rows.weights(at), rows.labels(at)
            label = label if rows.model == "softmax" else label > 0
            for k in range(classes):
                part = x[(label == k) if weight is None else (label == k) & (weight > 0)]
                if part.shape[0]:
                    ends = part.min(axis=0), part.max(axis=0)
                    ends = tuple(e.toarray().ravel() if rows.sparse else e for e in ends)
                    low[k], high[k] = xp.minimum(low[k], ends[0]), xp.maximum(high[k], ends[1])
        return Extent(rows.on_host(low), rows.on_host(high))
