import { describe, expect, test } from 'vitest';
import { fuseLayerNorm } from '../../../lib/passes/fuse-layer-norm.ts';
import { attribute, floats, longs, node, opset, port } from '../../models/onnx-writer.ts';
import { noise, rewrite } from './harness.ts';

type Parts = Parameters<typeof rewrite>[0];

const over = (...axes: number[]) => ({ attributes: [attribute.ints('axes', axes)] });
const mean = (x: string, y: string, axes = [-1]): Uint8Array => node('ReduceMean', [x], [y], over(...axes));
const constants = [
  floats('two', [2], []),
  floats('one', [1], []),
  floats('half', [-0.5], []),
  floats('epsilon', [1e-3], []),
  floats('gamma', noise(4, 3)),
  floats('beta', noise(4, 5)),
  floats('both', noise(12, 7), [3, 4]),
  longs('last', [-1]),
];

const model = (nodes: Uint8Array[], version = 13): Parts => ({
  opsets: [opset('', version)],
  nodes,
  initializers: constants,
  inputs: [port('x', 'float32', [2, 3, 4])],
  outputs: [port('y')],
});

const centred = [mean('x', 'm'), node('Sub', ['x', 'm'], ['c'])];
const variance = [node('Pow', ['c', 'two'], ['q']), mean('q', 'v'), node('Add', ['v', 'epsilon'], ['e'])];
const parameters = [node('Mul', ['gamma', 'n'], ['g']), node('Add', ['g', 'beta'], ['y'])];
const root = node('Sqrt', ['e'], ['d']);

const forms: Record<string, Uint8Array[]> = {
  'divided by the deviation': [...centred, ...variance, root, node('Div', ['c', 'd'], ['n']), ...parameters],
  'times the reciprocal': [
    ...centred,
    ...variance,
    root,
    node('Reciprocal', ['d'], ['r']),
    node('Mul', ['c', 'r'], ['n']),
    ...parameters,
  ],
  'times one over the deviation, squares by product': [
    ...centred,
    node('Mul', ['c', 'c'], ['q']),
    ...variance.slice(1),
    root,
    node('Div', ['one', 'd'], ['r']),
    node('Mul', ['r', 'c'], ['n']),
    ...parameters,
  ],
  'times a power': [
    ...centred,
    ...variance,
    node('Pow', ['e', 'half'], ['r']),
    node('Mul', ['c', 'r'], ['n']),
    ...parameters,
  ],
  'two differences': [
    ...centred,
    node('Sub', ['x', 'm'], ['b']),
    ...variance,
    root,
    node('Div', ['b', 'd'], ['n']),
    ...parameters,
  ],
  'spread over the input and the mean': [
    ...centred,
    ...variance,
    root,
    node('Reciprocal', ['d'], ['r']),
    node('Mul', ['r', 'gamma'], ['k']),
    node('Mul', ['x', 'k'], ['xk']),
    node('Mul', ['m', 'k'], ['mk']),
    node('Sub', ['beta', 'mk'], ['s']),
    node('Add', ['xk', 's'], ['y']),
  ],
};

describe('layer normalisation', () => {
  test.each(Object.entries(forms))('%s', (_, nodes) => {
    const { graph, ops } = rewrite(model(nodes), [fuseLayerNorm]);
    expect(ops).toEqual(['LayerNormalization']);
    const [{ inputs, attributes }] = graph.nodes;
    expect(inputs.map((value) => value?.name)).toEqual(['x', 'gamma', 'beta']);
    expect(attributes.get('axis')?.value).toBe(-1);
    expect(attributes.get('epsilon')?.value).toBeCloseTo(1e-3, 9);
  });

  test('axes as an input, over two axes', () => {
    const nodes = [
      node('ReduceMean', ['x', 'axes'], ['m']),
      centred[1],
      variance[0],
      node('ReduceMean', ['q', 'axes'], ['v']),
      variance[2],
      root,
      node('Div', ['c', 'd'], ['n']),
      node('Mul', ['n', 'both'], ['y']),
    ];
    const parts = { ...model(nodes, 18), initializers: [...constants, longs('axes', [2, 1])] };
    const { graph, ops } = rewrite(parts, [fuseLayerNorm]);
    expect(ops).toEqual(['LayerNormalization']);
    expect(graph.nodes[0].attributes.get('axis')?.value).toBe(-2);
  });

  test('without parameters, or with factors that are none', () => {
    const nodes = [...forms['divided by the deviation'].slice(0, 6), node('Div', ['c', 'd'], ['y'])];
    expect(rewrite(model(nodes), [fuseLayerNorm]).ops).toEqual(['LayerNormalization']);
    const scaled = [...nodes.slice(0, -1), node('Div', ['c', 'd'], ['n']), node('Mul', ['n', 'both'], ['y'])];
    expect(rewrite(model(scaled), [fuseLayerNorm]).ops).toEqual(['LayerNormalization', 'Mul']);
  });

  test('by root mean square', () => {
    const square = [node('Pow', ['x', 'two'], ['q']), ...variance.slice(1), root];
    const divided = [...square, node('Div', ['x', 'd'], ['n']), node('Mul', ['gamma', 'n'], ['y'])];
    expect(rewrite(model(divided), [fuseLayerNorm]).ops).toEqual(['SimplifiedLayerNormalization']);
    const inverse = [node('Reciprocal', ['d'], ['r']), node('Mul', ['x', 'r'], ['n'])];
    const shifted = [...square, ...inverse, ...parameters];
    expect(rewrite(model(shifted), [fuseLayerNorm]).ops).toEqual(['SimplifiedLayerNormalization', 'Add']);
  });

  test('a centred value that somebody else reads stays', () => {
    const nodes = [...forms['divided by the deviation'], node('Abs', ['c'], ['z'])];
    const { ops } = rewrite({ ...model(nodes), outputs: [port('y'), port('z')] }, [fuseLayerNorm]);
    expect(ops).toEqual(['ReduceMean', 'Sub', 'LayerNormalization', 'Abs']);
  });

  test('means over other axes, of other values, or squeezed are no layer normalisation', () => {
    const [m, c] = centred;
    const rest = [root, node('Div', ['c', 'd'], ['y'])];
    const first = [mean('x', 'm', [1]), c, variance[0], mean('q', 'v', [1]), variance[2], ...rest];
    expect(rewrite(model(first), [fuseLayerNorm]).ops).toContain('Div');
    const other = [m, c, node('Pow', ['m', 'two'], ['q']), ...variance.slice(1), ...rest];
    expect(rewrite(model(other), [fuseLayerNorm]).ops).toContain('Div');
    const differ = [m, c, variance[0], mean('q', 'v', [1, 2]), variance[2], ...rest];
    expect(rewrite(model(differ), [fuseLayerNorm]).ops).toEqual(['ReduceMean', 'Sub', 'SimplifiedLayerNormalization']);
  });
});
