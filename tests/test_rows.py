"""Each row function against its definition in exact arithmetic, for ordinary logits, ties, masks and logits up to 1e30."""

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from reference import FINFO, ulps
from strategies import DTYPES, same_bits

from nbgrad import rows
from nbgrad.backends import cpu_rows

precisions = pytest.mark.parametrize("dtype", DTYPES)
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


def run(loop, *arguments):
    loop.serial(*arguments)


@pytest.fixture(scope="module", params=DTYPES)
def samples(request):
    """(row, its exact entries), the row's precision drawn by the parameter."""
    rng = np.random.default_rng(0)
    return [logits(request.param, rng) for _ in range(250)]


def test_softmax_within_2_ulp(samples):
    with mpmath.workdps(DIGITS):
        for x in samples:
            y = np.empty_like(x)
            run(cpu_rows.forward(rows.softmax), x[None], y[None])
            errors = [ulps(a, b) for a, b in zip(y, softmax(exact_row(x)), strict=True)]
            assert max(errors) <= 2.5, (x, y, errors)
            assert abs(float(y.astype(np.float64).sum()) - 1) <= 2 * FINFO[y.dtype].eps
            assert (y[np.isneginf(x)] == 0).all()


def test_log_softmax_within_2_ulp(samples):
    with mpmath.workdps(DIGITS):
        for x in samples:
            y = np.empty_like(x)
            run(cpu_rows.forward(rows.log_softmax), x[None], y[None])
            total = logsumexp(exact_row(x))
            assert (np.isneginf(y) == np.isneginf(x)).all()
            errors = [ulps(a, b - total) for a, b in zip(y, exact_row(x), strict=True) if np.isfinite(a)]
            assert max(errors) <= 2, (x, y, errors)


def test_logsumexp(samples):
    """2 ulp of the larger of its two terms, the maximum and the logarithm, which may cancel."""
    with mpmath.workdps(DIGITS):
        for x in samples:
            y = np.empty(1, x.dtype)
            run(cpu_rows.reduce(rows.logsumexp), x[None], y)
            true = logsumexp(exact_row(x))
            room = 2 * mpf(float(np.spacing(max(abs(x.max()), abs(y[0])))))
            assert abs(mpf(float(y[0])) - true) <= room, (x, y, true)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_cross_entropy_and_its_gradient(samples, scale):
    """2 ulp the value, 3 ulp every entry of the gradient, the label's too: it is no difference of nearly equal numbers."""
    none = np.empty(0, samples[0].dtype)
    rng = np.random.default_rng(5)
    with mpmath.workdps(DIGITS):
        for x in samples[:: 1 if scale == 1 else 5]:
            finite = np.flatnonzero(np.isfinite(x))
            label = int(rng.choice(finite))
            loss, again, grad = np.empty(1, x.dtype), np.empty(1, x.dtype), np.empty_like(x)
            run(cpu_rows.cross_entropy(False), x[None], np.array([label]), none, -100, loss)
            run(
                cpu_rows.cross_entropy(True),
                x[None],
                np.array([label]),
                none,
                -100,
                again,
                x.dtype.type(scale),
                grad[None],
            )
            same_bits(loss, again)
            entries = exact_row(x)
            true = logsumexp(entries) - entries[label]
            assert ulps(loss[0], true) <= 2.5, (x, label, loss, true)
            true_grad = slopes(lambda v, i=label: scale * (logsumexp(v) - v[i]), entries, finite)
            errors = [ulps(a, b) for a, b in zip(grad[finite], true_grad, strict=True)]
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
            run(cpu_rows.soft_cross_entropy(False), x[None], q[None], keep, loss)
            run(cpu_rows.soft_cross_entropy(True), x[None], q[None], keep, again, x.dtype.type(1), grad[None])
            same_bits(loss, again)
            entries, weights = exact_row(x), exact_row(q)

            def value(v, w=weights, finite=finite):
                return sum(w[j] * (logsumexp(v) - v[j]) for j in finite)

            assert ulps(loss[0], value(entries)) <= 4, (x, q, loss)
            p = softmax(entries)
            total = sum(weights)
            top = int(np.argmax(x))
            for j, true in zip(finite, slopes(value, entries, finite), strict=True):
                others = 1 - p[j]
                magnitude = (
                    p[j] * (total - weights[j]) + weights[j] * others
                    if j == top
                    else p[j] * total + weights[j]
                )
                room = (
                    4 * magnitude * mpf(float(FINFO[x.dtype].eps))
                    + mpf(float(FINFO[x.dtype].smallest_subnormal)) * 4
                )
                assert abs(mpf(float(grad[j])) - true) <= room, (x, q, j, grad, true)


@precisions
def test_backward_of_softmax_and_log_softmax(dtype):
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
            y, dx = np.empty_like(x), np.empty_like(x)
            run(cpu_rows.forward(rows.softmax), x[None], y[None])
            run(cpu_rows.backward(rows.softmax_backward), g[None], y[None], dx[None])
            true = slopes(
                lambda v, g=gradients: sum(a * b for a, b in zip(g, softmax(v), strict=True)), entries, places
            )
            spread = sum(abs(a) * b for a, b in zip(gradients, p, strict=True))
            for j in places:
                room = 8 * eps * p[j] * (abs(gradients[j]) + spread) + tiny * (abs(gradients[j]) + spread + 1)
                assert abs(mpf(float(dx[j])) - true[j]) <= room, (x, g, j)
            run(cpu_rows.forward(rows.log_softmax), x[None], y[None])
            run(cpu_rows.backward(rows.log_softmax_backward), g[None], y[None], dx[None])
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
@pytest.mark.parametrize("size", [1000, 50_000])
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
    y = np.empty_like(x)
    run(cpu_rows.forward(rows.softmax), x[None], y[None])
    assert np.abs(y / p - 1).max() <= 8 * eps
    run(cpu_rows.forward(rows.log_softmax), x[None], y[None])
    assert np.abs(y / (wide - total) - 1).max() <= 8 * eps
    loss = np.empty(1, dtype)
    run(cpu_rows.reduce(rows.logsumexp), x[None], loss)
    assert abs(loss[0] / total - 1) <= 8 * eps
    run(
        cpu_rows.cross_entropy(True),
        x[None],
        np.array([3]),
        np.empty(0, dtype),
        -100,
        loss,
        dtype(1),
        y[None],
    )
    p[3] = -np.delete(p, 3).sum()
    assert np.abs(y / p - 1).max() <= 8 * eps


@precisions
def test_rows_without_a_softmax(dtype):
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
        y, t = np.empty_like(x), np.empty(1, dtype)
        run(cpu_rows.forward(rows.softmax), x, y)
        same_bits(y, np.full_like(x, entry))
        run(cpu_rows.forward(rows.log_softmax), x, y)
        assert np.isnan(y[0]).all() or np.isneginf(x).any()
        run(cpu_rows.reduce(rows.logsumexp), x, t)
        same_bits(t, np.array([total], dtype))
    empty, t = np.empty((2, 0), dtype), np.empty(2, dtype)
    run(cpu_rows.reduce(rows.logsumexp), empty, t)
    assert np.isneginf(t).all()


@precisions
def test_overflowing_differences(dtype):
    """x − max itself overflows: the small entry is 0, nothing is nan."""
    big = float(FINFO[np.dtype(dtype)].max)
    x = np.array([[big, -big, 0.0]], dtype)
    y, t = np.empty_like(x), np.empty(1, dtype)
    run(cpu_rows.forward(rows.softmax), x, y)
    same_bits(y, np.array([[1, 0, 0]], dtype))
    run(cpu_rows.forward(rows.log_softmax), x, y)
    same_bits(y, np.array([[0, -np.inf, -big]], dtype))
    run(cpu_rows.reduce(rows.logsumexp), x, t)
    assert t[0] == x[0, 0]
    run(cpu_rows.cross_entropy(True), x, np.array([0]), np.empty(0, dtype), -100, t, dtype(1), y)
    same_bits(np.abs(y), np.zeros_like(x))
    assert t[0] == 0


@precisions
def test_maxout_takes_the_first_of_equals_and_nan_wins(dtype):
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
    y, index = np.empty(len(x), dtype), np.empty(len(x), np.intp)
    run(cpu_rows.maxout(), x, y, index)
    assert index.tolist() == [1, 0, 0, 0, 1, 0, 2]
    same_bits(y, x[np.arange(len(x)), index])


def test_serial_and_parallel_are_bitwise_the_same():
    rng = np.random.default_rng(8)
    none = np.empty(0, np.float32)
    for length in (1, 3, 10, 33, 700):
        x = rng.standard_normal((9, length)).astype(np.float32)
        label = rng.integers(0, length, 9)
        for loop, arguments in (
            (cpu_rows.forward(rows.softmax), (x, x.copy())),
            (cpu_rows.cross_entropy(True), (x, label, none, -100, x[:, 0].copy(), np.float32(1), x.copy())),
        ):
            results = []
            for compiled in (loop.serial, loop.parallel):
                mine = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
                compiled(*mine)
                results.append(mine)
            for a, b in zip(*results, strict=True):
                same_bits(a, b)
