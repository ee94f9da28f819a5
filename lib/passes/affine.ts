/** Scales and shifts by channel. */

import type { Node, Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { constantOf } from './match.ts';

/** scale * x + shift for each channel. */
export interface Affine {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/** What a batch normalisation with given statistics does; undefined where they are not constant. */
export function batchNormAffine(node: Node): Affine | undefined {
  const [, gamma, beta, mean, variance] = node.inputs.map((input) => constantOf(input, 'float32'));
  const training = node.attributes.get('training_mode');
  if (!gamma || !beta || !mean || !variance || (training?.type === 'int' && training.value !== 0)) return undefined;
  if (node.outputs.slice(1).some(Boolean)) return undefined;
  const attribute = node.attributes.get('epsilon');
  const epsilon = attribute?.type === 'float' ? attribute.value : 1e-5;
  const count = sizeOf(gamma.dims);
  const at = (t: HostTensor, i: number): number => t.data[i] as number;
  const scale = Float64Array.from({ length: count }, (_, i) => at(gamma, i) / Math.sqrt(at(variance, i) + epsilon));
  const shift = Float64Array.from({ length: count }, (_, i) => at(beta, i) - at(mean, i) * scale[i]);
  return { scale, shift };
}

/** Mul, Div, Add or Sub of a constant [C, 1, ...] (or one number) after a convolution of `channels` outputs. */
export function constantAffine(node: Node, from: Value, channels: number, rank: number): Affine | undefined {
  const constant = constantOf(
    node.inputs.find((input) => input !== from),
    'float32',
  );
  if (!constant || node.inputs.length !== 2) return undefined;
  const size = sizeOf(constant.dims);
  const { dims } = constant;
  const perChannel = size === channels && dims.length >= rank - 1 && dims[dims.length - (rank - 1)] === channels;
  if (dims.length > rank || (size !== 1 && !perChannel)) return undefined;
  const values = Float64Array.from({ length: channels }, (_, i) => constant.data[size === 1 ? 0 : i] as number);
  const ones = new Float64Array(channels).fill(1);
  const first = node.inputs[0] === from;
  switch (node.op) {
    case 'Mul':
      return { scale: values, shift: new Float64Array(channels) };
    case 'Div':
      return first ? { scale: values.map((v) => 1 / v), shift: new Float64Array(channels) } : undefined;
    case 'Add':
      return { scale: ones, shift: values };
    case 'Sub':
      return first ? { scale: ones, shift: values.map((v) => -v) } : { scale: ones.map((one) => -one), shift: values };
    default:
      return undefined;
  }
}
