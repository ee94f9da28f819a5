/** Timing of kernels against what the processor can reach. */

import type { NumericStorage } from '../../lib/ir/dtype.ts';
import type { StepParams } from '../../lib/ops/lower.ts';
import type { NativeBlob } from '../../lib/runtime/native.ts';
import { time } from '../../test/kernels/harness.ts';

const lanesOf: Record<string, number> = { portable: 4, avx2: 8, avx512: 16, avx512vnni: 16 };

/** Node has it; the type library for it is the browser's. */
declare const WebAssembly: { Memory: new (size: { initial: number }) => { buffer: ArrayBuffer } };

/** Floats at a page boundary: typed arrays of their own lie only 16 bytes aligned. */
export function alignedFloats(count: number): Float32Array {
  const memory = new WebAssembly.Memory({ initial: Math.max(1, Math.ceil((count * 4) / 65536)) });
  return new Float32Array(memory.buffer, 0, count);
}

/** Multiply-adds a nanosecond on one core. */
export function fmaPeak(isa: string): number {
  const rounds = 20_000;
  const ns = time(isa, 'measure.fma.f32', [new Float32Array(16)], { rounds }, 20);
  return (rounds * 12 * lanesOf[isa]!) / ns;
}

export interface Measured {
  readonly ns: number;
  /** Share of the peak in multiply-adds; the peak is measured right before and after. */
  readonly share: number;
}

/** Least time of `repeats` runs and the share of the peak that `macs` multiply-adds make. */
export function measure(
  isa: string,
  kernel: string,
  operands: readonly (NumericStorage | NativeBlob | null)[],
  params: StepParams,
  macs: number,
  repeats = 15,
): Measured {
  const before = fmaPeak(isa);
  const ns = time(isa, kernel, operands, params, repeats);
  return { ns, share: macs / ns / Math.max(before, fmaPeak(isa)) };
}
