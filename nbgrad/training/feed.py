"""The batches of an epoch: pixels, gathered in the order of the epoch and scaled, on the CPU or a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbgrad.autograd.devices import move

__all__ = ["Feed"]


class Feed:
    """Called with the number of a batch: (pixels as float32 from 0 to 1, labels), on the device."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, size: int, white: int, device: str) -> None:
        self.size, self.scale, self.device, self.on_cpu = size, np.float32(1 / white), device, device == "cpu"
        self.pixels, self.labels = move(pixels, device), move(labels, device)
        self.order: Any = None
        # The images stay bytes, and each batch is gathered and scaled into the same two buffers: 26 µs for
        # 100 MNIST images, where gathering rows from a float32 copy takes 38 µs and four times the memory.
        if self.on_cpu:
            self.raw = np.empty((size, pixels.shape[1]), pixels.dtype)
            self.scaled = np.empty(self.raw.shape, np.float32)

    def shuffle(self, order: np.ndarray) -> None:
        """What follows is an epoch in this order."""
        self.order = move(order, self.device)

    def __call__(self, batch: int) -> tuple[Any, Any]:
        at = self.order[batch * self.size : (batch + 1) * self.size]
        if not self.on_cpu:
            return self.pixels[at] * self.scale, self.labels[at]
        # mode="clip" lets take write straight into `out`; the indices are right in any case
        bytes_ = self.pixels.take(at, axis=0, out=self.raw[: len(at)], mode="clip")
        return np.multiply(bytes_, self.scale, out=self.scaled[: len(at)]), self.labels[at]
