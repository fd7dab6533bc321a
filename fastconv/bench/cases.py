"""The one list of benchmark cases, for the command line, `benchmarks/` and the tests.

A case is a call of a fastconv function on a real picture.  Its name tells it all:

    signal.correlate2d:valid:float32:512x512:k3x3
    function          :variant:dtype :input :weights or window
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from math import prod
from typing import Any
from zlib import crc32

import numpy as np

from fastconv.bench.networks import NETWORKS
from fastconv.bench.pictures import COLOUR, GREY, images, picture

__all__ = ["CASES", "IMAGE_SIZES", "KERNEL_SIZES", "LARGE_KERNELS", "SMALL_SIZES", "Case", "select"]

IMAGE_SIZES = (256, 512, 1024, 2048, 4096, 8192)
KERNEL_SIZES = (3, 5, 7, 9, 11, 15, 21, 31)
SMALL_SIZES = (16, 32, 64)
LARGE_KERNELS = (31, 63, 127, 255)
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

    @property
    def name(self) -> str:
        return f"{self.family}:{_times(self.shape)}:k{_times(self.kernel)}"

    @property
    def family(self) -> str:
        """The cases that differ from this one in sizes alone."""
        return f"{self.function}:{self.variant}:{self.dtype}"

    @cached_property
    def keywords(self) -> dict[str, Any]:
        return dict(self.options)

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


def select(pattern: str | None = None, *, quick: bool = False) -> list[Case]:
    """The cases whose names match a shell pattern (``*`` stands for anything; a part of the name will do).

    Several patterns may be given, with commas.
    """
    patterns = [f"*{part.strip()}*" for part in (pattern or "").split(",")]
    return [
        case
        for case in CASES
        if (case.quick or not quick) and any(fnmatchcase(case.name, pattern) for pattern in patterns)
    ]


def _times(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _grey(size: int, kernel: int = 0) -> str:
    return GREY[(size.bit_length() + kernel // 2) % len(GREY)]


def _filters() -> Iterator[Case]:
    """One-channel image filters: the sweep over image and kernel size, and the boundaries."""

    def image_filter(
        function: str, variant: str, size: int, k: int, options: Options, dtype: str = "float32", quick: bool = False
    ) -> Case:
        return Case(function, variant, _grey(size, k), (size, size), (k, k), dtype, options, quick)

    for size in IMAGE_SIZES:
        for k in KERNEL_SIZES:
            quick = size in (512, 2048) and k in (3, 5, 7, 11, 15)
            yield image_filter("signal.correlate2d", "valid", size, k, (("mode", "valid"),), quick=quick)
    for boundary in ("fill", "wrap", "symm"):
        options: Options = (("mode", "same"), ("boundary", boundary))
        for size in (256, 512, 1024, 2048, 4096) if boundary == "fill" else (512, 2048):
            for k in (3, 7, 15):
                quick = size == 512 and k == 7
                yield image_filter("signal.convolve2d", f"same-{boundary}", size, k, options, quick=quick)
    for dtype in ("float64", "complex64", "uint8", "int32"):
        for size, k in ((512, 5), (1024, 9)):
            options = (("mode", "same"), ("boundary", "fill"))
            quick = size == 512 and dtype in ("float64", "complex64", "uint8")
            yield image_filter("signal.convolve2d", "same-fill", size, k, options, dtype, quick)

    for dtype in ("float32", "uint8"):
        for size in IMAGE_SIZES:
            for k in (3, 5, 7, 9, 15, 31):
                quick = (size, k) in ((512, 3), (1024, 9))
                yield image_filter("ndimage.convolve", "reflect", size, k, (("mode", "reflect"),), dtype, quick)
    for mode in ("constant", "nearest", "mirror", "wrap"):
        for size in (512, 2048):
            yield image_filter("ndimage.convolve", mode, size, 5, (("mode", mode),), quick=size == 512)
    for size in (512, 1024, 2048, 4096):
        for k in LARGE_KERNELS if size > 512 else LARGE_KERNELS[:-1]:
            quick = (size, k) == (1024, 63)
            yield image_filter("signal.correlate2d", "same-large", size, k, (("mode", "same"),), quick=quick)


def _lines_volumes_colours() -> Iterator[Case]:
    """One and three dimensions, one-dimensional kernels, and colour images with ``axes=``."""
    for size in (512, 2048):
        for k in (9, 31):
            for axis, along in ((0, "down"), (1, "across")):
                options: Options = (("axis", axis), ("mode", "mirror"))
                quick = (size, k) == (512, 9)
                yield Case(
                    "ndimage.correlate1d", f"mirror-{along}", _grey(size), (size, size), (k,), "float32", options, quick
                )
    for samples, k in ((1 << 16, 9), (1 << 20, 9), (1 << 20, 31)):
        quick = (samples, k) == (1 << 20, 31)
        yield Case("signal.convolve", "1-D-full", "camera", (samples,), (k,), "float32", (("mode", "full"),), quick)
    for depth, k in ((64, 3), (64, 5), (128, 3)):
        shape, quick = (depth, 128, 128), (depth, k) == (64, 3)
        yield Case("signal.convolve", "3-D-valid", "brick", shape, (k, k, k), "float32", (("mode", "valid"),), quick)
        yield Case(
            "ndimage.correlate", "3-D-nearest", "grass", shape, (k, k, k), "float32", (("mode", "nearest"),), quick
        )
    for dtype in ("float32", "uint8"):
        for size in (512, 1024, 2048):
            for k in (3, 7):
                options, quick = (("axes", (0, 1)), ("mode", "reflect")), (size, k) == (512, 3)
                source = COLOUR[(size.bit_length() + k) % len(COLOUR)]
                yield Case("ndimage.convolve", "colour", source, (size, size, 3), (k, k), dtype, options, quick)


def _ready_made() -> Iterator[Case]:
    """Functions that make their own weights, and windows; each with the mode that it has by default."""

    def ready_made(
        function: str, dtype: str, size: int, k: int, argument: float, variant: str = "reflect", quick: bool = False
    ) -> Case:
        name, options = f"ndimage.{function}", (("mode", "reflect"),)
        return Case(name, variant, _grey(size, k), (size, size), (k, k), dtype, options, quick, argument)

    for dtype in ("float32", "uint8"):
        for size in IMAGE_SIZES:
            for sigma in (0.5, 1.0, 2.0, 4.0):
                quick = (size, sigma) == (2048, 2.0)
                yield ready_made("gaussian_filter", dtype, size, int(8 * sigma) + 1, sigma, quick=quick)
            for function in ("uniform_filter", "maximum_filter"):
                for k in (3, 5, 9, 31, 101):
                    yield ready_made(function, dtype, size, k, k, quick=(size, k) == (2048, 9))
        for k in (3, 5):
            yield ready_made("median_filter", dtype, 2048, k, k, quick=k == 3)
        for size in (512, 2048):
            yield ready_made("sobel", dtype, size, 3, -1, quick=size == 2048)
        for size in SMALL_SIZES:
            for k in (3, 5, 7):
                options: Options = (("mode", "reflect"),)
                yield Case(
                    "ndimage.convolve", "small", "camera", (size, size), (k, k), dtype, options, (size, k) == (32, 3)
                )
            yield ready_made("gaussian_filter", dtype, size, 9, 1.0, "small")
            yield ready_made("uniform_filter", dtype, size, 5, 5, "small")
            yield ready_made("maximum_filter", dtype, size, 5, 5, "small")


def _transforms_and_gaps() -> Iterator[Case]:
    """Long one-dimensional kernels, and pictures with pixels missing."""
    for function in ("signal.fftconvolve", "signal.oaconvolve"):
        for samples, k in ((1 << 16, 1 << 12), (1 << 20, 1 << 10), (1 << 20, 1 << 16)):
            for dtype in ("float32", "float64"):
                options: Options = (("mode", "full"),)
                quick = (samples, k, dtype) == (1 << 20, 1 << 10, "float32")
                yield Case(function, "1-D-full", "camera", (samples,), (k,), dtype, options, quick)
    options = (("mode", "nearest"), ("nan_policy", "interpolate"), ("normalize", True))
    for dtype in ("float32", "float64"):
        for size in (512, 1024, 2048):
            for k in (3, 5, 9, 15):
                quick = (size, k) == (1024, 5)
                yield Case("ndimage.convolve", "nan", _grey(size, k), (size, size), (k, k), dtype, options, quick)


# Textbook layers: name, batch, channels, rows and columns, filters, kernel size, stride, padding, groups.
LAYERS = (
    ("lenet-1", 8, 1, 28, 6, 5, 1, 2, 1),
    ("alexnet-1", 1, 3, 227, 96, 11, 4, 0, 1),
    ("vgg-1", 1, 3, 224, 64, 3, 1, 1, 1),
    ("resnet-1", 1, 3, 224, 64, 7, 2, 3, 1),
    ("resnet-2", 1, 64, 56, 64, 3, 1, 1, 1),
    ("resnet-2-down", 1, 256, 56, 64, 1, 1, 0, 1),
    ("resnet-3", 1, 128, 28, 128, 3, 1, 1, 1),
    ("resnet-4", 1, 256, 14, 256, 3, 1, 1, 1),
    ("resnet-5", 1, 512, 7, 512, 3, 1, 1, 1),
    ("resnet-2-batch", 8, 64, 56, 64, 3, 1, 1, 1),
    ("mobilenet-depthwise", 1, 128, 56, 128, 3, 1, 1, 128),
)
QUICK_LAYERS = ("lenet-1", "resnet-1", "resnet-2", "resnet-4", "mobilenet-depthwise")

# Pooling windows: name, kernel size, stride, padding.
POOLS = (("2x2", 2, 2, 0), ("3x3-stride-2", 3, 2, 1), ("3x3-stride-1", 3, 1, 1))
# Further sizes of poolings: batch, channels, rows.
POOLED = ((1, 64, 56), (32, 64, 56), (1, 512, 7))


def _layers() -> Iterator[Case]:
    """Convolution layers and poolings of well-known networks, both layouts."""
    for layout in ("NCHW", "NHWC"):

        def shape(n: int, c: int, size: int, layout: str = layout) -> tuple[int, ...]:
            return (n, c, size, size) if layout == "NCHW" else (n, size, size, c)

        for name, n, c, size, filters, k, stride, padding, groups in LAYERS:
            options: Options = (("stride", stride), ("padding", padding), ("groups", groups), ("data_format", layout))
            weights = (filters, c // groups, k, k)
            quick = name in QUICK_LAYERS
            yield Case(
                "nn.conv2d", f"{name}-{layout}", "astronaut", shape(n, c, size), weights, "float32", options, quick
            )
        for network, layers in NETWORKS.items():
            for c, size, filters, k, stride, padding, groups in layers:
                for n in (1, 8):
                    options = (("stride", stride), ("padding", padding), ("groups", groups), ("data_format", layout))
                    variant, weights = f"{network}-stride-{stride}-{layout}", (filters, c // groups, k, k)
                    yield Case("nn.conv2d", variant, "astronaut", shape(n, c, size), weights, "float32", options)
        for function in ("nn.max_pool2d", "nn.avg_pool2d"):
            for name, k, stride, padding in POOLS:
                options = (("stride", stride), ("padding", padding), ("data_format", layout))
                for n in (1, 8):
                    quick = n == 1 and name != "3x3-stride-1"
                    yield Case(
                        function, f"{name}-{layout}", "coffee", shape(n, 64, 112), (k, k), "float32", options, quick
                    )
                for n, c, size in POOLED:
                    yield Case(function, f"{name}-{layout}", "coffee", shape(n, c, size), (k, k), "float32", options)
        for function in ("nn.adaptive_max_pool2d", "nn.adaptive_avg_pool2d"):
            for n, c, size in ((1, 64, 112), (8, 64, 112), *POOLED):
                yield Case(
                    function, f"global-{layout}", "coffee", shape(n, c, size), (size, size), "float32",
                    (("data_format", layout),), n == 1 and size == 112 and layout == "NCHW", 1,
                )  # fmt: skip
        options = (("stride", 2), ("return_indices", True), ("data_format", layout))
        quick = layout == "NCHW"
        yield Case(
            "nn.max_pool2d", f"2x2-indices-{layout}", "coffee", shape(1, 64, 112), (2, 2), "float32", options, quick
        )


CASES: tuple[Case, ...] = (
    *_filters(),
    *_lines_volumes_colours(),
    *_ready_made(),
    *_transforms_and_gaps(),
    *_layers(),
)
