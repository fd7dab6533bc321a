# The direct filter: staging, tiles and edges of one unit of work.
#
# A unit is a strip of rows of one output plane.  It is computed patch by patch.  Where
# the source can be read as it lies, and the patch's window is inside the image, tiles
# read the image itself; elsewhere (edges, other dtypes, strides) the window is first
# staged in scratch memory, where positions beyond the border come from the edge maps.

cdef struct FilterArgs:
    char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    const int64_t *src_planes
    const int64_t *out_planes
    const int64_t *filter_of
    int64_t n_planes
    int64_t n_fills
    int64_t height, width, x_row, x_col
    int64_t out_height, out_width, out_row, out_col
    int64_t kernel_y, kernel_x
    int64_t stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x
    const int64_t *map_y
    const int64_t *map_x
    int64_t src_code, out_code
    int64_t in_place, store_direct
    int64_t patch_rows, patch_cols
    int64_t strip, n_strips
    int64_t exact
    int64_t pitch, phase_cols
    const int64_t *col_of


cdef inline int64_t mapped(const int64_t *edges, int64_t position, int64_t size, int64_t pad) noexcept nogil:
    # The input index at a position; -1 is the fill value.
    if position < 0:
        return edges[position + pad]
    if position >= size:
        return edges[pad + position - size]
    return position


cdef void stage_phase(const FilterArgs *a, acc_t *dst, const char *row, acc_t fill,
                      int64_t first, int64_t n) noexcept nogil:
    # dst[i] = the source at column first + i * stride_x of a row (NULL: beyond the border).
    cdef int64_t step = a.stride_x, i = 0, inside, column
    while i < n and (row == NULL or first + i * step < 0):
        column = -1 if row == NULL else mapped(a.map_x, first + i * step, a.width, a.pad_x)
        if column < 0:
            dst[i] = fill
        else:
            stage_run(dst + i, row + column * a.x_col, a.x_col, <int64_t>1, a.src_code)
        i += 1
    inside = min(n, (a.width - first + step - 1) // step) if first < a.width else i
    if inside > i:
        stage_run(dst + i, row + (first + i * step) * a.x_col, step * a.x_col, inside - i, a.src_code)
        i = inside
    while i < n:
        column = mapped(a.map_x, first + i * step, a.width, a.pad_x)
        if column < 0:
            dst[i] = fill
        else:
            stage_run(dst + i, row + column * a.x_col, a.x_col, <int64_t>1, a.src_code)
        i += 1


cdef void stage_patch(const FilterArgs *a, acc_t *patch, const char *plane, acc_t fill, int64_t y, int64_t x,
                      int64_t rows, int64_t cols) noexcept nogil:
    # The window of output rows y.. and columns x.. of one source plane (NULL: all fill).
    # Column j of the window lies at phase j % stride_x, place j // stride_x of its row.
    cdef int64_t top = y * a.stride_y - a.pad_y, left = x * a.stride_x - a.pad_x
    cdef int64_t window_rows = (rows - 1) * a.stride_y + (a.kernel_y - 1) * a.dilation_y + 1
    cdef int64_t window_cols = (cols - 1) * a.stride_x + (a.kernel_x - 1) * a.dilation_x + 1
    cdef int64_t j, phase, source_row
    cdef const char *row
    for j in range(window_rows):
        row = NULL
        if plane != NULL:
            source_row = mapped(a.map_y, top + j, a.height, a.pad_y)
            if source_row >= 0:
                row = plane + source_row * a.x_row
        for phase in range(min(a.stride_x, window_cols)):
            stage_phase(a, patch + j * a.pitch + phase * a.phase_cols, row, fill, left + phase,
                        (window_cols - phase + a.stride_x - 1) // a.stride_x)


cdef inline bint inside(const FilterArgs *a, int64_t y, int64_t x, int64_t rows, int64_t cols) noexcept nogil:
    # Whether the window of an output patch lies within the source plane.
    cdef int64_t top = y * a.stride_y - a.pad_y, left = x - a.pad_x
    return (top >= 0 and left >= 0
            and top + (rows - 1) * a.stride_y + (a.kernel_y - 1) * a.dilation_y < a.height
            and left + cols - 1 + (a.kernel_x - 1) * a.dilation_x < a.width)


cdef void filter_patch(const FilterArgs *a, const acc_t *src, int64_t pitch, const acc_t *w, acc_t *dst,
                       int64_t dst_step, int64_t rows, int64_t cols, bint resume, acc_t init) noexcept nogil:
    # All tiles of one patch.  One-row patches take the line kernel.
    cdef int64_t y, x, i, j, width = line_cols(src) if a.patch_rows == 1 else tile_cols(src)
    cdef int64_t row_step = pitch * a.stride_y, tap_step = pitch * a.dilation_y
    if a.patch_rows == 1:
        for i in range((cols + width - 1) // width):
            x = i * width
            line(src + x, tap_step, a.col_of, w, a.kernel_y, a.kernel_x, dst + x, resume, init)
        return
    for j in range((rows + TILE_ROWS - 1) // TILE_ROWS):
        y = j * TILE_ROWS
        for i in range((cols + width - 1) // width):
            x = i * width
            if a.exact and acc_t is double:
                tile_exact(<const double *>src + y * row_step + x, row_step, tap_step, a.col_of, <const double *>w,
                           a.kernel_y, a.kernel_x, <double *>dst + y * dst_step + x, dst_step, resume, <double>init,
                           a.exact)
            else:
                tile(src + y * row_step + x, row_step, tap_step, a.col_of, w, a.kernel_y, a.kernel_x,
                     dst + y * dst_step + x, dst_step, resume, init)


cdef void filter_unit(const FilterArgs *a, int64_t unit, acc_t *patch) noexcept nogil:
    cdef int64_t out_plane = unit // a.n_strips, y, x, i, j, p, rows, cols, pitch, dst_step
    cdef int64_t first_row = unit % a.n_strips * a.strip, end_row = min(a.out_height, first_row + a.strip)
    cdef int64_t weights = a.kernel_y * a.kernel_x, filter = a.filter_of[out_plane]
    cdef int64_t window_rows = (a.patch_rows - 1) * a.stride_y + (a.kernel_y - 1) * a.dilation_y + 1
    cdef const int64_t *planes = a.src_planes + out_plane * a.n_planes
    cdef char *out = a.out + a.out_planes[out_plane]
    cdef acc_t *staged_out = patch + window_rows * a.pitch
    cdef acc_t *dst
    cdef const acc_t *src
    cdef const acc_t *w = <const acc_t *>a.w + filter * a.n_planes * weights
    cdef acc_t init = (<const acc_t *>a.bias)[filter] if a.bias != NULL else <acc_t>0
    cdef acc_t fill
    cdef bint direct, in_place
    for j in range((end_row - first_row + a.patch_rows - 1) // a.patch_rows):
        y = first_row + j * a.patch_rows
        rows = min(a.patch_rows, end_row - y)
        for i in range((a.out_width + a.patch_cols - 1) // a.patch_cols):
            # The last patch overlaps its neighbour rather than being ragged.
            x = min(i * a.patch_cols, max(a.out_width - a.patch_cols, 0))
            cols = min(a.patch_cols, a.out_width - x)
            direct = a.store_direct and rows == a.patch_rows and cols == a.patch_cols
            in_place = a.in_place and inside(a, y, x, a.patch_rows, a.patch_cols)
            if direct:
                dst = <acc_t *>(out + y * a.out_row + x * a.out_col)
                dst_step = a.out_row // <int64_t>sizeof(acc_t)
            else:
                dst = staged_out
                dst_step = a.patch_cols
            for p in range(a.n_planes):
                if in_place and planes[p] != BEYOND:
                    src = <const acc_t *>(a.x + planes[p] + (y * a.stride_y - a.pad_y) * a.x_row + (x - a.pad_x) * a.x_col)
                    pitch = a.x_row // <int64_t>sizeof(acc_t)
                else:
                    fill = (<const acc_t *>a.fill)[p % a.n_fills]
                    stage_patch(a, patch, NULL if planes[p] == BEYOND else a.x + planes[p], fill, y, x, rows, cols)
                    src = patch
                    pitch = a.pitch
                filter_patch(a, src, pitch, w + p * weights, dst, dst_step, rows, cols, p > 0, init)
            if not direct:
                for p in range(rows):
                    store_run(<const acc_t *>dst + p * dst_step, out + (y + p) * a.out_row + x * a.out_col, a.out_col, cols,
                              a.out_code)


cdef void filter_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    filter_unit(a, unit, <float *>(a.scratch + worker * a.scratch_bytes))


cdef void filter_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    filter_unit(a, unit, <double *>(a.scratch + worker * a.scratch_bytes))


cdef void filter_u32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    filter_unit(a, unit, <uint32_t *>(a.scratch + worker * a.scratch_bytes))


cdef void filter_u64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    filter_unit(a, unit, <uint64_t *>(a.scratch + worker * a.scratch_bytes))
