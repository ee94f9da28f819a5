import { describe, expect, test } from 'vitest';
import { ModelFormatError, UnsupportedError } from '../../lib/errors.ts';
import type { Model } from '../../lib/ir/model.ts';
import { type HostTensor, toNumbers } from '../../lib/ir/tensor.ts';
import { verifyGraph } from '../../lib/ir/verify.ts';
import { loadModel } from '../../lib/onnx/load.ts';
import { interpret } from '../../lib/ops/interpret.ts';
import {
  attribute,
  floats,
  functionProto,
  graph,
  MessageWriter,
  model,
  node,
  opset,
  port,
} from '../models/onnx-writer.ts';

const x = port('x', 'float32', ['n']);
const y = port('y');

function loaded(bytes: Uint8Array): Model {
  const result = loadModel(bytes);
  verifyGraph(result.graph);
  return result;
}

function run(result: Model, ...feeds: number[][]): number[] {
  const tensors = feeds.map(
    (feed): HostTensor => ({ kind: 'tensor', dtype: 'float32', dims: [feed.length], data: Float32Array.from(feed) }),
  );
  return [...toNumbers(interpret(result.graph, tensors)[0] as HostTensor)];
}

const loading = (parts: Parameters<typeof model>[0]) => () => loadModel(model(parts));

describe('order and names', () => {
  test('nodes out of order are sorted', () => {
    const nodes = [node('Neg', ['b'], ['y']), node('Relu', ['a'], ['b']), node('Abs', ['x'], ['a'])];
    const result = loaded(model({ nodes, inputs: [x], outputs: [y] }));
    expect(result.graph.nodes.map((n) => n.op)).toEqual(['Abs', 'Relu', 'Neg']);
    expect(run(result, [-2, 3])).toEqual([-2, -3]);
  });

  test('a long chain in reverse needs no stack', () => {
    const count = 30_000;
    const nodes = Array.from({ length: count }, (_, i) => node('Neg', [i === 0 ? 'x' : `v${i}`], [`v${i + 1}`]));
    const result = loadModel(model({ nodes: nodes.reverse(), inputs: [x], outputs: [port(`v${count}`)] }));
    expect(result.graph.nodes.length).toBe(count);
  });

  test('cycles, unknown names and names defined twice are refused', () => {
    const cycle = [node('Add', ['x', 'b'], ['a']), node('Neg', ['a'], ['b'])];
    expect(loading({ nodes: cycle, inputs: [x], outputs: [y] })).toThrow(/"a" needs its own result \(a cycle\)/);
    expect(loading({ nodes: [node('Neg', ['y'], ['y'])], outputs: [y] })).toThrow(/cycle/);
    expect(loading({ nodes: [node('Neg', ['ghost'], ['y'])], outputs: [y] })).toThrow(/reads "ghost" \(input 0\)/);
    const twice = [node('Neg', ['x'], ['y']), node('Abs', ['x'], ['y'])];
    expect(loading({ nodes: twice, inputs: [x], outputs: [y] })).toThrow('"y" is written by Neg "y" and by Abs "y"');
    expect(loading({ nodes: [node('Neg', ['x'], ['x'])], inputs: [x], outputs: [x] })).toThrow(/cycle|second time/);
    expect(loading({ nodes: [], inputs: [x, x], outputs: [x] })).toThrow('"x" is defined a second time');
    const weights = [floats('w', [1]), floats('w', [2])];
    expect(loading({ initializers: weights, outputs: [port('w')] })).toThrow('"w" occurs twice');
    expect(loading({ nodes: [node('Neg', ['x'], ['z'])], inputs: [x], outputs: [y] })).toThrow(
      'nothing computes the output "y"',
    );
  });

  test('omitted inputs and outputs are null, trailing ones dropped', () => {
    const nodes = [node('Clip', ['x', '', 'top', ''], ['y'])];
    const top = floats('top', [1], []);
    const result = loaded(model({ nodes, inputs: [x], outputs: [y], initializers: [top] }));
    expect(result.graph.nodes[0].inputs.map((value) => value?.name)).toEqual(['x', undefined, 'top']);
    expect(run(result, [-5, 5])).toEqual([-5, 1]);
  });
});

describe('versions and operators', () => {
  const parts = { nodes: [node('Relu', ['x'], ['y'])], inputs: [x], outputs: [y] };

  test('the model is checked against what is known', () => {
    expect(loading({ ...parts, ir: 15 })).toThrow('the model has IR version 15, expected 3 to 14');
    expect(loading({ ...parts, ir: 2 })).toThrow(UnsupportedError);
    expect(loading({ ...parts, ir: 0 })).toThrow(ModelFormatError);
    expect(loading({ ...parts, opsets: [opset('', 29)] })).toThrow(/version 29 of ai.onnx; the newest known is 28/);
    expect(loading({ ...parts, opsets: [opset('', 0)] })).toThrow(ModelFormatError);
    expect(loading({ ...parts, opsets: [opset('', 7), opset('ai.onnx', 8)] })).toThrow('in versions 7 and 8');
    expect(loading({ ...parts, opsets: [opset('other', 1)] })).toThrow('Relu "y" is of domain ai.onnx');
    expect(loaded(model({ ...parts, opsets: [opset('ai.onnx', 17), opset('unused', 999)] })).opsets.get('')).toBe(17);
    expect(() => loadModel(new MessageWriter().int(1, 9).done())).toThrow('it has no graph');
  });

  test('all nodes that cannot run are reported in one error', () => {
    const nodes = [
      node('Frobnicate', ['x'], ['a'], { name: 'first' }),
      node('Frobnicate', ['a'], ['b'], { name: 'second' }),
      node('Mish', ['b'], ['y'], { name: 'early' }),
      node('Relu', ['x'], ['z'], { domain: 'no.such' }),
    ];
    const opsets = [opset('', 17), opset('no.such', 1)];
    try {
      loadModel(model({ nodes, inputs: [x], outputs: [y], opsets }));
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(UnsupportedError);
      const { message, details } = error as UnsupportedError;
      expect(message).toContain(
        'no operator Frobnicate in ai.onnx 17 (Frobnicate "first", Frobnicate "second"; export it',
      );
      expect(message).toContain('Mish exists since ai.onnx 18, the model imports 17');
      expect(message).toContain('convert the model to version 18 of ai.onnx');
      expect(message).toContain(
        'no operator Relu in no.such 1 (no.such.Relu "Relu_3"; the operator of that name is in ai.onnx: correct',
      );
      expect((details.nodes as { node: string }[]).map((n) => n.node)).toHaveLength(4);
    }
  });

  test('attributes and counts are checked against the definition', () => {
    const one = (op: string, inputs: string[], ...attributes: Uint8Array[]) =>
      loading({ nodes: [node(op, inputs, ['y'], { attributes })], inputs: [x], outputs: [y] });
    expect(one('Relu', ['x'], attribute.int('speed', 1))).toThrow('Relu "y" has no attribute "speed"');
    expect(one('Relu', ['x'], attribute.int('__tool', 1))).not.toThrow();
    expect(one('LeakyRelu', ['x'], attribute.string('alpha', 'a'))).toThrow(
      '"alpha" is of type string, expected float',
    );
    const twice = [attribute.float('alpha', 1), attribute.float('alpha', 2)];
    expect(one('LeakyRelu', ['x'], ...twice)).toThrow('"alpha" of LeakyRelu "y" occurs twice');
    expect(one('Add', ['x'])).toThrow('Add "y" has 1 inputs, expected 2');
    expect(one('Relu', ['x', 'x'])).toThrow('Relu "y" has 2 inputs, expected 1');
    expect(one('LeakyRelu', ['x'], attribute.reference('alpha', 'a', 1))).toThrow('outside a function');
  });
});

describe('initializers', () => {
  const parts = {
    nodes: [node('Add', ['x', 'w'], ['y'])],
    inputs: [x, port('w', 'float32', [2])],
    outputs: [y],
    initializers: [floats('w', [10, 20])],
  };

  test('before IR version 4 an initializer that is an input is a constant', () => {
    const result = loaded(model({ ...parts, ir: 3 }));
    expect(result.inputs.map((input) => input.name)).toEqual(['x']);
    expect(run(result, [1, 2])).toEqual([11, 22]);
  });

  test('later it is a default that a caller may override', () => {
    const result = loaded(model({ ...parts, ir: 4 }));
    expect(result.inputs.map((input) => input.name)).toEqual(['x', 'w']);
    expect(run(result, [1, 2])).toEqual([11, 22]);
    expect(run(result, [1, 2], [5, 5])).toEqual([6, 7]);
  });
});

describe('bodies', () => {
  const cond = port('c', 'bool', []);
  const branches = (then: Uint8Array, other: Uint8Array) => [
    attribute.graph('then_branch', then),
    attribute.graph('else_branch', other),
  ];
  const runIf = (result: Model, condition: boolean, values: number[]): number[] => {
    const c: HostTensor = { kind: 'tensor', dtype: 'bool', dims: [], data: Uint8Array.of(condition ? 1 : 0) };
    const v: HostTensor = { kind: 'tensor', dtype: 'float32', dims: [values.length], data: Float32Array.from(values) };
    return [...toNumbers(interpret(result.graph, [c, v])[0] as HostTensor)];
  };

  test('capture values, constants and captures of the enclosing graph, each once', () => {
    const inner = graph({
      nodes: [node('Add', ['t', 'w'], ['u']), node('Mul', ['u', 't'], ['deep'])],
      outputs: [port('deep')],
    });
    const middle = graph({
      nodes: [node('If', ['c'], ['o'], { attributes: branches(inner, inner), name: 'nested' })],
      outputs: [port('o')],
    });
    const plain = graph({ outputs: [port('t')] });
    const nodes = [
      node('Neg', ['x'], ['t']),
      node('If', ['c'], ['y'], { attributes: branches(middle, plain), name: 'outer' }),
    ];
    const result = loaded(model({ nodes, inputs: [cond, x], outputs: [y], initializers: [floats('w', [10])] }));
    const [, outer] = result.graph.nodes;
    expect(outer.captures.map((value) => value.name).sort()).toEqual(['c', 't', 'w']);
    const then = outer.attributes.get('then_branch');
    if (then?.type !== 'graph') throw new Error('no body');
    expect(then.value.captures.map(({ inner: own }) => own.name).sort()).toEqual(['c', 't', 'w']);
    expect(then.value.nodes[0].captures).toHaveLength(2);
    expect(runIf(result, true, [1, 2])).toEqual([-9, -16]);
    expect(runIf(result, false, [1, 2])).toEqual([-1, -2]);
  });

  test('a name of a body hides one of the enclosing graph, also one that is defined later', () => {
    const body = graph({ nodes: [node('Abs', ['x'], ['y'])], outputs: [port('y')] });
    const nodes = [node('If', ['c'], ['y'], { attributes: branches(body, body) })];
    expect(runIf(loaded(model({ nodes, inputs: [cond, x], outputs: [y] })), true, [-3])).toEqual([3]);
  });

  test('what a body reads orders the nodes', () => {
    const body = graph({ nodes: [node('Abs', ['late'], ['b'])], outputs: [port('b')] });
    const nodes = [node('If', ['c'], ['y'], { attributes: branches(body, body) }), node('Neg', ['x'], ['late'])];
    const result = loaded(model({ nodes, inputs: [cond, x], outputs: [y] }));
    expect(result.graph.nodes.map((n) => n.op)).toEqual(['Neg', 'If']);
    const own = graph({ nodes: [node('Abs', ['y'], ['b'])], outputs: [port('b')] });
    const cycle = [node('If', ['c'], ['y'], { attributes: branches(own, own) })];
    expect(loading({ nodes: cycle, inputs: [cond, x], outputs: [y] })).toThrow(/cycle/);
    const ghost = graph({ nodes: [node('Abs', ['ghost'], ['b'])], outputs: [port('b')] });
    const lost = [node('If', ['c'], ['y'], { attributes: branches(ghost, ghost) })];
    expect(loading({ nodes: lost, inputs: [cond, x], outputs: [y] })).toThrow(/reads "ghost"/);
  });

  test('functions are inlined in bodies, and bodies in functions see their arguments', () => {
    const body = graph({
      nodes: [node('LeakyRelu', ['a'], ['r'], { attributes: [attribute.reference('alpha', 'slope', 1)] })],
      outputs: [port('r')],
    });
    const pick = functionProto('Pick', {
      domain: 'local',
      inputs: ['k', 'a'],
      outputs: ['p'],
      attributes: ['slope'],
      nodes: [node('If', ['k'], ['p'], { attributes: branches(body, graph({ outputs: [port('a')] })) })],
    });
    const call = (output: string, slope: number) =>
      node('Pick', ['c', 'x'], [output], { domain: 'local', attributes: [attribute.float('slope', slope)] });
    const outer = graph({ nodes: [call('q', 0.25)], outputs: [port('q')] });
    const nodes = [node('If', ['c'], ['y'], { attributes: branches(outer, outer) })];
    const opsets = [opset('', 17), opset('local', 1)];
    const result = loaded(model({ nodes, inputs: [cond, x], outputs: [y], functions: [pick], opsets }));
    expect(runIf(result, true, [-4, 4])).toEqual([-1, 4]);
    expect(runIf(result, false, [-4, 4])).toEqual([-4, 4]);
  });
});

describe('functions', () => {
  const leaky = functionProto('MyLeaky', {
    domain: 'local',
    inputs: ['a', 'bias'],
    outputs: ['b'],
    attributes: ['slope'],
    defaults: [attribute.float('shift', 0.5)],
    nodes: [
      node('LeakyRelu', ['a'], ['t'], { attributes: [attribute.reference('alpha', 'slope', 1)] }),
      node('Elu', ['t'], ['b'], { attributes: [attribute.reference('alpha', 'shift', 1)] }),
    ],
  });
  const opsets = [opset('', 17), opset('local', 1)];
  const call = (attributes: Uint8Array[], inputs = ['x']) =>
    model({
      nodes: [node('MyLeaky', inputs, ['y'], { domain: 'local', attributes, name: 'call' })],
      inputs: [x],
      outputs: [y],
      functions: [leaky],
      opsets,
    });

  test('attributes are passed on, defaulted, or omitted', () => {
    const given = loaded(call([attribute.float('slope', 0.25), attribute.float('shift', 2)]));
    expect(given.graph.nodes.map((n) => n.op)).toEqual(['LeakyRelu', 'Elu']);
    expect(given.graph.nodes[0].attributes.get('alpha')).toEqual({ type: 'float', value: 0.25 });
    expect(given.graph.nodes[1].attributes.get('alpha')).toEqual({ type: 'float', value: 2 });
    expect(given.graph.nodes[1].outputs[0]?.name).toBe('y');
    const omitted = loaded(call([]));
    expect(omitted.graph.nodes[0].attributes.has('alpha')).toBe(false);
    expect(omitted.graph.nodes[1].attributes.get('alpha')).toEqual({ type: 'float', value: 0.5 });
    expect(() => loadModel(call([attribute.float('other', 1)]))).toThrow('its function has no attribute "other"');
    expect(() => loadModel(call([], ['x', 'x', 'x']))).toThrow(/3 inputs and 1 outputs, its function 2 and 1/);
  });

  test('names of two calls do not meet, calls nest, inputs pass through', () => {
    const twice = functionProto('Twice', {
      domain: 'local',
      inputs: ['a'],
      outputs: ['d', 'a'],
      opsets,
      nodes: [
        node('Negate', ['a'], ['c'], { domain: 'local' }),
        node('Add', ['a', 'c'], ['s']),
        node('Sub', ['s', 'c'], ['d']),
      ],
    });
    const negate = functionProto('Negate', {
      domain: 'local',
      inputs: ['a'],
      outputs: ['t'],
      nodes: [node('Neg', ['a'], ['t'])],
    });
    const nodes = [
      node('Twice', ['x'], ['u', 'same'], { domain: 'local' }),
      node('Twice', ['u'], ['v'], { domain: 'local' }),
      node('Add', ['v', 'same'], ['y']),
    ];
    const result = loaded(model({ nodes, inputs: [x], outputs: [y], functions: [twice, negate], opsets }));
    const names = result.graph.nodes.flatMap((n) => n.outputs.map((value) => value?.name));
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain('u');
    expect(run(result, [3])).toEqual([6]);
  });

  test('a function may stand in the place of a known operator, and means its own operator versions', () => {
    const relu = functionProto('Relu', {
      domain: '',
      inputs: ['a'],
      outputs: ['b'],
      opsets: [opset('', 11)],
      nodes: [node('Neg', ['a'], ['b'])],
    });
    const nodes = [node('Relu', ['x'], ['y'])];
    const result = loaded(model({ nodes, inputs: [x], outputs: [y], functions: [relu] }));
    expect(result.graph.nodes.map((n) => [n.op, n.version])).toEqual([['Neg', 11]]);
  });

  test('recursion and growth without bounds are refused', () => {
    const calling = (name: string, ...to: string[]) =>
      functionProto(name, {
        domain: 'local',
        inputs: ['a'],
        outputs: ['b'],
        opsets,
        nodes: to.map((op, i) =>
          node(op, [i ? `t${i}` : 'a'], [i === to.length - 1 ? 'b' : `t${i + 1}`], { domain: 'local' }),
        ),
      });
    const main = (functions: Uint8Array[]) =>
      loading({ nodes: [node('A', ['x'], ['y'], { domain: 'local' })], inputs: [x], outputs: [y], functions, opsets });
    expect(main([calling('A', 'B'), calling('B', 'A')])).toThrow('function local.A calls itself');
    const leaf = functionProto('F0', {
      domain: 'local',
      inputs: ['a'],
      outputs: ['b'],
      nodes: [node('Neg', ['a'], ['b'])],
    });
    const doubling = Array.from({ length: 40 }, (_, i) => calling(`F${i + 1}`, `F${i}`, `F${i}`));
    expect(main([leaf, ...doubling, calling('A', 'F40')])).toThrow(`${2 ** 40} nodes once its functions are inlined`);
    expect(main([calling('A'), calling('A')])).toThrow('function local.A is defined twice');
  });
});
