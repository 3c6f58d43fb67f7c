"""Whatever the caller told NumPy to do about floating-point errors (`numpy.errstate`), none of them comes out of nbgrad:
inf, nan, 0 and subnormal numbers are results.
"""

import contextlib
import warnings

import hypothesis
import numpy as np
import pytest

import nbgrad
from nbgrad import functional, kernels, nn, optim, regression, tensor
from nbgrad.datasets import load_digits
from nbgrad.formulas.table import OPS

# Products of two of them, their exponentials, quotients and logarithms overflow, underflow, are undefined.
EXTREME = [0.0, -0.0, 1.0, -3.5, 1e-30, -1e-38, 1e-44, 700.0, -90.0, 3e38, -2e38, np.inf, -np.inf, np.nan]
DTYPES = [np.float32, np.float64]


@contextlib.contextmanager
def strict(state):
    """NumPy raises, or warns and Python makes an error of the warning."""
    with np.errstate(all=state), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(params=["raise", "warn"], autouse=True)
def state(request):
    with strict(request.param):
        yield request.param


def values(dtype, *shape):
    """Extreme numbers; in float64 the same and those of its own range."""
    with np.errstate(all="ignore"):
        a = np.array(EXTREME if dtype == np.float32 else [*EXTREME, 1e-310, 1e300, -1e308, 1e-200], dtype)
    return np.resize(a, shape) if shape else a


LOSSES = ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits")


def forms(x):
    """The same numbers in the layouts and kinds that take different ways through a kernel."""
    yield x
    yield x[::2]
    yield np.asfortranarray(np.resize(x, (3, 4)))
    yield x.astype(x.dtype.newbyteorder())
    yield x[3]
    yield from (x[4].item(), x.tolist(), [1, 2], np.arange(-2, 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPS)
def test_activations(name, dtype):
    op = OPS[name]
    if not hasattr(kernels, name) or name in LOSSES:
        return
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
    x = values(dtype)
    for a in forms(x):
        forward(a), backward(a, a), backward(1e-30, a), backward(np.float32(1e-38), a)
    forward(x, out=np.empty_like(x)), forward(x, out=np.empty((x.size, 2), x.dtype)[:, 0])
    for parameter in op.parameters:
        for number in (1e-300, 1e-44, 1e-30, 3e38, np.float32(1e-40), 1):
            forward(x, **{parameter: number}), backward(x, x, **{parameter: number})


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_and_losses(dtype):
    x, labels = values(dtype, 6, 5), np.arange(6) % 5
    for f in ("softmax", "log_softmax", "logsumexp"):
        for axis in (0, 1):
            y = getattr(kernels, f)(x, axis=axis)
            getattr(kernels, f + "_backward")(y, x, axis=axis)
        getattr(kernels, f)(x.T, axis=0), getattr(kernels, f)(x[:, :0], axis=0), getattr(kernels, f)([1e308, 1])
    kernels.maxout_backward(*kernels.maxout(x[:, :4], 2, axis=1), 2, axis=1)
    weights = np.array([0, 1e-30, 1e30, 0, 1e-44, 2], dtype)
    for reduction in ("mean", "sum", "none"):
        for f in LOSSES:
            for other in (x, x[::-1], 1e-30):
                with contextlib.suppress(ValueError):  # a target outside [0, 1]
                    getattr(kernels, f)(x, other, reduction=reduction)
                    getattr(kernels, f + "_value_and_grad")(x, other, reduction=reduction)
        for f in ("cross_entropy", "nll_loss"):
            getattr(kernels, f)(x, labels, reduction=reduction)
        for few in (x, x[:0]):
            kernels.cross_entropy(few, labels[: len(few)], reduction=reduction)
            kernels.cross_entropy(few, labels[: len(few)], weight=weights[:5], reduction=reduction)
            if reduction != "none":
                kernels.cross_entropy_value_and_grad(few, labels[: len(few)], reduction=reduction)
        kernels.mse_loss(x[:0], x[:0], reduction=reduction)
    for f in (kernels.cross_entropy_value_and_grad, kernels.nll_loss_value_and_grad):
        f(x, labels, weight=np.zeros(5, dtype)), f(x, labels, weight=weights[:5])
    kernels.cross_entropy_value_and_grad(x, labels, label_smoothing=1e-30)


def test_sums_beyond_float32():
    x, y = np.full((4, 2), 2e38, np.float32), np.zeros((4, 2), np.float32)
    x[:, 1] = 0
    labels = np.ones(4, np.int64)
    for reduction in ("mean", "sum"):
        for f in ("l1_loss", "mse_loss", "huber_loss", "binary_cross_entropy_with_logits"):
            getattr(kernels, f)(-x, y, reduction=reduction), getattr(kernels, f + "_value_and_grad")(x, y, reduction=reduction)
            t = tensor(x, requires_grad=True)
            getattr(functional, f)(t, tensor(y), reduction=reduction).backward()
        kernels.cross_entropy(x, labels, reduction=reduction), kernels.nll_loss(-x, labels * 0, reduction=reduction)
        kernels.cross_entropy(x, labels, reduction=reduction, weight=np.full(2, 1e30, np.float32))
        kernels.cross_entropy(x, np.full((4, 2), 0.5, np.float32), reduction=reduction)
        kernels.cross_entropy_value_and_grad(x, labels, reduction=reduction)
        kernels.nll_loss_value_and_grad(-x, labels * 0, reduction=reduction)


UNARY = [
    lambda t: -t, abs, lambda t: t.exp(), lambda t: t.log(), lambda t: t.sqrt(), lambda t: t.clip(-1e-30, 1e30),
    lambda t: t**2, lambda t: t**-1.5, lambda t: t**0.5, lambda t: 2.0**t, lambda t: 1e-30 / t, lambda t: t / 1e-30,
    lambda t: t.sum(), lambda t: t.mean(), lambda t: t.mean(axis=0), lambda t: t.max(), lambda t: t.min(axis=0)[0],
    lambda t: t[:0].mean(), lambda t: t * 1e-30 * 1e-30, lambda t: t.reshape(2, -1) @ t.reshape(-1, 2), lambda t: t[[0, 0, 5]],
    lambda t: (t * t).sum() * 1e30, lambda t: t.sum() / t.sum(), lambda t: t.clone() * (t > 1e-30), lambda t: t + 3e38,
    lambda t: nbgrad.cat([t, t * 1e-30]), lambda t: nbgrad.where(t > 0, t * 1e-30, t / 1e30), functional.softmax, functional.gelu,
    lambda t: nbgrad.maximum(t, t * 1e-30), lambda t: functional.mse_loss(t, t * 2),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", range(len(UNARY)))
def test_tensors(number, dtype):
    x = values(dtype)
    t = tensor(x, requires_grad=True)
    y = UNARY[number](t)
    for gradient in (y.numpy() if not y.requires_grad else y.detach().numpy(), np.full(y.shape, 1e-30, dtype)):
        t = tensor(x, requires_grad=True)
        z = UNARY[number](t)
        z.backward(tensor(np.asarray(gradient, z.dtype)))
        z = UNARY[number](t)
        z.backward(tensor(np.asarray(gradient, z.dtype)))  # added to what there is
        repr(t.grad)


def test_conversions():
    x = values(np.float64)
    t = tensor(x)
    t.to(np.float32).to(np.float64), repr(t), t.tolist()
    tensor([1e300, 1e-300, 1.0], dtype=np.float32), tensor([1e-44, 1e39])
    t = tensor(np.zeros(len(x), np.float32))
    t[...] = x
    t += 1e-44
    t *= 1e-30
    t /= tensor(np.resize(values(np.float32), len(x)))
    t[0] = 1e300
    assert float(tensor(1e-300)) == 0
    assert nbgrad.value_and_grad(lambda w: (w.exp() * 1e-30).sum())(values(np.float32))[0].dtype == np.float32


@pytest.mark.parametrize("make", [
    lambda p: optim.SGD(p, lr=1e-30), lambda p: optim.SGD(p, lr=1e-3, momentum=0.9, weight_decay=1e-40),
    lambda p: optim.Adam(p, lr=1e-50, eps=1e-46), lambda p: optim.Adam(p, betas=(1e-300, 1 - 1e-16), weight_decay=1e-46),
])  # fmt: skip
@pytest.mark.parametrize("dtype", DTYPES)
def test_networks_and_optimizers(make, dtype):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(5, 4, rng=rng), nn.Sigmoid(), nn.Dropout(0.5, rng=rng), nn.Linear(4, 5, rng=rng))
    optimizer = make(net.parameters())
    for scale in (1.0, 1e-30, 1e20, np.inf):
        for _ in range(3):
            optimizer.zero_grad()
            with np.errstate(all="ignore"):
                x = (values(np.float32, 6, 5) * np.float32(scale)).astype(dtype)
            functional.cross_entropy(net(tensor(x)), np.arange(6) % 5).backward()
            optimizer.step()
    net.load_state_dict(net.state_dict())
    optimizer.load_state_dict(optimizer.state_dict())


def problems():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    X[:, 1] *= 1e-170
    X[:, 2] *= 1e150
    X[:, 3] = 0
    y = (X[:, 0] > 0).astype(np.int64)  # separable: probabilities underflow
    return X, y


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "scaled-lbfgs"])
@pytest.mark.parametrize("kind", ["LogisticRegression", "SoftmaxRegression"])
def test_classifiers(kind, solver):
    X, y = problems()
    for C in (1.0, 1e200, 1e-300):
        for columns in ([0], [0, 1, 3], [0, 1, 2, 3]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", regression.ConvergenceWarning)
                model = getattr(nbgrad, kind)(C=C, solver=solver, max_iter=20)
                try:
                    model.fit(X[:, columns], y, sample_weight=np.where(y, 1e-200, 1.0))
                except ValueError as error:  # an error of our own
                    assert not isinstance(error, FloatingPointError)
                    continue
            for f in (model.predict, model.predict_proba, model.decision_function, model.predict_log_proba):
                f(X[:, columns] * 1e3)
            model.score(X[:, columns], y)


def test_linear_regression():
    X, y = problems()
    large = X[:, 2].copy()
    for l2 in (0.0, 1e-300, 1e300):
        for target in (X[:, 0], X[:, 0] * 1e-300, large, np.zeros(60)):
            for columns in ([0], [0, 1, 3], [0, 2]):
                model = nbgrad.LinearRegression(l2=l2)
                weight = np.where(y, 1e-200, 1.0)
                if target is large and 1 in columns and not l2:  # 1e150 by 1e-170: an error of our own
                    with pytest.raises(ValueError, match="X: expected numbers whose coefficients are in the range"):
                        model.fit(X[:, columns], target, sample_weight=weight)
                    continue
                model.fit(X[:, columns], target, sample_weight=weight)
                model.predict(X[:, columns] * 1e10)
                model.score(X[:, columns], target)


@pytest.mark.parametrize("name", [n for n in regression.__all__ if n in (*regression.objectives.__all__, *regression.hessians.__all__)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_objectives(name, dtype):
    X, y = values(dtype, 9, 3), np.arange(9) % 2
    for scale in (0.0, 1.0, 1e-200, 1e200):
        size = 2 * 4 if name.startswith("softmax") else 4
        w = np.full(size, scale)
        target = y * 1e-200 if name.startswith(("linear", "huber", "quantile")) else y + name.startswith("gamma")
        for data in (X, np.nan_to_num(X, posinf=1.0, neginf=1.0)):
            for options in ({}, {"l2": 1e-300}, {"sample_weight": np.zeros(9)}, {"sample_weight": np.full(9, 1e-200)}):
                arguments = (w, w, data, target) if "hessp" in name else (w, data, target)
                with contextlib.suppress(TypeError):  # not all take all
                    getattr(regression, name)(*arguments, **options)


def test_gradient_tests():
    from nbgrad import testing

    x = values(np.float32)[np.isfinite(values(np.float32))]
    testing.check_gradient(kernels.sigmoid, kernels.sigmoid_backward, x)
    testing.check_gradient(kernels.relu, kernels.relu_backward, x)
    testing.check_autograd(lambda t: functional.sigmoid(t) * 1e-30, tensor(x))
    wide = testing.array(dtype=np.float32, domain=(-1e300, 1e300))
    few = hypothesis.settings(max_examples=5, deadline=None)
    testing.gradient_test(kernels.tanh, kernels.tanh_backward, testing.array(), settings=few)()
    testing.gradient_test(kernels.relu, kernels.relu_backward, wide, settings=few)()
    X, y = problems()
    testing.check_objective(lambda w: regression.logistic_value_and_grad(w, X[:, :2], y), np.full(3, 1e-200))


def test_training(tmp_path):
    from nbgrad.training.loop import train

    digits = load_digits()
    assert digits.train_images.size
    train(out=tmp_path, epochs=1, progress=False)
