// Vector registers, memory aligned for them, and the product of small matrices that all convolutions are made of.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

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

// c[r][0..PANEL) (+)= sum over s, k of a[r*row + s*segment + k*step] * b[(s*K + k)*ldb + ...], for R rows.
// K may be known when this is compiled.
template <int R, bool ADD, class Count>
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
                sums[r][0] += p[r * row] * b0;
                sums[r][1] += p[r * row] * b1;
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

// The same in runs of three, of which a row of few channels has one or more.
template <class F>
inline void for_threes(int64_t count, F f) {
    int64_t j = 0;
    for (; j + 3 <= count; j += 3) f(Fixed<3>(), j);
    for (; j < count; j++) f(Fixed<1>(), j);
}

}  // namespace
