// Nonzeros of a sparse matrix by columns, in the order the kernels visit them. Only for native/jit.
#pragma once
#include <cstdint>
#include <vector>

#include "jit/sparse.h"

namespace filigree {
namespace jit {

struct Nonzero {
  int row;        // within the group
  uint32_t bits;  // a float32, or four signed bytes
};

/// A used column: line `line` of the input tile under tap `tap`, with the nonzeros up to `end` of the piece's list.
struct Column {
  int64_t tap, line;
  size_t end;
};

/// Some rows under some columns.
struct Piece {
  int64_t first_row;
  int rows;
  std::vector<Column> columns;
  std::vector<Nonzero> nonzeros;
};

/// A matrix whose columns are lines of the input tile under each tap.
class Source {
 public:
  Source(int64_t rows, int64_t lines, int64_t taps) : rows_(rows), lines_(lines), taps_(taps) {}
  virtual ~Source() = default;
  int64_t rows() const { return rows_; }
  int64_t lines() const { return lines_; }
  int64_t taps() const { return taps_; }

  /// Rows [first, first + count) under block `block` of `blocks` equal shares of the lines: columns by tap, then line.
  virtual void collect(int64_t block, int64_t blocks, int64_t first, int64_t count, Piece* piece) const = 0;

 private:
  int64_t rows_, lines_, taps_;
};

/// float32 weights; a line is a channel.
class FloatSource : public Source {
 public:
  explicit FloatSource(const SparseSpec& spec) : Source(spec.rows, spec.columns, spec.taps), spec_(spec) {}
  void collect(int64_t block, int64_t blocks, int64_t first, int64_t count, Piece* piece) const override;

 private:
  const SparseSpec& spec_;
};

/// Signed bytes; a line is a quad of channels. Rows are padded with zeros to a multiple of 4.
class ByteSource : public Source {
 public:
  explicit ByteSource(const ByteSpec& spec)
      : Source((spec.rows + 3) / 4 * 4, (spec.columns + 3) / 4, spec.taps), spec_(spec) {}
  void collect(int64_t block, int64_t blocks, int64_t first, int64_t count, Piece* piece) const override;
  /// Sum of a row's weights less their zero point.
  int64_t sum(int64_t row) const;
  /// True where every weight less its zero point fits a signed byte.
  bool fits() const;

 private:
  const ByteSpec& spec_;
};

}  // namespace jit
}  // namespace filigree
