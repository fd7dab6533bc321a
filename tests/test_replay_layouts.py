"""Replayed calls on arrays of any layout, dtype and shape drawn at random give what fresh ones give, to the byte."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fastconv import nn, replay
from fastconv.nn import grad

ml_dtypes = pytest.importorskip("ml_dtypes")

DTYPES = ["float32", "float64", "float16", ml_dtypes.bfloat16, "int32", "uint8", "complex64"]
FORMATS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
DRAWN = 12  # sets of arguments of a test


def plays() -> int:
    return sum(memory.plays for memory in replay.memories)


class Draw:
    """Arguments drawn at random."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def one(self, *values):
        return values[self.rng.integers(len(values))]

    def array(self, shape: tuple[int, ...], dtype) -> Callable[[], np.ndarray]:
        """What fills an array with numbers: permuted axes, steps, reversed ones."""
        rng, order = self.rng, self.rng.permutation(len(shape))
        steps = rng.choice([1, 1, 1, 2, -1], len(shape))[order]
        memory = np.empty([shape[a] * abs(s) for a, s in zip(order, steps, strict=True)], dtype)

        def fill() -> np.ndarray:
            values = rng.standard_normal(memory.shape)
            if memory.dtype.kind in "iu":
                values = rng.integers(0, 9, memory.shape)
            elif memory.dtype.kind == "c":
                values = values + 1j * rng.standard_normal(memory.shape)
            memory[...] = values.astype(dtype)
            if memory.dtype.kind == "f" and rng.random() < 0.2:
                memory.flat[0] = np.nan
            return memory[tuple(slice(None, None, int(s)) for s in steps)].transpose(np.argsort(order))

        return fill


def check(function: Callable, arguments: list, **options) -> None:
    """Four calls: one is recorded, others are played."""
    for _ in range(4):
        args = [argument() if callable(argument) else argument for argument in arguments]
        try:
            wanted = function.__wrapped__(*args, **options)
        except (ValueError, TypeError) as error:
            with pytest.raises(type(error)) as found:
                function(*args, **options)
            assert str(found.value) == str(error)
            continue
        result = function(*args, **options)
        pairs = zip(result, wanted, strict=True) if isinstance(result, tuple) else [(result, wanted)]
        for a, b in pairs:
            assert (a.dtype, a.shape, a.strides) == (b.dtype, b.shape, b.strides)
            if a.tobytes() != b.tobytes():  # NaN may have any sign
                np.testing.assert_array_equal(a.astype("c16"), b.astype("c16"))


@pytest.mark.parametrize("seed", range(4))
def test_networks(seed):
    draw, before = Draw(seed), plays()
    for _ in range(DRAWN):
        n, last, dtype = draw.one(1, 2, 3), draw.one(0, 1), draw.one(*DTYPES)
        other = draw.one(dtype, dtype, dtype, "float32")
        batch, groups, stride, dilation, pad = (
            draw.one(1, 2),
            draw.one(1, 1, 2, 4),
            draw.one(1, 2),
            draw.one(1, 2),
            draw.one(0, 1),
        )
        channels, filters = groups * draw.one(1, 3, 5), groups * draw.one(1, 3, 17)
        size, kernel = tuple(draw.one(4, 5, 8) for _ in range(n)), tuple(draw.one(1, 2, 3) for _ in range(n))
        made = tuple((m + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for m, k in zip(size, kernel, strict=True))
        if min(made) < 1:
            continue
        shape = (batch, *size, channels) if last else (batch, channels, *size)
        x = draw.array(shape, dtype)
        g = draw.array((batch, *made, filters) if last else (batch, filters, *made), dtype)
        bias = draw.one(None, draw.array((filters,), other))
        layout = {"data_format": FORMATS[n][last], "threads": draw.one(None, 1, 3)}
        options = layout | {"stride": stride, "dilation": dilation, "groups": groups, "padding": pad}
        mode = {"padding_mode": draw.one("zeros", "zeros", "reflect", "circular", "replicate")}
        activation = {"activation": draw.one(None, "relu", "silu")} if np.dtype(dtype).kind in "fV" else {}

        weight, turned = (
            draw.array((filters, channels // groups, *kernel), other),
            (channels, filters // groups, *kernel),
        )
        check(getattr(nn, f"conv{n}d"), [x, weight, bias], **options, **mode, **activation)
        check(getattr(nn, f"conv_transpose{n}d"), [x, draw.array(turned, other), bias], **options, **activation)
        check(getattr(grad, f"conv{n}d_input"), [shape, weight, g], **options, **mode)
        check(getattr(grad, f"conv{n}d_weight"), [x, (filters, channels // groups, *kernel), g], **options, **mode)
        check(getattr(grad, f"conv{n}d_bias"), [g], **layout)
        if np.dtype(dtype).kind != "c":
            check(getattr(nn, f"max_pool{n}d"), [x, 2], **layout, padding=pad, return_indices=draw.one(False, True))
            check(getattr(nn, f"adaptive_max_pool{n}d"), [x, 2], **layout, return_indices=True)
        if np.dtype(dtype).kind in "fV":
            check(getattr(nn, f"lp_pool{n}d"), [x, draw.one(1, 2, 3.5, np.inf, -np.inf), 2], **layout)
            check(grad.silu_backward, [x, draw.array(shape, dtype)])
    assert plays() > before + 10 * DRAWN
