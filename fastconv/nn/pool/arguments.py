"""What the functions of pooling share: arguments checked, a problem computed."""

from __future__ import annotations

from collections.abc import Iterable
from math import isinf
from typing import Any

import numpy as np

from fastconv.device import native, on_device
from fastconv.nn.arguments import canonical, is_channels_last, padding_of, result_shape
from fastconv.plan import execute
from fastconv.problem import PoolProblem, RegionPoolProblem
from fastconv.replay import by_value
from fastconv.validate import as_array, int_tuple, new_or_checked_out, type_name

__all__ = [
    "FLOATS", "INTEGERS", "Images", "Window", "adaptive_pool", "avg_pool", "computed", "divisor_of", "lp_pool",
    "max_pool", "power_of",
]  # fmt: skip

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
Shape = tuple[int, ...]


class Images:
    """A batch of images (signals, solids), or one, in the caller's layout, and its canonical view `x`."""

    def __init__(
        self, name: str, value: Any, n: int, data_format: str, dtypes: tuple[str, ...], *, empty: bool = False
    ):
        self.n, self.channels_last = n, is_channels_last(data_format, n)
        self.array = as_array(name, value, ndim=(n + 1, n + 2), empty=True, bfloat16=True)
        self.dtype = type_name(self.array.dtype)
        if self.dtype not in dtypes:
            raise TypeError(f"{name} must have one of the dtypes {', '.join(dtypes)}; got {self.dtype}")
        self.batched = self.array.ndim == n + 2
        if 0 in self.array.shape[-n - 1 :] and not empty:
            raise ValueError(f"{name} must be a batch of images that are not empty; got shape {self.array.shape}")
        self.x = canonical(self.array, n, self.channels_last)
        self.sizes: Shape = self.x.shape[2:]
        self.batch, self.channels = self.x.shape[:2]

    def shape(self, sizes: Shape) -> Shape:
        """Of a result with these sizes along the spatial axes, in the caller's layout."""
        return result_shape(self.batch, self.channels, sizes, self.channels_last, self.batched)

    def results(self, sizes: Shape, out: Any, indices: bool, name: str = "input") -> tuple[Any, ...]:
        """The array for the result, or it and that for the indices."""
        outs = tuple(out) if indices and isinstance(out, list | tuple) else (out, None)
        if len(outs) != 2:
            raise ValueError(
                f"out must be an array or a pair of arrays, for maxima and indices; got {len(outs)} of them"
            )
        shape, arrays = self.shape(sizes), {name: self.array}
        result = new_or_checked_out(
            outs[0], shape, self.array.dtype, arrays, "out[0]" if outs[1] is not None else "out"
        )
        if not indices:
            return (result,)
        return result, new_or_checked_out(outs[1], shape, np.dtype(np.int64), arrays | {"out[0]": result}, "out[1]")

    def canonical(self, array: Any) -> Any:
        """The view (N, C, ...) of a result."""
        return canonical(array, self.n, self.channels_last)


class Window:
    """A window that slides over images; `given` are its size and step, padding and dilation if they are arguments."""

    def __init__(self, sizes: Shape, given: tuple, ceil_mode: Any):
        n = len(sizes)
        kernel_size, stride, padding, dilation = given + (0, 1)[len(given) - 2 :]
        self.kernel = int_tuple("kernel_size", kernel_size, n, minimum=1)
        self.stride = self.kernel if stride is None else int_tuple("stride", stride, n, minimum=1)
        self.dilation = int_tuple("dilation", dilation, n, minimum=1)
        if isinstance(padding, Iterable) and not isinstance(padding, str):
            padding = tuple(padding)
        pads = padding_of(padding, sizes, self.kernel, self.stride, self.dilation)
        self.same = isinstance(padding, str)
        uneven = isinstance(padding, tuple) and any(isinstance(p, Iterable) for p in padding)
        for k, pair in zip(self.kernel, pads, strict=True):
            if not self.same and max(pair) > (k - 1 if uneven else k // 2):
                allowed = "less than" if uneven else "at most half of"
                raise ValueError(f"padding must be {allowed} kernel_size {self.kernel}; got {padding!r}")
        self.pad, self.pad_after = (tuple(ends) for ends in zip(*pads, strict=True))
        axes = zip(sizes, self.kernel, self.stride, pads, self.dilation, strict=True)
        self.out = tuple(_out_size(*axis, ceil_mode=bool(ceil_mode) and not self.same) for axis in axes)

    def problem(self, kind: str, images: Images, sizes: Shape = (), **options: Any) -> PoolProblem:
        """The pooling of images, or (with `sizes`) of others with their batch and channels."""
        after = () if self.pad_after == self.pad else self.pad_after
        return PoolProblem(
            kind=kind, in_shape=sizes or images.sizes, kernel_shape=self.kernel, out_shape=self.out, dtype=images.dtype,
            pad=self.pad, pad_after=after, stride=self.stride, dilation=self.dilation, batch=images.batch,
            channels=images.channels, channels_last=images.channels_last, **options,
        )  # fmt: skip


def _out_size(size: int, kernel: int, stride: int, pads: Shape, dilation: int, *, ceil_mode: bool) -> int:
    room = size + sum(pads) - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + pads[0]:
        count -= 1  # the last window would see neither the image nor the padding before it
    if count < 1:
        raise ValueError(
            f"kernel_size must fit into the padded input: {kernel} with dilation {dilation} spans "
            f"{dilation * (kernel - 1) + 1}, the input with its padding {size + sum(pads)}"
        )
    return count


def computed(problem: Any, images: Images, x: Any, results: tuple[Any, ...], bias: Any, threads: int | None) -> Any:
    """The results of a problem."""
    if images.x.size:
        target, *where = map(images.canonical, results)
        execute(problem, x, where[0] if where else None, target, bias=bias, threads=threads)
    found = tuple(map(native, results))
    return found if len(found) == 2 else found[0]


def max_pool(
    n: int, input: Any, sizes: tuple, ceil_mode: Any, indices: Any, data_format: str, out: Any, threads: int | None
) -> Any:
    """See docstring in `fastconv.nn.max_pool2d`."""
    images, indices = Images("input", input, n, data_format, ("bool", *INTEGERS, *FLOATS)), bool(indices)
    window = Window(images.sizes, sizes, ceil_mode)
    results = images.results(window.out, out, indices)
    return computed(window.problem("max", images, indices=indices), images, images.x, results, None, threads)


def divisor_of(divisor: Any) -> int:
    """The argument `divisor_override` as a number, 0 for None."""
    return 0 if divisor is None else int_tuple("divisor_override", divisor, 1, minimum=1)[0]


def avg_pool(
    n: int, input: Any, sizes: tuple, ceil_mode: Any, counts: tuple, data_format: str, out: Any, threads: int | None
) -> Any:
    """See docstring in `fastconv.nn.avg_pool2d`."""
    images, divisor = Images("input", input, n, data_format, (*INTEGERS, *FLOATS)), divisor_of(counts[1])
    window = Window(images.sizes, sizes, ceil_mode)
    problem = window.problem("avg", images, divisor=divisor, count_include_pad=bool(counts[0]) and not window.same)
    return computed(problem, images, images.x, images.results(window.out, out, False), None, threads)


def power_of(norm_type: Any) -> float:
    """The argument as a number that is neither 0 nor NaN."""
    if isinstance(norm_type, bool) or not isinstance(norm_type, int | float | np.integer | np.floating):
        raise TypeError(f"norm_type must be a number; got {norm_type!r}")
    if not abs(float(norm_type)) > 0:
        raise ValueError(f"norm_type must not be 0 or NaN; got {norm_type!r}")
    return float(norm_type)


def lp_pool(
    n: int, input: Any, norm_type: Any, sizes: tuple, ceil_mode: Any, data_format: str, out: Any, threads: int | None
) -> Any:
    """See docstring in `fastconv.nn.lp_pool2d`."""
    images, power = Images("input", input, n, data_format, FLOATS), power_of(norm_type)
    window = Window(images.sizes, sizes, ceil_mode)
    results = images.results(window.out, out, False)
    if not isinf(power) or on_device(images.x):
        return computed(window.problem("lp", images, power=power), images, images.x, results, None, threads)
    sizes_of_x = np.abs(images.x) if power > 0 else -np.abs(images.x)
    computed(window.problem("max", images), images, sizes_of_x, results, None, threads)
    if power < 0:
        by_value()
        np.negative(results[0], out=results[0])
    return native(results[0])


def adaptive_pool(
    kind: str, n: int, input: Any, output_size: Any, indices: Any, data_format: str, out: Any, threads: int | None
) -> Any:
    """See docstring in `fastconv.nn.adaptive_avg_pool2d`."""
    dtypes = (*INTEGERS, *FLOATS)
    images, indices = (
        Images("input", input, n, data_format, ("bool", *dtypes) if kind == "max" else dtypes),
        bool(indices),
    )
    given = (output_size,) * n if output_size is None or not isinstance(output_size, Iterable) else tuple(output_size)
    if len(given) == 1:
        given *= n
    if len(given) != n or isinstance(output_size, str):
        raise ValueError(f"output_size must be an integer{f' or {n} integers' * (n > 1)} or None; got {output_size!r}")
    made = tuple(
        size if new is None else int_tuple("output_size", new, 1, minimum=0)[0]
        for size, new in zip(images.sizes, given, strict=True)
    )
    results = images.results(made, out, indices)
    if 0 in made:
        found = tuple(map(native, results))
        return found if indices else found[0]
    problem = RegionPoolProblem(
        kind, images.sizes, made, images.dtype, (), images.batch, images.channels, indices, images.channels_last
    )
    return computed(problem, images, images.x, results, None, threads)
