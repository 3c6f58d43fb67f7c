"""The data of a regression model on a GPU, and the passes over them.

``params`` decide where the answers are. On the CPU (as SciPy and the estimators have them): value and gradient are
Python's and NumPy's, and a pass copies ``params`` there and the sums back. On the GPU: all stays there, in ``params``'
dtype and kind of array, and nobody waits; a wrong target is then an error of a later call, as
`nbgrad.cuda.alarm` has it.

X is read once a pass by `nbgrad.cuda.regression.one_pass`. Where its parameters are too many for that it is read
twice, by CuPy's matrix products, in pieces of rows: beyond 8 192 features of one score, 2 048 of 10 classes, 512 of 32
(float64: half of that), and with more than 32 classes.

X of float32, float64 or uint8 in C order is not copied; another is converted once. The weights are checked when the
problem is made, which waits for the GPU. Sums are in two parts of the products' precision.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import numpy as np

from nbgrad.arrays import FLOAT32, FLOAT64, as_float, check_labels, on_device
from nbgrad.cpu.regression.one_pass import first_bad_target
from nbgrad.cuda.alarm import alarm
from nbgrad.place import place_of
from nbgrad.regression import data
from nbgrad.regression.passes.host import Passes, with_penalty

__all__ = ["DevicePasses"]

#: Numbers of X that a matrix product takes at a time.
PIECE = 2**26


@functools.cache
def _zeros(number: int, dtype: Any) -> Any:
    """A line that is read in the place of one that is not there, on the current GPU, whose number this is."""
    from nbgrad.cuda import device

    line = device.module().zeros(16, dtype)
    device.synchronize()  # other streams read it, too
    return line


class DevicePasses(Passes):
    """See the module; the methods are those of `nbgrad.regression.passes.host.Passes`."""

    def _hold(self, X: Any, y: Any, sample_weight: Any, dtype: Any) -> None:
        self._like = X
        with place_of(X=X, y=y, sample_weight=sample_weight) as call:
            self._target, self._xp = call.target, call.xp
            x = call.arrays["X"]
            if x.ndim != 2:
                raise ValueError(f"X: expected shape (rows, features), got {x.shape}")
            self.rows, self.n_features = x.shape
            self._dtype = data.product_dtype(dtype, x.dtype)
            if x.dtype not in (FLOAT32, FLOAT64, np.uint8):
                x = call.cast(call.as_float(X, "X"), self._dtype)
            self._flat = call.flat(x)
            self._X = self._flat.reshape(x.shape)
            self._y = self._targets(call)
            self._weight, self._unit, self.weight_sum = self._weights(call)
            self._nothing, self._none = _zeros(self._target.device_of(x), x.dtype), self._xp.empty(0, self._dtype)

    def _targets(self, call: Any) -> Any:
        y = call.arrays.get("y")
        if y is None or y.shape != (self.rows,):
            got = np.shape(call.values.get("y"))
            raise ValueError(f"y: expected shape ({self.rows},), a target for each row of X, got {got}")
        if self.model == "softmax":
            check_labels(y, "y")
            return call.flat(y.astype(np.int64, copy=False))
        if y.dtype.kind not in "iub":
            y = call.as_float(y, "y")
        with call.quiet():
            return call.flat(call.cast(y, self._dtype))

    def _weights(self, call: Any) -> tuple[Any, float, np.float64]:
        """`nbgrad.regression.data.weights`"""
        n, xp = self.rows, call.xp
        if call.values.get("sample_weight") is None:
            return xp.empty(0, self._dtype), 1.0, np.float64(n)
        weight = call.as_float(call.values["sample_weight"], "sample_weight")
        if weight.shape != (n,):
            raise ValueError(f"sample_weight: expected shape ({n},), a weight for each row of X, got {weight.shape}")
        unit = data.weight_unit(*(float(weight.min()), float(weight.max())) if n else (0.0, 0.0))
        scaled = call.cast(weight / weight.dtype.type(unit), self._dtype)
        return call.flat(scaled), unit, np.float64(float(weight.sum(dtype=np.float64)))

    def _pass(
        self, params: Any, direction: Any = None, curvature: Any = None, divisor: Any = 1.0, dtype: Any = FLOAT64
    ) -> tuple[Any, Any]:
        """(Σ w·loss, its gradient or the Hessian's product with ``direction``, in params' shape), both divided: on the
        CPU in float64 or, as CuPy's of this dtype, on the GPU.
        """
        stays, given = on_device(params), {"params": params, "v": direction}
        with place_of(X=self._like, **(given if stays else {})) as call, call.quiet():
            numbers = {
                name: call.as_float(value, name) if stays else as_float(value, name)
                for name, value in given.items() if value is not None
            }  # fmt: skip
            shape, scale = numbers["params"].shape, self._unit / np.float64(divisor)
            matrices = [
                data.coefficients(value, self.n_features, self.fit_intercept, self._terms.matrix, name)
                for name, value in numbers.items()
            ]
            classes = len(matrices[0])
            watch, expected = alarm(call, "y"), data.expected_targets(self.model, self._dtype, classes)
            flag = watch.arm(expected)
            loss, gradient = self._on_gpu(matrices, flag, stays, scale, dtype)
            if stays:
                watch.look()
            elif watch.written[0]:
                watch.written[0] = 0
                raise self._wrong_target(classes)
            return loss, gradient.reshape(shape)

    def _on_gpu(self, matrices: list[Any], flag: Any, stays: bool, scale: Any, dtype: Any) -> tuple[Any, Any]:
        """(loss, gradient) times ``scale``, where the params are."""
        from nbgrad.cuda.regression import models as cuda_terms
        from nbgrad.cuda.regression import one_pass as cuda_regression
        from nbgrad.cuda.regression import packing

        xp, target, (classes, columns), features = self._xp, self._target, matrices[0].shape, self.n_features
        aligned = target.address(self._flat) % 16 == 0
        tile = cuda_regression.tile_of(classes, features, self._dtype, self._flat.dtype, aligned)
        if tile is None or not self.rows:
            cuda_terms.check_targets(self.model, self._y, classes, flag)
            loss, gradient, slopes = self._two_products([self._scaled(xp.asarray(m)) for m in matrices])
            gradient = gradient * self._x_scale
            if self.fit_intercept:
                gradient = xp.concatenate([gradient, slopes[:, np.newaxis]], axis=1)
            loss, gradient = (loss * scale).astype(dtype), (gradient * scale).astype(dtype)
            return (loss, gradient) if stays else (target.to_host(loss)[()], target.to_host(gradient))
        if stays:
            matrices = [m.astype(matrices[0].dtype, copy=False) for m in matrices]
            own = xp.asarray(np.array(self._parameters, self._dtype)) if self._parameters else self._none
            packed = packing.packed(matrices, own, tile, features, self._x_scale, self._dtype)
        else:
            packed = xp.asarray(
                packing.packed_on_host(matrices, self._parameters, tile, features, self._x_scale, self._dtype)
            )
        x, y, weight, nothing = self._flat, self._y, self._weight, self._nothing
        found = cuda_regression.one_pass(
            self.model, len(matrices) > 1, tile, x, self.rows, features, y, weight, packed, nothing, flag
        )
        answer = packing.answer(*found, tile, features, columns, self._x_scale, scale, dtype)
        answer = answer if stays else target.to_host(answer)
        return answer[0], answer[1:]

    def _scaled(self, matrix: Any) -> tuple[Any, Any]:
        """(coefficients times x_scale, intercepts) in the precision of the products, on the GPU"""
        features = self.n_features
        w = (matrix[:, :features].astype(FLOAT64) * self._x_scale).astype(self._dtype)
        b = matrix[:, features] if self.fit_intercept else self._xp.zeros(len(matrix))
        return w, b.astype(self._dtype)

    def _two_products(self, parts: list[tuple[Any, Any]]) -> tuple[Any, Any, Any]:
        """The same by matrix products, piece by piece."""
        xp, (w, b), v = self._xp, parts[0], parts[1:]
        loss, gradient, slopes = xp.zeros(()), xp.zeros(w.shape), xp.zeros(len(w))
        step = max(1, PIECE // max(self.n_features, len(w)))
        for start in range(0, self.rows, step):
            at = slice(start, start + step)
            x = self._X[at].astype(self._dtype, copy=False)
            scores = [x @ w.T + b for w, b in ((w, b), *v)]
            losses, change = self._between(scores, self._y[at], self._weight[at])
            loss = loss + losses.sum(dtype=FLOAT64)
            gradient += change.T @ x
            slopes += change.sum(axis=0, dtype=FLOAT64)
        return loss, gradient, slopes

    def _between(self, scores: list[Any], y: Any, weight: Any) -> tuple[Any, Any]:
        """(weighted losses of the rows, weighted residuals or their change (rows, classes))"""
        from nbgrad.cuda.regression import models as cuda_terms

        n, dtype = len(scores[0]), scores[0].dtype
        xp, losses, hessian = self._xp, self._xp.zeros(n, dtype), len(scores) > 1
        if self.model != "softmax":
            change = xp.empty((n, 1), dtype)
            parameters = xp.asarray(np.array(self._parameters, dtype))
            cuda_terms.number_terms(self.model, scores, y, weight, parameters, losses, change)
            return losses, change
        change = cuda_terms.label_terms(scores, y, losses)
        if hessian:
            top = change.argmax(axis=1)[:, np.newaxis]
            d = scores[1] - xp.take_along_axis(scores[1], top, axis=1)
            change = change * (d - (change * d).sum(axis=1, keepdims=True))
        if weight.size:
            zero = dtype.type(0)  # a row of weight 0 is absent, even where its loss is infinite
            losses = xp.where(weight == 0, zero, weight * losses)
            weight = weight[:, np.newaxis]
            change = xp.where(weight == 0, zero, weight * change)
        return losses, change

    def _wrong_target(self, classes: int) -> ValueError:
        y = self._target.to_host(self._y)
        at = first_bad_target(self._terms).serial(y, classes)
        return data.wrong_target(self.model, y[at], at, self._dtype, classes)

    def _answers(self, params: Any, direction: Any, penalty: Any, dtype: Any = None) -> tuple[Any, Any]:
        """Value and gradient (or product), as ``params``' kind of array; divided, with a penalty if there is one."""
        dtype = dtype or data.dtype_of(params)
        if penalty is None or not penalty.l2:
            divisor = 1.0 if penalty is None else self.weight_sum
            value, gradient = self._pass(params, direction, None, divisor, dtype)
            return self._target.restore(value, params), self._target.restore(gradient, params)
        with place_of(X=self._like, params=params, v=direction) as call, call.quiet():
            value, gradient = self._pass(params, direction)
            at = call.as_float(params, "params") if direction is None else call.as_float(direction, "v")
            value, gradient = with_penalty(penalty, value, gradient, self.weight_sum, at, call.xp)
            answers = (call.xp.asarray(a).astype(dtype) for a in (value, gradient))
            value, gradient = (self._target.restore(a, params) for a in answers)
            return value, gradient

    def sums(self, params: Any) -> tuple[Any, Any]:
        return self._answers(params, None, None, FLOAT64) if on_device(params) else super().sums(params)

    def mean(self, penalty: Any, params: Any) -> tuple[Any, Any]:
        return self._answers(params, None, penalty) if on_device(params) else super().mean(penalty, params)

    def product(self, penalty: Any, params: Any, v: Any, curvature: Any) -> Any:
        """Nothing is kept in ``curvature``: X is read for the scores of ``v`` anyway, and those of ``params`` come with
        it.
        """
        if not on_device(params):
            return super().product(penalty, params, v, None)
        if on_device(v) and tuple(v.shape) != tuple(params.shape):
            raise ValueError(f"v: expected params' shape {tuple(params.shape)}, got {tuple(v.shape)}")
        return self._answers(params, v, penalty)[1]

    # What `nbgrad.regression.passes.second_order` asks of the rows

    sparse = False

    @property
    def xp(self) -> Any:  # type: ignore[override]
        return self._xp

    @contextlib.contextmanager
    def computing(self) -> Any:
        with place_of(X=self._like) as call, call.quiet():
            yield

    def on_host(self, array: Any) -> Any:
        return self._target.to_host(array) if isinstance(array, self._xp.ndarray) else array

    def numbers(self, at: slice, dense: bool) -> Any:
        return self._X[at].astype(FLOAT64) * self._x_scale

    def in_frame(self, at: slice, frame: Any) -> Any:
        return frame.columns(self._X[at], self._x_scale, self.fit_intercept, self._xp)

    def loss_and_residuals(self, at: slice, scores: Any) -> tuple[Any, Any]:
        losses, change = self._between([self._xp.ascontiguousarray(scores.T)], *self._wide(at))
        return losses.sum(), change.T

    def curvature(self, at: slice, scores: Any) -> Any:
        s = self._xp.ascontiguousarray(scores.T)
        return self._between([s, self._xp.ones_like(s)], *self._wide(at))[1].T

    def _wide(self, at: slice) -> tuple[Any, Any]:
        """Targets and weights in float64."""
        y = self._y[at] if self.model == "softmax" else self._y[at].astype(FLOAT64)
        return y, self._weight[at].astype(FLOAT64)
