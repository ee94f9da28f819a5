/** Einsum: parsing of the equation, and its evaluation as a chain of matrix products. */

import { tensorType, type ValueType } from '../ir/graph.ts';
import { type Dim, type Shape, shapeText, sizeOf, stridesOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { forEachRow } from './broadcast.ts';
import { expectSame, numberKinds } from './elements.ts';
import { defineOp, type InferContext, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';
import { fromProducts, multiplyAdd, type Numbers, numbersFor, zerosLike } from './product.ts';

/** Labels of the operands' and the output's axes. Ellipsis axes are labelled "-1" (the last), "-2" ... */
export interface Equation {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

/** Labels of one term; the ellipsis stands for `extra` axes, or throws where there is none to stand for them. */
function termLabels(ctx: NodeReader, term: string, rank: number | undefined, extra: number): string[] {
  const match = /^([A-Za-z]*)(\.\.\.)?([A-Za-z]*)$/.exec(term);
  if (!match) throw ctx.error(`the term "${term}" of the equation is neither letters nor an ellipsis`);
  const [, before, dots, after] = match;
  const letters = before.length + after.length;
  const hidden = rank === undefined ? extra : rank - letters;
  if (dots ? hidden < 0 : rank !== undefined && hidden !== 0) {
    throw ctx.error(`the term "${term}" names ${letters} axes, but the operand has ${rank}`);
  }
  const axes = dots ? Array.from({ length: hidden }, (_, i) => String(i - hidden)) : [];
  return [...before, ...axes, ...after];
}

export function parseEquation(ctx: NodeReader, ranks: readonly number[]): Equation {
  const [left, right, more] = ctx.string('equation').replace(/\s+/g, '').split('->');
  const terms = left.split(',');
  if (more !== undefined) throw ctx.error('the equation has two arrows');
  if (terms.length !== ranks.length) {
    throw ctx.error(`the equation has ${terms.length} terms for ${ranks.length} operands`);
  }
  const inputs = terms.map((term, i) => termLabels(ctx, term, ranks[i], 0));
  const all = inputs.flat();
  const hidden = [...new Set(all.filter((label) => label.startsWith('-')))].sort((a, b) => Number(a) - Number(b));
  if (right !== undefined) {
    const output = termLabels(ctx, right, undefined, hidden.length);
    if (new Set(output).size !== output.length) throw ctx.error(`the output "${right}" repeats an axis`);
    const unknown = output.find((label) => !all.includes(label));
    if (unknown !== undefined) throw ctx.error(`the output names "${unknown}", which no operand has`);
    return { inputs, output };
  }
  // Implicit output: the ellipsis, then the letters that occur once, in alphabetical order.
  const once = all.filter((label) => !label.startsWith('-') && all.filter((other) => other === label).length === 1);
  return { inputs, output: [...hidden, ...once.sort()] };
}

/** Sizes of the labels; a size of 1 gives way to any other. */
function labelSizes(ctx: NodeReader, equation: Equation, shapes: readonly Shape[]): Map<string, Dim> {
  const sizes = new Map<string, Dim>();
  equation.inputs.forEach((labels, i) => {
    labels.forEach((label, axis) => {
      const dim = shapes[i][axis];
      const held = sizes.get(label);
      if (
        held === undefined ||
        held === 1 ||
        (held !== dim && typeof dim === 'number' && typeof held !== 'number' && dim !== 1)
      ) {
        sizes.set(label, dim);
      } else if (typeof dim === 'number' && typeof held === 'number' && dim !== held && dim !== 1) {
        throw ctx.error(`axis "${label}" is ${held} in one operand and ${dim} in ${shapeText(shapes[i])}`);
      }
    });
  });
  return sizes;
}

/** An operand whose axes have distinct labels. */
interface Term {
  readonly labels: readonly string[];
  readonly values: Numbers;
  /** Strides of `labels`. */
  readonly strides: readonly number[];
}

/** Repeated labels become diagonals; axes of size 1 that others broadcast over are dropped. */
function makeTerm(t: HostTensor, labels: readonly string[], sizes: ReadonlyMap<string, number>): Term {
  const own = stridesOf(t.dims);
  const strides = new Map<string, number>();
  labels.forEach((label, axis) => {
    if (t.dims[axis] === 1 && sizes.get(label) !== 1) return;
    strides.set(label, (strides.get(label) ?? 0) + own[axis]);
  });
  return { labels: [...strides.keys()], values: numbersFor(t), strides: [...strides.values()] };
}

/** The term row-major in the order of `labels`, every other label summed out. */
function arrange(term: Term, labels: readonly string[], sizes: ReadonlyMap<string, number>): Numbers {
  const summed = term.labels.filter((label) => !labels.includes(label));
  const size = (label: string): number => sizes.get(label) as number;
  const stride = (label: string): number => term.strides[term.labels.indexOf(label)];
  const kept = labels.map(size);
  const y = zerosLike(term.values, sizeOf(kept));
  // Additions only, so bigints and doubles take the same way.
  const [to, from] = [y as Float64Array, term.values as Float64Array];
  const dims = [...kept, ...summed.map(size)];
  const out = [...stridesOf(kept), ...summed.map(() => 0)];
  forEachRow(dims, [out, [...labels, ...summed].map(stride)], (_, count, [o, p], [dO, dP]) => {
    for (let i = 0; i < count; i++) to[o + i * dO] += from[p + i * dP];
  });
  return y;
}

function rowMajor(labels: readonly string[], values: Numbers, sizes: ReadonlyMap<string, number>): Term {
  return { labels, values, strides: stridesOf(labels.map((label) => sizes.get(label) as number)) };
}

/** The product of two terms with the labels outside `kept` summed out. */
function contract(a: Term, b: Term, kept: ReadonlySet<string>, sizes: ReadonlyMap<string, number>): Term {
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const batch = shared.filter((label) => kept.has(label));
  const inner = shared.filter((label) => !kept.has(label));
  const rows = a.labels.filter((label) => !shared.includes(label) && kept.has(label));
  const columns = b.labels.filter((label) => !shared.includes(label) && kept.has(label));
  const count = (labels: readonly string[]): number => sizeOf(labels.map((label) => sizes.get(label) as number));
  const [m, k, n] = [count(rows), count(inner), count(columns)];
  const left = arrange(a, [...batch, ...rows, ...inner], sizes);
  const right = arrange(b, [...batch, ...inner, ...columns], sizes);
  const stack = count(batch);
  const y = zerosLike(left, stack * m * n);
  for (let s = 0; s < stack; s++) {
    const p = { values: left, at: s * m * k, row: k, column: 1 };
    const q = { values: right, at: s * k * n, row: n, column: 1 };
    multiplyAdd(p, q, y, s * m * n, [m, k, n]);
  }
  return rowMajor([...batch, ...rows, ...columns], y, sizes);
}

function einsum(ctx: ReferenceContext): HostTensor[] {
  const tensors = Array.from({ length: ctx.inputCount }, (_, i) => ctx.tensor(i));
  const shapes = tensors.map((t) => t.dims);
  const equation = parseEquation(
    ctx,
    shapes.map((dims) => dims.length),
  );
  const sizes = labelSizes(ctx, equation, shapes) as Map<string, number>;
  checkDiagonals(ctx, equation, shapes);
  const terms = tensors.map((t, i) => makeTerm(t, equation.inputs[i], sizes));
  let held = terms[0];
  for (let i = 1; i < terms.length; i++) {
    const kept = new Set([...equation.output, ...terms.slice(i + 1).flatMap((term) => term.labels)]);
    held = contract(held, terms[i], kept, sizes);
  }
  const dims = equation.output.map((label) => sizes.get(label) as number);
  return [fromProducts(tensors[0].dtype, dims, arrange(held, equation.output, sizes))];
}

/** A label repeated within one operand needs equal sizes there. */
function checkDiagonals(ctx: NodeReader, equation: Equation, shapes: readonly (readonly number[])[]): void {
  equation.inputs.forEach((labels, i) => {
    labels.forEach((label, axis) => {
      if (shapes[i][axis] !== shapes[i][labels.indexOf(label)]) {
        throw ctx.error(`axis "${label}" is repeated with different sizes in ${shapeText(shapes[i])}`);
      }
    });
  });
}

function einsumInfer(ctx: InferContext): ValueType[] {
  const dtype = expectSame(ctx, ctx.inputCount, numberKinds);
  const shapes = Array.from({ length: ctx.inputCount }, (_, i) => ctx.shape(i));
  if (!shapes.every((shape) => shape !== undefined)) return [tensorType(dtype, undefined)];
  const known = shapes as Shape[];
  const equation = parseEquation(
    ctx,
    known.map((shape) => shape.length),
  );
  const sizes = labelSizes(ctx, equation, known);
  return [
    tensorType(
      dtype,
      equation.output.map((label) => sizes.get(label) ?? null),
    ),
  ];
}

export const einsumOps: readonly OpDefinition[] = [
  defineOp({
    name: 'Einsum',
    since: [12, 28],
    inputs: [1, Number.POSITIVE_INFINITY],
    outputs: [1, 1],
    attributes: { equation: 'string' },
    infer: einsumInfer,
    reference: einsum,
  }),
];
