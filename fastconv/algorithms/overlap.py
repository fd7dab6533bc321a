"""Convolution by Fourier transforms of overlapping blocks, by kernels of the engine (overlap-save).

The output is cut into blocks along the filtered axes.  A block of ``step`` outputs depends on ``length = step + K - 1``
inputs, whose cyclic convolution with the kernel has these outputs behind its first ``K - 1`` elements.  The kernel
(`OVERLAP_FIELDS` of the contract) gathers the inputs by the edge maps, so all boundary rules are served and nothing
is padded.  Two blocks of a real image are the real and the imaginary part of one complex transform, whose product with the
spectrum of a real kernel filters both.

Axes that are not filtered become planes; the last one, if it is long, is carried along: its elements are the lanes of
transforms along the others.  Where only the last axis is filtered, lines of several planes and blocks are transformed at once.

A block that holds NaN or infinity is NaN throughout: one output of each tells, and the sum is done again directly.

Reference: T. G. Stockham, "High-speed convolution and correlation", AFIPS Spring Joint Computer Conference (1966) 229,
doi:10.1145/1464182.1464209.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log2, prod, sqrt
from typing import Any

import numpy as np

from fastconv import costs
from fastconv.algorithms.executor import Bound, refuse_types
from fastconv.algorithms.filter import Filter
from fastconv.algorithms.geometry import NO_AXIS, PARTS, Axis, geometry, part_size, spatial_axes
from fastconv.algorithms.overlap_blocks import Blocks, best_blocks, filtered_axes, part_of
from fastconv.boundary import index_map
from fastconv.engines.contract import BEYOND, DTYPE_CODES, OVERLAP_FIELDS, record
from fastconv.engines.threads._threads import launch
from fastconv.problem import ConvProblem
from fastconv.replay import address, by_value, by_values_of, constant, launched

__all__ = ["MOST_DOUBTS", "Blocks", "Overlap", "best_blocks", "is_ready", "refuse", "truncation_guard"]

Shape = tuple[int, ...]

_local = threading.local()

# Transforms split a length by these factors; larger ones make fewer passes, those that are not powers of 2 come first.
RADICES = (5, 3, 8, 4)
# Records remembered for each plan.
REMEMBERED = 8
# Bytes of scratch memory that a thread keeps from one call to the next.
MOST_KEPT = 16 * 2**20
# One output of so many, at most, is made again where rounding errors decide: each takes a hundred times a direct sum.
MOST_DOUBTS = 1000


def refuse(problem: Any) -> str | None:
    """Why these transforms cannot do a problem, or None."""
    why = refuse_types(problem)
    if why is not None:
        return why
    p = problem
    if p.transforms != "overlap":
        return "is for large kernels and finite numbers"
    if PARTS.get(p.kernel_dtype, p.kernel_dtype) not in DTYPE_CODES:
        return f"does not read {p.kernel_dtype}"
    if p.acc in PARTS and not p.in_dtype == p.out_dtype == p.acc:
        return "is for complex images where results are complex"
    if p.batch * p.channels * p.filters > 1 or p.bias or max(p.stride + p.dilation) > 1:
        return "is for one image, one kernel, and steps of 1"
    filtered = filtered_axes(p)
    if not 1 <= len(filtered) <= 3:
        return "is for kernels along one to three axes"
    if any(p.pad[a] or p.in_shape[a] != p.out_shape[a] for a in range(p.ndim) if a not in filtered):
        return "is for axes that are filtered, or left as they are"
    return None if best_blocks(p, 1) else "is for kernels that fit in a block"


def is_ready(problem: ConvProblem, engine: Any) -> bool:
    """Whether the engine's kernel is compiled."""
    return engine.is_ready("overlap", part_of(problem))


@lru_cache(maxsize=256)
def _passes(length: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Radices of a transform's passes, and the roots of unity between them, as `overlap.h` reads them."""
    radices, roots, part = [], [np.zeros(0)], length
    while part > 1:
        # 16 is 4 x 4 rather than 8 x 2
        radix = next(r for r in RADICES if part % r == 0 and not (r == 8 and part == 16))
        m = part // radix
        angles = -2 * np.pi / part * (np.arange(m)[:, None] * np.arange(1, radix) % part)
        roots.append(np.stack([np.cos(angles), np.sin(angles)], -1).reshape(-1))
        radices.append(radix)
        part = m
    return np.array(radices, np.int64), np.concatenate(roots).astype(dtype)


@dataclass(frozen=True)
class Bounds:
    """Records of both launches, and what the caller must know."""

    analysis: Bound
    convolution: Bound
    spectrum: int  # elements


class Overlap:
    """Executes a `ConvProblem` by an engine's transforms; what is not finite by the direct filter."""

    operation = "overlap"

    def __init__(self, problem: ConvProblem, engine: Any):
        self.problem = problem
        self.part = part_of(problem)
        self.itemsize = np.dtype(self.part).itemsize
        self.kernel = engine.kernel(self.operation, self.part)
        self.lanes = engine.TILE[1] // 2 // self.itemsize
        self.direct = Filter(replace(problem, transforms="", rank=0, whole=False), engine)
        self.doubts = prod(problem.out_shape) // MOST_DOUBTS if _rounding(problem) == 3 else 0
        self._bounds: dict[tuple, Bounds] = {}
        self._kept: tuple[Bound, bytes, np.ndarray] | None = None

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        if self.doubts:
            by_value()
            self._truncate(x, w, out, fill, threads)
            return
        by_values_of(w)
        report = np.zeros(1, np.int64)
        self._launch(x, w, out, self._fills(fill), report, threads)
        if report[0]:
            by_value()
            self.direct(x, w, out, bias, fill, threads)

    def _launch(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, fills: np.ndarray, noted: np.ndarray, threads: int
    ) -> None:
        """Make the kernel's spectrum, which tapes hold as a constant, and convolve."""
        kernel = w[0, 0][(slice(None, None, -1),) * self.problem.ndim]
        bounds = self._bind(x.strides[2:], kernel.strides, out.strides[2:], threads)
        nbytes, used = bounds.spectrum * self.itemsize, bounds.convolution.scratch_bytes * threads
        scratch, then = _memory(used), bounds.convolution
        spectrum = self._spectrum_of(kernel, bounds.analysis, nbytes, scratch)
        launch(self.kernel, then.slots, x, spectrum, out, noted, fills, scratch, then.units, threads)
        if nbytes > costs.MOST_SPECTRUM:
            by_value()
        launched(self.kernel, then, x, constant(spectrum), out, noted, fills, threads, (), (out, noted), noted)

    def _spectrum_of(self, kernel: np.ndarray, analysis: Bound, nbytes: int, scratch: np.ndarray) -> np.ndarray:
        """The kernel's spectrum; a small one is kept for the next call with the same weights."""
        weights, kept = kernel.tobytes(), self._kept
        if kept is not None and kept[0] is analysis and kept[1] == weights:
            return kept[2]
        memory = np.empty(nbytes + 64, np.uint8)
        spectrum = memory[-address(memory) % 64 :][:nbytes]
        zeros = np.zeros(2, self.part)
        launch(self.kernel, analysis.slots, kernel, None, spectrum, None, zeros, scratch, analysis.units, 1)
        if nbytes <= costs.MOST_SPECTRUM:
            self._kept = (analysis, weights, spectrum)
        return spectrum

    def _truncate(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, fill: Any, threads: int) -> None:
        """Sums truncated as SciPy's are: those so close to an integer that errors decide are made again in its order."""
        if not out.flags.c_contiguous:
            own = np.empty_like(out, order="C")
            self._truncate(x, w, own, fill, threads)
            out[...] = own
            return
        blocks, kernel = self._blocks(threads), w[0, 0].astype(np.float64)
        noted = np.zeros((threads, 1 + self.doubts), np.int64)
        guard = truncation_guard(x.dtype, kernel, fill, 2 * blocks.points)
        fills = np.append(np.repeat(self._fills(fill), 2), guard)
        self._launch(x, w, out, fills, noted, threads)
        if noted[:, 0].sum() > self.doubts:
            self.direct(x, w, out, None, fill, threads)
            return
        from fastconv.reference import c_cast

        flat, p = out.reshape(-1), self.problem
        for offset in np.concatenate([some[1 : 1 + some[0]] for some in noted]):
            place = np.unravel_index(int(offset) // out.itemsize, p.out_shape)
            at = [
                index_map(np.arange(k) + int(i) - pad, n, rule)
                for k, i, pad, n, rule in zip(p.kernel_shape, place, p.pad, p.in_shape, p.boundary, strict=True)
            ]
            window = x[0, 0][np.ix_(*at)].astype(np.float64)
            for axis, positions in enumerate(at):
                window[(*[slice(None)] * axis, positions < 0)] = fill
            total = (window * kernel).reshape(-1).cumsum()[-1:]  # one after the other
            flat[int(offset) // out.itemsize] = c_cast(total, out.dtype)[0]

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory and of the kernel's spectrum."""
        blocks = self._blocks(threads)
        return self._scratch_bytes(blocks) * min(threads, blocks.units) + self._spectrum(blocks) * self.itemsize

    def describe(self, threads: int) -> str:
        """How the output is cut, and about how long it takes, in words."""
        blocks = self._blocks(threads)
        return f"about {blocks.seconds * 1e3:.3g} ms, {blocks}"

    def _blocks(self, threads: int) -> Blocks:
        blocks = best_blocks(self.problem, threads)
        assert blocks is not None, "refused"
        return blocks

    def _fills(self, fill: Any) -> np.ndarray:
        if self.problem.in_dtype in PARTS:
            both = np.result_type(self.part, np.complex64)
            return np.ascontiguousarray(np.atleast_1d(fill), both).view(self.part)
        return np.atleast_1d(np.asarray(fill)).astype(self.part)

    def _spectrum(self, blocks: Blocks) -> int:
        return 2 * blocks.points * (self.lanes if blocks.lines > 1 else 1)

    def _pitch(self, blocks: Blocks) -> int:
        """Elements from line to line: an odd number of vectors, for lines in step fall on the same sets of a cache."""
        return (blocks.lengths[-1] // self.lanes | 1) * self.lanes

    def _slice(self, blocks: Blocks) -> int:
        """Elements from plane to plane, an odd number of vectors, too."""
        lines = blocks.lengths[-2] if len(blocks.lengths) > 1 else blocks.lines
        return (lines * self._pitch(blocks) // self.lanes | 1) * self.lanes

    def _scratch_bytes(self, blocks: Blocks) -> int:
        elements = 2 * prod(blocks.lengths[:-2]) * self._slice(blocks) + 2 * blocks.lengths[-1] * self.lanes
        return -(-elements * self.itemsize // 64) * 64 + 64

    def _bind(self, x_steps: Shape, w_steps: Shape, out_steps: Shape, threads: int) -> Bounds:
        key = (x_steps, w_steps, out_steps, threads)
        if key not in self._bounds:
            if len(self._bounds) >= REMEMBERED:
                self._bounds.clear()
            self._bounds[key] = self._new_bounds(x_steps, w_steps, out_steps, self._blocks(threads))
        return self._bounds[key]

    def _new_bounds(self, x_steps: Shape, w_steps: Shape, out_steps: Shape, blocks: Blocks) -> Bounds:
        p = self.problem
        axes = spatial_axes(p, (0, 0, *x_steps), (0, 0, *out_steps))
        outer = [axis for i, axis in enumerate(axes) if i not in blocks.axes]
        z, y, x = [NO_AXIS] * (3 - len(blocks.axes)) + [axes[i] for i in blocks.axes]
        planes = [_offsets([np.arange(a.size) * step for a, step in steps]) for steps in (
            [(a, a.x_step) for a in outer], [(a, a.out_step) for a in outer])]  # fmt: skip
        depths = index_map(np.arange(z.out_size + z.taps - 1) - z.pad, z.size, z.rule)
        inside = np.where(depths < 0, BEYOND, depths * z.x_step + planes[0][:, None])
        src = np.ascontiguousarray(inside, np.int64)
        out = np.ascontiguousarray(np.arange(z.out_size) * z.out_step + planes[1][:, None], np.int64)
        common = self._block_slots(blocks)
        maps = y.edges(), x.edges()
        values = geometry(p, y, x, *maps) | common | {
            "src_planes": src.ctypes.data, "out_planes": out.ctypes.data, "positions": src.shape[1],
            "out_depth": z.out_size, "kernel_z": z.taps, "n_entries": len(src) * prod(blocks.counts),
            "imaginary": part_size(p.in_dtype) if p.in_dtype in PARTS else 0, "analysis": 0,
        }  # fmt: skip
        convolution = Bound(
            record(OVERLAP_FIELDS, values), blocks.units, common["scratch_bytes"], (), (src, out, *maps, *self._tables)
        )
        steps = [0] * (3 - len(blocks.axes)) + [w_steps[i] for i in blocks.axes]
        return Bounds(self._analysis(common, (z, y, x), steps, blocks), convolution, self._spectrum(blocks))

    def _block_slots(self, blocks: Blocks) -> dict[str, int]:
        """Slots that both launches have in common."""
        lengths, steps, counts = ((1,) * (3 - len(n)) + n for n in (blocks.lengths, blocks.steps, blocks.counts))
        passes = [_passes(n, self.part) for n in lengths]
        self._tables = [table for pair in passes for table in pair]
        first = 3 - len(blocks.axes)
        transformed = range(first, first + len(filtered_axes(self.problem)))
        slots: dict[str, int] = {}
        for i, axis in enumerate("zyx"):
            radices, roots = passes[i]
            slots |= {
                f"length_{axis}": lengths[i], f"step_{axis}": steps[i], f"blocks_{axis}": counts[i],
                f"radices_{axis}": radices.ctypes.data if i in transformed else 0, f"roots_{axis}": roots.ctypes.data,
            }  # fmt: skip
        lines = blocks.lines > 1
        return slots | {
            "scratch_bytes": self._scratch_bytes(blocks), "lines": blocks.lines, "pitch": self._pitch(blocks),
            "slice": self._slice(blocks),
            "spectrum_step": 0 if lines else 2 * self.lanes * lengths[2],
            "rounded": _rounding(self.problem), "doubts": self.doubts, "units": blocks.units,
            "multiplier": 1, "x_kernel": 0, "out_kernel": 0, "w_kernel": 0, "biases": 0, "activation": 0, "slope": 0,
        }  # fmt: skip

    def _analysis(self, common: dict[str, int], axes: tuple[Axis, ...], steps: list[int], blocks: Blocks) -> Bound:
        """The record of the kernel's spectrum: the kernel is the image, and in every line where lines are transformed."""
        z, y, x = (
            Axis(axis.taps, axis.taps, 1, 1, 1, 0, "fill", step, 0) for axis, step in zip(axes, steps, strict=True)
        )
        p, none = self.problem, np.zeros(1, np.int64)
        lines = self.lanes if blocks.lines > 1 else 1
        src = np.ascontiguousarray(np.broadcast_to(np.arange(z.size) * z.x_step, (lines, z.size)), np.int64)
        weights = replace(p, in_dtype=p.kernel_dtype, out_dtype="float64", saturate=False)
        values = geometry(weights, y, x, none, none) | common | {
            "src_planes": src.ctypes.data, "out_planes": 0, "positions": z.size, "out_depth": z.size, "kernel_z": 1,
            "blocks_z": 1, "blocks_y": 1, "blocks_x": 1, "n_entries": lines, "lines": lines, "units": 1,
            "imaginary": part_size(p.kernel_dtype) if p.kernel_dtype in PARTS else 0, "analysis": 1,
        }  # fmt: skip
        return Bound(record(OVERLAP_FIELDS, values), 1, common["scratch_bytes"], (), (src, none, *self._tables))


def _rounding(problem: ConvProblem) -> int:
    """What becomes of sums: the slot `rounded` of the record."""
    if problem.whole:
        return 2
    return 0 if problem.out_dtype[0] in "fc" else 3 if problem.exact else 1


def truncation_guard(dtype: np.dtype, kernel: np.ndarray, fill: Any, points: int) -> float:
    """How far a sum by transforms in double precision, and SciPy's, may be from each other, for a small integer type.

    ``8 eps log2(points)`` times the 2-norms of the inputs (Higham, section 24.1; see `fastconv.choice`), and ``K eps``
    times the sum of the magnitudes of ``K`` products.
    """
    most = max(abs(float(np.asarray(fill))), 1.0 if dtype.kind == "b" else 2.0 ** (8 * dtype.itemsize))
    weights = np.abs(kernel)
    transforms = 8 * log2(points) * sqrt(points) * sqrt(float(np.square(weights).sum()))
    return float(np.finfo(float).eps) * most * (transforms + kernel.size * float(weights.sum()))


def _offsets(steps: list[np.ndarray]) -> np.ndarray:
    """Byte offsets of all planes: sums of one element of each array, in C order."""
    total = np.zeros(1, np.int64)
    for values in steps:
        total = (total[:, None] + values).reshape(-1)
    return total


def _memory(nbytes: int) -> np.ndarray:
    """Scratch memory that begins with a line of the cache.  A thread keeps its last: new pages cost half a small transform."""
    kept = getattr(_local, "memory", None)
    if kept is not None and kept.size >= nbytes:
        return kept
    memory = np.empty(nbytes + 64, np.uint8)
    memory = memory[-address(memory) % 64 :]
    if nbytes <= MOST_KEPT:
        _local.memory = memory
    return memory
