"""Products of matrices by cuBLAS, called directly: CuPy's take 23 µs on the host, and refuse to be captured in a graph.

Numbers are multiplied and added up in the operands' own precision (cuBLAS's default mode: no TF32). A handle of a
thread works in the current stream, with memory of its own for each: so a graph may hold its calls, and results are
bitwise the same in every run.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from typing import Any

from nbgrad.arrays import FLOAT32, FLOAT64
from nbgrad.cuda.device.noting import here

__all__ = ["gemm", "matmul", "ready"]

#: Bytes that cuBLAS may work in, for each stream of a thread.
WORKSPACE = 8 << 20
#: The greatest number that cuBLAS's own integers hold.
_MOST = 2**31 - 1
_NO, _YES = 0, 1  # whether cuBLAS is to transpose an operand
_here = threading.local()
_free: dict[int, list[Handle]] = {}  # handles of threads that have ended
_one = {FLOAT32: ctypes.c_float(1), FLOAT64: ctypes.c_double(1)}
_zero = {FLOAT32: ctypes.c_float(0), FLOAT64: ctypes.c_double(0)}


def _lying(shape: tuple[int, int], strides: tuple[int, int], itemsize: int) -> tuple[int, int] | None:
    """(whether rows lie one after the other: 0, or columns: 1; how far apart, in elements); None where neither."""
    (rows, columns), (down, right) = shape, strides
    if (right == itemsize or columns == 1) and (rows == 1 or (down >= columns * itemsize and down % itemsize == 0)):
        return _NO, down // itemsize if rows > 1 else columns
    if (down == itemsize or rows == 1) and (columns == 1 or (right >= rows * itemsize and right % itemsize == 0)):
        return _YES, right // itemsize if columns > 1 else rows
    return None


def gemm(
    n: int, k: int, m: int, x: tuple[int, ...], y: tuple[int, ...], itemsize: int
) -> tuple[int, int, int, int, int, int, int, int] | None:
    """What gemm is told for (n, k) @ (k, m) in C order, from the operands' strides in bytes: (transpose the first,
    the second, its m, n, k, the distances lda, ldb, ldc); None for operands that must be copied first.

    cuBLAS has columns one after the other: what lies there row by row is the transpose to it. So it is asked for
    (x @ y)ᵀ = yᵀ @ xᵀ, y being its first operand.
    """
    first, second = _lying((k, m), (y[0], y[1]), itemsize), _lying((n, k), (x[0], x[1]), itemsize)
    if first is None or second is None or max(n, k, m, first[1], second[1]) > _MOST:
        return None
    return first[0], second[0], m, n, k, first[1], second[1], m


class Handle:
    """cuBLAS for one thread on one GPU; ``library`` has its functions."""

    def __init__(self, library: Any, cupy: Any) -> None:
        self.library, self.cupy, self.stream = library, cupy, -1
        self.spaces: dict[int, Any] = {}
        self.gemm = {FLOAT32: library.cublasSgemm_v2, FLOAT64: library.cublasDgemm_v2}
        self.handle = ctypes.c_void_p()
        self._call("cublasCreate_v2", ctypes.byref(self.handle))

    def _call(self, name: str, *arguments: Any) -> None:
        _check(getattr(self.library, name)(*arguments), name)

    def use(self, stream: int) -> None:
        """Work in this stream. (Setting it takes the workspace away.)"""
        if stream == self.stream:
            return
        if stream not in self.spaces:
            self.spaces[stream] = self.cupy.cuda.alloc(WORKSPACE)
        self.stream = -1
        self._call("cublasSetStream_v2", self.handle, ctypes.c_void_p(stream))
        space = ctypes.c_void_p(int(self.spaces[stream].ptr))
        self._call("cublasSetWorkspace_v2", self.handle, space, ctypes.c_size_t(WORKSPACE))
        self.stream = stream

    def product(self, x: Any, y: Any, out: Any, told: tuple[int, ...]) -> None:
        """``out[...] = x @ y``, of matrices of one dtype; ``told`` is `gemm`'s."""
        self.use(self.cupy.cuda.get_current_stream().ptr)
        dtype = out.dtype
        first, second, m, n, k, lda, ldb, ldc = told
        status = self.gemm[dtype](
            self.handle, first, second, m, n, k, _one[dtype], y.data.ptr, lda, x.data.ptr, ldb, _zero[dtype],
            out.data.ptr, ldc,
        )  # fmt: skip
        if status:
            _check(status, "gemm")


def _check(status: int, name: str) -> None:
    if status == 3:
        raise MemoryError(f"CUDA: out of memory ({name}): use smaller batches, or free arrays")
    if status:
        raise RuntimeError(f"CUDA: {name} answered {status}")


@functools.cache
def _library() -> Any:
    """cuBLAS, where NVIDIA's own finder finds it, or as CuPy has loaded it; None where there is none."""
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return typed(ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path))
    for name in ("libcublas.so.13", "libcublas.so.12"):
        with contextlib.suppress(OSError):
            return typed(ctypes.CDLL(name))
    return None


def typed(library: Any) -> Any:
    """The library, its functions' arguments declared."""
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    for name, number in (("cublasSgemm_v2", ctypes.c_float), ("cublasDgemm_v2", ctypes.c_double)):
        value = ctypes.POINTER(number)
        getattr(library, name).argtypes = [
            pointer, integer, integer, integer, integer, integer, value, pointer, integer, pointer, integer, value,
            pointer, integer,
        ]  # fmt: skip
    return library


class _Handles(dict[int, Handle]):
    """A thread's handles by the GPU's number; another thread gets them when it has ended."""

    def __del__(self) -> None:
        for number, handle in self.items():
            _free.setdefault(number, []).append(handle)


def ready(number: int) -> Handle | None:
    """The thread's handle on this GPU, the current one; None without cuBLAS. Made before a capture, it may be used in
    one.
    """
    handles: _Handles | None = getattr(_here, "handles", None)
    if handles is None:
        handles = _here.handles = _Handles()
    if number not in handles:
        if (library := _library()) is None:
            return None
        import cupy

        free = _free.get(number)
        handles[number] = free.pop() if free else Handle(library, cupy)
    return handles[number]


def matmul(x: Any, y: Any) -> Any:
    """``x @ y``: of vectors and matrices of one float dtype by cuBLAS, else as CuPy makes it."""
    dtype = x.dtype
    if type(x) is not type(y):  # one of them in the CPU's memory: CuPy's error
        return x @ y
    if dtype not in _one or y.dtype != dtype or not (0 < x.ndim <= 2 >= y.ndim > 0) or x.shape[-1] != y.shape[0]:
        return x @ y
    import cupy

    number = x.device.id
    if number != cupy.cuda.runtime.getDevice():
        with cupy.cuda.Device(number):
            return matmul(x, y)
    if (handle := ready(number)) is None:
        return x @ y
    a, b = x if x.ndim == 2 else x[None], y if y.ndim == 2 else y[:, None]
    (n, k), m = a.shape, b.shape[1]
    shape = x.shape[:-1] + y.shape[1:]
    if not n * k * m:
        return cupy.zeros(shape, dtype)
    told = gemm(n, k, m, a.strides, b.strides, dtype.itemsize)
    if told is None:
        a, b = (p if _lying(p.shape, p.strides, p.itemsize) else cupy.ascontiguousarray(p) for p in (a, b))
        told = gemm(n, k, m, a.strides, b.strides, dtype.itemsize)
        if told is None:
            return x @ y
    if here.run is not None:
        here.run.multiplied(a, b)
    out = cupy.empty(shape, dtype)
    handle.product(a, b, out, told)
    return out
