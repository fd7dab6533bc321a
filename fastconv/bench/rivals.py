"""The libraries that fastconv is measured against, and its engines.

A rival's adapters tell, function by function, how a case's result is had from it; what it
needs beyond its own call (flipped weights, other views of the arrays) is made once, before the
clock starts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.bench import torch_layers
from fastconv.bench.case import Case
from fastconv.bench.contestants import Call, Engine, Rival, Unsupported
from fastconv.bench.layers import Layer
from fastconv.config import set_num_threads
from fastconv.plan import plan

__all__ = ["ENGINES", "RIVALS", "SCIPY", "choose"]


def choose(names: list[str] | None, known: dict[str, Any], what: str) -> tuple[list[Any], dict[str, str]]:
    """The contestants of the given names (default: all), and why those that are missing are."""
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(f"{what} must be among {', '.join(known)}; got {', '.join(unknown)}")
    chosen = [known[name] for name in dict.fromkeys(known if names is None else names)]
    reasons = {contestant.name: contestant.missing() for contestant in chosen}
    present = [contestant for contestant in chosen if reasons[contestant.name] is None]
    return present, {name: why for name, why in reasons.items() if why is not None}


def _flipped(case: Case, w: np.ndarray) -> np.ndarray:
    """The weights for a library that correlates."""
    return np.ascontiguousarray(np.flip(w) if "convolve" in case.function else w)


# -- SciPy -----------------------------------------------------------------------------------


def _scipy_signal(case: Case, x: np.ndarray, w: np.ndarray) -> Call:
    signal, keywords = import_module("scipy.signal"), case.keywords
    if case.variant == "same-large":  # what people take for kernels this large
        w = np.ascontiguousarray(w[::-1, ::-1])
        return lambda: signal.oaconvolve(x, w, **keywords)
    function = getattr(signal, case.function.split(".")[1])
    return lambda: function(x, w, **keywords)


def _scipy_ndimage(case: Case, x: np.ndarray, w: Any) -> Call:
    if "nan_policy" in case.keywords:
        return _scipy_interpolated(case, x, w)
    function = getattr(import_module("scipy.ndimage"), case.function.split(".")[1])
    keywords = {name: value for name, value in case.keywords.items() if name != "axes"}
    if "axes" in case.keywords:  # not every SciPy has it
        w = w.reshape(*w.shape, *(1,) * (x.ndim - w.ndim))
    return lambda: function(x, w, **keywords)


def _scipy_interpolated(case: Case, x: np.ndarray, w: np.ndarray) -> Call:
    """The sum over the pixels that are there, divided by the sum of their weights."""
    from scipy import ndimage

    mode = case.border

    def call() -> np.ndarray:
        there = ~np.isnan(x)
        total = ndimage.convolve(np.where(there, x, x.dtype.type(0)), w, mode=mode)
        return total / ndimage.convolve(there.astype(x.dtype), w, mode=mode)

    return call


def _scipy_conv2d(case: Case, x: np.ndarray, arguments: Any) -> Call:
    """One N-dimensional correlation for each filter and image."""
    from scipy.signal import correlate

    if isinstance(case, Layer) and case.row:
        raise Unsupported("it has no layers; textbook cases show what its sums cost")
    _, w = arguments
    channel_axis = case.keywords["data_format"].index("C")
    pad, step, groups = case.keywords["padding"], case.stride, case.keywords["groups"]
    w = np.moveaxis(w, 1, channel_axis)
    pads = [(0, 0) if axis in (0, channel_axis) else (pad, pad) for axis in range(4)]
    per_group = len(w) // groups

    def call() -> np.ndarray:
        padded = np.pad(x, pads)
        members = np.split(padded, groups, axis=channel_axis)
        outputs = [correlate(members[f // per_group], w[f][None], "valid") for f in range(len(w))]
        y = np.concatenate(outputs, axis=channel_axis)
        return y[:, :, ::step, ::step] if channel_axis == 1 else y[:, ::step, ::step]

    return call


def _scipy_pool2d(case: Case, x: np.ndarray, w: Any) -> Call:
    """A filter of the whole image, of which one in `stride` pixels is kept."""
    from scipy import ndimage

    if case.keywords.get("return_indices"):
        return _numpy_max_pool2d_indices(case, x)
    step, pad = case.stride, case.keywords.get("padding", 0)
    size = tuple(case.window[case.axes.index(axis)] if axis in case.axes else 1 for axis in range(4))
    keep = tuple(
        slice(k // 2 - pad, n - k + k // 2 + pad + 1, step) if axis in case.axes else slice(None)
        for axis, (k, n) in enumerate(zip(size, x.shape, strict=True))
    )
    if case.function == "nn.max_pool2d":
        return lambda: ndimage.maximum_filter(x, size, mode="constant", cval=-np.inf)[keep]
    return lambda: ndimage.uniform_filter(x, size, mode="constant")[keep]


def _numpy_global_pool2d(case: Case, x: np.ndarray, w: Any) -> Call:
    """The whole image is the window."""
    return partial(x.max if case.selects else x.mean, axis=case.axes, keepdims=True)


def _numpy_max_pool2d_indices(case: Case, x: np.ndarray) -> Call:
    """Maxima and their places from windows that are views; for windows without padding."""
    (ky, kx), step = case.window, case.stride
    planes = np.moveaxis(x, case.axes, (-2, -1))

    def call() -> tuple[np.ndarray, np.ndarray]:
        windows = np.lib.stride_tricks.sliding_window_view(planes, (ky, kx), axis=(-2, -1))[..., ::step, ::step, :, :]
        windows = windows.reshape(*windows.shape[:-2], ky * kx)
        at = windows.argmax(axis=-1)
        rows, columns = np.ogrid[: at.shape[-2], : at.shape[-1]]
        places = (rows * step + at // kx) * planes.shape[-1] + columns * step + at % kx
        values = np.take_along_axis(windows, at[..., None], axis=-1)[..., 0]
        return np.moveaxis(values, (-2, -1), case.axes), np.moveaxis(places, (-2, -1), case.axes)

    return call


SCIPY = Rival(
    "scipy",
    "scipy",
    {
        **dict.fromkeys(
            ("signal.convolve", "signal.correlate", "signal.convolve2d", "signal.correlate2d"), _scipy_signal
        ),
        **dict.fromkeys(("signal.fftconvolve", "signal.oaconvolve"), _scipy_signal),
        **dict.fromkeys(("ndimage.convolve", "ndimage.correlate"), _scipy_ndimage),
        **dict.fromkeys(("ndimage.convolve1d", "ndimage.correlate1d"), _scipy_ndimage),
        **dict.fromkeys(("ndimage.gaussian_filter", "ndimage.uniform_filter", "ndimage.sobel"), _scipy_ndimage),
        **dict.fromkeys(("ndimage.maximum_filter", "ndimage.median_filter"), _scipy_ndimage),
        "nn.conv2d": _scipy_conv2d,
        **dict.fromkeys(("nn.max_pool2d", "nn.avg_pool2d"), _scipy_pool2d),
        **dict.fromkeys(("nn.adaptive_max_pool2d", "nn.adaptive_avg_pool2d"), _numpy_global_pool2d),
    },
    lambda threads: None,  # these functions of SciPy have one thread
)


# -- OpenCV ----------------------------------------------------------------------------------


def _opencv_filter(case: Case, x: np.ndarray, w: np.ndarray) -> Call:
    """`filter2D`, cropped to the valid part; a line of weights is a kernel of one row or column."""
    import cv2

    if "nan_policy" in case.keywords:
        raise Unsupported("cv2.filter2D spreads NaN")
    if case.axes not in ((0, 1), (0,), (1,)) or x.ndim == 1:
        raise Unsupported("cv2.filter2D is for images")
    if x.dtype.name not in ("float32", "float64") and not (x.dtype == np.uint8 and w.dtype.kind == "f"):
        raise Unsupported(f"cv2.filter2D does not sum {x.dtype} in {w.dtype}")
    border, code = case.border, _opencv_border(case)
    kernel: Any = _flipped(case, w).astype(np.float64 if x.dtype == np.float64 else np.float32)
    if kernel.ndim == 1:  # faster than sepFilter2D with a factor of one: 0.40 against 0.94 ms at 1024x1024, 9 taps
        kernel = kernel[:, None] if case.axes == (0,) else kernel[None, :]
    if border:
        return lambda: cv2.filter2D(x, -1, kernel, borderType=code)
    (top, left), (height, width) = (k // 2 for k in kernel.shape), kernel.shape
    keep = slice(top, x.shape[0] - (height - 1 - top)), slice(left, x.shape[1] - (width - 1 - left))
    return lambda: cv2.filter2D(x, -1, kernel, borderType=code)[keep]


def _opencv_border(case: Case) -> int:
    """How it calls a case's border; "" is cut off."""
    import cv2

    borders = {
        "": cv2.BORDER_DEFAULT,
        "constant": cv2.BORDER_CONSTANT,
        "reflect": cv2.BORDER_REFLECT,
        "nearest": cv2.BORDER_REPLICATE,
        "mirror": cv2.BORDER_REFLECT_101,
    }
    if case.border not in borders:
        raise Unsupported(f"OpenCV has no border like {case.border!r}")
    return borders[case.border]


def _opencv_ready_made(case: Case, x: np.ndarray, w: Any) -> Call:
    """Its own Gaussian, box, maximum, Sobel and median filters of images."""
    import cv2

    code, (k, _) = _opencv_border(case), case.window
    name = case.function.split(".")[1]
    if name == "gaussian_filter":
        return lambda: cv2.GaussianBlur(x, (k, k), w, borderType=code)
    if name == "uniform_filter":
        return lambda: cv2.blur(x, (k, k), borderType=code)
    if name == "maximum_filter":  # mirrored pixels are in the window already, so it may end at the border
        square = np.ones((k, k), np.uint8)
        return lambda: cv2.dilate(x, square)
    if name == "sobel":
        if x.dtype.kind == "u":
            raise Unsupported("cv2.Sobel saturates where SciPy wraps")
        return lambda: cv2.Sobel(x, -1, 1, 0, ksize=3, borderType=code)
    if k == 3:  # one pixel beyond the border, it repeats what SciPy mirrors
        return lambda: cv2.medianBlur(x, k)
    r = k // 2
    return lambda: cv2.medianBlur(cv2.copyMakeBorder(x, r, r, r, r, code), k)[r:-r, r:-r]


READY_MADE = tuple(f"ndimage.{name}_filter" for name in ("gaussian", "uniform", "maximum", "median")) + (
    "ndimage.sobel",
)
SUMS_2D = ("signal.convolve2d", "signal.correlate2d", "ndimage.convolve", "ndimage.correlate", "ndimage.correlate1d")
OPENCV = Rival(
    "opencv",
    "cv2",
    {**dict.fromkeys(SUMS_2D, _opencv_filter), **dict.fromkeys(READY_MADE, _opencv_ready_made)},
    lambda threads: import_module("cv2").setNumThreads(threads),
    # it rounds where SciPy cuts off, which SciPy does after each of two passes
    slacks={**dict.fromkeys(SUMS_2D, 1), "ndimage.gaussian_filter": 2, "ndimage.uniform_filter": 2},
)


# -- PyTorch ---------------------------------------------------------------------------------


def _torch_filter(case: Case, x: np.ndarray, w: np.ndarray) -> Call:
    """A layer of one channel; axes that are not filtered are its batch."""
    import torch
    from torch.nn import functional

    if x.dtype.kind not in "fc":
        raise Unsupported(f"torch convolves no {x.dtype}")
    if "nan_policy" in case.keywords:
        raise Unsupported("torch's convolution spreads NaN")
    border = case.border
    pads = {"constant": "constant", "nearest": "replicate", "mirror": "reflect", "wrap": "circular", "": ""}
    if border not in pads:
        raise Unsupported(f"torch has no border like {case.border!r}")
    kernel = _flipped(case, w)
    if kernel.ndim == 1 and x.ndim == 2:
        kernel = kernel[:, None] if case.axes == (0,) else kernel[None, :]
    rank = kernel.ndim
    image = torch.from_numpy(x)
    batch = image.movedim(-1, 0)[:, None] if x.ndim > rank else image[None, None]
    weights = torch.from_numpy(kernel)[None, None]
    conv = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    margin = [k - 1 if case.keywords.get("mode", "full") == "full" else k // 2 for k in kernel.shape]
    around = [m for k in reversed(margin) for m in (k, k)]

    def call() -> np.ndarray:
        with torch.inference_mode():
            if border == "constant":
                y = conv(batch, weights, padding=margin)
            elif border:
                y = conv(functional.pad(batch, around, pads[border]), weights)
            else:
                y = conv(batch, weights)
        return y[:, 0].movedim(0, -1).numpy() if x.ndim > rank else y[0, 0].numpy()

    return call


def _torch_maximum(case: Case, x: np.ndarray, w: int) -> Call:
    """A pooling with stride 1: mirrored pixels are in the window already."""
    import torch
    from torch.nn import functional

    if x.dtype.kind != "f" or case.border != "reflect":
        raise Unsupported(f"torch takes no maxima of {x.dtype} with borders like {case.border!r}")
    image = torch.from_numpy(x)[None, None]

    def call() -> np.ndarray:
        with torch.inference_mode():
            return functional.max_pool2d(image, w, stride=1, padding=w // 2)[0, 0].numpy()

    return call


TORCH = Rival(
    "torch",
    "torch",
    {
        **dict.fromkeys(
            ("signal.convolve", "signal.correlate", "signal.convolve2d", "signal.correlate2d"), _torch_filter
        ),
        **dict.fromkeys(("ndimage.convolve", "ndimage.correlate", "ndimage.correlate1d"), _torch_filter),
        "ndimage.maximum_filter": _torch_maximum,
        **torch_layers.ADAPTERS,
    },
    lambda threads: import_module("torch").set_num_threads(threads),
    settings=lambda: import_module("torch").inference_mode(),
    slacks={"nn.quantized_conv2d": 1},  # it multiplies by a rounded scale
)

# -- fastconv's float32 ----------------------------------------------------------------------


def _float32_conv2d(case: Case, x: np.ndarray, w: Any) -> Call:
    """The same sums from numbers less their zero points; scaling and rounding them is put off."""
    told = case.keywords
    image, weights, bias = (array.astype(np.float32) for array in w)
    image -= told["input_zero_point"]
    options = {name: told[name] for name in ("stride", "padding", "groups", "data_format")}
    scale = told["input_scale"] * told["weight_scale"] / told["scale"]
    prepared = plan(nn.conv2d, image, weights, bias, **options).prepare(weights) if case.prepared else None

    def call() -> Callable[[], np.ndarray]:
        sums = prepared(image) if prepared else nn.conv2d(image, weights, bias, **options)
        return lambda: np.clip(np.rint(sums * scale) + told["zero_point"], 0, 255).astype(x.dtype)

    return call


FLOAT32 = Rival(
    "float32",
    "fastconv",
    {"nn.quantized_conv2d": _float32_conv2d},
    set_num_threads,
    slacks={"nn.quantized_conv2d": 1},  # Winograd's sums are not exact
)

# -- astropy ---------------------------------------------------------------------------------


def _astropy_convolve(case: Case, x: np.ndarray, w: np.ndarray) -> Call:
    from astropy.convolution import convolve

    boundaries = {"constant": "fill", "nearest": "extend", "wrap": "wrap"}
    if "nan_policy" not in case.keywords or case.border not in boundaries:
        raise Unsupported("astropy is here for pictures with pixels missing")
    return partial(convolve, x, w, boundaries[case.border], nan_treatment="interpolate", normalize_kernel=True)


ASTROPY = Rival(
    "astropy",
    "astropy",
    {"ndimage.convolve": _astropy_convolve},
    lambda threads: None,  # its convolution has one thread
)

RIVALS = {rival.name: rival for rival in (SCIPY, OPENCV, TORCH, FLOAT32, ASTROPY)}
ENGINES = {name: Engine(name) for name in ("cython", "numba", "cuda", "reference")}
