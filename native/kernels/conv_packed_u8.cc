// Sparse convolution and linear layers over 8-bit segment maps from a packed stream, without generated code.
#include "kernels/byte_packer.h"
#include "kernels/byte_tile.h"
#include "kernels/packed_driver.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kExtra = 1;  // density
/// Without products of bytes a copied line is two: bytes 0 and 2, then 1 and 3 of every lane, as 16 bits.
constexpr bool kWhole = kByteDots || kPairDots;
constexpr int kCopies = kWhole ? 1 : 2;
/// Magnitudes of a pair of weights that products of pairs allow.
constexpr int kSafe = kPairDots ? kSafePair : 0;
constexpr int64_t kBlockColumns = kCopyBytes / (kTiles * kLineBytes * kCopies);

/// One row under one block of columns: sums begin with the bias or continue.
template <int kCount>
FILIGREE_INLINE void addRow(const jit::StreamEntry* entries, int count, I32* sum, const uint8_t* lines) {
  constexpr int kVectors = kCount * kLineVectors;
  for (int k = 0; k < count; k++) {
    const I32 weight = set1I(static_cast<int32_t>(entries[k].bits));
    const auto* x =
        reinterpret_cast<const int32_t*>(lines + static_cast<int64_t>(entries[k].line) * (kCount * kCopies));
    if (kWhole) {
#pragma GCC unroll 16
      for (int i = 0; i < kVectors; i++) sum[i] = dotSafeBytes(sum[i], loadI(x + i * kLanes), weight);
    } else {
      const I32 even = evenSigned(weight), odd = oddSigned(weight);
#pragma GCC unroll 16
      for (int i = 0; i < kVectors; i++) {
        sum[i] += dotPairs(loadI(x + i * kLanes), even);
        sum[i] += dotPairs(loadI(x + (kVectors + i) * kLanes), odd);
      }
    }
  }
}

template <int kCount>
void addRows(const StreamJob& job, const uint8_t* runs, bool first) {
  constexpr int kVectors = kCount * kLineVectors;
  const int32_t* bias = reinterpret_cast<const int32_t*>(job.base + job.header->bias);
  eachRow(runs, [&](int64_t row, int count, const jit::StreamEntry* entries) {
    int32_t* sums = reinterpret_cast<int32_t*>(job.sums) + (row - job.first_row) * kCount * kSegmentLanes;
    I32 sum[kVectors];
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; i++) sum[i] = first ? set1I(bias[row]) : loadI(sums + i * kLanes);
    addRow<kCount>(entries, count, sum, job.lines);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; i++) storeI(sums + i * kLanes, sum[i]);
  });
}

/// Copies the lines of a block's columns for `kCount` tiles as unsigned bytes; `flip` inverts sign bits.
template <int kCount>
FILIGREE_INLINE void copyLines(const BlockAt& block, const StreamJob& job, int32_t flip) {
  auto* lines = reinterpret_cast<int32_t*>(job.lines);
  for (int64_t c = 0; c < block.count; c++, lines += kCount * kCopies * kSegmentLanes) {
    const uint8_t* const* tap = job.taps + block.columns[c].tap * kCount;
    const int64_t offset = block.columns[c].line * kLineBytes;
#pragma GCC unroll 8
    for (int t = 0; t < kCount; t++) {
      const int32_t* from = reinterpret_cast<const int32_t*>(tap[t] + offset);
#pragma GCC unroll 4
      for (int v = 0; v < kLineVectors; v++) {
        const I32 x = loadI(from + v * kLanes) ^ flip;
        int32_t* to = lines + t * kSegmentLanes + v * kLanes;
        storeI(to, kWhole ? x : evenBytes(x));
        if (!kWhole) storeI(to + kCount * kSegmentLanes, oddBytes(x));
      }
    }
  }
}

/// Rounds and stores the finished sums of the job's rows.
FILIGREE_INLINE void finishTiles(const StreamJob& job, const ByteEnd& end, const TileSet& tiles, int64_t stride) {
  const int64_t first = job.first_row, rows = jit::streamFirstRow(job.p->channels_out, job.group_end) - first;
  const float* scale = reinterpret_cast<const float*>(job.base + job.header->scale) + first;
  const int64_t from = end.bytes.output == jit::kOutputFloat ? first : first / 4;
  for (int t = 0; t < tiles.count; t++) {
    const int32_t* sums = reinterpret_cast<const int32_t*>(job.sums) + t * kSegmentLanes;
    uint8_t* y = tiles.output[t] + from * kLineBytes;
    const uint8_t* residual = job.p->residual ? tiles.residual[t] + from * kLineBytes : nullptr;
    if (end.bytes.output == jit::kOutputFloat) {
      finishFloats(end, rows, sums, stride, scale, reinterpret_cast<float*>(y),
                   reinterpret_cast<const float*>(residual));
    } else {
      finishBytes(end, (rows + 3) / 4 * 4, sums, stride, scale, reinterpret_cast<int32_t*>(y),
                  reinterpret_cast<const int32_t*>(residual));
    }
  }
}

template <int kCount>
void runTiles(const StreamJob& job, const ByteEnd& end, int64_t first, int count) {
  TileSet tiles;
  addressTiles<kCount>(job, first, count, &tiles);
  const int32_t flip = end.bytes.input_signed ? static_cast<int32_t>(0x80808080) : 0;
  for (int64_t b = 0; b < job.header->block_count; b++) {
    const BlockAt block = blockAt(job, b);
    copyLines<kCount>(block, job, flip);
    for (int64_t group = job.group_begin; group < job.group_end; group++) {
      addRows<kCount>(job, job.base + block.runs[group], b == 0);
    }
  }
  finishTiles(job, end, tiles, kCount * kSegmentLanes);
}

const char* check(const Step& step, Work* work) {
  ConvParams p;
  ByteParams b;
  if (const char* problem = readByteConv(step, kExtra, &p, &b)) return problem;
  if (step.operands[kPacking].bytes < sizeof(jit::StreamHeader)) return "the packing is cut short";
  const double density = floatParam(step, kConvScalars);
  if (!(density >= 0 && density <= 1)) return "density lies between 0 and 1";
  work->units = p.split ? jit::streamRowGroups(p.channels_out) : p.tiles();
  const double columns = static_cast<double>((p.channels_in + 3) / 4 * p.taps());
  work->cost = 1.5 * kLineVectors * (kByteDots ? 1 : 3) *
               sparseCost(static_cast<double>(p.channels_out), columns, density / static_cast<double>(p.groups),
                          static_cast<double>(p.tiles()), p.residual ? 2.5 : 1.6);
  work->scratch = streamScratch(p, (p.channels_out + 3) / 4 * 4);
  return nullptr;
}

void run(const Step& step, Range* range) {
  ConvParams p{};
  ByteParams b{};
  readByteConv(step, kExtra, &p, &b);
  const SparseMaps maps = byteMaps(step, p, b);
  StreamJob job;
  if (!startJob(step.operands[kPacking], jit::kStreamU8Magic, p, maps, *range, &job)) {
    range->error = "the packing was made for another convolution";
    return;
  }
  const ByteEnd end = byteEndOf(p, b);
  eachTileSet(p.split ? 0 : range->begin, p.split ? p.tiles() : range->end,
              [&]<int kCount>(int64_t first, int count) { runTiles<kCount>(job, end, first, count); });
}

size_t packedBytes(const Step& step) {
  jit::ByteSpec spec;
  return readBytePacker(step, &spec) || !jit::weightsFit(spec) ? 0 : jit::streamU8Bytes(spec, kBlockColumns, kSafe);
}

void packWeights(const Step& step, Range* range) {
  jit::ByteSpec spec;
  range->error = readBytePacker(step, &spec);
  if (range->error) return;
  const Operand& out = step.operands[kBytePacking];
  range->error = jit::weightsFit(spec) ? jit::streamU8Write(spec, kBlockColumns, kSafe, out.data, out.bytes)
                                       : "a weight less its zero point does not fit a signed byte";
}

}  // namespace

FILIGREE_KERNEL(convPackedU8) = {"conv.segments.packed.u8",
                                 "r:x r:packing r:residual? w:y",
                                 FILIGREE_CONV_SCALARS " f:density " FILIGREE_BYTE_SCALARS " " FILIGREE_CONV_LISTS,
                                 check,
                                 run,
                                 nullptr,
                                 nullptr,
                                 false};

FILIGREE_KERNEL(packConvPackedU8) = {"pack.conv.segments.packed.u8",
                                     FILIGREE_BYTE_PACKER_OPERANDS,
                                     FILIGREE_BYTE_PACKER_PARAMS,
                                     checkBytePacker,
                                     packWeights,
                                     packedBytes,
                                     nullptr,
                                     false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
