"""Least squares in fractions: the oracle of the tests of linear regression."""

from fractions import Fraction

import numpy as np


def reduced(rows):
    """(the reduced echelon form of a matrix of fractions, the pivots' columns)"""
    rows, pivots = [list(r) for r in rows], []
    for j in range(len(rows[0]) if rows else 0):
        at = len(pivots)
        found = next((i for i in range(at, len(rows)) if rows[i][j]), None)
        if found is None:
            continue
        rows[at], rows[found] = rows[found], rows[at]
        rows[at] = [v / rows[at][j] for v in rows[at]]
        for i in range(len(rows)):
            if i != at and rows[i][j]:
                rows[i] = [a - rows[i][j] * b for a, b in zip(rows[i], rows[at], strict=True)]
        pivots.append(j)
    return rows[: len(pivots)], pivots


def dot(a, b):
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def shortest(X, y, weight=None, fit_intercept=True):
    """(the shortest coefficients, the intercept, the rank), exactly, of the numbers as they are."""
    weight = np.ones(len(y)) if weight is None else weight
    rows = [([Fraction(float(v)) for v in r], Fraction(float(t)), Fraction(float(w))) for r, t, w in zip(X, y, weight, strict=True) if w]
    p, total = len(X[0]), sum(w for *_, w in rows)
    mean, level = [Fraction(0)] * p, Fraction(0)
    if fit_intercept:
        mean = [sum(w * r[j] for r, _, w in rows) / total for j in range(p)]
        level = sum(w * t for _, t, w in rows) / total
    rows = [([v - m for v, m in zip(r, mean, strict=True)], t - level, w) for r, t, w in rows]
    normal = [[sum(w * r[i] * r[j] for r, _, w in rows) for j in range(p)] + [sum(w * r[i] * t for r, t, w in rows)] for i in range(p)]
    form, pivots = reduced(normal)
    coef = [Fraction(0)] * p
    for row, j in zip(form, pivots, strict=True):
        coef[j] = row[-1]
    null = []
    for free in sorted(set(range(p)) - set(pivots)):
        v = [Fraction(0)] * p
        v[free] = Fraction(1)
        for row, j in zip(form, pivots, strict=True):
            v[j] = -row[free]
        null.append(v)
    if null:
        gram = [[dot(a, b) for b in null] + [dot(a, coef)] for a in null]
        for t, v in zip((row[-1] for row in reduced(gram)[0]), null, strict=True):
            coef = [c - t * x for c, x in zip(coef, v, strict=True)]
    return coef, level - dot(mean, coef), len(pivots)
