"""Convolution by the transforms of `scipy.fft`: of whole arrays, or of overlapping blocks of long ones (overlap-save).

For what the engines' own transforms (`overlap`) are not made for: kernels that fit in no block, many axes, integers
that are cut into parts.

The output is cut into blocks along the transformed axes.  A block of `step` outputs depends on
``length = step + K - 1`` inputs, whose cyclic convolution with the kernel has these outputs behind
its first ``K - 1`` elements.  Overlapping inputs rather than outputs needs no sums, and blocks that
lie within the input are transformed where they are.  An axis in one block need not have
``N + K - 1`` points: those that wrap around may fall on outputs that nobody asked for.

Blocks are gathered in tasks that fit a processor's cache, and tasks go to threads, so memory is
bounded by the tasks under way.  An axis that is not transformed broadcasts; it is cut into blocks
of one element, which makes it an axis like the others.

What lies beyond the borders is gathered with the blocks, by index maps; of arrays that are transformed whole it is zeros.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, log2, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastconv import costs
from fastconv.boundary import index_map

__all__ = ["TASK_BYTES", "Blocks", "best_blocks", "convolve", "work_dtype"]

Shape = tuple[int, ...]
Place = tuple[tuple[int, int], ...]  # for each axis the first block of a task, and how many

# Bytes of one task's input: with its spectrum and its result they stay in a cache of 2 MB.
TASK_BYTES = 2**19
# The transforms are vectorised over as many blocks as this, or over the other axes.
VECTOR_BLOCKS = 4
# Combinations of cuts that are considered along several axes (each takes some microseconds, once).
MOST_CUTS = 50
# Lengths that are considered besides the next one: these times powers of two.
LENGTHS = (1, 3, 5, 9, 15, 25, 27)
# Shorter blocks are not considered.
SHORTEST = 32


def work_dtype(*dtypes: np.dtype) -> np.dtype:
    """The dtype to transform in, as SciPy has it: float64 for integers, at least float32."""
    return np.result_type(*(np.dtype(np.float64) if d.kind in "biu" else d for d in dtypes), np.float32)


class Cut(NamedTuple):
    """How the outputs along an axis are cut into blocks."""

    length: int  # points of the transform
    inputs: int  # of a block; zeros follow
    step: int  # outputs of a block, but for the last
    blocks: int
    origin: int  # of the first block's inputs
    skip: int  # outputs of the cyclic convolution before those of the block


@dataclass(frozen=True)
class Blocks:
    """How the outputs of a convolution are cut into blocks.

    Attributes
    ----------
    axes : tuple of int
        The transformed axes.
    low, size : tuple of int
        The outputs' place in the full convolution, and their shape.
    swapped : bool
        Whether the first array is the kernel, whose spectrum multiplies the blocks of the other.
    whole : bool
        Whether both arrays are transformed as they are, in one task.
    cuts : tuple of Cut
        For each of `axes`.
    seconds : float
        Estimated time.
    beyond : tuple of str
        Boundary rules of all axes; empty: there are zeros.
    """

    axes: Shape
    low: Shape
    size: Shape
    swapped: bool
    whole: bool
    cuts: tuple[Cut, ...]
    seconds: float
    beyond: tuple[str, ...] = ()

    def __str__(self) -> str:
        size = "x".join(str(cut.length) for cut in self.cuts)
        return "whole arrays" if self.whole else f"{prod(cut.blocks for cut in self.cuts)} blocks of {size} inputs"


@lru_cache(maxsize=512)
def best_blocks(
    shape1: Shape, shape2: Shape, low: Shape, size: Shape, axes: Shape, dtype: np.dtype, threads: int,
    beyond: tuple[str, ...] = (),
) -> Blocks:  # fmt: skip
    """The cheapest blocks for the outputs ``low ... low + size`` of a full convolution along `axes`.

    With boundary rules, the first array is continued `beyond` its borders by them.
    """
    swapped = not beyond and prod(shape2[axis] for axis in axes) > prod(shape1[axis] for axis in axes)
    n, k = (shape2, shape1) if swapped else (shape1, shape2)
    cuts = [_cuts(n[axis], k[axis], low[axis], size[axis], dtype.kind != "c", bool(beyond)) for axis in axes]
    if len(axes) > 1:
        cuts = [few[: max(int(MOST_CUTS ** (1 / len(axes))), 2)] for few in cuts]
    pairs = prod(size) // prod(size[axis] for axis in axes)
    kernels = prod(k) // prod(k[axis] for axis in axes)
    choices = []
    for combination in product(*cuts):
        length, blocks = tuple(cut.length for cut in combination), prod(cut.blocks for cut in combination)
        seconds = costs.fourier_seconds(length, pairs * blocks, kernels, dtype, threads)
        whole = blocks == 1 and all(cut.inputs == n[axis] for axis, cut in zip(axes, combination, strict=True))
        whole = whole and not beyond and (pairs == 1 or pairs * prod(length) * dtype.itemsize <= TASK_BYTES)
        seconds += 0 if whole else costs.BLOCKS_CALL_SECONDS
        choices.append(Blocks(axes, low, size, swapped, whole, combination, seconds, beyond))
    return min(choices, key=lambda blocks: blocks.seconds)


def _cuts(n: int, k: int, low: int, size: int, real: bool, beyond: bool = False) -> list[Cut]:
    """One block, which has all inputs, and blocks with the inputs that their outputs need; the least points first."""
    if beyond:
        longest = _fast_length(size + k - 1, real)
        cuts = [Cut(longest, size + k - 1, size, 1, low - (k - 1), k - 1)]
    else:
        longest = _fast_length(max(n, k, low + size, n + k - 1 - low), real)
        cuts = [Cut(longest, n, size, 1, 0, low)]
    length = max(2 ** ceil(log2(k + k // 4)), SHORTEST)
    while length < longest:
        for points in (length, length // 2 * 3):
            step = min(points - k + 1, size)
            if points < longest:
                cuts.append(Cut(points, points, step, ceil(size / step), low - (k - 1), k - 1))
        length *= 2
    return sorted(cuts, key=lambda cut: cut.length * cut.blocks)


def _fast_length(points: int, real: bool) -> int:
    """A length from `points` on that is transformed fast: products of threes and fives take longer than powers of two."""
    from scipy.fft import next_fast_len

    lengths = {next_fast_len(points, real), *(odd * 2 ** max(ceil(log2(points / odd)), 0) for odd in LENGTHS)}
    return min(lengths, key=lambda n: n * (1 + costs.ODD_FACTOR * _odd_factors(n)))


def _odd_factors(n: int) -> int:
    """How many factors of `n` are not 2."""
    while n % 2 == 0:
        n //= 2
    factors, divisor = 0, 3
    while n > 1:
        if n % divisor == 0:
            n, factors = n // divisor, factors + 1
        else:
            divisor += 2
    return factors


def convolve(
    in1: np.ndarray, in2: np.ndarray, out: np.ndarray, blocks: Blocks, threads: int, dtype: np.dtype | None = None,
    fill: Any = 0,
) -> None:  # fmt: skip
    """Write the outputs of a convolution that `blocks` is for into `out`; integers are rounded, and wrap."""
    threads = threads if blocks.seconds > costs.PYTHON_THREADS_SECONDS else 1
    dtype = dtype or work_dtype(in1.dtype, in2.dtype)
    if blocks.whole:
        _convolve_whole(in1, in2, out, blocks, threads, dtype)
        return
    job = _Convolution(in1, in2, out, blocks, dtype, fill)
    places = job.places(threads)
    job.workers = threads if len(places) == 1 else 1
    job.prepare_kernel(threads)
    _for_each(job.compute, places, threads)


def _for_each(function: Callable[[Any], None], items: Iterable[Any], threads: int) -> None:
    """Call a function that releases the GIL for each item, on this thread and others."""
    queue = deque(items)

    def work() -> None:
        with np.errstate(all="ignore"), suppress(IndexError):
            while True:
                item = queue.popleft()
                function(item)

    helpers = min(threads, len(queue)) - 1
    if helpers < 1:
        work()
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(helpers) as pool:
        running = [pool.submit(work) for _ in range(helpers)]
        work()  # a helper that wakes late finds less to do
        for helper in running:
            helper.result()


def _convolve_whole(
    in1: np.ndarray, in2: np.ndarray, out: np.ndarray, blocks: Blocks, threads: int, dtype: np.dtype
) -> None:
    """Convolve whole arrays; each is transformed on a thread of its own."""
    transforms = list(zip(blocks.axes, blocks.cuts, strict=True))
    arrays = [_broadcast_part(array, blocks).astype(dtype, copy=False) for array in (in1, in2)]

    def forward(i: int) -> None:
        arrays[i] = _forward(arrays[i], transforms, max(threads // 2, 1))

    _for_each(forward, (0, 1), threads)
    with np.errstate(all="ignore"):
        _put(out, _inverse(arrays[0] * arrays[1], transforms, dtype.kind != "c", threads))


def _forward(array: np.ndarray, transforms: list[tuple[int, Cut]], workers: int) -> np.ndarray:
    """Transform axis after axis, from the last on, so that few of the zeros to come are transformed."""
    from scipy import fft

    (axis, cut), *others = reversed(transforms)
    array = (fft.fft if array.dtype.kind == "c" else fft.rfft)(array, cut.length, axis, workers=workers)
    for axis, cut in others:
        array = fft.fft(array, cut.length, axis, overwrite_x=True, workers=workers)
    return array


def _inverse(array: np.ndarray, transforms: list[tuple[int, Cut]], real: bool, workers: int) -> np.ndarray:
    """Transform back, and after each axis leave out what is nobody's output."""
    from scipy import fft

    last = transforms[-1][0]
    for axis, cut in transforms:
        inverse = fft.irfft if real and axis == last else fft.ifft
        array = inverse(array, cut.length, axis, overwrite_x=True, workers=workers)
        array = array[(*[slice(None)] * axis, slice(cut.skip, cut.skip + cut.step))]
    return array


def _put(target: np.ndarray, result: np.ndarray) -> None:
    """Store outputs; integers are rounded, and wrap."""
    if target.dtype.kind in "biu":
        result = np.rint(result)
        if target.dtype.kind != "b" and target.dtype != np.uint64:
            result = result.astype(np.int64)
    target[...] = result


def _broadcast_part(array: np.ndarray, blocks: Blocks) -> np.ndarray:
    """What an array has in the outputs, along axes that are not transformed."""
    if len(blocks.axes) == array.ndim:
        return array
    index = [slice(None)] * array.ndim
    for axis, (low, size) in enumerate(zip(blocks.low, blocks.size, strict=True)):
        if axis not in blocks.axes and array.shape[axis] > 1:
            index[axis] = slice(low, low + size)
    return array[tuple(index)]


class _Convolution:
    """One convolution of a signal `x` with a kernel `w`; `compute` does the outputs of one task.

    Arrays of windows, and their spectra, have the blocks' axes first and the axes within a block last.
    """

    def __init__(self, in1: np.ndarray, in2: np.ndarray, out: np.ndarray, blocks: Blocks, dtype: np.dtype, fill: Any):
        ndim = out.ndim
        arrays = (in2, in1) if blocks.swapped else (in1, in2)
        self.x, self.w = (_broadcast_part(array, blocks) for array in arrays)
        self.out, self.workers = out, 1
        self.dtype, self.beyond, self.fill = dtype, blocks.beyond, fill
        self.transforms = [(ndim + axis, cut) for axis, cut in zip(blocks.axes, blocks.cuts, strict=True)]
        self.cuts = [Cut(1, 1, 1, n, 0, 0) for n in out.shape]
        for axis, cut in zip(blocks.axes, blocks.cuts, strict=True):
            self.cuts[axis] = cut
        self.within = [axis in blocks.axes for axis in range(ndim)]
        self.blocks = prod(cut.blocks for cut in blocks.cuts)
        self.spectrum: np.ndarray | None = None

    def places(self, threads: int) -> list[Place]:
        """The tasks."""
        points, blocks = prod(cut.length for cut in self.cuts), prod(cut.blocks for cut in self.cuts)
        budget = max(1, TASK_BYTES // (points * self.dtype.itemsize))
        if threads > 1:
            budget = min(budget, ceil(blocks / (2 * threads)))
        if len(self.transforms) == 1:
            budget = max(budget, VECTOR_BLOCKS)
        ranges: list[list[tuple[int, int]]] = []
        for cut in reversed(self.cuts):
            group = min(cut.blocks, budget)
            ranges.insert(0, [(first, min(group, cut.blocks - first)) for first in range(0, cut.blocks, group)])
            budget = max(1, budget // group)
        return list(product(*ranges))

    def prepare_kernel(self, threads: int) -> None:
        """Transform the kernel, unless each task has its own."""
        one = all(n == 1 for n, within in zip(self.w.shape, self.within, strict=True) if not within)
        if one or self.blocks > 1:
            self.spectrum = _forward(self._split(self.w), self.transforms, threads)

    def compute(self, place: Place) -> None:
        """Transform, multiply, transform back, and store."""
        spectrum, kernel = _forward(self._windows(place), self.transforms, self.workers), self._kernel_at(place)
        if all(k in (1, n) for n, k in zip(spectrum.shape, kernel.shape, strict=True)):
            spectrum *= kernel
        else:
            spectrum = spectrum * kernel
        self._store(_inverse(spectrum, self.transforms, self.dtype.kind != "c", self.workers), place)

    def _windows(self, place: Place) -> np.ndarray:
        """The inputs of a task's blocks, with zeros beyond the edges."""
        low, span, windows = [], [], []
        for (first, count), cut, n in zip(place, self.cuts, self.x.shape, strict=True):
            shared = n == 1 and cut.length == 1
            windows.append(1 if shared else count)
            low.append(0 if shared else first * cut.step + cut.origin)
            span.append((windows[-1] - 1) * cut.step + cut.inputs)
        region = self.x[tuple(slice(max(a, 0), max(a + s, 0)) for a, s in zip(low, span, strict=True))]
        if region.shape != tuple(span) and self.beyond:
            region = self._continued(low, span)
        elif region.shape != tuple(span):
            padded = np.zeros(span, self.dtype)
            padded[tuple(slice(max(-a, 0), max(-a, 0) + n) for a, n in zip(low, region.shape, strict=True))] = region
            region = padded
        if self.blocks == 1:
            return self._split(region)
        region = region.astype(self.dtype, copy=False)
        steps = [stride * cut.step for stride, cut in zip(region.strides, self.cuts, strict=True)]
        lengths = [cut.inputs for cut in self.cuts]
        return as_strided(region, (*windows, *lengths), (*steps, *region.strides), writeable=False)

    def _continued(self, low: list[int], span: list[int]) -> np.ndarray:
        """A region that reaches beyond the borders."""
        region, outside = self.x, []
        for axis, (first, count, rule) in enumerate(zip(low, span, self.beyond, strict=True)):
            places = index_map(np.arange(first, first + count), self.x.shape[axis], rule)
            outside.append((places < 0).nonzero()[0])
            region = region.take(np.maximum(places, 0), axis)
        region = region.astype(self.dtype, copy=False)
        for axis, places in enumerate(outside):
            region.swapaxes(0, axis)[places] = self.fill
        return region

    def _split(self, array: np.ndarray) -> np.ndarray:
        """An array with its axes that are transformed last, and those that broadcast first."""
        pairs = [
            pair for n, within in zip(array.shape, self.within, strict=True) for pair in ((1, n) if within else (n, 1))
        ]
        array = array.astype(self.dtype, copy=False).reshape(pairs)
        return array.transpose(*range(0, len(pairs), 2), *range(1, len(pairs), 2))

    def _kernel_at(self, place: Place) -> np.ndarray:
        """The kernel's spectrum for a task."""
        chosen = tuple(
            slice(None) if within or n == 1 else slice(first, first + count)
            for (first, count), n, within in zip(place, self.w.shape, self.within, strict=True)
        )
        if self.spectrum is None:
            return _forward(self._split(self.w[chosen]), self.transforms, self.workers)
        return self.spectrum[chosen]

    def _store(self, result: np.ndarray, place: Place) -> None:
        """Put the blocks' outputs side by side where they belong, without those beyond the last."""
        ndim, steps = self.out.ndim, [cut.step for cut in self.cuts]
        order = [axis for pair in zip(range(ndim), range(ndim, 2 * ndim), strict=True) for axis in pair]
        merged = [count * step for (_, count), step in zip(place, steps, strict=True)]
        low = [first * step for (first, _), step in zip(place, steps, strict=True)]
        target = self.out[tuple(slice(a, a + n) for a, n in zip(low, merged, strict=True))]
        result = result.transpose(order).reshape(merged)[tuple(map(slice, target.shape))]
        _put(target, result)
