"""A regression model on more data than memory holds: its sums over blocks of rows."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from nbgrad.arguments import check_choice
from nbgrad.formulas.regression import SCORE_MODELS
from nbgrad.regression.blocks import Summary, scan
from nbgrad.regression.data import MODELS, parameters, product_dtype
from nbgrad.regression.passes.extents import Extent
from nbgrad.regression.passes.host import mean_with_penalty
from nbgrad.regression.passes.second_order import Frame, Ranges
from nbgrad.regression.problem import Problem

__all__ = ["BlockProblem"]


@dataclass(frozen=True)
class _Task:
    """What a task needs beside the block and the parameters."""

    classes: NDArray[Any] | None
    class_weight: NDArray[Any] | None
    place: NDArray[Any] | None
    options: dict[str, Any]

    def problem(self, block: tuple[Any, Any, Any]) -> Problem:
        X, y, weight = block
        if self.classes is not None:
            y = _codes(y, self.classes)
        if self.class_weight is not None:
            of_class = np.take(self.class_weight, y, mode="clip")  # a label out of range: the pass refuses it
            weight = of_class if weight is None else weight * of_class
        if self.place is not None:
            y = self.place[y]
        return Problem(X=X, y=y, sample_weight=weight, **self.options)


def _block_sums(i: int, block: tuple[Any, Any, Any], argument: tuple[_Task, NDArray[Any]]) -> tuple[Any, ...]:
    """(Σ weight·loss, gradient, Σ weight, rows) of a block."""
    model, params = argument
    return (*model.problem(block).sums(params), len(block[1]))


def _block_product(i: int, block: tuple[Any, Any, Any], argument: tuple[_Task, Any, Any]) -> tuple[Any, ...]:
    """(Σ weight·Hessian of the losses times v, Σ weight, rows) of a block."""
    model, params, v = argument
    problem = model.problem(block)
    weight = problem.weight_sum
    product = weight * problem.hessp(params, v) if weight else np.zeros(v.shape)
    return product, weight, len(block[1])


def _block_moments(i: int, block: tuple[Any, Any, Any], argument: tuple[_Task, Frame, float, Any]) -> tuple[Any, ...]:
    model, *rest = argument
    return *model.problem(block).moments(*rest), len(block[1])


def _block_ranges(i: int, block: tuple[Any, Any, Any], argument: tuple[_Task]) -> tuple[Any, ...]:
    (model,) = argument
    problem = model.problem(block)
    return problem.ranges(), problem.sparse, len(block[1])


def _block_second_order(i: int, block: tuple[Any, Any, Any], argument: tuple[Any, ...]) -> tuple[Any, ...]:
    model, *rest = argument
    return *model.problem(block).second_order(*rest), len(block[1])


def _block_margins(i: int, block: tuple[Any, Any, Any], argument: tuple[_Task, Any, Any]) -> tuple[Any, ...]:
    model, several, frame = argument
    return model.problem(block).margins(several, frame), len(block[1])


def _block_class_extents(i: int, block: tuple[Any, Any, Any], argument: tuple[_Task, int]) -> tuple[Any, ...]:
    model, classes = argument
    return model.problem(block).class_extents(classes), len(block[1])


def _codes(y: NDArray[Any], classes: NDArray[Any]) -> NDArray[Any]:
    """The labels' positions in ``classes``."""
    codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unseen = classes[codes] != y
    if unseen.any():
        raise ValueError(f"y: expected the labels of the first pass, got {y[np.argmax(unseen)]!r}")
    return codes


def _add(*parts: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(functools.reduce(operator.add, column) for column in zip(*parts, strict=True))


@dataclass
class BlockProblem:
    """Σ weight·loss / Σ weight + ½·l2·‖weights‖² over blocks of rows, and its gradient.

    ``model`` is one of `nbgrad.regression.Problem`, ``parameters`` are its own. Labels may be anything that can be
    sorted: the first pass finds ``summary.classes``, and a label counts as its position there; with ``num_classes``
    they are taken as 0..num_classes − 1; ``place`` (a number for each class) changes the positions. ``summary`` is that
    of a first pass already made. ``class_weight`` (for each class found) multiplies the rows' weights, ``l2`` does not
    touch the intercept; both may be set between construction and use, when ``summary`` is known. ``dtype`` is the
    precision of the kernels: that of X by default, float64 for integers. Parameters, shapes:
    `nbgrad.regression.objectives`.

    Memory: what the blocks hold, in their own dtype, and a few numbers for each row of the block at work; nothing grows
    with the number of blocks but the logarithm of it, in gradients.

    >>> import numpy as np
    >>> from nbgrad.regression.blocks import Blocks
    >>> blocks = Blocks([(np.array([[0.0], [1.0]]), ["no", "yes"]), (np.array([[2.0]]), ["yes"])])
    >>> problem = BlockProblem("logistic", blocks, l2=0.5)
    >>> problem.summary.classes.tolist()
    ['no', 'yes']
    >>> value, grad = problem.value_and_grad(np.zeros(2))
    >>> round(value, 12), grad.round(12).tolist()
    (0.69314718056, [-0.5, -0.166666666667])

    Errors: those of `scan` and of the model's ``..._sums``, each with the number of the block; ValueError where a
    later pass has other labels or another number of rows than the first.
    """

    model: str
    blocks: Any
    num_classes: int | None = None
    class_weight: NDArray[Any] | None = None
    l2: float = 0.0
    fit_intercept: bool = True
    x_scale: float = 1.0
    dtype: Any = None
    place: NDArray[Any] | None = None
    summary: Summary = None  # type: ignore[assignment]  # None: of the pass that the constructor makes
    parameters: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice(self.model, "model", tuple(MODELS))
        self.parameters = parameters(self.model, self.parameters)
        classify = MODELS[self.model].classifies and self.num_classes is None
        if self.summary is None:
            self.summary = scan(self.blocks, classify=classify)
        if self.dtype is None:
            self.dtype = product_dtype(None, self.summary.dtype)
        if classify:
            classes = self.summary.classes
            assert classes is not None
            self.num_classes = len(classes)
            plain = classes.dtype.kind in "iu" and np.array_equal(classes, np.arange(len(classes)))
            if self.place is not None:
                self.num_classes, plain = int(self.place.max()) + 1, False
            self._classes = None if plain else classes  # labels that are their own positions need no search
        else:
            self._classes = None
        if self.model in SCORE_MODELS and self.num_classes is not None and self.num_classes > 2:
            raise ValueError(f"y: expected 2 classes for logistic regression, got {self.num_classes}")

    @property
    def weight_sum(self) -> float:
        """Σ weight, ``class_weight`` included."""
        if self.class_weight is None:
            return self.summary.weight_sum
        return float(np.dot(self.class_weight, np.asarray(self.summary.class_weights)))

    @property
    def rows(self) -> int:
        return self.summary.rows

    def moments(self, frame: Frame, share: float, rare: Any = ((), ())) -> tuple[NDArray[np.float64], float]:
        """`nbgrad.regression.scaling.moments` of a random ``share`` of each block's rows; one pass over the blocks."""
        return self._pass("moments", _block_moments, frame, share, rare)

    def ranges(self) -> Ranges:
        """What the columns show; one pass over the blocks."""
        found, self._sparse = self._pass("ranges", _block_ranges)
        return found

    def second_order(self, params: Any, frame: Frame, kind: str, chosen: Any = None) -> tuple[Any, ...]:
        """`nbgrad.regression.passes.second_order.second_order`; one pass over the blocks."""
        return self._pass("second_order", _block_second_order, params, frame, kind, chosen)

    def margins(self, several: Any, frame: Frame) -> Extent:
        """`nbgrad.regression.passes.extents.margins`; one pass over the blocks."""
        return self._pass("margins", _block_margins, several, frame)[0]

    def class_extents(self, classes: int) -> Extent:
        """`nbgrad.regression.passes.extents.class_extents`; one pass over the blocks."""
        return self._pass("class_extents", _block_class_extents, classes)[0]

    @property
    def sparse(self) -> bool:
        """Whether blocks are sparse matrices; after `ranges`."""
        return bool(self._sparse)

    def value_and_grad(self, params: Any) -> tuple[float, NDArray[Any]]:
        """Value and gradient in float64, the gradient in the shape of ``params``; one pass over the blocks."""
        loss, grad, weight = self._pass("sums", _block_sums, params)
        return mean_with_penalty(self, loss, grad, weight, params)

    def hessian(self, params: Any) -> LinearOperator:
        """The Hessian at ``params`` as an operator on flat vectors; each product is a pass over the blocks."""
        params = np.array(params, np.float64)

        def product(v: NDArray[Any]) -> NDArray[Any]:
            v = v.reshape(params.shape)
            image, weight = self._pass("hessp", _block_product, params, v)
            return mean_with_penalty(self, 0.0, image, weight, v)[1].reshape(-1)

        return LinearOperator((params.size,) * 2, matvec=product, rmatvec=product, dtype=np.float64)

    def _pass(self, name: str, function: Callable[..., Any], *vectors: Any) -> tuple[Any, ...]:
        """What ``function`` finds of the blocks, added up, without the number of rows, which comes last."""
        options = {
            "model": self.model, "fit_intercept": self.fit_intercept, "x_scale": self.x_scale, "dtype": self.dtype,
            **self.parameters,
        }  # fmt: skip
        model = _Task(self._classes, self.class_weight, self.place, options)
        *found, rows = self.blocks.reduce(f"{self.model}_{name}", function, _add, (model, *vectors))
        if rows != self.summary.rows:
            raise ValueError(f"X: expected the {self.summary.rows} rows of the first pass, got {rows}")
        return tuple(found)

    @property
    def n_features(self) -> int:
        return self.summary.features
