# Functions of each element, and gradients times their derivatives.
#
# A unit is a piece of some lines.  Elements that lie next to each other, of the type that is computed in, are read
# and written where they lie; others go through scratch memory a chunk at a time.

cdef enum:
    ACTIVATION_CHUNK = 1024  # elements

cdef struct ActivationArgs:
    const char *x
    const char *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t activation, slope, bound, backward
    int64_t dtype
    int64_t run, x_step, w_step, out_step
    int64_t piece, n_pieces
    int64_t lines, strip
    int64_t n_axes
    const int64_t *axes
    int64_t direct


cdef void activate_line(const ActivationArgs *a, real_t *scratch, const char *x, const char *w, char *out,
                        int64_t n) noexcept nogil:
    cdef real_t slope = <real_t>slope_of(a.slope), bound = <real_t>slope_of(a.bound)
    cdef real_t *gradient = scratch + ACTIVATION_CHUNK
    cdef int64_t i = 0, m
    if a.direct and a.backward:
        activate_backward(<real_t *>out, <const real_t *>w, <const real_t *>x, n, a.activation, slope, bound)
    elif a.direct:
        activate(<real_t *>out, <const real_t *>x, n, a.activation, slope, bound)
    while i < n and not a.direct:
        m = min(n - i, <int64_t>ACTIVATION_CHUNK)
        stage_run(scratch, x + i * a.x_step, a.x_step, m, a.dtype)
        if a.backward:
            stage_run(gradient, w + i * a.w_step, a.w_step, m, a.dtype)
            activate_backward(scratch, gradient, scratch, m, a.activation, slope, bound)
        else:
            activate(scratch, scratch, m, a.activation, slope, bound)
        store_run(scratch, out + i * a.out_step, a.out_step, m, a.dtype)
        i += m


cdef inline void to_line(const int64_t *axes, int64_t n_axes, int64_t line, const char **x, const char **w, char **out) noexcept nogil:
    # From the first line of each array to another; axes are (size, steps in the arrays), the innermost first.
    cdef int64_t axis, i
    for axis in range(n_axes):
        i = line % axes[0]
        line = line // axes[0]
        x[0] += i * axes[1]
        w[0] += i * axes[2]
        out[0] += i * axes[3]
        axes += 4


cdef void activation_unit(const ActivationArgs *a, int64_t unit, real_t *scratch) noexcept nogil:
    cdef int64_t begin = unit % a.n_pieces * a.piece, first = unit // a.n_pieces * a.strip, line
    cdef const char *x
    cdef const char *w
    cdef char *out
    for line in range(first, min(first + a.strip, a.lines)):
        x, w, out = a.x + begin * a.x_step, a.w + begin * a.w_step, a.out + begin * a.out_step
        to_line(a.axes, a.n_axes, line, &x, &w, &out)
        activate_line(a, scratch, x, w, out, min(a.piece, a.run - begin))


cdef void activation_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const ActivationArgs *a = <const ActivationArgs *>args
    activation_unit(a, unit, <float *>(a.scratch + worker * a.scratch_bytes))


cdef void activation_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const ActivationArgs *a = <const ActivationArgs *>args
    activation_unit(a, unit, <double *>(a.scratch + worker * a.scratch_bytes))
