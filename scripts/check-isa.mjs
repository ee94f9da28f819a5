// Proves that no function is shared between the kernels of two instruction sets: a shared one would be linked once, with
// one set's instructions, and fail on a CPU without them. So kernel objects must define no weak (W, V) or unique (u)
// symbol. Arguments: build folders, "build" and "out" by default; exits quietly where nothing has been built.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const folders = process.argv.length > 2 ? process.argv.slice(2) : ['build', 'out'];
const objects = folders.filter(existsSync).flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /kernels_[a-z0-9]+(\.dir)?[\\/].*\.(o|obj)$/.test(name))
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile()),
);
if (objects.length === 0) {
  console.log('check-isa: no kernel objects; nothing has been built');
  process.exit(0);
}

const shared = execFileSync('nm', ['-A', '--defined-only', '-C', ...objects], { encoding: 'utf8', maxBuffer: 1 << 28 })
  .split('\n')
  .filter((line) => /:[0-9a-f]* [WVu] /.test(line));
for (const line of shared) console.error(line);
console.log(`check-isa: ${objects.length} objects, ${shared.length} shared symbols`);
process.exit(shared.length > 0 ? 1 : 0);
