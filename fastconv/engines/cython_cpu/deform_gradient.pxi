# What the gradient of the columns gives for convolutions whose taps are moved: gradients of offsets and mask, a unit being
# some pixels, and of the image, a unit being some channels, so that no two add to the same element.

cdef extern from "deform.h" nogil:
    void edges(...)
    void add_dot(...)
    void add_times(...)

cdef struct DeformGradientArgs:
    const char *x
    const char *w
    char *out
    const char *bias
    const char *fill
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
    int64_t place_c
    int64_t pieces, piece


cdef void moved_place(const DeformGradientArgs *a, int64_t group, int64_t tap, int64_t p, real_t *down, real_t *along,
                      real_t *scale) noexcept nogil:
    # Where a tap of a window lies, and its weight.
    cdef int64_t y = (a.first + p) // a.out_width, x = (a.first + p) % a.out_width
    cdef int64_t channel = group * a.kernel_y * a.kernel_x + tap
    cdef const char *offset = a.w + 2 * channel * a.offset_c + y * a.offset_row + x * a.offset_col
    down[0] = <real_t>(y * a.stride_y - a.pad_y + tap // a.kernel_x * a.dilation_y) + (<const real_t *>offset)[0]
    along[0] = <real_t>(x * a.stride_x - a.pad_x + tap % a.kernel_x * a.dilation_x)
    along[0] += (<const real_t *>(offset + a.offset_c))[0]
    scale[0] = 1
    if a.bias != NULL:
        scale[0] = (<const real_t *>(a.bias + channel * a.mask_c + y * a.mask_row + x * a.mask_col))[0]


cdef void deform_dots(const DeformGradientArgs *a, int64_t group, int64_t tap, int64_t p, const char **at,
                      real_t *dots) noexcept nogil:
    # Of the columns' gradient with each of the four elements around a place, over the channels that are moved alike.
    cdef int64_t r, c, k
    cdef const char *gradient
    cdef const char *value
    cdef int packed = a.x_c == sizeof(real_t) and a.col_c == sizeof(real_t)
    for k in range(4):
        dots[k] = 0
    for r in range(group * a.runs, (group + 1) * a.runs):
        gradient = a.fill + a.run_of[r] + tap * a.col_tap + p * a.col_p
        for k in range(4):
            if at[k] == NULL:
                continue
            value = at[k] + r * a.run * a.x_c
            if packed:
                add_dot(dots + k, <const real_t *>gradient, <const real_t *>value, a.run)
                continue
            for c in range(a.run):
                dots[k] += (<const real_t *>(gradient + c * a.col_c))[0] * (<const real_t *>(value + c * a.x_c))[0]


cdef void deform_places_unit(const DeformGradientArgs *a, int64_t unit, const real_t *of_type) noexcept nogil:
    cdef int64_t first = unit * DEFORM_PIXELS, p, group, tap, taps = a.kernel_y * a.kernel_x
    cdef const char *at[4]
    cdef real_t dots[4]
    cdef real_t down = 0, along = 0, scale = 0, y = 0, x = 0
    cdef char *to
    for group in range(a.offset_groups):
        for tap in range(taps):
            for p in range(first, min(first + DEFORM_PIXELS, a.count)):
                moved_place(a, group, tap, p, &down, &along, &scale)
                edges(down, along, a.height, a.width, a.x, a.x_row, a.x_col, at, &y, &x)
                deform_dots(a, group, tap, p, at, dots)
                to = a.out + 2 * (group * taps + tap) * a.place_c + p * sizeof(real_t)
                (<real_t *>to)[0] = scale * ((1 - x) * (dots[2] - dots[0]) + x * (dots[3] - dots[1]))
                (<real_t *>(to + a.place_c))[0] = scale * ((1 - y) * (dots[1] - dots[0]) + y * (dots[3] - dots[2]))
                if a.bias != NULL:
                    to = a.out + (2 * a.offset_groups * taps + group * taps + tap) * a.place_c + p * sizeof(real_t)
                    (<real_t *>to)[0] = (1 - y) * ((1 - x) * dots[0] + x * dots[1]) + y * ((1 - x) * dots[2] + x * dots[3])


cdef void deform_image_unit(const DeformGradientArgs *a, int64_t unit, const real_t *of_type) noexcept nogil:
    cdef int64_t r = unit // a.pieces, begin = unit % a.pieces * a.piece, n = min(a.piece, a.run - begin)
    cdef int64_t p, tap, k, c
    cdef const char *at[4]
    cdef real_t weight[4]
    cdef real_t down = 0, along = 0, scale = 0
    cdef const char *gradient
    cdef char *to
    cdef int packed = a.x_c == sizeof(real_t) and a.col_c == sizeof(real_t)
    for tap in range(a.kernel_y * a.kernel_x):
        for p in range(a.count):
            moved_place(a, r // a.runs, tap, p, &down, &along, &scale)
            corners(down, along, a.height, a.width, <const char *>a.out, a.x_row, a.x_col, scale, at, weight)
            gradient = a.x + a.run_of[r] + tap * a.col_tap + p * a.col_p + begin * a.col_c
            for k in range(4):
                if at[k] == NULL:
                    continue
                to = <char *>at[k] + (r * a.run + begin) * a.x_c
                if packed:
                    add_times(<real_t *>to, <const real_t *>gradient, weight[k], n)
                    continue
                for c in range(n):
                    (<real_t *>(to + c * a.x_c))[0] += weight[k] * (<const real_t *>(gradient + c * a.col_c))[0]


cdef void deform_places_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    deform_places_unit(<const DeformGradientArgs *>args, unit, <const float *>NULL)


cdef void deform_places_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    deform_places_unit(<const DeformGradientArgs *>args, unit, <const double *>NULL)


cdef void deform_image_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    deform_image_unit(<const DeformGradientArgs *>args, unit, <const float *>NULL)


cdef void deform_image_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    deform_image_unit(<const DeformGradientArgs *>args, unit, <const double *>NULL)
