/** `filigree hardware`: what the processor offers and what that means. */

import { thisMachine } from '../runtime/machine.ts';
import { native } from '../runtime/native.ts';
import type { Command } from './command.ts';

/** What each instruction set means for the kinds of work. */
const meaning: Readonly<Record<string, readonly [fp32: string, int8: string, sparse: string]>> = {
  portable: ['128-bit vectors', 'emulated exactly, slow', 'packed streams'],
  avx2: ['256-bit vectors', 'emulated exactly', 'packed streams'],
  avx512: ['512-bit vectors', 'emulated exactly', 'generated code'],
  avx512vnni: ['512-bit vectors', '8-bit dot products (VNNI), four times the rate of float', 'generated code'],
  avx512bf16: ['512-bit vectors', '8-bit dot products (VNNI), four times the rate of float', 'generated code'],
  amx: ['512-bit vectors', 'tiles (AMX), 32 times the rate of float', 'generated code'],
};

export const hardwareCommand: Command = {
  name: 'hardware',
  summary: 'Shows the processor as this process may use it, and what follows.',
  usage: '',
  positionals: [0, 0],
  options: {},
  async run(_args, out) {
    const hardware = native().hardware();
    const { isa } = thisMachine();
    const [fp32, int8, generated] = meaning[isa];
    const sparse =
      hardware.jit || !/^avx512|^amx/.test(isa) ? generated : 'packed streams (executable memory is not allowed)';
    const size = (bytes: number): string => (bytes ? `${bytes / 1024} KiB` : 'unknown');
    out.line(`processor     ${hardware.brand || 'unknown'}`);
    out.line(`instructions  ${isa}${isa === hardware.isa ? '' : ` (FILIGREE_ISA; the processor has ${hardware.isa})`}`);
    out.line(`cores         ${hardware.cores} (affinity and control group counted)`);
    out.line(`caches        L1d ${size(hardware.l1d)}, L2 ${size(hardware.l2)}, L3 ${size(hardware.l3)}`);
    out.line(`float32       ${fp32}`);
    out.line(`int8          ${int8}`);
    out.line(`sparse        ${sparse}`);
    out.result({ ...hardware, inUse: isa, means: { float32: fp32, int8, sparse } });
    return 0;
  },
};
