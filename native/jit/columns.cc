#include "jit/columns.h"

#include <algorithm>
#include <cstring>

namespace filigree {
namespace jit {

void Source::collect(int64_t block, int64_t blocks, int64_t first, int64_t count, Piece* piece) const {
  piece->first_row = first;
  piece->rows = static_cast<int>(count);
  piece->columns.clear();
  piece->nonzeros.clear();
  int64_t begin = lines_ * block / blocks, end = lines_ * (block + 1) / blocks;
  int64_t low = end, high = begin;
  std::vector<Row> group;
  for (int64_t r = 0; r < count; r++) {
    group.push_back(row(first + r));
    low = std::min(low, group.back().begin);
    high = std::max(high, group.back().end);
  }
  begin = std::max(begin, low), end = std::min(end, high);
  for (int64_t tap = 0; tap < taps_; tap++) {
    for (int64_t line = begin; line < end; line++) {
      const size_t before = piece->nonzeros.size();
      for (int r = 0; r < piece->rows; r++) {
        const Row& row = group[static_cast<size_t>(r)];
        if (line < row.begin || line >= row.end) continue;
        const uint32_t bits = weight(row, line, tap);
        if (bits) piece->nonzeros.push_back({r, bits});
      }
      if (piece->nonzeros.size() > before) piece->columns.push_back({tap, line, piece->nonzeros.size()});
    }
  }
}

Source::Row FloatSource::row(int64_t index) const {
  const int64_t share = spec_.columns / spec_.groups;
  const int64_t first = index / (spec_.rows / spec_.groups) * share;
  return {index, first, first + share};
}

uint32_t FloatSource::weight(const Row& row, int64_t line, int64_t tap) const {
  const int64_t share = row.end - row.begin;
  const int64_t at = spec_.transposed ? (line * spec_.taps + tap) * spec_.rows + row.index
                                      : (row.index * share + line - row.begin) * spec_.taps + tap;
  const float value = spec_.weights[at];
  if (value == 0) return 0;  // -0 too
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

int ByteSource::value(int64_t row, int64_t channel, int64_t tap) const {
  const int64_t share = spec_.columns / spec_.groups;
  const int64_t first = row / (spec_.rows / spec_.groups) * share;
  if (channel < first || channel >= first + share) return 0;
  const int64_t at = spec_.transposed ? (channel * spec_.taps + tap) * spec_.rows + row
                                      : (row * share + channel - first) * spec_.taps + tap;
  const uint8_t byte = spec_.weights[at];
  const int weight = spec_.weights_unsigned ? byte : static_cast<int8_t>(byte);
  if (!spec_.weight_zero_points) return weight;
  const uint8_t zero = spec_.weight_zero_points[spec_.zero_point_count == 1 ? 0 : row];
  return weight - (spec_.weights_unsigned ? zero : static_cast<int8_t>(zero));
}

int64_t ByteSource::sum(int64_t row) const {
  const int64_t share = spec_.columns / spec_.groups;
  const int64_t first = row / (spec_.rows / spec_.groups) * share;
  int64_t total = 0;
  for (int64_t channel = first; channel < first + share; channel++) {
    for (int64_t tap = 0; tap < spec_.taps; tap++) total += value(row, channel, tap);
  }
  return total;
}

bool ByteSource::fits() const {
  if (!spec_.weight_zero_points && !spec_.weights_unsigned) return true;
  for (int64_t row = 0; row < spec_.rows; row++) {
    const int64_t share = spec_.columns / spec_.groups;
    const int64_t first = row / (spec_.rows / spec_.groups) * share;
    for (int64_t channel = first; channel < first + share; channel++) {
      for (int64_t tap = 0; tap < spec_.taps; tap++) {
        const int weight = value(row, channel, tap);
        if (weight < -128 || weight > 127) return false;
      }
    }
  }
  return true;
}

Source::Row ByteSource::row(int64_t index) const {
  if (index >= spec_.rows) return {index, 0, 0};
  const int64_t share = spec_.columns / spec_.groups;
  const int64_t first = index / (spec_.rows / spec_.groups) * share;
  return {index, first / 4, (first + share + 3) / 4};
}

uint32_t ByteSource::weight(const Row& row, int64_t line, int64_t tap) const {
  uint32_t bits = 0;
  for (int64_t i = 0; i < 4 && line * 4 + i < spec_.columns; i++) {
    bits |= static_cast<uint32_t>(static_cast<uint8_t>(value(row.index, line * 4 + i, tap))) << (8 * i);
  }
  return bits;
}

}  // namespace jit
}  // namespace filigree
