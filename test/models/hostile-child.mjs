// Loads and runs one hostile case in this process: node hostile-child.mjs DIST MODEL. Prints one line of JSON.
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';

const [, , dist, file] = process.argv;
const from = (path) => import(pathToFileURL(`${dist}/${path}`).href);
const { FiligreeError } = await from('errors.js');
const { loadModel } = await from('onnx/load.js');
const { openModelFile } = await from('runtime/model-file.js');
const { readPorts } = await from('cli/cases.js');
const { verifyGraph } = await from('ir/verify.js');
const { inferTypes } = await from('ops/infer.js');
const { interpret } = await from('ops/interpret.js');

const idle = process.memoryUsage.rss();
const report = { phase: 'load', typed: true, message: '', outputs: [], milliseconds: 0, megabytes: 0 };
const start = performance.now();
try {
  const model = loadModel(file, { files: openModelFile });
  verifyGraph(model.graph);
  inferTypes(model.graph);
  report.phase = 'run';
  if (existsSync(file)) {
    const feeds = readPorts(dirname(file), 'input', model.inputs);
    const outputs = interpret(model.graph, feeds);
    report.outputs = outputs.map((value) => (value.kind === 'tensor' ? Array.from(value.data.slice(0, 4), String) : []));
  }
  report.phase = 'done';
} catch (error) {
  report.typed = error instanceof FiligreeError;
  report.message = `${error?.name}: ${error?.message}`;
}
report.milliseconds = performance.now() - start;
report.megabytes = (process.resourceUsage().maxRSS * 1024 - idle) / 2 ** 20;
process.stdout.write(`${JSON.stringify(report)}\n`);
