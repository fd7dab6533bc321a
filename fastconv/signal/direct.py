"""Convolution and correlation of arrays: `convolve`, `correlate` and their two-dimensional forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastconv.boundary import SIGNAL_BOUNDARIES
from fastconv.choice import chosen
from fastconv.device import native
from fastconv.plan import execute
from fastconv.problem import ConvProblem, accumulator
from fastconv.replay import conjugate, remembered
from fastconv.separability import with_rank
from fastconv.signal.method import (
    METHODS,
    MODES,
    by_fft,
    check_dimensions,
    must_swap,
    operand,
    without_idle_taps,
)
from fastconv.signal.products import FEW, are_long, inner_products
from fastconv.signal.sums import Sums, asked_sums
from fastconv.validate import as_array, choice, fill_value, new_or_checked_out, result_type, type_name

__all__ = ["by_overlap", "convolve", "convolve2d", "correlate", "correlate2d", "signal_problem"]

DTYPES = (
    "int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64 complex64 complex128 "
    + " ".join({np.dtype(np.longdouble).name, np.dtype(np.clongdouble).name} - {"float64", "complex128"})
)  # fmt: skip

# What `convolve` and `correlate` compute; SciPy does the rest, longdouble among it.
SERVED = "int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64 complex64 complex128".split()
# What kernels read; float16 is converted before, longdouble summed by the reference.
READ = {*DTYPES.split(), "bool"}
# Types that no kernel sums, but a wider one does: a boolean sum is whether any product is true.
WIDER = {"bool": np.dtype(np.uint32), "float16": np.dtype(np.float32)}


@remembered(arrays=2)
def convolve2d(
    in1: Any,
    in2: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: Any = 0,
    *,
    out: np.ndarray | None = None,
    dtype: Any = None,
    casting: str = "wrap",
    threads: int | None = None,
) -> np.ndarray:
    """Convolve two 2-D arrays.

    With ``in1`` of shape ``(H, W)`` and ``in2`` of shape ``(K, L)``, the full result is

        z[i, j] = sum over m, n of in1[i - m, j - n] * in2[m, n],   0 <= i < H+K-1, 0 <= j < W+L-1

    where ``in1`` is continued beyond its edges by `boundary`.  Convolution flips the kernel;
    `correlate2d` does not.

    Parameters
    ----------
    in1, in2 : array_like
        2-D arrays of integers, real or complex numbers: image ``(H, W)`` and kernel ``(K, L)``.
    mode : {"full", "valid", "same"}, optional
        ``"full"``: shape ``(H+K-1, W+L-1)``.  ``"valid"``: only where the kernel lies inside
        the image, ``(H-K+1, W-L+1)``; the larger array is the image.  ``"same"``: the
        ``(H, W)`` elements of the full result that start at ``((K-1)//2, (L-1)//2)``.
    boundary : {"fill", "wrap", "symm"}, optional
        ``"fill"``: constant `fillvalue`.  ``"wrap"``: periodic.  ``"symm"``: mirrored about the
        edge.  SciPy's synonyms "pad", "circular" and "symmetric" are taken too.
    fillvalue : scalar, optional
        For ``boundary="fill"``.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    dtype : dtype, optional
        Dtype of the result and its sums, whatever the inputs: uint8 with ``dtype="int32"`` does not
        wrap.  Sums of floating-point inputs in an integer result keep the inputs' precision and are
        truncated in the end.
    casting : {"wrap", "saturate"}, optional
        What becomes of integer results out of range.  ``"wrap"``: they wrap around.  ``"saturate"``:
        the true sum is clamped to the dtype's range; of floating-point inputs rounded to the nearest
        integer before, halves to even, and NaN becomes 0.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Dtype ``numpy.result_type(in1, in2)``.  Integers wrap around as SciPy's do.

    Raises
    ------
    ValueError
        Wrong dimensions, empty input, unknown mode or boundary, in ``"valid"`` mode two
        arrays neither of which fits into the other, an `out` that cannot take the result.
    TypeError
        Dtypes that are not numbers, or that SciPy does not convolve (bool, float16).

    Notes
    -----
    Differs from `scipy.signal.convolve2d`: an empty input raises `ValueError`; float32 sums
    are vectorised, so their last bits differ.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.signal import convolve2d
    >>> convolve2d(np.arange(9.0).reshape(3, 3), [[1, 0], [0, -1]], mode="valid")
    array([[4., 4.],
           [4., 4.]])
    """
    in1, in2 = as_array("in1", in1, ndim=2), as_array("in2", in2, ndim=2)
    mode, rule = choice("mode", mode, MODES), choice("boundary", boundary, SIGNAL_BOUNDARIES)
    sums = asked_sums(in1, in2, dtype, casting, fillvalue)
    if must_swap(mode, in1.shape, in2.shape):
        in1, in2 = in2, in1
    return _run(in1, in2[::-1, ::-1], mode, _pads(mode, in2.shape), rule, fillvalue, out, threads, sums=sums)


@remembered(arrays=2)
def correlate2d(
    in1: Any,
    in2: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: Any = 0,
    *,
    out: np.ndarray | None = None,
    dtype: Any = None,
    casting: str = "wrap",
    threads: int | None = None,
) -> np.ndarray:
    """Cross-correlate two 2-D arrays.

    With ``in1`` of shape ``(H, W)`` and ``in2`` of shape ``(K, L)``, the full result is

        z[i, j] = sum over m, n of in1[i - (K-1) + m, j - (L-1) + n] * conj(in2[m, n])

    for ``0 <= i < H+K-1``, ``0 <= j < W+L-1``, where ``in1`` is continued beyond its edges by
    `boundary`.  The kernel is not flipped; `convolve2d` flips it.

    Parameters
    ----------
    in1, in2 : array_like
        2-D arrays of integers, real or complex numbers: image ``(H, W)`` and kernel ``(K, L)``.
    mode : {"full", "valid", "same"}, optional
        ``"full"``: shape ``(H+K-1, W+L-1)``.  ``"valid"``: only where the kernel lies inside
        the image, ``(H-K+1, W-L+1)``; the larger array is the image.  ``"same"``: the
        ``(H, W)`` elements of the full result that start at ``(K//2, L//2)``.
    boundary : {"fill", "wrap", "symm"}, optional
        ``"fill"``: constant `fillvalue`.  ``"wrap"``: periodic.  ``"symm"``: mirrored about the
        edge.  SciPy's synonyms "pad", "circular" and "symmetric" are taken too.
    fillvalue : scalar, optional
        For ``boundary="fill"``.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    dtype : dtype, optional
        Dtype of the result and its sums, whatever the inputs: uint8 with ``dtype="int32"`` does not
        wrap.  Sums of floating-point inputs in an integer result keep the inputs' precision and are
        truncated in the end.
    casting : {"wrap", "saturate"}, optional
        What becomes of integer results out of range.  ``"wrap"``: they wrap around.  ``"saturate"``:
        the true sum is clamped to the dtype's range; of floating-point inputs rounded to the nearest
        integer before, halves to even, and NaN becomes 0.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Dtype ``numpy.result_type(in1, in2)``.  Integers wrap around as SciPy's do.

    Raises
    ------
    ValueError
        Wrong dimensions, empty input, unknown mode or boundary, in ``"valid"`` mode two
        arrays neither of which fits into the other, an `out` that cannot take the result.
    TypeError
        Dtypes that are not numbers, or that SciPy does not correlate (bool, float16).

    Notes
    -----
    Differs from `scipy.signal.correlate2d`: an empty input raises `ValueError`; float32 sums
    are vectorised, so their last bits differ.  As in SciPy, ``"valid"`` with a larger `in2`
    correlates `in2` with the conjugate of `in1` and reverses the result.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.signal import correlate2d
    >>> correlate2d(np.arange(9.0).reshape(3, 3), [[1, 0], [0, -1]], mode="valid")
    array([[-4., -4.],
           [-4., -4.]])
    """
    in1, in2 = as_array("in1", in1, ndim=2), as_array("in2", in2, ndim=2)
    mode, rule = choice("mode", mode, MODES), choice("boundary", boundary, SIGNAL_BOUNDARIES)
    sums = asked_sums(in1, in2, dtype, casting, fillvalue)
    swapped = must_swap(mode, in1.shape, in2.shape)
    if swapped:
        in1, in2 = in2, in1
    pad = tuple((k - 1) // 2 for k in in2.shape) if mode == "same" else _pads(mode, in2.shape)
    return _run(in1, conjugate(in2), mode, pad, rule, fillvalue, out, threads, swapped, sums)


@remembered(arrays=2)
def convolve(
    in1: Any,
    in2: Any,
    mode: str = "full",
    method: str = "auto",
    *,
    out: np.ndarray | None = None,
    dtype: Any = None,
    casting: str = "wrap",
    threads: int | None = None,
) -> np.ndarray:
    """Convolve two N-dimensional arrays.

    With sizes ``N`` and ``K`` along an axis, the full result is, along each axis,

        z[i] = sum over k of in1[i - k] * in2[k],   0 <= i < N+K-1

    with zeros beyond the edges of ``in1``.

    Parameters
    ----------
    in1, in2 : array_like
        Arrays of the same number of dimensions.
    mode : {"full", "valid", "same"}, optional
        ``"full"``: size ``N+K-1``.  ``"valid"``: ``N-K+1``, without the zeros; the larger array
        comes first.  ``"same"``: the ``N`` elements of the full result from ``(K-1)//2``.
    method : {"auto", "direct", "fft"}, optional
        ``"direct"`` sums products.  ``"fft"`` multiplies Fourier transforms, of the whole arrays or
        of overlapping blocks, and rounds integer results.  ``"auto"`` takes transforms where they
        are estimated to be faster and the data are finite numbers, or integers so small that the
        rounded result is certain to be exact (`choose_conv_method`).
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    dtype : dtype, optional
        Dtype of the result and its sums, whatever the inputs: uint8 with ``dtype="int32"`` does not
        wrap.  Sums of floating-point inputs in an integer result keep the inputs' precision and are
        truncated in the end.
    casting : {"wrap", "saturate"}, optional
        What becomes of integer results out of range.  ``"wrap"``: they wrap around.  ``"saturate"``:
        the true sum is clamped to the dtype's range; of floating-point inputs rounded to the nearest
        integer before, halves to even, and NaN becomes 0.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Dtype ``numpy.result_type(in1, in2)``.  Integers wrap around as SciPy's do.

    Raises
    ------
    ValueError
        Different numbers of dimensions, empty input, unknown mode or method, in ``"valid"``
        mode two arrays neither of which fits into the other, an unfit `out`, dtypes that SciPy
        convolves in one dimension only (bool, float16, object).
    TypeError
        Dtypes that are not numbers.

    Notes
    -----
    longdouble and objects are left to SciPy; float16 is summed in float32.

    Differs from `scipy.signal.convolve`: with ``method="auto"``, NaN and infinity stay in the outputs
    that the formula has them in.  The zeros beyond the edges are multiplied like other numbers, so
    NaN or infinity in `in2` reaches every output in one dimension too.  Transforms of booleans are
    rounded.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> from fastconv.signal import convolve
    >>> convolve([1, 2, 3], [1, 0, -1])
    array([ 1,  2,  2, -2, -3])
    """
    in1, in2, mode, method = _nd_arguments(in1, in2, mode, method)
    sums = asked_sums(in1, in2, dtype, casting)
    if sums is None and not _is_served(in1, in2):
        return _elsewhere(convolve, in1, in2, mode, method, out, threads)
    if must_swap(mode, in1.shape, in2.shape) or (mode == "full" and in2.size > in1.size):
        in1, in2 = in2, in1
    in1, in2, method = _prepared(in1, in2, method, sums)
    in2 = without_idle_taps(in1, in2, mode)
    if method == "fft":
        return by_fft(*_as_summed(in1, in2, sums), mode, out, threads)
    return _run(in1, np.flip(in2), mode, _pads(mode, in2.shape), "fill", 0, out, threads, sums=sums, method=method)


@remembered(arrays=2)
def correlate(
    in1: Any,
    in2: Any,
    mode: str = "full",
    method: str = "auto",
    *,
    out: np.ndarray | None = None,
    dtype: Any = None,
    casting: str = "wrap",
    threads: int | None = None,
) -> np.ndarray:
    """Cross-correlate two N-dimensional arrays.

    With sizes ``N`` and ``K`` along an axis, the full result is, along each axis,

        z[i] = sum over k of in1[i - (K-1) + k] * conj(in2[k]),   0 <= i < N+K-1

    with zeros beyond the edges of ``in1``.

    Parameters
    ----------
    in1, in2 : array_like
        Arrays of the same number of dimensions.
    mode : {"full", "valid", "same"}, optional
        ``"full"``: size ``N+K-1``.  ``"valid"``: ``N-K+1``, without the zeros; the larger array
        comes first.  ``"same"``: the ``N`` elements of the full result from ``(K-1)//2``.
    method : {"auto", "direct", "fft"}, optional
        As in `convolve`.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    dtype : dtype, optional
        Dtype of the result and its sums, whatever the inputs: uint8 with ``dtype="int32"`` does not
        wrap.  Sums of floating-point inputs in an integer result keep the inputs' precision and are
        truncated in the end.
    casting : {"wrap", "saturate"}, optional
        What becomes of integer results out of range.  ``"wrap"``: they wrap around.  ``"saturate"``:
        the true sum is clamped to the dtype's range; of floating-point inputs rounded to the nearest
        integer before, halves to even, and NaN becomes 0.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Dtype ``numpy.result_type(in1, in2)``.  Integers wrap around as SciPy's do.

    Raises
    ------
    ValueError
        Different numbers of dimensions, empty input, unknown mode or method, in ``"valid"``
        mode two arrays neither of which fits into the other, an unfit `out`, dtypes that SciPy
        correlates in one dimension only (bool, float16, object).
    TypeError
        Dtypes that are not numbers.

    Notes
    -----
    longdouble and objects are left to SciPy; float16 is summed in float32.

    Differs from `scipy.signal.correlate`: with ``method="auto"``, NaN and infinity stay in the outputs
    that the formula has them in.  The zeros beyond the edges are multiplied like other numbers, so
    NaN or infinity in `in2` reaches every output in one dimension too.  Transforms of booleans are
    rounded.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> from fastconv.signal import correlate
    >>> correlate([1, 2, 3], [0, 1, 0.5])
    array([0.5, 2. , 3.5, 3. , 0. ])
    """
    in1, in2, mode, method = _nd_arguments(in1, in2, mode, method)
    sums = asked_sums(in1, in2, dtype, casting)
    if sums is None and not _is_served(in1, in2):
        return _elsewhere(correlate, in1, in2, mode, method, out, threads)
    swapped = must_swap(mode, in1.shape, in2.shape) or (mode == "full" and in2.size > in1.size)
    in1, in2, method = _prepared(in1, in2, method, sums)
    in2 = without_idle_taps(in1, in2, mode, flipped=True)
    if method == "fft":
        in1, in2 = _as_summed(in1, in2, sums)
        larger, smaller = (np.flip(in2).conj(), in1) if swapped else (in1, np.flip(in2).conj())
        return by_fft(larger, smaller, mode, out, threads)
    # corr(a, b) is the reversed conjugate of corr(b, a)
    image, kernel = (conjugate(in2), in1) if swapped else (in1, conjugate(in2))
    return _run(image, kernel, mode, _pads(mode, kernel.shape), "fill", 0, out, threads, swapped, sums, method)


# -- what the four have in common -----------------------------------------------------------


def _nd_arguments(in1: Any, in2: Any, mode: str, method: str) -> tuple[np.ndarray, np.ndarray, str, str]:
    in1, in2 = operand("in1", in1), operand("in2", in2)
    check_dimensions(in1, in2)
    return in1, in2, choice("mode", mode, MODES), choice("method", method, METHODS)


def _is_served(in1: np.ndarray, in2: np.ndarray) -> bool:
    """Whether the arrays combine to a type that can be summed here."""
    return type_name(np.result_type(in1.dtype, in2.dtype)) in SERVED


def _elsewhere(
    function: Callable[..., np.ndarray],
    in1: np.ndarray,
    in2: np.ndarray,
    mode: str,
    method: str,
    out: np.ndarray | None,
    threads: int | None,
) -> np.ndarray:
    """Boolean and half-precision signals are summed in a wider type; the rest is left to SciPy."""
    dtype = np.result_type(in1.dtype, in2.dtype)
    wider = WIDER.get(type_name(dtype))
    if wider is not None and in1.ndim == 1 and (mode != "same" or in1.size >= in2.size or method == "fft"):
        result = function(in1.astype(wider), in2.astype(wider), mode, method, threads=threads)
        result = result.astype(dtype)
    else:
        import scipy.signal

        try:
            result = getattr(scipy.signal, function.__name__)(in1, in2, mode, method)
        except ValueError as error:
            if "Unsupported type" not in str(error):
                raise
            raise ValueError(
                f"in1 and in2 must combine to a type that is convolved in {in1.ndim} dimensions, as {', '.join(SERVED)}; "
                f"got {in1.dtype} and {in2.dtype}"
            ) from None
    if out is None:
        return result
    checked = new_or_checked_out(out, result.shape, result.dtype, {"in1": in1, "in2": in2})
    checked[...] = result
    return checked


def _prepared(in1: np.ndarray, in2: np.ndarray, method: str, sums: Sums | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Arrays of types that can be summed, and "direct" for what transforms cannot give: a conversion in the end."""
    if sums is None:
        return in1, in2, method
    if not sums.converts:
        return (in1, in2, method) if _is_served(in1, in2) else (*_as_summed(in1, in2, sums), method)
    if method == "fft":
        raise ValueError(f"method must be 'auto' or 'direct' for sums to be converted to {sums.dtype}; got 'fft'")
    return in1, in2, "direct"


def _as_summed(in1: np.ndarray, in2: np.ndarray, sums: Sums | None) -> tuple[np.ndarray, np.ndarray]:
    """The arrays in the dtype that was asked for."""
    return (in1, in2) if sums is None else (in1.astype(sums.dtype, copy=False), in2.astype(sums.dtype, copy=False))


def _pads(mode: str, kernel_shape: tuple[int, ...]) -> tuple[int, ...]:
    """How far the first output's window reaches beyond the image, for a kernel in correlation order."""
    return tuple({"full": k - 1, "same": k // 2, "valid": 0}[mode] for k in kernel_shape)


def _out_shape(mode: str, shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> tuple[int, ...]:
    extra = {"full": 1, "same": 0, "valid": -1}[mode]
    return tuple(n + extra * (k - 1) for n, k in zip(shape, kernel_shape, strict=True))


def _run(
    image: np.ndarray,
    kernel: np.ndarray,
    mode: str,
    pad: tuple[int, ...],
    rule: str,
    fillvalue: Any,
    out: np.ndarray | None,
    threads: int | None,
    reverse: bool = False,
    sums: Sums | None = None,
    method: str = "auto",
) -> np.ndarray:
    """Correlate an image with a kernel given in correlation order; `reverse` flips the result."""
    if sums is None:
        dtype = result_type(DTYPES, in1=image, in2=kernel)
        sums = Sums(dtype, accumulator(dtype), dtype)
    dtype = sums.dtype
    fill = fill_value("fillvalue", fillvalue, sums.fill)
    shape = _out_shape(mode, image.shape, kernel.shape)
    result = new_or_checked_out(out, shape, dtype, {"in1": image, "in2": kernel})
    target = np.flip(result) if reverse else result
    if mode == "valid" and result.size <= FEW and sums.acc == accumulator(dtype) and are_long(image, kernel):
        inner_products(image, kernel, target)
        return result if result.ndim or out is not None else result[()]
    if type_name(image.dtype) not in READ or (fill.imag and image.dtype.kind != "c"):
        image = image.astype(sums.acc)
    if kernel.dtype.kind == "b" and dtype.kind == "c":
        kernel = kernel.view(np.uint8)  # to be negated
    problem = signal_problem(image, kernel, mode, pad, rule, sums)
    if method == "overlap":
        problem = replace(problem, transforms=method)
    elif method == "direct":
        problem = with_rank(problem, kernel, fill)
    else:
        problem = chosen(problem, image, kernel, fill, threads)
    execute(problem, image[None, None], kernel[None, None], target[None, None], fill=fill, threads=threads)
    return native(result if result.ndim or out is not None else result[()])  # a scalar, as SciPy's


def signal_problem(image: Any, kernel: Any, mode: str, pad: tuple[int, ...], rule: str, sums: Sums) -> ConvProblem:
    """What is to be computed for an image and a kernel in correlation order, of which shapes and dtypes are read."""
    axes = image.ndim
    return ConvProblem(
        in_shape=image.shape,
        kernel_shape=kernel.shape,
        out_shape=_out_shape(mode, image.shape, kernel.shape),
        in_dtype=type_name(image.dtype),
        kernel_dtype=type_name(kernel.dtype),
        acc=sums.acc,
        out_dtype=type_name(sums.dtype),
        pad=pad,
        boundary=(rule,) * axes,
        stride=(1,) * axes,
        dilation=(1,) * axes,
        saturate=sums.saturate,
    )


def by_overlap(in1: np.ndarray, in2: np.ndarray, mode: str, threads: int | None) -> np.ndarray:
    """Convolve by the engines' transforms; `in1` is the larger array, and both are of the result's dtype."""
    return _run(in1, np.flip(in2), mode, _pads(mode, in2.shape), "fill", 0, None, threads, method="overlap")
