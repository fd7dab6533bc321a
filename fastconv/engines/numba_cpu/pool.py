"""Pooling: maxima, averages, sums of powers, and gradients of averages.

A unit is a strip of output rows, which may run over several planes.  Each row is made in
blocks of pixels.  The rows of the window are folded first, column by column, into one row
in scratch memory, where columns beyond the border hold the fold's identity; then its
columns are folded into the output.  A maximum with indices takes the rows one by one, so
that it meets the taps of a window in C order: first of equals, last NaN.

`pool_blocks` tells what the tuples stand for.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import POOL_FIELDS
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.pool_blocks import (
    COUNTED,
    FLAT,
    TAPS,
    WINDOW,
    WINDOWS,
    block_at,
    fold_window_rows,
    identity_run,
    move,
    number_at,
    place_of_row,
    pool_block,
    put,
    row_in_window,
    rows_at,
    steps_to,
)
from fastconv.engines.numba_cpu.pooling import fill_run, positions_run, scan_run
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke

__all__ = ["FIELDS", "MAKERS"]

FIELDS = POOL_FIELDS

SCANNED = 16  # elements that a scan takes at once


@part
def pool_unit(a, unit, scratch, dtype, acc, average, prepared):
    begin = unit * a.strip
    end = min(begin + a.strip, a.batch * a.channels * a.out_depth * a.out_height)
    for first in range(0, a.out_width, a.block):
        block = block_at(a, first)
        z, y, plane, out, _, tables = place_of_row(a, begin)
        for row in range(begin, end):
            if y == a.out_height:
                z, y, plane, out, _, tables = place_of_row(a, row)
            of_z, of_y = tables + a.windows_z + z * WINDOW, tables + a.windows_y + y * WINDOW
            to = out + first * a.out_col
            counted = number_at(of_z + COUNTED) * number_at(of_y + COUNTED)
            rows = rows_at(a, z, y, plane, tables)
            pool_block(a, scratch, block, rows, tables + a.windows_x, counted, to, dtype, acc, average, prepared)
            y += 1
            out += a.out_row


# -- maxima with indices -------------------------------------------------------------------


@part
def begin_places(a, places, block, windows, some, pitch, mark):
    # Before any comparison the maximum is at the first tap inside the input; -1 if there is none.
    first, n, left, _, _, _ = block
    size = itemsize(mark)
    fill_run(places, n * pitch, mark(0 if some else -1))
    edge = n if a.stride_x == 0 else min(n, steps_to(left, 0, a.stride_x))
    for i in range(edge if some else 0):
        window = windows + (first + i) * WINDOW
        corner = left + i * a.stride_x if a.stride_x else int64(0)
        place = number_at(window) - corner if number_at(window + TAPS) > 0 else -1
        fill_run(places + i * pitch * size, pitch, mark(place))


@part
def scan(best, places, src, at, scale, taps, offset, step, n, dtype, mark):
    scan_run(best, places, src, at, scale, taps, offset, step, n, dtype, mark)


@part
def scan_run_of_one(best, places, src, taps, offset, dtype, mark):
    top, place = peek(best, dtype), int64(-1)
    for t in range(taps):
        value = peek(src + t * itemsize(dtype), dtype)
        if value > top or value != value:
            top, place = value, t
    if place >= 0:
        poke(best, top)
        poke(places, mark(offset + place))


@part
def scan_pixels(a, best, places, folded, origin, block, windows, at, scale, offset, pitch, dtype, mark):
    # One row of each pixel's window; `folded` is where column 0 of the row would be.
    first, n, left, _, _, _ = block
    size = itemsize(dtype)
    for i in range(n):
        window = windows + (first + i) * WINDOW
        column, taps = number_at(window), number_at(window + TAPS)
        place = offset + column - (left + i * a.stride_x if a.stride_x else 0)
        src = folded + (column - origin) * (a.x_col if a.staging == WINDOWS else size * a.lanes)
        to, where = best + i * pitch * size, places + i * pitch * itemsize(mark)
        if a.lanes == 1:
            scan_run_of_one(to, where, src, taps, place, dtype, mark)
        else:
            scan(to, where, src, at, scale, taps, place, a.dilation_x, a.lanes, dtype, mark)


@part
def scan_row(a, scratch, block, rows, windows, t, pitch, dtype, mark, prepared):
    # One row of the windows of a block.
    best, places, size = scratch + a.result, scratch + a.places, itemsize(dtype)
    z, y = t // rows[2], t % rows[2]
    offset, src = (z * a.dilation_z * a.height + y * a.dilation_y) * a.width, row_in_window(a, rows, z, y)
    if a.staging == WINDOWS:
        scan_pixels(a, best, places, src, 0, block, windows, a.window_of, 1, offset, pitch, dtype, mark)
    elif a.stride_x == 0 and a.staging == FLAT and a.lanes == 1:
        scan_pixels(a, best, places, src, 0, block, windows, a.col_of, size, offset, pitch, dtype, mark)
    else:
        columns = fold_window_rows(a, scratch, block, rows, z, 1, y, 1, dtype, dtype, None, prepared)
        if a.stride_x == 0:
            scan_pixels(a, best, places, columns, block[2], block, windows, a.col_of, size, offset, pitch, dtype, mark)
        else:
            place = offset + block[3] * a.dilation_x
            scan(best, places, columns, a.col_of, size, block[4], place, a.dilation_x, block[1] * a.lanes, dtype, mark)


@part
def pool_unit_indices(a, unit, scratch, dtype, mark, prepared):
    best, places = scratch + a.result, scratch + a.places
    begin = unit * a.strip
    end = min(begin + a.strip, a.batch * a.channels * a.out_depth * a.out_height)
    pitch = a.lanes
    if a.stride_x == 0 and a.lanes > 1:  # a scan makes whole vectors
        pitch = (a.lanes + SCANNED - 1) // SCANNED * SCANNED
    for first in range(0, a.out_width, a.block):
        block = block_at(a, first)
        n = block[1]
        z, y, plane, out, idx, tables = place_of_row(a, begin)
        for row in range(begin, end):
            if y == a.out_height:
                z, y, plane, out, idx, tables = place_of_row(a, row)
            rows, windows = rows_at(a, z, y, plane, tables), tables + a.windows_x
            identity_run(best, n * pitch, dtype, None)
            begin_places(a, places, block, windows, rows[1] > 0, pitch, mark)
            for t in range(rows[1] * rows[2]):
                scan_row(a, scratch, block, rows, windows, t, pitch, dtype, mark, prepared)
            of_z, of_y = tables + a.windows_z + z * WINDOW, tables + a.windows_y + y * WINDOW
            corner = (number_at(of_z) * a.height + number_at(of_y)) * a.width + (block[2] if a.stride_x else 0)
            put(a, out + first * a.out_col, best, pitch, n, dtype, prepared)
            store_positions(a, idx + first * a.idx_col, scratch, corner, n, pitch, mark)
            y += 1
            out += a.out_row
            idx += a.idx_row


@part
def store_positions(a, idx, scratch, corner, n, pitch, mark):
    places, positions = scratch + a.places, idx if a.store_direct else scratch + a.stored
    if a.lanes == 1:
        positions_run(positions, places, n, corner, a.stride_x, mark)
    else:
        for i in range(n):
            at, to = places + i * pitch * itemsize(mark), positions + i * a.lanes * 8
            positions_run(to, at, a.lanes, corner + i * a.stride_x, int64(0), mark)
    if not a.store_direct:
        move(idx, a.idx_col, a.idx_lane, positions, 8 * a.lanes, 8, n, a.lanes, int64)


# -- kernels -------------------------------------------------------------------------------


def _element(dtype: str) -> types.Number:
    return types.uint8 if dtype == "bool" else getattr(types, dtype)


def _prepared(kind: types.Number) -> bool | None:
    return True if isinstance(kind, types.Float) else None


def max_pool(dtype: str, variant: str = "") -> Callable:
    """The kernel of maxima of elements of `dtype`."""
    kind = _element(dtype)
    prepared = _prepared(kind)

    def kernel(a, unit, worker):
        pool_unit(a, unit, a.scratch + worker * a.scratch_bytes, kind, kind, None, prepared)

    return kernel


def max_pool_indices(dtype: str, variant: str = "") -> Callable:
    """The kernel of maxima and their positions."""
    kind = _element(dtype)
    mark = types.int32 if kind.bitwidth <= 32 else types.int64
    prepared = _prepared(kind)

    def kernel(a, unit, worker):
        pool_unit_indices(a, unit, a.scratch + worker * a.scratch_bytes, kind, mark, prepared)

    return kernel


def avg_pool(dtype: str, variant: str = "") -> Callable:
    """The kernel of averages; the variant tells the bits in which integers are summed."""
    kind = _element(dtype)
    sign = "int" if kind in types.signed_domain or variant != "64" else "uint"
    acc = getattr(types, sign + variant) if variant else kind
    prepared = _prepared(kind)

    def kernel(a, unit, worker):
        pool_unit(a, unit, a.scratch + worker * a.scratch_bytes, kind, acc, True, prepared)

    return kernel


MAKERS = {"max_pool": max_pool, "max_pool_indices": max_pool_indices, "avg_pool": avg_pool}
