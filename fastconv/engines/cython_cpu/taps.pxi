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
