"""Adaptive pooling: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastconv.nn.pool.arguments import adaptive_pool
from fastconv.replay import remembered

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]


@remembered(arrays=1)
def adaptive_avg_pool1d(
    input: Any,
    output_size: int | Iterable[int | None] | None,
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Average as many windows as asked for, which cover each channel of a batch of signals evenly.

        out[n, c, x] = mean over i of input[n, c, i],
            floor(x * in / out) <= i < ceil((x + 1) * in / out), and so along each axis

    with the axis' sizes ``in`` and ``out``.  A size of 1 is global pooling.

    Parameters
    ----------
    input : array_like
        ``(N, C, L)``, or one signal ``(C, L)``; for ``data_format="NWC"`` the channels stand last.
        Integers, float16, bfloat16 (summed in float32), float32 or float64.
    output_size : int
        Size of the result along the spatial axes; None keeps the input's.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, *output_size)``, or ``(C, *output_size)`` for one signal, of the input's dtype.
        Integers are summed in 64 bits; their quotient is truncated toward zero.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, unfit `out`.
    TypeError
        Bool, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.adaptive_avg_pool1d`: integers are taken.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition"
    (2014), doi:10.1007/978-3-319-10578-9_23.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import adaptive_avg_pool1d
    >>> signal = np.array([[[1.0, 5.0, 3.0, 0.0, 4.0]]])
    >>> adaptive_avg_pool1d(signal, 2)
    array([[[3.        , 2.33333333]]])
    """
    return adaptive_pool("avg", 1, input, output_size, False, data_format, out, threads)


@remembered(arrays=1)
def adaptive_avg_pool2d(
    input: Any,
    output_size: int | Iterable[int | None] | None,
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Average as many windows as asked for, which cover each channel of a batch of images evenly.

        out[n, c, y, x] = mean over i, j of input[n, c, i, j],
            floor(x * in / out) <= j < ceil((x + 1) * in / out), and so along each axis

    with the axis' sizes ``in`` and ``out``.  A size of 1 is global pooling.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        Integers, float16, bfloat16 (summed in float32), float32 or float64.
    output_size : int or pair
        Size of the result along the spatial axes; None keeps the input's.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, *output_size)``, or ``(C, *output_size)`` for one image, of the input's dtype.
        Integers are summed in 64 bits; their quotient is truncated toward zero.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, unfit `out`.
    TypeError
        Bool, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.adaptive_avg_pool2d`: integers are taken.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition"
    (2014), doi:10.1007/978-3-319-10578-9_23.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import adaptive_avg_pool2d
    >>> image = np.arange(12.0).reshape(1, 3, 4)
    >>> adaptive_avg_pool2d(image, 1)
    array([[[5.5]]])
    """
    return adaptive_pool("avg", 2, input, output_size, False, data_format, out, threads)


@remembered(arrays=1)
def adaptive_avg_pool3d(
    input: Any,
    output_size: int | Iterable[int | None] | None,
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Average as many windows as asked for, which cover each channel of a batch of solids evenly.

        out[n, c, z, y, x] = mean over h, i, j of input[n, c, h, i, j],
            floor(x * in / out) <= j < ceil((x + 1) * in / out), and so along each axis

    with the axis' sizes ``in`` and ``out``.  A size of 1 is global pooling.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one solid ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
        Integers, float16, bfloat16 (summed in float32), float32 or float64.
    output_size : int or triple
        Size of the result along the spatial axes; None keeps the input's.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of input and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the input in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, C, *output_size)``, or ``(C, *output_size)`` for one solid, of the input's dtype.
        Integers are summed in 64 bits; their quotient is truncated toward zero.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, unfit `out`.
    TypeError
        Bool, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.adaptive_avg_pool3d`: integers are taken.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition"
    (2014), doi:10.1007/978-3-319-10578-9_23.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import adaptive_avg_pool3d
    >>> solid = np.arange(16.0).reshape(1, 2, 2, 4)
    >>> adaptive_avg_pool3d(solid, (1, 1, 2))
    array([[[[6.5, 8.5]]]])
    """
    return adaptive_pool("avg", 3, input, output_size, False, data_format, out, threads)


@remembered(arrays=1)
def adaptive_max_pool1d(
    input: Any,
    output_size: int | Iterable[int | None] | None,
    return_indices: bool = False,
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the maximum of as many windows as asked for, which cover each channel of a batch of signals evenly.

        out[n, c, x] = max over i of input[n, c, i],
            floor(x * in / out) <= i < ceil((x + 1) * in / out), and so along each axis

    with the axis' sizes ``in`` and ``out``.  A size of 1 is global pooling.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, L)``, or one signal ``(C, L)``; for ``data_format="NWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    output_size : int
        Size of the result along the spatial axes; None keeps the input's.
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
        ``(N, C, *output_size)``, or ``(C, *output_size)`` for one signal, of the input's dtype.
    indices : ndarray
        With `return_indices`: int64, of the same shape, its position along the signal of each maximum:
        the first of equals, the last NaN.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, unfit `out`.
    TypeError
        Complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.adaptive_max_pool1d`: integers and bool are taken.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition"
    (2014), doi:10.1007/978-3-319-10578-9_23.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import adaptive_max_pool1d
    >>> signal = np.array([[[1.0, 5.0, 3.0, 0.0, 4.0]]])
    >>> adaptive_max_pool1d(signal, 2)
    array([[[5., 4.]]])
    """
    return adaptive_pool("max", 1, input, output_size, return_indices, data_format, out, threads)


@remembered(arrays=1)
def adaptive_max_pool2d(
    input: Any,
    output_size: int | Iterable[int | None] | None,
    return_indices: bool = False,
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the maximum of as many windows as asked for, which cover each channel of a batch of images evenly.

        out[n, c, y, x] = max over i, j of input[n, c, i, j],
            floor(x * in / out) <= j < ceil((x + 1) * in / out), and so along each axis

    with the axis' sizes ``in`` and ``out``.  A size of 1 is global pooling.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    output_size : int or pair
        Size of the result along the spatial axes; None keeps the input's.
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
        ``(N, C, *output_size)``, or ``(C, *output_size)`` for one image, of the input's dtype.
    indices : ndarray
        With `return_indices`: int64, of the same shape, the flat position ``row*W + column`` of each maximum:
        the first of equals, the last NaN.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, unfit `out`.
    TypeError
        Complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.adaptive_max_pool2d`: integers and bool are taken.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition"
    (2014), doi:10.1007/978-3-319-10578-9_23.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import adaptive_max_pool2d
    >>> image = np.arange(12.0).reshape(1, 3, 4)
    >>> adaptive_max_pool2d(image, (None, 2))
    array([[[ 1.,  3.],
            [ 5.,  7.],
            [ 9., 11.]]])
    """
    return adaptive_pool("max", 2, input, output_size, return_indices, data_format, out, threads)


@remembered(arrays=1)
def adaptive_max_pool3d(
    input: Any,
    output_size: int | Iterable[int | None] | None,
    return_indices: bool = False,
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the maximum of as many windows as asked for, which cover each channel of a batch of solids evenly.

        out[n, c, z, y, x] = max over h, i, j of input[n, c, h, i, j],
            floor(x * in / out) <= j < ceil((x + 1) * in / out), and so along each axis

    with the axis' sizes ``in`` and ``out``.  A size of 1 is global pooling.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one solid ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    output_size : int or triple
        Size of the result along the spatial axes; None keeps the input's.
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
        ``(N, C, *output_size)``, or ``(C, *output_size)`` for one solid, of the input's dtype.
    indices : ndarray
        With `return_indices`: int64, of the same shape, the flat position ``(plane*H + row)*W + column`` of each maximum:
        the first of equals, the last NaN.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, unfit `out`.
    TypeError
        Complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.adaptive_max_pool3d`: integers and bool are taken.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition"
    (2014), doi:10.1007/978-3-319-10578-9_23.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import adaptive_max_pool3d
    >>> solid = np.arange(16.0).reshape(1, 2, 2, 4)
    >>> adaptive_max_pool3d(solid, (1, 1, 2))
    array([[[[13., 15.]]]])
    """
    return adaptive_pool("max", 3, input, output_size, return_indices, data_format, out, threads)
