"""Every case on every engine and rival, by pytest-benchmark; its output is checked before and after."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fastconv.bench.cases import Case
from fastconv.bench.contestants import Contestant, Unsupported
from fastconv.bench.results import case_info
from fastconv.bench.runner import checker, work_of


def test_case(benchmark: Any, case: Case, contestant: Contestant, threads: int) -> None:
    x, w = case.arguments()
    check = checker(case, x, w)
    with contestant.session(threads, case.precision):
        start = time.perf_counter()
        try:
            call = contestant.prepare(case, x, w)
            output = call()
        except Unsupported as reason:
            pytest.skip(str(reason))
        first_call = time.perf_counter() - start
        error = check(contestant.name, output, contestant.slack(case))
        benchmark.group = case.family
        benchmark.extra_info.update(case_info(case, contestant, threads, work_of(case, x, w)))
        benchmark.extra_info.update(first_call=first_call, max_error=error, tolerance=check.tolerance)
        check(contestant.name, benchmark(call), contestant.slack(case))
