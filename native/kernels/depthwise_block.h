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
  /// The first tap of the first tile, and how far the neighbouring tiles and the next channel lie.
  const char* x;
  int64_t xRow, xTile, xChannel;
  /// Bias and taps of the first channel.
  const float* weights;
  char* y;
  int64_t yRow, yTile;
  /// Null where there is none.
  const char* residual;
  int64_t residualRow, residualTile;
  int64_t channels;
  Clamp clamp;
  /// For any window: taps along each axis, how far apart, and the distance between windows along the width.
  int64_t taps[3], step[3], stride;
};

FILIGREE_INLINE F32 loadAt(const char* p) { return load(reinterpret_cast<const float*>(p)); }

/// Tiles 0 to 15 of a row as a base, one of four distances and a power of two: few registers for many addresses.
struct Columns {
  int64_t one, three, five, seven;
};

template <int I>
FILIGREE_INLINE const char* column(const char* row, const Columns& c) {
  if constexpr (I >= 9) {
    return column<I - 8>(row + c.one * 8, c);
  } else if constexpr (I == 0) {
    return row;
  } else if constexpr (I % 2 == 0) {
    return I == 6 ? row + c.three * 2 : row + c.one * I;
  } else {
    return row + (I == 1 ? c.one : I == 3 ? c.three : I == 5 ? c.five : c.seven);
  }
}

template <int I, int N>
FILIGREE_INLINE void loadColumns(const char* row, const Columns& columns, F32 (&lines)[N]) {
  if constexpr (I < N) {
    lines[I] = loadAt(column<I>(row, columns));
    loadColumns<I + 1, N>(row, columns, lines);
  }
}

/// The block's input row R. Sums of different tiles alternate, so that none waits for its own last step.
template <int KH, int KW, int S, int TY, int TX, int R>
FILIGREE_INLINE void takeRows(const char* row, int64_t next, const Columns& columns, const float* w,
                              F32 (&acc)[TY][TX]) {
  if constexpr (R < (TY - 1) * S + KH) {
    F32 lines[(TX - 1) * S + KW];
    loadColumns<0>(row, columns, lines);
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
    const char* below = row + next;
    // Without this the compiler computes an address for every line ahead, and has no registers for them.
    asm("" : "+r"(below));
    takeRows<KH, KW, S, TY, TX, R + 1>(below, next, columns, w, acc);
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
  Columns columns = {b.xTile, 3 * b.xTile, 5 * b.xTile, 7 * b.xTile};
  asm("" : "+r"(columns.three), "+r"(columns.five), "+r"(columns.seven));
  const Results results = resultsOf(b);
  const int64_t channels = b.channels, next = b.xRow, step = b.xChannel;
  const char* x = b.x;
  const float* w = b.weights;
  for (int64_t c = 0; c < channels; c++, w += KH * KW + 1, x += step) {
    for (int64_t v = 0; v < kLine * 4; v += kLanes * 4) {
      F32 acc[TY][TX];
      FILIGREE_UNROLL
      for (int i = 0; i < TY * TX; i++) acc[i / TX][i % TX] = set1(w[0]);
      takeRows<KH, KW, S, TY, TX, 0>(x + v, next, columns, w + 1, acc);
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
      for (int64_t kd = 0; kd < b.taps[0]; kd++) {
        for (int64_t kh = 0; kh < b.taps[1]; kh++) {
          const char* x = b.x + c * b.xChannel + v + kd * b.step[0] + kh * b.step[1];
          for (int64_t kw = 0; kw < b.taps[2]; kw++, x += b.step[2]) {
            const F32 weight = set1(*++w);
            FILIGREE_UNROLL
            for (int t = 0; t < TX; t++) acc[0][t] = fma(loadAt(x + t * b.stride), weight, acc[0][t]);
          }
        }
      }
      finishTiles(results, c * kLine * 4 + v, acc);
    }
  }
}

typedef void (*DepthwiseKernel)(const DepthwiseBlock&);

/// Kernels for blocks of 1 to `rows` rows and 1 to kBlockColumns columns.
struct DepthwiseKernels {
  int rows;
  DepthwiseKernel of[kBlockRows][kBlockColumns];
};

template <int K, int S>
FILIGREE_INLINE DepthwiseKernels squareKernels() {
  return {2,
          {{depthwiseBlock<K, K, S, 1, 1>, depthwiseBlock<K, K, S, 1, 2>, depthwiseBlock<K, K, S, 1, 3>,
            depthwiseBlock<K, K, S, 1, 4>},
           {depthwiseBlock<K, K, S, 2, 1>, depthwiseBlock<K, K, S, 2, 2>, depthwiseBlock<K, K, S, 2, 3>,
            depthwiseBlock<K, K, S, 2, 4>}}};
}

template <int KH, int KW, int S>
FILIGREE_INLINE DepthwiseKernels rowKernels() {
  return {1,
          {{depthwiseBlock<KH, KW, S, 1, 1>, depthwiseBlock<KH, KW, S, 1, 2>, depthwiseBlock<KH, KW, S, 1, 3>,
            depthwiseBlock<KH, KW, S, 1, 4>},
           {}}};
}

FILIGREE_INLINE DepthwiseKernels anyKernels() {
  return {1, {{depthwiseAny<1>, depthwiseAny<2>, depthwiseAny<3>, depthwiseAny<4>}, {}}};
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
