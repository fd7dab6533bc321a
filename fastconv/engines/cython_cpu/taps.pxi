# Moving windows of any taps: maxima and minima over a footprint, with a structure or without.
#
# A unit is a tile of the output.  The source planes that its windows read are staged one after
# the other, and passes fold their taps into the second buffer, piece by piece: a piece stays in
# the first cache through all passes (15x15 disk, float32: twice as fast).

cdef struct TapsArgs:
    Tiling t
    int64_t n_planes
    const int64_t *pass_ends


cdef enum:
    PIECE_BYTES = 8192


cdef void stage_tile_down(const Tiling *t, const WindowOps *ops, char *dst, const char *plane,
                          const Tile *tile) noexcept nogil:
    # `stage_tile` of planes whose columns are denser than their rows: a few columns of 64 rows at a time, transposed.
    cdef char columns[16 * 64]
    cdef int64_t size = ops.size, rows = tile.rows + t.halo_y, cols = tile.cols + t.halo_x
    cdef int64_t i, j, c, n, m, column
    cdef Tiling turned = t[0]
    turned.map_x, turned.pad_x, turned.width, turned.x_col = t.map_y, t.pad_y, t.height, t.x_row
    for j in range(0, rows, 64):
        m = min(<int64_t>64, rows - j)
        i = 0
        while i < cols:
            n = min(16 // size, cols - i)
            for c in range(n):
                column = mapped(t.map_x, tile.x - t.pad_x + i + c, t.width, t.pad_x)
                if column < 0:
                    fill_run(ops, columns + c * 64 * size, t.fill, m)
                else:
                    stage_columns(&turned, ops, columns + c * 64 * size, plane + column * t.x_col, t.x_row, t.src_code,
                                  tile.y - t.pad_y + j, m, t.fill)
            transpose(columns, 64 * size, dst + (j * t.pitch + i) * size, t.pitch * size, n, m, size)
            i += n


cdef void stage_tile(const Tiling *t, const WindowOps *ops, char *dst, int64_t offset, const Tile *tile) noexcept nogil:
    # A tile of a source plane and what its windows reach around it.
    cdef int64_t j, row, n = tile.cols + t.halo_x
    if offset != BEYOND and tile.rows > 1 and t.x_row * t.x_row < t.x_col * t.x_col:
        stage_tile_down(t, ops, dst, t.x + offset, tile)
        return
    for j in range(tile.rows + t.halo_y):
        row = -1 if offset == BEYOND else mapped(t.map_y, tile.y - t.pad_y + j, t.height, t.pad_y)
        if row < 0:
            fill_run(ops, dst, t.fill, n)
        else:
            stage_columns(t, ops, dst, t.x + offset + row * t.x_row, t.x_col, t.src_code, tile.x - t.pad_x, n, t.fill)
        dst += t.pitch * ops.size


cdef void run_passes(const Tiling *t, const WindowOps *ops, int64_t begin, int64_t end, char *x, char *s,
                     int64_t total, const double *raised) noexcept nogil:
    cdef const char *src[8]
    cdef const int64_t *p
    cdef int64_t i, k
    for i in range(begin, end):
        p = t.passes + i * PASS_SLOTS
        for k in range(4):
            src[k] = (s if k < p[1] else x) + p[3 + k]
        if raised == NULL:
            ops.fold(s, src, p[0], (total - p[2]) * ops.size)
        elif t.kind == 0:
            fold_larger_raised(s, src, raised + 4 * i, p[0], (total - p[2]) * ops.size)
        else:
            fold_smaller_raised(s, src, raised + 4 * i, p[0], (total - p[2]) * ops.size)


cdef void save_tile(const Tiling *t, const WindowOps *ops, const char *src, const Tile *tile) noexcept nogil:
    cdef char *out = t.out + t.out_planes[tile.plane] + tile.y * t.out_row + tile.x * t.out_col
    cdef int64_t j
    for j in range(tile.rows):
        ops.save(src, out, t.out_col, tile.cols, t.out_code)
        src += t.pitch * ops.size
        out += t.out_row


cdef void taps_window(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const TapsArgs *a = <const TapsArgs *>args
    cdef const Tiling *t = &a.t
    cdef const WindowOps *ops = WINDOW_OPS[t.kind][t.acc_code]
    cdef Tile tile = tile_at(t, unit)
    cdef char *x = t.scratch + worker * t.scratch_bytes
    cdef char *s = x + t.second
    cdef const double *raised = <const double *>t.w
    cdef int64_t reach = t.halo_y * t.pitch + t.halo_x, n = tile.rows * t.pitch - t.halo_x
    cdef int64_t piece = PIECE_BYTES // ops.size, p, b, at, begin = 0
    for p in range(a.n_planes):
        stage_tile(t, ops, x, t.src_planes[tile.plane * a.n_planes + p], &tile)
        for b in range((n + piece - 1) // piece):
            at = b * PIECE_BYTES
            run_passes(t, ops, begin, a.pass_ends[p], x + at, s + at, reach + min(piece, n - b * piece), raised)
        begin = a.pass_ends[p]
    save_tile(t, ops, s, &tile)
