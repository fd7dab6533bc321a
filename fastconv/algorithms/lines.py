"""One-dimensional correlations of bytes with integer results, one axis after another.

The kernel (`LINES_FIELDS` of the contract) filters a row of bytes down its columns and then along itself, so two
passes read the image once and write the result once; what the first one leaves, a row of bytes, stays in the
cache.  Sums are made in fixed point and are exactly SciPy's (bytes_line.h).

Passes along further axes, or in another order, are launches of their own.  Where there is no such kernel, each
pass is one of the direct filter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
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
# Bytes of rows that are filtered at once, and their number (MOST_ROWS of bytes_line.h).
BATCH, MOST_ROWS = 4096, 16
# Bytes of a vector, at most.
LANES = 64


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


class Passes:
    """Executes a `LinesProblem` by the direct filter, pass after pass."""

    operation = "filter"

    def __init__(self, problem: LinesProblem, engine: Any):
        self.problem = problem
        self.passes = [Filter(step, engine) for step in problem.steps]

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        spare = np.empty(out.shape, out.dtype) if len(self.passes) > 1 else out
        for i, (step, weights) in enumerate(zip(self.passes, self.problem.split(w), strict=True), 1):
            target = spare if (len(self.passes) - i) % 2 else out
            step(x, weights.reshape(1, 1, *step.problem.kernel_shape), target, None, fill, threads)
            x = target

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        spare = prod(self.problem.shape) * np.dtype(self.problem.out_dtype).itemsize
        return max(step.workspace(threads) for step in self.passes) + spare * (len(self.passes) > 1)


class Lines:
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
        self.groups = _groups(lines.axes)
        self._bounds: dict[tuple, list[Bound]] = {}

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        p, beyond = self.problem, np.asarray(fill, np.float64).reshape(1)
        if "fill" in p.boundary and not (0 <= beyond[0] <= 255 and beyond[0] == int(beyond[0])):
            self.filters(x, w, out, bias, fill, threads)
            return
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        bounds = self._bind(x.strides, out.strides, threads)
        spare = np.empty(out.shape, out.dtype) if len(bounds) > 1 else out
        lines = p.split(w.reshape(-1))
        for i, (group, bound) in enumerate(zip(self.groups, bounds, strict=True)):
            target = out if (len(bounds) - i) % 2 else spare
            weights, copies = _packed([lines[step] for step in group])
            run(self.kernel, bound, x, weights, target, None, beyond, threads, copies)
            x = target

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        p = self.problem
        strides = contiguous_strides((1, 1, *p.shape), "uint8")
        threads = costs.threads_worth_using(p.flops, p.nbytes, threads)
        bounds = self._bind(strides, strides, threads)
        return threads * max(bound.scratch_bytes for bound in bounds) + prod(p.shape) * (len(bounds) > 1)

    def _bind(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> list[Bound]:
        """The records for arrays of these strides."""
        key = (x_strides, out_strides, threads)
        if key not in self._bounds:
            if len(self._bounds) >= REMEMBERED:
                self._bounds.clear()
            between = contiguous_strides((1, 1, *self.problem.shape), "uint8")
            strides = [out_strides if (len(self.groups) - i) % 2 else between for i in range(len(self.groups))]
            places = zip(self.groups, [x_strides, *strides], strides, strict=False)
            self._bounds[key] = [self._new_bound(*place, threads) for place in places]
        return self._bounds[key]

    def _new_bound(
        self, group: tuple[int, ...], x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int
    ) -> Bound:
        p = _joined([self.problem.steps[i] for i in group])
        plane = _plane(spatial_axes(p, x_strides, out_strides), [self.problem.axes[i] for i in group])
        (src, out), y, x = offsets(plane.beside), plane.y, plane.x
        map_y, map_x = y.edges(), x.edges()
        halo = (x.taps - 1) * x.dilation
        span = max(FIRST_CACHE // (y.taps + 4) - halo, LEAST_SPAN, halo)
        n_spans = -(-x.size // span)
        span = -(-x.size // n_spans)
        pitch = (-(-(span + halo) // LANES) + 1) // 2 * 2 * LANES + LANES  # rows that are not a power of two apart
        batch = max(1, min(y.size, MOST_ROWS, BATCH // pitch))
        scratch_bytes = (y.taps + 3 * batch) * pitch
        wanted = min(threads * UNITS_PER_THREAD, max(prod(p.out_shape) // UNIT, threads)) if threads > 1 else 1
        strip = -(-y.size // min(y.size, -(-wanted // (len(out) * n_spans))))
        n_strips = -(-y.size // strip)
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


def _groups(axes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Passes that can be made at once: along an axis, and then along one further inside."""
    groups: list[tuple[int, ...]] = []
    i = 0
    while i < len(axes):
        n = 2 if i + 1 < len(axes) and axes[i] < axes[i + 1] else 1
        groups.append(tuple(range(i, i + n)))
        i += n
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
