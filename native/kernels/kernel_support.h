// What every kernel source needs: parameter access and the naming of definitions. Include only from kernel sources.
#pragma once
#include "engine/kernel.h"
#include "simd/vec.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

FILIGREE_INLINE int64_t intParam(const Step& step, int k) { return step.words[k]; }

FILIGREE_INLINE double floatParam(const Step& step, int k) {
  double value;
  std::memcpy(&value, step.words + k, sizeof value);
  return value;
}

/// A list parameter: `count` items.
struct List {
  const int64_t* items;
  int64_t count;
};

/// List number `k` of a kernel with `scalars` scalar parameters. The decoder has checked that it is there.
FILIGREE_INLINE List listParam(const Step& step, int scalars, int k) {
  const int64_t* at = step.words + scalars;
  for (int i = 0; i < k; i++) at += 1 + *at;
  return {at + 1, *at};
}

template <class T>
FILIGREE_INLINE const T* input(const Step& step, int k) {
  return reinterpret_cast<const T*>(step.operands[k].data);
}

template <class T>
FILIGREE_INLINE T* output(const Step& step, int k) {
  return reinterpret_cast<T*>(step.operands[k].data);
}

/// True where operand k has room for `count` elements of `size` bytes; false for negative or overflowing counts.
FILIGREE_INLINE bool holds(const Step& step, int k, int64_t count, int64_t size) {
  int64_t bytes;
  return count >= 0 && !__builtin_mul_overflow(count, size, &bytes) &&
         static_cast<uint64_t>(bytes) <= step.operands[k].bytes;
}

/// a * b, or -1 where either is negative or the product overflows.
FILIGREE_INLINE int64_t product(int64_t a, int64_t b) {
  int64_t result;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result)) return -1;
  return result;
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree

/// Defines the kernel that kernels.inc lists as `id`.
#define FILIGREE_KERNEL(id) extern const KernelDef id; const KernelDef id
