"""Sequences of layers, on every engine, against the functions called one by one."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.nn.strips import Window, strips_of
from fastconv.testing import assert_identical

FORMATS = ("NCHW", "NHWC")


def conv(rng, channels, filters, kernel, *, groups=1, dtype="float32", **options):
    """A layer of weights that are whole numbers: sums of any order are the same to the bit."""
    weight = rng.integers(-3, 4, (filters, channels // groups, kernel, kernel)).astype(dtype)
    bias = rng.integers(-5, 6, filters).astype(dtype)
    return partial(nn.conv2d, weight=weight, bias=bias, groups=groups, **options)


def random_layers(rng, channels, height, width):
    """Up to five layers that fit, of all kinds, with any padding and stride."""
    layers = []
    for _ in range(rng.integers(2, 6)):
        kind = rng.choice(["conv", "conv", "depthwise", "max", "avg", "relu", "hardtanh"])
        stride, dilation = int(rng.integers(1, 3)), int(rng.integers(1, 3))
        if kind in ("conv", "depthwise"):
            kernel = int(rng.integers(1, 4))
            padding = tuple((int(rng.integers(0, 3)), int(rng.integers(0, 3))) for _ in range(2))
            filters = channels if kind == "depthwise" else int(rng.choice([4, 8, 16, 20]))
            activation = str(rng.choice(["", "relu", "relu6"])) or None
            layer = conv(
                rng, channels, filters, kernel, groups=channels if kind == "depthwise" else 1, stride=stride,
                dilation=dilation, padding=padding, activation=activation,
            )  # fmt: skip
        elif kind == "max":
            layer = partial(nn.max_pool2d, kernel_size=3, stride=stride, padding=1, ceil_mode=bool(rng.integers(2)))
        elif kind == "avg":
            layer = partial(
                nn.avg_pool2d, kernel_size=2, stride=stride, count_include_pad=bool(rng.integers(2)), padding=1
            )
        else:
            layer = nn.relu if kind == "relu" else partial(nn.hardtanh, min_val=-50.0, max_val=50.0)
        try:
            like = one_by_one([layer], np.zeros((1, channels, height, width), "f4"), "NCHW")
        except ValueError:  # a window that is larger than what is left
            continue
        layers.append(layer)
        _, channels, height, width = like.shape
    return layers


def one_by_one(layers, x, data_format):
    for layer in layers:
        function = layer.func if isinstance(layer, partial) else layer
        windowed = function.__name__ == "conv2d" or "pool" in function.__name__
        x = layer(x, data_format=data_format) if windowed else layer(x)
    return x


def image_of(rng, shape, data_format, dtype="float32"):
    n, c, h, w = shape
    return rng.integers(-9, 10, shape if data_format == "NCHW" else (n, h, w, c)).astype(dtype)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("seed", range(6))
def test_as_one_by_one(engine, data_format, seed):
    rng = np.random.default_rng([seed, 17])
    channels = int(rng.choice([3, 8, 17]))
    height, width = (int(n) for n in rng.integers(5, 30, 2))
    layers = random_layers(rng, channels, height, width) or [nn.relu]
    x = image_of(rng, (int(rng.integers(1, 4)), channels, height, width), data_format)
    with fastconv.use(engine=engine, threads=1 + seed % 3):
        expected = one_by_one(layers, x, data_format)
        for strip in ("auto", 0, 1, int(rng.integers(2, 9)), 100):
            sequence = nn.Sequence(layers, x, data_format=data_format, strip=strip)
            assert_identical(sequence(x), expected, f"{strip}\n{sequence}")
            out = np.full_like(expected, 7)
            assert sequence(x, out=out) is out
            assert_identical(out, expected)


@pytest.mark.parametrize("data_format", FORMATS)
def test_chains(engine, data_format):
    rng = np.random.default_rng(3)
    inverted = [
        conv(rng, 8, 40, 1, activation="relu6"),
        conv(rng, 40, 40, 3, groups=40, stride=2, padding=1, activation="relu6"),
        conv(rng, 40, 12, 1),
    ]
    pairs = [
        conv(rng, 3, 16, 3, padding=1), nn.relu, conv(rng, 16, 16, 3, padding=1), nn.relu,
        partial(nn.max_pool2d, kernel_size=2), partial(nn.adaptive_avg_pool2d, output_size=1),
    ]  # fmt: skip
    with fastconv.use(engine=engine):
        for channels, layers in (8, inverted), (3, pairs):
            x = image_of(rng, (2, channels, 21, 18), data_format)
            expected = one_by_one(layers, x, data_format)
            for strip in (0, 3, 50):
                assert_identical(nn.Sequence(layers, x, data_format=data_format, strip=strip)(x), expected)


@pytest.mark.parametrize("data_format", FORMATS)
def test_nan_and_infinity_stay_in_their_windows(engine, data_format):
    rng = np.random.default_rng(4)
    layers = [conv(rng, 8, 8, 3, padding=1), nn.relu, partial(nn.max_pool2d, kernel_size=2), conv(rng, 8, 8, 3)]
    x = image_of(rng, (1, 8, 24, 20), data_format)
    x[0, 5, 6, 3], x[0, 3, 7, 7] = np.nan, np.inf
    with fastconv.use(engine=engine):
        expected = one_by_one(layers, x, data_format)
        assert np.isnan(expected).any() and np.isfinite(expected).any()
        for strip in (0, 2):
            assert_identical(nn.Sequence(layers, x, data_format=data_format, strip=strip)(x), expected)


@pytest.mark.parametrize("precision", ["strict", "default", "fast"])
def test_errors_are_those_of_the_functions(precision):
    rng = np.random.default_rng(5)
    weights = [rng.standard_normal((64, 64, 3, 3)) / 24 for _ in range(2)]
    layers = [partial(nn.conv2d, weight=w.astype("f4"), padding=1, activation="gelu") for w in weights]
    x = rng.standard_normal((1, 64, 40, 40)).astype("f4")
    exact = x.astype("f8")
    for w in weights:
        exact = nn.conv2d(exact, w, padding=1, activation="gelu")
    with fastconv.use(precision=precision):
        alone = np.abs(one_by_one(layers, x, "NCHW") - exact).max()
        for strip in (0, 6, 40):
            assert np.abs(nn.Sequence(layers, x, strip=strip)(x) - exact).max() < 3 * alone


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32"])
def test_other_types(engine, dtype):
    rng = np.random.default_rng(6)
    layers = [conv(rng, 4, 8, 3, padding=1, dtype=dtype), partial(nn.max_pool2d, kernel_size=2)]
    layers += [nn.relu] if dtype != "int32" else []
    x = image_of(rng, (1, 4, 13, 14), "NCHW", dtype)
    with fastconv.use(engine=engine):
        for strip in (0, 2):
            assert_identical(nn.Sequence(layers, x, strip=strip)(x), one_by_one(layers, x, "NCHW"))


@pytest.mark.parametrize("options", [{"padding": 1, "padding_mode": "reflect"}, {"padding": "same", "stride": 2}])
def test_other_paddings(options):
    rng = np.random.default_rng(7)
    layers = [
        conv(rng, 4, 8, 3, padding=1),
        conv(rng, 8, 8, 3, **options),
        partial(nn.avg_pool2d, kernel_size=3, padding="same"),
    ]
    x = image_of(rng, (1, 4, 17, 15), "NCHW")
    for strip in (0, 3):
        assert_identical(nn.Sequence(layers, x, strip=strip)(x), one_by_one(layers, x, "NCHW"))


@pytest.mark.parametrize("seed", range(20))
def test_strips_make_every_row_once(seed):
    rng = np.random.default_rng(seed)
    windows, rows = [], int(rng.integers(1, 60))
    for _ in range(rng.integers(1, 6)):
        span, stride = int(rng.integers(1, min(rows, 5) + 1)), int(rng.integers(1, 4))
        pad = int(rng.integers(0, span))
        out = (rows + 2 * pad - span) // stride + 1
        windows.append(Window(rows, out, span, stride, pad))
        rows = out
    done, held, there = [0] * len(windows), [0] * len(windows), [0] * len(windows)
    for call in strips_of(windows, int(rng.integers(1, 9))):
        i, window = call.layer, windows[call.layer]
        assert call.made[0] == done[i] < call.made[1]
        low, high = window.reads(call.made)
        assert call.read == (max(low, 0), min(high, window.rows_in))
        assert call.zeros == (max(-low, 0), max(high - window.rows_in, 0))
        if i:  # what is read has been made, and is still there
            assert held[i - 1] == call.source <= call.read[0] and call.read[1] <= done[i - 1]
        if i + 1 < len(windows):
            assert call.first == call.held - held[i] >= 0 and call.kept == done[i] - call.held
            held[i] = call.held
        done[i] = call.made[1]
        there[i] += call.made[1] - call.made[0]
    assert done == there and done[-1] == windows[-1].rows_out


def test_auto_takes_strips_where_results_are_large():
    rng = np.random.default_rng(8)
    layers = [
        conv(rng, 16, 96, 1, activation="relu6"), conv(rng, 96, 96, 3, groups=96, padding=1), conv(rng, 96, 16, 1)
    ]  # fmt: skip
    small = nn.Sequence(layers, np.empty((1, 28, 28, 16), "f4"), data_format="NHWC")
    large = nn.Sequence(layers, np.empty((1, 448, 448, 16), "f4"), data_format="NHWC")
    many = nn.Sequence(layers, np.empty((32, 56, 56, 16), "f4"), data_format="NHWC")
    assert "at a time" not in str(small) and "image by image" not in str(small)
    assert "of 448 rows at a time" in str(large) and large.nbytes < 8 * 2**20
    assert "image by image" in str(many)


def test_what_is_printed():
    rng = np.random.default_rng(9)
    layers = [conv(rng, 3, 8, 3), nn.relu, partial(nn.max_pool2d, kernel_size=2)]
    text = str(nn.Sequence(layers, np.empty((1, 3, 12, 12), "f4")))
    assert "conv2d + relu -> (1, 8, 10, 10)" in text and "max_pool2d -> (1, 8, 5, 5)" in text
    assert "MiB kept" in text


def test_weights_are_copied_and_settings_kept():
    rng = np.random.default_rng(10)
    layers = [conv(rng, 4, 8, 3), nn.relu]
    x = image_of(rng, (1, 4, 9, 9), "NCHW")
    expected = one_by_one(layers, x, "NCHW")
    with fastconv.use(engine="reference"):
        sequence = nn.Sequence(layers, x)
    layers[0].keywords["weight"][...] = 0
    assert_identical(sequence(x), expected)
    assert sequence.plans[0].implementation.startswith("reference")
    assert sequence.shape == expected.shape and sequence.dtype == expected.dtype


def test_threads_share_a_sequence():
    rng = np.random.default_rng(11)
    layers = [conv(rng, 4, 8, 3), conv(rng, 8, 8, 3), partial(nn.max_pool2d, kernel_size=2)]
    images = [image_of(rng, (1, 4, 19, 20), "NCHW") for _ in range(4)]
    sequence = nn.Sequence(layers, images[0], strip=2)
    found: dict[int, bool] = {}

    def work(i):
        expected = one_by_one(layers, images[i], "NCHW")
        found[i] = all(np.array_equal(sequence(images[i]), expected) for _ in range(30))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), True)


WEIGHT = np.ones((4, 3, 3, 3), "f4")


@pytest.mark.parametrize(
    "layers, options, error, message",
    [
        ([], {}, ValueError, "layers must have at least one"),
        ([np.tanh], {}, TypeError, r"layers\[0\] must be a function of fastconv.nn"),
        ([nn.relu, nn.softmax], {}, TypeError, r"layers\[1\] must be a function"),
        ([partial(nn.conv2d, padding=1)], {}, TypeError, r"layers\[0\] must have weight="),
        ([partial(nn.max_pool2d, 2)], {}, TypeError, r"layers\[0\] must have its arguments as keywords"),
        ([partial(nn.max_pool2d, kernel_size=2, data_format="NHWC")], {}, ValueError, "data_format"),
        ([partial(nn.relu, inplace=True)], {}, ValueError, "inplace"),
        (
            [nn.relu, partial(nn.conv2d, weight=WEIGHT[:, :2])],
            {},
            ValueError,
            r"layers\[1\] must be a conv2d of .*channels",
        ),
        ([partial(nn.conv2d, weight=WEIGHT, activation="reluu")], {}, ValueError, r"layers\[0\].*activation"),
        ([partial(nn.max_pool2d, size=2)], {}, TypeError, r"layers\[0\]"),
        ([nn.relu], {"strip": -1}, ValueError, "strip must"),
        ([nn.relu], {"strip": "rows"}, ValueError, "strip must"),
        ([nn.relu], {"data_format": "HWC"}, ValueError, "data_format must"),
    ],
)
def test_bad_layers(layers, options, error, message):
    with pytest.raises(error, match=message):
        nn.Sequence(layers, np.ones((1, 3, 8, 8), "f4"), **options)


def test_bad_images():
    sequence = nn.Sequence([partial(nn.conv2d, weight=WEIGHT)], np.ones((1, 3, 8, 8), "f4"))
    with pytest.raises(ValueError, match="input must have the planned shape and dtype"):
        sequence(np.ones((1, 3, 8, 9), "f4"))
    with pytest.raises(ValueError, match="input must have the planned shape and dtype"):
        sequence(np.ones((1, 3, 8, 8)))
    with pytest.raises(ValueError, match="out must have shape"):
        sequence(np.ones((1, 3, 8, 8), "f4"), out=np.ones((1, 4, 6, 7), "f4"))
    with pytest.raises(ValueError, match="input must have 4"):
        nn.Sequence([nn.relu], np.ones((3, 8, 8), "f4"))
    with pytest.raises(ValueError, match="input must not be empty"):
        nn.Sequence([nn.relu], np.ones((0, 3, 8, 8), "f4"))
