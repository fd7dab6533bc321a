"""Keras' names and layouts for the operations of `fastconv.nn`, on arrays: `keras.ops.conv` and its like.

Kernels are ``(*kernel_size, in, out)``, channels stand last unless told otherwise, the number of spatial axes is that of the
inputs less two, and ``padding="same"`` follows TensorFlow's rule at any stride, in pooling too.  Keras is not needed.
"""

from fastconv.keras.convolutions import conv, conv_transpose, depthwise_conv, separable_conv
from fastconv.keras.pooling import average_pool, max_pool

__all__ = ["average_pool", "conv", "conv_transpose", "depthwise_conv", "max_pool", "separable_conv"]


def __dir__() -> list[str]:
    return list(__all__)
