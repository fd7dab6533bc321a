"""fastconv.keras against TensorFlow's published rules, written naively here, over sampled combinations of arguments."""

from __future__ import annotations

import doctest
import inspect
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import keras
from fastconv.testing import assert_matches

# As Keras' documentation gives them.
SIGNATURES = {
    "average_pool": "inputs, pool_size, strides=None, padding='valid', data_format=None",
    "conv": "inputs, kernel, strides=1, padding='valid', data_format=None, dilation_rate=1",
    "conv_transpose": "inputs, kernel, strides=1, padding='valid', output_padding=None, data_format=None, dilation_rate=1",
    "depthwise_conv": "inputs, kernel, strides=1, padding='valid', data_format=None, dilation_rate=1",
    "max_pool": "inputs, pool_size, strides=None, padding='valid', data_format=None",
    "separable_conv": (
        "inputs, depthwise_kernel, pointwise_kernel, strides=1, padding='valid', data_format=None, dilation_rate=1"
    ),
}
AXES = pytest.mark.parametrize("ndim", [1, 2, 3])
ROUNDS = 80


# -- TensorFlow's rules (its guide on padding, www.tensorflow.org/api_docs/python/tf/nn) --------------


def padding_before(size: int, span: int, stride: int, padding: str) -> tuple[int, int]:
    """Number of outputs, and how far the first window begins before the inputs."""
    if padding == "valid":
        return -(-(size - span + 1) // stride), 0
    out = -(-size // stride)
    return out, max((out - 1) * stride + span - size, 0) // 2


def windows(x: np.ndarray, kernel: tuple, strides: tuple, dilation: tuple, padding: str, outside: float) -> np.ndarray:
    """x (N, *sizes, C) as (N, *outputs, *kernel, C), element by element."""
    places = []
    for size, k, s, d in zip(x.shape[1:-1], kernel, strides, dilation, strict=True):
        out, before = padding_before(size, (k - 1) * d + 1, s, padding)
        places.append(np.arange(out)[:, None] * s + np.arange(k) * d - before)
    shape = (*(len(p) for p in places), *kernel)
    result = np.full((len(x), *shape, x.shape[-1]), outside, x.dtype)
    for index in np.ndindex(shape):
        at = [p[o, i] for p, o, i in zip(places, index[: len(places)], index[len(places) :], strict=True)]
        if all(0 <= a < n for a, n in zip(at, x.shape[1:-1], strict=True)):
            result[(slice(None), *index)] = x[(slice(None), *at)]
    return result


def conv(x: np.ndarray, w: np.ndarray, strides: tuple, padding: str, dilation: tuple) -> np.ndarray:
    groups = x.shape[-1] // w.shape[-2]
    seen = windows(x, w.shape[:-2], strides, dilation, padding, 0)
    parts = zip(np.split(seen, groups, -1), np.split(w, groups, -1), strict=True)
    axes = w.ndim - 1
    return np.concatenate([np.tensordot(a, b, axes) for a, b in parts], -1)


def depthwise(x: np.ndarray, w: np.ndarray, strides: tuple, padding: str, dilation: tuple) -> np.ndarray:
    return np.concatenate(
        [conv(x[..., c : c + 1], w[..., c : c + 1, :], strides, padding, dilation) for c in range(x.shape[-1])], -1
    )


def transposed(x: np.ndarray, w: np.ndarray, strides: tuple, padding: str, extra: Any, dilation: tuple) -> np.ndarray:
    """The gradient of the convolution that makes the inputs' sizes of the result's, as TensorFlow defines it."""
    sizes, befores = [], []
    for axis, (n, k, s, d) in enumerate(zip(x.shape[1:-1], w.shape, strides, dilation, strict=False)):
        span = (k - 1) * d + 1
        if padding == "valid":
            sizes.append((n - 1) * s + (max(span, s) if extra is None else span + extra[axis]))
            befores.append(0)
        else:
            sizes.append(n * s if extra is None else (n - 1) * s + span % 2 + extra[axis])
            befores.append(max((n - 1) * s + span - sizes[-1], 0) // 2)
    out = np.zeros((len(x), *sizes, w.shape[-2]), x.dtype)
    for place in np.ndindex(x.shape[1:-1]):
        for tap in np.ndindex(w.shape[:-2]):
            at = [p * s + t * d - b for p, s, t, d, b in zip(place, strides, tap, dilation, befores, strict=True)]
            if all(0 <= a < n for a, n in zip(at, sizes, strict=True)):
                out[(slice(None), *at)] += x[(slice(None), *place)] @ w[tap].T
    return out


# -- samples ------------------------------------------------------------------------------------


def draw(rng: np.random.Generator, ndim: int, channels: int) -> tuple[np.ndarray, tuple, dict]:
    """Inputs of channels last, a kernel's size, and options."""
    one = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    most = (5, 4, 3)[ndim - 1]
    kernel = tuple(one(1, most) for _ in range(ndim))
    options = {
        "strides": tuple(one(1, 4) for _ in range(ndim)),
        "padding": str(rng.choice(["valid", "same", "same"])),
        "dilation_rate": tuple(one(1, 3) for _ in range(ndim)),
    }
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, options["dilation_rate"], strict=True)]
    least = spans if options["padding"] == "valid" else [1] * ndim
    sizes = tuple(n + one(0, 5 if ndim < 3 else 2) for n in least)
    return rng.normal(size=(one(1, 2), *sizes, channels)), kernel, options


def spelled(rng: np.random.Generator, options: dict) -> dict:
    """The same options as users may write them."""
    options = {**options, "padding": options["padding"].upper() if rng.random() < 0.3 else options["padding"]}
    return {
        k: v[0] if isinstance(v, tuple) and len(set(v)) == 1 and rng.random() < 0.5 else v for k, v in options.items()
    }


def check(
    rng: np.random.Generator, function: Any, x: np.ndarray, args: tuple, options: dict, desired: np.ndarray
) -> None:
    """In both layouts, in float64 and float32."""
    options = spelled(rng, options)
    dtype = "float32" if rng.random() < 0.3 else "float64"
    x, args = x.astype(dtype), tuple(a.astype(dtype) if isinstance(a, np.ndarray) else a for a in args)
    tolerance = 400 * np.finfo(dtype).eps
    given = {} if rng.random() < 0.5 else {"data_format": "channels_last"}
    first = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    for actual in (
        function(x, *args, **options, **given),
        np.moveaxis(function(first, *args, **options, data_format="channels_first"), 1, -1),
    ):
        assert actual.dtype == dtype and actual.shape == desired.shape
        np.testing.assert_allclose(actual, desired, rtol=tolerance, atol=tolerance * 10)


@AXES
def test_conv(engine, agreed, ndim):
    rng = np.random.default_rng(ndim)
    for _ in range(ROUNDS):
        groups, channels = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        x, kernel, options = draw(rng, ndim, groups * channels)
        w = rng.normal(size=(*kernel, channels, groups * int(rng.choice([1, 2, 7]))))
        check(rng, keras.conv, x, (w,), options, conv(x, w, *options.values()))
        agreed("keras conv", 2)


@AXES
def test_depthwise_and_separable_conv(engine, agreed, ndim):
    rng = np.random.default_rng(ndim)
    for _ in range(ROUNDS // 2):
        channels = int(rng.integers(1, 5))
        x, kernel, options = draw(rng, ndim, channels)
        w = rng.normal(size=(*kernel, channels, int(rng.integers(1, 4))))
        desired = depthwise(x, w, *options.values())
        check(rng, keras.depthwise_conv, x, (w,), options, desired)
        mixing = rng.normal(size=(*(1,) * ndim, desired.shape[-1], int(rng.integers(1, 8))))
        mixed = desired @ mixing.reshape(mixing.shape[-2:])
        check(rng, keras.separable_conv, x, (w, mixing), options, mixed)
        agreed("keras depthwise_conv", 2)
        agreed("keras separable_conv", 2)


@AXES
def test_conv_transpose(engine, agreed, ndim):
    rng = np.random.default_rng(ndim)
    for _ in range(ROUNDS):
        x, kernel, options = draw(rng, ndim, int(rng.integers(1, 4)))
        x = x[(slice(None), *(slice(4 if ndim < 3 else 2) for _ in range(ndim)))]
        w = rng.normal(size=(*kernel, int(rng.choice([1, 2, 7])), x.shape[-1]))
        extra = None if rng.random() < 0.5 else tuple(int(rng.integers(s)) for s in options["strides"])
        if options["padding"] == "same" and extra is not None:  # something has to be left
            extra = tuple(
                max(e, 1 - k % 2) if s > 1 else e for e, k, s in zip(extra, kernel, options["strides"], strict=True)
            )
        stride, padding, dilation = options.values()
        desired = transposed(x, w, stride, padding, extra, dilation)
        if 0 in desired.shape:
            continue
        check(rng, keras.conv_transpose, x, (w,), {**options, "output_padding": extra}, desired)
        agreed("keras conv_transpose", 2)


@AXES
@pytest.mark.parametrize("name", ["max_pool", "average_pool"])
def test_pooling(engine, agreed, ndim, name):
    rng = np.random.default_rng(ndim)
    for _ in range(ROUNDS):
        x, kernel, options = draw(rng, ndim, int(rng.integers(1, 4)))
        del options["dilation_rate"]
        strides, padding = options.values()
        if rng.random() < 0.3:
            options["strides"], strides = None, kernel
        seen = windows(x, kernel, strides, (1,) * ndim, padding, np.nan)
        taps = tuple(range(ndim + 1, 2 * ndim + 1))
        desired = np.nanmax(seen, taps) if name == "max_pool" else np.nanmean(seen, taps)
        check(rng, getattr(keras, name), x, (kernel,), options, desired)
        agreed(f"keras {name}", 2)


# -- details ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", keras.__all__)
def test_signatures_of_keras(name):
    theirs: dict = {}
    exec(f"def {name}({SIGNATURES[name]}): pass", theirs)
    ours = inspect.signature(getattr(keras, name)).parameters.values()
    expected = inspect.signature(theirs[name]).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in expected]


def test_integers_are_convolved(engine):
    x, w = np.arange(24).reshape(1, 4, 6, 1), np.arange(6).reshape(2, 3, 1, 1)
    assert_matches(keras.conv(x, w), conv(x, w, (1, 1), "valid", (1, 1)))
    assert keras.conv(x.tolist(), w.tolist(), padding="SAME").shape == x.shape


X, W = np.zeros((2, 5, 6, 4)), np.zeros((3, 2, 4, 6))
WRONG = [
    (keras.conv, (X[0], W), {}, "kernel"),
    (keras.conv, (X[0, 0], W), {}, "inputs"),
    (keras.conv, (X[..., :3], W), {}, "kernel"),
    (keras.conv, (X, W[..., :2, :5]), {}, "kernel"),
    (keras.conv, (X[:, :2], W), {}, "weight"),
    (keras.conv, (X, W), {"padding": "full"}, "padding"),
    (keras.conv, (X, W), {"padding": 1}, "padding"),
    (keras.conv, (X, W), {"strides": 0}, "strides"),
    (keras.conv, (X, W), {"dilation_rate": (1, 2, 3)}, "dilation_rate"),
    (keras.conv, (X, W), {"data_format": "NHWC"}, "data_format"),
    (keras.depthwise_conv, (X, W[:, :, :3]), {}, "kernel"),
    (keras.separable_conv, (X, W, W), {}, "pointwise_kernel"),
    (keras.conv_transpose, (X, W), {}, "kernel"),
    (keras.conv_transpose, (X, W.swapaxes(2, 3)), {"strides": 2, "output_padding": 2}, "output_padding"),
    (keras.max_pool, (X, 0), {}, "pool_size"),
    (keras.max_pool, (X, 6), {}, "kernel_size|pool_size"),
    (keras.average_pool, (X, 2), {"strides": (1, 2, 1)}, "strides"),
    (keras.average_pool, (X, 2), {"padding": "reflect"}, "padding"),
]


@pytest.mark.parametrize("function, args, options, word", WRONG, ids=map(str, range(len(WRONG))))
def test_bad_arguments(function, args, options, word):
    with pytest.raises((ValueError, TypeError), match=word):
        function(*args, **options)


def test_known_sizes():
    """The worked examples of TensorFlow's guide: 13 inputs, a filter of 6, a stride of 5."""
    x, w = np.ones((1, 13, 1)), np.ones((6, 1, 1))
    assert keras.conv(x, w, 5, "valid")[0, :, 0].tolist() == [6, 6]
    assert keras.conv(x, w, 5, "same")[0, :, 0].tolist() == [5, 6, 4]
    for n, k, s in product(range(1, 9), range(1, 5), range(1, 4)):
        out = keras.conv(np.ones((1, n, 1)), np.ones((k, 1, 1)), s, "same")
        assert out.shape[1] == -(-n // s)
        assert keras.max_pool(np.ones((1, n, 1)), k, s, "same").shape == out.shape


def test_the_page_is_true():
    page = Path(__file__).parent.parent / "docs" / "nn.md"
    result = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 10 and result.failed == 0
