import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NativeLoadError } from '../errors.ts';
import type { NumericStorage } from '../ir/dtype.ts';
import type { KernelSignature } from '../plan/kernel.ts';

/** What the processor offers and what this process may use. Sizes in bytes, 0 when unknown. */
export interface Hardware {
  readonly isa: 'portable' | 'avx2' | 'avx512' | 'avx512vnni';
  readonly brand: string;
  readonly cores: number;
  readonly l1d: number;
  readonly l2: number;
  readonly l3: number;
}

/** The functions the addon exports. */
export interface NativeAddon {
  hardware(): Hardware;
  /** The kernels of an instruction set; the position is the kernel's id in plans. */
  kernels(isa: string): KernelSignature[];
  /** Runs one kernel on plain buffers, in `parts` pieces; with `repeats`, the least nanoseconds of that many runs. */
  runKernel(
    isa: string,
    kernel: string,
    operands: readonly (NumericStorage | Packing | null)[],
    numbers: Float64Array,
    parts?: number,
    repeats?: number,
  ): number;
  /** Runs a packer; the result is an operand of {@link runKernel}. */
  runPacker(isa: string, packer: string, sources: readonly (NumericStorage | null)[], numbers: Float64Array): Packing;
}

/** Opaque result of a packer. */
export type Packing = object & { readonly brand?: 'packing' };

const require = createRequire(import.meta.url);
const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');

function load(): NativeAddon {
  const override = process.env.FILIGREE_ADDON;
  try {
    if (override) return require(resolve(override)) as NativeAddon;
    const bindings = require('bindings') as (options: { bindings: string; module_root: string }) => NativeAddon;
    return bindings({ bindings: 'filigree', module_root: root });
  } catch (cause) {
    throw new NativeLoadError(
      `no native addon for ${process.platform}-${process.arch} could be loaded; build it with "npm run build:native"`,
      { platform: process.platform, arch: process.arch, override: override ?? null },
      { cause },
    );
  }
}

let addon: NativeAddon | undefined;

/** The native addon, loaded at the first use. Throws {@link NativeLoadError} when none fits. */
export function native(): NativeAddon {
  addon ??= load();
  return addon;
}
