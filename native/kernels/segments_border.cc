// Fills the border tiles of a map, and the lanes of all tiles that lie outside the image, for the kernels that read
// windows. A border tile holds the positions of one interior tile of the opposite edge, moved by whole segments.
#include "kernels/border_lines.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Lines of 32-bit lanes: floats, or quads of bytes.
struct Border {
  SegmentMap map;
  int64_t firstLine, lines, tileLines;
  int32_t fill;
};

const char* checkBorder(const Step& step, int64_t size, Work* work) {
  SegmentMap map;
  const int64_t channel = intParam(step, 0), channels = intParam(step, 1);
  if (!readSegmentMap(listParam(step, 3, 0), &map)) return "segments.border: not a legal map";
  if (!holdsSegments(step, 0, map, size)) return "segments.border: the buffer is too small";
  if (!channelsWithin(channel, channels, map.C)) return "segments.border: the map has fewer channels";
  if (size == 1 && (channel % 4 != 0 || (channels % 4 != 0 && channel + channels != map.C))) {
    return "segments.border: channels of bytes come in fours";
  }
  if (map.TH < 1 || map.TW < 1) return "segments.border: no tiles";
  work->units = segmentTiles(map);
  const double borders = static_cast<double>(work->units) -
                         static_cast<double>(map.groups() * map.D) * static_cast<double>(map.TH * map.TW);
  work->cost = borders * static_cast<double>(channels * size) * 32 * kMoveCost + 100;
  return nullptr;
}

const char* checkF32(const Step& step, Work* work) { return checkBorder(step, 4, work); }
const char* checkU8(const Step& step, Work* work) { return checkBorder(step, 1, work); }

FILIGREE_INLINE void fillBorder(const Border& b, int32_t* data, const Range& range) {
  const SegmentMap& map = b.map;
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const int64_t tx = unit % map.gridX() - map.left, ty = unit / map.gridX() % map.gridY() - map.top;
    const int64_t plane = unit / (map.gridX() * map.gridY());
    const int64_t z = plane % map.gridD() - map.front, group = plane / map.gridD();
    const bool interior = z >= 0 && z < map.D && ty >= 0 && ty < map.TH && tx >= 0 && tx < map.TW;
    if (interior && fullTile(map, group, ty, tx)) continue;
    const Split y = split(ty, map.TH), x = split(tx, map.TW);
    const Gather gather = gatherOf(map, group, z, y, x);
    int32_t* const to = data + (unit * b.tileLines + b.firstLine) * kLine;
    if (gather.inside == 0) {
      fillLines(to, b.lines, b.fill);
    } else if (!interior) {
      const int64_t source = map.tile(group, z, y.tile, x.tile);
      permuteLines(to, data + (source * b.tileLines + b.firstLine) * kLine, b.lines, gather, b.fill);
    } else {
      maskLines(to, b.lines, gather, b.fill);
    }
  }
}

void runF32(const Step& step, Range* range) {
  Border b;
  readSegmentMap(listParam(step, 3, 0), &b.map);
  b.firstLine = intParam(step, 0);
  b.lines = intParam(step, 1);
  b.tileLines = b.map.C;
  const float fill = static_cast<float>(floatParam(step, 2));
  std::memcpy(&b.fill, &fill, sizeof fill);
  fillBorder(b, output<int32_t>(step, 0), *range);
}

void runU8(const Step& step, Range* range) {
  Border b;
  readSegmentMap(listParam(step, 3, 0), &b.map);
  b.firstLine = intParam(step, 0) / 4;
  b.lines = ceilDivide(intParam(step, 1), 4);
  b.tileLines = ceilDivide(b.map.C, 4);
  b.fill = static_cast<int32_t>(static_cast<uint32_t>(intParam(step, 2) & 255) * 0x01010101u);
  fillBorder(b, output<int32_t>(step, 0), *range);
}

}  // namespace

FILIGREE_KERNEL(segmentsBorder) = {
    "segments.border", "rw:x", "i:channel i:channels f:fill l:map", checkF32, runF32, nullptr, nullptr, false};
FILIGREE_KERNEL(segmentsBorderU8) = {
    "segments.border.u8", "rw:x", "i:channel i:channels i:fill l:map", checkU8, runU8, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
