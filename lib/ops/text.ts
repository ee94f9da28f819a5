/** Text operators. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { broadcastStrides, type Dim, shapeText, sizeOf } from '../ir/shape.ts';
import { allocate, fromNumbers, type HostTensor, type HostValue, tensor, toIntegers } from '../ir/tensor.ts';
import { broadcastDims, broadcastInfer, forEachRow } from './broadcast.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { compileRegex } from './regex.ts';

/** The strings of input `i`. */
function stringsOf(ctx: ReferenceContext, i: number): { dims: readonly number[]; data: readonly string[] } {
  const t = ctx.tensor(i);
  if (t.dtype !== 'string') throw ctx.error(`input ${i} is of type ${t.dtype}, expected string`);
  return { dims: t.dims, data: t.data as string[] };
}

function caseChange(ctx: NodeReader): (s: string) => string {
  const action = ctx.string('case_change_action', 'NONE');
  if (action === 'NONE') return (s) => s;
  if (action === 'LOWER') return (s) => s.toLowerCase();
  if (action === 'UPPER') return (s) => s.toUpperCase();
  throw ctx.error(`case_change_action is "${action}", expected LOWER, UPPER or NONE`);
}

function normalizeStrings(ctx: ReferenceContext): HostValue[] {
  const { dims, data } = stringsOf(ctx, 0);
  if (dims.length !== 1 && !(dims.length === 2 && dims[0] === 1)) {
    throw ctx.error(`the input has shape ${shapeText(dims)}, expected [C] or [1,C]`);
  }
  const sensitive = ctx.int('is_case_sensitive', 0) !== 0;
  const key = sensitive ? (s: string): string => s : (s: string): string => s.toLowerCase();
  const stops = new Set(ctx.strings('stopwords', []).map(key));
  const kept = data.filter((s) => !stops.has(key(s))).map(caseChange(ctx));
  if (kept.length === 0) kept.push('');
  return [tensor('string', dims.length === 1 ? [kept.length] : [1, kept.length], kept)];
}

function inferNormalized(ctx: InferContext): (ValueType | undefined)[] {
  const x = ctx.shape(0);
  const known = ctx.strings('stopwords', []).length === 0 && x?.at(-1) !== 0;
  return [
    tensorType(
      'string',
      x?.map((dim, i): Dim => (i < x.length - 1 || known ? dim : null)),
    ),
  ];
}

/** Splits on runs of white space, at most `limit` times; what is left after that keeps its end. */
function splitWhite(s: string, limit: number): string[] {
  const out: string[] = [];
  let rest = s.trimStart();
  while (rest && out.length < limit) {
    const at = rest.search(/\s/);
    if (at < 0) break;
    out.push(rest.slice(0, at));
    rest = rest.slice(at).trimStart();
  }
  if (rest) out.push(out.length < limit ? rest.trimEnd() : rest);
  return out;
}

function splitOn(s: string, delimiter: string, limit: number): string[] {
  const parts = s.split(delimiter);
  if (parts.length - 1 <= limit) return parts;
  return [...parts.slice(0, limit), parts.slice(limit).join(delimiter)];
}

function splitStrings(ctx: ReferenceContext): HostValue[] {
  const { dims, data } = stringsOf(ctx, 0);
  const delimiter = ctx.string('delimiter', '');
  const asked = ctx.int('maxsplit', -1);
  const limit = asked < 0 ? Number.POSITIVE_INFINITY : asked;
  const parts = data.map((s) => (delimiter ? splitOn(s, delimiter, limit) : splitWhite(s, limit)));
  const width = parts.reduce((most, list) => Math.max(most, list.length), 0);
  const flat = parts.flatMap((list) => [...list, ...new Array<string>(width - list.length).fill('')]);
  const counts = BigInt64Array.from(parts, (list) => BigInt(list.length));
  return [tensor('string', [...dims, width], flat), tensor('int64', dims, counts)];
}

function concatStrings(ctx: ReferenceContext): HostValue[] {
  const [a, b] = [stringsOf(ctx, 0), stringsOf(ctx, 1)];
  const dims = broadcastDims(ctx, [a.dims, b.dims]);
  const out = new Array<string>(sizeOf(dims)).fill('');
  const strides = [broadcastStrides(a.dims, dims), broadcastStrides(b.dims, dims)];
  forEachRow(dims, strides, (at, count, [p, q], [dp, dq]) => {
    for (let i = 0; i < count; i++) out[at + i] = a.data[p + i * dp] + b.data[q + i * dq];
  });
  return [tensor('string', dims, out)];
}

function matchStrings(ctx: ReferenceContext): HostValue[] {
  const { dims, data } = stringsOf(ctx, 0);
  const matches = compileRegex(ctx.string('pattern', ''), (message) => ctx.error(message));
  return [
    tensor(
      'bool',
      dims,
      Uint8Array.from(data, (s) => (matches(s) ? 1 : 0)),
    ),
  ];
}

interface Grams {
  /** Coordinates by n-gram: its items, separated as {@link gramKey} does. */
  readonly index: ReadonlyMap<string, readonly number[]>;
  readonly size: number;
}

/** A key that no two different lists of items share. */
const gramKey = (items: readonly string[]): string => items.map((item) => `${item.length}:${item}`).join('');

function readGrams(ctx: NodeReader): Grams {
  const pool = ctx.hasAttribute('pool_strings')
    ? ctx.strings('pool_strings')
    : ctx.ints('pool_int64s', []).map((value) => String(value));
  const starts = ctx.ints('ngram_counts');
  const coordinates = ctx.ints('ngram_indexes');
  const index = new Map<string, number[]>();
  let gram = 0;
  starts.forEach((start, i) => {
    const end = starts[i + 1] ?? pool.length;
    if (!(start >= 0 && end >= start && end <= pool.length)) throw ctx.error(`ngram_counts [${starts.join(',')}]`);
    for (let at = start; at + i + 1 <= end; at += i + 1) {
      const key = gramKey(pool.slice(at, at + i + 1));
      const held = index.get(key) ?? [];
      held.push(coordinates[gram++]);
      index.set(key, held);
    }
  });
  if (gram !== coordinates.length) throw ctx.error(`${gram} n-grams and ${coordinates.length} ngram_indexes`);
  if (coordinates.some((c) => c < 0)) throw ctx.error('ngram_indexes holds a negative index');
  return { index, size: coordinates.reduce((most, c) => Math.max(most, c), -1) + 1 };
}

/** Counts the n-grams of one row. */
function countGrams(ctx: NodeReader, row: readonly string[], grams: Grams, out: Float64Array): void {
  const [least, most] = [ctx.int('min_gram_length'), ctx.int('max_gram_length')];
  const skips = ctx.int('max_skip_count');
  if (!(least > 0 && most >= least && skips >= 0)) throw ctx.error(`n-grams of ${least} to ${most}, ${skips} skips`);
  for (let n = least; n <= Math.min(most, row.length); n++) {
    // Items of a 1-gram have no distance, so it is counted once.
    const steps = n === 1 ? 1 : Math.min(skips + 1, Math.floor((row.length - 1) / (n - 1)));
    for (let step = 1; step <= steps; step++) {
      for (let start = 0; start + (n - 1) * step < row.length; start++) {
        const items = Array.from({ length: n }, (_, i) => row[start + i * step]);
        for (const coordinate of grams.index.get(gramKey(items)) ?? []) out[coordinate]++;
      }
    }
  }
}

function vectorize(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const mode = ctx.string('mode');
  if (!['TF', 'IDF', 'TFIDF'].includes(mode)) throw ctx.error(`mode is "${mode}", expected TF, IDF or TFIDF`);
  if (x.dims.length > 2) throw ctx.error(`the input has shape ${shapeText(x.dims)}, expected [C] or [N,C]`);
  const items = itemsOf(x);
  const rows = x.dims.length === 2 ? x.dims[0] : 1;
  const width = rows ? items.length / rows : 0;
  const grams = readGrams(ctx);
  const weights = ctx.floats('weights', []);
  const out = allocate('float64', rows * grams.size) as Float64Array;
  for (let r = 0; r < rows; r++) {
    const counts = out.subarray(r * grams.size, (r + 1) * grams.size);
    countGrams(ctx, items.slice(r * width, (r + 1) * width), grams, counts);
    if (mode === 'TF') continue;
    for (let c = 0; c < counts.length; c++) {
      counts[c] = (mode === 'IDF' ? Math.min(counts[c], 1) : counts[c]) * (weights.length ? (weights[c] ?? 0) : 1);
    }
  }
  return [fromNumbers('float32', x.dims.length === 2 ? [rows, grams.size] : [grams.size], out)];
}

function itemsOf(x: HostTensor): string[] {
  return x.dtype === 'string' ? (x.data as string[]) : toIntegers(x).map(String);
}

export const textOps: readonly OpDefinition[] = [
  defineOp({
    name: 'StringNormalizer',
    since: [10],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { case_change_action: 'string', is_case_sensitive: 'int', locale: 'string', stopwords: 'strings' },
    infer: inferNormalized,
    reference: normalizeStrings,
  }),
  defineOp({
    name: 'StringSplit',
    since: [20],
    inputs: [1, 1],
    outputs: [1, 2],
    attributes: { delimiter: 'string', maxsplit: 'int' },
    infer: (ctx) => {
      const x = ctx.shape(0);
      return [tensorType('string', x && [...x, null]), tensorType('int64', x)];
    },
    reference: splitStrings,
  }),
  defineOp({
    name: 'StringConcat',
    since: [20],
    inputs: [2, 2],
    outputs: [1, 1],
    infer: (ctx) => [tensorType('string', broadcastInfer(ctx, [ctx.shape(0), ctx.shape(1)]))],
    reference: concatStrings,
  }),
  defineOp({
    name: 'RegexFullMatch',
    since: [20],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { pattern: 'string' },
    infer: (ctx) => [tensorType('bool', ctx.shape(0))],
    reference: matchStrings,
  }),
  defineOp({
    name: 'TfIdfVectorizer',
    since: [9],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: {
      max_gram_length: 'int',
      max_skip_count: 'int',
      min_gram_length: 'int',
      mode: 'string',
      ngram_counts: 'ints',
      ngram_indexes: 'ints',
      pool_int64s: 'ints',
      pool_strings: 'strings',
      weights: 'floats',
    },
    infer: (ctx) => {
      const x = ctx.shape(0);
      const { size } = readGrams(ctx);
      return [tensorType('float32', x && (x.length === 2 ? [x[0], size] : [size]))];
    },
    reference: vectorize,
  }),
];
