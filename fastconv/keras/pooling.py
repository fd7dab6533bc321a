"""Pooling with Keras' names and layouts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.keras.arguments import Layout, padding_name, steps

__all__ = ["average_pool", "max_pool"]

MAX_POOL = {1: nn.max_pool1d, 2: nn.max_pool2d, 3: nn.max_pool3d}
AVG_POOL = {1: nn.avg_pool1d, 2: nn.avg_pool2d, 3: nn.avg_pool3d}


def average_pool(
    inputs: Any,
    pool_size: int | Iterable[int],
    strides: int | Iterable[int] | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> np.ndarray:
    """Average windows, as `keras.ops.average_pool` does.

    For two axes and channels last,

        out[n, y, x, c] = mean over i, j of inputs[n, y*strides[0] + i - top, x*strides[1] + j - left, c]

    Parameters
    ----------
    inputs : array_like
        ``(N, *sizes, C)`` with one to three spatial axes, or ``(N, C, *sizes)``: see `data_format`.
    pool_size : int or tuple of int
        Size of the window along each axis.
    strides : int or tuple of int, optional
        Step of the window along each axis; default `pool_size`.
    padding : {"valid", "same"}, optional
        ``"valid"`` has only whole windows.  ``"same"`` has ``ceil(size / stride)`` of them, which reach as little as possible
        beyond the inputs, as far behind as before or one more; the mean is that of the elements inside.
    data_format : {"channels_last", "channels_first"}, optional
        Order of the axes of inputs and result; default ``"channels_last"``.

    Returns
    -------
    ndarray
        ``(N, *sizes', C)``, or ``(N, C, *sizes')``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays, sizes or steps below 1, unknown names, a window larger than the inputs.
    TypeError
        Dtypes that are not pooled, numbers that should be integers and are not.

    Notes
    -----
    Differs from `keras.ops.average_pool`: integers are averaged too, truncating toward zero.

    References
    ----------
    Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998), doi:10.1109/5.726791.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import keras
    >>> keras.average_pool(np.arange(5.0).reshape(1, 5, 1), 2, padding="same")[0, :, 0]
    array([0.5, 2.5, 4. ])
    """
    given = Layout(inputs, data_format)
    size = steps("pool_size", pool_size, given.ndim)
    stride = size if strides is None else steps("strides", strides, given.ndim)
    return AVG_POOL[given.ndim](
        given.inputs, size, stride, padding_name(padding), count_include_pad=False, data_format=given.data_format
    )


def max_pool(
    inputs: Any,
    pool_size: int | Iterable[int],
    strides: int | Iterable[int] | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> np.ndarray:
    """Take the maxima of windows, as `keras.ops.max_pool` does.

    For two axes and channels last,

        out[n, y, x, c] = max over i, j of inputs[n, y*strides[0] + i - top, x*strides[1] + j - left, c]

    Parameters
    ----------
    inputs : array_like
        ``(N, *sizes, C)`` with one to three spatial axes, or ``(N, C, *sizes)``: see `data_format`.
    pool_size : int or tuple of int
        Size of the window along each axis.
    strides : int or tuple of int, optional
        Step of the window along each axis; default `pool_size`.
    padding : {"valid", "same"}, optional
        ``"valid"`` has only whole windows.  ``"same"`` has ``ceil(size / stride)`` of them, which reach as little as possible
        beyond the inputs, as far behind as before or one more; nothing there counts.
    data_format : {"channels_last", "channels_first"}, optional
        Order of the axes of inputs and result; default ``"channels_last"``.

    Returns
    -------
    ndarray
        ``(N, *sizes', C)``, or ``(N, C, *sizes')``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays, sizes or steps below 1, unknown names, a window larger than the inputs.
    TypeError
        Dtypes that are not pooled, numbers that should be integers and are not.

    Notes
    -----
    Differs from `keras.ops.max_pool`: NaN is the maximum of every window that it is in; integers and bool are pooled too.

    References
    ----------
    Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998), doi:10.1109/5.726791.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import keras
    >>> keras.max_pool(np.arange(5.0).reshape(1, 5, 1), 2, padding="same")[0, :, 0]
    array([1., 3., 4.])
    """
    given = Layout(inputs, data_format)
    size = steps("pool_size", pool_size, given.ndim)
    stride = size if strides is None else steps("strides", strides, given.ndim)
    return MAX_POOL[given.ndim](given.inputs, size, stride, padding_name(padding), data_format=given.data_format)
