"""The reference itself: against SciPy, PyTorch where installed, and sums over NumPy's sliding windows.

The public functions are compared with SciPy and PyTorch on every engine, the reference among
them, in test_signal, test_ndimage and test_nn; here is what those do not reach.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from cases import LONG, integers, values
from hypothesis import given
from strategies import conv_problems
from test_boundary import NUMPY_MODES

from fastconv.problem import ConvProblem, PoolProblem
from fastconv.reference import c_cast, conv, pool
from fastconv.testing import assert_identical, assert_matches_reference


def padded(p: ConvProblem, x: np.ndarray, fill: complex) -> np.ndarray:
    """The part of the continued input that windows read."""
    for axis, rule in enumerate(p.boundary, start=2):
        i = axis - 2
        end = (p.out_shape[i] - 1) * p.stride[i] + (p.kernel_shape[i] - 1) * p.dilation[i] + 1 - p.pad[i]
        margins = [(0, 0)] * x.ndim
        margins[axis] = p.pad[i], max(end - p.in_shape[i], 0)
        kind = {"constant_values": fill, "mode": "constant"} if rule == "fill" else {"mode": NUMPY_MODES[rule]}
        x = np.pad(x, margins, **kind)
    return x


def by_windows(p: ConvProblem, x, w, bias, fill) -> np.ndarray:
    """The problem as sums over sliding windows; exact for small integers."""
    x = padded(p, x.astype(p.acc), fill)
    axes = tuple(range(2, x.ndim))
    spans = tuple((k - 1) * d + 1 for k, d in zip(p.kernel_shape, p.dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axes) if axes else x
    steps = tuple(slice(0, (n - 1) * s + 1, s) for n, s in zip(p.out_shape, p.stride, strict=True))
    taps = tuple(slice(None, None, d) for d in p.dilation)
    view = view[(slice(None), slice(None), *steps, *taps)]
    results = []
    for f in range(p.filters):
        first = f // (p.filters // p.groups) * w.shape[1]
        products = np.moveaxis(view[:, first : first + w.shape[1]], 1, 1 + p.ndim) * w[f].astype(p.acc)
        total = products.sum(axis=tuple(range(1 + p.ndim, products.ndim)), dtype=p.acc)
        results.append(total if bias is None else total + bias[f].astype(p.acc))
    return np.stack(results, 1).astype(p.out_dtype)


@given(conv_problems(largest_ndim=4))
def test_any_convolution(problem_and_arrays):
    problem, arrays = problem_and_arrays
    desired = by_windows(problem, arrays["x"], arrays["w"], arrays["bias"], arrays["fill"])
    conv(problem, **arrays)
    assert_identical(arrays["out"], desired)
    assert_matches_reference(problem, desired, arrays["x"], arrays["w"], arrays["bias"], arrays["fill"])


@pytest.mark.parametrize("dtype", LONG)
def test_longdouble(dtype):
    x, w = values((1, 1, 9), dtype)[..., ::-1], values((1, 1, 4), dtype, 1)
    p = ConvProblem((9,), (4,), (6,), dtype, dtype, dtype, dtype, (0,), ("fill",), (1,), (1,))
    out = np.empty((1, 1, 6), dtype)
    conv(p, x, w, out)
    desired = scipy.signal.correlate(x[0, 0], w[0, 0].conj(), "valid", "direct")
    np.testing.assert_allclose(out[0, 0], desired, rtol=1e-17)  # not a rounding of double precision


def test_bool_is_or_of_and():
    x, w = values((1, 1, 30), "bool"), np.array([[[True, False, True]]])
    p = ConvProblem((30,), (3,), (28,), "bool", "bool", "bool", "bool", (0,), ("fill",), (1,), (1,))
    out = np.empty((1, 1, 28), bool)
    conv(p, x, w, out)
    np.testing.assert_array_equal(out[0, 0], x[0, 0, :-2] | x[0, 0, 2:])


@pytest.mark.parametrize("acc, out", [("uint32", "int8"), ("uint32", "uint32"), ("uint64", "int64")])
def test_unsigned_sums_are_modulo(acc, out):
    x, w = values((1, 1, 40), out), values((1, 1, 7), out, 1)
    p = ConvProblem((40,), (7,), (34,), out, out, acc, out, (0,), ("fill",), (1,), (1,))
    result = np.empty((1, 1, 34), out)
    conv(p, x, w, result)
    bits = 8 * np.dtype(out).itemsize
    for i in range(34):
        total = sum(int(a) * int(b) for a, b in zip(x[0, 0, i : i + 7], w[0, 0], strict=True))
        assert int(result[0, 0, i]) % 2**bits == total % 2**bits


@pytest.mark.parametrize("out", ["uint8", "int32", "float64"])
@pytest.mark.parametrize("exact", ["order", "line", "symmetric", "antisymmetric"])
def test_orders_of_summation_are_those_of_scipy(exact, out):
    """Sums that cancel: each order of the taps rounds differently, so the truncated result tells."""
    x = (values((1, 1, 400), "float64") * 100).round(1)
    w = values((1, 1, 7), "float64", 1).round(1)
    w = {"symmetric": w + w[..., ::-1], "antisymmetric": w - w[..., ::-1]}.get(exact, w)
    p = ConvProblem(
        (400,), (7,), (400,), "float64", "float64", "float64", out, (3,), ("mirror",), (1,), (1,), exact=exact
    )
    result = np.empty((1, 1, 400), out)
    conv(p, x, w, result)
    oracle = scipy.ndimage.correlate if exact == "order" else scipy.ndimage.correlate1d
    assert_identical(result[0, 0], oracle(x[0, 0], w[0, 0], output=out, mode="mirror"))
    others = {"order", "line", "symmetric", "antisymmetric"} - {exact}
    if out == "float64":  # the data does tell orders apart
        conv(ConvProblem(**{**p.__dict__, "exact": min(others)}), x, w, again := np.empty_like(result))
        assert (again != result).any()


HUGE = [-1e25, -(2.0**64), -1e19, -(2.0**63), -3e9, -(2.0**31) - 1, -300.7, -1.5, -0.9, 0.9, 255.9, 300.0, 3e9, 2.0**32]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_casts_are_those_of_scipy(dtype):
    numbers = np.array([*HUGE, 2.0**53, 2.0**62, 2.0**63, 1e19, 2.0**64, 1e25, np.inf, -np.inf, np.nan])
    with np.errstate(invalid="ignore"):
        assert_identical(c_cast(numbers, dtype), scipy.ndimage.correlate(numbers, [1.0], output=np.dtype(dtype)))


def test_casts_that_numpy_defines():
    assert_identical(c_cast(np.array([-1, 300]), "uint8"), np.array([255, 44], "uint8"))
    assert_identical(c_cast(np.array([1.5, -2]), "float32"), np.array([1.5, -2], "float32"))


# -- pooling ------------------------------------------------------------------------------------


def test_pooling_of_one_and_three_axes():
    x = integers((2, 3, 6, 8, 10), "float32")
    blocks = x.reshape(2, 3, 3, 2, 4, 2, 5, 2)
    p = PoolProblem("max", (6, 8, 10), (2, 2, 2), (3, 4, 5), "float32", (0, 0, 0), (2, 2, 2), (1, 1, 1), 2, 3)
    out = np.empty((2, 3, 3, 4, 5), "float32")
    pool(p, x, None, out)
    np.testing.assert_array_equal(out, blocks.max((3, 5, 7)))
    pool(PoolProblem(**{**p.__dict__, "kind": "avg"}), x, None, out)
    np.testing.assert_array_equal(out, blocks.mean((3, 5, 7)))
    p = PoolProblem("max", (10,), (2,), (5,), "float32", (0,), (2,), (1,), 2, 3, True)
    out, where = np.empty((2, 3, 5), "float32"), np.empty((2, 3, 5), np.int64)
    pool(p, x[:, :, 0, 0], where, out)
    np.testing.assert_array_equal(where, x[:, :, 0, 0].reshape(2, 3, 5, 2).argmax(-1) + np.arange(0, 10, 2))


def test_pooling_without_a_tap_inside():
    p = PoolProblem("max", (1,), (2,), (1,), "int8", (1,), (1,), (3,), indices=True)
    out, where = np.empty((1, 1, 1), np.int8), np.empty((1, 1, 1), np.int64)
    pool(p, np.ones((1, 1, 1), np.int8), where, out)
    assert (out.item(), where.item()) == (-128, -1)
    average = PoolProblem(**{**p.__dict__, "kind": "avg", "count_include_pad": False, "dtype": "float32"})
    pool(average, np.ones((1, 1, 1), "f4"), None, result := np.empty((1, 1, 1), "f4"))
    assert result.item() == 0


# -- PyTorch ------------------------------------------------------------------------------------

if importlib.util.find_spec("torch") is not None:
    import torch
    import torch.nn.functional as F

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_convolution_against_torch(ndim):
        x, w, b = (
            values((2, 4, 9, 8, 7)[: ndim + 2], "float64"),
            values((6, 2, 3, 2, 2)[: ndim + 2], "float64", 1),
            np.arange(6.0),
        )
        options = {"stride": (2, 1, 2)[:ndim], "padding": (1, 2, 0)[:ndim], "dilation": (2, 3, 1)[:ndim], "groups": 2}
        function = getattr(F, f"conv{ndim}d")
        desired = function(*map(torch.from_numpy, (x, w, b)), **options).numpy()
        p = ConvProblem(
            x.shape[2:], w.shape[2:], desired.shape[2:], *["float64"] * 4, options["padding"], ("fill",) * ndim,
            options["stride"], options["dilation"], 2, 4, 6, 2, True,
        )  # fmt: skip
        assert_matches_reference(p, desired, x, w, b)

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_pooling_against_torch(ndim):
        x = integers((2, 3, 9, 8, 7)[: ndim + 2], "float32")
        x[:, :, 2] = np.nan
        kernel, stride, pad = (3, 2, 3)[:ndim], (2, 1, 3)[:ndim], (1, 0, 1)[:ndim]
        best, places = getattr(F, f"max_pool{ndim}d")(torch.from_numpy(x), kernel, stride, pad, return_indices=True)
        p = PoolProblem(
            "max", x.shape[2:], kernel, tuple(best.shape[2:]), "float32", pad, stride, (1,) * ndim, 2, 3, True
        )
        out, where = np.empty(best.shape, "float32"), np.empty(best.shape, np.int64)
        pool(p, x, where, out)
        np.testing.assert_array_equal(out, best.numpy())
        np.testing.assert_array_equal(where, places.numpy())
