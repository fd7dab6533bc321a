/* Gradients of 3x3 kernels at 16 points: values of 4x4 windows, of their 2x2 gradients, and kernels from their products.
 *
 * Of tiles of 2x2 outputs at stride 1, 16 products take the place of 36.  Each function does a vector of channels or filters
 * after the other; `step` is the distance of points.  Included by tiles.h for floats alone. */

#define UNROLL _Pragma("GCC unroll 16")

/* Transposed B^T d B of windows whose pixels and rows are so far apart. */
static void NAME(window_values)(const T *x, int64_t pixel, int64_t row, T *to, int64_t step, int64_t vectors) {
    for (int64_t c = 0; c < vectors * LANES; c += LANES) {
        V down[4][4];
        UNROLL for (int j = 0; j < 4; j++) {
            V d[4];
            UNROLL for (int i = 0; i < 4; i++) d[i] = LOAD(x + c + i * row + j * pixel);
            down[0][j] = d[0] - d[2], down[1][j] = d[1] + d[2], down[2][j] = d[2] - d[1], down[3][j] = d[1] - d[3];
        }
        UNROLL for (int i = 0; i < 4; i++) {
            T *const at = to + c + 4 * i * step;
            STORE(at, down[i][0] - down[i][2]);
            STORE(at + step, down[i][1] + down[i][2]);
            STORE(at + 2 * step, down[i][2] - down[i][1]);
            STORE(at + 3 * step, down[i][1] - down[i][3]);
        }
    }
}

/* A g A^T. */
static void NAME(gradient_values)(const T *g, int64_t pixel, int64_t row, T *to, int64_t step, int64_t vectors) {
    for (int64_t f = 0; f < vectors * LANES; f += LANES) {
        V down[4][2];
        UNROLL for (int j = 0; j < 2; j++) {
            const V above = LOAD(g + f + j * pixel), below = LOAD(g + f + row + j * pixel);
            down[0][j] = above, down[1][j] = above + below, down[2][j] = above - below, down[3][j] = -below;
        }
        UNROLL for (int i = 0; i < 4; i++) {
            T *const at = to + f + 4 * i * step;
            STORE(at, down[i][0]);
            STORE(at + step, down[i][0] + down[i][1]);
            STORE(at + 2 * step, down[i][0] - down[i][1]);
            STORE(at + 3 * step, -down[i][1]);
        }
    }
}

/* G^T u G of a vector of filters, taps `tap` elements apart; whether all of the first `n` is finite. */
static int NAME(kernel_of_values)(const T *u, int64_t step, T *to, int64_t tap, int64_t n) {
    V down[3][4], nothing = {0};
    const T half = (T)0.5;
    UNROLL for (int j = 0; j < 4; j++) {
        V v[4];
        UNROLL for (int i = 0; i < 4; i++) v[i] = LOAD(u + (4 * i + j) * step);
        const V sum = half * (v[1] + v[2]), difference = half * (v[1] - v[2]);
        down[0][j] = v[0] + sum, down[1][j] = difference, down[2][j] = sum + v[3];
    }
    UNROLL for (int i = 0; i < 3; i++) {
        const V sum = half * (down[i][1] + down[i][2]), difference = half * (down[i][1] - down[i][2]);
        const V made[3] = {down[i][0] + sum, difference, sum + down[i][3]};
        UNROLL for (int j = 0; j < 3; j++) {
            STORE(to + (3 * i + j) * tap, made[j]);
            nothing += made[j] * 0;
        }
    }
    T lanes[LANES];
    int finite = 1;
    STORE(lanes, nothing);
    for (int l = 0; l < LANES && l < n; l++) finite &= lanes[l] == 0;
    return finite;
}
#undef UNROLL
