"""The words in which CUDA kernels are written: who am I, exchange a number with another thread, load 16 bytes.

Each is a plain function, which the simulator runs, and has a compiled side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nbgrad.cuda.device import WARP, cuda
from nbgrad.cuda.device.simulator import context
from nbgrad.jit import overload_scalar

__all__ = [
    "LINE", "barrier", "block", "block_size", "blocks", "exchange", "load", "of_lane", "of_warps", "store", "thread",
]  # fmt: skip

#: Bytes that a thread loads or stores at a time.
LINE = 16


def thread() -> Any:
    """The thread's number in its block."""
    return np.int64(context().threadIdx.x)


def block() -> Any:
    """The block's number."""
    return np.int64(context().blockIdx.x)


def block_size() -> Any:
    """Threads of a block."""
    return np.int64(context().blockDim.x)


def blocks() -> Any:
    """Blocks of the launch."""
    return np.int64(context().gridDim.x)


def barrier() -> None:
    """Wait for all threads of the block."""
    context().syncthreads()


def exchange(value: Any, distance: Any) -> Any:
    """The value of the thread whose number in the warp differs in the bit ``distance`` (all threads must call it)."""
    words = context()
    room, own = vars(words).setdefault("exchanged", np.empty(1024)), words.threadIdx.x
    words.syncthreads()
    room[own] = value
    words.syncthreads()
    return type(value)(room[own ^ int(distance)])


def of_lane(value: Any, lane: Any) -> Any:
    """The value of the warp's thread ``lane`` (all threads must call it)."""
    words = context()
    room, own = vars(words).setdefault("exchanged", np.empty(1024)), words.threadIdx.x
    words.syncthreads()
    room[own] = value
    words.syncthreads()
    return type(value)(room[own // WARP * WARP + int(lane)])


def of_warps(value: Any, room: Any) -> Any:
    """For thread t the value of warp t mod the number of warps, each of whose threads hands in the same.

    ``room``: ``cuda.shared.array(WARP, ...)`` of the kernel's own. (Made here and inlined twice, it would be two pieces
    of memory of one name.)
    """
    words = context()
    own = words.threadIdx.x
    words.syncthreads()
    room[own // WARP] = value
    words.syncthreads()
    return room[own % (words.blockDim.x // WARP)]


@overload_scalar(thread)
def _thread():
    return lambda: np.int64(cuda.threadIdx.x)


@overload_scalar(block)
def _block():
    return lambda: np.int64(cuda.blockIdx.x)


@overload_scalar(block_size)
def _block_size():
    return lambda: np.int64(cuda.blockDim.x)


@overload_scalar(blocks)
def _blocks():
    return lambda: np.int64(cuda.gridDim.x)


@overload_scalar(barrier)
def _barrier():
    return lambda: cuda.syncthreads()


@overload_scalar(exchange)
def _exchange(value, distance):
    return lambda value, distance: cuda.shfl_xor_sync(0xFFFFFFFF, value, distance)


@overload_scalar(of_lane)
def _of_lane(value, lane):
    return lambda value, lane: cuda.shfl_sync(0xFFFFFFFF, value, lane)


@overload_scalar(of_warps)
def _of_warps(value, room):
    def of_warps(value, room):
        own = cuda.threadIdx.x
        cuda.syncthreads()
        if own % WARP == 0:
            room[own // WARP] = value
        cuda.syncthreads()
        return room[own % (cuda.blockDim.x // WARP)]

    return of_warps


# 16 bytes at a time. NVVM does not put four loads of a loop together.


def load(array: Any, start: Any) -> tuple[Any, ...]:
    """The 16 bytes from ``start`` on, which must be a multiple of 16 bytes: a tuple of 4 float32, 2 float64 numbers."""
    return tuple(array[start + k] for k in range(LINE // array.dtype.itemsize))


def store(array: Any, start: Any, values: tuple[Any, ...]) -> None:
    """Write what `load` reads."""
    for k, value in enumerate(values):
        array[start + k] = value


def _pointer(context: Any, builder: Any, kind: Any, width: int, array: Any, start: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [start]), ir.VectorType(data.type.pointee, width).as_pointer())


@intrinsic
def _load(typingctx: Any, array: Any, start: Any) -> Any:
    width = LINE * 8 // array.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = builder.load(_pointer(context, builder, array, width, args[0], args[1]), align=LINE)
        place = ir.IntType(32)
        numbers = [builder.extract_element(vector, place(k)) for k in range(width)]
        return context.make_tuple(builder, signature.return_type, numbers)

    return types.UniTuple(array.dtype, width)(array, types.int64), generate


@intrinsic
def _store(typingctx: Any, array: Any, start: Any, values: Any) -> Any:
    width = LINE * 8 // array.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, array, width, args[0], args[1])
        vector = ir.Constant(pointer.type.pointee, ir.Undefined)
        for k in range(width):
            vector = builder.insert_element(vector, builder.extract_value(args[2], k), ir.IntType(32)(k))
        builder.store(vector, pointer, align=LINE)
        return context.get_dummy_value()

    return types.none(array, types.int64, values), generate


@overload_scalar(load)
def _load_of(array, start):
    return lambda array, start: _load(array, start)


@overload_scalar(store)
def _store_of(array, start, values):
    return lambda array, start, values: _store(array, start, values)
