/** Constants and packings on the native side: made once a session, shared by all its plans. */

import { constants } from 'node:buffer';
import { MemoryError } from '../errors.ts';
import type { NumericStorage } from '../ir/dtype.ts';
import type { HostTensor } from '../ir/tensor.ts';
import type { ConstantSource, EncodedPlan } from '../plan/builder.ts';
import type { Machine } from './machine.ts';
import { type NativeBlob, type NativePlan, native } from './native.ts';

type PackedSource = Extract<ConstantSource, { kind: 'packed' }>;

/** Smaller constants are copied anyway. */
const COPIED_BYTES = 2 ** 16;

/** How a large constant is copied to where it is aligned; undefined where it can stay. */
function asPacking(tensor: HostTensor): PackedSource | undefined {
  const bytes = tensor.unaligned?.length ?? 0;
  if (bytes <= COPIED_BYTES) return undefined;
  return { kind: 'packed', owner: tensor, packer: 'pack.bytes', sources: [tensor], numbers: Float64Array.of(bytes) };
}

const keys = new WeakMap<Float64Array, string>();

/** What an owner's packings are told apart by; plans share the numbers of what they repeat. */
function packingKey({ packer, numbers }: PackedSource): string {
  let key = keys.get(numbers);
  if (key === undefined) {
    key = `${packer}:${numbers.join()}`;
    keys.set(numbers, key);
  }
  return key;
}

/** The native constants of one session. */
export class Weights {
  readonly #machine: Machine;
  readonly #constants = new WeakMap<HostTensor, NativeBlob>();
  readonly #packings = new WeakMap<object, Map<string, NativeBlob | Promise<NativeBlob>>>();
  readonly #arenas = native().arenaPool();
  readonly #plans: NativePlan[] = [];
  readonly #blobs: NativeBlob[] = [];
  readonly #adopted = new WeakSet<NativeBlob>();
  #packedBytes = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Bytes of all packings. */
  get packedBytes(): number {
    return this.#packedBytes;
  }

  /** Gives back the memory in which files were read; packing reads them again. */
  dropFilePages(): void {
    native().dropFilePages();
  }

  /** Begins the plan's packings on the thread pool, in turns; those that exist already are free. Returns their end. */
  *preparing(plan: EncodedPlan): Generator<void, Promise<unknown>> {
    const begun: (NativeBlob | Promise<NativeBlob>)[] = [];
    for (const source of plan.constants) {
      const packed = source.kind === 'packed' ? source : asPacking(source.tensor);
      if (!packed) continue;
      const packing = this.#packing(packed, false);
      // Awaited below; one that fails before the last has begun is no unhandled rejection.
      if (packing instanceof Promise) packing.catch(() => {});
      begun.push(packing);
      yield;
    }
    return Promise.all(begun);
  }

  /** A native plan; packings that {@link preparing} has not made are made here, on this thread. */
  instantiate(plan: EncodedPlan): NativePlan {
    const { memory, isa } = this.#machine;
    if (!(plan.arenaBytes <= memory)) {
      const facts = { bytes: plan.arenaBytes, allowed: memory };
      throw new MemoryError(`a run needs ${plan.arenaBytes} bytes of working memory, the machine has ${memory}`, facts);
    }
    const large = plan.outputBytes.find((bytes) => bytes > constants.MAX_LENGTH);
    if (large !== undefined) {
      const facts = { bytes: large, allowed: constants.MAX_LENGTH };
      throw new MemoryError(`a result of ${large} bytes; a buffer holds up to ${constants.MAX_LENGTH}`, facts);
    }
    const { numbers, blobs } = this.partsOf(plan);
    const made = native().plan(isa, numbers, blobs, { arenaPool: this.#arenas });
    this.#plans.push(made);
    return made;
  }

  /** What a plan is made of: the engine's numbers, and its constants. */
  partsOf(plan: EncodedPlan): { readonly numbers: Float64Array; readonly blobs: readonly NativeBlob[] } {
    const blobs = plan.constants.map((source) =>
      source.kind === 'tensor' ? this.#constant(source.tensor) : (this.#packing(source, true) as NativeBlob),
    );
    const numbers = Float64Array.from(plan.numbers);
    for (const { at, constant } of plan.packedSizes) numbers[at] = native().blobBytes(blobs[constant]);
    return { numbers, blobs };
  }

  /** A plan of parts that were kept; the blobs are this session's from now on. */
  adopt(numbers: Float64Array, blobs: readonly NativeBlob[]): NativePlan {
    const made = native().plan(this.#machine.isa, numbers, blobs, { arenaPool: this.#arenas });
    this.#plans.push(made);
    for (const blob of blobs) if (!this.#adopted.has(blob)) this.#blobs.push(blob);
    for (const blob of blobs) this.#adopted.add(blob);
    return made;
  }

  /** Gives the native memory back; runs under way keep what they use until they end. */
  dispose(): void {
    const addon = native();
    for (const each of [...this.#plans, ...this.#blobs, this.#arenas]) addon.release(each);
    this.#plans.length = 0;
    this.#blobs.length = 0;
  }

  /** Frees one plan. */
  release(plan: NativePlan): void {
    const at = this.#plans.indexOf(plan);
    if (at < 0) return;
    this.#plans.splice(at, 1);
    native().release(plan);
  }

  #constant(tensor: HostTensor): NativeBlob {
    const packed = asPacking(tensor);
    if (packed) return this.#packing(packed, true) as NativeBlob;
    let blob = this.#constants.get(tensor);
    if (!blob) {
      blob = native().constant(tensor.data as NumericStorage);
      this.#constants.set(tensor, blob);
      this.#blobs.push(blob);
    }
    return blob;
  }

  #packing(source: PackedSource, now: boolean): NativeBlob | Promise<NativeBlob> {
    const key = packingKey(source);
    let owned = this.#packings.get(source.owner);
    if (!owned) {
      owned = new Map();
      this.#packings.set(source.owner, owned);
    }
    const known = owned.get(key);
    if (known && !(now && known instanceof Promise)) return known;
    const id = this.#machine.kernels.get(source.packer)?.id as number;
    const sources = source.sources.map((tensor) => tensor && (tensor.unaligned ?? (tensor.data as NumericStorage)));
    if (now) return this.#keep(owned, key, native().packSync(this.#machine.isa, id, sources, source.numbers));
    const packing = native().pack(this.#machine.isa, id, sources, source.numbers);
    owned.set(key, packing);
    return packing.then(
      (blob) => this.#keep(owned, key, blob),
      (error) => {
        owned.delete(key);
        throw error;
      },
    );
  }

  #keep(owned: Map<string, NativeBlob | Promise<NativeBlob>>, key: string, blob: NativeBlob): NativeBlob {
    const known = owned.get(key);
    if (known && !(known instanceof Promise)) return known;
    owned.set(key, blob);
    this.#blobs.push(blob);
    this.#packedBytes += native().blobBytes(blob);
    return blob;
  }
}
