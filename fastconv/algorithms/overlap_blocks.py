"""How the outputs of a convolution by transforms are cut into blocks: the choice of lengths for `overlap`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, log2, prod

import numpy as np

from fastconv import costs
from fastconv.algorithms.geometry import PARTS
from fastconv.problem import ConvProblem

__all__ = ["Blocks", "best_blocks", "call_seconds", "filtered_axes", "lengths_along", "part_of"]

Shape = tuple[int, ...]

# Lengths considered along an axis, the best by themselves, where so many axes are filtered.
CANDIDATES = {1: 40, 2: 12, 3: 6}
# Lines transformed at once: a multiple of every build's lanes.
LINES = 16
# Lengths of blocks along an axis that is carried along.
WIDTHS = (128, 256)
# Of a transform of two blocks of n points and K weights, n log2 n may be so many times K squared: see `fastconv.choice`.
ACCURATE = 2.5
# Points of a block: larger ones leave the caches, and are `scipy.fft`'s.
MOST_POINTS = {1: 2**15, 2: 2**20, 3: 2**21}


@dataclass(frozen=True)
class Blocks:
    """How the outputs along the filtered axes, and the one carried along, are cut, and what that is estimated to cost."""

    axes: Shape
    lengths: Shape
    steps: Shape
    counts: Shape
    lines: int  # entries side by side in each part of a unit
    units: int
    points: int  # of a transform
    seconds: float

    def __str__(self) -> str:
        size, steps = ("x".join(map(str, numbers)) for numbers in (self.lengths, self.steps))
        return f"{prod(self.counts)} blocks of {size} inputs for {steps} outputs each"


@lru_cache(maxsize=512)
def best_blocks(problem: ConvProblem, threads: int) -> Blocks | None:
    """The cheapest blocks; None if the kernel is too long for any."""
    p, filtered = problem, filtered_axes(problem)
    carried = [p.ndim - 1] if _carries(p) else []
    axes = (*filtered, *carried)
    itemsize = np.dtype(part_of(p)).itemsize
    lines, parts = (LINES if len(axes) == 1 else 1), (1 if p.acc in PARTS else 2)
    planes = prod(n for axis, n in enumerate(p.out_shape) if axis not in axes)
    longest = _longest(p, len(axes), len(filtered))
    lengths = [
        lengths_along(p.out_shape[axis], p.kernel_shape[axis], CANDIDATES[len(axes)], longest) for axis in filtered
    ]
    lengths += [_widths(p.out_shape[axis]) for axis in carried]
    found = []
    for combination in product(*lengths):
        if prod(combination) > MOST_POINTS[len(axes)] or not _is_accurate(p, prod(combination[: len(filtered)])):
            continue
        steps = tuple(n - p.kernel_shape[axis] + 1 for axis, n in zip(axes, combination, strict=True))
        counts = tuple(ceil(p.out_shape[axis] / step) for axis, step in zip(axes, steps, strict=True))
        units = ceil(planes * prod(counts) / (lines * parts))
        points = prod(combination[: len(filtered)])
        work = lines * prod(combination)
        seconds = costs.overlap_seconds(points, lines, work, units, itemsize, p.nbytes, threads)
        seconds += call_seconds(p, min(threads, units))
        found.append(Blocks(axes, combination, steps, counts, lines, units, points, seconds))
    return min(found, key=lambda blocks: blocks.seconds, default=None)


def call_seconds(problem: ConvProblem, threads: int) -> float:
    """What of the estimates is not the transforms' time."""
    p = problem
    result, kernel = (
        prod(shape) * np.dtype(dtype).itemsize
        for shape, dtype in ((p.out_shape, p.out_dtype), (p.kernel_shape, p.kernel_dtype))
    )
    return costs.overlap_call_seconds(result, kernel, threads)


def _is_accurate(problem: ConvProblem, points: int) -> bool:
    """Whether errors are typically comparable to the direct sum's (`fastconv.choice`), for weights of similar magnitude."""
    rounded = problem.whole or problem.out_dtype[0] not in "fc"
    return rounded or 2 * points * log2(2 * points) < ACCURATE * prod(problem.kernel_shape) ** 2


def _longest(problem: ConvProblem, axes: int, filtered: int) -> int:
    """Longer blocks along one axis would be too short along others: twice the edge of the largest that is allowed."""
    points = [2**n for n in range(MOST_POINTS[axes].bit_length()) if _is_accurate(problem, 2**n)]
    return round(2 * max(points, default=1) ** (1 / filtered))


def _widths(size: int) -> list[int]:
    """Lengths of blocks along an axis that is carried along."""
    return [n for n in WIDTHS if n < size] or [-(-size // LINES) * LINES]


@lru_cache(maxsize=4096)
def lengths_along(outputs: int, taps: int, most: int, longest: int) -> list[int]:
    """Lengths of blocks along an axis, those first that transform the fewest points."""
    all_inputs = outputs + taps - 1
    lengths = [n for n in _smooth() if n >= taps]
    lengths = [n for i, n in enumerate(lengths) if i == 0 or (lengths[i - 1] < all_inputs and n <= longest)]
    return sorted(lengths, key=lambda n: n * (ceil(outputs / (n - taps + 1)) + 0.5))[:most]


@lru_cache(maxsize=1)
def _smooth() -> list[int]:
    """Multiples of `LINES` without factors but 2, 3 and 5, in ascending order."""
    most = max(MOST_POINTS.values())
    numbers = (LINES * 2**a * 3**b * 5**c for a in range(18) for b in range(3) for c in range(3))
    return sorted(n for n in numbers if n <= most)


def filtered_axes(problem: ConvProblem) -> list[int]:
    """Axes along which the kernel has several taps."""
    return [axis for axis, taps in enumerate(problem.kernel_shape) if taps > 1]


def _carries(problem: ConvProblem) -> bool:
    """Whether the last axis, not filtered, is a block's last."""
    last = problem.ndim - 1
    return len(filtered_axes(problem)) < 3 and problem.kernel_shape[last] == 1 and problem.in_shape[last] >= LINES


def part_of(problem: ConvProblem) -> str:
    """What is transformed in: sums of whole numbers are, in double precision."""
    part = PARTS.get(problem.acc, problem.acc)
    return part if problem.out_dtype[0] in "fc" and not problem.whole else "float64"
