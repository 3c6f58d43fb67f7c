"""Order and ties, picking, padding, folding, FFT and convolution."""

from __future__ import annotations

import numpy as np

from .entry import BOTH, Table, fixed, normal, spread, ties

TABLE = Table()
function = TABLE.function

# ---- order and ties


@function(normal((2, 4)), dtypes=BOTH)
class sort:
    def forward(x):
        return np.sort(x, axis=-1)

    def backward(g, x):
        grad = np.empty_like(x)
        np.put_along_axis(grad, np.argsort(x, axis=-1), g, axis=-1)
        return grad


@function(ties(5))
class sort_with_ties:
    def forward(x):
        return np.sort(x)

    def backward(g, x):
        grad = np.empty_like(x)
        grad[np.argsort(x, kind="stable")] = g
        return grad


@function(ties(6))
class mean_of_the_three_largest:
    def forward(x):
        return np.sort(x)[-3:].mean()

    def backward(g, x):
        grad = np.zeros_like(x)
        grad[np.argsort(x, kind="stable")[-3:]] = g / 3
        return grad


@function(normal(6))
class topk_by_partition:
    def forward(x):
        return np.sort(np.partition(x, -2)[-2:])

    def backward(g, x):
        grad = np.zeros_like(x)
        grad[np.argsort(x)[-2:]] = g
        return grad


@function(ties((2, 4)), dtypes=BOTH)
class max_gives_to_the_first:
    def forward(x):
        return x.max(axis=1)

    def backward(g, x):
        return g[:, None] * (np.arange(4) == x.argmax(axis=1)[:, None])


@function(ties((2, 4)), dtypes=BOTH)
class max_shares_ties:
    def forward(x):
        return np.max(x, axis=1)

    def backward(g, x):
        at = (x == x.max(axis=1, keepdims=True)).astype(x.dtype)
        return g[:, None] * at / at.sum(axis=1, keepdims=True)


@function(ties(5))
class amin_shares_ties:
    def forward(x):
        return np.amin(x)

    def backward(g, x):
        at = x == x.min()
        return g * at / at.sum()


@function(spread(5, -100, 100))
class median_of_five:
    def forward(x):
        return np.median(x)

    def backward(g, x):
        grad = np.zeros_like(x)
        grad[np.argsort(x, kind="stable")[2]] = g
        return grad


@function(normal(6))
class median_of_six:
    def forward(x):
        return np.median(x)

    def backward(g, x):
        grad = np.zeros_like(x)
        grad[np.argsort(x)[2:4]] = g / 2
        return grad


@function(normal(5))
class percentile:
    def forward(x):
        return np.percentile(x, 40)

    def backward(g, x):
        grad = np.zeros_like(x)
        i = np.argsort(x)
        grad[i[1]], grad[i[2]] = g * 0.4, g * 0.6
        return grad


# ---- picking, padding, folding


@function(normal(4), dtypes=BOTH)
class repeated_picks:
    def forward(x):
        return x[[0, 0, 2, 3, 2]] ** 2

    def backward(g, x):
        grad = np.zeros_like(x)
        np.add.at(grad, [0, 0, 2, 3, 2], g * 2 * x[[0, 0, 2, 3, 2]])
        return grad


@function(normal(6))
class bincount:
    def forward(x):
        return np.bincount([0, 1, 1, 2, 0, 2], weights=x)

    def backward(g, x):
        return g[[0, 1, 1, 2, 0, 2]]


@function(normal((2, 3)), normal(3), dtypes=BOTH)
class broadcast_product:
    def forward(x, b):
        return x * b + b

    def backward(g, x, b):
        return g * b, (g * (x + 1)).sum(axis=0)


@function(normal(4))
class pad_and_roll:
    def forward(x):
        return np.roll(np.pad(x, 1, mode="edge"), 1) ** 2

    def backward(g, x):
        padded = np.pad(x, 1, mode="edge")
        d = 2 * padded * np.roll(g, -1)
        grad = d[1:-1].copy()
        grad[0] += d[0]
        grad[-1] += d[-1]
        return grad


@function(normal((2, 2)), normal((2, 3)))
class concatenated_and_transposed:
    def forward(a, b):
        return np.hstack([a, np.tanh(b)]).T

    def backward(g, a, b):
        return g.T[:, :2].copy(), g.T[:, 2:] * (1 - np.tanh(b) ** 2)


# ---- FFT and convolution


@function(normal(6))
class power_spectrum:
    def forward(x):
        return np.abs(np.fft.fft(x)) ** 2

    def backward(g, x):
        return 2 * np.real(np.fft.fft(g * np.conj(np.fft.fft(x))))


@function(normal(8))
class rfft_real_part:
    def forward(x):
        return np.fft.rfft(x).real

    def backward(g, x):
        k, t = np.arange(5)[:, None], np.arange(8)
        return g @ np.cos(2 * np.pi * k * t / 8)


@function(normal(5), normal(3), dtypes=BOTH)
class convolve_full:
    def forward(x, w):
        return np.convolve(x, w)

    def backward(g, x, w):
        return np.correlate(g, w, "valid"), np.correlate(g, x, "valid")


@function(normal((4, 4)), normal((2, 2)))
class convolution_in_loops:
    def forward(x, w):
        y = np.zeros((3, 3))
        for i in range(3):
            for j in range(3):
                y[i, j] = np.sum(x[i : i + 2, j : j + 2] * w)
        return y

    def backward(g, x, w):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for i in range(3):
            for j in range(3):
                dx[i : i + 2, j : j + 2] += g[i, j] * w
                dw += g[i, j] * x[i : i + 2, j : j + 2]
        return dx, dw


@function(normal((4, 4)), dtypes=BOTH)
class max_pooling:
    def forward(x):
        return x.reshape(2, 2, 2, 2).max(axis=(1, 3))

    def backward(g, x):
        blocks = x.reshape(2, 2, 2, 2)
        at = blocks == blocks.max(axis=(1, 3), keepdims=True)
        return (at * g[:, None, :, None]).reshape(4, 4)


@function(normal(6), fixed([0.25, 0.5, 0.25]), wrt=0)
class smoothing_by_convolve_same:
    def forward(x, kernel):
        return np.convolve(x, kernel, mode="same")

    def backward(g, x, kernel):
        return np.convolve(g, kernel[::-1], mode="same"), None
