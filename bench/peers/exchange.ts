/**
 * Inputs and outputs in a form that any engine can read: FILE is a JSON index, FILE.bin the raw little-endian data of
 * every tensor, in order.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { byteLength, type DType, isDType, type NumericStorage } from '../../lib/ir/dtype.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import type { HostValue } from '../../lib/ir/tensor.ts';
import { tensorOfBytes } from '../../lib/onnx/tensor-proto.ts';

export interface Named {
  readonly role: 'input' | 'output';
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: NumericStorage;
}

interface Entry {
  readonly role: 'input' | 'output';
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

/** A value as it is written. Throws for what is not a tensor of numbers. */
export function named(role: Named['role'], name: string, value: HostValue | undefined): Named {
  if (value?.kind !== 'tensor' || value.dtype === 'string') {
    const what = value?.kind === 'tensor' ? 'strings' : (value?.kind ?? 'nothing');
    throw new Error(`${role} "${name}": expected a tensor of numbers to compare, got ${what}`);
  }
  return { role, name, dtype: value.dtype, dims: value.dims, data: value.data as NumericStorage };
}

export function writeTensors(file: string, engine: string, tensors: readonly Named[]): void {
  let offset = 0;
  const parts: Uint8Array[] = [];
  const entries = tensors.map(({ role, name, dtype, dims, data }): Entry => {
    const entry = { role, name, dtype, shape: dims, offset, bytes: data.byteLength };
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
    return entry;
  });
  writeFileSync(`${file}.bin`, Buffer.concat(parts));
  writeFileSync(file, `${JSON.stringify({ engine, tensors: entries }, null, 1)}\n`);
}

export function readTensors(file: string): Named[] {
  const blob = readFileSync(`${file}.bin`);
  const { tensors } = JSON.parse(readFileSync(file, 'utf8')) as { tensors: readonly Entry[] };
  return tensors.map(({ role, name, dtype, shape, offset, bytes }) => {
    if (!isDType(dtype) || dtype === 'string') throw new Error(`${file}: "${name}" has the unknown type ${dtype}`);
    const expected = byteLength(dtype, sizeOf(shape));
    if (bytes !== expected || offset + bytes > blob.length) {
      throw new Error(`${file}: "${name}" should have ${expected} bytes, has ${Math.min(bytes, blob.length - offset)}`);
    }
    return named(role, name, tensorOfBytes(dtype, shape, blob.subarray(offset, offset + bytes)));
  });
}
