// Parameters of convolutions over 8-bit segment maps, and how an integer sum becomes an output.
#pragma once
#include "jit/sparse.h"
#include "kernels/conv_params.h"

/// Scalars of 8-bit kernels and packers after the shared ones. Of a row's integer sum s (bias included, zero points of
/// input and weights taken off)
///     v = s * scale[row], where middle_scale is not 0 rounded to nearest even, bounded by middle_low and middle_high
///     and
///         multiplied by middle_scale (bytes that are dequantized at once),
///         + (residual - residual_zero_point) * residual_scale, then the activation;
/// output 0 (float32 map) is v; 1 (unsigned bytes) and 2 (signed bytes) are v * output_scale rounded to nearest even,
/// + output_zero_point, saturated. With output 0 the residual is a float32 map, added as it is; else it is bytes.
/// The input's borders and idle lanes must hold input_zero_point where they count.
#define FILIGREE_BYTE_SCALARS                                                      \
  "i:input_signed i:input_zero_point i:output i:output_zero_point f:output_scale " \
  "i:residual_signed i:residual_zero_point f:residual_scale f:middle_scale f:middle_low f:middle_high"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kByteScalars = 11;

struct ByteParams {
  bool input_signed;
  int64_t input_zero_point;
  int64_t output;
  int64_t output_zero_point;
  float output_scale;
  bool residual_signed;
  int64_t residual_zero_point;
  float residual_scale;
  float middle_scale, middle_low, middle_high;

  FILIGREE_INLINE_MEMBER int64_t outputSize() const { return output == jit::kOutputFloat ? 4 : 1; }
};

FILIGREE_INLINE bool byteRange(int64_t value, bool is_signed) {
  return is_signed ? value >= -128 && value <= 127 : value >= 0 && value <= 255;
}

/// Reads the scalars that begin at word `at`. Null, or what is wrong.
FILIGREE_INLINE const char* readByteParams(const Step& step, int at, ByteParams* b) {
  const int64_t* w = step.words + at;
  b->input_signed = w[0] != 0;
  b->input_zero_point = w[1];
  b->output = w[2];
  b->output_zero_point = w[3];
  b->output_scale = static_cast<float>(floatParam(step, at + 4));
  b->residual_signed = w[5] != 0;
  b->residual_zero_point = w[6];
  b->residual_scale = static_cast<float>(floatParam(step, at + 7));
  b->middle_scale = static_cast<float>(floatParam(step, at + 8));
  b->middle_low = static_cast<float>(floatParam(step, at + 9));
  b->middle_high = static_cast<float>(floatParam(step, at + 10));
  if (b->middle_scale != 0 && !(b->middle_low >= -255 && b->middle_low <= b->middle_high && b->middle_high <= 255)) {
    return "the middle bounds are not those of bytes";
  }
  if (b->output < jit::kOutputFloat || b->output > jit::kOutputSigned) return "output is 0, 1 or 2";
  if (!byteRange(b->input_zero_point, b->input_signed)) return "the input's zero point is not a byte";
  if (!byteRange(b->residual_zero_point, b->residual_signed)) return "the residual's zero point is not a byte";
  if (b->output != jit::kOutputFloat && !byteRange(b->output_zero_point, b->output == jit::kOutputSigned)) {
    return "the output's zero point is not a byte";
  }
  return nullptr;
}

/// Channel offsets of 8-bit maps are whole quads, and an uneven number of channels ends its map.
FILIGREE_INLINE bool wholeQuads(int64_t channel, int64_t channels, const SegmentMap& map) {
  return channel % 4 == 0 && (channels % 4 == 0 || channel + channels == map.C);
}

/// Parameters and operand sizes (x, packing, residual?, y) of an 8-bit convolution with `extra` scalars between the
/// shared and the 8-bit ones.
FILIGREE_INLINE const char* readByteConv(const Step& step, int extra, ConvParams* p, ByteParams* b) {
  if (const char* problem = readConvParams(step, extra + kByteScalars, p)) return problem;
  if (const char* problem = readByteParams(step, kConvScalars + extra, b)) return problem;
  const int64_t size = b->outputSize();
  if (p->in_channel % 4 != 0) return "channels do not begin at a quad";
  if (size == 1 && (!wholeQuads(p->out_channel, p->channels_out, p->out) ||
                    (p->residual && !wholeQuads(p->res_channel, p->channels_out, p->res)))) {
    return "channels do not begin or end at a quad";
  }
  if (!holdsSegments(step, 0, p->in, 1)) return "x is smaller than its map";
  if (!holdsSegments(step, 3, p->out, size)) return "y is smaller than its map";
  if (p->residual && !holdsSegments(step, 2, p->res, size)) return "residual is smaller than its map";
  return nullptr;
}

/// What rounds v before the residual; nothing where scale is 0.
struct Middle {
  float scale, low, high;
};

FILIGREE_INLINE Middle middleOf(const ByteParams& b) { return {b.middle_scale, b.middle_low, b.middle_high}; }

/// s * scale to v. A NaN gives the lowest where there is rounding.
FILIGREE_INLINE F32 throughMiddle(F32 v, const Middle& m) {
  if (m.scale == 0) return v;
  return roundSmall(min(max(v, set1(m.low)), set1(m.high))) * m.scale;
}

/// v to bytes.
struct Requantize {
  int64_t activation;
  float alpha, beta;
  float scale, low, high;
  int32_t zero_point;
  bool is_signed;
};

FILIGREE_INLINE Requantize requantizeOf(const ConvParams& p, const ByteParams& b) {
  Requantize r;
  r.activation = p.activation, r.alpha = p.alpha, r.beta = p.beta;
  r.scale = b.output_scale;
  r.is_signed = b.output == jit::kOutputSigned;
  // Signed outputs are made as unsigned ones, their sign bit is inverted at the end.
  r.zero_point = static_cast<int32_t>(b.output_zero_point + (r.is_signed ? 128 : 0));
  r.low = static_cast<float>(-r.zero_point), r.high = static_cast<float>(255 - r.zero_point);
  if (p.activation == kActivationRelu) {
    r.activation = kActivationNone;
    if (r.low < 0) r.low = 0;
  }
  return r;
}

/// One channel: v to 0..255. A NaN gives the lowest.
FILIGREE_INLINE I32 requantize(F32 v, const Requantize& r) {
  v = apply(v, r.activation, r.alpha, r.beta) * r.scale;
  v = min(max(v, set1(r.low)), set1(r.high));
  return toInt(roundSmall(v)) + r.zero_point;
}

/// Four channels to the words of a byte line.
FILIGREE_INLINE I32 packQuad(const F32* v, const Requantize& r) {
  const I32 line =
      requantize(v[0], r) | (requantize(v[1], r) << 8) | (requantize(v[2], r) << 16) | (requantize(v[3], r) << 24);
  return r.is_signed ? line ^ static_cast<int32_t>(0x80808080) : line;
}

/// Channel `k` of the words of a byte line.
FILIGREE_INLINE I32 quadChannel(I32 line, int k, bool is_signed) {
  const I32 top = line << (24 - 8 * k);
  return is_signed ? top >> 24 : reinterpret_cast<I32>(reinterpret_cast<U32>(top) >> 24);
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
