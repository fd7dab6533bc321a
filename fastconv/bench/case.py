"""What a benchmark case is: a call of a fastconv function on a real picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any
from zlib import crc32

import numpy as np

from fastconv.bench.pictures import images, picture

__all__ = ["Case", "Options", "times"]

MISSING = 0.01  # of the pixels, where there are some missing

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Case:
    """One problem.

    Attributes
    ----------
    function : str
        Its name under `fastconv` (and, for ``signal`` and ``ndimage``, under `scipy`).
    variant : str
        What tells it from the function's other cases, for people.
    source : str
        The scikit-image picture that makes the input.
    shape : tuple of int
        Of the input array.
    kernel : tuple of int
        Shape of the weights; of a pooling, its window.
    dtype : str
        Of the input.
    options : tuple of (str, value)
        The call's keyword arguments.
    quick : bool
        Whether it belongs to the short list.
    argument : int or float, optional
        What the function takes instead of weights or a window's shape: a size, sigma, an axis.
    prepared : bool
        Whether the weights are brought into the kernels' order before they are timed.
    precision : str
        That fastconv computes in.
    """

    function: str
    variant: str
    source: str
    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: str = "float32"
    options: Options = ()
    quick: bool = False
    argument: float | None = None
    prepared: bool = False
    precision: str = "default"

    @property
    def name(self) -> str:
        return f"{self.family}:{times(self.shape)}:k{times(self.kernel)}"

    @property
    def family(self) -> str:
        """The cases that differ from this one in sizes alone."""
        return f"{self.function}:{self.variant}:{self.dtype}"

    @cached_property
    def keywords(self) -> dict[str, Any]:
        return dict(self.options)

    @property
    def labels(self) -> dict[str, Any]:
        """What reports are told besides names, sizes and dtype."""
        return {}

    @property
    def is_pooling(self) -> bool:
        return "pool" in self.function

    @property
    def selects(self) -> bool:
        """Whether outputs are elements of the input."""
        return self.function in (
            "nn.max_pool2d", "nn.adaptive_max_pool2d", "ndimage.maximum_filter", "ndimage.median_filter"
        )  # fmt: skip

    @property
    def gain(self) -> float:
        """The magnitudes of the weights that a function has of its own, added up."""
        return 8.0 if self.function == "ndimage.sobel" else 1.0

    @property
    def axes(self) -> tuple[int, ...]:
        """The input's axes that the kernel slides along."""
        if self.function.startswith("nn."):
            return (1, 2) if self.keywords.get("data_format") == "NHWC" else (2, 3)
        if "axis" in self.keywords:
            return (self.keywords["axis"] % len(self.shape),)
        return self.keywords.get("axes", tuple(range(len(self.shape))))

    @property
    def window(self) -> tuple[int, ...]:
        """Size of the kernel along `axes`."""
        return self.kernel[-len(self.axes) :]

    @property
    def stride(self) -> int:
        return self.keywords.get("stride") or (self.window[0] if self.is_pooling else 1)

    @property
    def border(self) -> str:
        """How the image is continued, in ndimage's words; "" if it is not."""
        mode = self.keywords.get("mode", "full")
        if mode == "valid":
            return ""
        if mode in ("same", "full"):
            return {"fill": "constant", "symm": "reflect", "wrap": "wrap"}[self.keywords.get("boundary", "fill")]
        return mode

    @property
    def image_size(self) -> int:
        """Rows of the image (samples of a signal)."""
        return self.shape[self.axes[0]]

    def arguments(self) -> tuple[np.ndarray, Any]:
        """The input, and the weights, the window or `argument`: the call's positional arguments."""
        if self.function.startswith("nn."):
            nhwc = self.keywords.get("data_format") == "NHWC"
            n, *rest = self.shape
            c, h, w = (rest[2], rest[0], rest[1]) if nhwc else rest
            x = images(self.source, n, c, h, w, self.dtype)
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if nhwc else x
        else:
            x = picture(self.source, self.shape, self.dtype)
        if "nan_policy" in self.keywords:
            x[np.random.default_rng(crc32(self.name.encode())).random(x.shape) < MISSING] = np.nan
        if self.argument is not None:
            return x, self.argument
        return x, self.kernel if self.is_pooling else self._weights(x.dtype)

    def positional(self, x: np.ndarray, w: Any) -> tuple[Any, ...]:
        """The call's positional arguments, from what `arguments` gives."""
        return x, w

    def _weights(self, dtype: np.dtype) -> np.ndarray:
        """Random, asymmetric and of full rank.

        Filters get positive weights that add up to one, which keeps integer pixels in range;
        layers get weights of both signs.
        """
        rng = np.random.default_rng(crc32(self.name.encode()))
        if self.function.startswith("nn."):
            scale = np.sqrt(2.0 / prod(self.kernel[1:]))
            return (rng.standard_normal(self.kernel) * scale).astype(dtype)
        weights = rng.uniform(0.2, 1.0, self.kernel)
        weights /= weights.sum()
        if self.function.startswith("signal.") and dtype.kind in "iu":
            return np.rint(weights * 50.0 * prod(self.kernel)).astype(dtype)
        return weights if dtype.kind in "iu" else weights.astype(dtype)


def times(sizes: tuple[int, ...]) -> str:
    """``(3, 5)`` as "3x5"."""
    return "x".join(map(str, sizes))
