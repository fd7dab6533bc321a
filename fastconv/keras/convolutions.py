"""Convolutions with Keras' names and layouts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.keras.arguments import Layout, padding_name, steps
from fastconv.validate import int_tuple

__all__ = ["conv", "conv_transpose", "depthwise_conv", "separable_conv"]

CONV = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}
CONV_TRANSPOSE = {1: nn.conv_transpose1d, 2: nn.conv_transpose2d, 3: nn.conv_transpose3d}


def conv(
    inputs: Any,
    kernel: Any,
    strides: int | Iterable[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Iterable[int] = 1,
) -> np.ndarray:
    """Apply a bank of filters, as `keras.ops.conv` does.

    It is a cross-correlation: the kernel is not flipped.  For two axes and channels last,

        out[n, y, x, o] = sum over i, j, c of kernel[i, j, c, o]
            * inputs[n, y*strides[0] + i*dilation_rate[0] - top, x*strides[1] + j*dilation_rate[1] - left, c]

    Parameters
    ----------
    inputs : array_like
        ``(N, *sizes, C)`` with one to three spatial axes, or ``(N, C, *sizes)``: see `data_format`.
    kernel : array_like
        ``(*kernel_size, C/groups, O)``: fewer channels than the inputs have are those of one of several groups.
    strides : int or tuple of int, optional
        Step of the window along each axis, at least 1.
    padding : {"valid", "same"}, optional
        ``"valid"`` adds nothing.  ``"same"`` adds as many zeros as make ``ceil(size / stride)`` outputs, half of them, rounded
        down, before.  In any case of letters.
    data_format : {"channels_last", "channels_first"}, optional
        Order of the axes of inputs and result; default ``"channels_last"``.
    dilation_rate : int or tuple of int, optional
        Step between taps along each axis, at least 1.

    Returns
    -------
    ndarray
        ``(N, *sizes', O)``, or ``(N, O, *sizes')``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays (but for an empty batch), channels that do not fit the kernel, steps below 1, unknown
        names, a window larger than the padded inputs.
    TypeError
        Dtypes that are not numbers, numbers that should be integers and are not.

    See Also
    --------
    fastconv.nn.conv2d : The same in PyTorch's terms, with bias and activation.

    Notes
    -----
    Differs from `keras.ops.conv`: strides go with dilation, mixed dtypes are promoted as NumPy does, integers are convolved.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import keras
    >>> image = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> keras.conv(image, np.ones((3, 3, 1, 1)), strides=2, padding="same")[0, :, :, 0]
    array([[45., 39.],
           [66., 50.]])
    """
    given = Layout(inputs, data_format)
    weights = given.kernel("kernel", kernel)
    groups, rest = divmod(given.channels, weights.shape[-2])
    if rest or groups == 0 or weights.shape[-1] % groups:
        raise ValueError(
            f"kernel must have shape (..., C/groups, O) with groups that divide C = {given.channels} and O; got {weights.shape}"
        )
    return CONV[given.ndim](
        given.inputs,
        np.moveaxis(weights, (-1, -2), (0, 1)),
        stride=steps("strides", strides, given.ndim),
        padding=padding_name(padding),
        dilation=steps("dilation_rate", dilation_rate, given.ndim),
        groups=groups,
        data_format=given.data_format,
    )


def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: int | Iterable[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Iterable[int] = 1,
) -> np.ndarray:
    """Apply filters to each channel on its own, as `keras.ops.depthwise_conv` does.

    For two axes and channels last, with ``M`` filters for each channel,

        out[n, y, x, c*M + m] = sum over i, j of kernel[i, j, c, m]
            * inputs[n, y*strides[0] + i*dilation_rate[0] - top, x*strides[1] + j*dilation_rate[1] - left, c]

    Parameters
    ----------
    inputs : array_like
        ``(N, *sizes, C)`` with one to three spatial axes, or ``(N, C, *sizes)``: see `data_format`.
    kernel : array_like
        ``(*kernel_size, C, M)``.
    strides : int or tuple of int, optional
        Step of the window along each axis, at least 1.
    padding : {"valid", "same"}, optional
        ``"valid"`` adds nothing.  ``"same"`` adds as many zeros as make ``ceil(size / stride)`` outputs, half of them, rounded
        down, before.  In any case of letters.
    data_format : {"channels_last", "channels_first"}, optional
        Order of the axes of inputs and result; default ``"channels_last"``.
    dilation_rate : int or tuple of int, optional
        Step between taps along each axis, at least 1.

    Returns
    -------
    ndarray
        ``(N, *sizes', C*M)``, or ``(N, C*M, *sizes')``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays (but for an empty batch), channels that do not fit the kernel, steps below 1, unknown
        names, a window larger than the padded inputs.
    TypeError
        Dtypes that are not numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `keras.ops.depthwise_conv`: there may be three axes, strides differ from each other and go with dilation.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import keras
    >>> signal = np.array([[[1, 10], [2, 20], [3, 30]]])
    >>> keras.depthwise_conv(signal, np.array([[[1], [1]], [[1], [2]]]))
    array([[[ 3, 50],
            [ 5, 80]]])
    """
    given = Layout(inputs, data_format)
    weights = given.kernel("kernel", kernel)
    if weights.shape[-2] != given.channels:
        raise ValueError(f"kernel must have shape (..., {given.channels}, M), C channels; got {weights.shape}")
    weights = np.moveaxis(weights, (-2, -1), (0, 1))
    if weights.shape[1] > 1:
        weights = weights.reshape(-1, 1, *weights.shape[2:])
    return CONV[given.ndim](
        given.inputs,
        weights,
        stride=steps("strides", strides, given.ndim),
        padding=padding_name(padding),
        dilation=steps("dilation_rate", dilation_rate, given.ndim),
        groups=given.channels,
        data_format=given.data_format,
    )


def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: int | Iterable[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Iterable[int] = 1,
) -> np.ndarray:
    """Filter each channel on its own and then mix them pixel by pixel, as `keras.ops.separable_conv` does.

        out = conv(depthwise_conv(inputs, depthwise_kernel, ...), pointwise_kernel)

    Parameters
    ----------
    inputs : array_like
        ``(N, *sizes, C)`` with one to three spatial axes, or ``(N, C, *sizes)``: see `data_format`.
    depthwise_kernel : array_like
        ``(*kernel_size, C, M)``.
    pointwise_kernel : array_like
        ``(1, ..., 1, C*M, O)``.
    strides : int or tuple of int, optional
        Step of the window along each axis, at least 1.
    padding : {"valid", "same"}, optional
        ``"valid"`` adds nothing.  ``"same"`` adds as many zeros as make ``ceil(size / stride)`` outputs, half of them, rounded
        down, before.  In any case of letters.
    data_format : {"channels_last", "channels_first"}, optional
        Order of the axes of inputs and result; default ``"channels_last"``.
    dilation_rate : int or tuple of int, optional
        Step between taps along each axis, at least 1.

    Returns
    -------
    ndarray
        ``(N, *sizes', O)``, or ``(N, O, *sizes')``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays (but for an empty batch), channels that do not fit the kernel, steps below 1, unknown
        names, a window larger than the padded inputs.
    TypeError
        Dtypes that are not numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `keras.ops.separable_conv` as `depthwise_conv` does.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import keras
    >>> signal = np.array([[[1, 10], [2, 20], [3, 30]]])
    >>> keras.separable_conv(signal, np.ones((2, 2, 1), int), np.array([[[1], [-1]]]))
    array([[[-27],
            [-45]]])
    """
    given = Layout(inputs, data_format)
    mixing = given.kernel("pointwise_kernel", pointwise_kernel)
    single = given.kernel("depthwise_kernel", depthwise_kernel)
    planes = single.shape[-2] * single.shape[-1]
    if mixing.shape[:-1] != (*(1,) * given.ndim, planes):
        raise ValueError(
            f"pointwise_kernel must have shape {(*(1,) * given.ndim, planes)} and filters; got {mixing.shape}"
        )
    filtered = depthwise_conv(given.inputs, single, strides, padding, data_format, dilation_rate)
    return conv(filtered, mixing, 1, "valid", data_format)


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: int | Iterable[int] = 1,
    padding: str = "valid",
    output_padding: int | Iterable[int] | None = None,
    data_format: str | None = None,
    dilation_rate: int | Iterable[int] = 1,
) -> np.ndarray:
    """Apply the transpose of a convolution, as `keras.ops.conv_transpose` does.

    It is the adjoint of `conv`: for two axes and channels last, without padding,

        out[n, Y, X, o] = sum over y, x, i, j, c of kernel[i, j, o, c] * inputs[n, y, x, c]
            with Y = y*strides[0] + i*dilation_rate[0], X = x*strides[1] + j*dilation_rate[1]

    Parameters
    ----------
    inputs : array_like
        ``(N, *sizes, C)`` with one to three spatial axes, or ``(N, C, *sizes)``: see `data_format`.
    kernel : array_like
        ``(*kernel_size, O, C)``.
    strides : int or tuple of int, optional
        Step of the window along each axis, at least 1.
    padding : {"valid", "same"}, optional
        With ``K = (k-1)*dilation_rate + 1``, ``"valid"`` makes ``(size-1)*stride + max(K, stride)`` outputs, and ``"same"``
        ``size*stride``: those that `conv` with the same padding reads.
    output_padding : int or tuple of int, optional
        Less than the stride: ``"valid"`` makes ``(size-1)*stride + K + output_padding`` outputs, and ``"same"``
        ``(size-1)*stride + K%2 + output_padding``.
    data_format : {"channels_last", "channels_first"}, optional
        Order of the axes of inputs and result; default ``"channels_last"``.
    dilation_rate : int or tuple of int, optional
        Step between taps along each axis, at least 1.

    Returns
    -------
    ndarray
        ``(N, *sizes', O)``, or ``(N, O, *sizes')``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays (but for an empty batch), channels that do not fit the kernel, steps below 1, unknown
        names, a window larger than the padded inputs.
    TypeError
        Dtypes that are not numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `keras.ops.conv_transpose`: strides go with dilation, mixed dtypes are promoted as NumPy does.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import keras
    >>> keras.conv_transpose(np.array([[[1], [2]]]), np.array([[[1]], [[10]], [[100]]]), strides=2)[0, :, 0]
    array([  1,  10, 102,  20, 200])
    """
    given = Layout(inputs, data_format)
    weights = given.kernel("kernel", kernel)
    if weights.shape[-1] != given.channels:
        raise ValueError(f"kernel must have shape (..., O, {given.channels}), C channels; got {weights.shape}")
    stride = steps("strides", strides, given.ndim)
    dilation = steps("dilation_rate", dilation_rate, given.ndim)
    extra = (
        (None,) * given.ndim
        if output_padding is None
        else int_tuple("output_padding", output_padding, given.ndim, minimum=0)
    )
    ends = [
        _ends(padding_name(padding), (k - 1) * d + 1, s, more)
        for k, d, s, more in zip(weights.shape, dilation, stride, extra, strict=False)
    ]
    return CONV_TRANSPOSE[given.ndim](
        given.inputs,
        np.moveaxis(weights, (-1, -2), (0, 1)),
        stride=stride,
        padding=tuple((before, max(after, 0)) for before, after in ends),
        output_padding=tuple(max(-after, 0) for _, after in ends),
        dilation=dilation,
        data_format=given.data_format,
    )


def _ends(padding: str, span: int, stride: int, extra: int | None) -> tuple[int, int]:
    """How many of the ``(size-1)*stride + span`` sums are left out before and after; negative: so many zeros are added."""
    if extra is not None and extra >= stride:
        raise ValueError(f"output_padding must be less than the stride, {stride}; got {extra}")
    if padding == "valid":
        return 0, -(max(stride - span, 0) if extra is None else extra)
    total = span - (stride if extra is None else span % 2 + extra)  # sums less outputs
    before = max(total // 2, 0)
    return before, total - before
