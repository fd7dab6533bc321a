# Blocks of outputs of 3x3 of a depthwise convolution whose lanes are filters: each pixel that they read is loaded once.  Those that
# reach beyond the border, or are smaller than others, have a table of where their pixels lie.

cdef extern from "tiles_all.h" nogil:
    void depthwise_outputs(...)
    enum: DEPTHWISE_ROWS
    enum: DEPTHWISE_PIXELS
    enum: DEPTHWISE_GRADIENT_ROWS


cdef enum:
    MOST_BLOCK = 81  # pixels that the windows of 4x4 outputs of stride 2 read


cdef void block_pixels(const Geometry *g, const acc_t **rows, int64_t n_rows, int64_t left, int64_t n_cols, int64_t width,
                       int64_t col, const acc_t *fill, const acc_t **table) noexcept nogil:
    # Where the pixels of columns left.. lie, of rows (NULL: the fill value) of `width` columns.
    cdef int64_t j, k, column
    for k in range(n_cols):
        column = mapped(g.map_x, left + k, width, g.pad_x)
        for j in range(n_rows):
            table[j * n_cols + k] = fill if column < 0 or rows[j] == NULL else rows[j] + column * col


cdef inline bint block_inside(const Geometry *g, const acc_t **rows, int64_t m, int64_t most, int64_t n, int64_t left,
                              int64_t width, int64_t col, const acc_t **table) noexcept nogil:
    # Whether a block is whole, and inside the image; then the table says where its rows begin.
    cdef int64_t j
    if m < most or n < DEPTHWISE_PIXELS or left < 0 or left + (n - 1) * g.stride_x + 3 > width or col == 0:
        return False
    for j in range((m - 1) * g.stride_y + 3):
        if rows[j] == NULL:
            return False
        table[j] = rows[j] + left * col
    return True


cdef void depthwise_blocks(const DepthwiseBoxes *a, const acc_t *w, const acc_t *bias, const acc_t *fill, const acc_t **rows,
                           int64_t left, int64_t width, int64_t col, acc_t *dst, int64_t dst_row, int64_t dst_col, int64_t m,
                           int64_t pixels, int64_t channels, const Finish *finish) noexcept nogil:
    # m rows of outputs of 3x3 whose windows begin at column `left` of the rows.
    cdef const Geometry *g = &a.g
    cdef const acc_t *table[MOST_BLOCK]
    cdef int64_t i = 0, n, step
    while i < pixels:
        n = min(<int64_t>DEPTHWISE_PIXELS, pixels - i)
        step = col
        if a.together > 1 or not block_inside(g, rows, m, DEPTHWISE_ROWS, n, left, width, col, table):
            block_pixels(g, rows, (m - 1) * g.stride_y + 3, left, (n - 1) * g.stride_x + 3, width, col, fill, table)
            step = 0
        depthwise_outputs(w, a.pitch, bias, <const acc_t **>table, step, g.stride_x, dst + i * dst_col, dst_row, dst_col, m, n,
                          channels, a.ahead if a.reading == IN_PLACE else 0, finish, a.together)
        i += n
        left += n * g.stride_x
