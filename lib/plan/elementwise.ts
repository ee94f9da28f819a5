/** The iteration space of an elementwise operation: broadcast strides, neighbouring dimensions merged. */

import { SEGMENT_LANES, type SegmentLayout } from '../ir/segments.ts';
import { broadcastStrides, sizeOf } from '../ir/shape.ts';
import type { ElementwiseView, Operand } from '../ops/lower.ts';

/** Merges neighbouring dimensions that every operand walks as one, and drops those of size 1. */
export function mergeDims(
  dims: readonly number[],
  strides: readonly (readonly number[])[],
): { dims: number[]; strides: number[][] } {
  const outDims: number[] = [];
  const out: number[][] = strides.map(() => []);
  for (let axis = 0; axis < dims.length; axis++) {
    if (dims[axis] === 1) continue;
    const last = outDims.length - 1;
    const joins = last >= 0 && strides.every((s, k) => out[k][last] === s[axis] * dims[axis]);
    if (joins) {
      outDims[last] *= dims[axis];
      strides.forEach((s, k) => {
        out[k][last] = s[axis];
      });
    } else {
      outDims.push(dims[axis]);
      strides.forEach((s, k) => {
        out[k].push(s[axis]);
      });
    }
  }
  return { dims: outDims, strides: out };
}

function denseStrides(dims: readonly number[]): number[] {
  return broadcastStrides(dims, dims).map((stride, i) => (dims[i] === 1 ? 0 : stride));
}

/** The view over operands that lie row-major, or in `layout` where they have the result's shape. */
export function physicalView(
  operands: readonly (Operand | null)[],
  output: Operand,
  layout: SegmentLayout | undefined,
): ElementwiseView {
  // Borders are filled by whoever needs them; walking them along keeps the pass contiguous.
  const whole = layout ? [layout.tiles, layout.size.c, SEGMENT_LANES] : output.dims;
  const stridesOf = (operand: Operand): number[] => {
    if (!layout) return broadcastStrides(operand.dims, whole);
    if (operand.layout) return denseStrides(whole);
    return sizeOf(operand.dims) === 1 ? [0, 0, 0] : [0, 1, 0];
  };
  const present = operands.filter((operand): operand is Operand => operand !== null);
  const merged = mergeDims(whole, [...present.map(stridesOf), denseStrides(whole)]);
  let next = 0;
  const inputs = operands.map((operand) => operand && { operand, strides: merged.strides[next++] });
  return { dims: merged.dims, inputs, output };
}
