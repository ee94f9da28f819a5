import { describe, expect, test } from 'vitest';
import type { DType } from '../../../lib/ir/dtype.ts';
import { unpackMicrosoft } from '../../../lib/passes/unpack-microsoft.ts';
import { unpackQLinear } from '../../../lib/passes/unpack-qlinear.ts';
import { attribute, type Bytes, floats, node, opset, port, rawTensor } from '../../models/onnx-writer.ts';
import { t } from '../../ops/node.ts';
import { noise, rewrite } from './harness.ts';

const domain = 'com.microsoft';
const opsets = [opset('', 17), opset(domain, 1)];
const { int, ints, float, string } = attribute;

function bytes(name: string, dtype: 'uint8' | 'int8', values: number[], dims: number[] = []): Bytes {
  return rawTensor(name, dtype, dims, dtype === 'uint8' ? Uint8Array.from(values) : Int8Array.from(values));
}

/** Names of inputs, `-` for an omitted one, with a scale and a zero point for each letter. */
function qlinear(
  op: string,
  dtype: 'uint8' | 'int8',
  inputs: readonly string[],
  shapes: Readonly<Record<string, readonly number[]>>,
  { attributes = [], tolerance = 0, of = domain }: { attributes?: Bytes[]; tolerance?: number; of?: string } = {},
): string[] {
  const zero = dtype === 'uint8' ? 120 : -3;
  const scales = ['a', 'b', 'c', 'y'].flatMap((letter, i) => [
    floats(`${letter}s`, [[0.02, 0.013, 0.031, 0.027][i] as number], []),
    bytes(`${letter}z`, dtype, [zero + i]),
  ]);
  const names = inputs.map((name) => (name === '-' ? '' : name));
  const feeds = Object.entries(shapes).map(([name, dims], k) => {
    const count = dims.reduce((a, b) => a * b, 1);
    if (name === 'm')
      return t(
        'bool',
        noise(count).map((x) => (x > 0 ? 1 : 0)),
        dims,
      );
    return t(
      dtype,
      noise(count, k + 1).map((x) => Math.round(x * 110) + (dtype === 'uint8' ? 128 : 0)),
      dims,
    );
  });
  const ports = Object.entries(shapes).map(([name, dims]) =>
    port(name, name === 'm' ? 'bool' : (dtype as DType), dims),
  );
  const made = node(op, names, ['out'], { domain: of, attributes });
  const parts = { opsets, nodes: [made], inputs: ports, outputs: [port('out', dtype)], initializers: scales };
  return rewrite(parts, [unpackMicrosoft, unpackQLinear], { feeds, tolerance }).ops;
}

const a = ['a', 'as', 'az'] as const;
const b = ['b', 'bs', 'bz'] as const;
const y = ['ys', 'yz'] as const;
const real = (op: string, inputs = 1) => [...new Array<string>(inputs).fill('DequantizeLinear'), op, 'QuantizeLinear'];

describe.each(['uint8', 'int8'] as const)('functions of %s', (dtype) => {
  test('of one tensor', () => {
    const one = [...a, ...y];
    const shapes = { a: [2, 3, 4, 5] };
    expect(qlinear('QLinearSigmoid', dtype, one, shapes)).toEqual(real('Sigmoid'));
    expect(qlinear('QLinearSigmoid', dtype, ['a', 'as', '-', 'ys', '-'], shapes)).toEqual(real('Sigmoid'));
    const leaky = { attributes: [float('alpha', 0.1)] };
    expect(qlinear('QLinearLeakyRelu', dtype, one, shapes, leaky)).toEqual(real('LeakyRelu'));
    for (const version of [12, 13]) {
      for (const axis of [-1, 1]) {
        const softmax = { attributes: [int('axis', axis), int('opset', version)] };
        expect(qlinear('QLinearSoftmax', dtype, one, shapes, softmax)).toEqual(real('Softmax'));
      }
    }
    const mean = { attributes: [ints('axes', [-1]), int('keepdims', 0)] };
    expect(qlinear('QLinearReduceMean', dtype, one, shapes, mean)).toEqual(real('ReduceMean'));
  });

  test.each([0, 1])('pools, channels_last %i', (last) => {
    const shapes = { a: [2, 6, 4, 5] };
    const turned = (op: string) => [...(last ? ['Transpose'] : []), ...real(op), ...(last ? ['Transpose'] : [])];
    const order = int('channels_last', last);
    const global = qlinear('QLinearGlobalAveragePool', dtype, [...a, ...y], shapes, { attributes: [order] });
    expect(global).toEqual(turned('GlobalAveragePool'));
    const window = [order, ints('kernel_shape', [2, 3]), ints('pads', [1, 0, 0, 1]), int('count_include_pad', 1)];
    const pooled = qlinear('QLinearAveragePool', dtype, [...a, ...y], shapes, { attributes: window });
    expect(pooled).toEqual(turned('AveragePool'));
  });

  test('of several', () => {
    const shapes = { a: [3, 4], b: [4] };
    // One level apart where a result falls between two.
    expect(qlinear('QLinearAdd', dtype, [...a, ...b, ...y], shapes, { tolerance: 1 })).toEqual(real('Add', 2));
    expect(qlinear('QLinearMul', dtype, [...a, ...b, ...y], shapes, { tolerance: 1 })).toEqual(real('Mul', 2));
    const concat = { attributes: [int('axis', 1)] };
    const sides = { a: [3, 4], b: [3, 2] };
    expect(qlinear('QLinearConcat', dtype, [...y, ...a, ...b], sides, concat)).toEqual(real('Concat', 2));
    const choice = { m: [3, 1], a: [3, 4], b: [4] };
    expect(qlinear('QLinearWhere', dtype, ['m', ...a, ...b, ...y], choice)).toEqual(real('Where', 2));
    const product = { a: [2, 3, 4], b: [2, 4, 5] };
    expect(qlinear('QLinearMatMul', dtype, [...a, ...b, ...y], product, { of: '' })).toEqual(real('MatMul', 2));
  });
});

function convolution(op: string, inputs: string[], extra: Bytes[], residual = false): string[] {
  const last = op.startsWith('Nhwc');
  const shape = last ? [1, 6, 7, 3] : [1, 3, 6, 7];
  const sum = last ? [1, 6, 7, 4] : [1, 4, 6, 7];
  const attributes = [ints('kernel_shape', [3, 3]), ints('pads', [1, 1, 1, 1]), ...extra];
  return rewrite(
    {
      opsets,
      nodes: [node(op, inputs, ['out'], { domain, attributes })],
      inputs: [port('x', 'float32', shape), ...(residual ? [port('z', 'float32', sum)] : [])],
      outputs: [port('out', 'float32')],
      initializers: [floats('w', noise(108), [4, 3, 3, 3]), floats('bias', noise(4))],
    },
    [unpackMicrosoft],
  ).ops;
}

describe('convolutions', () => {
  test.each([
    ['Relu', [], 'Relu'],
    ['Tanh', [], 'Tanh'],
    ['Sigmoid', [], 'Sigmoid'],
    ['LeakyRelu', [0.2], 'LeakyRelu'],
    ['HardSigmoid', [0.3, 0.4], 'HardSigmoid'],
    ['Clip', [-0.5, 0.7], 'Clip'],
  ])('with %s', (name, params, op) => {
    const given = [
      string('activation', name),
      ...(params.length ? [attribute.floats('activation_params', params)] : []),
    ];
    expect(convolution('FusedConv', ['x', 'w', 'bias'], given)).toEqual(['Conv', op]);
    expect(convolution('FusedConv', ['x', 'w', '', 'z'], given, true)).toEqual(['Conv', 'Add', op]);
    expect(convolution('NhwcFusedConv', ['x', 'w', 'bias', 'z'], given, true)).toEqual([
      ...['Transpose', 'Conv', 'Transpose', 'Add', op, 'Transpose'],
    ]);
  });

  test('without one', () => {
    expect(convolution('FusedConv', ['x', 'w'], [])).toEqual(['Conv']);
    expect(convolution('NhwcConv', ['x', 'w', 'bias'], [])).toEqual(['Transpose', 'Conv', 'Transpose']);
  });
});

describe('products', () => {
  const product = (...extra: Bytes[]) =>
    rewrite(
      {
        opsets,
        nodes: [node('FusedGemm', ['x', 'w', 'bias'], ['out'], { domain, attributes: [int('transB', 1), ...extra] })],
        inputs: [port('x', 'float32', [3, 5])],
        outputs: [port('out', 'float32')],
        initializers: [floats('w', noise(20), [4, 5]), floats('bias', noise(4))],
      },
      [unpackMicrosoft],
    ).ops;

  test('with an activation', () => {
    expect(product()).toEqual(['Gemm']);
    expect(product(string('activation', 'Relu'), float('alpha', 0.5))).toEqual(['Gemm', 'Relu']);
    expect(product(string('activation', 'LeakyRelu'), float('activation_alpha', 0.2))).toEqual(['Gemm', 'LeakyRelu']);
    expect(product(string('activation', 'LeakyRelu'))).toEqual(['com.microsoft.FusedGemm']);
  });
});

test('quantisation under its other name', () => {
  const parts = {
    opsets,
    nodes: [
      node('QuantizeLinear', ['x', 's', 'z'], ['q'], { domain }),
      node('DequantizeLinear', ['q', 's', 'z'], ['y'], { domain }),
    ],
    inputs: [port('x', 'float32', [3, 4])],
    outputs: [port('y', 'float32')],
    initializers: [floats('s', [0.02], []), bytes('z', 'int8', [3])],
  };
  expect(rewrite(parts, [unpackMicrosoft]).ops).toEqual(['QuantizeLinear', 'DequantizeLinear']);
});
