"""Deep-learning operations on arrays, with `torch.nn.functional`'s names and meaning."""

from importlib import import_module

from fastconv.nn.activation import gelu, logsigmoid, mish, sigmoid, silu, softplus, softsign, tanh
from fastconv.nn.conv import conv1d, conv2d, conv3d
from fastconv.nn.conv_transpose import conv_transpose1d, conv_transpose2d, conv_transpose3d
from fastconv.nn.fold import fold, unfold
from fastconv.nn.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from fastconv.nn.rectifiers import elu, hardsigmoid, hardswish, hardtanh, leaky_relu, relu, relu6
from fastconv.nn.softmax import log_softmax, softmax

__all__ = [
    "Sequence",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "deform_conv2d",
    "elu",
    "fold",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mish",
    "quantized_conv1d",
    "quantized_conv2d",
    "quantized_conv3d",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
    "unfold",
]


_LATER = {
    "Sequence": "fastconv.nn.sequence",
    "deform_conv2d": "fastconv.nn.deform",
    **dict.fromkeys(("fractional_max_pool2d", "fractional_max_pool3d"), "fastconv.nn.pool.fractional"),
    **dict.fromkeys(("max_unpool1d", "max_unpool2d", "max_unpool3d"), "fastconv.nn.pool.unpool"),
    **dict.fromkeys(("quantized_conv1d", "quantized_conv2d", "quantized_conv3d"), "fastconv.nn.quantized"),
}


def __getattr__(name: str) -> object:
    """Gradients, and what few programs need, are imported when they are asked for."""
    if name == "grad":
        return import_module("fastconv.nn.grad")
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'fastconv.nn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
