# The direct filter over valid samples: NaN, and what is masked, counts as 0 and its weight does not count.
#
# Every patch is staged, and NaN taken out of it on the way; sums of values are scaled by the complete weight over the
# valid one.  Few gaps are listed, and each takes its weights out of the windows that it is in: kernel_y additions of
# two or three vectors, instead of a second sum over all taps of all windows.  A patch with many, or with a window that
# lacks more than half of its weight (of which little would be left after subtraction), is staged again, and the
# validity of its samples (1, or 0 where there was NaN) is filtered, too.

cdef extern from "normalized.h" nogil:
    void mark(...)
    int64_t take_gaps(...)
    void add_missing(...)
    bint scale(...)

cdef struct NormalizedArgs:
    FilterArgs f
    int64_t renormalize, most_gaps
    const FilterArgs *mask
    int64_t element
    int64_t valid, sums, valid_sums, flipped, flipped_pitch, missing, places

cdef void stage_samples(const NormalizedArgs *n, real_t *patch, real_t *marks, const int64_t *planes, int64_t p, int64_t y,
                        int64_t x, int64_t rows, int64_t cols) noexcept nogil:
    # A window with NaN where the mask is set.  It lies in memory as the source does, in bytes.
    cdef const Geometry *g = &n.f.g
    cdef const char *plane = NULL if planes[p] == BEYOND else g.x + planes[p]
    stage_patch(&n.f, patch, plane, (<const real_t *>g.fill)[p % n.f.n_fills], y, x, rows, cols)
    if n.mask != NULL and plane != NULL:
        stage_patch(n.mask, marks, <const char *>g.bias + planes[p] // n.element, <real_t>0, y, x, rows, cols)
        mark(patch, <const real_t *>marks, n.sums - n.valid)


cdef void stage_end(const NormalizedArgs *n, real_t *to, real_t *marks, const char *row, const char *mask, real_t fill,
                    int64_t position, int64_t count) noexcept nogil:
    # A piece of a window beyond the border.
    if count > 0:
        stage_row(&n.f.g, to, row, fill, position, count)
        if mask != NULL:
            stage_row(&n.mask.g, marks, mask, <real_t>0, position, count)
            mark(to, <const real_t *>marks, count)


cdef int64_t stage_numbers(const NormalizedArgs *n, real_t *patch, const int64_t *planes, int64_t p, int64_t y, int64_t x,
                           int64_t rows, int64_t cols, int32_t *places) noexcept nogil:
    # A window with 0 for NaN (stride 1), for whose places `take_gaps` cares; what it returns.  Rows of the accumulators'
    # type are read once, and in whole vectors, which may pass the window's end.
    cdef const Geometry *g = &n.f.g
    cdef int64_t j, found = 0, first, end, left = x - g.pad_x, width = cols + (g.kernel_x - 1) * g.dilation_x
    cdef int64_t lanes = VECTOR_BYTES // <int64_t>sizeof(real_t), most = n.most_gaps
    cdef bint copied = g.src_code == code_of(patch) and g.x_col == sizeof(real_t) and planes[p] != BEYOND
    cdef real_t fill = (<const real_t *>g.fill)[p % n.f.n_fills]
    cdef const char *row = NULL
    cdef const char *mask = NULL
    cdef real_t *to = patch
    if copied:
        clear_rest(&n.f, patch, rows, cols)
    else:
        stage_samples(n, patch, patch + n.valid, planes, p, y, x, rows, cols)
    for j in range(rows + (g.kernel_y - 1) * g.dilation_y):
        first = end = 0
        if copied:
            row = source_row(g, g.x + planes[p], y - g.pad_y + j)
            mask = <const char *>g.bias + (row - g.x) // n.element if n.mask != NULL and row != NULL else NULL
        if row != NULL:
            first = min(max(-left, <int64_t>0), width)
            end = max(min(g.width - left, (width + lanes - 1) // lanes * lanes), first)
        if copied:
            stage_end(n, to, patch + n.valid, row, mask, fill, left, first)
            stage_end(n, to + end, patch + n.valid, row, mask, fill, left + end, width - end)
        found = take_gaps(to, <const real_t *>to, <const uint8_t *>NULL, first, j, <int64_t>0, places, found, most)
        found = take_gaps(to + end, <const real_t *>(to + end), <const uint8_t *>NULL, width - end, j, end, places, found, most)
        found = take_gaps(to + first, <const real_t *>row + left + first,
                          <const uint8_t *>(mask + left + first if mask != NULL else NULL), end - first, j, first, places, found,
                          most)
        if found < 0:
            return found
        to += n.f.pitch
    return found


cdef real_t flip(const NormalizedArgs *n, real_t *patch, const real_t *w) noexcept nogil:
    # Room for what windows lack, and flipped[plane, ky]: the row of weights reversed and spread, between zeros.
    # The sum of all weights, 0 if they differ in sign: then little may be left of it though few are subtracted.
    cdef const Geometry *g = &n.f.g
    cdef int64_t i, x, last = VECTOR_BYTES // <int64_t>sizeof(real_t) + (g.kernel_x - 1) * g.dilation_x
    cdef real_t *row = patch + n.flipped
    cdef real_t total = 0, magnitude = 0
    for i in range(n.places - n.flipped):
        row[i] = 0
    for i in range(n.f.n_planes * g.kernel_y):
        for x in range(g.kernel_x):
            row[last - x * g.dilation_x] = w[x]
            total += w[x]
            magnitude += abs(w[x])
        row += n.flipped_pitch
        w += g.kernel_x
    return total if abs(total) == magnitude else <real_t>0


cdef bint sparse_patch(const NormalizedArgs *n, real_t *patch, const int64_t *planes, const real_t *w, real_t complete,
                       int64_t y, int64_t x, int64_t rows, int64_t cols, char *out) noexcept nogil:
    # Whether it could be done.
    cdef const FilterArgs *a = &n.f
    cdef const Geometry *g = &a.g
    cdef int64_t p, j, found, weights = g.kernel_y * g.kernel_x, step = a.patch_cols, pitch = step + 2 * n.flipped_pitch
    cdef real_t *missing = patch + n.missing
    cdef real_t *sums = patch + n.sums
    cdef int32_t *places = <int32_t *>(patch + n.places) if n.renormalize else NULL
    cdef bint gaps = False, lacking = False, direct = (
        g.out_code == code_of(patch) and g.out_col == sizeof(real_t) and g.out_row % <int64_t>sizeof(real_t) == 0
        and cols == step and rows == a.patch_rows)
    if direct:
        sums = <real_t *>out
        step = g.out_row // <int64_t>sizeof(real_t)
    for p in range(a.n_planes):
        found = stage_numbers(n, patch, planes, p, y, x, rows, cols, places)
        if found < 0:
            lacking = True
            break
        filter_patch(a, <const real_t *>patch, a.pitch, w + p * weights, sums, step, rows, cols, p > 0, <real_t>0)
        gaps |= found > 0
        add_missing(missing, pitch, <const real_t *>(patch + n.flipped + p * g.kernel_y * n.flipped_pitch), n.flipped_pitch,
                    places, found, rows, g.kernel_y, g.dilation_y)
    if gaps:
        lacking |= scale(sums, step, missing + (g.kernel_x - 1) * g.dilation_x, pitch, complete, rows, cols, n.flipped_pitch)
    for j in range(0 if direct or lacking else rows):
        store_run(<const real_t *>(sums + j * step), out + j * g.out_row, g.out_col, cols, g.out_code)
    return not lacking


cdef bint split(real_t *values, real_t *valid, int64_t n) noexcept nogil:
    # valid[i] = whether values[i] is a number; NaN becomes 0.  Whether there was any.
    cdef int64_t i, missing = 0
    cdef bint number
    for i in range(n):
        number = values[i] == values[i]
        valid[i] = <real_t>1 if number else <real_t>0
        values[i] = values[i] if number else <real_t>0
        missing += not number
    return missing > 0


cdef void renormalize(real_t *sums, const real_t *weights, real_t complete, int64_t n) noexcept nogil:
    # Where no weight is valid, 0 / 0: NaN.
    cdef int64_t i
    for i in range(n):
        sums[i] = sums[i] * (complete / weights[i]) if weights[i] != 0 else <real_t>0 / weights[i]


cdef real_t complete_weight(const NormalizedArgs *n, real_t *patch, const real_t *w) noexcept nogil:
    # The sum of all weights as tiles add it, so that windows without NaN are scaled by exactly 1.
    cdef const FilterArgs *a = &n.f
    cdef int64_t i, p
    for i in range(n.sums - n.valid):
        patch[n.valid + i] = 1
    for p in range(a.n_planes):
        filter_patch(a, <const real_t *>(patch + n.valid), a.pitch, w + p * a.g.kernel_y * a.g.kernel_x, patch + n.sums,
                     a.patch_cols, 1, 1, p > 0, <real_t>0)
    return patch[n.sums]


cdef void dense_patch(const NormalizedArgs *n, real_t *patch, const int64_t *planes, const real_t *w, real_t complete,
                      int64_t y, int64_t x, int64_t rows, int64_t cols, char *out) noexcept nogil:
    cdef const FilterArgs *a = &n.f
    cdef real_t *valid = patch + n.valid
    cdef real_t *sums = patch + n.sums
    cdef int64_t p, weights = a.g.kernel_y * a.g.kernel_x
    cdef bint missing = a.n_planes > 1
    for p in range(a.n_planes):
        stage_samples(n, patch, valid, planes, p, y, x, rows, cols)
        missing |= split(patch, valid, n.sums - n.valid)
        filter_patch(a, <const real_t *>patch, a.pitch, w + p * weights, sums, a.patch_cols, rows, cols, p > 0, <real_t>0)
        if missing and n.renormalize:
            filter_patch(a, <const real_t *>valid, a.pitch, w + p * weights, patch + n.valid_sums, a.patch_cols, rows, cols,
                         p > 0, <real_t>0)
    if missing and n.renormalize:
        renormalize(sums, <const real_t *>(patch + n.valid_sums), complete, n.flipped - n.valid_sums)
    for p in range(rows):
        store_run(<const real_t *>(sums + p * a.patch_cols), out + p * a.g.out_row, a.g.out_col, cols, a.g.out_code)


cdef void normalized_unit(const NormalizedArgs *n, int64_t unit, real_t *patch) noexcept nogil:
    cdef const FilterArgs *a = &n.f
    cdef const Geometry *g = &a.g
    cdef int64_t plane = unit // a.n_strips, y = unit % a.n_strips * a.strip, end_row = min(g.out_height, y + a.strip)
    cdef int64_t x, rows, cols
    cdef const int64_t *planes = a.src_planes + plane * a.n_planes
    cdef const real_t *w = <const real_t *>g.w + a.filter_of[plane] * a.n_planes * g.kernel_y * g.kernel_x
    cdef real_t total = flip(n, patch, w) if n.most_gaps and n.renormalize else <real_t>0, complete = 0
    cdef bint sparse = n.most_gaps and (total != 0 or not n.renormalize), known = not n.renormalize
    cdef char *out
    while y < end_row:
        rows = min(a.patch_rows, end_row - y)
        x = 0
        while x < g.out_width:
            cols = min(a.patch_cols, g.out_width - x)
            out = g.out + a.out_planes[plane] + y * g.out_row + x * g.out_col
            if not (sparse and sparse_patch(n, patch, planes, w, total, y, x, rows, cols, out)):
                if not known:
                    complete = complete_weight(n, patch, w)
                    known = True
                dense_patch(n, patch, planes, w, complete, y, x, rows, cols, out)
            x += cols
        y += rows


cdef void normalized_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const NormalizedArgs *n = <const NormalizedArgs *>args
    normalized_unit(n, unit, <float *>(n.f.g.scratch + worker * n.f.g.scratch_bytes))


cdef void normalized_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const NormalizedArgs *n = <const NormalizedArgs *>args
    normalized_unit(n, unit, <double *>(n.f.g.scratch + worker * n.f.g.scratch_bytes))
