"""Normalised, masked and NaN-aware convolution: weights that sum to one, samples that are missing.

With validity ``v``, 0 where a sample is NaN or masked and 1 elsewhere, and weights ``w`` of sum ``W``

    num = sum of w * x * v        den = sum of w * v

the policy "omit" gives ``num`` and "interpolate" ``num * W / den``: the weights are normalised over
the valid samples (H. Knutsson and C.-F. Westin, "Normalized and differential convolution", 1993,
doi:10.1109/CVPR.1993.341081; `astropy.convolution.convolve`, doi:10.3847/1538-4357/ac7c74).  The
kernels (`fastconv.problem.NormalizedProblem`) find NaN themselves and read the mask beside the image.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastconv.ndimage.extras import Extras
from fastconv.replay import by_value
from fastconv.validate import ArgumentError, ArgumentTypeError, choice

__all__ = ["checked_policy", "missing_samples", "weights_in_force"]

POLICIES = {name: name for name in ("propagate", "omit", "interpolate")}
# Sums of weights below this, relative to the sum of their absolute values, are rounding errors.
ZERO = 1e-8


def checked_policy(extras: Extras, image: np.ndarray, kernel: np.ndarray) -> str:
    """What becomes of samples that are missing."""
    policy = choice("nan_policy", extras.nan_policy, POLICIES)
    if policy != "propagate" and kernel.dtype.kind == "c":
        raise ArgumentTypeError(f"weights must be real for nan_policy={policy!r}; got {kernel.dtype}")
    if extras.mask is not None:
        if policy == "propagate":
            raise ArgumentError("mask needs nan_policy='omit' or 'interpolate'; got 'propagate'")
        if np.shape(extras.mask) != image.shape:
            raise ArgumentError(f"mask must have the shape of input, {image.shape}; got {np.shape(extras.mask)}")
    return policy


def weights_in_force(kernel: np.ndarray, policy: str, normalize: Any) -> np.ndarray:
    """The weights, divided by their sum if `normalize`."""
    if not normalize and policy != "interpolate":
        return kernel
    by_value(first=1)
    normalized = _normalized(kernel.tobytes(), kernel.dtype, kernel.shape, bool(normalize))
    return normalized if normalize else kernel


@lru_cache(maxsize=64)
def _normalized(memory: bytes, dtype: np.dtype, shape: tuple[int, ...], normalize: bool) -> np.ndarray:
    """The weights in `memory`, which have a sum that they can be divided by, divided by it."""
    weights = np.frombuffer(memory, dtype).reshape(shape)
    weights = weights.astype(np.complex128 if dtype.kind == "c" else np.float64)
    total = weights.sum()
    if not abs(total) > ZERO * abs(weights).sum():
        why = "normalize=True" if normalize else "nan_policy='interpolate'"
        raise ArgumentError(f"weights must have a sum other than 0 for {why}; got {total}")
    return weights / total


def missing_samples(image: np.ndarray, mask: Any) -> np.ndarray | None:
    """A mask of what is missing besides NaN in real numbers; a complex number that is NaN in a part is so in both."""
    mask = None if mask is None else np.asarray(mask)
    if mask is not None and mask.dtype != bool:
        mask = mask != 0
    if image.dtype.kind != "c":
        return mask
    by_value()
    nan = np.isnan(image)
    if mask is not None:
        return nan | mask
    return nan if nan.any() else None
