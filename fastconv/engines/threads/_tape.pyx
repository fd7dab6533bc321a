# cython: language_level=3
"""Tapes: the launches of one call, to be repeated on other arrays of the same shapes, strides and dtypes."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.contextvars cimport get_value
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.math cimport copysign, fabs
from libc.stdint cimport int32_t, int64_t, intptr_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcmp, memcpy, memset

import numpy

cimport numpy as cnp

cnp.import_array()

from fastconv.engines.threads._threads cimport default_threads, fastconv_kernel, pool_run

from fastconv.memory import allocator
from fastconv.memory._blocks import workspace

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1

cdef extern from "tiles_all.h" nogil:
    enum: ORDER_LINE
    enum: ORDER_SYMMETRIC
    enum: ORDER_ANTISYMMETRIC
    void stage_run(...)
    void store_run(...)

cdef enum:
    MAX_SLOTS = 72
    MAX_HEADER = 5  # x, w, out, bias, fill
    MAX_AXES = 8
    MAX_ARRAYS = 8
    MAX_RESULTS = 4
    MAX_STEPS = 64
    MAX_TEMPORARIES = 48
    MAX_BUFFERS = MAX_ARRAYS + MAX_RESULTS + MAX_TEMPORARIES
    MAX_BY_VALUE = 16384  # bytes: biases of 2048 filters
    MAX_TEXT = 1024
    LINE = 64
    KEPT = 64 << 10  # bytes of workspace from which on its pages are kept: new ones, which malloc may take each time, take as long as the work

cdef struct Place:
    int buffer  # an array of the call, a result, a temporary; -1: none, or a constant at `offset`
    int64_t offset

include "_copies.pxi"

cdef struct Step:
    int64_t kernel, units, threads, n_slots  # kernel 0: a copy of x to out
    const int64_t *slots
    Place header[MAX_HEADER]
    int report  # the header's place where the kernel tells what went wrong, 0 first if nothing did; or -1
    int64_t order_slot, taps  # where the record tells the order of an exact sum of a line, or 0; its weights
    Copy copy


cdef int64_t line_order(const double *w, int64_t size) noexcept nogil:
    # How scipy.ndimage.correlate1d orders its sum: mirrored kernels of odd size by pairs.
    cdef bint symmetric = size % 2, antisymmetric = size % 2
    cdef int64_t i
    for i in range(size // 2):
        symmetric = symmetric and fabs(w[size - 1 - i] - w[i]) <= 2.220446049250313e-16
        antisymmetric = antisymmetric and fabs(w[size - 1 - i] + w[i]) <= 2.220446049250313e-16
    return ORDER_SYMMETRIC if symmetric else ORDER_ANTISYMMETRIC if antisymmetric else ORDER_LINE


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


cdef bint coincide(cnp.ndarray a, cnp.ndarray b):
    # Whether two arrays have every element at the same place.
    cdef int n = cnp.PyArray_NDIM(a)
    return (cnp.PyArray_DATA(a) == cnp.PyArray_DATA(b) and n == cnp.PyArray_NDIM(b)
            and cnp.PyArray_TYPE(a) == cnp.PyArray_TYPE(b)
            and memcmp(cnp.PyArray_DIMS(a), cnp.PyArray_DIMS(b), n * sizeof(cnp.npy_intp)) == 0
            and memcmp(cnp.PyArray_STRIDES(a), cnp.PyArray_STRIDES(b), n * sizeof(cnp.npy_intp)) == 0)


cdef inline int64_t address(Place place, const char **base) noexcept nogil:
    if place.buffer < 0:
        return place.offset
    return <int64_t><uintptr_t>(base[place.buffer] + place.offset)


cdef class Tape:
    """The launches of one call; see `fastconv.replay`, which records and plays it.

    Buffers are numbered: the arrays of the call, its new results, temporary memory.
    """

    cdef Step *steps
    cdef int n_steps, n_arrays, n_results, n_temporaries
    cdef bint several
    cdef int written[MAX_RESULTS]
    cdef int same[MAX_RESULTS]
    cdef int axes[MAX_RESULTS]
    cdef int types[MAX_RESULTS]
    cdef cnp.npy_intp shapes[MAX_RESULTS][32]
    cdef int64_t sizes[MAX_TEMPORARIES]
    cdef int64_t phases[MAX_TEMPORARIES]
    cdef int64_t scratch, temporary
    cdef int copied
    cdef object kept
    cdef list makers

    def __cinit__(self):
        self.steps = NULL

    def __dealloc__(self):
        PyMem_RawFree(self.steps)

    def __init__(self, list arrays, list results, list written, bint several, list temporaries, int n_steps, object kept):
        """`written`: which array of the call each result is, or -1 for a new one like it; `several`: whether the call
        returns a tuple.  `temporaries`: sizes, and where in a cache line each begins."""
        cdef int i, j, n_arrays = len(arrays)
        if (n_arrays > MAX_ARRAYS or len(results) > MAX_RESULTS or len(temporaries) > MAX_TEMPORARIES
                or n_steps > MAX_STEPS):
            raise OverflowError("too many arrays or steps for a tape")
        self.n_arrays, self.n_results, self.several, self.kept, self.copied = n_arrays, len(results), several, kept, -1
        self.n_steps = 0
        self.scratch = self.temporary = 0
        # of results: what makes them, unless it is NumPy, their shapes and dtypes
        self.makers = [(allocator(result.nbytes, result.dtype), result.shape, result.dtype) for result in results]
        for i in range(self.n_results):
            self.written[i], self.axes[i], self.types[i] = written[i], results[i].ndim, (<cnp.dtype>results[i].dtype).num
            self.same[i] = 0
            for j in range(n_arrays if self.written[i] >= 0 else 0):
                self.same[i] |= coincide(<cnp.ndarray>arrays[self.written[i]], <cnp.ndarray>arrays[j]) << j
            for j in range(self.axes[i]):
                self.shapes[i][j] = results[i].shape[j]
        self.n_temporaries = len(temporaries)
        for i in range(self.n_temporaries):
            self.sizes[i], self.phases[i] = temporaries[i]
            self.sizes[i] = -(-(self.sizes[i] + self.phases[i]) // LINE) * LINE
            self.temporary += self.sizes[i]
        self.steps = <Step *>PyMem_RawMalloc(max(n_steps, 1) * sizeof(Step))
        if self.steps == NULL:
            raise MemoryError("cannot allocate a tape")

    def copy_whole(self, int array):
        """Do nothing but copy an array of the call into the result."""
        self.copied = array

    def add_copy(self, source, target, kind, code, negative, shape, steps, to_steps):
        """Append a copy from a place (buffer, offset) to another; see `Copy`."""
        cdef Step *step = self.next_step()
        if len(shape) > MAX_AXES:
            raise OverflowError("too many axes for a tape")
        cdef Copy *copy = &step.copy
        cdef int i
        step.kernel = 0
        step.header[0].buffer, step.header[0].offset = source
        step.header[2].buffer, step.header[2].offset = target
        copy.axes, copy.kind, copy.code, copy.negative = len(shape), kind, code, negative
        for i in range(copy.axes):
            copy.shape[i], copy.steps[i], copy.to_steps[i] = shape[i], steps[i], to_steps[i]

    def add_launch(self, kernel, record, units, threads, scratch, places, report, order_slot, taps):
        """Append a launch: the places of what the header points to, which of them is a report (or -1), and where the
        record has the order of an exact sum of so many taps (or 0)."""
        cdef Step *step = self.next_step()
        cdef const int64_t[::1] slots = record
        cdef int i
        if slots.shape[0] > MAX_SLOTS:
            raise OverflowError("too many slots for a tape")
        step.kernel, step.units, step.threads, step.n_slots = kernel, units, threads, slots.shape[0]
        step.slots = &slots[0]  # of memory that is kept
        for i in range(MAX_HEADER):
            step.header[i].buffer, step.header[i].offset = places[i]
        step.report, step.order_slot, step.taps = report, order_slot, taps
        self.scratch = max(self.scratch, -(-scratch * threads // LINE) * LINE)

    cdef Step *next_step(self) except NULL:
        if self.n_steps == MAX_STEPS:
            raise OverflowError("too many steps for a tape")
        self.n_steps += 1
        return &self.steps[self.n_steps - 1]

    cdef object play(self, list arrays):
        """What the call returns for these arrays; None if the call must go the long way."""
        cdef const char *base[MAX_BUFFERS]
        cdef char *memory = NULL
        cdef int64_t at, size
        cdef int i, new = self.n_arrays
        cdef bint done
        cdef list results = [] if self.several else None
        cdef object result = None, kept = None
        for i in range(self.n_results):
            if self.written[i] >= 0 and not self.may_write(arrays, self.written[i], self.same[i]):
                return None
        for i in range(self.n_arrays):
            base[i] = <const char *>cnp.PyArray_DATA(<cnp.ndarray>arrays[i])
        for i in range(self.n_results):
            if self.written[i] < 0:
                result = self.new_result(i)
                base[new] = <const char *>cnp.PyArray_DATA(<cnp.ndarray>result)
                new += 1
            else:
                result = arrays[self.written[i]]
            if self.several:
                results.append(result)
        if self.copied >= 0:
            cnp.PyArray_CopyInto(<cnp.ndarray>result, <cnp.ndarray>arrays[self.copied])
            return result
        size = self.scratch + self.temporary + LINE
        if size >= KEPT:
            kept = workspace(size)
        if kept is not None:
            memory = <char *>cnp.PyArray_DATA(<cnp.ndarray>kept)
        else:
            memory = <char *>PyMem_RawMalloc(size)
        if memory == NULL:
            raise MemoryError(f"cannot allocate {size} bytes of workspace")
        at = LINE - <uintptr_t>memory % LINE + self.scratch
        for i in range(self.n_temporaries):
            base[new + i] = memory + at + self.phases[i]
            at += self.sizes[i]
        with nogil:
            done = self.run(base, memory + (LINE - <uintptr_t>memory % LINE))
        if kept is None:
            PyMem_RawFree(memory)
        if not done:
            return None
        return tuple(results) if self.several else result

    cdef object new_result(self, int i):
        cdef tuple made = <tuple>self.makers[i]
        if made[0] is None:
            return cnp.PyArray_EMPTY(self.axes[i], self.shapes[i], self.types[i], 0)
        return made[0](made[1], made[2])

    cdef bint run(self, const char **base, char *scratch) noexcept nogil:
        # Whether no kernel reported that something went wrong.
        cdef int64_t slots[MAX_SLOTS]
        cdef Step *step
        cdef int i, j
        for i in range(self.n_steps):
            step = &self.steps[i]
            if step.kernel == 0:
                copy_axes(&step.copy, 0, <const char *><uintptr_t>address(step.header[0], base),
                          <char *><uintptr_t>address(step.header[2], base))
                continue
            memcpy(slots, step.slots, step.n_slots * sizeof(int64_t))
            for j in range(MAX_HEADER):
                slots[j] = address(step.header[j], base)
            slots[MAX_HEADER] = <int64_t><uintptr_t>scratch
            if step.order_slot:
                slots[step.order_slot] = line_order(<const double *><uintptr_t>slots[1], step.taps)
            pool_run(<fastconv_kernel><uintptr_t>step.kernel, slots, step.units, step.threads)
            if step.report >= 0 and (<const int64_t *><uintptr_t>slots[step.report])[0]:
                return False
        return True

    cdef bint may_write(self, list arrays, int written, int same) except -1:
        # Whether an array of the caller's is writable, and apart in memory from all others but the `same`.
        cdef const char *low
        cdef const char *high
        cdef const char *other_low
        cdef const char *other_high
        cdef int i
        cdef cnp.ndarray array = <cnp.ndarray>arrays[written]
        if not cnp.PyArray_ISWRITEABLE(array):
            return False
        if self.n_arrays == 1:
            return True
        extent(array, &low, &high)
        for i in range(self.n_arrays):
            if not same >> i & 1:
                extent(<cnp.ndarray>arrays[i], &other_low, &other_high)
                if other_low < high and low < other_high:
                    return False
        return True


include "_key.pxi"
include "_device.pxi"
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
