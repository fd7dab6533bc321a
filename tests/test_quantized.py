"""Convolutions of quantised numbers against their definition in integers, on every engine."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn
from fastconv.algorithms import quantized as blocks

FUNCTIONS = {1: nn.quantized_conv1d, 2: nn.quantized_conv2d, 3: nn.quantized_conv3d}
PLAIN = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}
FORMATS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
RANGES = {"uint8": (0, 256), "int8": (-128, 128)}


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return rng.integers(*RANGES[dtype], shape).astype(dtype)


def sample(rng: np.random.Generator, ndim: int) -> tuple[tuple, dict, dict]:
    """Arrays, options of the convolution, and scales and zero points."""
    one = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    groups = one(1, 2)
    channels, filters = groups * one(1, 5), groups * int(rng.choice([1, 2, 7]))
    kernel = tuple(one(1, 3) for _ in range(ndim))
    dilation = tuple(one(1, 2) for _ in range(ndim))
    size = tuple((k - 1) * d + one(1, 6) for k, d in zip(kernel, dilation, strict=True))
    dtype, weight_dtype, out_dtype = (str(rng.choice(list(RANGES))) for _ in range(3))
    x, w = (
        numbers(rng, (one(1, 2), channels, *size), dtype),
        numbers(rng, (filters, channels // groups, *kernel), weight_dtype),
    )
    bias = [None, rng.integers(-9999, 9999, filters).astype("int32"), rng.normal(size=filters)][one(0, 2)]
    each = (filters,) if rng.random() < 0.5 else ()
    options = {
        "stride": tuple(one(1, 3) for _ in range(ndim)), "dilation": dilation, "groups": groups,
        "padding": tuple((one(0, 3), one(0, 3)) for _ in range(ndim)) if rng.random() < 0.8 else "same",
    }  # fmt: skip
    quantization = {
        "input_scale": float(rng.uniform(0.01, 2)), "input_zero_point": int(rng.integers(*RANGES[dtype])),
        "weight_scale": rng.uniform(0.001, 0.1, each), "weight_zero_point": rng.integers(*RANGES[weight_dtype], each),
        "scale": float(rng.uniform(0.5, 20)), "zero_point": int(rng.integers(*RANGES[out_dtype])), "dtype": out_dtype,
    }  # fmt: skip
    return (x, w, bias), options, quantization


def definition(ndim: int, arrays: tuple, options: dict, q: dict) -> np.ndarray:
    """QLinearConv in integers of 64 bits; a bias of real numbers is divided by the scale of the sums."""
    x, w, bias = arrays
    per_filter = (-1, *(1,) * ndim)
    zero = np.asarray(q["weight_zero_point"]).astype(np.int64)
    w = w.astype(np.int64) - (zero.reshape(-1, 1, *(1,) * ndim) if zero.ndim else zero)
    sums = PLAIN[ndim](x.astype(np.int64) - q["input_zero_point"], w, **options).astype(np.float64)
    product = np.broadcast_to(q["input_scale"] * np.asarray(q["weight_scale"]), len(w))
    if bias is not None:
        sums = sums + (bias / product if bias.dtype.kind == "f" else bias).reshape(per_filter)
    low, high = RANGES[q["dtype"]]
    scaled = np.rint(sums * (product / q["scale"]).reshape(per_filter)) + q["zero_point"]
    return np.clip(scaled, low, high - 1).astype(q["dtype"])


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("small_blocks", [False, True])
def test_any_quantized_conv(engine, ndim, small_blocks, monkeypatch):
    if small_blocks:
        monkeypatch.setattr(blocks, "BLOCK_BYTES", 400)
        blocks._blocks.cache_clear()
    rng = np.random.default_rng(ndim + 10 * small_blocks)
    for _ in range(30):
        (x, w, bias), options, q = sample(rng, ndim)
        desired = definition(ndim, (x, w, bias), options, q)
        actual = FUNCTIONS[ndim](x, w, bias, **options, **q)
        assert actual.dtype == desired.dtype
        np.testing.assert_array_equal(actual, desired)
        last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        actual = FUNCTIONS[ndim](last, w, bias, **options, **q, data_format=FORMATS[ndim][1])
        np.testing.assert_array_equal(np.moveaxis(actual, -1, 1), desired)
        np.testing.assert_array_equal(FUNCTIONS[ndim](x[0], w, bias, **options, **q), desired[0])
    if small_blocks:
        monkeypatch.undo()
        blocks._blocks.cache_clear()


@pytest.mark.parametrize("filters", [3, 16])
@pytest.mark.parametrize("largest", [1, 255])
def test_sums_beyond_float32(engine, filters, largest):
    """Sums of 2**24 and more are made of integers."""
    x = np.full((1, 40, 9, 9), 255, "uint8")
    w = np.full((filters, 40, 5, 5), largest, "uint8")
    w[0, 0, 0, 0] = 0
    options, q = {"padding": 2}, {"scale": 3e5 * largest, "weight_scale": np.ones(())}
    all_of_it = {
        "input_scale": 1.0,
        "input_zero_point": 7,
        "weight_zero_point": 0,
        "zero_point": 1,
        "dtype": "uint8",
        **q,
    }
    actual = nn.quantized_conv2d(x, w, **options, **all_of_it)
    np.testing.assert_array_equal(actual, definition(2, (x, w, None), options, all_of_it))


def test_halves_are_rounded_to_even(engine):
    x = np.arange(16, dtype="uint8").reshape(1, 1, 16)
    actual = nn.quantized_conv1d(x, np.ones((1, 1, 1), "int8"), scale=2.0, zero_point=3)
    np.testing.assert_array_equal(actual[0, 0], np.rint(np.arange(16) / 2) + 3)


def test_workspace_is_bounded():
    from fastconv import plan

    x, w = np.zeros((4, 16, 300, 300), "uint8"), np.ones((32, 16, 3, 3), "int8")
    for threads in (1, 2):
        assert plan(nn.quantized_conv2d, x, w, padding=1).workspace(threads) < 4 * 2**20 * threads


X, W = np.zeros((1, 2, 5, 6), "uint8"), np.ones((3, 2, 2, 2), "int8")
WRONG = [
    ((X.astype("int16"), W), {}, "input"),
    ((X, W.astype("float32")), {}, "weight"),
    ((X, W, np.ones(3, "int64")), {}, "bias"),
    ((X, W, np.ones(2)), {}, "bias"),
    ((X, W), {"dtype": "int16"}, "dtype"),
    ((X, W), {"dtype": "pixels"}, "dtype"),
    ((X, W), {"input_scale": 0}, "input_scale"),
    ((X, W), {"scale": np.inf}, "scale"),
    ((X, W), {"scale": "1"}, "scale"),
    ((X, W), {"weight_scale": [1.0, 2.0]}, "weight_scale"),
    ((X, W), {"weight_scale": [1.0, 2.0, -1.0]}, "weight_scale"),
    ((X, W), {"input_scale": [1.0, 2.0, 3.0]}, "input_scale"),
    ((X, W), {"input_zero_point": -1}, "input_zero_point"),
    ((X, W), {"input_zero_point": 1.5}, "input_zero_point"),
    ((X, W), {"weight_zero_point": 128}, "weight_zero_point"),
    ((X, W), {"zero_point": 256}, "zero_point"),
    ((X, W), {"zero_point": -1, "dtype": "uint8"}, "zero_point"),
    ((X, W), {"out": np.zeros((1, 3, 4, 5), "int8")}, "out"),
    ((X, W), {"groups": 2}, "groups"),
    ((X, W), {"padding": -1}, "padding"),
]


@pytest.mark.parametrize("args, options, word", WRONG, ids=[f"{word}{i}" for i, (_, _, word) in enumerate(WRONG)])
def test_bad_arguments(args, options, word):
    with pytest.raises((ValueError, TypeError), match=word):
        nn.quantized_conv2d(*args, **options)
