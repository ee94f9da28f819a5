// Between float32 and 8-bit segment maps with one scale and zero point. Interior tiles only.
#include "kernels/byte_tile.h"
#include "kernels/segments_lanes.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kScalars = 6;

/// Maps and channels; floats are one side, bytes the other.
struct Conversion {
  SegmentMap x, y;
  int64_t xChannel, yChannel, channels;
  bool is_signed;
  int64_t zero_point;
  float scale;
};

FILIGREE_INLINE const char* readConversion(const Step& step, bool quantizes, Conversion* c) {
  c->xChannel = intParam(step, 0);
  c->yChannel = intParam(step, 1);
  c->channels = intParam(step, 2);
  c->is_signed = intParam(step, 3) != 0;
  c->zero_point = intParam(step, 4);
  c->scale = static_cast<float>(floatParam(step, 5));
  if (!byteRange(c->zero_point, c->is_signed)) return "segments: the zero point is not a byte";
  if (!readSegmentMap(listParam(step, kScalars, 0), &c->x)) return "segments: the input is not a legal map";
  if (!readSegmentMap(listParam(step, kScalars, 1), &c->y)) return "segments: the output is not a legal map";
  if (!sameTiles(c->x, c->y)) return "segments: input and output have different tiles";
  if (!channelsWithin(c->xChannel, c->channels, c->x.C) || !channelsWithin(c->yChannel, c->channels, c->y.C)) {
    return "segments: the map has fewer channels";
  }
  if (quantizes ? !wholeQuads(c->yChannel, c->channels, c->y) : c->xChannel % 4 != 0) {
    return "segments: channels of bytes come in fours";
  }
  if (!holdsSegments(step, 0, c->x, quantizes ? 4 : 1)) return "segments: the input is too small";
  if (!holdsSegments(step, 1, c->y, quantizes ? 1 : 4)) return "segments: the output is too small";
  return nullptr;
}

FILIGREE_INLINE const char* checkConversion(const Step& step, bool quantizes, Work* work) {
  Conversion c = {};
  if (const char* problem = readConversion(step, quantizes, &c)) return problem;
  work->units = c.x.groups() * c.x.D * c.x.TH * c.x.TW;
  work->cost = static_cast<double>(work->units) * static_cast<double>(c.channels) * 80 * kMoveCost;
  return nullptr;
}

const char* checkQuantize(const Step& step, Work* work) { return checkConversion(step, true, work); }
const char* checkDequantize(const Step& step, Work* work) { return checkConversion(step, false, work); }

FILIGREE_INLINE int64_t tileNumber(const SegmentMap& map, int64_t index) {
  const TileAt at = tileAt(map, index);
  return map.tile(at.group, at.z, at.ty, at.tx);
}

void runQuantize(const Step& step, Range* range) {
  Conversion c = {};
  readConversion(step, true, &c);
  ConvParams p = {};
  ByteParams b = {};
  b.output = c.is_signed ? jit::kOutputSigned : jit::kOutputUnsigned;
  b.output_zero_point = c.zero_point;
  b.output_scale = 1;
  const Requantize requantize = requantizeOf(p, b);
  const F32 scale = set1(c.scale);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const float* const x = input<float>(step, 0) + (tileNumber(c.x, unit) * c.x.C + c.xChannel) * kLine;
    int32_t* const y =
        output<int32_t>(step, 1) + (tileNumber(c.y, unit) * ceilDivide(c.y.C, 4) + c.yChannel / 4) * kLine;
    for (int64_t first = 0; first < c.channels; first += 4) {
      for (int v = 0; v < kLine; v += kLanes) {
        F32 values[4];
        for (int64_t i = 0; i < 4; i++) {
          // A quotient, not a product with the reciprocal: the standard rounds x / scale.
          values[i] = first + i < c.channels ? load(x + (first + i) * kLine + v) / scale : zero();
        }
        storeI(y + first / 4 * kLine + v, packQuad(values, requantize));
      }
    }
  }
}

void runDequantize(const Step& step, Range* range) {
  Conversion c = {};
  readConversion(step, false, &c);
  const int32_t zeroPoint = static_cast<int32_t>(c.zero_point);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int32_t* const x =
        input<int32_t>(step, 0) + (tileNumber(c.x, unit) * ceilDivide(c.x.C, 4) + c.xChannel / 4) * kLine;
    float* const y = output<float>(step, 1) + (tileNumber(c.y, unit) * c.y.C + c.yChannel) * kLine;
    for (int64_t first = 0; first < c.channels; first += 4) {
      for (int v = 0; v < kLine; v += kLanes) {
        const I32 quad = loadI(x + first / 4 * kLine + v);
        for (int i = 0; i < 4 && first + i < c.channels; i++) {
          const F32 value = toFloat(quadChannel(quad, i, c.is_signed) - zeroPoint) * c.scale;
          store(y + (first + i) * kLine + v, value);
        }
      }
    }
  }
}

constexpr const char* kOperands = "r:x w:y";
constexpr const char* kParams = "i:x_channel i:y_channel i:channels i:signed i:zero_point f:scale l:x_map l:y_map";

}  // namespace

// x / scale rounded to nearest even, + zero_point, saturated.
FILIGREE_KERNEL(segmentsQuantize) = {
    "segments.quantize.u8", kOperands, kParams, checkQuantize, runQuantize, nullptr, nullptr, false};
// (x - zero_point) * scale.
FILIGREE_KERNEL(segmentsDequantize) = {
    "segments.dequantize.u8", kOperands, kParams, checkDequantize, runDequantize, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
