"""How arguments are drawn for each function that fastconv and SciPy have in common.

A recipe also tells roughly how long SciPy takes, so that problems can be kept short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log2, prod
from typing import Any

from fastconv.bench.dice import COMPLEX, NUMBERS, REAL, RULES, Array, Dice, Named

__all__ = ["RECIPES", "Call"]

COMMON = REAL[:-1]  # no bool
FLOATS = ("float32", "float32", "float64", "complex64", "complex128")
SIGMAS = (0.3, 12.5)
ORDERS = (0, 0, 0, 1, 2)


@dataclass(frozen=True)
class Call:
    """A recipe's draw: arguments, and what is known of the work."""

    arguments: tuple[Any, ...]
    options: dict[str, Any]
    nanoseconds: float  # that SciPy takes, roughly
    taps: float = 1.0
    gain: float = 1.0

    @property
    def seconds(self) -> float:
        return self.nanoseconds * 1e-9


def _correlate(dice: Dice) -> Call:
    image = dice.image(NUMBERS)
    axes = dice.axes(image)
    weights = dice.weights(image, dice.sizes(image, axes))
    options = dice.options(image, axes, weights.shape) | dice.output(image)
    ns = image.size * (10 + 1.8 * weights.size) * _parts(image, weights)
    return Call((image, weights), options, ns, weights.size)


def _correlate1d(dice: Dice) -> Call:
    image = dice.image(NUMBERS)
    axis = dice.axis(image)
    weights = dice.weights(image, dice.sizes(image, (axis,)))
    options = {"axis": axis} | dice.boundary() | dice.origin(image, (axis,), weights.shape) | dice.output(image)
    ns = image.size * (5 + 0.6 * weights.size) * _parts(image, weights)
    return Call((image, weights), options, ns, weights.size)


def _parts(*arrays: Array) -> int:
    """Real products in one of these arrays' products."""
    return prod(2 if "complex" in array.dtype else 1 for array in arrays)


def _gaussian(dice: Dice) -> Call:
    image = dice.image(NUMBERS)
    axes, sigma, order = dice.axes(image), dice.real(*SIGMAS), dice.one(ORDERS)
    order *= image.dtype != "bool"  # SciPy's passes leave booleans that are 255, which the next pass takes for a number
    options = dice.options(image, axes) | dice.output(image) | ({"order": order} if order else {})
    ns = image.size * len(axes) * _line_ns(sigma) * _parts(image)
    return Call((image, sigma), options, ns, 8 * sigma, _gain(sigma, order * len(axes)))


def _gaussian1d(dice: Dice) -> Call:
    image, sigma, order = dice.image(NUMBERS), dice.real(*SIGMAS), dice.one(ORDERS)
    options = {"axis": dice.axis(image)} | dice.boundary() | ({"order": order} if order else {})
    return Call((image, sigma), options, image.size * _line_ns(sigma) * _parts(image), 8 * sigma, _gain(sigma, order))


def _gaussian_derivatives(order: int) -> Callable[[Dice], Call]:
    """`gaussian_gradient_magnitude` and `gaussian_laplace`: derivatives along each axis."""

    def recipe(dice: Dice) -> Call:
        image = dice.image(COMMON)
        axes, sigma = dice.axes(image), dice.real(*SIGMAS)
        ns = image.size * len(axes) ** 2 * _line_ns(sigma)
        return Call((image, sigma), dice.options(image, axes), ns, 8 * sigma, len(axes) * _gain(sigma, order))

    return recipe


def _line_ns(sigma: float) -> float:
    """Of a Gaussian along one axis."""
    return 6 + 2.8 * sigma


def _gain(sigma: float, order: int) -> float:
    """How large a derivative can be."""
    return (2 + 6 / sigma) ** order


def _derivative(axis: bool) -> Callable[[Dice], Call]:
    """`sobel` and `prewitt` along an axis, `laplace` along all."""

    def recipe(dice: Dice) -> Call:
        # of pixels without a sign, differences below zero are everybody's own
        image = dice.image(tuple(name for name in NUMBERS if name[0] not in "ub"))
        options = ({"axis": dice.axis(image)} if axis else {}) | dice.boundary() | dice.output(image)
        ndim = image.ndim
        return Call((image,), options, image.size * 5 * ndim * _parts(image), 3**ndim, 2 * 4**ndim)

    return recipe


def _generic(dice: Dice, peer: str) -> Call:
    image = dice.image(("float32", "float64"))
    ndim = image.ndim
    return Call((image, Named(peer)), dice.boundary(), image.size * 5 * ndim * ndim, 3**ndim, 2 * 8**ndim)


def _uniform(dice: Dice) -> Call:
    image = dice.image(NUMBERS)
    axes = dice.axes(image)
    sizes = dice.sizes(image, axes)
    options = dice.options(image, axes, sizes) | dice.output(image)
    return Call((image, _size(sizes)), options, image.size * 5 * len(axes) * _parts(image), max(image.shape))


def _line_window(dtypes: tuple[str, ...]) -> Callable[[Dice], Call]:
    """Windows along one axis."""

    def recipe(dice: Dice) -> Call:
        image = dice.image(dtypes)
        axis = dice.axis(image)
        sizes = dice.sizes(image, (axis,))
        options = {"axis": axis} | dice.boundary() | dice.origin(image, (axis,), sizes)
        return Call((image, sizes[0]), options, image.size * 9 * _parts(image), max(image.shape))

    return recipe


def _extreme(structures: bool, passes: int) -> Callable[[Dice], Call]:
    """Maxima and minima over sizes, footprints and structures."""

    def recipe(dice: Dice) -> Call:
        image = dice.image(REAL)
        axes = dice.axes(image)
        sizes = dice.sizes(image, axes)
        options = dice.options(image, axes, sizes)
        pick = dice.rng.random()
        if pick < 0.7:
            ns: float = 8 * len(axes)
            options = {"size": _size(sizes)} | options
        elif pick < 0.9 or not structures or "float" not in image.dtype:
            ns, options = 10 + 2.0 * prod(sizes), {"footprint": Array(sizes, "bool", "footprint")} | options
        else:
            ns, options = 10 + 3.0 * prod(sizes), {"structure": Array(sizes, "float64", "structure")} | options
        return Call((image,), options, passes * image.size * ns, 1, 4)

    return recipe


def _rank(argument: Callable[[Dice, int], Any] | None) -> Callable[[Dice], Call]:
    """Median, percentile and rank filters; `argument` draws what comes before the size."""

    def recipe(dice: Dice) -> Call:
        image = dice.image(COMMON)
        axes = dice.axes(image)
        sizes = dice.sizes(image, axes)
        options = dice.options(image, axes, sizes)
        taps = prod(sizes)
        before = () if argument is None else (argument(dice, taps),)
        ns = image.size * (60 if image.ndim == 1 else 20 + 14 * taps)
        return Call((image, *before, _size(sizes)), options, ns, taps)

    return recipe


def _window_function(dice: Dice) -> Call:
    """`generic_filter` by a jitted function; plain ones are SciPy's."""
    image = dice.image(COMMON)
    axes = dice.axes(image)
    sizes = dice.sizes(image, axes)
    ns = image.size * (400 + 10 * prod(sizes))
    return Call((image, Named("contrast")), {"size": _size(sizes)} | dice.options(image, axes, sizes), ns)


def _window_reduction(dice: Dice) -> Call:
    """`vectorized_filter` by one of the functions that are not SciPy's."""
    image = dice.image(COMMON)
    axes, function = dice.axes(image), dice.one(("numpy.max", "numpy.min", "numpy.median"))
    sizes = tuple(min(k, image.shape[axis]) | 1 for axis, k in zip(axes, dice.sizes(image, axes), strict=True))
    options = {"size": _size(sizes), "mode": dice.one(RULES[:5])} | ({} if len(axes) == image.ndim else {"axes": axes})
    ns = image.size * prod(sizes) * (15 if "median" in function else 2)
    return Call((image, Named(function)), options, ns)


def _size(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    return sizes if len(set(sizes)) > 1 else sizes[0]


def _signal(dice: Dice, ndims: tuple[int, ...], mode: str) -> tuple[Array, Array]:
    image = dice.image((*COMMON, *COMPLEX), ndims)  # SciPy's are not for bool
    sizes = dice.sizes(image, tuple(range(image.ndim)))
    if mode == "valid":
        sizes = tuple(map(min, sizes, image.shape))
    dtype = image.dtype if dice.chance(0.8) else dice.one(("float32", "float64"))
    return image, Array(sizes, dtype, "weights")


def _sum2d(dice: Dice) -> Call:
    mode = dice.one(("full", "same", "valid"))
    image, weights = _signal(dice, (2,), mode)
    options: dict[str, Any] = {"mode": mode} | (
        {"boundary": dice.one(("fill", "wrap", "symm"))} if mode != "valid" else {}
    )
    if options.get("boundary") == "fill" and dice.chance(0.2):
        options["fillvalue"] = 1
    ns = _outputs(image, weights, mode) * weights.size * 1.2 * max(_parts(image), _parts(weights))
    return Call((image, weights), options, ns, weights.size)


def _outputs(image: Array, weights: Array, mode: str) -> int:
    sign = {"full": 1, "same": 0, "valid": -1}[mode]
    return prod(max(n + sign * (k - 1), 1) for n, k in zip(image.shape, weights.shape, strict=True))


def _sum(dice: Dice) -> Call:
    """`convolve` and `correlate`, by either method."""
    mode, method = dice.one(("full", "same", "valid")), dice.one(("auto", "auto", "auto", "direct", "fft"))
    image, weights = _signal(dice, (1, 1, 2, 2, 3), mode)
    direct = _outputs(image, weights, mode) * weights.size * (0.6 if image.ndim == 1 else 5.0)
    fourier = _fourier(image, weights)
    ns = {"auto": min(direct, fourier), "direct": direct, "fft": fourier}[method]
    options = {"mode": mode} | ({} if method == "auto" else {"method": method})
    return Call((image, weights), options, ns * max(_parts(image), _parts(weights)), weights.size)


def _fourier(image: Array, weights: Array) -> float:
    points = _outputs(image, weights, "full")
    return (3 if points < 1 << 20 else 6) * points * (3 + 0.6 * log2(points))


def _transformed(dice: Dice) -> Call:
    """`fftconvolve` and `oaconvolve`; weights may be long here."""
    mode = dice.one(("full", "same", "valid"))
    image, weights = _signal(dice, (1, 1, 2, 2, 3), mode)
    if image.ndim == 1 and dice.chance(0.5):
        weights = Array((dice.integer(8, image.shape[0]),), weights.dtype, "weights")
    ns = _fourier(image, weights) * max(_parts(image), _parts(weights))
    return Call((image, weights), {"mode": mode}, ns, weights.size)


def _sepfir2d(dice: Dice) -> Call:
    image = dice.image(FLOATS, (2,))
    # of lines shorter than the weights SciPy destroys the memory
    sizes = (min(k | 1, n // 2 * 2 - 1) for k, n in zip(dice.sizes(image, (1, 0)), reversed(image.shape), strict=True))
    rows, columns = (Array((k,), image.dtype, "weights") for k in sizes)
    taps = rows.size + columns.size
    return Call((image, rows, columns), {}, image.size * taps * 2 * _parts(image), taps)


RECIPES: dict[str, Callable[[Dice], Call]] = {
    "signal.convolve": _sum,
    "signal.correlate": _sum,
    "signal.convolve2d": _sum2d,
    "signal.correlate2d": _sum2d,
    "signal.fftconvolve": _transformed,
    "signal.oaconvolve": _transformed,
    "signal.sepfir2d": _sepfir2d,
    "ndimage.convolve": _correlate,
    "ndimage.correlate": _correlate,
    "ndimage.convolve1d": _correlate1d,
    "ndimage.correlate1d": _correlate1d,
    "ndimage.gaussian_filter": _gaussian,
    "ndimage.gaussian_filter1d": _gaussian1d,
    "ndimage.gaussian_laplace": _gaussian_derivatives(2),
    "ndimage.gaussian_gradient_magnitude": _gaussian_derivatives(1),
    "ndimage.generic_gradient_magnitude": lambda dice: _generic(dice, "sobel"),
    "ndimage.generic_laplace": lambda dice: _generic(dice, "prewitt"),
    "ndimage.sobel": _derivative(True),
    "ndimage.prewitt": _derivative(True),
    "ndimage.laplace": _derivative(False),
    "ndimage.uniform_filter": _uniform,
    "ndimage.uniform_filter1d": _line_window(NUMBERS),
    "ndimage.maximum_filter": _extreme(False, 1),
    "ndimage.minimum_filter": _extreme(False, 1),
    "ndimage.maximum_filter1d": _line_window(REAL),
    "ndimage.minimum_filter1d": _line_window(REAL),
    "ndimage.grey_dilation": _extreme(True, 1),
    "ndimage.grey_erosion": _extreme(True, 1),
    "ndimage.grey_opening": _extreme(True, 2),
    "ndimage.grey_closing": _extreme(True, 2),
    "ndimage.median_filter": _rank(None),
    "ndimage.percentile_filter": _rank(lambda dice, taps: int(dice.rng.integers(0, 101))),
    "ndimage.rank_filter": _rank(lambda dice, taps: int(dice.rng.integers(taps))),
    "ndimage.generic_filter": _window_function,
    "ndimage.vectorized_filter": _window_reduction,
}
