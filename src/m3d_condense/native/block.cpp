// One block of a ConvNet on a CPU: 3x3 convolution, instance norm, ReLU, 2x2 average pooling, its gradients, and what
// both change along a direction of the weights: derivatives by e at e = 0 where the weights are w + e * wdot, which
// Pearlmutter (1994) takes for exact products with second derivatives. Their names end in "dot".
//
// Maps are float32, N x H x W x C (channels last). Beyond a few input channels the convolution is Winograd's
// F(4x4, 3x3): tiles of 4x4 outputs from 6x6 inputs by 36 products in place of 144 (Lavin and Gray, CVPR 2016).
// A thread takes whole images, and its tiles in blocks that stay in its cache: they are transformed, multiplied and
// transformed back there, and an image is normalised and pooled while it is warm. A bias before an instance norm has
// no effect and no gradient, so there is none.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include <omp.h>

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
constexpr int TILE = 4, PATCH = 6, POINTS = PATCH * PATCH;
constexpr int BLOCK = 24;  // tiles at once; a multiple of ROWS
constexpr int CHAINS = 2;  // sums at once, so that one does not wait for another
constexpr int PAD = 16;    // floats between planes, so that the 36 do not fall on one set of a cache

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

Buffer buffer(int64_t count) {
    void* p = std::aligned_alloc(64, (count * sizeof(float) + 127) / 64 * 64);
    if (!p) std::abort();
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

// A transform along both axes: IN x IN numbers get(i, j) to OUT x OUT numbers put(i, j, number).
template <int IN, int OUT, class Along, class Get, class Put>
inline void both_axes(Along along, Get get, Put put) {
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

// Weights O x C x 3 x 3 as panels [O/PANEL][36][C][PANEL]; turned, those of the gradient to the input.
Buffer winograd_weights(const float* w, int64_t O, int64_t C, bool turned, int threads) {
    const int64_t out = turned ? C : O, in = turned ? O : C;
    Buffer u = buffer(POINTS * O * C);
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t o = 0; o < out; o += PANEL)
        for (int64_t c = 0; c < in; c++) {
            float g[9][PANEL];
            for (int l = 0; l < PANEL; l++) {
                const float* from = w + (turned ? c * C + o + l : (o + l) * C + c) * 9;
                for (int k = 0; k < 9; k++) g[turned ? 8 - k : k][l] = from[k];
            }
            for (int v = 0; v < PANEL; v += LANES)
                both_axes<3, PATCH>(
                    weight_transform, [&](int i, int j) { return load(g[3 * i + j] + v); },
                    [&](int i, int j, vec x) {
                        store(u.get() + ((o * POINTS / PANEL + i * PATCH + j) * in + c) * PANEL + v, x);
                    });
        }
    return u;
}

// Where a map's number lies: pixel by pixel with all its channels, as images and what a block returns do, or panel by
// panel of channels, as what stays within a block does, so that a map is read in one piece when it is normalised.
struct Grid {
    int64_t H, W, C, down, across, pixel, panel;
    Grid(int64_t H, int64_t W, int64_t C, bool panels)
        : H(H), W(W), C(C), down((H + TILE - 1) / TILE), across((W + TILE - 1) / TILE), pixel(panels ? PANEL : C),
          panel(panels ? H * W * PANEL : PANEL) {}
    int64_t tiles() const { return down * across; }
    int64_t at(int64_t n, int64_t h, int64_t w) const { return n * H * W * C + (h * W + w) * pixel; }
    int64_t channel(int64_t c) const { return c / PANEL * panel + c % PANEL; }
};

// A tile of those of several images, counted through: its image and its first row and column.
struct Place {
    int64_t n, i, j;
    Place(const Grid& g, int64_t tile)
        : n(tile / g.tiles()), i(tile % g.tiles() / g.across * TILE), j(tile % g.across * TILE) {}
};

// v[36][BLOCK][C]: the patches of up to BLOCK tiles from tile `first` on; zeros has as many as there are channels.
void patches(const float* x, const Grid& g, int64_t first, int64_t count, float* v, int64_t plane, const float* zeros) {
    const int64_t run = g.pixel == g.C ? g.C : PANEL;  // channels that lie side by side
    for (int64_t t = 0; t < count; t++) {
        const Place at(g, first + t);
        for (int64_t start = 0; start < g.C; start += run) {
            const float* from[PATCH][PATCH];
            for (int i = 0; i < PATCH; i++)
                for (int j = 0; j < PATCH; j++) {
                    const int64_t h = at.i + i - 1, w = at.j + j - 1;
                    const bool inside = h >= 0 && h < g.H && w >= 0 && w < g.W;
                    from[i][j] = inside ? x + g.at(at.n, h, w) + g.channel(start) : zeros;
                }
            for (int64_t c = 0; c < run; c += LANES) {
                float* to = v + t * g.C + start + c;
                both_axes<PATCH, PATCH>(
                    input_transform, [&](int i, int j) { return load(from[i][j] + c); },
                    [&](int i, int j, vec x) { store(to + (i * PATCH + j) * plane, x); });
            }
        }
    }
}

// m[36][O/PANEL][BLOCK][PANEL]: the transposed output transform of the gradient's tiles, for that of the weights.
void gradient_patches(const float* dy, const Grid& g, int64_t first, int64_t count, float* m, int64_t plane) {
    for (int64_t t = 0; t < count; t++) {
        const Place at(g, first + t);
        for (int64_t c = 0; c < g.C; c += LANES) {
            float* to = m + c / PANEL * BLOCK * PANEL + t * PANEL + c % PANEL;
            both_axes<TILE, PATCH>(
                output_transposed,
                [&](int i, int j) {
                    const bool inside = at.i + i < g.H && at.j + j < g.W;
                    return inside ? load(dy + g.at(at.n, at.i + i, at.j + j) + g.channel(c)) : vec{};
                },
                [&](int i, int j, vec x) { store(to + (i * PATCH + j) * plane, x); });
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

// The sizes of a block: images N x H x W x C, maps of h x w x O after the convolution, half as large after pooling.
struct Shape {
    int64_t N, H, W, C, O, pad, h, w;
    explicit Shape(const int64_t* sizes)
        : N(sizes[0]), H(sizes[1]), W(sizes[2]), C(sizes[3]), O(sizes[4]), pad(sizes[5]), h(H + 2 * pad - 2),
          w(W + 2 * pad - 2) {}
    Grid in() const { return Grid(H, W, C, false); }
    Grid maps() const { return Grid(h, w, O, true); }
    bool direct() const { return C < LANES; }
    int64_t image() const { return H * W * C; }
    int64_t map() const { return h * w * O; }
    int64_t pooled() const { return (h / 2) * (w / 2) * O; }
    int64_t columns() const { return (9 * C + PANEL - 1) / PANEL * PANEL; }  // of a direct product, whole panels
    // Images a thread takes at once: of small maps so many that their tiles fill blocks.
    int64_t group() const {
        const int64_t tiles = maps().tiles();
        int64_t images = 1;
        while (!direct() && tiles < BLOCK && images * tiles % BLOCK) images++;
        return images;
    }
};

// What a thread works in: patches, products, the maps of a group, a padded image, statistics, zeros to read.
struct Scratch {
    Buffer v, m, y, image, stats, zeros;
    explicit Scratch(const Shape& s) {
        if (!s.direct()) {
            const int64_t most = std::max(s.C, s.O), size = POINTS * (BLOCK * most + PAD);
            v = buffer(size), m = buffer(size), zeros = buffer(most);
            std::fill(v.get(), v.get() + size, 0.0f);  // rows past the last tile count for nothing
            std::fill(zeros.get(), zeros.get() + most, 0.0f);
        }
        y = buffer(s.group() * s.map());
        stats = buffer(2 * s.O);
        image = buffer((s.H + 2 * s.pad) * (s.W + 2 * s.pad) * s.C + PAD);
    }
    void blank(const Shape& s) { std::fill_n(image.get(), (s.H + 2 * s.pad) * (s.W + 2 * s.pad) * s.C, 0.0f); }
};

// The convolution of some images: y, or what is added to it, from the transformed weights, by blocks of tiles.
template <bool ADD = false>
void winograd(const float* x, const Grid& g, int64_t images, const float* u, float* y, const Grid& to,
              Scratch& scratch) {
    float *v = scratch.v.get(), *m = scratch.m.get();
    const int64_t plane = BLOCK * g.C + PAD, mplane = BLOCK * PANEL + PAD, total = images * g.tiles();
    for (int64_t first = 0; first < total; first += BLOCK) {
        const int64_t count = std::min<int64_t>(BLOCK, total - first);
        patches(x, g, first, count, v, plane, scratch.zeros.get());
        for (int64_t o = 0; o < to.C; o += PANEL) {
            for (int p = 0; p < POINTS; p++)
                for (int64_t r = 0; r < count; r += ROWS)
                    multiply<ROWS, false>(v + p * plane + r * g.C, g.C, 1, g.C, 1, 0,
                                          u + ((o / PANEL) * POINTS + p) * g.C * PANEL, PANEL,
                                          m + p * mplane + r * PANEL, PANEL);
            for (int64_t t = 0; t < count; t++) tile<ADD>(m + t * PANEL, mplane, to, Place(g, first + t), o, y);
        }
    }
}

// Few channels: the convolution as it stands. Weights are panels [O/PANEL][9*C][PANEL], images padded.
Buffer direct_weights(const float* w, const Shape& s) {
    const int64_t K = 9 * s.C;
    Buffer u = buffer(K * s.O);
    for (int64_t o = 0; o < s.O; o++)
        for (int64_t c = 0; c < s.C; c++)
            for (int64_t k = 0; k < 9; k++)
                u[((o / PANEL) * K + k * s.C + c) * PANEL + o % PANEL] = w[(o * s.C + c) * 9 + k];
    return u;
}

void padded(const float* x, const Shape& s, float* out) {
    const int64_t wide = (s.W + 2 * s.pad) * s.C;
    std::fill(out, out + (s.H + 2 * s.pad) * wide, 0.0f);
    for (int64_t i = 0; i < s.H; i++)
        std::copy(x + i * s.W * s.C, x + (i + 1) * s.W * s.C, out + (i + s.pad) * wide + s.pad * s.C);
}

// One panel of the maps of a padded image; K = 3 * C.
template <class Count>
void direct(const float* image, const Shape& s, const float* u, Count K, float* y) {
    const int64_t wide = (s.W + 2 * s.pad) * s.C;
    for (int64_t i = 0; i < s.h; i++)
        for_rows(s.w, [&](auto rows, int64_t j) {
            multiply<rows(), false>(image + i * wide + j * s.C, s.C, 1, K, 3, wide, u, PANEL, y + (i * s.w + j) * PANEL,
                                    PANEL);
        });
}
void direct_panel(const float* image, const Shape& s, const float* u, int64_t o, float* y) {
    if (s.C == 3)
        direct(image, s, u + o * 27, Fixed<9>(), y);
    else
        direct(image, s, u + o * 9 * s.C, 3 * s.C, y);
}

// Gradient of one image's pixels: products with the weights, [O][32 or 64] padded, added up where they overlap.
Buffer direct_turned(const float* w, const Shape& s, int64_t columns) {
    Buffer u = buffer(s.O * columns);
    std::fill(u.get(), u.get() + s.O * columns, 0.0f);
    for (int64_t o = 0; o < s.O; o++)
        for (int64_t c = 0; c < s.C; c++)
            for (int64_t k = 0; k < 9; k++) {
                const int64_t column = k * s.C + c;
                u[(column / PANEL * s.O + o) * PANEL + column % PANEL] = w[(o * s.C + c) * 9 + k];
            }
    return u;
}

// These are added to a padded image, of which `unpadded` leaves the pixels.
void direct_input(const float* dy, const Shape& s, const float* u, int64_t columns, float* products, float* image) {
    const int64_t wide = (s.W + 2 * s.pad) * s.C;
    for (int64_t k = 0; k < columns; k += PANEL)
        for_rows(s.h * s.w, [&](auto rows, int64_t p) {
            multiply<rows(), false>(dy + p * PANEL, PANEL, 1, Fixed<PANEL>(), s.O / PANEL, s.h * s.w * PANEL,
                                    u + k * s.O, PANEL, products + p * columns + k, columns);
        });
    for (int64_t i = 0; i < s.h; i++)
        for (int64_t row = 0; row < 3; row++)
            for (int64_t j = 0; j < s.w; j++) {
                float* to = image + (i + row) * wide + j * s.C;
                const float* from = products + (i * s.w + j) * columns + row * 3 * s.C;
                for (int64_t k = 0; k < 3 * s.C; k++) to[k] += from[k];
            }
}

void unpadded(const float* image, const Shape& s, float* dx) {
    const int64_t wide = (s.W + 2 * s.pad) * s.C;
    for (int64_t i = 0; i < s.H; i++) {
        const float* row = image + (i + s.pad) * wide + s.pad * s.C;
        std::copy(row, row + s.W * s.C, dx + i * s.W * s.C);
    }
}

// Adds one image's gradient of the weights to panels dw[O/PANEL][9][C][PANEL].
void direct_weight(const float* image, const float* dy, const Shape& s, float* dw) {
    const int64_t wide = (s.W + 2 * s.pad) * s.C;
    for (int64_t row = 0; row < 3; row++)
        for (int64_t k = 0; k < 3 * s.C; k += 3)
            for (int64_t o = 0; o < s.O; o += PANEL)
                multiply<3, true>(image + row * wide + k, 1, s.C, s.w, s.h, wide, dy + o * s.h * s.w, PANEL,
                                  dw + (o / PANEL * 9 * s.C + row * 3 * s.C + k) * PANEL, PANEL);
}

inline vec positive(vec x) { return x < 0 ? vec{} : x; }  // a NaN stays one

// The rest of a block for one panel of one image: instance norm, ReLU, pooling. The mean of each map goes to stats, and
// one over its standard deviation O numbers on. Both come of one pass, over what a map differs from its first pixel,
// and of another where that would cancel.
void pool(const float* y, const Shape& s, float eps, const float* gamma, const float* beta, float* stats, float* out) {
    const int64_t pixels = s.h * s.w;
    const vec first[2] = {load(y), load(y + LANES)};
    vec sums[CHAINS][2] = {}, squares[CHAINS][2] = {}, scale[2], shift[2];
    const auto add = [&](int64_t p, int chain) {
        for (int v = 0; v < 2; v++) {
            const vec d = load(y + p * PANEL + v * LANES) - first[v];
            sums[chain][v] += d;
            squares[chain][v] += d * d;
        }
    };
    int64_t p = 0;
    for (; p + CHAINS <= pixels; p += CHAINS)
#pragma GCC unroll 4
        for (int chain = 0; chain < CHAINS; chain++) add(p + chain, chain);
    for (; p < pixels; p++) add(p, 0);
    for (int v = 0; v < 2; v++) {
        vec sum = {}, square = {};
        for (int chain = 0; chain < CHAINS; chain++) sum += sums[chain][v], square += squares[chain][v];
        const vec mean = sum / static_cast<float>(pixels);
        vec rstd = square / static_cast<float>(pixels) - mean * mean;
        bool cancelled = false;
        for (int l = 0; l < LANES; l++) cancelled |= rstd[l] < 0.01f * mean[l] * mean[l];
        if (cancelled) {  // the first pixel lies far from the others
            vec spread = {};
            for (int64_t q = 0; q < pixels; q++) {
                const vec d = load(y + q * PANEL + v * LANES) - first[v] - mean;
                spread += d * d;
            }
            rstd = spread / static_cast<float>(pixels);
        }
        for (int l = 0; l < LANES; l++) rstd[l] = 1.0f / std::sqrt(rstd[l] + eps);
        store(stats + v * LANES, first[v] + mean);
        store(stats + s.O + v * LANES, rstd);
        scale[v] = rstd * load(gamma + v * LANES);
        shift[v] = load(beta + v * LANES) - (first[v] + mean) * scale[v];
    }
    for (int64_t i = 0; i < s.h / 2; i++)
        for (int64_t j = 0; j < s.w / 2; j++)
            for (int v = 0; v < 2; v++) {
                const float* top = y + (2 * i * s.w + 2 * j) * PANEL + v * LANES;
                const float* below = top + s.w * PANEL;
                const vec a = positive(load(top) * scale[v] + shift[v]);
                const vec b = positive(load(top + PANEL) * scale[v] + shift[v]);
                const vec c = positive(load(below) * scale[v] + shift[v]);
                const vec d = positive(load(below + PANEL) * scale[v] + shift[v]);
                store(out + (i * (s.w / 2) + j) * s.O + v * LANES, ((a + b) + (c + d)) * 0.25f);
            }
}

// What the rest of a block passes on of a change of its maps, ydot. The means of ydot, and of ydot times the normalised
// maps, go to statsdot.
void pool_dot(const float* y, const float* ydot, const Shape& s, const float* stats, const float* gamma,
              const float* beta, float* statsdot, float* outdot) {
    const int64_t pixels = s.h * s.w;
    for (int v = 0; v < 2 * LANES; v += LANES) {
        const vec mean = load(stats + v), rstd = load(stats + s.O + v), g = load(gamma + v), b = load(beta + v);
        vec level = {}, slope = {};
        for (int64_t p = 0; p < pixels; p++) {
            const vec dot = load(ydot + p * PANEL + v);
            level += dot;
            slope += dot * ((load(y + p * PANEL + v) - mean) * rstd);
        }
        level /= static_cast<float>(pixels), slope /= static_cast<float>(pixels);
        store(statsdot + v, level);
        store(statsdot + s.O + v, slope);
        const auto passed = [&](int64_t at) {
            const vec x = (load(y + at) - mean) * rstd;
            return x * g + b > 0 ? load(ydot + at) - level - x * slope : vec{};
        };
        for (int64_t i = 0; i < s.h / 2; i++)
            for (int64_t j = 0; j < s.w / 2; j++) {
                const int64_t top = (2 * i * s.w + 2 * j) * PANEL + v, below = top + s.w * PANEL;
                const vec sum = (passed(top) + passed(top + PANEL)) + (passed(below) + passed(below + PANEL));
                store(outdot + (i * (s.w / 2) + j) * s.O + v, sum * g * rstd * 0.25f);
            }
    }
}

// From the gradient after pooling to that after the convolution, dy, of one panel; adds to dgamma and dbeta.
void unpool(const float* y, const float* dout, const Shape& s, const float* stats, const float* gamma,
            const float* beta, float* dy, float* dgamma, float* dbeta) {
    const int64_t down = s.h / 2, across = s.w / 2, pixels = s.h * s.w;
    vec mean[2], rstd[2], g[2], b[2], sum[2] = {}, product[2] = {};
    for (int v = 0; v < 2; v++) {
        mean[v] = load(stats + v * LANES), rstd[v] = load(stats + s.O + v * LANES);
        g[v] = load(gamma + v * LANES), b[v] = load(beta + v * LANES);
    }
    if (s.h % 2 || s.w % 2) std::fill(dy, dy + pixels * PANEL, 0.0f);  // the last row or column is not pooled
    for (int64_t i = 0; i < down; i++)
        for (int64_t j = 0; j < across; j++)
            for (int v = 0; v < 2; v++) {
                const vec d = load(dout + (i * across + j) * s.O + v * LANES) * 0.25f;
                const int64_t top = (2 * i * s.w + 2 * j) * PANEL + v * LANES;
                const int64_t at[4] = {top, top + PANEL, top + s.w * PANEL, top + s.w * PANEL + PANEL};
                vec passed[4], x[4];
                for (int k = 0; k < 4; k++) {
                    x[k] = (load(y + at[k]) - mean[v]) * rstd[v];
                    passed[k] = x[k] * g[v] + b[v] > 0 ? d : vec{};
                    store(dy + at[k], passed[k]);
                }
                sum[v] += (passed[0] + passed[1]) + (passed[2] + passed[3]);
                product[v] += (passed[0] * x[0] + passed[1] * x[1]) + (passed[2] * x[2] + passed[3] * x[3]);
            }
    vec scale[2], slope[2], level[2];
    for (int v = 0; v < 2; v++) {
        store(dbeta + v * LANES, load(dbeta + v * LANES) + sum[v]);
        store(dgamma + v * LANES, load(dgamma + v * LANES) + product[v]);
        scale[v] = g[v] * rstd[v];
        slope[v] = scale[v] * rstd[v] * product[v] / static_cast<float>(pixels);
        level[v] = scale[v] * sum[v] / static_cast<float>(pixels) - mean[v] * slope[v];
    }
    for (int64_t p = 0; p < pixels; p++)
        for (int v = 0; v < 2; v++) {
            const int64_t at = p * PANEL + v * LANES;
            store(dy + at, scale[v] * load(dy + at) - slope[v] * load(y + at) - level[v]);
        }
}

// How dy changes, dydot, where the gradient after pooling does by doutdot, and the maps by ydot; and dy itself.
void unpool_dot(const float* y, const float* ydot, const float* dout, const float* doutdot, const Shape& s,
                const float* stats, const float* statsdot, const float* gamma, const float* beta, float* dy,
                float* dydot) {
    const int64_t down = s.h / 2, across = s.w / 2, pixels = s.h * s.w;
    if (s.h % 2 || s.w % 2) std::fill_n(dy, pixels * PANEL, 0.0f), std::fill_n(dydot, pixels * PANEL, 0.0f);
    for (int v = 0; v < 2 * LANES; v += LANES) {
        const vec mean = load(stats + v), rstd = load(stats + s.O + v), g = load(gamma + v), b = load(beta + v);
        const vec level = load(statsdot + v), slope = load(statsdot + s.O + v);
        const auto normal = [&](int64_t at) { return (load(y + at) - mean) * rstd; };
        const auto changed = [&](int64_t at, vec x) { return (load(ydot + at) - level - x * slope) * rstd; };
        vec sum = {}, product = {}, sumdot = {}, productdot = {};
        for (int64_t i = 0; i < down; i++)
            for (int64_t j = 0; j < across; j++) {
                const vec d = load(dout + (i * across + j) * s.O + v) * 0.25f;
                const vec ddot = load(doutdot + (i * across + j) * s.O + v) * 0.25f;
                const int64_t top = (2 * i * s.w + 2 * j) * PANEL + v, below = top + s.w * PANEL;
                for (const int64_t at : {top, top + PANEL, below, below + PANEL}) {
                    const vec x = normal(at);
                    const auto on = x * g + b > 0;
                    const vec e = on ? d : vec{}, edot = on ? ddot : vec{};
                    store(dy + at, e);
                    store(dydot + at, edot);
                    sum += e, sumdot += edot;
                    product += e * x, productdot += edot * x + e * changed(at, x);
                }
            }
        for (vec* one : {&sum, &product, &sumdot, &productdot}) *one /= static_cast<float>(pixels);
        const vec scale = g * rstd, fall = rstd * slope;  // of rstd, which changes by -rstd * fall
        for (int64_t at = v; at < pixels * PANEL; at += PANEL) {
            const vec x = normal(at), was = scale * (load(dy + at) - sum - x * product);
            const vec now = load(dydot + at) - sumdot - changed(at, x) * product - x * productdot;
            store(dy + at, was);
            store(dydot + at, scale * now - fall * was);
        }
    }
}

// Calls f with the first and the number of the images of each group in this thread's share.
template <class F>
void for_groups(const Shape& s, F f) {
    const int64_t threads = omp_get_num_threads(), own = omp_get_thread_num(), end = s.N * (own + 1) / threads;
    for (int64_t first = s.N * own / threads; first < end; first += s.group())
        f(first, std::min(s.group(), end - first));
}

// Adds the gradient of the transformed weights, panels du[O/PANEL][36][C][PANEL], of some images.
void winograd_weight(const float* x, const float* dy, const Shape& s, int64_t images, Scratch& scratch, float* du) {
    float *v = scratch.v.get(), *m = scratch.m.get();
    const int64_t plane = BLOCK * s.C + PAD, mplane = BLOCK * s.O + PAD, total = images * s.in().tiles();
    for (int64_t first = 0; first < total; first += BLOCK) {
        const int64_t count = std::min<int64_t>(BLOCK, total - first);
        patches(x, s.in(), first, count, v, plane, scratch.zeros.get());
        gradient_patches(dy, s.maps(), first, count, m, mplane);
        for (int p = 0; p < POINTS; p++)
            for (int64_t o = 0; o < s.O; o += PANEL)
                for_rows(s.C, [&](auto rows, int64_t c) {
                    multiply<rows(), true>(v + p * plane + c, 1, s.C, count, 1, 0, m + p * mplane + o * BLOCK, PANEL,
                                           du + ((o / PANEL * POINTS + p) * s.C + c) * PANEL, PANEL);
                });
    }
}

// The gradient of the weights, O x C x 3 x 3, from those of all threads; panels [O/PANEL][9 or 36][C][PANEL].
void gather_weights(const std::vector<Buffer>& sums, int64_t from, const Shape& s, float* dw, int threads) {
    const int points = s.direct() ? 9 : POINTS;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t o = 0; o < s.O; o += PANEL)
        for (int64_t c = 0; c < s.C; c++) {
            float g[9][PANEL];
            for (int v = 0; v < PANEL; v += LANES) {
                vec u[POINTS] = {};
                for (const Buffer& sum : sums)  // in the threads' order, so that it is the same every time
                    for (int p = 0; sum && p < points; p++)
                        u[p] += load(sum.get() + from + ((o / PANEL * points + p) * s.C + c) * PANEL + v);
                if (!s.direct()) {
                    vec three[9];
                    both_axes<PATCH, 3>(
                        weight_transposed, [&](int i, int j) { return u[i * PATCH + j]; },
                        [&](int i, int j, vec x) { three[3 * i + j] = x; });
                    std::copy(three, three + 9, u);
                }
                for (int k = 0; k < 9; k++) store(g[k] + v, u[k]);
            }
            for (int l = 0; l < PANEL; l++)
                for (int k = 0; k < 9; k++) dw[((o + l) * s.C + c) * 9 + k] = g[k][l];
        }
}

}  // namespace

extern "C" {

int panel() { return PANEL; }

// y (maps after the convolution, by panels) and stats (N x 2 x O) are kept where they are not null, for the gradient.
void block_forward(const int64_t* sizes, const float* x, const float* w, const float* gamma, const float* beta,
                   float eps, float* y, float* stats, float* out, int threads) {
    const Shape s(sizes);
    const Buffer u = s.direct() ? direct_weights(w, s) : winograd_weights(w, s.O, s.C, false, threads);
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(s);
        for_groups(s, [&](int64_t first, int64_t count) {
            float* maps = y ? y + first * s.map() : scratch.y.get();
            if (!s.direct())
                winograd(x + first * s.image(), s.in(), count, u.get(), maps, s.maps(), scratch);
            for (int64_t n = first; n < first + count; n++) {
                if (s.direct()) padded(x + n * s.image(), s, scratch.image.get());
                for (int64_t o = 0; o < s.O; o += PANEL) {
                    float* of_panel = maps + (n - first) * s.map() + o * s.h * s.w;
                    if (s.direct()) direct_panel(scratch.image.get(), s, u.get(), o, of_panel);
                    pool(of_panel, s, eps, gamma + o, beta + o, (stats ? stats + n * 2 * s.O : scratch.stats.get()) + o,
                         out + n * s.pooled() + o);
                }
            }
        });
    }
}

// dx, and dw with dgamma and dbeta, are written where they are not null.
void block_backward(const int64_t* sizes, const float* x, const float* w, const float* gamma, const float* beta,
                    const float* y, const float* stats, const float* dout, float* dx, float* dw, float* dgamma,
                    float* dbeta, int threads) {
    const Shape s(sizes);
    const int64_t columns = s.columns();
    const int64_t weights = (s.direct() ? 9 : POINTS) * s.C * s.O, length = 2 * s.O + (dw ? weights : 0);
    Buffer u;
    if (dx) u = s.direct() ? direct_turned(w, s, columns) : winograd_weights(w, s.O, s.C, true, threads);
    std::vector<Buffer> sums(threads);  // of dgamma, dbeta and the weights' gradient
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(s);
        Buffer products = buffer(s.direct() ? s.h * s.w * columns : 1), sum = buffer(length);
        std::fill(sum.get(), sum.get() + length, 0.0f);
        float *dy = scratch.y.get(), *of_weights = sum.get() + 2 * s.O;
        for_groups(s, [&](int64_t first, int64_t count) {
            for (int64_t n = first; n < first + count; n++) {
                const int64_t at = n * s.map(), own = (n - first) * s.map();
                for (int64_t o = 0; o < s.O; o += PANEL)
                    unpool(y + at + o * s.h * s.w, dout + n * s.pooled() + o, s, stats + n * 2 * s.O + o, gamma + o,
                           beta + o, dy + own + o * s.h * s.w, sum.get() + o, sum.get() + s.O + o);
                if (s.direct() && dw) {
                    padded(x + n * s.image(), s, scratch.image.get());
                    direct_weight(scratch.image.get(), dy, s, of_weights);
                }
                if (s.direct() && dx) {
                    scratch.blank(s);
                    direct_input(dy, s, u.get(), columns, products.get(), scratch.image.get());
                    unpadded(scratch.image.get(), s, dx + n * s.image());
                }
            }
            if (!s.direct() && dw)
                winograd_weight(x + first * s.image(), dy, s, count, scratch, of_weights);
            if (!s.direct() && dx)
                winograd(dy, s.maps(), count, u.get(), dx + first * s.image(), s.in(), scratch);
        });
        sums[omp_get_thread_num()] = std::move(sum);
    }
    if (!dw) return;
    std::fill(dgamma, dgamma + s.O, 0.0f);
    std::fill(dbeta, dbeta + s.O, 0.0f);
    for (const Buffer& sum : sums)
        for (int64_t o = 0; sum && o < s.O; o++) dgamma[o] += sum[o], dbeta[o] += sum[s.O + o];
    gather_weights(sums, 2 * s.O, s, dw, threads);
}

// How a block's maps and output change along wdot, and xdot where the images change too, which they do not where there
// are few channels: the first block's do not depend on any weights. ydot, by panels, and statsdot (N x 2 x O) are kept.
void block_dot(const int64_t* sizes, const float* x, const float* xdot, const float* w, const float* wdot,
               const float* gamma, const float* beta, const float* y, const float* stats, float* ydot, float* statsdot,
               float* outdot, int threads) {
    const Shape s(sizes);
    const Buffer udot = s.direct() ? direct_weights(wdot, s) : winograd_weights(wdot, s.O, s.C, false, threads);
    Buffer u;
    if (xdot && !s.direct()) u = winograd_weights(w, s.O, s.C, false, threads);
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(s);
        for_groups(s, [&](int64_t first, int64_t count) {
            float* maps = ydot + first * s.map();
            if (!s.direct()) winograd(x + first * s.image(), s.in(), count, udot.get(), maps, s.maps(), scratch);
            if (u) winograd<true>(xdot + first * s.image(), s.in(), count, u.get(), maps, s.maps(), scratch);
            for (int64_t n = first; n < first + count; n++) {
                if (s.direct()) padded(x + n * s.image(), s, scratch.image.get());
                for (int64_t o = 0; o < s.O; o += PANEL) {
                    const int64_t at = n * s.map() + o * s.h * s.w, of_maps = n * 2 * s.O + o;
                    if (s.direct()) direct_panel(scratch.image.get(), s, udot.get(), o, ydot + at);
                    pool_dot(y + at, ydot + at, s, stats + of_maps, gamma + o, beta + o, statsdot + of_maps,
                             outdot + n * s.pooled() + o);
                }
            }
        });
    }
}

// How the gradient to the images changes, dxdot, where that of the output does by doutdot.
void block_dot_backward(const int64_t* sizes, const float* w, const float* wdot, const float* gamma, const float* beta,
                        const float* y, const float* stats, const float* ydot, const float* statsdot,
                        const float* dout, const float* doutdot, float* dxdot, int threads) {
    const Shape s(sizes);
    const int64_t columns = s.columns();
    const auto turned = [&](const float* of) {
        return s.direct() ? direct_turned(of, s, columns) : winograd_weights(of, s.O, s.C, true, threads);
    };
    const Buffer u = turned(w), udot = turned(wdot);
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(s);
        Buffer products = buffer(s.direct() ? s.h * s.w * columns : 1), dots = buffer(s.group() * s.map());
        float *dy = scratch.y.get(), *dydot = dots.get();
        for_groups(s, [&](int64_t first, int64_t count) {
            for (int64_t n = first; n < first + count; n++) {
                const int64_t own = (n - first) * s.map();
                for (int64_t o = 0; o < s.O; o += PANEL) {
                    const int64_t panel = o * s.h * s.w, at = n * s.map() + panel, of_maps = n * 2 * s.O + o;
                    const int64_t pooled = n * s.pooled() + o;
                    unpool_dot(y + at, ydot + at, dout + pooled, doutdot + pooled, s, stats + of_maps,
                               statsdot + of_maps, gamma + o, beta + o, dy + own + panel, dydot + own + panel);
                }
                if (s.direct()) {
                    scratch.blank(s);
                    direct_input(dydot, s, u.get(), columns, products.get(), scratch.image.get());
                    direct_input(dy, s, udot.get(), columns, products.get(), scratch.image.get());
                    unpadded(scratch.image.get(), s, dxdot + n * s.image());
                }
            }
            if (!s.direct()) {
                float* of_group = dxdot + first * s.image();
                winograd(dydot, s.maps(), count, u.get(), of_group, s.in(), scratch);
                winograd<true>(dy, s.maps(), count, udot.get(), of_group, s.in(), scratch);
            }
        });
    }
}
}
