"""What `conv1d`, `conv2d` and `conv3d` share: arguments become a problem."""

from __future__ import annotations

from typing import Any

from fastconv.config import current_precision
from fastconv.device import native
from fastconv.nn.arguments import (
    canonical,
    group_count,
    is_channels_last,
    out_sizes,
    padding_of,
    result_shape,
    rule_of,
    sum_type,
)
from fastconv.plan import execute
from fastconv.problem import ConvProblem, accumulator
from fastconv.validate import activation_of, as_array, int_tuple, new_or_checked_out, type_name

__all__ = ["bias_array", "convolve", "images_and_weights"]


def convolve(
    ndim: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any,
    data_format: Any, padding_mode: Any, activation: Any, dtype: Any, out: Any, threads: int | None,
) -> Any:  # fmt: skip
    """The convolutions of `fastconv.nn` over `ndim` spatial axes; see their docstrings."""
    images, weights = images_and_weights(ndim, input, weight)
    arrays = {"input": images, "weight": weights}
    if bias is not None:
        arrays["bias"] = bias_array(bias, weights.shape[0])
    channels_last = is_channels_last(data_format, ndim)
    summed = sum_type(dtype, **arrays)
    function, slope = activation_of(activation)
    if function and summed.kind not in "fV":
        raise TypeError(f"activation must be None for results that are not floating-point numbers; got {summed}")

    x = canonical(images, ndim, channels_last)
    filters, group_channels, *kernel = weights.shape
    groups = group_count(groups, x.shape[1], filters, group_channels)
    stride = int_tuple("stride", stride, ndim, minimum=1)
    dilation = int_tuple("dilation", dilation, ndim, minimum=1)
    pads = padding_of(padding, x.shape[2:], tuple(kernel), stride, dilation, causal=ndim == 1)
    rule = rule_of(padding_mode, pads, x.shape[2:])
    sizes = out_sizes(x.shape[2:], tuple(kernel), stride, dilation, pads)

    shape = result_shape(x.shape[0], filters, sizes, channels_last, images.ndim == ndim + 2)
    result = new_or_checked_out(out, shape, summed, arrays)
    if x.shape[0] == 0:
        return native(result)
    problem = ConvProblem(
        in_shape=x.shape[2:],
        kernel_shape=tuple(kernel),
        out_shape=sizes,
        in_dtype=type_name(images.dtype),
        kernel_dtype=type_name(weights.dtype),
        acc=accumulator(summed),
        out_dtype=type_name(summed),
        pad=tuple(before for before, _ in pads),
        boundary=(rule,) * ndim,
        stride=stride,
        dilation=dilation,
        batch=x.shape[0],
        channels=x.shape[1],
        filters=filters,
        groups=groups,
        bias=bias is not None,
        channels_last=channels_last,
        activation=function,
        slope=slope,
        precision=current_precision(),
    )
    target = canonical(result, ndim, channels_last)
    execute(problem, x, weights, target, bias=arrays.get("bias"), threads=threads)
    return native(result)


def images_and_weights(ndim: int, input: Any, weight: Any) -> tuple[Any, Any]:
    """The arguments as arrays of the right dimensions; only the batch may be empty."""
    images = as_array("input", input, ndim=(ndim + 1, ndim + 2), empty=True, bfloat16=True)
    if images.size == 0 and (images.ndim == ndim + 1 or 0 in images.shape[1:]):
        raise ValueError(f"input must not be empty but for its batch; got shape {images.shape}")
    return images, as_array("weight", weight, ndim=ndim + 2, bfloat16=True)


def bias_array(bias: Any, filters: int) -> Any:
    """The argument as an array of one number for each filter."""
    array = as_array("bias", bias, ndim=1, bfloat16=True)
    if array.shape != (filters,):
        raise ValueError(f"bias must have shape ({filters},), one for each filter of weight; got {array.shape}")
    return array
