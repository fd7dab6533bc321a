# Convolution with many filters: a matrix product of weights and windows, which are never laid out as a matrix.
#
# A unit is a box of output pixels of one image and one plane (or the planes of several small images), with a chunk of a
# group's filters.  What its windows read is
# staged once, a block of channels at a time, unless it can be read where it lies; each element of a window is then found
# by an offset.  Sums of several blocks are kept in scratch; the last ones are stored where they belong if they lie there as
# they do in registers, else by way of one tile.
#
# Lanes are filters: staged pixels are [plane][row][column][channel], weights are packed [block of filters][k][lane], with
# k = (plane, row, column, channel) for each block of channels.
# Lanes are pixels: staged planes are [channel][plane][phases of rows and columns][row][column], so that neighbouring
# outputs read neighbouring elements whatever the stride; rows of outputs are one flat run of positions, those beyond the end
# of a row computed in vain.  Weights are read as they are, [filter][channel, plane, row, column].

cdef struct ConvArgs:
    Geometry g
    int64_t depth, x_plane, out_depth, out_plane, kernel_z, stride_z, dilation_z, pad_z
    const int64_t *map_z
    int64_t groups, channels, filters
    int64_t x_image, out_image
    const int64_t *channel_of
    const int64_t *out_filter_of
    int64_t n_fills
    int64_t w_rows, block_channels, in_place, store_direct, few
    int64_t n_row_units, n_col_units, n_chunks, images
    int64_t rows, pitch
    int64_t step_y, step_x
    int64_t n_phases_y, n_phases_x
    const int64_t *phases
    const int64_t *offsets
    int64_t joined
    int64_t sums, tables
    int64_t activation, slope
    int64_t packs, w_step


# What a unit computes: a box of output pixels of a plane, and some filters of a group.
cdef struct ConvUnit:
    const char *image
    char *out
    const int64_t *channel_of
    const int64_t *filter_of
    int64_t group, first, filters
    int64_t z, y, x, rows, cols


cdef inline Finish finish_of(int64_t code, int64_t slope) noexcept nogil:
    # What becomes of finished sums, from a record.
    cdef Finish finish
    finish.code, finish.slope = code, slope_of(slope)
    return finish


cdef inline void activate_stored(acc_t *sums, int64_t n, int64_t code, int64_t slope) noexcept nogil:
    # Activations that were not applied in registers.
    if code > LEAKY_RELU:
        activate_run(sums, n, code, slope_of(slope))


cdef inline bint evenly_spaced(const int64_t *offsets, int64_t n) noexcept nogil:
    # Complex parts of channels that are not next to each other are not.
    return n < 3 or offsets[n - 1] - offsets[0] == (n - 1) * (offsets[1] - offsets[0])


cdef inline const char *conv_row(const ConvArgs *a, const char *plane, int64_t z, int64_t y) noexcept nogil:
    # The row at a position of a volume, NULL for the fill value.
    cdef int64_t at = mapped(a.map_z, z, a.depth, a.pad_z)
    return NULL if at < 0 else source_row(&a.g, plane + at * a.x_plane, y)


cdef inline int64_t conv_positions(int64_t outputs, int64_t stride, int64_t taps, int64_t dilation, int64_t phase,
                                 int64_t step) noexcept nogil:
    # How many positions phase, phase + step, ... there are in the windows of neighbouring outputs.
    return ((outputs - 1) * stride + (taps - 1) * dilation - phase) // step + 1


cdef void stage_conv_pixels(const ConvArgs *a, const ConvUnit *u, acc_t *to, int64_t first, int64_t channels) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef const int64_t *channel_of = u.channel_of + first
    cdef int64_t rows = conv_positions(u.rows, g.stride_y, g.kernel_y, g.dilation_y, 0, a.step_y)
    cdef int64_t cols = conv_positions(u.cols, g.stride_x, g.kernel_x, g.dilation_x, 0, a.step_x)
    cdef int64_t step = channel_of[1] - channel_of[0] if channels > 1 else g.x_col
    cdef bint even = evenly_spaced(channel_of, channels), dense, planes, packed
    cdef int64_t x = u.x * g.stride_x - g.pad_x, tz, row, col, run, i, at
    cdef const char *line
    cdef acc_t *pixel
    dense = even and a.step_x == 1 and channels == a.block_channels and g.x_col == step * channels
    packed = not dense and even and a.step_x == 1 and step == sizeof(acc_t) and g.src_code == code_of(to)
    planes = channels > 1 and even and a.step_x == 1 and g.x_col == sizeof(acc_t) and g.src_code == code_of(to) and step % sizeof(acc_t) == 0
    for tz in range(a.kernel_z):
        for row in range(rows):
            pixel = to + (tz * a.rows + row) * a.pitch
            line = conv_row(a, u.image + channel_of[0], u.z * a.stride_z - a.pad_z + tz * a.dilation_z,
                            u.y * g.stride_y - g.pad_y + row * a.step_y)
            col = 0
            while col < cols:
                at = x + col * a.step_x
                run = 1
                if line != NULL and (dense or planes or packed) and 0 <= at < g.width:
                    run = min(cols - col, g.width - at)
                at = -1 if line == NULL else mapped(g.map_x, at, g.width, g.pad_x)
                if at < 0:
                    for i in range(channels):
                        pixel[i] = (<const acc_t *>g.fill)[(first + i) % a.n_fills]
                elif planes:
                    turn_rows(<const acc_t *>(line + at * g.x_col), step // <int64_t>sizeof(acc_t), pixel, a.block_channels, channels, run)
                elif packed:
                    copy_runs(<const acc_t *>(line + at * g.x_col), g.x_col, pixel, a.block_channels, channels, run)
                elif even:
                    stage_run(pixel, line + at * g.x_col, step, run * channels, g.src_code)
                else:
                    for i in range(channels):
                        stage_run(pixel + i, line + at * g.x_col + channel_of[i] - channel_of[0], step, <int64_t>1, g.src_code)
                pixel += run * a.block_channels
                col += run


cdef bint stage_conv_turned(const ConvArgs *a, const ConvUnit *u, acc_t *to, int64_t first, int64_t channels) noexcept nogil:
    # `stage_conv_planes` of pixels whose channels are neighbours, whether that can be done: rows are long, and have one phase.
    cdef const Geometry *g = &a.g
    cdef const int64_t *channel_of = u.channel_of + first
    cdef int64_t size = sizeof(acc_t), x = u.x * g.stride_x - g.pad_x + a.phases[a.n_phases_y], tz, py, row, rows, c
    cdef int64_t cols = min(a.pitch, conv_positions(u.cols, g.stride_x, g.kernel_x, g.dilation_x, a.phases[a.n_phases_y], a.step_x))
    cdef int64_t before = min(cols, max(-x, <int64_t>0)), inside = min(cols - before, g.width - x - before)
    cdef int64_t planes = a.kernel_z * a.n_phases_y * a.rows * a.pitch
    cdef const char *line
    if (a.n_phases_x > 1 or g.stride_x > 1 or channels < 4 or inside * size < VECTOR_BYTES or g.src_code != code_of(to) or g.x_col % size
            or a.n_fills > 1 or channel_of[channels - 1] - channel_of[0] != (channels - 1) * size):
        return False
    for tz in range(a.kernel_z):
        for py in range(a.n_phases_y):
            rows = conv_positions(u.rows, g.stride_y, g.kernel_y, g.dilation_y, a.phases[py], a.step_y)
            for row in range(min(rows, a.rows)):
                line = conv_row(a, u.image + channel_of[0], u.z * a.stride_z - a.pad_z + tz * a.dilation_z,
                                u.y * g.stride_y - g.pad_y + a.phases[py] + row * a.step_y)
                if line != NULL:
                    turn_rows(<const acc_t *>(line + (x + before) * g.x_col), g.x_col // size, to + row * a.pitch + before, planes,
                         inside, channels)
                for c in range(channels if line == NULL or inside < cols else 0):
                    if line == NULL:
                        stage_row(g, to + c * planes + row * a.pitch, line, (<const acc_t *>g.fill)[0], x, cols)
                    else:
                        stage_ends(g, to + c * planes + row * a.pitch, line + c * size, (<const acc_t *>g.fill)[0], x, cols,
                                   before, inside)
            to += a.rows * a.pitch
    return True


cdef void stage_conv_planes(const ConvArgs *a, const ConvUnit *u, acc_t *to, int64_t first, int64_t channels) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef int64_t y = u.y * g.stride_y - g.pad_y, x = u.x * g.stride_x - g.pad_x
    cdef int64_t c, tz, py, px, row, rows, phase
    cdef const char *line
    cdef acc_t fill
    if stage_conv_turned(a, u, to, first, channels):
        return
    for c in range(channels):
        fill = (<const acc_t *>g.fill)[(first + c) % a.n_fills]
        for tz in range(a.kernel_z):
            for py in range(a.n_phases_y):
                rows = conv_positions(u.rows, g.stride_y, g.kernel_y, g.dilation_y, a.phases[py], a.step_y)
                for row in range(min(rows, a.rows)):
                    line = conv_row(a, u.image + u.channel_of[first + c],
                                    u.z * a.stride_z - a.pad_z + tz * a.dilation_z, y + a.phases[py] + row * a.step_y)
                    for px in range(a.n_phases_x):
                        phase = a.phases[a.n_phases_y + px]
                        stage_row(g, to + (px * a.rows + row) * a.pitch, line, fill, x + phase,
                                  min(a.pitch, conv_positions(u.cols, g.stride_x, g.kernel_x, g.dilation_x, phase, a.step_x)))
                to += a.n_phases_x * a.rows * a.pitch


cdef void store_conv_planes(const ConvArgs *a, const ConvUnit *u, acc_t *tile, int64_t at, int64_t n, int64_t first,
                       int64_t filters) noexcept nogil:
    # A tile whose rows are filters: the positions at .. n - 1, those beyond the ends of rows left out.
    cdef const Geometry *g = &a.g
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(acc_t), i = at, x = at % a.pitch, f, run
    cdef char *to = u.out + (u.y + at // a.pitch) * g.out_row + u.x * g.out_col
    cdef bint copied = a.store_direct != 0
    activate_stored(tile, filters * lanes, a.activation, a.slope)
    while i < n:
        run = min(u.cols - x, n - i)
        for f in range(filters if run > 0 else 0):
            if copied:
                store_pieces(tile + f * lanes + i - at, to + u.filter_of[first + f] + x * g.out_col, run)
            else:
                store_run(tile + f * lanes + i - at, to + u.filter_of[first + f] + x * g.out_col, g.out_col, run, g.out_code)
        i += a.pitch - x
        to += g.out_row
        x = 0


cdef void conv_pixels(const ConvArgs *a, const ConvUnit *u, acc_t *tile) noexcept nogil:
    # Lanes are pixels.
    cdef const Geometry *g = &a.g
    cdef int64_t row_bytes = GEMM_COLS * VECTOR_BYTES, vector = VECTOR_BYTES // <int64_t>sizeof(acc_t), width = GEMM_COLS * vector
    cdef int64_t taps = a.kernel_z * g.kernel_y * g.kernel_x, n = (u.rows - 1) * a.pitch + u.cols
    cdef int64_t depth = a.channels * taps, sums_pitch = (n + width - 1) // width * width
    cdef int64_t c = 0, p, f, at, cols, height, channels
    cdef acc_t *staged = <acc_t *>(<char *>tile + GEMM_ROWS * row_bytes)
    cdef acc_t *sums = <acc_t *>(<char *>tile + a.sums)
    cdef acc_t *done
    cdef const acc_t *start
    cdef const acc_t *w
    cdef const char *src = <const char *>staged
    cdef char *to = u.out + u.y * g.out_row + u.x * g.out_col
    cdef char *row
    cdef int64_t filter_step = u.filter_of[1] - u.filter_of[0] if u.filters > 1 else 0
    cdef bint flat = a.store_direct > 1 and n >= width, direct, last
    cdef Finish finish = finish_of(0, a.slope)
    if a.in_place:
        src = u.image + u.channel_of[0] + u.z * a.stride_z * a.x_plane + u.y * g.stride_y * g.x_row + u.x * g.x_col
    while c < a.channels:
        channels = min(a.block_channels, a.channels - c)
        last = c + channels == a.channels
        finish.code = a.activation if last else 0
        if not a.in_place:
            stage_conv_planes(a, u, staged, c, channels)
        if a.few and flat and u.filters >= GEMM_ROWS:
            few_pixels(<const acc_t *>g.w + (u.group * a.filters + u.first) * depth, src, a.offsets, depth,
                       <const acc_t *>g.bias + u.group * a.filters + u.first, to + u.filter_of[0], filter_step, n, u.filters,
                       a.few > 1, &finish)
            break
        f = 0
        while f < u.filters:
            w = <const acc_t *>g.w + (u.group * a.filters + u.first + f) * depth + c * taps
            height = product_height(w, u.filters - f)
            p = 0
            while p < n:
                cols = 1 if n - p <= vector else GEMM_COLS
                at = p
                if a.in_place or (flat and last):  # nothing beyond the last position is read, or written
                    at = min(p, n - cols * vector)
                direct = flat or (a.store_direct and at % a.pitch + cols * vector <= u.cols)
                done = sums + f * sums_pitch + at
                start = done if c else <const acc_t *>g.bias + u.group * a.filters + u.first + f
                row = to + at // a.pitch * g.out_row + at % a.pitch * g.out_col
                if not last:
                    pixels_tile(w, src + at * sizeof(acc_t), a.offsets, channels * taps, depth, start, sums_pitch, c > 0,
                                done, sums_pitch * sizeof(acc_t), &finish, height, cols)
                elif direct:
                    pixels_tile(w, src + at * sizeof(acc_t), a.offsets, channels * taps, depth, start, sums_pitch, c > 0,
                                row + u.filter_of[f], filter_step, &finish, height, cols)
                    if finish.code > LEAKY_RELU:
                        activate_rows(tile, row, u.filter_of + f, height, cols * vector, finish.code, finish.slope)
                else:
                    pixels_tile(w, src + at * sizeof(acc_t), a.offsets, channels * taps, depth, start, sums_pitch, c > 0,
                                tile, row_bytes, &finish, height, cols)
                    store_conv_planes(a, u, tile, at, min(n, at + cols * vector), f, height)
                p += cols * vector
            f += height
        c += channels


cdef void conv_unit(const ConvArgs *a, int64_t unit, acc_t *scratch) noexcept nogil:
    # Units run over (image, group, plane, rows, columns, chunk of filters).
    cdef const Geometry *g = &a.g
    cdef ConvUnit u
    cdef int64_t width = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(acc_t)
    cdef int64_t step = GEMM_ROWS if a.w_rows else width, filter_step = width if a.w_rows else 2
    cdef int64_t chunk = unit % a.n_chunks, rest = unit // a.n_chunks
    cdef int64_t col = rest % a.n_col_units, row = rest // a.n_col_units % a.n_row_units
    rest = rest // a.n_col_units // a.n_row_units
    u.z = rest % a.out_depth
    u.group = rest // a.out_depth % a.groups
    rest = rest // a.out_depth // a.groups
    conv_part(col, a.n_col_units, g.out_width, step, &u.x, &u.cols)
    conv_part(row, a.n_row_units, g.out_height, 1, &u.y, &u.rows)
    conv_part(chunk, a.n_chunks, a.filters, filter_step, &u.first, &u.filters)
    u.image = g.x + rest * a.images * a.x_image
    u.out = g.out + rest * a.images * a.out_image + u.z * a.out_plane
    u.channel_of = a.channel_of + u.group * a.channels
    u.filter_of = a.out_filter_of + u.group * a.filters + u.first
    if a.w_rows:
        conv_filters(a, &u, scratch)
    else:
        conv_pixels(a, &u, scratch)
    if a.few > 1:
        end_stream()


cdef void conv_part(int64_t i, int64_t parts, int64_t size, int64_t step, int64_t *first, int64_t *n) noexcept nogil:
    # Part i of so many, of multiples of `step`; the last has what is left.
    first[0] = i * (size // step) // parts * step
    n[0] = (size if i + 1 == parts else (i + 1) * (size // step) // parts * step) - first[0]


cdef void conv_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const ConvArgs *a = <const ConvArgs *>args
    conv_unit(a, unit, <float *>(a.g.scratch + worker * a.g.scratch_bytes))


cdef void conv_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const ConvArgs *a = <const ConvArgs *>args
    conv_unit(a, unit, <double *>(a.g.scratch + worker * a.g.scratch_bytes))


cdef void conv_u32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const ConvArgs *a = <const ConvArgs *>args
    conv_unit(a, unit, <uint32_t *>(a.g.scratch + worker * a.g.scratch_bytes))


cdef void conv_u64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const ConvArgs *a = <const ConvArgs *>args
    conv_unit(a, unit, <uint64_t *>(a.g.scratch + worker * a.g.scratch_bytes))
