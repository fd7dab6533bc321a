# cython: language_level=3
"""The thread pool's Python face: launching kernels, the default number of threads."""

from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memcpy

cimport numpy as cnp

cnp.import_array()

cdef extern from "pool.h" nogil:
    void fastconv_pool_run(fastconv_kernel kernel, const int64_t *args, int64_t units, int64_t threads)
    int fastconv_cpu_level()
    int fastconv_get_num_threads()
    void fastconv_set_num_threads(int threads)
    int fastconv_pool_size()

cdef void pool_run(fastconv_kernel kernel, const int64_t *args, int64_t units, int64_t threads) noexcept nogil:
    fastconv_pool_run(kernel, args, units, threads)


cdef int default_threads() noexcept nogil:
    return fastconv_get_num_threads()


cdef enum:
    MAX_SLOTS = 72
    HEADER = 6


cdef inline int64_t address(object array) except? -1:
    return 0 if array is None else <int64_t><uintptr_t>cnp.PyArray_DATA(array)


def launch(int64_t kernel, const int64_t[::1] record, object x, object w, object out,
           object bias, object fill, object scratch, int64_t units, int64_t threads):
    """Run `units` units of the kernel at address `kernel` on `threads` threads, without the GIL.

    `record` is the kernel's argument record (see `fastconv.engines.contract`); its six
    header slots are filled with the addresses of the arrays, 0 for None.
    """
    cdef int64_t slots[MAX_SLOTS]
    cdef int64_t n = record.shape[0]
    if not HEADER <= n <= MAX_SLOTS:
        raise ValueError(f"record has {n} slots, expected {HEADER} to {MAX_SLOTS}")
    memcpy(slots, &record[0], n * sizeof(int64_t))
    slots[0] = address(x)
    slots[1] = address(w)
    slots[2] = address(out)
    slots[3] = address(bias)
    slots[4] = address(fill)
    slots[5] = address(scratch)
    with nogil:
        fastconv_pool_run(<fastconv_kernel><uintptr_t>kernel, slots, units, threads)


cdef void nothing(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    pass


# The address of a kernel that does nothing: what a dispatch costs.
EMPTY_KERNEL = <int64_t><uintptr_t>&nothing


def cpu_level() -> int:
    """The x86-64 psABI level of this processor that a build exists for (2, 3 or 4), 0 elsewhere."""
    return fastconv_cpu_level()


def get_num_threads() -> int:
    """The default number of threads."""
    return fastconv_get_num_threads()


def set_num_threads(int threads) -> None:
    """Set the default number of threads."""
    fastconv_set_num_threads(threads)


def pool_size() -> int:
    """Worker threads started so far in this process, the callers not counted."""
    return fastconv_pool_size()
