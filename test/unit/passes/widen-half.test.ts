import { describe, expect, test } from 'vitest';
import { fromNumbers } from '../../../lib/ir/tensor.ts';
import { cleanup } from '../../../lib/passes/cleanup.ts';
import { widenHalf } from '../../../lib/passes/widen-half.ts';
import { attribute, graph, node, opset, port, rawTensor } from '../../models/onnx-writer.ts';
import { noise, rewrite } from './harness.ts';

describe.each(['float16', 'bfloat16'] as const)('%s', (dtype) => {
  const number = dtype === 'float16' ? 10 : 16;
  const weights = (name: string, dims: number[], seed: number) =>
    rawTensor(name, dtype, dims, fromNumbers(dtype, dims, noise(dims[0] * dims[1], seed)).data as Uint16Array);
  const cast = (from: string, to: string, type: number) =>
    node('Cast', [from], [to], { attributes: [attribute.int('to', type)] });
  const tolerance = dtype === 'float16' ? 4e-3 : 3e-2;

  test('between the casts at both ends everything is float32', () => {
    const { graph: made, ops } = rewrite(
      {
        nodes: [node('MatMul', ['x', 'w'], ['a']), node('Relu', ['a'], ['b']), node('Add', ['b', 'a'], ['y'])],
        inputs: [port('x', dtype, [3, 4])],
        outputs: [port('y', dtype), port('a', dtype)],
        initializers: [weights('w', [4, 5], 2)],
      },
      [widenHalf],
      { tolerance },
    );
    expect(ops).toEqual(['Cast', 'MatMul', 'Relu', 'Add', 'Cast', 'Cast']);
    expect(made.nodes[2].outputs[0]?.type).toMatchObject({ dtype: 'float32' });
    expect(made.outputs.map((value) => value.type)).toMatchObject([{ dtype }, { dtype }]);
  });

  test('casts of the model stay where they round and go where they widen', () => {
    const parts = {
      nodes: [cast('x', 'h', number), node('Neg', ['h'], ['n']), cast('n', 'y', 1)],
      inputs: [port('x', 'float32', [6])],
      outputs: [port('y', 'float32')],
    };
    expect(rewrite(parts, [widenHalf, cleanup], { tolerance: 0 }).ops).toEqual(['Cast', 'Cast', 'Neg']);
  });

  test('large tables are gathered as they are', () => {
    const parts = {
      nodes: [node('Gather', ['table', 'i'], ['row']), node('Sqrt', ['row'], ['y'])],
      inputs: [port('i', 'int64', [2])],
      outputs: [port('y', dtype)],
      initializers: [rawTensor('table', dtype, [70000], new Uint16Array(70000).fill(0x3f80))],
    };
    const feeds = [fromNumbers('int64', [2], [5, 69999])];
    expect(rewrite(parts, [widenHalf], { feeds, tolerance }).ops).toEqual(['Gather', 'Cast', 'Sqrt', 'Cast']);
  });

  test('caches stay as they are stored', () => {
    const states = ['past_key', 'past_value'].map((name) => port(name, dtype, [1, 1, 3, 4]));
    const inputs = ['n', 'k', 'v', 'past_key', 'past_value', 'last', 'total'];
    const attributes = [attribute.int('num_heads', 1), attribute.int('kv_num_heads', 1)];
    const parts = {
      opsets: [opset('', 17), opset('com.microsoft', 1)],
      nodes: [
        node('Neg', ['q'], ['n']),
        node('GroupQueryAttention', inputs, ['a', 'key', 'value'], { domain: 'com.microsoft', attributes }),
        node('Abs', ['a'], ['y']),
      ],
      inputs: [...['q', 'k', 'v'].map((name) => port(name, dtype, [1, 1, 4])), ...states, port('last', 'int32', [1])],
      outputs: ['y', 'key', 'value'].map((name) => port(name, dtype)),
      initializers: [rawTensor('total', 'int32', [1], Int32Array.of(4))],
    };
    const half = (dims: number[], seed: number) =>
      fromNumbers(
        dtype,
        dims,
        noise(
          dims.reduce((a, b) => a * b),
          seed,
        ),
      );
    const feeds = [1, 2, 3].map((seed) => half([1, 1, 4], seed));
    feeds.push(half([1, 1, 3, 4], 4), half([1, 1, 3, 4], 5), fromNumbers('int32', [1], [3]));
    const { ops } = rewrite(parts, [widenHalf], { feeds, tolerance });
    expect(ops).toEqual(['Cast', 'Neg', 'Cast', 'com.microsoft.GroupQueryAttention', 'Cast', 'Abs', 'Cast']);
  });

  test('bodies are widened within, and capture values as they were', () => {
    const branch = (op: string) =>
      graph({ nodes: [node('Abs', ['a'], ['t']), node(op, ['t', 'a'], ['z'])], outputs: [port('z', dtype)] });
    const parts = {
      nodes: [
        node('Exp', ['x'], ['a']),
        node('If', ['c'], ['y'], {
          attributes: [attribute.graph('then_branch', branch('Add')), attribute.graph('else_branch', branch('Mul'))],
        }),
      ],
      inputs: [port('x', dtype, [5]), port('c', 'bool', [])],
      outputs: [port('y', dtype)],
    };
    for (const c of [0, 1]) {
      const feeds = [fromNumbers(dtype, [5], noise(5)), fromNumbers('bool', [], [c])];
      expect(rewrite(parts, [widenHalf], { feeds, tolerance: 8 * tolerance }).ops).toEqual([
        'Cast',
        'Exp',
        'Cast',
        'If',
      ]);
    }
  });
});
