"""Convolution layers: those of networks, textbooks' and tiny ones, plain and prepared, and with bias and activation.

Their names tell how they are called: ``plain``, the function; ``prepared``, a plan with weights that stay; ``fast``,
that with ``precision="fast"``; ``fused``, prepared with bias and ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from fastconv.bench.case import Options
from fastconv.bench.layers import LAYOUTS, Layer, shape_of
from fastconv.bench.networks import NETWORKS
from fastconv.bench.networks import Layer as Sizes

__all__ = ["NETWORK_LAYERS"]

# Batch, and how the layers of networks are called.
WAYS = ((1, "prepared"), (1, "fast"), (1, "plain"), (32, "prepared"))
# For machines of 16 processors.
SERVER_BATCH = 16
# channels, rows and columns, filters, kernel size, stride, padding, groups
TEXTBOOK: tuple[Sizes, ...] = (
    (1, 28, 32, 5, 1, 2, 1), (32, 14, 64, 5, 1, 2, 1), (3, 150, 36, 3, 1, 0, 1), (1, 28, 64, 3, 1, 0, 1)
)  # fmt: skip
TEXTBOOK_BATCHES = (1, 8, 128)
TINY: Sizes = (1, 8, 1, 3, 1, 0, 1)


def _layers(network: str, sizes: Sizes, n: int, way: str) -> Iterator[Layer]:
    """A layer in both layouts, one after the other: PyTorch's faster one is the rival of both."""
    c, size, filters, k, stride, padding, groups = sizes
    fused = way == "fused"
    for layout in LAYOUTS:
        options: Options = (("stride", stride), ("padding", padding), ("groups", groups), ("data_format", layout))
        yield Layer(
            "nn.conv2d",
            f"{network}-{'depthwise-' * (groups > 1)}stride-{stride}-{way}-{layout}",
            "astronaut",
            shape_of(layout, n, c, size),
            (filters, c // groups, k, k),
            "float32",
            (*options, ("activation", "relu")) if fused else options,
            prepared=way != "plain",
            precision="fast" if way == "fast" else "default",
            row=f"{network} {c}→{filters} {k}×{k}/{stride} {size}×{size}",
            step=stride,
            pad=padding,
            groups=groups,
        )


def _of_networks() -> Iterator[Layer]:
    for network, layers in NETWORKS.items():
        for sizes, (n, way) in product(layers, WAYS):
            yield from _layers(network, sizes, n, way)
    for sizes in NETWORKS["resnet50"]:
        yield from _layers("resnet50", sizes, 1, "fused")
        yield from _layers("resnet50", sizes, SERVER_BATCH, "prepared")


def _others() -> Iterator[Layer]:
    for sizes, n in product(TEXTBOOK, TEXTBOOK_BATCHES):
        yield from _layers("textbook", sizes, n, "plain")
    for way in ("plain", "prepared"):
        yield from _layers("tiny", TINY, 1, way)


NETWORK_LAYERS: tuple[Layer, ...] = (*_of_networks(), *_others())
