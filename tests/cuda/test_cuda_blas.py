"""Products by cuBLAS: what it is told, with a stand-in that multiplies by cuBLAS's own definition, column by column."""

import ctypes
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from nbgrad.cuda.device import blas

LAYOUTS = {
    "rows": lambda of, n, m: of(n, m),
    "columns": lambda of, n, m: of(m, n).T,
    "part of rows": lambda of, n, m: of(n + 3, m + 5)[2 : n + 2, 1 : m + 1],
    "part of columns": lambda of, n, m: of(m + 2, n + 4).T[1 : n + 1, 1 : m + 1],
    "every other row": lambda of, n, m: of(2 * n, m)[::2],
    "every other column": lambda of, n, m: of(n, 2 * m)[:, ::2],
    "backwards": lambda of, n, m: of(n, m)[::-1],
    "broadcast": lambda of, n, m: np.broadcast_to(of(1, m), (n, m)),
    "a column, broadcast": lambda of, n, m: np.broadcast_to(of(n, 1), (n, m)),
}
COPIED = {"every other column", "backwards", "broadcast", "a column, broadcast"}


class Array(np.ndarray):
    """NumPy's array, as CuPy's says where it lies."""

    data = property(lambda self: SimpleNamespace(ptr=self.ctypes.data))
    device = property(lambda self: SimpleNamespace(id=0))

    def __matmul__(self, other):
        self.left_to.append((self.shape, other.shape))
        return np.matmul(self.view(np.ndarray), other.view(np.ndarray))


class Library:
    """cublasSgemm and its kin, by their documentation; each call is noted."""

    def __init__(self):
        self.calls = []
        for name in ("cublasCreate_v2", "cublasSetStream_v2", "cublasSetWorkspace_v2"):
            setattr(self, name, self.noting(name))
        for name, number in (("cublasSgemm_v2", ctypes.c_float), ("cublasDgemm_v2", ctypes.c_double)):
            setattr(self, name, self.product(name, number))

    def noting(self, name):
        return lambda *arguments: self.calls.append(name) or 0

    def product(self, name, number):
        def gemm(handle, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
            assert (alpha.value, beta.value) == (1, 0) and ta in (0, 1) and tb in (0, 1) and ldc >= max(1, m)
            assert lda >= max(1, k if ta else m) and ldb >= max(1, n if tb else k)
            self.calls.append(name)

            def matrix(address, ld, rows, columns):  # element (i, j) at i + j·ld
                size = ld * (columns - 1) + rows
                flat = np.frombuffer((number * size).from_address(address), number)
                return np.lib.stride_tricks.as_strided(flat, (rows, columns), (flat.itemsize, ld * flat.itemsize))

            first = matrix(a, lda, k, m).T if ta else matrix(a, lda, m, k)
            second = matrix(b, ldb, n, k).T if tb else matrix(b, ldb, k, n)
            matrix(c, ldc, m, n)[...] = first @ second
            return 0

        return gemm


@pytest.fixture
def library(monkeypatch):
    library = Library()
    Array.left_to, stream = [], SimpleNamespace(ptr=7)

    def empty(shape, dtype):
        return np.full(shape, np.nan, dtype).view(Array)

    cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDevice=lambda: 0), Device=lambda number: nullcontext(), alloc=lambda size: stream, get_current_stream=lambda: stream
    )
    cupy = SimpleNamespace(cuda=cuda, empty=empty, zeros=lambda *a: np.zeros(*a).view(Array), ascontiguousarray=lambda a: np.array(a, order="C").view(Array))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(blas, "_library", lambda: library)
    monkeypatch.setattr(blas, "_here", threading.local())
    monkeypatch.setattr(blas, "_free", {})
    library.stream = stream
    return library


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_products_of_matrices(first, second, dtype, library):
    rng = np.random.default_rng(0)
    of = lambda *shape: rng.integers(-9, 9, shape).astype(dtype)  # noqa: E731
    for n, k, m in [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 1, 5), (1, 4, 1), (3, 1, 1), (1, 1, 1)]:
        x, y = LAYOUTS[first](of, n, k), LAYOUTS[second](of, k, m)
        z = blas.matmul(x.view(Array), y.view(Array))
        assert z.dtype == dtype and z.flags.c_contiguous
        np.testing.assert_array_equal(z.view(np.ndarray), x @ y)
        assert blas.gemm(n, k, m, x.strides, y.strides, x.itemsize) or COPIED & {first, second}
    assert Array.left_to == [] and library.calls[-1] == ("cublasSgemm_v2" if dtype == np.float32 else "cublasDgemm_v2")


@pytest.mark.cuda
def test_transposes_are_not_copied(library):
    x, y = np.zeros((3, 4), np.float32), np.zeros((4, 5), np.float32)
    assert blas.gemm(3, 4, 5, x.strides, y.strides, 4) == (0, 0, 5, 3, 4, 5, 4, 5)
    assert blas.gemm(3, 4, 5, x.T.copy().T.strides, y.strides, 4) == (0, 1, 5, 3, 4, 5, 3, 5)
    assert blas.gemm(3, 4, 5, x.strides, y.T.copy().T.strides, 4) == (1, 0, 5, 3, 4, 4, 4, 5)


@pytest.mark.cuda
def test_vectors_empty_ones_and_what_is_left_to_cupy(library):
    rng = np.random.default_rng(0)
    for a, b in [((4,), (4, 3)), ((3, 4), (4,)), ((4,), (4,)), ((0, 4), (4, 3)), ((3, 0), (0, 5)), ((0,), (0,)), ((3, 0), (0,))]:
        x, y = (rng.integers(-9, 9, shape).astype(np.float64) for shape in (a, b))
        z = blas.matmul(x.view(Array), y.view(Array))
        assert z.shape == np.shape(x @ y)
        np.testing.assert_array_equal(z.view(np.ndarray), x @ y)
    assert Array.left_to == []
    for a, b in [((2, 3, 4), (4, 5)), ((4,), (2, 4, 5))]:
        blas.matmul(np.ones(a).view(Array), np.ones(b).view(Array))
    for first, second in [(np.int64, np.int64), (np.float32, np.float64), (np.float16, np.float16)]:
        blas.matmul(np.ones((2, 3), first).view(Array), np.ones((3, 2), second).view(Array))
    assert len(Array.left_to) == 5
    with pytest.raises(ValueError, match="matmul"):
        blas.matmul(np.ones((2, 3)).view(Array), np.ones((2, 3)).view(Array))


@pytest.mark.cuda
def test_streams_workspaces_and_threads(library):
    """The workspace is set after each change of the stream, which takes it away; a thread that ends leaves its handle to the next."""
    x = np.ones((2, 2)).view(Array)
    blas.matmul(x, x), blas.matmul(x, x)
    library.stream.ptr = 8
    blas.matmul(x, x)
    setting = ["cublasSetStream_v2", "cublasSetWorkspace_v2"]
    assert library.calls == ["cublasCreate_v2", *setting, *["cublasDgemm_v2"] * 2, *setting, "cublasDgemm_v2"]
    for _ in range(3):
        thread = threading.Thread(target=blas.matmul, args=(x, x))
        thread.start(), thread.join()
    assert library.calls.count("cublasCreate_v2") == 2
    library.cublasDgemm_v2 = lambda *arguments: 13
    blas._here.handles[0].gemm[np.dtype(np.float64)] = library.cublasDgemm_v2
    with pytest.raises(RuntimeError, match="CUDA: gemm answered 13"):
        blas.matmul(x, x)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_on_a_gpu(first, second, dtype):
    cupy = pytest.importorskip("cupy")
    rng = np.random.default_rng(0)
    for n, k, m in [(100, 784, 256), (1, 40, 5), (3, 1, 5), (3, 4, 1), (1, 1, 1)]:

        def of(*shape):
            return cupy.asarray(rng.integers(-9, 9, shape).astype(dtype))

        x, y = LAYOUTS[first](of, n, k), LAYOUTS[second](of, k, m)  # np.broadcast_to hands CuPy's arrays on to CuPy
        np.testing.assert_array_equal(cupy.asnumpy(blas.matmul(x, y)), cupy.asnumpy(x) @ cupy.asnumpy(y))  # sums of small integers are exact
