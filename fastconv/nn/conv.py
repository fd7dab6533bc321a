"""Deep-learning convolution: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.device import native
from fastconv.plan import execute
from fastconv.problem import ConvProblem, accumulator
from fastconv.replay import remembered
from fastconv.validate import as_array, choice, int_tuple, new_or_checked_out, result_type, type_name

__all__ = ["conv2d"]

DTYPES = "int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64 complex64 complex128"
DATA_FORMATS = {"NCHW": False, "NHWC": True}


@remembered(arrays=2)
def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[int] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    data_format: str = "NCHW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply a bank of 2-D filters to a batch of images: the convolution of neural networks.

    It is a cross-correlation: the kernel is not flipped.  With the shapes below,

        out[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j]
            * input[n, g(o) * C/groups + c, y*stride[0] + i*dilation[0] - top, x*stride[1] + j*dilation[1] - left]

    where ``g(o) = o // (O/groups)`` and the input is zero beyond its edges.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
    weight : array_like
        ``(O, C/groups, kH, kW)``, for both data formats.
    bias : array_like, optional
        ``(O,)``.
    stride : int or pair, optional
        Step of the window, at least 1.
    padding : int, pair, pair of pairs, "valid" or "same", optional
        Zeros around the image: rows and columns; ``((top, bottom), (left, right))`` for uneven
        padding.  ``"same"`` keeps the size divided by the stride, rounded up, by TensorFlow's
        rule, with the odd zero at the bottom and right.
    dilation : int or pair, optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, O, H', W')``, or ``(O, H', W')`` for one image, with
        ``H' = (H + top + bottom - dilation*(kH-1) - 1) // stride + 1``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays, channels that do not fit `groups` and `weight`, stride or
        dilation below 1, negative padding, a window larger than the padded image, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, float16, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.conv2d`: mixed dtypes are promoted as NumPy does;
    integers are convolved too (modulo their range); ``padding="same"`` takes any stride, and
    uneven padding is allowed.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import conv2d
    >>> image = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> conv2d(image, np.ones((1, 1, 2, 2)), stride=2)
    array([[[[10., 18.],
             [42., 50.]]]])
    """
    images, weights = as_array("input", input, ndim=(3, 4)), as_array("weight", weight, ndim=4)
    channels_last = choice("data_format", data_format, DATA_FORMATS)
    arrays = {"input": images, "weight": weights}
    if bias is not None:
        arrays["bias"] = as_array("bias", bias, ndim=1)
    dtype = result_type(DTYPES, **arrays)
    batched = images.ndim == 4
    x = images if batched else images[None]
    x = np.moveaxis(x, -1, 1) if channels_last else x

    filters, group_channels, *kernel_shape = weights.shape
    groups = _groups(groups, x.shape[1], filters, group_channels)
    if bias is not None and arrays["bias"].shape != (filters,):
        raise ValueError(
            f"bias must have shape ({filters},), one for each filter of weight; got {arrays['bias'].shape}"
        )
    stride = int_tuple("stride", stride, 2, minimum=1)
    dilation = int_tuple("dilation", dilation, 2, minimum=1)
    pads = _padding(padding, x.shape[2:], tuple(kernel_shape), stride, dilation)
    sizes = _out_sizes(x.shape[2:], tuple(kernel_shape), stride, dilation, pads)

    shape = (*sizes, filters) if channels_last else (filters, *sizes)
    shape = (x.shape[0], *shape) if batched else shape
    result = new_or_checked_out(out, shape, dtype, arrays)
    target = result if batched else result[None]
    problem = ConvProblem(
        in_shape=x.shape[2:],
        kernel_shape=tuple(kernel_shape),
        out_shape=sizes,
        in_dtype=type_name(images.dtype),
        kernel_dtype=type_name(weights.dtype),
        acc=accumulator(dtype),
        out_dtype=type_name(dtype),
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
    target = np.moveaxis(target, -1, 1) if channels_last else target
    execute(problem, x, weights, target, bias=arrays.get("bias"), threads=threads)
    return native(result)


def _groups(groups: Any, channels: int, filters: int, group_channels: int) -> int:
    (groups,) = int_tuple("groups", groups, 1, minimum=1)
    if channels % groups or filters % groups:
        raise ValueError(
            f"groups must divide the {channels} channels of input and the {filters} filters of weight; got {groups}"
        )
    if group_channels != channels // groups:
        raise ValueError(
            f"weight must have C/groups = {channels}/{groups} = {channels // groups} channels (axis 1); got {group_channels}"
        )
    return groups


def _padding(
    padding: Any, sizes: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """Zeros (before, after) along each axis."""
    axes = range(len(sizes))
    if isinstance(padding, str):
        name = choice("padding", padding.lower(), {"same": "same", "valid": "valid"})
        if name == "valid":
            return ((0, 0),) * len(sizes)
        # TensorFlow's rule: as little as makes ceil(size / stride) outputs, the odd one after.
        reach = [(-(-sizes[a] // stride[a]) - 1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1 for a in axes]
        total = [max(reach[a] - sizes[a], 0) for a in axes]
        return tuple((t // 2, t - t // 2) for t in total)
    padding = tuple(padding) if isinstance(padding, Iterable) else padding
    if isinstance(padding, tuple) and any(isinstance(p, Iterable) for p in padding):
        if len(padding) != len(sizes):
            raise ValueError(
                f"padding must be an integer, {len(sizes)} integers or {len(sizes)} pairs; got {padding!r}"
            )
        pairs = [int_tuple("padding", p, 2, minimum=0) for p in padding]
        return tuple((before, after) for before, after in pairs)
    return tuple((p, p) for p in int_tuple("padding", padding, len(sizes), minimum=0))


def _out_sizes(
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
) -> tuple[int, ...]:
    out = []
    for n, k, s, d, (before, after) in zip(sizes, kernel, stride, dilation, pads, strict=True):
        room = n + before + after - d * (k - 1) - 1
        if room < 0:
            raise ValueError(
                f"weight must fit into the padded input: a kernel of {k} with dilation {d} spans {d * (k - 1) + 1}, "
                f"the input with its padding {n + before + after}"
            )
        out.append(room // s + 1)
    return tuple(out)
