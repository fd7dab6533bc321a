"""Average pooling: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastconv.nn.pool.arguments import avg_pool
from fastconv.replay import remembered

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d"]


@remembered(arrays=1)
def avg_pool1d(
    input: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | str | Iterable = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Average a window that slides over each channel of a batch of signals.

        out[n, c, x] = 1/divisor * sum over i of
            input[n, c, x*stride + i - padding]

    where the input is zero beyond its edges.

    Parameters
    ----------
    input : array_like
        ``(N, C, L)``, or one signal ``(C, L)``; for ``data_format="NWC"`` the channels stand last.
        Integers, float16, bfloat16 (summed in float32), float32 or float64.
    kernel_size : int
        Size of the window along the spatial axes.
    stride : int, optional
        Step of the window; default `kernel_size`.
    padding : int, or a pair, "valid" or "same", optional
        Zeros around the input.
        At most half of `kernel_size`; pairs say how many before and after each axis, fewer than `kernel_size`.
        "same" is TensorFlow's rule: as few as make ``ceil(size / stride)`` outputs, the odd one after.
        Then only taps inside the input count.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the padding, if it begins in the input or the padding before it.
    count_include_pad : bool, optional
        Whether the divisor counts the taps in the padding besides those in the input.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, L')``, or ``(C, L')`` for one signal, of the input's dtype, with
        ``L' = (L + 2*padding - kernel_size) / stride + 1``, rounded down, or up with `ceil_mode`.
        Integers are summed in 64 bits; their quotient is truncated toward zero.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a window larger than the padded input, unfit `out`.
    TypeError
        Bool, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.avg_pool1d`: every integer type is taken, `padding` may be
    uneven.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import avg_pool1d
    >>> signal = np.array([[[1.0, 5.0, 3.0, 0.0, 4.0]]])
    >>> avg_pool1d(signal, 3, 2)
    array([[[3.        , 2.33333333]]])
    """
    sizes = (kernel_size, stride, padding)
    counts = (count_include_pad, None)
    return avg_pool(1, input, sizes, ceil_mode, counts, data_format, out, threads)


@remembered(arrays=1)
def avg_pool2d(
    input: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | str | Iterable = 0,
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

    where the input is zero beyond its edges.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        Integers, float16, bfloat16 (summed in float32), float32 or float64.
    kernel_size : int or pair
        Size of the window along the spatial axes.
    stride : int or pair, optional
        Step of the window; default `kernel_size`.
    padding : int or a pair, 2 pairs, "valid" or "same", optional
        Zeros around the input.
        At most half of `kernel_size`; pairs say how many before and after each axis, fewer than `kernel_size`.
        "same" is TensorFlow's rule: as few as make ``ceil(size / stride)`` outputs, the odd one after.
        Then only taps inside the input count.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the padding, if it begins in the input or the padding before it.
    count_include_pad : bool, optional
        Whether the divisor counts the taps in the padding besides those in the input.
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
        Wrong dimensions, empty images, sizes out of range, a window larger than the padded input, unfit `out`.
    TypeError
        Bool, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.avg_pool2d`: every integer type is taken, `padding` may be
    uneven, negative divisors are not taken.

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
    sizes = (kernel_size, stride, padding)
    counts = (count_include_pad, divisor_override)
    return avg_pool(2, input, sizes, ceil_mode, counts, data_format, out, threads)


@remembered(arrays=1)
def avg_pool3d(
    input: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | str | Iterable = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Average a window that slides over each channel of a batch of solids.

        out[n, c, z, y, x] = 1/divisor * sum over h, i, j of
            input[n, c, z*stride[0] + h - padding[0],
                  y*stride[1] + i - padding[1],
                  x*stride[2] + j - padding[2]]

    where the input is zero beyond its edges.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one solid ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
        Integers, float16, bfloat16 (summed in float32), float32 or float64.
    kernel_size : int or triple
        Size of the window along the spatial axes.
    stride : int or triple, optional
        Step of the window; default `kernel_size`.
    padding : int or triple, 3 pairs, "valid" or "same", optional
        Zeros around the input.
        At most half of `kernel_size`; pairs say how many before and after each axis, fewer than `kernel_size`.
        "same" is TensorFlow's rule: as few as make ``ceil(size / stride)`` outputs, the odd one after.
        Then only taps inside the input count.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the padding, if it begins in the input or the padding before it.
    count_include_pad : bool, optional
        Whether the divisor counts the taps in the padding besides those in the input.
    divisor_override : int, optional
        The divisor, at least 1; default the number of taps that `count_include_pad` says.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, D', H', W')``, or ``(C, D', H', W')`` for one solid, of the input's dtype, with
        ``H' = (H + 2*padding[0] - kernel_size[0]) / stride[0] + 1``, rounded down, or up with `ceil_mode`.
        Integers are summed in 64 bits; their quotient is truncated toward zero.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a window larger than the padded input, unfit `out`.
    TypeError
        Bool, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.avg_pool3d`: every integer type is taken, `padding` may be
    uneven, negative divisors are not taken.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import avg_pool3d
    >>> solid = np.arange(16.0).reshape(1, 2, 2, 4)
    >>> avg_pool3d(solid, 2)
    array([[[[6.5, 8.5]]]])
    """
    sizes = (kernel_size, stride, padding)
    counts = (count_include_pad, divisor_override)
    return avg_pool(3, input, sizes, ceil_mode, counts, data_format, out, threads)
