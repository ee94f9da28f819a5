/** What a kernel benchmark is, and how its time compares with the bounds of one core. */

import type { NumericStorage } from '../../lib/ir/dtype.ts';
import type { StepParams } from '../../lib/ops/lower.ts';
import { type Isa, lanesOf } from '../../lib/runtime/machine.ts';
import { type NativeBlob, native } from '../../lib/runtime/native.ts';
import { type Peaks, readTime } from '../../lib/runtime/peaks.ts';
import { time } from '../../test/kernels/harness.ts';

export type KernelOperand = NumericStorage | NativeBlob | null;

/** A kernel call with made-up operands, the last of which is the output, and what it cannot do without. */
export interface KernelCall {
  readonly kernel: string;
  readonly operands: readonly KernelOperand[];
  readonly params: StepParams;
  /** Multiply-adds; those with zeros only where the kernel cannot leave them out. 0 where arithmetic is no bound. */
  readonly macs: number;
  /** True where the multiply-adds are of bytes. */
  readonly bytes8: boolean;
  /** Vector loads from the nearest cache, in instructions; undefined where nobody counted. */
  readonly loads: number | undefined;
  /** Bytes read and written, where that is less than all operands. */
  readonly bytes?: number;
}

export interface KernelCase {
  readonly family: string;
  readonly name: string;
  readonly kernel: string;
  readonly make: (isa: string) => KernelCall;
}

/** Shares of the bounds that a call reaches. */
export interface KernelResult {
  readonly family: string;
  readonly name: string;
  readonly kernel: string;
  readonly ns: number;
  readonly macsPerNs: number;
  readonly bytesPerNs: number;
  readonly fma: number;
  readonly load: number | undefined;
  readonly bandwidth: number;
  /** The largest of these, and which it is. */
  readonly share: number;
  readonly bound: 'FMA' | 'loads' | 'bandwidth';
}

/** Floats of a vector of this instruction set. */
export const vectorLanes = (isa: string): number => lanesOf[isa as Isa] ?? 4;

/** Vectors that a cache line of 16 floats takes. */
export const lineVectors = (isa: string): number => 16 / vectorLanes(isa);

/** Floats at a 64-byte boundary, as kernels find them in a plan. */
export function alignedFloats(count: number, from?: Float32Array): Float32Array {
  const floats = new Float32Array(native().alignedBuffer(Math.max(64, Math.ceil((count * 4) / 64) * 64)), 0, count);
  if (from) floats.set(from);
  return floats;
}

export function alignedBytes(count: number, value = 0): Uint8Array {
  return new Uint8Array(native().alignedBuffer(Math.max(64, Math.ceil(count / 64) * 64)), 0, count).fill(value);
}

function bytesOf(operand: KernelOperand): number {
  if (operand === null) return 0;
  return ArrayBuffer.isView(operand) ? operand.byteLength : native().blobBytes(operand as NativeBlob);
}

/** Multiply-adds of float32 a nanosecond on one core, right now: clocks change. */
function fmaPeak(isa: string): number {
  const rounds = 20_000;
  return (rounds * 12 * vectorLanes(isa)) / time(isa, 'measure.fma.f32', [new Float32Array(16)], { rounds }, 10);
}

/** Shares of bounds of a call that took `ns`; `fma` multiply-adds a nanosecond is the peak of this moment. */
export function sharesOf(call: KernelCall, ns: number, fma: number, peaks: Peaks, isa: string) {
  // An operand that is read and written counts once: it is brought from its level once.
  const resident = [...new Set(call.operands)].reduce((sum, operand) => sum + bytesOf(operand), 0);
  const bytes = call.bytes ?? resident;
  const nearest = peaks.reads[0]!.rate / (vectorLanes(isa) * 4);
  const shares = {
    FMA: call.macs / (fma * (call.bytes8 ? peaks.byteFactor : 1)) / ns,
    loads: (call.loads ?? 0) / nearest / ns,
    bandwidth: (readTime(peaks, bytes, resident) * 1e6) / ns,
  };
  const names = ['FMA', 'loads', 'bandwidth'] as const;
  const bound = names.reduce((best, name) => (shares[name] > shares[best] ? name : best));
  return { bytes, shares, bound };
}

/** Times a case on one core; the peak of multiply-adds is measured right before and after. */
export function measureCase(each: KernelCase, isa: string, peaks: Peaks, repeats: number): KernelResult {
  const call = each.make(isa);
  const before = fmaPeak(isa);
  const ns = time(isa, call.kernel, call.operands, call.params, repeats);
  const fma = Math.max(peaks.fma / peaks.threads, before, fmaPeak(isa));
  const { bytes, shares, bound } = sharesOf(call, ns, fma, peaks, isa);
  const { family, name, kernel } = each;
  return {
    ...{ family, name, kernel, ns, macsPerNs: call.macs / ns, bytesPerNs: bytes / ns },
    ...{ fma: shares.FMA, load: call.loads && shares.loads, bandwidth: shares.bandwidth, share: shares[bound], bound },
  };
}
