// A child of the fuzzer that misbehaves on demand, for the test of the watcher.
const hoard = [];
const deeds = {
  die: () => process.abort(),
  exit: () => process.exit(3),
  hang: () => {
    for (;;);
  },
  grow: () => {
    for (;;) hoard.push(Buffer.alloc(2 ** 24, 1));
  },
  reject: () => Promise.reject(new Error('nobody waits for this')),
};

process.on('message', (job) => {
  if (job === 'fine') process.send({ result: 'ran' });
  else deeds[job]();
});
