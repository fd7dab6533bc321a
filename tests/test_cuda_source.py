"""The C++ of CUDA kernels, run on the host warp by warp: index arithmetic, boundary rules and orders of rows are their own."""

from __future__ import annotations

from shutil import which
from typing import Any

import emulated
import numpy as np
import pytest
import scipy.ndimage
from cases import integers

from fastconv.algorithms import device_streams
from fastconv.engines.numba_cuda import define
from fastconv.engines.numba_cuda.launch import RULES
from fastconv.engines.numba_cuda.stream import weights_of
from fastconv.testing import assert_identical

pytestmark = pytest.mark.skipif(not (which("g++") or which("c++")), reason="there is no C++ compiler")

MODES = {"fill": "constant", "nearest": "nearest", "wrap": "wrap", "reflect": "reflect", "mirror": "mirror"}
CASES = [
    ("stream", (3, 3)),
    ("stream", (2, 6)),
    ("stream", (7, 7)),
    ("strip", (9, 8)),
    ("strip", (15, 11)),
    ("strip", (21, 19)),
    ("halves", (7, 7)),
    ("halves", (10, 9)),
    ("halves", (15, 11)),
    ("halves", (1, 12)),
    ("halves", (2, 25)),
    ("halves", (19, 6)),
]


def filtered(
    operation: str, image: np.ndarray, weights: np.ndarray, rule: str, out: np.ndarray, bias: float, by_value: bool
) -> None:
    """Launch a kernel with the shape that planes take, strips of 13 rows."""
    size = kernel_y, kernel_x = weights.shape
    pad, steps = (
        (kernel_y // 2, kernel_x // 2),
        [step // 4 for array in (image, weights, out) for step in array.strides],
    )
    tables = {
        "stream": device_streams.STREAM if by_value else device_streams.STREAM_IN_REGISTERS,
        "strip": device_streams.STRIP,
        "halves": device_streams.HALVES,
    }
    numbers = next(numbers for most, numbers in tables[operation].items() if max(size) <= most)
    shape = device_streams.Shape(operation, *numbers, strip=numbers[0] if operation == "stream" else 13)
    phase = -pad[1] % 4
    kernel = define(operation, *size, phase, *numbers, int(by_value))
    aligned = image.ctypes.data % 16 == 0 and steps[1] == 1 and steps[0] % 4 == 0
    values: dict[str, Any] = {
        **dict.fromkeys(kernel.geometry._fields, 0), "channels": 1, "height": image.shape[0], "width": image.shape[1],
        "out_height": out.shape[0], "out_width": out.shape[1], "pad_y": pad[0], "pad_x": pad[1], "rule_y": RULES[rule],
        "rule_x": RULES[rule], "has_bias": 1, "aligned": int(aligned), "strip": shape.strip,
        **dict(zip(("x_y", "x_x", "w_y", "w_x", "out_y", "out_x"), steps, strict=True)),
    }  # fmt: skip
    ordered = weights_of(operation, weights) if by_value else None
    arrays = image, weights, out, np.array([bias], "f4")
    shared = shape.shared(size, phase)
    emulated.run(kernel, shape.grid(*out.shape, 1), arrays, 2.0, kernel.geometry(**values), shared, ordered)


@pytest.mark.parametrize("operation, size", CASES, ids=str)
@pytest.mark.parametrize("shape", [(5, 7), (33, 131), (24, 560)], ids=str)
def test_every_rule_and_alignment(operation, size, shape):
    image, weights = integers(shape, "float32"), integers(size, "float32", 1)
    rows = np.zeros((shape[0], (shape[1] + 8) // 4 * 4), "f4")
    for rule, mode in MODES.items():
        desired = scipy.ndimage.correlate(image, weights, mode=mode, cval=2.0) + np.float32(3)
        for offset, step in ((0, 1), (1, 1), (0, 2)) if rule in ("fill", "wrap") else ((0, 1),):
            view = rows[:, offset : offset + shape[1]]
            view[...] = image
            whole = np.full((shape[0] + 2, step * shape[1] + 5), np.nan, "f4")
            out = whole[1:-1, : step * shape[1] : step]
            filtered(operation, view, weights, rule, out, 3.0, by_value=True)
            assert_identical(out, desired, f"{rule} {offset} {step}")
            out[...] = np.nan
            assert np.isnan(whole).all(), "written beside the result"
            if operation == "halves" or max(size) <= max(device_streams.STREAM_IN_REGISTERS):
                filtered(operation, view, weights, rule, out, 3.0, by_value=False)
                assert_identical(out, desired, f"{rule} {offset} {step}, weights on the device")


@pytest.mark.parametrize("operation, size", CASES, ids=str)
def test_what_is_not_finite(operation, size):
    image, weights = integers((30, 150), "float32"), np.abs(integers(size, "float32", 1)) + 1
    image[3, 5], image[12, -7], image[-1, 0], image[-2, 60] = np.nan, np.inf, np.inf, -np.inf
    out, desired = np.empty_like(image), np.zeros_like(image)
    room = np.pad(image, [(n // 2, n) for n in size], constant_values=2)
    with np.errstate(invalid="ignore"):
        for k, t in np.ndindex(*size):
            desired += room[k : k + 30, t : t + 150] * weights[k, t]
    filtered(operation, image, weights, "fill", out, 0.0, by_value=True)
    assert_identical(out, desired)
