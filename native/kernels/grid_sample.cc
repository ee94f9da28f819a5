// Samples of maps at computed positions.
#include "kernels/kernel_support.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Positions whose taps are worked out together, for all channels.
constexpr int64_t kBlockPositions = 64;
constexpr int kMaxAxes = 3;
/// Beyond every position of an axis, and still exact.
constexpr double kFar = 1099511627776.0;

enum { kX, kGrid, kY };
enum { kBatch, kChannels, kMode, kPadding, kAlign, kScalars };
enum { kNearest, kLinear, kCubic, kModes };
enum { kZeros, kBorder, kReflection, kPaddings };

struct Tap {
  /// -1 for a zero.
  int32_t index;
  float weight;
};

/// Taps along an axis.
int64_t tapsOf(int64_t mode) { return mode == kNearest ? 1 : mode == kLinear ? 2 : 4; }

int64_t sizeOf(List dims) {
  int64_t size = 1;
  for (int64_t i = 0; i < dims.count; i++) size = product(size, dims.items[i]);
  return size;
}

int64_t allTaps(int64_t mode, int64_t rank) {
  int64_t taps = 1;
  for (int64_t i = 0; i < rank; i++) taps *= tapsOf(mode);
  return taps;
}

const char* check(const Step& step, Work* work) {
  const int64_t batch = intParam(step, kBatch), channels = intParam(step, kChannels), mode = intParam(step, kMode);
  const List in = listParam(step, kScalars, 0), out = listParam(step, kScalars, 1);
  if (in.count < 1 || in.count > kMaxAxes || out.count != in.count) return "maps have 1 to 3 axes";
  if (mode < 0 || mode >= kModes) return "mode is 0 to 2";
  if (intParam(step, kPadding) < 0 || intParam(step, kPadding) >= kPaddings) return "padding is 0 to 2";
  const int64_t plane = sizeOf(in), positions = sizeOf(out);
  if (plane < 1 || plane > INT32_MAX) return "a map is empty or too large";
  if (!holds(step, kX, product(product(batch, channels), plane), 4)) return "x is smaller than its sizes say";
  if (!holds(step, kGrid, product(product(batch, positions), in.count), 4)) return "grid is smaller than its sizes say";
  if (!holds(step, kY, product(product(batch, channels), positions), 4)) return "y is smaller than its sizes say";
  const int64_t taps = allTaps(mode, in.count);
  work->units = product(batch, (positions + kBlockPositions - 1) / kBlockPositions);
  const double samples = static_cast<double>(batch) * static_cast<double>(positions) * static_cast<double>(taps);
  work->cost = samples * (5 + 0.7 * static_cast<double>(channels));
  work->scratch = static_cast<size_t>(kBlockPositions * taps) * sizeof(Tap);
  return nullptr;
}

/// The element that stands at position `at` of an axis, -1 for a zero.
int64_t padded(int64_t at, int64_t size, int64_t padding, bool align) {
  if (at >= 0 && at < size) return at;
  if (padding == kZeros) return -1;
  if (padding == kBorder) return at < 0 ? 0 : size - 1;
  // Mirrors lie on the border elements or, without aligned corners, between them and the outside.
  const int64_t whole = align ? 2 * (size - 1) : 2 * size, period = whole < 1 ? 1 : whole;
  const int64_t within = (at % period + period) % period;
  if (within < size) return within;
  return align ? period - within : period - 1 - within;
}

double weightOf(int64_t mode, double distance) {
  if (mode == kLinear) return distance < 1 ? 1 - distance : 0;
  constexpr double a = -0.75;
  if (distance <= 1) return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
  return distance < 2 ? ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a : 0;
}

struct AxisTaps {
  int64_t index[4];
  double weight[4];
};

void sampleAxis(double coordinate, int64_t size, const Step& step, AxisTaps* taps) {
  const int64_t mode = intParam(step, kMode), padding = intParam(step, kPadding);
  const bool align = intParam(step, kAlign) != 0;
  const double extent = static_cast<double>(size);
  const double scaled = align ? (coordinate + 1) / 2 * (extent - 1) : ((coordinate + 1) * extent - 1) / 2;
  // What is not a number lies outside.
  const double x = scaled != scaled ? -kFar : scaled < -kFar ? -kFar : scaled > kFar ? kFar : scaled;
  if (mode == kNearest) {
    taps->index[0] = padded(static_cast<int64_t>(__builtin_rint(x)), size, padding, align);
    taps->weight[0] = 1;
    return;
  }
  const int64_t count = tapsOf(mode), first = static_cast<int64_t>(__builtin_floor(x)) - count / 2 + 1;
  for (int64_t i = 0; i < count; i++) {
    taps->index[i] = padded(first + i, size, padding, align);
    taps->weight[i] = weightOf(mode, __builtin_fabs(static_cast<double>(first + i) - x));
  }
}

/// The taps of one position: products of those of its axes.
void samplePosition(const Step& step, List in, const float* coordinates, Tap* taps) {
  const int64_t rank = in.count, each = tapsOf(intParam(step, kMode));
  taps[0] = {0, 1};
  int64_t count = 1;
  for (int64_t axis = 0; axis < rank; axis++) {
    AxisTaps along;
    // The grid counts the axes from the innermost one.
    sampleAxis(static_cast<double>(coordinates[rank - 1 - axis]), in.items[axis], step, &along);
    // From the end, so that what is read is not yet written over.
    for (int64_t t = count - 1; t >= 0; t--) {
      const Tap outer = taps[t];
      for (int64_t i = each - 1; i >= 0; i--) {
        const bool inside = outer.index >= 0 && along.index[i] >= 0;
        taps[t * each + i] = {inside ? static_cast<int32_t>(outer.index * in.items[axis] + along.index[i]) : -1,
                              static_cast<float>(outer.weight * along.weight[i])};
      }
    }
    count *= each;
  }
}

void run(const Step& step, Range* range) {
  const int64_t channels = intParam(step, kChannels);
  const List in = listParam(step, kScalars, 0), out = listParam(step, kScalars, 1);
  const int64_t plane = sizeOf(in), positions = sizeOf(out), taps = allTaps(intParam(step, kMode), in.count);
  const int64_t blocks = (positions + kBlockPositions - 1) / kBlockPositions;
  Tap* block = reinterpret_cast<Tap*>(range->scratch);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t image = unit / blocks, first = unit % blocks * kBlockPositions;
    const int64_t many = positions - first < kBlockPositions ? positions - first : kBlockPositions;
    const float* grid = input<float>(step, kGrid) + (image * positions + first) * in.count;
    for (int64_t p = 0; p < many; p++) samplePosition(step, in, grid + p * in.count, block + p * taps);
    for (int64_t c = 0; c < channels; c++) {
      const float* x = input<float>(step, kX) + (image * channels + c) * plane;
      float* y = output<float>(step, kY) + (image * channels + c) * positions + first;
      const Tap* tap = block;
      for (int64_t p = 0; p < many; p++) {
        float sum = 0;
        for (int64_t t = 0; t < taps; t++, tap++) {
          if (tap->index >= 0) sum += tap->weight * x[tap->index];
        }
        y[p] = sum;
      }
    }
  }
}

}  // namespace

// y [batch, channels, out...] = x [batch, channels, in...] at the positions grid [batch, out..., axes], in (-1, 1) from
// border to border. mode 0 nearest, 1 linear, 2 cubic; padding 0 zeros, 1 border, 2 reflection.
FILIGREE_KERNEL(gridSampleF32) = {"grid_sample.f32",
                                  "r:x r:grid w:y",
                                  "i:batch i:channels i:mode i:padding i:align l:in l:out",
                                  check,
                                  run,
                                  nullptr,
                                  nullptr,
                                  false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
