"""A kernel that is a sum of outer products, as one-dimensional passes by the direct filter.

For a kernel ``sum over t of u[t] v[t]`` the first pass filters the columns of the image with every
``u[t]``, into as many planes, and the last one sums the planes, each filtered along its rows with
``v[t]``; for more axes there are passes in between, plane by plane.  Boundary rules belong to axes,
so each pass has those of its own.

The output is made in blocks, cut along the axes up to the first filtered one, so that the planes
of a block stay in the cache and memory is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms import separable
from fastconv.algorithms.executor import kernel_types, refuse_types
from fastconv.algorithms.filter import Filter
from fastconv.algorithms.separable import Separable, all_finite
from fastconv.boundary import index_map
from fastconv.problem import ConvProblem, SeparableProblem
from fastconv.separability import OuterProducts, outer_products

__all__ = ["LowRank", "is_ready", "refuse"]

# Bytes of the planes of a block: of 0.5 to 4 MB the largest is the fastest (a launch takes 8 us), and one block of
# 2048x2048 up to twice as slow where there are two planes.
BLOCK_BYTES = 4 * 1024 * 1024
# Rows of a block at least, and of which it has a multiple.
BLOCK_ROWS = 16


def refuse(problem: Any) -> str | None:
    """Why separable passes cannot do a problem, or None."""
    known = isinstance(problem, SeparableProblem)
    if known:
        if problem.combined:
            return "combines no results"
        problem = problem.conv
    why = refuse_types(problem)
    if why is not None:
        return why
    if not (problem.rank or known) or sum(taps > 1 for taps in problem.kernel_shape) < 2:
        return "is for large kernels that are sums of a few outer products"
    for size, out, taps, pad in zip(
        problem.in_shape, problem.out_shape, problem.kernel_shape, problem.pad, strict=True
    ):
        if taps == 1 and (pad > 0 or size != out):
            return "is for axes that are filtered, or left as they are"
        if not 0 <= pad < taps or not 0 <= out - 1 + taps - pad - size < taps:
            return "is for borders narrower than the kernel"
    return None


def is_ready(problem: ConvProblem | SeparableProblem, engine: Any) -> bool:
    """Whether the engine's kernels are compiled."""
    conv = problem.conv if isinstance(problem, SeparableProblem) else problem
    lines = conv.acc not in ("float32", "float64") or engine.is_ready("separable", conv.acc)
    return lines and engine.is_ready("filter", *kernel_types(conv))


@dataclass(frozen=True)
class Block:
    """A part of the output, the part of the input that it is made from, and the passes between them."""

    source: tuple[slice, ...]
    rows: np.ndarray | None  # of the input along the first filtered axis, if no slice holds them
    target: tuple[slice, ...]
    passes: tuple[Filter, ...]


class LowRank:
    """Executes a `SeparableProblem`, or a `ConvProblem` whose kernel is a sum of outer products.

    What was taken for such a sum and is none is summed directly.
    """

    operation = "filter"

    def __init__(self, problem: ConvProblem | SeparableProblem, engine: Any):
        self.known = isinstance(problem, SeparableProblem)
        self.problem = problem = replace(problem.conv, rank=1) if isinstance(problem, SeparableProblem) else problem
        self.engine = engine
        self.direct = None if self.known else Filter(replace(problem, rank=0), engine)
        self.axes = [axis for axis, taps in enumerate(problem.kernel_shape) if taps > 1]
        self.steps = self._steps()
        self._passes: dict[ConvProblem, Filter] = {}
        self.blocks = [self._block(place) for place in self._places()]
        self.plane_bytes = problem.rank * np.dtype(problem.acc).itemsize * self._largest_plane()

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        found = self._lines(w) if self.known else outer_products(self.problem, w[0, 0], fill)
        if found.rank == self.problem.rank:
            weights = [self._weights(found, axes) for axes in self.steps]
            fills = self._fills(found, fill)
            for block in self.blocks:
                self._run(block, x[0, 0], weights, out[0, 0], fills, threads)
            if found.same_signs or all_finite(out[0, 0], self.problem.kernel_shape):
                return
        if self.direct is not None:
            self.direct(x, w, out, bias, fill, threads)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        passes = max(step.workspace(threads) for block in self.blocks for step in block.passes)
        return self.plane_bytes * min(len(self.axes) - 1, 2) + passes

    def _run(
        self, block: Block, x: np.ndarray, weights: list[np.ndarray], out: np.ndarray, fills: list[Any], threads: int
    ) -> None:
        x, out = x[block.source], out[block.target]
        if block.rows is not None:
            x = x.take(block.rows, self.axes[0])
        planes = x[None, None]
        for axes, step, kernels in zip(self.steps, block.passes, weights, strict=True):
            p = step.problem
            result = out[None, None]
            if step is not block.passes[-1]:
                result = np.empty((1, p.filters, *p.out_shape), p.out_dtype)
            step(planes, kernels, result, None, fills[self.axes.index(axes[0])], threads)
            planes = result

    def _lines(self, w: np.ndarray) -> OuterProducts:
        """The one outer product of lines that are given."""
        sizes = [self.problem.kernel_shape[axis] for axis in self.axes]
        return OuterProducts(tuple(line[None] for line in np.split(w, np.cumsum(sizes)[:-1])), True)

    def _steps(self) -> list[tuple[int, ...]]:
        """The axes of each pass: one of them, but the last two at once where one kernel does both."""
        p = self.problem
        single: list[tuple[int, ...]] = [(axis,) for axis in self.axes]
        if len(single) < 3 or p.rank > 1:
            return single
        shape = tuple(taps if axis in self.axes[-2:] else 1 for axis, taps in enumerate(p.kernel_shape))
        pad = tuple(n if axis in self.axes[-2:] else 0 for axis, n in enumerate(p.pad))
        both = SeparableProblem(replace(p, kernel_shape=shape, pad=pad, in_shape=p.out_shape, in_dtype=p.acc, rank=0))
        return single if separable.refuse(both) else [*single[:-2], (self.axes[-2], self.axes[-1])]

    def _weights(self, found: OuterProducts, axes: tuple[int, ...]) -> np.ndarray:
        """The weights of a pass, (filter, channel, taps), or those of its lines."""
        places = [self.axes.index(axis) for axis in axes]
        if len(places) > 1:
            return np.concatenate([found.factors[place][0] for place in places])
        vectors = found.factors[places[0]]
        shape = [1] * self.problem.ndim
        shape[axes[0]] = vectors.shape[1]
        planes = (1, found.rank) if axes[0] == self.axes[-1] else (found.rank, 1)
        return vectors.reshape(*planes, *shape)

    def _fills(self, found: OuterProducts, fill: Any) -> list[Any]:
        """What each pass sees beyond the border: the pass before makes of a row of fill values its sum of weights."""
        fills = [fill]
        for vectors in found.factors[:-1]:
            fills.append(fills[-1] * vectors[0].sum() if np.any(fill) else fill)
        return fills

    # -- blocks ---------------------------------------------------------------------------------

    def _largest_plane(self) -> int:
        """Elements of a block's planes between two passes."""
        return max(prod(step.problem.out_shape) for block in self.blocks for step in block.passes[:-1])

    def _places(self) -> list[tuple[slice, ...]]:
        """Slices of the output, for the axes up to the first filtered one."""
        p, first = self.problem, self.axes[0]
        rest = p.rank * np.dtype(p.acc).itemsize * prod(p.in_shape[first + 1 :])
        places: list[tuple[slice, ...]] = [()]
        whole = False  # whether the axes further inside stay whole
        for axis, size in enumerate(p.out_shape[: first + 1]):
            fitting = BLOCK_BYTES // (rest * prod(p.out_shape[axis + 1 : first + 1]))
            step = size if whole else max(fitting, BLOCK_ROWS if axis == first else 1)
            if step < size and axis == first:  # as even as whole tiles allow
                step = -(-size // -(-size // step) // BLOCK_ROWS) * BLOCK_ROWS
            whole = whole or fitting > 1
            places = [(*p, slice(a, min(a + step, size))) for p in places for a in range(0, size, step)]
        return places

    def _block(self, place: tuple[slice, ...]) -> Block:
        p, first = self.problem, self.axes[0]
        size, taps, pad, rule = p.in_shape[first], p.kernel_shape[first], p.pad[first], p.boundary[first]
        begin, end = place[-1].start - pad, place[-1].stop - pad + taps - 1
        inside = slice(max(begin, 0), min(end, size))
        wanted = index_map(np.arange(begin, end), size, rule)
        seen = index_map(np.arange(begin, end) - inside.start, inside.stop - inside.start, rule)
        rows = None
        if not np.array_equal(wanted, np.where(seen < 0, -1, seen + inside.start)):
            rows, inside, begin = wanted, slice(0, size), 0
        heights = end - place[-1].start + pad if rows is not None else inside.stop - inside.start
        in_shape = [s.stop - s.start for s in place[:-1]] + [heights, *p.in_shape[first + 1 :]]
        pads = [inside.start - begin if axis == first else n for axis, n in enumerate(p.pad)]
        return Block((*place[:-1], inside), rows, place, self._passes_of(in_shape, place[-1], pads))

    def _passes_of(self, shape: list[int], rows: slice, pads: list[int]) -> tuple[Filter, ...]:
        """The filters of a block whose input has a shape and whose output has some rows."""
        p = self.problem
        passes = []
        for axes in self.steps:
            rows_of = {axis: rows.stop - rows.start if axis == self.axes[0] else p.out_shape[axis] for axis in axes}
            out_shape = [rows_of.get(a, n) for a, n in enumerate(shape)]
            starts, ends = self.axes[0] in axes, self.axes[-1] in axes
            step = replace(
                p,
                in_shape=tuple(shape),
                kernel_shape=tuple(n if a in axes else 1 for a, n in enumerate(p.kernel_shape)),
                out_shape=tuple(out_shape),
                in_dtype=p.in_dtype if starts else p.acc,
                kernel_dtype="complex128" if p.kernel_dtype[0] == "c" else "float64",
                out_dtype=p.out_dtype if ends else p.acc,
                pad=tuple(n if a in axes else 0 for a, n in enumerate(pads)),
                channels=1 if starts else p.rank,
                filters=1 if ends else p.rank,
                groups=1 if starts or ends else p.rank,
                rank=0,
            )
            if step not in self._passes:
                problem: Any = SeparableProblem(step) if len(axes) > 1 else step
                self._passes[step] = (Filter if separable.refuse(problem) else Separable)(problem, self.engine)
            passes.append(self._passes[step])
            shape = out_shape
        return tuple(passes)
