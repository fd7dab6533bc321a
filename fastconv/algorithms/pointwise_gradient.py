"""Gradients of kernels of one tap: a matrix product whose depth is the pixels, read where they lie.

The kernel (`POINTWISE_GRADIENT_FIELDS` of the contract) takes channels that lie side by side, or planes of many pixels; all
else is left to `WeightGradient`, which packs.  Units share channels; large arrays of few channels side by side are divided into
parts of the pixels, too, whatever the threads, whose sums are added afterwards, in order.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv import costs
from fastconv.algorithms import weight_gradient
from fastconv.algorithms.bias_gradient import channel_sums
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import contiguous_strides
from fastconv.algorithms.weight_gradient import UNITS_PER_THREAD, WeightGradient, even
from fastconv.engines.contract import POINTWISE_GRADIENT_FIELDS, record
from fastconv.problem import Problem, WeightGradientProblem
from fastconv.replay import copy_into

__all__ = ["PointwiseGradient", "refuse"]

PARTS_SLOT = POINTWISE_GRADIENT_FIELDS.index("n_parts")

# Bytes of the pixels of a block, and of a unit's sums: both stay in the second cache.
BLOCK_BYTES, SUMS_BYTES = 3 << 17, 1 << 18
# Pixels of a block, at most: of planes, some rows of them stay in the first cache.
BLOCK_PIXELS = 512
PLANE_BYTES = 3200
# Fewer pixels of planes are packed: lanes are added for every block of them.
LEAST_PIXELS, LEAST_RUN = 512, 128
# Lanes are filters where so much of the time is left: their sums are stored one by one.
SWAPPING = 0.85
# Channels side by side of so many bytes are divided into parts, whose sums are added: each line is then read by one thread.  Most
# parts, and elements that are read for each of their sums.  16 to 96 channels, 112x112 pixels, 0.28 ms in one part and 0.18.
PARTED_BYTES, MOST_PARTS, PART_ELEMENTS = 2 << 20, 8, 16
# Rows and columns of a tile of planes, by the rows of a tile of lanes.
DOTS = {14: (4, 6), 6: (3, 4)}


def refuse(problem: Problem) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    why = weight_gradient.refuse(problem)
    if why is not None or not isinstance(problem, WeightGradientProblem):
        return why
    p = problem.conv
    if prod(p.kernel_shape) > 1 or any(p.pad) or p.groups > 1 or p.ndim > 2:
        return "is for kernels of one tap, of all channels, without padding"
    if p.acc not in ("float32", "float64") or {p.in_dtype, p.out_dtype, p.kernel_dtype} != {p.acc}:
        return "reads elements where they lie as float32 or float64"
    return None


class _Operand(NamedTuple):
    """Channels, and byte steps: from image to image, row to row, pixel to pixel, channel to channel."""

    channels: int
    image: int
    row: int
    pixel: int
    channel: int


class _Pixels(NamedTuple):
    """How pixels lie: images, their rows, runs of neighbours, and the operands."""

    images: int
    rows: int
    run: int
    x: _Operand
    g: _Operand


class PointwiseGradient(WeightGradient):
    """Executes a `WeightGradientProblem` of one tap with an engine's kernel."""

    def __init__(self, problem: WeightGradientProblem, engine: Any):
        super().__init__(problem, engine)
        self.in_place = engine.kernel("pointwise_gradient", self.part)
        self.adding_parts = engine.kernel("bias_gradient", self.part)
        self._found: dict[tuple, Bound | None] = {}

    def __call__(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any, threads: int) -> None:
        p = self.problem.conv
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        key = x.strides, w.strides, out.strides, threads
        if key not in self._found:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            self._found[key] = self._where_they_lie(*key)
        bound = self._found[key]
        if bound is None:
            super().__call__(x, w, out, bias, fill, threads)
        elif (parts := int(bound.slots[PARTS_SLOT])) == 1:
            run(self.in_place, bound, x, w, out, None, None, threads)
        else:
            sums = np.empty((parts, self.filters, self.channels), self.part)
            total = out if out.flags.c_contiguous else np.empty(sums.shape[1:], self.part)
            run(self.in_place, bound, x, w, sums, None, None, threads)
            run(self.adding_parts, self._additions(parts), sums, None, total, None, None, threads)
            if total is not out:
                copy_into(out, total.reshape(out.shape))

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        p = self.problem.conv
        x = contiguous_strides((p.batch, p.channels, *p.in_shape), p.acc)
        g = contiguous_strides((p.batch, p.filters, *p.out_shape), p.acc)
        out = contiguous_strides((p.filters, p.channels, *p.kernel_shape), p.acc)
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        bound = self._where_they_lie(x, g, out, threads)
        if bound is None:
            return super().workspace(threads)
        parts = int(bound.slots[PARTS_SLOT])
        return bound.scratch_bytes * threads + parts * (parts > 1) * p.filters * p.channels * self.itemsize

    def _additions(self, parts: int) -> Bound:
        return channel_sums(parts, self.filters * self.channels, self.part)

    def _parts(self) -> int:
        """Parts that pixels whose channels lie side by side are divided into, whatever the threads."""
        elements = self.images * prod(self.sizes) * (self.filters + self.channels)
        if elements * self.itemsize < PARTED_BYTES:
            return 1
        most = min(MOST_PARTS, elements // (PART_ELEMENTS * self.filters * self.channels))
        return 1 << max(most, 1).bit_length() - 1

    def _where_they_lie(
        self, x: tuple[int, ...], g: tuple[int, ...], out: tuple[int, ...], threads: int
    ) -> Bound | None:
        """The record for arrays of these strides, or None for those that are to be packed."""
        p, size = self.problem.conv, self.itemsize
        if any(step % size for step in (*x, *g, *out)):
            return None
        strided = [step * s for step, s in zip(x[2:], p.stride, strict=True)]
        rows, cols = (1, *p.out_shape)[-2:]
        (x_row, x_pixel), (g_row, g_pixel) = (0, *strided)[-2:], (0, *g[2:])[-2:]
        of_x = _Operand(p.channels, x[0], x_row, x_pixel, x[1])
        pixels = _merged(_Pixels(p.batch, rows, cols, of_x, _Operand(p.filters, g[0], g_row, g_pixel, g[1])))
        if (x[1] == size or p.channels == 1) and (g[1] == size or p.filters == 1):
            return self._side_by_side(pixels, out, threads)
        if pixels.x.pixel == pixels.g.pixel == size and pixels.rows == 1:
            return self._planes(pixels, out, threads)
        return None

    def _side_by_side(self, pixels: _Pixels, out: tuple[int, ...], threads: int) -> Bound | None:
        """The record where channels are neighbours: lanes are those of which fewer stay idle."""
        f, c = self.filters, self.channels
        if max(f, c) < self.lanes:
            return None
        pixels = _in_rows(pixels)
        swapped = c < self.lanes or (f >= self.lanes and self._idle(c, f) < SWAPPING * self._idle(f, c))
        a, b = (pixels.x, pixels.g) if swapped else (pixels.g, pixels.x)
        parts = self._parts()
        unit_a, unit_b = self._shares(a.channels, b.channels, 1, 2 * self.lanes, self.rows, -(-threads // parts))
        if 0 < b.channels % unit_b < self.lanes:  # vectors at the end of a unit overlap within it
            unit_b = b.channels
        # By the units of one thread: sums are rounded alike, however many there are.
        alone = sum(self._shares(a.channels, b.channels, 1, 2 * self.lanes, self.rows, 1))
        most = min(BLOCK_PIXELS, max(BLOCK_BYTES // (alone * self.itemsize), 64))
        block_run = even(pixels.run, most)
        rows = even(pixels.rows, max(1, most // block_run)) if block_run == pixels.run else 1
        a_tiles, b_tiles = -(-unit_a // self.rows), -(-unit_b // (2 * self.lanes))
        tile = self.rows * 2 * self.lanes  # the last unit's tiles may have more rows than those of whole ones
        blocks = pixels.images * -(-pixels.rows // rows) * -(-pixels.run // block_run)
        return self._record(
            pixels,
            swapped,
            out,
            (unit_a, unit_b),
            (1, rows, block_run),
            tile * (a_tiles * b_tiles if blocks > 1 else 1),
            parts=min(parts, blocks),
        )

    def _planes(self, pixels: _Pixels, out: tuple[int, ...], threads: int) -> Bound | None:
        """The record of planes: rows of a tile are those of which fewer are idle."""
        if pixels.run < LEAST_RUN or pixels.images * pixels.run < LEAST_PIXELS:
            return None
        rows, cols = DOTS[self.rows]
        f, c = self.filters, self.channels
        swapped = -(-c // rows) * -(-f // cols) < -(-f // rows) * -(-c // cols)
        a, b = (pixels.x, pixels.g) if swapped else (pixels.g, pixels.x)
        unit_a, unit_b = self._shares(a.channels, b.channels, rows, cols, rows, threads)
        most = PLANE_BYTES // self.itemsize
        block_run = even(pixels.run, most, self.lanes)
        images = even(pixels.images, max(1, most // block_run)) if block_run == pixels.run else 1
        tile = -(-rows * cols // self.lanes) * self.lanes
        blocks = -(-pixels.images // images) * -(-pixels.run // block_run)
        tiles = -(-unit_a // rows) * -(-unit_b // cols) if blocks > 1 else 1
        return self._record(pixels, swapped, out, (unit_a, unit_b), (images, 1, block_run), tile * tiles, planes=True)

    def _shares(self, a: int, b: int, a_least: int, b_least: int, a_tile: int, threads: int) -> tuple[int, int]:
        """Channels of a unit: enough units for the threads, sums that stay in the cache."""
        unit_a, unit_b = a, b
        wanted = UNITS_PER_THREAD * threads if threads > 1 else 1

        def too_few() -> bool:
            units = -(-a // unit_a) * -(-b // unit_b)
            return units < wanted or unit_a * unit_b * self.itemsize > SUMS_BYTES

        while too_few() and (unit_a > a_tile or unit_b > b_least):
            if unit_b > b_least and (unit_b >= unit_a or unit_a <= a_tile):
                unit_b = even(b, unit_b - 1, b_least)
            else:
                unit_a = even(a, unit_a - 1, a_least)
        return unit_a, unit_b

    def _record(
        self, pixels: _Pixels, swapped: bool, out: tuple[int, ...], unit: tuple[int, int], block: tuple[int, int, int],
        sums: int, planes: bool = False, parts: int = 1,
    ) -> Bound:  # fmt: skip
        a, b = (pixels.x, pixels.g) if swapped else (pixels.g, pixels.x)
        (out_a, out_b), scratch = (out[1::-1] if swapped else out[:2]), -(-sums * self.itemsize // 64) * 64
        if parts > 1:
            of_filter, of_channel = self.channels * self.itemsize, self.itemsize
            out_a, out_b = (of_channel, of_filter) if swapped else (of_filter, of_channel)
        values = {
            "scratch_bytes": scratch, "planes": planes, "swapped": swapped, "a_channels": a.channels,
            "b_channels": b.channels, "images": pixels.images, "rows": pixels.rows, "run": pixels.run,
            "a_image": a.image, "a_row": a.row, "a_step": a.channel if planes else a.pixel,
            "b_image": b.image, "b_row": b.row, "b_step": b.channel if planes else b.pixel,
            **dict(zip(("block_images", "block_rows", "block_run"), block, strict=True)),
            "unit_a": unit[0], "unit_b": unit[1], "out_a": out_a, "out_b": out_b,
            "n_parts": parts, "out_part": self.filters * self.channels * self.itemsize,
        }  # fmt: skip
        units = -(-a.channels // unit[0]) * -(-b.channels // unit[1]) * parts
        return Bound(record(POINTWISE_GRADIENT_FIELDS, values), units, scratch, (), ())


def _merged(p: _Pixels) -> _Pixels:
    """Rows that go on where the last one ended are one run, and images so are more rows."""
    x, g = p.x, p.g
    if p.rows > 1 and x.row == p.run * x.pixel and g.row == p.run * g.pixel:
        p = p._replace(rows=1, run=p.rows * p.run)
    if p.rows == 1 and x.image == p.run * x.pixel and g.image == p.run * g.pixel:
        return p._replace(images=1, run=p.images * p.run)
    return p


def _in_rows(p: _Pixels) -> _Pixels:
    """The rows of all images as those of one, if that can be done."""
    x, g = p.x, p.g
    if p.rows == 1:
        return _Pixels(1, p.images, p.run, x._replace(row=x.image), g._replace(row=g.image))
    if x.image == p.rows * x.row and g.image == p.rows * g.row:
        return p._replace(images=1, rows=p.images * p.rows)
    return p
