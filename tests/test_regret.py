"""The regret benchmark's machinery: problems, forced algorithms, what is reported."""

from __future__ import annotations

import json
from math import prod

import numpy as np
import pytest
from typer.testing import CliRunner

import fastconv
from fastconv.bench import regret, regret_report
from fastconv.bench.dice import Array
from fastconv.choice import forced

SMALL = regret.Correlation(
    0, 3, "ndimage.correlate", Array((90, 80), "float32", "noise"), (21, 19), "float32", 2, (("mode", "nearest"),)
)


def test_a_seed_always_gives_the_same_problems():
    first, again = (list(map(str, regret.problems(40, seed=5))) for _ in range(2))
    assert first == again and len(set(first)) > 35
    assert first != list(map(str, regret.problems(40, seed=6)))


def test_problems_are_of_many_kinds_and_affordable():
    found = list(regret.problems(300, seed=1))
    assert {p.image.ndim for p in found} == {1, 2, 3}
    assert {p.rank for p in found} >= {0, 1, 2, 3}
    assert {p.image.dtype for p in found} == set(regret.DTYPES)
    assert {p.function.split(".")[0] for p in found} == {"signal", "ndimage"}
    for p in found:
        assert 2 * p.image.size * prod(p.kernel) <= regret.MOST_FLOPS
        assert prod(p.kernel) > 1


def test_kernels_have_the_rank_that_is_told():
    for p in regret.problems(60, seed=2):
        if p.image.ndim == 2 and p.dtype == "float64" and p.rank and min(p.kernel) > p.rank:
            kernel = p._weights(np.random.default_rng(0))
            assert np.linalg.matrix_rank(kernel) == p.rank


def test_calls_are_right_by_every_algorithm():
    call = SMALL.call()
    with forced("direct"):
        desired = call()
    done = []
    for name in regret.ALGORITHMS:
        try:
            with forced(name):
                actual = call()
        except NotImplementedError:
            continue
        done.append(name)
        np.testing.assert_allclose(actual, desired, atol=1e-5)
    assert {"direct", "overlap", "transforms"} <= set(done)
    np.testing.assert_allclose(call(), desired, atol=1e-5)


def test_forced_calls_are_not_replayed_as_others():
    image, kernel = (
        np.random.default_rng(0).random((64, 64), np.float32),
        np.random.default_rng(1).random((25, 25), np.float32),
    )
    for _ in range(3):
        fastconv.correlate2d(image, kernel, "same")
    with forced("direct"):
        plan = fastconv.plan(fastconv.correlate2d, image, kernel, "same")
    assert plan.implementation.endswith(":filter")
    with forced("transforms"):
        assert fastconv.plan(fastconv.correlate2d, image, kernel, "same").implementation.endswith(":transforms")


def test_measuring(monkeypatch):
    monkeypatch.setattr(regret, "ROUNDS", 1)
    monkeypatch.setattr(regret, "MORE_ROUNDS", 2)
    result = regret.measure(SMALL)
    assert result.index == 3 and {"choice", "direct", "overlap"} <= set(result.seconds)
    assert result.ratio >= 1.0 and result.best in regret.ALGORITHMS and 1 <= result.rounds <= 2
    assert ":" in result.chosen


def results() -> regret.Regret:
    made = [
        regret.Result(0, "one", "cython:filter", {"choice": 2e-3, "direct": 1e-3, "overlap": 4e-3}, 4),
        regret.Result(1, "two", "cython:overlap", {"choice": 1e-3, "direct": 9e-3, "overlap": 1e-3}, 4),
        regret.Result(2, "three", "cython:separable", {"choice": 1.1e-3, "direct": 9e-3, "passes": 1e-3}, 4),
    ]
    return regret.Regret(seed=0, threads=2, seconds=1.0, results=made)


def test_what_is_computed_from_results():
    found = results()
    assert [r.index for r in found.worst] == [0, 2, 1]
    assert found.percentiles()[50] == pytest.approx(1.1) and found.percentiles()[100] == pytest.approx(2.0)
    assert [r.best for r in found.results] == ["direct", "overlap", "passes"]
    assert regret.Regret(0, 1).percentiles() == {}


def test_reports(tmp_path):
    from rich.console import Console

    console = Console(width=160, record=True, file=open(tmp_path / "text", "w"))  # noqa: SIM115
    regret_report.print_regret(results(), console)
    text = console.export_text()
    assert "maximum 2.000" in text and "cython:separable" in text
    files = regret_report.write_regret(results(), tmp_path / "out")
    document = json.loads(files["json"].read_text())
    assert document["percentiles"]["100"] == pytest.approx(2.0) and len(document["results"]) == 3
    assert files["figure"].stat().st_size > 10_000
    assert set(regret_report.write_regret(regret.Regret(0, 1), tmp_path / "none")) == {"json"}


def test_the_command(tmp_path):
    from fastconv.__main__ import app

    listed = CliRunner().invoke(app, ["regret", "5", "--seed", "3", "--list"])
    assert listed.exit_code == 0 and len(listed.output.splitlines()) == 5
    quick = next(p for p in regret.problems(100, seed=3) if p.image.size * prod(p.kernel) < 10**6)
    done = CliRunner().invoke(app, ["regret", "--seed", "3", "--only", str(quick.index), "--out", str(tmp_path)])
    assert done.exit_code == 0 and (tmp_path / "regret.json").exists()
    assert CliRunner().invoke(app, ["regret", "--only", "x"]).exit_code == 2
