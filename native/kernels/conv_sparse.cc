// Sparse convolution and linear layers over float32 segment maps with generated code; AVX-512 only.
#include "kernels/sparse_driver.h"
#include "kernels/sparse_packer.h"

#if defined(FILIGREE_AVX512)

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kExtra = 1;  // density

int64_t columnLines(const ConvParams& p) { return blockLines(p.channels_in, p.taps(), p.groups); }

const char* check(const Step& step, Work* work) {
  ConvParams p{};
  if (const char* problem = readFloatConv(step, kExtra, sizeof(jit::SparseHeader), &p)) return problem;
  const double density = floatParam(step, kConvScalars);
  if (!(density >= 0 && density <= 1)) return "density lies between 0 and 1";
  const int64_t groups = (p.channels_out + jit::kGroupRows - 1) / jit::kGroupRows;
  work->units = p.split ? groups : p.tiles();
  work->cost = floatCost(p, density);
  const int64_t block = tileBlockLimit(p, columnLines(p), p.tiles());
  const int64_t bytes = product(product(block, tileTableWords(p)), 8);
  if (bytes < 0 || bytes > (int64_t{1} << 32)) return "the tile table is too large";
  work->scratch = static_cast<size_t>(bytes);
  return nullptr;
}

void run(const Step& step, Range* range) {
  ConvParams p{};
  readConvParams(step, kExtra, &p);
  const PackedPieces pieces = packedPieces(step.operands[kPacking], jit::kSparseF32Magic, p);
  if (!pieces.entries) {
    range->error = "the packing was made for another convolution";
    return;
  }
  const SparseMaps maps = floatMaps(step, p);
  const int64_t groups = pieces.header->row_groups;
  const int64_t tile_begin = p.split ? 0 : range->begin, tile_end = p.split ? p.tiles() : range->end;
  const int64_t group_begin = p.split ? range->begin : 0, group_end = p.split ? range->end : groups;
  const int64_t block = tileBlock(p, columnLines(p), tile_end - tile_begin);
  uint64_t* table = reinterpret_cast<uint64_t*>(range->scratch);
  const bool outside = !jit::emitsActivation(p.activation);
  runPieces(p, maps, pieces, tile_begin, tile_end, group_begin, group_end, block, table, nullptr,
            [&](const jit::PieceEntry& entry, uint8_t* output) {
              if (!outside) return;
              float* rows = reinterpret_cast<float*>(output) + entry.first_row * kSegmentLanes;
              applyRow(rows, int64_t{entry.rows} * kSegmentLanes, p.activation, p.alpha, p.beta);
            });
}

int64_t boundary(const Step& step, int part, int parts) {
  ConvParams p{};
  readConvParams(step, kExtra, &p);
  if (!p.split) return p.tiles() * part / parts;
  const int64_t groups = (p.channels_out + jit::kGroupRows - 1) / jit::kGroupRows;
  if (part <= 0 || part >= parts) return part <= 0 ? 0 : groups;
  const PackedPieces pieces = packedPieces(step.operands[kPacking], jit::kSparseF32Magic, p);
  return pieces.entries ? rowGroupBoundary(pieces, part, parts) : groups * part / parts;
}

size_t packedBytes(const Step& step) {
  jit::SparseSpec spec;
  return readPackerParams(step, &spec) ? 0 : jit::sparseF32Bytes(spec);
}

void packWeights(const Step& step, Range* range) {
  jit::SparseSpec spec;
  range->error = readPackerParams(step, &spec);
  const Operand& out = step.operands[2];
  if (!range->error) range->error = jit::sparseF32Generate(spec, out.data, out.bytes);
}

}  // namespace

FILIGREE_KERNEL(convSparseF32) = {"conv.segments.sparse.f32",
                                  "r:x r:packing r:residual? w:y",
                                  FILIGREE_CONV_SCALARS " f:density " FILIGREE_CONV_LISTS,
                                  check,
                                  run,
                                  nullptr,
                                  boundary,
                                  false};

FILIGREE_KERNEL(packConvSparseF32) = {"pack.conv.segments.sparse.f32",
                                      "r:weights r:bias? w:packing",
                                      FILIGREE_SPARSE_PACKER_PARAMS,
                                      checkPacker,
                                      packWeights,
                                      packedBytes,
                                      nullptr,
                                      true};

}  // namespace FILIGREE_ISA
}  // namespace filigree

#endif  // FILIGREE_AVX512
