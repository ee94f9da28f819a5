// The inner kernels of depthwise convolutions over segment maps: a block of neighbouring output tiles in registers,
// channel by channel, each input line loaded once for all the windows it lies in.
#pragma once
#include "kernels/activation.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Most tiles of a block along the width and the height.
constexpr int kBlockColumns = 4, kBlockRows = 2;

/// A block for some channels. Distances are in bytes.
struct DepthwiseBlock {
  /// Where the input lines of channel 0 lie: those of the block's tile row r, column c at lines[r * lineRow + c]. Tiles
  /// past the edge lie anywhere.
  const char* const* lines;
  int64_t lineRow;
  /// From channel 0 to the first one's lines, and from a channel to the next.
  int64_t xBegin, xChannel;
  /// Bias and taps of the first channel.
  const float* weights;
  char* y;
  int64_t yRow, yTile;
  /// Null where there is none.
  const char* residual;
  int64_t residualRow, residualTile;
  int64_t channels;
  Clamp clamp;
  /// For any window: taps along each axis, how far apart, and the distance between windows along the width, in entries
  /// of `lines`, or where that is null in bytes from `x`, the first tap of the first tile.
  int64_t taps[3], step[3], stride;
  const char* x;
};

FILIGREE_INLINE F32 loadAt(const char* p) { return load(reinterpret_cast<const float*>(p)); }

/// The block's input row R. Sums of different tiles alternate, so that none waits for its own last step.
template <int KH, int KW, int S, int TY, int TX, int R>
FILIGREE_INLINE void takeRows(const char* const* row, int64_t next, int64_t offset, const float* w,
                              F32 (&acc)[TY][TX]) {
  if constexpr (R < (TY - 1) * S + KH) {
    constexpr int N = (TX - 1) * S + KW;
    F32 lines[N];
    FILIGREE_UNROLL
    for (int i = 0; i < N; i++) lines[i] = loadAt(row[i] + offset);
    FILIGREE_UNROLL
    for (int kw = 0; kw < KW; kw++) {
      FILIGREE_UNROLL
      for (int ty = 0; ty < TY; ty++) {
        const int kh = R - ty * S;
        if (kh < 0 || kh >= KH) continue;
        const F32 weight = set1(w[kh * KW + kw]);
        FILIGREE_UNROLL
        for (int tx = 0; tx < TX; tx++) acc[ty][tx] = fma(lines[tx * S + kw], weight, acc[ty][tx]);
      }
    }
    const char* const* below = row + next;
    // Without this the compiler loads pointers ahead, and has no registers for them.
    asm("" : "+r"(below));
    takeRows<KH, KW, S, TY, TX, R + 1>(below, next, offset, w, acc);
  }
}

/// Where the results of one channel go. Copied from the block, because the compiler could not know that stores leave
/// that as it is.
struct Results {
  char* y;
  int64_t yRow, yTile;
  const char* residual;
  int64_t residualRow, residualTile;
  F32 low, high;
};

FILIGREE_INLINE Results resultsOf(const DepthwiseBlock& b) {
  return {b.y, b.yRow, b.yTile, b.residual, b.residualRow, b.residualTile, set1(b.clamp.low), set1(b.clamp.high)};
}

template <int TY, int TX>
FILIGREE_INLINE void finishTiles(const Results& to, int64_t at, F32 (&acc)[TY][TX]) {
  if (to.residual) {
    const char* from = to.residual + at;
    FILIGREE_UNROLL
    for (int i = 0; i < TY * TX; i++) {
      acc[i / TX][i % TX] += loadAt(from + i / TX * to.residualRow + i % TX * to.residualTile);
    }
  }
  FILIGREE_UNROLL
  for (int ty = 0; ty < TY; ty++) {
    char* row = to.y + at + ty * to.yRow;
    FILIGREE_UNROLL
    for (int tx = 0; tx < TX; tx++, row += to.yTile) {
      store(reinterpret_cast<float*>(row), min(to.high, max(to.low, acc[ty][tx])));
    }
  }
}

/// KH x KW taps with stride S for TY x TX tiles.
template <int KH, int KW, int S, int TY, int TX>
__attribute__((noinline)) void depthwiseBlock(const DepthwiseBlock& b) {
  const Results results = resultsOf(b);
  const char* const* const lines = b.lines;
  const int64_t channels = b.channels, next = b.lineRow, step = b.xChannel;
  int64_t x = b.xBegin;
  const float* w = b.weights;
  for (int64_t c = 0; c < channels; c++, w += KH * KW + 1, x += step) {
    for (int64_t v = 0; v < kLine * 4; v += kLanes * 4) {
      F32 acc[TY][TX];
      FILIGREE_UNROLL
      for (int i = 0; i < TY * TX; i++) acc[i / TX][i % TX] = set1(w[0]);
      takeRows<KH, KW, S, TY, TX, 0>(lines, next, x + v, w + 1, acc);
      finishTiles(results, c * kLine * 4 + v, acc);
    }
  }
}

/// Any window for a row of TX tiles.
template <int TX>
__attribute__((noinline)) void depthwiseAny(const DepthwiseBlock& b) {
  const float* next = b.weights;
  const int64_t taps = b.taps[0] * b.taps[1] * b.taps[2];
  const Results results = resultsOf(b);
  for (int64_t c = 0; c < b.channels; c++, next += taps + 1) {
    for (int64_t v = 0; v < kLine * 4; v += kLanes * 4) {
      const float* w = next;
      F32 acc[1][TX];
      FILIGREE_UNROLL
      for (int t = 0; t < TX; t++) acc[0][t] = set1(*w);
      const int64_t offset = b.xBegin + c * b.xChannel + v;
      for (int64_t kd = 0; kd < b.taps[0]; kd++) {
        for (int64_t kh = 0; kh < b.taps[1]; kh++) {
          int64_t at = kd * b.step[0] + kh * b.step[1];
          for (int64_t kw = 0; kw < b.taps[2]; kw++, at += b.step[2]) {
            const F32 weight = set1(*++w);
            FILIGREE_UNROLL
            for (int t = 0; t < TX; t++) {
              const int64_t tap = at + t * b.stride;
              acc[0][t] = fma(loadAt((b.lines ? b.lines[tap] : b.x + tap) + offset), weight, acc[0][t]);
            }
          }
        }
      }
      finishTiles(results, c * kLine * 4 + v, acc);
    }
  }
}

typedef void (*DepthwiseKernel)(const DepthwiseBlock&);

/// Kernels for blocks of 1 to `rows` rows and 1 to kBlockColumns columns, of windows of this size and stride; without
/// a size they are for any.
struct DepthwiseKernels {
  int rows, height, width, stride;
  DepthwiseKernel of[kBlockRows][kBlockColumns];
};

/// Most input tiles of a block of a window with a size: two rows and four columns of 5 x 5 with stride 2.
constexpr int kMostBlockLines = 7 * 11;

template <int K, int S>
FILIGREE_INLINE DepthwiseKernels squareKernels() {
  static_assert((S + K) * (3 * S + K) <= kMostBlockLines);
  return {2,
          K,
          K,
          S,
          {{depthwiseBlock<K, K, S, 1, 1>, depthwiseBlock<K, K, S, 1, 2>, depthwiseBlock<K, K, S, 1, 3>,
            depthwiseBlock<K, K, S, 1, 4>},
           {depthwiseBlock<K, K, S, 2, 1>, depthwiseBlock<K, K, S, 2, 2>, depthwiseBlock<K, K, S, 2, 3>,
            depthwiseBlock<K, K, S, 2, 4>}}};
}

template <int KH, int KW, int S>
FILIGREE_INLINE DepthwiseKernels rowKernels() {
  static_assert(KH * (3 * S + KW) <= kMostBlockLines);
  return {1,
          KH,
          KW,
          S,
          {{depthwiseBlock<KH, KW, S, 1, 1>, depthwiseBlock<KH, KW, S, 1, 2>, depthwiseBlock<KH, KW, S, 1, 3>,
            depthwiseBlock<KH, KW, S, 1, 4>},
           {}}};
}

FILIGREE_INLINE DepthwiseKernels anyKernels() {
  return {1, 0, 0, 0, {{depthwiseAny<1>, depthwiseAny<2>, depthwiseAny<3>, depthwiseAny<4>}, {}}};
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
