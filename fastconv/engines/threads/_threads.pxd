# What other extensions call: running a job on the pool, the default number of threads.
from libc.stdint cimport int64_t

cdef extern from "pool.h" nogil:
    ctypedef void (*fastconv_kernel)(const int64_t *args, int64_t unit, int64_t worker)

cdef void pool_run(fastconv_kernel kernel, const int64_t *args, int64_t units, int64_t threads) noexcept nogil
cdef int default_threads() noexcept nogil
