"""Each kernel whose threads exchange numbers, once or twice at a small size: for CUDA's own search for races and for
memory that is nobody's.

    compute-sanitizer --tool racecheck python bench/gpu/races.py
    compute-sanitizer --tool memcheck python bench/gpu/races.py
"""

from __future__ import annotations

import cupy
import numpy as np

from nbgrad import kernels
from nbgrad.regression import objectives

rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    # a part of a warp, a whole one, a block of 256 and of 512 threads; a length that is no multiple of 16 bytes
    for n, length in ((40, 7), (9, 128), (5, 1025), (3, 2048), (2, 9001)):
        x = cupy.asarray(rng.standard_normal((n, length)).astype(dtype))
        labels = cupy.asarray(rng.integers(0, length, n))
        for f, df in (
            (kernels.softmax, kernels.softmax_backward),
            (kernels.log_softmax, kernels.log_softmax_backward),
        ):
            df(x, f(x))
        kernels.logsumexp_backward(kernels.logsumexp(x), x)
        for reduction in ("mean", "none"):
            kernels.cross_entropy(x, labels, reduction=reduction)
            kernels.cross_entropy_value_and_grad(x, labels)
    x, target = (cupy.asarray(rng.random(size, dtype)) for size in (70_001, 70_001))
    kernels.mse_loss(x, target)
    kernels.binary_cross_entropy_with_logits_value_and_grad(x, target)
    for n, features, classes in ((300, 5, 3), (2000, 100, 1), (700, 100, 10), (600, 784, 10)):
        X, y = cupy.asarray(rng.standard_normal((n, features)).astype(dtype)), rng.integers(0, max(classes, 2), n)
        if classes == 1:
            params, y = cupy.zeros(features + 1, dtype), cupy.asarray(y.astype(dtype))
            objectives.logistic_value_and_grad(params, X, y)
        else:
            objectives.softmax_value_and_grad(cupy.zeros((classes, features + 1), dtype), X, cupy.asarray(y))
cupy.cuda.Device().synchronize()
print("all ran")
