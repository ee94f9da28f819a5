/** What an operator's `lower` sees: concrete shapes, buffers, and the steps it may emit. */

import type { DType } from '../ir/dtype.ts';
import type { HostTensor } from '../ir/tensor.ts';
import type { NodeReader } from './op.ts';

/** A place where a step reads or writes: one plan buffer with what it holds. */
export interface Operand {
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Number of the buffer in the plan. */
  readonly buffer: number;
}

/** Parameters of a step, by the names of the kernel's layout. Lists belong to the names that end with `*` there. */
export type StepParams = Readonly<Record<string, number | bigint | boolean | readonly number[]>>;

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
}
