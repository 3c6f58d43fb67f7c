"""What runs the kernels: a GPU, or Numba's simulator where ``NUMBA_ENABLE_CUDASIM=1`` asks for it. Here alone that is
asked; everything else of `nbgrad.cuda` is written for a GPU.
"""

# ruff: noqa: F403, F405
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numba import config

from nbgrad.cuda.device.noting import here
from nbgrad.cuda.device.target import cuda

if TYPE_CHECKING or not config.ENABLE_CUDASIM:
    from nbgrad.cuda.device.blas import matmul
    from nbgrad.cuda.device.driver import *
    from nbgrad.cuda.device.graphs import *
else:
    from nbgrad.cuda.device.simulated_graphs import Memory, Room, current, room
    from nbgrad.cuda.device.simulator import *
    from nbgrad.cuda.device.simulator import free_of_races, matmul

    free_of_races()

__all__ = [
    "AHEAD", "BLOCK", "FEW", "WARP", "Memory", "Room", "address", "adopt", "blocking", "cuda", "current",
    "device_of", "empty", "get", "guard", "here", "kernel", "launch", "launch_each", "mapped", "matmul", "module",
    "own_type", "processors", "put", "restore", "room", "synchronize", "to_host", "unwrap", "use",
]  # fmt: skip


def launch_each(compiled: Any, count: int, *arguments: Any, per_processor: int = 8) -> None:
    """Run a kernel with a thread for each of ``count``, in at most so many blocks for each multiprocessor."""
    launch(compiled, min(-(-count // BLOCK), per_processor * processors()), BLOCK, *arguments)
