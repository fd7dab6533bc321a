"""The direct filter over valid samples: NaN counts as 0 and its weight does not count.

The same kernel as the Cython engine's.  Every patch is staged and split into values and validity
(1, or 0 where there was NaN), which stay in cache.  Both are filtered by the tiles of the direct
filter, validity only where something is missing; sums of values are scaled by the complete weight
over the valid weight.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import int64, types
from numba.extending import intrinsic

from fastconv.engines.contract import BEYOND, NORMALIZED_FIELDS
from fastconv.engines.numba_cpu.convert import store_run
from fastconv.engines.numba_cpu.filter import filter_patch, stage_patch
from fastconv.engines.numba_cpu.jit import inlined
from fastconv.engines.numba_cpu.simd import (
    VECTOR_BYTES,
    element,
    itemsize,
    lanes,
    load,
    loop,
    peek,
    poke,
    splat,
    store,
)

__all__ = ["FIELDS", "MAKERS"]

FIELDS = NORMALIZED_FIELDS


@intrinsic
def split(typingctx, values, valid, n, acc):
    """``valid[i]`` = whether ``values[i]`` is a number (1 or 0); NaN becomes 0.  Whether there was any.

    Of `n` elements, whole vectors.
    """
    dtype = acc.instance_type

    def emit(context, builder, signature, args):
        values, valid, n, _ = args
        count = lanes(dtype)
        vector, size = ir.VectorType(element(dtype), count), dtype.bitwidth // 8
        one, zero = (ir.Constant(vector, [number] * count) for number in (1.0, 0.0))
        flags = ir.VectorType(ir.IntType(1), count)
        found = builder.alloca(flags)
        builder.store(ir.Constant(flags, [0] * count), found)
        with loop(builder, builder.udiv(n, n.type(count))) as i:
            at = builder.mul(i, n.type(count * size))
            value = load(builder, builder.add(values, at), vector)
            missing = builder.fcmp_unordered("uno", value, value)
            store(builder, builder.select(missing, zero, one), builder.add(valid, at))
            store(builder, builder.select(missing, zero, value), builder.add(values, at))
            builder.store(builder.or_(builder.load(found), missing), found)
        bits = builder.bitcast(builder.load(found), ir.IntType(count))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(types.int64, types.int64, types.int64, acc), emit


@intrinsic
def renormalize(typingctx, sums, weights, complete, n):
    """``sums[i] *= complete / weights[i]``, NaN where the weight is 0; `n` elements, whole vectors."""

    def emit(context, builder, signature, args):
        sums, weights, complete, n = args
        count, size = lanes(signature.args[2]), signature.args[2].bitwidth // 8
        vector = ir.VectorType(complete.type, count)
        zero, nan = ir.Constant(vector, [0.0] * count), ir.Constant(vector, [float("nan")] * count)
        with loop(builder, builder.udiv(n, n.type(count))) as i:
            at = builder.mul(i, n.type(count * size))
            weight = load(builder, builder.add(weights, at), vector)
            total = load(builder, builder.add(sums, at), vector)
            scaled = builder.fmul(total, builder.fdiv(splat(builder, complete, count), weight))
            scaled = builder.select(builder.fcmp_unordered("une", weight, zero), scaled, nan)
            store(builder, scaled, builder.add(sums, at))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, complete, types.int64), emit


@inlined
def complete_weight(a, window, sums, w, n, acc, exact):
    # The sum of all weights as tiles add it, so that windows without NaN are scaled by exactly 1.
    size = itemsize(acc)
    for i in range(n):
        poke(window + i * size, acc(1))
    for p in range(a.n_planes):
        at = w + p * a.kernel_y * a.kernel_x * size
        filter_patch(
            a,
            window,
            int64(0),
            int64(1),
            a.pitch * size,
            at,
            sums,
            a.patch_cols * size,
            1,
            1,
            p > 0,
            acc(0),
            acc,
            exact,
        )
    return peek(sums, acc)


@inlined
def normalized_patch(a, planes, patch, w, y, x, rows, cols, out, complete, window, acc, exact):
    size, area, pitch = itemsize(acc), a.patch_rows * a.patch_cols, a.pitch * itemsize(acc)
    valid, sums = patch + window * size, patch + 2 * window * size
    valid_sums, step = sums + area * size, a.patch_cols * size
    missing = a.n_planes > 1
    for p in range(a.n_planes):
        plane = peek(planes + 8 * p, int64)
        fill = peek(a.fill + p % a.n_fills * size, acc)
        stage_patch(a, patch, int64(0) if plane == BEYOND else a.x + plane, fill, y, x, rows, cols, acc)
        missing |= split(patch, valid, window, acc)
        at = w + p * a.kernel_y * a.kernel_x * size
        filter_patch(a, patch, int64(0), int64(1), pitch, at, sums, step, rows, cols, p > 0, acc(0), acc, exact)
        if missing and a.renormalize != 0:
            filter_patch(
                a, valid, int64(0), int64(1), pitch, at, valid_sums, step, rows, cols, p > 0, acc(0), acc, exact
            )
    if missing and a.renormalize != 0:
        renormalize(sums, valid_sums, complete, area)
    to = out + y * a.out_row + x * a.out_col
    for r in range(rows):
        store_run(to + r * a.out_row, a.out_col, sums + r * step, cols, a.out_code, acc)


def make(acc: str, variant: str = "") -> Callable:
    """The normalized filter that sums in `acc`; the variant "exact" keeps SciPy's order of summation."""
    acc_type = getattr(types, acc)
    exact = True if variant == "exact" else None

    def kernel(a, unit, worker):
        size = itemsize(acc_type)
        plane, first_row = unit // a.n_strips, unit % a.n_strips * a.strip
        window = ((a.patch_rows - 1) * a.stride_y + (a.kernel_y - 1) * a.dilation_y + 1) * a.pitch
        window = (window + VECTOR_BYTES // size - 1) // (VECTOR_BYTES // size) * (VECTOR_BYTES // size)
        patch = a.scratch + worker * a.scratch_bytes
        valid, sums = patch + window * size, patch + 2 * window * size
        planes = a.src_planes + 8 * plane * a.n_planes
        w = a.w + peek(a.filter_of + 8 * plane, int64) * a.n_planes * a.kernel_y * a.kernel_x * size
        out = a.out + peek(a.out_planes + 8 * plane, int64)
        complete = acc_type(0)
        if a.renormalize != 0:
            complete = complete_weight(a, valid, sums, w, window, acc_type, exact)
        for y in range(first_row, min(a.out_height, first_row + a.strip), a.patch_rows):
            rows = min(a.patch_rows, a.out_height - y)
            for x in range(0, a.out_width, a.patch_cols):
                cols = min(a.patch_cols, a.out_width - x)
                normalized_patch(a, planes, patch, w, y, x, rows, cols, out, complete, window, acc_type, exact)

    return kernel


MAKERS = {"normalized": make}
