"""What is to be reached: by image filters, by layers of networks and by other operations of networks, on a CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product

from fastconv.bench.layers import ELEMENTWISE, LAYOUTS
from fastconv.bench.networks import NETWORKS

__all__ = ["FILTERS", "LAYERS", "NETWORK_LAYERS", "Target"]


@dataclass(frozen=True)
class Target:
    """One target.

    Attributes
    ----------
    name : str
        The work, for people.
    cases : tuple of str
        Shell patterns of the names of its cases.
    against : str
        A rival, ``"float32"`` being fastconv with floating-point numbers; ``"best"``, the fastest of them;
        ``"torch either way"``, PyTorch in the faster of both layouts; ``"peak"``, as many multiply-adds in
        registers, and ``"copy"``, copying as many bytes, both timed in turn with the case; ``"numba"``, that engine;
        ``"unfused"``, bias and activation passing over the result: the part of their own time that is saved.
    least : float
        What the geometric mean over the cases is to be at least; 0 if nothing is asked.
    least_cell : float
        What every case is to be at least.
    group : str
        The table that shows its cells, if the cases are layers of networks; `name` tells its columns.
    part : str
        What of the benchmark has its cases: ``"filters"``, ``"layers"`` or ``"networks"``.
    threads : int
        It is asked of runs on at least so many threads.
    """

    name: str
    cases: tuple[str, ...]
    against: str
    least: float
    least_cell: float = 0.0
    group: str = ""
    part: str = "filters"
    threads: int = 1

    @property
    def most_error(self) -> float:
        """What relative errors may be, in parts of PyTorch's."""
        return 10.0 if self.column.startswith("fast") else 1.0

    @property
    def column(self) -> str:
        """What of the group it is: how layers are called, and their layout."""
        return self.name.removeprefix(self.group).lstrip(", ")

    def has(self, case: str) -> bool:
        return any(fnmatchcase(case, pattern) for pattern in self.cases)


def _reflect(function: str, dtype: str) -> tuple[str, ...]:
    return (f"ndimage.{function}:reflect:{dtype}:*",)


_FILTER = "signal.correlate2d:valid:float32:"
_CACHED = tuple(f"{_FILTER}{n}x{n}:k{k}x{k}" for n in (512, 1024) for k in (5, 7, 9, 11, 15))

FILTERS = (
    Target("float32 2-D filter", _reflect("convolve", "float32"), "opencv", 4.0, 1.5),
    Target("float32 2-D filter", _reflect("convolve", "float32"), "scipy", 100.0),
    Target("float32 2-D filter, valid", (_FILTER + "*",), "opencv", 4.0, 1.5),
    Target("float32 2-D filter, valid", (_FILTER + "*",), "scipy", 200.0),
    Target("float32 2-D filter, 5×5 to 15×15 in cache", _CACHED, "peak", 0.75),
    Target("float32 3×3 on 4096×4096", (_FILTER + "4096x4096:k3x3",), "copy", 0.85),
    Target("uint8 2-D filter", _reflect("convolve", "uint8"), "opencv", 3.5),
    Target("Gaussian, float32", _reflect("gaussian_filter", "float32"), "opencv", 2.2),
    Target("Gaussian, uint8", _reflect("gaussian_filter", "uint8"), "opencv", 2.2),
    Target("box mean, float32", _reflect("uniform_filter", "float32"), "opencv", 3.0),
    Target("box mean, uint8", _reflect("uniform_filter", "uint8"), "opencv", 3.0),
    Target("maximum, float32", _reflect("maximum_filter", "float32"), "opencv", 2.0),
    Target("maximum, float32", _reflect("maximum_filter", "float32"), "scipy", 80.0),
    Target("maximum, uint8", _reflect("maximum_filter", "uint8"), "opencv", 2.0),
    Target("maximum, uint8", _reflect("maximum_filter", "uint8"), "scipy", 80.0),
    Target("large kernels", ("signal.correlate2d:same-large:*",), "best", 1.7),
    Target("small images", ("*:small:*",), "opencv", 1.0),
    Target("the cython engine", ("*:reflect:*", _FILTER + "*", "*:same-large:*", "*:small:*"), "numba", 0.8),
)

# -- convolution layers, forward: PyTorch in the faster of both layouts is the rival ---------------

# Of weights (filters, channels, 3, 3), those of more channels than a picture has.
_3X3 = "k*x[!3]*x3x3"
EITHER = "torch either way"


def _of(n: int) -> tuple[str, ...]:
    """The networks' layers for n images; how they are called and their layout are left open."""
    return tuple(f"nn.conv2d:{network}-*stride-*-{{}}-{{}}:float32:{n}x*" for network in NETWORKS)


_WIDE = tuple(f"nn.conv2d:{network}-stride-1-{{}}-{{}}:float32:1x*:{_3X3}" for network in ("resnet50", "vgg16"))
_WIDE_GROUP = "3×3 layers of stride 1, 64 channels and more"
# Group, how layers are called, cases, rival, what the mean is to be in NCHW and in NHWC, and each cell; least threads.
_ASKED: tuple[tuple[str, str, tuple[str, ...], str, tuple[float, float], float, int], ...] = (
    ("convolution layers", "prepared", _of(1), EITHER, (1.3, 1.45), 0.95, 1),
    ("convolution layers", "fast", _of(1), EITHER, (1.45, 1.65), 0.95, 1),
    ("convolution layers", "plain", _of(1), EITHER, (1.3, 1.3), 0.85, 1),
    (_WIDE_GROUP, "prepared", _WIDE, EITHER, (1.6, 1.6), 0.0, 1),
    (_WIDE_GROUP, "fast", _WIDE, EITHER, (2.1, 2.1), 0.0, 1),
    ("convolution layers, 32 images", "prepared", _of(32), EITHER, (1.2, 1.2), 0.95, 1),
    ("convolution layers, 16 images, 16 threads", "prepared", _of(16), EITHER, (1.2, 1.2), 0.0, 16),
    ("textbook layers", "plain", ("nn.conv2d:textbook-*-{}-{}:*",), EITHER, (1.5, 1.5), 0.0, 1),
    ("call of a tiny layer", "plain", ("nn.conv2d:tiny-*-{}-{}:*",), EITHER, (1.3, 1.3), 0.0, 1),
    ("call of a tiny layer", "prepared", ("nn.conv2d:tiny-*-{}-{}:*",), EITHER, (1.3, 1.3), 0.0, 1),
    ("convolution, bias and ReLU in one", "fused", ("nn.conv2d:*-{}-{}:*",), "unfused", (0.8, 0.8), 0.0, 1),
    ("the cython engine, layers", "prepared", _of(1), "numba", (0.8, 0.8), 0.0, 1),
)


def _networks() -> Iterator[Target]:
    for group, way, patterns, against, least, cell, threads in _ASKED:
        for layout, asked in zip(LAYOUTS, least, strict=True):
            cases = tuple(pattern.format(way, layout) for pattern in patterns)
            yield Target(f"{group}, {way} {layout}", cases, against, asked, cell, group, "networks", threads)


NETWORK_LAYERS = tuple(_networks())

# -- gradients, quantised layers, pooling, activations ---------------------------------------------


def _of_layers(function: str, way: str, layout: str, kind: str = "", kernel: str = "*") -> tuple[str, ...]:
    return tuple(f"nn.{function}:{network}-{kind}stride-?-{way}-{layout}:*:{kernel}" for network in NETWORKS)


def _gradients() -> Iterator[Target]:
    """PyTorch in the faster layout is the rival."""
    for name, least in (("input", (1.5, 2.2)), ("weight", (1.1, 1.6))):
        function = f"grad.conv2d_{name}"
        group, every = f"{name} gradient, 3×3 layers", f"{name} gradient, all layers"
        for (way, asked), layout in product(zip(("plain", "fast"), least, strict=True), LAYOUTS):
            cases = _of_layers(function, way, layout, kernel=_3X3)
            yield Target(f"{group}, {way} {layout}", cases, EITHER, asked, 0.0, group, "layers")
        for layout in LAYOUTS:
            cases = (*_of_layers(function, "plain", layout), *_of_layers(function, "plain", layout, "depthwise-"))
            yield Target(f"{every}, plain {layout}", cases, EITHER, 1.15, 0.0, every, "layers")


def _others() -> Iterator[Target]:
    """PyTorch in the same layout is the rival: a geometric mean, and nothing less than half as fast."""

    def targets(group: str, layout: str, cases: tuple[str, ...], least: float) -> Iterator[Target]:
        name = f"{group}, {layout}" if layout else group
        yield Target(name, cases, "torch", least, 0.5, group, "layers")
        if layout:
            yield Target(name, cases, EITHER, 0.0, 0.0, group, "layers")

    for layout in LAYOUTS:
        first = layout == "NCHW"
        yield from targets("bias gradient", layout, (f"nn.grad.conv2d_bias:*-{layout}:*",), 1.0)
        for way, (kind, floats) in product(("plain", "prepared"), (("dense", 2.5), ("depthwise", 2.0))):
            group = f"quantised convolution, {way}, {kind}"
            cases = _of_layers("quantized_conv2d", way, layout, "depthwise-" * (kind == "depthwise"))
            yield from targets(group, layout, cases, 1.0)
            asked, own = floats if way == "prepared" else 0.0, f"{group}, beside floats"
            yield Target(f"{own}, {layout}", cases, "float32", asked, 0.0, own, "layers")
        pools = f"nn.*_pool2d:?x?-stride-?-{layout}:*", f"nn.adaptive_*_pool2d:global-{layout}:*"
        indices = (f"nn.max_pool2d:?x?-stride-?-indices-{layout}:*",)
        yield from targets("pooling", layout, pools, 12.0 if first else 2.3)
        yield from targets("pooling with indices", layout, indices, 10.0 if first else 1.5)
        yield from targets("pooling to a size", layout, (f"nn.adaptive_*_pool2d:adaptive-{layout}:*",), 1.0)
        large = tuple(pool.replace(":*", f":float32:{n}x*") for pool in pools for n in (8, 32))
        group = "pooling of 8 images and more"
        yield Target(f"{group}, {layout}", large, "copy", 0.85, 0.0, group, "layers")
        yield from targets("gradient of pooling", layout, (f"nn.grad.*pool2d_backward:*-{layout}:*",), 1.0)
    for group, form in (("activation", "nn.{}:*"), ("gradient of activation", "nn.grad.{}_backward:*")):
        yield from targets(group, "", tuple(map(form.format, ELEMENTWISE)), 1.0)


def _by_group(targets: Iterable[Target]) -> tuple[Target, ...]:
    """In the order of the groups' first ones."""
    every = list(targets)
    groups = list(dict.fromkeys(target.group for target in every))
    return tuple(sorted(every, key=lambda target: groups.index(target.group)))


LAYERS = _by_group((*_gradients(), *_others()))
