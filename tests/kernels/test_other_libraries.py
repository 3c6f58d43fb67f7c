"""Elementwise kernels on arrays of pandas, Dask, xarray and on subclasses of ndarray: what SciPy's ufuncs make of them."""

import pickle

import numpy as np
import pytest
import scipy.special
from strategies import FEW_OPS, same_bits

from nbgrad import kernels
from nbgrad.formulas.table import OPS
from nbgrad.kernels import elu, elu_backward, gelu, gelu_backward, leaky_relu, sigmoid, sigmoid_backward
from nbgrad.kernels.foreign import Ufunc

da, pd, xr = map(pytest.importorskip, ("dask.array", "pandas", "xarray"))

X = np.linspace(-2, 2, 6).reshape(3, 2)
SERIES = pd.Series([1.0, -2.0, 3.0], index=list("abc"), name="v")


def raises(block):
    raise RuntimeError("a block ran")


#: Dask's array whose blocks raise when they are computed
UNTOUCHED = da.from_array(np.ones((4, 4), np.float32), chunks=2).map_blocks(raises, dtype=np.float32, meta=np.empty((0, 0), np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_a_series_keeps_index_name_and_precision(dtype):
    x = SERIES.astype(dtype)
    y, expected = sigmoid(x), scipy.special.expit(x.astype(float))
    assert type(y) is pd.Series and y.name == "v" and y.index.equals(x.index)
    assert y.dtype == (np.float32 if dtype == "float32" else np.float64)
    same_bits(y.to_numpy(), sigmoid(x.to_numpy()))
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize("name", OPS)
def test_every_kernel_brings_the_kind_back(name):
    f, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
    x = pd.Series(X.ravel())
    lazy = da.from_array(X, chunks=(2, 1))
    for kind, value in ((pd.Series, x), (da.Array, lazy), (xr.DataArray, xr.DataArray(X))):
        assert type(f(value)) is type(backward(value, value)) is type(backward(2.0, value)) is kind
        same_bits(np.asarray(f(value)), f(np.asarray(value)))
        same_bits(np.asarray(backward(value, value)), backward(np.asarray(value), np.asarray(value)))


def test_both_arguments_of_a_gradient():
    """Series are aligned by their index, as by NumPy's functions of two arguments; other kinds are mixed freely."""
    turned = SERIES[::-1]
    same_bits(sigmoid_backward(turned, SERIES).sort_index().to_numpy(), sigmoid_backward(SERIES.to_numpy(), SERIES.to_numpy()))
    shifted = sigmoid_backward(SERIES, pd.Series([1.0, 2.0], index=list("bz")))
    assert list(shifted.index) == list("abcz") and list(shifted.isna()) == [True, False, True, True]
    for g, x in ((SERIES, np.ones(3)), (np.ones(3), SERIES), (2.0, SERIES), (SERIES, 0.5)):
        y = sigmoid_backward(g, x)
        assert type(y) is pd.Series and y.index.equals(SERIES.index)
        same_bits(y.to_numpy(), sigmoid_backward(np.asarray(g), np.asarray(x)))
    assert sigmoid_backward(2.0, SERIES.astype("float32")).dtype == np.float32
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}, index=["x", "y"])
    for y in (gelu(frame), gelu_backward(frame, frame)):
        assert type(y) is pd.DataFrame and list(y.columns) == ["a", "b"] and list(y.index) == ["x", "y"]
    same_bits(gelu(frame).to_numpy(), gelu(frame.to_numpy()))
    assert type(sigmoid(pd.Index([1.0, 2.0]))) is pd.Index


def test_missing_values_stay_missing():
    y = sigmoid(pd.Series([1.0, None], dtype="Float64"))
    assert y.dtype == "Float64" and list(y.isna()) == [False, True]
    assert np.isnan(sigmoid(pd.Series([1.0, np.nan]))[1])


@pytest.mark.parametrize("name", FEW_OPS)
def test_no_block_runs_before_compute(name):
    f, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
    for y in (f(UNTOUCHED), backward(UNTOUCHED, UNTOUCHED), backward(1.5, UNTOUCHED), backward(np.ones((4, 4), np.float32), UNTOUCHED)):
        assert type(y) is da.Array and y.dtype == np.float32 and y.shape == (4, 4) and y.chunks == UNTOUCHED.chunks
        with pytest.raises(RuntimeError, match="a block ran"):
            y.compute()
    inside = f(xr.DataArray(UNTOUCHED))
    assert type(inside.data) is da.Array


def test_parameters_go_along_and_are_checked_at_once():
    lazy = da.from_array(X, chunks=(1, 2))
    same_bits(elu(lazy, alpha=2.0).compute(), elu(X, alpha=2.0))
    same_bits(elu_backward(lazy, lazy, alpha=2.0).compute(), elu_backward(X, X, alpha=2.0))
    same_bits(gelu(lazy, approximate="tanh").compute(), gelu(X, approximate="tanh"))
    same_bits(leaky_relu(SERIES, negative_slope=0.5).to_numpy(), leaky_relu(SERIES.to_numpy(), negative_slope=0.5))
    for value in (UNTOUCHED, SERIES):
        with pytest.raises(TypeError, match="^alpha: expected a real number, got str"):
            elu(value, alpha="1")
    alpha = np.array(2.0)
    later = elu(lazy, alpha=alpha)
    alpha[...] = 9
    same_bits(later.compute(), elu(X, alpha=2.0))
    assert elu(lazy, alpha=2.0).name == elu(lazy, alpha=2.0).name != elu(lazy, alpha=3.0).name
    assert sigmoid(da.arange(4, chunks=2)).dtype == np.float64
    with pytest.raises(TypeError, match="^x: expected float32"):
        sigmoid(pd.Series(["a", "b"]))


def test_dimensions_coordinates_and_attributes_stay():
    a = xr.DataArray(X, dims=("r", "c"), coords={"r": [1, 2, 3]}, attrs={"unit": "m"})
    with xr.set_options(keep_attrs=True):
        y = sigmoid(a)
        assert y.dims == ("r", "c") and y.attrs == {"unit": "m"} and list(y.r) == [1, 2, 3]
    same_bits(y.to_numpy(), sigmoid(X))
    column = sigmoid_backward(a.isel(c=0), a)  # dimensions are matched by name
    same_bits(column.to_numpy(), sigmoid_backward(X[:, :1], X))
    assert type(sigmoid(a.to_dataset(name="q"))) is xr.Dataset


def test_out():
    x = SERIES.to_numpy()
    out = np.empty(3)
    sigmoid(SERIES, out=out)
    same_bits(out, sigmoid(x))
    labelled = pd.Series(np.zeros(3), index=list("xyz"))
    assert sigmoid(x, out=labelled) is labelled
    same_bits(labelled.to_numpy(), sigmoid(x))
    with pytest.raises(TypeError, match="^out: expected a numpy.ndarray, got MaskedArray"):
        sigmoid(x, out=np.ma.zeros(3))


class Tagged(np.ndarray):
    def __array_finalize__(self, source):
        self.tag = getattr(source, "tag", None)


class Overriding(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        plain = [a.view(np.ndarray) if isinstance(a, Overriding) else a for a in inputs]
        return super().__array_ufunc__(ufunc, method, *plain, **keywords).view(Overriding)


class Unwilling:
    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        return NotImplemented


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_subclasses_of_ndarray(tmp_path):
    tagged = X.view(Tagged)
    tagged.tag = "t"
    y = sigmoid_backward(X, tagged)
    assert type(y) is Tagged and y.tag == "t"
    same_bits(y, sigmoid_backward(X, X))
    for value in (X.view(Overriding), np.asmatrix(X)):
        assert type(sigmoid(value)) is type(sigmoid_backward(value, X)) is type(value)
        same_bits(np.asarray(sigmoid(value)), sigmoid(X))
    memory = np.memmap(tmp_path / "x", dtype=float, mode="w+", shape=X.shape)
    memory[...] = X
    assert type(sigmoid(memory)) is np.ndarray
    assert sigmoid(X, out=memory) is memory
    same_bits(np.asarray(memory), sigmoid(X))
    with pytest.raises(TypeError, match="^x: expected arrays that take part in <ufunc 'nbgrad.kernels.sigmoid'>, got Unwilling"):
        sigmoid(Unwilling())


def test_masks_are_refused_beside_any_kind():
    masked = np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0])
    for call in (lambda: sigmoid(masked), lambda: sigmoid([masked]), lambda: sigmoid([1.0, np.ma.masked]), lambda: sigmoid_backward(SERIES, masked)):
        with pytest.raises(TypeError, match="^x: expected an array without a mask"):
            call()
    with pytest.raises(TypeError, match="^grad_output: expected an array without a mask"):
        sigmoid_backward(masked, SERIES)


def test_the_ufunc_itself():
    ufunc = pickle.loads(pickle.dumps(Ufunc("elu", 1, {"alpha": 2.0})))
    assert ufunc(-1.0) == elu(-1.0, alpha=2.0) and ufunc.nin == 1 and ufunc.nout == 1
    with pytest.raises(TypeError, match="elu: unexpected argument 'where'"):
        ufunc(1.0, where=True)
