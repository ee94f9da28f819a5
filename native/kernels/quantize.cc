// Quantisation and its inverse over row-major tensors, with scales for the tensor, an axis or blocks.
#include "kernels/elementwise.h"
#include "simd/narrow.h"
#include "simd/trigonometry.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Quantised types by their ONNX numbers.
enum Type : int64_t { kUint8 = 2, kInt8 = 3, kUint16 = 4, kInt16 = 5, kInt32 = 6 };

int64_t widthOf(int64_t type) {
  return type == kUint8 || type == kInt8 ? 1 : type == kUint16 || type == kInt16 ? 2 : type == kInt32 ? 4 : 0;
}

const char* checkBoth(const Step& step, int64_t from, int64_t to, int64_t zero, Work* work) {
  Space space;
  if (from == 0 || to == 0) return "no quantised type of this number";
  if (const char* problem = readSpace(listParam(step, 1, 0), &space)) return problem;
  const List strides = listParam(step, 1, 1);
  if (!holds(step, 0, space.count, from)) return "x holds fewer elements than `dims`";
  if (!reaches(step, 1, space, strides, 0, 4)) return "the strides leave scale";
  if (step.operands[2].bytes > 0 && !reaches(step, 2, space, strides, 0, zero)) return "the strides leave zero";
  if (!holds(step, 3, space.count, to)) return "y holds fewer elements than `dims`";
  elementWork(space.count, 0.3, work);
  return nullptr;
}

const char* checkQuantize(const Step& step, Work* work) {
  const int64_t type = intParam(step, 0), width = type == kInt32 ? 0 : widthOf(type);
  return checkBoth(step, 4, width, width, work);
}

const char* checkDequantize(const Step& step, Work* work) {
  const int64_t width = widthOf(intParam(step, 0));
  return checkBoth(step, width, 4, width, work);
}

/// Rounds x / scale into `y` as whole floats within what int32 holds; NaN gives 0.
void divideRound(const float* x, const float* scale, float* y, int64_t n) {
  mapPairs(x, scale, y, n, [](F32 v, F32 s) FILIGREE_LAMBDA {
    const F32 q = v / s;
    return select(q == q, round(min(set1(1e9f), max(set1(-1e9f), q))), zero());
  });
}

/// y = x + zero, within least and most.
template <class T>
void shiftAll(const float* x, const T* zero, int32_t least, int32_t most, T* y, int64_t n) {
  const I32 low = set1I(least), high = set1I(most);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    I32 q = toInt(load(x + i));
    if (zero) q += widen(zero + i);
    q = selectI(q < low, low, selectI(q > high, high, q));
    narrow(y + i, q);
  }
  for (; i < n; i++) {
    const int32_t q = static_cast<int32_t>(x[i]) + (zero ? zero[i] : 0);
    y[i] = static_cast<T>(q < least ? least : q > most ? most : q);
  }
}

template <class T>
void quantizeAs(const Step& step, const Range& range, int32_t least, int32_t most) {
  Space space;
  readSpace(listParam(step, 1, 0), &space);
  Fetcher<float> scale;
  Fetcher<T> zero;
  scale.open(space, input<float>(step, 1), listParam(step, 1, 1));
  const bool shifted = step.operands[2].bytes > 0;
  if (shifted) zero.open(space, input<T>(step, 2), listParam(step, 1, 1));
  float rounded[kBlock];
  const int64_t end = unitEnd(range.end, space.count);
  int64_t at = range.begin * kUnitElements;
  Cursor cursor = cursorAt(space, at);
  while (at < end) {
    const int n = blockLength(space, cursor, end - at);
    divideRound(input<float>(step, 0) + at, scale.block(space, cursor, n), rounded, n);
    const T* z = shifted ? zero.block(space, cursor, n) : nullptr;
    shiftAll(rounded, z, least, most, output<T>(step, 3) + at, n);
    advance(space, &cursor, n);
    at += n;
  }
}

void runQuantize(const Step& step, Range* range) {
  switch (intParam(step, 0)) {
    case kUint8:
      return quantizeAs<uint8_t>(step, *range, 0, 255);
    case kInt8:
      return quantizeAs<int8_t>(step, *range, -128, 127);
    case kUint16:
      return quantizeAs<uint16_t>(step, *range, 0, 65535);
    default:
      return quantizeAs<int16_t>(step, *range, -32768, 32767);
  }
}

/// y = (x - zero) * scale.
template <class T>
void scaleAll(const T* x, const T* zero, const float* scale, float* y, int64_t n) {
  int64_t i = 0;
  if constexpr (sizeof(T) < 4) {
    for (; i + kLanes <= n; i += kLanes) {
      I32 v = widen(x + i);
      if (zero) v -= widen(zero + i);
      store(y + i, toFloat(v) * load(scale + i));
    }
  }
  for (; i < n; i++) {
    const int64_t difference = static_cast<int64_t>(x[i]) - (zero ? static_cast<int64_t>(zero[i]) : 0);
    y[i] = static_cast<float>(difference) * scale[i];
  }
}

template <class T>
void dequantizeAs(const Step& step, const Range& range) {
  Space space;
  readSpace(listParam(step, 1, 0), &space);
  Fetcher<float> scale;
  Fetcher<T> zero;
  scale.open(space, input<float>(step, 1), listParam(step, 1, 1));
  const bool shifted = step.operands[2].bytes > 0;
  if (shifted) zero.open(space, input<T>(step, 2), listParam(step, 1, 1));
  const int64_t end = unitEnd(range.end, space.count);
  int64_t at = range.begin * kUnitElements;
  Cursor cursor = cursorAt(space, at);
  while (at < end) {
    const int n = blockLength(space, cursor, end - at);
    const float* s = scale.block(space, cursor, n);
    const T* z = shifted ? zero.block(space, cursor, n) : nullptr;
    scaleAll(input<T>(step, 0) + at, z, s, output<float>(step, 3) + at, n);
    advance(space, &cursor, n);
    at += n;
  }
}

void runDequantize(const Step& step, Range* range) {
  switch (intParam(step, 0)) {
    case kUint8:
      return dequantizeAs<uint8_t>(step, *range);
    case kInt8:
      return dequantizeAs<int8_t>(step, *range);
    case kUint16:
      return dequantizeAs<uint16_t>(step, *range);
    case kInt16:
      return dequantizeAs<int16_t>(step, *range);
    default:
      return dequantizeAs<int32_t>(step, *range);
  }
}

const char* checkRange(const Step& step, Work* work) {
  const int64_t count = intParam(step, 0);
  if (!holds(step, 0, count, 4)) return "x holds fewer than `count` elements";
  if (!holds(step, 1, 1, 4) || !holds(step, 2, 1, 1)) return "scale or zero is too small";
  *work = {1, 0.05 * static_cast<double>(count) + 10, 0};
  return nullptr;
}

void runRange(const Step& step, Range* range) {
  const int64_t count = intParam(step, 0);
  const float* x = input<float>(step, 0);
  F32 low = zero(), high = zero();
  for (int64_t i = 0; i < count; i += kLanes) {
    const F32 v = loadN(x + i, static_cast<int>(count - i < kLanes ? count - i : kLanes));
    low = select((v < low) | (v != v), v, low);
    high = select((v > high) | (v != v), v, high);
  }
  float least = 0, most = 0;
  for (int k = 0; k < kLanes; k++) {
    least = low[k] < least || low[k] != low[k] ? low[k] : least;
    most = high[k] > most || high[k] != high[k] ? high[k] : most;
  }
  if (least != least || most != most) {
    range->error = "a number to quantise is NaN";
    return;
  }
  const float scale = least == most ? 1 : (most - least) / 255.0f;
  const float at = -least / scale;
  *output<float>(step, 1) = scale;
  *output<uint8_t>(step, 2) = static_cast<uint8_t>(__builtin_nearbyintf(at < 0 ? 0 : at > 255 ? 255 : at));
}

}  // namespace

// y = round half to even(x / scale) + zero, saturated to `type` (ONNX number; 8 or 16 bits). scale and zero walk `dims`
// with `scale_strides`; x and y are dense over them.
FILIGREE_KERNEL(quantizeF32) = {"quantize.f32",
                                "r:x r:scale r:zero? w:y",
                                "i:type l:dims l:scale_strides",
                                checkQuantize,
                                runQuantize,
                                nullptr,
                                nullptr,
                                false};

// y = (x - zero) * scale; x and zero are of `type` (8 or 16 bits, or int32).
FILIGREE_KERNEL(dequantizeF32) = {"dequantize.f32",
                                  "r:x r:scale r:zero? w:y",
                                  "i:type l:dims l:scale_strides",
                                  checkDequantize,
                                  runDequantize,
                                  nullptr,
                                  nullptr,
                                  false};

// Scale and zero point that map the range of x, widened to hold 0, to 0 ... 255.
FILIGREE_KERNEL(quantizeRange) = {
    "quantize.range", "r:x w:scale w:zero", "i:count", checkRange, runRange, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
