# How the tape of a call is found: by all that the call depends on, or at once for a planned call.  Included by _tape.pyx.

cdef class Memory:
    """Tapes of one function by what its calls depend on: metadata of arrays, other arguments, settings."""

    cdef dict tapes
    cdef tuple settings
    cdef tuple unless
    cdef object written
    cdef int limit, output
    cdef readonly int n_arrays, plays

    def __init__(self, int n_arrays, int output, frozenset written, tuple settings, tuple unless, int limit):
        """The first `n_arrays` arguments must be arrays, lists or tuples; argument `output`, and those whose
        names are in `written`, may be one to write to.

        Other arrays are told apart by their values.  `settings` are the context variables that matter; nothing is
        remembered while one of the context variables `unless` has a value.
        """
        self.tapes, self.n_arrays, self.settings, self.unless = {}, n_arrays, settings, unless
        self.written = written
        self.limit, self.output, self.plays = limit, output, 0

    def key(self, tuple args, dict kwargs):
        """(key, arrays) of a call, None if it cannot be remembered."""
        cdef list arrays = []
        key = self.key_of(args, kwargs, arrays)
        return None if key is None else (key, arrays)

    cdef object key_of(self, tuple args, dict kwargs, list arrays):
        # The key, None if there is none; appends the arrays that the tape will be played on.
        cdef Text text
        cdef list others = []
        cdef Py_ssize_t i
        text.size = 0
        for var in self.unless:
            if get_value(var) is not None:
                return None
        if len(args) < self.n_arrays:
            return None
        for i in range(len(args)):
            value = args[i]
            if i < self.n_arrays:
                if type(value) is list or type(value) is tuple:
                    value = numpy.asarray(value)
                if not cnp.PyArray_CheckExact(value):
                    return None
                if not cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>value):
                    value = value.astype(value.dtype.newbyteorder("="))
            if not describe(value, &text, others, arrays if i < self.n_arrays or i == self.output else None):
                return None
        for name, value in kwargs.items():
            if not (write_string(&text, name) and describe(value, &text, others, arrays if name in self.written else None)):
                return None
        for var in self.settings:
            if not describe(get_value(var), &text, others, None):
                return None
        if not write_number(&text, b"n", default_threads()):
            return None
        written = PyBytes_FromStringAndSize(text.data, text.size)
        return (written, *others) if others else written

    def recall(self, tuple args, dict kwargs):
        """The result of a call that has a tape; None if it is new, False if it cannot be remembered."""
        cdef list arrays = []
        key = self.key_of(args, kwargs, arrays)
        if key is None:
            return False
        tape = self.tapes.get(key)
        if tape is None or tape is False:
            return tape
        self.plays += 1
        result = (<Tape>tape).play(arrays)
        return False if result is None else result

    def store(self, key, tape):
        """Remember the tape of a call, or False: that it has none."""
        if len(self.tapes) >= self.limit:
            self.tapes.clear()
        self.tapes[key] = tape

    def forget(self):
        """Drop all tapes."""
        self.tapes.clear()


    def shortcut(self, tuple args, dict kwargs, tuple given):
        """A way to the tape of a call for further calls that differ in the arrays `given`; None if it has none."""
        found = self.key(args, kwargs)
        tape = None if found is None else self.tapes.get(found[0])
        if type(tape) is not Tape:
            return None
        places = [next((i for i, array in enumerate(given) if array is taken), -1) for taken in found[1]]
        if not set(range(len(given))) <= set(places):
            return None
        return Shortcut(tape, found[1], places, self.unless)


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
