"""Errors of the target itself that need no device to be provoked."""

import inspect
from types import SimpleNamespace

import pytest

from nbgrad.cuda import device
from nbgrad.cuda.device import driver, simulator


def raised(error):
    with driver.guard():
        raise error


def failure(name, text):
    return type(name, (Exception,), {})(text)


def test_out_of_memory():
    with pytest.raises(MemoryError, match=r"CUDA: out of memory \(8 bytes\): use smaller batches"):
        raised(MemoryError("8 bytes"))
    for name, text in (
        ("CudaAPIError", "[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY"),
        ("CUDARuntimeError", "cudaErrorMemoryAllocation: out of memory"),
    ):
        with pytest.raises(MemoryError, match="CUDA: out of memory"):
            raised(failure(name, text))


def test_a_gpu_of_another_process():
    for name, text in (
        ("CudaAPIError", "[46] Call to cuDevicePrimaryCtxRetain results in CUDA_ERROR_DEVICE_UNAVAILABLE"),
        ("CUDARuntimeError", "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable"),
    ):
        with pytest.raises(RuntimeError, match="in use by another process, or in exclusive mode"):
            raised(failure(name, text))


def test_other_errors_keep_their_text_and_errors_of_ours_their_type():
    with pytest.raises(RuntimeError, match="CUDA: no such thing"):
        raised(failure("CudaSupportError", "no such thing"))
    with pytest.raises(ZeroDivisionError):
        raised(ZeroDivisionError())


def test_too_old_a_gpu():
    old = SimpleNamespace(id=1, compute_capability=(7, 5))
    with pytest.raises(RuntimeError, match=r"CUDA device 1: expected compute capability 8.0 or later, .* got 7.5"):
        driver._check_age(old)
    driver._check_age(SimpleNamespace(id=0, compute_capability=(12, 0)))


def test_the_simulator_has_the_names_of_the_driver():
    assert simulator.__all__ == driver.__all__ and set(driver.__all__) < set(device.__all__)
    for name in driver.__all__:
        real, simulated = getattr(driver, name), getattr(simulator, name)
        assert callable(real) == callable(simulated)
        if callable(real):
            assert list(inspect.signature(real).parameters) == list(inspect.signature(simulated).parameters), name
