"""One kernel on the GPU: whether it runs and is right, what a call costs, and how fast the device copies."""

import time

import cupy
import numpy as np

from nbgrad import kernels


def per_call(call, count=1000):
    """Microseconds of the host for a call."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) * 1e6 / count


x = np.linspace(-3, 3, 1000, dtype=np.float32)
there = cupy.asarray(x)
start = time.perf_counter()
y = kernels.sigmoid(there)
cupy.cuda.Device().synchronize()
print(f"first call {time.perf_counter() - start:.2f} s, largest error {abs(y.get() - kernels.sigmoid(x)).max():.2g}")
print(f"a call: kernels.sigmoid {per_call(lambda: kernels.sigmoid(there)):.1f} µs")
print(f"        cupy.exp        {per_call(lambda: cupy.exp(there)):.1f} µs")
large = cupy.zeros(1 << 28, np.float32)
copy = cupy.empty_like(large)
begin, end = cupy.cuda.Event(), cupy.cuda.Event()
cupy.copyto(copy, large)
begin.record()
for _ in range(10):
    cupy.copyto(copy, large)
end.record()
end.synchronize()
seconds = cupy.cuda.get_elapsed_time(begin, end) * 1e-3 / 10
print(f"copy {2 * large.nbytes / seconds * 1e-9:.0f} GB/s")
