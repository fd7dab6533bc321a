"""Elements moved to and from positions in planes: unpooling, and gradients of maxima.

A unit is some channels of an image, so that no two units write to the same place.  16-bit floats are added in a plane of
floats in scratch memory.  The number at `bias` tells whether there was a position outside a plane.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import int64, types

from fastconv.engines.contract import UNPOOL_FIELDS, UNPOOL_KINDS
from fastconv.engines.numba_cpu.convert import load_run, store_run
from fastconv.engines.numba_cpu.jit import part
from fastconv.engines.numba_cpu.pooling import fill_run
from fastconv.engines.numba_cpu.simd import itemsize, peek, poke

__all__ = ["FIELDS", "MAKERS"]

FIELDS = UNPOOL_FIELDS

PLACE, ADD, TAKE = (UNPOOL_KINDS[kind] for kind in ("place", "add", "take"))


@part
def clear(dst, step, n, dtype):
    if step == itemsize(dtype):
        fill_run(dst, n, dtype(0))
    else:
        for i in range(n):
            poke(dst + i * step, dtype(0))


@part
def clear_planes(a, plane, lanes, dtype):
    # Zeros in some channels of an image.
    size = itemsize(dtype)
    rows = (lanes == 1 and a.plane_col == size) or (a.plane_c == size and a.plane_col == lanes * size)
    for z in range(a.plane_depth):
        for y in range(a.plane_height):
            row = plane + z * a.plane_z + y * a.plane_row
            if rows:
                fill_run(row, a.plane_width * lanes, dtype(0))
                continue
            for x in range(a.plane_width):
                clear(row + x * a.plane_col, a.plane_c, lanes, dtype)


@part
def report(a, at):
    if (at != -1 or a.kind != ADD) and a.bias != 0:
        poke(a.bias, int64(1))


@part
def move_run(a, plane, lane, x, x_step, idx, idx_step, n, dtype):
    # n elements with the positions at idx + i * idx_step; those outside the plane take no part.
    count = a.plane_depth * a.plane_height * a.plane_width
    for i in range(n):
        at = peek(idx + i * idx_step, int64)
        if at < 0 or at >= count:
            report(a, at)
            at = int64(-1)
        to = at * a.plane_col
        if a.flat == 0:
            y = at // a.plane_width
            z = y // a.plane_height
            to = (at - y * a.plane_width) * a.plane_col + (y - z * a.plane_height) * a.plane_row + z * a.plane_z
        place, of = plane + i * lane + to, x + i * x_step
        if a.kind == TAKE:
            poke(of, dtype(0) if at < 0 else peek(place, dtype))
        elif at >= 0 and a.kind == PLACE:
            poke(place, peek(of, dtype))
        elif at >= 0:
            poke(place, dtype(peek(place, dtype) + peek(of, dtype)))


@part
def move_all(a, plane, x, idx, lanes, dtype):
    # All elements of some channels: along rows, or along channels that are next to each other.
    for z in range(a.depth):
        for y in range(a.height):
            at_x, at_idx = x + z * a.x_z + y * a.x_row, idx + z * a.idx_z + y * a.idx_row
            if lanes == 1:
                move_run(a, plane, 0, at_x, a.x_col, at_idx, a.idx_col, a.width, dtype)
            for i in range(0 if lanes == 1 else a.width):
                move_run(a, plane, a.plane_c, at_x + i * a.x_col, a.x_c, at_idx + i * a.idx_col, a.idx_c, lanes, dtype)


@part
def add_staged(a, scratch, plane, x, idx):
    # A channel of 16-bit floats, added as float32, some positions at a time.
    kind = types.float32
    element, most = scratch + a.scratch_bytes - 8, (a.scratch_bytes - 8) // 4
    count = a.plane_depth * a.plane_height * a.plane_width
    for first in range(0, count, most):
        n = min(most, count - first)
        fill_run(scratch, n, kind(0))
        for z in range(a.depth):
            for y in range(a.height):
                for i in range(a.width):
                    at = peek(idx + z * a.idx_z + y * a.idx_row + i * a.idx_col, int64)
                    if at < 0 or at >= count:
                        report(a, at)
                    elif first <= at < first + n:
                        load_run(element, x + z * a.x_z + y * a.x_row + i * a.x_col, 2, 1, a.dtype, kind)
                        to = scratch + 4 * (at - first)
                        poke(to, peek(to, kind) + peek(element, kind))
        put_staged(a, scratch, plane, first, n)


@part
def put_staged(a, scratch, plane, first, n):
    # The way back, a row or the rest of one at a time.
    at = first
    while at < first + n:
        row = at // a.plane_width
        column = at - row * a.plane_width
        z, run = row // a.plane_height, min(a.plane_width - column, first + n - at)
        to = plane + z * a.plane_z + (row - z * a.plane_height) * a.plane_row + column * a.plane_col
        store_run(to, a.plane_col, scratch + 4 * (at - first), run, a.dtype, types.float32)
        at += run


def unpool(dtype: str, variant: str = "") -> Callable:
    """The kernel for elements of `dtype`; that of float32 is for 16-bit floats, too."""
    kind = types.uint8 if dtype == "bool" else getattr(types, dtype)
    halves = True if dtype == "float32" else None

    def kernel(a, unit, worker):
        chunks = (a.channels + a.chunk - 1) // a.chunk
        n, c = unit // chunks, unit % chunks * a.chunk
        channels = min(a.chunk, a.channels - c)
        lanes = 1 if a.apart else channels
        for channel in range(c, c + channels // lanes):
            plane = a.out + n * a.plane_n + channel * a.plane_c
            x, idx = a.x + n * a.x_n + channel * a.x_c, a.w + n * a.idx_n + channel * a.idx_c
            if halves is not None and a.staged:
                add_staged(a, a.scratch + worker * a.scratch_bytes, plane, x, idx)
            elif halves is not None and a.size == 2:
                if a.kind != TAKE:
                    clear_planes(a, plane, lanes, types.uint16)
                move_all(a, plane, x, idx, lanes, types.uint16)
            else:
                if a.kind != TAKE:
                    clear_planes(a, plane, lanes, kind)
                move_all(a, plane, x, idx, lanes, kind)

    return kernel


MAKERS = {"unpool": unpool}
