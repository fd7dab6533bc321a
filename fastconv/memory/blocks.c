/* Memory of large results, kept when it is freed for the next result of the same size.

   The system zeroes the pages of a new block one fault at a time: 64 MiB take 4-6 ms, as long as a 5x5 filter
   that writes them.  Pages that nobody has wanted for LINGER seconds are offered back to the system (MADV_FREE), which
   takes them when memory is short; offered at once, 64 MiB took a 3x3 filter of 3 ms 0.3 ms more.  New huge pages take 0.1 ms
   each, but 2 to 6 ms where a virtual machine had given them back to its host: 400 MB half a second.  malloc, which keeps blocks of up to 32 MiB itself, never keeps larger ones. */
#define _GNU_SOURCE
#include "blocks.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Data begin in the middle of a page: large arrays of others begin near its start, and where rows of source and result
   lie at the same place of a page they displace each other from the first cache (a 5x5 filter took half as long again). */
enum { HEADER = 6144, HUGE = 2 << 20, SLOTS = 16, LINGER = 2 };

typedef struct {
    char *base;
    size_t length;
    time_t since; /* when it was freed */
    int offered;
} block;

/* Kept blocks, the oldest first.  Who finds the lock taken does without them: nobody waits, and the child of a
   fork that another thread's hold has followed works, too. */
static block kept[SLOTS];
static int n_kept;
static size_t kept_bytes, limit;
static atomic_flag lock = ATOMIC_FLAG_INIT;
static int sweeping; /* a thread watches over blocks that are not offered yet */

/* Huge pages to the end: 400 small ones behind them took 3% of a call of 1.5 ms, to be offered and written again. */
static size_t length_for(size_t size)
{
    return (HEADER + size + HUGE - 1) / HUGE * HUGE;
}

static void drop(int i)
{
    munmap(kept[i].base, kept[i].length);
    kept_bytes -= kept[i].length;
    memmove(&kept[i], &kept[i + 1], (size_t)(--n_kept - i) * sizeof(block));
}

static char *take(size_t length)
{
    char *base = NULL;
    if (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
        return NULL;
    for (int i = n_kept; i-- > 0 && !base;)
        if (kept[i].length == length) {
            base = kept[i].base;
            kept_bytes -= length;
            memmove(&kept[i], &kept[i + 1], (size_t)(--n_kept - i) * sizeof(block));
        }
    atomic_flag_clear_explicit(&lock, memory_order_release);
    return base;
}

static time_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Offers blocks that have waited long enough, one for each time that it takes the lock; ends when none is left to offer. */
static void *sweep(void *unused)
{
    (void)unused;
    for (int left = 1; left;) {
        sleep(1);
        for (int more = 1; more;) {
            more = left = 0;
            while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
                sched_yield();
            for (int i = 0; i < n_kept; i++) {
                if (kept[i].offered)
                    continue;
                left = 1;
                if (!more && seconds() - kept[i].since > LINGER) {
#ifdef MADV_FREE
                    madvise(kept[i].base, kept[i].length, MADV_FREE);
#endif
                    kept[i].offered = more = 1;
                }
            }
            sweeping = left;
            atomic_flag_clear_explicit(&lock, memory_order_release);
        }
    }
    return NULL;
}

/* Who sweeps may hold the lock, and is the only one who does so without Python's lock: blocks are as they should be. */
static void sweep_no_more(void)
{
    sweeping = 0;
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

/* With the lock: sees to it that somebody sweeps.  The child of a fork has no thread of its parent's. */
static void watch(void)
{
    static int registered;
    pthread_attr_t detached;
    pthread_t thread;
    sigset_t all, before;
    if (sweeping)
        return;
    if (!registered)
        registered = pthread_atfork(NULL, NULL, sweep_no_more) == 0;
    if (pthread_attr_init(&detached))
        return;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 256 << 10);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sweeping = registered && pthread_create(&thread, &detached, sweep, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
}

static int keep(char *base, size_t length)
{
    int done = 0;
    if (length > limit || atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
        return 0;
    if (length <= limit) {
        while (n_kept == SLOTS || kept_bytes + length > limit)
            drop(0);
        kept[n_kept++] = (block){base, length, seconds(), 0};
        kept_bytes += length;
        watch();
        done = 1;
    }
    atomic_flag_clear_explicit(&lock, memory_order_release);
    return done;
}

/* New memory that begins at a multiple of a huge page and is made of them. */
static char *map(size_t length)
{
    char *all = mmap(NULL, length + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    size_t before = (HUGE - (uintptr_t)all % HUGE) % HUGE;
    if (before)
        munmap(all, before);
    munmap(all + before + length, HUGE - before);
#ifdef MADV_HUGEPAGE
    madvise(all + before, length, MADV_HUGEPAGE);
#endif
    return all + before;
}

void *fastconv_block_malloc(void *context, size_t size)
{
    (void)context;
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t length = length_for(size);
    char *base = take(length);
    if (!base)
        base = map(length);
    if (!base)
        return NULL;
    *(size_t *)base = length;
    return base + HEADER;
}

void *fastconv_block_calloc(void *context, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    void *data = fastconv_block_malloc(context, count * size);
    return data ? memset(data, 0, count * size) : NULL;
}

void fastconv_block_free(void *context, void *data, size_t size)
{
    (void)context, (void)size;
    if (!data)
        return;
    char *base = (char *)data - HEADER;
    size_t length = *(size_t *)base;
    if (!keep(base, length))
        munmap(base, length);
}

void *fastconv_block_realloc(void *context, void *data, size_t size)
{
    void *other = fastconv_block_malloc(context, size);
    if (!data || !other)
        return other;
    size_t before = *(size_t *)((char *)data - HEADER) - HEADER;
    memcpy(other, data, before < size ? before : size);
    fastconv_block_free(context, data, before);
    return other;
}

/* Before the data: where malloc's memory begins, and the data's size. */
enum { LINE = 64 };

typedef struct {
    void *base;
    size_t size;
} line_header;

void *fastconv_line_malloc(void *context, size_t size)
{
    (void)context;
    char *base = size > SIZE_MAX / 2 ? NULL : malloc(size + LINE + sizeof(line_header));
    if (!base)
        return NULL;
    char *data = base + sizeof(line_header);
    data += -(uintptr_t)data % LINE;
    ((line_header *)data)[-1] = (line_header){base, size};
    return data;
}

void *fastconv_line_calloc(void *context, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    void *data = fastconv_line_malloc(context, count * size);
    return data ? memset(data, 0, count * size) : NULL;
}

void fastconv_line_free(void *context, void *data, size_t size)
{
    (void)context, (void)size;
    if (data)
        free(((line_header *)data)[-1].base);
}

void *fastconv_line_realloc(void *context, void *data, size_t size)
{
    void *other = fastconv_line_malloc(context, size);
    if (!data || !other)
        return other;
    size_t before = ((line_header *)data)[-1].size;
    memcpy(other, data, before < size ? before : size);
    fastconv_line_free(context, data, before);
    return other;
}

void fastconv_keep_blocks(size_t bytes)
{
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
        ;
    limit = bytes;
    while (n_kept && kept_bytes > limit)
        drop(0);
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

int fastconv_would_keep(size_t size)
{
    return size <= limit && length_for(size) <= limit;
}

size_t fastconv_kept_blocks(void)
{
    return kept_bytes;
}
