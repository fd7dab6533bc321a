"""Operations of networks: gradients of layers, quantised layers, poolings and activations with their gradients.

They are checked against `fastconv.bench.layer_truth`, since SciPy has nothing like them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, prod
from typing import Any
from zlib import crc32

import numpy as np

from fastconv.bench import layer_truth
from fastconv.bench.case import Case, Options
from fastconv.bench.networks import NETWORKS
from fastconv.bench.pictures import images

__all__ = ["ELEMENTWISE", "LAYERS", "LAYOUTS", "Layer", "shape_of"]

LAYOUTS = ("NCHW", "NHWC")
# Textbook layers: name, batch, channels, rows and columns, filters, kernel size, stride, padding, groups.
TEXTBOOK = (
    ("lenet-1", 8, 1, 28, 6, 5, 1, 2, 1),
    ("alexnet-1", 1, 3, 227, 96, 11, 4, 0, 1),
    ("vgg-1", 1, 3, 224, 64, 3, 1, 1, 1),
    ("resnet-1", 1, 3, 224, 64, 7, 2, 3, 1),
    ("resnet-2", 1, 64, 56, 64, 3, 1, 1, 1),
    ("resnet-2-down", 1, 256, 56, 64, 1, 1, 0, 1),
    ("resnet-3", 1, 128, 28, 128, 3, 1, 1, 1),
    ("resnet-4", 1, 256, 14, 256, 3, 1, 1, 1),
    ("resnet-5", 1, 512, 7, 512, 3, 1, 1, 1),
    ("resnet-2-batch", 8, 64, 56, 64, 3, 1, 1, 1),
    ("mobilenet-depthwise", 1, 128, 56, 128, 3, 1, 1, 128),
)
QUICK_LAYERS = ("lenet-1", "resnet-1", "resnet-2", "resnet-4", "mobilenet-depthwise")
BATCHES = (1, 8)
POOLED_BATCHES = (1, 8, 32)
# Pooling windows: kernel size, stride, padding.
WINDOWS = ((2, 2, 0), (3, 2, 1), (3, 1, 1))
# What is pooled: channels, rows and columns.
POOLED = ((64, 112), (64, 56), (256, 28), (512, 7))
# Means and maxima of whole planes, and of as many windows as are asked for: channels, rows and columns, outputs.
ADAPTIVE = ((64, 112, 1), (2048, 7, 1), (1280, 7, 1), (256, 56, 7), (256, 13, 6))
ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "hardswish", "elu", "softplus", "mish",
    "hardsigmoid", "logsigmoid", "softsign",
)  # fmt: skip
SOFTMAX = ("softmax", "log_softmax")
ELEMENTWISE = ACTIVATIONS + SOFTMAX
ACTIVATED = ((256, 28), (32, 112))
QUANTIZED: Options = (("input_scale", 0.02), ("input_zero_point", 3), ("weight_scale", 0.01), ("zero_point", 100))


@dataclass(frozen=True)
class Layer(Case):
    """One operation of a layer on one batch.

    Attributes
    ----------
    row : str
        The layer, for a table of a network's layers; "" if it is in none.
    step, pad, groups : int
        Stride, padding and groups, also where the function is not told of them.
    """

    row: str = ""
    step: int = 1
    pad: int = 0
    groups: int = 1

    @property
    def layout(self) -> str:
        """Order of the axes; "" where it makes no difference."""
        return self.keywords.get("data_format", "")

    @property
    def batch(self) -> int:
        return self.shape[0]

    @property
    def anyhow(self) -> str:
        """Its name, but for the layout."""
        shape = tuple(self.shape[axis] for axis in (0, 3, 1, 2)) if self.layout == "NHWC" else self.shape
        return f"{self.function}:{self.variant.removesuffix(f'-{self.layout}')}:{self.dtype}:{shape}:{self.kernel}"

    @property
    def labels(self) -> dict[str, Any]:
        return {"row": self.row, "batch": self.batch, "layout": self.layout, "layer": self.anyhow} if self.row else {}

    @property
    def stride(self) -> int:
        return self.step

    @property
    def operation(self) -> str:
        """The function's name alone."""
        return self.function.rpartition(".")[2]

    @property
    def image_size(self) -> int:
        return self.shape[2 if self.layout == "NHWC" else -1]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Of the output in the forward pass, in the order of the layout."""
        nhwc = self.layout == "NHWC"
        n, c, *sizes = (self.shape[axis] for axis in (0, 3, 1, 2)) if nhwc else self.shape
        if self.argument is not None:
            sizes = [int(self.argument)] * 2
        else:
            sizes = [(size + 2 * self.pad - k) // self.step + 1 for size, k in zip(sizes, self.window, strict=True)]
        channels = c if self.is_pooling else self.kernel[0]
        return (n, *sizes, channels) if nhwc else (n, channels, *sizes)

    def arguments(self) -> tuple[np.ndarray, Any]:
        """The array that decides the result's dtype, and all positional arguments."""
        rng = np.random.default_rng(crc32(self.name.encode()))
        name = self.operation
        if "conv" not in name and not self.is_pooling:
            return self._elementwise(rng)
        backward = self.function.startswith("nn.grad.")
        x = self._images()
        if not backward and self.is_pooling:
            return x, (x, self.kernel if self.argument is None else self.argument)
        if not backward:
            return x, (x, *self._weights_and_bias(rng))
        gradient = rng.standard_normal(self.out_shape, np.float32)
        if name == "conv2d_input":
            return gradient, (self.shape, *self._weights_and_bias(rng), gradient)
        if name == "conv2d_weight":
            return gradient, (x, self.kernel, gradient)
        if name == "conv2d_bias":
            return gradient, (gradient,)
        if "max" in name:
            return gradient, (gradient, layer_truth.places_of_maxima(self, x), self.shape)
        return gradient, (gradient, self.shape, *((self.kernel,) if self.argument is None else ()))

    def positional(self, x: np.ndarray, w: Any) -> tuple[Any, ...]:
        return w

    def _images(self) -> np.ndarray:
        nhwc = self.layout == "NHWC"
        n, c, h, w = (self.shape[axis] for axis in (0, 3, 1, 2)) if nhwc else self.shape
        x = images(self.source, n, c, h, w, self.dtype)
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if nhwc else x

    def _weights_and_bias(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        if self.dtype == "uint8":
            weights = rng.integers(-60, 61, self.kernel, np.int8)  # FBGEMM adds two products in 16 bits, cut off
            return weights, rng.integers(-5000, 5001, self.kernel[0], np.int32)
        weights = rng.standard_normal(self.kernel, np.float32) * np.float32((2.0 / prod(self.kernel[1:])) ** 0.5)
        return (
            (weights, rng.standard_normal(self.kernel[0], np.float32)) if "activation" in self.keywords else (weights,)
        )

    def _elementwise(self, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        x = 3 * rng.standard_normal(self.shape, np.float32)
        if self.function.startswith("nn.grad."):
            return x, (rng.standard_normal(self.shape, np.float32), x)
        return x, (x,)


def shape_of(layout: str, n: int, c: int, size: int) -> tuple[int, ...]:
    return (n, c, size, size) if layout == "NCHW" else (n, size, size, c)


def _textbook() -> Iterator[Layer]:
    """Convolution layers of well-known networks, beside SciPy too."""
    for layout, (name, n, c, size, filters, k, stride, padding, groups) in product(LAYOUTS, TEXTBOOK):
        options: Options = (("stride", stride), ("padding", padding), ("groups", groups), ("data_format", layout))
        yield Layer(
            "nn.conv2d", f"{name}-{layout}", "astronaut", shape_of(layout, n, c, size), (filters, c // groups, k, k),
            "float32", options, name in QUICK_LAYERS, step=stride, pad=padding, groups=groups,
        )  # fmt: skip


def _convolutions() -> Iterator[Layer]:
    """Every layer of the networks: gradients of input and weights, and outputs in 8 bits, plain and prepared."""
    for function, (network, layers) in product(
        ("nn.grad.conv2d_input", "nn.grad.conv2d_weight", "nn.quantized_conv2d"), NETWORKS.items()
    ):
        quantized = function == "nn.quantized_conv2d"
        for c, size, filters, k, stride, padding, groups in layers:
            ways = ((1, "plain"), (1, "prepared")) if quantized else tuple((n, "plain") for n in BATCHES)
            if not quantized and k == 3 and groups == 1 and c > 3:
                ways += ((1, "fast"),)
            for (n, way), layout in product(ways, LAYOUTS):
                scale = ("scale", 0.02 * (c // groups * k * k) ** 0.5)  # few results are cut off at 0 and 255
                options: Options = (("stride", stride), ("padding", padding), ("groups", groups))
                yield Layer(
                    function,
                    f"{network}-{'depthwise-' * (groups > 1)}stride-{stride}-{way}-{layout}",
                    "astronaut",
                    shape_of(layout, n, c, size),
                    (filters, c // groups, k, k),
                    "uint8" if quantized else "float32",
                    (*options, ("data_format", layout), *((*QUANTIZED, scale) if quantized else ())),
                    network == "resnet50" and (n, way, layout, k, size) == (1, "plain", "NCHW", 3, 56) and c == filters,
                    prepared=way == "prepared",
                    precision="fast" if way == "fast" else "default",
                    row=f"{network} {c}→{filters} {k}×{k}/{stride} {size}×{size}",
                    step=stride,
                    pad=padding,
                    groups=groups,
                )


def _bias_gradients() -> Iterator[Layer]:
    for layout, c, n in product(LAYOUTS, (64, 256, 512, 2048), BATCHES):
        size = 56 * 64 // c if c < 2048 else 7
        yield Layer(
            "nn.grad.conv2d_bias", f"resnet50-{layout}", "astronaut", shape_of(layout, n, c, size), (c, c, 1, 1),
            "float32", (("data_format", layout),), (n, layout, c) == (1, "NCHW", 64), row=f"{c} {size}×{size}",
        )  # fmt: skip


def _poolings() -> Iterator[Layer]:
    """Maxima and means of windows, of whole planes and of windows that vary, with their gradients."""
    for suffix, kind, layout in product(("", "_backward"), ("max", "avg"), LAYOUTS):
        prefix = "nn.grad." if suffix else "nn."
        last: Options = (("data_format", layout),)
        batches = BATCHES if suffix else POOLED_BATCHES
        for (k, stride, padding), (c, size), n in product(WINDOWS, POOLED, batches):
            told: Options = (("stride", stride), ("padding", padding))
            yield Layer(
                f"{prefix}{kind}_pool2d{suffix}",
                f"{k}x{k}-stride-{stride}-{layout}",
                "coffee",
                shape_of(layout, n, c, size),
                (k, k),
                "float32",
                last if kind == "max" and suffix else told + last,
                (n, size) == (1, 112) and stride == 2 and (k == 2 or not suffix) and (layout == "NCHW" or not suffix),
                row=f"{kind} {k}×{k}/{stride} {c} {size}×{size}",
                step=stride,
                pad=padding,
            )
        for (c, size, to), n in product(ADAPTIVE, batches):
            yield Layer(
                f"{prefix}adaptive_{kind}_pool2d{suffix}",
                f"{'global' if to == 1 else 'adaptive'}-{layout}",
                "coffee",
                shape_of(layout, n, c, size),
                (ceil(size / to),) * 2,
                "float32",
                last,
                (n, size, layout) == (1, 112, "NCHW"),
                to,
                row=f"{kind} {'global' if to == 1 else f'to {to}×{to},'} {c} {size}×{size}",
            )
    for (k, stride, padding), (c, size), n, layout in product(WINDOWS, POOLED, POOLED_BATCHES, LAYOUTS):
        given: Options = (("stride", stride), ("padding", padding), ("return_indices", True), ("data_format", layout))
        yield Layer(
            "nn.max_pool2d", f"{k}x{k}-stride-{stride}-indices-{layout}", "coffee", shape_of(layout, n, c, size), (k, k),
            "float32", given, (n, layout, size, k) == (1, "NCHW", 112, 2), row=f"max {k}×{k}/{stride} {c} {size}×{size}",
            step=stride, pad=padding,
        )  # fmt: skip


def _activations() -> Iterator[Layer]:
    for prefix, suffix in (("nn.", ""), ("nn.grad.", "_backward")):
        for (name, form), (c, size), n in product(
            (*((name, "") for name in ACTIVATIONS), ("gelu", "tanh")), ACTIVATED, BATCHES
        ):
            yield Layer(
                f"{prefix}{name}{suffix}", form or "features", "coffee", (n, c, size, size), (1, 1), "float32",
                (("approximate", form),) if form else (), name == "gelu" and not form and (n, size) == (1, 28),
                row=f"{name}{form and f' {form}'} {c}×{size}×{size}",
            )  # fmt: skip
        for name, n, c in product(SOFTMAX, (8, 128), (1000,)):
            yield Layer(
                f"{prefix}{name}{suffix}", "classes", "coffee", (n, c, 1, 1), (1, 1), "float32", (("dim", 1),),
                row=f"{name} {c}",
            )  # fmt: skip


LAYERS: tuple[Layer, ...] = (*_textbook(), *_convolutions(), *_bias_gradients(), *_poolings(), *_activations())
