import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Named, named, readTensors, writeTensors } from '../../bench/peers/exchange.ts';
import { rowsOf, turnOf } from '../../bench/peers/rows.ts';
import { tensor } from '../../lib/ir/tensor.ts';

const folder = mkdtempSync(join(tmpdir(), 'filigree-bench-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('exchanged tensors', () => {
  const file = join(folder, 'tensors.json');
  const tensors: Named[] = [
    named('input', 'flags', tensor('bool', [3], Uint8Array.of(1, 0, 1))),
    named('input', 'ids', tensor('int64', [1, 2], BigInt64Array.of(-1n, 2n ** 40n))),
    named('output', 'y', tensor('float32', [2], Float32Array.of(0.5, Number.NaN))),
  ];

  it('come back as written, aligned or not', () => {
    writeTensors(file, 'test', tensors);
    const back = readTensors(file);
    expect(back.map(({ role, name, dtype, dims }) => ({ role, name, dtype, dims }))).toEqual(
      tensors.map(({ role, name, dtype, dims }) => ({ role, name, dtype, dims })),
    );
    expect(back.map(({ data }) => [...(data as Uint8Array)])).toEqual(
      tensors.map(({ data }) => [...(data as Uint8Array)]),
    );
    const index = JSON.parse(readFileSync(file, 'utf8'));
    expect(index.tensors[1]).toEqual({
      ...{ role: 'input', name: 'ids', dtype: 'int64', shape: [1, 2], offset: 3, bytes: 16 },
    });
  });

  it('are refused where the sizes do not fit', () => {
    writeTensors(file, 'test', tensors);
    writeFileSync(`${file}.bin`, readFileSync(`${file}.bin`).subarray(0, 24));
    expect(() => readTensors(file)).toThrow('"y" should have 8 bytes, has 5');
  });

  it('are numbers', () => {
    expect(() => named('input', 'words', tensor('string', [1], ['a']))).toThrow(
      'input "words": expected a tensor of numbers to compare, got strings',
    );
    expect(() => named('output', 'list', { kind: 'sequence', items: [], element: undefined } as never)).toThrow(
      'got sequence',
    );
  });
});

describe('rounds of several engines', () => {
  it('let each be first in turn', () => {
    const orders = [0, 1, 2].map((round) => [0, 1, 2].map((k) => turnOf(round, k, 3)));
    expect(orders).toEqual([
      [0, 1, 2],
      [1, 2, 0],
      [2, 0, 1],
    ]);
  });

  it('give ratios of the least times and by round', () => {
    const round = (median_ms: number, min_ms: number) => ({ line: { version: '1', median_ms, min_ms }, foreign: 0 });
    const failed = { line: { error: 'out of memory' }, foreign: 0 };
    const rounds = [
      [round(10, 9), round(12, 8), round(30, 20)],
      [round(20, 16), round(10, 10), round(20, 18)],
      [failed, failed, failed],
    ];
    const rows = rowsOf({ model: 'm', batch: 1 }, ['a', 'b', 'c'], rounds, [undefined, 1e-7, 'no output']);
    expect(rows[0]).toMatchObject({ engine: 'a', medianMs: 12, minMs: 8, minRatio: undefined, version: '1' });
    expect(rows[1]).toMatchObject({ minMs: 10, minRatio: 0.8, pairRatio: 1.2, difference: 1e-7 });
    expect(rows[2]).toMatchObject({ error: 'out of memory', minRatio: undefined, difference: 'no output' });
  });
});
