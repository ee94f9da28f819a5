/** Kernels over row-major tensors: products, attention, normalization, element by element. */

import { binaryCodes, unaryCodes } from '../../lib/ops/elementwise-codes.ts';
import type { StepParams } from '../../lib/ops/lower.ts';
import { pack, random } from '../../test/kernels/harness.ts';
import { alignedFloats, type KernelCall, type KernelCase, vectorLanes } from './case.ts';

const filled = (count: number, seed: number): Float32Array => alignedFloats(count, random(count, seed));

function call(kernel: string, operands: KernelCall['operands'], params: StepParams, loads?: number): KernelCall {
  return { kernel, operands, params, macs: 0, bytes8: false, loads };
}

/** Rows that products keep in registers, two vectors wide (native/kernels/matmul.cc). */
const blockRows = (isa: string): number => (vectorLanes(isa) === 16 ? 14 : 6);

/** A product with packed weights. */
function product(rows: number, depth: number, columns: number): KernelCase {
  const kernel = 'matmul.f32';
  const make = (isa: string): KernelCall => {
    const weights = random(depth * columns, 2);
    const packing = pack(isa, 'pack.matmul.f32', [weights], { depth, columns, transposed: 0, type: 1 });
    const operands = [filled(rows * depth, 1), packing, null, null, alignedFloats(rows * columns)];
    const params = {
      ...{ rows, depth, columns, stride_a: depth, stride_b: columns, packed_b: 1, alpha: 1 },
      ...{ activation: 0, activation_alpha: 0, activation_beta: 0, a_offsets: [0], b_offsets: [0] },
    };
    const blocks = Math.ceil(rows / blockRows(isa)) * Math.ceil(columns / (2 * vectorLanes(isa)));
    const loads = blocks * depth * (Math.min(rows, blockRows(isa)) + 2);
    return { ...call(kernel, operands, params, loads), macs: rows * depth * columns };
  };
  return { family: 'rows', name: `${rows} x ${depth} x ${columns}`, kernel, make };
}

function attention(heads: number, queries: number, keys: number, size: number): KernelCase {
  const kernel = 'attention.f32';
  const make = (): KernelCall => {
    const at = (length: number): number[] => [heads * length * size, length * size, size, 1, 0];
    const params = {
      ...{ batch: 1, heads, kv_heads: heads, queries, keys, head_size: size, value_size: size },
      ...{ causal: 0, causal_offset: 0, mask_kind: 0, trailing: 0, window: 0, undefined_rows: 0 },
      ...{ scale: size ** -0.5, softcap: 0, hidden: 0 },
      ...{ q: at(queries), k: at(keys), v: at(keys), y: at(queries), mask: [0, 0, 0, 0, 0] },
    };
    const [q, k, v] = [queries, keys, keys].map((length, i) => filled(heads * length * size, i + 1));
    const y = alignedFloats(heads * queries * size);
    const macs = 2 * heads * queries * keys * size;
    return { ...call(kernel, [q!, k!, v!, null, null, null, y], params), macs };
  };
  return { family: 'rows', name: `${heads} heads of ${size}, ${queries} queries, ${keys} keys`, kernel, make };
}

function softmax(rows: number, n: number): KernelCase {
  const make = (isa: string): KernelCall => {
    const [x, y] = [filled(rows * n, 1), alignedFloats(rows * n)];
    const loads = x.length / vectorLanes(isa);
    return call('softmax.f32', [x, y], { log: 0, outer: rows, axis: n, inner: 1 }, loads);
  };
  return { family: 'rows', name: `${rows} x ${n}`, kernel: 'softmax.f32', make };
}

function layerNorm(rows: number, n: number): KernelCase {
  const make = (isa: string): KernelCall => {
    const [x, gamma, beta] = [filled(rows * n, 1), filled(n, 2), filled(n, 3)];
    const operands = [x, null, null, gamma, beta, alignedFloats(rows * n), null, null, null];
    return call('layernorm.f32', operands, { rms: 0, rows, n, epsilon: 1e-5 }, x.length / vectorLanes(isa));
  };
  return { family: 'rows', name: `${rows} x ${n}`, kernel: 'layernorm.f32', make };
}

function unary(name: keyof typeof unaryCodes & string, count: number): KernelCase {
  const make = (isa: string): KernelCall => {
    const params = { op: unaryCodes[name], alpha: 0, beta: 0, count };
    return call('unary.f32', [filled(count, 1), alignedFloats(count)], params, count / vectorLanes(isa));
  };
  return { family: 'rows', name: `${name}, ${count}`, kernel: 'unary.f32', make };
}

function add(count: number): KernelCase {
  const make = (isa: string): KernelCall => {
    const params = { op: binaryCodes.Add, dims: [count], a_strides: [1], b_strides: [1] };
    const operands = [filled(count, 1), filled(count, 2), alignedFloats(count)];
    return call('binary.f32', operands, params, (2 * count) / vectorLanes(isa));
  };
  return { family: 'rows', name: `Add, ${count}`, kernel: 'binary.f32', make };
}

export function rowCases(): KernelCase[] {
  return [
    product(128, 768, 768),
    product(128, 768, 3072),
    product(1, 2048, 1000),
    attention(12, 128, 128, 64),
    attention(12, 384, 384, 64),
    attention(12, 1, 384, 64),
    softmax(1536, 128),
    softmax(1, 1000),
    layerNorm(128, 768),
    unary('Exp', 100_000),
    unary('Sigmoid', 100_000),
    unary('Tanh', 100_000),
    unary('Erf', 100_000),
    add(16_000),
    add(1_000_000),
  ];
}
