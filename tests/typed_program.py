"""A user's program, for the type checker alone (mypy of pyproject.toml reads it; an ignore that is not needed is an error):
precisions are inferred, and what no kernel takes is refused before anything runs.
"""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import nbgrad
from nbgrad import functional, kernels

x = np.linspace(-1, 1, 5, dtype=np.float32)
wide = np.linspace(-1, 1, 5)
labels = np.array([0, 1])

assert_type(kernels.sigmoid(x), NDArray[np.float32])
assert_type(kernels.sigmoid(wide), NDArray[np.float64])
assert_type(kernels.sigmoid([0.5, 2.0]), NDArray[np.float64])
assert_type(kernels.gelu(labels), NDArray[np.float64])
assert_type(kernels.elu_backward(1.0, x, alpha=0.5, out=x), NDArray[np.float32])
assert_type(kernels.softmax(x, axis=0), NDArray[np.float32])
assert_type(kernels.maxout(x, 5), tuple[NDArray[np.float32], NDArray[np.intp]])
loss, gradient = kernels.cross_entropy_value_and_grad(x.reshape(1, 5), labels[:1])
assert_type(gradient, NDArray[np.float32])
assert_type(functional.sigmoid(nbgrad.tensor(x)), nbgrad.Tensor)

kernels.sigmoid("x")  # type: ignore[arg-type]
kernels.sigmoid(None)  # type: ignore[arg-type]
kernels.leaky_relu(x, negative_slope="steep")  # type: ignore[arg-type]
kernels.mse_loss(x, "target")  # type: ignore[arg-type]
kernels.cross_entropy(x, {0: 1})  # type: ignore[arg-type]
kernels.softmax(x, axis=0.5)  # type: ignore[arg-type]
kernels.sigmoid(x, slope=2.0)  # type: ignore[call-arg]
