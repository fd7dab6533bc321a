"""Gradients of 3x3 kernels at stride 1 by way of points: the adjoints of Winograd's F(2x2, 3x3) and F(4x4, 3x3).

The kernel (`WINOGRAD_GRADIENT_FIELDS` of the contract) packs blocks of pixels as `WeightGradient` does, takes tiles of inputs
and of m x m gradients at (m + 2)^2 points, and adds outer products there, which stand for 9 m^2.  m = 4 makes rounding errors
five to eight times as large, so that only ``precision="fast"`` takes it.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from fastconv.algorithms import weight_gradient
from fastconv.algorithms.executor import Bound
from fastconv.algorithms.weight_gradient import UNITS, UNITS_PER_THREAD, Packing, WeightGradient, even
from fastconv.boundary import index_map
from fastconv.engines.contract import WEIGHT_GRADIENT_FIELDS
from fastconv.problem import ConvProblem, Problem, WeightGradientProblem

__all__ = ["WinogradGradient", "refuse"]

# Tiles of a block, and channels or filters of a unit: values and sums at all points stay in the second cache.
TILES, CHANNELS = {2: 56, 4: 32}, 64
# Filters where all tiles are one block, so that no sums wait: input is packed for fewer units.
FILTERS_OF_ONE = 128
# Fewer channels or filters are not worth the way; blocks of a part, for its sums to cost little.
LEAST_CHANNELS, PART_BLOCKS = 32, 3
# Fewer tiles take no less time at the points: their kernels are made of as many sums.
LEAST_TILES = 32


def refuse(problem: Problem) -> str | None:
    """Why the kernel cannot do a problem, or None."""
    why = weight_gradient.refuse(problem)
    if why is not None or not isinstance(problem, WeightGradientProblem):
        return why
    p = problem.conv
    if p.precision == "strict":
        return "is for layers of nn, in default or fast precision"
    if p.kernel_shape != (3, 3) or p.stride != (1, 1) or p.dilation != (1, 1) or p.groups > 1:
        return "is for kernels of 3x3 taps, of all channels, at stride 1"
    if any(rule != "fill" for rule in p.boundary):
        return "is for zeros beyond the borders"
    if p.acc not in ("float32", "float64"):
        return f"does not sum in {p.acc}"
    if _tiles(p, 2) < LEAST_TILES:
        return "is for more pixels"
    return "is for more channels and filters" if min(p.channels, p.filters) < LEAST_CHANNELS else None


def _tiles(p: ConvProblem, m: int) -> int:
    return p.batch * prod(-(-n // m) for n in p.out_shape)


class WinogradGradient(WeightGradient):
    """Executes a `WeightGradientProblem` of 3x3 taps with an engine's kernel."""

    operation = "winograd_gradient"

    def _divide(self) -> None:
        """Blocks of tiles, and parts of them."""
        p = self.problem.conv
        m = self.tile = 4 if p.precision == "fast" and _tiles(p, 4) >= LEAST_TILES else 2
        pixels = m * m * TILES[m]
        height, width = (-(-n // m) * m for n in self.sizes)
        cols = even(width, m * TILES[m], m)
        rows = even(height, max(m, pixels // cols), m)
        images = even(self.images, max(1, pixels // (rows * cols))) if (rows, cols) == (height, width) else 1
        self.block = images, rows, cols
        self.packed = [self._halo(axis) for axis in self.inner]
        self.places = images * (rows + 2) * (cols + 2)
        self.joined = self.swapped = False
        self.parts = max(1, min(UNITS // self._units(*self._unit(1)), self._blocks() // PART_BLOCKS))

    def _halo(self, axis: int) -> Packing:
        """The inputs of all tiles along an axis."""
        p = self.problem.conv
        size, pad = p.in_shape[axis], p.pad[axis]
        count = -(-p.out_shape[axis] // self.tile) * self.tile + 2
        sources = np.ascontiguousarray(index_map(np.arange(count) - pad, size, "fill"))
        inner = min(count, pad)
        return Packing(sources, 1, 1, inner, max(inner, min(count, size + pad)), 1)

    def _unit(self, threads: int) -> tuple[int, int]:
        """Channels and filters of a unit."""
        most = FILTERS_OF_ONE if self._blocks() == 1 else CHANNELS
        unit_c, unit_f = even(self.channels, CHANNELS, self.lanes), even(self.filters, most, 2 * self.lanes)
        while unit_f > CHANNELS and self._units(unit_c, unit_f) < UNITS_PER_THREAD * threads:
            unit_f = even(self.filters, unit_f - 1, 2 * self.lanes)
        return unit_c, unit_f

    def _blocks(self) -> int:
        images, rows, cols = self.block
        return -(-self.images // images) * -(-self.sizes[0] // rows) * -(-self.sizes[1] // cols)

    def _sources(self) -> tuple[np.ndarray, ...]:
        """Rows and columns of tiles; those of the gradient that are too many are zeros."""
        wide = (np.arange(-(-n // self.tile) * self.tile) for n in self.sizes)
        outputs = (np.where(places < n, places, -1) for places, n in zip(wide, self.sizes, strict=True))
        return (*(packing.sources.astype(np.int64) for packing in self.packed), *outputs)

    def _new_bound(
        self, x: tuple[int, ...], g: tuple[int, ...], out: tuple[int, ...], threads: int
    ) -> tuple[Bound, bool]:
        bound, direct = super()._new_bound(x, g, out, threads)
        values = dict(zip(WEIGHT_GRADIENT_FIELDS, bound.slots.tolist(), strict=True))
        (unit_c, _), (images, rows, cols) = self._unit(threads), self.block
        m, lanes, b_pitch = self.tile, self.lanes, values["b_pitch"]
        tiles, points = images * rows * cols // m**2, (m + 2) ** 2
        a_pitch = -(-unit_c // lanes) * lanes
        heights = -(-unit_c // self.rows) * -(-unit_c // -(-unit_c // self.rows))
        begin = -(-bound.scratch_bytes // 64) * 64
        sums = heights * b_pitch if self._blocks() > 1 else self.rows * 2 * lanes
        each = tiles * (a_pitch + b_pitch) + sums + 2 * lanes
        scratch = begin + points * each * self.itemsize
        slots = np.append(bound.slots, [m, begin // self.itemsize])
        slots[WEIGHT_GRADIENT_FIELDS.index("scratch_bytes")] = scratch
        return replace(bound, slots=slots, scratch_bytes=scratch), direct
