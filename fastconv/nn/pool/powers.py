"""Power-average pooling: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastconv.nn.pool.arguments import lp_pool
from fastconv.replay import remembered

__all__ = ["lp_pool1d", "lp_pool2d", "lp_pool3d"]


@remembered(arrays=1)
def lp_pool1d(
    input: Any,
    norm_type: float,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    ceil_mode: bool = False,
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the power average of a window that slides over each channel of a batch of signals.

        out[n, c, x] = (sum over i of
            input[n, c, x*stride + i]**norm_type)**(1/norm_type)

    A window that `ceil_mode` lets reach beyond the input is scaled up to a whole one.

    Parameters
    ----------
    input : array_like
        ``(N, C, L)``, or one signal ``(C, L)``; for ``data_format="NWC"`` the channels stand last.
        float16, bfloat16 (summed in float32), float32 or float64.
    norm_type : float
        The exponent p, not 0.  1 is the sum, 2 the Euclidean norm, infinity the maximum of the absolute values.
    kernel_size : int
        Size of the window along the spatial axes.
    stride : int, optional
        Step of the window; default `kernel_size`.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the input, if it begins inside.
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
        ``size' = (size - kernel_size) / stride + 1`` along each axis, rounded down, or up with `ceil_mode`.
        Negative sums of odd powers have no root: NaN, but for a `norm_type` of 1.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a norm_type of 0, unfit `out`.
    TypeError
        Integers, bool, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.lp_pool1d`: tensors are not taken for `norm_type`.

    References
    ----------
    C. Gulcehre, K. Cho, R. Pascanu, Y. Bengio, "Learned-Norm Pooling for Deep Feedforward and Recurrent Neural
    Networks" (2014), doi:10.1007/978-3-662-44848-9_34.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import lp_pool1d
    >>> lp_pool1d(np.array([[[3.0, 4.0, 0.0, 2.0]]]), 2, 2)
    array([[[5., 2.]]])
    """
    return lp_pool(1, input, norm_type, (kernel_size, stride), ceil_mode, data_format, out, threads)


@remembered(arrays=1)
def lp_pool2d(
    input: Any,
    norm_type: float,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    ceil_mode: bool = False,
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the power average of a window that slides over each channel of a batch of images.

        out[n, c, y, x] = (sum over i, j of
            input[n, c, y*stride[0] + i, x*stride[1] + j]**norm_type)**(1/norm_type)

    A window that `ceil_mode` lets reach beyond the input is scaled up to a whole one.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
        float16, bfloat16 (summed in float32), float32 or float64.
    norm_type : float
        The exponent p, not 0.  1 is the sum, 2 the Euclidean norm, infinity the maximum of the absolute values.
    kernel_size : int or pair
        Size of the window along the spatial axes.
    stride : int or pair, optional
        Step of the window; default `kernel_size`.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the input, if it begins inside.
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
        ``size' = (size - kernel_size) / stride + 1`` along each axis, rounded down, or up with `ceil_mode`.
        Negative sums of odd powers have no root: NaN, but for a `norm_type` of 1.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a norm_type of 0, unfit `out`.
    TypeError
        Integers, bool, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.lp_pool2d`: tensors are not taken for `norm_type`.

    References
    ----------
    C. Gulcehre, K. Cho, R. Pascanu, Y. Bengio, "Learned-Norm Pooling for Deep Feedforward and Recurrent Neural
    Networks" (2014), doi:10.1007/978-3-662-44848-9_34.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import lp_pool2d
    >>> lp_pool2d(np.array([[[3.0, 4.0, 0.0, 2.0]]]), 2, (1, 2))
    array([[[5., 2.]]])
    """
    return lp_pool(2, input, norm_type, (kernel_size, stride), ceil_mode, data_format, out, threads)


@remembered(arrays=1)
def lp_pool3d(
    input: Any,
    norm_type: float,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    ceil_mode: bool = False,
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Take the power average of a window that slides over each channel of a batch of solids.

        out[n, c, z, y, x] = (sum over h, i, j of
            input[n, c, z*stride[0] + h,
                  y*stride[1] + i,
                  x*stride[2] + j]**norm_type)**(1/norm_type)

    A window that `ceil_mode` lets reach beyond the input is scaled up to a whole one.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one solid ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
        float16, bfloat16 (summed in float32), float32 or float64.
    norm_type : float
        The exponent p, not 0.  1 is the sum, 2 the Euclidean norm, infinity the maximum of the absolute values.
    kernel_size : int or triple
        Size of the window along the spatial axes.
    stride : int or triple, optional
        Step of the window; default `kernel_size`.
    ceil_mode : bool, optional
        Whether a last window may reach beyond the input, if it begins inside.
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
        ``size' = (size - kernel_size) / stride + 1`` along each axis, rounded down, or up with `ceil_mode`.
        Negative sums of odd powers have no root: NaN, but for a `norm_type` of 1.

    Raises
    ------
    ValueError
        Wrong dimensions, empty images, sizes out of range, a norm_type of 0, unfit `out`.
    TypeError
        Integers, bool, complex numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.functional.lp_pool3d`: tensors are not taken for `norm_type`.

    References
    ----------
    C. Gulcehre, K. Cho, R. Pascanu, Y. Bengio, "Learned-Norm Pooling for Deep Feedforward and Recurrent Neural
    Networks" (2014), doi:10.1007/978-3-662-44848-9_34.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import lp_pool3d
    >>> lp_pool3d(np.array([[[[3.0, 4.0, 0.0, 2.0]]]]), 2, (1, 1, 2))
    array([[[[5., 2.]]]])
    """
    return lp_pool(3, input, norm_type, (kernel_size, stride), ceil_mode, data_format, out, threads)
