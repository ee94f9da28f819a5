/** Profiles in the trace event format, as onnxruntime writes them and chrome://tracing reads them. */

import { writeFileSync } from 'node:fs';
import type { ContentRunOptions } from '../runtime/compiled.ts';

type ProfileListener = NonNullable<ContentRunOptions['onProfile']>;

interface TraceEvent {
  readonly cat: 'Session' | 'Node';
  readonly name: string;
  readonly ph: 'X';
  readonly pid: number;
  readonly tid: number;
  /** Microseconds since profiling began. */
  readonly ts: number;
  readonly dur: number;
  readonly args: Readonly<Record<string, string>>;
}

/** Later events are dropped. */
const MAX_EVENTS = 1_000_000;

/** Collects the events of a session. */
export class Trace {
  readonly #path: string;
  readonly #start = performance.now();
  #events: TraceEvent[] = [];

  constructor(prefix: string) {
    const stamp = new Date().toISOString().slice(0, 23).replace('T', '_').replaceAll(/[:.]/g, '-');
    this.#path = `${prefix}_${stamp}.json`;
  }

  #add(cat: TraceEvent['cat'], name: string, from: number, milliseconds: number, args: TraceEvent['args']): void {
    if (this.#events.length >= MAX_EVENTS) return;
    const [ts, dur] = [from - this.#start, milliseconds].map((time) => Math.round(time * 1000));
    this.#events.push({ cat, name, ph: 'X', pid: process.pid, tid: 0, ts, dur, args });
  }

  /** Records the steps of a native section, which has just ended. */
  readonly onProfile: ProfileListener = ({ section }, times) => {
    const { steps } = section.plan;
    const last = steps.reduce((end, _, i) => Math.max(end, times[2 * i] + times[2 * i + 1]), 0);
    const began = performance.now() - last / 1e6;
    for (const [i, { node, kernel }] of steps.entries()) {
      const args = { op_name: node.op, provider: 'FiligreeExecutionProvider', kernel };
      this.#add(
        'Node',
        `${node.name || node.op}_kernel_time`,
        began + times[2 * i] / 1e6,
        times[2 * i + 1] / 1e6,
        args,
      );
    }
  };

  /** Records a run that began at `from` (performance.now()) and has just ended. */
  run(from: number): void {
    this.#add('Session', 'model_run', from, performance.now() - from, {});
  }

  /** Writes the file `PREFIX_TIME.json`. */
  write(): void {
    writeFileSync(this.#path, JSON.stringify(this.#events));
    this.#events = [];
  }
}
