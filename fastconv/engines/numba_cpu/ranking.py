"""Row operations of rank filters: keys of elements, minima and maxima of rows, bits of sets.

A key is a signed integer of the element's size that stands in the elements' order; NaN is above
all numbers.  Each intrinsic emits its loop over vectors with llvmlite.  The loops over tiles, rows
and columns are in `rank`.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastconv.engines.contract import DTYPE_CODES
from fastconv.engines.numba_cpu.simd import element, lanes, load, loop, store

__all__ = ["bit_count", "load_keys", "lowest_bit", "order_rows", "store_keys"]

_int64 = ir.IntType(64)
INFINITY = {32: 0x7F800000, 64: 0x7FF0000000000000}
NAN = {32: 0x7FC00000, 64: 0x7FF8000000000000}

_UNSIGNED = [code for name, code in DTYPE_CODES.items() if name == "bool" or name[0] == "u"]
_FLOATS = [DTYPE_CODES["float32"], DTYPE_CODES["float64"]]

# Emits the code for one run of `width` elements, a vector or (1) a single one, at an index.
Body = Callable[[ir.Value, int], None]


def _sweep(builder: ir.IRBuilder, n: ir.Value, key: types.Integer, dense: ir.Value | None, body: Body) -> None:
    """Emit `body` over n elements: whole vectors if `dense` (None: yes, n rounded up), then single elements."""
    count = _int64(lanes(key))
    vectors = builder.udiv(n if dense is not None else builder.add(n, builder.sub(count, _int64(1))), count)
    if dense is not None:
        vectors = builder.select(dense, vectors, _int64(0))
    with loop(builder, vectors) as i:
        body(builder.mul(i, count), lanes(key))
    if dense is not None:
        done = builder.mul(vectors, count)
        with loop(builder, builder.sub(n, done)) as i:
            body(builder.add(done, i), 1)


def _type(key: types.Integer, width: int) -> ir.Type:
    return ir.VectorType(element(key), width) if width > 1 else element(key)


def _constant(kind: ir.Type, number: int) -> ir.Constant:
    return ir.Constant(kind, [number] * kind.count if isinstance(kind, ir.VectorType) else number)


def _is_one_of(builder: ir.IRBuilder, code: ir.Value, codes: list[int]) -> ir.Value:
    found = builder.icmp_unsigned("==", code, _int64(codes[0]))
    for other in codes[1:]:
        found = builder.or_(found, builder.icmp_unsigned("==", code, _int64(other)))
    return found


def _folded(builder: ir.IRBuilder, bits: ir.Value, width: int) -> ir.Value:
    """Bits of a number to a key, or back: those below the sign are inverted if it is set."""
    sign = builder.ashr(bits, _constant(bits.type, width - 1))
    return builder.xor(bits, builder.lshr(sign, _constant(bits.type, 1)))


def _without_nan_bits(builder: ir.IRBuilder, bits: ir.Value, width: int) -> ir.Value:
    """Bits of a number, those of the one positive NaN for all of them."""
    size = builder.and_(bits, _constant(bits.type, (1 << (width - 1)) - 1))
    is_nan = builder.icmp_unsigned(">", size, _constant(bits.type, INFINITY[width]))
    return builder.select(is_nan, _constant(bits.type, NAN[width]), bits)


def _convert(builder, key, n, code, source, source_step, target, target_step, to_keys):
    """Emit a run of elements of the type of `code` to keys, or back."""
    width = key.bitwidth
    size = _int64(width // 8)
    dense = builder.and_(builder.icmp_signed("==", source_step, size), builder.icmp_signed("==", target_step, size))

    def run(change: Callable[[ir.Value], ir.Value]) -> None:
        def body(i: ir.Value, count: int) -> None:
            value = load(builder, builder.add(source, builder.mul(i, source_step)), _type(key, count))
            store(builder, change(value), builder.add(target, builder.mul(i, target_step)))

        _sweep(builder, n, key, dense, body)

    def flipped(bits: ir.Value) -> ir.Value:
        return builder.xor(bits, _constant(bits.type, -(1 << (width - 1))))

    def number(bits: ir.Value) -> ir.Value:
        return _folded(builder, _without_nan_bits(builder, bits, width) if to_keys else bits, width)

    with builder.if_else(_is_one_of(builder, code, _UNSIGNED)) as (unsigned, other):
        with unsigned:
            run(flipped)
        with other:
            if width not in NAN:
                run(lambda bits: bits)
            else:
                with builder.if_else(_is_one_of(builder, code, _FLOATS)) as (floating, signed):
                    with floating:
                        run(number)
                    with signed:
                        run(lambda bits: bits)


@intrinsic
def load_keys(typingctx, dst, memory, step, n, code, key):
    """``dst[i]`` = the key of the element at ``memory + i * step`` bytes."""
    kind = key.instance_type

    def emit(context, builder, signature, args):
        dst, memory, step, n, code, _ = args
        _convert(builder, kind, n, code, memory, step, dst, _int64(kind.bitwidth // 8), True)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, key), emit


@intrinsic
def store_keys(typingctx, src, memory, step, n, code, key):
    """The element at ``memory + i * step`` bytes = that of the key ``src[i]``."""
    kind = key.instance_type

    def emit(context, builder, signature, args):
        src, memory, step, n, code, _ = args
        _convert(builder, kind, n, code, src, _int64(kind.bitwidth // 8), memory, step, False)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, key), emit


@intrinsic(prefer_literal=True)
def order_rows(typingctx, a, b, low, high, n, key, want_low, want_high):
    """``low[i], high[i] = sorted((a[i], b[i]))``, or one of them; n is rounded up to whole vectors."""
    kind = key.instance_type
    wanted = want_low.literal_value, want_high.literal_value

    def emit(context, builder, signature, args):
        a, b, low, high, n = args[:5]

        def body(i: ir.Value, count: int) -> None:
            at = builder.mul(i, _int64(kind.bitwidth // 8))
            x, y = (load(builder, builder.add(base, at), _type(kind, count)) for base in (a, b))
            less = builder.icmp_signed("<", x, y)
            for want, base, first, second in ((wanted[0], low, x, y), (wanted[1], high, y, x)):
                if want:
                    store(builder, builder.select(less, first, second), builder.add(base, at))

        _sweep(builder, n, kind, None, body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, key, want_low, want_high), emit


@intrinsic
def bit_count(typingctx, word):
    """Number of bits that are set."""

    def emit(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.int64(types.int64), emit


@intrinsic
def lowest_bit(typingctx, word):
    """Place of the lowest bit that is set; there must be one."""

    def emit(context, builder, signature, args):
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.int64), emit
