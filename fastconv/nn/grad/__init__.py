"""Gradients of the operations of `fastconv.nn`, with the names of `torch.nn.grad` where it has them."""

from fastconv.nn.grad.activation import (
    gelu_backward,
    logsigmoid_backward,
    mish_backward,
    sigmoid_backward,
    silu_backward,
    softplus_backward,
    softsign_backward,
    tanh_backward,
)
from fastconv.nn.grad.conv import (
    conv1d_bias,
    conv1d_input,
    conv1d_weight,
    conv2d_bias,
    conv2d_input,
    conv2d_weight,
    conv3d_bias,
    conv3d_input,
    conv3d_weight,
)
from fastconv.nn.grad.conv_transpose import (
    conv_transpose1d_bias,
    conv_transpose1d_input,
    conv_transpose1d_weight,
    conv_transpose2d_bias,
    conv_transpose2d_input,
    conv_transpose2d_weight,
    conv_transpose3d_bias,
    conv_transpose3d_input,
    conv_transpose3d_weight,
)
from fastconv.nn.grad.rectifiers import (
    elu_backward,
    hardsigmoid_backward,
    hardswish_backward,
    hardtanh_backward,
    leaky_relu_backward,
    relu6_backward,
    relu_backward,
)
from fastconv.nn.grad.softmax import log_softmax_backward, softmax_backward

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
    "conv_transpose1d_bias",
    "conv_transpose1d_input",
    "conv_transpose1d_weight",
    "conv_transpose2d_bias",
    "conv_transpose2d_input",
    "conv_transpose2d_weight",
    "conv_transpose3d_bias",
    "conv_transpose3d_input",
    "conv_transpose3d_weight",
    "elu_backward",
    "gelu_backward",
    "hardsigmoid_backward",
    "hardswish_backward",
    "hardtanh_backward",
    "leaky_relu_backward",
    "log_softmax_backward",
    "logsigmoid_backward",
    "mish_backward",
    "relu6_backward",
    "relu_backward",
    "sigmoid_backward",
    "silu_backward",
    "softmax_backward",
    "softplus_backward",
    "softsign_backward",
    "tanh_backward",
]


def __dir__() -> list[str]:
    return list(__all__)
