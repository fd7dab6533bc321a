# A pass down, a pass across, or one after the other: see fastconv.algorithms.separable.
#
# A unit is a strip of rows and a span of columns of one output plane.  Of each block of it, columns first, rows are
# filtered down into `middle`, whose column 0 stands at position x - pad_x of the image, and from there across.
# Where there is nothing to do down, rows are staged there; where there is nothing to do across, tiles write the
# output itself.  Tiles are whole: the last one of a row overlaps its neighbour, or ends in room that is there for it.

cdef enum:  # COMBINATIONS of fastconv.engines.contract
    ADD = 2
    CROSS = 4


cdef struct SeparableArgs:
    Geometry g
    const int64_t *src_planes
    const int64_t *out_planes
    int64_t in_place, store_direct
    int64_t patch_rows, patch_cols
    int64_t strip, n_strips
    int64_t span, n_spans
    int64_t pitch
    const int64_t *col_of
    int64_t ahead
    int64_t combined
    int64_t continued


cdef enum:
    STREAMS = 2  # the output is larger than the caches, and its rows are written past them


cdef void tiles_down(const SeparableArgs *a, const acc_t *src, int64_t pitch, acc_t *dst, int64_t step, int64_t n,
                     int64_t rows, bint ahead) noexcept nogil:
    # Filter `n` columns down, at least a tile's width unless there is room for one; `ahead`, call for the memory of
    # the rows that follow.  The second tile begins at a cache line of the source: no load crosses one then, and of rows
    # 4096 bytes apart, which share a few places in the first cache, each line is needed once (1024x1024 float32,
    # as NumPy places it, 9 taps: 16 cycles for a vector rather than 22, 33 taps: 34 rather than 47).
    cdef int64_t width = tile_cols(src), line = 64 // <int64_t>sizeof(acc_t), i, j, k, at
    cdef int64_t lead = (-<int64_t><uintptr_t>src & 63) // <int64_t>sizeof(acc_t) % width
    cdef const acc_t *next = src + (rows + a.g.kernel_y - 1) * pitch
    for j in range((rows + TILE_ROWS - 1) // TILE_ROWS):
        i = 0
        while i < n:
            at = max(min(i, n - width), <int64_t>0)
            i = lead if i == 0 and lead > 0 else i + width
            if ahead:
                for k in range(TILE_ROWS * width // line):
                    prefetch(next + k % TILE_ROWS * pitch + at + k // TILE_ROWS * line, 0)
                    if a.g.kernel_x == 1:
                        prefetch(dst + (rows + k % TILE_ROWS) * step + at + k // TILE_ROWS * line, 1)
            tiles(src + at, pitch, pitch, a.col_of, <const acc_t *>a.g.w, a.g.kernel_y, <int64_t>1, dst + at, step, False,
                  <acc_t>0, <int64_t>1)
        src += TILE_ROWS * pitch
        dst += TILE_ROWS * step


cdef void stage_strip(const SeparableArgs *a, acc_t *patch, const char *plane, int64_t y, int64_t rows, int64_t first,
                        int64_t n) noexcept nogil:
    # What `rows` rows of the output read in n columns from `first`; tiles down read no others that are not cleared, for these
    # may be denormal: see `clear_rest` of the filter.
    cdef int64_t window = rows + a.g.kernel_y - 1, wide = max(n, tile_cols(patch)), j
    stage_rows(&a.g, patch, a.pitch, plane, (<const acc_t *>a.g.fill)[0], y - a.g.pad_y, window, first, n)
    if a.g.kernel_y == 1:
        return
    for j in range(window if n < wide else 0):
        memset(patch + j * a.pitch + n, 0, (wide - n) * sizeof(acc_t))
    for j in range(window, window + (TILE_ROWS - rows % TILE_ROWS) % TILE_ROWS):
        memset(patch + j * a.pitch, 0, wide * sizeof(acc_t))


cdef void columns_down(const SeparableArgs *a, acc_t *dst, int64_t step, acc_t *patch, const char *plane, int64_t y,
                       int64_t first, int64_t n, int64_t rows) noexcept nogil:
    # Filter `n` columns of the image, from column `first`, down into `dst`.
    cdef const Geometry *g = &a.g
    cdef const acc_t *src = patch
    cdef int64_t top = y - g.pad_y, pitch = a.pitch
    cdef bint ahead = False
    if n <= 0:
        return
    if a.in_place and n >= tile_cols(patch) and top >= 0 and top + a.patch_rows + g.kernel_y - 1 <= g.height:
        src = <const acc_t *>(plane + top * g.x_row) + first
        pitch = g.x_row // <int64_t>sizeof(acc_t)
        ahead = a.ahead and (g.kernel_x == 1 or a.combined == CROSS)
    else:
        stage_strip(a, patch, plane, y, rows, first, n)
    tiles_down(a, src, pitch, dst, step, n, rows, ahead)


cdef void edge_columns(const SeparableArgs *a, acc_t *middle, acc_t *staged, acc_t *patch, const char *plane, int64_t y,
                       int64_t rows, int64_t left, int64_t begin, int64_t end, int64_t first, int64_t last) noexcept nogil:
    # Columns begin..end of `middle`, which lie beyond the border: from its columns first..last, or made for themselves.
    cdef const acc_t *src = patch
    cdef acc_t beyond = (<const acc_t *>a.g.fill)[0] if a.continued else 0
    cdef int64_t j, i, column
    cdef bint elsewhere = False
    for j in range(0 if a.continued else a.g.kernel_y):
        beyond += (<const acc_t *>a.g.w)[j] * (<const acc_t *>a.g.fill)[0]
    for i in range(begin, end):
        column = mapped(a.g.map_x, left + i, a.g.width, a.g.pad_x)
        if column < 0:
            for j in range(rows):
                middle[j * a.pitch + i] = beyond
        elif first <= column - left < last:
            for j in range(rows):
                middle[j * a.pitch + i] = middle[j * a.pitch + column - left]
        else:
            elsewhere = True
    if elsewhere:
        stage_strip(a, patch, plane, y, rows, left + begin, end - begin)
        tiles_down(a, src, a.pitch, staged, a.pitch, end - begin, rows, False)
        for j in range(rows):
            for i in range(begin, end):
                middle[j * a.pitch + i] = staged[j * a.pitch + i - begin]


cdef void store_row(const SeparableArgs *a, acc_t *sums, acc_t *room, char *out, int64_t n) noexcept nogil:
    # A row of the output from its sums, in scratch memory as `room` is.
    cdef const Geometry *g = &a.g
    cdef const acc_t *src = sums
    if a.combined and a.store_direct:
        combine(<acc_t *>out, src, n, a.combined)
        return
    if a.combined:
        stage_run(room, <const char *>out, g.out_col, n, g.out_code)
        combine(room, src, n, a.combined)
        src = room
    store_run(src, out, g.out_col, n, g.out_code)


cdef void row_across(const SeparableArgs *a, acc_t *middle, acc_t *staged, const char *plane, char *out, int64_t y,
                     int64_t x, int64_t n) noexcept nogil:
    # The output's row y, n columns from x, of a row of `middle`, which may be overwritten.
    cdef const Geometry *g = &a.g
    cdef const acc_t *weights = <const acc_t *>g.w + g.kernel_y
    cdef const acc_t *next = NULL
    cdef const acc_t *below = NULL
    cdef const acc_t *src = middle
    cdef acc_t *dst = <acc_t *>out
    cdef int64_t lanes = line_cols(src) // LINE_COLS, reach = (g.kernel_x - 1) * g.dilation_x
    if n < lanes:
        memset(middle + n + reach, 0, (lanes - n) * sizeof(acc_t))
    if a.ahead:
        next = <const acc_t *>(plane + (y - g.pad_y + a.patch_rows + g.kernel_y - 1) * g.x_row + max(x - g.pad_x, <int64_t>0) * g.x_col)
        below = <const acc_t *>(out + g.out_row) if a.ahead != STREAMS else NULL
    if a.store_direct and n >= lanes and not a.combined:
        across(src, g.dilation_x, weights, g.kernel_x, dst, n, next, below, a.ahead == STREAMS)
    else:
        across(src, g.dilation_x, weights, g.kernel_x, staged, max(n, lanes), next, below, <bint>False)
        store_row(a, staged, middle, out, n)


cdef void crossed_block(const SeparableArgs *a, acc_t *patch, acc_t *middle, acc_t *staged, const char *plane, char *out,
                        int64_t y, int64_t x, int64_t rows, int64_t n) noexcept nogil:
    # The sums of `n` columns down, and of the rows across, added.
    cdef const Geometry *g = &a.g
    cdef const acc_t *src = staged
    cdef const acc_t *sums = middle
    cdef const acc_t *next = NULL
    cdef const acc_t *below = NULL
    cdef int64_t j, lanes = line_cols(src) // LINE_COLS, width = n + (g.kernel_x - 1) * g.dilation_x
    cdef bint direct = a.store_direct and n >= lanes
    cdef acc_t *dst
    columns_down(a, middle, a.pitch, patch, plane, y, x, n, rows)
    for j in range(rows):
        sums = middle + j * a.pitch
        dst = <acc_t *>(out + j * g.out_row) if direct else patch
        if a.ahead and direct:
            below = dst + g.out_row // <int64_t>sizeof(acc_t)
        stage_row(g, staged, source_row(g, plane, y + j), (<const acc_t *>g.fill)[0], x - g.pad_x, width)
        if n < lanes:
            memset(staged + width, 0, (lanes - n) * sizeof(acc_t))
        across(src, g.dilation_x, <const acc_t *>g.w + g.kernel_y, g.kernel_x, dst, max(n, lanes), next, below, <bint>False)
        combine(dst, sums, n, ADD)
        if not direct:
            sums = patch
            store_run(sums, out + j * g.out_row, g.out_col, n, g.out_code)


cdef void separable_block(const SeparableArgs *a, acc_t *patch, const char *plane, char *out, int64_t y, int64_t x,
                          int64_t rows, int64_t n) noexcept nogil:
    # Output rows y.. and columns x.. of a plane.
    cdef const Geometry *g = &a.g
    cdef int64_t window_rows = a.patch_rows + g.kernel_y - 1 if g.kernel_y > 1 else 0, left = x - g.pad_x, j
    cdef int64_t width = n + (g.kernel_x - 1) * g.dilation_x
    cdef int64_t first = min(max(-left, <int64_t>0), width), last = max(first, min(width, g.width - left))
    cdef acc_t *middle = patch + window_rows * a.pitch
    cdef acc_t *staged = middle + a.patch_rows * a.pitch
    out += y * g.out_row + x * g.out_col
    if a.combined == CROSS:
        crossed_block(a, patch, middle, staged, plane, out, y, x, rows, n)
        return
    if g.kernel_x == 1 and a.store_direct and not a.combined and rows == a.patch_rows and n >= tile_cols(patch):
        columns_down(a, <acc_t *>out, g.out_row // <int64_t>sizeof(acc_t), patch, plane, y, x, n, rows)
        return
    if g.kernel_y == 1:
        stage_strip(a, middle, plane, y, rows, left, width)
    else:
        columns_down(a, middle + first, a.pitch, patch, plane, y, left + first, last - first, rows)
        edge_columns(a, middle, staged, patch, plane, y, rows, left, <int64_t>0, first, first, last)
        edge_columns(a, middle, staged, patch, plane, y, rows, left, last, width, first, last)
    for j in range(rows):
        if g.kernel_x == 1:
            store_row(a, middle + j * a.pitch, staged, out + j * g.out_row, n)
        else:
            row_across(a, middle + j * a.pitch, staged, plane, out + j * g.out_row, y + j, x, n)


cdef void separable_unit(const SeparableArgs *a, int64_t unit, acc_t *patch) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef int64_t part = unit % (a.n_strips * a.n_spans), out_plane = unit // (a.n_strips * a.n_spans), x, y
    cdef int64_t first_row = part // a.n_spans * a.strip, end_row = min(g.out_height, first_row + a.strip)
    cdef int64_t end_col = min(g.out_width, (part % a.n_spans + 1) * a.span)
    x = part % a.n_spans * a.span
    while x < end_col:
        y = first_row
        while y < end_row:
            separable_block(a, patch, g.x + a.src_planes[out_plane], g.out + a.out_planes[out_plane], y, x,
                            min(a.patch_rows, end_row - y), min(a.patch_cols, end_col - x))
            y += a.patch_rows
        x += a.patch_cols
    if a.ahead == STREAMS:
        end_stream()


cdef void separable_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const SeparableArgs *a = <const SeparableArgs *>args
    separable_unit(a, unit, <float *>(a.g.scratch + worker * a.g.scratch_bytes))


cdef void separable_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const SeparableArgs *a = <const SeparableArgs *>args
    separable_unit(a, unit, <double *>(a.g.scratch + worker * a.g.scratch_bytes))
