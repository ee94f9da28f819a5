/** Changed files of tensors and other values are read, or refused with a typed error. */

import { expect, test } from 'vitest';
import { FiligreeError } from '../../lib/errors.ts';
import type { ValueType } from '../../lib/ir/graph.ts';
import { tensorType } from '../../lib/ir/graph.ts';
import { fromNumbers, type HostValue, packed, tensor } from '../../lib/ir/tensor.ts';
import { encodeValue } from '../../lib/onnx/encode.ts';
import { decodeNpy, encodeNpy } from '../../lib/onnx/npy.ts';
import { decodeValue } from '../../lib/onnx/tensor-proto.ts';
import { noise } from './mutate.ts';
import { Random } from './random.ts';

const floats = fromNumbers('float32', [2, 3], [1, 2, 3, 4, 5, 6]);
const texts = tensor('string', [2], ['one', 'two']);
const nibbles = packed('int4', [3], Int8Array.of(1, -2, 3));
const complex = fromNumbers('complex64', [1], [1, 2]);
const sequence: HostValue = { kind: 'sequence', items: [floats, floats] };
const map: HostValue = { kind: 'map', keyType: 'string', valueType: 'float32', entries: new Map([['a', 1]]) };

const element = tensorType('float32', undefined);
const protos: [HostValue, ValueType][] = [
  [floats, element],
  [texts, tensorType('string', undefined)],
  [nibbles, tensorType('int4', undefined)],
  [complex, tensorType('complex64', undefined)],
  [sequence, { kind: 'sequence', element }],
  [
    { kind: 'optional', value: floats },
    { kind: 'optional', element },
  ],
  [map, { kind: 'map', keyType: 'string', value: element }],
];

/** Shares of the files that were read and refused; anything but a typed error is thrown on. */
function outcomes(
  rounds: number,
  seed: string,
  files: readonly Uint8Array[],
  read: (bytes: Uint8Array, i: number) => void,
) {
  const count = { read: 0, refused: 0 };
  for (let round = 0; round < rounds; round++) {
    const random = new Random(`${seed}:${round}`);
    const i = random.below(files.length);
    try {
      read(noise(random, files[i] as Uint8Array).bytes, i);
      count.read++;
    } catch (error) {
      if (!(error instanceof FiligreeError)) throw new Error(`${seed}:${round}`, { cause: error });
      count.refused++;
    }
  }
  return count;
}

test('protobuf files', () => {
  const files = protos.map(([value]) => encodeValue(value, 'v'));
  const { read, refused } = outcomes(20_000, 'proto', files, (bytes, i) => {
    decodeValue(bytes, (protos[i] as [HostValue, ValueType])[1], 'v');
  });
  expect(Math.min(read, refused)).toBeGreaterThan(2000);
});

test('npy files', () => {
  const files = [floats, complex, fromNumbers('int64', [], [7])].map(encodeNpy);
  const { read, refused } = outcomes(10_000, 'npy', files, (bytes) => {
    decodeNpy(bytes, 'v.npy');
  });
  expect(Math.min(read, refused)).toBeGreaterThan(1000);
});
