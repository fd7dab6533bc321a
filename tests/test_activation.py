"""Activations and their gradients on every engine, against their formulas in double precision and finite differences."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cases import layouts

import fastconv
from fastconv import nn
from fastconv.engines import contract
from fastconv.nn import grad
from fastconv.plan import plan_for
from fastconv.problem import ACTIVATIONS, POWERS, TWO_PARAMETERS, ActivationProblem, ConvProblem
from fastconv.reference import activate, compute
from fastconv.validate import activation_of

KERNELS = [name for name in ACTIVATIONS if name != "gelu_tanh"] + ["hardtanh"]
# Those of two parameters, and parameters for them.
OTHERS = {"hardtanh": (-2.0, 5.0), "softplus_beta": (2.0, 15.0)}
PLAIN = ["float32", "float64"]
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-30, -1e-30, 1e30, -1e30, 3.0, -3.0, 6.0, 20.0, 88.0, -88.0, -104.0]
# Largest errors in units of the last place, against 40 digits over numbers of all magnitudes, were 4.6, of gelu in float64
# 5.8.  The argument of gelu_tanh's exponential is rounded, so its tail is right to as many more as that is large; of gelu
# the same holds for the reference.
ULPS = {"gelu_tanh": 1500, "gelu": 1000}


def numbers(n: int = 4001, seed: int = 0) -> np.ndarray:
    """float64 numbers of all magnitudes and signs, most of them where activations bend."""
    rng = np.random.default_rng(seed)
    near, wide, tiny = rng.normal(size=n) * 2, rng.uniform(-30, 30, n), np.exp(rng.uniform(-60, 4, n))
    return rng.permutation(np.concatenate([near, wide, tiny * rng.choice([-1, 1], n), SPECIAL]))


def ours(name: str, x, **options):
    """The function of a name of ACTIVATIONS."""
    if name == "gelu_tanh":
        return nn.gelu(x, "tanh", **options)
    if name == "softplus_beta":
        return nn.softplus(x, *OTHERS[name], **options)
    return getattr(nn, name)(x, *OTHERS.get(name, ()), **options)


def ours_backward(name: str, g, x, **options):
    if name == "gelu_tanh":
        return grad.gelu_backward(g, x, "tanh", **options)
    if name == "softplus_beta":
        return grad.softplus_backward(g, x, *OTHERS[name], **options)
    return getattr(grad, f"{name}_backward")(g, x, *OTHERS.get(name, ()), **options)


def by_formula(name: str, x: np.ndarray, g: np.ndarray | None = None) -> np.ndarray:
    """The reference's result in double precision."""
    parameters = OTHERS.get(name) or (ACTIVATIONS[name],)
    problem = ActivationProblem(name, x.shape, "float64", *parameters, backward=g is not None)
    out = np.empty(x.shape)
    compute(problem, x.astype(float), None if g is None else g.astype(float), out, None, 0)
    return out


def assert_close(actual: np.ndarray, desired: np.ndarray, scale=0.0, ulps: float = 8) -> None:
    """Equal to some units in the last place of the result, or of `scale`; results below normal numbers may be 0."""
    eps, tiny = np.finfo(actual.dtype).eps, np.finfo(actual.dtype).tiny
    assert (np.isnan(actual) == np.isnan(desired)).all()
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = ulps * eps * (np.abs(desired) + scale) + 200 * tiny
        wrong = ~((actual == desired) | np.isnan(desired) | (np.abs(actual - desired) <= allowed))
        wrong &= ~(np.isinf(actual) & (np.abs(desired) > np.finfo(actual.dtype).max))
    assert not wrong.any(), (actual[wrong][:4], desired[wrong][:4])


# -- functions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("name", [*ACTIVATIONS, *OTHERS])
def test_values(engine, name, dtype):
    x = numbers().astype(dtype)
    actual = ours(name, x)
    assert actual.dtype == dtype and actual.shape == x.shape
    assert_close(actual, by_formula(name, x), ulps=ULPS.get(name, 8))


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("name", [*ACTIVATIONS, *OTHERS])
def test_gradients(engine, name, dtype):
    x, g = numbers().astype(dtype), np.random.default_rng(1).normal(size=numbers().size).astype(dtype)
    # Derivatives are sums of terms that cancel near their zeros: errors are those of the terms.
    assert_close(ours_backward(name, g, x), by_formula(name, x, g), np.abs(g), ULPS.get(name, 8))


@pytest.mark.parametrize("name", [*ACTIVATIONS, *OTHERS])
def test_gradients_are_differences(engine, name):
    x = np.random.default_rng(2).uniform(-5, 5, 200)
    x = x[np.abs(np.subtract.outer(x, [0, -2, 3, -3])).min(1) > 1e-3]  # not across a bend
    g, h = np.cos(np.arange(x.size)), 1e-5
    difference = (ours(name, x + h) - ours(name, x - h)) / (2 * h)
    np.testing.assert_allclose(ours_backward(name, g, x), g * difference, atol=1e-9, rtol=1e-8)


@pytest.mark.parametrize("name", KERNELS)
def test_layouts_and_halves(engine, name):
    x = numbers(60)[: 3 * 4 * 15].reshape(3, 4, 15).astype("float32")
    g = np.random.default_rng(3).normal(size=x.shape).astype("float32")
    desired, slopes = ours(name, x), ours_backward(name, g, x)
    for layout, view in layouts(x).items():
        np.testing.assert_array_equal(ours(name, view), desired, layout)
        np.testing.assert_array_equal(ours_backward(name, g, view), slopes, layout)
    for layout, view in layouts(g).items():
        np.testing.assert_array_equal(ours_backward(name, view, x), slopes, layout)
    whole = np.full((6, 4, 45), 7.0, "float32")
    for out in (np.empty_like(x, order="F"), whole[::2, :, ::3], whole[::-2, ::-1, ::-3]):
        assert ours(name, x, out=out) is out
        np.testing.assert_array_equal(out, desired)
        assert ours_backward(name, g, x, out=out) is out
        np.testing.assert_array_equal(out, slopes)
    assert (whole[:, :, 1] == 7).all()
    for half in halves():
        with np.errstate(over="ignore"):
            stored = x.astype(half)
            expected = ours(name, stored.astype("float32")).astype(half)
        actual = ours(name, stored[:, ::-1])[:, ::-1]
        assert actual.dtype == half  # rounded once or, here, twice
        step = 2.0**-7 if half.name == "bfloat16" else 2.0**-10
        np.testing.assert_allclose(actual.astype("f4"), expected.astype("f4"), rtol=step, atol=1e-7)


def halves() -> list[np.dtype]:
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        return [np.dtype("float16")]
    return [np.dtype("float16"), np.dtype(bfloat16)]


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_in_place_and_again(engine, name):
    """What is remembered of a call is not applied twice where input and result are one."""
    for _ in range(3):
        x = numbers(20)
        desired = ours(name, x)
        y = x.copy()
        assert ours(name, y, out=y) is y
        np.testing.assert_array_equal(y, desired)
        g = np.cos(x)
        slopes = ours_backward(name, g, x)
        for out in (h := g.copy(), z := x.copy()):
            assert ours_backward(name, h if out is h else g, z if out is z else x, out=out) is out
            np.testing.assert_array_equal(out, slopes)
    y = x.copy()
    assert nn.relu(y, inplace=True) is y and (y == nn.relu(x))[~np.isnan(x)].all()
    view = np.concatenate([x, x])[::2]
    assert nn.silu(view, True) is view


def test_threads_share_the_work(engine):
    x = np.random.default_rng(4).normal(size=(37, 64, 113)).astype("float32")
    for view in (x, x.transpose(2, 0, 1), x[:, ::2], x[:, :, :5]):
        np.testing.assert_array_equal(nn.gelu(view, threads=2), nn.gelu(np.ascontiguousarray(view), threads=1))


def test_sizes(engine):
    for n in (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 1023, 1024, 1025, 2100):
        x = np.linspace(-4, 4, n).astype("float32")
        around = np.full(n + 40, 9, "float32")
        nn.silu(x, out=around[20 : n + 20])
        np.testing.assert_allclose(around[20 : n + 20], by_formula("silu", x), rtol=1e-6)
        assert (around[:20] == 9).all() and (around[n + 20 :] == 9).all()
        strided = np.repeat(x, 2)[::2]
        np.testing.assert_array_equal(nn.silu(strided), nn.silu(x))
    assert nn.tanh(np.float64(0.5)).shape == () and nn.softmax(np.float32(3)) == 1
    assert nn.relu([[-1.0, 2.0]]).tolist() == [[0.0, 2.0]]


def test_signed_zero_and_infinity(engine):
    for name in ("tanh", "silu", "gelu", "elu", "softsign", "mish", "leaky_relu", "hardswish", "relu"):
        assert np.signbit(ours(name, np.array([-0.0, 0.0]))).tolist() == [True, False], name
    limits = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu6": (0, 6), "elu": (-1, np.inf), "softplus": (0, np.inf)}
    for name, expected in limits.items():
        assert ours(name, np.array([-np.inf, np.inf])).tolist() == list(expected)


def test_other_parameters(engine):
    x = np.linspace(-30, 30, 101)
    np.testing.assert_allclose(nn.leaky_relu(x, 0.2), np.where(x > 0, x, 0.2 * x))
    np.testing.assert_allclose(nn.elu(x, 0.5), np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0))))
    np.testing.assert_allclose(
        nn.softplus(x, 2.0, 15.0), np.where(2 * x > 15, x, np.log1p(np.exp(np.minimum(2 * x, 50))) / 2)
    )
    np.testing.assert_allclose(nn.hardtanh(x, -2, 5), np.clip(x, -2, 5))
    difference = (nn.softplus(x + 1e-6, 2.0) - nn.softplus(x - 1e-6, 2.0)) / 2e-6
    np.testing.assert_allclose(grad.softplus_backward(np.ones_like(x), x, 2.0), difference, atol=1e-8)


@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_softmax(dim):
    x, g = np.random.default_rng(5).normal(size=(2, 4, 5, 3)) * 5, np.random.default_rng(6).normal(size=(4, 5, 3))
    axis = {None: 1}.get(dim, dim)
    assert np.allclose(nn.softmax(x, dim).sum(axis), 1) and np.allclose(
        np.exp(nn.log_softmax(x, dim)), nn.softmax(x, dim)
    )
    x = x[0]
    for function, backward in ((nn.softmax, grad.softmax_backward), (nn.log_softmax, grad.log_softmax_backward)):
        found = backward(g, x, 0)
        for at in [(0, 1, 2), (3, 4, 0), (2, 2, 2)]:
            step = np.zeros_like(x)
            step[at] = 1e-6
            difference = ((function(x + step, 0) - function(x - step, 0)) * g).sum() / 2e-6
            assert abs(found[at] - difference) < 1e-8
    assert nn.softmax([3, 5], 0, dtype="float64").dtype == np.float64


# -- epilogues and plans ------------------------------------------------------------------------


def test_the_reference_applies_activations_to_finished_sums():
    problem = ConvProblem(
        in_shape=(9,), kernel_shape=(3,), out_shape=(7,), in_dtype="float32", kernel_dtype="float32", acc="float32",
        out_dtype="float32", pad=(0,), boundary=("fill",), stride=(1,), dilation=(1,), bias=True,
        activation="leaky_relu", slope=0.2,
    )  # fmt: skip
    x, w, bias = np.arange(-4, 5.0, dtype="f4")[None, None], np.array([[[1, 2, 4]]], "f4"), np.array([0.5], "f4")
    out = np.empty((1, 1, 7), "f4")
    plan_for(problem, "reference").execute(x, w, out, bias)
    sums = np.correlate(x[0, 0], w[0, 0]) + bias
    np.testing.assert_array_equal(out[0, 0], activate(sums, "leaky_relu", 0.2))


def test_plans_tell_what_runs():
    plan = fastconv.plan(nn.gelu, np.ones((3, 4), "float32"))
    assert str(plan.problem) == "activation gelu i3x4 float32" and plan.implementation == "cython:activation"
    assert (
        "does not read or write"
        in dict(plan_for(ActivationProblem("relu", (3,), "longdouble")).refusals)["cython:activation"]
    )
    np.testing.assert_array_equal(plan(np.zeros((3, 4), "float32")), 0)


def test_names_and_codes_are_the_same_everywhere():
    header = (Path(fastconv.__file__).parent / "engines" / "cython_cpu" / "tiles_all.h").read_text()
    names = re.search(r"enum \{ NO_ACTIVATION,([^}]*)\}", header).group(1).lower().replace("\n", " ").split(",")
    assert {"": 0} | {name.strip(): code for code, name in enumerate(names, 1)} == contract.ACTIVATIONS
    assert list(contract.ACTIVATIONS)[1:] == [*ACTIVATIONS, *TWO_PARAMETERS, *POWERS]


# -- arguments ----------------------------------------------------------------------------------


def test_activation_of():
    assert activation_of(None) == ("", 0.0) and activation_of("relu") == ("relu", 0.0)
    assert activation_of("elu") == ("elu", 1.0) and activation_of(("leaky_relu", 0.2)) == ("leaky_relu", 0.2)
    assert activation_of(("elu", np.float32(2))) == ("elu", 2.0)
    for wrong, message in [
        ("nonsense", "activation must be one of 'relu', .*got 'nonsense'"),
        (("relu", 1.0), "activation 'relu' has no parameter; got"),
        (("elu", 1.0, 2.0), "activation must be None, a name, or a name and its parameter; got"),
        ((), "activation must be None, a name, or"),
        (3, "activation must be one of"),
    ]:
        with pytest.raises(ValueError, match=message):
            activation_of(wrong)
    with pytest.raises(TypeError, match="a number as the parameter of 'elu'; got 'much'"):
        activation_of(("elu", "much"))


def test_bad_input():
    x = np.ones((3, 4), "float32")
    for wrong in (np.ones(3, int), np.ones(3, complex), np.ones(3, bool)):
        with pytest.raises(TypeError, match="input must"):
            nn.relu(wrong)
    for out, error, message in [
        (np.ones((4, 3), "f4"), ValueError, "out must have shape"),
        (np.ones((3, 4)), TypeError, "out must have dtype float32"),
        (np.broadcast_to(x, (3, 4)), ValueError, "writable"),
    ]:
        with pytest.raises(error, match=message):
            nn.tanh(x, out=out)
    memory = np.ones(20, "f4")
    with pytest.raises(ValueError, match="overlap"):
        nn.tanh(memory[:10], out=memory[1:11])
    with pytest.raises(ValueError, match="overlap"):
        grad.tanh_backward(x[0], memory[:4], out=memory[1:5])
    with pytest.raises(ValueError, match="inplace must be False where out is given"):
        nn.relu(x, inplace=True, out=x)
    with pytest.raises(ValueError, match="approximate must be one of 'none', 'tanh'; got 'erf'"):
        nn.gelu(x, "erf")
    with pytest.raises(ValueError, match="grad_output must have the shape"):
        grad.relu_backward(x[0], x)
    with pytest.raises(TypeError, match="grad_output must have the dtype"):
        grad.relu_backward(x.astype(float), x)
    with pytest.raises(ValueError, match="max_val must be at least"):
        nn.hardtanh(x, 2, 1)
    with pytest.raises(ValueError, match="beta must not be 0"):
        nn.softplus(x, 0)
    with pytest.raises(np.exceptions.AxisError, match="dim must be in"):
        nn.softmax(x, 2)
    read_only = np.ones(3)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        nn.relu(read_only, inplace=True)
    assert nn.relu(read_only).tolist() == [1, 1, 1]
