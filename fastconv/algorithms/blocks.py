"""Blocks of an output, each made from the part of the input that it needs, so that what lies between two passes is small."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from fastconv.boundary import index_map

__all__ = ["BLOCK_BYTES", "Block", "Line", "blocks_of", "cut"]

# Bytes between two passes for each thread, where lines have few taps and where one has more than that.
BLOCK_BYTES, LONG, LONG_BYTES = 3 * 2**19, 17, 9 * 2**19
# Outputs of a block at least: along the first filtered axis, along others, along the last one; and as a multiple of what
# windows reach beyond them.  Whole rows are the fastest (256x256x256, 9 taps: 7 ms down blocks of them, 17 down halves), and
# blocks smaller than their windows' reach are slow (128x128x128, 65 taps: 6.4 ms with 4 MB, 11 with 1.5 MB).  BLOCK_ROWS: of
# which they are a multiple where they can be.
BLOCK_ROWS = 16
LEAST = (
    (BLOCK_ROWS, 16, 1 << 30, 2.0),
    (BLOCK_ROWS, 16, 1024, 1.0),
    (BLOCK_ROWS, 16, 256, 0.5),
    (BLOCK_ROWS, 16, 64, 0),
)


@dataclass(frozen=True)
class Line:
    """An axis: elements of the input and the output, taps, how far windows begin before it, how it is continued."""

    size: int
    out_size: int
    taps: int = 1
    pad: int = 0
    rule: str = "fill"


@dataclass(frozen=True)
class Part:
    """Some outputs of a line, what of its input they are made from (`places`, if no slice holds it), and their pad."""

    target: slice
    source: slice
    places: np.ndarray | None
    size: int
    pad: int

    @property
    def out_size(self) -> int:
        return self.target.stop - self.target.start


@dataclass(frozen=True)
class Block:
    """Parts of all axes."""

    parts: tuple[Part, ...]

    @property
    def shape(self) -> tuple[tuple[int, int, int], ...]:
        """What the passes of blocks have in common."""
        return tuple((part.size, part.out_size, part.pad) for part in self.parts)

    @property
    def target(self) -> tuple[slice, ...]:
        return tuple(part.target for part in self.parts)

    def source(self, x: np.ndarray) -> np.ndarray:
        """What the block is made from."""
        x = x[tuple(part.source for part in self.parts)]
        for axis, part in enumerate(self.parts):
            if part.places is not None:
                x = x.take(part.places, axis)
        return x


def cut(lines: Sequence[Line], first: Collection[int], itemsize: int, threads: int) -> list[int]:
    """Outputs of a block along each axis, so that what lies behind the pass along the `first` axes is small."""
    limit = threads * (BLOCK_BYTES if max(line.taps for line in lines) <= LONG else LONG_BYTES)
    for least in LEAST:
        steps = [line.out_size for line in lines]
        for axis in range(len(lines)):
            steps[axis] = _step(lines, steps, axis, first, limit // itemsize, least)
        if prod(_between(lines, steps, first)) * itemsize <= limit:
            break
    return steps


def _between(lines: Sequence[Line], steps: Sequence[int], first: Collection[int]) -> list[int]:
    """Elements along each axis behind the first pass."""
    return [
        step if axis in first or line.taps == 1 else min(step + line.taps - 1, line.size)
        for axis, (line, step) in enumerate(zip(lines, steps, strict=True))
    ]


def _step(
    lines: Sequence[Line],
    steps: list[int],
    axis: int,
    first: Collection[int],
    limit: int,
    least: tuple[int, int, int, float],
) -> int:
    """Outputs along an axis, where others have so many."""
    line, (rows, some, across, often) = lines[axis], least
    beside, reach = 0 if axis in first else line.taps - 1, int(often * (line.taps - 1))
    around = prod(n for i, n in enumerate(_between(lines, steps, first)) if i != axis)
    reach = min(reach, 4 * BLOCK_ROWS) if axis in first else reach
    fewest = max(rows if axis in first else some, reach) if line.taps > 1 or axis > min(first) else 1
    if axis == len(lines) - 1 > 0:
        fewest = max(fewest, across)
    step = min(line.out_size, max(limit // around - beside, fewest))
    if step < line.out_size:  # as even as whole tiles allow
        multiple = min(fewest, BLOCK_ROWS)
        step = -(-line.out_size // -(-line.out_size // step) // multiple) * multiple
    return step


def blocks_of(lines: Sequence[Line], steps: Sequence[int]) -> list[Block]:
    """The blocks of so many outputs along each axis."""
    parts = [
        [_part(line, start, min(start + step, line.out_size)) for start in range(0, line.out_size, step)]
        for line, step in zip(lines, steps, strict=True)
    ]
    return [Block(chosen) for chosen in product(*parts)]


def _part(line: Line, start: int, stop: int) -> Part:
    begin, end = start - line.pad, stop - line.pad + line.taps - 1
    inside = slice(max(begin, 0), min(end, line.size))
    wanted = index_map(np.arange(begin, end), line.size, line.rule)
    seen = index_map(np.arange(begin, end) - inside.start, inside.stop - inside.start, line.rule)
    if np.array_equal(wanted, np.where(seen < 0, -1, seen + inside.start)):
        return Part(slice(start, stop), inside, None, inside.stop - inside.start, inside.start - begin)
    return Part(slice(start, stop), slice(None), wanted, end - begin, 0)
