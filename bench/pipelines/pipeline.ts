/**
 * One pipeline of Transformers.js: prints one line of JSON, as `filigree benchmark --json` does, with what it answered.
 * Usage: pipeline.js MODEL --task TASK --dtype DTYPE --from FOLDER --batch N --threads T --seconds S [--own]
 *
 * FOLDER is where @huggingface/transformers is looked for; with --own this package takes the place of onnxruntime-node.
 */

import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { least, median } from '../report/statistics.ts';
import type { Task } from './tasks.ts';

/** What is used of the package, whose own types want a browser's. */
interface Transformers {
  readonly env: {
    localModelPath: string;
    allowRemoteModels: boolean;
    readonly backends: { readonly onnx: { readonly versions: Readonly<Record<string, string | undefined>> } };
  };
  readonly RawImage: new (data: Uint8ClampedArray, width: number, height: number, channels: number) => object;
  pipeline(
    task: Task,
    model: string,
    options: object,
  ): Promise<(input: unknown, ...rest: unknown[]) => Promise<Answer>>;
}

/** A tensor, or plain objects with scores, labels and texts. */
type Answer = { readonly data: ArrayLike<number> } | readonly unknown[] | object;

const SIDE = 256;

/** Text of `count` words that the tokenizers of the models know; other ones answer too. */
function words(count: number, seed: number): string {
  const letter = (i: number): string => String.fromCharCode(97 + (i % 26));
  return Array.from({ length: count }, (_, i) => letter(seed + i * 7) + (i % 3 ? letter(seed * 5 + i) : '')).join(' ');
}

function inputsOf(task: Task, batch: number, { RawImage }: Transformers): unknown[] {
  return Array.from({ length: batch }, (_, item) => {
    if (task !== 'image-classification') return words(task.endsWith('generation') ? 12 : 31, item);
    const pixels = new Uint8ClampedArray(SIDE * SIDE * 3);
    for (let i = 0; i < pixels.length; i++) pixels[i] = (i * (item + 3) + (i >> 9) * 31) & 255;
    return new RawImage(pixels, SIDE, SIDE, 3);
  });
}

/** The arguments after the inputs. */
function argumentsOf(task: Task): unknown[] {
  if (task === 'feature-extraction') return [{ pooling: 'mean', normalize: true }];
  if (task === 'zero-shot-classification') return [['ab', 'cd', 'ef', 'gh'], { hypothesis_template: 'b {}' }];
  if (task === 'token-classification') return [{ ignore_labels: [] }];
  if (task.endsWith('generation')) return [{ max_new_tokens: 24, min_new_tokens: 24, do_sample: false }];
  return [{ top_k: 100 }];
}

/** Numbers and words of an answer, numbers of labels in the order of the labels. */
function contentOf(answer: unknown): { numbers: number[]; words: string[] } {
  const numbers: number[] = [];
  const found: string[] = [];
  const visit = (value: unknown): void => {
    if (typeof value === 'number') numbers.push(value);
    else if (typeof value === 'string') found.push(...value.split(' '));
    else if (Array.isArray(value)) value.forEach(visit);
    else if (value && typeof value === 'object' && 'data' in value) numbers.push(...(value.data as number[]));
    else if (value && typeof value === 'object') {
      const { scores, labels } = value as { scores?: number[]; labels?: string[] };
      if (scores && labels) byLabel(labels.map((label, i) => ({ label, score: scores[i]! }))).forEach(visit);
      else Object.values(value).forEach(visit);
    }
  };
  const byLabel = (items: { label: string; score: number }[]) =>
    items.sort((a, b) => (a.label < b.label ? -1 : 1)).map(({ score }) => score);
  const isRanked = (value: unknown): value is { label: string; score: number }[] =>
    Array.isArray(value) &&
    value.every((each) => typeof each === 'object' && each && 'label' in each && 'score' in each);
  const ranked = [answer, ...(Array.isArray(answer) ? answer : [])].filter(isRanked);
  for (const each of ranked.length ? ranked : [answer]) visit(isRanked(each) ? byLabel([...each]) : each);
  return { numbers, words: found };
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      task: { type: 'string' },
      dtype: { type: 'string' },
      from: { type: 'string' },
      batch: { type: 'string' },
      threads: { type: 'string' },
      seconds: { type: 'string' },
      own: { type: 'boolean' },
    },
  });
  if (values.own) await import('../../lib/register.ts');
  const requireThere = createRequire(join(resolve(values.from!), 'package.json'));
  const transformers = requireThere('@huggingface/transformers') as Transformers;
  const { env } = transformers;
  const folder = resolve(positionals[0]!);
  env.localModelPath = dirname(folder);
  env.allowRemoteModels = false;
  const { versions } = env.backends.onnx;
  const version = values.own ? versions.filigree : versions.node;
  if (!version) throw new Error('another engine was loaded than the one asked for');

  const task = values.task as Task;
  const start = performance.now();
  const options = { intraOpNumThreads: Number(values.threads) };
  const run = await transformers.pipeline(task, basename(folder), {
    ...{ dtype: values.dtype, device: 'cpu', session_options: options },
  });
  const loadSeconds = (performance.now() - start) / 1000;
  const inputs = inputsOf(task, Number(values.batch), transformers);
  const call = (): Promise<Answer> => run(inputs.length === 1 ? inputs[0] : inputs, ...argumentsOf(task));
  const content = contentOf(await call());
  const firstSeconds = (performance.now() - start) / 1000;
  const warmEnd = performance.now() + 1000;
  for (let i = 1; i < 5 && performance.now() < warmEnd; i++) await call();
  const times: number[] = [];
  const end = performance.now() + Number(values.seconds) * 1000;
  while (performance.now() < end || times.length < 5) {
    const from = performance.now();
    await call();
    times.push(performance.now() - from);
  }
  const figures = { median_ms: median(times), min_ms: least(times), n: times.length, load_s: loadSeconds };
  const peak = process.resourceUsage().maxRSS / 1024;
  console.log(JSON.stringify({ version, ...figures, first_s: firstSeconds, peak_rss_mb: peak, ...content }));
}

main().catch((error: unknown) => {
  console.log(JSON.stringify({ error: (error as Error).message }));
  process.exitCode = 1;
});
