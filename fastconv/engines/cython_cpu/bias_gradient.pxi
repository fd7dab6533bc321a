# Gradients of biases: sums of channels.  A unit is a block of channels by a part of the pixels.

cdef extern from "tiles_all.h" nogil:
    void sum_planes(...)
    void sum_pixels(...)


cdef struct BiasGradientArgs:
    const char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t channels, images, pixels
    int64_t x_image, x_channel, x_pixel
    int64_t together
    int64_t block, n_parts


cdef void bias_gradient_unit(const BiasGradientArgs *a, int64_t unit, const real_t *x, real_t *out) noexcept nogil:
    cdef int64_t size = sizeof(real_t), lanes = tile_cols(x) // TILE_COLS, total = a.images * a.pixels
    cdef int64_t part = unit % a.n_parts, c = unit // a.n_parts * a.block
    cdef int64_t last = c + a.block if a.channels - c >= 2 * a.block else a.channels  # the last unit has at least a block
    cdef int64_t first = total * part // a.n_parts, end = total * (part + 1) // a.n_parts
    out += part * a.channels
    if a.together:
        sum_pixels(x + first * (a.x_pixel // size) + c, a.x_pixel // size, last - c, end - first, out + c)
        return
    while c < last:
        sum_planes(x + c * (a.x_channel // size), a.x_image // size, a.x_channel // size, a.pixels, min(lanes, last - c),
                   first, end, out + c)
        c += lanes


cdef void bias_gradient_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const BiasGradientArgs *a = <const BiasGradientArgs *>args
    bias_gradient_unit(a, unit, <const float *>a.x, <float *>a.out)


cdef void bias_gradient_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const BiasGradientArgs *a = <const BiasGradientArgs *>args
    bias_gradient_unit(a, unit, <const double *>a.x, <double *>a.out)
