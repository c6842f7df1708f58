// The sizes of a block, where its numbers lie, and what a thread works in.

#pragma once

#include <omp.h>

#include <vector>

#include "tiles.h"

namespace {

constexpr int TILE = 4, PATCH = 6, POINTS = PATCH * PATCH;  // of F(4x4, 3x3): outputs, inputs, products
constexpr int BLOCK = AMX ? 32 : 24;  // tiles at once; a multiple of ROWS, or of a product's rows in AMX
constexpr int STRIP = 1 << 16;  // floats of a direct product at once, which stay in a cache
constexpr int LARGEST = 7;      // side of a kernel
constexpr int PAD = 16;    // floats between planes, so that the 36 do not fall on one set of a cache

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

// The sizes of a block: images N x H x W x C, maps of h x w x O after a convolution of k x k, smaller by `pool` after
// pooling, which 1 stands for none of; and whether there is a ReLU.
struct Shape {
    int64_t N, H, W, C, O, pad, k, pool, h, w;
    bool relu;
    explicit Shape(const int64_t* sizes)
        : N(sizes[0]), H(sizes[1]), W(sizes[2]), C(sizes[3]), O(sizes[4]), pad(sizes[5]), k(sizes[6]), pool(sizes[7]),
          h(H + 2 * pad - k + 1), w(W + 2 * pad - k + 1), relu(sizes[8]) {}
    Grid in() const { return Grid(H, W, C, false); }
    Grid maps() const { return Grid(h, w, O, true); }
    bool direct() const { return C < LANES; }
    int64_t image() const { return H * W * C; }
    int64_t map() const { return h * w * O; }
    int64_t pooled() const { return (h / pool) * (w / pool) * O; }
    int64_t points() const { return direct() ? k * k : POINTS; }  // products of an input and an output channel
    int64_t columns() const { return (k * k * C + PANEL - 1) / PANEL * PANEL; }  // of a direct product, whole panels
    int64_t strip() const { return std::clamp<int64_t>(STRIP / (w * columns()), 1, h); }  // rows of maps at once in it
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
        }
        y = buffer(s.group() * s.map());
        stats = buffer(2 * s.O);
        image = buffer((s.H + 2 * s.pad) * (s.W + 2 * s.pad) * s.C + PAD);
    }
    // By the thread that works in it, so that its memory is near that thread.
    void clear(const Shape& s) {
        if (s.direct()) return;
        const int64_t most = std::max(s.C, s.O);
        std::fill_n(v.get(), POINTS * (BLOCK * most + PAD), 0.0f);  // rows past the last tile count for nothing
        std::fill_n(zeros.get(), most, 0.0f);
    }
    void blank(const Shape& s) { std::fill_n(image.get(), (s.H + 2 * s.pad) * (s.W + 2 * s.pad) * s.C, 0.0f); }
};

// One for each thread, made before the threads start.
std::vector<Scratch> scratches(const Shape& s, int threads) {
    std::vector<Scratch> made;
    made.reserve(threads);
    for (int t = 0; t < threads; t++) made.emplace_back(s);
    return made;
}
std::vector<Buffer> buffers(int64_t count, int threads) {
    std::vector<Buffer> made(threads);
    for (Buffer& one : made) one = buffer(count);
    return made;
}

// Calls f with the first and the number of the images of each group in this thread's share.
template <class F>
void for_groups(const Shape& s, F f) {
    const Tiles tiles;
    const int64_t threads = omp_get_num_threads(), own = omp_get_thread_num(), end = s.N * (own + 1) / threads;
    for (int64_t first = s.N * own / threads; first < end; first += s.group())
        f(first, std::min(s.group(), end - first));
}

}  // namespace
