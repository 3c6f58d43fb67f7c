"""Linear, logistic and softmax regression with scikit-learn's methods, with or without scikit-learn.

Rules they share:

* ``X`` (n_samples, n_features): an array, a DataFrame, or scipy.sparse (other formats are turned into CSR).
  float32, float64 and uint8 are taken as they are, in any memory order, also memory-mapped: nothing is
  copied. Other numbers become float64.
* `fit` takes blocks of rows, too: dask arrays ``X``, ``y`` (and ``sample_weight``); or, with ``y`` None, as ``X`` a
  list of ``(X, y)`` or ``(X, y, sample_weight)``, a function that returns an iterator of such, or a list of Dask's
  futures. The same blocks give the same bits. On a dask.array what predicts answers with one, lazily; `score` computes.
* The classifiers' `fit` takes ``X``, ``y`` (and ``sample_weight``) on a GPU, too, and computes there; whatever predicts
  takes ``X`` there and answers with its kind of array (labels that are no numbers: NumPy's). ``coef_`` and all that is
  fitted are NumPy's.
* ``x_scale`` multiplies X in the kernels (pixels: 1/255), in `fit` and after; ``coef_`` belongs to the scaled features.
* Sums are float64, products in X's precision (uint8: float64); so are ``coef_``, ``intercept_`` and what
  `predict_proba` and `decision_function` return.
* ``sample_weight`` (n_samples,) >= 0, or one number for all; a row of weight 0 is absent.
* Errors: ValueError for nan, infinity or complex numbers, lengths and numbers of features that do not match, no
  rows, negative weights, parameters out of range; NotFittedError before `fit`.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from nbgrad import kernels
from nbgrad.arrays import on_device
from nbgrad.regression.base import (
    BaseEstimator,
    ClassifierMixin,
    ConvergenceWarning,
    RegressorMixin,
    by_rows,
    check_blocks,
    check_classification_targets,
    check_parameters,
    check_sample_weight,
    check_X_y,
    class_weights,
    linear_scores,
    precision,
    score,
    take,
)
from nbgrad.regression.blocks import BlockProblem, Blocks
from nbgrad.regression.dispatch import as_blocks
from nbgrad.regression.least_squares import least_squares
from nbgrad.regression.minimize import minimize
from nbgrad.regression.problem import Problem

__all__ = ["LinearRegression", "LogisticRegression", "SoftmaxRegression"]


class LinearRegression(RegressorMixin, BaseEstimator):
    """Least squares, solved directly: minimizes mean ½(x·coef + intercept − y)² + ½·l2·‖coef‖².

    One pass over X brings it to a triangle by Householder reflections, whatever its columns' units are. Where
    rounding would cost more than 11 digits (high condition and large residuals), a second pass takes the
    residuals in twice the precision. Where the data leave a choice, ``coef_`` is the shortest solution, as
    `numpy.linalg.lstsq` has it. Memory, beside X: 8·(n_features + 2)² bytes or a little more.

    Parameters
    ----------
    fit_intercept : bool
        Whether there is an intercept; it is not penalised.
    l2 : float
        Ridge regression; scikit-learn's ``Ridge(alpha=l2 * n_samples)``.
    x_scale : float
        A number that X is multiplied by.

    Attributes
    ----------
    coef_ : (n_features,)
    intercept_ : float
    rank_ : int
        The rank of the (centred) columns of X, each scaled to length 1.
    n_features_in_ : int
    feature_names_in_ : names of the columns, if X was a DataFrame.

    X, weights, errors: `nbgrad.regression.estimators`.

    Source: A.-M. Legendre, Nouvelles méthodes pour la détermination des orbites des comètes (1805); Å. Björck,
    Numerical methods for least squares problems (SIAM, 1996).

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 1.0], [4.0, 3.0]])
    >>> model = LinearRegression().fit(X, X @ [2.0, -1.0] + 0.5)
    >>> print(model.coef_.round(12), round(model.intercept_, 12), model.score(X, X @ [2.0, -1.0] + 0.5))
    [ 2. -1.] 0.5 1.0
    """

    coef_: NDArray[Any]
    intercept_: float
    rank_: int

    def __init__(self, *, fit_intercept: bool = True, l2: float = 0.0, x_scale: float = 1.0) -> None:
        self.fit_intercept = fit_intercept
        self.l2 = l2
        self.x_scale = x_scale

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit to the numbers ``y`` (n_samples,)."""
        check_parameters(self)
        device = on_device(X)
        blocks: Any = None if device else as_blocks(X, y, sample_weight)
        if device:
            from nbgrad.regression.device_data import Measured

            X = Measured(self, X, y, sample_weight)
            y, sample_weight, dtype = None, None, X.dtype
        elif blocks is None:
            X, y = check_X_y(self, X, y, y_numeric=True)
            sample_weight = check_sample_weight(sample_weight, X.shape[0])
            y, dtype = y.astype(np.float64, copy=False), X.dtype
        else:
            dtype = check_blocks(self, blocks, classify=False).dtype
            X, y, sample_weight = blocks, None, None
        coef, intercept, self.rank_ = least_squares(
            X, y, sample_weight=sample_weight,
            l2=float(self.l2), fit_intercept=bool(self.fit_intercept), x_scale=float(self.x_scale),
        )  # fmt: skip
        dtype = precision(dtype)
        self.coef_, self.intercept_ = coef.astype(dtype), dtype.type(intercept)
        return self

    def predict(self, X: Any) -> Any:
        """x·coef + intercept of each row."""
        return by_rows(self, lambda m, X: linear_scores(X, m.coef_, m.intercept_, m.x_scale), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² = 1 − Σ (y − prediction)² / Σ (y − mean y)²."""
        return score(RegressorMixin, self, X, y, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = True
        return tags


class _Classifier(ClassifierMixin, BaseEstimator):
    """What logistic and softmax regression share."""

    classes_: NDArray[Any]
    coef_: NDArray[Any]
    intercept_: NDArray[Any]
    n_iter_: NDArray[np.int32]
    n_features_in_: int
    _model: str

    def __init__(
        self,
        *,
        C: float = 1.0,
        fit_intercept: bool = True,
        tol: float = 1e-4,
        solver: Literal["lbfgs", "newton-cg", "scaled-lbfgs"] = "lbfgs",
        max_iter: int = 100,
        class_weight: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        x_scale: float = 1.0,
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.solver = solver
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.x_scale = x_scale

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit to the labels ``y`` (n_samples,): numbers, bools or strings."""
        check_parameters(self)
        device = on_device(X)
        blocks: Any = None if device else as_blocks(X, y, sample_weight)
        problem: Any
        if device:
            problem, dtype = self._device_problem(X, y, sample_weight)
        elif blocks is None:
            X, y = check_X_y(self, X, y)
            problem, dtype, blocks = self._problem(X, y, sample_weight), X.dtype, Blocks([(X, y)])
        else:
            problem = self._block_problem(blocks)
            dtype = problem.summary.dtype
        problem.l2 = 1 / (float(self.C) * float(problem.weight_sum))
        start = self._start()
        found = minimize(
            problem, start, solver=self.solver,
            tol=float(self.tol), max_iter=int(self.max_iter), verbose=int(self.verbose), stacklevel=3,
        )  # fmt: skip
        self.n_iter_ = np.array([found.n_iter], np.int32)
        matrix = found.params.reshape(-1, start.shape[-1]).astype(precision(dtype))
        self.coef_ = matrix[:, : self.n_features_in_].copy()
        self.intercept_ = matrix[:, -1].copy() if self.fit_intercept else np.zeros(len(matrix), matrix.dtype)
        if np.isinf(self.C) and (
            self.score(X, y) == 1 if device else blocks.reduce("separated", _separated, _all, self)
        ):
            warnings.warn(
                "The classes are separated without an error, and without a penalty (C=inf) there are no best "
                f"coefficients: they grow for ever. Kept are those after {found.n_iter} iteration(s). Use a finite C.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _problem(self, X: Any, y: NDArray[Any], sample_weight: Any) -> Problem:
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._check_classes()
        weight = check_sample_weight(sample_weight, len(labels))
        if self.class_weight is not None:
            count = np.bincount(labels, weights=weight, minlength=len(self.classes_))
            by_class = class_weights(self.class_weight, self.classes_, count)[labels]
            weight = by_class if weight is None else weight * by_class
        return Problem(self._model, X, labels, sample_weight=weight, **self._options())

    def _device_problem(self, X: Any, y: Any, sample_weight: Any) -> tuple[Problem, Any]:
        from nbgrad.regression import device_data

        data = device_data.Labelled(self, X, y, sample_weight)
        self.classes_ = data.classes
        self._check_classes()
        if self.class_weight is not None:
            data.multiply(class_weights(self.class_weight, self.classes_, data.count()))
        return Problem(self._model, X, data.labels, sample_weight=data.weight, **self._options()), data.dtype

    def _block_problem(self, blocks: Any) -> BlockProblem:
        summary = check_blocks(self, blocks, classify=True)
        assert summary.classes is not None and summary.class_weights is not None
        self.classes_ = summary.classes
        self._check_classes()
        by_class = None
        if self.class_weight is not None:
            by_class = class_weights(self.class_weight, self.classes_, summary.class_weights)
        return BlockProblem(self._model, blocks, summary=summary, class_weight=by_class, **self._options())

    def _options(self) -> dict[str, Any]:
        return {"fit_intercept": bool(self.fit_intercept), "x_scale": float(self.x_scale)}

    def _check_classes(self) -> None:
        if len(self.classes_) < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
                f"{self.classes_[0]!r}"
            )

    def _params_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def _start(self) -> NDArray[np.float64]:
        """Zeros, or what the last `fit` found."""
        start = np.zeros(self._params_shape())
        if self.warm_start and hasattr(self, "coef_"):
            last = np.column_stack([self.coef_, self.intercept_]) if self.fit_intercept else self.coef_
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


class LogisticRegression(_Classifier):
    """Two classes: P(second class) = σ(s) of the score s = x·coef + intercept.

    Minimizes the mean of ln(1 + e^−s) for rows of the second class and ln(1 + e^s) for the first, plus
    ½·l2·‖coef‖²; the same minimum as scikit-learn's ``LogisticRegression`` with the same ``C``.
    Probabilities and their logarithms keep their digits in both tails, σ(−s) is not taken from 1 − σ(s).
    Labels of more than two classes are an error; `SoftmaxRegression` takes them.

    Parameters
    ----------
    C : float
        Strength of the data against the penalty: l2 = 1 / (C·Σ weight); ``inf``: no penalty.
    fit_intercept : bool
        Whether there is an intercept; it is not penalised.
    tol : float
        The minimizer stops where no entry of the (mean's) gradient exceeds it.
    solver : "lbfgs", "newton-cg" or "scaled-lbfgs"
        L-BFGS, which takes the steps that scikit-learn's takes and warns where it warns; Newton's method by conjugate
        gradients in a trust region, for a small ``tol``; or L-BFGS in variables in which the second moments of the
        features are 1, the fastest where the features are correlated or their units differ.
    max_iter : int
        Iterations, at most: if they do not suffice, `fit` ends with a ConvergenceWarning.
    class_weight : dict, "balanced" or None
        {label: weight}, which multiplies ``sample_weight``; "balanced": n_samples / (n_classes·count of the label).
    warm_start : bool
        Whether `fit` starts from the last coefficients.
    random_state
        For scikit-learn's signature; nothing is random here.
    verbose : int
        1 prints objective, gradient and passes over X after each iteration.
    x_scale : float
        A number that X is multiplied by: 1/255 for pixels.

    Attributes
    ----------
    classes_ : (n_classes,)
        The labels, sorted.
    coef_ : (1, n_features)
    intercept_ : (1,)
    n_iter_ : (1,)
    n_features_in_ : int
    feature_names_in_ : (n_features,)
        If X was a DataFrame.

    X, weights, errors: `nbgrad.regression.estimators`.

    Source: D. R. Cox, The regression analysis of binary sequences, J. R. Stat. Soc. B 20 (1958) 215.

    >>> import numpy as np
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array(["no", "no", "yes", "yes"])
    >>> model = LogisticRegression().fit(X, y)
    >>> print(model.predict([[0.5], [2.5]]), model.predict_proba([[1.5]]).round(4))
    ['no' 'yes'] [[0.5 0.5]]
    """

    _model = "logistic"

    def _check_classes(self) -> None:
        super()._check_classes()
        if len(self.classes_) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is multiclass "
                f"({len(self.classes_)} classes): SoftmaxRegression takes more than two."
            )

    def _params_shape(self) -> tuple[int, ...]:
        return (self.n_features_in_ + bool(self.fit_intercept),)

    def decision_function(self, X: Any) -> Any:
        """The scores (n_samples,): above 0 the second class is the more likely one."""
        return by_rows(self, lambda m, X: m._scores(X)[:, 0], X)

    def predict_proba(self, X: Any) -> Any:
        """The probabilities (n_samples, 2) of the classes, in the order of ``classes_``."""
        return by_rows(self, lambda m, X: kernels.sigmoid(_both_signs(m._scores(X))), X)

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithms of `predict_proba`, finite where that is 0 or 1."""
        return by_rows(self, lambda m, X: kernels.log_sigmoid(_both_signs(m._scores(X))), X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class SoftmaxRegression(_Classifier):
    """Any number of classes: P(class k) = e^s_k / Σ e^s_j of the scores s = coef·x + intercept.

    Minimizes the mean of −ln P(label) plus ½·l2·‖coef‖², the same minimum as scikit-learn's
    ``LogisticRegression`` with the same ``C`` and three classes or more. Every class has its row of
    coefficients; the rows add up to 0.

    Two classes have two rows, (−w, w), where scikit-learn has one: ``coef_[1] - coef_[0]`` is that of
    `LogisticRegression` with ``2 * C``, because the penalty on two halves is half the penalty on the whole.
    `decision_function` then is the difference of the two scores, as scikit-learn expects it of two classes.

    Parameters
    ----------
    C : float
        Strength of the data against the penalty: l2 = 1 / (C·Σ weight); ``inf``: no penalty.
    fit_intercept : bool
        Whether there is an intercept; it is not penalised.
    tol : float
        The minimizer stops where no entry of the (mean's) gradient exceeds it.
    solver : "lbfgs", "newton-cg" or "scaled-lbfgs"
        L-BFGS, which takes the steps that scikit-learn's takes and warns where it warns; Newton's method by conjugate
        gradients in a trust region, for a small ``tol``; or L-BFGS in variables in which the second moments of the
        features are 1, the fastest where the features are correlated or their units differ.
    max_iter : int
        Iterations, at most: if they do not suffice, `fit` ends with a ConvergenceWarning.
    class_weight : dict, "balanced" or None
        {label: weight}, which multiplies ``sample_weight``; "balanced": n_samples / (n_classes·count of the label).
    warm_start : bool
        Whether `fit` starts from the last coefficients.
    random_state
        For scikit-learn's signature; nothing is random here.
    verbose : int
        1 prints objective, gradient and passes over X after each iteration.
    x_scale : float
        A number that X is multiplied by: 1/255 for pixels.

    Attributes
    ----------
    classes_ : (n_classes,)
        The labels, sorted.
    coef_ : (n_classes, n_features)
    intercept_ : (n_classes,)
    n_iter_ : (1,)
    n_features_in_ : int
    feature_names_in_ : (n_features,)
        If X was a DataFrame.

    X, weights, errors: `nbgrad.regression.estimators`.

    Source: J. S. Bridle, Training stochastic model recognition algorithms as networks, NIPS 2 (1990) 211.

    >>> import numpy as np
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]), np.array(list("aabbcc"))
    >>> model = SoftmaxRegression().fit(X, y)
    >>> print(model.predict([[0.2], [2.5], [4.8]]), model.coef_.shape)
    ['a' 'b' 'c'] (3, 1)
    """

    _model = "softmax"

    def _params_shape(self) -> tuple[int, ...]:
        return (len(self.classes_), self.n_features_in_ + bool(self.fit_intercept))

    def decision_function(self, X: Any) -> Any:
        """The scores (n_samples, n_classes); of two classes the second's minus the first's, (n_samples,)."""
        return by_rows(self, lambda m, X: _difference_of_two(m._scores(X)), X)

    def predict_proba(self, X: Any) -> Any:
        """The probabilities (n_samples, n_classes), in the order of ``classes_``."""
        return by_rows(self, lambda m, X: kernels.softmax(m._scores(X), axis=1), X)

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithms of `predict_proba`, finite where that is 0 or 1."""
        return by_rows(self, lambda m, X: kernels.log_softmax(m._scores(X), axis=1), X)


def _both_signs(scores: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([-scores, scores], axis=1)


def _difference_of_two(scores: NDArray[Any]) -> NDArray[Any]:
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


def _separated(i: int, block: tuple[Any, Any, Any], model: _Classifier) -> bool:
    """Whether every label of the block is predicted."""
    X, y, _ = block
    return np.array_equal(model._labels(X), y)


def _all(*parts: bool) -> bool:
    return all(parts)
