// Vector registers, memory aligned for them, and the product of small matrices that all convolutions are made of.

#pragma once

#ifdef M3D_BFLOAT16
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

#define INLINED __attribute__((always_inline)) inline

namespace {

#ifndef M3D_LANES  // floats in a vector register
#if defined(__AVX512F__)
#define M3D_LANES 16
#elif defined(__AVX2__)
#define M3D_LANES 8
#else
#define M3D_LANES 4
#endif
#endif
constexpr int LANES = M3D_LANES, ROWS = LANES == 16 ? 12 : 6;  // a product's rows; sums fill the registers
constexpr int PANEL = 2 * LANES;  // output channels of one product

typedef float vec __attribute__((vector_size(LANES * sizeof(float))));

inline vec load(const float* p) {
    vec v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
inline void store(float* p, vec v) { std::memcpy(p, &v, sizeof v); }

struct Free {
    void operator()(float* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<float[], Free>;

// Memory for so many floats. Throws std::bad_alloc, so never call it in a parallel region: no exception may leave one.
Buffer buffer(int64_t count) {
    void* p = std::aligned_alloc(64, (count * sizeof(float) + 127) / 64 * 64);
    if (!p) throw std::bad_alloc();
    return Buffer(static_cast<float*>(p));
}

template <int N>
using Fixed = std::integral_constant<int, N>;

// A word, the four bytes of a float, is one, or a pair of bfloat16: one instruction multiplies both numbers of LANES
// pairs by another, and adds the products to floats. PAIRS says what Winograd's products are of.
#ifdef M3D_BFLOAT16
constexpr bool PAIRS = true;
inline vec words(vec a, vec b) {  // lane l: a[l] and b[l]
    alignas(64) static constexpr uint16_t ORDER[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
    return (vec)_mm512_permutexvar_epi16(_mm512_load_si512(ORDER), both);
}
inline vec row_of_words(vec a, vec b) {  // a[0] and a[1], a[2] and a[3], ..., b[14] and b[15]
    return (vec)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
}
inline vec add_words(vec sum, float a, vec b) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(a), (__m512bh)b);
}
#else
constexpr bool PAIRS = false;
inline vec words(vec a, vec) { return a; }
inline vec row_of_words(vec a, vec) { return a; }
inline vec add_words(vec sum, float a, vec b) { return sum + a * b; }
#endif
constexpr int DEPTH = PAIRS ? 2 : 1;  // numbers in a word

// Whether products of pairs are those of tiles of registers, in "tiles.h".
#ifdef M3D_AMX
constexpr bool AMX = true;
#else
constexpr bool AMX = false;
#endif

// c[r][0..PANEL) (+)= sum over s, k of a[r*row + s*segment + k*step] * b[(s*K + k)*ldb + ...], for R rows, of floats or
// of words. K may be known when this is compiled.
template <int R, bool ADD, bool WORDS = false, class Count>
inline void multiply(const float* a, int64_t row, int64_t step, Count K, int64_t segments, int64_t segment,
                     const float* b, int64_t ldb, float* c, int64_t ldc) {
    vec sums[R][2];
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        sums[r][0] = ADD ? load(c + r * ldc) : vec{};
        sums[r][1] = ADD ? load(c + r * ldc + LANES) : vec{};
    }
    for (int s = 0; s < segments; s++) {
        const float* p = a + s * segment;
        for (int64_t k = 0; k < K; k++, p += step, b += ldb) {
            const vec b0 = load(b), b1 = load(b + LANES);
#pragma GCC unroll 12
            for (int r = 0; r < R; r++) {
                const float by = p[r * row];
                sums[r][0] = WORDS ? add_words(sums[r][0], by, b0) : sums[r][0] + by * b0;
                sums[r][1] = WORDS ? add_words(sums[r][1], by, b1) : sums[r][1] + by * b1;
            }
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        store(c + r * ldc, sums[r][0]);
        store(c + r * ldc + LANES, sums[r][1]);
    }
}

// Cuts 0 ... count - 1 into runs of ROWS, some shorter ones, and single rows: calls f with a run's length and start.
template <class F>
inline void for_rows(int64_t count, F f) {
    constexpr int SHORT = ROWS * 2 / 3;
    for (int64_t j = 0; j < count;) {
        const int64_t left = count - j;
        if (left >= ROWS && left != 2 * SHORT)
            f(Fixed<ROWS>(), j), j += ROWS;
        else if (left >= SHORT)
            f(Fixed<SHORT>(), j), j += SHORT;
        else
            f(Fixed<1>(), j), j++;
    }
}

// The same in longer and shorter runs of a multiple of three, of which a row of few channels has one or more.
template <class F>
inline void for_threes(int64_t count, F f) {
    constexpr int LONG = LANES == 16 ? 9 : 6;
    int64_t j = 0;
    for (; j + LONG <= count; j += LONG) f(Fixed<LONG>(), j);
    for (; j + 3 <= count; j += 3) f(Fixed<3>(), j);
    for (; j < count; j++) f(Fixed<1>(), j);
}

}  // namespace
