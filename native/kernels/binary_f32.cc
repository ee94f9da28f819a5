// Elementwise operations on two float32 operands with broadcasting, and on float16 and bfloat16 through them.
#include "kernels/elementwise.h"
#include "simd/half.h"
#include "simd/trigonometry.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

template <int64_t op>
FILIGREE_INLINE F32 binary(F32 a, F32 b) {
  if constexpr (op == kAdd) return a + b;
  if constexpr (op == kSub) return a - b;
  if constexpr (op == kMul) return a * b;
  if constexpr (op == kDiv) return a / b;
  if constexpr (op == kMax) return select((a > b) | (a != a), a, b);
  if constexpr (op == kMin) return select((a < b) | (a != a), a, b);
  if constexpr (op == kPRelu) return select(a < zero(), a * b, a);
}

template <int64_t op>
void runPairs(const float* a, const float* b, float* y, int64_t n) {
  mapPairs(a, b, y, n, [](F32 u, F32 v) FILIGREE_LAMBDA { return binary<op>(u, v); });
}

/// a^e for the exponents that need no logarithm. False for another one.
bool runPower(const float* a, float e, float* y, int64_t n) {
  if (e == 2) {
    mapVectors(a, y, n, [](F32 v) FILIGREE_LAMBDA { return v * v; });
  } else if (e == 3) {
    mapVectors(a, y, n, [](F32 v) FILIGREE_LAMBDA { return v * v * v; });
  } else if (e == 1) {
    mapVectors(a, y, n, [](F32 v) FILIGREE_LAMBDA { return v; });
  } else if (e == -1) {
    mapVectors(a, y, n, [](F32 v) FILIGREE_LAMBDA { return 1.0f / v; });
  } else if (e == 0) {
    for (int64_t i = 0; i < n; i++) y[i] = 1;
  } else {
    return false;
  }
  return true;
}

void runPow(const float* a, const float* b, float* y, int64_t n) {
  bool uniform = n > 0, plain = true;
  for (int64_t i = 0; i < n; i++) {
    uniform &= b[i] == b[0];
    plain &= a[i] >= 1.17549435e-38f && a[i] < __builtin_inff() && b[i] >= -1e6f && b[i] <= 1e6f;
  }
  if (uniform && runPower(a, b[0], y, n)) return;
  if (!plain) {
    for (int64_t i = 0; i < n; i++) y[i] = __builtin_powf(a[i], b[i]);
    return;
  }
  mapScalars(a, b, y, n, [](float u, float v) FILIGREE_LAMBDA { return powerOf(u, v); });
}

void runMod(const float* a, const float* b, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float rest = __builtin_fmodf(a[i], b[i]);
    y[i] = rest != 0 && (rest < 0) != (b[i] < 0) ? rest + b[i] : rest;
  }
}

void runFmod(const float* a, const float* b, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = __builtin_fmodf(a[i], b[i]);
}

void compare(const float* a, const float* b, uint8_t* y, int64_t n, int64_t op) {
  switch (op) {
    case kEqual:
      return mapScalars(a, b, y, n, [](float u, float v) FILIGREE_LAMBDA { return u == v; });
    case kLess:
      return mapScalars(a, b, y, n, [](float u, float v) FILIGREE_LAMBDA { return u < v; });
    case kLessOrEqual:
      return mapScalars(a, b, y, n, [](float u, float v) FILIGREE_LAMBDA { return u <= v; });
    case kGreater:
      return mapScalars(a, b, y, n, [](float u, float v) FILIGREE_LAMBDA { return u > v; });
    default:
      return mapScalars(a, b, y, n, [](float u, float v) FILIGREE_LAMBDA { return u >= v; });
  }
}

const BinaryRun kRuns[kBinaryOps] = {
    runPairs<kAdd>, runPairs<kSub>,   runPairs<kMul>, runPairs<kDiv>, runPow,  runMod,  runFmod, runPairs<kMax>,
    runPairs<kMin>, runPairs<kPRelu>, nullptr,        nullptr,        nullptr, nullptr, nullptr,
};

template <class T>
const char* checkFloats(const Step& step, Work* work) {
  if (const char* problem = checkBinary<T>(step, work)) return problem;
  const int64_t op = intParam(step, 0);
  return op < kBinaryOps && !kRuns[op] ? "no such operation on floats" : nullptr;
}

void runFloats(const Step& step, Range* range) {
  const int64_t op = intParam(step, 0);
  forBinaryBlocks<float>(step, *range, [&](const float* a, const float* b, int64_t at, int n) {
    if (op >= kEqual) {
      compare(a, b, output<uint8_t>(step, 2) + at, n, op);
    } else {
      kRuns[op](a, b, output<float>(step, 2) + at, n);
    }
    return true;
  });
}

template <class T>
void runSmall(const Step& step, Range* range) {
  const int64_t op = intParam(step, 0);
  float u[kBlock], v[kBlock];
  forBinaryBlocks<T>(step, *range, [&](const T* a, const T* b, int64_t at, int n) {
    toFloats(a, u, n);
    toFloats(b, v, n);
    if (op >= kEqual) {
      compare(u, v, output<uint8_t>(step, 2) + at, n, op);
    } else {
      kRuns[op](u, v, u, n);
      fromFloats(u, output<T>(step, 2) + at, n);
    }
    return true;
  });
}

}  // namespace

BinaryRun binaryRun(int64_t op) { return op >= 0 && op < kBinaryOps ? kRuns[op] : nullptr; }

// y = op(a, b), broadcast; y may be an operand that is dense over `dims`.
FILIGREE_KERNEL(binaryF32) = {"binary.f32", "r:a r:b w:y", kBinaryParams, checkFloats<float>,
                              runFloats,    nullptr,       nullptr,       false};
FILIGREE_KERNEL(binaryF16) = {"binary.f16",   "r:a r:b w:y", kBinaryParams, checkFloats<Half>,
                              runSmall<Half>, nullptr,       nullptr,       false};
FILIGREE_KERNEL(binaryBf16) = {"binary.bf16",    "r:a r:b w:y", kBinaryParams, checkFloats<Bfloat>,
                               runSmall<Bfloat>, nullptr,       nullptr,       false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
