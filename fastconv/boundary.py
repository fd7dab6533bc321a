"""Boundary rules as index maps.

A rule says which input element stands at a position outside ``[0, size)``.  It is
a map from positions to indices (-1: the constant fill value), so no padded copy of
the input is ever made: kernels look up only the few positions beyond the edges.

    fill       k k k k | a b c d | k k k k      constant value
    reflect    d c b a | a b c d | d c b a      mirrored about the edge of the last element
    nearest    a a a a | a b c d | d d d d      the last element repeated
    mirror     d c b   | a b c d |   c b a      mirrored about the centre of the last element
    wrap       a b c d | a b c d | a b c d      periodic
"""

from __future__ import annotations

import numpy as np

__all__ = ["NDIMAGE_MODES", "SIGNAL_BOUNDARIES", "edge_map", "index_map"]

# Names that users give -> the rule's name here.  The grid- names are SciPy's
# aliases: interpolation tells them apart, filters do not.
NDIMAGE_MODES = {
    "reflect": "reflect",
    "constant": "fill",
    "nearest": "nearest",
    "mirror": "mirror",
    "wrap": "wrap",
    "grid-mirror": "reflect",
    "grid-constant": "fill",
    "grid-wrap": "wrap",
}
SIGNAL_BOUNDARIES = {
    "fill": "fill",
    "pad": "fill",
    "wrap": "wrap",
    "circular": "wrap",
    "symm": "reflect",
    "symmetric": "reflect",
}


def index_map(positions: np.ndarray, size: int, rule: str) -> np.ndarray:
    """Input index at each position of an axis of `size` elements; -1 means the fill value."""
    p = np.asarray(positions, dtype=np.int64)
    if rule == "fill":
        return np.where((p >= 0) & (p < size), p, -1)
    if rule == "nearest":
        return np.clip(p, 0, size - 1)
    if rule == "wrap":
        return p % size
    if rule == "reflect":
        p = p % (2 * size)
        return np.minimum(p, 2 * size - 1 - p)
    if rule == "mirror":
        period = max(2 * (size - 1), 1)
        p = p % period
        return np.minimum(p, period - p) if size > 1 else np.zeros_like(p)
    raise ValueError(f"unknown boundary rule {rule!r}")


def edge_map(size: int, before: int, after: int, rule: str) -> np.ndarray:
    """Indices for the `before` positions left of the axis, then the `after` positions right of it."""
    outside = np.concatenate([np.arange(-before, 0), np.arange(size, size + after)])
    return index_map(outside, size, rule)
