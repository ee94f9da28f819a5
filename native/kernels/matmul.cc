// Row-major products of dense float32 matrices: y = activation(alpha * a b + bias + residual).
//
// A block of rows of `a` meets a panel of kPanel columns of `b`: accumulators stay in registers over a stretch of the
// depth, each step loads one line of the panel and broadcasts one number a row. Constant `b` is packed to panels once.
//
// Where several row blocks pass a panel, the stretch of it they meet stays in the first cache and the rows' part of a
// longer stretch (a slab) in the second. Sums between stretches wait in scratch memory.
#include "kernels/activation.h"
#include "kernels/kernel_support.h"
#include "simd/half.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

#if defined(FILIGREE_AVX512)
constexpr int kBlockRows = 14;
#else
constexpr int kBlockRows = 6;
#endif
constexpr int kPanelVectors = 2;
constexpr int kPanel = kPanelVectors * kLanes;
/// Rows that pass a panel together, and steps of the depth they go along it: the stretch and a row block's part fit the
/// first cache.
constexpr int64_t kChunkRows = 252;
constexpr int64_t kStretch = 224;
/// Floats of a chunk's rows within a slab, and of sums that wait for the next slab: together half the second cache.
constexpr int64_t kSlabFloats = 192 * 1024;
constexpr int64_t kSumFloats = 128 * 1024;
/// Rows whose stride is a multiple of this share sets of the first cache; copies of them lie this much further apart.
constexpr int64_t kAliasing = 1024;
constexpr int64_t kApart = 16;

enum { kA, kB, kBias, kResidual, kY };
enum {
  kRows,
  kDepth,
  kColumns,
  kStrideA,
  kStrideB,
  kPackedB,
  kAlpha,
  kActivation,
  kActivationAlpha,
  kActivationBeta,
  kScalars
};

struct Product {
  int64_t rows, depth, columns, stride_a, stride_b;
  bool packed;
  float alpha;
  int64_t activation;
  float activation_alpha, activation_beta;
  List a_offsets, b_offsets;

  FILIGREE_INLINE_MEMBER int64_t panels() const { return (columns + kPanel - 1) / kPanel; }
  FILIGREE_INLINE_MEMBER int64_t rowBlocks() const { return (rows + kBlockRows - 1) / kBlockRows; }
  FILIGREE_INLINE_MEMBER int64_t firstRow(int64_t block) const { return rows * block / rowBlocks(); }
  /// Rows that a chunk has at most.
  FILIGREE_INLINE_MEMBER int64_t chunkRows() const { return rows < kChunkRows ? rows : kChunkRows; }
  /// A single row block goes along the whole depth at once.
  FILIGREE_INLINE_MEMBER int64_t stretches() const {
    return rows <= kBlockRows ? 1 : (depth + kStretch - 1) / kStretch;
  }
  FILIGREE_INLINE_MEMBER int64_t slabs() const {
    const int64_t most = stretches(), wanted = chunkRows() * depth / kSlabFloats + 1;
    return wanted < most ? wanted : most;
  }
  /// Steps of a slab at most.
  FILIGREE_INLINE_MEMBER int64_t slabDepth() const { return slabs() ? (depth + slabs() - 1) / slabs() : 0; }
  FILIGREE_INLINE_MEMBER bool copiesRows() const { return stretches() > 1 && stride_a % kAliasing == 0; }
  /// Panels that go through a slab before the next.
  FILIGREE_INLINE_MEMBER int64_t panelGroup() const {
    if (slabs() <= 1) return 1;
    const int64_t group = kSumFloats / (chunkRows() * kPanel), all = panels();
    return group < all ? group : all;
  }
  FILIGREE_INLINE_MEMBER int64_t sumFloats() const { return stretches() > 1 ? chunkRows() * kPanel * panelGroup() : 0; }
  FILIGREE_INLINE_MEMBER int64_t scratchFloats() const {
    return sumFloats() + (copiesRows() ? chunkRows() * (slabDepth() + kApart) : 0);
  }
};

Product readProduct(const Step& step) {
  Product p;
  p.rows = intParam(step, kRows), p.depth = intParam(step, kDepth), p.columns = intParam(step, kColumns);
  p.stride_a = intParam(step, kStrideA), p.stride_b = intParam(step, kStrideB);
  p.packed = intParam(step, kPackedB) != 0;
  p.alpha = static_cast<float>(floatParam(step, kAlpha));
  p.activation = intParam(step, kActivation);
  p.activation_alpha = static_cast<float>(floatParam(step, kActivationAlpha));
  p.activation_beta = static_cast<float>(floatParam(step, kActivationBeta));
  p.a_offsets = listParam(step, kScalars, 0);
  p.b_offsets = listParam(step, kScalars, 1);
  return p;
}

/// Elements a matrix of `rows` x `columns` with this row stride reaches over.
int64_t reach(int64_t rows, int64_t columns, int64_t stride) {
  if (rows == 0 || columns == 0) return 0;
  const int64_t before = product(rows - 1, stride);
  return before < 0 || stride < columns ? -1 : before + columns;
}

bool holdsMatrices(const Step& step, int k, List offsets, int64_t elements) {
  for (int64_t i = 0; i < offsets.count; i++) {
    int64_t end;
    if (offsets.items[i] < 0 || __builtin_add_overflow(offsets.items[i], elements, &end)) return false;
    if (!holds(step, k, end, 4)) return false;
  }
  return true;
}

const char* checkProduct(const Step& step, Work* work) {
  const Product p = readProduct(step);
  const int64_t limit = int64_t{1} << 40;
  if (p.rows < 0 || p.depth < 0 || p.columns < 0 || p.rows > limit || p.depth > limit || p.columns > limit) {
    return "sizes are out of range";
  }
  if (p.a_offsets.count != p.b_offsets.count) return "as many matrices of a as of b are needed";
  if (!knownActivation(p.activation)) return "no such activation";
  const int64_t a_elements = reach(p.rows, p.depth, p.stride_a);
  if (a_elements < 0 || !holdsMatrices(step, kA, p.a_offsets, a_elements)) return "a is smaller than its sizes say";
  const int64_t b_elements =
      p.packed ? product(product(p.panels(), p.depth), kPanel) : reach(p.depth, p.columns, p.stride_b);
  if (b_elements < 0 || !holdsMatrices(step, kB, p.b_offsets, b_elements)) return "b is smaller than its sizes say";
  const int64_t y_elements = product(product(p.rows, p.columns), p.a_offsets.count);
  if (!holds(step, kY, y_elements, 4)) return "y is smaller than its sizes say";
  if (step.operands[kBias].bytes && !holds(step, kBias, p.columns, 4)) return "bias is smaller than the columns";
  if (step.operands[kResidual].bytes && !holds(step, kResidual, y_elements, 4)) return "residual is smaller than y";
  work->units = product(product(p.a_offsets.count, p.panels()), p.rowBlocks());
  if (work->units < 0) return "sizes are out of range";
  const double steps = static_cast<double>(work->units) * static_cast<double>(p.depth);
  const double busy = p.rows < kBlockRows ? static_cast<double>(p.rows) : kBlockRows;
  // Two multiply-adds a cycle when rows are many; otherwise the panel's lines come at memory speed.
  work->cost = steps * (busy > 2 ? busy * kPanelVectors / 2 : 4.0) * 0.3;
  work->scratch = static_cast<size_t>(p.scratchFloats()) * 4;
  return nullptr;
}

/// Where one block of results goes and what joins it there.
struct Target {
  float* y;
  const float* residual;
  const float* bias;
  int64_t stride;
  int width;  // columns of this panel
};

template <int rows>
FILIGREE_INLINE void finishBlock(const Product& p, F32 (&acc)[rows][kPanelVectors], const Target& t) {
  for (int v = 0; v < kPanelVectors; v++) {
    const int lanes = t.width - v * kLanes < kLanes ? t.width - v * kLanes : kLanes;
    if (lanes <= 0) break;
    const F32 bias = t.bias ? loadN(t.bias + v * kLanes, lanes) : zero();
    for (int r = 0; r < rows; r++) {
      const int64_t at = r * t.stride + v * kLanes;
      F32 sum = fma(acc[r][v], set1(p.alpha), bias);
      if (t.residual) sum = sum + loadN(t.residual + at, lanes);
      storeN(t.y + at, apply(sum, p.activation, p.activation_alpha, p.activation_beta), lanes);
    }
  }
}

/// A row block and a stretch of a panel.
struct Piece {
  const float* a;
  const float* b;
  int64_t stride_a, stride_b, depth;
  /// Sums of earlier stretches, and whether this is the first and the last.
  float* sums;
  bool first, last;
  /// What later pieces read of `b`, fetched along the way at this pace: floats a step.
  const float* next;
  int64_t pace;
};

/// `whole`: both vectors of the panel may be loaded in full.
template <int rows, bool whole>
FILIGREE_INLINE void runBlock(const Product& p, const Piece& piece, const Target& t) {
  F32 acc[rows][kPanelVectors];
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < kPanelVectors; v++) {
      acc[r][v] = piece.first ? zero() : load(piece.sums + r * kPanel + v * kLanes);
    }
  }
  const int first = t.width < kLanes ? t.width : kLanes;
  const int second = t.width - first;
  const float *a = piece.a, *line = piece.b, *next = piece.next;
  const int64_t stride = piece.stride_a;
  for (int64_t k = 0; k < piece.depth; k++, line += piece.stride_b, next += piece.pace) {
    __builtin_prefetch(next, 0, 2);
    const F32 b0 = whole ? load(line) : loadN(line, first);
    const F32 b1 = whole ? load(line + kLanes) : loadN(line + first, second);
    for (int r = 0; r < rows; r++) {
      const F32 x = set1(a[r * stride + k]);
      acc[r][0] = fma(x, b0, acc[r][0]);
      acc[r][1] = fma(x, b1, acc[r][1]);
    }
  }
  if (piece.last) return finishBlock<rows>(p, acc, t);
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < kPanelVectors; v++) store(piece.sums + r * kPanel + v * kLanes, acc[r][v]);
  }
}

template <bool whole>
void runRows(const Product& p, int64_t rows, const Piece& piece, const Target& t) {
  switch (rows) {
#define ROWS(n) \
  case n:       \
    return runBlock<n, whole>(p, piece, t);
    ROWS(1)
    ROWS(2)
    ROWS(3)
    ROWS(4)
    ROWS(5)
    ROWS(6)
#if defined(FILIGREE_AVX512)
    ROWS(7)
    ROWS(8)
    ROWS(9)
    ROWS(10)
    ROWS(11)
    ROWS(12)
    ROWS(13)
    ROWS(14)
#endif
#undef ROWS
    default:
      return;
  }
}

/// Row blocks and panels of one matrix.
struct Rectangle {
  int64_t matrix, block, blocks, panel, panels;
};

/// The rectangle of units that begins at `unit`: whole panels, or row blocks of one.
Rectangle rectangleAt(const Product& p, int64_t unit, int64_t end) {
  const int64_t blocks = p.rowBlocks(), panels = p.panels();
  const int64_t block = unit % blocks, panel = unit / blocks % panels, left = end - unit;
  const int64_t matrix = unit / blocks / panels;
  if (block || left < blocks) return {matrix, block, left < blocks - block ? left : blocks - block, panel, 1};
  return {matrix, 0, blocks, panel, left / blocks < panels - panel ? left / blocks : panels - panel};
}

/// A part of the depth: stretch or slab.
struct Span {
  int64_t begin, end;
};

Span partOf(Span whole, int64_t part, int64_t parts) {
  const int64_t length = whole.end - whole.begin;
  return {whole.begin + length * part / parts, whole.begin + length * (part + 1) / parts};
}

/// What the loops over a rectangle share.
struct Place {
  const float *a, *b;
  int64_t stride_a, matrix;
  float* sums;
};

/// One stretch of one panel for the row blocks of `chunk`.
void runStretch(const Step& step, const Product& p, const Rectangle& chunk, const Place& place, Span depth,
                const float* next) {
  const int64_t column = chunk.panel * kPanel, begin = p.firstRow(chunk.block);
  const int64_t width = p.columns - column < kPanel ? p.columns - column : kPanel;
  const bool has_bias = step.operands[kBias].bytes != 0, has_residual = step.operands[kResidual].bytes != 0;
  Piece piece;
  piece.stride_a = place.stride_a, piece.stride_b = p.packed ? kPanel : p.stride_b;
  piece.b = place.b + (p.packed ? (chunk.panel * p.depth + depth.begin) * kPanel : depth.begin * p.stride_b + column);
  piece.depth = depth.end - depth.begin;
  piece.first = depth.begin == 0, piece.last = depth.end == p.depth;
  piece.pace = next ? (kPanel + chunk.blocks - 1) / chunk.blocks : 0;
  for (int64_t i = 0; i < chunk.blocks; i++) {
    const int64_t first = p.firstRow(chunk.block + i), rows = p.firstRow(chunk.block + i + 1) - first;
    const int64_t at = (chunk.matrix * p.rows + first) * p.columns + column;
    piece.a = place.a + (first - begin) * place.stride_a;
    piece.sums = place.sums + (first - begin) * kPanel;
    piece.next = next ? next + i * piece.pace * piece.depth : piece.b;
    const Target target = {output<float>(step, kY) + at, has_residual ? input<float>(step, kResidual) + at : nullptr,
                           has_bias ? input<float>(step, kBias) + column : nullptr, p.columns, static_cast<int>(width)};
    if (p.packed || width == kPanel) {
      runRows<true>(p, rows, piece, target);
    } else {
      runRows<false>(p, rows, piece, target);
    }
  }
}

/// Some panels through a slab: every stretch of a panel meets the chunk's row blocks.
void runSlab(const Step& step, const Product& p, const Rectangle& chunk, const Place& place, Span slab) {
  const int64_t length = slab.end - slab.begin, stretches = p.stretches() > 1 ? (length + kStretch - 1) / kStretch : 1;
  for (int64_t i = 0; i < chunk.panels; i++) {
    const int64_t panel = chunk.panel + i;
    Place at = place;
    if (p.slabs() > 1) at.sums += i * p.chunkRows() * kPanel;
    for (int64_t s = 0; s < stretches; s++) {
      const Span depth = partOf(slab, s, stretches);
      at.a = place.a + (depth.begin - slab.begin);
      // The panel goes on in memory; behind the slab's part of it comes that of the next panel.
      const int64_t line = s + 1 < stretches ? panel * p.depth + depth.end : (panel + 1) * p.depth + slab.begin;
      const bool fetches = p.packed && line + kStretch <= p.panels() * p.depth;
      runStretch(step, p, {chunk.matrix, chunk.block, chunk.blocks, panel, 1}, at, depth,
                 fetches ? place.b + line * kPanel : nullptr);
    }
  }
}

void copyRows(const float* from, int64_t stride, int64_t rows, int64_t depth, float* to) {
  for (int64_t r = 0; r < rows; r++) std::memcpy(to + r * (depth + kApart), from + r * stride, depth * 4);
}

/// A chunk of row blocks, in groups of panels whose sums wait together.
void runChunk(const Step& step, const Product& p, const Rectangle& chunk, float* scratch) {
  const int64_t group = p.slabs() > 1 ? p.panelGroup() : chunk.panels;
  const int64_t begin = p.firstRow(chunk.block), rows = p.firstRow(chunk.block + chunk.blocks) - begin;
  const float* a = input<float>(step, kA) + p.a_offsets.items[chunk.matrix] + begin * p.stride_a;
  float* copied = scratch + p.sumFloats();
  Place place = {a, input<float>(step, kB) + p.b_offsets.items[chunk.matrix], p.stride_a, chunk.matrix, scratch};
  for (int64_t i = 0; i < chunk.panels; i += group) {
    const int64_t panels = chunk.panels - i < group ? chunk.panels - i : group;
    for (int64_t s = 0; s < p.slabs() || s == 0; s++) {
      const Span slab = p.slabs() ? partOf({0, p.depth}, s, p.slabs()) : Span{0, 0};
      place.a = a + slab.begin;
      if (p.copiesRows()) {
        copyRows(place.a, p.stride_a, rows, slab.end - slab.begin, copied);
        place.a = copied, place.stride_a = slab.end - slab.begin + kApart;
      }
      runSlab(step, p, {chunk.matrix, chunk.block, chunk.blocks, chunk.panel + i, panels}, place, slab);
    }
  }
}

void runProduct(const Step& step, Range* range) {
  const Product p = readProduct(step);
  for (int64_t unit = range->begin; unit < range->end;) {
    const Rectangle all = rectangleAt(p, unit, range->end);
    Rectangle chunk = all;
    for (int64_t done = 0; done < all.blocks; done += chunk.blocks) {
      const int64_t most = kChunkRows / kBlockRows;
      chunk.block = all.block + done;
      chunk.blocks = all.blocks - done < most ? all.blocks - done : most;
      runChunk(step, p, chunk, reinterpret_cast<float*>(range->scratch));
    }
    unit += all.blocks * all.panels;
  }
}

enum { kPackDepth, kPackColumns, kPackTransposed, kPackType };

const char* checkPack(const Step& step, Work* work) {
  const int64_t depth = intParam(step, kPackDepth), columns = intParam(step, kPackColumns);
  const int64_t bytes = floatTypeBytes(intParam(step, kPackType));
  if (bytes == 0) return "no such type of weights";
  if (!holds(step, 0, product(depth, columns), bytes)) return "the weights are smaller than their sizes say";
  work->units = 1;
  work->cost = static_cast<double>(depth) * static_cast<double>(columns);
  work->scratch = 0;
  return nullptr;
}

size_t packBytes(const Step& step) {
  const int64_t depth = intParam(step, kPackDepth), columns = intParam(step, kPackColumns);
  return static_cast<size_t>((columns + kPanel - 1) / kPanel * kPanel * depth * 4);
}

/// Source [depth][columns], or [columns][depth] where transposed, of ONNX's type number `type`; result
/// [panel][depth][kPanel], missing columns zero.
void runPack(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  const int64_t depth = intParam(step, kPackDepth), columns = intParam(step, kPackColumns);
  const bool transposed = intParam(step, kPackTransposed) != 0;
  const int64_t type = intParam(step, kPackType);
  const uint8_t* source = input<uint8_t>(step, 0);
  float* packed = output<float>(step, 1);
  for (int64_t column = 0; column < columns; column += kPanel) {
    for (int64_t k = 0; k < depth; k++) {
      for (int64_t c = column; c < column + kPanel; c++) {
        *packed++ = c >= columns ? 0 : elementAsFloat(source, type, transposed ? c * depth + k : k * columns + c);
      }
    }
  }
}

}  // namespace

// y[i] = activation(alpha * a[i] b[i] + bias + residual[i]) for the matrices that begin at the listed offsets
// (elements) of a [rows][depth] with row stride stride_a and b [depth][columns]; y and residual are dense, one after
// the other. With packed_b, b is a packing of pack.matmul.f32. `y` may be `residual`.
FILIGREE_KERNEL(matmulF32) = {"matmul.f32",
                              "r:a r:b r:bias? r:residual? w:y",
                              "i:rows i:depth i:columns i:stride_a i:stride_b i:packed_b f:alpha "
                              "i:activation f:activation_alpha f:activation_beta l:a_offsets l:b_offsets",
                              checkProduct,
                              runProduct,
                              nullptr,
                              nullptr,
                              false};
FILIGREE_KERNEL(packMatmulF32) = {"pack.matmul.f32",
                                  "r:weights w:packing",
                                  "i:depth i:columns i:transposed i:type",
                                  checkPack,
                                  runPack,
                                  packBytes,
                                  nullptr,
                                  false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
