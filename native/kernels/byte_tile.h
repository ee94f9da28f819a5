// What becomes of the finished sums of a tile of bytes.
#pragma once
#include "kernels/byte_params.h"
#include "simd/bytes.h"
#include "simd/line.h"
#include "simd/saturate.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// What a finished sum becomes.
struct ByteEnd {
  ByteParams bytes;
  Requantize requantize;
  int64_t activation;
  float alpha, beta;
};

FILIGREE_INLINE ByteEnd byteEndOf(const ConvParams& p, const ByteParams& b) {
  return {b, requantizeOf(p, b), p.activation, p.alpha, p.beta};
}

/// Lines of `rows` output channels of one tile from their sums [row][stride]; y and residual are the first channel's
/// lines.
__attribute__((noinline)) inline void finishFloats(const ByteEnd& end, int64_t rows, const int32_t* sums,
                                                   int64_t stride, const float* scale, float* y,
                                                   const float* residual) {
  for (int64_t r = 0; r < rows; r++) {
    for (int v = 0; v < kLine; v += kLanes) {
      F32 value = throughMiddle(toFloat(loadI(sums + r * stride + v)) * scale[r], end.bytes.middle);
      if (residual) value += load(residual + r * kLine + v);
      store(y + r * kLine + v, apply(value, end.activation, end.alpha, end.beta));
    }
  }
}

#if defined(FILIGREE_AVX512) || defined(FILIGREE_AVX2)
/// Rounds four channels of kLanes lanes to the bytes of a line. The bounds of bytes are those of saturating packs.
template <bool kUnscaled>
struct QuadPacker {
  F32 scale, high;
  I32 zero_point, low, flip, order;

  FILIGREE_INLINE_MEMBER explicit QuadPacker(const Requantize& r)
      : scale(set1(r.scale)),
        high(set1(r.high)),
        zero_point(set1I(r.zero_point * 0x10001)),
        low(set1I(static_cast<int32_t>(static_cast<uint32_t>(static_cast<int>(r.low) + r.zero_point) * 0x01010101u))),
        flip(set1I(r.is_signed ? static_cast<int32_t>(0x80808080) : 0)),
        order(repeat4(0x0c080400, 0x0d090501, 0x0e0a0602, 0x0f0b0703)) {}

  /// Only too large a number needs a bound before the conversion: what is too small, and NaN, converts to the least.
  FILIGREE_INLINE_MEMBER I32 whole(F32 v) const { return roundToInt(min(high, kUnscaled ? v : v * scale)); }
  FILIGREE_INLINE_MEMBER I32 operator()(const F32* v) const {
    const I32 first = addWords(packWords(whole(v[0]), whole(v[1])), zero_point);
    const I32 second = addWords(packWords(whole(v[2]), whole(v[3])), zero_point);
    return shuffleBytes(maxBytes(packBytes(first, second), low) ^ flip, order);
  }
};

/// Channel `k` of a line of unsigned bytes.
FILIGREE_INLINE I32 unsignedChannel(I32 line, int k) {
  const int32_t from = static_cast<int32_t>(0x80808000) + k;
  return shuffleBytes(line, repeat4(from, from + 4, from + 8, from + 12));
}

/// finishBytes where nothing but a bound is left of the activation. `kFlat` spares what has no effect there: the
/// output's scale is 1, and a residual is unsigned.
template <int kMiddle, bool kResidual, bool kFlat>
__attribute__((noinline)) void finishQuads(const ByteEnd& end, int64_t rows, const int32_t* sums, int64_t stride,
                                           const float* scale, int32_t* y, const int32_t* residual) {
  ByteParams b = end.bytes;
  b.middle.kind = kMiddle;
  const QuadPacker<kFlat> pack(end.requantize);
  // Signed bytes are taken as unsigned ones, 128 more.
  const I32 flip = set1I(!kFlat && b.residual_signed ? static_cast<int32_t>(0x80808080) : 0);
  const I32 excess = set1I(!kFlat && b.residual_signed ? 128 : 0);
  for (int64_t r = 0; r < rows; r += 4, y += kLine) {
    FILIGREE_UNROLL
    for (int v = 0; v < kLine; v += kLanes) {
      F32 values[4];
      const I32 quad = kResidual ? loadI(residual + r / 4 * kLine + v) ^ flip : I32{};
      FILIGREE_UNROLL
      for (int i = 0; i < 4; i++) {
        values[i] = toFloat(loadI(sums + (r + i) * stride + v)) * scale[r + i];
        if (kResidual) {
          const I32 bytes = unsignedChannel(quad, i);
          values[i] = addResidual(values[i], kFlat ? bytes : bytes - excess, b);
        } else {
          values[i] = throughMiddle(values[i], b.middle);
        }
      }
      storeI(y + v, pack(values));
    }
  }
}

typedef void (*FinishQuads)(const ByteEnd&, int64_t, const int32_t*, int64_t, const float*, int32_t*, const int32_t*);

/// Without a residual every middle is as the first.
template <bool kFlat>
constexpr FinishQuads kFinishQuads[] = {finishQuads<0, false, kFlat>, finishQuads<1, false, kFlat>,
                                        finishQuads<0, true, kFlat>,  finishQuads<1, true, kFlat>,
                                        finishQuads<2, true, kFlat>,  finishQuads<3, true, kFlat>};
#endif

/// finishFloats' like to lines of quads. `rows` is a multiple of four: rows past the last channel have a scale of 0.
__attribute__((noinline)) inline void finishBytes(const ByteEnd& end, int64_t rows, const int32_t* sums, int64_t stride,
                                                  const float* scale, int32_t* y, const int32_t* residual) {
  const ByteParams& b = end.bytes;
#if defined(FILIGREE_AVX512) || defined(FILIGREE_AVX2)
  if (end.requantize.activation == kActivationNone) {
    const int kind = residual ? 2 + b.middle.kind : b.middle.kind != 0;
    const bool flat = end.requantize.scale == 1 && !(residual && b.residual_signed);
    return (flat ? kFinishQuads<true> : kFinishQuads<false>)[kind](end, rows, sums, stride, scale, y, residual);
  }
#endif
  for (int64_t r = 0; r < rows; r += 4, y += kLine) {
    for (int v = 0; v < kLine; v += kLanes) {
      F32 values[4];
      for (int i = 0; i < 4; i++) values[i] = toFloat(loadI(sums + (r + i) * stride + v)) * scale[r + i];
      if (residual) {
        const I32 quad = loadI(residual + r / 4 * kLine + v);
        for (int i = 0; i < 4; i++) values[i] = addResidual(values[i], quadChannel(quad, i, b.residual_signed), b);
      } else {
        for (int i = 0; i < 4; i++) values[i] = throughMiddle(values[i], b.middle);
      }
      storeI(y + v, packQuad(values, end.requantize));
    }
  }
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
