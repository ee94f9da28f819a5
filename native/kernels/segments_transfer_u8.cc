// Between row-major tensors of bytes and 8-bit segment maps, as segments_transfer.cc for float32.
#include "kernels/byte_params.h"
#include "kernels/segments_lanes.h"
#include "simd/line.h"

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

template <bool toLines>
FILIGREE_INLINE void moveTiles(const Transfer& t, uint8_t* tensor, uint8_t* lines, const Range& range) {
  const SegmentMap& map = t.map;
  const int64_t quads = ceilDivide(t.channels, 4), blocks = ceilDivide(quads, kQuads);
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const int64_t first = unit % blocks * kQuads, tx = unit / blocks % map.TW, row = unit / blocks / map.TW;
    const int64_t ty = row % map.TH, z = row / map.TH % map.D, group = row / (map.TH * map.D);
    const LaneRuns runs = laneRuns(map, group, z, ty);
    uint8_t* at[kLine];
    for (int lane = 0; lane < kLine; lane++) {
      const int64_t offset = runs.image[lane] * t.image + (runs.start[lane] + tx) * t.position;
      at[lane] = tx < runs.count[lane] ? tensor + offset : nullptr;
    }
    uint8_t* const tile = lines + (map.tile(group, z, ty, tx) * ceilDivide(map.C, 4) + t.channel / 4) * 64;
    for (int64_t quad = first; quad < least(first + kQuads, quads); quad++) {
      moveLine<toLines>(t, tile + quad * 64, at, quad * 4);
    }
  }
}

template <bool toLines, bool rows>
void runTransfer(const Step& step, Range* range) {
  Transfer t = {};
  readTransfer(step, rows, &t);
  moveTiles<toLines>(t, output<uint8_t>(step, toLines ? 0 : 1), output<uint8_t>(step, toLines ? 1 : 0), *range);
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
