"""Filters of float32 planes by Fourier transforms of overlapping blocks, each in one kernel from load to store.

A block of threads transforms ``n`` by ``n`` points that stay in shared memory: two neighbouring tiles of the image, one as the
real part and one as the imaginary part (weights are real, so their results stay apart); multiplies them by the weights'
spectrum; and transforms back.  The first ``n - K + 1`` rows and columns of the cyclic correlation are outputs (overlap-save).
So each tile is read once, and only outputs are written.

A transform of ``n = r1 r2`` points along an axis is two passes of small transforms in registers: of `r1` points that lie `r2`
apart, and, multiplied by powers of the root of unity, of `r2` neighbours.  Each works in place, so frequencies do not lie in
order; the product takes them where they lie, and the passes back are the adjoint ones, last to first.  Threads of a warp have
neighbouring lines, and a row of n + 1 points keeps them apart in the banks of shared memory along both axes.

Weights that leave too few outputs of a block are cut into parts, whose products are summed before the passes back.

NaN, infinity, and what overflows spread over all of a block, whose outputs are then summed directly.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from math import pi

import numpy as np
from numba import complex64, cuda

from fastconv.engines.numba_cuda.elements import inlined, mapped

__all__ = ["RADICES", "FourierGeometry", "butterflies", "fourier_kernel", "spectrum_kernel"]

# The two factors of the points along an axis.
RADICES = {16: (4, 4), 32: (8, 4), 64: (16, 4), 128: (16, 8)}

# Sizes and strides in elements.  The weights are cut into `parts` of `part_y` by `part_x`, `parts_x` of them side by side;
# a tile has `step_y` by `step_x` outputs.
FourierGeometry = namedtuple(
    "FourierGeometry",
    "height width out_height out_width kernel_y kernel_x parts parts_x part_y part_x step_y step_x pad_y pad_x rule_y rule_x "
    "x_n x_y x_x w_y w_x out_n out_y out_x",
)

_LARGEST = np.float32(np.finfo(np.float32).max)


def spectrum_kernel(n: int, points: int) -> Callable:
    """The kernel that transforms the weights: for each part a block of threads, with so many points each.

    Its arguments are pointers to weights and spectra, a number, and a `FourierGeometry`.  Behind the spectra it writes 1 if
    the sum of the weights' magnitudes is at least that number times their norm, else 0.
    """
    threads, scale = n * n // points, np.float32(1 / n**2)
    first, runs = RADICES[n]
    down, end = _transform(n, False, False), _transform(n, True, False)
    columns, rows = _pass(n, points, False, True, False), _pass(n, points, True, False, False)
    in_column, in_row = _index(n, False), _index(n, True)

    @inlined
    def is_even(w, block, least, g, thread):
        total, squares = np.float32(0), np.float32(0)
        for i in range(thread, g.kernel_y * g.kernel_x, threads):
            weight = abs(w[i // g.kernel_x * g.w_y + i % g.kernel_x * g.w_x])
            total += weight
            squares += weight * weight
        block[thread] = np.complex64(complex(total, squares))
        cuda.syncthreads()
        total, squares = np.float32(0), np.float32(0)
        for i in range(threads if thread == 0 else 0):
            total += block[i].real
            squares += block[i].imag
        cuda.syncthreads()
        return total <= _LARGEST and total * total >= np.float32(least) * np.float32(least) * squares

    def spectrum(w, spectra, least, g):
        block, v = cuda.shared.array(0, complex64), cuda.local.array(first, complex64)
        thread, part = cuda.threadIdx.x, cuda.blockIdx.x
        if part == 0:
            even = is_even(w, block, least, g, thread)
            if thread == 0:
                spectra[g.parts * n * n] = np.complex64(1 if even else 0)
        top, left = part // g.parts_x * g.part_y, part % g.parts_x * g.part_x
        height, width = min(g.part_y, g.kernel_y - top), min(g.part_x, g.kernel_x - left)
        for task in range(points // first):
            line, place = (thread + task * threads) % n, (thread + task * threads) // n
            for i in range(first):
                row, weight = i * runs + place, np.float32(0)
                if row < height and line < width:
                    weight = w[(top + row) * g.w_y + (left + line) * g.w_x]
                v[i] = np.complex64(weight)
            down(v, place)
            for i in range(first):
                block[in_column(line, i * runs + place)] = v[i]
        cuda.syncthreads()
        columns(block, thread)
        cuda.syncthreads()
        rows(block, thread)
        cuda.syncthreads()
        for task in range(points // runs):
            line, place = (thread + task * threads) % n, (thread + task * threads) // n
            for i in range(runs):
                v[i] = block[in_row(line, place * runs + i)]
            end(v, place)
            for i in range(runs):
                value = v[i]
                correlating = np.complex64(complex(value.real * scale, -value.imag * scale))
                spectra[((part * n + place * runs) + i) * n + line] = correlating

    return spectrum


def fourier_kernel(n: int, points: int, parts: bool) -> Callable:
    """The kernel that filters a plane, with `parts` for weights in more than one part.

    Its arguments are pointers to input, weights, output and spectra, the fill value and a `FourierGeometry`.
    """
    threads = n * n // points
    first, runs = RADICES[n]
    down, end, up = _transform(n, False, False), _transform(n, True, False), _transform(n, False, True)
    begin_back = _transform(n, True, True)
    columns, rows = _pass(n, points, False, True, False), _pass(n, points, True, False, False)
    rows_back, columns_back = _pass(n, points, True, False, True), _pass(n, points, False, True, True)
    in_column, in_row = _index(n, False), _index(n, True)

    @inlined
    def pixel(x, at, iy, ix, beyond, g):
        iy, ix, value = mapped(iy, g.height, g.rule_y), mapped(ix, g.width, g.rule_x), beyond
        if iy >= 0 and ix >= 0:
            value = x[at + iy * g.x_y + ix * g.x_x]
        return value

    @inlined
    def stage(x, block, at, top, left, beyond, g, thread):
        for i in range(thread, n * n, threads):
            row, line = i // n, i % n
            one = pixel(x, at, top + row, left + line, beyond, g)
            other = pixel(x, at, top + row, left + g.step_x + line, beyond, g)
            block[in_column(line, row)] = np.complex64(complex(one, other))
        cuda.syncthreads()

    @inlined
    def load(x, block, at, top, left, beyond, g, thread):
        inside = top >= 0 and left >= 0 and top + n <= g.height and left + g.step_x + n <= g.width
        if not inside:  # by way of shared memory: code for the border beside the transform's spills what it holds
            stage(x, block, at, top, left, beyond, g, thread)
        v = cuda.local.array(first, complex64)
        for task in range(points // first):
            line, place = (thread + task * threads) % n, (thread + task * threads) // n
            here = at + (top + place) * g.x_y + (left + line) * g.x_x
            for i in range(first):
                if inside:
                    row = here + i * runs * g.x_y
                    v[i] = np.complex64(complex(x[row], x[row + g.step_x * g.x_x]))
                else:
                    v[i] = block[in_column(line, i * runs + place)]
            down(v, place)
            for i in range(first):
                block[in_column(line, i * runs + place)] = v[i]

    @inlined
    def product(block, sums, spectra, part, last, thread):
        v = cuda.local.array(runs, complex64)
        for task in range(points // runs):
            line, place = (thread + task * threads) % n, (thread + task * threads) // n
            for i in range(runs):
                v[i] = block[in_row(line, place * runs + i)]
            end(v, place)
            for i in range(runs):
                v[i] *= spectra[((part * n + place * runs) + i) * n + line]
                if parts:
                    sums[task * runs + i] += v[i]
                    v[i] = sums[task * runs + i]
            if last:
                begin_back(v, place)
                for i in range(runs):
                    block[in_row(line, place * runs + i)] = v[i]

    @inlined
    def finish(block, thread):
        fine, v = True, cuda.local.array(first, complex64)
        for task in range(points // first):
            line, place = (thread + task * threads) % n, (thread + task * threads) // n
            for i in range(first):
                v[i] = block[in_column(line, i * runs + place)]
            up(v, place)
            for i in range(first):
                block[in_column(line, i * runs + place)] = v[i]
                fine = fine and abs(v[i].real) <= _LARGEST and abs(v[i].imag) <= _LARGEST
        return fine

    @inlined
    def store(block, out, at, top, left, g, thread):
        height, columns = min(g.step_y, g.out_height - top), g.out_width - left
        for i in range(thread, height * n, threads):
            row, line = i // n, i % n
            value, here = block[in_column(line, row)], at + (top + row) * g.out_y + (left + line) * g.out_x
            if line < g.step_x and line < columns:
                out[here] = value.real
            if line < g.step_x and line + g.step_x < columns:
                out[here + g.step_x * g.out_x] = value.imag

    @inlined
    def sum_directly(x, w, out, at_x, at, top, left, beyond, g, thread):
        for i in range(thread, 2 * g.step_y * g.step_x, threads):
            row, column = top + i // (2 * g.step_x), left + i % (2 * g.step_x)
            if row < g.out_height and column < g.out_width:
                total = np.float32(0)
                for ky in range(g.kernel_y):
                    for kx in range(g.kernel_x):
                        value = pixel(x, at_x, row + ky - g.pad_y, column + kx - g.pad_x, beyond, g)
                        total += value * w[ky * g.w_y + kx * g.w_x]
                out[at + row * g.out_y + column * g.out_x] = total

    def fourier(x, w, out, spectra, fill, g):
        block, sums = cuda.shared.array(0, complex64), cuda.local.array(points if parts else 1, complex64)
        thread, beyond = cuda.threadIdx.x, np.float32(fill)
        top, left = cuda.blockIdx.y * g.step_y, cuda.blockIdx.x * 2 * g.step_x
        at_x, at = cuda.blockIdx.z * g.x_n, cuda.blockIdx.z * g.out_n
        fine = spectra[g.parts * n * n].real > 0
        if fine:
            for i in range(points if parts else 0):
                sums[i] = np.complex64(0)
            for part in range(g.parts if parts else 1):
                y, column = part // g.parts_x * g.part_y - g.pad_y, part % g.parts_x * g.part_x - g.pad_x
                load(x, block, at_x, top + y, left + column, beyond, g, thread)
                cuda.syncthreads()
                columns(block, thread)
                cuda.syncthreads()
                rows(block, thread)
                cuda.syncthreads()
                product(block, sums, spectra, part, not parts or part == g.parts - 1, thread)
                cuda.syncthreads()
            rows_back(block, thread)
            cuda.syncthreads()
            columns_back(block, thread)
            cuda.syncthreads()
            fine = finish(block, thread)
        if cuda.syncthreads_and(np.int32(fine)):
            store(block, out, at, top, left, g, thread)
        else:
            sum_directly(x, w, out, at_x, at, top, left, beyond, g, thread)

    return fourier


def _index(n: int, along_rows: bool) -> Callable:
    """A device function: where in shared memory point `k` of a line is."""

    @inlined
    def index(line, k):
        return line * (n + 1) + k if along_rows else k * (n + 1) + line

    return index


def _pass(n: int, points: int, along_rows: bool, second: bool, back: bool) -> Callable:
    """A device function for a pass of a block: the transforms of `_transform`, each in place."""
    threads, (first, runs), transform, index = (
        n * n // points,
        RADICES[n],
        _transform(n, second, back),
        _index(n, along_rows),
    )
    radix, apart = (runs, 1) if second else (first, runs)

    @inlined
    def one_pass(block, thread):
        v = cuda.local.array(radix, complex64)
        for task in range(points // radix):
            line, place = (thread + task * threads) % n, (thread + task * threads) // n
            start = place * runs if second else place
            for i in range(radix):
                v[i] = block[index(line, start + i * apart)]
            transform(v, place)
            for i in range(radix):
                block[index(line, start + i * apart)] = v[i]

    return one_pass


def _transform(n: int, second: bool, back: bool) -> Callable:
    """A device function for a thread's part of a pass along an axis: the points of a local array, in place.

    Of the first pass, `place` tells which of the interleaved parts of the line they are; of the second, which run.
    """
    first, runs = RADICES[n]
    radix = runs if second else first
    table = np.exp(-2j * pi * np.arange(n) / n).astype(np.complex64)
    small = butterflies(radix, back)

    @inlined
    def turn_between(v, place):
        for i in range(1, radix):
            root = cuda.const.array_like(table)[place * (i // 4 + radix // 4 * (i % 4))]
            v[i] *= np.complex64(complex(root.real, -root.imag)) if back else root

    @inlined
    def forward(v, place):
        small(v)
        if not second:
            turn_between(v, place)

    @inlined
    def backward(v, place):
        if not second:
            turn_between(v, place)
        small(v)

    return backward if back else forward


def butterflies(radix: int, back: bool) -> Callable:
    """A device function for the transform of 4, 8 or 16 points in a local array, in place.

    Forwards, the frequency of point `i` is ``i // 4 + radix // 4 * (i % 4)``; the way back starts from that order.
    """
    outer, table = radix // 4, np.exp(-2j * pi * np.arange(radix) / radix).astype(np.complex64)

    @inlined
    def turned(z):  # times -i, or i on the way back
        return np.complex64(complex(-z.imag, z.real)) if back else np.complex64(complex(z.imag, -z.real))

    @inlined
    def four(v, at, step):
        a, b, c, d = v[at], v[at + step], v[at + 2 * step], v[at + 3 * step]
        e, f, g, h = a + c, a - c, b + d, turned(b - d)
        v[at], v[at + step], v[at + 2 * step], v[at + 3 * step] = e + g, f + h, e - g, f - h

    @inlined
    def fours_apart(v):
        for j in range(4):
            if outer == 4:
                four(v, j, 4)
            elif outer == 2:
                v[j], v[j + 4] = v[j] + v[j + 4], v[j] - v[j + 4]

    @inlined
    def turn_within(v):
        for i in range(5, radix):
            root = cuda.const.array_like(table)[i % 4 * (i // 4)]
            v[i] *= np.complex64(complex(root.real, -root.imag)) if back else root

    @inlined
    def forward(v):
        fours_apart(v)
        turn_within(v)
        for j in range(0, radix, 4):
            four(v, j, 1)

    @inlined
    def backward(v):
        for j in range(0, radix, 4):
            four(v, j, 1)
        turn_within(v)
        fours_apart(v)

    return backward if back else forward
