// LayerNormalization of rows that lie in segments: lanes are rows, so that nothing is summed across lanes.
#include "kernels/kernel_support.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum { kTiles, kN, kEpsilon };
enum { kX, kGamma, kBeta, kY };

const char* checkLayer(const Step& step, Work* work) {
  const int64_t tiles = intParam(step, kTiles), n = intParam(step, kN);
  if (n < 1) return "a row has at least one element";
  const int64_t lines = product(tiles, n);
  if (!holds(step, kX, lines, 64)) return "x holds fewer lines than its sizes say";
  if (!holds(step, kY, lines, 64)) return "y holds fewer lines than its sizes say";
  for (int k = kGamma; k <= kBeta; k++) {
    if (step.operands[k].bytes && !holds(step, k, n, 4)) return "gamma or beta is shorter than a row";
  }
  work->units = tiles;
  work->cost = static_cast<double>(lines) * 2.0;
  work->scratch = 0;
  return nullptr;
}

/// What is taken off an element, in two parts, and what the rest is multiplied by; a vector of rows each.
struct Norm {
  F32 mean, off, inverse;
};

/// Of n lines from x on, vector `v` of each. The first sum finds the mean nearly; the deviations from that tell how far
/// it is off, so that rows far from zero keep their digits.
FILIGREE_INLINE Norm normOf(const float* x, int64_t n, float epsilon) {
  constexpr int U = 4;
  F32 sums[U], squares[U];
  for (int u = 0; u < U; u++) sums[u] = zero();
  int64_t c = 0;
  for (; c + U <= n; c += U) {
    for (int u = 0; u < U; u++) sums[u] += load(x + (c + u) * kLine);
  }
  for (; c < n; c++) sums[0] += load(x + c * kLine);
  const float share = 1 / static_cast<float>(n);
  const F32 mean = ((sums[0] + sums[1]) + (sums[2] + sums[3])) * share;
  for (int u = 0; u < U; u++) sums[u] = squares[u] = zero();
  const auto add = [&](int64_t at, int u) {
    const F32 d = load(x + at * kLine) - mean;
    sums[u] += d;
    squares[u] = fma(d, d, squares[u]);
  };
  for (c = 0; c + U <= n; c += U) {
    for (int u = 0; u < U; u++) add(c + u, u);
  }
  for (; c < n; c++) add(c, 0);
  const F32 off = ((sums[0] + sums[1]) + (sums[2] + sums[3])) * share;
  const F32 variance = ((squares[0] + squares[1]) + (squares[2] + squares[3])) * share - off * off;
  return {mean, off, 1.0f / squareRoot(max(zero(), variance) + epsilon)};
}

void runLayer(const Step& step, Range* range) {
  const int64_t n = intParam(step, kN);
  const float epsilon = static_cast<float>(floatParam(step, kEpsilon));
  const float* const gamma = step.operands[kGamma].bytes ? input<float>(step, kGamma) : nullptr;
  const float* const beta = step.operands[kBeta].bytes ? input<float>(step, kBeta) : nullptr;
  for (int64_t tile = range->begin; tile < range->end; tile++) {
    for (int v = 0; v < kLineVectors; v++) {
      const float* const x = input<float>(step, kX) + tile * n * kLine + v * kLanes;
      float* const y = output<float>(step, kY) + tile * n * kLine + v * kLanes;
      const Norm norm = normOf(x, n, epsilon);
      for (int64_t c = 0; c < n; c++) {
        F32 value = ((load(x + c * kLine) - norm.mean) - norm.off) * norm.inverse;
        if (gamma) value *= gamma[c];
        if (beta) value += beta[c];
        store(y + c * kLine, value);
      }
    }
  }
}

}  // namespace

// x and y [tiles][n][16]: 16 rows of n elements a tile. y = (x - mean) / sqrt(variance + epsilon) * gamma + beta for
// each row; y may be x.
FILIGREE_KERNEL(layerNormSegments) = {"layernorm.segments.f32",
                                      "r:x r:gamma? r:beta? w:y",
                                      "i:tiles i:n f:epsilon",
                                      checkLayer,
                                      runLayer,
                                      nullptr,
                                      nullptr,
                                      false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
