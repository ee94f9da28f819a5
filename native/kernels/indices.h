// Index operands: int32 or int64, negative ones counted from the end.
#pragma once
#include "kernels/kernel_support.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr const char* kOutOfRange = "an index is out of range";

/// Index i of an operand of `bytes`-byte indices; -1 outside [-size, size).
FILIGREE_INLINE int64_t indexAt(const uint8_t* indices, int64_t bytes, int64_t i, int64_t size) {
  int64_t index;
  if (bytes == 8) {
    std::memcpy(&index, indices + i * 8, 8);
  } else {
    int32_t narrow;
    std::memcpy(&narrow, indices + i * 4, 4);
    index = narrow;
  }
  if (index < 0) index += size;
  return index >= 0 && index < size ? index : -1;
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
