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


cdef inline void stage_one(const Geometry *g, acc_t *dst, const char *row, acc_t fill, int64_t position) noexcept nogil:
    # One element of a row at a position that may lie beyond its ends.
    cdef int64_t column = mapped(g.map_x, position, g.width, g.pad_x)
    if column < 0:
        dst[0] = fill
    else:
        stage_run(dst, row + column * g.x_col, g.x_col, <int64_t>1, g.src_code)


cdef void stage_edge(const Geometry *g, acc_t *dst, const char *row, acc_t fill, const int64_t *edges, int64_t n) noexcept nogil:
    # n neighbouring positions beyond an end of a row: pieces of it, forwards, backwards or one element repeated.
    cdef int64_t i = 0, run, step
    while i < n:
        run = 1
        if edges[i] < 0:
            dst[i] = fill
        else:
            step = edges[i + 1] - edges[i] if i + 1 < n else 0
            while i + run < n and edges[i + run] - edges[i + run - 1] == step:
                run += 1
            stage_run(dst + i, row + edges[i] * g.x_col, step * g.x_col, run, g.src_code)
        i += run


cdef void stage_row(const Geometry *g, acc_t *dst, const char *row, acc_t fill, int64_t first, int64_t n) noexcept nogil:
    # dst[i] = the element at position first + i * stride_x of a row (NULL: the fill value), i < n.
    cdef int64_t step = g.stride_x, i = 0, inside = 0
    if row == NULL:
        for i in range(n):
            dst[i] = fill
        return
    if step == 1 and first < 0:
        i = min(n, -first)
        stage_edge(g, dst, row, fill, g.map_x + (first + g.pad_x), i)
    while i < n and first + i * step < 0:
        stage_one(g, dst + i, row, fill, first + i * step)
        i += 1
    if first < g.width:
        inside = min(n, (g.width - first + step - 1) // step)
    if inside > i:
        stage_run(dst + i, row + (first + i * step) * g.x_col, step * g.x_col, inside - i, g.src_code)
        i = inside
    if step == 1 and i < n:
        stage_edge(g, dst + i, row, fill, g.map_x + (g.pad_x + first + i - g.width), n - i)
        return
    while i < n:
        stage_one(g, dst + i, row, fill, first + i * step)
        i += 1


cdef inline const char *source_row(const Geometry *g, const char *plane, int64_t position) noexcept nogil:
    # The row at a position of a plane, NULL for the fill value.
    cdef int64_t row = mapped(g.map_y, position, g.height, g.pad_y)
    return NULL if row < 0 else plane + row * g.x_row
