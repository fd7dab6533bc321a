"""Maxima, minima and means of full windows, one axis after another, two axes at a time.

Windows double: from those of w elements two make those of up to 2w, three and four more.  What
overlaps does no harm to maxima; sums take what is missing from the elements themselves.  So a
window of K costs about log2(K) operations, errors grow as log2(K), and a NaN stays in its windows.
"""

from __future__ import annotations

from dataclasses import replace
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
    offsets,
    pass_slots,
    staged,
    tile_shape,
    tiling,
    window_axes,
)
from fastconv.engines.contract import DTYPE_CODES, SLIDING_FIELDS, record
from fastconv.problem import WindowProblem

__all__ = ["Sliding", "is_ready", "refuse"]

MEMORY_PASS = 1.0  # what writing an array and reading it again costs, in folds of it along an axis


class Fold(NamedTuple):
    """A pass: windows of `reach` elements from smaller ones at `own`, and single elements at `base`."""

    reach: int
    own: tuple[int, ...]
    base: tuple[int, ...]


class Step(NamedTuple):
    """One or two axes: the record, and whether it may read what it writes."""

    bound: Bound
    in_place: bool


def refuse(problem: Any) -> str | None:
    """Why windows cannot be made axis by axis, or None."""
    if not isinstance(problem, WindowProblem):
        return "is for moving windows"
    if problem.kind not in ("max", "min", "mean") or not problem.passes:
        return "is for maxima, minima and means of full windows"
    if any(problem.window[axis] == 1 for axis in problem.passes):
        return "takes passes of windows of two elements and more"
    if not {problem.dtype, problem.out_dtype} <= set(DTYPE_CODES):
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
        self.kernel = engine.kernel("sliding", self.acc, problem.kind)
        self._between = contiguous_strides(problem.shape, problem.out_dtype)
        self._bind = lru_cache(maxsize=REMEMBERED)(self._new_steps)

    def __call__(self, x: np.ndarray, w: None, out: np.ndarray, bias: None, fill: Any, threads: int) -> None:
        p = self.problem
        threads = self._threads(threads)
        fills = np.asarray(fill).astype(self.acc)
        steps = self._bind(x.strides, out.strides, threads)
        for i, (bound, _) in enumerate(steps):
            # A step that reads and writes the same rows works in place: new memory costs as much as a pass.
            finish = out.flags.c_contiguous and all(step.in_place for step in steps[i + 1 :])
            target = out if finish or bound is steps[-1].bound else np.empty(p.shape, p.out_dtype)
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
                if tiles is not None and (n == 1 or self._together(tiles)):
                    break
            assert tiles is not None  # a single axis can always be arranged
            steps.append(self._step(tiles, [axes[a] for a in rest[:n]], dtype, threads))
            rest, x, dtype = rest[n:], self._between, p.out_dtype
        return steps

    def _together(self, tiles: Tiles) -> bool:
        """Whether two axes are not better taken apart: tiles of large windows are mostly halo."""
        alone = (replace(tiles, x=replace(tiles.x, taps=1)), replace(tiles, y=replace(tiles.y, taps=1)))
        work = [staged(t, *tile_shape(t, self.itemsize, 1)) for t in (tiles, *alone)]
        return 2 * work[0] < work[1] + work[2] + MEMORY_PASS

    def _step(self, tiles: Tiles, windows: list[Axis], dtype: str, threads: int) -> Step:
        p, size = self.problem, self.itemsize
        rows, cols = tile_shape(tiles, size, threads)
        halo_y, halo_x = tiles.halo
        pitch = cols + halo_x
        elements = (rows + halo_y) * pitch
        buffer = (elements * size + SLACK + 63) // 64 * 64
        means = p.kind == "mean" and self.acc == "uint16"  # of bytes, which accumulators hold
        passes, phases, apart = [], [], False
        for i, axis in enumerate(windows):
            along, step = (0, pitch) if axis is tiles.y else (1, tiles.x.dilation)
            for fold in folds(axis.taps, p.kind != "mean"):
                own, base = (tuple(place * step for place in places) for places in (fold.own, fold.base))
                passes.append(pass_slots((fold.reach - 1) * step, own, base, size))
                apart = apart or bool(fold.base and fold.own)
            factor, shift = (_reciprocal(axis.taps) if means else None) or (0, 0)
            phases.append((along, len(passes), i > 0 and axis.rule == "fill", axis.taps, factor, shift))
        convert = len(windows) > 1 and not means and self.acc != ("uint8" if p.out_dtype == "bool" else p.out_dtype)
        src_planes, out_planes = offsets(tiles.planes)
        tables = {
            "src_planes": src_planes,
            "out_planes": out_planes,
            "map_y": tiles.y.edges(),
            "map_x": tiles.x.edges(),
            "passes": np.array(passes, np.int64),
        }
        phase_table = np.array(phases, np.int64)
        out_size = np.dtype(p.out_dtype).itemsize
        second = buffer if apart else 0
        stored = second + buffer if convert else -1
        scratch = second + buffer + (elements * out_size + SLACK) * convert
        values = {
            **tiling(p, self.acc, tiles, (rows, cols), tables),
            "src_code": DTYPE_CODES[dtype], "scratch_bytes": (scratch + 63) // 64 * 64, "second": second,
            "phases": phase_table.ctypes.data, "n_phases": len(phases), "stored": stored, "out_size": out_size,
        }  # fmt: skip
        units = len(out_planes) * values["row_tiles"] * values["col_tiles"]
        kept = (*tables.values(), phase_table)
        bound = Bound(record(SLIDING_FIELDS, values), units, values["scratch_bytes"], (), kept)
        return Step(bound, in_place=halo_y == 0 and values["col_tiles"] == 1)


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
