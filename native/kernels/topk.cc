// The k greatest or smallest elements along an axis.
#include "kernels/rows.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

template <class T>
const char* checkTop(const Step& step, Work* work) {
  const int64_t outer = intParam(step, 1), axis = intParam(step, 2), inner = intParam(step, 3), k = intParam(step, 4);
  const int64_t rows = product(outer, inner);
  if (k < 0 || k > axis) return "k is greater than the axis";
  if (!holds(step, 0, product(rows, axis), sizeof(T))) return "x holds fewer elements than its sizes say";
  if (!holds(step, 1, product(rows, k), sizeof(T))) return "values holds fewer elements than its sizes say";
  if (!holds(step, 2, product(rows, k), 8)) return "indices holds fewer elements than its sizes say";
  rowWork(rows, axis, 2 + 0.2 * static_cast<double>(k), work);
  work->scratch = static_cast<size_t>(k) * 8;
  return nullptr;
}

/// One line of elements and the order among them: greater (or smaller) first, then by position; NaN is greatest.
template <class T>
struct Line {
  const T* x;
  int64_t stride;
  bool least;

  bool before(int64_t a, int64_t b) const {
    const T u = x[a * stride], v = x[b * stride];
    const bool uNaN = u != u, vNaN = v != v;
    if (uNaN || vNaN) {
      if (uNaN && vNaN) return a < b;
      return uNaN != least;
    }
    if (u == v) return a < b;
    return least ? u < v : u > v;
  }
};

/// Restores the heap below `at`: its root is the element that comes last in the order.
template <class T>
void sift(const Line<T>& line, int64_t* heap, int64_t size, int64_t at) {
  for (;;) {
    int64_t child = 2 * at + 1;
    if (child >= size) return;
    if (child + 1 < size && line.before(heap[child], heap[child + 1])) child++;
    if (!line.before(heap[at], heap[child])) return;
    const int64_t held = heap[at];
    heap[at] = heap[child];
    heap[child] = held;
    at = child;
  }
}

/// Fills heap with the k first elements in their order.
template <class T>
void select(const Line<T>& line, int64_t n, int64_t* heap, int64_t k) {
  for (int64_t i = 0; i < k; i++) heap[i] = i;
  for (int64_t i = k / 2 - 1; i >= 0; i--) sift(line, heap, k, i);
  for (int64_t i = k; i < n; i++) {
    if (!line.before(i, heap[0])) continue;
    heap[0] = i;
    sift(line, heap, k, 0);
  }
  for (int64_t size = k - 1; size > 0; size--) {
    const int64_t held = heap[0];
    heap[0] = heap[size];
    heap[size] = held;
    sift(line, heap, size, 0);
  }
}

template <class T>
void runTop(const Step& step, Range* range) {
  const int64_t axis = intParam(step, 2), inner = intParam(step, 3), k = intParam(step, 4);
  const Rows rows = rowsOf(*range, intParam(step, 1) * inner, axis);
  int64_t* heap = reinterpret_cast<int64_t*>(range->scratch);
  for (int64_t row = rows.begin; row < rows.end && k > 0; row++) {
    const Line<T> line = {input<T>(step, 0) + row / inner * axis * inner + row % inner, inner, intParam(step, 0) != 0};
    select(line, axis, heap, k);
    const int64_t base = row / inner * k * inner + row % inner;
    for (int64_t i = 0; i < k; i++) {
      output<T>(step, 1)[base + i * inner] = line.x[heap[i] * inner];
      output<int64_t>(step, 2)[base + i * inner] = heap[i];
    }
  }
}

constexpr const char* kTopParams = "i:least i:outer i:axis i:inner i:k";

}  // namespace

#define TOP_KERNEL(id, name, T) \
  FILIGREE_KERNEL(id) = {name, "r:x w:values w:indices", kTopParams, checkTop<T>, runTop<T>, nullptr, nullptr, false};
// values and indices [outer, k, inner] of the k greatest (`least`: smallest) elements of x [outer, axis, inner], in
// order; of equal elements the first comes first.
TOP_KERNEL(topF32, "topk.f32", float)
TOP_KERNEL(topF64, "topk.f64", double)
TOP_KERNEL(topI32, "topk.i32", int32_t)
TOP_KERNEL(topI64, "topk.i64", int64_t)
TOP_KERNEL(topU8, "topk.u8", uint8_t)
TOP_KERNEL(topI8, "topk.i8", int8_t)
#undef TOP_KERNEL

}  // namespace FILIGREE_ISA
}  // namespace filigree
