# Exponentials that add up to 1 along an axis, their logarithms, and gradients.
#
# A unit is some blocks of lanes.  A block is rows of vectors, taken three times: largest elements, sums of exponentials,
# results.  Its elements are read where they lie, or by way of scratch memory a chunk of rows at a time; exponentials
# are kept for the third time where there is memory for all.

cdef struct SoftmaxArgs:
    const char *x
    const char *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t kind, dtype
    int64_t rows, x_row, w_row, out_row
    int64_t lanes, x_lane, w_lane, out_lane
    int64_t width, across, last
    int64_t blocks, total, strip
    int64_t n_axes
    const int64_t *axes
    int64_t direct, chunk


cdef struct SoftmaxBlock:
    const char *x
    const char *w
    char *out
    int64_t cols, last  # lanes of its rows, and of the last one
    int64_t size  # lanes of vectors


cdef inline int64_t last_cols(const SoftmaxArgs *a, const SoftmaxBlock *b, int64_t row) noexcept nogil:
    return b.last if row == a.rows - 1 else b.cols


cdef void softmax_load(const SoftmaxArgs *a, const SoftmaxBlock *b, real_t *dst, const char *src, int64_t row_step,
                       int64_t lane_step, int64_t first, int64_t count, real_t beyond) noexcept nogil:
    # Rows of a block without gaps, `beyond` in the lanes that it has not.
    cdef int64_t r, i, cols
    for r in range(first, first + count):
        cols = last_cols(a, b, r)
        stage_run(dst, src + r * row_step, lane_step, cols, a.dtype)
        for i in range(cols, b.size):
            dst[i] = beyond
        dst += b.size


cdef void softmax_chunk(const SoftmaxArgs *a, const SoftmaxBlock *b, real_t *state, int64_t turn, int64_t first,
                        int64_t count) noexcept nogil:
    # One of the three times of a chunk that is staged.
    cdef real_t *x = state + 3 * b.size
    cdef real_t *g = x + a.chunk * b.size
    cdef int64_t r, step = b.size * sizeof(real_t), whole = count == a.rows
    if turn == 0 or not whole:
        softmax_load(a, b, x, b.x, a.x_row, a.x_lane, first, count, <real_t>-INFINITY)
        if a.kind >= SOFTMAX_BACKWARD:
            softmax_load(a, b, g, b.w, a.w_row, a.w_lane, first, count, <real_t>0)
    if turn == 0:
        softmax_largest(state, <const char *>x, step, count, a.width)
    elif turn == 1:
        softmax_sums(state, <char *>x if whole and a.kind != LOG_SOFTMAX else NULL, step, <const char *>x, step,
                     <const char *>g, step, count, a.kind, a.width)
    else:
        softmax_write(state, <char *>x, step, <const char *>x, step, whole, <const char *>g, step, count, a.kind, a.width)
        for r in range(count):
            store_run(x + r * b.size, b.out + (first + r) * a.out_row, a.out_lane, last_cols(a, b, first + r), a.dtype)


cdef void softmax_in_place(const SoftmaxArgs *a, const SoftmaxBlock *b, real_t *state, int64_t turn) noexcept nogil:
    # One of the three times of a block whose vectors lie in memory as in registers.
    cdef char *kept = NULL
    cdef int64_t step = a.out_row
    if a.kind == SOFTMAX:
        kept = b.out
    elif a.kind >= SOFTMAX_BACKWARD and a.rows <= a.chunk:
        kept, step = <char *>(state + 3 * b.size), b.size * sizeof(real_t)
    if turn == 0:
        softmax_largest(state, b.x, a.x_row, a.rows, a.width)
    elif turn == 1:
        softmax_sums(state, kept, step, b.x, a.x_row, b.w, a.w_row, a.rows, a.kind, a.width)
    elif kept != NULL:
        softmax_write(state, b.out, a.out_row, kept, step, <int64_t>1, b.w, a.w_row, a.rows, a.kind, a.width)
    else:
        softmax_write(state, b.out, a.out_row, b.x, a.x_row, <int64_t>0, b.w, a.w_row, a.rows, a.kind, a.width)


cdef void softmax_block(const SoftmaxArgs *a, const SoftmaxBlock *b, real_t *state) noexcept nogil:
    cdef int64_t i, turn, first
    for i in range(b.size):
        state[i] = -INFINITY
        state[b.size + i] = state[2 * b.size + i] = 0
    for turn in range(3):
        if a.direct and b.cols == b.size:
            softmax_in_place(a, b, state, turn)
        else:
            first = 0
            while first < a.rows:
                softmax_chunk(a, b, state, turn, first, min(a.chunk, a.rows - first))
                first += a.chunk
        if turn == 0 and a.across:
            softmax_across(state, a.width, <int64_t>0)
        if turn == 1:
            if a.across:
                softmax_across(state + b.size, a.width, <int64_t>1)
                softmax_across(state + 2 * b.size, a.width, <int64_t>1)
            softmax_scales(state, a.kind, a.width)


cdef void softmax_unit(const SoftmaxArgs *a, int64_t unit, real_t *scratch) noexcept nogil:
    cdef SoftmaxBlock b
    cdef int64_t index, lane
    b.size = a.width * (VECTOR_BYTES // <int64_t>sizeof(real_t))
    for index in range(unit * a.strip, min((unit + 1) * a.strip, a.total)):
        lane = index % a.blocks * b.size
        b.x, b.w, b.out = a.x + lane * a.x_lane, a.w + lane * a.w_lane, a.out + lane * a.out_lane
        to_line(a.axes, a.n_axes, index // a.blocks, &b.x, &b.w, &b.out)
        b.cols = min(a.lanes - lane, b.size)
        b.last = a.last if a.across else b.cols
        softmax_block(a, &b, scratch)


cdef void softmax_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const SoftmaxArgs *a = <const SoftmaxArgs *>args
    softmax_unit(a, unit, <float *>(a.scratch + worker * a.scratch_bytes))


cdef void softmax_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const SoftmaxArgs *a = <const SoftmaxArgs *>args
    softmax_unit(a, unit, <double *>(a.scratch + worker * a.scratch_bytes))
