"""What the quantised convolutions share: arguments become a problem."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.nn.arguments import canonical, group_count, is_channels_last, out_sizes, padding_of, result_shape
from fastconv.nn.convolution import images_and_weights
from fastconv.plan import execute
from fastconv.problem import ConvProblem, QuantizedProblem
from fastconv.validate import as_array, int_tuple, new_or_checked_out, type_name

__all__ = ["quantized"]

# Ranges of the types that numbers are quantised to.
BYTES = {"uint8": (0, 255), "int8": (-128, 127)}


def quantized(
    ndim: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any,
    quantization: tuple, data_format: Any, dtype: Any, out: Any, threads: int | None,
) -> Any:  # fmt: skip
    """The quantised convolutions over `ndim` spatial axes; see `fastconv.nn.quantized`."""
    images, weights = images_and_weights(ndim, input, weight)
    for name, array in (("input", images), ("weight", weights)):
        if type_name(array.dtype) not in BYTES or not isinstance(array, np.ndarray):
            raise TypeError(f"{name} must be a host array of uint8 or int8; got {array.dtype}")
    result_dtype = _result_dtype(images.dtype if dtype is None else dtype)
    channels_last = is_channels_last(data_format, ndim)
    x = canonical(images, ndim, channels_last)
    filters, group_channels, *kernel_shape = weights.shape
    groups, kernel = group_count(groups, x.shape[1], filters, group_channels), tuple(kernel_shape)
    stride = int_tuple("stride", stride, ndim, minimum=1)
    dilation = int_tuple("dilation", dilation, ndim, minimum=1)
    pads = padding_of(padding, x.shape[2:], kernel, stride, dilation, causal=ndim == 1)
    sizes = out_sizes(x.shape[2:], kernel, stride, dilation, pads)
    zero, constants, shift = _constants(images, weights, bias, quantization, result_dtype)

    arrays = {"input": images, "weight": weights} | ({} if bias is None else {"bias": np.asarray(bias)})
    shape = result_shape(x.shape[0], filters, sizes, channels_last, images.ndim == ndim + 2)
    result = new_or_checked_out(out, shape, result_dtype, arrays)
    if x.shape[0] == 0:
        return result
    conv = ConvProblem(
        in_shape=x.shape[2:],
        kernel_shape=kernel,
        out_shape=sizes,
        in_dtype=type_name(images.dtype),
        kernel_dtype=type_name(weights.dtype),
        acc="int32",
        out_dtype=type_name(result_dtype),
        pad=tuple(before for before, _ in pads),
        boundary=("fill",) * ndim,
        stride=stride,
        dilation=dilation,
        batch=x.shape[0],
        channels=x.shape[1],
        filters=filters,
        groups=groups,
        channels_last=channels_last,
    )
    target = canonical(result, ndim, channels_last)
    problem = QuantizedProblem(conv, type_name(result_dtype), shift)
    execute(problem, x, weights, target, bias=constants, fill=zero, threads=threads)
    return result


def _result_dtype(dtype: Any) -> np.dtype:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = repr(dtype)
    if name not in BYTES:
        raise TypeError(f"dtype must be uint8 or int8; got {name}")
    return np.dtype(name)


def _constants(
    images: np.ndarray, weights: np.ndarray, bias: Any, quantization: tuple, dtype: np.dtype
) -> tuple[int, np.ndarray, int]:
    """The input's zero point; scales and offsets of the sums, zero points of the weights; the result's zero point."""
    input_scale, input_zero, weight_scale, weight_zero, scale, zero = quantization
    filters = len(weights)
    scales = [
        _scale("input_scale", input_scale, 1), _scale("weight_scale", weight_scale, filters), _scale("scale", scale, 1),
    ]  # fmt: skip
    (input_zero,) = _zero_point("input_zero_point", input_zero, 1, images.dtype).tolist()
    (zero,) = _zero_point("zero_point", zero, 1, dtype).tolist()
    zeros = _zero_point("weight_zero_point", weight_zero, filters, weights.dtype)
    products = np.broadcast_to(scales[0] * scales[1], (filters,))
    offsets = np.zeros(filters)
    if bias is not None:
        array = as_array("bias", bias, ndim=1)
        if array.shape != (filters,):
            raise ValueError(f"bias must have shape ({filters},), one for each filter of weight; got {array.shape}")
        if array.dtype.kind not in "iuf" or (array.dtype.kind != "f" and array.dtype.itemsize > 4):
            raise TypeError(f"bias must be of integers of up to 32 bits, or of real numbers; got {array.dtype}")
        offsets = array / products if array.dtype.kind == "f" else array
    return input_zero, np.stack(np.broadcast_arrays(products / scales[2], offsets, zeros.astype(np.float64))), zero


def _scale(name: str, value: Any, filters: int) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a positive number; got {value!r}")
    _check_count(name, array, filters)
    if not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(f"{name} must be positive and finite; got {value!r}")
    return array.astype(np.float64).reshape(-1)


def _zero_point(name: str, value: Any, filters: int, dtype: np.dtype) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an integer; got {value!r}")
    _check_count(name, array, filters)
    low, high = BYTES[dtype.name]
    if ((array < low) | (array > high)).any():
        raise ValueError(f"{name} must be in [{low}, {high}] for {dtype}; got {value!r}")
    return array.astype(np.int64).reshape(-1)


def _check_count(name: str, array: np.ndarray, filters: int) -> None:
    if array.size != 1 and array.shape != (filters,):
        raise ValueError(f"{name} must be one number{f' or {filters}' * (filters > 1)}; got shape {array.shape}")
