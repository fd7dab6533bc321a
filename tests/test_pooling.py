"""The functions of pooling, unpooling and folding: their arguments, bad input, gradients by finite differences."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.nn import grad
from fastconv.testing import assert_identical

FORMATS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
SIZES = {1: (11,), 2: (9, 7), 3: (6, 5, 7)}
AXES = (1, 2, 3)


def images(n: int, dtype: str = "float64", batch: tuple[int, ...] = (2, 3)) -> np.ndarray:
    rng = np.random.default_rng(n)
    return (20 * rng.standard_normal((*batch, *SIZES[n]))).astype(dtype)


def last(x: np.ndarray, n: int) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -n - 1, -1))


def calls(n: int) -> list[tuple[str, tuple, dict[str, Any]]]:
    """A sound call of each function that takes images."""
    names = [("max_pool", (3, 2, 1), {}), ("avg_pool", (3, 2, 1), {}), ("lp_pool", (2.0, 2), {})]
    names += [("adaptive_max_pool", (2,), {}), ("adaptive_avg_pool", (3,), {})]
    if n > 1:
        names += [("fractional_max_pool", (2, (3,) * n), {"_random_samples": np.full((2, 3, n), 0.3)})]
    return [(f"{name}{n}d", args, kwargs) for name, args, kwargs in names]


CALLS = [pytest.param(n, *call, id=call[0]) for n in AXES for call in calls(n)]


@pytest.mark.parametrize(("n", "name", "args", "kwargs"), CALLS)
def test_layouts_batches_out_and_threads(engine, n, name, args, kwargs):
    x, function = images(n), getattr(nn, name)
    desired = function(x, *args, **kwargs)
    assert desired.shape[:2] == (2, 3) and desired.dtype == x.dtype and np.isfinite(desired).all() | ("lp" in name)
    again = function(last(x, n), *args, **kwargs, data_format=FORMATS[n][1])
    np.testing.assert_allclose(np.moveaxis(again, -1, 1), desired, rtol=1e-12)
    samples = {"_random_samples": kwargs["_random_samples"][:1]} if kwargs else {}
    np.testing.assert_allclose(function(x[0], *args, **samples), desired[0], rtol=1e-12)
    for threads in (1, 3):
        out = np.full((*desired.shape[:-1], 2 * desired.shape[-1]), 7.0)[..., ::2]
        assert function(x, *args, **kwargs, out=out, threads=threads) is out
        np.testing.assert_allclose(out, desired, rtol=1e-12)
    assert function(x[:0], *args, **{k: v[:0] for k, v in kwargs.items()}).shape == (0, *desired.shape[1:])
    with pytest.raises(ValueError, match=r"out.*shape"):
        function(x, *args, **kwargs, out=np.empty((1, 1)))
    with pytest.raises(ValueError, match="overlap"):
        function(
            desired if desired.shape == x.shape else x,
            *args,
            **kwargs,
            out=x.reshape(-1)[: desired.size].reshape(desired.shape),
        )


@pytest.mark.parametrize(("n", "name", "args", "kwargs"), CALLS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "uint16", "int64", "bool"])
def test_dtypes(engine, n, name, args, kwargs, dtype):
    x, function = (images(n) > 0 if dtype == "bool" else images(n).astype(dtype)), getattr(nn, name)
    integers = dtype in ("int8", "uint16", "int64", "bool")
    if ("lp" in name and integers) or ("avg" in name and dtype == "bool"):
        with pytest.raises(TypeError, match=rf"input must have one of the dtypes.*{dtype}"):
            function(x, *args, **kwargs)
        return
    result = function(x, *args, **kwargs)
    assert result.dtype == x.dtype
    with fastconv.use(engine="reference"):
        desired = function(x, *args, **kwargs)
    if "max" in name or integers:
        assert_identical(result, desired)
    else:
        rounding = 2e-3 if dtype == "float16" else 2e-6
        np.testing.assert_allclose(result, desired, rtol=rounding, atol=40 * rounding)


@pytest.mark.parametrize("n", AXES)
def test_padding_by_pairs_and_by_name(engine, n):
    x = images(n)
    for kernel, stride, dilation in ((2, 1, 1), (3, 2, 1), (3, 3, 1), (2, 2, 2)):
        out = tuple(-(-m // stride) for m in SIZES[n])
        total = [max((o - 1) * stride + (kernel - 1) * dilation + 1 - m, 0) for o, m in zip(out, SIZES[n], strict=True)]
        pairs = tuple((t // 2, t - t // 2) for t in total)
        best = getattr(nn, f"max_pool{n}d")(x, kernel, stride, "same", dilation)
        assert best.shape[2:] == out
        padded = np.pad(x, ((0, 0), (0, 0), *pairs), constant_values=-np.inf)
        assert_identical(best, getattr(nn, f"max_pool{n}d")(padded, kernel, stride, 0, dilation))
        if max(map(max, pairs)) < kernel:
            assert_identical(best, getattr(nn, f"max_pool{n}d")(x, kernel, stride, pairs, dilation))
        if dilation == 1:
            average = getattr(nn, f"avg_pool{n}d")(x, kernel, stride, "same")
            ones = np.pad(np.ones_like(x), ((0, 0), (0, 0), *pairs))
            zeros = np.pad(x, ((0, 0), (0, 0), *pairs))
            counts = getattr(nn, f"avg_pool{n}d")(ones, kernel, stride)
            np.testing.assert_allclose(
                average, getattr(nn, f"avg_pool{n}d")(zeros, kernel, stride) / counts, rtol=1e-12
            )
            with_zeros = getattr(nn, f"avg_pool{n}d")(x, kernel, stride, pairs)
            np.testing.assert_allclose(with_zeros, getattr(nn, f"avg_pool{n}d")(zeros, kernel, stride), rtol=1e-12)
    valid = getattr(nn, f"max_pool{n}d")(x, 2, 2, "valid")
    assert_identical(valid, getattr(nn, f"max_pool{n}d")(x, 2, 2))


def test_ties_nan_and_infinities(engine):
    x = np.array([[[1.0, 3.0, 3.0, np.nan, 3.0, np.nan, -np.inf, -np.inf]]])
    best, where = nn.max_pool1d(x, 2, return_indices=True)
    np.testing.assert_array_equal(best, [[[3, np.nan, np.nan, -np.inf]]])
    assert where.tolist() == [[[1, 3, 5, 6]]]
    best, where = nn.adaptive_max_pool1d(x, 1, return_indices=True)
    assert np.isnan(best).all() and where.tolist() == [[[5]]]
    assert nn.max_pool1d(x, 3, 3, 1, return_indices=True)[1].tolist() == [[[1, 3, 5]]]


def test_none_keeps_a_size(engine):
    x = images(3)
    assert nn.adaptive_avg_pool3d(x, (None, 2, 1)).shape == (2, 3, 6, 2, 1)
    assert_identical(nn.adaptive_max_pool3d(x, None), x)
    assert nn.adaptive_avg_pool2d(images(2), 0).shape == (2, 3, 0, 0)


def test_fractional_windows_are_drawn_by_a_generator(engine):
    x = images(2)
    first = nn.fractional_max_pool2d(x, 2, (4, 3), return_indices=True, generator=5)
    again = nn.fractional_max_pool2d(x, 2, (4, 3), return_indices=True, generator=np.random.default_rng(5))
    assert_identical(first[1], again[1])
    assert not np.array_equal(first[1], nn.fractional_max_pool2d(x, 2, (4, 3), return_indices=True, generator=6)[1])
    assert nn.fractional_max_pool2d(x, 2, output_ratio=(0.5, 0.4)).shape == (2, 3, 4, 2)


@pytest.mark.parametrize("channels", [1, 2, 17, 33, 65])
def test_unpooling_pixels_of_any_number_of_channels(engine, channels):
    # The memory around the result stays as it is, too.
    rng = np.random.default_rng(0)
    with fastconv.use(engine=engine):
        x = rng.standard_normal((2, 8, 6, channels)).astype("f4")
        y, where = nn.max_pool2d(x, 2, return_indices=True, data_format="NHWC")
        y, where = y.copy(), where.copy()
        planes = [np.moveaxis(a, -1, 1).copy() for a in (x, y, where)]
        expected = np.moveaxis(nn.grad.max_pool2d_backward(planes[1], planes[2], planes[0].shape), 1, -1)
        around = np.full(x.size + 32, 77, "f4")
        out = around[16:-16].reshape(x.shape)
        for threads in (1, 5):
            for result in (
                nn.grad.max_pool2d_backward(y, where, x.shape, data_format="NHWC", out=out, threads=threads),
                nn.max_unpool2d(y, where, 2, data_format="NHWC", threads=threads),
            ):
                assert np.array_equal(result, expected)
            assert (around[:16] == 77).all() and (around[-16:] == 77).all()


def test_power_gradients_of_small_16_bit_numbers():
    x = np.array([[[0.002, 1e-4]]], np.float16)
    y = nn.lp_pool1d(x, 3, 1, 1)
    gradient = nn.grad.lp_pool1d_backward(np.ones_like(x), x, y, 3, 1, 1)
    np.testing.assert_allclose(gradient.astype("f4"), 1, atol=0.01)


def test_unpooling_what_was_pooled(engine):
    for n in AXES:
        x = images(n)
        best, where = getattr(nn, f"max_pool{n}d")(x, 2, return_indices=True)
        back = getattr(nn, f"max_unpool{n}d")(best, where, 2, output_size=x.shape)
        assert_identical(back[back != 0], x[back != 0])
        assert (back != 0).sum() == best.size
        wide = np.zeros((*back.shape[:-1], 3 * back.shape[-1]))[..., ::3]  # rows that are not evenly apart
        assert getattr(nn, f"max_unpool{n}d")(best, where, 2, output_size=SIZES[n], out=wide) is wide
        assert_identical(wide, back)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint16", "int64"])
@pytest.mark.parametrize("channels", [16, 48, 80, 192])
def test_positions_of_maxima_of_many_channels(engine, channels, dtype):
    """Windows read where they lie, some cut off by a border: ties, NaN and infinities among their taps."""
    x = np.random.default_rng(channels).integers(0, 5, (2, 9, 8, channels)).astype(dtype)
    if dtype[:5] == "float":
        x[x == 0] = -np.inf
        x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    windows: list[dict[str, Any]] = [
        {"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 3, "stride": 1, "padding": 1},
        {"kernel_size": (2, 3), "stride": 1, "dilation": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": (8, 9), "padding": 4},
    ]  # fmt: skip
    calls = [(nn.max_pool2d, options) for options in windows] + [(nn.adaptive_max_pool2d, {"output_size": (4, 3)})]
    for function, options in calls:
        given = {**options, "return_indices": True, "data_format": "NHWC"}
        with fastconv.use(engine="reference"):
            desired = function(x, **given)
        with fastconv.use(engine=engine):
            actual = function(x, **given)
        for a, b in zip(actual, desired, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bad", [-1, 63, 2**62, -(2**63)])
def test_indices_outside_are_refused_before_anything_is_written(engine, bad):
    best, where = nn.max_pool2d(images(2), 2, return_indices=True)
    where[1, 2, 0, 0] = bad
    out = np.full((2, 3, 9, 7), 5.0)
    for target in (None, out):
        with pytest.raises(ValueError, match=r"indices must be from 0 to 62.*\(9, 7\)"):
            nn.max_unpool2d(best, where, 2, output_size=(9, 7), out=target)
        if bad != -1:  # no maximum
            with pytest.raises(ValueError, match="indices must be from 0 to 62"):
                grad.max_pool2d_backward(best, where, (2, 3, 9, 7), out=target)
    with pytest.raises(ValueError, match="indices must be from 0 to 62"):
        grad.max_unpool2d_backward(images(2), where)
    assert (out == 5).all()


def test_unfold_and_fold_are_adjoint(engine):
    x, options = images(2), {"kernel_size": (3, 2), "dilation": (1, 2), "padding": (1, 0), "stride": (2, 1)}
    columns = nn.unfold(x, **options)
    other = np.random.default_rng(0).standard_normal(columns.shape)
    folded = nn.fold(other, SIZES[2], **options)
    np.testing.assert_allclose((columns * other).sum(), (x * folded).sum(), rtol=1e-12)
    by_rows = nn.unfold(last(x, 2), **options, data_format="NHWC")
    assert_identical(np.swapaxes(by_rows, 1, 2), columns)
    assert_identical(
        np.swapaxes(nn.unfold(x[0].astype("uint8"), 2), 0, 1)[0], x[0, :, :2, :2].reshape(-1).astype("uint8")
    )
    counts = nn.fold(np.ones((4, 48), "int32"), SIZES[2], 2)
    assert counts.max() == 4 and counts[0, 0, 0] == 1


# -- gradients ----------------------------------------------------------------------------------


def differences(function: Any, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The gradient of sum(weights * function(x)) by finite differences."""
    found, step = np.zeros_like(x), 1e-6
    for place in np.ndindex(x.shape):
        sides = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            sides.append((weights * function(moved)).sum())
        found[place] = (sides[0] - sides[1]) / (2 * step)
    return found


@pytest.mark.parametrize(("n", "channels_last"), list(product(AXES, [False, True])))
def test_gradients_by_finite_differences(n, channels_last):
    rng = np.random.default_rng(n)
    x = rng.permutation(2 * 4**n).reshape(2, *(4,) * n) / 10 + 1.0  # no two are close: maxima stay where they are
    x, layout = (last(x, n), {"data_format": FORMATS[n][1]}) if channels_last else (x, {})
    kernel = {"kernel_size": 3, "stride": 2}

    def check(function: Any, backward: Any) -> None:
        y = function(x)
        weights = rng.standard_normal(y.shape)
        np.testing.assert_allclose(backward(weights, y), differences(function, x, weights), atol=1e-6)

    def of(name: str) -> Any:
        return getattr(nn, f"{name}{n}d"), getattr(grad, f"{name}{n}d_backward")

    pool, back = of("max_pool")
    where = pool(x, **kernel, padding=1, return_indices=True, **layout)[1]
    check(lambda x: pool(x, **kernel, padding=1, **layout), lambda g, y: back(g, where, x.shape, **layout))
    average, average_back = of("avg_pool")
    for options in (
        {"padding": 1},
        {"padding": 1, "count_include_pad": False},
        {"ceil_mode": True},
        {"padding": "same"},
    ):
        check(
            lambda x, o=options: average(x, **kernel, **o, **layout),
            lambda g, y, o=options: average_back(g, x.shape, **kernel, **o, **layout),
        )
    power, power_back = of("lp_pool")
    check(
        lambda x: power(x, 3, **kernel, ceil_mode=True, **layout),
        lambda g, y: power_back(g, x, y, 3, **kernel, ceil_mode=True, **layout),
    )
    adaptive, adaptive_back = of("adaptive_avg_pool")
    check(lambda x: adaptive(x, 3, **layout), lambda g, y: adaptive_back(g, x.shape, **layout))
    if n > 1:
        fractional, fractional_back = of("fractional_max_pool")
        options = {"kernel_size": 2, "output_size": 2, "_random_samples": np.full((1, 2, n), 0.6)}
        where = fractional(x, **options, return_indices=True, **layout)[1]
        check(lambda x: fractional(x, **options, **layout), lambda g, y: fractional_back(g, where, x.shape, **layout))


# -- bad input ----------------------------------------------------------------------------------

X = np.ones((1, 2, 6, 5))
BAD = [
    (nn.max_pool1d, (X, 2), {}, "input must have 2 or 3 dimensions"),
    (nn.max_pool2d, (X, 2), {"padding": ((0, 2), (0, 0))}, "padding must be less than kernel_size"),
    (nn.max_pool2d, (X, 2), {"padding": "reflect"}, "padding must be one of"),
    (nn.avg_pool2d, (X, 2), {"padding": (1, 2)}, "padding must be at most half"),
    (nn.avg_pool2d, (X, 2), {"data_format": "NDHWC"}, "data_format must be one of"),
    (nn.max_pool3d, (X, 2), {"data_format": "NCDHW", "dilation": 3}, "kernel_size must fit"),
    (nn.lp_pool2d, (X, 0, 2), {}, "norm_type must not be 0"),
    (nn.adaptive_avg_pool2d, (X, (2, 2, 2)), {}, "output_size must be"),
    (nn.adaptive_max_pool2d, (X, -1), {}, "output_size must be an integer of at least 0"),
    (nn.fractional_max_pool2d, (X, 2), {}, "output_size or output_ratio must be given"),
    (nn.fractional_max_pool2d, (X, 2, 6), {}, "output_size must be at most"),
    (nn.fractional_max_pool2d, (X, 2), {"output_ratio": 1.5}, "output_ratio must be between 0 and 1"),
    (nn.fractional_max_pool2d, (X, 2, 2), {"_random_samples": np.ones((1, 2, 3))}, "_random_samples must have shape"),
    (nn.fractional_max_pool2d, (X, 2, 2), {"_random_samples": np.full((1, 2, 2), 2.0)}, "from 0 to 1"),
    (nn.max_unpool2d, (X, np.zeros((1, 2, 6, 4), int), 2), {}, "indices must have the shape of input"),
    (
        nn.max_unpool2d,
        (X, np.zeros(X.shape, int), 2),
        {"output_size": (20, 20)},
        "output_size must be less than stride",
    ),
    (nn.max_unpool2d, (X, np.zeros(X.shape, int), 1), {"padding": 5}, "padding must leave something"),
    (nn.unfold, (X, 9), {}, "kernel_size must fit"),
    (nn.fold, (np.ones((1, 7, 20)), (6, 5), 2), {}, "input must have a multiple of 4 rows"),
    (nn.fold, (np.ones((1, 8, 21)), (6, 5), 2), {}, "and 20 columns"),
    (grad.avg_pool2d_backward, (np.ones((1, 2, 3, 3)), (1, 2, 6, 5), 2), {}, r"grad_output must have sizes \(3, 2\)"),
    (grad.max_pool2d_backward, (X, np.zeros(X.shape, int), (1, 3, 9, 9)), {}, "input_shape must have the batch"),
    (grad.lp_pool2d_backward, (X, X, X, np.inf, 1), {}, "norm_type must be finite"),
    (grad.lp_pool2d_backward, (X, X, X, 2, 2), {}, "grad_output and output must have shape"),
    (grad.max_unpool2d_backward, (X, np.zeros((1, 1, 3, 3), int)), {}, "indices must have the batch"),
]
BAD_TYPES = [
    (nn.max_pool2d, (X.astype(complex), 2), {}, "input must have one of the dtypes"),
    (nn.max_pool2d, (X, 2.5), {}, "kernel_size must be an integer"),
    (nn.lp_pool2d, (X, "2", 2), {}, "norm_type must be a number"),
    (nn.max_unpool2d, (X, np.zeros(X.shape, "int32"), 2), {}, "indices must have dtype int64"),
    (nn.fold, (np.ones((1, 8, 20), bool), (6, 5), 2), {}, "input must have one of the dtypes"),
    (
        grad.avg_pool2d_backward,
        (np.ones((1, 2, 3, 2), int), (1, 2, 6, 5), 2),
        {},
        "grad_output must have one of the dtypes",
    ),
    (nn.fractional_max_pool2d, (X, 2, 2), {"_random_samples": np.ones((1, 2, 2), int)}, "must be floating point"),
]


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "message", "error"),
    [(*case, ValueError) for case in BAD] + [(*case, TypeError) for case in BAD_TYPES],
    ids=[f"{case[0].__name__}-{i}" for i, case in enumerate([*BAD, *BAD_TYPES])],
)
def test_bad_input(function, args, kwargs, message, error):
    x = args[0][:, :, None] if function is nn.max_pool3d else args[0]
    with pytest.raises(error, match=message):
        function(x, *args[1:], **kwargs)


def test_workspace_is_small():
    x = np.ones((1, 64, 112, 112), "float32")
    for call in (
        (nn.max_pool2d, x, 3, 2, 1),
        (nn.adaptive_avg_pool2d, x, 7),
        (nn.unfold, x, 3),
        (nn.lp_pool2d, x, 2.0, 2),
    ):
        assert fastconv.plan(*call).workspace(1) < 4 << 20


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [1, 1.5, 2, 3])
def test_gradients_of_powers(engine, power, dtype):
    x = np.abs(np.random.default_rng(1).normal(size=(2, 3, 8, 10))).astype(dtype)
    x[0, 0, :4, :4] = 0
    y = nn.lp_pool2d(x, power, 2)
    g = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
    share = np.where(y == 0, 0, np.maximum(y.astype(float), 1e-30) ** (1 - power)) * g
    desired = np.repeat(np.repeat(share, 2, 2), 2, 3) * x.astype(float) ** (power - 1)
    for _ in range(3):
        actual = nn.grad.lp_pool2d_backward(g, x, y, power, 2)
        np.testing.assert_allclose(actual, desired, rtol=2e-5 if dtype == "float32" else 1e-12, atol=1e-30)
    last, shape = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (g, x, y)), (0, 2, 3, 1)
    actual = nn.grad.lp_pool2d_backward(*last, power, 2, data_format="NHWC")
    np.testing.assert_allclose(actual, desired.transpose(shape), rtol=2e-5 if dtype == "float32" else 1e-12, atol=1e-30)
