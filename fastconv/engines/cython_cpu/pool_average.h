/* Averages of elements of type T, summed in ACC and divided by QUOTIENT(sum, divisor).
 * Included by pooling.h with these and NAME(x) defined, after the fold NAME_OF_SUM(ACC).
 */
#define S T
#define D ACC
#define OP ADD
#define OP1 ADD
#define FOLD NAME(sum_rows)
#include "pool_fold.h"
#undef S
#undef D

typedef T NAME(average) LOOSE;
typedef ACC NAME(total) LOOSE;

static void NAME(divide)(char *dst, const char *src, int64_t n, int64_t divisor) {
    NAME(average) *restrict average = (NAME(average) *)dst;
    const NAME(total) *restrict total = (const NAME(total) *)src;
    for (int64_t i = 0; i < n; i++) average[i] = (T)QUOTIENT(total[i], divisor);
}

static const PoolOps NAME(avg_pool) = {
    .size = sizeof(T), .acc_size = sizeof(ACC), .fold_rows = NAME(sum_rows), .fold_taps = PASTE(sum_, ACC),
    .divide = NAME(divide),
};

#undef T
#undef ACC
#undef QUOTIENT
#undef NAME
