"""The naive, complete definition of every operation, in NumPy alone.

It does what the formulas of `fastconv.problem` say, tap by tap, for any number of
spatial axes and every option.  It is checked against SciPy and PyTorch, and everything
else is checked against it.  Nothing here is fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fastconv.boundary import index_map
from fastconv.problem import ConvProblem, LinesProblem, NormalizedProblem, PoolProblem, WindowProblem

__all__ = ["c_cast", "conv", "lines", "normalized", "pool", "saturated", "window"]

Tap = tuple[int, ...]  # channel of the group, then one kernel index for each axis


def conv(
    problem: ConvProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None = None, fill: Any = 0
) -> None:
    """Compute a `ConvProblem` into `out`."""
    p = problem
    per_filter = (p.filters, *(1,) * p.ndim)
    channel_of = np.arange(p.filters) // (p.filters // p.groups) * (p.channels // p.groups)
    beyond = np.asarray(fill).astype(p.acc)

    def value(tap: Tap) -> np.ndarray:
        channel, *k = tap
        rules = zip(_places(p, k), p.in_shape, p.boundary, strict=True)
        places = _grid([index_map(positions, size, rule) for positions, size, rule in rules])
        return np.where(_outside(places), beyond, _gather(x, places).astype(p.acc))[:, channel_of + channel]

    def weight(tap: Tap) -> np.ndarray:
        at: tuple[Any, ...] = (slice(None), *tap)
        return w[at].astype(p.acc).reshape(per_filter)

    taps = [(c, *k) for c in range(p.channels // p.groups) for k in np.ndindex(p.kernel_shape)]
    with np.errstate(all="ignore"):
        total = np.zeros((p.batch, p.filters, *p.out_shape), p.acc)
        if bias is not None:
            total += np.asarray(bias).astype(p.acc).reshape(per_filter)
        for values, weights in _terms(p.exact, taps, value, weight):
            total = total + values * weights  # for bool: or, and
        out[...] = saturated(total, out.dtype) if p.saturate else c_cast(total, out.dtype)


def lines(problem: LinesProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, fill: Any = 0) -> None:
    """Compute a `LinesProblem` into `out`."""
    for step, weights in zip(problem.steps, problem.split(w), strict=True):
        stored = np.empty(out.shape, out.dtype)
        conv(step, x, weights.reshape(1, 1, *step.kernel_shape), stored, fill=fill)
        x = stored
    out[...] = x


def normalized(
    problem: NormalizedProblem,
    x: np.ndarray,
    w: np.ndarray,
    out: np.ndarray,
    mask: np.ndarray | None = None,
    fill: Any = 0,
) -> None:
    """Compute a `NormalizedProblem` into `out`."""
    p = replace(problem.conv, out_dtype=problem.conv.acc, saturate=False)
    beyond = np.asarray(fill).astype(p.acc)
    missing = np.isnan(x) | (np.zeros(x.shape, bool) if mask is None else mask != 0)
    total, valid, complete = (np.empty(out.shape, p.acc) for _ in range(3))
    conv(p, np.where(missing, 0, x), w, total, fill=np.nan_to_num(beyond, posinf=np.inf, neginf=-np.inf))
    if problem.renormalize:
        conv(p, np.where(missing, 0, 1).astype(p.acc), w, valid, fill=0 if np.isnan(beyond) else 1)
        conv(p, np.ones(x.shape, p.acc), w, complete, fill=1)
        with np.errstate(all="ignore"):
            total = np.where(valid == 0, np.nan, total * (complete / valid)).astype(p.acc)
    out[...] = saturated(total, out.dtype) if problem.conv.saturate else c_cast(total, out.dtype)


def _terms(
    exact: str, taps: list[Tap], value: Callable[[Tap], np.ndarray], weight: Callable[[Tap], np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Values and weights in the order in which their products are added."""
    if exact == "line":
        taps = taps[-1:] + taps[:-1]
    if exact not in ("symmetric", "antisymmetric"):
        yield from ((value(tap), weight(tap)) for tap in taps)
        return
    centre = len(taps) // 2
    yield value(taps[centre]), weight(taps[centre])
    for tap, mirrored in zip(taps[:centre], taps[:centre:-1], strict=True):
        pair = value(tap) + value(mirrored) if exact == "symmetric" else value(tap) - value(mirrored)
        yield pair, weight(tap)


def pool(problem: PoolProblem, x: np.ndarray, indices: np.ndarray | None, out: np.ndarray) -> None:
    """Compute a `PoolProblem` into `out`, and the positions of maxima into `indices` unless it is None."""
    if problem.kind == "max":
        best, where = _max(problem, x)
        out[...] = best
        if indices is not None:
            indices[...] = where
    else:
        out[...] = _average(problem, x)


def window(problem: WindowProblem, x: np.ndarray, structure: np.ndarray | None, out: np.ndarray, fill: Any = 0) -> None:
    """Compute a `WindowProblem` into `out`.

    NaN is the extreme of every window that it is in; for ranks it is larger than all numbers.
    """
    p = problem
    if len(p.passes) > 1:
        for passed in ((axis,) for axis in p.passes):
            lines = tuple(n if axis in passed else 1 for axis, n in enumerate(p.window))
            pad = tuple(n if axis in passed else 0 for axis, n in enumerate(p.pad))
            line = replace(p, window=lines, pad=pad, passes=passed)
            window(line, x, structure, stored := np.empty(p.shape, p.out_dtype), fill)
            x = stored
        out[...] = x
        return
    inside = np.frombuffer(p.footprint or bytes([1]) * p.taps, bool).reshape(p.window)
    beyond = np.asarray(fill).astype(p.acc)

    def value(tap: Tap) -> np.ndarray:
        axes = zip(tap, p.pad, p.shape, p.boundary, strict=True)
        places = _grid([index_map(np.arange(n) + k - before, n, rule) for k, before, n, rule in axes])
        values = np.where(_outside(places), beyond, x[tuple(places)].astype(p.acc))
        return values if structure is None else values + structure[tap].astype(p.acc)

    taps = [tap for tap in np.ndindex(p.window) if inside[tap]]
    with np.errstate(all="ignore"):
        if p.kind == "rank":
            result = np.sort([value(tap) for tap in taps], axis=0)[p.rank]
        else:
            step = {"max": np.maximum, "min": np.minimum, "mean": np.add}[p.kind]
            result = value(taps[0])
            for tap in taps[1:]:
                result = step(result, value(tap))
            if p.kind == "mean":
                result = result / (len(taps) if p.acc == "int64" else np.asarray(len(taps), p.acc))
        out[...] = c_cast(result, out.dtype)


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
    """The mean of the window; integers are summed in 64 bits and divided truncating toward zero."""
    acc = {"f": p.dtype, "u": "uint64"}.get(np.dtype(p.dtype).kind, "int64")
    total = np.zeros((p.batch, p.channels, *p.out_shape), acc)
    counted = np.zeros(p.out_shape, np.int64)
    with np.errstate(all="ignore"):
        for k, (values, inside, _) in zip(np.ndindex(p.kernel_shape), _windows(p, x), strict=True):
            total = np.where(inside, total + values.astype(acc), total)
            counted += _within_padding(p, k) if p.count_include_pad else inside
        divisor = np.maximum(p.divisor if p.divisor > 0 else counted, 1).astype(acc)
        if total.dtype.kind == "f":
            return total / divisor
        quotient = total // divisor
        if acc == "int64":
            quotient = quotient + ((quotient < 0) & (quotient * divisor != total))
        return quotient.astype(p.dtype)


def _windows(p: PoolProblem, x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each tap: its values, whether they lie inside the input, and their flat positions in it."""
    for k in np.ndindex(p.kernel_shape):
        sizes = zip(_places(p, k), p.in_shape, strict=True)
        places = _grid([index_map(positions, size, "fill") for positions, size in sizes])
        flat = np.zeros((1,) * len(places), np.int64)
        for size, place in zip(p.in_shape, places, strict=True):
            flat = flat * size + place
        yield _gather(x, places), ~_outside(places), flat


def _within_padding(p: PoolProblem, k: Tap) -> np.ndarray:
    ends = zip(_places(p, k), p.in_shape, p.pad, strict=True)
    return ~_outside(_grid([np.where(positions < size + pad, 0, -1) for positions, size, pad in ends]))


def _lowest(dtype: str) -> Any:
    kind = np.dtype(dtype).kind
    return {"f": -np.inf, "b": False}[kind] if kind in "fb" else np.iinfo(dtype).min


# -- what both have in common ----------------------------------------------------------------


def _places(p: ConvProblem | PoolProblem, k: Any) -> list[np.ndarray]:
    """For each axis, the input position under kernel index `k` of each output position."""
    return [
        np.arange(n) * stride + tap * dilation - pad
        for n, stride, tap, dilation, pad in zip(p.out_shape, p.stride, k, p.dilation, p.pad, strict=True)
    ]


def _grid(places: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    return tuple(np.meshgrid(*places, indexing="ij", sparse=True))


def _gather(x: np.ndarray, places: tuple[np.ndarray, ...]) -> np.ndarray:
    """x[n, c, places...] as an array (N, C, *O); -1 reads anything."""
    index: tuple[Any, ...] = (slice(None), slice(None), *places)
    return x[index]


def _outside(places: tuple[np.ndarray, ...]) -> np.ndarray:
    """Where any of the indices is -1."""
    result = np.zeros((1,) * len(places), bool)
    for place in places:
        result = result | (place < 0)
    return result


# -- conversion as C does it --------------------------------------------------------------------


def c_cast(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Convert as SciPy's compiled code does on x86-64.

    Integers wrap.  A floating-point number becomes an integer by truncation toward zero and, in
    8 and 16 bits, by way of int32; in uint32 by way of int64.  What the first integer cannot hold
    becomes its smallest value.  A negative number becomes uint64 by negating its magnitude, as in
    SciPy's n-dimensional filters; `correlate1d` leaves to the compiler what is below -2**63.
    """
    dtype = np.dtype(dtype)
    if values.dtype.kind != "f" or dtype.kind not in "biu":
        return values.astype(dtype)
    if dtype == np.uint64:
        size = np.abs(values)
        lower = _truncated(size, "int64").astype(dtype)
        upper = _truncated(size - 2.0**63, "int64").astype(dtype) ^ np.uint64(1 << 63)
        whole = np.where(size >= 2.0**63, upper, lower)
        return np.where(values > -1, whole, -whole)
    through = "int64" if dtype in (np.uint32, np.int64) else "int32"
    integers = _truncated(values, through)
    return integers.astype(np.uint8) != 0 if dtype == np.bool_ else integers.astype(dtype)


def saturated(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Convert to the nearest number of a bool or integer dtype: halves to even, NaN to 0.

    Unsigned integers hold sums that are signed, modulo their range.
    """
    dtype = np.dtype(dtype)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if values.dtype.kind == "u":
        sums = values.view(values.dtype.name[1:])
        limits = np.iinfo(sums.dtype)
        return np.clip(sums, max(low, limits.min), min(high, limits.max)).astype(dtype)
    whole = np.rint(values)
    inside = (whole >= low) & (whole < high + 1)  # high itself may lie between two floating-point numbers
    result = np.where(inside, whole, 0).astype(dtype)
    return np.where(inside | np.isnan(whole), result, np.where(whole < 0, low, high).astype(dtype))


def _truncated(values: np.ndarray, dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    fits = (np.trunc(values) >= limits.min) & (np.trunc(values) < -float(limits.min))
    return np.where(fits, np.where(fits, values, 0).astype(dtype), limits.min)
