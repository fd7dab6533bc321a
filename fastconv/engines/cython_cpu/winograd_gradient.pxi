# Gradients of 3x3 kernels at stride 1 by way of 16 or 36 points: input and gradient are packed as for any gradient of a kernel, taken
# at the points tile by tile, and multiplied there, one matrix product for each point.  A unit whose sums are not all finite
# is done again directly, so NaN and infinity stay in their windows.

cdef enum:
    # Tiles whose products are summed apart: of 14x14 to 56x56 pixels errors are 1.4e-7 to 1.8e-7 rather than 2.0e-7 to 2.4e-7, for
    # up to 5% of the time.
    TILES_APART = 16


cdef extern from "tiles_all.h" nogil:
    void gradient_values(...)
    int kernel_of_values(...)


cdef struct WinogradGradientArgs:
    WeightGradientArgs direct
    int64_t tile, points


cdef struct Tiles:  # what a block is taken at the points; elements from tile to tile, from point to point
    int64_t tile, channels, filters, lanes, pitch_a, pitch_b, step_a, step_b


cdef void take_tiles(const Operand *s, const real_t *panel, int64_t pitch, int64_t tile, int64_t across, int64_t down, int64_t width,
                     int64_t height, real_t *to, int64_t to_pitch, int64_t step, bint gradient) noexcept nogil:
    # All tiles of packed images of `height` rows of `width`.
    cdef int64_t lanes = tile_cols(panel) // TILE_COLS, padded = (s.n_channels + lanes - 1) // lanes * lanes, m, y, i
    cdef const real_t *at
    for m in range(s.n_images):
        for y in range(down):
            at = panel + (m * height + tile * y) * width * pitch
            for i in range(across):
                if gradient:
                    gradient_values(at + tile * i * pitch, width * pitch, pitch, to, step, padded, tile)
                else:
                    window_points(at + tile * i * pitch, width * pitch, pitch, to, step, padded, tile)
                to += to_pitch


cdef bint make_kernels(const Tiles *t, const real_t *sums, real_t *to, int64_t height, int64_t lane) noexcept nogil:
    # Rows of [channel][tap] of a tile, lanes filters; whether all is finite.
    cdef int64_t lanes = tile_cols(to) // TILE_COLS, r, j
    cdef bint finite = True
    for r in range(height):
        for j in range(2):
            if not kernel_of_values(sums + (2 * r + j) * lanes, 2 * height * lanes, to + r * 9 * t.pitch_b + j * lanes, t.pitch_b,
                                    t.filters - lane - j * lanes, t.tile):
                finite = False
    return finite


cdef void tile_products(const real_t *a, int64_t pitch_a, const real_t *b, int64_t pitch_b, int64_t n, int64_t apart, real_t *to,
                        bint add, int64_t height) noexcept nogil:
    # The products of `n` tiles at a point, in parts that are summed apart.
    cdef char memory[2 * GEMM_ROWS * VECTOR_BYTES + 64]
    cdef int64_t lanes = tile_cols(a) // TILE_COLS, k, i, first
    cdef real_t *sums = <real_t *>next_line(memory) if add and apart > 1 else to
    for k in range(apart):
        first = k * n // apart
        lanes_tile(a + first * pitch_a, pitch_a, <int64_t>0, b + first * pitch_b, pitch_b, <int64_t>0, lanes, <int64_t>1,
                   (k + 1) * n // apart - first, sums, <int>(k > 0 or (add and apart == 1)), height, <int64_t>2)
    for i in range(2 * height * lanes if add and apart > 1 else 0):
        to[i] += sums[i]


cdef bint multiply_points(const Tiles *t, const real_t *a, const real_t *b, int64_t n, real_t *sums, bint add, bint last, bint waits,
                          real_t *out) noexcept nogil:
    # The products of `n` tiles, at all points of a tile of sums after the other; at last kernels, and whether all is finite.
    cdef int64_t lanes = tile_cols(a) // TILE_COLS, tiles = (t.channels + GEMM_ROWS - 1) // GEMM_ROWS
    cdef int64_t height = (t.channels + tiles - 1) // tiles, points = (t.tile + 2) * (t.tile + 2), point, lane = 0, i, c
    cdef int64_t apart = (n + TILES_APART - 1) // TILES_APART if t.tile == 2 else 1
    cdef bint finite = True
    while lane < t.lanes:
        for i in range(tiles):
            c = min(i * height, t.channels - height)
            for point in range(points):
                tile_products(a + point * t.step_a + c, t.pitch_a, b + point * t.step_b + lane, t.pitch_b, n, apart,
                              sums + point * 2 * height * lanes, add, height)
            if last and not make_kernels(t, <const real_t *>sums, out + c * 9 * t.pitch_b + lane, height, lane):
                finite = False
            sums += waits * points * 2 * height * lanes
        lane += 2 * lanes
    return finite


cdef bint winograd_block(const WinogradGradientArgs *args, Operand *x, Operand *g, int64_t block, real_t *scratch, const Tiles *t,
                         bint add, bint last) noexcept nogil:
    # The products of a block of outputs, whose rows and columns are those of whole tiles: those too many are zeros.
    cdef const WeightGradientArgs *a = &args.direct
    cdef int64_t across = (a.out_width + a.block_cols - 1) // a.block_cols, down = (a.out_height + a.block_rows - 1) // a.block_rows
    cdef real_t *values_a = scratch + args.points
    cdef int64_t m = t.tile, points = (m + 2) * (m + 2)
    cdef real_t *values_b = values_a + points * t.step_a
    g.first_col = block % across * a.block_cols
    g.first_row = block // across % down * a.block_rows
    g.first_image = x.first_image = block // (across * down) * a.block_images
    g.n_cols = (min(a.block_cols, a.out_width - g.first_col) + m - 1) // m * m
    g.n_rows = (min(a.block_rows, a.out_height - g.first_row) + m - 1) // m * m
    g.n_images = x.n_images = min(a.block_images, a.images - g.first_image)
    x.first_col, x.first_row, x.n_cols, x.n_rows = g.first_col, g.first_row, g.n_cols + 2, g.n_rows + 2
    pack(x, scratch + a.a_panel, a.a_pitch, scratch + a.lines, a.line_pitch)
    take_tiles(x, <const real_t *>(scratch + a.a_panel), a.a_pitch, m, g.n_cols // m, g.n_rows // m, x.n_cols, x.n_rows, values_a,
               t.pitch_a, t.step_a, False)
    pack(g, scratch + a.b_panel, a.b_pitch, scratch + a.lines, a.line_pitch)
    take_tiles(g, <const real_t *>(scratch + a.b_panel), a.b_pitch, m, g.n_cols // m, g.n_rows // m, g.n_cols, g.n_rows, values_b,
               t.pitch_b, t.step_b, True)
    return multiply_points(
        t, <const real_t *>values_a, <const real_t *>values_b, g.n_images * (g.n_rows // m) * (g.n_cols // m),
        values_b + points * t.step_b, add, last, add or not last, scratch)


cdef void winograd_gradient_unit(const WinogradGradientArgs *args, int64_t unit, real_t *scratch) noexcept nogil:
    # Units as those of `weight_gradient_unit`, which does them again.
    cdef const WeightGradientArgs *a = &args.direct
    cdef int64_t lanes = tile_cols(scratch) // TILE_COLS, block, m = args.tile, points = (m + 2) * (m + 2)
    cdef int64_t most = a.block_images * ((a.block_rows + m - 1) // m) * ((a.block_cols + m - 1) // m)
    cdef int64_t blocks_f = (a.filters + a.unit_filters - 1) // a.unit_filters
    cdef int64_t blocks_c = (a.channels + a.unit_channels - 1) // a.unit_channels
    cdef int64_t part = unit % a.n_parts, rest = unit // a.n_parts
    cdef int64_t c = rest % blocks_c * a.unit_channels, f = rest // blocks_c * a.unit_filters
    cdef int64_t channels = min(a.unit_channels, a.channels - c), filters = min(a.unit_filters, a.filters - f)
    cdef int64_t blocks = ((a.images + a.block_images - 1) // a.block_images * ((a.out_height + a.block_rows - 1) // a.block_rows)
                           * ((a.out_width + a.block_cols - 1) // a.block_cols))
    cdef int64_t first = part * blocks // a.n_parts
    cdef int64_t end = (part + 1) * blocks // a.n_parts
    cdef bint finite = True
    cdef Tiles t
    cdef Operand x = Operand(
        a.x, a.x_channels + c, a.x_images, a.x_rows, a.x_cols, a.x_row, a.x_col,
        a.x_together, a.x_direct, a.x_code, a.inner, a.inner_end, a.inner_step, channels, 0, 0, 0, 0, 0, 0)
    cdef Operand g = Operand(
        a.w, a.g_channels + f, a.g_images, a.g_rows, a.g_cols, a.g_row, a.g_col,
        a.g_together, a.g_direct, a.g_code, 0, a.out_width, 1, filters, 0, 0, 0, 0, 0, 0)
    t.tile, t.channels, t.filters, t.lanes = m, channels, filters, (filters + 2 * lanes - 1) // (2 * lanes) * 2 * lanes
    t.pitch_a, t.pitch_b = (a.unit_channels + lanes - 1) // lanes * lanes, a.b_pitch
    t.step_a, t.step_b = most * t.pitch_a + lanes, most * t.pitch_b + lanes
    if t.lanes > filters:  # lanes of no filter hold numbers, lest they be slow
        memset(scratch + a.b_panel, 0, m * m * most * a.b_pitch * sizeof(real_t))
        memset(scratch + args.points + points * t.step_a, 0, points * t.step_b * sizeof(real_t))
    for block in range(first, end):
        finite = winograd_block(args, &x, &g, block, scratch, &t, block > first, block == end - 1)
    if not finite:
        weight_gradient_unit(a, unit, scratch)
        return
    store_gradient(a, a.out + part * a.out_part + f * a.out_filter + c * a.out_channel, <const real_t *>scratch, channels, filters,
                   scratch + a.lines)


cdef void winograd_gradient_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradGradientArgs *a = <const WinogradGradientArgs *>args
    winograd_gradient_unit(a, unit, <float *>(a.direct.scratch + worker * a.direct.scratch_bytes))


cdef void winograd_gradient_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradGradientArgs *a = <const WinogradGradientArgs *>args
    winograd_gradient_unit(a, unit, <double *>(a.direct.scratch + worker * a.direct.scratch_bytes))
