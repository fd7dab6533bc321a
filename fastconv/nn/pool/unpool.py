"""Max unpooling: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastconv.nn.pool.positions import max_unpool
from fastconv.replay import remembered

__all__ = ["max_unpool1d", "max_unpool2d", "max_unpool3d"]


@remembered(("input", "indices"))
def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | Iterable[int] = 0,
    output_size: Iterable[int] | None = None,
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Put maxima back where they were in a batch of signals, and zeros elsewhere.

        out[n, c, indices[n, c, x]] = input[n, c, x]

    where positions in a channel of the result are counted in C order.  Of equal positions the last counts.

    Parameters
    ----------
    input : array_like
        ``(N, C, L)``, or one signal ``(C, L)``; for ``data_format="NWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the input's shape: its position along the signal.
    kernel_size, stride, padding : int
        Those of the pooling, from which the result's size follows; `stride` is `kernel_size` by default.
    output_size : tuple of int, optional
        The size, with or without those of batch and channels, where several are possible: less than a `stride` from
        the one that follows.
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
        ``size' = (size - 1)*stride + kernel_size - 2*padding`` along each axis, or `output_size`.

    Raises
    ------
    ValueError
        Wrong dimensions, sizes out of range, indices of another shape or outside the result, unfit `out`.
    TypeError
        Indices that are not int64, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.max_unpool1d`: every integer type and bool are taken; indices are examined before
    anything is written; which of equal positions counts does not depend on threads.
    Those on a GPU are not examined: positions outside take no part.

    References
    ----------
    M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks" (2014),
    doi:10.1007/978-3-319-10590-1_53.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import max_unpool1d
    >>> maxima, indices = np.array([[[5.0, 4.0]]]), np.array([[[1, 2]]])
    >>> max_unpool1d(maxima, indices, 2)
    array([[[0., 5., 4., 0.]]])
    """
    sizes = (kernel_size, stride, padding, output_size)
    return max_unpool(1, input, indices, sizes, data_format, out, threads)


@remembered(("input", "indices"))
def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | Iterable[int] = 0,
    output_size: Iterable[int] | None = None,
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Put maxima back where they were in a batch of images, and zeros elsewhere.

        out[n, c, indices[n, c, y, x]] = input[n, c, y, x]

    where positions in a channel of the result are counted in C order.  Of equal positions the last counts.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the input's shape: the flat position ``row*W + column``.
    kernel_size, stride, padding : int or pair
        Those of the pooling, from which the result's size follows; `stride` is `kernel_size` by default.
    output_size : tuple of int, optional
        The size, with or without those of batch and channels, where several are possible: less than a `stride` from
        the one that follows.
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
        ``size' = (size - 1)*stride + kernel_size - 2*padding`` along each axis, or `output_size`.

    Raises
    ------
    ValueError
        Wrong dimensions, sizes out of range, indices of another shape or outside the result, unfit `out`.
    TypeError
        Indices that are not int64, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.max_unpool2d`: every integer type and bool are taken; indices are examined before
    anything is written; which of equal positions counts does not depend on threads.
    Those on a GPU are not examined: positions outside take no part.

    References
    ----------
    M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks" (2014),
    doi:10.1007/978-3-319-10590-1_53.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import max_unpool2d
    >>> maxima, indices = np.array([[[5.0, 7.0]]]), np.array([[[1, 7]]])
    >>> max_unpool2d(maxima, indices, 2)
    array([[[0., 5., 0., 0.],
            [0., 0., 0., 7.]]])
    """
    sizes = (kernel_size, stride, padding, output_size)
    return max_unpool(2, input, indices, sizes, data_format, out, threads)


@remembered(("input", "indices"))
def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    padding: int | Iterable[int] = 0,
    output_size: Iterable[int] | None = None,
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Put maxima back where they were in a batch of solids, and zeros elsewhere.

        out[n, c, indices[n, c, z, y, x]] = input[n, c, z, y, x]

    where positions in a channel of the result are counted in C order.  Of equal positions the last counts.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one solid ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
        Bool, integers, float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the input's shape: the flat position ``(plane*H + row)*W + column``.
    kernel_size, stride, padding : int or triple
        Those of the pooling, from which the result's size follows; `stride` is `kernel_size` by default.
    output_size : tuple of int, optional
        The size, with or without those of batch and channels, where several are possible: less than a `stride` from
        the one that follows.
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
        ``size' = (size - 1)*stride + kernel_size - 2*padding`` along each axis, or `output_size`.

    Raises
    ------
    ValueError
        Wrong dimensions, sizes out of range, indices of another shape or outside the result, unfit `out`.
    TypeError
        Indices that are not int64, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.max_unpool3d`: every integer type and bool are taken; indices are examined before
    anything is written; which of equal positions counts does not depend on threads.
    Those on a GPU are not examined: positions outside take no part.

    References
    ----------
    M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks" (2014),
    doi:10.1007/978-3-319-10590-1_53.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import max_unpool3d
    >>> maxima, indices = np.array([[[[5.0]]]]), np.array([[[[2]]]])
    >>> max_unpool3d(maxima, indices, (1, 2, 2))
    array([[[[0., 0.],
             [5., 0.]]]])
    """
    sizes = (kernel_size, stride, padding, output_size)
    return max_unpool(3, input, indices, sizes, data_format, out, threads)
