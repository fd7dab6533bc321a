"""Hypothesis strategies, named by the shape of what they draw."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from fastconv.problem import ConvProblem, PoolProblem, WindowProblem

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


# Input, kernel, accumulator and output dtypes as the public functions combine them.
CONV_DTYPES = [
    ("float32", "float32", "float32", "float32"),
    ("float64", "float32", "float64", "float64"),
    ("float32", "float64", "float32", "float32"),
    ("uint8", "float32", "float32", "float32"),
    ("uint8", "float64", "float64", "uint8"),
    ("int32", "float64", "float64", "int32"),
    ("int8", "int8", "uint32", "int8"),
    ("int32", "uint8", "uint32", "int32"),
    ("int64", "int32", "uint64", "int64"),
    ("complex64", "float32", "complex64", "complex64"),
    ("float32", "complex64", "complex64", "complex64"),
    ("complex128", "complex128", "complex128", "complex128"),
]
RULES = ["fill", "reflect", "nearest", "mirror", "wrap"]


@st.composite
def conv_problems(
    draw: st.DrawFn, largest_ndim: int = 3, least_filters: int = 1
) -> tuple[ConvProblem, dict[str, np.ndarray]]:
    """A problem and its canonical arrays x, w, bias (or None), fill and an `out` to write to."""
    ndim = draw(st.integers(0, largest_ndim))
    size, kernel, out = draw(shapes(ndim, 9)), draw(shapes(ndim, 4)), draw(shapes(ndim, 9))
    groups, group_channels = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    group_filters = draw(st.integers(least_filters, least_filters + 3))
    batch, channels, filters = draw(st.integers(1, 2)), groups * group_channels, groups * group_filters
    dtypes = draw(st.sampled_from(CONV_DTYPES))
    bias = draw(st.booleans())
    problem = ConvProblem(
        size, kernel, out, *dtypes, pad=draw(st.tuples(*[st.integers(0, 5)] * ndim)),
        boundary=draw(st.tuples(*[st.sampled_from(RULES)] * ndim)), stride=draw(shapes(ndim, 3)),
        dilation=draw(shapes(ndim, 3)), batch=batch, channels=channels, filters=filters, groups=groups, bias=bias,
        channels_last=draw(st.booleans()), exact="order" if dtypes[3] in ("uint8", "int32") and dtypes[2] == "float64" else "",
    )  # fmt: skip
    return problem, {
        "x": draw(arrays((batch, channels, *size), dtypes[0])),
        "w": draw(arrays((filters, group_channels, *kernel), dtypes[1])),
        "out": draw(arrays((batch, filters, *out), dtypes[3])),
        "bias": draw(arrays((filters,), dtypes[1])) if bias else None,
        "fill": np.array(draw(st.integers(0, 9)), dtypes[3]),
    }


WINDOW_DTYPES = [
    ("max", "float32", "float32", "float32"),
    ("max", "uint8", "uint8", "uint8"),
    ("min", "int16", "int16", "int16"),
    ("min", "uint8", "float64", "float32"),
    ("mean", "float32", "float32", "float32"),
    ("mean", "uint8", "float64", "uint8"),
    ("mean", "int32", "float64", "int32"),
    ("rank", "uint8", "uint8", "uint8"),
    ("rank", "float64", "float64", "float64"),
    ("rank", "int32", "int32", "int32"),
]


@st.composite
def window_problems(draw: st.DrawFn) -> tuple[WindowProblem, dict[str, np.ndarray]]:
    """A problem and its arrays x, out, structure (or None) and fill."""
    ndim = draw(st.integers(1, 3))
    shape, window = draw(shapes(ndim, 12)), draw(shapes(ndim, 4))
    kind, dtype, acc, out_dtype = draw(st.sampled_from(WINDOW_DTYPES))
    passes: tuple[int, ...] = ()
    if kind != "rank" and draw(st.booleans()):
        passes = tuple(draw(st.lists(st.integers(0, ndim - 1), min_size=1, unique=True)))
        window = tuple(draw(st.integers(1, 30)) if i in passes else 1 for i in range(ndim))
    taps = int(np.prod(window))
    footprint = b""
    if kind != "mean" and not passes and draw(st.booleans()):
        footprint = bytes(draw(st.lists(st.integers(0, 1), min_size=taps, max_size=taps)))
        footprint = footprint if any(footprint) else b""
    taps = sum(footprint) or taps
    structure = kind in ("max", "min") and not passes and draw(st.booleans())
    problem = WindowProblem(
        kind, shape, window, dtype, acc, out_dtype, draw(st.tuples(*[st.integers(0, k - 1) for k in window])),
        draw(st.tuples(*[st.sampled_from(RULES)] * ndim)), footprint,
        draw(st.integers(0, taps - 1)) if kind == "rank" else 0, structure, passes,
    )  # fmt: skip
    return problem, {
        "x": draw(arrays(shape, dtype)),
        "w": draw(arrays(window, acc)) if structure else None,
        "out": draw(arrays(shape, out_dtype)),
        "fill": np.array(draw(st.integers(0, 9)), acc),
    }


@st.composite
def pool_problems(draw: st.DrawFn) -> tuple[PoolProblem, dict[str, np.ndarray]]:
    """A problem and its arrays x, out and indices (or None)."""
    kind = draw(st.sampled_from(["max", "avg"]))
    size, kernel, stride, dilation = draw(shapes(2, 14)), draw(shapes(2, 4)), draw(shapes(2, 4)), draw(shapes(2, 3))
    pad = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(max(n, span - p) for n, span, p in zip(size, spans, pad, strict=True))
    out = tuple((n + 2 * p - span) // s + 1 for n, p, span, s in zip(size, pad, spans, stride, strict=True))
    batch, channels = draw(st.integers(1, 2)), draw(st.integers(1, 20))
    dtype = draw(st.sampled_from(["float32", "float64", "uint8", "int16", "int64"]))
    indices = kind == "max" and draw(st.booleans())
    problem = PoolProblem(
        kind, size, kernel, out, dtype, pad, stride, dilation, batch, channels, indices,
        count_include_pad=draw(st.booleans()), divisor=draw(st.sampled_from([0, 0, 3])), channels_last=draw(st.booleans()),
    )  # fmt: skip
    return problem, {
        "x": draw(arrays((batch, channels, *size), dtype)),
        "out": draw(arrays((batch, channels, *out), dtype)),
        "indices": draw(arrays((batch, channels, *out), "int64")) if indices else None,
    }
