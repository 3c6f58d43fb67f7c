"""Each row function against its definition in exact arithmetic, for ordinary logits, ties, masks and logits up to 1e30.

Every test runs both ways to compute a row, the one for few columns and the one for many, on the same rows. (Blocks, remainders and
threads: ``tests/test_strips.py``.)
"""

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from numba import njit
from reference import FINFO, ulps
from row_reference import (
    DIGITS,
    backward,
    cross_entropy,
    exact_row,
    forward,
    log_sum,
    logits,
    logsumexp,
    rounding,
    slopes,
    softmax,
)
from strategies import DTYPES, same_bits

from nbgrad.cpu import labels as cpu_labels
from nbgrad.cpu import maxout as cpu_maxout
from nbgrad.cpu.lanes import FEW
from nbgrad.formulas import rows

precisions = pytest.mark.parametrize("dtype", DTYPES)
both = pytest.mark.parametrize("long", [False, True], ids=["few", "many"])


@pytest.fixture(scope="module", params=DTYPES)
def samples(request):
    """(row, its exact entries), the row's precision drawn by the parameter."""
    rng = np.random.default_rng(0)
    return [logits(request.param, rng) for _ in range(250)]


@both
def test_softmax_within_2_ulp(samples, long):
    """Beside the rounding of x − max."""
    with mpmath.workdps(DIGITS):
        for x in samples:
            y = forward("softmax", long, x[None])[0]
            d, others = rounding(exact_row(x))
            errors = [ulps(a, b) - own - others for a, b, own in zip(y, softmax(exact_row(x)), d, strict=True)]
            assert max(errors) <= 2.5, (x, y, errors)
            assert abs(float(y.astype(np.float64).sum()) - 1) <= 2 * FINFO[y.dtype].eps
            assert (y[np.isneginf(x)] == 0).all()


@both
def test_log_softmax_within_2_ulp(samples, long):
    with mpmath.workdps(DIGITS):
        for x in samples:
            y = forward("log_softmax", long, x[None])[0]
            total = logsumexp(exact_row(x))
            _, others = rounding(exact_row(x))
            assert (np.isneginf(y) == np.isneginf(x)).all()
            errors = [ulps(a, b - total) for a, b in zip(y, exact_row(x), strict=True) if np.isfinite(a)]
            assert max(errors) <= 2 + others, (x, y, errors)


@both
def test_logsumexp(samples, long):
    """2 ulp of the larger of its two terms, the maximum and the logarithm, which may cancel."""
    with mpmath.workdps(DIGITS):
        for x in samples:
            y = log_sum(long, x[None])
            entries = exact_row(x)
            true, (_, others) = logsumexp(entries), rounding(entries)
            room = 2 * mpf(float(np.spacing(max(abs(x.max()), abs(y[0])))))
            room += others * (true - max(entries)) * mpf(float(FINFO[x.dtype].eps))
            assert abs(mpf(float(y[0])) - true) <= room, (x, y, true)


@both
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_cross_entropy_and_its_gradient(samples, scale, long):
    """2 ulp the value, 3 ulp every entry of the gradient, the label's too: it is no difference of nearly equal numbers. Beside the
    rounding of x − max.
    """
    rng = np.random.default_rng(5)
    with mpmath.workdps(DIGITS):
        for x in samples[:: 1 if scale == 1 else 5]:
            finite = np.flatnonzero(np.isfinite(x))
            label = int(rng.choice(finite))
            loss = cross_entropy(long, x[None], label)
            again, grad = cross_entropy(long, x[None], label, scale)
            grad = grad[0]
            same_bits(loss, again)
            entries = exact_row(x)
            d, others = rounding(entries)
            true = logsumexp(entries) - entries[label]
            assert ulps(loss[0], true) <= 2.5 + others, (x, label, loss, true)
            true_grad = slopes(lambda v, i=label: scale * (logsumexp(v) - v[i]), entries, finite)
            errors = [ulps(a, b) - own - others for a, b, own in zip(grad[finite], true_grad, [d[j] for j in finite], strict=True)]
            assert max(errors) <= 3, (x, label, grad, errors)
            assert (grad[np.isneginf(x)] == 0).all()


def test_cross_entropy_of_probabilities(samples):
    """The gradient to a few ulp of the sum of its terms, p Σq and q."""
    rng = np.random.default_rng(6)
    with mpmath.workdps(DIGITS):
        for x in samples[::4]:
            finite = np.flatnonzero(np.isfinite(x))
            q = rng.random(x.size).astype(x.dtype)
            q[rng.random(x.size) < 0.3] = 0
            q[np.isneginf(x)] = 0
            if rng.random() < 0.3:
                q[:] = 0
                q[rng.choice(finite)] = 1
            loss, again, grad = np.empty(1, x.dtype), np.empty(1, x.dtype), np.empty_like(x)
            keep = np.zeros(1, np.bool_)
            cpu_labels.soft_cross_entropy(False).serial(x[None], q[None], keep, loss)
            cpu_labels.soft_cross_entropy(True).serial(x[None], q[None], keep, again, x.dtype.type(1), grad[None])
            same_bits(loss, again)
            entries, weights = exact_row(x), exact_row(q)

            def value(v, w=weights, finite=finite):
                return sum(w[j] * (logsumexp(v) - v[j]) for j in finite)

            d, others_rounded = rounding(entries)
            assert ulps(loss[0], value(entries)) <= 4 + others_rounded, (x, q, loss)
            p = softmax(entries)
            total = sum(weights)
            top = int(np.argmax(x))
            for j, true in zip(finite, slopes(value, entries, finite), strict=True):
                others = 1 - p[j]
                magnitude = p[j] * (total - weights[j]) + weights[j] * others if j == top else p[j] * total + weights[j]
                room = (4 + d[j] + others_rounded) * magnitude * mpf(float(FINFO[x.dtype].eps)) + mpf(float(FINFO[x.dtype].smallest_subnormal)) * 4
                assert abs(mpf(float(grad[j])) - true) <= room, (x, q, j, grad, true)


@both
@precisions
def test_backward_of_softmax_and_log_softmax(dtype, long):
    """Against finite differences of Σ g·y, with the rounding of y, from which they are computed, let in."""
    rng = np.random.default_rng(7)
    eps = mpf(float(FINFO[np.dtype(dtype)].eps))
    tiny = 8 * mpf(float(FINFO[np.dtype(dtype)].smallest_subnormal))
    with mpmath.workdps(DIGITS):
        for _ in range(40):
            x = logits(dtype, rng, finite=True)
            g = (rng.standard_normal(x.size) * 10.0 ** rng.integers(-3, 4)).astype(dtype)
            entries, gradients = exact_row(x), exact_row(g)
            places = range(x.size)
            p = softmax(entries)
            d, others = rounding(entries)
            dx = backward("softmax", long, g[None], forward("softmax", long, x[None]))[0]
            true = slopes(lambda v, g=gradients: sum(a * b for a, b in zip(g, softmax(v), strict=True)), entries, places)
            spread = sum(abs(a) * b for a, b in zip(gradients, p, strict=True))
            for j in places:
                of_y = d[j] + others + max(d) * sum(p[k] for k in places if d[k])
                room = (8 + of_y) * eps * p[j] * (abs(gradients[j]) + spread) + tiny * (abs(gradients[j]) + spread + 1)
                assert abs(mpf(float(dx[j])) - true[j]) <= room, (x, g, j)
            y = forward("log_softmax", long, x[None])[0]
            dx = backward("log_softmax", long, g[None], y[None])[0]
            true = slopes(
                lambda v, g=gradients: sum(a * (b - logsumexp(v)) for a, b in zip(g, v, strict=True)),
                entries,
                places,
            )
            spread = sum(map(abs, gradients))
            for j in places:
                room = eps * (4 * abs(gradients[j]) + p[j] * spread * (8 + 2 * abs(mpf(float(y[j])))))
                assert abs(mpf(float(dx[j])) - true[j]) <= room + tiny * spread, (x, g, j)


@precisions
@pytest.mark.parametrize("size", [FEW, 1000, 50_000])
@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0, 5.0])
def test_long_rows_lose_nothing(dtype, size, spread):
    """Against long double sums: a few ulp however long the row is."""
    x = (np.random.default_rng(0).standard_normal(size) * spread).astype(dtype)
    wide = x.astype(np.longdouble)
    e = np.exp(wide - wide.max())
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("no long double on this machine")
    p, total = e / e.sum(), wide.max() + np.log(e.sum())
    eps = FINFO[x.dtype].eps
    x_minus_max = (wide.max() - wide) / 2 * eps  # its rounding
    for long in (True, False) if size <= FEW else (True,):
        y = forward("softmax", long, x[None])[0]
        assert (np.abs(y / p - 1) <= 8 * eps + x_minus_max).all()
        y = forward("log_softmax", long, x[None])[0]
        assert np.abs(y / (wide - total) - 1).max() <= 8 * eps
        assert abs(log_sum(long, x[None])[0] / total - 1) <= 8 * eps
        y = cross_entropy(long, x[None], 3, 1)[1][0]
        slopes = p.copy()
        slopes[3] = -np.delete(p, 3).sum()
        assert (np.abs(y / slopes - 1) <= 8 * eps + x_minus_max).all()


@both
@precisions
def test_rows_without_a_softmax(dtype, long):
    """Nothing but −inf, +inf, or nan: nan, and logsumexp's limits."""
    inf, nan = np.inf, np.nan
    cases = {
        (-inf, -inf): (nan, -inf),
        (-inf,): (nan, -inf),
        (inf, 0.0): (nan, inf),
        (inf, inf): (nan, inf),
        (nan, 0.0): (nan, nan),
        (0.0, nan): (nan, nan),
        (nan, -inf): (nan, nan),
        (nan,): (nan, nan),
    }
    for row, (entry, total) in cases.items():
        x = np.array([row], dtype)
        same_bits(forward("softmax", long, x), np.full_like(x, entry))
        assert np.isnan(forward("log_softmax", long, x)[0]).all() or np.isneginf(x).any()
        same_bits(log_sum(long, x), np.array([total], dtype))
        same_bits(cross_entropy(long, x, 0), np.array([nan], dtype))
    assert np.isneginf(log_sum(long, np.empty((2, 0), dtype))).all()


@both
@precisions
def test_overflowing_differences(dtype, long):
    """x − max itself overflows: the small entry is 0, nothing is nan."""
    big = float(FINFO[np.dtype(dtype)].max)
    x = np.array([[big, -big, 0.0]], dtype)
    same_bits(forward("softmax", long, x), np.array([[1, 0, 0]], dtype))
    same_bits(forward("log_softmax", long, x), np.array([[0, -np.inf, -big]], dtype))
    assert log_sum(long, x)[0] == x[0, 0]
    loss, grad = cross_entropy(long, x, 0, 1)
    same_bits(np.abs(grad), np.zeros_like(x))
    assert loss[0] == 0


@precisions
@pytest.mark.parametrize("pieces", [3, 8, 9])
def test_maxout_takes_the_first_of_equals_and_nan_wins(dtype, pieces):
    inf, nan = np.inf, np.nan
    x = np.array(
        [
            [1, 3, 3],
            [2, 2, 2],
            [-inf, -inf, -inf],
            [0.0, -0.0, 0.0],
            [1, nan, inf],
            [nan, nan, 1],
            [inf, 2, nan],
        ],
        dtype,
    )
    x = np.concatenate([x, np.repeat(x[:, :1], pieces - 3, axis=1)], axis=1)  # more of the first: no other winner
    y, index = np.empty(len(x), dtype), np.empty(len(x), np.intp)
    assert cpu_maxout.maxout(pieces).serial(x.reshape(-1), pieces, 1, y, index)
    assert index.tolist() == [1, 0, 0, 0, 1, 0, 2]
    same_bits(y, x[np.arange(len(x)), index])
    one_by_one = [njit_maxout(row) for row in x]
    same_bits(y, np.array([a for a, _ in one_by_one], dtype))
    assert index.tolist() == [b for _, b in one_by_one]


@njit
def njit_maxout(x):
    return rows.maxout(x)
