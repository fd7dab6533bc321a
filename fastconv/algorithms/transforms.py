"""Problems computed by the transforms of `fastconv.algorithms.fourier`, integers in parts if need be.

A block that holds NaN or infinity is NaN throughout: one output of each tells, and the sum is done again directly.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from fastconv.algorithms.executor import refuse_types
from fastconv.algorithms.filter import Filter
from fastconv.algorithms.fourier import TASK_BYTES, Blocks, best_blocks, convolve
from fastconv.problem import ConvProblem
from fastconv.replay import by_value

__all__ = ["Transforms", "blocks_for", "in_parts", "is_ready", "refuse"]


def refuse(problem: Any) -> str | None:
    """Why these transforms cannot do a problem, or None."""
    why = refuse_types(problem)
    if why is not None:
        return why
    if not problem.transforms:
        return "is for large kernels and finite numbers"
    if problem.saturate:
        return "does not clamp"
    if (
        problem.batch * problem.channels * problem.filters > 1
        or problem.bias
        or max(problem.stride + problem.dilation) > 1
    ):
        return "is for one image, one kernel, and steps of 1"
    return None if max(problem.kernel_shape) > 1 else "is for kernels of more than one tap"


def is_ready(problem: ConvProblem, engine: Any) -> bool:
    """Nothing is compiled."""
    return True


def blocks_for(problem: ConvProblem, zeros: bool, threads: int) -> Blocks | None:
    """The cheapest blocks for a problem, whose image is continued by `zeros` or by its boundary rules."""
    p = problem
    zeros = zeros and all(rule == "fill" for rule, taps in zip(p.boundary, p.kernel_shape, strict=True) if taps > 1)
    axes = tuple(
        axis
        for axis, (n, k) in enumerate(zip(p.in_shape, p.kernel_shape, strict=True))
        if k > 1 and (n > 1 or not zeros)
    )
    low = tuple(k - 1 - pad for k, pad in zip(p.kernel_shape, p.pad, strict=True))
    if not axes:
        return None
    return best_blocks(
        p.in_shape, p.kernel_shape, low, p.out_shape, axes, _sums(p), threads, () if zeros else p.boundary
    )


def _sums(problem: ConvProblem) -> np.dtype:
    """What is transformed in: sums of integers are, in double precision."""
    return np.dtype(problem.acc if problem.out_dtype[0] in "fc" and not problem.whole else np.float64)


class Transforms:
    """Executes a `ConvProblem` by the transforms of `scipy.fft`; what is not finite by the direct filter."""

    operation = "filter"

    def __init__(self, problem: ConvProblem, engine: Any):
        self.problem, self.engine = problem, engine

    def __call__(
        self, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None, fill: Any, threads: int
    ) -> None:
        by_value()
        p = self.problem
        kernel, result = np.flip(w[0, 0]), out[0, 0]
        zeros = not np.any(fill)
        blocks = blocks_for(p, zeros, threads)
        assert blocks is not None, "refused"
        if p.whole:
            sums = np.empty(result.shape)
            convolve(x[0, 0], kernel, sums, blocks, threads, _sums(p), fill)
            result[...] = np.rint(sums) + 0.0  # no -0
        elif p.parts == (1, 1):
            convolve(x[0, 0], kernel, result, blocks, threads, _sums(p), fill)
        else:
            in_parts(x[0, 0], kernel, result, blocks, threads, p.parts, fill)
        if result.dtype.kind in "fc" and not _all_finite(result, blocks):
            Filter(replace(p, transforms="", rank=0, whole=False), self.engine)(x, w, out, bias, fill, threads)

    def workspace(self, threads: int) -> int:
        """Bytes of the transforms under way: input, spectrum and result of each task, and the kernel's spectrum."""
        blocks = blocks_for(self.problem, True, threads)
        assert blocks is not None, "refused"
        block = prod(cut.length for cut in blocks.cuts) * _sums(self.problem).itemsize
        return block + 3 * (block if blocks.whole else max(block, TASK_BYTES) * threads)

    def describe(self, threads: int) -> str:
        """How the output is cut, and about how long it takes, in words."""
        blocks = blocks_for(self.problem, True, threads)
        assert blocks is not None, "refused"
        return f"about {blocks.seconds * 1e3:.3g} ms, {blocks}"


def _all_finite(out: np.ndarray, blocks: Blocks) -> bool:
    """Whether the first output of every block is finite: one that holds NaN or infinity is NaN throughout."""
    for axis, cut in zip(blocks.axes, blocks.cuts, strict=True):
        out = out[(*[slice(None)] * axis, slice(None, None, cut.step))]
    return bool(np.isfinite(out).all())


def in_parts(
    in1: np.ndarray,
    in2: np.ndarray,
    out: np.ndarray,
    blocks: Blocks,
    threads: int,
    parts: tuple[int, ...],
    fill: Any = 0,
) -> None:
    """Convolve integers as sums of as many parts, of fewer bits each."""
    out[...] = 0
    term = np.empty_like(out)
    for (shift1, part1), (shift2, part2) in product(_parts(in1, parts[0], fill), _parts(in2, parts[1])):
        if shift1 + shift2 < 8 * out.dtype.itemsize:  # the others wrap to nothing
            convolve(
                part1[:-1].reshape(in1.shape), part2[:-1].reshape(in2.shape), term, blocks, threads, fill=part1[-1]
            )
            out += term << out.dtype.type(shift1 + shift2)


def _parts(array: np.ndarray, parts: int, fill: Any = 0) -> list[tuple[int, np.ndarray]]:
    """The elements, and then `fill`, as a sum of numbers of about equally many bits, each shifted to its place."""
    flat = np.append(array, np.asarray(fill).astype(array.dtype))
    if parts == 1:
        return [(0, flat)]
    bits = -(-max(int(flat.max()), -int(flat.min()), 1).bit_length() // parts)
    pieces = []
    for i in range(parts):
        rest = flat >> flat.dtype.type(i * bits)  # rounds down, so all pieces but the last are positive
        pieces.append((i * bits, rest & flat.dtype.type(2**bits - 1) if i < parts - 1 else rest))
    return pieces
