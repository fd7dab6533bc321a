"""The direct filter over valid samples: NaN, and what is masked, counts as 0 and its weight does not count.

The same kernel as the Cython engine's.  Every patch is staged, and NaN taken out of it on the way; sums of values are
scaled by the complete weight over the valid one.  Few gaps are listed, and each takes its weights out of the windows
that it is in.  A patch with many, or with a window that lacks more than half of its weight, is staged again, and the
validity of its samples (1, or 0 where there was NaN) is filtered, too.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import boolean, int32, int64, types

from fastconv.engines.contract import BEYOND, DTYPE_CODES, NORMALIZED_FIELDS
from fastconv.engines.numba_cpu.convert import store_run
from fastconv.engines.numba_cpu.filter import clear_rest, filter_patch, stage_patch
from fastconv.engines.numba_cpu.gaps import (
    add_vector,
    copy_numbers,
    lowest_bit,
    mark,
    record_at,
    renormalize,
    scale,
    split,
)
from fastconv.engines.numba_cpu.jit import inlined, part
from fastconv.engines.numba_cpu.simd import VECTOR_BYTES, itemsize, peek, poke, tile_prefetch
from fastconv.engines.numba_cpu.stage import source_row, stage_row

__all__ = ["FIELDS", "MAKERS"]

FIELDS = NORMALIZED_FIELDS
# Bytes from what is read or written to what is called for: the width of a patch.
AHEAD = 1024
FLOAT32, FLOAT64 = DTYPE_CODES["float32"], DTYPE_CODES["float64"]


@inlined
def code_of(acc):
    return FLOAT32 if itemsize(acc) == 4 else FLOAT64


# -- staging -------------------------------------------------------------------------------


@part
def stage_samples(a, patch, marks, planes, p, y, x, rows, cols, acc):
    # A window with NaN where the mask is set.  It lies in memory as the source does, in bytes.
    offset, fill = peek(planes + 8 * p, int64), peek(a.fill + p % a.n_fills * itemsize(acc), acc)
    stage_patch(a, patch, int64(0) if offset == BEYOND else a.x + offset, fill, y, x, rows, cols, acc)
    if a.mask != 0 and offset != BEYOND:
        mask = record_at(a, a.mask)
        stage_patch(mask, marks, a.bias + offset // a.element, acc(0), y, x, rows, cols, acc)
        mark(patch, marks, a.sums - a.valid, acc)


@part
def take_gaps(dst, src, n, y, x, places, found, most, acc):
    # dst = src of n elements with 0 for NaN, the places of which, (y, x and on), follow `found` others in `places` (0:
    # nobody asks).  How many there are now; -1 if they are more than `most`, or were before.
    size, count = itemsize(acc), VECTOR_BYTES // itemsize(acc)
    whole = n // count * count
    if found < 0:
        return found
    for i in range(0, n, 64):
        bits = int64(0)
        for j in range(i, min(i + 64, whole), count):
            tile_prefetch(src + j * size + AHEAD, int64(0), 1, 1)
            bits |= copy_numbers(dst + j * size, src + j * size, acc) << (j - i)
        for j in range(max(i, whole), min(i + 64, n)):
            value = peek(src + j * size, acc)
            missing = value != value
            bits |= int64(missing) << (j - i)
            poke(dst + j * size, acc(0) if missing else value)
        while places != 0 and bits != 0:  # where nobody asks, no branch depends on the samples
            if found == most:
                return int64(-1)
            poke(places + 8 * found, int32(y))
            poke(places + 8 * found + 4, int32(x + i + lowest_bit(bits)))
            bits &= bits - 1
            found += 1
    return found


@part
def stage_numbers(a, patch, planes, p, y, x, rows, cols, places, acc):
    # A window with 0 for NaN (stride 1), for whose places `take_gaps` cares; what it returns.  Rows of the accumulators'
    # type are read once, and in whole vectors, which may pass the window's end.
    size, left, width = itemsize(acc), x - a.pad_x, cols + (a.kernel_x - 1) * a.dilation_x
    count = VECTOR_BYTES // size
    offset, fill = peek(planes + 8 * p, int64), peek(a.fill + p % a.n_fills * size, acc)
    copied = a.src_code == code_of(acc) and a.x_col == size and a.mask == 0 and offset != BEYOND
    found, to = int64(0), patch
    if copied:
        clear_rest(a, patch, rows, cols, acc)
    else:
        stage_samples(a, patch, patch + a.valid * size, planes, p, y, x, rows, cols, acc)
    for j in range(rows + (a.kernel_y - 1) * a.dilation_y):
        row, first, end = int64(0), int64(0), int64(0)
        if copied:
            row = source_row(a, a.x + offset, y - a.pad_y + j)
        if row != 0:
            first = min(max(-left, int64(0)), width)
            end = max(min(a.width - left, (width + count - 1) // count * count), first)
        for piece in range(3):  # before the row, behind it, and the row
            begin, last = (int64(0), first) if piece == 0 else (end, width) if piece == 1 else (first, end)
            src = row + (left + begin) * size
            if piece < 2:
                src = to + begin * size
                if copied:
                    stage_row(a, src, row, fill, left + begin, last - begin, acc)
            found = take_gaps(to + begin * size, src, last - begin, j, begin, places, found, a.most_gaps, acc)
        if found < 0:
            return found
        to += a.pitch * size
    return found


@part
def store_rows(a, out, sums, rows, cols, acc):
    for r in range(rows):
        at = sums + r * a.patch_cols * itemsize(acc)
        store_run(out + r * a.out_row, a.out_col, at, cols, a.out_code, acc)


# -- few gaps ------------------------------------------------------------------------------


@inlined
def flip(a, patch, w, acc):
    # Room for what windows lack, and flipped[plane, ky]: the row of weights reversed and spread, between zeros.
    # The sum of all weights, 0 if they differ in sign: then little may be left of it though few are subtracted.
    size = itemsize(acc)
    row, last = patch + a.flipped * size, VECTOR_BYTES + (a.kernel_x - 1) * a.dilation_x * size
    total, magnitude = acc(0), acc(0)
    for i in range(a.places - a.flipped):
        poke(row + i * size, acc(0))
    for i in range(a.n_planes * a.kernel_y):
        for x in range(a.kernel_x):
            weight = peek(w + (i * a.kernel_x + x) * size, acc)
            poke(row + last - x * a.dilation_x * size, weight)
            total, magnitude = total + weight, magnitude + abs(weight)
        row += a.flipped_pitch * size
    return total if abs(total) == magnitude else acc(0)


@part
def add_missing(a, missing, pitch, w, places, n, rows, acc):
    # The weights of each of n places onto the windows that it is in, of `rows` rows: w[ky], reversed between zeros, onto
    # the row dilation_y * ky above.  Vectors of `missing` are aligned, so that a load finds what was just stored.
    size = itemsize(acc)
    width = a.flipped_pitch * size - VECTOR_BYTES
    for i in range(n):
        y, x = int64(peek(places + 8 * i, int32)), int64(peek(places + 8 * i + 4, int32)) * size
        shift = x % VECTOR_BYTES
        for ky in range(a.kernel_y):
            row = y - ky * a.dilation_y
            if 0 <= row < rows:
                to = missing + row * pitch + x - shift
                at = w + ky * a.flipped_pitch * size + VECTOR_BYTES - shift
                for j in range(0, width, VECTOR_BYTES):
                    add_vector(to + j, at + j, acc)


@inlined
def sparse_patch(a, patch, planes, w, complete, y, x, rows, cols, out, acc, exact):
    # Whether it could be done.
    size = itemsize(acc)
    pitch, missing = (a.patch_cols + 2 * a.flipped_pitch) * size, patch + a.missing * size
    places = patch + a.places * size if a.renormalize != 0 else int64(0)
    direct = a.out_code == code_of(acc) and a.out_col == size and cols == a.patch_cols and rows == a.patch_rows
    sums, step = (out, a.out_row) if direct else (patch + a.sums * size, a.patch_cols * size)
    gaps, lacking = boolean(0), boolean(0)
    for p in range(a.n_planes):
        found = stage_numbers(a, patch, planes, p, y, x, rows, cols, places, acc)
        if found < 0:
            lacking = boolean(1)
            break
        at, n = w + p * a.kernel_y * a.kernel_x * size, int64(1)
        filter_patch(
            a, patch, int64(0), n, a.pitch * size, at, sums, step, rows, cols, p > 0, acc(0), acc, exact
        )  # fmt: skip
        gaps |= found > 0
        flipped = patch + (a.flipped + p * a.kernel_y * a.flipped_pitch) * size
        add_missing(a, missing, pitch, flipped, places, found, rows, acc)
    for j in range(rows if gaps else 0):
        for at in range(0, cols * size, VECTOR_BYTES):
            tile_prefetch(sums + j * step + at + AHEAD, int64(0), 1, 1)
        lack = missing + j * pitch + (a.kernel_x - 1) * a.dilation_x * size
        lacking |= scale(sums + j * step, lack, complete, cols, a.flipped_pitch)
    if not (direct or lacking):
        store_rows(a, out, sums, rows, cols, acc)
    return not lacking


# -- many gaps -----------------------------------------------------------------------------


@inlined
def complete_weight(a, patch, w, acc, exact):
    # The sum of all weights as tiles add it, so that windows without NaN are scaled by exactly 1.
    size = itemsize(acc)
    window, sums, step = patch + a.valid * size, patch + a.sums * size, a.patch_cols * size
    for i in range(a.sums - a.valid):
        poke(window + i * size, acc(1))
    for p in range(a.n_planes):
        at, n = w + p * a.kernel_y * a.kernel_x * size, int64(1)
        filter_patch(
            a, window, int64(0), n, a.pitch * size, at, sums, step, int64(1), int64(1), p > 0, acc(0), acc, exact
        )  # fmt: skip
    return peek(sums, acc)


@inlined
def dense_patch(a, patch, planes, w, complete, y, x, rows, cols, out, acc, exact):
    size = itemsize(acc)
    window, step = a.sums - a.valid, a.patch_cols * size
    valid, sums, valid_sums = patch + a.valid * size, patch + a.sums * size, patch + a.valid_sums * size
    missing = a.n_planes > 1
    for p in range(a.n_planes):
        stage_samples(a, patch, valid, planes, p, y, x, rows, cols, acc)
        missing |= split(patch, valid, window, acc)
        for second in range(2 if missing and a.renormalize != 0 else 1):
            src, dst = (valid, valid_sums) if second else (patch, sums)
            at, n = w + p * a.kernel_y * a.kernel_x * size, int64(1)
            filter_patch(
                a, src, int64(0), n, a.pitch * size, at, dst, step, rows, cols, p > 0, acc(0), acc, exact
            )  # fmt: skip
    if missing and a.renormalize != 0:
        renormalize(sums, valid_sums, complete, a.patch_rows * a.patch_cols)
    store_rows(a, out, sums, rows, cols, acc)


def make(acc: str, variant: str = "") -> Callable:
    """The normalized filter that sums in `acc`; the variant "exact" keeps SciPy's order of summation."""
    acc_type = getattr(types, acc)
    exact = True if variant == "exact" else None

    def kernel(a, unit, worker):
        plane, first_row = unit // a.n_strips, unit % a.n_strips * a.strip
        patch = a.scratch + worker * a.scratch_bytes
        planes = a.src_planes + 8 * plane * a.n_planes
        w = a.w + peek(a.filter_of + 8 * plane, int64) * a.n_planes * a.kernel_y * a.kernel_x * itemsize(acc_type)
        total, complete, known = acc_type(0), acc_type(0), a.renormalize == 0
        if a.most_gaps > 0 and a.renormalize != 0:
            total = flip(a, patch, w, acc_type)
        sparse = a.most_gaps > 0 and (total != 0 or a.renormalize == 0)
        for y in range(first_row, min(a.out_height, first_row + a.strip), a.patch_rows):
            rows = min(a.patch_rows, min(a.out_height, first_row + a.strip) - y)
            for x in range(0, a.out_width, a.patch_cols):
                cols = min(a.patch_cols, a.out_width - x)
                out = a.out + peek(a.out_planes + 8 * plane, int64) + y * a.out_row + x * a.out_col
                done = False
                if sparse:
                    done = sparse_patch(a, patch, planes, w, total, y, x, rows, cols, out, acc_type, exact)
                if not done:
                    if not known:
                        complete, known = complete_weight(a, patch, w, acc_type, exact), True
                    dense_patch(a, patch, planes, w, complete, y, x, rows, cols, out, acc_type, exact)

    return kernel


MAKERS = {"normalized": make}
