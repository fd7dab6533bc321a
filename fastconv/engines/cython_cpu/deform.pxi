# Columns of convolutions whose taps are moved.  A unit is some pixels, all channels and taps.

cdef extern from "deform.h" nogil:
    void corners(...)
    void blend(...)

cdef enum:
    DEFORM_PIXELS = 32  # of a unit

cdef struct DeformArgs:
    const char *x
    const char *w
    char *out
    const char *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t height, width, x_c, x_row, x_col
    int64_t out_width
    int64_t offset_c, offset_row, offset_col
    int64_t mask_c, mask_row, mask_col
    int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x
    int64_t first, count
    int64_t offset_groups, runs, run
    const int64_t *run_of
    int64_t col_c, col_tap, col_p


cdef void deform_run(const DeformArgs *a, const real_t *zeros, const char **at, const real_t *weight, int64_t channel,
                     char *to, int64_t n) noexcept nogil:
    # The values of a run of channels under one tap of n windows.
    cdef int64_t c, p, k, begin = channel * a.x_c
    cdef real_t total
    cdef const real_t *place[4]
    if a.x_c == sizeof(real_t) and a.col_c == sizeof(real_t):
        for p in range(n):
            for k in range(4):
                place[k] = zeros if at[4 * p + k] == NULL else <const real_t *>(at[4 * p + k] + begin)
            blend(<real_t *>(to + p * a.col_p), place[0], place[1], place[2], place[3], weight + 4 * p, a.run)
        return
    for c in range(a.run):
        for p in range(n):
            total = 0
            for k in range(4):
                if at[4 * p + k] != NULL:
                    total += weight[4 * p + k] * (<const real_t *>(at[4 * p + k] + begin + c * a.x_c))[0]
                else:
                    total += weight[4 * p + k] * 0
            (<real_t *>(to + c * a.col_c + p * a.col_p))[0] = total


cdef void deform_unit(const DeformArgs *a, int64_t unit, char *scratch, const real_t *of_type) noexcept nogil:
    cdef int64_t first = unit * DEFORM_PIXELS, n = min(a.count - first, <int64_t>DEFORM_PIXELS)
    cdef int64_t group, tap, taps = a.kernel_y * a.kernel_x, p, y, x, channel, r
    cdef const char **at = <const char **>scratch
    cdef real_t *weight = <real_t *>(scratch + DEFORM_PIXELS * 4 * sizeof(char *))
    cdef real_t *zeros = <real_t *>(scratch + DEFORM_PIXELS * 4 * 16)
    cdef real_t down, along, scale
    cdef const char *offset
    cdef char *to
    for r in range(a.run):
        zeros[r] = 0
    for group in range(a.offset_groups):
        for tap in range(taps):
            for p in range(n):
                y = (a.first + first + p) // a.out_width
                x = (a.first + first + p) % a.out_width
                offset = a.w + 2 * (group * taps + tap) * a.offset_c + y * a.offset_row + x * a.offset_col
                down = <real_t>(y * a.stride_y - a.pad_y + tap // a.kernel_x * a.dilation_y) + (<const real_t *>offset)[0]
                along = <real_t>(x * a.stride_x - a.pad_x + tap % a.kernel_x * a.dilation_x)
                along += (<const real_t *>(offset + a.offset_c))[0]
                scale = 1
                if a.bias != NULL:
                    scale = (<const real_t *>(a.bias + (group * taps + tap) * a.mask_c + y * a.mask_row + x * a.mask_col))[0]
                corners(down, along, a.height, a.width, a.x, a.x_row, a.x_col, scale, at + 4 * p, weight + 4 * p)
            for r in range(a.runs):
                channel = (group * a.runs + r) * a.run
                to = a.out + a.run_of[group * a.runs + r] + tap * a.col_tap + first * a.col_p
                deform_run(a, <const real_t *>zeros, at, <const real_t *>weight, channel, to, n)


cdef void deform_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const DeformArgs *a = <const DeformArgs *>args
    deform_unit(a, unit, a.scratch + worker * a.scratch_bytes, <const float *>NULL)


cdef void deform_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const DeformArgs *a = <const DeformArgs *>args
    deform_unit(a, unit, a.scratch + worker * a.scratch_bytes, <const double *>NULL)
