"""`Problem`: one regression model on one data set, checked and laid out once, asked for values, gradients and Hessians
at any parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT64, as_float, check_choice, on_device
from nbgrad.cpu.models import models
from nbgrad.regression import data
from nbgrad.regression.csr import one_pass_csr
from nbgrad.regression.one_pass import Curvature, one_pass
from nbgrad.regression.scaling import moments

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["MODELS", "Problem"]

MODELS = ("linear", "logistic", "logistic_mse", "softmax")


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


class Problem:
    """A model on a data set: mean loss, its gradient and its Hessian in float64, at any ``params``.

    ``model``: ``"linear"``, ``"logistic"``, ``"logistic_mse"`` or ``"softmax"``; what it minimises and the other
    arguments: `nbgrad.regression.objectives`. ``dtype`` is the precision of the products over the features, float32 or
    float64; without it X's own, float64 if that is neither. Whatever it is, the sums over the rows are float64.

    X is not copied: what is written to it later is seen. ``params`` are float64, flat or in the shape of the model.

    X, y and ``sample_weight`` may lie on a GPU: `nbgrad.regression.device`.

    >>> import numpy as np
    >>> problem = Problem("logistic", np.array([[1.0], [2.0]]), np.array([0, 1]))
    >>> problem.value_and_grad(np.zeros(2))
    (0.6931471805599453, array([-0.25,  0.  ]))
    >>> problem.hessian(np.zeros(2)) @ np.array([1.0, 0.0])
    array([0.625, 0.375])
    """

    def __new__(cls, model: str, X: Any, *arguments: Any, **options: Any) -> Problem:
        if cls is Problem and on_device(X):
            from nbgrad.regression.device import DeviceProblem

            return object.__new__(DeviceProblem)
        return object.__new__(cls)

    def __init__(
        self,
        model: str,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        l2: float = 0.0,
        fit_intercept: bool = True,
        x_scale: float = 1.0,
        dtype: Any = None,
    ) -> None:
        self._settle(model, l2, fit_intercept, x_scale)
        self._X = data.matrix(X)
        self.rows, self.n_features = n, _ = self._X.shape
        self._dense = isinstance(self._X, np.ndarray)
        self._dtype = data.precision(dtype, self._X.dtype) if self._dense else FLOAT64
        self._y = data.targets(model, y, n, self._dtype)
        self._weight, self._unit, self.weight_sum = data.weights(sample_weight, n, self._dtype)

    def _settle(self, model: str, l2: float, fit_intercept: bool, x_scale: float) -> None:
        """What does not depend on the data, checked."""
        check_choice(model, "model", MODELS)
        self.model, self._loops, self.l2 = model, models()[model], data.penalty(l2)
        self.fit_intercept = data.flag(fit_intercept, "fit_intercept")
        self._x_scale = data.finite(x_scale, "x_scale")

    def _split(self, params: Any, name: str = "params") -> tuple[NDArray[Any], NDArray[Any]]:
        """(coefficients times x_scale, intercepts) as the loops take them."""
        matrix = data.coefficients(
            as_float(params, name), self.n_features, self.fit_intercept, self._loops.matrix, name
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
            if self._loops.matrix and classes == 1:
                w, intercept, v = self._with_impossible_class(w, intercept, v)
            arguments = self._loops, self._X, self._y, self._weight, w, intercept, v
            bad, loss, gradient, slopes = (
                one_pass(*arguments, curvature) if self._dense else one_pass_csr(*arguments)
            )
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

    def sums(self, params: Any) -> tuple[np.float64, NDArray[Any], np.float64]:
        """(Σ weight·loss, its gradient, Σ weight), additive over the rows; without ``l2``."""
        return *self._pass(params), self.weight_sum

    def moments(self, step: int, full: bool) -> tuple[NDArray[np.float64], float]:
        """`nbgrad.regression.scaling.moments` of every ``step``-th row."""
        found, total = moments(
            self._X, self._weight if self._weight.size else None,
            step=step, x_scale=self._x_scale, fit_intercept=self.fit_intercept, full=full,
        )  # fmt: skip
        return found * self._unit, total * self._unit

    def value_and_grad(self, params: Any) -> tuple[float, NDArray[Any]]:
        """(mean loss + ½·l2·‖w‖², its gradient in the shape of ``params``)"""
        return mean_with_penalty(self, *self.sums(params), params)

    def hessp(self, params: Any, v: Any, *, curvature: Curvature | None = None) -> NDArray[Any]:
        """The Hessian at ``params`` times ``v``, in one pass over X."""
        v = as_float(v, "v")
        if v.shape != np.shape(params):
            raise ValueError(f"v: expected params' shape {np.shape(params)}, got {v.shape}")
        _, product = self._pass(params, v, curvature)
        return mean_with_penalty(self, 0.0, product, self.weight_sum, v)[1]

    def hessian(self, params: Any) -> LinearOperator:
        """The Hessian at ``params`` as an operator on flat vectors. What depends on params alone (of softmax the
        probabilities) is kept from the first product on: each is one pass over X.
        """
        from scipy.sparse.linalg import LinearOperator

        params, kept = np.array(params, FLOAT64), Curvature()

        def product(v: NDArray[Any]) -> NDArray[Any]:
            return self.hessp(params, v.reshape(params.shape), curvature=kept).reshape(-1)

        return LinearOperator((params.size,) * 2, matvec=product, rmatvec=product, dtype=FLOAT64)
