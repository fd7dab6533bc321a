"""Which algorithm computes a convolution: the one place that decides for all functions.

Three ways compete where a problem is large enough for it to matter: the direct sum, separable passes for kernels that
are sums of a few outer products (`fastconv.separability`), and Fourier transforms.  Estimated times decide
(`fastconv.costs`), among those that give what is asked for.

Transforms are taken for floating-point numbers where their rounding errors are comparable to those of the direct sum.
With ``n`` points, ``K`` weights ``w``, an image of magnitude up to ``M``, and the unit roundoff ``u``, errors are typically

    transforms   sqrt(log2 n) u |w|_2 |x|_2  <=  sqrt(n log2 n) u |w|_2 M     for each output
    direct sum   sqrt(K) u |w|_1 M

if roundings are independent (N. J. Higham, T. Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci.
Comput. 41 (2019) A2815, doi:10.1137/18M1226312; the worst case has ``log2 n`` and ``K``), so kernels qualify whose
weights are of similar magnitude.  Errors of transforms are alike all over a block, where those of the direct sum are
smaller in windows of smaller numbers.  ``precision="strict"`` takes no transforms, ``"fast"`` allows larger errors.

Integers are transformed where the rounded result is certain to be exact, in double precision, and so are
floating-point numbers that are whole in image and kernel: counts stay counts, and zeros zero.  Integer results of
`scipy.ndimage`, sums in double that are truncated, are made so from images of 8 and 16 bits: the few sums
so close to an integer that errors could decide are made again in SciPy's order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache
from math import ceil, isfinite, log2, prod, sqrt
from typing import Any, NamedTuple

import numpy as np

from fastconv import config, costs
from fastconv.device import on_device
from fastconv.problem import ConvProblem
from fastconv.replay import by_value, by_values_of, forget
from fastconv.separability import with_rank

__all__ = ["Way", "chosen", "forced", "ways_of"]

# Integers are cut into at most as many parts.
MOST_PARTS = 4

_forced: ContextVar[str | None] = ContextVar("fastconv_forced_algorithm", default=None)


def chosen(problem: ConvProblem, image: Any, kernel: Any, fill: Any = 0, threads: int | None = None) -> ConvProblem:
    """The problem with what its arrays' values allow, if that is estimated to be faster than the direct sum."""
    p = problem
    algorithm = _forced.get()
    if algorithm is not None:
        return _forced_to(algorithm, p, image, kernel, fill, threads)
    few = kernel.size < costs.MIN_TRANSFORM_TAPS and kernel.size < costs.MIN_SEPARABLE_TAPS
    if few or p.flops * costs.SLOWEST_SUM < costs.MIN_TRANSFORM_SECONDS:
        return p
    if on_device(image, kernel) or config.current_engine() == "cuda":
        return _on_device(with_rank(p, kernel, fill), image, kernel)
    workers = config.resolve_threads(threads)
    filtered = sum(taps > 1 for taps in p.kernel_shape)
    exact = np.dtype(p.in_dtype).itemsize if p.exact else 0
    direct = costs.direct_seconds(p.flops, p.out_shape, filtered, p.acc, workers, exact)
    found = with_rank(p, kernel, fill)
    if direct < costs.MIN_TRANSFORM_SECONDS or not _may_be_transformed(p, image, kernel):
        return found
    seconds = direct
    if found.rank:
        seconds = costs.passes_seconds(prod(p.out_shape), kernel.shape, found.rank, p.acc, workers)
    for way in _ways(p, fill, workers):
        if way.seconds > seconds:
            break
        by_values_of(kernel)
        asked = _allowed(way, p, image, kernel, fill)
        if asked is not None and way.seconds * (2 if asked.whole else prod(asked.parts)) < seconds:
            return asked
    return found


def _on_device(p: ConvProblem, image: Any, kernel: Any) -> ConvProblem:
    """The problem by a GPU's transforms, if they pay; of weights that lie there, a kernel looks at the values.

    Else, if the precision allows it, by matrix units where a GPU has them (`algorithms.device_streams`): their errors are 0.2 to
    1.1 times those of the direct sum in windows of numbers that differ by less than 2^16 (root mean squares; images of noise, of
    bytes, with a mean of 100; kernels of noise, positive, of sum zero), and 2^-40 of a row's largest number at most where
    they differ by more.
    """
    from fastconv.algorithms import device_fourier
    from fastconv.engines.numba_cuda import has_warpgroups

    p = replace(p, precision=config.current_precision())
    if p.precision == "strict" or not device_fourier.pays(p, has_warpgroups(image)):
        return p
    asked = replace(p, transforms=device_fourier.NAME)
    if on_device(kernel):
        return asked
    by_values_of(kernel)
    weights = np.abs(kernel).astype(np.float64)
    norm = sqrt(float(np.square(weights).sum()))
    least = device_fourier.least_sum(asked, costs.COMPARABLE[p.precision])
    return asked if isfinite(norm) and float(weights.sum()) >= least * norm else p


@contextmanager
def forced(algorithm: str) -> Iterator[None]:
    """Calls inside the block take an algorithm ("direct", "passes", "overlap", "transforms") whatever it costs.

    Those that it cannot do, or not with the errors asked for, raise `NotImplementedError`.
    """
    forget()  # a call that is replayed makes no choice
    token = _forced.set(algorithm)
    try:
        yield
    finally:
        _forced.reset(token)
        forget()


def _forced_to(algorithm: str, p: ConvProblem, image: Any, kernel: Any, fill: Any, threads: int | None) -> ConvProblem:
    """The problem by one algorithm."""
    if algorithm == "direct":
        return p
    by_value()
    if algorithm == "passes":
        found = with_rank(p, kernel, fill)
        if found.rank:
            return found
    elif _may_be_transformed(p, image, kernel):
        for way in _ways(p, fill, config.resolve_threads(threads)):
            asked = _allowed(way, p, image, kernel, fill) if way.algorithm == algorithm else None
            if asked is not None:
                return asked
    raise NotImplementedError(f"algorithm {algorithm!r} cannot do this problem as precisely as asked for: {p}")


class Way(NamedTuple):
    """Transforms of the table, their estimated time, and the points of one of them."""

    algorithm: str
    seconds: float
    points: int


def _allowed(way: Way, p: ConvProblem, image: np.ndarray, kernel: np.ndarray, fill: Any) -> ConvProblem | None:
    """The problem by transforms, if their errors are as asked for."""
    whole = p.out_dtype[0] in "fc" and _are_whole(kernel, fill)
    if whole:
        by_value()
        whole = _are_whole(image)
    if p.out_dtype[0] in "fc" and not whole:
        return replace(p, transforms=way.algorithm) if _accurate(kernel, way.points) else None
    if p.exact and way.algorithm == "overlap" and not _are_whole(kernel, fill):
        return replace(p, transforms="overlap") if _truncates(p, kernel, fill, way.points) else None
    parts = _exact_parts(p, image, kernel, fill, way.points)
    whole = whole or p.exact != ""
    if parts == () or ((whole or way.algorithm == "overlap") and parts != (1, 1)):
        return None
    return replace(p, transforms=way.algorithm, parts=parts, whole=whole)


def _truncates(p: ConvProblem, kernel: np.ndarray, fill: Any, points: int) -> bool:
    """Whether few sums by transforms are so close to an integer that errors decide what they are truncated to."""
    from fastconv.algorithms.overlap import MOST_DOUBTS, truncation_guard

    dtype = np.dtype(p.in_dtype)
    if dtype.itemsize > 2 or kernel.dtype.kind == "c" or not np.isfinite(kernel).all() or not np.isfinite(fill):
        return False
    guard = truncation_guard(dtype, kernel.astype(np.float64), fill, points)
    return guard < 0.05 / MOST_DOUBTS and prod(p.out_shape) > 4 * MOST_DOUBTS


def _are_whole(*arrays: Any) -> bool:
    """Whether all numbers of all arrays are whole.  Of most that have others, a few elements tell."""
    for array in map(np.asarray, arrays):
        if array.dtype.kind in "fc":
            few = array[tuple(slice(None, None, max(n // 8, 1)) for n in array.shape)]
            if not ((np.rint(few) == few).all() and (np.rint(array) == array).all() and np.isfinite(array).all()):
                return False
    return True


def _may_be_transformed(p: ConvProblem, image: Any, kernel: Any) -> bool:
    """Whether transforms can give the result that a problem asks for, values apart."""
    if on_device(image, kernel) or config.current_engine() not in ("auto", "cython", "numba"):
        return False
    if p.batch * p.channels * p.filters > 1 or p.bias or max(p.stride + p.dilation) > 1:
        return False
    if p.out_dtype[0] in "fc":
        return p.acc in ("float32", "float64", "complex64", "complex128") and config.current_precision() != "strict"
    return p.in_dtype[0] in "iub" and (p.acc[0] == "u" or p.exact == "order")


def _ways(p: ConvProblem, fill: Any, threads: int) -> tuple[Way, ...]:
    """The transforms that can do a problem, the fastest first."""
    return ways_of(p, not np.any(fill), threads, config.current_engine())


@lru_cache(maxsize=512)
def ways_of(p: ConvProblem, zeros: bool, threads: int, engine: str) -> tuple[Way, ...]:
    """The same, remembered; `zeros` lie beyond the borders."""
    from fastconv.algorithms import overlap, transforms

    asked, found = replace(p, transforms="overlap"), []
    if engine != "numba" and overlap.refuse(asked) is None:
        own = overlap.best_blocks(asked, threads)
        if own is not None:
            found.append(Way("overlap", own.seconds, 2 * own.points))
    if transforms.refuse(asked) is None:
        blocks = transforms.blocks_for(asked, zeros, threads)
        if blocks is not None:
            found.append(Way("transforms", blocks.seconds, prod(cut.length for cut in blocks.cuts)))
    return tuple(sorted(found, key=lambda way: way.seconds))


def _accurate(kernel: np.ndarray, points: int) -> bool:
    """Whether typical errors of transforms are comparable to those of the direct sum."""
    weights = np.abs(kernel).astype(np.float64)
    with np.errstate(over="ignore"):
        total, norm = float(weights.sum()), sqrt(float(np.square(weights).sum()))  # no BLAS: its threads would wake
    allowed = costs.COMPARABLE[config.current_precision()] * sqrt(kernel.size) * total
    return isfinite(norm) and sqrt(points * log2(points)) * norm <= allowed


def _exact_parts(p: ConvProblem, image: np.ndarray, kernel: np.ndarray, fill: Any, points: int) -> tuple[int, ...]:
    """The fewest parts of integers for which rounding the transforms' results is certain to be exact; () if there are none.

    The error of a result is at most about ``8 eps log2(points)`` times the 2-norms of the inputs (N. J.
    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed. (2002), section 24.1,
    doi:10.1137/1.9780898718027).
    """
    whole = kernel.dtype.kind in "biu"
    if not _are_whole(kernel, fill):
        return ()
    by_value()
    weights = np.abs(kernel.astype(np.result_type(kernel, np.float64)))
    most, norm = _magnitude(image, fill), sqrt(float(np.square(weights).sum()))
    if p.exact and most * float(weights.sum()) >= 2.0**31:
        return ()
    room = 0.5 / (8 * float(np.finfo(float).eps) * log2(points))
    if most * sqrt(points) * norm < room:
        return (1, 1)
    if not whole or p.exact:
        return ()
    bits = log2(room / (sqrt(points) * sqrt(min(kernel.size, points))))  # of a product of parts
    bits1, bits2 = ceil(log2(most + 1)), int(_magnitude(kernel, 0)).bit_length()
    pairs = [(m, n) for m in range(1, MOST_PARTS + 1) for n in range(1, MOST_PARTS + 1)]
    certain = [(m, n) for m, n in pairs if ceil(bits1 / m) + ceil(bits2 / n) <= bits]
    return min(certain, key=prod, default=())


def _magnitude(array: np.ndarray, fill: Any) -> int:
    """The largest of the elements and the fill value; of small types, of what they can hold."""
    if array.dtype.kind == "c":
        most = int(np.abs(array.real).max()) + int(np.abs(array.imag).max())
    elif array.dtype.kind == "b":
        most = 1
    elif array.itemsize == 1:
        most = max(int(np.iinfo(array.dtype).max), -int(np.iinfo(array.dtype).min))
    else:
        most = max(int(array.max()), -int(array.min()), 1)
    return max(most, int(abs(fill)) + 1 if np.any(fill) else 0)
