// One block of a network on a CPU: convolution, instance norm, perhaps ReLU, perhaps average pooling, its gradients,
// and, with ReLU and pooling of 2x2, what both change along a direction of the weights: derivatives by e at e = 0 where
// the weights are w + e * wdot, which Pearlmutter (1994) takes for exact products with second derivatives. Their names
// end in "dot".
//
// Maps are float32, N x H x W x C (channels last). Beyond a few input channels the convolution is Winograd's.
// A thread takes whole images, and its tiles in blocks that stay in its cache: they are transformed, multiplied and
// transformed back there, and an image is normalised and pooled while it is warm. A bias before an instance norm has
// no effect and no gradient, so there is none.
//
// Memory is taken before a parallel region, and every function says whether there was enough of it: nothing here ends
// the process, and no exception leaves.

#include "direct.h"
#include "pooling.h"
#include "winograd.h"

namespace {

// The gradient of the weights, O x C x k x k, from those of all threads; panels [O/PANEL][points][C][PANEL].
void gather_weights(const std::vector<Buffer>& sums, int64_t from, const Shape& s, float* dw, int threads) {
    const int points = s.points(), kernel = s.k * s.k;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t o = 0; o < s.O; o += PANEL)
        for (int64_t c = 0; c < s.C; c++) {
            float g[LARGEST * LARGEST][PANEL];
            for (int v = 0; v < PANEL; v += LANES) {
                vec u[LARGEST * LARGEST] = {};
                for (const Buffer& sum : sums)  // in the threads' order, so that it is the same every time
                    for (int p = 0; p < points; p++)
                        u[p] += load(sum.get() + from + ((o / PANEL * points + p) * s.C + c) * PANEL + v);
                if (!s.direct()) {
                    vec three[9];
                    both_axes<PATCH, 3>(
                        weight_transposed, [&](int i, int j) { return u[i * PATCH + j]; },
                        [&](int i, int j, vec x) { three[3 * i + j] = x; });
                    std::copy(three, three + 9, u);
                }
                for (int k = 0; k < kernel; k++) store(g[k] + v, u[k]);
            }
            for (int l = 0; l < PANEL; l++)
                for (int k = 0; k < kernel; k++) dw[((o + l) * s.C + c) * kernel + k] = g[k][l];
        }
}

// The gradients of the norm's weights, O each, which come first.
void gather_norm(const std::vector<Buffer>& sums, const Shape& s, float* dgamma, float* dbeta) {
    std::fill_n(dgamma, s.O, 0.0f);
    std::fill_n(dbeta, s.O, 0.0f);
    for (const Buffer& sum : sums)
        for (int64_t o = 0; o < s.O; o++) dgamma[o] += sum[o], dbeta[o] += sum[s.O + o];
}

// The weights as the maps' convolution reads them, and as that of the gradient to the images does.
Buffer prepared(const float* w, const Shape& s, int threads) {
    return s.direct() ? direct_weights(w, s) : winograd_weights(w, s.O, s.C, false, threads);
}
Buffer turned(const float* w, const Shape& s, int threads) {
    return s.direct() ? direct_turned(w, s) : winograd_weights(w, s.O, s.C, true, threads);
}

// What every function returns. Only memory can run out: nothing else is thrown.
enum Status { DONE = 0, OUT_OF_MEMORY = 1 };

}  // namespace

extern "C" {

int panel() { return PANEL; }

// y (maps after the convolution, by panels) and stats (N x 2 x O) are kept where they are not null, for the gradient.
int block_forward(const int64_t* sizes, const float* x, const float* w, const float* gamma, const float* beta,
                  float eps, float* y, float* stats, float* out, int threads) try {
    const Shape s(sizes);
    const Buffer u = prepared(w, s, threads);
    std::vector<Scratch> all = scratches(s, threads);
#pragma omp parallel num_threads(threads)
    {
        Scratch& scratch = all[omp_get_thread_num()];
        scratch.clear(s);
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
    return DONE;
} catch (...) {
    return OUT_OF_MEMORY;
}

// dx, and dw with dgamma and dbeta, are written where they are not null.
int block_backward(const int64_t* sizes, const float* x, const float* w, const float* gamma, const float* beta,
                   const float* y, const float* stats, const float* dout, float* dx, float* dw, float* dgamma,
                   float* dbeta, int threads) try {
    const Shape s(sizes);
    const int64_t weights = s.points() * s.C * s.O, length = 2 * s.O + (dw ? weights : 0);
    Buffer u;
    if (dx) u = turned(w, s, threads);
    std::vector<Buffer> sums = buffers(length, threads);  // of dgamma, dbeta and the weights' gradient
    std::vector<Buffer> products = buffers(s.direct() ? s.strip() * s.w * s.columns() : 1, threads);
    std::vector<Scratch> all = scratches(s, threads);
    int team = 1;  // there may be fewer threads than were asked for
#pragma omp parallel num_threads(threads)
    {
        const int self = omp_get_thread_num();
        if (self == 0) team = omp_get_num_threads();
        Scratch& scratch = all[self];
        scratch.clear(s);
        float *dy = scratch.y.get(), *sum = sums[self].get(), *of_weights = sum + 2 * s.O;
        std::fill_n(sum, length, 0.0f);
        for_groups(s, [&](int64_t first, int64_t count) {
            for (int64_t n = first; n < first + count; n++) {
                const int64_t at = n * s.map(), own = (n - first) * s.map();
                for (int64_t o = 0; o < s.O; o += PANEL)
                    unpool(y + at + o * s.h * s.w, dout + n * s.pooled() + o, s, stats + n * 2 * s.O + o, gamma + o,
                           beta + o, dy + own + o * s.h * s.w, sum + o, sum + s.O + o);
                if (s.direct() && dw) {
                    padded(x + n * s.image(), s, scratch.image.get());
                    direct_weight(scratch.image.get(), dy, s, of_weights);
                }
                if (s.direct() && dx) {
                    scratch.blank(s);
                    direct_input(dy, s, u.get(), products[self].get(), scratch.image.get());
                    unpadded(scratch.image.get(), s, dx + n * s.image());
                }
            }
            if (!s.direct() && dw)
                winograd_weight(x + first * s.image(), dy, s, count, scratch, of_weights);
            if (!s.direct() && dx)
                winograd(dy, s.maps(), count, u.get(), dx + first * s.image(), s.in(), scratch);
        });
    }
    if (!dw) return DONE;
    sums.resize(team);
    gather_norm(sums, s, dgamma, dbeta);
    gather_weights(sums, 2 * s.O, s, dw, threads);
    return DONE;
} catch (...) {
    return OUT_OF_MEMORY;
}

// How a block's maps and output change along wdot, and xdot where the images change too, which they do not where there
// are few channels: the first block's do not depend on any weights. ydot, by panels, and statsdot (N x 2 x O) are kept.
int block_dot(const int64_t* sizes, const float* x, const float* xdot, const float* w, const float* wdot,
              const float* gamma, const float* beta, const float* y, const float* stats, float* ydot, float* statsdot,
              float* outdot, int threads) try {
    const Shape s(sizes);
    const Buffer udot = prepared(wdot, s, threads);
    Buffer u;
    if (xdot && !s.direct()) u = prepared(w, s, threads);
    std::vector<Scratch> all = scratches(s, threads);
#pragma omp parallel num_threads(threads)
    {
        Scratch& scratch = all[omp_get_thread_num()];
        scratch.clear(s);
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
    return DONE;
} catch (...) {
    return OUT_OF_MEMORY;
}

// How the gradient to the images changes, dxdot, where that of the output does by doutdot.
int block_dot_backward(const int64_t* sizes, const float* w, const float* wdot, const float* gamma, const float* beta,
                       const float* y, const float* stats, const float* ydot, const float* statsdot,
                       const float* dout, const float* doutdot, float* dxdot, int threads) try {
    const Shape s(sizes);
    const Buffer u = turned(w, s, threads), udot = turned(wdot, s, threads);
    const std::vector<Buffer> products = buffers(s.direct() ? s.strip() * s.w * s.columns() : 1, threads);
    const std::vector<Buffer> dots = buffers(s.group() * s.map(), threads);
    std::vector<Scratch> all = scratches(s, threads);
#pragma omp parallel num_threads(threads)
    {
        const int self = omp_get_thread_num();
        Scratch& scratch = all[self];
        scratch.clear(s);
        float *dy = scratch.y.get(), *dydot = dots[self].get();
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
                    direct_input(dydot, s, u.get(), products[self].get(), scratch.image.get());
                    direct_input(dy, s, udot.get(), products[self].get(), scratch.image.get());
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
    return DONE;
} catch (...) {
    return OUT_OF_MEMORY;
}
}
