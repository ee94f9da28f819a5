/** `filigree demo`: classifies the digits of the embedded example. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { HostTensor, HostValue } from '../ir/tensor.ts';
import { tensor, toNumbers } from '../ir/tensor.ts';
import { packageRoot } from '../package.ts';
import { CompiledModel } from '../runtime/compiled.ts';
import { thisMachine } from '../runtime/machine.ts';
import { densityOf } from '../sparse/density.ts';
import { type Command, grouped, table } from './command.ts';

const folder = join(packageRoot, 'examples', 'digits');

interface Digits {
  readonly count: number;
  readonly rows: number;
  readonly columns: number;
  readonly pixels: Uint8Array;
  readonly labels: Uint8Array;
}

function readDigits(): Digits {
  const bytes = gunzipSync(readFileSync(join(folder, 'test-images.bin.gz')));
  const [count, rows, columns] = [0, 4, 8].map((at) => bytes.readUInt32LE(at));
  const end = 12 + count * rows * columns;
  return { count, rows, columns, pixels: bytes.subarray(12, end), labels: bytes.subarray(end, end + count) };
}

const SHADES = ' .:-=+*#%@';

function drawDigit({ rows, columns, pixels }: Digits, i: number): string[] {
  const at = i * rows * columns;
  // Characters are twice as high as wide: every second row is enough.
  return Array.from({ length: rows / 2 }, (_, y) =>
    Array.from({ length: columns }, (_, x) => {
      const value = (pixels[at + 2 * y * columns + x] + pixels[at + (2 * y + 1) * columns + x]) / 2;
      return SHADES[Math.min(SHADES.length - 1, Math.floor((value / 256) * SHADES.length))];
    }).join(''),
  );
}

function inputOf({ count, rows, columns, pixels }: Digits): HostTensor {
  return tensor(
    'float32',
    [count, 1, rows, columns],
    Float32Array.from(pixels, (p) => p / 255),
  );
}

function answersOf(scores: HostValue): number[] {
  const values = toNumbers(scores as HostTensor);
  return Array.from({ length: values.length / 10 }, (_, i) => {
    const row = values.subarray(i * 10, i * 10 + 10);
    return row.indexOf(Math.max(...row));
  });
}

/** Images a second over about `seconds`. */
async function rate(model: CompiledModel, feeds: HostValue[], images: number, seconds: number): Promise<number> {
  for (let i = 0; i < 3; i++) await model.run(feeds);
  let best = Number.POSITIVE_INFINITY;
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
    const start = performance.now();
    await model.run(feeds);
    best = Math.min(best, performance.now() - start);
  }
  return (images / best) * 1000;
}

/** Milliseconds by node of one run, the largest first. */
async function timesByNode(model: CompiledModel, feeds: HostValue[]): Promise<[string, number][]> {
  const spent = new Map<string, number>();
  await model.run(feeds, {
    onProfile: ({ section }, times) => {
      section.plan.steps.forEach(({ node, kernel }, i) => {
        const name = `${node.name || node.op} (${kernel})`;
        spent.set(name, (spent.get(name) ?? 0) + times[2 * i + 1] / 1e6);
      });
    },
  });
  return [...spent].sort((a, b) => b[1] - a[1]);
}

/** Share of zeros in the weights of all convolutions and linear layers. */
function zerosOf(model: CompiledModel): number {
  let [zeros, all] = [0, 0];
  for (const node of model.model.graph.nodes) {
    const weight = node.inputs[1]?.constant;
    if (weight?.kind !== 'tensor' || weight.dims.length < 2) continue;
    all += weight.data.length;
    zeros += weight.data.length * (1 - densityOf(weight));
  }
  return zeros / all;
}

export const demoCommand: Command = {
  name: 'demo',
  summary: 'Classifies handwritten digits with the embedded sparse network.',
  usage: '',
  positionals: [0, 0],
  options: {},
  async run(_args, out) {
    const digits = readDigits();
    const sparse = CompiledModel.openSync(join(folder, 'digits.onnx'));
    const feeds = [inputOf(digits)];
    const answers = answersOf((await sparse.run(feeds))[0]);
    const right = answers.filter((answer, i) => answer === digits.labels[i]).length;
    const shown = [0, 1, 2];
    for (let y = 0; y < digits.rows / 2; y++) out.line(shown.map((i) => drawDigit(digits, i)[y]).join('   '));
    out.line(shown.map((i) => `says ${answers[i]}, is ${digits.labels[i]}`.padEnd(digits.columns)).join('   '));
    const zeros = zerosOf(sparse);
    const accuracy = right / digits.count;
    const sparseRate = await rate(sparse, feeds, digits.count, 1.5);
    const dense = CompiledModel.openSync(join(folder, 'digits.onnx'), { sparse: false });
    const denseRate = await rate(dense, feeds, digits.count, 1.5);
    const times = await timesByNode(sparse, feeds);
    const total = times.reduce((sum, [, ms]) => sum + ms, 0);
    out.line();
    out.line(
      `accuracy  ${right} of ${digits.count} right (${(accuracy * 100).toFixed(1)} %), ${(zeros * 100).toFixed(1)} % of the weights are zero`,
    );
    out.line(
      `speed     ${grouped(sparseRate)} images/s with sparse kernels, ${grouped(denseRate)} with dense ones: ${(sparseRate / denseRate).toFixed(1)}x`,
    );
    out.line(`machine   ${thisMachine().isa}, ${thisMachine().cores} cores, batch of ${digits.count}`);
    out.line();
    out.line('where the time went');
    out.line(
      table(
        times.slice(0, 6).map(([name, ms]) => [name, `${ms.toFixed(3)} ms`, `${((100 * ms) / total).toFixed(0)}%`]),
      ),
    );
    out.result({
      accuracy,
      zeros,
      imagesPerSecond: { sparse: sparseRate, dense: denseRate },
      steps: Object.fromEntries(times),
    });
    sparse.dispose();
    dense.dispose();
    return 0;
  },
};
