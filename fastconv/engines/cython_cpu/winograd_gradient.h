/* Gradients of 3x3 kernels at Winograd's points (winograd.h): values of m x m gradients of outputs there, and kernels from sums of
 * products with the values of windows.
 *
 * Of tiles of 2x2 outputs 16 products take the place of 36, of 4x4 36 that of 144.  Each function does a vector of channels or
 * filters after the other; `step` is the distance of points.  Included by tiles.h for floats alone. */

#define POINTS 6 /* at most */
#define EACH(i, n) _Pragma("GCC unroll 6") for (int i = 0; i < (n); i++)
#define INLINED static inline __attribute__((always_inline))

/* A line of m gradients at the points: the transposed of `line_of_sums`. */
INLINED void NAME(gradients_at_points)(const V *g, V *to, const int m) {
    if (m == 2) {
        to[0] = g[0], to[1] = g[0] + g[1], to[2] = g[0] - g[1], to[3] = -g[1];
    } else {
        const V even = g[0] + g[2], odd = g[1] + g[3], even_2 = g[0] + 4 * g[2], odd_2 = 2 * g[1] + 8 * g[3];
        to[0] = g[0], to[1] = even + odd, to[2] = even - odd, to[3] = even_2 + odd_2, to[4] = even_2 - odd_2, to[5] = g[3];
    }
}

/* Three taps: the transposed of `weights_at_points`. */
INLINED void NAME(taps_of_points)(const V *v, V *to, const int m) {
    if (m == 2) {
        const V sum = (v[1] + v[2]) * (T)0.5;
        to[0] = v[0] + sum, to[1] = (v[1] - v[2]) * (T)0.5, to[2] = sum + v[3];
    } else {
        const V sum = (v[1] + v[2]) * (T)(1 / 6.), sum_2 = v[3] + v[4];
        to[0] = v[0] * (T)0.25 - sum + sum_2 * (T)(1 / 24.);
        to[1] = (v[2] - v[1]) * (T)(1 / 6.) + (v[3] - v[4]) * (T)(1 / 12.);
        to[2] = sum_2 * (T)(1 / 6.) - sum + v[5];
    }
}

INLINED void NAME(gradient_values_of)(const T *g, int64_t row, int64_t pixel, T *to, int64_t step, int64_t filters, const int m) {
    const int n = m + 2;
    for (int64_t f = 0; f < filters; f += LANES) {
        V down[POINTS][POINTS], line[POINTS], made[POINTS];
        EACH(j, m) {
            EACH(i, m) line[i] = LOAD(g + f + i * row + j * pixel);
            NAME(gradients_at_points)(line, made, m);
            EACH(i, n) down[i][j] = made[i];
        }
        EACH(i, n) {
            NAME(gradients_at_points)(down[i], made, m);
            EACH(j, n) STORE(to + f + (i * n + j) * step, made[j]);
        }
    }
}

/* The gradients of a tile, pixels and rows so far apart, at all points. */
static void NAME(gradient_values)(const T *g, int64_t row, int64_t pixel, T *to, int64_t step, int64_t filters, int64_t m) {
    if (m == 2) NAME(gradient_values_of)(g, row, pixel, to, step, filters, 2);
    else NAME(gradient_values_of)(g, row, pixel, to, step, filters, 4);
}

INLINED int NAME(kernel_of_values_of)(const T *u, int64_t step, T *to, int64_t tap, int64_t filters, const int m) {
    const int n = m + 2;
    V down[3][POINTS], line[POINTS], made[3], nothing = {0};
    EACH(j, n) {
        EACH(i, n) line[i] = LOAD(u + (i * n + j) * step);
        NAME(taps_of_points)(line, made, m);
        EACH(i, 3) down[i][j] = made[i];
    }
    EACH(i, 3) {
        NAME(taps_of_points)(down[i], made, m);
        EACH(j, 3) {
            STORE(to + (3 * i + j) * tap, made[j]);
            nothing += made[j] * 0;
        }
    }
    T lanes[LANES];
    int finite = 1;
    STORE(lanes, nothing);
    for (int l = 0; l < LANES && l < filters; l++) finite &= lanes[l] == 0;
    return finite;
}

/* The kernels of a vector of filters, taps `tap` elements apart, from sums of products; whether all of the first ones is finite. */
static int NAME(kernel_of_values)(const T *u, int64_t step, T *to, int64_t tap, int64_t filters, int64_t m) {
    return m == 2 ? NAME(kernel_of_values_of)(u, step, to, tap, filters, 2) : NAME(kernel_of_values_of)(u, step, to, tap, filters, 4);
}
#undef POINTS
#undef EACH
#undef INLINED
