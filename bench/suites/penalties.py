"""Fits with a penalty l1 beside scikit-learn's solvers for them, each to the objective value at which the peer stops.

Ours have a tolerance of their own; it is taken so tight (a third, and a third of that …) that their value is the peer's
or less, before the clock starts.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.data import mnist
from bench.method import Timing
from bench.record import Record, Spread
from bench.session import Session

__all__ = ["CASES", "measure"]

Fit = Callable[[float], Any]  # of a tolerance: (coefficients, intercepts)


def _sparse(session: Session) -> Any:
    """As wide as 20newsgroups: 100 000 × 50 000, 1e-3 of it not 0."""
    from scipy import sparse

    n, features = (5000, 3000) if session.quick else (100_000, 50_000)
    rng = np.random.default_rng(0)
    X = sparse.random(n, features, 1e-3, "csr", random_state=rng, data_rvs=lambda k: rng.random(k) + 0.1)
    truth = 3 * rng.normal(size=features) * (rng.random(features) < 0.02)
    return X, (X @ truth + rng.gumbel(size=n) - rng.gumbel(size=n) > 0).astype(np.int64)


def _logistic(session: Session, C: float) -> Any:
    from sklearn.linear_model import LogisticRegression as Theirs

    from nbgrad import LogisticRegression

    X, y = _sparse(session)

    def objective(model: Any) -> float:
        scores = X @ model.coef_[0]
        return float(C * np.logaddexp(0, np.where(y > 0, -scores, scores)).sum() + np.abs(model.coef_).sum())

    parameters = {"C": C, "l1_ratio": 1, "fit_intercept": False}  # liblinear penalises an intercept
    theirs = Theirs(**parameters, solver="liblinear", random_state=0)
    return X, y, theirs, lambda tol: LogisticRegression(**parameters, tol=tol, max_iter=1000), objective


def _softmax(session: Session, C: float) -> Any:
    from sklearn.linear_model import LogisticRegression as Theirs

    from nbgrad import SoftmaxRegression
    from nbgrad.regression import Problem

    _, X, y = mnist()
    rows = 1000 if session.quick else 6000  # saga needs half a second for a pass over 20 000
    X, y = X[:rows], y[:rows].astype(np.int64)
    problem = Problem("softmax", X.astype(np.float64), y)

    def objective(model: Any) -> float:
        params = np.column_stack([model.coef_, model.intercept_]).astype(np.float64)
        return float(problem.value_and_grad(params)[0] + np.abs(model.coef_).sum() / (C * rows))

    theirs = Theirs(C=C, l1_ratio=1, solver="saga", max_iter=50, random_state=0)
    return X, y, theirs, lambda tol: SoftmaxRegression("l1", C=C, tol=tol, max_iter=1000), objective


def _lasso(session: Session, alpha: float, n: int, features: int, tol: float, density: float = 1.0) -> Any:
    from scipy import sparse
    from sklearn.linear_model import Lasso as Theirs

    from nbgrad.regression import Lasso

    rng = np.random.default_rng(0)
    X: Any = rng.normal(size=(n, features)) if density == 1 else None
    X = sparse.random(n, features, density, "csr", random_state=rng) if X is None else X
    truth = rng.normal(size=features) * (rng.random(features) < 0.1)
    y = X @ truth + rng.normal(size=n) * (0.1 if density < 1 else 1)

    def objective(model: Any) -> float:
        return float(np.square(y - model.predict(X)).mean() / 2 + alpha * np.abs(model.coef_).sum())

    theirs = Theirs(alpha, tol=tol, max_iter=100_000)
    return X, y, theirs, lambda t: Lasso(alpha, tol=tol * t / 1e-4, max_iter=100_000), objective


#: (what, the peer's solver, data and models)
CASES: tuple[tuple[str, str, Callable[[Session], Any]], ...] = (
    ("logistic l1, CSR 100000×50000, C=0.3", "liblinear", lambda s: _logistic(s, 0.3)),
    ("logistic l1, CSR 100000×50000, C=1", "liblinear", lambda s: _logistic(s, 1.0)),
    ("logistic l1, CSR 100000×50000, C=3", "liblinear", lambda s: _logistic(s, 3.0)),
    ("softmax l1, 6000 of MNIST, C=0.2", "saga, 50 passes", lambda s: _softmax(s, 0.2)),
    ("Lasso 1000×100", "Lasso", lambda s: _lasso(s, 0.05, 1000, 100, 1e-4)),
    ("Lasso 20000×200", "Lasso", lambda s: _lasso(s, 0.05, 20_000, 200, 1e-4)),
    ("Lasso 200×2000, weak", "Lasso", lambda s: _lasso(s, 0.02, 200, 2000, 1e-4)),
    ("Lasso 200×2000, weak, tol 1e-8", "Lasso", lambda s: _lasso(s, 0.02, 200, 2000, 1e-8)),
    ("Lasso 1000×1000", "Lasso", lambda s: _lasso(s, 0.1, 1000, 1000, 1e-4)),
    ("Lasso CSR 20000×5000", "Lasso", lambda s: _lasso(s, 1e-5, 20_000, 5000, 1e-4, 2e-3)),
)


def _timed(model: Any, X: Any, y: Any) -> float:
    start = time.perf_counter()
    model.fit(X, y)
    return time.perf_counter() - start


def measure(session: Session, what: str, solver: str, make: Callable[[Session], Any]) -> list[Record]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peer's iterations do not suffice
        X, y, theirs, ours, objective = make(session)
        target, tol = objective(theirs.fit(X, y)), 1e-4
        for tol in _tighter():
            if objective(ours(tol).fit(X, y)) <= target * (1 + 1e-9):
                break
        else:
            raise AssertionError(f"{what}: {target} was not reached")
        times: dict[str, list[float]] = {"nbgrad": [], "sklearn": []}
        for _ in range(session.rounds or 3):
            times["sklearn"].append(_timed(theirs, X, y))
            times["nbgrad"].append(_timed(ours(tol), X, y))
    records = []
    for who, several in times.items():
        ratio = None if who == "nbgrad" else Spread.of(Timing(times["nbgrad"]).ratios_to(Timing(several)))
        records.append(
            Record(
                "regression", what, f"to sklearn's {solver}", str(X.dtype), "fit", who, Spread.of(several),
                rounds=len(several), threads=session.threads, memory="new", ratio=ratio,
                details={"objective": target, **({"tol": tol} if who == "nbgrad" else {})},
            )
        )  # fmt: skip
    return records


def _tighter() -> Iterator[float]:
    for k in range(12):
        yield 1e-4 / 3**k
