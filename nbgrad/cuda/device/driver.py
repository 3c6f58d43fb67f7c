"""A GPU by way of Numba's CUDA target and CuPy: errors, arrays of other libraries, streams, launches.

A kernel is written in the words of `nbgrad.cuda.device.intrinsics`, compiled by `kernel` and run by `launch`. Device
memory and whatever is no derived formula (broadcasting, copies to contiguous memory) is CuPy's work.
`nbgrad.cuda.device.simulator` has the same names; who uses them asks `nbgrad.cuda.device`.

This module is imported when the first CUDA array comes, never by ``import nbgrad``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nbgrad.arrays import ON_DEVICE
from nbgrad.cuda.device.launches import Loaded, flattened, signature
from nbgrad.cuda.device.noting import here
from nbgrad.cuda.device.target import cuda

__all__ = [
    "AHEAD", "BLOCK", "FEW", "WARP", "address", "adopt", "blocking", "device_of", "empty", "get", "guard", "kernel",
    "launch", "mapped", "module", "own_type", "processors", "put", "restore", "synchronize", "to_host", "unwrap", "use",
]  # fmt: skip

#: Threads that exchange numbers without shared memory, and threads of a block.
WARP, BLOCK = 32, 256
#: Lines of a row that a thread reads ahead, where there are so many (of each of two arrays, and of entries that are no
#: lines, half as many).
AHEAD = 4
#: Numbers that one block adds up, to save a launch.
FEW = 65_536
#: The oldest GPU: the tests hold the machine code for this compute capability and later ones.
OLDEST = (8, 0)
_INSTALL = 'pip install "nbgrad[cuda]"'


def kernel(function: Callable[..., Any], bounds: tuple[int, int] | None = None) -> Any:
    """The compile options of every kernel; ``bounds``: threads of a block, and how many blocks a multiprocessor must
    have registers for. No fastmath: it drops subnormal numbers and the accuracy of a division. Not
    in Numba's disk cache, which does not notice an edited formula in another file.
    """
    compiled = cuda.jit(function) if bounds is None else cuda.jit(launch_bounds=bounds)(function)
    compiled.loaded = {}  # by the GPU and the kinds of the arguments: what `launch` runs
    return compiled


@functools.cache
def module() -> Any:
    """The library of arrays on the device: CuPy. RuntimeError where no GPU is usable."""
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError(f"CUDA arrays need CuPy, which is not installed ({error}): {_INSTALL}") from None
    if not cuda.is_available():
        raise RuntimeError(f"CUDA arrays need numba-cuda and a working NVIDIA driver: {_reason()}")
    _check_age(cuda.get_current_device())
    ON_DEVICE.add(cupy.ndarray)
    return cupy


def own_type() -> Any:
    """The type of `module`'s arrays, which are taken as they are."""
    return module().ndarray


def _check_age(device: Any) -> None:
    """RuntimeError for a GPU older than `OLDEST`."""
    if tuple(device.compute_capability) < OLDEST:
        raise RuntimeError(
            f"CUDA device {device.id}: expected compute capability {OLDEST[0]}.{OLDEST[1]} or later, for which "
            f"nbgrad's kernels are tested, got {'.'.join(map(str, device.compute_capability))}: use arrays in the "
            "CPU's memory"
        )


def _reason() -> str:
    """Why Numba finds no GPU."""
    try:
        cuda.current_context()
    except Exception as error:  # whatever the driver says
        text = " ".join(str(error).split())
        return f"{text} ({_INSTALL} installs what is Python's part; `nvidia-smi` must list a GPU)"
    return f"numba-cuda cannot compile: {_INSTALL}"


class guard:  # noqa: N801 (used like a function; contextlib's costs two microseconds)
    """One clear error for what CUDA's libraries raise; the process stays usable."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            return
        text = str(error)
        if isinstance(error, MemoryError):
            raise MemoryError(
                f"CUDA: out of memory ({error}): use smaller batches, or free arrays and call "
                "cupy.get_default_memory_pool().free_all_blocks()"
            ) from None
        if type(error).__name__ not in _OF_CUDA:
            return
        if "OUT_OF_MEMORY" in text or "MemoryAllocation" in text:
            raise MemoryError(f"CUDA: out of memory ({text}): use smaller batches, or free arrays") from None
        if "UNAVAILABLE" in text.upper():
            raise RuntimeError(
                f"CUDA: the GPU is in use by another process, or in exclusive mode ({text}): end that process, choose "
                "another GPU with CUDA_VISIBLE_DEVICES, or have its mode set back with `nvidia-smi -c 0`"
            ) from None
        raise RuntimeError(f"CUDA: {text}") from error


_OF_CUDA = "CudaAPIError", "CudaSupportError", "CudaDriverError", "CUDADriverError", "CUDARuntimeError"


# Arrays


def _of_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def unwrap(value: Any, name: str) -> Any:
    """The caller's device array as one of `module`, over the same memory."""
    cupy = module()
    if isinstance(value, cupy.ndarray):
        return value
    try:
        if _of_torch(value):
            return cupy.asarray(value.detach())
        if hasattr(value, "__cuda_array_interface__"):
            return cupy.asarray(value)
        return cupy.from_dlpack(value)
    except (TypeError, ValueError, BufferError) as error:
        raise TypeError(
            f"{name}: expected a CUDA array that CuPy can take, got {type(value).__name__} ({error})"
        ) from None


def restore(result: Any, like: Any) -> Any:
    """A result as an array of the caller's kind (CuPy's where that has no way in), over the same memory."""
    if type(like) is module().ndarray:
        return result
    if _of_torch(like):
        return sys.modules["torch"].from_dlpack(result)
    if isinstance(like, cuda.devicearray.DeviceNDArray):
        return cuda.as_cuda_array(result, sync=False)
    return result


def to_host(array: Any) -> Any:
    """Its copy in the CPU's memory; waits for the current stream."""
    return module().asnumpy(array)


def address(array: Any) -> int:
    """Where its first element lies."""
    return int(array.data.ptr)


def device_of(array: Any) -> int:
    """The number of the GPU that holds it."""
    return int(array.data.device_id)


_AS_IT_IS = contextlib.nullcontext()


def use(like: Any, array: Any) -> Any:
    """Within it the array's GPU is the current one; for PyTorch's tensors PyTorch's current stream is CuPy's, too.
    (CuPy's and Numba's arrays are worked on in CuPy's current stream.)
    """
    number = device_of(array)
    if not _of_torch(like) and module().cuda.runtime.getDevice() == number:
        return _AS_IT_IS
    return _moved(like, number)


@contextlib.contextmanager
def _moved(like: Any, number: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(module().cuda.Device(number))
        if _of_torch(like):
            stack.enter_context(_stream(sys.modules["torch"].cuda.current_stream(number).cuda_stream, number))
        yield


class _External:
    """A stream of another library, as the CUDA stream protocol has it."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.pointer


def _stream(pointer: int, device: int) -> Any:
    """CuPy's object for a stream, to be entered."""
    streams = module().cuda
    if pointer == 0:
        return streams.Stream.null
    if hasattr(streams.Stream, "from_external"):  # CuPy 14; ExternalStream is deprecated there
        return streams.Stream.from_external(_External(pointer))
    return streams.ExternalStream(pointer, device)


# What tensors hold


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array in C order."""
    return module().empty(shape, dtype)


def adopt(data: Any) -> Any:
    """The caller's device array as a tensor's array, over the same memory."""
    array = unwrap(data, "data")
    if _of_torch(data):  # CuPy's current stream waits for what PyTorch's has still to do
        theirs = sys.modules["torch"].cuda.current_stream(data.device.index).cuda_stream
        current = module().cuda.get_current_stream()
        if theirs != current.ptr:
            current.wait_event(_stream(theirs, data.device.index).record())
    return array


def put(array: Any, device: str) -> Any:
    """A tensor's array on this device ("cuda": the current one); itself where it is there already."""
    number = int(device.partition(":")[2]) if ":" in device else None
    if isinstance(array, module().ndarray) and number in (None, device_of(array)):
        return array
    with guard():
        cupy = module()
        count = cupy.cuda.runtime.getDeviceCount()
        if number is not None and number >= count:
            raise ValueError(f"device: expected a number below {count}, the number of GPUs, got {device}")
        with cupy.cuda.Device(number) if number is not None else contextlib.nullcontext():
            return cupy.asarray(array)


def get(array: Any) -> Any:
    """A copy in the CPU's memory: this waits for the device."""
    with guard():
        return module().asnumpy(array)[()]


# Launches


@functools.cache
def _processors(device: int) -> int:
    return int(module().cuda.Device(device).attributes["MultiProcessorCount"])


def processors() -> int:
    """The number of multiprocessors of the current GPU."""
    return _processors(module().cuda.runtime.getDevice())


class _Contexts(threading.local):
    """The GPUs that a thread has made ready: what the driver is asked directly does not do that by itself."""

    def __init__(self) -> None:
        self.ready: set[int] = set()


_contexts = _Contexts()


def launch(compiled: Any, blocks: int, threads: int, *arguments: Any) -> None:
    """Run a kernel on the current stream; nobody waits for it. The first time for arguments of these types Numba
    compiles it; from then on nothing of Numba's runs.
    """
    if blocks == 0:
        return
    if here.run is not None:
        here.run.launched(compiled, arguments)
    library = module().cuda
    kinds: list[Any] = [library.runtime.getDevice()]
    numbers: list[Any] = []
    flattened(arguments, kinds, numbers)
    key = tuple(kinds)
    kernel = compiled.loaded.get(key)
    if kernel is None:
        kernel = compiled.loaded[key] = _load(compiled, *key)
    if key[0] not in _contexts.ready:
        library.Device().mem_info  # noqa: B018 (any question to the runtime does)
        _contexts.ready.add(key[0])
    kernel(blocks, threads, library.get_current_stream().ptr, numbers)


def _load(compiled: Any, device: int, *kinds: Any) -> Loaded:
    """Numba's machine code for arguments of these kinds, on this GPU by CuPy."""
    library, (types, letters) = module().cuda, signature(kinds)
    with cuda.gpus[device]:
        _check_age(cuda.get_current_device())
        overload = compiled.compile(types)
        cubin = overload._codelibrary.get_cubin()
    code = library.function.Module()
    code.load(bytes(getattr(cubin, "code", cubin)))  # an object of cuda.core's, or bytes
    return Loaded(code.get_function(overload.entry_name), letters, library.driver.launchKernel)


def synchronize() -> None:
    """Wait for the current stream."""
    module().cuda.get_current_stream().synchronize()


def blocking() -> bool:
    """Whether an error is to be raised by the call that makes it, at the price of waiting: CUDA's own variable says
    so.
    """
    return os.environ.get("CUDA_LAUNCH_BLOCKING", "0") not in ("", "0")


def mapped(size: int) -> tuple[Any, Any]:
    """int64 zeros in memory of the host that kernels write to: for the host, which reads it without asking the device,
    and for kernels. (Memory allocated by CUDA has the same address on both sides.)
    """
    library = module().cuda
    memory = library.alloc_pinned_memory(8 * size)
    host = np.frombuffer(memory, np.int64, size)
    host[:] = 0
    there = library.UnownedMemory(memory.ptr, 8 * size, memory, library.runtime.getDevice())
    return host, module().ndarray((size,), np.int64, library.MemoryPointer(there, 0))
