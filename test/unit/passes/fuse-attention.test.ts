import { describe, expect, test } from 'vitest';
import type { Node } from '../../../lib/ir/graph.ts';
import { fromNumbers, type HostTensor } from '../../../lib/ir/tensor.ts';
import { fuseAttention } from '../../../lib/passes/fuse-attention.ts';
import { attribute, floats, longs, node, opset, port } from '../../models/onnx-writer.ts';
import { noise, rewrite } from './harness.ts';

const perm = (...axes: number[]) => ({ attributes: [attribute.ints('perm', axes)] });
const lastAxis = { attributes: [attribute.int('axis', -1)] };
const opsets = [opset('', 17)];

const split = (name: string, order: number[]): Uint8Array[] => [
  node('Reshape', [name, 'heads'], [`${name}4`]),
  node('Transpose', [`${name}4`], [`${name}t`], perm(...order)),
];

/** Two heads of size 4 over [2, 3, 8]; `scores` makes "w" of "s". */
const encoder = (scores: Uint8Array[], extra: Parameters<typeof rewrite>[0] = {}): Parameters<typeof rewrite>[0] => ({
  opsets,
  nodes: [
    ...split('q', [0, 2, 1, 3]),
    ...split('k', [0, 2, 3, 1]),
    ...split('v', [0, 2, 1, 3]),
    node('MatMul', ['qt', 'kt'], ['s']),
    ...scores,
    node('MatMul', ['w', 'vt'], ['o']),
    node('Transpose', ['o'], ['ot'], perm(0, 2, 1, 3)),
    node('Reshape', ['ot', 'merged'], ['y']),
    ...(extra.nodes ?? []),
  ],
  initializers: [
    longs('heads', [0, 0, 2, 4]),
    longs('merged', [0, 0, 8]),
    floats('root', [2], []),
    floats('huge', [-3.4028234663852886e38], []),
    floats('zero', [0], []),
  ],
  inputs: [
    ...['q', 'k', 'v'].map((name) => port(name, 'float32', [2, 3, 8])),
    port('mask', 'float32', [2, 1, 1, 3]),
    port('seen', 'bool', [1, 1, 3, 3]),
  ],
  outputs: [port('y'), ...(extra.outputs ?? [])],
});

const feeds = (): HostTensor[] => [
  ...[1, 2, 3].map((seed) => fromNumbers('float32', [2, 3, 8], noise(48, seed))),
  fromNumbers('float32', [2, 1, 1, 3], [0, 0, -1e4, 0, Number.NEGATIVE_INFINITY, 0]),
  fromNumbers('bool', [1, 1, 3, 3], [1, 0, 0, 1, 1, 0, 0, 0, 0]),
];

const attentionOf = (nodes: readonly Node[]): Node => {
  const found = nodes.filter((n) => n.op === 'Attention' && n.domain === 'filigree');
  expect(found).toHaveLength(1);
  return found[0];
};
const attributeOf = (n: Node, name: string): unknown => n.attributes.get(name)?.value;

const masked = [
  node('Div', ['s', 'root'], ['d']),
  node('Add', ['d', 'mask'], ['m']),
  node('Softmax', ['m'], ['w'], lastAxis),
];

describe('attention', () => {
  test('heads split and merged, scores divided and masked', () => {
    const { graph, ops } = rewrite(encoder(masked), [fuseAttention], { feeds: feeds() });
    expect(ops).toEqual(['Reshape', 'Reshape', 'Reshape', 'filigree.Attention', 'Reshape']);
    const fused = attentionOf(graph.nodes);
    const layouts = ['q', 'k', 'v', 'y'].map((name) => attributeOf(fused, `${name}_layout`));
    expect(layouts).toEqual(['bshd', 'bshd', 'bshd', 'bshd']);
    expect(attributeOf(fused, 'scale')).toBe(0.5);
    expect(fused.inputs).toHaveLength(4);
  });

  test('scores hidden by a condition; a row of hidden scores alone stays uniform', () => {
    const scores = [node('Where', ['seen', 's', 'huge'], ['h']), node('Softmax', ['h'], ['w'], lastAxis)];
    const { ops } = rewrite(encoder(scores), [fuseAttention], { feeds: feeds() });
    expect(ops).toContain('filigree.Attention');
    expect(ops).not.toContain('Softmax');
  });

  test('rows that are not numbers become zeros', () => {
    const scores = [
      node('Add', ['s', 'mask'], ['m']),
      node('Softmax', ['m'], ['p'], lastAxis),
      node('IsNaN', ['p'], ['n']),
      node('Where', ['n', 'zero', 'p'], ['w']),
    ];
    const all = feeds();
    all[3] = fromNumbers('float32', [2, 1, 1, 3], [0, 0, 0, ...new Array<number>(3).fill(Number.NEGATIVE_INFINITY)]);
    const { graph } = rewrite(encoder(scores), [fuseAttention], { feeds: all });
    expect(attributeOf(attentionOf(graph.nodes), 'nan_to_zero')).toBe(1);
  });

  test('a mask, then a condition that hides whatever was added; factors of queries join the scale', () => {
    const parts = encoder([
      node('Add', ['s', 'mask'], ['m']),
      node('Where', ['seen', 'm', 'huge'], ['h']),
      node('Softmax', ['h'], ['w'], lastAxis),
    ]);
    const nodes = [...(parts.nodes as Uint8Array[])];
    nodes[6] = node('MatMul', ['qs', 'kt'], ['s']);
    nodes.splice(6, 0, node('Mul', ['root', 'qt'], ['qs']));
    const { graph, ops } = rewrite({ ...parts, nodes }, [fuseAttention], { feeds: feeds() });
    expect(attributeOf(attentionOf(graph.nodes), 'scale')).toBe(2);
    expect(ops.filter((op) => op === 'Where' || op === 'Add')).toEqual(['Where']);
  });

  /** Scores of 2 images with 3 windows, 2 heads, 4 queries and keys, and a mask over [images, windows, heads, q, k]. */
  const windows = (mask: readonly number[], cut = [2, 3, 2, 4, 4]): Parameters<typeof rewrite>[0] => ({
    opsets,
    nodes: [
      node('MatMul', ['q', 'k'], ['s']),
      node('Add', ['s', 'bias'], ['b']),
      node('Reshape', ['b', 'cut'], ['c']),
      node('Add', ['c', 'mask'], ['m']),
      node('Reshape', ['m', 'whole'], ['r']),
      node('Softmax', ['r'], ['w'], lastAxis),
      node('MatMul', ['w', 'v'], ['y']),
    ],
    initializers: [longs('cut', cut), longs('whole', [6, 2, 4, 4]), floats('bias', noise(32), [1, 2, 4, 4])],
    inputs: [
      port('q', 'float32', [6, 2, 4, 5]),
      port('k', 'float32', [6, 2, 5, 4]),
      port('v', 'float32', [6, 2, 4, 3]),
      port('mask', 'float32', mask),
    ],
    outputs: [port('y')],
  });

  test.each([
    { mask: [1, 3, 1, 4, 4], ops: ['Expand', 'Reshape', 'Add', 'filigree.Attention'] },
    { mask: [2, 3, 1, 1, 4], ops: ['Reshape', 'Add', 'filigree.Attention'] },
    { mask: [2, 1, 2, 4, 1], ops: ['Expand', 'Reshape', 'Add', 'filigree.Attention'] },
    { mask: [2, 4, 4], ops: ['Reshape', 'Add', 'filigree.Attention'] },
    { mask: [1], ops: ['Reshape', 'Add', 'filigree.Attention'] },
  ])('a mask for windows of $mask', ({ mask, ops }) => {
    expect(rewrite(windows(mask), [fuseAttention]).ops).toEqual(ops);
  });

  test('scores cut otherwise than in images and windows are left alone', () => {
    for (const cut of [
      [6, 2, 2, 2, 4],
      [2, 3, 4, 2, 4],
    ]) {
      expect(rewrite(windows([1, 1, 1, 1, 4], cut), [fuseAttention]).ops).toContain('Softmax');
    }
  });

  test('readers of the shape before heads are merged see the same shape', () => {
    const parts = encoder(masked, { nodes: [node('Shape', ['o'], ['shape'])], outputs: [port('shape')] });
    const { ops } = rewrite(parts, [fuseAttention], { feeds: feeds() });
    expect(ops).toContain('Gather');
    expect(ops).not.toContain('Transpose');
  });

  test('weights that somebody else reads, or a softmax over another axis, are left alone', () => {
    const shown = rewrite({ ...encoder(masked), outputs: [port('y'), port('w')] }, [fuseAttention], { feeds: feeds() });
    expect(shown.ops).toContain('Softmax');
    const scores = [node('Softmax', ['s'], ['w'], { attributes: [attribute.int('axis', 2)] })];
    expect(rewrite(encoder(scores), [fuseAttention], { feeds: feeds() }).ops).toContain('Softmax');
  });

  test('operands of rank 3, keys for all heads, keys that lie transposed', () => {
    const parts = {
      opsets,
      nodes: [
        node('MatMul', ['q', 'k'], ['s']),
        node('Softmax', ['s'], ['w'], lastAxis),
        node('MatMul', ['w', 'v'], ['y']),
      ],
      inputs: [port('q', 'float32', [4, 3, 5]), port('k', 'float32', [1, 5, 2]), port('v', 'float32', [4, 2, 6])],
      outputs: [port('y')],
    };
    const { graph } = rewrite(parts, [fuseAttention]);
    const fused = attentionOf(graph.nodes);
    expect([attributeOf(fused, 'q_layout'), attributeOf(fused, 'k_layout')]).toEqual(['hsd', 'hds']);
  });

  test('a cache joined to the keys', () => {
    const parts = {
      opsets,
      nodes: [
        node('Concat', ['past', 'k'], ['all'], { attributes: [attribute.int('axis', 2)] }),
        node('Transpose', ['all'], ['turned'], perm(0, 1, 3, 2)),
        node('MatMul', ['q', 'turned'], ['s']),
        node('Softmax', ['s'], ['w'], lastAxis),
        node('MatMul', ['w', 'all'], ['y']),
      ],
      inputs: ['past', 'k', 'q'].map((name) => port(name, 'float32', [1, 2, 2, 4])),
      outputs: [port('y'), port('all')],
    };
    const { ops } = rewrite(parts, [fuseAttention]);
    expect(ops).toEqual(['Concat', 'filigree.Attention']);
  });
});
