/** The documented behaviour of onnxruntime-common's Tensor, without a model. */

import { describe } from 'vitest';
import { type Case, forEachImplementation, type Ort, testCases } from './implementations.ts';

/** Constructor calls that the types would refuse too. */
const make =
  (...args: unknown[]) =>
  ({ Tensor }: Ort) =>
    describeTensor(new (Tensor as unknown as new (...all: unknown[]) => Ort['Tensor']['prototype'])(...args));

interface Like {
  readonly type: string;
  readonly dims: readonly number[];
  readonly size: number;
  readonly location: string;
  readonly data: unknown;
}

const describeTensor = ({ type, dims, size, location, data }: Like) => ({ type, dims, size, location, data });

const numeric = [
  ['float32', Float32Array.of(1.5, -2, 0)],
  ['float64', Float64Array.of(1.5, -2, 0)],
  ['int8', Int8Array.of(-128, 127, 0)],
  ['uint8', Uint8Array.of(0, 255, 1)],
  ['int16', Int16Array.of(-32768, 32767, 0)],
  ['uint16', Uint16Array.of(0, 65535, 1)],
  ['int32', Int32Array.of(-(2 ** 31), 2 ** 31 - 1, 0)],
  ['uint32', Uint32Array.of(0, 2 ** 32 - 1, 1)],
  ['int64', BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n, 0n)],
  ['uint64', BigUint64Array.of(0n, 2n ** 64n - 1n, 1n)],
] as const;

const cpu = (type: string, dims: readonly number[], data: unknown) => {
  const size = dims.reduce((a, b) => a * b, 1);
  return { type, dims, size, location: 'cpu', data };
};

/** Float16Array where there is one, else its bits. */
const Half: typeof Uint16Array = (globalThis as { Float16Array?: typeof Uint16Array }).Float16Array ?? Uint16Array;

const construction: Case[] = [
  ...numeric.flatMap(([type, data]): Case[] => [
    [`${type}, its array and dims`, make(type, data, [3, 1]), cpu(type, [3, 1], data)],
    [`${type} and its array`, make(type, data), cpu(type, [3], data)],
    [`the type of a ${data.constructor.name}`, make(data, [1, 3]), cpu(type, [1, 3], data)],
    [`a ${data.constructor.name} alone`, make(data), cpu(type, [3], data)],
    [`${type} from numbers`, make(type, Array.from(data as Iterable<unknown>), [3]), cpu(type, [3], data)],
    [
      `${type} without elements`,
      make(type, new (data.constructor as typeof Float32Array)(0), [0, 4]),
      cpu(type, [0, 4], new (data.constructor as typeof Float32Array)(0)),
    ],
    [`${type}: a scalar`, make(type, data.slice(0, 1), []), cpu(type, [], data.slice(0, 1))],
    [`${type} of an array of another class`, make(type, new DataView(new ArrayBuffer(8)), [1]), TypeError],
    [`the array of ${type} is kept`, ({ Tensor }) => new Tensor(type as 'int8', data as Int8Array).data === data, true],
  ]),
  ['int64 from plain numbers', make('int64', [1, -2]), cpu('int64', [2], BigInt64Array.of(1n, -2n))],
  ['uint64 from plain numbers', make('uint64', [1, 2]), cpu('uint64', [2], BigUint64Array.of(1n, 2n))],
  ['int64 from fractions', make('int64', [1.5]), RangeError],
  ['int32 from bigints', make('int32', [1n]), TypeError],
  ['strings', make('string', ['a', 'é', ''], [3, 1]), cpu('string', [3, 1], ['a', 'é', ''])],
  ['strings without a type', make(['a', 'b'], [2]), cpu('string', [2], ['a', 'b'])],
  ['strings without dims', make(['a', 'b']), cpu('string', [2], ['a', 'b'])],
  ['no strings', make('string', [], [0]), cpu('string', [0], [])],
  ['strings that are no array', make('string', 'ab', [2]), TypeError],
  ['bool from booleans', make('bool', [true, false], [2]), cpu('bool', [2], Uint8Array.of(1, 0))],
  ['booleans without a type', make([true, false]), cpu('bool', [2], Uint8Array.of(1, 0))],
  ['bool from bytes', make('bool', Uint8Array.of(1, 0), [2]), cpu('bool', [2], Uint8Array.of(1, 0))],
  ['clamped bytes', make(Uint8ClampedArray.of(1, 255)), cpu('uint8', [2], Uint8Array.of(1, 255))],
  ['uint8 from clamped bytes', make('uint8', Uint8ClampedArray.of(1)), cpu('uint8', [1], Uint8Array.of(1))],
  ['int8 from clamped bytes', make('int8', Uint8ClampedArray.of(1)), TypeError],
  ['bool from clamped bytes', make('bool', Uint8ClampedArray.of(1)), TypeError],
  ['a part of a buffer', make(new Float32Array(8).fill(2).subarray(3, 5)), cpu('float32', [2], Float32Array.of(2, 2))],
  ['shared memory', make(new Float32Array(new SharedArrayBuffer(8))), cpu('float32', [2], new Float32Array(2))],
  [
    'float16 from bits',
    ({ Tensor }) => {
      const { type, data } = new Tensor('float16', Uint16Array.of(0x3c00, 0xc000), [2]);
      return [type, data.constructor === Half, [...new Uint16Array(data.buffer, data.byteOffset, data.length)]];
    },
    ['float16', true, [0x3c00, 0xc000]],
  ],
  [
    'float16 from numbers',
    ({ Tensor }) => [...new Tensor('float16', [1, -2], [2]).data].map(Number),
    // Without Float16Array there is no conversion, and no bits are made up.
    Half === Uint16Array ? TypeError : [1, -2],
  ],
  ['int4, two a byte', make('int4', Uint8Array.of(0x21, 0x43), [4]), cpu('int4', [4], Uint8Array.of(0x21, 0x43))],
  ['int4 of an odd number', make('int4', Uint8Array.of(0x21, 3), [3]), cpu('int4', [3], Uint8Array.of(0x21, 3))],
  ['uint4, two a byte', make('uint4', Uint8Array.of(0x21, 0x43), [2, 2]), cpu('uint4', [2, 2], Uint8Array.of(33, 67))],
  ['int4 from numbers', make('int4', [1, 2], [2]), TypeError],
  ['uint4 from numbers', make('uint4', [1, 2], [2]), TypeError],
  ['uint4 of too few bytes', make('uint4', Uint8Array.of(1), [4]), Error],
  ['an array without elements or type', make([], [0]), TypeError],
  ['an array of objects', make([{}], [1]), TypeError],
  ['numbers without a type', make([1, 2], [2]), TypeError],
  ['a type nobody has', make('complex64', new Float32Array(2), [1]), TypeError],
  ['a typed array without a tensor type', make(new DataView(new ArrayBuffer(4))), TypeError],
  ['dims that are no array', make('float32', new Float32Array(2), 2), TypeError],
  ['dims of a wrong type', make('float32', new Float32Array(2), ['2']), TypeError],
  ['dims that are not whole', make('float32', new Float32Array(2), [1.5]), TypeError],
  ['negative dims', make('float32', new Float32Array(2), [-2]), RangeError],
  ['too little data', make('float32', new Float32Array(2), [3]), Error],
  ['too much data', make('float32', new Float32Array(2), [1]), Error],
  ['too few strings', make('string', ['a'], [2]), Error],
  ['data of a scalar', make('float32', new Float32Array(2), []), Error],
  ['a location nobody has', make({ location: 'moon', type: 'float32', dims: [1] }), Error],
];

const reading: Case[] = [
  ['getData gives the data', async ({ Tensor }) => new Tensor([true]).getData(), Uint8Array.of(1)],
  ['getData does not release data on the CPU', async ({ Tensor }) => [...(await released(Tensor))], [1, 2]],
  ['no texture', ({ Tensor }) => new Tensor(['a']).texture, Error],
  ['no GPU buffer', ({ Tensor }) => new Tensor(['a']).gpuBuffer, Error],
  ['no ML tensor', ({ Tensor }) => new Tensor(['a']).mlTensor, Error],
  [
    'reshape shares the data',
    ({ Tensor }) => {
      const tensor = new Tensor(Int16Array.of(1, 2, 3, 4), [4]);
      const square = tensor.reshape([2, 2]);
      return [describeTensor(square), square.data === tensor.data, square instanceof Tensor, tensor.dims];
    },
    [cpu('int16', [2, 2], Int16Array.of(1, 2, 3, 4)), true, true, [4]],
  ],
  ['reshape keeps bool', ({ Tensor }) => new Tensor([true, false]).reshape([2, 1]).type, 'bool'],
  ['reshape of strings', ({ Tensor }) => new Tensor(['a', 'b']).reshape([1, 2]).data, ['a', 'b']],
  ['reshape of int4', ({ Tensor }) => new Tensor('uint4', Uint8Array.of(1, 2), [3]).reshape([3, 1]).size, 3],
  ['reshape to another size', ({ Tensor }) => new Tensor(new Int8Array(4)).reshape([5]), Error],
  ['reshape to negative dims', ({ Tensor }) => new Tensor(new Int8Array(4)).reshape([-1, -4]), RangeError],
  ['dispose gives the data up', ({ Tensor }) => disposed(Tensor).location, 'none'],
  [
    'a disposed tensor keeps type and dims',
    ({ Tensor }) => [disposed(Tensor).type, disposed(Tensor).dims],
    ['int8', [2]],
  ],
  ['data of a disposed tensor', ({ Tensor }) => disposed(Tensor).data, Error],
  ['getData of a disposed tensor', ({ Tensor }) => disposed(Tensor).getData(), Error],
  ['reshape of a disposed tensor', ({ Tensor }) => disposed(Tensor).reshape([1, 2]), Error],
  ['texture of a disposed tensor', ({ Tensor }) => disposed(Tensor).texture, Error],
  [
    'a second dispose does nothing',
    ({ Tensor }) => {
      const tensor = disposed(Tensor);
      tensor.dispose();
      return tensor.location;
    },
    'none',
  ],
];

function disposed(Tensor: Ort['Tensor']) {
  const tensor = new Tensor(new Int8Array(2));
  tensor.dispose();
  return tensor;
}

async function released(Tensor: Ort['Tensor']): Promise<Int8Array> {
  const tensor = new Tensor(Int8Array.of(1, 2));
  await tensor.getData(true);
  return tensor.data;
}

/** What a GPU would hold. */
const resource = { size: 4, mapState: 'unmapped' } as never;
const downloads = (calls: string[]) => ({
  download: async () => {
    calls.push('download');
    return Float32Array.of(7) as never;
  },
  dispose: () => {
    calls.push('dispose');
  },
});

const elsewhere: Case[] = [
  [
    'a pinned buffer',
    ({ Tensor }) => describeTensor(Tensor.fromPinnedBuffer('int32', Int32Array.of(1, 2), [2, 1])),
    { ...cpu('int32', [2, 1], Int32Array.of(1, 2)), location: 'cpu-pinned' },
  ],
  ['a pinned buffer without dims', ({ Tensor }) => Tensor.fromPinnedBuffer('int8', new Int8Array(3)).dims, [3]],
  ['a pinned buffer, reshaped', ({ Tensor }) => pinned(Tensor).reshape([1, 3]).location, 'cpu-pinned'],
  ['a pinned buffer, read', ({ Tensor }) => pinned(Tensor).getData(), new Int8Array(3)],
  ['a pinned buffer of another class', make({ location: 'cpu-pinned', type: 'int8', data: [1], dims: [1] }), TypeError],
  ['pinned strings', make({ location: 'cpu-pinned', type: 'string', data: ['a'], dims: [1] }), TypeError],
  ['a pinned buffer of another size', ({ Tensor }) => Tensor.fromPinnedBuffer('int8', new Int8Array(3), [4]), Error],
  [
    'a texture',
    ({ Tensor }) => {
      const { type, dims, location, texture } = Tensor.fromTexture(resource, { width: 3, height: 2 });
      return { type, dims, location, same: texture === resource };
    },
    { type: 'float32', dims: [1, 2, 3, 4], location: 'texture', same: true },
  ],
  [
    'a GPU buffer',
    ({ Tensor }) => {
      const { type, dims, location, gpuBuffer } = Tensor.fromGpuBuffer(resource, { dataType: 'int32', dims: [1] });
      return { type, dims, location, same: gpuBuffer === resource };
    },
    { type: 'int32', dims: [1], location: 'gpu-buffer', same: true },
  ],
  ['a GPU buffer is of float32', ({ Tensor }) => Tensor.fromGpuBuffer(resource, { dims: [1] }).type, 'float32'],
  ['a GPU buffer of float64', make({ location: 'gpu-buffer', type: 'float64', gpuBuffer: {}, dims: [1] }), TypeError],
  [
    'an ML tensor',
    ({ Tensor }) => {
      const { type, location, mlTensor } = Tensor.fromMLTensor(resource, { dataType: 'int8', dims: [1] });
      return { type, location, same: mlTensor === resource };
    },
    { type: 'int8', location: 'ml-tensor', same: true },
  ],
  ['data of a GPU buffer', ({ Tensor }) => Tensor.fromGpuBuffer(resource, { dims: [1] }).data, Error],
  ['getData without a download', ({ Tensor }) => Tensor.fromGpuBuffer(resource, { dims: [1] }).getData(), Error],
  [
    'getData downloads once',
    async ({ Tensor }) => {
      const calls: string[] = [];
      const tensor = Tensor.fromGpuBuffer(resource, { dims: [1], ...downloads(calls) });
      const data = [await tensor.getData(), await tensor.getData(), tensor.data].map((each) =>
        Array.from(each as Float32Array),
      );
      return [data, tensor.location, calls];
    },
    [[[7], [7], [7]], 'cpu', ['download']],
  ],
  [
    'getData releases the GPU data if asked to',
    async ({ Tensor }) => {
      const calls: string[] = [];
      await Tensor.fromTexture(resource, { width: 1, height: 1, ...downloads(calls) }).getData(true);
      return calls;
    },
    ['download', 'dispose'],
  ],
  [
    'two downloads at once',
    async ({ Tensor }) => {
      const tensor = Tensor.fromMLTensor(resource, { dims: [1], ...downloads([]) });
      await Promise.all([tensor.getData(), tensor.getData()]);
    },
    Error,
  ],
  [
    'dispose releases the GPU data',
    ({ Tensor }) => {
      const calls: string[] = [];
      const tensor = Tensor.fromGpuBuffer(resource, { dims: [1], ...downloads(calls) });
      tensor.dispose();
      return [calls, tensor.location];
    },
    [['dispose'], 'none'],
  ],
  [
    'reshape of data that a tensor owns on the GPU',
    ({ Tensor }) => Tensor.fromGpuBuffer(resource, { dims: [1], ...downloads([]) }).reshape([1, 1]),
    Error,
  ],
];

const pinned = (Tensor: Ort['Tensor']) => Tensor.fromPinnedBuffer('int8', new Int8Array(3));

forEachImplementation((ort) => {
  describe('construction', () => testCases(ort, construction));
  describe('reading, reshaping, disposing', () => testCases(ort, reading));
  describe('data elsewhere', () => testCases(ort, elsewhere));
});
