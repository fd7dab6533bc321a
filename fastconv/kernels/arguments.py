"""What kernels are made from: checked arguments, positions, products of lines, turned borders."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from math import isfinite

import numpy as np

__all__ = [
    "axis_of",
    "centred",
    "number",
    "outer",
    "positive",
    "positives",
    "squared_radius",
    "turned",
    "whole",
    "wholes",
]

# Rows and columns of a 3x3 kernel's border, from the right, counter-clockwise.
RING = ([1, 0, 0, 0, 1, 2, 2, 2], [2, 2, 1, 0, 0, 0, 1, 2])


def whole(name: str, value: int, least: int = 1) -> int:
    """An integer of at least `least`."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__") or operator.index(value) < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")
    return operator.index(value)


def number(name: str, value: float) -> float:
    """A finite number."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or not isfinite(value):
        raise ValueError(f"{name} must be a finite number; got {value!r}")
    return float(value)


def positive(name: str, value: float) -> float:
    """A finite number above zero."""
    if number(name, value) <= 0:
        raise ValueError(f"{name} must be positive; got {value!r}")
    return float(value)


def wholes(name: str, value: int | Sequence[int], ndim: int, least: int = 1) -> list[int]:
    """An integer for each axis."""
    return [whole(name, v, least) for v in _each(name, value, ndim)]


def positives(name: str, value: float | Sequence[float], ndim: int) -> list[float]:
    """A positive number for each axis."""
    return [positive(name, v) for v in _each(name, value, ndim)]


def axis_of(axis: int, ndim: int) -> int:
    """An axis counted from the first."""
    whole("ndim", ndim)
    if isinstance(axis, bool) or not hasattr(axis, "__index__") or not -ndim <= operator.index(axis) < ndim:
        raise ValueError(f"axis must be in [{-ndim}, {ndim - 1}]; got {axis!r}")
    return operator.index(axis) % ndim


def centred(size: int) -> np.ndarray:
    """Positions relative to the centre, which lies between two elements if there is an even number of them."""
    return np.arange(size) - (size - 1) / 2.0


def outer(lines: Sequence[np.ndarray]) -> np.ndarray:
    """The product of one line for each axis."""
    return reduce(np.multiply.outer, lines)


def squared_radius(sizes: Sequence[int]) -> np.ndarray:
    """Squared distance of each element from the centre."""
    return reduce(np.add.outer, [centred(size) ** 2 for size in sizes])


def turned(ring: Sequence[float], centre: float, angle: int) -> np.ndarray:
    """A 3x3 kernel given at 0 degrees by its border, from the right, counter-clockwise."""
    if isinstance(angle, bool) or not isinstance(angle, (int, float, np.integer, np.floating)) or angle % 45 != 0:
        raise ValueError(f"angle must be a multiple of 45 degrees; got {angle!r}")
    kernel = np.full((3, 3), float(centre))
    kernel[RING] = np.roll(np.asarray(ring, dtype=np.float64), int(angle) // 45)
    return kernel


def _each(name: str, value: object, ndim: int) -> list:
    whole("ndim", ndim)
    values = list(value) if isinstance(value, Sequence | np.ndarray) else [value] * ndim
    if len(values) != ndim:
        raise ValueError(f"{name} must be one number or {ndim}, one for each axis; got {value!r}")
    return values
