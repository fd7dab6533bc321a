# Convolution of 8-bit numbers: exact sums of 32 bits, or those scaled and rounded to 8 bits again.
#
# Lanes are filters.  A unit is a box of output pixels of one image and one plane, with a chunk of a group's filters.  What its
# windows read is staged once as pixels, [plane][row][column][channel] (planes are transposed on the way), unless it can be read
# where it lies.  Tiles of sums become numbers of the output while they are in the first cache; if its channels are not
# neighbours, these are put into a box of pixels first, which is transposed at the end.

cdef extern from "conv8.h" nogil:
    enum: DOT_LANES
    int64_t dot_together()
    int64_t dots_height(int64_t left)
    void dots(...)
    void less_windows(...)
    int32_t sum_of_window(...)
    void staged_bytes(...)
    void place_row(...)
    void turn_dots(...)

cdef extern from "conv8_weights.h" nogil:
    void pack_dots(...)

cdef extern from "conv8_round.h" nogil:
    ctypedef struct Eighth "struct eighth":
        const double *scale
        const double *offset
        int32_t zero_point, low, high
        float guard
        int32_t near
    void eighths(...)

cdef extern from "conv8_depth.h" nogil:
    void depths(...)
    void eighths_of_depths(...)
    void less_products(...)
    void pack_depths(...)
    void ones_of_depths(...)

cdef extern from "conv8_pixels.h" nogil:
    void pixels8(...)

cdef enum:
    COLUMNS = 2  # what `depthwise` is if taps are packed column by column
    DEPTH_ROWS = 14  # of tiles of depthwise sums
    KEPT_WEIGHTS = 256 * 1024  # bytes that stay in the second cache: all filters of few pixels after the other, whole lines written

cdef struct Conv8Args:
    Geometry g
    int64_t depth, x_plane, out_depth, out_plane, kernel_z, stride_z, dilation_z, pad_z
    const int64_t *map_z
    int64_t groups, channels, filters
    int64_t x_image, out_image, x_channel, out_channel
    int64_t together, depthwise, merged, in_place, turned
    int64_t n_row_units, n_col_units, n_chunks
    int64_t step_y, step_x
    int64_t pixel, row, plane
    const int64_t *segment_of
    int64_t segments, run, quads
    int64_t raw, staged, box, tables

# Numbers that are the same for all filters: what `fill` points to.
cdef struct Conv8Numbers:
    int32_t filler, shift, zero, windows, zero_point, low, high
    float guard
    int32_t near

# What a unit computes.
cdef struct Conv8Unit:
    const char *image
    char *out
    int64_t group, first, filters, channels
    int64_t z, y, x, rows, cols
    const char *src  # windows begin at src + pixel_of[]
    int64_t *pixel_of
    int64_t *out_of
    int64_t *tile_of
    int32_t *windows


cdef void stage_dot_row(const Conv8Args *a, const Conv8Unit *u, char *to, const char *line, int64_t cols, char *raw) noexcept nogil:
    # The pixels of a row (NULL: beyond the border) from its first window on, as the tiles read them.
    cdef const Geometry *g = &a.g
    cdef const Conv8Numbers *numbers = <const Conv8Numbers *>g.fill
    cdef int64_t size = 4 // a.together, pixel = a.pixel // size, col = 0, first = u.x * g.stride_x - g.pad_x, at, run, i
    cdef char *bytes = to if a.together == 4 else raw
    while col < cols:
        at = first + col * a.step_x
        run = 1
        if line != NULL and 0 <= at < g.width:
            run = min(cols - col, (g.width - at + a.step_x - 1) // a.step_x)
        at = -1 if line == NULL else mapped(g.map_x, at, g.width, g.pad_x)
        if at < 0:
            memset(bytes + col * pixel, numbers.filler, pixel)
        elif a.x_channel == 1 and pixel == u.channels and g.x_col * a.step_x == pixel:
            memcpy(bytes + col * pixel, line + at * g.x_col, run * pixel)
        elif a.x_channel == 1:
            for i in range(run):
                memcpy(bytes + (col + i) * pixel, line + (at + i * a.step_x) * g.x_col, u.channels)
        elif g.x_col == 1 and a.step_x == 1 and run > 1:
            turn_dots(line + at, a.x_channel, bytes + col * pixel, pixel, u.channels, run, <int64_t>1)
        else:
            for i in range(run * u.channels):
                bytes[(col + i // u.channels) * pixel + i % u.channels] = (
                    line[(at + i // u.channels * a.step_x) * g.x_col + i % u.channels * a.x_channel])
        col += run
    staged_bytes(to, bytes, cols * pixel, g.src_code == INT8, numbers.shift, a.together)


cdef void stage_dots(const Conv8Args *a, const Conv8Unit *u, char *staged, char *raw) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef int64_t rows = conv_positions(u.rows, g.stride_y, g.kernel_y, g.dilation_y, 0, a.step_y)
    cdef int64_t cols = conv_positions(u.cols, g.stride_x, g.kernel_x, g.dilation_x, 0, a.step_x)
    cdef int64_t tz, row, at
    cdef const char *line
    for tz in range(a.kernel_z):
        at = mapped(a.map_z, u.z * a.stride_z - a.pad_z + tz * a.dilation_z, a.depth, a.pad_z)
        for row in range(rows):
            line = NULL
            if at >= 0:
                line = source_row(g, u.image + at * a.x_plane, u.y * g.stride_y - g.pad_y + row * a.step_y)
            stage_dot_row(a, u, staged + tz * a.plane + row * a.row, line, cols, raw)


cdef void place_dots(const Conv8Args *a, Conv8Unit *u, char *scratch) noexcept nogil:
    # Where the window of each pixel begins, and where its results go.
    cdef const Geometry *g = &a.g
    cdef const Conv8Numbers *numbers = <const Conv8Numbers *>g.fill
    cdef int64_t n = u.rows * u.cols, size = 4 if g.out_code == INT32 or g.out_code == UINT32 else 1, y, p, to, step, cols = u.cols // a.merged
    cdef int64_t down = g.stride_y * g.x_row, right = g.stride_x * g.x_col
    u.pixel_of = <int64_t *>(scratch + a.tables)
    u.out_of = u.pixel_of + n
    u.windows = <int32_t *>(u.out_of + n)
    u.src = u.image + u.z * a.stride_z * a.x_plane + u.y * down + u.x * right
    if not a.in_place:
        down, right, u.src = g.stride_y // a.step_y * a.row, g.stride_x // a.step_x * a.pixel, scratch + a.staged
        stage_dots(a, u, scratch + a.staged, scratch + a.raw)
    for y in range(u.rows):
        to, step = (u.y + y) * g.out_row + u.x * g.out_col, g.out_col
        if a.turned:
            to, step = y * u.cols * u.filters * size, u.filters * size
        place_row(u.pixel_of + y * cols, u.out_of + y * cols, cols, y * down, right * a.merged, to, step * a.merged)
    for p in range(n if numbers.windows and not a.depthwise else 0):
        u.windows[p] = sum_of_window(u.src + u.pixel_of[p], a.segment_of, a.segments, a.run)


cdef void conv8_block(const Conv8Args *a, const Conv8Unit *u, int64_t f, int64_t p, int64_t n, char *to, int32_t *tile) noexcept nogil:
    # The results of up to DOT_LANES filters for pixels p to n - 1.  Constants of all lanes are [sums begin with][zero points][scales][offsets].
    cdef const Geometry *g = &a.g
    cdef const Conv8Numbers *numbers = <const Conv8Numbers *>g.fill
    cdef int64_t blocks = (a.filters + DOT_LANES - 1) // DOT_LANES, depth = 4 * a.segments * a.quads * DOT_LANES
    cdef int64_t block = u.group * blocks + (u.first + f) // DOT_LANES, lane = block * DOT_LANES, lanes = a.groups * blocks * DOT_LANES
    cdef int64_t some = min(<int64_t>DOT_LANES, u.filters - f), height, i, r
    cdef const char *w = <const char *>g.w + block * (depth + 4 * DOT_LANES)
    cdef const int32_t *base = <const int32_t *>g.bias
    cdef const double *scales = <const double *>(base + 2 * lanes)
    cdef int32_t *start = tile + GEMM_ROWS * DOT_LANES
    cdef Eighth q
    q.scale, q.offset = scales + lane, scales + lanes + lane
    q.zero_point, q.low, q.high, q.guard, q.near = numbers.zero_point, numbers.low, numbers.high, numbers.guard, numbers.near
    for i in range(DOT_LANES):
        start[i] = <int32_t>(<uint32_t>base[lane + i] - <uint32_t>numbers.zero * <uint32_t>(<const int32_t *>(w + depth))[i])
    while p < n:
        height = dots_height(n - p)
        dots(w, u.src, u.pixel_of + p, a.segment_of, a.segments, a.quads, start, tile, height, some, a.together)
        if numbers.windows:
            less_windows(tile, height, base + lanes + lane, u.windows + p)
        if g.out_code == INT32 or g.out_code == UINT32:
            for r in range(height):
                memcpy(to + u.out_of[p + r], tile + r * DOT_LANES, 4 * some)
        else:
            eighths(tile, height, some, &q, to, u.out_of + p)
        p += height


cdef void depth8_block(const Conv8Args *a, const Conv8Unit *u, int64_t f, char *to, int32_t *tile) noexcept nogil:
    # The results of a block of channels, of their own windows; `zero` has the sums of these windows.
    cdef const Geometry *g = &a.g
    cdef const Conv8Numbers *numbers = <const Conv8Numbers *>g.fill
    cdef int64_t lanes = a.together * VECTOR_BYTES // 4, block = (u.first + f) // lanes, all_lanes = (a.filters * a.merged + lanes - 1) // lanes * lanes
    cdef int64_t depth = 4 * a.quads * lanes, n = u.rows * u.cols // a.merged, some = min(lanes, u.filters * a.merged - f), p = 0, height, i
    cdef int64_t row, pixel, cols = u.cols // a.merged
    cdef const char *w = <const char *>g.w + block * (depth + 4 * lanes)
    cdef const char *ones = <const char *>g.w + all_lanes // lanes * (depth + 4 * lanes)
    cdef const int32_t *base = <const int32_t *>g.bias + block * lanes
    cdef const double *scales = <const double *>(<const int32_t *>g.bias + 2 * all_lanes) + block * lanes
    cdef int32_t *start = tile + DEPTH_ROWS * lanes
    cdef int32_t *zero = start + lanes
    cdef int32_t *windows = zero + lanes
    cdef Eighth q
    q.scale, q.offset = scales, scales + all_lanes
    q.zero_point, q.low, q.high, q.guard, q.near = numbers.zero_point, numbers.low, numbers.high, numbers.guard, numbers.near
    memset(zero, 0, 4 * lanes)
    for i in range(lanes):
        start[i] = <int32_t>(<uint32_t>base[i] - <uint32_t>numbers.zero * <uint32_t>(<const int32_t *>(w + depth))[i])
    if a.depthwise == COLUMNS and numbers.near and not numbers.windows:
        row, pixel = a.segment_of[1] - a.segment_of[0], a.segment_of[4] - a.segment_of[0]
        for i in range(u.rows):
            p = i * cols
            pixels8(w, u.src + f + u.pixel_of[p], row, pixel, a.merged * g.stride_x // a.step_x * a.pixel, start, cols, &q, some,
                    to + u.out_of[p], u.out_of[p + 1] - u.out_of[p] if cols > 1 else <int64_t>0)
        return
    while p < n:
        height = min(n - p, <int64_t>DEPTH_ROWS)
        depths(w, u.src + f * 4 // a.together, u.pixel_of + p, a.segment_of, a.quads, start, tile, height, a.together)
        if numbers.windows:
            depths(ones, u.src + f * 4 // a.together, u.pixel_of + p, a.segment_of, a.quads, zero, windows, height, a.together)
            less_products(tile, height * lanes, base + all_lanes, lanes, windows)
        eighths_of_depths(tile, height, some, &q, to, u.out_of + p, a.together)
        p += height


cdef void conv8_results(const Conv8Args *a, const Conv8Unit *u, char *scratch) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef int64_t size = 4 if g.out_code == INT32 or g.out_code == UINT32 else 1, f = 0, n = u.rows * u.cols, p = 0, i, y, rows
    cdef int64_t weights = 4 * a.segments * a.quads * u.filters, some = n if weights > KEPT_WEIGHTS else 4 * GEMM_ROWS
    cdef char *to = scratch + a.box if a.turned else u.out
    while f < u.filters * a.merged and a.depthwise:
        depth8_block(a, u, f, to + f, <int32_t *>scratch)
        f += a.together * VECTOR_BYTES // 4
    while p < n and not a.depthwise:
        for i in range((u.filters + DOT_LANES - 1) // DOT_LANES):
            conv8_block(a, u, i * DOT_LANES, p, min(n, p + some), to + i * DOT_LANES * size, <int32_t *>scratch)
        p += some
    if not a.turned:
        return
    rows = 1 if u.cols == g.out_width and g.out_row == u.cols * g.out_col else u.rows  # of pixels that are neighbours in the output
    for y in range(rows):
        to = u.out + (u.y + y) * g.out_row + u.x * g.out_col
        if g.out_col == size:
            turn_dots(scratch + a.box + y * n // rows * u.filters * size, u.filters * size, to, a.out_channel, n // rows, u.filters, size)
            continue
        for i in range(n // rows * u.filters):
            memcpy(to + i % u.filters * a.out_channel + i // u.filters * g.out_col,
                   scratch + a.box + (y * n // rows * u.filters + i) * size, size)


cdef void conv8_int32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    # Units run over (image, group, plane, rows, columns, chunk of filters).
    cdef const Conv8Args *a = <const Conv8Args *>args
    cdef const Geometry *g = &a.g
    cdef char *scratch = g.scratch + worker * g.scratch_bytes
    cdef int64_t size = 4 if g.out_code == INT32 or g.out_code == UINT32 else 1
    cdef int64_t chunk = unit % a.n_chunks, rest = unit // a.n_chunks
    cdef int64_t col = rest % a.n_col_units, row = rest // a.n_col_units % a.n_row_units
    cdef Conv8Unit u
    rest = rest // a.n_col_units // a.n_row_units
    u.z, u.group = rest % a.out_depth, rest // a.out_depth % a.groups
    rest = rest // a.out_depth // a.groups
    conv_part(col, a.n_col_units, g.out_width, <int64_t>1, &u.x, &u.cols)
    conv_part(row, a.n_row_units, g.out_height, <int64_t>1, &u.y, &u.rows)
    conv_part(chunk, a.n_chunks, a.filters, a.together * VECTOR_BYTES // 4 if a.depthwise else <int64_t>DOT_LANES, &u.first, &u.filters)
    u.channels = u.filters if a.depthwise else a.channels
    u.image = g.x + rest * a.x_image + (u.first if a.depthwise else u.group * a.channels) * a.x_channel
    u.out = g.out + rest * a.out_image + u.z * a.out_plane + (u.group * a.filters + u.first) * a.out_channel
    place_dots(a, &u, scratch)
    conv8_results(a, &u, scratch)


# Weights as they are read there, [group][block of filters][run][quad][lane][part], then the sums of each lane: a unit is a block.
cdef struct Weights8Args:
    const char *x
    const void *w
    char *out
    const int32_t *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t filters, depth, elements, together, depthwise
    const int32_t *index_of
    int64_t src_code, taps


cdef void weights8_int32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const Weights8Args *a = <const Weights8Args *>args
    cdef int64_t blocks = (a.filters + DOT_LANES - 1) // DOT_LANES, first = unit % blocks * DOT_LANES
    cdef int64_t filter = unit // blocks * a.filters + first, lanes = a.together * VECTOR_BYTES // 4
    cdef int64_t size = (a.elements // a.together + 1) * 4 * lanes
    if a.depthwise:  # the sums of the last block are followed by weights of 1
        filter = unit * lanes
        pack_depths(a.x + filter * a.depth, a.src_code == INT8, a.depth, min(lanes, a.filters - filter), a.index_of, a.elements,
                    a.together, a.bias + filter, a.out + unit * size)
        if filter + lanes >= a.filters:
            ones_of_depths(a.index_of, a.elements, a.together, a.out + (unit + 1) * size)
        return
    pack_dots(a.x + filter * a.depth, a.src_code == INT8, a.depth, min(<int64_t>DOT_LANES, a.filters - first), a.index_of,
              a.elements, a.together, a.taps, a.bias + filter, a.out + unit * (a.elements // a.together + 1) * 4 * DOT_LANES)
