/* Averages of elements of type T, summed in ACC (by way of MID) and divided by QUOTIENT(sum, divisor).
 * Included by pooling.h with these and NAME(x) defined.
 */
#define S T
#define M MID
#define D ACC
#define OP ADD
#define LONG_OP ADD
#define OP1 ADD
#define FOLD NAME(sum)
#include "pool_fold.h"

typedef T NAME(average) LOOSE;
typedef ACC NAME(total) LOOSE;

static void NAME(divide)(char *dst, const char *src, int64_t n, int64_t divisor) {
    NAME(average) *restrict average = (NAME(average) *)dst;
    const NAME(total) *restrict total = (const NAME(total) *)src;
    for (int64_t i = 0; i < n; i++) average[i] = (T)QUOTIENT(total[i], divisor);
}

static const PoolOps NAME(avg_pool) = {
    .size = sizeof(T), .acc_size = sizeof(ACC), .fold_rows = NAME(sum), .fold_taps = PASTE(add_, ACC),
    .divide = NAME(divide), .fold_runs = PASTE(add_runs_, ACC),
};

#undef T
#undef MID
#undef ACC
#undef QUOTIENT
#undef NAME
