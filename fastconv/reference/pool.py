"""Pooling, window position by window position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isinf, prod
from typing import Any

import numpy as np

from fastconv.boundary import index_map
from fastconv.problem import PoolProblem
from fastconv.reference.places import gather, grid, outside, places_under

__all__ = ["pool"]

HALVES = ("float16", "bfloat16")


def pool(problem: PoolProblem, x: np.ndarray, indices: np.ndarray | None, out: np.ndarray) -> None:
    """Compute a `PoolProblem` into `out`, and the positions of maxima into `indices` unless it is None."""
    if problem.dtype in HALVES:  # compared and summed in float32
        x, problem = x.astype(np.float32), replace(problem, dtype="float32")
    if isinf(problem.power):  # the largest of absolute values, or the smallest
        sign = np.sign(problem.power)
        out[...] = sign * _max(problem, (sign * np.abs(x)).astype(problem.dtype))[0]
    elif problem.kind == "max":
        best, where = _max(problem, x)
        out[...] = best
        if indices is not None:
            indices[...] = where
    else:
        out[...] = _average(problem, x)


def _max(p: PoolProblem, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maximum and its flat position; the first of equals, but the last NaN, as torch has it."""
    best = np.full((p.batch, p.channels, *p.out_shape), _lowest(p.dtype), p.dtype)
    where = np.full(best.shape, -1, np.int64)
    for values, inside, position in _windows(p, x):
        better = inside & ((where < 0) | (values > best) | (values != values))  # NaN differs from itself
        best = np.where(better, values, best)
        where = np.where(better, position, where)
    return best, where


def _average(p: PoolProblem, x: np.ndarray) -> np.ndarray:
    """The mean of the window, or of its powers; integers are summed in 64 bits and divided truncating toward zero."""
    acc = {"f": p.dtype, "u": "uint64"}.get(np.dtype(p.dtype).kind, "int64")
    total = np.zeros((p.batch, p.channels, *p.out_shape), acc)
    with np.errstate(all="ignore"):
        if p.kind == "lp":
            x = x**p.power
        for values, inside, _ in _windows(p, x):
            total = np.where(inside, total + values.astype(acc), total)
        counted = np.ones((), np.int64)
        for count in p.counted:
            counted = np.multiply.outer(counted, count)
        divisor = np.maximum(p.divisor if p.divisor > 0 else counted, 1).astype(acc)
        if p.kind == "lp":
            return (total / divisor * np.asarray(prod(p.kernel_shape), acc)) ** np.asarray(1 / p.power, acc)
        if total.dtype.kind == "f":
            return total / divisor
        quotient = total // divisor
        if acc == "int64":
            quotient = quotient + ((quotient < 0) & (quotient * divisor != total))
        return quotient.astype(p.dtype)


def _windows(p: PoolProblem, x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each tap: its values, whether they lie inside the input, and their flat positions in it."""
    for k in np.ndindex(p.kernel_shape):
        sizes = zip(places_under(p, k), p.in_shape, strict=True)
        places = grid([index_map(positions, size, "fill") for positions, size in sizes])
        flat = np.zeros((1,) * len(places), np.int64)
        for size, place in zip(p.in_shape, places, strict=True):
            flat = flat * size + place
        yield gather(x, places), ~outside(places), flat


def _lowest(dtype: str) -> Any:
    kind = np.dtype(dtype).kind
    return {"f": -np.inf, "b": False}[kind] if kind in "fb" else np.iinfo(dtype).min
