// Depthwise convolutions over segment maps, float32: every output channel has one input channel, and its taps are other
// tiles. Each step along the channels works on a few neighbouring tiles of a row, whose windows share input lines.
//
// The packing: for each output channel its bias and its weights [tap].
#include "kernels/conv_params.h"
#include "kernels/segments_lanes.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Neighbouring tiles of a row that are computed together.
constexpr int64_t kRun = 4;
/// Output channels of a unit when threads share out channels, and lines that are still in cache when activated.
constexpr int64_t kChannelBlock = 16;
constexpr int64_t kActivationBlock = 64;

struct Depthwise {
  ConvParams p;
  int64_t multiplier;
  const float *x, *packing, *residual;
  float* y;
  Clamp clamp;
  /// Floats between taps along depth and height, and between neighbouring tiles of the input.
  int64_t stepD, stepH, tile;
};

/// One run of tiles for output channels [begin, end): pointers to the first tile's channel 0.
struct Run {
  const float* x;
  float* y;
  const float* residual;
  int64_t begin, end;
};

/// Vectors of a line in one pass over the taps.
constexpr int kPass = kLineVectors > 2 ? 2 : kLineVectors;

/// K taps along the width with stride S for T tiles and N neighbouring channels at a time, starting from m. The lines
/// of one tile are read N at a time because tiles of 64 channels or a multiple all map to the same cache sets: reading
/// one line of each in turn made them evict each other (2 to 3 times slower).
template <int K, int S, int T, int N>
FILIGREE_INLINE void depthwiseLines(const Depthwise& d, const Run& run, int64_t m, const float* x0, int v) {
  constexpr int P = N * kPass;
  const int64_t stride = d.p.taps() + 1;
  const float* w = d.packing + m * stride;
  F32 acc[P][T];
  FILIGREE_UNROLL
  for (int i = 0; i < P; i++) {
    FILIGREE_UNROLL
    for (int t = 0; t < T; t++) acc[i][t] = set1(w[i / kPass * stride]);
  }
  w++;
  for (int64_t kd = 0; kd < d.p.kernel[0]; kd++) {
    for (int64_t kh = 0; kh < d.p.kernel[1]; kh++, w += K) {
      const float* const x = x0 + kd * d.stepD + kh * d.stepH;
      F32 weights[N][K];
      FILIGREE_UNROLL
      for (int n = 0; n < N; n++) {
        FILIGREE_UNROLL
        for (int k = 0; k < K; k++) weights[n][k] = set1(w[n * stride + k]);
      }
      FILIGREE_UNROLL
      for (int column = 0; column < (T - 1) * S + K; column++) {
        FILIGREE_UNROLL
        for (int i = 0; i < P; i++) {
          const F32 line = load(x + column * d.tile + i / kPass * kLine + i % kPass * kLanes);
          FILIGREE_UNROLL
          for (int t = 0; t < T; t++) {
            const int k = column - t * S;
            if (k >= 0 && k < K) acc[i][t] = fma(line, weights[i / kPass][k], acc[i][t]);
          }
        }
      }
    }
  }
  const int64_t yTile = d.p.out.C * kLine, residualTile = d.p.res.C * kLine;
  FILIGREE_UNROLL
  for (int t = 0; t < T; t++) {
    FILIGREE_UNROLL
    for (int i = 0; i < P; i++) {
      const int64_t at = (m + i / kPass) * kLine + i % kPass * kLanes + v;
      if (run.residual) acc[i][t] += load(run.residual + t * residualTile + at);
      store(run.y + t * yTile + at, apply(acc[i][t], d.clamp));
    }
  }
}

/// Channels at a time of windows K wide: accumulators and weights fill the registers.
constexpr int channelsAtATime(int k) { return kRegisters < 32 ? 1 : k == 3 ? 4 : 2; }

template <int K, int S, int T>
__attribute__((noinline)) void depthwiseRun(const Depthwise& d, const Run& run) {
  constexpr int N = channelsAtATime(K);
  int64_t m = run.begin;
  for (; d.multiplier == 1 && m + N <= run.end; m += N) {
    for (int v = 0; v < kLine; v += kPass * kLanes) depthwiseLines<K, S, T, N>(d, run, m, run.x + m * kLine + v, v);
  }
  for (; m < run.end; m++) {
    const float* const x = run.x + m / d.multiplier * kLine;
    for (int v = 0; v < kLine; v += kPass * kLanes) depthwiseLines<K, S, T, 1>(d, run, m, x + v, v);
  }
}

/// Any window, one tile.
__attribute__((noinline)) void depthwiseTile(const Depthwise& d, const Run& run) {
  const int64_t taps = d.p.taps(), step = d.p.dilation[2] * d.tile;
  for (int64_t m = run.begin; m < run.end; m++) {
    const float* w = d.packing + m * (taps + 1);
    const float* const x = run.x + m / d.multiplier * kLine;
    Line acc = setLine(*w++);
    for (int64_t kd = 0; kd < d.p.kernel[0]; kd++) {
      for (int64_t kh = 0; kh < d.p.kernel[1]; kh++) {
        const float* at = x + kd * d.stepD + kh * d.stepH;
        for (int64_t kw = 0; kw < d.p.kernel[2]; kw++, at += step) acc = fma(loadLine(at), setLine(*w++), acc);
      }
    }
    for (int v = 0; v < kLineVectors; v++) {
      if (run.residual) acc.v[v] += load(run.residual + m * kLine + v * kLanes);
      store(run.y + m * kLine + v * kLanes, apply(acc.v[v], d.clamp));
    }
  }
}

typedef void (*RunKernel)(const Depthwise&, const Run&);

/// Kernels for 4, 2 and 1 tiles; null where the window has none of its own.
struct Kernels {
  RunKernel four, two, one;
};

template <int K, int S>
FILIGREE_INLINE Kernels kernelsOf() {
  return {depthwiseRun<K, S, 4>, depthwiseRun<K, S, 2>, depthwiseRun<K, S, 1>};
}

FILIGREE_INLINE Kernels chooseKernels(const ConvParams& p) {
  const int64_t k = p.kernel[2], s = p.stride[2];
  if (p.dilation[2] == 1 && k == 3 && s == 1) return kernelsOf<3, 1>();
  if (p.dilation[2] == 1 && k == 3 && s == 2) return kernelsOf<3, 2>();
  if (p.dilation[2] == 1 && k == 5 && s == 1) return kernelsOf<5, 1>();
  if (p.dilation[2] == 1 && k == 5 && s == 2) return kernelsOf<5, 2>();
  if (p.dilation[2] == 1 && k == 7 && s == 1) return kernelsOf<7, 1>();
  return {nullptr, nullptr, depthwiseTile};
}

const char* readPacking(const Step& step, int64_t* channels, int64_t* taps) {
  const int64_t groups = intParam(step, 0), in = intParam(step, 1);
  *channels = intParam(step, 2);
  *taps = intParam(step, 3);
  if (groups < 1 || in != groups || *channels < 0 || *channels > 1 << 24 || *channels % groups != 0 || *taps < 1 ||
      *taps > 1 << 24) {
    return "pack.conv.segments.depthwise: sizes out of range";
  }
  return intParam(step, 4) ? "pack.conv.segments.depthwise: the weights cannot be transposed" : nullptr;
}

size_t packedBytes(const Step& step) {
  int64_t channels = 0, taps = 0;
  if (readPacking(step, &channels, &taps)) return 0;
  return static_cast<size_t>(channels * (taps + 1)) * 4;
}

const char* checkPacking(const Step& step, Work* work) {
  int64_t channels = 0, taps = 0;
  if (const char* problem = readPacking(step, &channels, &taps)) return problem;
  if (!holds(step, 0, channels * taps, 4)) return "pack.conv.segments.depthwise: the weights are too few";
  if (step.operands[1].data && !holds(step, 1, channels, 4)) return "pack.conv.segments.depthwise: too few biases";
  if (!holds(step, 2, channels * (taps + 1), 4)) return "pack.conv.segments.depthwise: the packing is too small";
  work->units = channels;
  work->cost = static_cast<double>(channels * taps);
  return nullptr;
}

void runPacking(const Step& step, Range* range) {
  int64_t channels = 0, taps = 0;
  readPacking(step, &channels, &taps);
  const float* const weights = input<float>(step, 0);
  for (int64_t m = range->begin; m < range->end; m++) {
    float* const to = output<float>(step, 2) + m * (taps + 1);
    to[0] = step.operands[1].data ? input<float>(step, 1)[m] : 0;
    for (int64_t k = 0; k < taps; k++) to[k + 1] = weights[m * taps + k];
  }
}

FILIGREE_INLINE int64_t runsInRow(const ConvParams& p) { return ceilDivide(p.out.TW, kRun); }

const char* checkDepthwise(const Step& step, Work* work) {
  ConvParams p;
  if (const char* problem = readConvParams(step, 0, &p)) return problem;
  if (p.groups != p.channels_in) return "conv.segments.depthwise: every input channel is a group";
  if (!holdsSegments(step, 0, p.in, 4)) return "conv.segments.depthwise: the input is too small";
  if (!holds(step, 1, product(p.channels_out, p.taps() + 1), 4)) {
    return "conv.segments.depthwise: the packing is too small";
  }
  if (p.residual && !(step.operands[2].data && holdsSegments(step, 2, p.res, 4))) {
    return "conv.segments.depthwise: the residual is too small";
  }
  if (!holdsSegments(step, 3, p.out, 4)) return "conv.segments.depthwise: the output is too small";
  work->units =
      p.split ? ceilDivide(p.channels_out, kChannelBlock) : p.out.groups() * p.out.D * p.out.TH * runsInRow(p);
  if (p.tiles() == 0 || p.channels_out == 0) work->units = 0;
  const double lines = static_cast<double>(p.tiles()) * static_cast<double>(p.channels_out);
  work->cost = lines * (4 + static_cast<double>(p.taps()) * (kLine / kLanes) * 0.2);
  return nullptr;
}

FILIGREE_INLINE Depthwise readDepthwise(const Step& step) {
  Depthwise d;
  readConvParams(step, 0, &d.p);
  const ConvParams& p = d.p;
  d.multiplier = p.channels_out / p.channels_in;
  d.x = input<float>(step, 0);
  d.packing = input<float>(step, 1);
  d.residual = p.residual ? input<float>(step, 2) : nullptr;
  d.y = output<float>(step, 3);
  d.clamp = clampOf(p.activation, p.alpha, p.beta);
  d.tile = p.in.C * kLine;
  d.stepH = p.dilation[1] * p.in.gridX() * d.tile;
  d.stepD = p.dilation[0] * p.in.gridY() * p.in.gridX() * d.tile;
  return d;
}

/// Tiles [tx, tx + count) of a row, count <= kRun, for output channels [begin, end).
FILIGREE_INLINE void computeRun(const Depthwise& d, const Kernels& kernels, TileAt at, int64_t count, int64_t begin,
                                int64_t end) {
  const ConvParams& p = d.p;
  const int64_t last = at.tx + count;
  while (at.tx < last) {
    const int64_t left = last - at.tx;
    const int64_t tiles = kernels.four && left >= 4 ? 4 : kernels.two && left >= 2 ? 2 : 1;
    const RunKernel kernel = tiles == 4 ? kernels.four : tiles == 2 ? kernels.two : kernels.one;
    const int64_t out = p.out.tile(at.group, at.z, at.ty, at.tx), res = p.res.tile(at.group, at.z, at.ty, at.tx);
    Run run;
    run.x = d.x + (tapTile(p, at, 0, 0, 0) * p.in.C + p.in_channel) * kLine;
    run.y = d.y + (out * p.out.C + p.out_channel) * kLine;
    run.residual = d.residual ? d.residual + (res * p.res.C + p.res_channel) * kLine : nullptr;
    for (int64_t m = begin; m < end; m += kActivationBlock) {
      run.begin = m;
      run.end = least(m + kActivationBlock, end);
      kernel(d, run);
      for (int64_t t = 0; !d.clamp.all && t < tiles; t++) {
        float* const lines = run.y + (t * p.out.C + m) * kLine;
        applyRow(lines, (run.end - m) * kLine, p.activation, p.alpha, p.beta);
      }
    }
    at.tx += tiles;
  }
}

void runDepthwise(const Step& step, Range* range) {
  const Depthwise d = readDepthwise(step);
  const ConvParams& p = d.p;
  const Kernels kernels = chooseKernels(p);
  const int64_t runs = runsInRow(p);
  const int64_t begin = p.split ? range->begin * kChannelBlock : 0;
  const int64_t end = p.split ? least(range->end * kChannelBlock, p.channels_out) : p.channels_out;
  const int64_t first = p.split ? 0 : range->begin;
  const int64_t last = p.split ? p.out.groups() * p.out.D * p.out.TH * runs : range->end;
  for (int64_t unit = first; unit < last; unit++) {
    TileAt at = tileAt(p.out, unit / runs * p.out.TW);
    at.tx = unit % runs * kRun;
    computeRun(d, kernels, at, least(kRun, p.out.TW - at.tx), begin, end);
  }
}

}  // namespace

// The weights are [channels_out][1][taps].
FILIGREE_KERNEL(packConvSegmentsDepthwise) = {"pack.conv.segments.depthwise.f32",
                                              "r:weights r:bias? w:packing",
                                              "i:groups i:channels_in i:channels_out i:taps i:transposed",
                                              checkPacking,
                                              runPacking,
                                              packedBytes,
                                              nullptr,
                                              false};
// Groups are the input channels; output channel m reads input channel m * channels_in / channels_out. `y` may be
// `residual`.
FILIGREE_KERNEL(convSegmentsDepthwise) = {"conv.segments.depthwise.f32",
                                          "r:x r:packing r:residual? w:y",
                                          FILIGREE_CONV_SCALARS " " FILIGREE_CONV_LISTS,
                                          checkDepthwise,
                                          runDepthwise,
                                          nullptr,
                                          nullptr,
                                          false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
