// Products of float32 rows with 8-bit weights by dynamic quantization (DynamicQuantizeLinear and MatMulInteger of
// ONNX): x becomes bytes with one scale and zero point, the sums are exact integers, and scales, bias, residual and
// activation meet them once.
#include <algorithm>
#include <vector>

#include "kernels/activation.h"
#include "kernels/kernel_support.h"
#include "kernels/split_weights.h"
#include "simd/math.h"
#if defined(FILIGREE_ISA_amx)
#include "kernels/tiles.h"
#endif

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if defined(FILIGREE_ISA_amx)
constexpr int kBlockRows = 2 * kTileRows;
#elif defined(FILIGREE_AVX512)
constexpr int kBlockRows = 12;
#else
constexpr int kBlockRows = 4;
#endif
constexpr int kPanelVectors = 2;
constexpr int kPanel = kPanelVectors * kLanes;
constexpr int64_t kLimit = int64_t{1} << 32;

typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
typedef uint8_t BytesUnaligned __attribute__((vector_size(kLanes), aligned(1), may_alias));

/// What a row of bytes means: x = scale * (byte - zero); `sum` is that of byte - zero. Scale and zero are every row's.
struct RowScale {
  float scale;
  int32_t zero;
  int32_t sum;
  int32_t unused;
};

/// Rows as bytes, four to a word and the last word filled up with zero points, then their scales.
struct ByteRows {
  int64_t rows, depth;
  FILIGREE_INLINE_MEMBER int64_t words() const { return (depth + 3) / 4; }
  FILIGREE_INLINE_MEMBER int64_t scalesAt() const { return (product(rows, 4 * words()) + 63) / 64 * 64; }
  FILIGREE_INLINE_MEMBER int64_t bytes() const { return scalesAt() + rows * static_cast<int64_t>(sizeof(RowScale)); }
  FILIGREE_INLINE_MEMBER bool legal() const {
    return rows >= 0 && depth >= 0 && rows <= kLimit && depth < 1 << 24 && product(rows, 4 * words()) >= 0 &&
           product(rows, 4 * words()) <= int64_t{1} << 48;
  }
};

/// Of every column: the weights' scale, the sum of their bytes, and what their zero point leaves to add to each. Then
/// the panels' words. Where products are of pairs (kPairDots in simd/bytes.h), what pairs cannot take whole follows in
/// halves: for each panel the number of its first row of halves, and their total; the word that each row belongs to;
/// the rows, of kPanel columns.
struct ByteWeights {
  int64_t depth, columns;
  FILIGREE_INLINE_MEMBER int64_t words() const { return (depth + 3) / 4; }
  FILIGREE_INLINE_MEMBER int64_t panels() const { return (columns + kPanel - 1) / kPanel; }
  FILIGREE_INLINE_MEMBER int64_t padded() const { return panels() * kPanel; }
  FILIGREE_INLINE_MEMBER int64_t bytes() const { return 12 * padded() + 4 * words() * padded(); }
  FILIGREE_INLINE_MEMBER bool legal() const {
    return depth >= 0 && columns >= 0 && depth < 1 << 24 && columns <= kLimit;
  }
  /// Bytes with so many rows of halves.
  FILIGREE_INLINE_MEMBER int64_t bytesWith(int64_t halves) const {
    return bytes() + (kPairDots ? 4 * (panels() + 1 + halves + halves * kPanel) : 0);
  }
};

/// The halves of one panel.
struct Halves {
  int64_t count;
  const int32_t *words, *rows;
};

FILIGREE_INLINE Halves halvesOf(const ByteWeights& w, const int32_t* packing, int64_t panel) {
  const int32_t* const begin = packing + w.bytes() / 4;
  const int32_t* const words = begin + w.panels() + 1;
  return {begin[panel + 1] - begin[panel], words + begin[panel],
          words + begin[w.panels()] + int64_t{begin[panel]} * kPanel};
}

const char* checkRange(const Step& step, Work* work) {
  const ByteRows r = {intParam(step, 0), intParam(step, 1)};
  if (!r.legal()) return "sizes are out of range";
  if (!holds(step, 0, product(r.rows, r.depth), 4)) return "x is smaller than its sizes say";
  if (!holds(step, 1, r.rows, 8)) return "y is smaller than its sizes say";
  work->units = r.rows;
  work->cost = static_cast<double>(r.rows) * (10 + static_cast<double>(r.depth) * 0.03);
  work->scratch = 0;
  return nullptr;
}

const char* checkRows(const Step& step, Work* work) {
  const ByteRows r = {intParam(step, 0), intParam(step, 1)};
  if (!r.legal()) return "sizes are out of range";
  if (!holds(step, 0, product(r.rows, r.depth), 4)) return "x is smaller than its sizes say";
  if (!holds(step, 1, r.rows, 8)) return "ranges is smaller than its sizes say";
  if (!holds(step, 2, r.bytes(), 1)) return "y is smaller than its sizes say";
  work->units = r.rows;
  work->cost = static_cast<double>(r.rows) * (20 + static_cast<double>(r.depth) * 0.1);
  work->scratch = 0;
  return nullptr;
}

FILIGREE_INLINE F32 lanesOf(const float* x, int64_t left) {
  return left >= kLanes ? load(x) : loadN(x, static_cast<int>(left));
}

/// The nearest whole number, the even one of two; |x| < 2^22.
FILIGREE_INLINE F32 nearest(F32 x) {
  const F32 shift = set1(12582912.0f);
  return x + shift - shift;
}

void runRange(const Step& step, Range* range) {
  const int64_t depth = intParam(step, 1);
  for (int64_t row = range->begin; row < range->end; row++) {
    const float* x = input<float>(step, 0) + row * depth;
    F32 low = zero(), high = zero();
    for (int64_t k = 0; k < depth; k += kLanes) {
      const F32 v = lanesOf(x + k, depth - k);
      low = min(v, low);
      high = max(v, high);
    }
    output<float>(step, 1)[2 * row] = -reduceMax(zero() - low);
    output<float>(step, 1)[2 * row + 1] = reduceMax(high);
  }
}

/// The scale and zero point of all rows.
RowScale scaleOf(const float* ranges, int64_t rows) {
  float low = 0, high = 0;
  for (int64_t row = 0; row < rows; row++) {
    low = ranges[2 * row] < low ? ranges[2 * row] : low;
    high = ranges[2 * row + 1] > high ? ranges[2 * row + 1] : high;
  }
  const float scale = high > low ? (high - low) / 255.0f : 1.0f;
  const float origin = -low / scale;
  return {scale, static_cast<int32_t>(__builtin_nearbyintf(origin < 255.0f ? origin : 255.0f)), 0, 0};
}

/// Makes bytes of one row and returns the sum of byte - zero; `y` has room for whole words.
int32_t quantizeRow(const float* x, int64_t depth, const RowScale& s, uint8_t* y) {
  const F32 scale = set1(s.scale), origin = set1(static_cast<float>(s.zero));
  I32 sums = {};
  for (int64_t k = 0; k < depth; k += kLanes) {
    // A quotient, not a product with the reciprocal: the standard rounds x / scale.
    const F32 level = nearest(lanesOf(x + k, depth - k) / scale) + origin;
    const I32 bytes = toInt(min(max(level, zero()), set1(255.0f)));
    if (depth - k >= kLanes) {
      sums += bytes;
      *reinterpret_cast<BytesUnaligned*>(y + k) = __builtin_convertvector(bytes, Bytes);
      continue;
    }
    for (int64_t i = k; i < depth; i++) {
      y[i] = static_cast<uint8_t>(bytes[i - k]);
      sums[i - k] += bytes[i - k];
    }
  }
  for (int64_t i = depth; i % 4 != 0; i++) y[i] = 0;
  int32_t sum = 0;
  for (int i = 0; i < kLanes; i++) sum += sums[i];
  return sum - static_cast<int32_t>(depth) * s.zero;
}

void runRows(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  const ByteRows r = {intParam(step, 0), intParam(step, 1)};
  uint8_t* y = output<uint8_t>(step, 2);
  RowScale* scales = reinterpret_cast<RowScale*>(y + r.scalesAt());
  RowScale scale = scaleOf(input<float>(step, 1), r.rows);
  for (int64_t row = range->begin; row < range->end; row++) {
    scale.sum = quantizeRow(input<float>(step, 0) + row * r.depth, r.depth, scale, y + row * 4 * r.words());
    scales[row] = scale;
  }
}

enum { kQ, kB, kBias, kResidual, kY };

struct Product {
  ByteRows q;
  ByteWeights w;
  int64_t activation;
  float alpha, beta;
  FILIGREE_INLINE_MEMBER int64_t rowBlocks() const { return (q.rows + kBlockRows - 1) / kBlockRows; }
};

Product readProduct(const Step& step) {
  const int64_t depth = intParam(step, 1);
  return {{intParam(step, 0), depth},
          {depth, intParam(step, 2)},
          intParam(step, 3),
          static_cast<float>(floatParam(step, 4)),
          static_cast<float>(floatParam(step, 5))};
}

const char* checkProduct(const Step& step, Work* work) {
  const Product p = readProduct(step);
  if (!p.q.legal() || !p.w.legal()) return "sizes are out of range";
  if (!knownActivation(p.activation)) return "no such activation";
  if (!holds(step, kQ, p.q.bytes(), 1)) return "x is smaller than its sizes say";
  if (!holds(step, kB, p.w.bytesWith(0), 1)) return "the weights are smaller than their sizes say";
  const int64_t elements = product(p.q.rows, p.w.columns);
  if (!holds(step, kY, elements, 4)) return "y is smaller than its sizes say";
  if (step.operands[kBias].bytes && !holds(step, kBias, p.w.columns, 4)) return "bias is smaller than the columns";
  if (step.operands[kResidual].bytes && !holds(step, kResidual, elements, 4)) return "residual is smaller than y";
  work->units = product(p.w.panels(), p.rowBlocks());
  const double busy = p.q.rows < kBlockRows ? static_cast<double>(p.q.rows) : kBlockRows;
#if defined(FILIGREE_ISA_amx)
  const double cycles = busy > 2 ? busy * 0.4 + 1 : 2.5;
#else
  const double cycles = kByteDots ? (busy > 2 ? busy : 2.5) : busy * (kPairDots ? 2.5 : 4) + 2;
#endif
  work->cost = static_cast<double>(work->units) * (static_cast<double>(p.w.words()) * cycles * 0.3 + busy * 6);
  work->scratch = 0;
  return nullptr;
}

/// One block of results: the panel's columns begin at `column`.
struct Target {
  const Step& step;
  const Product& p;
  int64_t row, column;
};

/// What follows the sums of one vector of columns, for every row.
struct ColumnsEnd {
  const Product& p;
  const RowScale* of;
  const float* residual;
  float* y;
  int lanes;
  F32 scale, addend;
  I32 offset, less;

  /// Vector `v` of the panel; no `lanes` where the columns end before.
  FILIGREE_INLINE_MEMBER ColumnsEnd(const Target& t, int v) : p(t.p) {
    const int64_t padded = p.w.padded(), column = t.column + v * kLanes, left = p.w.columns - column;
    lanes = left <= 0 ? 0 : left < kLanes ? static_cast<int>(left) : kLanes;
    of = reinterpret_cast<const RowScale*>(input<uint8_t>(t.step, kQ) + p.q.scalesAt()) + t.row;
    const int64_t at = t.row * p.w.columns + column;
    residual = t.step.operands[kResidual].bytes ? input<float>(t.step, kResidual) + at : nullptr;
    y = output<float>(t.step, kY) + at;
    // Every row has the same scale and zero point.
    scale = load(input<float>(t.step, kB) + column) * set1(of[0].scale);
    less = loadI(input<int32_t>(t.step, kB) + padded + column) * set1I(of[0].zero);
    offset = loadI(input<int32_t>(t.step, kB) + 2 * padded + column);
    addend = t.step.operands[kBias].bytes ? loadN(input<float>(t.step, kBias) + column, lanes) : zero();
  }
  FILIGREE_INLINE_MEMBER void finish(int64_t row, I32 sums) const {
    const I32 whole = sums - less + offset * set1I(of[row].sum);
    F32 value = fma(toFloat(whole), scale, addend);
    if (residual) value = value + loadN(residual + row * p.w.columns, lanes);
    storeN(y + row * p.w.columns, apply(value, p.activation, p.alpha, p.beta), lanes);
  }
};

template <int rows>
void runBlock(const Target& t) {
  const Product& p = t.p;
  const int64_t words = p.w.words();
  const int32_t* q = input<int32_t>(t.step, kQ) + t.row * words;
  const int32_t* b = input<int32_t>(t.step, kB) + 3 * p.w.padded() + t.column * words;
  I32 acc[rows][kPanelVectors];
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < kPanelVectors; v++) acc[r][v] = I32{};
  }
  for (int64_t k = 0; k < words; k++, b += kPanel) {
    const I32 first = loadI(b), second = loadI(b + kLanes);
    for (int r = 0; r < rows; r++) {
      const I32 x = set1I(q[r * words + k]);
      acc[r][0] = dotSafeBytes(acc[r][0], x, first);
      acc[r][1] = dotSafeBytes(acc[r][1], x, second);
    }
  }
  if (kPairDots) {
    const Halves halves = halvesOf(p.w, input<int32_t>(t.step, kB), t.column / kPanel);
    for (int64_t i = 0; i < halves.count; i++) {
      const I32 first = loadI(halves.rows + i * kPanel), second = loadI(halves.rows + i * kPanel + kLanes);
      for (int r = 0; r < rows; r++) {
        const I32 x = set1I(q[r * words + halves.words[i]]);
        acc[r][0] = dotSafeBytes(acc[r][0], x, first);
        acc[r][1] = dotSafeBytes(acc[r][1], x, second);
      }
    }
  }
  for (int v = 0; v < kPanelVectors; v++) {
    const ColumnsEnd end(t, v);
    for (int r = 0; r < rows && end.lanes > 0; r++) end.finish(r, acc[r][v]);
  }
}

#if defined(FILIGREE_ISA_amx)
/// Fewer rows leave tiles idle.
constexpr int64_t kFewRows = 2;

/// Sums [rows][kPanel] of the first `steps` * 16 words of one block, in tiles of 16 rows.
template <bool kSecond>
__attribute__((noinline)) void multiplyBlock(const int32_t* q, int64_t words, const int32_t* b, int64_t steps,
                                             int32_t* sums, LinesAhead ahead) {
  constexpr int kPanelBytes = kPanel * 4;
  finishStores();
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (kSecond) {
    _tile_zero(2);
    _tile_zero(3);
  }
  const int32_t* const below = q + kTileRows * words;
  for (int64_t s = 0; s < steps; s++, b += kTileRows * kPanel) {
    ahead.step();
    _tile_loadd(4, q + s * kTileRows, words * 4);
    _tile_loadd(6, b, kPanelBytes);
    _tile_dpbusd(0, 4, 6);
    _tile_loadd(7, b + kLanes, kPanelBytes);
    _tile_dpbusd(1, 4, 7);
    if constexpr (kSecond) {
      _tile_loadd(5, below + s * kTileRows, words * 4);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    }
  }
  _tile_stored(0, sums, kPanelBytes);
  _tile_stored(1, sums + kLanes, kPanelBytes);
  if constexpr (kSecond) {
    _tile_stored(2, sums + kTileRows * kPanel, kPanelBytes);
    _tile_stored(3, sums + kTileRows * kPanel + kLanes, kPanelBytes);
  }
}

/// One block: tiles take words by sixteens, the rest of each row follows at its end.
void runTiles(const Target& target, int64_t rows, LinesAhead ahead) {
  const Product& p = target.p;
  const int64_t words = p.w.words(), steps = words / kTileRows;
  const int32_t* const q = input<int32_t>(target.step, kQ) + target.row * words;
  const int32_t* const b = input<int32_t>(target.step, kB) + 3 * p.w.padded() + target.column * words;
  alignas(64) int32_t sums[kBlockRows * kPanel];
  (rows > kTileRows ? multiplyBlock<true> : multiplyBlock<false>)(q, words, b, steps, sums, ahead);
  for (int v = 0; v < kPanelVectors; v++) {
    const ColumnsEnd end(target, v);
    for (int64_t r = 0; r < rows && end.lanes > 0; r++) {
      I32 acc = loadI(sums + r * kPanel + v * kLanes);
      for (int64_t k = steps * kTileRows; k < words; k++) {
        acc = dotBytes(acc, set1I(q[r * words + k]), loadI(b + k * kPanel + v * kLanes));
      }
      end.finish(r, acc);
    }
  }
}

void runProduct(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  const Product p = readProduct(step);
  const int64_t blocks = p.rowBlocks();
  TileUse tiles;
  int64_t shaped = 0;
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    // Row blocks run fastest: a panel stays in cache while the rows pass it.
    const int64_t block = unit % blocks, panel = unit / blocks;
    const int64_t first = p.q.rows * block / blocks, rows = p.q.rows * (block + 1) / blocks - first;
    const Target target = {step, p, first, panel * kPanel};
    if (rows == 1) {
      runBlock<1>(target);
    } else if (rows <= kFewRows) {
      runBlock<kFewRows>(target);
    } else {
      if (rows != shaped)
        tiles.shape(rows < kTileRows ? rows : kTileRows, rows > kTileRows ? rows - kTileRows : 0, kTileRows);
      shaped = rows;
      // Of the next panel, what its share of the blocks is.
      const int64_t lines = p.w.words() * kPanel * 4 / kTileRowBytes, steps = p.w.words() / kTileRows;
      const int64_t each = unit + blocks < range->end ? (lines / blocks) / (steps ? steps : 1) : 0;
      const int32_t* const weights = input<int32_t>(step, kB) + 3 * p.w.padded() + (panel + 1) * kPanel * p.w.words();
      runTiles(target, rows, {weights + lines * block / blocks * 16, each});
    }
  }
}
#else
void runProduct(const Step& step, Range* range) {
  const Product p = readProduct(step);
  const int64_t blocks = p.rowBlocks();
  const int64_t halves = kPairDots ? input<int32_t>(step, kB)[p.w.bytes() / 4 + p.w.panels()] : 0;
  if (!holds(step, kB, p.w.bytesWith(halves), 1)) {
    range->error = "the packing was made for another product";
    return;
  }
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    // Row blocks run fastest: a panel stays in cache while the rows pass it.
    const int64_t block = unit % blocks, panel = unit / blocks;
    const int64_t first = p.q.rows * block / blocks, last = p.q.rows * (block + 1) / blocks;
    const Target target = {step, p, first, panel * kPanel};
    switch (last - first) {
#define ROWS(n)          \
  case n:                \
    runBlock<n>(target); \
    break;
      ROWS(1)
      ROWS(2)
      ROWS(3)
      ROWS(4)
#if defined(FILIGREE_AVX512)
      ROWS(5)
      ROWS(6)
      ROWS(7)
      ROWS(8)
      ROWS(9)
      ROWS(10)
      ROWS(11)
      ROWS(12)
#endif
#undef ROWS
      default:
        break;
    }
  }
}
#endif

enum { kPackDepth, kPackColumns, kPackSigned, kPackScales, kPackZeros };

const char* checkPack(const Step& step, Work* work) {
  const ByteWeights w = {intParam(step, kPackDepth), intParam(step, kPackColumns)};
  const int64_t scales = intParam(step, kPackScales), zeros = intParam(step, kPackZeros);
  if (!w.legal()) return "sizes are out of range";
  if ((scales != 1 && scales != w.columns) || (zeros != 0 && zeros != 1 && zeros != w.columns)) {
    return "one scale and zero point, or one a column, are needed";
  }
  if (!holds(step, 0, product(w.depth, w.columns), 1)) return "the weights are smaller than their sizes say";
  if (!holds(step, 1, scales, 4)) return "scale is smaller than its sizes say";
  if (zeros && !holds(step, 2, zeros, 1)) return "zero is smaller than its sizes say";
  work->units = 1;
  work->cost = static_cast<double>(w.depth) * static_cast<double>(w.columns);
  work->scratch = 0;
  return nullptr;
}

/// The four weights of a column in a word as signed bytes: unsigned ones are shifted, which an offset takes back.
FILIGREE_INLINE void wordOf(const Step& step, const ByteWeights& w, int64_t word, int64_t column, int32_t* values) {
  const uint8_t* const weights = input<uint8_t>(step, 0);
  const bool is_signed = intParam(step, kPackSigned) != 0;
  for (int64_t i = 0; i < 4; i++) {
    const int64_t k = 4 * word + i;
    const bool real = k < w.depth && column < w.columns;
    const uint8_t byte = real ? weights[k * w.columns + column] : 0;
    values[i] = !real ? 0 : is_signed ? static_cast<int8_t>(byte) : byte - 128;
  }
}

size_t packBytes(const Step& step) {
  const ByteWeights w = {intParam(step, kPackDepth), intParam(step, kPackColumns)};
  int64_t halves = 0;
  for (int64_t i = 0; kPairDots && i < w.panels() * w.words(); i++) {
    bool safe = true;
    for (int64_t n = i / w.words() * kPanel, end = n + kPanel; safe && n < end; n++) {
      int32_t values[4];
      wordOf(step, w, i % w.words(), n, values);
      safe = isSafeQuad(values);
    }
    halves += safe ? 0 : 1;
  }
  return static_cast<size_t>(w.bytesWith(halves));
}

/// Collects rows of halves while a packing is written, and puts them at its end.
struct HalfRows {
  std::vector<int32_t> begin, words, rows;

  /// Takes what is too much from a column's four weights of a word.
  void take(int64_t word, int64_t column, int32_t* values) {
    if (isSafeQuad(values)) return;
    if (static_cast<int64_t>(words.size()) == begin.back() || words.back() != word) {
      words.push_back(static_cast<int32_t>(word));
      rows.resize(rows.size() + kPanel);
    }
    rows[rows.size() - kPanel + static_cast<size_t>(column % kPanel)] = splitQuad(values);
  }
  void endPanel() { begin.push_back(static_cast<int32_t>(words.size())); }
  void write(int32_t* to) const {
    for (const std::vector<int32_t>* part : {&begin, &words, &rows}) to = std::copy(part->begin(), part->end(), to);
  }
};

void runPack(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  const ByteWeights w = {intParam(step, kPackDepth), intParam(step, kPackColumns)};
  const bool is_signed = intParam(step, kPackSigned) != 0;
  const int64_t scales = intParam(step, kPackScales), zeros = intParam(step, kPackZeros), padded = w.padded();
  float* scale = output<float>(step, 3);
  int32_t* sums = output<int32_t>(step, 3) + padded;
  int32_t* offsets = sums + padded;
  int8_t* to = reinterpret_cast<int8_t*>(offsets + padded);
  const int32_t shift = is_signed ? 0 : 128;
  for (int64_t n = 0; n < padded; n++) {
    const bool real = n < w.columns;
    scale[n] = real ? input<float>(step, 1)[scales == 1 ? 0 : n] : 0;
    sums[n] = 0;
    const uint8_t* zero = zeros ? input<uint8_t>(step, 2) + (zeros == 1 || !real ? 0 : n) : nullptr;
    offsets[n] = shift - (zero ? (is_signed ? static_cast<int8_t>(*zero) : *zero) : 0);
  }
  HalfRows halves;
  halves.endPanel();
  for (int64_t panel = 0; panel < w.panels(); panel++) {
    for (int64_t word = 0; word < w.words(); word++) {
      for (int64_t n = panel * kPanel; n < (panel + 1) * kPanel; n++) {
        int32_t values[4];
        wordOf(step, w, word, n, values);
        sums[n] += values[0] + values[1] + values[2] + values[3];
        if (kPairDots) halves.take(word, n, values);
        for (const int32_t value : values) *to++ = static_cast<int8_t>(value);
      }
    }
    halves.endPanel();
  }
  if (kPairDots) halves.write(reinterpret_cast<int32_t*>(to));
}

}  // namespace

// Of every row of x [rows][depth]: the least and the greatest value, 0 among them.
FILIGREE_KERNEL(rangeRows) = {"range.rows", "r:x w:y", "i:rows i:depth", checkRange, runRange, nullptr, nullptr, false};
// Rows of x as bytes between the least and the greatest value of all, by the ranges of range.rows.
FILIGREE_KERNEL(quantizeRows) = {
    "quantize.rows", "r:x r:ranges w:y", "i:rows i:depth", checkRows, runRows, nullptr, nullptr, false};
// y [rows][columns] = activation(x w + bias + residual) of x from quantize.rows and w of pack.matmul.bytes. `y` may be
// `residual`.
FILIGREE_KERNEL(matmulBytes) = {"matmul.bytes",
                                "r:x r:b r:bias? r:residual? w:y",
                                "i:rows i:depth i:columns i:activation f:alpha f:beta",
                                checkProduct,
                                runProduct,
                                nullptr,
                                nullptr,
                                false};
// Weights [depth][columns] of 8 bits with one scale, or `columns` of them, and as many zero points or none.
FILIGREE_KERNEL(packMatmulBytes) = {"pack.matmul.bytes",
                                    "r:weights r:scale r:zero? w:packing",
                                    "i:depth i:columns i:signed i:scales i:zeros",
                                    checkPack,
                                    runPack,
                                    packBytes,
                                    nullptr,
                                    false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
