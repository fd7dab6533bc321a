"""Kernels that are sums of a few outer products: found, computed in passes, as accurate as stated."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import costs, ndimage, separability, signal
from fastconv.algorithms import blocks
from fastconv.choice import forced
from fastconv.plan import Plan, execute, plan_for, planned
from fastconv.problem import ConvProblem
from fastconv.separability import TOLERANCE, outer_products
from fastconv.testing import assert_matches_reference

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of low rank run as passes whatever the sizes."""
    monkeypatch.setattr(costs, "MIN_SEPARABLE_TAPS", 1)
    monkeypatch.setattr(costs, "SLOWEST_SUM", 1.0)
    monkeypatch.setattr(costs, "outer_products_worth_using", lambda flops, shape: sum(k > 1 for k in shape) > 1 and 8)
    plan_for.cache_clear()


def kernel_of(rank: int, *shape: int, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """A sum of outer products of random vectors."""
    r = np.random.default_rng(seed)

    def vector(size: int) -> np.ndarray:
        real = r.standard_normal(size)
        return real + 1j * r.standard_normal(size) if dtype[0] == "c" else real

    kernel = 0
    for _ in range(rank):
        term = np.ones(())
        for size in shape:
            term = np.multiply.outer(term, vector(size))
        kernel = kernel + term
    return kernel.astype(dtype)


def image_of(*shape: int, dtype: str = "float32", seed: int = 1) -> np.ndarray:
    r = np.random.default_rng(seed)
    if np.dtype(dtype).kind in "iub":
        return r.integers(0, 100, shape).astype(dtype)
    values = r.standard_normal(shape)
    return (values + 1j * r.standard_normal(shape) if dtype[0] == "c" else values).astype(dtype)


def problem_of(image: np.ndarray, kernel: np.ndarray, rule: str = "reflect", **options) -> ConvProblem:
    """A filter of an image; sums and results in the image's dtype."""
    n, name = image.ndim, image.dtype.name
    given = {
        "in_shape": image.shape, "kernel_shape": kernel.shape, "out_shape": image.shape,
        "in_dtype": name, "kernel_dtype": kernel.dtype.name, "acc": name, "out_dtype": name,
        "pad": tuple(k // 2 for k in kernel.shape), "boundary": (rule,) * n, "stride": (1,) * n, "dilation": (1,) * n,
    }  # fmt: skip
    return ConvProblem(**{**given, **options})


def assert_within_bound(problem: ConvProblem, actual: np.ndarray, x: np.ndarray, w: np.ndarray, fill=0) -> None:
    """The error that `fastconv.separability` states, against sums in double; 2 eps for rounding the result and weights."""
    wide = "complex128" if problem.acc[0] == "c" else "float64"
    names = dict.fromkeys(("in_dtype", "kernel_dtype", "acc", "out_dtype"), wide)
    exact = ConvProblem(**{**problem.__dict__, **names, "rank": 0})
    found = outer_products(problem, w, fill)
    assert found.rank >= 1
    sizes = [vectors.shape[1] for vectors in found.factors]
    eps = np.finfo(problem.acc).eps

    def correlated(data: np.ndarray, weights: np.ndarray) -> np.ndarray:
        result = np.empty(problem.out_shape, wide)
        with fastconv.use(engine="reference"):
            execute(
                exact,
                data[None, None],
                weights[None, None],
                result[None, None],
                fill=np.abs(fill) if data is not x else fill,
            )
        return result

    terms = 0
    for vectors in zip(*found.factors, strict=True):
        term = np.ones(())
        for vector in vectors:
            term = np.multiply.outer(term, np.abs(vector))
        terms = terms + term
    magnitude = correlated(np.abs(x), np.broadcast_to(terms.reshape(w.shape), w.shape)).real
    norms = np.sqrt(correlated(np.abs(x.astype(wide)) ** 2, np.ones(w.shape)).real)
    taps = sizes[0] + found.rank * sum(sizes[1:])
    bound = (taps + 2 + 2 * len(sizes)) * (2 if wide[0] == "c" else 1) * eps * magnitude
    bound = bound + TOLERANCE[problem.acc] * np.linalg.norm(w) * norms
    error = np.abs(actual - correlated(x, w))
    assert (error <= bound).all(), f"{(error / bound).max()} of the bound: {problem}"


# -- finding them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("rank", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(9, 14), (30, 7), (1, 9, 11), (8, 1, 9)])
def test_the_rank_is_found(always, rank: int, shape: tuple[int, ...], dtype: str):
    kernel = kernel_of(rank, *shape, dtype=dtype)
    found = outer_products(problem_of(image_of(*[40] * len(shape), dtype=dtype), kernel), kernel)
    assert found.rank == rank
    total = np.einsum("tk,tl->kl", *found.factors).reshape(shape)
    assert np.linalg.norm(total - kernel) <= TOLERANCE[dtype] * np.linalg.norm(kernel)


@pytest.mark.parametrize("rank", [1, 2])
def test_kernels_of_three_and_four_axes_are_split_axis_by_axis(always, rank: int):
    for shape in [(5, 4, 3), (3, 4, 3, 5)]:
        kernel = kernel_of(rank, *shape)
        found = outer_products(problem_of(image_of(*[9] * len(shape), dtype="float64"), kernel), kernel)
        assert rank <= found.rank <= 8 and len(found.factors) == len(shape)
        subscripts = ",".join("t" + "klmn"[a] for a in range(len(shape))) + "->" + "klmn"[: len(shape)]
        np.testing.assert_allclose(
            np.einsum(subscripts, *found.factors), kernel, atol=1e-15 * np.linalg.norm(kernel) * 8
        )


def test_other_kernels_are_left_alone(always):
    image = image_of(40, 40)
    random = np.random.default_rng(0).standard_normal((13, 13))
    almost = kernel_of(1, 13, 13) + 1e-5 * random
    with_nan, with_inf, line = kernel_of(1, 9, 9), kernel_of(1, 9, 9), kernel_of(1, 1, 9)
    with_nan[2, 3], with_inf[2, 3] = np.nan, np.inf
    for kernel in (random, almost, with_nan, with_inf, line, np.zeros((9, 9))):
        assert outer_products(problem_of(image, kernel), kernel).rank == 0


def test_the_tolerance_is_that_of_the_sum(always):
    rounded = kernel_of(1, 11, 9).astype(np.float32)  # of rank 1 for float32, of full rank for float64
    assert outer_products(problem_of(image_of(30, 30), rounded), rounded).rank == 1
    assert outer_products(problem_of(image_of(30, 30, dtype="float64"), rounded), rounded).rank == 0


def test_weights_near_the_ends_of_the_range(always):
    for scale in (1e-300, 1e-160, 1e160, 1e300):
        kernel = kernel_of(1, 7, 9) * scale
        found = outer_products(problem_of(image_of(30, 30, dtype="float64"), kernel), kernel)
        assert found.rank == 1
        columns, rows = found.factors
        assert 0.1 < np.abs(columns).max() / np.abs(rows).max() < 10
        np.testing.assert_allclose(columns.T * rows, kernel, rtol=1e-14)


def test_integers_stay_integers(always):
    """A kernel of small integers and rank 1 gives sums of integers without an error."""
    image = image_of(40, 50, dtype="uint8").astype(np.float32)
    for divisor in (1, 64):
        kernel = np.outer([1, 4, 6, 4, 1], [1, 2, 0, -2, -3]).astype(np.float32) / divisor
        assert fastconv.plan(ndimage.correlate, image, kernel).problem.rank == 1
        np.testing.assert_array_equal(ndimage.correlate(image, kernel), scipy.ndimage.correlate(image, kernel))


# -- computing with them --------------------------------------------------------------------------


def in_passes(plan: Plan) -> bool:
    """Whether a plan is for one of the ways of separable passes."""
    return plan.implementation.split(":")[1] in ("lowrank", "separable")


def run(problem: ConvProblem, x: np.ndarray, w: np.ndarray, fill=0, threads: int = 2) -> np.ndarray:
    out = np.full(problem.out_shape, np.nan, problem.out_dtype)
    return execute(problem, x[None, None], w[None, None], out[None, None], fill=np.asarray(fill), threads=threads)[0, 0]


@pytest.mark.parametrize("rule", ["fill", "reflect", "nearest", "mirror", "wrap"])
@pytest.mark.parametrize("rank, shape", [(1, (5, 8)), (2, (8, 5)), (3, (13, 4))])
def test_every_boundary_rule(engine: str, always, rule: str, rank: int, shape: tuple[int, int]):
    x, w = image_of(37, 41), kernel_of(rank, *shape)
    problem = separability.with_rank(problem_of(x, w, rule), w)
    assert problem.rank == rank
    assert in_passes(plan_for(problem, engine)) == (engine != "reference")
    assert_within_bound(problem, run(problem, x, w), x, w)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("in_dtype", ["uint8", "int16", "float32", "float64"])
def test_every_dtype(engine: str, always, dtype: str, in_dtype: str):
    if dtype[0] == "c" and in_dtype == "float32":
        in_dtype = dtype
    x, w = image_of(30, 33, dtype=in_dtype), kernel_of(2, 6, 7, dtype=dtype)
    problem = problem_of(x, w, acc=dtype, out_dtype=dtype)
    problem = separability.with_rank(problem, w)
    assert problem.rank == 2
    assert_within_bound(problem, run(problem, x, w), x, w)


@pytest.mark.parametrize("rule", ["fill", "reflect", "nearest", "mirror", "wrap"])
def test_blocks_meet(engine: str, always, monkeypatch: pytest.MonkeyPatch, rule: str):
    """Images in many blocks of rows and of whole leading axes, also where the window is higher than a block."""
    for bytes_of_planes, shape, kernel_shape in [
        (4000, (150, 31), (9, 6)),
        (1, (70, 9), (45, 5)),
        (3000, (5, 40, 23), (1, 7, 4)),
        (3000, (7, 12, 10), (1, 7, 4)),
        (8000, (60, 17, 3), (8, 5, 1)),
        (1, (20, 1500), (3, 29)),
        (1, (2, 20, 1100), (1, 4, 5)),
    ]:
        monkeypatch.setattr(blocks, "BLOCK_BYTES", bytes_of_planes)
        plan_for.cache_clear()
        x, w = image_of(*shape), kernel_of(2, *kernel_shape)
        problem = separability.with_rank(problem_of(x, w, rule), w)
        assert problem.rank == 2
        plan = plan_for(problem, engine)
        assert engine == "reference" or len(plan._executor.blocks(1)) > 2
        assert_within_bound(problem, run(problem, x, w), x, w)
    plan_for.cache_clear()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("compiled", ["cython", "numba"])
def test_blocks_of_volumes_meet(compiled: str, monkeypatch: pytest.MonkeyPatch, mode: str):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 20_000)
    plan_for.cache_clear()
    x = image_of(41, 150, 140)
    for sigma in (1.2, (0.8, 6.0, 3.0), (0.0, 2.0, 1.0), (2.0, 1.0, 0.0)):
        expected = scipy.ndimage.gaussian_filter(x.astype(np.float64), sigma, mode=mode)
        with fastconv.use(engine=compiled):
            np.testing.assert_allclose(ndimage.gaussian_filter(x, sigma, mode=mode), expected, rtol=0, atol=2e-5)
    plan_for.cache_clear()


def test_blocks_bound_the_memory():
    x, w = np.zeros((4096, 1024), np.float32), kernel_of(2, 31, 31)
    nbytes = 2 * 10**6
    problem = separability.with_rank(problem_of(x, w), w)
    assert problem.rank == 2
    assert plan_for(problem, "cython").workspace(1) < nbytes
    assert prod(x.shape) * 2 * 4 > 4 * nbytes  # which whole planes would take


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("shape", [(64, 64, 64), (256, 256, 256), (16, 4096, 4096)])
def test_passes_over_volumes_need_little_memory(shape: tuple[int, ...], dtype: str):
    image = np.broadcast_to(np.zeros((), dtype), shape)
    for function, *args in (
        (ndimage.gaussian_filter, 2.0),
        (ndimage.sobel, 1),
        (ndimage.gaussian_gradient_magnitude, 1.0),
    ):
        with forced("direct"):
            plans = planned(function, (image, *args), {})
        assert plans
        for plan in plans:
            assert plan.workspace(1) < 2e6 and plan.workspace(8) < 16e6, plan


@pytest.mark.parametrize("mode", MODES)
def test_ndimage(engine: str, always, mode: str):
    x, w = image_of(35, 44, dtype="float64"), kernel_of(2, 6, 9)
    for function in ("correlate", "convolve"):
        for origin in [0, (-3, 4), (2, -4)]:
            expected = getattr(scipy.ndimage, function)(x, w, mode=mode, origin=origin)
            actual = getattr(ndimage, function)(x, w, mode=mode, origin=origin)
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
def test_signal(engine: str, always, mode: str, boundary: str):
    for dtype in ("float64", "complex128"):
        x, w = image_of(31, 28, dtype=dtype), kernel_of(2, 6, 7, dtype=dtype)
        for function in ("correlate2d", "convolve2d"):
            for a, b in [(x, w), (w, x)] if boundary == "fill" else [(x, w)]:
                expected = getattr(scipy.signal, function)(a, b, mode, boundary)
                actual = getattr(signal, function)(a, b, mode, boundary)
                np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def test_three_axes(engine: str, always):
    x = image_of(11, 14, 12, dtype="float64")
    for w in (kernel_of(1, 4, 5, 3), kernel_of(2, 3, 4, 5), kernel_of(1, 1, 4, 5), kernel_of(1, 5, 4, 1)):
        plan = fastconv.plan(ndimage.convolve, x, w)
        assert plan.problem.rank >= 1
        np.testing.assert_allclose(
            ndimage.convolve(x, w, mode="wrap"), scipy.ndimage.convolve(x, w, mode="wrap"), atol=1e-12
        )
        np.testing.assert_allclose(signal.convolve(x, w), scipy.signal.convolve(x, w), atol=1e-12)


@pytest.mark.parametrize("fill", [0.0, 2.5, -1e3])
def test_fill_values(engine: str, always, fill: float):
    x = image_of(30, 26, dtype="float64")
    for rank in (1, 2):
        w = kernel_of(rank, 7, 4)
        assert fastconv.plan(ndimage.correlate, x, w, mode="constant", cval=fill).problem.rank == (
            0 if rank == 2 and fill else rank
        )
        expected = scipy.ndimage.correlate(x, w, mode="constant", cval=fill)
        actual = ndimage.correlate(x, w, mode="constant", cval=fill)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13 * np.abs(expected).max())
    w = kernel_of(1, 5, 4, 3)
    x = image_of(9, 8, 7, dtype="float64")
    expected = scipy.ndimage.correlate(x, w, mode="constant", cval=fill)
    np.testing.assert_allclose(
        ndimage.correlate(x, w, mode="constant", cval=fill), expected, rtol=0, atol=1e-13 * np.abs(expected).max()
    )


@pytest.mark.parametrize("fill", [np.nan, np.inf])
def test_fill_values_that_are_not_finite_are_summed_directly(always, fill: float):
    x, w = image_of(30, 26), np.outer([1.0, -0.5, 2.0], [1.0, 1.0, 1.0])
    assert fastconv.plan(ndimage.correlate, x, w, mode="constant", cval=fill).problem.rank == 0
    np.testing.assert_array_equal(
        np.isnan(ndimage.correlate(x, w, mode="constant", cval=fill)),
        np.isnan(scipy.ndimage.correlate(x, w, mode="constant", cval=fill)),
    )


# -- NaN and infinities ---------------------------------------------------------------------------

SPECIAL = [[np.nan], [np.inf], [-np.inf], [np.inf, np.inf], [np.inf, -np.inf], [np.inf, np.nan]]


@pytest.mark.parametrize("values", SPECIAL)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_images_that_are_not_finite(engine: str, always, values: list[float], mode: str):
    rank_one = np.outer([1.0, 0.0, -2.0, 3.0], [0.5, 1.0, 0.0, -1.0, 2.0])  # zeros, both signs
    hole = kernel_of(1, 4, 5)
    hole[1, 2] = 0.0  # of rank 2, though the products of rank 1 are not far
    places = np.random.default_rng(5).integers(0, (23, 19), (12, len(values), 2))
    corners = [[(0, 0), (22, 18)], [(0, 18), (22, 0)], [(11, 0), (0, 9)]]
    for w in (rank_one, kernel_of(2, 4, 5), kernel_of(3, 5, 4), hole):
        for spots in [*places, *corners]:
            x = image_of(23, 19)
            for (row, column), value in zip(spots, values, strict=False):
                x[row, column] = value
            w = w.astype(np.float32)
            assert fastconv.plan(signal.correlate2d, x, w, mode).problem.rank > 0
            actual = signal.correlate2d(x, w, mode)
            with fastconv.use(engine="reference"):
                expected = signal.correlate2d(x, w, mode)
            finite = np.isfinite(expected)
            np.testing.assert_array_equal(np.isfinite(actual), finite)
            np.testing.assert_array_equal(actual[~finite], expected[~finite])
            np.testing.assert_allclose(actual[finite], expected[finite], atol=1e-5)


def test_zeros_that_products_miss(always):
    """Weights that underflowed: their products are not zero, so infinity must be summed directly."""
    line = np.exp(-0.5 * np.arange(-30, 31) ** 2 / 2.0**2)
    kernel = np.outer(line, line).astype(np.float32)
    found = outer_products(problem_of(image_of(70, 70), kernel), kernel)
    assert (kernel == 0).any() and found.rank == 1 and not found.same_signs
    x = image_of(70, 70)
    x[35, 35] = np.inf
    with fastconv.use(engine="cython"):
        actual = ndimage.correlate(x, kernel)
    assert np.isnan(actual).sum() == (kernel == 0).sum() and np.isinf(actual).sum() == (kernel > 0).sum()


# -- when they are used ---------------------------------------------------------------------------


def test_large_filters_of_low_rank_are_separated_and_the_plan_tells():
    x, w = np.zeros((512, 512), np.float32), kernel_of(1, 31, 31)
    plan = fastconv.plan(ndimage.convolve, x, w)
    assert in_passes(plan) and "rank1" in str(plan)
    with forced("passes"):
        plan = fastconv.plan(signal.convolve2d, x, kernel_of(3, 31, 31), "same")
    assert in_passes(plan) and "rank3" in str(plan)
    random = np.random.default_rng(0).standard_normal((31, 31))
    assert fastconv.plan(ndimage.convolve, x, random).problem.transforms == "overlap"
    with forced("direct"):
        plan = fastconv.plan(ndimage.convolve, x, random)
    assert plan.implementation.endswith(":filter") and "outer products" in dict(plan.refusals)["cython:lowrank"]


def test_where_they_are_not_faster_or_not_as_accurate_the_sum_is_direct():
    x = np.zeros((512, 512), np.float32)
    for image, kernel in [
        (x, kernel_of(1, 7, 7)),  # memory costs more than the products
        (x[:64, :64], kernel_of(1, 31, 31)),  # calls cost more
        (x, kernel_of(1, 1, 31)),
        (x, kernel_of(20, 31, 31)),
        (x.astype("uint8"), kernel_of(1, 31, 31)),  # exactly SciPy's
    ]:
        assert fastconv.plan(ndimage.convolve, image, kernel).problem.rank == 0
    assert fastconv.plan(signal.convolve2d, x.astype(int), np.ones((31, 31), int)).problem.rank == 0
    with fastconv.use(precision="strict"):
        assert fastconv.plan(ndimage.convolve, x, kernel_of(1, 31, 31)).problem.rank == 0
        assert fastconv.plan(signal.convolve2d, x, kernel_of(1, 31, 31)).problem.rank == 0


def test_a_kernel_that_breaks_the_promise_is_summed_directly(engine: str, always):
    x, w = image_of(30, 31), np.random.default_rng(3).standard_normal((5, 6))
    problem = problem_of(x, w, rank=1)
    assert_matches_reference(problem, run(problem, x, w)[None, None], x[None, None], w[None, None])


def test_another_kernel_of_the_same_shape_is_not_taken_for_the_first(engine: str, always):
    x = image_of(40, 40, dtype="float64")
    for w in (kernel_of(1, 9, 9), np.random.default_rng(0).standard_normal((9, 9)), kernel_of(1, 9, 9, seed=5)) * 2:
        expected = scipy.ndimage.correlate(x, w)
        np.testing.assert_allclose(ndimage.correlate(x, w), expected, atol=1e-13 * np.abs(expected).max())


def test_gaussians_are_as_accurate_as_the_direct_sum():
    x = np.random.default_rng(0).random((400, 512), np.float32)
    for size, sigma in [(15, 3.0), (31, 5.0), (63, 12.0)]:
        line = np.exp(-0.5 * (np.arange(size) - size // 2) ** 2 / sigma**2)
        line /= line.sum()
        w = np.outer(line, line).astype(np.float32)
        exact = scipy.ndimage.correlate1d(scipy.ndimage.correlate1d(x.astype(float), line, 0), line, 1)
        problem = fastconv.plan(ndimage.correlate, x, w).problem
        assert problem.rank == 1
        direct = run(ConvProblem(**{**problem.__dict__, "rank": 0}), x, w)
        assert np.abs(ndimage.correlate(x, w) - exact).max() < np.abs(direct - exact).max()


# -- memory ---------------------------------------------------------------------------------------


def test_views_and_read_only_arrays(engine: str, always):
    base = image_of(60, 70, dtype="float64")
    w = kernel_of(2, 5, 6)
    read_only = base.copy()
    read_only.flags.writeable = False
    for x in (base[::2, ::3], base[::-1, ::-1], base.T, read_only, base.astype(">f8"), np.asfortranarray(base)):
        expected = scipy.ndimage.convolve(x, w)
        np.testing.assert_allclose(ndimage.convolve(x, w), expected, atol=1e-12)
        np.testing.assert_allclose(
            ndimage.convolve(x, w[::-1, ::-1]), scipy.ndimage.convolve(x, w[::-1, ::-1]), atol=1e-12
        )
        out = np.full((x.shape[0] * 2, x.shape[1]), np.nan)
        ndimage.convolve(x, w, output=out[::2])
        np.testing.assert_allclose(out[::2], expected, atol=1e-12)
        assert np.isnan(out[1::2]).all()
    copy = base.copy()
    ndimage.convolve(copy, w, output=copy)
    np.testing.assert_allclose(copy, scipy.ndimage.convolve(base, w), atol=1e-12)


def test_threads_give_the_same_bits(always):
    x, w = image_of(300, 200), kernel_of(2, 9, 9)
    one, two = (ndimage.convolve(x, w, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


@given(st.data())
def test_random_problems(data: st.DataObject):
    ndim = data.draw(st.integers(2, 3))
    shape = data.draw(st.tuples(*[st.integers(1, 20)] * ndim))
    kernel_shape = data.draw(st.tuples(*[st.integers(1, 7)] * ndim))
    rank, seed = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2**32 - 1))
    mode = data.draw(st.sampled_from(MODES))
    x, w = image_of(*shape, dtype="float64", seed=seed), kernel_of(rank, *kernel_shape, seed=seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(costs, "MIN_SEPARABLE_TAPS", 1)
        patch.setattr(costs, "outer_products_worth_using", lambda flops, taps: 9)
        patch.setattr(blocks, "BLOCK_BYTES", data.draw(st.sampled_from([1, 2000, 10**6])))
        plan_for.cache_clear()
        actual = ndimage.correlate(x, w, mode=mode)
    expected = scipy.ndimage.correlate(x, w, mode=mode)
    scale = np.abs(w).sum() * np.abs(x).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14 * scale * 8)
    plan_for.cache_clear()


def test_transforms_give_way_to_passes():
    """By `scipy.signal`'s choice of a method too: sums of two lines are cheaper than transforms."""
    x, w = image_of(512, 512), kernel_of(1, 63, 63, dtype="float32")
    random = np.random.default_rng(0).standard_normal((63, 63)).astype(np.float32)
    assert fastconv.plan(signal.convolve, x, w).problem.rank == 1
    assert signal.choose_conv_method(x, w) == "direct" and signal.choose_conv_method(x, random) == "fft"
