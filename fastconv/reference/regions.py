"""Pooling over windows that vary, gradients of averages, unpooling and folding, output by output."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from fastconv.problem import FoldProblem, PoolGradientProblem, PoolProblem, RegionPoolProblem, UnpoolProblem

__all__ = ["fold", "pool_gradient", "region_pool", "unpool"]

Slices = tuple[slice, ...]


def region_pool(
    problem: RegionPoolProblem, x: np.ndarray, indices: np.ndarray | None, out: np.ndarray, starts: np.ndarray | None
) -> None:
    """Compute a `RegionPoolProblem` into `out`, and the positions of maxima into `indices` unless it is None."""
    p = problem
    positions = np.arange(int(np.prod(p.in_shape))).reshape(p.in_shape)
    for plane in np.ndindex(p.batch, p.channels):
        for y, window in _windows(p, None if starts is None else starts[plane]):
            values = x[plane][window].reshape(-1)
            if p.kind == "avg":
                out[(*plane, *y)] = _mean(values)
                continue
            best = _first_maximum(values)
            out[(*plane, *y)] = values[best]
            if indices is not None:
                indices[(*plane, *y)] = positions[window].reshape(-1)[best]


def _windows(p: RegionPoolProblem, starts: np.ndarray | None) -> Iterator[tuple[tuple[int, ...], Slices]]:
    """Each output position of a plane with its window."""
    windows = p.windows
    if starts is not None:
        firsts = np.split(starts, np.cumsum(p.out_shape)[:-1])
        windows = tuple(np.stack([f, np.full_like(f, k)], 1) for f, k in zip(firsts, p.kernel_shape, strict=True))
    for y in np.ndindex(p.out_shape):
        axes = [axis[i] for axis, i in zip(windows, y, strict=True)]
        yield y, tuple(slice(int(first), int(first + taps)) for first, taps in axes)


def _first_maximum(values: np.ndarray) -> int:
    """Where the maximum is: the first of equals, but the last NaN, as torch has it."""
    nan = np.flatnonzero(values != values)
    return int(nan[-1]) if nan.size else int(values.argmax())


def _mean(values: np.ndarray) -> Any:
    if values.dtype.kind in "iu":
        acc = np.uint64 if values.dtype.kind == "u" else np.int64
        total, n = int(values.sum(dtype=acc)), values.size
        return np.array(abs(total) // n * (-1 if total < 0 else 1)).astype(values.dtype)
    with np.errstate(all="ignore"):
        return (values.astype(np.float64).sum(dtype=np.float64) / values.size).astype(values.dtype)


def pool_gradient(
    problem: PoolGradientProblem, x: np.ndarray, given: np.ndarray | None, out: np.ndarray, pooled: np.ndarray | None
) -> None:
    """Compute a `PoolGradientProblem`: every output's gradient, divided, goes to its window."""
    p = problem.pool
    power = p.power if isinstance(p, PoolProblem) else 0.0
    if p.kind == "lp":
        assert pooled is not None and isinstance(p, PoolProblem)
        with np.errstate(all="ignore"):
            base = pooled.astype(np.float64)
            x = np.where(base == 0, 0, x.astype(np.float64) * prod(p.kernel_shape) * base ** (1 - power))
    total = np.zeros(out.shape, np.float64)
    counted = [axis.tolist() for axis in p.counted]
    with np.errstate(all="ignore"):
        for y in np.ndindex(p.out_shape):
            axes = [axis[i] for axis, i in zip(p.windows, y, strict=True)]
            window = tuple(slice(int(first), int(first + taps)) for first, taps in axes if taps)
            if len(window) == len(axes):
                divisor = p.divisor or np.prod([count[i] for count, i in zip(counted, y, strict=True)])
                share = x[(slice(None), slice(None), *y)].astype(np.float64) / divisor
                total[(slice(None), slice(None), *window)] += share.reshape(*share.shape, *(1,) * len(window))
        if p.kind == "lp":
            assert given is not None
            total *= given.astype(np.float64) ** (power - 1)
        out[...] = total.astype(out.dtype)


def unpool(
    problem: UnpoolProblem,
    x: np.ndarray,
    indices: np.ndarray | None,
    out: np.ndarray,
    outside: np.ndarray | None = None,
) -> None:
    """Compute an `UnpoolProblem`, element by element; outside[0] becomes 1 if there is a position outside a plane."""
    p = problem
    assert indices is not None
    if p.kind != "take":
        out[...] = 0
    for plane in np.ndindex(p.batch, p.channels):
        big = np.array(out[plane] if p.kind != "take" else x[plane]).reshape(-1)
        total = big.astype(np.float32) if p.dtype in ("float16", "bfloat16") else big
        for y in np.ndindex(p.shape):
            at = int(indices[(*plane, *y)])
            if not 0 <= at < big.size:
                if outside is not None and (at != -1 or p.kind != "add"):
                    outside[0] = 1
                at = -1
            if p.kind == "take":
                out[(*plane, *y)] = big[at] if at >= 0 else 0
            elif at >= 0 and p.kind == "add":
                total[at] += x[(*plane, *y)]
            elif at >= 0:
                total[at] = x[(*plane, *y)]
        if p.kind != "take":
            out[plane] = total.reshape(p.plane_shape)


def fold(problem: FoldProblem, x: np.ndarray, out: np.ndarray) -> None:
    """Compute a `FoldProblem`, tap by tap."""
    p = problem
    half = p.dtype in ("float16", "bfloat16")
    images = x if p.kind == "unfold" else np.zeros(out.shape, np.float32 if half else out.dtype)
    out[...] = 0
    for k in np.ndindex(p.kernel_shape):
        places = [
            np.arange(n) * stride + tap * dilation - pad
            for n, stride, tap, dilation, pad in zip(p.out_shape, p.stride, k, p.dilation, p.pad, strict=True)
        ]
        inside = [np.flatnonzero((at >= 0) & (at < size)) for at, size in zip(places, p.in_shape, strict=True)]
        pixels = np.ix_(*(at[i] for at, i in zip(places, inside, strict=True)))
        columns = (slice(None), slice(None), *k, *np.ix_(*inside))
        if p.kind == "unfold":
            out[columns] = images[(slice(None), slice(None), *pixels)]
        else:
            images[(slice(None), slice(None), *pixels)] += x[columns]
    if p.kind == "fold":
        out[...] = images
