import type { NumericStorage } from '../ir/dtype.ts';
import type { KernelSignature } from '../plan/kernel.ts';
import { loadAddon } from './addon-file.ts';

/** What the processor offers and what this process may use. Sizes in bytes, 0 when unknown. */
export interface Hardware {
  readonly isa: 'portable' | 'avx2' | 'avx512' | 'avx512vnni' | 'avx512bf16' | 'amx';
  readonly brand: string;
  readonly cores: number;
  readonly l1d: number;
  readonly l2: number;
  readonly l3: number;
  /** True where generated code may run: executable memory is allowed and `FILIGREE_JIT` is not `0`. */
  readonly jit: boolean;
  /** True where products of bfloat16 on vectors are faster than those of float32. */
  readonly fastBf16Vectors: boolean;
}

/** Native memory: a constant or a packing. Freed when collected, or by {@link NativeAddon.release}. */
export type NativeBlob = object & { readonly brand?: 'blob' };

/** A decoded, validated plan. */
export type NativePlan = object & { readonly brand?: 'plan' };

/** Working memory that several plans share: a run takes what fits and gives it back. */
export type ArenaPool = object & { readonly brand?: 'arena-pool' };

/** Stops the runs it was given to, between two steps. */
export type AbortToken = object & { readonly brand?: 'abort-token' };

/** A typed array of the caller, read or written in place or copied. */
export type NativeView = NumericStorage;

export interface NativePlanOptions {
  /** Where runs take their working memory from; a pool of the plan's own by default. */
  readonly arenaPool?: ArenaPool;
  /** Refuses plans with a larger arena; the machine's memory by default. */
  readonly maxArenaBytes?: number;
}

/** What the engine knows about a plan. Bytes are per run; arrays have one entry an instruction. */
export interface NativePlanInfo {
  readonly arenaBytes: number;
  /** Scratch bytes of one thread. */
  readonly scratchBytes: number;
  /** Bytes of arena that each further thread of a parallel loop needs for itself. */
  readonly threadArenaBytes: number;
  readonly steps: number;
  /** Threads that can be busy at once. */
  readonly threads: number;
  /** Nanoseconds of one execution on one core as the kernels estimate them; 0 for LOOP and END. */
  readonly costs: Float64Array;
  readonly units: Float64Array;
  /** Sizes of an instruction's constant operands, and of all others; each buffer once. */
  readonly constantBytes: Float64Array;
  readonly dataBytes: Float64Array;
}

export interface NativeRunOptions {
  /** Most threads to use; the cores of this process by default. */
  readonly threads?: number;
  /** Queued runs of a higher priority start first; 0 by default. Of no use to runSync, which never waits. */
  readonly priority?: number;
  /** Two numbers an instruction: start and elapsed nanoseconds since the run began, waiting for other threads included. */
  readonly profile?: Float64Array;
  readonly token?: AbortToken;
  /** Inputs that nobody changes or transfers while the run lasts, by position: they are not copied. */
  readonly owned?: readonly boolean[];
}

/** The functions the addon exports. */
export interface NativeAddon {
  hardware(): Hardware;
  /** The kernels of an instruction set; the position is the kernel's id in plans. */
  kernels(isa: string): KernelSignature[];
  /** The instruction set in use: `FILIGREE_ISA` or the best one. Throws where the CPU lacks what is asked for. */
  isa(): Hardware['isa'];
  /**
   * A constant operand. Up to 64 KiB are copied to aligned memory; more is used in place, wherever it is aligned, and
   * kept alive: its ArrayBuffer must not be transferred or changed. Runs that would read a transferred one are refused.
   */
  constant(view: NativeView): NativeBlob;
  /** Runs packer number `kernel` of {@link kernels} on the thread pool. Large sources must not be transferred meanwhile. */
  pack(
    isa: string,
    kernel: number,
    sources: readonly (NativeView | NativeBlob | null)[],
    numbers: Float64Array,
  ): Promise<NativeBlob>;
  packSync(
    isa: string,
    kernel: number,
    sources: readonly (NativeView | NativeBlob | null)[],
    numbers: Float64Array,
  ): NativeBlob;
  blobBytes(blob: NativeBlob): number;
  /** A checksum of the contents (16 hexadecimal digits), whether they are generated code, and their size. */
  blobFacts(blob: NativeBlob): { checksum: string; code: boolean; bytes: number };
  /**
   * The contents of a file as a blob, mapped; null where the file is missing, differs from size or checksum, belongs to
   * another user, or can be written by others.
   */
  storedBlob(path: string, bytes: number, checksum: string, code: boolean): NativeBlob | null;
  arenaPool(): ArenaPool;
  abortToken(): AbortToken;
  abort(token: AbortToken): void;
  /** Decodes and validates a plan; native/engine/plan.h describes `numbers`. */
  plan(isa: string, numbers: Float64Array, constants: readonly NativeBlob[], options?: NativePlanOptions): NativePlan;
  planInfo(plan: NativePlan): NativePlanInfo;
  /** What a plan would take whose constants do not exist yet, `constants` of them; constantBytes means nothing then. */
  estimatePlan(isa: string, numbers: Float64Array, constants: number): NativePlanInfo;
  /**
   * Runs a plan on the thread pool. Inputs up to 16 MiB are copied at the call, and outputs up to 16 MiB on return;
   * larger ones and SharedArrayBuffers are used in place and must be left alone until the promise settles. An output
   * that is null is allocated and comes back as an ArrayBuffer. Throws at the call with code ERR_INPUT or ERR_MEMORY,
   * and rejects with ERR_RUN, ERR_MEMORY or ERR_ABORTED.
   */
  run(
    plan: NativePlan,
    inputs: readonly NativeView[],
    outputs: readonly (NativeView | null)[],
    options?: NativeRunOptions,
  ): Promise<(NativeView | ArrayBuffer)[]>;
  /** The same on this thread, with idle threads of the pool helping. Inputs and outputs are used in place. */
  runSync(
    plan: NativePlan,
    inputs: readonly NativeView[],
    outputs: readonly (NativeView | null)[],
    options?: NativeRunOptions,
  ): (NativeView | ArrayBuffer)[];
  /** Frees idle working memory of a plan or a pool. */
  trim(of: NativePlan | ArenaPool): void;
  /** Gives a blob, plan, pool or token up: memory is freed once no plan or run uses it; the object is unusable. */
  release(of: NativePlan | NativeBlob | ArenaPool | AbortToken): void;
  /**
   * Part of a regular file as memory, mapped copy-on-write: paged in where it is read, and writes stay in this process.
   * The file must not be shortened while in use. Throws where it cannot be opened, is not a regular file, or does not
   * have the part, which may have up to 4 GiB.
   */
  mapFile(path: string, offset: number, bytes: number): ArrayBuffer;
  /** Gives pages of mapped files back; they are read again where they are wanted. Nobody may have written to a mapping. */
  dropFilePages(): void;
  /** Runs one kernel on plain buffers, in `parts` pieces; with `repeats`, the least nanoseconds of that many runs. */
  runKernel(
    isa: string,
    kernel: string,
    operands: readonly (NativeView | NativeBlob | null)[],
    numbers: Float64Array,
    parts?: number,
    repeats?: number,
  ): number;
  /** Runs a packer; the result is an operand of {@link runKernel}. */
  runPacker(
    isa: string,
    packer: string,
    sources: readonly (NativeView | NativeBlob | null)[],
    numbers: Float64Array,
  ): NativeBlob;
  /** A copy of what {@link runPacker} made. */
  packingBytes(packing: NativeBlob): Uint8Array;
  /** A zeroed buffer that begins at a multiple of 64 bytes, as kernels find theirs in a plan. */
  alignedBuffer(bytes: number): ArrayBuffer;
}

let addon: NativeAddon | undefined;

/** The native addon, loaded at the first use. Throws {@link NativeLoadError} when none fits. */
export function native(): NativeAddon {
  addon ??= loadAddon() as NativeAddon;
  return addon;
}
