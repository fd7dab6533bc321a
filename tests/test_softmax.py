"""Softmax, its logarithm and their gradients on every engine, against their formulas in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from cases import layouts

import fastconv
from fastconv import nn
from fastconv.nn import grad
from fastconv.plan import plan_for
from fastconv.problem import SoftmaxProblem
from fastconv.reference import compute

PLAIN = ["float32", "float64"]
KINDS = ["softmax", "log_softmax"]
# Rows along the axis, of whole vectors and others, short, long, longer than what is staged at once; lanes beside it.
SHAPES = [
    ((1,), 0), ((5,), 0), ((3, 7), 1), ((3, 7), 0), ((2, 64), 1), ((2, 1000), 1), ((2, 1024), 1), ((1000, 2), 0),
    ((2, 21, 5, 9), 1), ((1, 24, 8, 8), 1), ((2, 300, 70), 1), ((2, 3, 4, 5), -2), ((2100, 70), 0), ((3, 1, 8), 1),
    ((40000,), 0), ((600, 64), 0),
]  # fmt: skip


def by_formula(kind: str, x: np.ndarray, axis: int, g: np.ndarray | None = None) -> np.ndarray:
    """The reference's result in double precision."""
    problem = SoftmaxProblem(x.shape, axis % x.ndim, "float64", kind == "log_softmax", g is not None)
    out = np.empty(x.shape)
    compute(problem, x.astype(float), None if g is None else g.astype(float), out, None, 0)
    return out


def backward(kind: str, g, x, axis, **options):
    return getattr(grad, f"{kind}_backward")(g, x, axis, **options)


def assert_close(actual: np.ndarray, desired: np.ndarray, scale: float = 0.0) -> None:
    """Equal to some units in the last place of the result, or of `scale`, the size of what it is a difference of."""
    eps = np.finfo(actual.dtype).eps
    np.testing.assert_allclose(actual, desired, rtol=20 * eps, atol=20 * eps * scale + 1e-37)


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_layouts(engine, kind, dtype):
    rng = np.random.default_rng(0)
    for shape, axis in SHAPES:
        x, g = (rng.normal(size=shape) * 3).astype(dtype), rng.normal(size=shape).astype(dtype)
        desired, slopes = by_formula(kind, x, axis), by_formula(kind, x, axis, g)
        scale = 10.0 if kind == "log_softmax" else 0.0
        sums = 3 * np.sqrt(shape[axis])
        for array, of in ((x, g), (np.asfortranarray(x), g), (x, np.asfortranarray(g))):
            assert_close(getattr(nn, kind)(array, axis), desired, scale)
            assert_close(backward(kind, of, array, axis), slopes, sums)
    x = x[:, :30].reshape(6, 4, 5, 150)[:, :, :, :11]
    desired = by_formula(kind, x, 2)
    for name, view in layouts(x).items():
        np.testing.assert_allclose(getattr(nn, kind)(view, 2), desired, rtol=1e-5, atol=1e-6, err_msg=name)
    whole = np.full((12, 4, 5, 33), 7.0, dtype)
    assert getattr(nn, kind)(x, 2, out=whole[::-2, :, ::-1, ::3]) is not None
    np.testing.assert_allclose(whole[::-2, :, ::-1, ::3], desired, rtol=1e-5, atol=1e-6)
    assert (whole[::2] == 7).all() and (whole[..., 1] == 7).all()


@pytest.mark.parametrize("kind", KINDS)
def test_in_place_and_again(engine, kind):
    rng = np.random.default_rng(1)
    for shape, axis in (((3, 70, 20), 1), ((4, 130), 1), ((5, 64), 0), ((9000,), 0)):
        for _ in range(3):
            x, g = rng.normal(size=shape).astype("f4"), rng.normal(size=shape).astype("f4")
            desired, slopes = getattr(nn, kind)(x, axis), backward(kind, g, x, axis)
            y = x.copy()
            assert getattr(nn, kind)(y, axis, out=y) is y
            np.testing.assert_array_equal(y, desired)
            for out in (h := g.copy(), z := x.copy()):
                assert backward(kind, h if out is h else g, z if out is z else x, axis, out=out) is out
                np.testing.assert_array_equal(out, slopes)


@pytest.mark.parametrize("kind", KINDS)
def test_halves(engine, kind):
    x = np.random.default_rng(2).normal(size=(3, 40, 7)).astype("float16")
    g = np.cos(x)
    for axis in (0, 1, 2):
        actual = getattr(nn, kind)(x, axis)
        assert actual.dtype == "float16"
        np.testing.assert_allclose(actual, by_formula(kind, x, axis), rtol=2**-10, atol=1e-6)
        np.testing.assert_allclose(backward(kind, g, x, axis), by_formula(kind, x, axis, g), rtol=2**-10, atol=1e-6)


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_stays_in_its_line(engine, kind, dtype):
    x = np.random.default_rng(3).normal(size=(7, 9, 40)).astype(dtype)
    x[:, 2, 5], x[1, 3, 6], x[2, 4, 7] = -np.inf, np.nan, np.inf
    x[3, 5, 8], x[4, 6, 9], x[5, 7, 10] = -np.inf, 1e30, -1e30
    g = np.ones_like(x)
    for axis in (0, 1, 2):
        desired = by_formula(kind, x, axis)
        actual, slopes = getattr(nn, kind)(x, axis), backward(kind, g, x, axis)
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(desired))
        np.testing.assert_allclose(actual, desired, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(np.isnan(slopes), np.isnan(by_formula(kind, x, axis, g)))
    assert np.isnan(getattr(nn, kind)(np.full(5, -np.inf), 0)).all()


def test_large_and_small_numbers(engine):
    assert nn.softmax(np.array([1000.0, 1000.0, -1000.0])).tolist() == [0.5, 0.5, 0.0]
    assert nn.log_softmax(np.array([0.0, -1000.0])).tolist() == [0.0, -1000.0]
    many = nn.softmax(np.zeros((100000, 2), "f4"), 0)
    np.testing.assert_allclose(many, 1e-5, rtol=1e-6)


def test_threads_share_the_work(engine):
    x = np.random.default_rng(4).normal(size=(17, 64, 113)).astype("f4")
    for axis in (0, 1, 2):
        np.testing.assert_array_equal(nn.softmax(x, axis, threads=2), nn.softmax(x, axis, threads=1))


def test_plans_tell_what_runs():
    plan = fastconv.plan(nn.softmax, np.ones((3, 4), "float32"))
    assert str(plan.problem) == "softmax i3x4 axis1 float32" and plan.implementation == "cython:softmax"
    backward = SoftmaxProblem((3, 4), 0, "float64", True, True)
    assert str(backward) == "log_softmax backward i3x4 axis0 float64"
    refused = dict(plan_for(SoftmaxProblem((3,), 0, "longdouble")).refusals)["cython:softmax"]
    assert "does not read or write" in refused
