"""Memory as LLVM instructions, where Numba's own language is slow to compile: views and copies without checks, arrays
on the stack, prefetching.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = [
    "LINE", "elements", "move", "prefetch_to_read", "prefetch_to_write", "stack_array", "store_fence", "unchecked_view",
]  # fmt: skip

#: bytes of a cache line
LINE = 64


def _prefetch(write: bool) -> Any:
    def typed(typingctx: Any, array: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(array)(context, builder, args[0]).data
            place, flag = builder.gep(data, [args[1]]), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
            function = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
            builder.call(function, [place, flag(int(write)), flag(3), flag(1)])  # 3: to the first-level cache, 1: data
            return context.get_dummy_value()

        return types.none(array, types.intp), generate

    return typed


#: ``prefetch_to_read(array, i)``: ask for the cache line of array[i], which may lie beyond the array's end. The
#: processor asks by itself, but within a page of memory (4096 bytes) only: each row of 1000 numbers is a new one.
prefetch_to_read = intrinsic(_prefetch(False))
#: the same for memory that will be written: an ordinary store to a line that is not in the cache waits for it.
prefetch_to_write = intrinsic(_prefetch(True))


@intrinsic
def store_fence(typingctx: Any) -> Any:
    """Wait until what was streamed is where other threads see it: streamed stores are not ordered by themselves."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def unchecked_view(typingctx: Any, a: Any, start: Any, count: Any) -> Any:
    """a[start:start + count] of a contiguous 1-D array that outlives it, unchecked: a slice takes 60 ms to compile."""
    if not isinstance(a, types.Array):
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = context.make_array(a)(context, builder, args[0])
        return _borrowed(context, builder, signature.return_type, builder.gep(source.data, [args[1]]), args[2])

    return types.Array(a.dtype, 1, "C")(a, types.intp, types.intp), generate


def _borrowed(context: Any, builder: Any, array_type: Any, data: Any, count: Any) -> Any:
    """A 1-D array over memory that is somebody else's."""
    return _line(context, builder, array_type, data, count, None)


def _line(context: Any, builder: Any, array_type: Any, data: Any, count: Any, meminfo: Any) -> Any:
    """A contiguous 1-D array of ``count`` elements at ``data``; ``meminfo``: who keeps that memory (None: nobody)."""
    array = context.make_array(array_type)(context, builder)
    itemsize = count.type(context.get_abi_sizeof(context.get_data_type(array_type.dtype)))

    def one(number: Any) -> Any:
        return builder.insert_value(ir.Constant(ir.ArrayType(number.type, 1), ir.Undefined), number, 0)

    array.data, array.nitems, array.itemsize = data, count, itemsize
    array.shape, array.strides = one(count), one(itemsize)
    array.parent = ir.Constant(array.parent.type, None)
    array.meminfo = ir.Constant(array.meminfo.type, None) if meminfo is None else meminfo
    return array._getvalue()


@intrinsic
def elements(typingctx: Any, a: Any) -> Any:
    """The elements of an array in C order as 1-D, the same memory: a.reshape(-1) in a tenth of the instructions."""
    if not isinstance(a, types.Array) or a.layout != "C":
        return None
    line = types.Array(a.dtype, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = context.make_array(a)(context, builder, args[0])
        array = _line(context, builder, line, source.data, source.nitems, source.meminfo)
        if context.enable_nrt:  # what an intrinsic returns is counted as a reference
            context.nrt.incref(builder, line, array)
        return array

    return line(a), generate


@intrinsic(prefer_literal=True)
def stack_array(typingctx: Any, dtype: Any, room: Any) -> Any:
    """A 1-D array of ``room`` (a constant) elements on the stack: np.empty takes 150 ms to compile."""
    if not isinstance(room, types.IntegerLiteral):
        return None
    array_type = types.Array(getattr(dtype, "instance_type", None) or dtype.dtype, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        element, intp = context.get_data_type(array_type.dtype), context.get_value_type(types.intp)
        with builder.goto_entry_block():
            data = builder.alloca(ir.ArrayType(element, room.literal_value))
            data.align = LINE
        data = builder.bitcast(data, element.as_pointer())
        return _borrowed(context, builder, array_type, data, intp(room.literal_value))

    return array_type(dtype, room), generate


@intrinsic
def move(typingctx: Any, source: Any, at: Any, target: Any, to: Any, count: Any) -> Any:
    """target[to:to + count] = source[at:at + count], unchecked. (Slices take 100 ms to compile.)"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = (context.make_array(t)(context, builder, v) for t, v in ((source, args[0]), (target, args[2])))
        places = builder.gep(b.data, [args[3]]), builder.gep(a.data, [args[1]])
        pointer = ir.IntType(8).as_pointer()
        memmove = builder.module.declare_intrinsic("llvm.memmove", [pointer, pointer, args[4].type])
        to_and_from = [builder.bitcast(place, pointer) for place in places]
        builder.call(memmove, [*to_and_from, builder.mul(args[4], a.itemsize), ir.IntType(1)(0)])
        return context.get_dummy_value()

    index = types.intp
    return types.none(source, index, target, index, index), generate
