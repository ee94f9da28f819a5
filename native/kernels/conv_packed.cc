// Sparse convolution and linear layers over float32 segment maps from a packed stream, without generated code.
#include "jit/stream.h"
#include "kernels/sparse_packer.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kExtra = 1;  // density
enum { kX, kPacking, kResidual, kY };

/// Vectors of a line, and tiles that a row's nonzeros are applied to at once: half of the registers hold sums.
constexpr int kLineVectors = kSegmentLanes / kLanes;
constexpr int kTiles = (kLanes == 16 ? 4 : 8) / kLineVectors;
/// (4 tiles of whole-line vectors do better than 8: their sums are loaded and stored half as often.)
/// Columns of a block: their copied lines take two thirds of the first-level cache.
constexpr int64_t kBlockColumns = 32768 / (kTiles * kLineBytes);

/// Some tiles' memory: first output channel and first channel of the residual.
struct TileSet {
  float* output[8];
  const float* residual[8];
  int count;
};

/// Where a thread's sums and copied lines are.
struct Workspace {
  uint8_t* lines;  // [kBlockColumns][tiles][16] float
  float* sums;     // [rows from first_row][tiles][16]
  int64_t first_row;
};

/// One row under one block of columns: sums begin with the bias or continue, and end in the workspace or the output.
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
#pragma GCC unroll 4
    for (int v = 0; v < kLineVectors; v++) {
      const int64_t at = row * kSegmentLanes + v * kLanes;
      F32 value = sum[t * kLineVectors + v];
      if (p.residual) value = value + load(tiles.residual[t] + at);
      store(tiles.output[t] + at, p.activation == kActivationRelu ? max(zero(), value) : value);
    }
  }
}

template <int kCount, bool kFirst, bool kLast>
void addRows(const ConvParams& p, const uint8_t* runs, const float* bias, const Workspace& space,
             const TileSet& tiles) {
  for (;;) {
    const jit::StreamRun run = *reinterpret_cast<const jit::StreamRun*>(runs);
    if (run.rows == 0) return;
    const int32_t* rows = reinterpret_cast<const int32_t*>(runs + sizeof run);
    const int64_t numbers = (run.rows + 1) / 2 * 8;
    const auto* entries = reinterpret_cast<const jit::StreamEntry*>(runs + sizeof run + numbers);
    for (int32_t i = 0; i < run.rows; i++, entries += run.count) {
      const int64_t row = rows[i];
      float* sums = space.sums + (row - space.first_row) * kCount * kSegmentLanes;
      addRow<kCount, kFirst, kLast>(p, entries, run.count, bias[row], sums, space.lines, tiles, row);
    }
    runs = reinterpret_cast<const uint8_t*>(entries);
  }
}

/// Copies the lines of a block's columns for `kCount` tiles; `taps` has kCount addresses a tap.
template <int kCount>
FILIGREE_INLINE void copyLines(const jit::StreamColumn* columns, int64_t count, const uint8_t* const* taps,
                               uint8_t* lines) {
  for (int64_t c = 0; c < count; c++) {
    const uint8_t* const* tap = taps + columns[c].tap * kCount;
    const int64_t offset = columns[c].line * kLineBytes;
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

struct Job {
  const ConvParams* p;
  const SparseMaps* maps;
  const jit::StreamHeader* header;
  const uint8_t* base;
  int64_t group_begin, group_end;
};

/// Fills the tile set and the tap addresses of tiles [first, first + count); absent tiles repeat the last.
template <int kCount>
FILIGREE_INLINE void addressTiles(const Job& job, int64_t first, int count, TileSet* tiles, const uint8_t** taps) {
  const ConvParams& p = *job.p;
  const SparseMaps& maps = *job.maps;
  tiles->count = count;
  for (int t = 0; t < kCount; t++) {
    const TileAt at = tileAt(p.out, first + (t < count ? t : count - 1));
    const int64_t out = p.out.tile(at.group, at.z, at.ty, at.tx);
    const int64_t res = p.residual ? p.res.tile(at.group, at.z, at.ty, at.tx) : 0;
    tiles->output[t] = reinterpret_cast<float*>(maps.output + out * maps.output_lines * kLineBytes);
    tiles->residual[t] = reinterpret_cast<const float*>(maps.residual + res * maps.residual_lines * kLineBytes);
    int64_t tap = 0;
    for (int64_t kd = 0; kd < p.kernel[0]; kd++) {
      for (int64_t kh = 0; kh < p.kernel[1]; kh++) {
        for (int64_t kw = 0; kw < p.kernel[2]; kw++, tap++) {
          taps[tap * kCount + t] = maps.input + tapTile(p, at, kd, kh, kw) * maps.input_lines * kLineBytes;
        }
      }
    }
  }
}

template <int kCount>
void runTiles(const Job& job, int64_t first, int count, const Workspace& space, const uint8_t** taps) {
  const jit::StreamHeader& header = *job.header;
  TileSet tiles;
  addressTiles<kCount>(job, first, count, &tiles, taps);
  const float* bias = reinterpret_cast<const float*>(job.base + header.bias);
  const int64_t words = 2 + header.row_groups;
  const int64_t* block = reinterpret_cast<const int64_t*>(job.base + header.blocks);
  for (int64_t b = 0; b < header.block_count; b++, block += words) {
    copyLines<kCount>(reinterpret_cast<const jit::StreamColumn*>(job.base + block[0]), block[1], taps, space.lines);
    for (int64_t group = job.group_begin; group < job.group_end; group++) {
      const uint8_t* runs = job.base + block[2 + group];
      const bool last = b + 1 == header.block_count;
      if (b == 0 && last) {
        addRows<kCount, true, true>(*job.p, runs, bias, space, tiles);
      } else if (b == 0) {
        addRows<kCount, true, false>(*job.p, runs, bias, space, tiles);
      } else if (last) {
        addRows<kCount, false, true>(*job.p, runs, bias, space, tiles);
      } else {
        addRows<kCount, false, false>(*job.p, runs, bias, space, tiles);
      }
    }
  }
  if (job.p->activation <= kActivationRelu) return;
  const int64_t begin = jit::streamFirstRow(header.rows, job.group_begin);
  const int64_t rows = jit::streamFirstRow(header.rows, job.group_end) - begin;
  for (int t = 0; t < count; t++) {
    applyRow(tiles.output[t] + begin * kSegmentLanes, rows * kSegmentLanes, job.p->activation, job.p->alpha,
             job.p->beta);
  }
}

const char* readParams(const Step& step, ConvParams* p) {
  if (const char* problem = readConvParams(step, kExtra, p)) return problem;
  if (!holdsSegments(step, kX, p->in, 4)) return "x is smaller than its map";
  if (!holdsSegments(step, kY, p->out, 4)) return "y is smaller than its map";
  if (p->residual && !holdsSegments(step, kResidual, p->res, 4)) return "residual is smaller than its map";
  if (step.operands[kPacking].bytes < sizeof(jit::StreamHeader)) return "the packing is cut short";
  return nullptr;
}

int64_t tapBytes(const ConvParams& p) { return (p.taps() * kTiles * 8 + 63) / 64 * 64; }

const char* check(const Step& step, Work* work) {
  ConvParams p;
  if (const char* problem = readParams(step, &p)) return problem;
  const double density = floatParam(step, kConvScalars);
  if (!(density >= 0 && density <= 1)) return "density lies between 0 and 1";
  work->units = p.split ? jit::streamRowGroups(p.channels_out) : p.tiles();
  const double columns = static_cast<double>(p.channels_in * p.taps());
  // About one and a half times the generated code, and that times the ratio of vector widths.
  work->cost = 1.5 * kLineVectors *
               sparseCost(static_cast<double>(p.channels_out), columns, density / static_cast<double>(p.groups),
                          static_cast<double>(p.tiles()), p.residual ? 1.5 : 1.0);
  work->scratch = static_cast<size_t>(tapBytes(p) + (kBlockColumns + p.channels_out) * kTiles * kLineBytes);
  return nullptr;
}

void run(const Step& step, Range* range) {
  ConvParams p;
  readParams(step, &p);
  const Operand& packing = step.operands[kPacking];
  const auto& header = *reinterpret_cast<const jit::StreamHeader*>(packing.data);
  if (header.magic != jit::kStreamF32Magic || static_cast<uint64_t>(header.bytes) > packing.bytes ||
      header.rows != p.channels_out || header.columns != p.channels_in || header.taps != p.taps() ||
      header.groups != p.groups) {
    range->error = "the packing was made for another convolution";
    return;
  }
  SparseMaps maps;
  maps.input = step.operands[kX].data + p.in_channel * kLineBytes;
  maps.output = step.operands[kY].data + p.out_channel * kLineBytes;
  maps.residual = p.residual ? step.operands[kResidual].data + p.res_channel * kLineBytes : maps.output;
  maps.input_lines = p.in.C, maps.output_lines = p.out.C, maps.residual_lines = p.residual ? p.res.C : p.out.C;
  Job job = {&p, &maps, &header, packing.data, 0, header.row_groups};
  if (p.split) job.group_begin = range->begin, job.group_end = range->end;
  const int64_t end = p.split ? p.tiles() : range->end;
  const uint8_t** taps = reinterpret_cast<const uint8_t**>(range->scratch);
  Workspace space;
  space.lines = range->scratch + tapBytes(p);
  space.sums = reinterpret_cast<float*>(space.lines + kBlockColumns * kTiles * kLineBytes);
  space.first_row = jit::streamFirstRow(p.channels_out, job.group_begin);
  for (int64_t tile = p.split ? 0 : range->begin; tile < end;) {
    const int64_t left = end - tile;
    const int count = left < kTiles ? static_cast<int>(left) : kTiles;
    if (count > kTiles / 2) {
      runTiles<kTiles>(job, tile, count, space, taps);
    } else if (kTiles >= 8 && count > 2) {
      runTiles<kTiles >= 8 ? 4 : 1>(job, tile, count, space, taps);
    } else if (kTiles >= 4 && count > 1) {
      runTiles<kTiles >= 4 ? 2 : 1>(job, tile, count, space, taps);
    } else {
      runTiles<1>(job, tile, count, space, taps);
    }
    tile += count;
  }
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
