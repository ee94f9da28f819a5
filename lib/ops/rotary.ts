/** Rotary position embeddings: the default domain's, com.microsoft's and its three-axis kin. */

import { tensorType } from '../ir/graph.ts';
import { sameShape, shapeText } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { lowerMicrosoftRotary, lowerRotary } from './rotary-lower.ts';

/** How one head is rotated. */
export interface Rotation {
  /** Leading elements of a head that rotate; even. */
  readonly size: number;
  /** Pairs are neighbours instead of the two halves. */
  readonly interleaved: boolean;
}

/** Rotates the head at `at` in place by the angles whose cosines and sines the functions give per pair. */
export function rotateHead(
  x: Float64Array,
  at: number,
  { size, interleaved }: Rotation,
  cos: (pair: number) => number,
  sin: (pair: number) => number,
): void {
  const half = size / 2;
  for (let p = 0; p < half; p++) {
    const a = at + (interleaved ? 2 * p : p);
    const b = interleaved ? a + 1 : a + half;
    const [real, imaginary] = [x[a], x[b]];
    x[a] = real * cos(p) - imaginary * sin(p);
    x[b] = imaginary * cos(p) + real * sin(p);
  }
}

interface Layout {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly headSize: number;
  /** Offset of a head in the input. */
  at(b: number, s: number, h: number): number;
}

/** Rank 4 is [batch, heads, length, size], rank 3 is [batch, length, heads * size]. */
function layoutOf(ctx: NodeReader, dims: readonly number[], heads: number): Layout {
  if (dims.length === 4) {
    const [batch, count, length, headSize] = dims;
    return { batch, length, heads: count, headSize, at: (b, s, h) => ((b * count + h) * length + s) * headSize };
  }
  if (dims.length !== 3) throw ctx.error(`the input has shape ${shapeText(dims)}, expected rank 3 or 4`);
  const [batch, length, hidden] = dims;
  if (heads <= 0 || hidden % heads !== 0) {
    throw ctx.error(`num_heads is ${heads}, expected a divisor of the hidden size ${hidden}`);
  }
  const headSize = hidden / heads;
  return { batch, length, heads, headSize, at: (b, s, h) => (b * length + s) * hidden + h * headSize };
}

function checkedSize(ctx: NodeReader, headSize: number, asked: number): number {
  const size = asked || headSize;
  if (size < 0 || size > headSize || size % 2 !== 0) {
    throw ctx.error(`the rotary dimension is ${size}, expected an even number up to the head size ${headSize}`);
  }
  return size;
}

/** The row of the caches that a token uses at a pair. */
type CacheRow = (b: number, s: number, pair: number) => number;

function rotateAll(
  ctx: ReferenceContext,
  layout: Layout,
  rotation: Rotation,
  caches: { cos: HostTensor; sin: HostTensor; rows: CacheRow },
): HostValue[] {
  const x = Float64Array.from(toNumbers(ctx.tensor(0)));
  const [cos, sin] = [toNumbers(caches.cos), toNumbers(caches.sin)];
  const half = rotation.size / 2;
  const width = caches.cos.dims.at(-1) as number;
  if (width !== half || !sameShape(caches.sin.dims, caches.cos.dims)) {
    const text = `${shapeText(caches.cos.dims)} and ${shapeText(caches.sin.dims)}`;
    throw ctx.error(`the caches have shapes ${text}, expected equal ones with ${half} columns`);
  }
  const rowCount = cos.length / Math.max(width, 1);
  for (let b = 0; b < layout.batch; b++) {
    for (let s = 0; s < layout.length; s++) {
      const at = (pair: number): number => {
        const row = caches.rows(b, s, pair);
        if (!(row >= 0 && row < rowCount)) throw ctx.error(`position ${row} is outside the caches of ${rowCount} rows`);
        return row * width + pair;
      };
      for (let h = 0; h < layout.heads; h++) {
        rotateHead(
          x,
          layout.at(b, s, h),
          rotation,
          (p) => cos[at(p)],
          (p) => sin[at(p)],
        );
      }
    }
  }
  return [fromNumbers(ctx.tensor(0).dtype, ctx.tensor(0).dims, x)];
}

function standardReference(ctx: ReferenceContext): HostValue[] {
  const layout = layoutOf(ctx, ctx.tensor(0).dims, ctx.int('num_heads', 0));
  const size = checkedSize(ctx, layout.headSize, ctx.int('rotary_embedding_dim', 0));
  const rotation = { size, interleaved: ctx.int('interleaved', 0) !== 0 };
  const caches = { cos: ctx.tensor(1), sin: ctx.tensor(2) };
  const { batch, length } = layout;
  const positions = ctx.has(3) ? ctx.integers(3) : undefined;
  const wanted = positions ? undefined : [batch, length, size / 2];
  if (wanted && !sameShape(caches.cos.dims, wanted)) {
    throw ctx.error(`cos_cache has shape ${shapeText(caches.cos.dims)}, expected ${shapeText(wanted)}`);
  }
  if (positions && positions.length !== batch * length) {
    throw ctx.error(`position_ids has ${positions.length} entries, expected ${batch * length}`);
  }
  const rows: CacheRow = (b, s) => (positions ? positions[b * length + s] : b * length + s);
  return rotateAll(ctx, layout, rotation, { ...caches, rows });
}

/** Head count of a com.microsoft rotary node: without the attribute a head is as wide as the caches tell. */
function microsoftHeads(ctx: ReferenceContext): number {
  const heads = ctx.int('num_heads', 0);
  if (heads > 0 || ctx.tensor(0).dims.length === 4) return heads;
  const headSize = 2 * (ctx.tensor(2).dims.at(-1) ?? 0);
  return headSize > 0 ? Math.floor(ctx.tensor(0).dims[2] / headSize) : 0;
}

function microsoftReference(ctx: ReferenceContext): HostValue[] {
  const layout = layoutOf(ctx, ctx.tensor(0).dims, microsoftHeads(ctx));
  const size = checkedSize(ctx, layout.headSize, ctx.int('rotary_embedding_dim', 0));
  const rotation = { size, interleaved: ctx.int('interleaved', 0) !== 0 };
  const positions = ctx.integers(1);
  const { batch, length } = layout;
  if (positions.length !== 1 && positions.length !== batch * length) {
    throw ctx.error(`position_ids has ${positions.length} entries, expected 1 or ${batch * length}`);
  }
  const offset = ctx.tensor(1).dims.length < 2;
  const rows: CacheRow = (b, s) => (offset ? positions[0] + s : positions[b * length + s]);
  return rotateAll(ctx, layout, rotation, { cos: ctx.tensor(2), sin: ctx.tensor(3), rows });
}

/** The position stream (time, height, width) of a pair. */
function streamOf(sections: readonly number[], interleaved: boolean): (pair: number) => number {
  const [t, h, w] = sections;
  if (!interleaved) return (pair) => (pair < t ? 0 : pair < t + h ? 1 : 2);
  return (pair) => (pair % 3 === 1 && pair < 3 * h ? 1 : pair % 3 === 2 && pair < 3 * w ? 2 : 0);
}

function multimodalReference(ctx: ReferenceContext): HostValue[] {
  const layout = layoutOf(ctx, ctx.tensor(0).dims, microsoftHeads(ctx));
  const size = checkedSize(ctx, layout.headSize, ctx.int('rotary_embedding_dim', 0));
  const rotation = { size, interleaved: ctx.int('interleaved', 0) !== 0 };
  const sections = ctx.ints('mrope_section');
  if (sections.length !== 3 || sections.some((n) => n < 0) || sections.reduce((a, b) => a + b, 0) !== size / 2) {
    throw ctx.error(`mrope_section is [${sections.join(',')}], expected three sizes that add up to ${size / 2}`);
  }
  const { batch, length } = layout;
  const positions = ctx.integers(1);
  if (positions.length !== 3 * batch * length) {
    throw ctx.error(`position_ids has shape ${shapeText(ctx.tensor(1).dims)}, expected [3,${batch},${length}]`);
  }
  const stream = streamOf(sections, ctx.int('mrope_layout', 0) === 1);
  const rows: CacheRow = (b, s, pair) => positions[(stream(pair) * batch + b) * length + s];
  return rotateAll(ctx, layout, rotation, { cos: ctx.tensor(2), sin: ctx.tensor(3), rows });
}

const microsoftAttributes = {
  interleaved: 'int',
  is_packed_batching: 'int',
  num_heads: 'int',
  rotary_embedding_dim: 'int',
  scale: 'float',
} as const;

export const rotaryOps: readonly OpDefinition[] = [
  defineOp({
    name: 'RotaryEmbedding',
    since: [23],
    inputs: [3, 4],
    outputs: [1, 1],
    attributes: { interleaved: 'int', num_heads: 'int', rotary_embedding_dim: 'int' },
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: standardReference,
    lower: lowerRotary,
  }),
  defineOp({
    name: 'RotaryEmbedding',
    domain: 'com.microsoft',
    since: [1],
    inputs: [4, 4],
    outputs: [1, 1],
    attributes: microsoftAttributes,
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: microsoftReference,
    lower: lowerMicrosoftRotary,
  }),
  defineOp({
    name: 'MRotaryEmbedding',
    domain: 'com.microsoft',
    since: [1],
    inputs: [4, 4],
    outputs: [1, 1],
    attributes: { ...microsoftAttributes, mrope_layout: 'int', mrope_section: 'ints' },
    infer: (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))],
    reference: multimodalReference,
  }),
];
