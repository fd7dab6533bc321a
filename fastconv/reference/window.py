"""Moving windows of images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastconv.boundary import index_map
from fastconv.problem import WindowProblem
from fastconv.reference.casts import c_cast
from fastconv.reference.places import Tap, grid, outside

__all__ = ["window"]


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
        places = grid([index_map(np.arange(n) + k - before, n, rule) for k, before, n, rule in axes])
        values = np.where(outside(places), beyond, x[tuple(places)].astype(p.acc))
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
