"""What SciPy and NumPy give for the operations of neural networks; nothing here uses fastconv.

`conv2d` is `scipy.signal.correlate2d` of padded planes with kernels spread by the dilation, every
stride-th element of it.  The pooling functions take windows of a padded array.
"""

from __future__ import annotations

import numpy as np
import scipy.signal


def pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def pads_of(padding, size, kernel, stride, dilation) -> list[tuple[int, int]]:
    """Zeros (before, after) each axis; "same" by TensorFlow's rule."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding != "same":
        return [p if isinstance(p, tuple) else (p, p) for p in pair(padding)]
    pads = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def spread(kernel: np.ndarray, dilation: tuple[int, int]) -> np.ndarray:
    """The kernel with zeros between its taps."""
    shape = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation, strict=True)]
    result = np.zeros(shape, kernel.dtype)
    result[:: dilation[0], :: dilation[1]] = kernel
    return result


def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1) -> np.ndarray:
    """Like `torch.nn.functional.conv2d`."""
    if x.ndim == 3:
        return conv2d(x[None], w, bias, stride, padding, dilation, groups)[0]
    stride, dilation = pair(stride), pair(dilation)
    x = np.pad(x, [(0, 0), (0, 0), *pads_of(padding, x.shape[2:], w.shape[2:], stride, dilation)])
    images, filters = [], len(w) // groups
    for image in x:
        planes = []
        for f, kernels in enumerate(w):
            channels = image[f // filters * w.shape[1] :][: w.shape[1]]
            terms = [  # conjugated, since correlate2d conjugates
                scipy.signal.correlate2d(channel, spread(kernel, dilation).conj(), "valid")
                for channel, kernel in zip(channels, kernels, strict=True)
            ]
            total = sum(terms[1:], terms[0])[:: stride[0], :: stride[1]]
            planes.append(total if bias is None else total + bias[f])
        images.append(planes)
    dtype = np.result_type(x, w) if bias is None else np.result_type(x, w, bias)
    return np.array(images).astype(dtype)


def pool_sizes(size, kernel, stride, pad, dilation, ceil_mode) -> tuple[int, ...]:
    """Output sizes as in PyTorch: the last window of ceil_mode begins in the image or its left padding."""
    out = []
    for n, k, s, p, d in zip(size, kernel, stride, pad, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        count = -(-room // s) + 1 if ceil_mode else room // s + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1
        out.append(count)
    return tuple(out)


def windows(x, outside, kernel_size, stride, padding, dilation, ceil_mode) -> np.ndarray:
    """(..., H', W', taps), with `outside` for what is beyond the image."""
    kernel, pad, dilation = pair(kernel_size), pair(padding), pair(dilation)
    stride = kernel if stride is None else pair(stride)
    sizes = pool_sizes(x.shape[-2:], kernel, stride, pad, dilation, ceil_mode)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    ends = [(m - 1) * s + span for m, s, span in zip(sizes, stride, spans, strict=True)]
    after = [max(end - n - p, 0) for end, n, p in zip(ends, x.shape[-2:], pad, strict=True)]
    margins = [(0, 0)] * (x.ndim - 2) + list(zip(pad, after, strict=True))
    padded = np.pad(x, margins, constant_values=outside)
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, (-2, -1))
    view = view[..., :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]][..., : sizes[0], : sizes[1], :, :]
    return view.reshape(*view.shape[:-2], -1)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False) -> tuple[np.ndarray, np.ndarray]:
    """Maxima and their flat positions in the image: the first of equals, the last NaN."""
    options = (kernel_size, stride, padding, dilation, ceil_mode)
    places = np.arange(x.shape[-2] * x.shape[-1]).reshape(x.shape[-2:])
    places = windows(np.broadcast_to(places, x.shape), -1, *options)
    seen = windows(x, 0, *options)
    lowest = {"f": -np.inf, "b": False}.get(x.dtype.kind)
    ranked = np.where(places >= 0, seen, np.iinfo(x.dtype).min if lowest is None else lowest).astype(x.dtype)
    nan = (ranked != ranked) & (places >= 0)
    last_nan = ranked.shape[-1] - 1 - nan[..., ::-1].argmax(-1)
    best = ranked == np.fmax.reduce(ranked, -1, keepdims=True)
    first = (best & (places >= 0)).argmax(-1)
    chosen = np.where(nan.any(-1), last_nan, first)[..., None]
    return np.take_along_axis(ranked, chosen, -1)[..., 0], np.take_along_axis(places, chosen, -1)[..., 0]


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
) -> np.ndarray:
    """Like `torch.nn.functional.avg_pool2d`; integers divide truncating toward zero."""
    kernel, pad = pair(kernel_size), pair(padding)
    stride = kernel if stride is None else pair(stride)
    total = windows(x, 0, kernel, stride, pad, 1, ceil_mode).sum(-1, dtype=x.dtype if x.dtype.kind == "f" else None)
    rows_and_cols = []
    for n, m, k, s, p in zip(x.shape[-2:], total.shape[-2:], kernel, stride, pad, strict=True):
        start, margin = np.arange(m) * s - p, p if count_include_pad else 0
        rows_and_cols.append(np.minimum(start + k, n + margin) - np.maximum(start, -margin))
    divisor = np.multiply.outer(*rows_and_cols) if divisor_override is None else np.array(divisor_override)
    if x.dtype.kind == "f":
        return total / divisor.astype(x.dtype)
    return (np.sign(total) * (np.abs(total) // divisor)).astype(x.dtype)
