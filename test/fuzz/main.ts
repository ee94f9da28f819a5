/**
 * npm run fuzz -- [--seconds N | --cases N] [--seed TEXT] [--out DIR] [PATH...]: hostile models made from real ones.
 * --subject answers: what they compute against the references. --subject plans: models as they are, with changed plans.
 * npm run fuzz -- --replay DIR: a finding again. FILIGREE_FUZZ names folders too (separated by colons).
 */

import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Subject } from './cases.ts';
import type { Job } from './child.ts';
import { savedCase } from './findings.ts';
import { fuzz, usualLimits } from './fuzz.ts';
import { WatchedChild } from './watch.ts';

const child = join(__dirname, 'child.js');
const subjects: readonly Subject[] = ['models', 'answers', 'plans'];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string' },
    cases: { type: 'string' },
    seed: { type: 'string', default: new Date().toISOString() },
    out: { type: 'string', default: join('out', 'findings') },
    subject: { type: 'string', default: 'models' },
    replay: { type: 'string' },
  },
});

function wholeOf(name: string, text: string | undefined): number | undefined {
  if (text !== undefined && !/^\d+$/.test(text)) throw new RangeError(`--${name}: expected a number, got "${text}"`);
  return text === undefined ? undefined : Number(text);
}

async function replay(folder: string): Promise<boolean> {
  const saved = savedCase(folder);
  const runner = new WatchedChild<Job>(child, [saved.subject, saved.seed], usualLimits);
  const { result, defect } = await runner.run(saved);
  runner.close();
  console.log(defect ?? result);
  return defect === undefined;
}

async function longRun(): Promise<boolean> {
  const subject = subjects.find((each) => each === values.subject);
  if (!subject) throw new RangeError(`--subject: expected one of ${subjects}, got "${values.subject}"`);
  const cases = wholeOf('cases', values.cases);
  const seconds = wholeOf('seconds', values.seconds) ?? (cases === undefined ? 60 : Number.POSITIVE_INFINITY);
  const end = performance.now() + seconds * 1000;
  console.log(`seed ${values.seed}`);
  const report = await fuzz({
    subject,
    seed: values.seed,
    paths: [...positionals, ...(process.env.FILIGREE_FUZZ?.split(delimiter) ?? [])],
    child,
    folder: values.out,
    limits: usualLimits,
    wants: (index) => index < (cases ?? Number.POSITIVE_INFINITY) && performance.now() < end,
    onDefect: (defect, folder) => folder && console.log(`${folder}: ${defect.split('\n').slice(0, 4).join('\n')}`),
  });
  console.log(`${report.cases} cases: ${[...report.results].map(([name, count]) => `${name} ${count}`).join(', ')}`);
  for (const [key, count] of report.defects) console.log(`${count} x ${key}`);
  return report.defects.size === 0;
}

(values.replay === undefined ? longRun() : replay(values.replay)).then((fine) => {
  process.exitCode = fine ? 0 : 1;
});
