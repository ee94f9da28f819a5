/** Steps that bring values into the segment layout and back. */

import type { Node } from '../ir/graph.ts';
import type { SegmentLayout } from '../ir/segments.ts';
import type { Operand, StepParams } from '../ops/lower.ts';

/** Where steps go. */
export interface StepSink {
  step(node: Node, kernel: string, operands: readonly (Operand | null)[], params: StepParams): void;
}

const suffix = (operand: Operand): string => (operand.dtype === 'float32' ? '' : '.u8');

/** Channels of a map in segments: those of one value, beside which the map may hold others. */
export interface MapChannels {
  readonly operand: Operand;
  /** The map, with the value's channels alone. */
  readonly layout: SegmentLayout;
}

const mapOf = ({ operand }: MapChannels): SegmentLayout => operand.layout as SegmentLayout;

/** The first channel and how many. */
function channelsOf({ operand, layout }: MapChannels): { channel: number; channels: number } {
  return { channel: operand.channel ?? 0, channels: layout.size.c };
}

/** Loads a row-major tensor. */
export function segmentsFromRows(sink: StepSink, node: Node, x: Operand, y: MapChannels): void {
  const kernel = y.layout.axis === 'planes' ? 'segments.from_planes' : 'segments.from_rows';
  sink.step(node, kernel + suffix(x), [x, y.operand], { ...channelsOf(y), map: mapOf(y) });
}

/** Stores to a row-major tensor. */
export function segmentsToRows(sink: StepSink, node: Node, x: MapChannels, y: Operand): void {
  const kernel = x.layout.axis === 'planes' ? 'segments.to_planes' : 'segments.to_rows';
  sink.step(node, kernel + suffix(y), [x.operand, y], { ...channelsOf(x), map: mapOf(x) });
}

/** Moves a value's channels to another map, between whose positions others may lie. */
export function convertSegments(sink: StepSink, node: Node, x: MapChannels, y: MapChannels): void {
  const { channel: from_channel, channels } = channelsOf(x);
  const moved = { from_channel, to_channel: channelsOf(y).channel, channels };
  const maps = { from: mapOf(x), to: mapOf(y) };
  const operands = [x.operand, y.operand];
  const alike = x.layout.samePositions(y.layout);
  if (alike) sink.step(node, `segments.copy${suffix(x.operand)}`, operands, { ...moved, to_step: 1, ...maps });
  else sink.step(node, `segments.convert${suffix(x.operand)}`, operands, { ...moved, ...whole, ...maps });
}

/** A conversion of all positions, and no borders. */
const whole = { borders: 0, fill: 0, step_y: 1, step_x: 1 };

/** Writes the borders of a value's channels. */
export function fillBorders(sink: StepSink, node: Node, x: MapChannels, fill: number): void {
  sink.step(node, `segments.border${suffix(x.operand)}`, [x.operand], { ...channelsOf(x), fill, map: mapOf(x) });
}
