# Copies that tapes make: elements as they are, converted to the types that kernels sum in, or stored from these.

cdef enum:
    MOVED = 0  # elements of `code` bytes, as they are
    STAGED_F32 = 1  # elements of type `code`, converted to the accumulators' type; next to each other in the target
    STAGED_F64 = 2
    STAGED_U32 = 3
    STAGED_U64 = 4
    STORED_F32 = 5  # elements of an accumulator's type, next to each other, converted to type `code`
    STORED_F64 = 6

cdef struct Copy:
    int axes, kind
    int64_t code
    bint negative  # of floats that are staged
    int64_t shape[MAX_AXES]
    int64_t steps[MAX_AXES]  # in bytes
    int64_t to_steps[MAX_AXES]


cdef inline bint is_zero(const char *at, int64_t size) noexcept nogil:
    cdef int64_t i
    for i in range(size):
        if at[i]:
            return False
    return True


cdef inline void move_run(int64_t size, int64_t n, const char *at, int64_t step, char *to, int64_t to_step) noexcept nogil:
    cdef int64_t i
    if step == size and to_step == size:
        memcpy(to, at, n * size)
    elif step == 0 and to_step == size and is_zero(at, size):
        memset(to, 0, n * size)
    elif size == 4:
        for i in range(n):
            (<uint32_t *>(to + i * to_step))[0] = (<const uint32_t *>(at + i * step))[0]
    elif size == 8:
        for i in range(n):
            (<uint64_t *>(to + i * to_step))[0] = (<const uint64_t *>(at + i * step))[0]
    elif size == 2:
        for i in range(n):
            (<uint16_t *>(to + i * to_step))[0] = (<const uint16_t *>(at + i * step))[0]
    elif size == 1:
        for i in range(n):
            to[i * to_step] = at[i * step]
    else:
        for i in range(n):
            memcpy(to + i * to_step, at + i * step, size)


cdef void copy_run(const Copy *c, int64_t n, int64_t step, int64_t to_step, const char *at, char *to) noexcept nogil:
    cdef int64_t i
    if c.kind == MOVED:
        move_run(c.code, n, at, step, to, to_step)
    elif c.kind == STAGED_F32:
        stage_run(<float *>to, at, step, n, c.code)
        for i in range(n if c.negative else 0):
            (<float *>to)[i] = -(<float *>to)[i]
    elif c.kind == STAGED_F64:
        stage_run(<double *>to, at, step, n, c.code)
        for i in range(n if c.negative else 0):
            (<double *>to)[i] = -(<double *>to)[i]
    elif c.kind == STAGED_U32:
        stage_run(<uint32_t *>to, at, step, n, c.code)
    elif c.kind == STAGED_U64:
        stage_run(<uint64_t *>to, at, step, n, c.code)
    elif c.kind == STORED_F32:
        store_run(<const float *>at, to, to_step, n, c.code)
    else:
        store_run(<const double *>at, to, to_step, n, c.code)


cdef void copy_axes(const Copy *c, int axis, const char *at, char *to) noexcept nogil:
    # Copy what lies along the axes `axis`..
    cdef int64_t i
    if axis == c.axes - 1:
        copy_run(c, c.shape[axis], c.steps[axis], c.to_steps[axis], at, to)
        return
    for i in range(c.shape[axis]):
        copy_axes(c, axis + 1, at + i * c.steps[axis], to + i * c.to_steps[axis])
