// Sizes, strides and masks of attention, for its kernels. Include only from kernel sources.
#pragma once
#include "kernels/kernel_support.h"
#include "simd/math.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kPanel = 2 * kLanes;
/// Keys whose scores exist together: a panel of them stays in the first cache.
constexpr int64_t kKeyBlock = 256;
/// Up to this many queries go row by row.
constexpr int64_t kFewQueries = 3;
/// Query heads that go over the keys they share together, and how many units there should be all the same.
constexpr int64_t kGroup = kRegisters / 8;
constexpr int64_t kEnoughUnits = 8;

enum { kQ, kK, kV, kMask, kLast, kSinks, kY };
enum {
  kBatch,
  kHeads,
  kKvHeads,
  kQueries,
  kKeys,
  kHeadSize,
  kValueSize,
  kCausal,
  kCausalOffset,
  kMaskKind,
  kUndefinedRows,
  kTrailing,
  kWindow,
  kScale,
  kSoftcap,
  kHidden,
  kScalars
};
enum { kMaskFloat, kMaskBool, kMaskInt32, kMaskKinds };
enum { kUndefinedNan, kUndefinedZero, kHiddenZero, kUndefinedKinds };

/// Strides of an operand along batch, heads, sequence and size, and where it begins, in elements.
struct Place {
  int64_t batch, head, row, column, offset;
};

struct Problem {
  int64_t batch, heads, kv_heads, queries, keys, head_size, value_size;
  int64_t causal, causal_offset, mask_kind, undefined_rows, trailing, window;
  float scale, softcap, hidden;
  Place q, k, v, y, mask;

  FILIGREE_INLINE_MEMBER bool byRows() const { return queries <= kFewQueries && k.column == 1 && v.column == 1; }
  FILIGREE_INLINE_MEMBER int64_t queryBlock() const { return byRows() ? 1 : kPanel; }
  FILIGREE_INLINE_MEMBER int64_t queryBlocks() const { return (queries + queryBlock() - 1) / queryBlock(); }
  /// Query heads of a unit, which share their keys.
  FILIGREE_INLINE_MEMBER int64_t headBlock() const {
    int64_t block = byRows() ? kGroup : 1;
    while (block > 1 && (block > heads / kv_heads || batch * (heads / block) * queries < kEnoughUnits)) block /= 2;
    return block;
  }
  /// Elements of a row of values in whole vectors.
  FILIGREE_INLINE_MEMBER int64_t valueLine() const { return (value_size + kLanes - 1) / kLanes * kLanes; }
  FILIGREE_INLINE_MEMBER int64_t headBlocks() const {
    const int64_t block = headBlock();
    return heads ? (heads / kv_heads + block - 1) / block : 0;
  }
  /// Keys that query i may see at all.
  FILIGREE_INLINE_MEMBER int64_t visible(int64_t i) const {
    if (!causal) return keys;
    const int64_t end = i + causal_offset + 1;
    return end < 0 ? 0 : end < keys ? end : keys;
  }
  /// The first key that query i may see.
  FILIGREE_INLINE_MEMBER int64_t start(int64_t i) const {
    const int64_t begin = i + causal_offset + 1 - window;
    return window && begin > 0 ? begin : 0;
  }
};

Place readPlace(const Step& step, int list) {
  const int64_t* at = listParam(step, kScalars, list).items;
  return {at[0], at[1], at[2], at[3], at[4]};
}

Problem readProblem(const Step& step) {
  Problem p;
  p.batch = intParam(step, kBatch), p.heads = intParam(step, kHeads), p.kv_heads = intParam(step, kKvHeads);
  p.queries = intParam(step, kQueries), p.keys = intParam(step, kKeys);
  p.head_size = intParam(step, kHeadSize), p.value_size = intParam(step, kValueSize);
  p.causal = intParam(step, kCausal), p.causal_offset = intParam(step, kCausalOffset);
  p.mask_kind = intParam(step, kMaskKind), p.undefined_rows = intParam(step, kUndefinedRows);
  p.trailing = intParam(step, kTrailing), p.window = intParam(step, kWindow);
  p.scale = static_cast<float>(floatParam(step, kScale));
  p.softcap = static_cast<float>(floatParam(step, kSoftcap));
  p.hidden = static_cast<float>(floatParam(step, kHidden));
  p.q = readPlace(step, 0), p.k = readPlace(step, 1), p.v = readPlace(step, 2), p.y = readPlace(step, 3);
  p.mask = readPlace(step, 4);
  return p;
}

/// True where operand `operand` holds every element of the walk.
bool holdsPlace(const Step& step, int operand, const Place& place, const int64_t (&dims)[4], int64_t size) {
  const int64_t strides[4] = {place.batch, place.head, place.row, place.column};
  int64_t last = place.offset;
  if (last < 0) return false;
  for (int i = 0; i < 4; i++) {
    if (dims[i] == 0) return true;
    const int64_t span = product(dims[i] - 1, strides[i]);
    if (span < 0 || __builtin_add_overflow(last, span, &last)) return false;
  }
  return last < INT64_MAX && holds(step, operand, last + 1, size);
}

/// NaN wins.
FILIGREE_INLINE F32 larger(F32 best, F32 x) { return select((x > best) | (x != x), x, best); }

FILIGREE_INLINE float maskEntry(const Problem& p, const uint8_t* mask, int64_t at) {
  if (p.mask_kind == kMaskFloat) return reinterpret_cast<const float*>(mask)[at];
  const bool shown = p.mask_kind == kMaskBool ? mask[at] != 0 : reinterpret_cast<const int32_t*>(mask)[at] > 0;
  return shown ? 0 : p.hidden;
}

FILIGREE_INLINE F32 capped(F32 score, float cap) {
  return cap > 0 ? filigree::FILIGREE_ISA::tanh(score * (1 / cap)) * cap : score;
}

/// e^x, and 0 where that is subnormal: no sum whose largest term is 1 knows the difference, and products of subnormal
/// numbers take a hundred times as long.
FILIGREE_INLINE F32 weightOf(F32 x) { return select(x < set1(-87.3365f), zero(), normalExp(x)); }

/// One head of one batch entry, `width` queries from `first` on.
struct Head {
  const float *k, *v, *sink;
  const uint8_t* mask;
  int64_t mask_at, first, width;
};

/// What a sink adds to sums of exponentials that `maximum` was subtracted from.
FILIGREE_INLINE F32 sinkTerm(const Head& head, F32 maximum) {
  if (!head.sink) return zero();
  return exp(set1(*head.sink) - select(maximum == set1(-__builtin_inff()), zero(), maximum));
}

/// What a row's sums are multiplied by at last, and whether the row becomes zeros.
FILIGREE_INLINE F32 finish(const Problem& p, F32 sum, F32 value) {
  const F32 y = value / sum;
  if (p.undefined_rows == kUndefinedNan) return y;
  const I32 hidden = sum == zero();
  return select(p.undefined_rows == kHiddenZero ? hidden : hidden | (sum != sum), zero(), y);
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
