"""Calls that are replayed give what a fresh call gives."""

from __future__ import annotations

from contextvars import ContextVar

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from fastconv.engines.threads._tape import Memory
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv import replay
from fastconv.testing import assert_identical, assert_matches


def fresh(function, *args, **kwargs):
    """The result of the function without any tape."""
    return function.__wrapped__(*args, **kwargs)


def plays() -> int:
    return sum(memory.plays for memory in replay.memories)


def assert_replayed(function, calls, **kwargs) -> None:
    """Every call after the first is played, and gives the same bytes as a fresh one."""
    function(*calls[0], **kwargs)
    for args in calls:
        before = plays()
        result = function(*args, **kwargs)
        assert plays() == before + 1, "was not replayed"
        assert_identical(result, fresh(function, *args, **kwargs))


def images(shape, dtype, n=4):
    rng = np.random.default_rng(sum(shape))
    return [(rng.random(shape) * 200).astype(dtype) for _ in range(n)]


DTYPES = ["bool", "uint8", "int16", "int64", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("name", ["convolve2d", "correlate2d", "convolve", "correlate"])
def test_signal(engine, name, dtype):
    if engine == "reference":
        return assert_not_replayed(getattr(fastconv, name), *images((9, 8), dtype, 2))
    pairs = list(zip(images((9, 11), dtype), images((3, 4), dtype), strict=True))
    function = getattr(fastconv, name)
    for mode in ("full", "same", "valid"):
        assert_replayed(function, [(*pair, mode) for pair in pairs])
        if name.endswith("2d"):
            assert_replayed(function, [(*pair[::-1], mode) for pair in pairs])
    return None


def assert_not_replayed(function, *args) -> None:
    before = plays()
    first, second = function(*args), function(*args)
    assert plays() == before
    assert_identical(first, second)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["reflect", "constant", "wrap"])
def test_ndimage(dtype, mode):
    pairs = list(zip(images((9, 11), dtype), images((3, 4), "float64"), strict=True))
    for name in ("convolve", "correlate"):
        assert_replayed(getattr(fastconv.ndimage, name), pairs, mode=mode, cval=2.5)
    for name in ("convolve1d", "correlate1d"):
        lines = [(x, w[0]) for x, w in pairs] + [(x, w[1, :3] + w[1, 2::-1]) for x, w in pairs]
        assert_replayed(getattr(fastconv.ndimage, name), lines[:4], mode=mode, axis=0)
        assert_replayed(getattr(fastconv.ndimage, name), lines[4:], mode=mode, axis=0)


def test_the_order_of_an_exact_sum_follows_the_weights():
    """Mirrored and other weights of one size share a tape."""
    x = images((40,), "uint8")[0]
    lines = [np.array(w) / 7 for w in ([1.0, 2, 1], [1.0, 2, 3], [-1.0, 0, 1], [1.0, 2, 1.5])]
    assert_replayed(fastconv.ndimage.correlate1d, [(x, w) for w in lines])
    for w in lines:
        assert_identical(fastconv.ndimage.correlate1d(x, w), scipy.ndimage.correlate1d(x, w))


def test_lists():
    swapped = images((9, 8), ">f8", 2)
    assert_replayed(fastconv.convolve2d, [(swapped[0], np.eye(3)), (swapped[1], np.eye(3).astype(">f8"))])
    assert_replayed(fastconv.convolve2d, [([[1.0, 2.0], [3, 4]], np.eye(3)), ([[1.0, 2.0], [7, 9]], np.eye(3))])
    x = images((9, 8), "float32", 1)[0]
    assert_replayed(fastconv.ndimage.correlate1d, [(x, [1, 2, 1]), (x, (1, 0, -1))], axis=0)
    assert_replayed(fastconv.ndimage.convolve, [(x, [[1.0, 2, 1]]), (x, ((1.0, 0, -1),))])


@pytest.mark.parametrize("dtypes", [("c8", "c8"), ("c8", "f4"), ("f4", "c8"), ("c16", "u1"), ("i2", "c16")])
def test_complex(dtypes):
    def numbers(shape, dtype, seed):
        rng = np.random.default_rng(seed)
        real, imag = rng.random((2, *shape)) * 50
        return (real + 1j * imag if dtype[0] == "c" else real).astype(dtype)

    pairs = [(numbers((9, 8), dtypes[0], i), numbers((3, 2), dtypes[1], 10 + i)) for i in (1, 2, 3)]
    for name in ("convolve2d", "correlate2d", "convolve", "correlate"):
        assert_replayed(getattr(fastconv, name), pairs)
    assert_replayed(fastconv.correlate, [(x[0], w[0]) for x, w in pairs])
    assert_replayed(fastconv.ndimage.correlate, pairs)
    for x, w in pairs:
        assert_matches(fastconv.correlate2d(x, w), scipy.signal.correlate2d(x, w), 50**2 * 6, 6)


def test_other_arrays_are_told_apart_by_value():
    x = images((9, 8), "float32", 1)[0]
    for footprint in (np.eye(3, dtype=bool), np.ones((3, 3), bool), [[0, 1, 0], [1, 1, 1]]):
        assert_replayed(fastconv.ndimage.maximum_filter, [(x,), (x[::-1].copy(),)], footprint=footprint)
        assert_replayed(fastconv.ndimage.grey_dilation, [(x,), (x + 3,)], footprint=footprint)
    assert_replayed(fastconv.ndimage.gaussian_filter, [(x,), (x + 3,)], sigma=[1.0, 2.0], mode=["wrap", "reflect"])
    out = np.empty_like(x)
    for image in (x, x + 3):
        assert fastconv.ndimage.gaussian_filter(image, 1.0, 0, out) is out
        assert_identical(out, fresh(fastconv.ndimage.gaussian_filter, image, 1.0))


def test_calls_whose_course_depends_on_the_kernel_alone_are_told_apart_by_its_values():
    """Kernels of full and of low rank share no tape; one that shares memory with the image is not replayed."""
    x = images((768, 768), "float32", 2)
    w = images((13, 13), "float32", 2)
    low = np.outer(w[0][0], w[0][1])
    for kernel in (*w, low):
        fastconv.correlate2d(x[0], kernel)  # at first it is found out what the call depends on
        assert_replayed(fastconv.correlate2d, [(image, kernel.copy()) for image in x])
        changed = kernel.copy()
        changed[3, 4] += 1
        before = plays()
        fastconv.correlate2d(x[0], changed)
        assert plays() == before
    assert_not_replayed(fastconv.correlate2d, x[0], x[0][20:33, 7:20])
    assert_not_replayed(fastconv.ndimage.convolve, x[0], x[0][20:33, 7:20])


def test_an_array_of_another_name_is_not_taken_for_a_value():
    @replay.remembered(arrays=1)
    def correlate_to(image, destination):
        return fastconv.ndimage.correlate1d.__wrapped__(image, [1.0, 2.0, 4.0], output=destination)

    x = images((4, 5), "float64", 3)
    destination = np.zeros((4, 5))
    for image in x:
        destination[:] = 0  # of the same values every time
        assert correlate_to(image, destination) is destination
        assert_identical(destination, fresh(fastconv.ndimage.correlate1d, image, [1.0, 2.0, 4.0]))


def test_many_launches():
    x = images((5, 6, 7), "float32", 2)
    assert_replayed(fastconv.ndimage.grey_opening, [(x[0], 3), (x[1], 3)])
    assert_replayed(fastconv.ndimage.grey_closing, [(x[0], (2, 3, 4)), (x[1], (2, 3, 4))])


def test_copies():
    """Windows of one element leave an array as it is."""
    x = images((9, 8), "float32", 2)
    for name in ("uniform_filter", "maximum_filter", "median_filter"):
        function = getattr(fastconv.ndimage, name)
        for image in (x[0], x[1][::2, ::-1].T, (1000 * x[0]).astype(">i4"), np.array(3.0)):
            function(image, 1)
            before = plays()
            assert_identical(function(image, 1), np.array(image, image.dtype.newbyteorder("=")))
            assert plays() == before + 1
    assert_replayed(fastconv.ndimage.uniform_filter1d, [(x[0] + 2j, 1), (x[1] - 1j, 1)])
    out = np.empty((9, 8), "uint8")
    for image in x:
        assert fastconv.ndimage.minimum_filter(image, 1, output=out) is out
        assert_identical(out, image.astype("uint8"))


def test_functions_that_raise():
    """An exception surfaces from a replayed call, too, and later calls are right again."""
    numba = pytest.importorskip("numba")

    @numba.njit
    def limited(window):
        if window[0] > 8:
            raise ValueError("too large")
        return window[0]

    filtered, small = fastconv.ndimage.generic_filter, np.arange(8.0)
    for _ in range(2):  # the second time it is compiled
        filtered(small, limited, 3)
    before = plays()
    for _ in range(3):
        assert_identical(filtered(small, limited, 3), scipy.ndimage.generic_filter(small, limited, 3))
        with pytest.raises(ValueError, match="too large"):
            filtered(small + 3, limited, 3)
    assert plays() == before + 6


def test_strided_and_reversed_arrays():
    x = images((20, 30, 2), "float32", 1)[0]
    w = images((6, 8), "float32", 1)[0]
    views = [x[::2, ::-1, 0], x[:, :, 1].T, x[3:9, 4:20, 1]]
    for view in views:
        assert_replayed(fastconv.convolve2d, [(view, w[::2, ::-2])] * 2)


def test_out_is_written_and_checked_every_time():
    x, w = images((9, 8), "float64", 1)[0], np.eye(3)
    out = np.zeros((11, 10))
    for _ in range(3):
        out[:] = 0
        assert fastconv.convolve2d(x, w, out=out) is out
        assert_identical(out, fresh(fastconv.convolve2d, x, w))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writable"):
        fastconv.convolve2d(x, w, out=out)
    big = np.zeros((12, 10))
    x_inside = big[1:10, 1:9]
    assert fastconv.convolve2d(x_inside.copy(), w, out=np.zeros((11, 10))).shape == (11, 10)
    fastconv.convolve2d(np.zeros((12, 10))[1:10, 1:9], w, out=np.zeros((12, 10))[:11])  # the same strides, apart
    with pytest.raises(ValueError, match="out must not overlap in1"):
        fastconv.convolve2d(x_inside, w, out=big[:11])


def test_settings_are_part_of_the_call():
    x, w = images((9, 8), "float32", 1)[0], images((3, 3), "float32", 1)[0]
    calls = fastconv.convolve2d, x, w
    assert_replayed(calls[0], [(x, w)])
    with fastconv.use(engine="reference"):
        assert_not_replayed(*calls)
    with fastconv.use(threads=1):
        assert_replayed(calls[0], [(x, w)])
    fastconv.plan(*calls)
    with fastconv.use(engine="reference"):
        assert fastconv.plan(*calls).implementation == "reference:naive"


def test_equal_arguments_of_other_types_are_not_confused():
    x, w = images((9, 8), "float64", 1)[0], np.eye(3)
    fastconv.convolve2d(x, w, "full", "fill", 1)
    fastconv.convolve2d(x, w, "full", "fill", 0.0)
    assert (
        np.signbit(fresh(fastconv.convolve2d, -x * 0, w, "full", "fill", 0.0)).any()
        == np.signbit(fastconv.convolve2d(-x * 0, w, "full", "fill", 0.0)).any()
    )
    for bad in (1.0, True):
        fastconv.ndimage.convolve1d(x, w[0], 1)
        if bad is not True:
            with pytest.raises(TypeError, match="axis"):
                fastconv.ndimage.convolve1d(x, w[0], bad)


def test_numbers_of_numpy():
    """They are remembered as Python's are, and told apart from them and by their signs."""
    image = images((9, 8), "float32", 1)[0]
    for number in (np.float64(1.5), np.float32(1.5), 1.5, np.int64(1)):
        assert_replayed(fastconv.ndimage.gaussian_filter, [(image, number)], mode="constant", cval=number)
    empty, ones = np.zeros(4), np.ones(3)
    for zero in (complex(0.0, 0.0), complex(0.0, -0.0), complex(-0.0, 0.0)):
        args = (empty * 1j - 0.0, -ones)
        kwargs = {"mode": "constant", "cval": zero}
        result, desired = (
            fastconv.ndimage.correlate1d(*args, **kwargs),
            fresh(fastconv.ndimage.correlate1d, *args, **kwargs),
        )
        np.testing.assert_array_equal(np.signbit(result.view(float)), np.signbit(desired.view(float)))


def test_values_that_decide_are_read_every_time():
    """method="auto" takes the transform only of finite data."""
    x, w = np.ones(3000), np.ones(2900)
    for value in (1.0, np.inf, np.nan, 1.0):
        x[7] = value
        assert_identical(fastconv.convolve(x, w), fresh(fastconv.convolve, x, w))


def test_what_is_not_remembered():
    assert_not_replayed(fastconv.convolve2d, np.ones((1500, 1500)), np.eye(3))  # large
    assert_not_replayed(fastconv.convolve2d, np.matrix(np.eye(4)), np.eye(3))


def test_results_do_not_share_memory():
    x, w = images((9, 8), "float64", 1)[0], np.eye(3)
    results = [fastconv.convolve2d(x, w) for _ in range(4)]
    assert not any(np.may_share_memory(a, b) for a in results for b in results if a is not b)


def test_memory_is_bounded():
    memory = Memory(["x", "i"], ["x"], [], [], (), (ContextVar("never", default=None),), 5)
    for i in range(50):
        key, *_ = memory.key((np.zeros(3), i), {})
        memory.store(key, False)
        assert memory.recall((np.zeros(3), i), {}) is False
    assert memory.recall((np.zeros(3), 1), {}) is None


@given(st.data())
def test_random_calls(data):
    """Shapes, dtypes, modes and threads drawn at random; each call three times with other values."""
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 40)))
    kernel = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 6)))
    dtypes = data.draw(st.tuples(st.sampled_from(DTYPES), st.sampled_from(["float32", "float64"])))
    name = data.draw(st.sampled_from(["convolve", "correlate"]))
    mode = data.draw(st.sampled_from(["reflect", "nearest", "mirror", "wrap", "constant"]))
    threads = data.draw(st.sampled_from([None, 1, 3]))
    function = getattr(fastconv.ndimage, name)
    for x, w in zip(images(shape, dtypes[0]), images(kernel, dtypes[1]), strict=True):
        kwargs = {"mode": mode, "cval": 1.5, "threads": threads}
        assert_identical(function(x, w - 90, **kwargs), fresh(function, x, w - 90, **kwargs))


@pytest.mark.parametrize(
    "name", ["laplace", "gaussian_laplace", "sobel", "gaussian_filter", "uniform_filter", "maximum_filter"]
)
def test_calls_in_place_whose_first_results_are_nan(name):
    """A tape that does nothing gives the same bytes then."""
    function = getattr(fastconv.ndimage, name)
    extra = {"gaussian_laplace": (1.0,), "gaussian_filter": (1.0,), "uniform_filter": (3,), "maximum_filter": (3,)}.get(
        name, ()
    )
    for value in (np.nan, np.inf, 3.0):
        for shape in ((1, 1), (5, 6)):
            x = np.full(shape, value, np.float32)
            x[0, 0] += np.float32(1)
            with np.errstate(invalid="ignore"):
                desired = function(x.copy(), *extra)
            function(x, *extra, output=x)
            assert_identical(x, desired)


@pytest.mark.parametrize("shape", [(1030, 1030), (2060, 2060)], ids=["in new memory", "in kept memory"])
@pytest.mark.parametrize("written", [False, True])
def test_large_results_once_they_come_often(engine, shape, written):
    if engine == "reference":
        return assert_not_replayed(fastconv.correlate2d, *images((9, 8), "float32", 2))
    x, other = (image.astype(np.float32) for image in images(shape, "float32", 2))
    kernel = np.float32([[1, 2, 0], [0, 3, -1], [2, 0, 1]])
    out = np.empty_like(x)

    def smooth(image):
        return fastconv.ndimage.correlate(image, kernel, **({"output": out} if written else {}))

    replay.forget()
    before = plays()
    for _ in range(replay.OFTEN + 1):
        smooth(x)
    assert plays() == before
    expected = fresh(fastconv.ndimage.correlate, other, kernel)
    for _ in range(2):
        assert_identical(smooth(other), expected)
    assert plays() == before + 2
    return None


def test_large_arrays_written_in_place_are_never_replayed(engine):
    x, before = images((1030, 1030), "float32", 1)[0] - np.float32(100), plays()
    expected = fastconv.nn.relu(x)
    for _ in range(replay.OFTEN + 2):
        again = x.copy()
        fastconv.nn.relu(again, out=again)
        assert_identical(again, expected)
    assert plays() == before
