import { execFileSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { median, show } from './measure.ts';
import { OURS } from './stage.ts';

export interface Figure {
  /** What was done, e.g. `1 MiB ranges × 4`. */
  readonly case: string;
  /** What was counted, with its unit, e.g. `requests/s`. */
  readonly measure: string;
  /** Who was measured; those that begin with `Damselfly` are compared with all others. */
  readonly rival: string;
  /** Figures of the same round belong together: their ratio is taken. */
  readonly round: number;
  readonly value: number;
}

/** Where a bench puts its figures. */
export interface Recorder {
  add(figure: Figure): void;
  /** A sentence below the table: a rival that is missing, a client that was the bottleneck. */
  note(text: string): void;
  /** A table of its own below the others, such as one row per node; what it shows is kept with the figures. */
  detail(title: string, rows: readonly DetailRow[]): void;
}

/** By the head of its column; all rows of a table have the same. */
export type DetailRow = Readonly<Record<string, string | number>>;

/** The figures of one bench: raw lines as they come, a table in Markdown at the end. */
export class Report implements Recorder {
  readonly #bench: string;
  readonly #jsonFile: string | undefined;
  readonly #figures: Figure[] = [];
  readonly #notes = new Set<string>();
  readonly #details: string[] = [];

  constructor(bench: string, jsonFile: string | undefined) {
    this.#bench = bench;
    this.#jsonFile = jsonFile;
  }

  add(figure: Figure): void {
    this.#figures.push(figure);
    this.#keep(figure);
  }

  note(text: string): void {
    if (this.#notes.has(text)) return;
    this.#notes.add(text);
    this.#keep({ note: text });
  }

  detail(title: string, rows: readonly DetailRow[]): void {
    this.#details.push(detailTable(title, rows));
    this.#keep({ detail: title, rows });
  }

  /** One group of rows per case and measure: each Damselfly beside each rival, with the ratio round by round. */
  table(): string {
    return [this.#figureTable(), ...[...this.#notes].map((text) => `\n- ${text}`), ...this.#details].join(
      '\n',
    );
  }

  #figureTable(): string {
    if (this.#figures.every(({ rival }) => rival === OURS)) return ownTables(this.#figures);
    const lines = ['| measured | rival | its figure | Damselfly | ratio |', '|---|---|---|---|---|'];
    for (const group of Map.groupBy(this.#figures, (one) => `${one.case}: ${one.measure}`).entries()) {
      lines.push(...groupRows(...group));
    }
    return lines.join('\n');
  }

  #keep(line: object): void {
    if (this.#jsonFile === undefined) return;
    appendFileSync(this.#jsonFile, `${JSON.stringify({ bench: this.#bench, ...line })}\n`);
  }
}

/** The machine, in the words of the raw numbers' first line. */
export function machine(): Record<string, unknown> {
  return {
    cores: cpus().length,
    cpu: cpus()[0]?.model,
    kernel: release(),
    node: process.versions.node,
    load: loadavg().map((value) => Number(value.toFixed(2))),
    packages: debianVersions(['nginx-light', 'nginx-core', 'nginx', 'docker-registry', 'wrk', 'curl']),
  };
}

/** Without anybody to compare with, a table per case says the same in fewer words. */
function ownTables(figures: readonly Figure[]): string {
  return [...Map.groupBy(figures, (one) => one.case)]
    .map(([name, ofCase]) => {
      const rows = [...Map.groupBy(ofCase, (one) => one.measure)];
      return [
        `| ${name} | |`,
        '|---|---|',
        ...rows.map(([measure, ofMeasure]) => `| ${measure} | ${show(values(ofMeasure))} |`),
      ].join('\n');
    })
    .join('\n\n');
}

function detailTable(title: string, rows: readonly DetailRow[]): string {
  const heads = Object.keys(rows[0] ?? {});
  const line = (cells: readonly unknown[]): string => `| ${cells.join(' | ')} |`;
  return [
    `\n${title}:\n`,
    line(heads),
    line(heads.map(() => '---')),
    ...rows.map((row) => line(heads.map((head) => row[head]))),
  ].join('\n');
}

function groupRows(name: string, figures: readonly Figure[]): string[] {
  const byRival = Map.groupBy(figures, (one) => one.rival);
  const isOurs = (rival: string): boolean => rival.startsWith(OURS);
  const rows: string[] = [];
  let first = name;
  for (const [subject, ours] of byRival) {
    if (!isOurs(subject)) continue;
    const label = subject === OURS ? '' : ` ${subject.slice(OURS.length).trim()}`;
    let own = `${show(values(ours))}${label}`;
    const rivals = [...byRival].filter(([rival]) => !isOurs(rival));
    if (rivals.length === 0) rows.push(`| ${first} | – | – | ${own} | |`);
    for (const [rival, theirs] of rivals) {
      rows.push(`| ${first} | ${rival} | ${show(values(theirs))} | ${own} | ${ratio(ours, theirs)} |`);
      first = '';
      own = label.trim();
    }
  }
  // A measure that only rivals have, such as what a registry costs that cannot answer ranges.
  if (rows.length === 0) {
    for (const [rival, theirs] of byRival)
      rows.push(`| ${name} | ${rival} | ${show(values(theirs))} | – | |`);
  }
  return rows;
}

function values(figures: readonly Figure[]): number[] {
  return figures.map((one) => one.value);
}

/** Damselfly's figure through the rival's, round by round: what slows one round slows both. */
function ratio(ours: readonly Figure[], theirs: readonly Figure[]): string {
  const theirsByRound = new Map(theirs.map((one) => [one.round, one.value]));
  const pairs = ours.flatMap(({ round, value }) => {
    const other = theirsByRound.get(round);
    return other === undefined || other === 0 ? [] : [value / other];
  });
  if (pairs.length === 0) return '';
  const middle = median(pairs).toFixed(2);
  if (pairs.length < 2) return middle;
  return `${middle} (${Math.min(...pairs).toFixed(2)}–${Math.max(...pairs).toFixed(2)})`;
}

/** Filled in by dpkg-query. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: its own placeholders
const FORMAT = '${Package} ${Version}\\n';

function debianVersions(names: readonly string[]): Record<string, string> {
  try {
    const text = execFileSync('dpkg-query', ['-W', '-f', FORMAT, ...names], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return versionsOf(text);
  } catch (error) {
    // It fails when one of them is not installed, and has printed the others.
    const { stdout } = error as { stdout?: string };
    return versionsOf(stdout ?? '');
  }
}

function versionsOf(text: string): Record<string, string> {
  const pairs = text.split('\n').flatMap((line) => {
    const [name, version] = line.split(' ');
    return name && version ? [[name, version] as const] : [];
  });
  return Object.fromEntries(pairs);
}
