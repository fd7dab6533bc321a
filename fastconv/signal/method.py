"""What convolutions along any axes have in common: arguments, outputs asked for, sum or Fourier transform."""

from __future__ import annotations

import sys
import warnings
from functools import lru_cache
from itertools import product
from math import ceil, log2, prod, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastconv import config, costs
from fastconv.device import as_device, on_device
from fastconv.problem import accumulator
from fastconv.replay import by_value
from fastconv.separability import gain
from fastconv.validate import as_array, check_size, new_or_checked_out

if TYPE_CHECKING:
    from fastconv.algorithms.fourier import Blocks

__all__ = [
    "METHODS",
    "MODES",
    "Transforms",
    "by_fft",
    "check_dimensions",
    "must_swap",
    "operand",
    "outputs",
    "taps_of_same",
    "transforms",
    "without_idle_taps",
]

Shape = tuple[int, ...]

MODES = {"full": "full", "same": "same", "valid": "valid"}
# Integers are cut into at most as many parts.
MOST_PARTS = 4

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


class Transforms(NamedTuple):
    """How to convolve by transforms: in blocks; integers as sums of as many parts, of fewer bits each."""

    blocks: Blocks
    parts: tuple[int, int] = (1, 1)


def transforms(in1: np.ndarray, in2: np.ndarray, mode: str, method: str, threads: int | None) -> Transforms | None:
    """How to convolve by transforms, if they are asked for, or worth it and safe.

    For "valid" mode, `in1` is the larger array.
    """
    if on_device(in1, in2) and method == "fft":
        raise TypeError("method must be 'direct' or 'auto' for arrays on a device: they are not copied to the host")
    if method == "direct" or on_device(in1, in2):
        return None
    flops, direct, blocks = _estimates(
        in1.shape, in2.shape, mode, in1.dtype, in2.dtype, method, config.resolve_threads(threads)
    )
    if blocks is None or (method == "auto" and direct < blocks.seconds):
        return None
    if method == "fft":
        return Transforms(blocks)
    by_value()
    direct /= gain(in2, flops, accumulator(np.result_type(in1.dtype, in2.dtype)))
    if direct < blocks.seconds:
        return None
    if np.result_type(in1.dtype, in2.dtype).kind in "iu":
        parts = _exact_parts(in1, in2, blocks)
        return Transforms(blocks, parts) if prod(parts) * blocks.seconds < direct else None
    finite = all(a.dtype.kind not in "fc" or np.isfinite(a).all() for a in (in1, in2))
    return Transforms(blocks) if finite and config.current_precision() != "strict" else None


@lru_cache(maxsize=512)
def _estimates(
    shape1: Shape, shape2: Shape, mode: str, dtype1: np.dtype, dtype2: np.dtype, method: str, threads: int
) -> tuple[int, float, Blocks | None]:
    """Operations and estimated time of the direct sum, and the way by transforms unless that must be slower."""
    axes = tuple(axis for axis in range(len(shape1)) if shape1[axis] > 1 and shape2[axis] > 1)
    low, size = outputs(mode, shape1, shape2, axes)
    taps = prod(shape2) if mode == "same" else min(prod(shape1), prod(shape2))
    flops = 2 * prod(size) * taps * (2 if dtype1.kind == "c" else 1) * (2 if dtype2.kind == "c" else 1)
    direct = costs.direct_seconds(
        flops, prod(size), len(axes) or 1, accumulator(np.result_type(dtype1, dtype2)), threads
    )
    if not axes or (method == "auto" and direct < costs.FOURIER_CALL_SECONDS):
        return flops, direct, None

    from fastconv.algorithms import fourier

    dtype = fourier.work_dtype(dtype1, dtype2)
    check_size("the result", size, dtype)
    return flops, direct, fourier.best_blocks(shape1, shape2, low, size, axes, dtype, threads)


def _exact_parts(in1: np.ndarray, in2: np.ndarray, blocks: Blocks) -> tuple[int, int]:
    """The fewest parts of integers for which rounding the transforms' results is certain to be exact.

    The error of a result is at most about ``eps log2(points)`` times the 2-norms of the inputs (N. J.
    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed. (2002), section 24.1,
    doi:10.1137/1.9780898718027).
    """
    points = prod(cut.length for cut in blocks.cuts)
    norms = sqrt(min(in1.size, points)) * sqrt(min(in2.size, points))
    bits = log2(0.5 / (8 * float(np.finfo(float).eps) * log2(points) * norms))  # of a product of parts
    bits1, bits2 = (max(int(a.max()), -int(a.min()), 1).bit_length() for a in (in1, in2))
    pairs = [(m, n) for m in range(1, MOST_PARTS + 1) for n in range(1, MOST_PARTS + 1)]
    certain = [(m, n) for m, n in pairs if ceil(bits1 / m) + ceil(bits2 / n) <= bits]
    return min(certain, key=prod, default=(MOST_PARTS**2, MOST_PARTS**2))


def by_fft(
    in1: np.ndarray, in2: np.ndarray, way: Transforms, out: np.ndarray | None, threads: int | None, warn: bool
) -> np.ndarray:
    """Convolve by transforms; integers are rounded.  `warn` of NaN and infinity, which they spread."""
    from fastconv.algorithms import fourier

    dtype, workers = np.result_type(in1.dtype, in2.dtype), config.resolve_threads(threads)
    result = new_or_checked_out(out, way.blocks.size, dtype, {"in1": in1, "in2": in2})
    if way.parts == (1, 1):
        fourier.convolve(in1, in2, result, way.blocks, workers)
    else:
        result[...] = 0
        term = np.empty_like(result)
        for (shift1, part1), (shift2, part2) in product(_split(in1, way.parts[0]), _split(in2, way.parts[1])):
            if shift1 + shift2 < 8 * dtype.itemsize:  # the others wrap to nothing
                fourier.convolve(part1, part2, term, way.blocks, workers)
                result += term << dtype.type(shift1 + shift2)
    if warn:
        _warn_unless_finite(result)
    return result


def _split(array: np.ndarray, parts: int) -> list[tuple[int, np.ndarray]]:
    """Integers as a sum of numbers of about equally many bits, each shifted to its place."""
    if parts == 1:
        return [(0, array)]
    bits = -(-max(int(array.max()), -int(array.min()), 1).bit_length() // parts)
    pieces = []
    for i in range(parts):
        rest = array >> array.dtype.type(i * bits)  # rounds down, so all pieces but the last are positive
        pieces.append((i * bits, rest & array.dtype.type(2**bits - 1) if i < parts - 1 else rest))
    return pieces


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
