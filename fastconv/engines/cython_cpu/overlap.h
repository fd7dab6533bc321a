/* Fourier transforms of many lines at once, in GCC/Clang vector extensions.
 *
 * A transform runs down `n` vectors that lie `step` elements apart, real and imaginary parts in arrays of
 * their own: lanes are lines, so no pass shuffles.  Forwards, decimation in frequency leaves the spectrum in
 * the order of its reversed digits; backwards, decimation in time takes it from there: nothing is reordered.
 * Backwards is forwards with the parts exchanged (the conjugate of the conjugate's transform).
 *
 * The limit is the arithmetic: a pass of radix 8 has 90 operations for 16 loads and 16 stores.
 *
 * Included by tiles_all.h for float and double, with T, V, LANES, LOAD, STORE, SPLAT and NAME(x) defined.
 */

#define IN_REGISTERS _Pragma("GCC unroll 16")

/* The discrete Fourier transform of r[0..radix) + i * im[0..radix). */
static inline __attribute__((always_inline)) void NAME(four)(V *r, V *i, int a, int b, int c, int d) {
    const V sr = r[a] + r[c], si = i[a] + i[c], tr = r[b] + r[d], ti = i[b] + i[d];
    const V dr = r[a] - r[c], di = i[a] - i[c], er = r[b] - r[d], ei = i[b] - i[d];
    r[a] = sr + tr, i[a] = si + ti;
    r[b] = dr + ei, i[b] = di - er;
    r[c] = sr - tr, i[c] = si - ti;
    r[d] = dr - ei, i[d] = di + er;
}

static inline __attribute__((always_inline)) void NAME(three)(V *r, V *i) {
    const T half = (T)0.5, sine = (T)0.86602540378443864676;
    const V sr = r[1] + r[2], si = i[1] + i[2], dr = (r[1] - r[2]) * sine, di = (i[1] - i[2]) * sine;
    const V mr = r[0] - sr * half, mi = i[0] - si * half;
    r[0] += sr, i[0] += si;
    r[1] = mr + di, i[1] = mi - dr;
    r[2] = mr - di, i[2] = mi + dr;
}

static inline __attribute__((always_inline)) void NAME(five)(V *r, V *i) {
    const T c1 = (T)0.30901699437494742410, c2 = (T)-0.80901699437494742410;
    const T s1 = (T)0.95105651629515357212, s2 = (T)0.58778525229247312917;
    const V ar = r[1] + r[4], ai = i[1] + i[4], br = r[2] + r[3], bi = i[2] + i[3];
    const V cr = r[1] - r[4], ci = i[1] - i[4], dr = r[2] - r[3], di = i[2] - i[3];
    const V mr = r[0] + ar * c1 + br * c2, mi = i[0] + ai * c1 + bi * c2;
    const V nr = r[0] + ar * c2 + br * c1, ni = i[0] + ai * c2 + bi * c1;
    const V pr = cr * s1 + dr * s2, pi = ci * s1 + di * s2, qr = cr * s2 - dr * s1, qi = ci * s2 - di * s1;
    r[0] += ar + br, i[0] += ai + bi;
    r[1] = mr + pi, i[1] = mi - pr;
    r[4] = mr - pi, i[4] = mi + pr;
    r[2] = nr + qi, i[2] = ni - qr;
    r[3] = nr - qi, i[3] = ni + qr;
}

static inline __attribute__((always_inline)) void NAME(eight)(V *r, V *i) {
    const T half = (T)0.70710678118654752440;
    NAME(four)(r, i, 0, 2, 4, 6);
    NAME(four)(r, i, 1, 3, 5, 7);
    V wr[4], wi[4], er[4], ei[4];
    wr[0] = r[1], wi[0] = i[1];
    wr[1] = (r[3] + i[3]) * half, wi[1] = (i[3] - r[3]) * half;
    wr[2] = i[5], wi[2] = -r[5];
    wr[3] = (i[7] - r[7]) * half, wi[3] = (r[7] + i[7]) * -half;
    IN_REGISTERS for (int k = 0; k < 4; k++) er[k] = r[2 * k], ei[k] = i[2 * k];
    IN_REGISTERS for (int k = 0; k < 4; k++) {
        r[k] = er[k] + wr[k], i[k] = ei[k] + wi[k];
        r[k + 4] = er[k] - wr[k], i[k + 4] = ei[k] - wi[k];
    }
}

static inline __attribute__((always_inline)) void NAME(butterfly)(V *r, V *i, const int radix) {
    if (radix == 3)
        NAME(three)(r, i);
    else if (radix == 4)
        NAME(four)(r, i, 0, 1, 2, 3);
    else if (radix == 5)
        NAME(five)(r, i);
    else
        NAME(eight)(r, i);
}

/* r + i*im times roots of unity: for each element but the first, the root's two parts. */
static inline __attribute__((always_inline)) void NAME(turn)(V *r, V *i, const T *roots, const int radix) {
    IN_REGISTERS for (int q = 1; q < radix; q++) {
        const V c = SPLAT(roots[2 * q - 2]), s = SPLAT(roots[2 * q - 1]), re = r[q] * c - i[q] * s;
        i[q] = r[q] * s + i[q] * c;
        r[q] = re;
    }
}

/* One pass over the `n` vectors: `n / part` transforms, each of `part` vectors, are split into `radix` others. */
static inline __attribute__((always_inline)) void NAME(pass)(
    T *re, T *im, int64_t step, int64_t n, int64_t part, const T *roots, const int radix, const int backwards) {
    const int64_t m = part / radix, leap = m * step;
    for (int64_t first = 0; first < n; first += part)
        for (int64_t j = 0; j < m; j++) {
            T *const x = re + (first + j) * step, *const y = im + (first + j) * step;
            const T *at = roots + j * 2 * (radix - 1);
            V r[8], i[8];
            IN_REGISTERS for (int q = 0; q < radix; q++) r[q] = LOAD(x + q * leap), i[q] = LOAD(y + q * leap);
            if (backwards && m > 1) NAME(turn)(r, i, at, radix);
            NAME(butterfly)(r, i, radix);
            if (!backwards && m > 1) NAME(turn)(r, i, at, radix);
            IN_REGISTERS for (int q = 0; q < radix; q++) {
                STORE(x + q * leap, r[q]);
                STORE(y + q * leap, i[q]);
            }
        }
}

#define PASS(radix, backwards) \
    case radix: NAME(pass)(re, im, step, n, part, roots, radix, backwards); break
#define PASSES(backwards) \
    switch (radix) {      \
        PASS(3, backwards); \
        PASS(4, backwards); \
        PASS(5, backwards); \
        PASS(8, backwards); \
    }

/* Roots of all passes follow each other: of a pass that splits `part` vectors 2 (radix - 1) part / radix numbers. */
static void NAME(forwards)(T *re, T *im, int64_t step, int64_t n, const int64_t *radices, const T *roots) {
    for (int64_t part = n; part > 1; radices++) {
        const int64_t radix = *radices, m = part / radix;
        PASSES(0)
        roots += m * 2 * (radix - 1);
        part = m;
    }
}

static void NAME(backwards)(T *im, T *re, int64_t step, int64_t n, const int64_t *radices, const T *roots) {
    int64_t passes = 0;
    for (int64_t part = n; part > 1; passes++) {
        const int64_t radix = radices[passes];
        part /= radix;
        roots += part * 2 * (radix - 1);
    }
    for (int64_t part = 1; passes-- > 0;) {
        const int64_t radix = radices[passes];
        roots -= part * 2 * (radix - 1);
        part *= radix;
        PASSES(1)
    }
}

#undef PASS
#undef PASSES

/* The lines of `n` elements, LANES of them `pitch` apart, transformed, multiplied by a spectrum (element, then
 * lane; all real parts first), and transformed back.  `tile` has room for them. */
static void NAME(multiply_lines)(T *re, T *im, int64_t pitch, int64_t n, const int64_t *radices, const T *roots,
                                 const T *spectrum, T *tile) {
    T *const tr = tile, *const ti = tile + n * LANES;
    for (int64_t i = 0; i < n; i += LANES) {
        NAME(transpose)(re + i, pitch, tr + i * LANES, LANES);
        NAME(transpose)(im + i, pitch, ti + i * LANES, LANES);
    }
    NAME(forwards)(tr, ti, LANES, n, radices, roots);
    for (int64_t i = 0; i < n * LANES; i += LANES) {
        const V a = LOAD(tr + i), b = LOAD(ti + i), c = LOAD(spectrum + i), d = LOAD(spectrum + n * LANES + i);
        STORE(tr + i, a * c - b * d);
        STORE(ti + i, a * d + b * c);
    }
    NAME(backwards)(tr, ti, LANES, n, radices, roots);
    for (int64_t i = 0; i < n; i += LANES) {
        NAME(transpose)(tr + i * LANES, LANES, re + i, pitch);
        NAME(transpose)(ti + i * LANES, LANES, im + i, pitch);
    }
}

/* The spectrum of such lines, times `scale`. */
static void NAME(spectrum_of_lines)(const T *re, const T *im, int64_t pitch, int64_t n, const int64_t *radices,
                                    const T *roots, T scale, T *spectrum) {
    for (int64_t i = 0; i < n; i += LANES) {
        NAME(transpose)(re + i, pitch, spectrum + i * LANES, LANES);
        NAME(transpose)(im + i, pitch, spectrum + (n + i) * LANES, LANES);
    }
    NAME(forwards)(spectrum, spectrum + n * LANES, LANES, n, radices, roots);
    for (int64_t i = 0; i < 2 * n * LANES; i++) spectrum[i] *= scale;
}
/* A line of `n` numbers times c + d i. */
static void NAME(multiply_line)(T *re, T *im, int64_t n, T c, T d) {
    for (int64_t i = 0; i < n; i += LANES) {
        const V a = LOAD(re + i), b = LOAD(im + i);
        STORE(re + i, a * SPLAT(c) - b * SPLAT(d));
        STORE(im + i, a * SPLAT(d) + b * SPLAT(c));
    }
}

#if ELEMENT_BYTES == 8
/* Whether any of the numbers is as close to an integer. */
static int near_integers(const double *at, int64_t n, double guard) {
    double least = 1.0;
    for (int64_t i = 0; i < n; i++) {
        const double away = __builtin_fabs(at[i] - __builtin_rint(at[i]));
        least = away < least ? away : least;
    }
    return least <= guard;
}

/* Doubles become the nearest whole numbers, or 64-bit integers in the same memory. */
static void round_run(double *at, int64_t n, int integers) {
    typedef int64_t integer __attribute__((may_alias));
    if (integers)
        for (int64_t i = 0; i < n; i++) ((integer *)at)[i] = (int64_t)__builtin_rint(at[i]);
    else
        for (int64_t i = 0; i < n; i++) at[i] = __builtin_rint(at[i]) + 0.0; /* no -0 */
}
#endif
#undef IN_REGISTERS
