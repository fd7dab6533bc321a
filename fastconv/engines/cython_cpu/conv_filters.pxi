# Convolution with many filters, lanes being filters; see conv.pxi.

# Weights that stay in the second cache beside what passes through it: all filters of a tile of pixels before the next pixels.
# Of other weights NEAR_ROWS rows (NEAR_WEIGHT_ROWS of the executor) of a block: all pixels before the next rows.
# Where a unit has few tiles of pixels, the next weights are called for rather than the next pixels.
cdef enum:
    NEAR_WEIGHTS = 256 * 1024
    NEAR_ROWS = 1024
    FEW_TILES = 8

# Some rows of the weights of all pixels and filters of a unit, lanes being filters.
cdef struct ConvPass:
    int64_t *pixel_of
    const int64_t *out_of
    const int64_t *run_of
    const char *src
    int64_t pixels, blocks, runs, length, row_bytes, w_row  # bytes of a tile's row, and from row to row of the weights
    int64_t depth, before  # rows of weights of these channels, and those of them that were taken before
    bint first, last, stream, inner
    const char *w
    const char *next
    const char *bias
    char *sums
    char *tile
    int64_t w_block, sum_blocks
    int64_t source_step, target_step, weights_step


cdef void conv_filters(const ConvArgs *a, const ConvUnit *u, acc_t *tile) noexcept nogil:
    # Lanes are filters; u.first is a multiple of the lanes.
    cdef ConvPass s
    cdef int64_t row_bytes = GEMM_COLS * VECTOR_BYTES, lanes = row_bytes // <int64_t>sizeof(acc_t), n = a.images * u.rows * u.cols
    cdef int64_t taps = a.kernel_z * a.g.kernel_y * a.g.kernel_x, c = 0, b, p, begin, end, channels, block
    cdef acc_t *staged = tile + GEMM_ROWS * lanes
    cdef int64_t *tile_of = <int64_t *>(<char *>tile + a.tables) + 2 * n
    cdef Finish finish = finish_of(a.activation, a.slope)
    cdef bint inner
    s.pixels, s.blocks, s.w_block, s.row_bytes, s.w_row = n, (u.filters + lanes - 1) // lanes, a.w_rows * row_bytes, row_bytes, row_bytes
    s.tile, s.sums, s.pixel_of, s.out_of = <char *>tile, <char *>tile + a.sums, tile_of - 2 * n, tile_of - n
    s.src = conv_tables(a, u, <const char *>staged, s.pixel_of, sizeof(acc_t))
    block = u.group * ((a.filters + lanes - 1) // lanes) + u.first // lanes
    s.bias, inner = <const char *>a.g.bias + block * row_bytes, s.blocks * s.w_block <= NEAR_WEIGHTS
    if a.w_step:
        s.w_block, s.w_row = row_bytes, a.w_step * sizeof(acc_t)
    s.stream = a.store_direct > 1 and (<int64_t>(u.out + u.filter_of[0]) | a.g.out_col | a.g.out_row) % VECTOR_BYTES == 0
    s.sum_blocks = s.blocks if a.block_channels < a.channels else 1
    for p in range(GEMM_ROWS):
        tile_of[p], tile_of[GEMM_ROWS + p] = p * row_bytes, p * s.sum_blocks * row_bytes
    while c < a.channels:
        channels = min(a.block_channels, a.channels - c)
        s.first, s.last, s.runs, s.length = c == 0, c + channels == a.channels, taps // a.joined, a.joined * channels
        s.w, s.run_of, s.depth, s.before = <const char *>a.g.w + block * s.w_block + c * taps * s.w_row, a.offsets, channels * taps, 0
        conv_steps(a, u, &s, inner, tile)
        if not a.in_place:
            stage_conv_images(a, u, staged, c, channels)
        if a.few and n >= GEMM_ROWS:
            few_filters(<const acc_t *>s.w, a.w_rows * lanes, s.src, s.pixel_of, a.offsets, s.runs, s.length, <const acc_t *>s.bias,
                        u.out + u.filter_of[0], s.out_of, n, u.filters, <acc_t *>s.sums if a.few > 1 else NULL, &finish)
            break
        if a.packs:
            s.w, s.weights_step = <const char *>tile + a.packs, 0
        for b in range(s.blocks if inner and a.packs else 0):
            pack_filters(a, u, b, <acc_t *>(s.w + b * s.w_block))
        begin = 0
        while inner and begin < n:
            end = begin + product_height(tile, n - begin)
            for b in range(s.blocks):
                s.next = s.w
                if s.depth <= NEAR_ROWS:
                    conv_filters_tile(a, u, &s, tile, begin, end, b)
                else:
                    conv_filters_block(a, u, &s, tile, begin, end, b)
            begin = end
        for b in range(0 if inner else s.blocks):
            if a.packs:
                pack_filters(a, u, b, <acc_t *>(<char *>tile + a.packs))
                s.w = <const char *>tile + a.packs - b * s.w_block
            conv_filters_block(a, u, &s, tile, 0, n, b)
        c += channels
    if s.stream:
        end_stream()


cdef void pack_filters(const ConvArgs *a, const ConvUnit *u, int64_t b, acc_t *to) noexcept nogil:
    # The weights of a block of the unit's filters as rows of lanes.
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(acc_t), first = b * lanes, n = min(lanes, u.filters - first)
    if n < lanes:
        memset(to, 0, a.w_rows * lanes * sizeof(acc_t))
    turn_rows(<const acc_t *>a.g.w + (u.first + first) * a.channels, a.channels, to, lanes, n, a.channels)


cdef void stage_conv_images(const ConvArgs *a, const ConvUnit *u, acc_t *staged, int64_t c, int64_t channels) noexcept nogil:
    cdef ConvUnit v = u[0]
    cdef int64_t i
    for i in range(a.images):
        stage_conv_pixels(a, &v, staged + i * a.kernel_z * a.rows * a.pitch, c, channels)
        v.image += a.x_image


cdef void conv_filters_block(const ConvArgs *a, const ConvUnit *u, const ConvPass *s, acc_t *tile, int64_t begin, int64_t end,
                             int64_t b) noexcept nogil:
    # A block of the filters: the pixels begin .. end - 1 with some rows of the weights, which stay in the second cache, then with
    # others.  Sums are rounded at the same rows in every unit, be it of one tile of pixels: filters of a unit depend on the threads.
    cdef ConvPass t = s[0]
    cdef int64_t pieces = (s.length + <int64_t>NEAR_ROWS - 1) // NEAR_ROWS, piece = (s.length + pieces - 1) // pieces
    cdef int64_t runs = max(<int64_t>1, NEAR_ROWS // s.length), run = 0, at, p
    while run < s.runs:
        t.runs, t.run_of, at = min(runs, s.runs - run), s.run_of + run, 0
        while at < s.length:
            t.length, t.src, t.before = min(piece, s.length - at), s.src + at * <int64_t>sizeof(acc_t), run * s.length + at
            t.first, t.last = s.first and t.before == 0, s.last and t.before + t.runs * t.length == s.depth
            t.w = s.w + t.before * s.w_row
            t.next = s.w + b * s.w_block + (s.w_block if t.before + t.runs * t.length == s.depth else
                                            (t.before + t.runs * t.length) * s.w_row)
            p = begin
            while p < end:
                p += conv_filters_tile(a, u, &t, tile, p, end, b)
            at += t.length
        run += t.runs


cdef void conv_steps(const ConvArgs *a, const ConvUnit *u, ConvPass *s, bint inner, acc_t *tile) noexcept nogil:
    # How far what is called for moves with each element of depth, so that the next tile's pixels, where they are read in place,
    # or weights come in time, and the lines that it writes, but never those that another unit writes: they would be taken from the
    # caches of another thread.
    cdef int64_t passes = s.depth * (s.blocks if inner else 1), tiles = (s.pixels + GEMM_ROWS - 1) // GEMM_ROWS
    cdef int64_t row = s.out_of[1] - s.out_of[0] if s.pixels > 1 else 0
    s.source_step = s.target_step = s.weights_step = 0
    s.inner = inner
    if s.pixels > GEMM_ROWS:
        if not s.stream and row == u.filters * <int64_t>sizeof(acc_t):
            s.target_step = row * GEMM_ROWS // passes
        if a.in_place and (inner or tiles > FEW_TILES):
            s.source_step = (s.pixel_of[1] - s.pixel_of[0]) * GEMM_ROWS // passes
    if not inner:
        s.weights_step = s.w_row if a.w_step else s.row_bytes // tiles


cdef int64_t conv_filters_tile(const ConvArgs *a, const ConvUnit *u, const ConvPass *s, acc_t *tile, int64_t p, int64_t end,
                               int64_t b) noexcept nogil:
    # A tile of the pixels p .. end - 1, of block b of the filters; returns how many pixels it has.
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(acc_t), f = b * lanes, some = min(lanes, u.filters - f)
    cdef int64_t height = product_height(tile, end - p), start_step = 0, after = min(p + height, s.pixels - 1)
    cdef int64_t called = b * s.depth + s.before
    cdef const int64_t *to_of = s.out_of + p
    cdef const char *start = s.bias + b * s.row_bytes
    cdef const char *w = s.w + b * s.w_block
    cdef char *to = u.out + u.filter_of[f]
    cdef char *sums = s.sums + (p * s.sum_blocks + b % s.sum_blocks) * s.row_bytes
    cdef Coming coming
    cdef Finish finish = finish_of(a.activation if s.last else 0, a.slope)
    coming.source, coming.source_step, coming.stream = w, s.weights_step, False
    coming.target, coming.target_step, coming.row = w, 0, s.w_row // <int64_t>sizeof(acc_t)
    if s.target_step and s.last and p + height < s.pixels:
        coming.target, coming.target_step = u.out + u.filter_of[0] + s.out_of[after] + called * s.target_step, s.target_step
        if not s.inner:
            coming.target = to + s.out_of[after]
    if s.weights_step and a.w_step:  # a line of each row of the next block
        coming.source = w + s.row_bytes + p // GEMM_ROWS % GEMM_COLS * VECTOR_BYTES
    elif s.weights_step:
        coming.source = s.next + p // GEMM_ROWS * s.weights_step * s.runs * s.length
    if s.source_step and (b == 0 or s.weights_step == 0):
        coming.source, coming.source_step = s.src + s.pixel_of[after] + called * s.source_step, s.source_step
    if not s.first:
        start, start_step = sums, s.sum_blocks * lanes
    if not s.last:
        to, to_of, some = sums, s.out_of + s.pixels + GEMM_ROWS, lanes
    elif not a.store_direct:
        to, to_of, some = s.tile, s.out_of + s.pixels, lanes
    else:
        coming.stream = s.stream and some * <int64_t>sizeof(acc_t) % VECTOR_BYTES == 0
    filters_tile_while(<const acc_t *>w, s.src, s.pixel_of + p, s.run_of, s.runs, s.length, <const acc_t *>start, start_step,
                       to, to_of, some, &coming, &finish, height)
    if finish.code > LEAKY_RELU and a.store_direct:
        activate_rows(tile, to, to_of, height, some, finish.code, finish.slope)
    elif s.last and not a.store_direct:
        store_conv_pixels(a, u, tile, s.out_of + p, height, f, min(lanes, u.filters - f))
    return height


cdef const char *conv_tables(const ConvArgs *a, const ConvUnit *u, const char *staged, int64_t *pixel_of,
                              int64_t size) noexcept nogil:
    # Where the window of each pixel begins, from what is returned on, and then where each pixel of the output lies.
    cdef const Geometry *g = &a.g
    cdef int64_t down = g.stride_y * g.x_row, right = g.stride_x * g.x_col, image = a.x_image, i, y, x
    cdef int64_t *out_of = pixel_of + a.images * u.rows * u.cols
    if not a.in_place:
        down = g.stride_y // a.step_y * a.pitch * size
        right, image = g.stride_x // a.step_x * a.block_channels * size, a.kernel_z * a.rows * a.pitch * size
    for i in range(a.images):
        for y in range(u.rows):
            for x in range(u.cols):
                pixel_of[0] = i * image + y * down + x * right
                out_of[0] = i * a.out_image + (u.y + y) * g.out_row + (u.x + x) * g.out_col
                pixel_of += 1
                out_of += 1
    if not a.in_place:
        return staged
    return u.image + u.channel_of[0] + u.z * a.stride_z * a.x_plane + u.y * down + u.x * right


cdef void store_conv_pixels(const ConvArgs *a, const ConvUnit *u, acc_t *tile, const int64_t *out_of, int64_t pixels,
                       int64_t first, int64_t filters) noexcept nogil:
    # A tile whose rows are pixels.
    cdef const int64_t *filter_of = u.filter_of + first
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(acc_t), p, f, run = 0
    cdef int64_t step = filter_of[1] - filter_of[0] if filters > 1 else a.g.out_col
    cdef bint even = evenly_spaced(filter_of, filters)
    cdef bint planes = even and a.g.out_col == sizeof(acc_t) and a.g.out_code == code_of(tile)
    activate_stored(tile, pixels * lanes, a.activation, a.slope)
    for p in range(pixels):
        run += 1
        if planes and p + 1 < pixels and out_of[p + 1] - out_of[p] == a.g.out_col:
            continue
        if run > 1:
            store_turned(tile + (p + 1 - run) * lanes, u.out + filter_of[0] + out_of[p + 1 - run], step, run, filters)
        elif even:
            store_run(tile + p * lanes, u.out + filter_of[0] + out_of[p], step, filters, a.g.out_code)
        else:
            for f in range(filters):
                store_run(tile + p * lanes + f, u.out + filter_of[f] + out_of[p], step, <int64_t>1, a.g.out_code)
        run = 0
