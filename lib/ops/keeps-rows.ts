/** Where the items of a batch stay apart: what the `keepsRows` of operators have in common. */

import { type NodeReader, type OpDefinition, type RowInputs, sparesRows } from './op.ts';

type KeepsRows = NonNullable<OpDefinition['keepsRows']>;

/** True where input 0 has a row for each item, and all other inputs are the same for all. */
export function firstAlone({ shared }: RowInputs): boolean {
  return !shared[0] && shared.slice(1).every(Boolean);
}

/** For operators that treat each item of input 0 by itself, with parameters that all share. */
export const keepsFirst: KeepsRows = (_, inputs) => firstAlone(inputs);

/** The same, for operators that work along one axis of input 0. */
export function keepsBeside(axis: (node: NodeReader, inputs: RowInputs) => number | undefined): KeepsRows {
  return (node, inputs) => {
    const along = axis(node, inputs);
    return firstAlone(inputs) && along !== undefined && sparesRows(along, inputs.ranks[0]);
  };
}

/** True where none of the axes, which have to be known, is that of the items. */
export function spareRows(axes: readonly number[] | undefined, rank: number): boolean {
  return axes?.every((axis) => sparesRows(axis, rank)) ?? false;
}

/** Axes that are the attribute `name` before version `since` and input `i` from there on; undefined where neither is known. */
export function axesOf(
  node: NodeReader,
  { numbers }: RowInputs,
  [name, i, since]: readonly [name: string, i: number, since: number],
): readonly number[] | undefined {
  if (node.version < since) return node.hasAttribute(name) ? node.ints(name) : undefined;
  return numbers(i);
}

/** True where input `i`, which broadcasts to [items, ...] of rank `rank`, is the same for all items or has a row for each. */
export function alignsRows({ shared, ranks, dims }: RowInputs, i: number, rank: number): boolean {
  if (i >= shared.length) return true;
  return shared[i] ? ranks[i] < rank || dims[i][0] === 1 : ranks[i] === rank;
}

/** For products of matrices in inputs `a` and `b`, stacked or not. */
export function keepsProductRows(a: number, b: number): KeepsRows {
  return (_, inputs) => {
    const { ranks, shared } = inputs;
    const rank = Math.max(ranks[a], ranks[b]);
    if (rank > 2) return alignsRows(inputs, a, rank) && alignsRows(inputs, b, rank);
    return ranks[a] === 2 && !shared[a] && shared[b];
  };
}
