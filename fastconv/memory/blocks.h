/* Memory of large results: see blocks.c. */
#ifndef FASTCONV_BLOCKS_H
#define FASTCONV_BLOCKS_H
#include <stddef.h>

/* The four functions of a NumPy data allocator; `context` is not used. */
void *fastconv_block_malloc(void *context, size_t size);
void *fastconv_block_calloc(void *context, size_t count, size_t size);
void *fastconv_block_realloc(void *context, void *data, size_t size);
void fastconv_block_free(void *context, void *data, size_t size);

/* The same for memory of malloc that begins with a cache line. */
void *fastconv_line_malloc(void *context, size_t size);
void *fastconv_line_calloc(void *context, size_t count, size_t size);
void *fastconv_line_realloc(void *context, void *data, size_t size);
void fastconv_line_free(void *context, void *data, size_t size);

/* How many bytes of freed blocks are kept at most; keeping none frees those that are. */
void fastconv_keep_blocks(size_t bytes);

/* Whether a block of so many bytes may be kept when it is freed. */
int fastconv_would_keep(size_t size);

/* Bytes of the blocks that are kept now. */
size_t fastconv_kept_blocks(void);

#endif
