"""How convolutions with many filters are cut into units, and what these need."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.algorithms.boxes import Boxes, Tiles, _largest, divide
from fastconv.algorithms.conv import PACKS_SLOT, Conv
from fastconv.algorithms.geometry import Axis
from fastconv.bench.networks import NETWORKS
from fastconv.engines import cython_cpu
from fastconv.problem import ConvProblem


def test_boxes_cover_the_output():
    """Each unit's part follows the last one's; none is larger than the scratch memory is made for."""
    for size in (*range(1, 70), 196, 3136):
        for step in (1, 2, 14, 32):
            for parts in {1, 2, 3, max(1, size // step)} & set(range(1, max(1, size // step) + 1)):
                whole = size // step
                starts = [i * whole // parts * step for i in range(parts)] + [size]
                lengths = np.diff(starts)
                assert lengths.min() > 0 and lengths.sum() == size and lengths.max() == _largest(size, parts, step)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_workspace_is_bounded(network, channels_last):
    layers = [(1, *layer) for layer in NETWORKS[network]] + [
        (1, 2048, 300, 64, 3, 1, 12, 1),
        (1, 8, 4000, 64, 31, 1, 15, 1),
    ]
    for n, c, size, filters, k, stride, pad, groups in layers:
        out = (size + 2 * pad - k) // stride + 1
        p = ConvProblem(
            in_shape=(size, size), kernel_shape=(k, k), out_shape=(out, out), in_dtype="float32", kernel_dtype="float32",
            acc="float32", out_dtype="float32", pad=(pad, pad), boundary=("fill", "fill"), stride=(stride, stride),
            dilation=(1, 1), batch=n, channels=c, filters=filters, groups=groups, channels_last=channels_last,
        )  # fmt: skip
        for threads in (1, 4):
            assert Conv(p, cython_cpu).workspace(threads) <= threads * 4 * 2**20, p


def test_division_uses_all_threads():
    axis = Axis(56, 56, 3, 1, 1, 1, "fill", 4, 4)
    for filter_lanes in (False, True):
        boxes: Boxes = divide(axis, axis, 1, 1, 64, 64, Tiles(14, 32, 4, filter_lanes, False), 2)
        assert boxes.row_units * boxes.col_units * boxes.chunks >= 4


@pytest.mark.parametrize(
    "channels, filters, size, batch, stride, units_pack",
    [
        (64, 384, 14, 1, 1, {1: True, 2: True, 16: True}),
        (32, 192, 28, 1, 1, {1: True, 2: True, 16: True}),
        (512, 128, 28, 1, 1, {1: False, 2: False, 16: True}),
        (1024, 2048, 14, 8, 2, {1: False, 2: False, 16: True}),
        (2048, 512, 7, 32, 1, {1: False, 2: False}),
    ],
)
def test_large_weights_are_packed_at_most_once_by_each_thread(channels, filters, size, batch, stride, units_pack):
    out = (size - 1) // stride + 1
    p = ConvProblem(
        in_shape=(size, size), kernel_shape=(1, 1), out_shape=(out, out), in_dtype="float32", kernel_dtype="float32",
        acc="float32", out_dtype="float32", pad=(0, 0), boundary=("fill", "fill"), stride=(stride, stride),
        dilation=(1, 1), batch=batch, channels=channels, filters=filters, channels_last=True,
    )  # fmt: skip
    x_strides = (size * size * channels * 4, 4, size * channels * 4, channels * 4)
    out_strides = (out * out * filters * 4, 4, out * filters * 4, filters * 4)
    for threads, packs in units_pack.items():
        assert bool(Conv(p, cython_cpu)._bind(x_strides, out_strides, threads).slots[PACKS_SLOT]) == packs, threads
