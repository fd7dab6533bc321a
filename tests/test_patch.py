"""The patch: what is replaced and given back, what is served, what falls back, and how programs are run."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv.interop import numpy_functions, scipy_patch
from fastconv.interop.report import MOST_REASONS, OTHER_REASONS, Counts, PatchReport, Tally, reason_of
from fastconv.interop.wrapper import LEFT, Patch

NAMES = list(fastconv.patch_map())
IMAGE = np.arange(48.0).reshape(6, 8) ** 2
KERNEL = np.array([[1.0, 2.0, -1.0], [0.0, 3.0, 5.0]])


def found(name: str) -> Any:
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module), function)


ORIGINALS = {name: found(name) for name in NAMES}


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Each test starts and ends with SciPy as it is, and with no calls counted."""
    fastconv.patch_report(reset=True)
    yield
    fastconv.unpatch_scipy()
    assert fastconv.patch_map(active=True) == {}
    assert {name: found(name) for name in NAMES} == ORIGINALS


def only(report: PatchReport) -> Counts:
    assert len(report) == 1, report
    return next(iter(report.values()))


# -- what is replaced, and given back --------------------------------------------------------


def test_the_documentation_lists_them():
    text = (Path(__file__).parents[1] / "docs" / "scipy.md").read_text()
    listed = text.partition("## What is patched")[2].partition("scikit-image")[0]
    modules = re.findall(r"^- .*?`([\w.]+)`: (.*?)(?=^- |\Z)", listed, re.MULTILINE | re.DOTALL)
    assert [f"{module}.{name}" for module, names in modules for name in re.findall(r"`(\w+)`", names)] == sorted(
        NAMES, key=lambda name: (name.startswith("numpy"), name)
    )
    differences = json.loads(Path(__file__).with_name("scipy_differences.json").read_text())["tests"]
    for test in differences:
        assert re.search(r"::(test_\w+)", test).group(1) in text


def test_the_map_has_all_that_both_have():
    expected = {"numpy.convolve", "numpy.correlate"}
    for module in ("ndimage", "signal"):
        ours, theirs = importlib.import_module(f"fastconv.{module}"), importlib.import_module(f"scipy.{module}")
        expected |= {f"scipy.{module}.{name}" for name in ours.__all__ if hasattr(theirs, name)}
    mapped = fastconv.patch_map()
    assert set(mapped) == expected >= {"scipy.ndimage.correlate1d", "scipy.signal.convolve2d"}
    assert mapped["scipy.ndimage.convolve"] == "fastconv.ndimage.convolve"
    assert all(callable(found(ours)) for ours in mapped.values())
    fastconv.patch_scipy(numpy=True)
    assert fastconv.patch_map(active=True) == mapped
    assert all(found(name) is not ORIGINALS[name] for name in NAMES)


def signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except ValueError:  # of some functions in C
        return None


@pytest.mark.parametrize("name", NAMES)
def test_a_replacement_looks_like_the_original(name):
    original = ORIGINALS[name]
    fastconv.patch_scipy(numpy=True)
    replacement = found(name)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(replacement, attribute) == getattr(original, attribute)
    assert signature(replacement) == signature(original)
    assert pickle.loads(pickle.dumps(replacement)) is replacement
    sent = pickle.dumps(replacement)
    fastconv.unpatch_scipy()
    assert pickle.loads(sent) is original


def test_every_module_gets_back_what_it_had(monkeypatch):
    earlier, later = types.ModuleType("imported_earlier"), types.ModuleType("imported_later")
    exec("from scipy.signal import convolve2d as c\nfrom scipy.ndimage import correlate\nother = [1]", vars(earlier))
    monkeypatch.setitem(sys.modules, "imported_earlier", earlier)
    monkeypatch.setitem(sys.modules, "no_module_at_all", None)
    before = {name: dict(vars(m)) for name, m in sys.modules.items() if isinstance(m, types.ModuleType)}

    fastconv.patch_scipy(numpy=True)
    exec("from numpy import convolve\nfrom scipy.ndimage import correlate as mine", vars(later))
    monkeypatch.setitem(sys.modules, "imported_later", later)
    assert earlier.c is scipy.signal.convolve2d is scipy.signal._signaltools.convolve2d
    assert earlier.correlate is scipy.ndimage._filters.correlate is later.mine
    assert earlier.c is not ORIGINALS["scipy.signal.convolve2d"]
    assert later.convolve is np.convolve is not ORIGINALS["numpy.convolve"]
    with pytest.warns(DeprecationWarning):
        assert scipy.ndimage.filters.convolve1d is scipy.ndimage.convolve1d  # the deprecated namespace

    fastconv.unpatch_scipy()
    assert later.convolve is ORIGINALS["numpy.convolve"] and later.mine is ORIGINALS["scipy.ndimage.correlate"]
    for name, names in before.items():
        now = vars(sys.modules[name])
        changed = [key for key, value in names.items() if now.get(key) is not value]
        assert [key for key in changed if not isinstance(names[key], int | float)] == [], name  # clocks run on


def test_lazy_modules_stay_unloaded(monkeypatch, tmp_path):
    (tmp_path / "lazy_one.py").write_text("raise SystemExit('loaded')")
    spec = importlib.util.spec_from_file_location("lazy_one", tmp_path / "lazy_one.py")
    lazy = importlib.util.LazyLoader(spec.loader)
    spec.loader = lazy
    module = importlib.util.module_from_spec(spec)
    lazy.exec_module(module)
    monkeypatch.setitem(sys.modules, "lazy_one", module)
    fastconv.patch_scipy()
    assert type(module).__name__ == "_LazyModule"


def test_fastconv_itself_is_not_patched(monkeypatch):
    own = types.ModuleType("fastconv.holds_scipys")
    own.convolve = scipy.ndimage.convolve
    monkeypatch.setitem(sys.modules, own.__name__, own)
    fastconv.patch_scipy()
    assert own.convolve is ORIGINALS["scipy.ndimage.convolve"]


def test_what_is_held_elsewhere_is_scipys_again():
    fastconv.patch_scipy()
    held = functools.partial(scipy.ndimage.convolve, weights=KERNEL)
    held(IMAGE)
    assert only(fastconv.patch_report(reset=True)).served == 1
    fastconv.unpatch_scipy()
    np.testing.assert_array_equal(held(IMAGE), scipy.ndimage.convolve(IMAGE, KERNEL))
    assert fastconv.patch_report() == {}
    fastconv.patch_scipy()
    held(IMAGE)
    assert only(fastconv.patch_report()).served == 1


NDIMAGE = {name for name in NAMES if name.startswith("scipy.ndimage.")}
SIGNAL = {name for name in NAMES if name.startswith("scipy.signal.")}
NUMPY = {"numpy.convolve", "numpy.correlate"}


@pytest.mark.parametrize(
    "names, numpy, expected",
    [
        (None, False, NDIMAGE | SIGNAL),
        (None, True, NDIMAGE | SIGNAL | NUMPY),
        ("ndimage", False, NDIMAGE),
        ("scipy.signal", True, SIGNAL | NUMPY),
        ("numpy", False, NUMPY),
        ("convolve2d", True, {"scipy.signal.convolve2d"} | NUMPY),
        ("convolve", False, {"scipy.signal.convolve", "scipy.ndimage.convolve"}),
        (["ndimage.convolve", "scipy.signal.correlate"], False, {"scipy.ndimage.convolve", "scipy.signal.correlate"}),
        ((name for name in ["numpy.convolve"]), False, {"numpy.convolve"}),
        ([], False, set()),
    ],
)
def test_names(names, numpy, expected):
    fastconv.patch_scipy(names, numpy=numpy)
    assert set(fastconv.patch_map(active=True)) == expected


@pytest.mark.parametrize("names", ["medianfilter", "scipy.fft", "numpy.dot", ["ndimage", "signal.lfilter"], ""])
@pytest.mark.parametrize("function", [fastconv.patch_scipy, fastconv.unpatch_scipy])
def test_there_is_no_such_function(function, names):
    with pytest.raises(ValueError, match=r"names must be among .*scipy\.ndimage\.convolve, .*; got '"):
        function(names)
    with pytest.raises(ValueError, match="names must be among"), fastconv.patched_scipy(names):
        raise AssertionError("entered")
    assert fastconv.patch_map(active=True) == {}


def test_patches_add_up_and_are_taken_back_by_name():
    fastconv.patch_scipy("convolve")
    fastconv.patch_scipy("convolve2d")
    fastconv.patch_scipy("convolve2d")
    fastconv.unpatch_scipy("ndimage")
    assert set(fastconv.patch_map(active=True)) == {"scipy.signal.convolve", "scipy.signal.convolve2d"}
    fastconv.unpatch_scipy()
    fastconv.unpatch_scipy()


def test_blocks_nest():
    patch = fastconv.patched_scipy
    with patch("ndimage.convolve"):
        with patch("ndimage"):
            fastconv.patch_scipy("signal.convolve2d")
            fastconv.unpatch_scipy("ndimage")
            assert set(fastconv.patch_map(active=True)) == NDIMAGE | {"scipy.signal.convolve2d"}
        assert set(fastconv.patch_map(active=True)) == {"scipy.ndimage.convolve", "scipy.signal.convolve2d"}
    assert set(fastconv.patch_map(active=True)) == {"scipy.signal.convolve2d"}
    fastconv.unpatch_scipy()
    with pytest.raises(ZeroDivisionError), patch():
        _ = 1 / 0
    assert fastconv.patch_map(active=True) == {}

    @patch("ndimage")
    def decorated() -> set[str]:
        return set(fastconv.patch_map(active=True))

    assert decorated() == decorated() == NDIMAGE
    assert fastconv.patch_map(active=True) == {}


def test_blocks_of_several_threads_overlap():
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def first() -> None:
        with fastconv.patched_scipy("ndimage.convolve"):
            first_in.set()
            second_in.wait(10)
        first_out.set()

    def second() -> None:
        first_in.wait(10)
        with fastconv.patched_scipy("ndimage.convolve"):
            second_in.set()
            first_out.wait(10)
            seen.append(fastconv.patch_map(active=True))

    threads = [threading.Thread(target=f) for f in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [{"scipy.ndimage.convolve": "fastconv.ndimage.convolve"}]
    assert fastconv.patch_map(active=True) == {}


# -- what is served, what falls back, what is rejected ---------------------------------------


def test_served_and_equal():
    expected = [f(IMAGE, KERNEL) for f in (scipy.ndimage.convolve, scipy.signal.correlate2d, scipy.signal.convolve)]
    with fastconv.patched_scipy():
        got = [f(IMAGE, KERNEL) for f in (scipy.ndimage.convolve, scipy.signal.correlate2d, scipy.signal.convolve)]
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)
    assert fastconv.patch_report() == dict.fromkeys(
        ("scipy.ndimage.convolve", "scipy.signal.convolve", "scipy.signal.correlate2d"), Counts(1, {}, 0)
    )


def test_arrays_of_several_kinds_are_served(tmp_path):
    mapped = np.memmap(tmp_path / "image", "f4", "w+", shape=(6, 8))
    mapped[:] = IMAGE
    inputs = [IMAGE, IMAGE.tolist(), mapped, IMAGE.astype(np.uint8), IMAGE > 9, IMAGE.T[::-1], IMAGE + 1j]
    expected = [scipy.ndimage.convolve(x, KERNEL, mode="wrap", origin=np.int64(0)) for x in inputs]
    with fastconv.patched_scipy():
        for x, theirs in zip(inputs, expected, strict=True):
            ours = scipy.ndimage.convolve(x, KERNEL, mode="wrap", origin=np.int64(0))
            assert type(ours) is np.ndarray and ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert only(fastconv.patch_report()) == Counts(len(inputs), {}, 0)


class Foreign:
    """An array of another library."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return IMAGE


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize("image", [Foreign(), IMAGE.view(Subclass), np.ma.masked_array(IMAGE, IMAGE < 9)])
def test_arrays_of_other_libraries_are_scipys(image, monkeypatch):
    expected = scipy.ndimage.convolve(image, KERNEL)
    with fastconv.patched_scipy():
        for got in (scipy.ndimage.convolve(image, KERNEL), scipy.ndimage.convolve(weights=KERNEL, input=image)):
            assert type(got) is type(expected)
            np.testing.assert_array_equal(got, expected)
    counts = only(fastconv.patch_report())
    assert (counts.served, sum(counts.fallen_back.values())) == (0, 2)
    assert f"{type(image).__qualname__} is not a plain NumPy array" in next(iter(counts.fallen_back))


@pytest.mark.parametrize(
    "call",
    [
        lambda: scipy.ndimage.correlate(IMAGE, KERNEL.astype(object)),
        lambda: scipy.ndimage.correlate1d(IMAGE[:0], np.array([1, 2], object)),
        lambda: np.convolve([True, False], [True, True]),
        lambda: np.convolve(IMAGE[0].astype("f2"), [np.float16(1)]),
        lambda: np.convolve(IMAGE[0].astype("g"), [1, 2]),
        lambda: np.convolve(IMAGE[0], [1, np.inf, 2]),
        lambda: np.correlate(np.array([1, 2], object), [3]),
    ],
)
def test_what_fastconv_does_not_take_falls_back(nothing_is_small, call):
    expected = call()
    with fastconv.patched_scipy("ndimage", numpy=True):
        got = call()
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    counts = only(fastconv.patch_report())
    assert (counts.served, list(counts.fallen_back.values()), counts.rejected) == (0, [1], 0)
    assert next(iter(counts.fallen_back)).startswith(("TypeError: ", "ArgumentTypeError: ", "NotImplementedError: "))


def test_what_fastconvs_function_leaves_to_scipy_is_told():
    words = np.array([1, 2], object), np.array([3, 4, 5], object)
    expected = scipy.signal.correlate(*words, method="direct")
    with fastconv.patched_scipy("signal.correlate"):
        np.testing.assert_array_equal(scipy.signal.correlate(*words, method="direct"), expected)
    assert only(fastconv.patch_report()) == Counts(0, {LEFT: 1}, 0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: scipy.ndimage.convolve(IMAGE, KERNEL, mode="no such mode"),
        lambda: scipy.ndimage.convolve(IMAGE, KERNEL[0]),
        lambda: scipy.ndimage.correlate1d(IMAGE, [1, 2], origin=7),
        lambda: scipy.ndimage.convolve(IMAGE, KERNEL, output=np.zeros(3)),
        lambda: scipy.ndimage.convolve(IMAGE, KERNEL, threads=1),
        lambda: scipy.ndimage.convolve(IMAGE),
        lambda: scipy.signal.convolve2d(IMAGE, [1, 2]),
        lambda: scipy.signal.correlate(IMAGE, KERNEL, "no such mode"),
        lambda: np.convolve([], [1]),
        lambda: np.convolve(IMAGE, KERNEL),
        lambda: np.correlate(IMAGE, KERNEL),
        lambda: np.correlate([1, 2], [1], "no such mode"),
    ],
)
def test_errors_are_the_originals(call):
    with pytest.raises(Exception) as theirs:
        call()
    with fastconv.patched_scipy(numpy=True), pytest.raises(Exception) as ours:
        call()
    assert type(ours.value) is type(theirs.value) and str(ours.value) == str(theirs.value)
    assert repr(ours.value.__context__) == repr(theirs.value.__context__)  # nothing of fastconv's
    assert only(fastconv.patch_report()) == Counts(0, {}, 1)


def fake(name: str, fast: Any) -> Any:
    """The replacement of a SciPy function by any other."""
    patch = Patch(name, "fake", ORIGINALS[name], fast)
    patch.active = True
    return patch.pairs[0][1]


def test_a_function_that_fails_half_way_leaves_its_input_to_scipy():
    def fails(input, weights, output=None, **kwargs):
        output[...] = 77
        raise NotImplementedError("half-way")

    replacement = fake("scipy.ndimage.convolve", fails)
    expected = scipy.ndimage.convolve(IMAGE, KERNEL)
    for call in (
        lambda a: replacement(a, KERNEL, a),
        lambda a: replacement(a, KERNEL, output=a),
        lambda a: replacement(input=a, weights=KERNEL, output=a.view()),
        lambda a: replacement(a[::-1], KERNEL[::-1], a, "reflect", 0.0, (-1, 0))[::-1],
    ):
        image = IMAGE.copy()
        result = call(image)
        assert np.shares_memory(result, image)
        np.testing.assert_array_equal(result, expected)


def test_in_place_results_are_in_place():
    expected = scipy.ndimage.convolve(IMAGE, KERNEL)
    with fastconv.patched_scipy():
        for make in (np.copy, lambda a: a.astype(">f8"), lambda a: np.asfortranarray(a)):
            image = make(IMAGE)
            assert scipy.ndimage.convolve(image, KERNEL, output=image) is image
            np.testing.assert_array_equal(image, expected)
        apart = np.zeros_like(IMAGE)
        assert scipy.ndimage.convolve(IMAGE, KERNEL, apart) is apart
        np.testing.assert_array_equal(apart, expected)
    assert only(fastconv.patch_report()) == Counts(4, {}, 0)


def test_a_fastconv_function_that_calls_scipy_means_scipys():
    calls = []

    def calls_back(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return replacement(*args, **kwargs)

    replacement = fake("scipy.ndimage.convolve", calls_back)
    np.testing.assert_array_equal(replacement(IMAGE, KERNEL), scipy.ndimage.convolve(IMAGE, KERNEL))
    assert len(calls) == 1


def test_falling_back_ends(monkeypatch):
    """SciPy's functions call one another: each falls back once for each time it is called."""

    def refuses(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("refused")

    for name in NAMES:
        ours, _, function = scipy_patch._ours(name).rpartition(".")
        monkeypatch.setattr(importlib.import_module(ours), function, refuses)
    monkeypatch.setattr(scipy_patch, "_patches", {})
    calls = [
        lambda: scipy.ndimage.gaussian_laplace(IMAGE, 1.5),
        lambda: scipy.signal.correlate(IMAGE, KERNEL, method="fft"),
        lambda: scipy.signal.convolve(IMAGE[0], KERNEL[0]),
        lambda: scipy.signal.savgol_filter(IMAGE, 3, 1),
    ]
    expected = [call() for call in calls]
    with fastconv.patched_scipy(numpy=True):
        for call, theirs in zip(calls, expected, strict=True):
            np.testing.assert_array_equal(call(), theirs)
        report = fastconv.patch_report()
    assert not any(counts.served for counts in report.values())
    assert report["scipy.ndimage.correlate1d"].fallen_back == {"NotImplementedError: refused": 5}


def test_scipys_own_calls_are_served():
    expected = scipy.ndimage.gaussian_filter(IMAGE, 1.5)
    with fastconv.patched_scipy("ndimage.correlate1d"):
        np.testing.assert_allclose(scipy.ndimage.gaussian_filter(IMAGE, 1.5), expected, rtol=1e-13)
        scipy.signal.savgol_filter(IMAGE, 3, 1)
    assert only(fastconv.patch_report()) == Counts(3, {}, 0)


def test_a_function_that_the_caller_gives_may_call_patched_ones():
    def derivative(input, axis, output, mode, cval, *args, **kwargs):
        return scipy.ndimage.correlate1d(input, [-1.0, 0.0, 2.0], axis, output, mode, cval)

    expected = scipy.ndimage.generic_gradient_magnitude(IMAGE, derivative)
    with fastconv.patched_scipy():
        got = scipy.ndimage.generic_gradient_magnitude(IMAGE, derivative)
        report = fastconv.patch_report()
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    assert report["scipy.ndimage.correlate1d"].served == 2


def test_the_array_api_layer_is_patched_too():
    code = """
import numpy as np, fastconv, scipy.ndimage as n, scipy.signal as s
expected = n.gaussian_filter(np.eye(9), 1), s.convolve2d(np.eye(3), np.ones((2, 2)))
public, inner = originals = (n.convolve, n.convolve.__wrapped__)
assert inner is n._filters.convolve
fastconv.patch_scipy(["ndimage.correlate1d", "ndimage.convolve", "signal.convolve2d"])
assert (public, inner) == (n.convolve, n._filters.convolve) != originals
np.testing.assert_allclose(n.gaussian_filter(np.eye(9), 1), expected[0], rtol=1e-13)
np.testing.assert_array_equal(s.convolve2d(np.eye(3), np.ones((2, 2))), expected[1])
try:
    n.convolve(np.ma.masked_array(np.eye(3)), np.ones((2, 2)))
except TypeError as error:
    assert "MaskedArray" in str(error) or "masked" in str(error).lower(), error
else:
    raise AssertionError("SciPy takes no masked arrays")
print({name: (c.served, c.rejected) for name, c in fastconv.patch_report().items()})
fastconv.unpatch_scipy()
assert (public, inner) == (n.convolve, n._filters.convolve) == originals
"""
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"SCIPY_ARRAY_API": "1"}, capture_output=True, text=True
    )
    assert result.stderr == ""
    assert eval(result.stdout) == {
        "scipy.ndimage.convolve": (0, 1),
        "scipy.ndimage.correlate1d": (2, 0),
        "scipy.signal.convolve2d": (1, 0),
    }


# -- counting --------------------------------------------------------------------------------


def test_the_report_reads_well():
    assert str(fastconv.patch_report()) == "no call of a patched function"
    with fastconv.patched_scipy():
        for _ in range(3):
            scipy.signal.convolve2d(IMAGE, KERNEL)
        for _ in range(2):
            scipy.signal.convolve2d(Foreign(), KERNEL)
        with pytest.raises(ValueError):
            scipy.signal.convolve2d(IMAGE, KERNEL, "?")
    report = fastconv.patch_report(reset=True)
    lines = str(report).splitlines()
    assert lines[0].split() == ["function", "served", "fallen", "back", "rejected"]
    assert lines[1].split() == ["scipy.signal.convolve2d", "3", "2", "1"]
    assert lines[2].split(maxsplit=1) == ["2", f"{__name__}.Foreign is not a plain NumPy array"]
    assert fastconv.patch_report() == {}


def test_reasons_tell_apart_causes_but_not_calls():
    assert reason_of(ValueError("size must be 3; got 4")) == reason_of(ValueError("size must be 3; got 5"))
    assert reason_of(TypeError("size must be 3; got 4")) != reason_of(ValueError("size must be 3; got 4"))
    tally = Tally()
    for i in range(3 * MOST_REASONS):
        tally.fall_back(f"reason {i}")
    counts = tally.counts()
    assert len(counts.fallen_back) == MOST_REASONS + 1
    assert counts.fallen_back[OTHER_REASONS] == 2 * MOST_REASONS


def test_threads_are_counted_exactly():
    with fastconv.patched_scipy():

        def work() -> None:
            for _ in range(300):
                scipy.ndimage.correlate1d([1.0, 2.0], [1.0])

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert only(fastconv.patch_report()).served == 1200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_inherits_the_patch():
    with fastconv.patched_scipy():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that other threads exist
            child = os.fork()
        if child == 0:
            scipy.ndimage.convolve(IMAGE, KERNEL)
            os._exit(only(fastconv.patch_report()).served)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert fastconv.patch_report() == {}


# -- NumPy's functions -----------------------------------------------------------------------


@pytest.fixture
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_functions, "SMALL", 0)
    monkeypatch.setattr(numpy_functions, "SMALL_FLOATS", 0)


DTYPES = "int8 uint8 int16 uint32 int64 float32 float64 complex64 complex128".split()


@given(st.data())
def test_numpys_results(nothing_is_small, data):
    name = data.draw(st.sampled_from(["convolve", "correlate"]))
    draws = [(data.draw(st.sampled_from(DTYPES)), data.draw(st.integers(1, 9))) for _ in "av"]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a, v = (rng.integers(0, 7, (2 * n, 2)).astype(dtype)[::2, 0] for dtype, n in draws)
    a, v = (x * x.dtype.type(1 + 2j) if x.dtype.kind == "c" else x for x in (a, v))
    mode = data.draw(st.sampled_from(["full", "same", "valid", None]))
    arguments = () if mode is None else (mode,)
    expected = getattr(np, name)(a, v, *arguments)
    got = getattr(numpy_functions, name)(a, v, *arguments)
    assert got.dtype == expected.dtype and got.flags.c_contiguous
    np.testing.assert_array_equal(got, expected)


def test_numpys_arguments(nothing_is_small):
    calls = [
        lambda: np.convolve(3, [1, 2.5]),
        lambda: np.convolve(np.float32(3), np.float32(2)),
        lambda: np.correlate([1, 2, 3, 4], [1, 1j], mode="same"),
        lambda: np.correlate([1, 1j, 2, 5], [1, 1j, 3, 4, 5, 6j], mode="same"),
        lambda: np.convolve(v=[1, 2], a=[1, 2, 3]),
        lambda: np.convolve([1, np.nan, 3, np.inf, 4, 5], [1, 2]),
        lambda: np.poly([1, 2, 3]),
    ]
    expected = [call() for call in calls]
    with fastconv.patched_scipy(numpy=True):
        for call, theirs in zip(calls, expected, strict=True):
            ours = call()
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    report = fastconv.patch_report()
    assert report["numpy.convolve"] == Counts(7, {}, 0) and report["numpy.correlate"] == Counts(2, {}, 0)


@pytest.mark.parametrize("args", [(1, 1), (1, [1, 2, 3]), ([1, 2, 3], 2.0), (np.float32(2), np.ones(20_000))])
def test_scalars_are_numpys(args):
    with pytest.raises(ValueError) as desired:
        np.correlate(*args)
    with fastconv.patched_scipy("numpy.correlate"), pytest.raises(ValueError, match=re.escape(str(desired.value))):
        np.correlate(*args)


@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8", "complex128"])
def test_numpys_functions_on_long_signals(name, dtype):
    rng = np.random.default_rng(5)
    a, v = rng.integers(0, 9, 3000).astype(dtype), rng.integers(0, 9, 40).astype(dtype)
    for x, y in ((a, v), (v, a), (a[::-1], v[::2]), (a[:3], v[:2])):
        expected = getattr(np, name)(x, y, "same")
        with fastconv.patched_scipy("numpy"):
            got = getattr(np, name)(x, y, "same")
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    assert only(fastconv.patch_report()) == Counts(3, {LEFT: 1}, 0)


# -- running a program -----------------------------------------------------------------------

PROGRAM = """
import pickle, sys
import helper
from scipy.ndimage import convolve
class Mine: pass
pickle.dumps(Mine())
print(__name__, sys.argv, sys.modules["__main__"].Mine is Mine, __package__)
convolve([1.0, 2.0], [1.0, 3.0])
def fail():
    raise ValueError("from the program")
{end}
"""


def run(folder: Path, *arguments: str, end: str = "") -> Any:
    (folder / "program.py").write_text(PROGRAM.format(end=end))
    (folder / "helper.py").write_text("")
    command = [sys.executable, "-m", "fastconv", "run", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_run_a_script(tmp_path):
    result = run(tmp_path, "program.py", "--report", "-m", "--", "x", "--help")
    assert result.stderr == "" and result.returncode == 0
    assert result.stdout == "__main__ ['program.py', '--report', '-m', '--', 'x', '--help'] True None\n"


def test_run_a_module_and_report(tmp_path):
    result = run(tmp_path, "--numpy", "--report", "-m", "program", "--report")
    assert result.returncode == 0
    assert result.stdout == f"__main__ ['{tmp_path / 'program.py'}', '--report'] True \n"
    assert result.stderr.splitlines()[1].split() == ["scipy.ndimage.convolve", "1", "0", "0"]


def test_run_a_package(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "__main__.py").write_text(
        "from pack import __name__ as n\nprint(n, __package__, __spec__.name)"
    )
    assert run(tmp_path, "-m", "pack").stdout == "pack pack pack.__main__\n"


@pytest.mark.parametrize(
    "end, status",
    [("fail()", 1), ("sys.exit(7)", 7), ("sys.exit('why')", 1), ("x = (", 1), ("raise OSError(32, 'pipe')", 1)],
)
def test_programs_end_as_pythons_do(tmp_path, end, status):
    ours = run(tmp_path, "program.py", end=end)
    theirs = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert ours.returncode == theirs.returncode == status
    assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)


def test_an_interrupted_program(tmp_path):
    result = run(tmp_path, "--report", "program.py", end="raise KeyboardInterrupt")
    assert result.returncode == 130
    assert "KeyboardInterrupt\nfunction" in result.stderr and "fastconv/" not in result.stderr


@pytest.mark.parametrize("arguments", [["nothing.py"], ["-m", "nothing"], ["-m", "no.thing"], ["."]])
def test_there_is_no_such_program(tmp_path, arguments):
    result = run(tmp_path, *arguments)
    assert result.returncode == 2 and result.stderr.startswith("fastconv: ") and "Traceback" not in result.stderr
