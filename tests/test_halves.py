"""The 16-bit floating-point types as elements in memory: float16, and bfloat16 where ml_dtypes is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from fastconv.plan import plan_for
from fastconv.problem import ConvProblem

HALVES = [np.dtype(np.float16)]
if importlib.util.find_spec("ml_dtypes"):
    from ml_dtypes import bfloat16

    HALVES.append(np.dtype(bfloat16))

half = pytest.mark.parametrize("dtype", HALVES, ids=lambda dtype: dtype.name)
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # signalling NaN
PATTERNS = np.arange(2**16, dtype=np.uint16)


def copied(engine: str, x: np.ndarray, dtype: np.dtype, acc: str, step: int = 1, filters: int = 1) -> np.ndarray:
    """The elements of x as elements of a dtype that lie `step` apart, by a kernel of one tap of weight 1 that sums in `acc`."""
    problem = ConvProblem(
        in_shape=x.shape, kernel_shape=(1,), out_shape=x.shape, in_dtype=x.dtype.name, kernel_dtype=acc, acc=acc,
        out_dtype=dtype.name, pad=(0,), boundary=("fill",), stride=(1,), dilation=(1,), filters=filters,
    )  # fmt: skip
    out = np.full((1, filters, x.size * abs(step)), 7, dtype)[..., ::step][..., : x.size]
    plan_for(problem, engine).execute(x[None, None], np.ones((filters, 1, 1), acc), out)
    return out[0, -1]


def bits(x: np.ndarray) -> np.ndarray:
    """Bit patterns, of NaN always the same; a sum makes 0 of -0."""
    wide = x.astype(np.float64)
    return np.where(np.isnan(wide), -1, np.where(wide == 0, 0, x.view(f"i{x.itemsize}").astype(np.int64)))


@half
@pytest.mark.parametrize("acc", ["float32", "float64"])
@pytest.mark.parametrize("filters", [1, 8])
def test_every_half_is_read(engine, dtype, acc, filters):
    patterns = np.random.default_rng(1).permutation(PATTERNS).view(dtype)
    for x in (patterns, patterns[::-1], patterns[1::2], patterns[::3], patterns[::-7], patterns[:5]):
        y = copied(engine, x, np.dtype(acc), acc, filters=filters)
        np.testing.assert_array_equal(bits(y), bits(x.astype(acc)))


@half
@pytest.mark.parametrize("acc", ["float32", "float64"])
@pytest.mark.parametrize("filters", [1, 8])
def test_numbers_are_rounded_to_the_nearest_half(engine, dtype, acc, filters):
    """Exact halves, the middles between two, what lies just beside these, subnormal numbers, those that overflow."""
    exact = np.sort(PATTERNS.view(dtype).astype(acc))
    exact = exact[np.isfinite(exact)]
    middles = exact[1:] + (exact[:-1] - exact[1:]) / 2
    beside = [np.nextafter(middles, np.asarray(end, acc)) for end in (-np.inf, np.inf)]
    rng = np.random.default_rng(2)
    many = [rng.normal(scale=scale, size=5000).astype(acc) for scale in (1e-7, 1e-5, 1, 1e4)]
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 65519.99, 65520, 3.39e38, -3.4e38], acc)
    x = np.concatenate([exact, middles, *beside, *many, special])
    with np.errstate(over="ignore"):
        desired = nearest(x, dtype)
    for step in (1, 2, -3):
        np.testing.assert_array_equal(bits(copied(engine, x, dtype, acc, step, filters)), bits(desired))


def nearest(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The nearest number of a 16-bit type, of two the one that ends with 0; found among all there are."""
    positive = PATTERNS[: 2**15].view(dtype).astype(np.float64)
    ends = int(np.argmax(np.isinf(positive)))  # the pattern of infinity: as if numbers went on
    positive = np.append(positive[:ends], 2 * positive[ends - 1] - positive[ends - 2])
    size = np.abs(x.astype(np.float64))
    above = np.clip(np.searchsorted(positive, size), 1, ends)
    middle = positive[above - 1] + (positive[above] - positive[above - 1]) / 2
    up = (size > middle) | ((size == middle) & (above % 2 == 0))
    pattern = np.where(np.isnan(x), ends + 1, np.where(up, above, above - 1))
    return (pattern + np.where(np.signbit(x), 2**15, 0)).astype(np.uint16).view(dtype)
