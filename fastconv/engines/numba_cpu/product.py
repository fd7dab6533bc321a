"""Tiles of matrix products: sums of several pixels or filters, COLS vectors each, kept in registers.

`filters_product`: lanes are filters.  `pixels_product`: lanes are pixels.  See the C twin, conv_tiles.h.  Either takes as
many rows as fit into a tile, of those that are left, and returns their number: one call, and a loop for each height.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.engines.numba_cpu.activation import rectify
from fastconv.engines.numba_cpu.simd import (
    REGISTERS,
    VECTOR_BYTES,
    element,
    lanes,
    load,
    loop,
    multiply_add,
    splat,
    store,
)

__all__ = ["COLS", "HEIGHTS", "ROWS", "each_height", "filters_product", "pixels_product"]

# Heights of tiles: of the highest, 28 of 32, or 12 of 16 registers accumulate.
HEIGHTS = (14, 7, 4, 2, 1) if REGISTERS == 32 else (6, 4, 2, 1)
ROWS, COLS = HEIGHTS[0], 2

_int64 = ir.IntType(64)


def _at(builder: ir.IRBuilder, address: ir.Value, index: ir.Value | int, step: ir.Value | int) -> ir.Value:
    index, step = (i if isinstance(i, ir.Value) else _int64(i) for i in (index, step))
    return builder.add(address, builder.mul(index, step))


@intrinsic
def filters_product(
    typingctx, w, src, pixel_of, run_of, runs, length, start, start_step, to, to_of, width, most, code, slope, left, dtype
):  # fmt: skip
    """Windows of pixels times packed weights.

    Row r is added to the sums at ``start + r * start_step``.  The window of pixel r is `runs` runs of `length` elements, which
    begin ``run_of[]`` bytes from ``src + pixel_of[r]``.  Its sums go to ``to + to_of[r]``, the first `width` of them.  About
    `most` products are summed apart: errors grow with how many are summed in a row.  Those sums are finished by `rectify`.
    """
    kind = dtype.instance_type

    def tile(
        builder, height, w, src, pixel_of, run_of, runs, length, start, start_step, to, to_of, width, most, code, slope
    ):
        vector, size = ir.VectorType(element(kind), lanes(kind)), kind.bitwidth // 8
        zero = ir.Constant(vector, None)
        totals = [
            cgutils.alloca_once_value(
                builder,
                load(builder, builder.add(_at(builder, start, r, start_step), _int64(j * VECTOR_BYTES)), vector),
            )
            for r in range(height)
            for j in range(COLS)
        ]
        sums = [cgutils.alloca_once_value(builder, zero) for _ in totals]
        pixels = [builder.add(src, load(builder, _at(builder, pixel_of, r, 8), _int64)) for r in range(height)]
        line, apart = cgutils.alloca_once_value(builder, w), cgutils.alloca_once_value(builder, _int64(0))
        pieces = builder.sdiv(builder.sub(builder.add(length, most), _int64(1)), most)
        with loop(builder, runs) as s, loop(builder, pieces) as piece:
            done = builder.mul(piece, most)
            first = _at(builder, load(builder, _at(builder, run_of, s, 8), _int64), done, size)
            rest = builder.sub(length, done)
            some = builder.select(builder.icmp_signed("<", rest, most), rest, most)
            with loop(builder, some) as k:
                row = builder.load(line)
                builder.store(builder.add(row, _int64(COLS * VECTOR_BYTES)), line)
                taps = [load(builder, builder.add(row, _int64(j * VECTOR_BYTES)), vector) for j in range(COLS)]
                at = _at(builder, first, k, size)
                for r in range(height):
                    x = splat(builder, load(builder, builder.add(pixels[r], at), vector.element), vector.count)
                    _accumulate(builder, sums[r * COLS : (r + 1) * COLS], taps, x)
            builder.store(builder.add(builder.load(apart), some), apart)
            with builder.if_then(builder.icmp_signed(">=", builder.add(builder.load(apart), length), most)):
                _end(builder, sums, totals)
                for slot in sums:
                    builder.store(zero, slot)
                builder.store(_int64(0), apart)
        _end(builder, sums, totals)
        rectify(builder, kind, totals, code, slope)
        full = builder.icmp_signed(">=", width, _int64(COLS * vector.count))
        places = [builder.add(to, load(builder, _at(builder, to_of, r, 8), _int64)) for r in range(height)]
        with builder.if_else(full) as (all_lanes, few):
            with all_lanes:
                for i, slot in enumerate(totals):
                    place = builder.add(places[i // COLS], _int64(i % COLS * VECTOR_BYTES))
                    store(builder, builder.load(slot), place)
            with few:
                for i, slot in enumerate(totals):
                    left = builder.sub(width, _int64(i % COLS * vector.count))
                    place = builder.add(places[i // COLS], _int64(i % COLS * VECTOR_BYTES))
                    _store_some(builder, builder.load(slot), place, left)

    def emit(context, builder, signature, args):
        return each_height(builder, args[-2], tile, args[:-2])

    return types.int64(*[types.int64] * 13, types.float64, types.int64, dtype), emit


@intrinsic
def pixels_product(
    typingctx, w, src, k_of, depth, w_step, start, start_step, resume, to, to_step, code, slope, left, dtype
):
    """Weights of filters times neighbouring pixels.

    Row r begins with the number at ``start + r * size``, or (`resume`) with the sums at ``start + r * start_step``.  Element
    k of windows lies ``src + k_of[k]``, weights of row r at ``w + r * w_step``; sums, finished by
    `rectify`, go to ``to + r * to_step``.
    """
    kind = dtype.instance_type

    def tile(builder, height, w, src, k_of, depth, w_step, start, start_step, resume, to, to_step, code, slope):
        vector, size = ir.VectorType(element(kind), lanes(kind)), kind.bitwidth // 8
        sums = [cgutils.alloca_once(builder, vector) for _ in range(height * COLS)]
        with builder.if_else(builder.icmp_signed("!=", resume, _int64(0))) as (again, anew):
            with again:
                for i, slot in enumerate(sums):
                    place = builder.add(_at(builder, start, i // COLS, start_step), _int64(i % COLS * VECTOR_BYTES))
                    builder.store(load(builder, place, vector), slot)
            with anew:
                for r in range(height):
                    value = splat(builder, load(builder, _at(builder, start, r, size), vector.element), vector.count)
                    for slot in sums[r * COLS : (r + 1) * COLS]:
                        builder.store(value, slot)
        with loop(builder, depth) as k:
            at = builder.add(src, load(builder, _at(builder, k_of, k, 8), _int64))
            pixels = [load(builder, builder.add(at, _int64(j * VECTOR_BYTES)), vector) for j in range(COLS)]
            weight = _at(builder, w, k, size)
            for r in range(height):
                tap = splat(builder, load(builder, weight, vector.element), vector.count)
                _accumulate(builder, sums[r * COLS : (r + 1) * COLS], pixels, tap)
                weight = builder.add(weight, w_step)
        rectify(builder, kind, sums, code, slope)
        for i, slot in enumerate(sums):
            place = builder.add(_at(builder, to, i // COLS, to_step), _int64(i % COLS * VECTOR_BYTES))
            store(builder, builder.load(slot), place)

    def emit(context, builder, signature, args):
        return each_height(builder, args[-2], tile, args[:-2])

    return types.int64(*[types.int64] * 11, types.float64, types.int64, dtype), emit


def each_height(builder: ir.IRBuilder, left: ir.Value, tile: Callable, args: Sequence[ir.Value]) -> ir.Value:
    """Emit the tile of each height, and the choice of the highest that `left` rows fill."""
    done, chosen = builder.append_basic_block(), cgutils.alloca_once(builder, _int64)
    for height in HEIGHTS:
        block, lower = builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">=", left, _int64(height)), block, lower)
        builder.position_at_end(block)
        tile(builder, height, *args)
        builder.store(_int64(height), chosen)
        builder.branch(done)
        builder.position_at_end(lower)
    builder.store(_int64(1), chosen)  # never: something is left
    builder.branch(done)
    builder.position_at_end(done)
    return builder.load(chosen)


def _end(builder: ir.IRBuilder, sums: list[ir.Value], totals: list[ir.Value]) -> None:
    """Add what was summed apart to the totals."""
    for slot, total in zip(sums, totals, strict=True):
        a, b = builder.load(total), builder.load(slot)
        whole = isinstance(a.type.element, ir.IntType)
        builder.store(builder.add(a, b) if whole else builder.fadd(a, b), total)


def _accumulate(builder: ir.IRBuilder, sums: list[ir.Value], vectors: list[ir.Value], scalar: ir.Value) -> None:
    """Add products to sums in stack slots (LLVM makes registers of them)."""
    for slot, vector in zip(sums, vectors, strict=True):
        builder.store(multiply_add(builder, vector, scalar, builder.load(slot)), slot)


def _store_some(builder: ir.IRBuilder, value: ir.Value, place: ir.Value, n: ir.Value) -> None:
    """Store the first n elements of a vector."""
    vector, flag, word = value.type, ir.VectorType(ir.IntType(1), value.type.count), ir.IntType(32)
    count = ir.Constant(ir.VectorType(_int64, vector.count), list(range(vector.count)))
    mask = builder.icmp_signed("<", count, splat(builder, n, vector.count))
    pointer = vector.as_pointer()
    name = f"llvm.masked.store.v{vector.count}{vector.element.intrinsic_name}.p0"
    kind = ir.FunctionType(ir.VoidType(), [vector, pointer, word, flag])
    masked = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(masked, [value, builder.inttoptr(place, pointer), word(1), mask])
