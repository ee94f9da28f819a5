/** One native plan in the making: where each value lies, and conversions between layouts. */

import { InternalError } from '../errors.ts';
import { byteLength, type DType } from '../ir/dtype.ts';
import type { Node, Value } from '../ir/graph.ts';
import { type Borders, coversBorders, SEGMENT_LANES, type SegmentLayout } from '../ir/segments.ts';
import { sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import type { Operand, StepParams } from '../ops/lower.ts';
import { type EncodedPlan, PlanBuilder } from './builder.ts';
import type { KernelSignature } from './kernel.ts';
import { convertSegments, fillBorders, segmentsFromRows, segmentsToRows } from './segments.ts';
import type { TypedTensor } from './typed.ts';

/** What the planner knows of the machine and the session. */
export interface PlanContext {
  readonly kernels: ReadonlyMap<string, { id: number; signature: KernelSignature }>;
  readonly threads: number;
  /** Whether generated code may run. */
  readonly jit: boolean;
  /** False has every weight treated as dense. */
  readonly sparse: boolean;
  /** True where products may round their operands to bfloat16, and the addon has kernels that do. */
  readonly bf16: boolean;
  /** No value may take more bytes than this. */
  readonly memoryLimit: number;
}

interface SegmentForm {
  readonly operand: Operand;
  readonly layout: SegmentLayout;
  /** What the borders hold now; undefined: anything. */
  fill: number | undefined;
}

interface Forms {
  row: Operand | undefined;
  readonly segments: SegmentForm[];
}

/** Bytes of a map in float32 lines, or 8-bit quads. */
export function segmentBytes(dtype: DType, layout: SegmentLayout): number {
  const quads = byteLength(dtype, 1) === 1;
  return layout.tiles * (quads ? Math.ceil(layout.size.c / 4) : layout.size.c) * 64;
}

/** A native plan under construction. */
export class Part {
  readonly builder: PlanBuilder;
  readonly context: PlanContext;
  readonly inputs: Value[] = [];
  readonly outputs: Value[] = [];
  readonly #forms = new Map<Value, Forms>();
  readonly #brought = new Set<Value>();
  readonly #shared = new Set<number>();
  readonly #typeOf: (value: Value) => TypedTensor;
  readonly #ahead: (value: Value) => Borders;

  /** `ahead` tells the borders that windows reading a value want. */
  constructor(context: PlanContext, typeOf: (value: Value) => TypedTensor, ahead: (value: Value) => Borders) {
    this.context = context;
    this.#ahead = ahead;
    this.builder = new PlanBuilder(context.kernels);
    this.#typeOf = typeOf;
  }

  /** The values that steps of this part compute. */
  computed(): Value[] {
    return [...this.#forms.keys()].filter((value) => !this.#brought.has(value));
  }

  segmentsOf(value: Value): SegmentLayout | undefined {
    return this.#forms.get(value)?.segments.at(-1)?.layout;
  }

  /** The value row-major: as it lies, converted, a constant, or an input of the plan. */
  row(value: Value, node: Node): Operand {
    const forms = this.#forms.get(value) ?? this.#bring(value);
    if (!forms.row) {
      const { dtype, dims } = this.#typeOf(value);
      forms.row = this.newRow(dtype, dims);
      const form = forms.segments[0];
      segmentsToRows(this, node, form.operand, form.layout, forms.row);
    }
    return forms.row;
  }

  /** The value in segments that fit `wanted`: see LowerContext.inputSegments. */
  segments(value: Value, wanted: SegmentLayout, fill: number | undefined, node: Node): Operand {
    const forms = this.#forms.get(value) ?? this.#bring(value);
    const fits = ({ layout }: SegmentForm): boolean =>
      layout.samePositions(wanted) && coversBorders(layout.borders, wanted.borders);
    const form = forms.segments.find(fits) ?? this.#convert(value, forms, wanted.withBorders(this.#ahead(value)), node);
    if (fill !== undefined && form.fill !== fill) {
      fillBorders(this, node, form.operand, form.layout, fill);
      form.fill = fill;
    }
    return form.operand;
  }

  /** The value in a map of exactly this geometry, borders included: what flat elementwise passes need. */
  segmentsAlike(value: Value, layout: SegmentLayout, node: Node): Operand {
    const forms = this.#forms.get(value) ?? this.#bring(value);
    const form = forms.segments.find((each) => each.layout.sameGeometry(layout));
    return (form ?? this.#convert(value, forms, layout, node)).operand;
  }

  /** A fresh map for a value that the node is about to write, with the borders that later windows need. */
  newSegments(value: Value, layout: SegmentLayout, widen: boolean): Operand {
    const form = this.#newForm(this.#typeOf(value).dtype, widen ? layout.withBorders(this.#ahead(value)) : layout);
    this.#forms.set(value, { row: undefined, segments: [form] });
    return form.operand;
  }

  /** A constant of the plan's own. */
  constant(tensor: HostTensor): Operand {
    const bytes = byteLength(tensor.dtype, sizeOf(tensor.dims));
    return { dtype: tensor.dtype, dims: tensor.dims, buffer: this.builder.constant(tensor, bytes) };
  }

  /** Marks a buffer that several values read: nothing may be written over it. */
  share(buffer: number): void {
    this.#shared.add(buffer);
  }
  /** True where a buffer is this plan's own and one value's alone. */
  isPrivate(buffer: number): boolean {
    return this.builder.isArena(buffer) && !this.#shared.has(buffer);
  }

  newRow(dtype: DType, dims: readonly number[]): Operand {
    const bytes = byteLength(dtype, sizeOf(dims));
    return { dtype, dims, buffer: this.builder.arena(bytes) };
  }

  setRow(value: Value, operand: Operand): void {
    this.#forms.set(value, { row: operand, segments: [] });
  }

  /** The value in a map that exists already (written in place, or under another value's geometry). */
  setSegments(value: Value, operand: Operand, layout: SegmentLayout): void {
    this.#forms.set(value, { row: undefined, segments: [{ operand, layout, fill: undefined }] });
  }

  /** Forgets what a lowering that gave up had placed. */
  forget(value: Value): void {
    this.#forms.delete(value);
  }

  /** The only form of a value computed here, where it has just one. */
  onlyForm(value: Value): { operand: Operand; layout: SegmentLayout | undefined } | undefined {
    const forms = this.#forms.get(value);
    if (!forms) return undefined;
    const count = (forms.row ? 1 : 0) + forms.segments.length;
    if (count !== 1) return undefined;
    return forms.row
      ? { operand: forms.row, layout: undefined }
      : { operand: forms.segments[0].operand, layout: forms.segments[0].layout };
  }

  step(node: Node, kernel: string, operands: readonly (Operand | null)[], params: StepParams): void {
    this.builder.step(node, kernel, operands, params);
  }

  /** Closes the part: `results` are the values that somebody outside reads; `last` stands for the copies they need. */
  finish(results: readonly Value[], last: Node): EncodedPlan {
    for (const value of results) {
      const row = this.row(value, last);
      if (!this.builder.makeOutput(row.buffer)) {
        const bytes = byteLength(row.dtype, sizeOf(row.dims));
        const copy: Operand = { ...row, buffer: this.builder.output(bytes) };
        this.step(last, 'copy.bytes', [row, copy], { bytes });
      }
      this.outputs.push(value);
    }
    return this.builder.finish();
  }

  #convert(value: Value, forms: Forms, layout: SegmentLayout, node: Node): SegmentForm {
    const form = this.#newForm(this.#typeOf(value).dtype, layout);
    const other = forms.segments.find((each) => each.layout.axis === layout.axis);
    if (other) convertSegments(this, node, other.operand, other.layout, form.operand, layout);
    else segmentsFromRows(this, node, this.row(value, node), form.operand, layout);
    forms.segments.push(form);
    return form;
  }

  #newForm(dtype: DType, layout: SegmentLayout): SegmentForm {
    const buffer = this.builder.arena(segmentBytes(dtype, layout));
    const dims = [layout.tiles, layout.size.c, SEGMENT_LANES];
    return { operand: { dtype, dims, buffer, layout }, layout, fill: undefined };
  }

  /** A constant, or an input of the plan. */
  #bring(value: Value): Forms {
    const type = this.#typeOf(value);
    const bytes = byteLength(type.dtype, sizeOf(type.dims));
    if (type.kind !== 'tensor' || type.dtype === 'string')
      throw new InternalError(`"${value.name}" is not for kernels`);
    let buffer: number;
    if (type.content) {
      buffer = this.builder.constant(type.content, bytes);
    } else {
      buffer = this.builder.input(bytes);
      this.inputs.push(value);
    }
    this.#brought.add(value);
    const forms: Forms = { row: { dtype: type.dtype, dims: type.dims, buffer }, segments: [] };
    this.#forms.set(value, forms);
    return forms;
  }
}
