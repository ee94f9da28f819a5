// Where: elements of one of two operands by a condition, with broadcasting.
#include "kernels/space.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

struct Wide {
  uint64_t low, high;
};

const char* checkWhere(const Step& step, Work* work) {
  const int64_t width = intParam(step, 0);
  if (width != 1 && width != 2 && width != 4 && width != 8 && width != 16)
    return "elements have 1, 2, 4, 8 or 16 bytes";
  Space space;
  if (const char* problem = readSpace(listParam(step, 1, 0), &space)) return problem;
  if (!reaches(step, 0, space, listParam(step, 1, 1), 0, 1)) return "the strides leave c";
  if (!reaches(step, 1, space, listParam(step, 1, 2), 0, width)) return "the strides leave a";
  if (!reaches(step, 2, space, listParam(step, 1, 3), 0, width)) return "the strides leave b";
  if (!holds(step, 3, space.count, width)) return "y holds fewer elements than `dims`";
  elementWork(space.count, 0.1 * static_cast<double>(width), work);
  return nullptr;
}

template <class T>
void runWidth(const Step& step, const Range& range) {
  Space space;
  readSpace(listParam(step, 1, 0), &space);
  Fetcher<uint8_t> condition;
  Fetcher<T> a, b;
  condition.open(space, input<uint8_t>(step, 0), listParam(step, 1, 1));
  a.open(space, input<T>(step, 1), listParam(step, 1, 2));
  b.open(space, input<T>(step, 2), listParam(step, 1, 3));
  const int64_t end = unitEnd(range.end, space.count);
  int64_t at = range.begin * kUnitElements;
  Cursor cursor = cursorAt(space, at);
  while (at < end) {
    const int n = blockLength(space, cursor, end - at);
    const uint8_t* c = condition.block(space, cursor, n);
    const T* u = a.block(space, cursor, n);
    const T* v = b.block(space, cursor, n);
    T* y = output<T>(step, 3) + at;
#pragma GCC ivdep
    for (int i = 0; i < n; i++) {
      const T first = u[i], second = v[i];
      y[i] = c[i] ? first : second;
    }
    advance(space, &cursor, n);
    at += n;
  }
}

void runWhere(const Step& step, Range* range) {
  switch (intParam(step, 0)) {
    case 1:
      return runWidth<uint8_t>(step, *range);
    case 2:
      return runWidth<uint16_t>(step, *range);
    case 4:
      return runWidth<uint32_t>(step, *range);
    case 8:
      return runWidth<uint64_t>(step, *range);
    default:
      return runWidth<Wide>(step, *range);
  }
}

}  // namespace

// y = c ? a : b, broadcast, in elements of `width` bytes; y may be an operand that is dense over `dims`.
FILIGREE_KERNEL(where) = {"where",
                          "r:c r:a r:b w:y",
                          "i:width l:dims l:c_strides l:a_strides l:b_strides",
                          checkWhere,
                          runWhere,
                          nullptr,
                          nullptr,
                          false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
