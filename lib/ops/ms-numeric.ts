/** Numeric operators of com.microsoft that stand alone. */

import { tensorType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, tensor, toNumbers } from '../ir/tensor.ts';
import { broadcastDims, broadcastInfer, zip } from './broadcast.ts';
import { dimAt } from './dims.ts';
import { type Complex, complexVector, fourier, inverseFourier } from './fourier.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

const domain = 'com.microsoft';

/** Inverts a row-major n x n matrix by elimination with row pivots. */
function invert(ctx: NodeReader, a: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) out[i * n + i] = 1;
  for (let c = 0; c < n; c++) {
    let pivot = c;
    for (let r = c + 1; r < n; r++) if (Math.abs(a[r * n + c]) > Math.abs(a[pivot * n + c])) pivot = r;
    const lead = a[pivot * n + c];
    if (lead === 0) throw ctx.error('a matrix is not invertible');
    for (const m of [a, out]) {
      for (let j = 0; j < n; j++) {
        const held = m[c * n + j];
        m[c * n + j] = m[pivot * n + j] / lead;
        if (pivot !== c) m[pivot * n + j] = held;
      }
    }
    for (let r = 0; r < n; r++) {
      if (r === c) continue;
      const factor = a[r * n + c];
      for (const m of [a, out]) for (let j = 0; j < n; j++) m[r * n + j] -= factor * m[c * n + j];
    }
  }
  return out;
}

function inverse(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const [rows, n] = x.dims.slice(-2);
  if (x.dims.length < 2 || rows !== n) throw ctx.error(`the input is ${shapeText(x.dims)}, expected square matrices`);
  const values = toNumbers(x);
  const out = new Float64Array(values.length);
  for (let at = 0; at < values.length; at += n * n) out.set(invert(ctx, values.slice(at, at + n * n), n), at);
  return [fromNumbers(x.dtype, x.dims, out)];
}

function checkFourier(ctx: NodeReader): void {
  const supported = ctx.int('signal_ndim', 1) === 1 && ctx.int('onesided', 1) === 1 && ctx.int('normalized', 0) === 0;
  if (!supported) throw ctx.error('only one-sided transforms of one dimension without normalisation are defined');
}

function rfft(ctx: ReferenceContext): HostValue[] {
  checkFourier(ctx);
  const x = ctx.tensor(0);
  const n = x.dims.at(-1) ?? 1;
  const count = Math.floor(n / 2) + 1;
  const values = toNumbers(x);
  const rows = n ? values.length / n : 0;
  const out = new Float64Array(rows * count * 2);
  const transform = fourier(n);
  for (let r = 0; r < rows; r++) {
    const v: Complex = { re: values.slice(r * n, (r + 1) * n), im: new Float64Array(n) };
    transform(v);
    for (let k = 0; k < count; k++) out.set([v.re[k], v.im[k]], (r * count + k) * 2);
  }
  return [fromNumbers(x.dtype, [...x.dims.slice(0, -1), count, 2], out)];
}

function irfft(ctx: ReferenceContext): HostValue[] {
  checkFourier(ctx);
  const x = ctx.tensor(0);
  const count = x.dims.at(-2) ?? 0;
  if (x.dims.at(-1) !== 2 || count < 2) throw ctx.error(`the input is ${shapeText(x.dims)}, expected [...,n,2]`);
  const n = 2 * (count - 1);
  const values = toNumbers(x);
  const rows = values.length / (count * 2);
  const out = new Float64Array(rows * n);
  const transform = inverseFourier(n);
  for (let r = 0; r < rows; r++) {
    const v = complexVector(n);
    for (let k = 0; k < count; k++) {
      const at = (r * count + k) * 2;
      v.re[k] = values[at];
      v.im[k] = values[at + 1];
      if (k > 0 && k < n - k) {
        v.re[n - k] = values[at];
        v.im[n - k] = -values[at + 1];
      }
    }
    transform(v);
    out.set(v.re, r * n);
  }
  return [fromNumbers(x.dtype, [...x.dims.slice(0, -2), n], out)];
}

/** Elementwise products of complex numbers [..., 2], the second conjugated where `conjugate` says so. */
function complexProduct(ctx: ReferenceContext, conjugate: boolean): HostValue[] {
  const [a, b] = [ctx.tensor(0), ctx.tensor(1)];
  if (a.dims.at(-1) !== 2 || b.dims.at(-1) !== 2) throw ctx.error('the last axis of both inputs must have size 2');
  const dims = broadcastDims(ctx, [a.dims.slice(0, -1), b.dims.slice(0, -1)]);
  const part = (t: HostTensor, p: number): { values: Float64Array; dims: number[] } => ({
    values: toNumbers(t).filter((_, i) => i % 2 === p),
    dims: t.dims.slice(0, -1),
  });
  const sign = conjugate ? -1 : 1;
  const products = [
    [0, 0],
    [1, 1],
    [0, 1],
    [1, 0],
  ].map(([p, q]) => {
    const out = new Float64Array(sizeOf(dims));
    zip(dims, part(a, p), part(b, q), (x, y) => x * y, out);
    return out;
  });
  const out = new Float64Array(sizeOf(dims) * 2);
  for (let i = 0; i < products[0].length; i++) {
    out[2 * i] = products[0][i] - sign * products[1][i];
    out[2 * i + 1] = sign * products[2][i] + products[3][i];
  }
  return [fromNumbers(a.dtype, [...dims, 2], out)];
}

function distances(ctx: ReferenceContext): HostValue[] {
  const [a, b] = [ctx.tensor(0), ctx.tensor(1)];
  const metric = ctx.string('metric', 'sqeuclidean');
  if (metric !== 'sqeuclidean' && metric !== 'euclidean') {
    throw ctx.error(`metric is "${metric}", expected sqeuclidean or euclidean`);
  }
  const [[m, n], [k, other]] = [a.dims, b.dims];
  if (a.dims.length !== 2 || b.dims.length !== 2 || n !== other) {
    throw ctx.error(`inputs of shapes ${shapeText(a.dims)} and ${shapeText(b.dims)}`);
  }
  const [x, y] = [toNumbers(a), toNumbers(b)];
  const out = new Float64Array(m * k);
  for (let i = 0; i < out.length; i++) {
    for (let j = 0; j < n; j++) out[i] += (x[Math.floor(i / k) * n + j] - y[(i % k) * n + j]) ** 2;
    if (metric === 'euclidean') out[i] = Math.sqrt(out[i]);
  }
  return [fromNumbers(a.dtype, [m, k], out)];
}

function allFinite(ctx: ReferenceContext): HostValue[] {
  const nan = ctx.int('isinf_only', 0) === 0;
  const infinite = ctx.int('isnan_only', 0) === 0;
  let ok = 1;
  for (let i = 0; i < ctx.inputCount; i++) {
    const wrong = (x: number): boolean => (Number.isNaN(x) ? nan : !Number.isFinite(x) && infinite);
    if (toNumbers(ctx.tensor(i)).some(wrong)) ok = 0;
  }
  return [tensor('bool', [], Uint8Array.of(ok))];
}

/** Scores with -infinity for every token that would repeat an n-gram of its row. */
function blockRepeats(ctx: ReferenceContext): HostValue[] {
  const scores = ctx.tensor(1);
  const size = ctx.int('ngram_size');
  const [batch, length] = ctx.tensor(0).dims;
  const vocabulary = scores.dims[1];
  if (!(size > 0) || scores.dims[0] !== batch) throw ctx.error(`n-grams of ${size}, scores ${shapeText(scores.dims)}`);
  const ids = ctx.integers(0);
  const out = Float64Array.from(toNumbers(scores));
  for (let b = 0; b < batch; b++) {
    const row = ids.slice(b * length, (b + 1) * length);
    for (let start = 0; start + size <= length; start++) {
      let same = true;
      for (let i = 0; i < size - 1; i++) if (row[start + i] !== row[length - size + 1 + i]) same = false;
      const token = row[start + size - 1];
      if (!same) continue;
      if (!(token >= 0 && token < vocabulary)) throw ctx.error(`token ${token} of ${vocabulary}`);
      out[b * vocabulary + token] = Number.NEGATIVE_INFINITY;
    }
  }
  return [fromNumbers(scores.dtype, scores.dims, out)];
}

/** MurmurHash3 for 32 bits of the bytes of one element. */
function murmur(bytes: Uint8Array, seed: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by));
  const mix = (k: number): number => Math.imul(rotate(Math.imul(k, 0xcc9e2d51), 15), 0x1b873593);
  let h = seed;
  const whole = bytes.length & ~3;
  for (let i = 0; i < whole; i += 4) h = Math.imul(rotate(h ^ mix(view.getUint32(i, true)), 13), 5) + 0xe6546b64;
  let tail = 0;
  for (let i = bytes.length - 1; i >= whole; i--) tail = (tail << 8) | bytes[i];
  if (bytes.length > whole) h ^= mix(tail);
  h ^= bytes.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function hash(ctx: ReferenceContext): HostValue[] {
  const x = ctx.tensor(0);
  const seed = ctx.int('seed', 0);
  const positive = ctx.int('positive', 1) !== 0;
  const out = new Float64Array(x.data.length);
  const store = typeof x.data[0] === 'string' ? undefined : (x.data as Float32Array);
  for (let i = 0; i < out.length; i++) {
    const bytes = store
      ? new Uint8Array(store.buffer, store.byteOffset + i * store.BYTES_PER_ELEMENT, store.BYTES_PER_ELEMENT).slice()
      : new TextEncoder().encode(x.data[i] as string);
    const value = murmur(bytes, seed);
    out[i] = positive ? value >>> 0 : value | 0;
  }
  return [fromNumbers(positive ? 'uint32' : 'int32', x.dims, out)];
}

function op(
  name: string,
  inputs: readonly [number, number],
  infer: OpDefinition['infer'],
  reference: OpDefinition['reference'],
  attributes?: OpDefinition['attributes'],
): OpDefinition {
  return defineOp({ name, domain, since: [1], inputs, outputs: [1, 1], attributes, infer, reference });
}

const like: OpDefinition['infer'] = (ctx) => [tensorType(ctx.dtype(0), ctx.shape(0))];
const fourierAttributes = { normalized: 'int', onesided: 'int', signal_ndim: 'int' } as const;
const spectrum = (n: Dim): Dim => (typeof n === 'number' ? Math.floor(n / 2) + 1 : null);

const inferComplex: OpDefinition['infer'] = (ctx) => {
  const parts = [ctx.shape(0), ctx.shape(1)].map((shape): Shape | undefined => shape?.slice(0, -1));
  const dims = broadcastInfer(ctx, parts);
  return [tensorType(ctx.dtype(0), dims && [...dims, 2])];
};

export const msNumericOps: readonly OpDefinition[] = [
  op('Inverse', [1, 1], like, inverse),
  op(
    'Rfft',
    [1, 1],
    (ctx) => {
      const x = ctx.shape(0);
      return [tensorType(ctx.dtype(0), x && [...x.slice(0, -1), spectrum(dimAt(x, -1)), 2])];
    },
    rfft,
    fourierAttributes,
  ),
  op(
    'Irfft',
    [1, 1],
    (ctx) => {
      const x = ctx.shape(0);
      const count = dimAt(x, -2);
      return [tensorType(ctx.dtype(0), x && [...x.slice(0, -2), typeof count === 'number' ? 2 * (count - 1) : null])];
    },
    irfft,
    fourierAttributes,
  ),
  op('ComplexMul', [2, 2], inferComplex, (ctx) => complexProduct(ctx, false)),
  op('ComplexMulConj', [2, 2], inferComplex, (ctx) => complexProduct(ctx, true)),
  op(
    'CDist',
    [2, 2],
    (ctx) => [tensorType(ctx.dtype(0), [dimAt(ctx.shape(0), 0), dimAt(ctx.shape(1), 0)])],
    distances,
    { metric: 'string' },
  ),
  op('IsAllFinite', [1, Number.POSITIVE_INFINITY], () => [tensorType('bool', [])], allFinite, {
    isinf_only: 'int',
    isnan_only: 'int',
  }),
  op('NGramRepeatBlock', [2, 2], (ctx) => [tensorType(ctx.dtype(1), ctx.shape(1))], blockRepeats, {
    ngram_size: 'int',
  }),
  op(
    'MurmurHash3',
    [1, 1],
    (ctx) => [tensorType(ctx.int('positive', 1) !== 0 ? 'uint32' : 'int32', ctx.shape(0))],
    hash,
    { positive: 'int', seed: 'int' },
  ),
  op('SampleOp', [1, 1], like, (ctx) => [ctx.tensor(0)]),
];
