// Reductions over any axes.
#include "kernels/rows.h"
#include "simd/math.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum ReduceOp : int64_t {
  kReduceSum,
  kReduceMean,
  kReduceMax,
  kReduceMin,
  kReduceProd,
  kReduceL1,
  kReduceL2,
  kReduceSumSquare,
  kReduceLogSum,
  kReduceLogSumExp,
  kReduceOps
};

/// Kept and reduced dimensions with the strides of x along them.
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

template <class T>
const char* checkReduce(const Step& step, Work* work) {
  if (intParam(step, 0) < 0 || intParam(step, 0) >= kReduceOps) return "no reduction of this number";
  Space kept, reduced, all;
  if (const char* problem = readSpace(listParam(step, 1, 0), &kept)) return problem;
  if (const char* problem = readSpace(listParam(step, 1, 2), &reduced)) return problem;
  if (listParam(step, 1, 1).count != listParam(step, 1, 0).count) return "every kept dimension needs a stride";
  if (listParam(step, 1, 3).count != listParam(step, 1, 2).count) return "every reduced dimension needs a stride";
  if (kept.rank + reduced.rank > kMaxRank) return "a reduction has at most 8 dimensions";
  int64_t dims[kMaxRank], strides[kMaxRank];
  const Shape shape = readShape(step);
  for (int i = 0; i < kept.rank; i++) {
    dims[i] = kept.dims[i];
    strides[i] = shape.keptStrides.of[i];
  }
  for (int i = 0; i < reduced.rank; i++) {
    dims[kept.rank + i] = reduced.dims[i];
    strides[kept.rank + i] = shape.reducedStrides.of[i];
  }
  const int64_t rank = kept.rank + reduced.rank;
  if (const char* problem = readSpace({dims, rank}, &all)) return problem;
  if (!reaches(step, 0, all, {strides, rank}, 0, sizeof(T))) return "the strides leave x";
  if (!holds(step, 1, kept.count, sizeof(T))) return "y holds fewer elements than are kept";
  rowWork(kept.count, reduced.count, intParam(step, 0) == kReduceLogSumExp ? 1 : 0.08 * sizeof(T), work);
  return nullptr;
}

/// How elements come together: F32 add(acc, x, shift), and the value to start with.
struct Sum {
  static constexpr float kStart = 0;
  FILIGREE_INLINE F32 add(F32 acc, F32 x, F32) { return acc + x; }
};
struct SumAbs {
  static constexpr float kStart = 0;
  FILIGREE_INLINE F32 add(F32 acc, F32 x, F32) { return acc + abs(x); }
};
struct SumSquare {
  static constexpr float kStart = 0;
  FILIGREE_INLINE F32 add(F32 acc, F32 x, F32) { return fma(x, x, acc); }
};
struct SumExp {
  static constexpr float kStart = 0;
  FILIGREE_INLINE F32 add(F32 acc, F32 x, F32 shift) { return acc + exp(x - shift); }
};
struct Product {
  static constexpr float kStart = 1;
  FILIGREE_INLINE F32 add(F32 acc, F32 x, F32) { return acc * x; }
};
struct Maximum {
  static constexpr float kStart = -__builtin_inff();
  FILIGREE_INLINE F32 add(F32 acc, F32 x, F32) { return select((x > acc) | (x != x), x, acc); }
};
struct Minimum {
  static constexpr float kStart = __builtin_inff();
  FILIGREE_INLINE F32 add(F32 acc, F32 x, F32) { return select((x < acc) | (x != x), x, acc); }
};

/// Accumulated partial results of one output, lane by lane.
template <class Op>
FILIGREE_INLINE float combine(F32 acc) {
  if constexpr (Op::kStart == 0) return reduceAdd(acc);
  float result = acc[0];
  for (int i = 1; i < kLanes; i++) {
    const float x = acc[i];
    if constexpr (Op::kStart == 1) {
      result *= x;
    } else if constexpr (Op::kStart < 0) {
      result = x > result || x != x ? x : result;
    } else {
      result = x < result || x != x ? x : result;
    }
  }
  return result;
}

/// A contiguous run into four accumulators.
template <class Op>
FILIGREE_INLINE void addRun(const float* x, int64_t n, F32 shift, F32 (&acc)[4]) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int k = 0; k < 4; k++) acc[k] = Op::add(acc[k], load(x + i + k * kLanes), shift);
  }
  for (; i + kLanes <= n; i += kLanes) acc[0] = Op::add(acc[0], load(x + i), shift);
  if (i == n) return;
  // The missing lanes keep their value, whatever the operation makes of the filling.
  const int rest = static_cast<int>(n - i);
  float lanes[kLanes], before[kLanes];
  store(before, acc[1]);
  store(lanes, Op::add(acc[1], loadN(x + i, rest), shift));
  std::memcpy(before, lanes, static_cast<size_t>(rest) * sizeof(float));
  acc[1] = load(before);
}

/// Each output reduces runs that are contiguous.
template <class Op>
void reduceRuns(const Shape& shape, const float* x, Rows rows, const float* shifts, float* y) {
  const int last = shape.reduced.rank - 1;
  const int64_t run = shape.reduced.dims[last], runs = run > 0 ? shape.reduced.count / run : 0;
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const float* from = x + offsetOf(shape.kept, cursorAt(shape.kept, row), shape.keptStrides);
    F32 acc[4];
    for (F32& a : acc) a = set1(Op::kStart);
    const F32 shift = set1(shifts ? shifts[row] : 0);
    Cursor cursor = {};
    for (int64_t i = 0; i < runs; i++) {
      addRun<Op>(from + offsetOf(shape.reduced, cursor, shape.reducedStrides), run, shift, acc);
      advance(shape.reduced, &cursor, run);
    }
    float parts[4];
    for (int k = 0; k < 4; k++) parts[k] = combine<Op>(acc[k]);
    F32 all = set1(Op::kStart);
    for (int k = 0; k < 4; k++) all[k] = parts[k];
    y[row] = combine<Op>(all);
  }
}

/// Neighbouring outputs lie side by side in x: they are reduced together.
template <class Op>
void reduceColumns(const Shape& shape, const float* x, Rows rows, const float* shifts, float* y) {
  constexpr int64_t kColumns = 4 * kLanes;
  const int last = shape.kept.rank - 1;
  const int64_t width = shape.kept.dims[last];
  for (int64_t row = rows.begin; row < rows.end;) {
    const Cursor at = cursorAt(shape.kept, row);
    int64_t n = width - at.at[last];
    n = n < rows.end - row ? n : rows.end - row;
    n = n < kColumns ? n : kColumns;
    const float* from = x + offsetOf(shape.kept, at, shape.keptStrides);
    F32 acc[4], shift[4];
    for (int k = 0; k < 4; k++) {
      acc[k] = set1(Op::kStart);
      const int64_t left = n - k * kLanes;
      const int lanes = static_cast<int>(left < 0 ? 0 : left < kLanes ? left : kLanes);
      shift[k] = shifts ? loadN(shifts + row + k * kLanes, lanes) : zero();
    }
    const int vectors = static_cast<int>((n + kLanes - 1) / kLanes);
    const int rest = static_cast<int>(n - (vectors - 1) * kLanes);
    Cursor cursor = {};
    for (int64_t i = 0; i < shape.reduced.count; i++) {
      const float* line = from + offsetOf(shape.reduced, cursor, shape.reducedStrides);
      for (int k = 0; k < vectors; k++) {
        const F32 v = k + 1 < vectors || rest == kLanes ? load(line + k * kLanes) : loadN(line + k * kLanes, rest);
        acc[k] = Op::add(acc[k], v, shift[k]);
      }
      advance(shape.reduced, &cursor, 1);
    }
    for (int k = 0; k < vectors; k++) storeN(y + row + k * kLanes, acc[k], k + 1 < vectors ? kLanes : rest);
    row += n;
  }
}

template <class Op>
void reduceStrided(const Shape& shape, const float* x, Rows rows, const float* shifts, float* y) {
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const float* from = x + offsetOf(shape.kept, cursorAt(shape.kept, row), shape.keptStrides);
    F32 acc = set1(Op::kStart);
    const F32 shift = set1(shifts ? shifts[row] : 0);
    Cursor cursor = {};
    for (int64_t i = 0; i < shape.reduced.count; i++) {
      acc = Op::add(acc, set1(from[offsetOf(shape.reduced, cursor, shape.reducedStrides)]), shift);
      advance(shape.reduced, &cursor, 1);
    }
    y[row] = acc[0];
  }
}

template <class Op>
void reduceWith(const Shape& shape, const float* x, Rows rows, const float* shifts, float* y) {
  if (shape.reducedStrides.of[shape.reduced.rank - 1] == 1) return reduceRuns<Op>(shape, x, rows, shifts, y);
  if (shape.keptStrides.of[shape.kept.rank - 1] == 1) return reduceColumns<Op>(shape, x, rows, shifts, y);
  reduceStrided<Op>(shape, x, rows, shifts, y);
}

/// log(sum e^x) = m + log(sum e^(x - m)) with m the maximum, or 0 where that is not finite.
void reduceLogSumExp(const Shape& shape, const float* x, Rows rows, float* y) {
  float shifts[kBlock];
  for (int64_t row = rows.begin; row < rows.end; row += kBlock) {
    const Rows part = {row, rows.end - row < kBlock ? rows.end : row + kBlock};
    float* base = shifts - part.begin;
    reduceWith<Maximum>(shape, x, part, nullptr, base);
    for (int64_t i = part.begin; i < part.end; i++) base[i] = base[i] - base[i] == 0 ? base[i] : 0;
    reduceWith<SumExp>(shape, x, part, base, y);
    for (int64_t i = part.begin; i < part.end; i++) y[i] = __builtin_logf(y[i]) + base[i];
  }
}

void finish(int64_t op, Rows rows, int64_t count, float* y) {
  for (int64_t i = rows.begin; i < rows.end; i++) {
    if (op == kReduceMean) y[i] /= static_cast<float>(count);
    if (op == kReduceL2) y[i] = __builtin_sqrtf(y[i]);
    if (op == kReduceLogSum) y[i] = __builtin_logf(y[i]);
  }
}

void runFloats(const Step& step, Range* range) {
  const Shape shape = readShape(step);
  const float* x = input<float>(step, 0);
  float* y = output<float>(step, 1);
  const Rows rows = rowsOf(*range, shape.kept.count, shape.reduced.count);
  const int64_t op = intParam(step, 0);
  switch (op) {
    case kReduceMax:
      return reduceWith<Maximum>(shape, x, rows, nullptr, y);
    case kReduceMin:
      return reduceWith<Minimum>(shape, x, rows, nullptr, y);
    case kReduceProd:
      return reduceWith<Product>(shape, x, rows, nullptr, y);
    case kReduceL1:
      return reduceWith<SumAbs>(shape, x, rows, nullptr, y);
    case kReduceLogSumExp:
      return reduceLogSumExp(shape, x, rows, y);
    case kReduceL2:
    case kReduceSumSquare:
      reduceWith<SumSquare>(shape, x, rows, nullptr, y);
      break;
    default:
      reduceWith<Sum>(shape, x, rows, nullptr, y);
  }
  finish(op, rows, shape.reduced.count, y);
}

}  // namespace

// y = the reduction of x over the reduced dimensions, for every position of the kept ones in row-major order. Strides
// are x's, in elements. Nothing reduces to 0, 1 for products, infinities for extremes, NaN for means.
FILIGREE_KERNEL(reduceF32) = {"reduce.f32",
                              "r:x w:y",
                              "i:op l:kept l:kept_strides l:reduced l:reduced_strides",
                              checkReduce<float>,
                              runFloats,
                              nullptr,
                              nullptr,
                              false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
