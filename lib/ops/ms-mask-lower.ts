/** Padding masks of com.microsoft's attention operators for the native kernel. */

import { tensor } from '../ir/tensor.ts';
import type { AttentionSizes } from './attention-core.ts';
import type { Placed } from './attention-lower.ts';
import type { LowerContext, Operand } from './lower.ts';
import { type BinaryName, binaryStep } from './lower-elementwise.ts';

/** [batch, queries, keys], [batch, keys], or the bounds of each batch entry's keys: ends, or ends and starts. */
type Form = 'scores' | 'keys' | 'ends' | 'bounds';

function formOf(dims: readonly number[], { batch, queries, keys }: AttentionSizes): Form | undefined {
  const text = dims.join();
  if (text === [batch, queries, keys].join()) return 'scores';
  if (text === [batch, keys].join()) return 'keys';
  if (text === `${2 * batch}`) return 'bounds';
  return text === `${batch}` || text === `${3 * batch + 2}` ? 'ends' : undefined;
}

/** Why input `i`, if given, is no mask for the kernel. */
export function paddingReason(ctx: LowerContext, i: number, sizes: AttentionSizes): string | undefined {
  if (!ctx.has(i)) return undefined;
  if (ctx.dtype(i) !== 'int32') return `a mask of ${ctx.dtype(i)}`;
  return formOf(ctx.dims(i), sizes) ? undefined : 'a mask of another form';
}

/** Which keys [batch, keys] compare so with the bounds that begin at batch entry `from`. */
function compared(ctx: LowerContext, name: BinaryName, bounds: Operand, from: number, sizes: AttentionSizes): Operand {
  const { batch, keys } = sizes;
  const order = ctx.literal(`${keys} keys`, () =>
    tensor(
      'int32',
      [keys],
      Int32Array.from({ length: keys }, (_, j) => j),
    ),
  );
  const chosen = ctx.scratch('int32', [batch]);
  const width = 4;
  ctx.step('strided.copy', [bounds, chosen], {
    ...{ width, x_offset: from, y_offset: 0, dims: [batch], x_strides: [1], y_strides: [1] },
  });
  const output = ctx.scratch('bool', [batch, keys]);
  const view = { dims: [batch, keys], inputs: [], output };
  binaryStep(ctx, 'binary.i32', name, view, [
    { operand: order, strides: [0, 1] },
    { operand: chosen, strides: [1, 0] },
  ]);
  return output;
}

/** The mask of input `i`, which {@link paddingReason} has approved. */
export function paddingMaskOf(ctx: LowerContext, i: number, sizes: AttentionSizes): Placed {
  const { batch, queries, keys } = sizes;
  const operand = ctx.input(i);
  const form = formOf(operand.dims, sizes);
  if (form === 'scores') return { operand, at: [queries * keys, 0, keys, 1, 0] };
  if (form === 'keys') return { operand, at: [keys, 0, 0, 1, 0] };
  let shown = compared(ctx, 'Less', operand, 0, sizes);
  if (form === 'bounds') {
    const begun = compared(ctx, 'GreaterOrEqual', operand, batch, sizes);
    const output = ctx.scratch('bool', [batch, keys]);
    const strides = [1];
    const view = { dims: [batch * keys], inputs: [], output };
    binaryStep(ctx, 'binary.u8', 'And', view, [
      { operand: shown, strides },
      { operand: begun, strides },
    ]);
    shown = output;
  }
  return { operand: shown, at: [keys, 0, 0, 1, 0] };
}
