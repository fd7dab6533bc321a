"""Gradients of transposed convolutions, by the rules of `fastconv.nn.grad.conv`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.nn.adjoint import bias_gradient, transposed_input_gradient, transposed_weight_gradient
from fastconv.replay import LARGEST_LAYER, remembered

__all__ = [
    "conv_transpose1d_bias",
    "conv_transpose1d_input",
    "conv_transpose1d_weight",
    "conv_transpose2d_bias",
    "conv_transpose2d_input",
    "conv_transpose2d_weight",
    "conv_transpose3d_bias",
    "conv_transpose3d_input",
    "conv_transpose3d_weight",
]


@remembered(("weight", "grad_output"), largest=LARGEST_LAYER)
def conv_transpose1d_input(
    input_size: Iterable[int],
    weight: Any,
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: int | Iterable[Any] = 0,
    output_padding: int | Iterable[int] = 0,
    groups: int = 1,
    dilation: int | Iterable[int] = 1,
    *,
    data_format: str = "NCW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv_transpose1d` with respect to its input: a convolution.

        out[n, c, x] = sum over o, k of conj(weight[c, o, k]) * grad_output[n, o, x*stride + k*dilation - padding]

    for each group of channels.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the input: ``(N, C, W)``, or ``(C, W)`` for one signal; in the order of `data_format`.
    weight : array_like
        ``(C, O/groups, kW)``, as the transposed convolution had it.
    grad_output : array_like
        Gradient of the transposed convolution's output, of its shape: ``(N, O, W')``, or ``(O, W')``.
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
        Order of the axes of `input_size`, `grad_output` and result; "NCL" and "NLC" are the same.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Of shape `input_size`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, arguments that the transposed convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has no such function: its differentiation returns the same.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> from fastconv.nn.grad import conv_transpose1d_input
    >>> conv_transpose1d_input((1, 3), [[[1, 10]]], [[1, 2, 3, 4]])
    array([[21, 32, 43]])
    """
    return transposed_input_gradient(
        1, input_size, weight, grad_output, stride, padding, output_padding, groups, dilation, data_format, out, threads
    )


@remembered(("input", "grad_output"), largest=LARGEST_LAYER)
def conv_transpose1d_weight(
    input: Any,
    weight_size: Iterable[int],
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: int | Iterable[Any] = 0,
    output_padding: int | Iterable[int] = 0,
    groups: int = 1,
    dilation: int | Iterable[int] = 1,
    *,
    data_format: str = "NCW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv_transpose1d` with respect to its weight.

        out[c, o, k] = sum over n, x of conj(input[n, c, x]) * grad_output[n, o, x*stride + k*dilation - padding]

    for each group of channels, over the positions inside the output.

    Parameters
    ----------
    input : array_like
        ``(N, C, W)``, or one signal ``(C, W)``, as the transposed convolution had it.
    weight_size : sequence of int
        Shape of the weight: ``(C, O/groups, kW)``.
    grad_output : array_like
        Gradient of the transposed convolution's output, of its shape: ``(N, O, W')``, or ``(O, W')``.
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
        Order of the axes of input and `grad_output`; "NCL" and "NLC" are the same.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Of shape `weight_size`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, arguments that the transposed convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has no such function: its differentiation returns the same.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> from fastconv.nn.grad import conv_transpose1d_weight
    >>> conv_transpose1d_weight([[1, 0, 10]], (1, 1, 2), [[1, 2, 3, 4]])
    array([[[31, 42]]])
    """
    return transposed_weight_gradient(
        1, input, weight_size, grad_output, stride, padding, output_padding, groups, dilation, data_format, out, threads
    )


@remembered(1, largest=LARGEST_LAYER)
def conv_transpose1d_bias(
    grad_output: Any,
    *,
    data_format: str = "NCW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv_transpose1d` with respect to its bias: the sum over the batch and all positions.

        out[o] = sum over n, y of grad_output[n, o, y]

    Parameters
    ----------
    grad_output : array_like
        Gradient of the transposed convolution's output: ``(N, O, W')``, or ``(O, W')``.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of `grad_output`; "NCL" and "NLC" are the same.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(O,)``.

    Raises
    ------
    ValueError
        Wrong dimensions, unknown names, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool.

    Notes
    -----
    Differs from PyTorch, which has no such function: its differentiation returns the same.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> from fastconv.nn.grad import conv_transpose1d_bias
    >>> conv_transpose1d_bias([[1, 2, 3], [4, 5, 6]])
    array([ 6, 15])
    """
    return bias_gradient(1, grad_output, data_format, out, threads)


@remembered(("weight", "grad_output"), largest=LARGEST_LAYER)
def conv_transpose2d_input(
    input_size: Iterable[int],
    weight: Any,
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: int | Iterable[Any] = 0,
    output_padding: int | Iterable[int] = 0,
    groups: int = 1,
    dilation: int | Iterable[int] = 1,
    *,
    data_format: str = "NCHW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv_transpose2d` with respect to its input: a convolution.

        out[n, c, x] = sum over o, k of conj(weight[c, o, k]) * grad_output[n, o, x*stride + k*dilation - padding]

    for each group of channels.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the input: ``(N, C, H, W)``, or ``(C, H, W)`` for one image; in the order of `data_format`.
    weight : array_like
        ``(C, O/groups, kH, kW)``, as the transposed convolution had it.
    grad_output : array_like
        Gradient of the transposed convolution's output, of its shape: ``(N, O, H', W')``, or ``(O, H', W')``.
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
        Order of the axes of `input_size`, `grad_output` and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Of shape `input_size`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, arguments that the transposed convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has no such function: its differentiation returns the same.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv_transpose2d_input
    >>> conv_transpose2d_input((1, 1, 2), np.array([[[[1.0, 1.0], [1.0, 3.0]]]]), np.ones((1, 2, 4)), stride=2)
    array([[[6., 6.]]])
    """
    return transposed_input_gradient(
        2, input_size, weight, grad_output, stride, padding, output_padding, groups, dilation, data_format, out, threads
    )


@remembered(("input", "grad_output"), largest=LARGEST_LAYER)
def conv_transpose2d_weight(
    input: Any,
    weight_size: Iterable[int],
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: int | Iterable[Any] = 0,
    output_padding: int | Iterable[int] = 0,
    groups: int = 1,
    dilation: int | Iterable[int] = 1,
    *,
    data_format: str = "NCHW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv_transpose2d` with respect to its weight.

        out[c, o, k] = sum over n, x of conj(input[n, c, x]) * grad_output[n, o, x*stride + k*dilation - padding]

    for each group of channels, over the positions inside the output.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``, as the transposed convolution had it.
    weight_size : sequence of int
        Shape of the weight: ``(C, O/groups, kH, kW)``.
    grad_output : array_like
        Gradient of the transposed convolution's output, of its shape: ``(N, O, H', W')``, or ``(O, H', W')``.
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
        Order of the axes of input and `grad_output`.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Of shape `weight_size`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, arguments that the transposed convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has no such function: its differentiation returns the same.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv_transpose2d_weight
    >>> conv_transpose2d_weight(np.ones((1, 1, 2)), (1, 1, 2, 2), np.arange(8.0).reshape(1, 2, 4), stride=2)
    array([[[[ 2.,  4.],
             [10., 12.]]]])
    """
    return transposed_weight_gradient(
        2, input, weight_size, grad_output, stride, padding, output_padding, groups, dilation, data_format, out, threads
    )


@remembered(1, largest=LARGEST_LAYER)
def conv_transpose2d_bias(
    grad_output: Any,
    *,
    data_format: str = "NCHW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv_transpose2d` with respect to its bias: the sum over the batch and all positions.

        out[o] = sum over n, y of grad_output[n, o, y]

    Parameters
    ----------
    grad_output : array_like
        Gradient of the transposed convolution's output: ``(N, O, H', W')``, or ``(O, H', W')``.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of `grad_output`.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(O,)``.

    Raises
    ------
    ValueError
        Wrong dimensions, unknown names, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool.

    Notes
    -----
    Differs from PyTorch, which has no such function: its differentiation returns the same.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv_transpose2d_bias
    >>> conv_transpose2d_bias(np.ones((8, 2, 3, 4)))
    array([96., 96.])
    """
    return bias_gradient(2, grad_output, data_format, out, threads)


@remembered(("weight", "grad_output"), largest=LARGEST_LAYER)
def conv_transpose3d_input(
    input_size: Iterable[int],
    weight: Any,
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: int | Iterable[Any] = 0,
    output_padding: int | Iterable[int] = 0,
    groups: int = 1,
    dilation: int | Iterable[int] = 1,
    *,
    data_format: str = "NCDHW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv_transpose3d` with respect to its input: a convolution.

        out[n, c, x] = sum over o, k of conj(weight[c, o, k]) * grad_output[n, o, x*stride + k*dilation - padding]

    for each group of channels.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the input: ``(N, C, D, H, W)``, or ``(C, D, H, W)`` for one volume; in the order of `data_format`.
    weight : array_like
        ``(C, O/groups, kD, kH, kW)``, as the transposed convolution had it.
    grad_output : array_like
        Gradient of the transposed convolution's output, of its shape: ``(N, O, D', H', W')``, or ``(O, D', H', W')``.
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
        Order of the axes of `input_size`, `grad_output` and result.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Of shape `input_size`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, arguments that the transposed convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has no such function: its differentiation returns the same.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv_transpose3d_input
    >>> conv_transpose3d_input((2, 3, 4, 5, 6), np.ones((3, 7, 2, 2, 2)), np.ones((2, 7, 5, 6, 7))).shape
    (2, 3, 4, 5, 6)
    """
    return transposed_input_gradient(
        3, input_size, weight, grad_output, stride, padding, output_padding, groups, dilation, data_format, out, threads
    )


@remembered(("input", "grad_output"), largest=LARGEST_LAYER)
def conv_transpose3d_weight(
    input: Any,
    weight_size: Iterable[int],
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: int | Iterable[Any] = 0,
    output_padding: int | Iterable[int] = 0,
    groups: int = 1,
    dilation: int | Iterable[int] = 1,
    *,
    data_format: str = "NCDHW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv_transpose3d` with respect to its weight.

        out[c, o, k] = sum over n, x of conj(input[n, c, x]) * grad_output[n, o, x*stride + k*dilation - padding]

    for each group of channels, over the positions inside the output.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one volume ``(C, D, H, W)``, as the transposed convolution had it.
    weight_size : sequence of int
        Shape of the weight: ``(C, O/groups, kD, kH, kW)``.
    grad_output : array_like
        Gradient of the transposed convolution's output, of its shape: ``(N, O, D', H', W')``, or ``(O, D', H', W')``.
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
        Order of the axes of input and `grad_output`.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        Of shape `weight_size`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, arguments that the transposed convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has no such function: its differentiation returns the same.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv_transpose3d_weight
    >>> conv_transpose3d_weight(np.ones((2, 3, 4, 5, 6)), (3, 7, 2, 2, 2), np.ones((2, 7, 5, 6, 7))).shape
    (3, 7, 2, 2, 2)
    """
    return transposed_weight_gradient(
        3, input, weight_size, grad_output, stride, padding, output_padding, groups, dilation, data_format, out, threads
    )


@remembered(1, largest=LARGEST_LAYER)
def conv_transpose3d_bias(
    grad_output: Any,
    *,
    data_format: str = "NCDHW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv_transpose3d` with respect to its bias: the sum over the batch and all positions.

        out[o] = sum over n, y of grad_output[n, o, y]

    Parameters
    ----------
    grad_output : array_like
        Gradient of the transposed convolution's output: ``(N, O, D', H', W')``, or ``(O, D', H', W')``.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of `grad_output`.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(O,)``.

    Raises
    ------
    ValueError
        Wrong dimensions, unknown names, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool.

    Notes
    -----
    Differs from PyTorch, which has no such function: its differentiation returns the same.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv_transpose3d_bias
    >>> conv_transpose3d_bias(np.ones((2, 3, 4, 5, 6)))
    array([240., 240., 240.])
    """
    return bias_gradient(3, grad_output, data_format, out, threads)
