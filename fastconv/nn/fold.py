"""Windows of images as columns, and back: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from fastconv.device import native
from fastconv.nn.arguments import is_channels_last, out_sizes
from fastconv.nn.pool.arguments import FLOATS, INTEGERS, Images
from fastconv.plan import execute
from fastconv.problem import FoldProblem
from fastconv.replay import remembered
from fastconv.validate import as_array, int_tuple, new_or_checked_out, type_name

__all__ = ["fold", "unfold"]

Shape = tuple[int, ...]

# Complex numbers and what their parts are.
PARTS = {"complex64": "float32", "complex128": "float64"}


@remembered(arrays=1)
def unfold(
    input: Any,
    kernel_size: int | Iterable[int],
    dilation: int | Iterable[int] = 1,
    padding: int | Iterable[int] = 0,
    stride: int | Iterable[int] = 1,
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Write the windows that slide over a batch of images as columns of a matrix (im2col).

        out[n, (c*kH + i)*kW + j, y*W' + x] =
            input[n, c, y*stride[0] + i*dilation[0] - padding[0], x*stride[1] + j*dilation[1] - padding[1]]

    where the image is zero beyond its edges.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32, float64, complex64 or complex128.
    kernel_size : int or pair
        Rows and columns of the window, ``kH`` and ``kW``.
    dilation : int or pair, optional
        Step between taps, at least 1.
    padding : int or pair, optional
        Rows and columns of zeros around the image.
    stride : int or pair, optional
        Step of the window.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of `input`; for "NHWC" the columns are rows of the result: its last two axes are exchanged.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C*kH*kW, H'*W')``, or without N for one image, of the input's dtype, with
        ``H' = (H + 2*padding[0] - dilation[0]*(kernel_size[0] - 1) - 1) / stride[0] + 1``, rounded down.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a window larger than the padded image, unfit `out`.
    TypeError
        Other dtypes, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.unfold`: integers are taken.  Its gradient is `fold`.

    References
    ----------
    K. Chellapilla, S. Puri, P. Simard, "High Performance Convolutional Neural Networks for Document Processing" (2006);
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import unfold
    >>> unfold(np.arange(6).reshape(1, 2, 3), (2, 2))
    array([[0, 1],
           [1, 2],
           [3, 4],
           [4, 5]])
    """
    images = Images("input", input, 2, data_format, ("bool", *INTEGERS, *FLOATS, *PARTS))
    window = _window(images.sizes, kernel_size, dilation, padding, stride)
    kernel, blocks = window["kernel_shape"], window["out_shape"]
    matrix = (images.channels * prod(kernel), prod(blocks))
    matrix = matrix[::-1] if images.channels_last else matrix
    shape = (images.batch, *matrix) if images.batched else matrix
    result = new_or_checked_out(out, shape, images.array.dtype, {"input": images.array})
    if images.x.size:
        problem = FoldProblem(
            "unfold", images.sizes, dtype=PARTS.get(images.dtype, images.dtype), batch=images.batch,
            channels=images.channels, **window,
        )  # fmt: skip
        columns = _columns(result, images.channels_last, kernel, blocks, images.batched)
        _execute(problem, images.x, columns, threads)
    return native(result)


@remembered(arrays=1)
def fold(
    input: Any,
    output_size: int | Iterable[int],
    kernel_size: int | Iterable[int],
    dilation: int | Iterable[int] = 1,
    padding: int | Iterable[int] = 0,
    stride: int | Iterable[int] = 1,
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Add the columns of a matrix to the windows of a batch of images (col2im).

        out[n, c, v, u] = sum of input[n, (c*kH + i)*kW + j, y*W' + x] over i, j, y, x with
            v = y*stride[0] + i*dilation[0] - padding[0], u = x*stride[1] + j*dilation[1] - padding[1]

    What falls into the padding is dropped.

    Parameters
    ----------
    input : array_like
        ``(N, C*kH*kW, H'*W')``, or ``(C*kH*kW, H'*W')``, as `unfold` makes it; for ``data_format="NHWC"`` its last two
        axes are exchanged.  Integers, float16, bfloat16 (summed in float32), float32,
        float64, complex64 or complex128.
    output_size : int or pair
        Rows and columns of the images.
    kernel_size : int or pair
        Rows and columns of the window, ``kH`` and ``kW``.
    dilation : int or pair, optional
        Step between taps, at least 1.
    padding : int or pair, optional
        Rows and columns of zeros around the image that windows were taken from.
    stride : int or pair, optional
        Step of the window.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of the result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, *output_size)``, or without N, of the input's dtype.

    Raises
    ------
    ValueError
        Wrong dimensions, columns that are not those of such windows, sizes out of range, unfit `out`.
    TypeError
        Bool and other dtypes, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.fold`: integers are taken.  Its gradient is `unfold`.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import fold, unfold
    >>> image = np.arange(6.0).reshape(1, 2, 3)
    >>> fold(unfold(image, (1, 2)), (2, 3), (1, 2))  # inner columns are in two windows
    array([[[0., 2., 2.],
            [3., 8., 5.]]])
    """
    channels_last = is_channels_last(data_format, 2)
    array = as_array("input", input, ndim=(2, 3), empty=True, bfloat16=True)
    dtype = type_name(array.dtype)
    if dtype not in (allowed := (*INTEGERS, *FLOATS, *PARTS)):
        raise TypeError(f"input must have one of the dtypes {', '.join(allowed)}; got {dtype}")
    sizes = int_tuple("output_size", output_size, 2, minimum=1)
    window = _window(sizes, kernel_size, dilation, padding, stride)
    kernel, blocks = window["kernel_shape"], window["out_shape"]
    rows, columns = array.shape[:-3:-1] if channels_last else array.shape[-2:]
    if not rows or rows % prod(kernel) or columns != prod(blocks):
        raise ValueError(
            f"input must have a multiple of {prod(kernel)} rows, the taps of a window, and {prod(blocks)} columns, "
            f"as many as windows slide over {sizes}; got shape {array.shape}"
        )
    channels, batch = rows // prod(kernel), array.shape[0] if array.ndim == 3 else 1
    shape = (*sizes, channels) if channels_last else (channels, *sizes)
    result = new_or_checked_out(out, (*array.shape[:-2], *shape), array.dtype, {"input": array})
    if batch:
        problem = FoldProblem(
            "fold", sizes, dtype=PARTS.get(dtype, dtype), batch=batch, channels=channels, **window
        )  # fmt: skip
        images = result if result.ndim == 4 else result[None]
        images = np.moveaxis(images, -1, 1) if channels_last else images
        _execute(problem, _columns(array, channels_last, kernel, blocks, array.ndim == 3), images, threads)
    return native(result)


def _execute(problem: FoldProblem, x: Any, out: Any, threads: int | None) -> None:
    """Complex numbers move as their parts, one after the other."""
    for part in ("real", "imag") if x.dtype.kind == "c" else ("",):
        source, target = (getattr(array, part) if part else array for array in (x, out))
        execute(problem, source, None, target, threads=threads)


def _window(sizes: Shape, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> dict[str, Any]:
    """Arguments of a `FoldProblem`."""
    kernel = int_tuple("kernel_size", kernel_size, 2, minimum=1)
    steps, gaps = int_tuple("stride", stride, 2, minimum=1), int_tuple("dilation", dilation, 2, minimum=1)
    pad = int_tuple("padding", padding, 2, minimum=0)
    try:
        blocks = out_sizes(sizes, kernel, steps, gaps, tuple((p, p) for p in pad))
    except ValueError as error:
        raise ValueError(str(error).replace("weight must", "kernel_size must")) from None
    return {"kernel_shape": kernel, "out_shape": blocks, "pad": pad, "stride": steps, "dilation": gaps}


def _columns(array: Any, channels_last: bool, kernel: Shape, blocks: Shape, batched: bool) -> Any:
    """The view (N, C, kH, kW, H', W') of a matrix of columns: its axes part into those of taps and windows."""
    matrix = array if batched else array[None]
    matrix = np.moveaxis(matrix, 2, 1) if channels_last else matrix
    n, row, column = matrix.strides
    shape = (matrix.shape[0], matrix.shape[1] // prod(kernel), *kernel, *blocks)
    strides = (n, row * prod(kernel), row * kernel[1], row, column * blocks[1], column)
    return np.lib.stride_tricks.as_strided(matrix, shape, strides)
