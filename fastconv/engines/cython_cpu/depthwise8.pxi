# Depthwise convolution of planes of 8-bit numbers, whose sums are scaled and rounded to 8 bits again.
#
# Lanes are outputs.  A unit is a strip of rows of a chunk of channels of an image: plane by plane is staged, the next one before
# the one at hand is summed, so that what was stored has reached the cache when it is loaded.

cdef extern from "depthwise8.h" nogil:
    enum: MOST_GROUPS
    ctypedef struct Plane8 "struct plane8":
        int64_t groups, columns
        const int64_t *group_of
        const uint64_t *inside
        const int8_t *order
        int32_t filler, zero_point, low, high, near
    ctypedef struct Channel8 "struct channel8":
        uint32_t w[MOST_GROUPS]
        uint32_t there[MOST_GROUPS]
        int32_t start, zero
        double scale, offset
    void plane8(...)
    void stage_lines8(...)
    int32_t take_taps8(...)

cdef struct Depthwise8Args:
    const char *x
    const uint8_t *w
    char *out
    const int32_t *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t channels, height, width, out_height, out_width
    int64_t x_image, x_channel, x_row, out_image, out_channel, out_row
    int64_t step, pad_y, reach, pitch, out_pitch, odd
    int64_t groups, columns, taps
    const int64_t *group_of
    const int64_t *inside
    const int8_t *order
    const int8_t *tap_of
    int64_t src_code, weights_code
    int64_t chunk, n_chunks, strip, n_strips
    int64_t staged, buffer, results

# Numbers that are the same for all channels: what `fill` points to.
cdef struct Depthwise8Numbers:
    int32_t filler, zero, windows, zero_point, low, high, near


cdef inline char *staged_row8(const Depthwise8Args *a, char *staged, int64_t row) noexcept nogil:
    # With steps of 2 every other row is a plane of its own.
    return staged + (row if a.step == 1 else row // 2) * a.pitch + (a.odd if a.step == 2 and row % 2 else 0)


cdef void stage_plane8(const Depthwise8Args *a, const char *plane, int64_t first, int64_t rows, char *staged) noexcept nogil:
    # The rows of a plane that the windows from row `first` on read.
    cdef int64_t begin = max(<int64_t>0, -first), n = min(rows, a.height - first) - begin
    cdef const char *line = plane + (first + begin) * a.x_row
    cdef int64_t flip = a.src_code == INT8
    if n <= 0:
        return
    if a.step == 1 and a.x_row == a.width == a.pitch:
        stage_lines8(staged + begin * a.pitch, staged, <int64_t>0, line, <int64_t>0, <int64_t>1, n * a.width, flip)
    else:
        stage_lines8(staged_row8(a, staged, begin), staged_row8(a, staged, begin + 1), (3 - a.step) * a.pitch, line, a.x_row, n,
                     a.width, flip)


cdef void fill_rows8(const Depthwise8Args *a, int64_t first, int64_t rows, char *staged, int32_t filler) noexcept nogil:
    cdef int64_t row
    for row in range(rows):
        if first + row < 0 or first + row >= a.height:
            memset(staged_row8(a, staged, row), filler, a.pitch)


cdef void take_channel8(const Depthwise8Args *a, int64_t c, Channel8 *channel) noexcept nogil:
    # Its weights as signed bytes, four taps together, and constants: [sums begin with][zero points][scales][offsets] of all.
    cdef const Depthwise8Numbers *numbers = <const Depthwise8Numbers *>a.fill
    cdef const double *scales = <const double *>(a.bias + 2 * a.channels)
    cdef int32_t total = take_taps8(channel.w, a.w + c * a.taps, a.taps, a.tap_of, a.groups, a.weights_code != INT8)
    channel.start = <int32_t>(<uint32_t>a.bias[c] - <uint32_t>numbers.zero * <uint32_t>total)
    channel.zero, channel.scale, channel.offset = a.bias[a.channels + c], scales[c], scales[a.channels + c]


cdef void sum_plane8(const Depthwise8Args *a, const Plane8 *p, Channel8 *channel, int64_t c, int64_t rows, const char *staged,
                     char *out, char *results) noexcept nogil:
    cdef const Depthwise8Numbers *numbers = <const Depthwise8Numbers *>a.fill
    cdef int64_t direct = a.out_pitch == a.out_width == a.out_row, slowly = numbers.windows != 0 or numbers.near == 0, row
    take_channel8(a, c, channel)
    plane8(p, channel, slowly, a.step, staged, rows * a.out_pitch, out if direct else results)
    for row in range(0 if direct else rows):
        memcpy(out + row * a.out_row, results + row * a.out_pitch, a.out_width)


cdef void depthwise8_int32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    # Units run over (image, chunk of channels, strip of rows).
    cdef const Depthwise8Args *a = <const Depthwise8Args *>args
    cdef const Depthwise8Numbers *numbers = <const Depthwise8Numbers *>a.fill
    cdef char *scratch = a.scratch + worker * a.scratch_bytes
    cdef int64_t y = unit % a.n_strips * a.strip, rest = unit // a.n_strips, c, i
    cdef int64_t rows = min(a.strip, a.out_height - y), first = y * a.step - a.pad_y, read = (rows - 1) * a.step + a.reach
    cdef int64_t begin = rest % a.n_chunks * a.chunk, end = min(begin + a.chunk, a.channels)
    cdef const char *x = a.x + rest // a.n_chunks * a.x_image
    cdef char *out = a.out + rest // a.n_chunks * a.out_image + y * a.out_row
    cdef char *staged[2]
    cdef Plane8 p
    cdef Channel8 channel
    p.groups, p.columns, p.group_of, p.inside, p.order = a.groups, a.columns, a.group_of, <const uint64_t *>a.inside, a.order
    p.filler, p.zero_point, p.low, p.high = numbers.filler, numbers.zero_point, numbers.low, numbers.high
    p.near = numbers.near
    for i in range(4 * a.groups):
        if i % 4 == 0:
            channel.there[i // 4] = 0
        if a.tap_of[i] >= 0:
            channel.there[i // 4] |= <uint32_t>1 << (8 * (i % 4))
    for i in range(2):
        staged[i] = scratch + a.staged + i * a.buffer
        fill_rows8(a, first, read, staged[i], numbers.filler)
    for c in range(begin, end + 1):
        if c < end:
            stage_plane8(a, x + c * a.x_channel, first, read, staged[c % 2])
        if c > begin:
            sum_plane8(a, &p, &channel, c - 1, rows, staged[(c - 1) % 2], out + (c - 1) * a.out_channel, scratch + a.results)
