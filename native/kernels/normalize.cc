// Normalisation of rows (LayerNormalization and relatives), of groups of channels, and per channel.
#include "kernels/rows.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

struct Moments {
  double mean, variance;
};

typedef double Wide __attribute__((vector_size(8 * kLanes)));

/// Sum of (x - shift)^power over a row, in four accumulators, which come together in double.
template <bool square>
double rowSum(const float* x, int64_t n, float shift) {
  const F32 mean = set1(shift);
  F32 acc[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int k = 0; k < 4; k++) {
      const F32 d = load(x + i + k * kLanes) - mean;
      acc[k] = square ? fma(d, d, acc[k]) : acc[k] + d;
    }
  }
  for (; i < n; i += kLanes) {
    const F32 d = loadN(x + i, static_cast<int>(n - i < kLanes ? n - i : kLanes), shift) - mean;
    acc[0] = square ? fma(d, d, acc[0]) : acc[0] + d;
  }
  Wide sum = __builtin_convertvector(acc[0], Wide) + __builtin_convertvector(acc[1], Wide);
  sum += __builtin_convertvector(acc[2], Wide) + __builtin_convertvector(acc[3], Wide);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; lane++) sum[lane] += sum[lane + half];
  }
  return sum[0];
}

typedef float Eight __attribute__((vector_size(32)));
typedef float EightUnaligned __attribute__((vector_size(32), aligned(4), may_alias));

/// Mean square of a row as ONNX Runtime sums it, in eight float32 lanes: decoders round what follows to a few levels,
/// and a last bit can tip that.
float meanSquare(const float* x, int64_t n) {
  Eight acc = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Eight v = *reinterpret_cast<const EightUnaligned*>(x + i);
#if defined(__FMA__)
    acc = _mm256_fmadd_ps(v, v, acc);
#else
    acc += v * v;
#endif
  }
  float sum = ((acc[0] + acc[4]) + (acc[2] + acc[6])) + ((acc[1] + acc[5]) + (acc[3] + acc[7]));
  for (; i < n; i++) sum = __builtin_fmaf(x[i], x[i], sum);
  return sum / static_cast<float>(n);
}

/// 1 / sqrt(mean square + epsilon), every step rounded to float32.
float inverseRms(const float* x, int64_t n, double epsilon) {
  return 1.0f / __builtin_sqrtf(meanSquare(x, n) + static_cast<float>(epsilon));
}

Moments momentsOf(const float* x, int64_t n) {
  const double count = static_cast<double>(n);
  const double mean = rowSum<false>(x, n, 0) / count;
  const float near = static_cast<float>(mean);
  const double off = mean - static_cast<double>(near);
  return {mean, rowSum<true>(x, n, near) / count - off * off};
}

/// True where operand k is omitted or holds `count` floats.
bool absentOrHolds(const Step& step, int k, int64_t count) {
  return step.operands[k].bytes == 0 || holds(step, k, count, 4);
}

const char* checkLayer(const Step& step, Work* work) {
  const int64_t rows = intParam(step, 1), n = intParam(step, 2), count = product(rows, n);
  if (n < 1) return "a row has at least one element";
  if (!holds(step, 0, count, 4)) return "x holds fewer elements than its sizes say";
  if (!holds(step, 5, count, 4)) return "y holds fewer elements than its sizes say";
  if (!absentOrHolds(step, 1, count) || !absentOrHolds(step, 6, count)) return "skip or sum is too small";
  for (int k = 2; k <= 4; k++) {
    if (!absentOrHolds(step, k, n)) return "bias, gamma or beta is shorter than a row";
  }
  if (!absentOrHolds(step, 7, rows) || !absentOrHolds(step, 8, rows)) return "mean or inv_std is shorter than the rows";
  rowWork(rows, n, 0.25, work);
  return nullptr;
}

/// to = x + skip + bias.
void addSkip(const float* x, const float* skip, const float* bias, float* to, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int rest = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    F32 v = loadN(x + i, rest);
    if (skip) v += loadN(skip + i, rest);
    if (bias) v += loadN(bias + i, rest);
    storeN(to + i, v, rest);
  }
}

void normalizeRow(const float* x, float* y, int64_t n, float mean, float scale, const float* gamma, const float* beta) {
  const F32 m = set1(mean), s = set1(scale);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    F32 v = (load(x + i) - m) * s;
    if (gamma) v *= load(gamma + i);
    if (beta) v += load(beta + i);
    store(y + i, v);
  }
  const int rest = static_cast<int>(n - i);
  if (rest == 0) return;
  F32 v = (loadN(x + i, rest) - m) * s;
  if (gamma) v *= loadN(gamma + i, rest);
  if (beta) v += loadN(beta + i, rest);
  storeN(y + i, v, rest);
}

void runLayer(const Step& step, Range* range) {
  const bool rms = intParam(step, 0) != 0;
  const int64_t n = intParam(step, 2);
  const double epsilon = floatParam(step, 3);
  const Rows rows = rowsOf(*range, intParam(step, 1), n);
  const float* skip = input<float>(step, 1);
  const float* bias = input<float>(step, 2);
  float* sums = output<float>(step, 6);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const float* x = input<float>(step, 0) + row * n;
    float* y = output<float>(step, 5) + row * n;
    if (skip || bias || sums) {
      float* to = sums ? sums + row * n : y;
      addSkip(x, skip ? skip + row * n : nullptr, bias, to, n);
      x = to;
    }
    const Moments moments = rms ? Moments{0, 0} : momentsOf(x, n);
    const double inverse =
        rms ? static_cast<double>(inverseRms(x, n, epsilon)) : 1 / __builtin_sqrt(moments.variance + epsilon);
    normalizeRow(x, y, n, static_cast<float>(moments.mean), static_cast<float>(inverse), input<float>(step, 3),
                 input<float>(step, 4));
    if (output<float>(step, 7)) output<float>(step, 7)[row] = static_cast<float>(moments.mean);
    if (output<float>(step, 8)) output<float>(step, 8)[row] = static_cast<float>(inverse);
  }
}

const char* checkGroup(const Step& step, Work* work) {
  const int64_t groups = intParam(step, 1), channels = intParam(step, 2), inner = intParam(step, 3);
  const int64_t rows = product(intParam(step, 0), groups), n = product(channels, inner);
  if (n < 1) return "a group has at least one element";
  if (!holds(step, 0, product(rows, n), 4)) return "x holds fewer elements than its sizes say";
  if (!holds(step, 3, product(rows, n), 4)) return "y holds fewer elements than its sizes say";
  const int64_t total = product(groups, channels);
  if (!absentOrHolds(step, 1, total) || !absentOrHolds(step, 2, total)) {
    return "gamma or beta holds fewer elements than there are channels";
  }
  rowWork(rows, n, 0.25, work);
  return nullptr;
}

void runGroup(const Step& step, Range* range) {
  const int64_t groups = intParam(step, 1), channels = intParam(step, 2), inner = intParam(step, 3);
  const int64_t n = channels * inner;
  const float* gamma = input<float>(step, 1);
  const float* beta = input<float>(step, 2);
  const Rows rows = rowsOf(*range, intParam(step, 0) * groups, n);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const float* x = input<float>(step, 0) + row * n;
    float* y = output<float>(step, 3) + row * n;
    const Moments moments = momentsOf(x, n);
    const double inverse = 1 / __builtin_sqrt(moments.variance + floatParam(step, 4));
    for (int64_t c = 0; c < channels; c++) {
      const int64_t channel = row % groups * channels + c;
      const double scale = inverse * (gamma ? gamma[channel] : 1);
      const F32 s = set1(static_cast<float>(scale));
      const F32 m = set1(static_cast<float>(moments.mean)), b = set1(beta ? beta[channel] : 0);
      for (int64_t i = c * inner; i < (c + 1) * inner; i += kLanes) {
        const int64_t left = (c + 1) * inner - i;
        const int rest = static_cast<int>(left < kLanes ? left : kLanes);
        storeN(y + i, fma(loadN(x + i, rest) - m, s, b), rest);
      }
    }
  }
}

const char* checkBatch(const Step& step, Work* work) {
  const int64_t rows = product(intParam(step, 0), intParam(step, 1)), inner = intParam(step, 2);
  if (!holds(step, 0, product(rows, inner), 4)) return "x holds fewer elements than its sizes say";
  if (!holds(step, 5, product(rows, inner), 4)) return "y holds fewer elements than its sizes say";
  for (int k = 1; k <= 4; k++) {
    if (!holds(step, k, intParam(step, 1), 4)) return "a statistic holds fewer elements than there are channels";
  }
  rowWork(rows, inner, 0.15, work);
  return nullptr;
}

void runBatch(const Step& step, Range* range) {
  const int64_t channels = intParam(step, 1), inner = intParam(step, 2);
  const Rows rows = rowsOf(*range, intParam(step, 0) * channels, inner);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    const int64_t c = row % channels;
    const double variance = input<float>(step, 4)[c];
    const double scale = input<float>(step, 1)[c] / __builtin_sqrt(variance + floatParam(step, 3));
    const F32 s = set1(static_cast<float>(scale)), m = set1(input<float>(step, 3)[c]);
    const F32 b = set1(input<float>(step, 2)[c]);
    const float* x = input<float>(step, 0) + row * inner;
    float* y = output<float>(step, 5) + row * inner;
    for (int64_t i = 0; i < inner; i += kLanes) {
      const int rest = static_cast<int>(inner - i < kLanes ? inner - i : kLanes);
      storeN(y + i, fma(loadN(x + i, rest) - m, s, b), rest);
    }
  }
}

}  // namespace

// Rows of s = x + skip + bias: y = (s - mean) / sqrt(variance + epsilon) * gamma + beta; with `rms` the mean is not
// taken off and the mean square stands for the variance. sum = s. y may be x.
FILIGREE_KERNEL(layerNormF32) = {"layernorm.f32",
                                 "r:x r:skip? r:bias? r:gamma? r:beta? w:y w:sum? w:mean? w:inv_std?",
                                 "i:rms i:rows i:n f:epsilon",
                                 checkLayer,
                                 runLayer,
                                 nullptr,
                                 nullptr,
                                 false};

// x [batch, groups, channels, inner], each group normalised as a whole; gamma and beta [groups * channels].
FILIGREE_KERNEL(groupNormF32) = {"groupnorm.f32",
                                 "r:x r:gamma? r:beta? w:y",
                                 "i:batch i:groups i:channels i:inner f:epsilon",
                                 checkGroup,
                                 runGroup,
                                 nullptr,
                                 nullptr,
                                 false};

// x [batch, channels, inner]: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta with given statistics.
FILIGREE_KERNEL(batchNormF32) = {"batchnorm.f32",
                                 "r:x r:gamma r:beta r:mean r:variance w:y",
                                 "i:batch i:channels i:inner f:epsilon",
                                 checkBatch,
                                 runBatch,
                                 nullptr,
                                 nullptr,
                                 false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
