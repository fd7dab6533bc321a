# cython: language_level=3
"""Tapes: the launches of one call, to be repeated on other arrays of the same shapes, strides and dtypes."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.contextvars cimport get_value
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.math cimport copysign, fabs
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcmp, memcpy, memset

import numpy

cimport numpy as cnp

cnp.import_array()

from fastconv.engines.threads._threads cimport default_threads, fastconv_kernel, pool_run

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1

cdef extern from "tiles_all.h" nogil:
    enum: ORDER_LINE
    enum: ORDER_SYMMETRIC
    enum: ORDER_ANTISYMMETRIC
    void stage_run(...)

cdef enum:
    MAX_SLOTS = 64
    MAX_AXES = 8
    MAX_ARRAYS = 6
    MAX_STEPS = 16
    MAX_COPIES = 4
    MAX_TEMPORARIES = 8
    MAX_BY_VALUE = 4096  # bytes
    MAX_TEXT = 1024

# Arguments besides arrays and tuples that calls are remembered by.
HASHABLE = frozenset((type, *map(type, map(numpy.dtype, "?bBhHiIlLqQefdgFDG")),
                      *(numpy.dtype(code).type for code in "?bBhHiIlLqQ")))
FLOATS = frozenset((numpy.float32, numpy.float64))

# The accumulators that weights are packed for, in the order of `PARTS` here.
PARTS = ("float32", "float64", "uint32", "uint64")

cdef struct Place:
    int buffer  # an array of the call, the result, a temporary; -1: none, or a constant at `offset`
    int64_t offset

# A part of the weights that lies in an array of the call: copied, converted and perhaps negated at each replay.
cdef struct Copy:
    Place source
    int axes
    int64_t code, to  # of the elements there; where the copy begins in the packed weights
    bint negative
    int64_t shape[MAX_AXES]
    int64_t steps[MAX_AXES]  # in bytes
    int64_t to_steps[MAX_AXES]

cdef struct Step:
    int64_t kernel, units, threads, scratch, n_slots
    int64_t slots[MAX_SLOTS]
    Place x, w, out, bias, fill
    int n_copies, part, order_slot  # order_slot: where the record tells the order of an exact sum of a line, or 0
    int64_t packed, taps  # bytes and elements of packed weights
    int64_t report  # bytes that stand in for weights, where the kernel tells what went wrong, or 0
    Copy copies[MAX_COPIES]


cdef int64_t line_order(const double *w, int64_t size) noexcept nogil:
    # How scipy.ndimage.correlate1d orders its sum: mirrored kernels of odd size by pairs.
    cdef bint symmetric = size % 2, antisymmetric = size % 2
    cdef int64_t i
    for i in range(size // 2):
        symmetric = symmetric and fabs(w[size - 1 - i] - w[i]) <= 2.220446049250313e-16
        antisymmetric = antisymmetric and fabs(w[size - 1 - i] + w[i]) <= 2.220446049250313e-16
    return ORDER_SYMMETRIC if symmetric else ORDER_ANTISYMMETRIC if antisymmetric else ORDER_LINE


cdef void pack_run(const Copy *c, int axis, int part, const char *at, char *to) noexcept nogil:
    cdef int64_t i, n = c.shape[axis]
    if part == 0:
        stage_run(<float *>to, at, c.steps[axis], n, c.code)
        for i in range(n if c.negative else 0):
            (<float *>to)[i] = -(<float *>to)[i]
    elif part == 1:
        stage_run(<double *>to, at, c.steps[axis], n, c.code)
        for i in range(n if c.negative else 0):
            (<double *>to)[i] = -(<double *>to)[i]
    elif part == 2:
        stage_run(<uint32_t *>to, at, c.steps[axis], n, c.code)
    else:
        stage_run(<uint64_t *>to, at, c.steps[axis], n, c.code)


cdef void pack(const Copy *c, int axis, int part, const char *at, char *to) noexcept nogil:
    # Copy the axes `axis`.. ; the elements of the last one are next to each other in the packed weights.
    cdef int64_t i
    if axis == c.axes - 1:
        pack_run(c, axis, part, at, to)
        return
    for i in range(c.shape[axis]):
        pack(c, axis + 1, part, at + i * c.steps[axis], to + i * c.to_steps[axis])


cdef int extent(cnp.ndarray array, const char **low, const char **high) except -1:
    cdef const char *start = <const char *>cnp.PyArray_DATA(array)
    cdef int i
    low[0] = start
    high[0] = start + cnp.PyArray_ITEMSIZE(array)
    for i in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, i) == 0:
            high[0] = low[0]
            return 0
        if cnp.PyArray_STRIDE(array, i) < 0:
            low[0] += (cnp.PyArray_DIM(array, i) - 1) * cnp.PyArray_STRIDE(array, i)
        else:
            high[0] += (cnp.PyArray_DIM(array, i) - 1) * cnp.PyArray_STRIDE(array, i)
    return 0


cdef class Tape:
    """The launches of one call; see `fastconv.replay`, which records and plays it."""

    cdef Step steps[MAX_STEPS]
    cdef int n_steps, n_arrays, n_temporaries, written, axes, copied
    cdef int64_t temporaries[MAX_TEMPORARIES]
    cdef int64_t scratch, weights
    cdef cnp.npy_intp shape[32]
    cdef object dtype, kept

    def __init__(self, int n_arrays, int written, object result, object temporaries, object kept):
        """`written`: which array of the call the result is, or -1 for a new one like `result`."""
        cdef int i
        if n_arrays > MAX_ARRAYS or len(temporaries) > MAX_TEMPORARIES:
            raise OverflowError("too many arrays for a tape")
        self.copied = -1
        self.n_arrays, self.written, self.kept, self.dtype = n_arrays, written, kept, result.dtype
        self.axes, self.n_temporaries, self.n_steps, self.scratch, self.weights = result.ndim, len(temporaries), 0, 0, 0
        for i in range(self.axes):
            self.shape[i] = result.shape[i]
        for i in range(self.n_temporaries):
            self.temporaries[i] = -(-temporaries[i] // 64) * 64

    def copy(self, int array):
        """Begin with a copy of an array of the call into the result."""
        self.copied = array

    def add(self, kernel, record, units, threads, scratch, places, packing, report):
        """Append a launch.

        `places`: (buffer, offset) of x, w, out, bias and fill.  `packing`: None, or for weights that lie in arrays of the call
        (dtype, shape, order slot, copies), each copy (place, code, negative, shape, steps, offset, steps in the packed ones).
        `report`: bytes of a report in the place of weights, or 0.
        """
        if self.n_steps == MAX_STEPS:
            raise OverflowError("too many launches for a tape")
        cdef Step *step = &self.steps[self.n_steps]
        cdef const int64_t[::1] slots = record
        cdef int i
        if slots.shape[0] > MAX_SLOTS:
            raise OverflowError("too many slots for a tape")
        step.kernel, step.units, step.threads, step.scratch, step.n_slots = kernel, units, threads, scratch, slots.shape[0]
        for i in range(slots.shape[0]):
            step.slots[i] = slots[i]
        (step.x.buffer, step.x.offset), (step.w.buffer, step.w.offset) = places[:2]
        (step.out.buffer, step.out.offset), (step.bias.buffer, step.bias.offset) = places[2:4]
        step.fill.buffer, step.fill.offset = places[4]
        step.n_copies, step.report = 0, report
        self.weights = max(self.weights, step.report)
        if packing is not None:
            part, taps, step.order_slot, copies = packing
            step.part, step.taps = PARTS.index(part), taps
            step.packed = taps * (4 if step.part % 2 == 0 else 8)
            self.weights = max(self.weights, step.packed)
            for copy in copies:
                self.add_copy(step, copy)
        self.scratch = max(self.scratch, scratch * threads)
        self.n_steps += 1

    cdef int add_copy(self, Step *step, tuple of) except -1:
        place, code, negative, shape, steps, to, to_steps = of
        if len(shape) > MAX_AXES or step.n_copies == MAX_COPIES:
            raise OverflowError("too many axes or parts for a tape")
        cdef Copy *copy = &step.copies[step.n_copies]
        cdef int i
        copy.source.buffer, copy.source.offset = place
        copy.axes, copy.code, copy.negative, copy.to = len(shape), code, negative, to
        for i in range(copy.axes):
            copy.shape[i], copy.steps[i], copy.to_steps[i] = shape[i], steps[i], to_steps[i]
        step.n_copies += 1
        return 0

    cdef object play(self, list arrays):
        """The call's result on these arrays; None if the call must go the long way."""
        cdef const char *base[MAX_ARRAYS + 1 + MAX_TEMPORARIES]
        cdef int64_t slots[MAX_SLOTS]
        cdef int64_t size = 64 + self.scratch + self.weights + 64
        cdef Step *step
        cdef int i
        cdef bint failed = False
        cdef char *memory
        cdef char *weights
        cdef char *scratch
        if self.written < 0:
            result = cnp.PyArray_EMPTY(self.axes, self.shape, (<cnp.dtype>self.dtype).num, 0)
        elif self.may_write(arrays):
            result = arrays[self.written]
        else:
            return None
        if self.copied >= 0:
            cnp.PyArray_CopyInto(<cnp.ndarray>result, <cnp.ndarray>arrays[self.copied])
            if self.n_steps == 0:
                return result
        for i in range(self.n_arrays):
            base[i] = <const char *>cnp.PyArray_DATA(<cnp.ndarray>arrays[i])
        base[self.n_arrays] = <const char *>cnp.PyArray_DATA(<cnp.ndarray>result)
        for i in range(self.n_temporaries):
            size += self.temporaries[i]
        memory = <char *>PyMem_RawMalloc(size)
        if memory == NULL:
            raise MemoryError(f"cannot allocate {size} bytes of workspace")
        weights = memory + (64 - <uintptr_t>memory % 64)
        scratch = weights + -(-self.weights // 64) * 64
        base[self.n_arrays + 1] = scratch + -(-self.scratch // 64) * 64
        for i in range(1, self.n_temporaries):
            base[self.n_arrays + 1 + i] = base[self.n_arrays + i] + self.temporaries[i - 1]
        with nogil:
            for i in range(self.n_steps):
                step = &self.steps[i]
                memcpy(slots, step.slots, step.n_slots * sizeof(int64_t))
                slots[0] = address(step.x, base)
                slots[1] = address(step.w, base)
                slots[2] = address(step.out, base)
                slots[3] = address(step.bias, base)
                slots[4] = address(step.fill, base)
                slots[5] = <int64_t><uintptr_t>scratch
                if step.n_copies:
                    pack_weights(step, base, weights)
                    slots[1] = <int64_t><uintptr_t>weights
                    if step.order_slot:
                        slots[step.order_slot] = line_order(<const double *>weights, step.taps)
                if step.report:
                    memset(weights, 0, step.report)
                    slots[1] = <int64_t><uintptr_t>weights
                pool_run(<fastconv_kernel><uintptr_t>step.kernel, slots, step.units, step.threads)
                if step.report and (<int64_t *>weights)[0]:
                    failed = True
                    break
        PyMem_RawFree(memory)
        return None if failed else result

    cdef bint may_write(self, list arrays) except -1:
        # Whether the caller's array for the result is writable and apart from the others in memory.
        cdef const char *low
        cdef const char *high
        cdef const char *other_low
        cdef const char *other_high
        cdef int i
        if not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>arrays[self.written]):
            return False
        extent(<cnp.ndarray>arrays[self.written], &low, &high)
        for i in range(self.n_arrays):
            if i != self.written:
                extent(<cnp.ndarray>arrays[i], &other_low, &other_high)
                if other_low < high and low < other_high:
                    return False
        return True


cdef void pack_weights(const Step *step, const char **base, char *weights) noexcept nogil:
    cdef int i
    if step.n_copies > 1:
        memset(weights, 0, step.packed)
    for i in range(step.n_copies):
        pack(&step.copies[i], 0, step.part, base[step.copies[i].source.buffer] + step.copies[i].source.offset,
             weights + step.copies[i].to)


cdef inline int64_t address(Place place, const char **base) noexcept nogil:
    if place.buffer < 0:
        return place.offset
    return <int64_t><uintptr_t>(base[place.buffer] + place.offset)


# What a call is remembered by is written to bytes: they are hashed and compared sooner than tuples of objects.
cdef struct Text:
    Py_ssize_t size
    char data[MAX_TEXT]


cdef inline bint write(Text *text, char tag, const void *data, Py_ssize_t size):
    if text.size + 1 + size > MAX_TEXT:
        return False
    text.data[text.size] = tag
    memcpy(text.data + text.size + 1, data, size)
    text.size += 1 + size
    return True


cdef inline bint write_number(Text *text, char tag, int64_t number):
    return write(text, tag, &number, sizeof(int64_t))


cdef bint write_string(Text *text, str value) except -1:
    cdef Py_ssize_t size
    cdef const char *letters = PyUnicode_AsUTF8AndSize(value, &size)
    return write_number(text, b"s", size) and write(text, b"s", letters, size)


cdef bint write_array(Text *text, cnp.ndarray array) except -1:
    # Of how it lies in memory all but the address.
    cdef int n = cnp.PyArray_NDIM(array)
    cdef int64_t kind = cnp.PyArray_TYPE(array) * 256 + n
    if cnp.PyArray_TYPE(array) > cnp.NPY_CLONGDOUBLE and cnp.PyArray_TYPE(array) != cnp.NPY_FLOAT16:
        return False  # has more than a type
    return (cnp.PyArray_ISNOTSWAPPED(array) and write_number(text, b"a", kind)
            and write(text, b"d", cnp.PyArray_DIMS(array), n * sizeof(cnp.npy_intp))
            and write(text, b"i", cnp.PyArray_STRIDES(array), n * sizeof(cnp.npy_intp)))


cdef bint describe(object value, Text *text, list others, list arrays) except -1:
    # Write what a call on this argument is remembered by, or append it to the others; False if that cannot be told.
    cdef object kind = type(value)
    cdef int overflow = 0
    cdef int64_t number
    cdef double real
    if value is None:
        return write(text, b"-", NULL, 0)
    if cnp.PyArray_CheckExact(value):
        if arrays is not None:
            arrays.append(value)
            return len(arrays) <= MAX_ARRAYS and write_array(text, <cnp.ndarray>value)
        if value.nbytes > MAX_BY_VALUE or value.dtype.hasobject:
            return False
        others += (value.shape, value.dtype, value.tobytes())
    elif kind is int:
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if not overflow:
            return write_number(text, b"n", number)
        others.append(value)
    elif kind is str:
        return write_string(text, value)
    elif kind is float:
        real = value
        return real == real and write(text, b"f", &real, sizeof(double))
    elif kind is bool:
        return write(text, b"1" if value else b"0", NULL, 0)
    elif kind is tuple or kind is list:
        for item in value:
            if not describe(item, text, others, None):
                return False
        return write_number(text, b"(" if kind is tuple else b"[", len(value))
    elif kind in FLOATS:
        if value != value:
            return False
        others += (value, copysign(1, value))
    elif kind is complex:
        if value != value:
            return False
        others += (value, copysign(1, value.real), copysign(1, value.imag))
    elif kind in HASHABLE:
        others.append(value)
    else:
        return False
    others.append(kind)
    return write(text, b"o", NULL, 0)


include "_memory.pxi"


def same_bytes(cnp.ndarray a, cnp.ndarray b):
    """Whether two arrays in C order hold the same bytes."""
    cdef const char *first = <const char *>cnp.PyArray_DATA(a)
    cdef const char *second = <const char *>cnp.PyArray_DATA(b)
    cdef Py_ssize_t size = cnp.PyArray_NBYTES(a)
    cdef bint same
    if size != cnp.PyArray_NBYTES(b):
        return False
    with nogil:
        same = memcmp(first, second, size) == 0
    return same


def play(Tape tape, list arrays):
    """Play a tape on arrays like those it was recorded with."""
    return tape.play(arrays)
