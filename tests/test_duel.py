"""The duel with SciPy: what it draws, what it finds wrong, how it times and what it shows.

Nothing here asserts a speed.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from dataclasses import replace
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fastconv
from fastconv.__main__ import app
from fastconv.bench import duel, duel_report
from fastconv.bench.dice import LARGEST_KERNEL, Array, Dice, Named
from fastconv.bench.random_problems import LONGEST, Problem, draw, functions, problems
from fastconv.bench.recipes import RECIPES

ONCE = duel.Effort(seconds=0.0, rounds=(1, 1))
NOT_TIMED = {"signal.choose_conv_method", "signal.correlation_lags"}  # they filter nothing
DRAWN = [draw(11, index) for index in range(400)]


def made_up(function: str, *arguments: Any, **options: Any) -> Problem:
    return Problem(0, 0, function, arguments, tuple(options.items()), 1e-4, 9, 1.0)


SMALL = made_up("ndimage.convolve", Array((9, 8), "float32", "noise"), Array((3, 3), "float32", "weights"))


# -- what is drawn -----------------------------------------------------------------------------------


def test_every_function_has_a_recipe():
    shared = {f"{m}.{name}" for m in ("signal", "ndimage") for name in import_module(f"fastconv.{m}").__all__}
    assert shared - NOT_TIMED <= set(RECIPES)
    assert set(functions()) <= shared
    for name in RECIPES:
        module, function = name.split(".")
        assert callable(getattr(import_module(f"scipy.{module}"), function))


def test_a_seed_and_an_index_tell_the_problem():
    assert draw(3, 7) == draw(3, 7) != draw(3, 8) != draw(4, 8)
    chosen = list(problems(20, seed=3))
    assert [draw(3, problem.index) for problem in chosen] == chosen
    assert len(set(map(str, chosen))) == 20
    lines = list(problems(5, seed=3, pattern="filter1d"))
    assert all("filter1d" in problem.function for problem in lines) and lines == [draw(3, p.index) for p in lines]
    with pytest.raises(ValueError, match=r"functions must match one of .*ndimage.sobel.*; got 'no such'"):
        next(problems(1, pattern="no such"))


def test_all_sorts_of_problems_are_drawn():
    assert {problem.function for problem in DRAWN} == set(RECIPES)
    images = [problem.image for problem in DRAWN]
    assert {image.ndim for image in images} == {1, 2, 3}
    assert {image.layout for image in images} == {"C", "F", "cropped", "every other", "upside down"}
    assert {image.dtype for image in images} >= set("float32 float64 uint8 int16 int32 complex64 complex128".split())
    options = [dict(problem.options) for problem in DRAWN]
    assert {o["mode"] for o in options if "mode" in o} >= set(
        "reflect constant nearest mirror wrap full same valid".split()
    )
    assert {name for o in options for name in o} >= {"axis", "axes", "cval", "origin", "output", "boundary", "method"}
    for problem in DRAWN:
        assert 0 < problem.estimate < LONGEST
        for array in (a for a in problem.arguments[1:] if isinstance(a, Array) and "transform" not in problem.function):
            assert max(array.shape) <= LARGEST_KERNEL or problem.function.endswith(("fftconvolve", "oaconvolve"))
    sides = [n for image in images if image.ndim == 2 for n in image.shape]
    assert min(sides) < 16 and 2048 < max(sides) <= 4096


@pytest.mark.parametrize("layout", ["C", "F", "cropped", "every other", "upside down"])
def test_arrays_are_as_they_say(layout: str):
    for dtype in ("float32", "uint8", "int16", "complex64", "bool"):
        for content in ("camera", "noise"):
            described = Array((7, 12), dtype, content, layout)
            array = described.make(np.random.default_rng(0))
            np.testing.assert_array_equal(array, described.make(np.random.default_rng(0)))
            assert (array.shape, array.dtype) == ((7, 12), dtype)
            assert array.flags.c_contiguous == (layout == "C") and array.flags.f_contiguous == (layout == "F")
            assert np.ptp(np.abs(array).astype(float)) > 0
    footprint = Array((3, 4), "bool", "footprint").make(np.random.default_rng(0))
    assert footprint[1, 2] and not footprint.all()
    weights = Array((3, 4), "float64", "weights").make(np.random.default_rng(0))
    assert weights.sum() == pytest.approx(1) and weights.min() > 0


def test_functions_as_arguments_belong_to_the_library_that_is_called():
    problem = made_up("ndimage.generic_laplace", Array((9, 8), "float32", "noise"), Named("prewitt"))
    for library in ("fastconv", "scipy"):
        module = import_module(f"{library}.ndimage")
        function, arguments, _ = problem.call(library, *problem.make())
        assert function is module.generic_laplace and arguments[1] is module.prewitt
    assert Named("numpy.median").of(None) is np.median
    assert Named("contrast").of(None)(np.array([3.0, 1.0, 4.0])) == 3.0


def test_dice_are_log_uniform():
    dice = Dice(np.random.default_rng(0))
    rolls = Counter(dice.integer(1, 100) // 10 for _ in range(2000))
    assert 800 < rolls[0] < 1200 and set(rolls) <= set(range(11))


# -- who is right -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_small_random_problems_are_scipys(seed: int):
    chosen = [
        problem
        for problem in problems(60, seed)
        if problem.estimate < 3e-4 and "generic_filter" not in problem.function
    ]
    result = duel.run(chosen, seed=seed, threads=2, effort=ONCE)
    assert len(chosen) > 10 and result.wrong == [] and result.refused == []
    assert [r.index for r in result.results] == [problem.index for problem in chosen]


def spoil(monkeypatch: pytest.MonkeyPatch, spoiled: Any) -> None:
    right = fastconv.ndimage.convolve
    monkeypatch.setattr(fastconv.ndimage, "convolve", lambda *args, **kwargs: spoiled(right(*args, **kwargs)))


@pytest.mark.parametrize("good_calls", [0, 4])
def test_wrong_results_are_found_before_and_after_timing(good_calls: int, monkeypatch: pytest.MonkeyPatch):
    calls = iter(range(10**9))

    def spoiled(output: np.ndarray) -> np.ndarray:
        output[4, 3] += 0.01 if next(calls) >= good_calls else 0
        return output

    spoil(monkeypatch, spoiled)
    result = duel.run([SMALL], seed=0, threads=1, effort=ONCE)
    assert not result.results and "1 of 72 elements are wrong; at (4, 3)" in result.wrong[0]["message"]


@pytest.mark.parametrize(
    "spoiled, message",
    [
        (lambda y: y.astype(np.float64), "fastconv gives ('ndarray', 'float64', (9, 8))"),
        (lambda y: y[1:], "(8, 8)"),
        (lambda y: y * np.nan, "72 of 72"),
        (lambda y: 1 / 0, "fastconv fails: ZeroDivisionError"),
    ],
)
def test_other_results_and_failures_are_wrong(spoiled: Any, message: str, monkeypatch: pytest.MonkeyPatch):
    spoil(monkeypatch, spoiled)
    with warnings.catch_warnings(), pytest.raises(AssertionError) as told:
        duel.fight(SMALL, ONCE)
    assert message in str(told.value)


def test_integers_must_be_equal_and_nan_is_nan():
    a = np.array([1, 2], np.uint8)
    assert duel.compare(a, a.copy(), 0.0) == 0.0
    with pytest.raises(AssertionError, match="1 of 2"):
        duel.compare(a, a + np.uint8([0, 1]), 0.0)
    holes = np.array([np.nan, np.inf, 1.0])
    assert duel.compare(holes, holes.copy(), 0.0) == 0.0
    assert duel.compare(holes + [0, 0, 1e-9], holes, 1e-8) == pytest.approx(1e-9)
    with pytest.raises(AssertionError):
        duel.compare(np.array([0.0, np.inf, 1.0]), holes, 1e-8)


def test_what_scipy_refuses_is_told():
    result = duel.run([replace(SMALL, options=(("mode", "sideways"),))], seed=0, threads=1, effort=ONCE)
    assert not result.results and not result.wrong and "sideways" in result.refused[0]["problem"]


# -- timing ---------------------------------------------------------------------------------------------


class Lane:
    """A side that always takes the same time."""

    def __init__(self, seconds: float):
        self.seconds, self.samples, self.warmed = seconds, [], 0

    def warm(self) -> None:
        self.warmed += 1

    def block(self) -> None:
        self.samples.append(self.seconds)


@pytest.mark.parametrize("ratio, rounds", [(0.5, 4), (0.9, 12), (1.5, 12)])
def test_close_problems_are_measured_longer(ratio: float, rounds: int):
    sides = [Lane(1.0), Lane(ratio)]
    assert duel._alternate(sides, duel.Effort(seconds=60.0, rounds=(2, 4))) == rounds  # type: ignore[arg-type]
    assert [len(side.samples) for side in sides] == [rounds, rounds] and [side.warmed for side in sides] == [1, 1]


# -- reports ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> duel.Duel:
    """Results of given ratios."""
    result = duel.Duel(seed=5, threads=2, seconds=1.0)
    for i, name in enumerate(["ndimage.sobel", "signal.fftconvolve", "ndimage.median_filter", "ndimage.grey_closing"]):
        for j in range(25):
            ratio = (25 * i + j + 1) / 99.0  # the last is above 1
            times = {"scipy": 1e-5 * (j + 1), "fastconv": 1e-5 * (j + 1) * ratio}
            result.results.append(duel.Result(25 * i + j, name, f"{name}(...{j})", times, times, 9, 0.0, 0.0))
    result.wrong = [{"index": 3, "function": "f", "problem": "f(x)", "message": "at (1, 2)"}]
    return result


def test_percentiles_and_worst(made: duel.Duel):
    assert made.percentiles()[50] == pytest.approx(50.5 / 99) and made.percentiles()[100] == pytest.approx(100 / 99)
    assert [result.index for result in made.worst[:3]] == [99, 98, 97]
    assert duel.Duel(seed=0, threads=1).percentiles() == {}


def test_reports_tell_percentiles_worst_and_wrong(made: duel.Duel, tmp_path: Path):
    from PIL import Image
    from rich.console import Console

    text = StringIO()
    duel_report.print_duel(made, Console(file=text, width=200))
    shown = text.getvalue()
    for part in (
        "median 0.510",
        "99% 1.000",
        "maximum 1.010",
        "slower in 1",
        "fastconv duel --seed 5 --only",
        "WRONG #3 f(x)",
    ):
        assert part in shown, part
    assert all(f"│     {index} │" in shown for index in range(90, 100)) and "│     89 │" not in shown
    files = duel_report.write_duel(made, tmp_path / "new")
    document = json.loads(files["json"].read_text())
    assert len(document["results"]) == 100 and document["percentiles"]["99"] == pytest.approx(made.percentiles()[99])
    assert document["results"][99]["ratio"] == pytest.approx(100 / 99) and document["wrong"] == made.wrong
    with Image.open(files["figure"]) as image:
        assert min(image.size) > 600 and np.asarray(image.convert("L")).std() > 5


def test_the_command(tmp_path: Path):
    run = CliRunner().invoke(app, ["duel", "4", "--seed", "2", "--functions", "correlate1d", "--list"])
    assert run.exit_code == 0, run.output
    lines = run.output.splitlines()
    assert len(lines) == 4 and all("ndimage.correlate1d(" in line for line in lines)
    index = lines[0].partition(" ")[0].strip("#")
    (tmp_path / "duel.json").write_text("of a whole run")
    run = CliRunner().invoke(app, ["duel", "--seed", "2", "--only", index, "--threads", "1", "--out", str(tmp_path)])
    assert run.exit_code == 0, run.output
    (result,) = json.loads((tmp_path / "duel-only.json").read_text())["results"]
    assert (tmp_path / "duel.json").read_text() == "of a whole run"
    assert lines[0] == f"#{index} {result['problem']}" and result["ratio"] > 0
    assert CliRunner().invoke(app, ["duel", "--functions", "no such"]).exit_code == 2
