// Parameters of the packers of sparse 8-bit weights.
#pragma once
#include "kernels/byte_params.h"
#include "kernels/sparse_driver.h"

///   As for float32 weights; weights_unsigned: uint8, else int8. Operands: weights, their zero point (one or one a row;
///   omitted: 0), bias (int32), scale (float32 a row).
#define FILIGREE_BYTE_PACKER_PARAMS                                                                   \
  "i:groups i:channels_in i:channels_out i:taps i:transposed i:residual i:activation f:alpha f:beta " \
  "i:tiles i:tile_block i:prefetch_output i:weights_unsigned " FILIGREE_BYTE_SCALARS
#define FILIGREE_BYTE_PACKER_OPERANDS "r:weights r:weight_zero_point? r:bias? r:scale w:packing"

namespace filigree {
namespace FILIGREE_ISA {
namespace {

constexpr int kBytePackerScalars = 13;
constexpr int kBytePacking = 4;

FILIGREE_INLINE const char* byteOperands(const Step& step, jit::ByteSpec* spec) {
  const int64_t count = product(product(spec->rows, spec->columns / spec->groups), spec->taps);
  if (!holds(step, 0, count, 1)) return "weights are smaller than the sizes say";
  const Operand &zero = step.operands[1], &bias = step.operands[2];
  spec->zero_point_count = static_cast<int64_t>(zero.bytes);
  if (zero.bytes > 1 && !holds(step, 1, spec->rows, 1)) return "weight_zero_point has neither one value nor one a row";
  if (bias.bytes != 0 && !holds(step, 2, spec->rows, 4)) return "bias is smaller than the output channels";
  if (!holds(step, 3, spec->rows, 4)) return "scale is smaller than the output channels";
  spec->weights = step.operands[0].data;
  spec->weight_zero_points = zero.bytes ? zero.data : nullptr;
  spec->bias = bias.bytes ? reinterpret_cast<const int32_t*>(bias.data) : nullptr;
  spec->scale = reinterpret_cast<const float*>(step.operands[3].data);
  return nullptr;
}

FILIGREE_INLINE const char* readBytePacker(const Step& step, jit::ByteSpec* spec) {
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
  if (w[9] < 0 || w[10] < 0) return "tiles or tile_block out of range";
  ConvParams rule{};
  rule.tile_block = w[10], rule.channels_out = (spec->rows + 3) / 4;
  spec->passes = tileBlock(rule, (spec->columns + 3) / 4 * spec->taps, w[9]);
  spec->prefetch_output = w[11] != 0;
  spec->weights_unsigned = w[12] != 0;
  ByteParams b;
  if (const char* problem = readByteParams(step, kBytePackerScalars, &b)) return problem;
  spec->input_signed = b.input_signed, spec->input_zero_point = b.input_zero_point;
  spec->output = static_cast<jit::ByteOutput>(b.output);
  spec->output_zero_point = b.output_zero_point, spec->output_scale = b.output_scale;
  spec->residual_signed = b.residual_signed, spec->residual_zero_point = b.residual_zero_point;
  spec->residual_scale = b.residual_scale;
  spec->middle = b.middle;
  return byteOperands(step, spec);
}

/// Where an 8-bit convolution's maps lie.
FILIGREE_INLINE SparseMaps byteMaps(const Step& step, const ConvParams& p, const ByteParams& b) {
  const int64_t size = b.outputSize();
  const auto lines = [&](int64_t channels) { return size == 4 ? channels : (channels + 3) / 4; };
  SparseMaps maps;
  maps.input = step.operands[kX].data + p.in_channel / 4 * kLineBytes;
  maps.output = step.operands[kY].data + lines(p.out_channel) * kLineBytes;
  maps.residual = p.residual ? step.operands[kResidual].data + lines(p.res_channel) * kLineBytes : maps.output;
  maps.input_lines = (p.in.C + 3) / 4, maps.output_lines = lines(p.out.C);
  maps.residual_lines = lines(p.residual ? p.res.C : p.out.C);
  return maps;
}

FILIGREE_INLINE const char* checkBytePacker(const Step& step, Work* work) {
  jit::ByteSpec spec;
  if (const char* problem = readBytePacker(step, &spec)) return problem;
  work->units = 1;
  work->cost = 20.0 * static_cast<double>(spec.rows) * static_cast<double>(spec.columns * spec.taps);
  work->scratch = 0;
  return nullptr;
}

}  // namespace
}  // namespace FILIGREE_ISA
}  // namespace filigree
