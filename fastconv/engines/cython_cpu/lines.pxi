# Lines of bytes, down the columns and along the rows: see fastconv.algorithms.lines.
#
# A unit is a strip of rows and a span of columns of one output plane.  The rows that a line down reads go around in
# scratch memory, `kernel_y` of them, each continued beyond its ends by the edge map: in the image, rows whose
# lengths are powers of two would drive each other out of the first cache.  Each row of the output is filtered down into
# another one there, and that across into the output.

from libc.string cimport memcpy, memset

cdef extern from "bytes_line.h" nogil:
    enum: LANES
    enum: MOST_TAPS
    struct bytes_line:
        pass
    void prepare_line(bytes_line *k, const double *w, int64_t taps)
    void correlate_bytes(const bytes_line *k, const uint8_t **tap, int64_t n, uint8_t *out)

cdef struct LinesArgs:
    Geometry g
    const int64_t *src_planes
    const int64_t *out_planes
    int64_t down, across
    int64_t strip, n_strips
    int64_t span, n_spans
    int64_t pitch


cdef inline void gather_bytes(uint8_t *dst, const char *row, int64_t step, int64_t n) noexcept nogil:
    cdef int64_t i
    if step == 1:
        memcpy(dst, row, n)
        return
    for i in range(n):
        dst[i] = <uint8_t>row[i * step]


cdef inline void beyond_bytes(const Geometry *g, uint8_t *dst, const char *row, const int64_t *columns, int64_t n, uint8_t fill) noexcept nogil:
    # Positions beyond an end of a row (NULL: of fill values), by their entries in the edge map.
    cdef int64_t i
    for i in range(n):
        dst[i] = fill if row == NULL or columns[i] < 0 else <uint8_t>row[columns[i] * g.x_col]


cdef void stage_bytes(const Geometry *g, uint8_t *dst, const char *row, int64_t left, int64_t n, uint8_t fill) noexcept nogil:
    # n columns of a row from position `left` on.
    cdef int64_t before = min(max(-left, <int64_t>0), n), inside = min(max(g.width - left, <int64_t>0), n) - before
    if row == NULL:
        memset(dst, fill, n)
        return
    beyond_bytes(g, dst, row, g.map_x + left + g.pad_x, before, fill)
    gather_bytes(dst + before, row + (left + before) * g.x_col, g.x_col, inside)
    left += before + inside
    beyond_bytes(g, dst + before + inside, row, g.map_x + g.pad_x + left - g.width, n - before - inside, fill)


cdef inline void fill_beyond(const Geometry *g, uint8_t *dst, int64_t left, int64_t n, uint8_t fill) noexcept nogil:
    # What a first pass leaves beyond the border is the fill value again, where that continues the image.
    cdef int64_t i
    for i in range(min(-left, n)):
        if g.map_x[left + g.pad_x + i] < 0:
            dst[i] = fill
    for i in range(max(g.width - left, <int64_t>0), n):
        if g.map_x[g.pad_x + left + i - g.width] < 0:
            dst[i] = fill


cdef void lines_unit(const LinesArgs *a, int64_t unit, uint8_t *scratch) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef int64_t plane = unit // (a.n_spans * a.n_strips), x = unit % a.n_spans * a.span, i, j
    cdef int64_t y = unit // a.n_spans % a.n_strips * a.strip, rows = min(a.strip, g.out_height - y)
    cdef int64_t n = min(a.span, g.out_width - x), left = x - g.pad_x, wide = n + (g.kernel_x - 1) * g.dilation_x
    cdef int64_t whole = (wide + LANES - 1) // LANES * LANES
    cdef uint8_t fill = <uint8_t>(<const double *>g.fill)[0]
    cdef uint8_t *middle = scratch + g.kernel_y * a.pitch
    cdef uint8_t *result = middle + a.pitch
    cdef uint8_t *target
    cdef const uint8_t *around[2 * MOST_TAPS]
    cdef const uint8_t *columns[MOST_TAPS]
    cdef const char *source = g.x + a.src_planes[plane]
    cdef char *out = g.out + a.out_planes[plane] + y * g.out_row + x * g.out_col
    cdef bint direct = g.out_col == 1 and n >= LANES
    cdef bytes_line down, across
    if a.down:
        prepare_line(&down, <const double *>g.w, g.kernel_y)
    if a.across:
        prepare_line(&across, <const double *>g.w + (g.kernel_y if a.down else 0), g.kernel_x)
    for i in range(2 * g.kernel_y):
        around[i] = scratch + i % g.kernel_y * a.pitch
    for i in range(g.kernel_x):
        columns[i] = (middle if a.down else scratch) + i * g.dilation_x
    for i in range(1 - g.kernel_y, rows):
        j = y + i + g.kernel_y - 1
        stage_bytes(g, scratch + (i + g.kernel_y - 1) % g.kernel_y * a.pitch, source_row(g, source, j - g.pad_y), left, wide, fill)
        if i < 0:
            continue
        target = <uint8_t *>out if direct else result
        if a.down:
            correlate_bytes(&down, around + i % g.kernel_y, whole if a.across or not direct else n,
                            middle if a.across else target)
        if a.across:
            if a.down:
                fill_beyond(g, middle, left, wide, fill)
            correlate_bytes(&across, columns, n if direct else whole, target)
        if not direct:
            for j in range(n):
                out[j * g.out_col] = <char>result[j]
        out += g.out_row


cdef void lines_u8(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const LinesArgs *a = <const LinesArgs *>args
    lines_unit(a, unit, <uint8_t *>(a.g.scratch + worker * a.g.scratch_bytes))
