// Nonzeros of a piece of a sparse matrix by columns, in the order the generated code visits them. Only for native/jit.
#pragma once
#include <cstdint>
#include <vector>

#include "jit/sparse.h"

namespace filigree {
namespace jit {

struct Nonzero {
  int row;  // within the group
  float weight;
};

/// A used column: input channel `channel` under tap `tap`, with the nonzeros up to `end` of the piece's list.
struct Column {
  int64_t tap, channel;
  size_t end;
};

struct Piece {
  int64_t first_row;
  int rows;
  std::vector<Column> columns;
  std::vector<Nonzero> nonzeros;
};

/// Rows [first, first + rows) of group `index` of `count` over `total` rows, in units of `unit` rows.
void groupRows(int64_t total, int64_t unit, int64_t index, int64_t count, int64_t* first, int64_t* rows);

/// Collects group `group` of `groups` under column block `block` of `blocks`: columns by tap, then channel.
void collect(const SparseSpec& spec, int64_t block, int64_t blocks, int64_t group, int64_t groups, Piece* piece);

}  // namespace jit
}  // namespace filigree
