"""fastconv.signal on every engine against scipy.signal."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from cases import (
    COMPLEX,
    FILTERS_2D,
    FILTERS_ND,
    FLOATS,
    INTEGERS,
    LONG,
    MIXED_DTYPES,
    Filter,
    integers,
    layouts,
    names,
    values,
)
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays_and_kernel, arrays_HW_and_kernel

import fastconv
from fastconv.testing import assert_identical, assert_matches

TWO_D = ["convolve2d", "correlate2d"]
N_D = ["convolve", "correlate"]
MODES = ["full", "same", "valid"]
BOUNDARIES = ["fill", "wrap", "symm"]


def both(name: str):
    return getattr(fastconv.signal, name), getattr(scipy.signal, name)


def fits(case: Filter, mode: str) -> bool:
    """Whether SciPy takes the shapes in a mode: "valid" wants one array inside the other."""
    pairs = list(zip(case.image, case.kernel, strict=True))
    return mode != "valid" or all(n >= k for n, k in pairs) or all(k >= n for n, k in pairs)


def check(name: str, image: np.ndarray, kernel: np.ndarray, *args, exact: bool = False, **kwargs) -> None:
    """Assert that fastconv's result is SciPy's, to the bit if `exact`."""
    function, oracle = both(name)
    actual, desired = function(image, kernel, *args, **kwargs), oracle(image, kernel, *args, **kwargs)
    if exact:
        assert_identical(actual, desired)
        return
    kwargs = {key: np.abs(value) if key == "fillvalue" else value for key, value in kwargs.items()}
    with np.errstate(all="ignore"):
        scale = oracle(np.abs(image).astype(float), np.abs(kernel).astype(float), *args, **kwargs)
    assert_matches(actual, desired, scale, min(image.size, kernel.size))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", FILTERS_2D, ids=names(FILTERS_2D))
@pytest.mark.parametrize("name", TWO_D)
def test_2d_shapes(engine, name, case, mode, boundary):
    if not fits(case, mode):
        with pytest.raises(ValueError):
            both(name)[0](np.ones(case.image), np.ones(case.kernel), mode)
        return
    image, kernel = integers(case.image, "float32"), integers(case.kernel, "float32", 1)
    check(name, image, kernel, mode, boundary, exact=True)
    check(name, kernel, image, mode, boundary, exact=True)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS + COMPLEX)
@pytest.mark.parametrize("name", TWO_D)
def test_2d_dtypes(engine, name, dtype, boundary):
    image, kernel = values((14, 37), dtype), values((4, 3), dtype, 1)
    for mode in MODES:
        check(name, image, kernel, mode, boundary)


@pytest.mark.parametrize("dtypes", MIXED_DTYPES, ids=" and ".join)
@pytest.mark.parametrize("name", TWO_D)
def test_2d_mixed_dtypes(engine, name, dtypes):
    check(name, values((9, 20), dtypes[0]), values((3, 4), dtypes[1], 1), "same", "symm")
    check(name, values((3, 4), dtypes[0]), values((9, 20), dtypes[1], 1), "valid")


@pytest.mark.filterwarnings(
    "ignore::numpy.exceptions.ComplexWarning", "ignore:invalid value:RuntimeWarning:scipy"
)  # SciPy's
@pytest.mark.parametrize("fillvalue", [2, 1.5, -1.5, np.float32(3), [4], np.nan, -np.inf, 2**31], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "complex64"])
@pytest.mark.parametrize("name", TWO_D)
def test_fillvalue(engine, name, dtype, fillvalue):
    function, oracle = both(name)
    image, kernel = integers((8, 9), dtype), integers((4, 3), dtype, 1)
    for mode in MODES:
        try:
            desired = oracle(image, kernel, mode, "fill", fillvalue)
        except ValueError:  # SciPy refuses what the dtype cannot hold
            with pytest.raises(ValueError, match="fillvalue"):
                function(image, kernel, mode, "fill", fillvalue)
        else:
            largest = np.abs(np.nan_to_num(np.asarray(fillvalue, float), posinf=0, neginf=0)).max()
            assert_matches(function(image, kernel, mode, "fill", fillvalue), desired, 160 * (largest + 13), 12)


@pytest.mark.parametrize("name", TWO_D)
def test_complex_fillvalue(engine, name):
    image, kernel = integers((8, 9), "complex128"), integers((4, 3), "float64", 1)
    check(name, image, kernel, "full", "fill", 2 - 3j, exact=True)
    check(name, image.real, kernel * 1j, "full", "fill", 2 - 3j, exact=True)


@pytest.mark.parametrize("alias, boundary", [("pad", "fill"), ("circular", "wrap"), ("symmetric", "symm")])
def test_boundary_aliases(engine, alias, boundary):
    image, kernel = integers((8, 9), "float64"), integers((4, 3), "float64", 1)
    actual = fastconv.signal.correlate2d(image, kernel, "same", alias)
    assert_identical(actual, fastconv.signal.correlate2d(image, kernel, "same", boundary))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", FILTERS_ND, ids=names(FILTERS_ND))
@pytest.mark.parametrize("name", N_D)
def test_nd_shapes(engine, name, case, mode):
    image, kernel = integers(case.image, "float32"), integers(case.kernel, "float32", 1)
    for first, second in [(image, kernel), (kernel, image)]:
        if fits(case, mode):
            check(name, first, second, mode, "direct", exact=True)


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS + COMPLEX)
@pytest.mark.parametrize("name", N_D)
def test_nd_dtypes(engine, name, dtype):
    for ndim in (1, 3):
        image, kernel = values((40, 7, 6)[:ndim], dtype), values((5, 4, 3)[:ndim], dtype, 1)
        for mode in MODES:
            check(name, image, kernel, mode, "direct")
            check(name, kernel, image, mode, "direct")


@pytest.mark.parametrize("engine", ["reference", "auto"])
@pytest.mark.parametrize("dtype", LONG)
@pytest.mark.parametrize("name", TWO_D + N_D)
def test_longdouble(engine, name, dtype):
    image, kernel = values((9, 8), dtype), values((4, 3), dtype, 1)
    with fastconv.use(engine=engine):
        for mode in MODES:
            check(name, image, kernel, mode, *(["direct"] if name in N_D else ["symm"]))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
@pytest.mark.parametrize("name", N_D)
def test_fft_of_integers_is_exact(name, dtype):
    function, original = both(name)
    image, kernel = integers((3000,), dtype), integers((2000,), dtype, 1)
    assert_identical(function(image[:50], kernel[:30], "full", "fft"), original(image[:50], kernel[:30], "full", "fft"))
    assert_identical(function(image, kernel, "same", "auto"), function(image, kernel, "same", "direct"))


def test_integers_too_large_for_the_fft_are_summed_directly():
    image = np.full(3000, 2**40, np.int64)  # the sums wrap
    assert_identical(fastconv.convolve(image, image), fastconv.convolve(image, image, method="direct"))


@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
@pytest.mark.parametrize("name", N_D)
def test_fft_method(name, dtype):
    function, _ = both(name)
    image, kernel = values((40, 30), dtype), values((15, 12), dtype, 1)
    scale = scipy.signal.convolve(np.abs(image), np.abs(kernel), "same").max()
    direct = function(image, kernel, "same", "direct")
    assert_matches(function(image, kernel, "same", "fft"), direct, scale, 30, dtype)
    assert_matches(function(image, kernel, "same", "auto"), direct, scale, 30, dtype)


def test_auto_method_of_integers_is_exact():
    image = np.full(3000, 2**40 + 1)
    assert fastconv.signal.convolve(image, np.ones(2000, int)).max() == 2000 * (2**40 + 1)


def test_auto_method_keeps_nan_in_its_place():
    image, kernel = values((300,), "float64"), values((200,), "float64", 1)
    image[7] = np.nan
    assert np.isnan(fastconv.signal.convolve(image, kernel)).sum() == 200


@pytest.mark.parametrize("where", ["image", "kernel"])
@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
@pytest.mark.parametrize("name", TWO_D + N_D)
def test_nan_and_inf(engine, name, dtype, where):
    image, kernel = values((30, 80), dtype), values((3, 4), dtype, 1)
    if where == "image":
        image[2, 3], image[7, 7], image[7, 9], image[29, 79] = np.nan, np.inf, -np.inf, np.inf
        image[15, 40:42] = np.inf, np.nan
        kernel[1, 2] = 0
    else:
        kernel[0, 3], kernel[2, 1] = np.inf, np.nan
        image[4, 5] = 0
    for mode in MODES:
        check(name, image, kernel, mode, *(["direct"] if name in N_D else []))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "complex64"])
@pytest.mark.parametrize("name", TWO_D + N_D)
def test_layouts(engine, name, dtype):
    image, kernel = integers((13, 70), dtype), integers((4, 3), dtype, 1)
    function, oracle = both(name)
    direct = {"method": "direct"} if name in N_D else {}
    for mode in MODES:
        desired = oracle(image, kernel, mode, **direct)
        for layout, view in layouts(image).items():
            assert_identical(function(view, kernel, mode, **direct), desired, f"image {layout}")
        for layout, view in layouts(kernel).items():
            assert_identical(function(image, view, mode, **direct), desired, f"kernel {layout}")


@pytest.mark.parametrize("name", TWO_D + N_D)
def test_broadcast_views(engine, name):
    image, kernel = np.broadcast_to(integers((13,), "float32"), (9, 13)), integers((4, 3), "float32", 1)
    check(name, image, kernel, exact=True)
    check(name, image.T, kernel, exact=True)


@pytest.mark.parametrize("name", TWO_D + N_D)
def test_subclasses(engine, name):
    image, kernel = integers((9, 8), "float64"), integers((4, 3), "float64", 1)
    masked = np.ma.array(image, mask=image > 3)
    for argument in (masked, np.asmatrix(image), image.tolist()):
        check(name, argument, kernel, exact=True)


@pytest.mark.parametrize("name", N_D)
def test_no_dimensions(engine, name):
    for first, second in [(3.0, -2.5), (np.float32(3), np.int8(2)), (np.array(2), np.array(7)), (2 + 1j, 1 - 3j)]:
        check(name, np.asarray(first), np.asarray(second), exact=True)


@pytest.mark.parametrize("dtype", ["float32", "int32", "complex128"])
@pytest.mark.parametrize("name", TWO_D + N_D)
def test_out(engine, name, dtype):
    function, oracle = both(name)
    image, kernel = integers((11, 40), dtype), integers((4, 3), dtype, 1)
    for mode in MODES:
        desired = oracle(image, kernel, mode)
        whole = np.full((desired.shape[0] + 2, 2 * desired.shape[1]), 77, desired.dtype)
        for out in (np.empty_like(desired), whole[1:-1, ::2], whole[-2:0:-1, ::-2], np.empty_like(desired, order="F")):
            whole[...] = 77
            assert function(image, kernel, mode, out=out) is out
            assert_identical(out, desired)
        assert (whole == 77).sum() >= whole.size - desired.size  # nothing written beside the view


@pytest.mark.parametrize("name", N_D)
def test_out_of_the_fft(name):
    image, kernel = values((40, 30), "float64"), values((15, 12), "float64", 1)
    out = np.empty((40, 30))
    assert both(name)[0](image, kernel, "same", "fft", out=out) is out
    assert_identical(out, both(name)[0](image, kernel, "same", "fft"))


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "complex64"])
@pytest.mark.parametrize("name", TWO_D + N_D)
def test_threads_do_not_change_the_result(engine, name, dtype):
    image, kernel = values((133, 170), dtype), values((5, 6), dtype, 1)
    function, _ = both(name)
    desired = function(image, kernel, "same", threads=1)
    for threads in (2, 3, 5):
        assert_identical(function(image, kernel, "same", threads=threads), desired)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
def test_many_patches_and_strips(engine, dtype, boundary):
    """An image of many tiles, patches and units, neither of whose sizes is a multiple of anything."""
    image, kernel = integers((263, 517), dtype), integers((12, 15), dtype, 1)
    desired = scipy.signal.correlate2d(image, kernel, "same", boundary)
    for threads in (1, 2):
        assert_identical(fastconv.signal.correlate2d(image, kernel, "same", boundary, threads=threads), desired)


@given(arrays_HW_and_kernel(), st.sampled_from(TWO_D), st.sampled_from(MODES), st.sampled_from(BOUNDARIES))
def test_any_2d(engine, arrays, name, mode, boundary):
    image, kernel = arrays
    if fits(Filter("", image.shape, kernel.shape), mode):
        check(name, image, kernel, mode, boundary, exact=True)


@given(st.integers(1, 4).flatmap(lambda n: arrays_and_kernel(n, 7, 4)), st.sampled_from(N_D), st.sampled_from(MODES))
def test_any_nd(engine, arrays, name, mode):
    image, kernel = arrays
    if fits(Filter("", image.shape, kernel.shape), mode):
        check(name, image, kernel, mode, "direct", exact=True)
