// Weights of bytes in the form that dense kernels multiply them, and what becomes of a tile's finished sums.
#pragma once
#include "kernels/byte_params.h"
#include "simd/bytes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// A weight quad is one word of four signed bytes where the CPU multiplies such, else two words of 16-bit pairs:
/// channels 0 and 2, channels 1 and 3.
constexpr int kQuadWords = kByteDots ? 1 : 2;

/// Four channels of kLanes positions, or a broadcast weight quad.
struct Quad {
  I32 part[kQuadWords];
};

FILIGREE_INLINE void packWeights(const int32_t* quad, int32_t* words) {
  if (kByteDots) {
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) word |= static_cast<uint32_t>(quad[i] & 255) << (8 * i);
    words[0] = static_cast<int32_t>(word);
    return;
  }
  for (int i = 0; i < kQuadWords; i++) {
    words[i] = static_cast<int32_t>(static_cast<uint32_t>(quad[i] & 0xffff) | static_cast<uint32_t>(quad[i + 2]) << 16);
  }
}

/// Unsigned bytes.
FILIGREE_INLINE Quad quadOf(I32 bytes) {
  Quad quad;
  quad.part[0] = kByteDots ? bytes : evenBytes(bytes);
  if (!kByteDots) quad.part[kQuadWords - 1] = oddBytes(bytes);
  return quad;
}

FILIGREE_INLINE Quad broadcastWeights(const int32_t* words) {
  Quad w;
  for (int i = 0; i < kQuadWords; i++) w.part[i] = set1I(words[i]);
  return w;
}

FILIGREE_INLINE I32 dot(I32 sum, const Quad& x, const Quad& w) {
  if (kByteDots) return dotBytes(sum, x.part[0], w.part[0]);
  for (int i = 0; i < kQuadWords; i++) sum += dotPairs(x.part[i], w.part[i]);
  return sum;
}

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

/// The same to lines of quads. `rows` is a multiple of four: rows past the last channel have a scale of 0.
__attribute__((noinline)) inline void finishBytes(const ByteEnd& end, int64_t rows, const int32_t* sums, int64_t stride,
                                                  const float* scale, int32_t* y, const int32_t* residual) {
  const ByteParams& b = end.bytes;
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
