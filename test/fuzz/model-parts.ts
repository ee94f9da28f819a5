/** What the built-in models are made of. */

import { type Bytes, node } from '../models/onnx-writer.ts';

/** Deterministic numbers in [-1, 1]. */
export const wave = (count: number, step = 0.37): number[] =>
  Array.from({ length: count }, (_, i) => Math.round(Math.sin(i * step) * 1000) / 1000);
/** Four of five are zero. */
export const sparse = (count: number): number[] => wave(count).map((value, i) => (i % 5 ? 0 : value));
/** A node from space-separated names of inputs (`-` for none) and outputs. */
export const op = (name: string, inputs: string, outputs: string, ...attributes: Bytes[]): Bytes =>
  node(
    name,
    inputs.split(' ').map((each) => (each === '-' ? '' : each)),
    outputs.split(' '),
    { attributes },
  );
