# Convolution with many filters: implicit GEMM.
#
# A unit is a run of output pixels of one image, all channels of a group, a chunk of its
# filters.  Windows are staged a block of channels at a time; the product is accumulated in
# scratch and stored at the end, where conversions (and epilogues) belong.
#
# Channels first: lanes are pixels.  The staged matrix is [panel of pixels][k][lane] with
# k = (channel, ky, kx), weights are read as they are, [filter][k].
# Channels last: lanes are filters.  The staged matrix is [pixel][k] with k = (ky, kx, channel),
# so that a window row is one run in memory; weights are packed [block of filters][k][lane].

cdef struct ConvArgs:
    Geometry g
    int64_t groups, channels, filters
    int64_t x_image, out_image
    const int64_t *channel_of
    const int64_t *out_filter_of
    int64_t n_fills
    int64_t channels_last
    int64_t block_channels
    int64_t unit_pixels, n_pixel_units
    int64_t n_chunks


cdef void stage_panel(const ConvArgs *a, acc_t *panel, int64_t lanes, const char *image, const int64_t *channel_of,
                      int64_t first, int64_t channels, int64_t pixel, int64_t n) noexcept nogil:
    # panel[k][lane] for the windows of output pixels pixel .. pixel + n - 1, n <= lanes.
    cdef const Geometry *g = &a.g
    cdef int64_t c, ky, kx, y, x, done, run
    cdef const char *row
    cdef acc_t fill
    for c in range(channels):
        fill = (<const acc_t *>g.fill)[(first + c) % a.n_fills]
        for ky in range(g.kernel_y):
            done = 0
            while done < n:  # the pixels of one output row after the other
                y = (pixel + done) // g.out_width
                x = (pixel + done) % g.out_width
                run = min(n - done, g.out_width - x)
                row = source_row(g, image + channel_of[c], y * g.stride_y - g.pad_y + ky * g.dilation_y)
                for kx in range(g.kernel_x):
                    stage_row(g, panel + kx * lanes + done, row, fill, x * g.stride_x - g.pad_x + kx * g.dilation_x, run)
                done += run
            panel += g.kernel_x * lanes


cdef inline bint evenly_spaced(const int64_t *offsets, int64_t n) noexcept nogil:
    # Complex parts of channels that are not next to each other are not.
    return n < 3 or offsets[n - 1] - offsets[0] == (n - 1) * (offsets[1] - offsets[0])


cdef void stage_window(const ConvArgs *a, acc_t *window, const char *image, const int64_t *channel_of,
                       int64_t first, int64_t channels, int64_t pixel) noexcept nogil:
    # window[k] of one output pixel.
    cdef const Geometry *g = &a.g
    cdef int64_t y = pixel // g.out_width * g.stride_y - g.pad_y, x = pixel % g.out_width * g.stride_x - g.pad_x
    cdef int64_t step = channel_of[1] - channel_of[0] if channels > 1 else g.x_col
    cdef bint even = evenly_spaced(channel_of, channels)
    cdef bint joined = even and g.dilation_x == 1 and g.x_col == step * channels and x >= 0 and x + g.kernel_x <= g.width
    cdef int64_t ky, kx, i, column
    cdef const char *row
    for ky in range(g.kernel_y):
        row = source_row(g, image + channel_of[0], y + ky * g.dilation_y)
        if row != NULL and joined:  # the whole window row is one run
            stage_run(window, row + x * g.x_col, step, g.kernel_x * channels, g.src_code)
            window += g.kernel_x * channels
            continue
        for kx in range(g.kernel_x):
            column = -1 if row == NULL else mapped(g.map_x, x + kx * g.dilation_x, g.width, g.pad_x)
            if column < 0:
                for i in range(channels):
                    window[i] = (<const acc_t *>g.fill)[(first + i) % a.n_fills]
            elif even:
                stage_run(window, row + column * g.x_col, step, channels, g.src_code)
            else:
                for i in range(channels):
                    stage_run(window + i, row + column * g.x_col + channel_of[i] - channel_of[0], step, <int64_t>1,
                              g.src_code)
            window += channels


cdef void store_block(const ConvArgs *a, const acc_t *sums, int64_t pitch, char *out, const int64_t *filter_of,
                      int64_t filters, int64_t pixel, int64_t n) noexcept nogil:
    # sums[filter][pixel] (channels first) or sums[pixel][filter] (channels last) to memory.
    cdef const Geometry *g = &a.g
    cdef int64_t f, done, run, y, x
    cdef int64_t step = filter_of[1] - filter_of[0] if filters > 1 else g.out_col
    cdef bint even = evenly_spaced(filter_of, filters)
    done = 0
    while done < n:
        y = (pixel + done) // g.out_width
        x = (pixel + done) % g.out_width
        run = 1 if a.channels_last else min(n - done, g.out_width - x)
        if a.channels_last and even:
            store_run(sums + done * pitch, out + filter_of[0] + y * g.out_row + x * g.out_col, step, filters, g.out_code)
        else:
            for f in range(filters):
                store_run(sums + (done * pitch + f if a.channels_last else f * pitch + done),
                          out + filter_of[f] + y * g.out_row + x * g.out_col, g.out_col, run, g.out_code)
        done += run


cdef void conv_first(const ConvArgs *a, int64_t group, const char *image, char *out, int64_t pixel, int64_t n,
                     int64_t first, int64_t filters, acc_t *sums) noexcept nogil:
    # Channels first: lanes are pixels.
    cdef const Geometry *g = &a.g
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(acc_t), taps = g.kernel_y * g.kernel_x
    cdef int64_t panels = (n + lanes - 1) // lanes, pitch = panels * lanes, depth = a.channels * taps
    cdef int64_t c = 0, f, i, p, channels
    cdef acc_t *staged = sums + filters * pitch
    cdef acc_t *panel
    cdef const acc_t *w = <const acc_t *>g.w + (group * a.filters + first) * depth
    cdef const acc_t *bias = <const acc_t *>g.bias
    cdef acc_t start
    for f in range(filters):
        start = <acc_t>0 if bias == NULL else bias[group * a.filters + first + f]
        for i in range(pitch):
            sums[f * pitch + i] = start
    while c < a.channels:
        channels = min(a.block_channels, a.channels - c)
        for p in range(panels):
            stage_panel(a, staged + p * channels * taps * lanes, lanes, image, a.channel_of + group * a.channels + c,
                        c, channels, pixel + p * lanes, min(lanes, n - p * lanes))
        # A few rows of weights stay in the nearest cache while all panels pass.
        for i in range((filters + GEMM_ROWS - 1) // GEMM_ROWS):
            f = i * GEMM_ROWS
            for p in range(panels):
                panel = staged + p * channels * taps * lanes
                gemm(w + f * depth + c * taps, depth, <const acc_t *>panel, channels * taps,
                     sums + f * pitch + p * lanes, pitch, min(<int64_t>GEMM_ROWS, filters - f))
        c += channels
    store_block(a, <const acc_t *>sums, pitch, out, a.out_filter_of + group * a.filters + first, filters, pixel, n)


cdef void conv_last(const ConvArgs *a, int64_t group, const char *image, char *out, int64_t pixel, int64_t n,
                    int64_t first, int64_t filters, acc_t *sums) noexcept nogil:
    # Channels last: lanes are filters; `first` is a multiple of the lanes.
    cdef const Geometry *g = &a.g
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(acc_t), taps = g.kernel_y * g.kernel_x
    cdef int64_t blocks = (filters + lanes - 1) // lanes, pitch = blocks * lanes, depth = a.channels * taps
    cdef int64_t blocks_of_group = (a.filters + lanes - 1) // lanes
    cdef int64_t c = 0, f, i, p, channels
    cdef acc_t *staged = sums + n * pitch
    cdef const acc_t *w = <const acc_t *>g.w + (group * blocks_of_group + first // lanes) * depth * lanes
    cdef const acc_t *bias = <const acc_t *>g.bias
    for p in range(n):
        for f in range(pitch):
            sums[p * pitch + f] = <acc_t>0 if bias == NULL or f >= filters else bias[group * a.filters + first + f]
    while c < a.channels:
        channels = min(a.block_channels, a.channels - c)
        for p in range(n):
            stage_window(a, staged + p * channels * taps, image, a.channel_of + group * a.channels + c, c, channels,
                         pixel + p)
        for i in range(blocks):
            gemm(<const acc_t *>staged, channels * taps, w + (i * depth + c * taps) * lanes, channels * taps,
                 sums + i * lanes, pitch, n)
        c += channels
    store_block(a, <const acc_t *>sums, pitch, out, a.out_filter_of + group * a.filters + first, filters, pixel, n)


cdef void conv_unit(const ConvArgs *a, int64_t unit, acc_t *scratch) noexcept nogil:
    # Units run over (image, group, run of pixels, chunk of filters).
    cdef const Geometry *g = &a.g
    cdef int64_t chunk = unit % a.n_chunks, rest = unit // a.n_chunks
    cdef int64_t pixel = rest % a.n_pixel_units * a.unit_pixels
    cdef int64_t group = rest // a.n_pixel_units % a.groups, n = rest // a.n_pixel_units // a.groups
    cdef int64_t pixels = min(a.unit_pixels, g.out_height * g.out_width - pixel)
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(acc_t) if a.channels_last else <int64_t>GEMM_ROWS
    cdef int64_t blocks = (a.filters + lanes - 1) // lanes
    cdef int64_t first = chunk * blocks // a.n_chunks * lanes
    cdef int64_t filters = min(a.filters, (chunk + 1) * blocks // a.n_chunks * lanes) - first
    cdef const char *image = g.x + n * a.x_image
    cdef char *out = g.out + n * a.out_image
    if a.channels_last:
        conv_last(a, group, image, out, pixel, pixels, first, filters, scratch)
    else:
        conv_first(a, group, image, out, pixel, pixels, first, filters, scratch)


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
