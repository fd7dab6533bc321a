"""Separable filters of float32 planes on a GPU (`lines.cu`), inside and at borders.

Run as `on_cuda.py` is; on Numba's simulator their twin runs, on few and small images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import config
from on_cuda import LIBRARIES, to_device, to_host

from fastconv.algorithms import device_lines
from fastconv.device import as_device
from fastconv.engines import numba_cuda
from fastconv.problem import ConvProblem, SeparableProblem
from fastconv.testing import assert_identical

LIBRARY = LIBRARIES[-1]
SIMULATED = bool(config.ENABLE_CUDASIM)
NUMPY_MODES = {"nearest": "edge", "wrap": "wrap", "reflect": "symmetric", "mirror": "reflect"}

# Parts of a tile, rows that are no whole vectors, several blocks along both axes.
SHAPES = [(9, 133)] if SIMULATED else [(203, 1040), (97, 517), (64, 131), (300, 2050), (5, 70)]
SIZES = (
    [(3, 8)] if SIMULATED else [(3, 3), (7, 7), (2, 9), (9, 2), (8, 8), (11, 11), (15, 15), (12, 19), (31, 31), (30, 5)]
)


@pytest.fixture(params=[0, 1], ids=["alone", "in pairs"])
def paired(request, monkeypatch):
    """Rows summed one by one or in pairs, for all sizes."""
    shapes = {size: shape._replace(paired=request.param) for size, shape in device_lines.SHAPES.items()}
    monkeypatch.setattr(device_lines, "SHAPES", shapes)


def numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Small integers, whose sums are exact."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype("float32")


def problem_of(image: Any, size: tuple[int, int], pad: tuple, out: tuple, rules: tuple) -> SeparableProblem:
    return SeparableProblem(
        ConvProblem(image.shape[-2:], size, out, *["float32"] * 4, pad, rules, (1, 1), (1, 1), batch=image.shape[0])
    )


def reference(
    image: np.ndarray, down: np.ndarray, along: np.ndarray, pad: tuple, out: tuple, rules: tuple
) -> np.ndarray:
    for axis, (before, taps, rule) in enumerate(zip(pad, (down.size, along.size), rules, strict=True), 1):
        after = out[axis - 1] + taps - 1 - before - image.shape[axis]
        mode: dict = {"mode": "constant", "constant_values": 3} if rule == "fill" else {"mode": NUMPY_MODES[rule]}
        widths = [(0, 0)] * 3
        widths[axis] = (max(before, 0), max(after, 0))
        image = np.pad(image, widths, **mode)
        start = max(-before, 0)
        image = np.take(image, np.arange(start, start + out[axis - 1] + taps - 1), axis)
    windows = np.lib.stride_tricks.sliding_window_view(image, along.size, 2) @ along
    return np.lib.stride_tricks.sliding_window_view(windows, down.size, 1) @ down


def run(problem: SeparableProblem, x: Any, down: np.ndarray, along: np.ndarray, out: Any) -> None:
    assert device_lines.refuse(problem) is None or max(problem.conv.kernel_shape) <= device_lines.SMALL
    lines = np.concatenate([line for line in (down, along) if line.size > 1])
    x, target = as_device("x", x)[:, None], as_device("out", out)[:, None]
    device_lines.executor(problem, numba_cuda)(x, lines, target, None, 3.0, 1)


def check(image: np.ndarray, size: tuple[int, int], pad: tuple, rules: tuple, out: tuple | None = None) -> None:
    down, along = numbers((size[0],), 1), numbers((size[1],), 2)
    out = out or image.shape[1:]
    result = to_device(np.full((image.shape[0], *out), np.nan, "float32"), LIBRARY)
    run(problem_of(image, size, pad, out, rules), to_device(image, LIBRARY), down, along, result)
    assert_identical(to_host(result, LIBRARY), reference(image, down, along, pad, out, rules), f"{rules}, {pad}")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_rule(paired, shape, size):
    image, middle = numbers((1, *shape)), (size[0] // 2, size[1] // 2)
    for rules in (
        ("reflect", "mirror"),
        ("mirror", "nearest"),
        ("nearest", "wrap"),
        ("wrap", "fill"),
        ("fill", "reflect"),
    ):
        check(image, size, middle, rules)
        if SIMULATED:
            break
        check(image, size, (size[0] - 1, 0), rules)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_full_valid_and_batches(paired, size):
    image = numbers((3, *SHAPES[0]))
    down, along = size[0] - 1, size[1] - 1
    check(image, size, (down, along), ("fill", "wrap"), (SHAPES[0][0] + down, SHAPES[0][1] + along))
    if not SIMULATED:
        check(image, size, (0, 0), ("fill", "fill"), (SHAPES[0][0] - down, SHAPES[0][1] - along))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_views(paired, size):
    """Rows that start anywhere, elements apart from each other, and results in a part of a larger array."""
    height, width = SHAPES[0]
    whole, down, along = numbers((2, 2 * height, 2 * width)), numbers((size[0],), 1), numbers((size[1],), 2)
    device, pad, rules = to_device(whole, LIBRARY), (size[0] // 2, size[1] // 2), ("mirror", "nearest")
    keys = (
        [slice(3, 3 + height), slice(1, width)],
        [slice(None, None, 2), slice(4, None)],
        [slice(height), slice(None, None, 2)],
    )
    for key in keys[:1] if SIMULATED else keys:
        image = whole[(slice(None), *key)]
        desired = reference(image, down, along, pad, image.shape[1:], rules)
        for start, step in ((0, 1), (1, 1), (0, 2)):
            room = np.full((2, image.shape[1] + 2, step * (image.shape[2] + 3)), 77, "float32")
            target = to_device(room, LIBRARY)
            inner = slice(None), slice(1, -1), slice(start, start + step * image.shape[2], step)
            run(
                problem_of(image, size, pad, image.shape[1:], rules),
                device[(slice(None), *key)],
                down,
                along,
                target[inner],
            )
            room[inner] = desired
            assert_identical(to_host(target, LIBRARY), room)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_is_not_finite(paired, size):
    """It stays in the windows that meet it."""
    image, pad, rules = numbers((1, *SHAPES[0])), (size[0] // 2, size[1] // 2), ("reflect", "wrap")
    image[0, 3, 5], image[0, 6, -7], image[0, -1, 0], image[0, -2, 60] = np.nan, np.inf, np.inf, -np.inf
    down, along = np.abs(numbers((size[0],), 1)) + 1, np.abs(numbers((size[1],), 2)) + 1
    result = to_device(np.zeros_like(image), LIBRARY)
    run(problem_of(image, size, pad, image.shape[1:], rules), to_device(image, LIBRARY), down, along, result)
    with np.errstate(invalid="ignore"):
        desired = reference(image, down, along, pad, image.shape[1:], rules)
    assert_identical(to_host(result, LIBRARY), desired)
