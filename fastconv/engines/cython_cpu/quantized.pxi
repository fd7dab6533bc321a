# Sums of quantised numbers, scaled and rounded.  A unit is a strip of lines.

cdef extern from "quantized.h" nogil:
    void quantize_line(...)

cdef enum:
    QUANTIZED_CHUNK = 512  # elements of scratch memory

cdef struct QuantizedArgs:
    const char *x
    const double *w
    char *out
    const double *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t src_code, out_code
    int64_t zero_point, low, high
    int64_t run, x_step, out_step, filter_step
    int64_t lines, strip
    int64_t n_axes
    const int64_t *axes


cdef void quantized_line(const QuantizedArgs *a, char *room, const char *x, char *out, int64_t first) noexcept nogil:
    cdef int64_t i = 0, n, at
    while i < a.run:
        n = min(a.run - i, <int64_t>QUANTIZED_CHUNK)
        at = first + i * a.filter_step
        quantize_line(out + i * a.out_step, a.out_step, x + i * a.x_step, a.src_code, a.w + at, a.bias + at,
                      a.filter_step, n, <double>a.zero_point, <double>a.low, <double>a.high, room)
        i += n


cdef void quantized_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const QuantizedArgs *a = <const QuantizedArgs *>args
    cdef int64_t line, rest, axis, i, first
    cdef const int64_t *steps
    cdef const char *x
    cdef char *out
    for line in range(unit * a.strip, min((unit + 1) * a.strip, a.lines)):
        x, out, first, rest = a.x, a.out, 0, line
        for axis in range(a.n_axes - 1, -1, -1):
            steps = a.axes + 4 * axis
            i = rest % steps[0]
            rest = rest // steps[0]
            x += i * steps[1]
            out += i * steps[2]
            first += i * steps[3]
        quantized_line(a, a.scratch + worker * a.scratch_bytes, x, out, first)
