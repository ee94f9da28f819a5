import { describe, expect, test } from 'vitest';
import { liftGather } from '../../../lib/passes/lift-gather.ts';
import { attribute, longs, node, opset, port } from '../../models/onnx-writer.ts';
import { rewrite } from './harness.ts';

const perm = (...axes: number[]) => ({ attributes: [attribute.ints('perm', axes)] });
const axis = (at: number) => ({ attributes: [attribute.int('axis', at)] });

const model = (nodes: Uint8Array[], outputs: string[]): Parameters<typeof rewrite>[0] => ({
  opsets: [opset('', 17)],
  nodes: [node('Transpose', ['x'], ['t'], perm(2, 0, 3, 1, 4)), ...nodes],
  initializers: [longs('zero', [0], []), longs('last', [-1], []), longs('both', [0, 1]), longs('one', [1], [1])],
  inputs: [port('x', 'float32', [2, 3, 3, 4, 5])],
  outputs: outputs.map((name) => port(name)),
});

describe('a Gather of one index', () => {
  test('takes its slice before the Transpose', () => {
    const parts = model(
      [
        node('Gather', ['t', 'zero'], ['q'], axis(0)),
        node('Gather', ['t', 'last'], ['k'], axis(0)),
        node('Gather', ['t', 'zero'], ['h'], axis(2)),
        node('Gather', ['t', 'last'], ['d'], axis(-1)),
      ],
      ['q', 'k', 'h', 'd'],
    );
    const { graph, ops } = rewrite(parts, [liftGather]);
    expect(ops).toEqual(Array.from({ length: 4 }, () => ['Gather', 'Transpose']).flat());
    const from = graph.nodes.filter((n) => n.op === 'Gather').map((n) => n.attributes.get('axis')?.value);
    expect(from).toEqual([2, 2, 3, 4]);
  });

  test('stays where others read the Transpose, or where it keeps the axis', () => {
    const one = node('Gather', ['t', 'zero'], ['q'], axis(0));
    for (const parts of [
      model([one], ['q', 't']),
      model([one, node('Relu', ['t'], ['r'])], ['q', 'r']),
      model([one, node('Gather', ['t', 'both'], ['g'], axis(0))], ['q', 'g']),
      model([one, node('Gather', ['t', 'one'], ['g'], axis(0))], ['q', 'g']),
    ]) {
      expect(rewrite(parts, [liftGather]).ops[0]).toBe('Transpose');
    }
  });
});
