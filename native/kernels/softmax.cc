// Softmax and its logarithm along one axis.
#include "kernels/rows.h"
#include "simd/math.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

const char* checkSoftmax(const Step& step, Work* work) {
  const int64_t outer = intParam(step, 1), axis = intParam(step, 2), inner = intParam(step, 3);
  const int64_t count = product(product(outer, axis), inner);
  if (!holds(step, 0, count, 4)) return "x holds fewer elements than its sizes say";
  if (!holds(step, 1, count, 4)) return "y holds fewer elements than its sizes say";
  rowWork(product(outer, inner), count == 0 ? 0 : axis, 0.4, work);
  if (count == 0) work->units = 0;
  return nullptr;
}

FILIGREE_INLINE F32 larger(F32 best, F32 x) { return select((x > best) | (x != x), x, best); }

float rowMaximum(const float* x, int64_t n) {
  const float lowest = -__builtin_inff();
  F32 best = set1(lowest);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) best = larger(best, load(x + i));
  if (i < n) best = larger(best, loadN(x + i, static_cast<int>(n - i), lowest));
  float result = best[0];
  for (int k = 1; k < kLanes; k++) result = best[k] > result || best[k] != best[k] ? best[k] : result;
  return result;
}

void softmaxRow(const float* x, float* y, int64_t n, bool log) {
  const float best = rowMaximum(x, n);
  const F32 shift = set1(best);
  F32 sums = zero();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const F32 d = load(x + i) - shift, e = exp(d);
    store(y + i, log ? d : e);
    sums += e;
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const F32 d = loadN(x + i, rest, best) - shift, e = exp(d);
    storeN(y + i, log ? d : e, rest);
    for (int k = 0; k < rest; k++) sums[k] += e[k];
  }
  const float sum = reduceAdd(sums);
  const F32 scale = set1(log ? __builtin_logf(sum) : 1.0f / sum);
  for (i = 0; i < n; i += kLanes) {
    const int rest = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    const F32 v = loadN(y + i, rest);
    storeN(y + i, log ? v - scale : v * scale, rest);
  }
}

/// `lanes` neighbouring columns of `n` rows, `stride` apart.
void softmaxColumns(const float* x, float* y, int64_t n, int64_t stride, int lanes, bool log) {
  F32 best = set1(-__builtin_inff());
  for (int64_t i = 0; i < n; i++) best = larger(best, loadN(x + i * stride, lanes));
  F32 sum = zero();
  for (int64_t i = 0; i < n; i++) {
    const F32 d = loadN(x + i * stride, lanes) - best, e = exp(d);
    storeN(y + i * stride, log ? d : e, lanes);
    sum += e;
  }
  const F32 scale = log ? filigree::FILIGREE_ISA::log(sum) : 1.0f / sum;
  for (int64_t i = 0; i < n; i++) {
    const F32 v = loadN(y + i * stride, lanes);
    storeN(y + i * stride, log ? v - scale : v * scale, lanes);
  }
}

void runSoftmax(const Step& step, Range* range) {
  const bool log = intParam(step, 0) != 0;
  const int64_t axis = intParam(step, 2), inner = intParam(step, 3);
  const Rows rows = rowsOf(*range, intParam(step, 1) * inner, axis);
  for (int64_t row = rows.begin; row < rows.end;) {
    const int64_t at = row / inner * axis * inner + row % inner;
    const float* x = input<float>(step, 0) + at;
    float* y = output<float>(step, 1) + at;
    if (inner == 1) {
      softmaxRow(x, y, axis, log);
      row++;
      continue;
    }
    int64_t n = inner - row % inner;
    n = n < rows.end - row ? n : rows.end - row;
    n = n < kLanes ? n : kLanes;
    softmaxColumns(x, y, axis, inner, static_cast<int>(n), log);
    row += n;
  }
}

}  // namespace

// y = softmax of x [outer, axis, inner] along the axis, or its logarithm; y may be x.
FILIGREE_KERNEL(softmaxF32) = {
    "softmax.f32", "r:x w:y", "i:log i:outer i:axis i:inner", checkSoftmax, runSoftmax, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
