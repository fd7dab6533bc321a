"""The convolution layers of ResNet-50, VGG-16 and MobileNetV2 for images of 224x224, each distinct one once."""

from __future__ import annotations

__all__ = ["NETWORKS", "Layer"]

# channels, rows and columns, filters, kernel size, stride, padding, groups
Layer = tuple[int, int, int, int, int, int, int]


def _bottlenecks() -> tuple[Layer, ...]:
    """ResNet-50 (the version that strides in its 3x3 layers, doi:10.1109/CVPR.2016.90)."""
    layers: list[Layer] = [(3, 224, 64, 7, 2, 3, 1)]
    channels, size = 64, 56
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        after, filters = size // stride, 4 * width
        layers += [
            (channels, size, width, 1, 1, 0, 1),
            (width, size, width, 3, stride, 1, 1),
            (width, after, filters, 1, 1, 0, 1),
            (channels, size, filters, 1, stride, 0, 1),  # beside the three
            (filters, after, width, 1, 1, 0, 1),  # of the stage's further blocks
            (width, after, width, 3, 1, 1, 1),
        ]
        channels, size = filters, after
    return tuple(dict.fromkeys(layers))


def _inverted_residuals() -> tuple[Layer, ...]:
    """MobileNetV2 (doi:10.1109/CVPR.2018.00474)."""
    layers: list[Layer] = [(3, 224, 32, 3, 2, 1, 1)]
    channels, size = 32, 112
    for expansion, filters, blocks, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    ):  # fmt: skip
        for block in range(blocks):
            stride, width = first_stride if block == 0 else 1, expansion * channels
            if expansion > 1:
                layers.append((channels, size, width, 1, 1, 0, 1))
            layers.append((width, size, width, 3, stride, 1, width))
            channels, size = filters, size // stride
            layers.append((width, size, filters, 1, 1, 0, 1))
    layers.append((channels, size, 1280, 1, 1, 0, 1))
    return tuple(dict.fromkeys(layers))


def _stacks() -> tuple[Layer, ...]:
    """VGG-16 (arXiv:1409.1556)."""
    layers: list[Layer] = []
    channels, size = 3, 224
    for filters, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            layers.append((channels, size, filters, 3, 1, 1, 1))
            channels = filters
        size //= 2
    return tuple(dict.fromkeys(layers))


NETWORKS = {"resnet50": _bottlenecks(), "vgg16": _stacks(), "mobilenetv2": _inverted_residuals()}
