/** Sessions and tensors for the cases that run against every implementation. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { Ort } from './implementations.ts';
import { sumAndDifference } from './models.ts';

export type OrtTensor = Ort['Tensor']['prototype'];
export type OrtSession = Awaited<ReturnType<Ort['InferenceSession']['create']>>;

/** A folder of the test file with the model sum = a + b, diff = a - b over [n, 3]. */
export function modelFolder(): { readonly folder: string; readonly path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'ort-'));
  const path = join(folder, 'model.onnx');
  writeFileSync(path, sumAndDifference());
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, path };
}

export const floats = ({ Tensor }: Ort, values: readonly number[], dims: readonly number[]): OrtTensor =>
  new Tensor('float32', Float32Array.from(values), dims);

/** Feeds of that model: sum is [5, 7, 9], diff [-3, -3, -3]. */
export const feeds = (ort: Ort): Record<string, OrtTensor> => ({
  a: floats(ort, [1, 2, 3], [1, 3]),
  b: floats(ort, [4, 5, 6], [1, 3]),
});

/** The elements; half floats as their bits. */
export function elements({ type, data }: OrtTensor): unknown[] {
  if (type !== 'float16') return [...(data as Iterable<unknown>)];
  const { buffer, byteOffset, length } = data as Uint16Array;
  return [...new Uint16Array(buffer, byteOffset, length)];
}

/** A call that the types would refuse too. */
export const createWith = ({ InferenceSession }: Ort, ...args: readonly unknown[]): Promise<OrtSession> =>
  (InferenceSession.create as (...all: readonly unknown[]) => Promise<OrtSession>)(...args);
export const runWith = (session: OrtSession, ...args: readonly unknown[]): Promise<Record<string, OrtTensor>> =>
  (session.run as (...all: readonly unknown[]) => Promise<Record<string, OrtTensor>>).call(session, ...args);
