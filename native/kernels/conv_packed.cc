// Sparse convolution and linear layers over float32 segment maps from a packed stream, without generated code.
#include "kernels/packed_driver.h"
#include "kernels/sparse_packer.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kExtra = 1;  // density
constexpr int64_t kBlockColumns = kCopyBytes / (kTiles * kLineBytes);

/// One row under one block of columns: sums begin with the bias or continue, and end in the scratch or the output.
template <int kCount, bool kFirst, bool kLast>
FILIGREE_INLINE void addRow(const ConvParams& p, const jit::StreamEntry* entries, int count, float bias, float* sums,
                            const uint8_t* lines, const TileSet& tiles, int64_t row) {
  constexpr int kVectors = kCount * kLineVectors;
  F32 sum[kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kVectors; i++) sum[i] = kFirst ? set1(bias) : load(sums + i * kLanes);
  for (int k = 0; k < count; k++) {
    float w;
    std::memcpy(&w, &entries[k].bits, sizeof w);
    const F32 weight = set1(w);
    const float* x = reinterpret_cast<const float*>(lines + static_cast<int64_t>(entries[k].line) * kCount);
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; i++) sum[i] = fma(weight, load(x + i * kLanes), sum[i]);
  }
  if (!kLast) {
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; i++) store(sums + i * kLanes, sum[i]);
    return;
  }
#pragma GCC unroll 8
  for (int t = 0; t < kCount; t++) {
    if (t >= tiles.count) break;
    float* output = reinterpret_cast<float*>(tiles.output[t]) + row * kSegmentLanes;
    const float* residual = reinterpret_cast<const float*>(tiles.residual[t]) + row * kSegmentLanes;
#pragma GCC unroll 4
    for (int v = 0; v < kLineVectors; v++) {
      F32 value = sum[t * kLineVectors + v];
      if (p.residual) value = value + load(residual + v * kLanes);
      store(output + v * kLanes, p.activation == kActivationRelu ? max(zero(), value) : value);
    }
  }
}

template <int kCount, bool kFirst, bool kLast>
void addRows(const StreamJob& job, const uint8_t* runs, const TileSet& tiles) {
  const float* bias = reinterpret_cast<const float*>(job.base + job.header->bias);
  eachRow(runs, [&](int64_t row, int count, const jit::StreamEntry* entries) {
    float* sums = reinterpret_cast<float*>(job.sums) + (row - job.first_row) * kCount * kSegmentLanes;
    addRow<kCount, kFirst, kLast>(*job.p, entries, count, bias[row], sums, job.lines, tiles, row);
  });
}

/// Copies the lines of a block's columns for `kCount` tiles.
template <int kCount>
FILIGREE_INLINE void copyLines(const BlockAt& block, const StreamJob& job) {
  uint8_t* lines = job.lines;
  for (int64_t c = 0; c < block.count; c++) {
    const uint8_t* const* tap = job.taps + block.columns[c].tap * kCount;
    const int64_t offset = block.columns[c].line * kLineBytes;
#pragma GCC unroll 8
    for (int t = 0; t < kCount; t++, lines += kLineBytes) {
      const float* from = reinterpret_cast<const float*>(tap[t] + offset);
#pragma GCC unroll 4
      for (int v = 0; v < kLineVectors; v++) {
        store(reinterpret_cast<float*>(lines) + v * kLanes, load(from + v * kLanes));
      }
    }
  }
}

template <int kCount>
void runTiles(const StreamJob& job, int64_t first, int count) {
  const ConvParams& p = *job.p;
  TileSet tiles;
  addressTiles<kCount>(job, first, count, &tiles);
  const int64_t blocks = job.header->block_count;
  for (int64_t b = 0; b < blocks; b++) {
    const BlockAt block = blockAt(job, b);
    copyLines<kCount>(block, job);
    for (int64_t group = job.group_begin; group < job.group_end; group++) {
      const uint8_t* runs = job.base + block.runs[group];
      const bool last = b + 1 == blocks;
      if (b == 0 && last) {
        addRows<kCount, true, true>(job, runs, tiles);
      } else if (b == 0) {
        addRows<kCount, true, false>(job, runs, tiles);
      } else if (last) {
        addRows<kCount, false, true>(job, runs, tiles);
      } else {
        addRows<kCount, false, false>(job, runs, tiles);
      }
    }
  }
  if (p.activation <= kActivationRelu) return;
  const int64_t rows = jit::streamFirstRow(p.channels_out, job.group_end) - job.first_row;
  for (int t = 0; t < count; t++) {
    float* output = reinterpret_cast<float*>(tiles.output[t]) + job.first_row * kSegmentLanes;
    applyRow(output, rows * kSegmentLanes, p.activation, p.alpha, p.beta);
  }
}

const char* check(const Step& step, Work* work) {
  ConvParams p{};
  if (const char* problem = readFloatConv(step, kExtra, sizeof(jit::StreamHeader), &p)) return problem;
  const double density = floatParam(step, kConvScalars);
  if (!(density >= 0 && density <= 1)) return "density lies between 0 and 1";
  work->units = p.split ? jit::streamRowGroups(p.channels_out) : p.tiles();
  // About one and a half times the generated code, and that times the ratio of vector widths.
  work->cost = 1.5 * kLineVectors * floatCost(p, density);
  work->scratch = streamScratch(p, p.channels_out);
  return nullptr;
}

void run(const Step& step, Range* range) {
  ConvParams p{};
  readConvParams(step, kExtra, &p);
  const SparseMaps maps = floatMaps(step, p);
  StreamJob job;
  if (!startJob(step.operands[kPacking], jit::kStreamF32Magic, p, maps, *range, &job)) {
    range->error = "the packing was made for another convolution";
    return;
  }
  eachTileSet(p.split ? 0 : range->begin, p.split ? p.tiles() : range->end,
              [&]<int kCount>(int64_t first, int count) { runTiles<kCount>(job, first, count); });
}

size_t packedBytes(const Step& step) {
  jit::SparseSpec spec;
  return readPackerParams(step, &spec) ? 0 : jit::streamF32Bytes(spec, kBlockColumns);
}

void packWeights(const Step& step, Range* range) {
  jit::SparseSpec spec;
  range->error = readPackerParams(step, &spec);
  const Operand& out = step.operands[2];
  if (!range->error) range->error = jit::streamF32Write(spec, kBlockColumns, out.data, out.bytes);
}

}  // namespace

FILIGREE_KERNEL(convPackedF32) = {"conv.segments.packed.f32",
                                  "r:x r:packing r:residual? w:y",
                                  FILIGREE_CONV_SCALARS " f:density " FILIGREE_CONV_LISTS,
                                  check,
                                  run,
                                  nullptr,
                                  nullptr,
                                  false};

FILIGREE_KERNEL(packConvPackedF32) = {"pack.conv.segments.packed.f32",
                                      "r:weights r:bias? w:packing",
                                      FILIGREE_SPARSE_PACKER_PARAMS,
                                      checkPacker,
                                      packWeights,
                                      packedBytes,
                                      nullptr,
                                      false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
