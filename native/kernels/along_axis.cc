// Along one axis: running sums, weighted resampling; and the triangles of matrices.
#include <cstring>

#include "kernels/rows.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

template <class T>
const char* checkCumulative(const Step& step, Work* work) {
  const int64_t rows = product(intParam(step, 2), intParam(step, 4)), axis = intParam(step, 3);
  if (!holds(step, 0, product(rows, axis), sizeof(T))) return "x holds fewer elements than its sizes say";
  if (!holds(step, 1, product(rows, axis), sizeof(T))) return "y holds fewer elements than its sizes say";
  rowWork(rows, axis, 1.5, work);
  return nullptr;
}

/// Floats are summed in double, integers wrap.
template <class T, class Held>
void runCumulative(const Step& step, Range* range) {
  const bool exclusive = intParam(step, 0) != 0, reverse = intParam(step, 1) != 0;
  const int64_t axis = intParam(step, 3), inner = intParam(step, 4);
  const Rows rows = rowsOf(*range, intParam(step, 2) * inner, axis);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const int64_t base = row / inner * axis * inner + row % inner;
    Held held = 0;
    for (int64_t i = 0; i < axis; i++) {
      const int64_t at = base + (reverse ? axis - 1 - i : i) * inner;
      const Held next = held + static_cast<Held>(input<T>(step, 0)[at]);
      output<T>(step, 1)[at] = static_cast<T>(exclusive ? held : next);
      held = next;
    }
  }
}

const char* checkResample(const Step& step, Work* work) {
  const int64_t outer = intParam(step, 0), axis = intParam(step, 1), out = intParam(step, 2), inner = intParam(step, 3);
  const int64_t taps = intParam(step, 4), rows = product(outer, out);
  if (!holds(step, 0, product(product(outer, axis), inner), 4)) return "x holds fewer elements than its sizes say";
  if (!holds(step, 1, product(out, taps), 4)) return "indices holds fewer elements than its sizes say";
  if (!holds(step, 2, product(out, taps), 4)) return "weights holds fewer elements than its sizes say";
  if (!holds(step, 3, product(rows, inner), 4)) return "y holds fewer elements than its sizes say";
  rowWork(rows, inner, 0.15 * static_cast<double>(taps), work);
  return nullptr;
}

void runResample(const Step& step, Range* range) {
  const int64_t axis = intParam(step, 1), out = intParam(step, 2), inner = intParam(step, 3), taps = intParam(step, 4);
  const Rows rows = rowsOf(*range, intParam(step, 0) * out, inner);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const int32_t* indices = input<int32_t>(step, 1) + row % out * taps;
    const float* weights = input<float>(step, 2) + row % out * taps;
    for (int64_t t = 0; t < taps; t++) {
      if (indices[t] < 0 || indices[t] >= axis) {
        range->error = "an index is out of range";
        return;
      }
    }
    const float* x = input<float>(step, 0) + row / out * axis * inner;
    float* y = output<float>(step, 3) + row * inner;
    if (inner == 1) {
      float sum = 0;
      for (int64_t t = 0; t < taps; t++) {
        if (weights[t] != 0) sum = __builtin_fmaf(x[indices[t]], weights[t], sum);
      }
      *y = sum;
      continue;
    }
    for (int64_t i = 0; i < inner; i += kLanes) {
      const int rest = static_cast<int>(inner - i < kLanes ? inner - i : kLanes);
      F32 sum = zero();
      for (int64_t t = 0; t < taps; t++) {
        if (weights[t] != 0) sum = fma(loadN(x + indices[t] * inner + i, rest), set1(weights[t]), sum);
      }
      storeN(y + i, sum, rest);
    }
  }
}

const char* checkTriangle(const Step& step, Work* work) {
  const int64_t width = intParam(step, 0), rows = product(intParam(step, 2), intParam(step, 3));
  const int64_t bytes = product(intParam(step, 4), width), limit = int64_t{1} << 62;
  if (width < 1) return "elements have at least one byte";
  if (intParam(step, 5) > limit || intParam(step, 5) < -limit) return "the diagonal is out of range";
  if (!holds(step, 0, product(rows, bytes), 1)) return "x holds fewer elements than its sizes say";
  if (!holds(step, 1, product(rows, bytes), 1)) return "y holds fewer elements than its sizes say";
  rowWork(rows, bytes, 0.06, work);
  return nullptr;
}

void runTriangle(const Step& step, Range* range) {
  const int64_t width = intParam(step, 0), height = intParam(step, 3), columns = intParam(step, 4);
  const bool upper = intParam(step, 1) != 0;
  const Rows rows = rowsOf(*range, intParam(step, 2) * height, columns * width);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    int64_t edge = row % height + intParam(step, 5) + (upper ? 0 : 1);
    edge = edge < 0 ? 0 : edge > columns ? columns : edge;
    const uint8_t* x = input<uint8_t>(step, 0) + row * columns * width;
    uint8_t* y = output<uint8_t>(step, 1) + row * columns * width;
    const size_t left = static_cast<size_t>(edge * width), right = static_cast<size_t>((columns - edge) * width);
    if (upper) {
      std::memset(y, 0, left);
      std::memmove(y + left, x + left, right);
    } else {
      std::memmove(y, x, left);
      std::memset(y + left, 0, right);
    }
  }
}

constexpr const char* kCumulativeParams = "i:exclusive i:reverse i:outer i:axis i:inner";

}  // namespace

#define CUMULATIVE_KERNEL(id, name, T, Held)                                                                         \
  FILIGREE_KERNEL(id) = {name,    "r:x w:y", kCumulativeParams, checkCumulative<T>, runCumulative<T, Held>, nullptr, \
                         nullptr, false};
// y = running sums of x [outer, axis, inner] along the axis; y may be x.
CUMULATIVE_KERNEL(cumulativeF32, "cumsum.f32", float, double)
CUMULATIVE_KERNEL(cumulativeF64, "cumsum.f64", double, double)
CUMULATIVE_KERNEL(cumulativeI32, "cumsum.i32", int32_t, uint64_t)
CUMULATIVE_KERNEL(cumulativeI64, "cumsum.i64", int64_t, uint64_t)
#undef CUMULATIVE_KERNEL

// y [outer, out, inner] = sum over taps of weights [out, taps] * x [outer, axis, inner] at int32 indices [out, taps].
FILIGREE_KERNEL(resampleF32) = {"resample.f32",
                                "r:x r:indices r:weights w:y",
                                "i:outer i:axis i:out i:inner i:taps",
                                checkResample,
                                runResample,
                                nullptr,
                                nullptr,
                                false};

// Upper (from diagonal k on) or lower (up to diagonal k) triangles of matrices; the rest is 0. y may be x.
FILIGREE_KERNEL(triangle) = {"triangle",    "r:x w:y",   "i:width i:upper i:batch i:rows i:columns i:k",
                             checkTriangle, runTriangle, nullptr,
                             nullptr,       false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
