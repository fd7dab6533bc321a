"""Gradients of convolutions: `torch.nn.grad`'s names, argument order and meaning, on arrays.

Through an epilogue: of ``y = activation(conv(x, w, b))`` let ``g`` be the gradient of y.  The gradient of the sums is that
of the activation, ``relu_backward(g, ...)`` and so on in this package, and goes into the gradients of the convolution
as `grad_output`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.nn.adjoint import bias_gradient, input_gradient, weight_gradient
from fastconv.replay import LARGEST_LAYER, remembered

__all__ = [
    "conv1d_bias",
    "conv1d_input",
    "conv1d_weight",
    "conv2d_bias",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_bias",
    "conv3d_input",
    "conv3d_weight",
]


@remembered(("weight", "grad_output"), largest=LARGEST_LAYER)
def conv1d_input(
    input_size: Iterable[int],
    weight: Any,
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    data_format: str = "NCW",
    padding_mode: str = "zeros",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv1d` with respect to its input.

        out[n, c, p] = sum over o, k and y with place(y*stride + k*dilation - padding) = p of
                       conj(weight[o, c - first(o), k]) * grad_output[n, o, y]

    where the sum is over the filters o of c's group, whose first channel is ``first(o)``, and ``place`` is the element of the
    input that the padding mode has at a position.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the convolution's input: ``(N, C, W)``, or ``(C, W)`` for one signal; in the order of `data_format`.
    weight : array_like
        ``(O, C/groups, kW)``, as the convolution had it.
    grad_output : array_like
        Gradient of the convolution's output, of its shape: ``(N, O, W')``, or ``(O, W')``.
    stride : int or (int,), optional
        Step of the window, at least 1.
    padding : int, (int,), ((int, int),), "valid", "same" or "causal", optional
        As the convolution had it; see `fastconv.nn.conv1d`.
    dilation : int or (int,), optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of `input_size`, `grad_output` and result; "NCL" and "NLC" are the same.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What lay beyond the edges; see `fastconv.nn.conv1d`.
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
        Shapes that do not fit each other, arguments that the convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    See Also
    --------
    fastconv.nn.conv_transpose1d : The same by `output_padding`.

    Notes
    -----
    Differs from `torch.nn.grad.conv1d_input`: padding may be uneven or a name and have a mode, channels may stand
    last, mixed dtypes are promoted, integers are summed modulo their range.  As in PyTorch, gradients of complex
    numbers are those of real functions of the real and the imaginary part: the weight is conjugated.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> from fastconv.nn.grad import conv1d_input
    >>> conv1d_input((1, 4), [[[1, 10]]], [[1, 2, 3]])
    array([[ 1, 12, 23, 30]])
    """
    return input_gradient(
        1, input_size, weight, grad_output, stride, padding, dilation, groups, data_format, padding_mode, out, threads
    )


@remembered(("input", "grad_output"), largest=LARGEST_LAYER)
def conv1d_weight(
    input: Any,
    weight_size: Iterable[int],
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    data_format: str = "NCW",
    padding_mode: str = "zeros",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv1d` with respect to its weight.

        out[o, c, k] = sum over n, y of conj(input[n, first(o) + c, y*stride + k*dilation - padding]) * grad_output[n, o, y]

    where ``first(o)`` is the first channel of o's group, and the input is continued beyond its edges as the convolution had it.

    Parameters
    ----------
    input : array_like
        ``(N, C, W)``, or one signal ``(C, W)``, as the convolution had it.
    weight_size : sequence of int
        Shape of the weight: ``(O, C/groups, kW)``.
    grad_output : array_like
        Gradient of the convolution's output, of its shape: ``(N, O, W')``, or ``(O, W')``.
    stride : int or (int,), optional
        Step of the window, at least 1.
    padding : int, (int,), ((int, int),), "valid", "same" or "causal", optional
        As the convolution had it; see `fastconv.nn.conv1d`.
    dilation : int or (int,), optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of input and `grad_output`; "NCL" and "NLC" are the same.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What lay beyond the edges; see `fastconv.nn.conv1d`.
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
        Shapes that do not fit each other, arguments that the convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.grad.conv1d_weight`: padding may be uneven or a name and have a mode, channels may stand
    last, mixed dtypes are promoted, integers are summed modulo their range, and complex arrays are allowed (the input
    is conjugated, as PyTorch's differentiation does).

    Sums over many pixels are made in blocks, in an order that does not depend on the number of threads.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> from fastconv.nn.grad import conv1d_weight
    >>> conv1d_weight([[1, 2, 3, 4]], (1, 1, 2), [[1, 0, 10]])
    array([[[31, 42]]])
    """
    return weight_gradient(
        1, input, weight_size, grad_output, stride, padding, dilation, groups, data_format, padding_mode, out, threads
    )


@remembered(1, largest=LARGEST_LAYER)
def conv1d_bias(
    grad_output: Any,
    *,
    data_format: str = "NCW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv1d` with respect to its bias: the sum over the batch and all positions.

        out[o] = sum over n, y of grad_output[n, o, y]

    Parameters
    ----------
    grad_output : array_like
        Gradient of the convolution's output: ``(N, O, W')``, or ``(O, W')``.
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
    Differs from PyTorch, which has no such function: its differentiation returns the same.  Sums are made in blocks,
    in an order that does not depend on the number of threads.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> from fastconv.nn.grad import conv1d_bias
    >>> conv1d_bias([[1, 2, 3], [4, 5, 6]])
    array([ 6, 15])
    """
    return bias_gradient(1, grad_output, data_format, out, threads)


@remembered(("weight", "grad_output"), largest=LARGEST_LAYER)
def conv2d_input(
    input_size: Iterable[int],
    weight: Any,
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    data_format: str = "NCHW",
    padding_mode: str = "zeros",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv2d` with respect to its input.

        out[n, c, p] = sum over o, k and y with place(y*stride + k*dilation - padding) = p of
                       conj(weight[o, c - first(o), k]) * grad_output[n, o, y]

    where the sum is over the filters o of c's group, whose first channel is ``first(o)``, and ``place`` is the element of the
    input that the padding mode has at a position.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the convolution's input: ``(N, C, H, W)``, or ``(C, H, W)`` for one image; in the order of `data_format`.
    weight : array_like
        ``(O, C/groups, kH, kW)``, as the convolution had it.
    grad_output : array_like
        Gradient of the convolution's output, of its shape: ``(N, O, H', W')``, or ``(O, H', W')``.
    stride : int or pair, optional
        Step of the window, at least 1.
    padding : int, pair, pair of pairs, "valid" or "same", optional
        As the convolution had it; see `fastconv.nn.conv2d`.
    dilation : int or pair, optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of `input_size`, `grad_output` and result.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What lay beyond the edges; see `fastconv.nn.conv2d`.
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
        Shapes that do not fit each other, arguments that the convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    See Also
    --------
    fastconv.nn.conv_transpose2d : The same by `output_padding`.

    Notes
    -----
    Differs from `torch.nn.grad.conv2d_input`: padding may be uneven or a name and have a mode, channels may stand
    last, mixed dtypes are promoted, integers are summed modulo their range.  As in PyTorch, gradients of complex
    numbers are those of real functions of the real and the imaginary part: the weight is conjugated.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv2d_input
    >>> conv2d_input((1, 3, 3), np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), np.ones((1, 2, 2)))
    array([[[ 1.,  3.,  2.],
            [ 4., 10.,  6.],
            [ 3.,  7.,  4.]]])
    """
    return input_gradient(
        2, input_size, weight, grad_output, stride, padding, dilation, groups, data_format, padding_mode, out, threads
    )


@remembered(("input", "grad_output"), largest=LARGEST_LAYER)
def conv2d_weight(
    input: Any,
    weight_size: Iterable[int],
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    data_format: str = "NCHW",
    padding_mode: str = "zeros",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv2d` with respect to its weight.

        out[o, c, k] = sum over n, y of conj(input[n, first(o) + c, y*stride + k*dilation - padding]) * grad_output[n, o, y]

    where ``first(o)`` is the first channel of o's group, and the input is continued beyond its edges as the convolution had it.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``, as the convolution had it.
    weight_size : sequence of int
        Shape of the weight: ``(O, C/groups, kH, kW)``.
    grad_output : array_like
        Gradient of the convolution's output, of its shape: ``(N, O, H', W')``, or ``(O, H', W')``.
    stride : int or pair, optional
        Step of the window, at least 1.
    padding : int, pair, pair of pairs, "valid" or "same", optional
        As the convolution had it; see `fastconv.nn.conv2d`.
    dilation : int or pair, optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of input and `grad_output`.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What lay beyond the edges; see `fastconv.nn.conv2d`.
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
        Shapes that do not fit each other, arguments that the convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.grad.conv2d_weight`: padding may be uneven or a name and have a mode, channels may stand
    last, mixed dtypes are promoted, integers are summed modulo their range, and complex arrays are allowed (the input
    is conjugated, as PyTorch's differentiation does).

    Sums over many pixels are made in blocks, in an order that does not depend on the number of threads.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv2d_weight
    >>> conv2d_weight(np.arange(9.0).reshape(1, 3, 3), (1, 1, 2, 2), np.ones((1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    return weight_gradient(
        2, input, weight_size, grad_output, stride, padding, dilation, groups, data_format, padding_mode, out, threads
    )


@remembered(1, largest=LARGEST_LAYER)
def conv2d_bias(
    grad_output: Any,
    *,
    data_format: str = "NCHW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv2d` with respect to its bias: the sum over the batch and all positions.

        out[o] = sum over n, y of grad_output[n, o, y]

    Parameters
    ----------
    grad_output : array_like
        Gradient of the convolution's output: ``(N, O, H', W')``, or ``(O, H', W')``.
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
    Differs from PyTorch, which has no such function: its differentiation returns the same.  Sums are made in blocks,
    in an order that does not depend on the number of threads.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv2d_bias
    >>> conv2d_bias(np.ones((8, 2, 3, 4)))
    array([96., 96.])
    """
    return bias_gradient(2, grad_output, data_format, out, threads)


@remembered(("weight", "grad_output"), largest=LARGEST_LAYER)
def conv3d_input(
    input_size: Iterable[int],
    weight: Any,
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    data_format: str = "NCDHW",
    padding_mode: str = "zeros",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv3d` with respect to its input.

        out[n, c, p] = sum over o, k and y with place(y*stride + k*dilation - padding) = p of
                       conj(weight[o, c - first(o), k]) * grad_output[n, o, y]

    where the sum is over the filters o of c's group, whose first channel is ``first(o)``, and ``place`` is the element of the
    input that the padding mode has at a position.

    Parameters
    ----------
    input_size : sequence of int
        Shape of the convolution's input: ``(N, C, D, H, W)``, or ``(C, D, H, W)`` for one volume; in the order of `data_format`.
    weight : array_like
        ``(O, C/groups, kD, kH, kW)``, as the convolution had it.
    grad_output : array_like
        Gradient of the convolution's output, of its shape: ``(N, O, D', H', W')``, or ``(O, D', H', W')``.
    stride : int or triple, optional
        Step of the window, at least 1.
    padding : int, triple, triple of pairs, "valid" or "same", optional
        As the convolution had it; see `fastconv.nn.conv3d`.
    dilation : int or triple, optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of `input_size`, `grad_output` and result.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What lay beyond the edges; see `fastconv.nn.conv3d`.
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
        Shapes that do not fit each other, arguments that the convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    See Also
    --------
    fastconv.nn.conv_transpose3d : The same by `output_padding`.

    Notes
    -----
    Differs from `torch.nn.grad.conv3d_input`: padding may be uneven or a name and have a mode, channels may stand
    last, mixed dtypes are promoted, integers are summed modulo their range.  As in PyTorch, gradients of complex
    numbers are those of real functions of the real and the imaginary part: the weight is conjugated.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv3d_input
    >>> conv3d_input((2, 3, 4, 5, 6), np.ones((7, 3, 2, 2, 2)), np.ones((2, 7, 3, 4, 5))).shape
    (2, 3, 4, 5, 6)
    """
    return input_gradient(
        3, input_size, weight, grad_output, stride, padding, dilation, groups, data_format, padding_mode, out, threads
    )


@remembered(("input", "grad_output"), largest=LARGEST_LAYER)
def conv3d_weight(
    input: Any,
    weight_size: Iterable[int],
    grad_output: Any,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    data_format: str = "NCDHW",
    padding_mode: str = "zeros",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv3d` with respect to its weight.

        out[o, c, k] = sum over n, y of conj(input[n, first(o) + c, y*stride + k*dilation - padding]) * grad_output[n, o, y]

    where ``first(o)`` is the first channel of o's group, and the input is continued beyond its edges as the convolution had it.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one volume ``(C, D, H, W)``, as the convolution had it.
    weight_size : sequence of int
        Shape of the weight: ``(O, C/groups, kD, kH, kW)``.
    grad_output : array_like
        Gradient of the convolution's output, of its shape: ``(N, O, D', H', W')``, or ``(O, D', H', W')``.
    stride : int or triple, optional
        Step of the window, at least 1.
    padding : int, triple, triple of pairs, "valid" or "same", optional
        As the convolution had it; see `fastconv.nn.conv3d`.
    dilation : int or triple, optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of input and `grad_output`.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What lay beyond the edges; see `fastconv.nn.conv3d`.
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
        Shapes that do not fit each other, arguments that the convolution would not take, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not.

    Notes
    -----
    Differs from `torch.nn.grad.conv3d_weight`: padding may be uneven or a name and have a mode, channels may stand
    last, mixed dtypes are promoted, integers are summed modulo their range, and complex arrays are allowed (the input
    is conjugated, as PyTorch's differentiation does).

    Sums over many pixels are made in blocks, in an order that does not depend on the number of threads.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv3d_weight
    >>> conv3d_weight(np.ones((2, 3, 4, 5, 6)), (7, 3, 2, 2, 2), np.ones((2, 7, 3, 4, 5))).shape
    (7, 3, 2, 2, 2)
    """
    return weight_gradient(
        3, input, weight_size, grad_output, stride, padding, dilation, groups, data_format, padding_mode, out, threads
    )


@remembered(1, largest=LARGEST_LAYER)
def conv3d_bias(
    grad_output: Any,
    *,
    data_format: str = "NCDHW",
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Gradient of `fastconv.nn.conv3d` with respect to its bias: the sum over the batch and all positions.

        out[o] = sum over n, y of grad_output[n, o, y]

    Parameters
    ----------
    grad_output : array_like
        Gradient of the convolution's output: ``(N, O, D', H', W')``, or ``(O, D', H', W')``.
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
    Differs from PyTorch, which has no such function: its differentiation returns the same.  Sums are made in blocks,
    in an order that does not depend on the number of threads.

    References
    ----------
    Y. LeCun et al., "Backpropagation applied to handwritten zip code recognition", Neural Computation 1 (1989) 541-551,
    doi:10.1162/neco.1989.1.4.541.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import conv3d_bias
    >>> conv3d_bias(np.ones((2, 3, 4, 5, 6)))
    array([240., 240., 240.])
    """
    return bias_gradient(3, grad_output, data_format, out, threads)
