"""Rates: the defaults, the saved ones, what `tune` measures."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from typer.testing import CliRunner

import fastconv
from fastconv import costs, rates, tuning
from fastconv.rates import Rates


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Files go to a folder of the test's own; the defaults are in force before and after it."""
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path))
    rates.use(None)
    yield
    rates.use(Rates())
    tuning._forget_choices()


def test_the_defaults_are_in_force_where_nothing_is_saved():
    assert rates.current() == Rates()
    assert rates.current() is rates.current()


def test_rates_are_saved_for_this_version_and_processor():
    other = replace(Rates(), point=2e-9, sums=(1e-11, 2e-12, 3e-12))
    path = rates.save(other)
    assert path == rates.path() and path.exists() and path.name.endswith(".json")
    document = json.loads(path.read_text())
    assert document["processor"] == rates.processor() and document["rates"]["point"] == 2e-9
    rates.use(None)
    assert rates.current() == other
    assert rates.forget() and not rates.forget()
    assert rates.current() == Rates()


def test_they_are_read_in_another_process_and_not_at_import():
    rates.save(replace(Rates(), min_seconds=7e-6))
    code = (
        "import fastconv, numpy as np; from fastconv import rates; assert rates._used is None;"
        "fastconv.correlate2d(np.ones((9, 9)), np.ones((3, 3))); fastconv.correlate2d(np.ones((90, 90)), np.ones((9, 9)));"
        "print(rates.current().min_seconds)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "7e-06" and result.stderr == ""


DAMAGED = [
    "",
    "{",
    "[]",
    json.dumps({"format": rates.FORMAT}),
    json.dumps({"format": -1, "rates": asdict(Rates())}),
    json.dumps({"format": rates.FORMAT, "rates": asdict(Rates()) | {"point": -1.0}}),
    json.dumps({"format": rates.FORMAT, "rates": asdict(Rates()) | {"point": "1e-9"}}),
    json.dumps({"format": rates.FORMAT, "rates": asdict(Rates()) | {"sums": [1e-12]}}),
    json.dumps({"format": rates.FORMAT, "rates": asdict(Rates()) | {"bandwidth": 1e300}}),
]


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_files_are_ignored_with_a_warning(text):
    rates.path().parent.mkdir(parents=True, exist_ok=True)
    rates.path().write_text(text)
    with pytest.warns(RuntimeWarning, match=r"damaged.*fastconv.tune\(\)"):
        assert rates.current() == Rates()
    assert rates.current() == Rates()  # told once


def test_where_nothing_can_be_written_rates_stay_in_memory(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(blocked))  # not a folder
    monkeypatch.setattr(tuning, "_measured", lambda progress: replace(Rates(), point=3e-9))
    result = fastconv.tune()
    assert result["saved"] is None and result["rates"]["point"] == 3e-9
    assert rates.current().point == 3e-9


def test_tune_measures_saves_and_resets():
    told = []
    result = fastconv.tune(progress=lambda *what: told.append(what))
    assert result["seconds"] < 30 and result["saved"] == str(rates.path())
    found = Rates(**result["rates"])
    assert rates.current() == found
    assert 1 <= found.sums_of_passes < 20 and 1 < found.double < 10 and 1e-7 < found.min_seconds < 1e-2
    assert told[0][1] == 0 and told[-1][1] == told[-1][2] and len(told) > 4
    rates.use(None)
    assert rates.current() == found
    assert fastconv.tune(reset=True)["rates"] == vars(Rates())
    assert not rates.path().exists()


@fastconv.use(threads=2)
def test_choices_follow_the_rates():
    image = np.random.default_rng(0).random((300, 300), np.float32)
    kernel = np.random.default_rng(1).random((25, 25), np.float32)
    assert fastconv.plan(fastconv.correlate2d, image, kernel).problem.transforms == "overlap"
    rates.use(replace(Rates(), point=1e-6, fourier=1e3))
    tuning._forget_choices()
    assert fastconv.plan(fastconv.correlate2d, image, kernel).problem.transforms == ""
    assert costs.threads_worth_using(10**9, 0, 2) == 2 and costs.threads_worth_using(100, 0, 2) == 1


def test_two_rates_are_fitted_or_scaled():
    rows = [(1e6, 2e5, 1.6e-3), (4e6, 1e5, 4.3e-3), (1e5, 1e6, 3.1e-3)]
    assert tuning._two_rates(rows, (2e-9, 2e-9)) == pytest.approx((1e-9, 3e-9))
    rng = np.random.default_rng(0)
    for _ in range(50):  # times that do not tell them apart
        rows = [(n, n * rng.uniform(0.9, 1.1), n * 4e-9 * rng.uniform(0.8, 1.2)) for n in (1e5, 1e6, 1e7)]
        x, y = tuning._two_rates(rows, (1e-9, 1e-9))
        assert 0.4e-9 < x < 9e-9 and 0.4e-9 < y < 9e-9
        assert 3e-9 < x + y < 5e-9


def test_the_command(monkeypatch):
    from fastconv.__main__ import app

    monkeypatch.setattr(tuning, "_measured", lambda progress: Rates())
    result = CliRunner().invoke(app, ["tune"])
    assert result.exit_code == 0 and "150 GFLOP/s" in result.output and str(rates.path().name) in result.output
    result = CliRunner().invoke(app, ["tune", "--reset"])
    assert result.exit_code == 0 and "removed" in result.output and not rates.path().exists()
    result = CliRunner().invoke(app, ["tune", "--no-save"])
    assert "this process alone" in result.output and not rates.path().exists()
