"""Hessian-vector products against finite differences of the gradients, and what scipy does with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression_models import example, models, value_and_grad
from scipy import sparse
from scipy.optimize import minimize
from test_objectives import problems

from nbgrad import regression
from nbgrad.regression import Problem
from nbgrad.regression.passes import one_pass
from nbgrad.testing import GradientError, check_hessp, check_objective


def hessp(model):
    return getattr(regression, model + "_hessp")


@models
@given(st.data())
def test_values_gradients_and_products(model, data):
    params, X, y, options = data.draw(problems(model, max_side=2))
    value = value_and_grad(model)
    for check, functions in (
        (check_objective, (lambda p: value(p, X, y, **options),)),
        (check_hessp, (lambda p: value(p, X, y, **options)[1], lambda p, v: hessp(model)(p, v, X, y, **options))),
    ):
        try:
            check(*functions, params, strict=True)
        except GradientError as error:  # what is drawn may have slopes of 1e-146, which no digit shows: no fault
            # (where all digits stay the same, as quantile's slope for X of 1e-38, they show a constant)
            assert error.verdict == "unconfirmed" or (error.reference == 0 and abs(error.value) < 1e-60), error


@models
@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sparse.csr_array, lambda X: X.astype(np.uint8)])
def test_the_operator_keeps_and_the_product_does_not(model, kind, monkeypatch):
    """First and later products, products anew, and the whole Hessian are one; over blocks, ranges and pieces, too."""
    monkeypatch.setattr(one_pass, "RANGE_WORK", 500)
    monkeypatch.setattr(one_pass, "PIECE_BYTES", 2000)
    params, X, y = example(model, 333, 6)
    X = kind(np.abs(3 * X))
    weight = np.random.default_rng(2).random(333)
    options = {"sample_weight": weight, "l2": 0.3, "x_scale": 0.5}
    operator = Problem(model, X, y, **options).hessian(params)
    whole = getattr(regression, model + "_hessian")(params, X, y, **options)
    rng = np.random.default_rng(1)
    for _ in range(3):
        v = rng.normal(size=params.shape)
        product = hessp(model)(params, v, X, y, **options)
        np.testing.assert_allclose(operator @ v.ravel(), product.ravel(), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(whole @ v.ravel(), product.ravel(), rtol=1e-11, atol=1e-12)
    assert (whole == whole.T).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sure_classes_keep_their_digits(dtype):
    """p∘(u − Σ p·u) of p = (1 − e, e): to first order e·(u₁ − u₂), −e·(u₁ − u₂), where 1 − e rounds to 1."""
    score = dtype(30 if dtype == np.float32 else 60)
    params, v = np.array([[score], [0]], dtype), np.array([[3], [1]], dtype)
    product = regression.softmax_hessp(params, v, np.array([[1]], dtype), np.array([0]), fit_intercept=False)
    e = np.exp(-np.longdouble(score))
    np.testing.assert_allclose(product[:, 0], [2 * e, -2 * e], rtol=8 * np.finfo(dtype).eps)


@models
def test_a_row_of_weight_0_is_absent(model):
    params, X, y = example(model, 20)
    X[3] = 1e308  # its scores overflow
    v, weight = np.ones_like(params), (np.arange(20) != 3).astype(float)
    got = hessp(model)(params, v, X, y, sample_weight=weight)
    np.testing.assert_allclose(got, hessp(model)(params, v, np.delete(X, 3, 0), np.delete(y, 3)), rtol=1e-12)


@pytest.mark.parametrize("model", ["logistic", "softmax"])
def test_scipy_takes_them_as_they_are(model):
    params, X, y = example(model, 300, 3)
    options = {"method": "trust-ncg", "jac": True, "args": (X, y)}
    start = 0.0 * params.ravel()
    found = minimize(value_and_grad(model), start, hessp=hessp(model), options={"gtol": 1e-8}, **options)
    assert found.success and np.abs(found.jac).max() < 1e-8
    whole = minimize(value_and_grad(model), start, hess=getattr(regression, model + "_hessian"), **options)
    assert whole.fun == pytest.approx(found.fun, rel=1e-9)


@pytest.mark.parametrize(("v", "message"), [(np.zeros(2), r"v: expected params' shape \(3,\), got \(2,\)"), (np.zeros(3) * 1j, "v: .*complex128")])
def test_errors_name_the_direction(v, message):
    with pytest.raises((ValueError, TypeError), match="^" + message):
        regression.logistic_hessp(np.zeros(3), v, np.zeros((4, 2)), np.zeros(4))
