// Between row-major tensors of bytes and 8-bit segment maps, as segments_transfer.cc for float32.
#include "kernels/byte_params.h"
#include "kernels/segments_lanes.h"
#include "simd/line.h"
#include "simd/narrow.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Quads of one unit.
constexpr int64_t kQuads = 16;

struct Transfer {
  SegmentMap map;
  int64_t channel, channels;
  /// Bytes between positions and between channels of the tensor.
  int64_t position, plane, image;
};

FILIGREE_INLINE const char* readTransfer(const Step& step, bool rows, Transfer* t) {
  if (!readSegmentMap(listParam(step, 2, 0), &t->map)) return "segments: not a legal map";
  t->channel = intParam(step, 0);
  t->channels = intParam(step, 1);
  if (!channelsWithin(t->channel, t->channels, t->map.C)) return "segments: the map has fewer channels";
  if (!wholeQuads(t->channel, t->channels, t->map)) return "segments: channels of bytes come in fours";
  const int64_t positions = imagePositions(t->map);
  t->position = rows ? t->channels : 1;
  t->plane = rows ? 1 : positions;
  t->image = product(positions, t->channels);
  return t->image < 0 ? "segments: too many positions" : nullptr;
}

/// `tensor` and `lines` are the operands' numbers.
FILIGREE_INLINE const char* checkTransfer(const Step& step, int tensor, int lines, bool rows, Work* work) {
  Transfer t = {};
  if (const char* problem = readTransfer(step, rows, &t)) return problem;
  if (!holdsSegments(step, lines, t.map, 1)) return "segments: the map's buffer is too small";
  const int64_t elements = product(t.map.images, t.image);
  if (!holds(step, tensor, elements, 1)) return "segments: the row-major buffer is too small";
  const int64_t tiles = product(product(t.map.groups(), t.map.D), product(t.map.TH, t.map.TW));
  work->units = product(tiles, ceilDivide(ceilDivide(t.channels, 4), kQuads));
  work->cost = static_cast<double>(elements);
  return work->units < 0 ? "segments: too many tiles" : nullptr;
}

const char* checkFromPlanes(const Step& step, Work* work) { return checkTransfer(step, 0, 1, false, work); }
const char* checkToPlanes(const Step& step, Work* work) { return checkTransfer(step, 1, 0, false, work); }
const char* checkFromRows(const Step& step, Work* work) { return checkTransfer(step, 0, 1, true, work); }
const char* checkToRows(const Step& step, Work* work) { return checkTransfer(step, 1, 0, true, work); }

/// One quad of a line: channels [0, count) of it are `plane` bytes apart in the tensor.
template <bool toLines, int count>
FILIGREE_INLINE void moveQuad(uint8_t* quad, uint8_t* tensor, int64_t plane) {
  for (int i = 0; i < count; i++) {
    if (toLines) {
      quad[i] = tensor[i * plane];
    } else {
      tensor[i * plane] = quad[i];
    }
  }
}

/// Lanes outside the image become 0, channels past the last of the map hold anything.
template <bool toLines>
FILIGREE_INLINE void moveLine(const Transfer& t, uint8_t* line, uint8_t* const* tensor, int64_t channel) {
  const int64_t left = t.channels - channel;
  for (int lane = 0; lane < kLine; lane++) {
    uint8_t* const quad = line + lane * 4;
    if (!tensor[lane]) {
      if (toLines) std::memset(quad, 0, 4);
      continue;
    }
    uint8_t* const at = tensor[lane] + channel * t.plane;
    if (left >= 4 && t.plane == 1) {
      std::memcpy(toLines ? quad : at, toLines ? at : quad, 4);
    } else if (left >= 4) {
      moveQuad<toLines, 4>(quad, at, t.plane);
    } else {
      for (int64_t i = 0; i < left; i++) moveQuad<toLines, 1>(quad + i, at + i * t.plane, 0);
    }
  }
}

/// Fewer tiles of a row are moved one by one.
constexpr int64_t kFewTiles = 4;

/// Up to kLanes tiles one after the other.
struct TileRun {
  /// The first tile's line of the quad, and bytes from a tile to the next.
  uint8_t* line;
  int64_t stride, count;
  /// The lanes' first positions and how many of the run they have.
  uint8_t* const* tensor;
  const int64_t* positions;
};

/// `count` bytes, then zeros.
FILIGREE_INLINE I32 loadBytes(const uint8_t* from, int64_t count) {
  if (count >= kLanes) return widen(from);
  uint8_t bytes[kLanes] = {};
  for (int64_t i = 0; i < count; i++) bytes[i] = from[i];
  return widen(bytes);
}

FILIGREE_INLINE void storeBytes(uint8_t* to, I32 values, int64_t count) {
  if (count >= kLanes) return narrow(to, values);
  uint8_t bytes[kLanes];
  narrow(bytes, values);
  for (int64_t i = 0; i < count; i++) to[i] = bytes[i];
}

FILIGREE_INLINE void turn(I32* words) {
  F32 rows[kLanes];
  std::memcpy(rows, words, sizeof rows);
  transpose(rows);
  std::memcpy(words, rows, sizeof rows);
}

/// A quad of planes: positions of a lane, which lie together, meet lanes of a tile, which lie together, in a transpose.
template <bool toLines>
FILIGREE_INLINE void moveRun(const Transfer& t, const TileRun& run, int64_t channel) {
  const int64_t planes = least(t.channels - channel, 4);
  for (int first = 0; first < kLine; first += kLanes) {
    I32 words[kLanes] = {};
    uint8_t* const line = run.line + first * 4;
    if (!toLines) {
      for (int64_t k = 0; k < run.count; k++) std::memcpy(&words[k], line + k * run.stride, sizeof words[k]);
      turn(words);
    }
    for (int lane = 0; lane < kLanes; lane++) {
      const int64_t positions = run.positions[first + lane];
      for (int64_t i = 0; i < planes && positions > 0; i++) {
        uint8_t* const at = run.tensor[first + lane] + (channel + i) * t.plane;
        if (toLines) {
          words[lane] |= loadBytes(at, positions) << static_cast<int32_t>(8 * i);
        } else {
          storeBytes(at, words[lane] >> static_cast<int32_t>(8 * i), positions);
        }
      }
    }
    if (toLines) {
      turn(words);
      for (int64_t k = 0; k < run.count; k++) std::memcpy(line + k * run.stride, &words[k], sizeof words[k]);
    }
  }
}

/// kLanes quads of a line, whose channels lie together in the tensor: whole vectors of a row, not four bytes of it.
template <bool toLines>
FILIGREE_INLINE void moveBlock(uint8_t* line, uint8_t* const* tensor, int64_t channel) {
  for (int first = 0; first < kLine; first += kLanes) {
    I32 words[kLanes];
    for (int i = 0; i < kLanes; i++) {
      const uint8_t* from = toLines ? tensor[first + i] : line + i * 64 + first * 4;
      if (from) std::memcpy(&words[i], toLines ? from + channel : from, sizeof words[i]);
      if (!from) words[i] = I32{};
    }
    turn(words);
    for (int i = 0; i < kLanes; i++) {
      uint8_t* to = toLines ? line + i * 64 + first * 4 : tensor[first + i];
      if (to) std::memcpy(toLines ? to : to + channel, &words[i], sizeof words[i]);
    }
  }
}

/// Quads [first, last) of `count` tiles of a row from tx on.
template <bool toLines>
FILIGREE_INLINE void moveTiles(const Transfer& t, uint8_t* tensor, const LaneRuns& runs, uint8_t* tile, int64_t tx,
                               int64_t count, int64_t first, int64_t last) {
  uint8_t* at[kLine];
  int64_t positions[kLine];
  for (int lane = 0; lane < kLine; lane++) {
    const int64_t offset = runs.image[lane] * t.image + (runs.start[lane] + tx) * t.position;
    positions[lane] = least(runs.count[lane] - tx, count);
    at[lane] = positions[lane] > 0 ? tensor + offset : nullptr;
  }
  int64_t quad = first;
  for (; t.plane == 1 && quad + kLanes <= last && (quad + kLanes) * 4 <= t.channels; quad += kLanes) {
    moveBlock<toLines>(tile + quad * 64, at, quad * 4);
  }
  for (; quad < last; quad++) {
    if (count == 1) {
      moveLine<toLines>(t, tile + quad * 64, at, quad * 4);
    } else {
      moveRun<toLines>(t, {tile + quad * 64, ceilDivide(t.map.C, 4) * 64, count, at, positions}, quad * 4);
    }
  }
}

template <bool toLines>
FILIGREE_INLINE void moveUnits(const Transfer& t, uint8_t* tensor, uint8_t* lines, const Range& range) {
  const SegmentMap& map = t.map;
  const int64_t quads = ceilDivide(t.channels, 4), blocks = ceilDivide(quads, kQuads);
  LaneRuns runs;
  int64_t known = -1;
  for (int64_t unit = range.begin; unit < range.end;) {
    const int64_t tx = unit % map.TW, first = unit / map.TW % blocks * kQuads, row = unit / map.TW / blocks;
    const int64_t ty = row % map.TH, z = row / map.TH % map.D, group = row / (map.TH * map.D);
    if (row != known) runs = laneRuns(map, group, z, ty);
    known = row;
    uint8_t* const tile = lines + (map.tile(group, z, ty, tx) * ceilDivide(map.C, 4) + t.channel / 4) * 64;
    const int64_t left = least(least(range.end - unit, map.TW - tx), kLanes);
    const int64_t count = t.position == 1 && t.plane != 1 && left >= kFewTiles ? left : 1;
    moveTiles<toLines>(t, tensor, runs, tile, tx, count, first, least(first + kQuads, quads));
    unit += count;
  }
}

template <bool toLines, bool rows>
void runTransfer(const Step& step, Range* range) {
  Transfer t = {};
  readTransfer(step, rows, &t);
  moveUnits<toLines>(t, output<uint8_t>(step, toLines ? 0 : 1), output<uint8_t>(step, toLines ? 1 : 0), *range);
}

constexpr const char* kOperands = "r:x w:y";
constexpr const char* kParams = "i:channel i:channels l:map";

}  // namespace

FILIGREE_KERNEL(segmentsFromPlanesU8) = {"segments.from_planes.u8", kOperands, kParams, checkFromPlanes,
                                         runTransfer<true, false>,  nullptr,   nullptr, false};
FILIGREE_KERNEL(segmentsToPlanesU8) = {"segments.to_planes.u8",   kOperands, kParams, checkToPlanes,
                                       runTransfer<false, false>, nullptr,   nullptr, false};
FILIGREE_KERNEL(segmentsFromRowsU8) = {"segments.from_rows.u8", kOperands, kParams, checkFromRows,
                                       runTransfer<true, true>, nullptr,   nullptr, false};
FILIGREE_KERNEL(segmentsToRowsU8) = {"segments.to_rows.u8",    kOperands, kParams, checkToRows,
                                     runTransfer<false, true>, nullptr,   nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
