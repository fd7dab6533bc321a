"""Convolution of quantised numbers, with the meaning of ONNX's QLinearConv and of PyTorch's quantised functions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.nn.quantization import quantized
from fastconv.replay import remembered

__all__ = ["quantized_conv1d", "quantized_conv2d", "quantized_conv3d"]


@remembered(arrays=2)
def quantized_conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    input_scale: float = 1.0,
    input_zero_point: int = 0,
    weight_scale: Any = 1.0,
    weight_zero_point: Any = 0,
    scale: float = 1.0,
    zero_point: int = 0,
    data_format: str = "NCW",
    dtype: Any = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply a bank of 1-D filters to signals of quantised numbers, with a quantised result.

    The sums, their scaling and all options are those of `quantized_conv2d`.

    Parameters
    ----------
    input : array_like
        uint8 or int8, ``(N, C, W)``, or one signal ``(C, W)``; for ``data_format="NWC"`` the channels stand last.
    weight : array_like
        uint8 or int8, ``(O, C/groups, kW)``.
    bias : array_like, optional
        ``(O,)``, integers or real numbers.
    stride : int or (int,), optional
        Step of the window, at least 1.
    padding : int, (int,), ((int, int),), "valid", "same" or "causal", optional
        Elements added along each axis, as in `conv1d`.
    dilation : int or (int,), optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    input_scale : float, optional
        Scale of the input, positive.
    input_zero_point : int, optional
        What stands for 0 in the input, within its range.
    weight_scale : float or array_like, optional
        Scale of the weights, or ``(O,)``, that of each filter; positive.
    weight_zero_point : int or array_like, optional
        What stands for 0 in the weights, or ``(O,)``, in each filter.
    scale : float, optional
        Scale of the result, positive.
    zero_point : int, optional
        What stands for 0 in the result, within its range.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of input and result.
    dtype : {"uint8", "int8"}, optional
        Of the result; default that of the input.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Of the shape that `conv1d` gives.

    Raises
    ------
    ValueError, TypeError
        What `quantized_conv2d` refuses.

    Notes
    -----
    Differs from `torch.ao.nn.quantized.functional.conv1d` as `quantized_conv2d` does from its twin.

    References
    ----------
    B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
    doi:10.1109/CVPR.2018.00286.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import quantized_conv1d
    >>> signal = np.array([[1, 2, 3, 4]], np.uint8)
    >>> quantized_conv1d(signal, np.array([[[100, 100]]], np.uint8), scale=2.0)
    array([[150, 250, 255]], dtype=uint8)
    """
    return quantized(
        1, input, weight, bias, stride, padding, dilation, groups,
        (input_scale, input_zero_point, weight_scale, weight_zero_point, scale, zero_point),
        data_format, dtype, out, threads,
    )  # fmt: skip


@remembered(arrays=2)
def quantized_conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    input_scale: float = 1.0,
    input_zero_point: int = 0,
    weight_scale: Any = 1.0,
    weight_zero_point: Any = 0,
    scale: float = 1.0,
    zero_point: int = 0,
    data_format: str = "NCHW",
    dtype: Any = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply a bank of 2-D filters to images of quantised numbers, with a quantised result.

    An 8-bit number q stands for the real number ``scale * (q - zero_point)``.  Sums of products are exact:

        acc[n, o, y, x] = bias[o] + sum over c, i, j of (weight[o, c, i, j] - weight_zero_point[o])
            * (input[n, g(o)*C/groups + c, y*stride[0] + i*dilation[0] - top, ...] - input_zero_point)
        out = clamp(rint(acc * (input_scale * weight_scale[o] / scale)) + zero_point)

    where ``g(o) = o // (O/groups)`` and the input is its zero point beyond its edges, ``rint`` rounds halves to even, and
    the product is one of float64.

    Parameters
    ----------
    input : array_like
        uint8 or int8, ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
    weight : array_like
        uint8 or int8, ``(O, C/groups, kH, kW)``.
    bias : array_like, optional
        ``(O,)``: integers are added to the sums as they are, as ONNX has it (their scale is ``input_scale *
        weight_scale``); floating-point numbers are real numbers, as PyTorch has it, and divided by that scale.
    stride : int or pair, optional
        Step of the window, at least 1.
    padding : int, pair, pair of pairs, "valid" or "same", optional
        Elements added around the image, as in `conv2d`.
    dilation : int or pair, optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    input_scale : float, optional
        Scale of the input, positive.
    input_zero_point : int, optional
        What stands for 0 in the input, within its range.
    weight_scale : float or array_like, optional
        Scale of the weights, or ``(O,)``, that of each filter; positive.
    weight_zero_point : int or array_like, optional
        What stands for 0 in the weights, or ``(O,)``, in each filter.
    scale : float, optional
        Scale of the result, positive.
    zero_point : int, optional
        What stands for 0 in the result, within its range.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of input and result.
    dtype : {"uint8", "int8"}, optional
        Of the result; default that of the input.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, O, H', W')``, or ``(O, H', W')`` for one image, with sizes as in `conv2d`.

    Raises
    ------
    ValueError
        What `conv2d` refuses, scales that are not positive and finite, zero points beyond their range, scales or zero
        points that are neither one number nor one for each filter.
    TypeError
        Input, weights or `dtype` other than uint8 and int8, a bias of other numbers, zero points that are no integers.

    Notes
    -----
    Differs from ONNX's QLinearConv: the bias may be real, and is of up to 32 bits otherwise.  Differs from
    `torch.ao.nn.quantized.functional.conv2d`: scales and zero points are arguments, since arrays have none, and the result
    is scaled in float64 where PyTorch has float32: a result in some millions is the neighbouring number.  With
    ``conv2d(..., dtype="int32")`` the sums themselves are to be had.

    References
    ----------
    B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
    doi:10.1109/CVPR.2018.00286.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import quantized_conv2d
    >>> image = np.array([[[130, 128], [128, 126]]], np.uint8)
    >>> quantized_conv2d(image, np.full((1, 1, 1, 1), 3, np.int8), input_zero_point=128, scale=2.0, zero_point=10)
    array([[[13, 10],
            [10,  7]]], dtype=uint8)
    """
    return quantized(
        2, input, weight, bias, stride, padding, dilation, groups,
        (input_scale, input_zero_point, weight_scale, weight_zero_point, scale, zero_point),
        data_format, dtype, out, threads,
    )  # fmt: skip


@remembered(arrays=2)
def quantized_conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    input_scale: float = 1.0,
    input_zero_point: int = 0,
    weight_scale: Any = 1.0,
    weight_zero_point: Any = 0,
    scale: float = 1.0,
    zero_point: int = 0,
    data_format: str = "NCDHW",
    dtype: Any = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply a bank of 3-D filters to volumes of quantised numbers, with a quantised result.

    The sums, their scaling and all options are those of `quantized_conv2d`.

    Parameters
    ----------
    input : array_like
        uint8 or int8, ``(N, C, D, H, W)``, or one volume ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
    weight : array_like
        uint8 or int8, ``(O, C/groups, kD, kH, kW)``.
    bias : array_like, optional
        ``(O,)``, integers or real numbers.
    stride : int or triple, optional
        Step of the window, at least 1.
    padding : int, triple, triple of pairs, "valid" or "same", optional
        Elements added along each axis, as in `conv3d`.
    dilation : int or triple, optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    input_scale : float, optional
        Scale of the input, positive.
    input_zero_point : int, optional
        What stands for 0 in the input, within its range.
    weight_scale : float or array_like, optional
        Scale of the weights, or ``(O,)``, that of each filter; positive.
    weight_zero_point : int or array_like, optional
        What stands for 0 in the weights, or ``(O,)``, in each filter.
    scale : float, optional
        Scale of the result, positive.
    zero_point : int, optional
        What stands for 0 in the result, within its range.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of input and result.
    dtype : {"uint8", "int8"}, optional
        Of the result; default that of the input.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Of the shape that `conv3d` gives.

    Raises
    ------
    ValueError, TypeError
        What `quantized_conv2d` refuses.

    Notes
    -----
    Differs from `torch.ao.nn.quantized.functional.conv3d` as `quantized_conv2d` does from its twin.

    References
    ----------
    B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
    doi:10.1109/CVPR.2018.00286.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import quantized_conv3d
    >>> quantized_conv3d(np.ones((1, 2, 2, 3), np.int8), np.ones((1, 1, 2, 2, 2), np.int8), scale=0.5)
    array([[[[16, 16]]]], dtype=int8)
    """
    return quantized(
        3, input, weight, bias, stride, padding, dilation, groups,
        (input_scale, input_zero_point, weight_scale, weight_zero_point, scale, zero_point),
        data_format, dtype, out, threads,
    )  # fmt: skip
