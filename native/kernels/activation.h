// Activations fused into convolutions and linear layers. The numbers are part of the plan format.
#pragma once
#include "kernels/kernel_support.h"
#include "simd/math.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum Activation : int64_t {
  kActivationNone = 0,
  kActivationRelu = 1,
  kActivationClip = 2,         // min(max(x, alpha), beta)
  kActivationLeaky = 3,        // x < 0 ? alpha * x : x
  kActivationSigmoid = 4,      // 1 / (1 + e^-x)
  kActivationTanh = 5,         // tanh(x)
  kActivationSilu = 6,         // x * sigmoid(alpha * x)
  kActivationGelu = 7,         // x / 2 * (1 + erf(x / sqrt 2))
  kActivationGeluTanh = 8,     // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
  kActivationHardSwish = 9,    // x * min(max(x + 3, 0), 6) / 6
  kActivationHardSigmoid = 10  // min(max(alpha * x + beta, 0), 1)
};

FILIGREE_INLINE bool knownActivation(int64_t kind) { return kind >= kActivationNone && kind <= kActivationHardSigmoid; }

/// Activation `kind` of a vector. A NaN stays one. `kind` should be a loop constant: the switch is hoisted.
FILIGREE_INLINE F32 apply(F32 x, int64_t kind, float alpha, float beta) {
  switch (kind) {
    case kActivationRelu:
      return max(zero(), x);
    case kActivationClip:
      return min(set1(beta), max(set1(alpha), x));
    case kActivationLeaky:
      return select(x < zero(), x * alpha, x);
    case kActivationSigmoid:
      return sigmoid(x);
    case kActivationTanh:
      return tanh(x);
    case kActivationSilu:
      return x * sigmoid(x * alpha);
    case kActivationGelu:
      return x * 0.5f * (erfQuotient(x * 0.70710678118654752f) + 1.0f);
    case kActivationGeluTanh: {
      const F32 inner = x * 0.79788456080286536f * fma(x * x, set1(0.044715f), set1(1.0f));
      return x * 0.5f * (tanhQuotient(inner) + 1.0f);
    }
    case kActivationHardSwish:
      return x * (min(set1(6.0f), max(zero(), x + 3.0f)) * (1.0f / 6.0f));
    case kActivationHardSigmoid:
      return min(set1(1.0f), max(zero(), fma(x, set1(alpha), set1(beta))));
    default:
      return x;
  }
}

/// An activation as min(high, max(low, x)), for kernels that clamp what they store and run the others over stored
/// lines. `all` is true where that is the whole activation. A NaN stays one.
struct Clamp {
  float low, high;
  bool all;
};

FILIGREE_INLINE Clamp clampOf(int64_t kind, float alpha, float beta) {
  const float infinity = __builtin_inff();
  if (kind == kActivationRelu) return {0, infinity, true};
  if (kind == kActivationClip) return {alpha, beta, true};
  return {-infinity, infinity, kind == kActivationNone};
}

FILIGREE_INLINE F32 apply(F32 x, const Clamp& clamp) { return min(set1(clamp.high), max(set1(clamp.low), x)); }

/// Applies an activation to `count` floats in place; count is a multiple of kLanes.
FILIGREE_INLINE void applyRow(float* row, int64_t count, int64_t kind, float alpha, float beta) {
  for (int64_t i = 0; i < count; i += kLanes) store(row + i, apply(load(row + i), kind, alpha, beta));
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
