"""What work is estimated to cost, for choices that must be made before it is done.

The constants are those of `fastconv.rates`; estimates have to be right within a factor of 1.25 or so where algorithms
are compared (``python -m fastconv regret`` measures what a wrong choice costs).
"""

from __future__ import annotations

from math import log2, prod, sqrt

import numpy as np

from fastconv import rates

__all__ = [
    "BLOCKS_CALL_SECONDS",
    "COMPARABLE",
    "FOURIER_CALL_SECONDS",
    "MIN_SEPARABLE_TAPS",
    "MIN_TRANSFORM_SECONDS",
    "MIN_TRANSFORM_TAPS",
    "MOST_SPECTRUM",
    "PYTHON_THREADS_SECONDS",
    "direct_seconds",
    "fourier_seconds",
    "outer_products_worth_using",
    "overlap_call_seconds",
    "overlap_seconds",
    "passes_seconds",
    "seconds_one_thread",
    "separable_gain",
    "threads_worth_using",
]

# How many times the direct sum's typical error the transforms' may be.
COMPARABLE = {"default": 2.0, "fast": 16.0}

# Separable passes have to be faster by this factor, and each outer product that a kernel is examined for
# (10-20 us) to cost less than 3% of the direct sum.
MIN_GAIN, SECONDS_A_TERM = 1.3, 400e-6
MIN_SEPARABLE_TAPS = 81
# Transforms are not considered for smaller kernels, nor for direct sums that take less: to look at the values costs 20-50 us,
# and the call is not replayed.
MIN_TRANSFORM_TAPS, MIN_TRANSFORM_SECONDS = 24, 60e-6
# How many times the direct sum's typical error the transforms' may be: see `fastconv.choice`.
COMPARABLE = {"default": 2.0, "fast": 16.0}
# What no operation of a direct sum exceeds, in seconds: sums of few operations need no estimate, which takes 10 us itself.
SLOWEST_SUM = 100e-12


def seconds_one_thread(flops: int, nbytes: int) -> float:
    """Estimated time of a direct sum on one thread."""
    r = rates.current()
    return max(flops / r.flops, nbytes / r.bandwidth)


def threads_worth_using(flops: int, nbytes: int, available: int) -> int:
    """How many of the available threads to use."""
    if available == 1:
        return 1
    seconds, least = seconds_one_thread(flops, nbytes), rates.current().min_seconds
    return 1 if seconds < least else min(available, 1 + int(seconds / (least / 2)))


# A thread takes longer beside others: they share caches, memory, and what the processor may heat.
BESIDE_OTHERS = 1.1
# Factors by the bytes of a unit's scratch memory; the time in Python of a call, and what it takes more on several threads;
# both of calls that are replayed, and the most bytes of these calls' results and kernels.
OVERLAP_CACHES = ((640 * 2**10, 1.0), (1300 * 2**10, 1.1), (2500 * 2**10, 1.18), (5000 * 2**10, 1.25), (1 << 62, 1.5))
OVERLAP_CALL_SECONDS, OVERLAP_THREADS_SECONDS = 48e-6, 25e-6
REPLAYED_CALL_SECONDS, REPLAYED_THREADS_SECONDS, REPLAYED_RESULT, REPLAYED_KERNEL = 10e-6, 5e-6, 4 << 20, 4096
# Bytes of a kernel's spectrum that is kept from call to call: 31x31 on 256x256 takes a tenth less, on 512x512 an eighth.
MOST_SPECTRUM = 1 << 20


def overlap_call_seconds(result: int, kernel: int, threads: int) -> float:
    """The time in Python of a convolution by transforms, and of several threads, for so many bytes of arrays."""
    if result <= REPLAYED_RESULT and kernel <= REPLAYED_KERNEL:
        return REPLAYED_CALL_SECONDS + (REPLAYED_THREADS_SECONDS if threads > 1 else 0.0)
    return OVERLAP_CALL_SECONDS + (OVERLAP_THREADS_SECONDS if threads > 1 else 0.0)


def overlap_seconds(points: int, lines: int, work: int, units: int, itemsize: int, nbytes: int, threads: int) -> float:
    """Estimated time of a convolution by transforms of so many points, of which a unit does so much `work` in points.

    That of the call, apart from its transforms, is `overlap_call_seconds`.
    """
    r = rates.current()
    scratch = (4 if lines > 1 else 2) * work * itemsize
    slower = next(factor for size, factor in OVERLAP_CACHES if scratch <= size)
    each = work * (r.point + r.halving * log2(points)) * slower * (r.double if itemsize == 8 else 1.0)
    threads = min(threads, units)
    if threads > 1:
        each *= BESIDE_OTHERS
    analysis = 0.0 if lines == 1 and 2 * points * itemsize <= MOST_SPECTRUM else 0.5
    return (analysis + -(-units // threads)) * each + nbytes / r.bandwidth / threads


# The time in Python of a call by passes; complex sums take more of them.
PASSES_CALL_SECONDS, COMPLEX_PASSES = 50e-6, 6.0


def outer_products_worth_using(flops: int, kernel_shape: tuple[int, ...]) -> int:
    """How many outer products a kernel may be the sum of for separable passes to be faster than the direct sum."""
    r = rates.current()
    alone = separable_gain(kernel_shape) / MIN_GAIN
    most = max(int(alone / r.sums_of_passes), int(min(alone, 1.0)))
    return min(most, int(flops / r.flops / SECONDS_A_TERM))


def passes_seconds(outputs: int, kernel_shape: tuple[int, ...], rank: int, acc: str, threads: int) -> float:
    """Estimated time of the passes of so many outer products."""
    several = rates.current().sums_of_passes * rank if rank > 1 else 1.0
    each = _passes(kernel_shape) * several * _slower(acc) * (COMPLEX_PASSES if acc.startswith("complex") else 1.0)
    return PASSES_CALL_SECONDS * min(rank, 2) + outputs * each * _shared_by(threads)


def separable_gain(kernel_shape: tuple[int, ...]) -> float:
    """How many times faster than the direct sum the passes of one outer product are, their call apart."""
    r, passes = rates.current(), _passes(kernel_shape)
    kind = min(len([taps for taps in kernel_shape if taps > 1]), 3) - 1
    return (2 * prod(kernel_shape) * r.sums[kind] + r.outputs[kind]) / passes if passes else 1.0


def _passes(kernel_shape: tuple[int, ...]) -> float:
    """Seconds of an output in float32 by the passes of one outer product."""
    r, lines = rates.current(), [taps for taps in kernel_shape if taps > 1]
    return sum(r.line_tap * taps + r.line_output for taps in lines) * (r.solid_passes if len(lines) > 2 else 1.0)


# Fourier transforms by scipy.fft, forth and back, with the product between: seconds for each point,
# and for each point and halving of the transform.  Measured from 2**6 to 2**20 points.
POINT_SECONDS = {"float32": 1.0e-9, "float64": 1.5e-9}
POINT_HALVING_SECONDS = {"float32": 0.19e-9, "float64": 0.31e-9}
LONGDOUBLE_SECONDS = 4e-9
COMPLEX_FACTOR = 1.8
# Each factor of a transform's length that is not 2 makes it take this part longer.
ODD_FACTOR = 0.06
# The time in Python of a call, and what it takes more by blocks.
FOURIER_CALL_SECONDS = 80e-6
BLOCKS_CALL_SECONDS = 35e-6
# One-dimensional transforms are vectorised over as many of them; a lone one takes longer by the factor.
VECTOR_BYTES = 16
LONE_FACTOR = {"float32": 2.3, "float64": 1.6, "complex64": 2.4, "complex128": 1.6}
# Those larger than the cache wait for memory: bytes, factor; of one axis and of more.
LINE_CACHE = [(12 * 2**20, 3.0), (6 * 2**20, 1.6), (2 * 2**20, 1.3)]
PLANE_CACHE = [(32 * 2**20, 2.2), (12 * 2**20, 1.8), (2 * 2**20, 1.3)]

# A Python thread takes 35-70 us to start, and a sleeping processor up to 1 ms to wake.
PYTHON_THREADS_SECONDS = 3e-3


# A direct sum is made of tiles of 8 rows by 128 bytes, or of 512 bytes of a line; parts of one take as long as the whole.
TILE_ROWS, TILE_BYTES, LINE_BYTES, NARROW = 8, 128, 512, 16
# Of one axis, all but real floating-point numbers are summed as rows of an image are: so many times longer.
LINES_AS_IMAGES = 1.75
# Integer results of solids are summed in SciPy's order.
IN_ORDER = 2.0


def direct_seconds(flops: int, shape: tuple[int, ...], axes: int, acc: str, threads: int, exact: int = 0) -> float:
    """Estimated time of a direct sum for an output of a shape with a kernel of that many axes, its call apart.

    `exact`: bytes of an image's elements if integers are truncated as SciPy does it.
    """
    r, kind, factor, order = rates.current(), min(axes, 3) - 1, _slower(acc), 1.0
    if kind == 0 and not acc.startswith("float"):
        factor *= LINES_AS_IMAGES
    elif exact and kind == 2:
        order = IN_ORDER
    elif exact == 1:
        factor = r.sums_exact
    seconds = (
        order * flops * r.sums[kind] * _of_whole_tiles(shape, 8 if acc in ("float64", "uint64", "complex128") else 4)
    )
    seconds += prod(shape) * r.outputs[kind] * (4 if acc.startswith("complex") else 1)
    return seconds * factor * _shared_by(threads)


def _slower(acc: str) -> float:
    """How much longer than in float32 an operation takes."""
    r = rates.current()
    known = {"float32": 1.0, "float64": r.sums_float64, "uint32": r.sums_uint32, "uint64": r.sums_uint64}
    return known.get({"complex64": "float32", "complex128": "float64"}.get(acc, acc), 20.0)


def _shared_by(threads: int) -> float:
    """The part of the time of one thread that several take."""
    return BESIDE_OTHERS / threads if threads > 1 else 1.0


def _of_whole_tiles(shape: tuple[int, ...], itemsize: int) -> float:
    """How many times as many outputs as asked for whole tiles have."""
    if len(shape) == 1:
        return _up(shape[0], LINE_BYTES // itemsize)
    height, width = shape[-2:]
    if width < NARROW:  # tiles lie along the longest axis
        height, width = width, max(shape)
    return _up(height, TILE_ROWS) * _up(width, TILE_BYTES // itemsize)


def _up(size: int, tile: int) -> float:
    return -(-size // tile) * tile / size


def fourier_seconds(length: tuple[int, ...], blocks: int, kernels: int, dtype: np.dtype, threads: int) -> float:
    """Estimated time of a convolution by transforms of that many blocks of a shape, forth and back.

    Each of `kernels` different kernels is transformed once.
    """
    points, line = prod(length), len(length) == 1
    part = {"complex64": "float32", "complex128": "float64"}.get(dtype.name, dtype.name)
    at_once = VECTOR_BYTES // np.dtype(part).itemsize  # transforms of a line
    if part in POINT_SECONDS:
        each = POINT_SECONDS[part] + POINT_HALVING_SECONDS[part] * log2(points)
        lone = LONE_FACTOR[dtype.name] if line else 1.0
    else:
        each, lone = LONGDOUBLE_SECONDS * log2(points), 1.0
    if dtype.kind == "c":
        each *= COMPLEX_FACTOR

    def transform(count: int) -> float:
        factor = lone if count < at_once else 1.0
        working = points * dtype.itemsize * (at_once if line and count >= at_once else 1)
        return (
            count
            * each
            * factor
            * next((f for size, f in (LINE_CACHE if line else PLANE_CACHE) if working > size), 1.0)
        )

    seconds = points * (transform(blocks) + 0.5 * transform(kernels))
    if seconds > PYTHON_THREADS_SECONDS:
        seconds /= sqrt(min(threads, blocks if line else 2 * blocks))  # 1.2 to 1.5 times as fast on two threads
    return FOURIER_CALL_SECONDS + seconds * rates.current().fourier
