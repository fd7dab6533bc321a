"""Convolution and correlation with weights that the caller gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.ndimage.arguments import (
    DTYPES,
    boundary_rule,
    checked_cval,
    filtered_axes,
    output_array,
    per_axis,
    writable,
)
from fastconv.plan import execute
from fastconv.problem import ConvProblem
from fastconv.replay import remembered
from fastconv.separability import with_rank
from fastconv.validate import ArgumentError, as_array, axis_index, int_tuple, type_name

__all__ = ["convolve", "convolve1d", "correlate", "correlate1d", "correlate_into", "line_order"]


@remembered(arrays=2)
def correlate(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Cross-correlate an array of any number of dimensions with a kernel; the result has the input's shape.

    With `weights` of size ``K`` along an axis,

        output[i] = sum over k of input[i + k - K//2 - origin] * weights[k]

    along each axis of `axes`, where `input` is continued beyond its edges by `mode`.
    Complex weights are conjugated.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    weights : array_like
        As many dimensions as `axes`.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype, or a complex one where input or weights are complex.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, optional
        How the input is continued: ``d c b a | a b c d | d c b a``, ``cval``, ``a a | a b c d | d d``,
        ``d c b | a b c d | c b a``, periodically.  SciPy's synonyms "grid-mirror", "grid-constant" and
        "grid-wrap" are taken too.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int or sequence of int, optional
        Shifts the kernel: positive values to the left.
    axes : int, sequence of int, optional
        Axes to filter along; default all.  As in SciPy, the dimensions of `weights` belong to
        them in ascending order.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Weights of the wrong dimensions, unknown mode, `origin` outside the kernel, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.correlate`: float32 results of float32 input are summed in
    float32 (SciPy: double).  Weights below 2.2e-16 and NaN weights count (SciPy drops them).
    Integer results are exactly SciPy's: summed in double in SciPy's order, then truncated.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import correlate
    >>> correlate(np.array([1, 2, 4, 8]), [-1, 0, 1])
    array([1, 3, 6, 4])
    """
    return _filter(input, weights, output, mode, cval, origin, axes, threads, flip=False)


@remembered(arrays=2)
def convolve(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int | Iterable[int] = 0,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Convolve an array of any number of dimensions with a kernel; the result has the input's shape.

    With `weights` of size ``K`` along an axis,

        output[i] = sum over k of input[i - k + K//2 - origin'] * weights[k]

    along each axis of `axes`, where ``origin' = -origin`` and `input` is continued beyond its
    edges by `mode`: the kernel of `correlate` is flipped.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    weights : array_like
        As many dimensions as `axes`.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype, or a complex one where input or weights are complex.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, optional
        How the input is continued; see `correlate`.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int or sequence of int, optional
        Shifts the kernel: positive values to the right.
    axes : int, sequence of int, optional
        Axes to filter along; default all.  As in SciPy, the dimensions of `weights` belong to
        them in ascending order.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Weights of the wrong dimensions, unknown mode, `origin` outside the kernel, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.convolve` as `correlate` does from SciPy's.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import convolve
    >>> convolve(np.array([1, 2, 4, 8]), [-1, 0, 1])
    array([-1, -3, -6, -4])
    """
    return _filter(input, weights, output, mode, cval, origin, axes, threads, flip=True)


@remembered(arrays=2)
def correlate1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
    *,
    threads: int | None = None,
) -> np.ndarray:
    """Cross-correlate an array with a one-dimensional kernel along one axis.

    With ``K`` weights, along `axis`,

        output[i] = sum over k of input[i + k - K//2 - origin] * weights[k]

    where `input` is continued beyond its edges by `mode`.  Complex weights are conjugated.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    weights : array_like
        One-dimensional.
    axis : int, optional
        Axis to filter along.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, optional
        How the input is continued; see `correlate`.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int, optional
        Shifts the kernel: positive values to the left.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Weights not one-dimensional or empty, unknown mode, `origin` outside the kernel, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.correlate1d` as `correlate` does from SciPy's.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> from fastconv.ndimage import correlate1d
    >>> correlate1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3])
    array([ 8, 26,  8, 12,  7, 28, 36,  9])
    """
    return _filter1d(input, weights, axis, output, mode, cval, origin, threads, flip=False)


@remembered(arrays=2)
def convolve1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
    *,
    threads: int | None = None,
) -> np.ndarray:
    """Convolve an array with a one-dimensional kernel along one axis.

    With ``K`` weights, along `axis`,

        output[i] = sum over k of input[i - k + K//2 + origin] * weights[k]

    where `input` is continued beyond its edges by `mode`.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32, float64, complex64 or complex128.
    weights : array_like
        One-dimensional.
    axis : int, optional
        Axis to filter along.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, optional
        How the input is continued; see `correlate`.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int, optional
        Shifts the kernel: positive values to the right.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        Weights not one-dimensional or empty, unknown mode, `origin` outside the kernel, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.convolve1d` as `correlate` does from SciPy's.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    Examples
    --------
    >>> from fastconv.ndimage import convolve1d
    >>> convolve1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3])
    array([14, 24,  4, 13, 12, 36, 27,  0])
    """
    return _filter1d(input, weights, axis, output, mode, cval, origin, threads, flip=True)


# -- what the four have in common -----------------------------------------------------------


def _filter(
    input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any, threads: int | None, flip: bool
) -> np.ndarray:
    image, kernel = as_array("input", input, empty=True), as_array("weights", weights)
    axes = filtered_axes(axes, image.ndim)
    if kernel.ndim != len(axes):
        raise ArgumentError(f"weights must have {len(axes)} dimensions, one for each axis; got shape {kernel.shape}")
    if type(origin) is not int:
        origin = per_axis("origin", origin, len(axes))  # as in SciPy, a sequence of one does not stand for all
    origins = int_tuple("origin", origin, len(axes)) if axes else ()
    return _run(image, kernel, output, mode, cval, origins, axes, threads, flip, order="order")


def _filter1d(
    input: Any, weights: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any, threads: int | None, flip: bool
) -> np.ndarray:
    image, kernel = as_array("input", input, empty=True), as_array("weights", weights)
    if kernel.ndim != 1:
        raise ArgumentError(f"weights must have 1 dimension; got shape {kernel.shape}")
    axis = axis_index("axis", axis, image.ndim)
    origins = int_tuple("origin", origin, 1)
    return _run(image, kernel, output, mode, cval, origins, (axis,), threads, flip, order=line_order(kernel))


def _run(
    image: np.ndarray,
    kernel: np.ndarray,
    output: Any,
    mode: Any,
    cval: Any,
    origins: tuple[int, ...],
    axes: tuple[int, ...],
    threads: int | None,
    flip: bool,
    order: str,
) -> np.ndarray:
    for name, array in (("input", image), ("weights", kernel)):
        if type_name(array.dtype) not in DTYPES and not (name == "weights" and array.dtype.kind in "iuf"):
            raise TypeError(f"{name} must have one of the dtypes {', '.join(DTYPES)}; got {array.dtype}")
    # As in SciPy, the kernel's axes belong to the filtered ones in ascending order, the origins
    # to them as they are named (if some axes are left out).
    kernel = np.expand_dims(kernel, tuple(a for a in range(image.ndim) if a not in axes))
    shift_of = dict(zip(sorted(axes) if len(axes) == image.ndim else axes, origins, strict=True))
    shifts = [shift_of.get(a, 0) for a in range(image.ndim)]
    for size, shift in zip(kernel.shape, shifts, strict=True):
        if not -(size // 2) <= shift <= (size - 1) // 2:
            raise ArgumentError(
                f"origin must be in [{-(size // 2)}, {(size - 1) // 2}] for weights of size {size}; got {shift}"
            )
    rule = boundary_rule(mode)
    cval = checked_cval(cval, image, kernel)
    result, target = output_array(output, image, kernel)
    if image.size == 0:
        return result

    kernel = np.flip(kernel) if flip else kernel.conj()
    if flip:
        pad = tuple((k - 1) // 2 - o for k, o in zip(kernel.shape, shifts, strict=True))
    else:
        pad = tuple(k // 2 + o for k, o in zip(kernel.shape, shifts, strict=True))
    correlate_into(target, image, kernel, pad, (rule,) * image.ndim, cval, threads, order)
    return result


def correlate_into(
    target: np.ndarray,
    image: np.ndarray,
    kernel: np.ndarray,
    pad: tuple[int, ...],
    rules: tuple[str, ...],
    cval: Any,
    threads: int | None,
    order: str = "order",
    acc: str | None = None,
) -> None:
    """Sum ``image[i + k - pad] * kernel[k]`` into `target`; arguments are valid, and `target` may overlap the image.

    `order` is the order of summation for integer results (`ConvProblem.exact`), unless they are
    summed in an integer `acc`, in which any order is exact.
    """
    with writable(target, image, kernel) as native:
        parts = [(image, native, cval)]
        if image.dtype.kind == "c" and kernel.dtype.kind != "c":  # as two real images: NaN stays in its part
            parts = [(image.real, native.real, np.real(cval)), (image.imag, native.imag, np.imag(cval))]
        for source, destination, fill in parts:
            problem = _problem(source, kernel, destination, pad, rules, order, acc)
            execute(
                with_rank(problem, kernel, fill),
                source[None, None],
                kernel[None, None],
                destination[None, None],
                fill=np.asarray(fill),
                threads=threads,
            )


def _problem(
    image: np.ndarray,
    kernel: np.ndarray,
    out: np.ndarray,
    pad: tuple[int, ...],
    rules: tuple[str, ...],
    order: str,
    acc: str | None,
) -> ConvProblem:
    names = type_name(image.dtype), type_name(out.dtype)
    if acc is None:
        single = all(name in ("float32", "complex64") for name in names)
        acc = (
            ("complex64" if single else "complex128") if out.dtype.kind == "c" else ("float32" if single else "float64")
        )
    n = image.ndim
    return ConvProblem(
        in_shape=image.shape,
        kernel_shape=kernel.shape,
        out_shape=out.shape,
        in_dtype=names[0],
        kernel_dtype=type_name(kernel.dtype),
        acc=acc,
        out_dtype=names[1],
        pad=pad,
        boundary=rules,
        stride=(1,) * n,
        dilation=(1,) * n,
        exact=order if out.dtype.kind in "biu" and acc[0] == "f" else "",
    )


def line_order(kernel: np.ndarray) -> str:
    """How `scipy.ndimage.correlate1d` orders the sum: mirrored kernels of odd size by pairs."""
    size, eps = kernel.size, np.finfo(float).eps
    if kernel.dtype.kind != "c" and size % 2 == 1:
        left, right = kernel[: size // 2].astype(float), kernel[::-1][: size // 2].astype(float)
        if (abs(right - left) <= eps).all():
            return "symmetric"
        if (abs(right + left) <= eps).all():
            return "antisymmetric"
    return "line"
