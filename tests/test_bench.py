"""The benchmark: its cases, rivals, checks, the runner, and what it reports.

Nothing here asserts a speed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.ndimage

from fastconv.bench import check, figures, machine, overheads, page, report, runner
from fastconv.bench.cases import CASES, IMAGE_SIZES, KERNEL_SIZES, Case, select
from fastconv.bench.check import Checker, WrongOutput
from fastconv.bench.contestants import Engine, Rival, Unsupported
from fastconv.bench.copying import Copy
from fastconv.bench.layers import Layer
from fastconv.bench.peak import CHAINS, Peak, fma_loop
from fastconv.bench.pictures import images, photo, picture
from fastconv.bench.results import OVERHEAD, Results, case_info, entry, geometric_mean, stats
from fastconv.bench.rivals import ENGINES, OPENCV, RIVALS, SCIPY, choose
from fastconv.bench.targets import is_copied, is_summed

ROOT = Path(__file__).parents[1]
BEGIN, END = report.marks("benchmark")
EFFORT = runner.Effort(seconds=0.002, blocks=2, patience=5.0)


def small(case: Case) -> Case:
    """The case at a size that takes SciPy no time; sizes stay uneven, strides do not fit."""
    axes, shape, kernel = case.axes, list(case.shape), list(case.kernel)
    for axis, size in zip(axes, (61, 54, 19), strict=False):
        shape[axis] = min(shape[axis], size)
    if len(shape) == 1:
        kernel = [min(kernel[0], 31)]
    return replace(case, shape=tuple(shape), kernel=tuple(kernel))


IMAGES = [case for case in CASES if not isinstance(case, Layer)]
FAMILIES = list({case.family: small(case) for case in reversed(IMAGES)}.values())[::-1]


# -- cases and pictures ------------------------------------------------------------------------


def test_names_are_unique_and_tell_the_case():
    assert len({case.name for case in CASES}) == len(CASES)
    name = "signal.correlate2d:valid:float32:512x512:k3x3"
    assert select(name)[0].shape == (512, 512)


def test_the_sweep_covers_sizes_operations_and_types():
    sweep = {(c.image_size, c.window[0]) for c in CASES if c.family == "signal.correlate2d:valid:float32"}
    assert sweep == {(n, k) for n in IMAGE_SIZES for k in KERNEL_SIZES}
    assert (min(IMAGE_SIZES), max(IMAGE_SIZES)) == (256, 8192)
    assert (min(KERNEL_SIZES), max(KERNEL_SIZES)) == (3, 31)
    functions = {c.function for c in CASES}
    assert {"signal.convolve2d", "signal.convolve", "ndimage.convolve", "ndimage.correlate1d"} <= functions
    assert {"nn.conv2d", "nn.max_pool2d", "nn.avg_pool2d"} <= functions
    assert {len(c.axes) for c in CASES if c.function.startswith("signal.convolve")} == {1, 2, 3}
    assert {c.border for c in CASES if c.function.startswith("ndimage")} >= set(
        "reflect constant nearest mirror wrap".split()
    )
    ready_made = {"gaussian_filter", "uniform_filter", "maximum_filter", "median_filter", "sobel", "convolve"}
    for dtype in ("float32", "uint8"):
        table = select(f"ndimage.*:reflect:{dtype}:2048x2048:")
        assert {c.function for c in table} == {f"ndimage.{name}" for name in ready_made}
        assert {c.shape for c in table} == {(2048, 2048)}
    assert {c.keywords["nan_policy"] for c in select("convolve:nan:")} == {"interpolate"}
    assert {c.dtype for c in CASES} >= {"float32", "float64", "uint8", "complex64"}
    assert {c.keywords["data_format"] for c in select("nn.*pool2d:")} == {"NCHW", "NHWC"}


def test_the_short_list_has_every_function_and_few_cases():
    quick = select(quick=True)
    assert {c.function for c in quick} >= {c.function for c in IMAGES}
    assert {c.function.partition("_")[0] for c in quick} >= {f"nn.{name}" for name in ("conv2d", "gelu", "quantized")}
    assert len(quick) < len(CASES) / 2


def test_select_takes_a_pattern():
    assert {c.function for c in select("nn.*pool2d:2x2*")} == {"nn.max_pool2d", "nn.avg_pool2d"}
    assert select("no such case") == []
    both = select("sobel:reflect:uint8, 2048x2048:k31x31")
    assert set(both) == {*select("sobel:reflect:uint8"), *select("2048x2048:k31x31")} and len(both) > 2
    assert select("") == list(CASES)


@pytest.mark.parametrize("case", FAMILIES, ids=lambda case: case.family)
def test_arguments_are_as_the_case_says(case: Case):
    x, w = case.arguments()
    again, w_again = case.arguments()
    assert (x.shape, x.dtype.name) == (case.shape, case.dtype)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(w, w_again)
    values = np.abs(x[~np.isnan(x)]) if x.dtype.kind in "fc" else x
    assert np.ptp(values) > 0, "a picture, not a constant"
    assert (values.size < x.size) == ("nan_policy" in case.keywords)
    if case.argument is not None:
        assert w == case.argument
    elif not case.is_pooling:
        assert w.shape == case.kernel
        assert not np.array_equal(w, np.flip(w)), "an asymmetric kernel"


def test_pictures_are_the_real_ones():
    np.testing.assert_array_equal(picture("camera", (512, 512), "uint8"), photo("camera"))
    np.testing.assert_array_equal(picture("coffee", (400, 600, 3), "uint8"), photo("coffee"))
    np.testing.assert_array_equal(picture("camera", (1024,), "uint8"), photo("camera")[:2].ravel())
    wide = picture("camera", (512, 1024), "uint8")
    np.testing.assert_array_equal(wide[:, 512:], photo("camera")[:, ::-1])
    layer = images("astronaut", 2, 3, 64, 64, "float32")
    np.testing.assert_array_equal(
        layer[0], photo("astronaut")[:64, :64].transpose(2, 0, 1).astype(np.float64).astype("f4") / np.float32(255)
    )
    assert not np.array_equal(layer[0], layer[1])


# -- rivals and engines agree --------------------------------------------------------------------


@pytest.mark.parametrize("case", FAMILIES, ids=lambda case: case.family)
def test_everyone_computes_the_same(case: Case):
    x, w = case.arguments()
    checker = Checker(case, x, w)
    present, _ = choose(None, RIVALS, "rivals")
    agreed = []
    for contestant in (*present, ENGINES["cython"], ENGINES["reference"]):
        with contestant.session(1):
            try:
                output = contestant.prepare(case, x, w)()
            except Unsupported:
                assert contestant.kind == "rival", f"{contestant.name} must do every case"
                continue
            checker(contestant.name, output, contestant.slack(case))
            agreed.append(contestant.name)
    assert {"scipy", "cython", "reference"} <= set(agreed)


def test_choose_names_the_missing_and_refuses_the_unknown():
    ghost = Rival("ghost", "no_such_module_at_all", {}, lambda threads: None)
    present, missing = choose(["scipy", "ghost"], {"scipy": SCIPY, "ghost": ghost}, "--rivals")
    assert present == [SCIPY]
    assert "no_such_module_at_all" in missing["ghost"]
    with pytest.raises(ValueError, match="--rivals must be among scipy; got nobody"):
        choose(["nobody"], {"scipy": SCIPY}, "--rivals")


# -- checks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("windows", [False, True], ids=["whole", "windows"])
@pytest.mark.parametrize("case", FAMILIES, ids=lambda case: case.family)
def test_right_outputs_pass_and_wrong_ones_do_not(case: Case, windows: bool, monkeypatch: pytest.MonkeyPatch):
    if windows:
        monkeypatch.setattr(Checker, "_is_small", lambda self, values: False)
        monkeypatch.setattr(check, "WINDOW", 7)
    x, w = case.arguments()
    right = SCIPY.prepare(case, x, w)()
    checker = Checker(case, x, w)
    checker("right", right)
    values = right[0] if isinstance(right, tuple) else right
    for place in (0, values.size // 2, values.size - 1):
        wrong = values.copy()
        wrong.reshape(-1)[place : place + 1] += 3 if wrong.dtype.kind in "iu" else 0.01
        with pytest.raises(WrongOutput, match="wrong is wrong at"):
            checker("wrong", (wrong, right[1]) if isinstance(right, tuple) else wrong)
    with pytest.raises(WrongOutput, match="expected"):
        checker("wrong", values.real.astype(np.int64))


def test_a_convolution_that_forgets_to_flip_is_wrong():
    case = select("ndimage.convolve:mirror:float32:512x512")[0]
    x, w = case.arguments()
    with pytest.raises(WrongOutput):
        Checker(case, x, w)("scipy", scipy.ndimage.correlate(x, w, mode="mirror"))


def test_nan_and_shape_are_wrong():
    case = small(CASES[0])
    x, w = case.arguments()
    right = SCIPY.prepare(case, x, w)()
    checker, holes = Checker(case, x, w), right.copy()
    holes[5, 5] = np.nan
    with pytest.raises(WrongOutput):
        checker("holes", holes)
    with pytest.raises(WrongOutput, match="shape"):
        checker("small", right[1:])


def test_scipy_decides_between_two_outputs_that_differ(monkeypatch: pytest.MonkeyPatch):
    """Outside the windows outputs are compared with each other; the wrong one is named, whichever came first."""
    monkeypatch.setattr(Checker, "_is_small", lambda self, values: False)
    monkeypatch.setattr(Checker, "_boxes", lambda self, shape: [[(0, 4), (0, 4)]])
    case = small(CASES[0])
    x, w = case.arguments()
    right = SCIPY.prepare(case, x, w)()
    wrong = right.copy()
    wrong[20, 20] += 0.1
    checker = Checker(case, x, w)
    checker("first", wrong)
    with pytest.raises(WrongOutput, match="first is wrong at"):
        checker("second", right)
    checker = Checker(case, x, w)
    checker("first", right)
    with pytest.raises(WrongOutput, match="second is wrong at"):
        checker("second", wrong)


def test_integers_may_differ_by_the_slack_alone():
    case = small(select("ndimage.convolve:reflect:uint8")[0])
    x, w = case.arguments()
    right = SCIPY.prepare(case, x, w)()
    other = right + np.uint8(1)
    assert Checker(case, x, w)("opencv", other, OPENCV.slack(case)) == 1
    with pytest.raises(WrongOutput):
        Checker(case, x, w)("cython", other, 0)


# -- the runner ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spoiled(Engine):
    """An engine whose outputs have one wrong pixel, from some call on."""

    good_calls: int = 0

    def prepare(self, case: Case, x: np.ndarray, w: Any) -> Any:
        right, calls = ENGINES["cython"].prepare(case, x, w), iter(range(10**9))

        def call() -> np.ndarray:
            output = right()
            if next(calls) >= self.good_calls:
                output[output.shape[0] // 2, 3] += 1
            return output

        return call

    def session(self, threads: int, precision: str = "default") -> Any:
        return ENGINES["cython"].session(threads)


@pytest.mark.parametrize("good_calls", [0, 3])
def test_a_wrong_output_is_found_before_and_after_timing(good_calls: int):
    case = small(CASES[0])
    outcome = runner.run_case(case, [Spoiled("spoiled", good_calls=good_calls), SCIPY], threads=1, effort=EFFORT)
    assert [(item["case"], item["contestant"]) for item in outcome.wrong] == [(case.name, "spoiled")]
    assert [e["extra_info"]["contestant"] for e in outcome.entries] == ["scipy"]


def test_an_engine_that_fails_is_wrong_and_a_rival_that_fails_is_not_run():
    def fail(case: Case, x: np.ndarray, w: Any) -> Any:
        raise RuntimeError("out of order")

    case = small(CASES[0])
    broken = replace(SCIPY, name="broken", adapters={case.function: fail})

    class Broken(Engine):
        prepare = staticmethod(fail)

    outcome = runner.run_case(case, [Broken("cython"), broken], threads=1, effort=EFFORT)
    assert "out of order" in outcome.wrong[0]["message"]
    assert outcome.not_run[0]["contestant"] == "broken"


def test_blocks_of_contestants_alternate():
    order: list[str] = []

    class Lane:
        contestant, estimate, spent = ENGINES["cython"], 1e-6, 0.0

        def __init__(self, name: str):
            self.name, self.samples = name, []

        def block(self, effort: runner.Effort) -> None:
            order.append(self.name)

    runner._interleave([Lane("a"), Lane("b")], 1, "default", runner.Effort(1.0, 3, 1.0))  # type: ignore[list-item]
    assert order == ["a", "b"] * 3


def test_a_block_begins_when_calls_take_as_long_as_they_usually_do():
    started, calls = time.perf_counter(), []

    def call() -> None:
        calls.append(time.perf_counter())
        if calls[-1] - started < 2.5 * runner.SETTLED:  # somebody is still in the way
            time.sleep(1e-3)

    lane = runner._Lane(ENGINES["cython"], call, 0.0, 0.0, estimate=1e-5)
    lane.block(runner.Effort(1.0, 1, 1.0))
    assert sorted(lane.samples)[2] < 0.5e-3 and len(lane.samples) == runner.TIMED_CALLS
    slow = runner._Lane(ENGINES["cython"], lambda: time.sleep(0.01), 0.0, 0.0, estimate=0.01)
    slow.block(runner.Effort(0.05, 1, 1.0))
    assert len(slow.samples) == 1


def test_who_would_take_too_long_is_not_called():
    case = small(CASES[0])
    rates = {("scipy", case.family): 1.0}  # seconds for one operation
    outcome = runner.run_case(case, [SCIPY, ENGINES["cython"]], threads=1, effort=EFFORT, rates=rates)
    assert "would take about" in outcome.not_run[0]["reason"]
    assert [e["extra_info"]["contestant"] for e in outcome.entries] == ["cython"]
    assert 0 < rates["cython", case.family] < 1e-3


def test_who_is_worth_waiting_for_is_called_once():
    case, told = small(CASES[0]), []
    impatient = replace(EFFORT, seconds=0.0, patience=0.0, once={"scipy": 1e9})
    outcome = runner.run_case(
        case, [SCIPY], threads=1, effort=impatient, rates={("scipy", case.family): 1e-3}, slowly=told.append
    )
    one = {e["extra_info"]["contestant"]: e["stats"]["rounds"] for e in outcome.entries}
    assert one["scipy"] == 1
    assert len(told) == 1 and told[0].startswith("scipy, about ") and told[0].endswith(case.name)
    assert impatient.longest("opencv") == 0.0
    assert (
        runner.TARGETS.with_patience(9.0).longest("opencv") == 6.0 < runner.TARGETS.with_patience(9.0).longest("scipy")
    )
    assert runner.QUICK.with_patience(9.0).longest("opencv") == 9.0


def test_who_is_late_hurries():
    effort = runner.Effort(seconds=1.0, blocks=6, patience=3.0, total=60.0)
    assert effort.after(29.0, 0.5) == effort
    assert effort.after(31.0, 0.5) == runner.Effort(seconds=0.2, blocks=1, patience=3.0, total=60.0)
    assert EFFORT.after(1e9, 0.01) == EFFORT, "without a limit nobody is late"


def test_work_counts_multiplications_and_bytes():
    case = Case("signal.correlate2d", "valid", "camera", (20, 30), (3, 5), options=(("mode", "valid"),))
    flops, nbytes = runner.work_of(case, *case.arguments()) or (0, 0)
    assert flops == 2 * 18 * 26 * 15
    assert nbytes == 4 * (20 * 30 + 15 + 18 * 26)


@pytest.fixture(scope="module")
def results() -> Results:
    """A real run of a few small cases."""
    cases = [small(case) for case in select(quick=True) if "correlate2d" in case.name or "nn.max_pool" in case.name]
    unique = list({case.name: case for case in cases}.values())
    contestants = [ENGINES["cython"], SCIPY, *(rival for rival in (OPENCV, RIVALS["torch"]) if not rival.missing())]
    return runner.run(unique, contestants, threads=2, effort=EFFORT, missing={"ghost": "it is not installed"})


@pytest.mark.parametrize("nbytes", [2, 999, 1 << 20, (5 << 20) + 6])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_copies_are_whole(nbytes: int, threads: int):
    copy = Copy(nbytes)
    with copy.session(threads):
        np.testing.assert_array_equal(copy.prepare(None, None, None)(), np.arange(nbytes // 2) % 251)


def test_what_memory_limits_is_timed_beside_copying_as_many_bytes():
    case = select("correlate2d:valid:float32:4096x4096:k3x3")[0]
    assert is_copied(case) and not is_copied(select("correlate2d:valid:float32:4096x4096:k5x5")[0])
    outcome = runner.run_case(case, [ENGINES["cython"]], threads=2, effort=EFFORT)
    assert not outcome.wrong and not outcome.not_run
    ours, copy = (one["extra_info"] for one in outcome.entries)
    assert (copy["kind"], copy["nbytes"]) == ("copy", ours["nbytes"])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_peaks_have_at_least_as_many_multiply_adds(threads: int):
    peak = Peak(10**7 + 1)
    with peak.session(threads):
        sums = peak.prepare(None, None, None)()
    steps = -(-(10**7 + 1) // (threads * fma_loop("float32")[1]))
    expected = np.arange(1.0, CHAINS + 1)
    for _ in range(min(steps, 20000)):  # it converges long before
        expected = expected * 0.999 + 0.999
    assert sums.shape[0] == threads
    np.testing.assert_allclose(sums[:, 0], expected.sum(), rtol=1e-3)


def test_what_arithmetic_limits_is_timed_beside_its_multiply_adds():
    case = select("correlate2d:valid:float32:512x512:k5x5")[0]
    assert is_summed(case) and not is_summed(select("correlate2d:valid:float32:512x512:k3x3")[0])
    outcome = runner.run_case(case, [ENGINES["cython"]], threads=2, effort=EFFORT)
    assert not outcome.wrong and not outcome.not_run
    ours, peak = (one["extra_info"] for one in outcome.entries)
    assert (peak["kind"], peak["flops"]) == ("peak", ours["flops"])


def test_a_run_is_complete_and_right(results: Results):
    assert results.wrong == []
    assert all({"cython", "scipy"} <= set(rows) for rows in results.cases.values())
    for row in results.rows:
        assert row.median > 0 and row.q1 <= row.median <= row.q3
        assert row.info["max_error"] <= max(row.info["tolerance"], 0)
        assert row.info["threads"] == 2
        assert row.info["first_call"] > 0
    ceilings = results.more["ceilings"]
    assert ceilings["fma_float32"] > 1e9 and ceilings["fma_float64"] > 1e9
    assert all(rate > 1e8 for rate in ceilings["copy"].values())
    assert all(row.gflops and row.gbytes for row in results.rows)


# -- the document ------------------------------------------------------------------------------------


def test_statistics_are_those_of_pytest_benchmark():
    from pytest_benchmark.stats import Stats

    seconds = [0.1, 0.13, 0.11, 0.12, 0.9, 0.105, 0.115]
    theirs = Stats()
    for value in seconds:
        theirs.update(value)
    ours = stats(seconds)
    for field in ("min", "max", "mean", "stddev", "rounds", "median", "total", "ops"):
        assert ours[field] == pytest.approx(getattr(theirs, field)), field
    assert set(theirs.fields) <= set(ours)
    assert ours["outliers"] == "1;1"
    assert stats([0.5])["stddev"] == 0.0


def test_the_document_has_the_format_of_pytest_benchmark(results: Results, tmp_path: Path):
    path = tmp_path / "deep" / "results.json"
    results.save(path)
    document = json.loads(path.read_text())
    assert set(document) >= {"machine_info", "commit_info", "benchmarks", "datetime", "version"}
    assert {"cpu", "python_version", "system", "machine"} <= set(document["machine_info"])
    assert "node" not in document["machine_info"], "names of hosts stay private"
    for benchmark in document["benchmarks"]:
        assert {"group", "name", "fullname", "params", "param", "extra_info", "options", "stats"} <= set(benchmark)
    again = Results.load(path)
    assert again.rows == results.rows
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(path)]
    compared = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "signal.correlate2d:valid:float32" in compared.stdout + compared.stderr


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"benchmarks": [{"name": "other"}]}'])
def test_other_files_are_refused(text: str, tmp_path: Path):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="results must be"):
        Results.load(path)


def made_up(times: dict[str, dict[str, float]]) -> Results:
    """Results of given times: by case name, then by contestant."""
    entries = []
    for name, by_contestant in times.items():
        case = next(case for case in CASES if case.name == name)
        for who, seconds in by_contestant.items():
            known = SimpleNamespace(name=who, kind="rival" if who in RIVALS else "engine", version=lambda: "1")
            info = case_info(case, known, 2, (1_000_000, 400_000)) | {"first_call": seconds + 1.0}
            entries.append(entry(case.family, name, [seconds, seconds * 1.1, seconds * 0.9], info))
    overhead = {"case": "dispatch", "contestant": "cython", "kind": "engine", "version": "1", "family": OVERHEAD}
    entries.append(entry(OVERHEAD, "dispatch", [2e-6, 3e-6], overhead))
    more = {
        "threads": 2,
        "ceilings": {"fma_float32": 4e11, "fma_float64": 2e11, "copy": {"1000000": 2e11, "100000000": 3e10}},
        "versions": {"fastconv": "0.1.0", "numpy": "2.0"},
        "missing": {"torch": "it is not installed (No module named 'torch')"},
        "not_run": [{"case": SMALL, "contestant": "opencv", "reason": "cv2.filter2D has <no> such border"}],
        "wrong": [],
        "memory": [{"engine": "cython", "what": "convolve2d", "input": 1 << 24, "extra": 8192}],
    }
    info = machine.machine_info(2)
    return Results(
        {
            "machine_info": info,
            "commit_info": {"id": "abc"},
            "benchmarks": entries,
            "datetime": "2026-01-02",
            "version": "5",
            "fastconv": more,
        }
    )


SMALL, LARGE = (f"signal.correlate2d:valid:float32:{n}x{n}:k{k}x{k}" for n, k in ((512, 3), (2048, 15)))
POOL = "nn.max_pool2d:2x2-stride-2-NCHW:float32:1x64x112x112:k2x2"


@pytest.fixture
def synthetic() -> Results:
    return made_up(
        {
            SMALL: {"numba": 1e-3, "cython": 2e-3, "scipy": 20e-3, "opencv": 1.6e-3},
            LARGE: {"numba": 2e-3, "cython": 3e-3, "scipy": 400e-3, "opencv": 8e-3},
            POOL: {"numba": 1e-3, "cython": 1e-3, "scipy": 5e-3},
        }
    )


def test_speedups_and_losses(synthetic: Results):
    assert synthetic.speedup(SMALL, "numba", "scipy") == pytest.approx(20)
    assert synthetic.speedup(POOL, "numba", "opencv") is None
    assert [(case, engine, rival) for case, engine, rival, _ in synthetic.losses()] == [(SMALL, "cython", "opencv")]
    assert geometric_mean(synthetic.speedups("numba", "scipy", function="signal.correlate2d")) == pytest.approx(
        4000**0.5
    )
    assert geometric_mean([]) is None
    assert synthetic.best_rival(LARGE).contestant == "opencv"
    assert synthetic.rows[0].gflops == pytest.approx(1.0)


# -- reports -------------------------------------------------------------------------------------------


def test_every_figure_is_a_picture(synthetic: Results, tmp_path: Path):
    from PIL import Image

    files = figures.draw(synthetic, tmp_path)
    assert set(files) == set(figures.FIGURES) - {"before-after"}, "that one shows a case which this run lacks"
    for path in files.values():
        with Image.open(path) as image:
            assert image.format == "PNG" and min(image.size) > 300
            assert np.asarray(image.convert("L")).std() > 5, "not an empty sheet"


def test_the_page_holds_every_figure_and_row(synthetic: Results, tmp_path: Path):
    synthetic.document["fastconv"]["wrong"] = [
        {"case": POOL, "contestant": "numba", "message": "numba is wrong at (1, 2)"}
    ]
    drawn = figures.draw(synthetic, tmp_path)
    text = page.page(synthetic, drawn)
    for path in drawn.values():
        assert b64encode(path.read_bytes()).decode() in text
    for row in synthetic.rows:
        assert f'title="{row.case}"' in text
        assert report.time_text(row.median) in text
    assert 'src="http' not in text and "<link" not in text and "<script" not in text, "nothing is loaded from elsewhere"
    assert f"<td>{SMALL}</td><td>cython</td><td>OpenCV</td>" in text, "losses are listed"
    assert '<span class="loss">0.80×</span>' in text
    assert "torch takes no part: it is not installed" in text
    assert "numba is wrong at (1, 2)" in text
    assert "&lt;no&gt; such border" in text
    assert "slower in 1 of 2" in text


def test_write_all_leaves_a_folder_that_can_be_read_again(results: Results, tmp_path: Path):
    files = report.write_all(results, tmp_path / "new")
    assert {"json", "page", "speedup-sizes", "gflops", "bandwidth"} <= set(files)
    assert all(path.stat().st_size > 1000 for path in files.values())
    assert Results.load(files["json"]).rows == results.rows


def test_tables_show_all_and_name_the_missing(synthetic: Results):
    from io import StringIO

    from rich.console import Console

    synthetic.document["fastconv"]["wrong"] = [{"case": POOL, "contestant": "numba", "message": "numba is wrong"}]
    text = StringIO()
    report.print_tables(synthetic, Console(file=text, width=200))
    shown = text.getvalue()
    for row in synthetic.rows + synthetic.overheads:
        assert report.time_text(row.median) in shown
    assert "MISSING torch: it is not installed" in shown
    assert f"WRONG {POOL}: numba is wrong" in shown
    assert "cython is slower than OpenCV in 1 of 2 cases" in shown
    assert "400 GFLOP/s" in shown
    assert "±5%" in shown
    assert "1 s" in shown, "the first call's extra second, as compile time"


@pytest.mark.parametrize(
    "seconds, text", [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (9.996e-4, "1 ms"), (4.2e-7, "420 ns"), (123.4, "123 s")]
)
def test_times_have_three_digits_and_a_unit(seconds: float, text: str):
    assert report.time_text(seconds) == text


def test_the_readme_table_is_rewritten_and_nothing_else(synthetic: Results, tmp_path: Path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    report.update_readme(synthetic, readme)
    once = readme.read_text()
    report.update_readme(synthetic, readme)
    assert readme.read_text() == once
    assert once.startswith("before\n") and once.endswith("\nafter\n") and "old" not in once
    lines = [line for line in once.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 2, "header, rule, two families"
    assert len({line.count("|") for line in lines}) == 1
    assert "63× (20×…200×)" in once
    assert "1 of 2 against OpenCV (cython)" in once, "losses are told"
    readme.write_text("no marks")
    with pytest.raises(ValueError, match="readme must have the lines"):
        report.update_readme(synthetic, readme)
    assert readme.read_text() == "no marks"


def test_the_projects_readme_has_the_marks():
    assert report._marked(ROOT / "README.md") == report._marked(ROOT / "docs/performance.md") == ["targets"]
    assert report._marked(ROOT / "docs/benchmarks.md") == ["benchmark"]


def test_a_family_slower_on_average_is_bold(tmp_path: Path):
    table = report.markdown_table(made_up({POOL: {"cython": 2e-3, "torch": 1e-3}}))
    assert "| **0.50×** |" in table


# -- overheads ---------------------------------------------------------------------------------------------


def test_overheads_are_measured():
    entries, memory = overheads.measure(2, ["cython"], samples=2)
    names = [e["extra_info"]["case"] for e in entries]
    for part in ("empty kernel", "8x8", "after 100 ms", "import", "first convolve2d", "15x15, threads: 2"):
        assert any(part in name for name in names), part
    assert all(e["group"] == OVERHEAD and e["stats"]["median"] > 0 for e in entries)
    assert all(0 < m["extra"] < 0.05 * m["input"] for m in memory), "no padded copy"


# -- pytest-benchmark ----------------------------------------------------------------------------------------


def pytest_benchmarks(*arguments: str) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(ROOT / "benchmarks"),
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
    ]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # not xdist's
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT, env=own, timeout=300)


def test_the_benchmarks_run_once_as_tests():
    run = pytest_benchmarks(
        "--benchmark-disable", "--cases", "512x512*k3*", "--engines", "cython", "--rivals", "scipy"
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    count = len(select("512x512*k3*", quick=True))
    assert count > 2 and f"{2 * count} passed" in run.stdout


def test_reports_read_what_pytest_benchmark_writes(tmp_path: Path):
    path = tmp_path / "results.json"
    run = pytest_benchmarks(
        "--benchmark-only", "--benchmark-json", str(path), "--benchmark-max-time", "0.01", "--benchmark-min-rounds", "2",
        "--cases", "convolve:1-D*65536:k9", "--every-case", "--engines", "cython", "--rivals", "scipy",
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    again = Results.load(path)
    (case,) = again.cases
    assert again.speedup(case, "cython", "scipy") > 0
    assert again.more["ceilings"]["fma_float32"] > 1e9
    assert "gflops" in report.write_all(again, tmp_path / "out")
