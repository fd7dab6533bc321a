# Convolution of planes of 8-bit numbers, whose sums are scaled and rounded to 8 bits again: lanes are pixels.
#
# A unit is some tiles of pixels of an image, with a chunk of the filters of a group.  What the windows of the tiles read is
# packed, then each panel of filters is multiplied with all of them.

cdef extern from "panels8.h" nogil:
    enum: PANEL8_LANES
    ctypedef struct Planes8 "struct planes8":
        int64_t x_channel, x_row, height, width, out_height, out_width
        int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x
    ctypedef struct Filters8 "struct filters8":
        int32_t start[6]
        float by[6]
        float plus[6]
        const double *scale
        const double *offset
        int32_t zero_point, low, high, near
    void take_pixels8(...)
    void panel8_tile(...)
    void take_weights8(...)

cdef struct Panels8Args:
    const char *x
    const char *w
    char *out
    const int32_t *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t x_image, x_channel, x_row, height, width, out_height, out_width
    int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x
    int64_t out_image, out_channel
    int64_t groups, channels, filters
    int64_t n_panels, n_chunks, n_blocks, tiles
    int64_t sums, pieces

cdef struct PanelWeights8Args:
    const uint8_t *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t groups, filters, depth, n_panels, flip

# Numbers that are the same for all filters: what `fill` points to.
cdef struct Panels8Numbers:
    int32_t filler, flip, zero, zero_point, low, high, near


cdef void take_filters8(const Panels8Args *a, int64_t group, int64_t f, int64_t rows, int64_t fours, Filters8 *filters) noexcept nogil:
    # Constants are [sums begin with][scales][offsets] of all filters; the sums of their weights follow these.
    cdef const Panels8Numbers *numbers = <const Panels8Numbers *>a.fill
    cdef int64_t first = group * a.filters + f, n = a.groups * a.filters, r
    cdef const double *scales = <const double *>(a.bias + n + n % 2) + first
    cdef const int32_t *sums = <const int32_t *>(a.w + 4 * fours * n) + first
    filters.scale, filters.offset = scales, scales + n
    filters.zero_point, filters.low, filters.high, filters.near = numbers.zero_point, numbers.low, numbers.high, numbers.near
    for r in range(rows):
        filters.start[r] = <int32_t>(<uint32_t>a.bias[first + r] - <uint32_t>numbers.zero * <uint32_t>sums[r])
        filters.by[r] = <float>(65536 * scales[r])
        filters.plus[r] = <float>(65536 * (scales[r] * scales[n + r] + numbers.zero_point + 0.5))


cdef void panels8_int32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    # Units run over (image, group, block of tiles, chunk of filters).
    cdef const Panels8Args *a = <const Panels8Args *>args
    cdef const Panels8Numbers *numbers = <const Panels8Numbers *>a.fill
    cdef char *scratch = a.scratch + worker * a.scratch_bytes
    cdef int64_t chunk = unit % a.n_chunks, rest = unit // a.n_chunks, block = rest % a.n_blocks
    cdef int64_t group = rest // a.n_blocks % a.groups, image = rest // a.n_blocks // a.groups
    cdef int64_t depth = a.channels * a.kernel_y * a.kernel_x, fours = (depth + 3) // 4, pixels = a.out_height * a.out_width
    cdef int64_t begin = block * a.tiles * PANEL8_LANES, tiles = min(a.tiles, (pixels - begin + PANEL8_LANES - 1) // PANEL8_LANES)
    cdef int64_t tile = 4 * PANEL8_LANES * fours, panel, f, rows, t, p
    cdef const char *plane = a.x + image * a.x_image + group * a.channels * a.x_channel
    cdef char *out = a.out + image * a.out_image + group * a.filters * a.out_channel
    cdef const char *w = a.w + 4 * fours * group * a.filters
    cdef Planes8 planes
    cdef Filters8 filters
    scratch += -<int64_t><uintptr_t>scratch & 63
    planes.x_channel, planes.x_row, planes.height, planes.width = a.x_channel, a.x_row, a.height, a.width
    planes.out_height, planes.out_width, planes.kernel_y, planes.kernel_x = a.out_height, a.out_width, a.kernel_y, a.kernel_x
    planes.stride_y, planes.stride_x, planes.dilation_y, planes.dilation_x = a.stride_y, a.stride_x, a.dilation_y, a.dilation_x
    planes.pad_y, planes.pad_x = a.pad_y, a.pad_x
    for t in range(tiles):
        p = begin + t * PANEL8_LANES
        take_pixels8(&planes, plane, p, min(<int64_t>PANEL8_LANES, pixels - p), depth, numbers.filler, numbers.flip,
                     scratch + a.pieces, scratch + t * tile)
    for panel in range(chunk * a.n_panels // a.n_chunks, (chunk + 1) * a.n_panels // a.n_chunks):
        f = panel * a.filters // a.n_panels
        rows = (panel + 1) * a.filters // a.n_panels - f
        take_filters8(a, group, f, rows, fours, &filters)
        for t in range(tiles):
            p = begin + t * PANEL8_LANES
            panel8_tile(<const int32_t *>(w + 4 * fours * f), scratch + t * tile, fours, &filters, <int32_t *>(scratch + a.sums), rows,
                        min(<int64_t>PANEL8_LANES, pixels - p), out + f * a.out_channel + p, a.out_channel)


cdef void panel_weights8_int32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    # A unit is a panel of filters of a group.
    cdef const PanelWeights8Args *a = <const PanelWeights8Args *>args
    cdef int64_t panel = unit % a.n_panels, first = unit // a.n_panels * a.filters, fours = (a.depth + 3) // 4
    cdef int64_t f = panel * a.filters // a.n_panels, rows = (panel + 1) * a.filters // a.n_panels - f
    cdef char *to = a.out + 4 * fours * (first + f)
    cdef int32_t *sums = <int32_t *>(a.out + 4 * fours * a.groups * a.filters) + first + f
    take_weights8(a.x + (first + f) * a.depth, a.depth, rows, <int32_t>a.flip, <uint32_t *>to, sums)
