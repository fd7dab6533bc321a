"""Random calls of the functions that fastconv and SciPy have in common.

``draw(seed, index)`` always gives the same problem, whatever of it fastconv has.  Sizes, kernels
and windows are drawn log-uniformly.  Problems that would take SciPy much longer than `LONGEST`, by
the rates of the recipes below, are drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from math import exp, log, log2, prod
from typing import Any

import numpy as np

from fastconv.bench.pictures import GREY, picture

__all__ = ["RECIPES", "Array", "Peer", "Problem", "draw", "functions", "problems"]

LONGEST = 1.0
LARGEST_SIDE = {1: 1 << 22, 2: 4096, 3: 256}
LARGEST_KERNEL = 101
PICTURES = (*GREY, "noise")

REAL = ("float32",) * 5 + ("float64",) * 4 + ("uint8",) * 4 + ("int16", "uint16", "int32", "int64", "bool")
COMPLEX = ("complex64", "complex64", "complex128")
NUMBERS = (*REAL, *COMPLEX)
FLOATS = ("float32", "float32", "float64", "complex64", "complex128")
RULES = ("reflect", "constant", "nearest", "mirror", "wrap", "grid-mirror", "grid-constant", "grid-wrap")


@dataclass(frozen=True)
class Array:
    """An array that is still to be made.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
    content : str
        A photograph's name or "noise" for images; "weights", "footprint", "structure".
    layout : str
        "C", "F", "cropped" (out of a larger array), "every other" (along the last axis), "upside down".
    """

    shape: tuple[int, ...]
    dtype: str
    content: str
    layout: str = "C"

    @property
    def size(self) -> int:
        return prod(self.shape)

    def __str__(self) -> str:
        notes = "" if self.layout == "C" else f" {self.layout}"
        return f"{self.dtype}[{'x'.join(map(str, self.shape))}{notes}] {self.content}"

    def make(self, rng: np.random.Generator) -> np.ndarray:
        shape = list(self.shape)
        if self.layout == "F":
            return np.ascontiguousarray(self._values(self.shape[::-1], rng)).T
        if self.layout == "cropped":
            whole = self._values(tuple(n + 5 for n in shape), rng)
            return whole[tuple(slice(2, 2 + n) for n in shape)]
        if self.layout == "every other":
            return self._values((*shape[:-1], 2 * shape[-1]), rng)[..., ::2]
        values = self._values(self.shape, rng)
        return values[::-1] if self.layout == "upside down" else values

    def _values(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        dtype = np.dtype(self.dtype)
        if self.content == "footprint":
            footprint = rng.random(shape) < 0.7
            footprint[tuple(n // 2 for n in shape)] = True
            return footprint
        if self.content in ("weights", "structure"):  # positive: pixels that overflow are everybody's own
            values: Any = rng.uniform(0.2, 1.0, shape)
            values = values / values.sum() if self.content == "weights" else values
            return (np.rint(values * 50 * prod(shape)) if dtype.kind in "iu" else values).astype(dtype)
        if self.content != "noise":
            return (picture(self.content, shape, "uint8") > 99) if dtype.kind == "b" else self._photograph(shape)
        if dtype.kind in "biu":
            return rng.integers(0, 256, shape).astype(dtype) if dtype.kind != "b" else rng.random(shape) < 0.5
        values = rng.standard_normal(shape, np.float32 if self.dtype in ("float32", "complex64") else np.float64)
        return (values + 1j * values[::-1] if dtype.kind == "c" else values).astype(dtype)

    def _photograph(self, shape: tuple[int, ...]) -> np.ndarray:
        pixels = picture(self.content, shape, self.dtype)
        if pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 1:  # more than 8 bits, and both signs
            pixels = pixels * pixels.dtype.type(100)
            return pixels - pixels.dtype.type(12800) if pixels.dtype.kind == "i" else pixels
        return pixels


@dataclass(frozen=True)
class Peer:
    """The function of a name in the module that is called: arguments of the generic filters."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Problem:
    """One call.

    Attributes
    ----------
    seed, index : int
        What it was drawn from.
    function : str
        Its name under `fastconv` and under `scipy`.
    arguments : tuple
        Positional arguments; `Array` and `Peer` stand for what `call` makes of them.
    options : tuple of (str, value)
        Keyword arguments.
    estimate : float
        Seconds that SciPy is expected to take.
    taps : int
        Terms of one output.
    gain : float
        How much larger an output can be than the largest input.
    """

    seed: int
    index: int
    function: str
    arguments: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]
    estimate: float
    taps: float
    gain: float

    def __str__(self) -> str:
        arguments = [str(value) for value in self.arguments]
        options = [
            f"{name}={value if isinstance(value, Array | Peer) else repr(value)}" for name, value in self.options
        ]
        return f"{self.function}({', '.join(arguments + options)})"

    @property
    def image(self) -> Array:
        return self.arguments[0]

    def make(self) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with their arrays."""
        rng = np.random.default_rng((self.seed, self.index, 1))

        def made(value: Any) -> Any:
            return value.make(rng) if isinstance(value, Array) else value

        return [made(value) for value in self.arguments], {name: made(value) for name, value in self.options}

    def call(self, library: str, arguments: list[Any], options: dict[str, Any]) -> tuple[Callable[..., Any], Any, Any]:
        """The function of a library ("fastconv" or "scipy"), and its arguments."""
        package, name = self.function.split(".")
        module = import_module(f"{library}.{package}")

        def resolved(value: Any) -> Any:
            return getattr(module, value.name) if isinstance(value, Peer) else value

        return getattr(module, name), [resolved(v) for v in arguments], {k: resolved(v) for k, v in options.items()}


def functions() -> list[str]:
    """The functions that can be drawn and that fastconv has of its own."""
    return [name for name in RECIPES if name.split(".")[1] in import_module(f"fastconv.{name.split('.')[0]}").__all__]


def problems(count: int, seed: int = 0, pattern: str | None = None) -> Iterator[Problem]:
    """The first `count` problems of a seed whose functions fastconv has and match a shell pattern."""
    present = [name for name in functions() if pattern is None or fnmatchcase(name, f"*{pattern}*")]
    if not present:
        raise ValueError(f"functions must match one of {', '.join(functions())}; got {pattern!r}")
    index = 0
    while count > 0:
        if _function(_generator(seed, index)) in present:
            yield draw(seed, index)
            count -= 1
        index += 1


def draw(seed: int, index: int) -> Problem:
    """The problem of an index."""
    rng = _generator(seed, index)
    name = _function(rng)
    dice = Dice(rng)
    while True:
        call = RECIPES[name](dice)
        if call.seconds < LONGEST:
            options = tuple(call.options.items())
            return Problem(seed, index, name, call.arguments, options, call.seconds, call.taps, call.gain)


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng((seed, index, 0))


def _function(rng: np.random.Generator) -> str:
    return list(RECIPES)[rng.integers(len(RECIPES))]


# -- what is drawn ---------------------------------------------------------------------------------


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


class Dice:
    """Draws the parts of a call."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one(self, choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def real(self, low: float, high: float) -> float:
        return float(f"{exp(self.rng.uniform(log(low), log(high))):.3g}")

    def integer(self, low: int, high: int) -> int:
        return min(int(exp(self.rng.uniform(log(low), log(high + 1)))), high)

    def image(self, dtypes: tuple[str, ...], ndims: tuple[int, ...] = (1, 2, 2, 2, 3)) -> Array:
        ndim = self.one(ndims)
        shape = tuple(self.integer(8, LARGEST_SIDE[ndim]) for _ in range(ndim))
        if ndim > 1 and self.chance(0.5):
            shape = shape[:1] * ndim
        layout = "C" if self.chance(0.6) else self.one(("F", "cropped", "every other", "upside down"))
        return Array(shape, self.one(dtypes), self.one(PICTURES), layout)

    def sizes(self, ndim: int, low: int = 1) -> tuple[int, ...]:
        """Of a kernel or window: mostly odd, mostly the same along all axes."""
        sizes = tuple(self.integer(low, LARGEST_KERNEL) for _ in range(ndim))
        sizes = sizes[:1] * ndim if self.chance(0.6) else sizes
        return sizes if self.chance(0.3) else tuple(min(k | 1, LARGEST_KERNEL) for k in sizes)

    def boundary(self, complex_too: bool = False) -> dict[str, Any]:
        if self.chance(0.35):
            return {}
        rule = self.one(RULES)
        return {"mode": rule} | ({"cval": 1.5} if rule == "constant" and self.chance(0.5) else {})

    def origin(self, sizes: tuple[int, ...], shape: tuple[int, ...]) -> dict[str, Any]:
        """Of windows that fit into the image: shifts of others SciPy gets wrong."""
        if any(k > n for k, n in zip(sizes, shape, strict=True)) or self.chance(0.85):
            return {}
        shifts = tuple(int(self.rng.integers(-(k // 2), (k - 1) // 2 + 1)) for k in sizes)
        return {"origin": shifts[0] if len(shifts) == 1 else shifts}

    def output(self, dtype: str) -> dict[str, Any]:
        allowed = ("complex64", "complex128") if "complex" in dtype else ("float32", "float64")
        return {"output": self.one(allowed)} if self.chance(0.1) else {}

    def axes(self, ndim: int) -> tuple[int, ...]:
        """All axes, or some of them."""
        if ndim == 1 or self.chance(0.85):
            return tuple(range(ndim))
        first = int(self.rng.integers(ndim))
        return (first,) if ndim == 2 or self.chance(0.5) else tuple(sorted({first, (first + 1) % ndim}))

    def weights(self, sizes: tuple[int, ...], dtype: str) -> Array:
        """For ndimage, whose weights are real or complex numbers."""
        own = dtype if dtype[0] in "fc" and self.chance(0.6) else "float64"
        return Array(sizes, own, "weights")


def _some(axes: tuple[int, ...], ndim: int) -> dict[str, Any]:
    return {} if len(axes) == ndim else {"axes": axes}


def _correlate(dice: Dice) -> Call:
    image = dice.image(NUMBERS)
    axes = dice.axes(len(image.shape))
    weights = dice.weights(dice.sizes(len(axes)), image.dtype)
    options = (
        dice.boundary()
        | dice.origin(weights.shape, _along(axes, image))
        | dice.output(image.dtype)
        | _some(axes, len(image.shape))
    )
    return Call(
        (image, weights), options, image.size * (10 + 1.8 * weights.size) * _parts(image, weights), weights.size
    )


def _correlate1d(dice: Dice) -> Call:
    image = dice.image(NUMBERS)
    weights = dice.weights(dice.sizes(1), image.dtype)
    axis = _axis(dice, image)
    options = (
        {"axis": axis} | dice.boundary() | dice.origin(weights.shape, _along((axis,), image)) | dice.output(image.dtype)
    )
    return Call((image, weights), options, image.size * (5 + 0.6 * weights.size) * _parts(image, weights), weights.size)


def _parts(*arrays: Array) -> int:
    """Real products in one of these arrays' products."""
    return prod(2 if "complex" in array.dtype else 1 for array in arrays)


def _along(axes: tuple[int, ...], image: Array) -> tuple[int, ...]:
    return tuple(image.shape[axis] for axis in axes)


def _axis(dice: Dice, image: Array) -> int:
    return int(dice.rng.integers(len(image.shape)))


def _gaussian(passes: float, order: int) -> Callable[[Dice], Call]:
    """A filter of `passes` times the axes; `order` of the derivative, -1: drawn."""

    def recipe(dice: Dice) -> Call:
        image = dice.image(NUMBERS if passes == 1 else REAL[:-1])
        axes = dice.axes(len(image.shape))
        sigma = dice.real(0.3, 12.5)
        degree = order if order >= 0 else dice.one((0, 0, 0, 1, 2))
        options = dice.boundary() | dice.output(image.dtype) | _some(axes, len(image.shape))
        options |= {"order": degree} if order < 0 and degree else {}
        lines = len(axes) * (passes if passes == 1 else len(axes))
        gain = (2 + 6 / sigma) ** (degree * (len(axes) if order < 0 else 1)) * len(axes)
        ns = image.size * lines * (6 + 8 * sigma * 0.35) * _parts(image)
        return Call((image, sigma), options, ns, 8 * sigma + 1, gain)

    return recipe


def _gaussian1d(dice: Dice) -> Call:
    image, sigma, degree = dice.image(NUMBERS), dice.real(0.3, 12.5), dice.one((0, 0, 0, 1, 2))
    options = {"axis": _axis(dice, image)} | dice.boundary() | ({"order": degree} if degree else {})
    ns = image.size * (6 + 8 * sigma * 0.35) * _parts(image)
    return Call((image, sigma), options, ns, 8 * sigma + 1, (2 + 6 / sigma) ** degree)


def _derivative(axis: bool) -> Callable[[Dice], Call]:
    """`sobel` and `prewitt` along an axis, `laplace` along all."""

    def recipe(dice: Dice) -> Call:
        # of pixels without a sign, differences below zero are everybody's own
        image = dice.image(tuple(name for name in NUMBERS if name[0] not in "ub"))
        options = ({"axis": _axis(dice, image)} if axis else {}) | dice.boundary() | dice.output(image.dtype)
        ndim = len(image.shape)
        return Call((image,), options, image.size * 5 * ndim * _parts(image), 3**ndim, 2 * 4**ndim)

    return recipe


def _generic(dice: Dice, peer: str) -> Call:
    image = dice.image(("float32", "float64"))
    ndim = len(image.shape)
    return Call((image, Peer(peer)), dice.boundary(), image.size * 5 * ndim * ndim, 3**ndim, 2 * 8**ndim)


def _uniform(dice: Dice) -> Call:
    image = dice.image(NUMBERS)
    axes = dice.axes(len(image.shape))
    sizes = dice.sizes(len(axes))
    options = (
        dice.boundary()
        | dice.origin(sizes, _along(axes, image))
        | dice.output(image.dtype)
        | _some(axes, len(image.shape))
    )
    size = sizes if len(set(sizes)) > 1 else sizes[0]
    return Call((image, size), options, image.size * 5 * len(axes) * _parts(image), max(sizes))


def _line_window(dtypes: tuple[str, ...]) -> Callable[[Dice], Call]:
    """Windows along one axis."""

    def recipe(dice: Dice) -> Call:
        image, sizes = dice.image(dtypes), dice.sizes(1)
        axis = _axis(dice, image)
        options = {"axis": axis} | dice.boundary() | dice.origin(sizes, _along((axis,), image))
        return Call((image, sizes[0]), options, image.size * 9 * _parts(image), sizes[0])

    return recipe


def _extreme(structures: bool, passes: int) -> Callable[[Dice], Call]:
    """Maxima and minima over sizes, footprints and structures."""

    def recipe(dice: Dice) -> Call:
        image = dice.image(REAL)
        axes = dice.axes(len(image.shape))
        sizes = dice.sizes(len(axes))
        options = dice.boundary() | dice.origin(sizes, _along(axes, image)) | _some(axes, len(image.shape))
        pick = dice.rng.random()
        if pick < 0.7:
            ns: float = 8 * len(axes)
            options = {"size": sizes if len(set(sizes)) > 1 else sizes[0]} | options
        elif pick < 0.9 or not structures or "float" not in image.dtype:
            ns, options = 10 + 2.0 * prod(sizes), {"footprint": Array(sizes, "bool", "footprint")} | options
        else:
            ns, options = 10 + 3.0 * prod(sizes), {"structure": Array(sizes, "float64", "structure")} | options
        return Call((image,), options, passes * image.size * ns, 1, 4)

    return recipe


def _rank(argument: Callable[[Dice, int], Any] | None) -> Callable[[Dice], Call]:
    """Median, percentile and rank filters; `argument` draws what comes before the size."""

    def recipe(dice: Dice) -> Call:
        image = dice.image(REAL[:-1])
        axes = dice.axes(len(image.shape))
        sizes = dice.sizes(len(axes))
        options = dice.boundary() | dice.origin(sizes, _along(axes, image)) | _some(axes, len(image.shape))
        size = sizes if len(set(sizes)) > 1 else sizes[0]
        taps = prod(sizes)
        before = () if argument is None else (argument(dice, taps),)
        ns = image.size * (60 if len(image.shape) == 1 else 20 + 14 * taps)
        return Call((image, *before, size), options, ns, taps)

    return recipe


def _signal(dice: Dice, ndims: tuple[int, ...], mode: str) -> tuple[Array, Array]:
    image = dice.image((*REAL[:-1], *COMPLEX), ndims)  # SciPy's are not for bool
    sizes = dice.sizes(len(image.shape))
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
    direct = _outputs(image, weights, mode) * weights.size * (0.6 if len(image.shape) == 1 else 5.0)
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
    if len(image.shape) == 1 and dice.chance(0.5):
        weights = Array((dice.integer(8, image.shape[0]),), weights.dtype, "weights")
    ns = _fourier(image, weights) * max(_parts(image), _parts(weights))
    return Call((image, weights), {"mode": mode}, ns, weights.size)


def _sepfir2d(dice: Dice) -> Call:
    image = dice.image(FLOATS, (2,))
    longest = (n // 2 * 2 - 1 for n in reversed(image.shape))  # of longer lines SciPy destroys the memory
    rows, columns = (Array((min(dice.sizes(1)[0] | 1, n),), image.dtype, "weights") for n in longest)
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
    "ndimage.gaussian_filter": _gaussian(1, -1),
    "ndimage.gaussian_filter1d": _gaussian1d,
    "ndimage.gaussian_laplace": _gaussian(2, 2),
    "ndimage.gaussian_gradient_magnitude": _gaussian(2, 1),
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
    "ndimage.morphological_gradient": _extreme(True, 2),
    "ndimage.morphological_laplace": _extreme(True, 2),
    "ndimage.white_tophat": _extreme(True, 2),
    "ndimage.black_tophat": _extreme(True, 2),
    "ndimage.median_filter": _rank(None),
    "ndimage.percentile_filter": _rank(lambda dice, taps: int(dice.rng.integers(0, 101))),
    "ndimage.rank_filter": _rank(lambda dice, taps: int(dice.rng.integers(taps))),
}
