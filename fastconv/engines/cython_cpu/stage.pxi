# What every kernel that slides a window over planes knows, and the staging of its rows.

cdef struct Geometry:
    char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t height, width, x_row, x_col
    int64_t out_height, out_width, out_row, out_col
    int64_t kernel_y, kernel_x
    int64_t stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x
    const int64_t *map_y
    const int64_t *map_x
    int64_t src_code, out_code


cdef inline int64_t mapped(const int64_t *edges, int64_t position, int64_t size, int64_t pad) noexcept nogil:
    # The input index at a position; -1 is the fill value.
    if position < 0:
        return edges[position + pad]
    if position >= size:
        return edges[pad + position - size]
    return position


cdef void stage_edge(const Geometry *g, acc_t *dst, const char *row, acc_t fill, const int64_t *edges, int64_t n,
                     const acc_t *staged, int64_t low, int64_t n_staged) noexcept nogil:
    # n neighbouring positions beyond an end of a row.  Most are among its `n_staged` elements from `low` on, which
    # `staged` holds already.
    cdef int64_t i, column
    for i in range(n):
        column = edges[i]
        if <uint64_t>(column - low) < <uint64_t>n_staged:
            dst[i] = staged[column - low]
        elif column < 0:
            dst[i] = fill
        else:
            stage_run(dst + i, row + column * g.x_col, g.x_col, <int64_t>1, g.src_code)


cdef inline void stage_ends(const Geometry *g, acc_t *dst, const char *row, acc_t fill, int64_t first, int64_t n,
                            int64_t before, int64_t inside) noexcept nogil:
    # What is beyond the ends of a row, of n positions from `first`: `before` of them, then `inside` that are staged, and the rest.
    cdef int64_t low = first + before, i = before + inside
    if before:
        stage_edge(g, dst, row, fill, g.map_x + (first + g.pad_x), before, dst + before, low, inside)
    if i < n:
        stage_edge(g, dst + i, row, fill, g.map_x + (g.pad_x + first + i - g.width), n - i, dst + before, low, inside)


cdef void stage_row(const Geometry *g, acc_t *dst, const char *row, acc_t fill, int64_t first, int64_t n) noexcept nogil:
    # dst[i] = the element at position first + i * stride_x of a row (NULL: the fill value), i < n.
    cdef int64_t step = g.stride_x, i = 0, inside = 0, position, before, low
    if row == NULL:
        for i in range(n):
            dst[i] = fill
        return
    if step == 1:
        before = min(n, max(-first, <int64_t>0))
        low = first + before
        inside = max(min(n - before, g.width - low), <int64_t>0)
        if inside:
            stage_run(dst + before, row + low * g.x_col, g.x_col, inside, g.src_code)
        stage_ends(g, dst, row, fill, first, n, before, inside)
        return
    while i < n:
        position = first + i * step
        if 0 <= position < g.width:
            inside = min(n - i, (g.width - position + step - 1) // step)
            stage_run(dst + i, row + position * g.x_col, step * g.x_col, inside, g.src_code)
            i += inside
        else:
            stage_edge(g, dst + i, row, fill, g.map_x + (position + g.pad_x if position < 0 else g.pad_x + position - g.width),
                       <int64_t>1, dst, <int64_t>0, <int64_t>0)
            i += 1


cdef inline const char *source_row(const Geometry *g, const char *plane, int64_t position) noexcept nogil:
    # The row at a position of a plane, NULL for the fill value.
    cdef int64_t row = mapped(g.map_y, position, g.height, g.pad_y)
    return NULL if row < 0 else plane + row * g.x_row


cdef enum:
    COLUMN_ROWS = 64  # of columns that are transposed at once


cdef void stage_turned(const Geometry *g, acc_t *dst, int64_t pitch, const char *at, int64_t rows, int64_t cols) noexcept nogil:
    # Rows of elements inside a plane whose columns are closer than its rows (Fortran's order): as many columns as make 16 bytes
    # are converted at a time, whole cache lines, and transposed.  1024x1024 float32, 3x3: 0.37 ms; row by row 2.2 ms.
    cdef int64_t size = sizeof(acc_t), most = 16 // size, i = 0, j, k, n, m
    cdef acc_t columns[4 * COLUMN_ROWS]
    while i < cols:
        n = min(most, cols - i)
        for j in range(0, rows, 64):
            m = min(<int64_t>COLUMN_ROWS, rows - j)
            for k in range(n):
                stage_run(&columns[k * COLUMN_ROWS], at + (i + k) * g.x_col + j * g.x_row, g.x_row, m, g.src_code)
            transpose(<const char *>columns, COLUMN_ROWS * size, <char *>(dst + j * pitch + i), pitch * size, n, m, size)
        i += n


cdef void stage_rows(const Geometry *g, acc_t *dst, int64_t pitch, const char *plane, acc_t fill, int64_t top, int64_t rows,
                     int64_t first, int64_t n) noexcept nogil:
    # Rows of a window from position `top` on, for steps of 1: what `stage_row` makes of each.
    cdef int64_t low = min(max(-top, <int64_t>0), rows), high = max(min(rows, g.height - top), low), j
    cdef int64_t before = min(n, max(-first, <int64_t>0)), inside = max(min(n - before, g.width - first - before), <int64_t>0)
    if inside == 0 or high - low < 4 or g.x_row * g.x_row >= g.x_col * g.x_col:
        high = low
    if low < high:
        stage_turned(g, dst + low * pitch + before, pitch, plane + (top + low) * g.x_row + (first + before) * g.x_col,
                     high - low, inside)
    for j in range(rows):
        if low <= j < high:
            stage_ends(g, dst + j * pitch, plane + (top + j) * g.x_row, fill, first, n, before, inside)
        else:
            stage_row(g, dst + j * pitch, source_row(g, plane, top + j), fill, first, n)
