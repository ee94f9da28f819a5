/**
 * Workers that share one model file: its bytes lie once in shared memory, every worker makes its session of them.
 *
 *   node pool.mjs [workers]
 */

import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { digitOf, modelPath, readDigits } from '../digits/digits.mjs';

/** Answers tasks on the first worker that is free. */
class Pool {
  #idle = [];
  #tasks = [];
  #workers;

  constructor(count, model) {
    this.#workers = Array.from({ length: count }, () => {
      const worker = new Worker(new URL('worker.mjs', import.meta.url), { workerData: { model } });
      worker.once('message', () => this.#free(worker));
      return worker;
    });
  }

  /** The scores of `pixels` (float32, any number of images), whose memory moves to the worker. */
  run(pixels) {
    return new Promise((resolve, reject) => {
      this.#tasks.push({ pixels, resolve, reject });
      this.#next();
    });
  }

  async close() {
    for (const worker of this.#workers) worker.postMessage({ end: true });
    await Promise.all(this.#workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));
  }

  #free(worker) {
    this.#idle.push(worker);
    this.#next();
  }

  #next() {
    if (this.#idle.length === 0 || this.#tasks.length === 0) return;
    const worker = this.#idle.pop();
    const { pixels, resolve, reject } = this.#tasks.shift();
    const ended = (error) => reject(error);
    worker.once('error', ended);
    worker.once('message', ({ scores, error }) => {
      worker.off('error', ended);
      if (error) reject(error);
      else resolve(scores);
      this.#free(worker);
    });
    worker.postMessage({ pixels }, [pixels.buffer]);
  }
}

/** The file in memory that all threads see. */
function sharedFile(path) {
  const bytes = readFileSync(path);
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  return shared;
}

const workers = Number(process.argv[2] ?? 4);
const digits = readDigits();
const pool = new Pool(workers, sharedFile(modelPath));
const start = performance.now();
const answers = await Promise.all(
  Array.from({ length: digits.count }, async (_, i) => digitOf([...(await pool.run(digits.image(i)))])),
);
const ms = performance.now() - start;
await pool.close();
const right = answers.filter((answer, i) => answer === digits.label(i)).length;
console.log(`${workers} workers, ${right} of ${digits.count} right, ${ms.toFixed(0)} ms with their start`);
