/** One step of a recurrent cell: vanilla, GRU, LSTM. */

import type { Activation } from './recurrent-activation.ts';

/** Weights of one direction, transposed so that a step walks them in order. */
export interface CellWeights {
  readonly hidden: number;
  /** Recurrent weights [hidden, gates * hidden]. */
  readonly recurrent: Float64Array;
  /** Recurrent bias of the GRU's candidate, [hidden], which stays apart under linear_before_reset. */
  readonly candidateBias: Float64Array;
  /** Peepholes of the LSTM: input, output, forget, [3 * hidden]. */
  readonly peepholes: Float64Array | undefined;
  readonly linearBeforeReset: boolean;
  /** Input and forget gate coupled. */
  readonly coupled: boolean;
}

/**
 * Updates the state (and the LSTM's cell) by one step. `gates` [gates * hidden] holds the input's part with all other
 * biases, and is scratch afterwards.
 */
export type Step = (gates: Float64Array, state: Float64Array, cell: Float64Array) => void;

/** gates[from ...to) += state times the columns [from, to) of the recurrent weights. */
function addRecurrent(w: CellWeights, gates: Float64Array, state: Float64Array, from: number, to: number): void {
  const width = gates.length;
  for (let k = 0; k < w.hidden; k++) {
    const h = state[k];
    const row = k * width;
    for (let j = from; j < to; j++) gates[j] += h * w.recurrent[row + j];
  }
}

/** H = f(gate). */
export function vanillaStep(w: CellWeights, [f]: readonly Activation[]): Step {
  return (gates, state) => {
    addRecurrent(w, gates, state, 0, w.hidden);
    for (let i = 0; i < w.hidden; i++) state[i] = f(gates[i]);
  };
}

/** Gates z, r, h; the reset gate meets the state before or after the recurrent product. */
export function gruStep(w: CellWeights, [f, g]: readonly Activation[]): Step {
  const n = w.hidden;
  const work = new Float64Array(3 * n);
  const reset = new Float64Array(n);
  return (gates, state) => {
    addRecurrent(w, gates, state, 0, 2 * n);
    for (let i = 0; i < 2 * n; i++) gates[i] = f(gates[i]);
    work.fill(0);
    if (w.linearBeforeReset) {
      addRecurrent(w, work, state, 2 * n, 3 * n);
      for (let i = 0; i < n; i++) gates[2 * n + i] += gates[n + i] * (work[2 * n + i] + w.candidateBias[i]);
    } else {
      for (let i = 0; i < n; i++) reset[i] = gates[n + i] * state[i];
      addRecurrent(w, work, reset, 2 * n, 3 * n);
      for (let i = 0; i < n; i++) gates[2 * n + i] += work[2 * n + i] + w.candidateBias[i];
    }
    for (let i = 0; i < n; i++) state[i] = (1 - gates[i]) * g(gates[2 * n + i]) + gates[i] * state[i];
  };
}

/** Gates i, o, f, c, with peepholes from the cell. */
export function lstmStep(w: CellWeights, [f, g, h]: readonly Activation[]): Step {
  const n = w.hidden;
  const peephole = w.peepholes ?? new Float64Array(3 * n);
  return (gates, state, cell) => {
    addRecurrent(w, gates, state, 0, 4 * n);
    for (let i = 0; i < n; i++) {
      const input = f(gates[i] + peephole[i] * cell[i]);
      const forget = w.coupled ? 1 - input : f(gates[2 * n + i] + peephole[2 * n + i] * cell[i]);
      cell[i] = forget * cell[i] + input * g(gates[3 * n + i]);
      const output = f(gates[n + i] + peephole[n + i] * cell[i]);
      state[i] = output * h(cell[i]);
    }
  };
}
