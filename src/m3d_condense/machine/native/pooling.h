// What a block does after its convolution: instance norm, ReLU and pooling, and their derivatives. Their changes along
// a direction ("dot") are those of a ReLU and pooling of 2x2.

#pragma once

#include <cmath>

#include "shapes.h"

namespace {

constexpr int CHAINS = 2;  // sums at once, so that one does not wait for another

inline vec positive(vec x) { return x < 0 ? vec{} : x; }  // a NaN stays one

// What ends a block, known when this is compiled: the sides that are pooled, 1 for none, and whether there is a ReLU.
template <int P, bool RELU>
struct Ending {
    static constexpr int pool = P;
    static constexpr bool relu = RELU;
};
template <class F>
inline void ended(const Shape& s, F f) {
    if (!s.relu)
        f(Ending<1, false>());
    else if (s.pool == 1)
        f(Ending<1, true>());
    else if (s.pool == 2)
        f(Ending<2, true>());
    else
        f(Ending<4, true>());
}

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
    ended(s, [&](auto ending) {
        constexpr int P = ending.pool;
        for (int64_t i = 0; i < s.h / P; i++)
            for (int64_t j = 0; j < s.w / P; j++)
                for (int v = 0; v < 2; v++) {
                    vec sum = {};
#pragma GCC unroll 4
                    for (int a = 0; a < P; a++) {
                        vec row = {};
#pragma GCC unroll 4
                        for (int b = 0; b < P; b++) {
                            const vec x = load(y + ((P * i + a) * s.w + P * j + b) * PANEL + v * LANES);
                            const vec normal = x * scale[v] + shift[v];
                            row += ending.relu ? positive(normal) : normal;
                        }
                        sum += row;
                    }
                    store(out + (i * (s.w / P) + j) * s.O + v * LANES, sum * (1.0f / (P * P)));
                }
    });
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
    const int64_t down = s.h / s.pool, across = s.w / s.pool, pixels = s.h * s.w;
    vec mean[2], rstd[2], g[2], b[2], sum[2] = {}, product[2] = {};
    for (int v = 0; v < 2; v++) {
        mean[v] = load(stats + v * LANES), rstd[v] = load(stats + s.O + v * LANES);
        g[v] = load(gamma + v * LANES), b[v] = load(beta + v * LANES);
    }
    if (s.h % s.pool || s.w % s.pool) std::fill(dy, dy + pixels * PANEL, 0.0f);  // the last ones are not pooled
    ended(s, [&](auto ending) {
        constexpr int P = ending.pool;
        for (int64_t i = 0; i < down; i++)
            for (int64_t j = 0; j < across; j++)
                for (int v = 0; v < 2; v++) {
                    const vec d = load(dout + (i * across + j) * s.O + v * LANES) * (1.0f / (P * P));
                    vec total = {}, along = {};
#pragma GCC unroll 4
                    for (int row = 0; row < P; row++) {
                        vec of_row = {}, along_row = {};
#pragma GCC unroll 4
                        for (int column = 0; column < P; column++) {
                            const int64_t at = ((P * i + row) * s.w + P * j + column) * PANEL + v * LANES;
                            const vec x = (load(y + at) - mean[v]) * rstd[v];
                            const vec kept = x * g[v] + b[v] > 0 ? d : vec{}, passed = ending.relu ? kept : d;
                            store(dy + at, passed);
                            of_row += passed;
                            along_row += passed * x;
                        }
                        total += of_row;
                        along += along_row;
                    }
                    sum[v] += total;
                    product[v] += along;
                }
    });
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

}  // namespace
