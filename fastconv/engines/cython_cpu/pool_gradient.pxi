# Gradients of averages of planes: rows are weighed and added in registers, then spread over the columns of their windows.

cdef extern from "pooling.h" nogil:
    void pool_add_rows_f32(char *dst, const char *src, const int64_t *at, const double *all, int64_t rows, int64_t n,
                      const double *weights)
    void pool_add_rows_f64(char *dst, const char *src, const int64_t *at, const double *all, int64_t rows, int64_t n,
                      const double *weights)
    void copy_lanes(char *dst, const char *src, int64_t n)
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


cdef void gradient_row(const PoolArgs *a, const Row *r, char *dst, char *folded) noexcept nogil:
    # A row in whole vectors.
    cdef int64_t at[MOST_POOL_ROWS]
    cdef double all[MOST_POOL_ROWS]
    cdef int64_t rows = window_rows(a, r, at, all)
    if a.dtype == FLOAT32:
        pool_add_rows_f32(folded, r.x, at, all, rows, a.width, a.weights + a.height)
        pool_spread_f32(dst, folded, <const char *>a.col_of, a.phase, a.out_width)
    else:
        pool_add_rows_f64(folded, r.x, at, all, rows, a.width, a.weights + a.height)
        pool_spread_f64(dst, folded, <const char *>a.col_of, a.phase, a.out_width)


cdef void pool_gradient_unit(const PoolArgs *a, int64_t unit, int64_t worker) noexcept nogil:
    # Vectors that reach beyond a row are overwritten by the next.
    cdef char *folded = a.scratch + worker * a.scratch_bytes + a.folded
    cdef char *stored = a.scratch + worker * a.scratch_bytes + a.stored
    cdef int64_t begin = unit * a.strip, row, size = 4 if a.dtype == FLOAT32 else 8, bytes = a.out_width * size
    cdef int64_t last = min(begin + a.strip, a.batch * a.channels * a.out_depth * a.out_height)
    cdef const char *end = a.out + last * bytes - (bytes + VECTOR_BYTES - 1) // VECTOR_BYTES * VECTOR_BYTES
    cdef bint flat = outputs_follow(a, size), here
    cdef Row r = before_rows(a)
    for row in range(begin, last):
        go_to_row(a, &r, row)
        here = flat and r.out <= end  # there is room for whole vectors
        if row > begin and same_windows(a, &r):
            if here:
                copy_lanes(r.out, r.out - bytes, bytes)
            else:
                pool_move(r.out, a.out_col, a.out_lane, r.out - a.out_row, a.out_col, a.out_lane, a.out_width, 1, size)
        elif r.nz * r.ny == 0:
            pool_fill_steps(r.out, a.out_col, a.out_width, size)
        else:
            gradient_row(a, &r, r.out if here else stored, folded)
            if not here:
                pool_move(r.out, a.out_col, a.out_lane, stored, size, size, a.out_width, 1, size)
