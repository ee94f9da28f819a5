import { expect, test } from 'vitest';
import { foldPad } from '../../../lib/passes/fold-pad.ts';
import { attribute, floats, longs, node, opset, port } from '../../models/onnx-writer.ts';
import { noise, rewrite } from './harness.ts';

const conv = node('Conv', ['p', 'w'], ['y'], { attributes: [attribute.ints('pads', [1, 0, 0, 1])] });

function ops(nodes: Uint8Array[], shape: number[], initializers: Uint8Array[]): string[] {
  const parts = {
    opsets: [opset('', 17)],
    nodes: [...nodes, conv],
    initializers: [floats('w', noise(2 * 3 * 3 * 3, 3), [2, 3, 3, 3]), ...initializers],
    inputs: [port('x', 'float32', shape)],
    outputs: [port('y')],
  };
  return rewrite(parts, [foldPad]).ops;
}

test('zeros around the image', () => {
  const pad = node('Pad', ['x', 'n'], ['p']);
  expect(ops([pad], [1, 3, 5, 6], [longs('n', [0, 0, 1, 2, 0, 0, 0, 3])])).toEqual(['Conv']);
});

test('zeros before a transpose', () => {
  const turn = node('Transpose', ['q'], ['p'], { attributes: [attribute.ints('perm', [0, 3, 1, 2])] });
  const pad = node('Pad', ['x', 'n'], ['q']);
  expect(ops([pad, turn], [1, 5, 6, 3], [longs('n', [0, 1, 2, 0, 0, 0, 3, 0])])).toEqual(['Transpose', 'Conv']);
});

test('other padding stays', () => {
  const pad = (inputs: string[], mode: string) =>
    node('Pad', inputs, ['p'], { attributes: [attribute.string('mode', mode)] });
  const [around, channels] = [longs('n', [0, 0, 1, 1, 0, 0, 1, 1]), longs('n', [0, 1, 0, 0, 0, 0, 0, 0])];
  expect(ops([pad(['x', 'n'], 'reflect')], [1, 3, 5, 6], [around])).toEqual(['Pad', 'Conv']);
  expect(ops([pad(['x', 'n', 'one'], 'constant')], [1, 3, 5, 6], [around, floats('one', [1], [])])).toEqual([
    'Pad',
    'Conv',
  ]);
  expect(ops([pad(['x', 'n'], 'constant')], [1, 2, 5, 6], [channels])).toEqual(['Pad', 'Conv']);
});
