"""Row operations of moving windows: folds and divisions of whole tiles, as runs of n elements.

Runs are rounded up to 64 bytes: all is scratch memory.  The loops over tiles are in `sliding` and `taps`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastconv.engines.numba_cpu.convert import converted
from fastconv.engines.numba_cpu.simd import element, load, loop, splat, store

__all__ = ["divide_run", "folder"]

_int64 = ir.IntType(64)
BLOCK = 64  # bytes handled at once
SOURCES = 4  # most sources of a fold

Combine = Callable[[ir.IRBuilder, types.Number, ir.Value, ir.Value], ir.Value]


def _sum(builder: ir.IRBuilder, dtype: types.Number, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.fadd(a, b) if isinstance(dtype, types.Float) else builder.add(a, b)


def _extreme(sign: str) -> Combine:
    def combine(builder: ir.IRBuilder, dtype: types.Number, a: ir.Value, b: ir.Value) -> ir.Value:
        """NaN is the extreme of every window that it is in."""
        if isinstance(dtype, types.Float):
            best = builder.select(builder.fcmp_ordered(sign, a, b), a, b)  # b if either is NaN
            return builder.select(builder.fcmp_unordered("uno", a, a), a, best)
        compare = builder.icmp_signed if dtype.signed else builder.icmp_unsigned
        return builder.select(compare(sign, a, b), a, b)

    return combine


COMBINE: dict[str, Combine] = {"max": _extreme(">"), "min": _extreme("<"), "mean": _sum}


def _blocks(builder: ir.IRBuilder, n: ir.Value, dtype: types.Number, body: Callable[[ir.Value, ir.Type], None]) -> None:
    """Emit `body` for the offset in bytes of each block of n elements."""
    size = dtype.bitwidth // 8
    count = builder.udiv(builder.add(builder.mul(n, _int64(size)), _int64(BLOCK - 1)), _int64(BLOCK))
    with loop(builder, count) as i:
        body(builder.mul(i, _int64(BLOCK)), ir.VectorType(element(dtype), BLOCK // size))


@cache
def folder(kind: str, raised: bool = False) -> Callable:
    """The fold of a kind: ``dst[i] = a[i] OP b[i] ...``, over the first 1 to 4 sources; dst may be the first.

    With `raised`, the doubles at `numbers` are added to the sources before.
    """
    combine = COMBINE[kind]

    @intrinsic
    def fold_tile(typingctx, dst, a, b, c, d, numbers, taps, n, dtype):
        """``dst[i] = a[i] OP b[i] ...``."""
        of = dtype.instance_type

        def emit(context, builder, signature, args):
            dst, sources, numbers, taps, n = args[0], args[1 : 1 + SOURCES], args[5], args[6], args[7]
            places = [builder.add(numbers, _int64(8 * i)) for i in range(SOURCES)]
            added = [load(builder, place, element(of)) for place in places] if raised else []
            done = builder.append_basic_block()
            switch = builder.switch(builder.trunc(taps, ir.IntType(32)), done)
            for count in range(1, SOURCES + 1):
                switch.add_case(ir.IntType(32)(count), block := builder.append_basic_block())
                builder.position_at_end(block)

                def body(at: ir.Value, kind: ir.Type, count: int = count) -> None:
                    values = [load(builder, builder.add(source, at), kind) for source in sources[:count]]
                    for i, number in enumerate(added[:count]):
                        values[i] = builder.fadd(values[i], splat(builder, number, kind.count))
                    while len(values) > 1:  # in pairs
                        pairs = [combine(builder, of, *values[i : i + 2]) for i in range(0, len(values) - 1, 2)]
                        values = pairs + values[2 * len(pairs) :]
                    store(builder, values[0], builder.add(dst, at))

                _blocks(builder, n, of, body)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8, dtype), emit

    return fold_tile


@intrinsic
def divide_run(typingctx, dst, n, divisor, factor, shift, dtype):
    """``dst[i] /= divisor``; sums in 16 bits: ``dst[i] * factor >> 16 + shift``."""
    of = dtype.instance_type

    def emit(context, builder, signature, args):
        dst, n, divisor, factor, shift = args[:5]
        floating = isinstance(of, types.Float)
        by = converted(builder, divisor if floating else factor, types.int64, of if floating else types.uint32)

        def body(at: ir.Value, kind: ir.Type) -> None:
            place = builder.add(dst, at)
            value = load(builder, place, kind)
            if floating:
                value = builder.fdiv(value, splat(builder, by, kind.count))
            else:
                product = builder.mul(converted(builder, value, of, types.uint32), splat(builder, by, kind.count))
                high = builder.lshr(product, splat(builder, product.type.element(16), kind.count))
                low = splat(builder, builder.trunc(shift, kind.element), kind.count)
                value = builder.lshr(builder.trunc(high, kind), low)
            store(builder, value, place)

        _blocks(builder, n, of, body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, dtype), emit
