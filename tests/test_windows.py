"""Moving maxima, minima and means, and grey-scale morphology, on every engine against scipy.ndimage."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.ndimage
from cases import FLOATS, INTEGERS, layouts, values
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays, shapes

import fastconv
import fastconv.ndimage
from fastconv.algorithms import sliding
from fastconv.algorithms.sliding import _reciprocal
from fastconv.algorithms.sliding_strips import folds
from fastconv.testing import assert_identical, assert_matches

EXTREMES = ["maximum_filter", "minimum_filter"]
FILTERS = [*EXTREMES, "uniform_filter"]
MORPHOLOGY = ["grey_dilation", "grey_erosion", "grey_opening", "grey_closing"]
MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]
ALIASES = {"grid-mirror": "reflect", "grid-constant": "constant", "grid-wrap": "wrap"}
# Small, many tiles, tall, folded colours, planes, axes far apart.
SHAPES = [(7,), (700,), (9, 12), (1, 1), (90, 257), (300, 3), (11, 14, 3), (5, 9, 70), (3, 4, 5, 6)]


def both(name: str):
    return getattr(fastconv.ndimage, name), getattr(scipy.ndimage, name)


def check(name: str, image: np.ndarray, *args, taps: int = 1, **kwargs) -> None:
    """Assert that fastconv's result is SciPy's: to the bit, but for means of floating-point numbers."""
    function, oracle = both(name)
    actual, desired = function(image, *args, **kwargs), oracle(image, *args, **kwargs)
    if desired.dtype.kind not in "fc" or not name.startswith("uniform"):
        assert_identical(actual, desired, f"{name} {args} {kwargs}")
        return
    image = np.asarray(image)
    largest = np.abs(image).max(initial=0) + np.abs(kwargs.get("cval", 0))
    assert_matches(actual, desired, np.float64(largest) * np.ones(desired.shape), 2 * max(image.shape, default=1) + 40)


def footprint(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Some of a window's elements, unlike their mirror image."""
    taps = np.random.default_rng(seed).random(shape) < 0.6
    taps.flat[0], taps.flat[-1] = True, taps.size == 1
    return taps


# -- windows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FILTERS)
def test_shapes(engine, name, shape, mode):
    image = values(shape, "float32")
    for size in (2, 3, 8, 31 if len(shape) < 3 else 5):
        check(name, image, size, mode=mode, cval=0.5)
    check(name, image, [(4, 1, 3, 2), (5,)][len(shape) == 1][: len(shape)], mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FILTERS)
def test_what_steps_overwrite(engine, name, mode):
    """Further axes are taken in the output itself, whatever its layout: long windows, origins, several threads."""
    image = values((20, 37, 150), "float64")
    layouts = (np.empty(image.shape), np.empty(image.shape[::-1]).T, np.empty((40, 37, 300))[::-2, :, ::2])
    for size, origin in ((3, 0), ((21, 4, 33), (-10, 1, 16)), ((2, 40, 201), (0, 19, -100))):
        args = {"mode": mode, "cval": 0.5, "origin": origin}
        desired = getattr(scipy.ndimage, name)(image, size, **args)
        for out, threads in zip(layouts, (1, 2, 5), strict=True):
            getattr(fastconv.ndimage, name)(image, size, output=out, threads=threads, **args)
            assert_matches(out, desired, np.ones(out.shape), 1 if name in EXTREMES else 400)
        check(name, (90 * image).astype("uint8"), size, mode=mode, cval=7, origin=origin)


@pytest.mark.parametrize("mode", MODES)
def test_rows_too_long_to_be_overwritten(engine, mode, monkeypatch):
    """Integers are cut after each axis, in order: such images are made in blocks."""
    monkeypatch.setattr(sliding, "BLOCK_BYTES", 20_000)
    image = values((9, 140_000), "int16")
    for size, origin in (((3, 5), 0), ((4, 301), (1, -150))):
        check("uniform_filter", image, size, mode=mode, cval=-7, origin=origin)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 11, 16, 31, 101, 260])
@pytest.mark.parametrize("name", FILTERS)
def test_sizes(engine, name, size):
    image = values((6, 5, 40), "uint8")
    for axis in (0, 1, 2, -1, -3):
        check(name + "1d", image, size, axis, mode="mirror")
    check(name + "1d", image[0, 0].astype("float32"), size, 0, None, "wrap")


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS])
@pytest.mark.parametrize("name", FILTERS)
def test_dtypes(engine, name, dtype):
    image = values((14, 137), dtype)
    if dtype in ("int64", "uint64"):
        image = image >> 18  # SciPy computes in double
    for mode, cval in (("reflect", 0), ("constant", 1)):
        check(name, image, (3, 4), mode=mode, cval=cval)
        check(name, image, 9, mode=mode, cval=cval)
    check(name + "1d", image, 5, 0)


@pytest.mark.parametrize("output", ["bool", "int8", "uint8", "int16", "uint32", "int64", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
@pytest.mark.parametrize("name", FILTERS)
def test_output_dtype(engine, name, dtype, output):
    """What each axis leaves is converted to the output's dtype, as C converts it."""
    image = (values((9, 40), "float64") * 90).astype(dtype) if dtype != "uint8" else values((9, 40), dtype)
    exact = dtype != "float64" or name != "uniform_filter"  # else SciPy's sum drifts
    for kind in (output, np.dtype(output), np.dtype(output).type)[: 3 if exact else 0]:
        if output == "bool" and (isinstance(kind, str) or name == "uniform_filter"):
            continue  # SciPy takes no bool by name, and stores bytes that are neither 0 nor 1
        check(name, image, (3, 2), output=kind)
    if exact and name in EXTREMES:
        check(name, image, footprint=footprint((3, 4)), output=np.dtype(output))


@pytest.mark.parametrize("cval", [-1, 2.5, 255, 256.0, 1e9, np.inf, -0.5], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("name", FILTERS)
def test_cval(engine, name, dtype, cval):
    image = values((9, 40), dtype) if dtype != "int32" else values((9, 40), "int16").astype(dtype)
    if name == "uniform_filter":
        if not np.isfinite(cval) or dtype == "float32":
            return check(name, image, 1, mode="constant", cval=cval)
        if dtype == "int32" and cval == 1e9:
            cval = 1e6
    check(name, image, (2, 3), mode="constant", cval=cval)


def test_cval_nan(engine):
    image = values((6, 7), "float32")
    actual = fastconv.ndimage.maximum_filter(image, 3, mode="constant", cval=np.nan)
    assert np.isnan(actual[[0, -1]]).all() and np.isnan(actual[:, [0, -1]]).all()
    assert_identical(actual[1:-1, 1:-1], scipy.ndimage.maximum_filter(image, 3)[1:-1, 1:-1])


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("name", FILTERS)
def test_mode_aliases(engine, name, alias):
    image = values((8, 9), "int16")
    function, _ = both(name)
    assert_identical(function(image, 5, mode=alias), function(image, 5, mode=ALIASES[alias]))
    assert_identical(function(image, 5, mode=[alias, "wrap"]), function(image, 5, mode=[ALIASES[alias], "wrap"]))


@pytest.mark.parametrize("name", FILTERS)
def test_a_mode_and_an_origin_for_each_axis(engine, name):
    image = values((7, 9, 30), "int16")
    check(name, image, (3, 4, 5), mode=["constant", "wrap", "mirror"], cval=-7, origin=(1, -2, 0))
    check(name, image, (3, 5), mode=["nearest", "constant"], origin=[-1, 2], axes=(2, 0), cval=9)
    check(name, image, [1, 0, 3], mode=["wrap", "wrap", "constant"])


@pytest.mark.parametrize("axes", [0, (-1,), (0, 2), (2, 0), (1, -1), (2, 1, 0), ()], ids=str)
@pytest.mark.parametrize("name", FILTERS)
def test_axes(engine, name, axes):
    check(name, values((6, 7, 70), "int16"), 3, axes=axes)
    check(name, values((6, 7, 3), "uint8"), 4, axes=axes, mode="wrap")


@pytest.mark.parametrize("size", [2, 3, 6])
@pytest.mark.parametrize("name", FILTERS)
def test_origin(engine, name, size):
    image = values((9, 12), "int16")
    for origin in range(-(size // 2), (size - 1) // 2 + 1):
        check(name, image, size, origin=origin, mode="nearest")
        check(name + "1d", image, size, 0, origin=origin, mode="constant", cval=3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", FILTERS)
def test_groups_of_rows(engine, name, dtype, mode):
    """Windows that fold few rows, a core and rows around it, and blocks of rows that stay; the last group is not full."""
    image = values((61, 163), dtype)
    for size in (2, 3, 4, 5, 6, 7, 8, 9, 15, 23, 24, 33, 60):
        check(name, image, size, mode=mode, cval=2)
    check(name, image, (31, 1), mode=mode, origin=(-15, 0))
    check(name, image, (4, 9), mode=mode, origin=(1, 4), cval=3)


@pytest.mark.parametrize("shape", [(160, 90), (40, 3000)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXTREMES)
def test_rows_before_and_after_nan(engine, name, dtype, shape):
    """Where no row of the windows holds a NaN, groups of rows are folded by what does not keep it."""
    image, nan = values(shape, dtype), np.zeros(shape, bool)
    for row, column in ((3, 5), (70, 45), (71, 1700), (shape[0] - 1, 0)):
        nan[min(row, shape[0] - 20), min(column, shape[1] - 1)] = True
    function, oracle = both(name)
    for size in ((1, 9), (2, 2), (3, 3), (4, 5), (5, 8), (8, 16), (9, 17), (15, 64), (24, 32), (31, 33), (70, 101)):
        desired = oracle(image, size)
        desired[scipy.ndimage.maximum_filter(nan, size)] = np.nan
        assert_identical(function(np.where(nan, np.nan, image), size), desired, f"{name} {size}")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FILTERS)
def test_wide_images(engine, name, mode):
    """Columns one after another, read where they lie; axes one after another, the second in place."""
    for dtype in ("uint8", "float32", "int16"):
        image = values((27, 5003), dtype)
        for size in (3, (6, 40), (1, 9), (25, 2)):
            check(name, image, size, mode=mode, cval=1)
    check(name, values((1700, 1900), "float32"), 3, mode=mode)  # larger than caches: memory is called for ahead


def test_means_of_one_number(engine):
    image = np.full((40, 70), 0.75, np.float32)
    for size in range(2, 40):
        np.testing.assert_allclose(fastconv.ndimage.uniform_filter(image, size), 0.75, rtol=2e-7 * size)
    for number in (np.inf, -np.inf):
        assert (fastconv.ndimage.uniform_filter(np.full((20, 80), number, np.float32), 9) == number).all()


# -- footprints and structures ------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", EXTREMES)
def test_footprints(engine, name, shape, mode):
    image = values(shape, "int16")
    for window in ((3,) * len(shape), (5, 4, 1, 2)[: len(shape)], (1,) * len(shape)):
        check(name, image, footprint=footprint(window), mode=mode, cval=7)
        corner = tuple(-(n // 2) for n in window)
        check(name, image, footprint=footprint(window, 1), mode=mode, origin=corner)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "uint64", *FLOATS])
@pytest.mark.parametrize("name", EXTREMES)
def test_footprints_of_dtypes(engine, name, dtype):
    image = values((14, 137), dtype) >> 13 if dtype == "uint64" else values((14, 137), dtype)
    check(name, image, footprint=footprint((4, 7)), mode="wrap")
    check(name, image, footprint=np.ones((2, 5)))


@pytest.mark.parametrize("axes", [0, (1,), (0, 2), (2, 0), (2, 1, 0)], ids=str)
@pytest.mark.parametrize("name", EXTREMES)
def test_footprints_along_axes(engine, name, axes):
    n = len(axes) if isinstance(axes, tuple) else 1
    for shape in ((6, 7, 70), (20, 9, 3)):
        check(name, values(shape, "int16"), footprint=footprint((3, 4, 2)[:n]), axes=axes, origin=(-1, 1, 0)[:n])


@pytest.mark.parametrize("mode", ["reflect", "constant", "wrap"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
@pytest.mark.parametrize("name", MORPHOLOGY)
def test_structures(engine, name, dtype, mode):
    """Heights that every dtype holds, on images that they take not out of range: there SciPy is exact."""
    r = np.random.default_rng(3)
    image = r.integers(20, 200, (13, 70)).astype(dtype)
    structure = r.integers(0, 9, (3, 4)).astype(float)
    check(name, image, structure=structure, mode=mode, cval=50)
    check(name, image, structure=structure, footprint=footprint((3, 4)), mode=mode, cval=50, origin=(1, -1))
    check(name, image, structure=[[4]], mode=mode)


@pytest.mark.parametrize("name", MORPHOLOGY)
def test_flat_morphology(engine, name):
    for shape in ((40,), (13, 70), (6, 7, 8)):
        image, n = values(shape, "int16"), len(shape)
        for window in ((3, 5, 2)[:n], (4, 2, 3)[:n]):
            check(name, image, window, mode="wrap")
            check(name, image, footprint=footprint(window), mode="constant", cval=5)
            check(name, image, None, footprint(window), None, np.int32, "nearest", 0.0, [0, -1, 0][:n])
    check(name, image, (3, 2), axes=(2, 0), mode=["wrap", "constant"], origin=(1, 0))
    check(name, image, footprint=footprint((3, 2)), axes=(0, 2), origin=(1, 0))


def test_sums_with_a_structure_are_not_cut(engine):
    """SciPy cuts the heights of all elements but the first to integers, and wraps their sums."""
    image = np.array([0, 2, 250, 0], np.uint8)
    dilated = fastconv.ndimage.grey_dilation(image, structure=[0.5, 0.5, 0.5], output=np.float64)
    assert dilated.tolist() == [2.5, 250.5, 250.5, 250.5]
    eroded = fastconv.ndimage.grey_erosion(image, structure=[0, 10, 0], output=np.int64)
    assert eroded.tolist() == [-10, -8, 0, -10]


# -- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", FILTERS)
def test_nan_is_in_its_windows_only(engine, name, dtype):
    image = values((30, 90), dtype)
    image[4, 5], image[20, 80] = np.nan, -np.nan
    hit = scipy.ndimage.maximum_filter(np.isnan(image), (3, 7))
    function, oracle = both(name)
    actual = function(image, (3, 7))
    np.testing.assert_array_equal(np.isnan(actual), hit)
    clean = oracle(np.nan_to_num(image), (3, 7))
    assert_matches(actual[~hit], clean[~hit], 5.0, 100)
    if name in EXTREMES:
        cross = scipy.ndimage.generate_binary_structure(2, 1)
        hit = scipy.ndimage.binary_dilation(np.isnan(image), cross)
        np.testing.assert_array_equal(np.isnan(function(image, footprint=cross)), hit)


def test_infinities(engine):
    image = np.zeros((5, 40), np.float32)
    image[2, 7], image[2, 30] = np.inf, -np.inf
    mean = fastconv.ndimage.uniform_filter(image, 3)
    assert np.isposinf(mean[1:4, 6:9]).all() and np.isneginf(mean[1:4, 29:32]).all()
    assert np.isfinite(mean).sum() == mean.size - 18


def test_sums_do_not_drift(engine):
    image = np.full(5000, 1e-3, np.float32)
    image[10] = 1e8
    mean = fastconv.ndimage.uniform_filter1d(image, 7)
    np.testing.assert_allclose(mean[20:], 1e-3, rtol=3e-7)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_large_integers_are_compared_exactly(engine, dtype):
    image = np.iinfo(dtype).max - np.arange(40, dtype=dtype)
    image[20] = 3
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, 1, "symmetric"), 3)
    assert_identical(fastconv.ndimage.maximum_filter(image, 3), windows.max(1))
    assert_identical(fastconv.ndimage.minimum_filter(image, footprint=[1, 0, 1]), windows[:, ::2].min(1))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_means(engine, dtype):
    image = values((9, 40), dtype)
    check("uniform_filter", image, (3, 4), mode="constant", cval=2 - 3j)
    check("uniform_filter1d", image, 5, 0)
    check("uniform_filter", image, 3, np.complex64)
    image[3, 5] = complex(np.nan, 1)
    assert np.isfinite(fastconv.ndimage.uniform_filter(image, 3).imag).all()
    with pytest.warns(UserWarning, match="complex"):
        assert fastconv.ndimage.uniform_filter(image, 3, np.float32).dtype == np.complex64


@pytest.mark.parametrize("taps", [*range(1, 70), 100, 255, 257, 1000, 4097])
def test_folds_make_the_window(taps):
    """Every element once for sums, at least once for maxima, from windows made before."""
    for overlap in (False, True):
        counts = {1: np.ones(1, int)}
        made = 1
        for fold in folds(taps, overlap):
            window = np.zeros(fold.reach, int)
            for place in fold.own:
                window[place : place + made] += counts[made]
            for place in fold.base:
                window[place] += 1
            made = fold.reach
            counts[made] = window
            assert 1 <= len(fold.own) + len(fold.base) <= 4 and (not fold.own or fold.own[0] == 0)
        assert made == taps
        assert (window > 0).all() if overlap else (window == 1).all()


def test_reciprocals_divide_exactly():
    found = 0
    for divisor in range(2, 400):
        factor, shift = _reciprocal(divisor) or (0, 0)
        if factor:
            sums = np.arange(255 * divisor + 1, dtype=np.uint64)
            assert ((sums * np.uint64(factor) >> np.uint64(16 + shift)) == sums // np.uint64(divisor)).all()
            found += 1
    assert found > 200


# -- arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64"])
@pytest.mark.parametrize("name", FILTERS)
def test_layouts(engine, name, dtype):
    image = values((13, 70), "int16").astype(dtype)
    function, _ = both(name)
    options = [{"size": (3, 4)}, {"size": (1, 5)}] + [{"footprint": footprint((3, 4))}] * (name in EXTREMES)
    for option in options:
        desired = function(image, **option, mode="mirror")
        check(name, image, **option, mode="mirror")
        for layout, view in layouts(image).items():
            assert_identical(function(view, **option, mode="mirror"), desired, f"input {layout}")
        for layout, output in layouts(np.full(image.shape, 77, dtype)).items():
            if layout != "read-only":
                assert function(image, **option, mode="mirror", output=output) is output
                np.testing.assert_array_equal(output, desired, err_msg=f"output {layout}")


@pytest.mark.parametrize("name", [*FILTERS, *MORPHOLOGY])
def test_output_may_be_the_input(engine, name):
    image = values((11, 40), "int16")
    function, oracle = both(name)
    desired = oracle(image, 3)
    data = image.copy()
    assert function(data, 3, output=data) is data
    assert_identical(data, desired)
    flipped = image.copy()
    function(flipped, 3, output=flipped[::-1])
    assert_identical(flipped[::-1], desired)


@pytest.mark.parametrize("name", [*FILTERS, *MORPHOLOGY])
def test_empty_and_without_dimensions(engine, name):
    for shape in ((0,), (0, 4), (4, 0)):
        assert both(name)[0](np.zeros(shape, "int16"), 3).shape == shape
    if name in FILTERS:
        check(name, np.array(3.5), 3)
        check(name, np.arange(6).reshape(2, 3), 1, output=np.float32)
    for argument in (np.ma.array([1.0, 5, 2], mask=[0, 1, 0]), [1, 5, 2], np.asmatrix([[1, 5], [2, 3]])):
        check(name, argument, 2)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("name", FILTERS)
def test_threads_do_not_change_the_result(engine, name, dtype):
    image = values((260, 300), dtype)
    function, _ = both(name)
    for options in ({"size": (7, 12)}, {"size": (130, 3)}, {"size": (1, 90)}):
        desired = function(image, **options, threads=1)
        for threads in (2, 5):
            assert_identical(function(image, **options, threads=threads), desired)


@pytest.mark.parametrize("shape, size", [((300, 2000), (120, 101)), ((40, 3000, 2), (9, 31, 1)), ((20, 30, 600), 21)])
def test_tiles(shape, size):
    """Images of many tiles: halos as large as tiles, axes taken apart, steps in place."""
    image = values(shape, "uint8")
    for engine in ("cython", "numba"):
        with fastconv.use(engine=engine):
            check("maximum_filter", image, size, mode="wrap")
            check("uniform_filter", image, size, mode="constant", cval=9)
            flat = np.asfortranarray(image)
            assert_identical(fastconv.ndimage.minimum_filter(flat, size), scipy.ndimage.minimum_filter(image, size))


def test_what_computes():
    image = values((64, 65), "float32")
    with fastconv.use(engine="cython"):
        assert fastconv.plan(fastconv.ndimage.maximum_filter, image, 3).implementation == "cython:sliding"
        assert fastconv.plan(fastconv.ndimage.uniform_filter, image, 3).implementation == "cython:sliding"
        cross = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
        plan = fastconv.plan(fastconv.ndimage.maximum_filter, image, footprint=cross)
        assert plan.implementation == "cython:taps" and 0 < plan.workspace(1) < 2**20
        assert (
            0 < fastconv.plan(fastconv.ndimage.uniform_filter, values((4096, 4096), "uint8"), 31).workspace(1) < 2**21
        )


@given(st.integers(1, 3).flatmap(lambda n: shapes(n, 20)), st.sampled_from(FILTERS), st.sampled_from(MODES), st.data())
def test_any(engine, shape, name, mode, data):
    image = data.draw(arrays(shape, data.draw(st.sampled_from(["uint8", "int32", "float32", "float64"]))))
    size = data.draw(shapes(len(shape), 9))
    origin = tuple(data.draw(st.integers(-(n // 2), (n - 1) // 2)) for n in size)
    check(name, image, size, mode=mode, origin=origin, cval=2)
    if name in EXTREMES:
        taps = data.draw(st.lists(st.booleans(), min_size=int(np.prod(size)), max_size=int(np.prod(size))))
        if any(taps):
            check(name, image, footprint=np.reshape(taps, size), mode=mode, origin=origin, cval=2)


# -- bad input ----------------------------------------------------------------------------------

BAD = [
    ("maximum_filter", {}, "size or footprint"),
    ("maximum_filter", {"footprint": np.zeros((3, 3))}, "footprint"),
    ("maximum_filter", {"footprint": [0, 1, 0]}, "footprint must have 2 dimensions"),
    ("maximum_filter", {"footprint": [1, 1, 1]}, "size"),
    ("maximum_filter", {"footprint": [[0, 1], [1, 1]], "mode": ["wrap", "wrap"]}, "mode"),
    ("maximum_filter", {"footprint": [[0, 1], [1, 1]], "origin": 1}, "origin"),
    ("maximum_filter", {"size": (3, 3, 3)}, "size"),
    ("maximum_filter", {"size": 3, "mode": "round"}, "mode"),
    ("maximum_filter", {"size": 3, "mode": ["wrap"]}, "mode"),
    ("maximum_filter", {"size": 3, "origin": 2}, "origin"),
    ("maximum_filter", {"size": 3, "axes": (0, 0)}, "axes"),
    ("maximum_filter", {"size": 3, "axes": 2}, "axes"),
    ("maximum_filter", {"size": 3, "output": np.zeros((2, 2))}, "output"),
    ("uniform_filter", {"size": (3,) * 3}, "size"),
    ("uniform_filter", {"size": 4, "origin": -3}, "origin"),
    ("uniform_filter1d", {"size": 0}, "size"),
    ("uniform_filter1d", {"size": 3, "axis": 2}, "axis"),
    ("minimum_filter1d", {"size": 2, "origin": 1}, "origin"),
    ("grey_erosion", {}, "size"),
    ("grey_dilation", {}, "size"),
    ("grey_erosion", {"structure": [1, 2, 3]}, "structure must have 2 dimensions"),
]


@pytest.mark.parametrize("name, options, message", BAD)
def test_bad_arguments(name, options, message):
    image = values((6, 7), "float32")
    function, oracle = both(name)
    with pytest.raises(Exception) as theirs:
        oracle(image, **options)
    with pytest.raises(theirs.type, match=message):
        function(image, **options)


@pytest.mark.parametrize("name", [*FILTERS, *MORPHOLOGY])
def test_bad_types(name):
    function, _ = both(name)
    for image in (np.zeros(5, np.float16), np.zeros(5, object), np.array(["a"])):
        with pytest.raises(TypeError, match="input"):
            function(image, 3)
    with pytest.raises(TypeError, match="size"):
        function(np.zeros(5), "three")
    with pytest.raises(TypeError, match="cval"):
        function(np.zeros(5), 3, cval=2j)
    if name != "uniform_filter":
        with pytest.raises(TypeError, match="input"):
            function(np.zeros(5, complex), 3)
    output = np.zeros(5)
    output.flags.writeable = False
    with pytest.raises(ValueError, match="output"):
        function(np.zeros(5), 3, output=output)


@pytest.mark.parametrize("name", [*EXTREMES, *MORPHOLOGY])
def test_size_beside_a_footprint_is_ignored(name):
    function, oracle = both(name)
    image = values((6, 7), "int16")
    with pytest.warns(UserWarning, match="size") as caught:
        actual = function(image, 5, footprint((3, 3)))
    assert [w.filename for w in caught] == [__file__]
    with warnings.catch_warnings(action="ignore"):
        assert_identical(actual, oracle(image, 5, footprint((3, 3))))


def test_a_structure_has_the_footprints_shape():
    with pytest.raises(ValueError, match="structure"):
        fastconv.ndimage.grey_erosion(np.zeros((5, 5)), footprint=np.ones((3, 3)), structure=np.ones((3, 1)))


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
@pytest.mark.parametrize("cval", [3.5, -3.5, 300.0])
def test_fill_values_under_footprints_are_elements(engine, dtype, cval):
    """SciPy takes `cval` in the image's dtype where a footprint has gaps, and as a double elsewhere."""
    image, footprint = values((9, 11), dtype), np.array([[1, 0, 1], [0, 1, 1]], bool)
    for name in ("minimum_filter", "maximum_filter", "median_filter"):
        ours, theirs = (getattr(module, name) for module in (fastconv.ndimage, scipy.ndimage))
        for output in (None, "float64"):
            options = {"footprint": footprint, "mode": "constant", "cval": cval, "output": output}
            assert_identical(ours(image, **options), theirs(image, **options))
