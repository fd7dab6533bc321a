# Small windows of planes, folded in registers: all that `pool_unit` does, where nothing has to be staged; maxima with
# their positions, too.

cdef extern from "pooling.h" nogil:
    ctypedef struct PlaneRows:
        const int64_t *windows_y
        int64_t z_step, row_step, x_row, out_row, width, n, taps, pad, stride
        const void *counts
        int64_t flat, height, same
    ctypedef void PoolRows(const PlaneRows *p, char *dst, const char *end, const char *plane, int64_t nz, int64_t tall,
                           int64_t first, int64_t last) noexcept nogil
    PoolRows *pool_rows(const PlaneRows *p, bint average, int64_t size, int64_t divisor)
    ctypedef struct PlaneScan:
        int64_t x_row, out_row, idx_row, height, width, n, rows, taps, stride_y, stride_x, pad_y, pad_x, ahead
    ctypedef void PoolScan(const PlaneScan *p, char *out, char *idx, const char *plane, int64_t base, int64_t begin,
                           int64_t end) noexcept nogil
    PoolScan *pool_scan(const PlaneScan *p, int64_t size)
    ctypedef struct PlaneLanes:
        const char *table
        int64_t size "in"
        int64_t out, taps, x_step, out_step, idx_step, flat
    ctypedef void PoolLanes(const PlaneLanes *p, char *out, const char *end, char *idx, int64_t count,
                            const char *src) noexcept nogil
    PoolLanes *pool_lanes(const PlaneLanes *p, int kind, int64_t size)
    ctypedef struct PlaneLines:
        const int64_t *windows_y
        const char *table
        const double *weights
        int64_t width, n, taps, x_row, out_row, flat, divided
    ctypedef void PoolLines(const PlaneLines *p, char *out, const char *end, const char *plane, double tall, int64_t first,
                            int64_t last) noexcept nogil
    PoolLines *pool_lines(const PlaneLines *p, int kind, int64_t size)
    ctypedef struct NarrowPlanes:
        int64_t height, width, rows, n, kernel, stride, pad, taps, group, planes, x_step, out_step
        const void *table
        float divisor
        int64_t pad_x, fetch
    ctypedef void PoolNarrow(const NarrowPlanes *p, char *out, const char *src, int64_t count) noexcept nogil
    PoolNarrow *pool_narrow(const NarrowPlanes *p, bint average)
    ctypedef struct PixelRows:
        const int64_t *windows_x
        int64_t x_row, x_col, lanes, n, taps, stride, stride_y, whole, n_whole, divisor, fetch, stream
    ctypedef void PoolPixels(const PixelRows *p, char *dst, const char *src, int64_t ny, int64_t counted) noexcept nogil
    PoolPixels *pool_pixels(const PixelRows *p, bint average, int64_t size)
    ctypedef struct PastLines:
        pass
    void past_begin(PastLines *p, char *out)
    char *past_room(PastLines *p, int64_t n)
    void past_flush(PastLines *p, bint last)
    void end_stream()
    enum:
        PAST_BYTES
        AHEAD, LANES_MAX, LANES_AVERAGE, LANES_GRADIENT, LANES_PLACES


cdef inline bint follows(int64_t step, int64_t count, int64_t inner) noexcept nogil:
    # Whether `count` things lie `inner` bytes apart.
    return count == 1 or step == inner


cdef inline bint outputs_follow(const PoolArgs *a, int64_t size) noexcept nogil:
    # Whether all rows of outputs lie one after the other, without gaps.
    cdef int64_t row = a.out_width * size, z = a.out_height * row, c = a.out_depth * z
    return (a.out_col == size and follows(a.out_row, a.out_height, row) and follows(a.out_z, a.out_depth, z)
            and follows(a.out_c, a.channels, c) and follows(a.out_n, a.batch, a.channels * c))


cdef inline bint indices_follow(const PoolArgs *a, int64_t outputs) noexcept nogil:
    # Whether planes of indices, themselves without gaps, lie one after the other.
    return follows(a.idx_c, a.channels, 8 * outputs) and follows(a.idx_n, a.batch, a.channels * 8 * outputs)


cdef void plane_unit(const PoolArgs *a, bint average, int64_t unit) noexcept nogil:
    cdef int64_t row = unit * a.strip, size = 4 if a.dtype == FLOAT32 else 8, plane, z, y, rows
    cdef int64_t last = min(row + a.strip, a.batch * a.channels * a.out_depth * a.out_height)
    cdef PlaneRows p = PlaneRows(<const int64_t *>a.windows_y, a.dilation_z * a.x_z, a.dilation_y * a.x_row, a.x_row,
                                 a.out_row, a.width, a.out_width, a.kernel_x, a.pad_x, a.stride_x, a.col_of, outputs_follow(a, size), a.height, False)
    # Windows of 3x3, one for each element; those of sums that all have the same divisor.
    p.same = (a.rows == a.kernel_x == 3 and a.stride_y == a.stride_x == a.pad_y == a.pad_x == a.dilation_y == 1
              and a.out_height == a.height and a.out_width == a.width)
    cdef PoolRows *fold = pool_rows(&p, average, size, a.divisor)
    cdef const char *end = a.out + last * a.out_width * size
    cdef const int64_t *window
    cdef char *out
    cdef int64_t bytes = a.out_width * size
    cdef PastLines past
    if a.stream:
        past_begin(&past, a.out + row * bytes)
    while row < last:
        plane, y = row // a.out_height, row % a.out_height
        rows = min(a.out_height - y, last - row)
        if a.stream:
            rows = min(rows, max(PAST_BYTES // bytes, 1))
        z, plane = plane % a.out_depth, plane // a.out_depth
        window = <const int64_t *>a.windows_z + z * WINDOW_SLOTS
        out = a.out + plane // a.channels * a.out_n + plane % a.channels * a.out_c + z * a.out_z + y * a.out_row
        if a.stream:
            out = past_room(&past, rows * bytes)
            end = out + rows * bytes
        fold(&p, out, end,
             a.x + plane // a.channels * a.x_n + plane % a.channels * a.x_c + window[FIRST] * a.x_z, window[TAPS],
             a.divisor if a.divisor > 0 else window[COUNTED], y, y + rows)
        row += rows
        if a.stream:
            past_flush(&past, row == last)


cdef struct PlaneAt:
    int64_t n, c, z, y  # the next row of outputs


cdef inline PlaneAt plane_at(const PoolArgs *a, int64_t row) noexcept nogil:
    cdef int64_t plane = row // a.out_height, channel = plane // a.out_depth
    return PlaneAt(channel // a.channels, channel % a.channels, plane % a.out_depth, row % a.out_height)


cdef inline void next_plane(const PoolArgs *a, PlaneAt *at) noexcept nogil:
    at.y = 0
    at.z += 1
    if at.z == a.out_depth:
        at.z = 0
        at.c += 1
        if at.c == a.channels:
            at.c = 0
            at.n += 1


cdef void pixels_unit(const PoolArgs *a, bint average, int64_t unit) noexcept nogil:
    # Pixels with many channels; windows have one plane.
    cdef int64_t size = 4 if a.dtype == FLOAT32 else 8, row, whole = 0, n = 0
    cdef int64_t all_rows = a.batch * a.out_depth * a.out_height, first = unit * a.strip
    cdef const int64_t *x = <const int64_t *>a.windows_x
    cdef const int64_t *y
    cdef const int64_t *z
    while whole < a.out_width and x[whole * WINDOW_SLOTS + TAPS] < a.kernel_x:
        whole += 1
    while (whole + n < a.out_width and x[(whole + n) * WINDOW_SLOTS + TAPS] == a.kernel_x
           and x[(whole + n) * WINDOW_SLOTS + COUNTED] == x[whole * WINDOW_SLOTS + COUNTED]):
        n += 1
    cdef PixelRows p = PixelRows(x, a.x_row, a.x_col, a.lanes, a.out_width, a.kernel_x, a.stride_x, a.stride_y, whole, n,
                                 a.divisor, a.rows * a.x_row,
                                 a.stream and <int64_t>a.out % 64 == 0)
    cdef PoolPixels *pool = pool_pixels(&p, average, size)
    cdef PlaneAt at = plane_at(a, first)
    for row in range(first, min(first + a.strip, all_rows)):
        if at.y == a.out_height:
            next_plane(a, &at)
        y = <const int64_t *>a.windows_y + at.y * WINDOW_SLOTS
        z = <const int64_t *>a.windows_z + at.z * WINDOW_SLOTS
        pool(&p, a.out + at.n * a.out_n + at.z * a.out_z + at.y * a.out_row,
             a.x + at.n * a.x_n + z[FIRST] * a.x_z + y[FIRST] * a.x_row, y[TAPS], y[COUNTED] * z[COUNTED])
        at.y += 1
    if a.stream:
        end_stream()


cdef void scan_unit(const PoolArgs *a, int64_t unit) noexcept nogil:
    # Maxima and their positions; windows have one plane.
    cdef int64_t size = 4 if a.dtype == FLOAT32 else 8, first, rows, bytes = max(a.x_row * a.height, 1)
    cdef int64_t left = min(a.strip, a.batch * a.channels * a.out_depth * a.out_height - unit * a.strip)
    cdef PlaneScan p = PlaneScan(a.x_row, a.out_row, a.idx_row, a.height, a.width, a.out_width, a.rows, a.kernel_x,
                                 a.stride_y, a.stride_x, a.pad_y, a.pad_x, (AHEAD + bytes - 1) // bytes * bytes)
    cdef PoolScan *scan = pool_scan(&p, size)
    cdef PlaneAt at = plane_at(a, unit * a.strip)
    while left > 0:
        rows = min(a.out_height - at.y, left)
        first = (<const int64_t *>a.windows_z)[at.z * WINDOW_SLOTS + FIRST]
        scan(&p, a.out + at.n * a.out_n + at.c * a.out_c + at.z * a.out_z + at.y * a.out_row,
             a.idx + at.n * a.idx_n + at.c * a.idx_c + at.z * a.idx_z + at.y * a.idx_row,
             a.x + at.n * a.x_n + at.c * a.x_c + first * a.x_z, first * a.height * a.width, at.y, at.y + rows)
        next_plane(a, &at)
        left -= rows


cdef void lanes_unit(const PoolArgs *a, int kind, int64_t unit) noexcept nogil:
    # Planes that fit into registers; a unit has whole planes.
    cdef int64_t size = 4 if a.dtype == FLOAT32 else 8, rows = a.out_depth * a.out_height, outputs = rows * a.out_width
    cdef int64_t plane = unit * a.strip // rows, last = min(plane + a.strip // rows, a.batch * a.channels), n, c, count
    cdef bint flat = outputs_follow(a, size) and (kind != LANES_PLACES or indices_follow(a, outputs))
    cdef PlaneLanes p = PlaneLanes(<const char *>a.col_of, a.block, outputs, a.phase, a.x_c, a.out_c, a.idx_c, flat)
    cdef PoolLanes *pool = pool_lanes(&p, kind, size)
    cdef const char *end = a.out + last * outputs * size
    cdef char *out
    while plane < last:
        n, c = plane // a.channels, plane % a.channels
        count = min(a.channels - c, last - plane)
        out = a.out + n * a.out_n + c * a.out_c
        pool(&p, out, end if p.flat else out + outputs * size, a.idx + n * a.idx_n + c * a.idx_c, count,
             a.x + n * a.x_n + c * a.x_c)
        plane += count


cdef enum:
    FETCHED = 1 << 19  # elements that the second caches do not hold: in them, calling for lines took half of the time


cdef void narrow_unit(const PoolArgs *a, bint average, int64_t unit) noexcept nogil:
    # Planes whose rows are narrow; a unit has whole planes.
    cdef int64_t plane = unit * a.strip // a.out_height, last = min(plane + a.strip // a.out_height, a.batch * a.channels)
    cdef int64_t n, c, count
    cdef NarrowPlanes p = NarrowPlanes(a.height, a.width, a.out_height, a.out_width, a.rows, a.stride_y, a.pad_y, a.kernel_x,
                                       a.phase, a.block, a.x_c, a.out_c, <const void *>a.col_of,
                                       a.divisor, a.pad_x,
                                       a.batch * a.channels * (a.height * a.width + a.out_height * a.out_width) > FETCHED)
    cdef PoolNarrow *pool = pool_narrow(&p, average)
    cdef bint follow = follows(a.x_n, a.batch, a.channels * a.x_c) and follows(a.out_n, a.batch, a.channels * a.out_c)
    if a.channels == 1:  # images are planes
        p.x_step, p.out_step, follow = a.x_n, a.out_n, True
    while plane < last:
        n, c = plane // a.channels, plane % a.channels
        count = last - plane if follow else min(a.channels - c, last - plane)
        pool(&p, a.out + n * a.out_n + c * a.out_c, a.x + n * a.x_n + c * a.x_c, count)
        plane += count


cdef void pool_lines_unit(const PoolArgs *a, int kind, int64_t unit) noexcept nogil:
    # Rows that fit into registers; windows have one plane.
    cdef int64_t size = 4 if a.dtype == FLOAT32 else 8, rows
    cdef int64_t all_rows = a.batch * a.channels * a.out_depth * a.out_height, left = min(a.strip, all_rows - unit * a.strip)
    cdef PlaneLines p = PlaneLines(<const int64_t *>a.windows_y, <const char *>a.col_of, a.weights, a.width, a.out_width,
                                   a.phase, a.x_row, a.out_row, outputs_follow(a, size), a.divisor > 0)
    cdef PoolLines *pool = pool_lines(&p, kind, size)
    cdef const char *end = a.out + (unit * a.strip + left) * a.out_width * size
    cdef PlaneAt at = plane_at(a, unit * a.strip)
    cdef const int64_t *window
    cdef double tall
    while left > 0:
        rows = min(a.out_height - at.y, left)
        window = <const int64_t *>a.windows_z + at.z * WINDOW_SLOTS
        tall = 1
        if kind == LANES_GRADIENT:
            tall = a.weights[a.height + a.width + window[FIRST]]
        elif a.divisor <= 0:
            tall = window[COUNTED]
        pool(&p, a.out + at.n * a.out_n + at.c * a.out_c + at.z * a.out_z + at.y * a.out_row, end,
             a.x + at.n * a.x_n + at.c * a.x_c + window[FIRST] * a.x_z, tall, at.y, at.y + rows)
        next_plane(a, &at)
        left -= rows
