"""One-dimensional correlations of bytes with integer results, one axis after another.

The kernel (`LINES_FIELDS` of the contract) filters a row of bytes down its columns and then along itself, so two
passes read the image once and write the result once; what the first one leaves, a row of bytes, stays in the
cache.  Sums are made in fixed point and are exactly SciPy's (bytes_line.h).

Passes along further axes, or in another order, are launches of their own.  Where there is no such kernel, each
pass is one of the direct filter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.blocks import Block, Line, blocks_of, copied, cut, parts_of, repeats
from fastconv.algorithms.executor import REMEMBERED, Bound, Copy, run
from fastconv.algorithms.filter import Filter
from fastconv.algorithms.geometry import NO_AXIS, Axis, contiguous_strides, geometry, spatial_axes
from fastconv.algorithms.tiling import offsets
from fastconv.engines.contract import LINES_FIELDS, record
from fastconv.problem import ConvProblem, LinesProblem

__all__ = ["Lines", "Passes", "is_ready", "not_bytes", "one_pass", "refuse"]

# Orders of summation along one axis (`ConvProblem.exact`).
ORDERS = ("line", "symmetric", "antisymmetric")
# Taps of a line, at most (MOST_TAPS of bytes_line.h).
MOST_TAPS = 512
# Axes behind the filtered ones become one until it is as long.
LONG = 1024
# Rows shorter than this are exchanged with the longest axis, if lines run along one axis only.
NARROW = 16
# Rows that a line down reads stay in the first cache, if they are not shorter than this.
FIRST_CACHE, LEAST_SPAN = 40 * 1024, 1024
# Outputs of a unit at least, and units of a thread at most: weights are rounded anew in each.
UNIT, UNITS_PER_THREAD = 1 << 14, 8
# A sum in fixed point takes as long as so many operations besides those of its taps: 5 taps of 256x256 pay on two threads.
FIXED_POINT = 20
# Bytes of rows that are filtered at once, and their number (MOST_ROWS of bytes_line.h).
BATCH, MOST_ROWS = 4096, 16
# Bytes of a vector, at most.
LANES = 64
# Bytes of a row that a window along it spans, at most, if another pass is made at the same time.
LONGEST = 1 << 14


def refuse(problem: Any) -> str | None:
    """Why passes one after another cannot do a problem, or None."""
    if isinstance(problem, LinesProblem) or (isinstance(problem, ConvProblem) and problem.exact in ORDERS):
        return None
    return "is for one-dimensional correlations truncated to integers"


def not_bytes(problem: LinesProblem | ConvProblem) -> str | None:
    """Why fixed point cannot do a problem, or None."""
    lines = _as_lines(problem)
    if lines is None or {lines.dtype, lines.out_dtype} != {"uint8"}:
        return "is for uint8 throughout, without stride and dilation"
    if max(lines.taps) > MOST_TAPS:
        return f"is for up to {MOST_TAPS} taps"
    return None


def one_pass(problem: LinesProblem | ConvProblem) -> str | None:
    """Why a problem is left to the direct filter as it is, or None."""
    return "is for passes one after another" if isinstance(problem, ConvProblem) else None


def is_ready(problem: LinesProblem | ConvProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("filter", "float64", "exact")


class _Chain(ABC):
    """Passes one after another, block by block, so that what lies between them is small."""

    problem: LinesProblem
    groups: list[tuple[int, ...]]  # which passes are made at once

    def _run(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, fill: np.ndarray, threads: int) -> None:
        lines = self.problem.split(w.reshape(-1))
        if self.parts is not None:
            for group, passes in zip(self.groups, self.parts, strict=True):
                for where, step in passes:
                    source = x if x is not out else copied(out[0, 0][where])[None, None]
                    target = out[0, 0][where][None, None]
                    self._pass(group, step, source, [lines[i] for i in group], target, fill, threads)
                    del source  # before the next is made
                x = out
            return
        for block, steps in self.blocks:
            source = block.source(x[0, 0])[None, None]
            for group, step in zip(self.groups, steps, strict=True):
                last = group is self.groups[-1]
                result = out[0, 0][block.target][None, None] if last else np.empty((1, 1, *step.out_shape), out.dtype)
                self._pass(group, step, source, [lines[i] for i in group], result, fill, threads)
                source = result

    @cached_property
    def parts(self) -> list[list[tuple[tuple[slice, ...], ConvProblem]]] | None:
        """Where each group of passes overwrites what the one before has left, and how; None if blocks are better."""
        p, found = self.problem, list[Any]()
        if not self._repeats:
            return None
        for group in self.groups:
            parts = [tuple(slice(0, n) for n in p.shape)]
            step = _joined([p.steps[i] for i in group])
            if found:
                small = parts_of(p.shape, [p.axes[i] for i in group], np.dtype(p.out_dtype).itemsize, 1)
                if small is None:
                    return None
                parts = small
            shapes = [tuple(s.stop - s.start for s in part) for part in parts]
            steps = [replace(step, in_shape=shape, out_shape=shape) for shape in shapes]
            found.append(list(zip(parts, steps, strict=True)))
        return found

    @cached_property
    def blocks(self) -> list[tuple[Block, tuple[ConvProblem, ...]]]:
        """The blocks, and what is done in each."""
        lines, steps = self._cut
        whole = [_joined([self.problem.steps[i] for i in group]) for group in self.groups]
        blocks = blocks_of(lines, steps)
        return [(block, self._steps(block, whole) if len(blocks) > 1 else tuple(whole)) for block in blocks]

    @cached_property
    def _cut(self) -> tuple[list[Line], tuple[int, ...]]:
        """The axes, and outputs of a block along each."""
        p, size = self.problem, np.dtype(self.problem.out_dtype).itemsize
        lines = [Line(n, n) for n in p.shape]
        for axis, taps, pad, rule in zip(p.axes, p.taps, p.pad, p.boundary, strict=True):
            lines[axis] = Line(p.shape[axis], p.shape[axis], taps, pad, rule)
        steps, between = p.shape, self._between()
        if between and len({*p.axes}) == len(p.axes):
            steps = tuple(cut(lines, self._first_axes(), size * between, 1))
        return lines, steps

    @property
    def _repeats(self) -> bool:
        """Whether blocks sum much again."""
        lines, steps = self._cut
        return steps != self.problem.shape and repeats(lines, steps, self._first_axes())

    def _first_axes(self) -> list[int]:
        return [self.problem.axes[i] for i in self.groups[0]]

    def _between(self) -> int:
        """How many results of passes there are at once."""
        return min(len(self.groups) - 1, 2)

    def _steps(self, block: Block, whole: list[ConvProblem]) -> tuple[ConvProblem, ...]:
        shape, steps = tuple(part.size for part in block.parts), []
        for group, p in zip(self.groups, whole, strict=True):
            axes = [self.problem.axes[i] for i in group]
            out_shape = tuple(block.parts[axis].out_size if axis in axes else n for axis, n in enumerate(shape))
            pad = tuple(part.pad if axis in axes else 0 for axis, part in enumerate(block.parts))
            steps.append(replace(p, in_shape=shape, out_shape=out_shape, pad=pad))
            shape = out_shape
        return tuple(steps)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        size = np.dtype(self.problem.out_dtype).itemsize
        if self.parts is not None:
            held = max(prod(p.in_shape) for passes in self.parts[1:] for _, p in passes)
            steps = {(i, p) for i, passes in enumerate(self.parts) for _, p in passes}
            return held * size + max(self._scratch(i, p, threads) for i, p in steps)
        largest = max((prod(p.out_shape) for _, steps in self.blocks for p in steps[:-1]), default=0)
        scratch = max(self._scratch(i, p, threads) for _, steps in self.blocks for i, p in enumerate(steps))
        return largest * size * self._between() + scratch

    @abstractmethod
    def _pass(
        self, group: tuple[int, ...], p: ConvProblem, x: np.ndarray, lines: list[np.ndarray], out: np.ndarray, fill: Any,
        threads: int,
    ) -> None:  # fmt: skip
        """Filter a block along the axes of a group."""

    @abstractmethod
    def _scratch(self, i: int, p: ConvProblem, threads: int) -> int:
        """Scratch memory of that."""


class Passes(_Chain):
    """Executes a `LinesProblem` by the direct filter, pass after pass."""

    operation = "filter"

    def __init__(self, problem: LinesProblem, engine: Any):
        self.problem, self.groups = problem, [(i,) for i in range(len(problem.axes))]
        self._filter = lru_cache(maxsize=None)(lambda step: Filter(step, engine))
        self._filter(problem.steps[0])  # its kernel is compiled now

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        self._run(x, w, out, fill, threads)

    def _pass(self, group, p, x, lines, out, fill, threads):  # type: ignore[no-untyped-def]
        self._filter(p)(x, lines[0].reshape(1, 1, *p.kernel_shape), out, None, fill, threads)

    def _scratch(self, i: int, p: ConvProblem, threads: int) -> int:
        return self._filter(p).workspace(threads)


class Lines(_Chain):
    """Executes a `LinesProblem` of bytes with an engine's kernel.

    Fill values that are no bytes are left to the direct filter.
    """

    operation = "lines"

    def __init__(self, problem: LinesProblem | ConvProblem, engine: Any):
        lines = _as_lines(problem)
        assert lines is not None  # not_bytes
        self.problem = lines
        self.kernel = engine.kernel("lines", "uint8")
        self.filters = Passes(lines, engine)
        self.groups = _groups(lines)
        self._bind = lru_cache(maxsize=REMEMBERED * 8)(self._new_bound)

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        p, beyond = self.problem, np.asarray(fill, np.float64).reshape(1)
        if "fill" in p.boundary and not (0 <= beyond[0] <= 255 and beyond[0] == int(beyond[0])):
            self.filters(x, w, out, bias, fill, threads)
            return
        self._run(x, w, out, beyond, self._threads(threads))

    def _pass(self, group, p, x, lines, out, fill, threads):  # type: ignore[no-untyped-def]
        weights, copies = _packed(lines)
        run(
            self.kernel,
            self._bind(group, p, x.strides, out.strides, threads),
            x,
            weights,
            out,
            None,
            fill,
            threads,
            copies,
        )

    def _scratch(self, i: int, p: ConvProblem, threads: int) -> int:
        x_strides, out_strides = (contiguous_strides((1, 1, *shape), "uint8") for shape in (p.in_shape, p.out_shape))
        threads = self._threads(threads)
        return threads * self._bind(self.groups[i], p, x_strides, out_strides, threads).scratch_bytes

    def _threads(self, available: int) -> int:
        p = self.problem
        return costs.threads_worth_using(p.flops + FIXED_POINT * len(p.axes) * prod(p.shape), p.nbytes, available)

    def _new_bound(
        self, group: tuple[int, ...], p: ConvProblem, x_strides: tuple[int, ...], out_strides: tuple[int, ...],
        threads: int,
    ) -> Bound:  # fmt: skip
        plane = _plane(spatial_axes(p, x_strides, out_strides), [self.problem.axes[i] for i in group])
        (src, out), y, x = offsets(plane.beside), plane.y, plane.x
        map_y, map_x = y.edges(), x.edges()
        halo = (x.taps - 1) * x.dilation
        span = max(FIRST_CACHE // (y.taps + 4) - halo, LEAST_SPAN, halo)
        n_spans = -(-x.out_size // span)
        span = -(-x.out_size // n_spans)
        pitch = (-(-(span + halo) // LANES) + 1) // 2 * 2 * LANES + LANES  # rows that are not a power of two apart
        batch = max(1, min(y.out_size, MOST_ROWS, BATCH // pitch))
        scratch_bytes = (y.taps + 3 * batch) * pitch
        wanted = min(threads * UNITS_PER_THREAD, max(prod(p.out_shape) // UNIT, threads)) if threads > 1 else 1
        strip = -(-y.out_size // min(y.out_size, -(-wanted // (len(out) * n_spans))))
        n_strips = -(-y.out_size // strip)
        values = {
            **geometry(p, y, x, map_y, map_x),
            "scratch_bytes": scratch_bytes,
            "src_planes": src.ctypes.data, "out_planes": out.ctypes.data, "down": plane.down, "across": plane.across,
            "strip": strip, "n_strips": n_strips, "span": span, "n_spans": n_spans, "pitch": pitch,
            "batch": batch,
        }  # fmt: skip
        units = len(out) * n_strips * n_spans
        return Bound(record(LINES_FIELDS, values), units, scratch_bytes, (), (src, out, map_y, map_x))


@dataclass(frozen=True)
class Plane:
    """Rows and columns, whether lines run down or across them, and the other axes."""

    y: Axis
    x: Axis
    down: bool
    across: bool
    beside: tuple[Axis, ...]


def _as_lines(problem: LinesProblem | ConvProblem) -> LinesProblem | None:
    """The passes of a problem: of a correlation with one line itself, if it fits."""
    p = problem
    if isinstance(p, LinesProblem):
        return p
    filtered = [axis for axis, taps in enumerate(p.kernel_shape) if taps > 1]
    plain = max(p.batch, p.channels, p.filters, *p.stride, *p.dilation) == 1 and not p.bias
    if (
        len(filtered) != 1
        or not plain
        or p.in_shape != p.out_shape
        or any(p.pad[a] for a in range(p.ndim) if a not in filtered)
    ):
        return None
    (a,) = filtered
    return LinesProblem(
        p.in_shape, (a,), (p.kernel_shape[a],), (p.pad[a],), (p.boundary[a],), (p.exact,), p.in_dtype, p.out_dtype
    )


def _groups(p: LinesProblem) -> list[tuple[int, ...]]:
    """Passes that can be made at once: along an axis, and then along one further inside, if its windows are not long.

    Of three, the last two: in memory they are short.
    """
    groups: list[tuple[int, ...]] = []
    end = len(p.axes)
    while end:
        last = p.axes[end - 1]
        short = (p.taps[end - 1] - 1) * prod(p.shape[last + 1 :]) <= LONGEST
        n = 2 if end > 1 and p.axes[end - 2] < last and short else 1
        groups.insert(0, tuple(range(end - n, end)))
        end -= n
    return groups


def _packed(lines: list[np.ndarray]) -> tuple[np.ndarray, list[Copy]]:
    """The weights of lines one after another, and the copies that made them."""
    packed = np.empty(sum(line.size for line in lines))
    parts = np.split(packed, np.cumsum([line.size for line in lines])[:-1])
    for part, line in zip(parts, lines, strict=True):
        part[...] = line
    return packed, [(line, part, False) for line, part in zip(lines, parts, strict=True)]


def _joined(steps: list[ConvProblem]) -> ConvProblem:
    """Passes as one problem, with the geometry of all of them."""
    first, *others = steps
    for step in others:
        shape = tuple(max(taps) for taps in zip(first.kernel_shape, step.kernel_shape, strict=True))
        pad = tuple(max(pads) for pads in zip(first.pad, step.pad, strict=True))
        rules = tuple(
            b if taps > 1 else a for a, b, taps in zip(first.boundary, step.boundary, step.kernel_shape, strict=True)
        )
        first = replace(first, kernel_shape=shape, pad=pad, boundary=rules, out_dtype=step.out_dtype)
    return first


def _plane(axes: list[Axis], filtered: list[int]) -> Plane:
    """The plane whose rows and columns lines run along: few elements behind the last filtered axis are columns, too."""
    last = filtered[-1]
    behind = axes[last + 1 :]
    while len(behind) > 1 and _behind(behind[-2], behind[-1]) and behind[-1].size < LONG:
        behind[-2:] = [behind[-2].fold(behind[-1])]
    before = axes[:last]
    if len(filtered) == 2 or not behind or behind[-1].size * len(behind) < LANES:
        columns = axes[last]
        if len(behind) == 1 and _behind(columns, behind[0]):
            columns, behind = columns.fold(behind[0]), []
        longest = max(before, key=lambda axis: axis.size, default=NO_AXIS)
        if len(filtered) == 1 and columns.folded == 1 and columns.size < min(NARROW, longest.size):
            others = [axis for axis in before if axis is not longest] + behind
            return Plane(columns, longest, True, False, tuple(others))
        rows = axes[filtered[0]] if len(filtered) == 2 else longest
        others = [axis for axis in before if axis is not rows] + behind
        return Plane(rows, columns, len(filtered) == 2, True, tuple(others))
    return Plane(axes[last], behind[-1], True, False, (*before, *behind[:-1]))


def _behind(outer: Axis, inner: Axis) -> bool:
    """Whether the elements of `outer` lie as far apart as `inner` is long."""
    return outer.x_step == inner.x_step * inner.size and outer.out_step == inner.out_step * inner.size
