"""Vectors of one precision, as LLVM instructions: what an intrinsic is written with that keeps a tile of a matrix in
registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import config, types

from nbgrad.jit.intrinsics import declared

try:
    from llvmlite.binding import get_host_cpu_features
except ImportError:  # a version of llvmlite without it: what every processor of today has
    get_host_cpu_features = None

__all__ = ["REGISTERS", "VECTOR_BYTES", "Vectors"]

#: The bytes of a vector and how many vectors there are, by a feature of the processor; the first that it has counts.
#: (AVX-512 with AVX2's 32 bytes and 16 registers: softmax regression of 100 classes takes 1.9 times as long.)
_WIDTHS = [("avx512f", 64, 32), ("avx", 32, 16), ("neon", 16, 32), ("", 16, 16)]


def _features() -> set[str]:
    """Those of the processor that Numba compiles for, which its cache has in its keys."""
    if config.CPU_FEATURES is not None:  # NUMBA_CPU_FEATURES, or none where NUMBA_CPU_NAME is generic
        said = config.CPU_FEATURES
    else:
        said = get_host_cpu_features().flatten() if get_host_cpu_features else "+avx"
    return {feature[1:] for feature in said.split(",") if feature.startswith("+")} | {""}


VECTOR_BYTES, REGISTERS = next(sizes for feature, *sizes in _WIDTHS if feature in _features())


class Vectors:
    """Those of one precision, in one function."""

    def __init__(self, context: Any, builder: Any, kind: Any) -> None:
        self.context, self.builder = context, builder
        self.real = context.get_value_type(kind)
        self.lanes = VECTOR_BYTES * 8 // kind.bitwidth
        self.group = 16 * 8 // kind.bitwidth  # lanes that a shuffle reaches
        self.vector = ir.VectorType(self.real, self.lanes)
        self.index = context.get_value_type(types.intp)
        self.align = kind.bitwidth // 8
        self.name = f"v{self.lanes}f{kind.bitwidth}"
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def call(self, name: str, kind: Any, arguments: list[Any]) -> Any:
        return self.builder.call(declared(self.builder.module, kind, name), arguments)

    def data(self, kind: Any, value: Any, at: Any) -> Any:
        array = self.context.make_array(kind)(self.context, self.builder, value)
        return self.builder.gep(array.data, [at])

    def constant(self, number: int) -> Any:
        return ir.Constant(self.index, number)

    def pointer(self, place: Any, at: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(place, [at]), self.vector.as_pointer())

    def load(self, place: Any, at: Any, mask: Any = None) -> Any:
        pointer = self.pointer(place, at)
        if mask is None:
            return self.builder.load(pointer, align=self.align)
        i32 = ir.IntType(32)
        kind = ir.FunctionType(self.vector, [pointer.type, i32, mask.type, self.vector])
        return self.call(f"llvm.masked.load.{self.name}.p0", kind, [pointer, i32(self.align), mask, self.zero])

    def mask(self, count: Any) -> Any:
        """The first ``count`` lanes."""
        lanes = ir.Constant(ir.VectorType(self.index, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", lanes, self.spread(count))

    def rows(self, kind: Any, value: Any, at: Any, step: Any, last: Any, count: int) -> list[Any]:
        """Pointers to rows, those behind the last to the last."""
        builder, places = self.builder, []
        for r in range(count):
            place = builder.add(at, builder.mul(step, self.constant(r)))
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
            places.append(self.data(kind, value, place))
        return places

    def divide(self, features: Any) -> tuple[Any, Any]:
        """(whole vectors, numbers that are left)"""
        lanes = self.constant(self.lanes)
        return self.builder.sdiv(features, lanes), self.builder.srem(features, lanes)

    def prefetch(self, place: Any) -> None:
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
        function = self.builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        self.builder.call(function, [place, flag(0), flag(2), flag(1)])  # to read; the second-level cache; data

    def spread(self, number: Any) -> Any:
        """``number`` in every lane."""
        vector, i32 = ir.VectorType(number.type, self.lanes), ir.IntType(32)
        one = self.builder.insert_element(ir.Constant(vector, ir.Undefined), number, i32(0))
        same = ir.Constant(ir.VectorType(i32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), same)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return self.call(f"llvm.fma.{self.name}", kind, [a, b, c])

    def shuffle(self, a: Any, b: Any, places: list[int]) -> Any:
        i32 = ir.IntType(32)
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(i32, len(places)), places))

    def loop(self, count: Any, start: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """``values = start; for i in range(count): values = body(i, values)``"""
        builder, before = self.builder, self.builder.block
        head, inside, end = (builder.append_basic_block(name) for name in ("tile", "tile.body", "tile.end"))
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(self.index)
        values = [builder.phi(v.type) for v in start]
        builder.cbranch(builder.icmp_signed("<", i, count), inside, end)
        builder.position_at_end(inside)
        after = body(i, values)
        following = builder.add(i, self.constant(1), flags=["nuw", "nsw"])
        for phi, first, then in zip([i, *values], [self.constant(0), *start], [following, *after], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(then, builder.block)
        builder.branch(head)
        builder.position_at_end(end)
        return values

    def row_sums(self, vectors: list[Any]) -> list[Any]:
        """The sum of each vector, ``group`` of them side by side in a vector: neighbours first, within a shuffle's
        reach, then the groups.
        """
        width = 1
        while width < self.group:
            low: list[int] = []
            high: list[int] = []
            for base in range(0, self.lanes, self.group):
                for side in (0, self.lanes):
                    low += range(side + base, side + base + self.group, 2)
                    high += range(side + base + 1, side + base + self.group, 2)
            vectors = [
                self.builder.fadd(self.shuffle(a, b, low), self.shuffle(a, b, high))
                for a, b in zip(vectors[::2], vectors[1::2], strict=True)
            ]
            width *= 2
        half = self.lanes // 2
        while half >= self.group:
            vectors = [
                self.builder.fadd(
                    self.shuffle(v, v, list(range(half))), self.shuffle(v, v, list(range(half, 2 * half)))
                )
                for v in vectors
            ]
            half //= 2
        return vectors
