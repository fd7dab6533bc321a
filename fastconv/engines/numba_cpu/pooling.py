"""Row operations of pooling: folds, scans, divisions and moves over runs of n elements.

Each intrinsic emits its loop over vectors with llvmlite.  The loops over planes, rows and
windows are in `pool`.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.engines.numba_cpu.convert import converted
from fastconv.engines.numba_cpu.simd import element, lanes, load, loop, splat, store

__all__ = [
    "copy_run", "divide_run", "fill_run", "fold_run", "lowest", "positions_run", "reduce_run", "scan_run", "split_run",
]  # fmt: skip

_int64 = ir.IntType(64)
TAPS_TOGETHER = 64
SHORT_BYTES = 16  # runs shorter than the longest vectors are common

# Emits a run's code at an element for vectors of some lanes (1: a scalar), that many vectors.
Body = Callable[[ir.Value, int, int], None]


def _sweep(builder: ir.IRBuilder, n: ir.Value, dtype: types.Number, body: Body, fine: bool = False) -> None:
    """Emit `body` over n elements: vectors, then single elements; `fine`: blocks of four vectors and short vectors, too."""
    count, short = lanes(dtype), 8 * SHORT_BYTES // dtype.bitwidth
    done: ir.Value = _int64(0)
    for width, vectors in ((count, 4), (count, 1), (short, 1), (1, 1)) if fine else ((count, 1), (1, 1)):
        step = _int64(width * vectors)
        times = builder.udiv(builder.sub(n, done), step)
        with loop(builder, times) as i:
            body(builder.add(done, builder.mul(i, step)), width, vectors)
        done = builder.add(done, builder.mul(times, step))


def _type(kind: ir.Type, width: int) -> ir.Type:
    return ir.VectorType(kind, width) if width > 1 else kind


def _at(builder: ir.IRBuilder, base: ir.Value, place: ir.Value, size: int, offset: int = 0) -> ir.Value:
    return builder.add(base, builder.mul(builder.add(place, _int64(offset)), _int64(size)))


def _size(dtype: types.Number) -> int:
    return dtype.bitwidth // 8


def _constant(kind: ir.Type, number: float) -> ir.Constant:
    return ir.Constant(kind, [number] * kind.count if isinstance(kind, ir.VectorType) else number)


def _greater(builder: ir.IRBuilder, dtype: types.Number, value: ir.Value, best: ir.Value) -> ir.Value:
    """NaN is greater than all before it, as in PyTorch."""
    if isinstance(dtype, types.Float):
        return builder.or_(builder.fcmp_ordered(">", value, best), builder.fcmp_unordered("uno", value, value))
    return (builder.icmp_signed if dtype.signed else builder.icmp_unsigned)(">", value, best)


@intrinsic
def lowest(typingctx, dtype):
    """The maximum of no elements."""
    kind = dtype.instance_type

    def emit(context, builder, signature, args):
        if isinstance(kind, types.Float):
            return ir.Constant(element(kind), float("-inf"))
        return ir.Constant(element(kind), kind.minval)

    return kind(dtype), emit


@intrinsic
def fill_run(typingctx, dst, n, value):
    """``dst[i] = value``."""

    def emit(context, builder, signature, args):
        dst, n, number = args

        def body(i: ir.Value, width: int, vectors: int) -> None:
            many = splat(builder, number, width) if width > 1 else number
            for v in range(vectors):
                store(builder, many, _at(builder, dst, i, _size(value), v * width))

        _sweep(builder, n, value, body)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), emit


@intrinsic
def copy_run(typingctx, dst, src, n, dtype):
    """``dst[i] = src[i]``."""
    kind = dtype.instance_type

    def emit(context, builder, signature, args):
        dst, src, n, _ = args

        def body(i: ir.Value, width: int, vectors: int) -> None:
            for v in range(vectors):
                value = load(builder, _at(builder, src, i, _size(kind), v * width), _type(element(kind), width))
                store(builder, value, _at(builder, dst, i, _size(kind), v * width))

        _sweep(builder, n, kind, body)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, dtype), emit


@intrinsic
def fold_run(typingctx, dst, src, at, scale, taps, n, resume, acc, source, average):
    """``dst[i] = src[at[0]*scale + i] OP src[at[1]*scale + i] OP ...``, going on from dst with `resume`.

    Elements of `source` are folded as `acc`; OP is the sum if `average` is not None, else the maximum.  TAPS_TOGETHER are
    folded by themselves first: rounding errors of long sums stay small.
    """
    to, of, adding = acc.instance_type, source.instance_type, not isinstance(average, types.NoneType)

    def combine(builder: ir.IRBuilder, sums: ir.Value, value: ir.Value) -> ir.Value:
        if not adding:
            return builder.select(_greater(builder, to, value, sums), value, sums)
        return builder.fadd(sums, value) if isinstance(to, types.Float) else builder.add(sums, value)

    def emit(context, builder, signature, args):
        dst, src, at, scale, taps, n, resume = args[:7]

        def body(i: ir.Value, width: int, vectors: int) -> None:
            def read(tap: ir.Value, v: int) -> ir.Value:
                offset = load(builder, _at(builder, at, tap, 8), _int64)
                place = builder.add(_at(builder, src, i, _size(of), v * width), builder.mul(offset, scale))
                return converted(builder, load(builder, place, _type(element(of), width)), of, to)

            kind = _type(element(to), width)
            totals, parts = ([cgutils.alloca_once(builder, kind) for _ in range(vectors)] for _ in range(2))
            with builder.if_then(resume):
                for v, slot in enumerate(totals):
                    builder.store(load(builder, _at(builder, dst, i, _size(to), v * width), kind), slot)
            with loop(
                builder, builder.sdiv(builder.add(taps, _int64(TAPS_TOGETHER - 1)), _int64(TAPS_TOGETHER))
            ) as group:
                begin = builder.mul(group, _int64(TAPS_TOGETHER))
                left = builder.sub(taps, begin)
                some = builder.select(
                    builder.icmp_signed("<", left, _int64(TAPS_TOGETHER)), left, _int64(TAPS_TOGETHER)
                )
                for v, slot in enumerate(parts):
                    builder.store(read(begin, v), slot)
                with loop(builder, builder.sub(some, _int64(1))) as t:
                    for v, slot in enumerate(parts):
                        value = read(builder.add(builder.add(begin, t), _int64(1)), v)
                        builder.store(combine(builder, builder.load(slot), value), slot)
                begun = builder.or_(resume, builder.icmp_signed(">", group, _int64(0)))
                for total, slot in zip(totals, parts, strict=True):
                    part = builder.load(slot)
                    both = combine(builder, builder.load(total), part)
                    builder.store(builder.select(begun, both, part), total)
            for v, slot in enumerate(totals):
                store(builder, builder.load(slot), _at(builder, dst, i, _size(to), v * width))

        _sweep(builder, n, to, body, fine=True)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, types.boolean, acc, source, average), emit


@intrinsic
def reduce_run(typingctx, src, n, acc, average):
    """``src[0] OP ... OP src[n - 1]`` of n elements, a multiple of four vectors' that is not 0."""
    kind, adding, count = acc.instance_type, not isinstance(average, types.NoneType), lanes(acc.instance_type)

    def combine(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
        if not adding:
            return builder.select(_greater(builder, kind, right, left), right, left)
        return builder.fadd(left, right) if isinstance(kind, types.Float) else builder.add(left, right)

    def emit(context, builder, signature, args):
        src, n = args[:2]
        vector = ir.VectorType(element(kind), count)

        def read(i: ir.Value, v: int) -> ir.Value:
            return load(builder, _at(builder, src, builder.mul(i, _int64(4 * count)), _size(kind), v * count), vector)

        slots = [cgutils.alloca_once_value(builder, read(_int64(0), v)) for v in range(4)]
        with loop(builder, builder.sub(builder.udiv(n, _int64(4 * count)), _int64(1))) as i:
            for v, slot in enumerate(slots):
                builder.store(combine(builder, builder.load(slot), read(builder.add(i, _int64(1)), v)), slot)
        a, b, c, d = (builder.load(slot) for slot in slots)
        sums = combine(builder, combine(builder, a, b), combine(builder, c, d))
        width = count
        while width > 1:
            width //= 2
            low, high = (
                builder.shuffle_vector(
                    sums, sums, ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(first, first + width)))
                )
                for first in (0, width)
            )
            sums = combine(builder, low, high)
        return builder.extract_element(sums, ir.IntType(32)(0))

    return kind(types.int64, types.int64, acc, average), emit


@intrinsic
def scan_run(typingctx, best, place, src, at, scale, taps, offset, step, n, dtype, places):
    """For each tap t: where src[at[t]*scale + i] is greater than best[i], or NaN, take it and note offset + t*step.

    n is rounded up to whole vectors: all is scratch memory.
    """
    kind, mark, count = dtype.instance_type, places.instance_type, lanes(places.instance_type)

    def emit(context, builder, signature, args):
        best, place, src, at, scale, taps, offset, step, n = args[:9]
        values, marks = ir.VectorType(element(kind), count), ir.VectorType(element(mark), count)

        def body(i: ir.Value, width: int, vectors: int) -> None:
            tops, where = [], []
            for v in range(vectors):
                old = load(builder, _at(builder, best, i, _size(kind), v * width), values)
                tops.append(cgutils.alloca_once_value(builder, old))
                old = load(builder, _at(builder, place, i, _size(mark), v * width), marks)
                where.append(cgutils.alloca_once_value(builder, old))
            with loop(builder, taps) as t:
                moved = builder.mul(load(builder, _at(builder, at, t, 8), _int64), scale)
                tap = builder.add(offset, builder.mul(t, step))
                tap = splat(builder, builder.trunc(tap, marks.element) if marks.element.width < 64 else tap, count)
                for v in range(vectors):
                    value = load(builder, builder.add(_at(builder, src, i, _size(kind), v * width), moved), values)
                    top = builder.load(tops[v])
                    greater = _greater(builder, kind, value, top)
                    builder.store(builder.select(greater, value, top), tops[v])
                    builder.store(builder.select(greater, tap, builder.load(where[v])), where[v])
            for v in range(vectors):
                store(builder, builder.load(tops[v]), _at(builder, best, i, _size(kind), v * width))
                store(builder, builder.load(where[v]), _at(builder, place, i, _size(mark), v * width))

        blocks = builder.udiv(n, _int64(4 * count))
        with loop(builder, blocks) as b:
            body(builder.mul(b, _int64(4 * count)), count, 4)
        done = builder.mul(blocks, _int64(4 * count))
        rest = builder.udiv(builder.add(builder.sub(n, done), _int64(count - 1)), _int64(count))
        with loop(builder, rest) as b:
            body(builder.add(done, builder.mul(b, _int64(count))), count, 1)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 9, dtype, places), emit


@intrinsic
def divide_run(typingctx, dst, src, n, divisor, dtype, acc):
    """``dst[i] = src[i] / divisor``; integers truncate toward zero.

    Sums of 16 bits are divided in float32 and sums of 32 bits in float64, which is exact there.
    """
    to, of = dtype.instance_type, acc.instance_type
    number = {types.int16: types.float32, types.int32: types.float64}.get(of, of)

    def emit(context, builder, signature, args):
        dst, src, n, divisor = args[:4]
        by = converted(builder, divisor, types.int64, number)
        name = "fdiv" if isinstance(number, types.Float) else "sdiv" if number.signed else "udiv"

        def body(i: ir.Value, width: int, vectors: int) -> None:
            many = splat(builder, by, width) if width > 1 else by
            for v in range(vectors):
                value = load(builder, _at(builder, src, i, _size(of), v * width), _type(element(of), width))
                quotient = getattr(builder, name)(converted(builder, value, of, number), many)
                value = converted(builder, converted(builder, quotient, number, of), of, to)
                store(builder, value, _at(builder, dst, i, _size(to), v * width))

        _sweep(builder, n, of, body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, dtype, acc), emit


@intrinsic
def split_run(typingctx, even, odd, src, n, dtype):
    """The even and the odd ones of 2n elements, n rounded up to whole vectors: all is scratch memory."""
    kind = dtype.instance_type
    count = lanes(kind)

    def emit(context, builder, signature, args):
        even, odd, src, n, _ = args
        vector, ints = ir.VectorType(element(kind), count), ir.VectorType(ir.IntType(32), count)
        with loop(builder, builder.udiv(builder.add(n, _int64(count - 1)), _int64(count))) as i:
            place = builder.mul(i, _int64(count))
            low = load(builder, _at(builder, src, builder.mul(place, _int64(2)), _size(kind)), vector)
            high = load(builder, _at(builder, src, builder.mul(place, _int64(2)), _size(kind), count), vector)
            for target, start in ((even, 0), (odd, 1)):
                picked = builder.shuffle_vector(low, high, ir.Constant(ints, list(range(start, 2 * count, 2))))
                store(builder, picked, _at(builder, target, place, _size(kind)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, dtype), emit


@intrinsic
def positions_run(typingctx, dst, place, n, corner, step, places):
    """``dst[i] = place[i] + corner + i * step``, and -1 where place[i] is -1."""
    mark = places.instance_type

    def emit(context, builder, signature, args):
        dst, place, n, corner, step, _ = args

        def body(i: ir.Value, width: int, vectors: int) -> None:
            base = builder.add(corner, builder.mul(i, step))
            kind = _type(_int64, width)
            if width > 1:
                ramp = builder.mul(ir.Constant(kind, list(range(width))), splat(builder, step, width))
                base = builder.add(splat(builder, base, width), ramp)
            for v in range(vectors):
                at = load(builder, _at(builder, place, i, _size(mark), v * width), _type(element(mark), width))
                at = converted(builder, at, mark, types.int64)
                ahead = builder.mul(step, _int64(v * width))
                moved = builder.add(at, builder.add(base, splat(builder, ahead, width) if width > 1 else ahead))
                none = builder.icmp_signed("<", at, _constant(kind, 0))
                store(builder, builder.select(none, _constant(kind, -1), moved), _at(builder, dst, i, 8, v * width))

        _sweep(builder, n, types.int64, body)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, places), emit
