"""Depthwise convolutions and their gradients, on every engine against the naive reference."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import numpy as np
import pytest

import fastconv
from fastconv.algorithms import depthwise, depthwise_gradient, depthwise_input
from fastconv.plan import plan_for
from fastconv.problem import ConvProblem, TransposedProblem, WeightGradientProblem, accumulator
from fastconv.testing import assert_identical, assert_matches

ENGINES = ("cython", "numba")
BOUNDARIES = ("fill", "reflect", "nearest", "mirror", "wrap")
DTYPES = ("float32", "float64", "float16", "uint8", "int8", "int16", "int32", "uint64")
LAYOUTS = ("planes", "pixels", "strided", "reversed")


def pick(rng: np.random.Generator, *values: object) -> object:
    return values[rng.integers(len(values))]


def random_problem(rng: np.random.Generator, dtype: str, bias: bool = True, ndim: int = 0) -> ConvProblem:
    """A small problem: odd sizes, any stride, dilation and boundary, asymmetric padding, 1 to 3 filters a channel."""
    ndim = ndim or int(pick(rng, 1, 2, 2, 2, 3))
    usual = ndim == 2 and rng.random() < 0.4
    kernel = (3, 3) if usual else tuple(int(rng.integers(1, 6 if ndim < 3 else 4)) for _ in range(ndim))
    stride = (int(rng.integers(1, 3)),) * 2 if usual else tuple(int(rng.integers(1, 4)) for _ in range(ndim))
    dilation = (1,) * ndim if usual else tuple(int(rng.integers(1, 4)) for _ in range(ndim))
    sizes = tuple(int(rng.integers(1, 24 if ndim < 3 else 9)) for _ in range(ndim))
    if ndim == 1:
        sizes = (int(rng.integers(1, 700)),)
    pad = tuple(int(rng.integers(0, 4)) for _ in range(ndim))
    out = []
    for n, k, s, d, p in zip(sizes, kernel, stride, dilation, pad, strict=True):
        room = n + p + int(rng.integers(0, 4)) - (k - 1) * d - 1
        out.append(max(room, 0) // s + 1)
    channels = int(pick(rng, 4, 5, 9, 16, 17, 24, 31, 33, 48, 70))
    multiplier = int(pick(rng, 1, 1, 1, 2, 3))
    held = np.dtype("float32" if dtype == "float16" else dtype)
    return ConvProblem(
        in_shape=sizes, kernel_shape=kernel, out_shape=tuple(out), in_dtype=dtype, kernel_dtype=dtype,
        acc=accumulator(held), out_dtype=dtype, pad=pad, boundary=tuple(str(pick(rng, *BOUNDARIES)) for _ in range(ndim)),
        stride=stride, dilation=dilation, batch=int(rng.integers(1, 3)), channels=channels,
        filters=channels * multiplier, groups=channels, bias=bias and rng.random() < 0.5,
    )  # fmt: skip


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Whole numbers whose sums of products are exact in every dtype of floats."""
    low = 0 if dtype.startswith("u") else -4
    return rng.integers(low, 5, shape).astype(dtype)


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers, (N, C, ...), otherwise in memory."""
    if layout == "pixels":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    if layout == "strided":
        whole = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        whole[..., ::2] = array
        return whole[..., ::2]
    if layout == "reversed":
        return np.ascontiguousarray(array[:, ::-1, ..., ::-1])[:, ::-1, ..., ::-1]
    return array


def computed(problem, engine: str, x, w, out, bias=None, fill=0, threads=None) -> np.ndarray:
    return plan_for(problem, engine).execute(x, w, out, bias, fill, threads)


def is_depthwise(problem, module=depthwise) -> bool:
    return module.refuse(problem) is None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_problems(engine, dtype):
    rng = np.random.default_rng(len(dtype) * 7 + ord(dtype[0]))
    for i in range(25):
        p = random_problem(rng, dtype)
        assert is_depthwise(p) and plan_for(p, engine).implementation == f"{engine}:depthwise"
        x = numbers(rng, (p.batch, p.channels, *p.in_shape), dtype)
        w = numbers(rng, (p.filters, 1, *p.kernel_shape), dtype)
        bias = numbers(rng, (p.filters,), p.acc) if p.bias else None
        desired = np.empty((p.batch, p.filters, *p.out_shape), dtype)
        computed(p, "reference", x, w, desired, bias, 2)
        for layout in LAYOUTS:
            out = laid_out(np.zeros_like(desired), layout)
            computed(p, engine, laid_out(x, layout), w, out, bias, 2, threads=(1, 3)[i % 2])
            assert_identical(out, desired, f"{p} {layout}")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_groups_of_vectors(engine, dtype):
    """Several channels a group, those of some groups in a vector (on `cython`); channels are no whole number of vectors."""
    rng = np.random.default_rng(12)
    for case in range(48):
        together, stride, size = (2, 4, 8, 16)[case % 4], case // 4 % 2 + 1, int(rng.integers(1, 19))
        groups, pad = int(rng.integers(2, 12)), int(rng.integers(0, 3))
        channels = groups * together
        out = tuple((max(n + 2 * pad - 3, 0)) // stride + 1 for n in (size + 2, size))
        p = ConvProblem(
            in_shape=(size + 2, size), kernel_shape=(3, 3), in_dtype=dtype, kernel_dtype=dtype, acc=accumulator(np.dtype(dtype)),
            out_dtype=dtype, out_shape=out, pad=(pad, pad), boundary=(str(pick(rng, *BOUNDARIES)),) * 2, stride=(stride,) * 2,
            dilation=(1, 1), batch=2, channels=channels, filters=channels, groups=groups, bias=case % 3 == 0,
            activation="relu" if case % 5 == 0 else "", channels_last=case % 2 == 0,
        )  # fmt: skip
        assert is_depthwise(p) and (depthwise.several_a_group(p) is None) == (together == 1)
        x = numbers(rng, (2, channels, *p.in_shape), dtype)
        w = numbers(rng, (channels, together, 3, 3), dtype)
        bias = numbers(rng, (channels,), p.acc) if p.bias else None
        desired = np.empty((2, channels, *out), dtype)
        computed(p, "reference", x, w, desired, bias, 2)
        for layout in LAYOUTS:
            actual = laid_out(np.zeros_like(desired), layout)
            computed(p, engine, laid_out(x, layout), w, actual, bias, 2, threads=(1, 3)[case % 2])
            assert_identical(actual, desired, f"{p} {layout}")


@pytest.mark.parametrize("engine", ENGINES)
def test_nan_and_infinity_stay_in_their_windows(engine):
    rng = np.random.default_rng(5)
    for layout in LAYOUTS:
        p = random_problem(rng, "float32", bias=False, ndim=2)
        x = rng.standard_normal((p.batch, p.channels, *p.in_shape)).astype("f4")
        w = rng.standard_normal((p.filters, 1, *p.kernel_shape)).astype("f4")
        x[0, 1, -1, -1], x[-1, 2, 0, 0], x[0, -1, 0, -1] = np.nan, np.inf, -np.inf
        w[0, 0, 0, 0], w[-1, 0, -1, -1] = np.inf, 0
        desired = np.empty((p.batch, p.filters, *p.out_shape), "f4")
        computed(p, "reference", x, w, desired)
        out = laid_out(np.zeros_like(desired), layout)
        computed(p, engine, laid_out(x, layout), w, out)
        assert_matches(out, desired, np.full(desired.shape, 100.0), 25)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_all_widths(engine, dtype):
    """Columns of vectors of planes end anywhere; NaN and infinity stay in the windows that read them."""
    rng = np.random.default_rng(11)
    for width in (1, 2, 7, 8, 13, 14, 15, 16, 17, 28, 31, 32, 33, 56, 61, 113):
        stride, pad = int(pick(rng, 1, 2)), int(rng.integers(0, 3))
        p = ConvProblem(
            in_shape=(9, width), kernel_shape=(3, 3), in_dtype=dtype, kernel_dtype=dtype, acc=dtype, out_dtype=dtype,
            out_shape=(8 // stride + 1, (max(width + 2 * pad - 3, 0)) // stride + 1), pad=(1, pad), boundary=("fill",) * 2,
            stride=(stride,) * 2, dilation=(1, 1), batch=2, channels=5, filters=5, groups=5, bias=False,
        )  # fmt: skip
        x, w = numbers(rng, (2, 5, 9, width), dtype), numbers(rng, (5, 1, 3, 3), dtype)
        x[0, 0, 4, -1], x[1, 2, 0, 0], w[3, 0, 1, 2] = np.nan, np.inf, np.inf
        desired = np.empty((2, 5, *p.out_shape), dtype)
        computed(p, "reference", x, w, desired, None, 3)
        assert_identical(computed(p, engine, x, w, np.zeros_like(desired), None, 3), desired, str(p))
        grad = numbers(rng, desired.shape, dtype)
        grad[0, 1, 0, 0] = np.inf
        problem, sums = WeightGradientProblem(p), np.empty_like(w)
        computed(problem, "reference", x, grad, sums)
        assert_identical(computed(problem, engine, x, grad, np.zeros_like(w)), sums, str(problem))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name, slope", [("relu", 0.0), ("leaky_relu", 0.1), ("silu", 0.0)])
def test_activations(engine, name, slope):
    rng = np.random.default_rng(6)
    for _ in range(6):
        p = random_problem(rng, "float32")
        p = ConvProblem(**{**p.__dict__, "activation": name, "slope": slope})
        x = rng.standard_normal((p.batch, p.channels, *p.in_shape)).astype("f4")
        w = rng.standard_normal((p.filters, 1, *p.kernel_shape)).astype("f4")
        bias = rng.standard_normal(p.filters).astype("f4") if p.bias else None
        desired = np.empty((p.batch, p.filters, *p.out_shape), "f4")
        computed(p, "reference", x, w, desired, bias)
        for layout in LAYOUTS[:2]:
            out = laid_out(np.zeros_like(desired), layout)
            computed(p, engine, laid_out(x, layout), w, out, bias)
            np.testing.assert_allclose(out, desired, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_saturated_bytes(engine):
    rng = np.random.default_rng(7)
    for _ in range(6):
        p = random_problem(rng, "uint8", bias=False)
        p = ConvProblem(**{**p.__dict__, "saturate": True, "kernel_dtype": "float32", "acc": "float32"})
        x = rng.integers(0, 256, (p.batch, p.channels, *p.in_shape)).astype("u1")
        w = rng.integers(-3, 4, (p.filters, 1, *p.kernel_shape)).astype("f4")
        desired = np.empty((p.batch, p.filters, *p.out_shape), "u1")
        computed(p, "reference", x, w, desired)
        for layout in LAYOUTS[:2]:
            out = laid_out(np.zeros_like(desired), layout)
            assert_identical(computed(p, engine, laid_out(x, layout), w, out), desired)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_large_layers_in_units_of_all_shapes(engine, data_format):
    for channels, size, stride in ((24, 113, 1), (40, 57, 2), (1100, 3, 1), (7, 300, 1)):
        rng = np.random.default_rng(channels)
        x, w = numbers(rng, (2, channels, size, size + 3), "float32"), numbers(rng, (channels, 1, 3, 3), "float32")
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if data_format == "NHWC" else x
        options = (None, stride, 1, 1, channels)
        desired = fastconv.nn.conv2d(x.astype("f8"), w.astype("f8"), *options, data_format=data_format, threads=1)
        for threads in (1, 3):
            with fastconv.use(engine=engine):
                actual = fastconv.nn.conv2d(x, w, *options, data_format=data_format, threads=threads)
            assert_identical(actual, desired.astype("f4"))


# -- gradients of the kernel --------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int16", "uint64"])
def test_random_gradients(engine, dtype):
    rng = np.random.default_rng(len(dtype) * 11 + ord(dtype[0]))
    for i in range(20):
        p = random_problem(rng, dtype, bias=False)
        p = ConvProblem(**{**p.__dict__, "boundary": ("fill",) * p.ndim})
        problem = WeightGradientProblem(p)
        assert is_depthwise(problem, depthwise_gradient)
        assert plan_for(problem, engine).implementation == f"{engine}:depthwise_gradient"
        x = numbers(rng, (p.batch, p.channels, *p.in_shape), dtype)
        grad = rng.integers(0, 3, (p.batch, p.filters, *p.out_shape)).astype(dtype)
        desired = np.empty((p.filters, 1, *p.kernel_shape), dtype)
        computed(problem, "reference", x, grad, desired)
        for layout in LAYOUTS:
            out = np.empty_like(desired)
            computed(problem, engine, laid_out(x, layout), laid_out(grad, layout), out, threads=(1, 3)[i % 2])
            assert_identical(out, desired, f"{problem} {layout}")


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_divided_among_units_do_not_depend_on_threads(engine):
    rng = np.random.default_rng(8)
    x, grad = rng.standard_normal((2, 2, 24, 120, 117)).astype("f4")
    options = ((24, 1, 3, 3), grad, 1, 1, 1, 24)
    with fastconv.use(engine=engine):
        desired = fastconv.nn.grad.conv2d_weight(x, *options, threads=1)
        for threads in (2, 3):
            assert_identical(fastconv.nn.grad.conv2d_weight(x, *options, threads=threads), desired)
    exact = fastconv.nn.grad.conv2d_weight(x.astype("f8"), (24, 1, 3, 3), grad.astype("f8"), 1, 1, 1, 24)
    np.testing.assert_allclose(desired, exact, atol=2e-2)


# -- gradients of the input --------------------------------------------------------------------


def random_adjoint(rng: np.random.Generator, dtype: str) -> TransposedProblem:
    """One filter a channel, strides beyond 1."""
    p = random_problem(rng, dtype, bias=False, ndim=2)
    stride = p.stride if p.stride != (1, 1) else (2, 1)
    changed = {"boundary": ("fill",) * 2, "filters": p.channels, "stride": stride}
    name = str(pick(rng, "", "", "relu"))
    return TransposedProblem(ConvProblem(**{**p.__dict__, **changed}), bool(rng.random() < 0.5), name)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_adjoints(engine, dtype):
    rng = np.random.default_rng(len(dtype) + ord(dtype[-1]))
    for i in range(30):
        problem = random_adjoint(rng, dtype)
        p = problem.conv
        assert depthwise_input.refuse(problem) is None
        algorithm = "depthwise_input" if engine == "cython" else "transposed"
        assert plan_for(problem, engine).implementation == f"{engine}:{algorithm}"
        x = numbers(rng, (p.batch, p.filters, *p.out_shape), dtype)
        w = numbers(rng, (p.filters, 1, *p.kernel_shape), dtype)
        if i % 3 == 0:
            x[0, 0, -1, 0] = np.nan
        bias = numbers(rng, (p.channels,), dtype) if problem.bias else None
        desired = np.empty((p.batch, p.channels, *p.in_shape), dtype)
        computed(problem, "reference", x, w, desired, bias)
        for layout in LAYOUTS:
            out = laid_out(np.full_like(desired, 7), layout)
            computed(problem, engine, laid_out(x, layout), w, out, bias, threads=(1, 3)[i % 2])
            assert_identical(out, desired, f"{problem} {layout}")


# -- memory -------------------------------------------------------------------------------------

PROT_NONE = 0


def guarded(array: np.ndarray, last: bool) -> np.ndarray:
    """A copy that ends right before (or begins right behind) a page that may not be touched."""
    import ctypes

    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, size + 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    for edge in (base, base + page + size):
        assert libc.mprotect(ctypes.c_void_p(edge), ctypes.c_size_t(page), PROT_NONE) == 0
    copy = np.frombuffer(memory, array.dtype, array.size, page + (size - array.nbytes if last else 0)).reshape(
        array.shape
    )
    copy[...] = array
    return copy


def touch_nothing_else(engine: str, count: int = 60) -> None:
    """Random problems on arrays beside forbidden pages, both kernels."""
    rng = np.random.default_rng(9)
    for i in range(count):
        p = random_problem(rng, ("float32", "float64", "uint8")[i % 3], bias=False)
        x = numbers(rng, (p.batch, p.channels, *p.in_shape), p.in_dtype)
        w = numbers(rng, (p.filters, 1, *p.kernel_shape), p.in_dtype)
        out = np.zeros((p.batch, p.filters, *p.out_shape), p.out_dtype)
        for pixels in (False, True):
            for last in (False, True):
                arrays = [np.ascontiguousarray(np.moveaxis(a, 1, -1)) if pixels else a for a in (x, out)]
                given, result = (guarded(a, last) for a in arrays)
                given, result = (np.moveaxis(a, -1, 1) if pixels else a for a in (given, result))
                computed(p, engine, given, guarded(w, last), result)
                if set(p.boundary) == {"fill"}:
                    if p.filters == p.channels and p.in_dtype != "uint8":
                        computed(TransposedProblem(p), engine, result, guarded(w, last), given)
                    computed(WeightGradientProblem(p), engine, given, result, guarded(w, last))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")
@pytest.mark.parametrize("engine", ENGINES)
def test_no_memory_but_the_arrays_is_touched(engine):
    touch_nothing_else(engine, 30)


@pytest.mark.parametrize("simd", ["v2", "v3"])
def test_narrower_vectors(simd):
    """The builds for older processors, in a process of their own."""
    code = "import test_depthwise as t; [t.test_random_problems('cython', d) for d in ('float32', 'uint8')]; "
    code += "[t.test_random_gradients('cython', d) for d in ('float32', 'float64')]; "
    code += "[f('cython', d) for d in ('float32', 'float64') for f in (t.test_rows_of_all_widths, t.test_random_adjoints)]; "
    code += "t.touch_nothing_else('cython', 20)"
    path = os.pathsep.join([os.path.dirname(__file__), os.path.dirname(os.path.dirname(fastconv.__file__))])
    environment = os.environ | {"FASTCONV_SIMD": simd, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=300)
