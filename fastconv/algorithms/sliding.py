"""Maxima, minima and means of full windows, one axis after another, two axes at a time.

Windows down the columns come first, of eight rows of the output at a time: the kernel folds what all eight
share once.  Windows along these rows double: from those of w elements two make those of up to 2w,
three and four more.  What overlaps does no harm to maxima; sums take what is missing from the elements
themselves.  Nothing is ever subtracted: errors do not grow, and a NaN stays in its windows.

What the first step leaves in the output, the others overwrite there: rows are staged before they are written, and those
that windows reach beyond the lower border are kept from the beginning.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv import costs
from fastconv.algorithms.blocks import Block, Line, blocks_of
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import Axis, contiguous_strides
from fastconv.algorithms.sliding_strips import AHEAD, SCRATCH, Windows, folds, readable, strip_of
from fastconv.algorithms.tiling import Tiles, arrange, offsets, pass_slots, tiling, window_axes
from fastconv.engines.contract import DTYPE_CODES, NUMBERS, PASS_SLOTS, SLIDING_FIELDS, record
from fastconv.problem import WindowProblem
from fastconv.replay import copy_into

__all__ = ["Sliding", "is_ready", "refuse"]

# Bytes of a block, for each thread, where rows are too long to be overwritten, and of one of its rows of accumulators.
BLOCK_BYTES, LONGEST = 2**19, 2**18
# Bytes that lie apart are summed one by one, up to so many.
MOST_APART = 33


class Step(NamedTuple):
    """One or two axes: the record, what it computes in, positions down the columns."""

    bound: Bound
    acc: str
    taps: int


def refuse(problem: Any) -> str | None:
    """Why windows cannot be made axis by axis, or None."""
    if not isinstance(problem, WindowProblem):
        return "is for moving windows"
    if problem.kind not in ("max", "min", "mean") or not problem.passes:
        return "is for maxima, minima and means of full windows"
    if any(problem.window[axis] == 1 for axis in problem.passes):
        return "takes passes of windows of two elements and more"
    if not {problem.dtype, problem.out_dtype} <= set(NUMBERS):
        return f"does not read {problem.dtype} and write {problem.out_dtype}"
    return None


def is_ready(problem: WindowProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("sliding", _accumulator(problem), problem.kind)


class Sliding:
    """Executes a `WindowProblem` that has passes, in steps of one or two axes."""

    def __init__(self, problem: WindowProblem, engine: Any, limit: int = SCRATCH):
        self.problem, self.limit = problem, limit
        self.acc = _accumulator(problem)
        self.itemsize = np.dtype(self.acc).itemsize
        self.direct = getattr(engine, "WINDOWS_IN_PLACE", False)
        self.bytes = problem.kind == "mean" and self.acc == "uint16"  # their means are cut after each axis
        self.sums = problem.kind == "mean" and not self.bytes  # divided at last
        self.kernel = engine.kernel("sliding", self.acc, problem.kind)
        self._bind = lru_cache(maxsize=REMEMBERED)(self._steps)
        self._of = lru_cache(maxsize=None)(lambda shape: Sliding(replace(problem, shape=shape), engine, 1 << 62))

    def __call__(self, x: np.ndarray, w: None, out: np.ndarray, bias: None, fill: Any, threads: int) -> None:
        threads = self._threads(threads)
        steps = self._bind(x.strides, out.strides, threads)
        if steps is None:
            self._by_blocks(x, out, fill, threads)
            return
        for bound, acc, taps in steps:
            fills = np.full(2, fill).astype(acc)
            fills[1] *= taps if self.sums else 1
            run(self.kernel, bound, x, None, out, None, fills, threads)
            x = out

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, a block between steps included."""
        p, threads = self.problem, self._threads(threads)
        steps = self._bind(*(contiguous_strides(p.shape, dtype) for dtype in (p.dtype, p.out_dtype)), threads)
        if steps is not None:
            return max(step.bound.scratch_bytes for step in steps) * threads
        shapes = [tuple(part.size for part in block.parts) for block in self._blocks(threads)]
        largest = max(shapes, key=prod)
        return prod(largest) * _size(p.dtype, p.out_dtype) + self._of(largest).workspace(threads)

    def _by_blocks(self, x: np.ndarray, out: np.ndarray, fill: Any, threads: int) -> None:
        """Where rows are too long to be overwritten: blocks of the output, with what windows reach beyond them."""
        for block in self._blocks(threads):
            source = block.source(x)
            made = np.empty(source.shape, out.dtype)
            self._of(source.shape)(source, None, made, None, fill, threads)
            begins = [pad - part.pad for pad, part in zip(self.problem.pad, block.parts, strict=True)]
            inside = tuple(slice(n, n + part.out_size) for n, part in zip(begins, block.parts, strict=True))
            copy_into(out[block.target], made[inside])
            del source, made  # before the next are made

    def _blocks(self, threads: int) -> list[Block]:
        p = self.problem
        lines = [Line(*line) for line in zip(p.shape, p.shape, p.window, p.pad, p.boundary, strict=True)]
        steps, room = list(p.shape), threads * BLOCK_BYTES // _size(p.dtype, p.out_dtype)

        def size(a: int) -> int:
            return steps[a] + p.window[a] - 1

        while max(steps) > 1 and (prod(map(size, range(len(steps)))) > room or max(steps) > LONGEST // self.itemsize):
            long = [a for a in range(len(steps)) if steps[a] > 1]
            widest = max(long, key=lambda a: (steps[a] > LONGEST // self.itemsize, size(a) / p.window[a]))
            steps[widest] = -(-steps[widest] // 2)
        return blocks_of(lines, steps)

    def _threads(self, threads: int) -> int:
        p = self.problem
        sources = sum(len(f.own) + len(f.base) for axis in p.passes for f in folds(p.window[axis], p.kind != "mean"))
        return costs.threads_worth_using(2 * self.itemsize * sources * prod(p.shape), p.nbytes, threads)

    def _steps(self, x: tuple[int, ...], out: tuple[int, ...], threads: int) -> list[Step] | None:
        """As few steps as the axes can be taken together in; None if one of them cannot overwrite what it reads."""
        p, rest, dtype = self.problem, self._order(), self.problem.dtype
        steps: list[Step] = []
        while rest:
            behind = bool(steps)
            for n in (2, 1):
                axes = window_axes(p, rest[:n], x, out)
                tiles = arrange(axes, np.dtype(dtype).itemsize)
                if tiles is not None and (n == 1 or self._together(tiles, axes[rest[0]], behind, threads)):
                    break
            assert tiles is not None  # a single axis can always be arranged
            step = self._step(tiles, dtype, threads, behind)
            if step is None:
                return None
            steps.append(step)
            rest, x, dtype = rest[n:], out, p.out_dtype
        return steps

    def _order(self) -> tuple[int, ...]:
        """The axes in the order in which they are taken: the last ones first where any order will do.

        They are rows, which are the easier to overwrite the shorter they are.
        """
        p = self.problem
        if p.dtype != p.out_dtype or self.bytes or (self.sums and self.acc != p.out_dtype):
            return p.passes  # what each axis leaves is cut
        axes = tuple(sorted(p.passes, reverse=True))
        return (*axes[1::-1], *axes[2:])

    def _windows(self, tiles: Tiles, acc: str, in_place: bool) -> Windows:
        size, overlap = np.dtype(acc).itemsize, self.problem.kind != "mean"
        return Windows(tiles, size, self.bytes and acc == "uint8", overlap, in_place, self.limit)

    def _together(self, tiles: Tiles, first: Axis, in_place: bool, threads: int) -> bool:
        """Whether two axes may be taken together: what the first leaves is not converted; and are not better taken apart."""
        if self.bytes and first is not tiles.y:
            return False
        if not self.bytes and self.acc != _bits(self.problem.out_dtype):
            return False
        windows = self._windows(tiles, self.acc, in_place)
        strip = strip_of(windows, False, 0, threads if in_place else 1)
        return strip is not None and tiles.halo[1] < 2 * strip.cols and windows.fits(strip)

    def _step(self, tiles: Tiles, dtype: str, threads: int, in_place: bool) -> Step | None:
        p, acc = self.problem, self._computes_in(tiles, dtype)
        size, (taps, across) = np.dtype(acc).itemsize, (tiles.y.taps, tiles.x.taps)
        own = self.direct and _bits(dtype) == acc and tiles.x.x_step == size and not (in_place and taps > 1)
        windows = self._windows(tiles, acc, in_place)
        strip = strip_of(windows, own, p.nbytes, threads)
        if strip is None:
            return None
        src_planes, out_planes = offsets(tiles.planes)
        tables = {
            "src_planes": src_planes, "out_planes": out_planes, "map_y": tiles.y.edges(), "map_x": tiles.x.edges(),
            "passes": np.array(self._passes(tiles, windows.pairs), np.int64).reshape(-1, PASS_SLOTS),
        }  # fmt: skip
        direct = [own and readable(tiles, first, strip.cols, size) for first in range(0, tiles.x.size, strip.cols)]
        more = {"direct": np.array(direct, np.int64), **self._quotients(taps, across, windows.pairs)}
        values = {
            **tiling(p, acc, tiles, (strip.rows, strip.cols), tables), **windows.layout(strip),
            "chunk": strip.chunk, "ahead": int(own and p.nbytes > AHEAD),
            "src_code": DTYPE_CODES[dtype], "taps_y": taps, "taps_x": across, "fill_down": size,
            "store_direct": (_bits(p.out_dtype) == acc) * _density(tiles, size),
            "n_passes": len(tables["passes"]), "down": 0, "across": 0,
            **{name: table.ctypes.data for name, table in more.items()},
        }  # fmt: skip
        units = len(out_planes) * values["row_tiles"] * values["col_tiles"]
        kept = (*tables.values(), *more.values())
        return Step(Bound(record(SLIDING_FIELDS, values), units, values["scratch_bytes"], (), kept), acc, taps)

    def _computes_in(self, tiles: Tiles, dtype: str) -> str:
        """The accumulators of a step: where the engine can, means of bytes are made in bytes."""
        in_bytes = self.bytes and dtype == self.problem.out_dtype == "uint8"
        in_bytes = in_bytes and (tiles.x.dilation == 1 or tiles.x.taps <= MOST_APART)
        return "uint8" if in_bytes and self.direct else self.acc

    def _passes(self, tiles: Tiles, in_pairs: bool) -> list[tuple[int, ...]]:
        """The folds along rows; of means of bytes those that make windows of pairs of bytes."""
        if in_pairs and tiles.x.taps > 1:
            pairs = tiles.x.taps // 2 - 1 if tiles.x.dilation == 1 else 0  # all but the first and the last
            plan, step, size = folds(pairs, False) if pairs > 1 else (), 1, 2
        else:
            plan, step, size = folds(tiles.x.taps, self.problem.kind != "mean"), tiles.x.dilation, self.itemsize
            size = 1 if in_pairs else size
        return [
            pass_slots(
                (fold.reach - 1) * step, tuple(at * step for at in fold.own), tuple(at * step for at in fold.base), size
            )
            for fold in plan
        ]

    def _quotients(self, down: int, across: int, in_pairs: bool) -> dict[str, np.ndarray]:
        """How means down the columns are divided, if they are, and those made last."""
        if self.problem.kind != "mean":
            return {}
        if not self.bytes:
            nearest = self.problem.out_dtype not in ("float32", "float64")  # they are cut to integers
            return {"across": np.array([down * across, 0, 0, nearest], np.int64)}
        divisors = {"down": down, "across": across}
        if across == 1 and not in_pairs:  # the only fold is the last one
            divisors = {"across": down}
        return {
            name: np.array([divisor, *(_reciprocal(divisor) or (0, 0)), 0], np.int64)
            for name, divisor in divisors.items()
            if divisor > 1
        }


def _density(tiles: Tiles, size: int) -> int:
    """1 if rows of the output have no gaps, 2 if its columns have none."""
    return 1 if tiles.x.out_step == size else 2 if tiles.y.out_step == size and tiles.y.size > 1 else 0


def _size(*dtypes: str) -> int:
    """Bytes of an element of each of these."""
    return sum(np.dtype(dtype).itemsize for dtype in dtypes)


def _bits(dtype: str) -> str:
    """The dtype that elements are compared as."""
    return "uint8" if dtype == "bool" else dtype


def _accumulator(p: WindowProblem) -> str:
    """What a kernel computes in; the sums of small integers go into fewer bits than `WindowProblem.acc` has."""
    if p.kind != "mean" or p.acc != "int64":
        return "uint8" if p.acc == "bool" else p.acc
    taps = max(p.window)
    limits = (0, 1) if p.dtype == "bool" else (np.iinfo(p.dtype).min, np.iinfo(p.dtype).max)
    largest = max(abs(int(limit)) for limit in limits)
    if limits[0] == 0 and largest <= 255 and all(n == 1 or _reciprocal(n) for n in p.window):
        return "uint16"
    return "float32" if taps * largest < 2**24 else "float64"  # what they hold of a quotient truncates exactly


@cache
def _reciprocal(divisor: int) -> tuple[int, int] | None:
    """Factor and shift with ``n // divisor == n * factor >> 16 + shift`` for sums of bytes, or None.

    T. Granlund, P. L. Montgomery, "Division by invariant integers using multiplication",
    PLDI 1994, doi:10.1145/178243.178249.
    """
    largest = 255 * divisor
    for shift in range(divisor.bit_length(), -1, -1):
        factor = -(-(1 << 16 + shift) // divisor)
        excess = factor * divisor - (1 << 16 + shift)
        if factor < 1 << 16 and excess * largest < 1 << 16 + shift and largest < 1 << 16:
            return factor, shift
    return None
