"""Sums of products of 8-bit numbers, TOGETHER neighbouring elements of a window at a time; see the C twin, conv8.h.

A register has 4 bytes of elements for each lane: four bytes with VNNI (unsigned ones of the image, signed weights), else two
16-bit numbers, or one of 32 bits.
"""

from __future__ import annotations

import platform

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from fastconv.engines.numba_cpu.product import COLS, ROWS, each_height
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, load, loop, splat, store

__all__ = ["DOT", "TOGETHER", "copy_line", "depth_pixel", "dots_product", "eighths", "turn_square"]

_int64 = ir.IntType(64)
_INTS = ir.VectorType(ir.IntType(32), VECTOR_BYTES // 4)
_SHORTS = ir.VectorType(ir.IntType(16), VECTOR_BYTES // 2)
_BYTES = ir.VectorType(ir.IntType(8), VECTOR_BYTES)


def _together() -> int:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return 1
    if config.CPU_FEATURES is not None:
        found = "+avx512vnni" in config.CPU_FEATURES
    else:
        found = not config.CPU_NAME and llvm.get_host_cpu_features().get("avx512vnni", False)
    return 4 if found and VECTOR_BYTES == 64 else 2


TOGETHER = _together()
# Rows and bytes per row of tiles, and the elements that are multiplied and added at once.
DOT = (ROWS, COLS * VECTOR_BYTES, TOGETHER)


def _dot(builder: ir.IRBuilder, total: ir.Value, w: ir.Value, x: ir.Value) -> ir.Value:
    """The sums of products of each lane added to a total."""
    if TOGETHER == 1:
        return builder.add(total, builder.mul(w, x))
    if TOGETHER == 4:
        kind = ir.FunctionType(_INTS, [_INTS] * 3)
        name = "llvm.x86.avx512.vpdpbusd.512"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [total, x, w])
    name = {64: "avx512.pmaddw.d.512", 32: "avx2.pmadd.wd", 16: "sse2.pmadd.wd"}[VECTOR_BYTES]
    kind = ir.FunctionType(_INTS, [_SHORTS] * 2)
    multiply = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}")
    return builder.add(total, builder.call(multiply, [builder.bitcast(v, _SHORTS) for v in (w, x)]))


def _step(builder: ir.IRBuilder, address: ir.Value, index: ir.Value | int, step: int) -> ir.Value:
    index = index if isinstance(index, ir.Value) else _int64(index)
    return builder.add(address, builder.mul(index, _int64(step)))


@intrinsic
def dots_product(typingctx, w, src, pixel_of, run_of, runs, quads, start, to, left):
    """Windows of pixels times packed weights: of as many as fit into a tile, of those that are left; returns their number.

    The window of pixel r is `runs` runs of `quads` times 4 bytes, which begin ``run_of[]`` bytes from ``src + pixel_of[r]``.
    All sums begin with the row at `start`; they go to rows from `to` on.
    """

    def tile(builder, height, w, src, pixel_of, run_of, runs, quads, start, to):
        first = [load(builder, _step(builder, start, j, VECTOR_BYTES), _INTS) for j in range(COLS)]
        sums = [cgutils.alloca_once(builder, _INTS) for _ in range(height * COLS)]
        for i, slot in enumerate(sums):
            builder.store(first[i % COLS], slot)
        pixels = [builder.add(src, load(builder, _step(builder, pixel_of, r, 8), _int64)) for r in range(height)]
        line = cgutils.alloca_once(builder, _int64)
        builder.store(w, line)
        with loop(builder, runs) as s:
            begin = load(builder, _step(builder, run_of, s, 8), _int64)
            with loop(builder, quads) as k:
                row = builder.load(line)
                builder.store(_step(builder, row, COLS, VECTOR_BYTES), line)
                taps = [load(builder, _step(builder, row, j, VECTOR_BYTES), _INTS) for j in range(COLS)]
                at = _step(builder, begin, k, 4)
                for r in range(height):
                    x = splat(builder, load(builder, builder.add(pixels[r], at), _INTS.element), _INTS.count)
                    for slot, tap in zip(sums[r * COLS : (r + 1) * COLS], taps, strict=True):
                        builder.store(_dot(builder, builder.load(slot), tap, x), slot)
        for i, slot in enumerate(sums):
            store(builder, builder.load(slot), _step(builder, to, i, VECTOR_BYTES))

    def emit(context, builder, signature, args):
        return each_height(builder, args[-1], tile, args[:-1])

    return types.int64(*[types.int64] * 9), emit


def _unpacked(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, size: int) -> tuple[ir.Value, ir.Value]:
    """Elements of a and b in turn: those of the first halves of each 16 bytes, and of the second."""
    kind = {1: _BYTES, 2: _SHORTS}[size]
    a, b, half = builder.bitcast(a, kind), builder.bitcast(b, kind), 8 // size
    low = [i // (2 * half) * 2 * half + i % (2 * half) // 2 + i % 2 * kind.count for i in range(kind.count)]
    patterns = (low, [i + half for i in low])
    shuffles = [ir.Constant(ir.VectorType(ir.IntType(32), kind.count), p) for p in patterns]
    low_half, high_half = (builder.bitcast(builder.shuffle_vector(a, b, p), _INTS) for p in shuffles)
    return low_half, high_half


@intrinsic
def depth_pixel(typingctx, w, pixel, tap_of, groups, start, to):
    """Sums of TOGETHER vectors of channels, each over the taps of its own window, as many of them at once.

    Lanes come in the order that unpacking leaves them in, in fours; see `fastconv.algorithms.conv8`.
    """

    def emit(context, builder, signature, args):
        w, pixel, tap_of, groups, start, to = args
        sums = [cgutils.alloca_once(builder, _INTS) for _ in range(TOGETHER)]
        for j, slot in enumerate(sums):
            builder.store(load(builder, _step(builder, start, j, VECTOR_BYTES), _INTS), slot)
        with loop(builder, groups) as t:
            taps, weights = _step(builder, tap_of, t, 8 * TOGETHER), _step(builder, w, t, TOGETHER * VECTOR_BYTES)
            places = [load(builder, _step(builder, taps, i, 8), _int64) for i in range(TOGETHER)]
            x = [load(builder, builder.add(pixel, place), _INTS) for place in places]
            if TOGETHER == 4:
                (a, b), (c, d) = _unpacked(builder, x[0], x[1], 1), _unpacked(builder, x[2], x[3], 1)
                x = [*_unpacked(builder, a, c, 2), *_unpacked(builder, b, d, 2)]
            elif TOGETHER == 2:
                x = [*_unpacked(builder, x[0], x[1], 2)]
            for j, slot in enumerate(sums):
                tap = load(builder, _step(builder, weights, j, VECTOR_BYTES), _INTS)
                builder.store(_dot(builder, builder.load(slot), tap, x[j]), slot)
        for j, slot in enumerate(sums):
            store(builder, builder.load(slot), _step(builder, to, j, VECTOR_BYTES))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), emit


@intrinsic
def eighths(typingctx, sums, scale, offset, zero_point, low, high, to):
    """A vector of sums, scaled, rounded and clamped in float64: as many bytes."""

    def emit(context, builder, signature, args):
        sums, scale, offset, *limits, to = args
        doubles = ir.VectorType(ir.DoubleType(), _INTS.count)
        constants = [splat(builder, builder.sitofp(v, ir.DoubleType()), _INTS.count) for v in limits]

        def call(name: str, *values: ir.Value) -> ir.Value:
            kind = ir.FunctionType(doubles, [doubles] * len(values))
            function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{_INTS.count}f64")
            return builder.call(function, values)

        value = builder.fadd(builder.sitofp(load(builder, sums, _INTS), doubles), load(builder, offset, doubles))
        value = call("rint", builder.fmul(value, load(builder, scale, doubles)))
        value = builder.fadd(value, constants[0])
        value = call("minnum", call("maxnum", value, constants[1]), constants[2])
        narrow = builder.trunc(builder.fptosi(value, _INTS), ir.VectorType(ir.IntType(8), _INTS.count))
        store(builder, narrow, to)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), emit


@intrinsic
def turn_square(typingctx, src, src_step, to, to_step):
    """Transpose 16 rows of 16 bytes."""

    def emit(context, builder, signature, args):
        src, src_step, to, to_step = args
        row = ir.VectorType(ir.IntType(8), 16)
        v = [load(builder, builder.add(src, builder.mul(src_step, _int64(i))), row) for i in range(16)]
        halves = [[i // 2 + i % 2 * 16 + start for i in range(16)] for start in (0, 8)]
        patterns = [ir.Constant(ir.VectorType(ir.IntType(32), 16), half) for half in halves]
        for _ in range(4):
            v = [builder.shuffle_vector(v[i // 2], v[i // 2 + 8], patterns[i % 2]) for i in range(16)]
        for i in range(16):
            store(builder, v[i], builder.add(to, builder.mul(to_step, _int64(i))))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), emit


@intrinsic
def copy_line(typingctx, to, src, n):
    """Copy n bytes."""

    def emit(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        cgutils.raw_memcpy(
            builder, builder.inttoptr(args[0], pointer), builder.inttoptr(args[1], pointer), args[2], 1, align=1
        )
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), emit
