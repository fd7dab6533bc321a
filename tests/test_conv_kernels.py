"""Convolution with many filters: its kernels on both CPU engines against the naive definition, and prepared weights."""

from __future__ import annotations

import ctypes
import mmap
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import prod

import conftest
import numpy as np
import pytest

import fastconv
from fastconv import costs, reference
from fastconv.algorithms import transposed, weights, winograd
from fastconv.algorithms.conv import Conv
from fastconv.algorithms.naive import Naive
from fastconv.engines import cython_cpu, numba_cpu
from fastconv.nn import conv1d, conv2d, conv3d
from fastconv.problem import ConvProblem, TransposedProblem, accumulator
from fastconv.testing import assert_identical, assert_matches

# Those of the declared engines that have the kernels.
KERNELS = {name: module for name, module in (("cython", cython_cpu), ("numba", numba_cpu)) if name in conftest.ENGINES}
ENGINES = pytest.mark.parametrize("kernels", KERNELS.values(), ids=KERNELS.keys())
# As the executor wants it, lanes of filters, lanes of pixels.
LANES = (None, True, False)
DTYPES = ["float32"] * 4 + ["float64", "int8", "uint8", "int32", "int64", "complex64", "complex128"]
# Most wanted where they must not be: 6 and 14 rows of tiles, 16 and 32 lanes, each less or more by one.
CHANNELS, FILTERS = (1, 2, 3, 5, 8, 16, 17, 33, 64), (1, 2, 3, 6, 7, 13, 16, 17, 24, 32, 33, 40, 64, 100)


def random_problem(rng: np.random.Generator) -> ConvProblem:
    """Any convolution of one to three axes."""
    axes, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 1, 2, 3]))

    def sizes(of: list[int]) -> tuple[int, ...]:
        return tuple(int(v) for v in rng.choice(of, axes))

    kernel = (1,) * axes if rng.random() < 0.3 else sizes([1, 1, 2, 3, 4, 5])
    stride, dilation = sizes([1, 1, 1, 2, 3]), sizes([1, 1, 1, 2, 3, 20] if axes < 3 else [1, 2])
    pad = sizes([0, 1, 2]) if rng.random() < 0.6 else (0,) * axes
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    room = {1: 300, 2: 30, 3: 9}[axes]
    shape = tuple(max(1, s - 2 * p) + int(rng.integers(room)) for s, p in zip(spans, pad, strict=True))
    out = tuple((n + 2 * p - s) // t + 1 for n, p, s, t in zip(shape, pad, spans, stride, strict=True))
    rules = ["fill", "fill", "reflect", "nearest", "mirror", "wrap"] if rng.random() < 0.3 else ["fill"]
    dtype = str(rng.choice(DTYPES))
    activation, slope = ("leaky_relu", 0.25) if dtype[0] == "f" and rng.random() < 0.3 else ("", 0.0)
    return ConvProblem(
        in_shape=shape, kernel_shape=kernel, out_shape=out, in_dtype=dtype, kernel_dtype=dtype,
        acc=accumulator(np.dtype(dtype)), out_dtype=dtype, pad=pad,
        boundary=tuple(str(rule) for rule in rng.choice(rules, axes)), stride=stride, dilation=dilation,
        batch=int(rng.choice([1, 1, 2, 3])), channels=groups * int(rng.choice(CHANNELS)),
        filters=groups * int(rng.choice(FILTERS)), groups=groups, bias=bool(rng.integers(2)),
        channels_last=bool(rng.integers(2)), activation=activation, slope=slope,
    )  # fmt: skip


def random_array(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, channels_last: bool) -> np.ndarray:
    """Small integers, which add up exactly, as canonical arrays lie: perhaps strided or reversed."""
    values = rng.integers(0 if dtype[0] == "u" else -5, 6, shape)
    x = (values + 1j * rng.integers(-5, 6, shape) if dtype[0] == "c" else values).astype(dtype)
    if channels_last:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    layout = rng.integers(6)
    if layout == 0:
        every_other = tuple(slice(0, None, 2) for _ in shape)
        spacious = np.zeros([2 * n for n in shape], dtype)
        spacious[every_other] = x
        return spacious[every_other]
    return np.ascontiguousarray(x[..., ::-1])[..., ::-1] if layout == 1 else x


def naive(problem: ConvProblem, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, fill: int) -> np.ndarray:
    desired = np.empty((problem.batch, problem.filters, *problem.out_shape), problem.out_dtype)
    Naive(problem, reference)(x, w, desired, bias, fill, 1)
    return desired


def all_shapes(p: ConvProblem) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Of input, weights and output."""
    weights = (p.filters, p.channels // p.groups, *p.kernel_shape)
    return (p.batch, p.channels, *p.in_shape), weights, (p.batch, p.filters, *p.out_shape)


@pytest.fixture(autouse=True)
def all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the work."""
    monkeypatch.setattr(costs, "threads_worth_using", lambda flops, nbytes, available: available)


@ENGINES
@pytest.mark.parametrize("seed", range(8))
def test_any_problem(kernels, seed, monkeypatch):
    if seed >= 6:  # all results are written past the caches where the kernel can do it
        monkeypatch.setattr("fastconv.algorithms.conv.STREAM_BEYOND", 0)
    elif seed >= 4:  # blocks of few channels, whose sums are kept from one to the next
        monkeypatch.setattr("fastconv.algorithms.boxes.BLOCK_BYTES", 4096)
    for case in range(40):
        rng = np.random.default_rng([seed, case])
        p = random_problem(rng)
        x_shape, w_shape, out_shape = all_shapes(p)
        x = random_array(rng, x_shape, p.in_dtype, p.channels_last)
        w, out = (
            random_array(rng, w_shape, p.in_dtype, False),
            random_array(rng, out_shape, p.in_dtype, p.channels_last),
        )
        bias = random_array(rng, (p.filters, 1), p.in_dtype, False)[:, 0] if p.bias else None
        fill, threads = int(rng.choice([0, 0, 2])), int(rng.choice([1, 3]))
        Conv(p, kernels, LANES[case % 3])(x, w, out, bias, fill, threads)
        assert_identical(out, naive(p, x, w, bias, fill), str(p))


@ENGINES
@pytest.mark.parametrize("batch", [1, 2, 4, 9])
@pytest.mark.parametrize("beyond", [0, 1 << 30])
def test_many_weights(kernels, batch, beyond, monkeypatch):
    """Rows of weights in several parts, several small images a unit, and results that are written past the caches."""
    monkeypatch.setattr("fastconv.algorithms.conv.STREAM_BEYOND", beyond)
    shapes = ((600, 64, 3, 2, 13), (1100, 40, 1, 1, 7), (1100, 96, 1, 2, 13), (2100, 33, 1, 1, 3), (130, 48, 3, 1, 7))
    for case, (channels, filters, kernel, stride, size) in enumerate(shapes):
        rng, pad = np.random.default_rng(case), kernel // 2
        p = ConvProblem(
            in_shape=(size, size), kernel_shape=(kernel,) * 2, out_shape=((size + 2 * pad - kernel) // stride + 1,) * 2,
            in_dtype="float32", kernel_dtype="float32", acc="float32", out_dtype="float32", pad=(pad, pad), bias=True,
            boundary=("fill",) * 2, stride=(stride,) * 2, dilation=(1, 1), batch=batch, channels=channels, filters=filters,
            groups=1, channels_last=True, activation="relu" if case == 4 else "",
        )  # fmt: skip
        x_shape, w_shape, out_shape = all_shapes(p)
        x, w = random_array(rng, x_shape, "float32", True), random_array(rng, w_shape, "float32", False)
        bias = random_array(rng, (filters, 1), "float32", False)[:, 0]
        for offset in (0, 4):  # lines of results begin where those of memory do, or not
            memory = np.zeros(prod(out_shape) + 32, "float32")
            begin = -memory.ctypes.data % 64 // 4 + offset
            n, f, h, width = out_shape
            out = np.moveaxis(memory[begin : begin + prod(out_shape)].reshape(n, h, width, f), -1, 1)
            Conv(p, kernels, True)(x, w, out, bias, 0, 1 + case % 2)
            assert_identical(out, naive(p, x, w, bias, 0), str(p))
            assert not memory[:begin].any() and not memory[begin + prod(out_shape) :].any()


@ENGINES
@pytest.mark.parametrize("channels_last", [False, True])
def test_nan_and_inf_stay_where_they_belong(kernels, channels_last):
    for case in range(12):
        rng = np.random.default_rng(case)
        p = replace(random_problem(rng), channels_last=channels_last, activation="", slope=0.0)
        p = replace(p, in_dtype="float32", kernel_dtype="float32", acc="float32", out_dtype="float32")
        x, w, out = (random_array(rng, shape, "float32", channels_last) for shape in all_shapes(p))
        x[rng.random(x.shape) < 0.01], x[rng.random(x.shape) < 0.01] = np.nan, -np.inf
        w.flat[0], w.flat[-1] = np.inf, 0
        Conv(p, kernels, LANES[case % 3])(x, w, out, None, 0, 2)
        with np.errstate(invalid="ignore"):
            desired = naive(replace(p, bias=False), x, w, None, 0)
        assert_matches(out, desired, 25.0 * w[0].size, w[0].size)


@ENGINES
@pytest.mark.parametrize("filter_lanes", [True, False])
@pytest.mark.parametrize(
    "channels, filters, kernel, size, stride",
    [(1025, 100, 1, 15, 2), (65, 64, 5, 7, 1), (130, 96, 1, 14, 2), (3, 32, 7, 20, 2)],
)
def test_threads_do_not_change_the_result(kernels, channels, filters, kernel, size, stride, filter_lanes):
    """Weights in parts where units have many filters, windows of few products where units have many pixels."""
    rng, dtypes = np.random.default_rng(1), dict.fromkeys(("in_dtype", "kernel_dtype", "acc", "out_dtype"), "float32")
    for channels_last in (False, True):
        p = ConvProblem(
            in_shape=(size, size), kernel_shape=(kernel,) * 2, out_shape=((size - kernel) // stride + 1,) * 2, pad=(0, 0),
            boundary=("fill",) * 2, stride=(stride,) * 2, dilation=(1, 1), channels=channels, filters=filters,
            channels_last=channels_last, **dtypes,
        )  # fmt: skip
        x, w, out = (rng.standard_normal(shape).astype("f4") for shape in all_shapes(p))
        if channels_last:
            x, out = (np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in (x, out))
        results = []
        for threads in (1, 2, 3, 5, 16, 64):
            Conv(p, kernels, filter_lanes)(x, w, out, None, 0, threads)
            results.append(out.copy())
        for result in results:
            assert_identical(result, results[0], str(p))


@ENGINES
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", ("elu", 0.5)])
def test_activations(kernels, data_format, activation):
    """Sums that are stored where they belong, and those that go by way of a tile."""
    rng = np.random.default_rng(1)
    for kernel, padding in ((1, 0), (3, 1)):
        x, w = rng.standard_normal((2, 16, 9, 11)), rng.standard_normal((37, 16, kernel, kernel))
        x, w = x.astype("f4"), w.astype("f4")
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if data_format == "NHWC" else x
        options = {"padding": padding, "data_format": data_format, "activation": activation}
        with fastconv.use(engine="reference"):
            desired = conv2d(x, w, **options)
        with fastconv.use(engine=next(name for name, module in KERNELS.items() if module is kernels)):
            assert_matches(conv2d(x, w, **options), desired, 16.0 * kernel**2 * 4, 16 * kernel**2)


@ENGINES
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("images", [1, 3])
def test_adjoints(kernels, channels_last, packed, images, monkeypatch):
    """Phases whose weights are packed at once, or transposed; image by image, or all images together."""
    monkeypatch.setattr(transposed, "prefers_filters", lambda *args: packed)
    monkeypatch.setattr(transposed, "_together", lambda conv: images)
    for case, (channels, filters, kernel, groups) in enumerate(
        ((37, 8, 3, 1), (20, 33, 5, 1), (48, 36, 1, 3), (64, 7, 2, 1))
    ):
        rng, pad = np.random.default_rng(case), kernel // 2
        p = ConvProblem(
            in_shape=(9, 22), kernel_shape=(kernel, kernel), out_shape=((9 + 2 * pad - kernel) // 2 + 1, 23 + 2 * pad - kernel),
            in_dtype="float32", kernel_dtype="float32", acc="float32", out_dtype="float32", pad=(pad, pad), stride=(2, 1),
            boundary=("fill", "fill"), dilation=(1, 1), batch=3, channels=groups * channels, filters=groups * filters,
            groups=groups, channels_last=channels_last,
        )  # fmt: skip
        out, w, x = (
            random_array(rng, shape, "float32", channels_last and i != 1) for i, shape in enumerate(all_shapes(p))
        )
        bias = random_array(rng, (p.channels, 1), "float32", False)[:, 0]
        problem, desired = TransposedProblem(p, bias=True, activation="relu"), np.empty(out.shape, "float32")
        executor = transposed.Transposed(problem, kernels)
        assert executor.packs == packed
        executor(x, np.ascontiguousarray(w), out, bias, 0, 2)
        reference.transposed(problem, x, w, desired, bias)
        assert_identical(out, desired, str(p))


@ENGINES
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("filters", [16, 40, 300])
@pytest.mark.parametrize("channels", [16, 33, 80, 208])
def test_adjoints_of_one_tap(kernels, channels_last, filters, channels):
    """Weights of one tap are read where they lie, as rows of channels, where vectors of these leave none over."""
    for size, batch, stride in (((7, 7), 1, 1), ((14, 13), 1, 1), ((5, 9), 3, 2)):
        rng = np.random.default_rng(filters + channels)
        p = ConvProblem(
            in_shape=tuple((n - 1) * stride + 1 for n in size), kernel_shape=(1, 1), out_shape=size, in_dtype="float32",
            kernel_dtype="float32", acc="float32", out_dtype="float32", pad=(0, 0), stride=(stride, stride),
            boundary=("fill", "fill"), dilation=(1, 1), batch=batch, channels=channels, filters=filters,
            channels_last=channels_last,
        )  # fmt: skip
        out, w, x = (
            random_array(rng, shape, "float32", channels_last and i != 1) for i, shape in enumerate(all_shapes(p))
        )
        problem, desired = TransposedProblem(p), np.empty(out.shape, "float32")
        executor = transposed.Transposed(problem, kernels)
        if channels % 16 == 0 and channels_last:
            assert (executor.reader is not None) == (kernels is cython_cpu)
        x[0, 3, 1, 2] = np.inf
        with np.errstate(invalid="ignore"):
            reference.transposed(problem, x, w, desired)
        for threads in (1, 2, 3):
            out[...] = 77
            executor(x, np.ascontiguousarray(w), out, None, 0, threads)
            assert_identical(np.ascontiguousarray(out), desired, f"{p}, {threads} threads")


class Guarded:
    """Memory between pages that must not be touched."""

    def __init__(self, nbytes: int, at_end: bool):
        libc = ctypes.CDLL(None, use_errno=True)
        pages = -(-nbytes // mmap.PAGESIZE)
        self.memory = mmap.mmap(-1, (pages + 2) * mmap.PAGESIZE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for page in (0, pages + 1):
            assert libc.mprotect(ctypes.c_void_p(base + page * mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
        first = mmap.PAGESIZE + (pages * mmap.PAGESIZE - nbytes if at_end else 0)
        self.bytes = np.frombuffer(self.memory, np.uint8, nbytes, first)


@ENGINES
def test_nothing_beyond_the_arrays_is_touched(kernels):
    """A kernel that reads or writes beyond an array ends the process."""
    kept = []
    for case in range(60):
        rng = np.random.default_rng([7, case])
        p = random_problem(rng)

        def guarded(shape: tuple[int, ...], last: bool, dtype: str = p.in_dtype, rng=rng) -> np.ndarray:
            lying = (shape[0], *shape[2:], shape[1]) if last else shape
            kept.append(Guarded(int(np.prod(lying)) * np.dtype(dtype).itemsize, bool(rng.integers(2))))
            array = kept[-1].bytes.view(dtype).reshape(lying)
            array = np.moveaxis(array, -1, 1) if last else array
            array[...] = random_array(rng, shape, dtype, False)
            return array

        x_shape, w_shape, out_shape = all_shapes(p)
        x, w = guarded(x_shape, p.channels_last), guarded(w_shape, False)
        out = guarded(out_shape, p.channels_last)
        Conv(p, kernels, LANES[case % 3])(x, w, out, None, 0, int(rng.choice([1, 3])))
        assert_identical(out, naive(replace(p, bias=False), x, w, None, 0), str(p))


# -- prepared weights ---------------------------------------------------------------------------

PREPARED = [
    (conv1d, (2, 40, 37), (50, 40, 5), "NCW"), (conv1d, (2, 37, 40), (50, 40, 5), "NWC"),
    (conv2d, (1, 24, 9, 11), (40, 24, 3, 3), "NCHW"), (conv2d, (1, 9, 11, 24), (40, 24, 3, 3), "NHWC"),
    (conv2d, (5, 5, 64), (96, 64, 3, 3), "NHWC"),
    (conv3d, (1, 5, 6, 7, 8), (20, 8, 2, 3, 3), "NDHWC"),
    (conv2d, (1, 9, 11, 4), (4, 1, 3, 3), "NHWC"),  # other kernels
]  # fmt: skip


@pytest.mark.parametrize(("function", "x_shape", "w_shape", "data_format"), PREPARED)
def test_prepared_weights(engine, function, x_shape, w_shape, data_format):
    rng = np.random.default_rng(3)
    x, w, bias = (rng.integers(-9, 10, shape).astype("f4") for shape in (x_shape, w_shape, w_shape[:1]))
    channels = x_shape[-1] if data_format[-1] == "C" else x_shape[1]
    options = {"data_format": data_format, "groups": channels // w_shape[1]}
    prepared = fastconv.plan(function, x, w, bias, **options).prepare(w)

    def check(weights: np.ndarray) -> None:
        for _ in range(3):  # made, recorded, replayed
            assert_identical(prepared(x), function(x, weights, bias, **options))
        other = x[::-1].copy()
        assert_identical(prepared(other), function(other, weights, bias, **options))
        out = np.empty_like(prepared(x))
        assert prepared(x, out=out) is out
        assert_identical(out, function(x, weights, bias, **options))

    check(w)
    w[-1, -1, -1] += 1  # altered in place
    check(w)
    assert_identical(prepared(x, w + 2), function(x, w + 2, bias, **options))
    check(w + 2)
    constant = w * 3
    constant.flags.writeable = False
    assert_identical(prepared(x, constant), function(x, constant, bias, **options))
    check(constant)
    assert prepared.weight is constant


@pytest.mark.parametrize("packing, precision", [(weights.Packing, "strict"), (winograd.Tiles, "default")])
def test_prepared_weights_are_packed_once(packing, precision, monkeypatch):
    packed = []
    name = "weights" if packing is weights.Packing else "_packed"
    original = getattr(packing, name)
    monkeypatch.setattr(packing, name, lambda *args: packed.append(1) or original(*args))
    x, w = np.ones((1, 20, 20, 32), "f4"), np.ones((64, 32, 3, 3), "f4")
    with fastconv.use(precision=precision):
        prepared = fastconv.plan(conv2d, x, w, data_format="NHWC").prepare(w)
        for _ in range(5):
            prepared(x)
        assert len(packed) == 1
        w *= 2
        assert_identical(prepared(x), conv2d(x, w, data_format="NHWC"))
        prepared(x)
        assert len(packed) <= 3  # the plain call, once recorded, too


def test_prepared_weights_of_several_threads():
    """Each call takes the weights that it brings, whoever brings others meanwhile."""
    x, weights = np.ones((1, 1, 4, 4), "f4"), [np.full((1, 1, 2, 2), i + 1, "f4") for i in range(8)]
    prepared = fastconv.plan(conv2d, x, weights[0]).prepare(weights[0])

    def sums(i: int) -> set[float]:
        return {float(prepared(x, weights[i])[0, 0, 0, 0]) for _ in range(1500)}

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(sums, range(8))) == [{4.0 * (i + 1)} for i in range(8)]
    finally:
        sys.setswitchinterval(before)


def test_prepared_weights_refuse_what_is_not_planned():
    x, w = np.ones((1, 4, 9, 9), "f4"), np.ones((8, 4, 3, 3), "f4")
    planned = fastconv.plan(conv2d, x, w)
    with pytest.raises(ValueError, match="planned shape and dtype"):
        planned.prepare(w[:5])
    prepared = planned.prepare(w)
    with pytest.raises(ValueError, match="planned shape and dtype"):
        prepared(x.astype("f8"))
    with pytest.raises(ValueError, match="planned shape and dtype"):
        prepared(x, w.astype("f8"))
    assert prepared.weight is w
    assert_identical(prepared(x), conv2d(x, w))  # what was refused has left nothing behind
    with pytest.raises(TypeError, match="no array there"):
        fastconv.plan(fastconv.nn.max_pool2d, x, 2).prepare(w)
    assert "prepared" in str(prepared)
