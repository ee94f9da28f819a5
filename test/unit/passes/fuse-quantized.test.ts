import { describe, expect, test } from 'vitest';
import { foldUnquantized } from '../../../lib/passes/fold-constants.ts';
import { fuseQuantized } from '../../../lib/passes/fuse-quantized.ts';
import { moveQuantize } from '../../../lib/passes/move-quantize.ts';
import { unpackProduct } from '../../../lib/passes/unpack-product.ts';
import { unpackQuantized } from '../../../lib/passes/unpack-quantized.ts';
import { attribute, floats, node, opset, port, rawTensor } from '../../models/onnx-writer.ts';
import { noise, rewrite } from './harness.ts';

const passes = [foldUnquantized, unpackQuantized, moveQuantize, fuseQuantized];

/** Scales and zero points: s0 and z0 of x, and so on. */
const scales = [0.007, 0.011, 0.013, 0.017].map((s, i) => floats(`s${i}`, [s], []));
const zeros = [120, 110, 0, 131].map((z, i) => rawTensor(`z${i}`, 'uint8', [], Uint8Array.of(z)));
const signed = rawTensor('zw', 'int8', [], Int8Array.of(0));
const bytes = (count: number, seed: number): number[] => noise(count, seed).map((v) => Math.round(v * 120));
const weights = rawTensor('w', 'int8', [4, 4, 3, 3], Int8Array.from(bytes(4 * 4 * 9, 3)));
const bias = rawTensor('b', 'int32', [4], Int32Array.from(bytes(4, 5)));
const biasScale = floats('sb', [Math.fround(0.007 * 0.01)], []);
const weightScale = floats('sw', [0.01], []);

const q = (x: string, i: number, y: string) => node('QuantizeLinear', [x, `s${i}`, `z${i}`], [y]);
const dq = (x: string, i: number, y: string) => node('DequantizeLinear', [x, `s${i}`, `z${i}`], [y]);
const same = { attributes: [attribute.ints('pads', [1, 1, 1, 1])] };
const input = [q('x', 0, 'xq'), dq('xq', 0, 'xd')];
const constants = [node('DequantizeLinear', ['w', 'sw', 'zw'], ['wd']), node('DequantizeLinear', ['b', 'sb'], ['bd'])];
const conv = node('Conv', ['xd', 'wd', 'bd'], ['c'], same);

const model = (nodes: Uint8Array[]): Parameters<typeof rewrite>[0] => ({
  opsets: [opset('', 17)],
  nodes,
  initializers: [...scales, ...zeros, signed, weights, bias, biasScale, weightScale],
  inputs: [port('x', 'float32', [1, 4, 6, 6])],
  outputs: [port('y')],
});

/** One step of the output's scale, where a sum lies between two bytes. */
const step = { tolerance: 0.0171 };

describe('rewrites of quantized graphs', () => {
  test('convolution, relu, rounding', () => {
    const nodes = [...input, ...constants, conv, node('Relu', ['c'], ['r']), q('r', 3, 'o'), dq('o', 3, 'y')];
    expect(rewrite(model(nodes), passes, step).ops).toEqual(['QuantizeLinear', 'filigree.QConv', 'DequantizeLinear']);
  });

  test('a sum with bytes, rounded in between', () => {
    const add = node('Add', ['m', 'xd'], ['a']);
    const nodes = [...input, ...constants, conv, q('c', 1, 'n'), dq('n', 1, 'm'), add, q('a', 3, 'o'), dq('o', 3, 'y')];
    const { graph, ops } = rewrite(model(nodes), passes, step);
    expect(ops).toEqual(['QuantizeLinear', 'filigree.QConv', 'DequantizeLinear']);
    expect(graph.nodes[1]?.attributes.get('middle')).toEqual({ type: 'int', value: 2 });
  });

  test('floats where nothing is rounded at the end', () => {
    const nodes = [...input, ...constants, conv, node('Sigmoid', ['c'], ['y'])];
    expect(rewrite(model(nodes), passes).ops).toEqual(['QuantizeLinear', 'filigree.QConv']);
  });

  test('rounding moves over a pool and cancels', () => {
    const pool = node('MaxPool', ['xd'], ['p'], { attributes: [attribute.ints('kernel_shape', [2, 2])] });
    const nodes = [...input, pool, q('p', 0, 'o'), dq('o', 0, 'y')];
    expect(rewrite(model(nodes), passes).ops).toEqual(['QuantizeLinear', 'MaxPool', 'DequantizeLinear']);
  });

  test('QLinearConv', () => {
    const inputs = ['xq', 's0', 'z0', 'w', 'sw', 'zw', 's3', 'z3', 'b'];
    const nodes = [q('x', 0, 'xq'), node('QLinearConv', inputs, ['o'], same), dq('o', 3, 'y')];
    expect(rewrite(model(nodes), passes, step).ops).toEqual(['QuantizeLinear', 'filigree.QConv', 'DequantizeLinear']);
  });

  test('Gemm of dequantized weights is a layer, no product of computed matrices', () => {
    const flat = node('Flatten', ['x'], ['f']);
    const gemm = node('Gemm', ['fd', 'gd', 'bd'], ['g'], { attributes: [attribute.int('transB', 1)] });
    const matrix = rawTensor('gw', 'int8', [4, 144], Int8Array.from(bytes(4 * 144, 8)));
    const given = node('DequantizeLinear', ['gw', 'sw', 'zw'], ['gd']);
    const nodes = [
      flat,
      q('f', 0, 'fq'),
      dq('fq', 0, 'fd'),
      given,
      constants[1]!,
      gemm,
      q('g', 3, 'o'),
      dq('o', 3, 'y'),
    ];
    const graph = model(nodes);
    const { ops } = rewrite(
      { ...graph, initializers: [...graph.initializers!, matrix] },
      [unpackProduct, ...passes],
      step,
    );
    expect(ops.filter((op) => op !== 'Flatten')).toEqual(['QuantizeLinear', 'filigree.QLinear', 'DequantizeLinear']);
  });

  test('dynamic quantization becomes a float product', () => {
    const nodes = [
      node('DynamicQuantizeLinear', ['x'], ['q', 's', 'z']),
      node('ConvInteger', ['q', 'w', 'z', 'zw'], ['i'], same),
      node('Cast', ['i'], ['f'], { attributes: [attribute.int('to', 1)] }),
      node('Mul', ['s', 'sw'], ['k']),
      node('Mul', ['f', 'k'], ['y']),
    ];
    const { ops } = rewrite(model(nodes), [unpackQuantized]);
    expect(ops).toEqual(['DynamicQuantizeLinear', 'DequantizeLinear', 'DequantizeLinear', 'Conv']);
  });
});
