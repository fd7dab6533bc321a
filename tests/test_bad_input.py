"""Wrong arguments: an error that names the argument and its value, nothing computed, `out` untouched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.ndimage

import fastconv
from fastconv import ndimage, nn, signal

E, K = np.ones((5, 6)), np.ones((3, 2))
X, W = np.ones((2, 4, 5, 6)), np.ones((6, 4, 3, 2))
# Views of one number: shapes that no array in memory could have.
VAST = np.broadcast_to(np.ones(1), (2**30, 2**29))

TWO_D = [signal.convolve2d, signal.correlate2d]
N_D = [signal.convolve, signal.correlate]
SIGNAL = [*TWO_D, *N_D]
FILTERS = [ndimage.convolve, ndimage.correlate]
FILTERS_1D = [ndimage.convolve1d, ndimage.correlate1d]
NDIMAGE = [*FILTERS, *FILTERS_1D]
POOLS = [nn.max_pool2d, nn.avg_pool2d]
NN = [nn.conv2d, *POOLS]

# Functions, wrong arguments, and the words that the message must have: the argument's name, its value.
WRONG: list[tuple[str, list[Callable], tuple, dict[str, Any], list[str]]] = [
    ("wrong dimensions", TWO_D, (E[0], K), {}, ["in1", "(6,)"]),
    ("wrong dimensions", TWO_D, (E, X), {}, ["in2", "(2, 4, 5, 6)"]),
    ("different dimensions", N_D, (E, K[0]), {}, ["in1", "in2", "(2,)"]),
    ("empty image", SIGNAL, (np.ones((0, 3)), K), {}, ["in1", "(0, 3)"]),
    ("empty kernel", SIGNAL, (E, np.ones((3, 0))), {}, ["in2", "(3, 0)"]),
    ("larger in valid", SIGNAL, (E, np.ones((6, 2)), "valid"), {}, ["valid", "(5, 6)", "(6, 2)"]),
    ("unknown mode", SIGNAL, (E, K, "FULL"), {}, ["mode", "'FULL'", "'full'"]),
    ("mode of the wrong type", SIGNAL, (E, K, 1), {}, ["mode", "1"]),
    ("unhashable mode", SIGNAL, (E, K, ["full"]), {}, ["mode", "['full']"]),
    ("unknown boundary", TWO_D, (E, K, "same", "mirror"), {}, ["boundary", "'mirror'", "'symm'"]),
    ("unknown method", N_D, (E, K, "same", "slow"), {}, ["method", "'slow'", "'direct'"]),
    ("two fill values", TWO_D, (E, K), {"fillvalue": [1, 2]}, ["fillvalue", "(2,)"]),
    ("fill value is text", TWO_D, (E, K), {"fillvalue": "white"}, ["fillvalue", "'white'"]),
    ("complex fill value", TWO_D, (E, K), {"fillvalue": 1j}, ["fillvalue", "1j"]),
    ("fill value out of range", TWO_D, (E.astype("u1"), K.astype("u1")), {"fillvalue": -1}, ["fillvalue", "-1"]),
    ("vast result", SIGNAL, (VAST, VAST), {}, ["shape", str((2**31 - 1, 2**30 - 1))]),
    ("wrong dimensions", FILTERS, (E, K[0]), {}, ["weights", "(2,)", "2 dimensions"]),
    ("wrong dimensions", FILTERS_1D, (E, K), {}, ["weights", "(3, 2)", "1 dimension"]),
    ("no weights", FILTERS, (E, np.ones((3, 0))), {}, ["weights", "(3, 0)"]),
    ("no weights", FILTERS_1D, (E, []), {}, ["weights", "(0,)"]),
    ("unknown mode", NDIMAGE, (E[0], K[0]), {"mode": "symm"}, ["mode", "'symm'", "'reflect'"]),
    ("several modes", NDIMAGE, (E[0], K[0]), {"mode": ["reflect", "wrap"]}, ["mode", "['reflect', 'wrap']"]),
    ("origin out of range", NDIMAGE, (E[0], K[0]), {"origin": 2}, ["origin", "2"]),
    ("several origins", FILTERS, (E, K), {"origin": (0, 0, 0)}, ["origin", "(0, 0, 0)"]),
    ("origin is not an integer", NDIMAGE, (E[0], K[0]), {"origin": 0.5}, ["origin", "0.5"]),
    ("cval is text", NDIMAGE, (E[0], K[0]), {"cval": "white"}, ["cval", "'white'"]),
    ("complex cval", NDIMAGE, (E[0], K[0]), {"cval": 1j}, ["cval", "1j"]),
    ("no such axis", FILTERS_1D, (E, K[0]), {"axis": 2}, ["axis", "2"]),
    ("axis is not an integer", FILTERS_1D, (E, K[0]), {"axis": "x"}, ["axis", "'x'"]),
    ("no such axis", FILTERS, (E, K), {"axes": (0, 5)}, ["axes", "5"]),
    ("an axis twice", FILTERS, (E, K), {"axes": (1, -1)}, ["axes", "(1, -1)"]),
    ("output is no dtype", NDIMAGE, (E[0], K[0]), {"output": "pixels"}, ["output", "'pixels'"]),
    ("output is a list", NDIMAGE, (E[0], K[0]), {"output": [0]}, ["output", "(6,)", "(1,)"]),
    ("output dtype", NDIMAGE, (E[0], K[0]), {"output": "float16"}, ["output", "float16"]),
    ("wrong dimensions", NN, (E, 2), {}, ["input", "(5, 6)"]),
    ("empty image", NN, (X[:, :, :0], 2), {}, ["input", "(2, 4, 0, 6)"]),
    ("no channels", NN, (X[:, :0], 2), {}, ["input", "(2, 0, 5, 6)"]),
    ("no filters", [nn.conv2d], (X, W[:0]), {}, ["weight", "(0, 4, 3, 2)"]),
    ("weight's dimensions", [nn.conv2d], (X, W[0]), {}, ["weight", "(4, 3, 2)"]),
    ("groups do not divide", [nn.conv2d], (X, W), {"groups": 3}, ["groups", "3", "4"]),
    ("groups do not fit", [nn.conv2d], (X, W), {"groups": 2}, ["weight", "4", "2"]),
    ("no groups", [nn.conv2d], (X, W), {"groups": 0}, ["groups", "0"]),
    ("channels do not fit", [nn.conv2d], (X[:, :3], W), {}, ["weight", "3", "4"]),
    ("bias's shape", [nn.conv2d], (X, W, np.ones(5)), {}, ["bias", "(5,)", "6"]),
    ("zero stride", [nn.conv2d], (X, W), {"stride": 0}, ["stride", "0"]),
    ("negative stride", [nn.conv2d], (X, W), {"stride": (1, -2)}, ["stride", "(1, -2)"]),
    ("three strides", [nn.conv2d], (X, W), {"stride": (1, 2, 3)}, ["stride", "(1, 2, 3)"]),
    ("stride is not an integer", [nn.conv2d], (X, W), {"stride": 1.5}, ["stride", "1.5"]),
    ("vast stride", [nn.conv2d], (X, W), {"stride": 2**65}, ["stride", str(2**65)]),
    ("zero dilation", [nn.conv2d], (X, W), {"dilation": 0}, ["dilation", "0"]),
    ("vast dilation", [nn.conv2d], (X, W), {"dilation": 2**62}, [str(2**62)]),
    ("negative padding", [nn.conv2d], (X, W), {"padding": (0, -1)}, ["padding", "-1"]),
    ("unknown padding", [nn.conv2d], (X, W), {"padding": "full"}, ["padding", "'full'", "'same'"]),
    ("vast padding", [nn.conv2d], (X, W), {"padding": 2**62}, ["padding", str(2**62)]),
    ("kernel larger than the image", [nn.conv2d], (X, np.ones((6, 4, 6, 2))), {}, ["weight", "6", "5"]),
    ("unknown format", NN, (X, W), {"data_format": "NCWH"}, ["data_format", "'NCWH'", "'NHWC'"]),
    ("zero window", POOLS, (X, 0), {}, ["kernel_size", "0"]),
    ("window is text", POOLS, (X, "2"), {}, ["kernel_size", "'2'"]),
    ("window larger than the image", POOLS, (X, 6), {}, ["kernel_size", "6", "5"]),
    ("zero stride", POOLS, (X, 2), {"stride": 0}, ["stride", "0"]),
    ("negative stride", POOLS, (X, 2), {"stride": -1}, ["stride", "-1"]),
    ("negative padding", POOLS, (X, 2), {"padding": -1}, ["padding", "-1"]),
    ("padding beyond half", POOLS, (X, 2), {"padding": 2}, ["padding", "2"]),
    ("zero dilation", [nn.max_pool2d], (X, 2), {"dilation": 0}, ["dilation", "0"]),
    ("vast window", POOLS, (X, 2**62), {}, ["kernel_size", str(2**62)]),
    ("vast stride", POOLS, (X, 2), {"stride": 2**65}, ["stride", str(2**65)]),
    ("zero divisor", [nn.avg_pool2d], (X, 2), {"divisor_override": 0}, ["divisor_override", "0"]),
    ("no threads", [*SIGNAL, *FILTERS], (E, K), {"threads": 0}, ["threads", "0"]),
    ("threads is text", [nn.conv2d], (X, W), {"threads": "all"}, ["threads", "'all'"]),
    ("no threads", POOLS, (X, 2), {"threads": -1}, ["threads", "-1"]),
]  # fmt: skip

CASES = [(what, f, args, kwargs, words) for what, functions, args, kwargs, words in WRONG for f in functions]


@pytest.mark.parametrize("what, function, args, kwargs, words", CASES, ids=[f"{c[1].__name__}: {c[0]}" for c in CASES])
def test_wrong_argument(what, function, args, kwargs, words):
    with pytest.raises((ValueError, TypeError)) as error:
        function(*args, **kwargs)
    for word in words:
        assert word in str(error.value), f"{word!r} is not in: {error.value}"


NO_NUMBERS = [
    np.array("text"),
    np.array(None),
    np.array(0, "M8[s]"),
    np.array(0, "m8[s]"),
    np.zeros((), "V4"),
    np.array(b"x"),
]


@pytest.mark.parametrize("scalar", NO_NUMBERS, ids=lambda a: a.dtype.name)
@pytest.mark.parametrize("function", [*SIGNAL, *NDIMAGE, *NN], ids=lambda f: f.__name__)
def test_no_numbers(function, scalar):
    sound = {nn.conv2d: (X, W), **dict.fromkeys(POOLS, (X, 2)), **dict.fromkeys(FILTERS_1D, (E, K[0]))}.get(
        function, (E, K)
    )
    for place, good in enumerate(sound):
        if np.ndim(good):
            bad = np.broadcast_to(scalar, good.shape)
            with pytest.raises((TypeError, ValueError), match=r"in1|in2|input|weights?") as error:
                function(*sound[:place], bad, *sound[place + 1 :])
            assert str(scalar.dtype) in str(error.value)


@pytest.mark.parametrize("function", [*NDIMAGE, *POOLS], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["float16", "longdouble"])
def test_floats_that_are_not_filtered(function, dtype):
    if function in POOLS and dtype == "float16":
        return  # lies in memory, and is summed in float32
    dtype = np.dtype(dtype)
    args = (X.astype(dtype), 2) if function in POOLS else (E.astype(dtype), K[0] if function in FILTERS_1D else K)
    with pytest.raises(TypeError, match=f"input.*{dtype.name}"):
        function(*args)


# -- out ----------------------------------------------------------------------------------------

CALLS = {
    **{f: (E, K) for f in SIGNAL},
    nn.conv2d: (X, W),
    nn.max_pool2d: (X, 2),
    nn.avg_pool2d: (X, 2),
}


def overlapping(function: Callable) -> tuple[tuple, np.ndarray]:
    """Arguments, one of which shares memory with the array that is to take the result."""
    args = CALLS[function]
    shape = function(*args).shape
    memory = np.ones(max(int(np.prod(shape)), args[0].size) + 1)
    return (memory[1:][: args[0].size].reshape(args[0].shape), *args[1:]), memory[: int(np.prod(shape))].reshape(shape)


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_unfit_out(function):
    args = CALLS[function]
    good = function(*args)
    read_only = np.full_like(good, 7)
    read_only.flags.writeable = False
    repeating = np.lib.stride_tricks.as_strided(np.full(4096, 7.0), good.shape, (*good.strides[:-1], 0))
    unfit = [
        ("shape", np.full((*good.shape[:-1], good.shape[-1] + 1), 7.0)),
        ("shape", np.full((1, *good.shape), 7.0)),
        ("dtype", np.full(good.shape, 7, "float32")),
        ("dtype", np.full(good.shape, 7, good.dtype.newbyteorder("S"))),
        ("writeable|read-only|writable", read_only),
        ("memory|strides", repeating),
    ]
    for word, out in unfit:
        with pytest.raises((ValueError, TypeError), match=f"(?s)out.*({word})"):
            function(*args, out=out)
        assert (out == 7).all()
    for out in ([0.0], "float64", np.float64):
        with pytest.raises((ValueError, TypeError), match="out"):
            function(*args, out=out)


@pytest.mark.parametrize("function", CALLS, ids=lambda f: f.__name__)
def test_out_that_overlaps_the_input(function):
    args, out = overlapping(function)
    with pytest.raises(ValueError, match="out must not overlap"):
        function(*args, out=out)
    assert (out == 1).all()
    with pytest.raises(ValueError, match="out must not overlap"):
        function(*args, out=out[::-1])
    assert (out == 1).all()


def test_out_is_untouched_by_other_errors():
    for function, args in CALLS.items():
        out = np.full(function(*args).shape, 7.0)
        with pytest.raises((ValueError, TypeError)):
            function(*args, out=out, threads=0)
        assert (out == 7).all()


def test_indices_that_do_not_fit():
    best = np.full((2, 4, 2, 3), 7.0)
    for indices in (np.zeros((2, 4, 2, 3), np.int32), np.zeros((2, 4, 2, 2), np.int64)):
        with pytest.raises((ValueError, TypeError), match=r"out|indices"):
            nn.max_pool2d(X, 2, return_indices=True, out=(best, indices))
        assert (best == 7).all()


@pytest.mark.parametrize("function", NDIMAGE, ids=lambda f: f.__name__)
def test_unfit_output(function):
    weights = K[0] if function in FILTERS_1D else K
    read_only = np.full(E.shape, 7.0)
    read_only.flags.writeable = False
    for word, output in [
        ("shape", np.full((5, 7), 7.0)),
        ("writ", read_only),
        ("dtype", np.full(E.shape, 7, "float16")),
    ]:
        with pytest.raises((ValueError, TypeError), match=f"output.*{word}"):
            function(E, weights, output=output)
        assert (output == 7).all()
    with pytest.raises(ValueError, match=r"output.*complex"):
        function(E + 1j, weights, output=np.full(E.shape, 7.0))


# -- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, -3, 1.5, "2", True, None, [2]], ids=repr)
def test_set_num_threads(threads):
    before = fastconv.get_num_threads()
    with pytest.raises((ValueError, TypeError), match="threads"):
        fastconv.set_num_threads(threads)
    assert fastconv.get_num_threads() == before


def test_use():
    for wrong, words in [
        ({"engine": "gpu"}, r"engine.*'gpu'"),
        ({"engine": "cython", "threads": 0}, r"threads.*0"),
        ({"precision": "high"}, r"precision.*'high'"),
    ]:
        with pytest.raises(ValueError, match=words):
            fastconv.use(**wrong)  # at once
    from fastconv.config import current_engine

    assert current_engine() == "auto"  # the engine that came with the wrong threads is not in force


def test_ndimage_errors_are_also_runtime_errors():
    """Programs written for SciPy catch what it raises."""
    for kwargs in ({"mode": "symm"}, {"output": np.zeros((1, 1))}):
        with pytest.raises(RuntimeError):
            ndimage.correlate(E, K, **kwargs)


@pytest.mark.parametrize("name", ["gaussian_filter", "uniform_filter", "maximum_filter", "median_filter"])
def test_wrong_types_are_runtime_errors_too(name):
    """As SciPy's are, for programs that catch those."""
    for error in (TypeError, RuntimeError):
        with pytest.raises(error, match="float16"):
            getattr(fastconv.ndimage, name)(np.ones(9, "float16"), 3)


LINES = ["uniform_filter1d", "maximum_filter1d", "minimum_filter1d"]
BOXES = ["uniform_filter", "maximum_filter", "minimum_filter", "grey_erosion", "grey_dilation", "median_filter"]
SIZED = {name: {"size": 3} for name in LINES + BOXES} | {"gaussian_filter1d": {"sigma": 1}, "sobel": {}, "prewitt": {}}


@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize(
    "names, arguments",
    [
        ([*LINES, "gaussian_filter1d", "sobel"], [{"axis": a} for a in (2, 2.5, -3, "a", (0,), None, np.float64(2.0))]),
        (LINES, [{"origin": o} for o in (2, -2, 2.5, 0.5, "a", (1, 2), (1,), (), None)]),
        (LINES, [{"size": n} for n in (0, -1, 2.5, 0.5, "a", (3,), (3, 3), (), None, 10**30)]),
        (BOXES, [{"origin": o} for o in (2, -2, 2.5, 0.5, "a", (1, 2, 3), (), [0, "a"], None, 1.0)]),
        (BOXES, [{"axes": a} for a in (2.5, "a", (0, 0), (0.5,))]),
        (BOXES[:3], [{"size": n} for n in ("3", 10**30, (3, 3, 3), "a")]),
        ([*LINES, *BOXES[:5], "prewitt"], [{"cval": c, "mode": "constant"} for c in ("a", [1], None, 1j)]),
        (list(SIZED), [{"input": np.ones(9, object)}]),
    ],
    ids=lambda value: value[0] if isinstance(value[0], str) else str(next(iter(value[0]))),
)
def test_exceptions_of_scipy(names, arguments, ndim):
    """What SciPy raises, or a subclass."""
    image = np.ones((6, 7)[:ndim])
    for name in names:
        for wrong in arguments:
            kwargs = {"input": image, **SIZED[name], **wrong}
            with pytest.raises(Exception) as expected:
                getattr(scipy.ndimage, name)(**kwargs)
            with pytest.raises(type(expected.value)):
                getattr(fastconv.ndimage, name)(**kwargs)


def test_output_may_be_a_list():
    """As in SciPy, the result is an array of its dtype."""
    for module in (scipy.ndimage, fastconv.ndimage):
        result = module.uniform_filter([2, 8, 0], 3, output=[0, 0, 0])
        assert result.tolist() == [4, 3, 2]
        assert result.dtype == np.array([0]).dtype
