// Elementwise work on segment maps that a flat pass cannot do: scales and shifts by channel and image, and two maps
// whose borders or channels differ. Interior tiles only.
#include "kernels/activation.h"
#include "kernels/segments_lanes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// A slice of a map's channels.
struct Slice {
  SegmentMap map;
  int64_t channel;
};

/// Reads the slice of list `list`, whose lines are operand `operand`. Null, or what is wrong.
FILIGREE_INLINE const char* readSlice(const Step& step, int operand, int scalars, int list, int64_t channel,
                                      int64_t channels, Slice* slice) {
  slice->channel = channel;
  if (!readSegmentMap(listParam(step, scalars, list), &slice->map)) return "segments: not a legal map";
  if (!channelsWithin(channel, channels, slice->map.C)) return "segments: the map has fewer channels";
  if (!step.operands[operand].data || !holdsSegments(step, operand, slice->map, 4)) {
    return "segments: the map's buffer is too small";
  }
  return nullptr;
}

FILIGREE_INLINE int64_t tilesOf(const SegmentMap& map) { return map.groups() * map.D * map.TH * map.TW; }

/// First float of interior tile `index` of a slice.
FILIGREE_INLINE int64_t tileStart(const Slice& slice, int64_t index) {
  const SegmentMap& map = slice.map;
  const int64_t tx = index % map.TW, row = index / map.TW, ty = row % map.TH, plane = row / map.TH;
  return (map.tile(plane / map.D, plane % map.D, ty, tx) * map.C + slice.channel) * kLine;
}

constexpr int kScaleScalars = 8;

/// y = activation(x * scale + shift + residual).
struct Scale {
  Slice x, residual, y;
  int64_t channels, activation;
  bool perImage, residuals;
  Clamp clamp;
  float alpha, beta;
};

FILIGREE_INLINE const char* readScale(const Step& step, Scale* s) {
  s->channels = intParam(step, 3);
  s->perImage = intParam(step, 4) != 0;
  s->activation = intParam(step, 5);
  s->alpha = static_cast<float>(floatParam(step, 6));
  s->beta = static_cast<float>(floatParam(step, 7));
  s->residuals = listParam(step, kScaleScalars, 2).count != 0;
  if (!knownActivation(s->activation)) return "scale.segments: no such activation";
  s->clamp = clampOf(s->activation, s->alpha, s->beta);
  const char* problem = readSlice(step, 0, kScaleScalars, 0, intParam(step, 0), s->channels, &s->x);
  if (!problem) problem = readSlice(step, 4, kScaleScalars, 1, intParam(step, 1), s->channels, &s->y);
  if (problem) return problem;
  if (!sameTiles(s->x.map, s->y.map)) return "scale.segments: input and output have different tiles";
  if (!s->residuals) return nullptr;
  problem = readSlice(step, 3, kScaleScalars, 2, intParam(step, 2), s->channels, &s->residual);
  if (!problem && !sameTiles(s->x.map, s->residual.map)) return "scale.segments: the residual has different tiles";
  return problem;
}

const char* checkScale(const Step& step, Work* work) {
  Scale s = {};
  if (const char* problem = readScale(step, &s)) return problem;
  const int64_t factors = s.perImage ? product(s.x.map.images, s.channels) : s.channels;
  for (int k = 1; k <= 2; k++) {
    if (step.operands[k].data && !holds(step, k, factors, 4)) return "scale.segments: too few scales or shifts";
  }
  work->units = tilesOf(s.x.map);
  work->cost = static_cast<double>(work->units) * static_cast<double>(s.channels) * 128 * kMoveCost;
  const int64_t scratch = product(s.channels, 2 * kLine * 4);
  if (scratch < 0) return "scale.segments: too many channels";
  work->scratch = static_cast<size_t>(scratch);
  return nullptr;
}

/// Lines of the factors of a group: lane l has its image's. `missing` where there are none.
FILIGREE_INLINE void spreadFactors(const Scale& s, const float* factors, float missing, int64_t group, float* lines) {
  const SegmentMap& map = s.x.map;
  const float* rows[kLine];
  for (int64_t lane = 0; lane < kLine; lane++) {
    const int64_t image = least(group * map.lane_images + lane / (map.SY * map.SX), map.images - 1);
    rows[lane] = factors && s.perImage ? factors + image * s.channels : factors;
  }
  for (int64_t c = 0; c < s.channels; c++) {
    for (int lane = 0; lane < kLine; lane++) lines[c * kLine + lane] = factors ? rows[lane][c] : missing;
  }
}

void runScale(const Step& step, Range* range) {
  Scale s = {};
  readScale(step, &s);
  const float* const x = input<float>(step, 0);
  const float* const residual = s.residuals ? input<float>(step, 3) : nullptr;
  float* const scales = reinterpret_cast<float*>(range->scratch);
  float* const shifts = scales + s.channels * kLine;
  const int64_t groupTiles = s.x.map.D * s.x.map.TH * s.x.map.TW;
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    if (unit == range->begin || (s.perImage && unit % groupTiles == 0)) {
      spreadFactors(s, input<float>(step, 1), 1, unit / groupTiles, scales);
      // x * scale - 0 is x * scale for every x, a negative zero too.
      spreadFactors(s, input<float>(step, 2), -0.0f, unit / groupTiles, shifts);
    }
    const float* const from = x + tileStart(s.x, unit);
    const float* const add = residual ? residual + tileStart(s.residual, unit) : nullptr;
    float* const to = output<float>(step, 4) + tileStart(s.y, unit);
    for (int64_t i = 0; i < s.channels * kLine; i += kLanes) {
      F32 v = fma(load(from + i), load(scales + i), load(shifts + i));
      if (add) v += load(add + i);
      store(to + i, apply(v, s.clamp));
    }
    if (!s.clamp.all) applyRow(to, s.channels * kLine, s.activation, s.alpha, s.beta);
  }
}

constexpr int kBinaryScalars = 8;
enum Operation : int64_t { kAdd, kSubtract, kMultiply, kDivide, kMaximum, kMinimum, kOperations };

struct Binary {
  Slice a, b, y;
  int64_t channels, operation, activation;
  Clamp clamp;
  float alpha, beta;
};

FILIGREE_INLINE const char* readBinary(const Step& step, Binary* binary) {
  binary->operation = intParam(step, 0);
  binary->channels = intParam(step, 4);
  binary->activation = intParam(step, 5);
  binary->alpha = static_cast<float>(floatParam(step, 6));
  binary->beta = static_cast<float>(floatParam(step, 7));
  if (binary->operation < 0 || binary->operation >= kOperations) return "segments.binary: no such operation";
  if (!knownActivation(binary->activation)) return "segments.binary: no such activation";
  binary->clamp = clampOf(binary->activation, binary->alpha, binary->beta);
  Slice* const slices[3] = {&binary->a, &binary->b, &binary->y};
  for (int i = 0; i < 3; i++) {
    const char* problem = readSlice(step, i, kBinaryScalars, i, intParam(step, 1 + i), binary->channels, slices[i]);
    if (problem) return problem;
    if (!sameTiles(binary->a.map, slices[i]->map)) return "segments.binary: the maps have different tiles";
  }
  return nullptr;
}

const char* checkBinary(const Step& step, Work* work) {
  Binary binary = {};
  if (const char* problem = readBinary(step, &binary)) return problem;
  work->units = tilesOf(binary.a.map);
  work->cost = static_cast<double>(work->units) * static_cast<double>(binary.channels) * 192 * kMoveCost;
  return nullptr;
}

/// Maximum and minimum give NaN where either is NaN.
template <int64_t operation>
FILIGREE_INLINE F32 combine(F32 a, F32 b) {
  if constexpr (operation == kAdd) return a + b;
  if constexpr (operation == kSubtract) return a - b;
  if constexpr (operation == kMultiply) return a * b;
  if constexpr (operation == kDivide) return a / b;
  if constexpr (operation == kMaximum) return select(a != a, a, max(a, b));
  return select(a != a, a, min(a, b));
}

template <int64_t operation>
FILIGREE_INLINE void combineTiles(const Step& step, const Binary& binary, const Range& range) {
  for (int64_t unit = range.begin; unit < range.end; unit++) {
    const float* const a = input<float>(step, 0) + tileStart(binary.a, unit);
    const float* const b = input<float>(step, 1) + tileStart(binary.b, unit);
    float* const y = output<float>(step, 2) + tileStart(binary.y, unit);
    for (int64_t i = 0; i < binary.channels * kLine; i += kLanes) {
      store(y + i, apply(combine<operation>(load(a + i), load(b + i)), binary.clamp));
    }
    if (!binary.clamp.all) applyRow(y, binary.channels * kLine, binary.activation, binary.alpha, binary.beta);
  }
}

void runBinary(const Step& step, Range* range) {
  Binary binary = {};
  readBinary(step, &binary);
  switch (binary.operation) {
    case kAdd:
      return combineTiles<kAdd>(step, binary, *range);
    case kSubtract:
      return combineTiles<kSubtract>(step, binary, *range);
    case kMultiply:
      return combineTiles<kMultiply>(step, binary, *range);
    case kDivide:
      return combineTiles<kDivide>(step, binary, *range);
    case kMaximum:
      return combineTiles<kMaximum>(step, binary, *range);
    default:
      return combineTiles<kMinimum>(step, binary, *range);
  }
}

}  // namespace

// y = activation(x * scale + shift + residual). scale and shift are [N, channels] where per_image is 1, else
// [channels]. `residual` is an empty list where there is none. y may be x or residual.
FILIGREE_KERNEL(scaleSegments) = {"scale.segments.f32",
                                  "r:x r:scale? r:shift? r:residual? w:y",
                                  "i:x_channel i:y_channel i:residual_channel i:channels i:per_image i:activation "
                                  "f:alpha f:beta l:x_map l:y_map l:residual_map",
                                  checkScale,
                                  runScale,
                                  nullptr,
                                  nullptr,
                                  false};
// operation: 0 a + b, 1 a - b, 2 a * b, 3 a / b, 4 maximum, 5 minimum. y may be a or b where their maps are alike.
FILIGREE_KERNEL(segmentsBinary) = {"segments.binary.f32",
                                   "r:a r:b w:y",
                                   "i:operation i:a_channel i:b_channel i:y_channel i:channels i:activation f:alpha "
                                   "f:beta l:a_map l:b_map l:y_map",
                                   checkBinary,
                                   runBinary,
                                   nullptr,
                                   nullptr,
                                   false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
