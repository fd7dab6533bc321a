# cython: language_level=3
"""Where the windows of fractional pooling begin: a kernel that all engines share, for it is the arguments that it reads."""

from libc.stdint cimport int64_t, uintptr_t

ctypedef fused sample_t:
    float
    double

# INTERVALS_FIELDS of `fastconv.algorithms.intervals`
cdef struct Intervals:
    const char *x  # samples [plane][axis]
    int64_t *report  # whether one is not from 0 to 1
    int64_t *out  # [plane][window], those of one axis after the other
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes, planes, strip, axes, windows, wide
    const int64_t *of_axes  # sample, size, kernel, windows of each axis


cdef void plane(const Intervals *a, const sample_t *samples, int64_t *out) noexcept nogil:
    cdef const int64_t *axis
    cdef int64_t i, k, base, end, start
    cdef sample_t u, step
    for i in range(a.axes):
        axis = a.of_axes + 4 * i
        u, end = samples[axis[0]], axis[1] - axis[2]
        if not (0 <= u <= 1):
            a.report[0] = 1
            return
        step = <sample_t>end / <sample_t>(axis[3] - 1) if axis[3] > 1 else 0
        base = <int64_t>(u * step)
        for k in range(axis[3] - 1):
            start = <int64_t>((u + <sample_t>k) * step) - base
            out[k] = min(max(start, 0), end)
        out[axis[3] - 1] = end
        out += axis[3]


cdef void intervals(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const Intervals *a = <const Intervals *>args
    cdef int64_t i
    for i in range(unit * a.strip, min((unit + 1) * a.strip, a.planes)):
        if a.wide:
            plane(a, <const double *>a.x + i * a.axes, a.out + i * a.windows)
        else:
            plane(a, <const float *>a.x + i * a.axes, a.out + i * a.windows)


# The kernel's address.
INTERVALS = <int64_t><uintptr_t>&intervals
