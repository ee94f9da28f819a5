// Products of few rows with a constant sparse matrix: y = activation(x w + bias + residual).
//
// A row alone is multiplied as it lies. Several go side by side in lines, so that a nonzero is read once for 16 of
// them.
#include "kernels/activation.h"
#include "kernels/sparse_rows.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

/// Columns of y that make a unit.
constexpr int64_t kUnitColumns = 16;

enum { kX, kW, kBias, kResidual, kY };
enum { kRows, kDepth, kColumns, kActivation, kAlpha, kBeta, kDensity };

struct Product {
  int64_t rows, depth, columns, activation;
  float alpha, beta;

  FILIGREE_INLINE_MEMBER int64_t columnUnits() const { return (columns + kUnitColumns - 1) / kUnitColumns; }
  FILIGREE_INLINE_MEMBER int64_t rowBlocks() const { return (rows + kLine - 1) / kLine; }
};

Product readProduct(const Step& step) {
  Product p;
  p.rows = intParam(step, kRows), p.depth = intParam(step, kDepth), p.columns = intParam(step, kColumns);
  p.activation = intParam(step, kActivation);
  p.alpha = static_cast<float>(floatParam(step, kAlpha)), p.beta = static_cast<float>(floatParam(step, kBeta));
  return p;
}

const char* checkProduct(const Step& step, Work* work) {
  const Product p = readProduct(step);
  const int64_t limit = int64_t{1} << 31;
  if (p.rows < 0 || p.depth < 0 || p.columns < 0 || p.rows > limit || p.depth > limit || p.columns > limit) {
    return "sizes are out of range";
  }
  if (!knownActivation(p.activation)) return "no such activation";
  const double density = floatParam(step, kDensity);
  if (!(density >= 0 && density <= 1)) return "density lies between 0 and 1";
  if (!holds(step, kX, product(p.rows, p.depth), 4)) return "x is smaller than its sizes say";
  if (!holds(step, kW, sparseRowsBytes(p.columns, p.depth, 0), 1)) return "the packing is cut short";
  if (step.operands[kBias].bytes && !holds(step, kBias, p.columns, 4)) return "bias is smaller than the columns";
  const int64_t results = product(p.rows, p.columns);
  if (step.operands[kResidual].bytes && !holds(step, kResidual, results, 4)) return "residual is smaller than y";
  if (!holds(step, kY, results, 4)) return "y is smaller than its sizes say";
  work->units = product(p.columnUnits(), p.rowBlocks());
  const double nonzeros = static_cast<double>(p.depth) * static_cast<double>(p.columns) * density;
  work->cost = static_cast<double>(p.rowBlocks()) * nonzeros * (p.rows > 1 ? 0.6 : 0.4);
  work->scratch = p.rows > 1 ? static_cast<size_t>(p.depth * kLine) * 4 : 0;
  return nullptr;
}

/// Rows [first, first + count) of x side by side: [depth][16]; lines of missing rows are zero.
void placeRows(const Product& p, const float* x, int64_t first, int64_t count, float* lines) {
  for (int64_t k = 0; k < p.depth; k++) {
    for (int64_t r = 0; r < kLine; r++) lines[k * kLine + r] = r < count ? x[(first + r) * p.depth + k] : 0;
  }
}

/// Columns [column, column + n) of the rows of a block, from sums [n][stride].
void finish(const Step& step, const Product& p, int64_t row, int64_t rows, int64_t column, int n, const float* sums,
            int64_t stride) {
  const float* const bias = step.operands[kBias].bytes ? input<float>(step, kBias) + column : nullptr;
  const bool has_residual = step.operands[kResidual].bytes != 0;
  for (int64_t r = 0; r < rows; r++) {
    const int64_t at = (row + r) * p.columns + column;
    float values[kUnitColumns] = {};
    for (int i = 0; i < n; i++) {
      values[i] = sums[i * stride + r] + (bias ? bias[i] : 0);
      if (has_residual) values[i] += input<float>(step, kResidual)[at + i];
    }
    applyRow(values, kUnitColumns, p.activation, p.alpha, p.beta);
    std::memcpy(output<float>(step, kY) + at, values, static_cast<size_t>(n) * 4);
  }
}

template <class Index>
void multiply(const Step& step, const Product& p, const SparseRows* header, Range* range) {
  const SparseMatrix<Index> matrix = sparseMatrix<Index>(header);
  const float* const x = input<float>(step, kX);
  float* const lines = reinterpret_cast<float*>(range->scratch);
  int64_t placed = -1;
  alignas(64) float sums[kUnitColumns * kLine];
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const int64_t block = unit / p.columnUnits(), row = block * kLine, column = unit % p.columnUnits() * kUnitColumns;
    const int64_t rows = p.rows - row < kLine ? p.rows - row : kLine;
    const int n = static_cast<int>(p.columns - column < kUnitColumns ? p.columns - column : kUnitColumns);
    if (rows == 1) {
      for (int i = 0; i < n; i++) sums[i] = dotVector(matrix.row(column + i), x + row * p.depth);
      finish(step, p, row, rows, column, n, sums, 1);
      continue;
    }
    if (placed != block) placeRows(p, x, row, rows, lines);
    placed = block;
    for (int i = 0; i < n; i++) storeLine(sums + i * kLine, dotLines(matrix.row(column + i), lines));
    finish(step, p, row, rows, column, n, sums, kLine);
  }
}

void runProduct(const Step& step, Range* range) {
  const Product p = readProduct(step);
  const SparseRows* const header = sparseRowsOf(step.operands[kW], p.columns, p.depth);
  if (!header) {
    range->error = "the packing was made for another product";
  } else if (p.depth <= kNarrowColumns) {
    multiply<uint16_t>(step, p, header, range);
  } else {
    multiply<uint32_t>(step, p, header, range);
  }
}

enum { kPackDepth, kPackColumns, kPackTransposed };

const char* checkPack(const Step& step, Work* work) {
  const int64_t depth = intParam(step, kPackDepth), columns = intParam(step, kPackColumns);
  const int64_t limit = int64_t{1} << 31;
  if (depth < 0 || columns < 0 || depth > limit || columns > limit) return "sizes are out of range";
  const int64_t weights = product(depth, columns);
  if (!holds(step, 0, weights, 4)) return "the weights are smaller than their sizes say";
  if (weights > UINT32_MAX) return "too many weights";
  work->units = 1;
  work->cost = static_cast<double>(weights) * 2;
  work->scratch = 0;
  return nullptr;
}

/// Calls visit(row, column, weight) for every nonzero, by rows of the packing: columns of the product.
template <class Visit>
void eachNonzero(const Step& step, Visit visit) {
  const int64_t depth = intParam(step, kPackDepth), columns = intParam(step, kPackColumns);
  const bool transposed = intParam(step, kPackTransposed) != 0;
  const float* const weights = input<float>(step, 0);
  for (int64_t c = 0; c < columns; c++) {
    for (int64_t k = 0; k < depth; k++) {
      const float w = weights[transposed ? c * depth + k : k * columns + c];
      if (w != 0) visit(c, k, w);
    }
  }
}

size_t packBytes(const Step& step) {
  int64_t nonzeros = 0;
  eachNonzero(step, [&](int64_t, int64_t, float) { nonzeros++; });
  return static_cast<size_t>(sparseRowsBytes(intParam(step, kPackColumns), intParam(step, kPackDepth), nonzeros));
}

template <class Index>
void fill(const Step& step, SparseRows* header) {
  uint32_t* const ends = reinterpret_cast<uint32_t*>(header + 1);
  float* const weights = reinterpret_cast<float*>(ends + header->rows);
  Index* const columns = reinterpret_cast<Index*>(weights + header->nonzeros);
  std::memset(ends, 0, static_cast<size_t>(header->rows) * 4);
  int64_t at = 0;
  eachNonzero(step, [&](int64_t row, int64_t column, float w) {
    if (at < header->nonzeros) weights[at] = w, columns[at] = static_cast<Index>(column), ends[row]++, at++;
  });
  for (int64_t row = 1; row < header->rows; row++) ends[row] += ends[row - 1];
}

void runPack(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  const int64_t depth = intParam(step, kPackDepth), columns = intParam(step, kPackColumns);
  const int64_t width = depth <= kNarrowColumns ? 6 : 8;
  const int64_t bytes = static_cast<int64_t>(step.operands[1].bytes);
  SparseRows* const header = output<SparseRows>(step, 1);
  *header = {kSparseRowsMagic, columns, depth, (bytes - sparseRowsBytes(columns, depth, 0)) / width};
  if (depth <= kNarrowColumns)
    fill<uint16_t>(step, header);
  else
    fill<uint32_t>(step, header);
}

}  // namespace

// y [rows][columns] of x [rows][depth] and a packing of pack.matmul.sparse.f32; `y` may be `residual`. `density` of the
// weights, for what the step will cost.
FILIGREE_KERNEL(matmulSparseF32) = {"matmul.sparse.f32",
                                    "r:x r:w r:bias? r:residual? w:y",
                                    "i:rows i:depth i:columns i:activation f:alpha f:beta f:density",
                                    checkProduct,
                                    runProduct,
                                    nullptr,
                                    nullptr,
                                    false};
// Weights [depth][columns], or [columns][depth] where transposed.
FILIGREE_KERNEL(packMatmulSparseF32) = {"pack.matmul.sparse.f32",
                                        "r:weights w:packing",
                                        "i:depth i:columns i:transposed",
                                        checkPack,
                                        runPack,
                                        packBytes,
                                        nullptr,
                                        false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
