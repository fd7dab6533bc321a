# Moving windows of any taps: maxima and minima over a footprint, with a structure or without.
#
# A unit is a tile of the output.  The source planes that its windows read are staged one after
# the other, and passes fold their taps into the second buffer.

cdef struct TapsArgs:
    Tiling t
    int64_t n_planes
    const int64_t *pass_ends


cdef void taps_window(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const TapsArgs *a = <const TapsArgs *>args
    cdef const Tiling *t = &a.t
    cdef const WindowOps *ops = WINDOW_OPS[t.kind][t.acc_code]
    cdef Tile tile = tile_at(t, unit)
    cdef char *x = t.scratch + worker * t.scratch_bytes
    cdef char *s = x + t.second
    cdef const double *raised = <const double *>t.w
    cdef int64_t total = (tile.rows + t.halo_y) * t.pitch, p, i, begin = 0
    for p in range(a.n_planes):
        stage_tile(t, ops, x, t.src_planes[tile.plane * a.n_planes + p], &tile)
        if raised == NULL:
            run_passes(t, ops, begin, a.pass_ends[p], x, s, total)
        else:
            for i in range(begin, a.pass_ends[p]):
                fold_raised(s, x + t.passes[i * PASS_SLOTS + 3], raised[i], t.kind, i == 0,
                            total - t.passes[i * PASS_SLOTS + 2])
        begin = a.pass_ends[p]
    save_tile(t, ops, s, &tile)
