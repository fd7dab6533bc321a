"""Convolutions whose taps are moved."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.problem import DeformProblem
from fastconv.reference.casts import c_cast

__all__ = ["deform"]


def deform(problem: DeformProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any) -> None:
    """Compute a `DeformProblem` into `out`."""
    p, (offset, mask) = problem.conv, fill
    x, w = x.astype(p.acc), w.astype(p.acc)
    rows, cols = p.kernel_shape
    total = np.zeros((p.batch, p.filters, *p.out_shape), p.acc)
    if bias is not None:
        total += np.asarray(bias).astype(p.acc).reshape(-1, 1, 1)
    grid = np.meshgrid(
        *(np.arange(n) * s - pad for n, s, pad in zip(p.out_shape, p.stride, p.pad, strict=True)), indexing="ij"
    )
    in_offset_group, in_group = p.channels // problem.offset_groups, p.channels // p.groups
    with np.errstate(all="ignore"):
        for i, j, c in np.ndindex(rows, cols, p.channels):
            tap = c // in_offset_group * rows * cols + i * cols + j
            y = (grid[0] + i * p.dilation[0]).astype(p.acc) + offset[:, 2 * tap]
            z = (grid[1] + j * p.dilation[1]).astype(p.acc) + offset[:, 2 * tap + 1]
            value = _between(x[:, c], y, z)
            if mask is not None:
                value = value * mask[:, tap]
            filters = slice(c // in_group * (p.filters // p.groups), (c // in_group + 1) * (p.filters // p.groups))
            total[:, filters] += w[filters, c % in_group, i, j].reshape(-1, 1, 1) * value[:, None]
        out[...] = c_cast(total, out.dtype)


def _between(plane: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Bilinear interpolation; 0 from one element beyond the borders on."""
    height, width = plane.shape[1:]
    inside = (y > -1) & (y < height) & (z > -1) & (z < width)
    low_y, low_z = (np.where(inside, np.floor(v), 0).astype(np.int64) for v in (y, z))
    part_y, part_z = y - low_y, z - low_z
    images = np.arange(len(plane)).reshape(-1, 1, 1)
    total = np.zeros(y.shape, plane.dtype)
    for a, weight_y in ((low_y, 1 - part_y), (low_y + 1, part_y)):
        for b, weight_z in ((low_z, 1 - part_z), (low_z + 1, part_z)):
            there = (a >= 0) & (a < height) & (b >= 0) & (b < width)
            values = np.where(there, plane[images, np.clip(a, 0, height - 1), np.clip(b, 0, width - 1)], 0)
            total = total + weight_y * weight_z * values
    return np.where(inside, total, np.where(np.isnan(y) | np.isnan(z), np.nan, 0)).astype(plane.dtype)
