// Sparse weights of a convolution or linear layer over segment maps, turned into machine code.
// A line of an 8-bit map holds four channels: everything said of columns then means such quads.
//
// The matrix is cut into blocks of columns and groups of rows (at most kGroupRows output channels). For each pair there
// is a piece of the packing: its weights in the order of use, then a function
//     piece(tile, weights, next)
// that computes the group's rows for the 16 lanes of one output tile. It keeps one vector a row in registers, loads
// each used line of the input once and does one multiply-add a nonzero. Spread among them it prefetches `next`, a part
// of the piece that runs afterwards: otherwise every piece would start with its code and weights in a far cache.
// Nothing in it depends on the sizes of the maps: `tile` holds the addresses.
//
// Plain data and functions only: kernel sources of every instruction set include this.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#define FILIGREE_SYSTEM_V __attribute__((sysv_abi))
#else
#define FILIGREE_SYSTEM_V
#endif

namespace filigree {
namespace jit {

constexpr int kGroupRows = 29;
/// The same for 8-bit weights: output lines hold four channels.
constexpr int kByteGroupRows = 28;
/// Words of a tile table before the addresses of the taps.
constexpr int kTileWords = 3;

/// System V's calling convention on every system: vector registers are free to use in it.
typedef void (*SparsePiece)(const void* tile, const void* weights, const void* next) FILIGREE_SYSTEM_V;

/// What the generated code reads: line 0 of the output tile (first output channel), of the residual, of the output tile
/// that follows (to fetch it for writing), then of the input tile of every tap (first input channel).
struct SparseTile {
  void* output;
  const void* residual;
  const void* following;
};

/// The matrix and what to do with it. float32 weights.
struct SparseSpec {
  /// [rows][columns / groups][taps], or transposed [columns][taps][rows] (groups is 1 then); columns = input channels.
  const float* weights;
  /// [rows], or null.
  const float* bias;
  int64_t rows, columns, taps, groups;
  bool transposed;
  /// Adds the residual before the activation.
  bool residual;
  /// Activation number of native/kernels/activation.h and its constants; only those of emitsActivation() are generated.
  int64_t activation;
  float alpha, beta;
  /// Blocks of columns; 0 chooses by rule.
  int64_t column_blocks;
  /// Tiles that run through one piece before the next: prefetching is spread over them.
  int64_t passes;
  /// Fetch the following tile's output lines for writing.
  bool prefetch_output;
};

/// What the generated 8-bit code writes.
enum ByteOutput : int64_t { kOutputFloat = 0, kOutputUnsigned = 1, kOutputSigned = 2 };

/// Rounding to bytes before the residual; none where kind is 0.
struct Middle {
  int kind;
  float low, high, offset, scale, shift;
};

/// A matrix of 8-bit weights for 8-bit inputs. Of a row's integer sum s (bias included, zero points taken off)
///     v = s * scale[row] + (residual - residual_zero_point) * residual_scale, then the activation,
/// and for byte outputs v * output_scale rounded to nearest even, + output_zero_point, saturated. Products and sums of
/// v are rounded one by one. `middle` rounds in between: native/kernels/byte_params.h has the formulas. A float32
/// residual goes with a float32 output and is added as it is.
struct ByteSpec {
  /// Laid out as in SparseSpec.
  const uint8_t* weights;
  bool weights_unsigned;
  /// One for all rows or one a row (zero_point_count), of the weights' type; or null. weights less zero point must fit
  /// a signed byte.
  const uint8_t* weight_zero_points;
  int64_t zero_point_count;
  const int32_t* bias;
  const float* scale;
  int64_t rows, columns, taps, groups;
  bool transposed;
  bool input_signed;
  int64_t input_zero_point;
  ByteOutput output;
  int64_t output_zero_point;
  float output_scale;
  bool residual, residual_signed;
  int64_t residual_zero_point;
  float residual_scale;
  Middle middle;
  int64_t activation;
  float alpha, beta;
  int64_t passes;
  bool prefetch_output;
};

/// One piece. Offsets from the beginning of the packing; pieces are in order of execution: column blocks, then groups.
struct PieceEntry {
  int64_t weights, code, end;
  int32_t first_row, rows;
  /// Lines of the next piece that a call prefetches.
  int64_t prefetches;
  int64_t nonzeros, used_columns;
};

/// The beginning of a packing; the pieces' entries follow.
struct SparseHeader {
  uint64_t magic;
  int64_t bytes;
  int64_t rows, columns, taps, groups;
  int64_t residual, activation;
  int64_t column_blocks, row_groups;
  int64_t nonzeros;
  /// Sum over pieces of the input lines loaded for a tile.
  int64_t used_columns;
  int64_t passes;
  /// A ByteOutput.
  int64_t output;
};

constexpr uint64_t kSparseF32Magic = 0x3166657370736a66;
constexpr uint64_t kSparseU8Magic = 0x3175657370736a66;

/// True for activations that the generated code contains; others are for the caller.
bool emitsActivation(int64_t activation);

/// The same for byte outputs. Where it is false the code writes v before the activation as float32 lines instead.
bool emitsByteActivation(int64_t activation);

/// Column blocks by rule for a matrix with `columns` input channels.
int64_t columnBlocks(int64_t columns, int64_t taps, int64_t groups);

/// Bytes of the packing.
size_t sparseF32Bytes(const SparseSpec& spec);

/// Writes the packing, `bytes` of sparseF32Bytes. Null, or a static text saying what is wrong.
const char* sparseF32Generate(const SparseSpec& spec, uint8_t* out, size_t bytes);

size_t sparseU8Bytes(const ByteSpec& spec);
const char* sparseU8Generate(const ByteSpec& spec, uint8_t* out, size_t bytes);

/// The bias of a row with the input's zero point folded in, for unsigned input bytes (signed ones are offset by 128).
int32_t foldedBias(const ByteSpec& spec, int64_t row);

/// False where a weight less its zero point does not fit a signed byte.
bool weightsFit(const ByteSpec& spec);

}  // namespace jit
}  // namespace filigree
