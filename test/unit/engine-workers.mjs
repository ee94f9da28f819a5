// Run as a process of its own: what happens to native work when its thread or process goes away.
// Arguments: addon's path, then "terminate N" or "exit CODE" or "finish".
import { createRequire } from 'node:module';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const require = createRequire(import.meta.url);
const [addon, action, value] = isMainThread ? process.argv.slice(2) : workerData;
const engine = require(addon);
const isa = engine.isa();
const fill = engine.kernels(isa).findIndex((kernel) => kernel.name === 'fill.bytes');
const copy = engine.kernels(isa).findIndex((kernel) => kernel.name === 'copy.bytes');

/** Fills, then copies a large constant `count` times: seconds of work that reads memory of this thread. */
function busyPlan(count) {
  const size = 1 << 20;
  const constant = engine.constant(new Uint8Array(size));
  const buffers = [3, 0, 0, size, 0, 0, 0, 2, 0, 0, size, 0, 0, 0];
  const steps = [2, count, 0, 1, fill, 1, 1, 3, size, 1, 5, 1, copy, 2, 0, 1, 1, size, 3];
  return engine.plan(isa, Float64Array.of(0xf111, 1, 0, 0, 1, 1, 2, 4, size, ...buffers, ...steps), [constant]);
}

async function terminate(times) {
  for (let i = 0; i < times; i++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: [addon] });
    worker.on('error', (error) => {
      throw error;
    });
    await new Promise((resolve) => worker.once('message', resolve));
    if (i % 3) await new Promise((resolve) => setTimeout(resolve, i % 7));
    await worker.terminate();
  }
}

async function shortRun() {
  const [result] = await engine.run(busyPlan(3), [], [null]);
  if (!(result instanceof ArrayBuffer) || new Uint8Array(result).some((byte) => byte !== 0)) throw new Error('wrong');
}

if (!isMainThread) {
  const plan = busyPlan(1 << 20);
  for (let i = 0; i < 4; i++) engine.run(plan, [], [null], { threads: 1 + (i % 2) });
  for (let i = 0; i < 10; i++) shortRun();
  shortRun().then(() => parentPort.postMessage('done'));
  parentPort.postMessage('started');
} else if (action === 'terminate') {
  await terminate(Number(value));
  await shortRun();
  console.log('clean');
} else if (action === 'exit') {
  engine.run(busyPlan(1 << 20), [], [null]);
  setTimeout(() => process.exit(Number(value)), 10);
} else {
  await shortRun();
  console.log('clean');
}
