// Iteration spaces: up to 8 dimensions, walked in row-major order, that each operand walks with strides of its own.
#pragma once
#include "kernels/kernel_support.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kMaxRank = 8;
/// Elements that one pass over a block handles; what operands do not hold contiguously is brought together in buffers
/// of this size.
constexpr int kBlock = 512;
/// Elements in a unit of work.
constexpr int64_t kUnitElements = 16 * kBlock;

/// Extents; rank 0 reads as one dimension of size 1.
struct Space {
  int rank;
  int64_t count;
  int64_t dims[kMaxRank];
};

FILIGREE_INLINE const char* readSpace(List list, Space* space) {
  space->rank = 1;
  space->count = 1;
  space->dims[0] = 1;
  if (list.count > kMaxRank) return "a space has at most 8 dimensions";
  if (list.count > 0) space->rank = static_cast<int>(list.count);
  for (int64_t i = 0; i < list.count; i++) {
    if (list.items[i] < 0) return "a dimension is negative";
    space->dims[i] = list.items[i];
    space->count = product(space->count, list.items[i]);
  }
  return space->count < 0 ? "the space has more elements than can be counted" : nullptr;
}

/// Strides in elements of one operand; missing ones (rank 0) are 0.
struct Strides {
  int64_t of[kMaxRank];
};

FILIGREE_INLINE Strides readStrides(List list) {
  Strides strides = {};
  for (int64_t i = 0; i < list.count && i < kMaxRank; i++) strides.of[i] = list.items[i];
  return strides;
}

/// True where the walk of `strides` from element `offset` stays inside operand k of `size`-byte elements.
FILIGREE_INLINE bool reaches(const Step& step, int k, const Space& space, List strides, int64_t offset, int64_t size) {
  if (strides.count > space.rank || (strides.count < space.rank && strides.count != 0)) return false;
  if (space.count == 0) return true;
  int64_t low = offset, high = offset;
  for (int64_t i = 0; i < strides.count; i++) {
    int64_t span;
    if (__builtin_mul_overflow(space.dims[i] - 1, strides.items[i], &span)) return false;
    int64_t* end = span < 0 ? &low : &high;
    if (__builtin_add_overflow(*end, span, end)) return false;
  }
  int64_t count;
  return low >= 0 && !__builtin_add_overflow(high, 1, &count) && holds(step, k, count, size);
}

/// A position in a space.
struct Cursor {
  int64_t at[kMaxRank];
};

FILIGREE_INLINE Cursor cursorAt(const Space& space, int64_t linear) {
  Cursor cursor;
  for (int i = space.rank - 1; i > 0; i--) {
    cursor.at[i] = linear % space.dims[i];
    linear /= space.dims[i];
  }
  cursor.at[0] = linear;
  return cursor;
}

FILIGREE_INLINE int64_t offsetOf(const Space& space, const Cursor& cursor, const Strides& strides) {
  int64_t offset = 0;
  for (int i = 0; i < space.rank; i++) offset += cursor.at[i] * strides.of[i];
  return offset;
}

/// Moves on by n elements.
FILIGREE_INLINE void advance(const Space& space, Cursor* cursor, int64_t n) {
  for (int i = space.rank - 1; i > 0; i--) {
    cursor->at[i] += n;
    if (cursor->at[i] < space.dims[i]) return;
    n = cursor->at[i] / space.dims[i];
    cursor->at[i] %= space.dims[i];
  }
  cursor->at[0] += n;
}

/// Elements of the next block: rows of at least 64 elements are not joined, so that operands can be used in place.
FILIGREE_INLINE int blockLength(const Space& space, const Cursor& cursor, int64_t left) {
  const int last = space.rank - 1;
  int64_t n = left < kBlock ? left : kBlock;
  if (space.dims[last] >= 64) {
    const int64_t row = space.dims[last] - cursor.at[last];
    if (row < n) n = row;
  }
  return static_cast<int>(n);
}

/// Brings blocks of one operand together.
template <class T>
struct Fetcher {
  const T* data;
  Strides strides;
  /// `repeats`: a short row that every position of the outer dimensions sees again.
  bool dense, constant, repeats, filled;
  T buffer[kBlock + 64];

  void open(const Space& space, const T* from, List list) {
    data = from;
    strides = readStrides(list);
    dense = constant = repeats = true;
    filled = false;
    int64_t want = 1;
    for (int i = space.rank - 1; i >= 0; i--) {
      if (space.dims[i] != 1 && strides.of[i] != want) dense = false;
      if (space.dims[i] != 1 && strides.of[i] != 0) constant = false;
      if (space.dims[i] != 1 && strides.of[i] != 0 && i < space.rank - 1) repeats = false;
      want *= space.dims[i];
    }
    if (space.dims[space.rank - 1] >= 64) repeats = false;
  }

  /// n elements from the cursor on, contiguous. Valid until the next call.
  const T* block(const Space& space, const Cursor& cursor, int n) {
    if (constant) {
      if (!filled) fill(buffer, data[0], kBlock);
      filled = true;
      return buffer;
    }
    const int last = space.rank - 1;
    const int64_t stride = strides.of[last];
    if (repeats && !dense) {
      if (!filled) repeatRow(space.dims[last], stride);
      filled = true;
      return buffer + cursor.at[last];
    }
    const T* from = data + offsetOf(space, cursor, strides);
    const bool inRow = cursor.at[last] + n <= space.dims[last];
    if (dense || (inRow && stride == 1)) return from;
    if (inRow) {
      copyRow(buffer, from, stride, n);
    } else {
      copyRows(space, cursor, n);
    }
    return buffer;
  }

 private:
  void repeatRow(int64_t n, int64_t stride) {
    for (int64_t i = 0; i < n; i++) buffer[i] = data[i * stride];
    for (int64_t i = n; i < kBlock + 64; i++) buffer[i] = buffer[i - n];
  }

  static void fill(T* to, T value, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = value;
  }

  static void copyRow(T* to, const T* from, int64_t stride, int64_t n) {
    if (stride == 0) {
      fill(to, *from, n);
    } else if (stride == 1) {
      for (int64_t i = 0; i < n; i++) to[i] = from[i];
    } else {
      for (int64_t i = 0; i < n; i++) to[i] = from[i * stride];
    }
  }

  void copyRows(const Space& space, Cursor cursor, int64_t n) {
    const int last = space.rank - 1;
    T* to = buffer;
    while (n > 0) {
      const int64_t row = space.dims[last] - cursor.at[last];
      const int64_t run = row < n ? row : n;
      copyRow(to, data + offsetOf(space, cursor, strides), strides.of[last], run);
      to += run;
      n -= run;
      advance(space, &cursor, run);
    }
  }
};

/// Work of a pass over `count` elements that takes `nsPerElement` each.
FILIGREE_INLINE void elementWork(int64_t count, double nsPerElement, Work* work) {
  work->units = count / kUnitElements + (count % kUnitElements != 0);
  work->cost = static_cast<double>(count) * nsPerElement;
  work->scratch = 0;
}

FILIGREE_INLINE int64_t unitEnd(int64_t unit, int64_t count) {
  return unit * kUnitElements < count ? unit * kUnitElements : count;
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
