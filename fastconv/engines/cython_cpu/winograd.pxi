# Winograd's minimal filtering: 3x3 taps and stride 1, m x m outputs (a tile) at once.
#
# A unit is some rows of tiles, of one image or of several, of one group, with a chunk of its filters.  Their windows are
# staged as pixels, [row][column][channel], whatever lies beyond the border with them; each tile is taken at (m + 2)^2
# points, and the products there of all tiles, channels and filters are one matrix product for each point.
# Weights are packed [block of filters][point][channel][lane].
#
# Kernels of 5x5 or 7x7 taps, for m = 2, are sums of pieces of 3x3 (the last along an axis) and 2x3 to 2x2 taps, two apart:
# so far as tiles are, and the windows of the pieces are windows of neighbouring tiles.  A piece of two taps along an axis
# has no product at the point of infinity.  At each point the products of all pieces that have one there are one sum, of
# weights [block of filters][point][piece][channel][lane]: pieces row by row, but column by column at the last column of points,
# so that those that count lie behind each other, and last.

cdef enum:
    # Products of channels that are summed apart: the error of F(2x2) is then 1.9e-7 to 2.2e-7 for 64 to 512 channels, rather
    # than 2.6e-7 to 7e-7 (root mean square), and tiles take 3% longer.
    PRODUCTS_APART = 24
    # How far ahead weights are called for: from the third cache or from memory products take 1.1 times as long as from the
    # second, and twice as long without.
    AHEAD_BYTES = 16384


cdef extern from "tiles_all.h" nogil:
    void window_points(...)
    bint point_sums(...)
    void window_sums(...)
    void wide_window_sums(...)
    bint kernel_points(...)
    void unit_points(...)
    void point_products(...)
    void turn_nine(...)
    void store_pixels(...)
    void call_for(const char *at, int64_t step, int64_t n, int64_t bytes, bint written)


cdef struct WinogradArgs:
    Geometry g
    int64_t batch, x_image, out_image
    int64_t groups, channels, filters, x_channel, out_filter
    int64_t tile, tile_rows, tile_cols
    int64_t n_strips, n_chunks
    int64_t planes, store_direct, stream
    int64_t pitch, step
    int64_t values, products, sums, lines, tables
    int64_t w_filter, w_channel, flipped, some_channels, some_step, weights
    int64_t activation, slope


# The rows of tiles of a unit, those of them that are in one image, and filters.
cdef struct WinogradStrip:
    int64_t group, first, filters  # filters from a multiple of the lanes on
    int64_t image, row, rows
    int64_t tile  # the first of these tiles among the unit's
    int64_t values  # ... of the tiles that are taken at the points


cdef void stage_winograd(const WinogradArgs *a, const WinogradStrip *s, real_t *to, real_t *lines) noexcept nogil:
    # The windows of the strip's tiles.  What only tiles reach that stick out of the output is 0.
    cdef const Geometry *g = &a.g
    cdef int64_t more = g.kernel_y - 1, rows = s.rows * a.tile + more, cols = a.tile_cols * a.tile + more
    cdef int64_t n = min(cols, g.out_width + more), row
    cdef int64_t size = sizeof(real_t), lanes = VECTOR_BYTES // size
    cdef const char *image = g.x + s.image * a.x_image + s.group * a.channels * a.x_channel
    cdef const char *line
    cdef real_t fill = (<const real_t *>g.fill)[0]
    cdef bint turned = g.src_code == code_of(to) and g.x_col == size and a.x_channel % size == 0 and a.channels >= lanes
    for row in range(rows):
        line = NULL
        if s.row * a.tile + row < g.out_height + more:
            line = source_row(g, image, s.row * a.tile + row - g.pad_y)
        else:
            fill = 0
        if a.planes and not turned:
            winograd_planes(a, to, lines, line, fill, n, cols)
        else:
            if a.planes and line != NULL:
                call_for(line + g.x_row, a.x_channel, a.channels, g.width * size, False)
            winograd_pixels(a, to, line, fill, n, cols)
        to += cols * a.pitch


cdef void winograd_planes(const WinogradArgs *a, real_t *to, real_t *lines, const char *row, real_t fill, int64_t n,
                          int64_t cols) noexcept nogil:
    # A row of all channels from planes: LANES of them are staged, and transposed.  Writes beyond the row.
    cdef const Geometry *g = &a.g
    cdef int64_t lanes = VECTOR_BYTES // <int64_t>sizeof(real_t), length = (cols + lanes - 1) // lanes * lanes, c = 0, l, i, known
    while c < a.pitch:
        for l in range(lanes):
            known = n if c + l < a.channels else 0
            if known:
                stage_row(g, lines + l * length, row + (c + l) * a.x_channel if row != NULL else NULL, fill, -g.pad_x, n)
            for i in range(known, length):
                lines[l * length + i] = 0
        i = 0
        while i < cols:
            turn_block(lines + i, length, to + i * a.pitch + c, a.pitch)
            i += lanes
        c += lanes


cdef void winograd_pixels(const WinogradArgs *a, real_t *to, const char *row, real_t fill, int64_t n, int64_t cols) noexcept nogil:
    # A row of pixels: copied, or transposed if channels are planes.
    cdef const Geometry *g = &a.g
    cdef bint dense = not a.planes and a.x_channel == <int64_t>sizeof(real_t) and g.x_col == a.channels * a.x_channel and a.pitch == a.channels
    cdef int64_t col = 0, at, run, p, i, known
    while col < cols:
        at = -1 if row == NULL or col >= n else col - g.pad_x
        run = 1
        if 0 <= at < g.width:
            run = min(n - col, g.width - at) if dense or a.planes else 1
        elif row != NULL and col < n:
            at = mapped(g.map_x, at, g.width, g.pad_x)
        known = a.channels if col < n else 0
        if at >= 0 and a.planes:
            turn_rows(<const real_t *>(row + at * g.x_col), a.x_channel // <int64_t>sizeof(real_t), to, a.pitch, a.channels, run)
        elif at >= 0:
            stage_run(to, row + at * g.x_col, a.x_channel, run * a.channels, g.src_code)
        else:
            for i in range(known):
                to[i] = fill
        for p in range(run):
            for i in range(known, a.pitch):
                to[p * a.pitch + i] = 0
        to += run * a.pitch
        col += run


cdef void winograd_products(const WinogradArgs *a, const WinogradStrip *s, const real_t *w, int64_t w_step, const real_t *values,
                            int64_t depth, const real_t *zeros, real_t *products, const int64_t *tables, int64_t tiles, int64_t block,
                            bint first) noexcept nogil:
    # At each point, of `depth` channels of all tiles with all filters of a block.  Meanwhile rows of planes are called for,
    # which are written next.
    cdef const Geometry *g = &a.g
    cdef const int64_t *runs = tables + 1 + 2 * tiles
    cdef int64_t pieces = pieces_along(a), missing
    cdef int64_t points = (a.tile + 2) * (a.tile + 2), lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(real_t), point, t, height
    cdef int64_t some = min(lanes, s.first + s.filters - block * lanes), rows = min(s.rows * a.tile, g.out_height - s.row * a.tile)
    cdef int64_t i = 0, row = 0, width = g.out_width * <int64_t>sizeof(real_t)
    cdef const real_t *start
    cdef const char *out = g.out + s.image * a.out_image + (s.group * a.filters + block * lanes) * a.out_filter + s.row * a.tile * g.out_row
    for point in range(points):
        while a.planes and first and i < some and (i * rows + row) * points < (point + 1) * some * rows:
            call_for(out + i * a.out_filter + row * g.out_row, <int64_t>0, <int64_t>1, width, True)
            row += 1
            if row == rows:
                i, row = i + 1, 0
        t = missing = 0
        if pieces > 1 and (point >= 12 or point % 4 == 3):
            missing = pieces * pieces - 1 if point == 15 else (pieces - 1) * pieces
        while t < tiles:
            height = product_height(w, tiles - t)
            start = zeros if first else <const real_t *>products + t * lanes
            if pieces == 1:
                point_products(w, values + t * a.pitch, a.pitch, depth, start, <int64_t>0 if first else lanes, products + t * lanes,
                               <int64_t>PRODUCTS_APART, <int64_t>(AHEAD_BYTES if t == 0 and depth == a.pitch else 0), height)
            else:
                filters_part(w + missing * a.pitch * lanes, <const char *>values, tables + 1 + t,
                             runs + (pieces * pieces if point % 4 == 3 else 0) + missing, pieces * pieces - missing, depth,
                             start, <int64_t>0 if first else lanes, <char *>products, tables + 1 + tiles + t, lanes,
                             <int64_t>PRODUCTS_APART, <int64_t>(AHEAD_BYTES if t == 0 and depth == a.pitch else 0), height)
            t += height
        w += w_step
        values += a.step
        products += tiles * lanes


cdef void winograd_fresh_products(const WinogradArgs *a, const WinogradStrip *s, const real_t *w, char *scratch, const real_t *values,
                                  const real_t *zeros, const int64_t *tables, int64_t tiles, int64_t block) noexcept nogil:
    # The same, some channels at a time, with weights that are taken at the points first.
    cdef int64_t narrow = VECTOR_BYTES // <int64_t>sizeof(real_t), lanes = GEMM_COLS * narrow, c = 0, i, depth
    cdef int64_t filters = min(lanes, s.first + s.filters - block * lanes)
    cdef real_t *loose = <real_t *>(scratch + a.weights)
    cdef real_t *turned = loose + (9 * narrow + 1) * lanes
    cdef real_t *fresh = turned + 10 * narrow * lanes
    while c < a.pitch:
        depth, i = min(a.some_channels, a.pitch - c), 0
        while i < depth:
            turn_taps(w + (c + i) * a.w_channel, a.w_filter, a.w_channel, filters, a.channels - c - i, loose, turned)
            unit_points(<const real_t *>turned + (8 * lanes if a.flipped else 0), -lanes if a.flipped else lanes, fresh + i * lanes,
                        a.some_step, narrow, a.tile)
            i += narrow
        winograd_products(a, s, <const real_t *>fresh, a.some_step, values + c, depth, zeros, <real_t *>(scratch + a.products), tables,
                          tiles, block, c == 0)
        c += depth


cdef void winograd_sums(const WinogradArgs *a, const WinogradStrip *s, const real_t *staged, const real_t *w, const real_t *taps,
                        const real_t *products, real_t *sums, real_t *lines, real_t *fresh, int64_t tiles, int64_t block) noexcept nogil:
    # Of the strip's tiles and a block of filters: stored where they belong, or tile by tile, or all together.
    cdef const Geometry *g = &a.g
    cdef int64_t wide = GEMM_COLS * VECTOR_BYTES, lanes = wide // <int64_t>sizeof(real_t), m = a.tile
    cdef int64_t cols = a.tile_cols * m + g.kernel_x - 1
    cdef int64_t some = min(lanes, s.first + s.filters - block * lanes), t, i, y, x, row, col, height, width
    cdef const real_t *bias = <const real_t *>g.bias + (s.group * whole_blocks(a.filters, lanes) + block * lanes)
    cdef const real_t *window
    cdef char *to
    cdef char *out = g.out + s.image * a.out_image + (s.group * a.filters + block * lanes) * a.out_filter + s.row * m * g.out_row
    cdef bint whole
    cdef Finish finish = finish_of(a.activation, a.slope)
    for t in range(s.rows * a.tile_cols):
        y, x = t // a.tile_cols * m, t % a.tile_cols * m
        height, width = min(m, g.out_height - s.row * m - y), min(m, g.out_width - x)
        whole = a.store_direct and height == m and width == m and some == lanes and a.activation <= LEAKY_RELU
        if whole:
            to, row, col = out + y * g.out_row + x * g.out_col, g.out_row, g.out_col
        elif a.store_direct:
            to, row, col = <char *>sums, m * wide, wide
        else:
            to, row, col = <char *>sums + (y * a.tile_cols * m + x) * wide, a.tile_cols * m * wide, wide
        if point_sums(products + (s.tile + t) * lanes, tiles * lanes, bias, to, row, col, <int64_t>(whole and a.stream), &finish, m):
            window = staged + (y * cols + x) * a.pitch
            if a.w_filter and taps == NULL:
                plain_taps(w, a.w_filter, a.w_channel, a.flipped, some, a.channels, fresh, a.pitch * lanes)
                taps = fresh
            if g.kernel_y > 3:
                wide_window_sums(window, cols * a.pitch, a.pitch, taps, a.pitch * lanes, g.kernel_y, a.channels, bias, to, row, col)
            else:
                window_sums(window, cols * a.pitch, a.pitch, w, a.pitch * lanes, taps, a.channels, bias, to, row, col, m)
            for i in range(m * m if a.activation and a.activation <= LEAKY_RELU else 0):
                activate_run(<real_t *>(to + i // m * row + i % m * col), lanes, a.activation, finish.slope)
        if a.store_direct and not whole:
            activate_stored(sums, m * m * lanes, a.activation, a.slope)
            store_pixels(sums, m * lanes, out + y * g.out_row + x * g.out_col, g.out_row, g.out_col, height, width, some)
    if not a.store_direct:
        row = a.tile_cols * m * lanes
        activate_stored(sums, s.rows * m * row, a.activation, a.slope)
        store_winograd(a, sums, row, lines, out, min(s.rows * m, g.out_height - s.row * m), some)


cdef inline int64_t pieces_along(const WinogradArgs *a) noexcept nogil:
    return (a.g.kernel_y - 1) // 2


cdef void winograd_tables(const WinogradArgs *a, int64_t *tables, int64_t begin, int64_t tiles, int64_t size) noexcept nogil:
    # 0; where each tile's values begin, and its products; where those of its pieces do, row by row and column by column.
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // size, pieces = pieces_along(a), cols = a.tile_cols + pieces - 1, t, row
    cdef int64_t *runs = tables + 1 + 2 * tiles
    tables[0] = 0
    for t in range(tiles):
        row = begin + t // a.tile_cols
        row += (row // a.tile_rows - begin // a.tile_rows) * (pieces - 1) - begin
        tables[1 + t] = (row * cols + t % a.tile_cols) * a.pitch * size
        tables[1 + tiles + t] = t * lanes * size
    for t in range(pieces * pieces):
        runs[t] = (t // pieces * cols + t % pieces) * a.pitch * size
        runs[pieces * pieces + t] = (t % pieces * cols + t // pieces) * a.pitch * size


cdef inline int64_t whole_blocks(int64_t filters, int64_t lanes) noexcept nogil:
    return (filters + lanes - 1) // lanes * lanes


cdef void store_winograd(const WinogradArgs *a, const real_t *sums, int64_t row, real_t *lines, char *out, int64_t rows,
                         int64_t filters) noexcept nogil:
    # Rows of pixels as planes, or as pixels of another type.
    cdef const Geometry *g = &a.g
    cdef int64_t lanes = VECTOR_BYTES // <int64_t>sizeof(real_t), wide = GEMM_COLS * lanes
    cdef int64_t length = (g.out_width + lanes - 1) // lanes * lanes, y, x, f, l
    cdef bint turned = a.planes and g.out_code == code_of(sums) and g.out_col == <int64_t>sizeof(real_t)
    for y in range(rows):
        f = 0
        if turned:
            store_turned(<real_t *>sums, out, a.out_filter, g.out_width, filters)
        while a.planes and not turned and f < filters:
            x = 0
            while x < g.out_width:
                turn_block(sums + x * wide + f, wide, lines + x, length)
                x += lanes
            for l in range(min(lanes, filters - f)):
                store_run(lines + l * length, out + (f + l) * a.out_filter, g.out_col, g.out_width, g.out_code)
            f += lanes
        for x in range(0 if a.planes else g.out_width):
            store_run(<real_t *>sums + x * wide, out + x * g.out_col, a.out_filter, filters, g.out_code)
        sums += row
        out += g.out_row


cdef void winograd_unit(const WinogradArgs *a, int64_t unit, char *scratch, const real_t *w) noexcept nogil:
    # Units run over (group, strip, chunk of filters).
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(real_t), all_rows = a.batch * a.tile_rows
    cdef int64_t chunk = unit % a.n_chunks, strip = unit // a.n_chunks % a.n_strips, points = (a.tile + 2) * (a.tile + 2)
    cdef int64_t begin = strip * all_rows // a.n_strips, end = (strip + 1) * all_rows // a.n_strips, blocks, block, b, t, row
    cdef int64_t tiles = (end - begin) * a.tile_cols, pieces = pieces_along(a), cols = a.tile_cols + pieces - 1
    cdef int64_t staged_row = (a.tile_cols * a.tile + a.g.kernel_x - 1) * a.pitch, matrices = points * pieces * pieces
    cdef real_t *staged = <real_t *>scratch
    cdef real_t *values = <real_t *>(scratch + a.values)
    cdef real_t *products = <real_t *>(scratch + a.products)
    cdef real_t *zeros = <real_t *>(scratch + a.tables)
    cdef int64_t *tables = <int64_t *>(zeros + lanes)
    cdef const real_t *taps
    cdef const real_t *flags
    cdef const real_t *of_block
    cdef real_t *at
    cdef WinogradStrip s
    s.group = unit // a.n_chunks // a.n_strips
    conv_part(chunk, a.n_chunks, a.filters, lanes, &s.first, &s.filters)
    winograd_tables(a, tables, begin, tiles, sizeof(real_t))
    for t in range(lanes):
        zeros[t] = 0
    row = begin
    at = staged
    while row < end:
        first_strip(a, row, end, begin, &s)
        stage_winograd(a, &s, at, <real_t *>(scratch + a.lines))
        for t in range((s.rows + pieces - 1) * cols):
            window_points(at + t // cols * a.tile * staged_row + t % cols * a.tile * a.pitch, staged_row, a.pitch,
                          values + (s.values + t) * a.pitch, a.step, a.pitch, a.tile)
        at += (s.rows * a.tile + a.g.kernel_y - 1) * staged_row
        row += s.rows
    blocks = whole_blocks(a.filters, lanes) // lanes
    flags = w + a.groups * blocks * matrices * a.pitch * lanes
    for b in range(s.first // lanes, (s.first + s.filters + lanes - 1) // lanes):
        block = s.group * blocks + b
        taps = NULL
        first_strip(a, begin, end, begin, &s)
        if a.w_filter:
            of_block = w + s.group * a.filters * a.channels * 9 + b * lanes * a.w_filter
            winograd_fresh_products(a, &s, of_block, scratch, <const real_t *>values, <const real_t *>zeros, tables, tiles, b)
        else:
            if pieces > 1:
                taps = flags + block * a.g.kernel_y * a.g.kernel_x * a.pitch * lanes
            elif flags[block] != 0:
                taps = flags + whole_blocks(a.groups * blocks, lanes) + block * 9 * a.pitch * lanes
            of_block = w + block * matrices * a.pitch * lanes
            winograd_products(a, &s, of_block, pieces * pieces * a.pitch * lanes, <const real_t *>values, a.pitch,
                              <const real_t *>zeros, products, tables, tiles, b, True)
        row = begin
        at = staged
        while row < end:
            first_strip(a, row, end, begin, &s)
            winograd_sums(a, &s, <const real_t *>at, of_block, taps, <const real_t *>products, <real_t *>(scratch + a.sums),
                          <real_t *>(scratch + a.lines), <real_t *>(scratch + a.weights), tiles, b)
            at += (s.rows * a.tile + a.g.kernel_y - 1) * staged_row
            row += s.rows
    end_stream()


cdef inline void first_strip(const WinogradArgs *a, int64_t row, int64_t end, int64_t begin, WinogradStrip *s) noexcept nogil:
    # Those of the rows from `row` on that are in one image.
    s.image = row // a.tile_rows
    s.row = row % a.tile_rows
    s.rows = min(end - row, a.tile_rows - s.row)
    s.tile = (row - begin) * a.tile_cols
    s.values = (row - begin + (s.image - begin // a.tile_rows) * (pieces_along(a) - 1)) * (a.tile_cols + pieces_along(a) - 1)


cdef inline char *next_line(char *scratch) noexcept nogil:
    # Where the first cache line begins.
    return scratch + (-<uintptr_t>scratch) % 64


cdef void winograd_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradArgs *a = <const WinogradArgs *>args
    winograd_unit(a, unit, next_line(a.g.scratch + worker * a.g.scratch_bytes), <const float *>a.g.w)


cdef void winograd_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradArgs *a = <const WinogradArgs *>args
    winograd_unit(a, unit, next_line(a.g.scratch + worker * a.g.scratch_bytes), <const double *>a.g.w)
