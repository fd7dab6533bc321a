# Elements moved to and from positions in planes: unpooling, and gradients of maxima.
#
# A unit is some channels of an image, so that no two units write to the same place.  16-bit floats are added in a plane
# of floats in scratch memory.  `bias[0]` tells whether there was a position outside a plane.

from libc.string cimport memset


cdef extern from "unpool.h" nogil:
    ctypedef struct Positions:
        int64_t first, all, count, step, lane, width, height, row, depth
    int unpool_run(char *plane, const Positions *p, char *x, int64_t x_step, const char *idx, int64_t idx_step, int64_t n,
                   int64_t kind, int64_t dtype, int64_t size)
    void clear_run(char *dst, int64_t bytes)
    void unfold_row(char *dst, int64_t dst_step, const char *src, int64_t src_step, int64_t before, int64_t n, int64_t after,
                    int64_t size)
    void fold_merge(char *dst, const char *even, const char *odd, int64_t n, int64_t size)
    void fold_run(char *dst, int64_t dst_step, const char *src, int64_t src_step, int64_t n, int64_t dtype, int64_t size)

cdef enum:
    CLEARED = 8192  # bytes of planes that follow each other and are cleared at once

cdef enum:
    UNPOOL_PLACE, UNPOOL_ADD, UNPOOL_TAKE

cdef struct UnpoolArgs:
    char *x
    const char *w
    char *out
    int64_t *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t kind, dtype, size
    int64_t channels, chunk, apart
    int64_t depth, height, width
    int64_t x_n, x_c, x_z, x_row, x_col
    int64_t idx_n, idx_c, idx_z, idx_row, idx_col
    int64_t plane_depth, plane_height, plane_width
    int64_t plane_n, plane_c, plane_z, plane_row, plane_col
    int64_t flat, staged


cdef inline void pool_fill_steps(char *dst, int64_t step, int64_t n, int64_t size) noexcept nogil:
    cdef int64_t i
    if step == size:
        clear_run(dst, n * size)
        return
    for i in range(n):
        memset(dst + i * step, 0, size)


cdef void clear_planes(const UnpoolArgs *a, char *plane, int64_t lanes) noexcept nogil:
    # Zeros in some channels of an image.
    cdef int64_t z, y, x, run = a.plane_width * a.size
    cdef bint rows = a.plane_col == a.size and lanes == 1 or a.plane_c == a.size and a.plane_col == lanes * a.size
    if rows and a.plane_row == run * lanes and a.plane_z == a.plane_height * a.plane_row:
        memset(plane, 0, run * lanes * a.plane_height * a.plane_depth)
        return
    for z in range(a.plane_depth):
        for y in range(a.plane_height):
            if rows:
                memset(plane + z * a.plane_z + y * a.plane_row, 0, run * lanes)
                continue
            for x in range(a.plane_width):
                pool_fill_steps(plane + z * a.plane_z + y * a.plane_row + x * a.plane_col, a.plane_c, lanes, a.size)


cdef int move_all(const UnpoolArgs *a, char *plane, const Positions *p, char *x, const char *idx, int64_t lanes,
                   int64_t dtype) noexcept nogil:
    # All elements of some channels: along rows, or along channels that are next to each other.
    cdef int64_t z, y, i, at_x, at_idx
    cdef int outside = 0
    for z in range(a.depth):
        for y in range(a.height):
            at_x, at_idx = z * a.x_z + y * a.x_row, z * a.idx_z + y * a.idx_row
            if lanes == 1:
                outside |= unpool_run(plane, p, x + at_x, a.x_col, idx + at_idx, a.idx_col, a.width, a.kind, dtype, a.size)
                continue
            for i in range(a.width):
                outside |= unpool_run(plane, p, x + at_x + i * a.x_col, a.x_c, idx + at_idx + i * a.idx_col, a.idx_c, lanes,
                                      a.kind, dtype, a.size)
    return outside


cdef int add_staged(const UnpoolArgs *a, char *scratch, char *plane, char *x, const char *idx) noexcept nogil:
    # A channel of 16-bit floats, added as float32, some positions at a time.
    cdef int64_t width = a.plane_width, count = a.plane_depth * a.plane_height * width, most = (a.scratch_bytes - 8) // 4
    cdef int64_t first = 0, at, row, column, n, last
    cdef int outside = 0
    cdef Positions p
    while first < count:
        p = Positions(first, count, min(most, count - first), 4, 0, 0, 1, 0, 0)
        memset(scratch, 0, 4 * p.count)
        outside |= move_all(a, scratch, &p, x, idx, 1, a.dtype)
        at, last = first, first + p.count
        while at < last:
            row, column = at // width, at % width
            n = min(width - column, last - at)
            pool_store(plane + row // a.plane_height * a.plane_z + row % a.plane_height * a.plane_row + column * a.plane_col,
                       a.plane_col, a.plane_col, scratch + 4 * (at - first), FLOAT32, 1, n, 1, a.dtype, a.size)
            at += n
        first = last
    return outside


cdef void unpool(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const UnpoolArgs *a = <const UnpoolArgs *>args
    cdef int64_t chunks = (a.channels + a.chunk - 1) // a.chunk, n = unit // chunks, c = unit % chunks * a.chunk
    cdef int64_t channels = min(a.chunk, a.channels - c), lanes = 1 if a.apart else channels
    cdef int64_t count = a.plane_depth * a.plane_height * a.plane_width, cleared = 0, many = 1, some
    cdef bint dense = a.apart and a.flat and a.plane_col == a.size and a.plane_c == count * a.size
    cdef char *plane = a.out + n * a.plane_n + c * a.plane_c
    cdef char *x = a.x + n * a.x_n + c * a.x_c
    cdef const char *idx = a.w + n * a.idx_n + c * a.idx_c
    cdef int outside = 0
    cdef Positions p = Positions(0, count, count, a.plane_col, 0 if lanes == 1 else a.plane_c, 0 if a.flat else a.plane_width,
                                 a.plane_height, a.plane_row, a.plane_z)
    if lanes == 1 and a.depth * a.height * a.width == 1 and (dense or a.kind == UNPOOL_TAKE) and not a.staged:
        many, p.lane = max(1, CLEARED // max(1, a.plane_c)), a.plane_c  # planes of an element each are one run
    c = 0
    while c < channels // lanes:
        some = min(many, channels // lanes - c)
        if a.staged:
            outside |= add_staged(a, a.scratch + worker * a.scratch_bytes, plane, x, idx)
        else:
            if a.kind != UNPOOL_TAKE and dense and c >= cleared:
                cleared = min(channels, c + max(1, CLEARED // a.plane_c))
                memset(plane, 0, (cleared - c) * a.plane_c)
            elif a.kind != UNPOOL_TAKE and not dense:
                clear_planes(a, plane, lanes)
            if p.lane and lanes == 1:
                outside |= unpool_run(plane, &p, x, a.x_c, idx, a.idx_c, some, a.kind, a.dtype, a.size)
            else:
                outside |= move_all(a, plane, &p, x, idx, lanes, a.dtype)
        plane += some * a.plane_c
        x += some * a.x_c
        idx += some * a.idx_c
        c += some
    if outside and a.bias != NULL:
        a.bias[0] = 1
