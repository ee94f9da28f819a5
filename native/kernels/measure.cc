// What the arithmetic and the memory of this machine can reach: the yardstick of profiles and kernel benchmarks.
#include "kernels/kernel_support.h"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kChains = 12;
constexpr int kLoads = 8;
constexpr int64_t kLine = 64;

/// One unit for each line of the result.
int64_t unitsOf(const Step& step, int result) { return static_cast<int64_t>(step.operands[result].bytes) / kLine; }

bool roundsInRange(int64_t rounds) { return rounds >= 0 && rounds <= int64_t{1} << 32; }

const char* checkFma(const Step& step, Work* work) {
  const int64_t rounds = intParam(step, 0);
  if (!roundsInRange(rounds)) return "measure.fma: rounds out of range";
  work->units = unitsOf(step, 0);
  if (work->units < 1) return "measure.fma: the result is too small";
  work->cost = static_cast<double>(work->units) * static_cast<double>(rounds) * 2;
  return nullptr;
}

void runFma(const Step& step, Range* range) {
  const F32 factor = set1(0.75f), term = set1(0.5f);
  const int64_t rounds = intParam(step, 0);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    F32 sums[kChains];
    for (int i = 0; i < kChains; i++) sums[i] = set1(static_cast<float>(i));
    for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 12
      for (int i = 0; i < kChains; i++) sums[i] = fma(sums[i], factor, term);
    }
    F32 total = sums[0];
    for (int i = 1; i < kChains; i++) total += sums[i];
    store(output<float>(step, 0) + unit * (kLine / 4), total);
  }
}

/// Floats of one unit's slice: whole groups of loads.
int64_t sliceOf(const Step& step) {
  const int64_t floats = static_cast<int64_t>(step.operands[0].bytes) / 4 / unitsOf(step, 1);
  return floats / (kLoads * kLanes) * (kLoads * kLanes);
}

const char* checkLoad(const Step& step, Work* work) {
  const int64_t rounds = intParam(step, 0);
  if (!roundsInRange(rounds)) return "measure.load: rounds out of range";
  work->units = unitsOf(step, 1);
  if (work->units < 1) return "measure.load: the result is too small";
  work->cost = static_cast<double>(rounds) * static_cast<double>(step.operands[0].bytes) / 100;
  return nullptr;
}

void runLoad(const Step& step, Range* range) {
  const int64_t rounds = intParam(step, 0), slice = sliceOf(step);
  for (int64_t unit = range->begin; unit < range->end; unit++) {
    const float* from = input<float>(step, 0) + unit * slice;
    F32 sums[kLoads];
    for (int i = 0; i < kLoads; i++) sums[i] = set1(0.0f);
    for (int64_t round = 0; round < rounds; round++) {
      for (int64_t at = 0; at < slice; at += kLoads * kLanes) {
#pragma GCC unroll 8
        for (int i = 0; i < kLoads; i++) sums[i] += load(from + at + i * kLanes);
      }
    }
    F32 total = sums[0];
    for (int i = 1; i < kLoads; i++) total += sums[i];
    store(output<float>(step, 1) + unit * (kLine / 4), total);
  }
}

}  // namespace

// For each 64 bytes of y: `rounds` times 12 independent multiply-adds of one vector.
FILIGREE_KERNEL(measureFma) = {"measure.fma.f32", "w:y", "i:rounds", checkFma, runFma, nullptr, nullptr, false};

// For each 64 bytes of y: its share of x read `rounds` times. x is cut evenly; what is left over of a share of 8
// vectors is not read.
FILIGREE_KERNEL(measureLoad) = {"measure.load.f32", "r:x w:y", "i:rounds", checkLoad, runLoad, nullptr, nullptr, false};

}  // namespace FILIGREE_ISA
}  // namespace filigree
