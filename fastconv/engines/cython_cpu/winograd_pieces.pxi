# Weights of 5x5 or 7x7 taps at Winograd's points, piece by piece: [group][block of filters][point][piece][channel][lane], see
# winograd.pxi.  A unit is a block.  Behind all of them stand the weights, [block][tap][channel][lane].

cdef extern from "tiles_all.h" nogil:
    void piece_points(...)


cdef struct WinogradPiecesArgs:
    const char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t groups, filters, channels, pitch, taps


cdef void winograd_pieces_unit(const WinogradPiecesArgs *a, int64_t unit, real_t *loose, real_t *to) noexcept nogil:
    cdef int64_t narrow = VECTOR_BYTES // <int64_t>sizeof(real_t), lanes = GEMM_COLS * narrow, taps = a.taps * a.taps
    cdef int64_t blocks = whole_blocks(a.filters, lanes) // lanes, pieces = (a.taps - 1) // 2, step = a.pitch * lanes
    cdef int64_t first = unit % blocks * lanes, depth = taps * narrow, c = 0, f, k, n, y, x
    cdef const real_t *w = <const real_t *>a.x + (unit // blocks * a.filters + first) * a.channels * taps
    cdef real_t *at = to + unit * 16 * pieces * pieces * step
    cdef real_t *plain = to + (a.groups * blocks * 16 * pieces * pieces + unit * taps) * step
    cdef real_t *turned = loose + lanes * depth
    while c < a.pitch:
        n = taps * max(<int64_t>0, min(narrow, a.channels - c))
        for f in range(lanes):
            for k in range(n if first + f < a.filters else 0):
                loose[f * depth + k] = w[(f * a.channels + c) * taps + k]
            for k in range(n if first + f < a.filters else 0, depth):
                loose[f * depth + k] = 0
        for f in range(GEMM_COLS):
            k = 0
            while k < depth:
                turn_block(loose + f * narrow * depth + k, depth, turned + k * lanes + f * narrow, lanes)
                k += narrow
        for y in range(pieces):
            for x in range(pieces):
                piece_points(<const real_t *>turned, a.taps, 2 * y, 2 * x, at + (y * pieces + x) * step + c * lanes,
                             pieces * pieces * step, (x - y) * (pieces - 1) * step)
        for k in range(depth):
            for f in range(lanes):
                plain[k % taps * step + (c + k // taps) * lanes + f] = turned[k * lanes + f]
        c += narrow


cdef void winograd_pieces_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradPiecesArgs *a = <const WinogradPiecesArgs *>args
    winograd_pieces_unit(a, unit, <float *>(a.scratch + worker * a.scratch_bytes), <float *>a.out)


cdef void winograd_pieces_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const WinogradPiecesArgs *a = <const WinogradPiecesArgs *>args
    winograd_pieces_unit(a, unit, <double *>(a.scratch + worker * a.scratch_bytes), <double *>a.out)
