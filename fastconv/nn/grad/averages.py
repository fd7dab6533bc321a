"""Gradients of average and power-average pooling."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastconv.nn.pool.gradients import adaptive_average_gradient, average_gradient, power_gradient
from fastconv.replay import remembered

__all__ = [
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool3d_backward",
    "avg_pool1d_backward",
    "avg_pool2d_backward",
    "avg_pool3d_backward",
    "lp_pool1d_backward",
    "lp_pool2d_backward",
    "lp_pool3d_backward",
]


@remembered(1)
def avg_pool1d_backward(
    grad_output: Any,
    input_shape: Iterable[int],
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
    """Return the gradient of `fastconv.nn.avg_pool1d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] / divisor(y) over all y whose window holds i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    input_shape : tuple of int
        Shape of the input, with or without a batch, in the order of `data_format`.
    kernel_size, stride, padding, ceil_mode, count_include_pad
        Those of `fastconv.nn.avg_pool1d`.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of all arrays.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the others in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The gradient with respect to the input, of the shape of the input and the dtype of `grad_output`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, sizes out of range, unfit `out`.
    TypeError
        Integers and complex numbers for gradients, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import avg_pool1d_backward
    >>> avg_pool1d_backward(np.array([[[2.0, 4.0]]]), (1, 1, 4), 2)
    array([[[1., 1., 2., 2.]]])
    """
    sizes, counts = (kernel_size, stride, padding), (count_include_pad, None)
    return average_gradient(1, grad_output, input_shape, sizes, ceil_mode, counts, data_format, out, threads)


@remembered(1)
def avg_pool2d_backward(
    grad_output: Any,
    input_shape: Iterable[int],
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
    """Return the gradient of `fastconv.nn.avg_pool2d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] / divisor(y) over all y whose window holds i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    input_shape : tuple of int
        Shape of the input, with or without a batch, in the order of `data_format`.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        Those of `fastconv.nn.avg_pool2d`.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of all arrays.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the others in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The gradient with respect to the input, of the shape of the input and the dtype of `grad_output`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, sizes out of range, unfit `out`.
    TypeError
        Integers and complex numbers for gradients, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import avg_pool2d_backward
    >>> avg_pool2d_backward(np.array([[[4.0, 8.0]]]), (1, 2, 4), 2)
    array([[[1., 1., 2., 2.],
            [1., 1., 2., 2.]]])
    """
    sizes, counts = (kernel_size, stride, padding), (count_include_pad, divisor_override)
    return average_gradient(2, grad_output, input_shape, sizes, ceil_mode, counts, data_format, out, threads)


@remembered(1)
def avg_pool3d_backward(
    grad_output: Any,
    input_shape: Iterable[int],
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
    """Return the gradient of `fastconv.nn.avg_pool3d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] / divisor(y) over all y whose window holds i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    input_shape : tuple of int
        Shape of the input, with or without a batch, in the order of `data_format`.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        Those of `fastconv.nn.avg_pool3d`.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of all arrays.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the others in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The gradient with respect to the input, of the shape of the input and the dtype of `grad_output`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, sizes out of range, unfit `out`.
    TypeError
        Integers and complex numbers for gradients, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import avg_pool3d_backward
    >>> avg_pool3d_backward(np.array([[[[4.0, 8.0]]]]), (1, 1, 2, 4), (1, 2, 2))
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]])
    """
    sizes, counts = (kernel_size, stride, padding), (count_include_pad, divisor_override)
    return average_gradient(3, grad_output, input_shape, sizes, ceil_mode, counts, data_format, out, threads)


@remembered(1)
def adaptive_avg_pool1d_backward(
    grad_output: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.adaptive_avg_pool1d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] / size of the window of y over all y whose window holds i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    input_shape : tuple of int
        Shape of the input, with or without a batch, in the order of `data_format`.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of all arrays.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the others in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The gradient with respect to the input, of the shape of the input and the dtype of `grad_output`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, unfit `out`.
    TypeError
        Integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import adaptive_avg_pool1d_backward
    >>> adaptive_avg_pool1d_backward(np.array([[[2.0, 4.0]]]), (1, 1, 4))
    array([[[1., 1., 2., 2.]]])
    """
    return adaptive_average_gradient(1, grad_output, input_shape, data_format, out, threads)


@remembered(1)
def adaptive_avg_pool2d_backward(
    grad_output: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.adaptive_avg_pool2d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] / size of the window of y over all y whose window holds i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    input_shape : tuple of int
        Shape of the input, with or without a batch, in the order of `data_format`.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of all arrays.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the others in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The gradient with respect to the input, of the shape of the input and the dtype of `grad_output`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, unfit `out`.
    TypeError
        Integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import adaptive_avg_pool2d_backward
    >>> adaptive_avg_pool2d_backward(np.array([[[4.0, 8.0]]]), (1, 2, 4))
    array([[[1., 1., 2., 2.],
            [1., 1., 2., 2.]]])
    """
    return adaptive_average_gradient(2, grad_output, input_shape, data_format, out, threads)


@remembered(1)
def adaptive_avg_pool3d_backward(
    grad_output: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.adaptive_avg_pool3d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] / size of the window of y over all y whose window holds i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    input_shape : tuple of int
        Shape of the input, with or without a batch, in the order of `data_format`.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of all arrays.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the others in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The gradient with respect to the input, of the shape of the input and the dtype of `grad_output`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, unfit `out`.
    TypeError
        Integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import adaptive_avg_pool3d_backward
    >>> adaptive_avg_pool3d_backward(np.array([[[[4.0, 8.0]]]]), (1, 1, 2, 4))
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]])
    """
    return adaptive_average_gradient(3, grad_output, input_shape, data_format, out, threads)


@remembered(3)
def lp_pool1d_backward(
    grad_output: Any,
    input: Any,
    output: Any,
    norm_type: float,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    ceil_mode: bool = False,
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.lp_pool1d` with respect to its input.

        out[n, c, i] = input[n, c, i]**(p - 1) * sum of grad_output[n, c, y] * output[n, c, y]**(1 - p)
            over all y whose window holds i

    with p = `norm_type`.  Windows whose sum is 0 have no gradient: they take no part.

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    input : array_like
        What was pooled.
    output : array_like
        What `fastconv.nn.lp_pool1d` returned for it.
    norm_type, kernel_size, stride, ceil_mode
        Those of `fastconv.nn.lp_pool1d`; `norm_type` must be finite.
    data_format : {"NCW", "NWC"}, optional
        Order of the axes of all arrays.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the others in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The gradient with respect to the input, of the shape of the input and the dtype of `grad_output`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, sizes out of range, an infinite norm_type, unfit `out`.
    TypeError
        Integers and complex numbers for gradients, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import lp_pool1d_backward
    >>> lp_pool1d_backward(np.array([[5.0]]), np.array([[3.0, 4.0]]), np.array([[5.0]]), 2, 2)
    array([[3., 4.]])
    """
    arrays, sizes = (grad_output, input, output), (kernel_size, stride)
    return power_gradient(1, arrays, norm_type, sizes, ceil_mode, data_format, out, threads)


@remembered(3)
def lp_pool2d_backward(
    grad_output: Any,
    input: Any,
    output: Any,
    norm_type: float,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    ceil_mode: bool = False,
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.lp_pool2d` with respect to its input.

        out[n, c, i] = input[n, c, i]**(p - 1) * sum of grad_output[n, c, y] * output[n, c, y]**(1 - p)
            over all y whose window holds i

    with p = `norm_type`.  Windows whose sum is 0 have no gradient: they take no part.

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    input : array_like
        What was pooled.
    output : array_like
        What `fastconv.nn.lp_pool2d` returned for it.
    norm_type, kernel_size, stride, ceil_mode
        Those of `fastconv.nn.lp_pool2d`; `norm_type` must be finite.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of all arrays.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the others in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The gradient with respect to the input, of the shape of the input and the dtype of `grad_output`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, sizes out of range, an infinite norm_type, unfit `out`.
    TypeError
        Integers and complex numbers for gradients, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import lp_pool2d_backward
    >>> lp_pool2d_backward(np.array([[[5.0]]]), np.array([[[3.0, 4.0]]]), np.array([[[5.0]]]), 2, (1, 2))
    array([[[3., 4.]]])
    """
    arrays, sizes = (grad_output, input, output), (kernel_size, stride)
    return power_gradient(2, arrays, norm_type, sizes, ceil_mode, data_format, out, threads)


@remembered(3)
def lp_pool3d_backward(
    grad_output: Any,
    input: Any,
    output: Any,
    norm_type: float,
    kernel_size: int | Iterable[int],
    stride: int | Iterable[int] | None = None,
    ceil_mode: bool = False,
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.lp_pool3d` with respect to its input.

        out[n, c, i] = input[n, c, i]**(p - 1) * sum of grad_output[n, c, y] * output[n, c, y]**(1 - p)
            over all y whose window holds i

    with p = `norm_type`.  Windows whose sum is 0 have no gradient: they take no part.

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    input : array_like
        What was pooled.
    output : array_like
        What `fastconv.nn.lp_pool3d` returned for it.
    norm_type, kernel_size, stride, ceil_mode
        Those of `fastconv.nn.lp_pool3d`; `norm_type` must be finite.
    data_format : {"NCDHW", "NDHWC"}, optional
        Order of the axes of all arrays.
    out : ndarray, optional
        Array for the result, of its exact shape and dtype, apart from the others in memory.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The gradient with respect to the input, of the shape of the input and the dtype of `grad_output`.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, sizes out of range, an infinite norm_type, unfit `out`.
    TypeError
        Integers and complex numbers for gradients, numbers that should be integers and are not.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import lp_pool3d_backward
    >>> lp_pool3d_backward(np.array([[[[5.0]]]]), np.array([[[[3.0, 4.0]]]]), np.array([[[[5.0]]]]), 2, (1, 1, 2))
    array([[[[3., 4.]]]])
    """
    arrays, sizes = (grad_output, input, output), (kernel_size, stride)
    return power_gradient(3, arrays, norm_type, sizes, ceil_mode, data_format, out, threads)
