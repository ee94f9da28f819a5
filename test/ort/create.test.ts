/** InferenceSession.create of onnxruntime-common: where models come from, and every option. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { createWith, elements, feeds, modelFolder, runWith } from './cases.ts';
import { type Case, forEachImplementation, testCases } from './implementations.ts';
import { sumAndDifference, withExternalData } from './models.ts';

const { folder, path } = modelFolder();
const bytes = sumAndDifference();
const padded = new Uint8Array(bytes.length + 12);
padded.set(bytes, 5);

/** The sum that a session gives which was made with these arguments. */
const sumOf =
  (make: () => readonly unknown[]): Case[1] =>
  async (ort) => {
    const session = await createWith(ort, ...make());
    expect(session).toBeInstanceOf(ort.InferenceSession);
    const { sum } = await runWith(session, feeds(ort));
    await session.release();
    return elements(sum);
  };
const created = (title: string, make: () => readonly unknown[]): Case => [title, sumOf(make), [5, 7, 9]];
const refused = (title: string, make: () => readonly unknown[], kind: unknown = TypeError): Case => [
  title,
  sumOf(make),
  kind,
];

const detached = (): Uint8Array<ArrayBuffer> => {
  const copy = Uint8Array.from(bytes);
  structuredClone(copy, { transfer: [copy.buffer] });
  return copy;
};

const sources: Case[] = [
  created('a path', () => [path]),
  created('a path and options', () => [path, {}]),
  created('a Uint8Array', () => [Uint8Array.from(bytes)]),
  created('a Uint8Array and options', () => [Uint8Array.from(bytes), { logId: 'x' }]),
  created('a Uint8Array within a buffer', () => [padded.subarray(5, 5 + bytes.length)]),
  created('a Buffer of the pool', () => [Buffer.from(bytes)]),
  created('an ArrayBuffer', () => [Uint8Array.from(bytes).buffer]),
  created('an ArrayBuffer and options', () => [Uint8Array.from(bytes).buffer, { logId: 'x' }]),
  created('an ArrayBuffer with offset', () => [padded.slice(0, -7).buffer, 5]),
  created('an ArrayBuffer with offset and length', () => [padded.buffer, 5, bytes.length]),
  created('an ArrayBuffer with offset, length and options', () => [padded.buffer, 5, bytes.length, { logId: 'x' }]),
  refused('nothing', () => []),
  refused('null', () => [null]),
  refused('a number', () => [3]),
  refused('an object', () => [{}]),
  refused('a DataView', () => [new DataView(new ArrayBuffer(8))]),
  refused('an Int8Array', () => [new Int8Array(bytes)]),
  refused('null options', () => [path, null]),
  refused('options of a wrong type', () => [path, 3]),
  refused('options that are a text', () => [bytes, 'x']),
  refused('an offset of bytes', () => [bytes, 0]),
  refused('null options after offset and length', () => [padded.buffer, 5, bytes.length, null]),
  refused('a length of a wrong type', () => [padded.buffer, 1, 'x']),
  refused('an offset that is not whole', () => [padded.buffer, 0.5], RangeError),
  refused('an offset behind the end', () => [padded.buffer, padded.length], RangeError),
  refused('a negative offset', () => [padded.buffer, -1], RangeError),
  refused('a length behind the end', () => [padded.buffer, 1, padded.length], RangeError),
  refused('no length', () => [padded.buffer, 1, 0], RangeError),
  refused('an empty path', () => [''], Error),
  refused('a missing file', () => [join(folder, 'none.onnx')], Error),
  refused('a folder', () => [folder], Error),
  refused('no bytes', () => [new Uint8Array(0)], Error),
  refused('what is no model', () => [new Uint8Array(100)], Error),
  refused('half a model', () => [bytes.slice(0, bytes.length - 5)], Error),
  refused('bytes that were transferred', () => [detached()], Error),
];

const accepted: readonly object[] = [
  {},
  { somethingNew: 1 },
  ...[0, 1, 2].flatMap((count) => [{ intraOpNumThreads: count }, { interOpNumThreads: count }]),
  { intraOpNumThreads: 2 ** 32 - 1 },
  { executionProviders: null },
  { executionProviders: undefined },
  { executionProviders: [] },
  { executionProviders: ['cpu'] },
  { executionProviders: ['cpu', 'cpu'] },
  { executionProviders: [{ name: 'cpu', useArena: true }] },
  { freeDimensionOverrides: undefined },
  { freeDimensionOverrides: null },
  { freeDimensionOverrides: {} },
  { freeDimensionOverrides: { n: 1, other: 7 } },
  ...['disabled', 'basic', 'extended', 'layout', 'all'].map((level) => ({ graphOptimizationLevel: level })),
  ...[true, false].flatMap((on) => [
    { enableCpuMemArena: on },
    { enableMemPattern: on },
    { enableGraphCapture: on },
    { enableProfiling: false, profileFilePrefix: on },
  ]),
  ...['sequential', 'parallel'].map((mode) => ({ executionMode: mode })),
  { logId: '' },
  { logId: 'x', logSeverityLevel: 4, logVerbosityLevel: 1 },
  { profileFilePrefix: 'x' },
  { extra: {} },
  { extra: { session: { intra_op: { allow_spinning: '0' } }, 'session.set_denormal_as_zero': '1' } },
  ...['cpu', 'cpu-pinned', 'gpu-buffer', 'texture', 'ml-tensor'].map((at) => ({ preferredOutputLocation: at })),
  { preferredOutputLocation: undefined },
  { preferredOutputLocation: {} },
  { preferredOutputLocation: { sum: 'cpu' } },
  { preferredOutputLocation: { sum: 'gpu-buffer' } },
  { externalData: null },
  { externalData: undefined },
  { externalData: [] },
  { externalData: [{ path: 'w', data: Uint8Array.of(1) }] },
  { optimizedModelFilePath: '' },
];

const options: Case[] = accepted.map((given) =>
  created(inspect(given, { breakLength: Infinity }), () => [path, given]),
);

const wrong: readonly (readonly [object, unknown?])[] = [
  [{ executionProviders: 'cpu' }],
  [{ executionProviders: {} }],
  [{ executionProviders: [null] }],
  [{ executionProviders: [{}] }, Error],
  [{ executionProviders: [3] }, Error],
  [{ executionProviders: ['abacus'] }, Error],
  [{ executionProviders: ['CPU'] }, Error],
  [{ executionProviders: ['cuda'] }, Error],
  ...['intraOpNumThreads', 'interOpNumThreads'].flatMap((key): [object, unknown?][] => [
    [{ [key]: '1' }],
    [{ [key]: undefined }],
    [{ [key]: null }],
    [{ [key]: true }],
    [{ [key]: -1 }, RangeError],
    [{ [key]: 1.5 }, RangeError],
    [{ [key]: Number.NaN }, RangeError],
    [{ [key]: 2 ** 32 }, RangeError],
  ]),
  ...['graphOptimizationLevel', 'executionMode'].flatMap((key): [object][] => [
    [{ [key]: 'some' }],
    [{ [key]: '' }],
    [{ [key]: 3 }],
    [{ [key]: undefined }],
  ]),
  ...['enableCpuMemArena', 'enableMemPattern', 'enableProfiling'].flatMap((key): [object][] => [
    [{ [key]: 1 }],
    [{ [key]: 'true' }],
    [{ [key]: null }],
  ]),
  ...['logId', 'optimizedModelFilePath'].flatMap((key): [object][] => [[{ [key]: 3 }], [{ [key]: null }]]),
  [{ logSeverityLevel: 'x' }],
  [{ logSeverityLevel: undefined }],
  [{ logSeverityLevel: 5 }, RangeError],
  [{ logSeverityLevel: 1.5 }, RangeError],
  [{ enableProfiling: true }],
  [{ enableProfiling: true, profileFilePrefix: 3 }],
  [{ extra: 3 }],
  [{ extra: null }],
  [{ extra: { a: 1 } }],
  [{ extra: { a: { b: 3 } } }],
  [{ externalData: 3 }],
  [{ externalData: {} }],
  [{ externalData: [null] }],
  [{ externalData: ['w'] }],
  [{ externalData: [{ data: bytes }] }],
  [{ externalData: [{ path: 'w' }] }],
  [{ externalData: [{ path: 3, data: bytes }] }],
  [{ externalData: [{ path: 'w', data: 'w' }] }],
  [{ externalData: [{ path: 'w', data: new ArrayBuffer(3) }] }],
  [{ externalData: [{ path: 'w', data: new Float32Array(1) }] }],
  [{ preferredOutputLocation: 'moon' }],
  [{ preferredOutputLocation: 3 }],
  [{ preferredOutputLocation: { z: 'cpu' } }],
  [{ preferredOutputLocation: { sum: 'moon' } }],
  [{ preferredOutputLocation: { sum: 3 } }],
  [Object.create({ intraOpNumThreads: 'x' })],
];

const refusals: Case[] = wrong.map(([given, kind]) =>
  refused(inspect(given, { breakLength: Infinity, depth: 4 }), () => [path, given], kind),
);

const external: Case[] = [
  [
    'bytes of external data by their path',
    async (ort) => {
      const data = new Uint8Array(Float32Array.of(10, 20).buffer);
      const session = await createWith(ort, withExternalData(), { externalData: [{ path: 'weights.bin', data }] });
      const a = new ort.Tensor('float32', [1, 2], [1, 2]);
      return elements((await runWith(session, { a })).y);
    },
    [11, 22],
  ],
  ['external data that is not given', (ort) => createWith(ort, withExternalData()), Error],
  [
    'external data that is too short',
    (ort) => createWith(ort, withExternalData(), { externalData: [{ path: 'weights.bin', data: new Uint8Array(4) }] }),
    Error,
  ],
];

const many: Case[] = [
  [
    'sessions made at once',
    async (ort) => {
      const sessions = await Promise.all(Array.from({ length: 8 }, () => createWith(ort, path)));
      const results = await Promise.all(sessions.map((session) => runWith(session, feeds(ort))));
      return results.map(({ diff }) => elements(diff).join());
    },
    new Array(8).fill('-3,-3,-3'),
  ],
  [
    'create without its class',
    async (ort) => {
      const { create } = ort.InferenceSession;
      return (await create(path)).inputNames;
    },
    ['a', 'b'],
  ],
  [
    'a provider that is not there beside one that is',
    async (ort) => (await createWith(ort, path, { executionProviders: ['abacus', 'cpu'] })).outputNames,
    ['sum', 'diff'],
  ],
];

forEachImplementation((ort, isOriginal) => {
  describe('sources', () => testCases(ort, sources));
  describe('accepted options', () => testCases(ort, options));
  describe('refused options', () => testCases(ort, refusals));
  describe('external data', () => testCases(ort, external));
  describe('several', () => testCases(ort, many));

  describe.skipIf(isOriginal)('beyond onnxruntime-node', () => {
    // Its documentation allows shared memory, the package refuses it.
    testCases(ort, [
      created('a SharedArrayBuffer', () => {
        const shared = new SharedArrayBuffer(bytes.length);
        new Uint8Array(shared).set(bytes);
        return [shared];
      }),
      refused(
        'a path for the optimized model',
        () => [path, { optimizedModelFilePath: join(folder, 'x.onnx') }],
        Error,
      ),
      refused('free dimensions of a wrong type', () => [path, { freeDimensionOverrides: { n: 'x' } }]),
      refused('free dimensions below zero', () => [path, { freeDimensionOverrides: { n: -1 } }], RangeError),
      refused('free dimensions that feeds contradict', () => [path, { freeDimensionOverrides: { n: 2 } }], Error),
    ]);

    test('the bytes of a model are free once it is loaded', async () => {
      const copy = Uint8Array.from(bytes);
      const session = await ort.InferenceSession.create(copy);
      copy.fill(0);
      expect(elements((await runWith(session, feeds(ort))).sum)).toEqual([5, 7, 9]);
      expect(existsSync(join(folder, 'x.onnx'))).toBe(false);
    });
  });
});
