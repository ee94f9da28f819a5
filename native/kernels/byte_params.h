// Parameters of convolutions over 8-bit segment maps, and how an integer sum becomes an output.
#pragma once
#include "jit/sparse.h"
#include "kernels/conv_params.h"

/// Scalars of 8-bit kernels and packers after the shared ones. Of a row's integer sum s (bias included, zero points of
/// input and weights taken off)
///     v = s * scale[row] + (residual - residual_zero_point) * residual_scale, then the activation.
/// Where `middle` is not 0 the product is first rounded to bytes, as a graph may ask: m = s * scale[row] bounded by
/// middle_low and middle_high, rounded to nearest even, + middle_offset; then
///     middle 1: v = m * middle_scale + (residual - residual_zero_point) * residual_scale
///     middle 2: v = m * middle_scale + (residual * residual_scale + middle_shift)
///     middle 3: v = residual * residual_scale + (m * middle_scale + middle_shift)
/// where 2 and 3 round each sum once, as fused multiply-adds do, and ask for a residual of bytes.
/// output 0 (float32 map) is v; 1 (unsigned bytes) and 2 (signed bytes) are v * output_scale rounded to nearest even,
/// + output_zero_point, saturated. With output 0 the residual is a float32 map, added as it is; else it is bytes.
/// The input's borders and idle lanes must hold input_zero_point where they count.
#define FILIGREE_BYTE_SCALARS                                                      \
  "i:input_signed i:input_zero_point i:output i:output_zero_point f:output_scale " \
  "i:residual_signed i:residual_zero_point f:residual_scale "                      \
  "i:middle f:middle_low f:middle_high f:middle_offset f:middle_scale f:middle_shift"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kByteScalars = 14;

struct ByteParams {
  bool input_signed;
  int64_t input_zero_point;
  int64_t output;
  int64_t output_zero_point;
  float output_scale;
  bool residual_signed;
  int64_t residual_zero_point;
  float residual_scale;
  jit::Middle middle;

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
  jit::Middle& m = b->middle;
  m.kind = static_cast<int>(w[8] >= 0 && w[8] <= 3 ? w[8] : -1);
  m.low = static_cast<float>(floatParam(step, at + 9)), m.high = static_cast<float>(floatParam(step, at + 10));
  m.offset = static_cast<float>(floatParam(step, at + 11)), m.scale = static_cast<float>(floatParam(step, at + 12));
  m.shift = static_cast<float>(floatParam(step, at + 13));
  if (m.kind < 0) return "middle is 0 to 3";
  if (m.kind && !(m.low >= -255 && m.low <= m.high && m.high <= 255)) return "the middle bounds are not those of bytes";
  const bool whole = m.offset >= -255 && m.offset <= 255 && m.offset == static_cast<float>(static_cast<int>(m.offset));
  if (m.kind && !whole) return "the middle offset is no zero point";
  if (m.kind >= 2 && b->output == jit::kOutputFloat) return "middle 2 and 3 are for bytes";
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

/// a * b + c with one rounding on every instruction set; a is a whole number of few bits.
FILIGREE_INLINE F32 fusedSum(F32 a, float b, F32 c) {
#if defined(FILIGREE_AVX512) || defined(FILIGREE_AVX2)
  return fma(a, set1(b), c);
#else
  typedef double Wide __attribute__((vector_size(8 * kLanes)));
  const Wide sum = __builtin_convertvector(a, Wide) * static_cast<double>(b) + __builtin_convertvector(c, Wide);
  return __builtin_convertvector(sum, F32);
#endif
}

/// The bytes in the middle, or v itself. A NaN gives the lowest where there is rounding.
FILIGREE_INLINE F32 roundMiddle(F32 v, const jit::Middle& m) {
  if (m.kind == 0) return v;
  // The offset is whole, so it joins what roundSmall takes off again.
  constexpr float kMagic = 12582912.0f;
  return min(max(v, set1(m.low)), set1(m.high)) + kMagic - (kMagic - m.offset);
}

/// v without a residual, or with one that is float32.
FILIGREE_INLINE F32 throughMiddle(F32 v, const jit::Middle& m) { return m.kind == 0 ? v : roundMiddle(v, m) * m.scale; }

/// v with a residual of bytes.
FILIGREE_INLINE F32 addResidual(F32 v, I32 bytes, const ByteParams& b) {
  const jit::Middle& m = b.middle;
  if (m.kind >= 2) {
    const F32 byte = toFloat(bytes), middle = roundMiddle(v, m), shift = set1(m.shift);
    return m.kind == 2 ? fusedSum(middle, m.scale, fusedSum(byte, b.residual_scale, shift))
                       : fusedSum(byte, b.residual_scale, fusedSum(middle, m.scale, shift));
  }
  return throughMiddle(v, m) + toFloat(bytes - static_cast<int32_t>(b.residual_zero_point)) * b.residual_scale;
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
