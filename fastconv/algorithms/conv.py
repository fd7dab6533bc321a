"""Convolution with many filters: implicit GEMM over blocks of channels and pixels.

The kernel (`CONV_FIELDS` of the contract) stages the windows of a run of output pixels, a
block of channels at a time, and multiplies them with the weights.  A window matrix of the
whole image (im2col) never exists: scratch memory is bounded whatever the image.

Complex numbers are two channels and two filters: their real and imaginary parts.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.executor import Bound, ConvExecutor, kernel_types, refuse_types
from fastconv.algorithms.geometry import NO_AXIS, PARTS, geometry, mostly_unread, part_size, spatial_axes
from fastconv.engines.contract import CONV_FIELDS, record
from fastconv.problem import ConvProblem

__all__ = ["Conv", "is_ready", "refuse"]

# Fewer filters than this leave most rows of a tile empty: the direct filter wins.
MIN_FILTERS = 6
# ... but for planes smaller than its tiles.
SMALL_PLANE = 256
# Depth (channels times taps) staged at once: a tile's weights then stay in the nearest cache.
BLOCK_DEPTH = 512
# Bytes of scratch memory that the sums, and the staged windows, may take.
BLOCK_BYTES = 384 * 1024
UNITS_PER_THREAD = 4


def refuse(problem: ConvProblem) -> str | None:
    """Why the implicit GEMM cannot do a problem, or None."""
    why = refuse_types(problem)
    if why is not None:
        return why
    if problem.ndim not in (1, 2):
        return "is for one or two spatial axes"
    if problem.exact:
        return "adds in its own order"
    small_planes = prod(problem.out_shape) < SMALL_PLANE and problem.channels >= MIN_FILTERS * problem.groups
    if problem.filters // problem.groups < MIN_FILTERS and not small_planes and not mostly_unread(problem):
        return f"is for at least {MIN_FILTERS} filters a group"
    return None


def is_ready(problem: ConvProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("conv", *kernel_types(problem))


class Conv(ConvExecutor):
    """Executes a `ConvProblem` with an engine's convolution kernel."""

    operation = "conv"

    def __init__(self, problem: ConvProblem, engine: Any):
        super().__init__(problem, engine)
        self.rows = engine.GEMM[0]
        self.lanes = engine.GEMM[1] // self.itemsize
        # Per group, complex parts counted.
        self.channels = problem.channels // problem.groups * (2 if problem.in_dtype in PARTS else 1)
        self.filters = problem.filters // problem.groups * (2 if problem.acc in PARTS else 1)
        self.taps = prod(problem.kernel_shape)
        self.block_channels = min(self.channels, max(1, BLOCK_DEPTH // self.taps))

    def _pack(self, w: np.ndarray, order: tuple[int, ...]) -> tuple[np.ndarray, list]:
        """Weights as the kernel reads them: see conv.pxi."""
        p = self.problem
        if p.acc in PARTS:
            w = self._real_matrix(w.reshape(p.filters, -1, self.taps))
        w = w.reshape(p.groups, self.filters, self.channels, self.taps)
        if not p.channels_last:
            return np.ascontiguousarray(w, self.part), []
        blocks = -(-self.filters // self.lanes)
        packed = np.zeros((p.groups, blocks, self.channels * self.taps, self.lanes), self.part)
        for c in range(0, self.channels, self.block_channels):
            part = w[:, :, c : c + self.block_channels].transpose(0, 3, 2, 1)  # group, tap, channel, filter
            part = part.reshape(p.groups, -1, self.filters)
            rows = slice(c * self.taps, c * self.taps + part.shape[1])
            for block in range(blocks):
                lanes = part[:, :, block * self.lanes : (block + 1) * self.lanes]
                packed[:, block, rows, : lanes.shape[2]] = lanes
        return packed, []

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p = self.problem
        y, x = ([NO_AXIS, NO_AXIS, *spatial_axes(p, x_strides, out_strides)])[-2:]
        if x.out_size == 1 and x.taps == 1:  # a column: rows are read along
            y, x = x, y
        map_y, map_x = y.edges(), x.edges()
        channel_of = _offsets(p.groups, self.channels, p.channels, x_strides[1], part_size(p.in_dtype))
        filter_of = _offsets(p.groups, self.filters, p.filters, out_strides[1], part_size(p.out_dtype))

        pixels = y.out_size * x.out_size
        unit_pixels, chunks = self._divide(pixels, threads)
        n_pixel_units = -(-pixels // unit_pixels)
        depth = self.block_channels * self.taps
        if p.channels_last:
            sums = unit_pixels * -(-self.filters // self.lanes) * self.lanes
            staged = unit_pixels * depth
        else:
            panels = -(-unit_pixels // self.lanes) * self.lanes
            sums, staged = self.filters * panels, depth * panels
        scratch_bytes = -(-(sums + staged) * self.itemsize // 64) * 64
        values = {
            **geometry(p, y, x, map_y, map_x),
            "scratch_bytes": scratch_bytes,
            "groups": p.groups, "channels": self.channels, "filters": self.filters,
            "x_image": x_strides[0], "out_image": out_strides[0],
            "channel_of": channel_of.ctypes.data, "out_filter_of": filter_of.ctypes.data,
            "n_fills": 2 if p.in_dtype in PARTS else 1,
            "channels_last": p.channels_last, "block_channels": self.block_channels,
            "unit_pixels": unit_pixels, "n_pixel_units": n_pixel_units, "n_chunks": chunks,
        }  # fmt: skip
        units = p.batch * p.groups * n_pixel_units * chunks
        return Bound(record(CONV_FIELDS, values), units, scratch_bytes, (), (map_y, map_x, channel_of, filter_of))

    def _divide(self, pixels: int, threads: int) -> tuple[int, int]:
        """Output pixels of a unit, and units that share a group's filters."""
        p = self.problem
        step = self.rows if p.channels_last else self.lanes
        widest = max(self.filters, self.block_channels * self.taps) * self.itemsize
        most = max(1, BLOCK_BYTES // (widest * step))
        wanted = -(-threads * UNITS_PER_THREAD // (p.batch * p.groups)) if threads > 1 else 1
        tiles = -(-pixels // step)
        per_unit = max(1, min(most, tiles // wanted))
        filter_tiles = -(-self.filters // (self.lanes if p.channels_last else self.rows))
        units = p.batch * p.groups * -(-tiles // per_unit)
        chunks = 1 if units >= 2 * threads else min(filter_tiles, -(-2 * threads // units))
        return per_unit * step, chunks


def _offsets(groups: int, per_group: int, channels: int, step: int, part: int) -> np.ndarray:
    """Byte offset of each channel (or its parts) of each group."""
    parts = groups * per_group // channels
    offsets = np.arange(channels)[:, None] * step + np.arange(parts) * part
    return np.ascontiguousarray(offsets.reshape(groups, per_group), np.int64)
