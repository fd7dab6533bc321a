"""Normalised, masked and NaN-aware convolution: weights that sum to one, samples that are missing.

With validity ``v``, 0 where a sample is NaN or masked and 1 elsewhere, and weights ``w`` of sum ``W``

    num = sum of w * x * v        den = sum of w * v

the policy "omit" gives ``num`` and "interpolate" ``num * W / den``: the weights are normalised over
the valid samples (H. Knutsson and C.-F. Westin, "Normalized and differential convolution", 1993,
doi:10.1109/CVPR.1993.341081; `astropy.convolution.convolve`, doi:10.3847/1538-4357/ac7c74).  The
kernels (`fastconv.problem.NormalizedProblem`) find NaN themselves, so a mask becomes NaN first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.ndimage.extras import Extras
from fastconv.replay import by_value
from fastconv.validate import ArgumentError, ArgumentTypeError, choice

__all__ = ["checked_policy", "marked", "weights_in_force"]

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
    by_value()
    weights = kernel.astype(np.complex128 if kernel.dtype.kind == "c" else np.float64)
    total = weights.sum()
    if not abs(total) > ZERO * abs(weights).sum():
        why = "normalize=True" if normalize else "nan_policy='interpolate'"
        raise ArgumentError(f"weights must have a sum other than 0 for {why}; got {total}")
    return weights / total if normalize else kernel


def marked(image: np.ndarray, mask: Any, cval: Any) -> tuple[np.ndarray, Any]:
    """The image with NaN in place of what is masked; a complex number that is NaN in a part is so in both."""
    if mask is None and image.dtype.kind != "c":
        return image, cval
    if image.dtype.kind == "c":
        missing = np.isnan(image) if mask is None else np.isnan(image) | (np.asarray(mask) != 0)
        cval = complex(np.nan, np.nan) if np.isnan(cval) else cval
        copy, nan = image.copy(), complex(np.nan, np.nan)
    else:
        missing = np.asarray(mask) != 0 if np.asarray(mask).dtype != bool else np.asarray(mask)
        copy, nan = image.astype(image.dtype if image.dtype.kind == "f" else np.float64), np.nan
    np.copyto(copy, nan, where=missing)
    return copy, cval
