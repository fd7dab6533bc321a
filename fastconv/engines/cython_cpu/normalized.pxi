# The direct filter over valid samples: NaN counts as 0 and its weight does not count.
#
# Every patch is staged and split into values and validity (1, or 0 where there was NaN), which
# stay in cache.  Both are filtered by the tiles of the direct filter, validity only where
# something is missing; sums of values are scaled by the complete weight over the valid weight.

cdef struct NormalizedArgs:
    FilterArgs f
    int64_t renormalize


cdef bint split(acc_t *values, acc_t *valid, int64_t n) noexcept nogil:
    # valid[i] = whether values[i] is a number; NaN becomes 0.  Whether there was any.
    cdef int64_t i, missing = 0
    cdef bint number
    for i in range(n):
        number = values[i] == values[i]
        valid[i] = <acc_t>1 if number else <acc_t>0
        values[i] = values[i] if number else <acc_t>0
        missing += not number
    return missing > 0


cdef void renormalize(acc_t *sums, const acc_t *weights, acc_t complete, int64_t n) noexcept nogil:
    # Where no weight is valid, 0 / 0: NaN.
    cdef int64_t i
    for i in range(n):
        sums[i] = sums[i] * (complete / weights[i]) if weights[i] != 0 else <acc_t>0 / weights[i]


cdef acc_t complete_weight(const FilterArgs *a, acc_t *window, acc_t *sums, const acc_t *w, int64_t n) noexcept nogil:
    # The sum of all weights as tiles add it, so that windows without NaN are scaled by exactly 1.
    cdef int64_t i, p
    for i in range(n):
        window[i] = 1
    for p in range(a.n_planes):
        filter_patch(a, window, a.pitch, w + p * a.g.kernel_y * a.g.kernel_x, sums, a.patch_cols, 1, 1, p > 0, <acc_t>0)
    return sums[0]


cdef void normalized_unit(const NormalizedArgs *n, int64_t unit, acc_t *patch) noexcept nogil:
    cdef const FilterArgs *a = &n.f
    cdef const Geometry *g = &a.g
    cdef int64_t plane = unit // a.n_strips, first_row = unit % a.n_strips * a.strip, weights = g.kernel_y * g.kernel_x
    cdef int64_t end_row = min(g.out_height, first_row + a.strip), size = a.patch_rows * a.patch_cols
    cdef int64_t i, j, p, x, y, rows, cols
    cdef int64_t window = ((a.patch_rows - 1) * g.stride_y + (g.kernel_y - 1) * g.dilation_y + 1) * a.pitch
    cdef const int64_t *planes = a.src_planes + plane * a.n_planes
    cdef const acc_t *w = <const acc_t *>g.w + a.filter_of[plane] * a.n_planes * weights
    cdef acc_t *valid = patch + window
    cdef acc_t *sums = valid + window
    cdef acc_t *valid_sums = sums + size
    cdef acc_t complete = complete_weight(a, valid, sums, w, window) if n.renormalize else <acc_t>0
    cdef char *out
    cdef bint missing
    for j in range((end_row - first_row + a.patch_rows - 1) // a.patch_rows):
        y = first_row + j * a.patch_rows
        rows = min(a.patch_rows, end_row - y)
        for i in range((g.out_width + a.patch_cols - 1) // a.patch_cols):
            x = i * a.patch_cols
            cols = min(a.patch_cols, g.out_width - x)
            missing = a.n_planes > 1
            for p in range(a.n_planes):
                stage_patch(a, patch, NULL if planes[p] == BEYOND else g.x + planes[p],
                            (<const acc_t *>g.fill)[p % a.n_fills], y, x, rows, cols)
                missing |= split(patch, valid, window)
                filter_patch(a, patch, a.pitch, w + p * weights, sums, a.patch_cols, rows, cols, p > 0, <acc_t>0)
                if missing and n.renormalize:
                    filter_patch(a, valid, a.pitch, w + p * weights, valid_sums, a.patch_cols, rows, cols, p > 0, <acc_t>0)
            if missing and n.renormalize:
                renormalize(sums, valid_sums, complete, size)
            out = g.out + a.out_planes[plane] + y * g.out_row + x * g.out_col
            for p in range(rows):
                store_run(<const acc_t *>sums + p * a.patch_cols, out + p * g.out_row, g.out_col, cols, g.out_code)


cdef void normalized_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const NormalizedArgs *n = <const NormalizedArgs *>args
    normalized_unit(n, unit, <float *>(n.f.g.scratch + worker * n.f.g.scratch_bytes))


cdef void normalized_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const NormalizedArgs *n = <const NormalizedArgs *>args
    normalized_unit(n, unit, <double *>(n.f.g.scratch + worker * n.f.g.scratch_bytes))
