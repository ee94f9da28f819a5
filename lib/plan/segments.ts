/** Steps that bring values into the segment layout and back. */

import type { Node } from '../ir/graph.ts';
import type { SegmentLayout } from '../ir/segments.ts';
import type { Operand, StepParams } from '../ops/lower.ts';

/** Where steps go. */
export interface StepSink {
  step(node: Node, kernel: string, operands: readonly (Operand | null)[], params: StepParams): void;
}

const suffix = (operand: Operand): string => (operand.dtype === 'float32' ? '' : '.u8');

/** Loads a row-major tensor. */
export function segmentsFromRows(sink: StepSink, node: Node, x: Operand, y: Operand, map: SegmentLayout): void {
  const kernel = map.axis === 'planes' ? 'segments.from_planes' : 'segments.from_rows';
  sink.step(node, kernel + suffix(x), [x, y], { channel: 0, channels: map.size.c, map });
}

/** Stores to a row-major tensor. */
export function segmentsToRows(sink: StepSink, node: Node, x: Operand, map: SegmentLayout, y: Operand): void {
  const kernel = map.axis === 'planes' ? 'segments.to_planes' : 'segments.to_rows';
  sink.step(node, kernel + suffix(x), [x, y], { channel: 0, channels: map.size.c, map });
}

/** Moves positions between two layouts of the same map. */
export function convertSegments(
  sink: StepSink,
  node: Node,
  x: Operand,
  from: SegmentLayout,
  y: Operand,
  to: SegmentLayout,
): void {
  const params = { from_channel: 0, to_channel: 0, channels: from.size.c, borders: 0, fill: 0, step_y: 1, step_x: 1 };
  sink.step(node, `segments.convert${suffix(x)}`, [x, y], { ...params, from, to });
}

/** Writes the borders of a map. */
export function fillBorders(sink: StepSink, node: Node, x: Operand, map: SegmentLayout, fill: number): void {
  sink.step(node, `segments.border${suffix(x)}`, [x], { channel: 0, channels: map.size.c, fill, map });
}
