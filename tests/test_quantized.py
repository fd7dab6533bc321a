"""Convolutions of quantised numbers against their definition in integers, on every engine."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.algorithms import quantized as blocks
from fastconv.engines import cython_cpu
from fastconv.plan import execute, plan_for
from fastconv.problem import ConvProblem, QuantizedProblem

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


def check(ndim: int, arrays: tuple, options: dict, q: dict) -> None:
    """Both layouts against the definition."""
    x, w, bias = arrays
    desired = definition(ndim, arrays, options, q)
    np.testing.assert_array_equal(FUNCTIONS[ndim](x, w, bias, **options, **q), desired)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    actual = FUNCTIONS[ndim](last, w, bias, **options, **q, data_format=FORMATS[ndim][1])
    np.testing.assert_array_equal(np.moveaxis(actual, -1, 1), desired)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_depthwise(engine, ndim):
    """Channels in blocks that they do not fill, and in lanes together with those of neighbouring pixels."""
    rng = np.random.default_rng(ndim)
    for i, channels in enumerate((2, 5, 16, 31, 32, 33, 48, 64, 65, 130) * 2):
        (x, w, bias), options, q = sample(rng, ndim)
        options["groups"], q["scale"] = channels, float(rng.uniform(0.5, 3))
        x = numbers(rng, (x.shape[0], channels, *x.shape[2:]), x.dtype.name)
        w = numbers(rng, (channels, 1, *w.shape[2:]), w.dtype.name)
        bias = None if bias is None else np.resize(bias, channels)
        for name in ("weight_scale", "weight_zero_point"):
            q[name] = np.resize(q[name], channels) if np.ndim(q[name]) else q[name]
        if i % 3 == 0:
            q["weight_zero_point"] = 128 if w.dtype == "uint8" else 0
        check(ndim, (x, w, bias), options, q)


@pytest.mark.parametrize("kernel", [(1, 1), (1, 3), (3, 3), (2, 2), (5, 5), (1, 7), (5, 7)])
def test_weights_are_packed(engine, kernel):
    """Blocks of filters and channels that are full, and such as are not."""
    rng = np.random.default_rng(sum(kernel))
    for groups, channels, filters in ((1, 4, 33), (1, 68, 16), (2, 20, 7), (1, 18, 40), (1, 132, 5)):
        for weight_dtype in RANGES:
            x = numbers(rng, (1, groups * channels, 5, 8), "uint8")
            w = numbers(rng, (groups * filters, channels, *kernel), weight_dtype)
            q = {
                "input_scale": 0.3, "input_zero_point": 77, "weight_scale": np.array(0.01), "zero_point": -3, "dtype": "int8",
                "weight_zero_point": 0 if weight_dtype == "int8" else 128, "scale": 3.0 * channels**0.5,
            }  # fmt: skip
            check(
                2, (x, w, rng.normal(size=len(w))), {"padding": (kernel[0] // 2, kernel[1] // 2), "groups": groups}, q
            )


@pytest.mark.parametrize("stride", [1, 2, (2, 1)])
@pytest.mark.parametrize(
    "kernel, dilation", [((3, 3), 1), ((5, 5), 1), ((1, 6), 2), ((3, 2), 3), ((7, 9), 1), ((2, 3), 4)]
)
def test_depthwise_planes(engine, kernel, dilation, stride):
    """Planes of one vector and of many, with rows apart from each other, and padding wider than a row."""
    rng = np.random.default_rng(sum(kernel))
    sizes = ((30, 33), (9, 150), (7, 7), (25, 40)) + ((200, 400),) * (engine == "cython" and kernel == (3, 3))
    for i, (height, width) in enumerate(sizes):
        dtype, weight_dtype, out_dtype = (("uint8", "int8")[i >> n & 1] for n in range(3))
        zero = {"uint8": 128, "int8": 0}[weight_dtype] + (i == 2)
        q = {
            "input_scale": 1.0, "input_zero_point": 5, "weight_scale": rng.uniform(0.5, 2, 3), "weight_zero_point": zero,
            "scale": 2.0**9 if i % 2 else 700.0, "zero_point": 11, "dtype": out_dtype,
        }  # fmt: skip
        x, w = numbers(rng, (2, 3, height + 2, width + 3), dtype), numbers(rng, (3, 1, *kernel), weight_dtype)
        options = {"padding": ((1, 2), (12, 9)), "stride": stride, "dilation": dilation, "groups": 3}
        for image in (x, x[:, :, 1:-1, 2:-1], x[:, ::-1], x[..., ::-1]):
            check(2, (image, w, rng.integers(-999, 999, 3).astype("int32")), options, q)


@pytest.mark.parametrize("together", [2, 4])
def test_elements_at_once(together, monkeypatch):
    """Processors without instructions for four bytes multiply two numbers of 16 bits."""
    rows, row_bytes, most = cython_cpu.DOT
    monkeypatch.setattr(cython_cpu, "DOT", (rows, row_bytes, min(together, most)))
    plan_for.cache_clear()
    fastconv.replay.forget()
    rng = np.random.default_rng(together)
    with fastconv.use(engine="cython"):
        for i in range(40):
            arrays, options, q = sample(rng, 2)
            check(2, arrays, options, q)
            if i % 4 == 0:
                x, w = (numbers(rng, shape, "int8") for shape in ((1, 40, 7, 9), (40, 1, 3, 3)))
                options = {"padding": 1, "stride": 1 + i % 8 // 4, "groups": 40, "dilation": 1}
                q = {
                    "input_scale": 0.1,
                    "input_zero_point": i - 9,
                    "weight_scale": np.array(0.02),
                    "weight_zero_point": 2 * i - 9,
                }
                check(2, (x, w, None), options, q | {"scale": 2.0, "zero_point": 7 - i, "dtype": "int8"})
    monkeypatch.undo()
    plan_for.cache_clear()
    fastconv.replay.forget()


@pytest.mark.parametrize("groups", [1, 2, 40])
@pytest.mark.parametrize("dtype", list(RANGES))
@pytest.mark.parametrize("weight_dtype", list(RANGES))
def test_extremes(engine, groups, dtype, weight_dtype):
    """The least and the greatest numbers and zero points: nothing saturates on the way."""
    rng = np.random.default_rng(0)
    ends, weight_ends = (np.array([low, high - 1]) for low, high in (RANGES[dtype], RANGES[weight_dtype]))
    for zero, weight_zero in zip(ends.repeat(2).tolist(), weight_ends.tolist() * 2, strict=True):
        for out_dtype in RANGES:
            x = rng.choice(ends, (2, 40, 6, 7)).astype(dtype)
            w = rng.choice(weight_ends, (40, 40 // groups, 3, 3)).astype(weight_dtype)
            x[0], w[:3] = ends[0] + ends[1] - zero, weight_ends[0] + weight_ends[1] - weight_zero
            q = {
                "input_scale": 1.0, "input_zero_point": zero, "weight_scale": np.linspace(0.1, 9, 40) / 255,
                "weight_zero_point": np.where(np.arange(40) % 5, weight_zero, 1), "scale": 255.0 * 40 / groups,
                "zero_point": RANGES[out_dtype][0] + 100, "dtype": out_dtype,
            }  # fmt: skip
            check(2, (x, w, rng.normal(size=40) * 99), {"padding": 1, "groups": groups}, q)


@pytest.mark.parametrize("groups", [1, 48])
@pytest.mark.parametrize("scale", [2.0, np.nextafter(2, 3), np.nextafter(2, 1), 6.0, 1 / 3, 1e-9, 1e30, 1e-40])
def test_roundings(engine, groups, scale):
    """Halves, and what is next to a half, where float32 does not tell; results far beyond 32 bits."""
    x = np.arange(-128, 128, dtype="int8").reshape(1, 1, 16, 16).repeat(48, 1)
    w = np.zeros((48, 48 // groups, 1, 1), "int8")
    w[np.arange(48), np.arange(48) % (48 // groups), 0, 0] = np.arange(48) - 9
    q = {
        "input_scale": 1.0,
        "input_zero_point": 3,
        "weight_scale": np.float64(1),
        "weight_zero_point": 0,
        "scale": float(scale),
    }
    for bias in (None, np.full(48, 1000, "int32"), np.linspace(-3, 3, 48) * scale, np.full(48, 1e6 + 0.5)):
        check(2, (x, w, bias), {"groups": groups}, q | {"zero_point": 101, "dtype": "uint8"})


@pytest.mark.parametrize("data_format", FORMATS[2])
@pytest.mark.parametrize("groups, filters", [(1, 16), (1, 37), (2, 40), (1, 6)])
def test_sums_of_32_bits(engine, groups, filters, data_format):
    rng = np.random.default_rng(filters)
    for dtype in RANGES:
        for weight_dtype in RANGES:
            x, w = numbers(rng, (2, 18, 7, 9), dtype), numbers(rng, (filters, 18 // groups, 3, 2), weight_dtype)
            bias = rng.integers(-(2**31), 2**31, filters).astype("int32")
            options = {"stride": (1, 2), "padding": ((1, 2), (0, 1)), "groups": groups}
            desired = nn.conv2d(x.astype("int64"), w.astype("int64"), bias.astype("int64"), **options).astype("int32")
            images = x if data_format == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
            for _ in range(3):
                actual = nn.conv2d(images, w, bias, **options, dtype="int32", data_format=data_format)
                np.testing.assert_array_equal(np.moveaxis(actual, -1, 1) if data_format == "NHWC" else actual, desired)
                x += x.dtype.type(1)  # of arrays, not of what they were when the call was recorded
                images += images.dtype.type(1)
                desired = nn.conv2d(x.astype("int64"), w.astype("int64"), bias.astype("int64"), **options).astype(
                    "int32"
                )


def test_weights_are_packed_by_several_threads(engine):
    """No block of filters writes into its neighbour's weights, which another thread packs at the same time."""
    rng = np.random.default_rng(3)
    x, w = numbers(rng, (2, 16, 20, 20), "uint8"), numbers(rng, (96, 16, 3, 3), "int8")
    desired = nn.conv2d(x.astype("int64"), w.astype("int64")).astype("int32")
    for _ in range(3 if engine == "reference" else 60):
        np.testing.assert_array_equal(nn.conv2d(x, w, dtype="int32", threads=5), desired)


@pytest.mark.parametrize("groups", [1, 32])
def test_calls_that_are_repeated(engine, groups):
    """Replayed and prepared calls see other images, weights and biases."""
    rng = np.random.default_rng(groups)
    q = {"input_scale": 0.1, "input_zero_point": 7, "weight_scale": 0.02, "scale": 2.0, "zero_point": 9}
    full = q | {"weight_zero_point": 0, "dtype": "uint8"}
    x, w = numbers(rng, (1, 32, 8, 8), "uint8"), numbers(rng, (32, 32 // groups, 3, 3), "int8")
    bias, options = rng.normal(size=32), {"padding": 1, "groups": groups}
    prepared = fastconv.plan(nn.quantized_conv2d, x, w, bias, **options, **q).prepare(w)
    assert prepared.planned.implementation == ("reference:naive" if engine == "reference" else f"{engine}:conv8")
    for change in (x, x, w, w, bias, x):
        for _ in range(3):
            np.testing.assert_array_equal(
                nn.quantized_conv2d(x, w, bias, **options, **q), definition(2, (x, w, bias), options, full)
            )
        if bias is not change:
            np.testing.assert_array_equal(prepared(x), definition(2, (x, w, bias), options, full))
        change[...] = rng.permutation(change)
        if change is bias:
            prepared = fastconv.plan(nn.quantized_conv2d, x, w, bias, **options, **q).prepare(w)


@pytest.mark.parametrize("groups", [1, 24])
def test_limits(engine, groups):
    """A problem may clamp its results more closely than their dtype."""
    rng = np.random.default_rng(groups)
    conv = ConvProblem(
        in_shape=(6, 6), kernel_shape=(3, 3), out_shape=(6, 6), in_dtype="uint8", kernel_dtype="int8", acc="int32",
        out_dtype="uint8", pad=(1, 1), boundary=("fill",) * 2, stride=(1, 1), dilation=(1, 1),
        channels=24, filters=24, groups=groups,
    )  # fmt: skip
    x, w = numbers(rng, (1, 24, 6, 6), "uint8"), numbers(rng, (24, 24 // groups, 3, 3), "int8")
    constants = np.stack([rng.uniform(0.001, 0.03, 24), rng.normal(size=24), rng.integers(-9, 9, 24)])
    problem, results = QuantizedProblem(conv, "uint8", 90, low=90, high=140), []
    for name in (engine, "reference"):
        with fastconv.use(engine=name):
            results.append(execute(problem, x, w, np.empty((1, 24, 6, 6), "uint8"), bias=constants, fill=100))
    np.testing.assert_array_equal(*results)
    assert results[0].min() == 90 and results[0].max() == 140


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
