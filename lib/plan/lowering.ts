/** What one node's `lower` works with: implements LowerContext over a part under construction. */

import { InternalError } from '../errors.ts';
import { type DType, isWhole } from '../ir/dtype.ts';
import type { Node, Value } from '../ir/graph.ts';
import type { SegmentLayout } from '../ir/segments.ts';
import { sameShape, sizeOf } from '../ir/shape.ts';
import { type HostTensor, toIntegers } from '../ir/tensor.ts';
import type { ElementwiseView, LowerContext, Operand, StepParams } from '../ops/lower.ts';
import { NodeAccess } from '../ops/op.ts';
import { blockDensityOf, densityOf } from '../sparse/density.ts';
import { type Deed, DeedRecorder, elementwiseDeed, sameMemory } from './deeds.ts';
import { physicalView } from './elementwise.ts';
import type { Part } from './part.ts';
import type { TypedTensor } from './typed.ts';

/** What a lowering asks the planner about values. */
export interface ValueFacts {
  typeOf(value: Value): TypedTensor;
  contentOf(value: Value): HostTensor | undefined;
  /** True where `node` is the last of all that are left that reads the value, and nobody outside does. */
  diesAt(value: Value, node: Node): boolean;
  stridesAhead(value: Value): readonly [number, number];
}

/** Literals and numbers of a node that live with the session; also its identity for packings. */
export type NodeMemory = Map<string, HostTensor | number>;

export class NodeLowering extends NodeAccess implements LowerContext {
  readonly #node: Node;
  readonly #inputs: readonly (Value | null)[];
  readonly #part: Part;
  readonly #facts: ValueFacts;
  readonly #memory: NodeMemory;
  readonly #recorder = new DeedRecorder();
  readonly threads: number;
  readonly bf16: boolean;
  readonly vectorLanes: number;

  /** `inputs` are the node's, with values of inlined branches replaced. */
  constructor(node: Node, inputs: readonly (Value | null)[], part: Part, facts: ValueFacts, memory: NodeMemory) {
    super(node, 'run');
    this.#node = node;
    this.#inputs = inputs;
    this.#part = part;
    this.#facts = facts;
    this.#memory = memory;
    this.threads = part.context.threads;
    this.bf16 = part.context.bf16;
    this.vectorLanes = part.context.vectorLanes;
  }

  /** What has been done; undefined where types alone do not tell that it may be done again. */
  get deeds(): readonly Deed[] | undefined {
    return this.#recorder.list;
  }

  #value(i: number): Value {
    const value = this.#inputs[i];
    if (!value) throw this.error(`input ${i} is missing`);
    return value;
  }
  #result(i: number): Value {
    const value = this.#node.outputs[i];
    if (!value) throw new InternalError(`output ${i} of ${this.#node.op} is not wanted`);
    return value;
  }

  dims(i: number): readonly number[] {
    return this.#facts.typeOf(this.#value(i)).dims;
  }
  dtype(i: number): DType {
    return this.#facts.typeOf(this.#value(i)).dtype;
  }
  outputDims(i: number): readonly number[] {
    return this.#facts.typeOf(this.#result(i)).dims;
  }
  outputDtype(i: number): DType {
    return this.#facts.typeOf(this.#result(i)).dtype;
  }
  constant(i: number): HostTensor | undefined {
    return this.has(i) ? this.#facts.typeOf(this.#value(i)).content : undefined;
  }
  integers(i: number): number[] | undefined {
    const content = this.has(i) ? this.#facts.contentOf(this.#value(i)) : undefined;
    return content && isWhole(content.dtype) ? toIntegers(content) : undefined;
  }
  density(i: number): number {
    return this.#part.context.sparse ? densityOf(this.#knownConstant(i)) : 1;
  }
  blockDensity(i: number, axis: number): number {
    return this.#part.context.sparse ? blockDensityOf(this.#knownConstant(i), axis) : 1;
  }
  #knownConstant(i: number): HostTensor {
    const content = this.constant(i);
    if (!content) throw new InternalError(`input ${i} of ${this.#node.op} is not constant`);
    return content;
  }

  #row(i: number): Operand {
    return this.#part.row(this.#value(i), this.#node);
  }

  input(i: number): Operand {
    const operand = this.#row(i);
    this.#recorder.add({ kind: 'input', i, buffer: operand.buffer });
    return operand;
  }
  output(i: number): Operand {
    const value = this.#result(i);
    const { dtype, dims } = this.#facts.typeOf(value);
    const operand = this.#part.newRow(dtype, dims);
    this.#part.setRow(value, operand);
    this.#recorder.add({ kind: 'output', i, buffer: operand.buffer });
    return operand;
  }
  scratch(dtype: DType, dims: readonly number[]): Operand {
    const operand = this.#part.newRow(dtype, dims);
    this.#recorder.add({ kind: 'scratch', dtype, dims, buffer: operand.buffer });
    return operand;
  }
  literal(key: string, make: () => HostTensor): Operand {
    let tensor = this.#memory.get(key);
    if (tensor === undefined || typeof tensor === 'number') {
      tensor = make();
      this.#memory.set(key, tensor);
    }
    const operand = this.#part.constant(tensor);
    this.#recorder.add({ kind: 'literal', tensor, buffer: operand.buffer });
    return operand;
  }
  packed(packer: string, sources: readonly (Operand | null)[], params: StepParams): Operand {
    const tensors = sources.map((source) => {
      const tensor = source ? this.#part.builder.tensorOf(source.buffer) : null;
      if (tensor === undefined) throw new InternalError(`${packer}: a source is not constant`);
      return tensor;
    });
    const buffer = this.#part.builder.packed(this.#memory, packer, tensors, params);
    this.#recorder.add({ kind: 'packed', packer, tensors, params, buffer });
    return { dtype: 'uint8', dims: [], buffer };
  }
  once(key: string, value: number): number {
    const known = this.#memory.get(key);
    if (typeof known === 'number') return known;
    this.#memory.set(key, value);
    return value;
  }
  alias(i: number, j: number): void {
    this.#recorder.add({ kind: 'alias', i, j });
    const from = this.#value(j);
    const value = this.#result(i);
    const { dtype, dims } = this.#facts.typeOf(value);
    const form = this.#part.onlyForm(from);
    const keepsRows = form?.layout?.axis === 'rows' && dims.at(-1) === this.#facts.typeOf(from).dims.at(-1);
    const source = keepsRows ? form.operand : this.#row(j);
    if (!this.#facts.diesAt(from, this.#node)) this.#part.share(source.buffer);
    if (keepsRows) this.#part.setSegments(value, source, form.layout as SegmentLayout);
    else this.#part.setRow(value, { dtype, dims, buffer: source.buffer });
  }
  step(kernel: string, operands: readonly (Operand | null)[], params: StepParams = {}): void {
    const buffers = operands.map((operand) => (operand ? operand.buffer : null));
    this.#recorder.add({ kind: 'step', kernel, buffers, params });
    this.#part.builder.stepOn(this.#node, kernel, buffers, params);
  }
  hasKernel(kernel: string): boolean {
    const generatesCode = kernel.startsWith('conv.segments.sparse.');
    return this.#part.context.kernels.has(kernel) && (this.#part.context.jit || !generatesCode);
  }

  elementwise(only?: readonly number[]): ElementwiseView {
    const view = this.#elementwise(only);
    const deed = elementwiseDeed(view, only);
    if (deed) this.#recorder.add(deed);
    else this.#recorder.spoil();
    return view;
  }
  #elementwise(only?: readonly number[]): ElementwiseView {
    const take = (i: number): boolean => this.has(i) && (only === undefined || only.includes(i));
    const values = this.#inputs.map((_, i) => (take(i) ? this.#value(i) : null));
    const result = this.#result(0);
    const layout = this.#commonLayout(values, result);
    const operands = values.map((value) => value && this.#elementwiseOperand(value, layout, result));
    const inPlace = values.findIndex(
      (value, i) => value !== null && this.#reusable(value, operands[i], result, layout),
    );
    const output = inPlace >= 0 ? this.#takeOver(result, operands[inPlace] as Operand, layout) : undefined;
    return physicalView(operands, output ?? this.#fresh(result, layout), layout);
  }

  segmentsOf(i: number): SegmentLayout | undefined {
    this.#recorder.spoil();
    return this.#part.segmentsOf(this.#value(i));
  }
  inputSegments(i: number, layout: SegmentLayout, fill?: number): Operand {
    this.#recorder.spoil();
    return this.#part.segments(this.#value(i), layout, fill, this.#node);
  }
  outputSegments(i: number, layout: SegmentLayout): Operand {
    this.#recorder.spoil();
    return this.#part.placeSegments(this.#result(i), layout);
  }
  joinSegments(layout: SegmentLayout): void {
    this.#recorder.spoil();
    const values = this.#inputs.map((_, i) => this.#value(i));
    this.#part.joinSegments(this.#result(0), values, layout, this.#node);
  }
  sliceSegments(i: number, j: number, channel: number): void {
    this.#recorder.spoil();
    this.#part.sliceSegments(this.#result(i), this.#value(j), channel);
  }
  outputInPlace(i: number, j: number): Operand | undefined {
    this.#recorder.spoil();
    const value = this.#value(j);
    if (this.#part.willJoin(this.#result(i))) return undefined;
    const readTwice = this.#inputs.filter((input) => input === value).length > 1;
    const form = readTwice ? undefined : this.#part.onlyForm(value);
    if (!form?.layout || !this.#facts.diesAt(value, this.#node) || !this.#part.isPrivate(form.operand.buffer))
      return undefined;
    this.#part.setSegments(this.#result(i), form.operand, form.layout);
    return form.operand;
  }
  stridesAhead(i: number): readonly [number, number] {
    this.#recorder.spoil();
    return this.#facts.stridesAhead(this.#result(i));
  }

  /**
   * Does what a lowering of this node for the same types did. False, before any step, where memory lies otherwise: then
   * the operator has to be asked.
   */
  repeat(deeds: readonly Deed[]): boolean {
    const buffers = new Map<number | null, number | null>([[null, null]]);
    return deeds.every((deed) => this.#repeat(deed, buffers));
  }

  #repeat(deed: Deed, buffers: Map<number | null, number | null>): boolean {
    const { builder } = this.#part;
    switch (deed.kind) {
      case 'input':
        buffers.set(deed.buffer, this.#row(deed.i).buffer);
        break;
      case 'output':
        buffers.set(deed.buffer, this.output(deed.i).buffer);
        break;
      case 'scratch':
        buffers.set(deed.buffer, this.#part.newRow(deed.dtype, deed.dims).buffer);
        break;
      case 'literal':
        buffers.set(deed.buffer, this.#part.constant(deed.tensor).buffer);
        break;
      case 'packed':
        buffers.set(deed.buffer, builder.packed(this.#memory, deed.packer, deed.tensors, deed.params));
        break;
      case 'alias':
        this.alias(deed.i, deed.j);
        break;
      case 'elementwise':
        return this.#repeatElementwise(deed, buffers);
      case 'step': {
        const now = deed.buffers.map((buffer) => buffers.get(buffer) as number | null);
        builder.stepOn(this.#node, deed.kernel, now, deed.params);
      }
    }
    return true;
  }

  #repeatElementwise(
    deed: Extract<Deed, { kind: 'elementwise' }>,
    buffers: Map<number | null, number | null>,
  ): boolean {
    const view = this.#elementwise(deed.only);
    if (!sameMemory(deed, view)) return false;
    deed.inputs.forEach((buffer, i) => {
      buffers.set(buffer, view.inputs[i]?.operand.buffer ?? null);
    });
    buffers.set(deed.output, view.output.buffer);
    return true;
  }

  /** The layout an elementwise operation keeps: that of an input of the result's shape, where the others can follow. */
  #commonLayout(values: readonly (Value | null)[], result: Value): SegmentLayout | undefined {
    const { dtype, dims } = this.#facts.typeOf(result);
    if (dtype !== 'float32') return undefined;
    let layout: SegmentLayout | undefined;
    for (const value of values) {
      if (!value) continue;
      const type = this.#facts.typeOf(value);
      if (type.dtype !== 'float32') return undefined;
      if (sameShape(type.dims, dims)) {
        const own = this.#part.segmentsOf(value);
        layout ??= own;
        if (own && layout && !own.samePositions(layout)) return undefined;
      }
    }
    if (!layout) return undefined;
    const fits = values.every((value) => !value || followsLayout(this.#facts.typeOf(value).dims, dims, layout));
    return fits ? layout : undefined;
  }

  #elementwiseOperand(value: Value, layout: SegmentLayout | undefined, result: Value): Operand {
    const whole = layout && sameShape(this.#facts.typeOf(value).dims, this.#facts.typeOf(result).dims);
    return whole ? this.#part.segmentsAlike(value, layout, this.#node) : this.#part.row(value, this.#node);
  }

  #reusable(value: Value, operand: Operand | null, result: Value, layout: SegmentLayout | undefined): boolean {
    if (!operand || !this.#facts.diesAt(value, this.#node)) return false;
    const from = this.#facts.typeOf(value);
    const to = this.#facts.typeOf(result);
    if (from.dtype !== to.dtype || !sameShape(from.dims, to.dims) || sizeOf(to.dims) === 0) return false;
    if (!this.#part.isPrivate(operand.buffer)) return false;
    const form = this.#part.onlyForm(value);
    return layout ? operand.layout === layout && form?.layout === layout : form !== undefined;
  }

  #takeOver(result: Value, operand: Operand, layout: SegmentLayout | undefined): Operand {
    const { dtype, dims } = this.#facts.typeOf(result);
    if (layout) this.#part.setSegments(result, operand, layout);
    else this.#part.setRow(result, { dtype, dims, buffer: operand.buffer });
    return operand;
  }

  #fresh(result: Value, layout: SegmentLayout | undefined): Operand {
    if (layout) return this.#part.newSegments(result, layout);
    const { dtype, dims } = this.#facts.typeOf(result);
    const operand = this.#part.newRow(dtype, dims);
    this.#part.setRow(result, operand);
    return operand;
  }
}

/** True where an operand of these dims can be walked beside a map of `whole`: same shape, one number, or per feature. */
function followsLayout(dims: readonly number[], whole: readonly number[], layout: SegmentLayout): boolean {
  if (sameShape(dims, whole) || sizeOf(dims) === 1) return true;
  if (sizeOf(dims) !== layout.size.c) return false;
  const at = layout.axis === 'rows' ? whole.length - 1 : 1;
  return dims[dims.length - (whole.length - at)] === layout.size.c;
}
