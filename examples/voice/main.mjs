/**
 * Tells when somebody speaks.
 *
 *   node main.mjs                                            a synthetic voice, as fast as it goes
 *   arecord -t raw -f S16_LE -r 16000 | node main.mjs -      a microphone: signed 16 bits, 16 kHz, one channel
 */

import { RATE, VoiceDetector } from './detector.mjs';
import { speak } from './synthesis.mjs';

/** Samples of a raw stream; a sample may be cut between two reads. */
async function* samplesOf(stream) {
  let rest = Buffer.alloc(0);
  for await (const read of stream) {
    const bytes = Buffer.concat([rest, read]);
    const whole = bytes.length - (bytes.length % 2);
    rest = bytes.subarray(whole);
    yield Float32Array.from({ length: whole / 2 }, (_, i) => bytes.readInt16LE(2 * i) / 32768);
  }
}

/** As a sound card delivers: 10 ms at a time, which is no multiple of the network's chunk. */
function* pieces(sound) {
  for (let at = 0; at < sound.length; at += RATE / 100) yield sound.subarray(at, at + RATE / 100);
}

const phrases = [
  [0.8, 2.1],
  [3.2, 4.4],
];
const live = process.argv[2] === '-';
const source = live ? samplesOf(process.stdin) : pieces(speak(6, phrases));
if (!live) console.log(`spoken   ${phrases.map(([from, to]) => `${from.toFixed(2)} - ${to.toFixed(2)} s`).join(', ')}`);

const session = await VoiceDetector.load();
const detector = new VoiceDetector(session);
let since;
let [chunks, spent, heard] = [0, 0, 0];
for await (const samples of source) {
  const start = performance.now();
  const found = [...detector.push(samples)];
  spent += performance.now() - start;
  chunks += found.length;
  for (const { seconds, probability } of found) {
    heard = seconds;
    // Two bounds: one alone would flicker.
    if (since === undefined && probability > 0.6) since = seconds;
    if (since !== undefined && probability < 0.3) {
      console.log(`heard    ${since.toFixed(2)} - ${seconds.toFixed(2)} s`);
      since = undefined;
    }
  }
}
if (since !== undefined) console.log(`heard    ${since.toFixed(2)} - ${heard.toFixed(2)} s`);
await session.dispose();
console.log(`${chunks} chunks of 32 ms, ${((spent / chunks) * 1000).toFixed(0)} microseconds each`);
