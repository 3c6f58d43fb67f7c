"""What runs the kernels: a GPU, or Numba's simulator where ``NUMBA_ENABLE_CUDASIM=1`` asks for it. Here alone that is
asked; everything else of `nbgrad.cuda` is written for a GPU.
"""

# ruff: noqa: F403, F405
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numba import config

from nbgrad.cuda.device.target import cuda

if TYPE_CHECKING or not config.ENABLE_CUDASIM:
    from nbgrad.cuda.device.blas import matmul
    from nbgrad.cuda.device.driver import *
else:
    from nbgrad.cuda.device.simulator import *
    from nbgrad.cuda.device.simulator import free_of_races, matmul

    free_of_races()

__all__ = [
    "BLOCK", "FEW", "PER_LANE", "WARP", "address", "adopt", "blocking", "cuda", "device_of", "empty", "get", "guard",
    "kernel", "launch", "launch_each", "mapped", "matmul", "module", "own_type", "processors", "put", "restore",
    "synchronize", "to_host", "unwrap", "use",
]  # fmt: skip


def launch_each(compiled: Any, count: int, *arguments: Any, per_processor: int = 8) -> None:
    """Run a kernel with a thread for each of ``count``, in at most so many blocks for each multiprocessor."""
    launch(compiled, min(-(-count // BLOCK), per_processor * processors()), BLOCK, *arguments)
