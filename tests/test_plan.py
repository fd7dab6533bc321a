"""Problems, plans and the table of implementations."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest
from cases import LONG, values
from hypothesis import given
from strategies import conv_problems, pool_problems

import fastconv
from fastconv import config, ndimage, replay
from fastconv.choice import forced
from fastconv.engines import numba_cpu
from fastconv.plan import Plan, plan_for, planned
from fastconv.problem import ConvProblem, PoolProblem
from fastconv.table import TABLE
from fastconv.testing import assert_identical

IMAGE, KERNEL = np.ones((64, 80), "float32"), np.ones((3, 5), "float32")


def conv_problem(dtype: str = "float32", **changes) -> ConvProblem:
    problem = ConvProblem((64, 80), (3, 5), (62, 76), *[dtype] * 4, (0, 0), ("fill",) * 2, (1, 1), (1, 1))
    return dataclasses.replace(problem, **changes)


def pool_problem(**changes) -> PoolProblem:
    problem = PoolProblem("max", (8, 8), (2, 2), (4, 4), "float32", (0, 0), (2, 2), (1, 1))
    return dataclasses.replace(problem, **changes)


# -- problems -----------------------------------------------------------------------------------


def test_problems_are_values():
    for make in (conv_problem, pool_problem):
        assert make() == make() and hash(make()) == hash(make())
        with pytest.raises(dataclasses.FrozenInstanceError):
            make().pad = (1, 1)


@given(conv_problems())
def test_conv_problems_print_as_one_line(problem_and_arrays):
    problem, _ = problem_and_arrays
    line = str(problem)
    assert line.startswith("conv ") and "\n" not in line
    for field, value in {"i": problem.in_shape, "k": problem.kernel_shape, "o": problem.out_shape}.items():
        assert field + "x".join(map(str, value)) in line


@given(pool_problems())
def test_pool_problems_print_as_one_line(problem_and_arrays):
    problem, _ = problem_and_arrays
    assert str(problem).startswith(f"{problem.kind}pool ") and "\n" not in str(problem)


def test_different_problems_print_differently():
    changes = [
        {},
        {"pad": (1, 1)},
        {"stride": (2, 1)},
        {"dilation": (1, 2)},
        {"batch": 2},
        {"bias": True},
        {"exact": "line"},
    ]
    changes += [{"channels_last": True}, {"boundary": ("wrap", "fill")}, {"acc": "float64"}, {"out_dtype": "int8"}]
    changes += [{"channels": 4}, {"filters": 6}, {"channels": 4, "filters": 6, "groups": 2}]
    assert len({str(conv_problem(**change)) for change in changes}) == len(changes)
    changes = [{}, {"kind": "avg"}, {"indices": True}, {"count_include_pad": False}, {"divisor": 3}, {"dtype": "int8"}]
    assert len({str(pool_problem(**change)) for change in changes}) == len(changes)


def test_work_is_counted():
    assert conv_problem().flops == 2 * 15 * 62 * 76
    assert conv_problem("complex64").flops == 4 * conv_problem().flops
    assert conv_problem().nbytes == 4 * (64 * 80 + 15 + 62 * 76)
    grouped = conv_problem(channels=6, filters=4, groups=2, batch=3)
    assert grouped.flops == 2 * 15 * 3 * 62 * 76 * 3 * 4
    assert pool_problem(indices=True).nbytes == 4 * 64 + 12 * 16


# -- the table ----------------------------------------------------------------------------------


def test_the_reference_is_last_and_refuses_nothing():
    assert TABLE[-1].engine == "reference"
    assert [row.engine for row in TABLE].count("reference") == 1
    for problem in (conv_problem(LONG[0]), conv_problem("bool"), pool_problem(kind="avg", dtype=LONG[0])):
        assert TABLE[-1].refuse(problem) is None


def test_every_declared_engine_has_rows():
    from fastconv.config import ENGINES

    assert {row.engine for row in TABLE} == set(ENGINES) - {"auto"}
    assert len({(row.name, row.leaves) for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_refusals_are_sentences(row):
    """They continue the implementation's name: "cython:filter does not sum in longdouble"."""
    problems = [conv_problem(d) for d in ("float32", "bool", "float16", "complex64", *LONG)]
    problems += [conv_problem(exact="line", acc="float64", out_dtype="uint8"), conv_problem(filters=64, channels=64)]
    problems += [
        pool_problem(),
        pool_problem(kind="avg", dtype="bool"),
        pool_problem(dtype="float16"),
        pool_problem(dtype="complex64"),
    ]
    problems += [
        ConvProblem((4,) * 5, (2,) * 5, (3,) * 5, *["float32"] * 4, (0,) * 5, ("fill",) * 5, (1,) * 5, (1,) * 5)
    ]
    for problem in problems:
        why = row.refuse(problem)
        assert why is None or (why[0].islower() and why[-1] not in ".!" and "\n" not in why and len(why.split()) > 2), (
            why
        )


@pytest.mark.parametrize("engine", ["numba", "cython", "cuda"])
def test_a_named_engine_tells_why_it_cannot(engine):
    with pytest.raises(NotImplementedError, match=f"engine '{engine}' .*{LONG[0]}") as error:
        plan_for(conv_problem(LONG[0]), engine)
    assert str(conv_problem(LONG[0])) in str(error.value)
    with fastconv.use(engine=engine), pytest.raises(NotImplementedError, match=LONG[0]):
        fastconv.correlate2d(IMAGE.astype(np.longdouble), KERNEL)


# -- plans --------------------------------------------------------------------------------------


def test_plans_are_cached_by_value():
    assert plan_for(conv_problem(), "cython") is plan_for(conv_problem(), "cython")
    assert plan_for(conv_problem(), "cython") is not plan_for(conv_problem(), "reference")
    assert plan_for(conv_problem(), "cython") is not plan_for(conv_problem(pad=(1, 0)), "cython")


@pytest.mark.parametrize("function", ["convolve2d", "correlate2d"])
def test_plan_of_a_call_computes_nothing(engine, function):
    out = np.full((62, 76), 7, "float32")
    plan = fastconv.plan(getattr(fastconv, function), IMAGE, KERNEL, "valid", out=out)
    assert isinstance(plan, Plan) and plan.implementation.startswith(engine + ":")
    assert (out == 7).all()
    assert plan.problem == conv_problem()
    plan.execute(IMAGE[None, None], KERNEL[None, None], out[None, None])
    assert (out == 15).all()


def test_plans_of_all_functions():
    x = np.ones((2, 3, 16, 16), "float32")
    calls = [
        (fastconv.convolve, IMAGE, KERNEL, "same", "direct"),
        (fastconv.correlate, IMAGE, KERNEL, "same", "direct"),
        (fastconv.ndimage.convolve, IMAGE, KERNEL),
        (fastconv.ndimage.correlate1d, IMAGE, KERNEL[0]),
        (fastconv.conv2d, x, np.ones((4, 3, 3, 3), "float32")),
        (fastconv.max_pool2d, x, 2),
        (fastconv.avg_pool2d, x, 2),
    ]
    for function, *args in calls:
        assert ":" in fastconv.plan(function, *args).implementation


# -- calls that are planned ---------------------------------------------------------------------

PLANNED = [
    (fastconv.ndimage.correlate, (KERNEL,), {"mode": "mirror"}),
    (fastconv.ndimage.correlate, (KERNEL, "float64", "constant", 2.0), {}),
    (fastconv.ndimage.gaussian_filter, (1.5,), {}),
    (fastconv.ndimage.gaussian_gradient_magnitude, (1.5,), {}),  # not replayed
    (fastconv.ndimage.maximum_filter, (), {"size": (3, 4)}),
    (fastconv.ndimage.median_filter, (3,), {}),
    (fastconv.correlate2d, (KERNEL, "same"), {"boundary": "symm"}),
    (fastconv.convolve, (KERNEL,), {"method": "direct"}),
]


@pytest.mark.parametrize("function, args, kwargs", PLANNED, ids=[row[0].__name__ for row in PLANNED])
def test_a_planned_call_is_the_call_on_other_arrays(engine, function, args, kwargs):
    planned = fastconv.plan(function, IMAGE, *args, **kwargs)
    for seed in range(4):  # made, made and recorded, replayed
        image = values(IMAGE.shape, "float32", seed)
        result = planned(image)
        assert_identical(result, function(image, *args, **kwargs))
        assert_identical(planned(np.asfortranarray(image)), function(np.asfortranarray(image), *args, **kwargs))
        out = np.full_like(result, 7)
        if result.dtype == image.dtype:
            assert planned(image, out=out) is out
            assert_identical(out, result)


def test_a_planned_call_takes_other_weights_and_arguments_by_name():
    planned = fastconv.plan(fastconv.ndimage.convolve, mode="wrap", weights=KERNEL, input=IMAGE)
    for seed in range(3):
        image, kernel = values(IMAGE.shape, "float32", seed), values(KERNEL.shape, "float32", seed + 9)
        assert_identical(planned(image), fastconv.ndimage.convolve(image, KERNEL, mode="wrap"))
        assert_identical(planned(image, kernel), fastconv.ndimage.convolve(image, kernel, mode="wrap"))


def test_a_planned_call_takes_other_weights():
    planned, other = fastconv.plan(fastconv.ndimage.correlate, IMAGE, KERNEL), KERNEL + 100
    for kernel in (KERNEL, other, KERNEL, other):
        assert_identical(planned(IMAGE, kernel), fastconv.ndimage.correlate(IMAGE, kernel))


def test_a_planned_call_keeps_its_settings():
    with fastconv.use(engine="reference", threads=1, precision="strict"):
        planned = fastconv.plan(fastconv.ndimage.correlate, IMAGE / 3, KERNEL / 7)
    image = values(IMAGE.shape, "float32")
    with fastconv.use(precision="strict"):
        desired = fastconv.ndimage.correlate(image, KERNEL / 7)
    with fastconv.use(precision="fast"):
        for _ in range(3):
            assert_identical(planned(image), desired)
        assert config.current_precision() == "fast"


def test_a_planned_call_follows_the_default_number_of_threads():
    planned, before = fastconv.plan(fastconv.ndimage.correlate, IMAGE, KERNEL), fastconv.get_num_threads()
    desired = fastconv.ndimage.correlate(IMAGE, KERNEL)
    try:
        for threads in (before, 1, before):
            fastconv.set_num_threads(threads)
            for _ in range(3):
                assert_identical(planned(IMAGE), desired)
    finally:
        fastconv.set_num_threads(before)


def test_a_planned_call_inside_others():
    planned = fastconv.plan(fastconv.ndimage.correlate, IMAGE, KERNEL)
    planned(IMAGE)
    assert fastconv.plan(lambda image: planned(image), IMAGE).implementation == planned.implementation
    both = fastconv.plan(lambda image: planned(image) + planned(image), IMAGE)
    assert_identical(both(IMAGE), 2 * planned(IMAGE))


@pytest.mark.parametrize(
    "arrays, error, words",
    [
        ((), TypeError, "1 to 2 arrays; got 0"),
        ((IMAGE, KERNEL, KERNEL), TypeError, "got 3"),
        ((IMAGE[1:],), ValueError, r"\(64, 80\) float32; got \(63, 80\)"),
        ((IMAGE.astype("float64"),), ValueError, "got .* float64"),
        ((IMAGE, KERNEL.T), ValueError, r"\(3, 5\)"),
    ],
)
def test_a_planned_call_refuses_other_shapes_and_dtypes(arrays, error, words):
    planned = fastconv.plan(fastconv.ndimage.correlate, IMAGE, KERNEL)
    for _ in range(3):
        planned(IMAGE)
        with pytest.raises(error, match=words):
            planned(*arrays)


def test_printing_a_plan():
    with fastconv.use(engine="reference", threads=1):
        text = str(fastconv.plan(fastconv.correlate2d, IMAGE, KERNEL, "valid"))
    lines = dict(line.split(maxsplit=1) for line in text.splitlines() if not line.startswith(("one thread", "passed")))
    assert lines["problem"] == str(conv_problem())
    assert lines["implementation"] == "reference:naive"
    assert lines["work"].endswith("kB at least")
    assert lines["workspace"].endswith("KiB")


def test_a_plan_speaks_in_units_of_its_size():
    large = plan_for(conv_problem(in_shape=(4096, 4096), out_shape=(4094, 4092)), "cython")
    assert re.search(
        "work +503 MFLOP, 134 MB at least\none thread +about [0-9.]+ ms\nworkspace +[0-9.]+ [KM]iB", str(large)
    )


def test_a_plan_is_not_passed_over_for_itself():
    plan = fastconv.plan(fastconv.ndimage.correlate, IMAGE, KERNEL)
    for row in str(plan).splitlines():
        assert not row.startswith("passed over") or plan.implementation not in row


def test_a_plan_tells_what_was_passed_over():
    plan = fastconv.plan(fastconv.correlate2d, IMAGE.astype(np.longdouble), KERNEL)
    assert plan.implementation == "reference:naive"
    assert {name.split(":")[0] for name, _ in plan.refusals} >= {"numba", "cython"}
    for name, why in plan.refusals:
        assert any(line.startswith("passed over") and name in line and why in line for line in str(plan).splitlines())


def test_a_call_without_a_plan():
    with pytest.raises(ValueError, match="convolve"):
        fastconv.plan(fastconv.convolve, IMAGE, KERNEL, method="fft")
    with pytest.raises(ValueError, match="mode"):
        fastconv.plan(fastconv.convolve2d, IMAGE, KERNEL, "sideways")
    fastconv.convolve2d(IMAGE, KERNEL)  # and nothing is left behind


def test_workspace_grows_with_threads_only():
    plan = plan_for(conv_problem("int16", acc="uint32", in_shape=(2048, 2048), out_shape=(2046, 2044)), "cython")
    assert 0 < plan.workspace(1) <= plan.workspace(2) <= 2 * plan.workspace(1)


WINDOWED = [
    (ndimage.convolve, np.eye(3) + 1),
    (ndimage.correlate, np.eye(101) + 1),
    (ndimage.gaussian_filter, 1.0),
    (ndimage.gaussian_filter, 20.0),
    (ndimage.gaussian_gradient_magnitude, 3.0),
    (ndimage.sobel, -1),
    (ndimage.uniform_filter, 151),
    (ndimage.maximum_filter, 151),
    (ndimage.median_filter, 5),
    (ndimage.rank_filter, 7, 31),
    (ndimage.grey_erosion, None, np.tri(15) > 0),
]
LINES = [(ndimage.correlate1d, np.arange(1.0, 200.0), axis) for axis in (0, -1)]
MOVING = [(function, n) for function in (ndimage.uniform_filter, ndimage.maximum_filter) for n in (3, 31, 201)]
SOLID = [(ndimage.correlate, np.arange(1.0, 344.0).reshape(7, 7, 7)), *LINES, *MOVING]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "calls"),
    [
        ((300, 200), WINDOWED + LINES),
        ((4096, 4096), WINDOWED + LINES),
        ((30_000, 30_000), WINDOWED[:6] + LINES + MOVING),
        ((64, 200_000), WINDOWED[:6] + LINES + MOVING),
        ((200_000, 64), WINDOWED[:6] + LINES + MOVING),
        ((256, 256, 256), SOLID),
        ((16, 500, 9000), MOVING),
        ((3000, 2000, 3), MOVING),
        ((1 << 24,), LINES + MOVING),
    ],
)
def test_direct_sums_and_passes_need_little_memory_whatever_the_image(dtype, shape, calls):
    image = np.broadcast_to(np.zeros((), dtype), shape)
    for function, *args in calls:
        with forced("direct"):
            plans = planned(function, (image, *args), {})
        assert plans, function
        for plan in plans:
            assert plan.workspace(1) < 2e6 and plan.workspace(8) < 16e6, plan


def test_numba_serves_when_it_is_ready_and_not_before():
    code = """
import numpy as np, sys, fastconv
from fastconv import correlate2d, warmup
from fastconv.ndimage import median_filter
image, kernel = np.ones((64, 80), "f4"), np.ones((3, 5), "f4")
plan = fastconv.plan(median_filter, image, 3)
assert plan.implementation == "cython:rank", plan
assert any(name == "numba:rank" and "not compiled" in why for name, why in plan.refusals), plan
median_filter(image, 3)
assert "numba" not in sys.modules  # a first call waits for no compiler
with fastconv.use(engine="numba"):
    assert fastconv.plan(median_filter, image, 3).implementation == "numba:rank"
warmup(median_filter, image, 3)
assert fastconv.plan(median_filter, image, 3).implementation == "numba:rank"
assert fastconv.plan(median_filter, image.astype("f8"), 3).implementation == "cython:rank"
warmup(correlate2d, image, kernel)
assert fastconv.plan(correlate2d, image, kernel).implementation == "cython:filter"  # the faster one
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_warmup_asks_for_the_kernels_of_any_function(monkeypatch):
    asked = []
    monkeypatch.setattr(numba_cpu, "kernel", lambda *names: asked.append(names) or 0)
    image = np.ones((40, 50), "uint8")
    try:
        for function, args in [
            (fastconv.ndimage.grey_opening, (image, 3)),
            (fastconv.ndimage.gaussian_gradient_magnitude, (image, 1.0)),
            (fastconv.ndimage.median_filter, (image, 5)),
            (fastconv.max_pool2d, (image[None], 2)),
            (fastconv.convolve, (IMAGE, KERNEL, "same", "direct")),
        ]:
            plan_for.cache_clear()
            before = len(asked)
            fastconv.warmup(function, *args)
            assert len(asked) > before, function
        plan_for.cache_clear()
        fastconv.warmup(fastconv.convolve, IMAGE, KERNEL, method="fft")  # nothing to compile
        asked.clear()
        fastconv.warmup()
        operations = {name for name, *_ in asked}
        assert {"filter", "sliding", "rank", "conv", "max_pool", "avg_pool"} <= operations and len(set(asked)) <= 24
    finally:
        plan_for.cache_clear()
        replay.forget()


def test_warmup_draws_a_bar_on_terminals_only(monkeypatch, capsys):
    monkeypatch.setattr(numba_cpu, "kernel", lambda *names: 0)
    try:
        fastconv.warmup()
        assert capsys.readouterr() == ("", "")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        fastconv.warmup()
        assert "compiling" in capsys.readouterr().err
    finally:
        plan_for.cache_clear()
        replay.forget()


def test_a_plan_keeps_the_arguments_that_it_was_made_with():
    image, sigma, kernel = np.random.default_rng(0).random((40, 50)), [1.0, 2.0], np.ones((3, 3))
    smooth, summed = (
        fastconv.plan(ndimage.gaussian_filter, image, sigma),
        fastconv.plan(ndimage.correlate, image, kernel),
    )
    before = smooth(image), summed(image)
    sigma[0], kernel[1, 1] = 4.0, 9.0
    for view in (image, np.asfortranarray(image)):
        np.testing.assert_allclose(smooth(view), before[0], rtol=1e-12)
        np.testing.assert_allclose(summed(view), before[1], rtol=1e-12)
    result = np.empty_like(image)
    assert fastconv.plan(ndimage.correlate, image, kernel, output=result)(image) is result


@pytest.mark.parametrize("function", [fastconv.plan, fastconv.warmup])
def test_what_is_planned_is_a_function(function):
    for wrong in (np.ones((4, 4)), "convolve2d"):
        with pytest.raises(TypeError, match=rf"function must be one of fastconv's.*got {type(wrong).__name__}"):
            function(wrong, np.ones((3, 3)))
