# Convolution by Fourier transforms of overlapping blocks: see fastconv.algorithms.overlap.
#
# A unit is a pair of blocks, the real and the imaginary part of one complex block in scratch memory: with the spectrum
# of a real kernel both are filtered at once.  Transforms run along z and y where the lines lie; lines along x
# are transposed, transformed, multiplied and transformed back while they are in the first cache.

cdef struct OverlapArgs:
    Geometry g
    const int64_t *src_planes
    const int64_t *out_planes
    int64_t positions, out_depth, kernel_z
    int64_t length_z, length_y, length_x, step_z, step_y, step_x
    int64_t blocks_z, blocks_y, blocks_x, n_entries, lines
    const int64_t *radices_z
    const int64_t *radices_y
    const int64_t *radices_x
    const void *roots_z
    const void *roots_y
    const void *roots_x
    int64_t pitch, slice
    int64_t imaginary
    int64_t spectrum_step
    int64_t analysis, rounded, doubts
    int64_t units, multiplier, x_kernel, out_kernel, w_kernel
    int64_t biases, activation, slope


cdef struct Entry:
    int64_t plane, z, y, x  # the first output


cdef inline Entry entry_at(const OverlapArgs *a, int64_t index) noexcept nogil:
    cdef Entry e
    e.x = index % a.blocks_x * a.step_x
    index = index // a.blocks_x
    e.y = index % a.blocks_y * a.step_y
    index = index // a.blocks_y
    e.z = index % a.blocks_z * a.step_z
    e.plane = index // a.blocks_z
    return e


cdef void gather_line(const OverlapArgs *a, real_t *dst, Entry e, int64_t z, int64_t y, int64_t part, bint inside) noexcept nogil:
    # A line of a block's inputs; zeros where no output of the block depends on them.
    cdef const Geometry *g = &a.g
    cdef const char *plane = NULL
    cdef const char *row = NULL
    cdef int64_t n = 0, i
    if inside and e.z + z < a.positions and e.y + y < g.out_height + g.kernel_y - 1:
        n = min(a.length_x, g.out_width + g.kernel_x - 1 - e.x)
        i = a.src_planes[e.plane * a.positions + e.z + z]
        if i != BEYOND:
            row = source_row(g, g.x + i + part * a.imaginary, e.y + y - g.pad_y)
        stage_row(g, dst, row, (<const real_t *>g.fill)[part if a.imaginary else 0], e.x - g.pad_x, n)
    for i in range(n, a.length_x):
        dst[i] = 0


cdef void gather(const OverlapArgs *a, real_t *re, real_t *im, int64_t unit) noexcept nogil:
    cdef int64_t part, i, z, y, index
    cdef real_t *dst
    cdef Entry e
    for part in range(2):
        dst = im if part else re
        for i in range(a.lines):
            index = (unit if a.imaginary else 2 * unit + part) * a.lines + i
            e = entry_at(a, index)
            for z in range(a.length_z):
                for y in range(a.length_y):
                    gather_line(a, dst + z * a.slice + (i + y) * a.pitch, e, z, y, part, index < a.n_entries)


cdef void note_doubts(const OverlapArgs *a, const double *src, const char *out, int64_t n, int64_t worker) noexcept nogil:
    # List the outputs of which rounding errors decide what they are truncated to.
    cdef int64_t *noted = <int64_t *><uintptr_t>a.g.bias + worker * (1 + a.doubts)
    cdef double guard = (<const double *>a.g.fill)[2]
    cdef int64_t i
    if not near_integers(src, n, guard):
        return
    for i in range(n):
        if near_integers(src + i, 1, guard):
            if noted[0] < a.doubts:
                noted[1 + noted[0]] = out + i * a.g.out_col - a.g.out
            noted[0] += 1


cdef inline void report_if_not_finite(const OverlapArgs *a, real_t first) noexcept nogil:
    if not a.rounded and first - first != 0:
        (<int64_t *><uintptr_t>a.g.bias)[0] = 1


cdef inline void store_line(const OverlapArgs *a, real_t *src, char *out, int64_t n, int64_t worker) noexcept nogil:
    cdef int64_t i
    if a.biases:
        for i in range(n):
            src[i] += (<const real_t *>a.g.fill)[a.biases]
    if a.activation:
        activate_run(src, n, a.activation, slope_of(a.slope))
    if a.rounded == 3:
        note_doubts(a, <const double *>src, out, n, worker)
    elif a.rounded:
        round_run(<double *>src, n, a.rounded == 1)
    if a.rounded == 1:
        store_run(<const uint64_t *>src, out, a.g.out_col, n, a.g.out_code)
    else:
        store_run(<const real_t *>src, out, a.g.out_col, n, a.g.out_code)


cdef void scatter(const OverlapArgs *a, real_t *re, real_t *im, int64_t unit, int64_t worker) noexcept nogil:
    # The outputs of a unit: those behind the first taps of each axis.
    cdef const Geometry *g = &a.g
    cdef int64_t part, i, z, y, index, n
    cdef real_t *src
    cdef Entry e
    cdef char *out
    for part in range(2):
        for i in range(a.lines):
            index = (unit if a.imaginary else 2 * unit + part) * a.lines + i
            if index >= a.n_entries:
                break
            e = entry_at(a, index)
            n = min(a.step_x, g.out_width - e.x)
            src = (im if part else re) + (a.kernel_z - 1) * a.slice + (i + g.kernel_y - 1) * a.pitch + g.kernel_x - 1
            report_if_not_finite(a, src[0])
            for z in range(min(a.step_z, a.out_depth - e.z)):
                out = g.out + a.out_planes[e.plane * a.out_depth + e.z + z] + part * a.imaginary + e.x * g.out_col
                for y in range(min(a.step_y, g.out_height - e.y)):
                    src = (im if part else re) + (z + a.kernel_z - 1) * a.slice + (i + y + g.kernel_y - 1) * a.pitch
                    store_line(a, src + (g.kernel_x - 1), out + (e.y + y) * g.out_row, n, worker)


cdef void overlap_down(const OverlapArgs *a, real_t *re, real_t *im, bint back) noexcept nogil:
    # Transforms along z and y, or back: then only lines that hold outputs.
    cdef int64_t lanes = tile_cols(re) // TILE_COLS, z, y, x, at
    cdef int64_t first = (a.g.kernel_x - 1) // lanes if back else 0
    if a.radices_z != NULL and not back:
        for y in range(a.length_y):
            for x in range(a.length_x // lanes):
                at = y * a.pitch + x * lanes
                forwards(re + at, im + at, a.slice, a.length_z, a.radices_z, <const real_t *>a.roots_z)
    if a.radices_y != NULL:
        for z in range(a.length_z):
            for x in range(first, a.length_x // lanes):
                at = z * a.slice + x * lanes
                if back:
                    backwards(re + at, im + at, a.pitch, a.length_y, a.radices_y, <const real_t *>a.roots_y)
                else:
                    forwards(re + at, im + at, a.pitch, a.length_y, a.radices_y, <const real_t *>a.roots_y)
    if a.radices_z != NULL and back:
        for y in range(a.g.kernel_y - 1, a.length_y):
            for x in range(first, a.length_x // lanes):
                at = y * a.pitch + x * lanes
                backwards(re + at, im + at, a.slice, a.length_z, a.radices_z, <const real_t *>a.roots_z)


cdef void overlap_across(const OverlapArgs *a, real_t *re, real_t *im, real_t *tile) noexcept nogil:
    # The product with the spectrum, between transforms of the lines along x.
    cdef int64_t lanes = tile_cols(re) // TILE_COLS, z, y, at, n = 0
    cdef real_t *spectrum = <real_t *>(a.g.out if a.analysis else a.g.w)
    cdef real_t scale = <real_t>(1.0 / (a.length_z * a.length_y * (a.length_x if a.radices_x != NULL else 1)))
    if a.radices_x == NULL:
        for z in range(a.length_z):
            for y in range(a.length_y):
                at = z * a.slice + y * a.pitch
                if a.analysis:
                    spectrum[n] = re[at] * scale
                    spectrum[n + 1] = im[at] * scale
                else:
                    multiply_line(re + at, im + at, a.length_x, spectrum[n], spectrum[n + 1])
                n += 2
        return
    for z in range(a.length_z):
        for y in range(max(a.length_y, a.lines) // lanes):
            at = z * a.slice + y * lanes * a.pitch
            if a.analysis:
                spectrum_of_lines(re + at, im + at, a.pitch, a.length_x, a.radices_x, <const real_t *>a.roots_x, scale,
                                  spectrum + n * a.spectrum_step)
            else:
                multiply_lines(re + at, im + at, a.pitch, a.length_x, a.radices_x, <const real_t *>a.roots_x,
                               spectrum + n * a.spectrum_step, tile)
            n += 1


cdef void overlap_unit(const OverlapArgs *all_kernels, int64_t unit, real_t *re, int64_t worker) noexcept nogil:
    # Units run over (kernel, pair of blocks).
    cdef OverlapArgs own = all_kernels[0]
    cdef const OverlapArgs *a = &own
    cdef int64_t size = own.lines * own.pitch if own.lines > 1 else own.length_z * own.slice, kernel = unit // own.units
    cdef real_t *im = re + size
    own.g.x += kernel // own.multiplier * own.x_kernel
    own.g.out += kernel * own.out_kernel
    own.g.w = <const char *>own.g.w + kernel * own.w_kernel
    own.biases += kernel if own.biases else 0
    unit -= kernel * own.units
    gather(a, re, im, unit)
    overlap_down(a, re, im, False)
    overlap_across(a, re, im, im + size)
    if not a.analysis:
        overlap_down(a, re, im, True)
        scatter(a, re, im, unit, worker)


cdef inline char *scratch_of(const OverlapArgs *a, int64_t worker) noexcept nogil:
    # Aligned: vectors of a transform lie within lines of the cache.
    return <char *>((<uintptr_t>a.g.scratch + 63) // 64 * 64) + worker * a.g.scratch_bytes


cdef void overlap_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const OverlapArgs *a = <const OverlapArgs *>args
    overlap_unit(a, unit, <float *>scratch_of(a, worker), worker)


cdef void overlap_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const OverlapArgs *a = <const OverlapArgs *>args
    overlap_unit(a, unit, <double *>scratch_of(a, worker), worker)
