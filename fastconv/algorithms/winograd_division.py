"""What minimal filtering takes, in nanoseconds, and how its work is cut into units: see `fastconv.algorithms.winograd`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import prod

from fastconv.algorithms.geometry import part_size
from fastconv.problem import ConvProblem

__all__ = [
    "TILES",
    "TURNED_VECTORS",
    "Division",
    "Way",
    "best_way",
    "division_of",
    "pieces_of",
    "products_of",
    "tiles_of",
]

# Outputs of a tile along each axis that a precision allows.
TILES = {"default": (2,), "fast": (2, 4)}
# What work takes, in nanoseconds, float32, one thread; only ratios count.  An operation of the direct sum, and of the products;
# of a tile, each channel taken at the points, and each filter summed; each channel and filter of weights taken there, and
# packed for the direct sum.
DIRECT_NS, PRODUCT_NS = 1 / 235, 1 / 235
TILE_NS = {2: (2.0, 1.6), 4: (5.0, 5.0)}
WEIGHTS_NS, DIRECT_WEIGHTS_NS = {2: 4.0, 4: 8.0}, 2.5
# ... taken there by the unit that needs them, 1.6 and 2.4 where there is but one; more of them leave less to the caches.
FRESH_NS = {2: 2.5, 4: 3.8}
# Rows of products, and pixels of an image, that are lost where tiles are not full.
LEAST_ROWS, LEAST_PIXELS = 2, 14
# A byte of weights from memory, and those larger than the second cache again from the third, each time that all are read.
MEMORY_NS, NEAR_BYTES, BYTE_NS = 1 / 34, 2**20, 1 / 150
LEAST_GAIN = 1.1
# Elements of weights of one unit that are taken at the points at once: 256 KiB for F(2x2), 288 for F(4x4).
FRESH_CHANNELS = {2: 128, 4: 64}
# Bytes of values at the points that a unit should make, and the fewest tiles of it; the most bytes of all that it makes.
UNIT_BYTES, UNIT_TILES, MOST_BYTES = 512 * 1024, 28, 4 * 2**20
# Tiles of a unit that takes weights to the points itself.
FRESH_TILES = {2: 100, 4: 64}
# Vectors of each of a block's lanes in which taps are put in order.
TURNED_VECTORS = 20
LINE_BYTES = 64


@dataclass(frozen=True)
class Way:
    """Rows, and columns, of a tile, and whether each unit takes the weights it needs to the points."""

    tile: int
    fresh: bool = False


def best_way(p: ConvProblem, prepared: bool) -> Way | None:
    """The fastest way, or None if the direct sum is."""
    larger = pieces_of(p) > 1
    tiles = (2,) if larger else TILES[p.precision]
    ways = [Way(m, own) for m in tiles for own in ((False,) if prepared or larger else (True, False))]
    allowed = [way for way in ways if division_of(p, way, 1).scratch_bytes <= MOST_BYTES]
    best = min(allowed, key=lambda way: _nanoseconds(p, way, prepared), default=None)
    if best is None or _nanoseconds(p, best, prepared) * LEAST_GAIN > _direct_nanoseconds(p, prepared):
        return None
    return best


def _direct_nanoseconds(p: ConvProblem, prepared: bool) -> float:
    """About how long the direct sum takes: float32, one thread."""
    packing = 0.0 if prepared else p.channels * p.filters // p.groups * DIRECT_WEIGHTS_NS
    return p.flops * DIRECT_NS * (1 + LEAST_PIXELS / prod(p.out_shape)) + packing


def _nanoseconds(p: ConvProblem, way: Way, prepared: bool) -> float:
    """About how long minimal filtering takes: float32, one thread."""
    m, (rows, cols) = way.tile, tiles_of(p, way.tile)
    channels, filters = (
        p.groups * -(-n // p.groups // lanes) * lanes for n, lanes in ((p.channels, 16), (p.filters, 32))
    )
    tiles, points, pairs = p.batch * rows * cols, products_of(p, m), channels * filters // p.groups
    units, weights = -(-tiles // UNIT_TILES), points * pairs * 4
    more = pieces_of(p) - 1
    values = p.batch * (rows + more) * (cols + more)
    took = 2 * points * (tiles + LEAST_ROWS * units) * pairs * PRODUCT_NS
    took += values * channels * TILE_NS[m][0] + tiles * filters * TILE_NS[m][1]
    if way.fresh:
        return took + division_of(p, way, 1).strips * pairs * FRESH_NS[m]
    took += units * weights * BYTE_NS if weights > NEAR_BYTES else 0.0
    return max(took, weights * MEMORY_NS) + (0.0 if prepared else pairs * WEIGHTS_NS[m] * pieces_of(p) ** 2)


def pieces_of(p: ConvProblem) -> int:
    """How many pieces a kernel is the sum of along an axis."""
    return (p.kernel_shape[0] - 1) // 2


def products_of(p: ConvProblem, m: int) -> int:
    """Products of a tile: all pieces but the last have none at the point of infinity."""
    return ((m + 1) * pieces_of(p) + 1) ** 2


def tiles_of(p: ConvProblem, m: int) -> tuple[int, int]:
    """Rows and columns of tiles of an image."""
    return -(-p.out_shape[0] // m), -(-p.out_shape[1] // m)


@dataclass(frozen=True)
class Division:
    """How the work is cut into units, and where parts of a unit's scratch memory begin: WINOGRAD_FIELDS."""

    strips: int
    chunks: int
    pitch: int
    step: int
    places: tuple[int, ...]  # "values", "products", "sums", "lines", "weights", "tables"
    some: tuple[int, int]  # channels whose weights are taken to the points at once, elements from point to point
    scratch_bytes: int


def division_of(p: ConvProblem, way: Way, threads: int, lanes: int = 16) -> Division:
    """Units of about as many tiles as their values fit into the second cache, and evenly many for each thread."""
    tile_rows, tile_cols = tiles_of(p, way.tile)
    size, all_rows, wide = part_size(p.acc), p.batch * tile_rows, 2 * lanes
    pitch = -(-p.channels // p.groups // lanes) * lanes
    least = FRESH_TILES[way.tile] if way.fresh else UNIT_TILES
    rows = max(1, max(least, UNIT_BYTES // ((way.tile + 2) ** 2 * pitch * size)) // tile_cols)

    def too_large(rows: int) -> bool:
        return _scratch(p, way, -(-all_rows // -(-all_rows // rows)), pitch, lanes)[0][-1] > MOST_BYTES

    while way.fresh and rows > 1 and too_large(rows):
        rows -= 1
    strips, chunks = -(-all_rows // rows), 1
    if threads > 1:
        units = [(-(-all_rows // n), chunks) for n in range(1, rows + 1) for chunks in _chunks(p, wide)]
        strips, chunks = min(units, key=lambda each: _nanoseconds_of(p, way, threads, each, wide))
    places, step, some = _scratch(p, way, -(-all_rows // strips), pitch, lanes)
    return Division(strips, chunks, pitch, step, tuple(places[1:-1]), some, places[-1])


def _scratch(p: ConvProblem, way: Way, rows: int, pitch: int, lanes: int) -> tuple[list[int], int, tuple[int, int]]:
    """Where parts of a unit's scratch memory begin and end, and steps in them."""
    m, points, wide, size = way.tile, (way.tile + 2) ** 2, 2 * lanes, part_size(p.acc)
    (tile_rows, tile_cols), more, reach = tiles_of(p, m), pieces_of(p) - 1, p.kernel_shape[0] - 1
    images = min(rows, (rows - 2) // tile_rows + 2) if rows > 1 else 1
    tiles, cols, values = rows * tile_cols, tile_cols * m, (rows + images * more) * (tile_cols + more)
    step = values * pitch + (LINE_BYTES // size if values * pitch * size % 4096 == 0 else 0)
    channels = min(FRESH_CHANNELS[m], pitch)
    some = channels * wide + LINE_BYTES // size
    parts = (
        (rows * m + reach * images) * (cols + reach) * pitch + lanes * pitch,
        points * step,
        points * tiles * wide,
        rows * m * cols * wide + lanes * wide,
        lanes * (cols + reach + lanes),
        TURNED_VECTORS * lanes * wide + max(points * some, 9 * pitch * wide) if way.fresh else 0,
    )
    places = list(accumulate((-(-part * size // LINE_BYTES) * LINE_BYTES for part in parts), initial=0))
    scratch_bytes = places[-1] + wide * size + 8 * (1 + 2 * tiles + 2 * (more + 1) ** 2) + LINE_BYTES
    return [*places, scratch_bytes], step, (channels, some)


def _chunks(p: ConvProblem, wide: int) -> list[int]:
    """Numbers of chunks of a group's filters, one for each number of blocks that the largest may have."""
    blocks = -(-p.filters // p.groups // wide)
    return sorted({-(-blocks // each) for each in range(1, blocks + 1)})


def _nanoseconds_of(p: ConvProblem, way: Way, threads: int, units: tuple[int, int], wide: int) -> float:
    """About how long so many strips and chunks take on several threads, each of which makes one unit after the other."""
    m, (rows, cols), (strips, chunks) = way.tile, tiles_of(p, way.tile), units
    channels, filters, points = p.channels // p.groups, p.filters // p.groups, products_of(p, m)
    tiles, some = -(-p.batch * rows // strips) * cols, -(-filters // wide // chunks) * wide
    taken = tiles * (channels * TILE_NS[m][0] + some * TILE_NS[m][1])
    products = 2 * points * channels * some * (tiles + LEAST_ROWS * -(-tiles // UNIT_TILES)) * PRODUCT_NS
    fresh = channels * some * FRESH_NS[m] if way.fresh else 0.0
    return -(-p.groups * strips * chunks // threads) * (taken + products + fresh)
