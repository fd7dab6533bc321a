# Lines of bytes, down the columns and along the rows: see fastconv.algorithms.lines.
#
# A unit is a strip of rows and a span of columns of one output plane.  The rows that lines down read go around in
# scratch memory, each continued beyond its ends by the edge map: in the image, rows whose lengths are powers of
# two would drive each other out of the first cache.  A batch of rows of the output is filtered down into other rows
# there, and those across into the output.

from libc.string cimport memcpy, memset

cdef extern from "bytes_line.h" nogil:
    enum: LANES
    enum: MOST_TAPS
    enum: MOST_ROWS
    struct bytes_line:
        pass
    const bytes_line *line_of(const double *w, int64_t taps, int slot)
    void correlate_bytes(const bytes_line *k, const uint8_t **tap, int64_t down, int64_t across, int64_t rows,
                         int64_t n, uint8_t *out, int64_t step)

cdef struct LinesArgs:
    Geometry g
    const int64_t *src_planes
    const int64_t *out_planes
    int64_t down, across
    int64_t strip, n_strips
    int64_t span, n_spans
    int64_t pitch, batch


cdef inline void gather_bytes(uint8_t *dst, const char *row, int64_t step, int64_t n) noexcept nogil:
    cdef int64_t i
    if step == 1:
        memcpy(dst, row, n)
        return
    for i in range(n):
        dst[i] = <uint8_t>row[i * step]


cdef inline void scatter_bytes(char *dst, int64_t step, const uint8_t *row, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        dst[i * step] = <char>row[i]


cdef inline void beyond_bytes(const Geometry *g, uint8_t *dst, const char *row, const int64_t *columns, int64_t n,
                              uint8_t fill) noexcept nogil:
    # Positions beyond an end of a row (NULL: of fill values), by their entries in the edge map.
    cdef int64_t i
    for i in range(n):
        dst[i] = fill if row == NULL or columns[i] < 0 else <uint8_t>row[columns[i] * g.x_col]


cdef void stage_bytes(const Geometry *g, uint8_t *dst, const char *row, int64_t left, int64_t n,
                      uint8_t fill) noexcept nogil:
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


cdef inline void call_for_rows(const Geometry *g, const char *source, int64_t y, int64_t rows, int64_t left,
                               int64_t n) noexcept nogil:
    # Rows that are staged next: 8192x8192 with 5 taps in 0.9 of the time, 2048x2048 in 0.85.
    cdef int64_t i, j
    for j in range(max(y, <int64_t>0), min(y + rows, g.height)):
        for i in range(max(left, <int64_t>0), min(left + n, g.width), 64):
            prefetch(source + j * g.x_row + i * g.x_col)


cdef void lines_unit(const LinesArgs *a, int64_t unit, uint8_t *ring) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef int64_t plane = unit // (a.n_spans * a.n_strips), x = unit % a.n_spans * a.span, i, j, height, staged = 0
    cdef int64_t y = unit // a.n_spans % a.n_strips * a.strip, rows = min(a.strip, g.out_height - y)
    cdef int64_t n = min(a.span, g.out_width - x), left = x - g.pad_x, wide = n + (g.kernel_x - 1) * g.dilation_x
    cdef int64_t whole = (wide + LANES - 1) // LANES * LANES, slots = g.kernel_y + a.batch - 1
    cdef uint8_t fill = <uint8_t>(<const double *>g.fill)[0]
    cdef uint8_t *middle = ring + slots * a.pitch if a.down else ring
    cdef uint8_t *result = ring + (slots + a.batch) * a.pitch
    cdef const uint8_t *around[2 * (MOST_TAPS + MOST_ROWS)]
    cdef const uint8_t *columns[MOST_TAPS]
    cdef const char *source = g.x + a.src_planes[plane]
    cdef char *out = g.out + a.out_planes[plane] + y * g.out_row + x * g.out_col
    cdef bint direct = g.out_col == 1 and n >= LANES
    cdef int64_t step = g.out_row if direct else a.pitch, stored = n if direct else whole
    cdef const bytes_line *down = line_of(<const double *>g.w, g.kernel_y, 0) if a.down else NULL
    cdef const bytes_line *across = NULL
    if a.across:
        across = line_of(<const double *>g.w + (g.kernel_y if a.down else 0), g.kernel_x, 1)
    for i in range(2 * slots):
        around[i] = ring + i % slots * a.pitch
    for i in range(g.kernel_x):
        columns[i] = middle + i * g.dilation_x
    for i in range((rows + a.batch - 1) // a.batch):
        height = min(a.batch, rows - i * a.batch)
        while staged < i * a.batch + height + g.kernel_y - 1:
            stage_bytes(g, <uint8_t *>around[staged % slots], source_row(g, source, y + staged - g.pad_y), left, wide,
                        fill)
            staged += 1
        if g.x_col == 1:
            call_for_rows(g, source, y + staged - g.pad_y, a.batch, left, wide)
        if direct:
            result = <uint8_t *>out
        if a.down:
            correlate_bytes(down, around + i * a.batch % slots, 1, 0, height, whole if a.across else stored,
                            middle if a.across else result, a.pitch if a.across else step)
        if a.across:
            if a.down:
                for j in range(height):
                    fill_beyond(g, middle + j * a.pitch, left, wide, fill)
            correlate_bytes(across, columns, 0, a.pitch, height, stored, result, step)
        if not direct:
            for j in range(height):
                scatter_bytes(out + j * g.out_row, g.out_col, result + j * a.pitch, n)
        out += height * g.out_row


cdef void lines_u8(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const LinesArgs *a = <const LinesArgs *>args
    lines_unit(a, unit, <uint8_t *>(a.g.scratch + worker * a.g.scratch_bytes))
