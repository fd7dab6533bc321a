"""Blocks of an output, each made from the part of the input that it needs, so that what lies between two passes is small."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import ceil, prod
from typing import Any

import numpy as np

from fastconv.boundary import index_map
from fastconv.replay import copy_into

__all__ = ["BLOCK_BYTES", "Block", "Line", "blocks_of", "copied", "cut", "parts_of", "repeats"]

# Bytes between two passes for each thread.
BLOCK_BYTES = 5 * 2**18
# Outputs along the first filtered axis are a multiple of those of a tile, where they can be.
ROWS = 8
# What blocks cost, in taps: a row that the first pass reads beside those that it makes; an element of the first pass for
# rows that are cut, which are not made in one run with those behind them (256x256x256, 9 taps: 7 ms down blocks of whole rows,
# 17 down halves), and for the end of a row; a block, in elements.
READ, CUT, END, BLOCK = 1.0, 8.0, 64.0, 1.5e6
# Taps that blocks may sum again for an output: more take longer than going through the output again, part by part.
REPEATED = 3
# Columns of such a part, at least.
COLUMNS = 16


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
                x = copied(x, part.places, axis)
        return x


def copied(x: np.ndarray, places: np.ndarray | None = None, axis: int = 0) -> np.ndarray:
    """A copy of an array, or of some places along an axis, that tapes can make, too."""
    if places is None:
        copy = np.empty(x.shape, x.dtype)
        copy_into(copy, x)
        return copy
    copy = np.empty((*x.shape[:axis], len(places), *x.shape[axis + 1 :]), x.dtype)
    ends = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
    around = (slice(None),) * axis
    for begin, end in pairwise(ends):  # runs of neighbours
        first = int(places[begin])
        copy_into(copy[(*around, slice(begin, end))], x[(*around, slice(first, first + end - begin))])
    return copy


def cut(lines: Sequence[Line], first: Collection[int], itemsize: int, threads: int) -> list[int]:
    """Outputs of a block along each axis: those that cost least of which what lies behind the `first` axes' pass is small."""
    ndim, room = len(lines), threads * BLOCK_BYTES / itemsize
    if prod(_between(line, line.out_size, axis in first) for axis, line in enumerate(lines)) <= room:
        return [line.out_size for line in lines]
    choices = [_choices(line, ROWS if axis in first else 1) for axis, line in enumerate(lines)]
    between, outputs, work = np.ones(()), np.ones(()), np.zeros(())
    beside = np.ones(())  # how many elements the first pass makes for an output
    for axis, (line, steps) in enumerate(zip(lines, choices, strict=True)):
        steps = steps.reshape([-1 if a == axis else 1 for a in range(ndim)])
        held = _between(line, steps, axis in first)
        between, outputs, beside = between * held, outputs * steps, beside * (held / steps)
        if axis in first:
            work = work + line.taps + READ * (steps + line.taps - 1) / steps
        if axis == ndim - 1 > 0:
            work = work + np.where(steps < line.out_size, CUT, 0) + END / steps
    cost = work * beside + BLOCK / outputs + np.where(between > room, 1e9 * between, 0)
    return [int(steps[i]) for steps, i in zip(choices, np.unravel_index(cost.argmin(), cost.shape), strict=True)]


def repeats(lines: Sequence[Line], steps: Sequence[int], first: Collection[int]) -> bool:
    """Whether blocks of so many outputs sum so much again that passes had better overwrite what the one before has left."""
    held = prod(
        _between(line, step, a in first) / step for a, (line, step) in enumerate(zip(lines, steps, strict=True))
    )
    return sum(lines[axis].taps for axis in first) * (held - 1) > REPEATED


def parts_of(
    shape: tuple[int, ...], axes: Collection[int], itemsize: int, threads: int
) -> list[tuple[slice, ...]] | None:
    """Parts of an array that have all of these axes; None if they are not small."""
    steps = list(shape)
    for axis in (a for a in range(len(shape)) if a not in axes):
        others = prod(n for a, n in enumerate(steps) if a != axis)
        fewest = min(COLUMNS, shape[axis]) if axis == len(shape) - 1 else 1
        steps[axis] = min(steps[axis], max(threads * BLOCK_BYTES // itemsize // others, fewest))
    if prod(steps) * itemsize > threads * BLOCK_BYTES:
        return None
    cuts = [[slice(i, min(i + step, n)) for i in range(0, n, step)] for n, step in zip(shape, steps, strict=True)]
    return list(product(*cuts))


def _between(line: Line, step: Any, first: bool) -> Any:
    """Elements along an axis behind the first pass, for so many outputs."""
    return step if first or line.taps == 1 else np.minimum(step + line.taps - 1, max(line.size, line.out_size))


def _choices(line: Line, multiple: int) -> np.ndarray:
    """Numbers of outputs that an axis may be cut into, as even as whole tiles allow."""
    n, parts = line.out_size, 1.0
    found = {n}
    while parts < n:
        parts *= 1.3 if n > 4096 else 1.2
        step = -(-n // ceil(parts))
        found.add(min(n, -(-step // multiple) * multiple))
    return np.array(sorted(found), float)


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
