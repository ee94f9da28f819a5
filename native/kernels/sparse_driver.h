// Runs the generated pieces of a sparse packing over tiles: shared by the float32 and the 8-bit kernels.
#pragma once
#include "jit/sparse.h"
#include "kernels/conv_params.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int64_t kLineBytes = 64;

/// A convolution's memory in lines: where the first channel of each map lies, and lines of a tile.
struct SparseMaps {
  const uint8_t *input, *residual;
  uint8_t* output;
  int64_t input_lines, residual_lines, output_lines;
};

/// Most tiles that go through a piece before the next one: what they read and a share of what they write should stay in
/// the second-level cache beside the pieces, but fewer than 8 would not pay for fetching the next piece.
FILIGREE_INLINE int64_t tileBlockLimit(const ConvParams& p, int64_t input_lines, int64_t tiles) {
  int64_t block = p.tile_block;
  if (block == 0) {
    block = (400 * 1024) / ((input_lines + p.channels_out / 4) * kLineBytes + 1);
    if (block < 8) block = 8;
  }
  if (block > tiles) block = tiles;
  return block < 1 ? 1 : block;
}

/// The same, so that `tiles` make blocks of equal size.
FILIGREE_INLINE int64_t tileBlock(const ConvParams& p, int64_t input_lines, int64_t tiles) {
  const int64_t limit = tileBlockLimit(p, input_lines, tiles);
  const int64_t blocks = (tiles + limit - 1) / limit;
  return blocks < 1 ? 1 : (tiles + blocks - 1) / blocks;
}

/// Lines of the input that a tile reads in one column block.
FILIGREE_INLINE int64_t blockLines(int64_t columns, int64_t taps, int64_t groups) {
  return columns * taps / jit::columnBlocks(columns, taps, groups);
}

FILIGREE_INLINE int64_t tileTableWords(const ConvParams& p) { return jit::kTileWords + p.taps(); }

/// Addresses of tiles [first, first + count) for the generated code. With `scratch` that is where it writes every tile,
/// and the tile's own address takes the place of the following one's.
FILIGREE_INLINE void fillTileTable(const ConvParams& p, const SparseMaps& maps, int64_t first, int64_t count,
                                   float* scratch, uint64_t* table) {
  const int64_t words = tileTableWords(p);
  for (int64_t i = 0; i < count; i++, table += words) {
    const TileAt at = tileAt(p.out, first + i);
    const int64_t out = p.out.tile(at.group, at.z, at.ty, at.tx);
    table[0] = reinterpret_cast<uint64_t>(maps.output + out * maps.output_lines * kLineBytes);
    const int64_t res = p.residual ? p.res.tile(at.group, at.z, at.ty, at.tx) : 0;
    table[1] = reinterpret_cast<uint64_t>(maps.residual + res * maps.residual_lines * kLineBytes);
    table[2] = table[0];
    if (scratch) table[0] = reinterpret_cast<uint64_t>(scratch);
    if (i > 0 && !scratch) table[2 - words] = table[0];
    uint64_t* tap = table + jit::kTileWords;
    for (int64_t kd = 0; kd < p.kernel[0]; kd++) {
      for (int64_t kh = 0; kh < p.kernel[1]; kh++) {
        for (int64_t kw = 0; kw < p.kernel[2]; kw++) {
          const int64_t tile = tapTile(p, at, kd, kh, kw);
          *tap++ = reinterpret_cast<uint64_t>(maps.input + tile * maps.input_lines * kLineBytes);
        }
      }
    }
  }
}

/// A packing as the kernels read it.
struct PackedPieces {
  const uint8_t* base;
  const jit::SparseHeader* header;
  const jit::PieceEntry* entries;
};

/// The packing in an operand; null entries where it is not one for this convolution.
FILIGREE_INLINE PackedPieces packedPieces(const Operand& operand, uint64_t magic, const ConvParams& p) {
  PackedPieces pieces = {operand.data, reinterpret_cast<const jit::SparseHeader*>(operand.data), nullptr};
  const jit::SparseHeader& h = *pieces.header;
  if (operand.bytes < sizeof h || h.magic != magic || static_cast<uint64_t>(h.bytes) > operand.bytes) return pieces;
  if (h.rows != p.channels_out || h.columns != p.channels_in || h.taps != p.taps() || h.groups != p.groups)
    return pieces;
  if (h.residual != static_cast<int64_t>(p.residual) || h.activation != p.activation) return pieces;
  pieces.entries = reinterpret_cast<const jit::PieceEntry*>(operand.data + sizeof h);
  return pieces;
}

/// Fetches a piece that runs next. Nobody could do so while the pieces of another step ran, and executing it from a far
/// cache would take far longer.
FILIGREE_INLINE void fetchPiece(const PackedPieces& pieces, const jit::PieceEntry& entry) {
  for (int64_t at = entry.weights; at < entry.end; at += kLineBytes) __builtin_prefetch(pieces.base + at, 0, 2);
}

/// Runs row groups [group_begin, group_end) over tiles [tile_begin, tile_end). `after(entry, output)` is called for
/// every finished group of rows of a tile, whose first output line is at `output`. `scratch`: as in fillTileTable.
template <class After>
FILIGREE_INLINE void runPieces(const ConvParams& p, const SparseMaps& maps, const PackedPieces& pieces,
                               int64_t tile_begin, int64_t tile_end, int64_t group_begin, int64_t group_end,
                               int64_t block, uint64_t* table, float* scratch, After after) {
  const int64_t words = tileTableWords(p), groups = pieces.header->row_groups;
  const int64_t blocks = pieces.header->column_blocks;
  if (tile_begin < tile_end && group_begin < group_end) fetchPiece(pieces, pieces.entries[group_begin]);
  for (int64_t tile = tile_begin; tile < tile_end; tile += block) {
    const int64_t count = tile + block < tile_end ? block : tile_end - tile;
    fillTileTable(p, maps, tile, count, scratch, table);
    for (int64_t column = 0; column < blocks; column++) {
      for (int64_t group = group_begin; group < group_end; group++) {
        const jit::PieceEntry* entry = pieces.entries + column * groups + group;
        const jit::PieceEntry* next = group + 1 < group_end ? entry + 1
                                      : column + 1 < blocks ? entry + groups - (group - group_begin)
                                                            : pieces.entries + group_begin;
        const bool more = group + 1 < group_end || column + 1 < blocks || tile + block < tile_end;
        const auto piece = reinterpret_cast<jit::SparsePiece>(pieces.base + entry->code);
        const uint8_t* fetch = pieces.base + (more ? next->weights : entry->weights);
        const uint8_t* fetch_end = more ? pieces.base + next->end : fetch;
        const bool last = column + 1 == blocks;
        for (int64_t i = 0; i < count; i++) {
          piece(table + i * words, pieces.base + entry->weights, fetch);
          if (fetch < fetch_end) fetch += entry->prefetches * kLineBytes;
          if (last) after(*entry, reinterpret_cast<uint8_t*>(table[i * words + (scratch ? 2 : 0)]));
        }
      }
    }
  }
#if defined(FILIGREE_AVX512)
  _mm256_zeroupper();
#endif
}

/// Where part `part` of `parts` begins when row groups are shared out by the work in them.
FILIGREE_INLINE int64_t rowGroupBoundary(const PackedPieces& pieces, int part, int parts) {
  const int64_t groups = pieces.header->row_groups, blocks = pieces.header->column_blocks;
  int64_t total = 0;
  for (int64_t pass = 0; pass < 2; pass++) {
    int64_t sum = 0;
    for (int64_t group = 0; group < groups; group++) {
      int64_t cost = 0;
      for (int64_t column = 0; column < blocks; column++) {
        const jit::PieceEntry& entry = pieces.entries[column * groups + group];
        cost += entry.nonzeros + entry.used_columns + 2 * entry.rows + 60;
      }
      // A group belongs to the part that its middle lies in.
      if (pass == 1 && (2 * sum + cost) * parts >= 2 * total * part) return group;
      sum += cost;
    }
    total = sum;
  }
  return groups;
}

/// Operands of every sparse convolution.
enum { kX, kPacking, kResidual, kY };

/// Parameters and operand sizes of a float32 convolution whose packing has at least `header` bytes.
FILIGREE_INLINE const char* readFloatConv(const Step& step, int extra, size_t header, ConvParams* p) {
  if (const char* problem = readConvParams(step, extra, p)) return problem;
  if (!holdsSegments(step, kX, p->in, 4)) return "x is smaller than its map";
  if (!holdsSegments(step, kY, p->out, 4)) return "y is smaller than its map";
  if (p->residual && !holdsSegments(step, kResidual, p->res, 4)) return "residual is smaller than its map";
  return step.operands[kPacking].bytes < header ? "the packing is cut short" : nullptr;
}

FILIGREE_INLINE SparseMaps floatMaps(const Step& step, const ConvParams& p) {
  SparseMaps maps;
  maps.input = step.operands[kX].data + p.in_channel * kLineBytes;
  maps.output = step.operands[kY].data + p.out_channel * kLineBytes;
  maps.residual = p.residual ? step.operands[kResidual].data + p.res_channel * kLineBytes : maps.output;
  maps.input_lines = p.in.C, maps.output_lines = p.out.C, maps.residual_lines = p.residual ? p.res.C : p.out.C;
  return maps;
}

/// Nanoseconds for all tiles of a matrix of `rows` x `columns` with the given share of nonzeros, by the load slots that
/// the generated code takes: one a nonzero, one a used column.
FILIGREE_INLINE double sparseCost(double rows, double columns, double density, double tiles, double epilogue) {
  const double groups = __builtin_ceil(rows / jit::kGroupRows);
  const double group_rows = groups > 0 ? rows / groups : 0;
  const double used = columns * (1 - __builtin_pow(1 - density, group_rows));
  const double cycles = groups * ((group_rows * columns * density + used) / 2 + group_rows * epilogue + 30);
  return tiles * cycles / 3.5 * 1.3;
}

FILIGREE_INLINE double floatCost(const ConvParams& p, double density) {
  return sparseCost(static_cast<double>(p.channels_out), static_cast<double>(p.channels_in * p.taps()),
                    density / static_cast<double>(p.groups), static_cast<double>(p.tiles()), p.residual ? 1.5 : 1.0);
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
