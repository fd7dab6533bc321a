# Weights of 3x3 taps, [group][filter][channel][tap], or of the adjoint's, [group][channel][filter][the last tap first], at
# Winograd's points, [group][block of filters][point][channel][lane]: a unit is a block.  Behind all
# of them stands, for each block, whether weights made of them are the same to infinite pixels (their signs, where they are 0), and
# then, of those that are not, the weights, [block][tap][channel][lane].

from libc.string cimport memcpy, memset


cdef enum:
    TAPS_AHEAD = 4  # channels whose weights are called for, where they are pages apart


cdef struct WinogradWeightsArgs:
    const char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t groups, filters, channels, w_filter, w_channel, flipped, pitch, tile


cdef void turn_taps(const real_t *w, int64_t w_filter, int64_t w_channel, int64_t filters, int64_t channels, real_t *loose,
                    real_t *turned) noexcept nogil:
    # [channel][tap][lane] of a block of filters and a vector of channels, 0 where there are none.  The taps of a filter's
    # channels lie next to each other, or those of a channel's filters: then rows are written behind the last, too.
    cdef int64_t narrow = VECTOR_BYTES // <int64_t>sizeof(real_t), lanes = GEMM_COLS * narrow, depth = 9 * narrow, f, c, k
    cdef const real_t *at = loose
    cdef int64_t step = depth
    if w_channel != 9:
        memset(loose, 0, 9 * lanes * sizeof(real_t))
        for c in range(narrow):
            if c >= channels:
                memset(turned + c * 9 * lanes, 0, 9 * lanes * sizeof(real_t))
                continue
            call_for(<const char *>(w + (c + TAPS_AHEAD) * w_channel), <int64_t>0, <int64_t>1, 9 * filters * <int64_t>sizeof(real_t), False)
            at = w + c * w_channel
            if filters < lanes:
                memcpy(loose, at, 9 * filters * sizeof(real_t))
                at = loose
            for f in range(GEMM_COLS):
                turn_nine(at + f * depth, turned + c * 9 * lanes + f * narrow, lanes)
        return
    if channels >= narrow and filters == lanes:
        at, step = w, w_filter
    else:
        memset(loose, 0, lanes * depth * sizeof(real_t))
        for f in range(filters):
            memcpy(loose + f * depth, w + f * w_filter, 9 * min(channels, narrow) * sizeof(real_t))
    for f in range(GEMM_COLS):
        k = 0
        while k < depth:
            turn_block(at + f * narrow * step + k, step, turned + k * lanes + f * narrow, lanes)
            k += narrow


cdef void winograd_weights_unit(const WinogradWeightsArgs *a, int64_t unit, real_t *loose, real_t *to) noexcept nogil:
    cdef int64_t narrow = VECTOR_BYTES // <int64_t>sizeof(real_t), lanes = GEMM_COLS * narrow
    cdef int64_t blocks = whole_blocks(a.filters, lanes) // lanes, points = (a.tile + 2) * (a.tile + 2), step = a.pitch * lanes
    cdef int64_t group = unit // blocks, first = unit % blocks * lanes, filters = min(lanes, a.filters - first), c = 0, f, k
    cdef int64_t tap = -lanes if a.flipped else lanes
    cdef const real_t *w = <const real_t *>a.x + group * a.filters * a.channels * 9 + first * a.w_filter
    cdef real_t *flags = to + a.groups * blocks * points * step
    cdef real_t *taps = flags + whole_blocks(a.groups * blocks, lanes) + unit * 9 * step
    cdef real_t *turned = loose + (9 * narrow + 1) * lanes
    cdef real_t *block = turned + 10 * narrow * lanes  # of values at the points
    cdef bint lost = False
    while c < a.pitch:
        turn_taps(w + c * a.w_channel, a.w_filter, a.w_channel, filters, a.channels - c, loose, turned)
        lost |= kernel_points(<const real_t *>turned + (8 * lanes if a.flipped else 0), tap, block,
                              to + unit * points * step + c * lanes, step, a.tile)
        c += narrow
    end_stream()
    flags[unit] = 1 if lost else 0
    if lost:
        plain_taps(w, a.w_filter, a.w_channel, a.flipped, filters, a.channels, taps, step)


cdef void plain_taps(const real_t *w, int64_t w_filter, int64_t w_channel, bint flipped, int64_t filters, int64_t channels,
                     real_t *taps, int64_t step) noexcept nogil:
    # [tap][channel][lane] of a block.
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(real_t), c, k, f
    for c in range(channels):
        for k in range(9):
            for f in range(lanes):
                taps[k * step + c * lanes + f] = w[f * w_filter + c * w_channel + (8 - k if flipped else k)] if f < filters else <real_t>0


cdef void winograd_weights_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradWeightsArgs *a = <const WinogradWeightsArgs *>args
    winograd_weights_unit(a, unit, <float *>(a.scratch + worker * a.scratch_bytes), <float *>a.out)


cdef void winograd_weights_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradWeightsArgs *a = <const WinogradWeightsArgs *>args
    winograd_weights_unit(a, unit, <double *>(a.scratch + worker * a.scratch_bytes), <double *>a.out)
