"""What transposed convolutions and the gradients of convolutions share: arguments become problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fastconv.config import current_precision
from fastconv.device import native
from fastconv.nn.arguments import (
    Pads,
    canonical,
    group_count,
    is_channels_last,
    out_sizes,
    padding_of,
    result_shape,
    rule_of,
    sum_type,
)
from fastconv.nn.convolution import bias_array, images_and_weights
from fastconv.plan import execute
from fastconv.problem import BiasGradientProblem, ConvProblem, TransposedProblem, WeightGradientProblem, accumulator
from fastconv.replay import by_value, conjugate, constant, copy_into
from fastconv.validate import activation_of, as_array, int_tuple, new_or_checked_out, type_name

__all__ = [
    "bias_gradient",
    "input_gradient",
    "transpose",
    "transposed_input_gradient",
    "transposed_weight_gradient",
    "weight_gradient",
]


class _Shape(NamedTuple):
    """A batch in the caller's layout."""

    batch: int
    channels: int
    sizes: tuple[int, ...]
    channels_last: bool
    batched: bool

    @property
    def theirs(self) -> tuple[int, ...]:
        return result_shape(*self)


class _Window(NamedTuple):
    """How a convolution steps: stride, dilation and padding along each axis, and its boundary rule."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pads
    rule: str = "fill"


# -- transposed convolution --------------------------------------------------------------------


def transpose(
    ndim: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: Any,
    dilation: Any, data_format: Any, activation: Any, dtype: Any, out: Any, threads: int | None,
) -> Any:  # fmt: skip
    """The transposed convolutions of `fastconv.nn` over `ndim` spatial axes; see their docstrings."""
    images, weights = images_and_weights(ndim, input, weight)
    arrays = {"input": images, "weight": weights}
    given = _shape(images.shape, ndim, data_format)
    channels = _transposed_channels(given.channels, weights.shape, groups)
    if bias is not None:
        arrays["bias"] = bias_array(bias, channels)
    summed = sum_type(dtype, **arrays)
    function, slope = activation_of(activation)
    if function and summed.kind not in "fV":
        raise TypeError(f"activation must be None for results that are not floating-point numbers; got {summed}")
    window, sizes = _transposed_window(given.sizes, weights.shape[2:], stride, padding, output_padding, dilation)

    made = given._replace(channels=channels, sizes=sizes)
    result = new_or_checked_out(out, made.theirs, summed, arrays)
    if given.batch:
        conv = _problem(made, given, window, groups, result, weights, images, summed)
        problem = TransposedProblem(conv, bias is not None, function, slope)
        _run(problem, images, weights, result, made, bias=arrays.get("bias"), threads=threads)
    return native(result)


def transposed_input_gradient(
    ndim: int, input_size: Any, weight: Any, grad_output: Any, stride: Any, padding: Any, output_padding: Any, groups: Any,
    dilation: Any, data_format: Any, out: Any, threads: int | None,
) -> Any:  # fmt: skip
    """The gradients of transposed convolutions with respect to their input."""
    weights = as_array("weight", weight, ndim=ndim + 2, bfloat16=True)
    given = _sizes("input_size", input_size, ndim, data_format)
    channels = _transposed_channels(given.channels, weights.shape, groups)
    window, sizes = _transposed_window(given.sizes, weights.shape[2:], stride, padding, output_padding, dilation)
    made = given._replace(channels=channels, sizes=sizes)
    grad = _gradient(grad_output, made)
    summed = sum_type(None, weight=weights, grad_output=grad)
    result = new_or_checked_out(out, given.theirs, summed, {"weight": weights, "grad_output": grad})
    if given.batch:
        conv = _problem(made, given, window, groups, grad, weights, result, summed)
        _run(conv, grad, conjugate(weights), result, given, threads=threads)
    return native(result)


def transposed_weight_gradient(
    ndim: int, input: Any, weight_size: Any, grad_output: Any, stride: Any, padding: Any, output_padding: Any, groups: Any,
    dilation: Any, data_format: Any, out: Any, threads: int | None,
) -> Any:  # fmt: skip
    """The gradients of transposed convolutions with respect to their weight."""
    images = _images(input, ndim)
    shape = int_tuple("weight_size", weight_size, ndim + 2, minimum=1)
    given = _shape(images.shape, ndim, data_format)
    channels = _transposed_channels(given.channels, shape, groups)
    window, sizes = _transposed_window(given.sizes, shape[2:], stride, padding, output_padding, dilation)
    made = given._replace(channels=channels, sizes=sizes)
    grad = _gradient(grad_output, made)
    result, images, grad = _weight_result(images, grad, shape, out)
    if given.batch:
        conv = _problem(made, given, window, groups, grad, result, images, result.dtype)
        _run_weight(conv, grad, images, result, given.channels_last, threads)
        if result.dtype.kind == "c":
            by_value()  # NumPy does it
            np.conjugate(result, out=result)  # not the gradient of the output is to be conjugated, but the input
    return native(result)


def _transposed_channels(filters: int, weight_shape: tuple[int, ...], groups: Any) -> int:
    """Channels of the result of a transposed convolution."""
    (groups,) = int_tuple("groups", groups, 1, minimum=1)
    if weight_shape[0] != filters or filters % groups:
        raise ValueError(
            f"weight must have as many channels (axis 0) as input, a multiple of groups = {groups}; "
            f"got {weight_shape[0]} for {filters}"
        )
    return weight_shape[1] * groups


def _transposed_window(
    sizes: tuple[int, ...], kernel: tuple[int, ...], stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> tuple[_Window, tuple[int, ...]]:
    """The window of a transposed convolution, and the sizes of its result."""
    ndim = len(sizes)
    stride = int_tuple("stride", stride, ndim, minimum=1)
    dilation = int_tuple("dilation", dilation, ndim, minimum=1)
    if isinstance(padding, str):
        raise ValueError(f"padding must be an integer, {ndim} integers or {ndim} pairs; got {padding!r}")
    pads = padding_of(padding, sizes, kernel, stride, dilation)
    extra = int_tuple("output_padding", output_padding, ndim, minimum=0)
    made = []
    for n, k, s, d, (before, after), more in zip(sizes, kernel, stride, dilation, pads, extra, strict=True):
        if more >= max(s, d):
            raise ValueError(f"output_padding must be smaller than the stride or the dilation, {s} and {d}; got {more}")
        made.append((n - 1) * s + d * (k - 1) + 1 + more - before - after)
    if min(made) < 1:
        raise ValueError(
            f"padding must leave something of the result, whose sizes would be {tuple(made)}; got {padding!r}"
        )
    return _Window(kernel, stride, dilation, pads), tuple(made)


# -- gradients of convolutions -------------------------------------------------------------------


def input_gradient(
    ndim: int, input_size: Any, weight: Any, grad_output: Any, stride: Any, padding: Any, dilation: Any, groups: Any,
    data_format: Any, padding_mode: Any, out: Any, threads: int | None,
) -> Any:  # fmt: skip
    """The gradients of convolutions with respect to their input."""
    weights = as_array("weight", weight, ndim=ndim + 2, bfloat16=True)
    given = _sizes("input_size", input_size, ndim, data_format)
    window, made = _convolved(given, weights.shape, stride, padding, dilation, groups, padding_mode)
    grad = _gradient(grad_output, made)
    summed = sum_type(None, weight=weights, grad_output=grad)
    result = new_or_checked_out(out, given.theirs, summed, {"weight": weights, "grad_output": grad})
    if given.batch:
        conv = _problem(given, made, window, groups, result, weights, grad, summed)
        _run(TransposedProblem(conv), grad, conjugate(weights), result, given, threads=threads)
    return native(result)


def weight_gradient(
    ndim: int, input: Any, weight_size: Any, grad_output: Any, stride: Any, padding: Any, dilation: Any, groups: Any,
    data_format: Any, padding_mode: Any, out: Any, threads: int | None,
) -> Any:  # fmt: skip
    """The gradients of convolutions with respect to their weight."""
    images = _images(input, ndim)
    shape = int_tuple("weight_size", weight_size, ndim + 2, minimum=1)
    given = _shape(images.shape, ndim, data_format)
    window, made = _convolved(given, shape, stride, padding, dilation, groups, padding_mode)
    grad = _gradient(grad_output, made)
    result, images, grad = _weight_result(images, grad, shape, out)
    if given.batch:
        conv = _problem(given, made, window, groups, images, result, grad, result.dtype)
        _run_weight(conv, images, grad, result, given.channels_last, threads)
    return native(result)


def bias_gradient(ndim: int, grad_output: Any, data_format: Any, out: Any, threads: int | None) -> Any:
    """The gradients of convolutions with respect to their bias: sums, or gradients of the weight of a channel of ones."""
    grad = as_array("grad_output", grad_output, ndim=(ndim + 1, ndim + 2), empty=True, bfloat16=True)
    made = _shape(grad.shape, ndim, data_format)
    result = new_or_checked_out(out, (made.channels,), sum_type(None, grad_output=grad), {"grad_output": grad})
    if grad.size == 0:
        result[...] = 0
        return native(result)
    if isinstance(grad, np.ndarray) and grad.flags.c_contiguous and grad.dtype in (np.float32, np.float64):
        _sum_pixels(grad, made, result, threads)
        return native(result)
    one, ones = (1,) * ndim, constant(np.broadcast_to(np.ones(1, grad.dtype), (made.batch, 1, *made.sizes)))
    window = _Window(one, one, one, ((0, 0),) * ndim)
    conv = _problem(made._replace(channels=1), made, window, 1, grad, grad, grad, grad.dtype)
    target = (
        result.reshape(-1, 1, *one) if result.flags.c_contiguous else np.empty((made.channels, 1, *one), grad.dtype)
    )
    execute(WeightGradientProblem(conv), ones, canonical(grad, ndim, made.channels_last), target, threads=threads)
    if not np.may_share_memory(target, result):
        copy_into(result, target.reshape(-1))
    return native(result)


def _sum_pixels(grad: np.ndarray, made: _Shape, result: np.ndarray, threads: int | None) -> None:
    """Sums of channels where they lie."""
    order = (made.batch, -1, made.channels) if made.channels_last else (made.batch, made.channels, -1)
    planes = grad.reshape(order)
    planes = planes.swapaxes(1, 2) if made.channels_last else planes
    target = result if result.flags.c_contiguous else np.empty(made.channels, result.dtype)
    problem = BiasGradientProblem(made.batch, made.channels, planes.shape[2], grad.dtype.name)
    execute(problem, planes, None, target, threads=threads)
    if target is not result:
        copy_into(result, target)


def _convolved(
    given: _Shape,
    weight_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    padding_mode: Any,
) -> tuple[_Window, _Shape]:
    """The window of a convolution, and what it makes."""
    ndim, kernel = len(given.sizes), weight_shape[2:]
    group_count(groups, given.channels, weight_shape[0], weight_shape[1])
    stride = int_tuple("stride", stride, ndim, minimum=1)
    dilation = int_tuple("dilation", dilation, ndim, minimum=1)
    pads = padding_of(padding, given.sizes, kernel, stride, dilation, causal=ndim == 1)
    rule = rule_of(padding_mode, pads, given.sizes)
    sizes = out_sizes(given.sizes, kernel, stride, dilation, pads)
    return _Window(kernel, stride, dilation, pads, rule), given._replace(channels=weight_shape[0], sizes=sizes)


# -- arrays --------------------------------------------------------------------------------------


def _images(input: Any, ndim: int) -> Any:
    images = as_array("input", input, ndim=(ndim + 1, ndim + 2), empty=True, bfloat16=True)
    if images.size == 0 and (images.ndim == ndim + 1 or 0 in images.shape[1:]):
        raise ValueError(f"input must not be empty but for its batch; got shape {images.shape}")
    return images


def _shape(shape: tuple[int, ...], ndim: int, data_format: Any) -> _Shape:
    channels_last, batched = is_channels_last(data_format, ndim), len(shape) == ndim + 2
    inner = shape[1:] if batched else shape
    channels, sizes = (inner[-1], inner[:-1]) if channels_last else (inner[0], inner[1:])
    return _Shape(shape[0] if batched else 1, channels, tuple(sizes), channels_last, batched)


def _sizes(name: str, value: Any, ndim: int, data_format: Any) -> _Shape:
    """The argument as the shape of an array in the caller's layout."""
    values = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
    if len(values) not in (ndim + 1, ndim + 2):
        raise ValueError(f"{name} must be the shape of an array of {ndim + 1} or {ndim + 2} dimensions; got {value!r}")
    shape = int_tuple(name, values, len(values), minimum=0)
    if 0 in shape[len(shape) - ndim - 1 :]:
        raise ValueError(f"{name} must not be empty but for its batch; got {value!r}")
    return _shape(shape, ndim, data_format)


def _gradient(grad_output: Any, made: _Shape) -> Any:
    grad = as_array("grad_output", grad_output, ndim=len(made.theirs), empty=True, bfloat16=True)
    if grad.shape != made.theirs:
        raise ValueError(f"grad_output must have the shape of the output, {made.theirs}; got {grad.shape}")
    return grad


def _weight_result(images: Any, grad: Any, shape: tuple[int, ...], out: Any) -> tuple[Any, Any, Any]:
    """An array for the gradient of the weight, and those that it is made of: all complex if one is."""
    arrays = {"input": images, "grad_output": grad}
    summed = sum_type(None, **arrays)
    result = new_or_checked_out(out, shape, summed, arrays)
    if 0 in images.shape:
        result[...] = 0
    if summed.kind == "c":
        images, grad = images.astype(summed, copy=False), grad.astype(summed, copy=False)
    return result, images, grad


def _problem(
    read: _Shape, made: _Shape, window: _Window, groups: Any, x: Any, w: Any, out: Any, summed: np.dtype
) -> ConvProblem:
    """The convolution that a gradient belongs to, whose three arrays have these dtypes."""
    return ConvProblem(
        in_shape=read.sizes,
        kernel_shape=window.kernel,
        out_shape=made.sizes,
        in_dtype=type_name(x.dtype),
        kernel_dtype=type_name(w.dtype),
        acc=accumulator(summed),
        out_dtype=type_name(out.dtype),
        pad=tuple(before for before, _ in window.pads),
        boundary=(window.rule,) * len(read.sizes),
        stride=window.stride,
        dilation=window.dilation,
        batch=read.batch,
        channels=read.channels,
        filters=made.channels,
        groups=int_tuple("groups", groups, 1, minimum=1)[0],
        channels_last=read.channels_last,
        precision=current_precision(),
    )


def _run(problem: Any, x: Any, w: Any, result: Any, made: _Shape, **options: Any) -> None:
    ndim = len(made.sizes)
    execute(
        problem, canonical(x, ndim, made.channels_last), w, canonical(result, ndim, made.channels_last), **options
    )  # fmt: skip


def _run_weight(conv: ConvProblem, x: Any, grad: Any, result: Any, channels_last: bool, threads: int | None) -> None:
    x, grad = (canonical(array, conv.ndim, channels_last) for array in (x, grad))
    execute(WeightGradientProblem(conv), x, grad, result, threads=threads)
