# A pass down and a pass across: see fastconv.algorithms.separable.
#
# A unit is a strip of rows of one output plane.  Of each block of it, columns first, rows are filtered down
# into `middle`, whose column 0 stands at position x - pad_x of the image, and from there across.  Tiles are
# whole: the last one of a row overlaps its neighbour, or ends in room that is there for it.

cdef struct SeparableArgs:
    Geometry g
    const int64_t *src_planes
    const int64_t *out_planes
    int64_t in_place, store_direct
    int64_t patch_rows, patch_cols
    int64_t strip, n_strips
    int64_t pitch
    const int64_t *col_of


cdef void tiles_down(const SeparableArgs *a, acc_t *middle, acc_t *patch, const char *plane, int64_t y, int64_t first,
                     int64_t n, int64_t rows) noexcept nogil:
    # Filter `n` columns of the image, from column `first`, down into `middle`.
    cdef const Geometry *g = &a.g
    cdef const acc_t *src = patch
    cdef const acc_t *weights = <const acc_t *>g.w
    cdef int64_t j, pitch = a.pitch, width = tile_cols(patch), top = y - g.pad_y, whole = (n + width - 1) // width
    if a.in_place and n >= width and top >= 0 and top + a.patch_rows + g.kernel_y - 1 <= g.height:
        src = <const acc_t *>(plane + top * g.x_row) + first
        pitch = g.x_row // <int64_t>sizeof(acc_t)
        whole = n // width
    else:
        for j in range(rows + g.kernel_y - 1):
            stage_row(g, patch + j * a.pitch, source_row(g, plane, top + j), (<const acc_t *>g.fill)[0], first, n)
    for j in range((rows + TILE_ROWS - 1) // TILE_ROWS):
        tiles(src, pitch, pitch, a.col_of, weights, g.kernel_y, <int64_t>1, middle, a.pitch, False, <acc_t>0, whole)
        if whole * width < n:
            tiles(src + n - width, pitch, pitch, a.col_of, weights, g.kernel_y, <int64_t>1, middle + n - width, a.pitch,
                  False, <acc_t>0, <int64_t>1)
        src += TILE_ROWS * pitch
        middle += TILE_ROWS * a.pitch


cdef acc_t one_down(const SeparableArgs *a, const acc_t *like, const char *plane, int64_t y, int64_t column) noexcept nogil:
    # One element of the first pass (`like` tells its type).
    cdef const Geometry *g = &a.g
    cdef const char *row
    cdef acc_t total = 0, value
    cdef int64_t k
    for k in range(g.kernel_y):
        row = source_row(g, plane, y - g.pad_y + k)
        value = (<const acc_t *>g.fill)[0]
        if row != NULL and column >= 0:
            stage_run(&value, row + column * g.x_col, g.x_col, <int64_t>1, g.src_code)
        total += (<const acc_t *>g.w)[k] * value
    return total


cdef void edge_columns(const SeparableArgs *a, acc_t *middle, const char *plane, int64_t y, int64_t rows, int64_t left,
                       int64_t begin, int64_t end, int64_t first, int64_t last) noexcept nogil:
    # Columns begin..end of `middle`, which lie beyond the border, from its columns first..last, where it has them.
    cdef int64_t j, i, column
    for i in range(begin, end):
        column = mapped(a.g.map_x, left + i, a.g.width, a.g.pad_x)
        for j in range(rows):
            if column >= 0 and first <= column - left < last:
                middle[j * a.pitch + i] = middle[j * a.pitch + column - left]
            else:
                middle[j * a.pitch + i] = one_down(a, middle, plane, y + j, column)


cdef inline void tiles_across(const SeparableArgs *a, const acc_t *src, const acc_t *weights, acc_t *dst, int64_t step,
                              int64_t n) noexcept nogil:
    cdef int64_t width = tile_cols(src), whole = max(n // width, <int64_t>1)
    tiles(src, a.pitch, a.pitch, a.col_of, weights, <int64_t>1, a.g.kernel_x, dst, step, False, <acc_t>0, whole)
    if whole * width < n:
        tiles(src + n - width, a.pitch, a.pitch, a.col_of, weights, <int64_t>1, a.g.kernel_x, dst + n - width, step, False,
              <acc_t>0, <int64_t>1)


cdef void separable_unit(const SeparableArgs *a, int64_t unit, acc_t *patch) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef int64_t out_plane = unit // a.n_strips, width = tile_cols(patch), x = 0, y, i, j, n, rows, left, first, last, step
    cdef int64_t first_row = unit % a.n_strips * a.strip, end_row = min(g.out_height, first_row + a.strip)
    cdef const char *plane = g.x + a.src_planes[out_plane]
    cdef char *out
    cdef acc_t *middle = patch + (a.patch_rows + g.kernel_y - 1) * a.pitch
    cdef acc_t *staged = middle + a.patch_rows * a.pitch
    cdef acc_t *dst
    cdef const acc_t *across = <const acc_t *>g.w + g.kernel_y
    while x < g.out_width:
        n = min(a.patch_cols, g.out_width - x)
        left = x - g.pad_x
        first = min(max(-left, <int64_t>0), n + g.kernel_x - 1)
        last = max(first, min(n + g.kernel_x - 1, g.width - left))
        for i in range((end_row - first_row + a.patch_rows - 1) // a.patch_rows):
            y = first_row + i * a.patch_rows
            rows = min(a.patch_rows, end_row - y)
            tiles_down(a, middle + first, patch, plane, y, left + first, last - first, rows)
            edge_columns(a, middle, plane, y, rows, left, <int64_t>0, first, first, last)
            edge_columns(a, middle, plane, y, rows, left, last, n + g.kernel_x - 1, first, last)
            out = g.out + a.out_planes[out_plane] + y * g.out_row + x * g.out_col
            dst, step = staged, a.pitch
            if a.store_direct and rows == a.patch_rows and n >= width:
                dst, step = <acc_t *>out, g.out_row // <int64_t>sizeof(acc_t)
            for j in range((rows + TILE_ROWS - 1) // TILE_ROWS):
                tiles_across(a, middle + j * TILE_ROWS * a.pitch, across, dst + j * TILE_ROWS * step, step, n)
            if dst == staged:
                for j in range(rows):
                    store_run(<const acc_t *>staged + j * step, out + j * g.out_row, g.out_col, n, g.out_code)
        x += n


cdef void separable_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const SeparableArgs *a = <const SeparableArgs *>args
    separable_unit(a, unit, <float *>(a.g.scratch + worker * a.g.scratch_bytes))


cdef void separable_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const SeparableArgs *a = <const SeparableArgs *>args
    separable_unit(a, unit, <double *>(a.g.scratch + worker * a.g.scratch_bytes))
