# Maxima with their positions.


cdef void begin_places(const PoolArgs *a, const PoolOps *op, char *places, const Block *b, const Row *r,
                       int64_t pitch) noexcept nogil:
    # Before any comparison the maximum is at the first tap inside the input; -1 if there is none.
    cdef int64_t i, size = op.place_size, edge
    cdef const int64_t *x
    edge = b.n if a.stride_x == 0 else min(b.n, steps_to(b.left, 0, a.stride_x))
    pool_fill(places, 0 if r.nz > 0 else -1, size, b.n * pitch)
    for i in range(edge if r.nz > 0 else 0):
        x = r.of_x + (b.first + i) * WINDOW_SLOTS
        pool_fill(places + i * pitch * size,
                  -1 if x[TAPS] <= 0 else x[FIRST] - (b.left + i * a.stride_x if a.stride_x else 0), size, pitch)


cdef void scan_windows(const PoolArgs *a, const PoolOps *op, char *best, char *places, const Block *b,
                       const Row *r) noexcept nogil:
    # Row by row of each window, where it lies.
    cdef int64_t i, z, y, offset
    cdef const int64_t *x
    for i in range(b.n):
        x = r.of_x + (b.first + i) * WINDOW_SLOTS
        offset = x[FIRST] - (b.left + i * a.stride_x if a.stride_x else 0)
        for z in range(r.nz):
            for y in range(r.ny):
                op.scan(best, places, row_in_window(a, r, z, y) + x[FIRST] * a.x_col, a.window_of, 1, x[TAPS],
                        offset + place_in_window(a, z, y), a.dilation_x, a.lanes)
        best += op.size * a.lanes
        places += op.place_size * a.lanes


cdef void scan_whole_windows(const PoolArgs *a, const PoolOps *op, const Block *b, const Row *r) noexcept nogil:
    # In registers, as many windows at once as have the same taps; none is empty.
    cdef int64_t at[MOST_SCANNED]
    cdef int64_t place[MOST_SCANNED]
    cdef int64_t corner = (r.of_z[r.z * WINDOW_SLOTS + FIRST] * a.height + r.of_y[r.y * WINDOW_SLOTS + FIRST]) * a.width
    cdef int64_t i = 0, z, y, tap, step
    cdef const int64_t *x
    cdef ScannedWindows w
    w.at, w.place, w.lanes = at, place, a.lanes
    while i < b.n:
        x = r.of_x + (b.first + i) * WINDOW_SLOTS
        w.taps, w.pixels, step = 0, 1, 0
        for z in range(r.nz):
            for y in range(r.ny):
                for tap in range(x[TAPS]):
                    at[w.taps] = z * a.dilation_z * a.x_z + a.row_of[y] + a.window_of[tap]
                    place[w.taps] = place_in_window(a, z, y) + tap * a.dilation_x
                    w.taps += 1
        if i + 1 < b.n:
            step = x[WINDOW_SLOTS + FIRST] - x[FIRST]
        w.corner, w.corner_step, w.src_step = corner + x[FIRST], step, step * a.x_col
        while (i + w.pixels < b.n and x[w.pixels * WINDOW_SLOTS + TAPS] == x[TAPS]
               and x[w.pixels * WINDOW_SLOTS + FIRST] - x[(w.pixels - 1) * WINDOW_SLOTS + FIRST] == step):
            w.pixels += 1
        op.scan_windows(r.out + (b.first + i) * a.out_col, r.idx + (b.first + i) * a.idx_col,
                        r.x + x[FIRST] * a.x_col, &w)
        i += w.pixels


cdef inline bint scans_whole_windows(const PoolArgs *a, const Block *b, const Row *r) noexcept nogil:
    # Whether windows are read where they lie, have few taps, but some each, and results lie without gaps.
    cdef int64_t i
    if a.staging != WINDOWS or not a.store_direct or a.rows * a.kernel_x > MOST_SCANNED or r.nz * r.ny == 0:
        return False
    for i in range(b.first, b.first + b.n):
        if r.of_x[i * WINDOW_SLOTS + TAPS] <= 0:
            return False
    return True


cdef void scan_row(const PoolArgs *a, const PoolOps *op, char *scratch, char *best, char *places, const Block *b,
                   const Row *r, int64_t z, int64_t y, int64_t pitch) noexcept nogil:
    # One row of the windows of a block.
    cdef const char *folded
    cdef const int64_t *x = r.of_x + b.first * WINDOW_SLOTS
    cdef int64_t i, offset = place_in_window(a, z, y)
    if a.stride_x == 0 and a.staging == FLAT and a.lanes == 1:
        folded = row_in_window(a, r, z, y) + b.left * a.x_col
    else:
        folded = fold_window_rows(a, op, scratch, b, r, z, 1, y, 1)
    if a.stride_x:
        op.scan(best, places, folded, a.col_of, op.size, b.taps, offset + b.tap * a.dilation_x, a.dilation_x,
                b.n * a.lanes)
        return
    folded -= b.left * op.size * a.lanes
    if a.lanes == 1:
        op.scan_runs(best, places, folded, x, offset, b.n)
        return
    for i in range(b.n):
        op.scan(best + i * pitch * op.size, places + i * pitch * op.place_size, folded + x[FIRST] * op.size * a.lanes,
                a.col_of, op.size, x[TAPS], offset + x[FIRST], 1, a.lanes)
        x += WINDOW_SLOTS


cdef void pool_block_indices(const PoolArgs *a, const PoolOps *op, char *scratch, const Block *b,
                             const Row *r) noexcept nogil:
    cdef int64_t size = op.size, z, y, pitch = a.lanes
    cdef char *best = scratch + a.result
    cdef char *places = scratch + a.places
    cdef char *out = r.out + b.first * a.out_col
    cdef char *idx = r.idx + b.first * a.idx_col
    cdef char *positions = idx if a.store_direct else scratch + a.stored
    if scans_whole_windows(a, b, r):
        scan_whole_windows(a, op, b, r)
        return
    if a.stride_x == 0 and a.lanes > 1:  # a scan makes whole vectors
        pitch = (a.lanes + SCANNED - 1) // SCANNED * SCANNED
    pool_fill(best, op.identity, size, b.n * pitch)
    begin_places(a, op, places, b, r, pitch)
    if a.staging == WINDOWS:
        scan_windows(a, op, best, places, b, r)
    else:
        for z in range(r.nz):
            for y in range(r.ny):
                scan_row(a, op, scratch, best, places, b, r, z, y, pitch)
    put_pixels(a, op, out, best, pitch, b.n)
    pool_positions(positions, places, op.place_size,
                   (r.of_z[r.z * WINDOW_SLOTS + FIRST] * a.height + r.of_y[r.y * WINDOW_SLOTS + FIRST]) * a.width
                   + (b.left if a.stride_x else 0), a.stride_x, b.n, a.lanes, pitch)
    if not a.store_direct:
        pool_move(idx, a.idx_col, a.idx_lane, positions, 8 * a.lanes, 8, b.n, a.lanes, 8)
