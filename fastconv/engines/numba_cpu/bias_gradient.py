"""Gradients of biases: sums of channels.  A unit is a block of channels by a part of the pixels.

Few terms are added in vectors, what these give in double.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import float64, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.engines.contract import BIAS_GRADIENT_FIELDS
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, element, itemsize, lanes, load, loop, peek, poke, store

__all__ = ["FIELDS", "MAKERS"]

FIELDS = BIAS_GRADIENT_FIELDS

# Vectors that are summed side by side, and terms of one sum.
TOGETHER, SUMMED = 4, 64


@intrinsic(prefer_literal=True)
def vector_sums(typingctx, to, x, step, rows, dtype, cols):
    """The sum of `cols` vectors over rows `step` bytes apart."""
    kind, wide = dtype.instance_type, cols.literal_value

    def emit(context, builder, signature, args):
        to, x, step, rows = args[:4]
        vector, word = ir.VectorType(element(kind), lanes(kind)), ir.IntType(64)
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(wide)]
        at = cgutils.alloca_once_value(builder, x)
        with loop(builder, rows):
            row = builder.load(at)
            for j, slot in enumerate(sums):
                value = load(builder, builder.add(row, word(j * VECTOR_BYTES)), vector)
                builder.store(builder.fadd(builder.load(slot), value), slot)
            builder.store(builder.add(row, step), at)
        for j, slot in enumerate(sums):
            store(builder, builder.load(slot), builder.add(to, word(j * VECTOR_BYTES)))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64, dtype, cols), emit


@part
def run_sum(x, n, buffer, acc):
    # The sum of elements that follow each other.
    size, total, i = itemsize(acc), float64(0), 0
    count = VECTOR_BYTES // size
    rows = n // (TOGETHER * count)
    while rows > 0:
        some = min(rows, SUMMED)
        vector_sums(buffer, x + i * size, TOGETHER * VECTOR_BYTES, some, acc, TOGETHER)
        for k in range(TOGETHER * count):
            total += float64(peek(buffer + k * size, acc))
        i, rows = i + some * TOGETHER * count, rows - some
    if n - i >= count:
        vector_sums(buffer, x + i * size, VECTOR_BYTES, (n - i) // count, acc, 1)
        for k in range(count):
            total += float64(peek(buffer + k * size, acc))
        i += (n - i) // count * count
    for k in range(i, n):
        total += float64(peek(x + k * size, acc))
    return total


@part
def sum_pixels(x, step, n, rows, out, buffer, acc):
    # out[channel] of `n` channels that follow each other: as many as some vectors hold, or fewer.
    size = itemsize(acc)
    totals = buffer + TOGETHER * VECTOR_BYTES
    for c in range(n):
        poke(totals + 8 * c, float64(0))
    while rows > 0:
        some = min(rows, SUMMED)
        if n == TOGETHER * VECTOR_BYTES // size:
            vector_sums(buffer, x, step, some, acc, TOGETHER)
            for c in range(n):
                poke(totals + 8 * c, peek(totals + 8 * c, float64) + float64(peek(buffer + c * size, acc)))
        else:
            for c in range(n):
                total = acc(0)
                for row in range(some):
                    total += peek(x + row * step + c * size, acc)
                poke(totals + 8 * c, peek(totals + 8 * c, float64) + float64(total))
        x, rows = x + some * step, rows - some
    for c in range(n):
        poke(out + c * size, acc(peek(totals + 8 * c, float64)))


def make(acc: str, variant: str = "") -> Callable:
    """The kernel that sums in `acc`."""
    acc_type = getattr(types, acc)

    def kernel(a, unit, worker):
        size, total = itemsize(acc_type), a.images * a.pixels
        part, c = unit % a.n_parts, unit // a.n_parts * a.block
        last, out = c + a.block if a.channels - c >= 2 * a.block else a.channels, a.out + part * a.channels * size
        first, end = total * part // a.n_parts, total * (part + 1) // a.n_parts
        buffer, together = a.scratch + worker * a.scratch_bytes, TOGETHER * VECTOR_BYTES // size
        while c < last:
            if a.together:
                n = min(together, last - c)
                sum_pixels(
                    a.x + first * a.x_pixel + c * size, a.x_pixel, n, end - first, out + c * size, buffer, acc_type
                )
                c += n
            else:
                at, sums = first, float64(0)
                while at < end:
                    n = min(a.pixels - at % a.pixels, end - at)
                    x = a.x + at // a.pixels * a.x_image + c * a.x_channel + at % a.pixels * size
                    sums += run_sum(x, n, buffer, acc_type)
                    at += n
                poke(out + c * size, acc_type(sums))
                c += 1

    return kernel


MAKERS = {"bias_gradient": make}
