/** `filigree inspect`: what a model is made of and how it will run. */

import { byteLength } from '../ir/dtype.ts';
import type { Value, ValueType } from '../ir/graph.ts';
import { isConcrete, shapeText, sizeOf } from '../ir/shape.ts';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import { macsOf, weightOf } from '../ops/arithmetic.ts';
import { isRounded } from '../ops/bf16-products.ts';
import { opKey } from '../ops/op.ts';
import type { Stage } from '../plan/stage.ts';
import { CompiledModel } from '../runtime/compiled.ts';
import { thisMachine } from '../runtime/machine.ts';
import type { Precision } from '../runtime/options.ts';
import { profileRuns } from '../runtime/profile.ts';
import { type Sparsity, sparsityOf } from '../sparse/patterns.ts';
import { type Command, grouped, mebibytes, type Output, table } from './command.ts';
import { gatherInputs, parseShapes } from './feeds.ts';
import { precisionOf, precisionOption } from './model-options.ts';
import { type Fallback, fallbacksOf } from './why.ts';

interface Layer {
  readonly name: string;
  readonly op: string;
  readonly weight: readonly number[];
  readonly parameters: number;
  readonly sparsity: Sparsity;
  /** Multiply-adds of a run, and those with a nonzero weight; undefined where the output's shape is not known. */
  readonly macs: number | undefined;
  readonly effectiveMacs: number | undefined;
  readonly runsOn: string;
}

export function typeText(type: ValueType): string {
  if (type.kind === 'tensor') return `${type.dtype} ${shapeText(type.shape)}`;
  if (type.kind === 'map') return `map(${type.keyType}, ${typeText(type.value)})`;
  return `${type.kind}(${typeText(type.element)})`;
}

/** Where each node runs: kernels, folded away, or its reference with the reason. */
function placement(stages: readonly Stage[]): Map<object, string> {
  const places = new Map<object, string>();
  for (const { sections } of stages) {
    for (const section of sections) {
      if (section.kind === 'reference') {
        places.set(section.node, `reference: ${section.reason}`);
        continue;
      }
      for (const { kernel, node } of section.plan.steps) {
        const own = !/^(segments\.|copy|fill|strided|pack|rows\.bf16|panels\.bf16)/.test(kernel);
        if (own || !places.has(node)) places.set(node, kernel);
      }
    }
  }
  return places;
}

function layersOf(
  compiled: CompiledModel,
  places: ReadonlyMap<object, string>,
  shapes: ReadonlyMap<Value, readonly number[]>,
): Layer[] {
  const layers: Layer[] = [];
  for (const node of compiled.model.graph.nodes) {
    const found = weightOf(node);
    if (!found) continue;
    const { tensor: weight, axis } = found;
    const sparsity = sparsityOf(weight, axis);
    const macs = macsOf(node, (value) => shapes.get(value));
    layers.push({
      name: node.name,
      op: opKey(node.domain, node.op),
      weight: weight.dims,
      parameters: sizeOf(weight.dims),
      sparsity,
      macs,
      effectiveMacs: macs === undefined ? undefined : macs * (1 - sparsity.zeros),
      runsOn: places.get(node) ?? 'folded away',
    });
  }
  return layers;
}

/** Output shapes: planned ones, else those the model declares without symbols. */
function shapesOf(
  compiled: CompiledModel,
  stages: readonly Stage[],
  feeds: readonly (HostValue | undefined)[],
): Map<Value, readonly number[]> {
  const shapes = new Map<Value, readonly number[]>();
  compiled.model.graph.inputs.forEach((input, i) => {
    const feed = feeds[i];
    if (feed?.kind === 'tensor') shapes.set(input, feed.dims);
  });
  for (const node of compiled.model.graph.nodes) {
    for (const output of node.outputs) {
      if (output?.type?.kind === 'tensor' && isConcrete(output.type.shape)) shapes.set(output, output.type.shape);
    }
  }
  for (const stage of stages) for (const [value, dims] of stage.shapes) shapes.set(value, dims);
  return shapes;
}

function parametersOf(compiled: CompiledModel): { count: number; bytes: number } {
  const seen = new Set<HostTensor>();
  for (const node of compiled.model.graph.nodes) {
    for (const input of node.inputs) if (input?.constant?.kind === 'tensor') seen.add(input.constant);
  }
  let count = 0;
  let bytes = 0;
  for (const t of seen) {
    count += sizeOf(t.dims);
    if (t.dtype !== 'string') bytes += byteLength(t.dtype, sizeOf(t.dims));
  }
  return { count, bytes };
}

const percent = (x: number): string => `${(x * 100).toFixed(1)}%`;

function layerRow(layer: Layer): string[] {
  const { zeros, zeroBlocks, pattern } = layer.sparsity;
  const mega = (n: number | undefined): string => (n === undefined ? '?' : (n / 1e6).toFixed(1));
  const cells = [
    layer.name || '(unnamed)',
    layer.op,
    shapeText(layer.weight),
    percent(zeros),
    percent(zeroBlocks),
    pattern,
  ];
  return [...cells, mega(layer.macs), mega(layer.effectiveMacs), layer.runsOn];
}

/** What the precision asked for comes to. */
function precisionFacts(asked: Precision, stages: readonly Stage[]) {
  const sections = stages.flatMap((stage) => stage.sections.filter((section) => section.kind === 'native'));
  const steps = sections.flatMap(({ plan }) => plan.steps.filter(({ kernel }) => isRounded(kernel)));
  const { bf16, isa } = thisMachine();
  const text =
    asked === 'float32'
      ? 'float32'
      : bf16
        ? `bf16: ${steps.length} steps multiply bfloat16 and sum float32`
        : `bf16 was asked for, but ${isa} has no fast products of bfloat16: all is float32`;
  return { asked, roundedSteps: steps.length, text };
}

function printFallbacks(fallbacks: readonly Fallback[], out: Output): void {
  const share = fallbacks.reduce((sum, each) => sum + each.share, 0);
  out.line(`nodes on references: ${fallbacks.length}${fallbacks.length ? `, ${percent(share)} of a run` : ''}`);
  for (const { node, op, reason, ms, hint, share: own } of fallbacks) {
    out.line(`  ${op} "${node}": ${reason}; ${ms.toFixed(3)} ms, ${percent(own)} of a run`);
    out.line(`    to make it fast: ${hint}`);
  }
}

export const inspectCommand: Command = {
  name: 'inspect',
  summary: 'Shows what a model is made of, how sparse it is, and what will run it.',
  usage: 'MODEL [--shape NAME=DIMS,...] [--why]',
  positionals: [1, 1],
  options: {
    shape: { type: 'string', value: 'NAME=1x3x224x224,...', help: 'shapes of inputs, or sizes of symbolic dimensions' },
    batch: { type: 'string', value: 'N', help: 'size of the first dimension where it is symbolic (1)' },
    input: { type: 'string', multiple: true, value: '[NAME=]FILE', help: 'an input from a file, for --why' },
    ...precisionOption,
    why: {
      type: 'boolean',
      help: 'run it, and list every node on its reference: reason, share of the time, what would help',
    },
  },
  async run(args, out) {
    const compiled = CompiledModel.openSync(args.positionals[0], { precision: precisionOf(args) });
    const { model } = compiled;
    const wishes = parseShapes(args.text('shape'), args.count('batch', 1), model);
    const feeds = gatherInputs(model, args.list('input'), wishes);
    const stage = await compiled.prepare(feeds);
    const stages = [stage];
    const places = placement(stages);
    const layers = layersOf(compiled, places, shapesOf(compiled, stages, feeds));
    const operators: Record<string, number> = {};
    for (const node of model.graph.nodes) {
      const key = opKey(node.domain, node.op);
      operators[key] = (operators[key] ?? 0) + 1;
    }
    const references = stages.flatMap(({ sections }) => sections.filter((section) => section.kind === 'reference'));
    const fallbacks = args.flag('why') ? fallbacksOf((await profileRuns(compiled, feeds, 1)).layers) : undefined;
    const parameters = parametersOf(compiled);
    const sum = (of: (layer: Layer) => number | undefined): number =>
      layers.reduce((a, layer) => a + (of(layer) ?? 0), 0);
    const arena = Math.max(0, ...stage.sections.map((s) => (s.kind === 'native' ? s.plan.arenaBytes : 0)));
    const memory = { arenaBytes: arena, packedBytes: compiled.packedBytes, weightBytes: parameters.bytes };
    out.result({
      inputs: model.inputs.map(({ name, type }) => ({ name, type: typeText(type) })),
      outputs: model.outputs.map(({ name, type }) => ({ name, type: typeText(type) })),
      irVersion: model.irVersion,
      opsets: Object.fromEntries([...model.opsets].map(([domain, v]) => [domain || 'ai.onnx', v])),
      producer: model.producer,
      operators,
      parameters: parameters.count,
      macs: sum((layer) => layer.macs),
      effectiveMacs: sum((layer) => layer.effectiveMacs),
      memory,
      layers,
      references:
        fallbacks ??
        references.map(({ node, reason }) => ({ node: node.name, op: opKey(node.domain, node.op), reason })),
      precision: precisionFacts(precisionOf(args), stages),
      complete: stage.rest === undefined,
    });
    for (const { name, type } of model.inputs) out.line(`input   ${name}: ${typeText(type)}`);
    for (const { name, type } of model.outputs) out.line(`output  ${name}: ${typeText(type)}`);
    const versions = [...model.opsets].map(([domain, v]) => `${domain || 'ai.onnx'} ${v}`).join(', ');
    out.line(`IR ${model.irVersion}, ${versions}${model.producer ? `, by ${model.producer}` : ''}`);
    out.line(`parameters ${grouped(parameters.count)} (${mebibytes(parameters.bytes)})`);
    out.line(
      `operators  ${Object.entries(operators)
        .sort((a, b) => b[1] - a[1])
        .map(([op, n]) => `${op} ${n}`)
        .join(', ')}`,
    );
    out.line();
    const head = ['layer', 'operator', 'weight', 'zeros', '4-blocks', 'pattern', 'MMAC', 'nonzero', 'runs on'];
    if (layers.length) out.line(table([head, ...layers.map(layerRow)]));
    out.line();
    out.line(
      `multiply-adds ${grouped(sum((l) => l.macs))}, with nonzero weights ${grouped(sum((l) => l.effectiveMacs))}`,
    );
    out.line(`memory: working ${mebibytes(memory.arenaBytes)}, packed weights ${mebibytes(memory.packedBytes)}`);
    const { text } = precisionFacts(precisionOf(args), stages);
    out.line(`precision  ${text}`);
    if (fallbacks) {
      printFallbacks(fallbacks, out);
    } else {
      out.line(`nodes on references: ${references.length}${stage.rest ? ', and what follows depends on data' : ''}`);
    }
    compiled.dispose();
    return 0;
  },
};
