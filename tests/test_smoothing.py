"""Filters made of passes along the axes, on every engine against SciPy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from cases import COMPLEX, FLOATS, INTEGERS, integers, layouts, values
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays

import fastconv.ndimage
import fastconv.signal
from fastconv.ndimage import gaussian
from fastconv.testing import assert_identical, assert_matches

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]
DERIVATIVES = ["sobel", "prewitt"]
SIMPLE = [*DERIVATIVES, "laplace"]
GAUSSIANS = ["gaussian_filter", "gaussian_laplace", "gaussian_gradient_magnitude"]
CALLS = [(name, ()) for name in SIMPLE] + [(name, (0.8,)) for name in GAUSSIANS]
IDS = [name for name, _ in CALLS]
EVERY = pytest.mark.parametrize("name, args", CALLS, ids=IDS)


def both(name: str):
    return getattr(fastconv.ndimage, name), getattr(scipy.ndimage, name)


def check(name: str, image: np.ndarray, *args, exact: bool = False, gain: float = 16, **kwargs) -> None:
    """Assert that fastconv's result is SciPy's; to the bit if `exact` or of integers.

    `gain` bounds how many times the image's largest magnitude the sums of magnitudes are.
    """
    function, oracle = both(name)
    with np.errstate(all="ignore"):
        actual, desired = function(image, *args, **kwargs), oracle(image, *args, **kwargs)
    if exact or desired.dtype.kind not in "fc":
        assert_identical(actual, desired)
        return
    finite = np.abs(image)[np.isfinite(image)].max(initial=0) + np.abs(kwargs.get("cval", 0))
    assert_matches(actual, desired, gain * np.float64(finite), 40)


def ramp(shape: tuple[int, ...]) -> np.ndarray:
    """uint64 numbers whose derivatives are not negative (but for a Laplacian, which wraps at most once)."""
    return np.arange(np.prod(shape), dtype="uint64").reshape(shape) ** 2


# -- gaussian -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sigma", [0.3, 0.6, 1, 2.5, (0.5, 3), (2, 0), (0, 0.7), np.float32(1.3)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
def test_gaussian(engine, dtype, sigma, mode):
    image = values((13, 37), dtype)
    check("gaussian_filter", image, sigma, mode=mode, cval=3)
    check("gaussian_filter", image, sigma, mode=mode)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 5, (1, 0), (0, 2), (4, 1)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_gaussian_derivatives(engine, dtype, order):
    image = values((12, 30), dtype)
    for sigma in (0.7, 1.5):
        check("gaussian_filter", image, sigma, order, gain=300)
        if np.ndim(order) == 0:
            check("gaussian_filter1d", image, sigma, 0, order, gain=300)
            check("gaussian_filter1d", image, sigma, -1, order, mode="wrap", gain=300)


def test_gaussian_weights_are_scipys():
    """To the last bit, which decides where integer results are truncated."""
    for sigma in (0.2, 0.5, 1, 1.7, np.float32(1.7), 4.1, 20):
        for order in (0, 1, 2, 3, 4, 7):
            radius = int(4 * sigma + 0.5)
            desired = scipy.ndimage._filters._gaussian_kernel1d(sigma, order, radius)[::-1]
            assert_identical(gaussian._weights(sigma, order, radius).weights, desired.astype(float), f"{sigma} {order}")


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS, *COMPLEX])
@EVERY
def test_dtypes(engine, name, args, dtype):
    for shape in ((40,), (9, 23), (4, 5, 11)):
        image = values(shape, dtype)
        if dtype == "uint64":  # SciPy's conversion of what is below -2**63 is undefined in C
            image = ramp(shape)
        check(name, image, *args, mode="mirror", gain=200)
        check(name, image, *args, mode="constant", cval=2, gain=200)


@pytest.mark.parametrize("output", ["int8", "uint8", "int16", "uint32", "int64", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "uint32", "uint64", "float32", "float64"])
@EVERY
def test_output_dtype(engine, name, args, dtype, output):
    image = values((9, 40), dtype)
    image = image * 300 if dtype[0] == "f" else image
    check(name, image, *args, output=output, gain=200)
    check(name, image, *args, output=np.dtype(output).type, gain=200)


def test_bool(engine):
    """Each pass leaves truth values (SciPy leaves any bytes, and reads them as numbers)."""

    def passes(*weights_of_axes):
        result = image
        for axis, weights in weights_of_axes:
            result = scipy.ndimage.correlate1d(result.astype("uint8"), weights, axis, output="int32") != 0
        return result

    image = values((9, 40), "bool")
    difference, bell = [-1, 0, 1], scipy.ndimage._filters._gaussian_kernel1d(0.8, 0, 3)
    assert_identical(fastconv.ndimage.sobel(image), passes((1, difference), (0, [1, 2, 1])))
    assert_identical(fastconv.ndimage.prewitt(image, 0), passes((0, difference), (1, [1, 1, 1])))
    assert_identical(fastconv.ndimage.gaussian_filter(image, 0.8), passes((0, bell), (1, bell)))
    laplacian = passes((0, [1, -2, 1])) | passes((1, [1, -2, 1]))
    assert_identical(fastconv.ndimage.laplace(image), laplacian)
    for name, args in CALLS:
        check(name, image[0], *args, output="uint8")
        assert both(name)[0](image, *args).dtype == bool


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64"])
def test_wide_integers_are_not_joined(engine, name, dtype):
    """Differences out of the range of int32 become its smallest value, before they are summed."""
    info = np.iinfo(dtype)
    image = np.array([info.min, info.max, 0, 1, info.max - 1, info.min + 1] * 8, dtype).reshape(6, 8)
    for output in ("int8", "uint8", "int32", "uint32", "int64"):
        check(name, image, output=output)
        check(name, (image % 65536).astype("uint16"), output=output)


@pytest.mark.parametrize("cval", [0, 7, -3, 2.5, np.nan, np.inf, 2**40], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
@EVERY
def test_cval(engine, name, args, dtype, cval):
    function, oracle = both(name)
    image = values((7, 20), dtype)
    with np.errstate(all="ignore"):
        actual, desired = (f(image, *args, mode="constant", cval=cval) for f in (function, oracle))
    if dtype == "float64":
        assert_matches(actual, desired, 200 * (10 + abs(cval if np.isfinite(cval) else 0)), 40)
    else:
        assert_identical(actual, desired)


@EVERY
def test_modes_per_axis(engine, name, args):
    for dtype in ("float32", "uint8"):
        image = values((9, 14), dtype)
        for modes in (["reflect", "wrap"], ("constant", "mirror"), ["grid-mirror", "grid-constant"]):
            check(name, image, *args, mode=modes)
            check(name, image, *args, mode=modes, cval=2.0)
    check(name, values((5, 6, 7), "float64"), *args, mode=["wrap", "nearest", "mirror"], gain=100)


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "complex128"])
def test_axis(engine, name, dtype):
    for shape in ((9,), (6, 17), (4, 5, 6), (3, 2, 4, 5)):
        image = integers(shape, dtype)
        for axis in range(-len(shape), len(shape)):
            check(name, image, axis, exact=True)


@pytest.mark.parametrize("axes", [0, 1, -1, (0,), (2, 0), (1, -1), (2, 1, 0), ()], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("name, args", CALLS[2:], ids=IDS[2:])
def test_axes(engine, name, args, dtype, axes):
    image = values((6, 7, 8), dtype)
    check(name, image, *args, axes=axes, gain=100)
    n = len(axes) if isinstance(axes, tuple) else 1
    check(name, image, *args, axes=axes, mode=["wrap", "constant", "nearest"][:n], gain=100)
    if name in ("gaussian_filter", "gaussian_laplace"):
        check(name, image, [1.0, 0.5, 2][:n], axes=axes, gain=100)
    if name == "gaussian_filter":
        check(name, image, 2, order=[1, 0, 2][:n], radius=[3, 1, 2][:n], axes=axes, gain=100)


def test_truncate_and_radius(engine):
    image = values((9, 30), "float64")
    for kwargs in ({"truncate": 2.5}, {"truncate": 0.1}, {"radius": 0}, {"radius": 3}, {"radius": np.int8(2)}):
        for name in (*GAUSSIANS, "gaussian_filter1d"):
            check(name, image, 1.2, gain=100, **kwargs)
    check("gaussian_filter", image, 1.2, radius=(2, 5))
    check("gaussian_filter", image, 9, truncate=6)  # a kernel longer than the image


def test_no_sigma(engine):
    image = values((9, 30), "float64")
    for sigma in (0, (0, 0), 1e-16, -1, (0, -3), np.nan):
        check("gaussian_filter", image, sigma, exact=True)
        check("gaussian_filter", image.astype(int), sigma, output=np.float32, exact=True)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32"])
def test_magnitude_of_large_images(dtype):
    """Roots of negative squares included: they wrap, and what is no number is converted as C does."""
    image = values((270, 280), dtype)
    check("gaussian_gradient_magnitude", image, 1.0)
    check("generic_gradient_magnitude", image, scipy.ndimage.sobel)
    output = np.zeros((540, 280), dtype)[::2]
    fastconv.ndimage.gaussian_gradient_magnitude(image, 1.0, output)
    np.testing.assert_array_equal(output, scipy.ndimage.gaussian_gradient_magnitude(image, 1.0))


@EVERY
def test_nan_and_inf(engine, name, args):
    for dtype in FLOATS:
        image = values((20, 40), dtype)
        image[2, 3], image[7, 7], image[7, 9], image[19, 39] = np.nan, np.inf, -np.inf, np.inf
        check(name, image, *args, gain=200)


@pytest.mark.parametrize("name, args", [*CALLS, ("gaussian_filter1d", (1.5,))], ids=[*IDS, "gaussian_filter1d"])
def test_layouts(engine, name, args):
    function, _ = both(name)
    for dtype in ("float32", "uint8"):
        image = integers((13, 70), dtype)
        desired = function(image, *args)
        for layout, view in layouts(image).items():
            assert_identical(function(view, *args), desired, f"input {layout}")
        for layout, output in layouts(np.full(image.shape, 77, dtype)).items():
            if layout != "read-only":
                assert function(image, *args, output=output) is output
                np.testing.assert_array_equal(output, desired, err_msg=f"output {layout}")
        data = image.copy()
        assert function(data, *args, output=data) is data
        assert_identical(data, desired)
        flipped = image.copy()
        function(flipped, *args, output=flipped[::-1])
        assert_identical(flipped[::-1], desired)
    check(name, np.ma.array(image, mask=image > 3), *args)
    check(name, image.tolist(), *args)


@EVERY
def test_empty_and_no_dimensions(engine, name, args):
    for shape in ((0,), (0, 4), (4, 0)):
        check(name, np.zeros(shape), *args, exact=True)
    if name not in DERIVATIVES:
        check(name, np.array(3.0), *args, exact=True)
    for shape in ((1,), (1, 1), (1, 5), (2, 1)):
        check(name, integers(shape, "float64"), *args)


@EVERY
def test_threads_do_not_change_the_result(engine, name, args):
    image = values((133, 170), "float32")
    function, _ = both(name)
    desired = function(image, *args, threads=1)
    for threads in (2, 3):
        assert_identical(function(image, *args, threads=threads), desired)


@EVERY
def test_repeated_calls(engine, name, args):
    """Calls that are replayed see the arrays that they are given."""
    for seed in range(4):
        check(name, values((12, 13), "uint8", seed), *args)
        check(name, values((12, 13), "float64", seed), *args)
        check(name, np.full((12, 13), seed, "int32"), *args)


@given(st.integers(1, 3).flatmap(lambda n: st.tuples(*[st.integers(1, 9)] * n)), st.sampled_from(MODES), st.data())
def test_any(engine, shape, mode, data):
    dtype = data.draw(st.sampled_from(["uint8", "int8", "int32", "float32", "float64", "complex64"]))
    image = data.draw(arrays(shape, dtype))
    axis = data.draw(st.integers(-image.ndim, image.ndim - 1))
    cval = data.draw(st.sampled_from([0, 2]))
    for name in DERIVATIVES:
        check(name, image, axis, mode=mode, cval=cval, exact=True)
    check("laplace", image, mode=mode, cval=cval, exact=True)
    sigma, order = data.draw(st.sampled_from([0.5, 1.0, 2.0])), data.draw(st.integers(0, 2))
    check("gaussian_filter", image, sigma, order, mode=mode, cval=cval, gain=200)


# -- generic functions --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (30, 40), (301, 299), (300, 302), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_laplace_keeps_nan_and_infinity_in_their_star(value, shape):
    """Sums along two axes at once would spread them to the corners."""
    image = values(shape, "float32")
    for at in [(0,) * len(shape), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)]:
        x = image.copy()
        x[at] = value
        for axes in (None, (-2, -1), (0, -1)):
            with np.errstate(invalid="ignore"):
                desired = scipy.ndimage.laplace(x, axes=axes)
            assert_matches(fastconv.ndimage.laplace(x, axes=axes), desired, np.abs(image).max(), 12)
    x[at] = value
    desired = fastconv.ndimage.laplace(x)
    assert fastconv.ndimage.laplace(x, output=x) is x
    assert_identical(x, desired)


@pytest.mark.parametrize("name", ["generic_laplace", "generic_gradient_magnitude"])
def test_generic(engine, name):
    def derivative(input, axis, output, mode, cval, weights, shift=0):
        assert isinstance(output, np.dtype) == (axis != 0)
        return fastconv.ndimage.correlate1d(input, weights, axis, output, mode, cval, shift)

    for dtype in ("float64", "uint8", "complex128"):
        image = integers((9, 12), dtype)
        for kwargs in (
            {},
            {"mode": ["wrap", "constant"], "cval": 2.0},
            {"output": "float64"} if dtype == "uint8" else {},
        ):
            extra = {"extra_arguments": ([1, -3, 1],), "extra_keywords": {"shift": 1}}
            check(name, image, derivative, exact=True, **extra, **kwargs)
    check(name, image, derivative, axes=(), exact=True)
    check(name, image, derivative, axes=0, extra_arguments=[[1, 2]], exact=True)


def test_generic_with_functions_of_scipy(engine):
    image = values((9, 12), "float64")
    function = fastconv.ndimage.generic_gradient_magnitude
    assert_matches(
        function(image, scipy.ndimage.sobel), scipy.ndimage.generic_gradient_magnitude(image, scipy.ndimage.sobel)
    )


# -- sepfir2d -----------------------------------------------------------------------------------


def check_sepfir2d(image: np.ndarray, hrow, hcol) -> None:
    actual, desired = (m.sepfir2d(image, hrow, hcol) for m in (fastconv.signal, scipy.signal))
    gain = np.abs(hrow).sum() * np.abs(hcol).sum() * np.abs(image.astype(complex)).max()
    assert_matches(actual, desired, np.float64(gain), len(hrow) + len(hcol))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", *FLOATS, *COMPLEX])
def test_sepfir2d(engine, dtype):
    """Kernels no longer than the image, beyond which SciPy leaves its arrays."""
    for shape in ((11, 9), (5, 40), (30, 5)):
        image = values(shape, dtype)
        for taps in ((1, 5), (5, 3), (3, 1)):
            weights = [values((n,), "float32", n) for n in taps]
            check_sepfir2d(image, *weights)
            check_sepfir2d(image, *(w.tolist() for w in weights))
            if dtype[0] == "c":
                check_sepfir2d(image, weights[0] * np.complex64(1 - 2j), weights[1])
    check_sepfir2d(values((300, 301), dtype), [1, 2, 4], [1, 1, 3])
    check_sepfir2d(values((300, 301), dtype), *(values((13,), "float32", n) for n in (1, 2)))


def test_sepfir2d_of_any_layout(engine):
    image = integers((14, 17), "float32")
    desired = scipy.signal.sepfir2d(image, [1, 2, 4], [1, 3, 9, 0, 2])
    for layout, view in layouts(image).items():
        assert_identical(fastconv.signal.sepfir2d(view, [1, 2, 4], [1, 3, 9, 0, 2]), desired, layout)
    for _, view in layouts(np.array([1, 2, 4], "float32")).items():
        for _ in range(2):
            assert_identical(fastconv.signal.sepfir2d(image, view, [1, 3, 9, 0, 2]), desired)


def test_sepfir2d_beyond_the_image(engine):
    image, row, column = integers((2, 3), "float64"), integers((9,), "float64", 1), integers((11,), "float64", 2)
    desired = scipy.ndimage.convolve1d(scipy.ndimage.convolve1d(image, row, 1), column, 0)
    assert_identical(fastconv.signal.sepfir2d(image, row, column), desired)
    for shape in ((0, 4), (4, 0), (0, 0)):
        assert_identical(fastconv.signal.sepfir2d(np.zeros(shape, "f4"), row.tolist(), [1]), np.zeros(shape, "f4"))


# -- accuracy -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, args, bound",
    [
        ("gaussian_filter", (0.5,), 2),
        ("gaussian_filter", (1,), 2.5),
        ("gaussian_filter", (5,), 5),
        ("gaussian_filter1d", (3,), 4),
        ("sobel", (), 1),
        ("laplace", (), 1),
        ("gaussian_laplace", (1.5,), 3),
        ("gaussian_gradient_magnitude", (1.5,), 3),
    ],
    ids=str,
)
def test_float32_beside_scipy(engine, name, args, bound):
    """Sums in float32 err by a few units in the last place of the largest value; SciPy's, stored in float32, by one."""
    function, oracle = both(name)
    image = values((120, 130), "float32")
    truth = oracle(image.astype("float64"), *args)
    unit = np.finfo("float32").eps * np.abs(image).max() * {"sobel": 8, "laplace": 8}.get(name, 1)
    ours, theirs = (np.abs(f(image, *args) - truth).max() / unit for f in (function, oracle))
    assert theirs <= 1
    assert ours <= bound


# -- bad input ----------------------------------------------------------------------------------

IMAGE = np.ones((5, 6))
BAD = {
    "sigma missing for an axis": (lambda m: m.gaussian_filter(IMAGE, [1]), "sigma"),
    "sigma is text": (lambda m: m.gaussian_filter(IMAGE, "a"), "sigma"),
    "sigma is complex": (lambda m: m.gaussian_filter(IMAGE, 1j), "sigma"),
    "sigma is None": (lambda m: m.gaussian_filter1d(IMAGE, None), "sigma"),
    "sigma is infinite": (lambda m: m.gaussian_filter(IMAGE, np.inf), "sigma"),
    "sigma is NaN": (lambda m: m.gaussian_filter1d(IMAGE, np.nan), "sigma"),
    "sigma is 0": (lambda m: m.gaussian_filter1d(IMAGE, 0), "sigma"),
    "sigma is negative": (lambda m: m.gaussian_filter1d(IMAGE, -2.0), "sigma"),
    "order is negative": (lambda m: m.gaussian_filter(IMAGE, 1, -1), "order"),
    "order is a fraction": (lambda m: m.gaussian_filter(IMAGE, 1, 1.5), "order"),
    "order is missing for an axis": (lambda m: m.gaussian_filter(IMAGE, 1, [1]), "order"),
    "radius is negative": (lambda m: m.gaussian_filter(IMAGE, 1, radius=-1), "radius"),
    "radius is a fraction": (lambda m: m.gaussian_filter(IMAGE, 1, radius=1.5), "radius"),
    "truncate is text": (lambda m: m.gaussian_filter(IMAGE, 1, truncate="a"), "truncate"),
    "axes repeat": (lambda m: m.gaussian_filter(IMAGE, 1, axes=(0, 0)), "axes"),
    "axes out of range": (lambda m: m.laplace(IMAGE, axes=5), "axes"),
    "axis out of range": (lambda m: m.sobel(IMAGE, 5), "axis"),
    "axis of no dimensions": (lambda m: m.sobel(np.array(1.0)), "axis"),
    "no such mode": (lambda m: m.prewitt(IMAGE, mode="bogus"), "mode"),
    "mode missing for an axis": (lambda m: m.sobel(IMAGE, mode=["reflect"]), "mode"),
    "sequence of modes": (lambda m: m.gaussian_filter1d(IMAGE, 1, mode=["reflect", "wrap"]), "mode"),
    "cval is complex": (lambda m: m.laplace(IMAGE, mode="constant", cval=1j), "cval"),
    "output of another shape": (lambda m: m.gaussian_laplace(IMAGE, 1, np.zeros(3)), "output"),
    "output is real": (lambda m: m.sobel(IMAGE + 1j, output=np.float32), "output"),
    "output is complex": (lambda m: m.sobel(IMAGE, output=np.complex64), "output"),
    "unknown keyword": (lambda m: m.gaussian_laplace(IMAGE, 1, bogus=2), "bogus"),
    "order twice": (lambda m: m.gaussian_laplace(IMAGE, 1, order=2), "order"),
    "image of one dimension": (lambda m: m.sepfir2d(IMAGE[0], [1], [1]), "input"),
    "kernel of two dimensions": (lambda m: m.sepfir2d(IMAGE, np.ones((3, 3)), [1]), "hrow"),
    "kernel of even length": (lambda m: m.sepfir2d(IMAGE, [1, 2, 1], [1, 1]), "hcol"),
    "empty kernel": (lambda m: m.sepfir2d(IMAGE, [], [1]), "hrow"),
    "scalar kernel": (lambda m: m.sepfir2d(IMAGE, 1.0, [1]), "hrow"),
    "longdouble image": (lambda m: m.sepfir2d(IMAGE.astype("g"), [1], [1]), "input"),
    "complex longdouble image": (lambda m: m.sepfir2d(IMAGE.astype("G"), [1], [1]), "input"),
    "double kernel": (lambda m: m.sepfir2d(IMAGE.astype("f4"), np.ones(3), [1]), "hrow"),
    "complex kernel": (lambda m: m.sepfir2d(IMAGE, [1], np.ones(3) * 1j), "hcol"),
    "derivative is no function": (lambda m: m.generic_laplace(IMAGE, 3), "callable"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    """SciPy's exception, and a message that names the argument."""
    call, name = BAD[case]
    module = "signal" if "sepfir2d" in call.__code__.co_names else "ndimage"
    with pytest.raises(Exception) as theirs:
        call(getattr(scipy, module))
    with pytest.raises(theirs.type, match=re.escape(name)):
        call(getattr(fastconv, module))


def test_numbers_in_arrays_and_large_ones(engine):
    """What SciPy takes for a number is one: arrays without dimensions, integers that only a float can hold."""
    image = values((9, 8), "float64")
    for name, args, kwargs in [
        ("uniform_filter", (np.array(3),), {}),
        ("uniform_filter1d", (np.array(3),), {"origin": np.array(1)}),
        ("maximum_filter", (np.array(3),), {"mode": "constant", "cval": 2**64}),
        ("median_filter", (np.array(3),), {"origin": np.array(-1)}),
        ("gaussian_filter", (np.array(1.5),), {"order": np.array(1)}),
        ("gaussian_filter1d", (np.array(1.5),), {"order": np.array(1)}),
        ("correlate", (np.ones((3, 3)),), {"mode": "constant", "cval": -(10**20), "origin": np.array(1)}),
    ]:
        desired = getattr(scipy.ndimage, name)(image, *args, **kwargs)
        np.testing.assert_allclose(
            getattr(fastconv.ndimage, name)(image, *args, **kwargs), desired, rtol=1e-13, atol=1e-13
        )


def test_bad_input_writes_nothing():
    output = np.full((5, 6), 7.0)
    for call in (
        lambda: fastconv.ndimage.gaussian_filter(IMAGE, 1, [0, -1], output),
        lambda: fastconv.ndimage.gaussian_laplace(IMAGE, 1, output, mode="bogus"),
        lambda: fastconv.ndimage.sobel(IMAGE, 1, output, mode=["wrap", "bogus"]),
        lambda: fastconv.ndimage.laplace(IMAGE, output, cval="a"),
    ):
        with pytest.raises((ValueError, TypeError)):
            call()
        assert (output == 7).all()
