"""What work costs, for choices that must be made before it is done.

Constants were measured on a 2-core x86-64 server with AVX-512 (see
ARCHITECTURE.md); they only have to be right within a factor of two.
"""

from __future__ import annotations

from math import prod

__all__ = [
    "FFT_GAIN",
    "MIN_SEPARABLE_TAPS",
    "outer_products_worth_using",
    "seconds_one_thread",
    "threads_worth_using",
]

# One thread's rate: multiplications and additions, and bytes from memory, per second.
FLOPS = 120e9
BANDWIDTH = 25e9

# Below this much work for one thread a second thread costs more than it brings:
# a hot dispatch takes 1-3 us, and waking a sleeping worker about 50 us.
MIN_SECONDS = 10e-6

# A transform of n points costs about FFT_GAIN * n * log2(n) operations of the direct sum.
FFT_GAIN = 12.0

# Of the direct filter's taps: what a tap of a one-dimensional pass costs, what each pass costs besides
# its taps, and the direct filter besides its own.  256x256 to 2048x2048, 3 to 63 taps, within 15%.
LINE_TAP, LINE_PASS, FILTER_PASS = 2.3, 17.0, 20.0
# Separable passes have to be faster by this factor, and each outer product that a kernel is examined for
# (10-20 us) to cost less than 3% of the direct sum.
MIN_GAIN, SECONDS_A_TERM = 1.3, 400e-6
MIN_SEPARABLE_TAPS = 81


def seconds_one_thread(flops: int, nbytes: int) -> float:
    """Estimated time of a direct sum on one thread."""
    return max(flops / FLOPS, nbytes / BANDWIDTH)


def threads_worth_using(flops: int, nbytes: int, available: int) -> int:
    """How many of the available threads to use."""
    seconds = seconds_one_thread(flops, nbytes)
    return 1 if seconds < MIN_SECONDS else min(available, 1 + int(seconds / (MIN_SECONDS / 2)))


def outer_products_worth_using(flops: int, kernel_shape: tuple[int, ...]) -> int:
    """How many outer products a kernel may be the sum of for separable passes to be faster than the direct sum."""
    passes = sum(LINE_TAP * taps + LINE_PASS for taps in kernel_shape if taps > 1)
    gain = (prod(kernel_shape) + FILTER_PASS) / passes / MIN_GAIN if passes else 0.0
    return min(int(gain), int(flops / FLOPS / SECONDS_A_TERM))
