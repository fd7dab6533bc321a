"""What the operations of networks give, in double precision by NumPy's formulas, and whether an output is that.

Nothing here is fast or uses fastconv: sums go tap by tap, products are BLAS's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.bench.contestants import WrongOutput

if TYPE_CHECKING:
    from fastconv.bench.layers import Layer

__all__ = ["LayerChecker", "places_of_maxima", "truth"]

WHOLE_BATCH = 8  # images; sums in double precision of more would take longer than the calls that are timed
Slices = tuple[slice, slice]
Pair = tuple[np.ndarray, np.ndarray]


class LayerChecker:
    """Checks the outputs of one operation of a layer: of large batches that pass forward, three images."""

    def __init__(self, layer: Layer, x: np.ndarray, arguments: Any):
        self.layer, self.dtype = layer, x.dtype
        self.images: list[int] | None = None
        if layer.out_shape[0] > WHOLE_BATCH and arguments[0] is x and layer.operation in _FORWARD:
            n = len(x)
            self.images = [0, int(np.random.default_rng().integers(1, n - 1)), n - 1]
            layer, arguments = replace(layer, shape=(3, *layer.shape[1:])), (x[self.images], *arguments[1:])
        self.expected = truth(layer, arguments)
        values = self.expected[0] if isinstance(self.expected, tuple) else self.expected
        # rounding errors of a sum of n terms grow like sqrt(n)
        terms = prod(layer.kernel) if "conv" in layer.operation else prod(layer.window)
        if layer.operation == "conv2d_weight":
            terms = prod(layer.out_shape) // layer.kernel[0]
        elif layer.operation == "conv2d_bias":
            terms = prod(layer.shape) // layer.kernel[0]
        elif "softmax" in layer.operation:
            terms = layer.shape[1]
        kind = np.finfo(np.float32) if x.dtype.kind == "f" else None
        self.tolerance = float((8.0 + terms**0.5) * kind.eps * np.abs(values).max()) if kind is not None else 0.0

    def __call__(self, name: str, output: Any, slack: int = 0) -> float:
        """The output's largest error; raises `WrongOutput` if that is too large.

        What takes a rival time that is not its own is put off: then the output is a function that gives it.
        """
        outputs, expected = (
            v if isinstance(v, tuple) else (v,) for v in (self._looked_at(name, output), self.expected)
        )
        return max(self._compare(name, *pair, slack) for pair in zip(outputs, expected, strict=True))

    def relative(self, output: Any) -> float | None:
        """The output's error, root mean square, in parts of the values': of convolutions in floating point."""
        if "conv" not in self.layer.operation or self.expected.dtype.kind != "f":
            return None
        output = self._looked_at("", output)
        return float(np.sqrt(np.mean((output - self.expected) ** 2) / np.mean(self.expected**2)))

    def _looked_at(self, name: str, output: Any) -> Any:
        """The images that are compared."""
        output = output() if callable(output) else output
        if self.images is None:
            return output
        outputs = output if isinstance(output, tuple) else (output,)
        for values in outputs:
            if values.shape != self.layer.out_shape:
                raise WrongOutput(f"{name} gave shape {values.shape}, expected {self.layer.out_shape}")
        taken = tuple(values[self.images] for values in outputs)
        return taken if isinstance(output, tuple) else taken[0]

    def _compare(self, name: str, values: np.ndarray, expected: np.ndarray, slack: int) -> float:
        whole = expected.dtype.kind in "iu"
        if values.shape != expected.shape or values.dtype != (expected.dtype if whole else self.dtype):
            raise WrongOutput(
                f"{name} gave shape {values.shape}, {values.dtype}, expected {expected.shape}, {self.dtype}"
            )
        difference = np.abs(values - expected.astype(np.float64))
        error = float(np.where(np.isnan(difference), np.inf, difference).max())
        if not error <= (slack if whole else self.tolerance):
            at = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), difference.shape))
            raise WrongOutput(
                f"{name} is wrong at {at}: {values[at]}, the formula gives {expected[at]} "
                f"(error {error:.3g}, allowed {slack if whole else self.tolerance:.3g})"
            )
        return error


def truth(layer: Layer, arguments: tuple[Any, ...]) -> Any:
    """The result of a call, from its positional arguments."""
    name = layer.operation
    if name in _PLANES:
        nhwc = layer.layout == "NHWC"
        arrays = [
            _first(v) if nhwc and isinstance(v, np.ndarray) and v.ndim == 4 and v.shape != layer.kernel else v
            for v in arguments
        ]
        result = _PLANES[name](layer, *arrays)
        results = result if isinstance(result, tuple) else (result,)
        if nhwc and name not in ("conv2d_weight", "conv2d_bias"):
            results = tuple(np.moveaxis(v, 1, -1) for v in results)
        return results if isinstance(result, tuple) else results[0]
    with np.errstate(all="ignore"):
        if name.endswith("_backward"):
            gradient, x = (np.asarray(v, np.float64) for v in arguments)
            return _slope(layer, x, gradient)
        return _values(layer, np.asarray(arguments[0], np.float64))


def _first(x: np.ndarray) -> np.ndarray:
    """Channels first."""
    return np.moveaxis(x, -1, 1)


def _taps(layer: Layer) -> Iterator[tuple[int, int, Slices]]:
    """Each tap of a window and where it lies in the padded image for all outputs."""
    nhwc = layer.layout == "NHWC"
    height, width = layer.out_shape[1:3] if nhwc else layer.out_shape[2:]
    s = layer.step
    for i, j in np.ndindex(*layer.window):
        yield i, j, (slice(i, i + s * (height - 1) + 1, s), slice(j, j + s * (width - 1) + 1, s))


def _padded(layer: Layer, x: np.ndarray, value: float = 0.0) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), *((layer.pad, layer.pad),) * 2), constant_values=value)


def _cut(layer: Layer, x: np.ndarray) -> np.ndarray:
    """What is left of a padded image."""
    p = layer.pad
    return x[:, :, p : x.shape[2] - p, p : x.shape[3] - p]


def _image_shape(layer: Layer) -> tuple[int, ...]:
    """Of the input, channels first."""
    return tuple(layer.shape[axis] for axis in (0, 3, 1, 2)) if layer.layout == "NHWC" else layer.shape


def _padded_zeros(layer: Layer) -> np.ndarray:
    n, c, h, w = _image_shape(layer)
    return np.zeros((n, c, h + 2 * layer.pad, w + 2 * layer.pad))


# -- convolutions ------------------------------------------------------------------------------


def _conv2d(layer: Layer, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    sums = _sums(layer, x, w)
    if bias is not None:
        sums += bias[:, None, None]
    return np.maximum(sums, 0) if "activation" in layer.keywords else sums


def _sums(layer: Layer, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    padded, w = _padded(layer, x.astype(np.float64)), w.astype(np.float64)
    if x.shape[1] < 4:  # few channels: all taps in one product
        windows = np.stack([padded[(..., *at)] for _, _, at in _taps(layer)], 2)
        return np.moveaxis(np.tensordot(w.reshape(*w.shape[:2], -1), windows, ((1, 2), (1, 2))), 0, 1)
    total = np.zeros((len(x), len(w), *padded[(..., *next(_taps(layer))[2])].shape[2:]))
    for i, j, at in _taps(layer):
        values = padded[(..., *at)]
        total += (
            w[:, 0, i, j, None, None] * values
            if layer.groups > 1
            else np.moveaxis(np.tensordot(w[:, :, i, j], values, (1, 1)), 0, 1)
        )
    return total


def _conv2d_input(layer: Layer, size: Any, w: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    total, w, g = _padded_zeros(layer), w.astype(np.float64), gradient.astype(np.float64)
    for i, j, at in _taps(layer):
        total[(..., *at)] += (
            w[:, 0, i, j, None, None] * g
            if layer.groups > 1
            else np.moveaxis(np.tensordot(w[:, :, i, j], g, (0, 1)), 0, 1)
        )
    return _cut(layer, total)


def _conv2d_weight(layer: Layer, x: np.ndarray, size: Any, gradient: np.ndarray) -> np.ndarray:
    padded, g = _padded(layer, x.astype(np.float64)), gradient.astype(np.float64)
    total = np.empty(layer.kernel)
    for i, j, at in _taps(layer):
        values = padded[(..., *at)]
        if layer.groups > 1:
            total[:, 0, i, j] = np.einsum("ncyx,ncyx->c", values, g)
        else:
            total[:, :, i, j] = np.tensordot(g, values, ((0, 2, 3), (0, 2, 3)))
    return total


def _conv2d_bias(layer: Layer, gradient: np.ndarray) -> np.ndarray:
    return gradient.astype(np.float64).sum((0, 2, 3))


def _quantized_conv2d(layer: Layer, x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> np.ndarray:
    of = layer.keywords
    sums = _sums(layer, x.astype(np.float64) - of["input_zero_point"], w) + bias[:, None, None]
    scaled = np.rint(sums * (of["input_scale"] * of["weight_scale"] / of["scale"])) + of["zero_point"]
    return np.clip(scaled, 0, 255).astype(np.uint8)


# -- poolings ------------------------------------------------------------------------------------


def _regions(layer: Layer) -> Iterator[tuple[int, int, Slices]]:
    """Each output of an adaptive pooling and its window."""
    *_, height, width = _image_shape(layer)
    to = int(layer.argument or 1)
    for y, x in np.ndindex(to, to):
        rows, columns = (slice(i * n // to, ceil((i + 1) * n / to)) for i, n in ((y, height), (x, width)))
        yield y, x, (rows, columns)


def _max_pool2d(layer: Layer, x: np.ndarray, window: Any) -> Any:
    values, places = _maxima(layer, x)
    return (values, places) if layer.keywords.get("return_indices") else values


def _maxima(layer: Layer, x: np.ndarray) -> Pair:
    """Maxima and the first places of them in their planes."""
    padded = _padded(layer, x, -np.inf)
    at = np.arange(prod(x.shape[2:])).reshape(1, 1, *x.shape[2:])
    at = _padded(layer, at, -1)[0, 0]
    best = where = None
    for _, _, tap in _taps(layer):
        values, places = padded[(..., *tap)], np.broadcast_to(at[tap], padded[(..., *tap)].shape)
        if best is None or where is None:
            best, where = values, places
        else:
            more = values > best
            best, where = np.where(more, values, best), np.where(more, places, where)
    return np.asarray(best), np.asarray(where, np.int64)


def _adaptive_maxima(layer: Layer, x: np.ndarray) -> Pair:
    to = int(layer.argument or 1)
    best, where = np.empty((*x.shape[:2], to, to), x.dtype), np.empty((*x.shape[:2], to, to), np.int64)
    for i, j, (rows, columns) in _regions(layer):
        part = x[:, :, rows, columns]
        at = part.reshape(*x.shape[:2], -1).argmax(-1)
        width = part.shape[3]
        where[:, :, i, j] = (rows.start + at // width) * x.shape[3] + columns.start + at % width
        best[:, :, i, j] = part.max((2, 3))
    return best, where


def places_of_maxima(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Flat places in the planes of an image, in the order of the layout."""
    nhwc = layer.layout == "NHWC"
    find = _maxima if layer.argument is None else _adaptive_maxima
    places = find(layer, _first(x) if nhwc else x)[1]
    return np.ascontiguousarray(np.moveaxis(places, 1, -1) if nhwc else places)


def _avg_pool2d(layer: Layer, x: np.ndarray, window: Any) -> np.ndarray:
    padded = _padded(layer, x.astype(np.float64))
    return np.asarray(sum(padded[(..., *at)] for _, _, at in _taps(layer))) / prod(layer.window)


def _adaptive_max_pool2d(layer: Layer, x: np.ndarray, to: Any) -> np.ndarray:
    return _adaptive_maxima(layer, x)[0]


def _adaptive_avg_pool2d(layer: Layer, x: np.ndarray, to: int) -> np.ndarray:
    means = np.empty((*x.shape[:2], to, to))
    for i, j, at in _regions(layer):
        means[:, :, i, j] = x[(..., *at)].mean((2, 3), dtype=np.float64)
    return means


def _max_backward(layer: Layer, gradient: np.ndarray, places: np.ndarray, shape: Any) -> np.ndarray:
    n, c, h, w = _image_shape(layer)
    planes = np.arange(n * c).reshape(n, c, 1, 1) * (h * w)
    return np.bincount((planes + places).ravel(), gradient.ravel(), n * c * h * w).reshape(n, c, h, w)


def _avg_backward(layer: Layer, gradient: np.ndarray, shape: Any, window: Any) -> np.ndarray:
    total = _padded_zeros(layer)
    for _, _, at in _taps(layer):
        total[(..., *at)] += gradient / prod(layer.window)
    return _cut(layer, total)


def _adaptive_avg_backward(layer: Layer, gradient: np.ndarray, shape: Any) -> np.ndarray:
    total = _padded_zeros(layer)
    for i, j, at in _regions(layer):
        part = total[(..., *at)]
        part += gradient[:, :, i : i + 1, j : j + 1].astype(np.float64) / prod(part.shape[2:])
    return total


_PLANES: dict[str, Callable[..., Any]] = {
    "conv2d": _conv2d,
    "conv2d_input": _conv2d_input,
    "conv2d_weight": _conv2d_weight,
    "conv2d_bias": _conv2d_bias,
    "quantized_conv2d": _quantized_conv2d,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "adaptive_max_pool2d": _adaptive_max_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "max_pool2d_backward": _max_backward,
    "avg_pool2d_backward": _avg_backward,
    "adaptive_max_pool2d_backward": _max_backward,
    "adaptive_avg_pool2d_backward": _adaptive_avg_backward,
}


_FORWARD = [name for name in _PLANES if "2d" in name and not name.endswith(("_input", "_weight", "_bias", "_backward"))]


# -- functions of each element ---------------------------------------------------------------------


def _values(layer: Layer, x: np.ndarray) -> np.ndarray:
    """An activation's values."""
    from scipy.special import erf, expit, log_softmax, softmax

    name = layer.operation
    if name == "gelu":
        tanh = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
        return 0.5 * x * (1 + (tanh if "approximate" in layer.keywords else erf(x / np.sqrt(2))))
    return {
        "relu": lambda: np.maximum(x, 0),
        "relu6": lambda: np.clip(x, 0, 6),
        "leaky_relu": lambda: np.where(x > 0, x, 0.01 * x),
        "sigmoid": lambda: expit(x),
        "tanh": lambda: np.tanh(x),
        "silu": lambda: x * expit(x),
        "hardswish": lambda: x * np.clip(x + 3, 0, 6) / 6,
        "elu": lambda: np.where(x > 0, x, np.expm1(x)),
        "softplus": lambda: np.logaddexp(x, 0),
        "mish": lambda: x * np.tanh(np.logaddexp(x, 0)),
        "hardsigmoid": lambda: np.clip(x + 3, 0, 6) / 6,
        "logsigmoid": lambda: -np.logaddexp(-x, 0),
        "softsign": lambda: x / (1 + np.abs(x)),
        "softmax": lambda: softmax(x, 1),
        "log_softmax": lambda: log_softmax(x, 1),
    }[name]()


def _slope(layer: Layer, x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The gradient with respect to an activation's argument."""
    from scipy.special import erf, expit, softmax

    name = layer.operation.removesuffix("_backward")
    if name in ("softmax", "log_softmax"):
        s = softmax(x, 1)
        return s * (g - (g * s).sum(1, keepdims=True)) if name == "softmax" else g - s * g.sum(1, keepdims=True)
    if name == "gelu":
        inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
        if "approximate" in layer.keywords:
            steep = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2) / np.cosh(inner) ** 2
            return g * 0.5 * (1 + np.tanh(inner) + x * steep)
        return g * (0.5 * (1 + erf(x / np.sqrt(2))) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi))
    s, soft = expit(x), np.tanh(np.logaddexp(x, 0))
    return (
        g
        * {
            "relu": lambda: x > 0,
            "relu6": lambda: (x > 0) & (x < 6),
            "leaky_relu": lambda: np.where(x > 0, 1, 0.01),
            "sigmoid": lambda: s * (1 - s),
            "tanh": lambda: 1 - np.tanh(x) ** 2,
            "silu": lambda: s * (1 + x * (1 - s)),
            "hardswish": lambda: np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1)),
            "elu": lambda: np.where(x > 0, 1, np.exp(x)),
            "softplus": lambda: s,
            "mish": lambda: soft + x * s * (1 - soft**2),
            "hardsigmoid": lambda: ((x > -3) & (x < 3)) / 6,
            "logsigmoid": lambda: 1 - s,
            "softsign": lambda: 1 / (1 + np.abs(x)) ** 2,
        }[name]()
    )
