# The kernels of pooling, by how the input is read.


cdef void max_pool(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const PoolArgs *a = <const PoolArgs *>args
    if a.staging == WHOLE_PLANES:
        plane_unit(a, False, unit)
        return
    if a.staging == SMALL_PLANES:
        lanes_unit(a, LANES_MAX, unit)
        return
    if a.staging == SHORT_ROWS:
        pool_lines_unit(a, LANES_MAX, unit)
        return
    if a.staging == NARROW_ROWS:
        narrow_unit(a, False, unit)
        return
    if a.staging == MANY_LANES:
        pixels_unit(a, False, unit)
        return
    pool_unit(a, MAX_POOL[a.dtype], unit, worker, False)


cdef void max_pool_indices(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const PoolArgs *a = <const PoolArgs *>args
    if a.staging == WHOLE_PLANES:
        scan_unit(a, unit)
        return
    if a.staging == SMALL_PLANES:
        lanes_unit(a, LANES_PLACES, unit)
        return
    pool_unit(a, MAX_POOL[a.dtype], unit, worker, True)


cdef void avg_pool(const int64_t *args, int64_t unit, int64_t worker) noexcept nogil:
    cdef const PoolArgs *a = <const PoolArgs *>args
    if a.staging == SMALL_PLANES:
        lanes_unit(a, LANES_AVERAGE if a.weights == NULL else LANES_GRADIENT, unit)
        return
    if a.staging == SHORT_ROWS:
        pool_lines_unit(a, LANES_AVERAGE if a.weights == NULL else LANES_GRADIENT, unit)
        return
    if a.staging == NARROW_ROWS:
        narrow_unit(a, True, unit)
        return
    if a.staging == WHOLE_PLANES and a.weights != NULL:
        pool_gradient_unit(a, unit, worker)
        return
    if a.staging == WHOLE_PLANES:
        plane_unit(a, True, unit)
        return
    if a.staging == MANY_LANES:
        pixels_unit(a, True, unit)
        return
    pool_unit(a, AVG_POOL[SUM_LEVEL(a.rows * a.kernel_x)][a.dtype], unit, worker, False)


POOL_TYPES = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()
