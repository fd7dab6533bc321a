# Weights of an adjoint: those of each group transposed, [filter][channel][tap] to [channel][filter][tap], with some of the
# taps, in another order.  Elements are moved, whatever they are.  A unit is a block of channels of a group.

cdef struct TransposedWeightsArgs:
    const char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t groups, filters, channels, taps
    int64_t phases
    const int64_t *taken
    const int64_t *n_taken
    const int64_t *begins
    int64_t block

ctypedef fused word_t:
    uint32_t
    uint64_t


cdef void transpose_weights(const TransposedWeightsArgs *a, int64_t unit, const word_t *x, word_t *out) noexcept nogil:
    cdef int64_t lanes = tile_cols(x) // TILE_COLS, blocks = (a.channels + a.block - 1) // a.block
    cdef int64_t group = unit // blocks, first = unit % blocks * a.block, n = min(a.block, a.channels - first)
    cdef int64_t row = a.channels * a.taps, size = a.groups * a.filters * row, at, i, c, f, phase, to
    cdef const int64_t *taken
    if a.taps == 1 and a.phases == 1 and n >= lanes and a.filters >= lanes:
        turn_planes(x + group * a.filters * row + first, row, out + (group * a.channels + first) * a.filters, a.filters,
                    a.filters, n)
        return
    for i in range((a.filters + lanes - 1) // lanes):  # so many rows stay in the first cache
        f = i * lanes
        for c in range(first, first + n):
            at = (group * a.filters + f) * row + c * a.taps
            to = (group * a.channels + c) * a.filters + f
            taken = a.taken
            for phase in range(a.phases):
                take_taps(x + at, row, size - at, out + a.begins[phase] + to * a.n_taken[phase], taken, a.n_taken[phase],
                          a.taps, min(lanes, a.filters - f), (a.filters - f) * a.n_taken[phase])
                taken += a.n_taken[phase]


cdef void transposed_weights_u32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const TransposedWeightsArgs *a = <const TransposedWeightsArgs *>args
    transpose_weights(a, unit, <const uint32_t *>a.x, <uint32_t *>a.out)


cdef void transposed_weights_u64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const TransposedWeightsArgs *a = <const TransposedWeightsArgs *>args
    transpose_weights(a, unit, <const uint64_t *>a.x, <uint64_t *>a.out)
