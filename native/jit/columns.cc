#include "jit/columns.h"

#include <algorithm>
#include <cstring>

namespace filigree {
namespace jit {

namespace {

/// A row's weights: channels [first, last) of the input, `base` where the first one's lie.
struct Row {
  int64_t first, last, base;
  int zero_point;
};

/// Distances between neighbouring channels and taps.
struct Strides {
  int64_t channel, tap;
};

template <class Spec>
Row rowOf(const Spec& spec, int64_t index) {
  if (index >= spec.rows) return {0, 0, 0, 0};
  if (spec.transposed) return {0, spec.columns, index, 0};
  const int64_t share = spec.columns / spec.groups;
  const int64_t first = index / (spec.rows / spec.groups) * share;
  return {first, first + share, index * share * spec.taps, 0};
}

template <class Spec>
Strides stridesOf(const Spec& spec) {
  return spec.transposed ? Strides{spec.taps * spec.rows, spec.rows} : Strides{spec.taps, 1};
}

Row byteRow(const ByteSpec& spec, int64_t index) {
  Row row = rowOf(spec, index);
  if (spec.weight_zero_points && index < spec.rows) {
    const uint8_t zero = spec.weight_zero_points[spec.zero_point_count == 1 ? 0 : index];
    row.zero_point = spec.weights_unsigned ? zero : static_cast<int8_t>(zero);
  }
  return row;
}

int byteValue(const ByteSpec& spec, const Row& row, int64_t at) {
  const uint8_t byte = spec.weights[at];
  return (spec.weights_unsigned ? byte : static_cast<int8_t>(byte)) - row.zero_point;
}

/// Calls visit(value) for every weight of a row less its zero point.
template <class Visit>
void eachByte(const ByteSpec& spec, int64_t index, Visit visit) {
  const Row row = byteRow(spec, index);
  const Strides strides = stridesOf(spec);
  for (int64_t channel = 0; channel < row.last - row.first; channel++) {
    for (int64_t tap = 0; tap < spec.taps; tap++) {
      visit(byteValue(spec, row, row.base + channel * strides.channel + tap * strides.tap));
    }
  }
}

/// Lines [begin, end) of a block that any of the rows may use; a line has `width` channels.
void usedLines(const std::vector<Row>& rows, int64_t width, int64_t* begin, int64_t* end) {
  int64_t low = *end, high = *begin;
  for (const Row& row : rows) {
    low = std::min(low, row.first / width);
    high = std::max(high, (row.last + width - 1) / width);
  }
  *begin = std::max(*begin, low);
  *end = std::min(*end, high);
}

/// Fills a piece with what bits(row, line, tap) gives; 0 is no weight.
template <class Bits>
void fill(const Source& source, const std::vector<Row>& rows, int64_t begin, int64_t end, Piece* piece, Bits bits) {
  piece->columns.clear();
  piece->nonzeros.clear();
  const int count = static_cast<int>(rows.size());
  for (int64_t tap = 0; tap < source.taps(); tap++) {
    for (int64_t line = begin; line < end; line++) {
      const size_t before = piece->nonzeros.size();
      for (int r = 0; r < count; r++) {
        const uint32_t word = bits(rows[static_cast<size_t>(r)], line, tap);
        if (word) piece->nonzeros.push_back({r, word});
      }
      if (piece->nonzeros.size() > before) piece->columns.push_back({tap, line, piece->nonzeros.size()});
    }
  }
}

}  // namespace

void FloatSource::collect(int64_t block, int64_t blocks, int64_t first, int64_t count, Piece* piece) const {
  piece->first_row = first;
  piece->rows = static_cast<int>(count);
  std::vector<Row> rows;
  for (int64_t r = 0; r < count; r++) rows.push_back(rowOf(spec_, first + r));
  int64_t begin = lines() * block / blocks, end = lines() * (block + 1) / blocks;
  usedLines(rows, 1, &begin, &end);
  const Strides strides = stridesOf(spec_);
  fill(*this, rows, begin, end, piece, [&](const Row& row, int64_t line, int64_t tap) -> uint32_t {
    if (line < row.first || line >= row.last) return 0;
    const float value = spec_.weights[row.base + (line - row.first) * strides.channel + tap * strides.tap];
    if (value == 0) return 0;  // -0 too
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
  });
}

void ByteSource::collect(int64_t block, int64_t blocks, int64_t first, int64_t count, Piece* piece) const {
  piece->first_row = first;
  piece->rows = static_cast<int>(count);
  std::vector<Row> rows;
  for (int64_t r = 0; r < count; r++) rows.push_back(byteRow(spec_, first + r));
  int64_t begin = lines() * block / blocks, end = lines() * (block + 1) / blocks;
  usedLines(rows, 4, &begin, &end);
  const Strides strides = stridesOf(spec_);
  fill(*this, rows, begin, end, piece, [&](const Row& row, int64_t line, int64_t tap) {
    uint32_t bits = 0;
    const int64_t last = std::min(line * 4 + 4, row.last);
    for (int64_t channel = std::max(line * 4, row.first); channel < last; channel++) {
      const int64_t at = row.base + (channel - row.first) * strides.channel + tap * strides.tap;
      bits |= static_cast<uint32_t>(static_cast<uint8_t>(byteValue(spec_, row, at))) << (8 * (channel & 3));
    }
    return bits;
  });
}

int64_t ByteSource::sum(int64_t row) const {
  int64_t total = 0;
  eachByte(spec_, row, [&](int value) { total += value; });
  return total;
}

bool ByteSource::fits() const {
  if (!spec_.weight_zero_points && !spec_.weights_unsigned) return true;
  bool all = true;
  for (int64_t row = 0; row < spec_.rows && all; row++) {
    eachByte(spec_, row, [&](int value) { all &= value >= -128 && value <= 127; });
  }
  return all;
}

}  // namespace jit
}  // namespace filigree
