# The direct filter: staging, tiles and edges of one unit of work.
#
# A unit is a strip of rows of one output plane (of a plane of one row, of columns).  Where
# the source can be read as it lies, and windows are inside the image, tiles read the image
# itself; the frame around that part (and whatever has another dtype or a stride) is staged in
# scratch memory, patch by patch, where positions beyond the border come from the edge maps.

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
    int64_t stream
    int64_t activation, slope


# Planes of more bytes come from memory: what is read next is called for.  From smaller ones it takes 3x3 and 5x5 a tenth more.
cdef enum:
    FETCH_BEYOND = 8 << 20
    STAGED_ROWS = 5  # kernels of so many rows are staged where results stream: 7x7 of 2048x2048 takes a sixth less


cdef struct Box:  # of outputs
    int64_t y, end_row, x, end_col


cdef inline int64_t tile_height(const FilterArgs *a) noexcept nogil:
    return 1 if a.patch_rows == 1 else TILE_ROWS


cdef inline int64_t tile_width(const FilterArgs *a, const acc_t *any) noexcept nogil:
    return line_cols(any) if a.patch_rows == 1 else tile_cols(any)


cdef void clear_rest(const FilterArgs *a, acc_t *patch, int64_t rows, int64_t cols) noexcept nogil:
    # What tiles read of a patch beyond the window of its outputs.  Sums of it go nowhere, but what scratch memory happens to
    # hold may be denormal, and multiplying that takes an Intel Xeon 150 cycles: 966x33 int32 with 23x23 took 23 ms at times,
    # 1.4 ms at others.
    cdef const Geometry *g = &a.g
    cdef int64_t width = tile_width(a, patch), height = tile_height(a), j, phase, i
    cdef int64_t reach_y = (g.kernel_y - 1) * g.dilation_y + 1, window_cols = (cols - 1) * g.stride_x + 1
    cdef int64_t below = (rows - 1) * g.stride_y + reach_y, after = (g.kernel_x - 1) * g.dilation_x
    cdef int64_t last = ((rows + height - 1) // height * height - 1) * g.stride_y + reach_y
    if a.patch_rows == 1 and a.exact:
        width *= 2  # tiles of the line's pieces
    width = min(a.phase_cols, (cols + width - 1) // width * width + after // g.stride_x)
    for phase in range(g.stride_x):
        i = (window_cols + after - phase + g.stride_x - 1) // g.stride_x
        if i >= width:
            continue
        for j in range(below):
            memset(patch + j * a.pitch + phase * a.phase_cols + i, 0, (width - i) * sizeof(acc_t))
    if last > below:
        memset(patch + below * a.pitch, 0, (last - below) * a.pitch * sizeof(acc_t))


cdef void stage_patch(const FilterArgs *a, acc_t *patch, const char *plane, acc_t fill, int64_t y, int64_t x,
                      int64_t rows, int64_t cols) noexcept nogil:
    # The window of output rows y.. and columns x.. of one source plane (NULL: all fill).
    # Column j of the window lies at phase j % stride_x, place j // stride_x of its row.
    cdef const Geometry *g = &a.g
    cdef int64_t top = y * g.stride_y - g.pad_y, left = x * g.stride_x - g.pad_x
    cdef int64_t window_rows = (rows - 1) * g.stride_y + (g.kernel_y - 1) * g.dilation_y + 1
    cdef int64_t window_cols = (cols - 1) * g.stride_x + (g.kernel_x - 1) * g.dilation_x + 1
    cdef int64_t before = min(max(-left, <int64_t>0), window_cols), inside = min(window_cols - before, g.width - left - before)
    cdef bint alike = g.src_code == code_of(patch) and g.x_col == sizeof(acc_t) and g.stride_x == 1 and inside > 0
    cdef int64_t j, phase
    cdef const char *row
    clear_rest(a, patch, rows, cols)
    if g.stride_x == 1 and plane != NULL and not alike:
        stage_rows(g, patch, a.pitch, plane, fill, top, window_rows, left, window_cols)
        return
    for j in range(window_rows):
        row = NULL if plane == NULL else source_row(g, plane, top + j)
        if alike and row != NULL:
            copy_row(patch + j * a.pitch, <const acc_t *>row, left + before, before, inside, window_cols, fill,
                     g.map_x + (left + g.pad_x), g.map_x + g.pad_x)
        elif g.stride_x == 1:
            stage_row(g, patch + j * a.pitch, row, fill, left, window_cols)
        else:
            for phase in range(min(g.stride_x, window_cols)):
                stage_row(g, patch + j * a.pitch + phase * a.phase_cols, row, fill, left + phase,
                          (window_cols - phase + g.stride_x - 1) // g.stride_x)


cdef void filter_patch(const FilterArgs *a, const acc_t *src, int64_t pitch, const acc_t *w, acc_t *dst,
                       int64_t dst_step, int64_t rows, int64_t cols, bint resume, acc_t init) noexcept nogil:
    # All tiles of a patch, or of patches side by side.  One-row patches take the line kernel; exact ones
    # the exact tile, whose rows then are pieces of the line.
    cdef int64_t x, i, j, width = tile_width(a, src)
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


cdef void activate_sums(const FilterArgs *a, acc_t *sums, int64_t step, int64_t rows, int64_t cols) noexcept nogil:
    cdef int64_t r
    for r in range(rows):
        activate_run(sums + r * step, cols, a.activation, slope_of(a.slope))


cdef inline bint collide(const FilterArgs *a, const char *source, const char *out) noexcept nogil:
    # Whether neighbouring rows of source and output all lie in the same few sets of the first cache, and so displace each
    # other: 7x7 takes a tenth less time staged then (1024x1024), kernels of fewer rows or of several blocks as long or longer.
    cdef int64_t apart = (out - source) & 4095
    return (a.g.kernel_y == MAX_BLOCK and a.g.x_row % 4096 == 0 and a.g.out_row % 4096 == 0 and (apart < 512 or apart > 3584)
            and not a.stream)


cdef inline int64_t rows_ahead(const FilterArgs *a, int64_t pitch) noexcept nogil:
    # From the first row of a tile's windows to the rows that the next row of tiles will be the first to read.
    return pitch * (tile_height(a) * a.g.stride_y + (a.g.kernel_y - 1) * a.g.dilation_y)


cdef inline void fetch_rows(const FilterArgs *a, const char *row, int64_t bytes) noexcept nogil:
    # Part of these rows.
    cdef int64_t r, i
    for r in range(TILE_ROWS):
        for i in range(bytes // 64):
            prefetch(row + r * a.g.x_row + i * 64)


cdef inline void filter_planes(const FilterArgs *a, const acc_t *src, const int64_t *planes, int64_t pitch, const acc_t *w,
                               acc_t *dst, int64_t dst_step, int64_t cols, acc_t init) noexcept nogil:
    # A row of tiles, the sums over all source planes; of several, or with prefetching, a few tiles at a time.
    cdef int64_t i, p, x, run, weights = a.g.kernel_y * a.g.kernel_x, ahead = rows_ahead(a, pitch)
    cdef bint fetch = a.g.height * a.g.x_row > FETCH_BEYOND
    cdef int64_t some = 4 * tile_width(a, src) if fetch or a.n_planes > 1 else cols
    for i in range((cols + some - 1) // some):
        x = i * some
        run = min(some, cols - x)
        for p in range(a.n_planes):
            if fetch:
                fetch_rows(a, <const char *>(src + x + ahead) + planes[p], run * <int64_t>sizeof(acc_t))
            filter_patch(a, <const acc_t *>(<const char *>(src + x) + planes[p]), pitch, w + p * weights, dst + x, dst_step,
                         tile_height(a), run, p > 0, init)
        if a.activation:
            activate_sums(a, dst + x, dst_step, tile_height(a), run)


cdef void staged_patch(const FilterArgs *a, const int64_t *planes, const acc_t *w, char *out, acc_t *patch, acc_t init,
                       int64_t y, int64_t x, int64_t rows, int64_t cols, bint direct) noexcept nogil:
    # A patch of the output, its windows staged one source plane after the other.
    cdef const Geometry *g = &a.g
    cdef int64_t p, weights = g.kernel_y * g.kernel_x, step = a.patch_cols
    cdef acc_t *dst = patch + ((a.patch_rows - 1) * g.stride_y + (g.kernel_y - 1) * g.dilation_y + 1) * a.pitch
    out += y * g.out_row + x * g.out_col
    if direct:
        dst = <acc_t *>out
        step = g.out_row // <int64_t>sizeof(acc_t)
    for p in range(a.n_planes):
        stage_patch(a, patch, NULL if planes[p] == BEYOND else g.x + planes[p], (<const acc_t *>g.fill)[p % a.n_fills],
                    y, x, rows, cols)
        filter_patch(a, <const acc_t *>patch, a.pitch, w + p * weights, dst, step, rows, cols, p > 0, init)
    if a.activation:
        activate_sums(a, dst, step, rows, cols)
    if not direct:
        for p in range(rows):
            store_run(<const acc_t *>dst + p * step, out + p * g.out_row, g.out_col, cols, g.out_code)


cdef void filter_staged(const FilterArgs *a, const int64_t *planes, const acc_t *w, char *out, acc_t *patch, acc_t init,
                        Box unit, int64_t y, int64_t end_row, int64_t x, int64_t end_col) noexcept nogil:
    # A part of a unit by patches.  Those stored directly are whole tiles, which overlap what the unit has made before.
    cdef int64_t i, j, top, left, up, back, rows, cols, height = tile_height(a), width = tile_width(a, patch)
    cdef bint direct
    for j in range((end_row - y + a.patch_rows - 1) // a.patch_rows):
        top = y + j * a.patch_rows
        rows = min(a.patch_rows, end_row - top)
        up = (height - rows % height) % height
        for i in range((end_col - x + a.patch_cols - 1) // a.patch_cols):
            left = x + i * a.patch_cols
            cols = min(a.patch_cols, end_col - left)
            back = (width - cols % width) % width
            direct = a.store_direct and top - up >= unit.y and left - back >= unit.x
            if direct:
                staged_patch(a, planes, w, out, patch, init, top - up, left - back, rows + up, cols + back, direct)
            else:
                staged_patch(a, planes, w, out, patch, init, top, left, rows, cols, direct)


cdef void filter_inside(const FilterArgs *a, const int64_t *planes, const acc_t *w, char *out, acc_t init,
                        Box part) noexcept nogil:
    # A part of the output by tiles that read the source where it lies; the last ones overlap their neighbours.
    cdef const Geometry *g = &a.g
    cdef int64_t height = tile_height(a), width = tile_width(a, w), pitch = g.x_row // <int64_t>sizeof(acc_t)
    cdef int64_t step = g.out_row // <int64_t>sizeof(acc_t), whole = (part.end_col - part.x) // width * width, j, y
    cdef int64_t ahead = rows_ahead(a, pitch)
    cdef const acc_t *src
    cdef acc_t *dst
    for j in range((part.end_row - part.y + height - 1) // height):
        y = min(part.y + j * height, part.end_row - height)
        src = <const acc_t *>(g.x + (y * g.stride_y - g.pad_y) * g.x_row) + part.x - g.pad_x
        dst = <acc_t *>(out + y * g.out_row) + part.x
        if a.stream and height == TILE_ROWS and <uintptr_t>dst % 4 == 0:
            src = <const acc_t *>(<const char *>src + planes[0])
            stream_tiles(src, pitch * g.stride_y, pitch * g.dilation_y, a.col_of, w, g.kernel_y, g.kernel_x, dst, step, init,
                         part.end_col - part.x, src + ahead, pitch * g.stride_y, <int64_t>TILE_ROWS)
            continue
        filter_planes(a, src, planes, pitch, w, dst, step, whole, init)
        if part.x + whole < part.end_col:
            filter_planes(a, src + part.end_col - part.x - width, planes, pitch, w, dst + part.end_col - part.x - width,
                          step, width, init)


cdef void stream_patch(const FilterArgs *a, const char *plane, const acc_t *w, char *out, acc_t *patch, acc_t init,
                       int64_t y, int64_t x, int64_t rows, int64_t cols, int64_t next_y, int64_t next_x) noexcept nogil:
    # Whole tiles of a patch, written past the caches, while the window of the next patch is called for.
    cdef const Geometry *g = &a.g
    cdef int64_t size = sizeof(acc_t), top = max(next_y - g.pad_y, <int64_t>0), left = max(next_x - g.pad_x, <int64_t>0), j
    cdef int64_t window = rows + (g.kernel_y - 1) * g.dilation_y, tiles_down = rows // TILE_ROWS
    cdef int64_t share = (window + tiles_down - 1) // tiles_down, first
    stage_patch(a, patch, plane, (<const acc_t *>g.fill)[0], y, x, rows, cols)
    for j in range(tiles_down):
        first = min(top + j * share, g.height)
        stream_tiles(<const acc_t *>patch + j * TILE_ROWS * a.pitch, a.pitch, a.pitch * g.dilation_y, a.col_of, w, g.kernel_y,
                     g.kernel_x, <acc_t *>(out + (y + j * TILE_ROWS) * g.out_row) + x, g.out_row // size, init, cols,
                     <const acc_t *>(plane + first * g.x_row) + left, g.x_row // size, min(share, g.height - first))


cdef inline int64_t even_part(int64_t size, int64_t most, int64_t tile) noexcept nogil:
    # Whole tiles that a size is divided into evenly, the last part overlapping the one before it.
    cdef int64_t parts = (size + most - 1) // most, even = (size + parts - 1) // parts
    return min((even + tile - 1) // tile, size // tile) * tile


cdef void filter_streamed(const FilterArgs *a, const char *plane, const acc_t *w, char *out, acc_t *patch, acc_t init,
                          Box unit) noexcept nogil:
    # A unit of at least one tile, by patches of whole tiles.
    cdef int64_t height = unit.end_row - unit.y, width = unit.end_col - unit.x, i, y, x
    cdef int64_t rows = even_part(height, a.patch_rows, TILE_ROWS), cols = even_part(width, a.patch_cols, tile_width(a, patch))
    cdef int64_t across = (width + cols - 1) // cols
    for i in range(across * ((height + rows - 1) // rows)):
        y = min(unit.y + i // across * rows, unit.end_row - rows)
        x = min(unit.x + i % across * cols, unit.end_col - cols)
        stream_patch(a, plane, w, out, patch, init, y, x, rows, cols, unit.y + (i + 1) // across * rows,
                     unit.x + (i + 1) % across * cols)


cdef inline void windows_inside(int64_t *begin, int64_t *end, int64_t size, int64_t pad, int64_t reach, int64_t stride,
                                int64_t tile) noexcept nogil:
    # The outputs whose windows are inside the source, a whole number of tiles after the first and before the last.
    cdef int64_t first = max((pad + stride - 1) // stride, begin[0])
    cdef int64_t last = min((size - 1 + pad - reach) // stride + 1 if size + pad > reach else 0, end[0])
    begin[0] += (first - begin[0] + tile - 1) // tile * tile
    end[0] -= (end[0] - last + tile - 1) // tile * tile


cdef void filter_unit(const FilterArgs *a, int64_t unit, acc_t *patch) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef int64_t out_plane = unit // a.n_strips, strip = unit % a.n_strips * a.strip, filter = a.filter_of[out_plane], p
    cdef const int64_t *planes = a.src_planes + out_plane * a.n_planes
    cdef const acc_t *w = <const acc_t *>g.w + filter * a.n_planes * g.kernel_y * g.kernel_x
    cdef acc_t init = (<const acc_t *>g.bias)[filter] if g.bias != NULL else <acc_t>0
    cdef char *out = g.out + a.out_planes[out_plane]
    cdef bint in_place = a.in_place
    cdef Box whole, inner
    whole = Box(strip, min(g.out_height, strip + a.strip), 0, g.out_width)
    if g.out_height == 1:
        whole = Box(0, 1, strip, min(g.out_width, strip + a.strip))
    if (streams(patch) and a.stream and in_place and g.kernel_y >= STAGED_ROWS and g.stride_y == 1 and <uintptr_t>out % 4 == 0
            and planes[0] != BEYOND and whole.end_row - strip >= TILE_ROWS and g.out_width >= tile_width(a, patch)):
        filter_streamed(a, g.x + planes[0], w, out, patch, init, whole)
        end_stream()
        return
    inner = whole
    windows_inside(&inner.y, &inner.end_row, g.height, g.pad_y, (g.kernel_y - 1) * g.dilation_y, g.stride_y, tile_height(a))
    windows_inside(&inner.x, &inner.end_col, g.width, g.pad_x, (g.kernel_x - 1) * g.dilation_x, 1, tile_width(a, patch))
    in_place &= inner.end_row - inner.y >= tile_height(a) and inner.end_col - inner.x >= tile_width(a, patch)
    for p in range(a.n_planes):
        in_place &= planes[p] != BEYOND and not collide(a, g.x + planes[p], out)
    if not in_place:
        filter_staged(a, planes, w, out, patch, init, whole, whole.y, whole.end_row, whole.x, whole.end_col)
        return
    filter_staged(a, planes, w, out, patch, init, whole, whole.y, inner.y, whole.x, whole.end_col)
    filter_inside(a, planes, w, out, init, inner)
    if a.stream:
        end_stream()
    filter_staged(a, planes, w, out, patch, init, whole, inner.y, inner.end_row, whole.x, inner.x)
    filter_staged(a, planes, w, out, patch, init, whole, inner.y, inner.end_row, inner.end_col, whole.end_col)
    filter_staged(a, planes, w, out, patch, init, whole, inner.end_row, whole.end_row, whole.x, whole.end_col)


cdef inline char *own_scratch(const Geometry *g, int64_t worker) noexcept nogil:
    # A worker's scratch memory, from the beginning of a cache line on: staging it elsewhere takes twice as long.
    return <char *>((<uintptr_t>(g.scratch + worker * g.scratch_bytes) + 63) & ~<uintptr_t>63)


cdef void filter_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    filter_unit(a, unit, <float *>own_scratch(&a.g, worker))


cdef void filter_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    cdef char *scratch = own_scratch(&a.g, worker)
    if not (a.exact and filter_integers(a, unit, scratch)):
        filter_unit(a, unit, <double *>scratch)


cdef void filter_u32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    filter_unit(a, unit, <uint32_t *>own_scratch(&a.g, worker))


cdef void filter_u64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FilterArgs *a = <const FilterArgs *>args
    filter_unit(a, unit, <uint64_t *>own_scratch(&a.g, worker))
