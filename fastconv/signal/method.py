"""What convolutions along any axes have in common: arguments, outputs asked for, sum or Fourier transform."""

from __future__ import annotations

import sys
import warnings
from functools import lru_cache
from math import log2, prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import config, costs
from fastconv.device import as_device, on_device
from fastconv.problem import accumulator
from fastconv.replay import by_value
from fastconv.separability import gain
from fastconv.validate import as_array, check_size, new_or_checked_out

if TYPE_CHECKING:
    from fastconv.algorithms.fourier import Blocks

__all__ = ["METHODS", "MODES", "by_fft", "check_dimensions", "fourier_blocks", "must_swap", "operand", "outputs"]

Shape = tuple[int, ...]

MODES = {"full": "full", "same": "same", "valid": "valid"}
METHODS = {"auto": "auto", "direct": "direct", "fft": "fft"}


def operand(name: str, value: Any, *, empty: bool = False) -> np.ndarray:
    """The argument as an array of numbers (see `as_array`), or of objects, which are SciPy's."""
    array: Any = as_device(name, value)
    if array is None:
        array = np.asarray(value)
    return array if array.dtype.kind == "O" else as_array(name, array, empty=empty)


def check_dimensions(in1: np.ndarray, in2: np.ndarray) -> None:
    """Reject arrays of different numbers of dimensions."""
    if in1.ndim != in2.ndim:
        raise ValueError(f"in1 and in2 must have the same number of dimensions; got shapes {in1.shape} and {in2.shape}")


def must_swap(mode: str, shape1: Shape, shape2: Shape, axes: Shape | None = None) -> bool:
    """Whether "valid" mode takes in2 as the image."""
    if mode != "valid":
        return False
    pairs = [(shape1[axis], shape2[axis]) for axis in (range(len(shape1)) if axes is None else axes)]
    first, second = all(n >= k for n, k in pairs), all(k >= n for n, k in pairs)
    if not (first or second):
        raise ValueError(
            "in1 or in2 must be at least as large as the other in every dimension for mode='valid'; "
            f"got shapes {shape1} and {shape2}"
        )
    return not first


def outputs(mode: str, shape1: Shape, shape2: Shape, axes: Shape) -> tuple[Shape, Shape]:
    """Place and shape of the outputs of a mode in the full convolution along `axes`, others broadcast.

    They are the middle of it, where there are two middles from the first.
    """
    low, size = [], []
    for axis, (n, k) in enumerate(zip(shape1, shape2, strict=True)):
        full, valid = (n + k - 1, n - k + 1) if axis in axes else (max(n, k), max(n, k))
        wanted = {"full": full, "same": n, "valid": valid}[mode]
        low.append((full - wanted) // 2)
        size.append(wanted)
    return tuple(low), tuple(size)


def fourier_blocks(in1: np.ndarray, in2: np.ndarray, mode: str, method: str, threads: int | None) -> Blocks | None:
    """How to convolve by transforms, if they are asked for, or worth it and safe.

    For "valid" mode, `in1` is the larger array.
    """
    if method == "direct" or on_device(in1, in2):
        return None
    direct, blocks = _estimates(
        in1.shape, in2.shape, mode, in1.dtype, in2.dtype, method, config.resolve_threads(threads)
    )
    if blocks is not None and method == "auto":
        direct /= gain(np.flip(in2), 2 * in1.size * in2.size, accumulator(np.result_type(in1.dtype, in2.dtype)))
    if blocks is None or (method == "auto" and (direct < blocks.seconds or not _is_safe(in1, in2, blocks))):
        return None
    return blocks


@lru_cache(maxsize=512)
def _estimates(
    shape1: Shape, shape2: Shape, mode: str, dtype1: np.dtype, dtype2: np.dtype, method: str, threads: int
) -> tuple[float, Blocks | None]:
    """Estimated time of the direct sum, and the way by transforms unless that must be slower."""
    axes = tuple(axis for axis in range(len(shape1)) if shape1[axis] > 1 and shape2[axis] > 1)
    low, size = outputs(mode, shape1, shape2, axes)
    taps = prod(shape2) if mode == "same" else min(prod(shape1), prod(shape2))
    flops = 2 * prod(size) * taps * (2 if dtype1.kind == "c" else 1) * (2 if dtype2.kind == "c" else 1)
    direct = costs.direct_seconds(flops, len(axes), accumulator(np.result_type(dtype1, dtype2)), threads)
    if not axes or (method == "auto" and direct < costs.FOURIER_CALL_SECONDS):
        return direct, None

    from fastconv.algorithms import fourier

    dtype = fourier.work_dtype(dtype1, dtype2)
    check_size("the result", size, dtype)
    return direct, fourier.best_blocks(shape1, shape2, low, size, axes, dtype, threads)


def _is_safe(in1: np.ndarray, in2: np.ndarray, blocks: Blocks) -> bool:
    """Whether transforms give what the sum does: of finite numbers up to rounding, of integers exactly."""
    by_value()
    if "f" in in1.dtype.kind + in2.dtype.kind or "c" in in1.dtype.kind + in2.dtype.kind:
        if config.current_precision() == "strict":
            return False
        return all(a.dtype.kind not in "fc" or bool(np.isfinite(a).all()) for a in (in1, in2))
    # Where rounding the transform's result is certain to be exact: its error is about
    # eps * log2(points) times the norms of the inputs.
    largest = [max(abs(int(a.min())), abs(int(a.max()))) for a in (in1, in2)]
    points = prod(cut.length for cut in blocks.cuts)
    norms = largest[0] * largest[1] * sqrt(min(in1.size, points)) * sqrt(min(in2.size, points))
    return 8 * float(np.finfo(float).eps) * log2(points) * norms < 0.5


def by_fft(
    in1: np.ndarray, in2: np.ndarray, blocks: Blocks, out: np.ndarray | None, threads: int | None, warn: bool
) -> np.ndarray:
    """Convolve by transforms; integers are rounded.  `warn` of NaN and infinity, which they spread."""
    from fastconv.algorithms import fourier

    dtype = np.result_type(in1.dtype, in2.dtype)
    result = new_or_checked_out(out, blocks.size, dtype, {"in1": in1, "in2": in2})
    fourier.convolve(in1, in2, result, blocks, config.resolve_threads(threads))
    if warn:
        _warn_unless_finite(result)
    return result


def _warn_unless_finite(result: np.ndarray) -> None:
    """Warn the caller of fastconv, as SciPy does."""
    with np.errstate(all="ignore"):
        if result.dtype.kind not in "fc" or np.isfinite(result.sum()):
            return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "fastconv":
        level, frame = level + 1, frame.f_back
    warnings.warn(
        "Use of fft convolution on input with NAN or inf results in NAN or inf output; method='direct' keeps them in place",
        RuntimeWarning,
        stacklevel=level,
    )
