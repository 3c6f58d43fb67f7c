"""What logistic and softmax regression share: `fit` by a minimizer, labels. See `nbgrad.regression.estimators`."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import on_device
from nbgrad.regression.block_problem import BlockProblem
from nbgrad.regression.data import check_labels
from nbgrad.regression.dispatch import as_blocks
from nbgrad.regression.minimize import minimize
from nbgrad.regression.problem import Problem
from nbgrad.regression.scikit.answers import by_rows, score
from nbgrad.regression.scikit.base import (
    BaseEstimator,
    ClassifierMixin,
    check_blocks,
    check_classification_targets,
    check_is_fitted,
    check_parameters,
    check_sample_weight,
    check_X_y,
    class_weights,
    dense,
    kept_if_refused,
    linear_scores,
    precision,
    take,
)
from nbgrad.regression.scikit.penalty import check_penalty, penalties

__all__ = ["Classifier"]


class Classifier(ClassifierMixin, BaseEstimator):
    """`LogisticRegression` and `SoftmaxRegression` but for their scores' shape and their probabilities."""

    classes_: NDArray[Any]
    coef_: NDArray[Any]
    intercept_: NDArray[Any]
    n_iter_: NDArray[np.int32]
    n_features_in_: int

    def __init__(
        self,
        penalty: Literal["l1", "l2", "elasticnet", "deprecated"] | None = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        random_state: Any = None,
        solver: Literal["auto", "lbfgs", "newton-cg", "newton-cholesky", "sag", "saga", "scaled-lbfgs"] = "auto",
        max_iter: int = 100,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
        x_scale: float = 1.0,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.x_scale = x_scale

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit to the labels ``y`` (n_samples,): numbers, bools or strings."""
        with np.errstate(all="ignore"), kept_if_refused(self):
            check_parameters(self)
            check_penalty(self)
            device = on_device(X)
            blocks: Any = None if device else as_blocks(X, y, sample_weight)
            problem: Any
            if device:
                problem, dtype = self._device_problem(X, y, sample_weight)
            elif blocks is None:
                X, y = check_X_y(self, X, y)
                problem, dtype = self._problem(X, y, sample_weight), X.dtype
            else:
                problem = self._block_problem(blocks)
                dtype = problem.summary.dtype
            problem.l2, l1 = penalties(self, problem.weight_sum)
            start = self._start()
            found = minimize(
                problem, start, solver=self.solver, l1=l1,
                tol=float(self.tol), max_iter=int(self.max_iter), verbose=int(self.verbose), stacklevel=3,
            )  # fmt: skip
            self.n_iter_ = np.array([found.n_iter], np.int32)
            matrix = found.params.reshape(-1, start.shape[-1]).astype(precision(dtype))
            self.coef_ = matrix[:, : self.n_features_in_].copy()
            self.intercept_ = matrix[:, -1].copy() if self.fit_intercept else np.zeros(len(matrix), matrix.dtype)
            return self

    def _problem(self, X: Any, y: NDArray[Any], sample_weight: Any) -> Problem:
        check_labels(y)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        weight = check_sample_weight(sample_weight, len(labels))
        by_class, place = self._present(np.bincount(labels, weights=weight, minlength=len(self.classes_)))
        if self.class_weight is not None:
            weight = by_class[labels] if weight is None else weight * by_class[labels]
        return Problem(self._model(), X, place[labels], sample_weight=weight, **self._options())

    def _device_problem(self, X: Any, y: Any, sample_weight: Any) -> tuple[Problem, Any]:
        from nbgrad.regression.scikit import device_data

        data = device_data.Labelled(self, X, y, sample_weight)
        self.classes_ = data.classes
        by_class, place = self._present(data.count())
        if self.class_weight is not None:
            data.multiply(by_class)
        data.move(place)
        return Problem(self._model(), X, data.labels, sample_weight=data.weight, **self._options()), data.dtype

    def _block_problem(self, blocks: Any) -> BlockProblem:
        summary = check_blocks(self, blocks, classify=True)
        assert summary.classes is not None and summary.class_weights is not None
        self.classes_ = summary.classes
        by_class, place = self._present(summary.class_weights)
        return BlockProblem(
            self._model(), blocks, summary=summary, place=place,
            class_weight=None if self.class_weight is None else by_class, **self._options(),
        )  # fmt: skip

    def _present(self, count: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """(the weight of each class, its place in ``classes_``), which from here on are those whose rows weigh
        something: ``count`` each, with ``class_weight``. Rows of the others have weight 0, and any place.
        """
        by_class = np.zeros(len(count))
        there = count > 0
        if there.any():
            classes, several = self.classes_[there], count[there]
            by_class[there] = 1.0 if self.class_weight is None else class_weights(self.class_weight, classes, several)
        kept = by_class * count > 0
        if not kept.any():
            raise ValueError(
                f"class_weight: expected a weight above 0 for a class that has samples, got {self.class_weight!r}"
            )
        self.classes_ = self.classes_[kept]
        self._check_classes()
        return by_class, np.maximum(np.cumsum(kept) - 1, 0)

    def _options(self) -> dict[str, Any]:
        return {"fit_intercept": bool(self.fit_intercept), "x_scale": float(self.x_scale)}

    def _check_classes(self) -> None:
        if len(self.classes_) < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
                f"{self.classes_[0]!r}"
            )

    def _model(self) -> str:
        raise NotImplementedError

    def _params_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def _start(self) -> NDArray[np.float64]:
        """Zeros, or what the last `fit` found."""
        start = np.zeros(self._params_shape())
        if self.warm_start and hasattr(self, "coef_"):
            coef = dense(self.coef_)
            last = np.column_stack([coef, self.intercept_]) if self.fit_intercept else coef
            if last.size != start.size:
                raise ValueError(
                    f"Initialization coef is of shape {last.shape}, expected shape "
                    f"{start.shape if start.ndim == 2 else (1, *start.shape)}"
                )
            start[...] = last.reshape(start.shape)
        return start

    def _scores(self, X: Any) -> NDArray[Any]:
        return linear_scores(X, self.coef_, self.intercept_, self.x_scale)

    def _most_likely(self, scores: NDArray[Any]) -> NDArray[np.intp]:
        return (scores[:, 0] > 0).astype(np.intp) if scores.shape[1] == 1 else scores.argmax(axis=1)

    def _labels(self, X: Any) -> Any:
        return take(self.classes_, self._most_likely(self._scores(X)))

    def sparsify(self) -> Self:
        """``coef_`` as SciPy's CSR matrix, which takes less memory where ``l1_ratio`` made most of it 0."""
        from scipy.sparse import csr_matrix

        check_is_fitted(self)
        self.coef_ = csr_matrix(self.coef_)
        return self

    def densify(self) -> Self:
        """``coef_`` as an array again."""
        check_is_fitted(self)
        self.coef_ = dense(self.coef_)
        return self

    def predict(self, X: Any) -> Any:
        """The most likely label of each row."""
        return by_rows(self, type(self)._labels, X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose label is predicted."""
        return score(ClassifierMixin, self, X, y, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = True
        return tags
