// Scaled dot-product attention: y = softmax(cap(scale * q k^T) + mask) v, heads apart.
//
// Lanes are queries: a panel of queries is transposed once, and both products broadcast numbers of k and v as they lie,
// whatever their strides. Scores exist for one block of keys at a time; the running maximum and sum of every query
// correct what earlier blocks gave. Few queries over rows in order go row by row instead, at memory speed.
#include "kernels/attention_mask.h"
#include "kernels/attention_rows.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if defined(FILIGREE_AVX512)
constexpr int kBlockRows = 12;
#else
constexpr int kBlockRows = 6;
#endif

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

/// Softmax's state for a panel.
struct Panel {
  F32 maximum[2], sum[2];
  float *queries, *values, *scores;
};

/// Scores of a block of keys to weights; `v` says which lanes. Returns what earlier sums are multiplied by.
FILIGREE_INLINE F32 weigh(const Problem& p, const Head& head, Panel* panel, int v, int64_t from, int64_t count) {
  const int64_t first = head.first + v * kLanes;
  float* scores = panel->scores + v * kLanes;
  I32 lane = I32{};
  for (int i = 0; i < kLanes; i++) lane[i] = i;
  const F32 lowest = set1(-__builtin_inff());
  F32 best = panel->maximum[v];
  if (head.mask) addMask(p, head, scores, v, from, count);
  for (int64_t j = 0; j < count; j++) {
    F32 s = load(scores + j * kPanel);
    if (!head.mask) s = capped(s, p.softcap);
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
    const F32 e = weightOf(load(scores + j * kPanel) - shift);
    store(scores + j * kPanel, e);
    sum += e;
  }
  const F32 old = panel->maximum[v];
  const F32 rescale = select(old == lowest, zero(), weightOf(old - shift));
  panel->maximum[v] = best;
  panel->sum[v] = fma(panel->sum[v], rescale, sum);
  return rescale;
}

/// Queries to lines of the panel, and what is not there to zeros.
void loadQueries(const Problem& p, const float* q, int64_t width, float* panel) {
  for (int64_t d = 0; d < p.head_size; d += kLanes) {
    const int n = static_cast<int>(p.head_size - d < kLanes ? p.head_size - d : kLanes);
    for (int64_t i = 0; i < kPanel; i += kLanes) {
      F32 tile[kLanes];
      for (int64_t r = 0; r < kLanes; r++) {
        const float* row = q + (i + r) * p.q.row + d * p.q.column;
        tile[r] = zero();
        if (i + r >= width) continue;
        if (p.q.column == 1) {
          tile[r] = loadN(row, n);
        } else {
          for (int c = 0; c < n; c++) tile[r][c] = row[c * p.q.column];
        }
      }
      transpose(tile);
      for (int c = 0; c < n; c++) store(panel + (d + c) * kPanel + i, tile[c] * p.scale);
    }
  }
}

/// Lines of the panel to rows of y.
void storeValues(const Problem& p, const float* values, int64_t width, float* y) {
  for (int64_t d = 0; d < p.value_size; d += kLanes) {
    const int n = static_cast<int>(p.value_size - d < kLanes ? p.value_size - d : kLanes);
    for (int64_t i = 0; i < width; i += kLanes) {
      F32 tile[kLanes];
      for (int c = 0; c < kLanes; c++) tile[c] = c < n ? load(values + (d + c) * kPanel + i) : zero();
      transpose(tile);
      for (int64_t r = 0; r < kLanes && i + r < width; r++) {
        float* row = y + (i + r) * p.y.row + d * p.y.column;
        if (p.y.column == 1) {
          storeN(row, tile[r], n);
        } else {
          for (int c = 0; c < n; c++) row[c * p.y.column] = tile[r][c];
        }
      }
    }
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
  storeValues(p, panel.values, head.width, y);
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
