// Scatters: updates written or combined into a tensor at indices.
#include <cstring>

#include "kernels/indices.h"
#include "kernels/space.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum Reduction : int64_t { kNone, kAddUpdate, kMulUpdate, kMaxUpdate, kMinUpdate, kReductions };

/// Types that can be combined, by their ONNX numbers.
enum Type : int64_t { kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6, kInt64 = 7, kDouble = 11 };

const char* checkCommon(const Step& step) {
  const int64_t reduction = intParam(step, 0), width = intParam(step, 1), type = intParam(step, 2);
  const int64_t bytes = intParam(step, 3);
  if (reduction < 0 || reduction >= kReductions) return "no reduction of this number";
  if (bytes != 4 && bytes != 8) return "an index has 4 or 8 bytes";
  if (width < 1 || width > 16) return "elements have 1 to 16 bytes";
  const int64_t needed = type == kFloat || type == kInt32 ? 4 : type == kInt64 || type == kDouble ? 8 : 1;
  const bool known = type == kUint8 || type == kInt8 || needed != 1;
  if (reduction != kNone && (!known || needed != width)) return "no reduction of elements of this type";
  return nullptr;
}

template <class T>
FILIGREE_INLINE T combine(T held, T update, int64_t reduction) {
  switch (reduction) {
    case kAddUpdate:
      return static_cast<T>(held + update);
    case kMulUpdate:
      return static_cast<T>(held * update);
    case kMaxUpdate:
      return held != held || held >= update ? held : update;
    default:
      return held != held || held <= update ? held : update;
  }
}

/// int32 and int64 wrap: they are added and multiplied as unsigned numbers.
template <class T, class U>
FILIGREE_INLINE T combineWrapped(T held, T update, int64_t reduction) {
  if (reduction == kAddUpdate) return static_cast<T>(static_cast<U>(held) + static_cast<U>(update));
  if (reduction == kMulUpdate) return static_cast<T>(static_cast<U>(held) * static_cast<U>(update));
  return combine(held, update, reduction);
}

template <class T, class F>
FILIGREE_INLINE void apply(uint8_t* y, const uint8_t* update, int64_t count, F f) {
  T* to = reinterpret_cast<T*>(y);
  const T* from = reinterpret_cast<const T*>(update);
  for (int64_t i = 0; i < count; i++) to[i] = f(to[i], from[i]);
}

/// Writes or combines `count` elements.
void put(const Step& step, uint8_t* y, const uint8_t* update, int64_t count) {
  const int64_t reduction = intParam(step, 0);
  if (reduction == kNone) {
    std::memmove(y, update, static_cast<size_t>(count * intParam(step, 1)));
    return;
  }
  switch (intParam(step, 2)) {
    case kFloat:
      return apply<float>(y, update, count, [=](float h, float u) { return combine(h, u, reduction); });
    case kDouble:
      return apply<double>(y, update, count, [=](double h, double u) { return combine(h, u, reduction); });
    case kInt32:
      return apply<int32_t>(y, update, count,
                            [=](int32_t h, int32_t u) { return combineWrapped<int32_t, uint32_t>(h, u, reduction); });
    case kInt64:
      return apply<int64_t>(y, update, count,
                            [=](int64_t h, int64_t u) { return combineWrapped<int64_t, uint64_t>(h, u, reduction); });
    case kInt8:
      return apply<int8_t>(y, update, count, [=](int8_t h, int8_t u) { return combine(h, u, reduction); });
    default:
      return apply<uint8_t>(y, update, count, [=](uint8_t h, uint8_t u) { return combine(h, u, reduction); });
  }
}

/// The dimension along which updates can be dealt out: those of different positions never meet.
struct Split {
  int64_t outer, positions, inner;
};

Split splitOf(const Space& space, List strides) {
  Split split = {1, 1, space.count};
  if (space.count == 0) return split;
  int64_t outer = 1;
  for (int i = 0; i < space.rank && i < strides.count; i++) {
    const int64_t positions = space.dims[i];
    if (strides.items[i] != 0 && positions > split.positions) {
      split = {outer, positions, space.count / (outer * positions)};
    }
    outer *= positions;
  }
  return split;
}

const char* checkElements(const Step& step, Work* work) {
  if (const char* problem = checkCommon(step)) return problem;
  const int64_t width = intParam(step, 1), axis = intParam(step, 4);
  Space space, all;
  if (const char* problem = readSpace(listParam(step, 6, 0), &space)) return problem;
  const List strides = listParam(step, 6, 1);
  if (space.rank == kMaxRank) return "a scatter of elements has at most 7 dimensions";
  if (strides.count != listParam(step, 6, 0).count) return "every dimension needs a stride";
  int64_t dims[kMaxRank] = {1}, steps[kMaxRank] = {0};
  for (int64_t i = 0; i < strides.count; i++) {
    dims[i] = space.dims[i];
    steps[i] = strides.items[i];
  }
  dims[space.rank] = axis;
  steps[space.rank] = intParam(step, 5);
  if (const char* problem = readSpace({dims, space.rank + 1}, &all)) return problem;
  if (!holds(step, 0, space.count, intParam(step, 3))) return "indices holds fewer elements than `dims`";
  if (!holds(step, 1, space.count, width)) return "updates holds fewer elements than `dims`";
  if (!reaches(step, 2, all, {steps, space.rank + 1}, 0, width)) return "the strides leave y";
  *work = {splitOf(space, strides).positions, 1.2 * static_cast<double>(space.count), 0};
  if (space.count == 0) work->units = 0;
  return nullptr;
}

/// Elements from number `begin` to `end`, in order: several may meet, and the last has to win.
const char* scatterElements(const Step& step, const Space& space, const Strides& strides, int64_t begin, int64_t end) {
  const int64_t width = intParam(step, 1), axis = intParam(step, 4), stride = intParam(step, 5);
  const int64_t bytes = intParam(step, 3), last = space.rank - 1;
  const uint8_t* indices = input<uint8_t>(step, 0);
  const uint8_t* updates = input<uint8_t>(step, 1);
  const bool words = width == 4 && intParam(step, 0) == kNone;
  Cursor cursor = cursorAt(space, begin);
  for (int64_t i = begin; i < end;) {
    const int64_t left = space.dims[last] - cursor.at[last];
    const int64_t run = left < end - i ? left : end - i;
    const int64_t base = offsetOf(space, cursor, strides), along = strides.of[last];
    for (int64_t k = 0; k < run; k++) {
      const int64_t index = indexAt(indices, bytes, i + k, axis);
      if (index < 0) return kOutOfRange;
      uint8_t* to = output<uint8_t>(step, 2) + (base + k * along + index * stride) * width;
      if (words) {
        std::memcpy(to, updates + (i + k) * 4, 4);
      } else {
        put(step, to, updates + (i + k) * width, 1);
      }
    }
    i += run;
    advance(space, &cursor, run);
  }
  return nullptr;
}

void runElements(const Step& step, Range* range) {
  Space space;
  readSpace(listParam(step, 6, 0), &space);
  const List list = listParam(step, 6, 1);
  const Split split = splitOf(space, list);
  const Strides strides = readStrides(list);
  for (int64_t outer = 0; outer < split.outer; outer++) {
    const int64_t at = outer * split.positions;
    const char* wrong =
        scatterElements(step, space, strides, (at + range->begin) * split.inner, (at + range->end) * split.inner);
    if (wrong) range->error = wrong;
  }
}

const char* checkPoints(const Step& step, Work* work) {
  if (const char* problem = checkCommon(step)) return problem;
  const int64_t width = intParam(step, 1), count = intParam(step, 4), slice = product(intParam(step, 5), width);
  const List dims = listParam(step, 6, 0);
  Space space;
  if (const char* problem = readSpace(dims, &space)) return problem;
  if (!holds(step, 0, product(count, dims.count), intParam(step, 3))) return "indices is too small";
  if (!holds(step, 1, product(count, slice), 1)) return "updates is too small";
  if (!holds(step, 2, product(space.count, slice), 1)) return "y holds fewer elements than its sizes say";
  *work = {count > 0, static_cast<double>(count) * (5 + 0.1 * static_cast<double>(slice)), 0};
  return nullptr;
}

void runPoints(const Step& step, Range* range) {
  const int64_t width = intParam(step, 1), slice = intParam(step, 5);
  const List dims = listParam(step, 6, 0);
  for (int64_t i = 0; i < intParam(step, 4); i++) {
    int64_t at = 0;
    for (int64_t k = 0; k < dims.count; k++) {
      const int64_t index = indexAt(input<uint8_t>(step, 0), intParam(step, 3), i * dims.count + k, dims.items[k]);
      if (index < 0) {
        range->error = kOutOfRange;
        return;
      }
      at = at * dims.items[k] + index;
    }
    put(step, output<uint8_t>(step, 2) + at * slice * width, input<uint8_t>(step, 1) + i * slice * width, slice);
  }
}

}  // namespace

// For every position of `dims`, over which indices and updates are dense: the update goes to
// y[position . strides + index * axis_stride]. reduction: 0 overwrites, 1 adds, 2 multiplies, 3 keeps the greater, 4
// the smaller; elements have `width` bytes, those that are combined the ONNX type `type`.
FILIGREE_KERNEL(scatterElements) = {"scatter.elements",
                                    "r:indices r:updates rw:y",
                                    "i:reduction i:width i:type i:index_bytes i:axis i:axis_stride l:dims l:strides",
                                    checkElements,
                                    runElements,
                                    nullptr,
                                    nullptr,
                                    false};

// updates [count, slice] go to y [dims..., slice] at indices [count, rank of dims].
FILIGREE_KERNEL(scatterPoints) = {"scatter.points",
                                  "r:indices r:updates rw:y",
                                  "i:reduction i:width i:type i:index_bytes i:count i:slice l:dims",
                                  checkPoints,
                                  runPoints,
                                  nullptr,
                                  nullptr,
                                  false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
