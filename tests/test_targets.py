"""Targets: their cases, what is computed of a run, and how it is shown."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from fastconv.bench import machine, report, target_report
from fastconv.bench.cases import CASES, select
from fastconv.bench.results import Results, case_info, entry
from fastconv.bench.rivals import ENGINES, RIVALS
from fastconv.bench.targets import TARGETS, cases_of, outcomes

GAUSS = [case for case in select("gaussian_filter:reflect:float32") if case.shape in ((256, 256), (512, 512))]
CACHED = select("signal.correlate2d:valid:float32:512x512:k5x5")[0]
COPIED = select("signal.correlate2d:valid:float32:4096x4096:k3x3")[0]
LARGE = select("same-large:float32:512x512:k63x63")[0]


def made_up(times: dict, ceilings: dict | None = None, calls: int = 2) -> Results:
    """Results of a run that never was: seconds by case and contestant, a thousand operations and bytes each."""
    known = {
        who: SimpleNamespace(name=who, kind=kind, version=lambda: "1")
        for kind, names in (("engine", ENGINES), ("rival", RIVALS), ("copy", ["copy"]), ("peak", ["peak"]))
        for who in names
    }
    benchmarks = [
        entry(case.family, case.name, [seconds] * calls, case_info(case, known[who], 2, (1000, 1000)))
        for case, of in times.items()
        for who, seconds in of.items()
    ]
    return Results({"benchmarks": benchmarks, "fastconv": {"ceilings": ceilings or {}}})


def reached(results: Results) -> dict:
    return {(o.target.name, o.target.against, o.engine): o for o in outcomes(results)}


def test_every_target_has_cases():
    for target in TARGETS:
        cases = [case for case in CASES if target.has(case.name)]
        assert cases, target
        assert set(cases) <= set(cases_of(CASES, [target.part], target.threads))
        assert (target.part == "filters") != bool(target.group)
    sizes = {case.image_size for case in CASES if TARGETS[0].has(case.name)}
    assert sizes == {256, 512, 1024, 2048, 4096, 8192}


def test_the_geometric_mean_and_the_least_cell_against_a_rival():
    fast, slow = GAUSS[0], GAUSS[1]
    results = made_up({fast: {"cython": 1.0, "opencv": 8.0}, slow: {"cython": 1.0, "opencv": 0.5, "numba": 3.0}})
    outcome = reached(results)["Gaussian, float32", "opencv", "cython"]
    assert outcome.mean == pytest.approx(2.0) and outcome.least == 0.5
    assert not outcome.reached  # 2.2 is asked
    assert reached(results)["Gaussian, float32", "opencv", "numba"].mean == pytest.approx(1 / 6)
    assert reached(results)["the cython engine", "numba", "cython"].mean == pytest.approx(3.0)
    assert ("the cython engine", "numba", "numba") not in reached(results)


def test_a_weak_cell_spoils_a_target_that_asks_for_every_cell():
    cases = select("ndimage.convolve:reflect:float32:512x512")
    times = {case: {"cython": 1.0, "opencv": 20.0} for case in cases}
    assert reached(made_up(times))["float32 2-D filter", "opencv", "cython"].reached
    times[cases[0]] = {"cython": 1.0, "opencv": 1.4}
    outcome = reached(made_up(times))["float32 2-D filter", "opencv", "cython"]
    assert outcome.mean > 4.0 and not outcome.reached


def test_the_best_rival_counts():
    results = made_up({LARGE: {"cython": 1.0, "opencv": 8.0, "scipy": 1.5, "torch": 5.0}})
    assert reached(results)["large kernels", "best", "cython"].mean == pytest.approx(1.5)


def test_parts_of_what_the_machine_allows():
    ceilings = {"fma_float32": 4000.0, "fma_float64": 1.0, "copy": {"1000": 9e9, "100000": 1250.0}}
    results = made_up({CACHED: {"cython": 0.5, "peak": 0.25}, COPIED: {"cython": 1.0, "copy": 0.8}}, ceilings)
    assert reached(results)["float32 2-D filter, 5×5 to 15×15 in cache", "peak", "cython"].mean == pytest.approx(0.5)
    assert reached(results)["float32 3×3 on 4096×4096", "copy", "cython"].mean == pytest.approx(0.8)
    assert not outcomes(made_up({CACHED: {"cython": 0.5}}))  # nothing to hold it against
    assert results.rivals == [] and results.engines == ["cython"], "copying is neither"


def test_limits_are_the_peak_or_the_bandwidth_whichever_binds():
    ceilings = {"fma_float32": 4000.0, "products_of_bytes": 4, "copy": {"100": 2e4, "10000": 2e4}}
    floats, bytes_ = CACHED, replace(CACHED, dtype="uint8")
    results = made_up({floats: {"cython": 0.5}, bytes_: {"cython": 0.5}}, ceilings)
    assert [results.limit(row) for row in results.rows] == pytest.approx([0.5, 0.125])
    slow = made_up({floats: {"cython": 1.0}}, ceilings | {"copy": {"100": 2e3, "10000": 2e3}})
    assert slow.limit(slow.rows[0]) == pytest.approx(0.5), "a thousand bytes"
    none = made_up({bytes_: {"cython": 1.0}}, ceilings | {"products_of_bytes": 0})
    assert none.limit(none.rows[0]) is None


def test_the_page_shows_every_cell():
    results = made_up({case: {"cython": 1.0, "opencv": 2.0 + i} for i, case in enumerate(GAUSS)})
    text = target_report.html(results)
    for i in range(len(GAUSS)):
        assert f"{2 + i:.1f}×</span>" in text
    for case in GAUSS:
        assert (
            f"<th>{case.kernel[0]}×{case.kernel[0]}</th>" in text
            and f"<td>{case.shape[0]}×{case.shape[0]}</td>" in text
        )
    assert target_report.html(made_up({})) == "" and target_report.terminal(made_up({})) is None
    assert target_report.terminal(results).row_count == 1


def test_times_of_a_single_call_are_marked():
    times = {GAUSS[0]: {"cython": 1.0, "opencv": 2.0}}
    assert f"2.0×{target_report.ONCE}</span>" in target_report.html(made_up(times, calls=1))
    assert target_report.ONCE not in target_report.html(made_up(times))


def test_the_readmes_table_has_a_line_for_each_target(tmp_path):
    results = made_up({GAUSS[0]: {"cython": 1.0, "numba": 4.0, "opencv": 2.0}})
    results.document |= {"machine_info": machine.machine_info(2), "commit_info": {}, "datetime": "2026-01-02"}
    readme, (begin, end) = tmp_path / "README.md", report.marks("targets")
    readme.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    report.update_readme(results, readme)
    lines = readme.read_text().splitlines()
    assert lines[:2] == ["before", begin] and lines[-2:] == [end, "after"] and "old" not in lines
    assert "| Gaussian, float32 | OpenCV | 1 | 2.2× | 2.0× | **0.50×** |" in lines
    assert sum(line.startswith("| ") for line in lines) == 4  # heads, the target, and one engine against the other
