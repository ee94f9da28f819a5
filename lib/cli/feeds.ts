/** Inputs of a model for the command line: from files, or made up. */

import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { InputError, OptionError } from '../errors.ts';
import { byteLength, dtypeInfo, isFloat } from '../ir/dtype.ts';
import type { Model, Port } from '../ir/model.ts';
import { type Dim, shapeText, sizeOf } from '../ir/shape.ts';
import { allocate, fromNumbers, type HostTensor, type HostValue, tensor } from '../ir/tensor.ts';
import { decodeNpy } from '../onnx/npy.ts';
import { decodeValue, tensorOfBytes } from '../onnx/tensor-proto.ts';
import { readPorts } from './cases.ts';

/** What the caller says about shapes: whole shapes by input name, sizes of symbols, the batch. */
export interface ShapeWishes {
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly symbols: ReadonlyMap<string, number>;
  readonly batch: number | undefined;
}

/** Reads `--shape NAME=1x3x224x224,NAME=...`; a lone number sets a symbolic dimension of that name. */
export function parseShapes(text: string | undefined, batch: number | undefined, model: Model): ShapeWishes {
  const shapes = new Map<string, readonly number[]>();
  const symbols = new Map<string, number>();
  for (const item of text ? text.split(',') : []) {
    const at = item.lastIndexOf('=');
    const name = item.slice(0, at);
    const words = item.slice(at + 1);
    const dims = words === '' ? [] : words.split('x').map(Number);
    if (at < 1 || dims.some((dim) => !Number.isSafeInteger(dim) || dim < 0)) {
      throw new OptionError(`--shape: expected NAME=1x3x224x224, got "${item}"`, { option: 'shape' });
    }
    if (model.inputs.some((port) => port.name === name)) shapes.set(name, dims);
    else if (dims.length === 1) symbols.set(name, dims[0]);
    else throw new OptionError(`--shape: the model has no input "${name}"`, { option: 'shape' });
  }
  return { shapes, symbols, batch };
}

/** Symbols that mean a sequence get a length worth measuring; all others are 1. */
const SEQUENCE_LENGTH = 128;

function sizeOfDim(dim: Dim, axis: number, wishes: ShapeWishes): number {
  if (typeof dim === 'number') return axis === 0 && wishes.batch !== undefined && dim === 1 ? 1 : dim;
  const asked = dim === null ? undefined : wishes.symbols.get(dim);
  if (asked !== undefined) return asked;
  if (axis === 0) return wishes.batch ?? 1;
  return dim !== null && /seq|length|^[ST]$/i.test(dim) && !/past/i.test(dim) ? SEQUENCE_LENGTH : 1;
}

/** The concrete shape of an input. */
export function shapeOf(port: Port, wishes: ShapeWishes): number[] {
  const asked = wishes.shapes.get(port.name);
  if (asked) return [...asked];
  const { type } = port;
  if (type.kind !== 'tensor' || !type.shape) {
    throw new OptionError(`input "${port.name}" has no known rank: give its shape with --shape`, { input: port.name });
  }
  return type.shape.map((dim, axis) => sizeOfDim(dim, axis, wishes));
}

/** Deterministic numbers: normal enough for networks, the same on every machine. */
function seeded(count: number, seed: number): Float64Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float64Array.from({ length: count }, () => next() + next() + next() + next() - 2);
}

/** A made-up input: floats around zero, integers one (a safe index). */
export function makeInput(port: Port, wishes: ShapeWishes, seed: number): HostValue {
  const { type } = port;
  if (type.kind !== 'tensor') {
    throw new InputError(`input "${port.name}" is a ${type.kind}: give it with --input`, { input: port.name });
  }
  const dims = shapeOf(port, wishes);
  const count = sizeOf(dims);
  if (type.dtype === 'string') return tensor('string', dims, new Array<string>(count).fill('text'));
  if (isFloat(type.dtype)) return fromNumbers(type.dtype, dims, seeded(count, seed));
  if (dtypeInfo(type.dtype).kind === 'complex') return tensor(type.dtype, dims, allocate(type.dtype, count));
  return fromNumbers(type.dtype, dims, new Uint8Array(count).fill(1));
}

/** Reads one `--input [NAME=]FILE`: .npy, .pb, or raw bytes of the declared type. */
export function readInput(spec: string, model: Model, taken: ReadonlySet<number>, wishes: ShapeWishes) {
  const at = spec.indexOf('=');
  const named = at > 0 && model.inputs.some((port) => port.name === spec.slice(0, at));
  const path = named ? spec.slice(at + 1) : spec;
  const bytes = new Uint8Array(readInputFile(path));
  const free = model.inputs.findIndex((_, i) => !taken.has(i));
  const index = named ? model.inputs.findIndex((port) => port.name === spec.slice(0, at)) : free;
  if (path.endsWith('.pb')) return readProto(path, bytes, model, named ? index : undefined, free);
  const port = model.inputs[index];
  if (!port) throw new InputError(`${path}: the model has no input left for it`);
  const value = path.endsWith('.npy') ? decodeNpy(bytes, path) : rawTensor(path, bytes, port, wishes);
  return { index, value };
}

function readInputFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new InputError(`cannot read "${path}": ${(cause as Error).message}`, { path }, { cause });
  }
}

function readProto(path: string, bytes: Uint8Array, model: Model, given: number | undefined, free: number) {
  const guess = model.inputs[given ?? free] ?? model.inputs[0];
  if (!guess) throw new InputError(`${path}: the model has no inputs`);
  const first = decodeValue(bytes, guess.type, basename(path));
  const own = model.inputs.findIndex((port) => port.name === first.name);
  const index = given ?? (own >= 0 ? own : free);
  const port = model.inputs[index];
  if (!port) throw new InputError(`${path}: the model has no input left for it`);
  return { index, value: port === guess ? first.value : decodeValue(bytes, port.type, basename(path)).value };
}

function rawTensor(path: string, bytes: Uint8Array, port: Port, wishes: ShapeWishes): HostTensor {
  if (port.type.kind !== 'tensor' || port.type.dtype === 'string') {
    throw new InputError(`${path}: raw bytes cannot be a value of input "${port.name}"`, { input: port.name });
  }
  const dims = shapeOf(port, wishes);
  const want = byteLength(port.type.dtype, sizeOf(dims));
  if (bytes.length !== want) {
    const text = `${path}: ${bytes.length} bytes, but ${port.type.dtype} ${shapeText(dims)} takes ${want}`;
    throw new InputError(text, { input: port.name, expected: want, got: bytes.length });
  }
  return tensorOfBytes(port.type.dtype, dims, bytes);
}

/** All inputs: those from files or folders of `input_N.pb`, the others made up; inputs with a default are left out unless given. */
export function gatherInputs(model: Model, files: readonly string[], wishes: ShapeWishes): (HostValue | undefined)[] {
  const values = new Map<number, HostValue>();
  for (const spec of files) {
    if (statSync(spec, { throwIfNoEntry: false })?.isDirectory()) {
      readPorts(spec, 'input', model.inputs).forEach((value, i) => {
        if (value) values.set(i, value);
      });
      continue;
    }
    const { index, value } = readInput(spec, model, new Set(values.keys()), wishes);
    values.set(index, value);
  }
  return model.inputs.map((port, i) => {
    const value = values.get(i);
    if (value) return checkedInput(port, value);
    return model.graph.defaults?.has(model.graph.inputs[i]) ? undefined : makeInput(port, wishes, i + 1);
  });
}

/** Refuses a value that the input does not take. */
export function checkedInput(port: Port, value: HostValue): HostValue {
  const { type } = port;
  if (type.kind !== 'tensor' || value.kind !== 'tensor') {
    if (type.kind === value.kind || type.kind === 'optional') return value;
    throw new InputError(`input "${port.name}": expected a ${type.kind}, got a ${value.kind}`, { input: port.name });
  }
  if (value.dtype !== type.dtype) {
    const facts = { input: port.name, expected: type.dtype, got: value.dtype };
    throw new InputError(`input "${port.name}": expected ${type.dtype}, got ${value.dtype}`, facts);
  }
  const fits =
    !type.shape ||
    (type.shape.length === value.dims.length &&
      type.shape.every((dim, i) => typeof dim !== 'number' || dim === value.dims[i]));
  if (fits) return value;
  const facts = { input: port.name, expected: shapeText(type.shape), got: shapeText(value.dims) };
  throw new InputError(`input "${port.name}": expected shape ${facts.expected}, got ${facts.got}`, facts);
}
