/** MatMul and Gemm with constant weights become linear layers; bias, residual and activation join their epilogue. */

import type { Attribute, Graph, Node, Value } from '../ir/graph.ts';
import { makeConstant } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import { type HostTensor, tensor } from '../ir/tensor.ts';
import { fusableActivation } from './activations.ts';
import { everyGraph, GraphEditor } from './editor.ts';
import { isOp } from './match.ts';
import type { Pass } from './pass.ts';
import { sameDeclaredShape } from './shapes.ts';

const linear = { op: 'Linear', domain: 'filigree', version: 1 } as const;

function floatConstant(value: Value | null | undefined): HostTensor | undefined {
  const content = value?.constant;
  return content?.kind === 'tensor' && content.dtype === 'float32' ? content : undefined;
}

function number(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === 'float' || attribute?.type === 'int' ? attribute.value : fallback;
}

const rankOf = (value: Value | null | undefined): number | undefined =>
  value?.type?.kind === 'tensor' ? value.type.shape?.length : undefined;

/** The weights of a MatMul with a constant matrix on the right. */
function fromMatMul(editor: GraphEditor, node: Node): Node | undefined {
  const [x, w] = node.inputs;
  if (floatConstant(w)?.dims.length !== 2 || x?.constant || (rankOf(x) ?? 0) < 2) return undefined;
  return editor.fuse([node], node, { ...linear, inputs: [x, w] });
}

/** A Gemm without transA whose addend is one number a column; alpha and beta go into the constants. */
function fromGemm(editor: GraphEditor, node: Node): Node | undefined {
  const [x, w, c] = node.inputs;
  const weights = floatConstant(w);
  if (!weights || !w || weights.dims.length !== 2 || number(node, 'transA', 0) !== 0) return undefined;
  const transB = number(node, 'transB', 0);
  const columns = weights.dims[transB ? 0 : 1];
  const addend = c ? floatConstant(c) : undefined;
  if (c && !addend) return undefined;
  const alpha = number(node, 'alpha', 1);
  const beta = number(node, 'beta', 1);
  const size = addend ? sizeOf(addend.dims) : 0;
  if (addend && size !== 1 && (size !== columns || addend.dims.at(-1) !== columns)) return undefined;
  const scaled =
    alpha === 1
      ? w
      : constant(
          `${w.name}_scaled`,
          weights.dims,
          Float32Array.from(weights.data as Float32Array, (v) => v * alpha),
        );
  const bias =
    addend && c
      ? constant(
          `${c.name}_bias`,
          [columns],
          Float32Array.from({ length: columns }, (_, i) => beta * (addend.data[size === 1 ? 0 : i] as number)),
        )
      : null;
  const attributes: Record<string, Attribute> = { transB: { type: 'int', value: transB ? 1 : 0 } };
  return editor.fuse([node], node, { ...linear, inputs: bias ? [x, scaled, bias] : [x, scaled], attributes });
}

function constant(name: string, dims: readonly number[], data: Float32Array): Value {
  return makeConstant(name, tensor('float32', dims, data));
}

/** Number of columns of a linear layer. */
function columnsOf(node: Node): number {
  const weights = node.inputs[1]?.constant as HostTensor;
  return weights.dims[number(node, 'transB', 0) ? 0 : 1];
}

/** The layer with other inputs in the place of bias and residual. */
const withInputs = (node: Node, bias: Value | null, residual: Value | null): (Value | null)[] => {
  const [x, w, , , ...parameters] = node.inputs;
  const inputs = [x, w, bias, residual, ...parameters];
  while (inputs.at(-1) === null) inputs.pop();
  return inputs;
};

/** Takes the node that follows into the epilogue: first a bias, then a residual, last an activation. */
function grow(editor: GraphEditor, node: Node): Node | undefined {
  const output = node.outputs[0] as Value;
  const next = node.attributes.has('activation') ? undefined : editor.onlyReader(output);
  if (!next) return undefined;
  const { op, domain, version } = node;
  const attributes = Object.fromEntries(node.attributes);
  const activation = fusableActivation(next, output);
  if (activation) {
    const spec = { op, domain, version, inputs: node.inputs, attributes: { ...attributes, ...activation } };
    return editor.fuse([node, next], next, spec);
  }
  if (next.op !== 'Add' || next.domain !== '') return undefined;
  const other = next.inputs.find((input) => input !== output);
  const [, , bias, residual] = node.inputs;
  const added = floatConstant(other);
  if (added && other && !bias && !residual && added.dims.length === 1 && added.dims[0] === columnsOf(node)) {
    const inputs = withInputs(node, other, null);
    return editor.fuse([node, next], next, { op, domain, version, inputs, attributes });
  }
  if (!other || other.constant || residual) return undefined;
  if (!sameDeclaredShape(other, next.outputs[0] as Value, output)) return undefined;
  const inputs = withInputs(node, bias ?? null, other);
  return editor.fuse([node, next], next, { op, domain, version, inputs, attributes });
}

function linearFrom(editor: GraphEditor, node: Node): Node | undefined {
  if (node.domain === 'filigree' && node.op === 'DynamicLinear') return grow(editor, node);
  if (isOp(node, 'MatMul')) return fromMatMul(editor, node);
  return isOp(node, 'Gemm') ? fromGemm(editor, node) : undefined;
}

function fuse(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) {
    let made = linearFrom(editor, node);
    while (made) {
      changed = true;
      made = grow(editor, made);
    }
  }
  return changed;
}

export const fuseLinear: Pass = { name: 'fuse-linear', run: (graph) => everyGraph(graph, fuse) };
