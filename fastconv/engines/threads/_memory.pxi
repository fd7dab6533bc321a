# How the tape of a call is found: by all that the call depends on, or at once for a planned call.  Included by _tape.pyx.

# What an argument is: a value; an array; an array or None; an array for the result, or a tuple of them, or None.
cdef enum:
    VALUE = 0
    ARRAY = 1
    OPTIONAL = 2
    WRITTEN = 3

# Bytes that the keys of the tapes of a function may have.
cdef enum:
    MOST_BYTES = 1 << 25


cdef class Memory:
    """Tapes of one function by what its calls depend on: metadata of arrays, other arguments, settings."""

    cdef dict tapes, roles, counts
    cdef tuple positions, settings, unless
    cdef int limit, required
    cdef Py_ssize_t most, bytes
    cdef readonly int plays
    cdef readonly bint optional
    cdef public object function, on_devices  # the function itself, and where its tapes on arrays of a GPU are, or None

    def __init__(self, list names, arrays, optional, written, tuple settings, tuple unless, int limit, Py_ssize_t most=MAX_BY_VALUE):
        """Of the function's arguments of these `names`, `arrays` must be arrays, lists or tuples, `optional` ones may
        be, and `written` ones, whether they are among the names or not, may be arrays to write to.

        Other arrays are told apart by their values, of up to `most` bytes.  `settings` are the context variables that
        matter; nothing is remembered while one of the context variables `unless` has a value.
        """
        self.roles = {**dict.fromkeys(written, WRITTEN), **dict.fromkeys(arrays, ARRAY), **dict.fromkeys(optional, OPTIONAL)}
        self.positions = tuple([self.roles.get(name, VALUE) for name in names])
        self.required, self.optional = len(arrays), len(optional) > 0
        self.tapes, self.settings, self.unless, self.counts = {}, settings, unless, {}
        self.limit, self.most, self.plays, self.bytes = limit, most, 0, 0

    @property
    def n_arrays(self):
        """How many arguments must be arrays."""
        return self.required

    def key(self, tuple args, dict kwargs):
        """(key, arrays, args, kwargs) of a call, None if it cannot be remembered: lists stand there as arrays."""
        cdef list arrays = [], given = list(args)
        cdef dict named = dict(kwargs)
        key = self.key_of(args, kwargs, arrays, given, named)
        return None if key is None else (key, arrays, tuple(given), named)

    cdef object key_of(self, tuple args, dict kwargs, list arrays, list given, dict named):
        # The key, None if there is none; appends the arrays that the tape will be played on.  With `given` and `named`
        # the key may be kept, and lists among the arguments are replaced there by arrays.
        cdef Text text
        cdef list others = []
        cdef Py_ssize_t i
        cdef int role, required = 0
        text.size = 0
        for var in self.unless:
            if get_value(var) is not None:
                return None
        if len(args) > len(self.positions):
            return None
        for i in range(len(args)):
            role = self.positions[i]
            value = args[i]
            if role == ARRAY or role == OPTIONAL:
                value = as_array(value, role)
                required += role == ARRAY
                if given is not None:
                    given[i] = value
            if not self.describe(value, role, &text, others, arrays, given is not None):
                return None
        for name, value in kwargs.items():
            role = self.roles.get(name, VALUE)
            if role == ARRAY or role == OPTIONAL:
                value = as_array(value, role)
                required += role == ARRAY
                if named is not None:
                    named[name] = value
            if not (write_string(&text, name) and self.describe(value, role, &text, others, arrays, given is not None)):
                return None
        if required != self.required:
            return None
        for var in self.settings:
            if not describe(get_value(var), &text, others, 0, False):
                return None
        if not write_number(&text, b"n", default_threads()):
            return None
        written = PyBytes_FromStringAndSize(text.data, text.size)
        return (written, *others) if others else written

    cdef bint describe(self, object value, int role, Text *text, list others, list arrays, bint kept) except -1:
        if role != VALUE and cnp.PyArray_CheckExact(value):
            return describe_array(<cnp.ndarray>value, text, arrays)
        if role == ARRAY:
            return False
        if role == WRITTEN and (type(value) is tuple or type(value) is list):
            for item in value:
                if not self.describe(item, OPTIONAL, text, others, arrays, kept):
                    return False
            return write_number(text, b"(", len(value))
        return describe(value, text, others, self.most, kept)

    def recall(self, tuple args, dict kwargs):
        """The result of a call that has a tape; None if it is new, False if it cannot be remembered."""
        cdef list arrays = []
        if libraries and self.on_devices is not None and args and type(args[0]) in libraries:
            result = (<DeviceMemory>self.on_devices).recall(self.function, args, kwargs)
            return False if result is None else result
        key = self.key_of(args, kwargs, arrays, None, None)
        if key is None:
            return False
        tape = self.tapes.get(key)
        if tape is None or tape is False:
            return tape
        self.plays += 1
        result = (<Tape>tape).play(arrays)
        return False if result is None else result

    def often(self, key, int times):
        """Whether a call has been made more often than that; each call tells."""
        count = self.counts.get(key, 0) + 1
        if len(self.counts) >= self.limit:
            self.counts.clear()
        self.counts[key] = count
        return count > times

    def store(self, key, tape):
        """Remember the tape of a call, or False: that it has none."""
        if len(self.tapes) >= self.limit or self.bytes > MOST_BYTES:
            self.forget()
        self.tapes[key] = tape
        self.counts.pop(key, None)
        if type(key) is tuple:
            for part in <tuple>key:
                self.bytes += (<Values>part).array.nbytes if type(part) is Values else 0

    def forget(self):
        """Drop all tapes."""
        self.tapes.clear()
        self.counts.clear()
        self.bytes = 0

    def shortcut(self, tuple args, dict kwargs, tuple given):
        """A way to the tape of a call for further calls that differ in the arrays `given`; None if it has none."""
        found = self.key(args, kwargs)
        tape = None if found is None else self.tapes.get(found[0])
        if type(tape) is not Tape or any([coincide(a, b) for i, a in enumerate(found[1]) for b in found[1][:i]]):
            return None
        places = [next((i for i, array in enumerate(given) if array is taken), -1) for taken in found[1]]
        if not set(range(len(given))) <= set(places):
            return None
        return Shortcut(tape, found[1], places, self.unless)


cdef object as_array(object value, int role):
    # Lists and tuples as the array that functions make of them, arrays in native byte order.
    if type(value) is list or type(value) is tuple:
        value = numpy.asarray(value)
    if cnp.PyArray_CheckExact(value) and not cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>value):
        return value.astype(value.dtype.newbyteorder("="))
    return value


cdef class Shortcut:
    """Plays a tape on arrays like those that it was made with; nothing else is looked at."""

    cdef Tape tape
    cdef list arrays, places, shapes, strides, dtypes
    cdef tuple unless
    cdef int64_t threads

    def __init__(self, Tape tape, list arrays, list places, tuple unless):
        """`places`: of each array of the call, which of the arrays given it is, or -1 for one that stays."""
        self.tape, self.places, self.unless, self.threads = tape, places, unless, default_threads()
        self.arrays = [array if place < 0 else None for array, place in zip(arrays, places)]
        self.shapes, self.strides = [array.shape for array in arrays], [array.strides for array in arrays]
        self.dtypes = [array.dtype for array in arrays]

    def play(self, tuple given):
        """The call's result; None if it must be made."""
        cdef list arrays = list(self.arrays)
        cdef Py_ssize_t i, place
        for var in self.unless:
            if get_value(var) is not None:
                return None
        if default_threads() != self.threads:
            return None
        for i in range(len(arrays)):
            place = self.places[i]
            if place < 0:
                continue
            array = given[place]
            if not cnp.PyArray_CheckExact(array) or not self.fits(<cnp.ndarray>array, i):
                return None
            arrays[i] = array
        return self.tape.play(arrays)

    cdef bint fits(self, cnp.ndarray array, Py_ssize_t i) except -1:
        cdef tuple shape = self.shapes[i], strides = self.strides[i]
        cdef Py_ssize_t axis
        if cnp.PyArray_NDIM(array) != len(shape):
            return False
        for axis in range(len(shape)):
            if cnp.PyArray_DIM(array, axis) != shape[axis] or cnp.PyArray_STRIDE(array, axis) != strides[axis]:
                return False
        dtype = self.dtypes[i]
        return <object>cnp.PyArray_DESCR(array) is dtype or <object>cnp.PyArray_DESCR(array) == dtype
