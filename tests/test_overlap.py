"""Fourier transforms of overlapping blocks by the engines' kernels, and the choice of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import ceil, log2, prod

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from cases import layouts
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import costs, ndimage, signal
from fastconv.algorithms import overlap, overlap_blocks
from fastconv.choice import forced
from fastconv.engines import cython_cpu
from fastconv.plan import plan_for
from fastconv.problem import ConvProblem
from fastconv.replay import memories

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]
FLOATS = ["float32", "float64", "complex64", "complex128"]


def noise(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    r = np.random.default_rng(seed)
    if np.dtype(dtype).kind in "iu":
        return r.integers(0, 100, shape).astype(dtype)
    values = r.standard_normal(shape)
    return (values + 1j * r.standard_normal(shape) if dtype[0] == "c" else values).astype(dtype)


def problem_of(image: np.ndarray, kernel: np.ndarray, rules: tuple[str, ...], **options) -> ConvProblem:
    n, name = image.ndim, image.dtype.name
    given = {
        "in_shape": image.shape, "kernel_shape": kernel.shape, "out_shape": image.shape,
        "in_dtype": name, "kernel_dtype": kernel.dtype.name, "acc": name, "out_dtype": name,
        "pad": tuple(k // 2 for k in kernel.shape), "boundary": rules, "stride": (1,) * n, "dilation": (1,) * n,
        "transforms": "overlap",
    }  # fmt: skip
    return ConvProblem(**{**given, **options})


def run(problem: ConvProblem, image: np.ndarray, kernel: np.ndarray, fill=0, threads: int = 1) -> np.ndarray:
    out = np.full(problem.out_shape, 7, problem.out_dtype)
    plan_for(problem, "cython").execute(image[None, None], kernel[None, None], out[None, None], None, fill, threads)
    return out


def assert_right(problem: ConvProblem, image: np.ndarray, kernel: np.ndarray, fill=0, threads: int = 1) -> None:
    """Within the typical error of transforms, of sums in double."""
    wide = {"float32": "float64", "complex64": "complex128"}
    names = {"acc": wide.get(problem.acc, problem.acc), "out_dtype": wide.get(problem.out_dtype, problem.out_dtype)}
    desired = run(replace(problem, transforms="", **names), image, kernel, fill)
    actual = run(problem, image, kernel, fill, threads)
    assert plan_for(problem, "cython").implementation == "cython:overlap"
    if actual.dtype.kind in "iu":
        np.testing.assert_array_equal(actual, desired)
        return
    blocks = overlap.best_blocks(problem, threads)
    points = 2 * blocks.points
    most = max(np.abs(image).max(), np.abs(fill).max())
    bound = np.finfo(actual.dtype).eps * np.sqrt(points * log2(points)) * np.linalg.norm(kernel) * most
    assert np.abs(actual - desired).max() <= bound


PROBLEMS = [
    ((200, 300), (31, 17)),
    ((64, 90), (33, 32)),
    ((20_000,), (311,)),
    ((50, 60, 70), (11, 12, 9)),
    ((50, 60, 70), (1, 12, 9)),
    ((50, 60, 70), (11, 1, 9)),
    ((50, 60, 70), (21, 9, 1)),
    ((50, 60, 5), (21, 9, 1)),
    ((200, 300), (1, 101)),
    ((200, 300), (101, 1)),
    ((40, 30), (61, 90)),
    ((3, 5), (61, 90)),
    ((4, 5, 6, 90), (1, 1, 3, 31)),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape, kernel", PROBLEMS)
def test_shapes(shape, kernel, dtype):
    image, weights = noise(shape, dtype), noise(kernel, dtype, 1)
    for i, rule in enumerate(["reflect", "fill", "nearest", "mirror", "wrap"]):
        rules = (rule,) * (len(shape) - 1) + ("reflect" if i % 2 else rule,)
        assert_right(problem_of(image, weights, rules), image, weights, 1.5 if rule == "fill" else 0, threads=1 + i % 2)


@pytest.mark.parametrize(
    "dtype, acc", [("uint8", "uint32"), ("int16", "uint32"), ("int64", "uint64"), ("uint64", "uint64")]
)
def test_integers_are_rounded_and_wrap(dtype, acc):
    image, weights = noise((80, 90), dtype), noise((21, 18), dtype, 1)
    for saturate in (False, True):
        options = {"acc": acc, "saturate": saturate and dtype != "uint64"}
        assert_right(problem_of(image, weights, ("reflect", "wrap"), **options), image, weights)
    assert_right(problem_of(image, weights, ("fill", "fill"), acc=acc), image, weights, 3)


def test_other_sources_outputs_and_kernels():
    for source, kernel, acc, out in [
        ("uint8", "float32", "float32", "float32"),
        ("int32", "float64", "float64", "float32"),
        ("float32", "int16", "float64", "float64"),
        ("complex128", "float64", "complex128", "complex128"),
        ("complex64", "uint8", "complex64", "complex64"),
    ]:
        image, weights = noise((70, 80), source), noise((17, 19), kernel, 1)
        options = {"acc": acc, "out_dtype": out}
        assert_right(problem_of(image, weights, ("mirror", "nearest"), **options), image, weights)


def test_layouts():
    image, weights = noise((70, 80), "float32"), noise((17, 19), "float32", 1)
    desired = scipy.ndimage.correlate(image, weights)
    for view in (*layouts(image).values(), np.asfortranarray(image)):
        with forced("overlap"):
            np.testing.assert_allclose(ndimage.correlate(view, weights), desired, atol=1e-3)
    for view in (*layouts(weights).values(), np.asfortranarray(weights)):
        with forced("overlap"):
            np.testing.assert_allclose(ndimage.correlate(image, view), desired, atol=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_every_border_against_scipy(mode):
    image, weights = noise((90, 100)), noise((31, 26), seed=1)
    for origin in (0, (7, -12)):
        for name in ("convolve", "correlate"):
            with forced("overlap"):
                actual = getattr(ndimage, name)(image, weights, mode=mode, cval=2.5, origin=origin)
            desired = getattr(scipy.ndimage, name)(image, weights, mode=mode, cval=2.5, origin=origin)
            np.testing.assert_allclose(actual, desired, atol=1e-11)


@pytest.mark.parametrize("mode, boundary", list(product(["full", "same", "valid"], ["fill", "wrap", "symm"])))
def test_modes_of_signal(mode, boundary):
    image, weights = noise((90, 100)), noise((31, 26), seed=1)
    for name in ("convolve2d", "correlate2d"):
        with forced("overlap"):
            actual = getattr(signal, name)(image, weights, mode, boundary, 0.5)
        np.testing.assert_allclose(actual, getattr(scipy.signal, name)(image, weights, mode, boundary, 0.5), atol=1e-11)


def lengths_of(problem: ConvProblem) -> list[tuple[int, ...]]:
    axes = [axis for axis, taps in enumerate(problem.kernel_shape) if taps > 1]
    return list(
        product(*(overlap_blocks.lengths_along(problem.out_shape[a], problem.kernel_shape[a], 40, 2**15) for a in axes))
    )


def test_every_length(monkeypatch):
    """Radices 3, 4, 5 and 8 in all combinations that lengths are made of."""
    found = set()
    for shape, kernel in [((3000,), (40,)), ((300, 200), (9, 7))]:
        for dtype in ("float32", "float64"):
            image, weights = noise(shape, dtype), noise(kernel, dtype, 1)
            problem = problem_of(image, weights, ("reflect",) * len(shape))
            desired = scipy.ndimage.correlate(image.astype(float), weights.astype(float))
            axes = tuple(range(len(shape)))
            for lengths in lengths_of(problem)[:: 1 if len(shape) == 1 else 37]:
                steps = tuple(n - k + 1 for n, k in zip(lengths, kernel, strict=True))
                counts = tuple(ceil(n / step) for n, step in zip(shape, steps, strict=True))
                lines = overlap_blocks.LINES if len(shape) == 1 else 1
                units = ceil(prod(counts) / (2 * lines))
                blocks = overlap.Blocks(axes, lengths, steps, counts, lines, units, prod(lengths), 1.0)
                monkeypatch.setattr(overlap, "best_blocks", lambda *args, blocks=blocks: blocks)
                out = np.empty_like(image)
                executor = overlap.Overlap(problem, cython_cpu)
                executor(image[None, None], weights[None, None], out[None, None], None, 0, 2)
                found |= {tuple(overlap._passes(n, dtype)[0]) for n in lengths}
                np.testing.assert_allclose(
                    out, desired, atol=1e-12 if dtype == "float64" else 1e-3, err_msg=str(lengths)
                )
    assert {radix for passes in found for radix in passes} == {3, 4, 5, 8}


@given(st.integers(1, 3), st.data())
def test_any(ndim, data):
    largest, kernel_largest = [(400, 90), (70, 40), (20, 12)][ndim - 1]
    shape = tuple(data.draw(st.integers(1, largest)) for _ in range(ndim))
    kernel = tuple(data.draw(st.integers(1, kernel_largest)) for _ in range(ndim))
    if max(kernel) == 1:
        return
    dtype = data.draw(st.sampled_from(FLOATS))
    rules = tuple(data.draw(st.sampled_from(["reflect", "fill", "nearest", "mirror", "wrap"])) for _ in range(ndim))
    pad = tuple(data.draw(st.integers(0, k - 1)) if k > 1 else 0 for k in kernel)
    image, weights = noise(shape, dtype), noise(kernel, dtype, 1)
    problem = problem_of(image, weights, rules, pad=pad)
    if overlap.refuse(problem) is None:
        assert_right(problem, image, weights, 1.0, data.draw(st.integers(1, 2)))


# -- numbers that are not finite, and numbers that are whole -------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_windows(value):
    for dtype, place in product(("float32", "float64"), [(0, 0), (150, 180), (299, 299)]):
        image, weights = noise((300, 300), dtype), noise((41, 41), dtype, 1)
        image[place] = value
        with fastconv.use(engine="cython"):  # whichever engine is ready would sum directly in its own order
            with forced("direct"):
                desired = ndimage.correlate(image, weights)
            with forced("overlap"):
                actual = ndimage.correlate(image, weights)
        np.testing.assert_array_equal(actual, desired)
        assert not np.isfinite(actual).all() and np.isfinite(actual).any()
    bad = noise((41, 41), "float32", 1)
    bad[3, 3] = value
    assert fastconv.plan(ndimage.correlate, noise((300, 300), "float32"), bad).problem.transforms == ""


def test_sums_that_overflow_are_made_directly():
    image, weights = np.full((300, 300), 1e37, np.float32), noise((41, 41), "float32", 1)
    with fastconv.use(engine="cython"):
        with forced("direct"):
            desired = ndimage.correlate(image, weights)
        with forced("overlap"):
            np.testing.assert_array_equal(ndimage.correlate(image, weights), desired)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_whole_numbers_are_summed_exactly(dtype):
    """Counts stay counts, and zeros zero."""
    image = np.zeros((400, 500), dtype)
    image[100:120, 200:230] = 1
    kernel = np.ones((61, 61), dtype)
    problem = fastconv.plan(signal.correlate2d, image, kernel, "same").problem
    if dtype != "complex64":
        assert problem.rank == 1 or problem.whole
    random = np.random.default_rng(0).integers(0, 9, (61, 61)).astype(dtype)
    problem = fastconv.plan(signal.correlate2d, image, random, "same").problem
    assert problem.transforms == "overlap" and problem.whole
    with forced("direct"):
        desired = signal.correlate2d(image, random, "same", "wrap")
    actual = signal.correlate2d(image, random, "same", "wrap")
    np.testing.assert_array_equal(actual, desired)
    assert not np.signbit(actual.real).any() or (desired.real < 0).any()
    image[5, 5] = 0.5
    assert not fastconv.plan(signal.correlate2d, image, random, "same").problem.whole


def test_integers_only_where_rounding_is_certain():
    image = noise((600, 600), "uint8")
    assert fastconv.plan(signal.correlate2d, image, noise((41, 41), "uint8"), "same").problem.transforms == "overlap"
    large = np.full((600, 600), 2**62, np.int64)
    assert fastconv.plan(signal.correlate2d, large, np.full((41, 41), 2**61), "same").problem.transforms == ""


KERNELS = {
    "random": np.random.default_rng(0).random((33, 31)) / 500,
    "mean": np.ones((33, 31)) / (33 * 31),  # some sums are whole but for their rounding errors
    "signs": np.random.default_rng(1).standard_normal((25, 26)),
    "whole": np.random.default_rng(2).integers(-9, 9, (33, 31)).astype(float),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "bool"])
def test_integer_results_of_ndimage_are_truncated_as_scipys(dtype, kernel):
    image = (np.random.default_rng(3).integers(0, 256, (150, 160)) - 100 * (dtype[0] == "i")).astype(dtype)
    image[:60, :70] = 1  # flat
    weights = KERNELS[kernel]
    for mode in ("reflect", "constant"):
        for output in (None, "int32"):
            with forced("overlap"):
                actual = ndimage.correlate(image, weights, output, mode, 3.0)
            np.testing.assert_array_equal(actual, scipy.ndimage.correlate(image, weights, output, mode, 3.0))


def test_where_errors_decide_too_often_the_sum_is_direct():
    image, weights = np.full((200, 210), 255, np.uint8), KERNELS["mean"]
    with forced("overlap"):
        np.testing.assert_array_equal(ndimage.correlate(image, weights), scipy.ndimage.correlate(image, weights))
    out = np.zeros((200, 420), np.uint8)[:, ::2]
    with forced("overlap"):
        ndimage.correlate(noise((200, 210), "uint8"), weights, out)
    np.testing.assert_array_equal(out, scipy.ndimage.correlate(noise((200, 210), "uint8"), weights))


def test_wide_integers_are_truncated_directly():
    image = np.random.default_rng(0).integers(-(2**31), 2**31, (600, 600)).astype(np.int32)
    assert fastconv.plan(ndimage.correlate, image, KERNELS["mean"]).problem.transforms == ""
    assert fastconv.plan(ndimage.correlate, image.astype(np.uint8), KERNELS["mean"]).problem.transforms == "overlap"


# -- accuracy and the choice ------------------------------------------------------------------------------------


@fastconv.use(threads=2)
def test_errors_are_comparable_to_those_of_direct_sums():
    """float32, where the choice takes transforms: at most twice the direct sum's typical bound, and in the mean no more."""
    for shape, kernel in [
        ((500, 500), (31, 31)),
        ((500, 500), (63, 41)),
        ((40_000,), (701,)),
        ((60, 60, 60), (13, 13, 13)),
    ]:
        for image in (noise(shape, "float32"), np.random.default_rng(0).random(shape, np.float32) * 255):
            weights = np.random.default_rng(1).uniform(-1, 1, kernel).astype(np.float32)
            problem = fastconv.plan(ndimage.correlate, image, weights).problem
            assert problem.transforms == "overlap"
            with forced("overlap"):
                exact = ndimage.correlate(image.astype(float), weights.astype(float))
            errors = {}
            for name in ("overlap", "direct"):
                with forced(name):
                    errors[name] = np.abs(ndimage.correlate(image, weights) - exact)
            typical = np.finfo(np.float32).eps / 2 * np.sqrt(weights.size) * np.abs(weights).sum() * np.abs(image).max()
            assert errors["overlap"].max() < 2 * typical
            assert errors["overlap"].mean() < 2 * errors["direct"].mean()


def test_precision_and_the_weights_decide():
    image, weights = noise((600, 600), "float32"), noise((41, 41), "float32", 1)
    assert fastconv.plan(ndimage.correlate, image, weights).problem.transforms == "overlap"
    with fastconv.use(precision="strict"):
        assert fastconv.plan(ndimage.correlate, image, weights).problem.transforms == ""
    peak = weights * 1e-6
    peak[20, 20] = 1.0  # the direct sum is more accurate
    assert fastconv.plan(ndimage.correlate, image, peak).problem.transforms == ""
    with pytest.raises(NotImplementedError, match=r"overlap.*cannot"), forced("overlap"):
        ndimage.correlate(image, peak)
    assert fastconv.plan(ndimage.correlate, image, weights[:3, :3]).problem.transforms == ""


def test_small_problems_are_not_examined(monkeypatch):
    monkeypatch.setattr("fastconv.choice.ways_of", None)
    image = noise((64, 64), "float32")
    ndimage.correlate(image, noise((9, 9), "float32"))
    signal.correlate2d(image, noise((5, 5), "float32"))


def test_the_plan_tells():
    image, weights = noise((600, 600), "float32"), noise((41, 41), "float32", 1)
    plan = fastconv.plan(ndimage.correlate, image, weights)
    assert plan.implementation == "cython:overlap"
    text = str(plan)
    assert "blocks of" in text and "outputs each" in text
    assert plan.workspace(1) >= 8 * prod(overlap.best_blocks(plan.problem, 1).lengths)
    long = fastconv.plan(signal.correlate, noise((90_000,)), noise((40_000,)), "same")
    assert long.implementation.endswith(":transforms") and "whole arrays" in str(long)


def test_every_engine_has_transforms(engine):
    if engine == "reference":
        return
    image, weights = noise((200, 220)), noise((41, 45), seed=1)
    for mode in ("reflect", "constant"):
        actual = ndimage.correlate(image, weights, mode=mode, cval=0.5)
        np.testing.assert_allclose(actual, scipy.ndimage.correlate(image, weights, mode=mode, cval=0.5), atol=1e-11)
    with forced("transforms"):
        actual = ndimage.correlate(image, weights, mode="wrap")
    np.testing.assert_allclose(actual, scipy.ndimage.correlate(image, weights, mode="wrap"), atol=1e-11)


def test_estimates_grow_with_the_work():
    small = costs.overlap_seconds(2**12, 1, 2**12, 10, 4, 10**6, 1)
    assert (
        costs.overlap_seconds(2**12, 1, 2**12, 20, 4, 10**6, 1)
        > small
        > costs.overlap_seconds(2**12, 1, 2**12, 10, 4, 10**6, 2)
    )
    assert costs.overlap_seconds(2**12, 1, 2**12, 10, 8, 10**6, 1) > small


def test_many_threads_at_once():
    from concurrent.futures import ThreadPoolExecutor

    images = [noise((300, 300), "float32", seed) for seed in range(6)]
    weights = noise((41, 41), "float32", 9)
    desired = [ndimage.correlate(image, weights) for image in images]
    with ThreadPoolExecutor(6) as pool:
        for actual, wanted in zip(
            pool.map(lambda image: ndimage.correlate(image, weights), images), desired, strict=True
        ):
            np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("kernel_dtype", ["float16", "longdouble"])
def test_kernels_of_other_types(kernel_dtype):
    image, weights = noise((131, 193), "float32"), noise((45, 45), "float64", 1).astype(kernel_dtype)
    actual = ndimage.correlate(image, weights)
    desired = ndimage.correlate(image.astype(np.float64), weights.astype(np.float64))
    np.testing.assert_allclose(actual, desired, atol=1e-3)
    assert np.isfinite(signal.convolve2d(image, weights)).all()


@fastconv.use(threads=2)
@pytest.mark.parametrize(("size", "taps"), [(8192, 31), (2048, 15), (4096, 21)])
def test_large_images_have_blocks(size, taps):
    """The best blocks of a large image by points alone are longer than errors and caches allow."""
    problem = ConvProblem(
        in_shape=(size, size), kernel_shape=(taps, taps), out_shape=(size, size), in_dtype="float32",
        kernel_dtype="float32", acc="float32", out_dtype="float32", pad=(taps // 2,) * 2,
        boundary=("reflect",) * 2, stride=(1, 1), dilation=(1, 1), transforms="overlap",
    )  # fmt: skip
    blocks = overlap.best_blocks(problem, 2)
    direct = costs.direct_seconds(problem.flops, problem.out_shape, 2, "float32", 2, 0)
    assert blocks is not None and blocks.seconds < direct


def test_spectra_follow_the_weights():
    """The spectrum that is kept belongs to the weights of the call before."""
    rng = np.random.default_rng(3)
    image, kernel = rng.random((200, 190)), rng.random((31, 29))
    with fastconv.use(engine="cython"), forced("overlap"):
        for weights in (kernel, kernel, kernel[::-1], kernel.astype("f4"), kernel):
            for threads in (1, 2, 1):
                result = fastconv.correlate2d(image, weights, "same", threads=threads)
                np.testing.assert_allclose(result, scipy.signal.correlate2d(image, weights, "same"), rtol=1e-6)
        kernel[3, 4] += 5  # in place
        expected = scipy.signal.correlate2d(image, kernel, "same")
        np.testing.assert_allclose(fastconv.correlate2d(image, kernel, "same"), expected, rtol=1e-10)


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_are_replayed_until_something_is_not_finite(threads):
    """Tapes hold the kernel's spectrum; a call whose blocks report NaN or infinity goes the long way."""
    x, w = noise((300, 290), "float32"), noise((31, 27), "float32", 1)

    def plays() -> int:
        return sum(tapes.plays for tapes in memories)

    with fastconv.use(engine="cython", threads=threads):
        assert fastconv.plan(ndimage.correlate, x, w).implementation == "cython:overlap"
        for kernel in (w, w * 2):
            first = ndimage.correlate(x, kernel)
            assert ndimage.correlate(x, kernel).tobytes() == first.tobytes()  # at first it is found out what matters
            before = plays()
            for image in (x, x + 1):
                desired = scipy.ndimage.correlate(image.astype(np.float64), kernel.astype(np.float64))
                np.testing.assert_allclose(ndimage.correlate(image, kernel), desired, atol=2e-3)
            assert plays() == before + 2
        for value in (np.nan, np.inf):
            bad = x.copy()
            bad[150, 140] = value
            found = np.isfinite(ndimage.correlate(bad, w))
            assert (~found).sum() == w.size and not found[135:166, 127:154].any()
        np.testing.assert_array_equal(ndimage.correlate(x, w * 2), first)
    whole = np.rint(x * 10)
    assert np.array_equal(np.rint(ndimage.correlate(whole, np.rint(w * 9))), ndimage.correlate(whole, np.rint(w * 9)))
