/** Tables of results, as text for terminals and as Markdown. */

export type Cell = string | number | boolean | undefined;

export interface Column<R> {
  readonly title: string;
  /** Digits after the point, of numbers. */
  readonly digits?: number;
  readonly of: (row: R) => Cell;
}

/** A number with the digits asked for; `-` for what is not known. */
export function cellText(value: Cell, digits = 0): string {
  if (value === undefined || (typeof value === 'number' && Number.isNaN(value))) return '-';
  if (typeof value === 'number') return Number.isFinite(value) ? value.toFixed(digits) : value > 0 ? 'inf' : '-inf';
  return typeof value === 'boolean' ? (value ? 'yes' : 'no') : value;
}

/** True where a column holds numbers in every row that has a value. */
function isNumeric<R>(column: Column<R>, rows: readonly R[]): boolean {
  const values = rows.map(column.of).filter((value) => value !== undefined);
  return values.length > 0 && values.every((value) => typeof value === 'number');
}

/** Aligned columns: numbers to the right. */
export function textTable<R>(columns: readonly Column<R>[], rows: readonly R[]): string {
  const right = columns.map((column) => isNumeric(column, rows));
  const lines = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => cellText(column.of(row), column.digits))),
  ];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  const pad = (cell: string, i: number): string => (right[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!));
  return lines.map((line) => line.map(pad).join('  ').trimEnd()).join('\n');
}

/** A table of GitHub's Markdown. */
export function markdownTable<R>(columns: readonly Column<R>[], rows: readonly R[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const clean = (text: string): string => text.replace(/\|/g, '\\|').replace(/\s*\n\s*/g, ' ');
  return [
    line(columns.map((column) => clean(column.title))),
    line(columns.map((column) => (isNumeric(column, rows) ? '---:' : '---'))),
    ...rows.map((row) => line(columns.map((column) => clean(cellText(column.of(row), column.digits))))),
  ].join('\n');
}
