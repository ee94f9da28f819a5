/**
 * Runs the network over every .npy file of a folder and writes the scores to another, one file each.
 *
 *   node job.mjs IN OUT [batch]
 *
 * A file whose result is there is skipped: a job that was stopped goes on where it was.
 */

import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Session, Tensor } from 'filigree';
import { modelPath } from '../digits/digits.mjs';
import { readNpy, writeNpy } from './npy.mjs';

const [from, to, batch = '16'] = process.argv.slice(2);
if (!to) {
  console.error('usage: node job.mjs IN OUT [batch]');
  process.exit(2);
}
mkdirSync(to, { recursive: true });
const all = readdirSync(from)
  .filter((name) => name.endsWith('.npy'))
  .sort();
const open = all.filter((name) => !existsSync(join(to, name)));
console.log(`${all.length} files, ${all.length - open.length} done before`);

let stopped = false;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    stopped = true;
  });
}

/** Files are read as the stream asks for them: memory stays the same for any number. */
async function* requests() {
  for (const name of open) {
    if (stopped) return;
    const { dims, data } = readNpy(join(from, name));
    yield { image: new Tensor('float32', data, dims) };
  }
}

const session = await Session.load(modelPath, { scheduler: 'throughput' });
const start = performance.now();
let done = 0;
for await (const { scores } of session.stream(requests(), { batch: Number(batch), concurrency: 2 })) {
  // Results come in the order of the requests.
  writeNpy(join(to, open[done++]), scores);
  if (done % 100 === 0) console.log(`${done} of ${open.length}`);
}
await session.dispose();
const seconds = (performance.now() - start) / 1000;
console.log(`${done} files in ${seconds.toFixed(2)} s${stopped ? ', stopped: run again to go on' : ''}`);
process.exitCode = stopped ? 130 : 0;
