"""The adjoint of a convolution and the gradients of its kernel, tap by tap, and of its bias."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv.boundary import index_map
from fastconv.problem import BiasGradientProblem, ConvProblem, TransposedProblem, WeightGradientProblem
from fastconv.reference.activation import activate
from fastconv.reference.casts import c_cast
from fastconv.reference.places import gather, grid, outside, places_under

__all__ = ["bias_gradient", "transposed", "weight_gradient"]


def transposed(
    problem: TransposedProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray | None = None
) -> None:
    """Compute a `TransposedProblem` into `out`."""
    p = problem.conv
    total = np.zeros((p.batch, p.channels, *p.in_shape), p.acc)
    with np.errstate(all="ignore"):
        for k, places in _taps(p):
            reached = np.ix_(*[place >= 0 for place in places])
            at: tuple[Any, ...] = np.ix_(*[place[place >= 0] for place in places])
            for f in range(p.filters):
                at_tap: tuple[Any, ...] = (f, slice(None), *k)
                weights = w[at_tap].astype(p.acc).reshape(-1, *(1,) * p.ndim)
                terms = x[:, f : f + 1].astype(p.acc) * weights
                np.add.at(total, (slice(None), _channels_of(p, f), *at), terms[(slice(None), slice(None), *reached)])
        if bias is not None:
            total += np.asarray(bias).astype(p.acc).reshape(-1, *(1,) * p.ndim)
        if problem.activation:
            total = activate(total, problem.activation, problem.slope)
        out[...] = c_cast(total, out.dtype)


def weight_gradient(
    problem: WeightGradientProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, fill: Any = 0
) -> None:
    """Compute a `WeightGradientProblem` into `out`."""
    p = problem.conv
    beyond = np.asarray(fill).astype(p.acc)
    with np.errstate(all="ignore"):
        for k, along in _taps(p):
            places = grid(along)
            values = np.where(outside(places), beyond, gather(x, places).astype(p.acc)).conj()
            for f in range(p.filters):
                products = values[:, _channels_of(p, f)] * w[:, f : f + 1].astype(p.acc)
                sums = products.sum((0, *range(2, products.ndim)), dtype=p.acc)
                to: tuple[Any, ...] = (f, slice(None), *k)
                out[to] = c_cast(sums, out.dtype)


def bias_gradient(problem: BiasGradientProblem, x: np.ndarray, out: np.ndarray) -> None:
    """Compute a `BiasGradientProblem` into `out`."""
    with np.errstate(all="ignore"):
        out[...] = x.sum((0, 2), np.longdouble)


def _taps(p: ConvProblem) -> Iterator[tuple[tuple[int, ...], list[np.ndarray]]]:
    """Each tap, and where along each axis of the input it lies for each output position; -1 is the fill value."""
    for k in np.ndindex(p.kernel_shape):
        rules = zip(places_under(p, k), p.in_shape, p.boundary, strict=True)
        yield k, [index_map(positions, size, rule) for positions, size, rule in rules]


def _channels_of(p: ConvProblem, f: int) -> slice:
    """The channels that a filter reads."""
    channels = p.channels // p.groups
    first = f // (p.filters // p.groups) * channels
    return slice(first, first + channels)
