// The inner kernel of dense convolutions and linear layers over segment maps: R output channels of T tiles in
// registers, one broadcast weight and T input lines a step.
#pragma once
#include "kernels/activation.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

// Two lines a weight make the loop FMA-bound with room for loads; 28 accumulators, 2 inputs and a weight fill 32
// registers. Few output channels (narrow groups) take more tiles instead, to keep the FMA units busy.
#if defined(FILIGREE_AVX512)
constexpr int kDenseRows = 14, kDenseTiles = 2, kNarrowRows = 6, kNarrowTiles = 4;
#elif defined(FILIGREE_AVX2)
constexpr int kDenseRows = 6, kDenseTiles = 1, kNarrowRows = 2, kNarrowTiles = 2;
#else
constexpr int kDenseRows = 3, kDenseTiles = 1, kNarrowRows = 0, kNarrowTiles = 1;
#endif

/// Where the inputs of a tile lie: a box of taps, `step` floats apart along each axis, each with `channels` lines.
struct DenseTaps {
  int64_t count[3], step[3];
  int64_t channels;
};

/// One pass over some channels: weights [tap][channel][R]. The first pass starts from bias and residual, later ones
/// from the output; the last clamps.
struct DensePass {
  const float* weights;
  const float* bias;
  bool first, last;
  /// Fetch the output's lines ahead: for maps that exceed the caches.
  bool fetch;
  Clamp clamp;
  /// Weights that are fetched while the tiles are computed, a line each channel: a share of the next row group's, which
  /// would otherwise come from memory when its first tiles wait for them.
  const char* ahead;
  int64_t ahead_step;
};

/// Lines of T tiles, at the pass's first input channel and the group's first output channel.
struct DenseAt {
  const float* x[4];
  float* y[4];
  /// Null where there is none.
  const float* residual[4];
};

/// Fetches lines that are needed once the sums are finished: output tiles are far apart, so no prefetcher sees them.
template <int R, int T>
FILIGREE_INLINE void fetchTile(const DensePass& pass, const DenseAt& at) {
  FILIGREE_UNROLL
  for (int t = 0; t < T; t++) {
    FILIGREE_UNROLL
    for (int r = 0; r < R; r++) __builtin_prefetch(at.y[t] + r * kLine, 1);
    if (!pass.first || !at.residual[t] || at.residual[t] == at.y[t]) continue;
    FILIGREE_UNROLL
    for (int r = 0; r < R; r++) __builtin_prefetch(at.residual[t] + r * kLine);
  }
}

template <int R, int T>
FILIGREE_INLINE void startTile(const DensePass& pass, const DenseAt& at, F32 (&acc)[R][T * kLineVectors]) {
  FILIGREE_UNROLL
  for (int r = 0; r < R; r++) {
    FILIGREE_UNROLL
    for (int v = 0; v < T * kLineVectors; v++) {
      const int64_t offset = r * kLine + v % kLineVectors * kLanes;
      acc[r][v] = pass.first ? set1(pass.bias[r]) : load(at.y[v / kLineVectors] + offset);
    }
  }
}

/// One pass for R output channels of T tiles.
template <int R, int T>
__attribute__((noinline)) void denseTile(const DenseTaps& taps, const DensePass& pass, const DenseAt& at) {
  constexpr int V = T * kLineVectors;
  F32 acc[R][V];
  if (pass.fetch) fetchTile<R, T>(pass, at);
  startTile<R, T>(pass, at, acc);
  const float* w = pass.weights;
  const char* ahead = pass.ahead;
  for (int64_t d = 0; d < taps.count[0]; d++) {
    for (int64_t h = 0; h < taps.count[1]; h++) {
      int64_t offset = d * taps.step[0] + h * taps.step[1];
      for (int64_t i = 0; i < taps.count[2]; i++, offset += taps.step[2]) {
        const float* x[T];
        FILIGREE_UNROLL
        for (int t = 0; t < T; t++) x[t] = at.x[t] + offset;
        for (int64_t c = 0; c < taps.channels; c++, w += R, ahead += pass.ahead_step) {
          __builtin_prefetch(ahead, 0, 2);
          F32 lines[V];
          FILIGREE_UNROLL
          for (int v = 0; v < V; v++) lines[v] = load(x[v / kLineVectors] + c * kLine + v % kLineVectors * kLanes);
          FILIGREE_UNROLL
          for (int r = 0; r < R; r++) {
            const F32 weight = set1(w[r]);
            FILIGREE_UNROLL
            for (int v = 0; v < V; v++) acc[r][v] = fma(lines[v], weight, acc[r][v]);
          }
        }
      }
    }
  }
  FILIGREE_UNROLL
  for (int r = 0; r < R; r++) {
    FILIGREE_UNROLL
    for (int v = 0; v < V; v++) {
      const int64_t offset = r * kLine + v % kLineVectors * kLanes;
      float* const to = at.y[v / kLineVectors] + offset;
      if (pass.first && at.residual[v / kLineVectors]) acc[r][v] += load(at.residual[v / kLineVectors] + offset);
      store(to, pass.last ? apply(acc[r][v], pass.clamp) : acc[r][v]);
    }
  }
}

typedef void (*DenseTile)(const DenseTaps&, const DensePass&, const DenseAt&);

template <int T, int R>
FILIGREE_INLINE DenseTile denseTileOf(int64_t rows) {
  if constexpr (R <= 1) {
    return denseTile<1, T>;
  } else {
    return rows == R ? denseTile<R, T> : denseTileOf<T, R - 1>(rows);
  }
}

/// Tiles that run together for a group of `rows` output channels.
FILIGREE_INLINE int64_t denseTilesFor(int64_t rows) { return rows <= kNarrowRows ? kNarrowTiles : kDenseTiles; }

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
