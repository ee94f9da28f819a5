/** LinearAttention: attention as a recurrence over a matrix state per head. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, sameShape, shapeText, sizeOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, type HostValue, toNumbers } from '../ir/tensor.ts';
import { dimAt, divideDim, multiplyDims } from './dims.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

interface Rule {
  readonly gated: boolean;
  readonly delta: boolean;
}

const rules: Readonly<Record<string, Rule>> = {
  linear: { gated: false, delta: false },
  gated: { gated: true, delta: false },
  delta: { gated: false, delta: true },
  gated_delta: { gated: true, delta: true },
};

interface Settings {
  readonly rule: Rule;
  readonly qHeads: number;
  readonly kvHeads: number;
  /** Output heads: one a query head, or one a key head where those are more. */
  readonly heads: number;
  /** Number of trailing states kept; 0 for the last one without an axis of its own. */
  readonly window: number;
}

function settings(ctx: NodeReader): Settings {
  const name = ctx.string('update_rule', 'gated_delta');
  const rule = rules[name];
  if (!rule) throw ctx.error(`update_rule is "${name}", expected one of ${Object.keys(rules).join(', ')}`);
  const [qHeads, kvHeads] = [ctx.int('q_num_heads'), ctx.int('kv_num_heads')];
  const inverse = ctx.domain !== '';
  const divides = qHeads > 0 && kvHeads > 0 && (qHeads % kvHeads === 0 || (inverse && kvHeads % qHeads === 0));
  if (!divides) throw ctx.error(`q_num_heads ${qHeads} is no positive multiple of kv_num_heads ${kvHeads}`);
  for (const [i, needed, what] of [
    [4, rule.gated, 'decay'],
    [5, rule.delta, 'beta'],
  ] as const) {
    if (needed && !ctx.has(i)) throw ctx.error(`update_rule "${name}" needs the input ${what}`);
    if (!needed && ctx.has(i) && !inverse) throw ctx.error(`update_rule "${name}" forbids the input ${what}`);
  }
  const window = ctx.int('state_window', 0);
  if (window < 0 || window > 1024) throw ctx.error(`state_window is ${window}, expected 0 to 1024`);
  return { rule, qHeads, kvHeads, heads: Math.max(qHeads, kvHeads), window };
}

function infer(ctx: InferContext): (ValueType | undefined)[] {
  const { qHeads, kvHeads, heads, window } = settings(ctx);
  const [q, v] = [ctx.shape(0), ctx.shape(2)];
  const keySize = divideDim(dimAt(q, 2), qHeads);
  const valueSize = divideDim(dimAt(v, 2), kvHeads);
  const batch = dimAt(q, 0);
  const state: Dim[] = [batch, kvHeads, keySize, valueSize];
  return [
    tensorType(ctx.dtype(0), [batch, dimAt(q, 1), multiplyDims(heads, valueSize)]),
    tensorType(ctx.has(3) ? ctx.dtype(3) : ctx.dtype(0), window ? [window, ...state] : state),
  ];
}

interface Problem extends Settings {
  readonly batch: number;
  readonly steps: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly scale: number;
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
  readonly decay: Float64Array | undefined;
  readonly decayPerKey: boolean;
  readonly beta: Float64Array | undefined;
  readonly betaHeads: number;
  /** [batch, kvHeads, keySize, valueSize], updated in place. */
  readonly state: Float64Array;
}

/** One update of one head's state. `at` is the token's row, `s` the state. */
function update(p: Problem, h: number, at: number, s: Float64Array, written: Float64Array): void {
  const { keySize, valueSize, kvHeads } = p;
  const key = (at * kvHeads + h) * keySize;
  const value = (at * kvHeads + h) * valueSize;
  if (p.decay) {
    for (let d = 0; d < keySize; d++) {
      const gate = Math.exp(p.decay[p.decayPerKey ? key + d : at * kvHeads + h]);
      for (let m = 0; m < valueSize; m++) s[d * valueSize + m] *= gate;
    }
  }
  for (let m = 0; m < valueSize; m++) written[m] = p.v[value + m];
  if (p.beta) {
    const beta = p.beta[at * p.betaHeads + (p.betaHeads === 1 ? 0 : h)];
    for (let m = 0; m < valueSize; m++) {
      let retrieved = 0;
      for (let d = 0; d < keySize; d++) retrieved += s[d * valueSize + m] * p.k[key + d];
      written[m] = beta * (written[m] - retrieved);
    }
  }
  for (let d = 0; d < keySize; d++) {
    for (let m = 0; m < valueSize; m++) s[d * valueSize + m] += p.k[key + d] * written[m];
  }
}

/** Reads the output heads of key head `h` at row `at`. */
function read(p: Problem, h: number, at: number, s: Float64Array, out: Float64Array): void {
  const { keySize, valueSize, heads, kvHeads, qHeads } = p;
  const group = heads / kvHeads;
  for (let o = h * group; o < (h + 1) * group; o++) {
    const query = (at * qHeads + Math.floor((o * qHeads) / heads)) * keySize;
    const to = (at * heads + o) * valueSize;
    for (let m = 0; m < valueSize; m++) {
      let sum = 0;
      for (let d = 0; d < keySize; d++) sum += p.q[query + d] * s[d * valueSize + m];
      out[to + m] = p.scale * sum;
    }
  }
}

/** Runs the recurrence; gives the output and, per kept slot, the states. */
function recur(p: Problem): { out: Float64Array; states: Float64Array } {
  const { batch, steps, keySize, valueSize, kvHeads, window } = p;
  const out = new Float64Array(batch * steps * p.heads * valueSize);
  const size = keySize * valueSize;
  const slots = Math.max(window, 1);
  const states = new Float64Array(slots * p.state.length);
  const written = new Float64Array(valueSize);
  for (let bh = 0; bh < batch * kvHeads; bh++) {
    const s = p.state.subarray(bh * size, (bh + 1) * size);
    const keep = (slot: number): void => states.set(s, slot * p.state.length + bh * size);
    if (steps === 0) keep(slots - 1);
    for (let t = 0; t < steps; t++) {
      const at = Math.floor(bh / kvHeads) * steps + t;
      update(p, bh % kvHeads, at, s, written);
      read(p, bh % kvHeads, at, s, out);
      const slot = slots - steps + t;
      if (slot >= 0) keep(slot);
    }
  }
  return { out, states };
}

/** A copy of the last slot of a past state, or zeros. */
function lastState(past: HostTensor | undefined, size: number): Float64Array {
  if (!past) return new Float64Array(size);
  const all = toNumbers(past);
  return all.slice(all.length - size);
}

function problemOf(ctx: ReferenceContext): Problem {
  const set = settings(ctx);
  const [q, k, v] = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)];
  const [batch, steps, hidden] = q.dims;
  const keySize = hidden / set.qHeads;
  const valueSize = v.dims[2] / set.kvHeads;
  const expected = [batch, steps];
  const fits = (t: readonly number[], last: number): boolean => sameShape(t, [...expected, last]);
  if (!Number.isInteger(keySize) || !Number.isInteger(valueSize) || !fits(k.dims, keySize * set.kvHeads)) {
    throw ctx.error(`query, key and value have shapes ${[q, k, v].map((t) => shapeText(t.dims)).join(', ')}`);
  }
  if (q.dims.length !== 3 || !fits(v.dims, v.dims[2])) throw ctx.error(`the value has shape ${shapeText(v.dims)}`);
  const decay = set.rule.gated ? ctx.tensor(4) : undefined;
  const decayPerKey = decay !== undefined && decay.dims[2] !== set.kvHeads;
  if (decay && !fits(decay.dims, set.kvHeads * (decayPerKey ? keySize : 1))) {
    throw ctx.error(`decay has shape ${shapeText(decay.dims)}`);
  }
  const beta = set.rule.delta ? ctx.tensor(5) : undefined;
  if (beta && !fits(beta.dims, set.kvHeads) && !fits(beta.dims, 1)) {
    throw ctx.error(`beta has shape ${shapeText(beta.dims)}, expected [${batch},${steps},${set.kvHeads} or 1]`);
  }
  const stateDims = [batch, set.kvHeads, keySize, valueSize];
  const past = ctx.optional(3);
  const pastDims = set.window ? [set.window, ...stateDims] : stateDims;
  if (past && !sameShape(past.dims, pastDims)) {
    throw ctx.error(`past_state has shape ${shapeText(past.dims)}, expected ${shapeText(pastDims)}`);
  }
  const scale = ctx.float('scale', 0);
  return {
    ...set,
    batch,
    steps,
    keySize,
    valueSize,
    scale: scale === 0 ? 1 / Math.sqrt(keySize) : scale,
    q: toNumbers(q),
    k: toNumbers(k),
    v: toNumbers(v),
    decay: decay && toNumbers(decay),
    decayPerKey,
    beta: beta && toNumbers(beta),
    betaHeads: beta?.dims[2] ?? 1,
    state: lastState(past, sizeOf(stateDims)),
  };
}

function reference(ctx: ReferenceContext): HostValue[] {
  const p = problemOf(ctx);
  const { out, states } = recur(p);
  const dims = [p.batch, p.kvHeads, p.keySize, p.valueSize];
  const dtype = ctx.tensor(0).dtype;
  return [
    fromNumbers(dtype, [p.batch, p.steps, p.heads * p.valueSize], out),
    fromNumbers(ctx.optional(3)?.dtype ?? dtype, p.window ? [p.window, ...dims] : dims, states),
  ];
}

/** LinearAttention of a domain: com.microsoft's also keeps a window of states and takes more key than query heads. */
export function linearAttention(domain: string, since: number): OpDefinition {
  const attributes: Record<string, 'int' | 'float' | 'string'> = {
    chunk_size: 'int',
    kv_num_heads: 'int',
    q_num_heads: 'int',
    scale: 'float',
    update_rule: 'string',
  };
  if (domain) attributes.state_window = 'int';
  return defineOp({
    name: 'LinearAttention',
    domain,
    since: [since],
    inputs: [3, 6],
    outputs: [1, 2],
    attributes,
    infer,
    reference,
  });
}
