// Row-major products of dense float32 matrices: y = activation(alpha * a b + bias + residual).
//
// A block of rows of `a` meets a panel of kPanel columns of `b`: accumulators stay in registers over the whole depth,
// each step loads one line of the panel and broadcasts one number a row. Constant `b` is packed to panels once.
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
  work->scratch = 0;
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

/// `whole`: both vectors of the panel may be loaded in full.
template <int rows, bool whole>
FILIGREE_INLINE void runBlock(const Product& p, const float* a, const float* b, int64_t stride_b, const Target& t) {
  F32 acc[rows][kPanelVectors];
  for (int r = 0; r < rows; r++) {
    for (int v = 0; v < kPanelVectors; v++) acc[r][v] = zero();
  }
  const int first = t.width < kLanes ? t.width : kLanes;
  const int second = t.width - first;
  for (int64_t k = 0; k < p.depth; k++) {
    const float* line = b + k * stride_b;
    const F32 b0 = whole ? load(line) : loadN(line, first);
    const F32 b1 = whole ? load(line + kLanes) : loadN(line + first, second);
    for (int r = 0; r < rows; r++) {
      const F32 x = set1(a[r * p.stride_a + k]);
      acc[r][0] = fma(x, b0, acc[r][0]);
      acc[r][1] = fma(x, b1, acc[r][1]);
    }
  }
  finishBlock<rows>(p, acc, t);
}

template <bool whole>
void runRows(const Product& p, int64_t rows, const float* a, const float* b, int64_t stride_b, const Target& t) {
  switch (rows) {
#define ROWS(n) \
  case n:       \
    return runBlock<n, whole>(p, a, b, stride_b, t);
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

void runProduct(const Step& step, Range* range) {
  const Product p = readProduct(step);
  const int64_t panels = p.panels(), blocks = p.rowBlocks();
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    // Row blocks run fastest: a panel stays in cache while the rows pass it.
    const int64_t block = unit % blocks, panel = unit / blocks % panels, matrix = unit / blocks / panels;
    const int64_t first = p.rows * block / blocks, last = p.rows * (block + 1) / blocks;
    const int64_t column = panel * kPanel;
    const float* a = input<float>(step, kA) + p.a_offsets.items[matrix] + first * p.stride_a;
    const float* b =
        input<float>(step, kB) + p.b_offsets.items[matrix] + (p.packed ? panel * p.depth * kPanel : column);
    const int64_t at = (matrix * p.rows + first) * p.columns + column;
    const bool has_bias = step.operands[kBias].bytes != 0, has_residual = step.operands[kResidual].bytes != 0;
    const int width = p.columns - column < kPanel ? static_cast<int>(p.columns - column) : kPanel;
    const Target target = {output<float>(step, kY) + at, has_residual ? input<float>(step, kResidual) + at : nullptr,
                           has_bias ? input<float>(step, kBias) + column : nullptr, p.columns, width};
    if (p.packed) {
      runRows<true>(p, last - first, a, b, kPanel, target);
    } else if (width == kPanel) {
      runRows<true>(p, last - first, a, b, p.stride_b, target);
    } else {
      runRows<false>(p, last - first, a, b, p.stride_b, target);
    }
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

/// Source [depth][columns], or [columns][depth] where transposed, of ONNX's type number `type`; result [panel][depth][kPanel], missing columns zero.
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
