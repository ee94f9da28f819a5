import { fileURLToPath } from 'node:url';
import { Session, Tensor } from 'filigree';

/** Samples a second the network was trained on. */
export const RATE = 16000;
const CHUNK = 512;
const STATE = [1, 1, 24];

/** Finds voiced sound in one stream of samples. The network's state is the detector's: one detector a stream. */
export class VoiceDetector {
  #session;
  #state = new Tensor('float32', new Float32Array(24), STATE);
  #rest = new Float32Array(0);
  #chunks = 0;

  /** Detectors may share a session: it keeps nothing between runs. */
  constructor(session) {
    this.#session = session;
  }

  static load() {
    return Session.load(fileURLToPath(new URL('voice.onnx', import.meta.url)), { threads: 1 });
  }

  /** Takes samples as they come, any number of them (-1..1); gives `{ seconds, probability }` of every full chunk. */
  *push(samples) {
    const all = new Float32Array(this.#rest.length + samples.length);
    all.set(this.#rest);
    all.set(samples, this.#rest.length);
    let at = 0;
    for (; at + CHUNK <= all.length; at += CHUNK) {
      const chunk = new Tensor('float32', all.subarray(at, at + CHUNK), [1, CHUNK]);
      // A chunk takes microseconds: runSync costs less than a turn of the event loop.
      const { probability, next_state } = this.#session.runSync({ samples: chunk, state: this.#state });
      this.#state = next_state;
      yield { seconds: (this.#chunks++ * CHUNK) / RATE, probability: probability.data[0] };
    }
    this.#rest = all.slice(at);
  }
}
