"""Logistic and softmax regression with scikit-learn's methods, with or without scikit-learn. (Linear regression:
`nbgrad.regression.linear`.)

Rules they share:

* ``X`` (n_samples, n_features): an array, a DataFrame, or scipy.sparse (other formats are turned into CSR).
  float32, float64 and uint8 are taken as they are, in any memory order, also memory-mapped: nothing is
  copied. Other numbers become float64.
* `fit` takes blocks of rows, too: dask arrays ``X``, ``y`` (and ``sample_weight``); or, with ``y`` None, as ``X`` a
  list of ``(X, y)`` or ``(X, y, sample_weight)``, a function that returns an iterator of such, or a list of Dask's
  futures. The same blocks give the same bits. On a dask.array what predicts answers with one, lazily; `score` computes.
* `fit` takes ``X``, ``y`` (and ``sample_weight``) on a GPU, too, and computes there; whatever predicts
  takes ``X`` there and answers with its kind of array (labels that are no numbers: NumPy's). ``coef_`` and all that is
  fitted are NumPy's.
* ``x_scale`` multiplies X in the kernels (pixels: 1/255), in `fit` and after; ``coef_`` belongs to the scaled features.
* Sums are float64, products in X's precision (uint8: float64); so are ``coef_``, ``intercept_`` and what
  `predict_proba` and `decision_function` return.
* What a row of an array is predicted depends on its numbers alone, bit by bit: not on its memory order or address, nor
  on the rows beside it, so that blocks and Dask's chunks give what the whole array gives. (SciPy multiplies sparse
  rows, CuPy those on a GPU.)
* ``sample_weight`` (n_samples,) >= 0, or one number for all; a row of weight 0 is absent.
* Errors: ValueError for nan, infinity or complex numbers, lengths and numbers of features that do not match, no
  rows, negative weights, parameters out of range; NotFittedError before `fit`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad import kernels
from nbgrad.regression.scikit.answers import by_rows
from nbgrad.regression.scikit.classifier import Classifier

__all__ = ["LogisticRegression", "SoftmaxRegression"]


class LogisticRegression(Classifier):
    """Two classes: P(second class) = σ(s) of the score s = x·coef + intercept. More: as `SoftmaxRegression`.

    Minimizes the mean of −ln P(label), which of two classes is ln(1 + e^−s) for rows of the second and ln(1 + e^s) for
    the first, plus ((1 − l1_ratio)·½·‖coef‖² + l1_ratio·‖coef‖₁) / (C·Σ weight); the same minimum as scikit-learn's
    ``LogisticRegression`` with the same parameters. Probabilities and their logarithms keep their digits in both tails,
    σ(−s) is not taken from 1 − σ(s).

    Parameters
    ----------
    penalty : "l2", "l1", "elasticnet" or None
        By default, "deprecated" as in scikit-learn 1.9, what ``l1_ratio`` says. "l1" is l1_ratio = 1, "l2" 0.
    C : float
        Strength of the data against the penalty; ``inf``: no penalty.
    l1_ratio : float
        The share of ‖coef‖₁ in the penalty: many coefficients become 0. Then the solver is Newton's method with
        coordinate descent (`nbgrad.regression.solvers.proximal`), and ``solver`` must be "auto" or "saga"; the
        answer is judged by how far each coefficient's conditions are from met, in no units.
    fit_intercept : bool
        Whether there is an intercept; it is not penalised.
    tol : float
        How near the minimum the answer is: Newton's decrement √(gᵀH⁻¹g) there, the root of the mean over the rows of
        p(1 − p)·(change of the score)², is at most that, in any units; where there are many parameters that of each
        one alone. 1e-13 is the smallest that means something. "lbfgs": L-BFGS stops where no entry of the (mean's)
        gradient exceeds it, and warns where the decrement is above 25·tol.
    solver : "auto", "newton-cholesky", "scaled-lbfgs", "newton-cg", "lbfgs", "sag" or "saga"
        Newton's method with the exact Hessian, which takes 5 to 10 passes whatever the data are; L-BFGS in variables
        in which the second moments of the features are 1, the fastest where there are many; Newton's method by
        conjugate gradients in these variables; or L-BFGS with the steps that scikit-learn's takes. "auto" is the first
        where there are few, p = classes·(n_features + 1) ≤ 256 and n_samples·p² ≤ 1e9, or p ≤ 32, else the second; so
        are "sag" and "saga", scikit-learn's names of solvers for the same minimum.
    max_iter : int
        Iterations, at most. Where the answer is not as near as ``tol`` says, or without a penalty the classes are
        separated, `fit` ends with a ConvergenceWarning that says why and what helps.
    class_weight : dict, "balanced" or None
        {label: weight}, which multiplies ``sample_weight``; "balanced": n_samples / (n_classes·count of the label).
    warm_start : bool
        Whether `fit` starts from the last coefficients.
    dual, intercept_scaling, n_jobs, random_state
        For scikit-learn's signature: ``dual`` must be False, the others have no effect; nothing is random here.
    verbose : int
        1 prints objective, gradient and passes over X after each iteration.
    x_scale : float
        A number that X is multiplied by: 1/255 for pixels.

    Attributes
    ----------
    classes_ : (n_classes,)
        The labels, sorted.
    coef_ : (1, n_features), or (n_classes, n_features) of more than two
    intercept_ : (1,) or (n_classes,)
    n_iter_ : (1,)
    n_features_in_ : int
    feature_names_in_ : (n_features,)
        If X was a DataFrame.

    Notes
    -----
    X, weights, errors: `nbgrad.regression.estimators`.

    Source: D. R. Cox, The regression analysis of binary sequences, J. R. Stat. Soc. B 20 (1958) 215.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array(["no", "no", "yes", "yes"])
    >>> model = LogisticRegression().fit(X, y)
    >>> print(model.predict([[0.5], [2.5]]), model.predict_proba([[1.5]]).round(4))
    ['no' 'yes'] [[0.5 0.5]]
    """

    def _binary(self) -> bool:
        return len(self.classes_) == 2

    def _model(self) -> str:
        return "logistic" if self._binary() else "softmax"

    def _params_shape(self) -> tuple[int, ...]:
        columns = self.n_features_in_ + bool(self.fit_intercept)
        return (columns,) if self._binary() else (len(self.classes_), columns)

    def decision_function(self, X: Any) -> Any:
        """The scores: (n_samples,) of two classes, above 0 the second is the more likely one; else (n_samples,
        n_classes).
        """
        return by_rows(self, lambda m, X: _only_column(m._scores(X)), X)

    def predict_proba(self, X: Any) -> Any:
        """The probabilities (n_samples, n_classes) of the classes, in the order of ``classes_``."""
        return by_rows(self, LogisticRegression._probabilities, X)

    def _probabilities(self, X: Any) -> Any:
        scores = self._scores(X)
        return kernels.sigmoid(_both_signs(scores)) if self._binary() else kernels.softmax(scores, axis=1)

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithms of `predict_proba`, finite where that is 0 or 1."""
        return by_rows(self, LogisticRegression._log_probabilities, X)

    def _log_probabilities(self, X: Any) -> Any:
        scores = self._scores(X)
        return kernels.log_sigmoid(_both_signs(scores)) if self._binary() else kernels.log_softmax(scores, axis=1)


class SoftmaxRegression(Classifier):
    """Any number of classes: P(class k) = e^s_k / Σ e^s_j of the scores s = coef·x + intercept.

    Minimizes the mean of −ln P(label) plus ((1 − l1_ratio)·½·‖coef‖² + l1_ratio·‖coef‖₁) / (C·Σ weight), the same
    minimum as scikit-learn's ``LogisticRegression`` with the same parameters and three classes or more. Every class has
    its row of coefficients; without l1 the rows add up to 0.

    Two classes have two rows, (−w, w), where scikit-learn has one: ``coef_[1] - coef_[0]`` is that of
    `LogisticRegression` with ``2 * C``, because the penalty on two halves is half the penalty on the whole.
    `decision_function` then is the difference of the two scores, as scikit-learn expects it of two classes.

    Parameters
    ----------
    penalty : "l2", "l1", "elasticnet" or None
        By default, "deprecated" as in scikit-learn 1.9, what ``l1_ratio`` says. "l1" is l1_ratio = 1, "l2" 0.
    C : float
        Strength of the data against the penalty; ``inf``: no penalty.
    l1_ratio : float
        The share of ‖coef‖₁ in the penalty: many coefficients become 0. Then the solver is Newton's method with
        coordinate descent (`nbgrad.regression.solvers.proximal`), and ``solver`` must be "auto" or "saga"; the
        answer is judged by how far each coefficient's conditions are from met, in no units.
    fit_intercept : bool
        Whether there is an intercept; it is not penalised.
    tol : float
        How near the minimum the answer is: Newton's decrement √(gᵀH⁻¹g) there, the root of the mean over the rows of
        p(1 − p)·(change of the score)², is at most that, in any units; where there are many parameters that of each
        one alone. 1e-13 is the smallest that means something. "lbfgs": L-BFGS stops where no entry of the (mean's)
        gradient exceeds it, and warns where the decrement is above 25·tol.
    solver : "auto", "newton-cholesky", "scaled-lbfgs", "newton-cg", "lbfgs", "sag" or "saga"
        Newton's method with the exact Hessian, which takes 5 to 10 passes whatever the data are; L-BFGS in variables
        in which the second moments of the features are 1, the fastest where there are many; Newton's method by
        conjugate gradients in these variables; or L-BFGS with the steps that scikit-learn's takes. "auto" is the first
        where there are few, p = classes·(n_features + 1) ≤ 256 and n_samples·p² ≤ 1e9, or p ≤ 32, else the second; so
        are "sag" and "saga", scikit-learn's names of solvers for the same minimum.
    max_iter : int
        Iterations, at most. Where the answer is not as near as ``tol`` says, or without a penalty the classes are
        separated, `fit` ends with a ConvergenceWarning that says why and what helps.
    class_weight : dict, "balanced" or None
        {label: weight}, which multiplies ``sample_weight``; "balanced": n_samples / (n_classes·count of the label).
    warm_start : bool
        Whether `fit` starts from the last coefficients.
    dual, intercept_scaling, n_jobs, random_state
        For scikit-learn's signature: ``dual`` must be False, the others have no effect; nothing is random here.
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

    Notes
    -----
    X, weights, errors: `nbgrad.regression.estimators`.

    Source: J. S. Bridle, Training stochastic model recognition algorithms as networks, NIPS 2 (1990) 211.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]), np.array(list("aabbcc"))
    >>> model = SoftmaxRegression().fit(X, y)
    >>> print(model.predict([[0.2], [2.5], [4.8]]), model.coef_.shape)
    ['a' 'b' 'c'] (3, 1)
    """

    def _model(self) -> str:
        return "softmax"

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


def _only_column(scores: NDArray[Any]) -> NDArray[Any]:
    return scores[:, 0] if scores.shape[1] == 1 else scores


def _both_signs(scores: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([-scores, scores], axis=1)


def _difference_of_two(scores: NDArray[Any]) -> NDArray[Any]:
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores
