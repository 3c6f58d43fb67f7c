"""The plug-in for arrays that are being recorded: what `nbgrad.place` and tensors ask of a device, by the CPU's own.

Its names are those of `nbgrad.cpu` and `nbgrad.cuda`: ``place.Place``, ``tensor``, ``updates``.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from nbgrad.arrays import FLOAT32, FLOAT64, as_float, contiguous, expected_labels, out_of_range
from nbgrad.autograd.modes import mode
from nbgrad.autograd.recording.recorded import Recorded, refuse
from nbgrad.cpu import elementwise, losses
from nbgrad.cpu import tensor as cpu
from nbgrad.cpu.arrays import Arrays
from nbgrad.cpu.derived import loops as formula
from nbgrad.cpu.place import CPU
from nbgrad.cpu.random import kept_of_seed

__all__ = ["Place", "place", "tensor"]


#: What `nbgrad.autograd.recording.fuse` calls the parts of an operator.
_PREFIX = {"forward": "", "backward": "backward ", "loss": "", "loss_slope": "d_", "loss_target_slope": "dt_"}


class Place(Arrays):
    """The methods of `nbgrad.cpu.place.Place` on arrays that are recorded."""

    def __init__(self, values: Any = None) -> None:
        self.recorder = mode.recorder
        if self.recorder is None:
            refuse("an array of an earlier recording")

    def as_array(self, value: Any, name: str) -> Any:  # type: ignore[override]
        return value if type(value) is Recorded else self.recorder.given(np.asarray(CPU.as_array(value, name)))

    def as_float(self, value: Any, name: str) -> Any:  # type: ignore[override]
        if type(value) is not Recorded:
            return self.recorder.given(as_float(value, name))
        if value.dtype in (FLOAT32, FLOAT64):
            return value
        CPU.as_float(np.empty(0, value.dtype), name)  # its error
        return value.astype(FLOAT64)

    def as_floats(self, values: dict[str, Any]) -> Any:  # type: ignore[override]
        arrays = [self.as_float(value, name) for name, value in values.items()]
        strong = [a.dtype for a, v in zip(arrays, values.values(), strict=True) if type(v) not in (float, int, bool)]
        dtype = FLOAT32 if strong and all(d == FLOAT32 for d in strong) else FLOAT64
        return [a.astype(dtype, copy=False) for a in arrays], dtype

    def cast(self, array: Any, dtype: Any) -> Any:
        return array.astype(dtype, copy=False)

    def flat(self, array: Any) -> Any:
        """In C order."""
        return (array if array.flags.carray else array.copy()).reshape(-1)

    def out(self, out: Any, shape: Any, dtype: Any, name: str = "out") -> Any:
        if out is not None:
            refuse(f"{name}=")

    def overlap(self, a: Any, b: Any) -> bool:
        return True

    def result(self, result: Any, out: Any, name: str = "out") -> Any:
        return result

    # Loops

    def elementwise(self, part: str, op: Any, inputs: Any, shape: Any, out: Any, parameters: Any) -> Any:
        loop, plain = elementwise.LOOPS[part](op), [self.recorder._plain(a) for a in inputs]
        result = np.empty(shape, plain[0].dtype)
        fitting = [a for a in plain if a.shape == shape and a.flags.carray]
        vectors = [a.reshape(-1) if len(fitting) == len(plain) else contiguous(a, shape).reshape(-1) for a in plain]
        args = [*vectors, result.reshape(-1), *parameters]
        loop.serial(*args)
        wrapped = self.recorder.of(result)
        formula = (_PREFIX[part] + op.name, (*plain, *map(float, parameters)))
        if len(fitting) == len(plain):
            self.recorder.note(loop.name, loop, args, [result], formula=formula, work=elementwise.work_of(result))
        else:  # operands that are broadcast or lie in another order
            call = CPU.elementwise
            self.recorder.note(
                loop.name, call, [part, op, plain, shape, None, parameters], [result], target=result, formula=formula
            )
        return wrapped

    class Formula:
        """A derived function, of `nbgrad.cpu.derived.loops`."""

        def __init__(self, *arguments: Any) -> None:
            self.formula = formula.Formula(*arguments)

        def __call__(self, size: int, inputs: Any, outs: Any, parameters: Any) -> Any:
            recorder, loop, sums = mode.recorder, self.formula.loop, self.formula.sums
            vectors, results = ([recorder._plain(a) for a in some] for some in (inputs, outs))
            if not all(a.flags.carray for a in vectors):
                refuse("a formula of arrays in this layout")
            args = [*vectors, *results, *([formula.partials(size, sums)] if sums else ()), *parameters]
            answer = loop.serial(*args)
            if not sums:
                recorder.note(loop.name, loop, args, results, work=size)
                return ()
            out = np.array(answer)
            recorder.note(loop.name, loop, args, [*results, out], target=out, work=size)
            totals = recorder.of(out).astype(vectors[0].dtype)
            return [totals[k] for k in range(sums)]

    formula = Formula

    def rows(self, *args: Any) -> Any:
        return self.recorder.through(CPU.rows, *args)

    def rows_backward(self, *args: Any) -> Any:
        return self.recorder.through(CPU.rows_backward, *args)

    def logsumexp(self, *args: Any) -> Any:
        return self.recorder.through(CPU.logsumexp, *args)

    def logsumexp_backward(self, *args: Any) -> Any:
        return self.recorder.through(CPU.logsumexp_backward, *args)

    def maxout(self, *args: Any) -> Any:
        return self.recorder.through(CPU.maxout, *args)

    def maxout_backward(self, grad_output: Any, index: Any, *args: Any) -> Any:
        return self.recorder.through(CPU.maxout_backward, grad_output, index, *args)

    # Losses

    def loss_sum(self, op: Any, x: Any, target: Any, parameters: Any, mean: bool, grad: bool, grad_out: Any) -> Any:
        recorder, scale = self.recorder, losses.mean_scale(mean, x.size)
        vectors = [recorder._plain(self.flat(a)) for a in (x, target)]
        partial = np.empty(-(-x.size // elementwise.BLOCK))
        gradient = np.empty(x.shape, x.dtype) if grad else None
        more = [] if gradient is None else [gradient.reshape(-1), x.dtype.type(scale)]
        loop = (elementwise.loss_sums_and_grad if grad else elementwise.loss_sums)(op)
        args = [*vectors, partial, *more, *parameters]
        loop.serial(*args)
        writes = [partial] if gradient is None else [partial, gradient]
        recorder.note(loop.name, loop, args, writes, work=x.size)
        value = self._scaled(recorder.of(partial), scale, x.dtype)
        return value, None if gradient is None else recorder.of(gradient)

    def _scaled(self, terms: Any, scale: float, dtype: Any) -> Any:
        total = self.recorder.add_up(terms, None, False, FLOAT64)
        return (total * scale if scale != 1 else total).astype(dtype)

    def total(self, values: Any, mean: bool) -> Any:
        return self._scaled(values, losses.mean_scale(mean, values.size), values.dtype)

    def class_rows(self, array: Any, class_axis: int) -> Any:
        moved = np.moveaxis(array, class_axis, -1)
        return self.flat(moved).reshape(-1, moved.shape[-1]) if array.size else refuse("a loss of no rows")

    def label_losses(
        self, nll: bool, x: Any, axis: int, labels: Any, weight: Any, ignore_index: int, reduction: str, grad: bool,
        out: Any, grad_out: Any,
    ) -> Any:  # fmt: skip
        recorder = self.recorder
        x = self.flat(x).reshape(*x.shape)
        plain = [recorder._plain(a) for a in (x, labels, weight)]
        recorder.loops.clear()
        with recorder.paused():
            value, gradient = CPU.label_losses(
                nll, plain[0], axis, plain[1], plain[2], ignore_index, reduction, grad, None, None
            )
        ((loop, args, _, work),) = recorder.loops
        value = np.asarray(value)
        classes = x.shape[axis]

        def error(args: Any, answer: Any) -> Exception:
            return out_of_range("target", expected_labels(classes, ignore_index), args[1][answer[0]], answer[0])

        writes = [value] if gradient is None else [value, gradient]
        target = None if reduction == "none" else value
        recorder.note(loop.name, loop, args, writes, target=target, check=error, work=work)
        return recorder.of(value), None if gradient is None else recorder.of(gradient)

    def smoothed(self, x: Any, axis: int, labels: Any, weight: Any, ignore_index: int, smoothing: Any) -> Any:
        refuse("label_smoothing with class labels (of class probabilities it can be)")

    def soft_losses(
        self, x: Any, axis: int, q: Any, skip: Any, divisor: Any, reduction: str, grad: bool, out: Any, grad_out: Any
    ) -> Any:
        from nbgrad.cpu import labels as loops

        recorder, shape = self.recorder, x.shape[:axis] + x.shape[axis + 1 :]
        rows, q = self.class_rows(x, axis), self.flat(q).reshape(*q.shape)
        values, none = np.empty(len(rows), x.dtype), np.zeros(len(q), np.bool_)
        scale = losses.mean_scale(reduction == "mean", float(len(q)))
        gradient = np.empty(rows.shape, x.dtype)
        args = [recorder._plain(rows), recorder._plain(q), none, values]
        loop = loops.soft_cross_entropy(grad)
        args += [x.dtype.type(scale), gradient] if grad else []
        loop.serial(*args)
        recorder.note(loop.name, loop, args, [values, gradient] if grad else [values], work=x.size)
        value = recorder.of(values)
        value = value.reshape(shape) if reduction == "none" else self._scaled(value, scale, x.dtype)
        if not grad:
            return value, None
        apart = np.moveaxis(recorder.of(gradient).reshape(*shape, x.shape[axis]), -1, axis)
        return value, self.flat(apart).reshape(*apart.shape)


class _Tensor:
    """What a tensor's array does otherwise than by NumPy's protocols: as `nbgrad.cpu.tensor`."""

    library = staticmethod(cpu.library)
    apart = staticmethod(cpu.apart)

    def name(self, array: Any) -> str:
        return "cpu"

    def adopt(self, data: Any) -> Any:
        return data

    def get(self, array: Any) -> Any:
        return array

    def put(self, array: Any, device: str) -> Any:
        return refuse("a way to the GPU")

    def empty(self, shape: Any, dtype: Any) -> Any:
        return mode.recorder.of(np.empty(shape, dtype))

    def zeros(self, shape: Any, dtype: Any) -> Any:
        out = self.empty(shape, dtype)
        mode.recorder.store(out.array, 0, "fill")
        return out

    def overlap(self, a: Any, b: Any) -> bool:
        return cpu.overlap(*(x.array if type(x) is Recorded else x for x in (a, b)))

    def add_up(self, x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
        return x.sum(axis, keepdims, dtype)

    def matmul(self, x: Any, y: Any) -> Any:
        if x.ndim > 1 < y.ndim and x.shape[-1] == 1 == y.shape[-2]:
            return np.multiply(x, y)
        return np.matmul(x, y)

    def add_at(self, out: Any, key: Any, g: Any) -> None:
        recorder = mode.recorder
        plain = [recorder._plain(a) for a in (out, key, g)]
        cpu.add_at(*plain)
        recorder.note("add_at", cpu.add_at, plain, [plain[0]])

    def last(self, x: Any, key: Any) -> Any:
        return refuse("the gradient of elements that are written by numbers")

    def kept(self, rng: np.random.Generator, p: float, scale: float, like: Any) -> Any:
        recorder, out = mode.recorder, np.empty(like.shape, like.dtype)
        loop, args = kept_of_seed(rng.integers(1 << 63), p, scale, out)
        loop.serial(*args)
        instruction = recorder.note("dropout", loop, args, [out])
        recorder.seeds.append((rng, instruction))
        return recorder.of(out)


tensor = _Tensor()


class place:  # noqa: N801 (the name of the plug-ins' modules)
    """``place.Place``, as of the other plug-ins."""

    Place = Place


Recorded.__nbgrad_plug_in__ = sys.modules[__name__]
