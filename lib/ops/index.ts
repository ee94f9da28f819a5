/** The table of all operators: every family file lists its definitions here. */

import { InternalError } from '../errors.ts';
import { activationOps } from './activation.ts';
import { attentionOps } from './attention.ts';
import { binaryOps } from './binary.ts';
import { binaryIntegerOps } from './binary-integer.ts';
import { castOps } from './cast.ts';
import { causalConvOps } from './causal-conv.ts';
import { col2imOps } from './col2im.ts';
import { comparisonOps } from './comparison.ts';
import { concatOps } from './concat.ts';
import { constantOps } from './constant.ts';
import { controlOps } from './control.ts';
import { convOps } from './conv.ts';
import { convTransposeOps } from './conv-transpose.ts';
import { cumulativeOps } from './cumulative.ts';
import { deformConvOps } from './deform-conv.ts';
import { detectionOps } from './detection.ts';
import { dynamicLinearOps } from './dynamic-linear.ts';
import { einsumOps } from './einsum.ts';
import { fusedOps } from './fused.ts';
import { gatherOps } from './gather.ts';
import { imageOps } from './image.ts';
import { integerConvOps } from './integer-conv.ts';
import { integerMatmulOps } from './integer-matmul.ts';
import { layerNormOps } from './layer-norm.ts';
import { linalgOps } from './linalg.ts';
import { linearOps } from './linear.ts';
import { lossOps } from './loss.ts';
import { matmulOps } from './matmul.ts';
import { mlEncodersOps } from './ml-encoders.ts';
import { mlLinearOps } from './ml-linear.ts';
import { mlTreesOps } from './ml-trees.ts';
import { msAttentionOps } from './ms-attention.ts';
import { msFusedOps } from './ms-fused.ts';
import { msQuantizedOps } from './ms-quantized.ts';
import { normOps } from './norm.ts';
import { type OpDefinition, opKey } from './op.ts';
import { optionalOps } from './optional.ts';
import { padOps } from './pad.ts';
import { poolOps } from './pool.ts';
import { poolSpecialOps } from './pool-special.ts';
import { quantizeOps } from './quantize.ts';
import { randomOps } from './random.ts';
import { recurrentOps } from './recurrent.ts';
import { reduceOps } from './reduce.ts';
import { resizeOps } from './resize.ts';
import { rotaryOps } from './rotary.ts';
import { samplingOps } from './sampling.ts';
import { scaleOps } from './scale.ts';
import { scanOps } from './scan.ts';
import { scatterOps } from './scatter.ts';
import { selectOps } from './select.ts';
import { selectionOps } from './selection.ts';
import { sequenceOps } from './sequence.ts';
import { shapeOps } from './shape.ts';
import { shuffleOps } from './shuffle.ts';
import { signalOps } from './signal.ts';
import { sliceOps } from './slice.ts';
import { softmaxOps } from './softmax.ts';
import { textOps } from './text.ts';
import { trainingOps } from './training.ts';
import { transposeOps } from './transpose.ts';
import { unaryOps } from './unary.ts';
import { variadicOps } from './variadic.ts';

const families: readonly (readonly OpDefinition[])[] = [
  activationOps,
  binaryIntegerOps,
  comparisonOps,
  attentionOps,
  scanOps,
  padOps,
  concatOps,
  binaryOps,
  castOps,
  constantOps,
  controlOps,
  causalConvOps,
  col2imOps,
  convTransposeOps,
  deformConvOps,
  poolSpecialOps,
  convOps,
  cumulativeOps,
  detectionOps,
  einsumOps,
  fusedOps,
  gatherOps,
  imageOps,
  integerConvOps,
  integerMatmulOps,
  layerNormOps,
  linalgOps,
  dynamicLinearOps,
  linearOps,
  lossOps,
  matmulOps,
  mlEncodersOps,
  mlLinearOps,
  mlTreesOps,
  msAttentionOps,
  msFusedOps,
  msQuantizedOps,
  normOps,
  optionalOps,
  poolOps,
  quantizeOps,
  randomOps,
  recurrentOps,
  reduceOps,
  resizeOps,
  rotaryOps,
  samplingOps,
  scaleOps,
  scatterOps,
  selectOps,
  selectionOps,
  sequenceOps,
  shapeOps,
  shuffleOps,
  signalOps,
  sliceOps,
  softmaxOps,
  textOps,
  trainingOps,
  transposeOps,
  unaryOps,
  variadicOps,
];

const table = new Map<string, OpDefinition>();
for (const op of families.flat()) {
  const key = opKey(op.domain ?? '', op.name);
  if (table.has(key)) throw new InternalError(`operator ${key} is defined twice`);
  table.set(key, op);
}

/** The definition of an operator, or undefined. */
export function findOp(domain: string, op: string): OpDefinition | undefined {
  return table.get(opKey(domain, op));
}

/** All operator definitions. */
export function allOps(): Iterable<OpDefinition> {
  return table.values();
}
