# Convolution of planes as a matrix product of packed panels (AVX-512): lanes are pixels of all images of a batch.
#
# A unit is a run of blocks of pixels, with a chunk of the filters.  What the windows of a block read is packed, some channels at
# a time, [tile of 32 pixels][channel, tap][pixel]; packed weights are [block of channels][panel of filters][channel, tap][filter].
# Sums of several blocks of channels are kept in scratch; the last ones go where they belong.

cdef extern from "panels.h" nogil:
    enum: PANEL_ROWS
    enum: PANEL_LANES
    enum: PANEL_TILES
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
    ctypedef struct PanelOut "struct panel_out":
        char *to
        char *other
        int64_t step
        uint32_t lanes, others
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
    int64_t channels, filters, block_channels, w_step, pixels
    int64_t n_panels, n_chunks, tiles, blocks, in_place
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

# A tile's pixels: how many, where they lie in a plane of results and, if those of one image, of sources that are read there.
cdef struct PanelTile:
    int64_t pixel, n
    PanelOut out
    bint direct
    const char *from_ "from"

# Some channels of a block of pixels, the panels begin .. end - 1; which channels of which pixels are called for meanwhile.
cdef struct PanelPass:
    int64_t pixel, tiles, begin, end, channel, depth, next_pixel
    bint first, last
    const float *w
    float *pixels
    float *sums
    float *tile
    PanelTile[PANEL_TILES] tile_of
    char *next_target
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


cdef inline char *panels_target(const PanelsArgs *a, int64_t pixel) noexcept nogil:
    # In the plane of the first filter.
    cdef int64_t plane = a.out_height * a.out_width
    return a.out + pixel // plane * a.out_image + pixel % plane * <int64_t>sizeof(float)


cdef void place_tile(const PanelsArgs *a, PanelTile *tile, int64_t pixel) noexcept nogil:
    cdef int64_t plane = a.out_height * a.out_width, room = plane - pixel % plane, n = min(PANEL_LANES, a.pixels - pixel)
    cdef uint32_t all = <uint32_t>((<uint64_t>1 << n) - 1)
    tile.pixel, tile.n = pixel, n
    tile.out.step, tile.out.to = a.out_channel, panels_target(a, pixel)
    tile.out.lanes = all if room >= n else <uint32_t>((<uint64_t>1 << room) - 1)
    tile.out.others = all ^ tile.out.lanes
    tile.out.other = panels_target(a, pixel + room) - room * <int64_t>sizeof(float) if room < n else tile.out.to
    tile.direct = room + plane >= n and (a.activation <= LEAKY_RELU or room >= PANEL_LANES <= n)
    tile.from_ = NULL
    if a.in_place and room >= PANEL_LANES <= n:
        tile.from_ = a.x + pixel // plane * a.x_image + pixel % plane * <int64_t>sizeof(float)


cdef void store_panel(const PanelsArgs *a, float *tile, int64_t pixel, int64_t n, int64_t panel, int64_t rows) noexcept nogil:
    # Tiles whose pixels lie in several images.
    cdef int64_t plane = a.out_height * a.out_width, lane = 0, run, r
    cdef char *to
    while lane < n:
        run = min(plane - (pixel + lane) % plane, n - lane)
        to = panels_target(a, pixel + lane) + panel * a.filters // a.n_panels * a.out_channel
        for r in range(rows):
            store_pieces(tile + r * PANEL_LANES + lane, to + r * a.out_channel, run)
        lane += run


cdef void panels_tile(const PanelsArgs *a, PanelPass *s, int64_t panel, int64_t f, int64_t rows, int64_t t) noexcept nogil:
    cdef PanelTile *tile = &s.tile_of[t]
    cdef PanelOut out = tile.out
    cdef int64_t tile_bytes = PANEL_LANES * sizeof(float), r
    cdef float *sums = s.sums + (t * a.filters + f) * PANEL_LANES
    cdef const float *start = a.bias + f if s.first else sums
    cdef const char *source = tile.from_ if panel == s.begin else NULL
    cdef bint direct = s.last and tile.direct
    cdef int64_t[14] row_of
    cdef Finish finish = finish_of(a.activation if s.last else 0, a.slope)
    s.ahead.target, s.ahead.target_step = <char *>(sums + rows * PANEL_LANES), tile_bytes
    cdef const float *w = s.w + f * (1 if a.w_step else s.depth)
    if a.w_step:  # the end of each of the next panel's rows, of which this one's line may hold the rest
        s.ahead.weights, s.ahead.weights_step = <const char *>(w + 2 * rows - 1), (t + 1 == s.tiles) * a.w_step * <int64_t>sizeof(float)
    else:
        s.ahead.weights = <const char *>(s.w + (f + rows) * s.depth) + t * s.depth * s.ahead.weights_step
    if direct:
        out.to, out.other = out.to + f * a.out_channel, out.other + f * a.out_channel
    else:
        out.to, out.step, out.lanes = <char *>(s.tile if s.last else sums), tile_bytes, 0xFFFFFFFF
    if s.last:
        s.ahead.target_step = a.out_channel
        if t + 1 < s.tiles:
            s.ahead.target = s.tile_of[t + 1].out.to + f * a.out_channel
        elif panel + 1 < s.end:
            s.ahead.target = s.tile_of[0].out.to + (f + rows) * a.out_channel
        else:
            s.ahead.target = s.next_target
    if source != NULL:
        source += s.channel * a.x_channel
    panel_tile(w, a.w_step if a.w_step else rows, s.pixels + t * s.depth * PANEL_LANES, s.depth, start, <int64_t>PANEL_LANES, not s.first, &out,
               source, a.x_channel, &s.ahead, &finish, rows, tile.n > PANEL_LANES // 2)
    if s.ahead.step and s.ahead.source >= s.stop:
        panels_ahead(a, s)
    if direct and finish.code > LEAKY_RELU:
        for r in range(rows):
            row_of[r] = r * a.out_channel
        activate_rows(s.tile, out.to, row_of, rows, <int64_t>PANEL_LANES, finish.code, finish.slope)
    elif s.last and not direct:
        activate_stored(s.tile, rows * PANEL_LANES, a.activation, a.slope)
        store_panel(a, s.tile, tile.pixel, tile.n, panel, rows)


cdef void panels_block(const PanelsArgs *a, PanelPass *s, const Planes *planes, float *packed) noexcept nogil:
    # A block of pixels.
    cdef int64_t taps = a.kernel_y * a.kernel_x, c = 0, channels, t, panel, f, rows
    cdef int64_t size = a.tiles * PANEL_LANES
    s.pixels = packed
    for t in range(s.tiles):
        place_tile(a, &s.tile_of[t], s.pixel + t * PANEL_LANES)
    s.next_target = panels_target(a, min(s.next_pixel, a.pixels - 1)) + s.begin * a.filters // a.n_panels * a.out_channel
    while c < a.channels:
        channels = min(a.block_channels, a.channels - c)
        s.first, s.last, s.channel, s.depth = c == 0, c + channels == a.channels, c, channels * taps
        s.w = a.w + c * taps * (a.w_step if a.w_step else a.filters)
        s.ahead_pixel, s.ahead_channel = s.next_pixel if s.last else s.pixel, 0 if s.last else c + channels
        s.ahead_end, s.ahead_channels = min(s.ahead_pixel + size, a.pixels), min(a.block_channels, a.channels - s.ahead_channel)
        panels_ahead(a, s)
        for t in range(s.tiles):
            if s.tile_of[t].from_ == NULL:
                take_pixels(planes, s.tile_of[t].pixel, s.tile_of[t].n, c, channels, packed + t * s.depth * PANEL_LANES)
        for panel in range(s.begin, s.end):
            f = panel * a.filters // a.n_panels
            rows = (panel + 1) * a.filters // a.n_panels - f
            s.ahead.weights_step = rows * <int64_t>sizeof(float) // s.tiles
            for t in range(s.tiles):
                panels_tile(a, s, panel, f, rows, t)
        c += channels


cdef void panels_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const PanelsArgs *a = <const PanelsArgs *>args
    cdef char *scratch = a.scratch + worker * a.scratch_bytes
    # Units run over (chunk, pixels): planes that are small are written by one thread each, so that no line is shared.
    cdef int64_t size = a.tiles * PANEL_LANES, runs = (a.pixels + size * a.blocks - 1) // (size * a.blocks), chunk = unit // runs
    cdef int64_t block = unit % runs * a.blocks, end
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
