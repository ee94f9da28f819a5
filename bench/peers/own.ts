/**
 * Makes inputs of a model, or runs it on given ones and compares with what others computed.
 * Usage: own.js MODEL --batch N --shape TEXT --write FILE: seeded inputs.
 *        own.js MODEL --threads T --feeds FILE --npy FOLDER --against FILE ...: inputs as .npy files, and one line of
 *        JSON with the largest difference from each FILE's outputs over their largest magnitude.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gatherInputs, parseShapes } from '../../lib/cli/feeds.ts';
import type { HostTensor } from '../../lib/ir/tensor.ts';
import { tensor, toParts } from '../../lib/ir/tensor.ts';
import { encodeNpy } from '../../lib/onnx/npy.ts';
import { CompiledModel } from '../../lib/runtime/compiled.ts';
import { relativeDifference } from '../report/statistics.ts';
import { type Named, named, readTensors, writeTensors } from './exchange.ts';

const asTensor = ({ dtype, dims, data }: Named): HostTensor => tensor(dtype, dims, data);

function differenceFrom(file: string, mine: readonly Named[]): number {
  const others = readTensors(file).filter(({ role }) => role === 'output');
  if (others.length !== mine.length) throw new Error(`${file} has ${others.length} outputs, expected ${mine.length}`);
  const gaps = others.map((other, i) => relativeDifference(toParts(asTensor(mine[i]!)), toParts(asTensor(other))));
  return gaps.reduce((most, gap) => Math.max(most, gap), 0);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      batch: { type: 'string', default: '1' },
      shape: { type: 'string' },
      threads: { type: 'string', default: '1' },
      feeds: { type: 'string' },
      npy: { type: 'string' },
      write: { type: 'string' },
      against: { type: 'string', multiple: true, default: [] },
    },
  });
  const compiled = CompiledModel.openSync(positionals[0]!, { threads: Number(values.threads) });
  const { model } = compiled;
  if (!values.feeds) {
    const feeds = gatherInputs(model, [], parseShapes(values.shape, Number(values.batch), model));
    const given = model.inputs.flatMap(({ name }, i) => (feeds[i] ? [named('input', name, feeds[i])] : []));
    writeTensors(values.write!, 'filigree', given);
    console.log('{}');
    return;
  }
  const given = readTensors(values.feeds).filter(({ role }) => role === 'input');
  const files = given.map((each, i) => {
    const file = join(values.npy!, `input_${i}.npy`);
    writeFileSync(file, encodeNpy(asTensor(each)));
    return `${each.name}=${file}`;
  });
  const feeds = model.inputs.map(({ name }) => given.find((each) => each.name === name)).map((x) => x && asTensor(x));
  const results = (await compiled.run(feeds)).map((value, i) => named('output', model.outputs[i]!.name, value));
  const differences = values.against.map((file) => differenceFrom(file, results));
  // JSON has no infinity.
  console.log(JSON.stringify({ inputs: files, differences: differences.map((x) => (Number.isFinite(x) ? x : 'inf')) }));
}

main().catch((error: unknown) => {
  console.log(JSON.stringify({ error: (error as Error).message }));
  process.exitCode = 1;
});
