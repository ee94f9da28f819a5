// Elementwise operations on two operands of the types without vector code of their own: float64 and the integers.
#include "kernels/elementwise.h"
#include "simd/trigonometry.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

template <class T>
constexpr bool kSigned = static_cast<T>(-1) < static_cast<T>(0);

/// Arithmetic that wraps is done on the unsigned type.
template <class T>
struct Bits;
template <>
struct Bits<int8_t> {
  typedef uint8_t Type;
};
template <>
struct Bits<int16_t> {
  typedef uint16_t Type;
};
template <>
struct Bits<int32_t> {
  typedef uint32_t Type;
};
template <>
struct Bits<int64_t> {
  typedef uint64_t Type;
};
template <>
struct Bits<uint8_t> : Bits<int8_t> {};
template <>
struct Bits<uint16_t> : Bits<int16_t> {};
template <>
struct Bits<uint32_t> : Bits<int32_t> {};
template <>
struct Bits<uint64_t> : Bits<int64_t> {};

/// The quotient towards zero; the smallest number over -1 wraps.
template <class T>
FILIGREE_INLINE T quotient(T a, T b) {
  if constexpr (kSigned<T>) {
    if (b == -1) return static_cast<T>(uint64_t{0} - static_cast<uint64_t>(a));
  }
  return static_cast<T>(a / b);
}

template <class T>
FILIGREE_INLINE T remainder(T a, T b) {
  if constexpr (kSigned<T>) {
    if (b == -1) return 0;
  }
  return static_cast<T>(a % b);
}

template <class T>
FILIGREE_INLINE T floorRemainder(T a, T b) {
  const T rest = remainder(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
}

/// a^b, wrapped; a negative power is 0 unless a is 1 or -1.
template <class T>
FILIGREE_INLINE T power(T a, T b) {
  if constexpr (kSigned<T>) {
    if (b < 0) return a == 1 ? T{1} : a == -1 ? static_cast<T>(b % 2 == 0 ? 1 : -1) : T{0};
  }
  uint64_t result = 1, factor = static_cast<uint64_t>(a), left = static_cast<uint64_t>(b);
  for (; left > 0; left >>= 1) {
    if (left & 1) result *= factor;
    factor *= factor;
  }
  return static_cast<T>(result);
}

template <class T, class R, class F>
FILIGREE_INLINE const char* mapped(const T* a, const T* b, R* y, int64_t n, F f) {
  mapScalars(a, b, y, n, f);
  return nullptr;
}

template <class T>
const char* compare(const T* a, const T* b, uint8_t* y, int64_t n, int64_t op) {
  switch (op) {
    case kEqual:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA { return u == v; });
    case kLess:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA { return u < v; });
    case kLessOrEqual:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA { return u <= v; });
    case kGreater:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA { return u > v; });
    default:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA { return u >= v; });
  }
}

template <class T>
bool anyZero(const T* b, int64_t n) {
  bool found = false;
  for (int64_t i = 0; i < n; i++) found |= b[i] == 0;
  return found;
}

/// True where 0 is raised to a negative power.
template <class T>
bool undefinedPower(const T* a, const T* b, int64_t n) {
  bool found = false;
  for (int64_t i = 0; i < n; i++) found |= a[i] == 0 && b[i] < 0;
  return found;
}

template <class T>
const char* divide(const T* a, const T* b, T* y, int64_t n, int64_t op) {
  if (anyZero(b, n)) return "integer division by zero";
  if (op == kDiv) return mapped(a, b, y, n, quotient<T>);
  if (op == kMod) return mapped(a, b, y, n, floorRemainder<T>);
  return mapped(a, b, y, n, remainder<T>);
}

/// Returns a text where the data forbids the operation.
template <class T>
const char* compute(const T* a, const T* b, T* y, int64_t n, int64_t op) {
  typedef typename Bits<T>::Type U;
  const uint64_t width = sizeof(T) * 8;
  switch (op) {
    case kAdd:
      return mapped(a, b, y, n,
                    [](T u, T v) FILIGREE_LAMBDA { return static_cast<T>(static_cast<U>(u) + static_cast<U>(v)); });
    case kSub:
      return mapped(a, b, y, n,
                    [](T u, T v) FILIGREE_LAMBDA { return static_cast<T>(static_cast<U>(u) - static_cast<U>(v)); });
    case kMul:
      // Widened: a product of 16-bit numbers would overflow int.
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA {
        return static_cast<T>(static_cast<U>(u) * (sizeof(U) == 8 ? uint64_t{1} : uint32_t{1}) * static_cast<U>(v));
      });
    case kPow:
      return undefinedPower(a, b, n) ? "integer division by zero" : mapped(a, b, y, n, power<T>);
    case kMax:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA { return u > v ? u : v; });
    case kMin:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA { return u < v ? u : v; });
    case kPRelu:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA {
        return u < 0 ? static_cast<T>(static_cast<uint64_t>(u) * static_cast<uint64_t>(v)) : u;
      });
    case kBitAnd:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA { return static_cast<T>(u & v); });
    case kBitOr:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA { return static_cast<T>(u | v); });
    case kBitXor:
      return mapped(a, b, y, n, [](T u, T v) FILIGREE_LAMBDA { return static_cast<T>(u ^ v); });
    case kShiftLeft:
      return mapped(a, b, y, n, [=](T u, T v) FILIGREE_LAMBDA {
        return static_cast<uint64_t>(v) < width ? static_cast<T>(static_cast<uint64_t>(u) << v) : T{0};
      });
    case kShiftRight:
      return mapped(a, b, y, n, [=](T u, T v) FILIGREE_LAMBDA {
        return static_cast<uint64_t>(v) < width ? static_cast<T>(u >> v) : static_cast<T>(u < 0 ? -1 : 0);
      });
    default:
      return divide(a, b, y, n, op);
  }
}

template <class T>
void runIntegers(const Step& step, Range* range) {
  const int64_t op = intParam(step, 0);
  forBinaryBlocks<T>(step, *range, [&](const T* a, const T* b, int64_t at, int n) {
    const char* problem = op >= kEqual ? compare(a, b, output<uint8_t>(step, 2) + at, n, op)
                                       : compute(a, b, output<T>(step, 2) + at, n, op);
    if (problem) range->error = problem;
    return !problem;
  });
}

FILIGREE_INLINE double floorModulo(double a, double b) {
  const double rest = __builtin_fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

const char* computeDoubles(const double* a, const double* b, double* y, int64_t n, int64_t op) {
  switch (op) {
    case kAdd:
      return mapped(a, b, y, n, [](double u, double v) FILIGREE_LAMBDA { return u + v; });
    case kSub:
      return mapped(a, b, y, n, [](double u, double v) FILIGREE_LAMBDA { return u - v; });
    case kMul:
      return mapped(a, b, y, n, [](double u, double v) FILIGREE_LAMBDA { return u * v; });
    case kDiv:
      return mapped(a, b, y, n, [](double u, double v) FILIGREE_LAMBDA { return u / v; });
    case kPow:
      return mapped(a, b, y, n, [](double u, double v) FILIGREE_LAMBDA { return __builtin_pow(u, v); });
    case kMod:
      return mapped(a, b, y, n, floorModulo);
    case kFmod:
      return mapped(a, b, y, n, [](double u, double v) FILIGREE_LAMBDA { return __builtin_fmod(u, v); });
    case kMax:
      return mapped(a, b, y, n, [](double u, double v) FILIGREE_LAMBDA { return u > v || u != u ? u : v; });
    case kMin:
      return mapped(a, b, y, n, [](double u, double v) FILIGREE_LAMBDA { return u < v || u != u ? u : v; });
    default:
      return mapped(a, b, y, n, [](double u, double v) FILIGREE_LAMBDA { return u < 0 ? u * v : u; });
  }
}

const char* checkDoubles(const Step& step, Work* work) {
  if (const char* problem = checkBinary<double>(step, work)) return problem;
  const int64_t op = intParam(step, 0);
  return op > kPRelu && op < kBinaryOps ? "no such operation on floats" : nullptr;
}

void runDoubles(const Step& step, Range* range) {
  const int64_t op = intParam(step, 0);
  forBinaryBlocks<double>(step, *range, [&](const double* a, const double* b, int64_t at, int n) {
    if (op >= kEqual) {
      compare(a, b, output<uint8_t>(step, 2) + at, n, op);
    } else {
      computeDoubles(a, b, output<double>(step, 2) + at, n, op);
    }
    return true;
  });
}

}  // namespace

// y = op(a, b), broadcast; y may be an operand that is dense over `dims`. Integers wrap; bools are bytes of 0 and 1.
FILIGREE_KERNEL(binaryF64) = {"binary.f64", "r:a r:b w:y", kBinaryParams, checkDoubles,
                              runDoubles,   nullptr,       nullptr,       false};

#define INTEGER_KERNEL(id, name, T) \
  FILIGREE_KERNEL(id) = {name, "r:a r:b w:y", kBinaryParams, checkBinary<T>, runIntegers<T>, nullptr, nullptr, false};
INTEGER_KERNEL(binaryI8, "binary.i8", int8_t)
INTEGER_KERNEL(binaryI16, "binary.i16", int16_t)
INTEGER_KERNEL(binaryI32, "binary.i32", int32_t)
INTEGER_KERNEL(binaryI64, "binary.i64", int64_t)
INTEGER_KERNEL(binaryU8, "binary.u8", uint8_t)
INTEGER_KERNEL(binaryU16, "binary.u16", uint16_t)
INTEGER_KERNEL(binaryU32, "binary.u32", uint32_t)
INTEGER_KERNEL(binaryU64, "binary.u64", uint64_t)
#undef INTEGER_KERNEL

}  // namespace FILIGREE_ISA
}  // namespace filigree
