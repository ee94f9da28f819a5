import { expect, test } from 'vitest';
import { type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { inferShapes } from './infer.ts';
import { evaluate, t } from './node.ts';

const f = (values: number[], dims?: number[]) => t('float32', values, dims);
const numbers = (y: unknown) => Array.from(toNumbers(y as HostTensor), (v) => Math.round(v * 1e5) / 1e5);
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const round = (x: number) => Math.round(x * 1e5) / 1e5;

const linear = { activations: ['Affine'], hidden_size: 1 };
const x3 = f([1, 2, 3], [3, 1, 1]);
const w1 = f([1], [1, 1, 1]);
const r10 = f([10], [1, 1, 1]);

test('RNN forwards, backwards, both', () => {
  const [y, h] = evaluate('RNN', 14, [x3, w1, r10], linear, 2) as HostTensor[];
  expect([y.dims, numbers(y), h.dims, numbers(h)]).toEqual([[3, 1, 1, 1], [1, 12, 123], [1, 1, 1], [123]]);
  const back = evaluate('RNN', 14, [x3, w1, r10], { ...linear, direction: 'reverse' }, 2);
  expect(back.map(numbers)).toEqual([[321, 32, 3], [321]]);
  const two = (values: number[]) => f(values, [2, 1, 1]);
  const both = { direction: 'bidirectional', hidden_size: 1, activations: ['Affine', 'Relu'] };
  expect(evaluate('RNN', 14, [x3, two([1, -1]), two([10, 1])], both, 2).map(numbers)).toEqual([
    [1, 0, 12, 0, 123, 0],
    [123, 0],
  ]);
});

test('bias, initial state, sequence lengths, batch first', () => {
  const x = f([1, 5, 2, 6, 3, 7], [3, 2, 1]);
  const inputs = [x, w1, r10, f([100, 200], [1, 2]), t('int32', [2, 1]), f([1, 2], [1, 2, 1])];
  expect(evaluate('RNN', 14, inputs, linear, 2).map(numbers)).toEqual([
    [311, 325, 3412, 0, 0, 0],
    [3412, 325],
  ]);
  const reversed = evaluate('RNN', 14, inputs, { ...linear, direction: 'reverse' }, 2);
  expect(reversed.map(numbers)).toEqual([
    [3421, 325, 312, 0, 0, 0],
    [3421, 325],
  ]);
  const first = [f([1, 2, 3, 5, 6, 7], [2, 3, 1]), w1, r10, null, null, f([1, 2], [2, 1, 1])];
  const [y, h] = evaluate('RNN', 14, first, { ...linear, layout: 1 }, 2) as HostTensor[];
  expect([y.dims, numbers(y), h.dims]).toEqual([
    [2, 3, 1, 1],
    [11, 112, 1123, 25, 256, 2567],
    [2, 1, 1],
  ]);
  expect(() => evaluate('RNN', 14, [x, w1, r10, null, t('int32', [4, 1])], linear)).toThrow(/length 4/);
});

test('activations take their parameters in order, and clip bounds their inputs', () => {
  const attributes = {
    direction: 'bidirectional',
    hidden_size: 1,
    activations: ['LeakyRelu', 'HardSigmoid'],
    activation_alpha: { type: 'floats', value: [0.5, 0.25] },
    activation_beta: { type: 'floats', value: [0.125] },
  } as const;
  const one = f([-2], [1, 1, 1]);
  const two = (values: number[]) => f(values, [2, 1, 1]);
  const inputs = [one, two([1, -1]), two([0, 0])];
  expect(numbers(evaluate('RNN', 14, inputs, attributes, 2)[1])).toEqual([-1, 0.625]);
  const clip = { type: 'float', value: 1 } as const;
  expect(numbers(evaluate('RNN', 14, inputs, { ...attributes, clip }, 2)[1])).toEqual([-0.5, 0.375]);
  expect(() => evaluate('RNN', 14, [x3, w1, r10], { activations: ['Sine'] })).toThrow(/"Sine"/);
});

test('GRU applies the reset gate before or after the product', () => {
  const w = f([0.5, -0.5, 1], [1, 3, 1]);
  const r = f([1, 2, 3], [1, 3, 1]);
  const b = f([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [1, 6]);
  const [x, h0] = [2, 0.5];
  const z = sigmoid(0.5 * x + h0 + 0.5);
  const reset = sigmoid(-0.5 * x + 2 * h0 + 0.7);
  const inputs = [f([x], [1, 1, 1]), w, r, b, null, f([h0], [1, 1, 1])];
  const run = (linear_before_reset: number) =>
    numbers(evaluate('GRU', 14, inputs, { hidden_size: 1, linear_before_reset }, 2)[1]);
  const before = Math.tanh(x + 3 * (reset * h0) + 0.9);
  expect(run(0)).toEqual([round((1 - z) * before + z * h0)]);
  const after = Math.tanh(x + reset * (3 * h0 + 0.6) + 0.3);
  expect(run(1)).toEqual([round((1 - z) * after + z * h0)]);
});

test('LSTM with peepholes, and with coupled gates', () => {
  const w = f([0.5, -0.5, 1, 0.25], [1, 4, 1]);
  const r = f([1, 2, 3, 4], [1, 4, 1]);
  const [x, h0, c0] = [0.4, 0.2, -0.3];
  const inputs = [
    f([x], [1, 1, 1]),
    w,
    r,
    null,
    null,
    f([h0], [1, 1, 1]),
    f([c0], [1, 1, 1]),
    f([0.7, 0.8, 0.9], [1, 3]),
  ];
  const i = sigmoid(0.5 * x + h0 + 0.7 * c0);
  const forget = sigmoid(x + 3 * h0 + 0.9 * c0);
  const candidate = Math.tanh(0.25 * x + 4 * h0);
  const step = (keep: number) => {
    const c = keep * c0 + i * candidate;
    const h = sigmoid(-0.5 * x + 2 * h0 + 0.8 * c) * Math.tanh(c);
    return [[round(h)], [round(h)], [round(c)]];
  };
  expect(evaluate('LSTM', 14, inputs, { hidden_size: 1 }, 3).map(numbers)).toEqual(step(forget));
  expect(evaluate('LSTM', 7, inputs, { hidden_size: 1, input_forget: 1 }, 3).map(numbers)).toEqual(step(1 - i));
});

test('inference and shape errors', () => {
  const x = ['float32', ['t', 'n', 8]] as const;
  const shapes = inferShapes(
    'LSTM',
    14,
    [x, ['float32', [2, 64, 8]], ['float32', [2, 64, 16]]],
    { direction: 'bidirectional' },
    3,
  );
  expect(shapes).toEqual([
    ['t', 2, 'n', 16],
    [2, 'n', 16],
    [2, 'n', 16],
  ]);
  expect(() => inferShapes('GRU', 14, [x, ['float32', [1, 64, 8]], ['float32', [1, 64, 16]]], {}, 2)).toThrow(/W is/);
});
