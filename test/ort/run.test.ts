/** InferenceSession.run of onnxruntime-common: feeds, fetches, preallocated outputs, options, and what comes back. */

import { Worker } from 'node:worker_threads';
import { describe } from 'vitest';
import { attribute, floats as initializer, model, node, port } from '../models/onnx-writer.ts';
import { createWith, elements, feeds, floats, modelFolder, type OrtTensor, runWith } from './cases.ts';
import { type Case, forEachImplementation, type Ort, testCases } from './implementations.ts';
import { sequenceOutput, sumAndDifference, unary, withDefault } from './models.ts';

const { path } = modelFolder();

/** All that a run gives of the model of sums, or of another. */
const running =
  (args: (ort: Ort) => readonly unknown[], source: () => Uint8Array = sumAndDifference): Case[1] =>
  async (ort) => {
    const session = await createWith(ort, source());
    const results = await runWith(session, ...args(ort));
    await session.release();
    return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, elements(tensor)]));
  };
const both = { sum: [5, 7, 9], diff: [-3, -3, -3] };

const fetches: Case[] = [
  ['all outputs', running((ort) => [feeds(ort)]), both],
  ['named ones', running((ort) => [feeds(ort), ['diff']]), { diff: both.diff }],
  ['named ones in any order', running((ort) => [feeds(ort), ['diff', 'sum']]), both],
  ['one named twice', running((ort) => [feeds(ort), ['sum', 'sum']]), { sum: both.sum }],
  ['those of a map', running((ort) => [feeds(ort), { sum: null }]), { sum: both.sum }],
  ['those of a map, and options', running((ort) => [feeds(ort), { sum: null }, {}]), { sum: both.sum }],
  ['other names of a map are ignored', running((ort) => [feeds(ort), { sum: null, z: null }]), { sum: both.sum }],
  ['a map without outputs is options', running((ort) => [feeds(ort), { z: null }]), both],
  ['undefined in a map is no output', running((ort) => [feeds(ort), { sum: undefined }]), both],
  ['an unknown name', running((ort) => [feeds(ort), ['product']]), RangeError],
  ['names that are no text', running((ort) => [feeds(ort), [3]]), TypeError],
  ['no names', running((ort) => [feeds(ort), []]), TypeError],
  ['a text', running((ort) => [feeds(ort), 'sum']), TypeError],
  ['a tensor', running((ort) => [feeds(ort), feeds(ort).a]), TypeError],
  ['null', running((ort) => [feeds(ort), null]), TypeError],
];

const options: Case[] = [
  ['instead of fetches', running((ort) => [feeds(ort), { tag: 'x', logSeverityLevel: 2 }]), both],
  ['after names', running((ort) => [feeds(ort), ['sum'], { tag: 'x' }]), { sum: both.sum }],
  ['unknown ones', running((ort) => [feeds(ort), { banana: 1, logVerbosityLevel: 1, extra: {} }]), both],
  ['of a wrong type', running((ort) => [feeds(ort), ['sum'], 3]), TypeError],
  ['null after names', running((ort) => [feeds(ort), ['sum'], null]), TypeError],
  ['a tag of a wrong type', running((ort) => [feeds(ort), { tag: 3 }]), TypeError],
  ['a tag that is undefined', running((ort) => [feeds(ort), { tag: undefined }]), TypeError],
  ['a log level out of range', running((ort) => [feeds(ort), { logSeverityLevel: 9 }]), RangeError],
  ['a log level of a wrong type', running((ort) => [feeds(ort), { logSeverityLevel: 'x' }]), TypeError],
];

/** Feeds where `a` is a tensor with some fields replaced, as another copy of the package might make it. */
const alike = (fields: object) => (ort: Ort) => [
  { ...feeds(ort), a: { type: 'float32', dims: [1, 3], data: Float32Array.of(1, 2, 3), location: 'cpu', ...fields } },
];
const withA = (make: (ort: Ort) => unknown) => (ort: Ort) => [{ ...feeds(ort), a: make(ort) }];

const given: Case[] = [
  ['tensors of another copy of the package', running(alike({})), both],
  ['more than the inputs', running((ort) => [{ ...feeds(ort), z: 3 }]), both],
  ['a part of a buffer', running(withA(({ Tensor }) => new Tensor(part(), [1, 3]))), both],
  [
    'sizes that disagree on a name, where the model can do with them',
    running((ort) => [{ a: feeds(ort).a, b: floats(ort, [1, 2, 3, 4, 5, 6], [2, 3]) }]),
    { sum: [2, 4, 6, 5, 7, 9], diff: [0, 0, 0, -3, -3, -3] },
  ],
  [
    'no elements',
    running((ort) => [{ a: floats(ort, [], [0, 3]), b: floats(ort, [], [0, 3]) }]),
    { sum: [], diff: [] },
  ],
  ['nothing', running(() => []), TypeError],
  ['null', running(() => [null]), TypeError],
  ['an array', running((ort) => [[feeds(ort).a]]), TypeError],
  ['a tensor', running((ort) => [feeds(ort).a]), TypeError],
  ['too few', running((ort) => [{ a: feeds(ort).a }]), Error],
  ['undefined for an input', running(withA(() => undefined)), Error],
  ...[null, 3, 'x', true, [], {}, new Float32Array(3)].map(
    (feed): Case => [`${JSON.stringify(feed)} for an input`, running(withA(() => feed)), TypeError],
  ),
  ['a tensor that is disposed', running(withA(disposedTensor)), RangeError],
  ['a tensor whose memory was transferred', running(withA(transferredTensor)), Error],
  ['data elsewhere', running(alike({ location: 'none' })), RangeError],
  ['a location of a wrong type', running(alike({ location: 3 })), TypeError],
  ['dims that are no array', running(alike({ dims: 3 })), TypeError],
  ['dims of a wrong type', running(alike({ dims: [1, '3'] })), TypeError],
  ['negative dims', running(alike({ dims: [1, -3] })), RangeError],
  ['dims that are not whole', running(alike({ dims: [1, 3.5] })), RangeError],
  ['a type of a wrong type', running(alike({ type: 3 })), TypeError],
  ['a type nobody has', running(alike({ type: 'float' })), TypeError],
  ['a type without a tensor', running(alike({ type: 'bfloat16' })), TypeError],
  ['data of another type', running(alike({ type: 'int32' })), TypeError],
  ['data that is no typed array', running(alike({ data: [1, 2, 3] })), TypeError],
  ['data in a DataView', running(alike({ data: new DataView(new ArrayBuffer(12)) })), TypeError],
  ['data in an array of another class', running(alike({ data: new Float64Array(3) })), TypeError],
  ['data in bytes', running(alike({ data: new Uint8Array(12) })), TypeError],
  ['no data', running(alike({ data: undefined })), TypeError],
  ['too little data', running(alike({ data: new Float32Array(2) })), Error],
  ['another element type', running(withA(({ Tensor }) => new Tensor('float64', [1, 2, 3], [1, 3]))), Error],
  ['another rank', running(withA((ort) => floats(ort, [1, 2, 3], [3]))), Error],
  ['another shape', running(withA((ort) => floats(ort, [1, 2], [1, 2]))), Error],
];

const part = () => Float32Array.of(9, 1, 2, 3, 9).subarray(1, 4);

function disposedTensor(ort: Ort): OrtTensor {
  const tensor = floats(ort, [1, 2, 3], [1, 3]);
  tensor.dispose();
  return tensor;
}

function transferredTensor({ Tensor }: Ort): OrtTensor {
  const data = Float32Array.of(1, 2, 3);
  const tensor = new Tensor(data, [1, 3]);
  structuredClone(data, { transfer: [data.buffer] });
  return tensor;
}

/** Runs with memory for `sum`; what is in it, and in the result. */
const into =
  (make: (ort: Ort) => OrtTensor): Case[1] =>
  async (ort) => {
    const session = await createWith(ort, path);
    const memory = make(ort);
    const results = await runWith(session, feeds(ort), { sum: memory });
    return [Object.keys(results), elements(results.sum), elements(memory)];
  };

const preallocated: Case[] = [
  ['memory of the caller is written', into((ort) => floats(ort, [0, 0, 0], [1, 3])), [['sum'], both.sum, both.sum]],
  [
    'memory in the middle of a buffer',
    async (ort) => {
      const data = new Float32Array(5);
      const session = await createWith(ort, path);
      await runWith(session, feeds(ort), { sum: new ort.Tensor(data.subarray(1, 4), [1, 3]) });
      return [...data];
    },
    [0, 5, 7, 9, 0],
  ],
  [
    'some outputs in memory of the caller, others not',
    running((ort) => [feeds(ort), { sum: floats(ort, [0, 0, 0], [1, 3]), diff: null }]),
    both,
  ],
  [
    'memory that serves again',
    async (ort) => {
      const session = await createWith(ort, path);
      const sum = floats(ort, [0, 0, 0], [1, 3]);
      await runWith(session, feeds(ort), { sum });
      await runWith(session, { ...feeds(ort), a: floats(ort, [10, 20, 30], [1, 3]) }, { sum });
      return elements(sum);
    },
    [14, 25, 36],
  ],
  ['another shape', into((ort) => floats(ort, [0, 0], [1, 2])), Error],
  ['another rank', into((ort) => floats(ort, [0, 0, 0], [3])), Error],
  ['another size', into((ort) => floats(ort, new Array(6).fill(0), [2, 3])), Error],
  ['another type', into(({ Tensor }) => new Tensor('float64', [0, 0, 0], [1, 3])), Error],
  ['memory that was transferred', into(transferredTensor), Error],
  ['a tensor that is disposed', into(disposedTensor), RangeError],
];

const types = [
  ['float32', Float32Array.of(1.5, -2)],
  ['float64', Float64Array.of(1.5, -2)],
  ['int8', Int8Array.of(-128, 127)],
  ['uint8', Uint8Array.of(255, 1)],
  ['int16', Int16Array.of(-32768, 32767)],
  ['uint16', Uint16Array.of(65535, 1)],
  ['int32', Int32Array.of(-(2 ** 31), 1)],
  ['uint32', Uint32Array.of(2 ** 32 - 1, 1)],
  ['int64', BigInt64Array.of(-(2n ** 63n), 1n)],
  ['uint64', BigUint64Array.of(2n ** 64n - 1n, 1n)],
  ['bool', Uint8Array.of(1, 0)],
  ['float16', Uint16Array.of(0x3c00, 0xfc00)],
  ['string', ['', 'é 漢 🙂']],
] as const;

const dataTypes: Case[] = types.flatMap(([type, data]): Case[] => {
  const tensor = ({ Tensor }: Ort) => new Tensor(type as 'int8', (Array.isArray(data) ? [...data] : data) as Int8Array);
  const empty = ({ Tensor }: Ort) =>
    new Tensor(type as 'int8', (Array.isArray(data) ? [] : new (data.constructor as typeof Int8Array)(0)) as Int8Array);
  return [
    [
      `${type} as it is`,
      async (ort) => {
        const session = await createWith(ort, unary('Identity', type));
        const a = tensor(ort);
        const { y } = await runWith(session, { a });
        const same = y.data.constructor === a.data.constructor && (y.data as unknown) !== a.data;
        return [y.type, y.dims, y.location, y instanceof ort.Tensor, same, elements(y)];
      },
      [type, [2], 'cpu', true, true, [...data]],
    ],
    [
      `${type} without elements`,
      running(
        (ort) => [{ a: empty(ort) }],
        () => unary('Identity', type),
      ),
      { y: [] },
    ],
  ];
});

const graphs: Case[] = [
  [
    'booleans',
    running(
      ({ Tensor }) => [{ a: new Tensor([true, false]) }],
      () => unary('Not', 'bool'),
    ),
    { y: [0, 1] },
  ],
  [
    'half floats',
    running(
      ({ Tensor }) => [{ a: new Tensor('float16', Uint16Array.of(0x3c00, 0xc000), [2]) }],
      () => unary('Neg', 'float16'),
    ),
    { y: [0xbc00, 0x4000] },
  ],
  [
    'strings that are none',
    running(
      ({ Tensor }) => [{ a: new Tensor('string', ['x', 3 as never], [2]) }],
      () => unary('Identity', 'string'),
    ),
    TypeError,
  ],
  [
    'a scalar',
    running(
      (ort) => [{ a: floats(ort, [3], []) }],
      () => unary('Neg', 'float32', []),
    ),
    { y: [-3] },
  ],
  [
    'a scalar for one element',
    running(
      (ort) => [{ a: floats(ort, [3], []) }],
      () => unary('Neg', 'float32', [1]),
    ),
    Error,
  ],
  ['an input with a default', running((ort) => [{ a: floats(ort, [1, 2], [1, 2]) }], withDefault), { y: [11, 22] }],
  [
    'a feed for an input with a default',
    running((ort) => [{ a: floats(ort, [1, 2], [1, 2]), b: floats(ort, [5, 5], [2]) }], withDefault),
    { y: [11, 22] },
  ],
  [
    'no inputs',
    running(
      () => [{}],
      () => {
        const value = attribute.tensor('value', initializer('', [1, 2]));
        return model({
          nodes: [node('Constant', [], ['y'], { attributes: [value] })],
          outputs: [port('y', 'float32', [2])],
        });
      },
    ),
    { y: [1, 2] },
  ],
  [
    'an input that is an output',
    running(
      (ort) => [{ a: floats(ort, [1, 2], [2]) }],
      () => {
        const a = port('a', 'float32', ['n']);
        return model({ nodes: [node('Neg', ['a'], ['y'])], inputs: [a], outputs: [a, port('y', 'float32', ['n'])] });
      },
    ),
    { a: [1, 2], y: [-1, -2] },
  ],
  ['a sequence as an output', running((ort) => [{ a: floats(ort, [1], [1]) }], sequenceOutput), Error],
];

/** Sends what a run gave to a Worker and back. */
async function throughWorker(value: unknown, transfer: readonly ArrayBuffer[]): Promise<unknown> {
  const echo =
    "const { parentPort } = require('node:worker_threads');" +
    "parentPort.once('message', (message) => parentPort.postMessage(message));";
  const worker = new Worker(echo, { eval: true });
  try {
    return await new Promise((resolve, reject) => {
      worker.once('message', resolve).once('error', reject);
      worker.postMessage(value, transfer as ArrayBuffer[]);
    });
  } finally {
    await worker.terminate();
  }
}

const ownership: Case[] = [
  [
    'an output has memory of its own',
    async (ort) => {
      const { sum, diff } = await runWith(await createWith(ort, path), feeds(ort));
      const [first, second] = [sum, diff].map(({ data }) => (data as Float32Array).buffer);
      return [first === second, first.byteLength];
    },
    [false, 12],
  ],
  [
    'an output that was a feed is a copy',
    async (ort) => {
      const a = floats(ort, [1, 2], [2]);
      const { y } = await runWith(await createWith(ort, unary('Identity', 'float32')), { a });
      (y.data as Float32Array)[0] = 9;
      return elements(a);
    },
    [1, 2],
  ],
  [
    'an output can be cloned',
    async (ort) => {
      const { sum } = await runWith(await createWith(ort, path), feeds(ort));
      const { type, dims, data } = structuredClone({ type: sum.type, dims: sum.dims, data: sum.data as Float32Array });
      return [type, dims, [...data], elements(sum)];
    },
    ['float32', [1, 3], both.sum, both.sum],
  ],
  [
    'an output can be transferred to a Worker, and later runs have their own',
    async (ort) => {
      const session = await createWith(ort, path);
      const { sum } = await runWith(session, feeds(ort));
      const data = sum.data as Float32Array<ArrayBuffer>;
      const echo = (await throughWorker(data, [data.buffer])) as Float32Array;
      return [[...echo], data.length, elements((await runWith(session, feeds(ort))).sum)];
    },
    [both.sum, 0, both.sum],
  ],
  [
    'what came from a Worker is a feed',
    async (ort) => {
      const a = (await throughWorker(Float32Array.of(1, 2, 3), [])) as Float32Array;
      const session = await createWith(ort, path);
      return elements((await runWith(session, { ...feeds(ort), a: new ort.Tensor(a, [1, 3]) })).sum);
    },
    both.sum,
  ],
  [
    'runs at once',
    async (ort) => {
      const session = await createWith(ort, path);
      const starts = Array.from({ length: 20 }, (_, i) => ({ ...feeds(ort), a: floats(ort, [i, i, i], [1, 3]) }));
      const results = await Promise.all(starts.map((each) => runWith(session, each)));
      return results.map(({ sum }) => (sum.data as Float32Array)[0]);
    },
    Array.from({ length: 20 }, (_, i) => i + 4),
  ],
  [
    'a session runs after a failure',
    async (ort) => {
      const session = await createWith(ort, path);
      const failed = await runWith(session, { ...feeds(ort), a: floats(ort, [1, 2], [1, 2]) }).catch(() => 'failed');
      return [failed, elements((await runWith(session, feeds(ort))).sum)];
    },
    ['failed', both.sum],
  ],
];

/** What onnxruntime-node refuses, or leaves to chance. */
const beyond: Case[] = [
  [
    'a feed in shared memory',
    running(
      withA(({ Tensor }) => {
        const data = new Float32Array(new SharedArrayBuffer(12));
        data.set([1, 2, 3]);
        return new Tensor(data, [1, 3]);
      }),
    ),
    both,
  ],
  ['a pinned feed', running(withA(({ Tensor }) => Tensor.fromPinnedBuffer('float32', part(), [1, 3]))), both],
  ['a Buffer for bytes', running(bytesIn(Buffer.from([1, 2])), () => unary('Identity', 'uint8')), { y: [1, 2] }],
  [
    'a feed that changes after the call',
    async (ort) => {
      const given = feeds(ort);
      const run = runWith(await createWith(ort, path), given);
      (given.a.data as Float32Array).fill(100);
      return elements((await run).sum);
    },
    both.sum,
  ],
  [
    'a feed that is transferred after the call',
    async (ort) => {
      const given = feeds(ort);
      const run = runWith(await createWith(ort, path), given);
      const { buffer } = given.a.data as Float32Array<ArrayBuffer>;
      structuredClone(buffer, { transfer: [buffer] });
      return [buffer.byteLength, elements((await run).sum)];
    },
    [0, both.sum],
  ],
  [
    'a preallocated output in shared memory',
    into(({ Tensor }) => new Tensor(new Float32Array(new SharedArrayBuffer(12)), [1, 3])),
    [['sum'], both.sum, both.sum],
  ],
  [
    'a pinned output',
    into(({ Tensor }) => Tensor.fromPinnedBuffer('float32', new Float32Array(3), [1, 3])),
    [['sum'], both.sum, both.sum],
  ],
  [
    'the preallocated tensor comes back itself',
    async (ort) => {
      const sum = floats(ort, [0, 0, 0], [1, 3]);
      return (await runWith(await createWith(ort, path), feeds(ort), { sum })).sum === sum;
    },
    true,
  ],
  [
    'a preallocated output that is a feed too',
    async (ort) => {
      const a = floats(ort, [1, 2, 3], [1, 3]);
      const { sum, diff } = await runWith(await createWith(ort, path), { ...feeds(ort), a }, { sum: a, diff: null });
      return [sum === a, elements(a), elements(diff)];
    },
    [true, both.sum, both.diff],
  ],
  [
    'preallocated strings',
    async (ort) => {
      const y = new ort.Tensor('string', ['', ''], [2]);
      const session = await createWith(ort, unary('Identity', 'string'));
      await runWith(session, { a: new ort.Tensor('string', ['a\0b', 'é'], [2]) }, { y });
      return y.data;
    },
    ['a\0b', 'é'],
  ],
];

function bytesIn(data: Uint8Array): (ort: Ort) => readonly unknown[] {
  return () => [{ a: { type: 'uint8', dims: [data.length], data, location: 'cpu' } }];
}

forEachImplementation((ort, isOriginal) => {
  describe('fetches', () => testCases(ort, fetches));
  describe('options', () => testCases(ort, options));
  describe('feeds', () => testCases(ort, given));
  describe('preallocated outputs', () => testCases(ort, preallocated));
  describe('types', () => testCases(ort, dataTypes));
  describe('graphs', () => testCases(ort, graphs));
  describe('memory', () => testCases(ort, ownership));
  describe.skipIf(isOriginal)('beyond onnxruntime-node', () => testCases(ort, beyond));
});
