// Winograd's convolution F(4x4, 3x3), and its gradients: tiles of 4x4 outputs from 6x6 inputs by 36 products in place
// of 144 (Lavin and Gray, CVPR 2016).

#pragma once

#include "shapes.h"

namespace {

// The three transforms of F(4x4, 3x3) along one axis.
inline void input_transform(const vec d[6], vec v[6]) {
    v[0] = 4 * d[0] - 5 * d[2] + d[4];
    v[1] = (d[3] + d[4]) - 4 * (d[1] + d[2]);
    v[2] = 4 * (d[1] - d[2]) + (d[4] - d[3]);
    v[3] = 2 * (d[3] - d[1]) + (d[4] - d[2]);
    v[4] = 2 * (d[1] - d[3]) + (d[4] - d[2]);
    v[5] = 4 * d[1] - 5 * d[3] + d[5];
}
inline void output_transform(const vec m[6], vec y[4]) {
    const vec s = m[1] + m[2], d = m[1] - m[2], p = m[3] + m[4], q = m[3] - m[4];
    y[0] = m[0] + s + p;
    y[1] = d + 2 * q;
    y[2] = s + 4 * p;
    y[3] = d + 8 * q + m[5];
}
inline void output_transposed(const vec y[4], vec m[6]) {
    const vec even = y[0] + y[2], odd = y[1] + y[3], far = y[0] + 4 * y[2], wide = 2 * y[1] + 8 * y[3];
    m[0] = y[0];
    m[1] = even + odd;
    m[2] = even - odd;
    m[3] = far + wide;
    m[4] = far - wide;
    m[5] = y[3];
}
inline void weight_transform(const vec g[3], vec u[6]) {
    const vec even = g[0] + g[2], far = g[0] + 4 * g[2];
    u[0] = g[0] / 4;
    u[1] = -(even + g[1]) / 6;
    u[2] = -(even - g[1]) / 6;
    u[3] = (far + 2 * g[1]) / 24;
    u[4] = (far - 2 * g[1]) / 24;
    u[5] = g[2];
}
inline void weight_transposed(const vec u[6], vec g[3]) {
    g[0] = u[0] / 4 - (u[1] + u[2]) / 6 + (u[3] + u[4]) / 24;
    g[1] = (u[2] - u[1]) / 6 + (u[3] - u[4]) / 12;
    g[2] = (u[3] + u[4] - u[1] - u[2]) / 6 + u[5];
}

// A transform along both axes: IN x IN numbers get(i, j) to OUT x OUT numbers put(i, j, number). Called and not inlined,
// it waits for what `get` and `put` hold to pass through memory.
template <int IN, int OUT, class Along, class Get, class Put>
INLINED void both_axes(Along along, Get get, Put put) {
    vec half[OUT][IN];
#pragma GCC unroll 6
    for (int j = 0; j < IN; j++) {
        vec from[IN], to[OUT];
#pragma GCC unroll 6
        for (int i = 0; i < IN; i++) from[i] = get(i, j);
        along(from, to);
#pragma GCC unroll 6
        for (int i = 0; i < OUT; i++) half[i][j] = to[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < OUT; i++) {
        vec to[OUT];
        along(half[i], to);
#pragma GCC unroll 6
        for (int j = 0; j < OUT; j++) put(i, j, to[j]);
    }
}

// The same of the numbers that words hold, get(d, i, j) for the d-th: to put(i, j, first, second). A float is alone.
template <int IN, int OUT, class Along, class Get, class Put>
INLINED void both_axes_of_words(Along along, Get get, Put put) {
    vec kept[OUT][OUT];
    if (PAIRS)
        both_axes<IN, OUT>(
            along, [&](int i, int j) { return get(0, i, j); }, [&](int i, int j, vec x) { kept[i][j] = x; });
    both_axes<IN, OUT>(
        along, [&](int i, int j) { return get(DEPTH - 1, i, j); },
        [&](int i, int j, vec x) { put(i, j, PAIRS ? kept[i][j] : x, x); });
}

// Weights O x C x 3 x 3 as panels [O/PANEL][36][C][PANEL]; turned, those of the gradient to the input. A word holds the
// weights of neighbouring input channels.
Buffer winograd_weights(const float* w, int64_t O, int64_t C, bool turned, int threads) {
    const int64_t out = turned ? C : O, in = turned ? O : C;
    Buffer u = buffer(POINTS * O * C / DEPTH);
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t o = 0; o < out; o += PANEL)
        for (int64_t c = 0; c < in; c += DEPTH) {
            float g[DEPTH][9][PANEL];
            for (int d = 0; d < DEPTH; d++)
                for (int l = 0; l < PANEL; l++) {
                    const float* from = w + (turned ? (c + d) * C + o + l : (o + l) * C + c + d) * 9;
                    for (int k = 0; k < 9; k++) g[d][turned ? 8 - k : k][l] = from[k];
                }
            float* to = u.get() + (o * POINTS / PANEL * in + c) / DEPTH * PANEL;
            for (int v = 0; v < PANEL; v += LANES)
                both_axes_of_words<3, PATCH>(
                    weight_transform, [&](int d, int i, int j) { return load(g[d][3 * i + j] + v); },
                    [&](int i, int j, vec a, vec b) {
                        store(to + (i * PATCH + j) * in / DEPTH * PANEL + v, words(a, b));
                    });
        }
    return u;
}

// How many of a block's tiles the gradient of the weights is summed over: those that are there, or zeros too.
inline int64_t summed(int64_t count) { return AMX ? BLOCK : count; }

// v[36][BLOCK][C]: the patches of up to BLOCK tiles from tile `first` on; zeros has as many as there are channels.
// A word holds those of neighbouring tiles, or of neighbouring channels.
template <bool OF_TILES>
void patches(const float* x, const Grid& g, int64_t first, int64_t count, float* v, int64_t plane, const float* zeros) {
    constexpr int tiles = OF_TILES ? DEPTH : 1, channels = DEPTH / tiles;  // of a word
    const int64_t run = g.pixel == g.C ? g.C : PANEL;  // channels that lie side by side
    const int64_t end = OF_TILES ? summed(count) : count;
    for (int64_t t = 0; t < end; t += tiles)
        for (int64_t start = 0; start < g.C; start += run) {
            const float* from[tiles][PATCH][PATCH];
            for (int d = 0; d < tiles; d++) {
                const Place at(g, first + t + d);
                for (int i = 0; i < PATCH; i++)
                    for (int j = 0; j < PATCH; j++) {
                        const int64_t h = at.i + i - 1, w = at.j + j - 1;
                        const bool inside = t + d < count && h >= 0 && h < g.H && w >= 0 && w < g.W;
                        from[d][i][j] = inside ? x + g.at(at.n, h, w) + g.channel(start) : zeros;
                    }
            }
            float* to = v + (t * g.C + start * tiles) / DEPTH;
            for (int64_t c = 0; c < run; c += LANES * channels)
                both_axes_of_words<PATCH, PATCH>(
                    input_transform,
                    [&](int d, int i, int j) {
                        return load(OF_TILES ? from[d % tiles][i][j] + c : from[0][i][j] + c + d * LANES);
                    },
                    [&](int i, int j, vec a, vec b) {
                        store(to + (i * PATCH + j) * plane + c / channels, OF_TILES ? words(a, b) : row_of_words(a, b));
                    });
        }
}

// m[36][O/PANEL][BLOCK][PANEL]: the transposed output transform of the gradient's tiles, for that of the weights. A
// word holds those of neighbouring tiles.
void gradient_patches(const float* dy, const Grid& g, int64_t first, int64_t count, float* m, int64_t plane) {
    for (int64_t t = 0; t < summed(count); t += DEPTH) {
        const Place at[] = {Place(g, first + t), Place(g, first + t + DEPTH - 1)};
        for (int64_t c = 0; c < g.C; c += LANES) {
            float* to = m + (c / PANEL * BLOCK + t) / DEPTH * PANEL + c % PANEL;
            both_axes_of_words<TILE, PATCH>(
                output_transposed,
                [&](int d, int i, int j) {
                    const int64_t h = at[d].i + i, w = at[d].j + j;
                    const bool inside = t + d < count && h < g.H && w < g.W;
                    return inside ? load(dy + g.at(at[d].n, h, w) + g.channel(c)) : vec{};
                },
                [&](int i, int j, vec a, vec b) { store(to + (i * PATCH + j) * plane, words(a, b)); });
        }
    }
}

// Transforms one panel of one tile's products, and writes, or adds, what of it lies within the maps.
template <bool ADD>
void tile(const float* m, int64_t plane, const Grid& g, const Place& at, int64_t o, float* y) {
    const bool whole = at.i + TILE <= g.H && at.j + TILE <= g.W;
    float* to = y + g.at(at.n, at.i, at.j) + g.channel(o);
    const int64_t row = g.W * g.pixel;
    for (int c = 0; c < PANEL; c += LANES)
        both_axes<PATCH, TILE>(
            output_transform, [&](int i, int j) { return load(m + (i * PATCH + j) * plane + c); },
            [&](int i, int j, vec x) {
                float* pixel = to + i * row + j * g.pixel + c;
                if (whole || (at.i + i < g.H && at.j + j < g.W)) store(pixel, ADD ? load(pixel) + x : x);
            });
}

// The convolution of some images: y, or what is added to it, from the transformed weights, by blocks of tiles.
template <bool ADD = false>
void winograd(const float* x, const Grid& g, int64_t images, const float* u, float* y, const Grid& to,
              Scratch& scratch) {
    float *v = scratch.v.get(), *m = scratch.m.get();
    const int64_t plane = BLOCK * g.C + PAD, mplane = BLOCK * PANEL + PAD, total = images * g.tiles();
    const int64_t depth = g.C / DEPTH;
    for (int64_t first = 0; first < total; first += BLOCK) {
        const int64_t count = std::min<int64_t>(BLOCK, total - first);
        patches<false>(x, g, first, count, v, plane, scratch.zeros.get());
        for (int64_t o = 0; o < to.C; o += PANEL) {
            for (int p = 0; p < POINTS; p++)
                multiply_rows(v + p * plane, count, depth, u + (o / PANEL * POINTS + p) * depth * PANEL,
                              m + p * mplane);
            for (int64_t t = 0; t < count; t++) tile<ADD>(m + t * PANEL, mplane, to, Place(g, first + t), o, y);
        }
    }
}

// Adds the gradient of the transformed weights, panels du[O/PANEL][36][C][PANEL], of some images.
void winograd_weight(const float* x, const float* dy, const Shape& s, int64_t images, Scratch& scratch, float* du) {
    float *v = scratch.v.get(), *m = scratch.m.get();
    const int64_t plane = BLOCK * s.C + PAD, mplane = BLOCK * s.O + PAD, total = images * s.in().tiles();
    for (int64_t first = 0; first < total; first += BLOCK) {
        const int64_t count = std::min<int64_t>(BLOCK, total - first);
        patches<true>(x, s.in(), first, count, v, plane, scratch.zeros.get());
        gradient_patches(dy, s.maps(), first, count, m, mplane);
        for (int p = 0; p < POINTS; p++)
            add_turned(v + p * plane, s.C, (summed(count) + DEPTH - 1) / DEPTH, m + p * mplane, BLOCK / DEPTH * PANEL,
                       du + p * s.C * PANEL, POINTS * s.C * PANEL, s.O / PANEL);
    }
}

}  // namespace
