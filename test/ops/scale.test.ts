import { describe, expect, test } from 'vitest';
import { fromNumbers, type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { loadModel } from '../../lib/onnx/load.ts';
import { interpret } from '../../lib/ops/interpret.ts';
import { CompiledModel } from '../../lib/runtime/compiled.ts';
import { random } from '../kernels/harness.ts';
import { attribute, floats, model, node, opset, port } from '../models/onnx-writer.ts';
import { checkLowered } from './lowered.ts';

const f32 = (dims: readonly number[], seed: number): HostTensor =>
  fromNumbers(
    'float32',
    dims,
    random(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
  );
const float = (value: number) => ({ type: 'float', value }) as const;

const CHANNELS = 5;
const kernel = { attributes: [attribute.ints('pads', [1, 1, 1, 1])] };
const vector = (name: string, seed: number): Uint8Array =>
  floats(
    name,
    [...random(CHANNELS, seed)].map((v) => Math.abs(v) + 0.1),
  );

/** Two convolutions with nodes that make "m" of "c" between them. */
function between(nodes: Uint8Array[], image = [7, 9]): Uint8Array {
  const weights = (name: string, seed: number): Uint8Array =>
    floats(name, [...random(CHANNELS * CHANNELS * 9, seed)], [CHANNELS, CHANNELS, 3, 3]);
  return model({
    opsets: [opset('', 17)],
    nodes: [
      node('Conv', ['x', 'w1'], ['c'], kernel),
      ...nodes,
      node('Conv', ['m', 'w2'], ['d'], kernel),
      node('Add', ['d', 'm'], ['y']),
    ],
    initializers: [
      ...[weights('w1', 3), weights('w2', 4)],
      ...['gamma', 'beta', 'mean', 'variance'].map((name, i) => vector(name, i + 5)),
      floats('each', [...random(CHANNELS, 9)], [CHANNELS, 1, 1]),
    ],
    inputs: [port('x', 'float32', ['n', CHANNELS, ...image])],
    outputs: [port('y')],
  });
}

function check(bytes: Uint8Array, x: HostTensor): void {
  const [want] = interpret(loadModel(bytes).graph, [x]) as HostTensor[];
  const compiled = CompiledModel.openSync(bytes, { threads: 2 });
  try {
    const [got] = compiled.runSync([x]) as HostTensor[];
    expect(got.dims).toEqual(want.dims);
    const values = toNumbers(got);
    toNumbers(want).forEach((v, i) => {
      expect(Math.abs(values[i] - v)).toBeLessThan(1e-4 * Math.max(1, Math.abs(v)));
    });
  } finally {
    compiled.dispose();
  }
}

const gate = [node('GlobalAveragePool', ['c'], ['g']), node('Sigmoid', ['g'], ['s']), node('Mul', ['s', 'c'], ['m'])];
const batchNorm = (x: string, y: string): Uint8Array =>
  node('BatchNormalization', [x, 'gamma', 'beta', 'mean', 'variance'], [y]);

describe('scales by channel', () => {
  test.each([1, 3, 20])('a map gated by its channels, %i images', (n) => {
    check(between(gate), f32([n, CHANNELS, 7, 9], 1));
    check(between(gate, [1, 1]), f32([n, CHANNELS, 1, 1], 1));
  });

  test.each([1, 3])('normalisation between convolutions, %i images', (n) => {
    const twice = [node('Relu', ['c'], ['r']), batchNorm('r', 'b'), node('Sigmoid', ['b'], ['m'])];
    check(between(twice), f32([n, CHANNELS, 7, 9], 1));
    const added = [
      node('Relu', ['c'], ['r']),
      node('Mul', ['r', 'each'], ['b']),
      node('Add', ['b', 'x'], ['a']),
      node('Relu', ['a'], ['m']),
    ];
    check(between(added), f32([n, CHANNELS, 7, 9], 1));
  });

  test('row-major, with every part or none', () => {
    const dims = [2, 3, 4, 5];
    const all = [f32(dims, 1), f32([3], 2), f32([3], 3), f32(dims, 4)];
    const domain = 'filigree';
    const constant = [1, 2];
    checkLowered({ op: 'Scale', domain, inputs: all, constant });
    checkLowered({ op: 'Scale', domain, inputs: [all[0], null, all[2]], constant });
    checkLowered({ op: 'Scale', domain, inputs: [f32([4, 3], 1), all[1]], constant });
    for (const activation of [
      'Relu',
      'Clip',
      'LeakyRelu',
      'Sigmoid',
      'Tanh',
      'Swish',
      'Gelu',
      'GeluTanh',
      'HardSwish',
      'HardSigmoid',
    ]) {
      const attributes = { activation, activation_alpha: float(0.2), activation_beta: float(0.5) };
      checkLowered({ op: 'Scale', domain, inputs: all, constant, attributes });
    }
  });
});
