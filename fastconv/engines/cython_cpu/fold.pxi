# Windows of images as columns, and columns summed into images.
#
# A pixel is `lanes` channels that lie next to each other, else one.  A unit of unfolding is one row of taps of all windows
# of a plane, of folding some rows of a plane: each is summed in scratch memory, its stride phases apart, and stored once.

cdef struct FoldArgs:
    const char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t dtype, size, acc_size
    int64_t channels, lanes, height, width, kernel_y, kernel_x, out_height, out_width
    int64_t stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x
    int64_t image_n, image_c, image_row, image_col
    int64_t column_n, column_c, column_i, column_j, column_y, column_x
    int64_t strip, n_strips, phase


cdef void unfold(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FoldArgs *a = <const FoldArgs *>args
    cdef int64_t plane = unit // a.kernel_y, i = unit % a.kernel_y, groups = a.channels // a.lanes
    cdef int64_t n = plane // groups, c = plane % groups, j, oy, y, column, begin, end
    cdef const char *image = a.x + n * a.image_n + c * a.image_c
    cdef char *columns = a.out + n * a.column_n + c * a.column_c + i * a.column_i
    cdef char *to
    for j in range(a.kernel_x):
        column = j * a.dilation_x - a.pad_x
        for oy in range(a.out_height):
            y = oy * a.stride_y - a.pad_y + i * a.dilation_y
            to = columns + j * a.column_j + oy * a.column_y
            begin = min(a.out_width, steps_to(column, 0, a.stride_x)) if 0 <= y < a.height else a.out_width
            end = max(begin, min(a.out_width, steps_to(column, a.width, a.stride_x)))
            if a.lanes == 1:
                unfold_row(to, a.column_x, image + y * a.image_row + (column + begin * a.stride_x) * a.image_col,
                           a.stride_x * a.image_col, begin, end - begin, a.out_width - end, a.size)
                continue
            clear_pixels(a, to, begin)
            if end > begin:
                pool_move(to + begin * a.column_x, a.column_x, a.column_c,
                          image + y * a.image_row + (column + begin * a.stride_x) * a.image_col, a.stride_x * a.image_col,
                          a.image_c, end - begin, a.lanes, a.size)
            clear_pixels(a, to + end * a.column_x, a.out_width - end)


cdef void clear_pixels(const FoldArgs *a, char *to, int64_t n) noexcept nogil:
    cdef int64_t i
    if a.lanes == 1:
        pool_fill_steps(to, a.column_x, n, a.size)
        return
    for i in range(n):
        pool_fill_steps(to + i * a.column_x, a.column_c, a.lanes, a.size)


cdef void add_row(const FoldArgs *a, char *sums, const char *columns, int64_t j) noexcept nogil:
    # Tap j of a row of windows, added to the row of the image that it lies in.
    cdef int64_t column = j * a.dilation_x - a.pad_x, begin, end, at, i
    begin = min(a.out_width, steps_to(column, 0, a.stride_x))
    end = max(begin, min(a.out_width, steps_to(column, a.width, a.stride_x)))
    at = column + begin * a.stride_x
    sums += (at % a.stride_x * a.phase + at // a.stride_x * a.lanes) * a.acc_size if end > begin else 0
    columns += j * a.column_j + begin * a.column_x
    if a.lanes == 1:
        fold_run(sums, a.acc_size, columns, a.column_x, end - begin, a.dtype, a.size)
        return
    for i in range(end - begin):
        fold_run(sums + i * a.lanes * a.acc_size, a.acc_size, columns + i * a.column_x, a.column_c, a.lanes, a.dtype, a.size)


cdef void fold(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const FoldArgs *a = <const FoldArgs *>args
    cdef int64_t plane = unit // a.n_strips, first = unit % a.n_strips * a.strip, groups = a.channels // a.lanes
    cdef int64_t n = plane // groups, c = plane % groups, y, i, j, oy, r, count
    cdef const char *columns = a.x + n * a.column_n + c * a.column_c
    cdef char *image = a.out + n * a.image_n + c * a.image_c
    cdef char *sums = a.scratch + worker * a.scratch_bytes
    cdef char *to
    for y in range(first, min(first + a.strip, a.height)):
        memset(sums, 0, a.stride_x * a.phase * a.acc_size)
        for i in range(a.kernel_y):
            oy = y + a.pad_y - i * a.dilation_y
            if oy < 0 or oy % a.stride_y or oy // a.stride_y >= a.out_height:
                continue
            for j in range(a.kernel_x):
                add_row(a, sums, columns + i * a.column_i + oy // a.stride_y * a.column_y, j)
        if a.stride_x == 2 and a.lanes == 1 and a.image_col == a.size and a.dtype <= FLOAT64:
            fold_merge(image + y * a.image_row, sums, sums + a.phase * a.size, a.width, a.size)
            continue
        for r in range(min(a.stride_x, a.width)):
            count, to = (a.width - r + a.stride_x - 1) // a.stride_x, image + y * a.image_row + r * a.image_col
            if a.dtype > FLOAT64:
                pool_store(to, a.stride_x * a.image_col, a.image_c, sums + r * a.phase * a.acc_size, FLOAT32, a.lanes,
                           count, a.lanes, a.dtype, a.size)
            else:
                pool_move(to, a.stride_x * a.image_col, a.image_c, sums + r * a.phase * a.acc_size, a.size * a.lanes,
                          a.size, count, a.lanes, a.size)
