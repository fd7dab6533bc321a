"""Fractional max pooling: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastconv.nn.pool.arguments import fractional_pool

__all__ = ["fractional_max_pool2d", "fractional_max_pool3d"]


def fractional_max_pool2d(
    input: Any,
    kernel_size: int | Iterable[int],
    output_size: int | Iterable[int] | None = None,
    output_ratio: float | Iterable[float] | None = None,
    return_indices: bool = False,
    _random_samples: Any = None,
    *,
    generator: Any = None,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the maximum of windows at random intervals, different for each channel of a batch of images.

        out[n, c, y, x] = max over i, j of input[n, c, start(y) + i, start(x) + j]
        start(x) = floor((x + u) * a) - floor(u * a), a = (in - kernel_size) / (out - 1)

    with the axis' sizes ``in`` and ``out`` and a random number ``0 <= u < 1`` for each channel and axis; the
    last window ends with the input.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    kernel_size : int or pair
        Size of the window along the spatial axes.
    output_size : int or pair, optional
        Size of the result along the spatial axes; this or `output_ratio` must be given.
    output_ratio : float or pair, optional
        Size of the result as a part of the input's, between 0 and 1.
    return_indices : bool, optional
        Whether to return where the maxima are, too.
    _random_samples : array_like, optional
        The numbers u, ``(N, C, 2)``: for columns, then rows.
    generator : numpy.random.Generator or int, optional
        What draws them, or its seed, if they are not given.
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
        Wrong dimensions, empty images, sizes out of range, random samples of another shape or beyond 0 and 1, unfit `out`.
    TypeError
        Complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.fractional_max_pool2d`: integers and bool are taken, random numbers are NumPy's.

    References
    ----------
    B. Graham, "Fractional Max-Pooling" (2014), doi:10.48550/arXiv.1412.6071.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import fractional_max_pool2d
    >>> image = np.arange(30).reshape(1, 5, 6)
    >>> fractional_max_pool2d(image, 2, (3, 4), generator=0).shape
    (1, 3, 4)
    """
    sizes = (kernel_size, output_size, output_ratio)
    random = (_random_samples, generator)
    return fractional_pool(2, input, sizes, random, return_indices, data_format, out, threads)


def fractional_max_pool3d(
    input: Any,
    kernel_size: int | Iterable[int],
    output_size: int | Iterable[int] | None = None,
    output_ratio: float | Iterable[float] | None = None,
    return_indices: bool = False,
    _random_samples: Any = None,
    *,
    generator: Any = None,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the maximum of windows at random intervals, different for each channel of a batch of solids.

        out[n, c, z, y, x] = max over h, i, j of input[n, c, start(z) + h, start(y) + i, start(x) + j]
        start(x) = floor((x + u) * a) - floor(u * a), a = (in - kernel_size) / (out - 1)

    with the axis' sizes ``in`` and ``out`` and a random number ``0 <= u < 1`` for each channel and axis; the
    last window ends with the input.  NaN propagates.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one solid ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    kernel_size : int or triple
        Size of the window along the spatial axes.
    output_size : int or triple, optional
        Size of the result along the spatial axes; this or `output_ratio` must be given.
    output_ratio : float or triple, optional
        Size of the result as a part of the input's, between 0 and 1.
    return_indices : bool, optional
        Whether to return where the maxima are, too.
    _random_samples : array_like, optional
        The numbers u, ``(N, C, 3)``: for planes, rows, columns.
    generator : numpy.random.Generator or int, optional
        What draws them, or its seed, if they are not given.
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
        Wrong dimensions, empty images, sizes out of range, random samples of another shape or beyond 0 and 1, unfit `out`.
    TypeError
        Complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.fractional_max_pool3d`: integers and bool are taken, random numbers are NumPy's.

    References
    ----------
    B. Graham, "Fractional Max-Pooling" (2014), doi:10.48550/arXiv.1412.6071.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import fractional_max_pool3d
    >>> solid = np.arange(60).reshape(1, 2, 5, 6)
    >>> fractional_max_pool3d(solid, (1, 2, 2), (2, 3, 4), generator=0).shape
    (1, 2, 3, 4)
    """
    sizes = (kernel_size, output_size, output_ratio)
    random = (_random_samples, generator)
    return fractional_pool(3, input, sizes, random, return_indices, data_format, out, threads)
