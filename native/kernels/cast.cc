// Casts between the numeric types that have native storage.
#include "kernels/space.h"
#include "simd/half.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Element types by their ONNX numbers.
enum Type : int64_t {
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kBool = 9,
  kHalf = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kBfloat = 16,
};

/// Bytes of an element; 0 for types without native casts.
int64_t widthOf(int64_t type) {
  switch (type) {
    case kUint8:
    case kInt8:
    case kBool:
      return 1;
    case kUint16:
    case kInt16:
    case kHalf:
    case kBfloat:
      return 2;
    case kFloat:
    case kInt32:
    case kUint32:
      return 4;
    case kInt64:
    case kDouble:
    case kUint64:
      return 8;
    default:
      return 0;
  }
}

template <class T>
constexpr bool kIsFloat = static_cast<T>(0.5) != 0;

/// Float to integer. What is out of range is undefined in ONNX; as x86 has it, the register that is converted to (32
/// bits for the narrow types, 64 for the others) becomes its least value.
template <class To, class From>
FILIGREE_INLINE To truncate(From value) {
  constexpr From half = 9223372036854775808.0;
  if constexpr (sizeof(To) == 8 && static_cast<To>(-1) > static_cast<To>(0)) {
    if (value >= half) return value < 2 * half ? static_cast<To>(value) : static_cast<To>(uint64_t{1} << 63);
  }
  if constexpr (sizeof(To) == 8 || (sizeof(To) == 4 && static_cast<To>(-1) > static_cast<To>(0))) {
    const bool fits = value >= -half && value < half;
    return static_cast<To>(fits ? static_cast<int64_t>(value) : static_cast<int64_t>(uint64_t{1} << 63));
  } else {
    const bool fits = value > static_cast<From>(-2147483649.0) && value < static_cast<From>(2147483648.0);
    return static_cast<To>(fits ? static_cast<int32_t>(value) : static_cast<int32_t>(0x80000000u));
  }
}

template <class To, class From>
FILIGREE_INLINE To convert(From value) {
  if constexpr (kIsFloat<From> && !kIsFloat<To>) {
    return truncate<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

template <class From, class To>
void convertRun(const From* x, To* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = convert<To>(x[i]);
}

template <class From>
void toBool(const From* x, uint8_t* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] != 0;
}

template <class From>
void toHalf(const From* x, uint16_t* y, int64_t n) {
  if constexpr (sizeof(From) == 8 && kIsFloat<From>) {
    for (int64_t i = 0; i < n; i++) y[i] = doubleToHalf(x[i]);
  } else {
    float block[kBlock];
    for (int64_t i = 0; i < n; i += kBlock) {
      const int64_t length = n - i < kBlock ? n - i : kBlock;
      convertRun(x + i, block, length);
      floatsToHalves(block, y + i, length);
    }
  }
}

template <class From>
void toBfloat(const From* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = floatToBfloat(static_cast<float>(x[i]));
}

template <class To>
FILIGREE_INLINE To* at(void* y) {
  return static_cast<To*>(y);
}

template <class From>
void castFrom(const From* x, int64_t to, void* y, int64_t n) {
  switch (to) {
    case kFloat:
      return convertRun(x, at<float>(y), n);
    case kUint8:
      return convertRun(x, at<uint8_t>(y), n);
    case kInt8:
      return convertRun(x, at<int8_t>(y), n);
    case kUint16:
      return convertRun(x, at<uint16_t>(y), n);
    case kInt16:
      return convertRun(x, at<int16_t>(y), n);
    case kInt32:
      return convertRun(x, at<int32_t>(y), n);
    case kInt64:
      return convertRun(x, at<int64_t>(y), n);
    case kBool:
      return toBool(x, at<uint8_t>(y), n);
    case kHalf:
      return toHalf(x, at<uint16_t>(y), n);
    case kDouble:
      return convertRun(x, at<double>(y), n);
    case kUint32:
      return convertRun(x, at<uint32_t>(y), n);
    case kUint64:
      return convertRun(x, at<uint64_t>(y), n);
    case kBfloat:
      return toBfloat(x, at<uint16_t>(y), n);
  }
}

/// Sources that are only bits go through float32, which holds them exactly.
template <class Bits>
void castFromBits(const Bits* x, int64_t to, uint8_t* y, int64_t n) {
  float block[kBlock];
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t length = n - i < kBlock ? n - i : kBlock;
    toFloats(x + i, block, length);
    castFrom(block, to, y + i * widthOf(to), length);
  }
}

const char* checkCast(const Step& step, Work* work) {
  const int64_t from = widthOf(intParam(step, 0)), to = widthOf(intParam(step, 1)), count = intParam(step, 2);
  if (from == 0 || to == 0) return "no native cast between these types";
  if (!holds(step, 0, count, from)) return "x holds fewer than `count` elements";
  if (!holds(step, 1, count, to)) return "y holds fewer than `count` elements";
  elementWork(count, 0.2, work);
  return nullptr;
}

void runCast(const Step& step, Range* range) {
  const int64_t from = intParam(step, 0), to = intParam(step, 1);
  const int64_t begin = range->begin * kUnitElements, n = unitEnd(range->end, intParam(step, 2)) - begin;
  const uint8_t* x = input<uint8_t>(step, 0) + begin * widthOf(from);
  uint8_t* y = output<uint8_t>(step, 1) + begin * widthOf(to);
  switch (from) {
    case kFloat:
      return castFrom(reinterpret_cast<const float*>(x), to, y, n);
    case kUint8:
    case kBool:
      return castFrom(x, to, y, n);
    case kInt8:
      return castFrom(reinterpret_cast<const int8_t*>(x), to, y, n);
    case kUint16:
      return castFrom(reinterpret_cast<const uint16_t*>(x), to, y, n);
    case kInt16:
      return castFrom(reinterpret_cast<const int16_t*>(x), to, y, n);
    case kInt32:
      return castFrom(reinterpret_cast<const int32_t*>(x), to, y, n);
    case kInt64:
      return castFrom(reinterpret_cast<const int64_t*>(x), to, y, n);
    case kHalf:
      return castFromBits(reinterpret_cast<const Half*>(x), to, y, n);
    case kDouble:
      return castFrom(reinterpret_cast<const double*>(x), to, y, n);
    case kUint32:
      return castFrom(reinterpret_cast<const uint32_t*>(x), to, y, n);
    case kUint64:
      return castFrom(reinterpret_cast<const uint64_t*>(x), to, y, n);
    case kBfloat:
      return castFromBits(reinterpret_cast<const Bfloat*>(x), to, y, n);
  }
}

}  // namespace

// y = x converted; types by their ONNX numbers: 1 to 7, 9 to 13 and 16, complex and string excepted. Integers wrap,
// floats become integers towards zero, anything but zero is true.
FILIGREE_KERNEL(cast) = {"cast", "r:x w:y", "i:from i:to i:count", checkCast, runCast, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
