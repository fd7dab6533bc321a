"""The one list of benchmark cases, for the command line, `benchmarks/` and the tests.

A case is a call of a fastconv function on a real picture.  Its name tells it all:

    signal.correlate2d:valid:float32:512x512:k3x3
    function          :variant:dtype :input :weights or window
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from fastconv.bench.case import Case, Options
from fastconv.bench.layers import LAYERS
from fastconv.bench.network_layers import NETWORK_LAYERS
from fastconv.bench.pictures import COLOUR, GREY

__all__ = ["CASES", "IMAGE_SIZES", "KERNEL_SIZES", "LARGE_KERNELS", "SMALL_SIZES", "Case", "select"]

IMAGE_SIZES = (256, 512, 1024, 2048, 4096, 8192)
KERNEL_SIZES = (3, 5, 7, 9, 11, 15, 21, 31)
SMALL_SIZES = (16, 32, 64)
LARGE_KERNELS = (31, 63, 127, 255)


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


CASES: tuple[Case, ...] = (
    *_filters(),
    *_lines_volumes_colours(),
    *_ready_made(),
    *_transforms_and_gaps(),
    *LAYERS,
    *NETWORK_LAYERS,
)
