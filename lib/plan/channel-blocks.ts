/**
 * Runs pairs of steps a block of channels at a time: a convolution, and the depthwise convolution that alone reads its
 * result. Between them lies a map that may be larger than the cache; of a few channels it fits. Channels of a depthwise
 * convolution need no others, so nothing is computed twice.
 */

import type { Node } from '../ir/graph.ts';
import { SEGMENT_LANES, SegmentLayout } from '../ir/segments.ts';
import type { StepParams } from '../ops/lower.ts';

/** A step of a plan under construction. */
export interface PlannedStep {
  readonly kernel: string;
  readonly operands: readonly (number | null)[];
  readonly params: StepParams;
  readonly node: Node;
}

/** What blocks need of the plan's buffers. */
export interface BlockBuffers {
  /** A buffer that is a whole one of the arena. */
  isWhole(buffer: number): boolean;
  /** The buffer that this one is, or is a part of. */
  rootOf(buffer: number): number;
  arena(bytes: number): number;
  /** The packing of some output channels of what `buffer` packs. */
  packedRows(buffer: number, first: number, count: number): number;
}

/** Convolutions whose packings are by output channels. */
const PRODUCERS: ReadonlySet<string> = new Set([
  'conv.segments.dense.f32',
  'conv.segments.sparse.f32',
  'conv.segments.packed.f32',
]);
const DEPTHWISE = 'conv.segments.depthwise.f32';
const BORDER = 'segments.border';

/** Output channels that leave no register idle, whatever the instruction set. */
const TILE_ROWS = 12;

const LINE_BYTES = 4 * SEGMENT_LANES;

/** Maps that take more of the second-level caches are cut, into blocks that take less. */
const CUT_SHARE = 0.6;
const BLOCK_SHARE = 0.4;

/** The steps of a pair. */
interface Pair {
  readonly producer: PlannedStep;
  readonly border: PlannedStep | undefined;
  readonly consumer: PlannedStep;
  readonly map: SegmentLayout;
}

/** True where the step's convolution fills the map, and nothing else lies in it. */
function fills(step: PlannedStep, map: SegmentLayout): boolean {
  const { groups, out_channel, channels_out } = step.params;
  return groups === 1 && out_channel === 0 && channels_out === map.size.c && step.operands[2] === null;
}

/** True where the depthwise step takes each channel of the map once, and adds nothing. */
function takesAll({ operands, params }: PlannedStep, map: SegmentLayout): boolean {
  const { in: input, in_channel, channels_in, channels_out } = params;
  const alike = input instanceof SegmentLayout && input.sameGeometry(map);
  return alike && operands[2] === null && in_channel === 0 && channels_in === map.size.c && channels_out === map.size.c;
}

/** The pair that begins with step `at`. */
function pairAt(steps: readonly PlannedStep[], at: number): Pair | undefined {
  const producer = steps[at];
  const map = producer.params.out;
  if (!PRODUCERS.has(producer.kernel) || !(map instanceof SegmentLayout) || !fills(producer, map)) return undefined;
  const between = producer.operands[3];
  const next = steps[at + 1];
  const border = next?.kernel === BORDER && next.operands[0] === between ? next : undefined;
  const consumer = steps[border ? at + 2 : at + 1];
  if (consumer?.kernel !== DEPTHWISE || consumer.operands[0] !== between) return undefined;
  return takesAll(consumer, map) ? { producer, border, consumer, map } : undefined;
}

/** How many blocks a pair is cut into; 1 where its map stays in cache as it is, or would not in blocks either. */
function blockCount({ map }: Pair, cache: number): number {
  const channel = map.tiles * LINE_BYTES;
  const { c } = map.size;
  if (channel * c <= CUT_SHARE * cache) return 1;
  const most = Math.floor((BLOCK_SHARE * cache) / (channel * TILE_ROWS)) * TILE_ROWS;
  return most === 0 ? 1 : Math.ceil(c / most);
}

class Blocks {
  readonly #steps: readonly PlannedStep[];
  readonly #buffers: BlockBuffers;
  readonly #cache: number;
  readonly #uses = new Map<number, number>();

  constructor(steps: readonly PlannedStep[], buffers: BlockBuffers, cache: number) {
    this.#steps = steps;
    this.#buffers = buffers;
    this.#cache = cache;
    for (const { operands } of steps) {
      for (const operand of operands) {
        const root = operand === null ? -1 : buffers.rootOf(operand);
        this.#uses.set(root, (this.#uses.get(root) ?? 0) + 1);
      }
    }
  }

  steps(): PlannedStep[] {
    const result: PlannedStep[] = [];
    for (let at = 0; at < this.#steps.length; ) {
      const pair = pairAt(this.#steps, at);
      const blocks = pair && this.#isAlone(pair) ? blockCount(pair, this.#cache) : 1;
      if (pair && blocks > 1) {
        this.#cut(pair, blocks, result);
        at += pair.border ? 3 : 2;
      } else {
        result.push(this.#steps[at++]);
      }
    }
    return result;
  }

  /** True where nobody but the pair knows the map. */
  #isAlone({ producer, border }: Pair): boolean {
    const between = producer.operands[3] as number;
    return this.#buffers.isWhole(between) && this.#uses.get(between) === (border ? 3 : 2);
  }

  #cut({ producer, border, consumer, map }: Pair, blocks: number, result: PlannedStep[]): void {
    const { c } = map.size;
    const buffer = this.#buffers.arena(map.tiles * LINE_BYTES * Math.ceil(c / blocks));
    for (let i = 0; i < blocks; i++) {
      const first = Math.floor((c * i) / blocks);
      const count = Math.floor((c * (i + 1)) / blocks) - first;
      const layout = map.withChannels(count).withBorders(map.borders);
      const packing = (step: PlannedStep): number => this.#buffers.packedRows(step.operands[1] as number, first, count);
      result.push({
        ...producer,
        operands: [producer.operands[0], packing(producer), null, buffer],
        params: { ...producer.params, channels_out: count, out: layout },
      });
      if (border) {
        result.push({ ...border, operands: [buffer], params: { ...border.params, channels: count, map: layout } });
      }
      const counts = { groups: count, channels_in: count, channels_out: count };
      const out_channel = Number(consumer.params.out_channel) + first;
      result.push({
        ...consumer,
        operands: [buffer, packing(consumer), null, consumer.operands[3]],
        params: { ...consumer.params, ...counts, out_channel, in: layout },
      });
    }
  }
}

/** The same steps, in blocks where a map between two of them would leave caches of `cache` bytes together. */
export function cutChannels(steps: readonly PlannedStep[], buffers: BlockBuffers, cache: number): PlannedStep[] {
  return new Blocks(steps, buffers, cache).steps();
}
