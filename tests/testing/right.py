"""Right functions, each with the specs of its arguments: nbgrad's from its tables, and those beside the planted faults.

`RIGHT` maps a name to a function of hypothesis settings that makes and runs the property.
"""

from __future__ import annotations

import functools
import inspect
import sys
from pathlib import Path

import numpy as np
from faults import FAULTS
from hypothesis import strategies as st

from nbgrad import kernels, regression
from nbgrad.cpu import elementwise as cpu
from nbgrad.formulas.table import LOSSES, OPS, PUBLIC_LOSSES, ROW_FUNCTIONS
from nbgrad.testing import array, labels, simplex
from nbgrad.testing import gradient_test as tolerant_test

sys.path.append(str(Path(__file__).parent.parent))
from reference import exact  # noqa: E402

DTYPES = (np.float32, np.float64)
gradient_test = functools.partial(tolerant_test, strict=True)


def in_mpmath(formula, *parameters):
    """A formula of nbgrad as a function of arrays of mpmath's numbers, without a rounding error."""
    function = np.frompyfunc(exact(formula), 1 + len(parameters), 1)
    return lambda x: function(x, *map(float, parameters))


def activation(op, dtype, parameters=None, shape=None):
    """The property of one row of `nbgrad.formulas.table.OPS`: its public kernels."""
    values = tuple(op.parameters.values()) if parameters is None else parameters
    forward, backward = getattr(kernels, op.name), getattr(kernels, op.name + "_backward")
    kinks = tuple(float(k) for k in op.kinks_at(*values))
    keywords = dict(zip(op.parameters, values, strict=True))
    exact_values = [dtype(v) for v in values]
    return functools.partial(
        gradient_test,
        named(op.name, lambda x, out=None: forward(x, **keywords, out=out)),
        named(op.name + "_backward", lambda g, x, out=None: backward(g, x, **keywords, out=out)),
        array(shape, dtype, kinks=kinks),
        reference=in_mpmath(op.forward, *exact_values),
    )


def elementwise_loss(op, dtype, parameters=None):
    """The property of one row of `nbgrad.formulas.table.LOSSES`, a function of input and target, in the input."""
    values = tuple(dtype(v) for v in (op.parameters.values() if parameters is None else parameters))

    def run(derivative, x, target):
        x, target = (np.ascontiguousarray(a) for a in (x, target))
        out = np.empty(x.shape, x.dtype)
        cpu.loss(op, derivative).serial(x, target, out, *(x.dtype.type(v) for v in values))
        return out

    def forward(x, target):
        return run(False, x, target)

    def backward(g, x, target):
        return g * run(True, x, target), None

    target = _targets(op, (5,), dtype)
    return functools.partial(gradient_test, forward, backward, array(5, dtype, (-1000.0, 1000.0)), target)


def _targets(op, shape, dtype):
    low, high = op.targets
    return simplex(shape, dtype) if op.targets == (0.0, 1.0) else array(shape, dtype, (max(low, -100.0), min(high, 100.0)))


def public_loss(name, dtype, reduction):
    value_and_grad = getattr(kernels, name + "_value_and_grad")

    def forward(x, target):
        return getattr(kernels, name)(x, target, reduction=reduction)

    def backward(g, x, target):
        gradient = value_and_grad(x, target, reduction=reduction)[1]
        return (g[:, None] if gradient.ndim > np.ndim(g) > 0 else g) * gradient, None

    shape = (2, 3)
    classes = {"cross_entropy": labels((2,), 3), "nll_loss": labels((2,), 3)}
    target = classes.get(name, simplex(shape, dtype))
    if name in PUBLIC_LOSSES and PUBLIC_LOSSES[name].targets != (-np.inf, np.inf):
        target = _targets(PUBLIC_LOSSES[name], shape, dtype)
    return functools.partial(gradient_test, forward, backward, array(shape, dtype, (-200.0, 200.0)), target)


def softmax_terms(g, x, axis):
    """What the sum y(g − Σ gy) is made of: its digits are lost with the rounding of y where a class is sure."""
    y = kernels.softmax(x, axis=axis)
    return y * (np.abs(g) + np.sum(np.abs(g) * y, axis=axis, keepdims=True))


def rowwise(name, dtype, axis):
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
    from_output = "y" in inspect.signature(backward).parameters

    def apply(x):
        return forward(x, axis=axis)

    def pull(g, x):
        return backward(g, forward(x, axis=axis) if from_output else x, axis=axis)

    terms = functools.partial(softmax_terms, axis=axis) if name == "softmax" else None
    return functools.partial(gradient_test, apply, pull, array((2, 3), dtype, (-1000.0, 1000.0)), terms=terms)


def maxout(dtype, pieces):
    def forward(x):
        return kernels.maxout(x, pieces)[0]

    def backward(g, x):
        return kernels.maxout_backward(g, kernels.maxout(x, pieces)[1], pieces)

    return functools.partial(gradient_test, forward, backward, array((2, 6), dtype))


def objective(model, dtype):
    """A regression objective in its parameters; rows, labels and options are fixed, as scipy.optimize has them."""
    f = getattr(regression, model + "_value_and_grad")
    rng = np.random.default_rng(3)
    X = rng.normal(size=(5, 2)).astype(dtype)
    y = {"linear": rng.normal(size=5), "softmax": rng.integers(0, 3, 5)}.get(model, rng.integers(0, 2, 5))
    y = y + (model == "gamma")  # whose targets are above 0
    options = {"l2": 0.5, "sample_weight": np.array([1.0, 2.0, 0.0, 0.5, 1.0])}

    def forward(params):
        return f(params, X, y, **options)[0]

    def backward(g, params):
        return g * f(params, X, y, **options)[1]

    def terms(g, params):
        """What the rows give, each alone: they may cancel, as the intercept's do where all classes are equally likely."""
        alone = [{**options, "sample_weight": np.where(np.arange(5) == i, 1.0, 0.0)} for i in (0, 1, 3, 4)]
        return (np.abs(g) * sum(np.abs(f(params, X, y, **row)[1]) for row in alone)).astype(params.dtype)

    spec = array(9 if model == "softmax" else 3, dtype, (-20.0, 20.0))
    needed = terms if (model, dtype) == ("softmax", np.float32) else None
    return functools.partial(gradient_test, forward, backward, spec, terms=needed)


def named(name, function):
    function.__name__ = name
    return function


OBJECTIVES = sorted(n.removesuffix("_value_and_grad") for n in regression.__all__ if n.endswith("_value_and_grad"))
WITH_GRADIENT = sorted(n.removesuffix("_value_and_grad") for n in kernels.__all__ if n.endswith("_value_and_grad"))
ROWWISE = (*ROW_FUNCTIONS, "logsumexp")


def name_of(dtype):
    return np.dtype(dtype).name


def _others(op):
    return tuple(0.5 * (i + 1) * (-1) ** (i + 1 if "hardtanh" in op.name else 0) for i in range(len(op.parameters)))


NBGRAD = {}
for d in DTYPES:
    for op in OPS.values():
        NBGRAD[f"{op.name} {name_of(d)}"] = activation(op, d)
        if op.parameters:
            NBGRAD[f"{op.name} {name_of(d)}, other parameters"] = activation(op, d, _others(op))
    for op in LOSSES.values():
        NBGRAD[f"{op.name} {name_of(d)}"] = elementwise_loss(op, d)
    for name in WITH_GRADIENT:
        NBGRAD[f"kernels.{name} {name_of(d)}"] = public_loss(name, d, "mean")
        NBGRAD[f"kernels.{name} {name_of(d)}, none"] = public_loss(name, d, "none")
    for name in ROWWISE:
        for axis in (-1, 0):
            NBGRAD[f"{name} {name_of(d)}, axis {axis}"] = rowwise(name, d, axis)
    NBGRAD[f"maxout {name_of(d)}"] = maxout(d, 3)
    for model in OBJECTIVES:
        NBGRAD[f"{model} regression {name_of(d)}"] = objective(model, d)

OTHERS = {
    f"right: {f.name}": functools.partial(gradient_test, f.forward, f.right, *f.specs, **f.keywords) for f in FAULTS
} | {
    "sqrt": functools.partial(gradient_test, np.sqrt, lambda g, x: g / 2 / np.sqrt(x), array(3, domain=(0.0, np.inf))),
    "log": functools.partial(gradient_test, np.log, lambda g, x: g / x, array(3, domain=(0.0, np.inf))),
    "log float32": functools.partial(gradient_test, np.log, lambda g, x: g / x, array(3, np.float32, domain=(0.0, np.inf))),
    "log1p": functools.partial(gradient_test, np.log1p, lambda g, x: g / (1 + x), array(3, domain=(-1.0, np.inf))),
    "log(1 + x)": functools.partial(gradient_test, lambda x: np.log(1 + x), lambda g, x: g / (1 + x), array(3, domain=(0.0, 1e9))),
    "log(1 + exp(x))": functools.partial(gradient_test, lambda x: np.log(1 + np.exp(x)), lambda g, x: g / (1 + np.exp(-x)), array(3, domain=(-700.0, 700.0))),
    "reciprocal": functools.partial(gradient_test, lambda x: 1 / x, lambda g, x: -g / x / x, array(3)),
    "arctan": functools.partial(gradient_test, np.arctan, lambda g, x: g / (1 + x * x), array(3, domain=(-1e100, 1e100))),
    "sin(1000 x)": functools.partial(gradient_test, lambda x: np.sin(1000 * x), lambda g, x: 1000 * g * np.cos(1000 * x), array(3, domain=(-1e9, 1e9))),
    "prod": functools.partial(gradient_test, np.prod, lambda g, x: g * np.array([np.prod(np.delete(x, i)) for i in range(x.size)]), array(st.integers(1, 4), domain=(-100.0, 100.0))),
    "range": functools.partial(gradient_test, np.ptp, lambda g, x: g * (np.eye(x.size)[np.argmax(x)] - np.eye(x.size)[np.argmin(x)]), array(4, domain=(-100.0, 100.0))),
    "weighted relu": functools.partial(gradient_test, lambda x: np.sum(W * np.maximum(x, 0)), lambda g, x: g * W * (x > 0), array(8, domain=(-100.0, 100.0))),
}  # fmt: skip
W = np.array([1.0, -2.0, 3.0, -4.0, 0.5, -0.5, 1.5, -1.0])

RIGHT = NBGRAD | OTHERS
