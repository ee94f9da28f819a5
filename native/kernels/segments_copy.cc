// Channels of one map in segments into another of the same positions: the pieces of a concatenation that were not
// written where its result lies. Interior tiles only.
#include "kernels/segments_lanes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum { kFromChannel, kToChannel, kChannels, kToStep, kScalars };

/// Lines of 32-bit lanes: floats, or quads of bytes.
struct Copy {
  SegmentMap from, to;
  int64_t fromLine, toLine, lines, toStep;
  int64_t fromLines, toLines;
};

FILIGREE_INLINE bool wholeLines(int64_t channel, int64_t channels, int64_t limit, int64_t quad) {
  return channel % quad == 0 && (channels % quad == 0 || channel + channels == limit);
}

FILIGREE_INLINE const char* readCopy(const Step& step, int64_t quad, Copy* c) {
  const int64_t from = intParam(step, kFromChannel), to = intParam(step, kToChannel);
  const int64_t channels = intParam(step, kChannels);
  if (!readSegmentMap(listParam(step, kScalars, 0), &c->from)) return "segments.copy: not a legal map";
  if (!readSegmentMap(listParam(step, kScalars, 1), &c->to)) return "segments.copy: not a legal map";
  c->toStep = intParam(step, kToStep);
  if (c->toStep < 1 || (quad != 1 && c->toStep != 1)) return "segments.copy: such steps are not supported";
  const int64_t reach = channels < 1 ? channels : product(channels - 1, c->toStep) + 1;
  if (!channelsWithin(from, channels, c->from.C) || !channelsWithin(to, reach, c->to.C)) {
    return "segments.copy: a map has fewer channels";
  }
  if (!wholeLines(from, channels, c->from.C, quad) || !wholeLines(to, channels, c->to.C, quad)) {
    return "segments.copy: channels of bytes come in fours";
  }
  if (!sameTiles(c->from, c->to)) return "segments.copy: the maps have different tiles";
  c->fromLine = from / quad, c->toLine = to / quad;
  c->lines = ceilDivide(channels, quad);
  c->fromLines = ceilDivide(c->from.C, quad), c->toLines = ceilDivide(c->to.C, quad);
  return nullptr;
}

const char* checkCopy(const Step& step, int64_t size, Work* work) {
  Copy c = {};
  if (const char* problem = readCopy(step, 4 / size, &c)) return problem;
  if (!holdsSegments(step, 0, c.from, size) || !holdsSegments(step, 1, c.to, size)) {
    return "segments.copy: a map's buffer is too small";
  }
  work->units = product(product(c.from.groups(), c.from.D), product(c.from.TH, c.from.TW));
  if (work->units < 0) return "segments.copy: too many tiles";
  work->cost = static_cast<double>(work->units) * static_cast<double>(c.lines) * 128 * kMoveCost;
  return nullptr;
}

const char* checkF32(const Step& step, Work* work) { return checkCopy(step, 4, work); }
const char* checkU8(const Step& step, Work* work) { return checkCopy(step, 1, work); }

FILIGREE_INLINE void copyTiles(const Step& step, int64_t quad, const Range& range) {
  Copy c = {};
  readCopy(step, quad, &c);
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const int64_t tx = unit % c.to.TW, row = unit / c.to.TW, ty = row % c.to.TH, plane = row / c.to.TH;
    const int64_t group = plane / c.to.D, z = plane % c.to.D;
    const float* const from =
        input<float>(step, 0) + (c.from.tile(group, z, ty, tx) * c.fromLines + c.fromLine) * kLine;
    float* const to = output<float>(step, 1) + (c.to.tile(group, z, ty, tx) * c.toLines + c.toLine) * kLine;
    if (c.toStep == 1) {
      for (int64_t i = 0; i < c.lines * kLine; i += kLanes) store(to + i, load(from + i));
      continue;
    }
    for (int64_t line = 0; line < c.lines; line++) {
      for (int64_t i = 0; i < kLine; i += kLanes)
        store(to + line * c.toStep * kLine + i, load(from + line * kLine + i));
    }
  }
}

void runF32(const Step& step, Range* range) { copyTiles(step, 1, *range); }
void runU8(const Step& step, Range* range) { copyTiles(step, 4, *range); }

}  // namespace

// Channels from_channel + i of x become channels to_channel + i * to_step of y; y's other channels stay as they are.
// Steps of bytes are 1.
FILIGREE_KERNEL(segmentsCopy) = {
    "segments.copy", "r:x w:y", "i:from_channel i:to_channel i:channels i:to_step l:from l:to",
    checkF32,        runF32,    nullptr,
    nullptr,         false};
FILIGREE_KERNEL(segmentsCopyU8) = {"segments.copy.u8",
                                   "r:x w:y",
                                   "i:from_channel i:to_channel i:channels i:to_step l:from l:to",
                                   checkU8,
                                   runU8,
                                   nullptr,
                                   nullptr,
                                   false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
