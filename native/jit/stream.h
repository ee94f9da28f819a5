// Sparse weights as a stream that precompiled kernels read: for systems without executable memory and for instruction
// sets without a code generator.
//
// The used columns are cut into blocks small enough that their lines, copied for a few tiles, stay in the first-level
// cache. A block lists its columns, then for every group of rows the rows with their nonzeros, sorted by number: rows
// with equally many stand together, so that the inner loop's length is predictable.
//
// Plain data and functions only: kernel sources of every instruction set include this.
#pragma once
#include <cstddef>
#include <cstdint>

#include "jit/sparse.h"

namespace filigree {
namespace jit {

struct StreamColumn {
  int32_t tap, channel;
};

/// A nonzero: 64 times the number of its column within the block, and the weight.
struct StreamEntry {
  int32_t line;
  float weight;
};

/// `rows` rows of `count` nonzeros each: their numbers (int32, padded to 8 bytes), then their entries. Ends with
/// rows = 0.
struct StreamRun {
  int32_t count, rows;
};

/// Where a block's parts begin, in bytes from the start of the packing. Then for each row group the offset of its runs.
struct StreamBlock {
  int64_t columns, column_count;
};

/// The beginning of a packing. The bias (float32 a row) follows at `bias`, the blocks at `blocks`: for each a
/// StreamBlock and `row_groups` offsets (int64). The first and the last block list every row.
struct StreamHeader {
  uint64_t magic;
  int64_t bytes;
  int64_t rows, columns, taps, groups;
  int64_t row_groups, block_count;
  int64_t bias, blocks;
  int64_t nonzeros;
  /// Columns with any nonzero.
  int64_t used_columns;
};

constexpr uint64_t kStreamF32Magic = 0x3166726573706b66;

/// Row groups that threads share out.
int64_t streamRowGroups(int64_t rows);

/// First row of a row group.
int64_t streamFirstRow(int64_t rows, int64_t group);

/// Bytes of the packing with blocks of at most `block_columns` columns.
size_t streamF32Bytes(const SparseSpec& spec, int64_t block_columns);

/// Writes the packing. Null, or a static text saying what is wrong.
const char* streamF32Write(const SparseSpec& spec, int64_t block_columns, uint8_t* out, size_t bytes);

}  // namespace jit
}  // namespace filigree
