/** What the fuzzer found, each as small as it gets. */

import { constants } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { MemoryError, ModelFormatError, RunError } from '../../lib/errors.ts';
import { type RunValues, Session, type SessionOptions } from '../../lib/index.ts';
import type { DType } from '../../lib/ir/dtype.ts';
import {
  attribute,
  type Bytes,
  floats,
  graph,
  longs,
  model,
  node,
  opset,
  port,
  rawTensor,
} from '../models/onnx-writer.ts';

const { float, int, ints } = attribute;
type Like = { type: string; dims: readonly number[]; data: Iterable<unknown> };

const f32 = (dims: readonly number[]): RunValues[string] => {
  const count = dims.reduce((a, b) => a * b, 1);
  return { type: 'float32', dims, data: Float32Array.from({ length: count }, (_, i) => i - 3) };
};

interface Parts {
  readonly nodes: Bytes[];
  readonly shape?: readonly (number | string | null)[];
  readonly outputs?: Readonly<Record<string, DType>>;
  readonly initializers?: Bytes[];
  readonly opset?: number;
}

/** Runs a model of one float32 input x. */
async function runOn(
  dims: readonly number[],
  parts: Parts,
  options: SessionOptions = {},
): Promise<Record<string, Like>> {
  const { nodes, shape, outputs = { y: 'float32' }, initializers = [], opset: version = 17 } = parts;
  const bytes = model({
    nodes,
    initializers,
    inputs: [port('x', 'float32', shape ?? dims)],
    outputs: Object.entries(outputs).map(([name, dtype]) => port(name, dtype)),
    opsets: [opset('', version), opset('com.microsoft', 1)],
  });
  const session = await Session.load(bytes, options);
  try {
    return (await session.run({ x: f32(dims) })) as unknown as Record<string, Like>;
  } finally {
    await session.dispose();
  }
}

test('repeats, sizes and counts that are no whole numbers are refused', async () => {
  const doubles = rawTensor('r', 'float64', [2], Float64Array.of(3e-323, 2));
  const tile: Parts = { nodes: [node('Tile', ['x', 'r'], ['y'])], initializers: [doubles] };
  await expect(runOn([2, 2], tile)).rejects.toThrow(/input 1 is a tensor of float64/);
  const topk: Parts = { nodes: [node('TopK', ['x', 'k'], ['y', 'i'])], initializers: [floats('k', [1.5])] };
  await expect(runOn([4], topk)).rejects.toThrow(RunError);
});

test('a result of int4 has the storage that Tensor takes', async () => {
  const parts: Parts = {
    nodes: [node('Cast', ['x'], ['y'], { attributes: [int('to', 22)] })],
    outputs: { y: 'int4' },
    opset: 21,
  };
  const { y } = await runOn([3], parts);
  expect([y.type, y.dims, [...y.data]]).toEqual(['int4', [3], [0xed, 0x0f]]);
});

describe('batches are not dealt where results have no rows', () => {
  test.each([
    [25, 'uint2', Uint8Array],
    [8, 'string', Array],
  ] as const)('cast to %i', async (to, type, storage) => {
    const parts: Parts = {
      nodes: [node('Cast', ['x'], ['y'], { attributes: [int('to', to)] })],
      outputs: { y: type },
      opset: 25,
    };
    const { y } = await runOn([9, 3], parts, { scheduler: 'throughput', threads: 2 });
    expect(y.dims).toEqual([9, 3]);
    expect(y.data).toBeInstanceOf(storage);
  });
});

test.skipIf(constants.MAX_LENGTH > 2 ** 33)('a result larger than a buffer is a MemoryError', async () => {
  const parts: Parts = {
    nodes: [node('Expand', ['x', 's'], ['y'])],
    initializers: [longs('s', [2 ** 15, 2 ** 15 + 1])],
  };
  await expect(runOn([1, 1], parts)).rejects.toThrow(MemoryError);
});

test('working memory beyond the machine is a MemoryError', async () => {
  const parts: Parts = {
    nodes: [node('Expand', ['x', 's'], ['a']), node('Exp', ['a'], ['b']), node('ReduceMean', ['b'], ['y'])],
    initializers: [longs('s', [2 ** 20, 2 ** 20])],
  };
  await expect(runOn([1, 1], parts)).rejects.toThrow(MemoryError);
});

test('an empty value whose other sizes are beyond all counting', async () => {
  const nodes = [
    node('Reshape', ['x', 's'], ['a'], { attributes: [int('allowzero', 1)] }),
    node('Transpose', ['a'], ['b']),
    node('Add', ['b', 'b'], ['y']),
  ];
  const parts: Parts = { nodes, initializers: [longs('s', [2 ** 40, 2 ** 40, 0])], shape: ['n', 0] };
  await expect(runOn([3, 0], parts)).rejects.toThrow(/empty.*too large/);
});

test('an expansion to negative sizes', async () => {
  const parts: Parts = { nodes: [node('Expand', ['x', 's'], ['y'])], initializers: [longs('s', [-3, -1, 1])] };
  await expect(runOn([1], parts)).rejects.toThrow(/negative size/);
});

test('an input that may not be omitted', async () => {
  const parts: Parts = { nodes: [node('PRelu', ['', 'x'], ['y'])] };
  await expect(runOn([2], parts)).rejects.toThrow(/input 0 is omitted/);
});

test('a slope of PRelu that is larger than the input', async () => {
  const parts: Parts = { nodes: [node('PRelu', ['x', 's'], ['y'])], initializers: [floats('s', [1, 2, 3])] };
  await expect(runOn([2, 1], parts)).rejects.toThrow(/slope/);
  await expect(runOn([2, 1], { ...parts, shape: ['n', 1] })).rejects.toThrow(/slope/);
});

test('Trilu of a vector', async () => {
  await expect(runOn([3], { nodes: [node('Trilu', ['x'], ['y'])] })).rejects.toThrow(ModelFormatError);
});

describe('bodies with fewer outputs than their node', () => {
  const body = (inputs: Bytes[], outputs: Bytes[]): Bytes =>
    attribute.graph(
      'body',
      graph({ nodes: [node('Identity', ['v'], ['s']), node('Identity', ['c'], ['d'])], inputs, outputs }),
    );
  const [go, gone] = [port('c', 'bool', []), port('d', 'bool', [])];
  const [v, s] = [port('v', 'float32', [2]), port('s', 'float32', [2])];

  test('Loop', async () => {
    const attributes = [body([port('i', 'int64', []), go, v], [gone, s])];
    const loop = node('Loop', ['', '', 'x'], ['y', 'more'], { attributes });
    const outputs = { y: 'float32', more: 'float32' } as const;
    await expect(runOn([2], { nodes: [loop], outputs })).rejects.toThrow(/2 outputs, expected a condition and 2/);
  });

  test('SequenceMap', async () => {
    const attributes = [body([v, port('c', 'float32', [2])], [s])];
    const nodes = [
      node('SequenceConstruct', ['x'], ['q']),
      node('SequenceMap', ['q', 'x'], ['y', 'more'], { attributes }),
    ];
    const parts: Parts = { nodes: [...nodes, node('SequenceLength', ['more'], ['n'])], outputs: { n: 'int64' } };
    await expect(runOn([2], parts)).rejects.toThrow(ModelFormatError);
  });

  test('Scan', async () => {
    const attributes = [body([v, port('c', 'float32', [2])], [s]), int('num_scan_inputs', 1)];
    const scan = node('Scan', ['x', 'rows'], ['y', 'more'], { attributes });
    const parts: Parts = {
      nodes: [scan],
      initializers: [floats('rows', [1, 2], [1, 2])],
      outputs: { more: 'float32' },
    };
    await expect(runOn([2], parts)).rejects.toThrow(ModelFormatError);
  });
});

test('block-quantized weights of other sizes than announced', async () => {
  const attributes = [
    int('N', 1),
    int('K', 2 ** 48 + 1),
    int('bits', 4),
    int('block_size', 16),
    int('accuracy_level', 4),
  ];
  const multiply = node('MatMulNBits', ['x', 'w', 's'], ['y'], { attributes, domain: 'com.microsoft' });
  const weight = rawTensor('w', 'uint8', [1, 1, 8], new Uint8Array(8));
  const parts: Parts = { nodes: [multiply], initializers: [weight, floats('s', [1])] };
  await expect(runOn([1, 16], parts)).rejects.toThrow(/B has shape/);
});

describe('operators of com.microsoft', () => {
  const ms = (name: string, inputs: string[], outputs: string[], ...attributes: Bytes[]): Bytes =>
    node(name, inputs, outputs, { attributes, domain: 'com.microsoft' });
  const cast = (to: number): Bytes => node('Cast', ['x'], ['i'], { attributes: [int('to', to)] });

  test('GatherBlockQuantized with indices of bytes', async () => {
    const table = rawTensor('t', 'uint8', [4, 8], new Uint8Array(32));
    const gather = ms('GatherBlockQuantized', ['t', 'i', 's'], ['y'], int('block_size', 16));
    const parts: Parts = { nodes: [cast(2), gather], initializers: [table, floats('s', [1, 1, 1, 1], [4, 1])] };
    await expect(runOn([3], parts)).rejects.toThrow(/indices are of uint8/);
  });

  test('GroupQueryAttention with a negative length', async () => {
    const sizes = [int('num_heads', 1), int('kv_num_heads', 1)];
    const attend = ms('GroupQueryAttention', ['x', 'x', 'x', 'p', 'p', 'last', 'total'], ['y', 'k', 'v'], ...sizes);
    const whole = (name: string, dims: number[], value: number) => rawTensor(name, 'int32', dims, Int32Array.of(value));
    const initializers = [floats('p', [], [1, 1, 0, 4]), whole('last', [1], -9), whole('total', [], -8)];
    await expect(runOn([1, 1, 4], { nodes: [attend], initializers })).rejects.toThrow(/total_sequence_length is -8/);
  });
});

test('Attention of heads of any size', async () => {
  const size = 70_000;
  const parts: Parts = {
    nodes: [node('Attention', ['x', 'x', 'x'], ['y'], { attributes: [float('scale', 0)] })],
    opset: 23,
  };
  const [first] = (await runOn([1, 1, 2, size], parts)).y.data as Float32Array;
  expect(first).toBe(size / 2 - 3);
});

test('a convolution with weights of another type', async () => {
  const weight = rawTensor('w', 'bool', [1, 1, 1], Uint8Array.of(1));
  const parts: Parts = { nodes: [node('Conv', ['x', 'w'], ['y'])], initializers: [weight] };
  await expect(runOn([1, 1, 4], parts)).rejects.toThrow(/bool, expected float/);
});

test('an average with negative padding behind', async () => {
  const attributes = [ints('kernel_shape', [2, 2]), ints('pads', [0, 0, 0, -1]), int('count_include_pad', 1)];
  const { y } = await runOn([1, 1, 2, 3], { nodes: [node('AveragePool', ['x'], ['y'], { attributes })] });
  expect([...y.data]).toEqual([-1]);
});

test('windows beyond what kernels count', async () => {
  const attributes = [ints('kernel_shape', [2 ** 25]), ints('pads', [2 ** 24, 2 ** 24])];
  const { y } = await runOn([1, 1, 2], { nodes: [node('MaxPool', ['x'], ['y'], { attributes })] });
  expect([...y.data]).toEqual([-2, -2, -2]);
});

test('a statistic of BatchNormalization that is a scalar', async () => {
  const norm = node('BatchNormalization', ['x', 'v', 'v', 's', 'v'], ['y']);
  const parts: Parts = { nodes: [norm], initializers: [floats('v', [1, 1]), floats('s', [1], [])] };
  await expect(runOn([1, 2, 2], parts)).rejects.toThrow(/mean is \[\], expected 2 elements/);
});

test('Clip of an operator set whose bounds are attributes', async () => {
  const clip = node('Clip', ['x', 'low'], ['y']);
  const parts: Parts = { nodes: [clip], initializers: [floats('low', [0], [])], opset: 9 };
  await expect(runOn([2], parts)).rejects.toThrow(/from version 11/);
});

test('ArgMin of an operator set that knows no last index', async () => {
  const attributes = [int('axis', 0), int('select_last_index', 1)];
  const least = node('ArgMin', ['e'], ['y'], { attributes });
  const nodes = [node('Abs', ['x'], ['a']), node('Sub', ['a', 'a'], ['e']), least];
  expect([...(await runOn([3, 1], { nodes, outputs: { y: 'int64' }, opset: 7 })).y.data]).toEqual([0n]);
});

test('a node without outputs', async () => {
  const nodes = [node('Relu', ['x'], ['']), node('Neg', ['x'], ['y'])];
  expect([...(await runOn([2], { nodes }, { optimization: 'none' })).y.data]).toEqual([3, 2]);
});

test('MaxPool of which only the indices are read', async () => {
  const pool = node('MaxPool', ['x'], ['maxima', 'y'], { attributes: [ints('kernel_shape', [2, 2])] });
  const { y } = await runOn([1, 1, 2, 2], { nodes: [pool], outputs: { y: 'int64' } });
  expect([...y.data]).toEqual([3n]);
});

test('Attention of which only the present keys are read', async () => {
  const heads = [int('q_num_heads', 1), int('kv_num_heads', 1)];
  const attend = node('Attention', ['x', 'x', 'x', '', 'p', 'p'], ['a', 'y'], { attributes: heads });
  const past = floats('p', [9, 8], [1, 1, 1, 2]);
  const { y } = await runOn([1, 2, 2], { nodes: [attend], initializers: [past], opset: 23 });
  expect([...y.data]).toEqual([9, 8, -3, -2, -1, 0]);
});

test('an Attention mask of integers is added', async () => {
  const one = [1, 1, 2, 1];
  const mask = rawTensor('m', 'int32', [2, 2], Int32Array.of(-100, 0, 0, -100));
  const parts: Parts = { nodes: [node('Attention', ['x', 'x', 'x', 'm'], ['y'])], initializers: [mask], opset: 23 };
  const [first, second] = (await runOn(one, parts)).y.data;
  expect([first, second]).toEqual([expect.closeTo(-2, 5), expect.closeTo(-3, 5)]);
});

test('LayerNormalization of which only the mean is read', async () => {
  const norm = node('LayerNormalization', ['x', 'g'], ['a', 'y']);
  const { y } = await runOn([2, 2], { nodes: [norm], initializers: [floats('g', [1, 1])] });
  expect([...y.data]).toEqual([-2.5, -0.5]);
});

test('n-grams with more skips than items', async () => {
  const count = node('TfIdfVectorizer', ['i'], ['y'], {
    attributes: [
      ...[int('min_gram_length', 2), int('max_gram_length', 2 ** 50), int('max_skip_count', 2 ** 53)],
      ...[
        attribute.string('mode', 'TF'),
        ints('ngram_counts', [0, 0]),
        ints('ngram_indexes', [0]),
        ints('pool_int64s', [1, 2]),
      ],
    ],
  });
  const cast = node('Cast', ['x'], ['i'], { attributes: [int('to', 7)] });
  const { y } = await runOn([6], { nodes: [cast, count] });
  expect([...y.data]).toEqual([1]);
});

test('a window larger than any number that counts', async () => {
  const same = attribute.string('auto_pad', 'SAME_UPPER');
  const pool = node('LpPool', ['x'], ['y'], { attributes: [ints('kernel_shape', [2, 2 ** 62]), same] });
  await expect(runOn([1, 1, 4, 4], { nodes: [pool] })).rejects.toThrow(/kernel/);
});

test('complex numbers where real ones are wanted', async () => {
  const complex = rawTensor(
    'c',
    'complex64',
    [1, 1, 2, 2],
    Float32Array.from({ length: 8 }, (_, i) => i),
  );
  const attend = node('Attention', ['c', 'c', 'c'], ['y']);
  const parts: Parts = { nodes: [attend], initializers: [complex], outputs: { y: 'complex64' }, opset: 23 };
  await expect(runOn([1], parts)).rejects.toThrow(/Attention.*complex64/);
});

test('DFT of complex numbers', async () => {
  const complex = rawTensor('c', 'complex64', [1, 2, 2], Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  const parts: Parts = { nodes: [node('DFT', ['c'], ['y'])], initializers: [complex], outputs: { y: 'complex64' } };
  await expect(runOn([1], parts)).rejects.toThrow(/expected floats/);
});

test('strings where numbers are wanted', async () => {
  const texts = [node('Cast', ['x'], ['s'], { attributes: [int('to', 8)] }), node('Softmax', ['s'], ['y'])];
  await expect(runOn([3], { nodes: texts, outputs: { y: 'string' } })).rejects.toThrow(/Softmax.*string/);
});

test('an axis of the first operator sets before the first dimension', async () => {
  const add = node('Add', ['x', 'b'], ['y'], { attributes: [int('axis', -(2 ** 53)), int('broadcast', 1)] });
  const parts: Parts = { nodes: [add], initializers: [floats('b', [1, 2])], opset: 6 };
  await expect(runOn([2, 2], parts)).rejects.toThrow(ModelFormatError);
});
