"""Winograd's minimal filtering along one axis: many channels and filters of 1x3 or 3x1 taps with fewer multiplications.

Outputs are made by tiles of m: sums of products at m + 2 points stand for 3 m products, 4 for 6 or (``precision="fast"``) 6
for 12.  Kernels of 5 to 15 taps are sums of pieces of two taps and, last, of three, two apart as tiles of 2 are: 10 products
stand for 14 of 7 taps.  Errors, NaN, and what becomes of weights that are not prepared are as `fastconv.algorithms.winograd`
has them; the kernel reads the same record.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any

from fastconv.algorithms.conv import Conv
from fastconv.algorithms.executor import Bound, ConvExecutor
from fastconv.algorithms.geometry import part_size
from fastconv.algorithms.winograd import Tiles, Winograd
from fastconv.algorithms.winograd_division import TILES, Division, Way
from fastconv.engines.contract import WINOGRAD_LINE_WEIGHTS_FIELDS, record
from fastconv.problem import ConvProblem

__all__ = ["WinogradLine", "refuse"]

KERNELS = {shape for taps in range(3, 16, 2) for shape in ((1, taps), (taps, 1))}
# What work takes, in nanoseconds, float32, one thread; only ratios count.  An operation of the direct sum, and of the products;
# of a tile, each channel staged and taken at the points, and each filter summed; each channel and filter of weights taken there,
# for each tap, and packed for the direct sum.
DIRECT_NS, PRODUCT_NS = 1 / 235, 1 / 230
TILE_NS = {2: (0.35, 0.3), 4: (0.55, 0.5)}
WEIGHTS_NS, DIRECT_WEIGHTS_NS = 0.25, 0.1
LEAST_GAIN = 1.05
# Bytes of values at the points that a unit should make, and the fewest tiles of it; the most bytes of all that it makes.
UNIT_BYTES, UNIT_TILES, MOST_BYTES = 384 * 1024, 56, 4 * 2**20
LINE_BYTES = 64


def refuse(problem: ConvProblem) -> str | None:
    """Why minimal filtering along one axis cannot do a problem, or None."""
    if not isinstance(problem, ConvProblem):
        return "is for convolutions"
    if problem.precision not in TILES:
        return "is for layers of nn, in default or fast precision"
    if problem.kernel_shape not in KERNELS or {*problem.stride, *problem.dilation} != {1}:
        return "is for 1x3, 1x5 ... 1x15 taps next to each other, or 3x1 ... 15x1, and stride 1"
    if problem.acc not in ("float32", "float64") or problem.exact or problem.saturate:
        return "is for floating-point sums in any order"
    if _best_tile(problem, prepared=True) is None:
        return "needs more channels, filters or pixels to be faster"
    return None


@dataclass(frozen=True)
class Shape:
    """What is made at once: tiles of `down` x `across` outputs, by `points` points and `pieces` pieces."""

    down: int
    across: int
    taps: int
    points: int
    pieces: int
    rows: int  # of tiles of an image, and columns
    cols: int

    @property
    def more(self) -> tuple[int, int]:
        """Rows and columns of tiles beyond the last that are taken at the points."""
        return ((self.pieces - 1) * (self.down > 1), (self.pieces - 1) * (self.across > 1))


def _shape(p: ConvProblem, m: int) -> Shape:
    down, across = (1, m) if p.kernel_shape[0] == 1 else (m, 1)
    taps = max(p.kernel_shape)
    rows, cols = -(-p.out_shape[0] // down), -(-p.out_shape[1] // across)
    return Shape(down, across, taps, m + 2, (taps - 1) // 2, rows, cols)


def _best_tile(p: ConvProblem, prepared: bool) -> int | None:
    """The size of tile that is the fastest, or None if the direct sum is."""
    allowed = [m for m in TILES[p.precision] if m == 2 or _shape(p, m).pieces == 1]
    allowed = [m for m in allowed if _division(p, m, 1).scratch_bytes <= MOST_BYTES]
    best = min(allowed, key=lambda m: _nanoseconds(p, m, prepared), default=None)
    direct = p.flops * DIRECT_NS + (0.0 if prepared else _weights(p) * DIRECT_WEIGHTS_NS)
    return None if best is None or _nanoseconds(p, best, prepared) * LEAST_GAIN > direct else best


def _weights(p: ConvProblem) -> int:
    return p.channels * p.filters // p.groups * prod(p.kernel_shape)


def _products(shape: Shape) -> int:
    """Products of a tile: all pieces but the last have none at the point of infinity."""
    return (shape.points - 1) * shape.pieces + 1


def _nanoseconds(p: ConvProblem, m: int, prepared: bool) -> float:
    """About how long minimal filtering takes: float32, one thread."""
    shape = _shape(p, m)
    channels, filters = (p.groups * -(-n // p.groups // k) * k for n, k in ((p.channels, 16), (p.filters, 32)))
    tiles = p.batch * shape.rows * shape.cols
    took = 2 * _products(shape) * tiles * channels * filters // p.groups * PRODUCT_NS
    took += tiles * (channels * TILE_NS[m][0] + filters * TILE_NS[m][1])
    return took + (0.0 if prepared else _weights(p) * WEIGHTS_NS)


def _division(p: ConvProblem, m: int, threads: int, lanes: int = 16) -> Division:
    """How the work is cut into units, and where parts of a unit's scratch memory begin."""
    shape, size, wide = _shape(p, m), part_size(p.acc), 2 * lanes
    pitch, blocks = -(-p.channels // p.groups // lanes) * lanes, -(-p.filters // p.groups // wide)
    all_rows = p.batch * shape.rows
    most = max(1, max(UNIT_TILES, UNIT_BYTES // (shape.points * pitch * size)) // shape.cols)
    strips, chunks = -(-all_rows // most), 1
    if threads > 1:
        parts = sorted({-(-blocks // each) for each in range(1, blocks + 1)})
        ways = [(-(-all_rows // rows), n) for rows in range(1, most + 1) for n in parts]
        strips, chunks = min(ways, key=lambda way: _took(p, m, threads, way[0], way[1], wide))
    rows, (down, across) = -(-all_rows // strips), shape.more
    images = min(rows, (rows - 2) // shape.rows + 2) if rows > 1 else 1
    height, width = rows * shape.down, shape.cols * shape.across
    values, tiles = (rows + images * down) * (shape.cols + across), rows * shape.cols
    step = values * pitch + (LINE_BYTES // size if values * pitch * size % 4096 == 0 else 0)
    (reach_y, reach_x) = (taps - 1 for taps in p.kernel_shape)
    elements = (
        (height + reach_y * images) * (width + reach_x) * pitch + lanes * pitch,
        shape.points * step,
        shape.points * tiles * wide,
        height * width * wide + lanes * wide,
        lanes * (width + reach_x + lanes),
        0,
    )
    places = list(accumulate((-(-n * size // LINE_BYTES) * LINE_BYTES for n in elements), initial=0))
    scratch_bytes = places[-1] + wide * size + 8 * (1 + 2 * tiles + shape.pieces) + LINE_BYTES
    return Division(strips, chunks, pitch, step, tuple(places[1:]), (0, 0), scratch_bytes)


def _took(p: ConvProblem, m: int, threads: int, strips: int, chunks: int, wide: int) -> float:
    """About how long so many strips and chunks take on several threads, each of which makes one unit after the other."""
    shape, channels, filters = _shape(p, m), p.channels // p.groups, p.filters // p.groups
    rows, some = -(-p.batch * shape.rows // strips), -(-filters // wide // chunks) * wide
    each = channels * TILE_NS[m][0] + some * TILE_NS[m][1] + 2 * _products(shape) * channels * some * PRODUCT_NS
    return -(-p.groups * strips * chunks // threads) * rows * shape.cols * each


class WinogradLine(Winograd):
    """Executes a `ConvProblem` by minimal filtering, or where weights are not prepared and that takes too long, directly."""

    def __init__(self, problem: ConvProblem, engine: Any):
        prepared, packing = (_best_tile(problem, prepared) for prepared in (True, False))
        assert prepared is not None, "refused"
        self.prepared = Lines(problem, engine, prepared)
        self.packing: ConvExecutor = self.prepared
        if packing != prepared:
            self.packing = Conv(problem, engine) if packing is None else Lines(problem, engine, packing)


class Lines(Tiles):
    """Executes a `ConvProblem` by tiles of m outputs of a row or a column."""

    operation = "winograd_line"

    def __init__(self, problem: ConvProblem, engine: Any, m: int):
        super().__init__(problem, engine, Way(m))
        self.weights_kernel = engine.kernel("winograd_line_weights", problem.acc)

    def __str__(self) -> str:
        shape, kernel = _shape(self.problem, self.tile), self.problem.kernel_shape
        return (
            f"minimal filtering F({shape.down}x{shape.across}, {kernel[0]}x{kernel[1]}), "
            f"{_products(shape)} products for {shape.taps * self.tile}"
        )

    @cached_property
    def _packing(self) -> tuple[Bound, int]:
        """The record of the packing kernel, and how many elements it makes."""
        p, wide, shape = self.problem, 2 * self.lanes, _shape(self.problem, self.tile)
        pitch = -(-p.channels // p.groups // self.lanes) * self.lanes
        scratch_bytes = (2 * wide * self.lanes * shape.taps + self.lanes * wide) * self.itemsize
        values = {
            "scratch_bytes": scratch_bytes, "groups": p.groups, "filters": p.filters // p.groups,
            "channels": p.channels // p.groups, "pitch": pitch, "taps": shape.taps, "tile": self.tile,
        }  # fmt: skip
        size = self.blocks * (shape.points * shape.pieces + shape.taps) * pitch * wide
        return Bound(record(WINOGRAD_LINE_WEIGHTS_FIELDS, values), self.blocks, scratch_bytes, (), ()), size

    def _division(self, threads: int) -> tuple[Division, tuple[int, int]]:
        shape = _shape(self.problem, self.tile)
        return _division(self.problem, self.tile, threads, self.lanes), (shape.rows, shape.cols)
