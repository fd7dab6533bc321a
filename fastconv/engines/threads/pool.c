/* One thread pool under every CPU kernel.
 *
 * A job is a kernel, its arguments and a number of units.  Its whole state that
 * threads compete for is one 64-bit ticket
 *
 *     job number : 24 | free seats : 8 | units left : 32
 *
 * The caller publishes the ticket, wakes sleeping workers and takes units like
 * everybody else.  A worker joins by swapping in a ticket with one seat and one unit
 * less; so it never waits to be counted, and a worker that wakes too late finds no
 * units left and goes back to sleep: nobody waits for it.  A successful swap proves that the
 * job is still open, because the caller returns only when every unit is done.
 *
 * Decisions and what they rest on:
 * - Own pool rather than OpenMP: GNU OpenMP's workers were measured to need 6-8 ms
 *   after 10 ms of idleness on a 2-core machine, and die after a fork.
 * - Workers spin SPINS pauses, then sleep on a futex: back-to-back calls find them awake.
 * - A second caller while a job runs does its own job serially, as does a forked
 *   child until its first job of its own starts new workers.
 */
#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

enum { SPINS = 2000, MAX_WORKERS = 255 };

/* ---- sleeping on a 32-bit word ------------------------------------------------ */

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>

static void word_wait(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static void word_wake(_Atomic uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}
static void word_reset(void) {}

/* ---- where sleepers wake up ------------------------------------------------------
 * In virtual machines a halted processor looks preempted to the guest's scheduler, which then
 * wakes a worker on the caller's own processor, where it waits behind the caller until the
 * load balancer comes by: measured 1 ms after 10 ms of idleness, 10 ms after 100 ms.  So
 * workers are kept off the processor of the thread that wakes them.  The caller's own
 * affinity is never touched. */
#include <sched.h>

static int worker_ids[MAX_WORKERS];          /* kernel thread numbers, 0: not started yet */
static cpu_set_t worker_processors;  /* the affinity given last; guarded by entry */

static void worker_started(int worker) { __atomic_store_n(&worker_ids[worker], (int)syscall(SYS_gettid), __ATOMIC_RELEASE); }

static void keep_workers_apart(int workers) {
    cpu_set_t allowed;
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    CPU_CLR(here, &allowed);
    if (CPU_COUNT(&allowed) == 0 || CPU_EQUAL(&allowed, &worker_processors)) return;
    for (int worker = 0; worker < workers; worker++) {
        const int id = __atomic_load_n(&worker_ids[worker], __ATOMIC_ACQUIRE);
        if (id == 0) return;  /* still starting: next time */
        if (sched_setaffinity(id, sizeof allowed, &allowed) != 0) return;
    }
    worker_processors = allowed;
}
static void forget_workers(void) {
    for (int worker = 0; worker < MAX_WORKERS; worker++) worker_ids[worker] = 0;
    CPU_ZERO(&worker_processors);
}
#else
static void worker_started(int worker) { (void)worker; }
static void keep_workers_apart(int workers) { (void)workers; }
static void forget_workers(void) {}

static pthread_mutex_t word_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t word_changed = PTHREAD_COND_INITIALIZER;

static void word_wait(_Atomic uint32_t *word, uint32_t value) {
    pthread_mutex_lock(&word_mutex);
    while (atomic_load(word) == value) pthread_cond_wait(&word_changed, &word_mutex);
    pthread_mutex_unlock(&word_mutex);
}
static void word_wake(_Atomic uint32_t *word, int count) {
    (void)word, (void)count;
    pthread_mutex_lock(&word_mutex);
    pthread_cond_broadcast(&word_changed);
    pthread_mutex_unlock(&word_mutex);
}
static void word_reset(void) {
    pthread_mutex_init(&word_mutex, NULL);
    pthread_cond_init(&word_changed, NULL);
}
#endif

/* ---- the job ------------------------------------------------------------------- */

static struct {
    fastconv_kernel kernel;
    const int64_t *args;
    int64_t units, seats;
} job;

static _Atomic uint64_t ticket;
static _Atomic uint32_t round_word;   /* changes with every job: workers sleep on it */
static _Atomic uint32_t done_word;    /* units finished: the caller sleeps on it */
static _Atomic int sleepers, caller_sleeps;
static int workers;                   /* guarded by entry */
static pthread_mutex_t entry = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int default_threads = 1;

#define UNITS(t) ((uint32_t)(t))
#define SEATS(t) ((uint32_t)((t) >> 32) & 0xff)
#define NUMBER(t) ((t) >> 40)
#define ONE_SEAT ((uint64_t)1 << 32)

static void finish_unit(uint32_t units) {
    if (atomic_fetch_add(&done_word, 1) + 1 == units && atomic_load(&caller_sleeps)) word_wake(&done_word, 1);
}

/* Take part in the open job, if there is one with a free seat. */
static void join_job(void) {
    uint64_t seen = atomic_load(&ticket);
    do {
        if (UNITS(seen) == 0 || SEATS(seen) == 0) return;
    } while (!atomic_compare_exchange_weak(&ticket, &seen, seen - ONE_SEAT - 1));
    const uint64_t number = NUMBER(seen);
    const int64_t worker = job.seats - SEATS(seen) + 1;
    for (;;) {
        const uint32_t units = (uint32_t)job.units;
        job.kernel(job.args, job.units - UNITS(seen), worker);
        finish_unit(units);
        seen = atomic_load(&ticket);
        do {
            if (NUMBER(seen) != number || UNITS(seen) == 0) return;
        } while (!atomic_compare_exchange_weak(&ticket, &seen, seen - 1));
    }
}

static void *worker_loop(void *start) {
    uint32_t seen = (uint32_t)((uintptr_t)start >> 8);
    worker_started((int)((uintptr_t)start & 0xff));
    for (;;) {
        for (int spins = 0; atomic_load(&round_word) == seen;) {
            if (++spins < SPINS) {
                PAUSE();
                continue;
            }
            atomic_fetch_add(&sleepers, 1);
            while (atomic_load(&round_word) == seen) word_wait(&round_word, seen);
            atomic_fetch_sub(&sleepers, 1);
        }
        seen = atomic_load(&round_word);
        join_job();
    }
    return NULL;
}

static void start_workers(int wanted) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);  /* signals belong to the program's own threads */
    while (workers < wanted) {
        pthread_t thread;
        void *start = (void *)((uintptr_t)atomic_load(&round_word) << 8 | (uintptr_t)workers);
        if (pthread_create(&thread, NULL, worker_loop, start) != 0) break;  /* fewer threads, same result */
        pthread_detach(thread);
        workers++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void run_serially(fastconv_kernel kernel, const int64_t *args, int64_t units) {
    for (int64_t unit = 0; unit < units; unit++) kernel(args, unit, 0);
}

/* The child of a fork has none of the parent's threads: it starts anew. */
static void after_fork_in_child(void) {
    pthread_mutex_init(&entry, NULL);
    word_reset();
    workers = 0;
    forget_workers();
    atomic_store(&sleepers, 0);
    atomic_store(&caller_sleeps, 0);
    atomic_store(&ticket, 0);
}

__attribute__((constructor)) static void register_fork_handler(void) {
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

void fastconv_pool_run(fastconv_kernel kernel, const int64_t *args, int64_t units, int64_t threads) {
    if (threads > units) threads = units;
    if (threads > MAX_WORKERS + 1) threads = MAX_WORKERS + 1;
    if (threads <= 1 || units > INT32_MAX || pthread_mutex_trylock(&entry) != 0) {
        run_serially(kernel, args, units);
        return;
    }
    if (workers < threads - 1) start_workers((int)threads - 1);

    job.kernel = kernel;
    job.args = args;
    job.units = units;
    job.seats = threads - 1;
    atomic_store(&done_word, 0);
    const uint64_t number = NUMBER(atomic_load(&ticket)) + 1;
    /* The caller's own first unit is taken here, so that it never competes for it. */
    atomic_store(&ticket, number << 40 | (uint64_t)(threads - 1) << 32 | (uint64_t)(units - 1));
    atomic_fetch_add(&round_word, 1);
    if (atomic_load(&sleepers) > 0) {
        keep_workers_apart(workers);
        word_wake(&round_word, (int)threads - 1);
    }

    for (int64_t unit = 0;;) {
        kernel(args, unit, 0);
        finish_unit((uint32_t)units);
        uint64_t seen = atomic_load(&ticket);
        while (UNITS(seen) != 0 && !atomic_compare_exchange_weak(&ticket, &seen, seen - 1)) {}
        if (UNITS(seen) == 0) break;
        unit = units - UNITS(seen);
    }
    for (int spins = 0;;) {
        const uint32_t done = atomic_load(&done_word);
        if (done == (uint32_t)units) break;
        if (++spins < SPINS * 10) {
            PAUSE();
            continue;
        }
        atomic_store(&caller_sleeps, 1);
        if (atomic_load(&done_word) == done) word_wait(&done_word, done);
        atomic_store(&caller_sleeps, 0);
    }
    pthread_mutex_unlock(&entry);
}

int fastconv_pool_size(void) { return workers; }
int fastconv_get_num_threads(void) { return atomic_load(&default_threads); }
void fastconv_set_num_threads(int threads) { atomic_store(&default_threads, threads < 1 ? 1 : threads); }

int fastconv_cpu_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd"))
        return 4;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return 3;
    return 2;
#else
    return 0;
#endif
}
