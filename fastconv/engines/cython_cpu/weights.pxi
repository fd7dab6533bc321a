# Weights of convolutions as rows of lanes, [group][block of filters][k][lane]: a unit is a block.

cdef struct WeightsArgs:
    const char *x
    const void *w
    char *out
    const void *bias
    const void *fill
    char *scratch
    int64_t scratch_bytes
    int64_t filters, depth
    const int64_t *row_of


cdef void weights_unit(const WeightsArgs *a, int64_t unit, acc_t *packed) noexcept nogil:
    cdef int64_t lanes = GEMM_COLS * VECTOR_BYTES // <int64_t>sizeof(acc_t), blocks = (a.filters + lanes - 1) // lanes
    cdef int64_t group = unit // blocks, first = unit % blocks * lanes
    pack_filters(<const acc_t *>a.x + (group * a.filters + first) * a.depth, a.depth, a.depth, a.row_of,
                 packed + unit * a.depth * lanes, min(lanes, a.filters - first))


cdef void weights_f32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    weights_unit(<const WeightsArgs *>args, unit, <float *>(<const WeightsArgs *>args).out)


cdef void weights_f64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    weights_unit(<const WeightsArgs *>args, unit, <double *>(<const WeightsArgs *>args).out)


cdef void weights_u32(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    weights_unit(<const WeightsArgs *>args, unit, <uint32_t *>(<const WeightsArgs *>args).out)


cdef void weights_u64(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    weights_unit(<const WeightsArgs *>args, unit, <uint64_t *>(<const WeightsArgs *>args).out)
