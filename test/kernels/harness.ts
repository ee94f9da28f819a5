/** Runs kernels on plain arrays on every instruction set this machine has. */

import type { NumericStorage } from '../../lib/ir/dtype.ts';
import type { StepParams } from '../../lib/ops/lower.ts';
import { encodeParams, type KernelSignature } from '../../lib/plan/kernel.ts';
import { type NativeBlob, native } from '../../lib/runtime/native.ts';

const order = ['portable', 'avx2', 'avx512', 'avx512vnni', 'avx512bf16', 'amx'] as const;

/** The instruction sets of this machine, plainest first. */
export const isas: readonly string[] = order.slice(0, order.indexOf(native().hardware().isa) + 1);

function signature(isa: string, name: string): KernelSignature {
  const found = native()
    .kernels(isa)
    .find((kernel) => kernel.name === name);
  if (!found) throw new Error(`no kernel ${name} for ${isa}`);
  return found;
}

/** Runs a kernel as `parts` threads would, one after the other. */
export function run(
  isa: string,
  name: string,
  operands: readonly (NumericStorage | NativeBlob | null)[],
  params: StepParams = {},
  parts = 1,
): void {
  native().runKernel(isa, name, operands, encodeParams(signature(isa, name), params), parts);
}

/** Least nanoseconds of `repeats` runs on one thread. */
export function time(
  isa: string,
  name: string,
  operands: readonly (NumericStorage | NativeBlob | null)[],
  params: StepParams,
  repeats: number,
): number {
  return native().runKernel(isa, name, operands, encodeParams(signature(isa, name), params), 1, repeats);
}

/** Packs constant operands. */
export function pack(
  isa: string,
  packer: string,
  sources: readonly (NumericStorage | null)[],
  params: StepParams = {},
): NativeBlob {
  return native().runPacker(isa, packer, sources, encodeParams(signature(isa, packer), params));
}

/** Deterministic numbers in [-1, 1). */
export function random(count: number, seed = 1): Float32Array {
  let state = seed >>> 0 || 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Weights of which the given share is not zero. */
export function sparseWeights(count: number, density: number, seed: number): Float32Array {
  const keep = random(count, seed + 1);
  return random(count, seed).map((w, i) => (((keep[i] as number) + 1) / 2 < density ? w : 0));
}
