/** Arithmetic that spells out an activation becomes one node, which epilogues can take over. */

import { type Attribute, type Graph, makeConstant, type Node, tensorType, type Value } from '../ir/graph.ts';
import { fromNumbers } from '../ir/tensor.ts';
import { everyGraph, GraphEditor, type NodeSpec } from './editor.ts';
import {
  bothWays,
  dtypeOf,
  float,
  floatAttribute,
  isNumber,
  isOp,
  keepsRank,
  producedBy,
  scalarOf,
  scaled,
  string,
} from './match.ts';
import type { Pass } from './pass.ts';
import { isPolynomial, type Polynomial, polynomialIn } from './polynomial.ts';

/** coefficient * x * factor. */
interface Product {
  readonly coefficient: number;
  readonly x: Value;
  readonly factor: Value;
}

/** Constants are rounded to the tensor's type by exporters, and sometimes written with few digits. */
function slackOf(value: Value): number {
  const dtype = dtypeOf(value);
  return dtype === 'float16' || dtype === 'bfloat16' ? 8e-3 : 2e-6;
}

const near = (a: number, b: number, slack: number): boolean => Math.abs(a - b) <= Math.abs(b) * slack;

/** The ways to see a value as a product of two others, numbers taken out of it or not. */
function* productsOf(value: Value): Generator<Product> {
  const whole = scaled(value);
  const node = whole ? whole[0].producer : value.producer;
  for (const [x, factor] of isOp(node, 'Mul') ? bothWays(node) : []) {
    const outer = whole ? whole[1] : 1;
    const [left, right] = [scaled(x), scaled(factor)];
    yield { coefficient: outer, x, factor };
    if (left) yield { coefficient: outer * left[1], x: left[0], factor };
    if (right) yield { coefficient: outer * right[1], x, factor: right[0] };
  }
}

/** The other addend where one is 1. */
function besideOne(value: Value): Value | undefined {
  const node = producedBy(value, 'Add');
  return node && bothWays(node).find(([, one]) => isNumber(one, 1))?.[0];
}

const GELU_SLOPE = Math.sqrt(2 / Math.PI);

function geluOf(x: Value, approximate: boolean): NodeSpec {
  const attributes: Record<string, Attribute> = approximate ? { approximate: string('tanh') } : {};
  return { op: 'Gelu', version: 20, inputs: [x], attributes };
}

function gelu({ coefficient, x, factor }: Product): NodeSpec | undefined {
  const inner = near(coefficient, 0.5, slackOf(x)) ? besideOne(factor)?.producer : undefined;
  if (!isOp(inner, 'Erf', 'Tanh')) return undefined;
  const argument = polynomialIn(x, inner.inputs[0]);
  const exact = inner.op === 'Erf';
  const expected = exact ? [0, Math.SQRT1_2] : [0, GELU_SLOPE, 0, GELU_SLOPE * 0.044715];
  if (!isPolynomial(argument, expected, slackOf(x))) return undefined;
  return geluOf(x, !exact);
}

function swish({ coefficient, x, factor }: Product): NodeSpec | undefined {
  const gate = producedBy(factor, 'Sigmoid');
  const argument = gate && coefficient === 1 ? polynomialIn(x, gate.inputs[0]) : undefined;
  if (argument?.length !== 2 || argument[0] !== 0) return undefined;
  return { op: 'Swish', version: 24, inputs: [x], attributes: { alpha: float(argument[1]) } };
}

function mish({ coefficient, x, factor }: Product): NodeSpec | undefined {
  const inner = producedBy(producedBy(factor, 'Tanh')?.inputs[0], 'Softplus');
  return coefficient === 1 && inner?.inputs[0] === x ? { op: 'Mish', version: 18, inputs: [x] } : undefined;
}

/** Bounds of a Clip that are known, infinite where it has none. */
function boundsOf(node: Node): readonly [number, number] | undefined {
  const bound = (i: number, name: string, none: number): number | undefined => {
    if (node.version < 11) return floatAttribute(node, name, none);
    return node.inputs[i] ? scalarOf(node.inputs[i]) : none;
  };
  const low = bound(1, 'min', Number.NEGATIVE_INFINITY);
  const high = bound(2, 'max', Number.POSITIVE_INFINITY);
  return low === undefined || high === undefined ? undefined : [low, high];
}

/** The slope and shift of a hard sigmoid of `x`, coefficient included: clip(x * slope + shift, 0, 1). */
function hardSigmoidOf(x: Value, value: Value, coefficient: number): Polynomial | undefined {
  const given = producedBy(value, 'HardSigmoid');
  if (given && given.inputs[0] === x && coefficient === 1) {
    return [floatAttribute(given, 'beta', 0.5), floatAttribute(given, 'alpha', 0.2)];
  }
  const clip = producedBy(value, 'Clip');
  const bounds = clip && boundsOf(clip);
  if (!clip || bounds?.[0] !== 0 || !near(coefficient * bounds[1], 1, slackOf(x))) return undefined;
  const argument = polynomialIn(x, clip.inputs[0]);
  return argument?.length === 2 ? argument.map((c) => c * coefficient) : undefined;
}

function hardSwish({ coefficient, x, factor }: Product): NodeSpec | undefined {
  const line = hardSigmoidOf(x, factor, coefficient);
  return isPolynomial(line, [0.5, 1 / 6], slackOf(x)) ? { op: 'HardSwish', version: 14, inputs: [x] } : undefined;
}

/** The value that numbers are added to and multiplied with. */
function variableOf(value: Value): Value {
  const node = value.producer;
  if (!isOp(node, 'Add', 'Sub', 'Mul', 'Div')) return value;
  const [a, b] = node.inputs;
  const next = scalarOf(b) !== undefined ? a : scalarOf(a) !== undefined && node.op !== 'Div' ? b : undefined;
  return next && !next.constant ? variableOf(next) : value;
}

/** clip(x + 3, 0, 6) / 6 and its like. */
function hardSigmoid(value: Value): NodeSpec | undefined {
  const [clipped, coefficient] = scaled(value) ?? [value, 1];
  const argument = producedBy(clipped, 'Clip')?.inputs[0];
  const x = argument && variableOf(argument);
  const line = x && hardSigmoidOf(x, clipped, coefficient);
  if (!line || !x || (x === argument && coefficient === 1)) return undefined;
  return {
    op: 'HardSigmoid',
    version: 6,
    inputs: [x],
    attributes: { alpha: float(line[1]), beta: float(line[0]) },
  };
}

/** Max and Min with a number; a Min after a Max joins it. */
function clip(node: Node): NodeSpec | undefined {
  if (!isOp(node, 'Max', 'Min') || node.version < 8) return undefined;
  for (const [x, constant] of bothWays(node)) {
    const number = scalarOf(constant);
    if (number === undefined || Number.isNaN(number) || x.constant || !keepsRank(x, constant)) continue;
    const dtype = dtypeOf(x) ?? 'float32';
    const bound = (v: number): Value => makeConstant(`${node.name}_bound`, fromNumbers(dtype, [], [v]));
    if (node.op === 'Max') return { op: 'Clip', version: 13, inputs: [x, bound(number)] };
    const inner = producedBy(x, 'Clip');
    const bounds = inner && boundsOf(inner);
    if (!inner || !bounds || bounds[1] !== Number.POSITIVE_INFINITY) {
      return { op: 'Clip', version: 13, inputs: [x, null, bound(number)] };
    }
    return { op: 'Clip', version: 13, inputs: [inner.inputs[0], bound(bounds[0]), bound(number)] };
  }
  return undefined;
}

/** The standard's node for one of com.microsoft without a bias. */
function standard(node: Node): NodeSpec | undefined {
  const [x, bias] = node.inputs;
  if (node.domain !== 'com.microsoft' || bias || !x) return undefined;
  if (node.op === 'Gelu' || node.op === 'FastGelu') return geluOf(x, node.op === 'FastGelu');
  if (node.op !== 'QuickGelu') return undefined;
  return { op: 'Swish', version: 24, inputs: [x], attributes: { alpha: float(floatAttribute(node, 'alpha', 1.702)) } };
}

/** Takes the bias out of a biased activation, so that a linear layer can have it. */
function splitBias(editor: GraphEditor, node: Node): NodeSpec | undefined {
  const [x, bias] = node.inputs;
  if (node.domain !== 'com.microsoft' || !['BiasGelu', 'FastGelu'].includes(node.op) || !x || !bias) return undefined;
  const sum = editor.insert(node, { op: 'Add', version: 14, inputs: [x, bias] });
  const value = sum.outputs[0] as Value;
  value.type = x.type?.kind === 'tensor' ? tensorType(x.type.dtype, x.type.shape) : undefined;
  return geluOf(value, node.op === 'FastGelu');
}

const floats = ['float16', 'bfloat16', 'float32', 'float64'];

function activationOf(editor: GraphEditor, node: Node): NodeSpec | undefined {
  const output = node.outputs[0];
  if (!output || !floats.includes(dtypeOf(output) ?? '')) return undefined;
  if (isOp(node, 'Mul', 'Div')) {
    for (const product of productsOf(output)) {
      const found = gelu(product) ?? swish(product) ?? hardSwish(product) ?? mish(product);
      if (found) return found;
    }
  }
  if (isOp(node, 'Mul', 'Div', 'Clip')) return hardSigmoid(output);
  return clip(node) ?? standard(node) ?? splitBias(editor, node);
}

function fuse(graph: Graph): boolean {
  const editor = new GraphEditor(graph);
  let changed = false;
  for (const node of [...graph.nodes]) {
    const found = activationOf(editor, node);
    if (!found) continue;
    editor.fuse([node], node, found);
    changed = true;
  }
  return changed;
}

export const fuseActivations: Pass = { name: 'fuse-activations', run: (graph) => everyGraph(graph, fuse) };
