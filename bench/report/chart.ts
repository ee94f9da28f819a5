/** Horizontal bars as plain SVG, with no script and no fonts of its own. */

export interface Chart {
  readonly title: string;
  /** What the axis counts: `ms`. */
  readonly unit: string;
  /** Names of the bars of each group, in their order. */
  readonly series: readonly string[];
  /** A value for each series; undefined where there is none, which is written beside the empty place. */
  readonly groups: readonly { readonly label: string; readonly values: readonly (number | undefined)[] }[];
}

/** Distinguishable also without colour vision, on white and on black. */
const colours = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#d55e00', '#56b4e9', '#999999'];

const BAR = 16;
const GAP = 10;
const PLOT = 560;
const GLYPH = 7;

export function escaped(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (c) => names[c]!);
}

/** The least of 1, 2, 5, 10, 20, ... times a power of ten that is not below `value`, for axes with five steps. */
export function niceStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5].find((factor) => factor * power >= value * (1 - 1e-9)) ?? 10);
}

/** At most three significant digits, never an exponent. */
export function shortNumber(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** The chart as an SVG document. */
export function barChart({ title, unit, series, groups }: Chart): string {
  const values = groups.flatMap((group) => group.values).filter((v) => v !== undefined && Number.isFinite(v));
  const largest = Math.max(...(values as number[]), 0);
  const step = niceStep(largest > 0 ? largest / 5 : 1);
  const end = step * Math.max(1, Math.ceil(largest / step - 1e-9));
  const left = 16 + GLYPH * Math.max(4, ...groups.map(({ label }) => label.length));
  const width = left + PLOT + 80;
  const legend = series.length > 1 ? 22 : 0;
  const top = 40 + legend;
  const pitch = BAR * series.length + GAP;
  const bottom = top + pitch * groups.length;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${bottom + 36}" viewBox="0 0 ${width} ${bottom + 36}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="8" y="22" font-size="15" font-weight="bold">${escaped(title)}</text>`,
  ];
  if (legend) parts.push(...legendOf(series));
  for (let i = 0; i * step <= end * (1 + 1e-9); i++) {
    const x = (left + (PLOT * i * step) / end).toFixed(1);
    parts.push(`<line x1="${x}" x2="${x}" y1="${top - 4}" y2="${bottom}" stroke="#ddd"/>`);
    parts.push(`<text x="${x}" y="${bottom + 16}" text-anchor="middle">${shortNumber(i * step)}</text>`);
  }
  parts.push(`<text x="${left + PLOT + 24}" y="${bottom + 16}">${escaped(unit)}</text>`);
  groups.forEach((group, g) => {
    const y = top + g * pitch;
    const middle = y + (BAR * series.length) / 2 + 4;
    parts.push(`<text x="${left - 8}" y="${middle}" text-anchor="end">${escaped(group.label)}</text>`);
    series.forEach((name, i) => {
      parts.push(bar(left, y + i * BAR, group.values[i], end, i, `${group.label}, ${name}`));
    });
  });
  return `${parts.join('\n')}\n</svg>\n`;
}

function legendOf(series: readonly string[]): string[] {
  let x = 8;
  return series.map((name, i) => {
    const part = `<rect x="${x}" y="32" width="12" height="12" fill="${colours[i % colours.length]}"/><text x="${x + 18}" y="42">${escaped(name)}</text>`;
    x += 36 + GLYPH * name.length;
    return part;
  });
}

function bar(left: number, y: number, value: number | undefined, end: number, i: number, label: string): string {
  const text = y + BAR - 4;
  if (value === undefined || !Number.isFinite(value))
    return `<text x="${left + 4}" y="${text}" fill="#777">none</text>`;
  const length = ((PLOT * value) / end).toFixed(1);
  const fill = colours[i % colours.length];
  const rect = `<rect x="${left}" y="${y}" width="${length}" height="${BAR - 2}" fill="${fill}"><title>${escaped(label)}: ${shortNumber(value)}</title></rect>`;
  return `${rect}<text x="${left + Number(length) + 4}" y="${text}">${shortNumber(value)}</text>`;
}
