/* A small thread pool for kernels: see pool.c. */
#ifndef FASTCONV_POOL_H
#define FASTCONV_POOL_H
#include <stdint.h>

typedef void (*fastconv_kernel)(const int64_t *args, int64_t unit, int64_t worker);

/* Run units 0 .. units-1 of the kernel on up to `threads` threads, the caller among them. */
void fastconv_pool_run(fastconv_kernel kernel, const int64_t *args, int64_t units, int64_t threads);

/* Highest psABI level of this processor that a build exists for: 2, 3, 4 on x86-64, 0 elsewhere. */
int fastconv_cpu_level(void);

/* The default number of threads; exported so that threadpoolctl can find it. */
int fastconv_get_num_threads(void);
void fastconv_set_num_threads(int threads);

/* Threads started so far in this process, the caller not counted. */
int fastconv_pool_size(void);

#endif
