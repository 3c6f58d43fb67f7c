"""Our coefficients beside scikit-learn's and long double's, in ten units and offsets, all solvers.

Data are drawn once, of size 1 (`drawn`); the columns then are moved and multiplied. Without a penalty the predicted
probabilities of the minimum do not change with that, so that one reference serves all rows: Newton's method in long
double on the columns as they were drawn.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from nbgrad.regression.minimize import SOLVERS

__all__ = ["UNITS", "rows", "table"]

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


def _fit(model: Any, X: Any, y: Any, wanted: Any) -> dict[str, Any]:
    """How far the probabilities are off, and whether the fit warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = model.fit(X, y).predict_proba(X)
        except Exception as error:  # a peer's: it is a result
            return {"off": float("nan"), "warned": type(error).__name__}
    return {"off": float(np.abs(found - wanted).max()), "warned": bool(caught)}


def rows(tol: float = 1e-4) -> Iterator[dict[str, Any]]:
    """A dict for each number of classes, unit, library and solver."""
    from sklearn.linear_model import LogisticRegression as Theirs

    from nbgrad import LogisticRegression

    for classes in (2, 3):
        Z, y = drawn(classes)
        wanted = reference(Z, y, classes)
        for what, unit, offset in UNITS:
            X = (Z + offset) * (unit or np.logspace(-6, 6, Z.shape[1]))
            for who, estimator, solvers in (("nbgrad", LogisticRegression, SOLVERS), ("sklearn", Theirs, SCIKIT)):
                for solver in solvers:
                    found = _fit(estimator(C=np.inf, solver=solver, tol=tol), X, y, wanted)
                    yield {"classes": classes, "units": what, "who": who, "solver": solver, **found}


def table() -> int:
    """Print it; the number of nbgrad's answers that are wrong without a warning (more than 1e-3 off)."""
    silent = 0
    for row in rows():
        wrong = not row["off"] <= 1e-3
        if row["who"] == "nbgrad":
            silent += wrong and not row["warned"]
        state = "warned" if row["warned"] else "WRONG, SILENT" if wrong else ""
        of = f"{row['classes']} classes, {row['units']:<36}{row['who']:<9}{row['solver']:<17}"
        print(f"{of}off by {row['off']:.1e}  {state}")
    return silent
