/** Native rotary position embeddings. */

import { dtypeInfo } from '../ir/dtype.ts';
import { sizeOf, stridesOf } from '../ir/shape.ts';
import type { LowerContext, Operand } from './lower.ts';
import { floatInput, intoFloatOutput, servedByFloat32 } from './lower-floats.ts';

/** Strides along batch, heads and tokens, and where the operand begins, in elements. */
export type TokenPlace = readonly [number, number, number, number];

/**
 * Which row of the caches a token uses: base + batch entry * perBatch + token * perToken, plus what `given` (int32 or
 * int64) holds at batch entry * strides[0] + token * strides[1].
 */
export interface Positions {
  readonly base?: number;
  readonly perBatch?: number;
  readonly perToken?: number;
  readonly given?: { readonly operand: Operand; readonly strides: readonly [number, number] };
}

export interface NativeRotation {
  readonly batch: number;
  readonly heads: number;
  readonly length: number;
  readonly headSize: number;
  readonly interleaved: boolean;
  /** Caches [rows, pairs] of one float type. */
  readonly cos: Operand;
  readonly sin: Operand;
  readonly positions: Positions;
  readonly x: { readonly operand: Operand; readonly at: TokenPlace };
  readonly y: { readonly operand: Operand; readonly at: TokenPlace };
}

export function rotaryStep(ctx: LowerContext, r: NativeRotation): void {
  const { base = 0, perBatch = 0, perToken = 0, given } = r.positions;
  const half = r.cos.dims.at(-1) as number;
  ctx.step('rotary.f32', [r.x.operand, r.cos, r.sin, given?.operand ?? null, r.y.operand], {
    ...{ batch: r.batch, heads: r.heads, length: r.length, head_size: r.headSize, half },
    interleaved: r.interleaved,
    rows: half ? sizeOf(r.cos.dims) / half : 0,
    type: dtypeInfo(r.cos.dtype).onnx,
    ...{ base, per_batch: perBatch, per_token: perToken, wide: given?.operand.dtype === 'int64' },
    ...{ position_batch: given?.strides[0] ?? 0, position_token: given?.strides[1] ?? 0 },
    ...{ x: r.x.at, y: r.y.at },
  });
}

/** Why inputs `cos` and `sin` are no caches of `pairs` columns for the kernel. */
export function cacheReason(ctx: LowerContext, cos: number, sin: number, pairs: number): string | undefined {
  const dtype = ctx.dtype(cos);
  if (!servedByFloat32(dtype) || ctx.dtype(sin) !== dtype) return `no kernel for caches of ${dtype}`;
  const fits = ctx.dims(cos).at(-1) === pairs && ctx.dims(cos).join() === ctx.dims(sin).join();
  return fits ? undefined : 'caches that do not fit';
}

interface Tokens {
  readonly batch: number;
  readonly heads: number;
  readonly length: number;
  readonly headSize: number;
  readonly at: TokenPlace;
}

/** Rank 4 is [batch, heads, length, size], rank 3 is [batch, length, heads * size]. */
function tokensOf(dims: readonly number[], heads: number): Tokens | undefined {
  if (dims.length === 4) {
    const [batch, count, length, headSize] = dims;
    const [b, h, t] = stridesOf(dims);
    return { batch, heads: count, length, headSize, at: [b, h, t, 0] };
  }
  const [batch, length, hidden] = dims;
  if (dims.length !== 3 || !(heads > 0) || hidden % heads !== 0) return undefined;
  const headSize = hidden / heads;
  return { batch, heads, length, headSize, at: [length * hidden, headSize, hidden, 0] };
}

function emit(
  ctx: LowerContext,
  heads: number,
  [cos, sin]: readonly [number, number],
  positionsOf: (tokens: Tokens) => Positions | undefined,
): string | undefined {
  if (!servedByFloat32(ctx.dtype(0))) return `no kernel for ${ctx.dtype(0)}`;
  const tokens = tokensOf(ctx.dims(0), heads);
  if (!tokens) return 'heads that do not fit';
  const size = ctx.int('rotary_embedding_dim', 0) || tokens.headSize;
  if (size < 0 || size > tokens.headSize || size % 2 !== 0) return 'a rotation that does not fit';
  const reason = cacheReason(ctx, cos, sin, size / 2);
  if (reason) return reason;
  const positions = positionsOf(tokens);
  if (!positions) return 'positions that do not fit';
  const x = { operand: floatInput(ctx, 0), at: tokens.at };
  const caches = { cos: ctx.input(cos), sin: ctx.input(sin) };
  const interleaved = ctx.int('interleaved', 0) !== 0;
  intoFloatOutput(ctx, 0, (y) =>
    rotaryStep(ctx, { ...tokens, ...caches, interleaved, positions, x, y: { operand: y, at: tokens.at } }),
  );
  return undefined;
}

/** RotaryEmbedding of the default domain. */
export function lowerRotary(ctx: LowerContext): string | undefined {
  return emit(ctx, ctx.int('num_heads', 0), [1, 2], ({ batch, length }) => {
    if (!ctx.has(3)) {
      const whole = ctx.dims(1).length === 3 && ctx.dims(1)[0] === batch && ctx.dims(1)[1] === length;
      return whole ? { perBatch: length, perToken: 1 } : undefined;
    }
    const fits = ctx.dtype(3) === 'int64' && sizeOf(ctx.dims(3)) === batch * length;
    return fits ? { given: { operand: ctx.input(3), strides: [length, 1] } } : undefined;
  });
}

/** RotaryEmbedding of com.microsoft. */
export function lowerMicrosoftRotary(ctx: LowerContext): string | undefined {
  const pairs = ctx.dims(2).at(-1) ?? 0;
  const asked = ctx.int('num_heads', 0);
  const heads = asked > 0 || ctx.dims(0).length !== 3 || !pairs ? asked : Math.floor(ctx.dims(0)[2] / (2 * pairs));
  return emit(ctx, heads, [2, 3], ({ batch, length }) => {
    const count = sizeOf(ctx.dims(1));
    if (ctx.dtype(1) !== 'int64') return undefined;
    if (ctx.dims(1).length < 2) {
      // One position, from which the tokens of every batch entry count on.
      const fits = count === 1 || (count > 0 && count === batch * length);
      return fits ? { perToken: 1, given: { operand: ctx.input(1), strides: [0, 0] } } : undefined;
    }
    return count === batch * length ? { given: { operand: ctx.input(1), strides: [length, 1] } } : undefined;
  });
}
