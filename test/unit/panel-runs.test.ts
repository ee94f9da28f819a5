/** Batches in panels against batches in one plan. */

import { expect, test } from 'vitest';
import type { HostTensor } from '../../lib/ir/tensor.ts';
import { fromNumbers } from '../../lib/ir/tensor.ts';
import { CompiledModel } from '../../lib/runtime/compiled.ts';
import { attribute, floats, longs, model, node, port } from '../models/onnx-writer.ts';

const hidden = 8;
const noise = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 * seed));

/** One layer of an encoder as exporters write it: tokens, positions, a mask by row numbers of the flattened batch. */
function encoder(): Uint8Array {
  const unsqueeze = (from: string, to: string, axes: string) => node('Unsqueeze', [from, axes], [to]);
  const split = (name: string) => [
    node('MatMul', ['h', `w${name}`], [`${name}0`]),
    node('Reshape', [`${name}0`, 'heads'], [`${name}1`]),
    node('Transpose', [`${name}1`], [name], {
      attributes: [attribute.ints('perm', name === 'k' ? [0, 2, 3, 1] : [0, 2, 1, 3])],
    }),
  ];
  return model({
    nodes: [
      node('Shape', ['ids'], ['shape']),
      node('Gather', ['shape', 'zero'], ['n']),
      node('Gather', ['shape', 'one'], ['s']),
      unsqueeze('s', 's1', 'first'),
      node('Slice', ['positions', 'first', 's1', 'second'], ['own']),
      node('Gather', ['table', 'ids'], ['tokens']),
      node('Gather', ['places', 'own'], ['place']),
      node('Add', ['tokens', 'place'], ['h']),
      node('Range', ['zero', 'n', 'one'], ['items']),
      node('Range', ['zero', 's', 'one'], ['columns']),
      unsqueeze('items', 'items4', 'behind'),
      node('Mul', ['items4', 's'], ['starts']),
      node('Add', ['starts', 'columns'], ['index']),
      node('Reshape', ['mask', 'flat'], ['all']),
      node('Gather', ['all', 'index'], ['kept']),
      node('Cast', ['kept'], ['kept1'], { attributes: [attribute.int('to', 9)] }),
      node('Where', ['kept1', 'nothing', 'hidden'], ['bias']),
      ...[split('q'), split('k'), split('v')].flat(),
      node('MatMul', ['q', 'k'], ['scores']),
      node('Add', ['scores', 'bias'], ['masked']),
      node('Softmax', ['masked'], ['weights'], { attributes: [attribute.int('axis', -1)] }),
      node('MatMul', ['weights', 'v'], ['mixed']),
      node('Transpose', ['mixed'], ['turned'], { attributes: [attribute.ints('perm', [0, 2, 1, 3])] }),
      node('Reshape', ['turned', 'rows'], ['y']),
    ],
    inputs: [port('ids', 'int64', ['n', 's']), port('mask', 'int64', ['n', 's'])],
    outputs: [port('y', 'float32')],
    initializers: [
      ...[longs('zero', [0], []), longs('one', [1], []), longs('first', [0]), longs('second', [1])],
      ...[longs('flat', [-1]), longs('behind', [1, 2, 3]), longs('heads', [0, 0, 2, 4]), longs('rows', [-1, hidden])],
      longs(
        'positions',
        Array.from({ length: 64 }, (_, i) => i),
        [1, 64],
      ),
      ...[floats('nothing', [0], []), floats('hidden', [-1e4], [])],
      ...[floats('table', noise(50 * hidden, 1), [50, hidden]), floats('places', noise(64 * hidden, 2), [64, hidden])],
      ...['q', 'k', 'v'].map((name, i) => floats(`w${name}`, noise(hidden * hidden, 3 + i), [hidden, hidden])),
    ],
  });
}

function feedsFor(batch: number, length: number): HostTensor[] {
  const ids = Array.from({ length: batch * length }, (_, i) => (i * 17 + (i >> 3)) % 50);
  const mask = Array.from({ length: batch * length }, (_, i) => Number(i % length < 5 + (Math.floor(i / length) % 7)));
  return [fromNumbers('int64', [batch, length], ids), fromNumbers('int64', [batch, length], mask)];
}

test.each([1, 2, 3])('an encoder with masks on %i threads', async (threads) => {
  const compiled = CompiledModel.openSync(encoder(), { threads });
  for (const [batch, length] of [
    [2, 40],
    [3, 40],
    [5, 17],
    [7, 40],
    [17, 40],
    [33, 33],
  ]) {
    const feeds = feedsFor(batch, length);
    const got = (await compiled.run(feeds))[0] as HostTensor;
    const alone = new Set(compiled.stages);
    const want = compiled.runSync(feeds)[0] as HostTensor;
    expect(got.dims).toEqual([batch * length, hidden]);
    expect(new Set(want.data as Float32Array).size).toBeGreaterThan(batch * 50);
    (want.data as Float32Array).forEach((value, i) => {
      expect((got.data as Float32Array)[i]).toBeCloseTo(value, 5);
    });
    // The whole batch had no plan before.
    if (batch >= 5 && threads > 1) expect(compiled.stages.some((stage) => !alone.has(stage))).toBe(true);
  }
  compiled.dispose();
});
