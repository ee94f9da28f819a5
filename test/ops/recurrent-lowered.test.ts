import { expect, test } from 'vitest';
import { sizeOf } from '../../lib/ir/shape.ts';
import { fromNumbers, type HostTensor } from '../../lib/ir/tensor.ts';
import { random } from '../kernels/harness.ts';
import { checkLowered, type LoweredCase, runLowered } from './lowered.ts';

const x = (dims: readonly number[], seed = 1): HostTensor =>
  fromNumbers(
    'float32',
    dims,
    random(sizeOf(dims), seed).map((value) => value * 0.7),
  );

const gates = { RNN: 1, GRU: 3, LSTM: 4 } as const;

interface Shape {
  readonly length: number;
  readonly batch: number;
  readonly hidden: number;
  readonly directions?: 1 | 2;
  readonly attributes?: LoweredCase['attributes'];
  readonly lengths?: readonly number[];
  /** Biases, initial states and, in an LSTM, peepholes. */
  readonly rich?: boolean;
}

function recurrent(op: keyof typeof gates, s: Shape): LoweredCase {
  const { length, batch, hidden, directions = 1, rich } = s;
  const width = gates[op] * hidden;
  const first = s.attributes?.layout === 1;
  const state = first ? [batch, directions, hidden] : [directions, batch, hidden];
  const inputs = [
    x(first ? [batch, length, 3] : [length, batch, 3]),
    x([directions, width, 3], 2),
    x([directions, width, hidden], 3),
    rich ? x([directions, 2 * width], 4) : null,
    s.lengths ? fromNumbers('int32', [batch], [...s.lengths]) : null,
    ...(rich ? [x(state, 5)] : []),
    ...(rich && op === 'LSTM' ? [x(state, 6), x([directions, 3 * hidden], 7)] : []),
  ];
  const attributes = {
    ...{ hidden_size: hidden, direction: directions === 2 ? 'bidirectional' : 'forward' },
    ...s.attributes,
  };
  return { op, version: 14, inputs, attributes, outputs: op === 'LSTM' ? 3 : 2, constant: [1, 2, 3] };
}

const shapes: readonly Shape[] = [
  ...[1, 3, 4, 5, 8, 15, 16, 17, 33].map((hidden) => ({ length: 3, batch: 1, hidden })),
  ...[2, 3, 4, 5, 7, 9].map((batch) => ({ length: 2, batch, hidden: 18, rich: true })),
  { length: 4, batch: 2, hidden: 5, directions: 2, rich: true },
  { length: 4, batch: 3, hidden: 6, rich: true, lengths: [4, 0, 2] },
  { length: 4, batch: 5, hidden: 6, directions: 2, rich: true, lengths: [4, 1, 2, 0, 3] },
  { length: 4, batch: 2, hidden: 6, rich: true, attributes: { direction: 'reverse', layout: 1 } },
  { length: 4, batch: 2, hidden: 6, directions: 2, attributes: { layout: 1 }, lengths: [2, 4] },
  { length: 3, batch: 1, hidden: 6, rich: true, attributes: { clip: { type: 'float', value: 0.3 } } },
];

test.each(['RNN', 'GRU', 'LSTM'] as const)('%s', (op) => {
  for (const shape of shapes) checkLowered(recurrent(op, shape));
});

test('input weights of few nonzeros', () => {
  for (const [length, batch] of [
    [1, 1],
    [5, 2],
    [9, 4],
  ]) {
    const full = recurrent('LSTM', { length, batch, hidden: 9, directions: 2, rich: true });
    const input = 3;
    const kept = random(2 * 36 * input, 9);
    const few = fromNumbers(
      'float32',
      [2, 36, input],
      kept.map((w) => (w > 0.8 ? w : 0)),
    );
    checkLowered({ ...full, inputs: full.inputs.map((each, i) => (i === 1 ? few : each)) });
  }
});

test.each(['RNN', 'GRU', 'LSTM'] as const)('recurrent weights of few nonzeros: %s', (op) => {
  for (const [batch, linear] of [
    [1, 0],
    [3, 1],
    [9, 0],
  ]) {
    const attributes: LoweredCase['attributes'] = op === 'GRU' ? { linear_before_reset: linear } : {};
    const full = recurrent(op, { length: 4, batch, hidden: 19, directions: 2, rich: true, attributes });
    const kept = random(2 * gates[op] * 19 * 19, 9);
    const few = fromNumbers(
      'float32',
      [2, gates[op] * 19, 19],
      kept.map((w) => (w > 0.8 ? w : 0)),
    );
    checkLowered({ ...full, inputs: full.inputs.map((each, i) => (i === 2 ? few : each)) });
  }
});

test('the last states alone', () => {
  for (const op of ['RNN', 'GRU', 'LSTM'] as const) {
    checkLowered({ ...recurrent(op, { length: 5, batch: 2, hidden: 9, rich: true }), omitted: [0] });
  }
});

test('variants of the cells', () => {
  const base = { length: 3, batch: 2, hidden: 7, rich: true } as const;
  checkLowered(recurrent('RNN', { ...base, attributes: { activations: ['Relu'] } }));
  for (const hidden of [7, 16]) {
    checkLowered(recurrent('GRU', { ...base, hidden, attributes: { linear_before_reset: 1 } }));
    checkLowered(recurrent('GRU', { ...base, hidden, batch: 1, attributes: { linear_before_reset: 1 } }));
  }
  checkLowered(recurrent('LSTM', { ...base, attributes: { input_forget: 1 } }));
  checkLowered(recurrent('LSTM', { ...base, attributes: { activations: ['sigmoid', 'relu', 'tanh'] } }));
});

test('what has no kernel says so; a bad length is refused', () => {
  const base = { length: 3, batch: 2, hidden: 4 } as const;
  const soft = recurrent('RNN', { ...base, attributes: { activations: ['Softsign'] } });
  expect(runLowered(soft).reasons).toEqual(['an activation without a kernel']);
  expect(() => runLowered(recurrent('LSTM', { ...base, lengths: [4, 1] }))).toThrow(/sequence length/);
});
