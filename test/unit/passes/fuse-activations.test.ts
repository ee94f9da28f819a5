import { describe, expect, test } from 'vitest';
import { fuseActivations } from '../../../lib/passes/fuse-activations.ts';
import { attribute, floats, node, opset, port } from '../../models/onnx-writer.ts';
import { rewrite } from './harness.ts';

type Parts = Parameters<typeof rewrite>[0];

const numbers: Record<string, number> = {
  one: 1,
  half: 0.5,
  root2: Math.SQRT2,
  inverse: Math.SQRT1_2,
  slope: Math.sqrt(2 / Math.PI),
  cubic: 0.044715,
  scaledCubic: Math.sqrt(2 / Math.PI) * 0.044715,
  two: 2,
  three: 3,
  six: 6,
  sixth: 1 / 6,
  quick: 1.702,
  zero: 0,
  two3: 2 / 3,
};

const model = (nodes: Uint8Array[], version = 13): Parts => ({
  opsets: [opset('', version), opset('com.microsoft', 1)],
  nodes,
  initializers: [
    ...Object.entries(numbers).map(([name, value]) => floats(name, [value], [])),
    floats('bias', [0.1, -0.2, 0.3]),
  ],
  inputs: [port('x', 'float32', [2, 3])],
  outputs: [port('y')],
});
const of = (op: string, inputs: string[], output: string, attributes: Uint8Array[] = []): Uint8Array =>
  node(op, inputs, [output], { attributes });
const microsoft = (op: string, inputs: string[]): Uint8Array => node(op, inputs, ['y'], { domain: 'com.microsoft' });

const erf = [of('Div', ['x', 'root2'], 'a'), of('Erf', ['a'], 'e'), of('Add', ['e', 'one'], 'f')];
const cube = of('Pow', ['x', 'three'], 'p');
const tanh = [
  cube,
  of('Mul', ['cubic', 'p'], 'c'),
  of('Add', ['x', 'c'], 's'),
  of('Mul', ['s', 'slope'], 'u'),
  of('Tanh', ['u'], 'e'),
  of('Add', ['one', 'e'], 'f'),
];
const gated = [of('Mul', ['x', 'f'], 'g'), of('Mul', ['g', 'half'], 'y')];
const relu6 = [of('Add', ['x', 'three'], 'a'), of('Clip', ['a', 'zero', 'six'], 'c')];

const forms: Record<string, [op: string, nodes: Uint8Array[], attribute?: [string, unknown]]> = {
  'x * (1 + erf(x / sqrt 2)) * 0.5': ['Gelu', [...erf, ...gated]],
  'x * 0.5 * (1 + erf(x * sqrt 0.5))': [
    'Gelu',
    [of('Mul', ['half', 'x'], 'h'), of('Mul', ['inverse', 'x'], 'a'), ...erf.slice(1), of('Mul', ['h', 'f'], 'y')],
  ],
  'x * ((1 + erf) * 0.5)': ['Gelu', [...erf, of('Mul', ['f', 'half'], 'h'), of('Mul', ['x', 'h'], 'y')]],
  'x * (1 + erf) / 2': ['Gelu', [...erf, of('Mul', ['f', 'x'], 'g'), of('Div', ['g', 'two'], 'y')]],
  'tanh of x + 0.044715 x^3': ['Gelu', [...tanh, ...gated], ['approximate', 'tanh']],
  'tanh of 0.797 x (1 + 0.044715 x x)': [
    'Gelu',
    [
      of('Mul', ['x', 'half'], 'h'),
      of('Mul', ['x', 'slope'], 'l'),
      of('Mul', ['x', 'cubic'], 'c'),
      of('Mul', ['c', 'x'], 'q'),
      of('Add', ['q', 'one'], 's'),
      of('Mul', ['l', 's'], 'u'),
      ...tanh.slice(4),
      of('Mul', ['h', 'f'], 'y'),
    ],
    ['approximate', 'tanh'],
  ],
  'x * sigmoid(x)': ['Swish', [of('Sigmoid', ['x'], 's'), of('Mul', ['s', 'x'], 'y')], ['alpha', 1]],
  'x * sigmoid(1.702 x)': [
    'Swish',
    [of('Mul', ['x', 'quick'], 'q'), of('Sigmoid', ['q'], 's'), of('Mul', ['x', 's'], 'y')],
    ['alpha', Math.fround(1.702)],
  ],
  'x * tanh(softplus(x))': ['Mish', [of('Softplus', ['x'], 's'), of('Tanh', ['s'], 't'), of('Mul', ['x', 't'], 'y')]],
  'x * hardsigmoid(x)': [
    'HardSwish',
    [of('HardSigmoid', ['x'], 's', [attribute.float('alpha', 1 / 6)]), of('Mul', ['x', 's'], 'y')],
  ],
  'x * clip(x + 3, 0, 6) / 6': ['HardSwish', [...relu6, of('Mul', ['x', 'c'], 'm'), of('Div', ['m', 'six'], 'y')]],
  'x * (clip(x + 3, 0, 6) / 6)': ['HardSwish', [...relu6, of('Div', ['c', 'six'], 'd'), of('Mul', ['x', 'd'], 'y')]],
  'clip(x + 3, 0, 6) / 6': ['HardSigmoid', [...relu6, of('Mul', ['c', 'sixth'], 'y')]],
  'clip(x * 2/3 + 0.5, 0, 1)': [
    'HardSigmoid',
    [of('Mul', ['x', 'two3'], 'a'), of('Add', ['a', 'half'], 'b'), of('Clip', ['b', 'zero', 'one'], 'y')],
    ['alpha', Math.fround(2 / 3)],
  ],
  'min(max(x + 3, 0), 6)': ['Clip', [of('Max', ['x', 'zero'], 'm'), of('Min', ['one', 'm'], 'y')]],
  'gelu of com.microsoft': ['Gelu', [microsoft('Gelu', ['x'])]],
  'fast gelu of com.microsoft': ['Gelu', [microsoft('FastGelu', ['x'])], ['approximate', 'tanh']],
  'quick gelu of com.microsoft': ['Swish', [microsoft('QuickGelu', ['x'])], ['alpha', 1.702]],
};

describe('activations', () => {
  test.each(Object.entries(forms))('%s', (_, [op, nodes, expected]) => {
    const { graph, ops } = rewrite(model(nodes), [fuseActivations]);
    expect(ops).toEqual([op]);
    expect(graph.nodes[0].inputs[0]).toBe(graph.inputs[0]);
    if (expected) expect(graph.nodes[0].attributes.get(expected[0])?.value).toBe(expected[1]);
  });

  test('bounds as attributes', () => {
    const bounds = [attribute.float('min', 0), attribute.float('max', 6)];
    const nodes = [relu6[0], of('Clip', ['a'], 'c', bounds), of('Mul', ['x', 'c'], 'm'), of('Div', ['m', 'six'], 'y')];
    expect(rewrite(model(nodes, 7), [fuseActivations]).ops).toEqual(['HardSwish']);
  });

  test('a bias of com.microsoft stands before the activation', () => {
    for (const op of ['BiasGelu', 'FastGelu']) {
      const { ops } = rewrite(model([microsoft(op, ['x', 'bias'])]), [fuseActivations]);
      expect(ops).toEqual(['Add', 'Gelu']);
    }
  });

  test('a coefficient that stays leaves a product', () => {
    const nodes = [of('Sigmoid', ['x'], 's'), of('Mul', ['x', 's'], 'm'), of('Mul', ['m', 'quick'], 'y')];
    expect(rewrite(model(nodes), [fuseActivations]).ops).toEqual(['Swish', 'Mul']);
  });

  test('other numbers are other functions', () => {
    const other = [of('Div', ['x', 'two'], 'a'), ...erf.slice(1), ...gated];
    expect(rewrite(model(other), [fuseActivations]).ops).toContain('Erf');
    const shifted = [of('Add', ['x', 'two'], 'a'), relu6[1], of('Mul', ['x', 'c'], 'm'), of('Div', ['m', 'six'], 'y')];
    expect(rewrite(model(shifted), [fuseActivations]).ops).not.toContain('HardSwish');
    const gate = [of('Add', ['x', 'bias'], 'b'), of('Sigmoid', ['b'], 's'), of('Mul', ['x', 's'], 'y')];
    expect(rewrite(model(gate), [fuseActivations]).ops).toEqual(['Add', 'Sigmoid', 'Mul']);
    const raised = model([of('Sigmoid', ['x'], 's'), of('Mul', ['x', 's'], 'm'), of('Max', ['m', 'deep'], 'y')]);
    const deep = { ...raised, initializers: [...(raised.initializers ?? []), floats('deep', [0], [1, 1, 1])] };
    expect(rewrite(deep, [fuseActivations]).ops).toEqual(['Swish', 'Max']);
  });
});
