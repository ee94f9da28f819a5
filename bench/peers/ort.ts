/**
 * onnxruntime-node on one model: prints one line of JSON as `filigree benchmark --json` does.
 * Usage: ort.js MODEL --feeds FILE --threads T --seconds S [--write FILE]: writes inputs and outputs.
 */

import { parseArgs } from 'node:util';
import type * as Ort from 'onnxruntime-common';
import type { DType, NumericStorage } from '../../lib/ir/dtype.ts';
import { packageRequire } from '../../lib/package.ts';
import { least, median } from '../report/statistics.ts';
import { named, readTensors, writeTensors } from './exchange.ts';

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      feeds: { type: 'string' },
      threads: { type: 'string', default: '1' },
      seconds: { type: 'string', default: '2' },
      write: { type: 'string' },
    },
  });
  const { name, version } = packageRequire('onnxruntime-node/package.json') as { name: string; version: string };
  if (name !== 'onnxruntime-node') throw new Error(`onnxruntime-node is replaced by ${name}`);
  const ort = packageRequire('onnxruntime-node') as typeof Ort;
  const given = readTensors(values.feeds!).filter(({ role }) => role === 'input');
  const feeds: Record<string, Ort.Tensor> = {};
  for (const { name: input, dtype, dims, data } of given) {
    feeds[input] = new ort.Tensor(dtype as 'float32', data as Float32Array, dims);
  }
  const start = performance.now();
  const session = await ort.InferenceSession.create(positionals[0]!, {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'all',
    intraOpNumThreads: Number(values.threads),
    logSeverityLevel: 3,
  });
  const loadSeconds = (performance.now() - start) / 1000;
  let results = await session.run(feeds);
  if (values.write) {
    const outputs = session.outputNames.map((output) => {
      const { type, dims, data } = results[output]!;
      return named('output', output, { kind: 'tensor', dtype: type as DType, dims, data: data as NumericStorage });
    });
    writeTensors(values.write, 'onnxruntime-node', [...given, ...outputs]);
    console.log('{}');
    return;
  }
  const warmEnd = performance.now() + 1000;
  for (let i = 1; i < 5 && performance.now() < warmEnd; i++) results = await session.run(feeds);
  const times: number[] = [];
  const end = performance.now() + Number(values.seconds) * 1000;
  while (performance.now() < end || times.length < 5) {
    const from = performance.now();
    results = await session.run(feeds);
    times.push(performance.now() - from);
  }
  const figures = { median_ms: median(times), min_ms: least(times), n: times.length, load_s: loadSeconds };
  const peak = process.resourceUsage().maxRSS / 1024;
  console.log(JSON.stringify({ engine: 'onnxruntime-node', version, ...figures, peak_rss_mb: peak }));
}

main().catch((error: unknown) => {
  console.log(JSON.stringify({ error: (error as Error).message }));
  process.exitCode = 1;
});
