import { parseArgs } from 'node:util';
import { describe, expect, it } from 'vitest';
import { countList, numberList, oneCount, runOptions, runSettings } from '../../bench/report/arguments.ts';
import { barChart, escaped, niceStep, shortNumber } from '../../bench/report/chart.ts';
import { lastJson } from '../../bench/report/child.ts';
import { geometricMean, least, median, relativeDifference } from '../../bench/report/statistics.ts';
import { disturbedNote, summarize } from '../../bench/report/summary.ts';
import { type Column, markdownTable, textTable } from '../../bench/report/table.ts';
import { flagsOf } from '../../bench/sweep/flags.ts';

describe('statistics', () => {
  it('takes the middle of odd and even counts', () => {
    expect(median([9, 1, 10])).toBe(9);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([])).toBeNaN();
    expect(least([3, -1, 2])).toBe(-1);
    expect(least([])).toBeNaN();
  });

  it('takes the geometric mean', () => {
    expect(geometricMean([0.5, 2])).toBeCloseTo(1);
    expect(geometricMean([1, 10, 100])).toBeCloseTo(10);
  });

  it('relates the largest difference to the largest magnitude', () => {
    expect(relativeDifference([1, 2, 3.5], [1, 2, 4])).toBeCloseTo(0.125);
    expect(relativeDifference([0, Number.NaN], [0, Number.NaN])).toBe(0);
    expect(relativeDifference([1, Number.POSITIVE_INFINITY], [2, Number.POSITIVE_INFINITY])).toBeCloseTo(0.5);
    expect(relativeDifference([Number.NaN], [1])).toBe(Number.POSITIVE_INFINITY);
    expect(relativeDifference([1], [1, 2])).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('tables', () => {
  const columns: Column<{ name: string; ms: number | undefined }>[] = [
    { title: 'name', of: (row) => row.name },
    { title: 'ms', digits: 2, of: (row) => row.ms },
  ];
  const rows = [
    { name: 'a|b', ms: 1.234 },
    { name: 'longer', ms: 100 },
    { name: 'none', ms: undefined },
  ];

  it('aligns text', () => {
    expect(textTable(columns, rows)).toBe('name        ms\na|b       1.23\nlonger  100.00\nnone         -');
  });

  it('escapes Markdown', () => {
    const lines = '| name | ms |\n| --- | ---: |\n| a\\|b | 1.23 |\n| longer | 100.00 |\n| none | - |';
    expect(markdownTable(columns, rows)).toBe(lines);
  });
});

describe('charts', () => {
  it('chooses round steps', () => {
    expect([0.9, 1, 1.1, 2.5, 6, 40].map(niceStep)).toEqual([1, 1, 2, 5, 10, 50]);
    expect(niceStep(0.003)).toBeCloseTo(0.005);
    expect([1234.5, 12.345, 0.0012345].map(shortNumber)).toEqual(['1235', '12.3', '0.00123']);
  });

  it('draws bars in proportion and names what is missing', () => {
    const groups = [
      { label: 'a<b', values: [10, 5] },
      { label: 'c', values: [undefined, 2.5] },
    ];
    const svg = barChart({ title: 'T & U', unit: 'ms', series: ['x', 'y'], groups });
    expect(svg).toMatch(/^<svg [^>]*viewBox/);
    expect(svg.trimEnd().endsWith('</svg>')).toBe(true);
    expect(svg).toContain('T &amp; U');
    expect(svg).toContain('a&lt;b, x: 10');
    const widths = [...svg.matchAll(/width="([\d.]+)" height="14"/g)].map((m) => Number(m[1]));
    expect(widths).toEqual([560, 280, 140]);
    expect(svg.match(/>none</g)).toHaveLength(1);
    expect(escaped('"<&>')).toBe('&quot;&lt;&amp;&gt;');
  });

  it('draws nothing to compare without dividing by zero', () => {
    const svg = barChart({ title: 't', unit: 'ms', series: ['x'], groups: [{ label: 'zero', values: [0] }] });
    expect(svg).not.toMatch(/NaN|Infinity/);
  });
});

describe('arguments', () => {
  it('reads lists and refuses what is none', () => {
    expect(numberList('s', '0,0.5', 0, 1)).toEqual([0, 0.5]);
    expect(countList('b', '1,16')).toEqual([1, 16]);
    expect(() => numberList('sparsity', '0,1', 0, 1)).toThrow('--sparsity: expected numbers from 0 to below 1');
    expect(() => numberList('s', '1,,2', 0)).toThrow('with commas between');
    expect(() => countList('batch', '1.5')).toThrow('--batch: expected whole numbers');
    expect(() => oneCount('rounds', '1,2')).toThrow('--rounds: expected one number');
  });
});

describe('rounds', () => {
  const round = (median_ms: number, min_ms: number, foreign: number) => ({
    line: { median_ms, min_ms, peak_rss_mb: 100 * min_ms, load_s: 1, plan_s: 0.5 },
    foreign,
  });

  it('leaves disturbed and failed ones out', () => {
    const rounds = [round(5, 4, 0), round(3, 2, 0.5), round(7, 6, 0.01), { line: { error: 'x' }, foreign: 0 }];
    expect(summarize(rounds)).toMatchObject({ medianMs: 6, minMs: 4, peakMb: 600, rounds: 2, error: undefined });
  });

  it('uses disturbed ones where there are no others, and says so', () => {
    const summary = summarize([round(3, 2, 0.5)]);
    expect(summary).toMatchObject({ medianMs: 3, foreign: 0.5 });
    expect(disturbedNote([summary, { foreign: 0 }])[0]).toContain('in 1 of 2 rows');
    expect(disturbedNote([{ foreign: undefined }])).toEqual([]);
  });

  it('keeps the error of those that all failed', () => {
    expect(summarize([{ line: { error: 'no memory' }, foreign: 0 }])).toMatchObject({ error: 'no memory' });
  });

  it('finds the last line of JSON', () => {
    expect(lastJson('noise\n{"a":1}\n{"a":2}\nbye\n')).toEqual({ a: 2 });
    expect(lastJson('noise')).toBeUndefined();
    expect(lastJson('{broken')).toBeUndefined();
  });
});

describe('flags of a sweep', () => {
  const point = (sparsity: number, batch: number, itemMs: number) => ({ sparsity, batch, itemMs });
  const tolerances = { zeros: 0.05, batch: 0 };

  it('finds what is slower with more zeros than the fastest with fewer', () => {
    const points = [point(0, 1, 10), point(0.5, 1, 8), point(0.8, 1, 8.3), point(0.9, 1, 8.5), point(0.95, 1, 2)];
    const flags = flagsOf(points, tolerances);
    expect(flags.map((each) => each.length)).toEqual([0, 0, 0, 1, 0]);
    expect(flags[3]![0]).toBe('6.3 % slower than with 50.0 % zeros');
  });

  it('finds batches whose items are slower than one alone', () => {
    const points = [point(0, 1, 10), point(0, 4, 9), point(0, 8, 10.1), point(0.5, 8, 5)];
    expect(flagsOf(points, tolerances)).toEqual([[], [], ['an item 1.0 % slower than at batch 1'], []]);
    expect(flagsOf(points, { zeros: 0.05, batch: 0.05 }).flat()).toEqual([]);
  });

  it('leaves out what has no time', () => {
    const points = [point(0, 1, Number.NaN), point(0.5, 1, 5), point(0.9, 1, Number.NaN)];
    expect(flagsOf(points, tolerances)).toEqual([[], [], []]);
  });
});

describe('settings of runs', () => {
  const of = (...args: string[]) =>
    runSettings(parseArgs({ args, options: runOptions('1,4', 2, 3), strict: true }).values, 6);

  it("are a benchmark's own where nothing is said", () => {
    expect(of()).toEqual({ threads: 6, seconds: 2, rounds: 3, timeout: 300, batches: [1, 4], shape: undefined });
  });

  it('are what is said', () => {
    const args = [
      '--threads',
      '2',
      '--seconds',
      '0.5',
      '--rounds',
      '1',
      '--timeout',
      '9',
      '--batch',
      '8',
      '--shape',
      'n=2',
    ];
    const said = { threads: 2, seconds: 0.5, rounds: 1, timeout: 9, batches: [8], shape: 'n=2' };
    expect(of(...args)).toEqual(said);
    expect(() => of('--rounds', '1.5')).toThrow('--rounds: expected a whole number');
    expect(() => of('--timeout', '0')).toThrow('--timeout: expected numbers of at least 1');
  });
});
