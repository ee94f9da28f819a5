/** Inputs for changed models: what lies beside the original, or made up. */

import { dtypeInfo, isFloat, type NumericStorage } from '../../lib/ir/dtype.ts';
import type { Port } from '../../lib/ir/model.ts';
import { sizeOf } from '../../lib/ir/shape.ts';
import { allocate, type HostTensor, type HostValue } from '../../lib/ir/tensor.ts';
import { storedFeeds } from './corpus.ts';
import { edgeFloat, edgeInteger, type Random } from './random.ts';

const MAX_FEED_ELEMENTS = 1 << 16;

/** Made-up sizes for what a model leaves open. */
function dimsOf(random: Random, port: Port, symbols: Map<string, number>): number[] {
  const shape = port.type.kind === 'tensor' ? port.type.shape : undefined;
  if (!shape) return Array.from({ length: random.below(5) }, () => random.below(4));
  return shape.map((dim) => {
    if (typeof dim === 'number') return dim;
    const size = random.chance(0.05) ? 0 : 1 + random.below(4);
    if (dim === null) return size;
    symbols.set(dim, symbols.get(dim) ?? size);
    return symbols.get(dim) as number;
  });
}

function fill(random: Random, { dtype, data }: HostTensor): void {
  const wild = !random.tame && random.chance(0.15);
  const { kind, bits } = dtypeInfo(dtype);
  const entries = data as NumericStorage;
  for (let i = 0; i < entries.length; i++) {
    if (Array.isArray(data)) data[i] = random.pick(['', 'a', 'text', '1.5', '\u{1f600}']);
    else if ((kind === 'int' || kind === 'uint') && bits === 64) {
      (entries as BigInt64Array)[i] = wild ? BigInt.asIntN(64, edgeInteger(random, 1n)) : BigInt(random.below(3));
    } else if (entries instanceof Float32Array || entries instanceof Float64Array) {
      entries[i] = wild && random.chance(0.3) ? edgeFloat(random) : random.unit() * 2 - 1;
    } else if (isFloat(dtype)) entries[i] = wild ? random.below(65536) : 0x3800 + random.below(1024);
    else if (kind === 'bool') entries[i] = random.below(2);
    else entries[i] = wild ? Number(BigInt.asIntN(32, edgeInteger(random, 1n))) : random.below(3);
  }
}

/** A feed for the port, or undefined where it would be too large. */
function makeFeed(random: Random, port: Port, symbols: Map<string, number>): HostValue | undefined {
  const { type } = port;
  if (type.kind === 'sequence') return { kind: 'sequence', items: [] };
  if (type.kind === 'optional') return { kind: 'optional', value: null };
  if (type.kind === 'map') {
    const entries = new Map<string | bigint, number>([[type.keyType === 'string' ? 'a' : 1n, 0.5]]);
    return { kind: 'map', keyType: type.keyType, valueType: 'float32', entries };
  }
  const dims = dimsOf(random, port, symbols);
  const count = sizeOf(dims);
  if (!(count <= MAX_FEED_ELEMENTS)) return undefined;
  const made: HostTensor = { kind: 'tensor', dtype: type.dtype, dims, data: allocate(type.dtype, count) };
  fill(random, made);
  return made;
}

/** Feeds in the order of the ports, some from beside the model; undefined where one would be too large. */
export function feedsFor(random: Random, ports: readonly Port[], origin: string): readonly HostValue[] | undefined {
  const stored = random.chance(0.7) ? storedFeeds(origin, ports) : [];
  const symbols = new Map<string, number>();
  const feeds: HostValue[] = [];
  for (const [i, port] of ports.entries()) {
    const value = stored[i] ?? makeFeed(random, port, symbols);
    if (!value) return undefined;
    feeds.push(value);
  }
  return feeds;
}
