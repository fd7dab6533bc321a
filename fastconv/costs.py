"""What work costs, for choices that must be made before it is done.

Constants were measured on a 2-core x86-64 server with AVX-512 (see
ARCHITECTURE.md); they only have to be right within a factor of two.
"""

from __future__ import annotations

__all__ = ["FFT_GAIN", "seconds_one_thread", "threads_worth_using"]

# One thread's rate: multiplications and additions, and bytes from memory, per second.
FLOPS = 120e9
BANDWIDTH = 25e9

# Below this much work for one thread a second thread costs more than it brings:
# a hot dispatch takes 1-3 us, and waking a sleeping worker about 50 us.
MIN_SECONDS = 10e-6

# A transform of n points costs about FFT_GAIN * n * log2(n) operations of the direct sum.
FFT_GAIN = 12.0


def seconds_one_thread(flops: int, nbytes: int) -> float:
    """Estimated time of a direct sum on one thread."""
    return max(flops / FLOPS, nbytes / BANDWIDTH)


def threads_worth_using(flops: int, nbytes: int, available: int) -> int:
    """How many of the available threads to use."""
    seconds = seconds_one_thread(flops, nbytes)
    return 1 if seconds < MIN_SECONDS else min(available, 1 + int(seconds / (MIN_SECONDS / 2)))
