"""Filters by a function of the user's: compiled into the window loop if it is jitted, SciPy's loop otherwise."""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn
from weakref import WeakSet

import numpy as np

from fastconv import config
from fastconv.ndimage.arguments import boundary_rule, checked_cval, filtered_axes, output_array, writable
from fastconv.ndimage.ranks import median_filter, window_footprint
from fastconv.ndimage.windows import extreme, pad_before, size_used, window_image
from fastconv.replay import remembered
from fastconv.validate import as_array, type_name

__all__ = ["generic_filter", "vectorized_filter"]

# Modes of `vectorized_filter` that are compiled.  (SciPy takes "grid-mirror" for "mirror" there.)
VECTORIZED_MODES = ("reflect", "constant", "nearest", "mirror", "wrap", "grid-constant", "grid-wrap", "valid")
# Compiling a loop takes half a second: for fewer elements it waits until the function comes again.
FEW = 256
REAL = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()


def generic_filter(
    input: Any,
    function: Callable,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Iterable[int] = 0,
    extra_arguments: tuple = (),
    extra_keywords: dict | None = None,
    *,
    axes: int | Iterable[int] | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Call a function on a window around each element; the result has the input's shape.

    With a footprint of ``K`` elements along an axis,

        output[i] = function([input[i + k - K//2 - origin] for k in the footprint])

    along each axis of `axes`, where `input` is continued beyond its edges by `mode`.  A function that
    Numba has jitted is compiled into the loop over windows, which runs on all threads without the
    interpreter.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64.
    function : callable
        Takes a 1-D array of float64, the footprint's values in C order, and returns a number.
    size : int or sequence of int, optional
        Shape of a window that is full, one number for each axis of `axes` or one for all.
    footprint : array_like, optional
        Which elements of the window are handed over.  One of `size` and `footprint` must be given.
    output : ndarray or dtype, optional
        Array of the input's shape for the result (it may overlap the input), or the result's dtype.
        Default: the input's dtype.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"}, optional
        How the input is continued; see `rank_filter`.
    cval : scalar, optional
        For ``mode="constant"``.
    origin : int or sequence of int, optional
        Shifts the window: positive values to the left.
    extra_arguments : sequence, optional
        Handed to the function after the window.
    extra_keywords : dict, optional
        Handed to the function as keyword arguments.
    axes : int, sequence of int, optional
        Axes to filter along; default all.
    threads : int, optional
        Threads for this call of a jitted function; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result, `output` itself if it was an array.

    Raises
    ------
    ValueError
        No window or one of the wrong dimensions, `origin` outside it, unknown mode, unfit `output`.
    TypeError
        Dtypes that are not real numbers, float16, longdouble.
    Exception
        What the function raises.

    Notes
    -----
    A plain Python function, a `scipy.LowLevelCallable`, a jitted function with threads of its own
    (``parallel=True``) or extra arguments that are not numbers or strings go to SciPy.  A jitted function
    is compiled by Numba whatever engine is in force, for each set of extra arguments anew, and is called
    from several threads at once, in no particular order.

    Differs from `scipy.ndimage.generic_filter`: `output` may overlap `input`, and an exception in a jitted
    function is raised as it is (SciPy 1.17 goes on and ends with `SystemError`).

    References
    ----------
    S. K. Lam, A. Pitrou, S. Seibert, "Numba: a LLVM-based Python JIT compiler", LLVM-HPC 2015,
    doi:10.1145/2833157.2833162.

    Examples
    --------
    >>> import numba, numpy as np
    >>> from fastconv.ndimage import generic_filter
    >>> @numba.njit
    ... def spread(window):
    ...     return window.max() - window.min()
    >>> generic_filter(np.array([3.0, 1.0, 4.0, 1.0, 5.0]), spread, size=3)
    array([2., 3., 3., 4., 4.])
    """
    extra = _positional(function, extra_arguments, extra_keywords)
    kernel = None if extra is None or (np.size(input) < FEW and _is_new(function)) else _kernel(function, extra)
    if kernel is None or extra is None:
        import scipy.ndimage

        return scipy.ndimage.generic_filter(
            input, function, size, footprint, output, mode, cval, origin, extra_arguments, extra_keywords, axes=axes
        )
    try:
        return _by_kernel(input, kernel.address, size, footprint, output, mode, cval, origin, axes, threads)
    except _Raised as raised:
        window = raised.window
    return _raise_again(function, window, extra)


def vectorized_filter(
    input: Any,
    function: Callable,
    *,
    size: int | Iterable[int] | None = None,
    footprint: Any = None,
    output: np.ndarray | None = None,
    mode: str = "reflect",
    cval: float | None = None,
    origin: int | Iterable[int] | None = None,
    axes: int | Iterable[int] | None = None,
    batch_memory: int = 2**30,
    threads: int | None = None,
) -> np.ndarray:
    """Reduce a window around each element by a function; the result has the input's shape.

    With a footprint of ``K`` elements along an axis,

        output[i] = function([input[i + k - K//2 - origin] for k in the footprint])

    along each axis of `axes`, where `input` is continued beyond its edges by `mode`.  A function that
    Numba has jitted is compiled into the loop over windows, which runs on all threads without the
    interpreter.

    Parameters
    ----------
    input : array_like
        Bool, integers, float32 or float64; for functions that are not jitted, whatever they take.
    function : callable
        If jitted, and with no other argument: takes a 1-D array of float64, the window's values in C
        order, and returns a number.  Else ``function(windows, axis=...)`` as SciPy calls it.
    size : int or sequence of int, optional
        Shape of a window that is full, one number for each axis of `axes` or one for all.
    footprint : array_like, optional
        Which elements of the window are handed over.  One of `size` and `footprint` must be given.
    output : ndarray, optional
        Array for the result.  Default: a new one of float64 for a jitted function, and of what the
        function returns otherwise.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap", "valid"}, optional
        How the input is continued; see `rank_filter`.  "valid": not at all, the result is smaller.
    cval : scalar, optional
        For ``mode="constant"``; default 0.
    origin : int or sequence of int, optional
        Shifts the window: positive values to the left; default 0.
    axes : int, sequence of int, optional
        Axes to filter along, in the order of the window's; default all.
    batch_memory : int, optional
        Most bytes that SciPy may hand to a function that is not jitted.
    threads : int, optional
        Threads for this call; default `fastconv.get_num_threads`.

    Returns
    -------
    ndarray
        The result.

    Raises
    ------
    ValueError
        Not exactly one of `size` and `footprint`, wrong dimensions, unknown mode, `cval` without
        ``mode="constant"``.
    Exception
        What the function raises.

    Notes
    -----
    `numpy.max`, `numpy.min`, and `numpy.median` of an odd number of values without NaN are
    `maximum_filter`, `minimum_filter` and `median_filter`.  Every other function goes to SciPy.

    Differs from `scipy.ndimage.vectorized_filter`: a jitted function of one argument, which SciPy would
    call with an ``axis``, is called with one window at a time.

    References
    ----------
    S. K. Lam, A. Pitrou, S. Seibert, "Numba: a LLVM-based Python JIT compiler", LLVM-HPC 2015,
    doi:10.1145/2833157.2833162.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.ndimage import vectorized_filter
    >>> vectorized_filter(np.array([3.0, 1.0, 4.0, 1.0, 5.0]), np.median, size=3)
    array([3., 3., 1., 4., 5.])
    """
    kernel = _kernel(function, ()) if _parameters(function) == 1 else None
    reduction = _REDUCTIONS.get(function) if getattr(function, "__hash__", None) else None
    window = _vectorized_window(input, size, footprint, output, mode, cval, origin, axes, batch_memory)
    result = None
    if window is not None and (kernel is not None or reduction is not None):
        image, inside, origins, rule, fill = window
        if kernel is not None:
            result = np.empty(image.shape)
            pad = tuple(n // 2 + shift for n, shift in zip(inside.shape, origins, strict=True))
            failed = _apply(kernel.address, image, result, inside, pad, boundary_rule(rule), fill, threads)
            if failed is not None:
                _raise_again(function, failed, ())
        elif reduction is not None:
            result = reduction(image, inside, origins, rule, fill, threads)
    if result is None:
        import scipy.ndimage

        return scipy.ndimage.vectorized_filter(
            input, function, size=size, footprint=footprint, output=output, mode=mode, cval=cval, origin=origin,
            axes=axes, batch_memory=batch_memory,
        )  # fmt: skip
    if mode == "valid":
        inner = [slice(n // 2, m - (n - 1) // 2) for n, m in zip(inside.shape, image.shape, strict=True)]
        result = result[tuple(inner)]
    if output is None:
        return np.ascontiguousarray(result)
    output[...] = result
    return output


# -- jitted functions ---------------------------------------------------------------------------


def _is_jitted(function: Any) -> bool:
    """Whether the function can be compiled into a loop; Numba is not imported to find out."""
    if "numba" not in sys.modules or not hasattr(function, "py_func"):
        return False
    from fastconv.engines.numba_cpu.function import is_compiled

    return is_compiled(function)


def _kernel(function: Any, extra: tuple) -> Any:
    """The compiled loop, or None."""
    if not _is_jitted(function):
        return None
    from fastconv.engines.numba_cpu.function import window_kernel

    return window_kernel(function, extra, tuple(map(type, extra)))


def _positional(function: Any, arguments: Any, keywords: Any) -> tuple | None:
    """What a jitted function takes after the window, in order; None if it cannot be compiled in."""
    if not arguments and not keywords:
        return ()
    if not _is_jitted(function):
        return None
    try:
        bound = inspect.signature(function.py_func).bind(None, *arguments, **(keywords or {}))
    except (TypeError, ValueError):
        return None
    bound.apply_defaults()
    extra = bound.args[1:]
    plain = all(isinstance(value, (bool, int, float, complex, str, np.number)) for value in extra)
    return extra if plain and not bound.kwargs else None


def _parameters(function: Any) -> int | None:
    """How many arguments a jitted function takes; None for others."""
    if not _is_jitted(function):
        return None
    return len(inspect.signature(function.py_func).parameters)


_seen: WeakSet[Any] = WeakSet()


def _is_new(function: Any) -> bool:
    """Whether a jitted function has not come before."""
    if not _is_jitted(function) or function in _seen:
        return False
    _seen.add(function)
    return True


class _Raised(Exception):
    """The function raised an exception on this window."""

    def __init__(self, window: np.ndarray):
        self.window = window


def _raise_again(function: Any, window: np.ndarray, extra: tuple) -> NoReturn:
    function(window, *extra)
    raise RuntimeError(f"function {function!r} raised an exception in one of the windows, but not when called again")


@remembered(arrays=1)
def _by_kernel(
    input: Any,
    kernel: int,
    size: Any,
    footprint: Any,
    output: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
    threads: int | None,
) -> np.ndarray:
    image = window_image(input)
    size = size_used(size, footprint)
    inside, origins = window_footprint(size, footprint, origin, filtered_axes(axes, image.ndim), image.ndim)
    rule = boundary_rule(mode)
    cval = checked_cval(cval, image, image)
    pad = tuple(pad_before(n, shift) for n, shift in zip(inside.shape, origins, strict=True))
    result, target = output_array(output, image, image)
    if image.size > 0:
        with writable(target, image) as native:
            failed = _apply(kernel, image, native, inside, pad, rule, cval, threads)
            if failed is not None:
                raise _Raised(failed)
    return result


def _apply(
    kernel: int,
    image: np.ndarray,
    out: np.ndarray,
    inside: np.ndarray,
    pad: tuple[int, ...],
    rule: str,
    fill: Any,
    threads: int | None,
) -> np.ndarray | None:
    """Write what the function makes of each window; if it raises an exception, return that window."""
    from fastconv.algorithms.function import run_function

    threads = config.resolve_threads(threads)
    return run_function(kernel, image, out, inside, pad, (rule,) * image.ndim, fill, threads)


# -- windows of `vectorized_filter` --------------------------------------------------------------

Window = tuple[np.ndarray, np.ndarray, tuple[int, ...], str, np.ndarray]


def _vectorized_window(
    input: Any, size: Any, footprint: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any, batch_memory: Any
) -> Window | None:
    """Image, footprint and origins over all its axes, mode, fill value; None if SciPy shall treat, or reject, them."""
    try:
        image = as_array("input", input)
        dims = filtered_axes(axes, image.ndim)
        if (
            (size is None) == (footprint is None)
            or mode not in VECTORIZED_MODES
            or (cval is not None) > (mode == "constant")
        ):
            return None
        sizes = () if size is None else tuple(map(operator.index, size if np.iterable(size) else (size,) * len(dims)))
        inside = np.ones(sizes, bool) if footprint is None else np.asarray(footprint).astype(bool)
        origins = tuple(map(operator.index, origin if np.iterable(origin) else (origin or 0,) * len(dims)))
        fill = np.asarray(0 if cval is None else cval)
        unfit = fill.size != 1 or fill.dtype.kind not in "biuf" or type_name(image.dtype) not in REAL
        if unfit or not image.ndim or not (inside.ndim == len(origins) == len(dims) > 0) or not inside.any():
            return None
        if not isinstance(batch_memory, int) or batch_memory <= 0:
            return None
        if output is not None and (not isinstance(output, np.ndarray) or np.may_share_memory(output, image)):
            return None
        if any(not 0 <= n // 2 + shift < n for n, shift in zip(inside.shape, origins, strict=True)):
            return None
        if mode == "valid" and (
            any(origins) or any(n > image.shape[a] for n, a in zip(inside.shape, dims, strict=True))
        ):
            return None
        with np.errstate(all="ignore"):
            fill = fill.reshape(()).astype(image.dtype)  # as `numpy.pad` does
    except (TypeError, ValueError):
        return None
    order = sorted(range(len(dims)), key=lambda i: dims[i])
    shift_of = dict(zip(dims, origins, strict=True))
    inside = np.expand_dims(inside.transpose(order), tuple(a for a in range(image.ndim) if a not in dims))
    shifts = tuple(shift_of.get(a, 0) for a in range(image.ndim))
    return image, inside, shifts, "reflect" if mode == "valid" else mode, fill


def _median(image: np.ndarray, inside: np.ndarray, origins: Any, mode: str, fill: Any, threads: Any) -> Any:
    integers = image.dtype.kind in "iu"
    if inside.sum() % 2 == 0 or image.dtype.kind == "b":
        return None
    if not integers and (np.isnan(image).any() or np.isnan(fill)):
        return None
    output = "float64" if integers else None
    return median_filter(image, None, inside, output, mode, fill, origins, threads=threads)


def _extreme(kind: str) -> Callable:
    def reduction(image: np.ndarray, inside: np.ndarray, origins: Any, mode: str, fill: Any, threads: Any) -> Any:
        return extreme(kind, image, None, inside, None, None, mode, fill, origins, None, threads)

    return reduction


_REDUCTIONS: dict[Any, Callable] = {np.max: _extreme("max"), np.min: _extreme("min"), np.median: _median}
