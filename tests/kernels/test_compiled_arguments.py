"""Every public kernel, called from Python and from a compiled function with the same arguments, good and bad: both refuse, naming the
argument, or both give the same.
"""

import functools
import re

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from nbgrad import kernels
from nbgrad.formulas.table import OPS

X = np.linspace(-2, 2, 6).reshape(2, 3)
F = X.astype(np.float32)
G = np.cos(X)
ZERO_D = np.array(0.5)
EMPTY = np.empty((0, 3))
LABELS = np.array([2, 0])
FROZEN = np.zeros((2, 3))
FROZEN.flags.writeable = False
VIEW = np.broadcast_to(np.zeros(3), (2, 3))
VIEW.flags.writeable = True
FROZEN_ROW = np.zeros(2)
FROZEN_ROW.flags.writeable = False
BACKWARD = ["grad_output", "x"]


@functools.cache
def _compiled(source):
    namespace = {"kernels": kernels}
    exec(source, namespace)
    return njit(namespace["f"])


def compiled(name, args, keywords):
    """The call inside a function that Numba compiles; strings, bools, None and tuples stand there as constants."""
    values, parts = [], []
    for key, value in [*((None, a) for a in args), *keywords.items()]:
        if isinstance(value, (str, bool, tuple)) or value is None:
            text = repr(value)
        else:
            text = f"a{len(values)}"
            values.append(value)
        parts.append(text if key is None else f"{key}={text}")
    names = ", ".join(f"a{k}" for k in range(len(values)))
    return _compiled(f"def f({names}): return kernels.{name}({', '.join(parts)})")(*values)


def outcome(function, error, args, keywords):
    copies = [a.copy() if isinstance(a, np.ndarray) and a.flags.writeable and a is not VIEW else a for a in args]
    named = {k: a.copy() if isinstance(a, np.ndarray) and a.flags.writeable and a is not VIEW else a for k, a in keywords.items()}
    try:
        return function(*copies, **named), None
    except error as refused:
        return None, str(refused)


def check(name, args, keywords, refused):
    """``refused``: the argument that both must name; None where both must give the same; "?" where they need only agree."""
    plain, plain_error = outcome(getattr(kernels, name), (TypeError, ValueError), args, keywords)
    value, error = outcome(lambda *a, **k: compiled(name, a, k), (TypingError, ValueError), args, keywords)
    label = f"{name}({args}, {keywords})"
    assert (plain_error is None) == (error is None), (label, plain_error, error)
    if plain_error is not None:
        assert refused is not None, (label, plain_error)
        argument = plain_error.partition(":")[0] if refused == "?" else refused
        assert plain_error.startswith(f"{argument}: expected"), (label, plain_error)
        assert re.search(rf"\b{argument}: expected", error), (label, error)
        return
    assert refused in (None, "?"), (label, plain)
    for a, b in zip(_flat(plain), _flat(value), strict=True):
        assert a.shape == b.shape and (a.dtype == b.dtype or a.ndim == 0), (label, a, b)  # Numba makes Python's floats of numbers
        eps = np.finfo(a.dtype).eps if a.dtype.kind == "f" else 0
        np.testing.assert_allclose(b, a, rtol=16 * eps, atol=eps, err_msg=label)


def _flat(value):
    return [np.asarray(v) for v in (value if isinstance(value, tuple) else (value,))]


OUTS = [  # for a result of X's shape
    ({"out": np.zeros((2, 3))}, None),
    ({"out": np.zeros((3, 2)).T}, None),
    ({"out": np.zeros((2, 3), np.int64)}, "out"),
    ({"out": np.zeros((2, 3), np.float32)}, "out"),
    ({"out": np.zeros((3, 2))}, "out"),
    ({"out": np.zeros(6)}, "out"),
    ({"out": np.array(0.0)}, "out"),
    ({"out": FROZEN}, "out"),
    ({"out": VIEW}, "out"),
    ({"out": 3.0}, "out"),
]


@pytest.mark.parametrize("name", OPS)
def test_activations(name):
    """The types of all; what needs machine code for each kind of array in a few, because all share it."""
    backward = name + "_backward"
    check(name, (X,), {"out": np.zeros((2, 3), np.int64)}, "out")
    check(backward, (G, X), {"out": np.zeros((2, 3), np.float32)}, "out")
    check(name, (1j,), {}, "x")
    check(backward, (1j, X), {}, "grad_output")
    check(backward, (G, np.array([1j])), {}, "x")
    for parameter in OPS[name].parameters:
        for wrong in (1j, None, True, np.ones(3), np.array(True)):
            check(name, (X,), {parameter: wrong}, parameter)
            check(backward, (G, X), {parameter: wrong}, parameter)
        check(name, (np.float32(1),), {parameter: 1e300}, parameter)


def test_activations_in_all_ways():
    """One stands for all, whose code is made of the table."""
    name, backward = "elu", "elu_backward"
    for keywords, refused in OUTS:
        check(name, (X,), keywords, refused)
    for keywords, refused in OUTS[:2] + OUTS[4:8]:
        check(backward, (G, X), keywords, refused)
    for x in (F, EMPTY, 2, np.float32(0.5), np.array([True, False]), ZERO_D, X.T):
        check(name, (x,), {}, None)
    for g, x in ((G[:, :1], X[0]), (1.5, F), (ZERO_D, X), (G, ZERO_D), (1.5, ZERO_D), (2, 3)):
        check(backward, (g, x), {}, None)
    check(backward, (np.zeros(4), X), {}, "grad_output")
    check(backward, (np.zeros((2, 2)), X), {}, "grad_output")
    check(name, (1.5,), {"out": np.array(0.0)}, None)
    check(backward, (ZERO_D, 1.5), {"out": np.array(0.0)}, None)
    check(name, (1.5,), {"out": np.zeros(1)}, "out")
    for alpha in (ZERO_D, np.array(2), np.array(0.3, np.float32)):
        check(name, (X,), {"alpha": alpha}, None)
        check(backward, (G, F), {"alpha": alpha}, None)
    check(name, (F,), {"alpha": np.array(1e300)}, "alpha")
    for wrong in ("x", None):
        check(name, (wrong,), {}, "x")


def test_gelu_by_name():
    for f, args in (("gelu", (X,)), ("gelu_backward", (G, X)), ("gelu", (0.5,))):
        check(f, args, {"approximate": "tanh"}, None)
        check(f, args, {"approximate": "none"}, None)
        for wrong in ("erf", None, True):
            check(f, args, {"approximate": wrong}, "approximate")


AXES = [
    ({}, None), ({"axis": 0}, None), ({"axis": None}, None), ({"axis": (0, 1)}, None), ({"axis": (1,)}, None), ({"axis": ()}, None),
    ({"axis": 2}, "axis"), ({"axis": -3}, "axis"), ({"axis": (0, 2)}, "axis"), ({"axis": (0, -2)}, "axis"), ({"axis": 1.0}, "axis"),
    ({"axis": True}, "axis"), ({"axis": (0, 1.0)}, "axis"), ({"axis": "0"}, "axis"), ({"axis": np.array([0])}, "axis"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmaxes(name):
    Y = getattr(kernels, name)(X)
    whole = name == "softmax"
    for keywords, refused in AXES if whole else AXES[:1] + AXES[6:7]:
        check(name, (X,), keywords, refused)
    for keywords, refused in AXES[2:4] + AXES[10:12] if whole else AXES[:1]:
        check(name + "_backward", (G, Y), keywords, refused)
    for keywords, refused in OUTS[1:5] if whole else OUTS[2:3]:
        check(name, (X,), keywords, refused)
        check(name + "_backward", (G, Y), keywords, refused)
    check(name, (1j,), {}, "x")
    for g, refused in ((G[0], None), (np.zeros(4), "grad_output"), (np.zeros((1, 2, 3)), "grad_output"), (1j, "grad_output")):
        check(name + "_backward", (g, Y), {}, refused)
    if whole:
        for number in (ZERO_D, 1.5):
            check(name, (number,), {}, "axis")
            check(name, (number,), {"axis": None}, None)
        cube = np.sin(np.arange(24.0)).reshape(2, 3, 4)
        check(name, (cube,), {"axis": (2, 0)}, None)
        check(name, (np.empty((2, 0), np.float32),), {}, None)


def test_logsumexp():
    cube = np.sin(np.arange(24.0)).reshape(2, 3, 4)
    for x, keywords in (
        (X, {}), (X[0], {}), (X, {"axis": None}), (X, {"axis": (0, 1), "keepdims": True}), (cube, {"axis": 1}), (cube, {"axis": (2, 0)}),
        (cube, {"axis": -1, "keepdims": True}), (ZERO_D, {"axis": None}), (1.5, {"axis": ()}),
    ):  # fmt: skip
        check("logsumexp", (x,), keywords, None)
        check("logsumexp_backward", (np.cos(kernels.logsumexp(x, **keywords)), x), keywords, None)
    for keywords, refused in AXES[9:13]:
        check("logsumexp", (X,), keywords, refused)
        check("logsumexp_backward", (1.0, X), keywords, refused)
    check("logsumexp", (1.5,), {}, "axis")
    for wrong in ("yes", None, 1):
        check("logsumexp", (X,), {"keepdims": wrong}, "keepdims")
    check("logsumexp", (X[0],), {"out": np.array(0.0)}, None)
    for out, refused in ((np.zeros(2), None), (np.zeros(3), "out"), (np.zeros(2, int), "out"), (np.array(0.0), "out"), (FROZEN_ROW, "out")):
        check("logsumexp", (X,), {"out": out}, refused)
    for keywords, refused in OUTS[2:5]:
        check("logsumexp_backward", (1.0, X), keywords, refused)
    check("logsumexp_backward", (np.zeros(3), X), {}, "grad_output")
    check("logsumexp_backward", (np.zeros((2, 3)), X), {}, "grad_output")
    check("logsumexp", (np.empty((2, 0)),), {}, None)
    check("logsumexp", (1j,), {}, "x")


def test_maxout():
    line = np.array([3.0, 1.0, 2.0, 5.0])
    index = np.array([0, 1])
    for pieces, refused in (
        (2, None),
        (np.int8(2), None),
        (3, "num_pieces"),
        (0, "num_pieces"),
        (-1, "num_pieces"),
        (2.0, "num_pieces"),
        (True, "num_pieces"),
        ("2", "num_pieces"),
        (None, "num_pieces"),
    ):
        check("maxout", (line, pieces), {}, refused)
        if pieces != 3:
            check("maxout_backward", (line[:2], index, pieces), {}, refused)
    for axis, refused in ((1, "axis"), (1.0, "axis"), (None, "axis"), ((0,), "axis"), (True, "axis")):
        check("maxout", (line, 2), {"axis": axis}, refused)
        check("maxout_backward", (line[:2], index, 2), {"axis": axis}, refused)
    check("maxout", (ZERO_D, 1), {}, "axis")
    check("maxout", (1.5, 1), {}, "axis")
    check("maxout", (1j, 2), {}, "x")
    check("maxout", (np.empty(0), 2), {}, None)
    for out, refused in ((np.zeros(2), None), (np.zeros(3), "out"), (np.zeros(2, int), "out"), (FROZEN_ROW, "out")):
        check("maxout", (line, 2), {"out": out}, refused)
    for out, refused in ((np.zeros(2, np.intp), None), (np.zeros(2), "index_out"), (np.zeros(3, np.intp), "index_out")):
        check("maxout", (line, 2), {"index_out": out}, refused)
    for bad in (np.array([0, 2]), np.array([-1, 0]), np.array([0.0, 1.0]), np.array([True, False]), np.array([0]), np.array([[0, 1]])):
        check("maxout_backward", (line[:2], bad, 2), {}, "index")
    check("maxout_backward", (1j, index, 2), {}, "grad_output")
    for out, refused in ((np.zeros(4), None), (np.zeros(2), "out"), (np.zeros(4, np.float32), "out")):
        check("maxout_backward", (line[:2], index, 2), {"out": out}, refused)


LOSSES = {"mse_loss": "input", "l1_loss": "input", "huber_loss": "input", "binary_cross_entropy_with_logits": "logits"}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    both, t = (name, name + "_value_and_grad"), np.full((2, 3), 0.25)
    for f in both:
        check(f, (X, t), {}, None)
        for wrong in ("max", None, True):
            check(f, (X, t), {"reduction": wrong}, "reduction")
        check(f, (1j, t), {}, LOSSES[name])
        for bad in (1j, None, np.zeros((1, 2, 3))):
            check(f, (X, bad), {}, "target")
        check(f, (X, t), {"out": np.zeros((2, 3))}, "out")
        check(f, (X, t), {"out": np.zeros((2, 3), int), "reduction": "none"}, "out")
    check(both[1], (X, t), {"grad_out": np.zeros((2, 3), int)}, "grad_out")


def test_losses_in_all_ways():
    """One stands for all, whose code is made of the table."""
    both, t = ("mse_loss", "mse_loss_value_and_grad"), np.full((2, 3), 0.25)
    for reduction in ("sum", "none"):
        check(both[1], (X, t), {"reduction": reduction}, None)
    for x, target in ((1.5, 0.25), (ZERO_D, ZERO_D), (X, t[0]), (X, 1), (F, t), (EMPTY, 0.5), (np.arange(3), 0.5)):
        check(both[1], (x, target), {}, None)
    check(both[0], (ZERO_D, 0.25), {"reduction": "none"}, None)
    check(both[0], (1.5, t), {}, "target")
    check(both[0], (X, np.zeros(2)), {}, "target")
    for keywords, refused in OUTS:
        check(both[0], (X, t), {**keywords, "reduction": "none"}, refused)
    for keywords, refused in OUTS[:1] + OUTS[4:9]:
        check(both[1], (X, t), {"grad_out": keywords["out"]}, refused and "grad_out")


def test_parameters_of_losses():
    t = np.full((2, 3), 0.25)
    for f in ("huber_loss", "huber_loss_value_and_grad"):
        for delta in (-1, np.int64(0), -1.5, np.nan, np.float32(-1), True, None, "1", 1j, np.ones(3), np.array(-1.0), np.array(True)):
            check(f, (X, t), {"delta": delta}, "delta")
        for delta in (2, np.float32(0.5), np.inf, ZERO_D):
            check(f, (X, t), {"delta": delta}, None)
    check(f, (F, t), {"delta": 1e300}, "delta")
    for f in ("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits_value_and_grad"):
        for key in ("weight", "pos_weight"):
            for good in (None, 2, np.array([1.0, 2.0, 0.5]), ZERO_D)[slice(None) if f.endswith("grad") else slice(1)]:
                check(f, (X, t), {key: good}, None)
            for bad in (1j, "1", np.zeros((2, 2, 3))):
                check(f, (X, t), {key: bad}, key)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_losses_of_labels(name):
    x, grad = np.log(kernels.softmax(X)), name + "_value_and_grad"
    for f in (name, grad):
        check(f, (x, LABELS), {}, None)
        for bad in (np.array([0.0, 1.0]), np.array([True, False]), np.array([[0, 1]]), 1, 1j, None, "0"):
            check(f, (x, bad), {}, "target")
        for bad in (1.0, True, "1", None):
            check(f, (x, LABELS), {"ignore_index": bad}, "ignore_index")
        for bad in (np.ones((3, 1)), 1.0, 1j, "1", ZERO_D):
            check(f, (x, LABELS), {"weight": bad}, "weight")
        for bad in (1j, 1.5, ZERO_D):
            check(f, (bad, LABELS), {}, "?")
        check(f, (x, LABELS), {"reduction": "max"}, "reduction")
        check(f, (x, LABELS), {"out": np.zeros(2)}, "out")
        for out in (np.zeros(2, int), FROZEN_ROW, np.array(0.0)):
            check(f, (x, LABELS), {"out": out, "reduction": "none"}, "out")
    check(grad, (x, LABELS), {"grad_out": np.zeros((2, 3), int)}, "grad_out")
    for labels in ([3, 0], [-1, 0], [0, -100], [0]):
        check(name, (x, np.array(labels)), {}, None if -100 in labels else "target")
    for large in (2**64 - 100, 2**63):
        check(name, (x, np.array([large, 0], np.uint64)), {}, "target")
    check(name, (x, LABELS), {"ignore_index": np.uint64(2**63)}, "ignore_index")
    check(name, (x, LABELS), {"weight": np.ones(2)}, "weight")
    check(name, (x, LABELS), {"weight": np.array([1.0, 2.0, 0.5])}, None)
    check(name, (np.empty((2, 0)), LABELS), {}, "log_probs" if name == "nll_loss" else "logits")
    check(name, (x[0], 2), {"reduction": "none"}, None)
    check(name, (x[0], 2), {"reduction": "none", "out": np.array(0.0)}, None)
    check(name, (x[0], np.array(2)), {}, None)
    check(name, (x, LABELS), {"reduction": "none", "out": np.zeros(3)}, "out")
    check(name, (np.empty((0, 3)), np.empty(0, int)), {}, None)
    check(grad, (np.stack([x, x], 2), np.array([[0, 1], [2, 0]])), {"reduction": "none"}, None)
    check(grad, (x, LABELS), {"grad_out": np.zeros((3, 2))}, "grad_out")


def test_smoothing_and_probabilities():
    q = kernels.softmax(G)
    for f in ("cross_entropy", "cross_entropy_value_and_grad"):
        for smoothing, refused in (
            (0.3, None),
            (ZERO_D, None),
            *((v, "label_smoothing") for v in (-0.1, 1.5, np.nan, True, None, "0", 1j, np.array(2.0), np.array(True))),
        ):
            check(f, (X, LABELS), {"label_smoothing": smoothing}, refused)
        check(f, (X, q), {}, None)
        check(f, (X, q[0]), {}, "target")
        check(f, (X, np.zeros((2, 3), int)), {}, "target")
    check("cross_entropy", (X, LABELS), {"label_smoothing": np.int64(2)}, "label_smoothing")
    check("cross_entropy", (X, q[:, :2]), {}, "target")
    check("cross_entropy", (X[0], q[0]), {"label_smoothing": 0.25, "reduction": "none"}, None)


def test_every_public_kernel_is_walked():
    walked = {*OPS, *(name + "_backward" for name in OPS)}
    walked |= {"softmax", "softmax_backward", "log_softmax", "log_softmax_backward", "logsumexp", "logsumexp_backward", "maxout", "maxout_backward"}
    for loss in (*LOSSES, "cross_entropy", "nll_loss"):
        walked |= {loss, loss + "_value_and_grad"}
    assert walked == set(kernels.__all__)
