"""Options of the benchmarks, and who takes part.

    pytest benchmarks --benchmark-only                          the short list of cases
    pytest benchmarks --benchmark-only --every-case             all
    pytest benchmarks --benchmark-only --cases 'nn.*NHWC'       some
    pytest benchmarks --benchmark-only --benchmark-json x.json && fastconv report x.json

Cases, rivals and checks are those of `fastconv.bench`.
"""

from __future__ import annotations

from typing import Any

import pytest

from fastconv import about
from fastconv.bench import machine
from fastconv.bench.cases import select
from fastconv.bench.rivals import ENGINES, RIVALS, choose
from fastconv.config import resolve_threads


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastconv")
    group.addoption("--cases", default=None, metavar="GLOB", help="only cases whose names match")
    group.addoption("--every-case", action="store_true", help="all cases, not only the short list")
    group.addoption("--engines", default="numba,cython", metavar="NAMES", help="engines of fastconv, with commas")
    group.addoption(
        "--rivals", default="scipy,opencv,torch,astropy", metavar="NAMES", help="rivals, with commas, or 'none'"
    )
    group.addoption("--threads", default=None, type=int, metavar="N", help="threads for all")


def _contestants(config: pytest.Config) -> tuple[list[Any], dict[str, str]]:
    """Who takes part, and which rivals are missing; a missing engine is an error."""
    engines, missing = choose(config.getoption("--engines").split(","), ENGINES, "--engines")
    if missing:
        raise pytest.UsageError(f"engines that cannot run here: {missing}")
    names = config.getoption("--rivals")
    rivals, missing = choose([] if names == "none" else names.split(","), RIVALS, "--rivals")
    return engines + rivals, missing


def pytest_report_header(config: pytest.Config) -> list[str]:
    contestants, missing = _contestants(config)
    lines = ["fastconv against: " + ", ".join(c.name for c in contestants if c.kind == "rival")]
    return lines + [f"{name} takes no part: {why}" for name, why in missing.items()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        config = metafunc.config
        cases = select(config.getoption("--cases"), quick=not config.getoption("--every-case"))
        contestants, _ = _contestants(config)
        pairs = [(case, contestant) for case in cases for contestant in contestants]
        metafunc.parametrize("case, contestant", pairs, ids=[f"{case.name}-{who.name}" for case, who in pairs])


@pytest.fixture(scope="session")
def threads(request: pytest.FixtureRequest) -> int:
    return resolve_threads(request.config.getoption("--threads"))


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """The same facts as `fastconv bench` tells, and no names of host or user."""
    machine_info.clear()
    machine_info.update(machine.machine_info(resolve_threads(config.getoption("--threads"))))


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Ceilings and versions, for `fastconv report`."""
    threads = resolve_threads(config.getoption("--threads"))
    output_json["fastconv"] = {
        "threads": threads,
        "ceilings": machine.ceilings(threads),
        "versions": about.versions(),
        "missing": _contestants(config)[1],
    }
