"""What convolutions along any axes have in common: arguments, outputs asked for, transforms asked for."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

from fastconv import config
from fastconv.device import as_device, on_device
from fastconv.replay import by_value
from fastconv.validate import as_array, check_size, new_or_checked_out

__all__ = [
    "METHODS",
    "MODES",
    "by_fft",
    "check_dimensions",
    "must_swap",
    "operand",
    "outputs",
    "taps_of_same",
    "without_idle_taps",
]

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


def taps_of_same(in1: np.ndarray, in2: np.ndarray, *, flipped: bool = False) -> np.ndarray:
    """The part of `in2` that meets `in1` in "same" mode: of ``K`` elements along an axis the middle ``2N-1``.

    With `flipped`, `in2` is the kernel of a correlation.
    """
    index = []
    for n, k in zip(in1.shape, in2.shape, strict=True):
        first = max((k - 1) // 2 - (n - 1), 0)
        last = min((k - 1) // 2 + n, k)
        index.append(slice(k - last, k - first) if flipped else slice(first, last))
    return in2[tuple(index)]


def without_idle_taps(in1: np.ndarray, in2: np.ndarray, mode: str, *, flipped: bool = False) -> np.ndarray:
    """`taps_of_same` if that leaves most of `in2` out, and nothing that would make zeros NaN."""
    if mode != "same" or in2.size < 2 * in1.size or on_device(in1, in2):
        return in2
    if in2.dtype.kind in "fc":
        by_value()
        if not np.isfinite(in2).all():
            return in2
    return taps_of_same(in1, in2, flipped=flipped)


def by_fft(in1: np.ndarray, in2: np.ndarray, mode: str, out: np.ndarray | None, threads: int | None) -> np.ndarray:
    """Convolve by transforms, because they are asked for; integers are rounded, NaN and infinity spread, with a warning.

    For "valid" mode, `in1` is the larger array.
    """
    if on_device(in1, in2):
        raise TypeError("method must be 'direct' or 'auto' for arrays on a device: they are not copied to the host")

    from fastconv.algorithms import fourier

    axes = tuple(axis for axis in range(in1.ndim) if in1.shape[axis] > 1 and in2.shape[axis] > 1)
    low, size = outputs(mode, in1.shape, in2.shape, axes)
    dtype, sums, workers = (
        np.result_type(in1, in2),
        fourier.work_dtype(in1.dtype, in2.dtype),
        config.resolve_threads(threads),
    )
    check_size("the result", size, sums)
    result = new_or_checked_out(out, size, dtype, {"in1": in1, "in2": in2})
    if axes:
        blocks = fourier.best_blocks(in1.shape, in2.shape, low, size, axes, sums, workers)
        fourier.convolve(in1, in2, result, blocks, workers)
    else:
        with np.errstate(all="ignore"):
            result[...] = (in1 * in2)[tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))]
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
