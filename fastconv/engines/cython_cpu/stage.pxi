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
        if before:
            stage_edge(g, dst, row, fill, g.map_x + (first + g.pad_x), before, dst + before, low, inside)
        i = before + inside
        if i < n:
            stage_edge(g, dst + i, row, fill, g.map_x + (g.pad_x + first + i - g.width), n - i, dst + before, low, inside)
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
