# Max and average pooling.
#
# A unit is a strip of output rows, which may run over several planes.  Each row is made in
# blocks of pixels.  The rows of the window are folded first, column by column, into one row
# in scratch memory, where columns beyond the border hold the fold's identity; then its
# columns are folded into the output.  A maximum with indices takes the rows one by one, so
# that it meets the taps of a window in C order: first of equals, last NaN.

cdef extern from "pooling.h" nogil:
    ctypedef void (*Fold)(char *dst, const char *src, const int64_t *at, int64_t scale, int64_t taps, int64_t n,
                          int resume) noexcept nogil
    ctypedef void (*Divide)(char *dst, const char *src, int64_t n, int64_t divisor) noexcept nogil
    ctypedef void (*Scan)(char *best, char *place, const char *src, const int64_t *at, int64_t scale, int64_t taps,
                          int64_t offset, int64_t step, int64_t n) noexcept nogil
    ctypedef struct PoolOps:
        int64_t size, acc_size, place_size, identity
        Fold fold_rows, fold_taps
        Divide divide
        Scan scan
    const PoolOps *MAX_POOL[]
    const PoolOps *AVG_POOL[3][11]
    int SUM_LEVEL(int64_t taps)
    void pool_fill(char *dst, int64_t bits, int64_t size, int64_t n)
    void pool_move(char *dst, int64_t dst_col, int64_t dst_lane, const char *src, int64_t src_col, int64_t src_lane,
                   int64_t n, int64_t lanes, int64_t size)
    void pool_split(char *even, char *odd, const char *src, int64_t n, int64_t size)
    void pool_positions(char *dst, const char *place, int64_t size, int64_t corner, int64_t step, int64_t n,
                        int64_t lanes)

cdef enum:
    FLAT, GATHER, WINDOWS

# Tall windows are folded a few rows at a time: the processor prefetches only so many streams.
cdef enum:
    ROWS_AT_ONCE = 8

cdef struct PoolArgs:
    const char *x
    char *idx
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t folded, phases, gathered, result, places, stored
    int64_t dtype
    int64_t batch, channels, lanes, height, width, out_height, out_width
    int64_t kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x
    int64_t x_n, x_c, x_row, x_col, x_lane
    int64_t out_n, out_c, out_row, out_col, out_lane
    int64_t idx_n, idx_c, idx_row, idx_col, idx_lane
    int64_t staging
    int64_t store_direct
    int64_t include_pad, divisor
    int64_t block
    int64_t strip
    const int64_t *row_of
    const int64_t *window_of
    const int64_t *col_of
    int64_t phase

# Some output pixels of every row, and the taps of theirs that meet the input.
cdef struct Block:
    int64_t first, n  # output pixels
    int64_t left  # column of the first one's window
    int64_t tap, taps  # taps that some pixel of the block needs
    int64_t cols  # columns from the first tap of the first pixel to the last tap of the last

# The row of output pixels being made, and the rows of its windows.
cdef struct Row:
    int64_t y
    const char *plane
    char *out
    char *idx
    int64_t top  # where the windows begin
    int64_t tap, taps  # taps inside the input
    const char *x  # the input's row under the first of them


cdef inline int64_t steps_to(int64_t position, int64_t limit, int64_t step) noexcept nogil:
    # The smallest i >= 0 with position + i * step >= limit.
    if position >= limit:
        return 0
    return limit - position if step == 1 else (limit - position + step - 1) // step


cdef Block block_at(const PoolArgs *a, int64_t first) noexcept nogil:
    cdef Block b
    cdef int64_t last
    b.first = first
    b.n = min(a.block, a.out_width - first)
    b.left = first * a.stride_x - a.pad_x
    last = b.left + (b.n - 1) * a.stride_x
    b.tap = min(a.kernel_x - 1, steps_to(last, 0, a.dilation_x))
    b.taps = max(1, min(a.kernel_x, steps_to(b.left, a.width, a.dilation_x)) - b.tap)
    b.cols = (b.n - 1) * a.stride_x + (b.taps - 1) * a.dilation_x + 1
    return b


cdef inline Row before_rows(const PoolArgs *a) noexcept nogil:
    # At the end of a plane, so that the next row is looked up.
    return Row(a.out_height - 1, a.x, a.out, a.idx, 0, 0, 0, a.x)


cdef inline void go_to_row(const PoolArgs *a, Row *r, int64_t row) noexcept nogil:
    # Rows are counted over all planes; `r` is at the row before.
    cdef int64_t plane, n, c
    r.y += 1
    r.out += a.out_row
    r.idx += a.idx_row
    if r.y == a.out_height:
        plane = row // a.out_height
        n, c = plane // a.channels, plane % a.channels
        r.y = row - plane * a.out_height
        r.plane = a.x + n * a.x_n + c * a.x_c
        r.out = a.out + n * a.out_n + c * a.out_c + r.y * a.out_row
        r.idx = a.idx + n * a.idx_n + c * a.idx_c + r.y * a.idx_row
    r.top = r.y * a.stride_y - a.pad_y
    r.tap = steps_to(r.top, 0, a.dilation_y)
    r.taps = min(a.kernel_y, steps_to(r.top, a.height, a.dilation_y)) - r.tap
    r.x = r.plane + (r.top + r.tap * a.dilation_y) * a.x_row


cdef void fold_columns(const PoolArgs *a, const PoolOps *op, char *dst, char *gathered, const char *row, int64_t taps,
                       int64_t column, int64_t step, int64_t n) noexcept nogil:
    # Pixels at column, column + step, ..., each folded over the rows from `row` down.
    cdef int64_t begin = min(n, steps_to(column, 0, step)), end = min(n, steps_to(column, a.width, step)), i
    cdef int64_t pixel = op.acc_size * a.lanes, zero = 0
    if taps <= 0:
        begin = end = 0
    cdef const char *src = row + (column + begin * step) * a.x_col
    cdef char *inside = dst + begin * pixel
    pool_fill(dst, op.identity, op.acc_size, begin * a.lanes)
    if a.staging == FLAT:
        for i in range((taps + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE if end > begin else 0):
            op.fold_rows(inside, src, a.row_of + i * ROWS_AT_ONCE, 1, min(taps - i * ROWS_AT_ONCE, ROWS_AT_ONCE),
                         (end - begin) * a.lanes, i > 0)
    else:
        for i in range(taps if end > begin else 0):
            pool_move(gathered, op.size * a.lanes, op.size, src + a.row_of[i], step * a.x_col, a.x_lane,
                      end - begin, a.lanes, op.size)
            op.fold_rows(inside, gathered, &zero, 1, 1, (end - begin) * a.lanes, i > 0)
    pool_fill(dst + end * pixel, op.identity, op.acc_size, (n - end) * a.lanes)


cdef const char *fold_window_rows(const PoolArgs *a, const PoolOps *op, char *scratch, const Block *b, const char *row,
                                  int64_t taps) noexcept nogil:
    # The columns of a block's windows, folded over rows; those of each stride phase together.
    cdef char *folded = scratch + a.folded
    cdef char *phases = scratch + a.phases
    cdef char *gathered = scratch + a.gathered
    cdef int64_t column = b.left + b.tap * a.dilation_x, pixel = op.acc_size * a.lanes, phase = a.phase * op.acc_size, i
    if a.stride_x == 1 or a.staging == FLAT:
        fold_columns(a, op, folded, gathered, row, taps, column, 1, b.cols)
    if a.stride_x == 1:
        return folded
    if a.staging == FLAT and a.stride_x == 2 and a.lanes == 1:
        pool_split(phases, phases + phase, folded, (b.cols + 1) // 2, op.acc_size)
        return phases
    for i in range(min(a.stride_x, (b.taps - 1) * a.dilation_x + 1)):
        if a.staging == FLAT:
            pool_move(phases + i * phase, pixel, op.acc_size, folded + i * pixel, pixel * a.stride_x, op.acc_size,
                      (b.cols - i + a.stride_x - 1) // a.stride_x, a.lanes, op.acc_size)
        else:
            fold_columns(a, op, phases + i * phase, gathered, row, taps, column + i, a.stride_x,
                         (b.cols - i + a.stride_x - 1) // a.stride_x)
    return phases


cdef inline int64_t counted(int64_t start, int64_t taps, int64_t size, int64_t pad) noexcept nogil:
    # Taps of a window that lie in the input and `pad` positions around it.
    return min(start + taps, size + pad) - max(start, -pad)


cdef void divide_block(const PoolArgs *a, const PoolOps *op, char *dst, const char *src, int64_t top,
                       const Block *b) noexcept nogil:
    # Windows that lie inside have one divisor; those at the edges are divided one by one.
    if a.divisor > 0:
        op.divide(dst, src, b.n * a.lanes, a.divisor)
        return
    cdef int64_t pad_y = a.pad_y if a.include_pad else 0, pad_x = a.pad_x if a.include_pad else 0
    cdef int64_t rows = counted(top, a.kernel_y, a.height, pad_y), i, n, cols
    cdef int64_t begin = min(b.n, steps_to(b.left, -pad_x, a.stride_x))
    cdef int64_t end = max(begin, min(b.n, steps_to(b.left + a.kernel_x, a.width + pad_x + 1, a.stride_x)))
    i = 0
    while i < b.n:
        n = end - begin if i == begin and end > begin else 1
        cols = counted(b.left + i * a.stride_x, a.kernel_x, a.width, pad_x)
        op.divide(dst + i * op.size * a.lanes, src + i * op.acc_size * a.lanes, n * a.lanes, rows * cols)
        i += n


cdef void fold_windows(const PoolArgs *a, const PoolOps *op, char *dst, const Block *b, const Row *r) noexcept nogil:
    # Window by window, where they lie: those at the edges row by row.
    cdef int64_t i, t, start, tap, taps
    cdef const char *src
    for i in range(b.n):
        start = b.left + i * a.stride_x
        tap = steps_to(start, 0, a.dilation_x)
        taps = min(a.kernel_x, steps_to(start, a.width, a.dilation_x)) - tap
        src = r.x + (start + tap * a.dilation_x) * a.x_col
        if taps == a.kernel_x and r.taps == a.kernel_y:
            op.fold_rows(dst, src, a.window_of, 1, a.kernel_y * a.kernel_x, a.lanes, 0)
        elif taps <= 0 or r.taps <= 0:
            pool_fill(dst, op.identity, op.acc_size, a.lanes)
        else:
            for t in range(r.taps):
                op.fold_rows(dst, src + a.row_of[t], a.window_of, 1, taps, a.lanes, t > 0)
        dst += op.acc_size * a.lanes


cdef void pool_block(const PoolArgs *a, const PoolOps *op, char *scratch, const Block *b, const Row *r) noexcept nogil:
    cdef char *out = r.out + b.first * a.out_col
    cdef char *target = out if a.store_direct else scratch + a.stored
    cdef char *result = target if op.divide == NULL else scratch + a.result
    if a.staging == WINDOWS:
        fold_windows(a, op, result, b, r)
    else:
        op.fold_taps(result, fold_window_rows(a, op, scratch, b, r.x, r.taps), a.col_of, op.acc_size, b.taps,
                     b.n * a.lanes, 0)
    if op.divide != NULL:
        divide_block(a, op, target, result, r.top, b)
    if not a.store_direct:
        pool_move(out, a.out_col, a.out_lane, target, op.size * a.lanes, op.size, b.n, a.lanes, op.size)


cdef void begin_places(const PoolArgs *a, const PoolOps *op, char *places, const Block *b, const Row *r) noexcept nogil:
    # Before any comparison the maximum is at the first tap inside the input; -1 if there is none.
    cdef int64_t first = r.tap * a.dilation_y * a.width if r.taps > 0 else -1
    cdef int64_t i, tap, start, size = op.place_size, lanes = a.lanes
    pool_fill(places, first, size, b.n * lanes)
    for i in range(min(b.n, steps_to(b.left, 0, a.stride_x)) if r.taps > 0 else 0):
        start = b.left + i * a.stride_x
        tap = steps_to(start, 0, a.dilation_x)
        if tap < a.kernel_x and start + tap * a.dilation_x < a.width:
            pool_fill(places + i * lanes * size, first + tap * a.dilation_x, size, lanes)
        else:
            pool_fill(places + i * lanes * size, -1, size, lanes)


cdef void scan_windows(const PoolArgs *a, const PoolOps *op, char *best, char *places, const Block *b,
                       const Row *r) noexcept nogil:
    # Row by row of each window, where it lies.
    cdef int64_t i, t, start, tap, taps, offset
    cdef const char *src
    for i in range(b.n):
        start = b.left + i * a.stride_x
        tap = steps_to(start, 0, a.dilation_x)
        taps = min(a.kernel_x, steps_to(start, a.width, a.dilation_x)) - tap
        src = r.x + (start + tap * a.dilation_x) * a.x_col
        for t in range(r.taps):
            offset = (r.tap + t) * a.dilation_y * a.width + tap * a.dilation_x
            op.scan(best, places, src + a.row_of[t], a.window_of, 1, taps, offset, a.dilation_x, a.lanes)
        best += op.size * a.lanes
        places += op.place_size * a.lanes


cdef void pool_block_indices(const PoolArgs *a, const PoolOps *op, char *scratch, const Block *b,
                             const Row *r) noexcept nogil:
    cdef int64_t size = op.size, n = b.n * a.lanes, offset, t
    cdef char *best = scratch + a.result
    cdef char *places = scratch + a.places
    cdef char *out = r.out + b.first * a.out_col
    cdef char *idx = r.idx + b.first * a.idx_col
    cdef char *positions = idx if a.store_direct else scratch + a.stored
    pool_fill(best, op.identity, size, n)
    begin_places(a, op, places, b, r)
    if a.staging == WINDOWS:
        scan_windows(a, op, best, places, b, r)
    else:
        for t in range(r.taps):
            offset = (r.tap + t) * a.dilation_y * a.width + b.tap * a.dilation_x
            op.scan(best, places, fold_window_rows(a, op, scratch, b, r.x + a.row_of[t], 1), a.col_of, size, b.taps,
                    offset, a.dilation_x, n)
    pool_move(out, a.out_col, a.out_lane, best, size * a.lanes, size, b.n, a.lanes, size)
    pool_positions(positions, places, op.place_size, r.top * a.width + b.left, a.stride_x, b.n, a.lanes)
    if not a.store_direct:
        pool_move(idx, a.idx_col, a.idx_lane, positions, 8 * a.lanes, 8, b.n, a.lanes, 8)


cdef inline void pool_unit(const PoolArgs *a, const PoolOps *op, int64_t unit, int64_t worker,
                           bint indices) noexcept nogil:
    cdef char *scratch = a.scratch + worker * a.scratch_bytes
    cdef int64_t begin = unit * a.strip, end = min(begin + a.strip, a.batch * a.channels * a.out_height), i, row
    cdef int64_t blocks = (a.out_width + a.block - 1) // a.block
    cdef Block b = block_at(a, 0)
    cdef Row r = before_rows(a)
    for row in range(begin, end):
        go_to_row(a, &r, row)
        for i in range(blocks):
            if blocks > 1:
                b = block_at(a, i * a.block)
            if indices:
                pool_block_indices(a, op, scratch, &b, &r)
            else:
                pool_block(a, op, scratch, &b, &r)


cdef void max_pool(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const PoolArgs *a = <const PoolArgs *>args
    pool_unit(a, MAX_POOL[a.dtype], unit, worker, False)


cdef void max_pool_indices(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const PoolArgs *a = <const PoolArgs *>args
    pool_unit(a, MAX_POOL[a.dtype], unit, worker, True)


cdef void avg_pool(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const PoolArgs *a = <const PoolArgs *>args
    pool_unit(a, AVG_POOL[SUM_LEVEL(a.kernel_y * a.kernel_x)][a.dtype], unit, worker, False)


POOL_TYPES = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()
