"""The row functions in exact arithmetic, rows that are hard for them, and each of nbgrad's loops on rows, called by name."""

import math

import mpmath
import numpy as np
from mpmath import mpf

from nbgrad.cpu import labels as cpu_labels
from nbgrad.cpu import rows as cpu_rows

DIGITS = 450


def logits(dtype, rng, finite=False):
    """Rows of 1..7 logits: of every size, tied, masked, one of them huge, shifted far away from 0."""
    row = rng.standard_normal(rng.integers(1, 8)) * 10.0 ** rng.integers(-3, 4)
    kind = rng.integers(0, 7)
    if kind == 0:
        row[:] = row[0]
    elif kind == 1:
        row[rng.integers(0, row.size)] = rng.choice([-1e30, 1e30])
    elif kind == 2:
        row += rng.choice([-1e6, 1e6])
    elif kind == 3:
        row[rng.random(row.size) < 0.3] = row.max()
    elif kind == 4:
        row[rng.random(row.size) < 0.5] *= 1e30
    if not finite and kind in (5, 3) and row.size > 1:
        row[rng.permutation(row.size)[: row.size // 2]] = -np.inf
    return row.astype(dtype)


def exact_row(row):
    return [mpf(float(v)) if np.isfinite(v) else mpmath.mpf("-inf") for v in row]


def exponentials(x):
    """e^(x − max): the same quotients as e^x, and 0 for −inf. (mpmath needs 40 ms for e^−1e30.)"""
    largest = max(x)
    return [mpmath.exp(v - largest) if v - largest > -100_000 else mpf(0) for v in x], largest


def softmax(x):
    e, _ = exponentials(x)
    return [v / sum(e) for v in e]


def logsumexp(x):
    e, largest = exponentials(x)
    return largest + mpmath.log(sum(e))


def slopes(function, x, places):
    """∂function/∂xⱼ by central differences."""
    result = []
    for j in places:
        h = mpmath.ldexp(1, -133)
        up, down = ([*x[:j], x[j] + s * h, *x[j + 1 :]] for s in (1, -1))
        result.append((function(up) - function(down)) / (2 * h))
    return result


def form(long):
    """What the loop over whole rows is called; that over short ones has no room for others."""
    return "long_rows" if long else "short_rows"


def forward(name, long, x):
    """The row function ``name`` of each row."""
    y = np.empty_like(x)
    assert cpu_rows.forward(name, form(long)).serial(x.reshape(-1), *x.shape, 1, y.reshape(-1))
    return y


def backward(name, long, g, y):
    dx = np.empty_like(y)
    assert cpu_rows.backward(name, form(long)).serial(g.reshape(-1), y.reshape(-1), *y.shape, 1, dx.reshape(-1))
    return dx


def log_sum(long, x):
    y = np.empty(len(x), x.dtype)
    assert cpu_rows.logsumexp(form(long)).serial(x.reshape(-1), *x.shape, 1, y)
    return y


def cross_entropy(long, x, label, scale=None):
    """(loss of each row, gradient), or the losses alone without ``scale`` (a weight of the class)."""
    loss, grad = np.empty(len(x), x.dtype), np.full_like(x, 7)
    weight = np.full(x.shape[1], 1 if scale is None else scale, x.dtype)
    bad, total = cpu_labels.cross_entropy(long).serial(
        x.reshape(-1),
        np.array([label]),
        weight,
        *x.shape,
        1,
        -100,
        False,
        loss,
        scale is not None,
        grad.reshape(-1),
    )
    assert bad == -1 and (total == loss.sum() or np.isnan(total))
    return loss if scale is None else (loss / x.dtype.type(scale), grad)


def rounding(x):
    """What the rounding of x − max does, in units of half an ulp: to e^(x − max), an entry each, and to the sum of the others."""
    e, largest = exponentials(x)
    d = [largest - v if e_v else mpf(0) for v, e_v in zip(x, e, strict=True)]
    others = sum(e) - 1
    return d, sum(a * b for a, b in zip(d, e, strict=True)) / others if others else mpf(0)


def cross_entropy_by_definition(logits, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    """cross_entropy one row after the other in Python's arithmetic; the classes along axis 1 (or the only axis)."""
    x = np.asarray(logits, float)
    axis = min(1, x.ndim - 1)
    classes = x.shape[axis]
    w = [1.0] * classes if weight is None else [float(v) for v in weight]
    rows = np.moveaxis(x, axis, -1).reshape(-1, classes)
    target = np.asarray(target)
    probabilities = target.dtype.kind == "f"
    targets = np.moveaxis(target, axis, -1).reshape(-1, classes) if probabilities else target.reshape(-1)
    losses, divisors = [], []
    for row, t in zip(rows, targets, strict=True):
        if not probabilities and t == ignore_index:
            losses.append(0.0)
            continue
        largest = max(row)
        first = list(row).index(largest)  # left out of the sum: log1p keeps the digits of a row whose sum is all but 1
        log_sum = math.log1p(math.fsum(math.exp(v - largest) for j, v in enumerate(row) if j != first))
        q = [float(v) for v in t] if probabilities else [float(j == t) for j in range(classes)]
        q = [(1 - label_smoothing) * v + label_smoothing / classes for v in q]
        losses.append(math.fsum(wj * qj * (largest - v + log_sum) for wj, qj, v in zip(w, q, row, strict=True) if wj * qj))
        divisors.append(1.0 if probabilities else w[t])
    if reduction == "none":
        return np.reshape(losses, x.shape[:axis] + x.shape[axis + 1 :])
    total, divisor = math.fsum(losses), math.fsum(divisors)
    return total if reduction == "sum" else (total / divisor if divisor else math.nan)
