# Small windows of planes, folded in registers.


cdef void plane_row(const PoolArgs *a, Plane fold, const Row *r, const int64_t *at, int64_t whole, int64_t end,
                    int64_t rows) noexcept nogil:
    # A row of outputs of which those from `whole` to `end` have windows with all columns.
    cdef int64_t i, n, size = 4 if a.dtype == FLOAT32 else 8
    cdef int64_t counted = r.of_z[r.z * WINDOW_SLOTS + COUNTED] * r.of_y[r.y * WINDOW_SLOTS + COUNTED]
    cdef const int64_t *x
    i = 0
    while i < a.out_width:
        x = r.of_x + i * WINDOW_SLOTS
        n = min(end, x[END]) - i if whole <= i < end else 1
        fold(r.out + i * size, r.x + x[FIRST] * size, at, rows, x[TAPS], n,
             <double>(a.divisor if a.divisor > 0 else counted * x[COUNTED]), a.stride_x)
        i += n


cdef void plane_unit(const PoolArgs *a, Plane fold, int64_t unit) noexcept nogil:
    # Small windows of planes are folded in registers: all that `pool_unit` does, where nothing has to be staged.
    cdef int64_t begin = unit * a.strip, whole = 0, end, row, z, y
    cdef int64_t last = min(begin + a.strip, a.batch * a.channels * a.out_depth * a.out_height)
    cdef const int64_t *x = <const int64_t *>a.windows_x
    cdef int64_t at[MOST_POOL_ROWS]
    cdef const int64_t *offsets
    cdef Row r = before_rows(a)
    while whole < a.out_width and x[whole * WINDOW_SLOTS + TAPS] < a.kernel_x:
        whole += 1
    end = whole
    while end < a.out_width and x[end * WINDOW_SLOTS + TAPS] == a.kernel_x:
        end += 1
    for row in range(begin, last):
        go_to_row(a, &r, row)
        offsets = a.window_of
        if r.nz * r.ny < a.rows:
            offsets = at
            for z in range(r.nz):
                for y in range(r.ny):
                    at[z * r.ny + y] = z * a.dilation_z * a.x_z + a.row_of[y]
        plane_row(a, fold, &r, offsets, whole, end, r.nz * r.ny)
