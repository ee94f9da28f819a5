// Sparse matrices by rows, for products with few vectors: there the weights are all that has to be read.
//
// The packing: SparseRows, then for each row the end of its nonzeros [rows] (uint32), the nonzeros' weights (float),
// and their columns (uint16, or uint32 where there are more than 65536 columns), row after row.
#pragma once
#include "kernels/kernel_support.h"
#include "simd/line.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

struct SparseRows {
  uint64_t magic;
  int64_t rows, columns, nonzeros;
};

constexpr uint64_t kSparseRowsMagic = 0x3173776f72736a66;
constexpr int64_t kNarrowColumns = 1 << 16;

FILIGREE_INLINE int64_t sparseRowsBytes(int64_t rows, int64_t columns, int64_t nonzeros) {
  return static_cast<int64_t>(sizeof(SparseRows)) + 4 * rows + nonzeros * (columns <= kNarrowColumns ? 6 : 8);
}

/// One row: n weights and where their columns stand.
template <class Index>
struct SparseRow {
  const float* weights;
  const Index* columns;
  int64_t n;
};

/// The parts of a packing.
template <class Index>
struct SparseMatrix {
  const uint32_t* ends;
  const float* weights;
  const Index* columns;

  FILIGREE_INLINE_MEMBER SparseRow<Index> row(int64_t i) const {
    const int64_t begin = i == 0 ? 0 : ends[i - 1];
    return {weights + begin, columns + begin, static_cast<int64_t>(ends[i]) - begin};
  }
};

/// Null where the operand is no packing of this matrix.
FILIGREE_INLINE const SparseRows* sparseRowsOf(const Operand& operand, int64_t rows, int64_t columns) {
  const SparseRows* const header = reinterpret_cast<const SparseRows*>(operand.data);
  if (operand.bytes < sizeof *header || header->magic != kSparseRowsMagic) return nullptr;
  if (header->rows != rows || header->columns != columns) return nullptr;
  const int64_t bytes = sparseRowsBytes(rows, columns, header->nonzeros);
  return static_cast<uint64_t>(bytes) <= operand.bytes ? header : nullptr;
}

template <class Index>
FILIGREE_INLINE SparseMatrix<Index> sparseMatrix(const SparseRows* header) {
  const uint32_t* const ends = reinterpret_cast<const uint32_t*>(header + 1);
  const float* const weights = reinterpret_cast<const float*>(ends + header->rows);
  return {ends, weights, reinterpret_cast<const Index*>(weights + header->nonzeros)};
}

FILIGREE_INLINE float fmaOne(float a, float b, float c) {
#if defined(FILIGREE_AVX512) || defined(FILIGREE_AVX2)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

#if defined(FILIGREE_AVX512)
FILIGREE_INLINE __m512i loadColumns(const uint16_t* columns, __mmask16 lanes) {
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, columns));
}

FILIGREE_INLINE __m512i loadColumns(const uint32_t* columns, __mmask16 lanes) {
  return _mm512_maskz_loadu_epi32(lanes, columns);
}

/// The row times a vector, 16 nonzeros at once: the last ones under a mask, for rows have all lengths and a loop over
/// what is left would be mispredicted at each.
template <class Index>
FILIGREE_INLINE float dotVector(const SparseRow<Index>& row, const float* x) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < row.n; i += 16) {
    const int64_t left = row.n - i;
    const __mmask16 lanes = static_cast<__mmask16>(left < 16 ? (1 << left) - 1 : 0xffff);
    const __m512i columns = loadColumns(row.columns + i, lanes);
    const __m512 values = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, columns, x, 4);
    sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(lanes, row.weights + i), values, sum);
  }
  return _mm512_reduce_add_ps(sum);
}
#else
/// The row times a vector. Four sums in turn, as for lines: a chain of additions would wait for each.
template <class Index>
FILIGREE_INLINE float dotVector(const SparseRow<Index>& row, const float* x) {
  float sums[4] = {};
  int64_t i = 0;
  for (; i + 4 <= row.n; i += 4) {
    FILIGREE_UNROLL
    for (int u = 0; u < 4; u++) sums[u] = fmaOne(row.weights[i + u], x[row.columns[i + u]], sums[u]);
  }
  for (; i < row.n; i++) sums[0] = fmaOne(row.weights[i], x[row.columns[i]], sums[0]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}
#endif

/// The row times 16 vectors that lie side by side: x [columns][16].
template <class Index>
FILIGREE_INLINE Line dotLines(const SparseRow<Index>& row, const float* x) {
  Line sums[4] = {setLine(0), setLine(0), setLine(0), setLine(0)};
  const auto add = [&](int64_t i, int u) {
    sums[u] = fma(setLine(row.weights[i]), loadLine(x + int64_t{row.columns[i]} * kLine), sums[u]);
  };
  int64_t i = 0;
  for (; i + 4 <= row.n; i += 4) {
    FILIGREE_UNROLL
    for (int u = 0; u < 4; u++) add(i + u, u);
  }
  for (; i < row.n; i++) add(i, 0);
  for (int v = 0; v < kLineVectors; v++) {
    sums[0].v[v] = (sums[0].v[v] + sums[1].v[v]) + (sums[2].v[v] + sums[3].v[v]);
  }
  return sums[0];
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
