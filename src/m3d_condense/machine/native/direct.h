// The convolution of images of few channels as it stands, and its gradients.

#pragma once

#include "shapes.h"

namespace {

// Weights are panels [O/PANEL][k*k*C][PANEL], images padded.
Buffer direct_weights(const float* w, const Shape& s) {
    const int64_t points = s.k * s.k, K = points * s.C;
    Buffer u = buffer(K * s.O);
    for (int64_t o = 0; o < s.O; o++)
        for (int64_t c = 0; c < s.C; c++)
            for (int64_t k = 0; k < points; k++)
                u[((o / PANEL) * K + k * s.C + c) * PANEL + o % PANEL] = w[(o * s.C + c) * points + k];
    return u;
}

void padded(const float* x, const Shape& s, float* out) {
    const int64_t wide = (s.W + 2 * s.pad) * s.C;
    std::fill(out, out + (s.H + 2 * s.pad) * wide, 0.0f);
    for (int64_t i = 0; i < s.H; i++)
        std::copy(x + i * s.W * s.C, x + (i + 1) * s.W * s.C, out + (i + s.pad) * wide + s.pad * s.C);
}

// One panel of the maps of a padded image; K = k * C.
template <class Count>
void direct(const float* image, const Shape& s, const float* u, Count K, float* y) {
    const int64_t wide = (s.W + 2 * s.pad) * s.C;
    for (int64_t i = 0; i < s.h; i++)
        for_rows(s.w, [&](auto rows, int64_t j) {
            multiply<rows(), false>(image + i * wide + j * s.C, s.C, 1, K, s.k, wide, u, PANEL,
                                    y + (i * s.w + j) * PANEL, PANEL);
        });
}
void direct_panel(const float* image, const Shape& s, const float* u, int64_t o, float* y) {
    const int64_t K = s.k * s.C;
    const float* of_panel = u + o * s.k * K;
    if (K == 9)
        direct(image, s, of_panel, Fixed<9>(), y);
    else if (K == 21)
        direct(image, s, of_panel, Fixed<21>(), y);
    else
        direct(image, s, of_panel, K, y);
}

// Gradient of one image's pixels: products with the weights, [O][columns] padded, added up where they overlap.
Buffer direct_turned(const float* w, const Shape& s) {
    const int64_t points = s.k * s.k, columns = s.columns();
    Buffer u = buffer(s.O * columns);
    std::fill(u.get(), u.get() + s.O * columns, 0.0f);
    for (int64_t o = 0; o < s.O; o++)
        for (int64_t c = 0; c < s.C; c++)
            for (int64_t k = 0; k < points; k++) {
                const int64_t column = k * s.C + c;
                u[(column / PANEL * s.O + o) * PANEL + column % PANEL] = w[(o * s.C + c) * points + k];
            }
    return u;
}

// These are added to a padded image, of which `unpadded` leaves the pixels, by strips of the maps' rows.
void direct_input(const float* dy, const Shape& s, const float* u, float* products, float* image) {
    const int64_t wide = (s.W + 2 * s.pad) * s.C, columns = s.columns(), run = s.k * s.C;
    for (int64_t first = 0; first < s.h; first += s.strip()) {
        const int64_t down = std::min(s.strip(), s.h - first);
        const float* of_strip = dy + first * s.w * PANEL;
        for (int64_t k = 0; k < columns; k += PANEL)
            for_rows(down * s.w, [&](auto rows, int64_t p) {
                multiply<rows(), false>(of_strip + p * PANEL, PANEL, 1, Fixed<PANEL>(), s.O / PANEL, s.h * s.w * PANEL,
                                        u + k * s.O, PANEL, products + p * columns + k, columns);
            });
        for (int64_t i = 0; i < down; i++)
            for (int64_t row = 0; row < s.k; row++)
                for (int64_t j = 0; j < s.w; j++) {
                    float* to = image + (first + i + row) * wide + j * s.C;
                    const float* from = products + (i * s.w + j) * columns + row * run;
                    for (int64_t k = 0; k < run; k++) to[k] += from[k];
                }
    }
}

void unpadded(const float* image, const Shape& s, float* dx) {
    const int64_t wide = (s.W + 2 * s.pad) * s.C;
    for (int64_t i = 0; i < s.H; i++) {
        const float* row = image + (i + s.pad) * wide + s.pad * s.C;
        std::copy(row, row + s.W * s.C, dx + i * s.W * s.C);
    }
}

// Adds one image's gradient of the weights to panels dw[O/PANEL][k*k][C][PANEL].
void direct_weight(const float* image, const float* dy, const Shape& s, float* dw) {
    const int64_t wide = (s.W + 2 * s.pad) * s.C, run = s.k * s.C;
    for (int64_t row = 0; row < s.k; row++)
        for_threes(run, [&](auto rows, int64_t k) {
            for (int64_t o = 0; o < s.O; o += PANEL)
                multiply<rows(), true>(image + row * wide + k, 1, s.C, s.w, s.h, wide, dy + o * s.h * s.w, PANEL,
                                       dw + ((o / PANEL * s.k + row) * run + k) * PANEL, PANEL);
        });
}

}  // namespace
