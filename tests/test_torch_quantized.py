"""Convolutions of quantised numbers against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.ao.nn.quantized import functional as Q

from fastconv import nn

OURS = {1: nn.quantized_conv1d, 2: nn.quantized_conv2d, 3: nn.quantized_conv3d}
THEIRS = {1: Q.conv1d, 2: Q.conv2d, 3: Q.conv3d}
pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch announces that it will move them
torch.set_num_threads(1)
torch.backends.quantized.engine = "fbgemm"  # oneDNN adds zero points before it rounds: halves go elsewhere


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("power", [True, False])
@pytest.mark.parametrize("each_filter", [False, True])
def test_quantized_conv(agreed, ndim, power, each_filter):
    """Scales that are powers of two leave nothing to rounding but the result; others are multiplied in float32 there."""
    rng = np.random.default_rng(ndim)
    off = total = 0
    for _ in range(60):
        groups = int(rng.integers(1, 3))
        channels, filters = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 5))
        kernel, size = rng.integers(1, 4, ndim), rng.integers(4, 9, ndim)
        x = rng.integers(0, 256, (2, channels, *size)).astype("uint8")
        w = rng.integers(-20, 21, (filters, channels // groups, *kernel)).astype("int8")
        scales = 2.0 ** rng.integers(-4, 3, 3) if power else rng.uniform(0.05, 2, 3)
        zero, out_zero = (int(rng.integers(0, 128)) for _ in range(2))
        weight_scale = scales[1] * (2.0 ** rng.integers(-2, 2, filters) if each_filter else 1.0)
        bias = (np.float32(scales[0] * weight_scale) * rng.integers(-99, 99, filters)).astype("float32")
        stride, padding = [int(n) for n in rng.integers(1, 3, ndim)], [int(n) for n in rng.integers(0, 2, ndim)]
        images = torch._make_per_tensor_quantized_tensor(torch.from_numpy(x), scales[0], zero)
        whole = torch.from_numpy(w)
        if each_filter:
            weights = torch._make_per_channel_quantized_tensor(
                whole, torch.from_numpy(weight_scale), torch.zeros(filters, dtype=torch.int64), 0
            )
        else:
            weights = torch._make_per_tensor_quantized_tensor(whole, float(weight_scale), 0)
        scale = float(scales[2] * 8)
        desired = THEIRS[ndim](
            images, weights, torch.from_numpy(bias), stride, padding, 1, groups, "zeros", scale, out_zero, torch.quint8
        )
        actual = OURS[ndim](
            x, w, bias, stride, padding, 1, groups, input_scale=scales[0], input_zero_point=zero,
            weight_scale=weight_scale, scale=scale, zero_point=out_zero,
        )  # fmt: skip
        difference = np.abs(actual.astype(int) - desired.int_repr().numpy().astype(int))
        assert difference.max() <= (0 if power else 1)
        off, total = off + int((difference > 0).sum()), total + difference.size
        agreed(f"quantized_conv{ndim}d")
    assert off <= total / 1000
