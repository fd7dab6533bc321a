"""What work costs, for choices that must be made before it is done.

Constants were measured on a 2-core x86-64 server with AVX-512 (see
ARCHITECTURE.md); they only have to be right within a factor of two.
"""

from __future__ import annotations

from math import log2, prod

import numpy as np

__all__ = [
    "BLOCKS_CALL_SECONDS",
    "FOURIER_CALL_SECONDS",
    "MIN_SEPARABLE_TAPS",
    "MIN_TRANSFORM_SECONDS",
    "MIN_TRANSFORM_TAPS",
    "PYTHON_THREADS_SECONDS",
    "direct_seconds",
    "fourier_seconds",
    "outer_products_worth_using",
    "overlap_seconds",
    "seconds_one_thread",
    "separable_gain",
    "threads_worth_using",
]

# One thread's rate: multiplications and additions, and bytes from memory, per second.
FLOPS = 120e9
BANDWIDTH = 25e9

# Below this much work for one thread a second thread costs more than it brings:
# a hot dispatch takes 1-3 us, and waking a sleeping worker about 50 us.
MIN_SECONDS = 10e-6

# Of the direct filter's taps: what a tap of a one-dimensional pass costs, what each pass costs besides
# its taps, and the direct filter besides its own.  256x256 to 2048x2048, 3 to 63 taps, within 15%.
LINE_TAP, LINE_PASS, FILTER_PASS = 2.3, 17.0, 20.0
# Separable passes have to be faster by this factor, and each outer product that a kernel is examined for
# (10-20 us) to cost less than 3% of the direct sum.
MIN_GAIN, SECONDS_A_TERM = 1.3, 400e-6
MIN_SEPARABLE_TAPS = 81
# Transforms are not considered for smaller kernels, nor for direct sums that take less.
MIN_TRANSFORM_TAPS, MIN_TRANSFORM_SECONDS = 24, 60e-6


def seconds_one_thread(flops: int, nbytes: int) -> float:
    """Estimated time of a direct sum on one thread."""
    return max(flops / FLOPS, nbytes / BANDWIDTH)


def threads_worth_using(flops: int, nbytes: int, available: int) -> int:
    """How many of the available threads to use."""
    seconds = seconds_one_thread(flops, nbytes)
    return 1 if seconds < MIN_SECONDS else min(available, 1 + int(seconds / (MIN_SECONDS / 2)))


# Fourier transforms by the engine's kernels, forth and back with the product between: seconds for each complex point of
# float32, and for each point and halving; factors by the bytes of a block.
OVERLAP_POINT_SECONDS, OVERLAP_HALVING_SECONDS = 0.7e-9, 0.045e-9
OVERLAP_CACHES = ((768 * 1024, 1.0), (1536 * 1024, 1.15), (4 * 1024 * 1024, 1.4), (1 << 62, 1.8))
OVERLAP_CALL_SECONDS = 25e-6


def overlap_seconds(points: int, work: int, units: int, itemsize: int, nbytes: int, threads: int) -> float:
    """Estimated time of a convolution by transforms of so many points, of which a unit does so much `work` in points."""
    slower = next(factor for size, factor in OVERLAP_CACHES if 2 * work * itemsize <= size) * (itemsize / 4)
    each = work * (OVERLAP_POINT_SECONDS + OVERLAP_HALVING_SECONDS * log2(points)) * slower
    seconds = (0.5 + -(-units // min(threads, units))) * each
    return OVERLAP_CALL_SECONDS + seconds + nbytes / BANDWIDTH


def outer_products_worth_using(flops: int, kernel_shape: tuple[int, ...]) -> int:
    """How many outer products a kernel may be the sum of for separable passes to be faster than the direct sum."""
    return min(int(separable_gain(kernel_shape) / MIN_GAIN), int(flops / FLOPS / SECONDS_A_TERM))


def separable_gain(kernel_shape: tuple[int, ...]) -> float:
    """How many times faster than the direct sum the passes of one outer product are."""
    passes = sum(LINE_TAP * taps + LINE_PASS for taps in kernel_shape if taps > 1)
    return (prod(kernel_shape) + FILTER_PASS) / passes if passes else 1.0


# Direct sums in float32 on one thread, for kernels of one, two and more axes: seconds for an operation
# and for an output (fitted to 1200 random problems, half of them within 15%).  Sums in other types take
# longer by the factor.
SUM_SECONDS = (9.5e-12, 5e-12, 8e-12)
OUTPUT_SECONDS = (0.15e-9, 0.5e-9, 1.2e-9)
SLOWER_SUMS = {"float32": 1.0, "uint32": 1.1, "float64": 2.0, "uint64": 2.2}

# Fourier transforms by scipy.fft, forth and back, with the product between: seconds for each point,
# and for each point and halving of the transform.  Measured from 2**6 to 2**20 points.
POINT_SECONDS = {"float32": 1.0e-9, "float64": 1.5e-9}
POINT_HALVING_SECONDS = {"float32": 0.19e-9, "float64": 0.31e-9}
LONGDOUBLE_SECONDS = 4e-9
COMPLEX_FACTOR = 1.8
# Each factor of a transform's length that is not 2 makes it take this part longer.
ODD_FACTOR = 0.06
# The time in Python of a call, and what it takes more by blocks.
FOURIER_CALL_SECONDS = 40e-6
BLOCKS_CALL_SECONDS = 35e-6
# One-dimensional transforms are vectorised over as many of them; a lone one takes longer by the factor.
VECTOR_BYTES = 16
LONE_FACTOR = {"float32": 2.3, "float64": 1.6, "complex64": 2.4, "complex128": 1.6}
# Those larger than the cache wait for memory: bytes, factor; of one axis and of more.
LINE_CACHE = [(12 * 2**20, 3.0), (6 * 2**20, 1.6), (2 * 2**20, 1.3)]
PLANE_CACHE = [(32 * 2**20, 2.2), (12 * 2**20, 1.8), (2 * 2**20, 1.3)]

# A Python thread takes 35-70 us to start, and a sleeping processor up to 1 ms to wake.
PYTHON_THREADS_SECONDS = 3e-3


def direct_seconds(flops: int, outputs: int, axes: int, acc: str, threads: int) -> float:
    """Estimated time of a direct sum with a kernel of that many axes, its call apart."""
    kind = min(axes, 3) - 1
    part = {"complex64": "float32", "complex128": "float64"}.get(acc, acc)
    seconds = flops * SUM_SECONDS[kind] + outputs * OUTPUT_SECONDS[kind] * (1 if part == acc else 4)
    return seconds * SLOWER_SUMS.get(part, 20.0) / threads


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
        seconds /= min(threads, blocks if line else 2 * blocks)
    return FOURIER_CALL_SECONDS + seconds
