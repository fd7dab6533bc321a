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
#ifdef WITH_NUMBERS
#define OF_NUMBERS
#define KIND quick_larger
#define OP PASTE(quick_larger_, S)
#include "sliding_kind.h"
#define KIND quick_smaller
#define OP PASTE(quick_smaller_, S)
#include "sliding_kind.h"
#undef OF_NUMBERS
#endif
#undef DIVISION
#undef RESULT
#undef LOAD
#undef SAVE
#undef S
#undef BITS
