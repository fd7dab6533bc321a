"""Gradients of max pooling, by the indices of the maxima, and of unpooling."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastconv.nn.pool.gradients import maxima_gradient, unpool_gradient
from fastconv.replay import remembered

__all__ = [
    "adaptive_max_pool1d_backward",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d_backward",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward",
    "max_pool1d_backward",
    "max_pool2d_backward",
    "max_pool3d_backward",
    "max_unpool1d_backward",
    "max_unpool2d_backward",
    "max_unpool3d_backward",
]


@remembered(("grad_output", "indices"))
def max_pool1d_backward(
    grad_output: Any,
    indices: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.max_pool1d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] over all y with indices[n, c, y] = i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the same shape: the indices that `fastconv.nn.max_pool1d` returned; -1 takes no part.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Indices on a GPU are not examined: positions outside take no part.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import max_pool1d_backward
    >>> max_pool1d_backward(np.array([[[2.0, 3.0]]]), np.array([[[1, 2]]]), (1, 1, 4))
    array([[[0., 2., 3., 0.]]])
    """
    return maxima_gradient(1, grad_output, indices, input_shape, data_format, out, threads)


@remembered(("grad_output", "indices"))
def max_pool2d_backward(
    grad_output: Any,
    indices: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.max_pool2d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] over all y with indices[n, c, y] = i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the same shape: the indices that `fastconv.nn.max_pool2d` returned; -1 takes no part.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Indices on a GPU are not examined: positions outside take no part.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import max_pool2d_backward
    >>> max_pool2d_backward(np.array([[[2.0, 3.0]]]), np.array([[[1, 1]]]), (1, 2, 2))
    array([[[0., 5.],
            [0., 0.]]])
    """
    return maxima_gradient(2, grad_output, indices, input_shape, data_format, out, threads)


@remembered(("grad_output", "indices"))
def max_pool3d_backward(
    grad_output: Any,
    indices: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.max_pool3d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] over all y with indices[n, c, y] = i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the same shape: the indices that `fastconv.nn.max_pool3d` returned; -1 takes no part.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Indices on a GPU are not examined: positions outside take no part.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import max_pool3d_backward
    >>> max_pool3d_backward(np.array([[[[2.0]]]]), np.array([[[[2]]]]), (1, 1, 2, 2))
    array([[[[0., 0.],
             [2., 0.]]]])
    """
    return maxima_gradient(3, grad_output, indices, input_shape, data_format, out, threads)


@remembered(("grad_output", "indices"))
def adaptive_max_pool1d_backward(
    grad_output: Any,
    indices: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.adaptive_max_pool1d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] over all y with indices[n, c, y] = i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the same shape: the indices that `fastconv.nn.adaptive_max_pool1d` returned; -1 takes no part.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Indices on a GPU are not examined: positions outside take no part.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import adaptive_max_pool1d_backward
    >>> adaptive_max_pool1d_backward(np.array([[[2.0, 3.0]]]), np.array([[[1, 2]]]), (1, 1, 4))
    array([[[0., 2., 3., 0.]]])
    """
    return maxima_gradient(1, grad_output, indices, input_shape, data_format, out, threads)


@remembered(("grad_output", "indices"))
def adaptive_max_pool2d_backward(
    grad_output: Any,
    indices: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.adaptive_max_pool2d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] over all y with indices[n, c, y] = i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the same shape: the indices that `fastconv.nn.adaptive_max_pool2d` returned; -1 takes no part.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Indices on a GPU are not examined: positions outside take no part.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import adaptive_max_pool2d_backward
    >>> adaptive_max_pool2d_backward(np.array([[[2.0, 3.0]]]), np.array([[[1, 1]]]), (1, 2, 2))
    array([[[0., 5.],
            [0., 0.]]])
    """
    return maxima_gradient(2, grad_output, indices, input_shape, data_format, out, threads)


@remembered(("grad_output", "indices"))
def adaptive_max_pool3d_backward(
    grad_output: Any,
    indices: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.adaptive_max_pool3d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] over all y with indices[n, c, y] = i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the same shape: the indices that `fastconv.nn.adaptive_max_pool3d` returned; -1 takes no part.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Indices on a GPU are not examined: positions outside take no part.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import adaptive_max_pool3d_backward
    >>> adaptive_max_pool3d_backward(np.array([[[[2.0]]]]), np.array([[[[2]]]]), (1, 1, 2, 2))
    array([[[[0., 0.],
             [2., 0.]]]])
    """
    return maxima_gradient(3, grad_output, indices, input_shape, data_format, out, threads)


@remembered(("grad_output", "indices"))
def fractional_max_pool2d_backward(
    grad_output: Any,
    indices: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.fractional_max_pool2d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] over all y with indices[n, c, y] = i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the same shape: the indices that `fastconv.nn.fractional_max_pool2d` returned; -1 takes no part.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Indices on a GPU are not examined: positions outside take no part.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import fractional_max_pool2d_backward
    >>> fractional_max_pool2d_backward(np.array([[[2.0, 3.0]]]), np.array([[[1, 1]]]), (1, 2, 2))
    array([[[0., 5.],
            [0., 0.]]])
    """
    return maxima_gradient(2, grad_output, indices, input_shape, data_format, out, threads)


@remembered(("grad_output", "indices"))
def fractional_max_pool3d_backward(
    grad_output: Any,
    indices: Any,
    input_shape: Iterable[int],
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.fractional_max_pool3d` with respect to its input.

        out[n, c, i] = sum of grad_output[n, c, y] over all y with indices[n, c, y] = i

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the same shape: the indices that `fastconv.nn.fractional_max_pool3d` returned; -1 takes no part.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Indices on a GPU are not examined: positions outside take no part.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import fractional_max_pool3d_backward
    >>> fractional_max_pool3d_backward(np.array([[[[2.0]]]]), np.array([[[[2]]]]), (1, 1, 2, 2))
    array([[[[0., 0.],
             [2., 0.]]]])
    """
    return maxima_gradient(3, grad_output, indices, input_shape, data_format, out, threads)


@remembered(("grad_output", "indices"))
def max_unpool1d_backward(
    grad_output: Any,
    indices: Any,
    *,
    data_format: str = "NCW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.max_unpool1d` with respect to its input.

        out[n, c, y] = grad_output[n, c, indices[n, c, y]]

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the shape of the input: the indices that were unpooled by.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Each of equal indices
    takes the gradient.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import max_unpool1d_backward
    >>> max_unpool1d_backward(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[1, 2]]]))
    array([[[2., 3.]]])
    """
    return unpool_gradient(1, grad_output, indices, data_format, out, threads)


@remembered(("grad_output", "indices"))
def max_unpool2d_backward(
    grad_output: Any,
    indices: Any,
    *,
    data_format: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.max_unpool2d` with respect to its input.

        out[n, c, y] = grad_output[n, c, indices[n, c, y]]

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the shape of the input: the indices that were unpooled by.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Each of equal indices
    takes the gradient.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import max_unpool2d_backward
    >>> max_unpool2d_backward(np.array([[[1.0, 2.0], [3.0, 4.0]]]), np.array([[[2]]]))
    array([[[3.]]])
    """
    return unpool_gradient(2, grad_output, indices, data_format, out, threads)


@remembered(("grad_output", "indices"))
def max_unpool3d_backward(
    grad_output: Any,
    indices: Any,
    *,
    data_format: str = "NCDHW",
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Return the gradient of `fastconv.nn.max_unpool3d` with respect to its input.

        out[n, c, y] = grad_output[n, c, indices[n, c, y]]

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.  float16, bfloat16, float32 or float64.
    indices : array_like
        int64, of the shape of the input: the indices that were unpooled by.
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
        Shapes that do not fit each other, indices outside the input, unfit `out`.
    TypeError
        Indices that are not int64, integers and complex numbers for gradients.

    Notes
    -----
    Differs from PyTorch, which has it only behind its automatic differentiation: results do not depend on the number
    of threads.  Each of equal indices
    takes the gradient.

    References
    ----------
    V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016),
    doi:10.48550/arXiv.1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import max_unpool3d_backward
    >>> max_unpool3d_backward(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), np.array([[[[2]]]]))
    array([[[[3.]]]])
    """
    return unpool_gradient(3, grad_output, indices, data_format, out, threads)
