"""The data of a regression model in the CPU's memory, laid out once, and the pass over them.

`nbgrad.regression.passes.device` has the same of data on a GPU: `Problem` asks either.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT64, as_float
from nbgrad.cpu.lanes import LANES
from nbgrad.cpu.regression import one_pass as cpu_regression
from nbgrad.cpu.regression.models import terms_of
from nbgrad.cpu.regression.one_pass import wide_size, work_size
from nbgrad.regression import data
from nbgrad.regression.passes.csr import checked, one_pass_csr
from nbgrad.regression.passes.one_pass import Curvature, one_pass
from nbgrad.regression.passes.second_order import Frame
from nbgrad.regression.passes.sparse import SparseColumns, columns_of
from nbgrad.regression.scaling import moments

__all__ = ["Passes", "mean_with_penalty", "with_penalty"]


def mean_with_penalty(
    problem: Any, loss: Any, grad: NDArray[Any], weight_sum: Any, params: Any
) -> tuple[float, NDArray[Any]]:
    """(loss / weight_sum + ½·l2·‖w‖², grad / weight_sum + l2·w), w being ``params`` with the intercepts 0. The second
    holds of a Hessian's product, too, ``params`` being its direction.
    """
    value, grad = with_penalty(problem, loss, grad, weight_sum, params)
    return float(value), grad


def with_penalty(problem: Any, loss: Any, grad: Any, weight_sum: Any, params: Any, xp: Any = np) -> tuple[Any, Any]:
    """The same of arrays of the library ``xp``, where it leaves the value."""
    with np.errstate(all="ignore"):  # no weight: nan
        value, grad = loss / weight_sum, grad / weight_sum
        if problem.l2:
            w = xp.array(params, FLOAT64)
            if problem.fit_intercept:
                w.reshape(-1, problem.n_features + 1)[:, -1] = 0
            l2 = float(problem.l2)  # a number of NumPy's would not meet CuPy's arrays
            value, grad = value + 0.5 * l2 * xp.vdot(w, w), grad + l2 * w
    return value, grad


class Passes:
    """``model``, its ``parameters``, ``fit_intercept`` and ``x_scale`` are checked; X, y and the weights are checked
    here.
    """

    def __init__(
        self, model: str, X: Any, y: Any, sample_weight: Any, fit_intercept: bool, x_scale: float, dtype: Any,
        parameters: dict[str, float],
    ) -> None:  # fmt: skip
        self.model, self.fit_intercept, self._x_scale = model, fit_intercept, x_scale
        self._terms = terms_of(model)
        self._hold(X, y, sample_weight, dtype)
        self._parameters = data.in_precision(model, parameters, self._dtype)

    def _hold(self, X: Any, y: Any, sample_weight: Any, dtype: Any) -> None:
        self._X = data.matrix(X)
        self.rows, self.n_features = n, _ = self._X.shape
        self._dense = isinstance(self._X, np.ndarray)
        self._dtype = data.product_dtype(dtype, self._X.dtype) if self._dense else FLOAT64
        self._y = data.targets(self.model, y, n, self._dtype)
        self._weight, self._unit, self.weight_sum = data.weights(sample_weight, n, self._dtype)

    def sums(self, params: Any) -> tuple[Any, Any]:
        """(Σ weight·loss, its gradient), additive over the rows"""
        return self._pass(params)

    def mean(self, penalty: Any, params: Any) -> tuple[Any, Any]:
        """(mean loss + ½·l2·‖w‖², its gradient); ``penalty`` has l2, fit_intercept and n_features."""
        return mean_with_penalty(penalty, *self._pass(params), self.weight_sum, params)

    def product(self, penalty: Any, params: Any, v: Any, curvature: Curvature | None) -> Any:
        """The Hessian at ``params`` times ``v``."""
        v = as_float(v, "v")
        if v.shape != np.shape(params):
            raise ValueError(f"v: expected params' shape {np.shape(params)}, got {v.shape}")
        _, product = self._pass(params, v, curvature)
        return mean_with_penalty(penalty, 0.0, product, self.weight_sum, v)[1]

    def moments(self, frame: Frame, share: float, rare: Any = ((), ())) -> tuple[NDArray[np.float64], float]:
        """`nbgrad.regression.scaling.moments`, on the CPU."""
        with self.computing():
            found, total = moments(
                self._X, self._weight if self._weight.size else None, frame,
                share=share, x_scale=self._x_scale, fit_intercept=self.fit_intercept, rare=rare, xp=self.xp,
            )  # fmt: skip
            return self.on_host(found) * self._unit, total * self._unit

    def _split(self, params: Any, name: str = "params") -> tuple[NDArray[Any], NDArray[Any]]:
        """(coefficients times x_scale, intercepts) as the loops take them."""
        matrix = data.coefficients(
            as_float(params, name), self.n_features, self.fit_intercept, self._terms.matrix, name
        )
        coefficients = (matrix[:, : self.n_features].astype(FLOAT64) * self._x_scale).astype(self._dtype)
        intercept = np.zeros(len(matrix), self._dtype)
        if self.fit_intercept:
            intercept[:] = matrix[:, self.n_features]
        return coefficients, intercept

    def _pass(
        self, params: Any, direction: Any = None, curvature: Curvature | None = None
    ) -> tuple[np.float64, NDArray[Any]]:
        """(Σ w·loss, its gradient or the Hessian's product with ``direction``, in params' shape)"""
        with np.errstate(all="ignore"):  # nan and inf in X or params come back as nan and inf: that is the answer
            (w, intercept), shape = self._split(params), np.shape(params)
            v = None if direction is None else self._split(direction, "v")
            classes = len(w)
            if self._terms.matrix and classes == 1:
                w, intercept, v = self._with_impossible_class(w, intercept, v)
            arguments = self._terms, self._X, self._y, self._weight, w, intercept, self._parameters, v
            bad, loss, gradient, slopes = one_pass(*arguments, curvature) if self._dense else one_pass_csr(*arguments)
            if bad >= 0:
                raise data.wrong_target(self.model, self._y[bad], bad, self._dtype, classes)
            gradient = gradient[:classes] * self._x_scale
            if self.fit_intercept:
                gradient = np.concatenate([gradient, slopes[:classes, np.newaxis]], axis=1)
            return loss * self._unit, (gradient * self._unit).reshape(shape)

    def _with_impossible_class(self, w: Any, intercept: Any, v: Any) -> Any:
        """A second class of probability 0: the loops are made for two or more."""
        wrong = self._y != 0
        if wrong.any():
            at = int(np.argmax(wrong))
            raise data.wrong_target(self.model, self._y[at], at, self._dtype, 1)

        def extended(a: Any, b: Any, last: float) -> tuple[Any, Any]:
            return np.concatenate([a, 0 * a]), np.array([b[0], last], b.dtype)

        return *extended(w, intercept, -np.inf), None if v is None else extended(v[0], v[1], 0.0)

    # What `nbgrad.regression.passes.second_order` asks of the rows

    xp: Any = np

    @property
    def sparse(self) -> bool:
        return not self._dense

    @property
    def size(self) -> int:
        """The numbers of X."""
        return int(self._X.size)

    @property
    def unit(self) -> float:
        """That of `weights`."""
        return self._unit

    def computing(self) -> Any:
        """Within it the rows' arrays may be computed with."""
        return contextlib.nullcontext()

    def on_host(self, array: Any) -> Any:
        return array

    def numbers(self, at: slice, dense: bool) -> Any:
        """A copy of rows in float64, with ``x_scale``."""
        x = self._X[at] if self._dense else self._canonical(at)
        x = x.toarray() if dense and not self._dense else x
        x = x.astype(FLOAT64, **({"order": "C"} if self._dense else {}))
        if self._x_scale != 1:
            x *= self._x_scale
        return x

    def in_frame(self, at: slice, frame: Frame) -> Any:
        """Rows in the frame, dense, with a 1 for the intercept."""
        x = self._X[at] if self._dense else checked(self._X, at.start, at.stop).toarray()
        return frame.columns(x, self._x_scale, self.fit_intercept)

    def labels(self, at: slice) -> Any:
        return self._y[at]

    def weights(self, at: slice) -> Any:
        """None where all are 1."""
        return self._weight[at].astype(FLOAT64) if self._weight.size else None

    def by_columns(self, frame: Frame) -> SparseColumns | None:
        """The columns in the frame, of a sparse matrix that is not centred, and with one score a row."""
        if not self.sparse or frame.centre is not None or self._terms.matrix:
            return None
        return columns_of(self._canonical(slice(0, self.rows)), frame.unit * self._x_scale)

    def _canonical(self, at: slice) -> Any:
        """Rows of a CSR matrix, whose numbers are sorted and have places of their own."""
        x = checked(self._X, at.start, at.stop)
        if not x.has_canonical_format:
            x = x.copy()
            x.sum_duplicates()
        return x

    def of_scores(self, scores: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """(Σ weight·loss, weighted residuals, weighted second derivatives) of all rows of a model of one score."""
        at, scores = slice(0, self.rows), scores[np.newaxis].copy()
        D = self.curvature(at, scores)[0] * self.unit
        loss, residuals = self.loss_and_residuals(at, scores)
        return loss * self.unit, residuals[0] * self.unit, D

    def loss_and_residuals(self, at: slice, scores: Any) -> tuple[Any, Any]:
        """(Σ weight·loss, weighted residuals) of float64 scores (classes, n), which are overwritten."""
        loss = self._of_scores(at, scores, None)
        return loss, scores

    def curvature(self, at: slice, scores: Any) -> Any:
        """weight·f'' (1, n) of a model of one score."""
        change = np.ones_like(scores)
        self._of_scores(at, scores, change)
        return change

    def _of_scores(self, at: slice, scores: Any, direction: Any) -> float:
        classes, n = scores.shape
        target = self._y[at] if self._terms.matrix else self._y[at].astype(FLOAT64)
        weight = np.empty(0) if not self._weight.size else self._weight[at].astype(FLOAT64)
        work, wide, nothing = np.empty(work_size(classes, 0)), np.zeros(wide_size(classes, 0)), np.zeros(classes)
        u = scores if direction is None else direction
        parameters = tuple(FLOAT64.type(p) for p in self._parameters)
        loop = cpu_regression.of_scores(self._terms, direction is not None).serial
        bad = loop(scores.reshape(-1), u.reshape(-1), n, target, weight, nothing, nothing, parameters, work, wide)
        if bad >= 0:
            raise data.wrong_target(self.model, target[bad], at.start + bad, self._dtype, classes)
        return float(wide[LANES : 2 * LANES].sum())
