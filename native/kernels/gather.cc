// Gathers: slices along an axis, single elements along an axis, slices at coordinates.
#include <cstring>

#include "kernels/indices.h"
#include "kernels/rows.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

FILIGREE_INLINE void copySlice(uint8_t* y, const uint8_t* x, int64_t bytes) {
  switch (bytes) {
    case 4:
      std::memcpy(y, x, 4);
      return;
    case 8:
      std::memcpy(y, x, 8);
      return;
    default:
      std::memmove(y, x, static_cast<size_t>(bytes));
  }
}

const char* checkGather(const Step& step, Work* work) {
  const int64_t outer = intParam(step, 0), axis = intParam(step, 1), count = intParam(step, 2);
  const int64_t slice = intParam(step, 3), bytes = intParam(step, 4);
  if (bytes != 4 && bytes != 8) return "an index has 4 or 8 bytes";
  const int64_t rows = product(outer, count);
  if (!holds(step, 0, product(product(outer, axis), slice), 1)) return "x holds fewer elements than its sizes say";
  if (!holds(step, 1, count, bytes)) return "indices holds fewer elements than its sizes say";
  if (!holds(step, 2, product(rows, slice), 1)) return "y holds fewer elements than its sizes say";
  rowWork(rows, slice, 0.06, work);
  return nullptr;
}

void runGather(const Step& step, Range* range) {
  const int64_t axis = intParam(step, 1), count = intParam(step, 2), slice = intParam(step, 3);
  const uint8_t* x = input<uint8_t>(step, 0);
  const uint8_t* indices = input<uint8_t>(step, 1);
  uint8_t* y = output<uint8_t>(step, 2);
  const Rows rows = rowsOf(*range, intParam(step, 0) * count, slice);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const int64_t index = indexAt(indices, intParam(step, 4), row % count, axis);
    if (index < 0) {
      range->error = kOutOfRange;
      return;
    }
    copySlice(y + row * slice, x + (row / count * axis + index) * slice, slice);
  }
}

const char* checkElements(const Step& step, Work* work) {
  const int64_t width = intParam(step, 0), bytes = intParam(step, 1), axis = intParam(step, 2);
  if (width != 1 && width != 2 && width != 4 && width != 8 && width != 16)
    return "elements have 1, 2, 4, 8 or 16 bytes";
  if (bytes != 4 && bytes != 8) return "an index has 4 or 8 bytes";
  Space space;
  if (const char* problem = readSpace(listParam(step, 4, 0), &space)) return problem;
  const List strides = listParam(step, 4, 1);
  // The axis itself is one more dimension of x.
  if (space.rank == kMaxRank) return "a gather of elements has at most 7 dimensions";
  if (strides.count != listParam(step, 4, 0).count) return "every dimension needs a stride";
  int64_t dims[kMaxRank] = {1}, steps[kMaxRank] = {0};
  for (int64_t i = 0; i < strides.count; i++) {
    dims[i] = space.dims[i];
    steps[i] = strides.items[i];
  }
  dims[space.rank] = axis;
  steps[space.rank] = intParam(step, 3);
  Space all;
  if (const char* problem = readSpace({dims, space.rank + 1}, &all)) return problem;
  if (!reaches(step, 0, all, {steps, space.rank + 1}, 0, width)) return "the strides leave x";
  if (!holds(step, 1, space.count, bytes)) return "indices holds fewer elements than `dims`";
  if (!holds(step, 2, space.count, width)) return "y holds fewer elements than `dims`";
  elementWork(space.count, 2, work);
  return nullptr;
}

void runElements(const Step& step, Range* range) {
  const int64_t width = intParam(step, 0), bytes = intParam(step, 1), axis = intParam(step, 2);
  Space space;
  readSpace(listParam(step, 4, 0), &space);
  const Strides strides = readStrides(listParam(step, 4, 1));
  const int64_t end = unitEnd(range->end, space.count);
  Cursor cursor = cursorAt(space, range->begin * kUnitElements);
  for (int64_t at = range->begin * kUnitElements; at < end; at++) {
    const int64_t index = indexAt(input<uint8_t>(step, 1), bytes, at, axis);
    if (index < 0) {
      range->error = kOutOfRange;
      return;
    }
    const int64_t from = offsetOf(space, cursor, strides) + index * intParam(step, 3);
    copySlice(output<uint8_t>(step, 2) + at * width, input<uint8_t>(step, 0) + from * width, width);
    advance(space, &cursor, 1);
  }
}

const char* checkPoints(const Step& step, Work* work) {
  const int64_t batch = intParam(step, 0), count = intParam(step, 1), slice = intParam(step, 2),
                bytes = intParam(step, 3);
  if (bytes != 4 && bytes != 8) return "an index has 4 or 8 bytes";
  Space space;
  const List dims = listParam(step, 4, 0);
  if (const char* problem = readSpace(dims, &space)) return problem;
  const int64_t rows = product(batch, count);
  if (!holds(step, 0, product(product(batch, space.count), slice), 1))
    return "x holds fewer elements than its sizes say";
  if (!holds(step, 1, product(rows, dims.count), bytes)) return "indices holds fewer elements than its sizes say";
  if (!holds(step, 2, product(rows, slice), 1)) return "y holds fewer elements than its sizes say";
  rowWork(rows, slice, 0.06, work);
  return nullptr;
}

void runPoints(const Step& step, Range* range) {
  const int64_t count = intParam(step, 1), slice = intParam(step, 2), bytes = intParam(step, 3);
  const List dims = listParam(step, 4, 0);
  Space space;
  readSpace(dims, &space);
  const Rows rows = rowsOf(*range, intParam(step, 0) * count, slice);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    int64_t at = row / count;
    for (int64_t k = 0; k < dims.count; k++) {
      const int64_t index = indexAt(input<uint8_t>(step, 1), bytes, row * dims.count + k, dims.items[k]);
      if (index < 0) {
        range->error = kOutOfRange;
        return;
      }
      at = at * dims.items[k] + index;
    }
    copySlice(output<uint8_t>(step, 2) + row * slice, input<uint8_t>(step, 0) + at * slice, slice);
  }
}

}  // namespace

// y [outer, count, slice] = x [outer, axis, slice] at the indices; slices in bytes, indices of `index_bytes`.
FILIGREE_KERNEL(gatherAxis) = {"gather",
                               "r:x r:indices w:y",
                               "i:outer i:axis i:count i:slice i:index_bytes",
                               checkGather,
                               runGather,
                               nullptr,
                               nullptr,
                               false};

// For every position of `dims`: y = x[position . strides + index * axis_stride] in elements of `width` bytes, the
// index standing in `indices`, which is dense over `dims`, as y is.
FILIGREE_KERNEL(gatherElements) = {"gather.elements",
                                   "r:x r:indices w:y",
                                   "i:width i:index_bytes i:axis i:axis_stride l:dims l:strides",
                                   checkElements,
                                   runElements,
                                   nullptr,
                                   nullptr,
                                   false};

// y [batch, count, slice] = x [batch, dims..., slice] at indices [batch, count, rank of dims]; slices in bytes.
FILIGREE_KERNEL(gatherPoints) = {"gather.points",
                                 "r:x r:indices w:y",
                                 "i:batch i:count i:slice i:index_bytes l:dims",
                                 checkPoints,
                                 runPoints,
                                 nullptr,
                                 nullptr,
                                 false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
