"""fastconv.nn on every engine against SciPy and NumPy (tests/oracles.py), and PyTorch where it is installed."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import oracles
import pytest
from cases import COMPLEX, CONVS, FLOATS, INTEGERS, POOLS, Conv, Pool, integers, layouts, names, values
from hypothesis import given
from strategies import arrays_NCHW_and_OIHW, arrays_NCHW_and_window

from fastconv import nn
from fastconv.testing import assert_identical, assert_matches

HAS_TORCH = importlib.util.find_spec("torch") is not None
UNDILATED = [case for case in POOLS if case.dilation == 1]


def test_torch_is_there_where_it_should_be():
    """Without PyTorch its tests are not collected: a machine that is to run them says so."""
    assert HAS_TORCH or os.environ.get("FASTCONV_TEST_TORCH") != "1"


def scale_of(x: np.ndarray, w: np.ndarray, options: tuple, bias=None) -> np.ndarray:
    bias = None if bias is None else np.abs(bias).astype(float)
    return oracles.conv2d(np.abs(x).astype(float), np.abs(w).astype(float), bias, *options)


def nhwc(array: np.ndarray) -> np.ndarray:
    """A channels-last array in C order."""
    return np.ascontiguousarray(np.moveaxis(array, -3, -1))


# -- convolution --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CONVS, ids=names(CONVS))
def test_conv_shapes(engine, case: Conv):
    x, w, bias = integers(case.x, "float32"), integers(case.w, "float32", 1), integers(case.w[:1], "float32", 2)
    options = case[3:]
    for b in (None, bias):
        desired = oracles.conv2d(x, w, b, *options)
        assert_identical(nn.conv2d(x, w, b, *options), desired)
        last = nn.conv2d(nhwc(x), w, b, *options, data_format="NHWC")
        assert_identical(np.moveaxis(last, -1, -3), desired, "NHWC")


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS, *COMPLEX])
def test_conv_dtypes(engine, dtype):
    for case in (Conv("few", (2, 4, 9, 21), (6, 2, 3, 4), (2, 1), 1, 1, 2), Conv("many", (1, 8, 9, 11), (19, 8, 3, 3))):
        x, w, bias = values(case.x, dtype), values(case.w, dtype, 1), values(case.w[:1], dtype, 2)
        options, taps = case[3:], case.w[1] * case.w[2] * case.w[3] + 1
        with np.errstate(over="ignore"):
            desired = oracles.conv2d(x, w, bias, *options)
        assert_matches(nn.conv2d(x, w, bias, *options), desired, scale_of(x, w, options, bias), taps)


@pytest.mark.parametrize(
    "dtypes", [("uint8", "float32"), ("float32", "float64"), ("int32", "float32"), ("float32", "complex64")]
)
def test_conv_mixed_dtypes(engine, dtypes):
    x, w = values((1, 2, 9, 10), dtypes[0]), values((3, 2, 3, 2), dtypes[1], 1)
    assert_matches(nn.conv2d(x, w), oracles.conv2d(x, w), scale_of(x, w, ()), 12)
    bias = values((3,), dtypes[0], 2)
    assert_matches(nn.conv2d(x, w, bias), oracles.conv2d(x, w, bias), scale_of(x, w, (), bias), 13)


@pytest.mark.parametrize("filters", [2, 40])
@pytest.mark.parametrize("dtype", FLOATS)
def test_conv_nan_and_inf(engine, dtype, filters):
    x, w = values((2, 4, 20, 30), dtype), values((filters, 4, 3, 3), dtype, 1)
    x[0, 1, 2, 3], x[1, 0, 7, 7], x[1, 2, 19, 29], x[0, 0, 0, 0] = np.nan, np.inf, -np.inf, np.inf
    w[1, 2, 1, 1] = 0
    w[0, 0, 0, 0] = np.inf
    with np.errstate(invalid="ignore"):
        desired = oracles.conv2d(x, w, None, 1, 1)
    assert_matches(nn.conv2d(x, w, None, 1, 1), desired, 300, 36)


@pytest.mark.parametrize("filters", [3, 40])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "complex64"])
def test_conv_layouts(engine, dtype, filters):
    x, w, bias = integers((2, 4, 9, 20), dtype), integers((filters, 4, 3, 2), dtype, 1), integers((filters,), dtype, 2)
    desired = oracles.conv2d(x, w, bias, 1, 1)
    for layout, view in layouts(x).items():
        assert_identical(nn.conv2d(view, w, bias, 1, 1), desired, f"input {layout}")
    for layout, view in layouts(w).items():
        assert_identical(nn.conv2d(x, view, bias, 1, 1), desired, f"weight {layout}")
    for layout, view in layouts(bias).items():
        assert_identical(nn.conv2d(x, w, view, 1, 1), desired, f"bias {layout}")
    for layout, view in layouts(nhwc(x)).items():
        actual = nn.conv2d(view, w, bias, 1, 1, data_format="NHWC")
        assert_identical(actual, nhwc(desired), f"NHWC input {layout}")


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("filters", [3, 40])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_conv_out(engine, dtype, filters, data_format):
    x, w = integers((2, 4, 9, 20), dtype), integers((filters, 4, 3, 2), dtype, 1)
    desired = oracles.conv2d(x, w)
    if data_format == "NHWC":
        x, desired = nhwc(x), nhwc(desired)
    whole = np.empty((*desired.shape[:-1], 2 * desired.shape[-1]), dtype)
    for out in (np.empty_like(desired), whole[..., ::2], whole[::-1, ..., ::-2], np.empty_like(desired, order="F")):
        whole[...] = 77
        assert nn.conv2d(x, w, data_format=data_format, out=out) is out
        assert_identical(out, desired)
    assert (whole[..., ::2] == 77).all()


def test_conv_subclasses(engine):
    x, w = integers((1, 2, 9, 8), "float64"), integers((3, 2, 4, 3), "float64", 1)
    desired = oracles.conv2d(x, w)
    assert_identical(nn.conv2d(np.ma.array(x, mask=x > 3), w), desired)
    assert_identical(nn.conv2d(x.tolist(), w.tolist()), desired)


@pytest.mark.parametrize("filters", [5, 40])
def test_conv_threads_do_not_change_the_result(engine, filters):
    x, w = values((2, 8, 40, 50), "float32"), values((filters, 8, 3, 3), "float32", 1)
    desired = nn.conv2d(x, w, threads=1)
    for threads in (2, 3, 5):
        assert_identical(nn.conv2d(x, w, threads=threads), desired)


@pytest.mark.parametrize("kernel", [(1, 3), (3, 1), (2, 2), (1, 1)], ids=str)
def test_conv_of_one_channel_and_filter_is_activated(engine, kernel):
    """Kernels of one line are those of separable filters, which apply no activation."""
    x, w = values((2, 1, 9, 30), "float32"), values((1, 1, *kernel), "float32", 1)
    desired, size = np.maximum(oracles.conv2d(x, w), 0), w.size
    assert_matches(nn.conv2d(x, w, activation="relu"), desired, scale_of(x, w, ()), size)
    assert_matches(
        nn.conv2d(nhwc(x), w, activation="relu", data_format="NHWC"), nhwc(desired), nhwc(scale_of(x, w, ())), size
    )
    if kernel[0] == 1:
        assert_matches(
            nn.conv1d(x[:, :, 0], w[:, :, 0], activation="relu"), desired[:, :, 0], scale_of(x, w, ())[:, :, 0], size
        )


@given(arrays_NCHW_and_OIHW())
def test_any_conv(engine, problem):
    x, w, options = problem
    desired = oracles.conv2d(x, w, **options)
    assert_identical(nn.conv2d(x, w, **options), desired)
    assert_identical(nn.conv2d(nhwc(x), w, **options, data_format="NHWC"), nhwc(desired))


# -- pooling ------------------------------------------------------------------------------------


def check_max(x: np.ndarray, options: tuple | dict) -> None:
    """Maxima and positions, in both data formats."""
    args, kwargs = (options, {}) if isinstance(options, tuple) else ((), options)
    desired, where = oracles.max_pool2d(x, *args, **kwargs)
    assert_identical(nn.max_pool2d(x, *args, **kwargs), desired)
    best, places = nn.max_pool2d(x, *args, **kwargs, return_indices=True)
    assert_identical(best, desired)
    assert_identical(places, where)
    best, places = nn.max_pool2d(nhwc(x), *args, **kwargs, return_indices=True, data_format="NHWC")
    assert_identical(best, nhwc(desired))
    assert_identical(places, nhwc(where))
    assert_identical(nn.max_pool2d(nhwc(x), *args, **kwargs, data_format="NHWC"), nhwc(desired))


def check_avg(x: np.ndarray, **options) -> None:
    desired = oracles.avg_pool2d(x, **options)
    kernel = oracles.pair(options["kernel_size"])
    scale = np.abs(np.where(np.isfinite(x), x, 0)).max() * float(np.prod(kernel))
    assert_matches(nn.avg_pool2d(x, **options), desired, scale, kernel[0] * kernel[1])
    assert_matches(nn.avg_pool2d(nhwc(x), **options, data_format="NHWC"), nhwc(desired), scale, kernel[0] * kernel[1])


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("case", POOLS, ids=names(POOLS))
def test_max_pool_shapes(engine, case: Pool, dtype):
    check_max(integers(case.x, dtype), case[2:])  # small integers: many ties


@pytest.mark.parametrize("case", UNDILATED, ids=names(UNDILATED))
def test_avg_pool_shapes(engine, case: Pool):
    options = {"kernel_size": case.kernel, "stride": case.stride, "padding": case.padding, "ceil_mode": case.ceil_mode}
    for dtype in ("float32", "int64"):
        for include in (True, False):
            check_avg(integers(case.x, dtype), **options, count_include_pad=include)
        check_avg(integers(case.x, dtype), **options, divisor_override=3)


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
def test_pool_dtypes(engine, dtype):
    x = values((2, 3, 9, 40), dtype)
    for options in [(2,), (3, 2, 1), ((2, 3), 1)]:
        check_max(x, options)
    x = values((2, 3, 9, 40), dtype) if dtype[0] == "f" else integers((2, 3, 9, 40), dtype)
    for kernel, stride, padding in [(2, 2, 0), (3, 2, 1), ((2, 3), 1, 1)]:
        for include in (True, False):
            check_avg(x, kernel_size=kernel, stride=stride, padding=padding, count_include_pad=include)


@pytest.mark.parametrize("dtype", FLOATS)
def test_pool_nan_and_inf(engine, dtype):
    x = values((2, 3, 12, 40), dtype)
    x[0, 0, 3, 3:5], x[0, 1, 2, 2], x[1, 2, 11, 39], x[1, 0, 4, 4:6] = np.nan, np.inf, -np.inf, (np.inf, -np.inf)
    x[1, 1] = -np.inf
    x[0, 2, 5, :] = np.nan
    for options in [(2,), (3, 2, 1), (3, 1, 1), (2, 2, 0, 2), (3, 2, 1, 1, True)]:
        check_max(x, options)
    with np.errstate(invalid="ignore"):
        for kernel, stride, padding in [(2, 2, 0), (3, 2, 1), (3, 1, 1)]:
            check_avg(x, kernel_size=kernel, stride=stride, padding=padding)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16"])
def test_pool_layouts(engine, dtype):
    x = integers((2, 3, 9, 40), dtype)
    for options in [(2,), (3, 2, 1)]:
        desired, where = oracles.max_pool2d(x, *options)
        for layout, view in layouts(x).items():
            assert_identical(nn.max_pool2d(view, *options), desired, f"input {layout}")
            assert_identical(nn.max_pool2d(view, *options, return_indices=True)[1], where, f"input {layout}")
            assert_matches(nn.avg_pool2d(view, *options), oracles.avg_pool2d(x, *options), 99, 9, context=layout)
        for layout, view in layouts(nhwc(x)).items():
            assert_identical(nn.max_pool2d(view, *options, data_format="NHWC"), nhwc(desired), f"NHWC input {layout}")


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_pool_out(engine, data_format):
    x = integers((2, 4, 9, 20), "float32")
    for name in ("max_pool2d", "avg_pool2d"):
        function, oracle = getattr(nn, name), getattr(oracles, name)
        desired = oracle(x, 3, 2)[0] if name == "max_pool2d" else oracle(x, 3, 2)
        given_x, desired = (x, desired) if data_format == "NCHW" else (nhwc(x), nhwc(desired))
        whole = np.empty((*desired.shape[:-1], 2 * desired.shape[-1]), "float32")
        for out in (np.empty_like(desired), whole[..., ::2], whole[::-1, ..., ::-2], np.empty_like(desired, order="F")):
            whole[...] = 77
            assert function(given_x, 3, 2, data_format=data_format, out=out) is out
            assert_matches(out, desired, 99, 9)
        assert (whole[..., ::2] == 77).all()


def test_pool_threads_do_not_change_the_result(engine):
    x = values((2, 8, 90, 101), "float32")
    for options in [(2,), (3, 2, 1)]:
        best, places = nn.max_pool2d(x, *options, return_indices=True, threads=1)
        average = nn.avg_pool2d(x, *options, threads=1)
        for threads in (2, 3, 5):
            again = nn.max_pool2d(x, *options, return_indices=True, threads=threads)
            assert_identical(again[0], best)
            assert_identical(again[1], places)
            assert_identical(nn.avg_pool2d(x, *options, threads=threads), average)


@given(arrays_NCHW_and_window(dilated=True))
def test_any_max_pool(engine, problem):
    x, options = problem
    check_max(x, options)


@given(arrays_NCHW_and_window(dilated=False))
def test_any_avg_pool(engine, problem):
    x, options = problem
    for include in (True, False):
        check_avg(x, **options, count_include_pad=include)


# -- PyTorch ------------------------------------------------------------------------------------

if HAS_TORCH:
    import torch
    import torch.nn.functional as F

    TORCH_CONVS = [c for c in CONVS if c.name != "uneven padding" and (c.padding != "same" or c.stride == 1)]

    @pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
    @pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX])
    @pytest.mark.parametrize("case", TORCH_CONVS, ids=names(TORCH_CONVS))
    def test_conv_against_torch(engine, case: Conv, dtype):
        x, w, bias = values(case.x, dtype), values(case.w, dtype, 1), values(case.w[:1], dtype, 2)
        for b in (None, bias):
            tensors = [None if a is None else torch.from_numpy(a) for a in (x, w, b)]
            desired = F.conv2d(*tensors, *case[3:]).numpy()
            assert_matches(nn.conv2d(x, w, b, *case[3:]), desired, scale_of(x, w, case[3:], b), w[0].size + 1)

    @pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
    @pytest.mark.parametrize("case", POOLS, ids=names(POOLS))
    def test_max_pool_against_torch(engine, case: Pool, dtype):
        x = integers(case.x, dtype)
        if dtype[0] == "f":
            x[..., 1, :2], x[..., 2, 3], x[..., 3:, 4] = np.nan, np.inf, -np.inf
        for options in ({}, {"return_indices": True}):
            desired = F.max_pool2d(torch.from_numpy(x), *case[2:], **options)
            actual = nn.max_pool2d(x, *case[2:], **options)
            if options:
                assert_identical(actual[1], desired[1].numpy())
                actual, desired = actual[0], desired[0]
            assert_identical(actual, desired.numpy())

    @pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
    @pytest.mark.parametrize("case", UNDILATED, ids=names(UNDILATED))
    def test_avg_pool_against_torch(engine, case: Pool, dtype):
        x = integers(case.x, dtype)
        for include in (True, False):
            for divisor in (None, 3):
                options = (*case[2:5], case.ceil_mode, include, divisor)
                desired = F.avg_pool2d(torch.from_numpy(x), *options).numpy()
                assert_matches(nn.avg_pool2d(x, *options), desired, 99, 40)


def test_conv_does_not_stage_what_no_tap_reads(engine):
    image, weight = integers((1, 2, 5, 6), "float32"), integers((3, 2, 3, 3), "float32", 1)
    step = 10**5  # windows of 10**10 positions
    strided = nn.conv2d(image, weight, stride=step, padding=step)
    assert strided.shape == (1, 3, 3, 3)
    assert_identical(strided[0, :, 1, 1], np.einsum("chw,ochw->o", image[0, :, :3, :3], weight))
    dilated = nn.conv2d(image, weight, dilation=step, padding=step)
    assert_identical(dilated, np.einsum("nchw,oc->nohw", image, weight[:, :, 1, 1]))
