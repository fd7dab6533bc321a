"""How a convolution with many filters is cut into units: boxes of output pixels, chunks of filters, blocks of channels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import numpy as np

from fastconv.algorithms.geometry import Axis

__all__ = ["Boxes", "Layout", "Tiles", "divide", "images_together", "layout_in_place", "staged_layout"]

# Bytes that a unit stages, or reads where it lies: they stay in the second cache while all filters pass.
BLOCK_BYTES = 768 * 1024
# Bytes of sums that are kept from one block of channels to the next.
SUMS_BYTES = 1024 * 1024
UNITS_PER_THREAD = 4
# Pixels that are read where they lie are parted among threads, rather than filters, from so many tiles a thread on: no line of
# the result is written by two threads.  Of 64 to 384 and 96 to 576 channels, 14x14 pixels, a call takes 0.65 of the time, of
# 256 to 1024 0.8 (Intel Xeon, two threads).  Weights of more bytes are read from beyond the second cache by each unit, so fewer.
WIDE_TILES, NEAR_WEIGHTS, FAR_UNITS_PER_THREAD = 3, 512 * 1024, 2
# A unit that packs weights takes as long for it as for so many pixels.
PACKED_PIXELS = 96
# Images of a unit, their pixels, and bytes that are staged of them.
MOST_IMAGES, MOST_PIXELS, TOGETHER_BYTES = 8, 512, 2 * 2**20


@dataclass(frozen=True)
class Tiles:
    """How the kernel works: rows of its tiles, lanes of a row, and what lanes are."""

    rows: int
    lanes: int
    itemsize: int
    filter_lanes: bool
    in_place: bool
    by_taps: bool = False  # elements that neighbouring outputs read follow each other, for each column of the kernel

    @property
    def pixels(self) -> int:
        """Neighbouring outputs that boxes are whole multiples of."""
        return self.rows if self.filter_lanes else self.lanes

    @property
    def filters(self) -> int:
        """Filters that chunks are whole multiples of."""
        return self.lanes if self.filter_lanes else 2

    def axis(self, axis: Axis, outputs: int, across: bool = False) -> Staged:
        """What windows of neighbouring outputs read of an axis."""
        taps = np.arange(axis.taps, dtype=np.int64) * axis.dilation
        end = int((outputs - 1) * axis.stride + taps[-1])
        if self.filter_lanes:
            step = gcd(axis.stride, axis.dilation)
            return Staged(step, taps[:1], 1 + end // step, 0 * taps, taps // step)
        phases, phase_of = np.unique(taps % axis.stride, return_inverse=True)
        count = 1 + (end - int(phases[0])) // axis.stride
        # Either no position is read twice, and most are not at all, or staging costs less than gaps.
        if axis.taps * outputs < len(phases) * count or (across and self.by_taps):
            return Staged(axis.stride, taps, outputs, np.arange(axis.taps), 0 * taps)
        return Staged(axis.stride, phases, count, phase_of, taps // axis.stride)


@dataclass(frozen=True)
class Staged:
    """What is staged of an axis: `count` positions phase, phase + step, ... of each phase; where each tap is among them."""

    step: int
    phases: np.ndarray
    count: int
    phase_of: np.ndarray
    index_of: np.ndarray

    @property
    def size(self) -> int:
        return len(self.phases) * self.count


@dataclass(frozen=True)
class Boxes:
    """The division: see the slots of the same names in CONV_FIELDS."""

    row_units: int
    col_units: int
    chunks: int
    block_channels: int
    height: int  # of the largest box
    width: int
    filters: int  # of the largest chunk

    def positions(self, y: Axis, x: Axis, tiles: Tiles) -> int:
        """Sums of a filter that a box has, those beyond the ends of rows counted."""
        pitch = self.width if tiles.filter_lanes or tiles.in_place else tiles.axis(x, self.width, True).count
        return (self.height - 1) * pitch + self.width


def staged(y: Axis, x: Axis, kernel_z: int, tiles: Tiles, height: int, width: int) -> int:
    """Elements of a channel that a box stages, or reads."""
    return kernel_z * tiles.axis(y, height).size * tiles.axis(x, width, True).size


def divide(
    y: Axis, x: Axis, kernel_z: int, planes: int, channels: int, filters: int, tiles: Tiles, threads: int,
    packs: bool = False,
) -> Boxes:  # fmt: skip
    """Cut the output planes into units for so many threads; `packs`: each unit packs the weights that it needs."""
    most_cols = max(1, x.out_size // tiles.pixels)

    def size(rows: int, cols: int) -> int:
        box = _largest(y.out_size, rows, 1), _largest(x.out_size, cols, tiles.pixels)
        return staged(y, x, kernel_z, tiles, *box) * tiles.itemsize

    rows = _first(y.out_size, lambda n: size(n, 1) * channels <= BLOCK_BYTES)
    cols = _first(most_cols, lambda n: size(rows, n) * channels <= BLOCK_BYTES)
    block = channels if tiles.in_place else min(channels, max(1, BLOCK_BYTES // size(rows, cols)))
    chunks, most_chunks = 1, max(1, filters // tiles.filters)
    if threads > 1:
        wanted = -(-UNITS_PER_THREAD * threads // planes)
        weights, image = filters * y.taps * x.taps, y.out_size * x.out_size
        apart = tiles.filter_lanes and tiles.in_place and image * planes >= WIDE_TILES * threads * tiles.pixels
        if apart and weights * channels * tiles.itemsize > NEAR_WEIGHTS:
            wanted = -(-FAR_UNITS_PER_THREAD * threads // planes)
        if apart and packs:
            wanted = min(wanted, max(-(-threads // planes), image // PACKED_PIXELS))
        if rows * cols < wanted and (apart or weights < image):
            least = 2 * tiles.pixels  # of a box
            rows = max(rows, min(wanted, y.out_size, y.out_size * x.out_size // least))
            if y.out_size == 1:
                cols = max(cols, min(wanted, most_cols // 2))
        if planes * rows * cols < (threads if apart else wanted):
            # Each chunk stages its box again.
            chunks = min(most_chunks, -(-(wanted if tiles.in_place else threads) // (planes * rows * cols)))
        order = "rows cols chunks" if apart else "chunks rows cols" if tiles.in_place else "rows chunks cols"
        rows, cols, chunks = _evened(
            planes, rows, cols, chunks, threads, (y.out_size, most_cols, most_chunks), order.split()
        )
    width, height = _largest(x.out_size, cols, tiles.pixels), _largest(y.out_size, rows, 1)
    if block < channels:
        sums = Boxes(rows, cols, 1, block, height, width, filters).positions(y, x, tiles) * tiles.itemsize
        chunks = max(chunks, min(most_chunks, -(-sums * filters // SUMS_BYTES)))
    return Boxes(rows, cols, chunks, block, height, width, _largest(filters, chunks, tiles.filters))


def _evened(
    planes: int, rows: int, cols: int, chunks: int, threads: int, most: tuple[int, int, int], order: list[str]
) -> tuple[int, int, int]:
    """The division with a few units more, if few threads would have more than others; `order`: of what first."""
    units = planes * rows * cols * chunks
    if units % threads == 0 or units > 2 * UNITS_PER_THREAD * threads:
        return rows, cols, chunks
    ways = {
        "rows": [(rows + more, cols, chunks) for more in range(1, threads + 1)],
        "cols": [(rows, cols + more, chunks) for more in range(1, threads + 1)],
        "chunks": [(rows, cols, chunks + more) for more in range(1, threads + 1)],
    }
    for n in (n for what in order for n in ways[what]):
        if planes * n[0] * n[1] * n[2] % threads == 0 and n[0] <= most[0] and n[1] <= most[1] and n[2] <= most[2]:
            return n
    return rows, cols, chunks


def _largest(size: int, parts: int, step: int) -> int:
    """The largest of so many parts of multiples of `step`, the last of which has what is left."""
    whole = size // step
    return max(-(-whole // parts) * step if parts > 1 else 0, size - (parts - 1) * whole // parts * step)


def _first(most: int, fits: Callable[[int], bool]) -> int:
    """The least number from 1 to `most` that fits, else `most`."""
    return min(most, 1 + bisect_left(range(1, most + 1), True, key=fits))


def images_together(images: int, z: Axis, boxes: Boxes, layout: Layout, tiles: Tiles, units: int, threads: int) -> int:
    """How many images a unit takes: whole planes whose pixels are no whole number of tiles leave less over together."""
    pixels = boxes.height * boxes.width
    if not tiles.filter_lanes or z.out_size * boxes.row_units * boxes.col_units > 1 or pixels > MOST_PIXELS:
        return 1
    staged = max(1, layout.elements * boxes.block_channels * tiles.itemsize)

    def tiles_of(n: int) -> float:
        return -(-n * pixels // tiles.rows) / n

    def possible(n: int) -> bool:
        evenly = images % n == 0 and images // n * units % threads == 0
        return evenly and n * staged <= TOGETHER_BYTES and n * pixels <= MOST_PIXELS

    return min([1, *filter(possible, range(2, MOST_IMAGES + 1))], key=lambda n: (round(tiles_of(n), 1), n))


@dataclass(frozen=True)
class Layout:
    """Where windows find their elements: see the slots of the same names in CONV_FIELDS."""

    elements: int  # staged of a channel
    rows: int
    pitch: int
    step_y: int
    step_x: int
    n_phases_y: int
    n_phases_x: int
    phases: np.ndarray
    offsets: np.ndarray
    joined: int


def staged_layout(z: Axis, y: Axis, x: Axis, boxes: Boxes, tiles: Tiles, channels: int) -> Layout:
    """Of what the largest box stages."""
    rows, cols = tiles.axis(y, boxes.height), tiles.axis(x, boxes.width, True)
    planes, block, joined, pitch = np.arange(z.taps)[:, None, None], boxes.block_channels, 1, cols.count
    down, across = rows.index_of[:, None], cols.index_of
    if tiles.filter_lanes:
        pitch *= block
        offsets = (planes * rows.count + down) * pitch + across * block
        if block == channels and x.dilation == cols.step:
            offsets, joined = offsets[..., :1], x.taps
    else:
        planes = planes + z.taps * np.arange(block)[:, None, None, None]
        phase = (planes * len(rows.phases) + rows.phase_of[:, None]) * len(cols.phases) + cols.phase_of
        offsets = (phase * rows.count + down) * pitch + across
    return Layout(
        z.taps * rows.size * cols.size, rows.count, pitch, rows.step, cols.step, len(rows.phases), len(cols.phases),
        np.concatenate([rows.phases, cols.phases]), _bytes(offsets, tiles.itemsize), joined,
    )  # fmt: skip


def layout_in_place(z: Axis, y: Axis, x: Axis, channels: np.ndarray, tiles: Tiles) -> Layout:
    """Of windows in the image; `channels`: the byte offsets of the channels of a group."""
    tz, ty, tx = np.ogrid[: z.taps, : y.taps, : x.taps]
    offsets, joined = channels, 1
    if tiles.filter_lanes:
        offsets = tz * z.dilation * z.x_step + ty * y.dilation * y.x_step + tx * x.dilation * x.x_step
        if x.dilation * x.x_step == len(channels) * tiles.itemsize:
            offsets, joined = offsets[..., :1], x.taps
    return Layout(0, 1, x.out_size, 1, 1, 1, 1, np.zeros(2, np.int64), _bytes(offsets, 1), joined)


def _bytes(elements: np.ndarray, itemsize: int) -> np.ndarray:
    return np.ascontiguousarray(elements.reshape(-1), np.int64) * itemsize
