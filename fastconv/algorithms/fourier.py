"""Convolution by Fourier transforms: of whole arrays, or of overlapping blocks of long ones (overlap-save).

The output is cut into blocks along the transformed axes.  A block of `step` outputs depends on
``length = step + K - 1`` inputs, whose cyclic convolution with the kernel has these outputs behind
its first ``K - 1`` elements.  Overlapping inputs rather than outputs needs no sums, and blocks that
lie within the input are transformed where they are.  An axis in one block need not have
``N + K - 1`` points: those that wrap around may fall on outputs that nobody asked for.

Blocks are gathered in tasks that fit a processor's cache, and tasks go to threads, so memory is
bounded by the tasks under way.  An axis that is not transformed broadcasts; it is cut into blocks
of one element, which makes it an axis like the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, log2, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastconv import costs

__all__ = ["Blocks", "best_blocks", "convolve", "work_dtype"]

Shape = tuple[int, ...]
Place = tuple[tuple[int, int], ...]  # for each axis the first block of a task, and how many

# Bytes of one task's input: with its spectrum and its result they stay in a cache of 2 MB.
TASK_BYTES = 2**19
# The transforms are vectorised over as many blocks as this, or over the other axes.
VECTOR_BLOCKS = 4
# Cuts that are considered along each of several axes.
MOST_CUTS = 6
# Shorter blocks are not considered.
SHORTEST = 32


def work_dtype(*dtypes: np.dtype) -> np.dtype:
    """The dtype to transform in, as SciPy has it: float64 for integers, at least float32."""
    return np.result_type(*(np.dtype(np.float64) if d.kind in "biu" else d for d in dtypes), np.float32)


class Cut(NamedTuple):
    """How the outputs along an axis are cut into blocks."""

    length: int  # points of the transform
    step: int  # outputs of a block, but for the last
    blocks: int
    origin: int  # of the first block's inputs
    skip: int  # outputs of the cyclic convolution before those of the block


@dataclass(frozen=True)
class Blocks:
    """How a convolution is cut into blocks.

    Attributes
    ----------
    axes : tuple of int
        The transformed axes.
    swapped : bool
        Whether the first array is the one whose spectrum multiplies the blocks of the other.
    cuts : tuple of Cut
        For each of `axes`.
    seconds : float
        Estimated time.
    """

    axes: Shape
    swapped: bool
    cuts: tuple[Cut, ...]
    seconds: float


@lru_cache(maxsize=512)
def best_blocks(
    shape1: Shape,
    shape2: Shape,
    low: Shape,
    size: Shape,
    axes: Shape,
    dtype: np.dtype,
    threads: int,
    whole: bool = False,
) -> Blocks:
    """The cheapest blocks for the outputs ``low ... low + size`` of a full convolution along `axes`.

    `whole` asks for one block.
    """
    swapped = prod(shape2[axis] for axis in axes) > prod(shape1[axis] for axis in axes)
    n, k = (shape2, shape1) if swapped else (shape1, shape2)
    cuts = [_cuts(n[axis], k[axis], low[axis], size[axis], dtype.kind != "c", whole, len(axes) == 1) for axis in axes]
    pairs = prod(size) // prod(size[axis] for axis in axes)
    kernels = prod(k) // prod(k[axis] for axis in axes)
    choices = []
    for combination in product(*cuts):
        length, blocks = tuple(cut.length for cut in combination), prod(cut.blocks for cut in combination)
        seconds = costs.fourier_seconds(length, pairs * blocks, kernels, dtype, threads)
        choices.append(Blocks(axes, swapped, combination, seconds))
    return min(choices, key=lambda blocks: blocks.seconds)


def _cuts(n: int, k: int, low: int, size: int, real: bool, whole: bool, alone: bool) -> list[Cut]:
    """One block, which has all inputs, and blocks with the inputs that their outputs need."""
    from scipy.fft import next_fast_len

    longest = next_fast_len(max(n, k, low + size, n + k - 1 - low), real)
    cuts, length = [Cut(longest, size, 1, 0, low)], max(2 ** ceil(log2(k + k // 4)), SHORTEST)
    while not whole and length < longest:
        for points in (length, length // 2 * 3):
            step = min(points - k + 1, size)
            if points < longest:
                cuts.append(Cut(points, step, ceil(size / step), low - (k - 1), k - 1))
        length *= 2
    cuts.sort(key=lambda cut: cut.length * cut.blocks)
    return cuts if alone else cuts[:MOST_CUTS]


def convolve(in1: np.ndarray, in2: np.ndarray, low: Shape, out: np.ndarray, blocks: Blocks, threads: int) -> None:
    """Write the outputs from `low` on of the full convolution of two arrays along ``blocks.axes`` into `out`.

    All three have the same number of axes; those that are not transformed broadcast.  Integer
    outputs are rounded, and wrap.
    """
    rest = [axis for axis in range(out.ndim) if axis not in blocks.axes]
    x, w = (_part(array, rest, low, out.shape) for array in ((in2, in1) if blocks.swapped else (in1, in2)))
    job = _Job(x, w, out, blocks)
    threads = threads if blocks.seconds > costs.PYTHON_THREADS_SECONDS else 1
    places = job.places(threads)
    job.workers = threads if len(places) == 1 else 1
    job.prepare_kernel(threads)
    _for_each(job.compute, places, threads)


def _part(array: np.ndarray, axes: Iterable[int], low: Shape, size: Shape) -> np.ndarray:
    """What an array has in the outputs, along axes that are not transformed."""
    index = [slice(None)] * array.ndim
    for axis in axes:
        if array.shape[axis] > 1:
            index[axis] = slice(low[axis], low[axis] + size[axis])
    return array[tuple(index)]


def _for_each(function: Callable[[Any], None], items: Iterable[Any], threads: int) -> None:
    """Call a function that releases the GIL for each item, on this thread and others."""
    items = list(items)
    queue = iter(items)

    def work() -> None:
        with np.errstate(all="ignore"):
            for item in queue:
                function(item)

    helpers = min(threads, len(items)) - 1
    if helpers < 1:
        work()
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(helpers) as pool:
        running = [pool.submit(work) for _ in range(helpers)]
        work()  # a helper that wakes late finds less to do
        for helper in running:
            helper.result()


class _Job:
    """One convolution; `compute` does the outputs of one task."""

    def __init__(self, x: np.ndarray, w: np.ndarray, out: np.ndarray, blocks: Blocks):
        ndim = out.ndim
        self.x, self.w, self.out, self.workers = x, w, out, 1
        self.dtype = work_dtype(x.dtype, w.dtype)
        self.cuts = [Cut(1, 1, n, 0, 0) for n in out.shape]
        for axis, cut in zip(blocks.axes, blocks.cuts, strict=True):
            self.cuts[axis] = cut
        self.length, self.step, self.count, self.origin, self.skip = zip(*self.cuts, strict=True)
        # Arrays of windows have the blocks' axes first and the axes within a block last.
        self.fft_axes = tuple(ndim + axis for axis in blocks.axes)
        self.fft_shape = tuple(cut.length for cut in blocks.cuts)
        self.kernel = np.empty(0)
        self.kernel_of_all = True

    def places(self, threads: int) -> list[Place]:
        """The tasks."""
        budget = max(1, TASK_BYTES // (prod(self.length) * self.dtype.itemsize))
        budget = min(budget, ceil(prod(self.count) / (2 * threads))) if threads > 1 else budget
        if len(self.fft_axes) == 1:
            budget = max(budget, VECTOR_BLOCKS)
        ranges: list[list[tuple[int, int]]] = []
        for count in reversed(self.count):
            group = min(count, budget)
            ranges.insert(0, [(first, min(group, count - first)) for first in range(0, count, group)])
            budget = max(1, budget // group)
        return list(product(*ranges))

    def prepare_kernel(self, threads: int) -> None:
        """Transform the kernel, unless there is one for each task."""
        batch = prod(self.w.shape) // prod(self.w.shape[axis - self.out.ndim] for axis in self.fft_axes)
        blocks = prod(self.count[axis - self.out.ndim] for axis in self.fft_axes)
        self.kernel_of_all = batch == 1 or blocks > 1
        if self.kernel_of_all:
            self.kernel = self._transform_kernel(self.w, threads)

    def compute(self, place: Place) -> None:
        """Transform, multiply, transform back, and store."""
        from scipy import fft

        spectrum = self._forward(self._windows(place), self.workers)
        kernel = self._kernel_at(place)
        if np.broadcast_shapes(spectrum.shape, kernel.shape) == spectrum.shape:
            spectrum *= kernel
        else:
            spectrum = spectrum * kernel
        inverse = fft.ifftn if self.dtype.kind == "c" else fft.irfftn
        result = inverse(spectrum, self.fft_shape, self.fft_axes, overwrite_x=True, workers=self.workers)
        self._store(result, place)

    def _forward(self, array: np.ndarray, workers: int) -> np.ndarray:
        from scipy import fft

        forward = fft.fftn if self.dtype.kind == "c" else fft.rfftn
        return forward(array, self.fft_shape, self.fft_axes, workers=workers)

    def _windows(self, place: Place) -> np.ndarray:
        """The inputs of a task's blocks, with zeros beyond the edges."""
        low, span, windows = [], [], []
        for axis, (first, count) in enumerate(place):
            shared = self.x.shape[axis] == 1 and self.length[axis] == 1
            windows.append(1 if shared else count)
            low.append(0 if shared else first * self.step[axis] + self.origin[axis])
            span.append((windows[-1] - 1) * self.step[axis] + self.length[axis])
        inner = tuple(slice(max(a, 0), max(a + s, 0)) for a, s in zip(low, span, strict=True))
        region = self.x[inner]
        if region.shape != tuple(span) or region.dtype != self.dtype:
            padded = np.zeros(span, self.dtype)
            at = tuple(slice(max(-a, 0), max(-a, 0) + n) for a, n in zip(low, region.shape, strict=True))
            padded[at] = region
            region = padded
        steps = [stride * step for stride, step in zip(region.strides, self.step, strict=True)]
        return as_strided(region, (*windows, *self.length), (*steps, *region.strides), writeable=False)

    def _kernel_at(self, place: Place) -> np.ndarray:
        """The kernel's spectrum for a task."""
        array = self.kernel if self.kernel_of_all else self.w
        chosen = tuple(
            slice(None)
            if self.w.shape[axis] == 1 or axis + self.out.ndim in self.fft_axes
            else slice(first, first + count)
            for axis, (first, count) in enumerate(place)
        )
        return array[chosen] if self.kernel_of_all else self._transform_kernel(array[chosen], self.workers)

    def _transform_kernel(self, w: np.ndarray, workers: int) -> np.ndarray:
        inner = [w.ndim + axis in self.fft_axes for axis in range(w.ndim)]
        pairs = [pair for n, within in zip(w.shape, inner, strict=True) for pair in ((1, n) if within else (n, 1))]
        windows = (
            w.astype(self.dtype, copy=False)
            .reshape(pairs)
            .transpose(*range(0, len(pairs), 2), *range(1, len(pairs), 2))
        )
        return self._forward(windows, workers)

    def _store(self, result: np.ndarray, place: Place) -> None:
        ndim = self.out.ndim
        within: Any = (..., *(slice(a, a + n) for a, n in zip(self.skip, self.step, strict=True)))
        result = result[within]
        blocks_and_within = [axis for pair in zip(range(ndim), range(ndim, 2 * ndim), strict=True) for axis in pair]
        merged = [count * step for (_, count), step in zip(place, self.step, strict=True)]
        result = result.transpose(blocks_and_within).reshape(merged)
        low = [first * step for (first, _), step in zip(place, self.step, strict=True)]
        target = self.out[tuple(slice(a, a + n) for a, n in zip(low, merged, strict=True))]
        result = result[tuple(slice(n) for n in target.shape)]
        if target.dtype.kind in "biu":
            result = np.rint(result)
            if target.dtype.kind != "b" and target.dtype != np.uint64:
                result = result.astype(np.int64)  # and then it wraps
        target[...] = result
