# Weights of 3x3 taps at Winograd's points, [group][block of filters][point][channel][lane]: a unit is a block.  Behind all
# of them stands, for each block, whether weights made of them are the same to infinite pixels (their signs, where they are 0), and
# then, of those that are not, the weights, [block][tap][channel][lane].

cdef struct WinogradWeightsArgs:
    const char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t groups, filters, channels, pitch, tile


cdef void winograd_weights_unit(const WinogradWeightsArgs *a, int64_t unit, real_t *loose, real_t *to) noexcept nogil:
    cdef int64_t narrow = VECTOR_BYTES // <int64_t>sizeof(real_t), lanes = GEMM_COLS * narrow, depth = 9 * narrow
    cdef int64_t blocks = whole_blocks(a.filters, lanes) // lanes, points = (a.tile + 2) * (a.tile + 2), step = a.pitch * lanes
    cdef int64_t group = unit // blocks, first = unit % blocks * lanes, filters = min(lanes, a.filters - first), c = 0, f, k, n
    cdef const real_t *w = <const real_t *>a.x + (group * a.filters + first) * a.channels * 9
    cdef real_t *flags = to + a.groups * blocks * points * step
    cdef real_t *taps = flags + whole_blocks(a.groups * blocks, lanes) + unit * 9 * step
    cdef real_t *turned = loose + lanes * depth  # and a block of values at the points
    cdef bint lost = False
    while c < a.pitch:
        n = 9 * max(<int64_t>0, min(narrow, a.channels - c))
        for f in range(lanes):
            for k in range(n if f < filters else 0):
                loose[f * depth + k] = w[f * a.channels * 9 + c * 9 + k]
            for k in range(n if f < filters else 0, depth):
                loose[f * depth + k] = 0
        for f in range(GEMM_COLS):
            k = 0
            while k < depth:
                turn_block(loose + f * narrow * depth + k, depth, turned + k * lanes + f * narrow, lanes)
                k += narrow
        lost |= kernel_points(<const real_t *>turned, turned + lanes * depth, to + unit * points * step + c * lanes, step, a.tile)
        c += narrow
    end_stream()
    flags[unit] = 1 if lost else 0
    for c in range(a.channels if lost else 0):
        for k in range(9):
            for f in range(lanes):
                taps[k * step + c * lanes + f] = w[(f * a.channels + c) * 9 + k] if f < filters else <real_t>0


cdef void winograd_weights_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradWeightsArgs *a = <const WinogradWeightsArgs *>args
    winograd_weights_unit(a, unit, <float *>(a.scratch + worker * a.scratch_bytes), <float *>a.out)


cdef void winograd_weights_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradWeightsArgs *a = <const WinogradWeightsArgs *>args
    winograd_weights_unit(a, unit, <double *>(a.scratch + worker * a.scratch_bytes), <double *>a.out)
