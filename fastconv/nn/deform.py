"""Deformable convolution: each tap of each window is moved by an offset of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fastconv.nn.arguments import FLOATS, canonical, group_count, is_channels_last, out_sizes, padding_of, result_shape
from fastconv.nn.convolution import bias_array, images_and_weights
from fastconv.plan import execute
from fastconv.problem import ConvProblem, DeformProblem, accumulator
from fastconv.replay import contiguous, remembered
from fastconv.validate import as_array, int_tuple, new_or_checked_out, result_type, type_name

__all__ = ["Arranged", "arranged", "deform_conv2d"]


@remembered(3, ("bias", "mask"))
def deform_conv2d(
    input: Any,
    offset: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = (1, 1),
    padding: str | int | Iterable[Any] = (0, 0),
    dilation: int | Iterable[int] = (1, 1),
    mask: Any = None,
    *,
    data_format: str = "NCHW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply a bank of 2-D filters whose taps are moved, and perhaps weighted, at every place.

    With the shapes below, ``t = i*kW + j`` and the offset group ``d = c // (C/D)`` of a channel,

        out[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] * mask[n, d*kH*kW + t, y, x]
            * input(n, g(o) * C/groups + c, y*stride[0] + i*dilation[0] - top + offset[n, 2*(d*kH*kW + t), y, x],
                    x*stride[1] + j*dilation[1] - left + offset[n, 2*(d*kH*kW + t) + 1, y, x])

    where ``input(...)`` interpolates linearly between the four elements around a place, and those beyond the edges are 0.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
    offset : array_like
        ``(N, 2*D*kH*kW, H', W')``, for one image without N: rows and columns that each tap is moved by.  ``D`` groups of
        channels, the offset groups, are moved alike; it follows from the shape and divides ``C``.
    weight : array_like
        ``(O, C/groups, kH, kW)``, for both data formats; the number of groups follows from the shape.
    bias : array_like, optional
        ``(O,)``.
    stride : int or pair, optional
        Step of the window, at least 1.
    padding : int, pair, pair of pairs, "valid" or "same", optional
        How far windows begin before the image, and reach beyond it, as in `conv2d`.
    dilation : int or pair, optional
        Step between taps, at least 1.
    mask : array_like, optional
        ``(N, D*kH*kW, H', W')``, for one image without N: the weight of each tap; default 1.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of input, offset, mask and result.
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
        What `conv2d` refuses, and offsets or a mask of other shapes.
    TypeError
        Dtypes that are not real floating-point numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torchvision.ops.deform_conv2d`: single images, channels last, uneven padding and ``"same"`` are taken, mixed
    dtypes promoted as NumPy does.  A place that is NaN has the value NaN.

    References
    ----------
    J. Dai et al., "Deformable Convolutional Networks" (2017), doi:10.1109/ICCV.2017.89, and for the mask X. Zhu et al.,
    "Deformable ConvNets v2" (2019), doi:10.1109/CVPR.2019.00953.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import deform_conv2d
    >>> image = np.arange(9.0).reshape(1, 3, 3)
    >>> half_a_row_down = np.stack([np.full((3, 3), 0.5), np.zeros((3, 3))])
    >>> deform_conv2d(image, half_a_row_down, np.ones((1, 1, 1, 1)))
    array([[[1.5, 2.5, 3.5],
            [4.5, 5.5, 6.5],
            [3. , 3.5, 4. ]]])
    """
    call = arranged(input, offset, weight, bias, stride, padding, dilation, mask, data_format)
    p = call.problem.conv
    shape = result_shape(p.batch, p.filters, p.out_shape, p.channels_last, call.batched)
    result = new_or_checked_out(out, shape, call.dtype, call.arrays)
    if p.batch:
        target, biases = canonical(result, 2, p.channels_last), call.arrays.get("bias")
        fill = (call.offsets, call.masks)
        execute(call.problem, call.images, call.weights, target, bias=biases, fill=fill, threads=threads)
    return result


class Arranged(NamedTuple):
    """A call: its problem, its arrays as they are executed, channels first, and as they were given."""

    problem: DeformProblem
    images: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray
    masks: np.ndarray | None
    arrays: dict[str, Any]
    dtype: np.dtype
    batched: bool


def arranged(
    input: Any,
    offset: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    mask: Any,
    data_format: Any,
) -> Arranged:
    """The arguments of `deform_conv2d`, checked; offsets and mask in the accumulator's dtype."""
    images, weights = images_and_weights(2, input, weight)
    arrays = {
        "input": images,
        "weight": weights,
        "offset": as_array("offset", offset, ndim=images.ndim, empty=True, bfloat16=True),
    }
    if bias is not None:
        arrays["bias"] = bias_array(bias, weights.shape[0])
    if mask is not None:
        arrays["mask"] = as_array("mask", mask, ndim=images.ndim, empty=True, bfloat16=True)
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} must be a host array; got one on a device")
    summed = result_type(FLOATS, **arrays)
    channels_last = is_channels_last(data_format, 2)
    x = canonical(images, 2, channels_last)
    filters, group_channels, *kernel = weights.shape
    groups = group_count(max(x.shape[1] // group_channels, 1), x.shape[1], filters, group_channels)
    stride = int_tuple("stride", stride, 2, minimum=1)
    dilation = int_tuple("dilation", dilation, 2, minimum=1)
    pads = padding_of(padding, x.shape[2:], tuple(kernel), stride, dilation)
    sizes = out_sizes(x.shape[2:], tuple(kernel), stride, dilation, pads)
    offsets = canonical(arrays["offset"], 2, channels_last)
    moved = _offset_groups(offsets, x.shape, 2 * kernel[0] * kernel[1], sizes)
    masks = canonical(arrays["mask"], 2, channels_last) if mask is not None else None
    if masks is not None and masks.shape != (len(x), moved * kernel[0] * kernel[1], *sizes):
        raise ValueError(
            f"mask must have {moved * kernel[0] * kernel[1]} channels (offset groups * kH * kW) of {sizes} for each image; "
            f"got shape {arrays['mask'].shape}"
        )

    acc = accumulator(summed)
    conv = ConvProblem(
        in_shape=x.shape[2:],
        kernel_shape=tuple(kernel),
        out_shape=sizes,
        in_dtype=type_name(images.dtype),
        kernel_dtype=type_name(weights.dtype),
        acc=acc,
        out_dtype=type_name(summed),
        pad=tuple(before for before, _ in pads),
        boundary=("fill", "fill"),
        stride=stride,
        dilation=dilation,
        batch=x.shape[0],
        channels=x.shape[1],
        filters=filters,
        groups=groups,
        bias=bias is not None,
        channels_last=channels_last,
    )
    offsets = offsets if offsets.dtype == acc else contiguous(offsets, acc)
    masks = masks if masks is None or masks.dtype == acc else contiguous(masks, acc)
    problem = DeformProblem(conv, moved, masks is not None)
    return Arranged(problem, x, offsets, weights, masks, arrays, summed, images.ndim == 4)


def _offset_groups(offsets: np.ndarray, shape: tuple[int, ...], per_group: int, sizes: tuple[int, ...]) -> int:
    """How many groups of channels the offsets tell apart."""
    count, rest = divmod(offsets.shape[1], per_group)
    if rest or count == 0 or shape[1] % count or offsets.shape[0] != shape[0] or offsets.shape[2:] != sizes:
        raise ValueError(
            f"offset must have {shape[0]} images of {sizes} with a multiple of {per_group} channels (2 * kH * kW) by a divisor "
            f"of {shape[1]}, the channels of input; got {offsets.shape} (channels first)"
        )
    return count
