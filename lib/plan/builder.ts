/** Collects buffers and steps of one native plan, places the buffers in the arena, and encodes all for the engine. */

import { InternalError } from '../errors.ts';
import type { Node } from '../ir/graph.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { finish } from '../ir/turns.ts';
import type { Operand, StepParams } from '../ops/lower.ts';
import { bytesInUse, placeBuffers } from './arena.ts';
import { cutChannels } from './channel-blocks.ts';
import { encodeParams, type KernelSignature } from './kernel.ts';
import { packingRows } from './weight-rows.ts';

/** A constant operand of a plan: a tensor as it is, or a packing of constants. */
export type ConstantSource =
  | { readonly kind: 'tensor'; readonly tensor: HostTensor }
  | {
      readonly kind: 'packed';
      /** Stable identity of the node within the session. */
      readonly owner: object;
      readonly packer: string;
      readonly sources: readonly (HostTensor | null)[];
      /** In the order the packer reads them; equal numbers of one owner share the packing. */
      readonly numbers: Float64Array;
    };

type BufferKind = 'arena' | 'input' | 'output' | 'constant' | 'alias';

interface BufferRecord {
  kind: BufferKind;
  /** Number among the inputs, outputs or constants; for an alias the buffer it lies in. */
  index: number;
  byteOffset: number;
  readonly bytes: number;
}

interface StepRecord {
  readonly kernel: string;
  readonly operands: readonly (number | null)[];
  readonly params: StepParams;
  readonly node: Node;
}

/** A finished plan: numbers for the engine and what it was made of. */
export interface EncodedPlan {
  readonly numbers: Float64Array;
  readonly constants: readonly ConstantSource[];
  readonly arenaBytes: number;
  readonly inputBytes: readonly number[];
  readonly outputBytes: readonly number[];
  readonly steps: readonly { readonly kernel: string; readonly node: Node }[];
  /** Bytes of the arena that are in use during each step. */
  readonly liveBytes: readonly number[];
  /** Where in `numbers` the size of packed constant `constant` has to be written once it is packed. */
  readonly packedSizes: readonly { readonly at: number; readonly constant: number }[];
}

/** What a constant buffer is, until it is encoded. */
type PendingConstant =
  | HostTensor
  | { owner: object; packer: string; sources: (HostTensor | null)[]; params: StepParams };

const kindNumbers = { arena: 0, input: 1, output: 2, constant: 3 } as const;
const MAGIC = 0xf111;
const STEP = 1;

/** Steps that are encoded at a stretch. */
const STRETCH = 16;
/** Numbers of the head, a buffer, and a step without its operands and parameters. */
const [HEAD_NUMBERS, BUFFER_NUMBERS, STEP_NUMBERS] = [8, 7, 4];

/** Builds one plan. */
export class PlanBuilder {
  readonly #kernels: ReadonlyMap<string, { id: number; signature: KernelSignature }>;
  readonly #buffers: BufferRecord[] = [];
  #steps: StepRecord[] = [];
  readonly #constants: PendingConstant[] = [];
  readonly #constantBuffers = new Map<HostTensor, number>();
  #inputs = 0;
  #outputs = 0;

  constructor(kernels: ReadonlyMap<string, { id: number; signature: KernelSignature }>) {
    this.#kernels = kernels;
  }

  get stepCount(): number {
    return this.#steps.length;
  }

  /** A buffer in the arena, alive from its first to its last step. */
  arena(bytes: number): number {
    return this.#add({ kind: 'arena', index: 0, byteOffset: 0, bytes });
  }
  /** The next input of the plan. */
  input(bytes: number): number {
    return this.#add({ kind: 'input', index: this.#inputs++, byteOffset: 0, bytes });
  }
  constant(tensor: HostTensor, bytes: number): number {
    const known = this.#constantBuffers.get(tensor);
    if (known !== undefined) return known;
    const buffer = this.#constantRecord(tensor, bytes);
    this.#constantBuffers.set(tensor, buffer);
    return buffer;
  }
  /** A packing; its size is the packer's business, so the buffer's bytes are unknown here (the engine knows). */
  packed(owner: object, packer: string, sources: (HostTensor | null)[], params: StepParams): number {
    return this.#constantRecord({ owner, packer, sources, params }, 0);
  }
  /** A part of another buffer. */
  alias(of: number, byteOffset: number, bytes: number): number {
    return this.#add({ kind: 'alias', index: of, byteOffset, bytes });
  }
  /** The constant tensor behind a buffer, where it is one. */
  tensorOf(buffer: number): HostTensor | undefined {
    const record = this.#buffers[buffer];
    const pending = record.kind === 'constant' ? this.#constants[record.index] : undefined;
    return pending && 'kind' in pending ? pending : undefined;
  }
  /** True where the buffer lies in the arena under its own name or as an alias. */
  isArena(buffer: number): boolean {
    return this.#buffers[this.#root(buffer).buffer].kind === 'arena';
  }

  /**
   * Makes `buffer` the next output of the plan. False where it cannot be: it is an input, a constant, an output
   * already, or a part of another buffer; the caller then copies.
   */
  makeOutput(buffer: number): boolean {
    const { buffer: root, offset } = this.#root(buffer);
    const record = this.#buffers[root];
    if (record.kind !== 'arena' || offset !== 0 || record.bytes !== this.#buffers[buffer].bytes) return false;
    record.kind = 'output';
    record.index = this.#outputs++;
    return true;
  }
  /** A fresh output buffer. */
  output(bytes: number): number {
    return this.#add({ kind: 'output', index: this.#outputs++, byteOffset: 0, bytes });
  }

  step(node: Node, kernel: string, operands: readonly (Operand | null)[], params: StepParams): void {
    const buffers = operands.map((operand) => (operand ? operand.buffer : null));
    this.stepOn(node, kernel, buffers, params);
  }

  /** The same with the numbers of buffers. */
  stepOn(node: Node, kernel: string, operands: readonly (number | null)[], params: StepParams): void {
    if (!this.#kernels.has(kernel)) throw new InternalError(`the addon has no kernel ${kernel}`);
    this.#steps.push({ kernel, operands, params, node });
  }

  /** Cuts steps into blocks of channels where maps between them would leave caches of `bytes` together. */
  cutChannels(bytes: number): void {
    const buffers = {
      isWhole: (buffer: number): boolean => this.#buffers[buffer].kind === 'arena',
      rootOf: (buffer: number): number => this.#root(buffer).buffer,
      arena: (size: number): number => this.arena(size),
      packedRows: (buffer: number, first: number, count: number): number => this.#packedRows(buffer, first, count),
    };
    this.#steps = cutChannels(this.#steps, buffers, bytes);
  }

  #packedRows(buffer: number, first: number, count: number): number {
    const whole = this.#constants[this.#buffers[buffer].index];
    if (this.#buffers[buffer].kind !== 'constant' || !('packer' in whole)) {
      throw new InternalError('rows of what is no packing');
    }
    const { owner, sources } = packingRows(whole, first, count);
    const groups = whole.params.groups === 1 ? 1 : count;
    const channels = groups === 1 ? whole.params.channels_in : count;
    const params = { ...whole.params, groups, channels_in: channels, channels_out: count };
    return this.packed(owner, whole.packer, sources, params);
  }

  finish(): EncodedPlan {
    return finish(this.encoding());
  }

  /** The plan; a generator, because that takes milliseconds. */
  *encoding(): Generator<void, EncodedPlan> {
    const { offsets, arenaBytes, liveBytes } = this.#place();
    yield;
    const constants = this.#usedConstants();
    const numberOf = new Map(constants.map((constant, i) => [constant, i]));
    const inputBytes = this.#sizesOf('input', this.#inputs);
    const outputBytes = this.#sizesOf('output', this.#outputs);
    const packedSizes: { at: number; constant: number }[] = [];
    const bufferNumber = this.#usedBuffers();
    const params: Float64Array[] = [];
    for (const [i, step] of this.#steps.entries()) {
      params.push(encodeParams(this.#kernel(step.kernel).signature, step.params));
      if (i % STRETCH === STRETCH - 1) yield;
    }
    const length = this.#steps.reduce(
      (sum, { operands }, i) => sum + STEP_NUMBERS + operands.length + params[i].length,
      HEAD_NUMBERS + inputBytes.length + outputBytes.length + BUFFER_NUMBERS * bufferNumber.size,
    );
    const numbers = new Float64Array(length);
    const head = [MAGIC, 1, arenaBytes, this.#inputs, this.#outputs, constants.length];
    numbers.set([...head, bufferNumber.size, this.#steps.length, ...inputBytes, ...outputBytes]);
    let at = HEAD_NUMBERS + inputBytes.length + outputBytes.length;
    for (const i of bufferNumber.keys()) {
      const { buffer, offset } = this.#root(i);
      const root = this.#buffers[buffer];
      const kind = root.kind as keyof typeof kindNumbers;
      const base = kind === 'arena' ? (offsets.get(buffer) ?? 0) : 0;
      const index = kind === 'constant' ? (numberOf.get(root.index) as number) : root.index;
      numbers[at] = kindNumbers[kind];
      numbers[at + 1] = index;
      numbers[at + 2] = base + offset;
      numbers[at + 3] = this.#buffers[i].bytes;
      if (kind === 'constant' && 'packer' in this.#constants[root.index]) {
        packedSizes.push({ at: at + 3, constant: index });
      }
      at += BUFFER_NUMBERS;
    }
    yield;
    this.#steps.forEach((step, i) => {
      at = this.#encodeStep(step, params[i], bufferNumber, numbers, at);
    });
    return {
      numbers,
      constants: constants.map((i) => this.#resolve(this.#constants[i])),
      arenaBytes,
      inputBytes,
      outputBytes,
      steps: this.#steps.map(({ kernel, node }) => ({ kernel, node })),
      liveBytes,
      packedSizes,
    };
  }

  /** Writes a step from number `from` on; returns where it ends. */
  #encodeStep(
    { kernel, operands }: StepRecord,
    params: Float64Array,
    bufferNumber: ReadonlyMap<number, number>,
    numbers: Float64Array,
    from: number,
  ): number {
    let at = from;
    numbers[at++] = STEP;
    numbers[at++] = this.#kernel(kernel).id;
    numbers[at++] = operands.length;
    for (const o of operands) numbers[at++] = o === null ? -1 : (bufferNumber.get(o) as number);
    numbers[at++] = params.length;
    numbers.set(params, at);
    return at + params.length;
  }

  /** Buffers that steps use, numbered anew: a lowering that gave up leaves others behind. */
  #usedBuffers(): Map<number, number> {
    const numbers = new Map<number, number>();
    for (const step of this.#steps) {
      for (const operand of step.operands) {
        if (operand !== null && !numbers.has(operand)) numbers.set(operand, numbers.size);
      }
    }
    return numbers;
  }

  /** Constants that steps use, in order of first use. */
  #usedConstants(): number[] {
    const used = new Set<number>();
    for (const step of this.#steps) {
      for (const operand of step.operands) {
        if (operand === null) continue;
        const root = this.#buffers[this.#root(operand).buffer];
        if (root.kind === 'constant') used.add(root.index);
      }
    }
    return [...used];
  }

  #add(record: BufferRecord): number {
    this.#buffers.push(record);
    return this.#buffers.length - 1;
  }

  #constantRecord(pending: PendingConstant, bytes: number): number {
    this.#constants.push(pending);
    return this.#add({ kind: 'constant', index: this.#constants.length - 1, byteOffset: 0, bytes });
  }

  #root(buffer: number): { buffer: number; offset: number } {
    let offset = 0;
    let at = buffer;
    while (this.#buffers[at].kind === 'alias') {
      offset += this.#buffers[at].byteOffset;
      at = this.#buffers[at].index;
    }
    return { buffer: at, offset };
  }

  #sizesOf(kind: BufferKind, count: number): number[] {
    const sizes = new Array<number>(count).fill(0);
    for (const record of this.#buffers) if (record.kind === kind) sizes[record.index] = record.bytes;
    return sizes;
  }

  #kernel(name: string): { id: number; signature: KernelSignature } {
    const kernel = this.#kernels.get(name);
    if (!kernel) throw new InternalError(`the addon has no kernel ${name}`);
    return kernel;
  }

  #resolve(pending: PendingConstant): ConstantSource {
    if ('kind' in pending) return { kind: 'tensor', tensor: pending };
    const { owner, packer, sources, params } = pending;
    return { kind: 'packed', owner, packer, sources, numbers: encodeParams(this.#kernel(packer).signature, params) };
  }

  /** Lifetimes over the steps, then offsets. */
  #place(): { offsets: Map<number, number>; arenaBytes: number; liveBytes: number[] } {
    const spans = new Map<number, { first: number; last: number }>();
    this.#steps.forEach((step, at) => {
      for (const operand of step.operands) {
        if (operand === null) continue;
        const { buffer } = this.#root(operand);
        if (this.#buffers[buffer].kind !== 'arena') continue;
        const span = spans.get(buffer);
        if (span) span.last = at;
        else spans.set(buffer, { first: at, last: at });
      }
    });
    const live = [...spans].map(([buffer, span]) => ({ buffer, ...span, bytes: this.#buffers[buffer].bytes }));
    return { ...placeBuffers(live), liveBytes: bytesInUse(live, this.#steps.length) };
  }
}
