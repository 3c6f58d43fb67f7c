"""Our coefficients beside scikit-learn's, statsmodels' (where it is installed), NIST's certified ones and long
double's, in ten units and offsets, all solvers.

Data are drawn once, of size 1 (`drawn`); the columns then are moved and multiplied. Without a penalty the predicted
probabilities of the minimum do not change with that, so that one reference serves all rows: Newton's method in long
double on the columns as they were drawn.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nbgrad.regression.minimize import SOLVERS

__all__ = ["UNITS", "certified", "rows", "table"]

#: (what, unit, offset in units)
UNITS = (
    ("as drawn", 1.0, 0.0),
    ("years, 2000 ± 5", 5.0, 400.0),
    ("percent of 1e-4", 1e-4, 0.0),
    ("1e-8", 1e-8, 0.0),
    ("1e8", 1e8, 0.0),
    ("1e-8, beside 1000", 1e-8, 1e3),
    ("1e8, beside 1000", 1e8, 1e3),
    ("beside 1e6", 1.0, 1e6),
    ("columns of 1e-6 to 1e6", 0.0, 0.0),
    ("columns of 1e-6 to 1e6, beside 100", 0.0, 100.0),
)
SCIKIT = ("lbfgs", "newton-cg", "newton-cholesky")


def drawn(classes: int, n: int = 2000, features: int = 5) -> tuple[Any, Any]:
    rng = np.random.default_rng(classes)
    Z = rng.normal(size=(n, features))
    return Z, (1.5 * Z @ rng.normal(size=(features, classes)) + rng.gumbel(size=(n, classes))).argmax(axis=1)


def reference(Z: Any, y: Any, classes: int) -> Any:
    """Probabilities (n, classes) at the minimum, by Newton's method in long double; the last class has the score 0."""
    X = np.column_stack([Z, np.ones(len(Z))]).astype(np.longdouble)
    k, p = classes - 1, X.shape[1]
    W, P = np.zeros((k, p), np.longdouble), np.empty(0)
    for _ in range(40):
        s = np.column_stack([X @ W.T, np.zeros(len(X), np.longdouble)])
        e = np.exp(s - s.max(axis=1, keepdims=True))
        P = e / e.sum(axis=1, keepdims=True)
        gradient = (P[:, :k] - (y[:, np.newaxis] == np.arange(k))).T @ X
        D = np.einsum("nk,km->nkm", P[:, :k], np.eye(k)) - P[:, :k, np.newaxis] * P[:, np.newaxis, :k]
        H = np.einsum("nkm,ni,nj->kimj", D, X, X, optimize=True).reshape(k * p, k * p)
        W = W - np.linalg.solve(H.astype(float), gradient.ravel().astype(float)).reshape(k, p)
    return P


def reference_of_numbers(Z: Any, y: Any, model: str) -> Any:
    """Coefficients, the intercept last, of least squares or Poisson regression, as `reference`."""
    X = np.column_stack([Z, np.ones(len(Z))]).astype(np.longdouble)
    w = np.zeros(X.shape[1], np.longdouble)
    w[-1] = np.log(y.mean()) if model == "poisson" else 0
    for _ in range(40):
        mean = np.exp(X @ w) if model == "poisson" else X @ w
        H = (X.T * (mean if model == "poisson" else 1)) @ X
        w = w - np.linalg.solve(H.astype(float), (X.T @ (mean - y)).astype(float))
    return w


class Statsmodels:
    """Its estimators without a penalty, with our methods."""

    def __init__(self, model: str, solver: str = "newton") -> None:
        self.model, self.solver = model, solver

    def fit(self, X: Any, y: Any) -> Statsmodels:
        from statsmodels import api

        A = self._with_ones(X)
        if self.model in ("linear", "poisson"):
            family = None if self.model == "linear" else api.families.Poisson()
            self.found = (api.GLM(y, A, family=family) if family else api.OLS(y, A)).fit()
            self.coef_ = self.found.params[1:]
        else:
            kind = api.Logit if self.model == "2 classes" else api.MNLogit
            self.found = kind(y, A).fit(disp=0, method=self.solver)
        return self

    def predict_proba(self, X: Any) -> Any:
        p = np.asarray(self.found.predict(self._with_ones(X)))
        return np.column_stack([1 - p, p]) if p.ndim == 1 else p

    def _with_ones(self, X: Any) -> Any:
        return np.column_stack([np.ones(len(X)), X])


def fits(model: str, tol: float) -> Iterator[tuple[str, str, Any]]:
    """(whose, solver, a model without a penalty) of all libraries that are there."""
    from sklearn import linear_model

    from nbgrad import regression

    if model == "linear":
        yield "nbgrad", "QR", regression.LinearRegression()
        yield "sklearn", "SVD", linear_model.LinearRegression()
    elif model == "poisson":
        for solver in SOLVERS:
            yield "nbgrad", solver, regression.PoissonRegressor(alpha=0, solver=solver, tol=tol)
        for solver in SCIKIT:
            if solver != "newton-cg":
                yield "sklearn", solver, linear_model.PoissonRegressor(alpha=0, solver=solver, tol=tol)
    else:
        for solver in SOLVERS:
            yield "nbgrad", solver, regression.LogisticRegression(C=np.inf, solver=solver, tol=tol)
        for solver in SCIKIT:
            yield "sklearn", solver, linear_model.LogisticRegression(C=np.inf, solver=solver, tol=tol)
    if importlib.util.find_spec("statsmodels"):
        yield "statsmodels", {"linear": "SVD", "poisson": "IRLS"}.get(model, "newton"), Statsmodels(model)


def _off(model: Any, X: Any, y: Any, wanted: Any, unit: Any) -> dict[str, Any]:
    """How far probabilities, or coefficients as of the columns that were drawn, are off; whether the fit warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(X, y)
            found = model.coef_ * unit if wanted.ndim == 1 else model.predict_proba(X)
        except Exception as error:  # a peer's: it is a result
            return {"off": float("nan"), "warned": type(error).__name__}
    return {"off": float(np.abs(found - (wanted[:-1] if wanted.ndim == 1 else wanted)).max()), "warned": bool(caught)}


def rows(tol: float = 1e-4) -> Iterator[dict[str, Any]]:
    """A dict for each model, unit, library and solver."""
    for model in ("2 classes", "3 classes", "linear", "poisson"):
        classes = int(model[0]) if model[0].isdigit() else 0
        Z, y = drawn(max(classes, 2))
        if not classes:
            rng, score = np.random.default_rng(1), Z @ np.linspace(-0.4, 0.4, Z.shape[1])
            y = score + rng.normal(size=len(Z)) if model == "linear" else rng.poisson(np.exp(score)).astype(float)
        wanted = reference(Z, y, classes) if classes else reference_of_numbers(Z, y, model)
        for what, unit, offset in UNITS:
            units = unit or np.logspace(-6, 6, Z.shape[1])
            X = (Z + offset) * units
            for who, solver, estimator in fits(model, tol):
                found = _off(estimator, X, y, wanted, units)
                yield {"model": model, "units": what, "who": who, "solver": solver, **found}


def certified() -> Iterator[dict[str, Any]]:
    """The right digits of the worst coefficient, of NIST's data sets (which are the tests')."""
    path = Path(__file__).parents[2] / "tests/regression/linear/nist.py"
    spec = importlib.util.spec_from_file_location("nist", path)
    assert spec is not None and spec.loader is not None
    nist = importlib.util.module_from_spec(spec)
    sys.modules["nist"] = nist  # where its dataclass looks
    spec.loader.exec_module(nist)
    for data in nist.REFERENCES:
        X, y = data.arrays()
        for who, _, model in fits("linear", 0.0):
            if who == "statsmodels" and not data.fit_intercept:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if who != "statsmodels":
                    model.set_params(fit_intercept=data.fit_intercept)
                model.fit(X, y)
            found = model.coef_
            wanted = np.array(data.certified)[int(data.fit_intercept) :]
            error = float(np.max(np.abs(found - wanted) / np.abs(wanted)))
            yield {"data": data.name, "who": who, "digits": 15.0 if error < 1e-15 else -float(np.log10(error))}


def table() -> int:
    """Print both; the number of nbgrad's answers that are wrong without a warning (more than 1e-3 off)."""
    silent = 0
    for row in rows():
        wrong = not row["off"] <= 1e-3
        if row["who"] == "nbgrad":
            silent += wrong and not row["warned"]
        state = "warned" if row["warned"] else "WRONG, SILENT" if wrong else ""
        of = f"{row['model']}, {row['units']:<36}{row['who']:<12}{row['solver']:<17}"
        print(f"{of}off by {row['off']:.1e}  {state}")
    for row in certified():
        print(f"NIST's {row['data']:<12}{row['who']:<12}{row['digits']:4.1f} digits of the worst coefficient")
    return silent
