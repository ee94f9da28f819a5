// Parameters of the packers of sparse float32 weights.
#pragma once
#include "jit/sparse.h"
#include "kernels/sparse_driver.h"

///   taps: product of the kernel's sizes. transposed: weights are [channels_in][taps][channels_out], else
///   [channels_out][channels_in / groups][taps]. residual: 1 where the kernel will be given one.
///   column_blocks: 0 by rule. tiles: about how many output tiles one thread will run; tile_block as in the kernel.
///   prefetch_output: 1 to fetch output lines ahead of writing, which pays where the maps exceed the caches.
#define FILIGREE_SPARSE_PACKER_PARAMS                                                                 \
  "i:groups i:channels_in i:channels_out i:taps i:transposed i:residual i:activation f:alpha f:beta " \
  "i:column_blocks i:tiles i:tile_block i:prefetch_output"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

FILIGREE_INLINE const char* readPackerParams(const Step& step, jit::SparseSpec* spec) {
  const int64_t* w = step.words;
  const int64_t limit = int64_t{1} << 24;
  for (int i = 0; i < 4; i++) {
    if (w[i] < 0 || w[i] > limit) return "channel numbers out of range";
  }
  spec->groups = w[0], spec->columns = w[1], spec->rows = w[2], spec->taps = w[3];
  if (spec->groups < 1 || spec->taps < 1) return "groups and taps are at least 1";
  if (spec->columns % spec->groups != 0 || spec->rows % spec->groups != 0) return "groups must divide the channels";
  if (product(spec->columns, spec->taps) > int64_t{1} << 31) return "too many columns";
  spec->transposed = w[4] != 0, spec->residual = w[5] != 0;
  if (spec->transposed && spec->groups != 1) return "transposed weights have no groups";
  spec->activation = w[6];
  if (!knownActivation(spec->activation)) return "no such activation";
  spec->alpha = static_cast<float>(floatParam(step, 7));
  spec->beta = static_cast<float>(floatParam(step, 8));
  spec->column_blocks = w[9];
  if (w[9] < 0 || w[9] > limit || w[10] < 0 || w[11] < 0) return "column_blocks, tiles or tile_block out of range";
  ConvParams rule;
  rule.tile_block = w[11], rule.channels_out = spec->rows;
  spec->passes = tileBlock(rule, blockLines(spec->columns, spec->taps, spec->groups), w[10]);
  spec->prefetch_output = w[12] != 0;
  const int64_t count = product(product(spec->rows, spec->columns / spec->groups), spec->taps);
  if (!holds(step, 0, count, 4)) return "weights are smaller than the sizes say";
  const Operand& bias = step.operands[1];
  if (bias.bytes != 0 && !holds(step, 1, spec->rows, 4)) return "bias is smaller than the output channels";
  spec->weights = reinterpret_cast<const float*>(step.operands[0].data);
  spec->bias = bias.bytes ? reinterpret_cast<const float*>(bias.data) : nullptr;
  return nullptr;
}

FILIGREE_INLINE const char* checkPacker(const Step& step, Work* work) {
  jit::SparseSpec spec;
  if (const char* problem = readPackerParams(step, &spec)) return problem;
  work->units = 1;
  work->cost = 10.0 * static_cast<double>(spec.rows) * static_cast<double>(spec.columns * spec.taps);
  work->scratch = 0;
  return nullptr;
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
