// Sparse convolution and linear layers over 8-bit segment maps with generated code; needs byte dot products (VNNI).
#include "kernels/byte_packer.h"
#include "kernels/byte_params.h"

#if defined(FILIGREE_ISA_avx512vnni)

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kExtra = 1;  // density

int64_t rowGroups(const ConvParams& p) { return (p.channels_out + jit::kByteGroupRows - 1) / jit::kByteGroupRows; }

/// The rule for tile blocks counts lines.
int64_t lineBlock(ConvParams p, int64_t tiles) {
  const int64_t lines = (p.channels_in + 3) / 4 * p.taps();
  p.channels_out = (p.channels_out + 3) / 4;
  return tileBlock(p, lines, tiles);
}

int64_t lineBlockLimit(ConvParams p, int64_t tiles) {
  const int64_t lines = (p.channels_in + 3) / 4 * p.taps();
  p.channels_out = (p.channels_out + 3) / 4;
  return tileBlockLimit(p, lines, tiles);
}

/// True where the code leaves activation and rounding to the caller.
bool outside(const ConvParams& p, const ByteParams& b) {
  return b.output != jit::kOutputFloat && !jit::emitsByteActivation(p.activation);
}

const char* check(const Step& step, Work* work) {
  ConvParams p;
  ByteParams b;
  if (const char* problem = readByteConv(step, kExtra, &p, &b)) return problem;
  if (step.operands[kPacking].bytes < sizeof(jit::SparseHeader)) return "the packing is cut short";
  const double density = floatParam(step, kConvScalars);
  if (!(density >= 0 && density <= 1)) return "density lies between 0 and 1";
  work->units = p.split ? rowGroups(p) : p.tiles();
  const double columns = static_cast<double>((p.channels_in + 3) / 4 * p.taps());
  work->cost = sparseCost(static_cast<double>(p.channels_out), columns, density / static_cast<double>(p.groups),
                          static_cast<double>(p.tiles()), p.residual ? 2.5 : 1.6);
  const int64_t bytes = product(product(lineBlockLimit(p, p.tiles()), tileTableWords(p)), 8);
  if (bytes < 0 || bytes > (int64_t{1} << 32)) return "the tile table is too large";
  const int64_t lines = outside(p, b) ? p.channels_out * kLineBytes : 0;
  work->scratch = static_cast<size_t>((bytes + 63) / 64 * 64 + lines);
  return nullptr;
}

/// Rounds the float lines of a piece to the output's bytes.
void finishRows(const float* lines, const jit::PieceEntry& entry, int64_t rows, const Requantize& r, uint8_t* output) {
  const int64_t end = entry.first_row + entry.rows;
  for (int64_t row = entry.first_row; row < end; row += 4) {
    F32 v[4];
    for (int k = 0; k < 4; k++) v[k] = row + k < rows ? load(lines + (row + k) * kSegmentLanes) : zero();
    storeI(reinterpret_cast<int32_t*>(output + row / 4 * kLineBytes), packQuad(v, r));
  }
}

/// Float32 outputs with an activation that the generated code does not contain.
void activateRows(const ConvParams& p, const jit::PieceEntry& entry, float* output) {
  const int64_t left = p.channels_out - entry.first_row;
  const int64_t rows = left < entry.rows ? left : entry.rows;
  applyRow(output + entry.first_row * kSegmentLanes, rows * kSegmentLanes, p.activation, p.alpha, p.beta);
}

void run(const Step& step, Range* range) {
  ConvParams p{};
  ByteParams b{};
  readByteConv(step, kExtra, &p, &b);
  const PackedPieces pieces = packedPieces(step.operands[kPacking], jit::kSparseU8Magic, p);
  if (!pieces.entries || pieces.header->output != b.output) {
    range->error = "the packing was made for another convolution";
    return;
  }
  const SparseMaps maps = byteMaps(step, p, b);
  const int64_t groups = pieces.header->row_groups;
  const int64_t tile_begin = p.split ? 0 : range->begin, tile_end = p.split ? p.tiles() : range->end;
  const int64_t group_begin = p.split ? range->begin : 0, group_end = p.split ? range->end : groups;
  const int64_t block = lineBlock(p, tile_end - tile_begin);
  uint64_t* table = reinterpret_cast<uint64_t*>(range->scratch);
  if (outside(p, b)) {
    const int64_t bytes = lineBlockLimit(p, p.tiles()) * tileTableWords(p) * 8;
    float* lines = reinterpret_cast<float*>(range->scratch + (bytes + 63) / 64 * 64);
    const Requantize r = requantizeOf(p, b);
    runPieces(
        p, maps, pieces, tile_begin, tile_end, group_begin, group_end, block, table, lines,
        [&](const jit::PieceEntry& entry, uint8_t* output) { finishRows(lines, entry, p.channels_out, r, output); });
    return;
  }
  const bool floats = b.output == jit::kOutputFloat && !jit::emitsActivation(p.activation);
  runPieces(p, maps, pieces, tile_begin, tile_end, group_begin, group_end, block, table, nullptr,
            [&](const jit::PieceEntry& entry, uint8_t* output) {
              if (floats) activateRows(p, entry, reinterpret_cast<float*>(output));
            });
}

int64_t boundary(const Step& step, int part, int parts) {
  ConvParams p{};
  ByteParams b{};
  readByteConv(step, kExtra, &p, &b);
  if (!p.split) return p.tiles() * part / parts;
  const int64_t groups = rowGroups(p);
  if (part <= 0 || part >= parts) return part <= 0 ? 0 : groups;
  const PackedPieces pieces = packedPieces(step.operands[kPacking], jit::kSparseU8Magic, p);
  return pieces.entries ? rowGroupBoundary(pieces, part, parts) : groups * part / parts;
}

size_t packedBytes(const Step& step) {
  jit::ByteSpec spec;
  return readBytePacker(step, &spec) || !jit::weightsFit(spec) ? 0 : jit::sparseU8Bytes(spec);
}

void packWeights(const Step& step, Range* range) {
  jit::ByteSpec spec;
  range->error = readBytePacker(step, &spec);
  if (range->error) return;
  const Operand& out = step.operands[kBytePacking];
  range->error = jit::weightsFit(spec) ? jit::sparseU8Generate(spec, out.data, out.bytes)
                                       : "a weight less its zero point does not fit a signed byte";
}

}  // namespace

FILIGREE_KERNEL(convSparseU8) = {"conv.segments.sparse.u8",
                                 "r:x r:packing r:residual? w:y",
                                 FILIGREE_CONV_SCALARS " f:density " FILIGREE_BYTE_SCALARS " " FILIGREE_CONV_LISTS,
                                 check,
                                 run,
                                 nullptr,
                                 boundary,
                                 false};

FILIGREE_KERNEL(packConvSparseU8) = {"pack.conv.segments.sparse.u8",
                                     FILIGREE_BYTE_PACKER_OPERANDS,
                                     FILIGREE_BYTE_PACKER_PARAMS,
                                     checkBytePacker,
                                     packWeights,
                                     packedBytes,
                                     nullptr,
                                     true};

}  // namespace FILIGREE_ISA
}  // namespace filigree

#endif  // FILIGREE_ISA_avx512vnni
