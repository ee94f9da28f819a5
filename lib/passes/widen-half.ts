/**
 * Models of half precision compute in float32: float16 and bfloat16 stay where values enter, leave, or are converted by
 * the model itself, and everything between is at least as exact and has kernels.
 */

import type { DType } from '../ir/dtype.ts';
import { decodedFloats } from '../ir/float.ts';
import { bodiesOf, type Graph, makeConstant, makeValue, type Node, readsOf, type Value } from '../ir/graph.ts';
import { sizeOf } from '../ir/shape.ts';
import type { HostTensor } from '../ir/tensor.ts';
import { dtypeOf, int } from './match.ts';
import type { Pass } from './pass.ts';

const FLOAT32 = 1;
const onnxNumbers: Partial<Record<DType, number>> = { float16: 10, bfloat16: 16 };
const VERSION = 13;

/** A table of more elements is read as it is: rows of it are wanted, not all. */
const LARGE_TABLE = 1 << 16;

/** Operators that make or mean a type of their own. */
const typed = [
  ...['Cast', 'CastLike', 'BitCast', 'Constant', 'ConstantOfShape', 'EyeLike', 'Bernoulli', 'Multinomial'],
  ...['RandomNormal', 'RandomNormalLike', 'RandomUniform', 'RandomUniformLike'],
];
const typeAttributes = ['dtype', 'output_dtype', 'precision', 'to'];

const isHalf = (value: Value | null): value is Value => onnxNumbers[dtypeOf(value) ?? 'bool'] !== undefined;

function isWidened(node: Node): boolean {
  const values = [...node.inputs, ...node.outputs].filter((value) => value !== null);
  if (!values.some(isHalf) || typed.includes(node.op) || node.domain === 'ai.onnx.ml') return false;
  if (bodiesOf(node).length > 0 || typeAttributes.some((name) => node.attributes.has(name))) return false;
  const [table] = node.inputs;
  if (node.op.startsWith('Gather') && table?.constant?.kind === 'tensor' && sizeOf(table.constant.dims) > LARGE_TABLE) {
    return false;
  }
  // A cache that every token adds to is copied as it is stored; the rest of such a node is small beside it.
  if (node.op === 'GroupQueryAttention' && isHalf(node.inputs[3] ?? null)) return false;
  return values.every((value) => dtypeOf(value) !== undefined);
}

/** The same content as float32, made when it is read and held as long as somebody uses it: packed, it is not needed. */
function widenedContent(content: HostTensor): HostTensor {
  let made: WeakRef<Float32Array> | undefined;
  return {
    kind: 'tensor',
    dtype: 'float32',
    dims: content.dims,
    get data() {
      let data = made?.deref();
      if (!data) {
        data = decodedFloats(content.dtype, content.data as Uint16Array);
        made = new WeakRef(data);
      }
      return data;
    },
  };
}

/** One graph on the way: its new list of nodes, and what stands for each half value. */
class Widening {
  readonly nodes: Node[] = [];
  readonly #wide = new Map<Value, Value>();
  /** Values that only their wide form computes so far. */
  readonly #pending = new Set<Value>();

  #cast(from: Value, to: Value, number: number): void {
    const cast: Node = {
      name: to.name,
      op: 'Cast',
      domain: '',
      version: VERSION,
      inputs: [from],
      outputs: [to],
      attributes: new Map([['to', int(number)]]),
      captures: [],
    };
    to.producer = cast;
    this.nodes.push(cast);
  }

  #wideValue(value: Value): Value {
    const type = value.type?.kind === 'tensor' ? { ...value.type, dtype: 'float32' as const } : undefined;
    const wide = makeValue(`${value.name}_wide`, type);
    this.#wide.set(value, wide);
    return wide;
  }

  /** What stands for a value where half ones are wide. */
  widen(value: Value): Value {
    if (!isHalf(value)) return value;
    const known = this.#wide.get(value);
    if (known) return known;
    if (value.constant?.kind === 'tensor') {
      const wide = makeConstant(`${value.name}_wide`, widenedContent(value.constant));
      this.#wide.set(value, wide);
      return wide;
    }
    const wide = this.#wideValue(value);
    this.#cast(value, wide, FLOAT32);
    return wide;
  }

  /** Makes sure that a half value itself is computed. */
  narrow(value: Value): void {
    if (!this.#pending.delete(value)) return;
    this.#cast(this.#wide.get(value) as Value, value, onnxNumbers[dtypeOf(value) ?? 'float16'] as number);
  }

  add(node: Node): void {
    if (isWidened(node)) {
      node.inputs = node.inputs.map((value) => value && this.widen(value));
      node.outputs = node.outputs.map((value) => {
        if (!value || !isHalf(value)) return value;
        const wide = this.#wideValue(value);
        wide.producer = node;
        value.producer = undefined;
        this.#pending.add(value);
        return wide;
      });
    } else if (isBack(node) && this.#wide.has(node.inputs[0] as Value)) {
      // Back to float32: what is wide is that already.
      node.op = 'Identity';
      node.version = VERSION;
      node.attributes = new Map();
      node.inputs = [this.#wide.get(node.inputs[0] as Value) as Value];
    } else {
      for (const read of readsOf(node)) this.narrow(read);
    }
    this.nodes.push(node);
  }
}

const isBack = (node: Node): boolean =>
  node.op === 'Cast' && node.domain === '' && isHalf(node.inputs[0]) && dtypeOf(node.outputs[0]) === 'float32';

function widenGraph(graph: Graph): void {
  for (const node of graph.nodes) for (const body of bodiesOf(node)) widenGraph(body);
  if (!graph.nodes.some(isWidened)) return;
  const widening = new Widening();
  for (const node of graph.nodes) widening.add(node);
  for (const output of graph.outputs) widening.narrow(output);
  graph.nodes = widening.nodes;
}

export const widenHalf: Pass = {
  name: 'widen-half',
  run: (graph) => {
    widenGraph(graph);
    return true;
  },
};
