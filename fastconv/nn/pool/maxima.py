"""Max pooling: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastconv.nn.pool.arguments import max_pool
from fastconv.replay import remembered

__all__ = ["max_pool1d", "max_pool2d", "max_pool3d"]


@remembered(arrays=1)
def max_pool1d(
    input: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | str | Iterable = 0,
    dilation: int | Iterable[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the maximum of a window that slides over each channel of a batch of signals.

        out[n, c, x] = max over i of
            input[n, c, x*stride + i*dilation - padding]

    over the taps that lie inside the input.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, L)``, or one signal ``(C, L)``; for ``data_format="NWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    kernel_size : int
        Size of the window along the spatial axes.
    stride : int, optional
        Step of the window; default `kernel_size`.
    padding : int, or a pair, "valid" or "same", optional
        Positions around the input that windows may begin in, which never are the maximum.
        At most half of `kernel_size`; pairs say how many before and after each axis, fewer than `kernel_size`.
        "same" is TensorFlow's rule: as few as make ``ceil(size / stride)`` outputs, the odd one after.
    dilation : int, optional
        Step between taps, at least 1.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the padding, if it begins in the input or the padding before it.
    return_indices : bool, optional
        Whether to return where the maxima are, too.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.  With
        `return_indices` it may be a pair of arrays.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, L')``, or ``(C, L')`` for one signal, of the input's dtype, with
        ``L' = (L + 2*padding - dilation*(kernel_size - 1) - 1) / stride + 1``,
        rounded down, or up with `ceil_mode`.
    indices : ndarray
        With `return_indices`: int64, of the same shape, its position along the signal of each maximum:
        the first of equals, the last NaN, -1 for a window without a tap inside the input.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a window larger than the padded input, unfit `out`.
    TypeError
        Complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.max_pool1d`: every integer type and bool are taken, `padding` may be uneven.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import max_pool1d
    >>> signal = np.array([[[1, 5, 2, 0, 4]]])
    >>> max_pool1d(signal, 3, 2)
    array([[[5, 4]]])
    >>> max_pool1d(signal, 3, 2, return_indices=True)[1]
    array([[[1, 4]]])
    """
    sizes = (kernel_size, stride, padding, dilation)
    return max_pool(1, input, sizes, ceil_mode, return_indices, data_format, out, threads)


@remembered(arrays=1)
def max_pool2d(
    input: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | str | Iterable = 0,
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

    over the taps that lie inside the input.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    kernel_size : int or pair
        Size of the window along the spatial axes.
    stride : int or pair, optional
        Step of the window; default `kernel_size`.
    padding : int or a pair, 2 pairs, "valid" or "same", optional
        Positions around the input that windows may begin in, which never are the maximum.
        At most half of `kernel_size`; pairs say how many before and after each axis, fewer than `kernel_size`.
        "same" is TensorFlow's rule: as few as make ``ceil(size / stride)`` outputs, the odd one after.
    dilation : int or pair, optional
        Step between taps, at least 1.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the padding, if it begins in the input or the padding before it.
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
        ``H' = (H + 2*padding[0] - dilation[0]*(kernel_size[0] - 1) - 1) / stride[0] + 1``,
        rounded down, or up with `ceil_mode`.
    indices : ndarray
        With `return_indices`: int64, of the same shape, the flat position ``row*W + column`` of each maximum:
        the first of equals, the last NaN, -1 for a window without a tap inside the input.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a window larger than the padded input, unfit `out`.
    TypeError
        Complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.max_pool2d`: every integer type and bool are taken, `padding` may be uneven.

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
    return max_pool(2, input, sizes, ceil_mode, return_indices, data_format, out, threads)


@remembered(arrays=1)
def max_pool3d(
    input: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | str | Iterable = 0,
    dilation: int | Iterable[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the maximum of a window that slides over each channel of a batch of solids.

        out[n, c, z, y, x] = max over h, i, j of
            input[n, c, z*stride[0] + h*dilation[0] - padding[0],
                  y*stride[1] + i*dilation[1] - padding[1],
                  x*stride[2] + j*dilation[2] - padding[2]]

    over the taps that lie inside the input.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one solid ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    kernel_size : int or triple
        Size of the window along the spatial axes.
    stride : int or triple, optional
        Step of the window; default `kernel_size`.
    padding : int or triple, 3 pairs, "valid" or "same", optional
        Positions around the input that windows may begin in, which never are the maximum.
        At most half of `kernel_size`; pairs say how many before and after each axis, fewer than `kernel_size`.
        "same" is TensorFlow's rule: as few as make ``ceil(size / stride)`` outputs, the odd one after.
    dilation : int or triple, optional
        Step between taps, at least 1.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the padding, if it begins in the input or the padding before it.
    return_indices : bool, optional
        Whether to return where the maxima are, too.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.  With
        `return_indices` it may be a pair of arrays.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, D', H', W')``, or ``(C, D', H', W')`` for one solid, of the input's dtype, with
        ``H' = (H + 2*padding[0] - dilation[0]*(kernel_size[0] - 1) - 1) / stride[0] + 1``,
        rounded down, or up with `ceil_mode`.
    indices : ndarray
        With `return_indices`: int64, of the same shape, the flat position ``(plane*H + row)*W + column`` of each maximum:
        the first of equals, the last NaN, -1 for a window without a tap inside the input.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a window larger than the padded input, unfit `out`.
    TypeError
        Complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.max_pool3d`: every integer type and bool are taken, `padding` may be uneven.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import max_pool3d
    >>> solid = np.arange(16).reshape(1, 2, 2, 4)
    >>> max_pool3d(solid, 2)
    array([[[[13, 15]]]])
    """
    sizes = (kernel_size, stride, padding, dilation)
    return max_pool(3, input, sizes, ceil_mode, return_indices, data_format, out, threads)
