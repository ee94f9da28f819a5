// From one division of a map in segments to another: other lanes, tiles, borders and channels. Every line of the result
// is put together from the lanes of a few lines; border tiles may be written too, which saves a border step.
#include "kernels/segments_lanes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

struct Convert {
  SegmentMap from, to;
  int64_t fromLine, toLine, lines;
  int64_t fromLines, toLines;
  int64_t stepY, stepX;
  bool borders;
  int32_t fill;
};

enum { kFromChannel, kToChannel, kChannels, kBorders, kFill, kStepY, kStepX, kScalars };

/// True where `to` has every stepY-th row and stepX-th column of `from`.
FILIGREE_INLINE bool fits(const SegmentMap& from, const SegmentMap& to, int64_t stepY, int64_t stepX) {
  if (stepY < 1 || stepX < 1) return false;
  return from.images == to.images && from.D == to.D && ceilDivide(from.H, stepY) == to.H &&
         ceilDivide(from.W, stepX) == to.W;
}

FILIGREE_INLINE bool wholeQuads(int64_t channel, int64_t channels, int64_t limit) {
  return channel % 4 == 0 && (channels % 4 == 0 || channel + channels == limit);
}

const char* checkConvert(const Step& step, int64_t size, Work* work) {
  SegmentMap from, to;
  const int64_t fromChannel = intParam(step, kFromChannel), toChannel = intParam(step, kToChannel);
  const int64_t channels = intParam(step, kChannels);
  if (!readSegmentMap(listParam(step, kScalars, 0), &from)) return "segments.convert: the source is not a legal map";
  if (!readSegmentMap(listParam(step, kScalars, 1), &to)) return "segments.convert: the result is not a legal map";
  if (!fits(from, to, intParam(step, kStepY), intParam(step, kStepX))) {
    return "segments.convert: source and result have different sizes";
  }
  if (!holdsSegments(step, 0, from, size)) return "segments.convert: the source buffer is too small";
  if (!holdsSegments(step, 1, to, size)) return "segments.convert: the result buffer is too small";
  if (!channelsWithin(fromChannel, channels, from.C)) return "segments.convert: the source has fewer channels";
  if (!channelsWithin(toChannel, channels, to.C)) return "segments.convert: the result has fewer channels";
  if (size == 1 && !(wholeQuads(fromChannel, channels, from.C) && wholeQuads(toChannel, channels, to.C))) {
    return "segments.convert: channels of bytes come in fours";
  }
  work->units = segmentTiles(to);
  work->cost = static_cast<double>(work->units) * static_cast<double>(channels * size) * 32 * kMoveCost;
  work->scratch = static_cast<size_t>(to.W + 1) * sizeof(int64_t) * 2;
  return nullptr;
}

const char* checkF32(const Step& step, Work* work) { return checkConvert(step, 4, work); }
const char* checkU8(const Step& step, Work* work) { return checkConvert(step, 1, work); }

/// The lines a result line takes its lanes from: line k is `lines[k]`, lane l of the result is lane index[l] & 15 of
/// line source[l]. Line 0 is one of padding.
struct Blend {
  const int32_t* lines[kSegmentLanes + 1];
  int count;
  int32_t source[kSegmentLanes], index[kSegmentLanes];
};

/// Where column x of the result comes from: its tile's offset in a row of tiles and its lane's offset.
struct Columns {
  const int64_t *tile, *lane;
};

/// Lane by lane, what a row of result tiles takes: the first source tile of its row of tiles (-1: outside the image),
/// the lane of the row's leftmost segment, and the column of result tile 0.
struct Rows {
  int64_t tile[kSegmentLanes], lane[kSegmentLanes], column[kSegmentLanes];
};

FILIGREE_INLINE Rows rowsOf(const Convert& c, int64_t group, int64_t z, int64_t ty) {
  Rows rows;
  const SegmentMap &from = c.from, &to = c.to;
  const int64_t segments = to.SY * to.SX;
  for (int64_t lane = 0; lane < kSegmentLanes; lane++) {
    const int64_t image = group * to.lane_images + lane / segments, y = lane % segments / to.SX * to.TH + ty;
    rows.column[lane] = lane % to.SX * to.TW;
    rows.tile[lane] = -1;
    rows.lane[lane] = 0;
    if (lane >= to.lane_images * segments || image >= to.images || z < 0 || z >= to.D || y < 0 || y >= to.H) continue;
    const int64_t row = y * c.stepY, sy = row / from.TH;
    rows.tile[lane] = from.tile(image / from.lane_images, z, row - sy * from.TH, 0);
    rows.lane[lane] = (image % from.lane_images * from.SY + sy) * from.SX;
  }
  return rows;
}

FILIGREE_INLINE void blendOf(const Convert& c, const int32_t* x, const Rows& rows, Columns columns, int64_t tx,
                             Blend* blend) {
  blend->count = 1;
  for (int64_t lane = 0; lane < kSegmentLanes; lane++) {
    const int64_t column = rows.column[lane] + tx;
    blend->source[lane] = blend->index[lane] = 0;
    if (rows.tile[lane] < 0 || column < 0 || column >= c.to.W) continue;
    const int64_t tile = rows.tile[lane] + columns.tile[column];
    const int32_t* const line = x + (tile * c.fromLines + c.fromLine) * kLine;
    int k = 1;
    while (k < blend->count && blend->lines[k] != line) k++;
    blend->lines[k] = line;
    blend->count = k == blend->count ? k + 1 : blend->count;
    blend->source[lane] = k;
    blend->index[lane] = static_cast<int32_t>(rows.lane[lane] + columns.lane[column]);
  }
}

#if defined(FILIGREE_AVX512)
constexpr int kTogether = 8;

/// Lines of `sources` lines besides padding. A lane that a step does not take keeps what the steps before gave it.
template <int sources>
FILIGREE_INLINE void blendLines(const Blend& blend, int32_t* to, int64_t lines) {
  __m512i index[sources];
  const __m512i keep = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i source = _mm512_loadu_si512(blend.source), lane = _mm512_loadu_si512(blend.index);
  for (int k = 0; k < sources; k++) {
    const __mmask16 taken = _mm512_cmpeq_epi32_mask(source, _mm512_set1_epi32(k + 1));
    index[k] = _mm512_mask_or_epi32(keep, taken, lane, _mm512_set1_epi32(16));
  }
  const __m512i padding = _mm512_loadu_si512(blend.lines[0]);
  int64_t i = 0;
  // Several lines of one source at a time: the sources' tiles often map to the same cache sets.
  for (; i + kTogether <= lines; i += kTogether) {
    __m512i line[kTogether];
    for (int j = 0; j < kTogether; j++) line[j] = padding;
    FILIGREE_UNROLL
    for (int k = 0; k < sources; k++) {
      const int32_t* const from = blend.lines[k + 1] + i * kLine;
      for (int j = 0; j < kTogether; j++) {
        line[j] = _mm512_permutex2var_epi32(line[j], index[k], _mm512_loadu_si512(from + j * kLine));
      }
    }
    for (int j = 0; j < kTogether; j++) _mm512_storeu_si512(to + (i + j) * kLine, line[j]);
  }
  for (; i < lines; i++) {
    __m512i line = padding;
    FILIGREE_UNROLL
    for (int k = 0; k < sources; k++) {
      line = _mm512_permutex2var_epi32(line, index[k], _mm512_loadu_si512(blend.lines[k + 1] + i * kLine));
    }
    _mm512_storeu_si512(to + i * kLine, line);
  }
}

FILIGREE_INLINE void writeLines(const Blend& blend, int32_t* to, int64_t lines) {
  switch (blend.count - 1) {
#define SOURCES(n) \
  case n:          \
    return blendLines<n>(blend, to, lines);
    SOURCES(0)
    SOURCES(1)
    SOURCES(2)
    SOURCES(3)
    SOURCES(4)
    SOURCES(5)
    SOURCES(6)
    SOURCES(7)
    SOURCES(8)
    SOURCES(9)
    SOURCES(10)
    SOURCES(11)
    SOURCES(12)
    SOURCES(13)
    SOURCES(14)
    SOURCES(15)
    SOURCES(16)
#undef SOURCES
  }
}
#else
FILIGREE_INLINE void writeLines(const Blend& blend, int32_t* to, int64_t lines) {
  const int32_t* from[kLine];
  int64_t stride[kLine];
  for (int lane = 0; lane < kLine; lane++) {
    from[lane] = blend.lines[blend.source[lane]] + blend.index[lane];
    stride[lane] = blend.source[lane] ? kLine : 0;
  }
  for (int64_t i = 0; i < lines; i++) {
    for (int lane = 0; lane < kLine; lane++) to[i * kLine + lane] = from[lane][i * stride[lane]];
  }
}
#endif

void convertTiles(const Convert& c, const int32_t* x, int32_t* y, const Range& range) {
  int64_t* const scratch = reinterpret_cast<int64_t*>(range.scratch);
  const Columns columns = {scratch, scratch + c.to.W};
  for (int64_t px = 0; px < c.to.W; px++) {
    scratch[c.to.W + px] = px * c.stepX / c.from.TW;
    scratch[px] = px * c.stepX % c.from.TW;
  }
  int32_t padding[kLine];
  for (int lane = 0; lane < kLine; lane++) padding[lane] = c.fill;
  Blend blend;
  blend.lines[0] = padding;
  const SegmentMap& to = c.to;
  Rows rows;
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const int64_t tx = unit % to.gridX() - to.left, ty = unit / to.gridX() % to.gridY() - to.top;
    const int64_t plane = unit / (to.gridX() * to.gridY());
    const int64_t z = plane % to.gridD() - to.front, group = plane / to.gridD();
    if (unit == range.begin || tx == -to.left) rows = rowsOf(c, group, z, ty);
    const bool interior = z >= 0 && z < to.D && ty >= 0 && ty < to.TH && tx >= 0 && tx < to.TW;
    if (!interior && !c.borders) continue;
    blendOf(c, x, rows, columns, tx, &blend);
    writeLines(blend, y + (unit * c.toLines + c.toLine) * kLine, c.lines);
  }
}

FILIGREE_INLINE Convert readConvert(const Step& step, int64_t quad) {
  Convert c;
  readSegmentMap(listParam(step, kScalars, 0), &c.from);
  readSegmentMap(listParam(step, kScalars, 1), &c.to);
  c.fromLine = intParam(step, kFromChannel) / quad;
  c.toLine = intParam(step, kToChannel) / quad;
  c.lines = ceilDivide(intParam(step, kChannels), quad);
  c.stepY = intParam(step, kStepY), c.stepX = intParam(step, kStepX);
  c.fromLines = ceilDivide(c.from.C, quad);
  c.toLines = ceilDivide(c.to.C, quad);
  c.borders = intParam(step, kBorders) != 0;
  return c;
}

void runF32(const Step& step, Range* range) {
  Convert c = readConvert(step, 1);
  const float fill = static_cast<float>(floatParam(step, kFill));
  std::memcpy(&c.fill, &fill, sizeof fill);
  convertTiles(c, input<int32_t>(step, 0), output<int32_t>(step, 1), *range);
}

void runU8(const Step& step, Range* range) {
  Convert c = readConvert(step, 4);
  c.fill = static_cast<int32_t>(static_cast<uint32_t>(intParam(step, kFill) & 255) * 0x01010101u);
  convertTiles(c, input<int32_t>(step, 0), output<int32_t>(step, 1), *range);
}

}  // namespace

// Channels from_channel + i of x become channels to_channel + i of y. Lanes outside the image become `fill`; borders of
// y are written where `borders` is 1. y has every step_y-th row and step_x-th column of x.
FILIGREE_KERNEL(segmentsConvert) = {
    "segments.convert",
    "r:x w:y",
    "i:from_channel i:to_channel i:channels i:borders f:fill i:step_y i:step_x l:from l:to",
    checkF32,
    runF32,
    nullptr,
    nullptr,
    false};
FILIGREE_KERNEL(segmentsConvertU8) = {
    "segments.convert.u8",
    "r:x w:y",
    "i:from_channel i:to_channel i:channels i:borders i:fill i:step_y i:step_x l:from l:to",
    checkU8,
    runU8,
    nullptr,
    nullptr,
    false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
