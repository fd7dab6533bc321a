"""Vectors whose lanes are channels: tiles of pixels that are multiplied lane by lane, blocks that are transposed."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.engines.numba_cpu.activation import rectify
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, element, lanes, load, loop, multiply_add, store

__all__ = ["VECTOR_BYTES", "copy_vector", "gradient_run", "pixel_tile", "turn_block"]

_int64 = ir.IntType(64)


@intrinsic
def copy_vector(typingctx, to, at):
    """Copy as many bytes as a vector has."""

    def emit(context, builder, signature, args):
        store(builder, load(builder, args[1], ir.VectorType(ir.IntType(8), VECTOR_BYTES)), args[0])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), emit


@intrinsic(prefer_literal=True)
def pixel_tile(
    typingctx, w, w_step, bias, rows, n_rows, at, taps, tap_step, step, dst, dst_step, code, slope, acc, pixels
):
    """A vector of each of `pixels` outputs: bias plus the sum over r < n_rows, k < taps of ``w[r * taps + k]``, vectors
    `w_step` bytes apart, times the vector at ``rows[r] + at + k * tap_step``, `step` bytes further for the next output;
    finished by `rectify`."""
    kind, count = acc.instance_type, pixels.literal_value

    def emit(context, builder, signature, args):
        w, w_step, bias, rows, n_rows, at, taps, tap_step, step, dst, dst_step, code, slope = args[:13]
        vector = ir.VectorType(element(kind), lanes(kind))
        start = load(builder, bias, vector)
        sums = [cgutils.alloca_once_value(builder, start) for _ in range(count)]
        for slot in sums:
            builder.store(start, slot)
        weights = cgutils.alloca_once_value(builder, w)
        builder.store(w, weights)
        offsets = [builder.mul(step, _int64(p)) for p in range(count)]
        with loop(builder, n_rows) as r:
            row = builder.add(load(builder, builder.add(rows, builder.mul(r, _int64(8))), _int64), at)
            with loop(builder, taps) as k:
                here = builder.add(row, builder.mul(k, tap_step))
                tap = load(builder, builder.load(weights), vector)
                builder.store(builder.add(builder.load(weights), w_step), weights)
                for slot, offset in zip(sums, offsets, strict=True):
                    x = load(builder, builder.add(here, offset), vector)
                    builder.store(multiply_add(builder, x, tap, builder.load(slot)), slot)
        rectify(builder, kind, sums, code, slope)
        for p, slot in enumerate(sums):
            store(builder, builder.load(slot), builder.add(dst, builder.mul(dst_step, _int64(p))))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 12, types.float64, acc, pixels), emit


@intrinsic(prefer_literal=True)
def gradient_run(typingctx, sums, sums_step, x, tap_step, step, grad, grad_step, n, acc, taps):
    """``sums[k]`` += the sum over i < n of ``x[i * step + k * tap_step] * grad[i * grad_step]`` for k < taps: vectors, steps
    in bytes.  Two sums of each are made at once."""
    kind, count = acc.instance_type, taps.literal_value

    def emit(context, builder, signature, args):
        sums, sums_step, x, tap_step, step, grad, grad_step, n = args[:8]
        vector = ir.VectorType(element(kind), lanes(kind))
        zero = ir.Constant(vector, None)
        slots = [cgutils.alloca_once(builder, vector) for _ in range(2 * count)]
        for slot in slots:
            builder.store(zero, slot)

        def add(i: ir.Value, half: int) -> None:
            factor = load(builder, builder.add(grad, builder.mul(i, grad_step)), vector)
            at = builder.add(x, builder.mul(i, step))
            for k in range(count):
                slot = slots[half * count + k]
                pixel = load(builder, builder.add(at, builder.mul(tap_step, _int64(k))), vector)
                builder.store(multiply_add(builder, pixel, factor, builder.load(slot)), slot)

        with loop(builder, builder.lshr(n, _int64(1))) as pair:
            add(builder.shl(pair, _int64(1)), 0)
            add(builder.add(builder.shl(pair, _int64(1)), _int64(1)), 1)
        with builder.if_then(builder.icmp_signed("==", builder.and_(n, _int64(1)), _int64(1))):
            add(builder.sub(n, _int64(1)), 0)
        plus = builder.fadd if isinstance(kind, types.Float) else builder.add
        for k in range(count):
            to = builder.add(sums, builder.mul(sums_step, _int64(k)))
            total = plus(builder.load(slots[k]), builder.load(slots[count + k]))
            store(builder, plus(load(builder, to, vector), total), to)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8, acc, taps), emit


@intrinsic
def turn_block(typingctx, src, dst, acc):
    """Transpose as many vectors, one behind the other, as a vector has elements."""
    kind = acc.instance_type

    def emit(context, builder, signature, args):
        src, dst, _ = args
        n = lanes(kind)
        vector = ir.VectorType(element(kind), n)
        v = [load(builder, builder.add(src, _int64(k * VECTOR_BYTES)), vector) for k in range(n)]
        step = n // 2
        while step:  # halves of two vectors change places, then quarters, and so on
            low = [n + i - step if i & step else i for i in range(n)]
            high = [n + i if i & step else i + step for i in range(n)]
            for k in range(n):
                if not k & step:
                    a, b = v[k], v[k + step]
                    v[k], v[k + step] = (builder.shuffle_vector(a, b, _pattern(p)) for p in (low, high))
            step //= 2
        for k in range(n):
            store(builder, v[k], builder.add(dst, _int64(k * VECTOR_BYTES)))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, acc), emit


def _pattern(places: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
