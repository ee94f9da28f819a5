// Elementwise functions of float64 and the integers.
#include "kernels/elementwise.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

template <class T, class R, class F>
FILIGREE_INLINE void mapped(const T* x, R* y, int64_t n, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<R>(f(x[i]));
}

double sigmoid(double x) { return 1 / (1 + __builtin_exp(-x)); }
double softplus(double x) { return (x > 0 ? x : 0) + __builtin_log1p(__builtin_exp(x > 0 ? -x : x)); }
double clip(double x, double low, double high) {
  const double raised = x < low ? low : x;
  return raised > high ? high : raised;
}

/// The functions that take no parameter.
double plain(double x, int64_t op) {
  switch (op) {
    case kAbs:
      return __builtin_fabs(x);
    case kNeg:
      return -x;
    case kExp:
      return __builtin_exp(x);
    case kLog:
      return __builtin_log(x);
    case kSqrt:
      return __builtin_sqrt(x);
    case kReciprocal:
      return 1 / x;
    case kSigmoid:
      return sigmoid(x);
    case kTanh:
      return __builtin_tanh(x);
    case kRelu:
      return x < 0 ? 0 : x;
    case kHardSwish:
      return x * clip(x + 3, 0, 6) / 6;
    case kSoftplus:
      return softplus(x);
    case kSoftsign:
      return x / (1 + __builtin_fabs(x));
    case kGelu:
      return 0.5 * x * (1 + __builtin_erf(x * 0.70710678118654752440));
    case kGeluTanh:
      return 0.5 * x * (1 + __builtin_tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case kErf:
      return __builtin_erf(x);
    case kFloor:
      return __builtin_floor(x);
    case kCeil:
      return __builtin_ceil(x);
    case kRound:
      return __builtin_nearbyint(x);
    case kSign:
      return x > 0 ? 1 : x < 0 ? -1 : x;
    default:
      return x * __builtin_tanh(softplus(x));
  }
}

double trigonometric(double x, int64_t op) {
  switch (op) {
    case kSin:
      return __builtin_sin(x);
    case kCos:
      return __builtin_cos(x);
    case kTan:
      return __builtin_tan(x);
    case kAsin:
      return __builtin_asin(x);
    case kAcos:
      return __builtin_acos(x);
    case kAtan:
      return __builtin_atan(x);
    case kSinh:
      return __builtin_sinh(x);
    case kCosh:
      return __builtin_cosh(x);
    case kAsinh:
      return __builtin_asinh(x);
    case kAcosh:
      return __builtin_acosh(x);
    default:
      return __builtin_atanh(x);
  }
}

double shaped(double x, int64_t op, double alpha, double beta) {
  switch (op) {
    case kLeakyRelu:
      return x < 0 ? alpha * x : x;
    case kElu:
      return x < 0 ? alpha * __builtin_expm1(x) : x;
    case kSelu:
      return beta * (x > 0 ? x : alpha * __builtin_expm1(x));
    case kCelu:
      return x > 0 ? x : alpha * __builtin_expm1(x / alpha);
    case kHardSigmoid:
      return clip(alpha * x + beta, 0, 1);
    case kClip:
      return clip(x, alpha, beta);
    case kThresholdedRelu:
      return x > alpha ? x : 0;
    case kSwish:
      return x * sigmoid(alpha * x);
    case kShrink:
      return x < -alpha ? x + beta : x > alpha ? x - beta : 0;
    default:
      return alpha * x + beta;
  }
}

bool takesParameters(int64_t op) {
  return (op >= kLeakyRelu && op <= kHardSigmoid) || op == kClip || op == kThresholdedRelu || op == kSwish ||
         op == kShrink || op == kAffine;
}

void runDoubles(const Step& step, Range* range) {
  const int64_t op = intParam(step, 0), begin = range->begin * kUnitElements;
  const int64_t n = unitEnd(range->end, intParam(step, 3)) - begin;
  const double alpha = floatParam(step, 1), beta = floatParam(step, 2), infinity = __builtin_inf();
  const double* x = input<double>(step, 0) + begin;
  double* y = output<double>(step, 1) + begin;
  uint8_t* flags = output<uint8_t>(step, 1) + begin;
  if (op == kIsNaN) {
    mapped(x, flags, n, [](double v) { return v != v; });
  } else if (op == kIsInf) {
    mapped(x, flags, n, [=](double v) { return (alpha != 0 && v == -infinity) || (beta != 0 && v == infinity); });
  } else if (takesParameters(op)) {
    mapped(x, y, n, [=](double v) { return shaped(v, op, alpha, beta); });
  } else if (op >= kSin && op <= kAtanh) {
    mapped(x, y, n, [=](double v) { return trigonometric(v, op); });
  } else {
    mapped(x, y, n, [=](double v) { return plain(v, op); });
  }
}

const char* checkDoubles(const Step& step, Work* work) {
  if (intParam(step, 0) == kNot) return "no such operation on floats";
  const char* problem = checkUnary<double>(step, work);
  work->cost *= 8;
  return problem;
}

template <class T>
constexpr bool kSigned = static_cast<T>(-1) < static_cast<T>(0);

/// A bound of Clip as an integer: the doubles of plans hold whole numbers up to 2^53, infinities stand for none.
template <class T>
T bound(double value, T none) {
  return value - value == 0 ? static_cast<T>(static_cast<int64_t>(value)) : none;
}

template <class T>
const char* checkIntegers(const Step& step, Work* work) {
  const int64_t op = intParam(step, 0);
  if (op != kAbs && op != kNeg && op != kSign && op != kRelu && op != kNot && op != kClip) {
    return "no such operation on integers";
  }
  for (int k = 1; k <= 2; k++) {
    const double value = floatParam(step, k);
    if (value != value || (value - value == 0 && __builtin_fabs(value) > 9007199254740992.0)) {
      return "a bound is beyond 2^53";
    }
  }
  return checkUnary<T>(step, work);
}

template <class T>
void runIntegers(const Step& step, Range* range) {
  const int64_t op = intParam(step, 0), begin = range->begin * kUnitElements;
  const int64_t n = unitEnd(range->end, intParam(step, 3)) - begin;
  const T* x = input<T>(step, 0) + begin;
  T* y = output<T>(step, 1) + begin;
  const T highest = static_cast<T>(kSigned<T> ? (uint64_t{1} << (sizeof(T) * 8 - 1)) - 1 : ~uint64_t{0});
  const T lowest = static_cast<T>(kSigned<T> ? uint64_t{1} << (sizeof(T) * 8 - 1) : uint64_t{0});
  const T low = bound(floatParam(step, 1), lowest), high = bound(floatParam(step, 2), highest);
  switch (op) {
    case kAbs:
      return mapped(x, y, n,
                    [](T v) { return v < 0 ? uint64_t{0} - static_cast<uint64_t>(v) : static_cast<uint64_t>(v); });
    case kNeg:
      return mapped(x, y, n, [](T v) { return uint64_t{0} - static_cast<uint64_t>(v); });
    case kSign:
      return mapped(x, y, n, [](T v) { return (v > 0) - (v < 0); });
    case kRelu:
      return mapped(x, y, n, [](T v) { return v < 0 ? T{0} : v; });
    case kNot:
      return mapped(x, y, n, [](T v) { return ~v; });
    default:
      return mapped(x, y, n, [=](T v) {
        const T raised = v < low ? low : v;
        return raised > high ? high : raised;
      });
  }
}

const char* checkNot(const Step& step, Work* work) {
  if (intParam(step, 0) != kNot) return "no such operation on bool";
  return checkUnary<uint8_t>(step, work);
}

void runNot(const Step& step, Range* range) {
  const int64_t begin = range->begin * kUnitElements;
  mapped(input<uint8_t>(step, 0) + begin, output<uint8_t>(step, 1) + begin,
         unitEnd(range->end, intParam(step, 3)) - begin, [](uint8_t v) { return v == 0; });
}

}  // namespace

// y = op(x); y may be x. Integers wrap; Clip's bounds are whole numbers, infinities for none.
FILIGREE_KERNEL(unaryF64) = {"unary.f64", "r:x w:y", kUnaryParams, checkDoubles, runDoubles, nullptr, nullptr, false};
FILIGREE_KERNEL(unaryBool) = {"unary.bool", "r:x w:y", kUnaryParams, checkNot, runNot, nullptr, nullptr, false};

#define INTEGER_KERNEL(id, name, T) \
  FILIGREE_KERNEL(id) = {name, "r:x w:y", kUnaryParams, checkIntegers<T>, runIntegers<T>, nullptr, nullptr, false};
INTEGER_KERNEL(unaryI8, "unary.i8", int8_t)
INTEGER_KERNEL(unaryI16, "unary.i16", int16_t)
INTEGER_KERNEL(unaryI32, "unary.i32", int32_t)
INTEGER_KERNEL(unaryI64, "unary.i64", int64_t)
INTEGER_KERNEL(unaryU8, "unary.u8", uint8_t)
INTEGER_KERNEL(unaryU16, "unary.u16", uint16_t)
INTEGER_KERNEL(unaryU32, "unary.u32", uint32_t)
INTEGER_KERNEL(unaryU64, "unary.u64", uint64_t)
#undef INTEGER_KERNEL

}  // namespace FILIGREE_ISA
}  // namespace filigree
