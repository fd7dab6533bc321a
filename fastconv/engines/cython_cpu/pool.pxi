# Pooling: maxima, averages, sums of powers, and gradients of averages.
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
    ctypedef struct ScannedWindows:
        const int64_t *at
        const int64_t *place
        int64_t taps, pixels, lanes, src_step, corner, corner_step
    ctypedef void (*ScanWindows)(char *out, char *idx, const char *src, const ScannedWindows *w) noexcept nogil
    ctypedef void (*Runs)(char *dst, const char *src, const int64_t *windows, int64_t n) noexcept nogil
    ctypedef void (*ScanRuns)(char *best, char *place, const char *src, const int64_t *windows, int64_t offset,
                              int64_t n) noexcept nogil
    ctypedef struct PoolOps:
        int64_t size, acc_size, place_size, identity
        Fold fold_rows, fold_taps
        Divide divide
        Scan scan
        ScanWindows scan_windows
        Runs fold_runs
        ScanRuns scan_runs
    const PoolOps *MAX_POOL[]
    const PoolOps *AVG_POOL[3][11]
    int SUM_LEVEL(int64_t taps)
    void pool_fill(char *dst, int64_t bits, int64_t size, int64_t n)
    void pool_move(char *dst, int64_t dst_col, int64_t dst_lane, const char *src, int64_t src_col, int64_t src_lane,
                   int64_t n, int64_t lanes, int64_t size)
    void pool_split(char *even, char *odd, const char *src, int64_t n, int64_t size)
    void pool_positions(char *dst, const char *place, int64_t size, int64_t corner, int64_t step, int64_t n,
                        int64_t lanes, int64_t pitch)
    void pool_load(char *dst, int64_t dtype, const char *src, int64_t col, int64_t lane, int64_t n, int64_t lanes,
                   int64_t code, int64_t size)
    void pool_store(char *dst, int64_t col, int64_t lane, const char *src, int64_t dtype, int64_t pitch, int64_t n,
                    int64_t lanes, int64_t code, int64_t size)
    void pool_power(char *run, int64_t dtype, int64_t n, double power)
    void pool_root(char *run, int64_t dtype, int64_t n, double power, int64_t times)
    void pool_weigh(char *run, int64_t dtype, int64_t n, int64_t lanes, const double *weights, double all)

cdef enum:
    FLAT, GATHER, WINDOWS, STAGED, WHOLE_PLANES, SMALL_PLANES, SHORT_ROWS, MANY_LANES, NARROW_ROWS

# Numbers of a window in its table.
cdef enum:
    FIRST, TAPS, COUNTED, END, WINDOW_SLOTS

cdef enum:
    ROWS_AT_ONCE = 8  # tall windows are folded a few rows at a time: the processor prefetches only so many streams
    TAPS_BYTES = 16384  # pixels of many lanes are folded so many bytes at a time
    SCANNED = 16  # elements that a scan takes at once
    MOST_SCANNED = 64  # taps of windows that are scanned in registers
    MOST_POOL_ROWS = 32  # of windows that are folded in registers

cdef struct PoolArgs:
    const char *x
    char *idx
    char *out
    const char *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t folded, phases, gathered, result, places, stored
    int64_t dtype, src_code
    double power
    int64_t batch, channels, lanes, height, width, out_depth, out_height, out_width
    int64_t rows, kernel_x
    int64_t stride_x, dilation_z, dilation_y, dilation_x, pad_x
    int64_t stride_y, pad_y
    int64_t x_n, x_c, x_z, x_row, x_col, x_lane
    int64_t out_n, out_c, out_z, out_row, out_col, out_lane
    int64_t idx_n, idx_c, idx_z, idx_row, idx_col, idx_lane
    int64_t staging
    int64_t store_direct
    int64_t divisor
    int64_t block
    int64_t strip
    int64_t windows_z, windows_y, windows_x
    int64_t window_step
    const double *weights
    const int64_t *row_of
    const int64_t *window_of
    const int64_t *col_of
    int64_t phase, stream

# Some output pixels of every row, and the taps of theirs that meet the input.
cdef struct Block:
    int64_t first, n  # output pixels
    int64_t left  # column of the first one's window
    int64_t tap, taps  # taps that some pixel of the block needs
    int64_t cols  # columns from the first tap of the first pixel to the last tap of the last

# The row of output pixels being made, and the rows of its windows.
cdef struct Row:
    int64_t z, y
    const char *plane
    char *out
    char *idx
    const int64_t *of_z  # the windows of the plane
    const int64_t *of_y
    const int64_t *of_x
    int64_t nz, ny  # taps inside the input
    const char *x  # the input's row under the first of them


cdef inline int64_t steps_to(int64_t position, int64_t limit, int64_t step) noexcept nogil:
    # The smallest i >= 0 with position + i * step >= limit.
    if position >= limit:
        return 0
    return limit - position if step == 1 else (limit - position + step - 1) // step


cdef Block block_at(const PoolArgs *a, int64_t first) noexcept nogil:
    cdef Block b
    cdef int64_t last
    cdef const int64_t *window
    b.first = first
    b.n = min(a.block, a.out_width - first)
    if a.stride_x == 0:  # windows vary
        window = <const int64_t *>a.windows_x + first * WINDOW_SLOTS
        b.left = 0 if a.window_step else window[FIRST]
        window += (b.n - 1) * WINDOW_SLOTS
        b.cols = a.width if a.window_step else window[FIRST] + window[TAPS] - b.left
        b.tap = 0
        b.taps = 1
        return b
    b.left = first * a.stride_x - a.pad_x
    last = b.left + (b.n - 1) * a.stride_x
    b.tap = min(a.kernel_x - 1, steps_to(last, 0, a.dilation_x))
    b.taps = max(1, min(a.kernel_x, steps_to(b.left, a.width, a.dilation_x)) - b.tap)
    b.cols = (b.n - 1) * a.stride_x + (b.taps - 1) * a.dilation_x + 1
    return b


cdef inline Row before_rows(const PoolArgs *a) noexcept nogil:
    # At the end of a plane, so that the next row is looked up.
    return Row(0, a.out_height - 1, a.x, a.out, a.idx, <const int64_t *>a.windows_z, <const int64_t *>a.windows_y,
               <const int64_t *>a.windows_x, 0, 0, a.x)


cdef inline void go_to_row(const PoolArgs *a, Row *r, int64_t row) noexcept nogil:
    # Rows are counted over all planes; `r` is at the row before.
    cdef int64_t plane, n, c
    cdef const int64_t *z
    cdef const int64_t *y
    r.y += 1
    r.out += a.out_row
    r.idx += a.idx_row
    if r.y == a.out_height:
        plane = row // a.out_height
        r.y = row - plane * a.out_height
        r.z = 0
        if a.out_depth > 1:
            r.z = plane % a.out_depth
            plane = plane // a.out_depth
        n, c = plane // a.channels, plane % a.channels
        r.plane = a.x + n * a.x_n + c * a.x_c
        r.out = a.out + n * a.out_n + c * a.out_c + r.z * a.out_z + r.y * a.out_row
        r.idx = a.idx + n * a.idx_n + c * a.idx_c + r.z * a.idx_z + r.y * a.idx_row
        if a.window_step:
            r.of_z = <const int64_t *>(a.bias + plane * a.window_step + a.windows_z)
            r.of_y = <const int64_t *>(a.bias + plane * a.window_step + a.windows_y)
            r.of_x = <const int64_t *>(a.bias + plane * a.window_step + a.windows_x)
    z, y = r.of_z + r.z * WINDOW_SLOTS, r.of_y + r.y * WINDOW_SLOTS
    r.nz = z[TAPS] if y[TAPS] > 0 else 0
    r.ny = y[TAPS] if z[TAPS] > 0 else 0
    r.x = r.plane + z[FIRST] * a.x_z + y[FIRST] * a.x_row


cdef inline const char *row_in_window(const PoolArgs *a, const Row *r, int64_t z, int64_t y) noexcept nogil:
    return r.x + z * a.dilation_z * a.x_z + a.row_of[y]


cdef inline int64_t place_in_window(const PoolArgs *a, int64_t z, int64_t y) noexcept nogil:
    # Positions from the window's first row to another.
    return (z * a.dilation_z * a.height + y * a.dilation_y) * a.width


cdef void prepare_pixels(const PoolArgs *a, const PoolOps *op, char *dst, const char *src, int64_t column,
                         int64_t step, int64_t n, double weight) noexcept nogil:
    # n pixels as accumulators without gaps.
    if a.staging == GATHER:
        pool_move(dst, op.size * a.lanes, op.size, src, step * a.x_col, a.x_lane, n, a.lanes, op.size)
        return
    pool_load(dst, a.dtype, src, a.x_col, a.x_lane, n, a.lanes, a.src_code, 2 if a.src_code > FLOAT64 else op.size)
    if a.power:
        pool_power(dst, a.dtype, n * a.lanes, a.power)
    if a.weights != NULL:
        pool_weigh(dst, a.dtype, n, a.lanes, a.weights + a.height + column, weight)


cdef inline double weight_of_row(const PoolArgs *a, const Row *r, int64_t z, int64_t y) noexcept nogil:
    if a.weights == NULL:
        return 1
    return (a.weights[a.height + a.width + r.of_z[r.z * WINDOW_SLOTS + FIRST] + z]
            * a.weights[r.of_y[r.y * WINDOW_SLOTS + FIRST] + y])


cdef void fold_columns(const PoolArgs *a, const PoolOps *op, char *dst, char *gathered, const Row *r, int64_t first_z,
                       int64_t nz, int64_t first_y, int64_t ny, int64_t column, int64_t step, int64_t n) noexcept nogil:
    # Pixels at column, column + step, ..., each folded over some rows of the window.
    cdef int64_t begin = min(n, steps_to(column, 0, step)), end = min(n, steps_to(column, a.width, step))
    cdef int64_t pixel = op.acc_size * a.lanes, zero = 0, z, y, offset
    if nz * ny <= 0:
        begin = end = 0
    cdef int64_t low = column + begin * step, count = end - begin
    cdef const char *src
    cdef char *inside = dst + begin * pixel
    pool_fill(dst, op.identity, op.acc_size, begin * a.lanes)
    for z in range(nz if count > 0 else 0):
        src = row_in_window(a, r, first_z + z, first_y) + low * a.x_col
        if a.staging == FLAT:
            y = 0
            while y < ny:
                op.fold_rows(inside, src, a.row_of + y, 1, min(ny - y, ROWS_AT_ONCE), count * a.lanes, z + y > 0)
                y += ROWS_AT_ONCE
        else:
            for y in range(ny):
                prepare_pixels(a, op, gathered, src + a.row_of[y], low, step, count,
                             weight_of_row(a, r, first_z + z, first_y + y))
                op.fold_rows(inside, gathered, &zero, 1, 1, count * a.lanes, z + y > 0)
    pool_fill(dst + end * pixel, op.identity, op.acc_size, (n - end) * a.lanes)


cdef const char *fold_window_rows(const PoolArgs *a, const PoolOps *op, char *scratch, const Block *b, const Row *r,
                                  int64_t first_z, int64_t nz, int64_t first_y, int64_t ny) noexcept nogil:
    # The columns of a block's windows, folded over rows; those of each stride phase together.
    cdef char *folded = scratch + a.folded
    cdef char *phases = scratch + a.phases
    cdef char *gathered = scratch + a.gathered
    cdef int64_t column = b.left + b.tap * a.dilation_x, pixel = op.acc_size * a.lanes, phase = a.phase * op.acc_size, i
    if a.stride_x <= 1 or a.staging != GATHER:
        fold_columns(a, op, folded, gathered, r, first_z, nz, first_y, ny, column, 1, b.cols)
    if a.stride_x <= 1:
        return folded
    if a.staging != GATHER and a.stride_x == 2 and a.lanes == 1:
        pool_split(phases, phases + phase, folded, (b.cols + 1) // 2, op.acc_size)
        return phases
    for i in range(min(a.stride_x, (b.taps - 1) * a.dilation_x + 1)):
        if a.staging != GATHER:
            pool_move(phases + i * phase, pixel, op.acc_size, folded + i * pixel, pixel * a.stride_x, op.acc_size,
                      (b.cols - i + a.stride_x - 1) // a.stride_x, a.lanes, op.acc_size)
        else:
            fold_columns(a, op, phases + i * phase, gathered, r, first_z, nz, first_y, ny, column + i, a.stride_x,
                         (b.cols - i + a.stride_x - 1) // a.stride_x)
    return phases


cdef void divide_block(const PoolArgs *a, const PoolOps *op, char *dst, const char *src, const Block *b,
                       const Row *r) noexcept nogil:
    # Windows of which as many taps count have one divisor.
    if a.divisor > 0:
        op.divide(dst, src, b.n * a.lanes, a.divisor)
    cdef int64_t rows = r.of_z[r.z * WINDOW_SLOTS + COUNTED] * r.of_y[r.y * WINDOW_SLOTS + COUNTED], i = 0, n
    cdef const int64_t *x
    while i < b.n and a.divisor <= 0:
        x = r.of_x + (b.first + i) * WINDOW_SLOTS
        n = min(b.n, x[END] - b.first) - i
        op.divide(dst + i * op.size * a.lanes, src + i * op.acc_size * a.lanes, n * a.lanes, rows * x[COUNTED])
        i += n
    if a.power:
        pool_root(dst, a.dtype, b.n * a.lanes, a.power, a.rows * a.kernel_x)


cdef void fold_windows(const PoolArgs *a, const PoolOps *op, char *dst, const Block *b, const Row *r) noexcept nogil:
    # Window by window, where they lie: those at the edges row by row.
    cdef int64_t i, z, y, tap, n, whole = a.rows * a.kernel_x
    cdef int64_t together = whole if a.lanes * op.size <= 256 else max(TAPS_BYTES // (a.lanes * op.size), 8)
    cdef const char *src
    cdef const int64_t *x
    for i in range(b.n):
        x = r.of_x + (b.first + i) * WINDOW_SLOTS
        src = r.x + x[FIRST] * a.x_col
        if r.nz * r.ny == a.rows and x[TAPS] == a.kernel_x:
            tap = 0
            while tap < whole:
                op.fold_rows(dst, src, a.window_of + tap, 1, min(together, whole - tap), a.lanes, tap > 0)
                tap += together
        elif x[TAPS] <= 0 or r.nz == 0:
            pool_fill(dst, op.identity, op.acc_size, a.lanes)
        else:
            for z in range(r.nz):
                for y in range(r.ny):
                    op.fold_rows(dst, row_in_window(a, r, z, y) + x[FIRST] * a.x_col, a.window_of, 1, x[TAPS],
                                 a.lanes, z + y > 0)
        dst += op.acc_size * a.lanes


cdef void fold_regions(const PoolArgs *a, const PoolOps *op, char *dst, char *scratch, const Block *b,
                       const Row *r) noexcept nogil:
    # Windows that vary: folded over rows, then each over its columns.
    cdef const char *folded
    cdef const int64_t *x = r.of_x + b.first * WINDOW_SLOTS
    cdef int64_t i
    if a.staging == FLAT and r.nz * r.ny == 1 and op.size == op.acc_size:
        folded = r.x + b.left * a.x_col
    else:
        folded = fold_window_rows(a, op, scratch, b, r, 0, r.nz, 0, r.ny)
    folded -= b.left * op.acc_size * a.lanes
    if a.lanes == 1:
        op.fold_runs(dst, folded, x, b.n)
        return
    for i in range(b.n):
        if x[TAPS] > 0:
            op.fold_taps(dst, folded + x[FIRST] * op.acc_size * a.lanes, a.col_of, op.acc_size, x[TAPS], a.lanes, 0)
        else:
            pool_fill(dst, op.identity, op.acc_size, a.lanes)
        x += WINDOW_SLOTS
        dst += op.acc_size * a.lanes


cdef inline void put_pixels(const PoolArgs *a, const PoolOps *op, char *out, const char *src, int64_t pitch,
                              int64_t n) noexcept nogil:
    if a.src_code != a.dtype:
        pool_store(out, a.out_col, a.out_lane, src, a.dtype, pitch, n, a.lanes, a.src_code, 2)
    else:
        pool_move(out, a.out_col, a.out_lane, src, op.size * pitch, op.size, n, a.lanes, op.size)


cdef void pool_block(const PoolArgs *a, const PoolOps *op, char *scratch, const Block *b, const Row *r) noexcept nogil:
    cdef char *out = r.out + b.first * a.out_col
    cdef char *target = out if a.store_direct else scratch + a.stored
    cdef bint divided = op.divide != NULL and a.divisor >= 0
    cdef char *result = scratch + a.result if divided else target
    if a.staging == WINDOWS:
        fold_windows(a, op, result, b, r)
    elif a.stride_x == 0:
        fold_regions(a, op, result, scratch, b, r)
    else:
        op.fold_taps(result, fold_window_rows(a, op, scratch, b, r, 0, r.nz, 0, r.ny), a.col_of, op.acc_size, b.taps,
                     b.n * a.lanes, 0)
    if divided:
        divide_block(a, op, target, result, b, r)
    if not a.store_direct:
        put_pixels(a, op, out, target, a.lanes, b.n)


cdef inline bint same_windows(const PoolArgs *a, const Row *r) noexcept nogil:
    # Whether the windows of a gradient's row have the rows of those of the row before.
    cdef const int64_t *y = r.of_y + r.y * WINDOW_SLOTS
    return (a.weights != NULL and r.y > 0 and y[FIRST] == y[FIRST - WINDOW_SLOTS] and y[TAPS] == y[TAPS - WINDOW_SLOTS])


cdef inline void pool_unit(const PoolArgs *a, const PoolOps *op, int64_t unit, int64_t worker,
                           bint indices) noexcept nogil:
    cdef char *scratch = a.scratch + worker * a.scratch_bytes
    cdef int64_t begin = unit * a.strip, i, row
    cdef int64_t end = min(begin + a.strip, a.batch * a.channels * a.out_depth * a.out_height)
    cdef int64_t blocks = (a.out_width + a.block - 1) // a.block
    cdef Block b = block_at(a, 0)
    cdef Row r = before_rows(a)
    for row in range(begin, end):
        go_to_row(a, &r, row)
        if row > begin and same_windows(a, &r):
            pool_move(r.out, a.out_col, a.out_lane, r.out - a.out_row, a.out_col, a.out_lane, a.out_width, a.lanes,
                      2 if a.src_code > FLOAT64 else op.size)
            continue
        for i in range(blocks):
            if blocks > 1:
                b = block_at(a, i * a.block)
            if indices:
                pool_block_indices(a, op, scratch, &b, &r)
            else:
                pool_block(a, op, scratch, &b, &r)
