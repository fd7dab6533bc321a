"""Hypothesis strategies, named by the shape of what they draw."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

DTYPES = ("int8", "uint8", "int32", "uint64", "float32", "float64", "complex64")


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Integer-valued data (sums are exact), as a view that may be strided, reversed or transposed."""
    seed = draw(st.integers(0, 2**32 - 1))
    r, kind = np.random.default_rng(seed), np.dtype(dtype).kind
    steps = draw(st.tuples(*[st.sampled_from([1, 1, 2, 3, -1, -2]) for _ in shape]))
    order = draw(st.permutations(range(len(shape))))
    padded = [shape[a] * abs(steps[a]) for a in order]
    data = r.integers(0 if kind == "u" else -9, 10, padded)
    if kind == "c":
        data = data + 1j * r.integers(-9, 10, padded)
    view = data.astype(dtype).transpose(np.argsort(order))
    return view[tuple(slice(None, None, step) for step in steps)]


def shapes(ndim: int, largest: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(1, largest)] * ndim)


@st.composite
def arrays_HW_and_kernel(draw: st.DrawFn, largest: int = 12, kernel: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W) and a kernel (K, L) of dtypes that combine to one of DTYPES or a wider one."""
    return draw(arrays_and_kernel(2, largest, kernel))


@st.composite
def arrays_and_kernel(draw: st.DrawFn, ndim: int, largest: int, kernel: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and a kernel of `ndim` dimensions."""
    image = draw(arrays(draw(shapes(ndim, largest)), draw(st.sampled_from(DTYPES))))
    weights = draw(arrays(draw(shapes(ndim, kernel)), draw(st.sampled_from(DTYPES))))
    return image, weights


@st.composite
def arrays_NCHW_and_OIHW(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, dict]:
    """Input (N, C, H, W), weight (O, C/groups, kH, kW) and the options of conv2d that fit them."""
    groups, group_channels, group_filters = (draw(st.integers(1, 3)) for _ in range(3))
    stride, dilation = draw(shapes(2, 4)), draw(shapes(2, 3))
    kernel = draw(shapes(2, 4))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(max(1, span - 2 * p) + draw(st.integers(0, 12)) for span, p in zip(spans, padding, strict=True))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    x = draw(arrays((draw(st.integers(1, 2)), groups * group_channels, *size), dtype))
    w = draw(arrays((groups * group_filters, group_channels, *kernel), dtype))
    return x, w, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@st.composite
def arrays_NCHW_and_window(draw: st.DrawFn, dilated: bool) -> tuple[np.ndarray, dict]:
    """Input (N, C, H, W) and the options of a pooling function that fit it."""
    kernel = draw(shapes(2, 4))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(shapes(2, 3)) if dilated else (1, 1)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(max(1, span - p) + draw(st.integers(0, 12)) for span, p in zip(spans, padding, strict=True))
    x = draw(
        arrays(
            (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size),
            draw(st.sampled_from(["float32", "float64", "int64"])),
        )
    )
    options = {
        "kernel_size": kernel,
        "stride": draw(shapes(2, 4)),
        "padding": padding,
        "ceil_mode": draw(st.booleans()),
    }
    return x, {**options, "dilation": dilation} if dilated else options
