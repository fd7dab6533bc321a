"""Convolution and what is made of convolutions, tap by tap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fastconv.boundary import index_map
from fastconv.problem import ConvProblem, LinesProblem, NormalizedProblem, SeparableProblem
from fastconv.reference.activation import activate
from fastconv.reference.casts import c_cast, saturated
from fastconv.reference.places import Tap, gather, grid, outside, places_under

__all__ = ["conv", "lines", "normalized", "separable"]


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
        rules = zip(places_under(p, k), p.in_shape, p.boundary, strict=True)
        places = grid([index_map(positions, size, rule) for positions, size, rule in rules])
        return np.where(outside(places), beyond, gather(x, places).astype(p.acc))[:, channel_of + channel]

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
        if p.activation:
            total = activate(total, p.activation, p.slope)
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


def separable(problem: SeparableProblem, x: np.ndarray, w: np.ndarray | None, out: np.ndarray, fill: Any) -> None:
    """What a `SeparableProblem` stores of the sums with the outer product of its lines."""
    p, before = problem.conv, out.copy()
    if problem.continued and problem.combined != "cross":
        _one_after_another(p, x, np.asarray(w), out, fill)
    elif problem.combined != "cross":
        conv(p, x, problem.kernel(w)[None, None], out, None, fill)
    with np.errstate(all="ignore"):
        if problem.combined in ("square", "root"):
            out *= out
        if problem.combined in ("add", "root"):
            out += before
        if problem.combined == "root":
            np.sqrt(out, out)
        if problem.combined == "cross":
            out[...] = sum(_along_axes(p, x, np.asarray(w), out, fill))


def _one_after_another(p: ConvProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, fill: Any) -> None:
    """Sums along the axes of several taps, each continued with the same fill value."""
    for axis, taps in enumerate(p.kernel_shape):
        if taps > 1:
            alone = tuple(taps if a == axis else 1 for a in range(p.ndim))
            pad, shape = [n if a == axis else 0 for a, n in enumerate(p.pad)], list(x.shape[2:])
            shape[axis] = p.out_shape[axis]
            line = replace(
                p, in_shape=x.shape[2:], out_shape=tuple(shape), kernel_shape=alone, pad=tuple(pad), in_dtype=x.dtype.name,
                out_dtype=p.acc,
            )  # fmt: skip
            sums = np.empty((*x.shape[:2], *shape), p.acc)
            conv(line, x, w[:taps].reshape(1, 1, *alone), sums, None, fill)
            x, w = sums, w[taps:]
    out[...] = x


def _along_axes(p: ConvProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, fill: Any) -> Iterator[np.ndarray]:
    """The sums along each axis of several taps."""
    for axis, taps in enumerate(p.kernel_shape):
        if taps > 1:
            shape = [taps if a == axis else 1 for a in range(p.ndim)]
            pad = [n if a == axis else 0 for a, n in enumerate(p.pad)]
            sums = np.empty_like(out)
            line = replace(p, kernel_shape=tuple(shape), pad=tuple(pad))
            conv(line, x, w[:taps].reshape(1, 1, *shape), sums, None, fill)
            w = w[taps:]
            yield sums
