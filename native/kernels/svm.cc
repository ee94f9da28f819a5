// Support vector machines of ai.onnx.ml: similarities to the vectors, votes of pairs of classes.
#include "kernels/rows.h"
#include "simd/math.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Vectors that a row meets at once.
constexpr int64_t kChunk = 4 * kLanes;

enum { kX, kVectors, kY };
enum { kRows, kFeatures, kCount, kPadded, kKind, kGamma, kOffset, kDegree };
enum { kLinear, kPoly, kRbf, kSigmoid, kKinds };

const char* checkSimilarity(const Step& step, Work* work) {
  const int64_t rows = intParam(step, kRows), features = intParam(step, kFeatures), count = intParam(step, kCount);
  const int64_t padded = intParam(step, kPadded), kind = intParam(step, kKind);
  if (count < 0 || padded < count || padded % 64 != 0) return "vectors come in 64s";
  if (kind < 0 || kind >= kKinds) return "kind is 0 to 3";
  if (!holds(step, kX, product(rows, features), 4)) return "x is smaller than its sizes say";
  if (!holds(step, kVectors, product(features, padded), 4)) return "vectors are smaller than their sizes say";
  if (!holds(step, kY, product(rows, count), 4)) return "y is smaller than its sizes say";
  work->units = product(rows, (count + kChunk - 1) / kChunk);
  work->cost = static_cast<double>(work->units) * (10 + static_cast<double>(features) * 2);
  work->scratch = 0;
  return nullptr;
}

F32 power(F32 x, double degree) {
  if (degree >= 1 && degree <= 8 && degree == static_cast<double>(static_cast<int>(degree))) {
    F32 y = x;
    for (int i = 1; i < static_cast<int>(degree); i++) y *= x;
    return y;
  }
  for (int i = 0; i < kLanes; i++) x[i] = static_cast<float>(__builtin_pow(static_cast<double>(x[i]), degree));
  return x;
}

void runSimilarity(const Step& step, Range* range) {
  const int64_t features = intParam(step, kFeatures), count = intParam(step, kCount), padded = intParam(step, kPadded);
  const int64_t kind = intParam(step, kKind), chunks = (count + kChunk - 1) / kChunk;
  const F32 gamma = set1(static_cast<float>(floatParam(step, kGamma)));
  const F32 offset = set1(static_cast<float>(floatParam(step, kOffset)));
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t row = unit / chunks, first = unit % chunks * kChunk;
    const float *x = input<float>(step, kX) + row * features, *v = input<float>(step, kVectors) + first;
    F32 sums[4] = {zero(), zero(), zero(), zero()};
    if (kind == kRbf) {
      for (int64_t f = 0; f < features; f++, v += padded) {
        for (int i = 0; i < 4; i++) {
          const F32 apart = set1(x[f]) - load(v + i * kLanes);
          sums[i] = fma(apart, apart, sums[i]);
        }
      }
    } else {
      for (int64_t f = 0; f < features; f++, v += padded) {
        for (int i = 0; i < 4; i++) sums[i] = fma(set1(x[f]), load(v + i * kLanes), sums[i]);
      }
    }
    for (int i = 0; i < 4; i++) {
      F32 y = sums[i];
      if (kind == kRbf) y = exp(-gamma * y);
      if (kind == kPoly) y = power(fma(gamma, y, offset), floatParam(step, kDegree));
      if (kind == kSigmoid) y = tanh(fma(gamma, y, offset));
      const int64_t at = first + i * kLanes, left = count - at;
      if (left > 0)
        storeN(output<float>(step, kY) + row * count + at, y, static_cast<int>(left < kLanes ? left : kLanes));
    }
  }
}

enum { kDecisions, kLabels, kProbA, kProbB, kChosen, kProbabilities };
enum { kVoteRows, kClasses };
constexpr int64_t kMaxClasses = 1 << 12;

const char* checkVotes(const Step& step, Work* work) {
  const int64_t rows = intParam(step, kVoteRows), classes = intParam(step, kClasses);
  if (classes < 2 || classes > kMaxClasses) return "classes are out of range";
  const int64_t pairs = classes * (classes - 1) / 2;
  if (!holds(step, kDecisions, product(rows, pairs), 4)) return "decisions are fewer than the pairs";
  if (step.operands[kChosen].data) {
    if (!step.operands[kLabels].data || !holds(step, kLabels, classes, 8)) return "labels are missing";
    if (!holds(step, kChosen, rows, 8)) return "chosen is smaller than the rows";
  }
  const bool probable = step.operands[kProbabilities].data;
  if (probable) {
    if (!step.operands[kProbA].data || !step.operands[kProbB].data) return "prob_a and prob_b are missing";
    if (!holds(step, kProbA, pairs, 8) || !holds(step, kProbB, pairs, 8)) return "prob_a or prob_b is too small";
    if (!holds(step, kProbabilities, product(rows, classes), 4)) return "probabilities are smaller than the classes";
  }
  rowWork(rows, pairs, probable ? 100 : 2, work);
  work->scratch = static_cast<size_t>((probable ? 2 * classes * classes : 0) + 2 * classes) * 8;
  return nullptr;
}

/// Exact at both ends.
double logistic(double x) {
  const double v = 1 / (1 + __builtin_exp(-__builtin_fabs(x)));
  return x < 0 ? 1 - v : v;
}

/// One step of the class probabilities p towards those that agree best with the pairwise ones; q, its product with p
/// and the product of both belong to them. False where they agree well enough.
bool coupleStep(const double* q, double* p, double* qp, int64_t k) {
  double pqp = 0, error = 0;
  for (int64_t t = 0; t < k; t++) {
    qp[t] = 0;
    for (int64_t j = 0; j < k; j++) qp[t] += q[t * k + j] * p[j];
    pqp += p[t] * qp[t];
  }
  for (int64_t t = 0; t < k; t++) {
    const double apart = __builtin_fabs(qp[t] - pqp);
    if (apart > error) error = apart;
  }
  if (error < 0.005 / static_cast<double>(k)) return false;
  for (int64_t t = 0; t < k; t++) {
    const double diff = (pqp - qp[t]) / q[t * k + t];
    p[t] += diff;
    pqp = (pqp + diff * (diff * q[t * k + t] + 2 * qp[t])) / ((1 + diff) * (1 + diff));
    for (int64_t j = 0; j < k; j++) {
      qp[j] = (qp[j] + diff * q[t * k + j]) / (1 + diff);
      p[j] /= 1 + diff;
    }
  }
  return true;
}

/// Probabilities of the classes (Wu, Lin and Weng's second method), in p.
void couple(const Step& step, const float* decisions, int64_t k, double* r, double* p) {
  const double *a = input<double>(step, kProbA), *b = input<double>(step, kProbB);
  double *q = r + k * k, *qp = p + k;
  int64_t pair = 0;
  for (int64_t i = 0; i < k; i++) {
    for (int64_t j = i + 1; j < k; j++, pair++) {
      double value = 1 - logistic(static_cast<double>(decisions[pair]) * a[pair] + b[pair]);
      value = value < 1e-7 ? 1e-7 : value > 1 - 1e-7 ? 1 - 1e-7 : value;
      r[i * k + j] = value;
      r[j * k + i] = 1 - value;
    }
  }
  for (int64_t t = 0; t < k; t++) {
    q[t * k + t] = 0;
    for (int64_t j = 0; j < k; j++) {
      if (j == t) continue;
      q[t * k + t] += r[j * k + t] * r[j * k + t];
      q[t * k + j] = -r[j * k + t] * r[t * k + j];
    }
    p[t] = 1 / static_cast<double>(k);
  }
  const int64_t rounds = k > 100 ? k : 100;
  for (int64_t round = 0; round < rounds && coupleStep(q, p, qp, k); round++) {
  }
}

void runVotes(const Step& step, Range* range) {
  const int64_t k = intParam(step, kClasses), pairs = k * (k - 1) / 2;
  const Rows rows = rowsOf(*range, intParam(step, kVoteRows), pairs);
  double *votes = reinterpret_cast<double*>(range->scratch), *p = votes, *r = votes + 2 * k;
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const float* decisions = input<float>(step, kDecisions) + row * pairs;
    if (step.operands[kChosen].bytes) {
      int64_t pair = 0, best = 0;
      for (int64_t i = 0; i < k; i++) votes[i] = 0;
      for (int64_t i = 0; i < k; i++) {
        for (int64_t j = i + 1; j < k; j++) votes[decisions[pair++] > 0 ? i : j]++;
      }
      for (int64_t i = 1; i < k; i++) best = votes[i] > votes[best] ? i : best;
      output<int64_t>(step, kChosen)[row] = input<int64_t>(step, kLabels)[best];
    }
    if (step.operands[kProbabilities].bytes) {
      couple(step, decisions, k, r, p);
      float* y = output<float>(step, kProbabilities) + row * k;
      for (int64_t i = 0; i < k; i++) y[i] = static_cast<float>(p[i]);
    }
  }
}

}  // namespace

// y [rows, count]: of rows of x with vectors [features, padded], the first `count` of which count: 0 the inner product
// d, 1 (gamma d + offset) ^ degree, 2 exp(-gamma distance^2), 3 tanh(gamma d + offset).
FILIGREE_KERNEL(similarityF32) = {"similarity.f32",
                                  "r:x r:vectors w:y",
                                  "i:rows i:features i:count i:padded i:kind f:gamma f:offset f:degree",
                                  checkSimilarity,
                                  runSimilarity,
                                  nullptr,
                                  nullptr,
                                  false};
// Of decisions [rows, pairs of classes]: the label with most votes, the first of equal ones; probabilities [rows,
// classes] with the pairs' logistic parameters.
FILIGREE_KERNEL(svmVotes) = {"svm.votes",
                             "r:decisions r:labels? r:prob_a? r:prob_b? w:chosen? w:probabilities?",
                             "i:rows i:classes",
                             checkVotes,
                             runVotes,
                             nullptr,
                             nullptr,
                             false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
