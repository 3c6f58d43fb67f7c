"""Loss and gradient of the regression models, Hessian products and whole fits, against PyTorch and scikit-learn.

Milliseconds a call, and the ratio round by round. Beside them what reading X once takes (its sum), on one thread or on
all, whatever is faster, in the same rounds: no pass can be faster. Fits go to the objective value at which
scikit-learn's solver stops.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

from bench.method import interleaved, machine, optional, table
from nbgrad import datasets
from nbgrad.regression import Problem, logistic_hessp, objectives, softmax_hessp
from nbgrad.threads import spread

#: (model, rows, features, classes)
PASSES = (
    ("softmax", 60_000, 784, 10),
    ("softmax", 1_000_000, 30, 3),
    ("softmax", 20_000, 2000, 100),
    ("logistic", 60_000, 784, 1),
    ("logistic", 500_000, 100, 1),
    ("logistic", 2_000_000, 30, 1),
)

Calls = dict[str, Callable[[], Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--only", nargs="*", choices=["passes", "hessians", "fits", "first"])


def drawn(model: str, n: int, features: int, classes: int) -> tuple[Any, Any, Any]:
    """(params, X, y), float32"""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, features), dtype=np.float32)
    if model == "softmax":
        params = (rng.standard_normal((classes, features + 1)) * 0.03).astype(np.float32)
        return params, X, rng.integers(0, classes, n)
    return (rng.standard_normal(features + 1) * 0.03).astype(np.float32), X, rng.integers(0, 2, n).astype(np.float32)


def _torch_call(torch: Any, model: str, params: Any, X: Any, y: Any) -> Callable[[], Any]:
    w, x, target = torch.from_numpy(params.copy()), torch.from_numpy(X), torch.from_numpy(y)
    nn = torch.nn.functional
    loss = nn.cross_entropy if model == "softmax" else nn.binary_cross_entropy_with_logits

    def call() -> Any:
        leaf = w.clone().requires_grad_(True)
        weights = leaf[:, :-1].T if model == "softmax" else leaf[:-1]
        value = loss(x @ weights + leaf[..., -1], target)
        value.backward()
        return float(value.detach()), leaf.grad.numpy()

    return call


def _sklearn_call(model: str, params: Any, X: Any, y: Any, classes: int) -> Callable[[], Any]:
    from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    base = HalfMultinomialLoss(n_classes=classes) if model == "softmax" else HalfBinomialLoss()
    loss = LinearModelLoss(base_loss=base, fit_intercept=True)
    flat, target, threads = params.ravel(order="F"), y.astype(np.float32), numba.get_num_threads()

    def call() -> Any:
        value, grad = loss.loss_gradient(flat, X, target, l2_reg_strength=0.0, n_threads=threads)
        return float(value), grad.reshape(params.shape, order="F")

    return call


def _same(calls: Calls) -> None:
    """All compute the same: a wrong call of a peer would be a fast one."""
    (value, grad), *others = (call() for call in calls.values())
    for other_value, other_grad in others:
        assert abs(other_value - value) < 1e-4 * abs(value), "the peers' values differ"
        assert np.abs(other_grad - grad).max() < 1e-3 * np.abs(grad).max(), "the peers' gradients differ"


def _passes(torch: Any, sklearn: Any, rounds: int) -> list[list[str]]:
    rows = []
    for model, n, features, classes in PASSES:
        params, X, y = drawn(model, n, features, classes)
        function = getattr(objectives, model + "_value_and_grad")
        calls: Calls = {"nbgrad": lambda: function(params, X, y)}
        if torch:
            calls["PyTorch"] = _torch_call(torch, model, params, X, y)
        if sklearn:
            calls["scikit-learn"] = _sklearn_call(model, params, X, y, classes)
        _same(calls)
        halves = np.array_split(X.reshape(-1), numba.get_num_threads())
        calls["reading"] = lambda: spread(lambda k: halves[k].sum(), len(halves))
        calls["reading, one thread"] = X.sum
        if features == 784:
            pixels = np.random.default_rng(1).integers(0, 256, X.shape, np.uint8)
            calls["uint8"] = lambda: function(params, pixels, y, x_scale=1 / 255)
        times = interleaved(calls, rounds=rounds)
        own = times["nbgrad"]
        if times["reading, one thread"].median < times["reading"].median:  # more threads need not be faster
            times["reading"] = times["reading, one thread"]
        gflops = 4 * n * features * classes / own.median / 1e9

        def ratio(name: str, times: Any = times, own: Any = own) -> str:
            return f"{own.ratio_to(times[name]):.2f}" if name in times else ""

        rows.append(
            [
                f"{model} {n}×{features}" + (f", {classes} classes" if classes > 1 else ""),
                *(f"{1e3 * times[c].median:.4g}" if c in times else "" for c in ("nbgrad", "PyTorch", "scikit-learn")),
                *(ratio(c) for c in ("PyTorch", "scikit-learn", "reading")),
                f"{gflops:.0f}",
                ratio("uint8"),
            ]
        )  # fmt: skip
    return rows


def _hessians(rounds: int) -> list[list[str]]:
    rows = []
    for model, n, features, classes in (PASSES[0], PASSES[3]):
        params, X, y = drawn(model, n, features, classes)
        function = getattr(objectives, model + "_value_and_grad")
        hessp = softmax_hessp if model == "softmax" else logistic_hessp
        operator = Problem(model, X, y).hessian(params)
        v = params.ravel().astype(float)
        calls: Calls = {
            "value and gradient": lambda: function(params, X, y),
            "product": lambda: hessp(params, params, X, y),
            "product, kept": lambda: operator @ v,
        }
        times = interleaved(calls, rounds=rounds)
        base = times["value and gradient"]
        rows.append(
            [f"{model} {n}×{features}", *(f"{1e3 * t.median:.4g}" for t in times.values())]
            + [f"{1 / times[c].ratio_to(base):.2f}" for c in ("product", "product, kept")]
        )
    return rows


def mnist() -> tuple[Any, Any]:
    """MNIST's training set in float32, 0..1, and its labels: from $NBGRAD_DATA, else data of that shape are drawn."""
    folder = os.environ.get("NBGRAD_DATA")
    if folder and Path(folder).is_dir():
        data = datasets.load_mnist(folder)
        return data.train_images.reshape(len(data.train_images), -1).astype(np.float32) / 255, data.train_labels
    print("NBGRAD_DATA does not name a folder with MNIST: data of its shape are drawn")
    _, X, _ = drawn("softmax", 60_000, 784, 10)
    scores = np.abs(X) @ np.random.default_rng(2).standard_normal((784, 10), dtype=np.float32)
    return np.abs(X), scores.argmax(axis=1)


class _Reached(Exception):
    pass


class _Until:
    """A problem that ends the minimization at an objective value."""

    def __init__(self, problem: Problem, target: float) -> None:
        self.problem, self.target, self.value = problem, target, np.inf

    def value_and_grad(self, params: Any) -> Any:
        self.value, grad = self.problem.value_and_grad(params)
        if self.value <= self.target:
            raise _Reached
        return self.value, grad

    def hessian(self, params: Any) -> Any:
        return self.problem.hessian(params)


def _own_fit(model: str, X: Any, y: Any, solver: str, target: float) -> tuple[float, float]:
    """(seconds, value)"""
    from nbgrad.regression.minimize import minimize

    classes = int(y.max()) + 1
    start = time.perf_counter()
    problem = _Until(Problem(model, X, y, l2=1 / len(X)), target)
    shape = (classes, X.shape[1] + 1) if model == "softmax" else (X.shape[1] + 1,)
    with contextlib.suppress(_Reached):
        minimize(problem, np.zeros(shape), solver=solver, tol=0.0, max_iter=1000)
    return time.perf_counter() - start, problem.value


def _fits(rounds: int) -> list[list[str]]:
    """scikit-learn's solvers as they stop by themselves (after at most 100 iterations), ours to the same values."""
    from sklearn.linear_model import LogisticRegression

    X, digit = mnist()
    rows = []
    for model, y in (("softmax", digit.astype(np.int64)), ("logistic", (digit < 5).astype(np.int64))):
        problem = Problem(model, X, y, l2=1 / len(X))
        for solver in ("lbfgs", "newton-cg"):
            times: dict[str, list[float]] = {"scikit-learn": [], "lbfgs": [], "newton-cg": []}
            for _ in range(rounds):
                start = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # 100 iterations do not suffice
                    peer = LogisticRegression(solver=solver, max_iter=100).fit(X, y)
                times["scikit-learn"].append(time.perf_counter() - start)
                params = np.column_stack([peer.coef_, peer.intercept_])
                target = problem.value_and_grad(params if model == "softmax" else params[0])[0]
                for own in ("lbfgs", "newton-cg"):
                    seconds, value = _own_fit(model, X, y, own, target)
                    assert value <= target, f"{own} did not reach {target}"
                    times[own].append(seconds)
            medians = {name: statistics.median(t) for name, t in times.items()}
            rows.append(
                [f"{model}, scikit-learn's {solver}", f"{target:.6f}", *(f"{t:.2f}" for t in medians.values())]
                + [f"{medians['scikit-learn'] / medians[own]:.2f}" for own in ("lbfgs", "newton-cg")]
            )
    return rows


_FIRST = """
import time
import numpy as np
from numba import njit
from nbgrad import regression
njit(lambda x: x + 1)(1)
X, y = np.random.default_rng(0).normal(size=(500, {features})).astype(np.float32), np.arange(500) % {classes}
begin = time.perf_counter()
{call}
print(time.perf_counter() - begin)
"""
_FIRST_CALLS = (
    ("softmax, 10 classes", "regression.softmax_value_and_grad(np.zeros((10, 785), np.float32), X, y)", 784, 10),
    ("softmax, 3 classes, Hessian", "regression.softmax_hessp(*np.zeros((2, 3, 31), np.float32), X, y)", 30, 3),
    ("logistic", "regression.logistic_value_and_grad(np.zeros(31, np.float32), X, y)", 30, 2),
    ("logistic, Hessian", "regression.logistic_hessp(*np.zeros((2, 31), np.float32), X, y)", 30, 2),
)


def _first_calls() -> list[list[str]]:
    """Seconds compiled, milliseconds from the disk cache, in processes of their own, after Numba's own start."""
    rows = []
    for name, call, features, classes in _FIRST_CALLS:
        code = _FIRST.format(call=call, features=features, classes=classes)
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            command = [sys.executable, "-c", code]
            times = [
                float(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
                for _ in range(4)
            ]
        rows.append([name, f"{times[0]:.2f}", f"{1e3 * statistics.median(times[1:]):.0f}"])
    return rows


def run(arguments: argparse.Namespace) -> None:
    print(machine(), f"{numba.get_num_threads()} threads", sep=", ")
    torch, sklearn = optional("torch"), optional("sklearn")
    chosen = arguments.only or ["passes", "hessians", "fits", "first"]
    if "passes" in chosen:
        header = ["float32, ms", "nbgrad", "PyTorch", "scikit-learn", "ratio to PyTorch", "to scikit-learn"]
        header += ["to reading X", "GFLOP/s", "uint8 by float32"]
        print("\n" + table(header, _passes(torch, sklearn, arguments.rounds)), flush=True)
    if "hessians" in chosen:
        header = ["ms", "value and gradient", "product", "product, kept", "product by value", "kept by value"]
        print("\n" + table(header, _hessians(arguments.rounds)), flush=True)
    if "fits" in chosen and sklearn:
        header = ["MNIST, seconds", "objective", "scikit-learn", "L-BFGS", "Newton-CG", "L-BFGS's ratio", "Newton-CG's"]
        print("\n" + table(header, _fits(max(1, arguments.rounds // 5))), flush=True)
    if "first" in chosen:
        print("\n" + table(["first call", "compiled, s", "from disk, ms"], _first_calls()), flush=True)
