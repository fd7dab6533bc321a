"""The assertions that the other tests rest on: they fail when they should."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from cases import values

from fastconv.problem import ConvProblem
from fastconv.testing import assert_identical, assert_matches, assert_matches_reference, magnitude, tolerance

A = np.array([1.0, -2.0, np.nan, np.inf, -np.inf, 0.0])


def changed(array: np.ndarray, place: int, value: float) -> np.ndarray:
    result = array.copy()
    result[place] = value
    return result


def test_equal_arrays_match():
    assert_matches(A, A.copy())
    assert_identical(A, A.copy())


@pytest.mark.parametrize(
    "other",
    [
        A.astype("float32"),
        A[None],
        A[:5],
        changed(A, 0, np.nan),
        changed(A, 2, 0.0),
        changed(A, 3, -np.inf),
        changed(A, 3, 1e308),
        changed(A, 0, np.inf),
        changed(A, 1, 2.0),
        changed(A, 0, 1 + 1e-14),
        changed(A, 5, 1e-300),
    ],
    ids=str,
)
def test_different_arrays_do_not_match(other):
    for check in (assert_matches, assert_identical):
        with pytest.raises(AssertionError):
            check(other, A)


def test_rounding_is_allowed_and_no_more():
    one = np.ones(3, "float32")
    assert_matches(one + np.float32(2e-7), one, taps=2)
    with pytest.raises(AssertionError, match="off by"):
        assert_matches(one + np.float32(2e-6), one, taps=2)
    assert_matches(one + np.float32(2e-6), one, scale=10.0, taps=2)  # terms that cancelled
    assert_matches(one + np.float32(2e-6), one, taps=40)
    with pytest.raises(AssertionError):
        assert_matches(np.array([3]), np.array([4]), scale=1e9, taps=100)  # integers are exact


def test_complex_numbers_match_where_they_are_finite():
    assert_matches(np.array([complex(np.nan, 1), 2j]), np.array([complex(1, np.nan), 2j]))
    with pytest.raises(AssertionError):
        assert_matches(np.array([1j, 2j]), np.array([complex(1, np.nan), 2j]))


def test_tolerance_grows_with_the_work():
    assert tolerance("int32", 1000) == 0
    assert 0 < tolerance("float64", 9) < tolerance("float64", 900) < tolerance("float32", 1) < tolerance("complex64", 1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_one_wrong_tap_is_seen(dtype):
    """The bound is far below what any mistake makes, even with a thousand taps."""
    x, w = values((1, 1, 60, 60), dtype), values((1, 1, 31, 32), dtype, 1)
    p = ConvProblem((60, 60), (31, 32), (30, 29), *[dtype] * 4, (0, 0), ("fill",) * 2, (1, 1), (1, 1))
    result = scipy.signal.correlate(x[0, 0], w[0, 0].conj(), "valid", "direct")[None, None]
    assert_matches_reference(p, result, x, w)
    wrong = w.copy()
    wrong[0, 0, 30, 31] = 0
    with pytest.raises(AssertionError):
        assert_matches_reference(p, result, x, wrong)
    with pytest.raises(AssertionError):
        assert_matches_reference(p, result, x, w[:, :, ::-1, ::-1])


def test_magnitude_is_the_sum_of_magnitudes():
    x, w = values((1, 1, 9), "complex64"), values((2, 1, 4), "float32", 1)
    p = ConvProblem(
        (9,),
        (4,),
        (6,),
        "complex64",
        "float32",
        "complex64",
        "complex64",
        (0,),
        ("fill",),
        (1,),
        (1,),
        filters=2,
        bias=True,
    )
    expected = [np.convolve(np.abs(x[0, 0]), np.abs(k[0, ::-1]), "valid") + b for k, b in zip(w, (3, 5), strict=True)]
    np.testing.assert_allclose(magnitude(p, x, w, [-3, 5])[0], expected, rtol=1e-6)
