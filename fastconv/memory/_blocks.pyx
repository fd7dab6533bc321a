# cython: language_level=3
"""NumPy arrays over the memory of `blocks.c`."""

from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport strcpy

cimport numpy as cnp

cnp.import_array()

cdef extern from "blocks.h" nogil:
    void *fastconv_block_malloc(void *context, size_t size)
    void *fastconv_block_calloc(void *context, size_t count, size_t size)
    void *fastconv_block_realloc(void *context, void *data, size_t size)
    void fastconv_block_free(void *context, void *data, size_t size)
    void *fastconv_line_malloc(void *context, size_t size)
    void *fastconv_line_calloc(void *context, size_t count, size_t size)
    void *fastconv_line_realloc(void *context, void *data, size_t size)
    void fastconv_line_free(void *context, void *data, size_t size)
    void fastconv_keep_blocks(size_t bytes)
    bint fastconv_would_keep(size_t size)
    size_t fastconv_kept_blocks()

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *, size_t) noexcept nogil
        void *(*calloc)(void *, size_t, size_t) noexcept nogil
        void *(*realloc)(void *, void *, size_t) noexcept nogil
        void (*free)(void *, void *, size_t) noexcept nogil
    ctypedef struct PyDataMem_Handler:
        char name[127]
        unsigned char version
        PyDataMemAllocator allocator
    object PyDataMem_SetHandler(object handler)

cdef PyDataMem_Handler block_handler, line_handler


cdef object capsule_of(PyDataMem_Handler *handler, const char *name, PyDataMemAllocator allocator):
    strcpy(handler.name, name)
    handler.version = 1
    handler.allocator = allocator
    return PyCapsule_New(handler, "mem_handler", NULL)


cdef object kept_blocks = capsule_of(&block_handler, "fastconv_blocks", PyDataMemAllocator(
    NULL, fastconv_block_malloc, fastconv_block_calloc, fastconv_block_realloc, fastconv_block_free))
cdef object lines = capsule_of(&line_handler, "fastconv_lines", PyDataMemAllocator(
    NULL, fastconv_line_malloc, fastconv_line_calloc, fastconv_line_realloc, fastconv_line_free))

cdef object BYTES = cnp.PyArray_DescrFromType(cnp.NPY_UINT8)
# New huge pages take as long as this many bytes in small ones.
cdef size_t NEW_PAGES = 4 << 20


cdef object empty_of(object memory, tuple shape, cnp.dtype dtype):
    cdef cnp.npy_intp sizes[32]
    cdef int axes = <int>len(shape), i
    if axes > 32:
        raise ValueError(f"shape must have at most 32 axes; got {axes}")
    for i in range(axes):
        sizes[i] = shape[i]
    before = PyDataMem_SetHandler(memory)
    try:
        return cnp.PyArray_EMPTY(axes, sizes, dtype.num, 0)
    finally:
        PyDataMem_SetHandler(before)


def empty(tuple shape, cnp.dtype dtype):
    """An array without contents whose memory is kept when it is freed.  It owns its data, as any other does."""
    return empty_of(kept_blocks, shape, dtype)


def empty_lines(tuple shape, cnp.dtype dtype):
    """An array without contents that begins with a cache line.  It owns its data, too."""
    return empty_of(lines, shape, dtype)


def workspace(size_t size):
    """Bytes like those of `empty` for the time of a call; None where malloc's are better, as they would not be kept."""
    if size < NEW_PAGES and not fastconv_would_keep(size):
        return None
    return empty_of(kept_blocks, (size,), BYTES)


def keep(size_t bytes) -> None:
    """Keep at most so many bytes of freed memory."""
    fastconv_keep_blocks(bytes)


def kept() -> int:
    """Bytes of freed memory that are kept now."""
    return fastconv_kept_blocks()
