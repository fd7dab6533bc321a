"""Deep-learning convolution: `torch.nn.functional`'s names, argument order and meaning, on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.nn.convolution import convolve
from fastconv.replay import LARGEST_LAYER, remembered

__all__ = ["conv1d", "conv2d", "conv3d"]


@remembered(2, ("bias",), largest=LARGEST_LAYER)
def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    data_format: str = "NCW",
    padding_mode: str = "zeros",
    activation: str | tuple[str, float] | None = None,
    dtype: Any = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply a bank of 1-D filters to a batch of signals: the convolution of neural networks.

    It is a cross-correlation: the kernel is not flipped.  With the shapes below,

        out[n, o, x] = bias[o] + sum over c, i of weight[o, c, i]
            * input[n, g(o) * C/groups + c, x*stride + i*dilation - before]

    where ``g(o) = o // (O/groups)``, and `padding_mode` tells what the input is beyond its edges.

    Parameters
    ----------
    input : array_like
        ``(N, C, W)``, or one signal ``(C, W)``; for ``data_format="NWC"`` the channels stand last.
    weight : array_like
        ``(O, C/groups, kW)``, for all data formats.
    bias : array_like, optional
        ``(O,)``.
    stride : int or (int,), optional
        Step of the window, at least 1.
    padding : int, (int,), ((int, int),), "valid", "same" or "causal", optional
        Elements added at both ends; ``((before, after),)`` for uneven padding.
        ``"same"`` keeps the size divided by the stride, rounded up, by TensorFlow's rule: as little as that takes, with the
        odd element behind.  ``"valid"`` adds none.  ``"causal"`` adds all ``dilation*(kW-1)`` before: no
        output depends on later inputs.
    dilation : int or (int,), optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of input and result; "NCL" and "NLC" are the same.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What lies beyond the edges: zeros; the signal mirrored about its edge elements (padding below its size); its edge
        elements repeated; the signal again (padding of at most its size).
    activation : str or (str, float), optional
        A function applied to each sum before it is stored: ``"relu"``, ``("leaky_relu", 0.2)``, and the other names
        that `fastconv.nn` has; see there.
    dtype : dtype, optional
        Of sums and result; default what the arrays combine to, as NumPy has it.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, O, W')``, or ``(O, W')`` for one signal, with
        ``W' = (W + before + after - dilation*(kW-1) - 1) // stride + 1``.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays (but for an empty batch), channels that do not fit `groups` and `weight`, stride
        or dilation below 1, negative padding, more than the padding mode can fill, a window larger than the padded
        signal, unknown names, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not, a `dtype` that does not hold
        the arrays' kind of numbers, an activation of integers or complex numbers.

    See Also
    --------
    fastconv.keras.conv : The same with Keras' names and layouts.

    Notes
    -----
    Differs from `torch.nn.functional.conv1d`: mixed dtypes are promoted as NumPy does; integers are convolved too, modulo
    the range of the result (with ``dtype="int32"`` sums of 8-bit numbers are exact); float16 and bfloat16 are summed in
    float32 and rounded once.  ``padding="same"`` takes any
    stride, by TensorFlow's rule (PyTorch refuses strides there; without them the rules agree), and uneven padding is
    allowed.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> from fastconv.nn import conv1d
    >>> conv1d([[1, 2, 3, 4]], [[[1, 10]]], padding="causal")
    array([[10, 21, 32, 43]])
    """
    return convolve(
        1, input, weight, bias, stride, padding, dilation, groups,
        data_format, padding_mode, activation, dtype, out, threads,
    )  # fmt: skip


@remembered(2, ("bias",), largest=LARGEST_LAYER)
def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    data_format: str = "NCHW",
    padding_mode: str = "zeros",
    activation: str | tuple[str, float] | None = None,
    dtype: Any = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply a bank of 2-D filters to a batch of images: the convolution of neural networks.

    It is a cross-correlation: the kernel is not flipped.  With the shapes below,

        out[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j]
            * input[n, g(o) * C/groups + c, y*stride[0] + i*dilation[0] - top, x*stride[1] + j*dilation[1] - left]

    where ``g(o) = o // (O/groups)``, and `padding_mode` tells what the input is beyond its edges.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)``, or one image ``(C, H, W)``; for ``data_format="NHWC"`` the channels stand last.
    weight : array_like
        ``(O, C/groups, kH, kW)``, for all data formats.
    bias : array_like, optional
        ``(O,)``.
    stride : int or pair, optional
        Step of the window, at least 1.
    padding : int, pair, pair of pairs, "valid" or "same", optional
        Elements added around the image: rows and columns; ``((top, bottom), (left, right))`` for uneven padding.
        ``"same"`` keeps the sizes divided by the stride, rounded up, by TensorFlow's rule: as little as that takes, with the
        odd element behind.  ``"valid"`` adds none.
    dilation : int or pair, optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of input and result.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What lies beyond the edges: zeros; the image mirrored about its edge elements (padding below its size); its edge
        elements repeated; the image again (padding of at most its size).
    activation : str or (str, float), optional
        A function applied to each sum before it is stored: ``"relu"``, ``("leaky_relu", 0.2)``, and the other names
        that `fastconv.nn` has; see there.
    dtype : dtype, optional
        Of sums and result; default what the arrays combine to, as NumPy has it.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, O, H', W')``, or ``(O, H', W')`` for one image, with
        ``H' = (H + top + bottom - dilation[0]*(kH-1) - 1) // stride[0] + 1``, and ``W'`` likewise.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays (but for an empty batch), channels that do not fit `groups` and `weight`, stride
        or dilation below 1, negative padding, more than the padding mode can fill, a window larger than the padded
        image, unknown names, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not, a `dtype` that does not hold
        the arrays' kind of numbers, an activation of integers or complex numbers.

    See Also
    --------
    fastconv.keras.conv : The same with Keras' names and layouts.

    Notes
    -----
    Differs from `torch.nn.functional.conv2d`: mixed dtypes are promoted as NumPy does; integers are convolved too, modulo
    the range of the result (with ``dtype="int32"`` sums of 8-bit numbers are exact); float16 and bfloat16 are summed in
    float32 and rounded once.  ``padding="same"`` takes any
    stride, by TensorFlow's rule (PyTorch refuses strides there; without them the rules agree), and uneven padding is
    allowed.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import conv2d
    >>> image = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> conv2d(image, np.ones((1, 1, 2, 2)), stride=2)
    array([[[[10., 18.],
             [42., 50.]]]])
    """
    return convolve(
        2, input, weight, bias, stride, padding, dilation, groups,
        data_format, padding_mode, activation, dtype, out, threads,
    )  # fmt: skip


@remembered(2, ("bias",), largest=LARGEST_LAYER)
def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Iterable[int] = 1,
    padding: str | int | Iterable[Any] = 0,
    dilation: int | Iterable[int] = 1,
    groups: int = 1,
    *,
    data_format: str = "NCDHW",
    padding_mode: str = "zeros",
    activation: str | tuple[str, float] | None = None,
    dtype: Any = None,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Apply a bank of 3-D filters to a batch of volumes: the convolution of neural networks.

    It is a cross-correlation: the kernel is not flipped.  With the shapes below,

        out[n, o, z, y, x] = bias[o] + sum over c, h, i, j of weight[o, c, h, i, j]
            * input[n, g(o) * C/groups + c, z*stride[0] + h*dilation[0] - front,
                    y*stride[1] + i*dilation[1] - top, x*stride[2] + j*dilation[2] - left]

    where ``g(o) = o // (O/groups)``, and `padding_mode` tells what the input is beyond its edges.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)``, or one volume ``(C, D, H, W)``; for ``data_format="NDHWC"`` the channels stand last.
    weight : array_like
        ``(O, C/groups, kD, kH, kW)``, for all data formats.
    bias : array_like, optional
        ``(O,)``.
    stride : int or triple, optional
        Step of the window, at least 1.
    padding : int, triple, triple of pairs, "valid" or "same", optional
        Elements added around the volume along each axis; ``((front, back), (top, bottom), (left, right))`` for uneven padding.
        ``"same"`` keeps the sizes divided by the stride, rounded up, by TensorFlow's rule: as little as that takes, with the
        odd element behind.  ``"valid"`` adds none.
    dilation : int or triple, optional
        Step between taps, at least 1.
    groups : int, optional
        Blocks of channels that do not mix; divides ``C`` and ``O``.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of input and result.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}, optional
        What lies beyond the edges: zeros; the volume mirrored about its edge elements (padding below its size); its edge
        elements repeated; the volume again (padding of at most its size).
    activation : str or (str, float), optional
        A function applied to each sum before it is stored: ``"relu"``, ``("leaky_relu", 0.2)``, and the other names
        that `fastconv.nn` has; see there.
    dtype : dtype, optional
        Of sums and result; default what the arrays combine to, as NumPy has it.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the inputs in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        ``(N, O, D', H', W')``, or ``(O, D', H', W')`` for one volume, with
        ``D' = (D + front + back - dilation[0]*(kD-1) - 1) // stride[0] + 1``, and ``H'``, ``W'`` likewise.

    Raises
    ------
    ValueError
        Wrong dimensions, empty arrays (but for an empty batch), channels that do not fit `groups` and `weight`, stride
        or dilation below 1, negative padding, more than the padding mode can fill, a window larger than the padded
        volume, unknown names, unfit `out`.
    TypeError
        Dtypes that are not numbers, bool, numbers that should be integers and are not, a `dtype` that does not hold
        the arrays' kind of numbers, an activation of integers or complex numbers.

    See Also
    --------
    fastconv.keras.conv : The same with Keras' names and layouts.

    Notes
    -----
    Differs from `torch.nn.functional.conv3d`: mixed dtypes are promoted as NumPy does; integers are convolved too, modulo
    the range of the result (with ``dtype="int32"`` sums of 8-bit numbers are exact); float16 and bfloat16 are summed in
    float32 and rounded once.  ``padding="same"`` takes any
    stride, by TensorFlow's rule (PyTorch refuses strides there; without them the rules agree), and uneven padding is
    allowed.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn import conv3d
    >>> conv3d(np.ones((1, 2, 3, 3)), np.ones((1, 1, 2, 2, 2)), stride=(1, 1, 2))
    array([[[[8.],
             [8.]]]])
    """
    return convolve(
        3, input, weight, bias, stride, padding, dilation, groups,
        data_format, padding_mode, activation, dtype, out, threads,
    )  # fmt: skip
