/** Writes ONNX files for tests, with a protobuf library that shares no code with the reader. */

import protobuf from 'protobufjs/minimal.js';
import { type DType, dtypeInfo } from '../../lib/ir/dtype.ts';

const { Writer } = protobuf;
type Writer = InstanceType<typeof Writer>;

/** A finished message. */
export type Bytes = Uint8Array;

/** Builds a message by field numbers. */
export class MessageWriter {
  readonly #writer: Writer = Writer.create();

  int(field: number, value: number): this {
    this.#writer.uint32((field << 3) >>> 0).int64(value);
    return this;
  }
  float(field: number, value: number): this {
    this.#writer.uint32(((field << 3) | 5) >>> 0).float(value);
    return this;
  }
  text(field: number, value: string | undefined): this {
    if (value !== undefined) this.#writer.uint32(((field << 3) | 2) >>> 0).string(value);
    return this;
  }
  bytes(field: number, value: Bytes | undefined): this {
    if (value !== undefined) this.#writer.uint32(((field << 3) | 2) >>> 0).bytes(value);
    return this;
  }
  all(field: number, values: readonly (Bytes | string)[] = []): this {
    for (const value of values) {
      if (typeof value === 'string') this.text(field, value);
      else this.bytes(field, value);
    }
    return this;
  }
  done(): Bytes {
    return Uint8Array.from(this.#writer.finish());
  }
}

/** TensorProto with raw data. */
export function rawTensor(name: string, dtype: DType, dims: readonly number[], bytes: ArrayBufferView): Bytes {
  const writer = new MessageWriter().int(2, dtypeInfo(dtype).onnx).text(8, name);
  for (const dim of dims) writer.int(1, dim);
  return writer.bytes(9, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)).done();
}

export const floats = (name: string, values: number[], dims = [values.length]): Bytes =>
  rawTensor(name, 'float32', dims, Float32Array.from(values));
export const longs = (name: string, values: number[], dims = [values.length]): Bytes =>
  rawTensor(name, 'int64', dims, BigInt64Array.from(values, BigInt));

/** TypeProto of a tensor; undefined for a shape of unknown rank. */
export function tensorTypeProto(dtype: DType, shape?: readonly (number | string | null)[]): Bytes {
  const type = new MessageWriter().int(1, dtypeInfo(dtype).onnx);
  if (shape) {
    const dims = shape.map((dim) => {
      const writer = new MessageWriter();
      if (typeof dim === 'number') writer.int(1, dim);
      if (typeof dim === 'string') writer.text(2, dim);
      return writer.done();
    });
    type.bytes(2, new MessageWriter().all(1, dims).done());
  }
  return new MessageWriter().bytes(1, type.done()).done();
}

/** ValueInfoProto. */
export function port(name: string, dtype?: DType, shape?: readonly (number | string | null)[]): Bytes {
  return new MessageWriter()
    .text(1, name)
    .bytes(2, dtype && tensorTypeProto(dtype, shape))
    .done();
}

/** AttributeProto: an int, a float, a string, lists of these, a tensor or a graph. */
export const attribute = {
  int: (name: string, value: number): Bytes => new MessageWriter().text(1, name).int(3, value).int(20, 2).done(),
  float: (name: string, value: number): Bytes => new MessageWriter().text(1, name).float(2, value).int(20, 1).done(),
  string: (name: string, value: string): Bytes => new MessageWriter().text(1, name).text(4, value).int(20, 3).done(),
  tensor: (name: string, value: Bytes): Bytes => new MessageWriter().text(1, name).bytes(5, value).int(20, 4).done(),
  graph: (name: string, value: Bytes): Bytes => new MessageWriter().text(1, name).bytes(6, value).int(20, 5).done(),
  ints: (name: string, values: readonly number[]): Bytes => {
    const writer = new MessageWriter().text(1, name).int(20, 7);
    for (const value of values) writer.int(8, value);
    return writer.done();
  },
  floats: (name: string, values: readonly number[]): Bytes => {
    const writer = new MessageWriter().text(1, name).int(20, 6);
    for (const value of values) writer.float(7, value);
    return writer.done();
  },
  strings: (name: string, values: readonly string[]): Bytes =>
    new MessageWriter().text(1, name).int(20, 8).all(9, values).done(),
  /** Refers to an attribute of the enclosing function. */
  reference: (name: string, to: string, type: number): Bytes =>
    new MessageWriter().text(1, name).text(21, to).int(20, type).done(),
};

interface NodeOptions {
  readonly name?: string;
  readonly domain?: string;
  readonly attributes?: readonly Bytes[];
}

/** NodeProto. */
export function node(op: string, inputs: readonly string[], outputs: readonly string[], options: NodeOptions = {}) {
  return new MessageWriter()
    .all(1, inputs)
    .all(2, outputs)
    .text(3, options.name)
    .text(4, op)
    .text(7, options.domain)
    .all(5, options.attributes)
    .done();
}

export interface GraphParts {
  readonly nodes?: readonly Bytes[];
  readonly inputs?: readonly Bytes[];
  readonly outputs?: readonly Bytes[];
  readonly initializers?: readonly Bytes[];
  readonly sparse?: readonly Bytes[];
  readonly name?: string;
}

/** GraphProto. */
export function graph(parts: GraphParts): Bytes {
  return new MessageWriter()
    .all(1, parts.nodes)
    .text(2, parts.name ?? 'g')
    .all(5, parts.initializers)
    .all(11, parts.inputs)
    .all(12, parts.outputs)
    .all(15, parts.sparse)
    .done();
}

/** OperatorSetIdProto. */
export const opset = (domain: string, version: number): Bytes =>
  new MessageWriter().text(1, domain).int(2, version).done();

interface FunctionParts {
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly nodes: readonly Bytes[];
  readonly attributes?: readonly string[];
  readonly defaults?: readonly Bytes[];
  readonly opsets?: readonly Bytes[];
}

/** FunctionProto. */
export function functionProto(name: string, parts: FunctionParts): Bytes {
  return new MessageWriter()
    .text(1, name)
    .all(4, parts.inputs)
    .all(5, parts.outputs)
    .all(6, parts.attributes)
    .all(7, parts.nodes)
    .all(9, parts.opsets ?? [opset('', 17)])
    .text(10, parts.domain)
    .all(11, parts.defaults)
    .done();
}

interface ModelParts extends GraphParts {
  readonly ir?: number;
  readonly opsets?: readonly Bytes[];
  readonly functions?: readonly Bytes[];
}

/** ModelProto. */
export function model(parts: ModelParts): Bytes {
  return new MessageWriter()
    .int(1, parts.ir ?? 9)
    .bytes(7, graph(parts))
    .all(8, parts.opsets ?? [opset('', 17)])
    .all(25, parts.functions)
    .done();
}
