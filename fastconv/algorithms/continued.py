"""Adjoints of convolutions whose input continues beyond its borders: computed on the continued domain and folded back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastconv.boundary import index_map
from fastconv.problem import ConvProblem, TransposedProblem

__all__ = ["fold_back", "is_continued", "unfolded"]


def is_continued(p: ConvProblem) -> bool:
    """Whether windows read, beyond a border, what stands within."""
    reaches = zip(p.in_shape, p.out_shape, p.kernel_shape, p.stride, p.dilation, p.pad, p.boundary, strict=True)
    return any(
        rule != "fill" and (pad > 0 or (out - 1) * s + (k - 1) * d + 1 - pad > n)
        for n, out, k, s, d, pad, rule in reaches
    )


def unfolded(problem: TransposedProblem) -> TransposedProblem:
    """The problem on the continued domain, without bias."""
    p = problem.conv
    reaches = zip(p.in_shape, p.out_shape, p.kernel_shape, p.stride, p.dilation, p.pad, strict=True)
    shape = tuple(max((out - 1) * s + (k - 1) * d + 1, pad + n) for n, out, k, s, d, pad in reaches)
    conv = replace(p, in_shape=shape, in_dtype=p.acc, pad=(0,) * p.ndim, boundary=("fill",) * p.ndim)
    return TransposedProblem(conv)


def fold_back(p: ConvProblem, total: np.ndarray) -> np.ndarray:
    """What stands beyond the image added to where it was taken from."""
    for axis, (size, pad, rule) in enumerate(zip(p.in_shape, p.pad, p.boundary, strict=True)):
        lines = np.moveaxis(total, 2 + axis, 0)
        targets = index_map(np.arange(len(lines)) - pad, size, rule)
        for place in [*range(pad), *range(pad + size, len(lines))]:
            if targets[place] >= 0:
                lines[pad + targets[place]] += lines[place]
        total = np.moveaxis(lines[pad : pad + size], 0, 2 + axis)
    return total
