/** Stages as JSON, and back. Only those whose sections all run natively, and that end the graph, have such a form. */

import type { DType, NumericStorage } from '../ir/dtype.ts';
import { dtypeInfo } from '../ir/dtype.ts';
import { type Graph, makeValue, type Node, type Value } from '../ir/graph.ts';
import type { HostTensor } from '../ir/tensor.ts';
import type { ConstantSource, EncodedPlan } from '../plan/builder.ts';
import type { NativeSection, Stage } from '../plan/stage.ts';

/** A constant operand: its bytes here, a file of the store, or a part of the model file. */
export type StoredConstant =
  | { readonly kind: 'inline'; readonly content: string }
  | { readonly kind: 'file'; readonly checksum: string; readonly bytes: number; readonly code: boolean }
  | { readonly kind: 'model'; readonly offset: number; readonly bytes: number; readonly aligned: boolean };

/** A value: input number `input` of the graph, or output number `output` of section number `section`. */
type Reference = { readonly input: number } | { readonly section: number; readonly output: number };

interface StoredTensor {
  readonly input: number;
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Base64 of the bytes. */
  readonly content: string;
}

interface StoredSection {
  /** Base64 of float64 numbers. */
  readonly numbers: string;
  readonly constants: readonly StoredConstant[];
  readonly inputs: readonly Reference[];
  readonly outputs: readonly { readonly name: string; readonly dtype: DType; readonly dims: readonly number[] }[];
  readonly plan: Pick<EncodedPlan, 'arenaBytes' | 'inputBytes' | 'outputBytes'>;
  readonly steps: readonly {
    readonly kernel: string;
    readonly name: string;
    readonly op: string;
    readonly domain: string;
  }[];
}

export interface StoredStage {
  readonly key: string;
  readonly asked: readonly StoredTensor[];
  readonly sections: readonly StoredSection[];
  readonly outputs: readonly Reference[];
}

/** Constants of up to this many bytes stand in the file of the stage. */
const INLINE_BYTES = 2 ** 14;

/** What writing a stage needs to know of its plans. */
export interface PlanFacts {
  /** The model file, where weights lie that are used as they are. */
  readonly modelBytes: Uint8Array | undefined;
  /** A plan's numbers as the engine gets them, and its constants as files, by position. */
  partsOf(plan: EncodedPlan): { readonly numbers: Float64Array; constant(i: number): StoredConstant };
}

const base64 = (view: ArrayBufferView): string =>
  Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString('base64');

const bytesOf = (tensor: HostTensor): Uint8Array => {
  if (tensor.unaligned) return tensor.unaligned;
  const { buffer, byteOffset, byteLength } = tensor.data as NumericStorage;
  return new Uint8Array(buffer, byteOffset, byteLength);
};

/** A constant that needs no file. */
function lyingConstant(source: ConstantSource, modelBytes: Uint8Array | undefined): StoredConstant | undefined {
  const tensor = source.kind === 'tensor' ? source.tensor : undefined;
  if (!tensor) return undefined;
  const bytes = bytesOf(tensor);
  if (bytes.length <= INLINE_BYTES) return { kind: 'inline', content: base64(bytes) };
  if (bytes.buffer !== modelBytes?.buffer) return undefined;
  const offset = bytes.byteOffset - modelBytes.byteOffset;
  return { kind: 'model', offset, bytes: bytes.length, aligned: tensor.unaligned === undefined };
}

/** Where values come from; undefined for one that has no such form. */
function referencesOf(graph: Graph, sections: readonly NativeSection[]): Map<Value, Reference> {
  const references = new Map<Value, Reference>();
  graph.inputs.forEach((value, input) => {
    references.set(value, { input });
  });
  sections.forEach(({ outputs }, section) => {
    outputs.forEach((value, output) => {
      references.set(value, { section, output });
    });
  });
  return references;
}

/** The stage as JSON, in turns, for every constant is read; undefined where it has no such form. */
export function* storedStage(
  key: string,
  graph: Graph,
  stage: Stage,
  facts: PlanFacts,
): Generator<void, StoredStage | undefined> {
  const sections = stage.sections.filter((section) => section.kind === 'native');
  if (stage.rest || sections.length !== stage.sections.length || graph.defaults?.size) return undefined;
  const references = referencesOf(graph, sections);
  const all = (values: readonly Value[]): Reference[] | undefined => {
    const found = values.map((value) => references.get(value));
    return found.every((reference) => reference !== undefined) ? (found as Reference[]) : undefined;
  };
  const outputs = all(stage.outputs);
  const inputs = sections.map((section) => all(section.inputs));
  const asked = [...stage.asked].map(([value, tensor]) => storedTensor(graph.inputs.indexOf(value), tensor));
  const whole = outputs && inputs.every((list) => list !== undefined) && asked.every(({ input }) => input >= 0);
  if (!whole) return undefined;
  const stored: StoredSection[] = [];
  for (const [i, section] of sections.entries()) {
    stored.push(yield* storedSection(section, inputs[i] as Reference[], facts));
  }
  return { key, asked, outputs, sections: stored };
}

function* storedSection(
  { plan, outputs, outputTypes }: NativeSection,
  inputs: readonly Reference[],
  facts: PlanFacts,
): Generator<void, StoredSection> {
  const parts = facts.partsOf(plan);
  const constants: StoredConstant[] = [];
  for (const [i, source] of plan.constants.entries()) {
    constants.push(lyingConstant(source, facts.modelBytes) ?? parts.constant(i));
    yield;
  }
  return {
    numbers: base64(parts.numbers),
    constants,
    inputs,
    outputs: outputs.map(({ name }, k) => ({ name, dtype: outputTypes[k].dtype, dims: outputTypes[k].dims })),
    plan: { arenaBytes: plan.arenaBytes, inputBytes: plan.inputBytes, outputBytes: plan.outputBytes },
    steps: plan.steps.map(({ kernel, node: { name, op, domain } }) => ({ kernel, name, op, domain })),
  };
}

function storedTensor(input: number, tensor: HostTensor): StoredTensor {
  return { input, dtype: tensor.dtype, dims: tensor.dims, content: base64(tensor.data as NumericStorage) };
}

function tensorOf({ dtype, dims, content }: StoredTensor): HostTensor {
  const { storage } = dtypeInfo(dtype);
  const { buffer, byteLength } = new Uint8Array(Buffer.from(content, 'base64'));
  if (!storage) return { kind: 'tensor', dtype, dims, data: [] };
  return { kind: 'tensor', dtype, dims, data: new storage(buffer, 0, byteLength / storage.BYTES_PER_ELEMENT) };
}

function restoredSection(stored: StoredSection, inputs: readonly Value[]): NativeSection {
  const steps = stored.steps.map(({ kernel, name, op, domain }) => {
    const node: Node = {
      ...{ name, op, domain, version: 0, inputs: [], outputs: [], captures: [] },
      attributes: new Map(),
    };
    return { kernel, node };
  });
  const plan: EncodedPlan = {
    ...stored.plan,
    steps,
    ...{ numbers: new Float64Array(0), constants: [], liveBytes: [], packedSizes: [] },
  };
  const outputs = stored.outputs.map(({ name, dtype, dims }) =>
    makeValue(name, { kind: 'tensor', dtype, shape: dims }),
  );
  const outputTypes = stored.outputs.map(({ dtype, dims }) => ({ kind: 'tensor', dtype, dims }) as const);
  return { kind: 'native', plan, inputs, outputs, outputTypes };
}

/** The stage for a graph with the same inputs. */
export function restoredStage(stored: StoredStage, graph: Graph): Stage {
  const sections: NativeSection[] = [];
  const find = (reference: Reference): Value =>
    'input' in reference ? graph.inputs[reference.input] : sections[reference.section].outputs[reference.output];
  for (const section of stored.sections) sections.push(restoredSection(section, section.inputs.map(find)));
  return {
    sections,
    asked: new Map(stored.asked.map((tensor) => [graph.inputs[tensor.input], tensorOf(tensor)])),
    ...{ shapes: new Map(), known: new Map(), rest: undefined, survivors: [] },
    outputs: stored.outputs.map(find),
  };
}
