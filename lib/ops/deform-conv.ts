/** Deformable convolution: every kernel tap samples the input at a learned offset, by multilinear interpolation. */

import { tensorType } from '../ir/graph.ts';
import { type Shape, shapeText, sizeOf, stridesOf } from '../ir/shape.ts';
import { fromNumbers, type HostTensor, toNumbers } from '../ir/tensor.ts';
import { type ConvProblem, convAttributes, convProblem, convShape, filledWithBias } from './conv.ts';
import { expectSame, floatKinds } from './elements.ts';
import { defineOp, type NodeReader, type OpDefinition, type ReferenceContext } from './op.ts';

function checkOperand(ctx: NodeReader, what: string, dims: readonly number[], want: readonly number[]): void {
  if (dims.length === want.length && dims.every((dim, i) => dim === want[i])) return;
  throw ctx.error(`the ${what} is ${shapeText(dims)}, expected ${shapeText(want)}`);
}

function offsetGroup(ctx: NodeReader, channels: number): number {
  const group = ctx.int('offset_group', 1);
  if (group < 1 || channels % group !== 0) {
    throw ctx.error(`"offset_group" is ${group}, expected a divisor of the ${channels} channels`);
  }
  return group;
}

/** The corners around a point with their weights; corners outside the input are left out. */
interface Corners {
  count: number;
  readonly index: Int32Array;
  readonly weight: Float64Array;
}

function findCorners(point: Float64Array, input: readonly number[], strides: readonly number[], out: Corners): void {
  const rank = input.length;
  out.count = 0;
  for (let corner = 0; corner < 1 << rank; corner++) {
    let weight = 1;
    let index = 0;
    for (let i = 0; i < rank && weight !== 0; i++) {
      const floor = Math.floor(point[i]);
      const upper = (corner >> i) & 1;
      const at = floor + upper;
      weight = at >= 0 && at < input[i] ? weight * (upper ? point[i] - floor : 1 - (point[i] - floor)) : 0;
      index += at * strides[i];
    }
    if (weight === 0) continue;
    out.index[out.count] = index;
    out.weight[out.count++] = weight;
  }
}

/** Calls `visit` with the corners of every sample: batch, offset group, tap, output position. */
function forEachSample(
  p: ConvProblem,
  groups: number,
  offset: Float64Array,
  n: number,
  position: number,
  visit: (group: number, tap: number, corners: Corners) => void,
): void {
  const { input, output, kernel, strides, dilations, begin } = p.window;
  const rank = input.length;
  const plane = sizeOf(output);
  const taps = sizeOf(kernel);
  const outStrides = stridesOf(output);
  const tapStrides = stridesOf(kernel);
  const inStrides = stridesOf(input);
  const point = new Float64Array(rank);
  const corners: Corners = { count: 0, index: new Int32Array(1 << rank), weight: new Float64Array(1 << rank) };
  for (let g = 0; g < groups; g++) {
    for (let tap = 0; tap < taps; tap++) {
      const row = ((n * groups + g) * taps + tap) * rank;
      for (let i = 0; i < rank; i++) {
        const o = Math.floor(position / outStrides[i]) % output[i];
        const k = Math.floor(tap / tapStrides[i]) % kernel[i];
        point[i] = o * strides[i] + k * dilations[i] - begin[i] + offset[(row + i) * plane + position];
      }
      findCorners(point, input, inStrides, corners);
      visit(g, tap, corners);
    }
  }
}

function deformReference(ctx: ReferenceContext): HostTensor[] {
  const [xt, wt, ot] = [ctx.tensor(0), ctx.tensor(1), ctx.tensor(2)];
  const bias = ctx.optional(3);
  const p = convProblem(ctx, xt.dims, wt.dims, bias?.dims);
  const { batch, channels, outputs, group, window } = p;
  const rank = window.input.length;
  if (rank > 3) throw ctx.error(`there are ${rank} spatial axes, expected at most 3`);
  const taps = sizeOf(window.kernel);
  const groups = offsetGroup(ctx, channels);
  checkOperand(ctx, 'offset', ot.dims, [batch, groups * taps * rank, ...window.output]);
  const mt = ctx.optional(4);
  if (mt) checkOperand(ctx, 'mask', mt.dims, [batch, groups * taps, ...window.output]);
  const [x, weight, offset] = [toNumbers(xt), toNumbers(wt), toNumbers(ot)];
  const mask = mt && toNumbers(mt);
  const inPlane = sizeOf(window.input);
  const plane = sizeOf(window.output);
  const y = filledWithBias(p.dims, bias);
  const column = new Float64Array(channels * taps);
  const perOffset = channels / groups;
  const depth = (channels / group) * taps;
  for (let n = 0; n < batch; n++) {
    for (let position = 0; position < plane; position++) {
      forEachSample(p, groups, offset, n, position, (g, tap, corners) => {
        const scale = mask ? mask[((n * groups + g) * taps + tap) * plane + position] : 1;
        for (let c = g * perOffset; c < (g + 1) * perOffset; c++) {
          const base = (n * channels + c) * inPlane;
          let sum = 0;
          for (let i = 0; i < corners.count; i++) sum += corners.weight[i] * x[base + corners.index[i]];
          column[c * taps + tap] = sum * scale;
        }
      });
      for (let m = 0; m < outputs; m++) {
        const from = Math.floor((m * group) / outputs) * depth;
        let sum = 0;
        for (let i = 0; i < depth; i++) sum += weight[m * depth + i] * column[from + i];
        y[(n * outputs + m) * plane + position] += sum;
      }
    }
  }
  return [fromNumbers(xt.dtype, p.dims, y)];
}

function deformShape(ctx: NodeReader, x: Shape | undefined, weight: Shape | undefined, bias: Shape | undefined) {
  if (x && typeof x[1] === 'number') offsetGroup(ctx, x[1]);
  return convShape(ctx, x, weight, bias);
}

export const deformConvOps: readonly OpDefinition[] = [
  defineOp({
    name: 'DeformConv',
    since: [19, 22],
    inputs: [3, 5],
    outputs: [1, 1],
    attributes: { ...convAttributes, offset_group: 'int' },
    infer: (ctx) => [
      tensorType(expectSame(ctx, 5, floatKinds), deformShape(ctx, ctx.shape(0), ctx.shape(1), ctx.shape(3))),
    ],
    reference: deformReference,
  }),
];
