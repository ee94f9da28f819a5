import { describe, expect, test } from 'vitest';
import { type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { evaluate, t } from '../ops/node.ts';
import { isas, pack, random, run } from './harness.ts';

const kinds = { RNN: [1, [5]], GRU: [3, [4, 5]], LSTM: [4, [4, 5, 5]] } as const;

interface Case {
  readonly op: keyof typeof kinds;
  readonly batch: number;
  readonly hidden: number;
  readonly directions: 1 | 2;
  readonly linear?: 1;
  /** Of the recurrent weights this share is not zero, and they come by rows. */
  readonly density?: number;
}

const hiddens = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 34];
const cases = (['RNN', 'GRU', 'LSTM'] as const).flatMap((op): Case[] => [
  ...hiddens.map((hidden) => ({ op, batch: 1, hidden, directions: 1 as const })),
  ...[2, 3, 4, 5, 8].map((batch) => ({ op, batch, hidden: 9, directions: 2 as const })),
]);
const linear = [1, 2, 3, 4].map((batch): Case => ({ op: 'GRU', batch, hidden: 17, directions: 2, linear: 1 }));

/** The operator's reference with the identity as input weights: X is the gates. */
function reference(c: Case, x: Float32Array, r: Float32Array, h: Float32Array, lengths: readonly number[]) {
  const width = kinds[c.op][0] * c.hidden;
  const identity = Array.from({ length: c.directions * width * width }, (_, i) => {
    return Math.floor(i / width) % width === i % width ? 1 : 0;
  });
  const inputs = [
    t('float32', [...x], [x.length / c.batch / width, c.batch, width]),
    t('float32', identity, [c.directions, width, width]),
    t('float32', [...r], [c.directions, width, c.hidden]),
    null,
    t('int32', lengths),
    t('float32', [...h], [c.directions, c.batch, c.hidden]),
  ];
  const direction = c.directions === 2 ? 'bidirectional' : 'forward';
  const attributes = { hidden_size: c.hidden, direction, ...(c.linear ? { linear_before_reset: 1 } : {}) };
  return evaluate(c.op, 14, inputs, attributes, c.op === 'LSTM' ? 3 : 2).map((y) => toNumbers(y as HostTensor));
}

function check(isa: string, c: Case): void {
  const { op, batch, hidden, directions } = c;
  const [gates, activations] = kinds[op];
  const length = 3;
  const width = gates * hidden;
  const x = random(length * batch * width, 1);
  const { density } = c;
  const kept = random(directions * width * hidden, 4);
  const r = random(directions * width * hidden, 2).map((v, i) => ((kept[i] + 1) / 2 < (density ?? 1) ? v / 2 : 0));
  const h = random(directions * batch * hidden, 3);
  const lengths = Array.from({ length: batch }, (_, n) => length - (n % 4));
  const want = reference(c, x, r, h, lengths);
  const wide = Float32Array.from({ length: x.length * directions }, (_, i) => {
    return x[Math.floor(i / width / directions) * width + (i % width)];
  });
  const apart = op === 'GRU' && !c.linear;
  const packed = (first: number, count: number) =>
    pack(isa, 'pack.recurrent.f32', [r], { directions, gates, hidden, first, count });
  const sparse = { depth: hidden, columns: directions * width, transposed: 1 };
  const weights =
    density === undefined
      ? [packed(0, apart ? 2 : gates), apart ? packed(2, 1) : null]
      : [pack(isa, 'pack.matmul.sparse.f32', [r], sparse), null];
  for (const parts of [1, 3]) {
    const outputs = want.map((values) => new Float32Array(values.length).fill(77));
    const [y, last, cell = null] = outputs;
    const operands = [wide, ...weights, null, null, Int32Array.from(lengths), h, null, y, last, cell];
    const flags = { batch_first: 0, reverse: 0, linear_before_reset: c.linear ?? 0, coupled: 0 };
    const each = Array.from({ length: directions }, () => [...activations]).flat();
    const params = { directions, length, batch, hidden, ...flags, clip: Number.POSITIVE_INFINITY };
    const cost = { sparse: density === undefined ? 0 : 1, density: density ?? 1, activations: each };
    run(isa, `${op.toLowerCase()}.f32`, operands, { ...params, ...cost }, parts);
    outputs.forEach((got, k) => {
      got.forEach((value, i) => {
        expect(Math.abs(value - want[k][i]), `${JSON.stringify(c)}: output ${k}, element ${i}`).toBeLessThan(3e-6);
      });
    });
  }
}

describe.each(isas)('recurrent kernels on %s', (isa) => {
  test('cells', () => {
    for (const c of [...cases, ...linear]) check(isa, c);
  });

  test('cells of sparse recurrent weights', () => {
    for (const density of [0, 0.3, 1]) for (const c of [...cases, ...linear]) check(isa, { ...c, density });
  });

  test('refuses sparse weights of another cell', () => {
    const packing = pack(isa, 'pack.matmul.sparse.f32', [random(64)], { depth: 4, columns: 16, transposed: 1 });
    const base = {
      ...{ directions: 1, length: 2, batch: 1, hidden: 4, batch_first: 0, reverse: 0 },
      ...{ linear_before_reset: 0, coupled: 0, clip: 9, sparse: 1, density: 1, activations: [4, 5, 5] },
    };
    const refuses = (weights: ReturnType<typeof pack> | Float32Array, change: object, text: RegExp): void => {
      const y = new Float32Array(8);
      const operands = [random(32), weights, null, null, null, null, null, null, y, null, null];
      expect(() => run(isa, 'lstm.f32', operands, { ...base, ...change })).toThrow(text);
    };
    refuses(random(2), {}, /packing is cut short/);
    refuses(random(4000), {}, /made for another product/);
    refuses(packing, { density: 1.5 }, /density lies/);
    refuses(packing, { hidden: 3 }, /made for another product/);
  });

  test('refuses what does not fit', () => {
    const packing = pack(isa, 'pack.recurrent.f32', [random(64)], {
      directions: 1,
      gates: 4,
      hidden: 4,
      first: 0,
      count: 4,
    });
    const y = new Float32Array(8);
    const base = {
      ...{ directions: 1, length: 2, batch: 1, hidden: 4, batch_first: 0, reverse: 0 },
      ...{ linear_before_reset: 0, coupled: 0, clip: 9, sparse: 0, density: 1, activations: [4, 5, 5] },
    };
    const refuses = (change: object, text: RegExp): void => {
      const operands = [random(32), packing, null, null, null, null, null, null, y, null, null];
      expect(() => run(isa, 'lstm.f32', operands, { ...base, ...change })).toThrow(text);
    };
    refuses({ length: 3 }, /gates are smaller/);
    refuses({ activations: [4] }, /lacks activations/);
    refuses({ hidden: 0 }, /hidden size/);
    refuses({ activations: [4, 5, 99] }, /no such activation/);
  });
});
