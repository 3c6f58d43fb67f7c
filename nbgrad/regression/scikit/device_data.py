"""What the estimators need of data on a GPU: the checks that scikit-learn makes of NumPy's arrays, with the same words,
and answers in the caller's kind of array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.arrays import on_device
from nbgrad.place import place_of
from nbgrad.regression.scikit.base import check_classification_targets, check_weight
from nbgrad.regression.scikit.without_sklearn import as_targets, check_features, check_finite, check_shape

__all__ = ["Labelled", "Measured", "answer", "to_host"]


def to_host(value: Any) -> Any:
    """A copy in the CPU's memory of what lies on a GPU; other values as they are."""
    if not on_device(value):
        return value
    with place_of(value=value) as call:
        return call.target.to_host(call.arrays["value"])


def answer(estimator: Any, function: Callable[[Any, Any], Any], X: Any) -> Any:
    """``function(estimator, X)`` of a fitted estimator, as the caller's kind of array."""
    with place_of(X=X) as call, call.quiet():
        result = function(estimator, _numbers(_checked(estimator, call, reset=False)))
        return call.result(result, None) if isinstance(result, call.xp.ndarray) else result


def _checked(estimator: Any, call: Any, reset: bool) -> Any:
    X, name = call.arrays["X"], type(estimator).__name__
    check_shape(X, name)
    if X.dtype.kind not in "iub":
        call.as_float(X, "X")  # refuses float16
    check_finite(X, "X", name)
    check_features(estimator, X, reset)
    return X


def _numbers(X: Any) -> Any:
    return X if X.dtype in (np.float32, np.float64, np.uint8) else X.astype(np.float64)


class _Rows:
    """Rows with a target each, checked for `fit`: ``weight`` is None or a weight for each row, ``dtype`` X's."""

    weight: Any = None
    several = False  # targets of a row

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        name = type(estimator).__name__
        if y is None:
            raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
        with place_of(X=X, y=y, sample_weight=sample_weight) as call, call.quiet():
            self.target, self.like = call.target, X
            rows = _checked(estimator, call, reset=True)
            vars(estimator).pop("feature_names_in_", None)
            if "y" not in call.arrays:
                raise TypeError(f"y: expected a CUDA array as X is, got {type(y).__name__}")
            targets = as_targets(call.arrays["y"], len(rows), self.several)
            check_finite(targets, "y", name)
            self.dtype = rows.dtype
            self._take(targets, call)
            if sample_weight is not None:
                weight = call.as_float(sample_weight, "sample_weight").astype(np.float64, copy=False)
                weight = call.xp.full(len(rows), weight) if weight.ndim == 0 else weight
                check_weight(weight, len(rows))
                self.weight = self._held(weight)

    def _take(self, targets: Any, call: Any) -> None:
        raise NotImplementedError

    def _held(self, array: Any) -> Any:
        return self.target.restore(array, None)


class Measured(_Rows):
    """Rows with numbers, one or several a row, as `least_squares` takes them."""

    several = True

    def _take(self, targets: Any, call: Any) -> None:
        if targets.dtype.kind not in "iub":
            call.as_float(targets, "y")  # refuses float16
        self.numbers = self._held(targets.astype(np.float64))

    def reduce(self, name: str, function: Callable[..., Any], combine: Any, argument: Any) -> Any:
        """`Blocks.reduce` of one block, where it lies."""
        with place_of(X=self.like, y=self.numbers, weight=self.weight) as call, call.quiet():
            X, y, weight = (call.arrays.get(key) for key in ("X", "y", "weight"))
            return function(0, (_numbers(X), y, weight), argument)


class Labelled(_Rows):
    """Rows with labels: ``labels`` are the labels' places in ``classes`` (NumPy's)."""

    def _take(self, targets: Any, call: Any) -> None:
        classes, places = call.xp.unique(targets, return_inverse=True)
        self.classes = self.target.to_host(classes)
        check_classification_targets(np.repeat(self.classes, 2))  # labels that all differ look like a regression
        self.labels = self._held(places.astype(np.int64))

    def count(self) -> Any:
        """The samples of each class, weighted."""
        with place_of(X=self.like, labels=self.labels, weight=self.weight) as call:
            labels, weight, xp = call.arrays["labels"], call.arrays.get("weight"), call.xp
            if weight is None:
                found = xp.bincount(labels, minlength=len(self.classes))
            else:  # CuPy's bincount adds weights up in any order
                found = xp.stack([xp.where(labels == k, weight, 0.0).sum() for k in range(len(self.classes))])
            return self.target.to_host(found).astype(np.float64)

    def multiply(self, by_class: Any) -> None:
        """The weights, by a number for each class."""
        with place_of(X=self.like, labels=self.labels, weight=self.weight) as call:
            of_class = call.xp.asarray(by_class)[call.arrays["labels"]]
            weight = call.arrays.get("weight")
            self.weight = self._held(of_class if weight is None else weight * of_class)

    def move(self, place: Any) -> None:
        """Labels to other places."""
        with place_of(X=self.like, labels=self.labels) as call:
            self.labels = self._held(call.xp.asarray(place)[call.arrays["labels"]])
