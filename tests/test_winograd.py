"""Winograd's minimal filtering: the direct sum's results, by fewer products."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from test_conv_kernels import Guarded

import fastconv
from fastconv import nn
from fastconv.algorithms.winograd import Tiles
from fastconv.algorithms.winograd_division import Division, Way, division_of
from fastconv.engines.level import SIMD

# (images, channels, rows, columns, filters), and other arguments of conv2d.
CASES = [
    ((1, 32, 26, 26, 64), {"padding": 1}),
    ((2, 64, 15, 13, 96), {"padding": 1, "activation": "relu"}),
    ((3, 70, 19, 17, 60), {"padding": (2, 0)}),
    ((2, 128, 12, 14, 128), {"padding": 1, "groups": 2, "activation": ("leaky_relu", 0.3)}),
    ((5, 96, 7, 7, 200), {"padding": 1}),
    ((1, 64, 18, 40, 63), {"padding": ((0, 2), (1, 0)), "padding_mode": "reflect"}),
    ((1, 64, 21, 6, 64), {"padding": 2, "padding_mode": "circular"}),
]
# The largest error, in parts of the root mean square of the results: F(2x2), which "default" takes, and F(4x4).
ERRORS = {
    ("float32", "default"): 1e-5,
    ("float32", "fast"): 2e-4,
    ("float64", "default"): 3e-14,
    ("float64", "fast"): 3e-13,
}


def arrays(case, layout, dtype="float32", seed=0):
    n, channels, rows, cols, filters = case[0]
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, channels, rows, cols)).astype(dtype)
    w = rng.standard_normal((filters, channels // case[1].get("groups", 1), 3, 3)).astype(dtype)
    bias = rng.standard_normal(filters).astype(dtype)
    return (np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if layout == "NHWC" else x), w, bias


def both(engine, precision, x, w, bias, **kwargs):
    """The results with weights packed for the call and prepared, and how they were made."""
    with fastconv.use(engine=engine, precision=precision):
        planned = fastconv.plan(nn.conv2d, x, w, bias, **kwargs)
        return [nn.conv2d(x, w, bias, **kwargs), planned.prepare(w)(x)], planned


@pytest.fixture(params=["cython", "numba"])
def cpu(request):
    return request.param


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("precision", ["default", "fast"])
def test_agrees_with_the_direct_sum(cpu, case, layout, precision):
    for dtype in ("float32", "float64"):
        x, w, bias = arrays(case, layout, dtype)
        kwargs = {**case[1], "data_format": layout}
        with fastconv.use(precision="strict"):
            expected = nn.conv2d(x.astype("float64"), w.astype("float64"), bias.astype("float64"), **kwargs)
        results, planned = both(cpu, precision, x, w, bias, **kwargs)
        assert planned.implementation == f"{cpu}:winograd"
        for result in results:
            assert result.dtype == dtype
            assert np.abs(result - expected).max() <= ERRORS[dtype, precision] * expected.std()


# (images, channels, rows, columns, filters), taps, and other arguments: kernels that are sums of pieces.
LARGER = [
    ((1, 32, 14, 14, 64), 5, {"padding": 2}),
    ((3, 64, 15, 13, 60), 5, {"padding": 1, "activation": "relu"}),
    ((2, 128, 12, 15, 128), 5, {"padding": (2, 0), "groups": 2}),
    ((3, 60, 11, 8, 64), 7, {"padding": 3, "padding_mode": "reflect"}),
    ((2, 32, 17, 12, 64), 9, {"padding": 4}),
]


@pytest.mark.parametrize("case", LARGER, ids=str)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_larger_kernels_agree_with_the_direct_sum(case, layout, dtype):
    shape, taps, options = case
    x, _, bias = arrays((shape, options), layout, dtype)
    w = (
        np.random.default_rng(1)
        .standard_normal((shape[-1], shape[1] // options.get("groups", 1), taps, taps))
        .astype(dtype)
    )
    kwargs = {**options, "data_format": layout}
    with fastconv.use(precision="strict"):
        expected = nn.conv2d(x.astype("float64"), w.astype("float64"), bias.astype("float64"), **kwargs)
    results, planned = both("cython", "default", x, w, bias, **kwargs)
    assert planned.implementation == "cython:winograd"
    for result in results:
        assert np.abs(result - expected).max() <= ERRORS[dtype, "default"] * expected.std()
    with fastconv.use(engine="cython", precision="default"):
        one, several = (nn.conv2d(x, w, bias, **kwargs, threads=n) for n in (1, 3))
    assert np.array_equal(one, several)


@pytest.mark.parametrize("what", ["image", "everywhere", "weights", "small weights", "bias", "overflow"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_is_not_finite_stays_in_larger_windows(what, layout):
    x, _, bias = arrays(((2, 64, 23, 19, 70), {}), "NCHW")
    w = np.random.default_rng(1).standard_normal((70, 64, 5, 5)).astype("float32")
    x, w, bias = spoilt(what, x, w, bias)
    if layout == "NHWC":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    kwargs = {"padding": 2, "data_format": layout}
    with fastconv.use(engine="cython", precision="strict"):
        expected = nn.conv2d(x, w, bias, **kwargs)
    usual = np.isfinite(expected) & (np.abs(expected) < 1e6)
    for result in both("cython", "default", x, w, bias, **kwargs)[0]:
        for test in (np.isnan, np.isposinf, np.isneginf):
            assert np.array_equal(test(result), test(expected))
        assert np.abs(result - expected)[usual].max() < 0.01


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_number_of_threads_changes_nothing(cpu, case, threads):
    x, w, bias = arrays(case, "NCHW")
    with fastconv.use(engine=cpu):
        one, several = (nn.conv2d(x, w, bias, **case[1], threads=n) for n in (1, threads))
    assert np.array_equal(one, several)


def spoilt(what, x, w, bias):
    """Arrays with numbers that are not finite, or whose sums are not."""
    x, w, bias = x.copy(), w.copy(), bias.copy()
    if what == "everywhere":
        x[:, 5] = np.nan
        x[1, 5, 3:9, 4:] = 0.0
    elif what == "image":
        x[0, 3, 5, 7], x[1, 60, 0, 0], x[1, 2, -1, -1], x[1, 7, -1, -2] = np.nan, np.inf, -np.inf, np.inf
    elif what == "weights":
        w[5, 3, 0, 1], w[-1, -1, 2, 2], w[33, 1, 1, 1] = np.inf, np.nan, -np.inf
    elif what == "bias":
        bias[7], bias[40] = np.nan, np.inf
    elif what == "small weights":  # 0 times infinity is NaN, and has the sign of the smallest number otherwise
        x[0, 3, 5, 7], x[1, 2, 9, 9] = np.inf, -np.inf
        w[:, :, 1, 1], w[:, :, 0, 1] = 0, 1e-9
    else:  # at the points alone
        x[0, 3, 9, 9:11] = 3e38
        w *= np.float32(1e-38)
    return x, w, bias


SPOILT = [(what, None) for what in ("image", "everywhere", "weights", "small weights", "bias", "overflow")]
SPOILT += [(what, name) for what in ("image", "overflow") for name in ("relu", ("leaky_relu", 0.5), "hardswish")]


@pytest.mark.parametrize("what, activation", SPOILT, ids=str)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("precision", ["default", "fast"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_is_not_finite_stays_in_its_windows(cpu, what, layout, precision, activation):
    case = (2, 64, 23, 19, 70), {"padding": 1, "activation": activation}
    x, w, bias = spoilt(what, *arrays(case, "NCHW"))
    if layout == "NHWC":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    kwargs = {**case[1], "data_format": layout}
    with fastconv.use(engine=cpu, precision="strict"):
        expected = nn.conv2d(x, w, bias, **kwargs)
    assert (what == "overflow") == np.isfinite(expected).all()
    assert what == "everywhere" or np.isfinite(expected).mean() > 0.9
    usual = np.isfinite(expected) & (np.abs(expected) < 1e6)
    for result in both(cpu, precision, x, w, bias, **kwargs)[0]:
        for test in (np.isnan, np.isposinf, np.isneginf):
            assert np.array_equal(test(result), test(expected))
        assert np.abs(result - expected)[usual].max() < 0.01


@pytest.mark.parametrize("what", ["image", "everywhere", "weights", "small weights", "overflow"])
@pytest.mark.parametrize("size", [(23, 19), (90, 70)], ids=str)
@pytest.mark.parametrize("precision", ["default", "fast"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_is_not_finite_stays_in_its_windows_of_gradients(cpu, what, size, precision):
    """Weights read as they are, by each unit (few pixels) or packed before."""
    g, w, _ = spoilt(what, *arrays(((2, 64, *size, 70), {}), "NCHW"))
    w = np.ascontiguousarray(w.swapaxes(0, 1))
    results = []
    for allowed in ("strict", precision):
        with fastconv.use(engine=cpu, precision=allowed):
            results.append(nn.grad.conv2d_input((2, 70, *size), w, g, padding=1))
    expected, result = results
    usual = np.isfinite(expected) & (np.abs(expected) < 1e6)
    for test in (np.isnan, np.isposinf, np.isneginf):
        assert np.array_equal(test(result), test(expected))
    assert np.abs(result - expected)[usual].max() < 0.01


@pytest.mark.parametrize("channels, size", [(64, 56), (128, 28), (256, 14), (512, 14)])
def test_errors_are_those_that_the_precisions_promise(cpu, channels, size):
    """Root mean squares, in parts of the results': PyTorch's are 2.2e-7 to 2.3e-7; "fast" may make ten times as large ones."""
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((1, size, size, channels)).astype("float32")
    w = rng.standard_normal((32, channels, 3, 3)).astype("float32")
    exact = nn.conv2d(x.astype("float64"), w.astype("float64"), padding=1, data_format="NHWC")
    errors = {}
    for precision in ("default", "fast"):
        results, planned = both(cpu, precision, x, w, None, padding=1, data_format="NHWC")
        assert planned.implementation == f"{cpu}:winograd"
        errors[precision] = np.sqrt(np.mean((results[1] - exact) ** 2) / np.mean(exact**2))
    assert errors["default"] < (3e-7 if SIMD == "v2" else 2.4e-7)  # v2 rounds products, too
    assert errors["fast"] < 2e-6


@pytest.mark.parametrize("channels, size, taps", [(32, 14, 5), (64, 28, 7), (32, 30, 15)])
def test_errors_of_larger_kernels(channels, size, taps):
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((1, size, size, channels)).astype("float32")
    w = rng.standard_normal((32, channels, taps, taps)).astype("float32")
    exact = nn.conv2d(x.astype("float64"), w.astype("float64"), padding=taps // 2, data_format="NHWC")
    results, planned = both("cython", "default", x, w, None, padding=taps // 2, data_format="NHWC")
    assert planned.implementation == "cython:winograd"
    error = np.sqrt(np.mean((results[1] - exact) ** 2) / np.mean(exact**2))
    assert error < (5e-7 if SIMD == "v2" else 3.5e-7)  # PyTorch's: 5e-7 to 1.1e-6


SIZES = [(1, 1), (2, 5), (3, 3), (4, 7), (7, 7), (9, 6), (13, 21), (18, 4)]


@pytest.mark.parametrize(
    "way, taps",
    [(Way(2), 3), (Way(4), 3), (Way(2, fresh=True), 3), (Way(4, fresh=True), 3), (Way(2), 5), (Way(2), 7)],
    ids=str,
)
def test_nothing_beyond_the_arrays_is_touched(cpu, way, taps):
    """A kernel that reads or writes beyond an array ends the process; sizes of all kinds, tiles that stick out."""
    if taps > 3 and cpu == "numba":
        return  # leaves them to the other engine
    kernels, kept = import_module(f"fastconv.engines.{cpu}_cpu"), []
    for case in range(40):
        rng = np.random.default_rng([way.tile, way.fresh, case])
        dtype, last, groups = ("float32", "float64")[case % 2], bool(rng.integers(2)), int(rng.integers(1, 3))
        channels, filters = groups * int(rng.integers(1, 50)), groups * int(rng.integers(1, 70))
        n, (rows, cols), pad = int(rng.integers(1, 4)), SIZES[case % len(SIZES)], int(rng.integers(taps // 2, taps))

        def guarded(shape, last, rng=rng, dtype=dtype):
            lying = (shape[0], *shape[2:], shape[1]) if last else shape
            kept.append(Guarded(int(np.prod(lying)) * np.dtype(dtype).itemsize, bool(rng.integers(2))))
            array = kept[-1].bytes.view(dtype).reshape(lying)
            array[...] = rng.integers(-4, 5, lying)
            return np.moveaxis(array, -1, 1) if last else array

        x, adjoint = guarded((n, channels, rows, cols), last), taps == 3 and bool(rng.integers(2))
        w = given_w = guarded((filters, channels // groups, taps, taps), False)
        if adjoint:
            given_w = guarded((channels, filters // groups, 3, 3), False)
            w = given_w.reshape(groups, -1, *given_w.shape[1:]).swapaxes(1, 2)[..., ::-1, ::-1]
            w = w.reshape(filters, -1, 3, 3)
        layout = "NHWC" if last else "NCHW"
        given = np.moveaxis(x, 1, -1) if last else x
        problem = fastconv.plan(nn.conv2d, given, w, padding=pad, groups=groups, data_format=layout).problem
        out = guarded((n, filters, rows + 2 * pad - taps + 1, cols + 2 * pad - taps + 1), last)
        Tiles(problem, kernels, way, adjoint)(x, given_w, out, None, 0, int(rng.choice([1, 3])))
        with fastconv.use(precision="strict", engine="cython"):
            expected = nn.conv2d(
                given.astype("float64"), w.astype("float64"), padding=pad, groups=groups, data_format=layout
            )
        expected = np.moveaxis(expected, -1, 1) if last else expected
        assert np.abs(out - expected).max() < (1e-2 if dtype == "float32" else 1e-9), problem


@pytest.mark.parametrize("shape", [(1, 64, 56, 64), (1, 256, 14, 256), (1, 512, 7, 512), (4, 64, 28, 64)], ids=str)
@pytest.mark.parametrize("threads", [2, 4, 8, 16])
def test_units_are_as_many_as_threads_need(shape, threads):
    n, channels, size, filters = shape
    x, w = np.ones((n, channels, size, size), "float32"), np.ones((filters, channels, 3, 3), "float32")
    problem = fastconv.plan(nn.conv2d, x, w, padding=1).problem
    for way in (Way(2), Way(4), Way(2, fresh=True), Way(4, fresh=True)):
        division: Division = division_of(problem, way, threads)
        units = division.strips * division.chunks
        assert units / (-(-units // threads) * threads) >= 0.75


def test_strict_precision_takes_the_direct_sum(cpu):
    x, w, bias = arrays(CASES[0], "NCHW")
    with fastconv.use(engine=cpu, precision="strict"):
        planned = fastconv.plan(nn.conv2d, x, w, bias, padding=1)
    assert planned.implementation == f"{cpu}:conv"
    assert "is for layers of nn, in default or fast precision" in str(planned)


@pytest.mark.parametrize(
    "kwargs", [{"stride": 2}, {"dilation": 2}, {"weights": (64, 64, 3, 2)}, {"channels": 3}, {"filters": 4}], ids=str
)
def test_others_are_left_to_the_direct_sum(kwargs):
    channels, filters = kwargs.pop("channels", 64), kwargs.pop("filters", 64)
    weights = kwargs.pop("weights", (filters, channels, 3, 3))
    x = np.ones((1, channels, 30, 30), np.float32)
    planned = fastconv.plan(nn.conv2d, x, np.ones(weights, np.float32), **kwargs)
    assert "winograd" not in planned.implementation


def test_16_bit_floats_are_converted_on_their_way(cpu):
    x, w, bias = arrays(CASES[1], "NHWC", "float16")
    results, planned = both(cpu, "default", x, w, bias, padding=1, data_format="NHWC")
    assert planned.implementation == f"{cpu}:winograd"
    with fastconv.use(engine="reference"):
        expected = nn.conv2d(x, w, bias, padding=1, data_format="NHWC")
    for result in results:
        assert np.abs(result.astype("f4") - expected.astype("f4")).max() <= 2e-3 * np.abs(expected.astype("f4")).max()


def test_arrays_of_any_strides(cpu):
    x, w, bias = arrays(CASES[1], "NCHW")
    expected = nn.conv2d(x, w, bias, padding=1)
    reversed_ = np.ascontiguousarray(x[:, ::-1, :, ::-1])[:, ::-1, :, ::-1]
    out = np.empty((2, 96, 15, 26), np.float32)[..., ::2]
    with fastconv.use(engine=cpu):
        assert nn.conv2d(reversed_, w, bias, padding=1, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_scratch_memory_is_bounded_and_told():
    for shape in ((1, 64, 56, 56), (1, 512, 14, 14), (8, 256, 28, 28), (1, 64, 224, 224)):
        x, w = np.ones(shape, np.float32), np.ones((64, shape[1], 3, 3), np.float32)
        for precision in ("default", "fast"):
            with fastconv.use(precision=precision, threads=1):
                planned = fastconv.plan(nn.conv2d, x, w, padding=1)
            assert planned.implementation.endswith("winograd")
            assert planned.workspace(1) <= 4 * 2**20
            assert "minimal filtering F(" in str(planned)
