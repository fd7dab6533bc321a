# Gradients of averages of planes: rows are weighed and added in registers, then spread over the columns of their windows.

cdef extern from "pooling.h" nogil:
    void pool_add_rows_f32(char *dst, const char *src, const int64_t *at, const double *all, int64_t rows, int64_t n,
                      const double *weights)
    void pool_add_rows_f64(char *dst, const char *src, const int64_t *at, const double *all, int64_t rows, int64_t n,
                      const double *weights)
    void pool_spread_f32(char *dst, const char *src, const char *table, int64_t taps, int64_t n)
    void pool_spread_f64(char *dst, const char *src, const char *table, int64_t taps, int64_t n)


cdef inline int64_t window_rows(const PoolArgs *a, const Row *r, int64_t *at, double *all) noexcept nogil:
    # Where the rows of a window are, and their weights.
    cdef int64_t z, y, n = 0
    for z in range(r.nz):
        for y in range(r.ny):
            at[n] = z * a.dilation_z * a.x_z + a.row_of[y]
            all[n] = weight_of_row(a, r, z, y)
            n += 1
    return n


cdef void pool_gradient_unit(const PoolArgs *a, int64_t unit, int64_t worker) noexcept nogil:
    cdef char *folded = a.scratch + worker * a.scratch_bytes + a.folded
    cdef char *stored = a.scratch + worker * a.scratch_bytes + a.stored
    cdef int64_t begin = unit * a.strip, row, rows, size = 4 if a.dtype == FLOAT32 else 8
    cdef int64_t end = min(begin + a.strip, a.batch * a.channels * a.out_depth * a.out_height)
    cdef int64_t at[MOST_POOL_ROWS]
    cdef double all[MOST_POOL_ROWS]
    cdef Row r = before_rows(a)
    for row in range(begin, end):
        go_to_row(a, &r, row)
        if row == begin or not same_windows(a, &r):
            rows = window_rows(a, &r, at, all)
            if rows == 0:
                memset(stored, 0, a.out_width * size)
            elif a.dtype == FLOAT32:
                pool_add_rows_f32(folded, r.x, at, all, rows, a.width, a.weights + a.height)
                pool_spread_f32(stored, folded, <const char *>a.col_of, a.phase, a.out_width)
            else:
                pool_add_rows_f64(folded, r.x, at, all, rows, a.width, a.weights + a.height)
                pool_spread_f64(stored, folded, <const char *>a.col_of, a.phase, a.out_width)
        pool_move(r.out, a.out_col, a.out_lane, stored, size, size, a.out_width, 1, size)
