"""Convolution by Fourier transforms: `fftconvolve`, `oaconvolve`, and when it is worth it: `choose_conv_method`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache, partial
from math import inf, prod
from timeit import Timer
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastconv import config, costs
from fastconv.device import on_device
from fastconv.plan import planned
from fastconv.signal import direct
from fastconv.signal.method import (
    MODES,
    check_dimensions,
    must_swap,
    operand,
    outputs,
    taps_of_same,
)
from fastconv.signal.sums import Sums
from fastconv.validate import check_size, choice, type_name

if TYPE_CHECKING:
    from fastconv.algorithms.fourier import Blocks

__all__ = ["choose_conv_method", "fftconvolve", "forget_ways", "oaconvolve"]

# What the direct kernels sum as well as transforms do, and faster if it is little.
DIRECT_DTYPES = ("float32", "float64", "complex64", "complex128")


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None, *, threads: int | None = None) -> np.ndarray:
    """Convolve two N-dimensional arrays by Fourier transforms.

    With sizes ``N`` and ``K`` along each of `axes`, the full result is

        z[i] = sum over k of in1[i - k] * in2[k],   0 <= i < N+K-1

    with zeros beyond the edges.  Along other axes the arrays are broadcast and multiplied.

    Parameters
    ----------
    in1, in2 : array_like
        Arrays of the same number of dimensions.
    mode : {"full", "valid", "same"}, optional
        ``"full"``: size ``N+K-1``.  ``"valid"``: ``N-K+1``, without the zeros; the larger array
        comes first.  ``"same"``: the ``N`` elements of the full result from ``(K-1)//2``.
    axes : int or sequence of int or None, optional
        Along which to convolve; default: all.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Floating point, of at least single precision; float64 or complex128 if an array has integers
        or booleans.  If all `axes` have size 1 in one of the arrays, their product in its own dtype.
        If one of the arrays is empty, an empty array of one dimension.

    Raises
    ------
    ValueError
        Different numbers of dimensions, axes that do not exist or repeat, shapes that do not
        broadcast along the other axes, unknown mode, in ``"valid"`` mode two arrays neither of
        which fits into the other.
    TypeError
        Arrays on a GPU.

    Notes
    -----
    Transforms are those of `scipy.fft`.  The error of each output is about the machine epsilon times the
    2-norms of both arrays, so outputs that are much smaller than others lose digits.  float32 is transformed
    in float32.

    Differs from `scipy.signal.fftconvolve`: no more points are transformed than the outputs asked
    for need, and arrays of many signals go part by part, on all threads.  Small problems, where it is
    faster, are summed directly: then errors are smaller, and NaN and infinity reach only the outputs
    that they are part of.  Arrays of different precision are both transformed in the higher one.

    References
    ----------
    T. G. Stockham, "High-speed convolution and correlation", AFIPS Spring Joint Computer Conference
    (1966) 229, doi:10.1145/1464182.1464209.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.signal import fftconvolve
    >>> fftconvolve([1.0, 2.0, 3.0], [1.0, 0.0, -1.0]).round(12)
    array([ 1.,  2.,  2., -2., -3.])
    >>> fftconvolve(np.eye(3), [[1.0, 2.0]], axes=1).shape
    (3, 4)
    """
    return _convolve("fftconvolve", in1, in2, mode, axes, threads)


def oaconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None, *, threads: int | None = None) -> np.ndarray:
    """Convolve two N-dimensional arrays of different sizes by Fourier transforms of overlapping blocks.

    With sizes ``N`` and ``K`` along each of `axes`, the full result is

        z[i] = sum over k of in1[i - k] * in2[k],   0 <= i < N+K-1

    with zeros beyond the edges.  Along other axes the arrays are broadcast and multiplied.

    Parameters
    ----------
    in1, in2 : array_like
        Arrays of the same number of dimensions.
    mode : {"full", "valid", "same"}, optional
        As in `fftconvolve`.
    axes : int or sequence of int or None, optional
        Along which to convolve; default: all.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        As of `fftconvolve`.

    Raises
    ------
    ValueError, TypeError
        As `fftconvolve`.

    Notes
    -----
    Blocks overlap in the input, not in the output (overlap-save).  Their size is the one of the least
    estimated time along all axes together, one block included.  Besides the result, memory is taken
    by the kernel's transform and a few blocks for each thread.

    Differs from `scipy.signal.oaconvolve`: the larger array is cut along all axes, where SciPy may cut
    one array along one axis and the other along another; small problems are summed directly, as in
    `fftconvolve`; arrays of different precision are both transformed in the higher one.

    References
    ----------
    T. G. Stockham, "High-speed convolution and correlation", AFIPS Spring Joint Computer Conference
    (1966) 229, doi:10.1145/1464182.1464209.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.signal import oaconvolve
    >>> signal = np.arange(100_000.0)
    >>> np.allclose(oaconvolve(signal, np.ones(300) / 300, "valid")[:2], [149.5, 150.5])
    True
    """
    return _convolve("oaconvolve", in1, in2, mode, axes, threads)


def choose_conv_method(in1: Any, in2: Any, mode: str = "full", measure: bool = False) -> Any:
    """Tell which method `convolve` and `correlate` take when left to choose.

    Parameters
    ----------
    in1, in2 : array_like
        The arrays to convolve.
    mode : {"full", "valid", "same"}, optional
        As in `convolve`.
    measure : bool, optional
        Time both methods rather than estimate their times.

    Returns
    -------
    method : {"direct", "fft"}
        ``"fft"`` stands for transforms of whole arrays and of blocks.
    times : dict of str to float
        Seconds of each method; only with `measure`.

    Raises
    ------
    ValueError
        Different numbers of dimensions, empty input, unknown mode, in ``"valid"`` mode two arrays
        neither of which fits into the other.

    Notes
    -----
    The estimate is `fastconv.costs`': rates of the direct kernels and of transforms as measured on one
    machine.  Transforms are chosen for finite numbers only, for integers only where rounding their
    results is certain to be exact, and not at all for floating-point numbers in ``precision="strict"``.

    Differs from `scipy.signal.choose_conv_method`: tells what fastconv does, which sums directly up to
    larger kernels and reads the arrays to know.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.signal import choose_conv_method
    >>> choose_conv_method(np.ones(100_000), np.ones(9))
    'direct'
    >>> choose_conv_method(np.ones(100_000), np.ones(90_000))
    'fft'
    """
    if measure:
        times = {m: _seconds(partial(direct.convolve, in1, in2, mode, m)) for m in ("fft", "direct")}
        return min(times, key=times.__getitem__), times
    in1, in2 = operand("in1", in1), operand("in2", in2)
    check_dimensions(in1, in2)
    mode = choice("mode", mode, MODES)
    must_swap(mode, in1.shape, in2.shape)
    if in1.dtype.kind == "O" or in2.dtype.kind == "O" or min(in1.size, in2.size) < costs.MIN_TRANSFORM_TAPS:
        return "direct"
    plans = planned(direct.convolve, (in1, in2, mode), {})
    if not plans or not getattr(plans[-1].problem, "transforms", ""):  # nothing is planned: SciPy's work
        return "direct"
    return "fft" if all(a.dtype.kind not in "fc" or _is_finite(a) for a in (in1, in2)) else "direct"


def _convolve(name: str, in1: Any, in2: Any, mode: str, axes: Any, threads: int | None) -> Any:
    """`fftconvolve` or `oaconvolve`."""
    workers = config.resolve_threads(threads)
    in1, in2 = operand("in1", in1, empty=True), operand("in2", in2, empty=True)
    if on_device(in1, in2):
        return _on_device(name, in1, in2, mode, axes, threads)
    if in1.dtype.kind == "O" or in2.dtype.kind == "O":
        import scipy.signal

        return getattr(scipy.signal, name)(in1, in2, mode, axes)
    check_dimensions(in1, in2)
    if in1.ndim == 0:
        return in1 * in2
    if in1.size == 0 or in2.size == 0:
        return np.asarray([])
    mode = choice("mode", mode, MODES)
    if mode == "same" and axes is None:
        in2 = taps_of_same(in1, in2)
    way = _way(in1.shape, in2.shape, in1.dtype, in2.dtype, mode, _axes(axes, in1.ndim), workers)
    if way.swapped:
        in1, in2 = in2, in1
    if way.blocks is None:
        return (in1 * in2)[tuple(slice(a, a + n) for a, n in zip(way.low, way.size, strict=True))]
    if way.by == "direct" or (way.by == "overlap" and all(_is_finite(a) for a in (in1, in2))):
        in1, in2 = in1.astype(way.dtype, copy=False), in2.astype(way.dtype, copy=False)
        if way.by == "direct":
            return direct.convolve(in1, in2, mode, "direct", threads=threads)
        larger, smaller = (in2, in1) if mode == "full" and in2.size > in1.size else (in1, in2)
        return direct.by_overlap(larger, smaller, mode, threads)

    from fastconv.algorithms import fourier

    out = np.empty(way.size, way.dtype)
    fourier.convolve(in1, in2, out, way.blocks, workers)
    return out


def _on_device(name: str, in1: Any, in2: Any, mode: str, axes: Any, threads: int | None) -> Any:
    """Arrays on a GPU, whose engine transforms blocks where that pays, and sums directly where it does not."""
    from fastconv.algorithms import fourier

    check_dimensions(in1, in2)
    if len(_axes(axes, in1.ndim)) < in1.ndim:
        raise TypeError(f"{name} convolves arrays on a device along all of their axes; got axes {axes}")
    dtype = fourier.work_dtype(in1.dtype, in2.dtype)
    asked = None if dtype == np.result_type(in1.dtype, in2.dtype) else dtype
    return direct.convolve(in1, in2, mode, dtype=asked, threads=threads)


class _Way(NamedTuple):
    """How arrays of certain shapes are convolved."""

    swapped: bool
    low: tuple[int, ...]
    size: tuple[int, ...]
    dtype: np.dtype
    by: str  # "direct", "overlap" (transforms of the engines), "fourier" (of scipy.fft)
    blocks: Blocks | None  # None: a product


@lru_cache(maxsize=512)
def _way(
    shape1: tuple[int, ...],
    shape2: tuple[int, ...],
    dtype1: np.dtype,
    dtype2: np.dtype,
    mode: str,
    axes: tuple[int, ...],
    threads: int,
) -> _Way:
    """Check the shapes, and choose."""
    from fastconv.algorithms import fourier

    # An axis along which one array has one element broadcasts, which is the same.
    axes = tuple(axis for axis in sorted(axes) if shape1[axis] != 1 and shape2[axis] != 1)
    for axis, (n, k) in enumerate(zip(shape1, shape2, strict=True)):
        if axis not in axes and n != k and 1 not in (n, k):
            raise ValueError(
                f"in1 and in2 must broadcast along the axes that are not convolved, as axis {axis}; "
                f"got incompatible shapes {shape1} and {shape2}"
            )
    swapped = must_swap(mode, shape1, shape2, axes)
    if swapped:
        shape1, shape2 = shape2, shape1
    low, size = outputs(mode, shape1, shape2, axes)
    dtype = fourier.work_dtype(dtype1, dtype2)
    check_size("the result", size, dtype)
    if not axes:
        return _Way(swapped, low, size, dtype, "direct", None)
    blocks = fourier.best_blocks(shape1, shape2, low, size, axes, dtype, threads)
    times = {"fourier": blocks.seconds}
    alike = all(k == 1 for axis, k in enumerate(shape2) if axis not in axes)  # one kernel for all signals
    if alike and type_name(dtype) in DIRECT_DTYPES:
        taps = prod(shape2) if mode == "same" else min(prod(shape1), prod(shape2))
        flops = 2 * prod(size) * taps * (4 if dtype.kind == "c" else 1)
        times["direct"] = costs.direct_seconds(flops, size, len(axes), type_name(dtype), threads)
        times["overlap"] = _overlap_seconds(shape1, shape2, mode, dtype, threads)
    return _Way(swapped, low, size, dtype, min(times, key=lambda name: times[name]), blocks)


def _is_finite(array: np.ndarray) -> bool:
    """Whether the sum of the elements is finite: then they are, too."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum()))


def _overlap_seconds(
    shape1: tuple[int, ...], shape2: tuple[int, ...], mode: str, dtype: np.dtype, threads: int
) -> float:
    """Estimated time of `fastconv.algorithms.overlap`; infinite if it cannot do the problem."""
    from fastconv.algorithms import overlap

    if mode == "full" and prod(shape2) > prod(shape1):
        shape1, shape2 = shape2, shape1
    image, kernel = (
        np.lib.stride_tricks.as_strided(np.zeros((), dtype), shape, [0] * len(shape)) for shape in (shape1, shape2)
    )
    pad = tuple({"full": k - 1, "same": k // 2, "valid": 0}[mode] for k in shape2)
    sums = Sums(dtype, type_name(dtype), dtype)
    problem = replace(direct.signal_problem(image, kernel, mode, pad, "fill", sums), transforms="overlap")
    if config.current_engine() not in ("auto", "cython") or overlap.refuse(problem) is not None:
        return inf
    blocks = overlap.best_blocks(problem, threads)
    return inf if blocks is None else blocks.seconds


def forget_ways() -> None:
    """Drop what was chosen by other rates."""
    _way.cache_clear()


def _axes(axes: Any, ndim: int) -> tuple[int, ...]:
    """The argument as different axes counted from the front."""
    if axes is None:
        return tuple(range(ndim))
    try:
        wanted = [operator.index(axis) for axis in (axes if isinstance(axes, Iterable) else [axes])]
    except TypeError:
        raise ValueError(f"axes must be an integer or integers; got {axes!r}") from None
    wanted = [axis + ndim if axis < 0 else axis for axis in wanted]
    if not wanted or any(not 0 <= axis < ndim for axis in wanted) or len(set(wanted)) < len(wanted):
        raise ValueError(f"axes must be one or more different axes of {ndim}; got {axes!r}")
    return tuple(wanted)


def _seconds(call: Callable[[], Any]) -> float:
    """The least time of a call."""
    timer, number = Timer(call), 1
    while (seconds := timer.timeit(number)) < 5e-4 and number < 10**6:
        number *= 10
    return seconds if seconds > 1 else min([seconds, *timer.repeat(3, number)]) / number
