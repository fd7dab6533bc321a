# Calls on arrays that live on a GPU: the launches of one call, to be repeated with other addresses.  Included by _tape.pyx.

cdef extern from "Python.h":
    void *PyCapsule_GetPointer(object capsule, const char *name) except NULL
    bint PyCapsule_IsValid(object capsule, const char *name)

cdef enum:
    ON_CUDA = 2  # DLPack's name of the device
    MAX_PARAMETERS = 4096  # bytes, that every GPU takes
    MAX_WORDS = 512
    MAX_PLACES = 16
    MAX_LAUNCHES = 8
    DEVICE_VALUES = 1024  # bytes of the largest host array that calls are told apart by

# What DLPack 1.3 calls DLTensor and DLPackExchangeAPI.
cdef struct View:
    char *data
    int32_t device, device_id, ndim
    uint8_t code, bits
    uint16_t lanes
    int64_t *shape
    int64_t *strides
    uint64_t offset

cdef struct Exchange:
    uint32_t major, minor
    const void *previous
    const void *unused[3]  # allocator, from and to objects
    int (*view)(void *object, View *out) except -1
    int (*stream)(int device, int32_t device_id, void **stream) except -1

ctypedef int (*LaunchKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **) noexcept nogil
ctypedef int (*CurrentDevice)(int *) noexcept nogil
ctypedef intptr_t (*CurrentStream)() noexcept

cdef const char *STREAM_OF_C = "intptr_t (void)"  # the signature of a function in C, as Cython writes it
cdef LaunchKernel launch_kernel = NULL
cdef CurrentDevice current_device = NULL
cdef dict libraries = {}  # by the class of their arrays


def use_driver(launch, device):
    """Tell the addresses of the driver's cuLaunchKernel and cuCtxGetDevice."""
    global launch_kernel, current_device
    launch_kernel, current_device = <LaunchKernel><uintptr_t>launch, <CurrentDevice><uintptr_t>device


cdef class Library:
    """How the arrays of one library are looked at and made.

    `kind`: their class; `new`: makes one; `stream`: tells the current stream, for classes without DLPack's C functions;
    `stream_of_c`: a capsule with a C function that tells it sooner, if it is one that Cython exports; `flags`, `methods`: attributes and methods that must be false; `memory`: makes what `new` takes
    besides shape and dtype.
    """

    cdef object kind, new, stream, memory
    cdef bint has_method  # tensors of PyTorch before it had DLPack's functions
    cdef bint has_flag  # arrays of CuPy tell by an attribute whether they are contiguous
    cdef CurrentStream stream_of_c
    cdef tuple flags, methods
    cdef const Exchange *exchange

    def __init__(self, kind, new, stream, tuple flags=(), tuple methods=(), memory=None, stream_of_c=None):
        self.kind, self.new, self.stream, self.flags, self.methods = kind, new, stream, flags, methods
        self.exchange, self.has_method, self.memory, self.stream_of_c = NULL, hasattr(kind, "data_ptr"), memory, NULL
        self.has_flag = hasattr(kind, "_c_contiguous")
        if PyCapsule_IsValid(stream_of_c, STREAM_OF_C):
            self.stream_of_c = <CurrentStream>PyCapsule_GetPointer(stream_of_c, STREAM_OF_C)
        capsule = getattr(kind, "__dlpack_c_exchange_api__", None)
        if capsule is not None:
            self.exchange = <const Exchange *>PyCapsule_GetPointer(capsule, b"dlpack_exchange_api")
            if self.exchange.major != 1 or self.exchange.view == NULL:
                self.exchange = NULL
        libraries[kind] = self

    cdef bint look(self, object array, Text *text, char **address) except -1:
        # Write how an array lies in memory; False if calls on it are not remembered.
        cdef View view
        cdef int64_t head[4]
        for name in self.flags:
            if getattr(array, name):
                return False
        for name in self.methods:
            if getattr(array, name)():
                return False
        if self.exchange == NULL:
            return self.look_at_attributes(array, text, address)
        try:
            self.exchange.view(<void *>array, &view)
        except Exception:
            return False
        if view.device != ON_CUDA or view.code == 5 or view.strides == NULL:  # complex tensors may be conjugated
            return False
        address[0] = view.data + view.offset
        head[0], head[1] = view.device_id, view.ndim
        head[2] = view.code + 256 * view.bits
        head[3] = <uintptr_t>address[0] % 16
        return (write(text, b"a", head, sizeof(head)) and write(text, b"d", view.shape, view.ndim * sizeof(int64_t))
                and write(text, b"i", view.strides, view.ndim * sizeof(int64_t)))

    cdef bint look_at_attributes(self, object array, Text *text, char **address) except -1:
        # Of CuPy, and of PyTorch before it had DLPack's functions.
        cdef tuple shape = array.shape, strides = None
        cdef int64_t head[4]
        if self.has_method:
            address[0] = <char *><uintptr_t>array.data_ptr()
            strides, head[0], head[2] = array.stride(), array.get_device(), <uintptr_t><void *>array.dtype
            if head[0] < 0 or array.is_complex():
                return False
        else:
            memory = array.data
            address[0] = <char *><uintptr_t>memory.ptr
            head[0], head[2] = memory.device_id, (<cnp.dtype>array.dtype).num
            if not (self.has_flag and array._c_contiguous):
                strides = array.strides
        head[1], head[3] = len(shape), <uintptr_t>address[0] % 16
        if not write(text, b"A" if strides is None else b"B", head, sizeof(head)):
            return False
        for number in shape:
            if not write_number(text, b"n", number):
                return False
        if strides is not None:
            for number in strides:
                if not write_number(text, b"n", number):
                    return False
        return True

    cdef char *address_of(self, object array) except? NULL:
        cdef View view
        if self.exchange == NULL:
            return <char *><uintptr_t>(array.data_ptr() if self.has_method else array.data.ptr)
        self.exchange.view(<void *>array, &view)
        return view.data + view.offset

    cdef void *current_stream(self, int device) except? NULL:
        cdef void *stream = NULL
        if self.stream_of_c != NULL:
            return <void *>self.stream_of_c()
        if self.exchange == NULL:
            return <void *><uintptr_t>(self.stream(device) if self.has_method else self.stream().ptr)
        self.exchange.stream(ON_CUDA, device, &stream)
        return stream


cdef struct DeviceLaunch:
    void *kernel
    unsigned sizes[7]  # grid, block, bytes of shared memory
    size_t nbytes
    char parameters[MAX_PARAMETERS]
    int n_places
    int position[MAX_PLACES]  # which parameter is an address
    int array[MAX_PLACES]  # in which array
    int64_t offset[MAX_PLACES]


cdef class DeviceTape:
    """The launches of one call on arrays of a GPU, whose result is a new array of the same library."""

    cdef DeviceLaunch *launches
    cdef int n_launches, device
    cdef tuple result  # shape, strides, dtype
    cdef Py_ssize_t nbytes

    def __cinit__(self):
        self.launches = NULL

    def __dealloc__(self):
        PyMem_RawFree(self.launches)

    def __init__(self, int device, tuple result, Py_ssize_t nbytes, list launches):
        """`nbytes`: of the result; `launches`: (kernel, sizes, parameters, places) of each, a place is (position, array, offset)."""
        cdef DeviceLaunch *launch
        if len(launches) > MAX_LAUNCHES:
            raise OverflowError("too many launches for a tape")
        self.launches = <DeviceLaunch *>PyMem_RawMalloc(max(len(launches), 1) * sizeof(DeviceLaunch))
        if self.launches == NULL:
            raise MemoryError("cannot allocate a tape")
        self.device, self.result, self.nbytes, self.n_launches = device, result, nbytes, len(launches)
        for i, (kernel, sizes, parameters, places) in enumerate(launches):
            launch = &self.launches[i]
            if len(parameters) > MAX_PARAMETERS or len(places) > MAX_PLACES:
                raise OverflowError("too many parameters for a tape")
            launch.kernel, launch.nbytes, launch.n_places = <void *><uintptr_t>kernel, len(parameters), len(places)
            memcpy(launch.parameters, <const char *>parameters, len(parameters))
            for j in range(7):
                launch.sizes[j] = sizes[j]
            for j, (position, array, offset) in enumerate(places):
                launch.position[j], launch.array[j], launch.offset[j] = position, array, offset

    cdef object play(self, Library library, char **base, int n_arrays):
        # The result; None if the device that is current is another or did not take a launch.
        cdef int device = -1, i, failed
        cdef void *stream
        if current_device(&device) or device != self.device:
            return None
        if library.memory is not None:
            memory = library.memory(self.nbytes)
            result = library.new(self.result[0], self.result[1], memory)
            base[n_arrays] = <char *><uintptr_t>memory.ptr
        else:
            result = library.new(*self.result)
            base[n_arrays] = library.address_of(result)
        stream = library.current_stream(device)
        for i in range(self.n_launches):
            with nogil:
                failed = launch_at(&self.launches[i], base, stream)
            if failed:
                return None
        return result


cdef int launch_at(const DeviceLaunch *launch, char **base, void *stream) noexcept nogil:
    cdef int64_t parameters[MAX_WORDS]
    cdef size_t nbytes = launch.nbytes
    cdef void *extra[5]
    cdef int i
    memcpy(parameters, launch.parameters, nbytes)
    for i in range(launch.n_places):
        parameters[launch.position[i]] = <int64_t><uintptr_t>base[launch.array[i]] + launch.offset[i]
    # "the parameters lie one behind the other at", "their size is at", end
    extra[0], extra[1], extra[2], extra[3], extra[4] = <void *>1, parameters, <void *>2, &nbytes, NULL
    return launch_kernel(launch.kernel, launch.sizes[0], launch.sizes[1], launch.sizes[2], launch.sizes[3],
                         launch.sizes[4], launch.sizes[5], launch.sizes[6], stream, NULL, extra)


cdef class DeviceMemory:
    """Tapes of calls on arrays of a GPU by what the calls depend on; `settings`, `unless` and `limit` as in `Memory`."""

    cdef dict tapes
    cdef tuple settings, unless
    cdef frozenset written
    cdef int limit

    def __init__(self, tuple settings, tuple unless, written, int limit):
        self.tapes, self.settings, self.unless, self.written, self.limit = {}, settings, unless, written, limit

    def recall(self, function, tuple args, dict kwargs):
        """The result of a call; None if it has no tape."""
        cdef char *base[MAX_ARRAYS + 1]
        cdef list arrays = []
        cdef Library library = libraries.get(type(args[0])) if args else None
        if library is None:
            return None
        key = self.key_of(library, function, args, kwargs, arrays, base, False)
        tape = None if key is None else self.tapes.get(key)
        return None if tape is None or tape is False else (<DeviceTape>tape).play(library, base, len(arrays))

    def key(self, function, tuple args, dict kwargs):
        """(key, arrays) of a call, None if it cannot be remembered or has been looked at before."""
        cdef char *base[MAX_ARRAYS + 1]
        cdef list arrays = []
        cdef Library library = libraries.get(type(args[0])) if args else None
        key = None if library is None else self.key_of(library, function, args, kwargs, arrays, base, True)
        return None if key is None or key in self.tapes else (key, arrays)

    def store(self, key, tape):
        """Remember the tape of a call, or False: that it has none."""
        if len(self.tapes) >= self.limit:
            self.tapes.clear()
        self.tapes[key] = tape

    cdef object key_of(self, Library library, object function, tuple args, dict kwargs, list arrays, char **base, bint kept):
        cdef Text text
        cdef list others = []
        text.size = 0
        for var in self.unless:
            if get_value(var) is not None:
                return None
        for value in args:
            if not self.describe(library, value, &text, others, arrays, base, kept):
                return None
        for name, value in kwargs.items():
            if name in self.written or not write_string(&text, name):
                return None
            if not self.describe(library, value, &text, others, arrays, base, kept):
                return None
        for var in self.settings:
            if not describe(get_value(var), &text, others, 0, False):
                return None
        return (function, PyBytes_FromStringAndSize(text.data, text.size), *others)

    cdef bint describe(self, Library library, object value, Text *text, list others, list arrays, char **base, bint kept) except -1:
        cdef Py_ssize_t i, n = len(arrays)
        if type(value) is not library.kind:
            return describe(value, text, others, DEVICE_VALUES, kept)
        if n == MAX_ARRAYS:
            return False
        for i in range(n):
            if arrays[i] is value and not write_number(text, b"=", i):
                return False
        arrays.append(value)
        return library.look(value, text, &base[n])
