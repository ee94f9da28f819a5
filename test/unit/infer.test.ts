import { describe, expect, test } from 'vitest';
import { InternalError } from '../../lib/errors.ts';
import { type Graph, makeConstant, makeValue, type Node, tensorType } from '../../lib/ir/graph.ts';
import { printGraph, typeText } from '../../lib/ir/print.ts';
import { fromNumbers } from '../../lib/ir/tensor.ts';
import { verifyGraph } from '../../lib/ir/verify.ts';
import { loadModel } from '../../lib/onnx/load.ts';
import { inferTypes } from '../../lib/ops/infer.ts';
import { attribute, floats, longs, model, node, port } from '../models/onnx-writer.ts';

const load = (parts: Parameters<typeof model>[0]): Graph => loadModel(model(parts)).graph;
const typesOf = (graph: Graph): string[] => graph.nodes.map((n) => typeText(n.outputs[0]?.type));

describe('inferTypes', () => {
  test('symbols stay, constants and known shapes are followed', () => {
    const graph = load({
      nodes: [
        node('Relu', ['x'], ['r']),
        node('Shape', ['fixed'], ['s']),
        node('Neg', ['s'], ['n']),
        node('Abs', ['n'], ['shape']),
        node('Reshape', ['r', 'shape'], ['y']),
      ],
      inputs: [port('x', 'float32', ['batch', 6]), port('fixed', 'float32', [2, 3])],
      outputs: [port('y')],
    });
    expect(typesOf(graph)).toEqual(['float32[batch,6]', 'int64[2]', 'int64[2]', 'int64[2]', 'float32[2,3]']);
    const contents = inferTypes(graph);
    const named = new Map([...contents].map(([value, content]) => [value.name, [...(content.data as BigInt64Array)]]));
    expect(named.get('s')).toEqual([2n, 3n]);
    expect(named.get('shape')).toEqual([2n, 3n]);
    expect(named.has('r')).toBe(false);
  });

  test('symbols travel through shape arithmetic', () => {
    const graph = load({
      nodes: [
        node('Shape', ['x'], ['s']),
        node('Gather', ['s', 'zero'], ['b'], { attributes: [attribute.int('axis', 0)] }),
        node('Unsqueeze', ['b', 'axes'], ['b1']),
        node('Slice', ['s', 'one', 'two'], ['n1']),
        node('Concat', ['b1', 'n1', 'rest', 'four'], ['shape'], { attributes: [attribute.int('axis', 0)] }),
        node('Reshape', ['x', 'shape'], ['y']),
        node('Equal', ['shape', 'rest'], ['e']),
        node('Where', ['e', 'four', 'shape'], ['w']),
        node('Expand', ['four', 'n1'], ['z']),
      ],
      initializers: [
        longs('zero', [0], []),
        longs('axes', [0]),
        longs('one', [1]),
        longs('two', [2]),
        longs('rest', [-1]),
        longs('four', [4]),
      ],
      inputs: [port('x', 'float32', ['batch', 'n', 12])],
      outputs: [port('y'), port('w'), port('z')],
    });
    const types = new Map(graph.nodes.map((n) => [n.outputs[0]?.name, typeText(n.outputs[0]?.type)]));
    expect(types.get('y')).toBe('float32[batch,n,3,4]');
    expect(types.get('z')).toBe('int64[n]');
  });

  test('what depends on data has no size, and declared shapes of inner values are not believed', () => {
    const graph = load({
      nodes: [node('Reshape', ['x', 's'], ['y']), node('Relu', ['y'], ['z'])],
      inputs: [port('x', 'float32', [4]), port('s', 'int64', [2])],
      outputs: [port('z', 'float32', [1, 99])],
    });
    expect(typesOf(graph)).toEqual(['float32[?0,?1]', 'float32[?0,?1]']);
  });

  test('sizes that are not known have symbols, which tell what is equal', () => {
    const graph = load({
      nodes: [
        node('Reshape', ['x', 's'], ['a']),
        node('Reshape', ['x', 's'], ['b']),
        node('Neg', ['a'], ['c']),
        node('Add', ['a', 'c'], ['same']),
        node('Add', ['a', 'b'], ['other']),
      ],
      inputs: [port('x', 'float32', [4]), port('s', 'int64', [1])],
      outputs: [port('same'), port('other')],
    });
    expect(typesOf(graph)).toEqual(['float32[?0]', 'float32[?1]', 'float32[?0]', 'float32[?0]', 'float32[?2]']);
  });

  test('types that cannot meet are refused at load, naming the node', () => {
    const parts = {
      nodes: [node('Add', ['x', 'w'], ['y'], { name: 'sum' })],
      inputs: [port('x', 'float32', ['n', 3])],
      outputs: [port('y')],
      initializers: [floats('w', [1, 2])],
    };
    expect(() => load(parts)).toThrow(/Add "sum"/);
  });
});

describe('printGraph', () => {
  test('shows types, attributes and small constants', () => {
    const graph = load({
      nodes: [
        node('LeakyRelu', ['x'], ['a'], { attributes: [attribute.float('alpha', 0.5)] }),
        node('Clip', ['a', '', 'top'], ['b']),
        node('Transpose', ['b'], ['c'], { attributes: [attribute.ints('perm', [1, 0])] }),
        node('Reshape', ['c', 's'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 'n'])],
      outputs: [port('y')],
      initializers: [floats('top', [6], []), longs('s', [-1])],
    });
    expect(printGraph(graph).split('\n')).toEqual([
      'graph "g" (x: float32[2,n]) -> (y: float32[?0])',
      '  a: float32[2,n] = LeakyRelu<alpha=0.5>(x)',
      '  b: float32[2,n] = Clip(a, -, top: float32[] {6})',
      '  c: float32[n,2] = Transpose<perm=[1, 0]>(b)',
      '  y: float32[?0] = Reshape(c, s: int64[1] {-1})',
    ]);
    expect(typeText({ kind: 'sequence', element: { kind: 'optional', element: tensorType('int8', undefined) } })).toBe(
      'sequence(optional(int8))',
    );
    expect(typeText(undefined)).toBe('?');
  });
});

describe('verifyGraph', () => {
  const nodeOf = (inputs: Node['inputs'], name: string): Node => {
    const made: Node = {
      ...{ name, op: 'Neg', domain: '', version: 17, inputs, outputs: [], attributes: new Map(), captures: [] },
    };
    const output = makeValue(`${name}:0`);
    output.producer = made;
    made.outputs = [output];
    return made;
  };
  const small = (): { graph: Graph; first: Node; second: Node } => {
    const x = makeValue('x');
    const first = nodeOf([x], 'first');
    const second = nodeOf([first.outputs[0], makeConstant('c', fromNumbers('float32', [1], [1]))], 'second');
    const graph: Graph = {
      name: 'g',
      inputs: [x],
      outputs: second.outputs.slice() as never,
      nodes: [first, second],
      captures: [],
    };
    return { graph, first, second };
  };

  test('accepts a sound graph', () => {
    expect(() => verifyGraph(small().graph)).not.toThrow();
  });

  test.each<[string, (parts: ReturnType<typeof small>) => void, RegExp]>([
    ['order', ({ graph }) => graph.nodes.reverse(), /reads "first:0" before it is defined/],
    ['a value of nowhere', ({ first }) => first.inputs.push(makeValue('ghost')), /reads "ghost"/],
    ['a producer', ({ first }) => (first.outputs[0]!.producer = undefined), /has another producer/],
    ['two definitions', ({ graph, first }) => graph.nodes.push(first), /defined twice/],
    ['an output', ({ graph }) => graph.outputs.push(makeValue('lost')), /output reads "lost"/],
    ['a constant output', ({ first }) => (first.outputs[0]!.constant = fromNumbers('int8', [], [1])), /is a constant/],
    [
      'a default',
      ({ graph }) => (graph.defaults = new Map([[makeValue('d'), fromNumbers('int8', [], [1])]])),
      /default of "d"/,
    ],
    [
      'a capture that the node does not list',
      ({ graph, first }) => {
        const inner = makeValue('inner');
        const body: Graph = {
          name: 'b',
          inputs: [],
          outputs: [inner],
          nodes: [],
          captures: [{ inner, outer: graph.inputs[0] }],
        };
        first.attributes.set('body', { type: 'graph', value: body });
      },
      /does not list the captured "x"/,
    ],
    [
      'a body that reads an outer value without a capture',
      ({ graph, first }) => {
        const body: Graph = { name: 'b', inputs: [], outputs: [graph.inputs[0]], nodes: [], captures: [] };
        first.attributes.set('body', { type: 'graph', value: body });
      },
      /graph "b": the graph's output reads "x"/,
    ],
  ])('refuses a broken graph: %s', (_, damage, message) => {
    const parts = small();
    damage(parts);
    expect(() => verifyGraph(parts.graph)).toThrow(InternalError);
    expect(() => verifyGraph(parts.graph)).toThrow(message);
  });
});
