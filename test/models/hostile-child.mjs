// Loads and runs one hostile case in this process: node hostile-child.mjs DIST MODEL EXPECTED. Prints one line of JSON.
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [, , dist, file, expected] = process.argv;
const from = (path) => import(pathToFileURL(`${dist}/${path}`).href);
const { FiligreeError } = await from('errors.js');
const { readPorts } = await from('cli/cases.js');
const { Session } = await from('runtime/session.js');

const idle = process.memoryUsage.rss();
const report = { phase: 'load', typed: true, message: '', outputs: [], milliseconds: 0, megabytes: 0, again: '' };
const start = performance.now();

function feedsOf(session, folder) {
  const values = readPorts(folder, 'input', session.inputs);
  const feeds = session.inputs.map(({ name }, i) => [name, values[i]]);
  return Object.fromEntries(feeds.map(([name, { dtype, dims, data }]) => [name, { type: dtype, dims, data }]));
}

let session;
try {
  session = await Session.load(file);
  report.phase = 'run';
  const signal = expected === 'cancel' ? AbortSignal.timeout(500) : undefined;
  const outputs = await session.run(feedsOf(session, dirname(file)), signal ? { signal } : {});
  report.outputs = Object.values(outputs).map((value) => Array.from(value.data.slice(0, 4), String));
  report.phase = 'done';
} catch (error) {
  report.typed = error instanceof FiligreeError;
  report.message = report.typed ? `${error.name}: ${error.message}` : String(error?.stack ?? error);
}
report.milliseconds = performance.now() - start;
report.megabytes = (process.resourceUsage().maxRSS * 1024 - idle) / 2 ** 20;
if (/feed_wrong_\w+/.test(file)) {
  // The same network and the feeds it wants: a failed run has not spoilt the session.
  const healthy = feedsOf(session, join(dirname(file), '..', 'control_fine'));
  report.again = Object.values(await session.run(healthy))[0].dims.join();
}
process.stdout.write(`${JSON.stringify(report)}\n`);
