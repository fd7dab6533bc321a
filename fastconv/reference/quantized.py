"""Convolutions of quantised numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastconv.problem import QuantizedProblem
from fastconv.reference.casts import saturated
from fastconv.reference.conv import conv

__all__ = ["quantized"]


def quantized(problem: QuantizedProblem, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: Any, fill: Any) -> None:
    """Compute a `QuantizedProblem` into `out`; its sums are exact in float64."""
    p = replace(problem.conv, in_dtype="float64", kernel_dtype="float64", acc="float64", out_dtype="float64")
    scale, offset, zero = (row.reshape(-1, *(1,) * p.ndim) for row in bias)
    sums = np.empty(out.shape)
    conv(p, x - float(fill), w - zero[:, None], sums)
    rounded = np.rint((sums + offset) * scale) + problem.zero_point
    out[...] = saturated(np.clip(rounded, problem.low, problem.high), out.dtype)
