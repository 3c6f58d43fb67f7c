"""`Problem`: one regression model on one data set, checked and laid out once, asked for values, gradients and Hessians
at any parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arguments import check_choice
from nbgrad.arrays import FLOAT64, as_float, on_device
from nbgrad.regression import data
from nbgrad.regression.passes.extents import Extent, class_extents, margins
from nbgrad.regression.passes.host import Passes
from nbgrad.regression.passes.one_pass import Curvature
from nbgrad.regression.passes.second_order import Frame, Ranges, ranges, second_order

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["Problem"]


def _passes(X: Any) -> type[Passes]:
    """Over the data where they lie: what differs between devices."""
    if on_device(X):
        from nbgrad.regression.passes.device import DevicePasses

        return DevicePasses
    return Passes


class Problem:
    """A model on a data set: mean loss, its gradient and its Hessian in float64, at any ``params``.

    ``model`` is the name of an objective, ``"linear"`` of `linear_value_and_grad` and so on; what it minimises, the
    other arguments and the model's own ``parameters``: `nbgrad.regression.objectives`. ``dtype`` is the precision of
    the products over the features, float32 or float64; without it X's own, float64 if that is neither. Whatever it is,
    the sums over the rows are float64.

    X is not copied: what is written to it later is seen. ``params`` are float64, flat or in the shape of the model.

    X, y and ``sample_weight`` may lie on a GPU: `nbgrad.regression.passes.device`.

    >>> import numpy as np
    >>> problem = Problem("logistic", np.array([[1.0], [2.0]]), np.array([0, 1]))
    >>> problem.value_and_grad(np.zeros(2))
    (0.6931471805599453, array([-0.25,  0.  ]))
    >>> problem.hessian(np.zeros(2)) @ np.array([1.0, 0.0])
    array([0.625, 0.375])
    """

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
        **parameters: float,
    ) -> None:
        check_choice(model, "model", tuple(data.MODELS))
        self.parameters = data.parameters(model, parameters)
        self.model, self.l2 = model, data.penalty(l2)
        self.fit_intercept = data.flag(fit_intercept, "fit_intercept")
        x_scale = data.finite(x_scale, "x_scale")
        self._passes = _passes(X)(model, X, y, sample_weight, self.fit_intercept, x_scale, dtype, self.parameters)
        self.rows, self.n_features, self.weight_sum = (
            self._passes.rows, self._passes.n_features, self._passes.weight_sum
        )  # fmt: skip

    def sums(self, params: Any) -> tuple[Any, Any, np.float64]:
        """(Σ weight·loss, its gradient, Σ weight), additive over the rows; without ``l2``. float64, beside params."""
        return *self._passes.sums(params), self.weight_sum

    def moments(self, frame: Frame, share: float, rare: Any = ((), ())) -> tuple[NDArray[np.float64], float]:
        """`nbgrad.regression.scaling.moments` of a random ``share`` of the rows, on the CPU."""
        return self._passes.moments(frame, share, rare)

    def ranges(self) -> Ranges:
        """What the columns show: `nbgrad.regression.passes.second_order.Ranges`."""
        return ranges(self._passes)

    def second_order(self, params: Any, frame: Frame, kind: str, chosen: Any = None) -> tuple[Any, ...]:
        """`nbgrad.regression.passes.second_order.second_order` at ``params`` (classes, columns) of the frame."""
        return second_order(self._passes, params, frame, kind, chosen)

    def by_columns(self, frame: Frame) -> Any:
        """The columns of a large sparse X with one score a row, in the frame; else None."""
        return self._passes.by_columns(frame)

    def of_scores(self, scores: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """(Σ weight·loss, weighted residuals, weighted second derivatives) of the rows' scores."""
        return self._passes.of_scores(scores)

    def margins(self, several: NDArray[np.float64], frame: Frame) -> Extent:
        """`nbgrad.regression.passes.extents.margins` of ``several`` parameters (classes, columns) of the frame."""
        return margins(self._passes, several, frame)

    def class_extents(self, classes: int) -> Extent:
        """`nbgrad.regression.passes.extents.class_extents`."""
        return class_extents(self._passes, classes)

    @property
    def sparse(self) -> bool:
        """Whether X is a sparse matrix."""
        return self._passes.sparse

    def value_and_grad(self, params: Any) -> tuple[Any, Any]:
        """(mean loss + ½·l2·‖w‖², its gradient in the shape of ``params``), where ``params`` are."""
        return self._passes.mean(self, params)

    def hessp(self, params: Any, v: Any, *, curvature: Curvature | None = None) -> Any:
        """The Hessian at ``params`` times ``v``, in one pass over X."""
        return self._passes.product(self, params, v, curvature)

    def hessian(self, params: Any) -> LinearOperator:
        """The Hessian at ``params`` (on the CPU) as an operator on flat vectors. What depends on params alone (of
        softmax the probabilities) is kept from the first product on: each is one pass over X.
        """
        from scipy.sparse.linalg import LinearOperator

        params, kept = np.array(as_float(params, "params"), FLOAT64), Curvature()

        def product(v: NDArray[Any]) -> NDArray[Any]:
            return self.hessp(params, v.reshape(params.shape), curvature=kept).reshape(-1)

        return LinearOperator((params.size,) * 2, matvec=product, rmatvec=product, dtype=FLOAT64)
