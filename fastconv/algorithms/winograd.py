"""Winograd's minimal filtering: many channels and filters of 3x3 taps with less than half of the multiplications.

Kernels of 5x5 and 7x7 taps are sums of pieces of 3x3, 3x2, 2x3 and 2x2 taps, two apart: so far as tiles of 2x2 are, so that the
pieces share the values at the points.  49 products stand for 100, 100 for 196, with errors like the direct sum's.

Outputs are made by tiles of m x m: sums of products at (m + 2)^2 points stand for 9 m^2 products (doi:10.1109/CVPR.2016.435).
m = 2 makes rounding errors like the direct sum's, m = 4 about six times as large ones, so that only
``precision="fast"`` takes it.  NaN, infinity and overflow at the points are noticed, and tiles that hold them summed directly.

The kernel (`WINOGRAD_FIELDS` of the contract) makes all products of some rows of tiles while they are in the second cache.
Weights at the points are packed for each call, unless they are prepared: where that takes longer than it saves, the
matrix product of `fastconv.algorithms.conv` does the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.conv import Conv
from fastconv.algorithms.conv import is_ready as conv_is_ready
from fastconv.algorithms.executor import Bound, ConvExecutor, run
from fastconv.algorithms.geometry import geometry, part_size, spatial_axes
from fastconv.algorithms.weights import aligned
from fastconv.engines.contract import (
    ACTIVATIONS,
    WINOGRAD_FIELDS,
    WINOGRAD_PIECES_FIELDS,
    WINOGRAD_WEIGHTS_FIELDS,
    record,
    slope_bits,
)
from fastconv.problem import ConvProblem
from fastconv.replay import constant, contiguous, copy_into, kept_weights, zeros

__all__ = ["Winograd", "is_ready", "larger_kernels", "refuse"]

# Outputs of a tile along each axis that a precision allows.
TILES = {"default": (2,), "fast": (2, 4)}
KERNELS = [(taps, taps) for taps in range(3, 16, 2)]
# What work takes, in nanoseconds, float32, one thread; only ratios count.  An operation of the direct sum, and of the products;
# of a tile, each channel taken at the points, and each filter summed; each channel and filter of weights taken there, and
# packed for the direct sum.
DIRECT_NS, PRODUCT_NS = 1 / 235, 1 / 235
TILE_NS = {2: (2.0, 1.6), 4: (5.0, 5.0)}
WEIGHTS_NS, DIRECT_WEIGHTS_NS = {2: 4.0, 4: 8.0}, 2.5
# Rows of products, and pixels of an image, that are lost where tiles are not full.
LEAST_ROWS, LEAST_PIXELS = 2, 14
# A byte of weights from memory, and those larger than the second cache again from the third, each time that all are read.
MEMORY_NS, NEAR_BYTES, BYTE_NS = 1 / 34, 2**20, 1 / 150
LEAST_GAIN = 1.1
# Bytes of values at the points that a unit should make, and the fewest tiles of it; the most bytes of all that it makes.
UNIT_BYTES, UNIT_TILES, MOST_BYTES = 512 * 1024, 28, 4 * 2**20
# Results of so many bytes are written past the caches.
STREAM_BEYOND = 8 * 2**20
LINE_BYTES = 64


def refuse(problem: ConvProblem) -> str | None:
    """Why minimal filtering cannot do a problem, or None."""
    if not isinstance(problem, ConvProblem):
        return "is for convolutions"
    if problem.precision not in TILES:
        return "is not for strict precision"
    if problem.kernel_shape not in KERNELS or {*problem.stride, *problem.dilation} != {1}:
        return "is for 3x3, 5x5, 7x7 ... 15x15 taps next to each other, and stride 1"
    if problem.acc not in ("float32", "float64") or problem.exact or problem.saturate:
        return "is for floating-point sums in any order"
    if _best_tile(problem, prepared=True) is None:
        return "needs more channels, filters or pixels to be faster"
    return None


def larger_kernels(problem: ConvProblem) -> str | None:
    """Why a kernel for 3x3 taps alone cannot do a problem, or None."""
    return "is for 3x3 taps" if problem.kernel_shape != (3, 3) else None


def is_ready(problem: ConvProblem, engine: Any) -> bool:
    """Whether the engine's kernels are compiled."""
    kernels = all(engine.is_ready(name, problem.acc) for name in ("winograd", "winograd_weights"))
    return kernels and conv_is_ready(problem, engine)


def _best_tile(p: ConvProblem, prepared: bool) -> int | None:
    """The size of tile that is the fastest, or None if the direct sum is."""
    allowed = [m for m in TILES[p.precision] if m == 2 or _pieces(p) == 1]
    allowed = [m for m in allowed if _division(p, m, 1).scratch_bytes <= MOST_BYTES]
    best = min(allowed, key=lambda m: _nanoseconds(p, m, prepared), default=None)
    if best is None or _nanoseconds(p, best, prepared) * LEAST_GAIN > _direct_nanoseconds(p, prepared):
        return None
    return best


def _direct_nanoseconds(p: ConvProblem, prepared: bool) -> float:
    """About how long the direct sum takes: float32, one thread."""
    packing = 0.0 if prepared else p.channels * p.filters // p.groups * DIRECT_WEIGHTS_NS
    return p.flops * DIRECT_NS * (1 + LEAST_PIXELS / prod(p.out_shape)) + packing


def _nanoseconds(p: ConvProblem, m: int, prepared: bool) -> float:
    """About how long minimal filtering takes: float32, one thread."""
    rows, cols = _tiles(p, m)
    channels, filters = (
        p.groups * -(-n // p.groups // lanes) * lanes for n, lanes in ((p.channels, 16), (p.filters, 32))
    )
    tiles, points, pairs = p.batch * rows * cols, _products(p, m), channels * filters // p.groups
    units, weights = -(-tiles // UNIT_TILES), points * pairs * 4
    more = _pieces(p) - 1
    values = p.batch * (rows + more) * (cols + more)
    took = 2 * points * (tiles + LEAST_ROWS * units) * pairs * PRODUCT_NS
    took += values * channels * TILE_NS[m][0] + tiles * filters * TILE_NS[m][1]
    took += units * weights * BYTE_NS if weights > NEAR_BYTES else 0.0
    return max(took, weights * MEMORY_NS) + (0.0 if prepared else pairs * WEIGHTS_NS[m] * _pieces(p) ** 2)


def _pieces(p: ConvProblem) -> int:
    """How many pieces a kernel is the sum of along an axis."""
    return (p.kernel_shape[0] - 1) // 2


def _products(p: ConvProblem, m: int) -> int:
    """Products of a tile: all pieces but the last have none at the point of infinity."""
    return ((m + 1) * _pieces(p) + 1) ** 2


def _tiles(p: ConvProblem, m: int) -> tuple[int, int]:
    """Rows and columns of tiles of an image."""
    return -(-p.out_shape[0] // m), -(-p.out_shape[1] // m)


@dataclass(frozen=True)
class Division:
    """How the work is cut into units, and where parts of a unit's scratch memory begin: WINOGRAD_FIELDS."""

    strips: int
    chunks: int
    pitch: int
    step: int
    places: tuple[int, ...]  # "values", "products", "sums", "lines", "tables"
    scratch_bytes: int


def _division(p: ConvProblem, m: int, threads: int, lanes: int = 16) -> Division:
    tile_rows, tile_cols = _tiles(p, m)
    size, points, all_rows = part_size(p.acc), (m + 2) ** 2, p.batch * tile_rows
    more = _pieces(p) - 1
    pitch, wide = -(-p.channels // p.groups // lanes) * lanes, 2 * lanes
    rows = max(1, max(UNIT_TILES, UNIT_BYTES // (points * pitch * size)) // tile_cols)
    strips, chunks = -(-all_rows // rows), 1
    if threads > 1:
        ways = [(-(-all_rows // n), chunks) for n in range(1, rows + 1) for chunks in _chunks(p, wide)]
        strips, chunks = min(ways, key=lambda way: _nanoseconds_of(p, m, threads, way[0], way[1], wide))
    rows = -(-all_rows // strips)
    images = min(rows, (rows - 2) // tile_rows + 2) if rows > 1 else 1
    tiles, cols, values = rows * tile_cols, tile_cols * m, (rows + images * more) * (tile_cols + more)
    step = values * pitch + (LINE_BYTES // size if values * pitch * size % 4096 == 0 else 0)
    reach = p.kernel_shape[0] - 1
    parts = (
        (rows * m + reach * images) * (cols + reach) * pitch + lanes * pitch,
        points * step,
        points * tiles * wide,
        rows * m * cols * wide + lanes * wide,
        lanes * (cols + reach + lanes),
    )
    places = list(accumulate((-(-part * size // LINE_BYTES) * LINE_BYTES for part in parts), initial=0))
    scratch_bytes = places[-1] + wide * size + 8 * (1 + 2 * tiles + 2 * (more + 1) ** 2) + LINE_BYTES
    return Division(strips, chunks, pitch, step, tuple(places[1:]), scratch_bytes)


def _chunks(p: ConvProblem, wide: int) -> list[int]:
    """Numbers of chunks of a group's filters, one for each number of blocks that the largest may have."""
    blocks = -(-p.filters // p.groups // wide)
    return sorted({-(-blocks // each) for each in range(1, blocks + 1)})


def _nanoseconds_of(p: ConvProblem, m: int, threads: int, strips: int, chunks: int, wide: int) -> float:
    """About how long so many strips and chunks take on several threads, each of which makes one unit after the other."""
    rows, cols = _tiles(p, m)
    channels, filters, points = p.channels // p.groups, p.filters // p.groups, _products(p, m)
    tiles, some = -(-p.batch * rows // strips) * cols, -(-filters // wide // chunks) * wide
    taken = tiles * (channels * TILE_NS[m][0] + some * TILE_NS[m][1])
    products = 2 * points * channels * some * (tiles + LEAST_ROWS * -(-tiles // UNIT_TILES)) * PRODUCT_NS
    return -(-p.groups * strips * chunks // threads) * (taken + products)


class Winograd:
    """Executes a `ConvProblem` by minimal filtering, or where weights are not prepared and that takes too long, directly."""

    def __init__(self, problem: ConvProblem, engine: Any):
        prepared, packing = (_best_tile(problem, prepared) for prepared in (True, False))
        assert prepared is not None, "refused"
        self.prepared = Tiles(problem, engine, prepared)
        self.packing: ConvExecutor = self.prepared
        if packing != prepared:
            self.packing = Conv(problem, engine) if packing is None else Tiles(problem, engine, packing)

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        (self.packing if kept_weights.get() is None else self.prepared)(x, w, out, bias, fill, threads)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, packed weights not counted."""
        return max(self.prepared.workspace(threads), self.packing.workspace(threads))

    def describe(self, threads: int) -> str:
        """How the sums are made, in words."""
        if self.packing is self.prepared:
            return str(self.prepared)
        unprepared = self.packing if isinstance(self.packing, Tiles) else "a matrix product"
        return f"{self.prepared} with prepared weights, else {unprepared}"


class Tiles(ConvExecutor):
    """Executes a `ConvProblem` by tiles of m x m outputs."""

    operation = "winograd"

    def __init__(self, problem: ConvProblem, engine: Any, m: int):
        super().__init__(problem, engine)
        self.tile = m
        self.lanes = engine.GEMM[1] // 2 // self.itemsize
        self.weights_kernel = engine.kernel(
            "winograd_pieces" if _pieces(problem) > 1 else "winograd_weights", problem.acc
        )
        self.blocks = problem.groups * -(-problem.filters // problem.groups // (2 * self.lanes))

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        threads = costs.threads_worth_using(self.problem.flops, self.problem.nbytes, threads)
        bound, kept = self._bind(x.strides, out.strides, threads), kept_weights.get()

        def packed() -> np.ndarray:
            return self._packed(contiguous(w, self.part), threads)

        weights = packed() if kept is None else kept.get((self.problem, self.tile), w, packed)
        run(self.kernel, bound, x, weights, out, self._biases(bias), self._constants(fill), threads)

    def __str__(self) -> str:
        m, taps = self.tile, self.problem.kernel_shape[0]
        return (
            f"minimal filtering F({m}x{m}, {taps}x{taps}), {_products(self.problem, m)} products for {(taps * m) ** 2}"
        )

    def _pack(self, w: np.ndarray, order: tuple[int, ...]) -> tuple[np.ndarray, list]:
        raise NotImplementedError("weights are packed by a kernel")

    def _packed(self, w: np.ndarray, threads: int) -> np.ndarray:
        """Weights at the points, of dense ones of the kernel's type."""
        bound, size = self._packing
        packed = aligned(size, self.part)
        run(self.weights_kernel, bound, w, None, packed, None, None, threads)
        return packed

    @cached_property
    def _packing(self) -> tuple[Bound, int]:
        """The record of the packing kernel, and how many elements it makes."""
        p, wide = self.problem, 2 * self.lanes
        pitch = -(-p.channels // p.groups // self.lanes) * self.lanes
        if _pieces(p) > 1:
            return self._packing_of_pieces(pitch)
        scratch_bytes = wide * self.lanes * (2 * 9 + (self.tile + 2) ** 2) * self.itemsize
        values = {
            "scratch_bytes": scratch_bytes, "groups": p.groups, "filters": p.filters // p.groups,
            "channels": p.channels // p.groups, "pitch": pitch, "tile": self.tile,
        }  # fmt: skip
        matrices = self.blocks * ((self.tile + 2) ** 2 + 9)
        size = matrices * pitch * wide + -(-self.blocks // wide) * wide
        return Bound(record(WINOGRAD_WEIGHTS_FIELDS, values), self.blocks, scratch_bytes, (), ()), size

    def _packing_of_pieces(self, pitch: int) -> tuple[Bound, int]:
        p, wide, taps = self.problem, 2 * self.lanes, self.problem.kernel_shape[0]
        scratch_bytes = 2 * wide * self.lanes * taps**2 * self.itemsize
        values = {
            "scratch_bytes": scratch_bytes, "groups": p.groups, "filters": p.filters // p.groups,
            "channels": p.channels // p.groups, "pitch": pitch, "taps": taps,
        }  # fmt: skip
        size = self.blocks * (16 * _pieces(p) ** 2 + taps**2) * pitch * wide
        return Bound(record(WINOGRAD_PIECES_FIELDS, values), self.blocks, scratch_bytes, (), ()), size

    def _biases(self, bias: np.ndarray | None) -> np.ndarray:
        """One for each filter, as lanes; 0 if there are none."""
        groups, values = self.problem.groups, self._constants(bias)
        shape = groups, self.blocks // groups * 2 * self.lanes
        if values is None:
            return constant(np.zeros(shape, self.part))
        packed = zeros(shape, self.part)
        copy_into(packed[:, : self.problem.filters // groups], values.reshape(groups, -1))
        return packed

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p, size = self.problem, self.itemsize
        y, x = spatial_axes(p, x_strides, out_strides)
        maps = [axis.edges() for axis in (y, x)]
        division, (tile_rows, tile_cols) = _division(p, self.tile, threads, self.lanes), _tiles(p, self.tile)
        direct = p.out_dtype == self.part and (out_strides[1] == size or p.filters == 1)
        values = {
            **geometry(p, y, x, *maps),
            "scratch_bytes": division.scratch_bytes,
            "batch": p.batch, "x_image": x_strides[0], "out_image": out_strides[0],
            "groups": p.groups, "channels": p.channels // p.groups, "filters": p.filters // p.groups,
            "x_channel": x_strides[1], "out_filter": out_strides[1],
            "tile": self.tile, "tile_rows": tile_rows, "tile_cols": tile_cols,
            "n_strips": division.strips, "n_chunks": division.chunks,
            "planes": not p.channels_last, "store_direct": direct,
            "stream": p.batch * p.filters * y.out_size * x.out_size * size >= STREAM_BEYOND,
            "pitch": division.pitch, "step": division.step,
            **dict(zip(("values", "products", "sums", "lines", "tables"), division.places, strict=True)),
            "activation": ACTIVATIONS[p.activation], "slope": slope_bits(p.slope),
        }  # fmt: skip
        units = p.groups * division.strips * division.chunks
        scratch_bytes = division.scratch_bytes
        return Bound(record(WINOGRAD_FIELDS, values), units, scratch_bytes, (), tuple(maps))
