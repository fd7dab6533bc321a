"""Transposed convolution: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.nn.adjoint import transpose
from fastconv.replay import LARGEST_LAYER, remembered

__all__ = [
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]


@remembered(2, ("bias",), largest=LARGEST_LAYER)
def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = 1,
    padding: int | Iterable[Any] = 0,
    output_padding: int | Iterable[int] = 0,
    groups: int = 1,
    dilation: int | Iterable[int] = 1,
    *,
    data_format: str = "NCW",
    activation: str | tuple[str, float] | None = None,
    dtype: Any = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply the transpose of a convolution to a batch of signals: each element is spread over a window.

    It is what takes gradients back through a convolution (its adjoint), and enlarges signals by a stride.  With the shapes
    below, for each group of channels,

        out[n, o, y] = bias[o] + sum over c, x, i of weight[c, o, i] * input[n, c, x]
            with y = x*stride + i*dilation - before

    Parameters
    ----------
    input : array_like
        ``(N, C, W)``, or one signal ``(C, W)``; for ``data_format="NWC"`` the channels stand last.
    weight : array_like
        ``(C, O/groups, kW)``, for all data formats.
    bias : array_like, optional
        ``(O,)``.
    stride : int or (int,), optional
        Step of the window, at least 1.
    padding : int, (int,) or ((int, int),), optional
        Elements of the result that are left out at both ends: the padding of the convolution whose adjoint this is.
        ``((before, after),)`` for uneven padding.
    output_padding : int or (int,), optional
        Elements that the result is longer by, at the end of each axis; less than the stride or the dilation.  They
        tell sizes apart that a strided convolution makes the same of.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    dilation : int or (int,), optional
        Step between taps, at least 1.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of input and result; "NCL" and "NLC" are the same.
    activation : str or (str, float), optional
        A function applied to each sum before it is stored: ``"relu"``, ``("leaky_relu", 0.2)``, and the other names
        that `fastconv.nn` has.
    dtype : dtype, optional
        Of sums and result; default what the arrays combine to, as NumPy has it.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, O, W')``, or ``(O, W')`` for one signal, with sizes
        ``(size - 1)*stride - before - after + dilation*(k - 1) + output_padding + 1``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays (but for an empty batch), channels that do not fit `groups` and `weight`,
        stride or dilation below 1, negative padding, `output_padding` that is not smaller than stride or dilation, a
        result without elements, unknown names, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not, a `dtype` that does not hold
        the arrays' kind of numbers, an activation of integers or complex numbers.

    See Also
    --------
    fastconv.nn.conv1d : The convolution.
    fastconv.nn.grad.conv1d_input : The same as a gradient, by the shape that it is to have.

    Notes
    -----
    Differs from `torch.nn.functional.conv_transpose1d`: mixed dtypes are promoted as NumPy does; integers are summed
    modulo the range of the result; uneven padding is allowed.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> from fastconv.nn import conv_transpose1d
    >>> conv_transpose1d([[1, 2, 3]], [[[1, 10]]], stride=2)
    array([[ 1, 10,  2, 20,  3, 30]])
    """
    return transpose(
        1, input, weight, bias, stride, padding, output_padding, groups,
        dilation, data_format, activation, dtype, out, threads,
    )  # fmt: skip


@remembered(2, ("bias",), largest=LARGEST_LAYER)
def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = 1,
    padding: int | Iterable[Any] = 0,
    output_padding: int | Iterable[int] = 0,
    groups: int = 1,
    dilation: int | Iterable[int] = 1,
    *,
    data_format: str = "NCHW",
    activation: str | tuple[str, float] | None = None,
    dtype: Any = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply the transpose of a convolution to a batch of images: each element is spread over a window.

    It is what takes gradients back through a convolution (its adjoint), and enlarges images by a stride.  With the shapes
    below, for each group of channels,

        out[n, o, y] = bias[o] + sum over c, x, k of weight[c, o, k] * input[n, c, x]
            with y = x*stride + k*dilation - padding

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
    weight : array_like
        ``(C, O/groups, kH, kW)``, for all data formats.
    bias : array_like, optional
        ``(O,)``.
    stride : int or pair, optional
        Step of the window, at least 1.
    padding : int, pair or pair of pairs, optional
        Elements of the result that are left out at both ends of each axis: the padding of the convolution whose
        adjoint this is.  ``((top, bottom), (left, right))`` for uneven padding.
    output_padding : int or pair, optional
        Elements that the result is longer by, at the end of each axis; less than the stride or the dilation.  They
        tell sizes apart that a strided convolution makes the same of.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    dilation : int or pair, optional
        Step between taps, at least 1.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of input and result.
    activation : str or (str, float), optional
        A function applied to each sum before it is stored: ``"relu"``, ``("leaky_relu", 0.2)``, and the other names
        that `fastconv.nn` has.
    dtype : dtype, optional
        Of sums and result; default what the arrays combine to, as NumPy has it.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, O, H', W')``, or ``(O, H', W')`` for one image, with sizes
        ``(size - 1)*stride - before - after + dilation*(k - 1) + output_padding + 1``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays (but for an empty batch), channels that do not fit `groups` and `weight`,
        stride or dilation below 1, negative padding, `output_padding` that is not smaller than stride or dilation, a
        result without elements, unknown names, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not, a `dtype` that does not hold
        the arrays' kind of numbers, an activation of integers or complex numbers.

    See Also
    --------
    fastconv.nn.conv2d : The convolution.
    fastconv.nn.grad.conv2d_input : The same as a gradient, by the shape that it is to have.

    Notes
    -----
    Differs from `torch.nn.functional.conv_transpose2d`: mixed dtypes are promoted as NumPy does; integers are summed
    modulo the range of the result; uneven padding is allowed.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import conv_transpose2d
    >>> conv_transpose2d(np.array([[[1.0, 2.0]]]), np.array([[[[1.0, 1.0], [1.0, 3.0]]]]), stride=2)
    array([[[1., 1., 2., 2.],
            [1., 3., 2., 6.]]])
    """
    return transpose(
        2, input, weight, bias, stride, padding, output_padding, groups,
        dilation, data_format, activation, dtype, out, threads,
    )  # fmt: skip


@remembered(2, ("bias",), largest=LARGEST_LAYER)
def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = 1,
    padding: int | Iterable[Any] = 0,
    output_padding: int | Iterable[int] = 0,
    groups: int = 1,
    dilation: int | Iterable[int] = 1,
    *,
    data_format: str = "NCDHW",
    activation: str | tuple[str, float] | None = None,
    dtype: Any = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply the transpose of a convolution to a batch of volumes: each element is spread over a window.

    It is what takes gradients back through a convolution (its adjoint), and enlarges volumes by a stride.  With the shapes
    below, for each group of channels,

        out[n, o, y] = bias[o] + sum over c, x, k of weight[c, o, k] * input[n, c, x]
            with y = x*stride + k*dilation - padding

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one volume ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
    weight : array_like
        ``(C, O/groups, kD, kH, kW)``, for all data formats.
    bias : array_like, optional
        ``(O,)``.
    stride : int or triple, optional
        Step of the window, at least 1.
    padding : int, triple or triple of pairs, optional
        Elements of the result that are left out at both ends of each axis: the padding of the convolution whose
        adjoint this is.  ``((front, back), (top, bottom), (left, right))`` for uneven padding.
    output_padding : int or triple, optional
        Elements that the result is longer by, at the end of each axis; less than the stride or the dilation.  They
        tell sizes apart that a strided convolution makes the same of.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    dilation : int or triple, optional
        Step between taps, at least 1.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of input and result.
    activation : str or (str, float), optional
        A function applied to each sum before it is stored: ``"relu"``, ``("leaky_relu", 0.2)``, and the other names
        that `fastconv.nn` has.
    dtype : dtype, optional
        Of sums and result; default what the arrays combine to, as NumPy has it.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, O, D', H', W')``, or ``(O, D', H', W')`` for one volume, with sizes
        ``(size - 1)*stride - before - after + dilation*(k - 1) + output_padding + 1``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays (but for an empty batch), channels that do not fit `groups` and `weight`,
        stride or dilation below 1, negative padding, `output_padding` that is not smaller than stride or dilation, a
        result without elements, unknown names, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not, a `dtype` that does not hold
        the arrays' kind of numbers, an activation of integers or complex numbers.

    See Also
    --------
    fastconv.nn.conv3d : The convolution.
    fastconv.nn.grad.conv3d_input : The same as a gradient, by the shape that it is to have.

    Notes
    -----
    Differs from `torch.nn.functional.conv_transpose3d`: mixed dtypes are promoted as NumPy does; integers are summed
    modulo the range of the result; uneven padding is allowed.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import conv_transpose3d
    >>> conv_transpose3d(np.ones((1, 1, 1, 1, 2)), np.ones((1, 3, 2, 2, 2)), output_padding=0).shape
    (1, 3, 2, 2, 3)
    """
    return transpose(
        3, input, weight, bias, stride, padding, output_padding, groups,
        dilation, data_format, activation, dtype, out, threads,
    )  # fmt: skip
