"""Convolution with many filters: a matrix product of weights and windows, of which no matrix is made.

The kernel (`CONV_FIELDS` of the contract) reads windows where the image lies, or stages what the windows of a box of
output pixels read, once; scratch memory is bounded whatever the image.  Lanes are filters where channels are neighbours
in memory, pixels where those are; but also where the image is channels-last and has fewer elements than the weights,
which need no packing then.

Complex numbers are two channels and two filters: their real and imaginary parts.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.boxes import Boxes, Layout, Tiles, divide, images_together, layout_in_place, staged_layout
from fastconv.algorithms.executor import Bound, ConvExecutor, Copy, kernel_types, refuse_types, run
from fastconv.algorithms.geometry import NO_AXIS, PARTS, Axis, geometry, mostly_unread, part_size, spatial_axes
from fastconv.algorithms.weights import Packing
from fastconv.engines.contract import ACTIVATIONS, CONV_FIELDS, record, slope_bits
from fastconv.problem import ConvProblem
from fastconv.replay import constant, contiguous, kept_weights

__all__ = ["BLOCK_SLOT", "Conv", "is_ready", "kernel_of", "prefers_filters", "refuse"]

# How many channels are staged at once.
BLOCK_SLOT, PACKS_SLOT = CONV_FIELDS.index("block_channels"), CONV_FIELDS.index("packs")

# Fewer filters than this leave most rows of a tile empty: the direct filter wins.
MIN_FILTERS = 6
# Windows of so few elements are summed in one go (`in_one_go` of conv_tiles.h).  Planes of so few channels are staged tap by
# tap: rows without gaps.
FEW_PRODUCTS, FEW_CHANNELS = 160, 4
# Weights are packed unless they are more by this factor than the elements that are transposed on the way otherwise, of which
# results take longer: 2048 to 512 channels at 7x7, 0.73 rather than 0.81 ms, but 512 to 2048 1.15 rather than 0.90.
PACKED_GAIN, RESULTS_LOSS = 4.5, 4
# Fewer filters of pixels leave most lanes empty.
FEW_FILTERS = 8
# Of planes, one or the other may be lanes.  A product of a tile, an element that is transposed, a weight that is packed (ns,
# float32); how much longer the products of pixels take than those of filters.
NS_PRODUCT, NS_MOVED, NS_PACKED, PIXELS_LOSS = 0.008, 0.25, 0.25, 1.1
# ... but for planes smaller than its tiles, and for pixels of so many channels with few taps, whose planes have gaps: 3 filters
# of 32 channels, 112x112 pixels, take 0.09 to 0.3 ms for 1 to 4 taps, the direct filter 0.7.
SMALL_PLANE = 256
DEEP_CHANNELS, DEEP_TAPS = 16, 12


# Rows of weights of a block of filters that stay in the second cache beside the pixels of a unit; results of more bytes are
# written past the caches.
NEAR_WEIGHT_ROWS, STREAM_BEYOND = 1024, 8 * 2**20
# Bytes of weights that stay there, too: NEAR_WEIGHTS of the kernel.
UNITS_WEIGHTS = 256 * 1024
# Units pack weights of at most so many bytes, or if each thread packs them but once: 2048 to 512 channels, 7x7 pixels, batch 32,
# in 19 units, take 1.3 times as long as if they are packed before, 1024 to 2048 with steps of 2, 14x14, batch 8, 1.1 and 1.55
# times (one thread and two), 32 to 192 at 28x28 in 8 units 0.87 (two).
PACKED_OFTEN = 32 * 1024


def refuse(problem: ConvProblem) -> str | None:
    """Why the matrix product cannot do a problem, or None."""
    why = refuse_types(problem, activates=True)
    if why is not None:
        return why
    if problem.ndim not in (1, 2, 3):
        return "is for one to three spatial axes"
    if problem.exact:
        return "adds in its own order"
    small_planes = prod(problem.out_shape) < SMALL_PLANE and problem.channels >= MIN_FILTERS * problem.groups
    taken = small_planes or _deep_pixels(problem) or mostly_unread(problem)
    if problem.filters // problem.groups < MIN_FILTERS and not taken:
        return f"is for at least {MIN_FILTERS} filters a group"
    return None


def prefers_filters(p: ConvProblem, engine: Any, packing: float = 0.0) -> bool:
    """Whether lanes are filters; `packing`: what it costs to pack a weight for it, more than for lanes of pixels."""
    groups, part = p.groups, PARTS.get(p.acc, p.acc)
    channels, filters, taps, pixels = p.channels // groups, p.filters // groups, prod(p.kernel_shape), prod(p.out_shape)
    if _mostly_between(p):
        return False
    direct = p.in_dtype == p.out_dtype == part
    lanes = engine.GEMM[1] // np.dtype(part).itemsize
    if p.channels_last:
        long = p.stride[-1] == 1 and p.out_shape[-1] >= lanes // 2
        narrow = direct and filters < FEW_FILTERS and channels >= 4 and long
        few = (
            packing > 0
            and PACKED_GAIN * p.batch * pixels * (channels + RESULTS_LOSS * filters) < filters * channels * taps
        )
        return not (few or narrow)
    if not direct or (taps == 1 and packing >= 0):
        return False
    if groups > 1:  # 32 of 32, 7x7 pixels, 1.4 times as fast; 16 of 16 with steps 1.3 times, without 0.7 times
        return filters >= (lanes if max(p.stride) == 1 else lanes // 2)
    # Times a thread takes for an image, ns: the products, positions and filters computed in vain among them, staging, packing.
    pitch = p.out_shape[-1] + -(-((p.kernel_shape[-1] - 1) * p.dilation[-1]) // p.stride[-1])
    positions = _up(pixels // p.out_shape[-1] * pitch - pitch + p.out_shape[-1], lanes)
    products, rate = channels * taps, NS_PRODUCT * 32 / lanes
    parted = NS_MOVED * channels * prod(p.in_shape) * (max(p.stride) > 1)  # by phases
    of_pixels = positions * filters * products * rate * PIXELS_LOSS + parted
    of_filters = pixels * _up(filters, lanes // 2) * products * rate
    moved = NS_MOVED * (channels * prod(p.in_shape) + filters * pixels) + packing * filters * products / p.batch
    return of_filters + moved < of_pixels


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _deep_pixels(p: ConvProblem) -> bool:
    return p.channels_last and p.channels >= DEEP_CHANNELS * p.groups and prod(p.kernel_shape) <= DEEP_TAPS


def kernel_of(problem: ConvProblem, filter_lanes: bool) -> tuple[str, str]:
    """What the kernel is made for: the elements that it sums in, and what lanes are."""
    return PARTS.get(problem.acc, problem.acc), "filters" if filter_lanes else "pixels"


def is_ready(problem: ConvProblem, engine: Any) -> bool:
    """Whether the engine's kernels are compiled: those for weights that are kept, too."""
    lanes = {prefers_filters(problem, engine, packing) for packing in (0.0, NS_PACKED)}
    conv = all(engine.is_ready("conv", *kernel_of(problem, filters)) for filters in lanes)
    return conv and engine.is_ready("weights", *kernel_types(problem))


class Conv(ConvExecutor):
    """Executes a `ConvProblem` with an engine's convolution kernel."""

    operation = "conv"

    def __init__(
        self,
        problem: ConvProblem,
        engine: Any,
        filter_lanes: bool | None = None,
        weight_rows: int = 0,
        rows: bool = False,
    ):
        """`filter_lanes`: what lanes are; `weight_rows`: of a block of weights that are packed elsewhere (`compute`);
        `rows`: weights of one tap lie as [channel][filter], and are read there."""
        # Weights that are kept from call to call are packed, be they never so large.
        kept = prefers_filters(problem, engine) if filter_lanes is None else filter_lanes
        self.filter_lanes = prefers_filters(problem, engine, NS_PACKED) if filter_lanes is None else filter_lanes
        super().__init__(problem, engine, kernel_of(problem, self.filter_lanes))
        self.rows = rows
        # Per group, complex parts counted.
        self.channels = problem.channels // problem.groups * (2 if problem.in_dtype in PARTS else 1)
        self.filters = problem.filters // problem.groups * (2 if problem.acc in PARTS else 1)
        self.taps = prod(problem.kernel_shape)
        self.weight_rows = weight_rows or self.channels * self.taps
        # Weights of one tap that are not kept are packed by the units that need them: packed first, they go from the caches of
        # one thread to those of the other.
        real, pointwise = problem.acc not in PARTS, self.taps == problem.groups == 1
        turns = getattr(engine, "TURNS_IN_REGISTERS", False)
        self.packs = filter_lanes is None and self.filter_lanes and real and pointwise and turns
        self._keeping = self if kept == self.filter_lanes and not self.packs else Conv(problem, engine, kept)
        self._packings: dict[int, Packing] = {}

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        kept = kept_weights.get()
        if kept is not None and self._keeping is not self:
            return self._keeping(x, w, out, bias, fill, threads)
        bound, threads = self.bind(x, out, threads)
        packing = self._packing(bound)

        def packed() -> np.ndarray:
            weights, _ = self._pack(w, bound.order)
            return weights if packing is None or bound.slots[PACKS_SLOT] else packing.weights(weights, threads)

        weights = packed() if kept is None else kept.get((self.problem, bound.slots[BLOCK_SLOT]), w, packed)
        run(self.kernel, bound, x, weights, out, self._biases(bias, packing), self._constants(fill), threads)

    def bind(self, x: np.ndarray, out: np.ndarray, threads: int) -> tuple[Bound, int]:
        """The record for these arrays, and the threads that are worth using."""
        threads = costs.threads_worth_using(self.problem.flops, self.problem.nbytes, threads)
        return self._bind(x.strides, out.strides, threads), threads

    def compute(
        self, x: np.ndarray, packed: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        """The convolution with weights that are packed elsewhere, for the record that `bind` gives."""
        bound, threads = self.bind(x, out, threads)
        biases = self._biases(bias, self._packing(bound))
        run(self.kernel, bound, x, packed, out, biases, self._constants(fill), threads)

    def _pack(self, w: np.ndarray, order: tuple[int, ...]) -> tuple[np.ndarray, list[Copy]]:
        """The real weights [group][filter][channel][tap]."""
        if self.problem.acc in PARTS:
            w = self._real_matrix(w.reshape(self.problem.filters, -1, self.taps))
        return contiguous(w, self.part), []

    def _biases(self, bias: np.ndarray | None, packing: Packing | None) -> np.ndarray:
        """One for each filter, 0 if there are none."""
        values = self._constants(bias)
        if values is None:
            values = constant(np.zeros(self.problem.groups * self.filters, self.part))
        return values if packing is None else packing.bias(values)

    def _packing(self, bound: Bound) -> Packing | None:
        """How weights are packed for a record, if they are."""
        if not self.filter_lanes:
            return None
        block = int(bound.slots[BLOCK_SLOT])
        if block not in self._packings:
            self._packings[block] = Packing(
                self.engine, self.part, self.problem.groups, self.filters, self.channels, self.taps, block
            )
        return self._packings[block]

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p, size = self.problem, self.itemsize
        images, z, y, x = _axes(p, x_strides, out_strides, self.filter_lanes)
        channel_of = _offsets(p.groups, self.channels, p.channels, x_strides[1], part_size(p.in_dtype))
        filter_of = _offsets(p.groups, self.filters, p.filters, out_strides[1], part_size(p.out_dtype))
        lanes = self.engine.GEMM[1] // size
        few = self.channels * self.taps <= FEW_PRODUCTS and (self.filter_lanes or self.channels <= FEW_CHANNELS)
        by_taps = few and self.filters >= 2 * FEW_FILTERS and not self.filter_lanes
        tiles = Tiles(self.engine.GEMM[0], lanes, size, self.filter_lanes, self._in_place(z, y, x, channel_of), by_taps)
        planes = images.size * p.groups * z.out_size

        def divided(packs: bool) -> Boxes:
            return divide(y, x, z.taps, planes, self.channels, self.filters, tiles, threads, packs)

        packs = self.packs and tiles.in_place
        boxes = divided(packs)
        often = planes * boxes.row_units * boxes.col_units > threads
        if packs and often and self.filters * self.channels * size > PACKED_OFTEN:
            packs, boxes = False, divided(False)
        layout = staged_layout(z, y, x, boxes, tiles, self.channels)
        if tiles.in_place:
            layout = layout_in_place(z, y, x, channel_of[0] - channel_of[0, 0], tiles)
        maps = [axis.edges() for axis in (z, y, x)]
        together = images_together(images.size, z, boxes, layout, tiles, p.groups * boxes.chunks, threads)
        positions = together * boxes.positions(y, x, tiles)
        sums_at = tiles.rows * lanes + (
            0 if tiles.in_place else together * layout.elements * boxes.block_channels + lanes
        )
        sums_at = -(-sums_at * size // 64) * 64
        several, store_direct = boxes.block_channels < self.channels, self._store_direct(y, x, filter_of, layout, boxes)
        few = (
            few
            and not self.rows
            and not tiles.in_place
            and not several
            and store_direct > 0
            and self.filters >= tiles.rows
        )
        stream = few and p.batch * p.filters * prod(p.out_shape) * size >= STREAM_BEYOND
        blocks, parts = -(-boxes.filters // lanes), self.filter_lanes and self.channels * self.taps > NEAR_WEIGHT_ROWS
        kept = (
            (positions + lanes) * (blocks if several else parts)
            if several or parts
            else (tiles.rows + 1) * blocks * stream
        )
        tables_at = sums_at + kept * lanes * size
        tables_end = tables_at + self.filter_lanes * 16 * (positions + tiles.rows)
        blocks_end = (tiles.rows + lanes) * lanes * size  # of a tile that is transposed
        scratch_bytes = -(-max(tables_end, blocks_end) // 64) * 64
        packs_at, block_bytes = scratch_bytes if packs else 0, self.channels * lanes * size
        if packs:
            scratch_bytes += max(block_bytes, min(blocks * block_bytes, UNITS_WEIGHTS))
        values = {
            **geometry(p, y, x, maps[1], maps[2]),
            "scratch_bytes": scratch_bytes,
            "depth": z.size, "x_plane": z.x_step, "out_depth": z.out_size, "out_plane": z.out_step,
            "kernel_z": z.taps, "stride_z": z.stride, "dilation_z": z.dilation, "pad_z": z.pad, "map_z": maps[0].ctypes.data,
            "groups": p.groups, "channels": self.channels, "filters": self.filters,
            "x_image": images.x_step, "out_image": images.out_step,
            "channel_of": channel_of.ctypes.data, "out_filter_of": filter_of.ctypes.data,
            "n_fills": 2 if p.in_dtype in PARTS else 1,
            "w_rows": self.weight_rows if self.filter_lanes else 0, "block_channels": boxes.block_channels,
            "in_place": tiles.in_place, "store_direct": store_direct,
            "few": few + stream,
            "n_row_units": boxes.row_units, "n_col_units": boxes.col_units, "n_chunks": boxes.chunks,
            "images": together,
            "rows": layout.rows, "pitch": layout.pitch, "step_y": layout.step_y, "step_x": layout.step_x,
            "n_phases_y": layout.n_phases_y, "n_phases_x": layout.n_phases_x, "phases": layout.phases.ctypes.data,
            "offsets": layout.offsets.ctypes.data, "joined": layout.joined,
            "sums": sums_at, "tables": tables_at,
            "activation": ACTIVATIONS[p.activation], "slope": slope_bits(p.slope), "packs": packs_at,
            "w_step": self.filters * self.rows,
        }  # fmt: skip
        units = images.size // together * p.groups * z.out_size * boxes.row_units * boxes.col_units * boxes.chunks
        tables = (*maps, channel_of, filter_of, layout.phases, layout.offsets)
        return Bound(record(CONV_FIELDS, values), units, scratch_bytes, (), tables)

    def _in_place(self, z: Axis, y: Axis, x: Axis, channel_of: np.ndarray) -> bool:
        """Whether windows can be read where the image lies: all inside, and its elements what the kernel reads."""
        p, size = self.problem, self.itemsize
        if PARTS.get(p.in_dtype, p.in_dtype) != self.part:
            return False
        if any(axis.pad or axis.window > axis.size or axis.x_step % size for axis in (z, y, x)):
            return False
        if self.filter_lanes:
            return bool((np.diff(channel_of) == size).all())
        lanes = self.engine.GEMM[1] // size
        return self.taps == 1 and y.out_size == 1 and x.stride == 1 and x.x_step == size and x.out_size >= lanes

    def _store_direct(self, y: Axis, x: Axis, filter_of: np.ndarray, layout: Layout, boxes: Boxes) -> int:
        """Whether a tile's rows lie without gaps in the output: 1, those within a row of pixels; 2, all."""
        p, size = self.problem, self.itemsize
        steps = np.diff(filter_of)
        if PARTS.get(p.out_dtype, p.out_dtype) != self.part or p.saturate:
            return 0
        if self.filter_lanes:
            in_registers = p.activation in ("", "relu", "relu6", "leaky_relu")
            beyond = in_registers and p.batch * p.filters * prod(p.out_shape) * size >= STREAM_BEYOND
            return int((steps == size).all()) * (2 if beyond else 1)
        one_run = layout.pitch == x.out_size and boxes.col_units == 1 and y.out_step == x.out_size * size
        rows = (steps == steps[:, :1]).all() and x.out_step == size
        return int(rows) * (2 if y.out_size == 1 or one_run else 1)


def _axes(
    p: ConvProblem, x_strides: tuple[int, ...], out_strides: tuple[int, ...], with_images: bool
) -> tuple[Axis, Axis, Axis, Axis]:
    """Images and three spatial axes.

    Axes that are not filtered are merged into the last one as far as their pixels follow each other in memory.
    """
    axes = [_plain(axis) for axis in spatial_axes(p, x_strides, out_strides)]
    axes = [NO_AXIS] * (3 - p.ndim) + axes
    z, y, x = axes
    if x.out_size == x.size == x.taps == 1:  # a column: rows are read along
        y, x = x, y
    images = Axis(p.batch, p.batch, 1, 1, 1, 0, "fill", x_strides[0], out_strides[0])
    outer = [images, z, y]
    for i in (2, 1, 0) if with_images else (2, 1):
        axis = outer[i]
        follows = (axis.x_step, axis.out_step) == (x.size * x.x_step, x.size * x.out_step)
        if axis.size == axis.out_size == axis.taps == 1 and axis.pad == 0:
            continue
        if not (follows and axis.untouched and x.untouched):
            break
        x = replace(x, size=x.size * axis.size, out_size=x.size * axis.size)
        outer[i] = NO_AXIS
    return outer[0], outer[1], outer[2], x


def _mostly_between(p: ConvProblem) -> bool:
    """Whether most of what windows span lies between their taps: with lanes of pixels, taps are staged one by one."""
    columns = p.out_shape, p.stride, p.kernel_shape, p.dilation
    return any((n - 1) * s + (k - 1) * d > 4 * n * k for n, s, k, d in zip(*columns, strict=True))


def _plain(axis: Axis) -> Axis:
    """The axis without what does not matter: strides of one output, the dilation of one tap."""
    if axis.out_size == 1:
        axis = replace(axis, stride=axis.dilation)
    return replace(axis, dilation=axis.stride) if axis.taps == 1 else axis


def _offsets(groups: int, per_group: int, channels: int, step: int, part: int) -> np.ndarray:
    """Byte offset of each channel (or its parts) of each group."""
    parts = groups * per_group // channels
    offsets = np.arange(channels)[:, None] * step + np.arange(parts) * part
    return np.ascontiguousarray(offsets.reshape(groups, per_group), np.int64)
