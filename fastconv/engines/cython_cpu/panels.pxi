# Convolution of planes as a matrix product of packed panels (AVX-512): lanes are pixels of all images of a batch.
#
# A unit is a run of blocks of pixels, with a chunk of the filters.  What the windows of a block read is packed, some channels at
# a time, [tile of 32 pixels][channel, tap][pixel]; packed weights are [block of channels][panel of filters][channel, tap][filter].
# Sums of several blocks of channels are kept in scratch; the last ones go where they belong.

cdef extern from "panels.h" nogil:
    enum: PANEL_ROWS
    enum: PANEL_LANES
    ctypedef struct Planes "struct planes":
        const char *x
        int64_t x_image, x_channel, x_row, height, width, out_height, out_width
        int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x
        float fill
    ctypedef struct PanelAhead "struct panel_ahead":
        const char *source
        const char *end
        int64_t step, skip, next
        const char *target
        int64_t target_step
        const char *weights
        int64_t weights_step
    void panel_tile(...)
    void take_pixels(...)
    void take_weights(...)

cdef struct PanelsArgs:
    const char *x
    const float *w
    char *out
    const float *bias
    const float *fill
    char *scratch
    int64_t scratch_bytes
    int64_t x_image, x_channel, x_row, height, width, out_height, out_width
    int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x
    int64_t out_image, out_channel
    int64_t channels, filters, block_channels, pixels
    int64_t n_panels, n_chunks, tiles, blocks
    int64_t sums, tile
    int64_t activation, slope

cdef struct PanelWeightsArgs:
    const float *x
    const void *w
    float *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t channels, filters, taps, block_channels, n_panels

# Some channels of a block of pixels, the panels begin .. end - 1; which channels of which pixels are called for meanwhile.
cdef struct PanelPass:
    int64_t pixel, tiles, begin, end, depth, next_pixel
    bint first, last
    const float *w
    const float *pixels
    float *sums
    float *tile
    PanelAhead ahead
    const char *stop
    int64_t ahead_pixel, ahead_end, ahead_channel, ahead_channels


cdef void panels_ahead(const PanelsArgs *a, PanelPass *s) noexcept nogil:
    # What the windows of the next pixels of an image read: whole rows of each channel.
    cdef int64_t plane = a.out_height * a.out_width, at = s.ahead_pixel % plane, n = min(plane - at, s.ahead_end - s.ahead_pixel)
    cdef int64_t begin, end, size = sizeof(float)
    cdef const char *x = a.x + s.ahead_pixel // plane * a.x_image + s.ahead_channel * a.x_channel
    s.ahead.source, s.ahead.end, s.ahead.step, s.ahead.skip, s.ahead.next = a.x, a.x, 0, 0, 0
    if n <= 0 or a.x_channel <= 0:
        return
    s.ahead_pixel += n
    if a.out_height == 1:
        begin, end = at * a.stride_x - a.pad_x, (at + n - 1) * a.stride_x - a.pad_x + (a.kernel_x - 1) * a.dilation_x + 1
        begin, end = max(<int64_t>0, begin) * size, min(a.width, end) * size
    else:
        begin = at // a.out_width * a.stride_y - a.pad_y
        end = (at + n - 1) // a.out_width * a.stride_y - a.pad_y + (a.kernel_y - 1) * a.dilation_y + 1
        begin, end = max(<int64_t>0, begin) * a.x_row, (min(a.height, end) - 1) * a.x_row + a.width * size
    if begin < end:
        s.ahead.source, s.ahead.end, s.ahead.step = x + begin, x + end, 64
        s.ahead.skip, s.ahead.next = a.x_channel - (end - begin + 63) // 64 * 64, a.x_channel
    s.stop = x + begin + s.ahead_channels * a.x_channel


cdef inline char *panels_target(const PanelsArgs *a, int64_t pixel, int64_t panel) noexcept nogil:
    cdef int64_t plane = a.out_height * a.out_width
    return (a.out + pixel // plane * a.out_image + panel * a.filters // a.n_panels * a.out_channel
            + pixel % plane * <int64_t>sizeof(float))


cdef void store_panel(const PanelsArgs *a, float *tile, int64_t pixel, int64_t n, int64_t panel, int64_t rows) noexcept nogil:
    # Tiles whose pixels lie in several images.
    cdef int64_t plane = a.out_height * a.out_width, lane = 0, run, r
    cdef char *to
    while lane < n:
        run = min(plane - (pixel + lane) % plane, n - lane)
        to = panels_target(a, pixel + lane, panel)
        for r in range(rows):
            store_pieces(tile + r * PANEL_LANES + lane, to + r * a.out_channel, run)
        lane += run


cdef void panels_tile(const PanelsArgs *a, PanelPass *s, int64_t panel, int64_t t) noexcept nogil:
    cdef int64_t f = panel * a.filters // a.n_panels, rows = (panel + 1) * a.filters // a.n_panels - f
    cdef int64_t pixel = s.pixel + t * PANEL_LANES, n = min(PANEL_LANES, a.pixels - pixel), r
    cdef int64_t plane = a.out_height * a.out_width, tile_bytes = PANEL_LANES * sizeof(float)
    cdef float *sums = s.sums + (t * a.filters + f) * PANEL_LANES
    cdef const float *start = a.bias + f if s.first else sums
    cdef bint direct = s.last and pixel % plane + PANEL_LANES <= plane
    cdef int64_t out_step = a.out_channel if direct else tile_bytes
    cdef int64_t[14] row_of
    cdef char *to = <char *>(s.tile if s.last else sums)
    cdef Finish finish = finish_of(a.activation if s.last else 0, a.slope)
    s.ahead.target, s.ahead.target_step = <char *>(sums + rows * PANEL_LANES), tile_bytes
    s.ahead.weights_step = rows * <int64_t>sizeof(float) // s.tiles
    s.ahead.weights = <const char *>(s.w + (f + rows) * s.depth) + t * s.depth * s.ahead.weights_step
    if direct:
        to = panels_target(a, pixel, panel)
    if s.last:
        s.ahead.target_step = a.out_channel
        if t + 1 < s.tiles:
            s.ahead.target = panels_target(a, pixel + PANEL_LANES, panel)
        elif panel + 1 < s.end:
            s.ahead.target = panels_target(a, s.pixel, panel + 1)
        else:
            s.ahead.target = panels_target(a, min(s.next_pixel, a.pixels - 1), s.begin)
    panel_tile(s.w + f * s.depth, s.pixels + t * s.depth * PANEL_LANES, s.depth, start, <int64_t>PANEL_LANES, not s.first,
               to, out_step, &s.ahead, &finish, rows, n > PANEL_LANES // 2)
    if s.ahead.step and s.ahead.source >= s.stop:
        panels_ahead(a, s)
    if direct and finish.code > LEAKY_RELU:
        for r in range(rows):
            row_of[r] = r * a.out_channel
        activate_rows(s.tile, to, row_of, rows, <int64_t>PANEL_LANES, finish.code, finish.slope)
    elif s.last and not direct:
        activate_stored(s.tile, rows * PANEL_LANES, a.activation, a.slope)
        store_panel(a, s.tile, pixel, n, panel, rows)


cdef void panels_block(const PanelsArgs *a, PanelPass *s, const Planes *planes, float *packed) noexcept nogil:
    # A block of pixels.
    cdef int64_t taps = a.kernel_y * a.kernel_x, c = 0, channels, t, pixel, panel
    cdef int64_t size = a.tiles * PANEL_LANES
    s.pixels = packed
    while c < a.channels:
        channels = min(a.block_channels, a.channels - c)
        s.first, s.last, s.depth = c == 0, c + channels == a.channels, channels * taps
        s.w = a.w + c * taps * a.filters
        s.ahead_pixel, s.ahead_channel = s.next_pixel if s.last else s.pixel, 0 if s.last else c + channels
        s.ahead_end, s.ahead_channels = min(s.ahead_pixel + size, a.pixels), min(a.block_channels, a.channels - s.ahead_channel)
        panels_ahead(a, s)
        for t in range(s.tiles):
            pixel = s.pixel + t * PANEL_LANES
            take_pixels(planes, pixel, min(PANEL_LANES, a.pixels - pixel), c, channels, packed + t * s.depth * PANEL_LANES)
        for panel in range(s.begin, s.end):
            for t in range(s.tiles):
                panels_tile(a, s, panel, t)
        c += channels


cdef void panels_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const PanelsArgs *a = <const PanelsArgs *>args
    cdef char *scratch = a.scratch + worker * a.scratch_bytes
    cdef int64_t chunk = unit % a.n_chunks, size = a.tiles * PANEL_LANES, block = unit // a.n_chunks * a.blocks, end
    cdef Planes planes
    cdef PanelPass s
    scratch += -<int64_t><uintptr_t>scratch & 63
    planes.x, planes.x_image, planes.x_channel, planes.x_row = a.x, a.x_image, a.x_channel, a.x_row
    planes.height, planes.width, planes.out_height, planes.out_width = a.height, a.width, a.out_height, a.out_width
    planes.kernel_y, planes.kernel_x, planes.stride_y, planes.stride_x = a.kernel_y, a.kernel_x, a.stride_y, a.stride_x
    planes.dilation_y, planes.dilation_x, planes.pad_y, planes.pad_x = a.dilation_y, a.dilation_x, a.pad_y, a.pad_x
    planes.fill = a.fill[0]
    s.begin, s.end = chunk * a.n_panels // a.n_chunks, (chunk + 1) * a.n_panels // a.n_chunks
    s.sums, s.tile = <float *>(scratch + a.sums), <float *>(scratch + a.tile)
    end = min((block + a.blocks) * size, a.pixels)
    s.pixel = block * size
    while s.pixel < end:
        s.next_pixel = s.pixel + size if s.pixel + size < end else a.pixels
        s.tiles = (min(size, end - s.pixel) + PANEL_LANES - 1) // PANEL_LANES
        panels_block(a, &s, &planes, <float *>scratch)
        s.pixel += size


cdef void panel_weights_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    # A unit is a panel of filters.
    cdef const PanelWeightsArgs *a = <const PanelWeightsArgs *>args
    cdef int64_t f = unit * a.filters // a.n_panels, rows = (unit + 1) * a.filters // a.n_panels - f
    cdef int64_t depth = a.channels * a.taps, c = 0, n
    while c < a.channels:
        n = min(a.block_channels, a.channels - c) * a.taps
        take_weights(a.x + f * depth + c * a.taps, depth, rows, n, f, a.filters - f - rows, a.out + c * a.taps * a.filters + f * n)
        c += a.block_channels
