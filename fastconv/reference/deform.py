"""Convolutions whose taps are moved, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv.problem import DeformGradientProblem, DeformProblem
from fastconv.reference.casts import c_cast

__all__ = ["deform", "deform_gradient"]


def deform(problem: DeformProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any) -> None:
    """Compute a `DeformProblem` into `out`."""
    p, (offset, mask) = problem.conv, fill
    x, w = x.astype(p.acc), w.astype(p.acc)
    total = np.zeros((p.batch, p.filters, *p.out_shape), p.acc)
    if bias is not None:
        total += np.asarray(bias).astype(p.acc).reshape(-1, 1, 1)
    with np.errstate(all="ignore"):
        for c, tap, k, y, z in _places(problem, offset):
            value = _between(x[:, c], y, z)
            if mask is not None:
                value = value * mask[:, tap]
            filters, channel = _weights_of(problem, c)
            total[:, filters] += w[(filters, channel, *k)].reshape(-1, 1, 1) * value[:, None]
        out[...] = c_cast(total, out.dtype)


def deform_gradient(
    problem: DeformGradientProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, gradient: Any, fill: Any
) -> None:
    """Compute a `DeformGradientProblem` into `out` and what is to be written of `fill`."""
    deformed, (offset, mask, places, weights) = problem.deform, fill
    out[...], weights[...], places[...] = 0, 0, 0
    images = np.arange(len(x)).reshape(-1, 1, 1)
    of_offset, of_mask = places[:, : offset.shape[1]], places[:, offset.shape[1] :]
    with np.errstate(all="ignore"):
        for c, tap, k, y, z in _places(deformed, offset):
            filters, channel = _weights_of(deformed, c)
            above = (w[(filters, channel, *k)].reshape(-1, 1, 1) * gradient[:, filters]).sum(1)
            scale = np.ones_like(above) if mask is None else mask[:, tap]
            value = _between(x[:, c], y, z)
            weights[(filters, channel, *k)] += (gradient[:, filters] * (scale * value)[:, None]).sum((0, 2, 3))
            if mask is not None:
                of_mask[:, tap] += above * value
            for axis, slope in enumerate(_slopes(x[:, c], y, z)):
                of_offset[:, 2 * tap + axis] += above * scale * slope
            for a, b, part, there in _corners(x.shape[2:], y, z):
                np.add.at(out[:, c], (images, a, b), np.where(there, above * scale * part, 0))


def _places(problem: DeformProblem, offset: np.ndarray) -> Iterator[tuple[Any, ...]]:
    """Channel, tap among those of the offsets, tap, and the places that it reads for all outputs."""
    p = problem.conv
    rows, cols = p.kernel_shape
    grid = np.meshgrid(
        *(np.arange(n) * s - pad for n, s, pad in zip(p.out_shape, p.stride, p.pad, strict=True)), indexing="ij"
    )
    for i, j, c in np.ndindex(rows, cols, p.channels):
        tap = c // (p.channels // problem.offset_groups) * rows * cols + i * cols + j
        y = (grid[0] + i * p.dilation[0]).astype(p.acc) + offset[:, 2 * tap]
        z = (grid[1] + j * p.dilation[1]).astype(p.acc) + offset[:, 2 * tap + 1]
        yield c, tap, (i, j), y, z


def _weights_of(problem: DeformProblem, c: int) -> tuple[slice, int]:
    """The filters of a channel's group, and its place among the group's channels."""
    p = problem.conv
    group, channel = divmod(c, p.channels // p.groups)
    filters = p.filters // p.groups
    return slice(group * filters, (group + 1) * filters), channel


def _slopes(plane: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the interpolation along both axes, from above where there are two."""
    height, width = plane.shape[1:]
    inside = (y >= -1) & (y < height) & (z >= -1) & (z < width)
    low_y, low_z = (np.where(inside, np.floor(v), 0).astype(np.int64) for v in (y, z))
    part_y, part_z = y - low_y, z - low_z
    bordered, images = np.pad(plane, ((0, 0), (1, 1), (1, 1))), np.arange(len(plane)).reshape(-1, 1, 1)
    at = [[bordered[images, low_y + 1 + a, low_z + 1 + b] for b in (0, 1)] for a in (0, 1)]
    along_y = (1 - part_z) * (at[1][0] - at[0][0]) + part_z * (at[1][1] - at[0][1])
    along_z = (1 - part_y) * (at[0][1] - at[0][0]) + part_y * (at[1][1] - at[1][0])
    nothing = np.where(np.isnan(y) | np.isnan(z), np.nan, 0).astype(plane.dtype)
    return np.where(inside, along_y, nothing), np.where(inside, along_z, nothing)


def _corners(sizes: tuple[int, ...], y: np.ndarray, z: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The four elements around places: row, column, weight, and whether they are inside."""
    height, width = sizes
    inside = (y > -1) & (y < height) & (z > -1) & (z < width)
    low_y, low_z = (np.where(inside, np.floor(v), 0).astype(np.int64) for v in (y, z))
    for a, weight_y in ((low_y, 1 - (y - low_y)), (low_y + 1, y - low_y)):
        for b, weight_z in ((low_z, 1 - (z - low_z)), (low_z + 1, z - low_z)):
            there = inside & (a >= 0) & (a < height) & (b >= 0) & (b < width)
            yield np.clip(a, 0, height - 1), np.clip(b, 0, width - 1), weight_y * weight_z, there


def _between(plane: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Bilinear interpolation; 0 from one element beyond the borders on."""
    images, total = np.arange(len(plane)).reshape(-1, 1, 1), np.zeros(y.shape, plane.dtype)
    for a, b, part, there in _corners(plane.shape[1:], y, z):
        total = total + np.where(there, part * plane[images, a, b], 0)
    return np.where(np.isnan(y) | np.isnan(z), np.nan, total).astype(plane.dtype)
