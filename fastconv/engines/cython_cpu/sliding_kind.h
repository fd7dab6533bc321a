/* The row operations of one kind of window of one type; included by sliding.h with KIND (larger, smaller, mean), S (the
 * type's suffix), OP (of two vectors), RESULT and DIVISION (see sliding_folds.h), LOAD and SAVE. */
#define V PASTE(lanes_, S)
#define VU PASTE(loose_, S)
#define NAME(x) PASTE(PASTE(x##_, KIND), PASTE(_, S))
#define LINE_OF(p) (int64_t)((uintptr_t)(p) % VECTOR_BYTES / sizeof(((V){0})[0]) * sizeof(((V){0})[0])) /* whole elements */
#include "sliding_folds.h"

#define READ(p) (*(const VU *)((p) + i))
#define READ_CORE(p) READ(p)
#define WRITE(p, v) (*(VU *)(p) = (v))
#define WRITE_CORE(p, v) WRITE((p) + i, v)
#define KEEP(v) HOLD(v)
#define PREPARE
#ifdef OF_NUMBERS
#define WATCHED PASTE(Numbers_, S) numbers = PASTE(NUMBERS_, S);
#define WATCH(a, b) numbers = PASTE(watched_, S)(numbers, a, b)
#define ALL_NUMBERS PASTE(only_numbers_, S)(numbers)
#else
#define WATCHED
#define WATCH(a, b) (void)0
#define ALL_NUMBERS 1
#endif
#include "sliding_rows.h"

#if defined(__AVX512F__) && BITS == 32
#include "sliding_overlapping.h"
#define OVERLAPPING NAME(overlapping)
#else
#define OVERLAPPING NULL
#endif

static const WindowOps NAME(ops) = {sizeof(((V){0})[0]), LOAD, SAVE, NAME(fold), NAME(last),
                                    {NAME(twos), NAME(threes), NAME(fives), NAME(fours), NAME(eights), NAME(gather)}, OVERLAPPING};
#undef OVERLAPPING
#undef V
#undef VU
#undef NAME
#undef READ
#undef READ_CORE
#undef WRITE
#undef WRITE_CORE
#undef KEEP
#undef PREPARE
#undef WATCHED
#undef WATCH
#undef ALL_NUMBERS
#undef LINE_OF
#undef KIND
#undef OP
