/** Long work in turns: generators that yield where others may run. */

/** Runs the work to its end without a pause. */
export function finish<T>(work: Generator<unknown, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}
