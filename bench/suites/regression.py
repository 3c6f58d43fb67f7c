"""Loss and gradient of the regression models, Hessian products, whole fits and first calls.

The limit of a pass is reading X once, or the operations of its two products at the speed of BLAS's large ones,
whichever takes longer. Fits go to the objective value at which scikit-learn's solver stops.
"""

from __future__ import annotations

import argparse
import contextlib
import time
import warnings
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from bench.data import mnist
from bench.method import Timing
from bench.record import Record, Spread
from bench.session import Call, Case, Job, Key, Session
from bench.suites.startup import first_calls
from nbgrad.datasets import load_digits
from nbgrad.formulas.regression import SCORE_MODELS
from nbgrad.regression import Problem, logistic_hessp, objectives, softmax_hessp

#: (model, rows, features, classes)
PASSES = (
    ("softmax", 60_000, 784, 10),
    ("softmax", 1_000_000, 30, 3),
    ("softmax", 20_000, 2000, 100),
    ("logistic", 60_000, 784, 1),
    ("logistic", 500_000, 100, 1),
    ("logistic", 2_000_000, 30, 1),
    *((model, 500_000, 100, 1) for model in SCORE_MODELS if model != "logistic"),
)
QUICK = (("softmax", 6000, 784, 10), ("logistic", 6000, 784, 1))
OURS = {"scaled-lbfgs": "by scaled L-BFGS", "lbfgs": "by L-BFGS", "newton-cg": "by Newton-CG"}
PARTS = ("passes", "hessians", "fits", "first", "l1", "agreement")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="*", choices=PARTS, help=", ".join(PARTS), metavar="PART")
    parser.add_argument(
        "--solvers", nargs="*", choices=["lbfgs", "newton-cg"], default=["lbfgs"], help="of scikit-learn, for the fits"
    )


def drawn(place: Any, model: str, n: int, features: int, classes: int) -> tuple[Any, Any, Any]:
    """(params, X, y), float32"""
    X = place.normal((n, features), "float32")
    shape = (classes, features + 1) if model == "softmax" else (features + 1,)
    params = place.normal(shape, "float32", 1) * np.float32(0.03)
    rng = np.random.default_rng(2)
    if model == "softmax":
        return params, X, place.put(rng.integers(0, classes, n))
    targets = np.array([t for t in TARGETS if SCORE_MODELS[model].is_target(t)], np.float32)
    return params, X, place.put(targets[rng.integers(0, len(targets), n)])


#: Of these a model takes what it can.
TARGETS = (0.0, 1.0, 2.5, -1.0)
#: The models that the peers have.
PEERED = ("softmax", "logistic")


def _shape(n: int, features: int, classes: int) -> str:
    return f"{n}×{features}" + (f", {classes} classes" if classes > 1 else "")


def _pass(session: Session, model: str, n: int, features: int, classes: int) -> list[Record]:
    params, X, y = drawn(session.place, model, n, features, classes)
    function = getattr(objectives, model + "_value_and_grad")
    calls: dict[Key, Call] = {Key("nbgrad", "value_and_grad", "new"): lambda: function(params, X, y)}
    for peer in session.peers.values() if model in PEERED else ():
        calls |= {Key(peer.title, *key): call for key, call in peer.regression(model, params, X, y).items()}
    limits = (session.place.reading(X.nbytes), session.place.products())
    case = Case(
        "regression", model, _shape(n, features, classes), "float32", calls, limits, size=n * features, tolerance=1e-3,
        work={"value_and_grad": {"read": X.nbytes, "products": 4 * n * features * classes}},
    )  # fmt: skip
    records = session.measure(case, rounds=11, budget=4.0)
    if features == 784:
        pixels = session.place.put(np.random.default_rng(1).integers(0, 256, X.shape, np.uint8))
        calls = {Key("nbgrad", "value_and_grad", "new"): lambda: function(params, pixels, y, x_scale=1 / 255)}
        case = Case(
            "regression", model, _shape(n, features, classes), "uint8", calls,
            (session.place.reading(pixels.nbytes), session.place.products()),
            size=n * features, tolerance=None,
            work={"value_and_grad": {"read": pixels.nbytes, "products": 4 * n * features * classes}},
        )  # fmt: skip
        records += session.measure(case, rounds=11, budget=1.0)
    return records


def _hessian(session: Session, model: str, n: int, features: int, classes: int) -> list[Record]:
    params, X, y = drawn(session.place, model, n, features, classes)
    hessp = softmax_hessp if model == "softmax" else logistic_hessp
    operator = Problem(model, X, y).hessian(params)
    v = params.ravel().astype(float)
    calls: dict[Key, Call] = {
        Key("nbgrad", "hessp", "new"): lambda: hessp(params, params, X, y),
        Key("nbgrad", "hessp, kept", "new"): lambda: operator @ v,
    }
    work = {d: {"read": X.nbytes, "products": 4 * n * features * classes} for d in ("hessp", "hessp, kept")}
    limits = (session.place.reading(X.nbytes), session.place.products())
    case = Case("regression", model, _shape(n, features, classes), "float32", calls, limits, work=work, tolerance=None)
    return session.measure(case, rounds=11, budget=2.0)


class _Reached(Exception):
    pass


class _Until:
    """A problem that ends the minimization at an objective value."""

    def __init__(self, problem: Problem, target: float) -> None:
        self.problem, self.target, self.value, self.passes = problem, target, np.inf, 0

    def __getattr__(self, name: str) -> Any:  # what the scaling asks for
        return getattr(self.problem, name)

    def value_and_grad(self, params: Any) -> Any:
        self.passes += 1
        self.value, grad = self.problem.value_and_grad(params)
        if self.value <= self.target:
            raise _Reached
        return self.value, grad

    def hessian(self, params: Any) -> Any:
        return _Product(self, self.problem.hessian(params))


class _Product:
    """A Hessian whose products are counted."""

    def __init__(self, problem: _Until, operator: Any) -> None:
        self.problem, self.operator = problem, operator

    def __matmul__(self, v: Any) -> Any:
        self.problem.passes += 1
        return self.operator @ v


def _own_fit(model: str, X: Any, y: Any, solver: str, target: float) -> tuple[float, float, int]:
    """(seconds, value, passes over X)"""
    from nbgrad.regression.minimize import minimize

    classes = int(y.max()) + 1
    start = time.perf_counter()
    problem = _Until(Problem(model, X, y, l2=1 / len(X)), target)
    shape = (classes, X.shape[1] + 1) if model == "softmax" else (X.shape[1] + 1,)
    with contextlib.suppress(_Reached):
        minimize(problem, np.zeros(shape), solver=solver, tol=0.0, max_iter=1000)
    return time.perf_counter() - start, problem.value, problem.passes


def _fit(session: Session, model: str, solver: str) -> list[Record]:
    """scikit-learn's solver as it stops by itself (after at most 100 iterations), ours to the same value."""
    from sklearn.linear_model import LogisticRegression

    if session.quick:
        digits = load_digits()
        data, X, digit = "digits", digits.train_images.reshape(-1, 64) / np.float32(16), digits.train_labels
    else:
        data, X, digit = mnist()
    y = digit.astype(np.int64) if model == "softmax" else (digit < 5).astype(np.int64)
    problem = Problem(model, X, y, l2=1 / len(X))
    params = np.zeros((int(y.max()) + 1, X.shape[1] + 1) if model == "softmax" else X.shape[1] + 1)
    problem.value_and_grad(params)
    solvers = tuple(OURS)[: 2 if session.quick else 3]
    if "newton-cg" in solvers:
        problem.hessian(params) @ params.ravel()  # compiled before the clock starts
    times: dict[str, list[float]] = {"sklearn": [], **{own: [] for own in solvers}}
    passes: dict[str, int] = {}
    for _ in range(session.rounds or (3 if session.quick else 1)):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 100 iterations do not suffice
            peer = LogisticRegression(solver=solver, max_iter=100).fit(X, y)
        times["sklearn"].append(time.perf_counter() - start)
        params = np.column_stack([peer.coef_, peer.intercept_])
        target = problem.value_and_grad(params if model == "softmax" else params[0])[0]
        for own in solvers:
            seconds, value, passes[own] = _own_fit(model, X, y, own, target)
            if not value <= target:
                raise AssertionError(f"{own} did not reach {target}")
            times[own].append(seconds)
    records = []
    for own in solvers:
        for who, several in (("nbgrad", times[own]), ("sklearn", times["sklearn"])):
            ratios = Timing(times[own]).ratios_to(Timing(several))
            records.append(
                Record(
                    "regression", f"{model} fit, {data}", f"to sklearn's {solver}", "float32", OURS[own], who,
                    Spread.of(several), rounds=len(several), threads=session.threads, memory="new",
                    ratio=Spread.of(ratios) if who != "nbgrad" else None,
                    details={"objective": float(target), **({"passes": passes[own]} if who == "nbgrad" else {})},
                )
            )  # fmt: skip
    return records


_SETUP = """
from nbgrad import regression
X, y = np.random.default_rng(0).normal(size=(500, {features})).astype(np.float32), np.arange(500) % {classes}
"""
_FIRST = (
    ("softmax", "10 classes", "regression.softmax_value_and_grad(np.zeros((10, 785), np.float32), X, y)", 784, 10),
    ("softmax Hessian", "3 classes", "regression.softmax_hessp(*np.zeros((2, 3, 31), np.float32), X, y)", 30, 3),
    ("logistic", "", "regression.logistic_value_and_grad(np.zeros(31, np.float32), X, y)", 30, 2),
    ("logistic Hessian", "", "regression.logistic_hessp(*np.zeros((2, 31), np.float32), X, y)", 30, 2),
)


def _first(session: Session, name: str, shape: str, call: str, features: int, classes: int) -> list[Record]:
    setup = _SETUP.format(features=features, classes=classes)
    return first_calls(session, "regression", name, shape, call, setup)


def _agreement(session: Session) -> list[Record]:
    """Prints a table; an answer of ours that is wrong without a warning ends it."""
    from bench.suites.agreement import table

    if silent := table():
        raise AssertionError(f"{silent} answers are wrong and say nothing")
    return []


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    chosen = arguments.only or (PARTS[:3] if session.quick else PARTS[:5])
    if "agreement" in chosen:
        yield Job("agreement with scikit-learn and long double", partial(_agreement, session))
    if "passes" in chosen:
        for p in QUICK if session.quick else PASSES:
            yield Job(f"{p[0]} {_shape(*p[1:])}", partial(_pass, session, *p))
    if "hessians" in chosen and not session.quick:
        for p in (PASSES[0], PASSES[3]):
            yield Job(f"{p[0]} Hessian", partial(_hessian, session, *p))
    if "fits" in chosen:
        if "sklearn" not in session.peers:
            session.missing["regression: fits"] = "their target is scikit-learn's, which is not measured"
        else:
            for model in ("softmax",) if session.quick else ("softmax", "logistic"):
                for solver in arguments.solvers:
                    yield Job(f"{model} fit to sklearn's {solver}", partial(_fit, session, model, solver))
    if "l1" in chosen and "sklearn" in session.peers:
        from bench.suites import penalties

        for what, solver, make in penalties.CASES:
            yield Job(f"{what}, to sklearn's {solver}", partial(penalties.measure, session, what, solver, make))
    if "first" in chosen:
        for f in _FIRST:
            yield Job(f"first call, {f[0]}", partial(_first, session, *f))
