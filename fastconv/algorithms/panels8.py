"""Convolution of planes of 8-bit numbers, for engines with an instruction for four products of bytes: lanes are pixels.

The kernel (`PANELS8_FIELDS` of the contract) packs the windows of tiles of 64 outputs, four elements of a window side by side,
and multiplies them with panels of up to 6 filters: results are bytes in the order of their planes, nothing is transposed.
What it does not take (planes with gaps, weights with zero points, results clamped to less than their type, few lanes
filled) goes by way of pixels (`conv8`).
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.conv8 import Conv8
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import NO_AXIS, Axis, contiguous_strides, spatial_axes
from fastconv.algorithms.weights import aligned
from fastconv.engines.contract import PANEL_WEIGHTS8_FIELDS, PANELS8_FIELDS, record
from fastconv.problem import ConvProblem
from fastconv.replay import constant, contiguous, kept_weights

__all__ = ["Panels8", "takes"]

# PANEL8_ROWS and PANEL8_LANES of panels8.h; lanes of a vector.
ROWS, LANES, VECTOR = 6, 64, 16
# Bytes of packed pixels, which stay in the second cache; of where a tap is read, and all of them.
PACKED_BYTES, PIECE_BYTES, MOST_PIECES = 256 * 1024, 32, 2048
# The part of the lanes that must be filled; filters of a group that repay packing pixels.
LEAST_FILLED, LEAST_FILTERS = 0.8, 4
# Cycles: of four products, of packing four elements of 64 windows, a row of results, a unit, and a line that two threads write.
PRODUCTS, PACKING, ROUNDING, UNIT, SHARED = 2, 12, 10, 800, 100
# Every other pixel of so many channels, tap by tap, takes longer than to transpose results.
MOST_STRIDED = 32


def takes(p: ConvProblem) -> bool:
    """Whether a problem is one for panels, if its arrays are."""
    pixels = prod(p.out_shape)
    if p.stride[-1] > 1 and prod(p.kernel_shape) > 1 and p.channels > MOST_STRIDED:
        return False
    return (
        p.ndim <= 2 and set(p.boundary) == {"fill"} and p.stride[-1] <= 2 and p.filters // p.groups >= LEAST_FILTERS
        and pixels >= LEAST_FILLED * VECTOR * _vectors(pixels) and prod(p.kernel_shape) * _pieces(p) <= MOST_PIECES
    )  # fmt: skip


def _vectors(pixels: int) -> int:
    """Vectors of the tiles of a plane."""
    rest = -(-(pixels % LANES) // VECTOR)
    return pixels // LANES * (LANES // VECTOR) + (4 if rest == 3 else rest)


def _pieces(p: ConvProblem) -> int:
    """Pieces of rows that a tap of a tile has at most."""
    return LANES // p.out_shape[-1] + 2


class Panels8(Conv8):
    """Executes a `QuantizedProblem` of planes."""

    def __init__(self, problem: Any, engine: Any):
        super().__init__(problem, engine)
        self.panels = -(-self.filters // ROWS)
        self.fours = -(-self.depth // 4)
        self.sums, self.pack_panels = engine.kernel("panels8", "int32"), engine.kernel("panel_weights8", "int32")
        values = {
            "scratch_bytes": 0, "groups": self.groups, "filters": self.filters, "depth": self.depth,
            "n_panels": self.panels, "flip": self.w_shift,
        }  # fmt: skip
        self._in_panels = lru_cache(maxsize=REMEMBERED)(self._panels_bound)
        self._panel_packing = Bound(record(PANEL_WEIGHTS8_FIELDS, values), self.groups * self.panels, 0, (), ())

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        p = self.conv
        base, scales, offsets, zeros, _ = self._constants(bias)
        near = self._near(base, scales, offsets, False)
        if near == 0 or (zeros != self.w_shift).any() or not self._in_planes(x.strides, out.strides):
            super().__call__(x, w, out, bias, fill, threads)
            return
        threads = costs.threads_worth_using(p.flops // 4, p.nbytes, threads)
        numbers = np.array([int(fill), self.x_shift, int(fill) - self.x_shift, *self._limits(), near], np.int32)
        begins = np.concatenate([base, base[: len(base) % 2]]).astype(np.int32)
        constants = constant(np.concatenate([values.view(np.uint8) for values in (begins, scales, offsets)]))
        bound = self._in_panels(x.strides, out.strides, threads)
        run(self.sums, bound, x, self._panel_weights(w, threads), out, constants, constant(numbers), threads)

    def _panel_weights(self, w: np.ndarray, threads: int) -> np.ndarray:
        def packed() -> np.ndarray:
            weights = aligned(self.conv.filters * (self.fours + 1), "int32")
            run(self.pack_panels, self._panel_packing, contiguous(w), None, weights, None, None, threads)
            return weights

        kept = kept_weights.get()
        return packed() if kept is None else kept.get((self.problem, "panels"), w, packed)

    def _in_planes(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> bool:
        """Whether pixels of a row are neighbours, and those of an output plane."""
        p = self.conv
        return x_strides[-1] == out_strides[-1] == 1 and (p.ndim == 1 or out_strides[-2] == p.out_shape[-1])

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights not counted."""
        p = self.conv
        steps = contiguous_strides((p.batch, p.channels, *p.in_shape), p.in_dtype)
        out_steps = contiguous_strides((p.batch, p.filters, *p.out_shape), p.out_dtype)
        threads = costs.threads_worth_using(p.flops // 4, p.nbytes, threads)
        return max(super().workspace(threads), self._in_panels(steps, out_steps, threads).scratch_bytes * threads)

    def _panels_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p = self.conv
        axes: list[Axis] = [NO_AXIS] * (2 - p.ndim) + spatial_axes(p, x_strides, out_strides)
        y, x = axes
        pixels = prod(p.out_shape)
        tiles, chunks = self._division(pixels, threads)
        blocks = -(-pixels // (LANES * tiles))
        sums = tiles * LANES * 4 * self.fours
        pieces = sums + ROWS * LANES * 4
        values = {
            "scratch_bytes": pieces + PIECE_BYTES * (self.taps * _pieces(p) + self.taps + 8),
            "x_image": x_strides[0], "x_channel": x_strides[1], "x_row": y.x_step, "height": y.size, "width": x.size,
            "out_height": y.out_size, "out_width": x.out_size, "kernel_y": y.taps, "kernel_x": x.taps,
            "stride_y": y.stride, "stride_x": x.stride, "dilation_y": y.dilation, "dilation_x": x.dilation,
            "pad_y": y.pad, "pad_x": x.pad, "out_image": out_strides[0], "out_channel": out_strides[1],
            "groups": self.groups, "channels": self.channels, "filters": self.filters,
            "n_panels": self.panels, "n_chunks": chunks, "n_blocks": blocks, "tiles": tiles,
            "sums": sums, "pieces": pieces,
        }  # fmt: skip
        units = p.batch * self.groups * blocks * chunks
        return Bound(record(PANELS8_FIELDS, values), units, values["scratch_bytes"], (), ())

    def _division(self, pixels: int, threads: int) -> tuple[int, int]:
        """Tiles of a unit, and units that share the filters of a group."""
        all_tiles = -(-pixels // LANES)
        most = max(1, min(all_tiles, PACKED_BYTES // (LANES * 4 * self.fours)))
        most_chunks = 1 if threads == 1 else min(self.panels, 2 * threads)
        ways = [(tiles, chunks) for tiles in range(most, 0, -1) for chunks in range(1, most_chunks + 1)]
        return min(ways, key=lambda way: self._took(pixels, way[0], way[1], threads))

    def _took(self, pixels: int, tiles: int, chunks: int, threads: int) -> float:
        """About how many cycles the thread with the most units takes."""
        blocks = -(-pixels // (LANES * tiles))
        filters = -(-self.panels // chunks) * ROWS
        each = min(tiles, pixels / LANES) * (self.fours * (PRODUCTS * filters + PACKING) + ROUNDING * filters)
        each += UNIT + (SHARED * filters if blocks > 1 and threads > 1 else 0)
        return -(-self.conv.batch * self.groups * blocks * chunks // threads) * each
