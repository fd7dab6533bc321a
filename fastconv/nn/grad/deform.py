"""Gradients of deformable convolution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastconv.nn.adjoint import bias_gradient
from fastconv.nn.arguments import canonical, result_shape
from fastconv.nn.deform import Arranged, arranged
from fastconv.plan import execute
from fastconv.problem import DeformGradientProblem
from fastconv.validate import as_array, type_name

__all__ = ["DeformGradients", "deform_conv2d_backward"]


class DeformGradients(NamedTuple):
    """Gradients with respect to the arguments of `fastconv.nn.deform_conv2d`, each of its argument's shape and dtype.

    Attributes
    ----------
    input, offset, weight : ndarray
        With respect to the images, the offsets and the weights.
    bias : ndarray
        With respect to a bias, ``(O,)``, of the dtype of the gradient.
    mask : ndarray or None
        With respect to the mask, if there is one.
    """

    input: np.ndarray
    offset: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    mask: np.ndarray | None


def deform_conv2d_backward(
    grad_output: Any,
    input: Any,
    offset: Any,
    weight: Any,
    stride: int | Iterable[int] = (1, 1),
    padding: str | int | Iterable[Any] = (0, 0),
    dilation: int | Iterable[int] = (1, 1),
    mask: Any = None,
    *,
    data_format: str = "NCHW",
    threads: int | None = None,
) -> DeformGradients:
    """Return the gradients of `fastconv.nn.deform_conv2d` with respect to all its arrays.

    With the names of its formula, ``place`` being where the tap t of an output reads and ``d`` the offset group of c,

        above[n, c, t, y, x] = sum over o of weight[o, c, t] * grad_output[n, o, y, x]
        weight[o, c, t] = sum over n, y, x of grad_output[n, o, y, x] * mask[n, d, t, y, x] * input(n, c, place)
        mask[n, d, t, y, x] = sum over c of above[n, c, t, y, x] * input(n, c, place)
        offset[n, d, t, (0, 1), y, x] = sum over c of above[n, c, t, y, x] * mask[n, d, t, y, x]
                                        * the derivative of input(n, c, place) along rows, columns
        input[n, c, i] = sum over t, y, x of above[n, c, t, y, x] * mask[n, d, t, y, x] * the part of i in input(n, c, place)

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result, of its shape.
    input, offset, weight, stride, padding, dilation, mask
        Those of `fastconv.nn.deform_conv2d`.
    data_format : {"NCHW", "NHWC"}, optional
        Order of the axes of all arrays but the weight.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    DeformGradients
        A named tuple: ``input``, ``offset``, ``weight``, ``bias`` and ``mask``, None if there is no mask.

    Raises
    ------
    ValueError
        Shapes that do not fit each other, and what `fastconv.nn.deform_conv2d` refuses.
    TypeError
        Dtypes that are not real floating-point numbers, numbers that should be integers and are not.

    Notes
    -----
    Differs from torchvision, which has it only behind automatic differentiation: results do not depend on the number of
    threads.  As there, the derivative at whole places, where there are two, is the one from above.

    References
    ----------
    J. Dai et al., "Deformable Convolutional Networks" (2017), doi:10.1109/ICCV.2017.89, and for the mask X. Zhu et al.,
    "Deformable ConvNets v2" (2019), doi:10.1109/CVPR.2019.00953.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.nn.grad import deform_conv2d_backward
    >>> image = np.array([[[1.0, 2.0, 4.0]]])
    >>> half_a_column = np.array([[[0.0, 0.0, 0.0]], [[0.5, 0.5, 0.5]]])
    >>> gradients = deform_conv2d_backward(np.ones((1, 1, 3)), image, half_a_column, np.ones((1, 1, 1, 1)))
    >>> gradients.input, gradients.offset[1]
    (array([[[0.5, 1. , 1. ]]]), array([[ 1.,  2., -4.]]))
    """
    call = arranged(input, offset, weight, None, stride, padding, dilation, mask, data_format)
    p = call.problem.conv
    shape = result_shape(p.batch, p.filters, p.out_shape, p.channels_last, call.batched)
    above = as_array("grad_output", grad_output, ndim=len(shape), empty=True, bfloat16=True)
    if above.shape != shape:
        raise ValueError(f"grad_output must have the shape of the result, {shape}; got {above.shape}")
    if above.dtype.kind != "f" and type_name(above.dtype) != "bfloat16":
        raise TypeError(f"grad_output must be of real floating-point numbers; got {above.dtype}")
    bias = bias_gradient(2, above, data_format, None, threads)
    return _gradients(call, canonical(above, 2, p.channels_last), bias, threads)


def _gradients(call: Arranged, above: np.ndarray, bias: np.ndarray, threads: int | None) -> DeformGradients:
    """What follows from a gradient whose channels stand first."""
    p, acc = call.problem.conv, call.problem.conv.acc
    conv = replace(p, in_dtype=acc, kernel_dtype=acc, out_dtype=acc)
    images, weights, above = (array.astype(acc, copy=False) for array in (call.images, call.weights, above))
    of_images, of_weights = np.empty_like(images), np.zeros(weights.shape, acc)  # images in the order in which they lie
    n_offsets = call.offsets.shape[1]
    n_places = n_offsets + (0 if call.masks is None else call.masks.shape[1])
    of_places = np.empty((p.batch, n_places, *p.out_shape), acc)
    if p.batch:
        problem = DeformGradientProblem(replace(call.problem, conv=conv))
        written = (call.offsets, call.masks, of_places, of_weights)
        execute(problem, images, weights, of_images, bias=above, fill=written, threads=threads)

    def like(name: str, array: np.ndarray) -> np.ndarray:
        """In the layout and the dtype of an argument."""
        given = call.arrays[name]
        ordered = np.moveaxis(array, 1, -1) if p.channels_last and name != "weight" else array
        return np.ascontiguousarray(ordered.reshape(given.shape), given.dtype)

    return DeformGradients(
        like("input", of_images),
        like("offset", of_places[:, :n_offsets]),
        like("weight", of_weights),
        bias,
        None if call.masks is None else like("mask", of_places[:, n_offsets:]),
    )
