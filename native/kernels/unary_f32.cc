// Elementwise functions of float32, and of float16 and bfloat16 through it.
#include "kernels/activation.h"
#include "kernels/elementwise.h"
#include "simd/half.h"
#include "simd/math.h"
#include "simd/trigonometry.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

FILIGREE_INLINE F32 activation(F32 x, int64_t kind, float alpha, float beta) { return apply(x, kind, alpha, beta); }

FILIGREE_INLINE F32 sign(F32 x) {
  const F32 one = select(x > zero(), set1(1), select(x < zero(), set1(-1), zero()));
  return select(x == x, one, x);
}

/// tanh(log(1 + e^x)) = (e^2x + 2 e^x) / (e^2x + 2 e^x + 2).
FILIGREE_INLINE F32 mish(F32 x) {
  const F32 e = exp(min(set1(20), x));
  const F32 t = e * (e + 2.0f);
  return x * (t / (t + 2.0f));
}

/// The vector form of an operation.
template <int64_t op>
FILIGREE_INLINE F32 unary(F32 x, float alpha, float beta) {
  if constexpr (op == kAbs) return abs(x);
  if constexpr (op == kNeg) return -x;
  if constexpr (op == kExp) return exp(x);
  if constexpr (op == kLog) return log(x);
  if constexpr (op == kSqrt) return squareRoot(x);
  if constexpr (op == kReciprocal) return 1.0f / x;
  if constexpr (op == kSigmoid) return sigmoid(x);
  if constexpr (op == kTanh) return tanh(x);
  if constexpr (op == kRelu) return max(zero(), x);
  if constexpr (op == kLeakyRelu) return select(x < zero(), x * alpha, x);
  if constexpr (op == kElu) return select(x < zero(), expMinusOne(x) * alpha, x);
  if constexpr (op == kSelu) return select(x > zero(), x, expMinusOne(x) * alpha) * beta;
  if constexpr (op == kCelu) return select(x > zero(), x, expMinusOne(x / alpha) * alpha);
  if constexpr (op == kHardSigmoid) return activation(x, kActivationHardSigmoid, alpha, beta);
  if constexpr (op == kHardSwish) return activation(x, kActivationHardSwish, alpha, beta);
  if constexpr (op == kSoftplus) return max(zero(), x) + logOnePlus(exp(-abs(x)));
  if constexpr (op == kSoftsign) return x / (abs(x) + 1.0f);
  if constexpr (op == kGelu) return activation(x, kActivationGelu, alpha, beta);
  if constexpr (op == kGeluTanh) return activation(x, kActivationGeluTanh, alpha, beta);
  if constexpr (op == kErf) return erf(x);
  if constexpr (op == kFloor) return floor(x);
  if constexpr (op == kCeil) return -floor(-x);
  if constexpr (op == kRound) return round(x);
  if constexpr (op == kSign) return sign(x);
  if constexpr (op == kClip) return min(set1(beta), max(set1(alpha), x));
  if constexpr (op == kThresholdedRelu) return select(x > set1(alpha), x, zero());
  if constexpr (op == kMish) return mish(x);
  if constexpr (op == kSwish) return activation(x, kActivationSilu, alpha, beta);
  if constexpr (op == kShrink) return select(x < set1(-alpha), x + beta, select(x > set1(alpha), x - beta, zero()));
  if constexpr (op == kAffine) return fma(x, set1(alpha), set1(beta));
}

template <int64_t op>
void runVectors(const float* x, float* y, int64_t n, float alpha, float beta) {
  mapVectors(x, y, n, [=](F32 v) FILIGREE_LAMBDA { return unary<op>(v, alpha, beta); });
}

void runSin(const float* x, float* y, int64_t n, float, float) { sines(x, y, n, false); }
void runCos(const float* x, float* y, int64_t n, float, float) { sines(x, y, n, true); }

/// Rare functions are the C library's.
template <float (*f)(float)>
void runLibrary(const float* x, float* y, int64_t n, float, float) {
  for (int64_t i = 0; i < n; i++) y[i] = f(x[i]);
}
float tanOf(float x) { return __builtin_tanf(x); }
float asinOf(float x) { return __builtin_asinf(x); }
float acosOf(float x) { return __builtin_acosf(x); }
float atanOf(float x) { return __builtin_atanf(x); }
float sinhOf(float x) { return __builtin_sinhf(x); }
float coshOf(float x) { return __builtin_coshf(x); }
float asinhOf(float x) { return __builtin_asinhf(x); }
float acoshOf(float x) { return __builtin_acoshf(x); }
float atanhOf(float x) { return __builtin_atanhf(x); }

void classify(const float* x, uint8_t* y, int64_t n, int64_t op, bool negative, bool positive) {
  const float infinity = __builtin_inff();
  for (int64_t i = 0; i < n; i++) {
    const bool infinite = (negative && x[i] == -infinity) || (positive && x[i] == infinity);
    y[i] = op == kIsNaN ? x[i] != x[i] : infinite;
  }
}

const UnaryRun kRuns[kUnaryOps] = {
    runVectors<kAbs>,
    runVectors<kNeg>,
    runVectors<kExp>,
    runVectors<kLog>,
    runVectors<kSqrt>,
    runVectors<kReciprocal>,
    runVectors<kSigmoid>,
    runVectors<kTanh>,
    runVectors<kRelu>,
    runVectors<kLeakyRelu>,
    runVectors<kElu>,
    runVectors<kSelu>,
    runVectors<kCelu>,
    runVectors<kHardSigmoid>,
    runVectors<kHardSwish>,
    runVectors<kSoftplus>,
    runVectors<kSoftsign>,
    runVectors<kGelu>,
    runVectors<kGeluTanh>,
    runVectors<kErf>,
    runSin,
    runCos,
    runLibrary<tanOf>,
    runLibrary<asinOf>,
    runLibrary<acosOf>,
    runLibrary<atanOf>,
    runLibrary<sinhOf>,
    runLibrary<coshOf>,
    runLibrary<asinhOf>,
    runLibrary<acoshOf>,
    runLibrary<atanhOf>,
    runVectors<kFloor>,
    runVectors<kCeil>,
    runVectors<kRound>,
    runVectors<kSign>,
    runVectors<kClip>,
    runVectors<kThresholdedRelu>,
    runVectors<kMish>,
    runVectors<kSwish>,
    runVectors<kShrink>,
    runVectors<kAffine>,
    nullptr,
};

const char* checkFloat(const Step& step, Work* work) {
  if (intParam(step, 0) == kNot) return "no such operation on float32";
  return checkUnary<float>(step, work);
}

void runUnary(const Step& step, Range* range) {
  const int64_t op = intParam(step, 0), begin = range->begin * kUnitElements;
  const int64_t n = unitEnd(range->end, intParam(step, 3)) - begin;
  const float alpha = static_cast<float>(floatParam(step, 1)), beta = static_cast<float>(floatParam(step, 2));
  const float* x = input<float>(step, 0) + begin;
  if (op >= kIsNaN) return classify(x, output<uint8_t>(step, 1) + begin, n, op, alpha != 0, beta != 0);
  kRuns[op](x, output<float>(step, 1) + begin, n, alpha, beta);
}

template <class T>
const char* checkSmall(const Step& step, Work* work) {
  if (intParam(step, 0) == kNot) return "no such operation on floats";
  const char* problem = checkUnary<T>(step, work);
  work->cost *= 3;
  return problem;
}

template <class T>
void runSmall(const Step& step, Range* range) {
  const int64_t op = intParam(step, 0), end = unitEnd(range->end, intParam(step, 3));
  const float alpha = static_cast<float>(floatParam(step, 1)), beta = static_cast<float>(floatParam(step, 2));
  float block[kBlock];
  for (int64_t at = range->begin * kUnitElements; at < end; at += kBlock) {
    const int64_t n = end - at < kBlock ? end - at : kBlock;
    toFloats(input<T>(step, 0) + at, block, n);
    if (op >= kIsNaN) {
      classify(block, output<uint8_t>(step, 1) + at, n, op, alpha != 0, beta != 0);
    } else {
      kRuns[op](block, block, n, alpha, beta);
      fromFloats(block, output<T>(step, 1) + at, n);
    }
  }
}

}  // namespace

UnaryRun unaryRun(int64_t op) { return op >= 0 && op < kUnaryOps ? kRuns[op] : nullptr; }

// y = op(x); y may be x.
FILIGREE_KERNEL(unaryF32) = {"unary.f32", "r:x w:y", kUnaryParams, checkFloat, runUnary, nullptr, nullptr, false};
FILIGREE_KERNEL(unaryF16) = {"unary.f16",    "r:x w:y", kUnaryParams, checkSmall<Half>,
                             runSmall<Half>, nullptr,   nullptr,      false};
FILIGREE_KERNEL(unaryBf16) = {"unary.bf16",     "r:x w:y", kUnaryParams, checkSmall<Bfloat>,
                              runSmall<Bfloat>, nullptr,   nullptr,      false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
