"""Transposed convolutions, and gradients of both kinds, against PyTorch's over sampled combinations of their arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fastconv import nn
from fastconv.nn import grad
from fastconv.problem import ACTIVATIONS
from fastconv.testing import assert_matches

CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
FORMATS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
AXES = pytest.mark.parametrize("ndim", [1, 2, 3])
TYPES = pytest.mark.parametrize("dtype", ["float64", "float32", "complex64", "complex128"])
torch.set_num_threads(1)  # small tensors
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


@dataclass
class Sample:
    """A convolution, or a transposed one if there is an `extra` (output padding); its output's gradient is `g`."""

    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray
    stride: tuple[int, ...]
    pads: list[tuple[int, int]]
    dilation: tuple[int, ...]
    groups: int
    mode: str = "zeros"
    extra: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        self.ndim = self.w.ndim - 2
        self.g: Any = None

    @property
    def even(self) -> bool:
        return all(before == after for before, after in self.pads)

    @property
    def padding(self) -> Any:
        return [p for p, _ in self.pads] if self.even else self.pads

    def output(self, x: Any, w: Any, b: Any) -> Any:
        """PyTorch's output, of which it can make gradients."""
        if self.extra is None:
            x = F.pad(x, [n for pair in self.pads[::-1] for n in pair], MODES[self.mode])
            return CONVS[self.ndim](x, w, b, self.stride, 0, self.dilation, self.groups)
        y = TRANSPOSED[self.ndim](x, w, b, self.stride, 0, self.extra, self.groups, self.dilation)
        for axis, (before, after) in enumerate(self.pads):
            y = y.narrow(2 + axis, before, y.shape[2 + axis] - before - after)
        return y

    def theirs(self, magnitudes: bool = False) -> list[np.ndarray]:
        """Output, and gradients of input, weight and bias; or the sums of their products' magnitudes."""
        arrays = [np.abs(a).astype(float) if magnitudes else a for a in (self.x, self.w, self.bias, self.g)]
        *tensors, g = (torch.from_numpy(a.copy()) for a in arrays)
        for tensor in tensors:
            tensor.requires_grad_()
        y = self.output(*tensors)
        return [t.detach().resolve_conj().numpy() for t in (y, *torch.autograd.grad(y, tensors, g))]

    def ours(self, channels_last: bool, batched: bool) -> list[np.ndarray]:
        """The same by fastconv, computed in another layout, as (N, C, ...)."""

        def there(a: np.ndarray) -> np.ndarray:
            a = np.ascontiguousarray(np.moveaxis(a, 1, -1)) if channels_last else a
            return a if batched else a[0]

        def back(a: np.ndarray) -> np.ndarray:
            a = a if batched else a[None]
            return np.moveaxis(a, -1, 1) if channels_last else a

        name = f"conv{'' if self.extra is None else '_transpose'}{self.ndim}d"
        of_input, of_weight, of_bias = (getattr(grad, f"{name}_{part}") for part in ("input", "weight", "bias"))
        form = {"data_format": FORMATS[self.ndim][channels_last]}
        x, g = there(self.x), there(self.g)
        if self.extra is None:
            options = (self.stride, self.padding, self.dilation, self.groups)
            mode = form | {"padding_mode": self.mode}
        else:
            options, mode = (self.stride, self.padding, self.extra, self.groups, self.dilation), form
        return [
            back(getattr(nn, name)(x, self.w, self.bias, *options, **mode)),
            back(of_input(x.shape, self.w, g, *options, **mode)),
            of_weight(x, self.w.shape, g, *options, **mode),
            of_bias(g, **form),
        ]

    def check(self, rng: np.random.Generator) -> None:
        """Whether all four agree."""
        shape = self.output(*(torch.from_numpy(a.copy()) for a in (self.x, self.w, self.bias))).shape
        self.g = numbers(rng, tuple(shape), self.x.dtype.name)
        batched = len(self.x) > 1 or bool(rng.integers(2))
        ours, theirs, scales = self.ours(bool(rng.integers(2)), batched), self.theirs(), self.theirs(magnitudes=True)
        terms = [self.w[0].size + self.w.size, self.w.size, self.x.size + self.g.size, self.g.size]
        parts = zip(("output", "input", "weight", "bias"), ours, theirs, scales, terms, strict=True)
        for name, actual, desired, scale, taps in parts:
            assert_matches(actual, desired, scale, taps, context=f"{name}: {self}")


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = rng.normal(size=shape)
    return (values + 1j * rng.normal(size=shape) if dtype[0] == "c" else values).astype(dtype)


def strided(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """The array, perhaps not contiguous in memory."""
    how = rng.integers(4)
    if how == 0:
        return np.asfortranarray(array)
    return np.repeat(array, 2, axis=-1)[..., ::2] if how == 1 else array


def sample(rng: np.random.Generator, ndim: int, dtype: str, transposed: bool) -> Sample:
    """Any combination, small and of odd sizes; depthwise ones and some of many channels among them."""
    one = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    axes = range(ndim)
    groups = one(1, 4)
    inside = int(rng.choice([1, 2, 3, 17])), int(rng.choice([1, 2, 3, 9]))
    channels, filters = groups * inside[0], groups * inside[1]
    kernel, dilation, stride = ([one(1, 4 if ndim < 3 else 3) for _ in axes] for _ in range(3))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    mode, extra = "zeros", None
    size = [span + one(0, 8 if ndim < 3 else 3) for span in spans]
    pads = [(p, p) if even else (p, one(0, 3)) for even in [rng.random() < 0.7] for p in (one(0, 4) for _ in axes)]
    if transposed:
        size = [one(1, 8 if ndim < 3 else 4) for _ in axes]
        extra = tuple(one(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
        made = [(n - 1) * s + span + e for n, s, span, e in zip(size, stride, spans, extra, strict=True)]
        pads = [(0, 0) if sum(pair) >= n else pair for pair, n in zip(pads, made, strict=True)]
        shape = (channels, inside[1], *kernel)
    else:
        mode = str(rng.choice(["zeros", "zeros", "reflect", "replicate", "circular"]))
        pads = [tuple(min(p, n - 1) for p in pair) for pair, n in zip(pads, size, strict=True)]
        if mode == "zeros":  # the image may be smaller than the kernel
            size = [max(1, n - sum(pair)) for n, pair in zip(size, pads, strict=True)]
        shape = (filters, inside[0], *kernel)
    x, w = numbers(rng, (one(1, 3), channels, *size), dtype), numbers(rng, shape, dtype)
    bias = numbers(rng, (filters,), dtype)
    return Sample(
        strided(rng, x), strided(rng, w), bias, tuple(stride), pads, tuple(dilation), groups, mode, extra
    )  # fmt: skip


def rounds(engine: str, n: int) -> range:
    """Samples for an engine: fewer for the reference, which is slow."""
    return range(n // 6 if engine == "reference" else n)


@AXES
@TYPES
def test_gradients_of_convolutions(engine, agreed, ndim, dtype):
    rng = np.random.default_rng(ndim)
    for _ in rounds(engine, 24):
        sample(rng, ndim, dtype, False).check(rng)
        agreed(f"conv{ndim}d and its gradients", 4)


@AXES
@TYPES
def test_transposed_convolutions_and_their_gradients(engine, agreed, ndim, dtype):
    rng = np.random.default_rng(10 + ndim)
    for _ in rounds(engine, 24):
        sample(rng, ndim, dtype, True).check(rng)
        agreed(f"conv_transpose{ndim}d and its gradients", 4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_transposed_convolutions_with_activations(engine, agreed, activation):
    rng = np.random.default_rng(7)
    for ndim in (1, 2, 3):
        for _ in rounds(engine, 16):
            s = sample(rng, ndim, "float64", True)
            options = (s.stride, s.padding, s.extra, s.groups, s.dilation)
            actual = getattr(nn, f"conv_transpose{ndim}d")(s.x, s.w, s.bias, *options, activation=activation)
            sums = s.output(*(torch.from_numpy(a.copy()) for a in (s.x, s.w, s.bias))).numpy()
            name = activation.removesuffix("_tanh")
            desired = getattr(F, name)(
                torch.from_numpy(sums), **({"approximate": "tanh"} if activation != name else {})
            )
            np.testing.assert_allclose(actual, desired.numpy(), rtol=1e-9, atol=1e-9)
            agreed("conv_transpose with activations")


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_the_same_is_refused(name):
    """What PyTorch rejects, for the shapes of its own."""
    ours, theirs = getattr(nn, name), getattr(F, name)
    x, w = np.ones((2, 4, 6, 6)), np.ones((4, 4, 3, 3))
    bad: list[dict] = [{"stride": 0}, {"dilation": 0}, {"groups": 3}, {"stride": (1, 2, 3)}, {"padding": -1}]
    if name == "conv_transpose2d":
        bad += [{"output_padding": 1}, {"padding": 9}, {"output_padding": 2, "stride": 2}]
    for options in bad:
        with pytest.raises(RuntimeError):
            theirs(torch.from_numpy(x), torch.from_numpy(w), **options)
        with pytest.raises(ValueError):
            ours(x, w, **options)
    for shape in ((3, 3, 3, 3), (4, 3, 3)):
        with pytest.raises(RuntimeError):
            theirs(torch.from_numpy(x), torch.ones(shape, dtype=torch.float64))
        with pytest.raises(ValueError):
            ours(x, np.ones(shape))
