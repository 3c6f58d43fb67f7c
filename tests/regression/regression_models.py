"""What the tests of `nbgrad.regression` share: the models by their definitions, and examples."""

import numpy as np
import pytest

from nbgrad import regression

MODELS = ("linear", "logistic", "logistic_mse", "softmax", "poisson", "gamma", "huber", "quantile")
LABELS = ("softmax", "logistic", "logistic_mse")
models = pytest.mark.parametrize("model", MODELS)


def value_and_grad(model):
    return getattr(regression, model + "_value_and_grad")


def sums(model):
    return getattr(regression, model + "_sums")


def losses(model, params, X, y, *, fit_intercept=True, x_scale=1.0):
    """The loss of each row as the definition says, in long double."""
    params, X = np.asarray(params, np.longdouble), np.asarray(X, np.longdouble) * x_scale
    X = np.column_stack([X, np.ones(len(X), np.longdouble)]) if fit_intercept else X
    scores = X @ params.T
    if model == "softmax":
        top = scores.max(axis=1)
        return np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top - scores[np.arange(len(y)), y]
    if model == "linear":
        return (scores - y) ** 2 / 2
    if model == "poisson":
        return np.exp(scores) - y * scores
    if model == "gamma":
        return scores + y * np.exp(-scores)
    if model == "huber":
        r = np.abs(y - scores)
        return np.where(r <= 1, r**2 / 2, r - 0.5)
    if model == "quantile":
        h = np.longdouble(0.1)
        return (y - scores) / 2 + h * np.logaddexp(0, (scores - y) / h)
    if model == "logistic":
        return np.logaddexp(0, np.where(y == 1, -scores, scores))
    return (1 / (1 + np.exp(-scores)) - y) ** 2


def reference(model, params, X, y, *, sample_weight=None, l2=0.0, fit_intercept=True, x_scale=1.0):
    loss = losses(model, params, X, y, fit_intercept=fit_intercept, x_scale=x_scale)
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
    w = np.asarray(params, np.longdouble)[..., : np.shape(X)[1]]
    return (weight * loss).sum() / weight.sum(dtype=np.longdouble) + l2 / 2 * (w * w).sum()


def example(model, n=200, features=5, classes=3, dtype=np.float64, seed=0):
    """The same of any size."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features)).astype(dtype)
    shape = (classes, features + 1) if model == "softmax" else (features + 1,)
    params = rng.normal(size=shape).astype(dtype)
    if model in ("poisson", "gamma"):
        params /= 2  # whose exponentials are a mean
    return params, X, targets(model, n, rng, classes).astype(np.int64 if model in LABELS else dtype)


def targets(model, n, rng, classes=3):
    """What the model may be given: labels, counts, sizes, numbers."""
    if model in LABELS:
        return rng.integers(0, classes if model == "softmax" else 2, n)
    return {"poisson": rng.poisson(2.0, n), "gamma": rng.gamma(2.0, 1.0, n) + 0.1}.get(model, rng.normal(size=n))


def cut(sizes, *arrays):
    """The arrays in blocks of so many rows."""
    ends = np.cumsum(sizes)
    return [tuple(a[stop - size : stop] for a in arrays) for size, stop in zip(sizes, ends, strict=True)]


def same(a, b, rtol):
    """Two (value, grad) or (loss, grad, weight) agree; rtol is relative to the largest entry of each part."""
    for x, y in zip(a, b, strict=True):
        assert np.shape(x) == np.shape(y)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * float(np.max(np.abs(y), initial=0)))
