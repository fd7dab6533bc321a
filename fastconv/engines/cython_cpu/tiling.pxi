# Tiles of moving windows: what `sliding` and `taps` know of planes, and the staging of their rows.

from libc.string cimport memcpy, memmove

cdef extern from "sliding.h" nogil:
    enum: UINT16
    ctypedef struct Quotient:
        int64_t divisor, factor, shift, nearest
    ctypedef struct Ahead:
        const char *out
        int64_t out_step, by
        const char *const *row
    ctypedef bint (*Few)(char *dst, int64_t step, const char **row, int64_t n, const Quotient *q,
                         const Ahead *ahead) noexcept nogil
    ctypedef void (*Around)(char *dst, int64_t step, const char **before, const char *core, const char **after,
                            int64_t n, const Quotient *q, const Ahead *ahead) noexcept nogil
    ctypedef struct Downwards:
        Few twos, threes, fives
        Around fours
        bint (*eights)(char *dst, int64_t step, const char **row, int64_t taps, const char **core, int64_t cores,
                       char *block, int64_t n, const Quotient *q, const Ahead *ahead) noexcept nogil
        void (*gather)(char *dst, const char **row, int64_t rows, const char *like, int64_t n) noexcept nogil
    ctypedef struct WindowOps:
        int64_t size
        void (*load)(char *dst, const char *memory, int64_t step, int64_t n, int64_t code) noexcept nogil
        void (*save)(const char *src, char *memory, int64_t step, int64_t n, int64_t code) noexcept nogil
        void (*fold)(char *dst, const char **src, int64_t count, int64_t n) noexcept nogil
        void (*last)(char *dst, int64_t dst_step, const char **src, int64_t src_step, int64_t count, int64_t rows,
                     int64_t n, const Quotient *q, const Ahead *ahead) noexcept nogil
        Downwards down
        void (*overlapping)(char *dst, int64_t dst_step, char *src, int64_t src_step, int64_t taps, int64_t rows, int64_t n,
                       const Ahead *ahead) noexcept nogil
    bint rows_of_numbers(int64_t code, const char **row, int64_t rows, int64_t n)
    bint is_number(int64_t code, const char *p)
    void bytes_apart(char *dst, const char *src, int64_t taps, int64_t step, int64_t n, const Quotient *q, const char *next_row)
    void bytes_pairs(char *dst, const char *src, int64_t n)
    void bytes_across(char *dst, const char *src, const char *inner, int64_t taps, int64_t n, const Quotient *q,
                      const char *next_row)
    const Downwards bytes_down
    const WindowOps *WINDOW_OPS[3][11]
    const WindowOps *QUICK_OPS[3][11]
    void fold_larger_raised(char *dst, const char **src, const double *numbers, int64_t count, int64_t n)
    void fold_smaller_raised(char *dst, const char **src, const double *numbers, int64_t count, int64_t n)

cdef extern from "transpose.h" nogil:
    void transpose(const char *src, int64_t src_step, char *dst, int64_t dst_step, int64_t cols, int64_t rows, int64_t size)

cdef struct Tiling:
    const char *x
    const void *w
    char *out
    const void *bias
    const char *fill
    char *scratch
    int64_t scratch_bytes
    int64_t kind, acc_code
    int64_t height, width, x_row, x_col, out_row, out_col
    int64_t pad_y, pad_x, halo_y, halo_x
    const int64_t *map_y
    const int64_t *map_x
    int64_t src_code, out_code
    const int64_t *src_planes
    const int64_t *out_planes
    int64_t tile_rows, tile_cols, row_tiles, col_tiles
    int64_t pitch
    int64_t second
    const int64_t *passes

# A tile of the output.
cdef struct Tile:
    int64_t plane, y, x, rows, cols


cdef inline int64_t whole_vectors(int64_t n) noexcept nogil:
    return (n + VECTOR_BYTES - 1) // VECTOR_BYTES * VECTOR_BYTES


cdef inline Tile tile_at(const Tiling *t, int64_t unit) noexcept nogil:
    cdef Tile tile
    cdef int64_t across = unit % t.col_tiles, down = unit // t.col_tiles
    tile.plane = down // t.row_tiles
    tile.y = down % t.row_tiles * t.tile_rows
    tile.x = across * t.tile_cols
    tile.rows = min(t.tile_rows, t.height - tile.y)
    tile.cols = min(t.tile_cols, t.width - tile.x)
    return tile


cdef inline void fill_run(const WindowOps *ops, char *dst, const char *fill, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        memcpy(dst + i * ops.size, fill, ops.size)


cdef inline int64_t edge_run(const Tiling *t, int64_t position, int64_t n, int64_t *step) noexcept nogil:
    # How many of n positions beyond the ends of a row, all on one side, take columns equally far apart.
    cdef const int64_t *edges = t.map_x + (position + t.pad_x if position < 0 else t.pad_x + position - t.width)
    cdef int64_t run = 1
    n = min(n, -position) if position < 0 else n
    step[0] = edges[1] - edges[0] if n > 1 else 0
    while run < n and edges[run] - edges[run - 1] == step[0]:
        run += 1
    return run


cdef void stage_columns(const Tiling *t, const WindowOps *ops, char *dst, const char *row, int64_t x_col, int64_t code,
                        int64_t first, int64_t n, const char *fill) noexcept nogil:
    # n columns of a row from position `first` on, which may lie beyond its ends.
    cdef int64_t i = 0, column, run, step
    while i < n:
        column = mapped(t.map_x, first + i, t.width, t.pad_x)
        if 0 <= first + i < t.width:
            run = min(n - i, t.width - first - i)
            step = 1
        else:
            run = edge_run(t, first + i, n - i, &step)
        if column < 0:
            fill_run(ops, dst + i * ops.size, fill, run)
        else:
            ops.load(dst + i * ops.size, row + column * x_col, step * x_col, run, code)
        i += run
