/**
 * Which values will lie side by side: the inputs of a concatenation of channels are best written where its result will
 * be. So are those of a concatenation that is itself joined with others, and a value that is split into such inputs.
 */

import type { Node, Value } from '../ir/graph.ts';
import { type Borders, noBorders, segmentChannels, widestBorders } from '../ir/segments.ts';
import type { ChannelMove } from '../ops/op.ts';
import type { Facts } from './facts.ts';

/** Channels of a larger value: those from `channel` on. */
export interface Place {
  readonly whole: Value;
  readonly channel: number;
}

/** Concatenations of concatenations are followed so far. */
const DEPTH = 200;

/** Places of values, by what will read them. */
export class Joins {
  readonly #facts: Facts;
  readonly #places = new Map<Value, Place | undefined>();

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  /** Where a value will lie among others; undefined where it is joined with none. */
  placeOf(value: Value, depth = 0): Place | undefined {
    if (this.#places.has(value)) return this.#places.get(value);
    if (depth > DEPTH) return undefined;
    const place = this.#find(value, depth);
    this.#places.set(value, place);
    return place;
  }

  /** The borders wanted of any value that lies in `whole`. */
  bordersOf(whole: Value, depth = 0): Borders {
    const own = this.#facts.bordersAhead(whole);
    const node = whole.producer;
    if (!node || depth > DEPTH || this.#facts.channelMove(node) !== 'join') return own;
    const parts = this.#inputsOf(node).map((part) => this.bordersOf(part, depth + 1));
    return [own, ...parts].reduce(widestBorders, noBorders);
  }

  /** Of several concatenations the one that gives most channels: a shorter one is often its beginning. */
  #find(value: Value, depth: number): Place | undefined {
    let best: Place | undefined;
    let most = 0;
    for (const node of this.#facts.readersOf(value)) {
      const move = this.#facts.channelMove(node);
      const place = move === 'join' ? this.#joined(node, value, depth) : this.#split(node, move, depth);
      const channels = place ? this.#channels(place.whole) : 0;
      if (channels <= most) continue;
      best = place;
      most = channels;
    }
    return best;
  }

  #joined(node: Node, value: Value, depth: number): Place | undefined {
    const result = node.outputs[0];
    const inputs = this.#inputsOf(node);
    if (!result || inputs.some((input) => this.#facts.tensor(input).dims.includes(0))) return undefined;
    let channel = 0;
    for (const input of inputs) {
      if (input === value) break;
      channel += this.#channels(input);
    }
    const place = this.placeOf(result, depth + 1);
    const first = (place?.channel ?? 0) + channel;
    const whole = place?.whole ?? result;
    const { dtype, dims } = this.#facts.tensor(value);
    const end = first + dims[1];
    const lines = segmentChannels(dtype, first) && (segmentChannels(dtype, end) || end === this.#channels(whole));
    return lines ? { whole, channel: first } : undefined;
  }

  /** The place of a value that is split, where its parts lie side by side in theirs. */
  #split(node: Node, move: ChannelMove | undefined, depth: number): Place | undefined {
    if (move !== 'split') return undefined;
    let first: Place | undefined;
    let channel = 0;
    for (const output of node.outputs) {
      const place = output ? this.placeOf(output, depth + 1) : undefined;
      if (!output || !place) return undefined;
      first ??= place;
      if (place.whole !== first.whole || place.channel !== first.channel + channel) return undefined;
      channel += this.#channels(output);
    }
    return first;
  }

  #inputsOf(node: Node): Value[] {
    return node.inputs.filter((input) => input !== null).map((input) => this.#facts.resolve(input));
  }

  #channels(value: Value): number {
    return this.#facts.tensor(value).dims[1];
  }
}
