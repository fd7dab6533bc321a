/* Maxima and minima of elements of the type with the suffix S, of so many BITS; included by sliding.h. */
#define LOAD PASTE(load_any, BITS)
#define SAVE PASTE(save_any, BITS)
#define DIVISION
#define RESULT(v) (v)
#define KIND larger
#define OP PASTE(larger_, S)
#include "sliding_kind.h"
#define KIND smaller
#define OP PASTE(smaller_, S)
#include "sliding_kind.h"
#undef DIVISION
#undef RESULT
#undef LOAD
#undef SAVE
#undef S
#undef BITS
