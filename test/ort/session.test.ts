/** What a session of onnxruntime-common tells of itself, its end, profiles, the environment, and backends. */

import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import * as own from '../../lib/ort/index.ts';
import { createWith, elements, feeds, modelFolder, runWith } from './cases.ts';
import { type Case, forEachImplementation, type Ort, testCases } from './implementations.ts';
import { negation, sequenceOutput, unary, withDefault } from './models.ts';

const { folder, path } = modelFolder();

const metadata =
  (source: string | (() => Uint8Array)): Case[1] =>
  async (ort) => {
    const session = await createWith(ort, typeof source === 'string' ? source : source());
    return [session.inputMetadata, session.outputMetadata];
  };
const tensor = (name: string, type: string, shape: readonly (number | string)[]) => ({
  name,
  isTensor: true,
  type,
  shape,
});

const described: Case[] = [
  [
    'names, types and shapes',
    metadata(path),
    [
      [tensor('a', 'float32', ['n', 3]), tensor('b', 'float32', ['n', 3])],
      [tensor('sum', 'float32', ['n', 3]), tensor('diff', 'float32', ['n', 3])],
    ],
  ],
  [
    'inputs with a default are none of the session',
    metadata(withDefault),
    [[tensor('a', 'float32', ['', 2])], [tensor('y', 'float32', ['', 2])]],
  ],
  ['a scalar', metadata(() => negation([], [])), [[tensor('a', 'float32', [])], [tensor('y', 'float32', [])]]],
  [
    'unknown ranks',
    metadata(() => negation(undefined, undefined)),
    [[tensor('a', 'float32', [])], [tensor('y', 'float32', [])]],
  ],
  [
    'a shape that is not declared follows from the graph',
    metadata(() => negation(['n', 4], undefined)),
    [[tensor('a', 'float32', ['n', 4])], [tensor('y', 'float32', ['n', 4])]],
  ],
  [
    'a type that is not declared follows from the graph',
    metadata(() => negation(['n', 4], 'no type')),
    [[tensor('a', 'float32', ['n', 4])], [tensor('y', 'float32', ['n', 4])]],
  ],
  [
    'a declared name gives way to a size, and stays beside a name',
    metadata(() => negation(['n', 4], ['m', 'k'])),
    [[tensor('a', 'float32', ['n', 4])], [tensor('y', 'float32', ['m', 4])]],
  ],
  [
    'a size without a name follows from the graph',
    metadata(() => negation(['n', 4], [null, null])),
    [[tensor('a', 'float32', ['n', 4])], [tensor('y', 'float32', ['n', 4])]],
  ],
  [
    'a size that nobody knows',
    metadata(() => negation([null, 2], [null, 2])),
    [[tensor('a', 'float32', ['', 2])], [tensor('y', 'float32', ['', 2])]],
  ],
  ['what is no tensor', metadata(sequenceOutput), [[tensor('a', 'float32', ['n'])], [{ name: 'y', isTensor: false }]]],
  ...(
    [
      ...['float32', 'float64', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64'],
      ...['bool', 'float16', 'string'],
    ] as const
  ).map(
    (type): Case => [
      type,
      metadata(() => unary('Identity', type as 'int8')),
      [[tensor('a', type, ['n'])], [tensor('y', type, ['n'])]],
    ],
  ),
  [
    'names',
    async (ort) => namesOf(await createWith(ort, path)),
    [
      ['a', 'b'],
      ['sum', 'diff'],
    ],
  ],
  ['a session takes attributes of others', async (ort) => Object.isExtensible(await createWith(ort, path)), true],
  [
    'names cannot be assigned',
    async (ort) => Object.assign(await createWith(ort, path), { inputNames: [] }),
    TypeError,
  ],
];

const namesOf = ({ inputNames, outputNames }: { inputNames: unknown; outputNames: unknown }) => [
  inputNames,
  outputNames,
];

const released = async (ort: Ort) => {
  const session = await createWith(ort, path);
  await session.release();
  return session;
};

const ends: Case[] = [
  ['release gives nothing', async (ort) => (await createWith(ort, path)).release(), undefined],
  [
    'names stay',
    async (ort) => namesOf(await released(ort)),
    [
      ['a', 'b'],
      ['sum', 'diff'],
    ],
  ],
  ['metadata stays', async (ort) => (await released(ort)).outputMetadata.length, 2],
  ['no second release', async (ort) => (await released(ort)).release(), Error],
  ['no run afterwards', async (ort) => runWith(await released(ort), feeds(ort)), Error],
  ['no endProfiling afterwards', async (ort) => (await released(ort)).endProfiling(), Error],
  ['startProfiling does nothing afterwards', async (ort) => (await released(ort)).startProfiling(), undefined],
  [
    'startProfiling does nothing without a profile',
    async (ort) => (await createWith(ort, path)).startProfiling(),
    undefined,
  ],
  [
    'other sessions go on',
    async (ort) => {
      const other = await createWith(ort, path);
      await released(ort);
      return elements((await runWith(other, feeds(ort))).sum);
    },
    [5, 7, 9],
  ],
];

const environment: Case[] = [
  ['versions', ({ env }) => [typeof env.versions.common, typeof env.versions.node], ['string', 'string']],
  [
    'flags of other backends',
    ({ env }) => [typeof env.wasm, typeof env.webgl, typeof env.webgpu],
    new Array(3).fill('object'),
  ],
  ['the level of the log', ({ env }) => env.logLevel, 'warning'],
  [
    'another level',
    ({ env }) => {
      env.logLevel = 'error';
      const level = env.logLevel;
      env.logLevel = undefined;
      const kept = env.logLevel;
      env.logLevel = 'warning';
      return [level, kept];
    },
    ['error', 'error'],
  ],
  [
    'a level nobody has',
    ({ env }) => {
      env.logLevel = 'loud' as 'error';
    },
    Error,
  ],
  [
    'the backends',
    (ort) => ort.listSupportedBackends().find(({ name }) => name === 'cpu'),
    { name: 'cpu', bundled: true },
  ],
  [
    'all that onnxruntime-node exports',
    (ort) =>
      (['InferenceSession', 'Tensor', 'env', 'registerBackend', 'listSupportedBackends', 'TRACE'] as const).map(
        (name) => typeof ort[name],
      ),
    ['function', 'function', 'object', 'function', 'function', 'function'],
  ],
];

/** A backend that answers every run with the names it was asked for. */
const echo = (calls: string[]): Parameters<Ort['registerBackend']>[1] => ({
  async init(name) {
    calls.push(`init ${name}`);
  },
  async createInferenceSessionHandler(source, options) {
    calls.push(`create ${typeof source} ${JSON.stringify(options?.executionProviders)}`);
    const one = { type: 'int32', dims: [1], data: Int32Array.of(1), location: 'cpu' } as never;
    return {
      inputNames: ['in'],
      outputNames: ['out'],
      inputMetadata: [],
      outputMetadata: [],
      run: async (fed, fetches) => {
        calls.push(`run ${Object.keys(fed)} ${Object.keys(fetches)}`);
        return { out: one };
      },
      dispose: async () => {
        calls.push('dispose');
      },
      startProfiling: () => undefined,
      endProfiling: () => undefined,
    };
  },
});

let names = 0;
const freshName = () => `echo-${names++}`;

const backends: Case[] = [
  [
    'a backend of the caller makes sessions by its name',
    async (ort) => {
      const calls: string[] = [];
      const name = freshName();
      ort.registerBackend(name, echo(calls), -1);
      const options = { executionProviders: [{ name }] };
      const session = await ort.InferenceSession.create('somewhere', options);
      const { out } = await session.run({ in: new ort.Tensor(Int32Array.of(3)) });
      await session.release();
      await ort.InferenceSession.create(new Uint8Array(1), options);
      const wrapped = out instanceof ort.Tensor && elements(out).join();
      return [calls.map((call) => call.replaceAll(name, 'NAME')), wrapped];
    },
    [['init NAME', 'create string [{"name":"NAME"}]', 'run in out', 'dispose', 'create object [{"name":"NAME"}]'], '1'],
  ],
  [
    'the same backend may be registered twice',
    (ort) => {
      const [name, backend] = [freshName(), echo([])];
      ort.registerBackend(name, backend, -1);
      return ort.registerBackend(name, backend, -1);
    },
    undefined,
  ],
  [
    'another backend of the same priority is refused',
    (ort) => {
      const name = freshName();
      ort.registerBackend(name, echo([]), -1);
      ort.registerBackend(name, echo([]), -1);
    },
    Error,
  ],
  ['what is no backend', (ort) => ort.registerBackend(freshName(), {} as never, -1), TypeError],
  [
    'a backend that fails to start',
    (ort) => {
      const name = freshName();
      ort.registerBackend(name, { ...echo([]), init: () => Promise.reject(new Error('no')) }, -1);
      return ort.InferenceSession.create('somewhere', { executionProviders: [name] });
    },
    Error,
  ],
];

interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  readonly dur: number;
}

forEachImplementation((ort, isOriginal) => {
  describe('metadata', () => testCases(ort, described));
  describe('the end of a session', () => testCases(ort, ends));
  describe('environment', () => testCases(ort, environment));
  describe('backends', () => testCases(ort, backends));

  test.each(['endProfiling', 'release'] as const)('a profile in the trace format is written at %s', async (end) => {
    const place = join(folder, `${end}-${isOriginal}`);
    mkdirSync(place);
    const session = await createWith(ort, path, { enableProfiling: true, profileFilePrefix: join(place, 'profile') });
    session.startProfiling();
    await runWith(session, feeds(ort));
    await session[end]();
    const files = readdirSync(place);
    expect(files).toEqual([expect.stringMatching(/^profile_.*\.json$/)]);
    const events = JSON.parse(readFileSync(join(place, files[0]), 'utf8')) as TraceEvent[];
    expect(events.filter(({ cat }) => cat === 'Node').length).toBeGreaterThan(0);
    expect(events.some(({ cat, name, dur }) => cat === 'Session' && name === 'model_run' && dur >= 0)).toBe(true);
  });
});

describe('beyond onnxruntime-node', () => {
  test('a release waits for the runs under way', async () => {
    const session = await createWith(own, path);
    const run = runWith(session, feeds(own));
    await session.release();
    expect(elements((await run).sum)).toEqual([5, 7, 9]);
  });

  test('a profile that cannot be written ends with an error, and the session with it', async () => {
    const profileFilePrefix = join(folder, 'no', 'such', 'folder');
    const session = await createWith(own, path, { enableProfiling: true, profileFilePrefix });
    await expect(session.release()).rejects.toThrow(/ENOENT/);
    await expect(session.release()).rejects.toThrow('Session already disposed.');
  });

  test('an element type without a Tensor is refused at load', async () => {
    await expect(createWith(own, unary('Identity', 'bfloat16'))).rejects.toThrow(/tensor of bfloat16/);
  });

  test('the backend works in the registry of onnxruntime-common', async () => {
    const common = await import('onnxruntime-common');
    common.registerBackend('filigree-test', own.backend, -1);
    const session = await common.InferenceSession.create(path, { executionProviders: ['filigree-test'] });
    expect(elements((await runWith(session, feeds(own))).sum)).toEqual([5, 7, 9]);
  });
});
