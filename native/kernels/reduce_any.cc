// Reductions of float64 and integers, and positions of extremes.
#include "kernels/rows.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum ReduceOp : int64_t { kReduceSum, kReduceMean, kReduceMax, kReduceMin, kReduceProd };

struct Shape {
  Space kept, reduced;
  Strides keptStrides, reducedStrides;
};

Shape readShape(const Step& step) {
  Shape shape;
  readSpace(listParam(step, 1, 0), &shape.kept);
  readSpace(listParam(step, 1, 2), &shape.reduced);
  shape.keptStrides = readStrides(listParam(step, 1, 1));
  shape.reducedStrides = readStrides(listParam(step, 1, 3));
  return shape;
}

/// Accumulator: wrapping for integers, which the cast back to their width keeps right.
template <class T>
struct Wide {
  typedef uint64_t Type;
};
template <>
struct Wide<double> {
  typedef double Type;
};

template <class T>
constexpr bool kIsFloat = static_cast<T>(0.5) != 0;

template <class T>
const char* checkReduce(const Step& step, Work* work) {
  const int64_t op = intParam(step, 0);
  if (op < 0 || op > kReduceProd) return "no reduction of this number";
  Space kept, reduced;
  if (const char* problem = readSpace(listParam(step, 1, 0), &kept)) return problem;
  if (const char* problem = readSpace(listParam(step, 1, 2), &reduced)) return problem;
  const List kStrides = listParam(step, 1, 1), rStrides = listParam(step, 1, 3);
  if (kStrides.count != listParam(step, 1, 0).count) return "every kept dimension needs a stride";
  if (rStrides.count != listParam(step, 1, 2).count) return "every reduced dimension needs a stride";
  if (product(kept.count, reduced.count) < 0) return "the space has more elements than can be counted";
  // Strides are those of a dense tensor's axes, never negative, so the last position reaches farthest.
  int64_t farthest = 0;
  for (int64_t i = 0; i < kStrides.count + rStrides.count; i++) {
    const bool first = i < kStrides.count;
    const int64_t at = first ? i : i - kStrides.count;
    const int64_t reach = product((first ? kept : reduced).dims[at] - 1, (first ? kStrides : rStrides).items[at]);
    if (kept.count == 0 || reduced.count == 0) break;
    if (reach < 0 || __builtin_add_overflow(farthest, reach, &farthest)) return "the strides leave x";
  }
  const bool empty = kept.count == 0 || reduced.count == 0;
  if (farthest == INT64_MAX || !holds(step, 0, empty ? 0 : farthest + 1, sizeof(T))) return "the strides leave x";
  if (reduced.count == 0 && op != kReduceSum && op != kReduceProd) return "nothing to reduce";
  if (!holds(step, 1, kept.count, sizeof(T))) return "y holds fewer elements than are kept";
  rowWork(kept.count, reduced.count, 1, work);
  return nullptr;
}

template <class T>
T reduceOne(const Shape& shape, const T* x, int64_t op) {
  typename Wide<T>::Type sum = op == kReduceProd ? 1 : 0;
  T extreme = shape.reduced.count > 0 ? *x : T{0};
  Cursor cursor = {};
  const int last = shape.reduced.rank - 1;
  const int64_t run = shape.reduced.dims[last], stride = shape.reducedStrides.of[last];
  for (int64_t done = 0; done < shape.reduced.count; done += run) {
    const T* from = x + offsetOf(shape.reduced, cursor, shape.reducedStrides);
    for (int64_t i = 0; i < run; i++) {
      const T value = from[i * stride];
      if (op == kReduceMax) {
        extreme = value > extreme || value != value ? value : extreme;
      } else if (op == kReduceMin) {
        extreme = value < extreme || value != value ? value : extreme;
      } else if (op == kReduceProd) {
        sum *= static_cast<typename Wide<T>::Type>(value);
      } else {
        sum += static_cast<typename Wide<T>::Type>(value);
      }
    }
    advance(shape.reduced, &cursor, run);
  }
  if (op == kReduceMax || op == kReduceMin) return extreme;
  if (op != kReduceMean) return static_cast<T>(sum);
  if constexpr (kIsFloat<T>) {
    return static_cast<T>(sum / static_cast<T>(shape.reduced.count));
  } else if constexpr (static_cast<T>(-1) < static_cast<T>(0)) {
    return static_cast<T>(static_cast<int64_t>(sum) / shape.reduced.count);
  } else {
    return static_cast<T>(sum / static_cast<uint64_t>(shape.reduced.count));
  }
}

template <class T>
void runReduce(const Step& step, Range* range) {
  const Shape shape = readShape(step);
  const Rows rows = rowsOf(*range, shape.kept.count, shape.reduced.count);
  Cursor cursor = cursorAt(shape.kept, rows.begin);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const T* x = input<T>(step, 0) + offsetOf(shape.kept, cursor, shape.keptStrides);
    output<T>(step, 1)[row] = reduceOne(shape, x, intParam(step, 0));
    advance(shape.kept, &cursor, 1);
  }
}

template <class T>
const char* checkArg(const Step& step, Work* work) {
  const int64_t outer = intParam(step, 2), axis = intParam(step, 3), inner = intParam(step, 4);
  if (!holds(step, 0, product(product(outer, axis), inner), sizeof(T)))
    return "x holds fewer elements than its sizes say";
  if (!holds(step, 1, product(outer, inner), 8)) return "y holds fewer elements than its sizes say";
  if (axis == 0) return "the axis is empty";
  rowWork(product(outer, inner), axis, 1, work);
  return nullptr;
}

/// Position of the extreme along an axis; NaN counts as the extreme.
template <class T>
int64_t position(const T* x, int64_t n, int64_t stride, bool least, bool lastOne) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++) {
    const T value = x[i * stride], held = x[best * stride];
    const bool heldNaN = held != held, isNaN = value != value;
    const bool better = !heldNaN && (isNaN || (least ? value < held : value > held));
    const bool equal = value == held || (heldNaN && isNaN);
    if (better || (lastOne && equal)) best = i;
  }
  return best;
}

template <class T>
void runArg(const Step& step, Range* range) {
  const bool least = intParam(step, 0) != 0, lastOne = intParam(step, 1) != 0;
  const int64_t axis = intParam(step, 3), inner = intParam(step, 4);
  const Rows rows = rowsOf(*range, intParam(step, 2) * inner, axis);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const T* x = input<T>(step, 0) + row / inner * axis * inner + row % inner;
    output<int64_t>(step, 1)[row] = position(x, axis, inner, least, lastOne);
  }
}

constexpr const char* kArgParams = "i:least i:last i:outer i:axis i:inner";
constexpr const char* kReduceParams = "i:op l:kept l:kept_strides l:reduced l:reduced_strides";

}  // namespace

#define REDUCE_KERNEL(id, name, T) \
  FILIGREE_KERNEL(id) = {name, "r:x w:y", kReduceParams, checkReduce<T>, runReduce<T>, nullptr, nullptr, false};
// As reduce.f32: sum, mean, maximum, minimum and product, in 64 bits; means of integers are cut towards zero.
REDUCE_KERNEL(reduceF64, "reduce.f64", double)
REDUCE_KERNEL(reduceI8, "reduce.i8", int8_t)
REDUCE_KERNEL(reduceU8, "reduce.u8", uint8_t)
REDUCE_KERNEL(reduceI32, "reduce.i32", int32_t)
REDUCE_KERNEL(reduceU32, "reduce.u32", uint32_t)
REDUCE_KERNEL(reduceI64, "reduce.i64", int64_t)
REDUCE_KERNEL(reduceU64, "reduce.u64", uint64_t)
#undef REDUCE_KERNEL

#define ARG_KERNEL(id, name, T) \
  FILIGREE_KERNEL(id) = {name, "r:x w:y", kArgParams, checkArg<T>, runArg<T>, nullptr, nullptr, false};
// y [outer, inner] int64 = where along the axis of x [outer, axis, inner] the greatest element (`least`: the smallest)
// is: the first, or with `last` the last of equal ones.
ARG_KERNEL(argF32, "arg.f32", float)
ARG_KERNEL(argF64, "arg.f64", double)
ARG_KERNEL(argI8, "arg.i8", int8_t)
ARG_KERNEL(argU8, "arg.u8", uint8_t)
ARG_KERNEL(argI32, "arg.i32", int32_t)
ARG_KERNEL(argI64, "arg.i64", int64_t)
#undef ARG_KERNEL

}  // namespace FILIGREE_ISA
}  // namespace filigree
