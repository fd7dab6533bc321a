"""What the gradients of pooling share: arguments checked, a problem computed."""

from __future__ import annotations

from collections.abc import Iterable
from math import isinf, prod
from typing import Any

import numpy as np

from fastconv import config
from fastconv.device import native, on_device
from fastconv.nn.pool.arguments import FLOATS, Images, Window, divisor_of, power_of
from fastconv.nn.pool.positions import checked_indices, move
from fastconv.plan import execute
from fastconv.problem import ActivationProblem, PoolGradientProblem, PoolProblem, RegionPoolProblem
from fastconv.replay import by_value
from fastconv.validate import int_tuple, new_or_checked_out, type_name

__all__ = [
    "adaptive_average_gradient",
    "average_gradient",
    "maxima_gradient",
    "power_gradient",
    "unpool_gradient",
]

Shape = tuple[int, ...]


def _sizes_of(input_shape: Any, images: Images) -> Shape:
    """The sizes along the spatial axes of an input that has the batch and channels of `images`."""
    given = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    shape = int_tuple("input_shape", given, images.array.ndim, minimum=0)
    sizes = shape[-images.n - 1 : -1] if images.channels_last else shape[-images.n :]
    if shape != images.shape(sizes) or 0 in sizes:
        raise ValueError(
            f"input_shape must have the batch and channels of grad_output, {images.array.shape}, and sizes of at least 1; "
            f"got {input_shape!r}"
        )
    return sizes


def _new(images: Images, sizes: Shape, out: Any, **others: Any) -> Any:
    arrays = {"grad_output": images.array, **others}
    return new_or_checked_out(out, images.shape(sizes), images.array.dtype, arrays)


def maxima_gradient(
    n: int, grad_output: Any, indices: Any, input_shape: Any, data_format: str, out: Any, threads: int | None
) -> Any:
    """The gradient with respect to an input of which `indices` were the maxima."""
    images = Images("grad_output", grad_output, n, data_format, FLOATS)
    sizes = _sizes_of(input_shape, images)
    places = checked_indices(images, indices, sizes, "grad_output", none=True, examined=out is not None)
    return native(move("add", images, places, sizes, _new(images, sizes, out, indices=places), threads))


def unpool_gradient(n: int, grad_output: Any, indices: Any, data_format: str, out: Any, threads: int | None) -> Any:
    """The gradient with respect to an input that was unpooled by `indices`."""
    gradient = Images("grad_output", grad_output, n, data_format, FLOATS)
    shape = np.shape(indices)
    sizes = shape[-n - 1 : -1] if gradient.channels_last else shape[-n:]
    if len(shape) != gradient.array.ndim or shape != gradient.shape(sizes):
        raise ValueError(
            f"indices must have the batch and channels of grad_output, {gradient.array.shape}; got {shape}"
        )
    result = _new(gradient, sizes, out)
    images = Images("out", result, n, data_format, FLOATS)
    places = checked_indices(images, indices, gradient.sizes, "the input", examined=out is not None)
    if out is not None and np.may_share_memory(result, places):
        raise ValueError("out must not overlap indices; they share memory")
    move("take", images, places, gradient.sizes, gradient.array, threads)
    return native(result)


def _average(pool: PoolProblem | RegionPoolProblem, images: Images, x: Any, result: Any, threads: int | None) -> Any:
    if images.x.size:
        execute(PoolGradientProblem(pool), x, None, images.canonical(result), threads=threads)
    return result


def _pooled(name: str, images: Images, made: Shape) -> None:
    if images.sizes != made:
        raise ValueError(f"{name} must have sizes {made} along the spatial axes; got shape {images.array.shape}")


def average_gradient(
    n: int, grad_output: Any, input_shape: Any, sizes: tuple, ceil_mode: Any, counts: tuple, data_format: str, out: Any,
    threads: int | None,
) -> Any:  # fmt: skip
    """The gradient with respect to an input that was averaged."""
    images = Images("grad_output", grad_output, n, data_format, FLOATS)
    shape = _sizes_of(input_shape, images)
    window = Window(shape, sizes, ceil_mode)
    _pooled("grad_output", images, window.out)
    included = bool(counts[0]) and not window.same
    problem = window.problem("avg", images, shape, divisor=divisor_of(counts[1]), count_include_pad=included)
    return native(_average(problem, images, images.x, _new(images, shape, out), threads))


def adaptive_average_gradient(
    n: int, grad_output: Any, input_shape: Any, data_format: str, out: Any, threads: int | None
) -> Any:
    """The gradient with respect to an input of which adaptive windows were averaged."""
    images = Images("grad_output", grad_output, n, data_format, FLOATS)
    shape = _sizes_of(input_shape, images)
    pool = RegionPoolProblem(
        "avg", shape, images.sizes, images.dtype, (), images.batch, images.channels, False, images.channels_last
    )
    return native(_average(pool, images, images.x, _new(images, shape, out), threads))


def power_gradient(
    n: int, arrays: tuple, norm_type: Any, sizes: tuple, ceil_mode: Any, data_format: str, out: Any, threads: int | None
) -> Any:
    """The gradient with respect to an input whose windows' power averages were taken."""
    images, given, pooled = (
        Images(name, array, n, data_format, FLOATS)
        for name, array in zip(("grad_output", "input", "output"), arrays, strict=True)
    )
    power = power_of(norm_type)
    if isinf(power):
        raise ValueError(
            f"norm_type must be finite: the gradient of a maximum is max_pool{n}d_backward; got {norm_type!r}"
        )
    window = Window(given.sizes, sizes, ceil_mode)
    if given.shape(window.out) != pooled.array.shape or pooled.array.shape != images.array.shape:
        raise ValueError(
            f"grad_output and output must have shape {given.shape(window.out)}; got {images.array.shape} "
            f"and {pooled.array.shape}"
        )
    if len({images.dtype, given.dtype, pooled.dtype}) > 1:
        raise TypeError(
            f"grad_output, input and output must have one dtype; got {images.dtype}, {given.dtype} and {pooled.dtype}"
        )
    result = _new(images, given.sizes, out, input=given.array, output=pooled.array)
    if on_device(images.x, given.x, pooled.x, result) or config.current_engine() == "cuda":
        pool = window.problem("lp", images, given.sizes, power=power)
        if result.size:
            execute(
                PoolGradientProblem(pool), images.x, given.x, images.canonical(result), bias=pooled.x, threads=threads
            )
        return native(result)
    if images.array.dtype.itemsize == 2:  # powers are beyond the range of 16 bits
        by_value()  # NumPy converts them
        wide = tuple(given.array.astype(np.float32) for given in (images, given, pooled))
        result[...] = power_gradient(n, wide, norm_type, sizes, ceil_mode, data_format, None, threads)
        return native(result)
    if not result.size:
        return native(result)
    shares, slopes = (
        ActivationProblem(name, x.shape, type_name(x.dtype), exponent, factor, backward=True)
        for name, x, exponent, factor in (
            ("power_or_0", pooled.array, 1 - power, float(prod(window.kernel))),
            ("power", given.array, power - 1, 1.0),
        )
    )
    share = np.empty(images.array.shape, images.array.dtype)
    execute(shares, pooled.array, images.array, share, threads=threads)
    _average(window.problem("avg", images, given.sizes), images, images.canonical(share), result, threads)
    execute(slopes, given.array, result, result, threads=threads)
    return native(result)
