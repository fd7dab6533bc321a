"""How PyTorch computes the operations of `fastconv.bench.layers`: its own functions, and its gradients' without autograd.

NHWC arrays are its channels-last format.  Calls are made in its inference mode.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastconv.bench.contestants import Call
from fastconv.bench.layers import LAYERS, Layer

__all__ = ["ADAPTERS"]


class _Tensors:
    """Arrays of a layout as tensors, and back."""

    def __init__(self, layer: Layer):
        import torch

        self.torch, self.aten, self.nhwc = torch, torch.ops.aten, layer.layout == "NHWC"

    def images(self, array: np.ndarray) -> Any:
        tensor = self.torch.from_numpy(array)
        return tensor.permute(0, 3, 1, 2) if self.nhwc else tensor

    def weights(self, array: np.ndarray) -> Any:
        torch = self.torch
        return torch.from_numpy(array).to(memory_format=torch.channels_last if self.nhwc else torch.contiguous_format)

    def array(self, tensor: Any) -> np.ndarray:
        return (tensor.permute(0, 2, 3, 1) if self.nhwc and tensor.ndim == 4 else tensor).numpy()

    def call(self, compute: Call) -> Call:
        """A call whose result becomes arrays when it is asked for them, which costs PyTorch nothing."""

        def call() -> Callable[[], Any]:
            result = compute()
            return lambda: tuple(map(self.array, result)) if isinstance(result, tuple) else self.array(result)

        return call


def _conv2d(layer: Layer, x: np.ndarray, arguments: Any) -> Call:
    of = _Tensors(layer)
    image, weights = of.images(arguments[0]), of.weights(arguments[1])
    conv2d, stride, pad, groups = of.torch.nn.functional.conv2d, layer.step, layer.pad, layer.groups
    bias = of.torch.from_numpy(arguments[2]) if len(arguments) > 2 else None
    if "activation" in layer.keywords:
        activation = getattr(of.torch, f"{layer.keywords['activation']}_")
        return of.call(lambda: activation(conv2d(image, weights, bias, stride, pad, 1, groups)))
    return of.call(lambda: conv2d(image, weights, bias, stride, pad, 1, groups))


def _convolution_backward(layer: Layer, x: np.ndarray, arguments: Any) -> Call:
    """One gradient alone, as `torch.nn.grad` has it."""
    of, whole = _Tensors(layer), layer.operation == "conv2d_input"
    backward, pair = of.aten.convolution_backward, [layer.step] * 2
    (x_or_size, w_or_size), gradient = arguments[:2], of.images(arguments[2])
    image = of.images(np.empty(x_or_size, x.dtype) if whole else x_or_size)
    weights = of.weights(w_or_size if whole else np.empty(w_or_size, x.dtype))

    def call() -> Any:
        gradients = backward(
            gradient, image, weights, None, pair, [layer.pad] * 2, [1, 1], False, [0, 0], layer.groups,
            [whole, not whole, False],
        )  # fmt: skip
        return gradients[0] if whole else gradients[1]

    return of.call(call) if whole else lambda: call().numpy()


def _conv2d_bias(layer: Layer, x: np.ndarray, arguments: Any) -> Call:
    of = _Tensors(layer)
    gradient = of.images(x)
    return of.call(lambda: gradient.sum((0, 2, 3)))


def _quantized_conv2d(layer: Layer, x: np.ndarray, arguments: Any) -> Call:
    """Its function, which packs the weights at each call, or what its modules do, which have packed them before."""
    of, told = _Tensors(layer), layer.keywords
    torch = of.torch
    scales = told["input_scale"], told["weight_scale"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it means to remove its quantised tensors in a later version
        image = torch._make_per_tensor_quantized_tensor(of.images(arguments[0]), scales[0], told["input_zero_point"])
        weights = torch._make_per_tensor_quantized_tensor(torch.from_numpy(arguments[1]), scales[1], 0)
    bias = torch.from_numpy((arguments[2] * (scales[0] * scales[1])).astype(np.float32))
    scale, zero_point, function = told["scale"], told["zero_point"], torch.ao.nn.quantized.functional.conv2d
    packed = torch.ops.quantized.conv2d_prepack(weights, bias, [layer.step] * 2, [layer.pad] * 2, [1, 1], layer.groups)

    def call() -> Callable[[], np.ndarray]:
        if layer.prepared:
            result = torch.ops.quantized.conv2d(image, packed, scale, zero_point)
        else:
            result = function(
                image, weights, bias, layer.step, layer.pad, 1, layer.groups, "zeros", scale, zero_point, torch.quint8
            )
        return lambda: of.array(result.int_repr())

    return call


def _pooling(layer: Layer, x: np.ndarray, arguments: Any) -> Call:
    of = _Tensors(layer)
    function = getattr(of.torch.nn.functional, layer.operation)
    image, told = of.images(x), {k: v for k, v in layer.keywords.items() if k != "data_format"}
    return of.call(lambda: function(image, arguments[1], **told))


def _pooling_backward(layer: Layer, x: np.ndarray, arguments: Any) -> Call:
    of, name = _Tensors(layer), layer.operation
    gradient, aten = of.images(x), of.aten
    image = of.images(np.zeros(layer.shape, x.dtype))
    window, step, pad = list(layer.window), [layer.step] * 2, [layer.pad] * 2
    places = of.images(arguments[1]) if "max" in name else None
    calls = {
        "max_pool2d_backward": partial(
            aten.max_pool2d_with_indices_backward, gradient, image, window, step, pad, [1, 1], False, places
        ),
        "avg_pool2d_backward": partial(aten.avg_pool2d_backward, gradient, image, window, step, pad, False, True, None),
        "adaptive_max_pool2d_backward": partial(aten.adaptive_max_pool2d_backward, gradient, image, places),
        "adaptive_avg_pool2d_backward": partial(aten._adaptive_avg_pool2d_backward, gradient, image),
    }
    backward = calls[name]
    return of.call(backward)


def _activation(layer: Layer, x: np.ndarray, arguments: Any) -> Call:
    of = _Tensors(layer)
    function, image = getattr(of.torch.nn.functional, layer.operation), of.images(x)
    return of.call(lambda: function(image, **layer.keywords))


def _activation_backward(layer: Layer, x: np.ndarray, arguments: Any) -> Call:
    """Its kernels; where they take what the forward pass has kept, that is made beforehand."""
    of, name = _Tensors(layer), layer.operation.removesuffix("_backward")
    torch, aten = of.torch, of.aten
    g, image = map(of.images, arguments)
    functional = torch.nn.functional
    buffer = aten.log_sigmoid_forward(image)[1]
    kept = getattr(functional, name)(image, **layer.keywords) if name in KEPT else None
    calls = {
        "relu": lambda: aten.threshold_backward(g, image, 0),
        "relu6": lambda: aten.hardtanh_backward(g, image, 0, 6),
        "leaky_relu": lambda: aten.leaky_relu_backward(g, image, 0.01, False),
        "sigmoid": lambda: aten.sigmoid_backward(g, kept),
        "tanh": lambda: aten.tanh_backward(g, kept),
        "silu": lambda: aten.silu_backward(g, image),
        "gelu": lambda: aten.gelu_backward(g, image, **layer.keywords),
        "hardswish": lambda: aten.hardswish_backward(g, image),
        "elu": lambda: aten.elu_backward(g, 1.0, 1.0, 1.0, False, image),
        "softplus": lambda: aten.softplus_backward(g, image, 1.0, 20.0),
        "mish": lambda: aten.mish_backward(g, image),
        "hardsigmoid": lambda: aten.hardsigmoid_backward(g, image),
        "logsigmoid": lambda: aten.log_sigmoid_backward(g, image, buffer),
        "softsign": lambda: g / (1 + image.abs()).square(),
        "softmax": lambda: aten._softmax_backward_data(g, kept, 1, torch.float32),
        "log_softmax": lambda: aten._log_softmax_backward_data(g, kept, 1, torch.float32),
    }
    return of.call(calls[name])


# Activations whose gradients PyTorch computes from their values.
KEPT = ("sigmoid", "tanh", "softmax", "log_softmax")


_BY_NAME: dict[str, Callable[[Any, np.ndarray, Any], Call]] = {
    "conv2d": _conv2d,
    "conv2d_input": _convolution_backward,
    "conv2d_weight": _convolution_backward,
    "conv2d_bias": _conv2d_bias,
    "quantized_conv2d": _quantized_conv2d,
}


def _adapter(layer: Layer) -> Callable[[Any, np.ndarray, Any], Call]:
    backward = layer.operation.endswith("_backward")
    if layer.is_pooling:
        return _pooling_backward if backward else _pooling
    return _BY_NAME.get(layer.operation, _activation_backward if backward else _activation)


ADAPTERS: dict[str, Callable[[Any, np.ndarray, Any], Call]] = {layer.function: _adapter(layer) for layer in LAYERS}
