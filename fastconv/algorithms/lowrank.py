"""A kernel that is a sum of outer products, as one-dimensional passes by the direct filter.

For a kernel ``sum over t of u[t] v[t]`` the first pass filters the columns of the image with every
``u[t]``, into as many planes, and the last one sums the planes, each filtered along its rows with
``v[t]``; for more axes there are passes in between, plane by plane.  Boundary rules belong to axes,
so each pass has those of its own.

The output is made in blocks, so that the planes of a block stay in the cache and memory is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms import separable
from fastconv.algorithms.blocks import Block, Line, blocks_of, copied, cut, parts_of, repeats
from fastconv.algorithms.executor import kernel_types, refuse_types
from fastconv.algorithms.filter import Filter
from fastconv.algorithms.separable import Separable, all_finite
from fastconv.problem import ConvProblem, SeparableProblem
from fastconv.separability import OuterProducts, outer_products

__all__ = ["LowRank", "is_ready", "refuse"]

# Larger blocks where there are more threads, up to so many (one block of 2048x2048 takes up to twice as long where there are
# two planes).
MOST_THREADS = 4


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


class LowRank:
    """Executes a `SeparableProblem`, or a `ConvProblem` whose kernel is a sum of outer products.

    What was taken for such a sum and is none is summed directly.
    """

    operation = "filter"

    def __init__(self, problem: ConvProblem | SeparableProblem, engine: Any):
        self.known = isinstance(problem, SeparableProblem)
        self.continued = isinstance(problem, SeparableProblem) and problem.continued
        self.problem = problem = replace(problem.conv, rank=1) if isinstance(problem, SeparableProblem) else problem
        self.engine = engine
        self.direct = None if self.known else Filter(replace(problem, rank=0), engine)
        self.axes = [axis for axis, taps in enumerate(problem.kernel_shape) if taps > 1]
        self.steps = self._steps()
        self._passes: dict[ConvProblem, Filter] = {}
        self.blocks = lru_cache(maxsize=MOST_THREADS)(self._blocks)
        self.parts = lru_cache(maxsize=MOST_THREADS)(self._parts)
        self.blocks(1)  # kernels are compiled now

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        found = self._lines(w) if self.known else outer_products(self.problem, w[0, 0], fill)
        if found.rank == self.problem.rank:
            if self.parts(min(threads, MOST_THREADS)) is not None:
                self._overwrite(x, found, out, fill, threads)
            else:
                weights, fills = (
                    [self._weights(found, axes) for axes in self.steps],
                    self._fills(found, self.axes, fill),
                )
                for block, passes in self.blocks(min(threads, MOST_THREADS)):
                    self._run(passes, block.source(x[0, 0]), weights, out[0, 0][block.target], fills, threads)
            if found.same_signs or all_finite(out[0, 0], self.problem.kernel_shape):
                return
        if self.direct is not None:
            self.direct(x, w, out, bias, fill, threads)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory of a call on contiguous arrays."""
        p, parts = self.problem, self.parts(min(threads, MOST_THREADS))
        if parts is not None:
            size, filters = np.dtype(p.acc).itemsize, {step for _, passes in parts for _, step in passes}
            held = max(prod(step.problem.in_shape) for _, passes in parts[1:] for _, step in passes)
            return held * size + max(step.workspace(threads) for step in filters)
        blocks = self.blocks(min(threads, MOST_THREADS))
        planes = max(prod(step.problem.out_shape) for _, passes in blocks for step in passes[:-1])
        scratch = max(step.workspace(threads) for step in {step for _, passes in blocks for step in passes})
        return p.rank * np.dtype(p.acc).itemsize * planes * self._between() + scratch

    def _run(
        self, passes: tuple[Filter, ...], x: np.ndarray, weights: list[np.ndarray], out: np.ndarray, fills: list[Any],
        threads: int,
    ) -> None:  # fmt: skip
        planes = x[None, None]
        for axes, step, kernels in zip(self.steps, passes, weights, strict=True):
            p = step.problem
            result = out[None, None]
            if step is not passes[-1]:
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

    def _fills(self, found: OuterProducts, axes: Sequence[int], fill: Any) -> list[Any]:
        """What passes along these axes see beyond the border: the one before makes of a row of fill values its sum of weights."""
        fills = [fill]
        for axis in axes[:-1]:
            vectors = found.factors[self.axes.index(axis)]
            fills.append(fills[-1] * vectors[0].sum() if np.any(fill) and not self.continued else fill)
        return fills

    # -- passes that overwrite what the one before has left ----------------------------------------

    def _overwrite(self, x: np.ndarray, found: OuterProducts, out: np.ndarray, fill: Any, threads: int) -> None:
        parts = self.parts(min(threads, MOST_THREADS)) or []
        axes = [axis for step, _ in parts for axis in step]
        fills = dict(zip(axes, self._fills(found, axes, fill), strict=True))
        for step_axes, passes in parts:
            weights = self._weights(found, step_axes)
            for where, step in passes:
                source = x if x is not out else copied(out[0, 0][where])[None, None]
                step(source, weights, out[0, 0][where][None, None], None, fills[step_axes[0]], threads)
                del source  # before the next is made
            x = out

    def _parts(self, threads: int) -> list[tuple[tuple[int, ...], list[tuple[tuple[slice, ...], Filter]]]] | None:
        """The passes, the last axes first, and the parts that they are made in; None if blocks are better."""
        p = self.problem
        lines, limit = self._axes(), threads
        steps = cut(lines, self.steps[0], self._itemsize(), limit)
        if (
            self.continued
            or p.rank > 1
            or p.in_shape != p.out_shape
            or p.acc != p.out_dtype
            or not repeats(lines, steps, self.steps[0])
        ):
            return None
        whole = tuple(slice(0, n) for n in p.out_shape)
        found: list[Any] = []
        for axes in reversed(self.steps):
            first = not found
            parts = [whole] if first else parts_of(p.out_shape, axes, np.dtype(p.acc).itemsize, limit)
            if parts is None:
                return None
            found.append(
                (axes, [(part, self._filter_of(axes, part, p.in_dtype if first else p.acc)) for part in parts])
            )
        return found

    def _filter_of(self, axes: tuple[int, ...], part: tuple[slice, ...], in_dtype: str) -> Filter:
        """The filter along some axes of a part of the output."""
        p, shape = self.problem, tuple(s.stop - s.start for s in part)
        return self._filter(
            replace(
                p, in_shape=shape, out_shape=shape, in_dtype=in_dtype, rank=0,
                kernel_shape=tuple(n if a in axes else 1 for a, n in enumerate(p.kernel_shape)),
                pad=tuple(n if a in axes else 0 for a, n in enumerate(p.pad)),
                kernel_dtype="complex128" if p.kernel_dtype[0] == "c" else "float64",
            ),
            axes,
        )  # fmt: skip

    # -- blocks ---------------------------------------------------------------------------------

    def _between(self) -> int:
        """How many results of passes there are at once."""
        return min(len(self.steps) - 1, 2)

    def _axes(self) -> list[Line]:
        p = self.problem
        sizes = zip(p.in_shape, p.out_shape, p.kernel_shape, p.pad, p.boundary, strict=True)
        return [Line(*line) for line in sizes]

    def _itemsize(self) -> int:
        """Bytes between passes, of an element."""
        return self.problem.rank * np.dtype(self.problem.acc).itemsize * self._between()

    def _blocks(self, threads: int) -> list[tuple[Block, tuple[Filter, ...]]]:
        """The blocks, and the passes of each."""
        lines = self._axes()
        blocks = blocks_of(lines, cut(lines, self.steps[0], self._itemsize(), threads))
        passes: dict[tuple, tuple[Filter, ...]] = {}
        for block in blocks:
            if block.shape not in passes:
                passes[block.shape] = self._passes_of(block)
        return [(block, passes[block.shape]) for block in blocks]

    def _passes_of(self, block: Block) -> tuple[Filter, ...]:
        """The filters of a block."""
        p, shape, passes = self.problem, [part.size for part in block.parts], []
        for axes in self.steps:
            out_shape = [block.parts[axis].out_size if axis in axes else size for axis, size in enumerate(shape)]
            starts, ends = self.axes[0] in axes, self.axes[-1] in axes
            step = replace(
                p,
                in_shape=tuple(shape),
                kernel_shape=tuple(n if a in axes else 1 for a, n in enumerate(p.kernel_shape)),
                out_shape=tuple(out_shape),
                in_dtype=p.in_dtype if starts else p.acc,
                kernel_dtype="complex128" if p.kernel_dtype[0] == "c" else "float64",
                out_dtype=p.out_dtype if ends else p.acc,
                pad=tuple(part.pad if a in axes else 0 for a, part in enumerate(block.parts)),
                channels=1 if starts else p.rank,
                filters=1 if ends else p.rank,
                groups=1 if starts or ends else p.rank,
                rank=0,
            )
            passes.append(self._filter(step, axes))
            shape = out_shape
        return tuple(passes)

    def _filter(self, step: ConvProblem, axes: tuple[int, ...]) -> Filter:
        """The executor of a pass."""
        if step not in self._passes:
            problem: Any = SeparableProblem(step, continued=self.continued) if len(axes) > 1 else step
            self._passes[step] = (Filter if separable.refuse(problem) else Separable)(problem, self.engine)
        return self._passes[step]
