/** The instruction set in use and its kernels: read once from the addon. */

import { totalmem } from 'node:os';
import type { KernelSignature } from '../plan/kernel.ts';
import { type Hardware, native } from './native.ts';

export type Isa = Hardware['isa'];

export interface Machine {
  readonly isa: Isa;
  /** Floats of a vector. */
  readonly vectorLanes: number;
  readonly cores: number;
  /** Bytes of a core's second-level cache. */
  readonly l2: number;
  /** Bytes of the last cache, which the cores share. */
  readonly l3: number;
  /** Nanoseconds for a byte that leaves a core's second-level cache between two steps. */
  readonly spill: number;
  /** True where generated code may run. */
  readonly jit: boolean;
  /** True where there are kernels with products of bfloat16 that are faster than those of float32. */
  readonly bf16: boolean;
  /** Bytes of memory this process may hope for: the machine's, or its control group's. */
  readonly memory: number;
  readonly kernels: ReadonlyMap<string, { id: number; signature: KernelSignature }>;
}

/** Floats of a vector of each instruction set. */
export const lanesOf: Readonly<Record<Isa, number>> = {
  portable: 4,
  avx2: 8,
  avx512: 16,
  avx512vnni: 16,
  avx512bf16: 16,
  amx: 16,
};

/** Where the system does not tell. */
const USUAL_L2 = 2 ** 20;

function usableMemory(): number {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}

/** Nanoseconds for a byte from the third level in place of the second: of a few cores together, or of a whole package. */
const spillOf = (brand: string): number => (brand.startsWith('AMD') ? 0.01 : 0.03);

let machine: Machine | undefined;

/** The machine as this process uses it. */
export function thisMachine(): Machine {
  if (!machine) {
    const addon = native();
    const isa = addon.isa();
    const { brand, cores, jit, l2, l3, fastBf16Vectors } = addon.hardware();
    const kernels = new Map(addon.kernels(isa).map((signature, id) => [signature.name, { id, signature }]));
    const bf16 = kernels.has('matmul.bf16') && (isa === 'amx' || fastBf16Vectors);
    const memory = usableMemory();
    const caches = { l2: l2 || USUAL_L2, l3, spill: spillOf(brand) };
    machine = { isa, vectorLanes: lanesOf[isa], cores, ...caches, jit, bf16, memory, kernels };
  }
  return machine;
}
