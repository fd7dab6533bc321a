"""Convolutions against PyTorch's, over sampled combinations of their arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fastconv import nn
from fastconv.problem import ACTIVATIONS
from fastconv.testing import assert_matches

OURS = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}
THEIRS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
FORMATS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
AXES = pytest.mark.parametrize("ndim", [1, 2, 3])
torch.set_num_threads(1)  # small tensors
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


@dataclass
class Sample:
    """Arguments of a convolution, its arrays (N, C, ...) and without bias or with one."""

    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray | None
    stride: tuple[int, ...]
    padding: Any
    dilation: tuple[int, ...]
    groups: int
    mode: str = "zeros"

    def __post_init__(self) -> None:
        self.ndim = self.w.ndim - 2

    def ours(self, channels_last: bool = False, batched: bool = True, **options: Any) -> np.ndarray:
        """Our result as (N, C, ...), computed in another layout."""
        ndim = self.ndim
        x = np.ascontiguousarray(np.moveaxis(self.x, 1, -1)) if channels_last else self.x
        result = OURS[ndim](
            x if batched else x[0], self.w, self.bias, self.stride, self.padding, self.dilation, self.groups,
            data_format=FORMATS[ndim][channels_last], padding_mode=self.mode, **options,
        )  # fmt: skip
        result = result if batched else result[None]
        return np.moveaxis(result, -1, 1) if channels_last else result

    def theirs(self, convert=lambda a: a) -> np.ndarray:
        """PyTorch's result; `convert` is applied to the arrays before."""
        ndim, padding = self.ndim, self.padding
        x, w, b = (None if a is None else torch.from_numpy(convert(a)) for a in (self.x, self.w, self.bias))
        if self.mode != "zeros":
            pads = self.pads()
            x, padding = F.pad(x, [n for pair in pads[::-1] for n in pair], MODES[self.mode]), 0
        return THEIRS[ndim](x, w, b, self.stride, padding, self.dilation, self.groups).numpy()

    def pads(self) -> list[tuple[int, int]]:
        if self.padding == "valid":
            return [(0, 0)] * self.ndim
        if self.padding == "same":
            total = [(k - 1) * d for k, d in zip(self.w.shape[2:], self.dilation, strict=True)]
            return [(t // 2, t - t // 2) for t in total]
        return [(p, p) for p in self.padding]

    def scale(self) -> np.ndarray:
        """Sums of the products' magnitudes."""
        return self.theirs(lambda a: np.nan_to_num(np.abs(a.astype(np.complex128)), posinf=1, neginf=1))

    @property
    def taps(self) -> int:
        return self.w[0].size + 1


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = rng.normal(size=shape)
    if dtype[0] == "c":
        values = values + 1j * rng.normal(size=shape)
    return values.astype(dtype)


def sample(rng: np.random.Generator, ndim: int, dtype: str = "float32") -> Sample:
    """Any combination that PyTorch takes, small and of odd sizes."""
    one = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    axes = range(ndim)
    groups = one(1, 3)
    channels, filters = groups * one(1, 3), groups * int(rng.choice([1, 2, 3, 9]))
    kernel = tuple(one(1, 4 if ndim < 3 else 3) for _ in axes)
    dilation = tuple(one(1, 3) for _ in axes)
    mode = str(rng.choice(["zeros", "zeros", "reflect", "replicate", "circular"]))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [span + one(0, 9 if ndim < 3 else 4) for span in spans]
    stride = tuple(one(1, 3) for _ in axes)
    padding: Any = tuple(one(0, min(4, n - 1)) for n in size)
    if mode in ("zeros", "replicate"):  # the image may be smaller than the kernel
        size = [max(1, n - p) for n, p in zip(size, padding, strict=True)]
    if rng.random() < 0.2:
        padding, size = "valid", [max(n, span) for n, span in zip(size, spans, strict=True)]
    elif rng.random() < 0.25:
        padding, stride = "same", (1,) * ndim
        if mode in ("reflect", "circular"):
            size = [max(n, span) for n, span in zip(size, spans, strict=True)]
    x = numbers(rng, (one(1, 2), channels, *size), dtype)
    w = numbers(rng, (filters, channels // groups, *kernel), dtype)
    bias = numbers(rng, (filters,), dtype) if rng.random() < 0.5 else None
    return Sample(strided(rng, x), strided(rng, w), bias, stride, padding, dilation, groups, mode)


def strided(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """The array, perhaps not contiguous in memory (PyTorch has no negative strides)."""
    how = rng.integers(4)
    if how == 0:
        return np.asfortranarray(array)
    if how == 1:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    return array


def rounds(engine: str, n: int) -> range:
    """Samples for an engine: fewer for the reference, which is slow."""
    return range(n // 4 if engine == "reference" else n)


def layout(rng: np.random.Generator, s: Sample) -> dict[str, bool]:
    return {"channels_last": bool(rng.integers(2)), "batched": len(s.x) > 1 or bool(rng.integers(2))}


@AXES
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex64", "complex128"])
def test_conv(engine, agreed, ndim, dtype):
    rng = np.random.default_rng(ndim)
    for _ in rounds(engine, 120):
        s = sample(rng, ndim, dtype)
        assert_matches(s.ours(**layout(rng, s)), s.theirs(), s.scale(), s.taps, context=str(s))
        agreed(f"conv{ndim}d")


@AXES
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_conv_of_integers(engine, agreed, ndim, dtype):
    """PyTorch sums exactly in float64; results are wanted as int32, and modulo the range of the arrays' dtype."""
    rng = np.random.default_rng(ndim)
    info = np.iinfo(dtype)
    for _ in rounds(engine, 25):
        s = sample(rng, ndim)
        s.x, s.w = (rng.integers(max(info.min, -999), min(info.max, 999), a.shape).astype(dtype) for a in (s.x, s.w))
        s.bias = None if s.bias is None else rng.integers(0, 99, s.bias.shape).astype(dtype)
        desired = s.theirs(lambda a: a.astype(np.float64)).astype(np.int64)
        assert_matches(s.ours(**layout(rng, s)), desired.astype(dtype), context=str(s))
        for wide in ("int32", "int64") if dtype != "int64" else ("int64",):
            assert_matches(s.ours(**layout(rng, s), dtype=wide), desired.astype(wide), context=str(s))
        agreed(f"conv{ndim}d of integers")


def halves() -> list[np.dtype]:
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        return [np.dtype(np.float16)]
    return [np.dtype(np.float16), np.dtype(bfloat16)]


@AXES
@pytest.mark.parametrize("dtype", halves(), ids=lambda dtype: dtype.name)
def test_conv_of_halves(engine, agreed, ndim, dtype):
    """The float64 result, summed in float32 and rounded once; PyTorch's own in 16 bits is no closer."""
    rng = np.random.default_rng(ndim)
    unit = 2.0**-11 if dtype == np.float16 else 2.0**-8
    for _ in rounds(engine, 80):
        s = sample(rng, ndim)
        s.x, s.w = s.x.astype(dtype), s.w.astype(dtype)
        s.bias = None if s.bias is None else s.bias.astype(dtype)
        exact = s.theirs(lambda a: a.astype(np.float64))
        actual = s.ours(**layout(rng, s))
        assert actual.dtype == dtype
        allowed = unit * np.abs(exact) + np.finfo(np.float32).eps * (s.taps + 2) * s.scale() + 2.0**-24
        assert (np.abs(actual.astype(np.float64) - exact) <= allowed).all(), s
        tensors = [None if a is None else torch.from_numpy(a.astype(np.float32)) for a in (s.x, s.w, s.bias)]
        if s.mode == "zeros":
            tensors = [None if t is None else t.to(getattr(torch, dtype.name)) for t in tensors]
            with torch.backends.mkldnn.flags(
                enabled=False
            ):  # oneDNN 3 crashes on float16 conv3d where there is AVX512-FP16
                theirs = THEIRS[ndim](*tensors, s.stride, s.padding, s.dilation, s.groups).double().numpy()
            assert (np.abs(actual.astype(np.float64) - theirs) <= allowed + np.abs(theirs - exact)).all(), s
        agreed(f"conv{ndim}d of halves")


@AXES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_conv_of_nan_and_infinity(engine, agreed, ndim, dtype):
    rng = np.random.default_rng(ndim)
    for _ in rounds(engine, 40):
        s = sample(rng, ndim, dtype)
        for array, odds in ((s.x, 0.04), (s.w, 0.01)):
            array[rng.random(array.shape) < odds] = np.nan
            array[rng.random(array.shape) < odds] = np.inf
            array[rng.random(array.shape) < odds] = -np.inf
        desired = s.theirs(lambda a: a.astype(np.float64)).astype(dtype)  # float32 may be transformed there
        assert_matches(s.ours(**layout(rng, s)), desired, s.scale(), s.taps, context=str(s))
        agreed(f"conv{ndim}d of NaN and infinity")


FUNCTIONS = {
    "gelu_tanh": lambda x, _: F.gelu(x, approximate="tanh"),
    "leaky_relu": lambda x, slope: F.leaky_relu(x, slope),
    "elu": lambda x, alpha: F.elu(x, alpha),
}


@AXES
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_sums(engine, agreed, ndim, name):
    rng = np.random.default_rng(ndim)
    for dtype in ("float32", "float64", "float16"):
        for _ in range(5):
            s = sample(rng, ndim, dtype)
            slope = float(rng.uniform(0.05, 1)) if ACTIVATIONS[name] and rng.random() < 0.5 else None
            sums = torch.from_numpy(s.theirs(lambda a: a.astype(np.float64)))
            function = FUNCTIONS.get(name) or (lambda x, _: getattr(F, name)(x))
            desired = function(sums, ACTIVATIONS[name] if slope is None else slope).numpy()
            actual = s.ours(**layout(rng, s), activation=name if slope is None else (name, slope))
            assert actual.dtype == dtype
            eps = np.finfo(np.float32 if dtype == "float16" else dtype).eps
            allowed = 1.2 * eps * (s.taps + 2) * s.scale() + (8 * eps + np.finfo(dtype).eps) * np.abs(desired) + 4 * eps
            assert (np.abs(actual - desired) <= allowed).all(), s
            agreed(f"activations of conv{ndim}d")


# -- what PyTorch rejects -----------------------------------------------------------------------


def spoiled(rng: np.random.Generator, s: Sample) -> Sample:
    """Arguments that do not fit any more."""
    ndim = s.ndim
    axis = int(rng.integers(ndim))

    def put(values: Any, value: Any) -> tuple:
        values = values if isinstance(values, tuple) else (0,) * ndim
        return (*values[:axis], value, *values[axis + 1 :])

    changes = [
        lambda: setattr(s, "stride", put(s.stride, int(rng.choice([0, -1])))),
        lambda: setattr(s, "stride", put(s.stride, 1.5)),
        lambda: setattr(s, "stride", (1,) * (ndim + 1) if rng.random() < 0.5 or ndim < 3 else (1, 1)),
        lambda: setattr(s, "stride", "1"),
        lambda: setattr(s, "dilation", put(s.dilation, int(rng.choice([0, -2])))),
        lambda: setattr(s, "dilation", (1,) * (ndim + 1)),
        lambda: setattr(s, "padding", put(s.padding, -1)),
        lambda: setattr(s, "padding", (0,) * (ndim + 1)),
        lambda: setattr(s, "padding", str(rng.choice(["full", "SAME_LOWER", ""]))),
        lambda: setattr(s, "padding", put(s.padding, 0.5)),
        lambda: setattr(s, "groups", int(rng.choice([0, -1]))),
        lambda: setattr(s, "groups", s.x.shape[1] + 1),
        lambda: setattr(s, "groups", 1.5),
        lambda: setattr(s, "x", s.x[:, 1:] if s.x.shape[1] > 1 else np.repeat(s.x, 2, axis=1)),
        lambda: setattr(s, "x", s.x[..., 0][..., None][..., :0]),
        lambda: setattr(s, "x", s.x[None]),
        lambda: setattr(s, "x", s.x[0, 0]),
        lambda: setattr(s, "w", s.w[None]),
        lambda: setattr(s, "w", s.w[0]),
        lambda: setattr(s, "w", s.w[:0]),
        lambda: setattr(s, "w", np.repeat(s.w, s.x.shape[axis + 2] + 9, axis=axis + 2)),
        lambda: setattr(s, "w", np.concatenate([s.w, s.w], axis=1)),
        lambda: setattr(s, "bias", np.ones(len(s.w) + 1, s.w.dtype)),
        lambda: setattr(s, "bias", np.ones((len(s.w), 1), s.w.dtype)),
        lambda: (setattr(s, "x", s.x > 0), setattr(s, "w", s.w > 0), setattr(s, "bias", None)),
    ]
    changes[rng.integers(len(changes))]()
    s.mode = "zeros"
    return s


@AXES
def test_what_torch_rejects_is_rejected(agreed, ndim):
    rng = np.random.default_rng(ndim)
    rejected = 0
    for _ in range(400):
        s = spoiled(rng, sample(rng, ndim))
        try:
            s.theirs()
        except (RuntimeError, TypeError, ValueError):
            rejected += 1
            with pytest.raises((ValueError, TypeError)):
                OURS[ndim](s.x, s.w, s.bias, s.stride, s.padding, s.dilation, s.groups)
            agreed(f"errors of conv{ndim}d")
    assert rejected > 380  # some changes leave what fits


@AXES
@pytest.mark.parametrize("mode", ["reflect", "circular"])
def test_padding_that_torch_rejects_is_rejected(agreed, ndim, mode):
    rng = np.random.default_rng(ndim)
    for _ in range(60):
        s = sample(rng, ndim)
        axis, s.mode = int(rng.integers(ndim)), mode
        pads = [int(rng.integers(min(n, 3))) for n in s.x.shape[2:]]
        pads[axis] = s.x.shape[axis + 2] + (mode == "circular") + int(rng.integers(3))
        s.padding = tuple(pads)
        with pytest.raises(RuntimeError):
            s.theirs()
        with pytest.raises(ValueError, match="padding must be at most"):
            s.ours()
        agreed(f"errors of conv{ndim}d")


@AXES
def test_empty_batch(engine, agreed, ndim):
    rng = np.random.default_rng(ndim)
    for _ in range(10):
        s = sample(rng, ndim)
        s.x, s.mode = s.x[:0], "zeros"
        desired = s.theirs()
        for last in (False, True):
            assert s.ours(channels_last=last).shape == desired.shape
        agreed(f"conv{ndim}d")
