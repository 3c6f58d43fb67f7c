"""On a GPU: arrays of CuPy, PyTorch, Numba and DLPack; streams; errors after which the process goes on."""

import numpy as np
import pytest

import nbgrad
from nbgrad import functional, kernels, nn, optim

pytestmark = pytest.mark.gpu
X = np.linspace(-3, 3, 7, dtype=np.float32)
Y = (1 / (1 + np.exp(-X.astype(np.float64)))).astype(np.float32)


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    return torch


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-30)


def test_cupy(cupy):
    y = kernels.sigmoid(cupy.asarray(X))
    assert type(y) is cupy.ndarray and y.dtype == X.dtype
    close(cupy.asnumpy(y), Y)


def test_numba(cupy):
    from numba import cuda

    d, out = cuda.to_device(X), cuda.device_array(7, np.float32)
    y = kernels.sigmoid(d)
    assert cuda.devicearray.is_cuda_ndarray(y)
    close(y.copy_to_host(), Y)
    assert kernels.sigmoid(d, out=out) is out
    close(out.copy_to_host(), Y)


def test_pytorch(torch):
    x = torch.from_numpy(X).cuda()
    y = kernels.sigmoid(x)
    assert isinstance(y, torch.Tensor) and y.is_cuda and y.dtype == torch.float32
    close(y.cpu().numpy(), Y)
    out = torch.empty_like(x)
    assert kernels.sigmoid(x, out=out) is out
    close(out.cpu().numpy(), Y)
    loss, grad = kernels.cross_entropy_value_and_grad(x.reshape(1, 7), torch.tensor([3], device="cuda"))
    assert loss.shape == () and grad.shape == (1, 7) and grad.is_cuda
    leaf = x.clone().requires_grad_()
    close(kernels.sigmoid(leaf).cpu().numpy(), Y)
    with pytest.raises(TypeError, match="x: expected float32, float64, integers or bools, got float16"):
        kernels.sigmoid(x.half())
    with pytest.raises(TypeError, match="grad_output: expected a CUDA array as x is, got a torch.Tensor"):
        kernels.sigmoid_backward(torch.ones(7), x)


def test_pytorch_results_live_as_long_as_they_are_held(torch):
    """Their memory is CuPy's, kept by the tensor alone."""
    held = [kernels.sigmoid(torch.full((1000,), float(k), device="cuda")) for k in range(50)]
    for k, y in enumerate(held):
        close(y.cpu().numpy(), np.full(1000, 1 / (1 + np.exp(-float(k)))))


def test_anything_with_dlpack(cupy):
    class Capsule:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    close(cupy.asnumpy(kernels.sigmoid(Capsule(cupy.asarray(X)))), Y)


def test_tensors(cupy, torch):
    """Over the same memory, there and back."""
    x = cupy.asarray(X)
    t = nbgrad.Tensor(x)
    assert cupy.asarray(t).data.ptr == torch.from_dlpack(t).data_ptr() == torch.as_tensor(t).data_ptr() == x.data.ptr
    y = nbgrad.Tensor(torch.from_numpy(X).cuda()).requires_grad_()
    (functional.sigmoid(y) * x).sum().backward()
    close(y.grad.cpu().numpy(), Y * (1 - Y.astype(np.float64)) * X)
    with pytest.raises(RuntimeError, match=r"use \.detach\(\)"):
        cupy.asarray(y)
    assert isinstance(x + t, nbgrad.Tensor)


def slow(cupy, x):
    """Work on the current stream that a kernel on another stream would overtake."""
    big = cupy.ones((3000, 3000), np.float32)
    for _ in range(20):
        big = big @ big * np.float32(1 / 3000)
    x[:] = cupy.asarray(X)
    return big


def test_the_current_stream_of_cupy(cupy):
    x = cupy.zeros(7, np.float32)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        slow(cupy, x)
        y = kernels.sigmoid(x)
        stream.synchronize()
    close(cupy.asnumpy(y), Y)


def test_the_current_stream_of_pytorch(torch):
    x = torch.zeros(7, device="cuda")
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        big = torch.ones((3000, 3000), device="cuda")
        for _ in range(20):
            big = big @ big / 3000
        x.copy_(torch.from_numpy(X).cuda(non_blocking=True))
        y = kernels.sigmoid(x)
        stream.synchronize()
    close(y.cpu().numpy(), Y)


def test_nobody_waits(cupy):
    """A call returns before work that stands in front of it is done."""
    x = cupy.asarray(X)
    kernels.sigmoid(x)  # compiled
    labels, logits = cupy.zeros(7, np.int64), cupy.zeros((7, 3), np.float32)
    kernels.cross_entropy_value_and_grad(logits, labels)
    done = cupy.cuda.Event()
    slow(cupy, cupy.empty(7, np.float32))
    slow(cupy, cupy.empty(7, np.float32))
    done.record()
    kernels.sigmoid(x)
    kernels.cross_entropy_value_and_grad(logits, labels)
    waited = done.done
    done.synchronize()
    assert not waited


def test_a_training_step_waits_for_nobody(cupy):
    net = nn.Sequential(nn.Dropout(0.1), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)).cuda()
    optimizer = optim.Adam(net.parameters())
    x, labels = nbgrad.tensor(np.ones((9, 7), np.float32), device="cuda"), cupy.zeros(9, np.int64)

    def step():
        optimizer.zero_grad()
        functional.cross_entropy(net(x), labels).backward()
        optimizer.step()

    for _ in range(2):  # compiled, and memory in CuPy's pool
        step()
    done = cupy.cuda.Event()
    for _ in range(4):
        slow(cupy, cupy.empty(7, np.float32))
    done.record()
    step()
    waited = done.done
    done.synchronize()
    assert not waited


def test_out_of_memory_is_one_clear_error(cupy):
    limit = cupy.cuda.runtime.memGetInfo()[1]
    pool = cupy.get_default_memory_pool()
    base = cupy.zeros(1, np.float32)
    huge = cupy.broadcast_to(base, (limit // 4 + 1,))  # no memory until it is made contiguous
    with pytest.raises(MemoryError, match="CUDA: out of memory"):
        kernels.sigmoid(huge)
    pool.free_all_blocks()
    close(cupy.asnumpy(kernels.sigmoid(cupy.asarray(X))), Y)


def test_arrays_of_two_devices(cupy):
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one GPU only")
    x = cupy.asarray(X)
    with cupy.cuda.Device(1):
        g = cupy.ones(7, np.float32)
        y = kernels.sigmoid(g)
        assert y.device.id == 1
    with pytest.raises(ValueError, match="x: expected an array on CUDA device 1 as grad_output is, got one on device 0"):
        kernels.sigmoid_backward(g, x)
    assert kernels.sigmoid(g).device.id == 1


def test_large_arrays_are_indexed_with_64_bits(cupy):
    free = cupy.cuda.runtime.memGetInfo()[0]
    size = 2**31 + 5
    if free < 3 * 4 * size:
        pytest.skip("needs 26 GB of device memory")
    x = cupy.zeros(size, np.float32)
    x[-1] = 3
    kernels.relu(x, out=x)
    assert float(x[-1]) == 3 and float(kernels.logsumexp(x.reshape(1, -1))[0]) == pytest.approx(np.log(size), rel=1e-4)
