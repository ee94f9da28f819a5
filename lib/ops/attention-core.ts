/** Scaled dot-product attention in double precision: what every attention operator reduces to. */

/** Sizes of one attention problem. */
export interface AttentionSizes {
  readonly batch: number;
  /** Query heads; a multiple of `kvHeads`, consecutive query heads share a key head. */
  readonly heads: number;
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headSize: number;
  readonly valueSize: number;
}

/** What a capture holds: the scaled product, after the cap, after the bias, or after softmax. */
export type AttentionStage = 'product' | 'capped' | 'biased' | 'softmax';

export interface AttentionProblem {
  readonly sizes: AttentionSizes;
  /** [batch, heads, queries, headSize] */
  readonly q: Float64Array;
  /** [batch, kvHeads, keys, headSize] */
  readonly k: Float64Array;
  /** [batch, kvHeads, keys, valueSize] */
  readonly v: Float64Array;
  readonly scale: number;
  /** Scores become `softcap * tanh(score / softcap)`; 0 for none. */
  readonly softcap?: number;
  /** Adds masks and biases to the scores of one query. False where no key may be attended: the row becomes zeros. */
  bias?(scores: Float64Array, b: number, h: number, i: number): boolean;
  /** Per head, a logit that takes part in the softmax's denominator only. */
  sink?(h: number): number;
  /** Scores at one stage, [batch, heads, queries, keys]. */
  readonly capture?: { readonly stage: AttentionStage; readonly into: Float64Array };
}

/** Replaces the scores by their softmax. All `-Infinity` gives zeros; `sink` joins the denominator. */
export function softmaxRow(scores: Float64Array, sink = Number.NEGATIVE_INFINITY): void {
  let max = sink;
  for (let j = 0; j < scores.length; j++) if (scores[j] > max) max = scores[j];
  if (max === Number.NEGATIVE_INFINITY) {
    // NaN stays NaN: it compares false above.
    for (let j = 0; j < scores.length; j++) if (!Number.isNaN(scores[j])) scores[j] = 0;
    return;
  }
  let sum = Math.exp(sink - max);
  for (let j = 0; j < scores.length; j++) {
    scores[j] = Math.exp(scores[j] - max);
    sum += scores[j];
  }
  for (let j = 0; j < scores.length; j++) scores[j] /= sum;
}

function scoreRow(problem: AttentionProblem, scores: Float64Array, qAt: number, kAt: number): void {
  const { q, k, scale } = problem;
  const { headSize } = problem.sizes;
  for (let j = 0; j < scores.length; j++) {
    const at = kAt + j * headSize;
    let sum = 0;
    for (let d = 0; d < headSize; d++) sum += q[qAt + d] * k[at + d];
    scores[j] = sum * scale;
  }
}

function weighValues(out: Float64Array, outAt: number, problem: AttentionProblem, p: Float64Array, vAt: number): void {
  const { v } = problem;
  const { valueSize } = problem.sizes;
  for (let j = 0; j < p.length; j++) {
    const weight = p[j];
    if (weight === 0) continue;
    const at = vAt + j * valueSize;
    for (let d = 0; d < valueSize; d++) out[outAt + d] += weight * v[at + d];
  }
}

/** Attention of every query: [batch, heads, queries, valueSize]. */
export function attend(problem: AttentionProblem): Float64Array {
  const { sizes, softcap = 0, capture } = problem;
  const { batch, heads, kvHeads, queries, keys, headSize, valueSize } = sizes;
  const out = new Float64Array(batch * heads * queries * valueSize);
  const scores = new Float64Array(keys);
  const group = heads / kvHeads;
  for (let row = 0; row < batch * heads * queries; row++) {
    const i = row % queries;
    const bh = Math.floor(row / queries);
    const h = bh % heads;
    const b = Math.floor(bh / heads);
    const kv = b * kvHeads + Math.floor(h / group);
    const take = (stage: AttentionStage): void => {
      if (capture?.stage === stage) capture.into.set(scores, row * keys);
    };
    scoreRow(problem, scores, row * headSize, kv * keys * headSize);
    take('product');
    if (softcap > 0) for (let j = 0; j < keys; j++) scores[j] = softcap * Math.tanh(scores[j] / softcap);
    take('capped');
    const allowed = problem.bias?.(scores, b, h, i) ?? true;
    take('biased');
    if (allowed) softmaxRow(scores, problem.sink?.(h));
    else scores.fill(0);
    take('softmax');
    weighValues(out, row * valueSize, problem, scores, kv * keys * valueSize);
  }
  return out;
}

/** [a, b, c, d] to [a, c, b, d]: between token-major and head-major order. */
export function swapMiddle(x: Float64Array, a: number, b: number, c: number, d: number): Float64Array {
  if (b === 1 || c === 1) return x;
  const out = new Float64Array(x.length);
  let to = 0;
  for (let i = 0; i < a; i++) {
    for (let k = 0; k < c; k++) {
      for (let j = 0; j < b; j++) {
        const from = ((i * b + j) * c + k) * d;
        for (let l = 0; l < d; l++) out[to++] = x[from + l];
      }
    }
  }
  return out;
}

/** Joins two arrays of [outer, aLength] and [outer, bLength] along the inner axis. */
export function joinInner(a: Float64Array, aLength: number, b: Float64Array, bLength: number): Float64Array {
  const length = aLength + bLength;
  const outer = aLength ? a.length / aLength : bLength ? b.length / bLength : 0;
  const out = new Float64Array(outer * length);
  for (let i = 0; i < outer; i++) {
    out.set(a.subarray(i * aLength, (i + 1) * aLength), i * length);
    out.set(b.subarray(i * bLength, (i + 1) * bLength), i * length + aLength);
  }
  return out;
}
