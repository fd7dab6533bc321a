"""Convolution with many filters: implicit GEMM over blocks of channels and pixels.

The kernel (`CONV_FIELDS` of the contract) stages the windows of a run of output pixels, a
block of channels at a time, and multiplies them with the weights.  A window matrix of the
whole image (im2col) never exists: scratch memory is bounded whatever the image.

Complex numbers are two channels and two filters: their real and imaginary parts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.geometry import NO_AXIS, PARTS, contiguous_strides, geometry, part_size, spatial_axes
from fastconv.engines.contract import CONV_FIELDS, DTYPE_CODES, record
from fastconv.engines.threads._threads import launch
from fastconv.problem import ConvProblem

__all__ = ["Conv", "refuse"]

# Fewer filters than this leave most rows of a tile empty: the direct filter wins.
MIN_FILTERS = 6
# Depth (channels times taps) staged at once: a tile's weights then stay in the nearest cache.
BLOCK_DEPTH = 512
# Bytes of scratch memory that the sums, and the staged windows, may take.
BLOCK_BYTES = 384 * 1024
UNITS_PER_THREAD = 4


def refuse(problem: ConvProblem) -> str | None:
    """Why the implicit GEMM cannot do a problem, or None."""
    if not isinstance(problem, ConvProblem):
        return "is for convolutions"
    if problem.ndim not in (1, 2):
        return "is for one or two spatial axes"
    if problem.exact:
        return "adds in its own order"
    if problem.filters // problem.groups < MIN_FILTERS:
        return f"is for at least {MIN_FILTERS} filters a group"
    if PARTS.get(problem.acc, problem.acc) not in ("float32", "float64", "uint32", "uint64"):
        return f"does not sum in {problem.acc}"
    for dtype in (problem.in_dtype, problem.out_dtype):
        if PARTS.get(dtype, dtype) not in DTYPE_CODES:
            return f"does not read or write {dtype}"
    return None


@dataclass(frozen=True)
class _Bound:
    """A problem bound to arrays of given strides: all that a launch needs besides pointers."""

    slots: np.ndarray
    units: int
    scratch_bytes: int
    tables: tuple[np.ndarray, ...]  # kept alive: `slots` holds their addresses


class Conv:
    """Executes a `ConvProblem` with an engine's convolution kernel."""

    def __init__(self, problem: ConvProblem, engine: Any):
        self.problem = problem
        self.part = PARTS.get(problem.acc, problem.acc)
        self.itemsize = np.dtype(self.part).itemsize
        self.rows = engine.GEMM[0]
        self.lanes = engine.GEMM[1] // self.itemsize
        self.kernel = engine.kernel("conv", self.part)
        # Per group, complex parts counted.
        self.channels = problem.channels // problem.groups * (2 if problem.in_dtype in PARTS else 1)
        self.filters = problem.filters // problem.groups * (2 if problem.acc in PARTS else 1)
        self.taps = prod(problem.kernel_shape)
        self.block_channels = min(self.channels, max(1, BLOCK_DEPTH // self.taps))
        self._bound: OrderedDict[tuple, _Bound] = OrderedDict()

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        threads = costs.threads_worth_using(self.problem.flops, self.problem.nbytes, threads)
        bound = self._bind(x.strides, out.strides, threads)
        scratch = np.empty(bound.scratch_bytes * threads, np.uint8)
        weights, bias, fill = self._pack(w), self._constants(bias), self._constants(fill)
        launch(self.kernel, bound.slots, x, weights, out, bias, fill, scratch, bound.units, threads)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights not counted."""
        p = self.problem
        x_steps = contiguous_strides((p.batch, p.channels, *p.in_shape), p.in_dtype)
        out_steps = contiguous_strides((p.batch, p.filters, *p.out_shape), p.out_dtype)
        return self._bind(x_steps, out_steps, threads).scratch_bytes * threads

    def _pack(self, w: np.ndarray) -> np.ndarray:
        """Weights as the kernel reads them: see conv.pxi."""
        p = self.problem
        w = self._real_parts(w).reshape(p.groups, self.filters, self.channels, self.taps)
        if not p.channels_last:
            return np.ascontiguousarray(w, self.part)
        blocks = -(-self.filters // self.lanes)
        packed = np.zeros((p.groups, blocks, self.channels * self.taps, self.lanes), self.part)
        for c in range(0, self.channels, self.block_channels):
            part = w[:, :, c : c + self.block_channels].transpose(0, 3, 2, 1)  # group, tap, channel, filter
            part = part.reshape(p.groups, -1, self.filters)
            rows = slice(c * self.taps, c * self.taps + part.shape[1])
            for block in range(blocks):
                lanes = part[:, :, block * self.lanes : (block + 1) * self.lanes]
                packed[:, block, rows, : lanes.shape[2]] = lanes
        return packed

    def _real_parts(self, w: np.ndarray) -> np.ndarray:
        """Complex weights as the real matrix of the same product."""
        p = self.problem
        if p.acc not in PARTS:
            return w
        w = w.reshape(p.filters, -1, self.taps)
        real, imag = np.real(w), np.imag(w)
        if p.in_dtype not in PARTS:
            return np.stack([real, imag], 1)
        return np.stack([np.stack([real, -imag], 2), np.stack([imag, real], 2)], 1)

    def _constants(self, values: Any) -> np.ndarray | None:
        """Bias or fill value as the kernel reads them: real and imaginary parts alternate."""
        if values is None:
            return None
        if self.problem.acc in PARTS:
            return np.atleast_1d(np.asarray(values, self.problem.acc)).view(self.part)
        return np.atleast_1d(np.asarray(values)).astype(self.part)

    def _bind(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> _Bound:
        """The record for arrays of these strides; the last few are remembered."""
        key = (x_strides, out_strides, threads)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = self._new_bound(x_strides, out_strides, threads)
            if len(self._bound) > 8:
                self._bound.popitem(last=False)
        return bound

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> _Bound:
        p = self.problem
        y, x = ([NO_AXIS, NO_AXIS, *spatial_axes(p, x_strides, out_strides)])[-2:]
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
            "channels_last": p.channels_last, "block_channels": self.block_channels,
            "unit_pixels": unit_pixels, "n_pixel_units": n_pixel_units, "n_chunks": chunks,
        }  # fmt: skip
        units = p.batch * p.groups * n_pixel_units * chunks
        return _Bound(record(CONV_FIELDS, values), units, scratch_bytes, (map_y, map_x, channel_of, filter_of))

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
