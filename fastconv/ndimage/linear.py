"""Convolution and correlation with weights that the caller gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.choice import chosen
from fastconv.device import on_device
from fastconv.ndimage.arguments import (
    DTYPES,
    boundary_rule,
    checked_cval,
    filtered_axes,
    output_array,
    per_axis,
    writable,
)
from fastconv.ndimage.extras import Extras, asked_output, clamps, steps, sum_dtype
from fastconv.ndimage.normalized import checked_policy, missing_samples, weights_in_force
from fastconv.plan import execute
from fastconv.problem import ConvProblem, NormalizedProblem
from fastconv.replay import conjugate, remembered
from fastconv.validate import ArgumentError, ArgumentTypeError, as_array, axis_index, int_tuple, type_name

__all__ = [
    "as_real",
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "correlate_into",
    "in_rows",
    "lie_in_rows",
    "line_order",
]

# Complex images of so many bytes are brought into rows: 43x43x43 take 0.1 ms, then, rather than 0.2.
COPIED = 1 << 17


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
    out: np.ndarray | None = None,
    dtype: Any = None,
    casting: str = "wrap",
    stride: int | Iterable[int] = 1,
    dilation: int | Iterable[int] = 1,
    nan_policy: str = "propagate",
    mask: Any = None,
    normalize: bool = False,
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
    out : ndarray, optional
        The same as an array `output`, of the result's exact shape.
    dtype : dtype, optional
        Dtype of the result, and of its sums if that is floating-point: float32 sums in single
        precision whatever the input.  Integers are made from sums in double, as SciPy's are.
    casting : {"wrap", "saturate"}, optional
        What becomes of sums in an integer result.  ``"wrap"``: truncated, and wrapped around, as SciPy
        does.  ``"saturate"``: rounded to the nearest integer, halves to even, and clamped to the dtype's
        range; NaN becomes 0.
    stride : int or sequence of int, optional
        Every so many-th output only, from the first: ``result[::stride]`` of what stride 1 gives.
    dilation : int or sequence of int, optional
        Distance of the taps: as if ``dilation - 1`` zeros stood between any two weights.
    nan_policy : {"propagate", "omit", "interpolate"}, optional
        What becomes of samples that are NaN or masked.  ``"propagate"``: every sum that meets one is
        NaN.  ``"omit"``: they are left out of the sums.  ``"interpolate"``: they are left out, and the
        sum is divided by the part of the weights (of their sum) that is left; NaN where none is left.
    mask : array_like, optional
        Of the input's shape: where it is not 0 the sample is missing.  Needs a `nan_policy` other
        than "propagate".
    normalize : bool, optional
        Divide the weights by their sum.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array; along axes of stride ``s`` every ``s``-th element.

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

    With ``v`` 0 where a sample is missing and 1 elsewhere, and ``W`` the sum of the weights,
    "omit" gives ``num = sum of weights * input * v`` and "interpolate" ``num * W / den``, where
    ``den = sum of weights * v`` (normalised convolution, as `astropy.convolution.convolve` has it).
    Windows in which nothing is missing are scaled by exactly 1.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    H. Knutsson, C.-F. Westin, "Normalized and differential convolution", CVPR (1993) 515,
    doi:10.1109/CVPR.1993.341081.

    The Astropy Collaboration, "The Astropy Project: sustaining and growing a community-oriented
    open-source project", Astrophys. J. 935 (2022) 167, doi:10.3847/1538-4357/ac7c74.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import correlate
    >>> correlate(np.array([1, 2, 4, 8]), [-1, 0, 1])
    array([1, 3, 6, 4])
    >>> correlate(np.array([1.0, np.nan, 4.0, 8.0]), [1, 2, 1], nan_policy="interpolate", normalize=True)
    array([1.        , 2.5       , 5.33333333, 7.        ])
    """
    extras = Extras(out, dtype, casting, stride, dilation, nan_policy, mask, normalize)
    return _filter(input, weights, output, mode, cval, origin, axes, threads, False, extras)


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
    out: np.ndarray | None = None,
    dtype: Any = None,
    casting: str = "wrap",
    stride: int | Iterable[int] = 1,
    dilation: int | Iterable[int] = 1,
    nan_policy: str = "propagate",
    mask: Any = None,
    normalize: bool = False,
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
    out : ndarray, optional
        The same as an array `output`, of the result's exact shape.
    dtype : dtype, optional
        Dtype of the result, and of its sums if that is floating-point: float32 sums in single
        precision whatever the input.  Integers are made from sums in double, as SciPy's are.
    casting : {"wrap", "saturate"}, optional
        What becomes of sums in an integer result.  ``"wrap"``: truncated, and wrapped around, as SciPy
        does.  ``"saturate"``: rounded to the nearest integer, halves to even, and clamped to the dtype's
        range; NaN becomes 0.
    stride : int or sequence of int, optional
        Every so many-th output only, from the first: ``result[::stride]`` of what stride 1 gives.
    dilation : int or sequence of int, optional
        Distance of the taps: as if ``dilation - 1`` zeros stood between any two weights.
    nan_policy : {"propagate", "omit", "interpolate"}, optional
        What becomes of samples that are NaN or masked.  ``"propagate"``: every sum that meets one is
        NaN.  ``"omit"``: they are left out of the sums.  ``"interpolate"``: they are left out, and the
        sum is divided by the part of the weights (of their sum) that is left; NaN where none is left.
    mask : array_like, optional
        Of the input's shape: where it is not 0 the sample is missing.  Needs a `nan_policy` other
        than "propagate".
    normalize : bool, optional
        Divide the weights by their sum.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array; along axes of stride ``s`` every ``s``-th element.

    Raises
    ------
    ValueError
        Weights of the wrong dimensions, unknown mode, `origin` outside the kernel, unfit `output`.
    TypeError
        Dtypes that are not numbers, float16, longdouble.

    Notes
    -----
    Differs from `scipy.ndimage.convolve` as `correlate` does from SciPy's.

    With ``v`` 0 where a sample is missing and 1 elsewhere, and ``W`` the sum of the weights,
    "omit" gives ``num = sum of weights * input * v`` and "interpolate" ``num * W / den``, where
    ``den = sum of weights * v`` (normalised convolution, as `astropy.convolution.convolve` has it).
    Windows in which nothing is missing are scaled by exactly 1.

    References
    ----------
    P. Virtanen et al., "SciPy 1.0", Nature Methods 17 (2020) 261, doi:10.1038/s41592-019-0686-2.

    H. Knutsson, C.-F. Westin, "Normalized and differential convolution", CVPR (1993) 515,
    doi:10.1109/CVPR.1993.341081.

    The Astropy Collaboration, "The Astropy Project: sustaining and growing a community-oriented
    open-source project", Astrophys. J. 935 (2022) 167, doi:10.3847/1538-4357/ac7c74.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import convolve
    >>> convolve(np.array([1, 2, 4, 8]), [-1, 0, 1])
    array([-1, -3, -6, -4])
    >>> convolve(np.array([1, 20, 40, 80], np.uint8), [-1, 4, -1], casting="saturate")
    array([  0,  39,  60, 200], dtype=uint8)
    """
    extras = Extras(out, dtype, casting, stride, dilation, nan_policy, mask, normalize)
    return _filter(input, weights, output, mode, cval, origin, axes, threads, True, extras)


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
    out: np.ndarray | None = None,
    dtype: Any = None,
    casting: str = "wrap",
    stride: int = 1,
    dilation: int = 1,
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
    out : ndarray, optional
        The same as an array `output`, of the result's exact shape.
    dtype : dtype, optional
        Dtype of the result, and of its sums if that is floating-point: float32 sums in single
        precision whatever the input.  Integers are made from sums in double, as SciPy's are.
    casting : {"wrap", "saturate"}, optional
        What becomes of sums in an integer result.  ``"wrap"``: truncated, and wrapped around, as SciPy
        does.  ``"saturate"``: rounded to the nearest integer, halves to even, and clamped to the dtype's
        range; NaN becomes 0.
    stride : int, optional
        Every so many-th output only, from the first: ``result[::stride]`` of what stride 1 gives.
    dilation : int, optional
        Distance of the taps: as if ``dilation - 1`` zeros stood between any two weights.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array; along axes of stride ``s`` every ``s``-th element.

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
    extras = Extras(out, dtype, casting, stride, dilation)
    return _filter1d(input, weights, axis, output, mode, cval, origin, threads, False, extras)


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
    out: np.ndarray | None = None,
    dtype: Any = None,
    casting: str = "wrap",
    stride: int = 1,
    dilation: int = 1,
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
    out : ndarray, optional
        The same as an array `output`, of the result's exact shape.
    dtype : dtype, optional
        Dtype of the result, and of its sums if that is floating-point: float32 sums in single
        precision whatever the input.  Integers are made from sums in double, as SciPy's are.
    casting : {"wrap", "saturate"}, optional
        What becomes of sums in an integer result.  ``"wrap"``: truncated, and wrapped around, as SciPy
        does.  ``"saturate"``: rounded to the nearest integer, halves to even, and clamped to the dtype's
        range; NaN becomes 0.
    stride : int, optional
        Every so many-th output only, from the first: ``result[::stride]`` of what stride 1 gives.
    dilation : int, optional
        Distance of the taps: as if ``dilation - 1`` zeros stood between any two weights.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array; along axes of stride ``s`` every ``s``-th element.

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
    extras = Extras(out, dtype, casting, stride, dilation)
    return _filter1d(input, weights, axis, output, mode, cval, origin, threads, True, extras)


# -- what the four have in common -----------------------------------------------------------


def _filter(
    input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any, threads: int | None,
    flip: bool, extras: Extras,
) -> np.ndarray:  # fmt: skip
    if extras.normalize is True or (type(extras.nan_policy) is str and extras.nan_policy == "interpolate"):
        arguments = input, weights, output, mode, cval, origin, axes, threads, flip
        return _filter_by_sum(*arguments, **extras._asdict())
    return _filter_any(input, weights, output, mode, cval, origin, axes, threads, flip, extras)


@remembered(arrays=1)
def _filter_by_sum(
    input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any, threads: int | None,
    flip: bool, *, out: Any, **extras: Any,
) -> np.ndarray:  # fmt: skip
    """What is divided by the weights' sum: calls are told apart by the weights, then."""
    return _filter_any(input, weights, output, mode, cval, origin, axes, threads, flip, Extras(out, **extras))


def _filter_any(
    input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any, threads: int | None,
    flip: bool, extras: Extras,
) -> np.ndarray:  # fmt: skip
    image, kernel = as_array("input", input, empty=True), as_array("weights", weights)
    axes = filtered_axes(axes, image.ndim)
    if kernel.ndim != len(axes):
        raise ArgumentError(f"weights must have {len(axes)} dimensions, one for each axis; got shape {kernel.shape}")
    if type(origin) is not int:
        origin = per_axis("origin", origin, len(axes))  # as in SciPy, a sequence of one does not stand for all
    origins = int_tuple("origin", origin, len(axes)) if axes else ()
    return _run(image, kernel, output, mode, cval, origins, axes, threads, flip, "order", extras)


def _filter1d(
    input: Any, weights: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any, threads: int | None,
    flip: bool, extras: Extras,
) -> np.ndarray:  # fmt: skip
    image, kernel = as_array("input", input, empty=True), as_array("weights", weights)
    if kernel.ndim != 1:
        raise ArgumentError(f"weights must have 1 dimension; got shape {kernel.shape}")
    axis = axis_index("axis", axis, image.ndim)
    origins = int_tuple("origin", origin, 1)
    return _run(image, kernel, output, mode, cval, origins, (axis,), threads, flip, line_order(kernel), extras)


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
    extras: Extras,
) -> np.ndarray:
    for name, array in (("input", image), ("weights", kernel)):
        if type_name(array.dtype) not in DTYPES and not (name == "weights" and array.dtype.kind in "iuf"):
            raise ArgumentTypeError(f"{name} must have one of the dtypes {', '.join(DTYPES)}; got {array.dtype}")
    # As in SciPy, the kernel's axes belong to the filtered ones in ascending order, the origins
    # to them as they are named (if some axes are left out).
    kernel = np.expand_dims(kernel, tuple(a for a in range(image.ndim) if a not in axes))
    shift_of = dict(zip(sorted(axes) if len(axes) == image.ndim else axes, origins, strict=True))
    shifts = [shift_of.get(a, 0) for a in range(image.ndim)]
    stride, dilation = (steps(name, getattr(extras, name), axes, image.ndim) for name in ("stride", "dilation"))
    reach = [(size - 1) * step + 1 for size, step in zip(kernel.shape, dilation, strict=True)]
    for size, shift in zip(reach, shifts, strict=True):
        if not -(size // 2) <= shift <= (size - 1) // 2:
            raise ArgumentError(
                f"origin must be in [{-(size // 2)}, {(size - 1) // 2}] for weights of size {size}; got {shift}"
            )
    rule = boundary_rule(mode)
    cval = checked_cval(cval, image, kernel)
    policy = checked_policy(extras, image, kernel)
    kernel = weights_in_force(kernel, policy, extras.normalize)
    shape = tuple(-(-n // step) for n, step in zip(image.shape, stride, strict=True))
    asked = asked_output(output, extras, "c" in image.dtype.kind + kernel.dtype.kind)
    result, target = output_array(asked, image, kernel, shape)
    saturate = clamps(extras.casting, target.dtype)
    if image.size == 0:
        return result

    kernel = np.flip(kernel) if flip else conjugate(kernel)
    if flip:
        pad = tuple((k - 1) // 2 - o for k, o in zip(reach, shifts, strict=True))
    else:
        pad = tuple(k // 2 + o for k, o in zip(reach, shifts, strict=True))
    mask = None
    if policy != "propagate":
        order, mask = "order", missing_samples(image, extras.mask)
        cval = complex(np.nan, np.nan) if image.dtype.kind == "c" and np.isnan(cval) else cval
    correlate_into(
        target, image, kernel, pad, (rule,) * image.ndim, cval, threads, order, as_result=extras.dtype is not None,
        saturate=saturate, stride=stride, dilation=dilation, policy=policy, mask=mask,
    )  # fmt: skip
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
    *,
    as_result: bool = False,
    saturate: bool = False,
    stride: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
    policy: str = "propagate",
    mask: np.ndarray | None = None,
) -> None:
    """Sum ``image[i * stride + k * dilation - pad] * kernel[k]`` into `target`, which may overlap the image.

    Arguments are valid.  `order` is the order of summation for integer results
    (`ConvProblem.exact`), unless they are clamped or summed in an integer `acc`, in which any order
    is exact.  `as_result` asks for sums in the precision of a floating-point result.  By a `policy` other than
    "propagate" samples that are NaN, or where `mask` is set, are missing.
    """
    with writable(target, image, kernel, *([] if mask is None else [mask])) as native:
        parts = [(image, native, cval)]
        if image.dtype.kind == "c" and kernel.dtype.kind != "c":  # as two real images: NaN stays in its part
            line = max(kernel.shape, default=1) == kernel.size
            image = in_rows(image) if line else image
            alike = np.real(cval) == np.imag(cval) or "fill" not in rules
            if alike and (not line or lie_in_rows(image, native)):  # that may be told by an axis more
                correlate_into(
                    as_real(native), as_real(image), kernel[..., None], (*pad, 0), (*rules, "nearest"), np.real(cval),
                    threads, order, acc, as_result=as_result, saturate=saturate, stride=stride and (*stride, 1),
                    dilation=dilation and (*dilation, 1), policy=policy,
                    mask=None if mask is None else np.repeat(mask[..., None], 2, -1),
                )  # fmt: skip
                return
            parts = [(image.real, native.real, np.real(cval)), (image.imag, native.imag, np.imag(cval))]
        for source, destination, fill in parts:
            sums = acc or sum_dtype(source.dtype, destination.dtype, as_result)
            conv = ConvProblem(
                in_shape=source.shape,
                kernel_shape=kernel.shape,
                out_shape=destination.shape,
                in_dtype=type_name(source.dtype),
                kernel_dtype=type_name(kernel.dtype),
                acc=sums,
                out_dtype=type_name(destination.dtype),
                pad=pad,
                boundary=rules,
                stride=stride or (1,) * source.ndim,
                dilation=dilation or (1,) * source.ndim,
                exact=order if destination.dtype.kind in "biu" and sums[0] == "f" and not saturate else "",
                saturate=saturate,
            )
            missing = policy != "propagate"
            execute(
                NormalizedProblem(conv, policy == "interpolate", mask is not None)
                if missing
                else chosen(conv, source, kernel, fill, threads),
                source[None, None],
                kernel[None, None],
                destination[None, None],
                bias=None if mask is None else mask[None, None],
                fill=np.asarray(fill),
                threads=threads,
            )


def lie_in_rows(*arrays: np.ndarray) -> bool:
    """Whether the parts of complex numbers are rows without gaps: passes over rows of two take 25 times as long."""
    return all(array.ndim > 0 and array.strides[-1] == array.itemsize for array in arrays if array.size > 1)


def in_rows(image: np.ndarray) -> np.ndarray:
    """A complex image in rows without gaps if it is so large that copying it is sooner done than two images."""
    few = image.nbytes < COPIED or on_device(image)
    return image if few or lie_in_rows(image) else np.ascontiguousarray(image)


def as_real(array: np.ndarray) -> np.ndarray:
    """A complex array as a real one with a further axis, of its parts."""
    return array[..., None].view(np.float32 if array.dtype == np.complex64 else np.float64)


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
