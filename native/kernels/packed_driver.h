// Walks a stream of sparse weights over a few tiles at a time: shared by the float32 and the 8-bit kernels.
#pragma once
#include "jit/stream.h"
#include "kernels/sparse_driver.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Tiles that a row's nonzeros are applied to at once: enough sums to hide latency. (4 tiles of whole-line vectors do
/// better than 8: their sums are loaded and stored half as often.)
constexpr int kTiles = (kLanes == 16 ? 4 : 8) / kLineVectors;
/// A block's lines, copied for kTiles tiles, take two thirds of the first-level cache.
constexpr int64_t kCopyBytes = 32768;

/// Some tiles' memory: first output channel and first channel of the residual.
struct TileSet {
  uint8_t* output[kTiles];
  const uint8_t* residual[kTiles];
  int count;
};

struct StreamJob {
  const ConvParams* p;
  const SparseMaps* maps;
  const jit::StreamHeader* header;
  const uint8_t* base;
  int64_t group_begin, group_end;
  /// kTiles addresses a tap.
  const uint8_t** taps;
  /// Copied lines of a block's columns.
  uint8_t* lines;
  /// Sums of 32 bits, [rows from first_row][tiles][16].
  uint8_t* sums;
  int64_t first_row;
};

/// Scratch bytes of a job whose sums take `rows` rows.
FILIGREE_INLINE size_t streamScratch(const ConvParams& p, int64_t rows) {
  return static_cast<size_t>((p.taps() * kTiles * 8 + 63) / 64 * 64 + kCopyBytes + rows * kTiles * kLineBytes);
}

/// Divides scratch and units among a job. False where the packing is not one for this convolution.
FILIGREE_INLINE bool startJob(const Operand& packing, uint64_t magic, const ConvParams& p, const SparseMaps& maps,
                              const Range& range, StreamJob* job) {
  const auto* header = reinterpret_cast<const jit::StreamHeader*>(packing.data);
  if (packing.bytes < sizeof *header || header->magic != magic ||
      static_cast<uint64_t>(header->bytes) > packing.bytes || header->rows != p.channels_out ||
      header->columns != p.channels_in || header->taps != p.taps() || header->groups != p.groups) {
    return false;
  }
  job->p = &p, job->maps = &maps, job->header = header, job->base = packing.data;
  job->group_begin = p.split ? range.begin : 0;
  job->group_end = p.split ? range.end : header->row_groups;
  job->taps = reinterpret_cast<const uint8_t**>(range.scratch);
  job->lines = range.scratch + (p.taps() * kTiles * 8 + 63) / 64 * 64;
  job->sums = job->lines + kCopyBytes;
  job->first_row = jit::streamFirstRow(p.channels_out, job->group_begin);
  return true;
}

/// Fills the tile set and the tap addresses of tiles [first, first + count); absent tiles repeat the last.
template <int kCount>
FILIGREE_INLINE void addressTiles(const StreamJob& job, int64_t first, int count, TileSet* tiles) {
  const ConvParams& p = *job.p;
  const SparseMaps& maps = *job.maps;
  tiles->count = count;
  for (int t = 0; t < kCount; t++) {
    const TileAt at = tileAt(p.out, first + (t < count ? t : count - 1));
    const int64_t out = p.out.tile(at.group, at.z, at.ty, at.tx);
    const int64_t res = p.residual ? p.res.tile(at.group, at.z, at.ty, at.tx) : 0;
    tiles->output[t] = maps.output + out * maps.output_lines * kLineBytes;
    tiles->residual[t] = maps.residual + res * maps.residual_lines * kLineBytes;
    int64_t tap = 0;
    for (int64_t kd = 0; kd < p.kernel[0]; kd++) {
      for (int64_t kh = 0; kh < p.kernel[1]; kh++) {
        for (int64_t kw = 0; kw < p.kernel[2]; kw++, tap++) {
          job.taps[tap * kCount + t] = maps.input + tapTile(p, at, kd, kh, kw) * maps.input_lines * kLineBytes;
        }
      }
    }
  }
}

/// Calls rows(number, count, entries) for every run row by row.
template <class Row>
FILIGREE_INLINE void eachRow(const uint8_t* runs, Row rows) {
  for (;;) {
    const jit::StreamRun run = *reinterpret_cast<const jit::StreamRun*>(runs);
    if (run.rows == 0) return;
    const int32_t* numbers = reinterpret_cast<const int32_t*>(runs + sizeof run);
    const auto* entries = reinterpret_cast<const jit::StreamEntry*>(runs + sizeof run + (run.rows + 1) / 2 * 8);
    for (int32_t i = 0; i < run.rows; i++, entries += run.count) rows(numbers[i], run.count, entries);
    runs = reinterpret_cast<const uint8_t*>(entries);
  }
}

/// Block `b` of a stream: columns, their number, and the runs of every row group.
struct BlockAt {
  const jit::StreamColumn* columns;
  int64_t count;
  const int64_t* runs;
};

FILIGREE_INLINE BlockAt blockAt(const StreamJob& job, int64_t b) {
  const int64_t* words =
      reinterpret_cast<const int64_t*>(job.base + job.header->blocks) + b * (2 + job.header->row_groups);
  return {reinterpret_cast<const jit::StreamColumn*>(job.base + words[0]), words[1], words + 2};
}

/// Calls run.template operator()<tiles>(first tile, count) for tiles [begin, end) in sets of at most kTiles; `tiles` is
/// the least power of two that holds the count.
template <class Run>
FILIGREE_INLINE void eachTileSet(int64_t begin, int64_t end, Run run) {
  while (begin < end) {
    const int count = end - begin < kTiles ? static_cast<int>(end - begin) : kTiles;
    if (count > kTiles / 2) {
      run.template operator()<kTiles>(begin, count);
    } else if (kTiles >= 4 && count > 1) {
      run.template operator()<kTiles >= 4 ? 2 : 1>(begin, count);
    } else {
      run.template operator()<1>(begin, count);
    }
    begin += count;
  }
}
static_assert(kTiles <= 4, "eachTileSet knows sets of 4, 2 and 1");

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
