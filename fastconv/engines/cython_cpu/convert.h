/* Moving runs of elements between memory of any type and accumulators of type T.
 * Included by tiles_all.h once per T, with IS_FLOAT telling floating T. */

#define RUN(S, EXPRESSION)                                                                          \
    {                                                                                               \
        typedef S element __attribute__((aligned(1), may_alias));                                   \
        if (step == (int64_t)sizeof(S))                                                             \
            for (int64_t i = 0; i < n; i++) { element *at = (element *)(memory + i * (int64_t)sizeof(S)); EXPRESSION; } \
        else                                                                                        \
            for (int64_t i = 0; i < n; i++) { element *at = (element *)(memory + i * step); EXPRESSION; } \
    }                                                                                               \
    break

/* dst[i] = the element at memory + i * step bytes */
static void NAME(stage_run)(T *dst, const char *memory, int64_t step, int64_t n, int64_t code) {
    switch (code) {
        case BOOL:
        case UINT8: RUN(const uint8_t, dst[i] = (T)*at);
        case INT8: RUN(const int8_t, dst[i] = (T)*at);
        case INT16: RUN(const int16_t, dst[i] = (T)*at);
        case UINT16: RUN(const uint16_t, dst[i] = (T)*at);
        case INT32: RUN(const int32_t, dst[i] = (T)*at);
        case UINT32: RUN(const uint32_t, dst[i] = (T)*at);
        case INT64: RUN(const int64_t, dst[i] = (T)*at);
        case UINT64: RUN(const uint64_t, dst[i] = (T)*at);
#if IS_FLOAT
        case FLOAT32: RUN(const float, dst[i] = (T)*at);
        case FLOAT64: RUN(const double, dst[i] = (T)*at);
#endif
    }
}

/* the element at memory + i * step bytes = src[i], converted as C does */
static void NAME(store_run)(const T *src, char *memory, int64_t step, int64_t n, int64_t code) {
    switch (code) {
#if IS_FLOAT
        case BOOL: RUN(uint8_t, *at = (uint8_t)(int32_t)src[i] != 0);
        case UINT8: RUN(uint8_t, *at = (uint8_t)(int32_t)src[i]);
        case INT8: RUN(int8_t, *at = (int8_t)(int32_t)src[i]);
        case INT16: RUN(int16_t, *at = (int16_t)(int32_t)src[i]);
        case UINT16: RUN(uint16_t, *at = (uint16_t)(int32_t)src[i]);
        case INT32: RUN(int32_t, *at = (int32_t)src[i]);
        case UINT32: RUN(uint32_t, *at = TO_U32(src[i]));
        case INT64: RUN(int64_t, *at = (int64_t)src[i]);
        case UINT64: RUN(uint64_t, *at = TO_U64(src[i]));
        case FLOAT32: RUN(float, *at = (float)src[i]);
        case FLOAT64: RUN(double, *at = (double)src[i]);
#else
        case BOOL: RUN(uint8_t, *at = src[i] != 0);
        case UINT8:
        case INT8: RUN(uint8_t, *at = (uint8_t)src[i]);
        case INT16:
        case UINT16: RUN(uint16_t, *at = (uint16_t)src[i]);
        case INT32:
        case UINT32: RUN(uint32_t, *at = (uint32_t)src[i]);
        case INT64:
        case UINT64: RUN(uint64_t, *at = (uint64_t)src[i]);
#endif
    }
}
#undef RUN
#undef IS_FLOAT
