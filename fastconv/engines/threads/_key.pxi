# What a call is remembered by is written to bytes: they are hashed and compared sooner than tuples of objects.

# Arguments besides arrays and tuples that calls are remembered by.
HASHABLE = frozenset((type, *map(type, map(numpy.dtype, "?bBhHiIlLqQefdgFDG")),
                      *(numpy.dtype(code).type for code in "?bBhHiIlLqQ")))
FLOATS = frozenset((numpy.float32, numpy.float64))

cdef struct Text:
    Py_ssize_t size
    char data[MAX_TEXT]


cdef class Values:
    """The bytes of an array, to be compared at the speed of memory and hashed by a few of them."""

    cdef object array
    cdef Py_hash_t hashed

    def __init__(self, array, bint kept):
        """`kept`: whether the array may change before it is compared."""
        cdef const uint8_t *data
        cdef Py_ssize_t i, size
        cdef uint64_t mixed = 14695981039346656037u
        self.array = numpy.array(array, order="C") if kept else numpy.ascontiguousarray(array)
        data, size = <const uint8_t *>cnp.PyArray_DATA(<cnp.ndarray>self.array), self.array.nbytes
        for i in range(0, size, max(1, size // 256)):
            mixed = (mixed ^ data[i]) * 1099511628211u
        self.hashed = <Py_hash_t>(mixed >> 2)

    def __hash__(self):
        return self.hashed

    def __eq__(self, other):
        return type(other) is Values and same_bytes(self.array, (<Values>other).array)


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
    cdef int64_t type = cnp.PyArray_TYPE(array)
    if type > cnp.NPY_CLONGDOUBLE and type != cnp.NPY_FLOAT16 and not cnp.PyTypeNum_ISUSERDEF(type):
        return False  # has more than a type
    return (cnp.PyArray_ISNOTSWAPPED(array) and write_number(text, b"a", type * 256 + n)
            and write(text, b"d", cnp.PyArray_DIMS(array), n * sizeof(cnp.npy_intp))
            and write(text, b"i", cnp.PyArray_STRIDES(array), n * sizeof(cnp.npy_intp)))


cdef bint describe_array(cnp.ndarray array, Text *text, list arrays) except -1:
    # Arrays that are one are told apart from others that only look alike.
    cdef Py_ssize_t i
    for i in range(len(arrays)):
        if coincide(<cnp.ndarray>arrays[i], array) and not write_number(text, b"=", i):
            return False
    arrays.append(array)
    return len(arrays) <= MAX_ARRAYS and write_array(text, array)


cdef bint describe(object value, Text *text, list others, Py_ssize_t most, bint kept) except -1:
    # Write what a call on this argument is remembered by, or append it to the others; False if that cannot be told.
    # Of arrays the values are, of up to `most` bytes; `kept`: whether the others are.
    cdef object kind = type(value)
    cdef int overflow = 0
    cdef int64_t number
    cdef double real
    if value is None:
        return write(text, b"-", NULL, 0)
    if kind is int:
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
            if not describe(item, text, others, most, kept):
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
    elif cnp.PyArray_CheckExact(value) and value.nbytes <= most and not value.dtype.hasobject:
        others += (value.shape, value.dtype, Values(value, kept))
    else:
        return False
    others.append(kind)
    return write(text, b"o", NULL, 0)
