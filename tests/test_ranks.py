"""Rank filters against `scipy.ndimage`, and against sorted windows where SciPy is not to be trusted."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from cases import FLOATS, INTEGERS, integers, layouts, rng, values
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv.algorithms import network
from fastconv.algorithms.rank import Rank
from fastconv.engines import cython_cpu, numba_cpu
from fastconv.problem import WindowProblem
from fastconv.reference import window
from fastconv.testing import assert_identical

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]
PAD_MODES = {"reflect": "symmetric", "constant": "constant", "nearest": "edge", "mirror": "reflect", "wrap": "wrap"}
DTYPES = ["bool", *INTEGERS, *FLOATS]
# Windows of both strategies: selection networks, and sets of sorted places.
WINDOWS = [
    ((40,), 3),
    ((41,), 8),
    ((300,), 101),
    ((5,), 8),
    ((13, 17), (3, 5)),
    ((12, 16), (4, 2)),
    ((9, 21), (1, 4)),
    ((21, 9), (5, 1)),
    ((1, 1), (3, 2)),
    ((37, 300), (3, 3)),
    ((40, 45), (23, 25)),
    ((30, 60), (41, 1)),
    ((3, 200), 5),
    ((200, 3), 5),
    ((7, 9, 10), (3, 2, 4)),
    ((12, 14, 3), (3, 4, 1)),
    ((3, 4, 5, 6), (2, 3, 1, 4)),
]


def sorted_windows(image: np.ndarray, size: tuple[int, ...], mode: str = "reflect", cval: float = 0) -> np.ndarray:
    """The values of each element's window in order; NaN last."""
    filled = {"constant_values": cval} if mode == "constant" else {}
    padded = np.pad(image, [(n // 2, (n - 1) // 2) for n in size], PAD_MODES[mode], **filled)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)
    return np.sort(windows.reshape(*image.shape, -1), axis=-1)


def full(size, ndim: int) -> tuple[int, ...]:
    return (size,) * ndim if isinstance(size, int) else size


# -- networks -----------------------------------------------------------------------------------


def run(program: network.Program, sources: list[np.ndarray], results: int) -> list[np.ndarray]:
    """What a program makes of its sources."""
    memory = {(network.SOURCE, i): source for i, source in enumerate(sources)}
    for operation, a, b, low, high in program.instructions:
        x, y = memory[a], memory[b]
        if operation != network.MAXIMUM:
            memory[low] = x if operation == network.COPY else np.minimum(x, y)
        if operation in (network.MAXIMUM, network.EXCHANGE):
            memory[high] = np.maximum(x, y)
    assert {number for kind, number in memory if kind == network.SLOT} <= set(range(program.slots))
    return [memory[network.RESULT, i] for i in range(results)]


@pytest.mark.parametrize(
    "rows, cols", [(1, 1), (1, 2), (2, 1), (3, 3), (4, 6), (5, 5), (1, 9), (7, 3), (1, 40), (9, 9)]
)
def test_selection_networks(rows, cols):
    """By the 0-1 principle a network that is right for all 0-1 inputs is right; here are many of them, and random ones."""
    n = rows * cols
    inputs = np.concatenate(
        [rng(1).integers(0, 2, (n, 400)), rng(2).integers(0, n, (n, 400)), np.tri(n, n + 1, -1, int)], 1
    )
    for rank in sorted({0, n // 4, n // 2, n - 1}):
        selection = network.selection(rows, cols, rank)
        used = sorted(selection.used)
        windows: list = [None] * n
        for j in range(cols):
            for place, row in zip(
                used, run(selection.columns, list(inputs[j * rows :][:rows]), len(used)), strict=True
            ):
                windows[j * rows + place] = row
        (found,) = run(selection.window, windows, 1)
        np.testing.assert_array_equal(found, np.sort(inputs, 0)[rank])


def test_the_network_of_nine():
    """As few minima and maxima as published networks have: 6 for a column, at most 14 for the rest."""
    selection = network.selection(3, 3, 4)
    assert (selection.columns.cost, selection.window.cost) <= (6, 14)


# -- both strategies, on both CPU engines -------------------------------------------------------


@pytest.mark.parametrize("by_programs", [True, False], ids=["programs", "set"])
@pytest.mark.parametrize("cpu", [cython_cpu, numba_cpu], ids=["cython", "numba"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_strategies(cpu, dtype, by_programs):
    image = values((13, 70), dtype)
    inside = rng(3).integers(0, 2, (4, 5)).astype(bool)
    for shape, footprint, rule, acc, out in [
        (image.shape, np.ones((3, 5), bool), "reflect", dtype, dtype),
        (image.shape, inside, "fill", dtype, dtype),
        (image.shape, np.ones((7, 4), bool), "wrap", "float64", "int16"),
        ((5, 13, 14), np.ones((3, 2, 3), bool), "mirror", dtype, dtype),
        ((910,), np.ones(9, bool), "nearest", dtype, "float64"),
    ]:
        x, rank = image.reshape(shape), int(footprint.sum()) // 3
        pad = tuple(n // 2 for n in footprint.shape)
        problem = WindowProblem(
            "rank", shape, footprint.shape, dtype, acc, out, pad, (rule,) * x.ndim, footprint.tobytes(), rank
        )
        executor = Rank(problem, cpu)
        executor.by_programs = by_programs
        actual, desired = np.zeros(shape, out), np.zeros(shape, out)
        executor(x, None, actual, None, 1, 2)
        window(problem, x, None, desired, 1)
        assert_identical(actual, desired)


@pytest.mark.parametrize("cpu", [cython_cpu, numba_cpu], ids=["cython", "numba"])
def test_sorting_keys_of_64_bits(cpu):
    """Keys that differ only in low bits, in groups far apart, are sorted in full."""
    near = np.float64(1.0) + np.arange(400)[::-1] * 2.0**-52
    for data in (near, np.concatenate([near, -near, near * 2.0**60]), np.full(500, 3.5), -near):
        image = rng(4).permutation(data)
        problem = WindowProblem(
            "rank", image.shape, (51,), "float64", "float64", "float64", (25,), ("reflect",), b"", 20
        )
        executor = Rank(problem, cpu)
        executor.by_programs = False
        actual = np.zeros_like(image)
        executor(image, None, actual, None, 0, 1)
        assert_identical(actual, sorted_windows(image, (51,))[..., 20])


# -- against SciPy ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape, size", WINDOWS, ids=str)
def test_shapes(engine, shape, size, mode):
    image = values(shape, "float32")
    for rank in (1, -2):
        if np.prod(full(size, len(shape))) > 2:
            actual = fastconv.ndimage.rank_filter(image, rank, size, mode=mode, cval=0.25)
            assert_identical(actual, sorted_windows(image, full(size, len(shape)), mode, 0.25)[..., rank])
    actual = fastconv.ndimage.median_filter(image, size, mode=mode, cval=0.25)
    if max(full(size, len(shape))) < 3 * min(shape):
        assert_identical(actual, scipy.ndimage.median_filter(image, size, mode=mode, cval=0.25))


@pytest.mark.parametrize("size", [(3, 3), (15, 16)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(engine, dtype, size):
    image = values((30, 37), dtype)
    for mode in ("reflect", "wrap"):
        actual = fastconv.ndimage.median_filter(image, size, mode=mode)
        n = size[0] * size[1]
        assert_identical(actual, sorted_windows(image, size, mode)[..., n // 2])
    if dtype not in ("int64", "uint64"):  # SciPy compares them as float64
        assert_identical(
            fastconv.ndimage.percentile_filter(image, 30, size), scipy.ndimage.percentile_filter(image, 30, size)
        )


@pytest.mark.parametrize("output", ["uint8", "int16", "uint32", "int64", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64", "float32", "float64"])
def test_output_dtype(engine, dtype, output):
    image = values((9, 40), dtype) if dtype[0] != "f" else values((9, 40), dtype) * 1000
    for kind in (output, np.dtype(output), np.dtype(output).type):
        actual = fastconv.ndimage.median_filter(image, (3, 5), output=kind)
        assert_identical(actual, scipy.ndimage.median_filter(image, (3, 5), output=kind))


def test_output_dtype_of_a_signal(engine):
    """SciPy writes float64 into the memory of the float32 output."""
    signal = values((40,), "float64")
    actual = fastconv.ndimage.median_filter(signal, 5, output=np.float32)
    assert_identical(actual, fastconv.ndimage.median_filter(signal, 5).astype("float32"))


@pytest.mark.parametrize("percentile", [0, 3, 25, 50, 99, 100, -1, -20, -100, 33.3, np.float32(40)])
def test_percentiles(engine, percentile):
    image = values((20, 21), "float64")
    for size in (3, (2, 5), (1, 40)):
        actual = fastconv.ndimage.percentile_filter(image, percentile, size)
        assert_identical(actual, scipy.ndimage.percentile_filter(image, percentile, size))


@pytest.mark.parametrize("rank", [0, 1, 3, 5, -1, -2, -6])
def test_footprints(engine, rank):
    image = values((20, 21), "float32")
    cross, lopsided = np.array([[0, 1, 0], [1, 1, 1], [1, 1, 0]]), np.array([[1, 0, 1, 1, 0], [0, 0, 1, 1, 1]])
    for footprint in (cross, lopsided, lopsided.tolist(), lopsided.T[::-1] * 2.5):
        for mode in MODES:
            actual = fastconv.ndimage.rank_filter(image, rank, footprint=footprint, mode=mode, cval=0.5)
            assert_identical(actual, scipy.ndimage.rank_filter(image, rank, footprint=footprint, mode=mode, cval=0.5))


def test_footprint_of_a_signal_has_gaps(engine):
    """SciPy 1.17 takes it for a full one."""
    signal = values((30,), "float64")
    actual = fastconv.ndimage.median_filter(signal, footprint=[1, 0, 1, 0, 1])
    desired = scipy.ndimage.median_filter(signal[None], footprint=[[1, 0, 1, 0, 1]])[0]
    assert_identical(actual, desired)


@pytest.mark.parametrize("cval", [np.nan, np.inf, -2.5, 7, 300, -1, True, np.float32(1.5)], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
def test_cval(engine, dtype, cval):
    image = integers((9, 20), dtype)
    actual = fastconv.ndimage.rank_filter(image, 2, (4, 3), mode="constant", cval=cval)
    if cval == cval or dtype[0] != "f":
        assert_identical(actual, scipy.ndimage.rank_filter(image, 2, (4, 3), mode="constant", cval=cval))
    else:  # SciPy leaves the place of NaN undefined
        padded = np.pad(image, [(2, 1), (1, 1)], constant_values=cval)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (4, 3)).reshape(9, 20, -1)
        assert_identical(actual, np.sort(windows, -1)[..., 2])
    signal, number = image[0], cval if dtype[0] == "f" or np.isfinite(cval) else 3
    if number == number:
        actual = fastconv.ndimage.rank_filter(signal, 1, 4, mode="constant", cval=number)
        assert_identical(actual, scipy.ndimage.rank_filter(signal, 1, 4, mode="constant", cval=number))


@pytest.mark.parametrize("size", [(3, 3), (9, 14)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_is_larger_than_all_numbers(engine, dtype, size):
    image = values((30, 40), dtype)
    image[2:5, 3:9], image[7, 7], image[7, 9], image[29, 39] = np.nan, np.inf, -np.inf, -np.nan
    image[11, 5:9] = -0.0, 0.0, -0.0, 0.0
    order = sorted_windows(image, size)
    for rank in (1, size[0] * size[1] // 2, -2):
        np.testing.assert_array_equal(fastconv.ndimage.rank_filter(image, rank, size), order[..., rank])


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_64_bit_integers_are_compared_exactly(engine, dtype):
    image = np.array(2**62, dtype) + rng(5).integers(0, 50, (12, 13)).astype(dtype)
    assert_identical(fastconv.ndimage.median_filter(image, 3), sorted_windows(image, (3, 3))[..., 4])


def test_origin(engine):
    image = values((12, 14), "float32")
    for origin in [(0, 0), (1, -1), (-2, 1), [1, 0], 1]:
        actual = fastconv.ndimage.rank_filter(image, 4, (5, 4), origin=origin)
        assert_identical(actual, scipy.ndimage.rank_filter(image, 4, (5, 4), origin=origin))
        assert_identical(
            fastconv.ndimage.median_filter(image[0], 5, origin=1), scipy.ndimage.median_filter(image[0], 5, origin=1)
        )


@pytest.mark.parametrize("axes", [0, 1, (0,), (-1,), (0, 2), (2, 0), (1, -1), (2, 1, 0), ()], ids=str)
def test_axes(engine, axes):
    image = values((6, 7, 8), "float32")
    n = len(axes) if isinstance(axes, tuple) else 1
    actual = fastconv.ndimage.median_filter(image, (3, 2, 4)[:n], axes=axes)
    assert_identical(actual, scipy.ndimage.median_filter(image, (3, 2, 4)[:n], axes=axes))
    origin = (-1, 0, 1)[:n]
    actual = fastconv.ndimage.rank_filter(image, -1, (3, 2, 4)[:n], axes=axes, origin=origin, mode="nearest")
    assert_identical(
        actual, scipy.ndimage.rank_filter(image, -1, (3, 2, 4)[:n], axes=axes, origin=origin, mode="nearest")
    )


def test_a_mode_for_each_axis_of_an_extreme(engine):
    image = values((9, 10), "float32")
    for rank in (0, -1):
        actual = fastconv.ndimage.rank_filter(image, rank, 3, mode=["wrap", "nearest"])
        assert_identical(actual, scipy.ndimage.rank_filter(image, rank, 3, mode=["wrap", "nearest"]))


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_layouts(engine, dtype):
    image = integers((13, 40), dtype)
    desired = scipy.ndimage.median_filter(image, (4, 3), mode="mirror")
    for layout, view in layouts(image).items():
        assert_identical(fastconv.ndimage.median_filter(view, (4, 3), mode="mirror"), desired, layout)
    for layout, output in layouts(np.full(image.shape, 77, dtype)).items():
        if layout != "read-only":
            assert fastconv.ndimage.median_filter(image, (4, 3), None, output, "mirror") is output
            np.testing.assert_array_equal(output, desired, err_msg=f"output {layout}")


def test_output_may_be_the_input(engine):
    image = values((11, 40), "float32")
    desired = scipy.ndimage.median_filter(image, 3)
    data = image.copy()
    assert fastconv.ndimage.median_filter(data, 3, output=data) is data
    assert_identical(data, desired)


def test_empty_and_zero_dimensional(engine):
    for shape in [(0,), (0, 4), (4, 0)]:
        assert_identical(fastconv.ndimage.median_filter(np.zeros(shape), 3), np.zeros(shape))
    assert_identical(fastconv.ndimage.median_filter(np.array(3.5), 3), np.array(3.5))
    assert fastconv.ndimage.median_filter([[3, 1, 2]], 3).tolist() == [[3, 2, 2]]


@pytest.mark.parametrize("size", [3, 15])
def test_threads_do_not_change_the_result(engine, size):
    image = values((133, 170), "float32")
    desired = fastconv.ndimage.median_filter(image, size, threads=1)
    for threads in (2, 3, 5):
        assert_identical(fastconv.ndimage.median_filter(image, size, threads=threads), desired)


BAD = [
    (dict(), "size or footprint"),
    (dict(size=0), "size"),
    (dict(size=-1), "size"),
    (dict(size=2.5), "size"),
    (dict(size=(3, 3, 3)), "size"),
    (dict(footprint=np.zeros((3, 3))), "footprint"),
    (dict(footprint=np.ones(3)), "footprint"),
    (dict(size=3, mode="foo"), "mode"),
    (dict(size=3, mode=["reflect", "wrap"]), "mode"),
    (dict(size=3, origin=2), "origin"),
    (dict(size=3, axes=(0, 0)), "axes"),
    (dict(size=3, output=np.zeros(3)), "output"),
    (dict(size=3, output=np.complex64), "output"),
    (dict(size=3, cval=1j, mode="constant"), "cval"),
    (dict(size=3, cval="a", mode="constant"), "cval"),
]


@pytest.mark.parametrize("arguments, name", BAD, ids=lambda value: str(value)[:40])
def test_bad_input(arguments, name):
    """What SciPy rejects is rejected with the same type of exception, and the argument's name."""
    image = values((9, 10), "float64")
    with pytest.raises(Exception) as theirs:
        scipy.ndimage.median_filter(image, **arguments)
    with pytest.raises(type(theirs.value), match=name):
        fastconv.ndimage.median_filter(image, **arguments)


def test_bad_ranks_and_dtypes():
    image = values((9, 10), "float64")
    for rank, error in [(9, RuntimeError), (-10, RuntimeError), (1.5, TypeError)]:
        with pytest.raises(error, match="rank"):
            fastconv.ndimage.rank_filter(image, rank, 3)
    for percentile, error in [(101, RuntimeError), (-101, RuntimeError), (np.nan, ValueError), ("a", TypeError)]:
        with pytest.raises(error, match="percentile"):
            fastconv.ndimage.percentile_filter(image, percentile, 3)
    for dtype in ("complex64", "float16", "longdouble"):
        with pytest.raises(TypeError, match="input"):
            fastconv.ndimage.median_filter(image.astype(dtype), 3)


def test_size_beside_a_footprint_warns():
    image = values((9, 10), "float64")
    for _ in range(3):  # calls seen before, too
        with pytest.warns(UserWarning, match="ignoring size") as caught:
            actual = fastconv.ndimage.median_filter(image, 5, footprint=[[1, 1, 1]])
        assert caught[0].filename == __file__
    assert_identical(actual, fastconv.ndimage.median_filter(image, (1, 3)))


@given(data=st.data())
def test_any(engine, data):
    ndim = data.draw(st.integers(1, 3))
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * ndim))
    size = data.draw(st.tuples(*[st.integers(1, 5)] * ndim))
    image = integers(
        shape, data.draw(st.sampled_from(["uint8", "int16", "float32", "float64"])), data.draw(st.integers(0, 99))
    )
    rank = data.draw(st.integers(-int(np.prod(size)), int(np.prod(size)) - 1))
    origin = tuple(data.draw(st.integers(-(k // 2), (k - 1) // 2)) for k in size)
    arguments = dict(size=size, mode=data.draw(st.sampled_from(MODES)), cval=2.0, origin=origin)
    actual = fastconv.ndimage.rank_filter(image, rank, **arguments)
    assert_identical(
        actual,
        scipy.ndimage.rank_filter(image[None], rank, **{**arguments, "size": (1, *size), "origin": (0, *origin)})[0],
    )
