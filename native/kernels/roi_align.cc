// Regions of feature maps pooled to a fixed grid by bilinear samples (RoiAlign of ONNX).
#include <cmath>

#include "kernels/indices.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Samples a bin and axis whose places are worked out once for all channels.
constexpr int64_t kKept = 16;
constexpr double kMostSamples = 1 << 20;

/// A sample along one axis: its neighbours and the weight of the upper one; low is -1 outside.
struct Point {
  int32_t low;
  int32_t high;
  float share;
};

/// The samples of one region along one axis.
struct Axis {
  double start;
  double bin;
  int64_t bins;
  int64_t size;
  /// Samples a bin.
  int64_t samples;
  Point* kept;
};

struct RoiAlign {
  int64_t images, channels, height, width, rois, rows, columns, ratio;
  double scale;
  bool max, half, wide;
};

bool read(const Step& step, RoiAlign* d) {
  d->images = intParam(step, 0);
  d->channels = intParam(step, 1);
  d->height = intParam(step, 2);
  d->width = intParam(step, 3);
  d->rois = intParam(step, 4);
  d->rows = intParam(step, 5);
  d->columns = intParam(step, 6);
  d->ratio = intParam(step, 7);
  d->max = intParam(step, 8) != 0;
  d->half = intParam(step, 9) != 0;
  d->wide = intParam(step, 10) != 0;
  d->scale = floatParam(step, 11);
  constexpr int64_t kMost = 1 << 16;
  return d->images >= 0 && d->channels >= 0 && d->height >= 0 && d->width >= 0 && d->rois >= 0 && d->rows >= 1 &&
         d->rows <= kMost && d->columns >= 1 && d->columns <= kMost && d->ratio >= 0 && d->ratio <= kMost;
}

const char* check(const Step& step, Work* work) {
  RoiAlign d;
  if (!read(step, &d)) return "sizes out of range";
  const int64_t grid = d.rows * d.columns;
  if (!holds(step, 0, product(product(d.images, d.channels), product(d.height, d.width)), 4)) return "x is too small";
  if (!holds(step, 1, product(d.rois, 4), 4)) return "rois is too small";
  if (!holds(step, 2, d.rois, d.wide ? 8 : 4)) return "images is too small";
  if (!holds(step, 3, product(product(d.rois, d.channels), grid), 4)) return "y is too small";
  const double samples = d.ratio > 0 ? static_cast<double>(d.ratio * d.ratio) : 4;
  work->units = d.rois;
  work->cost =
      static_cast<double>(d.rois) * static_cast<double>(d.channels) * static_cast<double>(grid) * samples * 1.5;
  work->scratch = static_cast<size_t>((d.rows + d.columns) * kKept) * sizeof(Point);
  return nullptr;
}

Point pointAt(const Axis& axis, int64_t i) {
  const double within = (static_cast<double>(i % axis.samples) + 0.5) * axis.bin / static_cast<double>(axis.samples);
  const double v = axis.start + static_cast<double>(i / axis.samples) * axis.bin + within;
  if (!(v >= -1 && v <= static_cast<double>(axis.size))) return {-1, -1, 0};
  const double at = v > 0 ? v : 0;
  const int64_t last = axis.size - 1;
  const int64_t low = static_cast<int64_t>(at) < last ? static_cast<int64_t>(at) : last;
  const int64_t high = low + 1 < last ? low + 1 : last;
  return {static_cast<int32_t>(low), static_cast<int32_t>(high),
          high == low ? 0.0f : static_cast<float>(at - static_cast<double>(low))};
}

FILIGREE_INLINE Point point(const Axis& axis, int64_t i) { return axis.kept ? axis.kept[i] : pointAt(axis, i); }

/// False where the region is too large to sample, or no number.
bool place(const RoiAlign& d, double start, double end, int64_t bins, int64_t size, Point* kept, Axis* axis) {
  double length = end - start;
  if (!d.half && length < 1) length = 1;
  const double bin = length / static_cast<double>(bins);
  double samples = static_cast<double>(d.ratio);
  if (d.ratio == 0) samples = std::ceil(bin) > 0 ? std::ceil(bin) : 0;
  if (!(std::fabs(start) <= 1e15 && samples <= kMostSamples)) return false;
  *axis = {start, bin, bins, size, static_cast<int64_t>(samples), nullptr};
  if (size == 0 || axis->samples > kKept) return size > 0;
  for (int64_t i = 0; i < bins * axis->samples; i++) kept[i] = pointAt(*axis, i);
  axis->kept = kept;
  return true;
}

/// One bin of one plane; the largest weighted neighbour where `max`, as the standard has it.
FILIGREE_INLINE float pool(const float* x, int64_t width, const Axis& vertical, const Axis& horizontal, int64_t row,
                           int64_t column, bool max) {
  float sum = 0, best = -INFINITY;
  for (int64_t i = row * vertical.samples; i < (row + 1) * vertical.samples; i++) {
    const Point v = point(vertical, i);
    for (int64_t j = column * horizontal.samples; j < (column + 1) * horizontal.samples; j++) {
      const Point h = point(horizontal, j);
      float a = 0, b = 0, c = 0, d = 0;
      if (v.low >= 0 && h.low >= 0) {
        const float* upper = x + v.low * width;
        const float* lower = x + v.high * width;
        a = (1 - v.share) * (1 - h.share) * upper[h.low];
        b = (1 - v.share) * h.share * upper[h.high];
        c = v.share * (1 - h.share) * lower[h.low];
        d = v.share * h.share * lower[h.high];
      }
      if (max) {
        const float above = a > b ? a : b, below = c > d ? c : d;
        const float most = above > below ? above : below;
        best = most > best ? most : best;
      } else {
        sum += a + b + c + d;
      }
    }
  }
  const int64_t count = vertical.samples * horizontal.samples;
  if (count == 0) return 0;
  return max ? best : sum / static_cast<float>(count);
}

void run(const Step& step, Range* range) {
  RoiAlign d;
  read(step, &d);
  Point* kept = reinterpret_cast<Point*>(range->scratch);
  const double offset = d.half ? 0.5 : 0;
  for (int64_t r = range->begin; r < range->end; r++) {
    const int64_t image = indexAt(input<uint8_t>(step, 2), d.wide ? 8 : 4, r, d.images);
    if (image < 0) {
      range->error = kOutOfRange;
      return;
    }
    double corner[4];
    for (int k = 0; k < 4; k++) corner[k] = static_cast<double>(input<float>(step, 1)[4 * r + k]) * d.scale - offset;
    Axis vertical, horizontal;
    if (!place(d, corner[1], corner[3], d.rows, d.height, kept, &vertical) ||
        !place(d, corner[0], corner[2], d.columns, d.width, kept + d.rows * kKept, &horizontal)) {
      range->error = "a region is too large to sample";
      return;
    }
    float* y = output<float>(step, 3) + r * d.channels * d.rows * d.columns;
    for (int64_t c = 0; c < d.channels; c++) {
      const float* x = input<float>(step, 0) + (image * d.channels + c) * d.height * d.width;
      for (int64_t i = 0; i < d.rows; i++) {
        for (int64_t j = 0; j < d.columns; j++) *y++ = pool(x, d.width, vertical, horizontal, i, j, d.max);
      }
    }
  }
}

}  // namespace

// y [rois, channels, rows, columns]: the regions rois [rois, 4] (x1, y1, x2, y2; times `scale`) of the images
// [rois] (int64 where `wide`, else int32) of x [images, channels, height, width]; `ratio` samples a bin and axis, as
// many as the bin has elements where it is 0. `half` shifts regions by half an element.
FILIGREE_KERNEL(roiAlignF32) = {
    "roialign.f32",
    "r:x r:rois r:images w:y",
    "i:images i:channels i:height i:width i:rois i:rows i:columns i:ratio i:max i:half i:wide f:scale",
    check,
    run,
    nullptr,
    nullptr,
    false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
