# Gradients of kernels of one tap: products of channels, summed over pixels that are read where they lie.
#
# A unit is a block of channels of either operand, and perhaps a part of the pixels.  Pixels are read in blocks that stay in the second cache; sums of tiles
# wait in scratch memory meanwhile.

cdef extern from "tiles_all.h" nogil:
    void lanes_tile(...)
    void dots_tile(...)
    int64_t dot_rows(const void *)
    int64_t dot_cols(const void *)


cdef struct PointwiseGradientArgs:
    const char *x
    const char *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t planes
    int64_t swapped
    int64_t a_channels, b_channels, images, rows, run
    int64_t a_image, a_row, a_step, b_image, b_row, b_step
    int64_t block_images, block_rows, block_run
    int64_t unit_a, unit_b
    int64_t out_a, out_b, n_parts, out_part


cdef struct PixelBlock:
    int64_t image, row, pixel, images, rows, run


cdef inline PixelBlock pixel_block(const PointwiseGradientArgs *a, int64_t index) noexcept nogil:
    cdef int64_t across = (a.run + a.block_run - 1) // a.block_run, down = (a.rows + a.block_rows - 1) // a.block_rows
    cdef PixelBlock b
    b.pixel = index % across * a.block_run
    b.row = index // across % down * a.block_rows
    b.image = index // (across * down) * a.block_images
    b.run = min(a.block_run, a.run - b.pixel)
    b.rows = min(a.block_rows, a.rows - b.row)
    b.images = min(a.block_images, a.images - b.image)
    return b


cdef void store_lanes(const PointwiseGradientArgs *a, const real_t *sums, char *out, int64_t height, int64_t lanes, int64_t cols,
                      int64_t second) noexcept nogil:
    # A tile to memory: rows of a, lanes of b.
    cdef int64_t r, j, l, size = sizeof(real_t)
    for j in range(cols):
        if a.out_b == size:
            copy_places(sums + j * lanes, 2 * lanes, <real_t *>out + j * second, a.out_a // size, lanes, height)
            continue
        for l in range(lanes):
            for r in range(height):
                (<real_t *>(out + r * a.out_a + (j * second + l) * a.out_b))[0] = sums[(2 * r + j) * lanes + l]


cdef void add_lanes(const PointwiseGradientArgs *a, const real_t *left, const real_t *right, int64_t rows, int64_t n,
                    const PixelBlock *b, real_t *sums, char *out, bint add, bint last, bint waits) noexcept nogil:
    # A block of pixels that hold `rows` and `n` channels: tiles overlap their neighbours at the ends.
    cdef int64_t size = sizeof(real_t), lanes = tile_cols(left) // TILE_COLS, lane = 0, row, r, l, cols, second
    cdef int64_t tiles = (rows + GEMM_ROWS - 1) // GEMM_ROWS, height = (rows + tiles - 1) // tiles
    while lane < n:
        cols = 2 if n - lane > lanes else 1
        l = lane if cols == 2 else n - lanes
        second = min(lanes, n - lanes - l)
        row = 0
        while row < rows:
            r = min(row, rows - height)
            lanes_tile(left + r, a.a_step // size, a.a_row // size, right + l, a.b_step // size, a.b_row // size, second,
                       b.rows, b.run, sums, <int>add, height, cols)
            if last:
                store_lanes(a, sums, out + r * a.out_a + l * a.out_b, height, lanes, cols, second)
            sums += waits * 2 * height * lanes
            row += height
        lane += 2 * lanes


cdef void add_dots(const PointwiseGradientArgs *a, const real_t *left, const real_t *right, int64_t rows, int64_t n,
                   const PixelBlock *b, real_t *sums, char *out, bint add, bint last, bint waits) noexcept nogil:
    # The same of planes.
    cdef int64_t size = sizeof(real_t), height = dot_rows(left), width = dot_cols(left), row, col = 0, r, c
    cdef int64_t lanes = tile_cols(left) // TILE_COLS, step = (height * width + lanes - 1) // lanes * lanes
    while col < n:
        row = 0
        while row < rows:
            dots_tile(left + row * (a.a_step // size), a.a_step // size, a.a_image // size, min(height, rows - row),
                      right + col * (a.b_step // size), a.b_step // size, a.b_image // size, min(width, n - col),
                      b.images, b.run, sums, <int>add)
            if last:
                for r in range(min(height, rows - row)):
                    for c in range(min(width, n - col)):
                        (<real_t *>(out + (row + r) * a.out_a + (col + c) * a.out_b))[0] = sums[r * width + c]
            sums += waits * step
            row += height
        col += width


cdef void pointwise_gradient_unit(const PointwiseGradientArgs *a, int64_t unit, real_t *sums) noexcept nogil:
    cdef int64_t across = (a.b_channels + a.unit_b - 1) // a.unit_b, size = sizeof(real_t), index, begin, end
    cdef int64_t shares = across * ((a.a_channels + a.unit_a - 1) // a.unit_a), part = unit // shares
    cdef int64_t first = unit % shares // across * a.unit_a, lane = unit % across * a.unit_b
    cdef int64_t rows = min(a.unit_a, a.a_channels - first), n = min(a.unit_b, a.b_channels - lane)
    cdef int64_t blocks = ((a.images + a.block_images - 1) // a.block_images * ((a.rows + a.block_rows - 1) // a.block_rows)
                           * ((a.run + a.block_run - 1) // a.block_run))
    cdef int64_t a_channel = a.a_step if a.planes else size, b_channel = a.b_step if a.planes else size
    cdef const char *left = (a.x if a.swapped else a.w) + first * a_channel
    cdef const char *right = (a.w if a.swapped else a.x) + lane * b_channel
    cdef char *out = a.out + part * a.out_part + first * a.out_a + lane * a.out_b
    cdef const real_t *from_a
    cdef const real_t *from_b
    cdef PixelBlock b
    begin, end = blocks * part // a.n_parts, blocks * (part + 1) // a.n_parts
    for index in range(begin, end):
        b = pixel_block(a, index)
        from_a = <const real_t *>(left + b.image * a.a_image + b.row * a.a_row + b.pixel * (size if a.planes else a.a_step))
        from_b = <const real_t *>(right + b.image * a.b_image + b.row * a.b_row + b.pixel * (size if a.planes else a.b_step))
        if a.planes:
            add_dots(a, from_a, from_b, rows, n, &b, sums, out, index > begin, index == end - 1, blocks > 1)
        else:
            add_lanes(a, from_a, from_b, rows, n, &b, sums, out, index > begin, index == end - 1, blocks > 1)


cdef void pointwise_gradient_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const PointwiseGradientArgs *a = <const PointwiseGradientArgs *>args
    pointwise_gradient_unit(a, unit, <float *>(a.scratch + worker * a.scratch_bytes))


cdef void pointwise_gradient_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const PointwiseGradientArgs *a = <const PointwiseGradientArgs *>args
    pointwise_gradient_unit(a, unit, <double *>(a.scratch + worker * a.scratch_bytes))
