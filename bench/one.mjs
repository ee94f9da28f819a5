// Times one model and prints one line of JSON: the engine of benchmark kits that call each engine in a fresh process.
// Usage: node bench/one.mjs MODEL BATCH THREADS SECONDS [SYMBOL=SIZE,... of dimensions without a fixed size]
const [model, batch = '1', threads = '1', seconds = '2', dims = ''] = process.argv.slice(2);
process.argv.splice(2, process.argv.length, 'benchmark', model, '--batch', batch, '--threads', threads);
process.argv.push('--seconds', seconds, '--json', ...(dims ? ['--shape', dims] : []));
await import('../dist/cli/main.js');
