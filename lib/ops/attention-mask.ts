/** Masks that broadcast over the scores of attention. */

import { broadcastShapes, broadcastStrides, sameShape, shapeText } from '../ir/shape.ts';
import { type HostTensor, toNumbers } from '../ir/tensor.ts';
import type { AttentionSizes } from './attention-core.ts';
import type { NodeReader } from './op.ts';

/** Adds a mask to the scores of one query. */
export type MaskRow = (row: Float64Array, b: number, h: number, i: number) => void;

/**
 * The rows of a mask that broadcasts to [batch, heads, queries, keys]: numbers are added, booleans hide where false.
 * A mask shorter than the keys hides the rest. `what` names it in errors.
 */
export function maskRow(ctx: NodeReader, mask: HostTensor, sizes: AttentionSizes, what: string): MaskRow {
  const { batch, heads, queries, keys } = sizes;
  const length = mask.dims.at(-1) ?? 1;
  const to = [batch, heads, queries, length > 1 || keys === 1 ? length : keys];
  const shape = broadcastShapes([mask.dims, to]);
  if (!shape || !sameShape(shape, to) || to[3] > keys) {
    throw ctx.error(`${what} of shape ${shapeText(mask.dims)} does not broadcast to ${shapeText(to)}`);
  }
  const values = toNumbers(mask);
  const isBool = mask.dtype === 'bool';
  const strides = broadcastStrides(mask.dims, to);
  return (row, b, h, i) => {
    const at = b * strides[0] + h * strides[1] + i * strides[2];
    for (let j = 0; j < keys; j++) {
      if (j >= to[3]) row[j] = Number.NEGATIVE_INFINITY;
      else if (!isBool) row[j] += values[at + j * strides[3]];
      else if (!values[at + j * strides[3]]) row[j] = Number.NEGATIVE_INFINITY;
    }
  };
}
