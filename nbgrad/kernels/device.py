"""The kernels on CUDA arrays: what `nbgrad.kernels` does where an argument lies on a GPU.

A call's arrays become one library's (CuPy's; NumPy's under the simulator) over the same memory, and the result goes
back as the caller's kind. Copies and broadcasting are that library's work, in the caller's stream. Nothing here waits
for the device.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from nbgrad.arrays import FLOAT32, FLOAT64, broadcast, on_device

__all__ = ["Call", "backward", "forward"]


class Call(contextlib.AbstractContextManager["Call"]):
    """One call with arrays on a GPU: within it that GPU and the caller's stream are the current ones.

    ``values``: the array arguments by name, absent ones (None) too. Python's and NumPy's numbers may stand among them.
    """

    def __init__(self, **values: Any) -> None:
        from nbgrad.cuda import driver as cuda_target

        self.target = cuda_target
        self.values = {name: value for name, value in values.items() if value is not None}
        self.first = next(name for name, value in self.values.items() if on_device(value))
        self.like = self.values[self.first]
        for name, value in self.values.items():
            if not on_device(value) and not isinstance(value, (int, float, np.number, np.bool_)):
                kind = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
                raise TypeError(f"{name}: expected a CUDA array as {self.first} is, got a {kind}")
        self.stack = contextlib.ExitStack()
        self.arrays: dict[str, Any] = {}

    def __enter__(self) -> Call:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.target.guard())
            self.xp = self.target.module()
            first = self.target.unwrap(self.like, self.first)
            stack.enter_context(self.target.use(self.like, first))
            for name, value in self.values.items():
                if on_device(value):
                    self.arrays[name] = self.target.unwrap(value, name)
                    self._check_device(name, first)
            self.stack = stack.pop_all()
        return self

    def _check_device(self, name: str, first: Any) -> None:
        own, wanted = self.target.device_of(self.arrays[name]), self.target.device_of(first)
        if own != wanted:
            raise ValueError(
                f"{name}: expected an array on CUDA device {wanted} as {self.first} is, got one on device {own}"
            )

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

    # Arguments

    def floats(self, *names: str) -> tuple[list[Any], np.dtype[Any]]:
        """Arguments as arrays of one precision: float64 if any is; Python's numbers adapt to the others."""
        arrays, strong = [], []
        for name in names:
            if name in self.arrays:
                array = self.arrays[name]
                dtype = FLOAT64 if array.dtype.kind in "iub" else array.dtype
                if dtype not in (FLOAT32, FLOAT64):
                    raise TypeError(f"{name}: expected float32, float64, integers or bools, got {dtype}")
                strong.append(dtype)
            else:
                array = self.values[name]
                if type(array) not in (float, int, bool):
                    strong.append(FLOAT32 if array.dtype == FLOAT32 else FLOAT64)
            arrays.append(array)
        dtype = FLOAT32 if strong and all(d == FLOAT32 for d in strong) else FLOAT64
        return [self.cast(array, dtype) for array in arrays], dtype

    def float(self, name: str) -> Any:
        """The argument as a float array."""
        return self.floats(name)[0][0]

    def cast(self, array: Any, dtype: Any) -> Any:
        """An array, or a number, in this dtype."""
        if isinstance(array, self.xp.ndarray):
            return array if array.dtype == dtype else array.astype(dtype)
        return self.xp.full((), array, dtype)

    def contiguous(self, array: Any, shape: tuple[int, ...]) -> Any:
        """The array broadcast to ``shape``, flat and in C order; copied only where it must be."""
        if array.shape != shape:
            array = self.xp.broadcast_to(array, shape)
        if not array.flags.c_contiguous:
            array = self.xp.ascontiguousarray(array)
        return array.reshape(-1)

    def quiet(self) -> Any:
        """Within it the simulator's NumPy does not warn: the compiled kernels do not either."""
        return np.errstate(all="ignore")

    # Results

    def out(self, shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "out") -> Any:
        """The argument that takes the result, checked; None where there is none."""
        if name not in self.values:
            return None
        out = self.arrays.get(name)
        if out is None:
            raise TypeError(f"{name}: expected a CUDA array as {self.first} is, got {type(self.values[name]).__name__}")
        if out.dtype != dtype:
            raise TypeError(f"{name}: expected dtype {dtype}, got {out.dtype}")
        if out.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {out.shape}")
        if out.size and any(stride == 0 and size > 1 for stride, size in zip(out.strides, out.shape, strict=True)):
            raise ValueError(f"{name}: expected memory for each element, got a broadcast view (strides {out.strides})")
        return out

    def room(self, out: Any, shape: tuple[int, ...], dtype: Any, *inputs: Any, in_place: bool = True) -> Any:
        """Where a kernel writes: ``out`` if it is contiguous and overlaps no input (``in_place``: other than element by
        element), else fresh memory.
        """
        if out is not None and out.flags.c_contiguous and not any(self._clash(out, a, in_place) for a in inputs):
            return out
        return self.xp.empty(shape, dtype)

    def _clash(self, out: Any, array: Any, in_place: bool) -> bool:
        same = self.target.address(out) == self.target.address(array) and out.nbytes == array.nbytes
        return not (in_place and same) and self.overlap(out, array)

    def overlap(self, a: Any, b: Any) -> bool:
        """Whether two arrays may share memory."""
        return bool(self.xp.may_share_memory(a, b))

    def result(self, result: Any, out: Any, name: str = "out") -> Any:
        """The result as the caller gets it: in ``out`` if given, else as the caller's kind of array."""
        if out is None:
            return self.target.restore(result, self.like)
        if result is not out:
            out[...] = result
        return self.values[name]


def elementwise(call: Call, compiled: Any, inputs: list[Any], shape: tuple[int, ...], out: Any, parameters: Any) -> Any:
    """A kernel of `nbgrad.cuda.elementwise` on arrays that broadcast to ``shape``."""
    from nbgrad.cuda import elementwise as cuda_elementwise

    flat = [call.contiguous(a, shape) for a in inputs]
    result = call.room(out, shape, inputs[0].dtype, *flat)
    cuda_elementwise.run(compiled, flat, result.reshape(-1), parameters)
    return result


def forward(kernel: Any, x: Any, out: Any, parameters: tuple[Any, ...]) -> Any:
    """`nbgrad.kernels.elementwise.Kernel.forward`"""
    from nbgrad.cuda import elementwise as cuda_elementwise

    with Call(x=x, out=out) as call:
        array = call.float("x")
        values = kernel.parameters(parameters, array.dtype) if parameters else ()
        place = call.out(array.shape, array.dtype)
        compiled = cuda_elementwise.forward(kernel.op, array.dtype)
        return call.result(elementwise(call, compiled, [array], array.shape, place, values), place)


def backward(kernel: Any, grad_output: Any, x: Any, out: Any, parameters: tuple[Any, ...]) -> Any:
    """`nbgrad.kernels.elementwise.Kernel.backward`"""
    from nbgrad.cuda import elementwise as cuda_elementwise

    with Call(grad_output=grad_output, x=x, out=out) as call:
        arrays, dtype = call.floats("grad_output", "x")
        shape = broadcast({"grad_output": arrays[0], "x": arrays[1]})
        values = kernel.parameters(parameters, dtype) if parameters else ()
        place = call.out(shape, dtype)
        compiled = cuda_elementwise.backward(kernel.op, dtype)
        return call.result(elementwise(call, compiled, arrays, shape, place, values), place)
