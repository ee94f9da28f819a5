/** Values as planning knows them: types with concrete shapes, and contents where they are known. */

import type { DType } from '../ir/dtype.ts';
import type { HostTensor } from '../ir/tensor.ts';

/** A tensor of known type and shape. */
export interface TypedTensor {
  readonly kind: 'tensor';
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Content that every run shares. */
  readonly content?: HostTensor;
  /** Content of this run alone: a plan that looks at it holds for this content only. */
  readonly momentary?: HostTensor;
}

/** A sequence, optional or map: only references handle it. */
export interface Opaque {
  readonly kind: 'opaque';
}

export type Typed = TypedTensor | Opaque;
