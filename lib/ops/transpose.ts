/** Transpose, DepthToSpace, SpaceToDepth. */

import { tensorType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, stridesOf } from '../ir/shape.ts';
import { type HostTensor, reshaped } from '../ir/tensor.ts';
import { keepsFirst } from './keeps-rows.ts';
import { lowerMove } from './lower-movement.ts';
import { strided } from './movement.ts';
import { defineOp, type NodeReader, type OpDefinition } from './op.ts';

/** The tensor with its axes in the order `perm`. */
export function transposed(t: HostTensor, perm: readonly number[]): HostTensor {
  const strides = stridesOf(t.dims);
  return strided(
    t,
    perm.map((axis) => t.dims[axis]),
    perm.map((axis) => strides[axis]),
  );
}

function permutation(ctx: NodeReader, rank: number): readonly number[] {
  if (!ctx.hasAttribute('perm')) return Array.from({ length: rank }, (_, i) => rank - 1 - i);
  const perm = ctx.ints('perm');
  const axes = new Set(perm);
  if (perm.length !== rank || axes.size !== rank || perm.some((axis) => axis < 0 || axis >= rank)) {
    throw ctx.error(`perm [${perm.join(',')}] is not a permutation of ${rank} axes`);
  }
  return perm;
}

/** Checked block size of the two block operators. */
function blockSize(ctx: NodeReader): number {
  const block = ctx.int('blocksize');
  if (block < 1) throw ctx.error(`blocksize is ${block}, expected at least 1`);
  return block;
}

/** True for depth-column-row order, false for column-row-depth. */
function depthFirst(ctx: NodeReader): boolean {
  const mode = ctx.string('mode', 'DCR');
  if (mode !== 'DCR' && mode !== 'CRD') throw ctx.error(`mode is "${mode}", expected "DCR" or "CRD"`);
  return mode === 'DCR';
}

const times = (dim: Dim, factor: number): Dim => (typeof dim === 'number' ? dim * factor : factor === 1 ? dim : null);

function over(ctx: NodeReader, dim: Dim, divisor: number): Dim {
  if (typeof dim !== 'number') return divisor === 1 ? dim : null;
  if (dim % divisor !== 0) throw ctx.error(`a size of ${dim} is not a multiple of ${divisor}`);
  return dim / divisor;
}

function blockShape(ctx: NodeReader, shape: Shape | undefined, toSpace: boolean): Dim[] {
  if (!shape) return [null, null, null, null];
  if (shape.length !== 4) throw ctx.error(`the input is ${shapeText(shape)}, expected [N,C,H,W]`);
  const block = blockSize(ctx);
  const [n, c, h, w] = shape;
  if (toSpace) return [n, over(ctx, c, block * block), times(h, block), times(w, block)];
  return [n, times(c, block * block), over(ctx, h, block), over(ctx, w, block)];
}

/** Either operator as a transpose: the input's shape with its blocks apart, and the order of those axes. */
function blockMove(
  ctx: NodeReader,
  x: readonly number[],
  toSpace: boolean,
): { split: readonly number[]; perm: readonly number[] } {
  const dims = blockShape(ctx, x, toSpace) as number[];
  const block = blockSize(ctx);
  const dcr = depthFirst(ctx);
  if (toSpace) {
    const [n, c, h, w] = [x[0], dims[1], x[2], x[3]];
    const split = dcr ? [n, block, block, c, h, w] : [n, c, block, block, h, w];
    return { split, perm: dcr ? [0, 3, 4, 1, 5, 2] : [0, 1, 4, 2, 5, 3] };
  }
  const split = [x[0], x[1], dims[2], block, dims[3], block];
  return { split, perm: dcr ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4] };
}

function blockOp(name: 'DepthToSpace' | 'SpaceToDepth', since: readonly number[]): OpDefinition {
  const toSpace = name === 'DepthToSpace';
  return defineOp({
    name,
    since,
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { blocksize: 'int', mode: 'string' },
    traits: ['movement'],
    infer: (ctx) => [tensorType(ctx.dtype(0), blockShape(ctx, ctx.shape(0), toSpace))],
    keepsRows: keepsFirst,
    reference: (ctx) => {
      const x = ctx.tensor(0);
      const { split, perm } = blockMove(ctx, x.dims, toSpace);
      return [reshaped(transposed(reshaped(x, split), perm), blockShape(ctx, x.dims, toSpace) as number[])];
    },
    lower: (ctx) => {
      const { split, perm } = blockMove(ctx, ctx.dims(0), toSpace);
      const strides = stridesOf(split);
      return lowerMove(
        ctx,
        perm.map((axis) => split[axis]),
        perm.map((axis) => strides[axis]),
      );
    },
  });
}

export const transposeOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Transpose',
    since: [1, 13, 21, 23, 24, 25],
    inputs: [1, 1],
    outputs: [1, 1],
    attributes: { perm: 'ints' },
    traits: ['movement'],
    infer: (ctx) => {
      const shape = ctx.shape(0);
      if (!shape) return [tensorType(ctx.dtype(0), undefined)];
      return [
        tensorType(
          ctx.dtype(0),
          permutation(ctx, shape.length).map((axis) => shape[axis]),
        ),
      ];
    },
    keepsRows: (node, { ranks }) => (node.ints('perm', []).length ? node.ints('perm')[0] === 0 : ranks[0] === 1),
    reference: (ctx) => {
      const x = ctx.tensor(0);
      return [transposed(x, permutation(ctx, x.dims.length))];
    },
    lower: (ctx) => {
      const dims = ctx.dims(0);
      const strides = stridesOf(dims);
      const perm = permutation(ctx, dims.length);
      return lowerMove(
        ctx,
        perm.map((axis) => dims[axis]),
        perm.map((axis) => strides[axis]),
      );
    },
  }),
  blockOp('DepthToSpace', [1, 11, 13, 28]),
  blockOp('SpaceToDepth', [1, 13, 28]),
];
