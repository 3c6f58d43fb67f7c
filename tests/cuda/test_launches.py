"""What a launch hands to the driver, without a GPU: the parameters of the kernel that Numba compiles, in their number, order and size; the
work before it; and memory that host and kernels share.
"""

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import noted_launches
import numpy as np
import pytest
from test_ptx import compiled

import nbgrad
from nbgrad import functional, kernels, nn, optim, regression
from nbgrad.cuda import device
from nbgrad.cuda.device import driver
from nbgrad.cuda.device.launches import Loaded, flattened, signature

if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
    pytest.skip("the simulator launches nothing", allow_module_level=True)
pytestmark = pytest.mark.cuda

rng = np.random.default_rng(0)


def there(shape, dtype=np.float32):
    return noted_launches.there(rng.uniform(0.5, 1.5, shape).astype(dtype))


def labels(*values):
    return noted_launches.there(np.array(values))


@nbgrad.differentiable
def product(x, y, scale):
    return x * y * scale


def train():
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.ReLU()).to("cuda")
    for optimizer in (optim.Adam(net.parameters()), optim.SGD(net.parameters(), lr=0.1, momentum=0.9)):
        functional.cross_entropy(net(nbgrad.tensor(there((5, 4)))), labels(0, 1, 2, 0, 1)).backward()
        optimizer.step()


def fit(model, targets, classes=1, dtype=np.uint8):
    x, y = there((20, 6), dtype), noted_launches.there(np.resize(targets, 20))
    problem = regression.Problem(model, x, y, sample_weight=there(20))
    params = there((classes, 7) if model == "softmax" else 7)
    problem.value_and_grad(params), problem.hessp(params, params)


CALLS = {
    "an operator without parameters": lambda: kernels.sigmoid(there(9)),
    "with parameters": lambda: kernels.hardtanh(there(9, np.float64), min_val=-0.5),
    "its derivative": lambda: kernels.elu_backward(there((3, 4)), there((3, 4))),
    "a loss": lambda: kernels.huber_loss_value_and_grad(there(9), there(9)),
    "a loss's elements": lambda: kernels.huber_loss(there(9), there(9), reduction="none"),
    "a sum of many": lambda: kernels.mse_loss(there(20_000), there(20_000), reduction="sum"),
    "rows": lambda: (kernels.softmax(there((3, 8))), kernels.softmax_backward(there((3, 8)), there((3, 8)))),
    "logsumexp": lambda: kernels.logsumexp(there((3, 8))),
    "labels": lambda: kernels.cross_entropy_value_and_grad(there((3, 5)), labels(0, 1, 4), weight=there(5)),
    "smoothed labels": lambda: kernels.cross_entropy_value_and_grad(there((3, 5)), labels(0, 1, 4), label_smoothing=0.1),
    "nll": lambda: kernels.nll_loss_value_and_grad(there((3, 5)), labels(0, 1, 4)),
    "maxout": lambda: kernels.maxout_backward(there((3, 2)), kernels.maxout(there((3, 4)), 2)[1], 2),
    "elements picked twice": lambda: nbgrad.tensor(there(4), requires_grad=True)[labels(0, 0, 3)].sum().backward(),
    "a formula": lambda: (product(there(9), there(9), 2.0), product.value_and_grad(there(9), there(9), 2.0)),
    "training": train,
    "logistic": lambda: fit("logistic", [0, 1]),
    "softmax": lambda: fit("softmax", [0, 1, 2], 3, np.float32),
    "more classes than registers": lambda: fit("softmax", [0, 1, 2], 40),
}


def parameters(ptx):
    """The types of a kernel's parameters: u64, f32, and so on."""
    head = ptx[ptx.index(".entry") :]
    return re.findall(r"\.param \.(?:align \d+ \.)?([busf]\d+) ", head[: head.index("{")])


def plain(values):
    """What Numba's launch hands on, one after the other, of an array (0, 0, size, size of an item, address, *shape, *strides)."""
    for value in values:
        if isinstance(value, tuple):
            yield from plain(value)
        elif isinstance(value, np.ndarray):
            strides = (value.itemsize,) if value.ndim == 1 and value.size < 2 else value.strides
            yield from (0, 0, value.size, value.itemsize, value.ctypes.data, *value.shape, *strides)
        else:
            yield value


@pytest.mark.parametrize("name", CALLS)
def test_the_parameters_are_the_kernels(name, monkeypatch):
    with noted_launches.recorded(monkeypatch) as launches:
        CALLS[name]()
    assert launches
    seen = set()
    for launch in launches:
        assert launch.grid > 0 and launch.block > 0 and launch.stream == 7
        if (launch.kernel, launch.types) in seen:
            continue
        seen.add((launch.kernel, launch.types))
        wanted = list(plain(launch.arguments))
        types = parameters(compiled(launch.kernel, launch.types, (9, 0), monkeypatch))
        assert len(types) == len(wanted) == len(launch.parameters)
        for type, value, got in zip(types, wanted, launch.parameters, strict=True):
            dtype = np.dtype(type.replace("b8", "u8")[0].replace("s", "i") + str(int(type[1:]) // 8))
            assert isinstance(value, (int, float, np.generic))
            assert not isinstance(value, np.generic) or value.dtype.itemsize == dtype.itemsize
            assert np.frombuffer(got, dtype, 1)[0] == np.array(value).astype(dtype)


def test_arguments_of_every_kind(monkeypatch):
    """Python's and NumPy's numbers, tuples in tuples, arrays within them, of no and of several axes, empty, and out of order."""
    from numba import cuda

    matrix = there((3, 4), np.float64)
    given = (
        True, np.bool_(False), 3, -(2**63), np.int64(5), np.uint64(2**64 - 1), np.uint8(7), np.int32(-4), 1.5, np.float32(0.1), np.float64(-0.0),
        (), (1, (np.float32(2), (), (3.5, there(2)))), there(()), there(0), matrix, matrix.T, matrix[:, 1], matrix[::-1], there((2, 3, 0)),
        there(1)[::-1], there(4, np.bool_), there(3, np.uint8),
    )  # fmt: skip
    kinds, numbers = [], []
    flattened(given, kinds, numbers)
    types, letters = signature(kinds)
    assert [str(t) for t in types[:14]] == [
        "bool", "bool", "int64", "int64", "int64", "uint64", "uint8", "int32", "float64", "float32", "float64", "Tuple()",
        "Tuple(int64, Tuple(float32, Tuple(), Tuple(float64, array(float32, 1d, C))))", "array(float32, 0d, C)",
    ]  # fmt: skip
    assert [t.layout for t in types[14:]] == ["C", "C", "A", "A", "A", "C", "C", "C", "C"]
    arguments = ", ".join(f"a{k}" for k in range(len(given)))
    scope = {}
    exec(f"def run({arguments}): pass", scope)
    ptx = compiled(cuda.jit(scope["run"]), types, (8, 0), monkeypatch)
    assert [int(t[1:]) // 8 for t in parameters(ptx)] == [np.dtype(letter).itemsize for letter in letters]
    wanted = list(plain(given))
    assert len(wanted) == len(numbers) and all(a == b for a, b in zip(wanted, numbers, strict=True))
    launches = noted_launches.Launches()
    Loaded(SimpleNamespace(ptr=launches.new(None, types, letters)), letters, launches.note)(5, 64, 7, numbers)
    for letter, value, got in zip(letters, wanted, launches[0].parameters, strict=True):
        assert np.frombuffer(got, letter, 1)[0] == np.dtype(letter).type(value)


def test_a_kernel_is_compiled_once_for_each_kind_of_argument(monkeypatch):
    """And never again: neither for other sizes and places, nor for other numbers of the same type."""
    with noted_launches.recorded(monkeypatch) as launches:
        run = driver.kernel(lambda x, number: None)
        for arguments in ((there(3), 1.0), (there(5)[1:], 2.0), (there(0), -1.0), (there(1)[::-1], np.float64(3))):
            device.launch(run, 2, 32, *arguments)
        assert len(launches) == 4 and len(launches.kernels) == 2  # Python's float and NumPy's have two keys, and one type
        for arguments in ((there(3)[::2], 1.0), (there((3, 1)), 1.0), (there(3, np.float64), 1.0), (there(3), 1), (there(3), np.float32(1))):
            device.launch(run, 2, 32, *arguments)
        assert len(launches.kernels) == 7
        device.launch(run, 0, 32, there(3), 1.0)
        assert len(launches) == 9


def test_the_work_before_a_launch(monkeypatch):
    """Arrays that are as they should be: few calls of functions (600 once, 200 µs)."""
    calls = []

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(str(Path(nbgrad.__file__).parent)):
            calls.append(frame.f_code.co_name)

    x = there(1000)
    with noted_launches.recorded(monkeypatch) as launches:
        for call in (lambda: kernels.sigmoid(x), lambda: kernels.sigmoid_backward(x, x, out=x)):
            call()
            calls.clear()
            sys.setprofile(note)
            try:
                call()
            finally:
                sys.setprofile(None)
            assert calls.count("launch") == 1 and len(calls) < 80, calls
    assert len(launches) == 4


def test_memory_that_kernels_and_the_host_see(monkeypatch):
    with noted_launches.recorded(monkeypatch):
        host, there = driver.mapped(2)
        assert host.tolist() == [0, 0] and there.shape == (2,) and there.dtype == np.int64
        there[1] = 5
        assert host.tolist() == [0, 5]
        host[1] = 0
        assert there.tolist() == [0, 0]
