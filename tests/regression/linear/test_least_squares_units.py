"""Least squares in any units, beside any offsets, with columns that say nothing or the same: against fractions."""

from fractions import Fraction

import numpy as np
import pytest
from exact import dot, shortest
from hypothesis import example, given
from hypothesis import strategies as st
from regression_models import cut
from scipy import sparse

from nbgrad import LinearRegression
from nbgrad.regression import Lasso
from nbgrad.regression.blocks import Blocks
from nbgrad.regression.linear.least_squares import least_squares

da = pytest.importorskip("dask.array")

UNITS = [1e-200, 1e-30, 1e-9, 1.0, 1e6, 1e155]
OFFSETS = [0.0, 1.0, 2000.0, 1e9]
FORMS = ["C", "F", "csr", "blocks"]


def fit(form, X, y, weight=None, **options):
    if form == "blocks":
        arrays = (X, y) if weight is None else (X, y, weight)
        return least_squares(Blocks(cut([3, 0, 1, len(y) - 4], *arrays)), **options)
    X = sparse.csr_matrix(X) if form == "csr" else np.asarray(X, order=form)
    return least_squares(X, y, sample_weight=weight, **options)


def check(form, X, y, weight=None, fit_intercept=True):
    """What is predicted, how short the coefficients are, the rank."""
    coef, intercept, rank = fit(form, X, y, weight, fit_intercept=fit_intercept)
    exact, exact_intercept, exact_rank = shortest(X, y, weight, fit_intercept)
    assert rank == exact_rank
    kept = np.ones(len(y), bool) if weight is None else weight > 0
    rows = [[Fraction(float(v)) for v in r] for r in X[kept]]
    got = [dot(r, [Fraction(float(c)) for c in coef]) + Fraction(float(intercept)) for r in rows]
    want = [dot(r, exact) + exact_intercept for r in rows]
    spread = np.ptp(y[kept]) or np.abs(y).max() or 1.0
    # Coefficients and intercept are rounded themselves: half an eps of each term of the sums.
    terms = max(sum(abs(v * c) for v, c in zip(r, exact, strict=True)) + abs(exact_intercept) for r in rows)
    worst = max(abs(g - w) for g, w in zip(got, want, strict=True))
    assert worst <= 1e-9 * spread + 4 * np.finfo(float).eps * terms, (float(worst), coef, [float(c) for c in exact])
    size = max(map(abs, exact))
    error = max(abs(Fraction(float(c)) - e) for c, e in zip(coef, exact, strict=True))
    assert error <= 1e-9 * size, (coef, [float(c) for c in exact])


column = st.tuples(st.sampled_from(["spread", "constant", "again", "twice", "sum"]), st.sampled_from(UNITS), st.sampled_from(OFFSETS))


@example([("twice", 1e-200, 0.0), ("constant", 1e155, 0.0), ("again", 1e-200, 0.0)], True, False, False, "C", (1e-60, 0.0), 0)
@example([("constant", 1e155, 0.0)], True, False, False, "C", (1e-60, 0.0), 0)  # lengths beyond what floats can compare
@given(
    st.lists(column, min_size=1, max_size=5), st.booleans(), st.booleans(), st.booleans(), st.sampled_from(FORMS),
    st.tuples(st.sampled_from([1e-60, 1.0, 1e60]), st.sampled_from(OFFSETS)), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_units_offsets_and_dependences(columns, levels, weighted, fit_intercept, form, of_y, seed):
    rng = np.random.default_rng(seed)
    n = 14
    found = list(np.eye(3)[np.arange(n) % 3].T) if levels else []
    for kind, unit, offset in columns:
        if kind == "constant":
            found.append(np.full(n, unit * (offset or 0.1)))
        elif kind == "spread" or not found:
            offset = offset if fit_intercept else min(offset, 1.0)  # else near a multiple of a constant: digits are lost
            found.append(unit * (offset + rng.normal(size=n)))
        elif kind == "sum" and len(found) > 1 and max(map(np.max, found[-2:])) < 1e3 * min(map(np.ptp, found[-2:])):
            found.append(np.round(found[-1] * 2**8 / np.ptp(found[-1])) + np.round(found[-2] * 2**8 / np.ptp(found[-2])))
        else:
            found.append(found[-1] * (2.0**-20 if kind == "twice" else 1.0))
    X = np.column_stack(found)
    unit, offset = of_y
    y = unit * (offset * fit_intercept + rng.normal(size=n))
    weight = rng.integers(0, 3, n) * rng.choice([1e-300, 1.0, 1e300]) if weighted else None
    if weighted:
        weight[[0, -1]] = weight.max() or 1.0
    check(form, X, y, weight, fit_intercept)


@pytest.mark.parametrize("form", FORMS)
def test_a_constant_beside_a_tiny_spread(form):
    z = np.random.default_rng(0).normal(size=1000)
    X = np.column_stack([np.full(1000, 1.7e9), 1e-6 * z])
    coef, intercept, rank = fit(form, X, 3 + 2 * z)
    assert rank == 1 and coef[0] == 0
    np.testing.assert_allclose([coef[1] * 1e-6, intercept], [2, 3], rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_tie_beside_a_near_tie_costs_no_predictions(seed):
    """Which of equal columns has what share must not touch the column that is nearly theirs."""
    rng = np.random.default_rng(seed)
    x = 1e-200 * rng.normal(size=14)
    X, y = np.column_stack([x, x, 2 * np.round(x * 2**20 / np.ptp(x))]), rng.normal(size=14)
    coef, _, rank = fit("C", X, y, fit_intercept=False)
    exact = shortest(X, y, None, False)[0]
    want = [float(dot([Fraction(float(v)) for v in row], exact)) for row in X]
    assert rank == 2
    np.testing.assert_allclose(X @ coef, want, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_all_levels_beside_a_tiny_spread(form):
    rng = np.random.default_rng(0)
    z, levels = rng.normal(size=1000), np.eye(3)[rng.integers(0, 3, 1000)]
    y = levels @ [1.0, 2.0, 3.0] + 2 * z + 0.1 * rng.normal(size=1000)
    plain, scaled = (fit(form, np.column_stack([levels, z * unit]), y)[0] for unit in (1.0, 1e-16))
    np.testing.assert_allclose(scaled * [1, 1, 1, 1e-16], plain, rtol=1e-9)
    assert abs(plain[:3].sum()) < 1e-12 and abs(plain[3] - 2) < 0.02


@pytest.mark.parametrize("form", FORMS)
def test_equal_columns_far_from_0_beside_a_tiny_one(form):
    z = np.random.default_rng(0).normal(size=1000)
    time = 1.7e9 + np.arange(1000.0)
    coef, _, rank = fit(form, np.column_stack([time, time, 1e-9 * z]), np.arange(1000.0) + 5 * z)
    assert rank == 2
    np.testing.assert_allclose(coef, [0.5, 0.5, 5e9], rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-3, 1e-8, 1e-30])
@pytest.mark.parametrize("degree", [2, 5, 9])
def test_polynomials_of_small_numbers(scale, degree):
    x = np.random.default_rng(0).uniform(size=400)
    powers = np.arange(degree + 1)  # the constant among them, as PolynomialFeatures has it
    wanted = LinearRegression().fit(x[:, np.newaxis] ** powers, np.sin(4 * x))
    got = LinearRegression().fit((x * scale)[:, np.newaxis] ** powers, np.sin(4 * x))
    assert got.score((x * scale)[:, np.newaxis] ** powers, np.sin(4 * x)) == pytest.approx(wanted.score(x[:, np.newaxis] ** powers, np.sin(4 * x)), rel=1e-9)
    np.testing.assert_allclose(got.coef_ * scale**powers, wanted.coef_, rtol=1e-5)


@pytest.mark.parametrize("unit", [5e-320, 1e-300, 1e-200, 1e-100, 1e100, 1e155, 1e300])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_units_at_the_ends(unit, l2):
    rng = np.random.default_rng(0)
    X, y = rng.integers(-99, 99, (40, 3)).astype(float), rng.normal(size=40)
    plain, intercept, _ = least_squares(X, y, l2=l2)
    if l2 and not 1e-150 < unit < 1e150:  # where its square is one
        unit = np.sqrt(unit)
    coef, intercept_too, rank = least_squares(X * unit, y * unit, l2=l2 and l2 * unit**2)
    assert rank == 3
    np.testing.assert_allclose(coef, plain, rtol=1e-3 if unit < 1e-307 else 1e-12)
    np.testing.assert_allclose(intercept_too / unit, intercept, rtol=1e-3 if unit < 1e-307 else 1e-12)


@pytest.mark.parametrize(("unit", "dtype"), [(1e-310, np.float64), (1e-30, np.float32)])
def test_coefficients_out_of_range_are_an_error_and_leave_the_model(unit, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), 1e10 * rng.normal(size=30)
    for model in (LinearRegression(), Lasso(1e-320)):
        before = model.fit(X, y).coef_
        with pytest.raises(ValueError, match=f"coefficients are in the range of {np.dtype(dtype)}, got coefficients beyond"):
            model.fit((X * unit).astype(dtype), y)
        assert model.coef_ is before


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
def test_other_dtypes(form, dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 200, (60, 3)).astype(dtype)
    X = np.column_stack([X, np.full(60, 250, dtype), X[:, 0]]).astype(dtype)
    check(form, X, rng.normal(size=60) * 1e-30 + 1)


def test_what_rounding_has_made_of_a_constant_is_one():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(7), 500)
    X = np.column_stack([shares.sum(axis=1), 1e-13 * rng.normal(size=500)])  # 1 but for an eps or two
    assert 0 < np.ptp(X[:, 0]) < 1e-15
    coef, _, rank = least_squares(X, X[:, 1])
    assert rank == 1
    np.testing.assert_allclose(coef, [0, 1], rtol=1e-12)


def test_a_column_that_varies_in_one_row():
    """However far from 0, and not what rounding makes."""
    X = np.full((1000, 1), 1e9)
    X[7] += 1
    y = np.zeros(1000)
    y[7] = 3
    coef, intercept, rank = least_squares(X, y)
    assert rank == 1 and coef[0] == pytest.approx(3, rel=1e-12) and intercept == pytest.approx(-3e9, rel=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_heavy_row_far_away_and_a_light_one(fit_intercept):
    """The row that all are moved by must not be an outlier that hardly weighs."""
    rng = np.random.default_rng(0)
    X, weight = 1 + 1e-6 * rng.normal(size=(50, 2)), np.ones(50)
    X[0], weight[0] = 1e9, 1e-40
    check("C", X, rng.normal(size=50), weight, fit_intercept)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_rows_of_weight_0_are_as_if_removed(form, fit_intercept):
    rng = np.random.default_rng(0)
    X, y, weight = rng.normal(size=(30, 3)) + 5, rng.normal(size=30), rng.integers(0, 3, 30).astype(float)
    X[:, 2] = np.where(weight > 0, 7.0, 1e300)  # a constant in the rows that count
    y[weight == 0] = 1e300
    got = fit(form, X, y, weight, fit_intercept=fit_intercept)
    kept = weight > 0
    wanted = fit(form, X[kept], y[kept], weight[kept], fit_intercept=fit_intercept)
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-12)
    assert got[1] == pytest.approx(wanted[1], rel=1e-12) and got[2] == wanted[2] == (2 if fit_intercept else 3)


def test_a_block_whose_rows_weigh_nothing_and_dask():
    rng = np.random.default_rng(0)
    X, y, weight = rng.normal(size=(40, 2)) * [1e-3, 1] + [1e6, 0], rng.normal(size=40), np.ones(40)
    X = np.column_stack([X, X[:, 0], np.full(40, 1.7e9)])
    weight[10:20] = 0
    X[10:20], y[10:20] = 1e300, -1e300
    kept = weight > 0
    wanted = LinearRegression().fit(X[kept], y[kept])
    for data in ((Blocks(cut([10] * 4, X, y, weight)).source,), tuple(da.from_array(a, chunks=(10, -1)[: a.ndim]) for a in (X, y, weight))):
        got = LinearRegression().fit(*data)
        np.testing.assert_allclose(got.predict(X[kept]), wanted.predict(X[kept]), rtol=1e-10, atol=1e-7)
        assert got.rank_ == wanted.rank_ == 2
