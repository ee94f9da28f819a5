/** What an operator's `lower` sees: concrete shapes, buffers, and the steps it may emit. */

import type { DType } from '../ir/dtype.ts';
import type { SegmentLayout } from '../ir/segments.ts';
import type { HostTensor } from '../ir/tensor.ts';
import type { NodeReader } from './op.ts';

/** A place where a step reads or writes: one plan buffer with what it holds. */
export interface Operand {
  readonly dtype: DType;
  /** Row-major dimensions; in the segment layout [tiles, channels, 16]. */
  readonly dims: readonly number[];
  /** Number of the buffer in the plan. */
  readonly buffer: number;
  /** How the content lies where it is not row-major. */
  readonly layout?: SegmentLayout;
  /** First of its channels in the map of `layout`, which may have others beside them; 0 where it is not given. */
  readonly channel?: number;
}

/** Parameters of a step, by the names of the kernel's signature, every one given. A layout stands for its 16 integers. */
export type StepParams = Readonly<Record<string, number | bigint | boolean | readonly number[] | SegmentLayout>>;

/** An input of an elementwise operation: strides in elements over the view's dims, 0 where it repeats. */
export interface ElementwiseInput {
  readonly operand: Operand;
  readonly strides: readonly number[];
}

/**
 * One pass over all elements of an elementwise operation, whatever layout the values lie in. Neighbouring dimensions
 * that all operands walk alike are merged, so same-shaped operands give one dimension.
 */
export interface ElementwiseView {
  readonly dims: readonly number[];
  /** In the order of the node's inputs; null for an omitted one. */
  readonly inputs: readonly (ElementwiseInput | null)[];
  /** Dense over dims. May share memory with an input of the same shape that nobody reads afterwards. */
  readonly output: Operand;
}

/** What an operator's `lower` may do. */
export interface LowerContext extends NodeReader {
  dims(i: number): readonly number[];
  dtype(i: number): DType;
  /** Dimensions of output `i`. */
  outputDims(i: number): readonly number[];
  outputDtype(i: number): DType;
  /** Content of input `i` where it is known at planning. */
  constant(i: number): HostTensor | undefined;
  integers(i: number): number[] | undefined;
  /** Row-major buffer of input `i`; throws where it is omitted. */
  input(i: number): Operand;
  /** Row-major buffer of output `i`. */
  output(i: number): Operand;
  /**
   * For operators whose first output is an elementwise function of broadcast inputs: call once instead of input() and
   * output(); keeps the layout of the inputs where it can. `only` names the inputs that take part (others are read by
   * constant()).
   */
  elementwise(only?: readonly number[]): ElementwiseView;
  /** A temporary that lives for this node's steps. */
  scratch(dtype: DType, dims: readonly number[]): Operand;
  /** A constant tensor made at planning, kept with the session under `key` within this node. */
  literal(key: string, make: () => HostTensor): Operand;
  /** A native packing of constant operands, made once a session for the same node, packer and parameters. */
  packed(packer: string, sources: readonly (Operand | null)[], params: StepParams): Operand;
  /** Output `i` is input `j`'s bytes under the output's shape; nothing is copied. */
  alias(i: number, j: number): void;
  /** One kernel call. Operands in the order of the kernel's arguments, null for an omitted one. */
  step(kernel: string, operands: readonly (Operand | null)[], params?: StepParams): void;
  /** True where the addon has the kernel. */
  hasKernel(kernel: string): boolean;

  /** Layout in which input `i` lies already, besides or instead of row-major. */
  segmentsOf(i: number): SegmentLayout | undefined;
  /**
   * Input `i` in a segment layout with at least the borders of `layout`: as it lies, converted, or loaded from
   * row-major. With `fill` the borders and the lanes outside the image hold that value or the neighbouring segment's
   * positions, without it they hold anything. The operand's layout is the one to hand to kernels.
   */
  inputSegments(i: number, layout: SegmentLayout, fill?: number): Operand;
  /** Output `i` in a segment layout; the operand's layout also has the borders that later windows need. */
  outputSegments(i: number, layout: SegmentLayout): Operand;
  /**
   * Joins the channels of all inputs in output 0, in a segment layout. Nothing is copied of what was written where the
   * result lies.
   */
  joinSegments(layout: SegmentLayout): void;
  /** Output `i` is the channels of input `j` from `channel` on, in the segments where they lie; nothing is copied. */
  sliceSegments(i: number, j: number, channel: number): void;
  /** Output `i` written over input `j` in the layout it lies in; undefined where somebody still reads `j`. */
  outputInPlace(i: number, j: number): Operand | undefined;
  /** Product of the strides (rows, columns) of the windows that follow output `i`, for choosing tiles. */
  stridesAhead(i: number): readonly [number, number];
  /** Share of nonzero elements of constant input `i`. */
  density(i: number): number;
  /** Share of blocks of four neighbours along `axis` of constant input `i`, of bytes, that have a nonzero element. */
  blockDensity(i: number, axis: number): number;
  /**
   * The number first given under `key` for this node in the session: for parameters of packings that only set the pace,
   * so that other shapes share the packing.
   */
  once(key: string, value: number): number;
  /** True where products may round their operands to bfloat16, and the addon has kernels that do. */
  readonly bf16: boolean;
  /** Floats of a vector of the kernels. */
  readonly vectorLanes: number;
  /** Threads a run may use. */
  readonly threads: number;
}
