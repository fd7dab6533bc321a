"""Filters by a user's function against `scipy.ndimage`, jitted and not."""

from __future__ import annotations

import time

import numba
import numpy as np
import pytest
import scipy.ndimage
from cases import FLOATS, INTEGERS, integers, layouts, rng, values
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv.testing import assert_identical

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]
DTYPES = ["bool", *INTEGERS, *FLOATS]


@pytest.fixture(autouse=True)
def no_image_is_too_small(monkeypatch):
    """Small images go to SciPy; here they are to be computed."""
    monkeypatch.setattr("fastconv.ndimage.generic.FEW", 0)


def weighted(window):
    """Tells every tap from every other."""
    total = 0.0
    for i in range(window.size):
        total += (i + 1) * (i % 3 - 1.5) * window[i]
    return total


def scaled(window, factor, offset=0.5):
    return window[0] * factor + offset


jitted, jitted_scaled = numba.njit(weighted), numba.njit(scaled)


class Raised(Exception):
    pass


@numba.njit
def limited(window):
    if window[0] > 8:
        raise ValueError("too large")
    if window[-1] < -8:
        raise Raised("too small")
    return window[0]


def check(image, *args, **kwargs) -> None:
    """Assert that fastconv's result of the jitted function is SciPy's of the same function."""
    actual = fastconv.ndimage.generic_filter(image, jitted, *args, **kwargs)
    assert_identical(actual, scipy.ndimage.generic_filter(image, weighted, *args, **kwargs))


@pytest.fixture
def compiled_only(monkeypatch):
    """SciPy must not be called."""
    for name in ("generic_filter", "vectorized_filter"):
        monkeypatch.setattr(scipy.ndimage, name, lambda *args, **kwargs: pytest.fail("went to SciPy"))


# -- generic_filter -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [*MODES, "grid-mirror", "grid-constant", "grid-wrap"])
@pytest.mark.parametrize(
    "shape, size",
    [((40,), 3), ((7,), 10), ((9, 21), (3, 4)), ((5, 6, 7), (2, 3, 1)), ((2, 3, 4, 5), 2), ((1, 1), (3, 2))],
    ids=str,
)
def test_shapes(shape, size, mode):
    if mode in ("grid-mirror", "grid-wrap"):  # SciPy takes them for interpolation's
        image, plain = integers(shape, "float64"), {"grid-mirror": "reflect", "grid-wrap": "wrap"}[mode]
        actual = fastconv.ndimage.generic_filter(image, jitted, size, mode=mode)
        assert_identical(actual, scipy.ndimage.generic_filter(image, weighted, size, mode=plain))
        return
    check(integers(shape, "float64"), size, mode=mode, cval=1.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype):
    image = values((9, 20), dtype)
    actual = fastconv.ndimage.generic_filter(image, jitted, 3, output="float64")
    desired = scipy.ndimage.generic_filter(image, weighted, 3, output="float64")
    np.testing.assert_allclose(actual, desired, rtol=1e-12, atol=1e-12 * np.abs(image.astype(float)).max() * 50)
    check(integers((9, 20), dtype), (2, 3), output="int32")
    check(integers((9, 20), "int16"), (2, 3), output=np.dtype(dtype) if dtype != "bool" else None)


def test_footprints_origins_axes():
    image = integers((9, 11, 7), "float32")
    footprint = np.array([[1, 0, 1, 1], [0, 1, 1, 0]])
    check(image[0], footprint=footprint, origin=(-1, 1))
    check(image[0], footprint=footprint.tolist(), mode="wrap", origin=[0, -2])
    for axes in [(0,), (1, 2), (2, 0), -1, (0, 1, 2)]:
        n = len(axes) if isinstance(axes, tuple) else 1
        check(image, (3, 4, 3)[:n], axes=axes if isinstance(axes, tuple) else (axes,), origin=(1, -1, 0)[:n])


def test_layouts():
    image = integers((9, 20), "float32")
    desired = scipy.ndimage.generic_filter(image, weighted, (2, 3))
    for layout, view in layouts(image).items():
        np.testing.assert_array_equal(fastconv.ndimage.generic_filter(view, jitted, (2, 3)), desired, err_msg=layout)
    for layout, output in layouts(np.full(image.shape, 77, "float32")).items():
        if layout not in ("read-only", "byte-swapped"):
            fastconv.ndimage.generic_filter(image, jitted, (2, 3), output=output)
            np.testing.assert_array_equal(output, desired, err_msg=layout)


def test_output_may_be_the_input():
    image = integers((9, 20), "float32")
    desired = scipy.ndimage.generic_filter(image, weighted, (2, 3))
    assert fastconv.ndimage.generic_filter(image, jitted, (2, 3), output=image) is image
    assert_identical(image, desired)


def test_nothing_to_do():
    check(np.zeros((0, 4)), 3)
    assert fastconv.ndimage.generic_filter(np.array(3.0), jitted, 3).shape == ()


def test_a_jitted_function_does_not_go_to_scipy(compiled_only):
    for extra in [dict(extra_arguments=(2, 1.5)), dict(extra_keywords={"factor": 3})]:
        image = values((20, 30), "float64")
        actual = fastconv.ndimage.generic_filter(image, jitted_scaled, 3, **extra)
        corner = np.pad(image, ((1, 0), (1, 0)), "symmetric")[:20, :30]
        keywords = extra.get("extra_keywords", {})
        assert_identical(actual, scaled([corner], *extra.get("extra_arguments", ()), **keywords))
    fastconv.ndimage.generic_filter(image, jitted, 3, threads=3)


def test_the_type_of_extra_arguments_counts():
    kind = numba.njit(lambda window, number: 1.0 if isinstance(number, int) else 2.0)
    image = np.zeros((3, 4))
    assert fastconv.ndimage.generic_filter(image, kind, 3, extra_arguments=(1,)).max() == 1
    assert fastconv.ndimage.generic_filter(image, kind, 3, extra_arguments=(1.0,)).max() == 2


def test_functions_may_write_to_their_window():
    @numba.njit
    def rude(window):
        value = window[0] - window[-1]
        window[:] = 99
        return value

    image = values((9, 20), "float64")
    actual = fastconv.ndimage.generic_filter(image, rude, 3)
    assert_identical(actual, scipy.ndimage.generic_filter(image, rude.py_func, 3))


@pytest.mark.parametrize("threads", [1, 3])
def test_exceptions_surface(threads):
    image = np.zeros((50, 60))
    image[30, 40] = 9
    with pytest.raises(ValueError, match="too large"):
        fastconv.ndimage.generic_filter(image, limited, 3, threads=threads)
    with pytest.raises(Raised, match="too small"):
        fastconv.ndimage.generic_filter(-image, limited, 3, threads=threads)
    assert fastconv.ndimage.generic_filter(image / 9, limited, 3, threads=threads).max() == 1


def test_an_exception_that_does_not_come_again():
    counter = np.zeros(1)
    address = counter.ctypes.data

    @numba.njit
    def once(window):
        count = numba.carray(_at(address), (1,))
        count[0] += 1
        if count[0] == 5:
            raise ValueError("the fifth")
        return window[0]

    with pytest.raises(RuntimeError, match="not when called again"):
        fastconv.ndimage.generic_filter(np.zeros((8, 8)), once, 3, threads=1)


@numba.extending.intrinsic
def _at(typingctx, address):
    def emit(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(numba.types.CPointer(numba.types.float64)))

    return numba.types.CPointer(numba.types.float64)(numba.types.int64), emit


def test_what_cannot_be_compiled_goes_to_scipy(monkeypatch):
    image = values((6, 7), "float64")
    for function in (weighted, np.max):
        actual = fastconv.ndimage.generic_filter(image, function, 3)
        assert_identical(actual, scipy.ndimage.generic_filter(image, function, 3))
    monkeypatch.setattr(scipy.ndimage, "generic_filter", lambda *args, **kwargs: "SciPy's")
    for function in (numba.jit(forceobj=True)(weighted), numba.njit(parallel=True)(weighted)):
        assert fastconv.ndimage.generic_filter(image, function, 3) == "SciPy's"
    for extra in ((np.ones(3),), ([2],), (1, 2, 3, 4)):
        assert fastconv.ndimage.generic_filter(image, jitted_scaled, 3, extra_arguments=extra) == "SciPy's"


def test_errors_of_the_compiler_surface():
    with pytest.raises(numba.core.errors.TypingError, match="no_such_thing"):
        fastconv.ndimage.generic_filter(np.ones((3, 4)), numba.njit(lambda window: window.no_such_thing), 3)


@pytest.mark.parametrize("function", [weighted, jitted], ids=["plain", "jitted"])
@pytest.mark.parametrize(
    "arguments, error",
    [
        (dict(), RuntimeError),
        (dict(size=(3, 3, 3)), RuntimeError),
        (dict(size=3, mode="foo"), RuntimeError),
        (dict(size=3, origin=2), ValueError),
        (dict(footprint=np.ones(3)), RuntimeError),
        (dict(size=3, output=np.zeros(3)), RuntimeError),
        (dict(size=3, axes=(0, 0)), ValueError),
        (dict(size=2.5), TypeError),
    ],
    ids=str,
)
def test_bad_input(function, arguments, error):
    image = values((6, 7), "float64")
    with pytest.raises(error):
        scipy.ndimage.generic_filter(image, function, **arguments)
    with pytest.raises(error):
        fastconv.ndimage.generic_filter(image, function, **arguments)
    with pytest.raises(TypeError):
        fastconv.ndimage.generic_filter(image + 1j, function, 3)


def test_compiled_once():
    first = numba.njit(lambda window: window[0] * 2)
    image = values((6, 7), "float64")
    fastconv.ndimage.generic_filter(image, first, 3)
    start = time.perf_counter()
    for size in (3, 4, 5):
        fastconv.ndimage.generic_filter(image.astype("uint8"), first, size)
    assert time.perf_counter() - start < 0.1  # a compilation takes longer


@given(data=st.data())
def test_any(data):
    ndim = data.draw(st.integers(1, 3))
    shape, size = (data.draw(st.tuples(*[st.integers(1, largest)] * ndim)) for largest in (9, 4))
    origin = tuple(data.draw(st.integers(-(k // 2), (k - 1) // 2)) for k in size)
    image = integers(shape, data.draw(st.sampled_from(["uint8", "int64", "float32"])), data.draw(st.integers(0, 99)))
    check(image, size, mode=data.draw(st.sampled_from(MODES)), cval=2.0, origin=origin)


# -- vectorized_filter --------------------------------------------------------------------------


def both(image, function, **arguments):
    actual = fastconv.ndimage.vectorized_filter(image, function, **arguments)
    assert_identical(actual, scipy.ndimage.vectorized_filter(image, function, **arguments))


@pytest.mark.parametrize("function", [np.max, np.min, np.median, np.mean, np.ptp], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_numpys_reductions(function, dtype):
    image = values((9, 11), dtype)
    for size in (3, (3, 5), (2, 4)):
        both(image, function, size=size)
        both(image, function, size=size, mode="mirror", origin=(0, 1))
        both(image, function, size=size, mode="valid")
        both(image, function, size=size, mode="constant", cval=3.7)
    both(image, function, footprint=[[1, 0, 1], [0, 1, 1]])
    both(image, function, size=3, axes=1)
    both(image.reshape(3, 3, 11), function, size=(2, 3), axes=(2, 0), origin=(0, -1))


def test_numpys_reductions_of_nan():
    image = values((9, 11), "float64")
    image[3, 4], image[8, 0] = np.nan, np.inf
    for function in (np.max, np.min, np.median, np.nanmax):
        both(image, function, size=3)
        both(image[4:], function, size=3, mode="constant", cval=np.nan)


@pytest.mark.parametrize("mode", [*MODES, "valid", "grid-constant", "grid-wrap"])
def test_jitted_functions_of_windows(mode):
    image = integers((9, 11, 5), "int16")
    arguments = dict(mode=mode, **({"cval": 2} if mode == "constant" else {}))

    def vectorized(windows, axis):
        windows = windows.reshape(*windows.shape[: windows.ndim - len(np.atleast_1d(axis))], -1)
        taps = np.arange(windows.shape[-1])
        return (windows * ((taps + 1) * (taps % 3 - 1.5))).sum(-1)

    for window in (dict(size=(2, 3, 1)), dict(footprint=[[1, 0, 1], [0, 1, 1]], axes=(0, 1)), dict(size=3, axes=1)):
        actual = fastconv.ndimage.vectorized_filter(image, jitted, **window, **arguments)
        assert_identical(actual, scipy.ndimage.vectorized_filter(image, vectorized, **window, **arguments))
    output = np.zeros(actual.shape, "float32")
    assert fastconv.ndimage.vectorized_filter(image, jitted, **window, **arguments, output=output) is output
    assert_identical(output, actual.astype("float32"))


def test_jitted_functions_of_windows_are_compiled(compiled_only):
    image = rng(3).normal(size=(20, 30))
    fastconv.ndimage.vectorized_filter(image, jitted, size=3)
    fastconv.ndimage.vectorized_filter(image, np.median, size=3)


@pytest.mark.parametrize("function", [np.median, np.sum], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "arguments",
    [
        dict(),
        dict(size=3, footprint=np.ones((3, 3))),
        dict(size=0),
        dict(size=2.5),
        dict(size=(3, 3, 3)),
        dict(size=3, mode="foo"),
        dict(size=3, cval=1),
        dict(size=3, mode="constant", cval="a"),
        dict(size=3, origin=0.5),
        dict(size=3, mode="valid", origin=1),
        dict(size=3, batch_memory=-1),
        dict(size=3, axes=(0, 1, 2)),
    ],
    ids=str,
)
def test_bad_input_of_vectorized_filter(function, arguments):
    image = values((6, 7), "float64")
    with pytest.raises(Exception) as theirs:
        scipy.ndimage.vectorized_filter(image, function, **arguments)
    with pytest.raises(type(theirs.value)):
        fastconv.ndimage.vectorized_filter(image, function, **arguments)
