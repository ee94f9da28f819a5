/** What passes ask about QuantizeLinear and DequantizeLinear. */

import type { Node, Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, toNumbers } from '../ir/tensor.ts';
import { constantOf, dtypeOf, intAttribute, scalarOf } from './match.ts';

export type ByteType = 'uint8' | 'int8';

/** One scale and zero point for a whole tensor of bytes: real = (byte - zero) * scale. */
export interface Quantization {
  readonly dtype: ByteType;
  readonly scale: number;
  readonly zero: number;
}

const isByteType = (dtype: unknown): dtype is ByteType => dtype === 'uint8' || dtype === 'int8';

const named = (node: Node | undefined, op: string): node is Node =>
  node?.op === op && (node.domain === '' || node.domain === 'com.microsoft');

function quantization(node: Node, bytes: Value | null | undefined, floats: Value | null | undefined) {
  const dtype = dtypeOf(bytes);
  const scale = scalarOf(node.inputs[1]);
  const zero = node.inputs[2] ? scalarOf(node.inputs[2]) : 0;
  if (!isByteType(dtype) || dtypeOf(floats) !== 'float32' || dtypeOf(node.inputs[1]) !== 'float32') return undefined;
  if (scale === undefined || zero === undefined || !(scale > 0) || !Number.isFinite(scale)) return undefined;
  return { dtype, scale, zero };
}

/** Of a node that rounds float32 to bytes of one scale. */
export function quantizes(node: Node | undefined): Quantization | undefined {
  return named(node, 'QuantizeLinear') ? quantization(node, node.outputs[0], node.inputs[0]) : undefined;
}

/** Of a node that makes float32 of bytes of one scale. */
export function dequantizes(node: Node | undefined): Quantization | undefined {
  return named(node, 'DequantizeLinear') ? quantization(node, node.inputs[0], node.outputs[0]) : undefined;
}

/** The bytes that a float32 value was made of. */
export function bytesBehind(value: Value | null | undefined): { value: Value; how: Quantization } | undefined {
  const node = value?.producer;
  const how = dequantizes(node);
  const bytes = node?.inputs[0];
  return how && bytes ? { value: bytes, how } : undefined;
}

export function sameQuantization(a: Quantization | undefined, b: Quantization | undefined): boolean {
  return a !== undefined && b !== undefined && a.dtype === b.dtype && a.scale === b.scale && a.zero === b.zero;
}

/** Constant bytes as weights: one scale and zero point, or one a channel. */
export interface ByteWeights {
  readonly value: Value;
  readonly tensor: HostTensor;
  /** float32, [1] or [channels]. */
  readonly scale: Float32Array;
  /** Of the weights' type; undefined where all are 0. */
  readonly zero: Value | undefined;
}

/** The constant bytes behind float32 weights whose output channels are axis `axis`. */
export function weightsBehind(value: Value | null | undefined, axis: number): ByteWeights | undefined {
  const node = value?.producer;
  if (!named(node, 'DequantizeLinear') || dtypeOf(value) !== 'float32') return undefined;
  const [bytes, scaleValue, zeroValue] = node.inputs;
  const tensor = constantOf(bytes);
  const scale = constantOf(scaleValue, 'float32');
  const zero = constantOf(zeroValue);
  if (!tensor || !bytes || !scale || !isByteType(tensor.dtype) || (zeroValue && !zero)) return undefined;
  const count = sizeOf(scale.dims);
  const at = intAttribute(node, 'axis', 1);
  const along = at < 0 ? at + tensor.dims.length : at;
  if (intAttribute(node, 'block_size', 0) !== 0) return undefined;
  if (count !== 1 && (scale.dims.length !== 1 || along !== axis || count !== tensor.dims[axis])) return undefined;
  const zeros = zero && toNumbers(zero).some((z) => z !== 0);
  return {
    value: bytes,
    tensor,
    scale: Float32Array.from(toNumbers(scale)),
    zero: zeros ? (zeroValue as Value) : undefined,
  };
}

/**
 * A bias as int32 in units of x's scale times the weights': the integers behind it, or float32 constants rounded.
 * Undefined where they do not fit.
 */
export function integerBias(value: Value, units: Float32Array, channels: number): Int32Array | undefined {
  const node = value.producer;
  const unit = (i: number): number => units[units.length === 1 ? 0 : i];
  const integers = named(node, 'DequantizeLinear') ? constantOf(node.inputs[0], 'int32') : undefined;
  let real: (i: number) => number;
  let size: number;
  if (node && integers) {
    const scale = constantOf(node.inputs[1], 'float32');
    if (!scale || (node.inputs[2] && scalarOf(node.inputs[2]) !== 0 && !allZero(node.inputs[2]))) return undefined;
    const scales = toNumbers(scale);
    const counts = toNumbers(integers);
    size = counts.length;
    if (scales.length !== 1 && scales.length !== size) return undefined;
    const scaleOf = (i: number): number => scales[scales.length === 1 ? 0 : i];
    real = (i) => {
      // The scale that quantizers write is that product, rounded in another order.
      const factor = scaleOf(i) / unit(i);
      return counts[i] * (Math.abs(factor - 1) < 1e-5 ? 1 : factor);
    };
  } else {
    const floats = constantOf(value, 'float32');
    if (!floats) return undefined;
    size = floats.data.length;
    real = (i) => (floats.data[i] as number) / unit(i);
  }
  if (size !== channels) return undefined;
  const bias = Int32Array.from({ length: channels }, (_, i) => Math.round(real(i)));
  return bias.every((b, i) => Math.abs(b - real(i)) <= 0.5 && Math.abs(b) < 2 ** 30) ? bias : undefined;
}

function allZero(value: Value): boolean {
  const content = constantOf(value);
  return content !== undefined && toNumbers(content).every((z) => z === 0);
}
