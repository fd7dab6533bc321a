"""Elements moved to and from positions of planes, in plain Numba.

Where several elements go to one place they are added, or replace each other, in their order in memory: so results are
those of the CPU engines, and the same from run to run.  A block has planes of its own and goes through their elements
in chunks, one for each thread.  Those that would write to the same place are found by claims in shared memory: of
a chunk's threads with one claim in common the first one writes, and the others claim again.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

import numpy as np
from numba import cuda, types

from fastconv.engines.numba_cuda.elements import in_memory, inlined
from fastconv.engines.numba_cuda.regions import number_of, quotient

__all__ = ["UnpoolGeometry", "scatter_kernel", "take_kernel"]

# `count` elements go to planes of `plane`; `flat`, where rows of all arrays follow each other, so that `count` and `plane`
# are lengths of lines; `reports`, whether positions outside are told of.  `groups` are those of channels that the threads
# of a block share.  Claims grow from round to round, and begin anew at `most`.
UnpoolGeometry = namedtuple(
    "UnpoolGeometry",
    "inner middle outer channels_last channels groups count plane flat reports most height width plane_height plane_width "
    "x_n x_c x_z x_y x_x indices_n indices_c indices_z indices_y indices_x "
    "plane_n plane_c plane_z plane_y plane_x sums_n sums_c sums_z sums_y sums_x",
)

# Claims of a block: positions that are so far apart share one.
CLAIMS = 2048


@inlined
def _offset(at, flat, height, width, z, y, x):
    """Where the element with a flat position in C order lies."""
    if flat:
        return at * x
    row = quotient(at, width)
    plane = quotient(row, height)
    return plane * z + (row - plane * height) * y + (at - row * width) * x


def scatter_kernel(kind: str, dtype: str, threads: int, lanes: int, staged: bool) -> Callable:
    """The kernel that puts elements into planes ("place") or adds them up there ("add").

    Its arguments are pointers to elements, positions, planes, sums and a report, and an `UnpoolGeometry`.  The sums are in
    shared memory (`staged`), else the planes, but of 16-bit floats, which are added as float32.  Neighbours that go to one place
    go there together: overlapping windows have their maximum in common.
    """
    parts, adds, narrow = threads // lanes, kind == "add", dtype == "float16" and kind == "add"
    name = number_of("max", dtype) if adds else in_memory(dtype)
    number, stored, shared = getattr(np, name), getattr(np, in_memory(dtype)), getattr(types, name)
    mask = CLAIMS // lanes - 1

    @inlined
    def read(x, indices, g, n, c, t):
        """The position where an element goes and the element, whatever they are."""
        if c >= g.channels or t >= g.count:
            return np.int64(-2), number(0)
        where = n * g.indices_n + c * g.indices_c
        at = indices[where + _offset(t, g.flat, g.height, g.width, g.indices_z, g.indices_y, g.indices_x)]
        return at, number(x[n * g.x_n + c * g.x_c + _offset(t, g.flat, g.height, g.width, g.x_z, g.x_y, g.x_x)])

    @inlined
    def inside(at, report, g, used):
        if at >= 0 and at < g.plane:
            return at
        if used and g.reports and (at != -1 or not adds):
            report[0] = 1
        return np.int64(-1)

    @inlined
    def together(sums, to, at, goals, elements, part, thread):
        """What is in a place, and the elements of a run of neighbours, one after the other."""
        total = number(sums[to] + elements[thread]) if adds else elements[thread]
        for _ in range(part + 1, parts):
            thread += lanes
            if goals[thread] != at:
                break
            total = number(total + elements[thread]) if adds else elements[thread]
        sums[to] = total

    @inlined
    def clear(claims, thread):
        for i in range(thread, CLAIMS, threads):
            claims[i] = 0

    def scatter(x, indices, planes, sums, report, g):
        claims = cuda.shared.array(CLAIMS, types.int32)
        goals = cuda.shared.array(threads, types.int64)  # a line of its own tells each apart on the simulator
        elements = cuda.shared.array(threads, shared)
        kept = cuda.shared.array(0, shared)
        thread, block = np.int64(cuda.threadIdx.x), np.int64(cuda.blockIdx.x)
        part, n = thread // lanes, quotient(block, g.groups)
        lane = thread - part * lanes
        c = (block - n * g.groups) * lanes + lane
        first = n * g.sums_n + c * g.sums_c
        for i in range(part, g.plane, parts):
            if staged:
                kept[i * lanes + lane] = number(0)
            elif c < g.channels:
                at = _offset(i, g.flat, g.plane_height, g.plane_width, g.sums_z, g.sums_y, g.sums_x)
                sums[first + at] = number(0)
        clear(claims, thread)
        base = 1
        goes, value = read(x, indices, g, n, c, part)
        for start in range(0, g.count, parts):
            at = inside(goes, report, g, c < g.channels and start + part < g.count)
            goals[thread], elements[thread] = at, value
            goes, value = read(x, indices, g, n, c, start + parts + part)  # while this one is added
            cuda.syncthreads()
            if part > 0 and goals[thread - lanes] == at:
                at = np.int64(-1)  # a neighbour takes it along
            slot = (at & mask) * lanes + lane
            while True:
                claim = np.int32(base + parts - 1 - part)
                if at >= 0:
                    cuda.atomic.max(claims, slot, claim)
                cuda.syncthreads()
                if at >= 0 and claims[slot] == claim:
                    if staged:
                        together(kept, at * lanes + lane, at, goals, elements, part, thread)
                    else:
                        to = _offset(at, g.flat, g.plane_height, g.plane_width, g.sums_z, g.sums_y, g.sums_x)
                        together(sums, first + to, at, goals, elements, part, thread)
                    at = np.int64(-1)
                base += parts
                if not cuda.syncthreads_or(np.int32(at >= 0)):
                    break
            if base > g.most:
                clear(claims, thread)
                base = 1
        cuda.syncthreads()
        if (staged or narrow) and c < g.channels:
            for i in range(part, g.plane, parts):
                at = _offset(i, g.flat, g.plane_height, g.plane_width, g.sums_z, g.sums_y, g.sums_x)
                to = _offset(i, g.flat, g.plane_height, g.plane_width, g.plane_z, g.plane_y, g.plane_x)
                total = kept[i * lanes + lane] if staged else sums[first + at]
                planes[n * g.plane_n + c * g.plane_c + to] = stored(total)

    return scatter


def take_kernel(dtype: str) -> Callable:
    """The kernel that takes elements from planes: a thread for each; its arguments are planes, positions, elements, report."""
    stored = getattr(np, in_memory(dtype))

    def take(planes, indices, x, report, g):
        inner, below = cuda.grid(2)
        if inner >= g.inner:
            return
        for outer in range(cuda.blockIdx.z, g.outer, cuda.gridDim.z):
            for middle in range(below, g.middle, cuda.gridDim.y * cuda.blockDim.y):
                if g.channels_last:
                    n, c, t = np.int64(outer), np.int64(inner), np.int64(middle)
                else:
                    n, t = quotient(outer, g.channels), np.int64(inner)
                    c = outer - n * g.channels
                where = n * g.indices_n + c * g.indices_c
                at = indices[where + _offset(t, g.flat, g.height, g.width, g.indices_z, g.indices_y, g.indices_x)]
                to = n * g.x_n + c * g.x_c + _offset(t, g.flat, g.height, g.width, g.x_z, g.x_y, g.x_x)
                if at >= 0 and at < g.plane:
                    from_ = _offset(at, g.flat, g.plane_height, g.plane_width, g.plane_z, g.plane_y, g.plane_x)
                    x[to] = planes[n * g.plane_n + c * g.plane_c + from_]
                else:
                    x[to] = stored(0)
                    if g.reports:
                        report[0] = 1

    return take
