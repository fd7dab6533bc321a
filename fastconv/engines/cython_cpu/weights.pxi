# Weights of convolutions as rows of lanes, [group][block of lanes][row][lane]: a unit is a block.

cdef struct WeightsArgs:
    const char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t lanes, lane_step, runs, run_step, length, group_step, size, rows
    const int64_t *row_of


cdef void weights_unit(const WeightsArgs *a, int64_t unit, acc_t *packed) noexcept nogil:
    cdef int64_t width = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(acc_t), blocks = (a.lanes + width - 1) // width
    cdef int64_t first = unit % blocks * width, at = unit // blocks * a.group_step + first * a.lane_step
    pack_lanes(<const acc_t *>a.x + at, a.lane_step, a.run_step, a.runs, a.length, a.size - at, a.row_of,
               packed + unit * a.rows * width, min(width, a.lanes - first))


cdef void weights_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    weights_unit(<const WeightsArgs *>args, unit, <float *>(<const WeightsArgs *>args).out)


cdef void weights_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    weights_unit(<const WeightsArgs *>args, unit, <double *>(<const WeightsArgs *>args).out)


cdef void weights_u32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    weights_unit(<const WeightsArgs *>args, unit, <uint32_t *>(<const WeightsArgs *>args).out)


cdef void weights_u64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    weights_unit(<const WeightsArgs *>args, unit, <uint64_t *>(<const WeightsArgs *>args).out)
