"""Filters of float32 planes by Fourier transforms of overlapping tiles, in three passes through the device's memory.

For kernels too large for blocks of shared memory (`fourier`).  Two neighbouring tiles of ``n`` by ``n`` points are one complex
image.  **rows** transforms its rows from where the image lies; **columns** its columns, multiplies them by the weights' spectrum
and transforms them back; **rows_back** transforms the rows back and stores what are outputs.  In between, tiles lie in
scratch memory, a group of them small enough for the second cache.  Weights are a tile of their own, whose columns are kept.

A line of ``n = outer first last`` points is three passes of small transforms in registers with two exchanges between threads
through shared memory; each works in place, so frequencies do not lie in order, forwards and back alike.  Powers of roots of
unity are made of those of powers of two, which **prepare** has written.

NaN, infinity, and what overflows spread over rows of a tile, whose outputs are then summed directly.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from math import cos, pi, sin

import numpy as np
from numba import complex64, cuda

from fastconv.engines.numba_cuda.elements import inlined, mapped
from fastconv.engines.numba_cuda.fourier import butterflies

__all__ = [
    "COLUMNS",
    "RADICES",
    "ROWS",
    "PassGeometry",
    "columns_kernel",
    "prepare_kernel",
    "rows_back_kernel",
    "rows_kernel",
    "shared_of",
]

# The three factors of the points along an axis; a thread has as many points as the first.
RADICES = {64: (4, 4, 4), 512: (16, 8, 4), 1024: (16, 16, 4)}
# Lines of a block: rows, and neighbouring columns.
ROWS, COLUMNS = 4, 8
THREADS = 256  # of `prepare`

# Sizes and strides in elements; tiles are counted from `first_tile` on.
PassGeometry = namedtuple(
    "PassGeometry",
    "height width out_height out_width kernel_y kernel_x step_y step_x pad_y pad_x rule_y rule_x "
    "x_n x_y x_x w_y w_x out_n out_y out_x tiles_x tiles_y first_tile",
)

_LARGEST = np.float32(np.finfo(np.float32).max)


def shared_of(n: int, lines: int) -> int:
    """Bytes of shared memory of a block with so many lines."""
    return 8 * lines * (n + n // 4 + n // 16)


def prepare_kernel(n: int) -> Callable:
    """The kernel, of one block, that writes roots of unity, and behind them whether transforms will do.

    Its arguments are pointers to weights and roots, a number and a `PassGeometry`: transforms will do if the sum of the
    weights' magnitudes is at least that number times their norm.
    """

    def prepare(w, roots, least, g):
        sums, thread = cuda.shared.array(THREADS, complex64), cuda.threadIdx.x
        total, squares = np.float32(0), np.float32(0)
        for i in range(thread, g.kernel_y * g.kernel_x, THREADS):
            weight = abs(w[i // g.kernel_x * g.w_y + i % g.kernel_x * g.w_x])
            total += weight
            squares += weight * weight
        sums[thread] = np.complex64(complex(total, squares))
        for i in range(thread, n, THREADS):
            angle = -2 * pi * i / n
            roots[i] = np.complex64(complex(cos(angle), sin(angle)))
        cuda.syncthreads()
        if thread == 0:
            total, squares = np.float32(0), np.float32(0)
            for i in range(THREADS):
                total += sums[i].real
                squares += sums[i].imag
            even = total <= _LARGEST and total * total >= np.float32(least) * np.float32(least) * squares
            roots[n] = np.complex64(1 if even else 0)

    return prepare


def rows_kernel(n: int) -> Callable:
    """The kernel that transforms rows of tiles: pointers to image, scratch memory and roots, a fill value, a geometry."""
    outer, _, last = RADICES[n]
    threads, index = n // outer, _index(n, 1)
    small, turn, middle, end = (
        butterflies(outer, False),
        _turning(outer, False),
        _middle(n, 1, False),
        butterflies(last, False),
    )

    @inlined
    def pixel(x, here, inside, column, beyond, g):
        value, ix = beyond, mapped(column, g.width, g.rule_x)
        if inside and ix >= 0:
            value = x[here + ix * g.x_x]
        return value

    def rows(x, scratch, roots, fill, g):
        block, v, w = (
            cuda.shared.array(0, complex64),
            cuda.local.array(outer, complex64),
            cuda.local.array(last, complex64),
        )
        beyond, place, line = np.float32(fill), cuda.threadIdx.x, cuda.threadIdx.y
        row = cuda.blockIdx.x * ROWS + line
        plane, top, left = _corner(g, cuda.blockIdx.y)
        iy, left = mapped(top + row - g.pad_y, g.height, g.rule_y), left - g.pad_x + place
        here = plane * g.x_n + iy * g.x_y
        if iy >= 0 and left >= place and left + g.step_x + n <= g.width:
            near = here + left * g.x_x
            for i in range(outer):
                at = near + i * threads * g.x_x
                v[i] = np.complex64(complex(x[at], x[at + g.step_x * g.x_x]))
        else:  # by way of shared memory: registers have no place for what this takes
            for i in range(outer):
                column = left + i * threads
                one = pixel(x, here, iy >= 0, column, beyond, g)
                other = pixel(x, here, iy >= 0, column + g.step_x, beyond, g)
                block[index(line, i * threads + place)] = np.complex64(complex(one, other))
            for i in range(outer):
                v[i] = block[index(line, i * threads + place)]
        small(v)
        turn(v, roots, place, 1)
        for i in range(outer):
            block[index(line, i * threads + place)] = v[i]
        cuda.syncthreads()
        middle(block, roots, line, place)
        cuda.syncthreads()
        target = (np.int64(cuda.blockIdx.y) * n + row) * n
        for task in range(outer // last):
            run = place + task * threads
            for i in range(last):
                w[i] = block[index(line, run * last + i)]
            end(w)
            for i in range(last):
                scratch[target + i * (n // last) + run] = w[i]

    return rows


def columns_kernel(n: int, spectrum: bool) -> Callable:
    """The kernel that transforms columns, and of tiles of the image multiplies them and transforms them back.

    Its arguments are pointers to scratch memory, spectrum and roots, and a geometry.  It makes the `spectrum` of the weights
    from their tile.
    """
    outer, _, last = RADICES[n]
    threads, index, scale = n // outer, _index(n, COLUMNS), np.float32(1 / n**2)
    small, turn, middle, end = (
        butterflies(outer, False), _turning(outer, False), _middle(n, COLUMNS, False), butterflies(last, False)
    )  # fmt: skip
    begin_back, middle_back = butterflies(last, True), _middle(n, COLUMNS, True)
    turn_back, small_back = _turning(outer, True), butterflies(outer, True)

    def columns(scratch, spectra, roots, g):
        block, v, w = (
            cuda.shared.array(0, complex64),
            cuda.local.array(outer, complex64),
            cuda.local.array(last, complex64),
        )
        line, place = cuda.threadIdx.x, cuda.threadIdx.y
        column = cuda.blockIdx.x * COLUMNS + line
        here = (np.int64(cuda.blockIdx.y) * n + place) * n + column
        for i in range(outer):
            v[i] = scratch[here + i * (threads * n)]
        small(v)
        turn(v, roots, place, 1)
        for i in range(outer):
            block[index(line, i * threads + place)] = v[i]
        cuda.syncthreads()
        middle(block, roots, line, place)
        cuda.syncthreads()
        for task in range(outer // last):
            run = place + task * threads
            for i in range(last):
                w[i] = block[index(line, run * last + i)]
            end(w)
            for i in range(last):
                at = (i * (n // last) + run) * n + column
                if spectrum:
                    spectra[at] = np.complex64(complex(w[i].real * scale, -w[i].imag * scale))
                else:
                    w[i] *= spectra[at]
            if not spectrum:
                begin_back(w)
                for i in range(last):
                    block[index(line, run * last + i)] = w[i]
        if not spectrum:
            cuda.syncthreads()
            middle_back(block, roots, line, place)
            cuda.syncthreads()
            for i in range(outer):
                v[i] = block[index(line, i * threads + place)]
            turn_back(v, roots, place, 1)
            small_back(v)
            for i in range(outer):
                scratch[here + i * (threads * n)] = v[i]

    return columns


def rows_back_kernel(n: int) -> Callable:
    """The kernel that transforms rows back.

    Its arguments are pointers to input, weights, output, scratch memory and roots, a fill value and a geometry.
    """
    outer, _, last = RADICES[n]
    threads, index = n // outer, _index(n, 1)
    begin, middle, turn, small = (
        butterflies(last, True),
        _middle(n, 1, True),
        _turning(outer, True),
        butterflies(outer, True),
    )

    @inlined
    def sum_directly(x, w, out, plane, top, left, beyond, g):
        for i in range(cuda.threadIdx.y * threads + cuda.threadIdx.x, ROWS * 2 * g.step_x, ROWS * threads):
            row, column = top + i // (2 * g.step_x), left + i % (2 * g.step_x)
            if row < g.out_height and column < g.out_width:
                total = np.float32(0)
                for ky in range(g.kernel_y):
                    iy = mapped(row + ky - g.pad_y, g.height, g.rule_y)
                    for kx in range(g.kernel_x):
                        ix, value = mapped(column + kx - g.pad_x, g.width, g.rule_x), beyond
                        if iy >= 0 and ix >= 0:
                            value = x[plane * g.x_n + iy * g.x_y + ix * g.x_x]
                        total += value * w[ky * g.w_y + kx * g.w_x]
                out[plane * g.out_n + row * g.out_y + column * g.out_x] = total

    def rows_back(x, weights, out, scratch, roots, fill, g):
        block, v, w = (
            cuda.shared.array(0, complex64),
            cuda.local.array(outer, complex64),
            cuda.local.array(last, complex64),
        )
        place, line = cuda.threadIdx.x, cuda.threadIdx.y
        first_row = cuda.blockIdx.x * ROWS
        plane, top, left = _corner(g, cuda.blockIdx.y)
        source = (np.int64(cuda.blockIdx.y) * n + first_row + line) * n
        for task in range(outer // last):
            run = place + task * threads
            for i in range(last):
                w[i] = scratch[source + i * (n // last) + run]
            begin(w)
            for i in range(last):
                block[index(line, run * last + i)] = w[i]
        cuda.syncthreads()
        middle(block, roots, line, place)
        cuda.syncthreads()
        for i in range(outer):
            v[i] = block[index(line, i * threads + place)]
        turn(v, roots, place, 1)
        small(v)
        fine, row = roots[n].real > 0, top + first_row + line
        for i in range(outer):
            fine = fine and abs(v[i].real) <= _LARGEST and abs(v[i].imag) <= _LARGEST
        if cuda.syncthreads_and(np.int32(fine)):
            here, across = plane * g.out_n + row * g.out_y, np.int64(place)
            if first_row + line < g.step_y and row < g.out_height:
                for i in range(outer):
                    column = across + i * threads
                    if column < g.step_x and left + column < g.out_width:
                        out[here + (left + column) * g.out_x] = v[i].real
                    if column < g.step_x and left + column + g.step_x < g.out_width:
                        out[here + (left + column + g.step_x) * g.out_x] = v[i].imag
        else:
            sum_directly(x, weights, out, plane, top + first_row, left, np.float32(fill), g)

    return rows_back


@inlined
def _corner(g, number):
    """The plane of a tile, and its first row and column there."""
    tile = np.int32(number) + np.int32(g.first_tile)
    across, down = np.int32(g.tiles_x), np.int32(g.tiles_y)
    rest = tile // across
    plane = rest // down
    return np.int64(plane), np.int64(rest - plane * down) * g.step_y, np.int64(tile - rest * across) * 2 * g.step_x


def _index(n: int, lines: int) -> Callable:
    """A device function: where in shared memory point `k` of a line is, apart from others in its banks."""
    pitch = n + n // 4 + n // 16

    @inlined
    def of_row(line, k):
        return line * pitch + k + (k >> 2) + (k >> 6) * 4

    @inlined
    def of_column(line, k):
        return (k + (k >> 2)) * lines + line

    return of_row if lines == 1 else of_column


def _middle(n: int, lines: int, back: bool) -> Callable:
    """A device function for the second of the three passes of a line, each transform in place."""
    outer, radix, last = RADICES[n]
    threads, index = n // outer, _index(n, lines)
    small, turn = butterflies(radix, back), _turning(radix, back)

    @inlined
    def middle(block, roots, line, place):
        v = cuda.local.array(radix, complex64)
        for task in range(outer // radix):
            number = place + task * threads
            within = number % last
            start = number // last * (radix * last) + within
            for i in range(radix):
                v[i] = block[index(line, start + i * last)]
            if back:
                turn(v, roots, within, outer)
                small(v)
            else:
                small(v)
                turn(v, roots, within, outer)
            for i in range(radix):
                block[index(line, start + i * last)] = v[i]

    return middle


def _turning(radix: int, back: bool) -> Callable:
    """A device function that multiplies frequencies by powers of a root of unity, as products of at most three of those read."""
    quarter = radix // 4

    @inlined
    def turn(v, roots, place, unit):
        at = place * unit
        one, two = roots[at], roots[2 * at]
        four, eight = roots[4 * at if radix > 4 else 0], roots[8 * at if radix > 8 else 0]
        three, twelve = one * two, four * eight
        for i in range(1, radix):
            power = i // 4 + quarter * (i % 4)  # the frequency, see `butterflies`
            low, high = power % 4, power // 4
            root = one if low == 1 else two if low == 2 else three
            above = four if high == 1 else eight if high == 2 else twelve
            if low == 0:
                root = above
            elif high > 0:
                root = root * above
            v[i] *= np.complex64(complex(root.real, -root.imag)) if back else root

    return turn
