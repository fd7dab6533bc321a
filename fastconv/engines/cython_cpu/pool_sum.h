/* Sums of accumulators of type ACC. Included by pooling.h. */
#define S ACC
#define M ACC
#define D ACC
#define OP ADD
#define LONG_OP ADD
#define OP1 ADD
#define FOLD PASTE(add_, ACC)
#include "pool_fold.h"
#define D ACC
#define OP ADD
#define OP1 ADD
#define NOTHING 0
#define RUNS PASTE(add_runs_, ACC)
#include "pool_runs.h"
#undef ACC
#ifdef SUFFIX
#undef SUFFIX
#endif
