// Scaled dot-product attention: y = softmax(cap(scale * q k^T) + mask) v, heads apart.
//
// Lanes are queries: a panel of queries is transposed once, and both products broadcast numbers of k and v as they lie,
// whatever their strides. Scores exist for one block of keys at a time; the running maximum and sum of every query
// correct what earlier blocks gave. Few queries over rows in order go row by row instead, at memory speed.
#include "kernels/kernel_support.h"
#include "simd/math.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if defined(FILIGREE_AVX512)
constexpr int kBlockRows = 12;
#else
constexpr int kBlockRows = 6;
#endif
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

int64_t scratchFloats(const Problem& p) {
  if (p.byRows()) return p.heads ? (p.head_size + p.keys + p.valueLine()) * p.headBlock() : 0;
  return (p.head_size + p.value_size + kKeyBlock) * kPanel;
}

const char* checkAttention(const Step& step, Work* work) {
  for (int i = 0; i < 5; i++) {
    if (listParam(step, kScalars, i).count != 5) return "an operand's place has four strides and an offset";
  }
  const Problem p = readProblem(step);
  const int64_t limit = int64_t{1} << 32;
  const int64_t sizes[] = {p.batch, p.heads, p.kv_heads, p.queries, p.keys, p.head_size, p.value_size};
  for (int64_t size : sizes) {
    if (size < 0 || size > limit) return "sizes are out of range";
  }
  if (p.heads && (!p.kv_heads || p.heads % p.kv_heads)) return "query heads are no multiple of key heads";
  if (p.causal && (p.causal_offset > limit || p.causal_offset < -limit)) return "the causal offset is out of range";
  if (p.window < 0 || p.window > limit || (p.window && !p.causal)) return "a window is positive and causal";
  if (step.operands[kLast].bytes && !holds(step, kLast, p.batch, 4)) return "last is smaller than its sizes say";
  if (step.operands[kSinks].bytes && !holds(step, kSinks, p.heads, 4)) return "sinks are fewer than the heads";
  if (p.mask_kind < 0 || p.mask_kind >= kMaskKinds) return "no such kind of mask";
  if (p.undefined_rows < 0 || p.undefined_rows >= kUndefinedKinds) return "no such treatment of undefined rows";
  if (!holdsPlace(step, kQ, p.q, {p.batch, p.heads, p.queries, p.head_size}, 4))
    return "q is smaller than its sizes say";
  if (!holdsPlace(step, kK, p.k, {p.batch, p.kv_heads, p.keys, p.head_size}, 4))
    return "k is smaller than its sizes say";
  if (!holdsPlace(step, kV, p.v, {p.batch, p.kv_heads, p.keys, p.value_size}, 4)) {
    return "v is smaller than its sizes say";
  }
  if (!holdsPlace(step, kY, p.y, {p.batch, p.heads, p.queries, p.value_size}, 4)) {
    return "y is smaller than its sizes say";
  }
  const int64_t mask_bytes = p.mask_kind == kMaskBool ? 1 : 4;
  if (step.operands[kMask].bytes &&
      !holdsPlace(step, kMask, p.mask, {p.batch, p.heads, p.queries, p.keys}, mask_bytes)) {
    return "the mask is smaller than its sizes say";
  }
  work->units = product(product(p.batch, product(p.kv_heads, p.headBlocks())), p.queryBlocks());
  if (work->units < 0) return "sizes are out of range";
  const double pairs = static_cast<double>(p.batch) * static_cast<double>(p.heads) * static_cast<double>(p.queries) *
                       static_cast<double>(p.keys) * (p.causal ? 0.6 : 1.0);
  work->cost = pairs * (static_cast<double>(p.head_size + p.value_size) * 0.6 / kLanes + 6.0 / kLanes);
  work->scratch = static_cast<size_t>(scratchFloats(p)) * 4;
  return nullptr;
}

/// NaN wins.
FILIGREE_INLINE F32 larger(F32 best, F32 x) { return select((x > best) | (x != x), x, best); }

/// acc[r] = sum over depth of a[r * row + k * step] * b[k], b lines of kPanel lanes; added to `y` where `add`.
template <int R, int V>
__attribute__((noinline)) void multiplyBlock(const float* a, int64_t row, int64_t step, int64_t depth, const float* b,
                                             float* y, bool add) {
  F32 acc[R][V];
  // Groups of three rows share a pointer: their addresses fit one addressing mode each.
  constexpr int kGroups = (R + 2) / 3;
  const float* from[kGroups];
  for (int g = 0; g < kGroups; g++) from[g] = a + 3 * g * row;
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < V; v++) acc[r][v] = add ? load(y + r * kPanel + v * kLanes) : zero();
  }
  for (int64_t k = 0; k < depth; k++, b += kPanel) {
    F32 line[V];
    for (int v = 0; v < V; v++) line[v] = load(b + v * kLanes);
    for (int r = 0; r < R; r++) {
      const F32 x = set1(from[r / 3][r % 3 * row]);
      for (int v = 0; v < V; v++) acc[r][v] = fma(x, line[v], acc[r][v]);
    }
    for (int g = 0; g < kGroups; g++) from[g] += step;
  }
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < V; v++) store(y + r * kPanel + v * kLanes, acc[r][v]);
  }
}

template <int R, int V>
FILIGREE_INLINE void multiplyRest(int64_t rows, const float* a, int64_t row, int64_t step, int64_t depth,
                                  const float* b, float* y, bool add) {
  if constexpr (R > 0) {
    if (rows == R) return multiplyBlock<R, V>(a, row, step, depth, b, y, add);
    multiplyRest<R - 1, V>(rows, a, row, step, depth, b, y, add);
  }
}

template <int V>
void multiplyRows(int64_t rows, const float* a, int64_t row, int64_t step, int64_t depth, const float* b, float* y,
                  bool add) {
  int64_t r = 0;
  for (; r + kBlockRows <= rows; r += kBlockRows) {
    multiplyBlock<kBlockRows, V>(a + r * row, row, step, depth, b, y + r * kPanel, add);
  }
  multiplyRest<kBlockRows - 1, V>(rows - r, a + r * row, row, step, depth, b, y + r * kPanel, add);
}

FILIGREE_INLINE float maskEntry(const Problem& p, const uint8_t* mask, int64_t at) {
  if (p.mask_kind == kMaskFloat) return reinterpret_cast<const float*>(mask)[at];
  const bool shown = p.mask_kind == kMaskBool ? mask[at] != 0 : reinterpret_cast<const int32_t*>(mask)[at] > 0;
  return shown ? 0 : p.hidden;
}

/// Mask of one key for `lanes` queries.
FILIGREE_INLINE F32 maskLanes(const Problem& p, const uint8_t* mask, int64_t at, int64_t lanes) {
  if (p.mask.row == 0) return set1(maskEntry(p, mask, at));
  F32 entries = zero();
  for (int64_t i = 0; i < lanes && i < kLanes; i++) entries[i] = maskEntry(p, mask, at + i * p.mask.row);
  return entries;
}

FILIGREE_INLINE F32 capped(F32 score, float cap) {
  return cap > 0 ? filigree::FILIGREE_ISA::tanh(score * (1 / cap)) * cap : score;
}

/// Softmax's state for a panel.
struct Panel {
  F32 maximum[2], sum[2];
  float *queries, *values, *scores;
};

/// One head of one batch entry, `width` queries from `first` on.
struct Head {
  const float *k, *v, *sink;
  const uint8_t* mask;
  int64_t mask_at, first, width;
};

/// Scores of a block of keys to weights; `v` says which lanes. Returns what earlier sums are multiplied by.
FILIGREE_INLINE F32 weigh(const Problem& p, const Head& head, Panel* panel, int v, int64_t from, int64_t count) {
  const int64_t first = head.first + v * kLanes, lanes = head.width - v * kLanes;
  float* scores = panel->scores + v * kLanes;
  I32 lane = I32{};
  for (int i = 0; i < kLanes; i++) lane[i] = i;
  const F32 lowest = set1(-__builtin_inff());
  F32 best = panel->maximum[v];
  for (int64_t j = 0; j < count; j++) {
    F32 s = capped(load(scores + j * kPanel), p.softcap);
    if (head.mask) {
      s += maskLanes(p, head.mask, head.mask_at + v * kLanes * p.mask.row + (from + j) * p.mask.column, lanes);
    }
    if (p.causal && from + j > first + p.causal_offset) {
      const int64_t ahead = from + j - first - p.causal_offset;
      s = ahead >= kLanes ? lowest : select(lane < set1I(static_cast<int32_t>(ahead)), lowest, s);
    }
    if (p.window && from + j < first + kLanes + p.causal_offset - p.window) {
      const int64_t seen = from + j - first - p.causal_offset + p.window;
      s = seen <= 0 ? lowest : select(lane < set1I(static_cast<int32_t>(seen)), s, lowest);
    }
    store(scores + j * kPanel, s);
    best = larger(best, s);
  }
  // While all is hidden the maximum is no number to subtract.
  const F32 shift = select(best == lowest, zero(), best);
  F32 sum = zero();
  for (int64_t j = 0; j < count; j++) {
    const F32 e = exp(load(scores + j * kPanel) - shift);
    store(scores + j * kPanel, e);
    sum += e;
  }
  const F32 old = panel->maximum[v];
  const F32 rescale = select(old == lowest, zero(), exp(old - shift));
  panel->maximum[v] = best;
  panel->sum[v] = fma(panel->sum[v], rescale, sum);
  return rescale;
}

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

void loadQueries(const Problem& p, const float* q, int64_t width, float* panel) {
  for (int64_t d = 0; d < p.head_size; d++) {
    float* line = panel + d * kPanel;
    for (int64_t i = 0; i < width; i++) line[i] = q[i * p.q.row + d * p.q.column] * p.scale;
    for (int64_t i = width; i < kPanel; i++) line[i] = 0;
  }
}

template <int V>
void attendPanel(const Problem& p, const Head& head, Panel* panel) {
  const int64_t begin = p.start(head.first), end = p.visible(head.first + head.width - 1);
  for (int v = 0; v < V; v++) panel->maximum[v] = set1(-__builtin_inff()), panel->sum[v] = zero();
  for (int64_t i = 0; i < p.value_size * kPanel; i += kLanes) store(panel->values + i, zero());
  for (int64_t from = begin; from < end; from += kKeyBlock) {
    const int64_t count = end - from < kKeyBlock ? end - from : kKeyBlock;
    multiplyRows<V>(count, head.k + from * p.k.row, p.k.row, p.k.column, p.head_size, panel->queries, panel->scores,
                    false);
    F32 rescale[V];
    for (int v = 0; v < V; v++) rescale[v] = weigh(p, head, panel, v, from, count);
    for (int64_t d = 0; from != begin && d < p.value_size; d++) {
      float* line = panel->values + d * kPanel;
      for (int v = 0; v < V; v++) store(line + v * kLanes, load(line + v * kLanes) * rescale[v]);
    }
    multiplyRows<V>(p.value_size, head.v + from * p.v.row, p.v.column, p.v.row, count, panel->scores, panel->values,
                    true);
  }
}

template <int V>
void runPanel(const Problem& p, const Head& head, const float* q, float* y, float* scratch) {
  Panel panel;
  panel.queries = scratch;
  panel.values = panel.queries + p.head_size * kPanel;
  panel.scores = panel.values + p.value_size * kPanel;
  loadQueries(p, q, head.width, panel.queries);
  attendPanel<V>(p, head, &panel);
  for (int v = 0; v < V; v++) panel.sum[v] += sinkTerm(head, panel.maximum[v]);
  for (int64_t d = 0; d < p.value_size; d++) {
    float* line = panel.values + d * kPanel;
    for (int v = 0; v < V; v++) store(line + v * kLanes, finish(p, panel.sum[v], load(line + v * kLanes)));
  }
  for (int64_t i = 0; i < head.width; i++) {
    for (int64_t d = 0; d < p.value_size; d++) y[i * p.y.row + d * p.y.column] = panel.values[d * kPanel + i];
  }
}

/// The sums of four vectors, one after the other.
FILIGREE_INLINE void reduceAdd4(const F32 (&x)[4], float* sums) {
#if defined(FILIGREE_AVX512) || defined(FILIGREE_AVX2)
  __m256 half[4];
  for (int i = 0; i < 4; i++) {
#if defined(FILIGREE_AVX512)
    half[i] = _mm256_add_ps(_mm512_castps512_ps256(x[i]),
                            _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x[i]), 1)));
#else
    half[i] = x[i];
#endif
  }
  const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
  _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1)));
#else
  for (int i = 0; i < 4; i++) sums[i] = reduceAdd(x[i]);
#endif
}

/// Scores of G queries, which lie one after the other like their scores, with `count` keys.
template <int G>
void scoreRows(const Problem& p, const float* queries, const float* k, int64_t count, float* scores) {
  for (int64_t j = 0; j < count; j += 4) {
    // The last keys are repeated where there are less than four.
    const float* keys[4];
    for (int64_t i = 0; i < 4; i++) keys[i] = k + (j + i < count ? j + i : count - 1) * p.k.row;
    F32 acc[G][4];
    for (int g = 0; g < G; g++) {
      for (int i = 0; i < 4; i++) acc[g][i] = zero();
    }
    for (int64_t d = 0; d < p.head_size; d += kLanes) {
      const int lanes = static_cast<int>(p.head_size - d < kLanes ? p.head_size - d : kLanes);
      F32 key[4];
      for (int i = 0; i < 4; i++) key[i] = lanes == kLanes ? load(keys[i] + d) : loadN(keys[i] + d, lanes);
      for (int g = 0; g < G; g++) {
        const float* from = queries + g * p.head_size + d;
        const F32 query = lanes == kLanes ? load(from) : loadN(from, lanes);
        for (int i = 0; i < 4; i++) acc[g][i] = fma(query, key[i], acc[g][i]);
      }
    }
    for (int g = 0; g < G; g++) {
      float sums[4];
      reduceAdd4(acc[g], sums);
      for (int64_t i = 0; i < 4 && j + i < count; i++) scores[g * count + j + i] = sums[i];
    }
  }
}

/// Scores of one query to weights; their sum.
float weighRow(const Problem& p, const Head& head, float* scores, int64_t count) {
  F32 top = set1(-__builtin_inff());
  for (int64_t j = 0; j < count; j += kLanes) {
    const int lanes = static_cast<int>(count - j < kLanes ? count - j : kLanes);
    F32 s = capped(loadN(scores + j, lanes), p.softcap);
    if (head.mask) {
      F32 entries = zero();
      for (int i = 0; i < lanes; i++) entries[i] = maskEntry(p, head.mask, head.mask_at + (j + i) * p.mask.column);
      s += entries;
    }
    storeN(scores + j, s, lanes);
    top = larger(top, loadN(scores + j, lanes, -__builtin_inff()));
  }
  float best = top[0];
  for (int i = 1; i < kLanes; i++) best = top[i] > best || top[i] != top[i] ? top[i] : best;
  const F32 shift = set1(best == -__builtin_inff() ? 0 : best);
  F32 sum = zero();
  for (int64_t j = 0; j < count; j += kLanes) {
    const int lanes = static_cast<int>(count - j < kLanes ? count - j : kLanes);
    const F32 e = exp(loadN(scores + j, lanes, -__builtin_inff()) - shift);
    storeN(scores + j, e, lanes);
    sum += e;
  }
  return reduceAdd(sum) + sinkTerm(head, set1(best))[0];
}

/// Adds the weighted first `columns` elements of the values' rows, at most V vectors, to G lines of sums.
template <int G, int V>
FILIGREE_INLINE void sumValues(const Problem& p, const float* weights, int64_t stride, const float* v, int64_t count,
                               int64_t columns, float* sums) {
  const int64_t line = p.valueLine();
  F32 acc[G][V];
  int lanes[V];
  for (int i = 0; i < V; i++) {
    const int64_t rest = columns - i * kLanes;
    lanes[i] = static_cast<int>(rest < 0 ? 0 : rest < kLanes ? rest : kLanes);
    for (int g = 0; g < G; g++) acc[g][i] = lanes[i] ? load(sums + g * line + i * kLanes) : zero();
  }
  const bool whole = columns >= V * kLanes;
  for (int64_t j = 0; j < count; j++, v += p.v.row) {
    F32 value[V];
    for (int i = 0; i < V; i++) {
      value[i] = whole ? load(v + i * kLanes) : loadN(lanes[i] ? v + i * kLanes : v, lanes[i]);
    }
    for (int g = 0; g < G; g++) {
      const F32 weight = set1(weights[g * stride + j]);
      for (int i = 0; i < V; i++) acc[g][i] = fma(weight, value[i], acc[g][i]);
    }
  }
  for (int g = 0; g < G; g++) {
    for (int i = 0; i < V && lanes[i]; i++) store(sums + g * line + i * kLanes, acc[g][i]);
  }
}

/// Weighted sums of the values' rows, in blocks of keys whose values stay in the first cache, to G lines.
template <int G>
void sumRows(const Problem& p, const float* weights, const float* v, int64_t count, float* sums) {
  constexpr int V = 4;
  constexpr int64_t kBlockElements = 4096;
  const int64_t block = p.value_size < kBlockElements / 8 ? kBlockElements / (p.value_size + 1) + 1 : 8;
  for (int64_t i = 0; i < G * p.valueLine(); i += kLanes) store(sums + i, zero());
  for (int64_t j = 0; j < count; j += block) {
    const int64_t keys = count - j < block ? count - j : block;
    for (int64_t d = 0; d < p.value_size; d += V * kLanes) {
      sumValues<G, V>(p, weights + j, count, v + j * p.v.row + d, keys, p.value_size - d, sums + d);
    }
  }
}

/// One query of G heads that share their keys; `heads`, `q` and `y` are the first of them.
template <int G>
void runRows(const Problem& p, Head (&heads)[kGroup], const float* q, float* y, float* scratch) {
  float* queries = scratch;
  float* scores = scratch + G * p.head_size;
  for (int g = 0; g < G; g++) {
    for (int64_t d = 0; d < p.head_size; d++) {
      queries[g * p.head_size + d] = q[g * p.q.head + d * p.q.column] * p.scale;
    }
  }
  const int64_t start = p.start(heads[0].first), end = p.visible(heads[0].first);
  const int64_t count = end > start ? end - start : 0;
  scoreRows<G>(p, queries, heads[0].k + start * p.k.row, count, scores);
  F32 totals[G];
  for (int g = 0; g < G; g++) {
    heads[g].mask_at += start * p.mask.column;
    totals[g] = set1(weighRow(p, heads[g], scores + g * count, count));
  }
  float* sums = scores + G * count;
  sumRows<G>(p, scores, heads[0].v + start * p.v.row, count, sums);
  for (int g = 0; g < G; g++) {
    const float* line = sums + g * p.valueLine();
    for (int64_t d = 0; d < p.value_size; d += kLanes) {
      const F32 result = finish(p, totals[g], load(line + d));
      float* to = y + g * p.y.head + d * p.y.column;
      for (int64_t l = 0; l < kLanes && d + l < p.value_size; l++) to[l * p.y.column] = result[l];
    }
  }
}

template <int G>
FILIGREE_INLINE void runSome(int64_t count, const Problem& p, Head (&heads)[kGroup], const float* q, float* y,
                             float* scratch) {
  if constexpr (G > 0) {
    if (count == G) return runRows<G>(p, heads, q, y, scratch);
    runSome<G - 1>(count, p, heads, q, y, scratch);
  }
}

/// Narrows the problem to the keys of batch entry b; false where it has no such number of them.
bool narrow(const Step& step, int64_t b, int64_t keys, Problem* p) {
  if (!step.operands[kLast].bytes) return true;
  const int64_t count = int64_t{input<int32_t>(step, kLast)[b]} + 1;
  if (count < 0 || count > keys) return false;
  p->keys = count;
  if (p->trailing) p->causal_offset = count - p->queries;
  return true;
}

Head headOf(const Step& step, const Problem& p, int64_t b, int64_t h, int64_t first) {
  const int64_t kv = h / (p.heads / p.kv_heads), rest = p.queries - first;
  Head head;
  head.k = input<float>(step, kK) + p.k.offset + b * p.k.batch + kv * p.k.head;
  head.v = input<float>(step, kV) + p.v.offset + b * p.v.batch + kv * p.v.head;
  head.sink = step.operands[kSinks].bytes ? input<float>(step, kSinks) + h : nullptr;
  head.mask = step.operands[kMask].bytes ? input<uint8_t>(step, kMask) : nullptr;
  head.mask_at = p.mask.offset + b * p.mask.batch + h * p.mask.head + first * p.mask.row;
  head.first = first;
  head.width = rest < p.queryBlock() ? rest : p.queryBlock();
  return head;
}

void runAttention(const Step& step, Range* range) {
  Problem p = readProblem(step);
  const int64_t keys = p.keys, group = p.heads ? p.heads / p.kv_heads : 0;
  const int64_t blocks = p.queryBlocks(), width = p.queryBlock();
  const int64_t head_blocks = p.headBlocks(), head_width = p.heads ? p.headBlock() : 0;
  float* scratch = reinterpret_cast<float*>(range->scratch);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t first = unit % blocks * width, outer = unit / blocks;
    const int64_t within = outer % head_blocks * head_width, kv = outer / head_blocks % p.kv_heads;
    const int64_t b = outer / head_blocks / p.kv_heads, h = kv * group + within;
    if (!narrow(step, b, keys, &p)) {
      range->error = "a batch entry's last key is outside the keys";
      return;
    }
    const float* q = input<float>(step, kQ) + p.q.offset + b * p.q.batch + h * p.q.head + first * p.q.row;
    float* y = output<float>(step, kY) + p.y.offset + b * p.y.batch + h * p.y.head + first * p.y.row;
    if (p.byRows()) {
      const int64_t count = group - within < head_width ? group - within : head_width;
      Head heads[kGroup];
      for (int64_t g = 0; g < count; g++) heads[g] = headOf(step, p, b, h + g, first);
      runSome<kGroup>(count, p, heads, q, y, scratch);
      continue;
    }
    const Head head = headOf(step, p, b, h, first);
    if (head.width > kLanes) {
      runPanel<2>(p, head, q, y, scratch);
    } else {
      runPanel<1>(p, head, q, y, scratch);
    }
  }
}

}  // namespace

// q [batch, heads, queries, head_size], k [batch, kv_heads, keys, head_size], v [batch, kv_heads, keys, value_size] and
// y [batch, heads, queries, value_size] lie as their lists say: strides along the four axes and an offset, in elements.
// Scores become softcap * tanh(score / softcap) where softcap > 0. The mask [batch, heads, queries, keys] (strides 0
// where it repeats) is added: 0 float, 1 bytes, 2 int32 that add `hidden` where not positive. Where causal, query i
// sees the keys up to i + causal_offset, where `window` the last `window` of them alone. `last` [batch] int32 is the
// number of each batch entry's last key; where trailing its last query then sees that key. `sinks` [heads] join the
// softmax's denominators. Rows without a softmax become, by undefined_rows: 0 NaN, 1 zeros, 2 zeros where all keys
// are hidden by -inf and NaN where a score is NaN.
FILIGREE_KERNEL(attentionF32) = {
    "attention.f32",
    "r:q r:k r:v r:mask? r:last? r:sinks? w:y",
    "i:batch i:heads i:kv_heads i:queries i:keys i:head_size i:value_size i:causal "
    "i:causal_offset i:mask_kind i:undefined_rows i:trailing i:window f:scale f:softcap f:hidden "
    "l:q l:k l:v l:y l:mask",
    checkAttention,
    runAttention,
    nullptr,
    nullptr,
    false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
