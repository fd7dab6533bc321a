# Filters of integers with integer results: sums in float, or in double in any order, where they are certain to truncate
# as SciPy's.

from libc.math cimport NAN, fabs

# After a patch with sums near integers in most vectors (flat parts of a picture), so many are summed in double at once.
cdef enum:
    IN_DOUBLE = 2
    # So many taps are summed in any order first: 5x5 takes as long, 15x15 half as long.
    DOUBLES_TAPS = 25


cdef bint bytes_patch(const FilterArgs *a, char *scratch, const double *exact_w, const float *w, float *flat, float fill,
                      float guard, double error, const char *plane, char *out, int64_t y, int64_t x, int64_t rows, int64_t cols) noexcept nogil:
    # Whether most vectors had a sum near an integer, so that summing in float did not pay.
    cdef const Geometry *g = &a.g
    cdef int64_t window = ((a.patch_rows - 1) * g.stride_y + (g.kernel_y - 1) * g.dilation_y + 1) * a.pitch
    cdef float *patch = <float *>scratch
    cdef float *sums = patch + window
    cdef double *wide = <double *>(sums + a.patch_rows * a.patch_cols)
    cdef int64_t near
    cdef ExactPatch p = ExactPatch(patch, wide, window, a.pitch * g.stride_y, a.pitch * g.dilation_y, a.col_of, exact_w,
                                   g.kernel_y, g.kernel_x, a.exact, flat, a.g.dilation_x == 1 and g.stride_x == 1, error, 0)
    stage_patch(a, patch, plane, fill, y, x, rows, cols)
    filter_patch(a, <const float *>patch, a.pitch, w, sums, a.patch_cols, rows, cols, False, <float>0)
    near = store_guarded(&p, sums, a.patch_cols, guard, rows, cols, out, g.out_row, g.out_col, g.out_code)
    return 2 * near * EXACT_WIDTH > rows * cols


cdef void exact_patch(const FilterArgs *a, char *scratch, const double *w, double fill, const char *plane, char *out,
                      int64_t y, int64_t x, int64_t rows, int64_t cols) noexcept nogil:
    cdef const Geometry *g = &a.g
    cdef int64_t window = ((a.patch_rows - 1) * g.stride_y + (g.kernel_y - 1) * g.dilation_y + 1) * a.pitch, r
    cdef double *patch = <double *>scratch
    cdef double *sums = patch + window
    stage_patch(a, patch, plane, fill, y, x, rows, cols)
    filter_patch(a, <const double *>patch, a.pitch, w, sums, a.patch_cols, rows, cols, False, <double>0)
    for r in range(rows):
        store_run(<const double *>sums + r * a.patch_cols, out + r * g.out_row, g.out_col, cols, g.out_code)


cdef void doubles_patch(const FilterArgs *a, char *scratch, const double *w, double fill, double error, int64_t order,
                        const char *plane, char *out, int64_t y, int64_t x, int64_t rows, int64_t cols) noexcept nogil:
    # `a` has no order of summation, `a.exact` is 0.
    cdef const Geometry *g = &a.g
    cdef int64_t window = ((a.patch_rows - 1) * g.stride_y + (g.kernel_y - 1) * g.dilation_y + 1) * a.pitch
    cdef double *patch = <double *>scratch
    cdef double *sums = patch + window
    cdef ExactPatch p = ExactPatch(NULL, patch, window, a.pitch * g.stride_y, a.pitch * g.dilation_y, a.col_of, w,
                                   g.kernel_y, g.kernel_x, order, NULL, False, error, 1)
    stage_patch(a, patch, plane, fill, y, x, rows, cols)
    filter_patch(a, <const double *>patch, a.pitch, w, sums, a.patch_cols, rows, cols, False, <double>0)
    store_doubles(&p, sums, a.patch_cols, rows, cols, out, g.out_row, g.out_col, g.out_code)


cdef bint filter_integers(const FilterArgs *a, int64_t unit, char *scratch) noexcept nogil:
    # Compute a unit, if the source and the weights allow it.
    cdef const Geometry *g = &a.g
    cdef int64_t plane = unit // a.n_strips, taps = g.kernel_y * g.kernel_x, strip = unit % a.n_strips * a.strip
    cdef const double *exact_w = <const double *>g.w + a.filter_of[plane] * taps
    cdef double fill = (<const double *>g.fill)[0] if g.fill != NULL else 0
    cdef float *flat = <float *>scratch
    cdef float *w = flat + FLAT_SUMS
    cdef float guard
    cdef double error = 0, largest = max(fabs(fill), largest_of(g.src_code))
    cdef FilterArgs any_order = a[0]
    cdef const char *source = NULL
    cdef char *out
    cdef int64_t first_row, end_row, first_col, end_col, x, y, rows, cols, i, in_double = 0
    if a.n_planes > 1 or g.bias != NULL:
        return False
    for i in range(taps):
        error += fabs(exact_w[i]) * largest * taps * 2.0 ** -50
    if not error < 2.0 ** -10:  # or not a number
        return False
    guard = rounding_guard(exact_w, g.kernel_y, g.kernel_x, fill, largest) if <float>fill == fill else <float>-1
    if guard > 0 and largest_of(g.src_code) > 255:
        guard = -1  # nearly all would be uncertain
    if guard < 0 and taps < DOUBLES_TAPS:
        return False
    any_order.exact = 0
    for i in range(FLAT_SUMS):
        flat[i] = NAN
    for i in range(taps):
        w[i] = <float>exact_w[i]
    scratch += FLAT_SUMS * sizeof(float) + (taps + 15) // 16 * 64
    first_row = 0 if g.out_height == 1 else strip
    end_row = min(g.out_height, first_row + a.strip)
    first_col = strip if g.out_height == 1 else 0
    end_col = min(g.out_width, first_col + a.strip) if g.out_height == 1 else g.out_width
    if a.src_planes[plane] != BEYOND:
        source = g.x + a.src_planes[plane]
    for i in range((end_row - first_row + a.patch_rows - 1) // a.patch_rows):
        y = first_row + i * a.patch_rows
        rows = min(a.patch_rows, end_row - y)
        x = first_col
        while x < end_col:
            cols = min(a.patch_cols, end_col - x)
            out = g.out + a.out_planes[plane] + y * g.out_row + x * g.out_col
            if guard < 0:
                doubles_patch(&any_order, scratch, exact_w, fill, error, a.exact, source, out, y, x, rows, cols)
            elif in_double > 0:
                exact_patch(a, scratch, exact_w, fill, source, out, y, x, rows, cols)
                in_double -= 1
            elif bytes_patch(a, scratch, exact_w, w, flat, <float>fill, guard, error, source, out, y, x, rows, cols):
                in_double = IN_DOUBLE
            x += cols
    return True
