// Run as a process of its own: node child.mjs DIST ACTION MODEL [VALUE]. What happens when it ends in the middle.
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const [dist, action, file, value, reached] = isMainThread ? process.argv.slice(2) : workerData;
const { Session, Tensor } = await import(pathToFileURL(`${dist}/index.js`).href);

function feedsOf(session) {
  const feeds = session.inputs.map(({ name, type }) => {
    const dims = type.shape.map((dim) => (typeof dim === 'number' ? dim : 2));
    const size = dims.reduce((a, b) => a * b, 1);
    return [name, new Tensor('float32', new Float32Array(size).fill(1), dims)];
  });
  return Object.fromEntries(feeds);
}

async function* forever(session) {
  for (;;) yield feedsOf(session);
}

/** Milliseconds that this thread was ready but had no core: other processes' doing, not this one's. */
function starved() {
  try {
    return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

/** How late a timer of 1 ms is, time without a core taken off, until `end`. */
async function ownDelays(end) {
  const delays = [];
  while (performance.now() < end) {
    const [since, waited] = [performance.now(), starved()];
    await new Promise((resolve) => setTimeout(resolve, 1));
    delays.push(Math.max(0, performance.now() - since - 1 - (starved() - waited)));
  }
  return delays.sort((a, b) => a - b);
}

const inMegabytes = () => process.memoryUsage.rss() / 2 ** 20;

/** Memory after each tenth of `count` cycles, the event loop and the collector having had their turn. */
async function memoryOf(count, cycle) {
  const seen = [];
  for (let i = 1; i <= count; i++) {
    await cycle(i);
    if (i % Math.ceil(count / 10)) continue;
    for (let k = 0; k < 3; k++) {
      globalThis.gc?.();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    seen.push(inMegabytes());
  }
  return seen;
}

/** Loads and runs for ever, to be terminated at any moment. */
async function work() {
  parentPort.postMessage('started');
  for (;;) {
    const session = await Session.load(file);
    Atomics.store(reached, 0, 1);
    const feeds = feedsOf(session);
    await Promise.all([session.run(feeds), session.run(feeds), session.run(feeds)]);
    Atomics.store(reached, 1, 1);
    session.runSync(feeds);
    if (Math.random() < 0.5) await session.dispose();
  }
}

/** Counts where a Worker was when it ended: before its first session, in its first runs, or later. */
async function terminate(where) {
  const seen = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL(import.meta.url), { workerData: [dist, 'work', file, '', seen] });
  worker.on('error', (error) => {
    throw error;
  });
  if (Math.random() < 0.9) await new Promise((resolve) => worker.once('message', resolve));
  // However fast the machine is: at least one in ten ends in each stretch of its life.
  const least = Math.random() < 0.3 ? Math.floor(Math.random() * 3) : 0;
  while (seen[0] + seen[1] < least) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
  await worker.terminate();
  where[seen[0] + seen[1]]++;
}

const actions = {
  work,
  async finish() {
    const session = await Session.load(file);
    await session.run(feedsOf(session));
  },
  async terminate() {
    const where = [0, 0, 0];
    const memory = await memoryOf(Number(value), () => terminate(where));
    const session = await Session.load(file);
    await session.run(feedsOf(session));
    console.log(JSON.stringify({ memory, where }));
  },
  async cycles() {
    const bytes = readFileSync(file);
    const memory = await memoryOf(Number(value), async () => {
      const session = await Session.load(bytes);
      await session.run(feedsOf(session));
      await session.dispose();
    });
    console.log(JSON.stringify({ memory }));
  },
  async 'file-cycles'() {
    const memory = await memoryOf(Number(value), async () => {
      const session = await Session.load(file);
      await session.run(feedsOf(session));
      await session.dispose();
    });
    console.log(JSON.stringify({ memory }));
  },
  async undisposed() {
    const bytes = readFileSync(file);
    const memory = await memoryOf(Number(value), async () => {
      const session = await Session.load(bytes);
      await session.run(feedsOf(session));
    });
    console.log(JSON.stringify({ memory }));
  },
  async outputs() {
    const session = await Session.load(file);
    const x = new Tensor('float32', new Float32Array(2 ** 20), [1, 2 ** 20]);
    const rounds = await memoryOf(Number(value), () => session.run({ x }));
    const before = inMegabytes();
    for (let i = 0; i < Number(value); i++) session.runSync({ x });
    console.log(JSON.stringify({ memory: rounds, before, after: inMegabytes() }));
  },
  async callers() {
    const session = await Session.load(file);
    const feeds = Array.from({ length: 24 }, (_, k) => {
      const { x } = feedsOf(session);
      const data = x.data.map((_, i) => ((i * (k + 3)) % 17) / 17);
      return { x: new Tensor('float32', data, x.dims) };
    });
    const expected = feeds.map((each) => session.runSync(each).y.data);
    for (const each of feeds) await session.run(each);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const end = performance.now() + Number(value) * 1000;
    let [runs, wrong] = [0, 0];
    const call = async (k) => {
      for (; performance.now() < end; runs++) {
        const { y } = await session.run(feeds[k]);
        // Batches run in panels, whose sums may be ordered otherwise than those of a run on all threads.
        if (y.data.some((each, i) => !(Math.abs(each - expected[k][i]) <= 1e-4 * Math.abs(expected[k][i]) + 1e-5)))
          wrong++;
      }
    };
    const [own] = await Promise.all([ownDelays(end), ...feeds.map((_, k) => call(k))]);
    const [p50, p99] = [50, 99].map((share) => delay.percentile(share) / 1e6);
    console.log(JSON.stringify({ runs, wrong, p50, p99, own: own[Math.floor(own.length * 0.99)] }));
  },
  async load() {
    setTimeout(() => process.exit(7), Number(value));
    for (;;) await Session.load(file);
  },
  async run() {
    const session = await Session.load(file);
    setTimeout(() => process.exit(7), Number(value));
    for (;;) await Promise.all([session.run(feedsOf(session)), session.run(feedsOf(session))]);
  },
  async stream() {
    const session = await Session.load(file);
    setTimeout(() => process.exit(7), Number(value));
    for await (const _ of session.stream(forever(session), { concurrency: 3 }));
  },
  async throw() {
    const session = await Session.load(file);
    void session.run(feedsOf(session));
    throw new Error('on purpose');
  },
};

await actions[action]();
