/** `filigree run`: one run, a summary of each output. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { shapeText } from '../ir/shape.ts';
import { type HostValue, toParts } from '../ir/tensor.ts';
import { encodeNpy } from '../onnx/npy.ts';
import { CompiledModel } from '../runtime/compiled.ts';
import type { Command } from './command.ts';
import { gatherInputs, parseShapes } from './feeds.ts';
import { precisionOf, precisionOption } from './model-options.ts';

interface Summary {
  readonly name: string;
  readonly type: string;
  readonly shape?: readonly number[];
  readonly min?: number;
  readonly max?: number;
  readonly mean?: number;
  readonly first?: readonly (number | string)[];
  readonly file?: string;
}

/** JSON has no infinities: they become null there. */
function summarize(name: string, value: HostValue): Summary {
  if (value.kind === 'sequence') return { name, type: `sequence of ${value.items.length}` };
  if (value.kind === 'optional') return { name, type: value.value ? 'optional, present' : 'optional, absent' };
  if (value.kind === 'map') return { name, type: `map of ${value.entries.size}` };
  const { dtype, dims } = value;
  if (dtype === 'string') return { name, type: dtype, shape: dims, first: (value.data as string[]).slice(0, 5) };
  const numbers = toParts(value);
  if (numbers.length === 0) return { name, type: dtype, shape: dims, first: [] };
  let [min, max, sum] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
  for (const x of numbers) {
    min = Math.min(min, x);
    max = Math.max(max, x);
    sum += x;
  }
  return { name, type: dtype, shape: dims, min, max, mean: sum / numbers.length, first: [...numbers.subarray(0, 5)] };
}

function summaryText(s: Summary): string {
  const number = (x: number | undefined): string => (x === undefined ? '' : String(Number(x.toPrecision(6))));
  const shape = s.shape ? ` ${shapeText(s.shape)}` : '';
  const range = s.min === undefined ? '' : `  min ${number(s.min)}  max ${number(s.max)}  mean ${number(s.mean)}`;
  const first = s.first?.length
    ? `  [${s.first.map((x) => (typeof x === 'number' ? number(x) : x)).join(', ')}, ...]`
    : '';
  return `${s.name}: ${s.type}${shape}${range}${first}`;
}

/** Writes what NumPy's format can hold. */
function save(folder: string, name: string, value: HostValue): string | undefined {
  if (value.kind !== 'tensor' || value.dtype === 'string') return undefined;
  const path = join(folder, `${name.replace(/[^\w.-]/g, '_')}.npy`);
  writeFileSync(path, encodeNpy(value));
  return path;
}

export const runModelCommand: Command = {
  name: 'run',
  summary: 'Runs a model once and prints its outputs.',
  usage: 'MODEL [--input [NAME=]FILE]... [--out DIR] [--shape NAME=DIMS,...]',
  positionals: [1, 1],
  options: {
    input: {
      type: 'string',
      multiple: true,
      value: '[NAME=]FILE',
      help: 'a .npy, .pb or raw file; other inputs are made up',
    },
    out: { type: 'string', value: 'DIR', help: 'write every output there as .npy' },
    shape: { type: 'string', value: 'NAME=1x3x224x224,...', help: 'shapes of inputs, or sizes of symbolic dimensions' },
    batch: { type: 'string', value: 'N', help: 'size of the first dimension where it is symbolic (1)' },
    threads: { type: 'string', value: 'T', help: 'most threads (the usable cores)' },
    ...precisionOption,
  },
  async run(args, out) {
    const threads = args.text('threads') === undefined ? {} : { threads: args.count('threads', 1, 1) };
    const compiled = CompiledModel.openSync(args.positionals[0], { ...threads, precision: precisionOf(args) });
    const batch = args.text('batch') === undefined ? undefined : args.count('batch', 1);
    const wishes = parseShapes(args.text('shape'), batch, compiled.model);
    const results = await compiled.run(gatherInputs(compiled.model, args.list('input'), wishes));
    const folder = args.text('out');
    if (folder !== undefined) mkdirSync(folder, { recursive: true });
    const summaries = results.map((value, i) => {
      const { name } = compiled.model.outputs[i];
      const file = folder === undefined ? undefined : save(folder, name, value);
      return { ...summarize(name, value), ...(file ? { file } : {}) };
    });
    for (const summary of summaries) out.line(summaryText(summary));
    out.result({ outputs: summaries });
    compiled.dispose();
    return 0;
  },
};
