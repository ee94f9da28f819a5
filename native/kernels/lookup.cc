// Values by sorted keys.
#include "kernels/rows.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum { kX, kKeys, kValues, kY };
enum { kCount, kKeyCount, kNaN, kWidth };

template <class T>
const char* check(const Step& step, Work* work) {
  const int64_t count = intParam(step, kCount), keys = intParam(step, kKeyCount), width = intParam(step, kWidth);
  if (width != 1 && width != 2 && width != 4 && width != 8) return "values have 1, 2, 4 or 8 bytes";
  if (!holds(step, kX, count, sizeof(T))) return "x is smaller than its count says";
  if (!holds(step, kKeys, keys, sizeof(T))) return "keys are fewer than their count";
  if (keys == INT64_MAX || !holds(step, kValues, keys + 1, width)) return "values are fewer than keys and one";
  if (intParam(step, kNaN) < 0 || !holds(step, kValues, product(intParam(step, kNaN) + 1, 1), width))
    return "nan is no value";
  if (!holds(step, kY, count, width)) return "y is smaller than its count says";
  elementWork(count, 2 + 2 * __builtin_log2(static_cast<double>(keys + 1)), work);
  return nullptr;
}

template <class T>
void run(const Step& step, Range* range) {
  const int64_t count = intParam(step, kCount), keys = intParam(step, kKeyCount), width = intParam(step, kWidth);
  const T *x = input<T>(step, kX), *sorted = input<T>(step, kKeys);
  const uint8_t* values = input<uint8_t>(step, kValues);
  uint8_t* y = output<uint8_t>(step, kY);
  const int64_t end = unitEnd(range->end, count);
  for (int64_t i = range->begin * kUnitElements; i < end; i++) {
    int64_t low = 0;
    // The first key that is not below x.
    for (int64_t left = keys; left > 0;) {
      const int64_t half = left / 2;
      const bool above = sorted[low + half] < x[i];
      low = above ? low + half + 1 : low;
      left = above ? left - half - 1 : half;
    }
    int64_t at = low < keys && sorted[low] == x[i] ? low : keys;
    if (x[i] != x[i]) at = intParam(step, kNaN);
    std::memcpy(y + i * width, values + at * width, static_cast<size_t>(width));
  }
}

constexpr const char* kOperands = "r:x r:keys r:values w:y";
constexpr const char* kParams = "i:count i:keys i:nan i:width";

}  // namespace

// y = the value at the position of x among ascending keys, the last where x is no key; `nan` is the position of NaN's.
// Values are of `width` bytes, at least one more than keys.
FILIGREE_KERNEL(lookupI64) = {"lookup.i64", kOperands, kParams, check<int64_t>, run<int64_t>, nullptr, nullptr, false};
FILIGREE_KERNEL(lookupF64) = {"lookup.f64", kOperands, kParams, check<double>, run<double>, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
