// Work split by rows: as many as make up a fair unit.
#pragma once
#include "kernels/space.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

FILIGREE_INLINE int64_t rowsPerUnit(int64_t rowElements) {
  return rowElements >= kUnitElements ? 1 : kUnitElements / (rowElements > 0 ? rowElements : 1);
}

/// Work of `rows` rows of `rowElements` elements.
FILIGREE_INLINE void rowWork(int64_t rows, int64_t rowElements, double nsPerElement, Work* work) {
  const int64_t group = rowsPerUnit(rowElements);
  work->units = rows / group + (rows % group != 0);
  work->cost = static_cast<double>(rows) * (static_cast<double>(rowElements) * nsPerElement + 4);
  work->scratch = 0;
}

/// Rows [begin, end) of a range of such units.
struct Rows {
  int64_t begin, end;
};
FILIGREE_INLINE Rows rowsOf(const Range& range, int64_t rows, int64_t rowElements) {
  const int64_t group = rowsPerUnit(rowElements);
  return {range.begin * group, range.end * group < rows ? range.end * group : rows};
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
