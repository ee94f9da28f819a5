// The inner kernels of convolutions over pairs of bfloat16: some output channels of some tiles, and how each wants its
// weights. Tile registers multiply where there are some, vectors elsewhere.
#pragma once
#include "kernels/dense_tile.h"
#include "kernels/tile_block.h"
#include "simd/bf16.h"

#if defined(FILIGREE_ISA_amx)
#include "kernels/tiles.h"
#endif

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Pair lines of up to four tiles, at the first tap.
struct PairTiles {
  const uint32_t* x[4];
};

/// The pair of channels 2 * pair and 2 * pair + 1 of a row at a tap; channels past the last are zeros.
FILIGREE_INLINE uint32_t weightPair(const float* weights, int64_t channels, int64_t pair, int64_t step) {
  if (2 * pair >= channels) return 0;
  return pairOf(weights[2 * pair * step], 2 * pair + 1 < channels ? weights[(2 * pair + 1) * step] : 0);
}

/// Tiles pass a panel in rounds: which of how many this is.
struct PairRound {
  int64_t index, count;
};

#if defined(FILIGREE_ISA_amx)

constexpr int kPanelTiles = 2;
constexpr int kMostPairTiles = 2;
constexpr int kMostPairRows = kPanelTiles * kTileRows;
constexpr int64_t kTileWords = kTileRowBytes / 4;

/// How one group of a convolution is cut. A panel is up to two left tiles of `tile_rows` output channels. A run is the
/// pair lines of taps that lie together; its steps take `depth` lines each, and the last begins early where they do not
/// divide the run: its weights of lines that came before are 0.
struct PairCut {
  int64_t rows, channels, taps, run_taps, tile_rows, tiles, lines, steps, depth;

  FILIGREE_INLINE_MEMBER int64_t pairs() const { return ceilDivide(channels, 2); }
  FILIGREE_INLINE_MEMBER int64_t runs() const { return taps / run_taps; }
  FILIGREE_INLINE_MEMBER int64_t stepLine(int64_t step) const { return least(step * depth, lines - depth); }
  FILIGREE_INLINE_MEMBER int64_t panels() const { return ceilDivide(tiles, kPanelTiles); }
  FILIGREE_INLINE_MEMBER int64_t lefts(int64_t panel) const { return least(kPanelTiles, tiles - panel * kPanelTiles); }
  FILIGREE_INLINE_MEMBER int64_t firstRow(int64_t panel) const { return least(panel * kPanelTiles * tile_rows, rows); }
  /// Words of biases before the weights.
  FILIGREE_INLINE_MEMBER int64_t headWords(int64_t) const { return kMostPairRows; }
  /// Words of the weights of a left tile.
  FILIGREE_INLINE_MEMBER int64_t tileWords() const { return runs() * steps * tile_rows * kTileWords; }
  FILIGREE_INLINE_MEMBER int64_t wordsBefore(int64_t panel) const {
    return panel * kMostPairRows + least(panel * kPanelTiles, tiles) * tileWords();
  }
  FILIGREE_INLINE_MEMBER int64_t together() const { return kMostPairTiles; }
};

FILIGREE_INLINE PairCut pairCutOf(int64_t rows, int64_t channels, int64_t taps, int64_t run_taps) {
  PairCut cut = {};
  cut.rows = rows, cut.channels = channels, cut.taps = taps, cut.run_taps = run_taps;
  cut.tiles = ceilDivide(rows, kTileRows);
  cut.tile_rows = cut.tiles ? ceilDivide(rows, cut.tiles) : 1;
  cut.tiles = ceilDivide(rows, cut.tile_rows);
  cut.lines = cut.pairs() * run_taps;
  cut.steps = ceilDivide(cut.lines, kTileWords);
  cut.depth = cut.steps ? ceilDivide(cut.lines, cut.steps) : 1;
  return cut;
}

/// The word of a left tile for line `line` of run `run`.
FILIGREE_INLINE uint32_t runPair(const float* weights, const WeightOrder& order, const PairCut& cut, int64_t run,
                                 int64_t line) {
  const int64_t tap = run * cut.run_taps + line / cut.pairs();
  return weightPair(weights + tap * order.tap, cut.channels, line % cut.pairs(), order.channel);
}

/// The weights of a panel, from `weights` on, as left tiles [run][step][left][row][kTileWords].
void packPairs(const float* weights, const WeightOrder& order, const PairCut& cut, int64_t panel, uint32_t* to) {
  const int64_t rows = cut.firstRow(panel + 1) - cut.firstRow(panel), lefts = cut.lefts(panel);
  for (int64_t run = 0; run < cut.runs(); run++) {
    for (int64_t step = 0; step < cut.steps; step++) {
      for (int64_t r = 0; r < lefts * cut.tile_rows; r++) {
        for (int64_t i = 0; i < kTileWords; i++) {
          const int64_t line = cut.stepLine(step) + i;
          const bool there = r < rows && i < cut.depth && line >= step * cut.depth;
          *to++ = there ? runPair(weights + r * order.row, order, cut, run, line) : 0;
        }
      }
    }
  }
}

/// Up to so many rounds fetch the weights of the next panel while they run; more would fetch too little each.
constexpr int64_t kFetchingRounds = 16;

template <int H, int T>
__attribute__((noinline)) void sumTiles(const PairCut& cut, const DenseTaps& taps, const uint32_t* w,
                                        const PairTiles& at, LinesAhead ahead, float* sums) {
  const int64_t left = cut.tile_rows * kTileWords;
  finishStores();
  _tile_zero(0);
  if constexpr (T > 1) _tile_zero(1);
  if constexpr (H > 1) _tile_zero(2);
  if constexpr (H > 1 && T > 1) _tile_zero(3);
  for (int64_t d = 0; d < taps.count[0]; d++) {
    for (int64_t h = 0; h < taps.count[1]; h++) {
      int64_t offset = d * taps.step[0] + h * taps.step[1];
      for (int64_t i = 0; i < taps.count[2]; i += cut.run_taps, offset += cut.run_taps * taps.step[2]) {
        for (int64_t step = 0; step < cut.steps; step++, w += H * left) {
          const int64_t line = offset + cut.stepLine(step) * kLine;
          _tile_loadd(6, at.x[0] + line, kTileRowBytes);
          _tile_loadd(4, w, kTileRowBytes);
          _tile_dpbf16ps(0, 4, 6);
          if constexpr (T > 1) {
            _tile_loadd(7, at.x[1] + line, kTileRowBytes);
            _tile_dpbf16ps(1, 4, 7);
          }
          if constexpr (H > 1) {
            _tile_loadd(5, w + left, kTileRowBytes);
            _tile_dpbf16ps(2, 5, 6);
          }
          if constexpr (H > 1 && T > 1) _tile_dpbf16ps(3, 5, 7);
          ahead.step();
        }
      }
    }
  }
  constexpr int64_t kStride = T * kLine * 4;
  float* const lower = sums + cut.tile_rows * T * kLine;
  _tile_stored(0, sums, kStride);
  if constexpr (T > 1) _tile_stored(1, sums + kLine, kStride);
  if constexpr (H > 1) _tile_stored(2, lower, kStride);
  if constexpr (H > 1 && T > 1) _tile_stored(3, lower + kLine, kStride);
  finishStores();
}

/// sums[(r * count + t) * kLine ...] = products of row r of a panel with tile t of `count`. Steps of `taps` are words.
FILIGREE_INLINE void sumPairs(const PairCut& cut, int64_t panel, int64_t count, const DenseTaps& taps,
                              const uint32_t* w, const PairTiles& at, PairRound round, float* sums) {
  const int64_t lefts = cut.lefts(panel);
  const int64_t lines = round.count > kFetchingRounds ? 0 : ceilDivide(lefts * cut.tile_rows, round.count);
  LinesAhead ahead = {w + lefts * cut.tileWords(), lines};
  ahead.skip(round.index * cut.runs() * cut.steps);
  if (lefts > 1) {
    (count > 1 ? sumTiles<2, 2> : sumTiles<2, 1>)(cut, taps, w, at, ahead, sums);
  } else {
    (count > 1 ? sumTiles<1, 2> : sumTiles<1, 1>)(cut, taps, w, at, ahead, sums);
  }
}

/// What a thread holds while it runs sumPairs.
struct PairUse {
  TileUse tiles;
  FILIGREE_INLINE_MEMBER explicit PairUse(const PairCut& cut) { tiles.shape(cut.tile_rows, 0, cut.depth); }
};

#else

constexpr int kMostPairTiles = kNarrowTiles;
constexpr int kMostPairRows = kDenseRows;

/// How one group of a convolution is cut: panels of output channels as even as can be.
struct PairCut {
  int64_t rows, channels, taps;

  FILIGREE_INLINE_MEMBER int64_t pairs() const { return (channels + 1) / 2; }
  FILIGREE_INLINE_MEMBER int64_t panels() const { return ceilDivide(rows, kDenseRows); }
  FILIGREE_INLINE_MEMBER int64_t firstRow(int64_t panel) const { return rows ? rows * panel / panels() : 0; }
  /// Words of biases before the weights.
  FILIGREE_INLINE_MEMBER int64_t headWords(int64_t panel) const { return firstRow(panel + 1) - firstRow(panel); }
  FILIGREE_INLINE_MEMBER int64_t wordsBefore(int64_t panel) const { return firstRow(panel) * (pairs() * taps + 1); }
  FILIGREE_INLINE_MEMBER int64_t together() const { return denseTilesFor(rows); }
};

FILIGREE_INLINE PairCut pairCutOf(int64_t rows, int64_t channels, int64_t taps, int64_t) {
  return {rows, channels, taps};
}

/// The weights of a panel, from `weights` on, as words [tap][pair of channels][row].
void packPairs(const float* weights, const WeightOrder& order, const PairCut& cut, int64_t panel, uint32_t* to) {
  const int64_t rows = cut.firstRow(panel + 1) - cut.firstRow(panel);
  for (int64_t tap = 0; tap < cut.taps; tap++) {
    for (int64_t pair = 0; pair < cut.pairs(); pair++) {
      for (int64_t r = 0; r < rows; r++) {
        *to++ = weightPair(weights + r * order.row + tap * order.tap, cut.channels, pair, order.channel);
      }
    }
  }
}

typedef void (*PairTile)(const DenseTaps&, const uint32_t*, const PairTiles&, float*);

template <int R, int T>
__attribute__((noinline)) void sumVectors(const DenseTaps& taps, const uint32_t* w, const PairTiles& at, float* sums) {
  F32 acc[R][T];
  FILIGREE_UNROLL
  for (int r = 0; r < R; r++) {
    FILIGREE_UNROLL
    for (int t = 0; t < T; t++) acc[r][t] = zero();
  }
  for (int64_t d = 0; d < taps.count[0]; d++) {
    for (int64_t h = 0; h < taps.count[1]; h++) {
      int64_t offset = d * taps.step[0] + h * taps.step[1];
      for (int64_t i = 0; i < taps.count[2]; i++, offset += taps.step[2]) {
        const uint32_t* x[T];
        FILIGREE_UNROLL
        for (int t = 0; t < T; t++) x[t] = at.x[t] + offset;
        for (int64_t c = 0; c < taps.channels; c++, w += R) {
          I32 lines[T];
          FILIGREE_UNROLL
          for (int t = 0; t < T; t++) lines[t] = loadPairs(x[t] + c * kLine);
          FILIGREE_UNROLL
          for (int r = 0; r < R; r++) {
            const I32 weight = set1I(static_cast<int32_t>(w[r]));
            FILIGREE_UNROLL
            for (int t = 0; t < T; t++) acc[r][t] = dotPairs(acc[r][t], lines[t], weight);
          }
        }
      }
    }
  }
  FILIGREE_UNROLL
  for (int r = 0; r < R; r++) {
    FILIGREE_UNROLL
    for (int t = 0; t < T; t++) store(sums + (r * T + t) * kLine, acc[r][t]);
  }
}

template <int T, int R>
FILIGREE_INLINE PairTile pairTileOf(int64_t rows) {
  if constexpr (R <= 1) {
    return sumVectors<1, T>;
  } else {
    return rows == R ? sumVectors<R, T> : pairTileOf<T, R - 1>(rows);
  }
}

/// sums[(r * count + t) * kLine ...] = products of row r of a panel with tile t of `count`. Steps of `taps` are words,
/// its channels pair lines.
FILIGREE_INLINE void sumPairs(const PairCut& cut, int64_t panel, int64_t count, const DenseTaps& taps,
                              const uint32_t* w, const PairTiles& at, PairRound, float* sums) {
  const int64_t rows = cut.headWords(panel);
  const PairTile kernel = count == 1             ? pairTileOf<1, kDenseRows>(rows)
                          : count == kDenseTiles ? pairTileOf<kDenseTiles, kDenseRows>(rows)
                                                 : pairTileOf<kNarrowTiles, kNarrowRows>(rows);
  kernel(taps, w, at, sums);
}

/// What a thread holds while it runs sumPairs: nothing.
struct PairUse {
  FILIGREE_INLINE_MEMBER explicit PairUse(const PairCut&) {}
};

#endif

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
