import { describe, expect, test } from 'vitest';
import { tensor } from '../../lib/ir/tensor.ts';
import { batchOf, cutBatch, cutJointly, RowCollector, sliceRows } from '../../lib/runtime/panels.ts';

describe('cutting a batch', () => {
  test.each([2, 3, 4, 8])('covers every item once, on %i threads', (threads) => {
    for (let batch = 1; batch <= 70; batch++) {
      const panels = cutBatch(batch, threads, 4);
      if (!panels) {
        expect(batch).toBeLessThan(threads);
        continue;
      }
      const all = [...panels.rounds.flat(), ...panels.rest];
      const items = all.flatMap(({ from, size }) => Array.from({ length: size }, (_, i) => from + i));
      expect(items).toEqual(Array.from({ length: batch }, (_, i) => i));
      for (const round of panels.rounds) expect(round.length % threads).toBe(0);
      expect(panels.rest[0]?.size ?? 0).toBeLessThan(threads);
    }
  });

  test('panels are of the size that is asked for, and not too many', () => {
    expect(cutBatch(1000, 2, 64)?.rounds[0][0].size).toBe(64);
    expect(cutBatch(100, 2, 64)?.rounds[0][0].size).toBe(50);
    expect(cutBatch(64, 2, 4)?.rounds[0][0].size).toBe(4);
    expect(cutBatch(2 ** 20, 2, 1)?.rounds.flat().length).toBeLessThanOrEqual(128);
  });

  test('for all threads together', () => {
    expect(cutJointly(16, 16)).toBeUndefined();
    for (const batch of [17, 32, 65]) {
      const panels = cutJointly(batch, 16);
      const items = panels?.rest.flatMap(({ from, size }) => Array.from({ length: size }, (_, i) => from + i));
      expect(items).toEqual(Array.from({ length: batch }, (_, i) => i));
    }
  });

  test('one thread cuts what does not fit one panel', () => {
    expect(cutBatch(4, 1, 4)).toBeUndefined();
    expect(cutBatch(5, 1, 4)?.rounds.flat()).toEqual([
      { from: 0, size: 4 },
      { from: 4, size: 1 },
    ]);
  });

  test('rows come back where they were', () => {
    const x = tensor(
      'float32',
      [5, 3],
      Float32Array.from({ length: 15 }, (_, i) => i),
    );
    const collector = new RowCollector(5);
    for (const panel of [
      { from: 2, size: 3 },
      { from: 0, size: 2 },
    ])
      collector.add([sliceRows(x, panel)], panel);
    expect(collector.outputs).toEqual([x]);
  });

  test('results of several rows an item come back where they were', () => {
    const flat = tensor(
      'float32',
      [6, 2],
      Float32Array.from({ length: 12 }, (_, i) => i),
    );
    const collector = new RowCollector(3);
    collector.add([sliceRows(flat, { from: 2, size: 4 })], { from: 1, size: 2 });
    collector.add([sliceRows(flat, { from: 0, size: 2 })], { from: 0, size: 1 });
    expect(collector.outputs).toEqual([flat]);
  });

  test('feeds have to share the batch', () => {
    const a = tensor('float32', [4, 2], new Float32Array(8));
    expect(batchOf([a, a])).toBe(4);
    expect(batchOf([a, tensor('float32', [3], new Float32Array(3))])).toBeUndefined();
    expect(batchOf([a, undefined])).toBeUndefined();
    expect(batchOf([tensor('int4', [2, 2], new Uint8Array(2))])).toBeUndefined();
  });
});
