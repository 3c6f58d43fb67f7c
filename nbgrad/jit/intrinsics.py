"""The operations that Numba has no name for, or only one that is slow to compile, as LLVM instructions
(compiled code only): on floating-point numbers, on tuples, on addresses of arrays.

Those on numbers exist so that `nbgrad.elementary` can be written as formulas that LLVM turns into vector
instructions.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = [
    "address", "clash", "declared", "fma", "horner", "overlap", "power_of_two", "product", "reciprocal", "split",
    "tuple_setitem",
]  # fmt: skip

# mantissa bits, exponent bias, bits of sqrt(1/2)
_FORMAT = {types.float32: (23, 127, 0x3F3504F3), types.float64: (52, 1023, 0x3FE6A09E667F3BCD)}


def declared(module: Any, kind: Any, name: str) -> Any:
    """The function of this name in LLVM's module, declared there once."""
    known = module.globals.get(name)
    return ir.Function(module, kind, name) if known is None else known


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    signature = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(builder.module.declare_intrinsic("llvm.fma", [a.type], signature), [a, b, c])


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c, rounded once."""
    if a not in _FORMAT or not a == b == c:
        return None
    return a(a, a, a), lambda context, builder, signature, args: _fma(builder, *args)


@intrinsic
def product(typingctx: Any, a: Any, b: Any) -> Any:
    """a·b, rounded, whatever it is added to: for a product whose rounding error is put right.

    On a CPU that is ``a * b``. The assembler for NVIDIA's GPUs fuses a product with a sum as it likes; the
    error would be corrected twice.
    """
    if a not in _FORMAT or a != b:
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if context.target_name != "cuda":
            return builder.fmul(*args)
        kind = args[0].type
        name = "llvm.nvvm.mul.rn.f" if a == types.float32 else "llvm.nvvm.mul.rn.d"
        function = declared(builder.module, ir.FunctionType(kind, [kind] * 2), name)
        return builder.call(function, args)

    return a(a, b), generate


@intrinsic
def reciprocal(typingctx: Any, x: Any) -> Any:
    """1/x, to 1 ulp, where what follows puts it right: one instruction of NVIDIA's GPUs in float32. (Rounded to the
    last digit it has a branch, around which threads wait for each other.)
    """
    if x not in _FORMAT:
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        if context.target_name != "cuda" or x != types.float32:
            return builder.fdiv(ir.Constant(kind, 1.0), args[0])
        near = ir.InlineAsm(ir.FunctionType(kind, [kind]), "rcp.approx.f32 $0, $1;", "=f,f")
        return builder.call(near, args)

    return x(x), generate


@intrinsic
def horner(typingctx: Any, x: Any, coefficients: Any) -> Any:
    """c₀ + x·(c₁ + x·(c₂ + ...)), one fma a coefficient; ``coefficients`` is a tuple of constants of x's
    type.

    An instruction of our own because a loop over a tuple, unrolled by LLVM, doubles the time to compile.
    """
    if x not in _FORMAT or not isinstance(coefficients, types.UniTuple) or coefficients.dtype != x:
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, table = args
        c = [builder.extract_value(table, i) for i in range(signature.args[1].count)]
        total = c.pop()
        while c:
            total = _fma(builder, total, value, c.pop())
        return total

    return x(x, coefficients), generate


@intrinsic
def power_of_two(typingctx: Any, shifted: Any) -> Any:
    """2ⁿ for ``shifted = 1.5·2^m + n`` (m mantissa bits): n stands in the low bits, which move into the
    exponent's place.
    """
    if shifted not in _FORMAT:
        return None
    mantissa, bias, _ = _FORMAT[shifted]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integer = ir.IntType(shifted.bitwidth)
        bits = builder.shl(builder.bitcast(args[0], integer), integer(mantissa))
        return builder.bitcast(builder.add(bits, integer(bias << mantissa)), args[0].type)

    return shifted(shifted), generate


@intrinsic
def split(typingctx: Any, x: Any) -> Any:
    """(m, k) with x = m·2ᵏ and √½ ≤ m < √2, for x positive, normal and finite; both of x's type."""
    if x not in _FORMAT:
        return None
    mantissa, _, root_half = _FORMAT[x]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integer, real = ir.IntType(x.bitwidth), args[0].type
        distance = builder.sub(builder.bitcast(args[0], integer), integer(root_half))
        # through 32 bits: converting 64-bit integers is a vector instruction in AVX-512 only
        exponent = builder.trunc(builder.ashr(distance, integer(mantissa)), ir.IntType(32))
        fraction = builder.and_(distance, integer((1 << mantissa) - 1))
        m = builder.bitcast(builder.add(fraction, integer(root_half)), real)
        return context.make_tuple(builder, signature.return_type, (m, builder.sitofp(exponent, real)))

    return types.UniTuple(x, 2)(x), generate


@intrinsic
def tuple_setitem(typingctx: Any, items: Any, at: Any, value: Any) -> Any:
    """The tuple with ``value``, converted to the items' type, in place ``at``, unchecked. (Numba's own is private.)"""
    if not (isinstance(items, types.UniTuple) and isinstance(at, types.Integer)):
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        result, at, value = args
        for k in range(items.count):
            here = builder.icmp_unsigned("==", at, at.type(k))
            item = builder.select(here, value, builder.extract_value(result, k))
            result = builder.insert_value(result, item, k)
        return result

    return items(items, at, items.dtype), generate


def _address(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    array = context.make_array(kind)(context, builder, value)
    return array, builder.ptrtoint(array.data, array.nitems.type)


@intrinsic
def address(typingctx: Any, a: Any) -> Any:
    """The address of an array's first element. (``a.ctypes.data`` takes 30 ms to compile.)"""
    if not isinstance(a, types.Array):
        return None
    return types.intp(a), lambda context, builder, signature, args: _address(context, builder, a, args[0])[1]


def _meet(context: Any, builder: Any, kinds: Any, values: Any) -> Any:
    """(whether two contiguous arrays share memory, the address of each)"""

    def span(kind: Any, value: Any) -> Any:
        array, begin = _address(context, builder, kind, value)
        return begin, builder.add(begin, builder.mul(array.nitems, array.itemsize))

    (begin, end), (other, other_end) = map(span, kinds, values)
    both = builder.icmp_unsigned("<", begin, other_end), builder.icmp_unsigned("<", other, end)
    return builder.and_(*both), begin, other


@intrinsic
def overlap(typingctx: Any, a: Any, b: Any) -> Any:
    """Whether two contiguous arrays share memory."""
    if not (isinstance(a, types.Array) and isinstance(b, types.Array)):
        return None
    return types.boolean(a, b), lambda context, builder, signature, args: _meet(context, builder, (a, b), args)[0]


@intrinsic
def clash(typingctx: Any, a: Any, out: Any) -> Any:
    """Whether ``out`` overlaps ``a`` at other places than each element's own (contiguous arrays of the same
    length).
    """
    if not (isinstance(a, types.Array) and isinstance(out, types.Array)):
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        meet, begin, other = _meet(context, builder, (a, out), args)
        return builder.and_(builder.icmp_unsigned("!=", begin, other), meet)

    return types.boolean(a, out), generate
