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

/// A line of the input tile under a tap.
struct StreamColumn {
  int32_t tap, line;
};

/// A nonzero: 64 times the number of its column within the block, and the weight: a float32 or four signed bytes.
struct StreamEntry {
  int32_t line;
  uint32_t bits;
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

/// The beginning of a packing. At `bias` lie 32 bits a row, float32 or for 8-bit weights int32; at `scale` float32 a
/// row for 8-bit weights; at `blocks` for each block a StreamBlock and `row_groups` offsets (int64). The first and the
/// last block list every row. Rows of 8-bit weights are padded to a multiple of 4.
struct StreamHeader {
  uint64_t magic;
  int64_t bytes;
  int64_t rows, columns, taps, groups;
  int64_t row_groups, block_count;
  int64_t bias, scale, blocks;
  int64_t nonzeros;
  /// Columns with any nonzero.
  int64_t used_columns;
};

constexpr uint64_t kStreamF32Magic = 0x3166726573706b66;
constexpr uint64_t kStreamU8Magic = 0x3175726573706b66;

/// Row groups that threads share out.
int64_t streamRowGroups(int64_t rows);

/// First row of a row group, a multiple of 4 but for the last.
int64_t streamFirstRow(int64_t rows, int64_t group);

/// Bytes of the packing with blocks of at most `block_columns` columns.
size_t streamF32Bytes(const SparseSpec& spec, int64_t block_columns);

/// Writes the packing. Null, or a static text saying what is wrong.
const char* streamF32Write(const SparseSpec& spec, int64_t block_columns, uint8_t* out, size_t bytes);

/// With a `safe_pair` other than 0, four weights of which the first or the last two have magnitudes that add up to more
/// become two entries of the same column, halves of them.
size_t streamU8Bytes(const ByteSpec& spec, int64_t block_columns, int safe_pair);
const char* streamU8Write(const ByteSpec& spec, int64_t block_columns, int safe_pair, uint8_t* out, size_t bytes);

}  // namespace jit
}  // namespace filigree
