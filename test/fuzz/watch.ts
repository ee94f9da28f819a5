/** Runs jobs in a child process, one after the other, and outlives whatever they do to it. */

import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Outcome } from './run-case.ts';

export interface Limits {
  readonly milliseconds: number;
  /** Resident memory of the child. */
  readonly megabytes: number;
}

/** Jobs after which a child is replaced, so that what piles up over many sessions is not taken for one case's need. */
const JOBS_PER_CHILD = 2000;
const POLL = 50;

/** Resident megabytes of a process; 0 where the system does not say. */
function residentMegabytes(pid: number): number {
  try {
    return Number(/VmRSS:\s*(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** A child that answers each message with an outcome. */
export class WatchedChild<Job> {
  readonly #script: string;
  readonly #args: readonly string[];
  readonly #limits: Limits;
  #child: ChildProcess | undefined;
  #errors = '';
  #jobs = 0;

  constructor(script: string, args: readonly string[], limits: Limits) {
    this.#script = script;
    this.#args = args;
    this.#limits = limits;
  }

  /** What became of the job; a child that dies, hangs or grows too large is a defect. */
  run(job: Job): Promise<Outcome> {
    const child = this.#ready();
    this.#jobs++;
    return new Promise((done) => {
      const began = performance.now();
      const finish = (outcome: Outcome, kill: boolean): void => {
        clearInterval(poll);
        child.removeAllListeners('message').removeAllListeners('close');
        if (kill) this.close();
        done(outcome);
      };
      const poll = setInterval(() => {
        const defect = this.#overLimit(child, performance.now() - began);
        if (defect) finish({ result: 'defect', defect }, true);
      }, POLL);
      child.on('message', (outcome: Outcome) => finish(outcome, false));
      child.on('close', (code, signal) => {
        const defect = `the process died: ${signal ?? `exit ${code}`}\n${this.#errors.slice(0, 6000)}`;
        finish({ result: 'defect', defect }, true);
      });
      child.send(job as object);
    });
  }

  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  #overLimit(child: ChildProcess, milliseconds: number): string | undefined {
    if (milliseconds > this.#limits.milliseconds) return `no answer within ${this.#limits.milliseconds} ms`;
    const megabytes = residentMegabytes(child.pid as number);
    return megabytes > this.#limits.megabytes ? `more than ${this.#limits.megabytes} MB of memory` : undefined;
  }

  #ready(): ChildProcess {
    if (this.#child && this.#jobs < JOBS_PER_CHILD) return this.#child;
    this.close();
    const child = fork(this.#script, this.#args, {
      execArgv: ['--max-old-space-size=512'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#errors = '';
    child.stderr?.on('data', (text: Buffer) => {
      this.#errors += text;
    });
    this.#child = child;
    this.#jobs = 0;
    return child;
  }
}
