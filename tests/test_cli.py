"""The command line: what it writes, and how it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import fastconv
from fastconv import about, kernels, ndimage, picture_filter
from fastconv.__main__ import app
from fastconv.bench import rivals
from fastconv.bench.cases import Case
from fastconv.bench.pictures import photo

CASE = "ndimage.correlate1d:mirror-across:float32:512x512"


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Any, message: str) -> None:
    """Exit status 2, one line that tells why, no traceback."""
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output and result.stderr.startswith("fastconv: ")


# -- filter ----------------------------------------------------------------------------------


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    Image.fromarray(photo("camera")[100:300, 50:290]).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


@pytest.fixture
def colour(tmp_path: Path) -> Path:
    Image.fromarray(photo("coffee")[:150, :211]).save(tmp_path / "colour.png")
    return tmp_path / "colour.png"


def convolved(pixels: np.ndarray, kernel: np.ndarray, mode: str = "reflect") -> np.ndarray:
    """What the command has to write, by the library alone."""
    result = ndimage.convolve(pixels.astype("f4"), kernel.astype("f4"), mode=mode, axes=(0, 1))
    return np.clip(np.rint(np.abs(result) if abs(kernel.sum()) < 1e-9 else result), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "name", ["sobel-x", "blur", "gaussian", "emboss", "sharpen", "edge-45", "[[0, 0, 2], [-1, 0, 0]]"]
)
@pytest.mark.parametrize("picture", ["grey", "colour"])
def test_the_pixels_are_those_of_ndimage(name: str, picture: str, tmp_path: Path, request: pytest.FixtureRequest):
    source, target = request.getfixturevalue(picture), tmp_path / "out.png"
    result = invoke("filter", source, target, "--kernel", name)
    assert result.exit_code == 0, result.output
    before, after = np.asarray(Image.open(source)), np.asarray(Image.open(target))
    np.testing.assert_array_equal(after, convolved(before, kernels.parse(name)))
    assert not np.array_equal(after, before)


def test_size_and_mode_are_heeded(grey: Path, tmp_path: Path):
    before = np.asarray(Image.open(grey))
    for mode in ("reflect", "constant", "nearest", "mirror", "wrap"):
        target = tmp_path / f"{mode}.png"
        assert invoke("filter", grey, target, "--kernel", "blur", "--size", 11, "--mode", mode).exit_code == 0
        np.testing.assert_array_equal(
            np.asarray(Image.open(target)), convolved(before, np.full((11, 11), 1 / 121), mode)
        )


def test_large_derivatives_are_as_bright_as_small_ones(grey: Path, tmp_path: Path):
    """Their weights add up to more: unscaled, most of the picture would be white."""
    means = []
    for size in (3, 5, 7, 11):
        assert invoke("filter", grey, tmp_path / "out.png", "--kernel", "sobel-x", "--size", size).exit_code == 0
        means.append(np.asarray(Image.open(tmp_path / "out.png")).mean())
    assert max(means) < 2 * min(means) < 100


@pytest.mark.parametrize(
    "make, mode",
    [
        (lambda rgb: Image.fromarray(rgb).convert("P"), "RGB"),
        (lambda rgb: Image.fromarray(np.dstack([rgb, np.full(rgb.shape[:2], 77, np.uint8)])), "RGBA"),
        (lambda rgb: Image.fromarray(rgb).convert("LA"), "LA"),
        (lambda rgb: Image.fromarray(rgb).convert("1"), "L"),
        (lambda rgb: Image.fromarray(rgb[..., 0].astype(np.uint16) * 257), "I;16"),
    ],
    ids=["palette", "transparent", "grey and transparent", "bits", "16 bits"],
)
def test_other_kinds_of_pictures(make: Callable[[np.ndarray], Image.Image], mode: str, tmp_path: Path):
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    make(photo("coffee")[:60, :70]).save(source)
    result = invoke("filter", source, target, "--kernel", "gaussian")
    assert result.exit_code == 0, result.output
    with Image.open(target) as after, Image.open(source) as before:
        assert after.size == before.size and after.mode == mode
        if mode in ("RGBA", "LA"):
            np.testing.assert_array_equal(np.asarray(after)[..., -1], np.asarray(before)[..., -1])
        if mode == "I;16":
            assert np.asarray(after).max() > 255


def test_one_figure_shows_before_and_after(colour: Path, tmp_path: Path):
    figure = tmp_path / "figure.png"
    assert invoke("filter", colour, tmp_path / "out.png", "--kernel", "emboss", "--show", figure).exit_code == 0
    with Image.open(figure) as drawn:
        assert drawn.size[0] > 1000
        assert len(drawn.convert("RGB").getcolors(1 << 24)) > 1000


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["{in}", "{out}", "--kernel", "blurr"], "kernel must be one of"),
        (["{in}", "{out}", "--kernel", "[[1, 2], [3]]"], "kernel must be rows of numbers"),
        (["{in}", "{out}", "--kernel", "blur", "--size", "4"], "size must be an odd number of at least 3; got 4"),
        (["{in}", "{out}", "--kernel", "blur", "--mode", "bounce"], "'bounce'"),
        (["{in}.not", "{out}", "--kernel", "blur"], "No such file"),
        ([__file__, "{out}", "--kernel", "blur"], "IN must be a picture file"),
        (["{in}", "{out}.xyz", "--kernel", "blur"], "OUT must end in the suffix of a picture format"),
        (["{in}", "{out}", "--kernel", "blur", "--show", "figure"], "--show must end in"),
        (["{in}", "/no/such/folder/out.png", "--kernel", "blur"], "No such file or directory"),
    ],
)
def test_filter_refuses(arguments: list[str], message: str, grey: Path, tmp_path: Path):
    target = tmp_path / "out.png"
    filled = [argument.replace("{in}", str(grey)).replace("{out}", str(target)) for argument in arguments]
    refused(invoke("filter", *filled), message)
    assert not target.exists()


def test_filter_lists_its_kernels():
    assert invoke("filter", "--list-kernels").output.split() == list(kernels.NAMES)


def test_apply_rounds_and_clips():
    picture = np.array([[0, 255, 255]], np.uint8)
    np.testing.assert_array_equal(picture_filter.apply(picture, np.array([[2.0]])), [[0, 255, 255]])
    np.testing.assert_array_equal(picture_filter.apply(picture, np.array([[0.01]])), [[0, 3, 3]])


# -- info ------------------------------------------------------------------------------------------


def test_info_tells_engines_threads_caches_and_versions():
    shown = invoke("info").output
    for word in (
        "cython",
        "numba",
        "cuda",
        "SIMD",
        "threads",
        "caches",
        "cache folder",
        fastconv.__version__,
        np.__version__,
    ):
        assert word in shown


def test_the_cache_of_kernels_is_told_of_and_cleared(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "FASTCONV_CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "200"}
        command = [sys.executable, "-m", "fastconv", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    assert "0, 0.0 of at most 256 MiB" in run("info").stdout
    (tmp_path / "cache" / "numba" / "kernel-0123").write_bytes(bytes(1 << 20))
    shown = run("info").stdout
    assert "1, 1.0 of at most 256 MiB" in shown and str(tmp_path / "cache" / "numba") in shown
    assert "deleted 1 compiled kernels" in run("info", "--clear-cache").stdout
    assert not list((tmp_path / "cache" / "numba").iterdir())
    (tmp_path / "cache" / "numba").chmod(0o777)
    assert "others own it or may write to it" in run("info").stdout
    refusal = run("info", "--clear-cache")
    assert refusal.returncode == 2 and "is not used: others own it" in refusal.stderr


def test_show_functions_print_the_same(capsys: pytest.CaptureFixture[str]):
    fastconv.show_config()
    fastconv.show_versions()
    shown = capsys.readouterr().out
    assert invoke("info").output == shown
    configuration = about.configuration()
    assert configuration["threads"]["in use"] == str(fastconv.get_num_threads())
    with fastconv.use(threads=3):
        assert about.configuration()["threads"]["in use"] == "3"
    assert set(configuration["engines"]) == {"cython", "numba", "cuda", "reference"}


def test_a_setting_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FASTCONV_NUM_THREADS", "1")
    assert "FASTCONV_NUM_THREADS=1" in about.configuration()["threads"]["set by"]


# -- bench ------------------------------------------------------------------------------------------


def test_bench_writes_table_figures_page_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from fastconv.bench import overheads

    measure = overheads.measure
    monkeypatch.setattr(overheads, "measure", lambda threads, engines, samples: measure(threads, engines, 1))
    out, results = tmp_path / "out", tmp_path / "more" / "results.json"
    readme = tmp_path / "README.md"
    readme.write_text("<!-- benchmark table -->\n<!-- /benchmark table -->\n")
    result = invoke(
        "bench", "--quick", "--cases", CASE, "--engines", "cython", "--rivals", "scipy", "--threads", 2,
        "--out", out, "--json", results, "--readme", readme,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads(results.read_text())
    timed = [b for b in document["benchmarks"] if b["group"] != "overhead"]
    assert [b["extra_info"]["contestant"] for b in timed] == ["scipy", "cython"]
    assert {b["extra_info"]["threads"] for b in timed} == {2}
    assert any(b["group"] == "overhead" for b in document["benchmarks"])
    page = (out / "index.html").read_text()
    assert page.count("data:image/png;base64,") == len(list(out.glob("*.png"))) >= 4
    assert "ndimage.correlate1d mirror-across float32" in result.output
    assert "GFLOP/s float32 peak" in result.output
    assert "ndimage.correlate1d mirror-across float32" in readme.read_text()
    again = invoke("report", results, "--out", tmp_path / "again")
    assert again.exit_code == 0 and (tmp_path / "again" / "index.html").exists()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what these tests are not about."""
    from fastconv.bench import figures, machine, overheads

    monkeypatch.setattr(overheads, "measure", lambda threads, engines, samples: ([], []))
    monkeypatch.setattr(machine, "copy_bandwidth", lambda threads: {1000: 1e9})
    monkeypatch.setattr(figures, "FIGURES", {})


def test_a_wrong_output_fails_the_run_and_names_the_case(hasty: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    class Wrong(rivals.Engine):
        def prepare(self, case: Case, x: np.ndarray, w: Any) -> Any:
            right = super().prepare(case, x, w)
            return lambda: right() * 1.001

    monkeypatch.setitem(rivals.ENGINES, "cython", Wrong("cython"))
    result = invoke(
        "bench", "--cases", CASE + "*k9", "--engines", "cython", "--rivals", "scipy", "--quick", "--out", tmp_path
    )
    assert result.exit_code == 1
    assert f"WRONG {CASE}:k9: cython is wrong at" in result.stderr
    assert "cython is wrong at" in (tmp_path / "index.html").read_text()


def test_a_missing_rival_is_named(hasty: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    ghost = rivals.Rival("torch", "no_such_module_at_all", {}, lambda threads: None)
    monkeypatch.setitem(rivals.RIVALS, "torch", ghost)
    result = invoke(
        "bench", "--cases", CASE + "*k9", "--engines", "cython", "--rivals", "scipy,torch", "--quick", "--out", tmp_path
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "torch takes no part" in result.stderr
    assert "MISSING torch: it is not installed" in result.stdout
    assert "torch takes no part" in (tmp_path / "index.html").read_text()
    assert "torch" in json.loads((tmp_path / "benchmark.json").read_text())["fastconv"]["missing"]


@pytest.mark.parametrize("part", ["--networks", "--layers"])
def test_networks_are_not_timed_alone_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str):
    monkeypatch.setitem(
        rivals.RIVALS, "torch", rivals.Rival("torch", "no_such_module_at_all", {}, lambda threads: None)
    )
    result = invoke("bench", part, "--engines", "cython", "--out", tmp_path)
    assert result.exit_code == 2 and "pip install torch" in result.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--cases", "nothing-like-this"],
            "--cases must match the name of a case (see --list); got 'nothing-like-this'",
        ),
        (["--engines", "fortran"], "--engines must be among cython, numba, cuda, reference; got fortran"),
        (["--engines", ""], "--engines must name an engine"),
        (["--rivals", "scipy,matlab"], "--rivals must be among scipy, opencv, torch, float32, astropy; got matlab"),
        (["--threads", "0"], "threads must be a positive integer; got 0"),
        (["--out", __file__], "File exists"),
        (["--readme", "{tmp}/empty.md"], "readme must have the lines"),
        (["--readme", "{tmp}/none.md"], "No such file"),
    ],
)
def test_bench_refuses_before_it_measures(arguments: list[str], message: str, tmp_path: Path):
    (tmp_path / "empty.md").write_text("")
    defaults = {"--out": str(tmp_path / "out"), "--cases": CASE, "--engines": "cython", "--rivals": "scipy"}
    given = dict(zip(arguments[::2], (a.replace("{tmp}", str(tmp_path)) for a in arguments[1::2]), strict=True))
    refused(invoke("bench", *(part for option in (defaults | given).items() for part in option)), message)


def test_report_refuses_other_files(tmp_path: Path):
    other = tmp_path / "other.json"
    other.write_text("{}")
    refused(invoke("report", other), "results must be a JSON document")
    refused(invoke("report", tmp_path / "none.json"), "No such file")


def test_cases_are_listed():
    assert CASE + ":k9" in invoke("bench", "--quick", "--list").output.splitlines()


# -- the module ---------------------------------------------------------------------------------------------


def run_module(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)


def test_python_m_fastconv_is_the_command():
    run = run_module("-m", "fastconv", "bench", "--cases", "nothing-like-this")
    assert run.returncode == 2 and run.stderr.startswith("fastconv: --cases") and run.stdout == ""


def test_importing_the_command_line_loads_nothing_heavy():
    heavy = {"matplotlib", "skimage", "numba", "scipy", "torch", "cv2", "PIL"}
    program = f"import sys, fastconv.__main__; print(sorted({heavy!r} & set(sys.modules)))"
    assert run_module("-c", program).stdout.strip() == "[]"
