"""Activations and their gradients against PyTorch's, over sampled shapes, layouts, dtypes and parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fastconv import nn
from fastconv.nn import grad
from fastconv.nn.grad import activation, rectifiers, softmax

torch.set_num_threads(1)  # small tensors
PARAMETERS = {
    "leaky_relu": lambda rng: (float(rng.uniform(0, 1)),),
    "elu": lambda rng: (float(rng.uniform(0.1, 3)),),
    "gelu": lambda rng: (str(rng.choice(["none", "tanh"])),),
    "hardtanh": lambda rng: tuple(np.sort(rng.uniform(-4, 4, 2)).tolist()),
    "softplus": lambda rng: (1.0, 20.0) if rng.integers(2) else (float(rng.uniform(0.3, 3)), float(rng.uniform(5, 20))),
    "softmax": lambda rng: (int(rng.integers(-2, 2)),),
    "log_softmax": lambda rng: (int(rng.integers(-2, 2)),),
}
NAMES = [name[:-9] for part in (activation, rectifiers, softmax) for name in part.__all__]  # without "_backward"
SPECIAL = [0.0, -0.0, np.nan, np.inf, 1e30, -1e30, 3.0, -3.0, 6.0, 20.0]
# PyTorch: gelu of infinity is NaN, derivatives far out are, since they are computed as infinity times 0, and some of NaN
# are not, in some places of a vector.
UNLIKE = {
    "gelu": [np.inf, 1e30, -1e30], "silu": [np.inf], "mish": [np.inf], "softsign": [np.inf], "softmax": [np.inf, np.nan],
    **{name: [np.nan] for name in ("elu", "hardswish", "relu6", "hardtanh", "hardsigmoid")},
}  # fmt: skip
RTOL = {"float32": 3e-6, "float64": 1e-14}
INEXACT = {"hardsigmoid": 1e-7, "hardswish": 1e-7}  # PyTorch's float64 multiplies by a float32 of 1/6


def sample(rng: np.random.Generator, name: str, dtype: str) -> np.ndarray:
    """An array of 2 to 4 axes in one of many layouts, with special values."""
    shape = tuple(rng.integers(1, 9, rng.integers(2, 5)))
    x = rng.normal(size=tuple(2 * n for n in shape)) * rng.choice([0.3, 2, 12])
    flat = x.reshape(-1)
    flat[rng.integers(flat.size)] = rng.choice(
        [v for v in SPECIAL if not any(np.array_equal(v, u, equal_nan=True) for u in UNLIKE.get(name, []))]
    )
    step = rng.choice([1, 2, -1, -2], len(shape))
    x = x.astype(dtype)[tuple(slice(None, None, int(s)) for s in step)][tuple(slice(n) for n in shape)]
    return x.transpose(rng.permutation(len(shape))) if rng.integers(2) else x


def compare(actual: np.ndarray, desired: torch.Tensor, scale: float, context: tuple) -> None:
    expected = desired.detach().numpy()
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    rtol = max(RTOL[actual.dtype.name], INEXACT.get(context[0], 0))
    np.testing.assert_allclose(actual, expected, rtol=4 * rtol, atol=rtol * scale, err_msg=str(context))


@pytest.mark.filterwarnings("ignore:.*multiply:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_sampled(name, dtype, agreed):
    rng = np.random.default_rng([NAMES.index(name), len(dtype), dtype == "float32"])
    for _ in range(40):
        x = sample(rng, name, dtype)
        parameters = PARAMETERS.get(name, lambda rng: ())(rng)
        theirs = torch.from_numpy(x.copy()).requires_grad_(True)
        desired = getattr(F, name)(theirs, *parameters) if name != "gelu" else F.gelu(theirs, approximate=parameters[0])
        compare(getattr(nn, name)(x, *parameters), desired, 1.0, (name, parameters, x))
        g = rng.normal(size=x.shape).astype(dtype)
        desired.backward(torch.from_numpy(g))
        compare(
            getattr(grad, f"{name}_backward")(g, x, *parameters), theirs.grad, 8.0, (name, "backward", parameters, x)
        )
        agreed(name, 2)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("softmax", "log_softmax")])
def test_halves(name, agreed):
    x = (np.random.default_rng(0).normal(size=(5, 33)) * 3).astype("float16")
    desired = getattr(F, name)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(getattr(nn, name)(x), desired, rtol=2**-9, atol=2**-13)
    agreed(name)
