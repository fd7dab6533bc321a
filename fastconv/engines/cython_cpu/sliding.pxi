# Moving windows: maxima, minima and means of full windows, axis after axis.
#
# A unit is a tile of the output.  The tile and the halo of its windows are staged in scratch
# memory, positions beyond the border by way of the edge maps; there passes fold it, each a flat
# loop over the tile, along rows and down columns alike.

from libc.string cimport memcpy

cdef extern from "sliding.h" nogil:
    ctypedef struct WindowOps:
        int64_t size
        void (*load)(char *dst, const char *memory, int64_t step, int64_t n, int64_t code) noexcept nogil
        void (*save)(const char *src, char *memory, int64_t step, int64_t n, int64_t code) noexcept nogil
        void (*fold)(char *dst, const char **src, int64_t taps, int64_t n) noexcept nogil
        void (*divide)(char *dst, int64_t n, int64_t divisor, int64_t factor, int64_t shift) noexcept nogil
    const WindowOps *WINDOW_OPS[3][11]
    void fold_larger_raised(char *dst, const char **src, const double *numbers, int64_t taps, int64_t n)
    void fold_smaller_raised(char *dst, const char **src, const double *numbers, int64_t taps, int64_t n)

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

cdef struct SlidingArgs:
    Tiling t
    const int64_t *phases
    int64_t n_phases
    int64_t stored
    int64_t out_size

cdef enum:
    PASS_SLOTS = 7
    PHASE_SLOTS = 6

# A tile of the output.
cdef struct Tile:
    int64_t plane, y, x, rows, cols


cdef inline Tile tile_at(const Tiling *t, int64_t unit) noexcept nogil:
    cdef Tile tile
    cdef int64_t across = unit % t.col_tiles, down = unit // t.col_tiles
    tile.plane = down // t.row_tiles
    tile.y = down % t.row_tiles * t.tile_rows
    tile.x = across * t.tile_cols
    tile.rows = min(t.tile_rows, t.height - tile.y)
    tile.cols = min(t.tile_cols, t.width - tile.x)
    return tile


cdef inline void fill_run(const Tiling *t, const WindowOps *ops, char *dst, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        memcpy(dst + i * ops.size, t.fill, ops.size)


cdef inline int64_t edge_run(const Tiling *t, int64_t position, int64_t n, int64_t *step) noexcept nogil:
    # How many of n positions beyond the ends of a row, all on one side, take columns equally far apart.
    cdef const int64_t *edges = t.map_x + (position + t.pad_x if position < 0 else t.pad_x + position - t.width)
    cdef int64_t run = 1
    n = min(n, -position) if position < 0 else n
    step[0] = edges[1] - edges[0] if n > 1 else 0
    while run < n and edges[run] - edges[run - 1] == step[0]:
        run += 1
    return run


cdef void stage_columns(const Tiling *t, const WindowOps *ops, char *dst, const char *row, int64_t first,
                        int64_t n) noexcept nogil:
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
            fill_run(t, ops, dst + i * ops.size, run)
        else:
            ops.load(dst + i * ops.size, row + column * t.x_col, step * t.x_col, run, t.src_code)
        i += run


cdef void stage_tile(const Tiling *t, const WindowOps *ops, char *dst, int64_t offset, const Tile *tile) noexcept nogil:
    # A tile of a source plane and what its windows reach around it.
    cdef int64_t j, row, n = tile.cols + t.halo_x
    for j in range(tile.rows + t.halo_y):
        row = -1 if offset == BEYOND else mapped(t.map_y, tile.y - t.pad_y + j, t.height, t.pad_y)
        if row < 0:
            fill_run(t, ops, dst, n)
        else:
            stage_columns(t, ops, dst, t.x + offset + row * t.x_row, tile.x - t.pad_x, n)
        dst += t.pitch * ops.size


cdef void refill(const Tiling *t, const WindowOps *ops, char *dst, const Tile *tile, int64_t along,
                 int64_t rows) noexcept nogil:
    # The fill value at all positions beyond the border of one axis.
    cdef int64_t i, j, n = t.pitch if along else rows, first = tile.x - t.pad_x if along else tile.y - t.pad_y
    cdef int64_t limit = t.width if along else t.height
    for i in range(n):
        if not 0 <= first + i < limit:
            if along == 0:
                fill_run(t, ops, dst + i * t.pitch * ops.size, t.pitch)
            else:
                for j in range(rows):
                    fill_run(t, ops, dst + (j * t.pitch + i) * ops.size, 1)


cdef void run_passes(const Tiling *t, const WindowOps *ops, int64_t begin, int64_t end, char *x, char *s,
                     int64_t total, const double *raised) noexcept nogil:
    cdef const char *src[4]
    cdef const int64_t *p
    cdef int64_t i, k
    for i in range(begin, end):
        p = t.passes + i * PASS_SLOTS
        for k in range(4):
            src[k] = (s if k < p[1] else x) + p[3 + k]
        if raised == NULL:
            ops.fold(s, src, p[0], total - p[2])
        elif t.kind == 0:
            fold_larger_raised(s, src, raised + 4 * i, p[0], total - p[2])
        else:
            fold_smaller_raised(s, src, raised + 4 * i, p[0], total - p[2])


cdef void save_tile(const Tiling *t, const WindowOps *ops, const char *src, const Tile *tile) noexcept nogil:
    cdef char *out = t.out + t.out_planes[tile.plane] + tile.y * t.out_row + tile.x * t.out_col
    cdef int64_t j
    for j in range(tile.rows):
        ops.save(src, out, t.out_col, tile.cols, t.out_code)
        src += t.pitch * ops.size
        out += t.out_row


cdef void convert_tile(const SlidingArgs *a, const WindowOps *ops, char *stored, char *acc, int64_t n) noexcept nogil:
    # What a pass leaves is an element of the output, as SciPy has it.
    ops.save(acc, stored, a.out_size, n, a.t.out_code)
    ops.load(acc, stored, a.out_size, n, a.t.out_code)


cdef void sliding_window(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const SlidingArgs *a = <const SlidingArgs *>args
    cdef const Tiling *t = &a.t
    cdef const WindowOps *ops = WINDOW_OPS[t.kind][t.acc_code]
    cdef Tile tile = tile_at(t, unit)
    cdef char *scratch = t.scratch + worker * t.scratch_bytes
    cdef char *x = scratch
    cdef char *s = scratch + t.second
    cdef int64_t rows = tile.rows + t.halo_y, i, begin = 0
    cdef const int64_t *phase
    stage_tile(t, ops, x, t.src_planes[tile.plane], &tile)
    for i in range(a.n_phases):
        phase = a.phases + i * PHASE_SLOTS
        if i > 0 and a.stored >= 0:
            convert_tile(a, ops, scratch + a.stored, x, rows * t.pitch)
        if phase[2]:
            refill(t, ops, x, &tile, phase[0], rows)
        run_passes(t, ops, begin, phase[1], x, s, rows * t.pitch, NULL)
        if phase[0] == 0:
            rows -= t.halo_y
        if ops.divide != NULL:
            ops.divide(s, rows * t.pitch, phase[3], phase[4], phase[5])
        begin = phase[1]
        x, s = s, x
    save_tile(t, ops, x, &tile)



WINDOW_TYPES = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()
