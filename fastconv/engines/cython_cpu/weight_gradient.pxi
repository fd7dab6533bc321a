# The gradient of a convolution's kernel: a matrix product whose depth is the pixels of the output.
#
# Two operands, the input and the gradient of the output, are packed a block of pixels at a time as [place][channel],
# whatever they are in memory.  One is broadcast, channel by channel, the other read in vectors of channels, its lanes: with
# one tap either may be which, else lanes are filters.  All windows of a block read the same packed input.
#
# A unit is a block of channels by a block of filters, by a part of the pixels; what parts give is added afterwards.

from libc.string cimport memset


cdef struct WeightGradientArgs:
    const char *x
    const char *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t groups, channels, filters, kernel_z, kernel_y, kernel_x
    int64_t images, out_height, out_width
    int64_t step_y, step_x, tap_y, tap_x
    const int64_t *x_channels
    const int64_t *x_images
    const int64_t *x_rows
    const int64_t *x_cols
    int64_t x_row, x_col, x_together, x_direct, x_code
    int64_t inner, inner_end, inner_step
    const int64_t *g_channels
    const int64_t *g_images
    const int64_t *g_rows
    const int64_t *g_cols
    int64_t g_row, g_col, g_together, g_direct, g_code
    int64_t block_images, block_rows, block_cols
    int64_t unit_channels, unit_filters, n_parts
    int64_t swapped, joined
    int64_t a_panel, b_panel, lines, row_of
    int64_t a_pitch, b_pitch, line_pitch
    int64_t out_part, out_filter, out_channel, out_z, out_tap, out_code


cdef struct Operand:  # where the elements of one operand lie
    const char *base
    const int64_t *channels  # byte offsets of those of the unit
    const int64_t *images
    const int64_t *rows  # source rows and columns by packed ones; -1: zeros
    const int64_t *cols
    int64_t row, col, together, direct, code
    int64_t inner, inner_end, inner_step  # packed columns whose sources are evenly spaced
    int64_t n_channels
    int64_t n_images, n_rows, n_cols, first_image, first_row, first_col  # packed now


cdef void pack_row(const Operand *s, acc_t *dst, int64_t dst_step, const char *row, int64_t run, int64_t step) noexcept nogil:
    # The packed columns of one row (NULL: zeros), `run` elements `step` bytes apart at each, `dst_step` elements apart.
    cdef int64_t i = 0, k, at, col, inside
    while i < s.n_cols:
        col = s.first_col + i
        at = s.cols[col]
        inside = 1
        if row == NULL or at < 0:
            for k in range(run):
                dst[i * dst_step + k] = 0
        else:
            if s.inner <= col < s.inner_end:
                inside = min(s.n_cols - i, s.inner_end - col)
            if run == 1 and dst_step == 1:
                stage_run(dst + i, row + at * s.col, s.inner_step * s.col, inside, s.code)
            elif run == dst_step and s.inner_step * s.col == run * step:  # places and channels without gaps
                stage_run(dst + i * dst_step, row + at * s.col, step, inside * run, s.code)
            elif s.direct and run >= tile_cols(dst) // TILE_COLS:
                copy_places(<const acc_t *>(row + at * s.col), s.inner_step * s.col // <int64_t>sizeof(acc_t),
                            dst + i * dst_step, dst_step, run, inside)
            else:
                for k in range(inside):
                    stage_run(dst + (i + k) * dst_step, row + (at + k * s.inner_step) * s.col, step, run, s.code)
        i += inside


cdef bint pack_planes(const Operand *s, acc_t *panel, int64_t pitch, acc_t *lines, int64_t room) noexcept nogil:
    # `pack` of planes where they lie, whether that can be done: their rows are long, or all lie without gaps.
    cdef int64_t lanes = tile_cols(panel) // TILE_COLS, last = s.first_row + s.n_rows - 1, rows = s.n_rows, m, y, i, k
    cdef int64_t before = max(s.inner - s.first_col, <int64_t>0)
    cdef int64_t inside = min(s.first_col + s.n_cols, s.inner_end) - s.first_col - before, run = inside
    cdef const char *image
    cdef acc_t *dst = panel
    if not s.direct or s.inner_step != 1 or s.n_channels < lanes:
        return False
    for i in range(s.n_cols):
        if not before <= i < before + inside and s.cols[s.first_col + i] >= 0:
            return False
    if (inside == s.n_cols and s.row == s.n_cols * s.col and s.rows[s.first_row] >= 0
            and s.rows[last] - s.rows[s.first_row] == s.n_rows - 1):
        run, rows = s.n_rows * s.n_cols, 1
    if run < lanes:
        return pack_small_planes(s, panel, pitch, lines, room, before, inside)
    for m in range(s.first_image, s.first_image + s.n_images):
        for y in range(s.first_row, s.first_row + rows):
            if s.images[m] == BEYOND or s.rows[y] < 0:
                for i in range(max(run, s.n_cols)):
                    memset(dst + i * pitch, 0, s.n_channels * sizeof(acc_t))
            else:
                for i in range(s.n_cols - inside):
                    k = i if i < before else i + inside
                    memset(dst + k * pitch, 0, s.n_channels * sizeof(acc_t))
                image = s.base + s.images[m] + s.channels[0] + s.rows[y] * s.row + s.cols[s.first_col + before] * s.col
                turn_planes(<const acc_t *>image, (s.channels[1] - s.channels[0]) // <int64_t>sizeof(acc_t),
                            dst + before * pitch, pitch, s.n_channels, run)
            dst += max(run, s.n_cols) * pitch
    return True


cdef bint pack_small_planes(const Operand *s, acc_t *panel, int64_t pitch, acc_t *lines, int64_t room, int64_t before,
                            int64_t inside) noexcept nogil:
    # The same of short rows that follow each other: an image's are turned together, then each goes to its place.
    cdef int64_t lanes = tile_cols(panel) // TILE_COLS, row = s.first_row, end = s.first_row + s.n_rows, rows = 0, m, y, left
    cdef const char *image
    cdef acc_t *dst = panel
    while row < end and s.rows[row] < 0:
        row += 1
    while row + rows < end and s.rows[row + rows] == s.rows[row] + rows:
        rows += 1
    for y in range(row + rows, end):
        if s.rows[y] >= 0:
            return False
    if s.row != inside * s.col or rows * inside < lanes or rows * inside * pitch > room:
        return False
    left = s.n_cols - before - inside
    for m in range(s.first_image, s.first_image + s.n_images):
        if s.images[m] == BEYOND:
            memset(dst, 0, s.n_rows * s.n_cols * pitch * sizeof(acc_t))
            dst += s.n_rows * s.n_cols * pitch
            continue
        image = s.base + s.images[m] + s.channels[0] + s.rows[row] * s.row + s.cols[s.first_col + before] * s.col
        turn_planes(<const acc_t *>image, (s.channels[1] - s.channels[0]) // <int64_t>sizeof(acc_t), lines, pitch, s.n_channels,
                    rows * inside)
        for y in range(s.first_row, end):
            if row <= y < row + rows:
                memset(dst, 0, before * pitch * sizeof(acc_t))
                copy_places(<const acc_t *>lines + (y - row) * inside * pitch, pitch, dst + before * pitch, pitch, s.n_channels, inside)
                memset(dst + (before + inside) * pitch, 0, left * pitch * sizeof(acc_t))
            else:
                memset(dst, 0, s.n_cols * pitch * sizeof(acc_t))
            dst += s.n_cols * pitch
    return True


cdef void pack(const Operand *s, acc_t *panel, int64_t pitch, acc_t *lines, int64_t line_pitch) noexcept nogil:
    # panel[place][channel] of a block, places in the order (image, row, column).
    cdef int64_t lanes = tile_cols(panel) // TILE_COLS, places = s.n_images * s.n_rows * s.n_cols
    cdef int64_t c = 0, lane, place, m, y, row
    cdef int64_t channels = s.n_channels if s.together else 1, step = s.channels[1] - s.channels[0] if channels > 1 else s.col
    cdef const char *image
    cdef acc_t *dst
    if not s.together and pack_planes(s, panel, pitch, lines, lanes * line_pitch):
        return
    while c < s.n_channels:
        for lane in range(1 if s.together else min(lanes, s.n_channels - c)):
            dst = panel if s.together else lines + lane * line_pitch
            for m in range(s.first_image, s.first_image + s.n_images):
                for y in range(s.first_row, s.first_row + s.n_rows):
                    row = -1 if s.images[m] == BEYOND else s.rows[y]
                    image = NULL if row < 0 else s.base + s.images[m] + s.channels[c + lane] + row * s.row
                    pack_row(s, dst, pitch if s.together else 1, image, channels, step)
                    dst += s.n_cols * (pitch if s.together else 1)
        if s.together:
            return
        for place in range((places + lanes - 1) // lanes):
            turn_block(<const acc_t *>lines + place * lanes, line_pitch, panel + place * lanes * pitch + c, pitch)
        c += lanes


cdef void add_products(const WeightGradientArgs *a, const acc_t *left, const acc_t *right, const int64_t *rows, int64_t n_rows,
                       int64_t run, int64_t width, int64_t n, int64_t n_lanes, acc_t *sums, bint add) noexcept nogil:
    # sums[channel, tap][lane] of a block; `width`: packed columns of the broadcast operand.
    cdef int64_t lanes = tile_cols(sums) // TILE_COLS, taps = 1 if a.swapped else a.kernel_y * a.kernel_x
    cdef int64_t across = 1 if a.joined or a.swapped else a.kernel_x
    cdef int64_t tiles = (n + GEMM_ROWS - 1) // GEMM_ROWS, height = ((n + tiles - 1) // tiles + 1) // 2 * 2
    cdef int64_t lane = 0, tap, i, r, row
    cdef const acc_t *at
    while lane < n_lanes:
        for tap in range(taps // a.kernel_x if a.joined else taps):
            at = left + (tap // across * a.tap_y * width + tap % across * a.tap_x) * a.a_pitch
            for i in range((n + height - 1) // height):
                r = i * height
                row = tap * n + r if a.joined else r * taps + tap
                outer(at + r, a.step_x * a.a_pitch, rows, n_rows, run, right + lane, a.b_pitch,
                      sums + row * a.b_pitch + lane, a.b_pitch if a.joined else taps * a.b_pitch, min(height, n - r),
                      min(<int64_t>GEMM_COLS, (n_lanes - lane + lanes - 1) // lanes), <int>add)
        lane += GEMM_COLS * lanes


cdef void store_gradient(const WeightGradientArgs *a, char *out, const acc_t *sums, int64_t channels, int64_t filters,
                         acc_t *lines) noexcept nogil:
    # To memory, a filter's channels and taps after each other.
    cdef int64_t lanes = tile_cols(sums) // TILE_COLS, taps = a.kernel_y * a.kernel_x, n = channels * taps, f, i, c
    cdef bint joined = a.out_channel == taps * a.out_tap
    cdef const acc_t *line
    for f in range(filters):
        line = sums + f * a.b_pitch
        if not a.swapped:
            if f % lanes == 0:
                for i in range((n + lanes - 1) // lanes):
                    turn_block(sums + i * lanes * a.b_pitch + f, a.b_pitch, lines + i * lanes, a.line_pitch)
            line = lines + f % lanes * a.line_pitch
        if joined:
            store_run(line, out + f * a.out_filter, a.out_tap, n, a.out_code)
        else:
            for c in range(channels):
                store_run(line + c * taps, out + f * a.out_filter + c * a.out_channel, a.out_tap, taps, a.out_code)


cdef void add_block(const WeightGradientArgs *a, Operand *x, Operand *g, int64_t block, acc_t *scratch, bint add) noexcept nogil:
    # The sums of a block of pixels.
    cdef int64_t *rows = <int64_t *>(scratch + a.row_of)
    cdef acc_t *left = scratch + a.a_panel
    cdef acc_t *right = scratch + a.b_panel
    cdef int64_t across = (a.out_width + a.block_cols - 1) // a.block_cols
    cdef int64_t down = (a.out_height + a.block_rows - 1) // a.block_rows
    cdef int64_t n = 0, m, y
    g.first_col = block % across * a.block_cols
    g.first_row = block // across % down * a.block_rows
    g.first_image = x.first_image = block // (across * down) * a.block_images
    g.n_cols = min(a.block_cols, a.out_width - g.first_col)
    g.n_rows = min(a.block_rows, a.out_height - g.first_row)
    g.n_images = x.n_images = min(a.block_images, a.images - g.first_image)
    x.first_col = g.first_col * a.step_x
    x.first_row = g.first_row * a.step_y
    x.n_cols = (g.n_cols - 1) * a.step_x + (a.kernel_x - 1) * a.tap_x + 1
    x.n_rows = (g.n_rows - 1) * a.step_y + (a.kernel_y - 1) * a.tap_y + 1
    pack(x, right if a.swapped else left, a.b_pitch if a.swapped else a.a_pitch, scratch + a.lines, a.line_pitch)
    pack(g, left if a.swapped else right, a.a_pitch if a.swapped else a.b_pitch, scratch + a.lines, a.line_pitch)
    if a.kernel_y * a.kernel_x == 1:  # both have the same places
        rows[0] = 0
        add_products(a, <const acc_t *>left, <const acc_t *>right, <const int64_t *>rows, <int64_t>1,
                     g.n_images * g.n_rows * g.n_cols, g.n_cols, g.n_channels if a.swapped else x.n_channels,
                     x.n_channels if a.swapped else g.n_channels, scratch, add)
        return
    for m in range(g.n_images):
        for y in range(g.n_rows):
            rows[n] = (m * x.n_rows + y * a.step_y) * x.n_cols * a.a_pitch
            n += 1
    add_products(a, <const acc_t *>left, <const acc_t *>right, <const int64_t *>rows, n, g.n_cols, x.n_cols,
                 x.n_channels * (a.kernel_x if a.joined else 1), g.n_channels, scratch, add)


cdef void weight_gradient_unit(const WeightGradientArgs *a, int64_t unit, acc_t *scratch) noexcept nogil:
    # Units run over (group, tap along z, block of filters, block of channels, part of the pixels).
    cdef int64_t blocks_f = (a.filters + a.unit_filters - 1) // a.unit_filters
    cdef int64_t blocks_c = (a.channels + a.unit_channels - 1) // a.unit_channels
    cdef int64_t part = unit % a.n_parts, rest = unit // a.n_parts
    cdef int64_t c = rest % blocks_c * a.unit_channels, f = rest // blocks_c % blocks_f * a.unit_filters
    cdef int64_t z = rest // (blocks_c * blocks_f) % a.kernel_z, group = rest // (blocks_c * blocks_f * a.kernel_z)
    cdef int64_t channels = min(a.unit_channels, a.channels - c), filters = min(a.unit_filters, a.filters - f)
    cdef int64_t blocks = ((a.images + a.block_images - 1) // a.block_images * ((a.out_height + a.block_rows - 1) // a.block_rows)
                           * ((a.out_width + a.block_cols - 1) // a.block_cols))
    cdef int64_t first = part * blocks // a.n_parts, block
    cdef Operand x = Operand(
        a.x, a.x_channels + group * a.channels + c, a.x_images + z * a.images, a.x_rows, a.x_cols, a.x_row, a.x_col,
        a.x_together, a.x_direct, a.x_code, a.inner, a.inner_end, a.inner_step, channels, 0, 0, 0, 0, 0, 0)
    cdef Operand g = Operand(
        a.w, a.g_channels + group * a.filters + f, a.g_images, a.g_rows, a.g_cols, a.g_row, a.g_col,
        a.g_together, a.g_direct, a.g_code, 0, a.out_width, 1, filters, 0, 0, 0, 0, 0, 0)
    for block in range(first, (part + 1) * blocks // a.n_parts):
        add_block(a, &x, &g, block, scratch, block > first)
    store_gradient(a, a.out + part * a.out_part + (group * a.filters + f) * a.out_filter + c * a.out_channel + z * a.out_z,
                   <const acc_t *>scratch, channels, filters, scratch + a.lines)


cdef void weight_gradient_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WeightGradientArgs *a = <const WeightGradientArgs *>args
    weight_gradient_unit(a, unit, <float *>(a.scratch + worker * a.scratch_bytes))


cdef void weight_gradient_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WeightGradientArgs *a = <const WeightGradientArgs *>args
    weight_gradient_unit(a, unit, <double *>(a.scratch + worker * a.scratch_bytes))


cdef void weight_gradient_u32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WeightGradientArgs *a = <const WeightGradientArgs *>args
    weight_gradient_unit(a, unit, <uint32_t *>(a.scratch + worker * a.scratch_bytes))


cdef void weight_gradient_u64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WeightGradientArgs *a = <const WeightGradientArgs *>args
    weight_gradient_unit(a, unit, <uint64_t *>(a.scratch + worker * a.scratch_bytes))
