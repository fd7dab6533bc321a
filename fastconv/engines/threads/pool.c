/* One thread pool under every CPU kernel.
 *
 * A job is a kernel, its arguments and a number of units.  Its whole state that
 * threads compete for is one 64-bit ticket
 *
 *     job number : 20 | free seats : 8 | units left of the caller's part : 18 | of the workers' : 18
 *
 * The caller publishes the ticket, wakes sleeping workers and takes units like
 * everybody else: of its own part, the first, and then of what the workers have left,
 * as they do of its part after theirs.  A worker joins by swapping in a ticket with one seat and one unit
 * less; so it never waits to be counted, and a worker that wakes too late finds no
 * units left and goes back to sleep: nobody waits for it.  A successful swap proves that the
 * job is still open, because the caller returns only when every unit is done.
 *
 * Decisions and what they rest on:
 * - Own pool rather than OpenMP: GNU OpenMP's workers were measured to need 6-8 ms
 *   after 10 ms of idleness on a 2-core machine, and die after a fork.
 * - Two parts rather than one queue: a call finds what the one before wrote in the caches of the thread that writes it
 *   again, and neighbouring units, which may share cache lines, are not written at the same time.  1x1, 64 to 384 channels,
 *   14x14 pixels channels last, in 8 units of 48 filters, on an Intel Xeon: 66 us one by one, as long as on one thread.
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

enum { SPINS = 2000, MAX_WORKERS = 255, PART_BITS = 18, MOST_UNITS = (1 << PART_BITS) - 1 };

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
    int64_t units;                    /* of the kernel */
    int64_t group;                    /* so many of them are one of the ticket's */
    int64_t all, own, seats;          /* units of the ticket, those of the caller's part */
} job;

/* A line each: what idle workers watch is not what others compete for. */
static _Alignas(64) _Atomic uint64_t ticket;
static _Alignas(64) _Atomic uint32_t round_word;   /* changes with every job: workers sleep on it */
static _Alignas(64) _Atomic uint32_t done_word;    /* units that workers have finished: the caller sleeps on it */
static _Atomic int sleepers, caller_sleeps;
static int workers;                   /* guarded by entry */
static pthread_mutex_t entry = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int default_threads = 1;

#define WORKERS_LEFT(t) ((int64_t)((t) & MOST_UNITS))
#define CALLERS_LEFT(t) ((int64_t)((t) >> PART_BITS & MOST_UNITS))
#define LEFT(t) ((t) & (((uint64_t)1 << 2 * PART_BITS) - 1))
#define SEATS(t) ((int64_t)((t) >> 2 * PART_BITS & 0xff))
#define NUMBER(t) ((t) >> (2 * PART_BITS + 8))
#define ONE_WORKERS ((uint64_t)1)
#define ONE_CALLERS ((uint64_t)1 << PART_BITS)
#define ONE_SEAT ((uint64_t)1 << 2 * PART_BITS)

/* What taking a unit subtracts from the ticket. */
static uint64_t one_less(uint64_t seen, int by_caller) {
    if (by_caller) return CALLERS_LEFT(seen) ? ONE_CALLERS : ONE_WORKERS;
    return WORKERS_LEFT(seen) ? ONE_WORKERS : ONE_CALLERS;
}

/* Compute the unit that was taken from the ticket `seen`. */
static void run_unit(uint64_t seen, int by_caller, int64_t worker) {
    const int64_t taken = one_less(seen, by_caller) == ONE_CALLERS ? job.own - CALLERS_LEFT(seen) : job.all - WORKERS_LEFT(seen);
    const int64_t first = taken * job.group, end = first + job.group < job.units ? first + job.group : job.units;
    for (int64_t unit = first; unit < end; unit++) job.kernel(job.args, unit, worker);
}

/* Take part in the open job, if there is one with a free seat. */
static void join_job(void) {
    uint64_t seen = atomic_load(&ticket);
    do {
        if (LEFT(seen) == 0 || SEATS(seen) == 0) return;
    } while (!atomic_compare_exchange_weak(&ticket, &seen, seen - ONE_SEAT - one_less(seen, 0)));
    const int64_t worker = job.seats - SEATS(seen) + 1;
    for (uint32_t units = 1;; units++) {
        run_unit(seen, 0, worker);
        seen = atomic_load(&ticket);
        do {
            if (LEFT(seen) == 0) { /* told once: the job stays open until then */
                atomic_fetch_add(&done_word, units);
                if (atomic_load(&caller_sleeps)) word_wake(&done_word, 1);
                return;
            }
        } while (!atomic_compare_exchange_weak(&ticket, &seen, seen - one_less(seen, 0)));
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
    job.group = (units + MOST_UNITS - 1) / MOST_UNITS;
    job.all = (units + job.group - 1) / job.group;
    job.own = (job.all + threads - 1) / threads;
    job.seats = threads - 1;
    atomic_store(&done_word, 0);
    const uint64_t number = NUMBER(atomic_load(&ticket)) + 1;
    uint64_t seen = ((number << 8 | (uint64_t)(threads - 1)) << PART_BITS | (uint64_t)job.own) << PART_BITS |
                    (uint64_t)(job.all - job.own);
    /* The caller's own first unit is taken here, so that it never competes for it. */
    atomic_store(&ticket, seen - ONE_CALLERS);
    atomic_fetch_add(&round_word, 1);
    if (atomic_load(&sleepers) > 0) {
        keep_workers_apart(workers);
        word_wake(&round_word, (int)threads - 1);
    }

    int64_t of_workers = job.all;
    for (;;) {
        run_unit(seen, 1, 0);
        of_workers--;
        seen = atomic_load(&ticket);
        while (LEFT(seen) != 0 && !atomic_compare_exchange_weak(&ticket, &seen, seen - one_less(seen, 1))) {}
        if (LEFT(seen) == 0) break;
    }
    for (int spins = 0;;) {
        const uint32_t done = atomic_load(&done_word);
        if (done == (uint32_t)of_workers) break;
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
