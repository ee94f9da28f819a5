// Rotary position embeddings: pairs of a head's elements turn by the angles of their token's position.
#include "kernels/kernel_support.h"
#include "simd/half.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

enum { kX, kCos, kSin, kPositions, kY };
enum {
  kBatch,
  kHeads,
  kLength,
  kHeadSize,
  kHalf,
  kInterleaved,
  kRows,
  kType,
  kBase,
  kPerBatch,
  kPerToken,
  kWide,
  kPositionBatch,
  kPositionToken,
  kScalars
};

/// Strides along batch, heads and tokens, and where the operand begins, in elements.
struct Place {
  int64_t batch, head, token, offset;
};

Place readPlace(const Step& step, int list) {
  const int64_t* at = listParam(step, kScalars, list).items;
  return {at[0], at[1], at[2], at[3]};
}

/// True where the operand holds `sizes` steps of `strides` from `offset` on, and `run` elements at each.
bool holdsWalk(const Step& step, int operand, int64_t offset, const int64_t (&strides)[3], const int64_t (&sizes)[3],
               int64_t run, int64_t bytes) {
  int64_t end = offset;
  if (offset < 0) return false;
  for (int i = 0; i < 3; i++) {
    if (sizes[i] == 0) return true;
    const int64_t span = product(sizes[i] - 1, strides[i]);
    if (span < 0 || __builtin_add_overflow(end, span, &end)) return false;
  }
  return !__builtin_add_overflow(end, run, &end) && holds(step, operand, end, bytes);
}

const char* checkRotary(const Step& step, Work* work) {
  const int64_t batch = intParam(step, kBatch), heads = intParam(step, kHeads), length = intParam(step, kLength);
  const int64_t size = intParam(step, kHeadSize), half = intParam(step, kHalf), rows = intParam(step, kRows);
  const int64_t limit = int64_t{1} << 30;
  const int64_t sizes[] = {batch, heads, length, size, rows};
  for (int64_t n : sizes) {
    if (n < 0 || n > limit) return "sizes are out of range";
  }
  for (int i = 0; i < 2; i++) {
    if (listParam(step, kScalars, i).count != 4) return "an operand's place has three strides and an offset";
  }
  if (half < 0 || 2 * half > size) return "more pairs than a head has";
  for (int k = kBase; k <= kPerToken; k++) {
    if (intParam(step, k) < -limit || intParam(step, k) > limit) return "a position's factor is out of range";
  }
  const Place x = readPlace(step, 0), y = readPlace(step, 1);
  if (!holdsWalk(step, kX, x.offset, {x.batch, x.head, x.token}, {batch, heads, length}, size, 4)) {
    return "x is smaller than its sizes say";
  }
  if (!holdsWalk(step, kY, y.offset, {y.batch, y.head, y.token}, {batch, heads, length}, size, 4)) {
    return "y is smaller than its sizes say";
  }
  const int64_t bytes = floatTypeBytes(intParam(step, kType));
  if (bytes == 0) return "no such type of cosines and sines";
  if (!holds(step, kCos, product(rows, half), bytes)) return "the cosines are fewer than the rows";
  if (!holds(step, kSin, product(rows, half), bytes)) return "the sines are fewer than the rows";
  const int64_t strides[3] = {intParam(step, kPositionBatch), intParam(step, kPositionToken), 0};
  if (step.operands[kPositions].bytes &&
      !holdsWalk(step, kPositions, 0, strides, {batch, length, 1}, 1, intParam(step, kWide) ? 8 : 4)) {
    return "the positions are fewer than the tokens";
  }
  work->units = product(batch, length);
  if (work->units < 0) return "sizes are out of range";
  work->cost = static_cast<double>(work->units) * static_cast<double>(heads) * (static_cast<double>(size) * 0.2 + 4);
  work->scratch = static_cast<size_t>(2 * half) * 4;
  return nullptr;
}

/// The row of the caches for a token; anything outside them where the position is.
FILIGREE_INLINE int64_t rowOf(const Step& step, int64_t b, int64_t token) {
  const int64_t row = intParam(step, kBase) + b * intParam(step, kPerBatch) + token * intParam(step, kPerToken);
  if (!step.operands[kPositions].bytes) return row;
  const int64_t at = b * intParam(step, kPositionBatch) + token * intParam(step, kPositionToken);
  const int64_t given =
      intParam(step, kWide) ? input<int64_t>(step, kPositions)[at] : input<int32_t>(step, kPositions)[at];
  int64_t sum;
  return __builtin_add_overflow(row, given, &sum) ? -1 : sum;
}

/// Row `row` of a cache; converted to `to` where it is no float32.
const float* cacheRow(const Step& step, int operand, int64_t row, int64_t half, float* to) {
  const uint16_t* halves = input<uint16_t>(step, operand) + row * half;
  switch (intParam(step, kType)) {
    case kHalfType:
      halvesToFloats(halves, to, half);
      return to;
    case kBfloatType:
      bfloatsToFloats(halves, to, half);
      return to;
    default:
      return input<float>(step, operand) + row * half;
  }
}

FILIGREE_INLINE void rotateHalves(const float* x, const float* cos, const float* sin, int64_t half, float* y) {
  for (int64_t p = 0; p < half; p += kLanes) {
    const int lanes = static_cast<int>(half - p < kLanes ? half - p : kLanes);
    const F32 a = loadN(x + p, lanes), b = loadN(x + half + p, lanes);
    const F32 c = loadN(cos + p, lanes), s = loadN(sin + p, lanes);
    storeN(y + p, fma(a, c, -(b * s)), lanes);
    storeN(y + half + p, fma(b, c, a * s), lanes);
  }
}

FILIGREE_INLINE void rotatePairs(const float* x, const float* cos, const float* sin, int64_t half, float* y) {
  for (int64_t p = 0; p < half; p++) {
    const float a = x[2 * p], b = x[2 * p + 1];
    y[2 * p] = a * cos[p] - b * sin[p];
    y[2 * p + 1] = b * cos[p] + a * sin[p];
  }
}

void runRotary(const Step& step, Range* range) {
  const int64_t heads = intParam(step, kHeads), length = intParam(step, kLength), size = intParam(step, kHeadSize);
  const int64_t half = intParam(step, kHalf);
  const Place from = readPlace(step, 0), to = readPlace(step, 1);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t b = unit / length, token = unit % length, row = rowOf(step, b, token);
    if (row < 0 || row >= intParam(step, kRows)) {
      range->error = "a position is outside the caches of cosines and sines";
      return;
    }
    float* scratch = reinterpret_cast<float*>(range->scratch);
    const float* cos = cacheRow(step, kCos, row, half, scratch);
    const float* sin = cacheRow(step, kSin, row, half, scratch + half);
    for (int64_t h = 0; h < heads; h++) {
      const float* x = input<float>(step, kX) + from.offset + b * from.batch + h * from.head + token * from.token;
      float* y = output<float>(step, kY) + to.offset + b * to.batch + h * to.head + token * to.token;
      if (intParam(step, kInterleaved)) {
        rotatePairs(x, cos, sin, half, y);
      } else {
        rotateHalves(x, cos, sin, half, y);
      }
      for (int64_t i = 2 * half; i < size; i++) y[i] = x[i];
    }
  }
}

}  // namespace

// x and y [batch, heads, length, head_size] lie as their lists say: strides along the first three axes and an offset.
// The first 2 * half elements of a head turn: pairs are neighbours where interleaved, else element p and p + half. Row
// base + b * per_batch + t * per_token + position of cos and sin [rows, half], of ONNX's type number `type`, is token
// t's of batch entry b; positions are int64 where wide, else int32, with a stride along the batch and one along the
// tokens.
FILIGREE_KERNEL(rotaryF32) = {
    "rotary.f32",
    "r:x r:cos r:sin r:positions? w:y",
    "i:batch i:heads i:length i:head_size i:half i:interleaved i:rows i:type i:base i:per_batch "
    "i:per_token i:wide i:position_batch i:position_token l:x l:y",
    checkRotary,
    runRotary,
    nullptr,
    nullptr,
    false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
