"""fastconv.ndimage on every engine against scipy.ndimage."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from cases import COMPLEX, FILTERS_ND, FLOATS, INTEGERS, Filter, integers, layouts, names, values
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays_and_kernel

import fastconv
import fastconv.ndimage
from fastconv.testing import assert_identical, assert_matches

FILTERS = ["correlate", "convolve"]
FILTERS_1D = ["correlate1d", "convolve1d"]
MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]
ALIASES = {"grid-mirror": "reflect", "grid-constant": "constant", "grid-wrap": "wrap"}

CASES = [
    *FILTERS_ND,
    Filter("one element", (1, 1), (3, 2)),
    Filter("kernel three times the image", (4, 3), (12, 9)),
    Filter("one row", (1, 140), (1, 7)),
    Filter("several tiles", (37, 150), (7, 6)),
    Filter("wide", (5, 300), (3, 3)),
]


def both(name: str):
    return getattr(fastconv.ndimage, name), getattr(scipy.ndimage, name)


def check(name: str, image: np.ndarray, weights: np.ndarray, *args, exact: bool = False, **kwargs) -> None:
    """Assert that fastconv's result is SciPy's; to the bit if `exact` or of integers."""
    function, oracle = both(name)
    actual, desired = function(image, weights, *args, **kwargs), oracle(image, weights, *args, **kwargs)
    if (
        name.endswith("1d") and desired.dtype == np.uint64
    ):  # SciPy's conversion of what is below -2**63 is undefined in C
        total = oracle(image, weights, *args, **{**kwargs, "output": np.float64})
        actual, desired = np.where(total < -(2.0**63), 0, actual), np.where(total < -(2.0**63), 0, desired)
    if exact or desired.dtype.kind not in "fc":
        assert_identical(actual, desired)
        return
    largest = np.abs(image).max() + np.abs(kwargs.get("cval", 0))
    assert_matches(actual, desired, np.abs(weights).sum() * np.float64(largest), weights.size)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES, ids=names(CASES))
@pytest.mark.parametrize("name", FILTERS)
def test_shapes(engine, name, case, mode):
    image, weights = integers(case.image, "float32"), integers(case.kernel, "float32", 1)
    check(name, image, weights, mode=mode, cval=3.0, exact=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 16])
@pytest.mark.parametrize("name", FILTERS_1D)
def test_shapes_1d(engine, name, size, mode):
    image, weights = integers((6, 5, 20), "float32"), integers((size,), "float32", 1)
    for axis in (0, 1, 2, -1, -3):
        check(name, image, weights, axis, mode=mode, cval=-2.0, exact=True)
    check(name, image[0, 0], weights, 0, None, mode, 1.0, exact=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS, *COMPLEX])
@pytest.mark.parametrize("name", FILTERS)
def test_dtypes(engine, name, dtype, mode):
    image = values((14, 37), dtype)
    check(name, image, values((3, 4), "float64", 1), mode=mode)
    check(name, image, values((3, 4), "float32", 1), mode=mode)
    check(name, image, integers((2, 5), "int64", 1), mode=mode)


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS, *COMPLEX])
@pytest.mark.parametrize("name", FILTERS_1D)
def test_dtypes_1d(engine, name, dtype):
    image = values((6, 40), dtype)
    for kernel in kernels_1d():
        for axis in (0, 1):
            check(name, image, kernel, axis, mode="mirror")


def kernels_1d() -> list[np.ndarray]:
    """One for each order in which `scipy.ndimage.correlate1d` adds the taps."""
    odd, even = values((7,), "float64", 1), values((6,), "float64", 2)
    return [odd, even, odd + odd[::-1], odd - odd[::-1], even + even[::-1], integers((3,), "int8", 3), odd[:1]]


@pytest.mark.parametrize("output", ["uint8", "int16", "uint32", "int64", "uint64", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64", "float32", "float64"])
@pytest.mark.parametrize("name", FILTERS)
def test_output_dtype(engine, name, dtype, output):
    """Integer results are SciPy's own: summed in double in its order, truncated, wrapped."""
    image, weights = values((9, 40), dtype), values((3, 5), "float64", 1)
    image = image * 300 if dtype[0] == "f" else image
    for kind in (output, np.dtype(output), np.dtype(output).type):
        check(name, image, weights, output=kind)
    check(name + "1d", image, weights[0], 0, output=output)
    check(name + "1d", image, weights[0] + weights[0, ::-1], 1, output=output)


@pytest.mark.parametrize("output", ["bool", "int8", "uint8", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("name", FILTERS)
def test_what_no_integer_holds(engine, name, output):
    """NaN, infinities and sums out of range become what SciPy's compiled code makes of them."""
    image = values((9, 40), "float64") * 1e3
    image[2, 3], image[4, 30], image[6, 11] = np.nan, np.inf, -np.inf
    for factor in (1.0, 1e6, 1e9, 1e15, 1e17, 1e20):
        check(name, image, values((2, 3), "float64", 1) * factor, output=np.dtype(output))


@pytest.mark.parametrize("kernel", [(3, 4), (7, 5), (9, 8)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_read_in_place_and_what_is_staged(engine, dtype, kernel):
    """Sizes around whole tiles, whose frame alone is staged; 1024 columns, whose rows collide in the first cache."""
    for shape in ((24, 96), (31, 97), (41, 66), (16, 1024), (2, 30, 70)):
        image, weights = integers(shape, dtype), integers((2, *kernel)[-len(shape) :], dtype, 1)
        for mode in ("mirror", "constant", "wrap"):
            check("correlate", image, weights, mode=mode, cval=2.0, exact=True)
            check("correlate", image, weights, np.empty(shape, dtype), mode=mode, origin=-1, exact=True)


@pytest.mark.parametrize("pixels", [(246, 206, 166), (108, 131, 154), (198, 135, 72)])
def test_bytes_summed_to_just_below_an_integer(engine, pixels):
    """Sums that are less than an integer by an error of double: what float makes of them is not trusted."""
    line = scipy.ndimage.gaussian_filter1d([0.0, 1.0, 0.0], 0.3, mode="constant", radius=1)
    for image in (np.array(pixels * 20, np.uint8), np.array([pixels * 20] * 5, np.uint8)):
        check("correlate1d", image, line, mode="nearest")
        check("convolve1d", image, line, mode="nearest", output="int16")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_bytes_of_flat_pictures(engine, dtype, mode):
    """Windows of one value and weights whose sum is nearly 1: truncation depends on the last bit of SciPy's sum."""
    rng = np.random.default_rng(5)
    blocks = rng.integers(0, 256, (9, 8))
    image = np.repeat(np.repeat(blocks, 8, 0), 40, 1).astype("uint8").view(dtype)  # in several tiles, some of one value
    for shape in ((3, 3), (5, 4), (1, 7), (9, 9)):
        random = rng.uniform(0.2, 1, shape)
        for weights in (random / random.sum(), np.full(shape, 1 / random.size), np.ceil(random * 9) / 64):
            for cval in (0, 77.0, 0.5, 300.0) if mode == "constant" else (0,):
                check("correlate", image, weights, mode=mode, cval=cval)
            check("convolve", image, weights, mode=mode, output="int16")


@pytest.mark.parametrize("mode", ["mirror", "constant"])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "uint32"])
def test_integers_summed_in_any_order_first(engine, dtype, mode):
    """Near integers SciPy's order decides: flat parts, weights of one value, small fractions."""
    rng = np.random.default_rng(6)
    blocks = rng.integers(-30000, 30000, (6, 5)).astype(dtype)
    image = np.repeat(np.repeat(blocks, 7, 0), 30, 1)
    image[20:] += rng.integers(0, 3, image[20:].shape).astype(dtype)
    random = rng.uniform(0.2, 1, (5, 6))
    for weights in (random / random.sum(), np.full((6, 5), 1 / 30), np.ceil(random * 9) / 64, random[:2, :2]):
        for output in (dtype, "uint8", "int64"):
            check("correlate", image, weights, mode=mode, cval=-7.5, output=output)


@pytest.mark.parametrize("cval", [np.nextafter(np.float32(1), np.float32(0)), np.float32(0.1), 0.5])
def test_bytes_beside_fractions(engine, cval):
    """Whole weights and bytes have exact sums in float, but not with any number of float beyond the border."""
    image = np.full((20, 70), 100, np.uint8)
    for weights in (np.array([[1.0, 1, 1], [0, 0, 0], [1, 1, 1]]), np.full((3, 1), 0.25)):
        check("correlate", image, weights, mode="constant", cval=float(cval), output="int32")


@pytest.mark.parametrize("name", FILTERS)
def test_complex(engine, name):
    real, imag = values((9, 20), "complex128"), values((3, 4), "complex128", 1)
    for suffix, weights in (("", imag), ("1d", imag[0])):
        check(name + suffix, real, weights, mode="constant", cval=2 - 3j)
        check(name + suffix, real.astype("complex64"), weights, mode="nearest")
        check(name + suffix, real.real, weights, mode="constant", cval=2.5)
        check(name + suffix, real, weights.real, mode="constant", cval=2 - 3j)
        check(name + suffix, values((9, 20), "int16"), weights)
        check(name + suffix, real.real.astype("float32"), weights.astype("complex64"))
        check(name + suffix, real, weights, output=np.complex64)
    with pytest.warns(UserWarning, match="complex"):
        function, oracle = both(name)
        assert function(real, imag, np.float32).dtype == oracle(real, imag, np.float32).dtype


@pytest.mark.parametrize("name", FILTERS)
def test_nan_stays_in_its_part_of_a_complex_image(engine, name):
    image = values((9, 20), "complex128")
    image[3, 4] = complex(np.nan, 2)
    image[7, 15] = complex(1, np.inf)
    function, oracle = both(name)
    weights = values((3, 4), "float64", 1)
    for part in (np.real, np.imag):
        assert_matches(part(function(image, weights)), part(oracle(image, weights)), 30, 12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", FILTERS)
def test_nan_and_inf(engine, name, dtype, mode):
    image, weights = values((30, 80), dtype), values((3, 4), dtype, 1)
    image[2, 3], image[7, 7], image[7, 9], image[29, 79] = np.nan, np.inf, -np.inf, np.inf
    function, oracle = both(name)
    assert_matches(function(image, weights, mode=mode), oracle(image, weights, mode=mode), 60, 12)
    weights[0, 1] = np.inf
    assert_matches(function(image, weights, mode=mode), oracle(image, weights, mode=mode), 60, 12)


@pytest.mark.parametrize("cval", [np.nan, np.inf, -2.5, 7, True, np.float32(1.5)], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_cval(engine, dtype, cval):
    image, weights = integers((9, 20), dtype), integers((4, 3), "float64", 1)
    for name, kernel in (("correlate", weights), ("convolve", weights), ("correlate1d", weights[0])):
        check(name, image, kernel, mode="constant", cval=cval, exact=True)


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("name", FILTERS)
def test_mode_aliases(engine, name, alias):
    image, weights = integers((8, 9), "float64"), integers((11, 3), "float64", 1)
    check(name, image, weights, mode=alias, cval=2.0, exact=True)
    check(name + "1d", image, weights[:, 0], mode=alias, cval=2.0, exact=True)
    function, _ = both(name)
    assert_identical(function(image, weights, mode=alias), function(image, weights, mode=ALIASES[alias]))


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("name", FILTERS)
def test_origin(engine, name, size):
    image, weights = integers((9, 12), "float32"), integers((size, 3), "float32", 1)
    for origin in range(-(size // 2), (size - 1) // 2 + 1):
        check(name, image, weights, origin=(origin, 1), mode="wrap", exact=True)
        check(name, image, weights, origin=[origin, -1], mode="constant", exact=True)
        check(name + "1d", image, weights[:, 0], origin=origin, exact=True)
        if abs(origin) <= 1:
            check(name, image, weights, origin=origin, exact=True)


@pytest.mark.parametrize("axes", [0, 1, (-1,), (0,), (0, 2), (2, 0), (1, -1), (2, 1, 0), ()], ids=str)
@pytest.mark.parametrize("name", FILTERS)
def test_axes(engine, name, axes):
    image = integers((6, 7, 8), "float32")
    ndim = len(axes) if isinstance(axes, tuple) else 1
    weights = integers((3, 2, 4)[:ndim], "float32", 1)
    check(name, image, weights, axes=axes, exact=True)
    if ndim > 1:
        check(name, image, weights, axes=axes, origin=(-1, 0, 1)[:ndim], exact=True)


def test_last_axis(engine):
    """SciPy 1.17 refuses one negative axis, which it means to take."""
    image, weights = integers((6, 7, 8), "float32"), integers((4,), "float32", 1)
    actual = fastconv.ndimage.correlate(image, weights, axes=-1)
    assert_identical(actual, scipy.ndimage.correlate1d(image, weights, -1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
@pytest.mark.parametrize("name", FILTERS)
def test_layouts(engine, name, dtype):
    image, weights = integers((13, 70), dtype), integers((4, 3), "float64", 1)
    function, oracle = both(name)
    desired = oracle(image, weights, mode="mirror")
    for layout, view in layouts(image).items():
        if layout == "byte-swapped":  # SciPy's default output then has native byte order
            assert_identical(function(view, weights, mode="mirror"), oracle(view, weights, mode="mirror"), layout)
        assert_identical(function(view, weights, mode="mirror"), desired, f"input {layout}")
    for layout, view in layouts(weights).items():
        assert_identical(function(image, view, mode="mirror"), desired, f"weights {layout}")


@pytest.mark.parametrize("mode", ["reflect", "constant", "wrap"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "complex64"])
def test_planes_whose_columns_are_closer_than_their_rows(engine, dtype, mode):
    """They are staged a few columns at a time, up to 64 rows of each."""
    image, weights = values((150, 93), dtype), values((4, 3), "float64", 1)
    turned = np.asfortranarray(image), np.asfortranarray(image[::-1, ::-1])[::-1, ::-1]
    for function, *args in (
        (fastconv.ndimage.correlate, weights),
        (fastconv.ndimage.correlate1d, weights[:, 0], 0),
        (fastconv.ndimage.correlate1d, weights[0], 1),
        (fastconv.ndimage.gaussian_filter, 1.5),
    ):
        desired = function(image, *args, mode=mode, cval=2)
        for view in turned:
            assert_matches(function(view, *args, mode=mode, cval=2), desired, np.abs(weights).sum() * 20, 12)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
@pytest.mark.parametrize("name", FILTERS)
def test_output_array(engine, name, dtype):
    function, oracle = both(name)
    image, weights = integers((11, 40), dtype), integers((4, 3), "float64", 1)
    desired = oracle(image, weights)
    for layout, output in layouts(np.full(image.shape, 77, dtype)).items():
        if layout == "read-only":
            continue
        assert function(image, weights, output) is output
        np.testing.assert_array_equal(output, desired, err_msg=f"output {layout}")


@pytest.mark.parametrize("name", FILTERS)
def test_output_may_be_the_input(engine, name):
    image, weights = integers((11, 40), "float32"), integers((4, 3), "float32", 1)
    for suffix, kernel in (("", weights), ("1d", weights[:, 0])):
        function, oracle = both(name + suffix)
        desired = oracle(image, kernel)
        data = image.copy()
        assert function(data, kernel, output=data) is data
        assert_identical(data, desired)
        flipped = image.copy()
        function(flipped, kernel, output=flipped[::-1])
        assert_identical(flipped[::-1], desired)


@pytest.mark.parametrize("name", FILTERS)
def test_subclasses(engine, name):
    image, weights = integers((9, 8), "float64"), integers((4, 3), "float64", 1)
    for argument in (np.ma.array(image, mask=image > 3), np.asmatrix(image), image.tolist()):
        check(name, argument, weights, exact=True)
        check(name + "1d", argument, weights[0], exact=True)
    output = np.asmatrix(np.zeros_like(image))
    both(name)[0](image, weights, output)
    np.testing.assert_array_equal(np.asarray(output), both(name)[1](image, weights))


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0)])
@pytest.mark.parametrize("name", FILTERS)
def test_empty_input(engine, name, shape):
    check(name, np.zeros(shape), np.ones((2,) * len(shape)), exact=True)
    check(name + "1d", np.zeros(shape), np.ones(2), exact=True)


@pytest.mark.parametrize("name", FILTERS)
def test_no_dimensions(engine, name):
    for dtype in ("float64", "int32"):
        check(name, np.array(3, dtype), np.array(-2.5), exact=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16", "complex64"])
@pytest.mark.parametrize("name", FILTERS)
def test_threads_do_not_change_the_result(engine, name, dtype):
    image, weights = values((133, 170), dtype), values((5, 6), "float32", 1)
    function, _ = both(name)
    desired = function(image, weights, threads=1)
    for threads in (2, 3, 5):
        assert_identical(function(image, weights, threads=threads), desired)


@given(
    st.integers(1, 3).flatmap(lambda n: arrays_and_kernel(n, 8, 5)),
    st.sampled_from(FILTERS),
    st.sampled_from(MODES),
    st.data(),
)
def test_any(engine, arrays, name, mode, data):
    image, weights = arrays
    origin = tuple(data.draw(st.integers(-(k // 2), (k - 1) // 2)) for k in weights.shape)
    check(name, image, weights, mode=mode, origin=origin, cval=2.0, exact=True)
    if weights.ndim == 1:
        check(name + "1d", image, weights, mode=mode, origin=origin[0], cval=2.0, exact=True)
