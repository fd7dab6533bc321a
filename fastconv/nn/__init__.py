"""Deep-learning operations on arrays, with `torch.nn.functional`'s names and meaning."""

from fastconv.nn.conv import conv2d

__all__ = ["conv2d"]
