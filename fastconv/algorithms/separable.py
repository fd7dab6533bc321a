"""Kernels that are one line, or the outer product of two: a pass down, a pass across, or one after the other.

Of an image plane, the kernel (`SEPARABLE_FIELDS` of the contract) filters some rows down their columns
into a strip of scratch memory, which stays in the cache, and the strip across into the output: the
image is read once and the output written once.  Columns of the strip beyond the border are columns
of the strip again, by the edge map.  A pass of one tap is left out: then tiles write the output itself, or
rows are staged in the strip.

The last filtered axis is the plane's columns, the other one its rows; colours behind them are folded into the
columns, and everything else is further planes.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import Bound, Copy, run
from fastconv.algorithms.filter import FOLD_BELOW, NARROW, STREAM_BEYOND, Filter, can_fold
from fastconv.algorithms.geometry import NO_AXIS, Axis, geometry, spatial_axes
from fastconv.engines.contract import COMBINATIONS, DTYPE_CODES, SEPARABLE_FIELDS, record
from fastconv.problem import ConvProblem, SeparableProblem
from fastconv.separability import outer_products

__all__ = ["Separable", "all_finite", "is_ready", "refuse"]

# Bytes of a row of the strip.  Of 1 to 8 KiB the longest is the fastest, for 5 to 33 taps (eight rows of it fit in the
# first cache or not): 2048x2048 float32, 9+9 taps, one thread: 1.38, 1.3 and 1.15 ms for 2, 4 and 8 KiB.
ROW_BYTES = 8 * 1024
# Rows of the strip where its source must be staged first, which costs the kernel's height in further rows.
STAGED_ROWS = 64
# Most scratch memory of a thread, unless a strip of one tile takes more.
SCRATCH_BYTES = 3 * 2**19
UNITS_PER_THREAD = 4
# Bytes of image and output from which on memory is called for ahead of its use: 2048x2048 float32, 5+5 and 9+9 taps, takes
# 0.7 of the time on one and two threads; in the second cache nothing is gained, nor lost.
AHEAD_BYTES = 8 * 2**20
# Rows a multiple of so many bytes apart share few places in the first cache: longer lines down are staged (2048x2048
# float32, 101 taps: 80 cycles for a vector rather than 135; 33 taps gain nothing).
PAGE, ALIASED_TAPS = 4096, 48
# Columns of the strip are a multiple of so many bytes: what the pass across makes at once.
RUN_BYTES = 512


def refuse(problem: Any) -> str | None:
    """Why passes down and across cannot do a problem, or None."""
    p = problem.conv if isinstance(problem, SeparableProblem) else problem
    if not isinstance(p, ConvProblem):
        return "is for convolutions"
    filtered = [axis for axis, taps in enumerate(p.kernel_shape) if taps > 1]
    if p is problem and len(filtered) != 1 and p.rank != 1:
        return "is for kernels of one line, or found to be outer products where that pays"
    if (
        p.acc not in ("float32", "float64")
        or p.out_dtype not in ("float32", "float64")
        or p.in_dtype not in DTYPE_CODES
    ):
        return "is for sums and results in float32 and float64"
    if max(p.channels, p.filters) > 1 or p.bias or p.activation or max(p.stride + p.dilation) > 1:
        return "is for one channel and filter, without stride, dilation, bias and activation"
    if p is not problem and problem.combined == "cross" and len(filtered) != 2:
        return "adds the sums along two axes"
    if not 0 < len(filtered) < 3 or (len(filtered) > 1 and prod(p.in_shape[filtered[-1] + 1 :]) >= FOLD_BELOW):
        return "is for kernels along one axis, or the last two"
    if any(p.pad[a] or p.in_shape[a] != p.out_shape[a] for a in range(p.ndim) if a not in filtered):
        return "is for axes that are filtered, or left as they are"
    return None


def is_ready(problem: ConvProblem | SeparableProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    acc = problem.conv.acc if isinstance(problem, SeparableProblem) else problem.acc
    return engine.is_ready("separable", acc) and engine.is_ready("filter", acc)


def all_finite(out: np.ndarray, kernel_shape: tuple[int, ...]) -> bool:
    """Whether image and result of separable passes are finite.

    Wherever a window holds NaN or infinity, so do the planes, and the output is not finite. Each
    element of the image is in the windows of a box of outputs, the kernel's size but for the
    borders: one output of each such box, and the last one, tell.
    """
    for axis, taps in enumerate(kernel_shape):
        if taps > 1:
            size = out.shape[axis]
            out = out.take(np.append(np.arange(0, size - 1, taps), size - 1), axis)
    return bool(np.isfinite(out).all())


class Separable(Filter):
    """Executes a `SeparableProblem`, or a `ConvProblem` whose kernel is one line or outer product.

    What was taken for an outer product and is none is summed directly.
    """

    operation = "separable"

    def __init__(self, problem: ConvProblem | SeparableProblem, engine: Any):
        conv = problem.conv if isinstance(problem, SeparableProblem) else problem
        super().__init__(conv, engine)
        self.combined = COMBINATIONS[problem.combined] if isinstance(problem, SeparableProblem) else 0
        self.continued = isinstance(problem, SeparableProblem) and problem.continued
        self.axes = [axis for axis, taps in enumerate(conv.kernel_shape) if taps > 1]
        self.known = conv is not problem or len(self.axes) == 1
        self.direct = None if self.known else Filter(replace(conv, rank=0), engine)
        self.work = 2 * conv.batch * prod(conv.out_shape) * sum(conv.kernel_shape[axis] for axis in self.axes)

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        if self.direct is None:
            self._run(self._lines(w), x, out, fill, threads)
            return
        found = outer_products(self.problem, w[0, 0], fill)
        if found.rank == 1:
            self._run([vectors[0] for vectors in found.factors], x, out, fill, threads)
            if found.same_signs or all_finite(out[0, 0], self.problem.kernel_shape):
                return
        self.direct(x, w, out, bias, fill, threads)

    def _run(self, lines: list[np.ndarray], x: np.ndarray, out: np.ndarray, fill: Any, threads: int) -> None:
        seats = costs.threads_worth_using(self.work, self.problem.nbytes, threads)
        bound = self._bind(x.strides, out.strides, seats)
        weights, copies = self._packed(lines, bound.order)
        run(self.kernel, bound, x, weights, out, None, self._constants(fill), seats, copies)

    def _lines(self, w: np.ndarray) -> list[np.ndarray]:
        """The weights along each filtered axis."""
        if w.ndim == 1:
            first = self.problem.kernel_shape[self.axes[0]]
            return [w[:first], w[first:]]
        return [w[(0, 0, *(slice(None) if taps > 1 else 0 for taps in self.problem.kernel_shape))]]

    def _packed(self, lines: list[np.ndarray], order: tuple[int, ...]) -> tuple[np.ndarray, list[Copy]]:
        """The weights down, then those across (of an axis that is not filtered, any one)."""
        down = self.problem.kernel_shape[order[0]] if order[0] in self.axes else 1
        across = self.problem.kernel_shape[order[1]] if order[1] in self.axes else 1
        packed, copies = np.ones(down + across, self.part), []
        for axis, target in zip(order, (packed[:down], packed[down:]), strict=True):
            if axis in self.axes:
                target[...] = lines[self.axes.index(axis)]
                copies.append((lines[self.axes.index(axis)], target, False))
        return packed, copies

    def _new_bound(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...], threads: int) -> Bound:
        p, size = self.problem, self.itemsize
        (*lead, y, x), order = _arrange(spatial_axes(p, x_strides, out_strides), not self.continued)
        src_planes, out_planes, _ = self._planes(lead, x_strides, out_strides)
        map_y, map_x, col_of = y.edges(), x.edges(), np.arange(x.taps) * x.dilation
        in_place = p.in_dtype == self.part and x.x_step == size and y.x_step % size == 0
        in_place = in_place and not (y.taps > ALIASED_TAPS and x.taps == 1 and y.x_step % PAGE == 0)
        store_direct = p.out_dtype == self.part and x.out_step == size and y.out_step % size == 0

        wanted = -(-threads * UNITS_PER_THREAD // len(out_planes)) if threads > 1 else 1
        rows, cols, pitch = self._patch_of(y, x, in_place, wanted)
        scratch_bytes = -(-self._rows_of_scratch(rows, y) * pitch * size // 64) * 64
        strip = -(-y.out_size // min(wanted, -(-y.out_size // rows)) // rows) * rows
        n_strips = -(-y.out_size // strip)
        wanted, blocks = -(-wanted // n_strips), -(-x.out_size // cols)
        span = -(-blocks // min(wanted, blocks)) * cols
        n_spans = -(-x.out_size // span)
        streams = len(out_planes) * y.out_size * x.out_size * size > STREAM_BEYOND
        values = {
            **geometry(p, y, x, map_y, map_x),
            "scratch_bytes": scratch_bytes,
            "src_planes": src_planes.ctypes.data, "out_planes": out_planes.ctypes.data,
            "in_place": in_place, "store_direct": store_direct, "patch_rows": rows, "patch_cols": cols,
            "strip": strip, "n_strips": n_strips, "span": span, "n_spans": n_spans, "pitch": pitch,
            "col_of": col_of.ctypes.data, "combined": self.combined,
            "continued": self.continued,
            "ahead": 0 if not (in_place and store_direct and p.nbytes >= AHEAD_BYTES) else 2 if streams else 1,
        }  # fmt: skip
        tables = (src_planes, out_planes, map_y, map_x, col_of)
        units = len(out_planes) * n_strips * n_spans
        return Bound(record(SEPARABLE_FIELDS, values), units, scratch_bytes, order, tables)

    def _patch_of(self, y: Axis, x: Axis, in_place: bool, wanted: int) -> tuple[int, int, int]:
        """Rows and columns that are filtered at once, and the length of a row in scratch memory.

        Few rows are cut into as many pieces as are wanted, though each reads again what a long line reaches.
        """
        size = self.itemsize
        tile_rows, tile_bytes = self.engine.TILE
        tile_cols, line_cols, reach = tile_bytes // size, self.engine.LINE[1] // size, (x.taps - 1) * x.dilation
        rows = (
            1 if y.taps == 1 else tile_rows if in_place else -(-min(STAGED_ROWS, y.out_size) // tile_rows) * tile_rows
        )
        most = max(ROW_BYTES // size, 2 * reach // tile_cols * tile_cols)
        if y.out_size < wanted:
            most = min(most, max(-(-x.out_size * y.out_size // wanted), RUN_BYTES // size))
        while True:
            blocks, step = -(-x.out_size // most), RUN_BYTES // size if x.out_size * size > RUN_BYTES else tile_cols
            cols = -(-x.out_size // blocks // step) * step
            pitch = max(cols, line_cols) + -(-(reach + tile_cols) // tile_cols) * tile_cols  # tiles may end beyond n
            if most <= tile_cols or self._rows_of_scratch(rows, y) * pitch * size <= SCRATCH_BYTES:
                return rows, cols, pitch
            most //= 2

    @staticmethod
    def _rows_of_scratch(rows: int, y: Axis) -> int:
        """Rows of a window, if it is staged, of the strip, and of outputs that cannot be stored directly."""
        return (rows + y.taps - 1 if y.taps > 1 else 0) + 2 * rows


def _arrange(axes: list[Axis], any_order: bool) -> tuple[list[Axis], tuple[int, int]]:
    """Leading axes, then the plane's rows and columns, and which of the axes these are (-1: none that is filtered)."""
    first, *second = (i for i, axis in enumerate(axes) if axis.taps > 1)
    x = second[0] if second else first
    y = first if second else -1
    if any_order and prod(axis.out_size for axis in axes[x:]) < NARROW:  # rows should be long
        longest = max(
            (i for i in range(len(axes)) if i != x and y in (i, -1)), key=lambda i: axes[i].out_size, default=x
        )
        if axes[longest].out_size > axes[x].out_size:
            lead = [axis for i, axis in enumerate(axes) if i not in (x, longest)]
            return [*lead, axes[x], axes[longest]], (x, longest)
    behind = axes[x:]
    while len(behind) > 1 and can_fold(behind[-2], behind[-1]):
        behind[-2:] = [behind[-2].fold(behind[-1])]
    before = [axis for i, axis in enumerate(axes[:x]) if i != y]
    if y >= 0:
        return [*before, *behind[1:], axes[y], behind[0]], (y, x)
    if len(behind) > 1:  # the axis is down, and what lies behind it across
        return [*before, *behind[1:-1], behind[0], behind[-1]], (x, -1)
    return [*before[:-1], before[-1] if before else NO_AXIS, behind[0]], (-1, x)
