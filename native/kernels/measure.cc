// What the arithmetic of this instruction set can reach: the yardstick of kernel benchmarks and hardware reports.
#include "kernels/kernel_support.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kChains = 12;

const char* checkFma(const Step& step, Work* work) {
  const int64_t rounds = intParam(step, 0);
  if (rounds < 0 || rounds > int64_t{1} << 32) return "measure.fma: rounds out of range";
  if (!holds(step, 0, kLanes, 4)) return "measure.fma: the result is too small";
  work->units = 1;
  work->cost = static_cast<double>(rounds) * 2;
  return nullptr;
}

void runFma(const Step& step, Range* range) {
  if (range->begin >= range->end) return;
  F32 sums[kChains];
  for (int i = 0; i < kChains; i++) sums[i] = set1(static_cast<float>(i));
  const F32 factor = set1(0.75f), term = set1(0.5f);
  const int64_t rounds = intParam(step, 0);
  for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; i++) sums[i] = fma(sums[i], factor, term);
  }
  F32 total = sums[0];
  for (int i = 1; i < kChains; i++) total += sums[i];
  store(output<float>(step, 0), total);
}

}  // namespace

// `rounds` times 12 independent multiply-adds of one vector.
FILIGREE_KERNEL(measureFma) = {"measure.fma.f32", "w:y", "i:rounds", checkFma, runFma, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
