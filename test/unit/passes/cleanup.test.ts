import { describe, expect, test } from 'vitest';
import { fromNumbers } from '../../../lib/ir/tensor.ts';
import { cleanup } from '../../../lib/passes/cleanup.ts';
import { integersOf } from '../../../lib/passes/match.ts';
import { attribute, floats, longs, node, opset, port } from '../../models/onnx-writer.ts';
import { noise, rewrite } from './harness.ts';

const perm = (...axes: number[]) => ({ attributes: [attribute.ints('perm', axes)] });
type Parts = Parameters<typeof rewrite>[0];

/** "x" [2, 3, 4] through nodes to "e", whose negative is the output. */
const around = (nodes: Uint8Array[], initializers: Uint8Array[] = [], version = 17): Parts => ({
  opsets: [opset('', version)],
  nodes: [...nodes, node('Neg', ['e'], ['y'])],
  initializers,
  inputs: [port('x', 'float32', [2, 3, 4])],
  outputs: [port('y')],
});

const nothing: Record<string, [nodes: Uint8Array[], initializers?: Uint8Array[], version?: number]> = {
  identity: [[node('Identity', ['x'], ['e'])]],
  'dropout of inference': [[node('Dropout', ['x'], ['e'])]],
  'dropout of version 6': [[node('Dropout', ['x'], ['e'], { attributes: [attribute.int('is_test', 1)] })], [], 6],
  'cast to the same type': [[node('Cast', ['x'], ['e'], { attributes: [attribute.int('to', 1)] })]],
  'reshape to the same shape': [[node('Reshape', ['x', 's'], ['e'])], [longs('s', [0, -1, 4])]],
  'transpose of nothing': [[node('Transpose', ['x'], ['e'], perm(0, 1, 2))]],
  'expand to what it is': [[node('Expand', ['x', 's'], ['e'])], [longs('s', [3, 1])]],
  'slice of everything': [
    [node('Slice', ['x', 'from', 'to', 'from'], ['e'])],
    [longs('from', [0]), longs('to', [2 ** 40])],
  ],
  'padding by nothing': [[node('Pad', ['x', 's'], ['e'])], [longs('s', [0, 0, 0, 0, 0, 0])]],
  'one part': [[node('Concat', ['x'], ['e'], { attributes: [attribute.int('axis', 1)] })]],
  'zero added': [[node('Add', ['z', 'x'], ['e'])], [floats('z', [0, 0, 0, 0], [1, 4])]],
  'zero subtracted': [[node('Sub', ['x', 'z'], ['e'])], [floats('z', [0], [])]],
  'times one': [[node('Mul', ['x', 'o'], ['e'])], [floats('o', [1])]],
  'over one': [[node('Div', ['x', 'o'], ['e'])], [floats('o', [1])]],
  'two transposes': [[node('Transpose', ['x'], ['t'], perm(1, 2, 0)), node('Transpose', ['t'], ['e'], perm(2, 0, 1))]],
  'there and back': [
    [node('Reshape', ['x', 's'], ['r']), node('Reshape', ['r', 't'], ['e'])],
    [longs('s', [6, 4]), longs('t', [2, 3, 4])],
  ],
};

const something: Record<string, [nodes: Uint8Array[], initializers?: Uint8Array[]]> = {
  'slice backwards': [
    [node('Slice', ['x', 'from', 'to', 'axes', 'from'], ['e'])],
    [longs('from', [-1]), longs('to', [-100]), longs('axes', [1])],
  ],
  'padding that moves': [[node('Pad', ['x', 's'], ['e'])], [longs('s', [0, 1, 0, 0, -1, 0])]],
  'zero less': [[node('Sub', ['z', 'x'], ['e'])], [floats('z', [0], [])]],
  'one over': [[node('Div', ['o', 'x'], ['e'])], [floats('o', [1])]],
  'zeros that add axes': [[node('Add', ['x', 'z'], ['e'])], [floats('z', [0], [1, 1, 1, 1])]],
};

describe('cleanup', () => {
  test.each(Object.entries(nothing))('%s', (_, [nodes, initializers, version]) => {
    expect(rewrite(around(nodes, initializers, version), [cleanup]).ops).toEqual(['Neg']);
  });

  test.each(Object.entries(something))('%s stays', (_, [nodes, initializers]) => {
    expect(rewrite(around(nodes, initializers), [cleanup]).ops).toHaveLength(2);
  });

  test('transposes merge while somebody else reads the first', () => {
    const nodes = [
      node('Transpose', ['x'], ['t'], perm(1, 2, 0)),
      node('Transpose', ['t'], ['e'], perm(1, 0, 2)),
      node('Abs', ['t'], ['z']),
    ];
    const parts = around(nodes);
    const { graph } = rewrite({ ...parts, outputs: [port('y'), port('z')] }, [cleanup]);
    const turns = graph.nodes.filter((n) => n.op === 'Transpose');
    expect(turns.map((n) => n.inputs[0] === graph.inputs[0])).toEqual([true, true]);
  });

  test('views of views become one reshape; symbols keep their places, computed shapes become constant', () => {
    const parts: Parts = {
      opsets: [opset('', 17)],
      nodes: [
        node('Shape', ['x'], ['sx']),
        node('Slice', ['sx', 'zero', 'two'], ['head']),
        node('Concat', ['head', 'tail'], ['s'], { attributes: [attribute.int('axis', 0)] }),
        node('Unsqueeze', ['x', 'one'], ['u']),
        node('Reshape', ['u', 's'], ['y']),
      ],
      initializers: [longs('zero', [0]), longs('two', [2]), longs('one', [1]), longs('tail', [2, 4])],
      inputs: [port('x', 'float32', ['batch', 'length', 8])],
      outputs: [port('y')],
    };
    const { graph, ops } = rewrite(parts, [cleanup], { feeds: [fromNumbers('float32', [2, 3, 8], noise(48))] });
    expect(ops).toEqual(['Reshape']);
    expect(integersOf(graph.nodes[0].inputs[1])).toEqual([0, 0, 2, 4]);
  });

  test('outputs that would be the same value, or an input, stay apart', () => {
    const nodes = [node('Abs', ['x'], ['a']), node('Identity', ['a'], ['e']), node('Identity', ['x'], ['z'])];
    const parts = around(nodes);
    const { ops } = rewrite({ ...parts, outputs: [port('a'), port('e'), port('z')] }, [cleanup]);
    expect(ops).toEqual(['Abs', 'Identity', 'Identity']);
  });

  test('a mask of dropout that is read keeps the node', () => {
    const parts = around([node('Dropout', ['x'], ['e', 'm'])]);
    expect(rewrite({ ...parts, outputs: [port('y'), port('m')] }, [cleanup]).ops).toContain('Dropout');
  });
});
