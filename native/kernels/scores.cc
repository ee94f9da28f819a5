// The end of classifiers and regressors of ai.onnx.ml: base values, the label, transformed scores.
#include "kernels/rows.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum { kSums, kBase, kLabels, kScores, kChosen };
enum {
  kParts,
  kRows,
  kColumns,
  kAggregate,
  kTransform,
  kPair,
  kDivisor,
  kThreshold,
  kFirst,
  kFirstFactor,
  kSecond,
  kSecondFactor
};
enum { kAdd, kMin, kMax, kAggregates };
enum { kNone, kSoftmax, kLogistic, kSoftmaxZero, kProbit, kTransforms };
/// Columns of scores that one sum makes; kByColumn: as many as there are sums.
enum { kByColumn, kSingle, kDouble, kPairs };

int64_t scoreColumns(const Step& step) { return intParam(step, kPair) == kDouble ? 2 : intParam(step, kColumns); }

template <class In, class Out>
const char* checkScores(const Step& step, Work* work) {
  const int64_t rows = intParam(step, kRows), columns = intParam(step, kColumns), pair = intParam(step, kPair);
  const int64_t parts = intParam(step, kParts), aggregate = intParam(step, kAggregate);
  const int64_t transform = intParam(step, kTransform);
  if (columns < 1 || parts < 1) return "no sums";
  if (aggregate < 0 || aggregate >= kAggregates) return "aggregate is 0, 1 or 2";
  if (transform < 0 || transform >= kTransforms) return "transform is 0 to 4";
  if (pair < 0 || pair >= kPairs || (pair != kByColumn && columns != 1)) return "pair is 0, or 1 or 2 for one column";
  if (!holds(step, kSums, product(product(parts, rows), columns), sizeof(In)))
    return "sums are fewer than they should be";
  if (step.operands[kBase].data && !holds(step, kBase, columns, 8)) return "base is smaller than the columns";
  if (step.operands[kScores].data && !holds(step, kScores, product(rows, scoreColumns(step)), sizeof(Out))) {
    return "scores are smaller than their sizes say";
  }
  if (step.operands[kChosen].data) {
    if (!holds(step, kChosen, rows, 8)) return "chosen is smaller than the rows";
    if (!step.operands[kLabels].data || !holds(step, kLabels, pair ? 2 : columns, 8)) return "labels are missing";
  }
  rowWork(rows, scoreColumns(step), transform == kNone ? 1.5 : 12, work);
  if (__builtin_mul_overflow(scoreColumns(step), int64_t{8}, &work->scratch)) return "too many columns";
  return nullptr;
}

/// Exact at both ends.
double logistic(double x) {
  const double v = 1 / (1 + __builtin_exp(-__builtin_fabs(x)));
  return x < 0 ? 1 - v : v;
}

/// The inverse of the normal distribution function, by the closed approximation that the operators define.
double probit(double x) {
  const double y = 2 * x - 1, log = __builtin_log((1 - y) * (1 + y));
  const double v = 2 / (3.141592653589793 * 0.147) + 0.5 * log;
  const double sign = y < 0 ? -1 : y != y ? y : 1;
  return 1.4142135623730951 * sign * __builtin_sqrt(-v + __builtin_sqrt(v * v - log / 0.147));
}

/// NaN where one is NaN.
double greatest(const double* x, int64_t n) {
  double best = -__builtin_inf();
  for (int64_t i = 0; i < n; i++) best = x[i] > best || x[i] != x[i] ? x[i] : best;
  for (int64_t i = 0; i < n; i++) best = x[i] != x[i] ? x[i] : best;
  return best;
}

void softmax(double* x, int64_t n, bool zero) {
  const double most = greatest(x, n);
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    const bool small = zero && !(__builtin_fabs(x[i]) > 1e-7);
    x[i] = small ? x[i] * __builtin_exp(-most) : __builtin_exp(x[i] - most);
    sum += x[i];
  }
  for (int64_t i = 0; i < n; i++) x[i] = zero && sum == 0 ? 0.5 : x[i] / sum;
}

void transformRow(double* x, int64_t n, int64_t transform) {
  if (transform == kSoftmax || transform == kSoftmaxZero) return softmax(x, n, transform == kSoftmaxZero);
  if (transform == kNone) return;
  for (int64_t i = 0; i < n; i++) x[i] = transform == kLogistic ? logistic(x[i]) : probit(x[i]);
}

template <class In>
double total(const Step& step, int64_t row, int64_t column) {
  const int64_t parts = intParam(step, kParts), rows = intParam(step, kRows), columns = intParam(step, kColumns);
  const int64_t how = intParam(step, kAggregate);
  const In* from = input<In>(step, kSums) + row * columns + column;
  double sum = from[0];
  for (int64_t part = 1; part < parts; part++) {
    const double next = from[part * rows * columns];
    sum = how == kAdd ? sum + next : (how == kMin ? next < sum : next > sum) ? next : sum;
  }
  // Of a target that no leaf speaks of.
  if (how != kAdd && __builtin_isinf(sum)) sum = 0;
  return sum / floatParam(step, kDivisor) + (step.operands[kBase].bytes ? input<double>(step, kBase)[column] : 0);
}

FILIGREE_INLINE double line(double base, double factor, double x) { return factor == 0 ? base : base + factor * x; }

template <class In, class Out>
void runScores(const Step& step, Range* range) {
  const int64_t columns = intParam(step, kColumns), pair = intParam(step, kPair), wide = scoreColumns(step);
  const Rows rows = rowsOf(*range, intParam(step, kRows), wide);
  double* x = reinterpret_cast<double*>(range->scratch);
  Out* scores = step.operands[kScores].bytes ? output<Out>(step, kScores) : nullptr;
  int64_t* chosen = step.operands[kChosen].bytes ? output<int64_t>(step, kChosen) : nullptr;
  for (int64_t row = rows.begin; row < rows.end; row++) {
    int64_t best = 0;
    for (int64_t i = 0; i < columns; i++) {
      x[i] = total<In>(step, row, i);
      if (x[i] > x[best]) best = i;
    }
    if (pair != kByColumn) best = x[0] > floatParam(step, kThreshold);
    if (chosen) chosen[row] = input<int64_t>(step, kLabels)[best];
    if (!scores) continue;
    if (pair == kDouble) {
      const double t = x[0];
      x[0] = line(floatParam(step, kFirst), floatParam(step, kFirstFactor), t);
      x[1] = line(floatParam(step, kSecond), floatParam(step, kSecondFactor), t);
    }
    transformRow(x, wide, intParam(step, kTransform));
    for (int64_t i = 0; i < wide; i++) scores[row * wide + i] = static_cast<Out>(x[i]);
  }
}

constexpr const char* kOperands = "r:sums r:base? r:labels? w:scores? w:chosen?";
constexpr const char* kParams =
    "i:parts i:rows i:columns i:aggregate i:transform i:pair f:divisor f:threshold f:first f:first_factor f:second "
    "f:second_factor";

}  // namespace

// Of sums [parts, rows, columns], joined over the parts by `aggregate` (0 sum, 1 least, 2 greatest), over the divisor,
// plus base: the label of the greatest, and transformed scores (0 none, softmax, logistic, softmax of zeros, probit).
// With `pair` the one column decides between two labels at the threshold; 2 makes two scores of it, first +
// first_factor * sum and second + second_factor * sum.
#define SCORES_KERNEL(id, name, In, Out) \
  FILIGREE_KERNEL(id) = {name, kOperands, kParams, checkScores<In, Out>, runScores<In, Out>, nullptr, nullptr, false};
SCORES_KERNEL(scoresF32, "scores.f32", float, float)
SCORES_KERNEL(scoresF64F32, "scores.f64.f32", double, float)
SCORES_KERNEL(scoresF64, "scores.f64", double, double)
#undef SCORES_KERNEL

}  // namespace FILIGREE_ISA
}  // namespace filigree
