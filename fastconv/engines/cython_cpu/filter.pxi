# The direct filter: staging, tiles and edges of one unit of work.
#
# A unit is a strip of rows of one output plane.  It is computed patch by patch.  Where
# the source can be read as it lies, and the patch's window is inside the image, tiles
# read the image itself; elsewhere (edges, other dtypes, strides) the window is first
# staged in scratch memory, where positions beyond the border come from the edge maps.

cdef struct FilterArgs:
    Geometry g
    const int64_t *src_planes
    const int64_t *out_planes
    const int64_t *filter_of
    int64_t n_planes
    int64_t n_fills
    int64_t in_place, store_direct
    int64_t patch_rows, patch_cols
    int64_t strip, n_strips
    int64_t exact
    int64_t pitch, phase_cols
    const int64_t *col_of


cdef void stage_patch(const FilterArgs *a, acc_t *patch, const char *plane, acc_t fill, int64_t y, int64_t x,
                      int64_t rows, int64_t cols) noexcept nogil:
    # The window of output rows y.. and columns x.. of one source plane (NULL: all fill).
    # Column j of the window lies at phase j % stride_x, place j // stride_x of its row.
    cdef const Geometry *g = &a.g
    cdef int64_t top = y * g.stride_y - g.pad_y, left = x * g.stride_x - g.pad_x
    cdef int64_t window_rows = (rows - 1) * g.stride_y + (g.kernel_y - 1) * g.dilation_y + 1
    cdef int64_t window_cols = (cols - 1) * g.stride_x + (g.kernel_x - 1) * g.dilation_x + 1
    cdef int64_t j, phase
    cdef const char *row
    for j in range(window_rows):
        row = NULL if plane == NULL else source_row(g, plane, top + j)
        for phase in range(min(g.stride_x, window_cols)):
            stage_row(g, patch + j * a.pitch + phase * a.phase_cols, row, fill, left + phase,
                      (window_cols - phase + g.stride_x - 1) // g.stride_x)


cdef inline bint rows_inside(const FilterArgs *a, int64_t y) noexcept nogil:
    # Whether the windows of a patch's rows lie within the source plane, from top to bottom.
    cdef int64_t top = y * a.g.stride_y - a.g.pad_y
    cdef int64_t last = top + (a.patch_rows - 1) * a.g.stride_y + (a.g.kernel_y - 1) * a.g.dilation_y
    return top >= 0 and last < a.g.height


cdef inline int64_t cols_inside(const FilterArgs *a, int64_t x, int64_t end) noexcept nogil:
    # How many columns from x to `end`, in whole patches, have windows within the source plane (stride 1).
    cdef int64_t left = x - a.g.pad_x, room = a.g.width - left - (a.g.kernel_x - 1) * a.g.dilation_x
    return 0 if left < 0 else max(min(room, end - x), <int64_t>0) // a.patch_cols * a.patch_cols


cdef void filter_patch(const FilterArgs *a, const acc_t *src, int64_t pitch, const acc_t *w, acc_t *dst,
                       int64_t dst_step, int64_t rows, int64_t cols, bint resume, acc_t init) noexcept nogil:
    # All tiles of a patch, or of patches side by side.  One-row patches take the line kernel; exact ones
    # the exact tile, whose rows then are pieces of the line.
    cdef int64_t x, i, j, width = line_cols(src) if a.patch_rows == 1 else tile_cols(src)
    cdef int64_t row_step = pitch * a.g.stride_y, tap_step = pitch * a.g.dilation_y
    if a.patch_rows == 1:
        if a.exact and acc_t is double:
            for i in range((cols + TILE_ROWS * tile_cols(src) - 1) // (TILE_ROWS * tile_cols(src))):
                x = i * TILE_ROWS * tile_cols(src)
                tile_exact(<const double *>src + x, tile_cols(src), tap_step, a.col_of, <const double *>w, a.g.kernel_y,
                           a.g.kernel_x, <double *>dst + x, tile_cols(src), resume, <double>init, a.exact)
            return
        for i in range((cols + width - 1) // width):
            x = i * width
            line(src + x, tap_step, a.col_of, w, a.g.kernel_y, a.g.kernel_x, dst + x, resume, init)
        return
    for j in range((rows + TILE_ROWS - 1) // TILE_ROWS):
        if a.exact and acc_t is double:
            for i in range((cols + width - 1) // width):
                tile_exact(<const double *>src + i * width, row_step, tap_step, a.col_of, <const double *>w, a.g.kernel_y,
                           a.g.kernel_x, <double *>dst + i * width, dst_step, resume, <double>init, a.exact)
        else:
            tiles(src, row_step, tap_step, a.col_of, w, a.g.kernel_y, a.g.kernel_x, dst, dst_step, resume, init,
                  (cols + width - 1) // width)
        src += TILE_ROWS * row_step
        dst += TILE_ROWS * dst_step


cdef void filter_unit(const FilterArgs *a, int64_t unit, acc_t *patch) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef int64_t out_plane = unit // a.n_strips, x, y, j, p, rows, cols, run, pitch, dst_step
    cdef int64_t strip = unit % a.n_strips * a.strip
    cdef int64_t first_row = 0 if g.out_height == 1 else strip, end_row = min(g.out_height, first_row + a.strip)
    cdef int64_t first_col = strip if g.out_height == 1 else 0
    cdef int64_t end_col = min(g.out_width, first_col + a.strip) if g.out_height == 1 else g.out_width
    cdef int64_t weights = g.kernel_y * g.kernel_x, filter = a.filter_of[out_plane]
    cdef int64_t window_rows = (a.patch_rows - 1) * g.stride_y + (g.kernel_y - 1) * g.dilation_y + 1
    cdef const int64_t *planes = a.src_planes + out_plane * a.n_planes
    cdef char *out = g.out + a.out_planes[out_plane]
    cdef acc_t *staged_out = patch + window_rows * a.pitch
    cdef acc_t *dst
    cdef const acc_t *src
    cdef const acc_t *w = <const acc_t *>g.w + filter * a.n_planes * weights
    cdef acc_t init = (<const acc_t *>g.bias)[filter] if g.bias != NULL else <acc_t>0
    cdef bint direct, in_place, beyond = False
    for p in range(a.n_planes):
        beyond |= planes[p] == BEYOND
    for j in range((end_row - first_row + a.patch_rows - 1) // a.patch_rows):
        y = first_row + j * a.patch_rows
        rows = min(a.patch_rows, end_row - y)
        in_place = a.in_place and rows_inside(a, y)
        x = first_col
        while x < end_col:
            # The last patch overlaps its neighbour rather than being ragged.
            x = min(x, max(end_col - a.patch_cols, first_col))
            run = cols_inside(a, x, end_col) if in_place else 0
            direct = a.store_direct and rows == a.patch_rows and x + a.patch_cols <= end_col
            cols = run if run and direct and not beyond else min(a.patch_cols, end_col - x)
            dst = <acc_t *>(out + y * g.out_row + x * g.out_col) if direct else staged_out
            dst_step = g.out_row // <int64_t>sizeof(acc_t) if direct else a.patch_cols
            for p in range(a.n_planes):
                if run and planes[p] != BEYOND:
                    src = <const acc_t *>(g.x + planes[p] + (y * g.stride_y - g.pad_y) * g.x_row + (x - g.pad_x) * g.x_col)
                    pitch = g.x_row // <int64_t>sizeof(acc_t)
                else:
                    stage_patch(a, patch, NULL if planes[p] == BEYOND else g.x + planes[p],
                                (<const acc_t *>g.fill)[p % a.n_fills], y, x, rows, cols)
                    src = patch
                    pitch = a.pitch
                filter_patch(a, src, pitch, w + p * weights, dst, dst_step, rows, cols, p > 0, init)
            if not direct:
                for p in range(rows):
                    store_run(<const acc_t *>dst + p * dst_step, out + (y + p) * g.out_row + x * g.out_col, g.out_col, cols,
                              g.out_code)
            x += cols


cdef void filter_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    filter_unit(a, unit, <float *>(a.g.scratch + worker * a.g.scratch_bytes))


cdef void filter_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    cdef char *scratch = a.g.scratch + worker * a.g.scratch_bytes
    if not (a.exact and filter_bytes(a, unit, scratch)):
        filter_unit(a, unit, <double *>scratch)


cdef void filter_u32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    filter_unit(a, unit, <uint32_t *>(a.g.scratch + worker * a.g.scratch_bytes))


cdef void filter_u64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    filter_unit(a, unit, <uint64_t *>(a.g.scratch + worker * a.g.scratch_bytes))
