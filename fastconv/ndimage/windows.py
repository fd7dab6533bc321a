"""What moving maxima, minima and means have in common: arguments to problems."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv.ndimage.arguments import (
    DTYPES,
    boundary_rule,
    checked_cval,
    filtered_axes,
    output_array,
    per_axis,
    warn_caller,
    writable,
)
from fastconv.plan import execute
from fastconv.problem import WindowProblem
from fastconv.replay import copy_into
from fastconv.validate import (
    MAX_STEP,
    ArgumentError,
    ArgumentTypeError,
    TooLargeError,
    as_array,
    axis_index,
    type_name,
)

__all__ = [
    "Line",
    "compared",
    "extreme",
    "filter_lines",
    "line_window",
    "lines_of",
    "of_dtype",
    "pad_before",
    "size_used",
    "whole",
    "window_image",
]


class Line(NamedTuple):
    """A window along one axis: it begins `pad` positions before the output's."""

    axis: int
    size: int
    pad: int
    rule: str


def window_image(input: Any, complex_too: bool = False) -> np.ndarray:
    """The argument as an array that windows are moved over."""
    image = as_array("input", input, empty=True)
    if type_name(image.dtype) not in DTYPES or (image.dtype.kind == "c" and not complex_too):
        allowed = ", ".join(name for name in DTYPES if complex_too or name[0] != "c")
        raise ArgumentTypeError(f"input must have one of the dtypes {allowed}; got {image.dtype}")
    return image


def line_window(image: np.ndarray, size: Any, axis: Any, origin: Any, mode: Any) -> Line:
    """The window of a function for one axis."""
    axis = axis_index("axis", axis, image.ndim)
    try:
        n = operator.index(size)
    except TypeError:
        raise ArgumentTypeError(f"size must be an integer; got {size!r}") from None
    return Line(axis, _window_size(n, least=1), pad_before(n, origin), boundary_rule(mode))


def lines_of(size: Any, origin: Any, mode: Any, axes: tuple[int, ...]) -> list[Line]:
    """The windows of a function for many axes; as in SciPy, along axes of size 1 or less there is none."""
    sizes = [_window_size(whole("size", n)) for n in per_axis("size", size, len(axes))]
    origins, modes = per_axis("origin", origin, len(axes)), per_axis("mode", mode, len(axes))
    return [
        Line(axis, n, pad_before(n, shift), boundary_rule(rule))
        for axis, n, shift, rule in zip(axes, sizes, origins, modes, strict=True)
        if n > 1
    ]


def filter_lines(
    kind: str, image: np.ndarray, output: Any, lines: Sequence[Line], cval: Any, threads: int | None
) -> np.ndarray:
    """Take windows along one line after another; what each leaves is stored as the output's dtype."""
    cval = checked_cval(cval, image, image)
    result, target = output_array(output, image, image)
    if image.size == 0:
        return result
    lines = [line for line in lines if line.size > 1]
    if not lines:
        copy_into(target, image)
        return result
    with writable(target, image) as native:
        parts = [(image, native, cval)]
        if image.dtype.kind == "c":  # NaN stays in its part
            parts = [(image.real, native.real, np.real(cval)), (image.imag, native.imag, np.imag(cval))]
        for source, destination, fill in parts:
            problem = _problem(kind, source, destination, lines, fill)
            execute(problem, source, None, destination, fill=np.asarray(fill), threads=threads)
    return result


def size_used(size: Any, footprint: Any) -> Any:
    """None where a footprint tells the size, with a warning to the caller's caller."""
    if size is not None and footprint is not None:
        warn_caller("ignoring size because footprint is set")
    return size if footprint is None else None


def extreme(
    kind: str,
    image: np.ndarray,
    size: Any,
    footprint: Any,
    structure: Any,
    output: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
    threads: int | None,
) -> np.ndarray:
    """The maximum or minimum over a size, a footprint or a structure, whose numbers are added (subtracted)."""
    axes = filtered_axes(axes, image.ndim)
    if footprint is not None:
        footprint = np.asarray(footprint).astype(bool)
        if not footprint.any():
            raise ValueError("footprint must have an element that is not zero; got none")
    if structure is not None:
        structure = as_array("structure", structure).astype(np.float64)
        footprint = np.ones(structure.shape, bool) if footprint is None else footprint
        if footprint.shape != structure.shape:
            raise ArgumentError(f"structure must have the footprint's shape {footprint.shape}; got {structure.shape}")
    elif footprint is None and size is None:
        raise ArgumentError("size or footprint must be given; got None")
    elif footprint is None or footprint.all():
        lines = lines_of(size if footprint is None else footprint.shape, origin, mode, axes)
        return filter_lines(kind, image, output, lines, cval, threads)
    if footprint.ndim != len(axes):
        name = "footprint" if structure is None else "structure"
        raise ArgumentError(f"{name} must have {len(axes)} dimensions, one for each axis; got shape {footprint.shape}")

    # As in SciPy, a footprint's axes belong to the filtered ones in ascending order, the origins to
    # them as they are named (if some axes are left out).
    origins = per_axis("origin", origin, len(axes))
    shift_of = dict(zip(sorted(axes) if len(axes) == image.ndim else axes, origins, strict=True))
    others = tuple(a for a in range(image.ndim) if a not in axes)
    footprint = np.expand_dims(footprint, others)
    pad = tuple(pad_before(n, shift_of.get(a, 0)) for a, n in enumerate(footprint.shape))
    rule = boundary_rule(mode)
    cval = checked_cval(cval, image, image)
    result, target = output_array(output, image, image)
    if image.size == 0:
        return result
    if structure is not None:
        structure = np.expand_dims(-structure if kind == "min" else structure, others)
    cval = of_dtype(cval, image.dtype)
    with writable(target, image) as native:
        acc = "float64" if structure is not None else compared(image, native, rule == "fill", cval)
        problem = WindowProblem(
            kind, image.shape, footprint.shape, type_name(image.dtype), acc, type_name(native.dtype), pad,
            (rule,) * image.ndim, footprint.tobytes(), structure=structure is not None,
        )  # fmt: skip
        execute(problem, image, structure, native, fill=np.asarray(cval), threads=threads)
    return result


def _problem(kind: str, image: np.ndarray, out: np.ndarray, lines: Sequence[Line], fill: Any) -> WindowProblem:
    window, pad, rules = [1] * image.ndim, [0] * image.ndim, ["reflect"] * image.ndim
    for line in lines:
        line = line if kind == "mean" else _cut(line, image.shape[line.axis])
        window[line.axis], pad[line.axis], rules[line.axis] = line.size, line.pad, line.rule
    accumulator = _summed if kind == "mean" else compared
    acc = accumulator(image, out, "fill" in rules, fill)
    return WindowProblem(
        kind, image.shape, tuple(window), type_name(image.dtype), acc, type_name(out.dtype), tuple(pad), tuple(rules),
        passes=tuple(line.axis for line in lines),
    )  # fmt: skip


def _cut(line: Line, n: int) -> Line:
    """A window that reaches no further than it must to hold the same samples of `n`."""
    before, after = line.pad, line.size - 1 - line.pad
    if line.rule != "fill" and min(before, after) >= n - 1:  # all of them
        return Line(line.axis, n, 0, "wrap")
    enough = {"fill": n, "nearest": n - 1, "reflect": 2 * n - 1, "mirror": 2 * n - 2, "wrap": n - 1}[line.rule]
    before, after = min(before, enough), min(after, enough)
    return Line(line.axis, before + 1 + after, before, line.rule)


def compared(image: np.ndarray, out: np.ndarray, filled: bool, cval: Any) -> str:
    """The dtype in which values are compared: the array's own, unless that cannot hold `cval` or the result."""
    if image.dtype != out.dtype or (filled and image.dtype.kind in "biu" and not _within(cval, image.dtype)):
        return "float64"
    return type_name(image.dtype)


def of_dtype(cval: Any, dtype: np.dtype) -> np.ndarray:
    """The fill value as SciPy takes it in windows of any form: as an element of the image."""
    from fastconv.reference import c_cast

    return c_cast(np.asarray(cval, np.float64), dtype)


def _summed(image: np.ndarray, out: np.ndarray, filled: bool, cval: Any) -> str:
    """The dtype in which values are summed; "int64" tells that all of them are small integers."""
    if image.dtype == out.dtype == np.float32:
        return "float32"
    integers = image.dtype.kind in "biu" and image.dtype.itemsize <= 4
    fits = out.dtype.kind in "biu" and np.can_cast(image.dtype, out.dtype)
    if integers and fits and not (filled and not (_within(cval, image.dtype) and float(cval).is_integer())):
        return "int64"
    return "float64"


def _within(number: Any, dtype: np.dtype) -> bool:
    """Whether an integer dtype holds a number, cut to an integer."""
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return bool(np.isfinite(number)) and low <= int(number) <= high


def _window_size(n: int, least: int | None = None) -> int:
    if least is not None and n < least:
        raise ArgumentError(f"size must be at least {least}; got {n}")
    if n > MAX_STEP:
        raise TooLargeError(f"size must be at most {MAX_STEP}; got {n}")
    return n


def pad_before(size: int, origin: Any) -> int:
    """Positions of a window before the output's."""
    try:
        inside = np.ndim(origin) == 0 and -(size // 2) <= origin <= (size - 1) // 2
        shift = operator.index(origin) if inside else 0
    except TypeError:
        inside = None
    if inside is None or np.ndim(origin):
        raise ArgumentTypeError(f"origin must be an integer for each axis; got {origin!r}")
    if not inside:
        raise ArgumentError(
            f"origin must be in [{-(size // 2)}, {(size - 1) // 2}] for a window of size {size}; got {origin}"
        )
    return size // 2 + shift


def whole(name: str, value: Any) -> int:
    """As SciPy takes sizes: numbers are cut to integers."""
    try:
        return operator.index(value)
    except TypeError:
        pass
    try:
        if not isinstance(value, str | bytes):
            return int(float(value))
    except (TypeError, ValueError, OverflowError):
        pass
    raise ArgumentTypeError(f"{name} must be an integer or a sequence of integers; got {value!r}")
