"""SciPy's and NumPy's own tests of the patched functions, with the patch and without it.

    python tests/run_scipy_tests.py [-k EXPRESSION] [MODULE ...]

Every test must end alike in both runs, except those that scipy_differences.json lists with a reason;
those that it lists must differ.  Calls may fall back for the reasons that it lists only.  Exit status 1
otherwise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

MODULES = [
    "scipy.ndimage.tests.test_c_api",
    "scipy.ndimage.tests.test_datatypes",
    "scipy.ndimage.tests.test_filters",
    "scipy.ndimage.tests.test_morphology",
    "scipy.signal.tests.test_bsplines",
    "scipy.signal.tests.test_result_type",
    "scipy.signal.tests.test_savitzky_golay",
    "scipy.signal.tests.test_signaltools",
    "scipy.signal.tests.test_splines",
    "scipy.signal.tests.test_wavelets",
    "numpy._core.tests.test_numeric",
    "numpy.lib.tests.test_polynomial",
]
Outcomes = dict[str, tuple[str, str]]
DIFFERENCES = Path(__file__).with_name("scipy_differences.json")


class Recorder:
    """Notes how each test ended, and the message of those that failed."""

    def __init__(self) -> None:
        self.outcomes: Outcomes = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A test marked as expected to fail may pass: SciPy marks what depends on memory beyond its arrays.
        outcome = "may fail" if hasattr(report, "wasxfail") else report.outcome
        if report.when == "call" or outcome != "passed":
            message = str(getattr(getattr(report.longrepr, "reprcrash", None), "message", "")) if report.failed else ""
            self.outcomes[report.nodeid] = outcome, message

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.outcomes[report.nodeid] = "not collected", str(report.longrepr)


def record(target: Path, modules: list[str], expression: str, patched: bool) -> None:
    """Run the tests in this process; write the outcomes, and why calls fell back, to a file."""
    import fastconv

    if patched:
        fastconv.patch_scipy(numpy=True)
    recorder = Recorder()
    root = Path(pytest.__file__).parents[1]  # tests are named by their path below it
    options = ["-q", "--tb=no", "-p", "no:cacheprovider", f"--rootdir={root}", "-k", expression, "--pyargs"]
    pytest.main([*options, *modules], [recorder])
    report = fastconv.patch_report()
    print(report)
    target.write_text(json.dumps([recorder.outcomes, {name: counts.fallen_back for name, counts in report.items()}]))


def run(modules: list[str], expression: str, patched: bool, folder: str) -> tuple[Outcomes, dict[str, dict[str, int]]]:
    """Run the tests in a process of their own."""
    target = Path(folder) / "outcomes.json"
    command = [sys.executable, __file__, "--record", str(target), *(["--patched"] if patched else [])]
    result = subprocess.run([*command, "-k", expression, *modules], cwd=folder, stdout=subprocess.PIPE, text=True)
    print(result.stdout)
    outcomes, fallen_back = json.loads(target.read_text())
    return outcomes, fallen_back


def differing_tests(plain: Outcomes, patched: Outcomes, reasons: dict[str, str], whole: bool) -> list[str]:
    """What is wrong with the outcomes, in sentences."""
    problems, seen = [], set()
    for test in sorted(plain.keys() | patched.keys()):
        (before, _), (after, message) = plain.get(test, ("absent", "")), patched.get(test, ("absent", ""))
        if before != after:
            listed = [name for name in reasons if test.startswith(name)]
            seen.update(listed)
            if not listed:
                problems.append(f"{test}: {before}, with the patch {after}\n    {message}")
    if whole:
        problems += [f"{name}: ends alike, but is listed as a difference" for name in reasons.keys() - seen]
    return problems


def unknown_fall_backs(fallen_back: dict[str, dict[str, int]], reasons: dict[str, str]) -> list[str]:
    """What SciPy computed though fastconv should have: a fall-back hides a mistake from the tests."""
    return [
        f"{name}: {number} calls fell back: {reason}"
        for name, numbers in fallen_back.items()
        for reason, number in numbers.items()
        if not any(known in reason for known in reasons)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE")
    parser.add_argument("-k", dest="expression", default="")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--patched", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    modules, expression = arguments.modules, arguments.expression
    if arguments.record:
        record(arguments.record, modules, expression, arguments.patched)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        plain, _ = run(modules, expression, False, folder)
        patched, fallen_back = run(modules, expression, True, folder)
    listed = json.loads(DIFFERENCES.read_text())
    problems = differing_tests(plain, patched, listed["tests"], whole=modules == MODULES and not expression)
    problems += unknown_fall_backs(fallen_back, listed["fall-backs"])
    print("\n".join(problems))
    print(f"{len(plain)} tests, {len(problems)} problems")
    return 1 if problems or not plain else 0


if __name__ == "__main__":
    sys.exit(main())
