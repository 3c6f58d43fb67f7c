"""A GPU that is none: CuPy's names on NumPy's arrays, and launches that are noted instead of run. So what a call hands to the driver can
be looked at in every process; results are what memory held before.
"""

import ctypes
import sys
from contextlib import contextmanager, nullcontext
from itertools import count
from types import ModuleType, SimpleNamespace

import numpy as np

from nbgrad.arrays import ON_DEVICE
from nbgrad.cuda.device import blas, driver
from nbgrad.cuda.device.launches import Loaded, signature

#: Numbers of GPUs: another one each time, so that what is kept by it is met neither again nor on a real one.
NUMBERS = count(99)


class Array(np.ndarray):
    """Stands for CuPy's."""

    __cuda_ndarray__, number = True, 0

    def __new__(cls, shape, dtype=float, memory=None):
        if memory is not None:
            return np.frombuffer(memory, dtype).reshape(shape).view(cls)
        made = super().__new__(cls, shape, dtype)
        made.view(np.ndarray)[...] = 1
        return made

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data, device_id=Array.number)

    device = property(lambda self: Device())


def there(result):
    if isinstance(result, (list, tuple)):
        return type(result)(map(there, result))
    return np.asarray(result).view(Array) if isinstance(result, (np.ndarray, np.generic)) else result


class Pinned(bytearray):
    """Memory of the host that has an address."""

    ptr = 0


class Device(nullcontext):
    def __init__(self, number=None):
        super().__init__()
        self.id, self.attributes, self.mem_info = Array.number, {"MultiProcessorCount": 132}, (0, 0)


def _cupy(launch):
    library = ModuleType("cupy")
    for name, value in vars(np).items():
        if callable(value) and not isinstance(value, type):
            setattr(library, name, lambda *args, function=value, **keywords: there(function(*args, **keywords)))
        elif not name.startswith("__"):
            setattr(library, name, value)
    library.ndarray = library.empty = Array
    library.asnumpy = np.array
    library.cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDevice=lambda: Array.number, getDeviceCount=lambda: Array.number + 1),
        driver=SimpleNamespace(launchKernel=launch),
        get_current_stream=lambda: SimpleNamespace(ptr=7, synchronize=lambda: None),
        Device=Device,
        alloc_pinned_memory=Pinned,
        UnownedMemory=lambda pointer, size, owner, device: owner,
        MemoryPointer=lambda memory, offset: memory,
    )
    return library


class Launches(list):
    """Of each launch: the kernel, Numba's types of its arguments, these, grid, block, stream, and the eight bytes from each parameter on."""

    def __init__(self):
        super().__init__()
        self.kernels, self.arguments = [], ()

    def load(self, compiled, device, *kinds):
        types, letters = signature(kinds)
        return Loaded(SimpleNamespace(ptr=self.new(compiled, types, letters)), letters, self.note)

    def new(self, *kernel):
        """Its number."""
        self.kernels.append(kernel)
        return len(self.kernels) - 1

    def note(self, pointer, x, y, z, threads, ty, tz, shared, stream, address, extra):
        assert (y, z, ty, tz, shared, extra) == (1, 1, 1, 1, 0, 0)
        compiled, types, letters = self.kernels[pointer]
        addresses = (ctypes.c_void_p * len(letters)).from_address(address)
        parameters = [ctypes.string_at(place, 8) for place in addresses]
        self.append(SimpleNamespace(kernel=compiled, types=types, arguments=self.arguments, grid=x, block=threads, stream=stream, parameters=parameters))


@contextmanager
def recorded(monkeypatch):
    """Within it CuPy is the stand-in; what `driver.launch` does is noted in the list."""
    launches, flattened = Launches(), driver.flattened

    def noting(arguments, kinds, numbers):
        launches.arguments = arguments
        flattened(arguments, kinds, numbers)

    driver.module.cache_clear()
    Array.number = next(NUMBERS)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cupy", _cupy(launches.note))
        none = SimpleNamespace(is_available=lambda: True, get_current_device=lambda: None, devicearray=driver.cuda.devicearray, jit=driver.cuda.jit)
        for name, value in {"cuda": none, "_check_age": lambda device: None, "_load": launches.load, "flattened": noting}.items():
            patch.setattr(driver, name, value)
        patch.setattr(blas, "ready", lambda number: None)
        try:
            yield launches
        finally:
            ON_DEVICE.discard(Array)
            driver.module.cache_clear()
