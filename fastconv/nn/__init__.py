"""Deep-learning operations on arrays, with `torch.nn.functional`'s names and meaning."""

from fastconv.nn.conv import conv1d, conv2d, conv3d
from fastconv.nn.pool import avg_pool2d, max_pool2d

__all__ = ["avg_pool2d", "conv1d", "conv2d", "conv3d", "max_pool2d"]


def __dir__() -> list[str]:
    return list(__all__)
