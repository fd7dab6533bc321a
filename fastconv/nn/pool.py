"""Pooling: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.device import native
from fastconv.plan import execute
from fastconv.problem import PoolProblem
from fastconv.replay import remembered
from fastconv.validate import as_array, choice, int_tuple, new_or_checked_out, type_name

__all__ = ["avg_pool2d", "max_pool2d"]

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
DTYPES_OF_MAX = ("bool", *DTYPES)
DATA_FORMATS = {"NCHW": False, "NHWC": True}
Pair = tuple[int, ...]


@remembered(arrays=1)
def max_pool2d(
    input: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | Iterable[int] = 0,
    dilation: int | Iterable[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the maximum of a window that slides over each channel of a batch of images.

        out[n, c, y, x] = max over i, j of
            input[n, c, y*stride[0] + i*dilation[0] - padding[0], x*stride[1] + j*dilation[1] - padding[1]]

    over the taps that lie inside the image.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        Bool, integers, float32 or float64.
    kernel_size : int or pair
        Rows and columns of the window.
    stride : int or pair, optional
        Step of the window; default `kernel_size`.
    padding : int or pair, optional
        Rows and columns around the image that windows may begin in, at most half of `kernel_size`.
        They never are the maximum.
    dilation : int or pair, optional
        Step between taps, at least 1.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the padding, if it begins in the image or the padding before it.
    return_indices : bool, optional
        Whether to return where the maxima are, too.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.  With
        `return_indices` it may be a pair of arrays.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, H', W')``, or ``(C, H', W')`` for one image, of the input's dtype, with
        ``H' = (H + 2*padding[0] - dilation[0]*(kernel_size[0] - 1) - 1) / stride[0] + 1``, rounded
        down, or up with `ceil_mode`.
    indices : ndarray
        With `return_indices`: int64, of the same shape, the flat position ``row*W + column`` of each maximum:
        the first of equals, the last NaN, -1 for a window without a tap inside the image.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a window larger than the padded image, unfit `out`.
    TypeError
        Complex numbers, float16, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.max_pool2d`: every integer type and bool are taken.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import max_pool2d
    >>> image = np.array([[[1, 5, 2, 0], [4, 3, 1, 7]]])
    >>> max_pool2d(image, 2)
    array([[[5, 7]]])
    >>> max_pool2d(image, 2, return_indices=True)[1]
    array([[[1, 7]]])
    """
    sizes = (kernel_size, stride, padding, dilation)
    return_indices = bool(return_indices)
    outs = tuple(out) if return_indices and isinstance(out, list | tuple) else (out, None)
    if len(outs) != 2:
        raise ValueError(f"out must be an array or a pair of arrays, for maxima and indices; got {len(outs)} of them")
    results = _pool("max", input, DTYPES_OF_MAX, sizes, ceil_mode, data_format, outs, threads, indices=return_indices)
    return results if return_indices else results[0]


@remembered(arrays=1)
def avg_pool2d(
    input: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | Iterable[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Average a window that slides over each channel of a batch of images.

        out[n, c, y, x] = 1/divisor * sum over i, j of
            input[n, c, y*stride[0] + i - padding[0], x*stride[1] + j - padding[1]]

    where the image is zero beyond its edges.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        Integers, float32 or float64.
    kernel_size : int or pair
        Rows and columns of the window.
    stride : int or pair, optional
        Step of the window; default `kernel_size`.
    padding : int or pair, optional
        Rows and columns of zeros around the image, at most half of `kernel_size`.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the padding, if it begins in the image or the padding before it.
    count_include_pad : bool, optional
        Whether the divisor counts the taps in the padding besides those in the image.
    divisor_override : int, optional
        The divisor, at least 1; default the number of taps that `count_include_pad` says.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, H', W')``, or ``(C, H', W')`` for one image, of the input's dtype, with
        ``H' = (H + 2*padding[0] - kernel_size[0]) / stride[0] + 1``, rounded down, or up with `ceil_mode`.
        Integers are summed in 64 bits; their quotient is truncated toward zero.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a window larger than the padded image, unfit `out`.
    TypeError
        Bool, complex numbers, float16, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.avg_pool2d`: every integer type is taken, negative divisors are not.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import avg_pool2d
    >>> image = np.array([[[1.0, 5.0, 2.0, 0.0], [4.0, 2.0, 1.0, 7.0]]])
    >>> avg_pool2d(image, 2)
    array([[[3. , 2.5]]])
    """
    divisor = 0
    if divisor_override is not None:
        (divisor,) = int_tuple("divisor_override", divisor_override, 1, minimum=1)
    options: dict[str, Any] = {"count_include_pad": bool(count_include_pad), "divisor": divisor}
    sizes = (kernel_size, stride, padding, 1)
    return _pool("avg", input, DTYPES, sizes, ceil_mode, data_format, (out, None), threads, **options)[0]


def _pool(
    kind: str,
    input: Any,
    dtypes: tuple[str, ...],
    sizes: tuple[Any, ...],
    ceil_mode: bool,
    data_format: str,
    outs: tuple[Any, ...],
    threads: int | None,
    *,
    indices: bool = False,
    **options: Any,
) -> tuple[Any, ...]:
    """Check the arguments, pool, and return the result, with the indices if asked for."""
    channels_last = choice("data_format", data_format, DATA_FORMATS)
    images = as_array("input", input, ndim=(3, 4), empty=True)
    dtype = type_name(images.dtype)
    if dtype not in dtypes:
        raise TypeError(f"input must have one of the dtypes {', '.join(dtypes)}; got {dtype}")
    if 0 in images.shape[-3:]:
        raise ValueError(f"input must be a batch of images that are not empty; got shape {images.shape}")
    x = _canonical(images, channels_last)
    in_shape = x.shape[2:]
    kernel, stride, padding, dilation = _window(*sizes)
    axes = zip(in_shape, kernel, stride, padding, dilation, strict=True)
    out_shape = tuple(_out_size(*axis, ceil_mode=bool(ceil_mode)) for axis in axes)

    shape = (*out_shape, x.shape[1]) if channels_last else (x.shape[1], *out_shape)
    shape = (*images.shape[:-3], *shape)
    name = "out[0]" if outs[1] is not None else "out"
    result = new_or_checked_out(outs[0], shape, images.dtype, {"input": images}, name)
    results: tuple[Any, ...] = (result,)
    if indices:
        places = new_or_checked_out(outs[1], shape, np.dtype(np.int64), {"input": images, "out[0]": result}, "out[1]")
        results = (result, places)
    if x.shape[0]:
        problem = PoolProblem(
            kind=kind, in_shape=in_shape, kernel_shape=kernel, out_shape=out_shape, dtype=dtype,
            pad=padding, stride=stride, dilation=dilation, batch=x.shape[0], channels=x.shape[1],
            indices=indices, channels_last=channels_last, **options,
        )  # fmt: skip
        target, *where = (_canonical(array, channels_last) for array in results)
        execute(problem, x, where[0] if where else None, target, threads=threads)
    return tuple(map(native, results))


def _canonical(array: Any, channels_last: bool) -> Any:
    """The view (N, C, H, W) of an array in the caller's layout."""
    array = array if array.ndim == 4 else array[None]
    return array.transpose(0, 3, 1, 2) if channels_last else array


def _window(kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Pair, Pair, Pair, Pair]:
    kernel = int_tuple("kernel_size", kernel_size, 2, minimum=1)
    steps = kernel if stride is None else int_tuple("stride", stride, 2, minimum=1)
    pads = int_tuple("padding", padding, 2, minimum=0)
    if 2 * pads[0] > kernel[0] or 2 * pads[1] > kernel[1]:
        raise ValueError(f"padding must be at most half of kernel_size {kernel}; got {padding!r}")
    return kernel, steps, pads, int_tuple("dilation", dilation, 2, minimum=1)


def _out_size(size: int, kernel: int, stride: int, pad: int, dilation: int, *, ceil_mode: bool) -> int:
    room = size + 2 * pad - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + pad:
        count -= 1  # the last window would see neither the image nor the padding before it
    if count < 1:
        raise ValueError(
            f"kernel_size must fit into the padded input: {kernel} with dilation {dilation} spans "
            f"{dilation * (kernel - 1) + 1}, the input with its padding {size + 2 * pad}"
        )
    return count
