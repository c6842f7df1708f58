// The products of words that Winograd's convolution is made of: in vector registers or, where a processor has AMX, in
// its tiles, registers of sixteen rows of sixteen words, two of which one instruction multiplies.

#pragma once

#include <atomic>

#include "vectors.h"

namespace {

#ifdef M3D_AMX
constexpr int SIDE = 16;  // rows of a tile, and words in each

// While there is one, this thread's tiles are whole: SIDE rows of SIDE words.
class Tiles {
    struct alignas(64) {
        uint8_t palette = 1, start = 0, reserved[14] = {};
        uint16_t bytes[16] = {};
        uint8_t rows[16] = {};
    } sizes;

   public:
    Tiles() {
        std::fill_n(sizes.bytes, 8, SIDE * 4);
        std::fill_n(sizes.rows, 8, SIDE);
        _tile_loadconfig(&sizes);
    }
    ~Tiles() { _tile_release(); }
};

// c[0..2 SIDE)[0..PANEL) (+)= the product of a[2 SIDE][K], whose rows are `row` apart, and b[K][PANEL], of words; K is a
// multiple of SIDE.
template <bool ADD>
inline void multiply_tiles(const float* a, int64_t row, int64_t K, const float* b, float* c) {
    constexpr int64_t ACROSS = PANEL * sizeof(float), DOWN = SIDE * PANEL;
    static_assert(PANEL == 2 * SIDE);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // a compiler need not know that tiles are loaded from memory
    if (ADD) {
        _tile_loadd(0, c, ACROSS);
        _tile_loadd(1, c + SIDE, ACROSS);
        _tile_loadd(2, c + DOWN, ACROSS);
        _tile_loadd(3, c + DOWN + SIDE, ACROSS);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t k = 0; k < K; k += SIDE, a += SIDE, b += DOWN) {
        _tile_loadd(4, a, row * sizeof(float));
        _tile_loadd(6, b, ACROSS);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + SIDE, ACROSS);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + SIDE * row, row * sizeof(float));
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, ACROSS);
    _tile_stored(1, c + SIDE, ACROSS);
    _tile_stored(2, c + DOWN, ACROSS);
    _tile_stored(3, c + DOWN + SIDE, ACROSS);
}

// Lanes of two registers, the second's from 16 on, that make the first and the second of two rows once squares of
// 1 << i words that lie across from one another are exchanged.
struct Exchange {
    alignas(64) int32_t first[4][SIDE] = {}, second[4][SIDE] = {};
    constexpr Exchange() {
        for (int i = 0; i < 4; i++)
            for (int l = 0, s = 1 << i; l < SIDE; l++)
                first[i][l] = l & s ? SIDE + l - s : l, second[i][l] = first[i][l] + s;
    }
};

// Turns words from[k][r], rows `row` apart, to to[r][k], SIDE of either.
inline void turn(const float* from, int64_t row, float* to) {
    static constexpr Exchange ORDER;
    __m512 rows[SIDE];
#pragma GCC unroll 16
    for (int k = 0; k < SIDE; k++) rows[k] = (__m512)load(from + k * row);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const __m512i first = _mm512_load_si512(ORDER.first[i]), second = _mm512_load_si512(ORDER.second[i]);
#pragma GCC unroll 16
        for (int k = 0; k < SIDE; k++)
            if (!(k >> i & 1)) {
                const __m512 a = rows[k], b = rows[k + (1 << i)];
                rows[k] = _mm512_permutex2var_ps(a, first, b);
                rows[k + (1 << i)] = _mm512_permutex2var_ps(a, second, b);
            }
    }
#pragma GCC unroll 16
    for (int k = 0; k < SIDE; k++) store(to + k * SIDE, (vec)rows[k]);
}
#else
struct Tiles {
    ~Tiles() {}
};
#endif

// c[count][PANEL] = a[count][K] b[K][PANEL]. Rows up to a whole BLOCK may be read and written beside these.
inline void multiply_rows(const float* a, int64_t count, int64_t K, const float* b, float* c) {
#ifdef M3D_AMX
    for (int64_t r = 0; r < count; r += 2 * SIDE) multiply_tiles<false>(a + r * K, K, K, b, c + r * PANEL);
#else
    for (int64_t r = 0; r < count; r += ROWS)
        multiply<ROWS, false, true>(a + r * K, K, 1, K, 1, 0, b, PANEL, c + r * PANEL, PANEL);
#endif
}

// c[o][C][PANEL] += a[K][C], turned, times b[o][K][PANEL], for all o < panels, which are so far from one another. In
// tiles K is SIDE.
inline void add_turned(const float* a, int64_t C, int64_t K, const float* b, int64_t b_panel, float* c, int64_t c_panel,
                       int64_t panels) {
#ifdef M3D_AMX
    alignas(64) float turned[2 * SIDE * SIDE];
    for (int64_t j = 0; j < C; j += 2 * SIDE) {
        turn(a + j, C, turned), turn(a + j + SIDE, C, turned + SIDE * SIDE);
        for (int64_t o = 0; o < panels; o++)
            multiply_tiles<true>(turned, SIDE, SIDE, b + o * b_panel, c + o * c_panel + j * PANEL);
    }
#else
    for (int64_t o = 0; o < panels; o++)
        for_rows(C, [&](auto rows, int64_t j) {
            multiply<rows(), true, true>(a + j, 1, C, K, 1, 0, b + o * b_panel, PANEL, c + o * c_panel + j * PANEL,
                                         PANEL);
        });
#endif
}

}  // namespace
