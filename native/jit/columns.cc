#include "jit/columns.h"

#include <algorithm>

namespace filigree {
namespace jit {

void groupRows(int64_t total, int64_t unit, int64_t index, int64_t count, int64_t* first, int64_t* rows) {
  const int64_t units = (total + unit - 1) / unit;
  *first = units * index / count * unit;
  *rows = std::min(total, units * (index + 1) / count * unit) - *first;
}

namespace {

/// Address of a row's weight of channel 0 under tap 0 as if the matrix had all channels, and the strides from it.
struct Walk {
  const float* base;
  int64_t channel_stride, tap_stride;
  int64_t first_channel, last_channel;
};

Walk walkRow(const SparseSpec& spec, int64_t row) {
  if (spec.transposed) return {spec.weights + row, spec.taps * spec.rows, spec.rows, 0, spec.columns};
  const int64_t share = spec.columns / spec.groups;
  const int64_t first = row / (spec.rows / spec.groups) * share;
  return {spec.weights + (row * share - first) * spec.taps, spec.taps, 1, first, first + share};
}

}  // namespace

void collect(const SparseSpec& spec, int64_t block, int64_t blocks, int64_t group, int64_t groups, Piece* piece) {
  int64_t rows;
  groupRows(spec.rows, 1, group, groups, &piece->first_row, &rows);
  piece->rows = static_cast<int>(rows);
  piece->columns.clear();
  piece->nonzeros.clear();
  Walk walks[64];
  int64_t begin = spec.columns * block / blocks, end = spec.columns * (block + 1) / blocks;
  int64_t low = end, high = begin;
  for (int r = 0; r < piece->rows; r++) {
    walks[r] = walkRow(spec, piece->first_row + r);
    low = std::min(low, walks[r].first_channel);
    high = std::max(high, walks[r].last_channel);
  }
  begin = std::max(begin, low), end = std::min(end, high);
  for (int64_t tap = 0; tap < spec.taps; tap++) {
    for (int64_t channel = begin; channel < end; channel++) {
      const size_t before = piece->nonzeros.size();
      for (int r = 0; r < piece->rows; r++) {
        const Walk& walk = walks[r];
        if (channel < walk.first_channel || channel >= walk.last_channel) continue;
        const float weight = walk.base[channel * walk.channel_stride + tap * walk.tap_stride];
        if (weight != 0) piece->nonzeros.push_back({r, weight});
      }
      if (piece->nonzeros.size() > before) piece->columns.push_back({tap, channel, piece->nonzeros.size()});
    }
  }
}

}  // namespace jit
}  // namespace filigree
