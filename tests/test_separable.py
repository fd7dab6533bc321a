"""Kernels that are one outer product, as a pass down and a pass across, against the direct filter."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import scipy.ndimage
from cases import layouts, values
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import reference
from fastconv.algorithms import separable
from fastconv.algorithms.naive import Naive
from fastconv.algorithms.separable import Separable
from fastconv.engines import cython_cpu
from fastconv.plan import plan_for
from fastconv.problem import ConvProblem, SeparableProblem
from fastconv.separability import OuterProducts
from fastconv.testing import assert_matches

ENGINES = ["cython", "numba"]
RULES = ["reflect", "fill", "nearest", "mirror", "wrap"]
SHAPES = [(100, 130), (9, 200), (64, 31), (200, 5), (7, 9), (1, 50), (50, 1), (20, 2100), (3, 20, 50), (2, 2, 17, 40)]
TAPS = [(9, 9), (3, 41), (41, 3), (17, 2), (2, 18)]


@pytest.fixture(params=ENGINES)
def module(request):
    from fastconv.table import _ENGINE_MODULES, import_module

    return import_module(_ENGINE_MODULES[request.param])


def problem_of(image: np.ndarray, down: np.ndarray, across: np.ndarray, rule: str, **changes) -> ConvProblem:
    n, name = image.ndim, image.dtype.name
    taps = (*(1,) * (n - 2), down.size, across.size)
    problem = ConvProblem(
        in_shape=image.shape,
        kernel_shape=taps,
        out_shape=image.shape,
        in_dtype=name,
        kernel_dtype="float64",
        acc=name,
        out_dtype=name,
        pad=tuple(k // 2 for k in taps),
        boundary=(rule,) * n,
        stride=(1,) * n,
        dilation=(1,) * n,
        rank=1,
    )
    return replace(problem, **changes)


def check(module, image, down, across, rule, out=None, fill=0.5, threads=1, **changes) -> None:
    """Whatever `fastconv.separability` thinks of the size of the problem."""
    problem = problem_of(image, down, across, rule, **changes)
    assert separable.refuse(problem) is None
    kernel = np.multiply.outer(down, across).reshape(problem.kernel_shape)
    out = np.full(problem.out_shape, 7, image.dtype) if out is None else out
    desired = np.empty(problem.out_shape, image.dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(separable, "outer_products", lambda *_: OuterProducts((down[None], across[None]), True))
        executor = Separable(problem, module)
        executor(image[None, None], kernel[None, None], out[None, None], None, np.asarray(fill), threads)
    direct = plan_for(replace(problem, rank=0), "cython")
    direct.execute(image[None, None], kernel[None, None], desired[None, None], fill=np.asarray(fill), threads=1)
    largest = np.abs(image[np.isfinite(image)]).max(initial=abs(fill))
    assert_matches(out, desired, np.abs(kernel).sum() * largest, down.size * across.size)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("taps", TAPS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_boundary_rule(module, dtype, taps, rule):
    down, across = (values((k,), "float64", k) for k in taps)
    for shape in SHAPES:
        check(module, values(shape, dtype), down, across, rule)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layouts(module, dtype):
    image, down, across = values((45, 70), dtype), values((7,), "float64", 1), values((10,), "float64", 2)
    for layout, view in layouts(image).items():
        if layout == "byte-swapped":  # the public functions copy it
            continue
        check(module, view, down, across, "mirror")
        if layout != "read-only":
            check(
                module,
                image,
                down,
                across,
                "wrap",
                out=np.zeros_like(view, subok=False) if layout == "unaligned" else view,
            )


@pytest.mark.parametrize("rule", ["fill", "reflect"])
def test_outputs_of_another_size(module, rule):
    """Parts of the image, and more than it."""
    image, down, across = values((60, 90), "float32"), values((9,), "float64", 1), values((12,), "float64", 2)
    for grown in (-11, -8, 3, 8):
        shape = tuple(n + grown for n in image.shape)
        for pad in ((0, 0), (8, 11), (4, 0)):
            check(module, image, down, across, rule, out_shape=shape, pad=pad)


def test_nan_and_inf(module):
    image, bell = values((60, 90), "float32"), np.array([1.0, 2, 4, 3, 1])
    image[3, 4], image[20, 70], image[59, 89] = np.nan, np.inf, -np.inf
    for rule in RULES:
        check(module, image, bell, bell, rule)


def test_threads_do_not_change_the_result(module):
    image, down, across = values((133, 170), "float32"), values((7,), "float64", 1), values((10,), "float64", 2)
    problem = problem_of(image, down, across, "reflect")
    kernel, results = np.outer(down, across)[None, None], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(separable, "outer_products", lambda *_: OuterProducts((down[None], across[None]), True))
        patch.setattr("fastconv.costs.threads_worth_using", lambda flops, nbytes, threads: threads)
        for threads in (1, 2, 3, 7):
            results.append(np.empty_like(image))
            Separable(problem, module)(image[None, None], kernel, results[-1][None, None], None, np.asarray(0), threads)
    assert all(np.array_equal(result, results[0]) for result in results)


@given(st.data())
def test_any(module, data):
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 90)))
    taps = data.draw(st.tuples(st.integers(2, 12), st.integers(2, 40)))
    dtype, rule = data.draw(st.sampled_from(["float32", "float64"])), data.draw(st.sampled_from(RULES))
    pad = tuple(data.draw(st.integers(0, k - 1)) for k in taps)
    down, across = (values((k,), "float64", k) for k in taps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(separable, "ROW_BYTES", data.draw(st.sampled_from([128, 1024, 8192])))
        check(module, values(shape, dtype), down, across, rule, pad=pad)


def test_the_plan_tells():
    image, bell = np.zeros((600, 600), "float32"), np.outer(np.hanning(23)[1:-1], np.hanning(19)[1:-1])
    plan = fastconv.plan(fastconv.ndimage.correlate, image, bell)
    assert plan.implementation.endswith(":separable")
    assert plan.workspace(2) < 2**20
    assert fastconv.plan(fastconv.ndimage.gaussian_filter, image, 3).implementation.endswith(":separable")
    for changes, why in (
        ({"rank": 2}, "outer product"),
        ({"acc": "complex64", "in_dtype": "complex64", "out_dtype": "complex64"}, "float32"),
        ({"out_dtype": "int32"}, "results in float32"),
        ({"stride": (2, 1)}, "without stride"),
        ({"rank": 0}, "one line"),
    ):
        assert why in separable.refuse(replace(plan.problem, **changes))
    colours = problem_of(
        np.zeros((2, 3, 4), "float32"), np.ones(3), np.ones(3), "fill", pad=(1, 1, 1), kernel_shape=(1, 3, 3)
    )
    assert "filtered" in separable.refuse(colours)
    volume = problem_of(
        np.zeros((30, 40, 200), "float32"), np.ones(3), np.ones(3), "fill", pad=(1, 1, 0), kernel_shape=(3, 3, 1)
    )
    assert "last two" in separable.refuse(volume)


# -- lines that are given -------------------------------------------------------------------------

LINES = [
    ((200,), (9,)), ((3000,), (101,)), ((1,), (5,)), ((5,), (12,)),  # signals
    ((3, 700), (1, 17)), ((700, 3), (17, 1)), ((150, 40), (1, 9)), ((150, 40), (9, 1)), ((1, 9), (4, 1)),
    ((20, 30, 40), (5, 1, 1)), ((20, 30, 40), (1, 5, 1)), ((20, 30, 40), (1, 1, 5)), ((70, 3, 2), (1, 4, 1)),
    ((40, 50, 3), (5, 8, 1)), ((9, 40, 5), (3, 4, 1)), ((500, 2, 2), (3, 4, 1)), ((12, 1, 90), (3, 1, 4)),
    ((60, 5, 90), (1, 3, 4)),
]  # fmt: skip


def lines_of(image: np.ndarray, taps: tuple[int, ...], rule: str, acc: str) -> tuple[SeparableProblem, np.ndarray]:
    """A problem with lines along the axes of several taps, and these."""
    conv = ConvProblem(
        in_shape=image.shape,
        kernel_shape=taps,
        out_shape=image.shape,
        in_dtype=image.dtype.name,
        kernel_dtype="float64",
        acc=acc,
        out_dtype=acc,
        pad=tuple(k // 3 for k in taps),
        boundary=tuple(rule if k > 1 else "fill" for k in taps),
        stride=(1,) * image.ndim,
        dilation=(1,) * image.ndim,
    )
    return SeparableProblem(conv), np.concatenate([values((k,), "float64", k) for k in taps if k > 1])


def summed(problem: SeparableProblem, image: np.ndarray, lines: np.ndarray, fill: float) -> np.ndarray:
    """The direct sums in double."""
    kernel, wide = problem.kernel(lines), image.dtype.kind == "c"
    acc = "complex128" if wide else "float64"
    out = np.empty(problem.conv.out_shape, acc)
    conv = replace(problem.conv, acc=acc, out_dtype=acc)
    reference.conv(conv, image[None, None], kernel[None, None], out[None, None], None, np.asarray(fill))
    return out.astype(problem.conv.out_dtype)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64"])
def test_lines_along_any_axes(module, dtype, rule):
    for (shape, taps), acc in product(LINES, ("float32", "float64")):
        image = values(shape, dtype)
        problem, lines = lines_of(image, taps, rule, acc)
        assert separable.refuse(problem) is None
        desired, out = summed(problem, image, lines, 0.5), np.full(shape, 7, acc)
        scale = np.abs(problem.kernel(lines)).sum() * np.abs(image.astype(float)).max(initial=0.5)
        for threads in (1, 3):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("fastconv.costs.threads_worth_using", lambda flops, nbytes, threads: threads)
                Separable(problem, module)(image[None, None], lines, out[None, None], None, np.asarray(0.5), threads)
            assert_matches(out, desired, scale, sum(taps), acc, f"{problem}, {threads} threads")


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_other_axes_run_as_passes(engine, dtype):
    for shape, taps in [((30, 40, 200), (3, 5, 1)), ((9, 20, 30), (3, 4, 5)), ((4, 5, 6, 7), (3, 1, 2, 2))]:
        image = values(shape, dtype)
        problem, lines = lines_of(image, taps, "wrap", dtype)
        plan, out = plan_for(problem, engine), np.empty(shape, dtype)
        assert plan.implementation.split(":")[1] == ("naive" if engine == "reference" else "lowrank")
        plan.execute(image[None, None], lines, out[None, None], fill=np.asarray(0.0))
        scale = np.abs(problem.kernel(lines)).sum() * np.abs(image).max()
        assert_matches(out, summed(problem, image, lines, 0.0), scale, sum(taps))


def test_lines_of_calls_are_their_own(engine):
    """Calls that are replayed take the weights that they are given."""
    image = values((40, 60), "float32")
    for taps in (3, 8):
        for seed in range(3):
            weights = values((taps,), "float64", seed)
            for axis in (0, 1):
                desired = scipy.ndimage.correlate1d(image.astype(float), weights, axis)
                np.testing.assert_allclose(fastconv.ndimage.correlate1d(image, weights, axis), desired, atol=1e-4)


PAIRS = [((60, 90), (5, 4)), ((9, 300), (3, 17)), ((30, 40, 3), (3, 4, 1)), ((300, 4), (5, 3))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape, taps", PAIRS)
def test_sums_are_combined_with_the_output(module, dtype, shape, taps):
    for rule in ("reflect", "wrap", "fill"):
        image = values(shape, dtype)
        problem, lines = lines_of(image, taps, rule, dtype)
        sums, before = summed(problem, image, lines, 0.5).astype(float), np.abs(values(shape, dtype, 1))
        wanted = {"": sums, "square": sums**2, "add": before + sums, "root": np.sqrt(before + sums**2)}
        scale = np.abs(problem.kernel(lines)).sum() * np.abs(image).max() + before.max() + 1
        for combined, desired in wanted.items():
            for out in (before.copy(), np.repeat(before, 2, -1)[..., ::2]):  # the second has gaps
                executor = Separable(SeparableProblem(problem.conv, combined), module)
                executor(image[None, None], lines, out[None, None], None, np.asarray(0.5), 1)
                assert_matches(out, desired.astype(dtype), scale**2, sum(taps), dtype, combined)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_along_two_axes_are_added(module, dtype):
    for (shape, taps), rule in product(PAIRS, RULES):
        image = values(shape, dtype)
        image[3, 2] = np.inf  # which the corners of the window do not see
        problem, lines = lines_of(image, taps, rule, dtype)
        problem = replace(problem, combined="cross")
        out, desired = np.full(shape, 7, dtype), np.empty(shape, dtype)
        Separable(problem, module)(image[None, None], lines, out[None, None], None, np.asarray(0.5), 2)
        Naive(problem, reference)(image[None, None], lines, desired[None, None], None, np.asarray(0.5), 1)
        assert_matches(out, desired, 6 * np.abs(lines).sum(), sum(taps), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_pass_continues_with_the_fill_value(module, dtype):
    for shape, taps in PAIRS:
        image = values(shape, dtype)
        problem, lines = lines_of(image, taps, "fill", dtype)
        problem = replace(problem, continued=True)
        out, desired = np.full(shape, 7, dtype), np.empty(shape, dtype)
        Separable(problem, module)(image[None, None], lines, out[None, None], None, np.asarray(2.5), 2)
        Naive(problem, reference)(image[None, None], lines, desired[None, None], None, np.asarray(2.5), 1)
        assert_matches(out, desired, 3 * np.abs(problem.kernel(lines)).sum(), sum(taps), dtype)


@pytest.mark.parametrize("sigma", [1, 4])
@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64", "complex64"])
def test_constant_borders_of_gaussians(engine, dtype, sigma):
    for shape in ((30, 41), (40, 30, 50)) if engine != "reference" else ((12, 14),):
        for seed in range(2):  # the second time from a tape
            image = values(shape, dtype, seed)
            desired = scipy.ndimage.gaussian_filter(image, sigma, mode="constant", cval=7)
            found = fastconv.ndimage.gaussian_filter(image, sigma, mode="constant", cval=7)
            np.testing.assert_allclose(
                found, desired, rtol=0, atol=1e-4 if dtype in ("float32", "complex64") else 1e-12
            )


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_borders_of_derivatives(engine, dtype, axis):
    """What passes leave beyond the border depends on their order."""
    for shape in ((30, 41), (40, 5), (12, 9, 20)):
        for cval in (0, 2):
            desired = scipy.ndimage.sobel(values(shape, dtype), axis, mode="constant", cval=cval)
            found = fastconv.ndimage.sobel(values(shape, dtype), axis, mode="constant", cval=cval)
            np.testing.assert_allclose(found, desired, rtol=0, atol=1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1500, 1500), (90, 130, 250)])
def test_nothing_of_the_size_of_the_image_is_allocated(dtype, shape):
    image = (90 * values(shape, "float64")).astype(dtype)
    out = np.empty_like(image)
    for call in (
        partial(fastconv.ndimage.gaussian_filter, image, 1, output=out, mode="constant", cval=3),
        partial(fastconv.ndimage.gaussian_filter, image, 6, output=out),
        partial(fastconv.ndimage.uniform_filter, image, 31, output=out),
        partial(fastconv.ndimage.maximum_filter, image, 5, output=out),
    ):
        with fastconv.use(threads=1):
            call()
            tracemalloc.start()
            call()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 2e6, call


def test_memory_is_bounded():
    """Whatever the image and the lines, a thread takes less than 2 MB."""
    for shape, taps in [
        ((8192, 8192), (33, 33)),
        ((8192, 8192), (401, 401)),
        ((100, 10**6), (9, 1)),
        ((10**7,), (1001,)),
    ]:
        image = np.broadcast_to(np.float32(0), shape)
        problem, _ = lines_of(image, taps, "reflect", "float32")
        assert plan_for(problem, "cython").workspace(1) < 2 * 10**6
    strided = Separable(lines_of(np.zeros((900, 900), "float32"), (33, 33), "reflect", "float32")[0], cython_cpu)
    assert strided._bind((0, 0, 7200, 8), (0, 0, 3600, 4), 1).scratch_bytes < 2 * 10**6


def test_long_lines_of_short_signals_are_shared_by_threads():
    problem = problem_of(values((3000,), "float64"), np.ones(()), values((3747,), "float64", 1), "fill")
    problem = replace(problem, kernel_shape=(3747,), pad=(1873,))
    executor = Separable(problem, cython_cpu)
    units = [executor._bind((0, 0, 8), (0, 0, 8), threads).units for threads in (1, 2, 8)]
    assert units[0] == 1 and 2 <= units[1] <= units[2]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wherever_rows_begin(module, dtype):
    """Tiles begin at cache lines, wherever in one the image does."""
    base, down, across = values((30, 90), dtype), values((4,), "float64", 1), values((5,), "float64", 2)
    for begin in range(17):
        check(module, base[:, begin:], down, across, "reflect")
