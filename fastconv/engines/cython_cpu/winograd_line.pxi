# Winograd's minimal filtering along one axis: kernels of 1x3 or 3x1 taps and stride 1, m outputs (a tile) at once.
#
# What `winograd.pxi` tells holds here, too, with tiles of 1 x m or m x 1, and m + 2 points.  Kernels of 5 to 15 taps, for m = 2,
# are sums of pieces of two taps and, last, of three; those of two have no product at the point of infinity.
# Weights are packed [group][block of filters][point][piece][channel][lane]; then the weights, [block][tap][channel][lane].

cdef extern from "tiles_all.h" nogil:
    void line_points(...)
    bint line_point_sums(...)
    void line_window_sums(...)
    void line_piece_points(...)


cdef struct WinogradLineWeightsArgs:
    const char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t groups, filters, channels, pitch, taps, tile


# Outputs of a tile along rows and columns, and how many pieces a kernel is the sum of.
cdef struct WinogradLines:
    int64_t down, across, taps, pieces
    int64_t more_down, more_across  # tiles beyond the last that are taken at the points


cdef inline WinogradLines lines_of(const WinogradArgs *a) noexcept nogil:
    cdef WinogradLines k
    cdef bint across = a.g.kernel_y == 1
    k.down, k.across = 1 if across else a.tile, a.tile if across else 1
    k.taps = a.g.kernel_x if across else a.g.kernel_y
    k.pieces = (k.taps - 1) // 2
    k.more_down, k.more_across = 0 if across else k.pieces - 1, k.pieces - 1 if across else 0
    return k


cdef void stage_line(const WinogradArgs *a, const WinogradLines *k, const WinogradStrip *s, real_t *to, real_t *lines) noexcept nogil:
    # The windows of the strip's tiles.  What only tiles reach that stick out of the output is 0.
    cdef const Geometry *g = &a.g
    cdef int64_t rows = s.rows * k.down + g.kernel_y - 1, cols = a.tile_cols * k.across + g.kernel_x - 1
    cdef int64_t n = min(cols, g.out_width + g.kernel_x - 1), size = sizeof(real_t), lanes = VECTOR_BYTES // size, row
    cdef const char *image = g.x + s.image * a.x_image + s.group * a.channels * a.x_channel
    cdef const char *line
    cdef real_t fill = (<const real_t *>g.fill)[0]
    cdef bint turned = g.src_code == code_of(to) and g.x_col == size and a.x_channel % size == 0 and a.channels >= lanes
    for row in range(rows):
        line = NULL
        if s.row * k.down + row < g.out_height + g.kernel_y - 1:
            line = source_row(g, image, s.row * k.down + row - g.pad_y)
        else:
            fill = 0
        if a.planes and not turned:
            winograd_planes(a, to, lines, line, fill, n, cols)
        else:
            if a.planes and line != NULL:
                call_for(line + g.x_row, a.x_channel, a.channels, g.width * size, False)
            winograd_pixels(a, to, line, fill, n, cols)
        to += cols * a.pitch


cdef void line_products(const WinogradArgs *a, const WinogradLines *k, const real_t *w, const real_t *values, const real_t *zeros,
                        real_t *products, const int64_t *tables, int64_t tiles) noexcept nogil:
    # At each point, of all tiles with all filters of a block.
    cdef const int64_t *runs = tables + 1 + 2 * tiles
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(real_t), point, missing, t, height
    for point in range(a.tile + 2):
        missing = k.pieces - 1 if point == a.tile + 1 else 0
        t = 0
        while t < tiles:
            height = product_height(w, tiles - t)
            filters_part(w + missing * a.pitch * lanes, <const char *>values, tables + 1 + t, runs + missing, k.pieces - missing, a.pitch,
                         zeros, <int64_t>0, <char *>products, tables + 1 + tiles + t, lanes, <int64_t>PRODUCTS_APART,
                         <int64_t>(AHEAD_BYTES if t == 0 else 0), height)
            t += height
        w += k.pieces * a.pitch * lanes
        values += a.step
        products += tiles * lanes


cdef void line_sums(const WinogradArgs *a, const WinogradLines *k, const WinogradStrip *s, const real_t *staged, const real_t *taps,
                    const real_t *products, real_t *sums, real_t *lines, int64_t tiles, int64_t block) noexcept nogil:
    # Of the strip's tiles and a block of filters: stored where they belong, or tile by tile, or all together.
    cdef const Geometry *g = &a.g
    cdef int64_t wide = GEMM_COLS * VECTOR_BYTES, lanes = wide // <int64_t>sizeof(real_t), m = a.tile
    cdef int64_t cols = a.tile_cols * k.across + g.kernel_x - 1, next_pixel = (cols if k.down > 1 else 1) * a.pitch
    cdef int64_t some = min(lanes, s.first + s.filters - block * lanes), t, i, y, x, step, height, width
    cdef const real_t *bias = <const real_t *>g.bias + (s.group * whole_blocks(a.filters, lanes) + block * lanes)
    cdef char *to
    cdef char *out = g.out + s.image * a.out_image + (s.group * a.filters + block * lanes) * a.out_filter + s.row * k.down * g.out_row
    cdef bint whole
    cdef Finish finish = finish_of(a.activation, a.slope)
    for t in range(s.rows * a.tile_cols):
        y, x = t // a.tile_cols * k.down, t % a.tile_cols * k.across
        height, width = min(k.down, g.out_height - s.row * k.down - y), min(k.across, g.out_width - x)
        whole = a.store_direct and height * width == m and some == lanes and a.activation <= LEAKY_RELU
        if whole:
            to, step = out + y * g.out_row + x * g.out_col, g.out_row if k.down > 1 else g.out_col
        elif a.store_direct:
            to, step = <char *>sums, wide
        else:
            to, step = <char *>sums + (y * a.tile_cols * k.across + x) * wide, (a.tile_cols if k.down > 1 else 1) * wide
        if line_point_sums(products + (s.tile + t) * lanes, tiles * lanes, bias, to, step, <int64_t>(whole and a.stream), &finish, m):
            line_window_sums(staged + (y * cols + x) * a.pitch, next_pixel, taps, a.pitch * lanes, k.taps, a.channels, bias, to, step, m)
            for i in range(m if a.activation and a.activation <= LEAKY_RELU else 0):
                activate_run(<real_t *>(to + i * step), lanes, a.activation, finish.slope)
        if a.store_direct and not whole:
            activate_stored(sums, m * lanes, a.activation, a.slope)
            store_pixels(sums, k.across * lanes, out + y * g.out_row + x * g.out_col, g.out_row, g.out_col, height, width, some)
    if not a.store_direct:
        step = a.tile_cols * k.across * lanes
        activate_stored(sums, s.rows * k.down * step, a.activation, a.slope)
        store_winograd(a, sums, step, lines, out, min(s.rows * k.down, g.out_height - s.row * k.down), some)


cdef void line_tables(const WinogradArgs *a, const WinogradLines *k, int64_t *tables, int64_t begin, int64_t tiles, int64_t size) noexcept nogil:
    # 0; where each tile's values begin, and its products; where those of its pieces do.
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // size, cols = a.tile_cols + k.more_across, t, row
    tables[0] = 0
    for t in range(tiles):
        row = begin + t // a.tile_cols
        row += (row // a.tile_rows - begin // a.tile_rows) * k.more_down - begin
        tables[1 + t] = (row * cols + t % a.tile_cols) * a.pitch * size
        tables[1 + tiles + t] = t * lanes * size
    for t in range(k.pieces):
        tables[1 + 2 * tiles + t] = t * (cols if k.down > 1 else 1) * a.pitch * size


cdef inline void line_strip(const WinogradArgs *a, const WinogradLines *k, int64_t row, int64_t end, int64_t begin, WinogradStrip *s) noexcept nogil:
    # Those of the rows of tiles from `row` on that are in one image.
    s.image = row // a.tile_rows
    s.row = row % a.tile_rows
    s.rows = min(end - row, a.tile_rows - s.row)
    s.tile = (row - begin) * a.tile_cols
    s.values = (row - begin + (s.image - begin // a.tile_rows) * k.more_down) * (a.tile_cols + k.more_across)


cdef void winograd_line_unit(const WinogradArgs *a, int64_t unit, char *scratch, const real_t *w) noexcept nogil:
    # Units run over (group, strip, chunk of filters).
    cdef WinogradLines k = lines_of(a)
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(real_t), all_rows = a.batch * a.tile_rows
    cdef int64_t chunk = unit % a.n_chunks, strip = unit // a.n_chunks % a.n_strips, blocks = whole_blocks(a.filters, lanes) // lanes
    cdef int64_t begin = strip * all_rows // a.n_strips, end = (strip + 1) * all_rows // a.n_strips, block, b, t, row
    cdef int64_t tiles = (end - begin) * a.tile_cols, cols = a.tile_cols + k.more_across, staged_row = (a.tile_cols * k.across + a.g.kernel_x - 1) * a.pitch
    cdef int64_t matrices = (a.tile + 2) * k.pieces, size = a.pitch * lanes
    cdef real_t *values = <real_t *>(scratch + a.values)
    cdef real_t *zeros = <real_t *>(scratch + a.tables)
    cdef int64_t *tables = <int64_t *>(zeros + lanes)
    cdef real_t *at
    cdef WinogradStrip s
    s.group = unit // a.n_chunks // a.n_strips
    conv_part(chunk, a.n_chunks, a.filters, lanes, &s.first, &s.filters)
    line_tables(a, &k, tables, begin, tiles, sizeof(real_t))
    for t in range(lanes):
        zeros[t] = 0
    row, at = begin, <real_t *>scratch
    while row < end:
        line_strip(a, &k, row, end, begin, &s)
        stage_line(a, &k, &s, at, <real_t *>(scratch + a.lines))
        for t in range((s.rows + k.more_down) * cols):
            line_points(at + t // cols * k.down * staged_row + t % cols * k.across * a.pitch, staged_row if k.down > 1 else a.pitch,
                        values + (s.values + t) * a.pitch, a.step, a.pitch, a.tile)
        at += (s.rows * k.down + a.g.kernel_y - 1) * staged_row
        row += s.rows
    for b in range(s.first // lanes, (s.first + s.filters + lanes - 1) // lanes):
        block = s.group * blocks + b
        line_products(a, &k, w + block * matrices * size, <const real_t *>values, <const real_t *>zeros, <real_t *>(scratch + a.products),
                      tables, tiles)
        row, at = begin, <real_t *>scratch
        while row < end:
            line_strip(a, &k, row, end, begin, &s)
            line_sums(a, &k, &s, <const real_t *>at, w + (a.groups * blocks * matrices + block * k.taps) * size,
                      <const real_t *>(scratch + a.products), <real_t *>(scratch + a.sums), <real_t *>(scratch + a.lines), tiles, b)
            at += (s.rows * k.down + a.g.kernel_y - 1) * staged_row
            row += s.rows
    end_stream()


cdef void winograd_line_weights_unit(const WinogradLineWeightsArgs *a, int64_t unit, real_t *loose, real_t *to) noexcept nogil:
    # A unit is a block.
    cdef int64_t narrow = VECTOR_BYTES // <int64_t>sizeof(real_t), lanes = GEMM_COLS * narrow, taps = a.taps, pieces = (taps - 1) // 2
    cdef int64_t blocks = whole_blocks(a.filters, lanes) // lanes, step = a.pitch * lanes, points = a.tile + 2
    cdef int64_t first = unit % blocks * lanes, depth = taps * narrow, c = 0, f, k, n
    cdef const real_t *w = <const real_t *>a.x + (unit // blocks * a.filters + first) * a.channels * taps
    cdef real_t *at = to + unit * points * pieces * step
    cdef real_t *plain = to + (a.groups * blocks * points * pieces + unit * taps) * step
    cdef real_t *turned = loose + lanes * depth
    while c < a.pitch:
        n = taps * max(<int64_t>0, min(narrow, a.channels - c))
        for f in range(lanes):
            for k in range(n if first + f < a.filters else 0):
                loose[f * depth + k] = w[(f * a.channels + c) * taps + k]
            for k in range(n if first + f < a.filters else 0, depth):
                loose[f * depth + k] = 0
        for f in range(GEMM_COLS):
            k = 0
            while k < depth:
                turn_block(loose + f * narrow * depth + k, depth, turned + k * lanes + f * narrow, lanes)
                k += narrow
        for k in range(pieces):
            line_piece_points(<const real_t *>turned, taps, 2 * k, at + k * step + c * lanes, pieces * step, a.tile)
        for k in range(depth):
            for f in range(lanes):
                plain[k % taps * step + (c + k // taps) * lanes + f] = turned[k * lanes + f]
        c += narrow


cdef void winograd_line_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradArgs *a = <const WinogradArgs *>args
    winograd_line_unit(a, unit, next_line(a.g.scratch + worker * a.g.scratch_bytes), <const float *>a.g.w)


cdef void winograd_line_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradArgs *a = <const WinogradArgs *>args
    winograd_line_unit(a, unit, next_line(a.g.scratch + worker * a.g.scratch_bytes), <const double *>a.g.w)


cdef void winograd_line_weights_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradLineWeightsArgs *a = <const WinogradLineWeightsArgs *>args
    winograd_line_weights_unit(a, unit, <float *>(a.scratch + worker * a.scratch_bytes), <float *>a.out)


cdef void winograd_line_weights_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradLineWeightsArgs *a = <const WinogradLineWeightsArgs *>args
    winograd_line_weights_unit(a, unit, <double *>(a.scratch + worker * a.scratch_bytes), <double *>a.out)
