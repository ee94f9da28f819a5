// Attention over bytes, with every rounding of the quantized graph it stands for: scores are rounded to bytes, so are
// the weights that softmax makes of them, and so is the result.
//
// Lanes are queries. Four bytes along the depth are a word: words of queries, and of weights, are lines of a panel that
// products take as they lie; words of keys and of values, four keys of an element, are broadcast. Zero points enter
// through the sums of bytes. Products take unsigned bytes by signed ones: what is otherwise has its highest bit
// flipped.
#include "kernels/attention_mask.h"
#include "simd/bytes.h"
#include "simd/narrow.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if defined(FILIGREE_AVX512)
constexpr int kBlockRows = 12;
#else
constexpr int kBlockRows = 4;
#endif
/// Queries of a unit: keys and values are arranged for all of them.
constexpr int64_t kUnitQueries = 4 * kPanel;
constexpr int32_t kFlip = static_cast<int32_t>(0x80808080);
constexpr int32_t kOnes = 0x01010101;

enum { kBytesQ, kBytesK, kBytesV, kBytesMask, kBytesY };
enum {
  kBytesBatch,
  kBytesHeads,
  kBytesKvHeads,
  kBytesQueries,
  kBytesKeys,
  kBytesHeadSize,
  kBytesValueSize,
  kQSigned,
  kKSigned,
  kVSigned,
  kWeightsSigned,
  kYSigned,
  kQZero,
  kKZero,
  kVZero,
  kWeightsZero,
  kYZero,
  kScoreFactor,
  kScoreLow,
  kScoreHigh,
  kScoreScale,
  kWeightFactor,
  kWeightLow,
  kWeightHigh,
  kValueFactor,
  kYLow,
  kYHigh,
  kBytesScalars
};

/// What turns sums into bytes: a factor and bounds, relative to the zero point.
struct Rounding {
  float factor, low, high;
};

struct BytesProblem {
  Problem p;
  /// What is added to the highest bits of bytes, and zero points of the bytes then: q and weights unsigned, k and v
  /// signed.
  int32_t flip_q, flip_k, flip_v;
  int32_t q_zero, k_zero, v_zero, weights_zero, y_zero;
  bool y_signed;
  Rounding score, weight, value;
  float score_scale;

  FILIGREE_INLINE_MEMBER int64_t depthWords() const { return (p.head_size + 3) / 4; }
  /// Words of a row of queries in whole vectors.
  FILIGREE_INLINE_MEMBER int64_t depthLine() const { return (depthWords() + kLanes - 1) / kLanes * kLanes; }
  FILIGREE_INLINE_MEMBER int64_t keyWords() const { return (p.keys + 3) / 4; }
  /// Lines of results: whole words of them, whole vectors of words.
  FILIGREE_INLINE_MEMBER int64_t valueLines() const {
    return (p.value_size + 4 * kLanes - 1) / (4 * kLanes) * 4 * kLanes;
  }
  FILIGREE_INLINE_MEMBER int64_t blocks() const { return (p.queries + kUnitQueries - 1) / kUnitQueries; }
};

Rounding readRounding(const Step& step, int factor, int low) {
  return {static_cast<float>(floatParam(step, factor)), static_cast<float>(floatParam(step, low)),
          static_cast<float>(floatParam(step, low + 1))};
}

BytesProblem readBytes(const Step& step) {
  BytesProblem b = {};
  Problem& p = b.p;
  p.batch = intParam(step, kBytesBatch), p.heads = intParam(step, kBytesHeads);
  p.kv_heads = intParam(step, kBytesKvHeads), p.queries = intParam(step, kBytesQueries);
  p.keys = intParam(step, kBytesKeys), p.head_size = intParam(step, kBytesHeadSize);
  p.value_size = intParam(step, kBytesValueSize);
  p.mask_kind = kMaskFloat;
  Place* const places[] = {&p.q, &p.k, &p.v, &p.y, &p.mask};
  for (int i = 0; i < 5; i++) {
    const int64_t* at = listParam(step, kBytesScalars, i).items;
    *places[i] = {at[0], at[1], at[2], at[3], at[4]};
  }
  const auto zero = [&](int k, int32_t shift) { return static_cast<int32_t>(intParam(step, k)) + shift; };
  const bool q_signed = intParam(step, kQSigned) != 0, k_signed = intParam(step, kKSigned) != 0;
  const bool v_signed = intParam(step, kVSigned) != 0, weights_signed = intParam(step, kWeightsSigned) != 0;
  b.flip_q = q_signed ? kFlip : 0, b.q_zero = zero(kQZero, q_signed ? 128 : 0);
  b.flip_k = k_signed ? 0 : kFlip, b.k_zero = zero(kKZero, k_signed ? 0 : -128);
  b.flip_v = v_signed ? 0 : kFlip, b.v_zero = zero(kVZero, v_signed ? 0 : -128);
  b.weights_zero = zero(kWeightsZero, weights_signed ? 128 : 0);
  b.y_signed = intParam(step, kYSigned) != 0, b.y_zero = zero(kYZero, 0);
  b.score = readRounding(step, kScoreFactor, kScoreLow);
  b.weight = readRounding(step, kWeightFactor, kWeightLow);
  b.value = readRounding(step, kValueFactor, kYLow);
  b.score_scale = static_cast<float>(floatParam(step, kScoreScale));
  return b;
}

/// Scratch memory of a unit.
struct Room {
  int32_t *keys, *key_terms, *values, *value_terms, *rows, *queries;
  float* scores;
  int32_t* results;
};

/// Where the parts lie from `base` on; the words of all of them, or -1.
int64_t divide(const BytesProblem& b, int32_t* base, Room* room) {
  const Problem& p = b.p;
  const int64_t sizes[] = {product(p.keys, b.depthWords()),
                           p.keys,
                           product(b.keyWords(), p.value_size),
                           p.value_size,
                           product(kPanel, b.depthLine()),
                           product(kPanel, b.depthLine()),
                           product(kPanel, p.keys),
                           product(kPanel, b.valueLines())};
  int64_t at[9] = {};
  for (int i = 0; i < 8; i++) {
    if (sizes[i] < 0 || __builtin_add_overflow(at[i], (sizes[i] + 15) / 16 * 16, &at[i + 1])) return -1;
  }
  if (room) {
    *room = {base + at[0],
             base + at[1],
             base + at[2],
             base + at[3],
             base + at[4],
             base + at[5],
             reinterpret_cast<float*>(base + at[6]),
             base + at[7]};
  }
  return at[8];
}

bool zerosFit(const Step& step) {
  for (int i = 0; i < 5; i++) {
    const int64_t low = intParam(step, kQSigned + i) ? -128 : 0, zero = intParam(step, kQZero + i);
    if (zero < low || zero > low + 255) return false;
  }
  return true;
}

bool roundingsFit(const BytesProblem& b) {
  const Rounding all[] = {b.score, b.weight, b.value};
  for (const Rounding& r : all) {
    if (!(r.factor > 0) || !(r.low >= -255) || !(r.high <= 255) || !(r.low <= r.high)) return false;
  }
  return true;
}

const char* checkBytes(const Step& step, Work* work) {
  for (int i = 0; i < 5; i++) {
    if (listParam(step, kBytesScalars, i).count != 5) return "an operand's place has four strides and an offset";
  }
  const BytesProblem b = readBytes(step);
  const Problem& p = b.p;
  // Sums of products of bytes stay within 32 bits.
  const int64_t limit = int64_t{1} << 32, deepest = 1 << 15;
  const int64_t counts[] = {p.batch, p.heads, p.kv_heads, p.queries};
  for (int64_t count : counts) {
    if (count < 0 || count > limit) return "sizes are out of range";
  }
  const int64_t depths[] = {p.keys, p.head_size, p.value_size};
  for (int64_t depth : depths) {
    if (depth < 0 || depth > deepest) return "sizes are out of range";
  }
  if (p.heads && (!p.kv_heads || p.heads % p.kv_heads)) return "query heads are no multiple of key heads";
  if (!zerosFit(step)) return "a zero point is no byte of its type";
  if (!roundingsFit(b)) return "a factor is positive, and bounds are differences of bytes";
  if (!holdsPlace(step, kBytesQ, p.q, {p.batch, p.heads, p.queries, p.head_size}, 1) ||
      !holdsPlace(step, kBytesK, p.k, {p.batch, p.kv_heads, p.keys, p.head_size}, 1) ||
      !holdsPlace(step, kBytesV, p.v, {p.batch, p.kv_heads, p.keys, p.value_size}, 1) ||
      !holdsPlace(step, kBytesY, p.y, {p.batch, p.heads, p.queries, p.value_size}, 1)) {
    return "an operand is smaller than its sizes say";
  }
  if (step.operands[kBytesMask].bytes &&
      !holdsPlace(step, kBytesMask, p.mask, {p.batch, p.heads, p.queries, p.keys}, 4)) {
    return "the mask is smaller than its sizes say";
  }
  work->units = product(product(p.batch, p.heads), b.blocks());
  const int64_t words = divide(b, nullptr, nullptr);
  if (work->units < 0 || words < 0) return "sizes are out of range";
  const double pairs = static_cast<double>(p.batch) * static_cast<double>(p.heads) * static_cast<double>(p.queries) *
                       static_cast<double>(p.keys);
  work->cost = pairs * (static_cast<double>(p.head_size + p.value_size) * 0.2 / kLanes + 10.0 / kLanes);
  work->scratch = static_cast<size_t>(words) * 4;
  return nullptr;
}

FILIGREE_INLINE I32 loadBytes(const uint8_t* p) {
  I32 words;
  std::memcpy(&words, p, sizeof words);
  return words;
}

/// `count` bytes, `stride` apart, as words; what the last word has no bytes for is zero.
FILIGREE_INLINE void packRow(const uint8_t* from, int64_t stride, int64_t count, int32_t flip, int32_t* to) {
  int64_t w = 0;
  if (stride == 1) {
    for (; (w + kLanes) * 4 <= count; w += kLanes) storeI(to + w, loadBytes(from + 4 * w) ^ set1I(flip));
  }
  for (; 4 * w < count; w++) {
    uint32_t word = 0;
    for (int64_t i = 0; i < 4 && 4 * w + i < count; i++) {
      word |= uint32_t{static_cast<uint8_t>(from[(4 * w + i) * stride] ^ (flip & 0x80))} << (8 * i);
    }
    to[w] = static_cast<int32_t>(word);
  }
}

FILIGREE_INLINE int32_t addLanes(I32 x) {
#if defined(FILIGREE_AVX512)
  return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(x));
#else
  int32_t sum = 0;
  for (int i = 0; i < kLanes; i++) sum += x[i];
  return sum;
#endif
}

/// Rows of keys as words, and what zero points add to their products.
void packKeys(const BytesProblem& b, const uint8_t* k, const Room& room) {
  const Problem& p = b.p;
  const int64_t words = b.depthWords();
  const int32_t constant = static_cast<int32_t>(p.head_size) * b.q_zero * b.k_zero;
  for (int64_t j = 0; j < p.keys; j++) {
    int32_t* row = room.keys + j * words;
    packRow(k + j * p.k.row, p.k.column, p.head_size, b.flip_k, row);
    I32 sums = I32{};
    int64_t w = 0;
    for (; w + kLanes <= words; w += kLanes) sums = dotBytes(sums, set1I(kOnes), loadI(row + w));
    int32_t sum = w ? addLanes(sums) : 0;
    for (; w < words; w++) sum += dotBytes(I32{}, set1I(kOnes), set1I(row[w]))[0];
    room.key_terms[j] = constant - b.q_zero * sum;
  }
}

/// Values as words of four keys, a word an element, and what zero points add to their sums.
void packValues(const BytesProblem& b, const uint8_t* v, const Room& room) {
  const Problem& p = b.p;
  const int32_t constant = static_cast<int32_t>(p.keys) * b.weights_zero * b.v_zero;
  for (int64_t d = 0; d < p.value_size; d++) room.value_terms[d] = constant;
  for (int64_t j = 0; j < p.keys; j += 4) {
    int32_t* words = room.values + j / 4 * p.value_size;
    const uint8_t* from = v + j * p.v.row;
    const int64_t keys = p.keys - j < 4 ? p.keys - j : 4;
    int64_t d = 0;
    if (keys == 4 && p.v.column == 1) {
      for (; d + kLanes <= p.value_size; d += kLanes) {
        I32 word = widen(from + d);
        for (int i = 1; i < 4; i++) word |= widen(from + i * p.v.row + d) << (8 * i);
        word ^= set1I(b.flip_v);
        storeI(words + d, word);
        const I32 sum = dotBytes(I32{}, set1I(kOnes), word);
        storeI(room.value_terms + d, loadI(room.value_terms + d) - sum * b.weights_zero);
      }
    }
    for (; d < p.value_size; d++) {
      packRow(from + d * p.v.column, p.v.row, keys, b.flip_v, words + d);
      room.value_terms[d] -= dotBytes(I32{}, set1I(kOnes), set1I(words[d]))[0] * b.weights_zero;
    }
  }
}

/// `width` queries as lines of words; queries that are not there are zeros.
void loadPanel(const BytesProblem& b, const uint8_t* q, int64_t width, const Room& room) {
  const int64_t line = b.depthLine(), words = b.depthWords();
  for (int64_t i = 0; i < kPanel; i++) {
    int32_t* row = room.rows + i * line;
    for (int64_t w = 0; w < line; w += kLanes) storeI(row + w, I32{});
    if (i < width) packRow(q + i * b.p.q.row, b.p.q.column, b.p.head_size, b.flip_q, row);
  }
  for (int64_t w = 0; w < words; w += kLanes) {
    for (int64_t i = 0; i < kPanel; i += kLanes) {
      F32 tile[kLanes];
      for (int64_t r = 0; r < kLanes; r++) tile[r] = floatOf(loadI(room.rows + (i + r) * line + w));
      transpose(tile);
      for (int64_t c = 0; c < kLanes; c++) storeI(room.queries + (w + c) * kPanel + i, bitsOf(tile[c]));
    }
  }
}

/// Products of R rows of broadcast words with a panel's lines; `end` takes the sums of row `first` + r and vector v.
template <int R, int V, class End>
__attribute__((noinline)) void dotBlock(const int32_t* words, int64_t row, int64_t step, int64_t depth,
                                        const int32_t* lines, int64_t first, const End& end) {
  I32 acc[R][V];
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < V; v++) acc[r][v] = I32{};
  }
  constexpr int kGroups = (R + 2) / 3;
  const int32_t* from[kGroups];
  for (int g = 0; g < kGroups; g++) from[g] = words + (first + 3 * g) * row;
  for (int64_t k = 0; k < depth; k++, lines += kPanel) {
    I32 line[V];
    for (int v = 0; v < V; v++) line[v] = loadI(lines + v * kLanes);
    for (int r = 0; r < R; r++) {
      const I32 word = set1I(from[r / 3][r % 3 * row]);
      for (int v = 0; v < V; v++) acc[r][v] = dotBytes(acc[r][v], line[v], word);
    }
    for (int g = 0; g < kGroups; g++) from[g] += step;
  }
  for (int r = 0; r < R; r++) {
    for (int v = 0; v < V; v++) end(first + r, v, acc[r][v]);
  }
}

template <int R, int V, class End>
FILIGREE_INLINE void dotRest(int64_t rows, const int32_t* words, int64_t row, int64_t step, int64_t depth,
                             const int32_t* lines, int64_t first, const End& end) {
  if constexpr (R > 0) {
    if (rows == R) return dotBlock<R, V>(words, row, step, depth, lines, first, end);
    dotRest<R - 1, V>(rows, words, row, step, depth, lines, first, end);
  }
}

template <int V, class End>
FILIGREE_INLINE void dotRows(int64_t rows, const int32_t* words, int64_t row, int64_t step, int64_t depth,
                             const int32_t* lines, const End& end) {
  int64_t r = 0;
  for (; r + kBlockRows <= rows; r += kBlockRows) {
    dotBlock<kBlockRows, V>(words, row, step, depth, lines, r, end);
  }
  dotRest<kBlockRows - 1, V>(rows - r, words, row, step, depth, lines, r, end);
}

/// The whole number that stands for x, relative to the zero point; NaN becomes 0.
FILIGREE_INLINE F32 rounded(F32 x, const Rounding& r) {
  const F32 whole = roundSmall(min(set1(r.high), max(set1(r.low), x)));
  return select(x == x, whole, zero());
}

/// Scores to weights, in place; what zero points add to sums with them.
FILIGREE_INLINE I32 weighBytes(const BytesProblem& b, const Head& head, float* scores, int v) {
  const int64_t keys = b.p.keys;
  if (head.mask) addMask(b.p, head, scores, v, 0, keys);
  F32 best = set1(-__builtin_inff());
  for (int64_t j = 0; j < keys; j++) best = larger(best, load(scores + j * kPanel));
  F32 sum = zero();
  for (int64_t j = 0; j < keys; j++) {
    const F32 e = weightOf(load(scores + j * kPanel) - best);
    store(scores + j * kPanel, e);
    sum += e;
  }
  const F32 factor = set1(b.weight.factor) / sum;
  I32 total = I32{};
  for (int64_t j = 0; j < keys; j += 4) {
    I32 word = I32{};
    for (int i = 0; i < 4 && j + i < keys; i++) {
      const F32 weight = rounded(load(scores + (j + i) * kPanel) * factor, b.weight);
      const I32 byte = toInt(weight) + b.weights_zero;
      total += byte;
      word |= byte << (8 * i);
    }
    // A word's line comes before those it is made of, or is the first of them.
    store(scores + j / 4 * kPanel, floatOf(word));
  }
  return total * -b.v_zero;
}

/// Lines of results, a number each, to rows of bytes.
void storeBytes(const BytesProblem& b, int32_t* lines, int64_t width, uint8_t* y) {
  const Problem& p = b.p;
  for (int64_t w = 0; 4 * w < p.value_size; w++) {
    for (int64_t l = 0; l < kPanel; l += kLanes) {
      I32 word = I32{};
      for (int64_t i = 0; i < 4 && 4 * w + i < p.value_size; i++) {
        word |= (loadI(lines + (4 * w + i) * kPanel + l) & 0xff) << static_cast<int>(8 * i);
      }
      storeI(lines + w * kPanel + l, word);
    }
  }
  for (int64_t d = 0; d < p.value_size; d += 4 * kLanes) {
    const int64_t n = p.value_size - d < 4 * kLanes ? p.value_size - d : 4 * kLanes;
    for (int64_t i = 0; i < width; i += kLanes) {
      F32 tile[kLanes];
      for (int64_t c = 0; c < kLanes; c++) tile[c] = floatOf(loadI(lines + (d / 4 + c) * kPanel + i));
      transpose(tile);
      for (int64_t r = 0; r < kLanes && i + r < width; r++) {
        uint8_t row[4 * kLanes];
        std::memcpy(row, &tile[r], sizeof row);
        uint8_t* to = y + (i + r) * p.y.row + d * p.y.column;
        if (p.y.column == 1) {
          std::memcpy(to, row, static_cast<size_t>(n));
        } else {
          for (int64_t c = 0; c < n; c++) to[c * p.y.column] = row[c];
        }
      }
    }
  }
}

template <int V>
void runBytesPanel(const BytesProblem& b, const Head& head, const uint8_t* q, uint8_t* y, const Room& room) {
  const Problem& p = b.p;
  loadPanel(b, q, head.width, room);
  I32 query_terms[V], weight_terms[V];
  for (int v = 0; v < V; v++) {
    I32 sum = I32{};
    for (int64_t w = 0; w < b.depthWords(); w++) {
      sum = dotBytes(sum, loadI(room.queries + w * kPanel + v * kLanes), set1I(kOnes));
    }
    query_terms[v] = sum * -b.k_zero;
  }
  dotRows<V>(p.keys, room.keys, b.depthWords(), 1, b.depthWords(), room.queries, [&](int64_t j, int v, I32 sum) {
    const F32 score = toFloat(sum + set1I(room.key_terms[j]) + query_terms[v]) * b.score.factor;
    store(room.scores + j * kPanel + v * kLanes, rounded(score, b.score) * b.score_scale);
  });
  for (int v = 0; v < V; v++) weight_terms[v] = weighBytes(b, head, room.scores + v * kLanes, v);
  const int32_t* weights = reinterpret_cast<const int32_t*>(room.scores);
  dotRows<V>(p.value_size, room.values, 1, p.value_size, b.keyWords(), weights, [&](int64_t d, int v, I32 sum) {
    const F32 value = toFloat(sum + set1I(room.value_terms[d]) + weight_terms[v]) * b.value.factor;
    storeI(room.results + d * kPanel + v * kLanes, toInt(rounded(value, b.value)) + b.y_zero);
  });
  storeBytes(b, room.results, head.width, y);
}

void runBytes(const Step& step, Range* range) {
  const BytesProblem b = readBytes(step);
  const Problem& p = b.p;
  Room room;
  divide(b, reinterpret_cast<int32_t*>(range->scratch), &room);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t begin = unit % b.blocks() * kUnitQueries, outer = unit / b.blocks();
    const int64_t h = outer % p.heads, n = outer / p.heads, kv = h / (p.heads / p.kv_heads);
    packKeys(b, input<uint8_t>(step, kBytesK) + p.k.offset + n * p.k.batch + kv * p.k.head, room);
    packValues(b, input<uint8_t>(step, kBytesV) + p.v.offset + n * p.v.batch + kv * p.v.head, room);
    for (int64_t first = begin; first < p.queries && first < begin + kUnitQueries; first += kPanel) {
      Head head = {};
      head.mask = step.operands[kBytesMask].bytes ? input<uint8_t>(step, kBytesMask) : nullptr;
      head.mask_at = p.mask.offset + n * p.mask.batch + h * p.mask.head + first * p.mask.row;
      head.first = first, head.width = p.queries - first < kPanel ? p.queries - first : kPanel;
      const uint8_t* q = input<uint8_t>(step, kBytesQ) + p.q.offset + n * p.q.batch + h * p.q.head + first * p.q.row;
      uint8_t* y = output<uint8_t>(step, kBytesY) + p.y.offset + n * p.y.batch + h * p.y.head + first * p.y.row;
      if (head.width > kLanes) {
        runBytesPanel<2>(b, head, q, y, room);
      } else {
        runBytesPanel<1>(b, head, q, y, room);
      }
    }
  }
}

}  // namespace

// q [batch, heads, queries, head_size], k [batch, kv_heads, keys, head_size], v [batch, kv_heads, keys, value_size] and
// y [batch, heads, queries, value_size] are bytes, signed or not, that lie as their lists say: strides along the four
// axes and an offset. Sums s of (q - q_zero)(k - k_zero) become scores round(s * score_factor), within score_low and
// score_high, times score_scale; the float32 mask (strides 0 where it repeats) is added; weights are
// round(softmax * weight_factor) within weight_low and weight_high, and y is y_zero more than
// round(t * value_factor) within y_low and y_high, for sums t of weights times (v - v_zero). Scores, weights and
// results are so relative to zero points; weights_zero is the weights' own. Roundings are to even.
FILIGREE_KERNEL(attentionU8) = {
    "attention.u8",
    "r:q r:k r:v r:mask? w:y",
    "i:batch i:heads i:kv_heads i:queries i:keys i:head_size i:value_size i:q_signed i:k_signed i:v_signed "
    "i:weights_signed i:y_signed i:q_zero i:k_zero i:v_zero i:weights_zero i:y_zero f:score_factor f:score_low "
    "f:score_high f:score_scale f:weight_factor f:weight_low f:weight_high f:value_factor f:y_low f:y_high "
    "l:q l:k l:v l:y l:mask",
    checkBytes,
    runBytes,
    nullptr,
    nullptr,
    false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
