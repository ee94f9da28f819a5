/** One native plan in the making: where each value lies, and conversions between layouts. */

import { InternalError } from '../errors.ts';
import { byteLength, type DType } from '../ir/dtype.ts';
import type { Node, Value } from '../ir/graph.ts';
import { type Borders, coversBorders, SEGMENT_LANES, type SegmentLayout } from '../ir/segments.ts';
import { sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import type { Operand, StepParams } from '../ops/lower.ts';
import { type EncodedPlan, PlanBuilder } from './builder.ts';
import type { Joins } from './joins.ts';
import type { KernelSignature } from './kernel.ts';
import { convertSegments, fillBorders, type MapChannels, segmentsFromRows, segmentsToRows } from './segments.ts';
import type { TypedTensor } from './typed.ts';

/** What the planner knows of the machine and the session. */
export interface PlanContext {
  readonly kernels: ReadonlyMap<string, { id: number; signature: KernelSignature }>;
  readonly threads: number;
  /** Floats of a vector. */
  readonly vectorLanes: number;
  /** Bytes of a core's second-level cache. */
  readonly l2: number;
  /** Whether generated code may run. */
  readonly jit: boolean;
  /** False has every weight treated as dense. */
  readonly sparse: boolean;
  /** True where products may round their operands to bfloat16, and the addon has kernels that do. */
  readonly bf16: boolean;
  /** No value may take more bytes than this. */
  readonly memoryLimit: number;
}

interface SegmentForm extends MapChannels {
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

/** The channels of a form in its map: the first, and the one after the last. */
function channelRange({ operand, layout }: SegmentForm): [number, number] {
  const first = operand.channel ?? 0;
  return [first, first + layout.size.c];
}

/** `channels` channels from number `channel` of a form on. */
function partOf({ operand, layout, fill }: SegmentForm, channel: number, channels: number): SegmentForm {
  const dims = [layout.tiles, channels, SEGMENT_LANES];
  const first = (operand.channel ?? 0) + channel;
  return {
    operand: { ...operand, dims, channel: first },
    layout: layout.withChannels(channels).withBorders(layout.borders),
    fill,
  };
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
  /** Forms by the buffers they lie in, where several may lie in one. */
  readonly #residents = new Map<number, Set<SegmentForm>>();
  readonly #wholes = new Map<Value, SegmentForm>();
  readonly #typeOf: (value: Value) => TypedTensor;
  readonly #ahead: (value: Value) => Borders;
  readonly #joins: Joins;

  /** `ahead` tells the borders that windows reading a value want. */
  constructor(
    context: PlanContext,
    typeOf: (value: Value) => TypedTensor,
    ahead: (value: Value) => Borders,
    joins: Joins,
  ) {
    this.context = context;
    this.#ahead = ahead;
    this.#joins = joins;
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
      segmentsToRows(this, node, forms.segments[0], forms.row);
    }
    return forms.row;
  }

  /** The value in segments that fit `wanted`: see LowerContext.inputSegments. */
  segments(value: Value, wanted: SegmentLayout, fill: number | undefined, node: Node): Operand {
    const forms = this.#forms.get(value) ?? this.#bring(value);
    const fits = ({ layout }: SegmentForm): boolean =>
      layout.samePositions(wanted) && coversBorders(layout.borders, wanted.borders);
    const form = forms.segments.find(fits) ?? this.#convert(value, forms, wanted.withBorders(this.#ahead(value)), node);
    if (fill !== undefined && form.fill !== fill) this.#fill(form, fill, node);
    return form.operand;
  }

  #fill(form: SegmentForm, fill: number, node: Node): void {
    fillBorders(this, node, form, fill);
    const [first, end] = channelRange(form);
    for (const other of this.#residents.get(form.operand.buffer) ?? []) {
      const [from, to] = channelRange(other);
      if (from < end && first < to) other.fill = first <= from && to <= end ? fill : undefined;
    }
    form.fill = fill;
  }

  /** The value in a map of exactly this geometry, borders included: what flat elementwise passes need. */
  segmentsAlike(value: Value, layout: SegmentLayout, node: Node): Operand {
    const forms = this.#forms.get(value) ?? this.#bring(value);
    const form = forms.segments.find(({ operand }) => operand.layout?.sameGeometry(layout));
    return (form ?? this.#convert(value, forms, layout, node)).operand;
  }

  /** A map of its own for a value that the node is about to write. */
  newSegments(value: Value, layout: SegmentLayout): Operand {
    return this.#setForm(value, this.#newForm(this.#typeOf(value).dtype, layout));
  }

  /**
   * A place for a value that the node is about to write, with the borders that later windows need: where it will be
   * joined with others, or a map of its own.
   */
  placeSegments(value: Value, layout: SegmentLayout): Operand {
    const ahead = this.#ahead(value);
    const joined = this.#joinedForm(value, layout.withoutBorders().withBorders(ahead));
    return joined ? this.#setForm(value, joined) : this.newSegments(value, layout.withBorders(ahead));
  }

  /** True where the value will be joined with others, so that it had better be written beside them. */
  willJoin(value: Value): boolean {
    return this.#joins.placeOf(value) !== undefined;
  }

  /** Joins the channels of `values` in `result`. */
  joinSegments(result: Value, values: readonly Value[], layout: SegmentLayout, node: Node): void {
    const lying = this.#sideBySide(values);
    if (lying) {
      this.#setForm(result, lying);
      return;
    }
    this.placeSegments(result, layout);
    const [whole] = (this.#forms.get(result) as Forms).segments;
    let channel = 0;
    for (const value of values) {
      const channels = this.#typeOf(value).dims[1];
      this.#bringInto(value, partOf(whole, channel, channels), node);
      channel += channels;
    }
  }

  /** `result` is the channels from `channel` on of a value that lies in segments. */
  sliceSegments(result: Value, value: Value, channel: number): void {
    const form = this.#forms.get(value)?.segments.at(-1);
    if (!form) throw new InternalError(`"${value.name}" does not lie in segments`);
    this.share(form.operand.buffer);
    const part = partOf(form, channel, this.#typeOf(result).dims[1]);
    this.#setForm(result, part);
    this.#settle(form);
    this.#settle(part);
  }

  /** The values as one, where each lies behind the one before. */
  #sideBySide(values: readonly Value[]): SegmentForm | undefined {
    const formsOf = (value: Value): readonly SegmentForm[] => this.#forms.get(value)?.segments ?? [];
    for (const first of formsOf(values[0])) {
      let end = channelRange(first)[1];
      const follows = values.slice(1).every((value) => {
        const next = formsOf(value).find(
          ({ operand }) => operand.buffer === first.operand.buffer && operand.channel === end,
        );
        if (next) end += next.layout.size.c;
        return next !== undefined;
      });
      if (!follows) continue;
      const form = partOf(first, 0, end - channelRange(first)[0]);
      form.fill = undefined;
      this.share(form.operand.buffer);
      this.#settle(first);
      this.#settle(form);
      return form;
    }
    return undefined;
  }

  /** Brings a value to where `form` is. */
  #bringInto(value: Value, form: SegmentForm, node: Node): void {
    const { buffer, channel } = form.operand;
    const forms = this.#forms.get(value) ?? this.#bring(value);
    const lies = ({ operand }: SegmentForm): boolean => operand.buffer === buffer && operand.channel === channel;
    if (forms.segments.some(lies)) return;
    const alike = forms.segments.find(({ layout }) => layout.samePositions(form.layout));
    const other = alike ?? forms.segments.find(({ layout }) => layout.axis === 'planes');
    if (other) convertSegments(this, node, other, form);
    else segmentsFromRows(this, node, this.row(value, node), form);
  }

  /** The place of a value among those it will be joined with; undefined where their map is another. */
  #joinedForm(value: Value, layout: SegmentLayout): SegmentForm | undefined {
    if (layout.axis !== 'planes') return undefined;
    const place = this.#joins.placeOf(value) ?? { whole: value, channel: 0 };
    let whole = this.#wholes.get(place.whole);
    if (!whole) {
      if (place.whole === value) return undefined;
      const { dtype, dims } = this.#typeOf(place.whole);
      const map = layout.withChannels(dims[1]).withBorders(this.#joins.bordersOf(place.whole));
      whole = this.#newForm(dtype, map);
      this.share(whole.operand.buffer);
      this.#wholes.set(place.whole, whole);
    }
    const fits = whole.layout.samePositions(layout) && coversBorders(whole.layout.borders, layout.borders);
    if (!fits) return undefined;
    const form = partOf(whole, place.channel, layout.size.c);
    this.#settle(form);
    return form;
  }

  /** Remembers a form that shares its buffer with others. */
  #settle(form: SegmentForm): void {
    const { buffer } = form.operand;
    const residents = this.#residents.get(buffer);
    if (residents) residents.add(form);
    else this.#residents.set(buffer, new Set([form]));
  }

  #setForm(value: Value, form: SegmentForm): Operand {
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
  *finish(results: readonly Value[], last: Node): Generator<void, EncodedPlan> {
    for (const value of results) {
      const row = this.row(value, last);
      if (!this.builder.makeOutput(row.buffer)) {
        const bytes = byteLength(row.dtype, sizeOf(row.dims));
        const copy: Operand = { ...row, buffer: this.builder.output(bytes) };
        this.step(last, 'copy.bytes', [row, copy], { bytes });
      }
      this.outputs.push(value);
    }
    this.builder.cutChannels(this.context.l2 * this.context.threads);
    yield;
    return yield* this.builder.encoding();
  }

  #convert(value: Value, forms: Forms, layout: SegmentLayout, node: Node): SegmentForm {
    const form = this.#newForm(this.#typeOf(value).dtype, layout);
    const other = forms.segments.find((each) => each.layout.axis === layout.axis);
    if (other) convertSegments(this, node, other, form);
    else segmentsFromRows(this, node, this.row(value, node), form);
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
