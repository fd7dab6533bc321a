"""A few long inner products, which the filter kernel is not made for."""

from __future__ import annotations

import numpy as np

from fastconv import config, replay
from fastconv.device import on_device

__all__ = ["FEW", "are_long", "inner_products"]

# The kernels compute 64 and more outputs at once, in the time of about this many inner products.
FEW = 4
# Shorter products are not worth a call for each.
LONG = 2048


def are_long(image: np.ndarray, kernel: np.ndarray) -> bool:
    """Whether few outputs, all of whose windows lie within the image, are faster computed by `inner_products`."""
    return (
        kernel.size >= LONG
        and config.current_engine() == "auto"
        and replay.planning.get() is None
        and not on_device(image, kernel)
    )


def inner_products(image: np.ndarray, kernel: np.ndarray, out: np.ndarray) -> None:
    """Correlate by an inner product for each output."""
    weights = kernel.astype(out.dtype, copy=False).reshape(-1)
    with np.errstate(all="ignore"):
        for place in np.ndindex(out.shape):
            window = image[tuple(slice(i, i + k) for i, k in zip(place, kernel.shape, strict=True))]
            out[place] = np.dot(window.astype(out.dtype, copy=False).reshape(-1), weights)
