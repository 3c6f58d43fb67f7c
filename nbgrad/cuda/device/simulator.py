"""Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``) in the place of a GPU: all that is otherwise there.

`nbgrad.cuda.device` binds the names of this module where it binds those of `nbgrad.cuda.device.driver` otherwise.
Kernels run in Python, a thread of theirs is one of Python's. What a caller of kernels holds is Numba's stand-in for a
device array; within a call it is NumPy's array. What a tensor holds is NumPy's array with a mark: the rules of autograd
call NumPy's functions, which hand CuPy's arrays on to CuPy (NumPy's protocols ``__array_ufunc__`` and
``__array_function__``). The marked arrays use the same protocols, so a rule that would mix the CPU's arrays in, leave
the device, or ask for what CuPy does not have, fails in the simulator as on a GPU.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cuda.device.driver import guard
from nbgrad.cuda.device.noting import here
from nbgrad.cuda.device.simulated_graphs import noted, noting
from nbgrad.cuda.device.target import cuda

__all__ = [
    "AHEAD", "BLOCK", "FEW", "WARP", "address", "adopt", "blocking", "device_of", "empty", "get", "guard", "kernel",
    "launch", "mapped", "module", "own_type", "processors", "put", "restore", "synchronize", "to_host", "unwrap", "use",
]  # fmt: skip

# Few threads are enough to meet every branch.
WARP, BLOCK, AHEAD, FEW = 4, 16, 2, 32
#: NumPy's functions of arrays that rules may call with a GPU's: CuPy has each (``tests/cuda/test_ptx.py`` asks it).
KNOWN = frozenset(
    """all amax amin any argmax argmin argsort around broadcast_arrays broadcast_to clip column_stack concatenate
    count_nonzero cross cumprod cumsum diag diagonal diff dot einsum empty_like expand_dims flip fliplr flipud full_like
    hstack inner kron max mean min moveaxis nan_to_num nonzero ones_like outer prod put_along_axis ravel repeat reshape
    roll rollaxis rot90 searchsorted shape sinc sort split squeeze stack std sum swapaxes take take_along_axis tensordot
    tile trace transpose tril triu var vdot vstack where zeros_like""".split()
)
#: NumPy's ufuncs that CuPy lacks: it has all others.
LACKING = frozenset({"bitwise_count", "isnat", "matvec", "spacing", "vecdot", "vecmat"})


# Inside a kernel


def context() -> Any:
    """The stand-in for the words of CUDA inside a kernel."""
    from numba.cuda.simulator.kernel import _get_kernel_context

    return _get_kernel_context()


def free_of_races() -> None:
    """Mend the simulator's ``cuda.shared.array``, which asks whether there is an array for the line that called it, and
    then makes it: two of its threads that ask at once get two, and read memory that nobody has written. (One test of
    sixty failed where six such processes ran side by side.)
    """
    from numba.core.types import Type
    from numba.cuda.simulator.kernelapi import FakeCUDAShared
    from numba.np.numpy_support import as_dtype

    dynamic = FakeCUDAShared.array

    def array(self: Any, shape: Any, dtype: Any, alignment: int = 0) -> Any:
        if shape == 0:
            return dynamic(self, shape, dtype)
        caller = sys._getframe(1)
        made = np.empty(shape, as_dtype(dtype) if isinstance(dtype, Type) else dtype)
        return self._allocations.setdefault((caller.f_code, caller.f_lineno), made)

    FakeCUDAShared.array = array


def kernel(function: Callable[..., Any], bounds: tuple[int, int] | None = None) -> Any:
    return cuda.jit(function)


def launch(compiled: Any, blocks: int, threads: int, *arguments: Any) -> None:
    if blocks == 0:
        return
    if here.run is not None:
        here.run.launched(compiled, arguments)
    run = functools.partial(_launch, compiled, blocks, threads, tuple(map(_argument, arguments)))
    if (graph := noting()) is not None:
        graph.changes(*map(unwrap, arguments))
        graph.calls.append(run)
    run()


def _launch(compiled: Any, blocks: int, threads: int, arguments: tuple[Any, ...]) -> None:
    with warnings.catch_warnings():  # compiled code does not warn either (np.errstate is each thread's own)
        warnings.simplefilter("ignore", RuntimeWarning)
        compiled[blocks, threads](*arguments)


# The device and its arrays


class _NumPy:
    """NumPy, whose functions are noted."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(np, name)
        if isinstance(value, type):
            return value

        def call(*args: Any, **keywords: Any) -> Any:
            args, keywords = _bare(args), {key: _bare(one) for key, one in keywords.items()}
            return noted(_marked(value(*args, **keywords)), lambda: value(*args, **keywords), args)

        return call if callable(value) else value


def _bare(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_bare, value))
    return value.view(np.ndarray) if isinstance(value, Simulated) else value


def module() -> Any:
    return np if noting() is None else _NumPy()


def own_type() -> Any:
    """None: within a call arrays are NumPy's, and no caller's is."""


def device_of(array: Any) -> int:
    return 0


def processors() -> int:
    return 2


def use(like: Any, array: Any) -> Any:
    return contextlib.nullcontext()


def synchronize() -> None:
    pass


def blocking() -> bool:
    """There is nothing to wait for."""
    return True


def mapped(size: int) -> tuple[Any, Any]:
    host = np.zeros(size, np.int64)
    return host, host


def address(array: Any) -> int:
    return int(array.ctypes.data)


@functools.cache
def _device_array() -> Any:
    return type(cuda.to_device(np.zeros(1)))


def _argument(value: Any) -> Any:
    if isinstance(value, tuple):
        return _bare(tuple(map(unwrap, value)))  # Numba's stand-in is for arguments: it would not look into them
    return _device_array()(value.view(np.ndarray)) if isinstance(value, np.ndarray) else value


def unwrap(value: Any, name: str = "") -> Any:
    if noting() is not None and isinstance(value, np.ndarray):
        return value.view(Simulated)  # what is done with it is noted
    return value.view(np.ndarray) if isinstance(value, np.ndarray) else getattr(value, "_ary", value)


def restore(result: Any, like: Any) -> Any:
    if isinstance(like, np.ndarray):
        out = np.ndarray.__new__(type(like), np.shape(result), result.dtype)  # not a view: it owns its memory
        out.view(np.ndarray)[...] = result
        return noted(out, lambda: result)
    return _device_array()(np.asarray(result))


def to_host(array: Any) -> Any:
    return array


# What tensors hold


class Simulated(np.ndarray):
    """An array that stands for one on a GPU. It stays an array where it has no axes, as CuPy's does."""

    __cuda_ndarray__ = True  # Numba's mark: `nbgrad.arrays.on_device` knows it

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        name: Any = ufunc.__name__
        known = getattr(np, name, None) is ufunc and name not in LACKING
        _check(name, known and method in ("__call__", "reduce"))  # `reduce`: what the method `sum` does
        out = keywords.get("out")
        if out is not None:
            keywords["out"] = tuple(map(_plain, out))
        call = functools.partial(getattr(ufunc, method), *map(_plain, inputs), **keywords)
        if out is None or out[0] is None:
            return noted(_marked(call()), call)
        if (graph := noting()) is not None:
            graph.changes(*keywords["out"])
            graph.calls.append(call)
        call()
        return out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        _check(function.__name__, function.__name__ in KNOWN)
        plain, keywords = _plain(tuple(args)), {key: _plain(value) for key, value in keywords.items()}
        return noted(_marked(function(*plain, **keywords)), lambda: function(*plain, **keywords), plain)

    def __repr__(self) -> str:
        return f"Simulated({self.view(np.ndarray)!r})"

    def __getitem__(self, key: Any) -> Any:
        plain, key = self.view(np.ndarray), _key(key)
        return noted(_marked(plain[key]), lambda: plain[key], plain)

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, Simulated) and np.may_share_memory(self.view(np.ndarray), value.view(np.ndarray)):
            raise RuntimeError("a copy between parts that overlap: what CuPy makes of it is undefined")
        call = functools.partial(self.view(np.ndarray).__setitem__, _key(key), _plain(value))
        if (graph := noting()) is not None:
            graph.changes(self)
            graph.calls.append(call)
        call()

    def _method(name: str) -> Any:  # type: ignore[misc] # of NumPy's, which may return a copy
        def method(self: Any, *args: Any, **keywords: Any) -> Any:
            call = functools.partial(getattr(np.ndarray, name), self.view(np.ndarray), *args, **keywords)
            return noted(getattr(np.ndarray, name)(self, *args, **keywords), call, self)

        return method

    copy, astype, reshape, ravel, flatten = map(_method, ("copy", "astype", "reshape", "ravel", "flatten"))


def _check(name: Any, known: bool) -> None:
    if not known:
        raise TypeError(f"numpy.{name}: none of the functions that tensors on a GPU use, or that CuPy has ({__name__})")


def _key(key: Any) -> Any:
    parts = key if isinstance(key, tuple) else (key,)
    parts = tuple(part.view(np.ndarray) if isinstance(part, Simulated) else part for part in parts)
    return parts if isinstance(key, tuple) else parts[0]


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if isinstance(value, Simulated):
        return value.view(np.ndarray)
    if isinstance(value, np.ndarray):
        raise TypeError("expected an array on the simulated device, got a NumPy array")
    return value


def _marked(result: Any) -> Any:
    if isinstance(result, (list, tuple)):
        return type(result)(map(_marked, result))
    if not isinstance(result, (np.ndarray, np.generic)):
        return result
    return simulated(result) if getattr(result, "base", None) is None else result.view(Simulated)


def simulated(array: Any) -> Simulated:
    """A copy on the simulated device, which owns its memory; in the array's order, as CuPy's results are."""
    fortran = isinstance(array, np.ndarray) and array.flags.f_contiguous and not array.flags.c_contiguous
    out = Simulated(np.shape(array), array.dtype, order="F" if fortran else "C")
    out.view(np.ndarray)[...] = array
    return out


def matmul(x: Any, y: Any) -> Any:
    if here.run is not None:
        here.run.multiplied(x, y)
    return x @ y


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    out = Simulated(shape, dtype)
    if (graph := noting()) is not None:
        graph.fresh.append(out)
    return out


def adopt(data: Any) -> Any:
    return unwrap(data).view(Simulated)


def put(array: Any, device: str) -> Any:
    if int(device.partition(":")[2] or 0):
        raise ValueError(f"device: expected cuda:0, the simulator's only one, got {device}")
    return array if isinstance(array, Simulated) else simulated(array)


def get(array: Any) -> Any:
    return np.array(array.view(np.ndarray))[()]
