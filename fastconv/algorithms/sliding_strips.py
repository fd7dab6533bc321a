"""How the output of moving windows is cut into units, and what each keeps in scratch memory.

A unit holds at most `SCRATCH` bytes, whatever the image: of long windows it makes fewer columns.  A step in place
makes whole columns, or whole rows; so no unit reads what another one writes.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.algorithms.tiling import MOST_SOURCES, SLACK, Tiles, even

__all__ = ["AHEAD", "SCRATCH", "Strip", "Windows", "folds", "readable", "strip_of"]

GROUP = 8  # rows of the output made at once
VECTOR = 64  # bytes of the longest vectors
FIRST_CACHE = 40 * 1024
SECOND_CACHE = 512 * 1024
# Bytes of a unit, unless a few of its columns take more.
SCRATCH = 1_900_000
# Windows of few rows keep nothing but addresses: bytes of a row made at once.  Images of more bytes, with the output's,
# do not stay in caches: half as much, and what comes next is called for (2048x2048 float32, 3x3, one thread: 1.25 ms,
# neither 1.8 ms; smaller images get slower by a tenth).
CHUNK = 2048
AHEAD = 12 * 2**20
FILL_ROW = 256 * 1024  # bytes of a row of fill values, beside which a unit has few others
UNITS_PER_THREAD = 4


class Fold(NamedTuple):
    """A pass: windows of `reach` elements from smaller ones at `own`, and single elements at `base`."""

    reach: int
    own: tuple[int, ...]
    base: tuple[int, ...]


class Strip(NamedTuple):
    """Rows and columns of a unit, and how many of these are made at once."""

    rows: int
    cols: int
    chunk: int


class Windows(NamedTuple):
    """What scratch memory depends on besides the strip: windows of `size` bytes an element; of `pairs` of bytes; that
    `overlap`, whose elements may be taken twice; made `in_place`; in a unit of so many bytes."""

    tiles: Tiles
    size: int
    pairs: bool
    overlap: bool
    in_place: bool
    limit: int = SCRATCH

    @property
    def below(self) -> int:
        """Rows beyond the lower border that are kept from the beginning."""
        y = self.tiles.y
        return max(0, y.taps - 1 - y.pad) if self.in_place else 0

    @property
    def filled(self) -> bool:
        """Whether rows beyond the border are none of the image's."""
        return bool((self.tiles.y.edges() < 0).any())

    def layout(self, strip: Strip) -> dict[str, int]:
        """Where parts of the scratch memory begin."""
        size, taps, (_, halo) = self.size, self.tiles.y.taps, self.tiles.halo
        group = min(GROUP, strip.rows)
        pitch = vectors((strip.chunk + halo) * size + 2 * VECTOR) | VECTOR  # an odd number: rows in different sets
        n_blocks = (taps - GROUP) // GROUP
        n_blocks = n_blocks if n_blocks > 1 else 0
        rows = vectors((GROUP if taps > 1 else group) * pitch + 2 * VECTOR + SLACK)
        core = 2 * (pitch + 2 * VECTOR) if self.pairs else pitch
        apart = self.pairs or any(fold.own and fold.base for fold in folds(self.tiles.x.taps, self.overlap))
        sizes = {
            "rows": 8 * (taps + 3 * GROUP + n_blocks), "fill_row": ((strip.cols + halo) * size + VECTOR) * self.filled,
            "ring": (taps - 1 + (GROUP if taps > 1 else group)) * pitch + SLACK,
            "below": self.below * pitch, "blocks": (n_blocks + (n_blocks > 0)) * core + SLACK, "core": core + SLACK,
            "windows": rows, "second": rows * apart, "third": rows * self.pairs, "stored": rows,
        }  # fmt: skip
        at, places = 0, {}
        for name, length in sizes.items():
            places[name] = at
            at += vectors(length)
        places.pop("rows")
        places["second"] = (places["second"] - places["windows"]) * apart
        places["third"] -= places["windows"]
        return {
            **places,
            "n_below": self.below,
            "pitch": pitch // size,
            "n_blocks": n_blocks,
            "core_bytes": core,
            "scratch_bytes": at + VECTOR,
        }

    def fits(self, strip: Strip) -> bool:
        """Whether a unit holds no more than it may."""
        return self.layout(strip)["scratch_bytes"] <= self.limit


def strip_of(windows: Windows, own: bool, nbytes: int, threads: int) -> Strip | None:
    """The units of a step, of images of so many bytes with the output; None if in place they would hold too much.

    `own`: elements are accumulators without gaps.
    """
    tiles, size = windows.tiles, windows.size
    height, width = tiles.y.size, tiles.x.size
    if not windows.in_place:
        rows, cols = _rows_and_columns(windows, threads)
        chunk = even(width, CHUNK // size // (1 + (nbytes > AHEAD)))
        if not (own and tiles.y.taps < 2 * GROUP and cols < width and _all_readable(tiles, chunk, size)):
            return Strip(rows, cols, cols)
        # Nothing stays from group to group but addresses: one after another, columns are read as they lie.
        cols = min(width, max(1, FILL_ROW // size // chunk) * chunk) if windows.filled else width
        return Strip(min(rows, _rows_of_unit(tiles, cols, threads)), cols, chunk)
    if tiles.y.taps == 1:  # whole rows, all that are made at once in the second cache
        most = max(1, min(GROUP, SECOND_CACHE // (width * windows.size)))
        rows = _rows_of_unit(tiles, width, threads) if most == GROUP else most
        return next(
            (s for s in (Strip(n, width, width) for n in (rows, *range(most - 1, 0, -1))) if windows.fits(s)), None
        )
    if tiles.x.taps > 1:  # whole planes
        strip = Strip(height, width, width)
        return strip if windows.fits(strip) and prod(axis.size for axis in tiles.planes) >= threads else None
    cols = _rows_and_columns(windows, threads)[1]
    return Strip(height, cols, cols)


def _rows_and_columns(windows: Windows, threads: int) -> tuple[int, int]:
    tiles, size = windows.tiles, windows.size
    (halo_y, halo_x), height, width = tiles.halo, tiles.y.size, tiles.x.size
    shapes = []
    for i in range(width.bit_length()):
        cols = -(-width // 2**i)
        window = (cols + halo_x) * size
        cost = (1 + halo_x / cols) * (1 + 128 / (cols * size))
        cost *= 1.15 if GROUP * window * (1 if windows.overlap else 2) > FIRST_CACHE else 1.0
        cost *= 1.3 if (halo_y + GROUP) * window > SECOND_CACHE else 1.0
        shapes.append((not windows.fits(Strip(height, cols, cols)), cost, -cols, cols))
    *_, most = min(shapes)
    cols = even(width, most)
    rows = height if windows.in_place else _rows_of_unit(tiles, cols, threads)
    beside = prod(axis.size for axis in tiles.planes) * -(-width // cols) * -(-height // rows)
    if beside < threads:
        few = max(-(-width * beside // threads // UNITS_PER_THREAD), halo_x, 2048 // size)
        cols = even(width, min(few, cols))
    return rows, cols


def _rows_of_unit(tiles: Tiles, cols: int, threads: int) -> int:
    """Rows of a unit of so many columns: several units for each thread, of whole groups."""
    height, halo = tiles.y.size, tiles.halo[0]
    beside = prod(axis.size for axis in tiles.planes) * -(-tiles.x.size // cols)
    wanted = threads * UNITS_PER_THREAD if threads > 1 else 1
    if beside >= wanted:
        return height
    fewest = max(GROUP, min(halo // 2, -(-height // threads)))  # each unit folds its first windows anew
    rows = max(-(-height * beside // wanted), fewest)
    return min(height, -(-rows // GROUP) * GROUP)


def _all_readable(tiles: Tiles, cols: int, size: int) -> bool:
    return all(readable(tiles, first, cols, size) for first in range(0, tiles.x.size, cols))


def readable(tiles: Tiles, first: int, cols: int, size: int) -> bool:
    """Whether windows of the columns from `first` on need no others of the image than those next to each other."""
    x, (_, halo) = tiles.x, tiles.halo
    begin = first - x.pad
    end = begin + min(cols, x.size - first) + halo
    low, high = max(begin, 0), min(end, x.size)
    edges = x.edges()
    beyond = np.concatenate(
        [edges[begin + x.pad : x.pad] if begin < 0 else edges[:0], edges[x.pad : x.pad + max(end - x.size, 0)]]
    )
    return (high - low) * size >= VECTOR and bool(((beyond < 0) | (beyond >= low) & (beyond < high)).all())


def vectors(n: int) -> int:
    """So many bytes, rounded up to whole vectors."""
    return -(-n // VECTOR) * VECTOR


@cache
def folds(taps: int, overlap: bool) -> tuple[Fold, ...]:
    """The passes that make windows of so many taps in the fewest reads and writes."""
    if taps <= MOST_SOURCES:
        return (Fold(taps, (), tuple(range(taps))),)
    plans = []
    for parts in range(2, MOST_SOURCES + 1):
        smaller = -(-taps // parts) if overlap else taps // parts
        base = () if overlap else tuple(range(parts * smaller, taps))
        if parts + len(base) <= MOST_SOURCES:
            own = tuple(min(i * smaller, taps - smaller) for i in range(parts))
            plans.append((*folds(smaller, overlap), Fold(taps, own, base)))
    return min(plans, key=lambda plan: sum(len(f.own) + len(f.base) + 2 for f in plan))
