# Gradients of depthwise convolutions' inputs: each element sums the outputs whose windows hold it.
#
# A unit is a strip of rows of one image, and a chunk of channels.  Which outputs hold a row or a column, and by which taps,
# stands in tables.  Lanes are the channels of a pixel, or columns of a plane.

cdef extern from "tiles_all.h" nogil:
    void depthwise_input_blocks(...)
    void depthwise_input_pixel(...)
    void depthwise_input_rows(...)


cdef struct DepthwiseInputArgs:
    const char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t channels, height, width, kernel_y, kernel_x
    int64_t x_image, x_channel, x_row, x_col
    int64_t out_image, out_channel, out_row, out_col
    const int64_t *taps_y
    int64_t step_y
    const int64_t *taps_x
    int64_t step_x
    int64_t in_rows, x_height, x_width, pad_y, pad_x
    const int64_t *tables
    int64_t chunk, n_chunks, strip, n_strips
    int64_t weights, biases
    int64_t ahead, activation, slope


cdef void input_activated(const DepthwiseInputArgs *a, acc_t *dst, int64_t runs, int64_t run, int64_t step) noexcept nogil:
    cdef int64_t i
    if a.activation == 0:
        return
    if run == step:
        runs, run = 1, runs * run
    for i in range(runs):
        activate_run(dst + i * step, run, a.activation, <acc_t>slope_of(a.slope))


cdef void input_planes(const DepthwiseInputArgs *a, int64_t n, int64_t y, int64_t rows, int64_t first, int64_t end,
                       acc_t *any) noexcept nogil:
    cdef int64_t size = sizeof(acc_t), c
    cdef acc_t *dst
    cdef const acc_t *weights = <const acc_t *>a.w
    for c in range(first, end):
        dst = <acc_t *>(a.out + n * a.out_image + c * a.out_channel + y * a.out_row)
        depthwise_input_rows(weights + c * a.kernel_y * a.kernel_x, <const acc_t *>(a.x + n * a.x_image + c * a.x_channel),
                             a.x_row // size, a.taps_y, a.step_y, a.tables,
                             <acc_t>0 if a.bias == NULL else (<const acc_t *>a.bias)[c], dst, a.out_row // size, y, rows,
                             a.x_height, a.pad_y, a.kernel_y, a.kernel_x, a.ahead // size)
        input_activated(a, dst, rows, a.width, a.out_row // size)


cdef enum:
    BLOCKS = 4  # beside each other


cdef struct InputPixels:  # of a unit: weights and bias as the kernel reads them, the first channel of an image and of its result
    const void *w
    const void *bias
    const char *image
    char *out
    int64_t pitch, count


cdef void input_pixel(const DepthwiseInputArgs *a, const InputPixels *u, int64_t i, int64_t j, acc_t *any) noexcept nogil:
    # The pixel at row i and column j.
    cdef const acc_t *sources[64]
    cdef int64_t which[64]
    cdef const int64_t *row = a.taps_y + i * a.step_y
    cdef const int64_t *col = a.taps_x + j * a.step_x
    cdef int64_t q, p
    for q in range(row[0]):
        for p in range(col[0]):
            sources[q * col[0] + p] = <const acc_t *>(u.image + row[2 * q + 2] * a.x_row + col[2 * p + 2] * a.x_col)
            which[q * col[0] + p] = row[2 * q + 1] * a.kernel_x + col[2 * p + 1]
    depthwise_input_pixel(<const acc_t *>u.w, u.pitch, <const acc_t *>u.bias, sources, which, row[0] * col[0],
                          <acc_t *>(u.out + i * a.out_row + j * a.out_col), u.count, a.ahead // <int64_t>sizeof(acc_t))


cdef inline int64_t blocks_at(const DepthwiseInputArgs *a, int64_t i, int64_t end, int64_t j) noexcept nogil:
    # How many blocks of 2x2 begin at a pixel whose four sources lie inside; not for other kernels or strides.
    cdef int64_t y = i + a.pad_y, x = j + a.pad_x
    if a.pad_y < 0 or a.pad_x < 0 or (y | x) & 1 or y < 2 or x < 2 or y >= 2 * a.x_height or i + 2 > end:
        return 0
    return max(<int64_t>0, min(<int64_t>BLOCKS, min((a.width - j) // 2, a.x_width - x // 2)))


cdef void input_pixels(const DepthwiseInputArgs *a, int64_t n, int64_t y, int64_t rows, int64_t first, int64_t count,
                       char *scratch, acc_t *any) noexcept nogil:
    cdef int64_t lanes = VECTOR_BYTES // <int64_t>sizeof(acc_t), size = sizeof(acc_t), end = y + rows, i, j, blocks, together
    cdef acc_t *w = <acc_t *>(scratch + a.weights)
    cdef acc_t *bias = <acc_t *>(scratch + a.biases)
    cdef InputPixels u
    u.w, u.bias, u.pitch, u.count = w, bias, (count + lanes - 1) // lanes * lanes, count
    u.image = a.x + n * a.x_image + first * a.x_channel
    u.out = a.out + n * a.out_image + first * a.out_channel
    pack_depthwise(<const acc_t *>a.w, a.channels, a.kernel_y * a.kernel_x, first, count, u.pitch, w)
    for i in range(count):
        bias[i] = <acc_t>0 if a.bias == NULL else (<const acc_t *>a.bias)[first + i]
    while y < end:
        together = 2 if blocks_at(a, y, end, a.pad_x & 1 if a.pad_x > 1 else 2 - a.pad_x) else 1
        j = 0
        while j < a.width:
            blocks = blocks_at(a, y, end, j)
            if blocks:
                depthwise_input_blocks(<const acc_t *>w, u.pitch, <const acc_t *>bias,
                                       <const acc_t *>(u.image + (y + a.pad_y) // 2 * a.x_row + (j + a.pad_x) // 2 * a.x_col),
                                       a.x_row // size, a.x_col // size, <acc_t *>(u.out + y * a.out_row + j * a.out_col),
                                       a.out_row // size, a.out_col // size, blocks, count, a.ahead // size)
                j += 2 * blocks
                continue
            for i in range(y, y + together):
                input_pixel(a, &u, i, j, any)
            j += 1
        for i in range(y, y + together):
            input_activated(a, <acc_t *>(u.out + i * a.out_row), a.width, count, a.out_col // size)
        y += together


cdef void input_unit(const DepthwiseInputArgs *a, int64_t unit, int64_t worker, acc_t *any) noexcept nogil:
    cdef int64_t chunk = unit % a.n_chunks, rest = unit // a.n_chunks, y = rest % a.n_strips * a.strip
    cdef int64_t first = chunk * a.chunk, end = a.channels if chunk == a.n_chunks - 1 else first + a.chunk
    cdef int64_t n = rest // a.n_strips, rows = min(a.strip, a.height - y)
    cdef char *scratch = <char *>((<uintptr_t>(a.scratch + worker * a.scratch_bytes) + 63) & ~<uintptr_t>63)
    if a.in_rows:
        input_planes(a, n, y, rows, first, end, any)
    else:
        input_pixels(a, n, y, rows, first, end - first, scratch, any)


cdef void depthwise_input_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    input_unit(<const DepthwiseInputArgs *>args, unit, worker, <float *>NULL)


cdef void depthwise_input_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    input_unit(<const DepthwiseInputArgs *>args, unit, worker, <double *>NULL)
