"""What random calls are made of: arrays that are still to be made, sizes, boundaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from math import exp, log, prod
from typing import Any

import numpy as np

from fastconv.bench.pictures import GREY, picture

__all__ = ["COMPLEX", "NUMBERS", "REAL", "RULES", "Array", "Dice", "Named"]

LARGEST_SIDE = {1: 1 << 22, 2: 4096, 3: 256}
LARGEST_KERNEL = 101
PICTURES = (*GREY, "noise")

REAL = ("float32",) * 5 + ("float64",) * 4 + ("uint8",) * 4 + ("int16", "uint16", "int32", "int64", "bool")
COMPLEX = ("complex64", "complex64", "complex128")
NUMBERS = (*REAL, *COMPLEX)
RULES = ("reflect", "constant", "nearest", "mirror", "wrap", "grid-mirror", "grid-constant", "grid-wrap")


@dataclass(frozen=True)
class Array:
    """An array that is still to be made.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
    content : str
        A photograph's name or "noise" for images; "weights", "footprint", "structure".
    layout : str
        "C", "F", "cropped" (out of a larger array), "every other" (along the last axis), "upside down".
    """

    shape: tuple[int, ...]
    dtype: str
    content: str
    layout: str = "C"

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        notes = "" if self.layout == "C" else f" {self.layout}"
        return f"{self.dtype}[{'x'.join(map(str, self.shape))}{notes}] {self.content}"

    def make(self, rng: np.random.Generator) -> np.ndarray:
        shape = list(self.shape)
        if self.layout == "F":
            return np.ascontiguousarray(self._values(self.shape[::-1], rng)).T
        if self.layout == "cropped":
            whole = self._values(tuple(n + 5 for n in shape), rng)
            return whole[tuple(slice(2, 2 + n) for n in shape)]
        if self.layout == "every other":
            return self._values((*shape[:-1], 2 * shape[-1]), rng)[..., ::2]
        values = self._values(self.shape, rng)
        return values[::-1] if self.layout == "upside down" else values

    def _values(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        dtype = np.dtype(self.dtype)
        if self.content == "footprint":
            footprint = rng.random(shape) < 0.7
            footprint[tuple(n // 2 for n in shape)] = True
            return footprint
        if self.content in ("weights", "structure"):  # positive: pixels that overflow are everybody's own
            values: Any = rng.uniform(0.2, 1.0, shape)
            values = values / values.sum() if self.content == "weights" else values
            return (np.rint(values * 50 * prod(shape)) if dtype.kind in "iu" else values).astype(dtype)
        if self.content != "noise":
            return self._photograph(shape)
        if dtype.kind in "biu":
            return rng.integers(0, 256, shape).astype(dtype) if dtype.kind != "b" else rng.random(shape) < 0.5
        values = rng.standard_normal(shape, np.float32 if self.dtype in ("float32", "complex64") else np.float64)
        return (values + 1j * values[::-1] if dtype.kind == "c" else values).astype(dtype)

    def _photograph(self, shape: tuple[int, ...]) -> np.ndarray:
        if self.dtype == "bool":
            pixels = picture(self.content, shape, "uint8")
            return pixels > np.median(pixels)
        pixels = picture(self.content, shape, self.dtype)
        if pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 1:  # more than 8 bits, and both signs
            pixels = pixels * pixels.dtype.type(100)
            return pixels - pixels.dtype.type(12800) if pixels.dtype.kind == "i" else pixels
        return pixels


@dataclass(frozen=True)
class Named:
    """A function that is an argument: ``numpy.max``; `contrast`, which is jitted; or one of the library that is called."""

    name: str

    def __str__(self) -> str:
        return self.name

    def of(self, library: Any) -> Callable[..., Any]:
        if self.name == "contrast":
            return _contrast()
        package, _, name = self.name.rpartition(".")
        return getattr(import_module(package) if package else library, name)


@lru_cache(maxsize=1)
def _contrast() -> Callable[[np.ndarray], float]:
    from numba import njit

    @njit
    def contrast(window: np.ndarray) -> float:
        low = high = window[0]
        for value in window:
            low, high = min(low, value), max(high, value)
        return high - low

    return contrast


class Dice:
    """Draws the parts of a call."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one(self, choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def real(self, low: float, high: float) -> float:
        return float(f"{exp(self.rng.uniform(log(low), log(high))):.3g}")

    def integer(self, low: int, high: int) -> int:
        return min(int(exp(self.rng.uniform(log(low), log(high + 1)))), high)

    def image(self, dtypes: tuple[str, ...], ndims: tuple[int, ...] = (1, 2, 2, 2, 3)) -> Array:
        ndim = self.one(ndims)
        shape = tuple(self.integer(8, LARGEST_SIDE[ndim]) for _ in range(ndim))
        if ndim > 1 and self.chance(0.5):
            shape = shape[:1] * ndim
        layout = "C" if self.chance(0.6) else self.one(("F", "cropped", "every other", "upside down"))
        return Array(shape, self.one(dtypes), self.one(PICTURES), layout)

    def sizes(self, image: Array, axes: tuple[int, ...]) -> tuple[int, ...]:
        """Of a kernel or window along axes: mostly odd, mostly the same along all."""
        sizes = [self.integer(1, LARGEST_KERNEL) for _ in axes]
        sizes = sizes[:1] * len(axes) if self.chance(0.6) else sizes
        sizes = sizes if self.chance(0.3) else [min(k | 1, LARGEST_KERNEL) for k in sizes]
        # beyond four mirror images SciPy takes wrong samples
        return tuple(min(k, 8 * image.shape[axis] - 1) for axis, k in zip(axes, sizes, strict=True))

    def boundary(self) -> dict[str, Any]:
        if self.chance(0.35):
            return {}
        rule = self.one(RULES)
        return {"mode": rule} | ({"cval": 1.5} if rule == "constant" and self.chance(0.5) else {})

    def origin(self, image: Array, axes: tuple[int, ...], sizes: tuple[int, ...]) -> dict[str, Any]:
        """Of windows that fit into the image: shifts of others SciPy gets wrong."""
        fits = all(k <= image.shape[axis] for axis, k in zip(axes, sizes, strict=True))
        if not fits or self.chance(0.85):
            return {}
        shifts = tuple(int(self.rng.integers(-(k // 2), (k - 1) // 2 + 1)) for k in sizes)
        return {"origin": shifts[0] if len(shifts) == 1 else shifts}

    def output(self, image: Array) -> dict[str, Any]:
        allowed = ("complex64", "complex128") if "complex" in image.dtype else ("float32", "float64")
        return {"output": self.one(allowed)} if self.chance(0.1) else {}

    def options(self, image: Array, axes: tuple[int, ...], sizes: tuple[int, ...] | None = None) -> dict[str, Any]:
        """Boundary, axes, and the origin of windows of these sizes."""
        some: dict[str, Any] = {} if len(axes) == image.ndim else {"axes": axes}
        return self.boundary() | ({} if sizes is None else self.origin(image, axes, sizes)) | some

    def axis(self, image: Array) -> int:
        return int(self.rng.integers(image.ndim))

    def axes(self, image: Array) -> tuple[int, ...]:
        """All axes, or some of them."""
        ndim = image.ndim
        if ndim == 1 or self.chance(0.85):
            return tuple(range(ndim))
        first = int(self.rng.integers(ndim))
        return (first,) if ndim == 2 or self.chance(0.5) else tuple(sorted({first, (first + 1) % ndim}))

    def weights(self, image: Array, sizes: tuple[int, ...]) -> Array:
        """For ndimage: floating-point numbers, often of the image's dtype."""
        own = image.dtype if image.dtype[0] in "fc" and self.chance(0.6) else "float64"
        return Array(sizes, own, "weights")
