"""Adjoints and weight gradients of convolutions on every engine: against the reference, and finite differences."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from cases import COMPLEX, FLOATS, INTEGERS, integers, names, values

from fastconv import nn, reference, use
from fastconv.algorithms import pointwise_gradient
from fastconv.engines import cython_cpu
from fastconv.engines.level import SIMD
from fastconv.nn import grad
from fastconv.plan import execute
from fastconv.problem import ConvProblem, TransposedProblem, WeightGradientProblem, accumulator
from fastconv.testing import assert_identical, assert_matches


class Case(NamedTuple):
    """A convolution: sizes as (N, C, *size), kernel as (F, C/groups, *size); `surplus` inputs are read by no window."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)
    pads: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    boundary: str = "fill"


CASES = [
    Case("plain", (2, 3, 9, 11), (5, 3, 3, 4)),
    Case("one pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
    Case("1x1", (2, 19, 7, 6), (21, 19, 1, 1)),
    Case("1x1 stride 2", (2, 6, 7, 8), (17, 6, 1, 1), (2, 2)),
    Case("1x1 wide", (3, 48, 7, 9), (37, 48, 1, 1)),
    Case("1x1 large", (2, 80, 13, 41), (33, 80, 1, 1)),
    Case("1x1 wide, stride 2", (2, 32, 9, 11), (40, 32, 1, 1), (2, 2)),
    Case("padded", (1, 5, 8, 7), (35, 5, 3, 3), (1, 1), ((1, 1), (1, 1))),
    Case("stride 2", (2, 7, 13, 12), (9, 7, 3, 3), (2, 2), ((1, 1), (1, 1))),
    Case("stride 3 by 2", (1, 4, 14, 11), (6, 4, 5, 2), (3, 2), ((2, 0), (0, 1))),
    Case("stride over the kernel", (1, 2, 17, 19), (3, 2, 2, 3), (5, 4)),
    Case("dilated", (2, 3, 15, 13), (4, 3, 3, 3), (1, 1), ((2, 2), (3, 3)), (2, 3)),
    Case("stride and dilation", (1, 3, 19, 23), (4, 3, 3, 4), (2, 4), ((3, 1), (4, 4)), (3, 2)),
    Case("padding over the kernel", (1, 2, 4, 5), (3, 2, 2, 3), (1, 2), ((5, 4), (6, 3))),
    Case("groups", (2, 6, 9, 8), (4, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 2),
    Case("many groups", (1, 24, 8, 9), (48, 8, 3, 3), (2, 1), ((1, 1), (1, 1)), (1, 1), 3),
    Case("depthwise", (2, 5, 9, 8), (5, 1, 3, 3), (1, 2), ((1, 1), (1, 1)), (1, 1), 5),
    Case("depthwise, two filters each", (1, 3, 9, 8), (6, 1, 3, 2), (1, 1), ((1, 1), (1, 0)), (1, 1), 3),
    Case("wide", (2, 40, 6, 9), (70, 40, 3, 3), (1, 1), ((1, 1), (1, 1))),
    Case("narrow output", (3, 33, 3, 3), (34, 33, 3, 3)),
    Case("one axis", (2, 5, 31), (7, 5, 4), (2,), ((1, 2),), (3,)),
    Case("one axis, wide", (2, 20, 50), (33, 20, 3), (1,), ((1, 1),), (1,)),
    Case("three axes", (2, 3, 5, 7, 6), (4, 3, 2, 3, 3), (2, 1, 2), ((1, 0), (1, 1), (0, 2)), (1, 2, 1)),
    Case("three axes, groups", (1, 4, 4, 5, 6), (6, 2, 3, 1, 2), (1, 2, 1), ((1, 1), (0, 0), (1, 0)), (1, 1, 2), 2),
    *[
        Case(f"{rule} beyond", (2, 3, 9, 8), (4, 3, 3, 5), stride, ((1, 2), (3, 2)), (1, 1), 1, rule)
        for rule, stride in itertools.product(("reflect", "nearest", "mirror", "wrap"), ((1, 1), (2, 3)))
    ],
    Case("wrapped, one axis", (2, 4, 20), (6, 4, 3), (1,), ((2, 2),), (2,), 1, "wrap"),
    Case("mirror, three axes", (1, 2, 4, 5, 6), (3, 2, 3, 3, 3), (1, 2, 1), ((1, 1),) * 3, (1, 1, 1), 1, "mirror"),
]  # fmt: skip


def conv_of(case: Case, dtype: str) -> ConvProblem:
    axes = zip(case.x[2:], case.w[2:], case.stride, case.pads, case.dilation, strict=True)
    sizes = tuple((n + before + after - d * (k - 1) - 1) // s + 1 for n, k, s, (before, after), d in axes)
    return ConvProblem(
        in_shape=case.x[2:], kernel_shape=case.w[2:], out_shape=sizes, in_dtype=dtype, kernel_dtype=dtype,
        acc=accumulator(np.dtype(dtype)), out_dtype=dtype, pad=tuple(before for before, _ in case.pads),
        boundary=(case.boundary,) * len(sizes), stride=case.stride, dilation=case.dilation, batch=case.x[0],
        channels=case.x[1], filters=case.w[0], groups=case.groups,
    )  # fmt: skip


def run(problem, x, w, shape, dtype, **options):
    """The result of a problem, into memory that holds something else."""
    out = np.full(shape, 77, dtype)
    return execute(problem, x, w, out, **options)


def out_of(conv: ConvProblem) -> tuple[int, ...]:
    return (conv.batch, conv.filters, *conv.out_shape)


def last(array: np.ndarray) -> np.ndarray:
    """The same canonical array with its channels last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


# -- the reference ------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_reference_is_the_derivative(case: Case):
    """The loss <conv(x, w), g> is linear in each of x and w, so differences are exact but for rounding."""
    conv = conv_of(case, "float64")
    x, w, g = values(case.x, "float64"), values(case.w, "float64", 1), values(out_of(conv), "float64", 2)

    def loss(x: np.ndarray, w: np.ndarray) -> float:
        out = np.empty(out_of(conv))
        reference.conv(conv, x, w, out)
        return float((out * g).sum())

    of_x, of_w = np.empty_like(x), np.empty_like(w)
    reference.transposed(TransposedProblem(conv), g, w, of_x)
    reference.weight_gradient(WeightGradientProblem(conv), x, g, of_w)
    generator = np.random.default_rng(5)
    for array, gradient in ((x, of_x), (w, of_w)):
        for _ in range(6):
            at = tuple(int(generator.integers(n)) for n in array.shape)
            before = array[at]
            array[at] = before + 0.5
            above = loss(x, w)
            array[at] = before - 0.5
            below = loss(x, w)
            array[at] = before
            assert above - below == pytest.approx(gradient[at], rel=1e-9, abs=1e-9)


# -- engines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_transposed_shapes(engine, case: Case):
    conv = conv_of(case, "float32")
    g, w, bias = integers(out_of(conv), "float32"), integers(case.w, "float32", 1), integers(case.x[1:2], "float32", 2)
    for b in (None, bias):
        problem = TransposedProblem(conv, b is not None)
        desired = np.empty(case.x, "float32")
        reference.transposed(problem, g, w, desired, b)
        assert_identical(run(problem, g, w, case.x, "float32", bias=b), desired)
        problem = replace(problem, conv=replace(conv, channels_last=True))
        out = last(np.full(case.x, 77, "float32"))
        execute(problem, last(g), w, out, bias=b)
        assert_identical(np.ascontiguousarray(out), desired, "channels last")


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_weight_gradient_shapes(engine, case: Case):
    conv = conv_of(case, "float32")
    x, g = integers(case.x, "float32"), integers(out_of(conv), "float32", 1)
    desired = np.empty(case.w, "float32")
    reference.weight_gradient(WeightGradientProblem(conv), x, g, desired)
    assert_identical(run(WeightGradientProblem(conv), x, g, case.w, "float32"), desired)
    problem = WeightGradientProblem(replace(conv, channels_last=True))
    assert_identical(run(problem, last(x), last(g), case.w, "float32"), desired, "channels last")


@pytest.mark.parametrize("sizes", [(1, 40, 70, 17, 33), (3, 16, 96, 20, 21), (2, 96, 24, 31, 19)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_parts_of_the_pixels(sizes, stride, monkeypatch):
    """Gradients of kernels of one tap whose pixels are divided: the same for any number of threads, NaN in its own sums."""
    monkeypatch.setattr(pointwise_gradient, "PARTED_BYTES", 0)
    monkeypatch.setattr(pointwise_gradient, "PART_ELEMENTS", 1)
    monkeypatch.setattr(pointwise_gradient, "BLOCK_PIXELS", 64)
    n, c, f, height, width = sizes
    conv = conv_of(Case("", (n, c, height, width), (f, c, 1, 1), (stride, stride)), "float32")
    problem = WeightGradientProblem(replace(conv, channels_last=True))
    x, g = values((n, c, height, width), "float32"), values(out_of(conv), "float32", 1)
    x[0, 3, 0, 0], g[-1, 5, -1, -1] = np.nan, np.inf
    desired = np.empty((f, c, 1, 1), "float32")
    with np.errstate(invalid="ignore"):
        reference.weight_gradient(problem, x, g, desired)
    executor = pointwise_gradient.PointwiseGradient(problem, cython_cpu)
    results = [np.full(desired.shape, 77, "float32") for _ in range(4)] + [
        np.full((c, f, 1, 1), 77, "float32").swapaxes(0, 1)
    ]
    for threads, out in zip((1, 2, 3, 16, 2), results, strict=True):
        executor(last(x), last(g), out, None, 0, threads)
        assert_identical(np.ascontiguousarray(out), results[0], f"{threads} threads")
    count = n * int(np.prod(conv.out_shape))
    scale = float(np.nanmax(np.abs(x))) * float(np.abs(g[np.isfinite(g)]).max())
    assert_matches(results[0], desired, scale * count, count)


SOME = [case for case in CASES if case.name in ("plain", "stride 2", "groups", "wide", "one axis", "reflect beyond")]


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS, *COMPLEX])
@pytest.mark.parametrize("case", SOME, ids=names(SOME))
def test_gradient_dtypes(engine, case: Case, dtype):
    conv = conv_of(case, dtype)
    x, w, g = values(case.x, dtype), values(case.w, dtype, 1), values(out_of(conv), dtype, 2)
    bias = values(case.x[1:2], dtype, 3)
    of_x, of_w = np.empty(case.x, dtype), np.empty(case.w, dtype)
    problem = TransposedProblem(conv, True)
    with np.errstate(over="ignore"):
        reference.transposed(problem, g, w, of_x, bias)
        reference.weight_gradient(WeightGradientProblem(conv), x, g, of_w)
    scale = float(np.abs(g).astype(float).max()) * max(map(float, (np.abs(x).max(), np.abs(w).max())))
    count = case.w[0] * int(np.prod(case.w[2:]))
    assert_matches(run(problem, g, w, case.x, dtype, bias=bias), of_x, scale * count, count)
    count = conv.batch * int(np.prod(conv.out_shape))
    assert_matches(run(WeightGradientProblem(conv), x, g, case.w, dtype), of_w, scale * count, count)


# -- the public functions -------------------------------------------------------------------------


def test_names_of_padding_and_arrays_for_results(engine):
    x, w = integers((2, 4, 9, 10), "float64"), integers((6, 2, 3, 4), "float64", 1)
    for padding, stride in (("same", 2), ("valid", 1), (((1, 2), (0, 3)), (1, 2))):
        y = nn.conv2d(x, w, None, stride, padding, groups=2)
        g = integers(y.shape, "float64", 2)
        of_x = grad.conv2d_input(x.shape, w, g, stride, padding, groups=2)
        of_w = grad.conv2d_weight(x, w.shape, g, stride, padding, groups=2)
        assert (y * g).sum() == (x * of_x).sum() == (w * of_w).sum()  # linear in both; sums of small integers are exact
        out = np.empty((*x.shape[:-1], 2 * x.shape[-1]))[..., ::2]
        assert grad.conv2d_input(x.shape, w, g, stride, padding, groups=2, out=out, threads=2) is out
        assert_identical(np.ascontiguousarray(out), of_x)
        out = np.empty(w.shape[::-1]).T
        assert grad.conv2d_weight(x, w.shape, g, stride, padding, groups=2, out=out, threads=2) is out
        assert_identical(np.ascontiguousarray(out), of_w)
        out = np.empty(12)[::2]
        assert grad.conv2d_bias(g, out=out) is out
        assert_identical(np.ascontiguousarray(out), g.sum((0, 2, 3)))


BIASES = [(1, 1, 1), (3, 300, 1), (2, 5, 49), (1, 16, 4100), (2, 33, 63), (1, 3, 90_000), (1, 130, 700), (2, 1027, 17)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", BIASES, ids=str)
def test_bias_gradients(engine, shape, dtype):
    """Long sums err by a few units in the last place of the sum of magnitudes, and nothing is written beside them."""
    channels = shape[1]
    x = values(shape, dtype) + 1
    for last in (False, True):
        g = np.ascontiguousarray(x.swapaxes(1, 2)) if last else x
        memory = np.full(channels + 64, 77, dtype)
        for threads in (1, 2):
            memory[32:-32] = 0
            grad.conv1d_bias(g, data_format="NWC" if last else "NCW", out=memory[32:-32], threads=threads)
            error = np.abs(memory[32:-32] - x.sum((0, 2), dtype=np.longdouble)) / np.abs(x).sum((0, 2))
            assert error.max() <= 4 * np.finfo(dtype).eps
            assert (memory[:32] == 77).all() and (memory[-32:] == 77).all()


# Batch, channels, rows, columns, filters, strides: tiles and vectors that overlap their neighbours, blocks of pixels and of
# images, rows that are apart, planes of many pixels and of few.
POINTWISE = [
    (1, 40, 9, 5, 20, (1, 1)), (2, 7, 24, 24, 33, (1, 1)), (2, 24, 31, 33, 144, (1, 1)), (3, 17, 13, 14, 16, (2, 2)),
    (1, 72, 29, 40, 13, (1, 2)), (4, 130, 13, 15, 3, (1, 1)), (1, 5, 60, 40, 6, (1, 1)), (2, 16, 9, 8, 300, (3, 1)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", POINTWISE, ids=str)
def test_gradients_of_kernels_of_one_tap(engine, case, dtype):
    n, c, height, width, f, stride = case
    rows, cols = (-(-size // step) for size, step in zip((height, width), stride, strict=True))
    x, g = guarded((n, c, height, width), dtype), guarded((n, f, rows, cols), dtype, 1)
    desired = np.einsum("nchw,nfhw->fc", x[:, :, :: stride[0], :: stride[1]], g, dtype=np.float64)[..., None, None]
    for last, threads in itertools.product((False, True), (1, 2, 5)):
        of_x, of_g = (guarded_last(a) if last else a for a in (x, g))
        memory = np.full(f * c + 64, 77, dtype)
        out = memory[32:-32].reshape(f, c, 1, 1)
        form = "NHWC" if last else "NCHW"
        grad.conv2d_weight(of_x, out.shape, of_g, stride=stride, data_format=form, out=out, threads=threads)
        assert_identical(out, desired.astype(dtype))
        assert (memory[:32] == 77).all() and (memory[-32:] == 77).all()


# Batch, channels, rows, columns, filters, padding: odd and even sizes, several blocks, several images in one.
POINTS = [
    (1, 40, 15, 13, 33, ((1, 1), (1, 1))), (3, 32, 8, 7, 70, ((1, 1), (0, 2))), (1, 65, 40, 31, 32, ((0, 0), (2, 1))),
    (2, 35, 9, 130, 48, ((1, 1), (1, 1))),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", POINTS, ids=str)
@pytest.mark.parametrize("precision", ["default", "fast"])
def test_gradients_of_3x3_kernels_by_points(engine, case, dtype, precision):
    """As the direct sums: NaN and infinity at the same taps, "default" exact for whole numbers; nothing beside is written."""
    n, c, height, width, f, pads = case
    rows, cols = (size + sum(pad) - 2 for size, pad in zip((height, width), pads, strict=True))
    x, g = guarded((n, c, height, width), dtype), guarded((n, f, rows, cols), dtype, 1)
    for number, last in itertools.product((1, np.nan, np.inf), (False, True)):
        x[0, 3, height // 2, 0] = g[-1, 5, 0, cols // 2] = number
        of_x, of_g = (guarded_last(a) if last else a for a in (x, g))
        options = {"padding": pads, "data_format": "NHWC" if last else "NCHW"}
        memory = np.full(f * c * 9 + 64, 77, dtype)
        out = memory[32:-32].reshape(f, c, 3, 3)
        with use(precision=precision):
            grad.conv2d_weight(of_x, out.shape, of_g, out=out, **options)
        with use(precision="strict"):
            desired = grad.conv2d_weight(of_x, out.shape, of_g, **options)
        if precision == "fast":
            np.testing.assert_allclose(out, desired, rtol=0, atol=0.02 if dtype == "float32" else 1e-10)
        else:
            assert_identical(out, desired)
        assert (memory[:32] == 77).all() and (memory[-32:] == 77).all()


def guarded(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Whole numbers, between others that are NaN."""
    memory = np.full(np.prod(shape) + 128, np.nan, dtype)
    array = memory[64:-64].reshape(shape)
    array[...] = integers(shape, dtype, seed)
    return array


def guarded_last(array: np.ndarray) -> np.ndarray:
    turned = guarded((array.shape[0], *array.shape[2:], array.shape[1]), array.dtype.name)
    turned[...] = np.moveaxis(array, 1, -1)
    return turned


@pytest.mark.parametrize("channels, filters, size, threads", [(96, 130, (11, 12), 3), (160, 130, (22, 15), 4)])
def test_units_of_one_tap_stay_in_their_scratch_memory(engine, channels, filters, size, threads):
    """The last unit has fewer filters, and tiles of more rows than the others'."""
    x, g = values((1, *size, channels), "float32"), values((1, *size, filters), "float32", 1)
    desired = (g.reshape(-1, filters).T.astype("f8") @ x.reshape(-1, channels))[..., None, None]
    for _ in range(1 if engine == "reference" else 30):
        found = grad.conv2d_weight(x, (filters, channels, 1, 1), g, data_format="NHWC", threads=threads)
        np.testing.assert_allclose(found, desired, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision, most", [("default", 4e-7 if SIMD == "v2" else 2.2e-7), ("fast", 2.5e-6)])
@pytest.mark.parametrize("batch, channels, size", [(1, 64, 56), (2, 64, 28), (8, 64, 14)])
def test_errors_of_gradients_by_points(batch, channels, size, precision, most):
    """Root mean square: 1.4e-7 to 2e-7 at 16 points, 1e-6 to 2e-6 at 36 (PyTorch 0.9e-7 to 3e-6)."""
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((batch, channels, size, size)) for _ in range(2))
    shape = channels, channels, 3, 3
    expected = grad.conv2d_weight(x, shape, g, padding=1)
    with use(precision=precision, engine="cython"):
        found = grad.conv2d_weight(x.astype("float32"), shape, g.astype("float32"), padding=1)
    assert np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)) < most


@pytest.mark.parametrize("cpu", ["cython", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size, kernel, stride", [((40, 41), 3, (2, 2)), ((9, 12), 2, (1, 2)), ((7, 5), 4, (3, 2))])
def test_strided_planes_are_turned_from_pixels(cpu, size, kernel, stride, dtype):
    """By phases that write every other column; more than are turned at once, into memory of the caller's, too."""
    for groups in (1, 2):
        x, w = integers((9, 35 * groups, *size), dtype), integers((35 * groups, 33, kernel, kernel), dtype, 1)
        bias = integers((33 * groups,), dtype, 2)
        kwargs = {"stride": stride, "padding": 1, "groups": groups, "activation": "relu"}
        with use(engine="reference"):
            expected = nn.conv_transpose2d(x[-2:], w, bias, **kwargs)
        with use(engine=cpu):
            found = nn.conv_transpose2d(x, w, bias, **kwargs, threads=3)
            memory = np.empty((*found.shape[:3], found.shape[3] + 3), dtype)[..., :-3]
            assert nn.conv_transpose2d(x, w, bias, **kwargs, out=memory) is memory
        assert_identical(found[-2:], expected)
        assert_identical(memory, found)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels, kernel", [(5, 3), (64, 3), (576, 1), (40, 1)])
def test_weight_gradients_do_not_depend_on_the_threads(engine, channels, kernel, layout):
    x, g = values((2, channels, 42, 45), "float32"), values((2, 40, 43 - kernel, 46 - kernel), "float32", 1)
    if layout == "NHWC":
        x, g = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, g))
    shape = 40, channels, kernel, kernel
    alone = grad.conv2d_weight(x, shape, g, threads=1, data_format=layout)
    for threads in (2, 3, 5):
        assert_identical(grad.conv2d_weight(x, shape, g, threads=threads, data_format=layout), alone)


BAD = [
    (lambda: grad.conv2d_input((1, 2, 5, 5), np.ones((3, 2, 3, 3)), np.ones((1, 3, 3, 4))), ValueError, "grad_output"),
    (lambda: grad.conv2d_input((1, 2, 5), np.ones((3, 2, 3, 3)), np.ones((1, 3, 3, 3))), ValueError, "weight"),
    (lambda: grad.conv2d_input(5, np.ones((3, 2, 3, 3)), np.ones((1, 3, 3, 3))), ValueError, "input_size"),
    (lambda: grad.conv2d_input((1, 2, 0, 5), np.ones((3, 2, 3, 3)), np.ones((1, 3, 3, 3))), ValueError, "input_size"),
    (lambda: grad.conv2d_weight(np.ones((1, 2, 5, 5)), (3, 2, 3), np.ones((1, 3, 3, 3))), ValueError, "weight_size"),
    (lambda: grad.conv2d_weight(np.ones((1, 2, 5, 5)), (3, 2, 0, 3), np.ones((1, 3, 3, 3))), ValueError, "weight_size"),
    (lambda: grad.conv2d_weight(np.ones((1, 2, 5, 5), bool), (3, 2, 3, 3), np.ones((1, 3, 3, 3), bool)), TypeError, "bool"),
    (lambda: grad.conv2d_bias(np.ones((3, 3))), ValueError, "grad_output"),
    (lambda: nn.conv_transpose1d(np.ones((2, 4)), np.ones((3, 2, 3))), ValueError, "weight"),
    (lambda: nn.conv_transpose1d(np.ones((2, 4)), np.ones((2, 2, 3)), padding="same"), ValueError, "padding"),
    (lambda: nn.conv_transpose1d(np.ones((2, 4)), np.ones((2, 2, 3)), output_padding=1), ValueError, "output_padding"),
    (lambda: nn.conv_transpose1d(np.ones((2, 4)), np.ones((2, 2, 3)), padding=3), ValueError, "padding"),
    (lambda: nn.conv_transpose1d(np.ones((2, 4)), np.ones((2, 2, 3)), np.ones(3)), ValueError, "bias"),
    (lambda: nn.conv_transpose1d(np.ones((2, 4), int), np.ones((2, 2, 3), int), activation="relu"), TypeError, "activation"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, words", BAD, ids=range(len(BAD)))
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
