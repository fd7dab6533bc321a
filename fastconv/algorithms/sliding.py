"""Maxima, minima and means of full windows, one axis after another, two axes at a time.

Windows down the columns come first, of eight rows of the output at a time: the kernel folds what all eight
share once.  Windows along these rows double: from those of w elements two make those of up to 2w,
three and four more.  What overlaps does no harm to maxima; sums take what is missing from the elements
themselves.  Nothing is ever subtracted: errors do not grow, and a NaN stays in its windows.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import REMEMBERED, Bound, run
from fastconv.algorithms.geometry import Axis, contiguous_strides
from fastconv.algorithms.tiling import (
    MOST_SOURCES,
    SLACK,
    Tiles,
    arrange,
    even,
    offsets,
    pass_slots,
    tiling,
    window_axes,
)
from fastconv.engines.contract import DTYPE_CODES, NUMBERS, PASS_SLOTS, SLIDING_FIELDS, record
from fastconv.problem import WindowProblem

__all__ = ["Sliding", "is_ready", "refuse"]

GROUP = 8  # rows of the output made at once
VECTOR = 64  # bytes of the longest vectors
FIRST_CACHE = 40 * 1024
SECOND_CACHE = 512 * 1024
SCRATCH = 1024 * 1024
# Windows of few rows keep nothing but addresses: bytes of a row made at once.  Images of more bytes, with the output's,
# do not stay in caches: half as much, and what comes next is called for (2048x2048 float32, 3x3, one thread: 1.25 ms,
# neither 1.8 ms; smaller images get slower by a tenth).
CHUNK = 2048
# Bytes that lie apart are summed one by one, up to so many.
MOST_APART = 33
AHEAD = 12 * 2**20
UNITS_PER_THREAD = 4


class Fold(NamedTuple):
    """A pass: windows of `reach` elements from smaller ones at `own`, and single elements at `base`."""

    reach: int
    own: tuple[int, ...]
    base: tuple[int, ...]


class Step(NamedTuple):
    """One or two axes: the record, what it computes in, positions down the columns, whether it may read what it writes."""

    bound: Bound
    acc: str
    taps: int
    in_place: bool


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

    def __init__(self, problem: WindowProblem, engine: Any):
        self.problem = problem
        self.acc = _accumulator(problem)
        self.itemsize = np.dtype(self.acc).itemsize
        self.direct = getattr(engine, "WINDOWS_IN_PLACE", False)
        self.bytes = problem.kind == "mean" and self.acc == "uint16"  # their means are cut after each axis
        self.sums = problem.kind == "mean" and not self.bytes  # divided at last
        self.kernel = engine.kernel("sliding", self.acc, problem.kind)
        self._between = contiguous_strides(problem.shape, problem.out_dtype)
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_steps)

    def __call__(self, x: np.ndarray, w: None, out: np.ndarray, bias: None, fill: Any, threads: int) -> None:
        p = self.problem
        threads = self._threads(threads)
        steps = self._bind(x.strides, out.strides, threads)
        for i, (bound, acc, taps, _) in enumerate(steps):
            # A step that reads and writes the same rows works in place: new memory costs as much as a pass.
            finish = out.flags.c_contiguous and all(step.in_place for step in steps[i + 1 :])
            target = out if finish or bound is steps[-1].bound else np.empty(p.shape, p.out_dtype)
            fills = np.full(2, fill).astype(acc)
            fills[1] *= taps if self.sums else 1
            run(self.kernel, bound, x, None, target, None, fills, threads)
            x = target

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays, the array between two steps included."""
        p, threads = self.problem, self._threads(threads)
        steps = self._bind(contiguous_strides(p.shape, p.dtype), self._between, threads)
        between = 0 if all(step.in_place for step in steps[1:]) else prod(p.shape) * np.dtype(p.out_dtype).itemsize
        return max(step.bound.scratch_bytes for step in steps) * threads + between

    def _threads(self, threads: int) -> int:
        p = self.problem
        sources = sum(len(f.own) + len(f.base) for axis in p.passes for f in folds(p.window[axis], p.kind != "mean"))
        return costs.threads_worth_using(2 * self.itemsize * sources * prod(p.shape), p.nbytes, threads)

    def _new_steps(self, x: tuple[int, ...], out: tuple[int, ...], threads: int) -> list[Step]:
        """Records for arrays of these strides: as few steps as the axes can be taken together in."""
        p, rest, dtype = self.problem, self.problem.passes, self.problem.dtype
        steps: list[Step] = []
        while rest:
            for n in (2, 1):
                axes = window_axes(p, rest[:n], x, out if len(rest) <= n else self._between)
                tiles = arrange(axes, np.dtype(dtype).itemsize)
                if tiles is not None and (n == 1 or self._together(tiles, axes[rest[0]])):
                    break
            assert tiles is not None  # a single axis can always be arranged
            steps.append(self._step(tiles, dtype, threads, not steps))
            rest, x, dtype = rest[n:], self._between, p.out_dtype
        return steps

    def _together(self, tiles: Tiles, first: Axis) -> bool:
        """Whether two axes may be taken together: what the first leaves is not converted; and are not better taken apart."""
        if self.bytes and first is not tiles.y:
            return False
        if not self.bytes and self.acc != _bits(self.problem.out_dtype):
            return False
        cols, (_, halo) = strip_shape(tiles, self.itemsize, 1)[1], tiles.halo
        return halo < 2 * cols and self._layout(tiles, cols, self.acc)["scratch_bytes"] <= 2 * SCRATCH

    def _step(self, tiles: Tiles, dtype: str, threads: int, first: bool) -> Step:
        p, acc = self.problem, self._computes_in(tiles, dtype)
        size, (taps, across) = np.dtype(acc).itemsize, (tiles.y.taps, tiles.x.taps)
        own = self.direct and _bits(dtype) == acc and tiles.x.x_step == size
        (rows, cols), ahead = strip_shape(tiles, size, threads), own and p.nbytes > AHEAD
        chunk = even(tiles.x.size, CHUNK // size // (1 + ahead))
        if own and taps < 2 * GROUP and cols < tiles.x.size and _all_readable(tiles, chunk, size):
            # Nothing stays from group to group but addresses: one after another, columns are read as they lie.
            rows, cols = min(rows, rows_of_unit(tiles, tiles.x.size, threads)), tiles.x.size
        else:
            chunk = cols
        if taps == 1 and not first and GROUP * tiles.x.size * size < SECOND_CACHE:
            rows, cols, chunk = rows_of_unit(tiles, tiles.x.size, threads), tiles.x.size, tiles.x.size  # in place
        in_pairs = acc == "uint8" and self.bytes
        src_planes, out_planes = offsets(tiles.planes)
        tables = {
            "src_planes": src_planes, "out_planes": out_planes, "map_y": tiles.y.edges(), "map_x": tiles.x.edges(),
            "passes": np.array(self._passes(tiles, in_pairs), np.int64).reshape(-1, PASS_SLOTS),
        }  # fmt: skip
        readable = [own and _readable(tiles, first, cols, size) for first in range(0, tiles.x.size, cols)]
        more = {"direct": np.array(readable, np.int64), **self._quotients(taps, across, in_pairs)}
        values = {
            **tiling(p, acc, tiles, (rows, cols), tables), **self._layout(tiles, chunk, acc, cols),
            "chunk": chunk, "ahead": int(ahead),
            "src_code": DTYPE_CODES[dtype], "taps_y": taps, "taps_x": across, "fill_down": size,
            "store_direct": (_bits(p.out_dtype) == acc) * _density(tiles, size),
            "n_passes": len(tables["passes"]), "down": 0, "across": 0,
            **{name: table.ctypes.data for name, table in more.items()},
        }  # fmt: skip
        units = len(out_planes) * values["row_tiles"] * values["col_tiles"]
        kept = (*tables.values(), *more.values())
        bound = Bound(record(SLIDING_FIELDS, values), units, values["scratch_bytes"], (), kept)
        return Step(bound, acc, taps, in_place=taps == 1 and chunk == tiles.x.size)

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

    def _layout(self, tiles: Tiles, cols: int, acc: str, width: int = 0) -> dict[str, int]:
        """Where parts of the scratch memory begin."""
        size, taps, (_, halo) = np.dtype(acc).itemsize, tiles.y.taps, tiles.halo
        in_pairs = acc == "uint8" and self.bytes
        pitch = _vectors((cols + halo) * size + 2 * VECTOR) | VECTOR  # an odd number of vectors: rows in different sets
        n_blocks = (taps - GROUP + 1) // GROUP
        n_blocks = n_blocks if n_blocks > 1 else 0
        group = _vectors(GROUP * pitch + 2 * VECTOR + SLACK)
        core = 2 * (pitch + 2 * VECTOR) if in_pairs else pitch
        plan = folds(tiles.x.taps, self.problem.kind != "mean")
        apart = in_pairs or any(fold.own and fold.base for fold in plan)
        filled = bool((tiles.y.edges() < 0).any())  # rows beyond the border are none of the image's
        sizes = {
            "rows": 8 * (taps + 3 * GROUP + n_blocks), "fill_row": ((max(cols, width) + halo) * size + VECTOR) * filled,
            "ring": (taps + GROUP - 1) * pitch + SLACK,
            "blocks": n_blocks * core + SLACK, "core": core + SLACK, "windows": group, "second": group * apart,
            "third": group * in_pairs, "stored": group,
        }  # fmt: skip
        at, places = 0, {}
        for name, length in sizes.items():
            places[name] = at
            at += _vectors(length)
        places.pop("rows")
        places["second"] = (places["second"] - places["windows"]) * apart
        places["third"] -= places["windows"]
        return {
            **places,
            "pitch": pitch // size,
            "n_blocks": n_blocks,
            "core_bytes": core,
            "scratch_bytes": at + VECTOR,
        }


def strip_shape(tiles: Tiles, size: int, threads: int) -> tuple[int, int]:
    """Rows and columns of a unit, in elements of so many bytes."""
    (halo_y, halo_x), height, width = tiles.halo, tiles.y.size, tiles.x.size
    shapes = []
    for i in range(width.bit_length()):
        cols = -(-width // 2**i)
        window = (cols + halo_x) * size
        cost = (1 + halo_x / cols) * (1 + 128 / (cols * size))
        cost *= 1.15 if 2 * GROUP * window > FIRST_CACHE else 1.0
        cost *= 1.3 if (halo_y + GROUP) * window > SECOND_CACHE else 1.0
        shapes.append((cost, -cols, cols))
    cols = even(width, min(shapes)[2])
    rows = rows_of_unit(tiles, cols, threads)
    beside = prod(axis.size for axis in tiles.planes) * -(-width // cols) * -(-height // rows)
    if beside < threads:
        cols = even(width, max(-(-width * beside // threads // UNITS_PER_THREAD), halo_x, 2048 // size))
    return rows, cols


def rows_of_unit(tiles: Tiles, cols: int, threads: int) -> int:
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
    return all(_readable(tiles, first, cols, size) for first in range(0, tiles.x.size, cols))


def _readable(tiles: Tiles, first: int, cols: int, size: int) -> bool:
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


def _density(tiles: Tiles, size: int) -> int:
    """1 if rows of the output have no gaps, 2 if its columns have none."""
    return 1 if tiles.x.out_step == size else 2 if tiles.y.out_step == size and tiles.y.size > 1 else 0


def _bits(dtype: str) -> str:
    """The dtype that elements are compared as."""
    return "uint8" if dtype == "bool" else dtype


def _vectors(n: int) -> int:
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
