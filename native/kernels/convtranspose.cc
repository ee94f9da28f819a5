// Transposed convolution of row-major tensors, float32, up to three spatial axes.
//
// Products of all weights of a few output channels with a run of input positions are made in registers, then added to
// the output where each tap puts them. A thread owns whole output channels, so no two add to the same place.
#include "kernels/activation.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kScalars = 7;
constexpr int kRows = kRegisters == 32 ? 12 : 5;
/// Positions of a run.
constexpr int kRun = 2 * kLanes;

struct Transpose {
  int64_t images, groups, channels_in, channels_out;
  int64_t input[3], output[3], kernel[3], stride[3], dilation[3], pad[3];
  int64_t activation;
  float alpha, beta;

  FILIGREE_INLINE_MEMBER int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  FILIGREE_INLINE_MEMBER int64_t positions() const { return input[0] * input[1] * input[2]; }
  FILIGREE_INLINE_MEMBER int64_t outputs() const { return output[0] * output[1] * output[2]; }
  /// Output channels of a unit: few taps go together with those of the next channels.
  FILIGREE_INLINE_MEMBER int64_t block() const { return taps() >= kRows ? 1 : kRows / taps(); }
  FILIGREE_INLINE_MEMBER int64_t groupRows() const { return channels_out / groups; }
  FILIGREE_INLINE_MEMBER int64_t groupBlocks() const { return (groupRows() + block() - 1) / block(); }
};

FILIGREE_INLINE const char* readTranspose(const Step& step, Transpose* t) {
  const int64_t limit = int64_t{1} << 24;
  int64_t* const sizes[4] = {&t->images, &t->groups, &t->channels_in, &t->channels_out};
  for (int i = 0; i < 4; i++) {
    *sizes[i] = intParam(step, i);
    if (*sizes[i] < 0 || *sizes[i] > limit) return "convtranspose: sizes out of range";
  }
  t->activation = intParam(step, 4);
  t->alpha = static_cast<float>(floatParam(step, 5));
  t->beta = static_cast<float>(floatParam(step, 6));
  if (!knownActivation(t->activation)) return "convtranspose: no such activation";
  if (t->groups < 1 || t->channels_in % t->groups != 0 || t->channels_out % t->groups != 0) {
    return "convtranspose: groups must divide the channels";
  }
  int64_t* const lists[6] = {t->input, t->output, t->kernel, t->stride, t->dilation, t->pad};
  const int64_t least[6] = {0, 0, 1, 1, 1, -limit};
  for (int k = 0; k < 6; k++) {
    const List list = listParam(step, kScalars, k);
    if (list.count != 3) return "convtranspose: three sizes an axis list";
    for (int i = 0; i < 3; i++) {
      if (list.items[i] < least[k] || list.items[i] > limit) return "convtranspose: sizes out of range";
      lists[k][i] = list.items[i];
    }
  }
  return nullptr;
}

FILIGREE_INLINE int64_t product3(const int64_t* v) { return product(v[0], product(v[1], v[2])); }

const char* check(const Step& step, Work* work) {
  Transpose t = {};
  if (const char* problem = readTranspose(step, &t)) return problem;
  const int64_t positions = product3(t.input), outputs = product3(t.output), taps = product3(t.kernel);
  if (!holds(step, 0, product(product(t.images, t.channels_in), positions), 4)) return "convtranspose: x is too small";
  const int64_t weights = product(product(t.channels_in, t.groupRows()), taps);
  if (!holds(step, 1, weights, 4)) return "convtranspose: the weights are too few";
  if (step.operands[2].data && !holds(step, 2, t.channels_out, 4)) return "convtranspose: the biases are too few";
  if (!holds(step, 3, product(product(t.images, t.channels_out), outputs), 4)) return "convtranspose: y is too small";
  work->units = product(t.images, t.groups * t.groupBlocks());
  if (outputs == 0) work->units = 0;
  work->cost = static_cast<double>(t.images) * static_cast<double>(weights) * static_cast<double>(positions) *
               (1.0 / (kLanes * 4) + 0.3);
  return work->units < 0 ? "convtranspose: too many channels" : nullptr;
}

/// sums[R][kRun] = weights of R rows times `count` positions: x is the first channel at the first position.
template <int R>
__attribute__((noinline)) void multiplyRun(const float* w, int64_t wStride, const float* x, int64_t xStride,
                                           int64_t channels, int64_t count, float* sums) {
  F32 acc[R][2];
  FILIGREE_UNROLL
  for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] = zero();
  const int first = static_cast<int>(count < kLanes ? count : kLanes), second = static_cast<int>(count) - first;
  for (int64_t c = 0; c < channels; c++, w += wStride, x += xStride) {
    const F32 a = count == kRun ? load(x) : loadN(x, first);
    const F32 b = count == kRun ? load(x + kLanes) : second > 0 ? loadN(x + kLanes, second) : zero();
    FILIGREE_UNROLL
    for (int r = 0; r < R; r++) {
      const F32 weight = set1(w[r]);
      acc[r][0] = fma(a, weight, acc[r][0]);
      acc[r][1] = fma(b, weight, acc[r][1]);
    }
  }
  FILIGREE_UNROLL
  for (int r = 0; r < R; r++) {
    store(sums + r * kRun, acc[r][0]);
    store(sums + r * kRun + kLanes, acc[r][1]);
  }
}

typedef void (*MultiplyRun)(const float*, int64_t, const float*, int64_t, int64_t, int64_t, float*);

template <int R>
FILIGREE_INLINE MultiplyRun multiplyRunOf(int64_t rows) {
  if constexpr (R <= 1) {
    return multiplyRun<1>;
  } else {
    return rows == R ? multiplyRun<R> : multiplyRunOf<R - 1>(rows);
  }
}

/// Adds `count` sums of one tap, of input positions (z, y, x), (z, y, x + 1), ..., to an output plane.
FILIGREE_INLINE void scatter(const Transpose& t, const float* sums, int64_t count, int64_t z, int64_t y, int64_t x,
                             int64_t tap, float* plane) {
  const int64_t kw = tap % t.kernel[2], kh = tap / t.kernel[2] % t.kernel[1], kd = tap / (t.kernel[2] * t.kernel[1]);
  const int64_t oz = z * t.stride[0] + kd * t.dilation[0] - t.pad[0];
  const int64_t oy = y * t.stride[1] + kh * t.dilation[1] - t.pad[1];
  if (oz < 0 || oz >= t.output[0] || oy < 0 || oy >= t.output[1]) return;
  float* const row = plane + (oz * t.output[1] + oy) * t.output[2];
  const int64_t stride = t.stride[2], begin = x * stride + kw * t.dilation[2] - t.pad[2];
  int64_t first = begin >= 0 ? 0 : (-begin + stride - 1) / stride, last = count;
  if (begin + (last - 1) * stride >= t.output[2])
    last = begin >= t.output[2] ? 0 : (t.output[2] - 1 - begin) / stride + 1;
  if (stride == 1) {
    for (; first + kLanes <= last; first += kLanes) {
      store(row + begin + first, load(row + begin + first) + load(sums + first));
    }
  }
  for (; first < last; first++) row[begin + first * stride] += sums[first];
}

/// Adds what rows [row, row + rows) of a unit, tap by tap and channel by channel, make of all positions.
FILIGREE_INLINE void addRows(const Transpose& t, const float* x, const float* w, int64_t row, int64_t rows,
                             float* planes) {
  const int64_t positions = t.positions(), taps = t.taps(), channels = t.channels_in / t.groups;
  const MultiplyRun multiply = multiplyRunOf<kRows>(rows);
  float sums[kRows * kRun];
  for (int64_t p = 0; p < positions; p += kRun) {
    const int64_t count = positions - p < kRun ? positions - p : kRun;
    multiply(w + row, t.groupRows() * taps, x + p, positions, channels, count, sums);
    for (int64_t at = 0; at < count;) {
      const int64_t position = p + at, column = position % t.input[2];
      const int64_t y = position / t.input[2] % t.input[1], z = position / (t.input[2] * t.input[1]);
      const int64_t run = t.input[2] - column < count - at ? t.input[2] - column : count - at;
      for (int64_t r = 0; r < rows; r++) {
        float* const plane = planes + (row + r) / taps * t.outputs();
        scatter(t, sums + r * kRun + at, run, z, y, column, (row + r) % taps, plane);
      }
      at += run;
    }
  }
}

void run(const Step& step, Range* range) {
  Transpose t = {};
  readTranspose(step, &t);
  const int64_t blocks = t.groupBlocks(), taps = t.taps(), outputs = t.outputs(), perGroup = t.channels_in / t.groups;
  const float* const bias = step.operands[2].data ? input<float>(step, 2) : nullptr;
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t group = unit / blocks % t.groups, image = unit / (blocks * t.groups);
    const int64_t first = unit % blocks * t.block();
    const int64_t count = t.groupRows() - first < t.block() ? t.groupRows() - first : t.block();
    const int64_t channel = group * t.groupRows() + first;
    float* const planes = output<float>(step, 3) + (image * t.channels_out + channel) * outputs;
    for (int64_t m = 0; m < count; m++) {
      for (int64_t i = 0; i < outputs; i++) planes[m * outputs + i] = bias ? bias[channel + m] : 0;
    }
    const float* const x = input<float>(step, 0) + (image * t.channels_in + group * perGroup) * t.positions();
    const float* const w = input<float>(step, 1) + (group * perGroup * t.groupRows() + first) * taps;
    const int64_t rows = count * taps, pieces = (rows + kRows - 1) / kRows;
    for (int64_t i = 0; i < pieces; i++) {
      const int64_t row = rows * i / pieces;
      addRows(t, x, w, row, rows * (i + 1) / pieces - row, planes);
    }
    if (t.activation == kActivationNone) continue;
    for (int64_t i = 0; i < count * outputs; i += kLanes) {
      const int lanes = static_cast<int>(count * outputs - i < kLanes ? count * outputs - i : kLanes);
      storeN(planes + i, apply(loadN(planes + i, lanes), t.activation, t.alpha, t.beta), lanes);
    }
  }
}

}  // namespace

// x [images, channels_in, ...input], w [channels_in, channels_out / groups, ...kernel], y [images, channels_out,
// ...output]; three sizes each, along depth, height and width. Input position i and tap k meet in output position
// i * stride + k * dilation - pad; what falls outside the output is dropped.
FILIGREE_KERNEL(convTranspose) = {"convtranspose.f32",
                                  "r:x r:w r:bias? w:y",
                                  "i:images i:groups i:channels_in i:channels_out i:activation f:alpha f:beta l:input "
                                  "l:output l:kernel l:stride l:dilation l:pad",
                                  check,
                                  run,
                                  nullptr,
                                  nullptr,
                                  false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
